/* SPDX-License-Identifier: BSD-3-Clause */
/* Time: retransmission, lone ACKs, heartbeats, dead peers, repeated SYNs. */
#include "dataplane/transport/internal.h"

static uint64_t peer_deadline(const struct rrdp *r, const struct peer *p)
{
    if (p->state != PEER_UP)
        return r->closing ? NO_TIME : p->syn_at;
    uint64_t at = min_u64(p->last_tx + r->cfg.heartbeat_ns, p->last_rx + r->cfg.dead_ns);
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        const struct stream *s = &p->stream[k];
        at = min_u64(at, s->ack_due);
        if (s->snd_nxt != s->snd_una)
            at = min_u64(at, stream_rto_at(p, s));
    }
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

static void stream_timeout(struct peer *p, unsigned cls, uint64_t now)
{
    struct stream *s = &p->stream[cls];
    if (s->snd_nxt == s->snd_una || stream_rto_at(p, s) > now)
        return;
    uint64_t rto = p->rto << s->backoff;
    for (uint64_t q = s->snd_una; q < s->snd_nxt; q++) {
        struct sent_frame *f = frame_at(s, q);
        if (f->acked || f->lost || f->sent_at + rto > now)
            continue;
        f->lost = true;
        s->lost_count++;
        p->counters.retransmit_timeout[cls]++;
    }
    if (s->backoff < BACKOFF_MAX)
        s->backoff++;
}

void rrdp_tick(struct rrdp *r, uint64_t now)
{
    for (uint8_t n = 0; n < r->cfg.nodes; n++) {
        struct peer *p = &r->peer[n];
        if (n == r->cfg.self)
            continue;
        if (p->state != PEER_UP) {
            if (now >= p->syn_at)
                p->syn_now = true;
            if (p->syn_now)
                p->syn_at = now + r->cfg.syn_ns;
            continue;
        }
        if (now >= p->last_rx + r->cfg.dead_ns) {
            setup_down(r, p, RRDP_DOWN_TIMEOUT);
            continue;
        }
        if (now >= p->last_tx + r->cfg.heartbeat_ns)
            p->nul_now = true;
        for (unsigned k = 0; k < WIRE_CLASSES; k++)
            stream_timeout(p, k, now);
    }
}
