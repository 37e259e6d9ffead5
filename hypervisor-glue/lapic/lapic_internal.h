/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of this folder share. Not for others. */
#ifndef PANDO_LAPIC_INTERNAL_H
#define PANDO_LAPIC_INTERNAL_H

#include "hypervisor-glue/lapic/lapic.h"

#define LAPIC_VERSION_VALUE 0x00050014u /* version 0x14, six LVT entries */

#define LAPIC_SVR_ENABLE   (1u << 8)
#define LAPIC_LVT_MASKED   (1u << 16)
#define LAPIC_LVT_LEVEL    (1u << 15)
#define LAPIC_LVT_EXTINT   ((uint32_t)APIC_DELIVERY_EXTINT << 8)
#define LAPIC_FIRST_VECTOR 16u /* 0..15 are illegal for fixed and lowest-priority interrupts */

#define LAPIC_TIMER_ONE_SHOT     0u
#define LAPIC_TIMER_PERIODIC     1u
#define LAPIC_TIMER_TSC_DEADLINE 2u

static inline uint32_t lapic_get(const struct lapic *l, uint32_t offset)
{
    return l->reg[offset >> 4];
}

static inline void lapic_put(struct lapic *l, uint32_t offset, uint32_t value)
{
    l->reg[offset >> 4] = value;
}

static inline bool lapic_is_enabled(const struct lapic *l)
{
    return (l->base & LAPIC_BASE_EN) != 0;
}

static inline bool lapic_is_x2apic(const struct lapic *l)
{
    return (l->base & LAPIC_BASE_EXTD) != 0;
}

static inline bool lapic_is_sw_enabled(const struct lapic *l)
{
    return (lapic_get(l, LAPIC_SVR) & LAPIC_SVR_ENABLE) != 0;
}

static inline bool lapic_waits_for_start(const struct lapic *l)
{
    return l->mp_state == LAPIC_MP_UNINITIALIZED || l->mp_state == LAPIC_MP_INIT_RECEIVED;
}

/* lapic.c */
void lapic_reset_registers(struct lapic *l);
void lapic_init_signal(struct lapic *l, struct lapic_out *out);
bool lapic_base_is_valid(const struct lapic *l, uint64_t value);

/* interrupts.c */
uint8_t lapic_ppr(const struct lapic *l);
uint8_t lapic_apr(const struct lapic *l);
void lapic_eval(const struct lapic *l, struct lapic_out *out);
void lapic_accept_fixed(struct lapic *l, uint8_t vector, uint8_t trigger, struct lapic_out *out);
void lapic_log_error(struct lapic *l, uint32_t esr_bit, struct lapic_out *out);
void lapic_lvt_fire(struct lapic *l, uint32_t lvt, struct lapic_out *out);
void lapic_eoi(struct lapic *l, struct lapic_out *out);

/* icr.c */
void lapic_icr_send(struct lapic *l, uint32_t low, uint32_t dest, struct lapic_out *out);
void lapic_self_ipi(struct lapic *l, uint8_t vector, struct lapic_out *out);

/* timer.c; all but lapic_timer_count expect lapic_timer_fire(now_ns) to have been called. */
uint32_t lapic_timer_count(const struct lapic *l, uint64_t now_ns);
void lapic_timer_start(struct lapic *l, uint64_t now_ns, uint32_t count, struct lapic_out *out);
void lapic_timer_set_divide(struct lapic *l, uint64_t now_ns, uint32_t tdcr, struct lapic_out *out);
void lapic_timer_set_lvt(struct lapic *l, uint32_t lvt, struct lapic_out *out);
void lapic_timer_stop(struct lapic *l);
bool lapic_timer_is_tsc(const struct lapic *l);
bool lapic_timer_is_periodic(const struct lapic *l);
bool lapic_irr_holds(const struct lapic *l, uint8_t vector);

/* registers.c: the writable bits of an LVT entry. */
uint32_t lapic_lvt_mask(const struct lapic *l, uint32_t offset);

#endif
