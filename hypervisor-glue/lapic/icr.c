/* SPDX-License-Identifier: BSD-3-Clause */
/* The ICR: from a write to a message ("Issuing Interprocessor Interrupts"). */
#include "hypervisor-glue/lapic/lapic_internal.h"

/* The combinations for which nothing is sent; "Valid Combinations for the ... ICR". */
static bool sends_nothing(const struct apic_msg *m)
{
    bool to_self = m->shorthand == APIC_SHORTHAND_SELF || m->shorthand == APIC_SHORTHAND_ALL;
    switch (m->delivery) {
    case APIC_DELIVERY_RESERVED:
    case APIC_DELIVERY_EXTINT:
        return true;
    case APIC_DELIVERY_INIT:
        return to_self || (m->trigger == APIC_TRIGGER_LEVEL && m->level == 0);
    case APIC_DELIVERY_SIPI:
        return to_self;
    default:
        return false;
    }
}

void lapic_self_ipi(struct lapic *l, uint8_t vector, struct lapic_out *out)
{
    if (vector < LAPIC_FIRST_VECTOR)
        lapic_log_error(l, LAPIC_ESR_SEND_VECTOR, out);
    else
        lapic_accept_fixed(l, vector, APIC_TRIGGER_EDGE, out);
}

void lapic_icr_send(struct lapic *l, uint32_t low, uint32_t dest, struct lapic_out *out)
{
    struct apic_msg m = {
        .dest = dest,
        .source = l->config.vcpu,
        .vector = (uint8_t)low,
        .delivery = low >> 8 & 7u,
        .dest_mode = low >> 11 & 1u,
        .shorthand = low >> 18 & 3u,
        .level = low >> 14 & 1u,
        .trigger = low >> 15 & 1u,
        .wide = lapic_is_x2apic(l),
    };
    if (sends_nothing(&m)) {
        l->count.icr_ignored++;
        return;
    }
    if (m.delivery != APIC_DELIVERY_INIT) {
        m.level = 1;
        m.trigger = APIC_TRIGGER_EDGE;
    }
    if (m.delivery <= APIC_DELIVERY_LOWEST) {
        if (m.shorthand == APIC_SHORTHAND_SELF) {
            lapic_self_ipi(l, m.vector, out);
            return;
        }
        if (m.vector < LAPIC_FIRST_VECTOR) {
            lapic_log_error(l, LAPIC_ESR_SEND_VECTOR, out);
            return;
        }
    }
    out->msg = m;
    out->events |= LAPIC_EV_IPI;
}
