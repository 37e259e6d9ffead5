/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages out. A coherence message for which the transport has no room waits in the backlog of its
 * (peer, class), in order; what waits there is bounded, as every message belongs to a transaction
 * or eviction that cannot end before it has arrived (engine.c sizes the pool). A message of the
 * glue waits in the glue's own ring.
 */
#include <errno.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"
#include "dataplane/port/frame.h"

static int try_send(struct engine *e, uint8_t dst, uint8_t cls, const struct engine_late *m)
{
    uint64_t handle = m->paged ? e->freeze.pin[m->pin].handle : 0;
    return rrdp_send(e->rrdp, dst, cls, m->header, WIRE_MSG_HEADER, handle,
                     m->paged ? WIRE_PAGE_SIZE : 0, m->paged, m->pin);
}

static void keep(struct engine *e, uint8_t dst, uint8_t cls, const struct engine_late *m)
{
    struct engine_fifo *q = &e->backlog[dst][cls];
    uint32_t i = pool_get(&e->late_pool);
    PANDO_CHECK(i != POOL_NONE);
    e->late[i] = *m;
    e->late[i].next = POOL_NONE;
    if (q->first == POOL_NONE)
        q->first = i;
    else
        e->late[q->last].next = i;
    q->last = i;
    PROBE(backlog, e->self, dst, cls, m->header[0], e->late_pool.used);
    e->count.backlog_high = max_u64(e->count.backlog_high, e->late_pool.used);
}

static void give_up(struct engine *e, const struct engine_late *m)
{
    if (m->paged)
        freeze_unpin(&e->freeze, m->pin);
    engine_drop(e, ENGINE_DROP_MSG_NO_PEER);
}

void transmit_message(struct engine *e, uint8_t dst, const struct wire_msg *m)
{
    const struct wire_kind_info *info = wire_kind_info(m->kind);
    struct engine_fifo *q = &e->backlog[dst][info->cls];
    struct engine_late out = {.paged = info->payload == WIRE_PAGE};
    PANDO_CHECK(dst != e->self && dst < e->nodes);
    span_asked(e, m);
    wire_msg_pack(m, out.header);
    if (out.paged)
        out.pin = freeze_pin(&e->freeze, m->page);
    int rc = q->first == POOL_NONE ? try_send(e, dst, info->cls, &out) : -EAGAIN;
    if (PROBE_WANTED(message_sent) && (rc == 0 || rc == -EAGAIN))
        PROBE(message_sent, e->self, dst, m->kind, m->page, m->txn, m->exclusive);
    if (rc == -EAGAIN) {
        keep(e, dst, info->cls, &out);
        return;
    }
    PANDO_CHECK(rc == 0 || rc == -ENOTCONN); /* the peer is gone: its DOWN event ends the VM */
    if (rc != 0)
        give_up(e, &out);
}

static bool drain(struct engine *e, uint8_t dst, uint8_t cls)
{
    struct engine_fifo *q = &e->backlog[dst][cls];
    bool useful = false;
    while (q->first != POOL_NONE) {
        uint32_t i = q->first;
        int rc = try_send(e, dst, cls, &e->late[i]);
        if (rc == -EAGAIN)
            break;
        if (rc != 0)
            give_up(e, &e->late[i]);
        q->first = e->late[i].next;
        pool_put(&e->late_pool, i);
        useful = true;
    }
    return useful;
}

bool transmit_backlog(struct engine *e)
{
    bool useful = false;
    if (e->late_pool.used == 0)
        return false;
    for (uint8_t n = 0; n < e->nodes; n++)
        for (uint8_t c = 0; c < WIRE_CLASSES; c++)
            useful |= drain(e, n, c);
    return useful;
}

/* A message that the coherence core does not know, with what became of it. */
static int counted(struct engine *e, uint8_t kind, int rc)
{
    e->count.tx[kind] += rc == 0;
    return rc;
}

static int send_glue(struct engine *e, uint8_t dst, const struct wire_glue *m,
                     const uint8_t *payload, uint32_t len)
{
    uint8_t cls = wire_kind_info(m->kind)->cls, bytes[RRDP_MSG_INLINE];
    if (rrdp_room(e->rrdp, dst, cls) == 0 || e->backlog[dst][cls].first != POOL_NONE)
        return -EAGAIN;
    wire_glue_pack(m, bytes);
    if (len <= RRDP_MSG_INLINE - WIRE_MSG_HEADER) {
        if (len > 0)
            memcpy(bytes + WIRE_MSG_HEADER, payload, len);
        return counted(
            e, m->kind,
            rrdp_send(e->rrdp, dst, cls, bytes, (uint16_t)(WIRE_MSG_HEADER + len), 0, 0, false, 0));
    }
    uint32_t i = pool_get(&e->buffers);
    if (i == POOL_NONE) {
        e->count.buffer_stalls++;
        return -EAGAIN;
    }
    memcpy(e->buffer[i], payload, len);
    e->count.glue_bytes += len;
    int rc = rrdp_send(e->rrdp, dst, cls, bytes, WIRE_MSG_HEADER, ENGINE_BUFFER | i, len, true,
                       ENGINE_BUFFER | i);
    if (rc != 0)
        pool_put(&e->buffers, i);
    return counted(e, m->kind, rc);
}

int transmit_glue(struct engine *e, uint8_t dst, const struct wire_glue *m, const uint8_t *payload,
                  uint32_t len)
{
    int rc = send_glue(e, dst, m, payload, len);
    if (PROBE_WANTED(message_sent) && rc == 0)
        PROBE(message_sent, e->self, dst, m->kind, m->chan, m->seq, 0);
    return rc;
}

/* Of a dataplane's own: whole, kept by copy. place, id: as probes.h has them. */
static int send_short(struct engine *e, uint8_t dst, const uint8_t *bytes, size_t len,
                      uint32_t place, uint64_t id)
{
    uint8_t kind = bytes[0], cls = wire_kind_info(kind)->cls;
    int rc = rrdp_send(e->rrdp, dst, cls, bytes, (uint16_t)len, 0, 0, false, 0);
    (void)place; /* of a build without probes */
    (void)id;
    if (PROBE_WANTED(message_sent) && rc == 0)
        PROBE(message_sent, e->self, dst, kind, place, id, 0);
    return counted(e, kind, rc);
}

/* 0 or -errno: nobody waits for it, another one follows. */
int transmit_time(struct engine *e, uint8_t dst, const struct wire_time *m)
{
    uint8_t bytes[WIRE_TIME_MAX];
    _Static_assert(sizeof(bytes) <= (size_t)RRDP_MSG_INLINE, "kept by copy");
    return send_short(e, dst, bytes, wire_time_pack(m, bytes), 0, m->seq);
}

/* Likewise: who misses it has one span less. */
int transmit_span(struct engine *e, uint8_t dst, const struct wire_span *m)
{
    uint8_t bytes[WIRE_SPAN_MAX];
    _Static_assert(sizeof(bytes) <= (size_t)RRDP_MSG_INLINE, "kept by copy");
    return send_short(e, dst, bytes, wire_span_pack(m, bytes), m->chan, m->id);
}

/* The bytes behind a payload handle; they stay as they are until the message is acknowledged. */
static const uint8_t *bytes_of(const struct engine *e, uint64_t handle)
{
    if (handle & ENGINE_BUFFER)
        return e->buffer[handle & ~ENGINE_BUFFER];
    return freeze_is_staged(handle) ? freeze_staged(&e->freeze, handle)
                                    : ram_frame(&e->ram, handle);
}

/* Buffers may be filled anew from here on, so no copy of the frame that waits in the port may point
 * to them; a page's frame changes only behind thaw. */
void transmit_sent(struct engine *e, uint64_t cookie)
{
    if (cookie & ENGINE_BUFFER) {
        port_settle(e->port, bytes_of(e, cookie), WIRE_BYTES_MAX);
        pool_put(&e->buffers, (uint32_t)(cookie & ~ENGINE_BUFFER));
        return;
    }
    uint64_t handle = e->freeze.pin[cookie].handle;
    if (freeze_is_staged(handle))
        port_settle(e->port, bytes_of(e, handle), WIRE_PAGE_SIZE);
    freeze_unpin(&e->freeze, (uint32_t)cookie);
}

void thaw(struct engine *e, uint64_t page)
{
    uint8_t *frame = ram_frame(&e->ram, page);
    freeze_thaw(&e->freeze, e->rrdp, page, frame);
    if (frame != NULL)
        port_settle(e->port, frame, WIRE_PAGE_SIZE);
}

/* One frame into the port. */
static void put_frame(struct engine *e, const struct rrdp_frame *f)
{
    const uint8_t *from = NULL;
    uint32_t copied;
    if (f->payload_len > 0) {
        from = bytes_of(e, f->payload);
        PANDO_CHECK(from != NULL);
        from += f->payload_offset;
    }
    span_frame(e, f);
    if (!port_put_frame(e->port, f, from, &copied)) {
        e->count.tx_no_room++;
        return;
    }
    PROBE(frame_sent, e->self, f->peer, f->cls, f->header_len + f->inline_len + f->payload_len,
          f->retransmission);
    if (f->payload_len == 0 || f->payload & ENGINE_BUFFER)
        return;
    e->count.page_bytes_out += f->payload_len;
    e->count.page_copied_out += copied;
}

bool transmit_frames(struct engine *e)
{
    struct rrdp_frame f;
    bool useful = false;
    for (uint32_t i = 0; i < e->cfg->poll.tx_frames && rrdp_transmit(e->rrdp, e->now, &f); i++) {
        useful = true;
        put_frame(e, &f);
    }
    e->port->ops->flush(e->port); /* also what the fabric had no room for in an earlier round */
    return useful;
}
