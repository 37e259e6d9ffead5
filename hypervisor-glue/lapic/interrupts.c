/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IRR, ISR, TMR and the priorities; messages and local sources coming in; EOI; errors.
 *
 * Invariants:
 *  1. No bit of vectors 0..15 is ever set in IRR or ISR.
 *  2. A vector enters ISR only from IRR, by lapic_accept, and only above PPR: the ISR vectors were
 *     accepted in rising order of class, so the highest one is the one an EOI ends.
 *  3. The TMR bit of a vector tells the trigger mode of the message that last set its IRR bit.
 *  4. An LVT ERROR interrupt is raised once between two writes of ESR.
 */
#include "hypervisor-glue/lapic/lapic_internal.h"

#include <errno.h>

/* ---- The 256-bit registers ---------------------------------------------------------------- */

static bool vector_test(const struct lapic *l, uint32_t array, uint32_t vector)
{
    return (lapic_get(l, array + vector / 32 * 16) >> (vector % 32) & 1u) != 0;
}

bool lapic_irr_holds(const struct lapic *l, uint8_t vector)
{
    return vector_test(l, LAPIC_IRR, vector);
}

static void vector_assign(struct lapic *l, uint32_t array, uint32_t vector, bool on)
{
    uint32_t offset = array + vector / 32 * 16;
    uint32_t bit = UINT32_C(1) << (vector % 32);
    lapic_put(l, offset, on ? lapic_get(l, offset) | bit : lapic_get(l, offset) & ~bit);
}

static int vector_highest(const struct lapic *l, uint32_t array)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t bits = lapic_get(l, array + (uint32_t)i * 16);
        if (bits != 0)
            return i * 32 + 31 - __builtin_clz(bits);
    }
    return -1;
}

/* ---- Priorities --------------------------------------------------------------------------- */

/* "Task and Processor Priorities". */
uint8_t lapic_ppr(const struct lapic *l)
{
    uint32_t tpr = lapic_get(l, LAPIC_TPR) & 0xFFu;
    int isr = vector_highest(l, LAPIC_ISR);
    uint32_t isr_class = isr < 0 ? 0 : (uint32_t)isr & 0xF0u;
    return (uint8_t)((tpr & 0xF0u) >= isr_class ? tpr : isr_class);
}

/* "Arbitration Priority Register": nobody arbitrates by it, but it can be read. */
uint8_t lapic_apr(const struct lapic *l)
{
    uint32_t tpr = lapic_get(l, LAPIC_TPR) & 0xFFu;
    int isr = vector_highest(l, LAPIC_ISR);
    int irr = vector_highest(l, LAPIC_IRR);
    uint32_t isr_class = isr < 0 ? 0 : (uint32_t)isr & 0xF0u;
    uint32_t irr_class = irr < 0 ? 0 : (uint32_t)irr & 0xF0u;
    if ((tpr & 0xF0u) >= irr_class && (tpr & 0xF0u) > isr_class)
        return (uint8_t)tpr;
    return (uint8_t)(isr_class > irr_class ? isr_class : irr_class);
}

/* With the local APIC disabled LINT0 is the processor's INTR pin. */
static bool lint0_passes_extint(const struct lapic *l)
{
    uint32_t lint0 = lapic_get(l, LAPIC_LVT_LINT0);
    if (!lapic_is_enabled(l))
        return true;
    return (lint0 & LAPIC_LVT_MASKED) == 0 && (lint0 & 0x700u) == LAPIC_LVT_EXTINT;
}

int lapic_next_vector(const struct lapic *l)
{
    if (lapic_waits_for_start(l))
        return -1;
    if (l->extint >= 0 && lint0_passes_extint(l))
        return l->extint | LAPIC_PENDING_EXTINT;
    if (!lapic_is_enabled(l))
        return -1;
    int irr = vector_highest(l, LAPIC_IRR);
    if (irr < 0 || ((uint32_t)irr & 0xF0u) <= (lapic_ppr(l) & 0xF0u))
        return -1;
    return irr;
}

bool lapic_wants_window(const struct lapic *l)
{
    return lapic_next_vector(l) >= 0;
}

void lapic_eval(const struct lapic *l, struct lapic_out *out)
{
    if (lapic_next_vector(l) >= 0)
        out->events |= LAPIC_EV_EVAL;
}

int lapic_accept(struct lapic *l, int pending)
{
    if (pending < 0 || pending != lapic_next_vector(l))
        return -EINVAL;
    if (pending & LAPIC_PENDING_EXTINT) {
        l->extint = -1;
    } else {
        vector_assign(l, LAPIC_IRR, (uint32_t)pending, false);
        vector_assign(l, LAPIC_ISR, (uint32_t)pending, true);
    }
    l->count.accepted++;
    return 0;
}

/* "Signaling Interrupt Servicing Completion". */
void lapic_eoi(struct lapic *l, struct lapic_out *out)
{
    int isr = vector_highest(l, LAPIC_ISR);
    if (isr < 0)
        return;
    vector_assign(l, LAPIC_ISR, (uint32_t)isr, false);
    if (vector_test(l, LAPIC_TMR, (uint32_t)isr)) {
        out->events |= LAPIC_EV_EOI;
        out->eoi_vector = (uint8_t)isr;
    }
    lapic_eval(l, out);
}

uint8_t lapic_cr8(const struct lapic *l)
{
    return (uint8_t)(lapic_get(l, LAPIC_TPR) >> 4 & 0xFu);
}

void lapic_set_cr8(struct lapic *l, uint8_t cr8, struct lapic_out *out)
{
    if ((cr8 & 0xFu) == lapic_cr8(l))
        return;
    lapic_put(l, LAPIC_TPR, (cr8 & 0xFu) << 4);
    lapic_eval(l, out);
}

/* ---- Coming in ---------------------------------------------------------------------------- */

void lapic_log_error(struct lapic *l, uint32_t esr_bit, struct lapic_out *out)
{
    bool armed = l->esr_pending == 0;
    l->esr_pending |= esr_bit;
    if (armed)
        lapic_lvt_fire(l, LAPIC_LVT_ERROR, out);
}

void lapic_accept_fixed(struct lapic *l, uint8_t vector, uint8_t trigger, struct lapic_out *out)
{
    if (!lapic_is_enabled(l) || !lapic_is_sw_enabled(l)) {
        l->count.dropped++;
        return;
    }
    if (vector < LAPIC_FIRST_VECTOR) {
        lapic_log_error(l, LAPIC_ESR_RECV_VECTOR, out);
        return;
    }
    if (vector_test(l, LAPIC_IRR, vector))
        l->count.coalesced++;
    vector_assign(l, LAPIC_TMR, vector, trigger == APIC_TRIGGER_LEVEL);
    vector_assign(l, LAPIC_IRR, vector, true);
    lapic_eval(l, out);
}

static void accept_nmi(struct lapic *l, struct lapic_out *out)
{
    if (lapic_waits_for_start(l))
        l->count.dropped++;
    else
        out->events |= LAPIC_EV_NMI;
}

static void accept_sipi(struct lapic *l, uint8_t vector, struct lapic_out *out)
{
    if (l->mp_state != LAPIC_MP_INIT_RECEIVED) {
        l->count.sipi_ignored++;
        return;
    }
    l->sipi_vector = vector;
    l->mp_state = LAPIC_MP_SIPI_RECEIVED;
    out->events |= LAPIC_EV_SIPI;
}

void lapic_deliver(struct lapic *l, uint64_t now_ns, const struct apic_msg *msg,
                   struct lapic_out *out)
{
    lapic_timer_fire(l, now_ns, out);
    if (!lapic_is_enabled(l)) {
        l->count.dropped++;
        return;
    }
    switch (msg->delivery) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST:
        lapic_accept_fixed(l, msg->vector, msg->trigger, out);
        break;
    case APIC_DELIVERY_NMI:
        accept_nmi(l, out);
        break;
    case APIC_DELIVERY_INIT:
        if (msg->trigger == APIC_TRIGGER_EDGE || msg->level != 0)
            lapic_init_signal(l, out);
        break;
    case APIC_DELIVERY_SIPI:
        accept_sipi(l, msg->vector, out);
        break;
    case APIC_DELIVERY_SMI:
        l->count.smi_ignored++;
        break;
    case APIC_DELIVERY_EXTINT:
        l->count.extint_ignored++;
        break;
    default: /* reserved: irq_route refuses it */
        break;
    }
}

/* "Local Vector Table". An entry that does not fire leaves no trace: sources are momentary. */
void lapic_lvt_fire(struct lapic *l, uint32_t lvt, struct lapic_out *out)
{
    uint32_t entry = lapic_get(l, lvt);
    if ((entry & LAPIC_LVT_MASKED) != 0 || !lapic_is_enabled(l))
        return;
    if (lvt == LAPIC_LVT_PERF)
        lapic_put(l, lvt, entry | LAPIC_LVT_MASKED);
    bool level = lvt == LAPIC_LVT_LINT0 && (entry & LAPIC_LVT_LEVEL) != 0;
    switch (entry >> 8 & 7u) { /* TIMER and ERROR have no delivery mode: these bits are 0, fixed */
    case APIC_DELIVERY_FIXED:
        lapic_accept_fixed(l, (uint8_t)entry, level ? APIC_TRIGGER_LEVEL : APIC_TRIGGER_EDGE, out);
        break;
    case APIC_DELIVERY_NMI:
        accept_nmi(l, out);
        break;
    case APIC_DELIVERY_INIT:
        lapic_init_signal(l, out);
        break;
    case APIC_DELIVERY_SMI:
        l->count.smi_ignored++;
        break;
    default: /* ExtINT comes by lapic_extint_set; the others are reserved */
        break;
    }
}

void lapic_local(struct lapic *l, enum lapic_reg lvt, struct lapic_out *out)
{
    if (lvt == LAPIC_LVT_LINT1 && !lapic_is_enabled(l)) {
        accept_nmi(l, out);
        return;
    }
    if (lvt == LAPIC_LVT_LINT0 || lvt == LAPIC_LVT_LINT1 || lvt == LAPIC_LVT_PERF ||
        lvt == LAPIC_LVT_THERMAL)
        lapic_lvt_fire(l, lvt, out);
}

bool lapic_extint_ready(const struct lapic *l)
{
    return l->extint < 0 && lint0_passes_extint(l);
}

int lapic_extint_set(struct lapic *l, uint8_t vector, struct lapic_out *out)
{
    if (l->extint >= 0)
        return -EEXIST;
    l->extint = vector;
    lapic_eval(l, out);
    return 0;
}
