/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register file, as MMIO page (xAPIC) and as MSRs (x2APIC). Both views end in reg_read and
 * reg_write, which know the meaning of a register; the views know widths, reserved bits and faults.
 */
#include "hypervisor-glue/lapic/lapic_internal.h"

#include <errno.h>

#define SVR_MASK       0x3FFu /* vector, enable, focus check; bit 12 is not offered */
#define TDCR_MASK      0xBu
#define ICR_BUSY       (1u << 12)
#define ICR_RESERVED   0xFFF32000u
#define LVT_VECTOR     0xFFu
#define LVT_MODE       0x700u
#define LVT_READ_ONLY  ((1u << 12) | (1u << 14)) /* delivery status, remote IRR */
#define LVT_PINS       ((1u << 13) | (1u << 15)) /* polarity, trigger */
#define BASE_MODE_BITS (LAPIC_BASE_EN | LAPIC_BASE_EXTD)

uint32_t lapic_lvt_mask(const struct lapic *l, uint32_t offset)
{
    switch (offset) {
    case LAPIC_LVT_TIMER:
        return LVT_VECTOR | LAPIC_LVT_MASKED | (l->config.tsc_deadline ? 3u : 1u) << 17;
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PERF:
        return LVT_VECTOR | LVT_MODE | LAPIC_LVT_MASKED;
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
        return LVT_VECTOR | LVT_MODE | LVT_PINS | LAPIC_LVT_MASKED;
    default:
        return LVT_VECTOR | LAPIC_LVT_MASKED;
    }
}

static bool is_lvt(uint32_t offset)
{
    return offset >= LAPIC_LVT_TIMER && offset <= LAPIC_LVT_ERROR;
}

/* Is there a register here, in either mode? "Local APIC Register Address Map". */
static bool reg_exists(uint32_t offset)
{
    if (offset >= LAPIC_ISR && offset < LAPIC_IRR + 0x80u)
        return true;
    if (is_lvt(offset) || (offset >= LAPIC_TPR && offset <= LAPIC_SVR))
        return true;
    switch (offset) {
    case LAPIC_ID:
    case LAPIC_VERSION:
    case LAPIC_ESR:
    case LAPIC_ICR:
    case LAPIC_ICR2:
    case LAPIC_TMICT:
    case LAPIC_TMCCT:
    case LAPIC_TDCR:
        return true;
    default:
        return false;
    }
}

static uint32_t reg_read(const struct lapic *l, uint64_t now_ns, uint32_t offset)
{
    switch (offset) {
    case LAPIC_APR:
        return lapic_apr(l);
    case LAPIC_PPR:
        return lapic_ppr(l);
    case LAPIC_TMCCT:
        return lapic_timer_count(l, now_ns);
    default:
        return lapic_get(l, offset);
    }
}

/* ---- Writes ------------------------------------------------------------------------------- */

/* "Spurious-Interrupt Vector Register"; "Local APIC State After It Has Been Software Disabled". */
static void write_svr(struct lapic *l, uint32_t value, struct lapic_out *out)
{
    uint32_t old = lapic_get(l, LAPIC_SVR);
    lapic_put(l, LAPIC_SVR, value & SVR_MASK);
    if (((old ^ value) & LAPIC_SVR_ENABLE) == 0)
        return;
    out->events |= LAPIC_EV_ANNOUNCE;
    if (value & LAPIC_SVR_ENABLE)
        return;
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        lapic_put(l, lvt, lapic_get(l, lvt) | LAPIC_LVT_MASKED);
    out->events |= LAPIC_EV_TIMER;
}

static void write_lvt(struct lapic *l, uint32_t offset, uint32_t value, struct lapic_out *out)
{
    value &= lapic_lvt_mask(l, offset);
    if (!lapic_is_sw_enabled(l))
        value |= LAPIC_LVT_MASKED;
    if (offset == LAPIC_LVT_TIMER)
        lapic_timer_set_lvt(l, value, out);
    else
        lapic_put(l, offset, value);
    lapic_eval(l, out); /* LINT0 may let a held ExtINT through now */
}

/* LDR and DFR do not exist as writable registers in x2APIC mode; the MSR view refuses them. */
static void write_logical(struct lapic *l, uint32_t offset, uint32_t value, struct lapic_out *out)
{
    value = offset == LAPIC_LDR ? value & 0xFF000000u : value | 0x0FFFFFFFu;
    if (lapic_get(l, offset) == value)
        return;
    lapic_put(l, offset, value);
    out->events |= LAPIC_EV_ANNOUNCE;
}

static void write_icr(struct lapic *l, uint32_t low, uint32_t high, struct lapic_out *out)
{
    lapic_put(l, LAPIC_ICR, low & ~(ICR_RESERVED | ICR_BUSY));
    lapic_put(l, LAPIC_ICR2, high);
    lapic_icr_send(l, low, lapic_is_x2apic(l) ? high : high >> 24, out);
}

static void reg_write(struct lapic *l, uint64_t now_ns, uint32_t offset, uint32_t value,
                      struct lapic_out *out)
{
    if (is_lvt(offset)) {
        write_lvt(l, offset, value, out);
        return;
    }
    switch (offset) {
    case LAPIC_TPR:
        lapic_put(l, LAPIC_TPR, value & 0xFFu);
        lapic_eval(l, out);
        break;
    case LAPIC_EOI:
        lapic_eoi(l, out);
        break;
    case LAPIC_LDR:
    case LAPIC_DFR:
        write_logical(l, offset, value, out);
        break;
    case LAPIC_SVR:
        write_svr(l, value, out);
        break;
    case LAPIC_ESR: /* "Error Handling": the write latches what was logged and re-arms */
        lapic_put(l, LAPIC_ESR, l->esr_pending);
        l->esr_pending = 0;
        break;
    case LAPIC_ICR:
        write_icr(l, value, lapic_get(l, LAPIC_ICR2), out);
        break;
    case LAPIC_ICR2:
        lapic_put(l, LAPIC_ICR2, value & 0xFF000000u);
        break;
    case LAPIC_TMICT:
        if (lapic_timer_is_tsc(l))
            break;
        lapic_put(l, LAPIC_TMICT, value);
        lapic_timer_start(l, now_ns, value, out);
        break;
    case LAPIC_TDCR:
        lapic_timer_set_divide(l, now_ns, value & TDCR_MASK, out);
        break;
    default: /* a read-only register */
        break;
    }
}

/* ---- MMIO --------------------------------------------------------------------------------- */

int lapic_mmio_read(struct lapic *l, uint64_t now_ns, uint32_t offset, uint32_t len,
                    uint32_t *ret_value, struct lapic_out *out)
{
    uint32_t in_slot = offset & 15u;
    uint32_t slot = offset & ~15u;
    if (!lapic_is_enabled(l) || lapic_is_x2apic(l))
        return -ENXIO;
    *ret_value = 0;
    if ((len != 1 && len != 2 && len != 4) || in_slot + len > 4)
        return 0;
    lapic_timer_fire(l, now_ns, out);
    if (!reg_exists(slot)) {
        lapic_log_error(l, LAPIC_ESR_ILLEGAL_REG, out);
        return 0;
    }
    uint32_t value = reg_read(l, now_ns, slot) >> (in_slot * 8);
    *ret_value = len == 4 ? value : value & ((UINT32_C(1) << (len * 8)) - 1);
    return 0;
}

int lapic_mmio_write(struct lapic *l, uint64_t now_ns, uint32_t offset, uint32_t len,
                     uint32_t value, struct lapic_out *out)
{
    if (!lapic_is_enabled(l) || lapic_is_x2apic(l))
        return -ENXIO;
    if (len != 4 || (offset & 15u) != 0)
        return 0;
    lapic_timer_fire(l, now_ns, out);
    if (reg_exists(offset))
        reg_write(l, now_ns, offset, value, out);
    else
        lapic_log_error(l, LAPIC_ESR_ILLEGAL_REG, out);
    return 0;
}

/* ---- MSRs --------------------------------------------------------------------------------- */

static bool is_x2apic_msr(uint32_t msr)
{
    return msr >= LAPIC_MSR_X2_FIRST && msr <= LAPIC_MSR_X2_LAST;
}

/* "x2APIC Register Address Space": what is readable. */
static bool msr_is_readable(uint32_t offset)
{
    switch (offset) {
    case LAPIC_APR:
    case LAPIC_EOI:
    case LAPIC_RRD:
    case LAPIC_DFR:
    case LAPIC_ICR2:
        return false;
    default:
        return reg_exists(offset);
    }
}

/* The bits that may be set in a write; a register that cannot be written accepts nothing. */
static bool msr_accepts(const struct lapic *l, uint32_t offset, uint64_t value)
{
    if (offset == LAPIC_ICR)
        return (value & ICR_RESERVED) == 0;
    if (is_lvt(offset))
        return (value & ~(uint64_t)(lapic_lvt_mask(l, offset) | LVT_READ_ONLY)) == 0;
    switch (offset) {
    case LAPIC_TPR:
    case LAPIC_SELF_IPI:
        return value <= 0xFFu;
    case LAPIC_EOI:
    case LAPIC_ESR:
        return value == 0;
    case LAPIC_SVR:
        return (value & ~(uint64_t)SVR_MASK) == 0;
    case LAPIC_TMICT:
        return value <= UINT32_MAX;
    case LAPIC_TDCR:
        return (value & ~(uint64_t)TDCR_MASK) == 0;
    default:
        return false;
    }
}

int lapic_msr_read(struct lapic *l, uint64_t now_ns, uint32_t msr, uint64_t *ret_value,
                   struct lapic_out *out)
{
    if (msr == LAPIC_MSR_BASE) {
        *ret_value = l->base;
        return 0;
    }
    if (!is_x2apic_msr(msr))
        return -ENOENT;
    uint32_t offset = (msr - LAPIC_MSR_X2_FIRST) << 4;
    if (!lapic_is_x2apic(l) || !msr_is_readable(offset)) {
        out->events |= LAPIC_EV_GP;
        return 0;
    }
    lapic_timer_fire(l, now_ns, out);
    if (offset == LAPIC_ID)
        *ret_value = l->config.apic_id;
    else if (offset == LAPIC_ICR)
        *ret_value = (uint64_t)lapic_get(l, LAPIC_ICR2) << 32 | lapic_get(l, LAPIC_ICR);
    else
        *ret_value = reg_read(l, now_ns, offset);
    return 0;
}

/* "x2APIC State Transitions", for a write by the guest. */
static bool base_transition_is_allowed(uint64_t old, uint64_t value)
{
    if ((old & BASE_MODE_BITS) == BASE_MODE_BITS)
        return (value & BASE_MODE_BITS) != LAPIC_BASE_EN;
    if ((old & LAPIC_BASE_EN) == 0)
        return (value & LAPIC_BASE_EXTD) == 0;
    return true;
}

int lapic_msr_write(struct lapic *l, uint64_t now_ns, uint32_t msr, uint64_t value,
                    struct lapic_out *out)
{
    if (msr == LAPIC_MSR_BASE) {
        lapic_timer_fire(l, now_ns, out);
        if (!base_transition_is_allowed(l->base, value) || lapic_base_set(l, value, out) != 0)
            out->events |= LAPIC_EV_GP;
        return 0;
    }
    if (!is_x2apic_msr(msr))
        return -ENOENT;
    uint32_t offset = (msr - LAPIC_MSR_X2_FIRST) << 4;
    if (!lapic_is_x2apic(l) || !msr_accepts(l, offset, value)) {
        out->events |= LAPIC_EV_GP;
        return 0;
    }
    lapic_timer_fire(l, now_ns, out);
    if (offset == LAPIC_ICR)
        write_icr(l, (uint32_t)value, (uint32_t)(value >> 32), out);
    else if (offset == LAPIC_SELF_IPI)
        lapic_self_ipi(l, (uint8_t)value, out);
    else
        reg_write(l, now_ns, offset, (uint32_t)value, out);
    return 0;
}
