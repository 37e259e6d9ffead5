/* SPDX-License-Identifier: BSD-3-Clause */
/* Swarm options: each seed switches a random subset of the faults on, with random strength, because
 * a mix of everything at once hides what a single fault would show (Groce et al., Swarm Testing,
 * 2012). */
#include "tests/sim/sim.h"

static uint32_t sometimes(struct prng *r, uint32_t percent, uint32_t max)
{
    bool on = prng_below(r, 100) < percent;
    uint32_t value = 1 + prng_below(r, max);
    return on ? value : 0;
}

static uint32_t min_of_two(struct prng *r, uint32_t below)
{
    uint32_t a = prng_below(r, below), b = prng_below(r, below);
    return a < b ? a : b;
}

static uint32_t draw_nodes(struct prng *r)
{
    uint32_t p = prng_below(r, 1000);
    if (p < 990) /* mostly few: what goes wrong goes wrong with few, and sooner */
        return 2 + min_of_two(r, 7);
    return p < 998 ? 9 + prng_below(r, 8) : 17 + prng_below(r, SIM_NODES_MAX - 16);
}

/* A home must be able to keep what is homed there, besides the page set of one instruction a vCPU.
 */
void sim_enough_frames(struct sim_options *o)
{
    uint32_t least = 100 / o->nodes + 5 + 100 * o->insn_pages_max * (o->vcpus + 1) / o->pages;
    if (o->resident_pct != 0 && o->resident_pct < least)
        o->resident_pct = least;
    if (o->resident_pct >= 100)
        o->resident_pct = 0;
}

void sim_draw_options(struct sim_world *w)
{
    struct prng *r = &w->rng;
    struct sim_options *o = &w->opt;
    const uint64_t us = 1000, ms = 1000 * us;
    *o = (struct sim_options){0};
    o->nodes = draw_nodes(r);
    o->vcpus = 1 + prng_below(r, o->nodes > 8 ? 1 : 3);
    o->pages =
        prng_below(r, 100) < 30 ? 1 + prng_below(r, 3) : 4 + prng_below(r, SIM_PAGES_MAX - 4);
    o->insns = o->nodes > 8 ? 10 : 20 + prng_below(r, 60);
    o->insn_pages_max = prng_below(r, 100) < 50 ? 1 : 1 + prng_below(r, SIM_INSN_PAGES_MAX);
    if (o->insn_pages_max > o->pages)
        o->insn_pages_max = o->pages;
    o->write_pct = prng_below(r, 101);
    o->loss_ppm = sometimes(r, 50, 100000);
    o->dup_ppm = sometimes(r, 40, 100000);
    o->corrupt_ppm = sometimes(r, 30, 50000);
    o->junk_ppm = sometimes(r, 20, 20000);
    o->latency_min = 500 + prng_below(r, 5000);
    o->latency_max = o->latency_min + sometimes(r, 70, 60) * us;
    o->clog_ppm = sometimes(r, 20, 20000);
    o->clog_ns = (1 + prng_below(r, 20)) * ms;
    o->partition_ppm = sometimes(r, 20, 20000);
    o->slow_ppm = sometimes(r, 20, 20000);
    o->slow_ns = (1 + prng_below(r, 10)) * ms;
    o->idle_ppm = sometimes(r, 50, 1000000);
    o->zero_ahead = prng_below(r, 2) == 0 ? 0 : 1u << prng_below(r, 7);
    o->edge_max = 100 + sometimes(r, 80, 80) * us;
    o->exec_max = 100 + sometimes(r, 80, 30) * us;
    o->spurious_ppm = sometimes(r, 50, 200000);
    o->resident_pct = prng_below(r, 100) < 40 && o->pages >= 8 ? 30 + prng_below(r, 60) : 0;
    sim_enough_frames(o);
    /* Residency must cover the time from the grant to the access, or an instruction can be starved.
     */
    o->hold = 2 * (o->edge_max + o->exec_max) + prng_below(r, 200) * us;
    o->hold_max = o->hold * SIM_INSN_PAGES_MAX + prng_below(r, 5) * ms;
    o->mtu = prng_below(r, 2) ? 1500 : 9000;
    o->path_mtu = prng_below(r, 4) ? o->mtu : 1452 + prng_below(r, o->mtu - 1452);
    o->credit = (uint8_t)(prng_below(r, 3) ? RRDP_WINDOW : 4 + prng_below(r, RRDP_WINDOW - 4));
    o->group_min = (uint8_t)(prng_below(r, 2) ? 0 : 2 + prng_below(r, 3));
    o->range_homes = prng_below(r, 3) == 0;
    o->txn_max = prng_below(r, 3) == 0 ? 1 + prng_below(r, 4) : 64;
    o->ipi_ppm = sometimes(r, 50, 300000);
    o->lies_ppm = sometimes(r, 30, 50000);
    o->ping_ppm = sometimes(r, 30, 20000);
    if (prng_below(r, 100) < 4) {
        o->crash_at = (1 + prng_below(r, 20)) * ms;
        o->rejoin = prng_below(r, 2) == 0;
    }
    o->cut_at = o->path_mtu < o->mtu && prng_below(r, 2) ? (1 + prng_below(r, 10)) * ms : 0;
    o->places = o->path_mtu == o->mtu && prng_below(r, 3) == 0;
}

void sim_print_options(const struct sim_world *w, FILE *f)
{
    const struct sim_options *o = &w->opt;
    fprintf(
        f,
        "seed %llu: nodes %u vcpus %u pages %u insns %u insn_pages %u write %u%% | loss %u dup %u "
        "corrupt %u junk %u lies %u ping %u ppm latency %llu..%llu ns clog %u partition %u slow %u "
        "ppm | "
        "edge %llu "
        "exec "
        "%llu hold %llu..%llu ns spurious %u ppm resident %u%% mtu %u path %u from %llu group %u "
        "credit %u "
        "%s txn %u "
        "ipi %u "
        "ppm crash_at %llu%s%s\n",
        (unsigned long long)w->seed, o->nodes, o->vcpus, o->pages, o->insns, o->insn_pages_max,
        o->write_pct, o->loss_ppm, o->dup_ppm, o->corrupt_ppm, o->junk_ppm, o->lies_ppm,
        o->ping_ppm, (unsigned long long)o->latency_min, (unsigned long long)o->latency_max,
        o->clog_ppm, o->partition_ppm, o->slow_ppm, (unsigned long long)o->edge_max,
        (unsigned long long)o->exec_max, (unsigned long long)o->hold,
        (unsigned long long)o->hold_max, o->spurious_ppm, o->resident_pct, o->mtu, o->path_mtu,
        (unsigned long long)o->cut_at, o->group_min, o->credit,
        o->range_homes ? "range" : "interleave", o->txn_max, o->ipi_ppm,
        (unsigned long long)o->crash_at, o->rejoin ? ", rejoin" : "",
        o->places ? ", pages in place" : "");
}
