/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM_IOEVENTFD's table: which guest writes ring which eventfd. No I/O; whoever calls has the lock.
 * Rules as KVM's (virt/kvm/eventfd.c): a doorbell is an address of the port or the memory bus, with
 * a length of 1, 2, 4, 8, or 0 for any, and perhaps a value that must be written. KVM has no limit
 * of their number but the process's of descriptors, and VMMs take a refusal for the end.
 */
#ifndef PANDO_VKVM_DOORBELLS_H
#define PANDO_VKVM_DOORBELLS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { DOORBELLS_MAX = 1 << 16 };

struct doorbell {
    uint64_t addr, match;
    uint32_t len;
    bool port, any_value;
    int fd; /* our own descriptor of the eventfd */
};

struct doorbells { /* begins as all zero; entries in the order of (port, addr) */
    struct doorbell *entry;
    uint32_t n, room;
};

/* Whether our descriptor and the VMM's are of one eventfd. */
typedef bool doorbell_same(int own_fd, int vmm_fd);

/* -EINVAL: a length, a flag or a range that KVM refuses too. */
int doorbells_check(const struct kvm_ioeventfd *io);

/* fd becomes the table's; 0, or -EEXIST (an entry would take the same write), -ENOSPC, -ENOMEM. The
 * argument has passed doorbells_check. */
int doorbells_add(struct doorbells *d, const struct kvm_ioeventfd *io, int fd);

/* Returns the entry's own descriptor, which is the caller's again; -ENOENT. */
int doorbells_remove(struct doorbells *d, const struct kvm_ioeventfd *io, doorbell_same *same);

/* The descriptor that a write of len bytes (1, 2, 4, 8) rings; -1: none. A binary search. */
int doorbells_find(const struct doorbells *d, bool port, uint64_t addr, uint32_t len,
                   const void *data);

#endif
