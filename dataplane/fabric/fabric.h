/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a cluster's configuration to a port: who this process is on this machine, DPDK's
 * environment, which fabric (fabric.ladder), the cluster's group, the fault filter. APP.
 *
 * For the dataplane, and for who uses the transport without one (dataplane/net). All functions are
 * called by the one thread that will poll, in this order: fabric_init, fabric_claim,
 * fabric_start_eal, fabric_open; fabric_close after any of them. What succeeded but is worth a
 * line goes to standard error, behind `who`.
 */
#ifndef PANDO_FABRIC_H
#define PANDO_FABRIC_H

#include "dataplane/config/config.h"
#include "dataplane/port/port.h"
#include "offload/flow/offload.h"

enum { FABRIC_TEXT_MAX = 512, FABRIC_WHO_MAX = 48 };

struct fabric {
    const struct pando_config *cfg;
    uint8_t self, nodes;
    char who[FABRIC_WHO_MAX]; /* "pando-dataplane: node 1" */
    bool verbose;             /* fabric_open says what was picked even where nothing had to be */
    struct port *port;
    struct offload *offload;    /* who steers, fences and counts: fence by it */
    const char *grouped;        /* how the port takes the cluster's group frames; NULL: not */
    char text[FABRIC_TEXT_MAX]; /* what was picked, and why not what comes before it */
    bool eal, huge;             /* EAL is there; with hugepages */
    uint32_t rung;              /* of fabric.ladder, where the type is auto */
    struct port *stand_in;      /* the far end of a port that leads nowhere: the fabric is dead */
    int group_fd;               /* membership of the interface in the cluster's group; -1: none */
    int claim_fd;
};

/* cfg is kept. who is copied. */
void fabric_init(struct fabric *f, const struct pando_config *cfg, uint8_t self, const char *who);

/* One process a node and run_dir, which is created 0700, or this user's alone already: two would
 * answer for one another. (Those with another run_dir are not seen; peers that are connected do not
 * listen to them.) The claim ends with the process. 0; -EADDRINUSE: another has it, err names it;
 * -errno. */
int fabric_claim(struct fabric *f, char err[FABRIC_TEXT_MAX]);

/* DPDK. always: it is wanted for its telemetry as well, which is then there; else it is started
 * where the fabric may need it. Pins the thread to the node's dataplane_core in any case. 0, or
 * -errno and what to do. */
int fabric_start_eal(struct fabric *f, bool always, char err[FABRIC_TEXT_MAX]);

/* Opens f->port and sets f->text. 0, or -errno and what to do. */
int fabric_open(struct fabric *f, char err[FABRIC_TEXT_MAX]);

/* A look at the port (port_look), for now and then: where it is dead and the type is auto, the next
 * rung that speaks the same to the peers takes its place, f->port, with its counters; else one that
 * leads nowhere, until the peers' time-outs end it all. What was under way is lost, as frames may
 * be. True: f->port is another one, the old is closed. Takes long (tens of ms) when it does that.
 */
bool fabric_look(struct fabric *f);

/* Behind fabric_open, for who keeps f->port: f->offload, which fences, steers and counts, and has
 * to have offload_tick some times a second. fabric_look sees to it for the next port. wishes: NULL.
 * The reason goes to standard error where it is not to be had. */
void fabric_open_offload(struct fabric *f, const struct offload_wishes *wishes);

/* How frames are carried, by the configuration, and who the nodes are; over RDMA, by which IP
 * addresses these are known. */
void fabric_link(const struct fabric *f, struct link_config *ret_link);

/* What the configuration and the port say about the transport; epoch is now. */
void fabric_transport(const struct fabric *f, struct rrdp_config *ret_config);

/* Closes the port, unless *f no longer has one (f->port NULL: it was given away), and removes what
 * was put under run_dir. */
void fabric_close(struct fabric *f);

#endif
