/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a node's configuration asks of a machine, held against that machine: CPUs, classes, NUMA
 * nodes, hugepages. APP; used by pando-dataplane when it starts and by pando doctor, so that both
 * say the same. Reads files only (host/machine.h); changes nothing.
 *
 *   missing   a CPU or NUMA node that is not there, is offline or outside of the cpuset; hugepages
 *             that are demanded, or that a NIC on PCI needs, and that are not free; a busy loop on
 *             the CPU of another dataplane
 *   note      all that costs latency: roles on one core or on two threads of one, CPUs that the
 *             kernel uses as well (cpus.h: isolcpus, nohz_full, rcu_nocbs, as far as they help the
 *             role; the poller's: IRQs, watchdog), slow clocks and deep idle states, NUMA nodes
 *             apart, real-time classes and what they starve
 * What contradicts itself without any machine is refused by config_load.
 */
#ifndef PANDO_DOCTOR_PLACEMENT_H
#define PANDO_DOCTOR_PLACEMENT_H

#include "dataplane/config/config.h"
#include "dataplane/doctor/report.h"
#include "dataplane/host/machine.h"

/* Adds what was found; for node, a number of cfg's. */
void doctor_placement(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                      struct doctor_report *r);

/* A row of the verdict table, of one role. */
struct doctor_row {
    const char *role;
    char cpus[HOST_CPUS_TEXT]; /* "any": not pinned */
    char sched[48];            /* "other, nice -10, slice 100 us" */
    char numa[48];             /* nodes of the CPUs; "-": not pinned, or unknown */
};
void doctor_row(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                enum config_role role, struct doctor_row *ret);

#endif
