/* SPDX-License-Identifier: BSD-3-Clause */
/* engine.h's way out, over TCP: a message is with the kernel, or copied, when it has been sent. */
#include <errno.h>
#include <sys/socket.h>

#include "dataplane/base/check.h"
#include "perf/giantvm/edge/tcp.h"

static const uint8_t zeros[WIRE_PAGE_SIZE];

static void count(struct engine *e, uint8_t dst, uint8_t cls, size_t len)
{
    struct rrdp_counters *c = &e->rrdp->count[dst];
    c->tx_messages[cls]++;
    c->tx_frames[cls]++;
    c->tx_bytes[cls] += len;
}

/* Who asks begins to poll anew: at once, then at growing distances. */
static void ask(struct engine *e, struct tcp *t, uint8_t kind)
{
    if (kind == WIRE_INV) {
        t->acks++;
        return;
    }
    t->fetches++;
    t->interval_us = 0;
    t->next_poll = e->now;
}

void transmit_message(struct engine *e, uint8_t dst, const struct wire_msg *m)
{
    struct tcp *t = tcp_of(e);
    uint8_t head[FRAME_DSM_HEADER];
    bool answers = m->kind == WIRE_DATA || m->kind == WIRE_INV_ACK;
    struct tcp_conn *c = answers ? &t->its[dst] : &t->mine[dst];
    const uint8_t *body = m->kind == WIRE_DATA ? ram_frame(&e->ram, m->page) : zeros;
    PANDO_CHECK(dst != e->self && dst < e->nodes);
    if (c->state != TCP_READY)
        return; /* the peer is gone: its DOWN event ends the VM */
    if (body == NULL) {
        engine_drop(e, ENGINE_DROP_NO_FRAME);
        engine_stop(e, false,
                    "node %u: page 0x%llx is asked for by node %u before it has guest RAM", e->self,
                    (unsigned long long)m->page, dst);
        return;
    }
    frame_pack(m, head);
    count(e, dst, wire_kind_info(m->kind)->cls, FRAME_DSM);
    if (m->kind == WIRE_DATA) {
        e->count.page_bytes_out += WIRE_PAGE_SIZE;
        e->count.page_copied_out += c->out_len > 0 ? WIRE_PAGE_SIZE : 0;
    }
    tcp_send(t, c, head, sizeof(head), body, WIRE_PAGE_SIZE);
    if (!answers)
        ask(e, t, m->kind);
}

static int send_other(struct engine *e, uint8_t dst, const uint8_t header[WIRE_MSG_HEADER],
                      const uint8_t *payload, uint32_t len)
{
    struct tcp *t = tcp_of(e);
    struct tcp_conn *c = &t->mine[dst];
    uint8_t head[FRAME_OTHER_HEADER + WIRE_MSG_HEADER];
    if (!rrdp_peer_up(e->rrdp, dst) || c->state != TCP_READY)
        return -ENOTCONN;
    if (c->out_len > TCP_OUT_GLUE)
        return -EAGAIN;
    frame_pack_other((uint16_t)len, header, head);
    count(e, dst, wire_kind_info(header[0])->cls, sizeof(head) + len);
    e->count.tx[header[0]]++;
    tcp_send(t, c, head, sizeof(head), payload, len);
    return 0;
}

int transmit_glue(struct engine *e, uint8_t dst, const struct wire_glue *m, const uint8_t *payload,
                  uint32_t len)
{
    uint8_t header[WIRE_MSG_HEADER];
    wire_glue_pack(m, header);
    e->count.glue_bytes += len;
    return send_other(e, dst, header, payload, len);
}

int transmit_time(struct engine *e, uint8_t dst, const struct wire_time *m)
{
    uint8_t bytes[WIRE_TIME_MAX];
    size_t len = wire_time_pack(m, bytes);
    return send_other(e, dst, bytes, bytes + WIRE_MSG_HEADER, (uint32_t)(len - WIRE_MSG_HEADER));
}

/* Its messages have no place for spans: a sampled one stays without the other nodes' stamps. */
int transmit_span(struct engine *e, uint8_t dst, const struct wire_span *m)
{
    (void)e;
    (void)dst;
    (void)m;
    return -ENOTSUP;
}

/* Nothing is kept by reference. */
void transmit_sent(struct engine *e, uint64_t cookie)
{
    (void)e;
    (void)cookie;
}

void thaw(struct engine *e, uint64_t page)
{
    (void)e;
    (void)page;
}

bool transmit_backlog(struct engine *e)
{
    struct tcp *t = tcp_of(e);
    bool useful = false;
    for (uint8_t n = 0; n < e->nodes; n++) {
        struct tcp_conn *c[] = {&t->mine[n], &t->its[n]};
        for (unsigned k = 0; k < 2; k++) {
            if (c[k]->fd < 0 || c[k]->out_len == 0)
                continue;
            uint32_t before = c[k]->out_len;
            tcp_flush(c[k]);
            useful |= c[k]->out_len < before;
        }
    }
    return useful;
}

/* The end is said behind all that was sent; then the peer is not heard any more. */
bool transmit_frames(struct engine *e)
{
    struct tcp *t = tcp_of(e);
    struct rrdp *r = e->rrdp;
    for (uint8_t n = 0; r->end != 0 && n < e->nodes; n++) {
        struct tcp_conn *c = &t->mine[n];
        const uint8_t bytes[FRAME_END_LEN] = {r->end, 0};
        if (n == e->self || c->state != TCP_READY)
            continue;
        if (!r->told[n])
            tcp_send(t, c, bytes, sizeof(bytes), NULL, 0);
        r->told[n] = true;
        if (c->out_len > 0)
            continue;
        shutdown(c->fd, SHUT_WR);
        c->state = TCP_OVER;
        r->up[n] = false;
    }
    return false;
}
