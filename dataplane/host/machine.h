/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What /sys and /proc say about this machine's CPUs, NUMA nodes, hugepages, IRQs and devices. EDGE.
 *
 * Every file is read below a root, so that tests can make up machines: "" is the real one. Nothing
 * is kept open and nothing is written. A file that is not there means that the kernel has not got
 * the matter (no cpufreq in most virtual machines, no cpuset in most containers of cgroup v1), not
 * that something is wrong; functions say what they answer then. For any thread.
 */
#ifndef PANDO_HOST_MACHINE_H
#define PANDO_HOST_MACHINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/host/thread.h"

enum { MACHINE_ROOT_MAX = 160, MACHINE_TEXT_MAX = 4096, MACHINE_NODES_MAX = 64 };

struct machine {
    char root[MACHINE_ROOT_MAX];
    struct host_cpus possible, online;
    struct host_cpus usable;                         /* online, and in this process's cpuset */
    bool cpuset;                                     /* a cpuset leaves CPUs out that are online */
    struct host_cpus isolated, nohz_full, rcu_nocbs; /* by the kernel's command line */
    bool tells_isolated, tells_nohz_full, tells_rcu_nocbs; /* false: the set is not known */
    uint64_t nodes; /* NUMA nodes with memory, bit by number; at least node 0 */
};

/* Reads the sets. 0; -ENAMETOOLONG: root; -errno: not even the list of CPUs that are online can be
 * read. */
int machine_open(struct machine *m, const char *root);

/* The file's text without white space at its end, cut off at size; -errno (buf is "" then). */
int machine_text(const struct machine *m, char *buf, size_t size, const char *path_fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A file that holds one decimal number; false: it is not there, or holds something else. */
bool machine_number(const struct machine *m, int64_t *ret, const char *path_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A file that holds a list of CPUs; false likewise. */
bool machine_list(const struct machine *m, struct host_cpus *ret, const char *path_fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The word in brackets of a file such as "always [madvise] never"; false: there is none. */
bool machine_choice(const struct machine *m, char *buf, size_t size, const char *path);

/* NUMA node of a CPU; -1: unknown. */
int machine_node_of(const struct machine *m, uint32_t cpu);
/* CPUs of the same core, itself among them; only itself where the kernel does not say. */
struct host_cpus machine_siblings(const struct machine *m, uint32_t cpu);
/* Longest time to wake up from an idle state that is allowed, us; 0: none is known. name: of that
 * state. */
uint32_t machine_deepest_idle_us(const struct machine *m, uint32_t cpu, char *name, size_t size);

/* Node of a network interface, an RDMA device or a PCI address; -1: unknown, or the machine has one
 * node only. */
int machine_device_node(const struct machine *m, const char *device);

/* Free hugepages of a size, on a NUMA node or (-1) on all. */
uint64_t machine_free_hugepages(const struct machine *m, uint32_t kib, int node);
/* The kernel's default size, KiB; 0: it has no hugepages. */
uint32_t machine_default_hugepage_kib(const struct machine *m);
/* Free memory of a node, KiB; 0: unknown. */
uint64_t machine_free_kib(const struct machine *m, int node);

/* IRQs that are delivered to the CPU: how many, and the first of them in words ("24 eth0-rx-0, 25
 * ..."). */
uint32_t machine_irqs_of(const struct machine *m, uint32_t cpu, char *words, size_t size);

/* A process of this name (up to 15 letters of it) whose main thread may run on this CPU alone; 0:
 * there is none but `except`. */
pid_t machine_pinned(const struct machine *m, const char *name, uint32_t cpu, pid_t except);

/* The value of key= on the kernel's command line; false: it is not there. */
bool machine_boot_word(const struct machine *m, const char *key, char *buf, size_t size);

#endif
