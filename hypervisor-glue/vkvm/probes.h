/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The probes of libpando-kvm.so and pando-vcpud (dataplane/host/usdt.h), provider "pando_kvm".
 * EDGE, macros only. All of them happen in the thread of a vCPU at its home.
 *
 *   vcpu_enter   vcpu: about to enter the guest (KVM_RUN)
 *   vcpu_exit    vcpu, rc, reason: out of it again. rc: of KVM_RUN, 0 or -errno (-EINTR: kicked);
 *                reason: KVM_EXIT_..., of value where rc is 0
 *   vcpu_inject  vcpu, vector: an interrupt is in, with the next entry
 */
#ifndef PANDO_VKVM_PROBES_H
#define PANDO_VKVM_PROBES_H

#include "dataplane/host/usdt.h"

/* clang-format off */
#define KVM_PROBE_LIST(X) \
    X(vcpu_enter, 1, AT_HAND) \
    X(vcpu_exit, 3, AT_HAND) \
    X(vcpu_inject, 2, AT_HAND)
/* clang-format on */

#define X(name, args, cost) USDT_DECLARE(pando_kvm, name, args, cost)
KVM_PROBE_LIST(X)
#undef X

#define KVM_PROBE(name, ...) USDT(pando_kvm, name, __VA_ARGS__)

#endif
