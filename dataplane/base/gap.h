/* SPDX-License-Identifier: BSD-3-Clause */
/* clang-format off */ /* the table of this manual */
/*
 * When a polling thread should sleep: by the gaps between what it finds. PURE.
 *
 * A sleep costs the way into the kernel and back (cost, measured by the caller on its machine),
 * which what comes meanwhile waits for. Gaps that are shorter are polled through; of longer ones a
 * sleep wastes less.
 *
 *   expected          moving average of the gaps, weight 1/8, each counted as 16 times cost at most,
 *                     so that a pause of minutes is unlearned after a few short gaps
 *   expected <= cost  poll for twice cost, then sleep, as the guess was wrong
 *   expected >  cost  sleep at once
 *
 * Twice cost bounds what a wrong guess wastes to that of two sleeps. A gap that was slept through
 * is seen longer than it was by the way back: the caller says so, and cost is taken off.
 */
/* clang-format on */
#ifndef PANDO_BASE_GAP_H
#define PANDO_BASE_GAP_H

#include <stdbool.h>
#include <stdint.h>

enum { GAP_WEIGHT = 8, GAP_MOST = 16, GAP_SPIN = 2 };

struct gap {
    uint64_t cost_ns;
    uint64_t expected_ns;
};

/* Starts out expecting no gap: the first one is polled through for twice cost. */
static inline void gap_init(struct gap *g, uint64_t cost_ns)
{
    *g = (struct gap){.cost_ns = cost_ns};
}

/* Something was found after ns without. */
static inline void gap_ended(struct gap *g, uint64_t ns, bool slept)
{
    uint64_t most = g->cost_ns * GAP_MOST;
    if (slept)
        ns = ns > g->cost_ns ? ns - g->cost_ns : 0;
    ns = ns < most ? ns : most;
    g->expected_ns = (g->expected_ns * (GAP_WEIGHT - 1) + ns) / GAP_WEIGHT;
}

/* Whether to poll on, nothing having been found for ns. */
static inline bool gap_spins(const struct gap *g, uint64_t ns)
{
    return g->expected_ns <= g->cost_ns && ns < g->cost_ns * GAP_SPIN;
}

#endif
