/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric "verbs": an RDMA device of InfiniBand or RoCE v2, hardware or the kernel's rdma_rxe.
 * Pages that a node awaits are written into its guest memory by the sender's device (port.h: pages
 * in place). How it works is at the head of verbs_port.h. EDGE.
 *
 * Beside it each node has a UDP socket at its address (fabric.udp_port), by which the nodes tell
 * each other of their queue pairs; the kernel has a route to the others' addresses.
 */
#ifndef PANDO_PORT_VERBS_H
#define PANDO_PORT_VERBS_H

#include "dataplane/host/thread.h"
#include "dataplane/port/port.h"
#include "dataplane/rdma/rdma.h"

struct port_verbs {
    const char *device;             /* rxe0, mlx5_0; "": whose GIDs have this node's address */
    const struct link_config *link; /* UDP: addresses, port, self, nodes; copied */
    uint64_t cluster_id;
    uint64_t dead_ns; /* the transport's: a broken path is known well below it */
    uint16_t mtu;     /* bytes of a frame, by reliable connection; up to RRDP_MTU_MAX */
    uint8_t credit;   /* frames that a peer sends of a class before it hears from us: 1.. */
    /* The thread that registers guest memory: its CPUs (empty: all), and its class. */
    struct host_cpus registrar_cpus;
    struct host_sched registrar;
    bool ladder; /* the nodes can meet on another fabric: when one leaves this, all do */
};

/* 0, or -errno and what to do. -ENODEV: no library, no device here, or none of that name;
 * -EADDRNOTAVAIL: the address is no GID of the device, or not this machine's; -ENETDOWN,
 * -EMSGSIZE: the device's port; -ENOMEM: most often RLIMIT_MEMLOCK; -EADDRINUSE: the UDP port.
 *
 * port_look: the reason, once a connection to a living peer broke (off a ladder: once more within
 * dead_ns after it was made anew), or the device went away. A
 * broken path is known after a third of dead_ns where the device keeps its time (the specification
 * lets it take four times that); an idle one is tried four times in dead_ns. */
int port_open_verbs(const struct port_verbs *cfg, struct port **ret_port, char err[PORT_ERROR_MAX]);

/* "rxe0, RoCE v2, packets of 1024 bytes"; NULL: another port. */
const char *port_verbs_mode(const struct port *p);

/* Why something received was not handed up. */
/* clang-format off */
#define PORT_VERBS_DROP_LIST(X) \
    X(STRANGER, "not_a_node")     /* UD: no peer has that queue pair at that address */ \
    X(CONNECTION, "no_connection") /* RC: of a connection that has ended */ \
    X(LENGTH, "length") \
    X(PLACE, "place")             /* what it names is no page that is open to that peer */ \
    X(STATUS, "status")           /* the device says that it went wrong */
/* clang-format on */
#define X(ID, name) PORT_VERBS_DROP_##ID,
enum port_verbs_drop { PORT_VERBS_DROP_LIST(X) PORT_VERBS_DROPS };
#undef X
const char *port_verbs_drop_name(enum port_verbs_drop d);

struct port_verbs_counters {
    uint64_t tx_ud, tx_rc;         /* frames */
    uint64_t placed_tx, placed_rx; /* pages written into guest memory */
    uint64_t not_open;             /* pages that could have been: the peer has not opened them */
    uint64_t asked;                /* completions asked for, of all work requests: */
    uint64_t requests;
    uint64_t settle_waits; /* port_settle waited for the device */
    uint64_t hellos_tx, hellos_rx;
    uint64_t restarts;  /* connections replaced by a new one */
    uint64_t ud_resets; /* times that the queue pair for short frames broke */
    uint64_t dropped[PORT_VERBS_DROPS];
    uint64_t refused[RDMA_REFUSALS]; /* datagrams */
};
/* 0, or -EOPNOTSUPP: another port. */
int port_verbs_counters(const struct port *p, struct port_verbs_counters *ret_counters);

#endif
