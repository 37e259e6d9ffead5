/* SPDX-License-Identifier: BSD-3-Clause */
/* False sharing: each CPU writes only its own words (and bytes) of shared pages, unlocked. Whatever
 * moves the page must never lose or revert a neighbour's write. */
#include "lib.h"

const char guest_name[] = "falseshare";

static volatile uint64_t words[512] PAGE_ALIGNED;
static volatile uint8_t bytes[4096] PAGE_ALIGNED;
static uint64_t done[MAX_CPUS][512] PAGE_ALIGNED; /* iterations of each CPU */

/* CPU c owns every word with index = c modulo MAX_CPUS: 16 of them. */
static void work_once(unsigned cpu, uint64_t i)
{
    for (unsigned k = cpu; k < 512; k += MAX_CPUS) {
        uint64_t v = words[k];

        CHECK(v == i - 1, "word %u is %lu, not %lu: a write was lost", k, v, i - 1);
        words[k] = i;
    }
    for (unsigned k = cpu; k < 4096; k += MAX_CPUS * 8) {
        uint8_t v = bytes[k], want = (uint8_t)(i - 1);

        CHECK(v == want, "byte %u is %u, not %u: a write was lost", k, v, want);
        bytes[k] = (uint8_t)i;
    }
}

/* Contended: the next CPU's word has moved since the iteration before. */
static uint64_t work(unsigned cpu, uint64_t iters)
{
    uint64_t i = 0, contended = 0, last = 0;

    while (contend_more(i, iters, contended)) {
        uint64_t next = words[(cpu + 1) % ncpus];

        contended += next != last;
        last = next;
        work_once(cpu, ++i);
    }
    return i;
}

static void verify(void)
{
    for (unsigned k = 0; k < 512; k++) {
        uint64_t want = k % MAX_CPUS < ncpus ? done[k % MAX_CPUS][0] : 0;

        CHECK(words[k] == want, "word %u is %lu, not %lu", k, words[k], want);
    }
    for (unsigned k = 0; k < 4096; k++) {
        unsigned owner = k % (MAX_CPUS * 8);
        uint8_t want = owner < ncpus ? (uint8_t)done[owner][0] : 0;

        CHECK(bytes[k] == want, "byte %u is %u, not %u", k, bytes[k], want);
    }
}

void guest_main(unsigned cpu)
{
    contend_begin();
    done[cpu][0] = work(cpu, cmdline_u64("iters", 20000));
    barrier();
    printf("vCPU %u wrote its words and bytes %lu times\n", cpu, done[cpu][0]);
    if (cmdline_has("break") && cpu == ncpus - 1)
        words[511]++;
    barrier();
    verify();
    if (ncpus == 1)
        pass_note("1 vCPU: nothing to contend");
}
