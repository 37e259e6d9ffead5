/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM_IOEVENTFD and KVM_IRQFD, in the VMM's process. A write that rings a doorbell (doorbells.h) is
 * done when its eventfd is signalled: the VMM's vCPU thread does not return from KVM_RUN for it,
 * wherever the vCPU lives. An eventfd that stands for an interrupt is read by a thread of ours,
 * which does what KVM_IRQ_LINE would; the MSI goes to the vCPU's home as ever. One that the VMM
 * closes without KVM_*_FLAG_DEASSIGN stays until the process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dataplane/host/thread.h"
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
    if (fd < 0)
        say("an eventfd of the VMM's cannot be duplicated: %s; raise the limit of open files "
            "(ulimit -n)",
            strerror(errno));
    return fd >= 0 ? fd : -errno;
}

/* kcmp of oneself needs no privilege; where a seccomp filter refuses it nothing is found, and an
 * assignment stays until the process ends. */
static bool same_eventfd(int own_fd, int vmm_fd)
{
    pid_t self = getpid();
    return syscall(SYS_kcmp, self, self, KCMP_FILE, (unsigned long)own_fd, (unsigned long)vmm_fd) ==
           0;
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
    rc = gone ? doorbells_remove(&e->doorbells, io, same_eventfd)
              : doorbells_add(&e->doorbells, io, fd);
    atomic_store_explicit(&e->any, e->doorbells.n != 0, memory_order_relaxed);
    pthread_mutex_unlock(&e->doorbell_lock);
    if (gone && rc >= 0) {
        raw_close(rc);
        return 0;
    }
    if (!gone && rc != 0)
        raw_close(fd);
    return rc;
}

/* A counter that is full is a bell that rings already; a write would wait for its reader. */
static bool can_take(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

/* Rung under the lock: after KVM_IOEVENTFD_FLAG_DEASSIGN nothing rings any more. */
static bool ring(struct eventfds *e, bool port, uint64_t addr, uint32_t len, const void *data)
{
    static const uint64_t one = 1;
    if (!atomic_load_explicit(&e->any, memory_order_relaxed)) /* [K] */
        return false;
    pthread_mutex_lock(&e->doorbell_lock);
    int fd = doorbells_find(&e->doorbells, port, addr, len, data);
    if (fd >= 0 && can_take(fd)) {
        ssize_t n = write(fd, &one, sizeof(one));
        (void)n;
    }
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

static void pass_on(struct vm *vm, const struct irq_eventfd *f)
{
    if (drain(f->fd))
        (void)routing_gsi(vm, f->gsi, 1); /* as KVM: without a route it is lost */
}

/* The lock is held while the interrupt goes out: after KVM_IRQFD_FLAG_DEASSIGN none comes. */
static void raise_irq(struct vm *vm, uint32_t slot)
{
    struct eventfds *e = &vm->eventfds;
    pthread_mutex_lock(&e->irq_lock);
    if (e->irq[slot].fd >= 0)
        pass_on(vm, &e->irq[slot]);
    pthread_mutex_unlock(&e->irq_lock);
}

static void *irq_thread(void *arg)
{
    struct vm *vm = arg;
    struct epoll_event ready[16];
    prctl(PR_SET_NAME, "pando-irqfd");
    /* The agent's class, but where housekeeping is: interrupts of devices come from there. */
    link_sched(&vm->link, &vm->link.agent_sched, "interrupts from eventfds");
    for (;;) {
        int n = epoll_wait(vm->eventfds.epoll, ready, 16, -1);
        for (int i = 0; i < n; i++)
            raise_irq(vm, ready[i].data.u32);
    }
    return NULL;
}

static int irq_remove(struct vm *vm, const struct kvm_irqfd *irq)
{
    struct eventfds *e = &vm->eventfds;
    for (uint32_t i = 0; i < VKVM_IRQFDS; i++) {
        struct irq_eventfd *f = &e->irq[i];
        if (f->fd < 0 || f->gsi != irq->gsi || !same_eventfd(f->fd, (int)irq->fd))
            continue;
        pass_on(vm, f); /* what was signalled before */
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
        else if (same_eventfd(e->irq[i].fd, (int)irq->fd))
            return -EBUSY;
    }
    if (slot == VKVM_IRQFDS)
        return -ENOSPC;
    int fd = adopt((int)irq->fd);
    if (fd < 0)
        return fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = slot};
    int rc = e->thread ? 0 : link_start_thread(irq_thread, vm);
    e->thread |= rc == 0;
    if (rc == 0 && epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        rc = -errno;
    if (rc == 0)
        e->irq[slot] = (struct irq_eventfd){.gsi = irq->gsi, .fd = fd};
    else
        raw_close(fd);
    return rc;
}

int eventfds_irq(struct vm *vm, const struct kvm_irqfd *irq)
{
    struct eventfds *e = &vm->eventfds;
    bool gone = (irq->flags & KVM_IRQFD_FLAG_DEASSIGN) != 0;
    /* No KVM_IRQFD_FLAG_RESAMPLE: the lines of the board's controllers are the VMM's. */
    if ((irq->flags & ~(uint32_t)KVM_IRQFD_FLAG_DEASSIGN) != 0 || irq->gsi >= VKVM_GSIS)
        return -EINVAL;
    pthread_mutex_lock(&e->irq_lock);
    int rc = gone ? irq_remove(vm, irq) : irq_add(vm, irq);
    pthread_mutex_unlock(&e->irq_lock);
    return rc;
}
