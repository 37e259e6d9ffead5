/* SPDX-License-Identifier: BSD-3-Clause */
/* Round trips over a port: raw frames, and messages through the whole of RRDP (CRC, sequence,
 * acknowledgements). */
#include <stdlib.h>
#include <string.h>

#include "dataplane/port/frame.h"
#include "dataplane/transport/rrdp.h"
#include "perf/rtt.h"

#define MS UINT64_C(1000000)

struct rtt_port {
    struct port *port;
    struct rrdp *rrdp;
    struct rrdp_segments segments;
    uint32_t empty;
    uint32_t expected; /* number of the question that is open */
    bool mtu_known;
    bool answered;
    uint64_t pages;
    void (*on_answer)(void *arg, uint32_t number);
    void *on_answer_arg;
    struct rtt_head head[WIRE_CLASSES];      /* of the message that is arriving */
    struct rtt_head todo[RRDP_SEGMENTS_MAX]; /* questions of one frame: answered behind it */
    uint32_t todos;
    struct rrdp_mac peer;
    uint8_t raw[RTT_PAGE];  /* a raw frame: header, then as page */
    uint8_t page[RTT_PAGE]; /* what is sent */
    uint8_t in[RTT_PAGE];   /* where what came is copied to, as into guest memory */
};

struct rtt_port *rtt_port_new(struct rtt_side *s, struct port *port)
{
    struct rrdp_config c = {.self = s->side,
                            .nodes = 2,
                            .cluster_id = RTT_CLUSTER,
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
    memset(r->raw, 0x5A, sizeof(r->raw));
    struct wire_rrdp h = {.ack_valid = true,
                          .src = s->side,
                          .dst = !s->side,
                          .cls = WIRE_CLASS_REQUEST,
                          .cluster_tag = RTT_CLUSTER};
    (void)wire_rrdp_pack(&h, r->raw);
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

struct rrdp *rtt_port_rrdp(struct rtt_port *r)
{
    return r->rrdp;
}

void rtt_port_on_answer(struct rtt_port *r, void (*answered)(void *arg, uint32_t number), void *arg)
{
    r->on_answer = answered;
    r->on_answer_arg = arg;
}

uint64_t rtt_port_pages(const struct rtt_port *r)
{
    return r->pages;
}

/* ---- raw frames ---------------------------------------------------------------------------- */

/* Instead of sequence, acknowledgement and tag in an RRDP header: the XDP program of af_xdp drops
 * what is none. */
enum { RAW_AT = 8 };
struct raw_header {
    uint32_t number, bytes, answer;
};

/* What a raw frame is. */
enum { RAW_ASK, RAW_ANSWER, RAW_STREAM };

/* As many frames as the length needs, each written in one go; one doorbell. False: there was no
 * room for all of them, and the rest is lost. */
static bool raw_send(struct rtt_side *s, struct rtt_port *r, uint32_t number, uint32_t answer,
                     uint32_t len)
{
    bool room = true;
    while (room && len > 0) {
        uint32_t n = len < r->port->mtu ? len : r->port->mtu;
        if (n < len && len - n < WIRE_RRDP_HEADER)
            n -= WIRE_RRDP_HEADER; /* the last one has a header, too */
        struct raw_header h = {.number = number, .bytes = n, .answer = answer};
        uint8_t *b = r->port->ops->tx_reserve(r->port, !s->side, &r->peer);
        room = b != NULL;
        if (!room)
            break; /* a question is lost, and counted */
        memcpy(r->raw + RAW_AT, &h, sizeof(h));
        memcpy(b, r->raw, n);
        r->port->ops->tx_commit(r->port, n);
        len -= n;
    }
    r->port->ops->flush(r->port);
    return room;
}

/* Bytes of the wanted kind that came; the latest header is in *h. */
static uint32_t raw_receive(struct rtt_port *r, uint32_t answer, struct raw_header *h)
{
    struct port_frame f[PORT_BURST];
    uint32_t n = port_rx(r->port, f, PORT_BURST), bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct raw_header got;
        if (f[i].len < WIRE_RRDP_HEADER)
            continue;
        memcpy(&got, f[i].data + RAW_AT, sizeof(got));
        if (got.answer != answer || (answer == RAW_ANSWER && got.number != r->expected) ||
            got.bytes > f[i].len || got.bytes > RTT_PAGE)
            continue;
        memcpy(r->in, f[i].data, got.bytes);
        bytes += got.bytes;
        *h = got;
    }
    if (n == 0)
        rtt_relax(&r->empty);
    else
        r->empty = 0;
    return bytes;
}

bool rtt_raw_ask(struct rtt_side *s, void *context)
{
    struct rtt_port *r = context;
    struct raw_header got;
    uint64_t limit = rtt_now() + RTT_LOST_MS * MS;
    (void)raw_send(s, r, ++r->expected, RAW_ASK, s->shape.ask);
    for (uint32_t bytes = 0; bytes < s->shape.reply;) {
        bytes += raw_receive(r, RAW_ANSWER, &got);
        if (r->empty > 1000 && rtt_now() > limit)
            return false;
    }
    return true;
}

void rtt_raw_answer(struct rtt_side *s, void *context)
{
    struct raw_header h;
    if (raw_receive(context, RAW_ASK, &h) > 0)
        (void)raw_send(s, context, h.number, RAW_ANSWER, s->shape.reply);
}

void rtt_raw_pages(struct rtt_side *s, void *context)
{
    struct rtt_port *r = context;
    uint32_t pages = 0;
    while (pages < PORT_BURST && raw_send(s, r, 0, RAW_STREAM, RTT_PAGE))
        pages++;
    if (pages == 0)
        rtt_relax(&r->empty);
    else
        r->empty = 0;
}

uint64_t rtt_raw_take(struct rtt_side *s, void *context)
{
    struct raw_header h;
    (void)s;
    return raw_receive(context, RAW_STREAM, &h);
}

/* ---- RRDP ---------------------------------------------------------------------------------- */

static void transmit(struct rtt_port *r, uint64_t now)
{
    struct rrdp_frame f;
    uint32_t copied;
    bool sent = false;
    while (rrdp_transmit(r->rrdp, now, &f))
        sent |= port_put_frame(r->port, &f, r->page + f.payload_offset, &copied);
    if (sent)
        r->port->ops->flush(r->port);
}

/* The urgent class takes short messages only. */
static uint8_t class_of(uint32_t len)
{
    return len >= RTT_PAGE         ? WIRE_CLASS_DATA
           : len > RRDP_MSG_INLINE ? WIRE_CLASS_REQUEST
                                   : WIRE_CLASS_URGENT;
}

int rtt_rrdp_say(struct rtt_side *s, struct rtt_port *r, const struct rtt_head *head, uint32_t len)
{
    uint8_t m[RRDP_MSG_INLINE] = {0};
    /* A page is a message's payload behind its header. */
    uint32_t own = len >= RTT_PAGE ? WIRE_MSG_HEADER : len < sizeof(m) ? len : sizeof(m);
    uint32_t payload = len >= RTT_PAGE ? RTT_PAGE : len - own;
    memcpy(m, head, sizeof(*head));
    return rrdp_send(r->rrdp, !s->side, s->shape.classed ? s->shape.cls : class_of(len), m,
                     (uint16_t)own, 0, payload, false, 0);
}

static void take(struct rtt_port *r, const struct rrdp_segment *g)
{
    struct rtt_head *h = &r->head[g->cls];
    if (g->first)
        memcpy(h, g->data, sizeof(*h)); /* 22 bytes at least */
    uint32_t at = g->offset < RTT_PAGE ? g->offset : RTT_PAGE;
    memcpy(r->in + at, g->data, g->len < RTT_PAGE - at ? g->len : RTT_PAGE - at);
    if (!g->last)
        return;
    if (h->kind == RTT_KIND_ASK && r->todos < RRDP_SEGMENTS_MAX) {
        r->todo[r->todos++] = *h;
    } else if (h->kind == RTT_KIND_ANSWER) {
        r->answered |= h->number == r->expected;
        if (r->on_answer != NULL)
            r->on_answer(r->on_answer_arg, h->number);
    } else if (h->kind == RTT_KIND_PAGE) {
        r->pages++;
    }
}

static void answer_all(struct rtt_side *s, struct rtt_port *r)
{
    for (uint32_t i = 0; i < r->todos; i++) {
        struct rtt_head h = r->todo[i];
        uint32_t len = h.reply >= RTT_MIN && h.reply <= RTT_PAGE ? h.reply : RTT_MIN;
        h.kind = RTT_KIND_ANSWER;
        (void)rtt_rrdp_say(s, r, &h, len);
    }
    r->todos = 0;
}

bool rtt_rrdp_poll(struct rtt_side *s, struct rtt_port *r)
{
    struct port_frame f[PORT_BURST];
    struct rrdp_event ev;
    uint64_t now = rtt_now();
    r->answered = false;
    uint32_t n = port_rx(r->port, f, PORT_BURST);
    for (uint32_t i = 0; i < n; i++) {
        rrdp_receive(r->rrdp, now, f[i].src, f[i].data, f[i].len, &r->segments);
        for (uint32_t k = 0; k < r->segments.n; k++)
            take(r, &r->segments.seg[k]);
        r->peer = f[i].src;
        answer_all(s, r);
    }
    rrdp_tick(r->rrdp, now);
    transmit(r, now);
    while (rrdp_event(r->rrdp, &ev))
        r->mtu_known |= ev.type == RRDP_EV_MTU;
    if (n == 0)
        rtt_relax(&r->empty);
    else
        r->empty = 0;
    return r->answered;
}

bool rtt_port_connect(struct rtt_side *s, struct rtt_port *r)
{
    uint64_t limit = rtt_now() + 10000 * MS;
    bool up = false;
    /* Polls on for a while after it is up, so that the other side gets there too, and first laps
     * are done. */
    for (uint64_t until = limit; rtt_now() < until && rtt_now() < limit;) {
        rtt_rrdp_poll(s, r);
        r->port->ops->flush(r->port);
        if (!up && rrdp_peer_up(r->rrdp, !s->side) && r->mtu_known) {
            up = true;
            until = rtt_now() + 300 * MS;
        }
    }
    return up;
}

bool rtt_rrdp_ask(struct rtt_side *s, void *context)
{
    struct rtt_port *r = context;
    uint64_t now = rtt_now(), limit = now + 1000 * MS;
    struct rtt_head h = {.kind = RTT_KIND_ASK, .number = ++r->expected, .reply = s->shape.reply};
    if (rtt_rrdp_say(s, r, &h, s->shape.ask) != 0)
        return false;
    transmit(r, now);
    while (!rtt_rrdp_poll(s, r))
        if (r->empty > 1000 && rtt_now() > limit)
            return false;
    return true;
}

void rtt_rrdp_answer(struct rtt_side *s, void *context)
{
    rtt_rrdp_poll(s, context);
}
