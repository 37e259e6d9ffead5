/* SPDX-License-Identifier: BSD-3-Clause */
/* One DPDK device: from its name to queues that can be started. EDGE. */
#ifndef PANDO_PORT_ETHDEV_DEVICE_H
#define PANDO_PORT_ETHDEV_DEVICE_H

#include <rte_dev.h>

#include "dataplane/port/port.h"

struct rte_mempool;

enum {
    ETH_RING = 512,           /* descriptors of a queue, where the device asks */
    ETH_QUEUES = 16,          /* receive queues of a device, at most */
    ETH_FLOW_QUEUE = 64,      /* operations on rules, where the device asks */
    ETH_FLOW_COUNTERS = 1024, /* one for each rule that may be */
};

/* What is asked of a device, beyond its arguments. */
struct ethdev_wish {
    const char *bus;    /* "vdev", "pci" */
    uint16_t rx_queues; /* 1..ETH_QUEUES; fewer if the device has not so many */
    uint16_t mtu;       /* bytes behind the Ethernet header that it must carry; 0: not asked */
    uint16_t headers;   /* of them, what is not fabric.mtu: for the message */
};

/* Makes the device known to ethdev, unless EAL has done so at its start. args: "net_tap0,iface=x",
 * or a PCI address. 0, or -errno and what to do. */
int ethdev_attach(const struct ethdev_wish *w, const char *args,
                  char ret_name[RTE_DEV_NAME_MAX_LEN], uint16_t *ret_id, char err[PORT_ERROR_MAX]);

/* Queues that receive into pool, and what the device says of bytes by reference. It is not started.
 * 0; -EMSGSIZE: the MTU; or -errno. */
int ethdev_set_up(const struct ethdev_wish *w, const char *args, uint16_t id,
                  struct rte_mempool *pool, uint16_t *ret_rx_queues, enum port_ext *ret_ext,
                  char err[PORT_ERROR_MAX]);

/* How the device takes rules by flow queues (rte_flow's asynchronous API). */
struct ethdev_flow {
    uint32_t queue; /* operations that its one flow queue holds; 0: it has none */
    char why[64];   /* ... in the driver's words, cut */
};

/* Gives the device one flow queue, and counters for rules, if its driver has such. Between
 * ethdev_set_up and start: ethdev refuses it later. A driver that has none is none the worse. */
void ethdev_flow_queue(uint16_t id, struct ethdev_flow *ret_flow);

/* Undoes both; the device was stopped. */
void ethdev_detach(const char *bus, const char *name, uint16_t id);

#endif
