/* SPDX-License-Identifier: BSD-3-Clause */
/* Acknowledgements: cumulative and selective, round-trip samples, loss by order of transmission. */
#include "dataplane/transport/internal.h"

/* RFC 6298 in integers; samples of frames sent once only (Karn). */
static void rtt_sample(const struct rrdp *r, struct peer *p, uint64_t rtt)
{
    rtt =
        min_u64(rtt, r->cfg.rto_max_ns); /* beyond it, it is our own standstill that was measured */
    if (p->srtt == 0) {
        p->srtt = rtt;
        p->rttvar = rtt / 2;
        p->rtt_min = rtt;
    } else {
        uint64_t delta = rtt > p->srtt ? rtt - p->srtt : p->srtt - rtt;
        p->rttvar = (3 * p->rttvar + delta) / 4;
        p->srtt = (7 * p->srtt + rtt) / 8;
        p->rtt_min = min_u64(p->rtt_min, rtt);
    }
    /* The peer may sit on a lone ACK for the agreed delay. */
    uint64_t rto = p->srtt + 4 * p->rttvar + r->cfg.ack_delay_ns;
    p->rto = min_u64(max_u64(rto, r->cfg.rto_min_ns), r->cfg.rto_max_ns);
}

static void frame_acked(const struct rrdp *r, struct peer *p, struct stream *s, uint64_t seq,
                        uint64_t now)
{
    struct sent_frame *f = frame_at(s, seq);
    if (f->acked)
        return;
    f->acked = true;
    s->acked_count++;
    if (f->group)
        group_acked(p, f);
    if (f->lost) {
        f->lost = false;
        s->lost_count--;
    }
    /* Only a frame sent once proves that the time-out is long enough: the backoff stays until then.
     */
    if (!f->again)
        s->backoff = 0;
    if (f->order <= s->acked_order)
        return;
    /* An ACK sooner than any round trip is for the first transmission, not for the second. (Round
     * trips may all have been measured with a lone ACK's delay in them; one for a gap has none.) */
    if (f->again && now - f->sent_at + r->cfg.ack_delay_ns < p->rtt_min)
        return;
    s->acked_order = f->order;
    if (!f->again && now > f->sent_at)
        rtt_sample(r, p, now - f->sent_at);
}

void frame_lost(struct rrdp *r, struct peer *p, unsigned cls, struct sent_frame *f, uint64_t now)
{
    f->lost = true;
    if (f->group)
        group_lost(p, f);
    if (f->len > RRDP_PART)
        mtu_lost(r, p, f, now);
    p->stream[cls].lost_count++;
    r->ready[cls] |= bit64(p->id);
    if (cls >= WIRE_CLASS_DATA) /* one less in the network */
        pace_go_on(r, p);
}

/* RFC 8985: a frame is lost when others that left later have arrived: enough of them, or when a
 * round trip and a quarter is over since it left. */
void ack_mark_lost(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    struct stream *s = &p->stream[cls];
    uint32_t lost = s->lost_count;
    uint64_t patience = p->srtt != 0 ? p->srtt + p->srtt / 4 : p->rto;
    p->rack_at[cls] = NO_TIME;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        struct sent_frame *f = frame_at(s, q);
        if (f->acked || f->lost || f->order >= s->acked_order)
            continue;
        if (s->acked_order - f->order >= REORDER_FRAMES || now >= f->sent_at + patience)
            frame_lost(r, p, cls, f, now);
        else
            arm(r, &p->rack_at[cls], min_u64(p->rack_at[cls], f->sent_at + patience));
    }
    if (s->lost_count > lost)
        pace_lost(p, cls, now, false);
}

/* RFC 8985, tail-loss probe: nothing follows the last frames of a burst that could show their loss.
 * After two round trips without an answer (and what the peer may wait with its own, and half of
 * that again, for who polls it late) the last one is sent again. Once only: then the time-out is
 * the one to wait for. */
void ack_arm_probe(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    const struct stream *s = &p->stream[cls];
    uint64_t wait = 2 * p->srtt + r->cfg.ack_delay_ns * 3 / 2;
    bool useful = in_flight(s) && !s->probed && s->backoff == 0 && p->srtt != 0 && wait < p->rto;
    arm(r, &p->probe_at[cls], useful ? now + wait : NO_TIME);
}

/* Something was acknowledged; in_order: the oldest frame was, too. */
static void progress(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now, bool in_order)
{
    struct stream *s = &p->stream[cls];
    s->probed = false;
    if (!in_flight(s)) { /* the usual end of a question and its answer */
        p->rto_at[cls] = p->rack_at[cls] = p->probe_at[cls] = NO_TIME;
        return;
    }
    if (in_order)
        arm(r, &p->rto_at[cls], now + rto_of(r, p, s));
    ack_mark_lost(r, p, cls, now);
    ack_arm_probe(r, p, cls, now);
}

static bool ack_in_range(const struct stream *s, const struct wire_rrdp *h, int32_t ahead)
{
    int32_t most = (int32_t)(s->snd_nxt - s->snd_una);
    if (ahead > most || ahead < -(1 << 30))
        return false;
    if (ahead < 0 || !h->eack)
        return true;
    /* Bit i is frame ack + 1 + i; what was not sent cannot have arrived. */
    unsigned sent = ahead == most ? 0 : (unsigned)(most - ahead - 1);
    return sent >= 64 || h->eack_bits >> sent == 0;
}

bool ack_receive(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now,
                 const struct wire_rrdp *h)
{
    struct stream *s = &p->stream[cls];
    int32_t ahead = (int32_t)(h->ack - (uint32_t)s->snd_una);
    if (!ack_in_range(s, h, ahead)) {
        drop(p, RRDP_DROP_ACK_RANGE);
        return false;
    }
    if (ahead < 0)
        return true; /* overtaken by a newer one */
    uint64_t ack = s->snd_una + (uint64_t)ahead, before = s->acked_order;
    uint32_t acked = s->acked_count;
    if (h->eack)
        for (uint64_t left = h->eack_bits; left != 0; left &= left - 1)
            frame_acked(r, p, s, ack + 1 + bit64_first(left), now);
    for (uint64_t q = s->snd_una; q < ack; q++)
        frame_acked(r, p, s, q, now);
    acked = s->acked_count - acked; /* by this */
    s->acked_count -= (uint32_t)ahead;
    pace_acked(r, p, cls, acked);
    s->snd_limit = max_u64(s->snd_limit, ack + h->credit);
    if (ahead > 0) {
        s->snd_una = ack;
        send_acked(r, p, s);
        if (s->q_cut != s->q_head)
            r->ready[cls] |= bit64(p->id);
    } else if (s->stalled) {
        r->ready[cls] |= bit64(p->id);
    }
    if (ahead > 0 || s->acked_order != before)
        progress(r, p, cls, now, ahead > 0);
    return true;
}
