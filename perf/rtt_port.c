/* SPDX-License-Identifier: BSD-3-Clause */
/* Round trips over a port: raw frames, and messages through the whole of RRDP (CRC, sequence,
 * acknowledgements). */
#include <stdlib.h>
#include <string.h>

#include "dataplane/transport/rrdp.h"
#include "perf/rtt.h"

#define MS UINT64_C(1000000)

struct rtt_port {
    struct port *port;
    struct rrdp *rrdp;
    struct rrdp_segments segments;
    uint32_t empty;
    uint32_t expected; /* number of the question that is open */
    uint8_t page[RTT_PAGE];
};

struct rtt_port *rtt_port_new(struct rtt_side *s, struct port *port)
{
    struct rrdp_config c = {.self = s->side,
                            .nodes = 2,
                            .cluster_id = 77,
                            .epoch = rtt_now(),
                            .config_hash = 1,
                            .mtu = port->mtu,
                            .credit = RRDP_WINDOW,
                            .rto_min_ns = 2 * MS,
                            .rto_max_ns = 100 * MS,
                            .ack_delay_ns = MS / 20,
                            .heartbeat_ns = 100 * MS,
                            .dead_ns =
                                3600 * 1000 * MS, /* nobody polls it while others are measured */
                            .syn_ns = 10 * MS};
    struct rtt_port *r = calloc(1, sizeof(*r));
    size_t size = rrdp_size(&c);
    void *memory = size != 0 ? aligned_alloc(64, (size + 63) & ~(size_t)63) : NULL;
    if (r == NULL || memory == NULL) {
        free(r);
        free(memory);
        return NULL;
    }
    r->port = port;
    r->rrdp = rrdp_init(memory, &c, rtt_now());
    memset(r->page, 0x5A, sizeof(r->page));
    return r;
}

void rtt_port_free(struct rtt_port *r)
{
    if (r == NULL)
        return;
    port_close(r->port);
    free(r->rrdp); /* it begins its memory */
    free(r);
}

/* ---- raw frames ---------------------------------------------------------------------------- */

struct raw_header {
    uint32_t number, reply, answer;
};

static bool raw_send(struct rtt_side *s, struct rtt_port *r, const struct raw_header *h,
                     uint32_t len)
{
    uint8_t *b = r->port->ops->tx_reserve(r->port, !s->side, NULL);
    if (b == NULL)
        return false;
    memcpy(b, h, sizeof(*h));
    memcpy(b + sizeof(*h), r->page, len - sizeof(*h));
    r->port->ops->tx_commit(r->port, len);
    r->port->ops->flush(r->port);
    return true;
}

/* True if a frame of the wanted kind came; its header is in *h. */
static bool raw_receive(struct rtt_port *r, uint32_t answer, struct raw_header *h)
{
    struct port_frame f[PORT_BURST];
    uint32_t n = port_rx(r->port, f, PORT_BURST);
    bool found = false;
    for (uint32_t i = 0; i < n; i++) {
        if (f[i].len < RTT_ASK)
            continue;
        memcpy(h, f[i].data, sizeof(*h));
        found |=
            h->answer == answer && (!answer || (h->number == r->expected && f[i].len >= h->reply));
    }
    if (n == 0)
        rtt_relax(&r->empty);
    else
        r->empty = 0;
    return found;
}

bool rtt_raw_ask(struct rtt_side *s, void *context, uint32_t reply)
{
    struct rtt_port *r = context;
    struct raw_header got, h = {.number = ++r->expected, .reply = reply};
    uint64_t limit = rtt_now() + RTT_LOST_MS * MS;
    raw_send(s, r, &h, RTT_ASK);
    while (!raw_receive(r, 1, &got))
        if (r->empty > 1000 && rtt_now() > limit)
            return false;
    return true;
}

void rtt_raw_answer(struct rtt_side *s, void *context)
{
    struct rtt_port *r = context;
    struct raw_header h;
    if (!raw_receive(r, 0, &h))
        return;
    h.answer = 1;
    raw_send(s, r, &h, h.reply >= RTT_ASK && h.reply <= RTT_PAGE ? h.reply : RTT_ASK);
}

/* ---- RRDP ---------------------------------------------------------------------------------- */

static void transmit(struct rtt_port *r, uint64_t now)
{
    struct rrdp_frame f;
    bool sent = false;
    while (rrdp_transmit(r->rrdp, now, &f)) {
        uint8_t *b = r->port->ops->tx_reserve(r->port, f.peer, f.mac_known ? &f.mac : NULL);
        if (b == NULL)
            continue;
        uint32_t len = f.header_len;
        memcpy(b, f.header, len);
        if (f.inline_len > 0)
            memcpy(b + len, f.inline_data, f.inline_len);
        len += f.inline_len;
        if (f.payload_len > 0)
            memcpy(b + len, r->page + f.payload_offset, f.payload_len);
        len += f.payload_len;
        wire_rrdp_seal(b, len);
        r->port->ops->tx_commit(r->port, rrdp_frame_pad(&f, b, len));
        sent = true;
    }
    if (sent)
        r->port->ops->flush(r->port);
}

/* A message: number and wanted bytes behind room for a message header; then, in an answer, the
 * page. */
static void rrdp_say(struct rtt_side *s, struct rtt_port *r, uint8_t kind, uint32_t number,
                     uint32_t reply)
{
    uint8_t m[RTT_ASK] = {kind};
    uint32_t page = kind == 2 && reply > RTT_ASK ? reply : 0;
    memcpy(m + 4, &number, 4);
    memcpy(m + 8, &reply, 4);
    (void)rrdp_send(r->rrdp, !s->side, page ? WIRE_CLASS_DATA : WIRE_CLASS_URGENT, m,
                    page ? WIRE_MSG_HEADER : RTT_ASK, 0, page, false, 0);
    transmit(r, rtt_now());
}

static bool rrdp_poll(struct rtt_side *s, struct rtt_port *r)
{
    struct port_frame f[PORT_BURST];
    struct rrdp_event ev;
    uint64_t now = rtt_now();
    bool answered = false;
    uint32_t n = port_rx(r->port, f, PORT_BURST);
    for (uint32_t i = 0; i < n; i++) {
        rrdp_receive(r->rrdp, now, f[i].src, f[i].data, f[i].len, &r->segments);
        for (uint32_t k = 0; k < r->segments.n; k++) {
            const struct rrdp_segment *g = &r->segments.seg[k];
            static uint8_t head[12];
            if (g->first)
                memcpy(head, g->data, sizeof(head));
            if (!g->last)
                continue;
            uint32_t number, reply;
            memcpy(&number, head + 4, 4);
            memcpy(&reply, head + 8, 4);
            if (head[0] == 1)
                rrdp_say(s, r, 2, number, reply <= RTT_PAGE ? reply : RTT_ASK);
            else
                answered |= number == r->expected;
        }
    }
    if (now >= rrdp_deadline(r->rrdp))
        rrdp_tick(r->rrdp, now);
    transmit(r, now);
    while (rrdp_event(r->rrdp, &ev))
        ;
    if (n == 0)
        rtt_relax(&r->empty);
    else
        r->empty = 0;
    return answered;
}

bool rtt_port_connect(struct rtt_side *s, struct rtt_port *r)
{
    uint64_t limit = rtt_now() + 10000 * MS;
    bool up = false;
    /* Polls on for a while after it is up, so that the other side gets there too, and first laps
     * are done. */
    for (uint64_t until = limit; rtt_now() < until && rtt_now() < limit;) {
        rrdp_poll(s, r);
        r->port->ops->flush(r->port);
        if (!up && rrdp_peer_up(r->rrdp, !s->side)) {
            up = true;
            until = rtt_now() + 300 * MS;
        }
    }
    return up;
}

bool rtt_rrdp_ask(struct rtt_side *s, void *context, uint32_t reply)
{
    struct rtt_port *r = context;
    uint64_t limit = rtt_now() + 1000 * MS;
    rrdp_say(s, r, 1, ++r->expected, reply);
    while (!rrdp_poll(s, r))
        if (r->empty > 1000 && rtt_now() > limit)
            return false;
    return true;
}

void rtt_rrdp_answer(struct rtt_side *s, void *context)
{
    rrdp_poll(s, context);
}
