/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API /* rte_flow_info_get, rte_flow_configure */
#include "dataplane/port/ethdev_device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/ethdev_ext.h"

int ethdev_attach(const struct ethdev_wish *w, const char *args,
                  char ret_name[RTE_DEV_NAME_MAX_LEN], uint16_t *ret_id, char err[PORT_ERROR_MAX])
{
    const char *comma = strchr(args, ',');
    size_t len = comma != NULL ? (size_t)(comma - args) : strlen(args);
    if (len >= RTE_DEV_NAME_MAX_LEN) {
        snprintf(err, PORT_ERROR_MAX, "device %.100s: its name may have %d bytes", args,
                 RTE_DEV_NAME_MAX_LEN - 1);
        return -EINVAL;
    }
    memcpy(ret_name, args, len);
    ret_name[len] = '\0';
    if (rte_eth_dev_get_port_by_name(ret_name, ret_id) == 0)
        return 0;
    int rc = rte_eal_hotplug_add(w->bus, ret_name, comma != NULL ? comma + 1 : "");
    if (rc == 0)
        rc = rte_eth_dev_get_port_by_name(ret_name, ret_id);
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX,
                 "device %s: DPDK cannot make it (%s): no driver of this DPDK knows it (packages "
                 "librte-net-*), or its driver refused; DPDK's own message is above",
                 args, strerror(-rc));
    return rc;
}

/* net_tap of DPDK 22.11 has sixteen queues, and writes the descriptors of all of them, both ways,
 * into an array of eight (tap_mp_req_on_rxtx): past its end with more than four pairs. */
static uint16_t most_queues(const struct rte_eth_dev_info *info)
{
    bool tap = info->driver_name != NULL && strcmp(info->driver_name, "net_tap") == 0;
    uint16_t most =
        info->max_rx_queues < info->max_tx_queues ? info->max_rx_queues : info->max_tx_queues;
    return tap && most > RTE_MP_MAX_FD_NUM / 2 ? RTE_MP_MAX_FD_NUM / 2 : most;
}

/* Without a choice by the device: a rule, or nothing, decides about the queue. */
static int configure(const struct ethdev_wish *w, uint16_t id, const struct rte_eth_dev_info *info,
                     uint64_t tx_offloads, uint16_t *queues)
{
    struct rte_eth_conf conf = {.rxmode.mtu = w->mtu, .txmode.offloads = tx_offloads};
    /* As many to send on, though one is used: some drivers have queues in pairs only. */
    if (*queues > most_queues(info))
        *queues = most_queues(info);
    return rte_eth_dev_configure(id, *queues, *queues, &conf);
}

static int check_mtu(const struct ethdev_wish *w, const char *args, uint16_t id, uint16_t most,
                     char err[PORT_ERROR_MAX])
{
    uint16_t mtu = 0;
    int rc = w->mtu <= most ? rte_eth_dev_set_mtu(id, w->mtu) : -EINVAL;
    if ((rc == 0 || rc == -ENOTSUP) && rte_eth_dev_get_mtu(id, &mtu) == 0 && mtu >= w->mtu)
        return 0;
    snprintf(err, PORT_ERROR_MAX,
             "device %s does not carry %u bytes: fabric.mtu is %u and headers have %u; it says %u "
             "at most: lower fabric.mtu",
             args, w->mtu, w->mtu - w->headers, w->headers, most);
    return -EMSGSIZE;
}

static int queues_of(uint16_t id, uint16_t queues, struct rte_mempool *pool)
{
    uint16_t rx = ETH_RING, tx = ETH_RING;
    int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx, &tx);
    for (uint16_t q = 0; q < queues && rc == 0; q++) {
        rc = rte_eth_rx_queue_setup(id, q, rx, SOCKET_ID_ANY, NULL, pool);
        if (rc == 0)
            rc = rte_eth_tx_queue_setup(id, q, tx, SOCKET_ID_ANY, NULL);
    }
    return rc;
}

int ethdev_set_up(const struct ethdev_wish *w, const char *args, uint16_t id,
                  struct rte_mempool *pool, uint16_t *ret_rx_queues, enum port_ext *ret_ext,
                  char err[PORT_ERROR_MAX])
{
    struct rte_eth_dev_info info = {0};
    uint16_t queues = w->rx_queues;
    int rc = rte_eth_dev_info_get(id, &info);
    if (rc == 0 && w->mtu > info.max_mtu)
        return check_mtu(w, args, id, info.max_mtu, err);
    enum port_ext ext = rc == 0 ? eth_ext_of(&info) : PORT_EXT_DRIVER;
    uint64_t tx_offloads = ext == PORT_EXT_TAKEN ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0;
    if (rc == 0)
        rc = configure(w, id, &info, tx_offloads, &queues);
    if (rc == 0 && w->mtu != 0 && check_mtu(w, args, id, info.max_mtu, err) != 0)
        return -EMSGSIZE;
    if (rc == 0)
        rc = queues_of(id, queues, pool);
    if (rc != 0) {
        snprintf(err, PORT_ERROR_MAX,
                 "device %s cannot be set up with %u queues: %s; DPDK's own message is above", args,
                 queues, strerror(-rc));
        return rc;
    }
    *ret_rx_queues = queues;
    *ret_ext = ext;
    return 0;
}

void ethdev_flow_queue(uint16_t id, struct ethdev_flow *ret_flow)
{
    struct rte_flow_port_info port = {0};
    struct rte_flow_queue_info queue = {0};
    struct rte_flow_error e = {0};
    struct rte_flow_queue_attr attr;
    const struct rte_flow_queue_attr *attrs[] = {&attr};
    *ret_flow = (struct ethdev_flow){0};
    int rc = rte_flow_info_get(id, &port, &queue, &e);
    if (rc == 0 && port.max_nb_queues > 0 && queue.max_size > 0) {
        struct rte_flow_port_attr want = {
            .nb_counters = (uint32_t)min_u64(port.max_nb_counters, ETH_FLOW_COUNTERS)};
        attr.size = (uint32_t)min_u64(queue.max_size, ETH_FLOW_QUEUE);
        rc = rte_flow_configure(id, &want, 1, attrs, &e);
        ret_flow->queue = rc == 0 ? attr.size : 0;
    }
    if (ret_flow->queue == 0)
        snprintf(ret_flow->why, sizeof(ret_flow->why), "%s",
                 rc == 0             ? "the device has no flow queues"
                 : e.message != NULL ? e.message
                                     : strerror(-rc));
}

void ethdev_detach(const char *bus, const char *name, uint16_t id)
{
    rte_eth_dev_close(id);
    rte_eal_hotplug_remove(bus, name); /* also removes the socket of a memif server */
}
