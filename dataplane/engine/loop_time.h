/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the poll loop's time goes: every nanosecond of wall time belongs to one state. Written by
 * the loop, read by anybody.
 *
 * It costs 22 instructions a round and no look at the clock: each round reads it once anyway.
 * A yield has its two readings already (is this CPU crowded?); a sleep has two more, about 50 ns
 * beside a system call and a wake-up of microseconds. Time that the host took the CPU away is in
 * the state that it was taken from: the thread's CPU time (cpu_ns of the summary) tells.
 */
#ifndef PANDO_ENGINE_LOOP_TIME_H
#define PANDO_ENGINE_LOOP_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
#define LOOP_STATE_LIST(X) \
    X(USEFUL, "useful") /* rounds that found work, and work that was there on waking up */ \
    X(EMPTY, "empty")   /* rounds that found none */ \
    X(YIELD, "yield")   /* given to others by sched_yield */ \
    X(SLEEP, "sleep")   /* blocked */
/* clang-format on */
#define X(ID, name) LOOP_##ID,
enum loop_state { LOOP_STATE_LIST(X) LOOP_STATES };
#undef X

struct loop_time { /* begins as all zero */
    uint64_t ns[LOOP_STATES];
    uint64_t since, given; /* of this round: its start, what of it was yield or sleep */
    bool useful;           /* ... and whether it found work */
};

/* A round begins, and so the one before it ends. now: ns, monotonic. */
static inline void loop_time_round(struct loop_time *t, uint64_t now)
{
    uint64_t all = t->since != 0 && now > t->since ? now - t->since : 0;
    t->ns[t->useful ? LOOP_USEFUL : LOOP_EMPTY] += all > t->given ? all - t->given : 0;
    t->since = now;
    t->given = 0;
    t->useful = false;
}

/* Of the present round, ns were given away. state: LOOP_YIELD or LOOP_SLEEP. */
static inline void loop_time_gave(struct loop_time *t, enum loop_state state, uint64_t ns)
{
    t->ns[state] += ns;
    t->given += ns;
}

#endif
