/* SPDX-License-Identifier: BSD-3-Clause */
/* A parallel hash join: all vCPUs insert the rows of one table into a shared open-addressing hash
 * table, then look up the keys of another, of which half are there, and add up what they find.
 * Another vCPU computes each sum again from the keys alone. Keys: rows=of the first table,
 * probes=of the second, reps=times that it is probed. */
#include "lib.h"

const char guest_name[] = "join";

#define ROWS_MAX   (1u << 20)
#define PROBES_MAX (1u << 22)

struct slot {
    uint64_t key; /* + 1; 0: free */
    uint64_t payload;
};

static struct slot *table;
static uint64_t mask, rows, probes, reps;
static bool broken;

static struct {
    uint64_t sum, found;
} PAGE_ALIGNED results[MAX_CPUS];

static uint64_t row_key(uint64_t row)
{
    return mix64(row) >> 1;
}

static uint64_t payload_of(uint64_t key)
{
    return mix64(key ^ 0x5A5A5A5A) >> 40;
}

/* Which row a probe asks for; from `rows` on there is none. */
static uint64_t wanted_row(uint64_t rep, uint64_t probe)
{
    return mix64(rep << 32 | probe) % (2 * rows);
}

static void build(unsigned cpu)
{
    for (uint64_t r = cpu; r < rows; r += ncpus) {
        uint64_t key = row_key(r);

        for (uint64_t at = mix64(key) & mask;; at = (at + 1) & mask) {
            uint64_t free = 0;

            if (!__atomic_compare_exchange_n(&table[at].key, &free, key + 1, false,
                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                continue;
            table[at].payload = payload_of(key);
            break;
        }
    }
}

static void probe(unsigned cpu, uint64_t rep)
{
    uint64_t sum = 0, found = 0;

    for (uint64_t p = cpu; p < probes; p += ncpus) {
        uint64_t key = row_key(wanted_row(rep, p));

        for (uint64_t at = mix64(key) & mask; table[at].key != 0; at = (at + 1) & mask)
            if (table[at].key == key + 1) {
                sum += table[at].payload + (broken && cpu == 0 && found == 0);
                found++;
                break;
            }
    }
    results[cpu].sum += sum;
    results[cpu].found += found;
}

/* What the next vCPU must have found. */
static void verify(unsigned cpu)
{
    unsigned of = (cpu + 1) % ncpus;
    uint64_t sum = 0, found = 0;

    for (uint64_t rep = 0; rep < reps; rep++)
        for (uint64_t p = of; p < probes; p += ncpus) {
            uint64_t row = wanted_row(rep, p);

            if (row >= rows)
                continue;
            sum += payload_of(row_key(row));
            found++;
        }
    CHECK(results[of].sum == sum && results[of].found == found,
          "vCPU %u found %lu rows with the sum %lu, not %lu with %lu", of, results[of].found,
          results[of].sum, found, sum);
}

static void set_up(void)
{
    uint64_t slots = 1;

    rows = cmdline_u64("rows", 1 << 14);
    probes = cmdline_u64("probes", 1 << 15);
    reps = cmdline_u64("reps", 1);
    broken = cmdline_has("break");
    CHECK(rows >= 1 && rows <= ROWS_MAX, "rows is 1 to %u", ROWS_MAX);
    CHECK(probes >= 1 && probes <= PROBES_MAX, "probes is 1 to %u", PROBES_MAX);
    CHECK(reps >= 1 && reps <= 1000, "reps is 1 to 1000");
    while (slots < 2 * rows)
        slots *= 2;
    mask = slots - 1;
    table = arena(slots * sizeof(*table));
}

void guest_main(unsigned cpu)
{
    if (cpu == 0)
        set_up();
    barrier();
    build(cpu);
    barrier();
    for (uint64_t rep = 0; rep < reps; rep++) {
        uint64_t start = rdtsc();

        probe(cpu, rep);
        barrier();
        if (cpu == 0)
            print_kernel(rep, probes, rdtsc() - start);
        barrier();
    }
    verify(cpu);
    if (cpu == 0)
        printf("%lu rows joined with %lu probes, all sums verified\n", rows, probes * reps);
}
