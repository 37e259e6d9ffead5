/* SPDX-License-Identifier: BSD-3-Clause */
/* What the small VMMs of this directory share: one VM of this process, two vCPUs that run 16-bit
 * code. Everything that fails ends the process: CHECK. */
#ifndef TINY_VMM_H
#define TINY_VMM_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { VCPUS = 2, PORT = 0x80 };

extern int vm_fd, vcpu_fd[VCPUS];
extern struct kvm_run *run_of[VCPUS];
/* immediate_exit of this thread's vCPU is set by SIGUSR1, as QEMU does. */
extern __thread struct kvm_run *own_run;

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            fprintf(stderr, "%s: line %d: %s: %s\n", __FILE__, __LINE__, #expr, strerror(errno));  \
            exit(3);                                                                               \
        }                                                                                          \
    } while (0)

/* /dev/kvm; takes SIGUSR1. */
int tiny_open(void);
/* With a split irqchip. */
void tiny_create_vm(int kvm);
void tiny_create_vcpu(int kvm, unsigned i);
/* Shared memory that becomes guest RAM. */
uint8_t *tiny_ram(size_t size);
int slot(uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, const void *at);
/* Where the vCPU goes on, whatever state it is in: flat segments of 4 GiB, stack below 0x8000, its
 * APIC on, LINT0 ExtINT. */
void start_at(unsigned i, uint32_t rip);

#endif
