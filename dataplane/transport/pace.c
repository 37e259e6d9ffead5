/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Congestion: credits keep a receiver's buffers from overflowing, not those of a switch to which
 * several nodes send pages for one. Losses of pages (classes DATA and BULK) towards a peer narrow a
 * window over both, by three tenths, at most once a round trip; a time-out narrows it to CWND_MIN.
 * It opens by a frame for each window's worth of acknowledgements (additive increase,
 * multiplicative decrease; RFC 5681 with CUBIC's factor, RFC 9438). While it is not wide open,
 * frames keep a distance of a round trip divided by it, beyond a burst of PACE_BURST: so what
 * several nodes send interleaves, and does not arrive as trains. At RRDP_WINDOW all this is out of
 * the way.
 *
 * Small messages (classes URGENT and REQUEST) are never held: they are few, bounded by what is
 * outstanding, and everything waits for them.
 */
#include "dataplane/transport/internal.h"

static bool wide_open(const struct peer *p)
{
    return p->cwnd >= RRDP_WINDOW;
}

/* Frames of this class and of those before it that may still be in the network. Of those behind it
 * none count: a page does not wait for bulk. */
static uint32_t flying(const struct peer *p, unsigned cls)
{
    uint32_t n = 0;
    for (unsigned k = WIRE_CLASS_DATA; k <= cls; k++) {
        const struct stream *s = &p->stream[k];
        n += (uint32_t)(s->snd_nxt - s->snd_una) - s->lost_count - s->acked_count;
    }
    return n;
}

void pace_reset(struct peer *p)
{
    p->cwnd = RRDP_WINDOW;
    p->cwnd_acked = 0;
    p->cwnd_since = p->pace_due = 0;
    p->pace_at = NO_TIME;
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        p->stream[k].paced = false;
}

/* May a frame of this class leave now? If not, the stream goes on when it may: at pace_at, or with
 * the next acknowledgement. */
bool pace_allows(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    if (cls < WIRE_CLASS_DATA || wide_open(p))
        return true;
    uint64_t burst = (PACE_BURST - 1) * (p->srtt / p->cwnd);
    bool full = flying(p, cls) >= p->cwnd;
    if (!full && p->pace_due <= now + burst)
        return true;
    if (!p->stream[cls].paced)
        p->counters.paced++;
    p->stream[cls].paced = true;
    if (!full)
        arm(r, &p->pace_at, p->pace_due - burst);
    return false;
}

void pace_sent(struct peer *p, unsigned cls, uint64_t now)
{
    if (cls >= WIRE_CLASS_DATA && !wide_open(p))
        p->pace_due = max_u64(p->pace_due, now) + p->srtt / p->cwnd;
}

/* Something has changed: pace_allows looks again, at DATA first. */
void pace_go_on(struct rrdp *r, struct peer *p)
{
    p->pace_at = NO_TIME;
    for (unsigned k = WIRE_CLASS_DATA; k < WIRE_CLASSES; k++)
        if (p->stream[k].paced) {
            p->stream[k].paced = false;
            r->ready[k] |= bit64(p->id);
        }
}

void pace_acked(struct rrdp *r, struct peer *p, unsigned cls, uint32_t frames)
{
    if (cls < WIRE_CLASS_DATA || wide_open(p) || frames == 0)
        return;
    for (; frames > 0 && !wide_open(p); frames--)
        if (++p->cwnd_acked >= p->cwnd) {
            p->cwnd_acked = 0;
            p->cwnd++;
        }
    if (wide_open(p))
        p->pace_due = 0;
    pace_go_on(r, p);
}

void pace_lost(struct peer *p, unsigned cls, uint64_t now, bool all)
{
    if (cls < WIRE_CLASS_DATA || (!all && now < p->cwnd_since + p->srtt))
        return;
    uint32_t next = all ? CWND_MIN : p->cwnd * 7u / 10u;
    p->cwnd = (uint8_t)(next > CWND_MIN ? next : CWND_MIN);
    p->cwnd_acked = 0;
    p->cwnd_since = now;
    p->counters.congestion++;
}

void pace_tick(struct rrdp *r, struct peer *p, uint64_t now)
{
    if (now >= p->pace_at)
        pace_go_on(r, p);
}

uint32_t rrdp_peer_window(const struct rrdp *r, uint8_t peer)
{
    return peer < r->cfg.nodes ? r->peer[peer].cwnd : 0;
}
