/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor-glue/lapic: x2APIC, IA32_APIC_BASE, announcements, export and import. */
#include "tests/unit/lapic_fixture.h"

/* ---- x2APIC ---------------------------------------------------------------------------------- */

static void test_x2_registers(void **state)
{
    (void)state;
    assert_int_equal(rdmsr(X2(LAPIC_ID)), 0x15);
    assert_int_equal(rdmsr(X2(LAPIC_VERSION)), 0x50014);
    assert_int_equal(rdmsr(X2(LAPIC_LDR)), 0x00010020);
    static const uint32_t unreadable[] = {LAPIC_APR,  LAPIC_EOI,      LAPIC_RRD, LAPIC_DFR,
                                          LAPIC_ICR2, LAPIC_SELF_IPI, 0x000,     0x2F0,
                                          0x3A0,      0x400,          0xFF0};
    for (unsigned i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++)
        assert_true(rdmsr_faults(X2(unreadable[i])));
    static const uint32_t unwritable[] = {
        LAPIC_ID,  LAPIC_VERSION, LAPIC_APR, LAPIC_PPR,  LAPIC_RRD,   LAPIC_LDR, LAPIC_DFR,
        LAPIC_ISR, LAPIC_TMR,     LAPIC_IRR, LAPIC_ICR2, LAPIC_TMCCT, 0x2F0,     0x400};
    for (unsigned i = 0; i < sizeof(unwritable) / sizeof(unwritable[0]); i++)
        assert_true(wrmsr_faults(X2(unwritable[i]), 0));
    uint64_t value;
    uint32_t value32;
    assert_int_equal(lapic_msr_read(l, now, 0x900, &value, &out), -ENOENT);
    assert_int_equal(lapic_msr_write(l, now, 0x7FF, 0, &out), -ENOENT);
    assert_int_equal(lapic_mmio_read(l, now, 0, 4, &value32, &out), -ENXIO);
    assert_int_equal(lapic_mmio_write(l, now, 0, 4, 0, &out), -ENXIO);
    assert_false(lapic_mmio_claims(l, 0xFEE00000));
}

static void test_x2_reserved_bits(void **state)
{
    (void)state;
    static const struct {
        uint32_t reg;
        uint64_t good, bad;
    } cases[] = {{LAPIC_TPR, 0xFF, 0x100},
                 {LAPIC_EOI, 0, 1},
                 {LAPIC_SVR, 0x3FF, 0x13FF},
                 {LAPIC_ESR, 0, 1},
                 {LAPIC_LVT_TIMER, 0x310FF, 0x40000},
                 {LAPIC_LVT_LINT0, 0x1F7FF, 0x800},
                 {LAPIC_LVT_ERROR, 0x110FF, 0x100},
                 {LAPIC_TMICT, UINT32_MAX, UINT64_C(1) << 32},
                 {LAPIC_TDCR, 0xB, 4},
                 {LAPIC_SELF_IPI, 0xFF, 0x100},
                 {LAPIC_ICR, 0x44040, 0x2040},
                 {LAPIC_ICR, 0x44041, 0x10041},
                 {LAPIC_ICR, 0x44042, 0x100042},
                 {LAPIC_TPR, 0, UINT64_C(1) << 32}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(wrmsr_faults(X2(cases[i].reg), cases[i].bad));
        assert_false(wrmsr_faults(X2(cases[i].reg), cases[i].good));
    }
}

static void test_x2_icr(void **state)
{
    (void)state;
    assert_int_equal(wrmsr(X2(LAPIC_ICR), UINT64_C(0x0001000300004C31)), LAPIC_EV_IPI);
    assert_int_equal(out.msg.dest, 0x00010003);
    assert_int_equal(out.msg.wide, 1);
    assert_int_equal(out.msg.dest_mode, APIC_DEST_LOGICAL);
    assert_int_equal(out.msg.delivery, APIC_DELIVERY_NMI);
    assert_int_equal(out.msg.source, 3);
    assert_true(rdmsr(X2(LAPIC_ICR)) == UINT64_C(0x0001000300004C31));
    assert_int_equal(wrmsr(X2(LAPIC_SELF_IPI), 0x77), LAPIC_EV_EVAL);
    take(0x77);
    assert_int_equal(wrmsr(X2(LAPIC_EOI), 0), 0);
    assert_int_equal(wrmsr(X2(LAPIC_SELF_IPI), 0x0F), 0);
    wrmsr(X2(LAPIC_ESR), 0);
    assert_int_equal(rdmsr(X2(LAPIC_ESR)), LAPIC_ESR_SEND_VECTOR);
}

static void test_x2_timer(void **state)
{
    (void)state;
    wrmsr(X2(LAPIC_TDCR), 0xB);
    wrmsr(X2(LAPIC_LVT_TIMER), PERIODIC | 0x40);
    assert_int_equal(wrmsr(X2(LAPIC_TMICT), 100), LAPIC_EV_TIMER);
    now += 130;
    assert_int_equal(rdmsr(X2(LAPIC_TMCCT)), 70);
    assert_int_equal(out.events, LAPIC_EV_TIMER | LAPIC_EV_EVAL);
    take(0x40);
}

static void test_init_keeps_x2(void **state)
{
    (void)state;
    deliver(APIC_DELIVERY_INIT, 0);
    assert_true(lapic_base(l) == (X2_BASE | LAPIC_BASE_BSP));
    assert_int_equal(rdmsr(X2(LAPIC_LDR)), 0x00010020);
    assert_int_equal(rdmsr(X2(LAPIC_SVR)), 0xFF);
    lapic_out_clear(&out);
    lapic_reset(l, &out); /* power-up: back to xAPIC */
    assert_int_equal(out.events, LAPIC_EV_TIMER | LAPIC_EV_ANNOUNCE);
    assert_int_equal(rd(LAPIC_LDR), 0);
}

/* ---- IA32_APIC_BASE -------------------------------------------------------------------------- */

static void test_base_transitions(void **state)
{
    (void)state;
    const uint64_t off = LAPIC_DEFAULT_BASE, on = off | LAPIC_BASE_EN, x2 = X2_BASE;
    const uint64_t bad = off | LAPIC_BASE_EXTD;
    const struct {
        uint64_t from, to;
        bool fault;
    } cases[] = {{off, off, false}, {off, on, false}, {off, x2, true}, {off, bad, true},
                 {on, off, false},  {on, on, false},  {on, x2, false}, {on, bad, true},
                 {x2, off, false},  {x2, on, true},   {x2, x2, false}, {x2, bad, true}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lapic_out_clear(&out);
        assert_int_equal(lapic_base_set(l, cases[i].from, &out), 0); /* the host may do it all */
        assert_int_equal(wrmsr_faults(LAPIC_MSR_BASE, cases[i].to), cases[i].fault);
        assert_true(rdmsr(LAPIC_MSR_BASE) == (cases[i].fault ? cases[i].from : cases[i].to));
        assert_int_equal(lapic_base_set(l, bad, &out), -EINVAL);
    }
    lapic_base_set(l, on, &out);
    assert_true(wrmsr_faults(LAPIC_MSR_BASE, on | 1));
    assert_true(wrmsr_faults(LAPIC_MSR_BASE, on | 1u << 9));
    assert_false(wrmsr_faults(LAPIC_MSR_BASE, on | UINT64_C(1) << 40));
    lapic_set_cpuid(l, false, 40);
    assert_true(wrmsr_faults(LAPIC_MSR_BASE, x2));
    assert_true(wrmsr_faults(LAPIC_MSR_BASE, on | UINT64_C(1) << 40));
    assert_false(wrmsr_faults(LAPIC_MSR_BASE, UINT64_C(0x12345000) | LAPIC_BASE_EN));
    assert_true(lapic_mmio_claims(l, 0x12345020));
    assert_false(lapic_mmio_claims(l, 0xFEE00020));
}

static void test_xapic_to_x2apic(void **state)
{
    (void)state;
    wr(LAPIC_TPR, 0x30);
    wr(LAPIC_LDR, 0x08000000);
    wr(LAPIC_ICR2, 0x55000000);
    wr(LAPIC_LVT_ERROR, 0xFE);
    wr(LAPIC_LVT_TIMER, 0x40);
    wr(LAPIC_TMICT, 1000);
    deliver_level(0x51);
    deliver(APIC_DELIVERY_FIXED, 0x61);
    take(0x61);
    assert_int_equal(wrmsr(LAPIC_MSR_BASE, X2_BASE | LAPIC_BASE_BSP), LAPIC_EV_ANNOUNCE);
    assert_int_equal(rdmsr(X2(LAPIC_TPR)), 0x30);
    assert_int_equal(rdmsr(X2(LAPIC_LDR)), 0x00010020);
    assert_int_equal(rdmsr(X2(LAPIC_ICR)) >> 32, 0);
    assert_int_equal(rdmsr(X2(LAPIC_LVT_ERROR)), 0xFE);
    assert_int_equal(rdmsr(X2(LAPIC_SVR)), SVR_ON);
    assert_int_equal(rdmsr(X2(LAPIC_TMICT)), 1000);
    assert_int_equal(rdmsr(X2(LAPIC_TMCCT)), 1000);
    wrmsr(X2(LAPIC_EOI), 0);
    take(0x51);
    assert_int_equal(wrmsr(X2(LAPIC_EOI), 0), LAPIC_EV_EOI);
    assert_int_equal(wrmsr(LAPIC_MSR_BASE, LAPIC_DEFAULT_BASE), LAPIC_EV_ANNOUNCE | LAPIC_EV_TIMER);
    assert_int_equal(deliver(APIC_DELIVERY_FIXED, 0x51), 0);
    assert_int_equal(deliver(APIC_DELIVERY_NMI, 0), 0);
    assert_true(rdmsr_faults(X2(LAPIC_ID)));
    wrmsr(LAPIC_MSR_BASE, LAPIC_DEFAULT_BASE | LAPIC_BASE_EN);
    assert_int_equal(rd(LAPIC_SVR), 0xFF); /* all state is lost while disabled, but the id */
    assert_int_equal(rd(LAPIC_LDR), 0);
    assert_int_equal(rd(LAPIC_ID), 0x15000000);
}

/* ---- Announcements --------------------------------------------------------------------------- */

static void test_announcements(void **state)
{
    (void)state;
    struct irq_announcement a;
    static struct irq_route_table t;
    struct irq_targets targets;
    irq_table_init(&t, 0);
    create(true, false, 0);
    lapic_announcement(l, 7, &a);
    assert_int_equal(irq_announce(&t, &a), 0);
    assert_int_equal(a.flags, IRQ_VCPU_PRESENT | IRQ_VCPU_HW_ENABLED);
    assert_int_equal(wr(LAPIC_SVR, SVR_ON), LAPIC_EV_ANNOUNCE);
    assert_int_equal(wr(LAPIC_LDR, 0x12000000), LAPIC_EV_ANNOUNCE);
    assert_int_equal(wr(LAPIC_LDR, 0x12000000), 0); /* no change, no message */
    assert_int_equal(wr(LAPIC_DFR, 0), LAPIC_EV_ANNOUNCE);
    lapic_announcement(l, 7, &a);
    assert_int_equal(irq_announce(&t, &a), 0);
    assert_int_equal(a.vcpu, 3);
    assert_int_equal(a.apic_id, 0x15);
    assert_int_equal(a.ldr, 0x12000000);
    assert_int_equal(a.dfr, IRQ_DFR_CLUSTER);
    assert_int_equal(a.flags & IRQ_VCPU_SW_ENABLED, IRQ_VCPU_SW_ENABLED);
    struct apic_msg m = {.source = 3, .vector = 0x40, .dest = 0x1F, .dest_mode = 1, .level = 1};
    assert_int_equal(irq_route(&t, &m, &targets), 1);
    wr(LAPIC_DFR, 0x50000000); /* a model that does not exist matches nothing */
    lapic_announcement(l, 7, &a);
    assert_int_equal(irq_announce(&t, &a), 0);
    assert_int_equal(irq_route(&t, &m, &targets), 0);
    wrmsr(LAPIC_MSR_BASE, X2_BASE);
    lapic_announcement(l, 7, &a);
    assert_int_equal(irq_announce(&t, &a), 0);
    m = (struct apic_msg){.source = 3, .vector = 0x40, .dest = 0x10020, .dest_mode = 1, .wide = 1};
    assert_int_equal(irq_route(&t, &m, &targets), 1);
    wrmsr(LAPIC_MSR_BASE, LAPIC_DEFAULT_BASE);
    lapic_announcement(l, 7, &a);
    assert_int_equal(irq_announce(&t, &a), 0);
    assert_int_equal(irq_route(&t, &m, &targets), 0);
}

/* ---- Export and import ---------------------------------------------------------------------- */

static uint32_t page_get(const uint8_t *regs, uint32_t offset)
{
    return regs[offset] | (uint32_t)regs[offset + 1] << 8 | (uint32_t)regs[offset + 2] << 16 |
           (uint32_t)regs[offset + 3] << 24;
}

static void test_export_layout(void **state)
{
    (void)state;
    uint8_t regs[LAPIC_REGS_SIZE];
    wr(LAPIC_TDCR, 0xB);
    wr(LAPIC_LVT_TIMER, 0x40);
    wr(LAPIC_TMICT, 1000);
    deliver_level(0x8F);
    take(0x8F);
    now += 300;
    lapic_export(l, now, regs);
    assert_int_equal(page_get(regs, LAPIC_ID), 0x15000000);
    assert_int_equal(page_get(regs, LAPIC_VERSION), 0x50014);
    assert_int_equal(page_get(regs, LAPIC_PPR), 0x80);
    assert_int_equal(page_get(regs, LAPIC_ISR + 0x40), 1u << 15);
    assert_int_equal(page_get(regs, LAPIC_TMR + 0x40), 1u << 15);
    assert_int_equal(page_get(regs, LAPIC_TMCCT), 700);
    assert_int_equal(page_get(regs, LAPIC_TMICT), 1000);
    assert_int_equal(page_get(regs, LAPIC_DFR), 0xFFFFFFFF);
    now += 700; /* expired, and nobody has called lapic_timer_fire */
    lapic_export(l, now, regs);
    assert_int_equal(page_get(regs, LAPIC_IRR + 0x20), 1);
    assert_int_equal(page_get(regs, LAPIC_TMCCT), 0);
}

static void test_import_errors(void **state)
{
    (void)state;
    uint8_t regs[LAPIC_REGS_SIZE];
    struct lapic before;
    lapic_export(l, now, regs);
    memcpy(&before, l, sizeof(before));
    lapic_out_clear(&out);
    regs[LAPIC_ID + 3] = 0x16;
    assert_int_equal(lapic_import(l, now, regs, &out), -EINVAL);
    regs[LAPIC_ID + 3] = 0x15;
    regs[LAPIC_IRR + 1] = 0x80;
    assert_int_equal(lapic_import(l, now, regs, &out), -EINVAL);
    regs[LAPIC_IRR + 1] = 0;
    regs[LAPIC_ISR] = 1;
    assert_int_equal(lapic_import(l, now, regs, &out), -EINVAL);
    assert_memory_equal(&before, l, sizeof(before));
    assert_int_equal(out.events, 0);
}

/* What QEMU writes at reset: software-disabled, yet LINT0 is open; no VERSION. */
static void test_import_qemu_reset(void **state)
{
    (void)state;
    uint8_t regs[LAPIC_REGS_SIZE] = {0};
    memset(regs + LAPIC_DFR, 0xFF, 4);
    regs[LAPIC_ID + 3] = 0x15;
    regs[LAPIC_SVR] = 0xFF;
    for (uint32_t lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        regs[lvt + 2] = 1;
    regs[LAPIC_LVT_LINT0 + 1] = 7;
    regs[LAPIC_LVT_LINT0 + 2] = 0;
    deliver(APIC_DELIVERY_FIXED, 0x50);
    lapic_out_clear(&out);
    assert_int_equal(lapic_import(l, now, regs, &out), 0);
    assert_int_equal(out.events, LAPIC_EV_ANNOUNCE | LAPIC_EV_TIMER);
    assert_int_equal(lapic_next_vector(l), -1);
    assert_true(lapic_extint_ready(l));
    assert_int_equal(rd(LAPIC_VERSION), 0x50014);
    assert_int_equal(rd(LAPIC_LVT_LINT0), 0x700);
    memset(regs, 0xFF, sizeof(regs)); /* reserved bits go, nothing breaks */
    memset(regs + LAPIC_ID, 0, 3);
    regs[LAPIC_ID + 3] = 0x15;
    memset(regs + LAPIC_IRR, 0, 2);
    memset(regs + LAPIC_ISR, 0, 2);
    assert_int_equal(lapic_import(l, now, regs, &out), 0);
    assert_int_equal(rd(LAPIC_TPR), 0xFF);
    assert_int_equal(rd(LAPIC_LVT_ERROR), 0x100FF);
    assert_int_equal(rd(LAPIC_ICR), 0xCCFFF & ~0x1000 & ~0x2000);
}

/* A random guest and random messages: everything that can lead to a state worth saving. */
static void random_step(struct prng *r)
{
    static const uint32_t regs[] = {LAPIC_TPR,       LAPIC_EOI,       LAPIC_LDR,       LAPIC_DFR,
                                    LAPIC_SVR,       LAPIC_ESR,       LAPIC_ICR,       LAPIC_ICR2,
                                    LAPIC_LVT_TIMER, LAPIC_LVT_LINT0, LAPIC_LVT_ERROR, LAPIC_TMICT,
                                    LAPIC_TDCR};
    uint32_t reg = regs[prng_below(r, sizeof(regs) / sizeof(regs[0]))];
    uint32_t value = (uint32_t)prng_next(r);
    if (reg == LAPIC_SVR && prng_below(r, 8))
        value |= 0x100;
    if (reg == LAPIC_LVT_TIMER)
        value = PERIODIC * prng_below(r, 2) | MASKED * prng_below(r, 2) | (value & 0xFF);
    if (reg == LAPIC_TMICT)
        value %= 5000;
    if (reg == LAPIC_TPR)
        value &= 0x3F;
    lapic_out_clear(&out);
    switch (prng_below(r, 4)) {
    case 0:
        if (lapic_base(l) & LAPIC_BASE_EXTD)
            lapic_msr_write(l, now, X2(reg), reg == LAPIC_EOI || reg == LAPIC_ESR ? 0 : value,
                            &out);
        else
            lapic_mmio_write(l, now, reg, 4, value, &out);
        break;
    case 1:
        deliver_level((uint8_t)value);
        break;
    case 2:
        deliver(prng_below(r, 40) ? APIC_DELIVERY_FIXED : APIC_DELIVERY_INIT, (uint8_t)value);
        break;
    default:
        if (lapic_next_vector(l) >= 0)
            assert_int_equal(lapic_accept(l, lapic_next_vector(l)), 0);
    }
    now += prng_below(r, 700);
}

static uint32_t lapic_get_page(const uint8_t *regs, uint32_t at)
{
    return regs[at] | (uint32_t)regs[at + 1] << 8 | (uint32_t)regs[at + 2] << 16 |
           (uint32_t)regs[at + 3] << 24;
}

/* As in KVM: without a current count a periodic timer has its whole period before it, a one-shot
 * timer expires now. */
static void check_restart(const struct lapic *copy, const uint8_t *regs)
{
    uint32_t lvt = lapic_get_page(regs, LAPIC_LVT_TIMER);
    if (lvt & MASKED)
        assert_true(lapic_timer_deadline(copy) == LAPIC_NO_DEADLINE);
    else if (lvt & PERIODIC)
        assert_true(lapic_timer_deadline(copy) > now);
    else
        assert_true(lapic_timer_deadline(copy) == now);
}

/* The imported copy shows the same page, and behaves alike but for a fraction of a timer tick. */
static void check_copy(void)
{
    static struct lapic copy;
    uint8_t regs[LAPIC_REGS_SIZE], again[LAPIC_REGS_SIZE];
    struct lapic_config c = l->config;
    lapic_export(l, now, regs);
    assert_int_equal(lapic_create(&copy, &c), 0);
    lapic_out_clear(&out);
    assert_int_equal(lapic_base_set(&copy, lapic_base(l), &out), 0);
    assert_int_equal(lapic_set_mp_state(&copy, lapic_mp_state(l)), 0);
    assert_int_equal(lapic_import(&copy, now, regs, &out), 0);
    assert_int_equal((out.events & LAPIC_EV_EVAL) != 0, lapic_next_vector(&copy) >= 0);
    if (lapic_get_page(regs, LAPIC_TMCCT) == 0 && lapic_get_page(regs, LAPIC_TMICT) != 0) {
        check_restart(&copy, regs);
        return;
    }
    lapic_export(&copy, now, again);
    assert_memory_equal(regs, again, LAPIC_REGS_SIZE);
    lapic_timer_fire(l, now, &out);
    assert_int_equal(lapic_next_vector(l), lapic_next_vector(&copy));
    uint64_t want = lapic_timer_deadline(l), got = lapic_timer_deadline(&copy);
    assert_true(got >= want && got - want < 128);
    assert_int_equal(want == LAPIC_NO_DEADLINE, got == LAPIC_NO_DEADLINE);
}

static void test_round_trip_random(void **state)
{
    (void)state;
    struct prng r = {.state = 7};
    for (unsigned round = 0; round < 200; round++) {
        create(round % 3 == 0, false, 0);
        lapic_set_mp_state(l, LAPIC_MP_RUNNABLE);
        if (round % 2)
            wrmsr(LAPIC_MSR_BASE, X2_BASE);
        for (unsigned i = 0; i < 200; i++) {
            random_step(&r);
            if (lapic_mp_state(l) == LAPIC_MP_INIT_RECEIVED)
                lapic_set_mp_state(l, LAPIC_MP_RUNNABLE);
            check_copy();
        }
    }
}

/* Delivery order of a random load against the textbook: highest class first, above what is in
 * service and above TPR; EOIs end the highest. */
static void test_priority_random(void **state)
{
    (void)state;
    struct prng r = {.state = 99};
    static bool irr[256], isr[256];
    memset(irr, 0, sizeof(irr));
    memset(isr, 0, sizeof(isr));
    unsigned tpr = 0, accepted = 0;
    for (unsigned i = 0; i < 100000; i++) {
        unsigned v = 16 + prng_below(&r, 240), floor = tpr / 16;
        int want = -1;
        switch (prng_below(&r, 4)) {
        case 0:
            deliver(APIC_DELIVERY_FIXED, (uint8_t)v);
            irr[v] = true;
            break;
        case 1:
            tpr = prng_below(&r, 256);
            wr(LAPIC_TPR, tpr);
            break;
        case 2:
            wr(LAPIC_EOI, 0);
            for (int k = 255; k >= 0; k--)
                if (isr[k]) {
                    isr[k] = false;
                    break;
                }
            break;
        default:
            break;
        }
        floor = tpr / 16;
        for (unsigned k = 0; k < 256; k++)
            if (isr[k] && k / 16 > floor)
                floor = k / 16;
        for (int k = 0; k < 256; k++)
            if (irr[k] && (unsigned)k / 16 > floor)
                want = k;
        assert_int_equal(lapic_next_vector(l), want);
        if (want >= 0 && prng_below(&r, 2)) {
            assert_int_equal(lapic_accept(l, want), 0);
            irr[want] = false;
            isr[want] = true;
            accepted++;
        }
    }
    assert_true(accepted > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_x2_registers, setup_x2),
        cmocka_unit_test_setup(test_x2_reserved_bits, setup_x2),
        cmocka_unit_test_setup(test_x2_icr, setup_x2),
        cmocka_unit_test_setup(test_x2_timer, setup_x2),
        cmocka_unit_test_setup(test_init_keeps_x2, setup_x2),
        cmocka_unit_test_setup(test_base_transitions, setup),
        cmocka_unit_test_setup(test_xapic_to_x2apic, setup),
        cmocka_unit_test(test_announcements),
        cmocka_unit_test_setup(test_export_layout, setup),
        cmocka_unit_test_setup(test_import_errors, setup),
        cmocka_unit_test_setup(test_import_qemu_reset, setup),
        cmocka_unit_test(test_round_trip_random),
        cmocka_unit_test_setup(test_priority_random, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
