/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Set-up and teardown. The segment bytes of a SYN, little-endian:
 *   0 revision 2 | 2 nodes 1 | 3 credit 1 | 4 mtu 2 | 6 reserved 2 | 8 cluster id 8 | 16 epoch 8 |
 *  24 echoed epoch of the receiver 8 (0: not known) | 32 configuration hash 8 | 40 reserved 8
 */
#include "dataplane/transport/internal.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint32_t cluster_tag(const struct rrdp *r)
{
    return (uint32_t)mix(r->cfg.cluster_id);
}

static uint32_t connection_tag(const struct rrdp *r, const struct peer *p)
{
    bool low = r->cfg.self < p->id;
    uint64_t a = low ? r->cfg.epoch : p->epoch, b = low ? p->epoch : r->cfg.epoch;
    return (uint32_t)mix(mix(r->cfg.cluster_id ^ mix(a)) ^ mix(b + 1));
}

uint64_t setup_first_seq(const struct peer *p, uint8_t from, unsigned cls)
{
    return UINT64_C(0x100000000) + (uint32_t)mix((uint64_t)p->tag << 16 | (unsigned)from << 4 | cls);
}

void setup_reset_streams(struct rrdp *r, struct peer *p)
{
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        struct stream *s = &p->stream[k];
        s->snd_una = s->snd_nxt = setup_first_seq(p, r->cfg.self, k);
        s->rcv_nxt = setup_first_seq(p, p->id, k);
        s->tx_order = s->acked_order = s->acked_sent_at = 0;
        s->q_tail = s->q_cut = s->q_head = 0;
        s->lost_count = 0;
        s->backoff = 0;
        s->stalled = s->in_message = false;
        s->parked = 0;
        s->ack_due = NO_TIME;
        s->rx_offset = 0;
        s->unacked = 0;
    }
}

static void syn_pack(const struct rrdp *r, const struct peer *p, uint8_t out[SYN_BYTES])
{
    memset(out, 0, SYN_BYTES);
    put_le16(out, WIRE_REVISION);
    out[2] = r->cfg.nodes;
    out[3] = r->cfg.credit;
    put_le16(out + 4, r->cfg.mtu);
    put_le64(out + 8, r->cfg.cluster_id);
    put_le64(out + 16, r->cfg.epoch);
    put_le64(out + 24, p->epoch);
    put_le64(out + 32, r->cfg.config_hash);
}

/* The SYN's bytes travel in the header buffer's neighbour: inline data of a scratch message. */
void setup_build(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out)
{
    struct message *scratch = &p->stream[WIRE_CLASS_URGENT].queue[RRDP_QUEUE - 1];
    PANDO_CHECK(p->state != PEER_UP); /* nothing is queued then: the scratch message is free */
    syn_pack(r, p, scratch->inline_data);
    struct wire_rrdp h = {.syn = true, .ack_valid = p->epoch != 0, .src = r->cfg.self, .dst = p->id,
                          .credit = r->cfg.credit, .cluster_tag = (uint8_t)r->cfg.cluster_id,
                          .data_len = SYN_BYTES, .first = true, .last = true, .tag = cluster_tag(r)};
    *out = (struct rrdp_frame){.peer = p->id, .mac_known = p->mac_known, .mac = p->mac,
                               .inline_data = scratch->inline_data, .inline_len = SYN_BYTES};
    out->header_len = (uint8_t)wire_rrdp_pack(&h, out->header);
    p->syn_now = false;
    p->syn_at = now + r->cfg.syn_ns;
    p->counters.syn_frames++;
}

void setup_up(struct rrdp *r, struct peer *p, uint64_t now)
{
    if (p->state == PEER_UP)
        return;
    p->state = PEER_UP;
    p->nul_now = true; /* tells the peer, with the tag, that we know it */
    p->last_rx = now;
    p->srtt = p->rttvar = 0;
    p->rto = r->cfg.rto_min_ns * 4 < r->cfg.rto_max_ns ? r->cfg.rto_min_ns * 4 : r->cfg.rto_max_ns;
    push_event(r, RRDP_EV_UP, p->id, p->epoch);
}

void setup_down(struct rrdp *r, struct peer *p, enum rrdp_down why)
{
    bool was_up = p->state == PEER_UP;
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        struct stream *s = &p->stream[k];
        for (; s->q_tail != s->q_head; s->q_tail++)
            if (s->queue[s->q_tail % RRDP_QUEUE].want_sent)
                push_event(r, RRDP_EV_SENT, p->id, s->queue[s->q_tail % RRDP_QUEUE].cookie);
    }
    p->state = PEER_OPENING;
    p->nul_now = false;
    setup_reset_streams(r, p);
    if (was_up)
        push_event(r, RRDP_EV_DOWN, p->id, why);
}

static bool refuse(struct rrdp *r, struct peer *p, uint64_t now, enum rrdp_refusal why)
{
    drop(p, RRDP_DROP_REFUSED);
    if (p->refused_at == 0 || now - p->refused_at >= UINT64_C(1000000000)) {
        p->refused_at = now;
        push_event(r, RRDP_EV_REFUSED, p->id, why);
    }
    return false;
}

static bool acceptable(struct rrdp *r, struct peer *p, uint64_t now, const struct rrdp_syn *s)
{
    if (s->cluster_id != r->cfg.cluster_id) {
        drop(p, RRDP_DROP_CLUSTER);
        return false;
    }
    if (s->revision != WIRE_REVISION)
        return refuse(r, p, now, RRDP_REFUSE_REVISION);
    if (s->nodes != r->cfg.nodes)
        return refuse(r, p, now, RRDP_REFUSE_NODES);
    if (s->config_hash != r->cfg.config_hash)
        return refuse(r, p, now, RRDP_REFUSE_CONFIG);
    if (s->epoch == 0 || s->mtu < RRDP_MTU_MIN || s->mtu > RRDP_MTU_MAX || s->credit < 1 ||
        s->credit > RRDP_WINDOW) {
        drop(p, RRDP_DROP_RANGE);
        return false;
    }
    return true;
}

static struct rrdp_syn syn_unpack(const uint8_t *in, bool ack)
{
    return (struct rrdp_syn){.revision = get_le16(in), .nodes = in[2], .credit = in[3], .mtu = get_le16(in + 4),
                             .ack = ack, .cluster_id = get_le64(in + 8), .epoch = get_le64(in + 16),
                             .echo_epoch = get_le64(in + 24), .config_hash = get_le64(in + 32)};
}

static void adopt(struct rrdp *r, struct peer *p, const struct rrdp_syn *s, struct rrdp_mac mac)
{
    p->epoch = s->epoch;
    p->mac = mac;
    p->mac_known = true;
    p->mtu = s->mtu < r->cfg.mtu ? s->mtu : r->cfg.mtu;
    p->tag = connection_tag(r, p);
    p->state = PEER_HALF_OPEN;
    setup_reset_streams(r, p);
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        p->stream[k].snd_limit = p->stream[k].snd_una + s->credit;
}

void setup_receive(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data,
                   struct rrdp_mac mac)
{
    struct peer *p = &r->peer[h->src];
    if (h->data_len != SYN_BYTES) {
        drop(p, RRDP_DROP_LENGTH);
        return;
    }
    struct rrdp_syn s = syn_unpack(data, h->ack_valid);
    if (!acceptable(r, p, now, &s))
        return;
    if (s.epoch < p->epoch) {
        drop(p, RRDP_DROP_EPOCH);
        return;
    }
    if (s.epoch > p->epoch || p->state == PEER_OPENING) {
        if (p->state == PEER_UP)
            setup_down(r, p, RRDP_DOWN_RESTARTED);
        adopt(r, p, &s, mac);
        p->syn_now = true;
    } else if (memcmp(&p->mac, &mac, sizeof(mac)) != 0) {
        drop(p, RRDP_DROP_MAC_MOVED);
        return;
    }
    p->last_rx = now;
    if (s.echo_epoch == r->cfg.epoch)
        setup_up(r, p, now);
    /* The peer still repeats its SYN: it has not heard from us that we know it. */
    if (p->state == PEER_UP)
        p->nul_now = true;
    else
        p->syn_now = true;
}
