/* SPDX-License-Identifier: BSD-3-Clause */
/* The local APIC through its memory-mapped page, from ring 3. */
#include "lib.h"

#define REG_TPR      0x80u
#define REG_LDR      0xD0u
#define REG_DFR      0xE0u
#define REG_SVR      0xF0u
#define REG_ICR_LOW  0x300u
#define REG_ICR_HIGH 0x310u
#define ICR_PENDING  (1u << 12)
#define NAP_LEAST_US 80u

uint32_t apic_read(uint32_t reg)
{
    uint32_t v;

    __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"((uintptr_t)LAPIC + reg) : "memory");
    return v;
}

void apic_write(uint32_t reg, uint32_t v)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"((uintptr_t)LAPIC + reg) : "memory");
}

uint32_t apic_logical_id(unsigned cpu)
{
    return cpu < 8 ? 1u << cpu : 0;
}

void apic_enable(void)
{
    unsigned cpu = this_cpu()->index;

    this_cpu()->apic_id = apic_read(LAPIC_ID) >> 24;
    apic_write(REG_TPR, 0);
    apic_write(REG_DFR, 0xFFFFFFFFu); /* flat */
    apic_write(REG_LDR, apic_logical_id(cpu) << 24);
    apic_write(APIC_TIMER_DIVIDE, 0xB);
    apic_write(REG_SVR, 0x100 | VECTOR_SPURIOUS);
}

/* The two halves of the ICR belong to this CPU alone, and no handler sends: no lock is needed. */
void apic_icr(uint32_t apic_id, uint32_t command)
{
    apic_write(REG_ICR_HIGH, apic_id << 24);
    apic_write(REG_ICR_LOW, command);
    WAIT_UNTIL(!(apic_read(REG_ICR_LOW) & ICR_PENDING), "ICR delivery");
}

void ipi_send(unsigned cpu, unsigned vector)
{
    apic_icr(cpu_ids.apic[cpu], ICR_ASSERT | ICR_FIXED | vector);
}

static void nap_for(uint32_t ticks)
{
    struct cpu *c = this_cpu();
    const uint64_t before = irq_count(c->index, V_NAP);
    const uint64_t start = rdtsc();

    /* nap_us=: a periodic timer. QEMU's emulation of AMD's virtualisation loses the shadow of STI
     * when an exit falls between STI and HLT, and a one-shot interrupt that is taken there wakes
     * nobody. */
    apic_write(APIC_LVT_TIMER, nap_us != 0 ? LVT_PERIODIC | V_NAP : V_NAP);
    apic_write(APIC_TIMER_INITIAL, ticks);
    while (irq_count(c->index, V_NAP) == before) {
        /* Before the first halt, see that the timer wakes this CPU at all. */
        if (c->napped != 0)
            system_call((uintptr_t)&c->counts[V_NAP], before, SYS_HALT_UNLESS);
        else if (rdtsc() - start > wait_limit)
            fail("the APIC timer does not interrupt");
    }
    if (nap_us != 0)
        apic_write(APIC_TIMER_INITIAL, 0);
    c->napped = 1;
}

void nap(void)
{
    nap_for((uint32_t)(APIC_HZ_ASSUMED / 1000000 * (nap_us != 0 ? nap_us : 200)));
}

void wait_until_tsc(uint64_t at)
{
    uint64_t t = rdtsc(), least = tsc_khz() * NAP_LEAST_US / 1000;

    if (t < at && at - t > least && naps_allowed)
        nap_for((uint32_t)((at - t) * (APIC_HZ_ASSUMED / 1000) / tsc_khz()));
    while (rdtsc() < at)
        cpu_pause();
}
