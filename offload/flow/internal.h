/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to offload/flow. */
#ifndef PANDO_OFFLOAD_INTERNAL_H
#define PANDO_OFFLOAD_INTERNAL_H

#include <pthread.h>

#include "offload/flow/install.h"
#include "offload/flow/offload.h"
#include "offload/flow/sieve.h"

struct offload {
    struct port *port;
    const struct nic *nic;
    char group_how[48];
    char driver[32]; /* "": no device of DPDK's */
    uint16_t queues;
    struct flow_device *device; /* NULL: none that takes rules */
    struct flow_device *own;    /* that one, if it was opened here */
    struct install *install;
    struct plan_input in;
    uint8_t told_mac[WIRE_NODES_MAX][6]; /* by offload_peer, the last time */
    uint64_t port_fences;                /* nodes that the port was told of, as far as it could */
    struct plan plan;                    /* what is wanted now */
    struct plan scratch;                 /* of the probe */
    /* Shapes of rules that the device does not take, and its words. */
    char shape_why[NIC_TEMPLATES_MAX][FLOW_WHY_MAX];
    struct sieve sieve;
    bool count;
    /* The input, the plan, what is installed and whether the sieve hangs in the port: between the
     * polling thread, which writes, and the one that asks. Who writes reads them without it, and
     * counters are counted without. */
    pthread_mutex_t lock;
};

#endif
