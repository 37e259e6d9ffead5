/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a test of contention goes on: a fixed number of iterations may be over on one CPU before
 * the host has even scheduled the next, and would then prove nothing. */
#include "lib.h"

static struct {
    volatile uint32_t done;
    uint64_t end;
} PAGE_ALIGNED states[MAX_CPUS];

void contend_begin(void)
{
    unsigned cpu = this_cpu()->index;

    barrier();
    states[cpu].done = 0;
    states[cpu].end = rdtsc() + wait_limit;
    barrier();
}

bool contend_more(uint64_t done, uint64_t iters, uint64_t contended)
{
    unsigned cpu = this_cpu()->index;

    if (done < iters || done % 64 != 0)
        return true;
    uint64_t wanted = ncpus > 1 ? cmdline_u64("contended", 50) : 0;

    if (contended >= wanted)
        states[cpu].done = 1;
    unsigned behind = 0;

    for (unsigned c = 0; c < ncpus; c++)
        if (!states[c].done)
            behind = c + 1;
    if (behind != 0 && rdtsc() > states[cpu].end)
        fail("vCPU %u gets nothing done or is never contended; this one did %lu iterations, "
             "%lu of them contended",
             behind - 1, done, contended);
    return behind != 0;
}
