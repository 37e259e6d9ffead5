/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Group frames: the same message for several peers in one frame. An invalidation of a page with
 * many sharers is such a message, and the time to send it then does not grow with their number.
 *
 * Nothing else changes: each member's stream gets its own next frame, with its own sequence number,
 * acknowledgement and recovery; only the first transmission of these frames is a common one. So
 * order, and exactly once, are those of the streams, and a member that did not get it is sent its
 * own. It acknowledges nothing, and does not count as a sign of life towards anyone.
 *
 * Where the fabric does not bring group frames to a peer, it would be served by recovery only.
 * After GROUP_LOST_MAX in a row that were lost, its next GROUP_REST messages go alone.
 */
#include "dataplane/transport/internal.h"

/* The next message of class 0, if it can leave now. */
static const struct message *next_of_peer(const struct peer *p)
{
    const struct stream *s = &p->stream[WIRE_CLASS_URGENT];
    if (p->state != PEER_UP || s->lost_count > 0 || s->q_cut == s->q_head ||
        s->snd_nxt - s->snd_una >= RRDP_WINDOW || s->snd_nxt >= s->snd_limit)
        return NULL;
    const struct message *m = &s->queue[s->q_cut % RRDP_QUEUE];
    return m->total == m->inline_len ? m : NULL;
}

static bool equal(const struct message *a, const struct message *b)
{
    return a->inline_len == b->inline_len &&
           memcmp(a->inline_data, b->inline_data, a->inline_len) == 0;
}

static uint64_t members_for(const struct rrdp *r, const struct message *m)
{
    uint64_t members = 0;
    unsigned most = (RRDP_MTU_MIN - WIRE_RRDP_HEADER - 8u - m->inline_len) / 8u;
    for (uint64_t left = r->ready[WIRE_CLASS_URGENT]; left != 0; left &= left - 1) {
        uint8_t n = (uint8_t)bit64_first(left);
        const struct peer *p = &r->peer[n];
        const struct message *other = next_of_peer(p);
        if (most == 0 || other == NULL || p->group_rest > 0 || !equal(m, other))
            continue;
        members |= bit64(n);
        most--;
    }
    return members;
}

/* The next frame of a peer, and of all others that are to get the same. False: it goes alone. */
bool group_transmit(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out)
{
    uint64_t ready = r->ready[WIRE_CLASS_URGENT];
    if (r->cfg.group_min == 0 || (ready & (ready - 1)) == 0)
        return false; /* nearly always */
    const struct message *m = next_of_peer(p);
    if (m == NULL)
        return false;
    if (p->group_rest > 0) {
        p->group_rest--;
        return false;
    }
    uint64_t members = members_for(r, m);
    if (!(members & bit64(p->id)) || bit64_count(members) < r->cfg.group_min)
        return false;
    r->group.members = members;
    for (uint64_t left = members; left != 0; left &= left - 1) {
        uint8_t n = (uint8_t)bit64_first(left);
        struct peer *to = &r->peer[n];
        struct stream *s = &to->stream[WIRE_CLASS_URGENT];
        r->group.seq[n] = (uint32_t)s->snd_nxt;
        r->group.tag[n] = to->tag;
        PANDO_CHECK(send_cut(to, WIRE_CLASS_URGENT));
        frame_at(s, s->snd_nxt - 1)->group = true;
        send_mark(r, to, WIRE_CLASS_URGENT, s->snd_nxt - 1, now);
        to->counters.group_tx++;
        to->counters.group_bytes += WIRE_RRDP_HEADER + m->inline_len;
    }
    size_t len = wire_group_pack(&r->group, m->inline_data, m->inline_len, r->group_bytes);
    struct wire_rrdp h = {
        .first = true,
        .last = true,
        .src = r->cfg.self,
        .dst = WIRE_DST_GROUP,
        .cluster_tag = (uint8_t)r->cfg.cluster_id,
        .data_len = (uint16_t)len,
        .tag = setup_cluster_tag(r),
    };
    *out = (struct rrdp_frame){
        .peer = RRDP_GROUP,
        .mac_known = true,
        .mac = r->cfg.group_mac,
        .inline_data = r->group_bytes,
        .inline_len = (uint16_t)len,
        .members = members,
    };
    out->header_len = (uint8_t)wire_rrdp_pack(&h, out->header);
    r->peer[r->cfg.self].counters.group_frames++;
    return true;
}

void group_acked(struct peer *p, struct sent_frame *f)
{
    f->group = false;
    p->group_lost = 0;
}

void group_lost(struct peer *p, struct sent_frame *f)
{
    f->group = false;
    p->counters.group_lost++;
    if (++p->group_lost < GROUP_LOST_MAX)
        return;
    p->group_lost = GROUP_LOST_MAX - 1; /* the next one decides again */
    p->group_rest = GROUP_REST;
}
