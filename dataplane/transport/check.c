/* SPDX-License-Identifier: BSD-3-Clause */
/* The invariants of internal.h, executable. */
#include "dataplane/transport/internal.h"

static void check_in_flight(const struct stream *s)
{
    uint32_t lost = 0, acked = 0, message = s->q_tail, offset = 0;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        const struct sent_frame *f = &s->frame[q % RRDP_WINDOW];
        const struct message *m = &s->queue[f->message % RRDP_QUEUE];
        if (q == s->snd_una) { /* earlier frames of its message may be acknowledged and gone */
            message = f->message;
            offset = f->offset;
            PANDO_CHECK(message == s->q_tail);
        }
        PANDO_CHECK(f->message == message && f->offset == offset); /* 3 */
        PANDO_CHECK(f->len > 0 && f->first == (offset == 0));
        offset += f->len;
        PANDO_CHECK(offset <= m->cut && f->last == (offset == m->total));
        if (f->last) {
            message++;
            offset = 0;
        }
        lost += f->lost;
        acked += f->acked;
        PANDO_CHECK(!(f->lost && f->acked));
    }
    PANDO_CHECK(lost == s->lost_count && acked == s->acked_count);
    PANDO_CHECK(s->snd_una == s->snd_nxt || message == s->q_cut);
}

/* The time will come, or an acknowledgement of either class. */
static bool paced_well(const struct peer *p, const struct stream *s)
{
    const struct stream *data = &p->stream[WIRE_CLASS_DATA];
    return s->paced && (p->pace_at != NO_TIME || in_flight(s) || in_flight(data));
}

static void check_slots(const struct rrdp *r, const struct stream *s, bool up)
{
    for (unsigned i = 0; i < RRDP_WINDOW; i++) { /* 10 */
        bool parked = i > 0 && (s->parked >> (i - 1) & 1);
        if (parked || i >= r->cfg.credit || !up) /* 6 */
            PANDO_CHECK(s->slot_parts[(s->rcv_nxt + i) % RRDP_WINDOW] == 0);
    }
}

static void check_stream(const struct rrdp *r, const struct peer *p, unsigned k)
{
    const struct stream *s = &p->stream[k];
    PANDO_CHECK(s->snd_una <= s->snd_nxt && s->snd_nxt - s->snd_una <= RRDP_WINDOW); /* 1 */
    PANDO_CHECK(s->snd_nxt <= s->snd_limit);
    PANDO_CHECK(s->q_cut - s->q_tail <= s->q_head - s->q_tail); /* 2 */
    PANDO_CHECK(s->q_head - s->q_tail <= RRDP_QUEUE);
    check_in_flight(s);
    PANDO_CHECK(s->parked >> (r->cfg.credit - 1) == 0); /* 4 */
    check_slots(r, s, p->state == PEER_UP);
    PANDO_CHECK(!in_flight(s) || p->rto_at[k] != NO_TIME || s->lost_count > 0); /* 5 */
    if (p->state != PEER_UP)                                                    /* 6 */
        PANDO_CHECK(s->q_head == s->q_tail && !in_flight(s) && s->parked == 0);
    bool window = s->snd_nxt - s->snd_una < RRDP_WINDOW && s->snd_nxt < s->snd_limit;
    if (s->lost_count > 0 || (s->q_cut != s->q_head && window)) /* 7 */
        PANDO_CHECK((r->ready[k] & bit64(p->id)) || paced_well(p, s));
    PANDO_CHECK(p->cwnd >= CWND_MIN && p->cwnd <= RRDP_WINDOW);
}

void rrdp_check(const struct rrdp *r)
{
    uint32_t owed = 0;
    for (uint8_t n = 0; n < r->cfg.nodes; n++) {
        const struct peer *p = &r->peer[n];
        if (n == r->cfg.self)
            continue;
        for (unsigned k = 0; k < WIRE_CLASSES; k++) {
            const struct stream *s = &p->stream[k];
            check_stream(r, p, k);
            for (uint32_t i = s->q_tail; i != s->q_head; i++)
                owed += s->queue[i % RRDP_QUEUE].want_sent;
        }
    }
    PANDO_CHECK(owed == r->owed); /* 8 */
    PANDO_CHECK(r->event_head - r->event_tail + r->owed <= r->event_size);
    PANDO_CHECK(r->due <= rrdp_deadline(r)); /* 9 */
}
