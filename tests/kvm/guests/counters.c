/* SPDX-License-Identifier: BSD-3-Clause */
/* Locked instructions on shared pages: add, xadd, cmpxchg and bit operations, with exact totals. */
#include "lib.h"

const char guest_name[] = "counters";

/* Each on a page of its own; `crowded` has four counters in one page. */
static uint64_t added PAGE_ALIGNED, drawn PAGE_ALIGNED, swapped PAGE_ALIGNED;
static uint64_t crowded[4] PAGE_ALIGNED;
static uint32_t bit_word PAGE_ALIGNED;
static struct {
    uint64_t operations, ticket_sum, contended;
} PAGE_ALIGNED results[MAX_CPUS];

static void lock_add(uint64_t *p, uint64_t v)
{
    __asm__ volatile("lock addq %1, %0" : "+m"(*p) : "r"(v) : "memory");
}

static uint64_t lock_xadd(uint64_t *p, uint64_t v)
{
    __asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(*p) : : "memory");
    return v;
}

static void cmpxchg_add(uint64_t *p, uint64_t v)
{
    uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);

    while (
        !__atomic_compare_exchange_n(p, &old, old + v, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        cpu_pause();
}

/* One bit per CPU, set and cleared; both instructions tell what was there. */
static void toggle_bit(unsigned cpu)
{
    bool was;

    __asm__ volatile("lock btsl %2, %0" : "+m"(bit_word), "=@ccc"(was) : "r"(cpu) : "memory");
    CHECK(!was, "bit %u was set already", cpu);
    __asm__ volatile("lock btrl %2, %0" : "+m"(bit_word), "=@ccc"(was) : "r"(cpu) : "memory");
    CHECK(was, "bit %u was lost", cpu);
}

static void broken_add(uint64_t *p, uint64_t v)
{
    uint64_t old = __atomic_load_n(p, __ATOMIC_RELAXED);

    cpu_pause();
    __atomic_store_n(p, old + v, __ATOMIC_RELAXED);
}

static void verify(void)
{
    uint64_t n = 0, tickets = 0, contended = 0;

    for (unsigned c = 0; c < ncpus; c++) {
        n += results[c].operations;
        tickets += results[c].ticket_sum;
        contended += results[c].contended;
    }
    CHECK(added == 3 * n, "lock add: %lu, not %lu", added, 3 * n);
    CHECK(drawn == n, "lock xadd: %lu, not %lu", drawn, n);
    CHECK(swapped == 5 * n, "lock cmpxchg: %lu, not %lu", swapped, 5 * n);
    CHECK(bit_word == 0, "bits left over: %x", bit_word);
    for (unsigned i = 0; i < 4; i++)
        CHECK(crowded[i] == (i + 1) * n, "crowded counter %u: %lu, not %lu", i, crowded[i],
              (i + 1) * n);
    /* Every number from 0 to n - 1 was drawn exactly once. */
    CHECK(tickets == n * (n - 1) / 2, "xadd results sum up to %lu", tickets);
    printf("%lu operations of each kind, %lu contended, totals exact\n", n, contended);
}

void guest_main(unsigned cpu)
{
    const uint64_t iters = cmdline_u64("iters", 20000);
    const bool broken = cmdline_has("break");
    uint64_t sum = 0, contended = 0, last = 0, i = 0;

    contend_begin();
    for (; contend_more(i, iters, contended); i++) {
        if (broken)
            broken_add(&added, 3);
        else
            lock_add(&added, 3);
        uint64_t ticket = lock_xadd(&drawn, 1);

        contended += i > 0 && ticket != last + 1;
        last = ticket;
        sum += ticket;
        cmpxchg_add(&swapped, 5);
        for (unsigned k = 0; k < 4; k++)
            lock_add(&crowded[k], k + 1);
        toggle_bit(cpu);
    }
    results[cpu].operations = i;
    results[cpu].ticket_sum = sum;
    results[cpu].contended = contended;
    barrier();
    if (cpu == 0)
        verify();
    if (ncpus == 1)
        pass_note("1 vCPU: nothing to contend");
}
