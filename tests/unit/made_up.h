/* SPDX-License-Identifier: BSD-3-Clause */
/* Machines that are made of files: a root for host/machine.h, below a folder of its own in /tmp. */
#ifndef PANDO_TESTS_MADE_UP_H
#define PANDO_TESTS_MADE_UP_H

/* A new, empty root; the string lives until made_up_end, which removes it. */
const char *made_up_begin(void);
void made_up_end(void);
/* A file with this text and a line feed, and its folders. */
void made_up_put(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A symbolic link. */
void made_up_link(const char *path, const char *target);

/* Two sockets, each a NUMA node, of 4 cores with 2 threads: CPUs 0-3,8-11 and 4-7,12-15, the
 * thread of CPU n's core is n + 8. CPUs 2,3,10,11 are isolated in every way; 5 has an IRQ of
 * eth0's, which is on node 1. Governor performance on 2 and 3, idle states of 2 us there and of 133
 * us elsewhere. 64 hugepages of 2M on node 0, one of 1G on node 1. cgroup v2. */
void made_up_server(void);
/* Four CPUs on two cores (0,2 and 1,3), powersave, swap, KSM, THP always; CPU 3 offline. */
void made_up_laptop(void);

#endif
