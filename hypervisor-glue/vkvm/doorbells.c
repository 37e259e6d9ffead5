/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/doorbells.h"

#include <errno.h>
#include <stdlib.h>
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
                             .fd = fd};
}

/* The first entry that is not before the address. */
static uint32_t place_of(const struct doorbells *d, bool port, uint64_t addr)
{
    uint32_t low = 0, high = d->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct doorbell *e = &d->entry[middle];
        if (e->port != port ? e->port < port : e->addr < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool at(const struct doorbells *d, uint32_t i, bool port, uint64_t addr)
{
    return i < d->n && d->entry[i].port == port && d->entry[i].addr == addr;
}

/* Some write at their common address would ring both. */
static bool collide(const struct doorbell *a, const struct doorbell *b)
{
    if (a->len == 0 || b->len == 0)
        return true;
    return a->len == b->len && (a->any_value || b->any_value || a->match == b->match);
}

static int make_room(struct doorbells *d)
{
    if (d->n < d->room)
        return 0;
    if (d->n == DOORBELLS_MAX)
        return -ENOSPC;
    uint32_t room = d->room == 0 ? 64 : 2 * d->room;
    struct doorbell *entry = realloc(d->entry, room * sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    d->entry = entry;
    d->room = room;
    return 0;
}

int doorbells_add(struct doorbells *d, const struct kvm_ioeventfd *io, int fd)
{
    struct doorbell new = entry_of(io, fd);
    uint32_t i = place_of(d, new.port, new.addr);
    for (uint32_t k = i; at(d, k, new.port, new.addr); k++)
        if (collide(&d->entry[k], &new))
            return -EEXIST;
    int rc = make_room(d);
    if (rc != 0)
        return rc;
    memmove(&d->entry[i + 1], &d->entry[i], (d->n - i) * sizeof(new));
    d->entry[i] = new;
    d->n++;
    return 0;
}

int doorbells_remove(struct doorbells *d, const struct kvm_ioeventfd *io, doorbell_same *same)
{
    struct doorbell old = entry_of(io, -1);
    for (uint32_t i = place_of(d, old.port, old.addr); at(d, i, old.port, old.addr); i++) {
        const struct doorbell *e = &d->entry[i];
        if (e->len != old.len || e->any_value != old.any_value ||
            (!e->any_value && e->match != old.match) || !same(e->fd, io->fd))
            continue;
        int fd = e->fd;
        d->n--;
        memmove(&d->entry[i], &d->entry[i + 1], (d->n - i) * sizeof(old));
        return fd;
    }
    return -ENOENT;
}

int doorbells_find(const struct doorbells *d, bool port, uint64_t addr, uint32_t len,
                   const void *data)
{
    uint64_t value = 0;
    memcpy(&value, data, len <= sizeof(value) ? len : sizeof(value));
    for (uint32_t i = place_of(d, port, addr); at(d, i, port, addr); i++) {
        const struct doorbell *e = &d->entry[i];
        if ((e->len == 0 || e->len == len) && (e->any_value || e->match == value))
            return e->fd;
    }
    return -1;
}
