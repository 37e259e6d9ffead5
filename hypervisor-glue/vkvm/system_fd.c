/* SPDX-License-Identifier: BSD-3-Clause */
/* /dev/kvm itself, and the start of the VM. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

int vm_init(struct vm *vm, int kvm_fd, enum glue_role role, const char *socket)
{
    char err[LINK_ERROR_MAX];
    int rc = link_connect(&vm->link, socket, role, err);
    if (rc != 0) {
        say("%s", err);
        return rc;
    }
    vm->kvm_fd = kvm_fd;
    vm->vmm = role == GLUE_ROLE_VMM;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_mutex_init(&vm->slot_lock, NULL);
    int size = raw_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm->fd = size < 0 ? size : raw_ioctl(kvm_fd, KVM_CREATE_VM, 0);
    if (vm->fd < 0) {
        say("node %u: KVM_CREATE_VM: %s", vm->link.node, strerror(-vm->fd));
        return vm->fd;
    }
    vm->run_size = (size_t)size;
    vm->user_msr = caps_user_msr(vm->fd);
    rc = kick_install();
    if (rc == 0)
        rc = eventfds_init(&vm->eventfds);
    return rc == 0 ? routing_init(vm) : rc;
}

static void leave(int status, void *arg)
{
    struct vm *vm = arg;
    link_bye(&vm->link, status);
}

static struct vm *_Atomic the_vm; /* of this process, once it is there */

static int create_vm(int kvm_fd, uintptr_t type, struct vm **ret_vm)
{
    static _Atomic int created;
    const char *socket = getenv("PANDO_SOCKET");
    if (type != 0)
        return -EINVAL;
    if (atomic_exchange(&created, 1) != 0) {
        say("one VM per process; a second KVM_CREATE_VM is refused");
        return -EBUSY;
    }
    struct vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return -ENOMEM;
    int rc = vm_init(vm, kvm_fd, GLUE_ROLE_VMM, socket);
    if (rc != 0)
        return rc; /* its threads may still look at *vm */
    on_exit(leave, vm);
    atomic_store(&the_vm, vm);
    *ret_vm = vm;
    return vm->fd;
}

/* Asked before KVM_CREATE_VM the answer is this host's alone: the VM's other nodes are not known
 * yet.
 */
static int supported_cpuid(int fd, uint32_t nr, struct kvm_cpuid2 *list)
{
    struct vm *vm = atomic_load(&the_vm);
    const struct kvm_cpuid2 *common = NULL;
    if (vm == NULL || nr != (uint32_t)KVM_GET_SUPPORTED_CPUID)
        return caps_supported_cpuid(fd, nr, list, caps_probe_user_msr(fd));
    pthread_mutex_lock(&vm->lock);
    int rc = caps_common_cpuid(vm, &common);
    pthread_mutex_unlock(&vm->lock);
    if (rc < 0)
        return rc;
    if (list->nent < common->nent)
        return -E2BIG;
    list->nent = common->nent;
    memcpy(list->entries, common->entries, common->nent * sizeof(common->entries[0]));
    return 0;
}

/* The two lists and the values of features. */
static int msrs(int fd, uint32_t nr, uintptr_t arg)
{
    struct vm *vm = atomic_load(&the_vm);
    const struct host_msrs *common;
    if (vm == NULL)
        return raw_ioctl(fd, nr, arg);
    pthread_mutex_lock(&vm->lock);
    int rc = caps_common_msrs(vm, &common);
    pthread_mutex_unlock(&vm->lock);
    if (rc < 0)
        return rc;
    if (nr == (uint32_t)KVM_GET_MSRS) {
        struct kvm_msrs *list = (struct kvm_msrs *)arg;
        return msrs_values(common, list->entries, list->nmsrs);
    }
    return msrs_answer(common, nr == (uint32_t)KVM_GET_MSR_FEATURE_INDEX_LIST,
                       (struct kvm_msr_list *)arg);
}

/* A VMM takes an empty list of feature MSRs for an error where there is the capability. */
static int check_extension(int fd, uintptr_t cap)
{
    struct vm *vm = atomic_load(&the_vm);
    struct kvm_msr_list none = {0};
    int rc = caps_check(fd, NULL, cap);
    if (vm == NULL || rc <= 0 || cap != KVM_CAP_GET_MSR_FEATURES)
        return rc;
    rc = msrs(fd, (uint32_t)KVM_GET_MSR_FEATURE_INDEX_LIST, (uintptr_t)&none);
    return rc == -E2BIG;
}

int system_ioctl(int fd, uint32_t nr, uintptr_t arg, struct vm **ret_vm)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_SYSTEM, nr);
    if (info == NULL)
        return ioctl_unknown(SCOPE_SYSTEM, nr);
    switch (nr) {
    case (uint32_t)KVM_CHECK_EXTENSION:
        return check_extension(fd, arg);
    case (uint32_t)KVM_GET_SUPPORTED_CPUID:
    case (uint32_t)KVM_GET_EMULATED_CPUID:
        return supported_cpuid(fd, nr, (struct kvm_cpuid2 *)arg);
    case (uint32_t)KVM_GET_MSR_INDEX_LIST:
    case (uint32_t)KVM_GET_MSR_FEATURE_INDEX_LIST:
    case (uint32_t)KVM_GET_MSRS:
        return msrs(fd, nr, arg);
    case (uint32_t)KVM_CREATE_VM:
        return create_vm(fd, arg, ret_vm);
    default:
        return raw_ioctl(fd, nr, arg);
    }
}
