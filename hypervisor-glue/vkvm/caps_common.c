/* SPDX-License-Identifier: BSD-3-Clause */
/* What all nodes' hosts can do: their answers, asked for once, with what one of them lacks taken
 * out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/cpuid_common.h"
#include "hypervisor-glue/vkvm/vkvm.h"

int caps_host_cpuid(const struct vm *vm, struct kvm_cpuid2 *list, uint32_t size)
{
    *list =
        (struct kvm_cpuid2){.nent = (size - sizeof(*list)) / (uint32_t)sizeof(list->entries[0])};
    int rc =
        caps_supported_cpuid(vm->kvm_fd, (uint32_t)KVM_GET_SUPPORTED_CPUID, list, vm->user_msr);
    return rc < 0 ? rc : 0;
}

static int take_out(struct vm *vm, uint32_t node, struct kvm_cpuid2 *list)
{
    const struct kvm_cpuid2 *other = (const void *)vm->reply;
    int rc = vm_cmd(vm, node, VMC_CPUID, 0, NULL, 0, "KVM_GET_SUPPORTED_CPUID");
    if (rc < 0)
        return rc;
    if (vm->reply_len < sizeof(*other) ||
        other->nent > (vm->reply_len - sizeof(*other)) / sizeof(other->entries[0]))
        rc = -EPROTO;
    else
        rc = cpuid_intersect(list, other);
    if (rc == -EPROTO)
        say("node %u: its KVM_GET_SUPPORTED_CPUID is no list of a processor", node);
    if (rc == -EXDEV)
        say("the processors of nodes %u and %u are of different vendors: no guest can run on both",
            vm->link.node, node);
    return rc;
}

/* Capabilities of VMX, which no guest is offered. */
enum { VMX_FIRST = 0x480, VMX_LAST = 0x491 };

/* One of the two lists; a kernel that has none of features says so. */
static int add_msrs(int kvm_fd, bool features, struct host_msrs *list, uint32_t room)
{
    struct { /* struct kvm_msr_list with its indices */
        uint32_t nmsrs, indices[HOST_MSRS_MAX];
    } all = {.nmsrs = HOST_MSRS_MAX};
    uint32_t nr = (uint32_t)(features ? KVM_GET_MSR_FEATURE_INDEX_LIST : KVM_GET_MSR_INDEX_LIST);
    int rc = raw_ioctl(kvm_fd, nr, (uintptr_t)&all);
    if (rc < 0)
        return features && rc != -E2BIG ? 0 : rc;
    for (uint32_t i = 0; i < all.nmsrs; i++) {
        struct { /* struct kvm_msrs with one entry */
            uint32_t nmsrs, pad;
            struct kvm_msr_entry entry;
        } one = {.nmsrs = 1, .entry = {.index = all.indices[i]}};
        bool nested = features && one.entry.index >= VMX_FIRST && one.entry.index <= VMX_LAST;
        if (nested || (features && raw_ioctl(kvm_fd, KVM_GET_MSRS, (uintptr_t)&one) != 1))
            continue;
        if (list->n == room)
            return -E2BIG;
        list->msr[list->n++] = (struct host_msr){all.indices[i], features, one.entry.data};
    }
    return 0;
}

int caps_host_msrs(const struct vm *vm, struct host_msrs *list, uint32_t size)
{
    uint32_t room = (size - sizeof(*list)) / (uint32_t)sizeof(list->msr[0]);
    *list = (struct host_msrs){0};
    int rc = add_msrs(vm->kvm_fd, false, list, room);
    if (rc == 0)
        rc = add_msrs(vm->kvm_fd, true, list, room);
    if (rc < 0)
        say("node %u: its kernel's lists of MSRs cannot be had: %s", vm->link.node, strerror(-rc));
    return rc;
}

/* One line: what a guest on both hosts is not offered. */
static void say_lost(const struct vm *vm, uint32_t node, const struct host_msrs *before,
                     const struct host_msrs *list)
{
    enum { NAMED = 8 };
    char text[NAMED * 12] = "";
    uint32_t kept = 0, at = 0, lost = before->n - list->n;
    for (uint32_t i = 0, named = 0; i < before->n && named < NAMED; i++) {
        const struct host_msr *b = &before->msr[i], *k = &list->msr[kept];
        if (kept < list->n && b->index == k->index && b->is_feature == k->is_feature)
            kept++;
        else
            at += (uint32_t)snprintf(text + at, sizeof(text) - at, "%s%#x", named++ ? ", " : "",
                                     b->index);
    }
    if (lost > 0)
        say("node %u does not have %u of node %u's MSRs with the same value, so the VMM is not "
            "offered them: %s%s",
            node, lost, vm->link.node, text, lost > NAMED ? ", ..." : "");
}

static int take_out_msrs(struct vm *vm, uint32_t node, struct host_msrs *list)
{
    size_t size = sizeof(*list) + list->n * sizeof(list->msr[0]);
    int rc = vm_cmd(vm, node, VMC_MSRS, 0, NULL, 0, "KVM_GET_MSR_INDEX_LIST");
    if (rc < 0)
        return rc;
    struct host_msrs *before = malloc(size);
    if (before == NULL)
        return -ENOMEM;
    memcpy(before, list, size);
    rc = msrs_intersect(list, (const void *)vm->reply, vm->reply_len);
    if (rc < 0)
        say("node %u: its KVM_GET_MSR_INDEX_LIST is no list", node);
    else
        say_lost(vm, node, before, list);
    free(before);
    return rc;
}

int caps_common_msrs(struct vm *vm, const struct host_msrs **ret_list)
{
    enum { SIZE = sizeof(struct host_msrs) + HOST_MSRS_MAX * sizeof(struct host_msr) };
    if (vm->common_msrs == NULL) {
        struct host_msrs *list = calloc(1, SIZE);
        int rc = list != NULL ? caps_host_msrs(vm, list, SIZE) : -ENOMEM;
        for (uint32_t n = 0; n < vm->link.nodes && rc >= 0; n++)
            rc = n == vm->link.node ? 0 : take_out_msrs(vm, n, list);
        if (rc < 0) {
            free(list);
            return -EINVAL;
        }
        vm->common_msrs = list;
    }
    *ret_list = vm->common_msrs;
    return 0;
}

/* A bit of CPUID announces a feature MSR. */
static void hide_without_msr(struct kvm_cpuid2 *list, const struct host_msrs *msrs)
{
    static const struct {
        uint32_t index;
        const char *bit;
    } announced[] = {{HOST_MSR_PERF_CAPABILITIES, "1.0.ecx.15"},
                     {HOST_MSR_ARCH_CAPABILITIES, "7.0.edx.29"}};
    for (size_t i = 0; i < sizeof(announced) / sizeof(announced[0]); i++)
        if (msrs_feature(msrs, announced[i].index) == NULL)
            cpuid_hide(list, announced[i].bit);
}

int caps_common_cpuid(struct vm *vm, const struct kvm_cpuid2 **ret_list)
{
    enum {
        SIZE = sizeof(struct kvm_cpuid2) + CAPS_CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)
    };
    if (vm->common_cpuid == NULL) {
        const struct host_msrs *msrs;
        struct kvm_cpuid2 *list = calloc(1, SIZE);
        int rc = list != NULL ? caps_host_cpuid(vm, list, SIZE) : -ENOMEM;
        for (uint32_t n = 0; n < vm->link.nodes && rc >= 0; n++)
            rc = n == vm->link.node ? 0 : take_out(vm, n, list);
        if (rc >= 0)
            rc = caps_common_msrs(vm, &msrs);
        if (rc < 0) {
            free(list);
            return -EINVAL;
        }
        hide_without_msr(list, msrs);
        vm->common_cpuid = list;
    }
    *ret_list = vm->common_cpuid;
    return 0;
}
