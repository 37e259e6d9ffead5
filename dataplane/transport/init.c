/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/transport/internal.h"

static const char *const drop_names[RRDP_DROPS] = {
#define X(ID, name) name,
    RRDP_DROP_LIST(X)
#undef X
};

static size_t round64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static bool valid(const struct rrdp_config *c)
{
    return c->nodes >= 1 && c->nodes <= WIRE_NODES_MAX && c->self < c->nodes && c->epoch != 0 &&
           c->mtu >= RRDP_MTU_MIN && c->mtu <= RRDP_MTU_MAX && c->credit >= 1 &&
           c->credit <= RRDP_WINDOW && c->rto_min_ns > 0 && c->rto_min_ns <= c->rto_max_ns &&
           c->rto_max_ns < UINT64_C(1) << 40 && c->ack_delay_ns < c->rto_min_ns &&
           c->heartbeat_ns > 0 && c->dead_ns > c->heartbeat_ns && c->dead_ns < UINT64_C(1) << 60 &&
           c->group_min != 1 && c->group_min <= WIRE_NODES_MAX && c->syn_ns > 0 &&
           c->syn_ns < UINT64_C(1) << 60;
}

static uint32_t event_count(const struct rrdp_config *c)
{
    uint32_t want = (uint32_t)c->nodes * (WIRE_CLASSES * RRDP_QUEUE * 2 + RRDP_EVENTS_SPARE);
    uint32_t n = 1;
    while (n < want)
        n *= 2; /* a power of two: the free-running indices wrap at 2^32 */
    return n;
}

static size_t slot_bytes(const struct rrdp_config *c)
{
    return (size_t)RRDP_WINDOW * (URGENT_SLOT + (WIRE_CLASSES - 1) * round64(c->mtu));
}

size_t rrdp_size(const struct rrdp_config *c)
{
    if (!valid(c))
        return 0;
    return round64(sizeof(struct rrdp)) + round64(c->nodes * sizeof(struct peer)) +
           round64(event_count(c) * sizeof(struct rrdp_event)) +
           (size_t)(c->nodes - 1) * slot_bytes(c);
}

struct rrdp *rrdp_init(void *mem, const struct rrdp_config *c, uint64_t now)
{
    if (!valid(c))
        return NULL;
    uint8_t *at = mem;
    struct rrdp *r = mem;
    *r = (struct rrdp){.cfg = *c, .event_size = event_count(c)};
    at += round64(sizeof(struct rrdp));
    r->peer = (void *)at;
    memset(r->peer, 0, c->nodes * sizeof(struct peer));
    at += round64(c->nodes * sizeof(struct peer));
    r->event = (void *)at;
    at += round64(r->event_size * sizeof(struct rrdp_event));
    for (uint8_t n = 0; n < c->nodes; n++) {
        struct peer *p = &r->peer[n];
        p->id = n;
        p->mtu = p->mtu_most = c->mtu;
        p->own_epoch = c->epoch;
        p->syn_at = now;
        if (n == c->self)
            continue;
        for (unsigned k = 0; k < WIRE_CLASSES; k++) {
            struct stream *s = &p->stream[k];
            s->slot_size = k == WIRE_CLASS_URGENT ? URGENT_SLOT : (uint32_t)round64(c->mtu);
            s->slot = at;
            at += (size_t)RRDP_WINDOW * s->slot_size;
        }
        setup_reset_streams(r, p);
    }
    return r;
}

/* Tells a peer, after what is queued (closed) or at once, that the connection ends. */
static void end_connections(struct rrdp *r, bool closed)
{
    for (uint8_t n = 0; n < r->cfg.nodes; n++) {
        struct peer *p = &r->peer[n];
        if (n == r->cfg.self || p->state != PEER_UP)
            continue;
        p->rst_left = RST_COPIES;
        p->rst_closed = closed;
        p->rst_tag = p->tag;
        r->control |= bit64(n);
    }
}

void rrdp_close(struct rrdp *r, uint64_t now)
{
    (void)now;
    r->closing = true;
    end_connections(r, true);
}

void rrdp_reset(struct rrdp *r)
{
    end_connections(r, false);
}

bool rrdp_idle(const struct rrdp *r)
{
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        for (unsigned k = 0; k < WIRE_CLASSES; k++)
            if (r->peer[n].stream[k].q_tail != r->peer[n].stream[k].q_head)
                return false;
    return true;
}

bool rrdp_peer_up(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes && r->peer[peer].state == PEER_UP;
}

struct rrdp_mac rrdp_peer_mac(const struct rrdp *r, uint8_t peer)
{
    return r->peer[peer].mac;
}

uint64_t rrdp_peer_last_rx(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes ? r->peer[peer].last_rx : 0;
}

uint64_t rrdp_peer_epoch(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes ? r->peer[peer].epoch : 0;
}

uint16_t rrdp_peer_mtu(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes ? r->peer[peer].mtu : 0;
}

uint64_t rrdp_peer_rtt_ns(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes ? r->peer[peer].srtt : 0;
}

const struct rrdp_counters *rrdp_counters(const struct rrdp *r, uint8_t peer)
{
    PANDO_CHECK(peer < r->cfg.nodes);
    return &r->peer[peer].counters;
}

const char *rrdp_drop_name(enum rrdp_drop d)
{
    return (unsigned)d < RRDP_DROPS ? drop_names[d] : "?";
}
