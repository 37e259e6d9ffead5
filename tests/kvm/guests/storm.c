/* SPDX-License-Identifier: BSD-3-Clause */
/* What the work of other vCPUs does to an interrupt between two of them.
 *
 * The first and the last vCPU hand an interrupt to and fro; a sample is half a round trip. The
 * others meanwhile do, in blocks that take turns:
 *   alone  nothing: they halt
 *   spin   count in a register: the host's cores are as busy as in a storm, and nothing moves
 *   page   write words of each other's pages without pause
 *   mmio   read a register of the test device without pause
 *
 * On the command line: n=samples a block, blocks=of each kind, pages=that the storm writes, warm=
 * samples before each block that are not counted; break=1 makes one stormer lose a write. Each
 * block's histogram is printed. All writes and reads of the stormers are verified, and that each
 * of them did some in each kind of storm.
 */
#include "lib.h"

const char guest_name[] = "storm";
bool naps_allowed = false;

#define V_PING     0x90u
#define V_PONG     0x91u
#define V_ORDER    0x92u
#define PAGES_MAX  256u
#define BLOCKS_MAX 64u
#define OWN(cpu)   ((volatile uint64_t *)(uintptr_t)(TESTDEV + 0x100u + 8 * (cpu)))

enum kind { ALONE, SPIN, PAGES, MMIO, KINDS, STOP = KINDS };
static const char *const kind_names[KINDS] = {"alone", "spin", "page", "mmio"};

/* Written by CPU 0 between blocks only. */
static struct {
    uint64_t serial;
    uint64_t kind;
} PAGE_ALIGNED order;

/* Of each stormer; written when it has seen an order. */
static struct {
    uint64_t seen;
    uint64_t did[KINDS];
} PAGE_ALIGNED stormers[MAX_CPUS];

static volatile uint64_t (*area)[PAGE / 8]; /* word c of each page is vCPU c's */
static uint64_t pages, per_block, blocks, warm;
static bool broken;

static bool ordered(uint64_t serial)
{
    return __atomic_load_n(&order.serial, __ATOMIC_ACQUIRE) != serial;
}

static void storm_pages(unsigned cpu, uint64_t serial, uint64_t *ret_did)
{
    while (!ordered(serial)) {
        for (unsigned i = 0; i < 16; i++) {
            uint64_t n = (*ret_did)++;

            if (!broken || cpu != 1 || n != 3)
                area[mix64(n) % pages][cpu]++;
        }
    }
}

static void storm_mmio(unsigned cpu, uint64_t serial, uint64_t *ret_did)
{
    const uint64_t want = mix64(cpu);

    while (!ordered(serial)) {
        uint64_t got = *OWN(cpu);

        CHECK(got == want, "vCPU %u reads %lx from its register, not %lx", cpu, got, want);
        (*ret_did)++;
    }
}

static void halt(uint64_t serial)
{
    while (!ordered(serial)) {
        uint64_t wakes = irq_count(this_cpu()->index, V_ORDER);

        if (!ordered(serial))
            system_call((uintptr_t)&this_cpu()->counts[V_ORDER], wakes, SYS_HALT_UNLESS);
    }
}

static void stormer(unsigned cpu)
{
    uint64_t did[KINDS] = {0};

    *OWN(cpu) = mix64(cpu);
    for (uint64_t serial = 0;;) {
        halt(serial); /* until the first order; later ones are here already */
        serial = __atomic_load_n(&order.serial, __ATOMIC_ACQUIRE);
        uint64_t kind = order.kind;

        memcpy(stormers[cpu].did, did, sizeof(did));
        __atomic_store_n(&stormers[cpu].seen, serial, __ATOMIC_RELEASE);
        if (kind == STOP)
            return;
        if (kind == ALONE)
            halt(serial);
        else if (kind == PAGES)
            storm_pages(cpu, serial, &did[PAGES]);
        else if (kind == MMIO)
            storm_mmio(cpu, serial, &did[MMIO]);
        else
            for (; !ordered(serial); did[SPIN]++)
                cpu_pause();
    }
}

/* Returns when all stormers are at it. */
static void give_order(enum kind kind)
{
    order.kind = kind;
    __atomic_store_n(&order.serial, order.serial + 1, __ATOMIC_RELEASE);
    for (unsigned c = 1; c < ncpus - 1; c++)
        ipi_send(c, V_ORDER);
    for (unsigned c = 1; c < ncpus - 1; c++)
        WAIT_UNTIL(__atomic_load_n(&stormers[c].seen, __ATOMIC_ACQUIRE) == order.serial,
                   "vCPU %u to begin with %lu", c, (uint64_t)kind);
}

static void answer(unsigned me, uint64_t pings)
{
    for (uint64_t i = 1; i <= pings; i++) {
        WAIT_UNTIL(irq_count(me, V_PING) >= i, "ping %lu", i);
        ipi_send(0, V_PONG);
    }
}

static void print_block(enum kind kind, uint64_t block, const struct hist *h)
{
    char name[16];
    size_t len = strlen(kind_names[kind]);

    memcpy(name, kind_names[kind], len);
    name[len] = '/';
    name[len + 1] = (char)('0' + block / 10);
    name[len + 2] = (char)('0' + block % 10);
    name[len + 3] = '\0';
    print_hist(name, h);
}

static void measure_block(enum kind kind, uint64_t block, struct hist *h)
{
    memset(h, 0, sizeof(*h));
    give_order(kind);
    for (uint64_t i = 0; i < warm + per_block; i++) {
        uint64_t before = irq_count(0, V_PONG), start = rdtsc();

        ipi_send(ncpus - 1, V_PING);
        WAIT_UNTIL(irq_count(0, V_PONG) > before, "pong %lu of block %lu", i, block);
        if (i >= warm)
            hist_add(h, (rdtsc() - start) / 2);
    }
    give_order(ALONE); /* nobody disturbs the console */
    print_block(kind, block, h);
}

/* Each stormer's words of all pages add up to what it wrote. */
static void verify(void)
{
    for (unsigned c = 1; c < ncpus - 1; c++) {
        uint64_t sum = 0;

        for (uint64_t p = 0; p < pages; p++)
            sum += area[p][c];
        CHECK(sum == stormers[c].did[PAGES], "vCPU %u wrote %lu times, %lu are there", c,
              stormers[c].did[PAGES], sum);
        for (unsigned k = SPIN; k < KINDS; k++)
            CHECK(stormers[c].did[k] > 0, "vCPU %u did nothing in all blocks of %s", c,
                  kind_names[k]);
        printf("STORM cpu=%u page=%lu mmio=%lu\n", c, stormers[c].did[PAGES],
               stormers[c].did[MMIO]);
    }
}

static void measure(void)
{
    struct hist *h = arena(sizeof(*h));

    /* Who begins changes, so that a drift of the machine meets all kinds alike. */
    for (uint64_t b = 0; b < blocks; b++)
        for (unsigned k = 0; k < KINDS; k++)
            measure_block((k + b) % KINDS, b, h);
    give_order(STOP);
    verify();
}

void guest_main(unsigned cpu)
{
    if (ncpus < 3) {
        pass_note("fewer than 3 vCPUs: nobody to storm");
        return;
    }
    if (cpu == 0) {
        per_block = cmdline_u64("n", 50);
        blocks = cmdline_u64("blocks", 2);
        warm = cmdline_u64("warm", 5);
        pages = cmdline_u64("pages", 16);
        CHECK(per_block >= 1 && per_block <= 100000, "n is 1 to 100000");
        CHECK(blocks >= 1 && blocks <= BLOCKS_MAX, "blocks is 1 to %u", BLOCKS_MAX);
        CHECK(warm <= 1000, "warm is at most 1000");
        CHECK(pages >= 1 && pages <= PAGES_MAX, "pages is 1 to %u", PAGES_MAX);
        broken = cmdline_has("break");
        area = arena(pages * PAGE);
    }
    barrier();
    if (cpu == 0)
        measure();
    else if (cpu == ncpus - 1)
        answer(cpu, blocks * KINDS * (warm + per_block));
    else
        stormer(cpu);
}
