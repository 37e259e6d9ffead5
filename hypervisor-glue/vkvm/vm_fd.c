/* SPDX-License-Identifier: BSD-3-Clause */
/* The VM's own ioctls, in the VMM's process. */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

static int mirror(struct vm *vm, const struct ioctl_info *info, uintptr_t arg)
{
    uint64_t value = arg;
    const void *bytes = info->size == SIZE_VALUE ? (const void *)&value : (const void *)arg;
    int size = ioctl_arg_size(info, bytes, SIZE_MAX);
    if (size < 0)
        return size;
    int rc = raw_ioctl(vm->fd, info->nr, arg);
    if (rc < 0)
        return rc;
    int others = vm_cmd(vm, UINT32_MAX, VMC_IOCTL, info->nr, bytes, (uint32_t)size, info->name);
    return others < 0 ? others : rc;
}

static int enable_cap(struct vm *vm, const struct kvm_enable_cap *cap)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_VM, KVM_ENABLE_CAP);
    /* The kernel gets no irqchip: every APIC access must reach our model. */
    if (cap->cap == KVM_CAP_SPLIT_IRQCHIP)
        return cap->args[0] <= VKVM_GSIS ? 0 : -EINVAL;
    if (caps_check(vm->fd, vm, cap->cap) <= 0) {
        say("KVM_ENABLE_CAP %u is not offered by Pando", cap->cap);
        return -EINVAL;
    }
    return mirror(vm, info, (uintptr_t)cap);
}

static int create_vcpu(struct vm *vm, uintptr_t id)
{
    if (id >= vm->link.vcpus) {
        say("vCPU %lu: the cluster was configured for %u (vm.vcpus)", (unsigned long)id,
            vm->link.vcpus);
        return -EINVAL;
    }
    if (vm->vcpu[id] != NULL)
        return -EEXIST;
    int rc = guest_clock_start(vm);
    const struct kvm_cpuid2 *common;
    if (rc >= 0)
        rc = caps_common_cpuid(vm, &common); /* whether a guest can run on all of them */
    if (rc < 0)
        return rc;
    uint32_t home = vm->link.vcpu_home[id];
    if (home != vm->link.node) {
        rc = vm_cmd(vm, home, VMC_VCPU, id, NULL, 0, "KVM_CREATE_VCPU");
        if (rc < 0)
            return rc;
    }
    int err = 0;
    struct vcpu *v = vcpu_create(vm, (uint32_t)id, &err);
    if (v == NULL)
        return err;
    vm->vcpu[id] = v;
    return v->fd;
}

static int locked(struct vm *vm, const struct ioctl_info *info, uintptr_t arg)
{
    switch (info->nr) {
    case (uint32_t)KVM_CREATE_VCPU:
        return create_vcpu(vm, arg);
    case (uint32_t)KVM_ENABLE_CAP:
        return enable_cap(vm, (const struct kvm_enable_cap *)arg);
    case (uint32_t)KVM_SET_USER_MEMORY_REGION:
        return memslots_set(vm, (const struct kvm_userspace_memory_region *)arg);
    default:
        return mirror(vm, info, arg);
    }
}

int vm_ioctl(struct vm *vm, uint32_t nr, uintptr_t arg)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_VM, nr);
    if (info == NULL || info->way == WAY_REFUSE)
        return ioctl_unknown(SCOPE_VM, nr);
    bool line = nr == (uint32_t)KVM_IRQ_LINE || nr == (uint32_t)KVM_IRQ_LINE_STATUS;
    /* These stay in this process, and QEMU aborts if one fails while it ends in good order. */
    if (nr == (uint32_t)KVM_IOEVENTFD)
        return eventfds_io(vm, (const struct kvm_ioeventfd *)arg);
    if (nr == (uint32_t)KVM_IRQFD)
        return eventfds_irq(vm, (const struct kvm_irqfd *)arg);
    if (link_stopped(&vm->link))
        return line ? 0 : -EIO;
    switch (nr) { /* what devices call while they run: without the VM's lock */
    case (uint32_t)KVM_CHECK_EXTENSION:
        return caps_check(vm->fd, vm, arg);
    case (uint32_t)KVM_SIGNAL_MSI: {
        const struct kvm_msi *m = (const struct kvm_msi *)arg;
        return routing_msi(vm, (uint64_t)m->address_hi << 32 | m->address_lo, m->data);
    }
    case (uint32_t)KVM_IRQ_LINE:
    case (uint32_t)KVM_IRQ_LINE_STATUS: {
        struct kvm_irq_level *l = (struct kvm_irq_level *)arg;
        int rc = routing_gsi(vm, l->irq, (int)l->level);
        /* As KVM: what became of it is the status; the call itself does not fail, and QEMU aborts
         * if it does. */
        if (nr == (uint32_t)KVM_IRQ_LINE_STATUS)
            l->status = (uint32_t)rc; /* shares its bytes with irq */
        return 0;
    }
    case (uint32_t)KVM_GET_CLOCK: {
        struct kvm_clock_data *c = (struct kvm_clock_data *)arg;
        *c = (struct kvm_clock_data){.clock = guest_clock_ns(vm), .flags = KVM_CLOCK_TSC_STABLE};
        return 0;
    }
    case (uint32_t)KVM_SET_CLOCK: /* guest_clock.h */
        return 0;
    case (uint32_t)KVM_SET_GSI_ROUTING:
        return routing_set(vm, (const struct kvm_irq_routing *)arg);
    default:
        break;
    }
    if (info->way == WAY_REAL)
        return raw_ioctl(vm->fd, nr, arg);
    pthread_mutex_lock(&vm->lock);
    int rc = locked(vm, info, arg);
    pthread_mutex_unlock(&vm->lock);
    return rc;
}
