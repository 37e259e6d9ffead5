/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which NUMA node memory comes from: mbind(2) and set_mempolicy(2), without libnuma. EDGE.
 *
 * Strict (MPOL_BIND): a full node is an error or the end of the process, never memory of another
 * node that nobody notices. Pages that are there already stay, unless the policy is a file's of
 * shared memory and they are touched first afterwards.
 */
#ifndef PANDO_HOST_MEMORY_H
#define PANDO_HOST_MEMORY_H

#include <stddef.h>

enum { HOST_NODES_MAX = 64 };

/* Of [at, at + len), page aligned: from now on from this node, and what is there is moved to it as
 * far as that is possible. Of a shared mapping of a memfd it is the file's, whoever touches it. 0,
 * or -errno: -EINVAL: there is no such node here; -ENOSYS: a kernel without NUMA. */
int host_memory_bind(void *at, size_t len, int node);

/* Of what the calling thread touches first from now on; -1: as usual. 0, or -errno likewise. */
int host_memory_policy(int node);

#endif
