/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does the path carry? A frame that is too long for some device on the way vanishes without a
 * word, and what interfaces say about themselves is not what the path does. So a connection begins
 * with frames of RRDP_MTU_BASE, and where both sides would take longer ones, a SYN filled up to
 * that length goes out until the peer's SYN says that it was heard, MTU_PROBES times. Each
 * direction by itself. (Source: RFC 8899, datagram packetization layer path MTU discovery; with two
 * sizes.)
 *
 * A path that is cut down to less later is not noticed here: frames are cut once and for all.
 */
#include "dataplane/transport/internal.h"

static void decided(struct rrdp *r, struct peer *p)
{
    p->mtu_at = NO_TIME;
    p->mtu_now = false;
    push_event(r, RRDP_EV_MTU, p, p->mtu);
}

/* The connection is up. The first question waits for a frame of the connection: a SYN may be
 * forged, and its sender would be answered with many times its length. */
void mtu_start(struct peer *p)
{
    p->mtu = p->mtu_most < RRDP_MTU_BASE ? p->mtu_most : RRDP_MTU_BASE;
    p->mtu_probes = MTU_PROBES;
    p->mtu_begins = p->mtu < p->mtu_most;
}

void mtu_begin(struct rrdp *r, struct peer *p, uint64_t now)
{
    p->mtu_begins = false;
    p->mtu_at = now;
    mtu_tick(r, p, now);
}

/* Of a good SYN in a frame of len bytes. One that has the length asked for has its answer. (Not one
 * that is only longer than what it says: some fabrics leave bytes behind a frame.) What it says to
 * have heard counts if it is of this connection; and also after the last question: late is not
 * never. */
void mtu_receive(struct rrdp *r, struct peer *p, size_t len, const struct rrdp_syn *s)
{
    if (p->mtu_most > RRDP_MTU_BASE && len >= p->mtu_most) {
        p->mtu_heard = p->mtu_most;
        p->syn_now = true;
        r->control |= bit64(p->id);
    }
    if (p->state != PEER_UP || p->mtu >= p->mtu_most || s->heard < p->mtu_most ||
        s->echo_epoch != p->own_epoch)
        return;
    p->mtu = p->mtu_most;
    p->mtu_begins = false;
    decided(r, p);
}

void mtu_tick(struct rrdp *r, struct peer *p, uint64_t now)
{
    if (now < p->mtu_at)
        return;
    if (p->mtu_probes == 0) {
        decided(r, p);
        return;
    }
    p->mtu_probes--;
    p->mtu_now = true;
    arm(r, &p->mtu_at, now + (r->cfg.syn_ns << (MTU_PROBES - 1 - p->mtu_probes)));
    r->control |= bit64(p->id);
}
