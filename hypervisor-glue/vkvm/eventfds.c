/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM_IOEVENTFD and KVM_IRQFD, in the VMM's process. A write that rings a doorbell (doorbells.h) is
 * done when its eventfd is signalled: the VMM's vCPU thread does not return from KVM_RUN for it,
 * wherever the vCPU lives. An eventfd that stands for an interrupt is read by a thread of ours,
 * which does what KVM_IRQ_LINE would; the MSI goes to the vCPU's home as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hypervisor-glue/vkvm/vkvm.h"

int eventfds_init(struct eventfds *e)
{
    pthread_mutex_init(&e->doorbell_lock, NULL);
    pthread_mutex_init(&e->irq_lock, NULL);
    for (uint32_t i = 0; i < VKVM_IRQFDS; i++)
        e->irq[i].fd = -1;
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    return e->epoll >= 0 ? 0 : -errno;
}

/* A descriptor of ours for the VMM's eventfd: the VMM may close its own, as with KVM. */
static int adopt(int vmm_fd)
{
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", vmm_fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n <= 0)
        return -EBADF;
    target[n] = '\0';
    if (strcmp(target, "anon_inode:[eventfd]") != 0)
        return -EINVAL;
    int fd = fcntl(vmm_fd, F_DUPFD_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

int eventfds_io(struct vm *vm, const struct kvm_ioeventfd *io)
{
    struct eventfds *e = &vm->eventfds;
    bool gone = (io->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) != 0;
    int rc = doorbells_check(io);
    int fd = rc != 0 || gone ? -1 : adopt(io->fd);
    if (rc != 0 || (!gone && fd < 0))
        return rc != 0 ? rc : fd;
    pthread_mutex_lock(&e->doorbell_lock);
    rc = gone ? doorbells_remove(&e->doorbells, io) : doorbells_add(&e->doorbells, io, fd);
    pthread_mutex_unlock(&e->doorbell_lock);
    if (gone && rc >= 0) {
        raw_close(rc);
        return 0;
    }
    if (!gone && rc != 0)
        raw_close(fd);
    return rc;
}

/* Rung under the lock: after KVM_IOEVENTFD_FLAG_DEASSIGN nothing rings any more. */
static bool ring(struct eventfds *e, bool port, uint64_t addr, uint32_t len, const void *data)
{
    static const uint64_t one = 1;
    pthread_mutex_lock(&e->doorbell_lock);
    int fd = doorbells_find(&e->doorbells, port, addr, len, data);
    bool rung = fd >= 0 && write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
    e->rung += rung;
    pthread_mutex_unlock(&e->doorbell_lock);
    return fd >= 0;
}

bool eventfds_take(struct vm *vm, const struct kvm_run *run)
{
    struct eventfds *e = &vm->eventfds;
    if (!vm->vmm)
        return false;
    if (run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write)
        return ring(e, false, run->mmio.phys_addr, run->mmio.len, run->mmio.data);
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
        run->io.count == 1)
        return ring(e, true, run->io.port, run->io.size,
                    (const uint8_t *)run + run->io.data_offset);
    return false;
}

/* ---- interrupts
 * ----------------------------------------------------------------------------------- */

/* The counter is read without waiting, whatever the VMM has set: it may have read it itself. */
static bool drain(int fd)
{
    uint64_t count = 0;
    struct iovec io = {&count, sizeof(count)};
    return preadv2(fd, &io, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count);
}

/* The lock is held while the interrupt goes out: after KVM_IRQFD_FLAG_DEASSIGN none comes. */
static void raise_irq(struct vm *vm, uint32_t slot)
{
    struct eventfds *e = &vm->eventfds;
    pthread_mutex_lock(&e->irq_lock);
    if (e->irq[slot].fd >= 0 && drain(e->irq[slot].fd)) {
        e->raised++;
        (void)routing_gsi(vm, e->irq[slot].gsi, 1); /* as KVM: without a route it is lost */
    }
    pthread_mutex_unlock(&e->irq_lock);
}

static void *irq_thread(void *arg)
{
    struct vm *vm = arg;
    struct epoll_event ready[16];
    prctl(PR_SET_NAME, "pando-irqfd");
    for (;;) {
        int n = epoll_wait(vm->eventfds.epoll, ready, 16, -1);
        for (int i = 0; i < n; i++)
            raise_irq(vm, ready[i].data.u32);
    }
    return NULL;
}

static int irq_remove(struct eventfds *e, const struct kvm_irqfd *irq)
{
    for (uint32_t i = 0; i < VKVM_IRQFDS; i++) {
        struct irq_eventfd *f = &e->irq[i];
        if (f->fd < 0 || f->vmm_fd != (int)irq->fd || f->gsi != irq->gsi)
            continue;
        epoll_ctl(e->epoll, EPOLL_CTL_DEL, f->fd, NULL);
        raw_close(f->fd);
        f->fd = -1;
    }
    return 0; /* as KVM, also if there was none */
}

static int irq_add(struct vm *vm, const struct kvm_irqfd *irq)
{
    struct eventfds *e = &vm->eventfds;
    uint32_t slot = VKVM_IRQFDS;
    for (uint32_t i = VKVM_IRQFDS; i-- > 0;) {
        if (e->irq[i].fd < 0)
            slot = i;
        else if (e->irq[i].vmm_fd == (int)irq->fd)
            return -EBUSY;
    }
    if (slot == VKVM_IRQFDS)
        return -ENOSPC;
    int rc = e->thread ? 0 : link_start_thread(irq_thread, vm);
    int fd = rc == 0 ? adopt((int)irq->fd) : rc;
    if (fd < 0)
        return fd;
    e->thread = true;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = slot};
    if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
        rc = -errno;
        raw_close(fd);
        return rc;
    }
    e->irq[slot] = (struct irq_eventfd){.gsi = irq->gsi, .vmm_fd = (int)irq->fd, .fd = fd};
    return 0;
}

int eventfds_irq(struct vm *vm, const struct kvm_irqfd *irq)
{
    struct eventfds *e = &vm->eventfds;
    bool gone = (irq->flags & KVM_IRQFD_FLAG_DEASSIGN) != 0;
    /* No KVM_IRQFD_FLAG_RESAMPLE: the lines of the board's controllers are the VMM's. */
    if ((irq->flags & ~(uint32_t)KVM_IRQFD_FLAG_DEASSIGN) != 0 || irq->gsi >= VKVM_GSIS)
        return -EINVAL;
    pthread_mutex_lock(&e->irq_lock);
    int rc = gone ? irq_remove(e, irq) : irq_add(vm, irq);
    pthread_mutex_unlock(&e->irq_lock);
    return rc;
}
