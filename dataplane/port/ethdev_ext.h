/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes by reference for the ethdev port: the rules are in port.h. */
#ifndef PANDO_PORT_ETHDEV_EXT_H
#define PANDO_PORT_ETHDEV_EXT_H

#include "dataplane/port/port.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_eth_dev_info;

enum {
    ETH_EXT_MIN = 512, /* a second mbuf costs about as much as copying a few hundred bytes */
};

struct eth_ext {
    struct rte_mempool *pool; /* mbufs without room of their own */
    uint32_t live;            /* references that somebody still has: our queues, or a driver */
};

/* Whether frames may go to this device by reference. */
enum port_ext eth_ext_of(const struct rte_eth_dev_info *info);

/* References for so many frames at a time; 0 or -errno. */
int eth_ext_open(struct eth_ext *x, const char *name, uint32_t frames);
void eth_ext_close(struct eth_ext *x);

/* Appends the bytes to the frame, which is one segment; false: no mbuf (there is one for each frame
 * that can wait). */
bool eth_ext_append(struct eth_ext *x, struct rte_mbuf *frame, const uint8_t *bytes, uint32_t len);

/* The frames of a queue that point into the bytes get their own, behind their headers. Counted. */
void eth_ext_settle(struct rte_mbuf *const *queue, uint32_t n, const uint8_t *bytes, size_t len,
                    struct port_counters *count);

/* How many frames of a queue hold a reference. */
uint32_t eth_ext_held(struct rte_mbuf *const *queue, uint32_t n);

#endif
