/* SPDX-License-Identifier: BSD-3-Clause */
/* The local APIC model as KVM state: what the VMM reads and writes by the ioctls of an in-kernel
 * local APIC. */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

int apic_create(struct vcpu *v)
{
    struct lapic_config config = {.apic_id = v->id,
                                  .vcpu = (uint16_t)v->id,
                                  .bsp = v->id == 0,
                                  .tsc_khz = v->vm->clock.tsc_khz,
                                  .tsc_deadline = v->vm->clock.deadline};
    int rc = lapic_create(&v->lapic, &config);
    if (rc == 0)
        lapic_set_cpuid(&v->lapic, false, 52);
    return rc == 0 ? routing_announce(v) : rc;
}

static void learn_cpuid(struct vcpu *v, const struct kvm_cpuid2 *list)
{
    bool x2apic = false;
    uint8_t phys_bits = 36;
    for (uint32_t i = 0; i < list->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &list->entries[i];
        if (e->function == 1)
            x2apic = (e->ecx >> 21 & 1) != 0 && v->vm->user_msr;
        if (e->function == 0x80000008)
            phys_bits = (uint8_t)e->eax;
    }
    lapic_set_cpuid(&v->lapic, x2apic, phys_bits);
}

static int set_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
    struct lapic_out out;
    lapic_out_clear(&out);
    int rc = raw_ioctl(v->fd, KVM_SET_SREGS, (uintptr_t)s);
    if (rc < 0)
        return rc;
    v->ready = false;
    rc = lapic_base_set(&v->lapic, s->apic_base, &out);
    if (rc == 0)
        lapic_set_cr8(&v->lapic, (uint8_t)s->cr8, &out);
    return rc == 0 ? inject_events(v, &out) : rc;
}

static int get_sregs(struct vcpu *v, struct kvm_sregs *s)
{
    int rc = raw_ioctl(v->fd, KVM_GET_SREGS, (uintptr_t)s);
    s->apic_base = lapic_base(&v->lapic);
    s->cr8 = lapic_cr8(&v->lapic);
    return rc;
}

static bool is_model_msr(uint32_t index)
{
    return index == LAPIC_MSR_BASE || index == LAPIC_MSR_DEADLINE || guest_clock_msr_known(index);
}

/* 0, or -errno. */
static int model_msr(struct vcpu *v, bool get, uint32_t index, uint64_t *data)
{
    struct lapic_out out;
    int rc = 0;
    lapic_out_clear(&out);
    if (guest_clock_msr_known(index))
        return get ? guest_clock_msr_read(v, index, data)
                   : guest_clock_msr_write(v, index, *data, false);
    if (index == LAPIC_MSR_DEADLINE && get)
        lapic_tsc_deadline_read(&v->lapic, link_now(), data, &out);
    else if (index == LAPIC_MSR_DEADLINE)
        lapic_tsc_deadline_write(&v->lapic, link_now(), guest_clock_tsc(v), *data, &out);
    else if (get)
        *data = lapic_base(&v->lapic);
    else
        rc = lapic_base_set(&v->lapic, *data, &out);
    return rc == 0 ? inject_events(v, &out) : rc;
}

/* As KVM does it: entries in order, up to the first that fails; the answer is how many were done.
 */
static int each_msr(struct vcpu *v, uint32_t nr, struct kvm_msrs *list)
{
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        struct { /* struct kvm_msrs with one entry */
            uint32_t nmsrs, pad;
            struct kvm_msr_entry entry;
        } one = {.nmsrs = 1, .entry = list->entries[i]};
        bool get = nr == (uint32_t)KVM_GET_MSRS;
        if (is_model_msr(one.entry.index)) {
            uint64_t data = one.entry.data; /* the structure is packed */
            if (model_msr(v, get, one.entry.index, &data) != 0)
                return (int)i;
            one.entry.data = data;
        } else if (raw_ioctl(v->fd, nr, (uintptr_t)&one) != 1) {
            return (int)i;
        }
        if (get)
            list->entries[i].data = one.entry.data;
    }
    return (int)list->nmsrs;
}

static int msrs(struct vcpu *v, uint32_t nr, struct kvm_msrs *list)
{
    for (uint32_t i = 0; i < list->nmsrs; i++)
        if (is_model_msr(list->entries[i].index))
            return each_msr(v, nr, list);
    return raw_ioctl(v->fd, nr, (uintptr_t)list);
}

static int set_lapic(struct vcpu *v, const struct kvm_lapic_state *s)
{
    struct lapic_out out;
    lapic_out_clear(&out);
    int rc = lapic_import(&v->lapic, link_now(), (const uint8_t *)s->regs, &out);
    tick_forget(v);
    return rc == 0 ? inject_events(v, &out) : rc;
}

int apic_ioctl(struct vcpu *v, uint32_t nr, uintptr_t arg, int *ret)
{
    struct lapic_out out;
    lapic_out_clear(&out);
    switch (nr) {
    case (uint32_t)KVM_GET_LAPIC:
        lapic_export(&v->lapic, link_now(), (uint8_t *)((struct kvm_lapic_state *)arg)->regs);
        *ret = 0;
        return 1;
    case (uint32_t)KVM_SET_LAPIC:
        *ret = set_lapic(v, (const struct kvm_lapic_state *)arg);
        return 1;
    case (uint32_t)KVM_GET_TSC_KHZ:
        *ret = (int)v->vm->clock.tsc_khz;
        return 1;
    case (uint32_t)KVM_GET_MP_STATE:
        ((struct kvm_mp_state *)arg)->mp_state = lapic_mp_state(&v->lapic);
        *ret = 0;
        return 1;
    case (uint32_t)KVM_SET_MP_STATE: {
        uint32_t state = ((const struct kvm_mp_state *)arg)->mp_state;
        *ret = state > UINT8_MAX ? -EINVAL : lapic_set_mp_state(&v->lapic, (uint8_t)state);
        return 1;
    }
    case (uint32_t)KVM_INTERRUPT:
        *ret = ((const struct kvm_interrupt *)arg)->irq > 255
                   ? -EINVAL
                   : lapic_extint_set(&v->lapic, (uint8_t)((const struct kvm_interrupt *)arg)->irq,
                                      &out);
        return 1;
    case (uint32_t)KVM_NMI:
        *ret = inject_nmi(v);
        return 1;
    case (uint32_t)KVM_SET_REGS: /* what kvm_run said at the last exit is no longer so */
        *ret = raw_ioctl(v->fd, nr, arg);
        if (*ret == 0)
            v->run->if_flag = ((const struct kvm_regs *)arg)->rflags >> 9 & 1;
        v->ready = false;
        return 1;
    case (uint32_t)KVM_SET_VCPU_EVENTS:
        *ret = raw_ioctl(v->fd, nr, arg);
        v->ready = false;
        return 1;
    case (uint32_t)KVM_GET_SREGS:
        *ret = get_sregs(v, (struct kvm_sregs *)arg);
        return 1;
    case (uint32_t)KVM_SET_SREGS:
        *ret = set_sregs(v, (const struct kvm_sregs *)arg);
        return 1;
    case (uint32_t)KVM_GET_MSRS:
    case (uint32_t)KVM_SET_MSRS:
        *ret = msrs(v, nr, (struct kvm_msrs *)arg);
        return 1;
    case (uint32_t)KVM_SET_CPUID2:
        *ret = raw_ioctl(v->fd, nr, arg);
        if (*ret == 0)
            learn_cpuid(v, (const struct kvm_cpuid2 *)arg);
        return 1;
    default:
        return 0;
    }
}
