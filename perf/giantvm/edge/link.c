/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine calls of rrdp.h, over TCP: nothing is lost, repeated or acknowledged here, and a
 * peer is lost when its connection is. A node that stands still is not noticed.
 */
#include <errno.h>

#include "dataplane/base/check.h"
#include "perf/giantvm/edge/tcp.h"

size_t rrdp_size(const struct rrdp_config *cfg)
{
    return cfg->nodes >= 1 && cfg->nodes <= FRAME_NODES_MAX && cfg->self < cfg->nodes
               ? sizeof(struct rrdp)
               : 0;
}

struct rrdp *rrdp_init(void *mem, const struct rrdp_config *cfg, uint64_t now)
{
    struct rrdp *r = mem;
    (void)now;
    *r = (struct rrdp){.cfg = *cfg};
    return r;
}

static void push(struct rrdp *r, struct rrdp_event ev)
{
    if (r->head - r->tail < TCP_EVENTS) /* of each peer a few, ever */
        r->event[r->head++ % TCP_EVENTS] = ev;
}

void link_up(struct rrdp *r, uint8_t peer)
{
    r->up[peer] = true;
    push(r, (struct rrdp_event){.type = RRDP_EV_UP, .peer = peer, .value = 1});
}

void link_down(struct rrdp *r, uint8_t peer, enum rrdp_down why)
{
    if (!r->up[peer])
        return;
    r->up[peer] = false;
    push(r, (struct rrdp_event){.type = RRDP_EV_DOWN, .peer = peer, .value = why});
}

void link_refused(struct rrdp *r, uint8_t peer, enum rrdp_refusal why)
{
    push(r, (struct rrdp_event){.type = RRDP_EV_REFUSED, .peer = peer, .value = why});
}

bool rrdp_event(struct rrdp *r, struct rrdp_event *out)
{
    if (r->head == r->tail)
        return false;
    *out = r->event[r->tail++ % TCP_EVENTS];
    return true;
}

/* transmit_frames says it to the peers. */
void rrdp_close(struct rrdp *r, uint64_t now)
{
    (void)now;
    r->end = FRAME_BYE;
}

void rrdp_reset(struct rrdp *r)
{
    r->end = FRAME_STOP;
}

void rrdp_gone(struct rrdp *r, uint8_t peer)
{
    link_down(r, peer, RRDP_DOWN_GONE);
}

bool rrdp_peer_up(const struct rrdp *r, uint8_t peer)
{
    return peer < FRAME_NODES_MAX && r->up[peer];
}

/* No time-outs: nothing is ever due, and no peer has been silent for too long. */
uint64_t rrdp_deadline(const struct rrdp *r)
{
    (void)r;
    return UINT64_MAX;
}

void rrdp_tick(struct rrdp *r, uint64_t now)
{
    (void)r;
    (void)now;
}

void rrdp_stalled(struct rrdp *r, uint64_t ns)
{
    (void)r;
    (void)ns;
}

uint64_t rrdp_peer_last_rx(const struct rrdp *r, uint8_t peer)
{
    (void)r;
    (void)peer;
    return UINT64_MAX / 2;
}

int rrdp_host_ping(struct rrdp *r, uint8_t peer, uint32_t id, uint32_t stamp)
{
    (void)r;
    (void)peer;
    (void)id;
    (void)stamp;
    return -EOPNOTSUPP;
}

/* Bytes of a page are with the kernel, or copied, when transmit_message returns. */
uint32_t rrdp_rebind(struct rrdp *r, uint64_t from, uint64_t to)
{
    (void)r;
    (void)from;
    (void)to;
    return 0;
}

/* Linked for the AF_XDP port, which the summary asks for its counters and nobody opens here. */
uint32_t rrdp_cluster_tag(uint64_t cluster_id)
{
    return (uint32_t)(cluster_id ^ cluster_id >> 32);
}

struct rrdp_mac rrdp_peer_mac(const struct rrdp *r, uint8_t peer)
{
    (void)r;
    (void)peer;
    return (struct rrdp_mac){{0}};
}

uint16_t rrdp_peer_mtu(const struct rrdp *r, uint8_t peer)
{
    (void)peer;
    return r->cfg.mtu;
}

uint32_t rrdp_peer_window(const struct rrdp *r, uint8_t peer)
{
    (void)r;
    (void)peer;
    return 0;
}

uint64_t rrdp_peer_rtt_ns(const struct rrdp *r, uint8_t peer)
{
    (void)r;
    (void)peer;
    return 0;
}

const struct rrdp_counters *rrdp_counters(const struct rrdp *r, uint8_t peer)
{
    PANDO_CHECK(peer < WIRE_NODES_MAX);
    return &r->count[peer];
}

const char *rrdp_drop_name(enum rrdp_drop d)
{
    static const char *const names[RRDP_DROPS] = {
#define X(ID, name) name,
        RRDP_DROP_LIST(X)
#undef X
    };
    return (unsigned)d < RRDP_DROPS ? names[d] : "?";
}
