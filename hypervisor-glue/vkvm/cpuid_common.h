/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the processors of several hosts have in common, as KVM_GET_SUPPORTED_CPUID lists. No I/O.
 * Leaves and bits as in the Intel SDM, volume 2 (CPUID), and the AMD64 APM, volume 3, appendix E.
 */
#ifndef PANDO_VKVM_CPUID_COMMON_H
#define PANDO_VKVM_CPUID_COMMON_H

#include <linux/kvm.h>
#include <stdint.h>

/*
 * Takes out of list what other does not offer: feature bits (leaves 1, 6, 7, 0xD, 0x40000001,
 * 0x80000001, 0x80000007, 0x80000008, 0x8000000A, 0x80000021), state components, address bits, the
 * highest leaf. What is a number of something stays only if it is alike, and leaves not known here,
 * too: the PMU (0xA, 0x80000022), SGX, processor trace and tiles (0x12, 0x14, 0x1D, 0x1E; the bits
 * that announce them go with them), a state component's place, memory encryption, all that came
 * later. What only describes a host (caches, topology, model) stays the list's own.
 * 0, or -EXDEV: processors of different vendors, on which no guest can run; -EPROTO: other is no
 * processor's list (without leaf 0, 1 or 0x80000000); then list is unchanged.
 */
int cpuid_intersect(struct kvm_cpuid2 *list, const struct kvm_cpuid2 *other);

/* Clears one bit, "LEAF.SUBLEAF.REGISTER.BIT" with hexadecimal leaves (7.0.ebx.5), if the list has
 * the leaf. -EINVAL: not such a name. */
int cpuid_hide(struct kvm_cpuid2 *list, const char *bit);

#endif
