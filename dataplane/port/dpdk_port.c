/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/port/dpdk.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/ethdev_device.h"

enum { LOOK_MS = 10 };

static bool link_is_up(uint16_t id)
{
    struct rte_eth_link link = {0};
    return rte_eth_link_get_nowait(id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static void wait_for_link(uint16_t id)
{
    const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
    for (unsigned i = 0; i < PORT_DPDK_LINK_MS / LOOK_MS && !link_is_up(id); i++)
        nanosleep(&look, NULL);
}

/* The kernel's interface of the device, where it has one, answers for the next hops. */
static int resolve(struct port *p, const struct port_dpdk *cfg, uint16_t id,
                   char err[PORT_ERROR_MAX])
{
    struct rte_eth_dev_info info = {0};
    char interface[IF_NAMESIZE];
    if (cfg->link == NULL || cfg->link->kind == LINK_ETHERNET)
        return 0;
    int rc = rte_eth_dev_info_get(id, &info);
    if (rc == 0 && info.if_index > 0 && if_indextoname(info.if_index, interface) != NULL)
        return ethdev_resolve_over(p, interface, err);
    snprintf(err, PORT_ERROR_MAX,
             "device %s has no interface of the kernel's (driver %s), and nobody else finds next "
             "hops for UDP: fabric.encapsulation: ethernet",
             cfg->device, info.driver_name != NULL ? info.driver_name : "?");
    return -EOPNOTSUPP;
}

int port_open_dpdk(const struct port_dpdk *cfg, struct port **ret_port, char err[PORT_ERROR_MAX])
{
    uint32_t headers = cfg->link != NULL ? link_ip_bytes(cfg->link->kind) : 0;
    struct ethdev_wish wish = {
        .bus = cfg->pci ? "pci" : "vdev",
        .rx_queues = cfg->queues,
        .mtu = (uint16_t)(cfg->mtu + headers),
        .headers = (uint16_t)headers,
    };
    struct ethdev_info info;
    struct port *p;
    int rc = cfg->pci ? dpdk_pci_check("/sys", "/dev", cfg->device, err) : 0;
    if (rc == 0 && (cfg->queues == 0 || cfg->queues > ETH_QUEUES)) {
        snprintf(err, PORT_ERROR_MAX, "dpdk fabric: %u receive queues; allowed: 1..%d", cfg->queues,
                 ETH_QUEUES);
        rc = -EINVAL;
    }
    if (rc == 0)
        rc =
            ethdev_open(&wish, &cfg->device, 1, NULL, cfg->link, cfg->ethertype, cfg->mtu, &p, err);
    if (rc != 0)
        return rc;
    snprintf(p->name, sizeof(p->name), "dpdk");
    rc = ethdev_info(p, &info);
    if (rc == 0)
        rc = resolve(p, cfg, info.id, err);
    if (rc != 0) {
        port_close(p);
        return rc;
    }
    wait_for_link(info.id);
    *ret_port = p;
    return 0;
}

void port_dpdk_text(const struct port *p, char *out, size_t size)
{
    struct ethdev_info info;
    struct rte_eth_dev_info dev = {0};
    if (ethdev_info(port_below(p), &info) != 0 || rte_eth_dev_info_get(info.id, &dev) != 0)
        snprintf(out, size, "?");
    else
        snprintf(
            out, size, "%s, %u receive queue%s%s", dev.driver_name != NULL ? dev.driver_name : "?",
            info.rx_queues, info.rx_queues == 1 ? "" : "s",
            link_is_up(info.id) ? ""
                                : "; the link is down: is the cable in, has the peer started?");
}

const char *port_dpdk_join_group(struct port *p, const struct rrdp_mac *group)
{
    struct ethdev_info info;
    struct rte_ether_addr a;
    if (ethdev_info(p, &info) != 0)
        return NULL;
    memcpy(a.addr_bytes, group->addr, sizeof(a.addr_bytes));
    if (rte_eth_dev_set_mc_addr_list(info.id, &a, 1) == 0)
        return "by its filter";
    if (rte_eth_allmulticast_enable(info.id) == 0)
        return "as all group frames";
    return rte_eth_promiscuous_enable(info.id) == 0 ? "as all frames" : NULL;
}
