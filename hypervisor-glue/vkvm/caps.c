/* SPDX-License-Identifier: BSD-3-Clause */
/* What the distributed KVM says that it can do: the local KVM's answer, less what Pando does not
 * (yet) provide. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif

enum { CPUID_1_ECX_X2APIC = 1u << 21, CPUID_1_ECX_DEADLINE = 1u << 24 };

static const uint16_t hidden[] = {
    KVM_CAP_COALESCED_MMIO,
    KVM_CAP_COALESCED_PIO,
    KVM_CAP_DIRTY_LOG_RING,
    KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
    KVM_CAP_SYNC_REGS,
    KVM_CAP_IRQFD,
    KVM_CAP_IRQFD_RESAMPLE,
    KVM_CAP_IOEVENTFD,
    KVM_CAP_IOEVENTFD_ANY_LENGTH,
    KVM_CAP_TSC_DEADLINE_TIMER,
    KVM_CAP_X2APIC_API,
    KVM_CAP_PIT2,
    KVM_CAP_PIT_STATE2,
    KVM_CAP_REINJECT_CONTROL,
    KVM_CAP_ASYNC_PF,
    KVM_CAP_ASYNC_PF_INT,
    KVM_CAP_STEAL_TIME,
    KVM_CAP_CLOCKSOURCE,
    KVM_CAP_ADJUST_CLOCK,
    KVM_CAP_KVMCLOCK_CTRL,
    KVM_CAP_X86_USER_SPACE_MSR,
    KVM_CAP_X86_MSR_FILTER,
    KVM_CAP_X86_SMM,
    KVM_CAP_NESTED_STATE,
    KVM_CAP_HYPERV,
    KVM_CAP_HYPERV_SYNIC,
    KVM_CAP_HYPERV_CPUID,
    KVM_CAP_XEN_HVM,
    KVM_CAP_XSAVE2,
    KVM_CAP_PCI_2_3,
    KVM_CAP_DEVICE_CTRL,
    KVM_CAP_MULTI_ADDRESS_SPACE,
    KVM_CAP_IRQCHIP,
};

void say(const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "pando: %s\n", text);
}

int caps_check(int fd, struct vm *vm, uintptr_t cap)
{
    if (cap == KVM_CAP_SPLIT_IRQCHIP || cap == KVM_CAP_IRQCHIP || cap == KVM_CAP_MP_STATE)
        return 1;
    if (cap == KVM_CAP_SIGNAL_MSI)
        return 1;
    if (cap == KVM_CAP_IRQ_ROUTING)
        return VKVM_GSIS;
    if (vm != NULL && (cap == KVM_CAP_NR_VCPUS || cap == KVM_CAP_MAX_VCPUS))
        return (int)vm->link.vcpus;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        if (hidden[i] == cap)
            return 0;
    return raw_ioctl(fd, KVM_CHECK_EXTENSION, cap);
}

/* x2APIC only where its MSRs reach the model. Paravirtual leaves share pages and clocks with one
 * host kernel. */
int caps_supported_cpuid(int fd, uint32_t nr, struct kvm_cpuid2 *list, bool x2apic)
{
    int rc = raw_ioctl(fd, nr, (uintptr_t)list);
    if (rc < 0 || nr != (uint32_t)KVM_GET_SUPPORTED_CPUID)
        return rc;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 e = list->entries[i];
        if (e.function >> 28 == 4)
            continue;
        if (e.function == 1) {
            e.ecx &= ~(uint32_t)CPUID_1_ECX_DEADLINE;
            e.ecx = x2apic ? e.ecx | CPUID_1_ECX_X2APIC : e.ecx & ~(uint32_t)CPUID_1_ECX_X2APIC;
        }
        list->entries[kept++] = e;
    }
    list->nent = kept;
    return rc;
}

bool caps_user_msr(int vm_fd)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
                 KVM_MSR_EXIT_REASON_FILTER},
    };
    /* Denied by the filter, hence ours: IA32_APIC_BASE and IA32_TSC_DEADLINE. A zero bit denies. */
    static uint8_t none[4];
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = {{KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, LAPIC_MSR_BASE, none},
                   {KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, LAPIC_MSR_DEADLINE, none}},
    };
    return raw_ioctl(vm_fd, KVM_ENABLE_CAP, (uintptr_t)&cap) == 0 &&
           raw_ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, (uintptr_t)&filter) == 0;
}
