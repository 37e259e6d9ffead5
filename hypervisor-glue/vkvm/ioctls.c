/* SPDX-License-Identifier: BSD-3-Clause */
/* The allow-list: every ioctl that the glue knows, and what becomes of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

#define S(nr, way, size)                                                                           \
    {                                                                                              \
        (uint32_t)(nr), #nr, SCOPE_SYSTEM, way, size                                               \
    }
#define M(nr, way, size)                                                                           \
    {                                                                                              \
        (uint32_t)(nr), #nr, SCOPE_VM, way, size                                                   \
    }
#define V(nr, way, size)                                                                           \
    {                                                                                              \
        (uint32_t)(nr), #nr, SCOPE_VCPU, way, size                                                 \
    }

static const struct ioctl_info table[] = {
    S(KVM_GET_API_VERSION, WAY_REAL, SIZE_VALUE),
    S(KVM_GET_VCPU_MMAP_SIZE, WAY_REAL, SIZE_VALUE),
    S(KVM_GET_MSR_INDEX_LIST, WAY_MODEL, SIZE_FIXED),
    S(KVM_GET_MSR_FEATURE_INDEX_LIST, WAY_MODEL, SIZE_FIXED),
    S(KVM_GET_MSRS, WAY_REAL, SIZE_MSRS),
    S(KVM_X86_GET_MCE_CAP_SUPPORTED, WAY_REAL, SIZE_FIXED),
    S(KVM_CHECK_EXTENSION, WAY_MODEL, SIZE_VALUE),
    S(KVM_GET_SUPPORTED_CPUID, WAY_MODEL, SIZE_CPUID),
    S(KVM_GET_EMULATED_CPUID, WAY_MODEL, SIZE_CPUID),
    S(KVM_CREATE_VM, WAY_MODEL, SIZE_VALUE),

    M(KVM_CHECK_EXTENSION, WAY_MODEL, SIZE_VALUE),
    M(KVM_ENABLE_CAP, WAY_MODEL, SIZE_FIXED),
    M(KVM_CREATE_VCPU, WAY_MODEL, SIZE_VALUE),
    M(KVM_SET_USER_MEMORY_REGION, WAY_MODEL, SIZE_FIXED),
    M(KVM_SET_GSI_ROUTING, WAY_MODEL, SIZE_FIXED),
    M(KVM_IRQ_LINE, WAY_MODEL, SIZE_FIXED),
    M(KVM_IRQ_LINE_STATUS, WAY_MODEL, SIZE_FIXED),
    M(KVM_SIGNAL_MSI, WAY_MODEL, SIZE_FIXED),
    M(KVM_IRQFD, WAY_MODEL, SIZE_FIXED),
    M(KVM_IOEVENTFD, WAY_MODEL, SIZE_FIXED),
    M(KVM_SET_TSS_ADDR, WAY_MIRROR, SIZE_VALUE),
    M(KVM_SET_IDENTITY_MAP_ADDR, WAY_MIRROR, SIZE_FIXED),
    M(KVM_SET_NR_MMU_PAGES, WAY_MIRROR, SIZE_VALUE),
    M(KVM_SET_BOOT_CPU_ID, WAY_MIRROR, SIZE_VALUE),
    M(KVM_SET_CLOCK, WAY_MODEL, SIZE_FIXED),
    M(KVM_GET_CLOCK, WAY_MODEL, SIZE_FIXED),
    M(KVM_CREATE_IRQCHIP, WAY_REFUSE, SIZE_VALUE),
    M(KVM_CREATE_PIT2, WAY_REFUSE, SIZE_FIXED),
    M(KVM_GET_DIRTY_LOG, WAY_REFUSE, SIZE_FIXED),
    M(KVM_REGISTER_COALESCED_MMIO, WAY_REFUSE, SIZE_FIXED),
    M(KVM_UNREGISTER_COALESCED_MMIO, WAY_REFUSE, SIZE_FIXED),
    M(KVM_X86_SET_MSR_FILTER, WAY_REFUSE, SIZE_FIXED),
    M(KVM_CREATE_DEVICE, WAY_REFUSE, SIZE_FIXED),

    V(KVM_RUN, WAY_MODEL, SIZE_VALUE),
    V(KVM_GET_REGS, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_REGS, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_SREGS, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_SREGS, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_FPU, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_FPU, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_XSAVE, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_XSAVE, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_XCRS, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_XCRS, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_DEBUGREGS, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_DEBUGREGS, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_VCPU_EVENTS, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_VCPU_EVENTS, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_MSRS, WAY_STATE, SIZE_MSRS),
    V(KVM_SET_MSRS, WAY_STATE, SIZE_MSRS),
    V(KVM_GET_CPUID2, WAY_STATE, SIZE_CPUID),
    V(KVM_SET_CPUID2, WAY_STATE, SIZE_CPUID),
    V(KVM_TRANSLATE, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_GUEST_DEBUG, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_TSC_KHZ, WAY_STATE, SIZE_VALUE),
    V(KVM_SET_TSC_KHZ, WAY_REFUSE, SIZE_VALUE),
    V(KVM_NMI, WAY_STATE, SIZE_VALUE),
    V(KVM_X86_SETUP_MCE, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_LAPIC, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_LAPIC, WAY_STATE, SIZE_FIXED),
    V(KVM_GET_MP_STATE, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_MP_STATE, WAY_STATE, SIZE_FIXED),
    V(KVM_INTERRUPT, WAY_STATE, SIZE_FIXED),
    V(KVM_SET_SIGNAL_MASK, WAY_MODEL, SIZE_FIXED),
    V(KVM_TPR_ACCESS_REPORTING, WAY_NOTHING, SIZE_FIXED),
    V(KVM_SET_VAPIC_ADDR, WAY_NOTHING, SIZE_FIXED),
    V(KVM_KVMCLOCK_CTRL, WAY_REFUSE, SIZE_VALUE),
    V(KVM_SMI, WAY_REFUSE, SIZE_VALUE),
    V(KVM_ENABLE_CAP, WAY_REFUSE, SIZE_FIXED),
};

const struct ioctl_info *ioctl_find(enum ioctl_scope scope, uint32_t nr)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].nr == nr && table[i].scope == scope)
            return &table[i];
    return NULL;
}

int ioctl_arg_size(const struct ioctl_info *info, const void *arg, size_t have)
{
    uint32_t count = 0;
    size_t size = 8, unit = 0;
    switch (info->size) {
    case SIZE_VALUE:
        break;
    case SIZE_FIXED:
        size = _IOC_SIZE(info->nr);
        break;
    case SIZE_MSRS:
        size = sizeof(struct kvm_msrs);
        unit = sizeof(struct kvm_msr_entry);
        break;
    case SIZE_CPUID:
        size = sizeof(struct kvm_cpuid2);
        unit = sizeof(struct kvm_cpuid_entry2);
        break;
    default:
        return -EINVAL;
    }
    if (have < size)
        return -EINVAL;
    if (unit != 0) {
        memcpy(&count, arg, sizeof(count)); /* nmsrs, nent */
        if (count > GLUE_SIDE_SIZE / unit)
            return -E2BIG;
        size += count * unit;
    }
    if (size > GLUE_SIDE_SIZE)
        return -E2BIG;
    return have < size ? -EINVAL : (int)size;
}

int ioctl_unknown(enum ioctl_scope scope, uint32_t nr)
{
    static const char *const scopes[] = {"system", "VM", "vCPU"};
    static _Atomic uint32_t told[32];
    for (unsigned i = 0; i < 32; i++) {
        uint32_t free_slot = 0;
        if (told[i] == nr)
            return -ENOTTY;
        if (told[i] == 0 && atomic_compare_exchange_strong(&told[i], &free_slot, nr))
            break;
    }
    const struct ioctl_info *known = ioctl_find(scope, nr);
    say("%s ioctl %#x (%s, number %#x) is not offered by Pando: answered ENOTTY", scopes[scope], nr,
        known != NULL ? known->name : "unknown", _IOC_NR(nr));
    return -ENOTTY;
}
