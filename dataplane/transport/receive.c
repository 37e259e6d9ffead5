/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiving side: validation, order, parking, delivery. */
#include "dataplane/transport/internal.h"

static enum rrdp_drop drop_of(enum wire_error e)
{
    switch (e) {
    case WIRE_E_SHORT:
        return RRDP_DROP_SHORT;
    case WIRE_E_LENGTH:
        return RRDP_DROP_LENGTH;
    case WIRE_E_VERSION:
        return RRDP_DROP_VERSION;
    case WIRE_E_RESERVED:
        return RRDP_DROP_RESERVED;
    case WIRE_E_CLUSTER:
        return RRDP_DROP_CLUSTER;
    case WIRE_E_CRC:
        return RRDP_DROP_CRC;
    default:
        return RRDP_DROP_RANGE;
    }
}

/* The segment bytes of a frame: len at data, then ext_len at ext. */
struct bytes {
    const uint8_t *data, *ext;
    uint32_t len, ext_len;
};

static void hand_up(const struct peer *p, unsigned cls, bool first, bool last, uint32_t offset,
                    const struct bytes *b, struct rrdp_segments *out)
{
    struct rrdp_segment s = {
        .peer = p->id,
        .cls = (uint8_t)cls,
        .first = first,
        .last = last && b->ext_len == 0,
        .offset = offset,
        .len = b->len,
        .data = b->data,
    };
    PANDO_CHECK(out->n + 2 <= RRDP_SEGMENTS_MAX);
    if (b->len > 0)
        out->seg[out->n++] = s;
    if (b->ext_len == 0)
        return;
    s.first = first && b->len == 0;
    s.last = last;
    s.placed = true;
    s.offset = offset + b->len;
    s.len = b->ext_len;
    s.data = b->ext;
    out->seg[out->n++] = s;
}

/* False: the peer broke the rules of segmentation. Nothing after this can be trusted. */
static bool deliver(struct peer *p, unsigned cls, bool first, bool last, const struct bytes *b,
                    struct rrdp_segments *out)
{
    struct stream *s = &p->stream[cls];
    uint32_t offset = first ? 0 : s->rx_offset, len = b->len + b->ext_len;
    if (first == s->in_message || offset + len > WIRE_MSG_MAX || (first && len < WIRE_MSG_HEADER))
        return false;
    hand_up(p, cls, first, last, offset, b, out);
    s->slot_parts[s->rcv_nxt % RRDP_WINDOW] = 0;
    s->in_message = !last;
    s->rx_offset = last ? 0 : offset + len;
    s->rcv_nxt++;
    if (last)
        p->counters.rx_messages[cls]++;
    return true;
}

static uint8_t *slot_of(const struct stream *s, uint64_t seq)
{
    return s->slot + seq % RRDP_WINDOW * s->slot_size;
}

static bool deliver_parked(struct peer *p, unsigned cls, struct rrdp_segments *out)
{
    struct stream *s = &p->stream[cls];
    /* Bit 0 of parked is the frame after the one just delivered. */
    for (;;) {
        bool next = s->parked & 1;
        s->parked >>= 1;
        if (!next)
            return true;
        uint32_t i = s->rcv_nxt % RRDP_WINDOW;
        struct bytes b = {.data = slot_of(s, s->rcv_nxt), .len = s->slot_len[i]};
        if (!deliver(p, cls, s->slot_flags[i] & 1, s->slot_flags[i] & 2, &b, out))
            return false;
    }
}

static uint8_t flags_of(const struct wire_rrdp *h)
{
    return (uint8_t)((h->first ? 1 : 0) | (h->last ? 2 : 0));
}

/* A part of a frame that is neither parked nor delivered: its slot is free for it. True: the frame
 * is whole now. */
static bool collect(struct peer *p, unsigned cls, uint64_t seq, const struct wire_rrdp *h,
                    const uint8_t *data)
{
    struct stream *s = &p->stream[cls];
    uint32_t i = seq % RRDP_WINDOW, left = h->part_of - h->part_at;
    uint8_t *have = &s->slot_parts[i], bit = (uint8_t)(1u << h->part_at / RRDP_PART);
    if (h->part_at % RRDP_PART != 0 || h->data_len != (left < RRDP_PART ? left : RRDP_PART) ||
        (*have != 0 && (s->slot_len[i] != h->part_of || s->slot_flags[i] != flags_of(h)))) {
        drop(p, RRDP_DROP_LENGTH);
        return false;
    }
    if (*have & bit) {
        drop(p, RRDP_DROP_DUPLICATE);
        return false;
    }
    memcpy(slot_of(s, seq) + h->part_at, data, h->data_len);
    s->slot_len[i] = h->part_of;
    s->slot_flags[i] = flags_of(h);
    *have |= bit;
    p->counters.ooo_copied_bytes += h->data_len;
    return *have == (1u << (h->part_of + RRDP_PART - 1u) / RRDP_PART) - 1;
}

/* b: of the frame, or in the slot already. */
static void park(struct peer *p, unsigned cls, uint64_t seq, const struct wire_rrdp *h,
                 const struct bytes *b)
{
    struct stream *s = &p->stream[cls];
    uint32_t i = seq % RRDP_WINDOW, len = b->len + b->ext_len;
    PANDO_CHECK(len <= s->slot_size);
    if (b->data != slot_of(s, seq)) {
        memcpy(slot_of(s, seq), b->data, b->len);
        if (b->ext_len > 0)
            memcpy(slot_of(s, seq) + b->len, b->ext, b->ext_len);
        p->counters.ooo_copied_bytes += len;
    }
    s->slot_len[i] = (uint16_t)len;
    s->slot_flags[i] = flags_of(h);
    s->slot_parts[i] = 0;
    s->parked |= bit64((unsigned)(seq - s->rcv_nxt - 1));
    p->counters.out_of_order++;
}

static void ack_now(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    arm(r, &p->ack_due[cls], now);
    r->ready[cls] |= bit64(p->id);
}

static void receive_data(struct rrdp *r, struct peer *p, uint64_t now, const struct wire_rrdp *h,
                         struct bytes b, struct rrdp_segments *out)
{
    struct stream *s = &p->stream[h->cls];
    int32_t ahead = (int32_t)(h->seq - (uint32_t)s->rcv_nxt);
    if (ahead < 0) {
        bool recent = ahead >= -RRDP_WINDOW;
        drop(p, recent ? RRDP_DROP_DUPLICATE : RRDP_DROP_WINDOW);
        if (recent)
            ack_now(r, p, h->cls, now); /* our ACK was lost */
        return;
    }
    if (ahead >= r->cfg.credit) {
        drop(p, RRDP_DROP_WINDOW);
        return;
    }
    uint32_t len = h->part ? h->part_of : h->data_len;
    uint32_t most = h->cls == WIRE_CLASS_URGENT ? URGENT_SLOT : p->mtu_most - WIRE_RRDP_HEADER;
    if (len > most) {
        drop(p, RRDP_DROP_LENGTH);
        return;
    }
    uint64_t seq = s->rcv_nxt + (uint64_t)ahead;
    if (ahead > 0 && (s->parked & bit64((unsigned)ahead - 1)) != 0) {
        drop(p, RRDP_DROP_DUPLICATE);
        ack_now(r, p, h->cls, now);
        return;
    }
    if (h->part) {
        if (!collect(p, h->cls, seq, h, b.data))
            return;
        b = (struct bytes){.data = slot_of(s, seq), .len = len};
    }
    if (ahead > 0) {
        park(p, h->cls, seq, h, &b);
        ack_now(r, p, h->cls, now); /* the gap is news for the sender */
        return;
    }
    bool gap = s->parked != 0;
    if (!deliver(p, h->cls, h->first, h->last, &b, out) || !deliver_parked(p, h->cls, out)) {
        drop(p, RRDP_DROP_SEGMENT);
        setup_abort(r, p, RRDP_DOWN_RST);
        return;
    }
    s->unacked++;
    if (gap || s->unacked >= ACK_EVERY || s->unacked * 2 >= r->cfg.credit)
        ack_now(r, p, h->cls, now);
    else if (p->ack_due[h->cls] == NO_TIME)
        arm(r, &p->ack_due[h->cls], now + r->cfg.ack_delay_ns);
}

/* A frame of the connection that we have. */
static void receive_known(struct rrdp *r, struct peer *p, uint64_t now, const struct wire_rrdp *h,
                          const struct bytes *b, struct rrdp_segments *out)
{
    if (h->rst) {
        setup_down(r, p, h->nul ? RRDP_DOWN_CLOSED : RRDP_DOWN_RST);
        return;
    }
    if (p->state == PEER_HALF_OPEN)
        setup_up(r, p, now); /* who knows the tag knows our epoch */
    if (h->ack_valid)        /* a group frame is no sign that the way between the two is open */
        p->last_rx = now;
    if (h->ack_valid && !ack_receive(r, p, h->cls, now, h))
        return;
    p->counters.rx_frames[h->cls]++;
    p->counters.rx_bytes[h->cls] +=
        WIRE_RRDP_HEADER + (h->eack ? 8u : 0u) + (h->part ? 4u : 0u) + h->data_len;
    if (p->mtu_begins)
        mtu_begin(r, p, now);
    if (h->data_len == 0)
        return;
    if (p->unread > 0)
        drop(p, RRDP_DROP_EVENTS);
    else
        receive_data(r, p, now, h, *b, out);
}

/* The node's own number, other nodes' frames; false: not for us, and counted. */
static bool addressed(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data)
{
    struct peer *self = &r->peer[r->cfg.self];
    if (h->src == r->cfg.self) {
        if (h->syn && !wire_rrdp_is_ping(h))
            setup_own_number(r, now, h, data);
        else
            drop(self, RRDP_DROP_SELF);
        return false;
    }
    if (h->src >= r->cfg.nodes || h->dst != r->cfg.self) {
        drop(self, RRDP_DROP_NOT_FOR_US);
        return false;
    }
    return true;
}

/* What a group frame says to this node, as if it had come alone. */
static bool group_member(struct rrdp *r, struct wire_rrdp *h, const uint8_t **data)
{
    struct peer *self = &r->peer[r->cfg.self];
    if (h->src == r->cfg.self || h->src >= r->cfg.nodes) {
        drop(self, h->src == r->cfg.self ? RRDP_DROP_SELF : RRDP_DROP_NOT_FOR_US);
        return false;
    }
    if (h->tag != setup_cluster_tag(r)) {
        drop(self, RRDP_DROP_CLUSTER);
        return false;
    }
    switch (wire_group_open(h, r->cfg.self, data)) {
    case WIRE_OK:
        r->peer[h->src].counters.group_rx++;
        return true;
    case WIRE_E_RANGE:
        self->counters.group_others++;
        return false;
    default:
        drop(&r->peer[h->src], RRDP_DROP_LENGTH);
        return false;
    }
}

/* Bytes elsewhere can only be the end of a message's, in a frame of their own. */
static bool ext_fits(const struct wire_rrdp *h, uint32_t len)
{
    return h->dst != WIRE_DST_GROUP && !h->syn && !h->part && (!h->first || len >= WIRE_MSG_HEADER);
}

void rrdp_receive(struct rrdp *r, uint64_t now, struct rrdp_mac mac, const uint8_t *frame,
                  size_t len, struct rrdp_segments *out)
{
    rrdp_receive_parts(r, now, mac, frame, len, NULL, 0, out);
}

void rrdp_receive_parts(struct rrdp *r, uint64_t now, struct rrdp_mac mac, const uint8_t *frame,
                        size_t len, const uint8_t *ext, size_t ext_len, struct rrdp_segments *out)
{
    struct wire_rrdp h;
    const uint8_t *data;
    out->n = 0;
    enum wire_error e =
        wire_rrdp_unpack_parts(frame, len, ext, ext_len, (uint8_t)r->cfg.cluster_id, &h, &data);
    if (e != WIRE_OK) {
        drop(&r->peer[r->cfg.self], drop_of(e));
        if (e == WIRE_E_VERSION)
            setup_other_version(r, now, frame);
        return;
    }
    uint32_t here = ext_len > 0 ? (uint32_t)(len - (size_t)(data - frame)) : 0;
    if (ext_len > 0 && !ext_fits(&h, here)) {
        drop(&r->peer[r->cfg.self], RRDP_DROP_LENGTH);
        return;
    }
    if (h.dst == WIRE_DST_GROUP && !group_member(r, &h, &data))
        return;
    if (!addressed(r, now, &h, data))
        return;
    struct peer *p = &r->peer[h.src];
    if (event_room(r) < EVENTS_A_FRAME + EVENTS_A_PEER * (uint32_t)r->cfg.nodes)
        drop(p, RRDP_DROP_EVENTS); /* the owner does not take its events: see event.c */
    else if (wire_rrdp_is_ping(&h))
        ping_receive(r, p, &h, mac);
    else if (h.syn)
        setup_receive(r, now, &h, data, len, mac);
    else if (p->state == PEER_OPENING || (p->state == PEER_HALF_OPEN && h.tag != p->tag))
        setup_stranger(r, p, now, &h);
    else if (h.tag != p->tag)
        drop(p, RRDP_DROP_TAG);
    else if (memcmp(&p->mac, &mac, sizeof(mac)) != 0)
        drop(p, RRDP_DROP_MAC_MOVED);
    else
        receive_known(r, p, now, &h,
                      &(struct bytes){.data = data,
                                      .len = ext_len > 0 ? here : h.data_len,
                                      .ext = ext,
                                      .ext_len = (uint32_t)ext_len},
                      out);
}
