/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dpdk fabric: a whole NIC, driven by DPDK in this process, without the kernel. EDGE.
 *
 * The device is a NIC on PCI, or one of DPDK's virtual devices (net_tap, for tests). A NIC that
 * reads and writes by DMA needs hugepages and the kernel's vfio-pci with an IOMMU; mlx5 (and mlx4)
 * stay with their kernel driver, beside which DPDK works. What a newcomer meets on the way is
 * looked for beforehand, and said in words (dpdk_pci.c).
 *
 * Frames are those of af_packet and af_xdp. Over UDP the kernel has to find the next hops, so the
 * device must have an interface of the kernel's too, with the node's address: mlx5, net_tap. A NIC
 * under vfio-pci has none, and carries plain Ethernet only.
 *
 * It is polled; there is nothing to sleep on. Of several receive queues one is the urgent one
 * (ethdev_urgent_queue), which is looked at before the others, and every time. One queue sends.
 * Bytes by reference: never (rule 2 of port.h): a NIC reads them after tx_burst has returned.
 */
#ifndef PANDO_PORT_DPDK_H
#define PANDO_PORT_DPDK_H

#include "dataplane/port/port.h"

enum { PORT_DPDK_LINK_MS = 3000 }; /* how long the opener waits for the link at most */

struct port_dpdk {
    const char *device; /* "0000:03:00.0", or "net_tap0,iface=pando0" */
    bool pci;           /* it is a PCI address; EAL was told of it (port_eal_init) */
    uint16_t queues;    /* receive queues that are wanted, 1..16; the NIC may have fewer */
    uint16_t ethertype, mtu;
    const struct link_config *link; /* NULL: plain Ethernet; copied */
};

/* 0, or -errno and a sentence: -ENODEV no such device, -EPERM, -EBUSY not to be had by this
 * process, -EMSGSIZE the MTU, -EOPNOTSUPP UDP without next hops. A link that is down is none: the
 * peer at its other end may not have started (port_dpdk_notice). */
int port_open_dpdk(const struct port_dpdk *cfg, struct port **ret_port, char err[PORT_ERROR_MAX]);

/* "net_e1000_em, 1 receive queue", and what is worth a line, as that the link is down. Cut at size.
 */
void port_dpdk_text(const struct port *p, char *out, size_t size);

/* Makes the NIC take frames to a group address: by its filter, or all groups, or everything; how
 * is said in a word. NULL: it cannot. */
const char *port_dpdk_join_group(struct port *p, const struct rrdp_mac *group);

/* Whether DPDK can have a NIC on PCI: it is there, a network card, bound to vfio-pci or to a driver
 * that shares it, its IOMMU group complete, and this user may open it. sys, dev: "/sys" and "/dev",
 * or what a test put in their place. 0, or -errno and what to do. */
int dpdk_pci_check(const char *sys, const char *dev, const char *address, char err[PORT_ERROR_MAX]);

#endif
