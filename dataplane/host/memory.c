/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host/memory.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

int host_memory_bind(void *at, size_t len, int node)
{
    if (node < 0 || node >= HOST_NODES_MAX)
        return -EINVAL;
    unsigned long mask = 1UL << node;
    /* The kernel reads maxnode - 1 bits. */
    return syscall(SYS_mbind, at, len, MPOL_BIND, &mask, HOST_NODES_MAX + 1UL, MPOL_MF_MOVE) == 0
               ? 0
               : -errno;
}

int host_memory_policy(int node)
{
    if (node >= HOST_NODES_MAX)
        return -EINVAL;
    unsigned long mask = node < 0 ? 0 : 1UL << node;
    long rc = node < 0 ? syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL)
                       : syscall(SYS_set_mempolicy, MPOL_BIND, &mask, HOST_NODES_MAX + 1UL);
    return rc == 0 ? 0 : -errno;
}
