/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame by reference is two mbufs: one of the packet pool with the headers, and one without room
 * of its own that is attached to the bytes. What DPDK wants to share about an attached buffer lies
 * in the private area of that mbuf, so nothing is allocated on the way.
 */
#include <errno.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "dataplane/base/check.h"
#include "dataplane/port/ethdev_ext.h"

enum { EXT_CACHE = 32 };

/* Drivers whose tx_burst copies every segment before it returns (rule 2 of port.h), by their
 * sources. A driver that is not here may do so too; it is asked nothing that it has not promised.
 */
static const char *const copying[] = {"net_af_packet", "net_memif"};

enum port_ext eth_ext_of(const struct rte_eth_dev_info *info)
{
    if ((info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) == 0)
        return PORT_EXT_SEGMENTS;
    for (size_t i = 0; i < sizeof(copying) / sizeof(copying[0]); i++)
        if (info->driver_name != NULL && strcmp(info->driver_name, copying[i]) == 0)
            return PORT_EXT_TAKEN;
    return PORT_EXT_DRIVER;
}

int eth_ext_open(struct eth_ext *x, const char *name, uint32_t frames)
{
    x->live = 0;
    x->pool = rte_pktmbuf_pool_create(
        name, frames + EXT_CACHE * 2, EXT_CACHE,
        RTE_ALIGN_CEIL(sizeof(struct rte_mbuf_ext_shared_info), RTE_MBUF_PRIV_ALIGN), 0,
        SOCKET_ID_ANY);
    return x->pool != NULL ? 0 : -rte_errno;
}

void eth_ext_close(struct eth_ext *x)
{
    rte_mempool_free(x->pool);
    x->pool = NULL;
}

/* Called by whoever frees the segment: the driver in tx_burst, or we. */
static void given_back(void *bytes, void *arg)
{
    struct eth_ext *x = arg;
    (void)bytes;
    x->live--;
}

bool eth_ext_append(struct eth_ext *x, struct rte_mbuf *frame, const uint8_t *bytes, uint32_t len)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(x->pool);
    if (m == NULL)
        return false;
    struct rte_mbuf_ext_shared_info *shared = rte_mbuf_to_priv(m);
    *shared = (struct rte_mbuf_ext_shared_info){.free_cb = given_back, .fcb_opaque = x};
    rte_mbuf_ext_refcnt_set(shared, 1);
    /* DPDK has no attachment for reading only; drivers that send do not write. */
    rte_pktmbuf_attach_extbuf(m, (void *)(uintptr_t)bytes, RTE_BAD_IOVA, (uint16_t)len, shared);
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    frame->next = m;
    frame->nb_segs = 2;
    frame->pkt_len = frame->data_len + len;
    x->live++;
    return true;
}

static bool points_into(const struct rte_mbuf *frame, const uint8_t *bytes, size_t len)
{
    if (frame->nb_segs != 2)
        return false;
    const uint8_t *ext = rte_pktmbuf_mtod(frame->next, const uint8_t *);
    return ext < bytes + len && bytes < ext + frame->next->data_len;
}

/* The bytes go behind the headers: mbufs of the packet pool have room for a whole frame. */
static void take_in(struct rte_mbuf *frame)
{
    struct rte_mbuf *ext = frame->next;
    uint16_t len = ext->data_len;
    PANDO_CHECK(rte_pktmbuf_tailroom(frame) >= len);
    memcpy(rte_pktmbuf_mtod_offset(frame, uint8_t *, frame->data_len),
           rte_pktmbuf_mtod(ext, const uint8_t *), len);
    frame->data_len = (uint16_t)(frame->data_len + len);
    frame->next = NULL;
    frame->nb_segs = 1;
    rte_pktmbuf_free_seg(ext);
}

void eth_ext_settle(struct rte_mbuf *const *queue, uint32_t n, const uint8_t *bytes, size_t len,
                    struct port_counters *count)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!points_into(queue[i], bytes, len))
            continue;
        count->ext_settled++;
        count->tx_copied_bytes += queue[i]->next->data_len;
        take_in(queue[i]);
    }
}

uint32_t eth_ext_held(struct rte_mbuf *const *queue, uint32_t n)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < n; i++)
        held += queue[i]->nb_segs == 2;
    return held;
}
