/* SPDX-License-Identifier: BSD-3-Clause */
/* What the loaders in this folder share. */
#ifndef PANDO_BPF_LOAD_H
#define PANDO_BPF_LOAD_H

#include <stdint.h>

#include "bpf/attach.h"

/* Runs load(arg), which opens and loads a skeleton and answers 0 or -errno, with libbpf silent.
 * What failed for want of rights or memory is said in our sentence; after any other failure once
 * more, with libbpf's and the verifier's own words on standard error. */
int bpf_load(int (*load)(void *arg), void *arg, char err[XDP_ERROR_MAX]);

/* Sums a per-CPU array of u64 over all CPUs; what cannot be read counts 0. */
void bpf_sum_counters(int map_fd, uint32_t count, uint64_t *ret_sums);

#endif
