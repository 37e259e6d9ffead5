/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software backend: looks at what port_rx has received before the caller does, by classify.h.
 * Frames behind a fence are taken out; the others are counted and handed on, urgent ones of a burst
 * first, within a class as they came. EDGE.
 *
 * Whether a NIC or an XDP program has looked before makes no difference: what they drop would be
 * dropped here.
 */
#ifndef PANDO_OFFLOAD_SIEVE_H
#define PANDO_OFFLOAD_SIEVE_H

#include "dataplane/port/port.h"
#include "offload/plan/classify.h"

struct sieve {
    struct port_sieve hook; /* first */
    struct classify rules;  /* may be changed between two port_rx */
    bool order;
    uint64_t frames[WIRE_NODES_MAX][WIRE_CLASSES]; /* handed on, by source */
    uint64_t dropped;                              /* by all fences, since attached */
    uint64_t strange;                              /* handed on, of no node of the cluster */
    /* Taken out: by the node that the frame names as its source; the last place: none or one that
     * is not fenced, so it came from the address of one that is. */
    uint64_t fenced_node[WIRE_NODES_MAX + 1];
    uint64_t fenced_epoch[PLAN_EPOCHS_MAX + 1]; /* by the place in rules.epoch; likewise */
};

/* *s is all 0 but for rules and order. It hangs in the port until sieve_detach. */
void sieve_attach(struct sieve *s, struct port *p);
void sieve_detach(struct sieve *s, struct port *p);

#endif
