/* SPDX-License-Identifier: BSD-3-Clause */
/* What the distributed KVM says that it can do: the local KVM's answer, of what Pando
 * provides. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

enum { CPUID_1_ECX_X2APIC = 1u << 21, CPUID_1_ECX_DEADLINE = 1u << 24 };

#ifndef KVM_CAP_X86_TRIPLE_FAULT_EVENT
#define KVM_CAP_X86_TRIPLE_FAULT_EVENT 218
#endif

/* Answered as the local KVM does; whatever is not here is not offered. A capability stands for an
 * ioctl or for a field of kvm_run: one that the allow-list of ioctls.c does not know must not be in
 * this list, or a VMM takes it for granted and fails half-way (QEMU with SREGS2). */
static const uint16_t offered[] = {
    KVM_CAP_HLT,
    KVM_CAP_MMU_SHADOW_CACHE_CONTROL,
    KVM_CAP_USER_MEMORY,
    KVM_CAP_SET_TSS_ADDR,
    KVM_CAP_EXT_CPUID,
    KVM_CAP_NR_VCPUS,
    KVM_CAP_NOP_IO_DELAY,
    KVM_CAP_SYNC_MMU,
    KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
    KVM_CAP_USER_NMI,
    KVM_CAP_SET_GUEST_DEBUG,
    KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
    KVM_CAP_MCE,
    KVM_CAP_SET_BOOT_CPU_ID,
    KVM_CAP_SET_IDENTITY_MAP_ADDR,
    KVM_CAP_INTERNAL_ERROR_DATA,
    KVM_CAP_VCPU_EVENTS,
    KVM_CAP_INTR_SHADOW,
    KVM_CAP_DEBUGREGS,
    KVM_CAP_X86_ROBUST_SINGLESTEP,
    KVM_CAP_ENABLE_CAP,
    KVM_CAP_XSAVE,
    KVM_CAP_XCRS,
    KVM_CAP_TSC_CONTROL,
    KVM_CAP_GET_TSC_KHZ,
    KVM_CAP_MAX_VCPUS,
    KVM_CAP_READONLY_MEM,
    KVM_CAP_EXT_EMUL_CPUID,
    KVM_CAP_ENABLE_CAP_VM,
    KVM_CAP_CHECK_EXTENSION_VM,
    KVM_CAP_MAX_VCPU_ID,
    KVM_CAP_IMMEDIATE_EXIT,
    KVM_CAP_GET_MSR_FEATURES,
    KVM_CAP_EXCEPTION_PAYLOAD,
    KVM_CAP_X86_TRIPLE_FAULT_EVENT,
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
    if (cap == KVM_CAP_NR_MEMSLOTS)
        return VKVM_SLOTS;
    for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++)
        if (offered[i] == cap)
            return raw_ioctl(fd, KVM_CHECK_EXTENSION, cap);
    return 0;
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
