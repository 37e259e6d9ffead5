/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest time: one clock over all nodes. EDGE.
 *
 *   guest TSC of a vCPU = cluster clock - epoch + what the guest itself adjusted
 *                       = host TSC + offset, and the offset is KVM's (KVM_VCPU_TSC_OFFSET)
 *
 * The cluster clock is the dataplane's (dataplane/clock, published in struct glue_clock). The epoch
 * is the cluster clock at which the VM was made; the VMM's node gives it to the others. Before each
 * entry into the guest the offset follows the cluster clock, forward only: a vCPU's TSC never goes
 * back. Known: vCPUs of one node take a new offset one after the other, each at its next entry, so
 * where hosts' rates differ two of them can differ by a step (a microsecond) until then. From the
 * same numbers come KVM's paravirtual clock (a constant record, pvclock.h) and the
 * TSC-deadline timer.
 *
 * Rules for what the VMM and the guest write:
 *   IA32_TSC by the VMM           ignored: a machine reset does not set guest time back
 *   IA32_TSC, IA32_TSC_ADJUST by the guest   move this vCPU's TSC, as the SDM has it
 *   KVM_SET_TSC_KHZ               not offered: no TSC scaling
 *   KVM_SET_CLOCK                 ignored: while the VMM pauses the VM its clock goes on
 */
#ifndef PANDO_VKVM_GUEST_CLOCK_H
#define PANDO_VKVM_GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor-glue/vkvm/pvclock.h"

enum {
    GUEST_MSR_TSC = 0x10,
    GUEST_MSR_TSC_ADJUST = 0x3B,
    GUEST_CLOCK_PPM_MAX = 250, /* what the kernel takes for the same frequency */
};

struct vm;
struct vcpu;
struct vmc_clock;

struct guest_clock {  /* of the VM; written before its first vCPU exists */
    uint64_t epoch;   /* cluster clock */
    uint32_t tsc_khz; /* of guest TSC; 0: not set yet */
    bool deadline;    /* the TSC-deadline timer is offered: every node can */
    struct pvclock_scale scale;
};

struct vcpu_clock {  /* the vCPU's own thread's */
    uint64_t offset; /* as the kernel has it; arithmetic is modulo 2^64 */
    uint64_t adjust; /* IA32_TSC_ADJUST */
    uint64_t time_msr, wall_msr;
};

/* At the VMM's node, before the first vCPU: takes the epoch and tells the other nodes. */
int guest_clock_start(struct vm *vm);
/* At the others: what the VMM's node says. -ERANGE: this host's TSC has another frequency;
 * -ENOTSUP: its KVM keeps MSRs to itself that the VMM's node has offered. */
int guest_clock_set(struct vm *vm, const struct vmc_clock *c);
/* The vCPU's first offset. */
int guest_clock_place(struct vcpu *v);
/* Before an entry into the guest. */
void guest_clock_follow(struct vcpu *v);
/* Guest TSC now, and KVM's clock in ns. */
uint64_t guest_clock_tsc(const struct vcpu *v);
uint64_t guest_clock_ns(struct vm *vm);

/* The MSRs of this file: true for those that have to exit, by MSR filter. */
bool guest_clock_msr_known(uint32_t index);
/* 0, or -EINVAL: #GP. by_guest: a WRMSR exit, else KVM_SET_MSRS. */
int guest_clock_msr_write(struct vcpu *v, uint32_t index, uint64_t value, bool by_guest);
int guest_clock_msr_read(struct vcpu *v, uint32_t index, uint64_t *ret_value);

#endif
