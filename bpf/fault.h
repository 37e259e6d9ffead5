/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The user side of fault.bpf.c: what comes in on one device goes out on another, with faults. EDGE,
 * for tests. Two devices joined both ways take two of them.
 *
 * Redirected frames enter a veth only if the driver of its other end polls (NAPI), which an
 * attached XDP program turns on. They carry no offloads: senders through such a wire turn theirs
 * off (ethtool -K DEV tx off), or TCP's checksums are never filled in.
 */
#ifndef PANDO_BPF_FAULT_H
#define PANDO_BPF_FAULT_H

#include <stdint.h>

#include "bpf/attach.h"
#include "bpf/contract.h"

struct fault;

/* config: rates and seed; the rest is filled in. Both devices in this network namespace. 0, or
 * -errno and a sentence in err. */
int fault_open(const char *from, const char *to, const struct fault_config *config,
               struct fault **ret_fault, char err[XDP_ERROR_MAX]);
/* Other rates, from the next frame on; the draws begin anew. 0 or -errno. */
int fault_set(struct fault *f, const struct fault_config *config);
void fault_counters(const struct fault *f, uint64_t ret_frames[FAULT_REASONS]);
const char *fault_reason_name(enum fault_reason reason);
/* Detaches and frees; NULL is fine. */
void fault_close(struct fault *f);

#endif
