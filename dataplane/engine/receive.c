/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames in: port -> RRDP -> segments in order -> messages.
 *
 * A page that is awaited is copied once, from the port's buffer straight into the guest frame, or
 * not at all where the peer's device wrote it there (port.h: pages in place);
 * whether it is awaited is asked again at every segment. An evicted page (PUTM, PUTO) is copied
 * when the core takes it; where it comes in several frames, it is collected aside until then, which
 * is a second copy. A frame that came before its turn is copied by the transport (parked) and goes
 * on from there. Messages for the glue are collected aside as well. Peers' bytes are validated
 * here, once.
 */
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"

static void refuse(struct engine *e, struct engine_rx *rx, enum wire_error why)
{
    rx->mode = RX_SWALLOW;
    switch (why) {
    case WIRE_E_SHORT:
    case WIRE_E_LENGTH:
        engine_drop(e, ENGINE_DROP_MSG_LENGTH);
        break;
    case WIRE_E_KIND:
        engine_drop(e, ENGINE_DROP_MSG_KIND);
        break;
    case WIRE_E_CLASS:
        engine_drop(e, ENGINE_DROP_MSG_CLASS);
        break;
    case WIRE_E_RESERVED:
        engine_drop(e, ENGINE_DROP_MSG_RESERVED);
        break;
    default:
        engine_drop(e, ENGINE_DROP_MSG_RANGE);
        break;
    }
}

/* The first segment holds the header; the transport refuses shorter ones. */
static void begin(struct engine *e, struct engine_rx *rx, const struct rrdp_segment *s)
{
    memcpy(rx->header, s->data, WIRE_MSG_HEADER);
    rx->page = rx->bytes;
    const struct wire_kind_info *info = wire_kind_info(rx->header[0]);
    if (info->name == NULL) {
        refuse(e, rx, WIRE_E_KIND);
        return;
    }
    if (info->family == WIRE_FAMILY_CLOCK) {
        rx->mode = RX_CLOCK;
        return;
    }
    if (info->family == WIRE_FAMILY_SPAN) {
        rx->mode = RX_SPAN;
        return;
    }
    if (info->family == WIRE_FAMILY_GLUE) {
        rx->mode = RX_GLUE;
        return;
    }
    uint32_t payload = info->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 0;
    enum wire_error err = wire_msg_unpack(rx->header, WIRE_MSG_HEADER, s->cls, payload, &rx->msg);
    if (err != WIRE_OK)
        refuse(e, rx, err);
    else if (rx->msg.page >= e->cfg->vm.ram_pages)
        refuse(e, rx, WIRE_E_RANGE);
    else if (payload == 0)
        rx->mode = RX_CONTROL;
    else
        rx->mode = rx->msg.kind == WIRE_DATA ? RX_IN_PLACE : RX_STAGED;
}

/* len bytes of the payload, at offset `at` of it. */
static void payload(struct engine *e, struct engine_rx *rx, uint8_t peer, uint32_t at,
                    const uint8_t *data, uint32_t len)
{
    uint32_t limit = rx->mode == RX_GLUE      ? WIRE_BYTES_MAX
                     : rx->mode == RX_CLOCK   ? WIRE_TIME_BYTES
                     : rx->mode == RX_SPAN    ? WIRE_SPAN_MAX - WIRE_MSG_HEADER
                     : rx->mode == RX_CONTROL ? 0
                                              : WIRE_PAGE_SIZE;
    if (rx->mode == RX_SWALLOW)
        return;
    if (at + len > limit) {
        refuse(e, rx, WIRE_E_LENGTH);
        return;
    }
    if (rx->mode != RX_IN_PLACE) {
        memcpy(rx->bytes + at, data, len);
        if (rx->mode == RX_STAGED)
            e->count.page_copied_in += len;
        return;
    }
    uint8_t *frame = ram_frame(&e->ram, rx->msg.page);
    if (frame == NULL || !coh_wants_data(e->coh, peer, &rx->msg)) {
        if (frame == NULL)
            engine_drop(e, ENGINE_DROP_NO_FRAME);
        e->count.data_not_copied++;
        /* Not swallowed: the core gets the message, without its bytes, and counts why it is not
         * acceptable. */
        return;
    }
    e->count.page_bytes_in += len;
    if (data == frame + at)
        return; /* the peer's device wrote it there */
    thaw(e, rx->msg.page);
    memcpy(frame + at, data, len);
    e->count.page_copied_in += len;
}

/* What a peer wrote into guest memory has happened already. It is right only where this page was
 * awaited of this peer; anywhere else the guest's memory is no longer what it was. */
static bool misplaced(struct engine *e, struct engine_rx *rx, const struct rrdp_segment *s)
{
    if (rx->mode == RX_IN_PLACE && s->len == WIRE_PAGE_SIZE &&
        s->data == ram_frame(&e->ram, rx->msg.page) && coh_wants_data(e->coh, s->peer, &rx->msg))
        return false;
    engine_stop(e, false, "node %u (%s) wrote into memory of node %u that was not open to it",
                s->peer, node_name(e, s->peer), e->self);
    return true;
}

static void take_put(struct engine *e, struct engine_rx *rx, uint8_t peer)
{
    if (!coh_takes_put(e->coh, peer, &rx->msg)) {
        e->count.puts_not_copied++; /* stale, or the home has the bytes itself */
        return;
    }
    uint8_t *frame = ram_frame(&e->ram, rx->msg.page);
    if (frame == NULL) {
        engine_stop(e, false,
                    "node %u (%s) evicts page 0x%llx to its home, node %u, which has no guest RAM "
                    "for it yet",
                    peer, node_name(e, peer), (unsigned long long)rx->msg.page, e->self);
        return;
    }
    thaw(e, rx->msg.page);
    memcpy(frame, rx->page, WIRE_PAGE_SIZE);
    e->count.page_bytes_in += WIRE_PAGE_SIZE;
    e->count.page_copied_in += WIRE_PAGE_SIZE;
}

/* Messages that the coherence core does not know, complete in rx->bytes. */
static enum wire_error finish_glue(struct engine *e, struct engine_rx *rx,
                                   const struct rrdp_segment *s, uint32_t len)
{
    struct wire_glue g;
    enum wire_error err = wire_glue_unpack(rx->header, WIRE_MSG_HEADER, s->cls, len, &g);
    if (err != WIRE_OK)
        return err;
    PROBE(message_received, e->self, s->peer, g.kind, g.chan, g.seq, e->received_at);
    glue_deliver(e, s->peer, &g, rx->bytes, len);
    return WIRE_OK;
}

static enum wire_error finish_clock(struct engine *e, struct engine_rx *rx,
                                    const struct rrdp_segment *s, uint32_t len)
{
    struct wire_time t;
    enum wire_error err = wire_time_unpack(rx->header, WIRE_MSG_HEADER, s->cls, rx->bytes, len, &t);
    if (err != WIRE_OK)
        return err;
    PROBE(message_received, e->self, s->peer, t.kind, 0, t.seq, e->received_at);
    clock_message(e, s->peer, &t);
    return WIRE_OK;
}

static enum wire_error finish_span(struct engine *e, struct engine_rx *rx,
                                   const struct rrdp_segment *s, uint32_t len)
{
    struct wire_span m;
    enum wire_error err = wire_span_unpack(rx->header, WIRE_MSG_HEADER, s->cls, rx->bytes, len, &m);
    if (err != WIRE_OK)
        return err;
    PROBE(message_received, e->self, s->peer, m.kind, m.chan, m.id, e->received_at);
    span_message_in(e, s->peer, &m);
    return WIRE_OK;
}

static void finish(struct engine *e, struct engine_rx *rx, const struct rrdp_segment *s,
                   uint32_t total)
{
    enum engine_rx_mode mode = rx->mode;
    uint32_t len = total - WIRE_MSG_HEADER;
    rx->mode = RX_NONE;
    if (mode == RX_SWALLOW || mode == RX_NONE)
        return;
    e->count.rx[rx->header[0]]++; /* of a kind that exists: begin() looked */
    if (mode == RX_GLUE || mode == RX_CLOCK || mode == RX_SPAN) {
        enum wire_error err = mode == RX_GLUE    ? finish_glue(e, rx, s, len)
                              : mode == RX_CLOCK ? finish_clock(e, rx, s, len)
                                                 : finish_span(e, rx, s, len);
        if (err != WIRE_OK)
            refuse(e, rx, err);
        rx->mode = RX_NONE;
        return;
    }
    if (mode != RX_CONTROL && len != WIRE_PAGE_SIZE) {
        engine_drop(e, ENGINE_DROP_MSG_LENGTH);
        return;
    }
    if (mode == RX_STAGED)
        take_put(e, rx, s->peer);
    struct coh_event ev = {
        .type = COH_EV_MESSAGE, .src = s->peer, .page = rx->msg.page, .msg = rx->msg};
    PROBE(message_received, e->self, s->peer, rx->msg.kind, rx->msg.page, rx->msg.txn,
          e->received_at);
    span_received(e, s->peer, &rx->msg);
    engine_step(e, &ev);
}

static void segment(struct engine *e, const struct rrdp_segment *s)
{
    struct engine_rx *rx = &e->rx[s->peer][s->cls];
    const uint8_t *data = s->data;
    uint32_t len = s->len, at = s->offset;
    if (s->first) {
        begin(e, rx, s);
        data += WIRE_MSG_HEADER;
        len -= WIRE_MSG_HEADER;
        at += WIRE_MSG_HEADER;
    }
    if (s->placed && misplaced(e, rx, s))
        return;
    if (rx->mode == RX_STAGED && s->first && s->last && len == WIRE_PAGE_SIZE)
        rx->page = data; /* all of it is here: taken, if it is, from where it lies */
    else if (len > 0)
        payload(e, rx, s->peer, at - WIRE_MSG_HEADER, data, len);
    if (s->last)
        finish(e, rx, s, s->offset + s->len);
}

static void take_segment(struct engine *e, const struct rrdp_segment *s)
{
    if (e->phase != ENGINE_LEAVING)
        segment(e, s);
    else if (s->last)
        engine_drop(e, ENGINE_DROP_MSG_ENDED);
}

bool receive_frames(struct engine *e)
{
    struct port_frame f[PORT_BURST];
    bool useful = false;
    for (uint32_t left = e->cfg->poll.rx_frames, n; left > 0; left -= n) {
        n = port_rx(e->port, f, min_u32(left, PORT_BURST));
        if (n == 0)
            break;
        useful = true;
        e->now = e->received_at = engine_now();
        for (uint32_t i = 0; i < n; i++) {
            rrdp_receive_parts(e->rrdp, e->now, f[i].src, f[i].data, f[i].len, f[i].ext,
                               f[i].ext_len, e->segments);
            PROBE(frame_received, e->self, f[i].len + f[i].ext_len, f[i].ext_len, e->segments->n);
            /* A page often comes back with the acknowledgement of what we sent of it: taken first,
             * that makes its frame free to change, and no copy aside is needed. */
            peers_events(e);
            for (uint32_t k = 0; k < e->segments->n; k++)
                take_segment(e, &e->segments->seg[k]);
        }
    }
    return useful;
}
