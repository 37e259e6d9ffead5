/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernels of several hosts have in common of MSRs, as KVM_GET_MSR_INDEX_LIST and
 * KVM_GET_MSR_FEATURE_INDEX_LIST say (Linux, Documentation/virt/kvm/api.rst). No I/O.
 */
#ifndef PANDO_VKVM_MSRS_COMMON_H
#define PANDO_VKVM_MSRS_COMMON_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { HOST_MSRS_MAX = 1000 };

/* Intel SDM volume 4; AMD64 APM volume 2, appendix A. */
#define HOST_MSR_UCODE_REV         0x8Bu
#define HOST_MSR_ARCH_CAPABILITIES 0x10Au
#define HOST_MSR_PERF_CAPABILITIES 0x345u
#define HOST_MSR_DE_CFG            0xC0011029u

struct host_msr {
    uint32_t index;
    uint32_t is_feature; /* 1: of the list of feature MSRs, which describe the host */
    uint64_t value;      /* of a feature: what the host's KVM_GET_MSRS says; else 0 */
};

struct host_msrs {
    uint32_t n, pad;
    struct host_msr msr[];
};

/*
 * Takes out of list what other lacks, and features that other has with another value: a VMM takes
 * what is not listed for not there. But of IA32_ARCH_CAPABILITIES stay the promises that both give
 * and the warnings (RSBA, RRSBA) of either, of AMD's DE_CFG the bits of both, of the microcode's
 * revision the lesser. 0, or -EPROTO: other is more than its len bytes.
 */
int msrs_intersect(struct host_msrs *list, const struct host_msrs *other, uint32_t len);

/* Takes one index out, of both lists. */
void msrs_hide(struct host_msrs *list, uint32_t index);

/* Answers one of the two ioctls: ret->nmsrs is the room there and becomes what is needed. 0, or
 * -E2BIG, as KVM does: then nothing else is written. */
int msrs_answer(const struct host_msrs *list, bool features, struct kvm_msr_list *ret);

/* The feature with this index; NULL: not in the list. */
const struct host_msr *msrs_feature(const struct host_msrs *list, uint32_t index);

/* Answers KVM_GET_MSRS of /dev/kvm: n entries in order, up to the first that is no feature of the
 * list. How many were answered. */
int msrs_values(const struct host_msrs *list, struct kvm_msr_entry *entries, uint32_t n);

#endif
