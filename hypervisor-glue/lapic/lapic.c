/* SPDX-License-Identifier: BSD-3-Clause */
/* Creation, reset, IA32_APIC_BASE and the MP state. */
#include "hypervisor-glue/lapic/lapic_internal.h"

#include <errno.h>
#include <string.h>

int lapic_create(struct lapic *l, const struct lapic_config *config)
{
    struct lapic_out ignored;
    if (config->vcpu >= IRQ_MAX_VCPUS || config->apic_id >= IRQ_MAX_APIC_IDS)
        return -EINVAL;
    if (config->timer_hz != 0 &&
        (config->timer_hz < LAPIC_MIN_HZ || config->timer_hz > LAPIC_MAX_HZ))
        return -EINVAL;
    if (config->tsc_deadline && config->tsc_khz == 0)
        return -EINVAL;
    memset(l, 0, sizeof(*l));
    l->config = *config;
    if (l->config.timer_hz == 0)
        l->config.timer_hz = LAPIC_DEFAULT_HZ;
    lapic_set_cpuid(l, true, 52);
    lapic_out_clear(&ignored);
    lapic_reset(l, &ignored);
    return 0;
}

void lapic_set_cpuid(struct lapic *l, bool x2apic, uint8_t phys_bits)
{
    l->x2apic_allowed = x2apic;
    l->phys_bits = phys_bits >= 32 && phys_bits <= 52 ? phys_bits : 52;
}

/* "Local APIC State After Power-Up or Reset". The mode decides what LDR is. */
void lapic_reset_registers(struct lapic *l)
{
    memset(l->reg, 0, sizeof(l->reg));
    lapic_put(l, LAPIC_ID, l->config.apic_id << 24);
    lapic_put(l, LAPIC_VERSION, LAPIC_VERSION_VALUE);
    lapic_put(l, LAPIC_DFR, UINT32_MAX);
    lapic_put(l, LAPIC_SVR, 0xFFu);
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        lapic_put(l, lvt, LAPIC_LVT_MASKED);
    if (l->config.bsp)
        lapic_put(l, LAPIC_LVT_LINT0, LAPIC_LVT_EXTINT);
    if (lapic_is_x2apic(l))
        lapic_put(l, LAPIC_LDR, irq_x2apic_ldr(l->config.apic_id));
    l->esr_pending = 0;
    lapic_timer_stop(l);
    l->timer_rest_ns = 0;
}

void lapic_reset(struct lapic *l, struct lapic_out *out)
{
    l->base = LAPIC_DEFAULT_BASE | LAPIC_BASE_EN | (l->config.bsp ? LAPIC_BASE_BSP : 0);
    lapic_reset_registers(l);
    l->extint = -1;
    l->sipi_vector = 0;
    l->mp_state = l->config.bsp ? LAPIC_MP_RUNNABLE : LAPIC_MP_UNINITIALIZED;
    out->events |= LAPIC_EV_TIMER | LAPIC_EV_ANNOUNCE;
}

/* "Local APIC State After It Receives an INIT-Deassert IPI": IA32_APIC_BASE is kept. */
void lapic_init_signal(struct lapic *l, struct lapic_out *out)
{
    lapic_reset_registers(l);
    l->extint = -1;
    l->mp_state = l->config.bsp ? LAPIC_MP_RUNNABLE : LAPIC_MP_INIT_RECEIVED;
    out->events &= ~(uint32_t)LAPIC_EV_EVAL;
    out->events |= LAPIC_EV_INIT | LAPIC_EV_TIMER | LAPIC_EV_ANNOUNCE;
}

/* ---- IA32_APIC_BASE ----------------------------------------------------------------------- */

uint64_t lapic_base(const struct lapic *l)
{
    return l->base;
}

/* Reserved bits, and the one state that does not exist. */
bool lapic_base_is_valid(const struct lapic *l, uint64_t value)
{
    uint64_t reserved = UINT64_C(0x2FF) | UINT64_MAX << l->phys_bits;
    if (!l->x2apic_allowed)
        reserved |= LAPIC_BASE_EXTD;
    if (value & reserved)
        return false;
    return (value & LAPIC_BASE_EXTD) == 0 || (value & LAPIC_BASE_EN) != 0;
}

int lapic_base_set(struct lapic *l, uint64_t value, struct lapic_out *out)
{
    uint64_t old = l->base;
    if (!lapic_base_is_valid(l, value))
        return -EINVAL;
    l->base = value;
    if (((old ^ value) & (LAPIC_BASE_EN | LAPIC_BASE_EXTD)) == 0)
        return 0;
    out->events |= LAPIC_EV_ANNOUNCE;
    if ((value & LAPIC_BASE_EN) == 0) {
        lapic_reset_registers(l);
        out->events |= LAPIC_EV_TIMER;
    } else if (value & LAPIC_BASE_EXTD) {
        lapic_put(l, LAPIC_LDR, irq_x2apic_ldr(l->config.apic_id));
        lapic_put(l, LAPIC_ICR2, 0);
    } else if (old & LAPIC_BASE_EXTD) {
        lapic_put(l, LAPIC_LDR, 0);
    }
    return 0;
}

bool lapic_mmio_claims(const struct lapic *l, uint64_t gpa)
{
    uint64_t page = l->base & ~(uint64_t)(LAPIC_MMIO_SIZE - 1);
    return lapic_is_enabled(l) && !lapic_is_x2apic(l) &&
           (gpa & ~(uint64_t)(LAPIC_MMIO_SIZE - 1)) == page;
}

/* ---- MP state ----------------------------------------------------------------------------- */

uint8_t lapic_mp_state(const struct lapic *l)
{
    return l->mp_state;
}

uint8_t lapic_sipi_vector(const struct lapic *l)
{
    return l->sipi_vector;
}

int lapic_set_mp_state(struct lapic *l, uint8_t mp_state)
{
    if (mp_state > LAPIC_MP_SIPI_RECEIVED)
        return -EINVAL;
    l->mp_state = mp_state;
    return 0;
}

void lapic_set_sipi_vector(struct lapic *l, uint8_t vector)
{
    l->sipi_vector = vector;
}
