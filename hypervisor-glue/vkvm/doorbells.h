/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM_IOEVENTFD's table: which guest writes ring which eventfd. No I/O; whoever calls has the lock.
 * Rules as KVM's (virt/kvm/eventfd.c): a doorbell is an address of the port or the memory bus, with
 * a length of 1, 2, 4, 8, or 0 for any, and perhaps a value that must be written.
 */
#ifndef PANDO_VKVM_DOORBELLS_H
#define PANDO_VKVM_DOORBELLS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { DOORBELLS_MAX = 1000 }; /* as KVM's buses */

struct doorbell {
    uint64_t addr, match;
    uint32_t len;
    bool port, any_value;
    int vmm_fd; /* the VMM's number for it: what KVM_IOEVENTFD_FLAG_DEASSIGN names it by */
    int fd;     /* our own descriptor of it */
};

struct doorbells { /* begins as all zero */
    uint32_t n;
    struct doorbell entry[DOORBELLS_MAX];
};

/* -EINVAL: a length, a flag or a range that KVM refuses too. */
int doorbells_check(const struct kvm_ioeventfd *io);

/* fd becomes the table's; 0, or -EEXIST (an entry would take the same write), -ENOSPC. The argument
 * has passed doorbells_check. */
int doorbells_add(struct doorbells *d, const struct kvm_ioeventfd *io, int fd);

/* Returns the entry's own descriptor, which is the caller's again; -ENOENT. */
int doorbells_remove(struct doorbells *d, const struct kvm_ioeventfd *io);

/* The descriptor that a write of len bytes (1, 2, 4, 8) rings; -1: none. */
int doorbells_find(const struct doorbells *d, bool port, uint64_t addr, uint32_t len,
                   const void *data);

#endif
