/* SPDX-License-Identifier: BSD-3-Clause */
/* A vCPU's descriptor: creation, and its ioctls, carried out here if it lives here, else at its
 * home. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

static void remember_reset(struct vcpu *v)
{
    struct vcpu_reset *r = &v->reset;
    int rc = raw_ioctl(v->fd, KVM_GET_SREGS, (uintptr_t)&r->sregs);
    if (rc == 0)
        rc = raw_ioctl(v->fd, KVM_GET_REGS, (uintptr_t)&r->regs);
    r->have_debugregs = raw_ioctl(v->fd, KVM_GET_DEBUGREGS, (uintptr_t)&r->debugregs) == 0;
    if (rc != 0)
        say("vCPU %u: its reset state cannot be read: %s", v->id, strerror(-rc));
}

/* The descriptor of a proxy is a memfd, so that the VMM's mmap of kvm_run just works. */
static int open_fd(struct vm *vm, struct vcpu *v)
{
    if (v->here)
        return raw_ioctl(vm->fd, KVM_CREATE_VCPU, v->id);
    int fd = memfd_create("pando-vcpu", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    return ftruncate(fd, (off_t)vm->run_size) == 0 ? fd : -errno;
}

struct vcpu *vcpu_create(struct vm *vm, uint32_t id, int *ret_errno)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    *ret_errno = -ENOMEM;
    if (v == NULL)
        return NULL;
    v->vm = vm;
    v->id = id;
    v->tick.rest_times = vm->link.tick_rest_times;
    v->tick.rest_max_ns = vm->link.tick_rest_max_ms * UINT64_C(1000000);
    v->here = vm->link.vcpu_home[id] == vm->link.node;
    v->remote = !vm->vmm;
    v->chan = link_chan(&vm->link, id);
    pthread_mutex_init(&v->lock, NULL);
    v->fd = open_fd(vm, v);
    if (v->fd < 0) {
        *ret_errno = v->fd;
        free(v);
        return NULL;
    }
    v->run = raw_mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED || vm->run_size < (size_t)VKVM_RUN_PAGES * 4096) {
        *ret_errno = v->run == MAP_FAILED ? -errno : -EINVAL;
        raw_close(v->fd);
        free(v);
        return NULL;
    }
    if (v->here) {
        remember_reset(v);
        *ret_errno = guest_clock_place(v);
        if (*ret_errno != 0)
            return NULL;
        *ret_errno = apic_create(v);
        if (*ret_errno != 0) {
            say("vCPU %u: its local APIC: %s", id, strerror(-*ret_errno));
            return NULL; /* the others may know of it already: the VM cannot start */
        }
    }
    *ret_errno = 0;
    return v;
}

int home_ioctl(struct vcpu *v, const struct ioctl_info *info, uintptr_t arg)
{
    int rc;
    if (apic_ioctl(v, info->nr, arg, &rc) == 1)
        return rc;
    return raw_ioctl(v->fd, info->nr, arg);
}

/* The mask that the VMM wants during KVM_RUN; our kick must get through. A proxy waits under the
 * thread's own mask: who wants another must use immediate_exit, as is offered. */
static int set_signal_mask(struct vcpu *v, const struct kvm_signal_mask *m)
{
    struct { /* struct kvm_signal_mask with its 8 bytes */
        uint32_t len;
        uint64_t set;
    } __attribute__((packed)) own = {.len = 8};
    _Static_assert(offsetof(struct kvm_signal_mask, sigset) == 4, "KVM's layout");
    if (!v->here && m != NULL) {
        say("vCPU %u lives elsewhere: KVM_SET_SIGNAL_MASK is not offered for it; use "
            "KVM_CAP_IMMEDIATE_EXIT",
            v->id);
        return -EINVAL;
    }
    if (!v->here)
        return 0;
    if (m == NULL)
        return raw_ioctl(v->fd, KVM_SET_SIGNAL_MASK, 0);
    if (m->len != 8)
        return -EINVAL;
    memcpy(&own.set, m->sigset, 8);
    own.set &= ~(UINT64_C(1) << (SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET - 1));
    return raw_ioctl(v->fd, KVM_SET_SIGNAL_MASK, (uintptr_t)&own);
}

static int dispatch(struct vcpu *v, const struct ioctl_info *info, uintptr_t arg)
{
    switch (info->nr) {
    case (uint32_t)KVM_RUN:
        return v->here ? home_run(v, v->run->request_interrupt_window != 0) : proxy_run(v);
    case (uint32_t)KVM_SET_SIGNAL_MASK:
        return set_signal_mask(v, (const struct kvm_signal_mask *)arg);
    default:
        return v->here ? home_ioctl(v, info, arg) : proxy_ioctl(v, info, arg);
    }
}

int vcpu_ioctl(struct vcpu *v, uint32_t nr, uintptr_t arg)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_VCPU, nr);
    if (info == NULL || info->way == WAY_REFUSE)
        return ioctl_unknown(SCOPE_VCPU, nr);
    if (info->way == WAY_NOTHING)
        return 0;
    if (link_stopped(&v->vm->link))
        return -EIO;
    pthread_mutex_lock(&v->lock);
    int rc = dispatch(v, info, arg);
    pthread_mutex_unlock(&v->lock);
    return rc;
}
