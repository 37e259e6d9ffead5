/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions that need many pages at once, contended by all vCPUs. Each step executes a movsq
 * (its bytes, its source and its destination straddle pages: 6 pages) and a call through memory
 * (its bytes, its operand and its stack straddle: 6 pages). With the page-table pages of the walk
 * that is more than 8. After each step a CPU writes words of its own into all 10 data pages, so
 * that every page is taken away all the time. All must advance, and every word is exact. */
#include "lib.h"

const char guest_name[] = "pageset";

#define PAIRS 5u /* source, destination, operand, stack of the call, stack of the push */

struct pair {
    uint8_t bytes[2 * PAGE];
} PAGE_ALIGNED;

static struct pair pairs[PAIRS];
static volatile uint64_t progress[MAX_CPUS][512] PAGE_ALIGNED;

extern const uint8_t pageset_target[], pageset_movs[], pageset_call[];
void pageset_step(void);

/* 8 bytes, of which `before` lie on the first page of the pair. */
static uint8_t *straddle(struct pair *p, unsigned before)
{
    return p->bytes + PAGE - before;
}

static volatile uint64_t *own_word(unsigned page, unsigned cpu)
{
    return (volatile uint64_t *)(void *)(pairs[page / 2].bytes + page % 2 * PAGE + 256 + cpu * 64);
}

static uint64_t get64(const void *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static const uint64_t copied = 0x0123456789ABCDEFull;

/* Returns how often the call's target ran: 1. */
static uint64_t step(void)
{
    uint8_t *to = straddle(&pairs[1], 3), *from = straddle(&pairs[0], 5);
    uint8_t *operand = straddle(&pairs[2], 4), *stack = straddle(&pairs[3], 4);
    const uint8_t *start_to = to, *start_from = from;
    uint8_t *stack2 = straddle(&pairs[4], 6);
    uint64_t calls, pushed;

    stack += 8; /* the first push is what straddles */
    stack2 += 8;
    __asm__ volatile("xorl %%r9d, %%r9d\n\t"
                     "movq %6, %%r10\n\t"
                     "call pageset_step\n\t"
                     "movq %%r9, %2"
                     : "+D"(to), "+S"(from), "=r"(calls), "=a"(pushed)
                     : "d"(operand), "c"(stack), "r"(stack2)
                     : "r8", "r9", "r10", "memory", "cc");
    CHECK(to == start_to + 8 && from == start_from + 8, "movsq moved rdi by %ld, rsi by %ld",
          (long)(to - start_to), (long)(from - start_from));
    CHECK(pushed == (uintptr_t)pageset_target, "push of the operand gave %lx", pushed);
    return calls;
}

static void one_step(unsigned cpu, uint64_t i)
{
    uint64_t calls = step(), got = get64(straddle(&pairs[1], 3));

    CHECK(calls == 1, "the call's target ran %lu times", calls);
    CHECK(got == copied, "the destination holds %lx", got);
    for (unsigned page = 0; page < 2 * PAIRS; page++) {
        uint64_t v = *own_word(page, cpu);

        CHECK(v == i - 1, "page %u: own word is %lu, not %lu", page, v, i - 1);
        *own_word(page, cpu) = i;
    }
    CHECK(progress[cpu][0] == i - 1, "own progress is %lu, not %lu", progress[cpu][0], i - 1);
    progress[cpu][0] = i;
}

/* Contended: the next CPU's word in the last page has moved since the step before. */
static void run(unsigned cpu, uint64_t iters)
{
    uint64_t i = 0, contended = 0, last = 0;

    contend_begin();
    while (contend_more(i, iters, contended)) {
        uint64_t next = *own_word(2 * PAIRS - 1, (cpu + 1) % ncpus);

        contended += next != last;
        last = next;
        one_step(cpu, ++i);
    }
}

static void verify(uint64_t iters)
{
    for (unsigned c = 0; c < ncpus; c++) {
        uint64_t steps = progress[c][0];

        CHECK(steps >= iters, "vCPU %u made %lu steps", c, steps);
        for (unsigned page = 0; page < 2 * PAIRS; page++)
            CHECK(*own_word(page, c) == steps, "page %u: word of vCPU %u is %lu, not %lu", page, c,
                  *own_word(page, c), steps);
        printf("vCPU %u: %lu steps\n", c, steps);
    }
    CHECK(get64(straddle(&pairs[0], 5)) == copied, "the source changed");
    CHECK(get64(straddle(&pairs[2], 4)) == (uintptr_t)pageset_target, "the operand changed");
    printf("at least %lu steps on each of %u vCPUs, every word exact\n", iters, ncpus);
}

void guest_main(unsigned cpu)
{
    const uint64_t iters = cmdline_u64("iters", 5000);

    if (cpu == 0) {
        uint64_t target = (uintptr_t)pageset_target;

        CHECK((uintptr_t)pageset_movs % PAGE == PAGE - 1, "movsq does not straddle");
        CHECK((uintptr_t)pageset_call % PAGE == PAGE - 1, "call does not straddle");
        memcpy(straddle(&pairs[0], 5), &copied, sizeof(copied));
        memcpy(straddle(&pairs[2], 4), &target, sizeof(target));
    }
    barrier();
    run(cpu, iters);
    barrier();
    if (cpu == 0 && cmdline_has("break"))
        *own_word(7, ncpus - 1) -= 1;
    barrier();
    if (cpu == 0)
        verify(iters);
    if (ncpus == 1)
        pass_note("1 vCPU: nothing to contend");
}
