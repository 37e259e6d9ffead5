/* SPDX-License-Identifier: BSD-3-Clause */
/* State that leaves and enters the model: struct kvm_lapic_state, and the announcement. */
#include "hypervisor-glue/lapic/lapic_internal.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/bits.h"

void lapic_export(const struct lapic *l, uint64_t now_ns, uint8_t regs[LAPIC_REGS_SIZE])
{
    struct lapic at_now = *l; /* an expiry that nobody has collected yet shows as its IRR bit */
    struct lapic_out ignored;
    lapic_out_clear(&ignored);
    lapic_timer_fire(&at_now, now_ns, &ignored);
    lapic_put(&at_now, LAPIC_PPR, lapic_ppr(&at_now));
    lapic_put(&at_now, LAPIC_TMCCT, lapic_timer_count(&at_now, now_ns));
    memset(regs, 0, LAPIC_REGS_SIZE);
    for (uint32_t i = 0; i < PANDO_ARRAY_LEN(at_now.reg); i++)
        put_le32(regs + i * 16, at_now.reg[i]);
}

/* Keeps of an imported register what this model can hold. */
static uint32_t import_reg(const struct lapic *l, uint32_t offset, uint32_t value)
{
    if (offset >= LAPIC_LVT_TIMER && offset <= LAPIC_LVT_ERROR)
        return value & lapic_lvt_mask(l, offset);
    if (offset >= LAPIC_ISR && offset < LAPIC_IRR + 0x80u)
        return value;
    switch (offset) {
    case LAPIC_ID:
    case LAPIC_TMICT:
        return value;
    case LAPIC_VERSION:
        return LAPIC_VERSION_VALUE;
    case LAPIC_TPR:
    case LAPIC_ESR:
        return value & 0xFFu;
    case LAPIC_SVR:
        return value & 0x3FFu;
    case LAPIC_LDR:
        return lapic_is_x2apic(l) ? irq_x2apic_ldr(l->config.apic_id) : value & 0xFF000000u;
    case LAPIC_DFR:
        return value | 0x0FFFFFFFu;
    case LAPIC_ICR:
        return value & 0x000CDFFFu & ~(1u << 12);
    case LAPIC_ICR2:
        return lapic_is_x2apic(l) ? value : value & 0xFF000000u;
    case LAPIC_TDCR:
        return value & 0xBu;
    default: /* computed on reading, or no register */
        return 0;
    }
}

/* The current count of the page restarts the timer. As in KVM a count of 0 beside an initial count
 * (QEMU never writes the current count) is a whole period, or in one-shot mode an expiry now. */
static void import_timer(struct lapic *l, uint64_t now_ns, uint32_t count, struct lapic_out *out)
{
    uint32_t initial = lapic_get(l, LAPIC_TMICT);
    out->events |= LAPIC_EV_TIMER;
    l->timer_rest_ns = 0;
    if (lapic_timer_is_tsc(l))
        return; /* IA32_TSC_DEADLINE, to be set after the import, starts it */
    lapic_timer_stop(l);
    if (count == 0 && lapic_timer_is_periodic(l))
        count = initial;
    if (count == 0 && initial != 0)
        l->timer_deadline_ns = now_ns;
    else
        lapic_timer_start(l, now_ns, count < initial ? count : initial, out);
}

int lapic_import(struct lapic *l, uint64_t now_ns, const uint8_t regs[LAPIC_REGS_SIZE],
                 struct lapic_out *out)
{
    const uint32_t low_vectors = (UINT32_C(1) << LAPIC_FIRST_VECTOR) - 1;
    if (get_le32(regs + LAPIC_ID) != l->config.apic_id << 24)
        return -EINVAL;
    if (((get_le32(regs + LAPIC_IRR) | get_le32(regs + LAPIC_ISR)) & low_vectors) != 0)
        return -EINVAL;
    bool was_tsc = lapic_timer_is_tsc(l);
    for (uint32_t i = 0; i < PANDO_ARRAY_LEN(l->reg); i++)
        l->reg[i] = import_reg(l, i * 16, get_le32(regs + i * 16));
    l->esr_pending = 0;
    if (was_tsc != lapic_timer_is_tsc(l))
        lapic_timer_stop(l);
    import_timer(l, now_ns, get_le32(regs + LAPIC_TMCCT), out);
    out->events |= LAPIC_EV_ANNOUNCE;
    lapic_eval(l, out);
    return 0;
}

/* A DFR model that the SDM does not define matches no logical destination: flat with id 0. */
void lapic_announcement(struct lapic *l, uint8_t node, struct irq_announcement *ret)
{
    uint8_t dfr = (uint8_t)(lapic_get(l, LAPIC_DFR) >> 28);
    uint32_t ldr = lapic_get(l, LAPIC_LDR);
    uint8_t flags = IRQ_VCPU_PRESENT;
    bool x2apic = lapic_is_x2apic(l);
    if (lapic_is_enabled(l))
        flags |= IRQ_VCPU_HW_ENABLED | (x2apic ? IRQ_VCPU_X2APIC : 0) |
                 (lapic_is_sw_enabled(l) ? IRQ_VCPU_SW_ENABLED : 0);
    if (x2apic || (dfr != IRQ_DFR_FLAT && dfr != IRQ_DFR_CLUSTER)) {
        dfr = IRQ_DFR_FLAT;
        ldr = x2apic ? ldr : 0;
    }
    *ret = (struct irq_announcement){
        .apic_id = l->config.apic_id,
        .ldr = ldr,
        .seq = ++l->announce_seq,
        .vcpu = l->config.vcpu,
        .node = node,
        .flags = flags,
        .dfr = dfr,
        .priority = 0,
    };
}
