/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host/thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_setattr(2), first version of the structure: glibc has no wrapper, and its header clashes
 * with the kernel's. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* runtime: the slice of a SCHED_OTHER thread, ns */
};
_Static_assert(sizeof(struct attr) == 48, "SCHED_ATTR_SIZE_VER0");

int host_thread_priority(pid_t tid, int nice, uint32_t slice_us)
{
    int policy = sched_getscheduler(tid);
    if (policy < 0)
        return -errno;
    if (policy != SCHED_OTHER)
        return 0;
    struct attr a = {.size = sizeof(a), .policy = SCHED_OTHER, .nice = nice};
    a.runtime = (uint64_t)slice_us * 1000;
    return syscall(SYS_sched_setattr, tid, &a, 0) == 0 ? 0 : -errno;
}

int host_thread_pin(pid_t tid, int32_t cpu)
{
    cpu_set_t set;
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return -EINVAL;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(tid, sizeof(set), &set) == 0 ? 0 : -errno;
}

bool host_has_cpu(int32_t cpu)
{
    return cpu >= 0 && cpu < sysconf(_SC_NPROCESSORS_CONF);
}
