/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread asks of the host's scheduler: CPUs, a class, a nice level and a time slice. EDGE;
 * used by the poll loop, by the agent thread, for vCPU threads and for the housekeeping of both
 * processes. Any thread may call these, for itself (tid 0) or another thread of its process.
 *
 * Why a slice: since Linux 6.6 a thread that wakes up takes the CPU at once only if its deadline is
 * earlier, and since 6.12 also if its slice is shorter, than that of the thread that runs. At equal
 * slices a spinning vCPU keeps its CPU for its whole slice (about 3 ms) while the poll loop has a
 * frame to handle, whatever the nice level.
 *
 * Why not real-time by default: a thread of class fifo or rr that spins is alone on its CPU. The
 * kernel's own threads there (RCU, workqueues, the migration of IRQs) wait for it until RT
 * throttling takes the CPU away for 50 ms of each second, which the other nodes see as a stall;
 * with throttling off (kernel.sched_rt_runtime_us = -1) they wait for ever.
 */
#ifndef PANDO_HOST_THREAD_H
#define PANDO_HOST_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    HOST_SLICE_MAX_US = 100000, /* the kernel's own bound (sched_setattr(2)) */
    HOST_CPUS_MAX = 1024,       /* as cpu_set_t */
    HOST_CPUS_TEXT = 256,       /* room for a list in words; a longer one ends with "..." */
    HOST_THREAD_NAME = 32,      /* room for a thread's name; a longer one is cut off */
};

/* In the order of the choices of the keys threads.*_class. */
enum host_class { HOST_OTHER, HOST_FIFO, HOST_RR, HOST_BATCH };
const char *host_class_name(enum host_class c);

static inline bool host_real_time(enum host_class c)
{
    return c == HOST_FIFO || c == HOST_RR;
}

struct host_sched {
    uint8_t class;     /* enum host_class */
    uint8_t priority;  /* fifo, rr: 1..99 */
    int8_t nice;       /* other, batch: -20..19 */
    uint8_t reserved;  /* 0 */
    uint32_t slice_us; /* other, batch: up to HOST_SLICE_MAX_US; 0: the kernel's default */
};

/* A set of CPUs; all 0: empty. */
struct host_cpus {
    uint64_t word[HOST_CPUS_MAX / 64];
};

static inline void host_cpus_add(struct host_cpus *s, uint32_t cpu)
{
    if (cpu < HOST_CPUS_MAX)
        s->word[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

static inline bool host_cpus_has(const struct host_cpus *s, uint32_t cpu)
{
    return cpu < HOST_CPUS_MAX && (s->word[cpu / 64] >> (cpu % 64) & 1) != 0;
}

static inline void host_cpus_join(struct host_cpus *s, const struct host_cpus *these)
{
    for (size_t i = 0; i < sizeof(s->word) / sizeof(s->word[0]); i++)
        s->word[i] |= these->word[i];
}

static inline void host_cpus_take_away(struct host_cpus *s, const struct host_cpus *these)
{
    for (size_t i = 0; i < sizeof(s->word) / sizeof(s->word[0]); i++)
        s->word[i] &= ~these->word[i];
}

bool host_cpus_empty(const struct host_cpus *s);
uint32_t host_cpus_count(const struct host_cpus *s);

/* "0-3,8": as the kernel writes lists; cut off with "..." where size is short. Returns buf. */
char *host_cpus_text(const struct host_cpus *s, char *buf, size_t size);

/* The list in text, as the kernel writes it; numbers of HOST_CPUS_MAX and above are left out.
 * False: not a list (*ret_set is not written). An empty text is the empty set. */
bool host_cpus_parse(const char *text, struct host_cpus *ret_set);

/* Class, priority, nice level and slice. The kernel raises slices to 100 us, and kernels
 * before 6.12 ignore them. Threads that this one starts later do not inherit a real-time class. 0,
 * or -errno: -EPERM or -EACCES without CAP_SYS_NICE. With class other, a thread that is real-time
 * already (by chrt) is left alone. */
int host_thread_sched(pid_t tid, const struct host_sched *s);

/* 0, or -EINVAL: this host has no such CPU, or this process may not use it. */
int host_thread_pin(pid_t tid, int32_t cpu);

/* The same for a set, as far as the host allows; -EINVAL: not one CPU of it. */
int host_thread_pin_set(pid_t tid, const struct host_cpus *set);
/* CPUs that the thread may use. */
int host_thread_cpus(pid_t tid, struct host_cpus *ret_set);

/* The CPU that a thread of this process is on, or was last; -1: cannot be told. */
int32_t host_thread_cpu(pid_t tid);

/* What /proc tells of a thread, or of a whole process (tid 0: its threads that have ended
 * included). */
struct host_thread {
    pid_t tid;
    char name[HOST_THREAD_NAME]; /* any characters */
    uint64_t cpu_ns;             /* time that it had a CPU, up to 20 ms less */
    int32_t cpu;                 /* that it is on, or was last */
};
/* False: there is none, or /proc does not tell. */
bool host_thread_look(pid_t pid, pid_t tid, struct host_thread *ret);
/* Calls each(thread, arg) for the threads that the process has now, `most` of them at most.
 * Allocates (opendir). 0, or -errno: /proc does not tell. */
int host_threads_look(pid_t pid, uint32_t most,
                      void (*each)(const struct host_thread *t, void *arg), void *arg);

/* Calls each(tid, name, arg) for every thread that this process has now. Allocates (opendir). 0, or
 * -errno: /proc cannot be read. */
int host_threads(void (*each)(pid_t tid, const char *name, void *arg), void *arg);

/* For all threads that this process has now but `but` (0: none): CPUs (empty: as they are) and
 * class (NULL: as it is). What the last thread that could not be moved, or scheduled, said is in
 * *ret_pin_error and *ret_sched_error: 0, or -errno. Allocates, as host_threads. */
void host_threads_place(pid_t but, const struct host_cpus *cpus, const struct host_sched *sched,
                        int *ret_pin_error, int *ret_sched_error);

/* Whether the host has this CPU (online or not). */
bool host_has_cpu(int32_t cpu);

#endif
