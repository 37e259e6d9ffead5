/* SPDX-License-Identifier: BSD-3-Clause */
/* The counters of who attached. */
#include "hypervisor-glue/vkvm/probes.h"

#define X(name, args, cost) USDT_DEFINE(pando_kvm, name)
KVM_PROBE_LIST(X)
#undef X
