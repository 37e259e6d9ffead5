/* SPDX-License-Identifier: BSD-3-Clause */
/* A running cluster, for the files that start, watch and end it. Private to this folder. */
#ifndef PANDO_RUN_CLUSTER_INTERNAL_H
#define PANDO_RUN_CLUSTER_INTERNAL_H

#include "hypervisor-glue/run/cluster.h"

enum { CHILDREN_MAX = 2 * WIRE_NODES_MAX + 1 };

struct cluster {
    const struct plan *plan;
    struct child child[CHILDREN_MAX];
    unsigned children;
    struct child *vmm;
    int signal_fd;
    int signal, again;  /* the first that came, and how many after it */
    bool from_terminal; /* the VMM has it already */
    char died[256];
};

/* watch.c: the one loop. */
typedef bool condition(const struct cluster *c);

uint64_t cluster_now(void);
uint64_t cluster_in_ms(unsigned ms);
/* Handles what happens until done() or the deadline; false if the deadline came first. */
bool cluster_wait(struct cluster *c, condition *done, uint64_t deadline);
/* A signal came, or somebody ended. */
bool cluster_disturbed(const struct cluster *c);

/* start.c: everybody, in order, until something disturbs. 0, or -errno; c->died may say more. */
int cluster_start(struct cluster *c);

/* end.c: finds out who ended the run, ends everybody, says it; exit status. */
int cluster_end(struct cluster *c, int start_rc);

#endif
