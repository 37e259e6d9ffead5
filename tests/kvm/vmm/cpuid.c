/* SPDX-License-Identifier: BSD-3-Clause */
/* CPUID: what KVM supports, with this vCPU's APIC id and without paravirtual leaves. */
#include "vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CPUID_ENTRIES          256u
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT          (1u << 28)

/* Leaves 0x40000000..0x4FFFFFFF carry KVM's signature and with it kvmclock, steal time, PV EOI,
 * asynchronous page faults: all of them share pages between the guest and one host kernel. */
static bool is_paravirtual(uint32_t function)
{
    return (function >> 28) == 4;
}

static unsigned topology_shift(unsigned vcpus)
{
    unsigned shift = 0;

    while ((1u << shift) < vcpus)
        shift++;
    return shift;
}

/* One package of single-thread cores: level 0 is one thread, level 1 all cores. */
static void patch_topology(struct kvm_cpuid_entry2 *e, unsigned id, unsigned vcpus)
{
    e->edx = id;
    e->ecx = (e->index & 0xFF);
    if (e->index == 0) {
        e->eax = 0;
        e->ebx = 1;
        e->ecx |= 1u << 8;
    } else if (e->index == 1) {
        e->eax = topology_shift(vcpus);
        e->ebx = vcpus;
        e->ecx |= 2u << 8;
    } else {
        e->eax = 0;
        e->ebx = 0;
    }
}

static void patch_entry(struct vm *vm, struct kvm_cpuid_entry2 *e, unsigned id)
{
    switch (e->function) {
    case 1:
        e->ebx = (e->ebx & 0xFFFFu) | id << 24 | vm->opt->vcpus << 16;
        e->ecx |= LEAF1_ECX_HYPERVISOR;
        if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            e->ecx |= LEAF1_ECX_TSC_DEADLINE;
        else
            e->ecx &= ~LEAF1_ECX_TSC_DEADLINE;
        if (vm->opt->vcpus > 1)
            e->edx |= LEAF1_EDX_HTT;
        else
            e->edx &= ~LEAF1_EDX_HTT;
        break;
    case 0xB:
    case 0x1F:
        patch_topology(e, id, vm->opt->vcpus);
        break;
    default:
        break;
    }
}

int cpuid_set(struct vm *vm, struct vcpu *vcpu)
{
    struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + CPUID_ENTRIES * sizeof(list->entries[0]));
    int ret = 0;

    if (list == NULL)
        return -ENOMEM;
    list->nent = CPUID_ENTRIES;
    if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, list) < 0) {
        ret = -errno;
        fprintf(stderr, "pando-testvmm: KVM_GET_SUPPORTED_CPUID: %s\n", strerror(errno));
        goto out;
    }
    uint32_t kept = 0;

    for (uint32_t i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 e = list->entries[i];

        if (is_paravirtual(e.function))
            continue;
        patch_entry(vm, &e, vcpu->id);
        list->entries[kept++] = e;
    }
    list->nent = kept;
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, list) < 0) {
        ret = -errno;
        fprintf(stderr, "pando-testvmm: KVM_SET_CPUID2: %s\n", strerror(errno));
    }
out:
    free(list);
    return ret;
}
