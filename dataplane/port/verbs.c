/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verbs port: what arrives, sleep, close. verbs_port.h says how it all fits together.
 *
 * All that is received comes by one completion queue: UD's own buffers, and those that all
 * connections share. A buffer goes back to the device when the next burst is asked for.
 */
#include "dataplane/port/verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/port/verbs_port.h"

enum { ATTEND_POLLS = 4096 }; /* some system calls: for loops that never sleep, and hear no bell */

uint64_t verbs_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void verbs_die(struct verbs_port *v, const char *fmt, ...)
{
    va_list args;
    if (v->dead[0] != '\0')
        return;
    va_start(args, fmt);
    vsnprintf(v->dead, sizeof(v->dead), fmt, args);
    va_end(args);
}

const char *port_verbs_drop_name(enum port_verbs_drop d)
{
    static const char *const name[PORT_VERBS_DROPS] = {
#define X(ID, text) [PORT_VERBS_DROP_##ID] = text,
        PORT_VERBS_DROP_LIST(X)
#undef X
    };
    return (unsigned)d < PORT_VERBS_DROPS ? name[d] : "?";
}

/* ---- receive ------------------------------------------------------------------------------- */

static uint8_t *buffer_of(const struct verbs_port *v, uint64_t id)
{
    uint32_t i = (uint32_t)id;
    return id & VERBS_UD_BUFFER ? v->ud_receives + (size_t)i * v->ud_receive_bytes
                                : v->receives + (size_t)i * v->receive_bytes;
}

int verbs_post_receives(struct verbs_port *v, const uint64_t *ids, uint32_t n)
{
    struct ibv_recv_wr wr[PORT_BURST], *bad, *first[2] = {NULL, NULL}, **end[2];
    struct ibv_sge part[PORT_BURST];
    int rc = 0;
    PANDO_CHECK(n <= PORT_BURST);
    end[0] = &first[0];
    end[1] = &first[1];
    for (uint32_t i = 0; i < n; i++) {
        bool ud = ids[i] & VERBS_UD_BUFFER;
        part[i] = (struct ibv_sge){.addr = (uintptr_t)buffer_of(v, ids[i]),
                                   .length = ud ? v->ud_receive_bytes : v->receive_bytes,
                                   .lkey = ud ? v->ud_receives_mr->lkey : v->receives_mr->lkey};
        wr[i] = (struct ibv_recv_wr){.wr_id = ids[i], .sg_list = &part[i], .num_sge = 1};
        if (ud)
            wr[i].wr_id |= (uint64_t)v->ud_life << VERBS_UD_LIFE_SHIFT;
        *end[ud] = &wr[i];
        end[ud] = &wr[i].next;
    }
    if (first[0] != NULL)
        rc = v->srq->context->ops.post_srq_recv(v->srq, first[0], &bad);
    if (rc == 0 && first[1] != NULL)
        rc = v->context->ops.post_recv(v->lane[VERBS_UD].qp, first[1], &bad);
    return -rc;
}

static void give_back_used(struct verbs_port *v)
{
    if (v->used_count > 0 && verbs_post_receives(v, v->used, v->used_count) != 0)
        verbs_die(v, "%s: it takes no receive buffers", v->device);
    v->used_count = 0;
}

/* The GRH that a UD packet came with has the sender's address: IPv4's header is its second half. */
static bool came_from(const struct verbs_port *v, const struct verbs_peer *peer,
                      const struct ibv_wc *wc, const uint8_t *grh)
{
    enum { IPV4_SOURCE = 20 + 12, IPV6_SOURCE = 8 };
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    const uint8_t *gid = peer->rdma.theirs.gid;
    if (peer->ah == NULL || peer->rdma.theirs.ud_number != wc->src_qp)
        return false;
    if (v->attr.link_layer != IBV_LINK_LAYER_ETHERNET)
        return wc->slid == peer->rdma.theirs.lid;
    return memcmp(gid, mapped, sizeof(mapped)) == 0
               ? memcmp(grh + IPV4_SOURCE, gid + sizeof(mapped), 4) == 0
               : memcmp(grh + IPV6_SOURCE, gid, RDMA_GID) == 0;
}

static bool is_of(const struct verbs_port *v, uint8_t n, const struct ibv_wc *wc,
                  const uint8_t *grh)
{
    if (grh != NULL)
        return came_from(v, &v->peer[n], wc, grh);
    return v->lane[n].qp != NULL && v->lane[n].qp->qp_num == wc->qp_num;
}

/* Whose it is: by its queue pair and, by UD, its address. grh NULL: not by UD. Where it was found
 * last is tried first. v->nodes: nobody's. */
static uint8_t sender_of(struct verbs_port *v, const struct ibv_wc *wc, const uint8_t *grh)
{
    uint8_t *last = &v->by_number[(grh != NULL ? wc->src_qp : wc->qp_num) & 0xFF], n;
    if (is_of(v, *last, wc, grh))
        return *last;
    for (n = 0; n < v->nodes && !is_of(v, n, wc, grh); n++)
        ;
    if (n < v->nodes)
        *last = n;
    return n;
}

static bool take_ud(struct verbs_port *v, const struct ibv_wc *wc, struct port_frame *out,
                    enum port_verbs_drop *ret_why)
{
    const uint8_t *buffer = buffer_of(v, wc->wr_id);
    *ret_why = PORT_VERBS_DROP_LENGTH;
    if (wc->byte_len <= VERBS_GRH || wc->byte_len - VERBS_GRH > v->port.mtu)
        return false;
    *ret_why = PORT_VERBS_DROP_STRANGER;
    uint8_t n = sender_of(v, wc, buffer);
    if (n == v->nodes)
        return false;
    *out = (struct port_frame){
        .data = buffer + VERBS_GRH, .len = wc->byte_len - VERBS_GRH, .src = v->peer[n].mac};
    return true;
}

static bool take_rc(struct verbs_port *v, const struct ibv_wc *wc, struct port_frame *out,
                    enum port_verbs_drop *ret_why)
{
    bool placed = wc->wc_flags & IBV_WC_WITH_IMM;
    uint32_t room = v->port.mtu - (placed ? WIRE_PAGE_SIZE : 0);
    *ret_why = PORT_VERBS_DROP_CONNECTION;
    uint8_t n = sender_of(v, wc, NULL);
    if (n == v->nodes)
        return false;
    *ret_why = PORT_VERBS_DROP_LENGTH;
    if (wc->byte_len == 0 || wc->byte_len > room)
        return false;
    *out = (struct port_frame){
        .data = buffer_of(v, wc->wr_id), .len = wc->byte_len, .src = v->peer[n].mac};
    if (!placed)
        return true;
    struct rdma_block open[RDMA_BLOCKS];
    uint8_t block;
    uint64_t page;
    for (uint8_t i = 0; i < v->peer[n].keys; i++)
        open[i].pages = v->block[i].pages;
    *ret_why = PORT_VERBS_DROP_PLACE;
    if (!rdma_place_read(open, v->peer[n].keys, ntohl(wc->imm_data), &block, &page))
        return false;
    out->ext = v->block[block].alias + page * WIRE_PAGE_SIZE;
    out->ext_len = WIRE_PAGE_SIZE;
    v->counters.placed_rx++;
    return true;
}

/* False: dropped. Its buffer is used in any case, but for those that a queue pair in error gives
 * back. */
static bool take(struct verbs_port *v, const struct ibv_wc *wc, struct port_frame *out)
{
    enum port_verbs_drop why = PORT_VERBS_DROP_STATUS;
    bool ud = wc->wr_id & VERBS_UD_BUFFER;
    if (ud && (uint8_t)(wc->wr_id >> VERBS_UD_LIFE_SHIFT) != v->ud_life)
        return false;
    v->used[v->used_count++] = wc->wr_id & (VERBS_UD_BUFFER | UINT32_MAX);
    if (wc->status == IBV_WC_SUCCESS &&
        (ud ? take_ud(v, wc, out, &why) : take_rc(v, wc, out, &why))) {
        v->port.counters.rx_bytes += out->len + out->ext_len;
        return true;
    }
    if (wc->status != IBV_WC_SUCCESS && ud) {
        v->lane[VERBS_UD].broken = v->attend = true;
        v->lane[VERBS_UD].status = wc->status;
    }
    v->counters.dropped[why]++;
    v->port.counters.rx_foreign++;
    return false;
}

static uint32_t verbs_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct verbs_port *v = verbs_of(p);
    struct ibv_wc wc[PORT_BURST];
    uint32_t n = 0;
    int got = 0;
    max = max < PORT_BURST ? max : PORT_BURST;
    give_back_used(v);
    if (v->attend || ++v->polls >= ATTEND_POLLS)
        verbs_attend(v);
    if (max == 0)
        return 0;
    if (v->have_early)
        wc[got++] = v->early;
    v->have_early = false;
    int more = ibv_poll_cq(v->receive_cq, (int)max - got, wc + got);
    if (more < 0)
        verbs_die(v, "%s: its completions cannot be read", v->device);
    else
        got += more;
    for (int i = 0; i < got; i++)
        if (take(v, &wc[i], &out[n]))
            n++;
    p->counters.rx_frames += n;
    return n;
}

/* ---- sleep --------------------------------------------------------------------------------- */

/* Frames, hellos and the device's events in one. */
static int verbs_wait_fd(struct port *p)
{
    return verbs_of(p)->epoll;
}

static bool verbs_arm(struct port *p)
{
    struct verbs_port *v = verbs_of(p);
    if (v->have_early || v->attend)
        return false;
    give_back_used(v);
    if (ibv_req_notify_cq(v->receive_cq, 0) != 0)
        return false;
    v->have_early = ibv_poll_cq(v->receive_cq, 1, &v->early) == 1;
    return !v->have_early;
}

static void take_bell(struct verbs_port *v)
{
    struct ibv_cq *cq;
    void *context;
    unsigned n = 0;
    while (v->api.get_cq_event(v->channel, &cq, &context) == 0)
        n++;
    if (n > 0)
        v->api.ack_cq_events(v->receive_cq, n);
}

static void verbs_disarm(struct port *p)
{
    struct verbs_port *v = verbs_of(p);
    struct epoll_event ev[VERBS_WATCHED];
    int n = epoll_wait(v->epoll, ev, VERBS_WATCHED, 0);
    for (int i = 0; i < n; i++)
        if (ev[i].data.fd == v->channel->fd)
            take_bell(v);
        else
            verbs_attend(v);
}

static const char *verbs_look(struct port *p)
{
    struct verbs_port *v = verbs_of(p);
    verbs_attend(v);
    return v->dead[0] != '\0' ? v->dead : NULL;
}

/* ---- close, and what is asked -------------------------------------------------------------- */

static void verbs_close(struct port *p)
{
    struct verbs_port *v = verbs_of(p);
    verbs_peers_close(v);
    verbs_memory_close(v);
    verbs_close_device(v);
    free(v->slots);
    free(v->receives);
    free(v->ud_receives);
    free(v->sends);
    free(v);
}

const struct port_ops verbs_ops = {
    .name = "verbs",
    .rx = verbs_rx,
    .tx_reserve = verbs_tx_reserve,
    .tx_commit = verbs_tx_commit,
    .tx_commit_placed = verbs_tx_commit_placed,
    .add_memory = verbs_add_memory,
    .settle = verbs_settle,
    .flush = verbs_flush,
    .wait_fd = verbs_wait_fd,
    .arm = verbs_arm,
    .disarm = verbs_disarm,
    .fence = verbs_fence,
    .look = verbs_look,
    .close = verbs_close,
};

const char *port_verbs_mode(const struct port *p)
{
    p = port_below(p);
    return p != NULL && p->ops == &verbs_ops ? ((const struct verbs_port *)p)->notice : NULL;
}

int port_verbs_counters(const struct port *p, struct port_verbs_counters *ret_counters)
{
    p = port_below(p);
    if (p == NULL || p->ops != &verbs_ops)
        return -EOPNOTSUPP;
    const struct verbs_port *v = (const struct verbs_port *)p;
    *ret_counters = v->counters;
    for (uint8_t n = 0; n < v->nodes; n++)
        ret_counters->restarts += v->peer[n].rdma.restarts;
    return 0;
}
