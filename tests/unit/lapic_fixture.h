/* SPDX-License-Identifier: BSD-3-Clause */
/* One local APIC and the hands of its guest, for test_lapic.c and test_lapic_modes.c. */
#ifndef PANDO_TESTS_LAPIC_FIXTURE_H
#define PANDO_TESTS_LAPIC_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "dataplane/base/prng.h"
#include "hypervisor-glue/lapic/lapic.h"

#define SVR_ON     0x1FFu
#define MASKED     0x10000u
#define PERIODIC   0x20000u
#define TSC_MODE   0x40000u
#define X2(offset) (0x800u + (offset) / 16u)
#define X2_BASE    (LAPIC_DEFAULT_BASE | LAPIC_BASE_EN | LAPIC_BASE_EXTD)

static struct lapic apic;
static struct lapic *const l = &apic;
static struct lapic_out out;
static uint64_t now;

/* ---- The guest's hands: each access starts with a clean `out` -------------------------------- */

static inline uint32_t rd(uint32_t offset)
{
    uint32_t value = 0xDEAD;
    lapic_out_clear(&out);
    assert_int_equal(lapic_mmio_read(l, now, offset, 4, &value, &out), 0);
    return value;
}

static inline uint32_t wr(uint32_t offset, uint32_t value)
{
    lapic_out_clear(&out);
    assert_int_equal(lapic_mmio_write(l, now, offset, 4, value, &out), 0);
    return out.events;
}

static inline uint32_t wrmsr(uint32_t msr, uint64_t value)
{
    lapic_out_clear(&out);
    assert_int_equal(lapic_msr_write(l, now, msr, value, &out), 0);
    return out.events;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t value = 0xDEAD;
    lapic_out_clear(&out);
    assert_int_equal(lapic_msr_read(l, now, msr, &value, &out), 0);
    assert_int_equal(out.events & LAPIC_EV_GP, 0);
    return value;
}

static inline bool rdmsr_faults(uint32_t msr)
{
    uint64_t value;
    lapic_out_clear(&out);
    assert_int_equal(lapic_msr_read(l, now, msr, &value, &out), 0);
    return (out.events & LAPIC_EV_GP) != 0;
}

static inline bool wrmsr_faults(uint32_t msr, uint64_t value)
{
    return (wrmsr(msr, value) & LAPIC_EV_GP) != 0;
}

static inline uint32_t deliver(uint8_t delivery, uint8_t vector)
{
    struct apic_msg m = {.vector = vector, .delivery = delivery, .level = 1};
    lapic_out_clear(&out);
    lapic_deliver(l, now, &m, &out);
    return out.events;
}

static inline uint32_t deliver_level(uint8_t vector)
{
    struct apic_msg m = {.vector = vector, .level = 1, .trigger = APIC_TRIGGER_LEVEL};
    lapic_out_clear(&out);
    lapic_deliver(l, now, &m, &out);
    return out.events;
}

static inline uint32_t fire(void)
{
    lapic_out_clear(&out);
    lapic_timer_fire(l, now, &out);
    return out.events;
}

static inline void take(int vector)
{
    assert_int_equal(lapic_next_vector(l), vector);
    assert_int_equal(lapic_accept(l, vector), 0);
}

static inline void create(bool bsp, bool tsc, uint64_t hz)
{
    struct lapic_config c = {.vcpu = 3,
                             .apic_id = 0x15,
                             .bsp = bsp,
                             .tsc_deadline = tsc,
                             .tsc_khz = 2000000,
                             .timer_hz = hz};
    now = 1000000;
    assert_int_equal(lapic_create(l, &c), 0);
}

static inline int setup(void **state)
{
    (void)state;
    create(true, false, 0);
    wr(LAPIC_SVR, SVR_ON);
    return 0;
}

static inline int setup_x2(void **state)
{
    (void)state;
    create(true, false, 0);
    assert_int_equal(wrmsr(LAPIC_MSR_BASE, X2_BASE | LAPIC_BASE_BSP), LAPIC_EV_ANNOUNCE);
    wrmsr(X2(LAPIC_SVR), SVR_ON);
    return 0;
}

#endif
