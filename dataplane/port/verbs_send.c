/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What leaves: buffers, work requests, completions.
 *
 * A committed frame is a work request in a ring of its queue pair (lane); flush hands over what
 * has come together, as one list. Buffers come back with the first completion at or behind their
 * work request; those whose bytes the device takes along at once (inline) at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/port/verbs_port.h"

/* ---- buffers ------------------------------------------------------------------------------- */

static uint8_t *slot_at(const struct verbs_port *v, uint16_t slot)
{
    return v->slots + (size_t)slot * v->slot_bytes;
}

static void give_back(struct verbs_port *v, struct verbs_send *s)
{
    if (s->slot != VERBS_SLOT_NONE)
        v->slot_free[v->slots_free++] = s->slot;
    s->slot = VERBS_SLOT_NONE;
}

static void finish(struct verbs_port *v, struct verbs_lane *lane, struct verbs_send *s)
{
    give_back(v, s);
    if (s->what == VERBS_WRITE && s->guest)
        v->guests_waiting--;
    if (s->what == VERBS_PROBE)
        lane->probing = false;
}

static struct verbs_send *send_at(struct verbs_lane *lane, uint32_t i)
{
    return &lane->send[i & (lane->ring - 1)];
}

void verbs_lane_reset(struct verbs_port *v, struct verbs_lane *lane)
{
    for (; lane->done != lane->next; lane->done++)
        finish(v, lane, send_at(lane, lane->done));
    lane->done = lane->posted = lane->next = lane->silent = 0;
    lane->broken = lane->probing = false;
    lane->life++;
}

/* ---- completions --------------------------------------------------------------------------- */

static uint64_t id_of(const struct verbs_port *v, const struct verbs_lane *lane, uint32_t i)
{
    return (uint64_t)(lane - v->lane) << 40 | (uint64_t)lane->life << 32 | i;
}

static void take(struct verbs_port *v, const struct ibv_wc *wc)
{
    uint32_t index = (uint32_t)(wc->wr_id >> 40), i = (uint32_t)wc->wr_id;
    PANDO_CHECK(index <= VERBS_UD);
    struct verbs_lane *lane = &v->lane[index];
    if (lane->qp == NULL || lane->life != (uint8_t)(wc->wr_id >> 32) || lane->broken)
        return;
    if (wc->status != IBV_WC_SUCCESS) {
        lane->broken = v->attend = true;
        lane->status = wc->status;
        return;
    }
    for (; lane->done != i + 1; lane->done++)
        finish(v, lane, send_at(lane, lane->done));
}

void verbs_reap(struct verbs_port *v)
{
    struct ibv_wc wc[VERBS_BATCH];
    int n = VERBS_BATCH;
    while (n == VERBS_BATCH) {
        n = ibv_poll_cq(v->send_cq, VERBS_BATCH, wc);
        for (int i = 0; i < n; i++)
            take(v, &wc[i]);
    }
    if (n < 0)
        verbs_die(v, "%s: its completions cannot be read", v->device);
}

/* ---- handing over -------------------------------------------------------------------------- */

/* Lists, for one call of the device. */
struct batch {
    uint32_t n;
    struct ibv_send_wr wr[VERBS_BATCH];
    struct ibv_sge part[VERBS_BATCH];
};

static void build(struct verbs_port *v, struct verbs_lane *lane, struct batch *b, uint32_t i)
{
    const struct verbs_send *s = send_at(lane, i);
    struct ibv_send_wr *wr = &b->wr[b->n];
    struct ibv_sge *part = &b->part[b->n];
    bool ask = s->what != VERBS_SEND || ++lane->silent >= v->silent_max;
    *part = (struct ibv_sge){.addr = (uintptr_t)s->bytes, .length = s->len, .lkey = s->local_key};
    *wr = (struct ibv_send_wr){.wr_id = id_of(v, lane, i),
                               .sg_list = part,
                               .num_sge = s->len > 0,
                               .opcode = IBV_WR_SEND,
                               .send_flags = ask ? IBV_SEND_SIGNALED : 0};
    if (s->what == VERBS_SEND && s->len <= v->inline_max)
        wr->send_flags |= IBV_SEND_INLINE;
    if (s->what != VERBS_SEND) {
        wr->opcode = IBV_WR_RDMA_WRITE;
        wr->wr.rdma.remote_addr = s->place.address;
        wr->wr.rdma.rkey = s->place.key;
    } else if (s->placed) {
        wr->opcode = IBV_WR_SEND_WITH_IMM;
        wr->imm_data = htonl(s->place.immediate);
    }
    if (lane == &v->lane[VERBS_UD]) {
        const struct verbs_peer *to = &v->peer[s->peer];
        wr->wr.ud.ah = to->ah;
        wr->wr.ud.remote_qpn = to->rdma.theirs.ud_number;
        wr->wr.ud.remote_qkey = to->rdma.theirs.ud_key;
    }
    if (b->n > 0)
        b->wr[b->n - 1].next = wr;
    b->n++;
    if (ask)
        lane->silent = 0;
    v->counters.asked += ask;
    v->counters.requests++;
}

/* A peer may have been forgotten while a frame to it waited. */
static bool is_void(const struct verbs_port *v, const struct verbs_lane *lane, uint32_t i)
{
    const struct verbs_send *s = &lane->send[i & (lane->ring - 1)];
    return lane == &v->lane[VERBS_UD] && v->peer[s->peer].ah == NULL;
}

static void hand_over(struct verbs_port *v, struct verbs_lane *lane)
{
    struct batch b;
    struct ibv_send_wr *bad;
    uint32_t first = lane->posted;
    b.n = 0;
    for (; lane->posted != lane->next && b.n < VERBS_BATCH; lane->posted++)
        if (!is_void(v, lane, lane->posted))
            build(v, lane, &b, lane->posted);
    if (b.n > 0 && ibv_post_send(lane->qp, b.wr, &bad) != 0) {
        /* Requests are counted, so this is the queue pair's end, not its being full. */
        lane->broken = v->attend = true;
        lane->status = IBV_WC_LOC_QP_OP_ERR;
        return;
    }
    for (; first != lane->posted; first++)
        if (send_at(lane, first)->what == VERBS_SEND && send_at(lane, first)->len <= v->inline_max)
            give_back(v, send_at(lane, first));
}

void verbs_flush(struct port *p)
{
    struct verbs_port *v = verbs_of(p);
    for (unsigned word = 0; word < 2; word++)
        while (v->dirty[word] != 0) {
            struct verbs_lane *lane = &v->lane[word * VERBS_UD + bit64_first(v->dirty[word])];
            while (lane->posted != lane->next && lane->qp != NULL && !lane->broken)
                hand_over(v, lane);
            v->dirty[word] &= v->dirty[word] - 1;
        }
    verbs_reap(v);
}

/* ---- frames -------------------------------------------------------------------------------- */

uint8_t *verbs_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    struct verbs_port *v = verbs_of(p);
    (void)mac;
    if (peer >= v->nodes || peer == v->self || v->peer[peer].ah == NULL || v->dead[0] != '\0') {
        p->counters.tx_unresolved++;
        return NULL;
    }
    if (v->reserved == VERBS_SLOT_NONE) {
        if (v->slots_free == 0)
            verbs_flush(p);
        if (v->slots_free == 0) {
            p->counters.tx_full++;
            return NULL;
        }
        v->reserved = v->slot_free[--v->slots_free];
    }
    v->reserved_for = peer;
    return slot_at(v, v->reserved);
}

/* Room for so many work requests; where there is none, the frame is lost. */
static bool has_room(struct verbs_port *v, struct verbs_lane *lane, uint32_t n)
{
    if (lane->next - lane->done + n <= lane->limit)
        return true;
    verbs_flush(&v->port);
    if (lane->next - lane->done + n <= lane->limit)
        return true;
    v->port.counters.tx_full++;
    return false;
}

static void put(struct verbs_port *v, uint32_t index, const struct verbs_send *s)
{
    struct verbs_lane *lane = &v->lane[index];
    *send_at(lane, lane->next++) = *s;
    v->dirty[index / VERBS_UD] |= bit64(index % VERBS_UD);
}

static bool is_up(const struct verbs_port *v, uint8_t peer)
{
    return v->peer[peer].rdma.state == RDMA_UP && !v->lane[peer].broken;
}

/* By UD go frames that fit, but for what may repeat a page: see the head of verbs_port.h. */
static bool goes_by_ud(const struct verbs_port *v, const uint8_t *frame, uint32_t len)
{
    enum { AT_CLASS = 4, CLASS_MASK = 3 };
    if (len > v->peer[v->reserved_for].ud_max)
        return false;
    return len <= WIRE_RRDP_HEADER_MAX || (frame[AT_CLASS] & CLASS_MASK) < WIRE_CLASS_DATA;
}

static struct verbs_send from_slot(struct verbs_port *v, uint32_t len)
{
    return (struct verbs_send){.what = VERBS_SEND,
                               .peer = v->reserved_for,
                               .slot = v->reserved,
                               .len = len,
                               .bytes = slot_at(v, v->reserved),
                               .local_key = v->slots_mr->lkey};
}

static void committed(struct verbs_port *v, uint32_t len)
{
    v->reserved = VERBS_SLOT_NONE;
    v->port.counters.tx_frames++;
    v->port.counters.tx_bytes += len;
}

void verbs_tx_commit(struct port *p, uint32_t len)
{
    struct verbs_port *v = verbs_of(p);
    struct verbs_send s = from_slot(v, len);
    bool ud = goes_by_ud(v, s.bytes, len);
    uint32_t index = ud ? VERBS_UD : s.peer;
    PANDO_CHECK(len > 0 && len <= p->mtu);
    if (!ud && !is_up(v, s.peer)) {
        p->counters.tx_unresolved++;
        return;
    }
    if (!ud && v->slots_free < VERBS_SLOTS_UD)
        verbs_flush(p);
    if (!ud && v->slots_free < VERBS_SLOTS_UD) {
        p->counters.tx_full++;
        return;
    }
    if (!has_room(v, &v->lane[index], 1))
        return;
    put(v, index, &s);
    v->counters.tx_ud += ud;
    v->counters.tx_rc += !ud;
    committed(v, len);
}

/* The page from where it lies, if that is memory that the device knows, else from behind the
 * header. */
void verbs_tx_commit_placed(struct port *p, uint32_t len, const uint8_t *bytes, uint64_t page)
{
    struct verbs_port *v = verbs_of(p);
    struct verbs_send header = from_slot(v, len), write = header;
    uint8_t *copy = slot_at(v, v->reserved) + len;
    bool open = is_up(v, header.peer) &&
                rdma_place_of(&v->peer[header.peer].rdma.theirs, page, &header.place);
    PANDO_CHECK(len > 0 && len + WIRE_PAGE_SIZE <= p->mtu);
    bool guest = open && verbs_local_key(v, bytes, WIRE_PAGE_SIZE, &write.local_key);
    if (!guest) {
        memcpy(copy, bytes, WIRE_PAGE_SIZE);
        p->counters.tx_copied_bytes += WIRE_PAGE_SIZE;
    }
    if (!open) {
        v->counters.not_open++;
        verbs_tx_commit(p, len + WIRE_PAGE_SIZE);
        return;
    }
    if (!has_room(v, &v->lane[header.peer], 2))
        return;
    header.placed = true;
    write.what = VERBS_WRITE;
    write.place = header.place;
    write.guest = guest;
    write.slot = VERBS_SLOT_NONE;
    write.bytes = guest ? bytes : copy;
    write.len = WIRE_PAGE_SIZE;
    /* A header that is taken along would give the copy's buffer back before the WRITE has read it.
     */
    if (!guest && len <= v->inline_max) {
        write.slot = header.slot;
        header.slot = VERBS_SLOT_NONE;
    }
    v->guests_waiting += guest;
    put(v, header.peer, &write);
    put(v, header.peer, &header);
    v->counters.placed_tx++;
    v->counters.tx_rc++;
    p->counters.tx_ext_frames += guest;
    p->counters.tx_ext_bytes += guest ? WIRE_PAGE_SIZE : 0;
    committed(v, len + WIRE_PAGE_SIZE);
}

void verbs_probe(struct verbs_port *v, uint8_t peer)
{
    struct verbs_lane *lane = &v->lane[peer];
    struct verbs_send s = {.what = VERBS_PROBE, .peer = peer, .slot = VERBS_SLOT_NONE};
    if (lane->probing || lane->next - lane->done >= lane->limit)
        return; /* what is under way shows the same */
    lane->probing = true;
    put(v, peer, &s);
    verbs_flush(&v->port);
}

/* ---- settle -------------------------------------------------------------------------------- */

static bool reads_from(const struct verbs_send *s, const uint8_t *bytes, size_t len)
{
    uintptr_t at = (uintptr_t)s->bytes, begin = (uintptr_t)bytes;
    return s->what == VERBS_WRITE && s->guest && at < begin + len && begin < at + s->len;
}

/* A work request under way reads from there; the last one's number behind it. */
static bool find_reader(struct verbs_lane *lane, const uint8_t *bytes, size_t len, uint32_t *ret)
{
    for (uint32_t i = lane->next; i != lane->done; i--)
        if (reads_from(send_at(lane, i - 1), bytes, len)) {
            *ret = i;
            return true;
        }
    return false;
}

/* Behind it the device reads no more: completed, or the queue pair is gone. */
static void wait_for(struct verbs_port *v, uint8_t peer, uint32_t until)
{
    struct verbs_lane *lane = &v->lane[peer];
    uint8_t life = lane->life;
    uint64_t end = 0;
    while (lane->life == life && (int32_t)(until - lane->done) > 0) {
        verbs_flush(&v->port);
        uint64_t now = verbs_now();
        end = end == 0 ? now + v->settle_ns : end;
        if (!lane->broken && now < end)
            continue;
        if (!lane->broken)
            verbs_die(v, "node %u: a page that was sent to it is not taken", peer);
        verbs_peer_event(v, peer, RDMA_EVENT_BROKE);
    }
}

void verbs_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    struct verbs_port *v = verbs_of(p);
    uint32_t until;
    if (v->guests_waiting == 0)
        return;
    verbs_flush(p);
    for (uint8_t n = 0; n < v->nodes && v->guests_waiting > 0; n++) {
        if (!find_reader(&v->lane[n], bytes, len, &until))
            continue;
        v->counters.settle_waits++;
        wait_for(v, n, until);
    }
}
