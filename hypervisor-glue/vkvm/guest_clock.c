/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/guest_clock.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "hypervisor-glue/link/glue_clock.h"
#include "hypervisor-glue/vkvm/vkvm.h"

enum { FOLLOW_PER_SECOND = 2000000 }; /* an offset that is right to half a microsecond stays */

/* The cluster clock when the processor's TSC is tsc; false: the dataplane is just writing the map.
 */
static bool cluster_at(const struct link *l, uint64_t tsc, uint64_t *ret)
{
    const struct glue_clock *g = &l->shared->clock;
    struct clock_map map;
    if (!glue_clock_read(g, &map))
        return false;
    *ret = clock_map_at(&map, glue_clock_host(g, tsc));
    return true;
}

static uint64_t cluster_now(const struct link *l)
{
    uint64_t now;
    while (!cluster_at(l, glue_clock_tsc(), &now))
        sched_yield(); /* to the writer */
    return now;
}

static int host_khz(struct vm *vm)
{
    return raw_ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);
}

static int check_msrs(struct vm *vm, uint32_t flags)
{
    bool lacks_msrs = (flags & VMC_CLOCK_MSRS) != 0 && !vm->user_msr;
    if (!lacks_msrs && ((flags & VMC_CLOCK_DEADLINE) == 0 || caps_probe_deadline(vm->kvm_fd)))
        return 0;
    say("node %u: this host's KVM keeps %s to itself, which the VMM's node does not: nodes of one "
        "VM need kernels that are alike",
        vm->link.node, lacks_msrs ? "the clock's MSRs" : "the TSC-deadline MSR");
    return -ENOTSUP;
}

int guest_clock_set(struct vm *vm, const struct vmc_clock *c)
{
    int own = host_khz(vm), rc = check_msrs(vm, c->flags);
    uint32_t tsc_khz = c->tsc_khz;
    if (rc != 0)
        return rc;
    if (tsc_khz < 1000 || vm->clock.tsc_khz != 0)
        return -EINVAL;
    if (own <= 0) {
        say("node %u: the kernel does not know this host's TSC frequency: guest time is not "
            "aligned",
            vm->link.node);
        own = (int)tsc_khz;
    }
    int64_t off = (int64_t)own - (int64_t)tsc_khz;
    if ((off < 0 ? -off : off) * 1000000 > (int64_t)tsc_khz * GUEST_CLOCK_PPM_MAX) {
        say("node %u: this host's TSC runs at %d kHz, the VMM's node's at %u kHz: nodes of one VM "
            "need the same frequency (TSC scaling is not offered)",
            vm->link.node, own, tsc_khz);
        return -ERANGE;
    }
    vm->clock.epoch = c->epoch;
    atomic_store_explicit(&vm->link.shared->guest_epoch, c->epoch, memory_order_relaxed);
    vm->clock.deadline = (c->flags & VMC_CLOCK_DEADLINE) != 0;
    vm->clock.scale = pvclock_scale(tsc_khz);
    vm->clock.tsc_khz = tsc_khz;
    return 0;
}

int guest_clock_start(struct vm *vm)
{
    if (vm->clock.tsc_khz != 0)
        return 0;
    int khz = host_khz(vm);
    struct vmc_clock c = {.epoch = cluster_now(&vm->link),
                          .tsc_khz = khz > 0 ? (uint32_t)khz : vm->link.shared->clock.tsc_khz};
    if (vm->user_msr)
        c.flags |= VMC_CLOCK_MSRS;
    if (vm->user_msr && caps_probe_deadline(vm->kvm_fd))
        c.flags |= VMC_CLOCK_DEADLINE;
    int rc = vm_cmd(vm, UINT32_MAX, VMC_CLOCK, 0, &c, sizeof(c), "the guest's clock");
    return rc < 0 ? rc : guest_clock_set(vm, &c);
}

/* ---- offset -------------------------------------------------------------------------------- */

static int set_offset(struct vcpu *v, uint64_t offset)
{
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset};
    int rc = raw_ioctl(v->fd, KVM_SET_DEVICE_ATTR, (uintptr_t)&attr);
    if (rc == 0)
        v->clock.offset = offset;
    return rc;
}

/* What the offset should be now: the processor adds it to its TSC. */
static bool wanted_offset(const struct vcpu *v, uint64_t *ret)
{
    uint64_t tsc = glue_clock_tsc(), cluster;
    if (!cluster_at(&v->vm->link, tsc, &cluster))
        return false;
    *ret = cluster - v->vm->clock.epoch + v->clock.adjust - tsc;
    return true;
}

int guest_clock_place(struct vcpu *v)
{
    uint64_t offset;
    while (!wanted_offset(v, &offset))
        sched_yield();
    int rc = set_offset(v, offset);
    if (rc != 0)
        say("vCPU %u: the kernel takes no TSC offset (KVM_VCPU_TSC_CTRL: %s); remedy: Linux 5.16 "
            "or later",
            v->id, strerror(-rc));
    return rc;
}

void guest_clock_follow(struct vcpu *v)
{
    uint64_t offset;
    if (!wanted_offset(v, &offset))
        return;
    int64_t ahead = (int64_t)(offset - v->clock.offset);
    if (ahead > (int64_t)v->vm->clock.tsc_khz * 1000 / FOLLOW_PER_SECOND)
        set_offset(v, v->clock.offset + (uint64_t)ahead);
}

/* The guest moves its own TSC, back too if it likes. */
static int adjust(struct vcpu *v, uint64_t by)
{
    struct { /* struct kvm_msrs with one entry: what the guest reads there is the kernel's */
        uint32_t nmsrs, pad;
        struct kvm_msr_entry entry;
    } one = {.nmsrs = 1, .entry = {.index = GUEST_MSR_TSC_ADJUST, .data = v->clock.adjust + by}};
    raw_ioctl(v->fd, KVM_SET_MSRS, (uintptr_t)&one);
    v->clock.adjust += by;
    return set_offset(v, v->clock.offset + by);
}

uint64_t guest_clock_tsc(const struct vcpu *v)
{
    return glue_clock_tsc() + v->clock.offset;
}

uint64_t guest_clock_ns(struct vm *vm)
{
    if (vm->clock.tsc_khz == 0)
        return 0;
    return pvclock_ns(vm->clock.scale, cluster_now(&vm->link) - vm->clock.epoch);
}

/* ---- MSRs ---------------------------------------------------------------------------------- */

bool guest_clock_msr_known(uint32_t index)
{
    return index == GUEST_MSR_TSC || index == GUEST_MSR_TSC_ADJUST ||
           index == PVCLOCK_MSR_WALL_OLD || index == PVCLOCK_MSR_TIME_OLD ||
           index - PVCLOCK_MSR_WALL < PVCLOCK_MSR_PV_COUNT;
}

static int write_time(struct vcpu *v, uint64_t value)
{
    uint8_t record[PVCLOCK_TIME_SIZE];
    v->clock.time_msr = value;
    if ((value & PVCLOCK_ENABLED) == 0)
        return 0;
    pvclock_time_pack(v->vm->clock.scale, record);
    return memslots_write(v->vm, value & ~PVCLOCK_ENABLED, record, sizeof(record));
}

static int write_wall(struct vcpu *v, uint64_t value)
{
    struct timespec now;
    uint8_t record[PVCLOCK_WALL_SIZE];
    v->clock.wall_msr = value;
    if (value == 0)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t wall = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    pvclock_wall_pack(wall - guest_clock_ns(v->vm), record);
    return memslots_write(v->vm, value, record, sizeof(record));
}

int guest_clock_msr_write(struct vcpu *v, uint32_t index, uint64_t value, bool by_guest)
{
    switch (index) {
    case GUEST_MSR_TSC:
        return by_guest ? adjust(v, value - guest_clock_tsc(v)) : 0;
    case GUEST_MSR_TSC_ADJUST:
        return adjust(v, value - v->clock.adjust);
    case PVCLOCK_MSR_TIME:
    case PVCLOCK_MSR_TIME_OLD:
        /* As KVM: an address outside RAM is the guest's own loss. The VMM writes here to restore
         * what the guest has set, whose page holds the record already. */
        if (by_guest)
            write_time(v, value);
        else
            v->clock.time_msr = value;
        return 0;
    case PVCLOCK_MSR_WALL:
    case PVCLOCK_MSR_WALL_OLD:
        if (by_guest)
            write_wall(v, value);
        else
            v->clock.wall_msr = value;
        return 0;
    default:
        return value == 0 && !by_guest ? 0 : -EINVAL;
    }
}

int guest_clock_msr_read(struct vcpu *v, uint32_t index, uint64_t *ret_value)
{
    switch (index) {
    case GUEST_MSR_TSC:
        *ret_value = guest_clock_tsc(v);
        return 0;
    case GUEST_MSR_TSC_ADJUST:
        *ret_value = v->clock.adjust;
        return 0;
    case PVCLOCK_MSR_TIME:
    case PVCLOCK_MSR_TIME_OLD:
        *ret_value = v->clock.time_msr;
        return 0;
    case PVCLOCK_MSR_WALL:
    case PVCLOCK_MSR_WALL_OLD:
        *ret_value = v->clock.wall_msr;
        return 0;
    default:
        *ret_value = 0;
        return index - PVCLOCK_MSR_WALL < PVCLOCK_MSR_PV_COUNT ? 0 : -EINVAL;
    }
}
