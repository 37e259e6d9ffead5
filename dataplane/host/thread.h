/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread asks of the host's scheduler: a CPU, a nice level and a time slice. EDGE; used by
 * the poll loop, by the agent thread and for vCPU threads. Any thread may call these, for itself
 * (tid 0) or another thread of its process.
 *
 * Why a slice: since Linux 6.6 a thread that wakes up takes the CPU at once only if its deadline is
 * earlier, and since 6.12 also if its slice is shorter, than that of the thread that runs. At equal
 * slices a spinning vCPU keeps its CPU for its whole slice (about 3 ms) while the poll loop has a
 * frame to handle, whatever the nice level.
 */
#ifndef PANDO_HOST_THREAD_H
#define PANDO_HOST_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { HOST_SLICE_MAX_US = 100000 }; /* the kernel's own bound (sched_setattr(2)) */

/* Nice level -20..19 and slice in us (0: the kernel's default; the kernel raises others to 100).
 * Kernels before 6.12 ignore the slice. 0, or -errno: -EPERM or -EACCES without CAP_SYS_NICE. A
 * real-time thread is left alone. */
int host_thread_priority(pid_t tid, int nice, uint32_t slice_us);

/* 0, or -EINVAL: this host has no such CPU, or this process may not use it. */
int host_thread_pin(pid_t tid, int32_t cpu);

/* Whether the host has this CPU (online or not). */
bool host_has_cpu(int32_t cpu);

#endif
