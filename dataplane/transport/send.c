/* SPDX-License-Identifier: BSD-3-Clause */
/* The sending side: queues, segmentation, the choice of the next frame. */
#include "dataplane/transport/internal.h"

int rrdp_send(struct rrdp *r, uint8_t peer, uint8_t cls, const void *inline_data,
              uint16_t inline_len, uint64_t payload, uint32_t payload_len, bool want_sent,
              uint64_t cookie)
{
    if (peer >= r->cfg.nodes || peer == r->cfg.self || cls >= WIRE_CLASSES ||
        inline_len < WIRE_MSG_HEADER || inline_len > RRDP_MSG_INLINE ||
        payload_len > WIRE_BYTES_MAX || inline_len + payload_len > WIRE_MSG_MAX ||
        (cls == WIRE_CLASS_URGENT && inline_len + payload_len > URGENT_SLOT))
        return -EINVAL;
    struct peer *p = &r->peer[peer];
    struct stream *s = &p->stream[cls];
    if (p->state != PEER_UP || p->rst_left > 0)
        return -ENOTCONN;
    if (s->q_head - s->q_tail >= RRDP_QUEUE ||
        (want_sent && event_room(r) <= (uint32_t)r->cfg.nodes * RRDP_EVENTS_SPARE))
        return -EAGAIN;
    struct message *m = &s->queue[s->q_head++ % RRDP_QUEUE];
    m->payload = payload;
    m->cookie = cookie;
    m->last_seq = 0;
    m->total = inline_len + payload_len;
    m->cut = 0;
    m->inline_len = inline_len;
    m->want_sent = want_sent;
    memcpy(m->inline_data, inline_data, inline_len);
    r->owed += want_sent;
    r->ready[cls] |= bit64(peer);
    p->counters.tx_messages[cls]++;
    return 0;
}

uint32_t rrdp_room(const struct rrdp *r, uint8_t peer, uint8_t cls)
{
    const struct stream *s = &r->peer[peer].stream[cls];
    return RRDP_QUEUE - (s->q_head - s->q_tail);
}

uint32_t rrdp_rebind(struct rrdp *r, uint64_t from, uint64_t to)
{
    uint32_t changed = 0;
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        for (unsigned k = 0; k < WIRE_CLASSES; k++) {
            struct stream *s = &r->peer[n].stream[k];
            for (uint32_t i = s->q_tail; i != s->q_head; i++) {
                struct message *m = &s->queue[i % RRDP_QUEUE];
                if (m->payload != from || m->total == m->inline_len)
                    continue;
                m->payload = to;
                changed++;
            }
        }
    return changed;
}

/* Messages whose last frame is acknowledged leave the queue. */
void send_acked(struct rrdp *r, struct peer *p, struct stream *s)
{
    for (; s->q_tail != s->q_cut; s->q_tail++) {
        const struct message *m = &s->queue[s->q_tail % RRDP_QUEUE];
        if (m->last_seq >= s->snd_una)
            return;
        if (!m->want_sent)
            continue;
        r->owed--;
        push_event(r, RRDP_EV_SENT, p, m->cookie);
    }
    if (p->rst_left > 0)
        r->control |= bit64(p->id); /* a closing RST waits for empty queues */
}

/* ---- frames -------------------------------------------------------------------------------- */

static void frame_header(const struct rrdp *r, const struct peer *p, unsigned cls,
                         struct wire_rrdp *ret_header)
{
    const struct stream *s = &p->stream[cls];
    *ret_header = (struct wire_rrdp){
        .ack_valid = true,
        .eack = s->parked != 0,
        .eack_bits = s->parked,
        .src = r->cfg.self,
        .dst = p->id,
        .cls = (uint8_t)cls,
        .credit = r->cfg.credit,
        .cluster_tag = (uint8_t)r->cfg.cluster_id,
        .seq = (uint32_t)s->snd_nxt,
        .ack = (uint32_t)s->rcv_nxt,
        .tag = p->tag,
    };
}

/* Every frame of a connection passes here: it carries the class's ACK, and shows that we live. */
static void finish(struct peer *p, unsigned cls, uint64_t now, const struct wire_rrdp *h,
                   struct rrdp_frame *out)
{
    out->peer = p->id;
    out->cls = (uint8_t)cls;
    out->mac_known = true;
    out->mac = p->mac;
    out->header_len = (uint8_t)wire_rrdp_pack(h, out->header);
    p->stream[cls].unacked = 0;
    p->ack_due[cls] = NO_TIME;
    p->last_tx = now;
    p->nul_now = false;
    p->counters.tx_frames[cls]++;
    p->counters.tx_bytes[cls] += out->header_len + h->data_len;
}

static void empty_frame(struct rrdp_frame *out)
{
    out->inline_data = NULL;
    out->inline_len = 0;
    out->payload = 0;
    out->payload_offset = 0;
    out->payload_len = 0;
    out->retransmission = false;
    out->pad_to = 0;
    out->members = 0;
}

/* The frame leaves. */
void send_mark(struct rrdp *r, struct peer *p, unsigned cls, uint64_t seq, uint64_t now)
{
    struct stream *s = &p->stream[cls];
    struct sent_frame *f = frame_at(s, seq);
    f->sent_at = now;
    f->order = ++s->tx_order;
    pace_sent(p, cls, now);
    if (p->rto_at[cls] == NO_TIME)
        arm(r, &p->rto_at[cls], now + rto_of(r, p, s));
    ack_arm_probe(r, p, cls, now);
}

/* Segment bytes of a frame, at most. */
static uint32_t segment_max(const struct peer *p)
{
    uint32_t most = p->mtu - WIRE_RRDP_HEADER_MAX;
    return most < WIRE_RRDP_DATA_MAX ? most : WIRE_RRDP_DATA_MAX;
}

/* len bytes of a frame from `at` on: all of it, or a part. */
static void emit_data(struct rrdp *r, struct peer *p, unsigned cls, uint64_t seq, uint32_t at,
                      uint32_t len, uint64_t now, struct rrdp_frame *out)
{
    struct stream *s = &p->stream[cls];
    struct sent_frame *f = frame_at(s, seq);
    const struct message *m = &s->queue[f->message % RRDP_QUEUE];
    struct wire_rrdp h;
    frame_header(r, p, cls, &h);
    h.seq = (uint32_t)seq;
    h.first = f->first;
    h.last = f->last;
    h.data_len = (uint16_t)len;
    if (len < f->len) {
        h.eack = false; /* has no place there: the other frames say it */
        h.part = true;
        h.part_at = (uint16_t)at;
        h.part_of = f->len;
    }
    uint32_t offset = f->offset + at;
    uint32_t from_inline = offset < m->inline_len ? m->inline_len - offset : 0;
    from_inline = from_inline < len ? from_inline : len;
    out->inline_data = m->inline_data + (from_inline > 0 ? offset : 0);
    out->inline_len = (uint16_t)from_inline;
    out->payload = m->payload;
    out->payload_len = (uint16_t)(len - from_inline);
    out->payload_offset = out->payload_len > 0 ? offset + from_inline - m->inline_len : 0;
    out->retransmission = f->again;
    out->pad_to = 0;
    out->members = 0;
    send_mark(r, p, cls, seq, now);
    finish(p, cls, now, &h, out);
}

/* The next frame of new data: cut from the oldest message that is not cut completely. */
bool send_cut(struct peer *p, unsigned cls)
{
    struct stream *s = &p->stream[cls];
    if (s->q_cut == s->q_head || s->snd_nxt - s->snd_una >= RRDP_WINDOW)
        return false;
    if (s->snd_nxt >= s->snd_limit) {
        if (!s->stalled)
            p->counters.credit_stall[cls]++;
        s->stalled = true;
        return false;
    }
    s->stalled = false;
    struct message *m = &s->queue[s->q_cut % RRDP_QUEUE];
    uint32_t most = segment_max(p);
    uint32_t len = m->total - m->cut < most ? m->total - m->cut : most;
    *frame_at(s, s->snd_nxt) = (struct sent_frame){
        .message = s->q_cut,
        .offset = m->cut,
        .len = (uint16_t)len,
        .first = m->cut == 0,
        .last = m->cut + len == m->total,
    };
    m->cut += len;
    m->last_seq = s->snd_nxt;
    if (m->cut == m->total)
        s->q_cut++;
    s->snd_nxt++;
    return true;
}

/* The frame, or the next part of one that is too long by now; it stays marked as lost until its
 * last part has left. */
static void send_again(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now,
                       struct rrdp_frame *out)
{
    struct stream *s = &p->stream[cls];
    uint64_t q = s->snd_una;
    while (!frame_at(s, q)->lost)
        q++;
    PANDO_CHECK(q < s->snd_nxt);
    struct sent_frame *f = frame_at(s, q);
    uint32_t at = f->part_at, len = f->len;
    if (at > 0 || len > segment_max(p)) {
        len = len - at < RRDP_PART ? len - at : RRDP_PART;
        f->part_at = (uint16_t)(at + len < f->len ? at + len : 0);
        p->counters.parts++;
    }
    if (f->part_at == 0) {
        f->lost = false;
        s->lost_count--;
    }
    f->again = true;
    p->counters.retransmit[cls]++;
    emit_data(r, p, cls, q, at, len, now, out);
}

/* What is lost, then what is new, then a lone ACK. */
static bool transmit_stream(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now,
                            struct rrdp_frame *out)
{
    struct stream *s = &p->stream[cls];
    bool some = s->lost_count > 0 || s->q_cut != s->q_head;
    bool may = some && pace_allows(r, p, cls, now);
    if (may && s->lost_count > 0) {
        send_again(r, p, cls, now, out);
    } else if (cls == WIRE_CLASS_URGENT && group_transmit(r, p, now, out)) {
        return true;
    } else if (may && send_cut(p, cls)) {
        emit_data(r, p, cls, s->snd_nxt - 1, 0, frame_at(s, s->snd_nxt - 1)->len, now, out);
    } else if (p->ack_due[cls] <= now) {
        struct wire_rrdp h;
        frame_header(r, p, cls, &h);
        empty_frame(out);
        finish(p, cls, now, &h, out);
        p->counters.ack_frames++;
    } else {
        return false;
    }
    if (s->lost_count == 0 && s->q_cut == s->q_head)
        r->ready[cls] &= ~bit64(p->id); /* the frame took the ACK along, too */
    return true;
}

/* An orderly close waits until everything was delivered. */
static bool has_queued(const struct peer *p)
{
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        if (p->stream[k].q_tail != p->stream[k].q_head)
            return true;
    return false;
}

static void emit_rst(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out)
{
    struct wire_rrdp h;
    frame_header(r, p, WIRE_CLASS_URGENT, &h);
    h.eack = h.ack_valid = false;
    h.rst = true;
    h.nul = p->rst_closed;
    h.tag = p->rst_tag;
    empty_frame(out);
    finish(p, WIRE_CLASS_URGENT, now, &h, out);
    p->counters.rst_frames++;
    if (--p->rst_left == 0 && p->state == PEER_UP)
        setup_down(r, p, p->rst_closed ? RRDP_DOWN_CLOSED : RRDP_DOWN_RST);
}

static bool transmit_control(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out)
{
    if (p->rst_left > 0 && !(p->rst_closed && has_queued(p))) {
        emit_rst(r, p, now, out);
        return true;
    }
    if (p->ping_now || p->pong_now) {
        ping_build(r, p, out);
        return true;
    }
    if (p->state != PEER_UP) {
        if (!p->syn_now || r->closing)
            return false;
        setup_build(r, p, now, out);
        return true;
    }
    if ((p->mtu_now || p->syn_now) && !r->closing) {
        setup_build(r, p, now, out);
        return true;
    }
    if (!p->nul_now)
        return false;
    struct wire_rrdp h;
    frame_header(r, p, WIRE_CLASS_URGENT, &h);
    h.nul = true;
    empty_frame(out);
    finish(p, WIRE_CLASS_URGENT, now, &h, out);
    p->counters.nul_frames++;
    return true;
}

/* The members of a set of peers, beginning with the one whose turn it is. */
static uint8_t next_of(uint64_t set, uint8_t rotor)
{
    uint64_t later = rotor < 64 ? set >> rotor << rotor : 0;
    return (uint8_t)bit64_first(later != 0 ? later : set);
}

static bool transmit_next(struct rrdp *r, uint64_t now, struct rrdp_frame *out)
{
    while (r->control != 0) {
        uint8_t n = (uint8_t)bit64_first(r->control);
        if (transmit_control(r, &r->peer[n], now, out))
            return true;
        r->control &= ~bit64(n);
    }
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        while (r->ready[k] != 0) {
            uint8_t n = next_of(r->ready[k], r->rotor[k]);
            r->rotor[k] = (uint8_t)(n + 1);
            if (transmit_stream(r, &r->peer[n], k, now, out))
                return true;
            r->ready[k] &= ~bit64(n);
        }
    return false;
}

/* A loop that polls asks each time, and mostly there is nothing. */
bool rrdp_transmit(struct rrdp *r, uint64_t now, struct rrdp_frame *out)
{
    uint64_t any = r->control;
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        any |= r->ready[k];
    return any != 0 && transmit_next(r, now, out);
}
