/* SPDX-License-Identifier: BSD-3-Clause */
/* What the distributed KVM says that it can do: the local KVM's answer, of what Pando
 * provides. */
#include <asm/kvm_para.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

enum {
    CPUID_1_ECX_VMX = 1u << 5,
    CPUID_1_ECX_X2APIC = 1u << 21,
    CPUID_1_ECX_DEADLINE = 1u << 24,
    CPUID_PV = 0x40000000,
    CPUID_PV_FEATURES = 0x40000001,
    CPUID_APM_INVARIANT_TSC = 1u << 8,
};
#define CPUID_AMD         0x80000001u
#define CPUID_AMD_ECX_SVM 4u
#define CPUID_APM         0x80000007u
#define CPUID_SVM         0x8000000Au
/* What guest_clock.c provides, and the hint that ports need no delay. */
#define PV_OFFERED                                                                                 \
    (1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_CLOCKSOURCE2 |                              \
     1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT | 1u << KVM_FEATURE_NOP_IO_DELAY)

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
    if (cap == KVM_CAP_SIGNAL_MSI || cap == KVM_CAP_IOEVENTFD || cap == KVM_CAP_IRQFD)
        return 1;
    if (cap == KVM_CAP_IOEVENTFD_NO_LENGTH || cap == KVM_CAP_IOEVENTFD_ANY_LENGTH)
        return 1;
    if (cap == KVM_CAP_ADJUST_CLOCK)
        return KVM_CLOCK_TSC_STABLE;
    if (cap == KVM_CAP_TSC_DEADLINE_TIMER)
        return vm != NULL ? vm->clock.deadline : caps_probe_user_msr(fd) && caps_probe_deadline(fd);
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

/* x2APIC, TSC-deadline timer and paravirtual clock only where their MSRs reach the models; of the
 * paravirtual features those that share no page and no clock with one host's kernel. The guest's
 * TSC is invariant because guest_clock.c makes it so, wherever the kernel lets it. No
 * virtualisation inside the guest: its state (KVM_GET_NESTED_STATE) is not carried. */
int caps_supported_cpuid(int fd, uint32_t nr, struct kvm_cpuid2 *list, bool user_msr)
{
    int rc = raw_ioctl(fd, nr, (uintptr_t)list);
    if (rc < 0 || nr != (uint32_t)KVM_GET_SUPPORTED_CPUID)
        return rc;
    bool deadline = user_msr && caps_probe_deadline(fd);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 e = list->entries[i];
        uint32_t ours = CPUID_1_ECX_X2APIC | (deadline ? CPUID_1_ECX_DEADLINE : 0);
        if (e.function >> 28 == 4 && (!user_msr || e.function > CPUID_PV_FEATURES))
            continue;
        if (e.function == CPUID_PV)
            e.eax = CPUID_PV_FEATURES;
        if (e.function == CPUID_PV_FEATURES) {
            e.eax &= PV_OFFERED;
            e.edx = 0;
        }
        if (e.function == CPUID_APM)
            e.edx |= CPUID_APM_INVARIANT_TSC;
        if (e.function == 1)
            e.ecx = (e.ecx & ~(CPUID_1_ECX_X2APIC | CPUID_1_ECX_DEADLINE | CPUID_1_ECX_VMX)) |
                    (user_msr ? ours : 0);
        if (e.function == CPUID_AMD)
            e.ecx &= ~CPUID_AMD_ECX_SVM;
        if (e.function == CPUID_SVM)
            e.eax = e.ebx = e.ecx = e.edx = 0;
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
    /* Denied by the filter, hence ours. A zero bit denies. */
    static uint64_t none[1];
    const uint32_t rw = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = {{rw, 1, LAPIC_MSR_BASE, (uint8_t *)none},
                   {rw, 1, LAPIC_MSR_DEADLINE, (uint8_t *)none},
                   {rw, 2, PVCLOCK_MSR_WALL_OLD, (uint8_t *)none},
                   {rw, PVCLOCK_MSR_PV_COUNT, PVCLOCK_MSR_WALL, (uint8_t *)none},
                   {KVM_MSR_FILTER_WRITE, 1, GUEST_MSR_TSC, (uint8_t *)none},
                   {KVM_MSR_FILTER_WRITE, 1, GUEST_MSR_TSC_ADJUST, (uint8_t *)none}},
    };
    return raw_ioctl(vm_fd, KVM_ENABLE_CAP, (uintptr_t)&cap) == 0 &&
           raw_ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, (uintptr_t)&filter) == 0;
}

bool caps_probe_user_msr(int kvm_fd)
{
    static _Atomic int known; /* 0: not tried, 1: no, 2: yes */
    if (known == 0) {
        int fd = raw_ioctl(kvm_fd, KVM_CREATE_VM, 0);
        if (fd < 0)
            return false;
        known = caps_user_msr(fd) ? 2 : 1;
        raw_close(fd);
    }
    return known == 2;
}

/* In real mode at 0: mov ecx,0x6e0; xor eax,eax; xor edx,edx; wrmsr; hlt. */
static const uint8_t deadline_code[] = {0x66, 0xb9, 0xe0, 0x06, 0x00, 0x00, 0x66, 0x31,
                                        0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0xf4};

static bool run_deadline_code(int vm, int vcpu, size_t size)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rflags = 2};
    struct kvm_run *run = raw_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    uint8_t *page =
        raw_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool came_out = false;
    if (run != MAP_FAILED && page != MAP_FAILED) {
        struct kvm_userspace_memory_region slot = {.memory_size = 4096,
                                                   .userspace_addr = (uintptr_t)page};
        memcpy(page, deadline_code, sizeof(deadline_code));
        int rc = raw_ioctl(vm, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot);
        if (rc == 0)
            rc = raw_ioctl(vcpu, KVM_GET_SREGS, (uintptr_t)&sregs);
        sregs.cs.base = sregs.cs.selector = 0;
        if (rc == 0)
            rc = raw_ioctl(vcpu, KVM_SET_SREGS, (uintptr_t)&sregs);
        if (rc == 0)
            rc = raw_ioctl(vcpu, KVM_SET_REGS, (uintptr_t)&regs);
        for (bool again = rc == 0; again; again = rc == -EINTR)
            rc = raw_ioctl(vcpu, KVM_RUN, 0);
        came_out = rc == 0 && run->exit_reason == KVM_EXIT_X86_WRMSR &&
                   run->msr.index == LAPIC_MSR_DEADLINE;
    }
    if (page != MAP_FAILED)
        raw_munmap(page, 4096);
    if (run != MAP_FAILED)
        raw_munmap(run, size);
    return came_out;
}

bool caps_probe_deadline(int kvm_fd)
{
    static _Atomic int known; /* 0: not tried, 1: no, 2: yes */
    if (known == 0) {
        int size = raw_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
        int vm = raw_ioctl(kvm_fd, KVM_CREATE_VM, 0);
        if (vm < 0 || size <= 0)
            return false; /* a signal, or no descriptor: no answer to remember */
        int vcpu = caps_user_msr(vm) ? raw_ioctl(vm, KVM_CREATE_VCPU, 0) : -1;
        known = vcpu >= 0 && run_deadline_code(vm, vcpu, (size_t)size) ? 2 : 1;
        if (vcpu >= 0)
            raw_close(vcpu);
        raw_close(vm);
    }
    return known == 2;
}
