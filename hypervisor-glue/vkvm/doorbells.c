/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/doorbells.h"

#include <errno.h>
#include <string.h>

#define FLAGS (KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN)

int doorbells_check(const struct kvm_ioeventfd *io)
{
    bool sized = io->len == 1 || io->len == 2 || io->len == 4 || io->len == 8;
    if ((io->flags & ~(uint32_t)FLAGS) != 0 || (!sized && io->len != 0))
        return -EINVAL;
    if (io->addr + io->len < io->addr)
        return -EINVAL;
    /* A value of no length. */
    return io->len == 0 && (io->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) != 0 ? -EINVAL : 0;
}

static struct doorbell entry_of(const struct kvm_ioeventfd *io, int fd)
{
    return (struct doorbell){.addr = io->addr,
                             .match = io->datamatch,
                             .len = io->len,
                             .port = (io->flags & KVM_IOEVENTFD_FLAG_PIO) != 0,
                             .any_value = (io->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) == 0,
                             .vmm_fd = io->fd,
                             .fd = fd};
}

/* Some write would ring both. */
static bool collide(const struct doorbell *a, const struct doorbell *b)
{
    if (a->port != b->port || a->addr != b->addr)
        return false;
    if (a->len == 0 || b->len == 0)
        return true;
    return a->len == b->len && (a->any_value || b->any_value || a->match == b->match);
}

int doorbells_add(struct doorbells *d, const struct kvm_ioeventfd *io, int fd)
{
    struct doorbell new = entry_of(io, fd);
    for (uint32_t i = 0; i < d->n; i++)
        if (collide(&d->entry[i], &new))
            return -EEXIST;
    if (d->n == DOORBELLS_MAX)
        return -ENOSPC;
    d->entry[d->n++] = new;
    return 0;
}

int doorbells_remove(struct doorbells *d, const struct kvm_ioeventfd *io)
{
    struct doorbell old = entry_of(io, -1);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct doorbell *e = &d->entry[i];
        if (e->vmm_fd != old.vmm_fd || e->port != old.port || e->addr != old.addr ||
            e->len != old.len || e->any_value != old.any_value ||
            (!e->any_value && e->match != old.match))
            continue;
        int fd = e->fd;
        d->entry[i] = d->entry[--d->n];
        return fd;
    }
    return -ENOENT;
}

int doorbells_find(const struct doorbells *d, bool port, uint64_t addr, uint32_t len,
                   const void *data)
{
    uint64_t value = 0;
    memcpy(&value, data, len <= sizeof(value) ? len : sizeof(value));
    for (uint32_t i = 0; i < d->n; i++) {
        const struct doorbell *e = &d->entry[i];
        if (e->port == port && e->addr == addr && (e->len == 0 || e->len == len) &&
            (e->any_value || e->match == value))
            return e->fd;
    }
    return -1;
}
