/* SPDX-License-Identifier: BSD-3-Clause */
/* Acknowledgements: cumulative and selective, round-trip samples, loss by order of transmission. */
#include "dataplane/transport/internal.h"

/* RFC 6298 in integers; samples of frames sent once only (Karn). */
static void rtt_sample(const struct rrdp *r, struct peer *p, uint64_t rtt)
{
    if (p->srtt == 0) {
        p->srtt = rtt;
        p->rttvar = rtt / 2;
    } else {
        uint64_t delta = rtt > p->srtt ? rtt - p->srtt : p->srtt - rtt;
        p->rttvar = (3 * p->rttvar + delta) / 4;
        p->srtt = (7 * p->srtt + rtt) / 8;
    }
    /* The peer may sit on a lone ACK for the agreed delay. */
    uint64_t rto = p->srtt + 4 * p->rttvar + r->cfg.ack_delay_ns;
    p->rto = min_u64(max_u64(rto, r->cfg.rto_min_ns), r->cfg.rto_max_ns);
}

static void frame_acked(const struct rrdp *r, struct peer *p, struct stream *s, uint64_t seq, uint64_t now)
{
    struct sent_frame *f = frame_at(s, seq);
    if (f->acked)
        return;
    f->acked = true;
    if (f->lost) {
        f->lost = false;
        s->lost_count--;
    }
    s->backoff = 0;
    if (f->order > s->acked_order) {
        s->acked_order = f->order;
        s->acked_sent_at = f->sent_at;
        if (!f->again && now > f->sent_at)
            rtt_sample(r, p, now - f->sent_at);
    }
}

/* A frame is lost when others that left later have arrived: enough of them, or by enough time. */
void ack_mark_lost(struct peer *p, struct stream *s)
{
    uint64_t slack = p->srtt / 4;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        struct sent_frame *f = frame_at(s, q);
        if (f->acked || f->lost || f->order >= s->acked_order)
            continue;
        if (s->acked_order - f->order < REORDER_FRAMES && s->acked_sent_at < f->sent_at + slack)
            continue;
        f->lost = true;
        s->lost_count++;
    }
}

uint64_t stream_rto_at(const struct peer *p, const struct stream *s)
{
    uint64_t first = NO_TIME;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        const struct sent_frame *f = &s->frame[q % RRDP_WINDOW];
        if (!f->acked && !f->lost)
            first = min_u64(first, f->sent_at);
    }
    return first == NO_TIME ? NO_TIME : first + (p->rto << s->backoff);
}

bool ack_receive(struct rrdp *r, struct peer *p, struct stream *s, uint64_t now, const struct wire_rrdp *h)
{
    int32_t ahead = (int32_t)(h->ack - (uint32_t)s->snd_una);
    if (ahead > (int32_t)(s->snd_nxt - s->snd_una) || ahead < -(int32_t)(1 << 30)) {
        drop(p, RRDP_DROP_ACK_RANGE);
        return false;
    }
    if (ahead < 0)
        return true; /* overtaken by a newer one */
    uint64_t ack = s->snd_una + (uint64_t)ahead;
    if (h->eack)
        for (uint64_t left = h->eack_bits; left != 0; left &= left - 1) {
            uint64_t seq = ack + 1 + bit64_first(left);
            if (seq < s->snd_nxt)
                frame_acked(r, p, s, seq, now);
        }
    for (uint64_t q = s->snd_una; q < ack; q++)
        frame_acked(r, p, s, q, now);
    s->snd_una = ack;
    s->snd_limit = max_u64(s->snd_limit, ack + h->credit);
    send_acked(r, p, s);
    ack_mark_lost(p, s);
    return true;
}
