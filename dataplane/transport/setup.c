/* SPDX-License-Identifier: BSD-3-Clause */
/* Set-up and teardown; the layout of a SYN is in rrdp.h. */
#include "dataplane/transport/internal.h"

enum {
    SYN_REVISION = 0,
    SYN_NODES = 2,
    SYN_CREDIT = 3,
    SYN_MTU = 4,
    SYN_HEARD = 6,
    SYN_CLUSTER = 8,
    SYN_EPOCH = 16,
    SYN_ECHO = 24,
    SYN_CONFIG = 32,
};

#define SECOND UINT64_C(1000000000)

/* Our epoch towards a peer grows by one with each connection given up: this many are surely ours.
 */
#define OWN_EPOCHS (UINT64_C(1) << 20)

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint32_t rrdp_cluster_tag(uint64_t cluster_id)
{
    return (uint32_t)mix(cluster_id);
}

uint32_t setup_cluster_tag(const struct rrdp *r)
{
    return rrdp_cluster_tag(r->cfg.cluster_id);
}

static uint32_t connection_tag(const struct rrdp *r, const struct peer *p)
{
    bool low = r->cfg.self < p->id;
    uint64_t a = low ? p->own_epoch : p->epoch, b = low ? p->epoch : p->own_epoch;
    return (uint32_t)mix(mix(r->cfg.cluster_id ^ mix(a)) ^ mix(b + 1));
}

/* Both sides compute the same. Shortly before the 32 bits on the wire wrap, so that each connection
 * that does some work wraps: an event once in 2^32 frames would never be seen in a test. */
static uint64_t first_seq(const struct peer *p, uint8_t from, unsigned cls)
{
    uint64_t h = mix((uint64_t)p->tag << 16 | (unsigned)from << 4 | cls);
    return (UINT64_C(1) << 32) - h % SEQ_BEFORE_WRAP;
}

void setup_reset_streams(struct rrdp *r, struct peer *p)
{
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        struct stream *s = &p->stream[k];
        s->snd_una = s->snd_nxt = first_seq(p, r->cfg.self, k);
        s->snd_limit = s->snd_una + p->credit;
        s->rcv_nxt = first_seq(p, p->id, k);
        s->tx_order = s->acked_order = 0;
        s->q_tail = s->q_cut = s->q_head = 0;
        s->lost_count = s->acked_count = 0;
        s->backoff = 0;
        s->stalled = s->probed = s->in_message = false;
        s->parked = 0;
        s->rx_offset = 0;
        s->unacked = 0;
        memset(s->slot_parts, 0, sizeof(s->slot_parts));
        p->ack_due[k] = p->rto_at[k] = p->rack_at[k] = p->probe_at[k] = NO_TIME;
        r->ready[k] &= ~bit64(p->id);
    }
    pace_reset(p);
    p->mtu_heard = 0;
    p->mtu_at = NO_TIME;
    p->mtu_now = p->mtu_begins = false;
    p->group_lost = 0;
    p->group_rest = 0;
}

/* ---- the SYN ------------------------------------------------------------------------------- */

static struct rrdp_syn syn_unpack(const uint8_t *in)
{
    return (struct rrdp_syn){
        .revision = get_le16(in + SYN_REVISION),
        .nodes = in[SYN_NODES],
        .credit = in[SYN_CREDIT],
        .mtu = get_le16(in + SYN_MTU),
        .heard = get_le16(in + SYN_HEARD),
        .cluster_id = get_le64(in + SYN_CLUSTER),
        .epoch = get_le64(in + SYN_EPOCH),
        .echo_epoch = get_le64(in + SYN_ECHO),
        .config_hash = get_le64(in + SYN_CONFIG),
    };
}

void setup_build(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out)
{
    uint8_t *syn = p->syn;
    memset(syn, 0, RRDP_SYN_BYTES);
    put_le16(syn + SYN_REVISION, WIRE_REVISION);
    syn[SYN_NODES] = r->cfg.nodes;
    syn[SYN_CREDIT] = r->cfg.credit;
    put_le16(syn + SYN_MTU, r->cfg.mtu);
    put_le16(syn + SYN_HEARD, p->mtu_heard);
    put_le64(syn + SYN_CLUSTER, r->cfg.cluster_id);
    put_le64(syn + SYN_EPOCH, p->own_epoch);
    put_le64(syn + SYN_ECHO, p->epoch);
    put_le64(syn + SYN_CONFIG, r->cfg.config_hash);
    struct wire_rrdp h = {
        .syn = true,
        .ack_valid = p->epoch != 0,
        .first = true,
        .last = true,
        .src = r->cfg.self,
        .dst = p->id,
        .credit = r->cfg.credit,
        .cluster_tag = (uint8_t)r->cfg.cluster_id,
        .data_len = RRDP_SYN_BYTES,
        .tag = setup_cluster_tag(r),
    };
    *out = (struct rrdp_frame){
        .peer = p->id,
        .mac_known = p->mac_known,
        .mac = p->mac,
        .inline_data = syn,
        .inline_len = RRDP_SYN_BYTES,
        .pad_to = p->mtu_now ? p->mtu_most : 0,
    };
    out->header_len = (uint8_t)wire_rrdp_pack(&h, out->header);
    p->syn_now = p->mtu_now = false;
    p->mtu_heard = 0; /* each question has one answer: what the path carried once says little */
    arm(r, &p->syn_at, now + r->cfg.syn_ns);
    p->counters.syn_frames++;
}

/* ---- changes of state ---------------------------------------------------------------------- */

void setup_up(struct rrdp *r, struct peer *p, uint64_t now)
{
    PANDO_CHECK(p->state == PEER_HALF_OPEN);
    p->state = PEER_UP;
    r->due = 0; /* other timers count now */
    p->syn_now = false;
    p->nul_now = true; /* tells the peer, with the tag, that we know it */
    r->control |= bit64(p->id);
    p->last_rx = p->last_tx = now;
    p->srtt = p->rttvar = p->rtt_min = 0;
    p->rto = min_u64(r->cfg.rto_min_ns * 4, r->cfg.rto_max_ns);
    if (r->closing) {
        p->rst_left = RST_COPIES;
        p->rst_closed = true;
        p->rst_tag = p->tag;
    }
    push_event(r, RRDP_EV_UP, p, p->epoch);
    mtu_start(p);
}

void setup_down(struct rrdp *r, struct peer *p, enum rrdp_down why)
{
    bool was_up = p->state == PEER_UP;
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        struct stream *s = &p->stream[k];
        for (; s->q_tail != s->q_head; s->q_tail++) {
            const struct message *m = &s->queue[s->q_tail % RRDP_QUEUE];
            if (!m->want_sent)
                continue;
            r->owed--;
            push_event(r, RRDP_EV_SENT, p, m->cookie);
        }
    }
    p->state = PEER_HALF_OPEN; /* all that its SYN said is still known */
    r->due = 0;                /* other timers count now */
    p->nul_now = false;
    if (why != RRDP_DOWN_RESTARTED || r->closing)
        p->own_epoch++; /* what comes next is a new connection for the peer, too */
    p->tag = connection_tag(r, p);
    setup_reset_streams(r, p);
    if (was_up)
        push_event(r, RRDP_EV_DOWN, p, why);
}

/* Down, and the peer is told so with the tag of the connection that it believes in. */
void setup_abort(struct rrdp *r, struct peer *p, enum rrdp_down why)
{
    p->rst_left = RST_COPIES;
    p->rst_closed = why == RRDP_DOWN_CLOSED;
    p->rst_tag = p->tag;
    r->control |= bit64(p->id);
    setup_down(r, p, why);
}

/* A peer that is connected is not ended by who uses its number, or its address, besides: if it was
 * replaced, it falls silent. */
static void refuse(struct rrdp *r, struct peer *p, uint64_t now, enum rrdp_refusal why)
{
    drop(p, RRDP_DROP_REFUSED);
    if (p->state == PEER_UP)
        return;
    if (p->refused_at == 0 || now - p->refused_at >= SECOND) {
        p->refused_at = now;
        push_event(r, RRDP_EV_REFUSED, p, why);
    }
}

/* A whole frame whose header has another version. What every version has in the same place: who
 * speaks to whom, the SYN flag and in a SYN the hash of the cluster (wire.h). No more is believed
 * of it, and nothing of a peer that is connected. */
void setup_other_version(struct rrdp *r, uint64_t now, const uint8_t *frame)
{
    struct wire_rrdp h;
    bool room = event_room(r) >= EVENTS_A_FRAME + EVENTS_A_PEER * (uint32_t)r->cfg.nodes;
    wire_rrdp_read_common(frame, &h);
    if (h.syn && h.dst == r->cfg.self && h.src < r->cfg.nodes && h.src != r->cfg.self &&
        h.tag == setup_cluster_tag(r) && room)
        refuse(r, &r->peer[h.src], now, RRDP_REFUSE_VERSION);
}

/* ---- received SYNs ------------------------------------------------------------------------- */

static bool acceptable(struct rrdp *r, struct peer *p, uint64_t now, const struct rrdp_syn *s)
{
    if (s->revision != WIRE_REVISION)
        refuse(r, p, now, RRDP_REFUSE_REVISION);
    else if (((s->config_hash ^ r->cfg.config_hash) & RRDP_HASH_ENDPOINT) != 0)
        refuse(r, p, now, RRDP_REFUSE_PURPOSE);
    else if (s->nodes != r->cfg.nodes)
        refuse(r, p, now, RRDP_REFUSE_NODES);
    else if (s->config_hash != r->cfg.config_hash)
        refuse(r, p, now, RRDP_REFUSE_CONFIG);
    else if (s->epoch == 0 || s->mtu < RRDP_MTU_MIN || s->mtu > RRDP_MTU_MAX ||
             s->heard > RRDP_MTU_MAX || s->credit < 1 || s->credit > RRDP_WINDOW)
        drop(p, RRDP_DROP_RANGE);
    else
        return true;
    return false;
}

static void adopt(struct rrdp *r, struct peer *p, const struct rrdp_syn *s, struct rrdp_mac mac)
{
    p->epoch = s->epoch;
    p->mac = mac;
    p->mac_known = true;
    p->mtu_most = s->mtu < r->cfg.mtu ? s->mtu : r->cfg.mtu;
    p->tag = connection_tag(r, p);
    p->state = PEER_HALF_OPEN;
    p->rst_left = 0; /* the old connection is over for the peer as well */
    p->credit = s->credit;
    setup_reset_streams(r, p);
}

static bool other_mac(const struct peer *p, const struct rrdp_mac *mac)
{
    return p->mac_known && memcmp(&p->mac, mac, sizeof(*mac)) != 0;
}

/* Length and cluster; on success *ret_syn is set. */
static bool syn_read(struct rrdp *r, struct peer *p, const struct wire_rrdp *h, const uint8_t *data,
                     struct rrdp_syn *ret_syn)
{
    if (h->data_len != RRDP_SYN_BYTES) {
        drop(p, RRDP_DROP_LENGTH);
        return false;
    }
    struct rrdp_syn s = syn_unpack(data);
    if (s.cluster_id != r->cfg.cluster_id || h->tag != setup_cluster_tag(r)) {
        drop(p, RRDP_DROP_CLUSTER);
        return false;
    }
    *ret_syn = s;
    return true;
}

void setup_receive(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data,
                   size_t len, struct rrdp_mac mac)
{
    struct peer *p = &r->peer[h->src];
    struct rrdp_syn s;
    if (!syn_read(r, p, h, data, &s))
        return;
    /* A stranger with a living peer's number does not push it aside, whatever his epoch: a node
     * that really moved is heard once the old one has been silent for dead_ns. */
    if (p->state == PEER_UP && other_mac(p, &mac)) {
        drop(p, RRDP_DROP_MAC_MOVED);
        return;
    }
    if (!acceptable(r, p, now, &s))
        return;
    if (s.epoch < p->epoch) {
        drop(p, RRDP_DROP_EPOCH);
        return;
    }
    if (s.epoch == p->epoch && other_mac(p, &mac)) {
        drop(p, RRDP_DROP_MAC_MOVED);
        return;
    }
    if (s.epoch > p->epoch && p->state == PEER_UP)
        setup_down(r, p, RRDP_DOWN_RESTARTED);
    if (r->closing && p->state != PEER_UP) {
        drop(p, RRDP_DROP_NO_CONNECTION);
        return;
    }
    if (s.epoch > p->epoch || p->state == PEER_OPENING)
        adopt(r, p, &s, mac);
    p->last_rx = now;
    if (p->state == PEER_HALF_OPEN && s.echo_epoch == p->own_epoch)
        setup_up(r, p, now);
    /* The peer still repeats its SYN: it has not heard from us that we know it. */
    if (p->state == PEER_UP)
        p->nul_now = true;
    else
        p->syn_now = true;
    mtu_receive(r, p, len, &s);
    r->control |= bit64(p->id);
}

/*
 * A frame of a connection that we do not have. The RFC's answer would be a RST; ours is a SYN,
 * which does more: with its epoch it proves itself, it ends the connection that the peer believes
 * in, and it opens the next one. At most two in syn_ns. Once closed, it is the closing RST again:
 * theirs were lost.
 */
void setup_stranger(struct rrdp *r, struct peer *p, uint64_t now, const struct wire_rrdp *h)
{
    drop(p, RRDP_DROP_NO_CONNECTION);
    if (r->closing) {
        if (h->tag == p->rst_tag && p->mac_known && !h->rst && p->rst_left == 0) {
            p->rst_left = 1;
            r->control |= bit64(p->id);
        }
    } else if (!h->rst && now + r->cfg.syn_ns / 2 >= p->syn_at) {
        p->syn_now = true;
        arm(r, &p->syn_at, now + r->cfg.syn_ns);
        r->control |= bit64(p->id);
    }
}

static bool any_peer_up(const struct rrdp *r)
{
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        if (r->peer[n].state == PEER_UP)
            return true;
    return false;
}

/* A SYN that carries our own node number: ours, sent back by the fabric, or of a second such node.
 */
void setup_own_number(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data)
{
    struct peer *self = &r->peer[r->cfg.self];
    struct rrdp_syn s;
    if (!syn_read(r, self, h, data, &s))
        return;
    if (s.epoch - r->cfg.epoch < OWN_EPOCHS)
        drop(self, RRDP_DROP_SELF);
    else if (any_peer_up(r)) /* a running node is not ended by a stranger */
        drop(self, RRDP_DROP_REFUSED);
    else
        refuse(r, self, now, RRDP_REFUSE_SAME_NODE);
}
