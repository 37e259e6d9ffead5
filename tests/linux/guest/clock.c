/* SPDX-License-Identifier: BSD-3-Clause */
/* Time is one on all CPUs: a token goes from CPU to CPU, in an order by chance, and each holder
 * reads every clock. None may be lower than what the holder before it has read. */
#include "lib.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MONOTONIC, RAW, REALTIME, TSC, CLOCKS };
enum { EMPTY, TOKEN, STOP };
enum { SHOWN_CPUS = 8 }; /* of the table by pair */

static const char *const clock_names[CLOCKS] = {"monotonic", "raw", "realtime", "tsc"};

/* The token lies on a page of the CPU that has it. */
static struct mailbox {
    OWN_PAGE uint32_t state;
    uint32_t from;
    uint64_t handovers, last[CLOCKS];
} boxes[MAX_CPUS];

static struct seen {
    OWN_PAGE uint64_t backward[CLOCKS];
    uint64_t worst[CLOCKS];
    uint32_t worst_from[CLOCKS];
    uint64_t handovers;
    uint64_t least_ns[MAX_CPUS], least_tsc[MAX_CPUS]; /* by CPU it came from; 0: never came */
} seen[MAX_CPUS];

static uint64_t end_ns;

static uint64_t read_tsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_clocks(uint64_t t[CLOCKS], bool wrong)
{
    t[MONOTONIC] = read_clock(CLOCK_MONOTONIC);
    t[RAW] = read_clock(CLOCK_MONOTONIC_RAW);
    t[REALTIME] = read_clock(CLOCK_REALTIME);
    t[TSC] = read_tsc();
    for (unsigned c = 0; wrong && c < CLOCKS; c++)
        if (broken(clock_names[c]))
            t[c] -= 1000000000; /* a second behind, or a good part of one */
}

static void lower(uint64_t *least, uint64_t step)
{
    if (!*least || step < *least)
        *least = step ? step : 1;
}

static void compare(unsigned me, unsigned from, const uint64_t last[CLOCKS],
                    const uint64_t t[CLOCKS])
{
    struct seen *s = &seen[me];

    for (unsigned c = 0; c < CLOCKS; c++) {
        if (t[c] < last[c]) {
            s->backward[c]++;
            if (last[c] - t[c] > s->worst[c]) {
                s->worst[c] = last[c] - t[c];
                s->worst_from[c] = from;
            }
        }
    }
    if (t[MONOTONIC] >= last[MONOTONIC])
        lower(&s->least_ns[from], t[MONOTONIC] - last[MONOTONIC]);
    if (t[TSC] >= last[TSC])
        lower(&s->least_tsc[from], t[TSC] - last[TSC]);
    s->handovers++;
}

static void thread(unsigned me)
{
    struct mailbox *box = &boxes[me];
    uint64_t t[CLOCKS], seed = me * 7919 + 1;
    unsigned next = me;

    for (;;) {
        bool odd;

        SPIN_UNTIL(LOAD(box->state) != EMPTY, "the token");
        if (box->state == STOP)
            return;
        box->state = EMPTY;
        odd = ncpus > 1 ? me == ncpus - 1 : box->handovers % 2;
        read_clocks(t, odd);
        if (box->handovers > 0)
            compare(me, box->from, box->last, t);
        if (now_ns() >= end_ns) {
            for (unsigned i = 0; i < ncpus; i++)
                STORE(boxes[i].state, STOP);
            return;
        }
        if (ncpus > 1)
            next = (me + 1 + (unsigned)(random_next(&seed) % (ncpus - 1))) % ncpus;
        boxes[next].from = me;
        boxes[next].handovers = box->handovers + 1;
        memcpy(boxes[next].last, t, sizeof(t));
        STORE(boxes[next].state, TOKEN);
    }
}

static void print_pairs(void)
{
    if (ncpus > SHOWN_CPUS)
        return;
    printf(
        "clock: smallest step in ns (TSC ticks), from the CPU of the row to that of the column\n");
    for (unsigned from = 0; from < ncpus; from++) {
        printf("clock: %4d", cpu_list[from]);
        for (unsigned to = 0; to < ncpus; to++)
            printf("  %8lu (%7lu)", seen[to].least_ns[from], seen[to].least_tsc[from]);
        printf("\n");
    }
}

int test_clock(void)
{
    uint64_t handovers = 0, backward[CLOCKS] = {0}, bad = 0;

    end_ns = now_ns() + opt.seconds * 1000000000ull;
    boxes[0].state = TOKEN;
    on_every_cpu(thread);
    print_pairs();
    for (unsigned i = 0; i < ncpus; i++) {
        handovers += seen[i].handovers;
        for (unsigned c = 0; c < CLOCKS; c++) {
            backward[c] += seen[i].backward[c];
            bad += seen[i].backward[c];
            if (seen[i].backward[c])
                printf("clock: %s went back %lu times on its way to CPU %d, at worst by %lu %s "
                       "from CPU %d\n",
                       clock_names[c], seen[i].backward[c], cpu_list[i], seen[i].worst[c],
                       c == TSC ? "ticks" : "ns", cpu_list[seen[i].worst_from[c]]);
        }
    }
    if (bad)
        die("steps back in %lu hand-overs: monotonic %lu, raw %lu, realtime %lu, tsc %lu",
            handovers, backward[MONOTONIC], backward[RAW], backward[REALTIME], backward[TSC]);
    if (handovers < ncpus)
        die("only %lu hand-overs", handovers);
    summary("%lu hand-overs between %u CPUs in %u s, no clock went back", handovers, ncpus,
            opt.seconds);
    return 0;
}
