/* SPDX-License-Identifier: BSD-3-Clause */
/* Every vCPU in turn, then all together, write all of a large area; every vCPU checks every word.
 * size=MiB (default 64), turns=N: how many vCPUs write alone (default all). */
#include "lib.h"

const char guest_name[] = "sweep";

#define STEP 0x9E3779B97F4A7C15ul

static uint64_t (*area)[512];
static uint64_t pages;
static uint64_t checksums[MAX_CPUS][512] PAGE_ALIGNED;

static uint64_t seed(uint64_t page, unsigned writer, unsigned round)
{
    return mix64(page << 16 | (uint64_t)writer << 8 | round);
}

static void write_page(uint64_t p, unsigned writer, unsigned round)
{
    uint64_t v = seed(p, writer, round);

    for (unsigned i = 0; i < 512; i++)
        area[p][i] = v + i * STEP;
}

static uint64_t check_page(uint64_t p, unsigned writer, unsigned round)
{
    uint64_t v = seed(p, writer, round), sum = 0, bad = 0;

    for (unsigned i = 0; i < 512; i++) {
        uint64_t w = area[p][i];

        sum += w;
        bad |= w ^ (v + i * STEP);
    }
    if (bad != 0)
        for (unsigned i = 0; i < 512; i++)
            CHECK(area[p][i] == v + i * STEP,
                  "round %u: page %lu word %u is %lx, not %lx (writer %u)", round, p, i, area[p][i],
                  v + i * STEP, writer);
    CHECK(bad == 0, "round %u: page %lu was wrong when first read", round, p);
    return sum;
}

static void same_checksums(unsigned cpu, unsigned round)
{
    barrier();
    for (unsigned c = 0; c < ncpus; c++)
        CHECK(checksums[c][0] == checksums[cpu][0], "round %u: vCPUs %u and %u differ", round, c,
              cpu);
    if (cpu == 0)
        printf("round %u: %lu pages, checksum %lx on %u vCPU%s\n", round, pages, checksums[0][0],
               ncpus, ncpus == 1 ? "" : "s");
    barrier();
}

/* CPUs start their check at different places, so that they do not walk in step. */
static void check_all(unsigned cpu, unsigned round, bool together)
{
    uint64_t sum = 0;

    for (uint64_t k = 0; k < pages; k++) {
        uint64_t p = (k + pages * cpu / ncpus) % pages;
        unsigned writer = together ? (unsigned)(p % ncpus) : round;

        sum += check_page(p, writer, round);
    }
    checksums[cpu][0] = sum;
    same_checksums(cpu, round);
}

void guest_main(unsigned cpu)
{
    const bool broken = cmdline_has("break");
    unsigned turns = (unsigned)cmdline_u64("turns", ncpus);

    if (turns > ncpus)
        turns = ncpus;
    if (cpu == 0) {
        uint64_t mib = cmdline_u64("size", 64);

        pages = mib << 8;
        CHECK(pages >= ncpus, "size is at least 1 MiB");
        area = arena(mib << 20);
    }
    barrier();
    for (uint64_t p = cpu; p < pages; p += ncpus)
        for (unsigned i = 0; i < 512; i++)
            CHECK(area[p][i] == 0, "page %lu is not zero at start", p);
    barrier();
    for (unsigned round = 0; round < turns; round++) {
        if (cpu == round)
            for (uint64_t p = 0; p < pages; p++)
                write_page(p, cpu, round);
        barrier();
        check_all(cpu, round, false);
    }
    for (uint64_t p = cpu; p < pages; p += ncpus)
        write_page(p, cpu, turns);
    if (broken && cpu == ncpus - 1)
        area[pages - 1][511] ^= 1ull << 63;
    barrier();
    check_all(cpu, turns, true);
}
