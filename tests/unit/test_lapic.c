/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor-glue/lapic: registers, priorities, errors, ICR, messages, timer. */
#include "tests/unit/lapic_fixture.h"

/* ---- Reset, registers ------------------------------------------------------------------------ */

static void test_create_errors(void **state)
{
    (void)state;
    struct lapic_config c = {.vcpu = 256};
    assert_int_equal(lapic_create(l, &c), -EINVAL);
    c = (struct lapic_config){.apic_id = 512};
    assert_int_equal(lapic_create(l, &c), -EINVAL);
    c = (struct lapic_config){.timer_hz = LAPIC_MIN_HZ - 1};
    assert_int_equal(lapic_create(l, &c), -EINVAL);
    c = (struct lapic_config){.timer_hz = LAPIC_MAX_HZ + 1};
    assert_int_equal(lapic_create(l, &c), -EINVAL);
    c = (struct lapic_config){.tsc_deadline = true};
    assert_int_equal(lapic_create(l, &c), -EINVAL);
}

static void test_power_up(void **state)
{
    (void)state;
    for (int bsp = 0; bsp < 2; bsp++) {
        create(bsp != 0, false, 0);
        assert_int_equal(rd(LAPIC_ID), 0x15000000);
        assert_int_equal(rd(LAPIC_VERSION), 0x50014);
        assert_int_equal(rd(LAPIC_SVR), 0xFF);
        assert_int_equal(rd(LAPIC_DFR), 0xFFFFFFFF);
        assert_int_equal(rd(LAPIC_LDR), 0);
        assert_int_equal(rd(LAPIC_LVT_TIMER), MASKED);
        assert_int_equal(rd(LAPIC_LVT_LINT0), bsp ? 0x700 : MASKED);
        assert_int_equal(rd(LAPIC_LVT_LINT1), MASKED);
        assert_int_equal(lapic_mp_state(l), bsp ? LAPIC_MP_RUNNABLE : LAPIC_MP_UNINITIALIZED);
        assert_int_equal(lapic_base(l), 0xFEE00800u | (bsp ? 0x100u : 0));
        assert_int_equal(lapic_next_vector(l), -1);
        assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    }
}

static void test_mmio_widths(void **state)
{
    (void)state;
    uint32_t value = 1;
    lapic_out_clear(&out);
    assert_int_equal(lapic_mmio_read(l, now, LAPIC_VERSION, 1, &value, &out), 0);
    assert_int_equal(value, 0x14);
    assert_int_equal(lapic_mmio_read(l, now, LAPIC_VERSION + 2, 2, &value, &out), 0);
    assert_int_equal(value, 0x5);
    assert_int_equal(lapic_mmio_read(l, now, LAPIC_VERSION + 2, 4, &value, &out), 0);
    assert_int_equal(value, 0);
    assert_int_equal(lapic_mmio_read(l, now, LAPIC_VERSION, 8, &value, &out), 0);
    assert_int_equal(value, 0);
    assert_int_equal(lapic_mmio_write(l, now, LAPIC_TPR, 1, 0x50, &out), 0);
    assert_int_equal(lapic_mmio_write(l, now, LAPIC_TPR + 4, 4, 0x50, &out), 0);
    assert_int_equal(rd(LAPIC_TPR), 0);
    assert_true(lapic_mmio_claims(l, 0xFEE00FFC));
    assert_false(lapic_mmio_claims(l, 0xFEE01000));
    assert_false(lapic_mmio_claims(l, 0xFEDFFFFC));
}

static void test_read_only_and_masks(void **state)
{
    (void)state;
    static const uint32_t read_only[] = {LAPIC_ID,         LAPIC_VERSION,    LAPIC_APR,
                                         LAPIC_PPR,        LAPIC_RRD,        LAPIC_ISR,
                                         LAPIC_TMR + 0x70, LAPIC_IRR + 0x20, LAPIC_TMCCT};
    for (unsigned i = 0; i < sizeof(read_only) / sizeof(read_only[0]); i++) {
        uint32_t before = rd(read_only[i]);
        assert_int_equal(wr(read_only[i], 0x12345678), 0);
        assert_int_equal(rd(read_only[i]), before);
    }
    static const struct {
        uint32_t reg, mask;
    } masks[] = {
        {LAPIC_TPR, 0xFF},          {LAPIC_LDR, 0xFF000000},    {LAPIC_SVR, 0x3FF},
        {LAPIC_ICR2, 0xFF000000},   {LAPIC_LVT_TIMER, 0x300FF}, {LAPIC_LVT_THERMAL, 0x107FF},
        {LAPIC_LVT_PERF, 0x107FF},  {LAPIC_LVT_LINT0, 0x1A7FF}, {LAPIC_LVT_LINT1, 0x1A7FF},
        {LAPIC_LVT_ERROR, 0x100FF}, {LAPIC_TDCR, 0xB},          {LAPIC_TMICT, 0xFFFFFFFF}};
    for (unsigned i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        wr(masks[i].reg, 0xFFFFFFFF);
        assert_int_equal(rd(masks[i].reg), masks[i].mask);
    }
    wr(LAPIC_DFR, 0);
    assert_int_equal(rd(LAPIC_DFR), 0x0FFFFFFF);
}

/* ---- Priorities, EOI ------------------------------------------------------------------------- */

static void test_nesting_and_eoi_order(void **state)
{
    (void)state;
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x41), LAPIC_EV_EVAL);
    assert_int_equal(deliver(APIC_DELIVERY_LOWEST, 0x45), LAPIC_EV_EVAL);
    take(0x45);
    assert_int_equal(rd(LAPIC_PPR), 0x40);
    assert_int_equal(lapic_next_vector(l), -1); /* same class */
    assert_false(lapic_wants_window(l));
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x4F), 0);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x50), LAPIC_EV_EVAL);
    assert_true(lapic_wants_window(l));
    take(0x50);
    assert_int_equal(rd(LAPIC_PPR), 0x50);
    assert_int_equal(rd(LAPIC_ISR + 0x20), 1u << (0x50 - 0x40) | 1u << (0x45 - 0x40));
    wr(LAPIC_EOI, 0); /* 0x50 */
    assert_int_equal(rd(LAPIC_PPR), 0x40);
    assert_int_equal(lapic_next_vector(l), -1);
    assert_int_equal(wr(LAPIC_EOI, 0) & LAPIC_EV_EVAL, LAPIC_EV_EVAL); /* 0x45 */
    take(0x4F);
    wr(LAPIC_EOI, 0);
    take(0x41);
    wr(LAPIC_EOI, 0);
    assert_int_equal(lapic_next_vector(l), -1);
    assert_int_equal(wr(LAPIC_EOI, 0), 0); /* nothing in service */
    assert_int_equal(l->count.accepted, 4);
}

static void test_tpr_masking(void **state)
{
    (void)state;
    wr(LAPIC_TPR, 0x5F);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x5E), 0);
    assert_int_equal(rd(LAPIC_PPR), 0x5F);
    assert_int_equal(lapic_next_vector(l), -1);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x61), LAPIC_EV_EVAL);
    take(0x61);
    assert_int_equal(rd(LAPIC_PPR), 0x60);
    wr(LAPIC_EOI, 0);
    assert_int_equal(wr(LAPIC_TPR, 0x50), 0);
    assert_int_equal(wr(LAPIC_TPR, 0x4F), LAPIC_EV_EVAL);
    assert_int_equal(rd(LAPIC_APR), 0x50); /* the requested class is above TPR */
    take(0x5E);
    wr(LAPIC_TPR, 0x80);
    assert_int_equal(rd(LAPIC_PPR), 0x80);
    assert_int_equal(rd(LAPIC_APR), 0x80);
}

static void test_cr8(void **state)
{
    (void)state;
    wr(LAPIC_TPR, 0x57);
    assert_int_equal(lapic_cr8(l), 5);
    lapic_out_clear(&out);
    lapic_set_cr8(l, 5, &out); /* read back after KVM_RUN: no change */
    assert_int_equal(rd(LAPIC_TPR), 0x57);
    deliver(APIC_DELIVERY_FIXED, 0x51);
    lapic_out_clear(&out);
    lapic_set_cr8(l, 6, &out);
    assert_int_equal(out.events, 0);
    assert_int_equal(rd(LAPIC_TPR), 0x60);
    lapic_set_cr8(l, 2, &out);
    assert_int_equal(rd(LAPIC_TPR), 0x20);
    lapic_out_clear(&out);
    lapic_set_cr8(l, 4, &out);
    assert_int_equal(out.events, LAPIC_EV_EVAL);
    take(0x51);
}

static void test_level_eoi(void **state)
{
    (void)state;
    deliver_level(0x31);
    assert_int_equal(rd(LAPIC_TMR + 0x10), 1u << 17);
    take(0x31);
    assert_int_equal(wr(LAPIC_EOI, 0), LAPIC_EV_EOI);
    assert_int_equal(out.eoi_vector, 0x31);
    deliver(APIC_DELIVERY_FIXED, 0x31); /* an edge clears the TMR bit */
    assert_int_equal(rd(LAPIC_TMR + 0x10), 0);
    take(0x31);
    assert_int_equal(wr(LAPIC_EOI, 0), 0);
    deliver_level(0x31); /* an edge in service below does not hide the level above */
    take(0x31);
    deliver(APIC_DELIVERY_FIXED, 0x80);
    take(0x80);
    assert_int_equal(wr(LAPIC_EOI, 0), 0);
    assert_int_equal(wr(LAPIC_EOI, 0), LAPIC_EV_EOI);
}

static void test_accept_rules(void **state)
{
    (void)state;
    assert_int_equal(lapic_accept(l, -1), -EINVAL);
    assert_int_equal(lapic_accept(l, 0x30), -EINVAL);
    deliver(APIC_DELIVERY_FIXED, 0x30);
    deliver(APIC_DELIVERY_FIXED, 0x30);
    assert_int_equal(l->count.coalesced, 1);
    assert_int_equal(lapic_accept(l, 0x31), -EINVAL);
    take(0x30);
    assert_int_equal(lapic_accept(l, 0x30), -EINVAL); /* not twice across a kick */
    deliver(APIC_DELIVERY_FIXED, 0x30);               /* but it may be requested again */
    assert_int_equal(lapic_next_vector(l), -1);
    wr(LAPIC_EOI, 0);
    take(0x30);
}

static void test_every_vector(void **state)
{
    (void)state;
    for (unsigned v = 16; v < 256; v++) {
        assert_int_equal(deliver(APIC_DELIVERY_FIXED, (uint8_t)v), LAPIC_EV_EVAL);
        assert_int_equal(rd(LAPIC_IRR + v / 32 * 16), 1u << v % 32);
        take((int)v);
        assert_int_equal(rd(LAPIC_ISR + v / 32 * 16), 1u << v % 32);
        assert_int_equal(rd(LAPIC_IRR + v / 32 * 16), 0);
        wr(LAPIC_EOI, 0);
        assert_int_equal(rd(LAPIC_ISR + v / 32 * 16), 0);
    }
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void test_esr(void **state)
{
    (void)state;
    wr(LAPIC_LVT_ERROR, 0xFE);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 15), LAPIC_EV_EVAL); /* the LVT ERROR interrupt */
    assert_int_equal(rd(LAPIC_ESR), 0);                                /* not latched yet */
    take(0xFE);
    wr(LAPIC_EOI, 0);
    assert_int_equal(wr(LAPIC_ICR, 0x0F), 0); /* a second error: not armed */
    wr(LAPIC_ESR, 0);
    assert_int_equal(rd(LAPIC_ESR), LAPIC_ESR_RECV_VECTOR | LAPIC_ESR_SEND_VECTOR);
    wr(LAPIC_ESR, 0);
    assert_int_equal(rd(LAPIC_ESR), 0);
    assert_int_equal(rd(0x2F0), 0);
    assert_int_equal(out.events, LAPIC_EV_EVAL);
    take(0xFE);
    wr(LAPIC_EOI, 0);
    wr(LAPIC_ESR, 0xFFFFFFFF);
    assert_int_equal(rd(LAPIC_ESR), LAPIC_ESR_ILLEGAL_REG);
    assert_int_equal(wr(0xFF0, 1), LAPIC_EV_EVAL);
    wr(LAPIC_ESR, 0);
    wr(LAPIC_LVT_ERROR, 0x05); /* itself illegal: one more error, no recursion */
    wr(0x3F0, 0x40);           /* SELF IPI is reserved in xAPIC mode */
    wr(LAPIC_ESR, 0);
    assert_int_equal(rd(LAPIC_ESR), LAPIC_ESR_ILLEGAL_REG | LAPIC_ESR_RECV_VECTOR);
}

/* ---- ICR ------------------------------------------------------------------------------------- */

static void expect_msg(uint8_t delivery, uint8_t vector, uint32_t dest, uint8_t dest_mode,
                       uint8_t shorthand)
{
    assert_int_equal(out.events, LAPIC_EV_IPI);
    assert_int_equal(out.msg.delivery, delivery);
    assert_int_equal(out.msg.vector, vector);
    assert_int_equal(out.msg.dest, dest);
    assert_int_equal(out.msg.dest_mode, dest_mode);
    assert_int_equal(out.msg.shorthand, shorthand);
    assert_int_equal(out.msg.source, 3);
    assert_int_equal(apic_msg_check(&out.msg), 0);
}

static void test_icr_modes(void **state)
{
    (void)state;
    wr(LAPIC_ICR2, 0x07000000);
    static const uint8_t modes[] = {APIC_DELIVERY_FIXED, APIC_DELIVERY_LOWEST, APIC_DELIVERY_SMI,
                                    APIC_DELIVERY_NMI,   APIC_DELIVERY_INIT,   APIC_DELIVERY_SIPI};
    for (unsigned i = 0; i < sizeof(modes); i++)
        for (uint8_t logical = 0; logical < 2; logical++) {
            wr(LAPIC_ICR, 0x4041u | (uint32_t)modes[i] << 8 | (uint32_t)logical << 11);
            expect_msg(modes[i], 0x41, 7, logical, APIC_SHORTHAND_NONE);
            assert_int_equal(out.msg.wide, 0);
            assert_int_equal(out.msg.level, 1);
            assert_int_equal(out.msg.trigger, APIC_TRIGGER_EDGE);
        }
    assert_int_equal(wr(LAPIC_ICR, 0x4341), 0); /* reserved */
    assert_int_equal(wr(LAPIC_ICR, 0x4741), 0); /* ExtINT cannot be sent */
    assert_int_equal(l->count.icr_ignored, 2);
    wr(LAPIC_ICR, 0xFFF3F041 & ~0x700u); /* reserved bits and BUSY do not stick */
    assert_int_equal(rd(LAPIC_ICR), 0xC041);
    assert_int_equal(out.msg.trigger, APIC_TRIGGER_EDGE); /* ICR[15] counts for INIT only */
}

static void test_icr_init_level(void **state)
{
    (void)state;
    wr(LAPIC_ICR, 0xC500); /* level, assert: Linux */
    expect_msg(APIC_DELIVERY_INIT, 0, 0, 0, 0);
    assert_int_equal(out.msg.trigger, APIC_TRIGGER_LEVEL);
    assert_int_equal(wr(LAPIC_ICR, 0x8500), 0); /* level, de-assert */
    wr(LAPIC_ICR, 0x0500);                      /* edge, level bit clear: KVM sends it */
    expect_msg(APIC_DELIVERY_INIT, 0, 0, 0, 0);
}

static void test_icr_shorthands(void **state)
{
    (void)state;
    assert_int_equal(wr(LAPIC_ICR, 0x44051), LAPIC_EV_EVAL); /* self: at once, no message */
    take(0x51);
    wr(LAPIC_ICR, 0x84052);
    expect_msg(APIC_DELIVERY_FIXED, 0x52, 0, 0, APIC_SHORTHAND_ALL);
    wr(LAPIC_ICR, 0xC4053);
    expect_msg(APIC_DELIVERY_FIXED, 0x53, 0, 0, APIC_SHORTHAND_OTHERS);
    wr(LAPIC_ICR, 0xC4400);
    expect_msg(APIC_DELIVERY_NMI, 0, 0, 0, APIC_SHORTHAND_OTHERS);
    wr(LAPIC_ICR, 0x44400);
    expect_msg(APIC_DELIVERY_NMI, 0, 0, 0, APIC_SHORTHAND_SELF);
    wr(LAPIC_ICR, 0xC4500);
    expect_msg(APIC_DELIVERY_INIT, 0, 0, 0, APIC_SHORTHAND_OTHERS);
    wr(LAPIC_ICR, 0xC4608);
    expect_msg(APIC_DELIVERY_SIPI, 8, 0, 0, APIC_SHORTHAND_OTHERS);
    assert_int_equal(wr(LAPIC_ICR, 0x44500), 0);
    assert_int_equal(wr(LAPIC_ICR, 0x84500), 0);
    assert_int_equal(wr(LAPIC_ICR, 0x44608), 0);
    assert_int_equal(wr(LAPIC_ICR, 0x84608), 0);
    assert_int_equal(l->count.icr_ignored, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(wr(LAPIC_ICR, 0x400Fu | i << 18), 0); /* illegal vector */
        wr(LAPIC_ESR, 0);
        assert_int_equal(rd(LAPIC_ESR), LAPIC_ESR_SEND_VECTOR);
    }
}

/* ---- Messages in: NMI, INIT, SIPI, and the rest; local sources ------------------------------ */

static void test_ap_start(void **state)
{
    (void)state;
    create(false, false, 0);
    assert_int_equal(deliver(APIC_DELIVERY_SIPI, 9), 0); /* before INIT: no */
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), 0);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x40), 0);
    struct apic_msg deassert = {.delivery = APIC_DELIVERY_INIT, .trigger = APIC_TRIGGER_LEVEL};
    lapic_out_clear(&out);
    lapic_deliver(l, now, &deassert, &out);
    assert_int_equal(out.events, 0);
    assert_int_equal(lapic_mp_state(l), LAPIC_MP_UNINITIALIZED);
    const uint32_t init = LAPIC_EV_INIT | LAPIC_EV_TIMER | LAPIC_EV_ANNOUNCE;
    assert_int_equal(deliver(APIC_DELIVERY_INIT, 0), init);
    assert_int_equal(lapic_mp_state(l), LAPIC_MP_INIT_RECEIVED);
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), 0);
    assert_int_equal(deliver(APIC_DELIVERY_SIPI, 0x9A), LAPIC_EV_SIPI);
    assert_int_equal(lapic_mp_state(l), LAPIC_MP_SIPI_RECEIVED);
    assert_int_equal(lapic_sipi_vector(l), 0x9A);
    assert_int_equal(deliver(APIC_DELIVERY_SIPI, 0x10), 0); /* Linux sends two */
    assert_int_equal(lapic_set_mp_state(l, LAPIC_MP_RUNNABLE), 0);
    assert_int_equal(deliver(APIC_DELIVERY_SIPI, 0x10), 0);
    assert_int_equal(lapic_sipi_vector(l), 0x9A);
    assert_int_equal(l->count.sipi_ignored, 3);
    assert_int_equal(l->count.dropped, 3);
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), LAPIC_EV_NMI);
    assert_int_equal(lapic_set_mp_state(l, LAPIC_MP_HALTED), 0);
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), LAPIC_EV_NMI);
    assert_int_equal(deliver(APIC_DELIVERY_INIT, 0), init); /* from HALTED */
    assert_int_equal(lapic_mp_state(l), LAPIC_MP_INIT_RECEIVED);
    assert_int_equal(lapic_set_mp_state(l, 5), -EINVAL);
    lapic_set_sipi_vector(l, 0x44);
    assert_int_equal(lapic_sipi_vector(l), 0x44);
}

static void test_init_resets(void **state)
{
    (void)state;
    wr(LAPIC_LDR, 0x04000000);
    wr(LAPIC_LVT_TIMER, 0x30);
    wr(LAPIC_TMICT, 1000);
    deliver(APIC_DELIVERY_FIXED, 0x70);
    lapic_out_clear(&out);
    assert_int_equal(lapic_extint_set(l, 8, &out), 0);
    now += 2000; /* the timer has expired as INIT arrives: its interrupt is lost with the rest */
    assert_int_equal(deliver(APIC_DELIVERY_INIT, 0) & LAPIC_EV_EVAL, 0);
    assert_int_equal(lapic_mp_state(l), LAPIC_MP_RUNNABLE); /* the BSP runs on */
    assert_int_equal(lapic_next_vector(l), -1);
    assert_int_equal(rd(LAPIC_LDR), 0);
    assert_int_equal(rd(LAPIC_SVR), 0xFF);
    assert_int_equal(rd(LAPIC_IRR + 0x30), 0);
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    assert_true(lapic_extint_ready(l));
}

static void test_other_messages(void **state)
{
    (void)state;
    assert_int_equal(deliver(APIC_DELIVERY_SMI, 0), 0);
    assert_int_equal(deliver(APIC_DELIVERY_EXTINT, 0x40), 0);
    assert_int_equal(l->count.smi_ignored, 1);
    assert_int_equal(l->count.extint_ignored, 1);
    wr(LAPIC_SVR, 0xFF); /* software-disabled: fixed no, NMI and INIT yes */
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x40), 0);
    assert_int_equal(wr(LAPIC_ICR, 0x44040), 0);
    assert_int_equal(l->count.dropped, 2);
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), LAPIC_EV_NMI);
    assert_true((deliver(APIC_DELIVERY_INIT, 0) & LAPIC_EV_INIT) != 0);
}

static void test_software_disable(void **state)
{
    (void)state;
    wr(LAPIC_LVT_LINT1, 0x400);
    wr(LAPIC_LVT_TIMER, 0x30);
    deliver(APIC_DELIVERY_FIXED, 0x60);
    assert_int_equal(wr(LAPIC_SVR, 0xFF), LAPIC_EV_ANNOUNCE | LAPIC_EV_TIMER);
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        assert_int_equal(rd(lvt) & MASKED, MASKED);
    wr(LAPIC_LVT_LINT1, 0x400); /* the mask cannot be taken off */
    assert_int_equal(rd(LAPIC_LVT_LINT1), MASKED | 0x400);
    take(0x60); /* what was pending stays deliverable */
    assert_int_equal(wr(LAPIC_SVR, SVR_ON), LAPIC_EV_ANNOUNCE);
    assert_int_equal(wr(LAPIC_SVR, SVR_ON ^ 0x0F), 0);
    assert_int_equal(rd(LAPIC_LVT_LINT1), MASKED | 0x400);
}

static uint32_t local(enum lapic_reg lvt)
{
    lapic_out_clear(&out);
    lapic_local(l, lvt, &out);
    return out.events;
}

static void test_local_sources(void **state)
{
    (void)state;
    assert_int_equal(local(LAPIC_LVT_LINT1), 0); /* masked */
    wr(LAPIC_LVT_LINT1, 0x400);
    assert_int_equal(local(LAPIC_LVT_LINT1), LAPIC_EV_NMI);
    wr(LAPIC_LVT_LINT1, 0x8033); /* LINT1 is always edge */
    assert_int_equal(local(LAPIC_LVT_LINT1), LAPIC_EV_EVAL);
    take(0x33);
    assert_int_equal(wr(LAPIC_EOI, 0), 0);
    wr(LAPIC_LVT_LINT0, 0x8034);
    assert_int_equal(local(LAPIC_LVT_LINT0), LAPIC_EV_EVAL);
    take(0x34);
    assert_int_equal(wr(LAPIC_EOI, 0), LAPIC_EV_EOI);
    wr(LAPIC_LVT_PERF, 0x400);
    assert_int_equal(local(LAPIC_LVT_PERF), LAPIC_EV_NMI);
    assert_int_equal(rd(LAPIC_LVT_PERF), MASKED | 0x400); /* masks itself */
    assert_int_equal(local(LAPIC_LVT_PERF), 0);
    wr(LAPIC_LVT_THERMAL, 0x35);
    assert_int_equal(local(LAPIC_LVT_THERMAL), LAPIC_EV_EVAL);
    assert_int_equal(local(LAPIC_LVT_ERROR), 0); /* not a pin */
    wr(LAPIC_LVT_LINT1, 0x200);
    assert_int_equal(local(LAPIC_LVT_LINT1), 0);
    assert_int_equal(l->count.smi_ignored, 1);
    wr(LAPIC_LVT_LINT1, 0x500);
    assert_true((local(LAPIC_LVT_LINT1) & LAPIC_EV_INIT) != 0);
    wrmsr(LAPIC_MSR_BASE, LAPIC_DEFAULT_BASE);
    assert_int_equal(local(LAPIC_LVT_LINT1), LAPIC_EV_NMI); /* the NMI pin */
    assert_int_equal(local(LAPIC_LVT_LINT0), 0);
}

static void test_extint(void **state)
{
    (void)state;
    assert_true(lapic_extint_ready(l)); /* the BSP's LINT0 after reset */
    lapic_out_clear(&out);
    assert_int_equal(lapic_extint_set(l, 0x08, &out), 0); /* below 16 is fine for a PIC */
    assert_int_equal(out.events, LAPIC_EV_EVAL);
    assert_int_equal(lapic_extint_set(l, 0x09, &out), -EEXIST);
    assert_false(lapic_extint_ready(l));
    deliver(APIC_DELIVERY_FIXED, 0xF0);
    wr(LAPIC_TPR, 0xE0); /* TPR does not matter to it, and it comes first */
    take(0x08 | LAPIC_PENDING_EXTINT);
    assert_int_equal(LAPIC_VECTOR(0x108), 8);
    take(0xF0); /* no ISR bit was left by the ExtINT */
    wr(LAPIC_LVT_LINT0, MASKED | 0x700);
    assert_false(lapic_extint_ready(l));
    lapic_out_clear(&out);
    assert_int_equal(lapic_extint_set(l, 0x0A, &out), 0);
    assert_int_equal(out.events, 0); /* held */
    assert_int_equal(lapic_next_vector(l), -1);
    assert_int_equal(wr(LAPIC_LVT_LINT0, 0x700), LAPIC_EV_EVAL);
    take(0x0A | LAPIC_PENDING_EXTINT);
    wrmsr(LAPIC_MSR_BASE, LAPIC_DEFAULT_BASE); /* disabled: LINT0 is INTR */
    assert_true(lapic_extint_ready(l));
    assert_int_equal(lapic_extint_set(l, 0x0B, &out), 0);
    take(0x0B | LAPIC_PENDING_EXTINT);
}

/* ---- Timer ----------------------------------------------------------------------------------- */

static void test_timer_one_shot(void **state)
{
    (void)state;
    wr(LAPIC_TDCR, 0xB);
    wr(LAPIC_LVT_TIMER, 0x30);
    assert_int_equal(wr(LAPIC_TMICT, 1000), LAPIC_EV_TIMER);
    assert_true(lapic_timer_deadline(l) == now + 1000);
    assert_int_equal(rd(LAPIC_TMCCT), 1000);
    now += 400;
    assert_int_equal(rd(LAPIC_TMCCT), 600);
    now += 599;
    assert_int_equal(fire(), 0);
    assert_int_equal(rd(LAPIC_TMCCT), 1);
    now += 1;
    assert_int_equal(fire(), LAPIC_EV_EVAL | LAPIC_EV_TIMER);
    assert_int_equal(fire(), 0);
    take(0x30);
    assert_int_equal(rd(LAPIC_TMCCT), 0);
    assert_int_equal(rd(LAPIC_TMICT), 1000);
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    wr(LAPIC_TMICT, 500);
    wr(LAPIC_TMICT, 0); /* stops it */
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    wr(LAPIC_TMICT, 500);
    now += 500;
    rd(LAPIC_ID); /* any access collects an expiry */
    assert_int_equal(out.events, LAPIC_EV_TIMER);
    assert_int_equal(rd(LAPIC_IRR + 0x10), 1u << 16);
}

static void test_timer_periodic(void **state)
{
    (void)state;
    wr(LAPIC_TDCR, 0xB);
    wr(LAPIC_LVT_TIMER, PERIODIC | 0x30);
    uint64_t start = now;
    wr(LAPIC_TMICT, 1000);
    for (unsigned i = 1; i <= 5; i++) {
        now = start + i * 1000 + i * 7; /* late by a little: no drift */
        assert_int_equal(fire(), LAPIC_EV_EVAL | LAPIC_EV_TIMER);
        assert_true(lapic_timer_deadline(l) == start + (i + 1) * 1000);
        assert_int_equal(rd(LAPIC_TMCCT), 1000 - i * 7);
        take(0x30);
        wr(LAPIC_EOI, 0);
    }
    now = start + 10500; /* five at once */
    fire();
    take(0x30);
    assert_int_equal(l->count.timer_fired, 6);
    assert_int_equal(l->count.timer_missed, 4);
    assert_true(lapic_timer_deadline(l) == start + 11000);
    wr(LAPIC_LVT_TIMER, PERIODIC | MASKED | 0x30); /* masked it counts on in silence */
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    now = start + 12300;
    assert_int_equal(rd(LAPIC_TMCCT), 700);
    wr(LAPIC_LVT_TIMER, PERIODIC | 0x30);
    assert_int_equal(rd(LAPIC_IRR + 0x10), 0); /* the one that passed while masked is gone */
    assert_int_equal(lapic_next_vector(l), -1);
    assert_true(lapic_timer_deadline(l) == start + 13000);
    wr(LAPIC_LVT_TIMER, 0x30); /* periodic -> one-shot: this period is the last */
    now = start + 13000;
    fire();
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
}

/* An expiry that waits in the IRR: who runs the vCPU need not arm another one. */
static void test_timer_waits(void **state)
{
    (void)state;
    wr(LAPIC_TDCR, 0xB);
    wr(LAPIC_LVT_TIMER, PERIODIC | 0x30);
    wr(LAPIC_TMICT, 10);
    assert_false(lapic_timer_waits(l));
    now += 10;
    fire();
    assert_true(lapic_timer_waits(l));
    take(0x30);
    assert_false(lapic_timer_waits(l)); /* in service: the next one may wait meanwhile */
    now += 10;
    fire();
    assert_true(lapic_timer_waits(l));
}

static void test_timer_divide(void **state)
{
    (void)state;
    static const uint8_t code[] = {0xB, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xA};
    wr(LAPIC_LVT_TIMER, 0x30);
    for (unsigned i = 0; i < 8; i++) {
        wr(LAPIC_TDCR, code[i]);
        wr(LAPIC_TMICT, 0xFFFFFFFF);
        assert_true(lapic_timer_deadline(l) == now + (UINT64_C(0xFFFFFFFF) << i));
        wr(LAPIC_TMICT, 100);
        assert_true(lapic_timer_deadline(l) == now + (UINT64_C(100) << i));
        now += UINT64_C(30) << i;
        assert_int_equal(rd(LAPIC_TMCCT), 70);
        now += 1;
        assert_int_equal(rd(LAPIC_TMCCT), i == 0 ? 69 : 70);
    }
    wr(LAPIC_TDCR, 0xB);
    wr(LAPIC_TMICT, 1000);
    now += 400;
    wr(LAPIC_TDCR, 0x1); /* while running: the rest goes on at the new rate */
    assert_int_equal(rd(LAPIC_TMCCT), 600);
    assert_true(lapic_timer_deadline(l) == now + 2400);
}

static void test_timer_frequency(void **state)
{
    (void)state;
    static const uint64_t hz[] = {1000000, 24000000, 100000000, 1193182, 999999999, 10000000000};
    for (unsigned i = 0; i < sizeof(hz) / sizeof(hz[0]); i++) {
        create(true, false, hz[i]);
        wr(LAPIC_SVR, SVR_ON);
        wr(LAPIC_LVT_TIMER, 0x30);
        wr(LAPIC_TDCR, 0xA); /* 128 */
        wr(LAPIC_TMICT, 0xFFFFFFFF);
        double want = 4294967295.0 * 128 / (double)hz[i] * 1e9;
        double got = (double)(lapic_timer_deadline(l) - now);
        assert_true(got >= want * (1 - 1e-9) && got <= want * (1 + 1e-9) + 1);
        assert_int_equal(rd(LAPIC_TMCCT), 0xFFFFFFFF);
        now = lapic_timer_deadline(l) - 1;
        assert_int_equal(rd(LAPIC_TMCCT), 1);
        now++;
        assert_int_equal(fire() & LAPIC_EV_EVAL, LAPIC_EV_EVAL);
    }
}

static void test_tsc_deadline(void **state)
{
    (void)state;
    uint64_t value = 1;
    lapic_out_clear(&out);
    lapic_tsc_deadline_read(l, now, &value, &out); /* not offered */
    assert_int_equal(out.events, LAPIC_EV_GP);
    wr(LAPIC_LVT_TIMER, TSC_MODE | 0x30);
    assert_int_equal(rd(LAPIC_LVT_TIMER), 0x30);
    create(true, true, 0);
    wr(LAPIC_SVR, SVR_ON);
    wr(LAPIC_LVT_TIMER, 0x30);
    lapic_out_clear(&out);
    lapic_tsc_deadline_write(l, now, 5000, 6000, &out); /* wrong mode */
    lapic_tsc_deadline_read(l, now, &value, &out);
    assert_int_equal(value, 0);
    wr(LAPIC_TMICT, 777);
    wr(LAPIC_LVT_TIMER, TSC_MODE | 0x30); /* a change of mode disarms */
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
    wr(LAPIC_TMICT, 777); /* ignored */
    assert_int_equal(rd(LAPIC_TMICT), 0);
    lapic_tsc_deadline_write(l, now, 5000, 6001, &out); /* 2 GHz */
    assert_true(lapic_timer_deadline(l) == now + 501);
    lapic_tsc_deadline_read(l, now, &value, &out);
    assert_int_equal(value, 6001);
    assert_int_equal(rd(LAPIC_TMCCT), 0);
    now += 501;
    assert_int_equal(fire(), LAPIC_EV_EVAL | LAPIC_EV_TIMER);
    take(0x30);
    wr(LAPIC_EOI, 0);
    lapic_tsc_deadline_read(l, now, &value, &out);
    assert_int_equal(value, 0);
    lapic_out_clear(&out);
    lapic_tsc_deadline_write(l, now, 7000, 6999, &out); /* in the past: at once */
    assert_int_equal(out.events, LAPIC_EV_EVAL | LAPIC_EV_TIMER);
    lapic_tsc_deadline_write(l, now, 7000, UINT64_MAX, &out);
    assert_true(lapic_timer_deadline(l) > now + (UINT64_C(1) << 60));
    lapic_tsc_deadline_write(l, now, 7000, 0, &out);
    assert_true(lapic_timer_deadline(l) == LAPIC_NO_DEADLINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_errors),
        cmocka_unit_test(test_power_up),
        cmocka_unit_test_setup(test_mmio_widths, setup),
        cmocka_unit_test_setup(test_read_only_and_masks, setup),
        cmocka_unit_test_setup(test_nesting_and_eoi_order, setup),
        cmocka_unit_test_setup(test_tpr_masking, setup),
        cmocka_unit_test_setup(test_cr8, setup),
        cmocka_unit_test_setup(test_level_eoi, setup),
        cmocka_unit_test_setup(test_accept_rules, setup),
        cmocka_unit_test_setup(test_every_vector, setup),
        cmocka_unit_test_setup(test_esr, setup),
        cmocka_unit_test_setup(test_icr_modes, setup),
        cmocka_unit_test_setup(test_icr_init_level, setup),
        cmocka_unit_test_setup(test_icr_shorthands, setup),
        cmocka_unit_test_setup(test_ap_start, setup),
        cmocka_unit_test_setup(test_init_resets, setup),
        cmocka_unit_test_setup(test_other_messages, setup),
        cmocka_unit_test_setup(test_software_disable, setup),
        cmocka_unit_test_setup(test_local_sources, setup),
        cmocka_unit_test_setup(test_extint, setup),
        cmocka_unit_test_setup(test_timer_one_shot, setup),
        cmocka_unit_test_setup(test_timer_periodic, setup),
        cmocka_unit_test_setup(test_timer_waits, setup),
        cmocka_unit_test_setup(test_timer_divide, setup),
        cmocka_unit_test_setup(test_timer_frequency, setup),
        cmocka_unit_test_setup(test_tsc_deadline, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
