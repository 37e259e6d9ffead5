/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the ethdev port and those who make device arguments for it. */
#ifndef PANDO_PORT_ETHDEV_H
#define PANDO_PORT_ETHDEV_H

#include "dataplane/port/bell.h"
#include "dataplane/port/port.h"

/* close tries to remove this directory: the last of the nodes that share it succeeds. */
void ethdev_own_dir(struct port *p, const char *dir);

/* How the port can be slept on, by one of two: a descriptor that is readable while frames are
 * there, or a bell that whoever sends to us rings, and we whoever we send to. The port owns it. */
void ethdev_wait_on(struct port *p, int fd);
void ethdev_own_bell(struct port *p, struct bell *b);

/* Asks the kernel for the next hops over this interface from now on; nothing over plain Ethernet.
 * 0, or -errno and a sentence: neighbours_open. */
int ethdev_resolve_over(struct port *p, const char *interface, char err[PORT_ERROR_MAX]);

struct ethdev_wish;

/* As port_open_ethdev, with what is asked of each device. */
int ethdev_open(const struct ethdev_wish *wish, const char *const *devargs, uint32_t count,
                const uint8_t *peer_of, const struct link_config *link, uint16_t ethertype,
                uint16_t mtu, struct port **ret_port, char err[PORT_ERROR_MAX]);

/* A port on one device that leads to all peers; DPDK's number of it. -EOPNOTSUPP: another port. */
struct ethdev_info {
    uint16_t id, rx_queues;
    uint32_t flow_queue;  /* operations on rules that its flow queue 0 holds; 0: it has none */
    const char *flow_why; /* why not, in the driver's words; as long as the port is open */
};
int ethdev_info(const struct port *p, struct ethdev_info *ret_info);

/* Of the device's receive queues the one that is looked at first and each time; 0 at first. A
 * number that the device has not counts as 0. (const: as port_below gives it.) Only for ports of
 * which ethdev_info is 0. */
void ethdev_urgent_queue(const struct port *p, uint16_t queue);

#endif
