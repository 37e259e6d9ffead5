/* SPDX-License-Identifier: BSD-3-Clause */
/* Time: retransmission, lone ACKs, heartbeats, dead peers, repeated SYNs. */
#include "dataplane/transport/internal.h"

static uint64_t peer_deadline(const struct rrdp *r, const struct peer *p)
{
    if (p->state != PEER_UP)
        return r->closing ? NO_TIME : p->syn_at;
    uint64_t at = min_u64(p->last_tx + r->cfg.heartbeat_ns, p->last_rx + r->cfg.dead_ns);
    at = min_u64(at, min_u64(p->mtu_at, p->pace_at));
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        at = min_u64(at, min_u64(min_u64(p->ack_due[k], p->probe_at[k]),
                                 min_u64(p->rto_at[k], p->rack_at[k])));
    return at;
}

uint64_t rrdp_deadline(const struct rrdp *r)
{
    uint64_t at = NO_TIME;
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        if (n != r->cfg.self)
            at = min_u64(at, peer_deadline(r, &r->peer[n]));
    return at;
}

/*
 * The first time-out gives up all that is as old as the time-out: a whole burst may have been lost.
 * From the second in a row on only the oldest frame is sent, as a probe: the path is down or full,
 * and the answer says by its EACK bitmap what else is missing.
 */
static void stream_timeout(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    struct stream *s = &p->stream[cls];
    uint64_t rto = rto_of(r, p, s), oldest = NO_TIME;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++)
        if (!frame_at(s, q)->acked && !frame_at(s, q)->lost)
            oldest = min_u64(oldest, frame_at(s, q)->sent_at);
    if (oldest == NO_TIME || oldest + rto > now) {
        /* What was in flight longest has been sent again since: it gets its own time. */
        p->rto_at[cls] = (oldest == NO_TIME ? now : oldest) + rto;
        return;
    }
    bool probe = s->backoff > 0;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        struct sent_frame *f = frame_at(s, q);
        if (f->acked || f->lost || f->sent_at + rto > now)
            continue;
        frame_lost(r, p, cls, f, now);
        p->counters.retransmit_timeout[cls]++;
        if (probe)
            break;
    }
    pace_lost(p, cls, now, true);
    if (s->backoff < BACKOFF_MAX)
        s->backoff++;
    p->rto_at[cls] = now + rto_of(r, p, s);
}

/* The last frame that is not acknowledged, unless it is to be sent again anyway. */
static void stream_probe(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now)
{
    struct stream *s = &p->stream[cls];
    p->probe_at[cls] = NO_TIME;
    s->probed = true;
    for (uint64_t q = s->snd_nxt; q-- > s->snd_una;) {
        struct sent_frame *f = frame_at(s, q);
        if (f->acked)
            continue;
        if (!f->lost) {
            frame_lost(r, p, cls, f, now);
            p->counters.retransmit_probe[cls]++;
        }
        return;
    }
}

static void peer_tick(struct rrdp *r, struct peer *p, uint64_t now)
{
    if (p->state == PEER_UP && now >= p->last_rx + r->cfg.dead_ns)
        setup_down(r, p, RRDP_DOWN_TIMEOUT);
    if (p->state != PEER_UP) {
        if (now >= p->syn_at && !r->closing) {
            p->syn_now = true;
            p->syn_at = now + r->cfg.syn_ns;
            r->control |= bit64(p->id);
        }
        return;
    }
    if (now >= p->last_tx + r->cfg.heartbeat_ns) {
        p->nul_now = true;
        r->control |= bit64(p->id);
    }
    mtu_tick(r, p, now);
    pace_tick(r, p, now);
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        if (now >= p->ack_due[k])
            r->ready[k] |= bit64(p->id);
        if (now >= p->rack_at[k])
            ack_mark_lost(r, p, k, now);
        if (now >= p->probe_at[k])
            stream_probe(r, p, k, now);
        if (now >= p->rto_at[k])
            stream_timeout(r, p, k, now);
    }
}

void rrdp_tick(struct rrdp *r, uint64_t now)
{
    if (now < r->due)
        return; /* nearly always, in a loop that polls */
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        if (n != r->cfg.self)
            peer_tick(r, &r->peer[n], now);
    r->due = rrdp_deadline(r);
}

void rrdp_gone(struct rrdp *r, uint8_t peer)
{
    if (peer < r->cfg.nodes && peer != r->cfg.self && r->peer[peer].state == PEER_UP)
        setup_down(r, &r->peer[peer], RRDP_DOWN_GONE);
}

void rrdp_stalled(struct rrdp *r, uint64_t ns)
{
    for (uint8_t n = 0; n < r->cfg.nodes; n++)
        if (n != r->cfg.self && r->peer[n].state == PEER_UP)
            r->peer[n].last_rx += ns;
}
