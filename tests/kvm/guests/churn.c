/* SPDX-License-Identifier: BSD-3-Clause */
/* One page without rest. Two vCPUs, the first and the last, hand it to and fro by writing it; all
 * others read it between, so that they hold and lose copies of it. No value that anybody reads may
 * be older than one that is known, by another page, to have been written before.
 *
 * On the command line:
 *  - handoffs: how many in all (2000);
 *  - fair_ms: then all vCPUs write the page for so long (0: not), and the least served must get at
 *    least half of the mean; a turn is a write that found another vCPU's since its last one;
 *  - break=1: a reader, or, of two vCPUs, a writer takes a value that it read before for a new one.
 */
#include "lib.h"

const char guest_name[] = "churn";

static volatile uint64_t
    page[512] PAGE_ALIGNED; /* [0]: the hand-offs so far; from 64 on: a word of each vCPU */
static volatile uint64_t
    known[2][512] PAGE_ALIGNED; /* what each writer has written to page[0], once it is there */
static volatile uint64_t result[MAX_CPUS][512] PAGE_ALIGNED;
static volatile uint64_t over[512] PAGE_ALIGNED;

static bool broken;
static uint64_t handoffs, fair_ms;

/* Reads the page. `who` has said by another page, which is read first, what is written; `own` is
 * what this CPU saw or wrote last. */
static uint64_t look(unsigned who, uint64_t own)
{
    uint64_t least = known[who][0];
    uint64_t v = broken && own > 0 && this_cpu()->index == (ncpus > 2) ? own - 1 : page[0];

    CHECK(v >= least && v >= own, "vCPU %u read %lu after %lu; %lu was written before",
          this_cpu()->index, v, own, least);
    return v;
}

static void hand_over(unsigned writer)
{
    uint64_t v = 0;

    for (uint64_t i = writer; i < handoffs; i += 2) {
        WAIT_UNTIL((v = look(!writer, v)) >= i, "hand-off %lu; %lu is here", i, v);
        CHECK(v == i, "writer %u: %lu hand-offs, not %lu", writer, v, i);
        page[0] = v = i + 1;
        known[writer][0] = i + 1;
    }
}

/* Returns how often it read. */
static uint64_t read_on(void)
{
    uint64_t reads = 0, moved = 0, last = 0;

    while (!over[0]) {
        uint64_t v = look(reads % 2, last);

        moved += v != last;
        last = v;
        reads++;
        for (uint64_t end = rdtsc() + mix64(reads) % (tsc_khz() / 10); rdtsc() < end;)
            cpu_pause();
    }
    result[this_cpu()->index][1] = moved;
    return reads;
}

static void churn(unsigned cpu)
{
    uint64_t start = rdtsc();

    if (cpu == 0 || cpu == ncpus - 1)
        hand_over(cpu != 0);
    else
        result[cpu][0] = read_on();
    if (cpu == 0) {
        WAIT_UNTIL(page[0] == handoffs, "the last hand-off");
        over[0] = 1;
    }
    barrier();
    if (cpu != 0)
        return;
    uint64_t reads = 0, moved = 0;

    for (unsigned c = 1; c + 1 < ncpus; c++) {
        reads += result[c][0];
        moved += result[c][1];
    }
    printf(
        "%lu hand-offs, %lu reads between, %lu of them of a new value, none stale; %lu us each\n",
        handoffs, reads, moved, (rdtsc() - start) * 1000 / tsc_khz() / handoffs);
}

static uint64_t others(unsigned cpu)
{
    uint64_t sum = 0;

    for (unsigned c = 0; c < ncpus; c++)
        sum += c == cpu ? 0 : page[64 + c];
    return sum;
}

static void contend(unsigned cpu)
{
    uint64_t turns = 0, last = 0;

    barrier();
    for (uint64_t end = rdtsc() + tsc_khz() * fair_ms; rdtsc() < end;) {
        uint64_t now = others(cpu);

        turns += now != last;
        last = now;
        page[64 + cpu]++;
    }
    result[cpu][2] = turns;
    barrier();
}

static void check_fair(void)
{
    uint64_t sum = 0, least = ~0ull;

    for (unsigned c = 0; c < ncpus; c++) {
        printf("vCPU %u: %lu turns, %lu writes\n", c, result[c][2], page[64 + c]);
        sum += result[c][2];
        least = result[c][2] < least ? result[c][2] : least;
    }
    CHECK(2 * least * ncpus >= sum,
          "the least served got %lu turns, less than half of the mean, %lu", least, sum / ncpus);
}

void guest_main(unsigned cpu)
{
    if (ncpus == 1) {
        pass_note("1 vCPU: nothing to contend");
        return;
    }
    if (cpu == 0) {
        broken = cmdline_has("break");
        handoffs = cmdline_u64("handoffs", broken ? 200000 : 2000);
        fair_ms = cmdline_u64("fair_ms", 0);
        CHECK(handoffs > 0, "handoffs is at least 1");
    }
    barrier();
    churn(cpu);
    if (fair_ms != 0)
        contend(cpu);
    if (cpu == 0 && fair_ms != 0)
        check_fair();
}
