/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HOST-PING: is the host there? The process answers as the kernel would (bpf/), so that it works on
 * every fabric; who answered is in the answer. Nothing here touches a connection.
 */
#include "dataplane/transport/internal.h"

int rrdp_host_ping(struct rrdp *r, uint8_t peer, uint32_t id, uint32_t stamp)
{
    if (peer >= r->cfg.nodes || peer == r->cfg.self)
        return -EINVAL;
    struct peer *p = &r->peer[peer];
    p->ping_now = p->ping_open = true;
    p->ping_id = id;
    p->ping_stamp = stamp;
    r->control |= bit64(peer);
    return 0;
}

void ping_receive(struct rrdp *r, struct peer *p, const struct wire_rrdp *h, struct rrdp_mac mac)
{
    if (h->tag != setup_cluster_tag(r)) {
        drop(p, RRDP_DROP_CLUSTER);
    } else if (!h->ack_valid && (mac.addr[0] & 1) != 0) {
        drop(p, RRDP_DROP_RANGE); /* no station has a group address */
    } else if (!h->ack_valid) {   /* of several, the latest gets its answer */
        p->pong_now = true;
        p->pong_id = h->seq;
        p->pong_stamp = h->ack;
        p->pong_mac = mac;
        r->control |= bit64(p->id);
    } else if (p->ping_open && h->seq == p->ping_id && h->ack == p->ping_stamp) {
        p->ping_open = false;
        push_event(r, RRDP_EV_PONG, p, (uint64_t)h->ack << 32 | h->seq);
        r->event[(r->event_head - 1) % r->event_size].by = h->credit;
    } else {
        drop(p, RRDP_DROP_PONG);
    }
}

/* The answer first: who asks does so because he hears nothing. */
void ping_build(struct rrdp *r, struct peer *p, struct rrdp_frame *out)
{
    bool answer = p->pong_now;
    struct wire_rrdp h = {
        .syn = true,
        .nul = true,
        .ack_valid = answer,
        .src = r->cfg.self,
        .dst = p->id,
        .credit = answer ? WIRE_PING_BY_PROCESS : 0,
        .cluster_tag = (uint8_t)r->cfg.cluster_id,
        .seq = answer ? p->pong_id : p->ping_id,
        .ack = answer ? p->pong_stamp : p->ping_stamp,
        .tag = setup_cluster_tag(r),
    };
    *out = (struct rrdp_frame){
        .peer = p->id,
        .mac_known = answer || p->mac_known,
        .mac = answer ? p->pong_mac : p->mac,
    };
    out->header_len = (uint8_t)wire_rrdp_pack(&h, out->header);
    if (answer) {
        p->pong_now = false;
        p->counters.pong_frames++;
    } else {
        p->ping_now = false;
        p->counters.ping_frames++;
    }
}
