/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is wanted of the network under a port, and who does it: the NIC by rules, the port's XDP
 * program, or the poll loop. EDGE.
 *
 * Nothing depends on the NIC. Each intent is served in software from the moment it is wanted
 * (sieve.h), and once more below where that is possible; offload_text says for each which, and why
 * not the NIC, in the driver's own words where it refused. So a rule may come late, and a driver
 * may be slow: its calls are made at open and at a fence, and what did not fit into the budget of
 * that, in offload_tick. A single call has no bound; the longest is shown.
 *
 * A fence cuts off a node that was given up and goes on sending, not one that writes another number
 * into its frames (bpf/contract.h). A fence by epoch takes the frames of one old connection, by its
 * tag, and lets the node's new one pass.
 *
 * All functions are called by the polling thread, but offload_text: any thread, which who calls
 * offload_close keeps out (the engine by telemetry_hold).
 *
 * Rules by flow queues (nic.h: async) and flex items were run against a fake that keeps rte_flow's
 * contract, never on hardware. So were copies in the embedded switch, which nothing wants yet: the
 * configuration does not say which nodes are behind the same NIC.
 */
#ifndef PANDO_OFFLOAD_H
#define PANDO_OFFLOAD_H

#include "dataplane/port/port.h"
#include "offload/flow/device.h"

struct offload;

enum {
    OFFLOAD_TEXT_MAX = 8192, /* what one answer of DPDK's telemetry holds */
    OFFLOAD_OPEN_MS = 2000,  /* budgets of the driver's calls: at open, ... */
    OFFLOAD_FENCE_US = 2000, /* ... when something changes, ... */
    OFFLOAD_TICK_US = 200,   /* ... and now and then, until all is done */
};

/* What was asked for since the opening: for the port that takes another one's place. */
struct offload_wishes {
    uint64_t fenced;
    uint32_t epochs;
    struct {
        uint8_t node;
        uint32_t tag;
    } epoch[PLAN_EPOCHS_MAX];
    uint8_t peer_mac[WIRE_NODES_MAX][6];
};

struct offload_config {
    struct port *port;       /* as it is polled; a fault filter in front is looked through */
    struct link_config link; /* over plain Ethernet kind, self and nodes */
    uint16_t ethertype;
    uint8_t group_mac[6];  /* all 0: no group frames, or the port takes them not */
    const char *group_how; /* how it takes them, for show: "by its filter"; NULL: not said */
    bool order;            /* urgent frames of a burst first, where no rule has told them apart */
    bool count;            /* frames by source and class */
    bool mark;             /* by the NIC; nobody here reads it yet */
    const struct offload_wishes *wishes; /* NULL: none yet */
    /* For tests: takes the rules instead of the port's NIC, whose abilities are nic. */
    const struct nic *nic;
    struct flow_device *device;
};

/* 0; -EINVAL: link.nodes is not 2..WIRE_NODES_MAX, or link.self is none of them, or what plan_make
 * refuses; -ENOMEM. Where there is no NIC of ours, or it refuses all, that is no error. Takes up to
 * OFFLOAD_OPEN_MS and one call. */
int offload_open(const struct offload_config *cfg, struct offload **ret_offload);
/* Removes all rules and lifts the fences; the port is still open. NULL is fine. */
void offload_close(struct offload *o);

/* The address of a node's frames, as port_frame.src has it and as the transport believes it:
 * over plain Ethernet a NIC tells nodes apart by nothing else. Other links know addresses. One that
 * another node had is this one's from then on, and the other has none until it is told with it
 * again when it is free, or with another one: two that go on to be told with the same address do
 * not take it from each other each time. 0; -EINVAL: itself, or no such node. */
int offload_peer(struct offload *o, uint8_t node, const uint8_t mac[6]);

/* From the next port_rx on nothing of this node is handed on, and what it writes in place does not
 * land any more; on: false: no longer, at the latest when offload_settled says that port and NIC
 * have let go of it too. 0; -EINVAL: itself, or no such node; -errno of port_fence: the port has
 * not done its part, which is tried again by each further call and by offload_tick. */
int offload_fence(struct offload *o, uint8_t node, bool on);
/* ... nothing of the connection with this tag; another one of the node's passes. -ENOSPC: there are
 * PLAN_EPOCHS_MAX of them. */
int offload_fence_epoch(struct offload *o, uint8_t node, uint32_t tag, bool on);

/* Goes on with what is left to do, asks for the counters of a rule. Some times a second. */
void offload_tick(struct offload *o);

void offload_wishes(const struct offload *o, struct offload_wishes *ret_wishes);

/* True: the NIC has all rules that it takes, and the port knows all fences. */
bool offload_settled(const struct offload *o);

/* The intents and rules as JSON, from number `from` on as many as fit (intents first); "next" in it
 * is the number to go on with, 0 behind the last. Returns its length; 0: no memory. */
size_t offload_text(struct offload *o, uint32_t from, char out[OFFLOAD_TEXT_MAX]);
/* ... of a node that has no peers, so nothing is wanted. */
size_t offload_text_alone(uint8_t node, char out[OFFLOAD_TEXT_MAX]);

/* For tests: frames that were dropped here, in software, by all fences. */
uint64_t offload_dropped(const struct offload *o);

#endif
