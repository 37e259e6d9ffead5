/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does the path carry? A frame that is too long for some device on the way vanishes without a
 * word, and what interfaces say about themselves is not what the path does. So a connection begins
 * with frames of RRDP_MTU_BASE, and where both sides would take longer ones, a SYN filled up to
 * that length goes out until the peer's SYN says that it was heard, MTU_PROBES times. Each
 * direction by itself. (Source: RFC 8899, datagram packetization layer path MTU discovery; with two
 * sizes.)
 *
 * A path may be cut down to less later (RFC 4821 and 8899: a black hole). A long frame that is lost
 * whole MTU_TRIES times in a row ends the use of long frames at once, what is under way included
 * (send_again), and the questions begin anew. Bad luck and a peer that stood still look the same:
 * then the first answer brings the long frames back, and the owner is not told. A path that carries
 * them again later is found out by the next connection.
 */
#include "dataplane/transport/internal.h"

static void decided(struct rrdp *r, struct peer *p)
{
    p->mtu_at = NO_TIME;
    p->mtu_now = false;
    if (p->mtu != p->mtu_told) /* so that the event ring has room: see internal.h, EVENTS_A_PEER */
        push_event(r, RRDP_EV_MTU, p, p->mtu);
    p->mtu_told = p->mtu;
}

/* The connection is up. The first question waits for a frame of the connection: a SYN may be
 * forged, and its sender would be answered with many times its length. */
void mtu_start(struct peer *p)
{
    p->mtu = p->mtu_most < RRDP_MTU_BASE ? p->mtu_most : RRDP_MTU_BASE;
    p->mtu_told = 0;
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
    bool silent = now >= p->last_rx + 2 * r->cfg.heartbeat_ns;
    if (p->mtu_probes == 0 && !silent) {
        decided(r, p);
        return;
    }
    if (!silent)
        p->mtu_probes--;
    else if (p->mtu_probes == 0) /* silence says nothing of the path: such questions do not count */
        p->mtu_probes = 1;
    p->mtu_now = true;
    unsigned asked = MTU_PROBES - p->mtu_probes;
    arm(r, &p->mtu_at, now + (r->cfg.syn_ns << (asked > 0 ? asked - 1 : 0)));
    r->control |= bit64(p->id);
}

/* A frame of more than RRDP_PART bytes counts as lost. */
void mtu_lost(struct rrdp *r, struct peer *p, struct sent_frame *f, uint64_t now)
{
    if (p->mtu <= RRDP_MTU_BASE || ++f->tries < MTU_TRIES)
        return;
    p->mtu = RRDP_MTU_BASE;
    p->mtu_probes = MTU_PROBES;
    p->counters.mtu_falls++;
    mtu_begin(r, p, now);
}
