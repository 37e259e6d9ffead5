/* SPDX-License-Identifier: BSD-3-Clause */
/* Inter-processor interrupts in every form, each counted exactly. Equal vectors coalesce while one
 * is pending, so a sender always waits for the arrival before it sends the next. */
#include "lib.h"

const char guest_name[] = "ipi";

enum {
    V_RING = 0x40,
    V_OTHERS = 0x41,
    V_ALL = 0x42,
    V_SELF = 0x43,
    V_LOWEST = 0x44,
    V_LOGICAL = 0x45,
    V_WAKE = 0x46,
    V_SELF_FIXED = 0x47,
    V_BURST = 0x60,
};

static uint64_t expected[MAX_CPUS][512] PAGE_ALIGNED; /* by vector; written by CPU 0 only */
static uint32_t asleep[MAX_CPUS][1024] PAGE_ALIGNED;

static uint64_t sum_over_cpus(unsigned vector)
{
    uint64_t sum = 0;

    for (unsigned c = 0; c < ncpus; c++)
        sum += irq_count(c, vector);
    return sum;
}

/* A token: each CPU passes it on when it has come; `laps` times around. */
static void ring(unsigned cpu, uint64_t laps)
{
    for (uint64_t lap = 1; lap <= laps; lap++) {
        if (cpu != 0 || lap > 1)
            WAIT_UNTIL(irq_count(cpu, V_RING) >= (cpu == 0 ? lap - 1 : lap), "ring token, lap %lu",
                       lap);
        ipi_send((cpu + 1) % ncpus, V_RING);
    }
    WAIT_UNTIL(irq_count(cpu, V_RING) == laps, "last ring token");
}

/* Waits until `vector` has come `n` times to each CPU in `mask`. */
static void await_mask(uint32_t mask, unsigned vector, uint64_t more)
{
    for (unsigned c = 0; c < ncpus; c++)
        if (mask >> c & 1) {
            expected[c][vector] += more;
            WAIT_UNTIL(irq_count(c, vector) >= expected[c][vector],
                       "vector %x at vCPU %u: %lu came, not %lu", vector, c, irq_count(c, vector),
                       expected[c][vector]);
        }
}

static uint32_t all_cpus(void)
{
    return (uint32_t)((1ull << ncpus) - 1);
}

/* One CPU sends, the others are in a barrier: shorthands, logical masks, lowest priority, NMI. */
static void send_all_forms(unsigned cpu, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        apic_icr(0, ICR_OTHERS | ICR_ASSERT | V_OTHERS);
        await_mask(all_cpus() & ~(1u << cpu), V_OTHERS, 1);
        apic_icr(0, ICR_ALL | ICR_ASSERT | V_ALL);
        await_mask(all_cpus(), V_ALL, 1);
        apic_icr(0, ICR_SELF | ICR_ASSERT | V_SELF);
        await_mask(1u << cpu, V_SELF, 1);
        ipi_send(cpu, V_SELF_FIXED);
        await_mask(1u << cpu, V_SELF_FIXED, 1);
    }
    for (unsigned c = 0; c < ncpus; c++) {
        apic_icr(cpu_data(c)->apic_id, ICR_NMI | ICR_ASSERT);
        await_mask(1u << c, VECTOR_NMI, 1);
    }
    if (ncpus > 1) {
        apic_icr(0, ICR_OTHERS | ICR_NMI | ICR_ASSERT);
        await_mask(all_cpus() & ~(1u << cpu), VECTOR_NMI, 1);
    }
}

/* Every set of up to 8 logical ids (with many CPUs: a few sets). */
static void send_logical(uint64_t rounds)
{
    uint32_t top = all_cpus() & 0xFF;

    for (uint32_t mask = 1; mask <= top; mask += ncpus > 4 ? 5 : 1) {
        apic_icr(mask & top, ICR_LOGICAL | ICR_ASSERT | V_LOGICAL);
        await_mask(mask & top, V_LOGICAL, 1);
    }
    /* Exactly one of the addressed CPUs takes a lowest-priority interrupt. */
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t before = sum_over_cpus(V_LOWEST);

        apic_icr(top, ICR_LOGICAL | ICR_LOWEST | ICR_ASSERT | V_LOWEST);
        WAIT_UNTIL(sum_over_cpus(V_LOWEST) > before, "lowest-priority interrupt %lu", i);
    }
}

/* Different vectors do not coalesce: all of a burst arrive, sent without waiting. */
static void send_burst(unsigned cpu)
{
    unsigned to = (cpu + 1) % ncpus;

    for (unsigned v = 0; v < 64; v++)
        ipi_send(to, V_BURST + v);
    for (unsigned v = 0; v < 64; v++)
        await_mask(1u << to, V_BURST + v, 1);
}

/* Halted CPUs wake up: the sleeper says so first, and ring 0 halts unless the count moved. */
static void wake(unsigned cpu, uint64_t rounds)
{
    for (uint64_t i = 1; i <= rounds; i++) {
        if (cpu == 0) {
            for (unsigned c = 1; c < ncpus; c++) {
                WAIT_UNTIL(__atomic_load_n(&asleep[c][0], __ATOMIC_ACQUIRE) == i,
                           "vCPU %u to sleep", c);
                ipi_send(c, V_WAKE);
                await_mask(1u << c, V_WAKE, 1);
            }
            continue;
        }
        __atomic_store_n(&asleep[cpu][0], (uint32_t)i, __ATOMIC_RELEASE);
        while (irq_count(cpu, V_WAKE) < i)
            system_call((uintptr_t)&this_cpu()->counts[V_WAKE], i - 1, SYS_HALT_UNLESS);
    }
}

/* Interrupts that come while they are held off are taken when they are allowed again. */
static void masked(unsigned cpu)
{
    system_call(0, 0, SYS_IRQ_OFF);
    uint64_t before = irq_count(cpu, V_SELF);

    apic_icr(0, ICR_SELF | ICR_ASSERT | V_SELF);
    for (uint64_t end = rdtsc() + tsc_khz(); rdtsc() < end;)
        cpu_pause();
    CHECK(irq_count(cpu, V_SELF) == before, "an interrupt came with interrupts off");
    system_call(0, 0, SYS_IRQ_ON);
    WAIT_UNTIL(irq_count(cpu, V_SELF) == before + 1, "interrupt after they were off");
}

static void verify(uint64_t laps, uint64_t lowest)
{
    for (unsigned c = 0; c < ncpus; c++) {
        expected[c][V_RING] = laps;
        expected[c][V_SELF] += 1; /* masked() */
        for (unsigned v = 0; v < 256; v++)
            CHECK(v == V_LOWEST || v == V_NAP || irq_count(c, v) == expected[c][v],
                  "vCPU %u took vector %x %lu times, not %lu", c, v, irq_count(c, v),
                  expected[c][v]);
    }
    CHECK(sum_over_cpus(V_LOWEST) == lowest, "%lu lowest-priority interrupts, not %lu",
          sum_over_cpus(V_LOWEST), lowest);
    printf("ring %lu laps, %lu lowest priority, NMIs and broadcasts from each: exact\n", laps,
           lowest);
}

void guest_main(unsigned cpu)
{
    const uint64_t laps = cmdline_u64("laps", 200), rounds = cmdline_u64("rounds", 20);

    ring(cpu, laps);
    barrier();
    for (unsigned sender = 0; sender < ncpus; sender++) {
        if (cpu == sender) {
            send_all_forms(cpu, rounds);
            send_logical(rounds);
            send_burst(cpu);
        }
        barrier();
    }
    wake(cpu, rounds);
    barrier();
    masked(cpu);
    if (cpu == 0 && cmdline_has("break"))
        ipi_send(ncpus - 1, V_RING);
    barrier();
    /* Time for a duplicate to come late. */
    for (uint64_t end = rdtsc() + tsc_khz() * 20; rdtsc() < end;)
        cpu_pause();
    barrier();
    if (cpu == 0)
        verify(laps, rounds * ncpus);
}
