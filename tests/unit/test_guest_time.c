/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest time at the vCPU's home: KVM's paravirtual clock, the map of the cluster clock, slow ticks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hypervisor-glue/link/glue_clock.h"
#include "hypervisor-glue/vkvm/vkvm.h"

#define MS UINT64_C(1000000)

/* The guest computes ns by mul and shift: exact to 1 in 10^9 at any frequency, for years. */
static void scale_is_exact(void **state)
{
    (void)state;
    static const uint32_t khz[] = {1000,    33333,   999999,  1000000, 1000001, 1999999, 2000000,
                                   2000001, 2445406, 3999999, 4000000, 5123457, 9999999};
    for (size_t i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        struct pvclock_scale s = pvclock_scale(khz[i]);
        assert_true(s.mul >= UINT32_C(1) << 31);
        for (uint64_t seconds = 1; seconds < 200000000; seconds *= 7) {
            uint64_t ns = pvclock_ns(s, seconds * khz[i] * 1000), want = seconds * 1000000000;
            uint64_t off = ns > want ? ns - want : want - ns;
            assert_true(off <= want / 1000000000 + 2);
        }
        assert_int_equal(pvclock_ns(s, 0), 0);
    }
}

static void records_are_kvms(void **state)
{
    (void)state;
    struct pvclock_scale s = pvclock_scale(2445406);
    uint8_t time[PVCLOCK_TIME_SIZE], wall[PVCLOCK_WALL_SIZE];
    uint32_t word[3];
    pvclock_time_pack(s, time);
    memcpy(word, time, 4);
    assert_int_equal(word[0] % 2, 0); /* an odd version makes the guest wait */
    memcpy(word, time + 24, 4);
    assert_int_equal(word[0], s.mul);
    assert_int_equal((int8_t)time[28], s.shift);
    assert_int_equal(time[29], PVCLOCK_TSC_STABLE);
    for (unsigned i = 4; i < 24; i++)
        assert_int_equal(time[i], 0);
    pvclock_wall_pack(UINT64_C(1764144000123456789), wall);
    memcpy(word, wall, sizeof(word));
    assert_int_equal(word[0] % 2, 0);
    assert_int_equal(word[1], 1764144000);
    assert_int_equal(word[2], 123456789);
}

static struct vm *new_vm(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    vm->link.shared = aligned_alloc(4096, (glue_segment_size(1) + 4095) & ~(size_t)4095);
    memset(vm->link.shared, 0, glue_segment_size(1));
    struct clock_map map = {.state = CLOCK_LOCKED, .khz = 2000000};
    map.base_host = glue_clock_tsc();
    map.base_cluster = UINT64_C(1) << 40;
    glue_clock_write(&vm->link.shared->clock, &map);
    pthread_mutex_init(&vm->slot_lock, NULL);
    return vm;
}

static void free_vm(struct vm *vm)
{
    free(vm->link.shared);
    free(vm);
}

/* KVM's clock in ns is the cluster clock since the epoch, wherever the host's TSC stands. */
static void clock_counts_from_the_epoch(void **state)
{
    (void)state;
    struct vm *vm = new_vm();
    assert_int_equal(guest_clock_ns(vm), 0);
    vm->fd = -1; /* no KVM: the frequency is believed */
    struct vmc_clock c = {.epoch = (UINT64_C(1) << 40) - 2000000000u, .tsc_khz = 999};
    assert_int_equal(guest_clock_set(vm, &c), -EINVAL);
    c.tsc_khz = 2000000;
    c.flags = VMC_CLOCK_MSRS; /* this KVM has none to give */
    assert_int_equal(guest_clock_set(vm, &c), -ENOTSUP);
    c.flags = 0;
    assert_int_equal(guest_clock_set(vm, &c), 0);
    assert_int_equal(guest_clock_set(vm, &c), -EINVAL); /* once */
    uint64_t ns = guest_clock_ns(vm);
    assert_true(ns >= 1000000000 && ns < UINT64_C(60) * 1000000000);
    free_vm(vm);
}

/* A record goes into the guest's page through the slot that shows it, over the edge of two slots,
 * and nowhere else. */
static void records_go_through_slots(void **state)
{
    (void)state;
    struct vm *vm = new_vm();
    static uint8_t a[4096], b[4096], rom[4096];
    struct kvm_userspace_memory_region r[] = {
        {.slot = 0, .guest_phys_addr = 0x1000, .memory_size = 4096, .userspace_addr = (uintptr_t)a},
        {.slot = 7, .guest_phys_addr = 0x2000, .memory_size = 4096, .userspace_addr = (uintptr_t)b},
        {.slot = 8,
         .flags = KVM_MEM_READONLY,
         .guest_phys_addr = 0x3000,
         .memory_size = 4096,
         .userspace_addr = (uintptr_t)rom},
    };
    for (unsigned i = 0; i < 3; i++)
        memslots_note(vm, &r[i]);
    assert_int_equal(memslots_write(vm, 0x1FFE, "abcd", 4), 0);
    assert_memory_equal(a + 4094, "ab", 2);
    assert_memory_equal(b, "cd", 2);
    assert_int_equal(memslots_write(vm, 0x2FFF, "xy", 2), -EFAULT);
    assert_int_equal(rom[0], 0);
    assert_int_equal(memslots_write(vm, 0xFFF, "z", 1), -EFAULT);
    r[1].memory_size = 0;
    memslots_note(vm, &r[1]);
    assert_int_equal(memslots_write(vm, 0x2000, "z", 1), -EFAULT);
    free_vm(vm);
}

static void msrs_of_the_clock(void **state)
{
    (void)state;
    struct vm *vm = new_vm();
    struct vcpu v = {.vm = vm, .fd = -1};
    static _Alignas(4096) uint8_t page[4096];
    uint64_t value;
    vm->fd = -1;
    struct vmc_clock c = {.epoch = UINT64_C(1) << 40, .tsc_khz = 2000000};
    assert_int_equal(guest_clock_set(vm, &c), 0);
    struct kvm_userspace_memory_region r = {
        .guest_phys_addr = 0x5000, .memory_size = 4096, .userspace_addr = (uintptr_t)page};
    memslots_note(vm, &r);
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_TIME, 0x5041, true), 0);
    assert_int_equal(page[0x40 + 29], PVCLOCK_TSC_STABLE);
    assert_int_equal(guest_clock_msr_read(&v, PVCLOCK_MSR_TIME, &value), 0);
    assert_int_equal(value, 0x5041);
    /* The VMM restores the register; the page is the guest's and comes with its RAM. */
    memset(page, 0, sizeof(page));
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_TIME, 0x5041, false), 0);
    assert_int_equal(page[0x40 + 29], 0);
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_TIME, 0x9001, true), 0); /* no RAM */
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_WALL, 0x5100, true), 0);
    assert_int_not_equal(page[0x104] | page[0x105] | page[0x106] | page[0x107], 0);
    /* Steal time, asynchronous page faults: not offered, so no such register. */
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_WALL + 3, 0x5001, true), -EINVAL);
    assert_int_equal(guest_clock_msr_write(&v, PVCLOCK_MSR_WALL + 3, 0, false), 0);
    free_vm(vm);
}

/* ---- slow ticks --- */

enum { TICK_VECTOR = 0xEC };

#define REST_MAX_NS (200 * MS)

static void new_tick(struct vcpu *v)
{
    static struct kvm_run run;
    struct lapic_config config = {.bsp = true};
    struct lapic_out out;
    memset(v, 0, sizeof(*v));
    v->run = &run;
    lapic_out_clear(&out);
    assert_int_equal(lapic_create(&v->lapic, &config), 0);
    lapic_mmio_write(&v->lapic, 0, LAPIC_SVR, 4, 0x1FF, &out);
    lapic_mmio_write(&v->lapic, 0, LAPIC_LVT_TIMER, 4, TICK_VECTOR, &out);
    v->tick.rest_times = 3;
    v->tick.rest_max_ns = REST_MAX_NS;
}

/* When the timer, with its deadline at `at`, would fire. */
static uint64_t next_tick(struct vcpu *v, uint64_t at)
{
    struct lapic_out out;
    lapic_out_clear(&out);
    lapic_mmio_write(&v->lapic, at - MS, LAPIC_TDCR, 4, 0xB, &out); /* one tick is 1 ns */
    lapic_mmio_write(&v->lapic, at - MS, LAPIC_TMICT, 4, MS, &out);
    return lapic_timer_deadline(&v->lapic);
}

static void leave(struct vcpu *v, bool ready, uint64_t at)
{
    v->ready = ready;
    v->run->request_interrupt_window = v->tick.is_watched;
    if (v->tick.in_work)
        tick_exit(v, at);
}

/* One with an exit for the timer at its end, and one for the end if that was asked for; returns
 * whether it was. */
static bool tick(struct vcpu *v, uint64_t from, uint64_t to)
{
    tick_accepted(v, TICK_VECTOR, from);
    bool watched = v->tick.is_watched;
    leave(v, false, from + MS / 100);
    leave(v, false, to - MS / 100);
    if (watched)
        leave(v, true, to);
    return watched;
}

static void a_guest_that_keeps_up_never_rests(void **state)
{
    (void)state;
    struct vcpu v;
    new_tick(&v);
    for (uint64_t t = 4 * MS; t < 400 * MS; t += 4 * MS) {
        assert_false(tick(&v, t, t + MS / 10)); /* costs no exit */
        leave(&v, true, t + 3 * MS);            /* when it was over nobody knows */
        assert_int_equal(next_tick(&v, t + 4 * MS), t + 4 * MS);
    }
    /* Exits with interrupts off that are none of a tick's: some ticks are looked at. */
    assert_false(tick(&v, 400 * MS, 400 * MS + MS / 10));
    leave(&v, false, 403 * MS);
    leave(&v, true, 403 * MS);
    assert_int_equal(next_tick(&v, 404 * MS), 404 * MS);
    for (uint64_t t = 404 * MS; t < (404 + 4 * VKVM_TICK_WATCH) * MS; t += 4 * MS) {
        assert_true(tick(&v, t, t + MS / 10));
        assert_int_equal(next_tick(&v, t + 4 * MS), t + 4 * MS);
    }
    assert_false(tick(&v, 500 * MS, 500 * MS + MS / 10));
    leave(&v, true, 501 * MS);
    leave(&v, false, 1400 * MS);
    leave(&v, true, 1450 * MS);
    assert_int_equal(next_tick(&v, 1454 * MS), 1454 * MS);
}

/* One that waited during a slow one finds the pages there. */
static void every_other_tick_is_slow(void **state)
{
    (void)state;
    struct vcpu v;
    new_tick(&v);
    assert_false(tick(&v, 0, 10 * MS));
    leave(&v, true, 10 * MS);
    for (uint64_t t = 100 * MS; t < 1000 * MS; t += 100 * MS) {
        assert_true(tick(&v, t, t + MS / 10));
        assert_int_equal(next_tick(&v, t + 4 * MS), t + 4 * MS);
        assert_true(tick(&v, t + 4 * MS, t + 14 * MS));
        assert_int_equal(next_tick(&v, t + 18 * MS), t + 44 * MS);
    }
}

static void a_slow_tick_rests(void **state)
{
    (void)state;
    struct vcpu v;
    struct lapic_out out;
    new_tick(&v);
    tick_accepted(&v, 0x40, 4 * MS); /* other interrupts say nothing */
    tick_accepted(&v, TICK_VECTOR | LAPIC_PENDING_EXTINT, 4 * MS);
    assert_false(v.tick.in_work);
    assert_false(tick(&v, 8 * MS, 24 * MS)); /* nobody has looked yet */
    leave(&v, true, 25 * MS);
    assert_int_equal(next_tick(&v, 28 * MS), 28 * MS);
    assert_true(tick(&v, 28 * MS, 44 * MS));
    assert_int_equal(next_tick(&v, 48 * MS), 92 * MS);
    assert_true(tick(&v, 44 * MS, 47 * MS)); /* it waited: the longer rest counts */
    assert_int_equal(next_tick(&v, 48 * MS), 92 * MS);
    lapic_out_clear(&out);
    lapic_timer_fire(&v.lapic, 91 * MS, &out); /* whoever asks */
    assert_int_equal(out.events, 0);
    lapic_timer_fire(&v.lapic, 92 * MS, &out);
    assert_int_not_equal(out.events & LAPIC_EV_TIMER, 0);
    assert_true(tick(&v, 100 * MS, 3000 * MS));
    assert_int_equal(next_tick(&v, 3001 * MS), 3000 * MS + REST_MAX_NS);
    for (uint64_t t = 3300 * MS; t < (3300 + 4 * VKVM_TICK_WATCH) * MS; t += 4 * MS)
        assert_true(tick(&v, t, t + MS / 10)); /* fast again */
    assert_false(tick(&v, 3400 * MS, 3400 * MS + MS / 10));
    leave(&v, true, 3401 * MS);
    /* With one that waits a slow one's end is an exit though nobody has asked; a look for the next.
     */
    tick_accepted(&v, TICK_VECTOR, 3500 * MS);
    leave(&v, false, 3500 * MS);
    v.ready = true;
    v.run->request_interrupt_window = 1;
    tick_exit(&v, 3503 * MS);
    assert_int_equal(next_tick(&v, 3504 * MS), 3504 * MS);
    assert_true(tick(&v, 3504 * MS, 3507 * MS));
    assert_int_equal(next_tick(&v, 3508 * MS), 3516 * MS);
}

static void rests_end(void **state)
{
    (void)state;
    struct vcpu v;
    struct lapic_out out;
    uint8_t regs[LAPIC_REGS_SIZE];
    new_tick(&v);
    assert_false(tick(&v, 8 * MS, 24 * MS));
    tick_accepted(&v, TICK_VECTOR, 28 * MS);
    tick_forget(&v); /* the guest begins anew, with interrupts off for long */
    leave(&v, false, 500 * MS);
    leave(&v, true, 500 * MS);
    assert_int_equal(next_tick(&v, 504 * MS), 504 * MS);
    v.tick.rest_times = 0; /* off */
    for (uint64_t t = 600 * MS; t < 1000 * MS; t += 100 * MS)
        assert_false(tick(&v, t, t + 50 * MS));
    lapic_out_clear(&out);
    lapic_timer_rest(&v.lapic, 9000 * MS);
    lapic_export(&v.lapic, 0, regs);
    assert_int_equal(lapic_import(&v.lapic, 0, regs, &out), 0);
    assert_int_equal(v.lapic.timer_rest_ns, 0);
    lapic_timer_rest(&v.lapic, 9000 * MS);
    lapic_reset(&v.lapic, &out);
    assert_int_equal(v.lapic.timer_rest_ns, 0); /* a CPU that comes up has none from before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_is_exact),
        cmocka_unit_test(records_are_kvms),
        cmocka_unit_test(clock_counts_from_the_epoch),
        cmocka_unit_test(records_go_through_slots),
        cmocka_unit_test(msrs_of_the_clock),
        cmocka_unit_test(a_guest_that_keeps_up_never_rests),
        cmocka_unit_test(every_other_tick_is_slow),
        cmocka_unit_test(a_slow_tick_rests),
        cmocka_unit_test(rests_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
