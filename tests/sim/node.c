/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One simulated node: what the engine does in production, in virtual time. It carries out the
 * actions of the coherence core, moves page bytes between frames and messages, and keeps the freeze
 * rule: bytes that the transport may still send again are copied aside before their frame changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "tests/sim/sim.h"

static void grow(struct sim_queue *q)
{
    uint32_t n = q->tail - q->head;
    if (n < q->size)
        return;
    uint32_t size = q->size ? q->size * 2 : 16;
    struct sim_backlog *item = malloc(size * sizeof(*item));
    for (uint32_t i = 0; i < n; i++)
        item[i] = q->item[(q->head + i) % q->size];
    free(q->item);
    *q = (struct sim_queue){.item = item, .head = 0, .tail = n, .size = size};
}

/* rrdp parameters: the dead time is far beyond every clog, so that only a crash brings a peer down.
 */
static struct rrdp_config transport_config(const struct sim_world *w, uint8_t id)
{
    const uint64_t us = 1000, ms = 1000 * us;
    return (struct rrdp_config){
        .self = id,
        .nodes = (uint8_t)w->opt.nodes,
        .cluster_id = 0x70616E646F000000 ^ w->seed,
        .epoch = 1 + (w->seed << 8) + id + ((uint64_t)w->node[id].life << 56),
        .config_hash = w->seed * 31,
        .mtu = w->opt.mtu,
        .credit = w->opt.credit,
        .rto_min_ns = 300 * us,
        .rto_max_ns = 20 * ms,
        .ack_delay_ns = 40 * us,
        .heartbeat_ns = 20 * ms,
        .dead_ns = 2000 * ms,
        .syn_ns = 5 * ms,
        .group_min = w->opt.group_min,
    };
}

static struct coh_config coherence_config(const struct sim_world *w, uint8_t id)
{
    const struct sim_options *o = &w->opt;
    struct coh_config c = {
        .self = id,
        .nodes = (uint8_t)o->nodes,
        .vm = 1,
        .home_mode = o->range_homes ? COH_HOME_RANGE : COH_HOME_INTERLEAVE,
        .interleave_shift = (uint8_t)(w->seed % 3),
        .pages = o->pages,
        .epoch_txn = 1 + (w->seed & 0xFFFF) * 1000 + ((uint64_t)w->node[id].life << 40),
        .txn_max = o->txn_max,
        .deferred_max = o->nodes * o->txn_max < 64 ? 64 : o->nodes * o->txn_max,
        .resident_max = o->pages * o->resident_pct / 100,
        .hold_ns = o->hold,
        .hold_max_ns = o->hold_max,
        .zero_ahead = o->zero_ahead,
    };
    for (uint32_t n = 0; n < o->nodes; n++)
        c.range_end[n] = (uint64_t)o->pages * (n + 1) / o->nodes;
    return c;
}

void node_create(struct sim_world *w, uint8_t id)
{
    struct sim_node *n = &w->node[id];
    struct coh_config cc = coherence_config(w, id);
    struct rrdp_config rc = transport_config(w, id);
    size_t coh_bytes = coh_size(&cc), rrdp_bytes = rrdp_size(&rc);
    *n = (struct sim_node){
        .id = id, .life = n->life, .last_txn = n->last_txn, .next_wake = UINT64_MAX};
    PANDO_CHECK(coh_bytes > 0 && rrdp_bytes > 0);
    n->coh_mem = aligned_alloc(64, (coh_bytes + 63) & ~(size_t)63);
    n->rrdp_mem = aligned_alloc(64, (rrdp_bytes + 63) & ~(size_t)63);
    memset(n->coh_mem, 0, coh_bytes);
    n->coh = coh_init(n->coh_mem, &cc);
    n->rrdp = rrdp_init(n->rrdp_mem, &rc, w->now);
    PANDO_CHECK(n->coh != NULL && n->rrdp != NULL);
    n->frame = calloc(w->opt.pages, WIRE_PAGE_SIZE);
    uint32_t pins = freeze_pins(w->opt.nodes, w->opt.txn_max + COH_EVICT_MAX);
    n->freeze_mem = calloc(1, freeze_size(pins));
    freeze_init(&n->freeze, n->freeze_mem, pins);
    irq_start(w, n);
}

void node_destroy(struct sim_node *n)
{
    for (uint32_t p = 0; p < SIM_NODES_MAX; p++)
        for (uint32_t c = 0; c < WIRE_CLASSES; c++)
            free(n->backlog[p][c].item);
    free(n->coh_mem);
    free(n->rrdp_mem);
    free(n->frame);
    free(n->freeze_mem);
    free(n->routes);
}

/* The bytes of this page are about to change: whatever is still to be sent goes on from a copy. */
static void thaw(struct sim_node *n, uint64_t page)
{
    uint64_t before = n->freeze.copies;
    freeze_thaw(&n->freeze, n->rrdp, page, n->frame[page]);
    sim_coverage.unfreeze += n->freeze.copies - before;
}

/* ---- actions ------------------------------------------------------------------------------- */

static int try_send(struct sim_node *n, uint8_t dst, const struct sim_backlog *b)
{
    return rrdp_send(n->rrdp, dst, b->cls, b->header, sizeof(b->header),
                     b->paged ? n->freeze.pin[b->pin].handle : 0, b->paged ? WIRE_PAGE_SIZE : 0,
                     b->paged, b->pin);
}

void node_send(struct sim_node *n, uint8_t dst, const struct sim_backlog *b)
{
    struct sim_queue *q = &n->backlog[dst][b->cls];
    int err = q->head == q->tail ? try_send(n, dst, b) : -EAGAIN;
    if (err == 0)
        return;
    if (err == -EAGAIN) {
        grow(q);
        q->item[q->tail++ % q->size] = *b;
        return;
    }
    PANDO_CHECK(err == -ENOTCONN); /* the peer is gone: PEER_DOWN follows */
    if (b->paged)
        freeze_unpin(&n->freeze, b->pin);
}

static void act_send(struct sim_world *w, struct sim_node *n, const struct coh_action *a)
{
    const struct wire_kind_info *info = wire_kind_info(a->msg.kind);
    struct sim_backlog b = {.cls = info->cls};
    PANDO_CHECK(a->dst != n->id && a->dst < w->opt.nodes);
    check_request(w, n, &a->msg);
    wire_msg_pack(&a->msg, b.header);
    if (info->payload == WIRE_PAGE) {
        b.paged = true;
        b.pin = freeze_pin(&n->freeze, a->msg.page);
    }
    node_send(n, a->dst, &b);
}

static void drain_backlog(struct sim_world *w, struct sim_node *n)
{
    for (uint8_t p = 0; p < w->opt.nodes; p++)
        for (uint32_t c = 0; c < WIRE_CLASSES; c++) {
            struct sim_queue *q = &n->backlog[p][c];
            while (q->head != q->tail) {
                const struct sim_backlog *b = &q->item[q->head % q->size];
                int err = try_send(n, p, b);
                if (err == -EAGAIN)
                    break;
                if (err != 0 && b->paged)
                    freeze_unpin(&n->freeze, b->pin);
                q->head++;
            }
        }
}

void node_effect(struct sim_world *w, struct sim_node *n, uint32_t page, enum coh_action_type type,
                 bool writable)
{
    if (type == COH_ACT_MAP)
        n->map[page] = writable ? MAP_RW : MAP_RO;
    else if (type == COH_ACT_PROTECT && n->map[page] == MAP_RW)
        n->map[page] = MAP_RO;
    else if (type == COH_ACT_UNMAP && !(w->plant == PLANT_ZAP && w->seed % 7 == 0))
        n->map[page] = MAP_NONE;
    check_mapping(w, page, n->life);
    if (type == COH_ACT_MAP)
        vcpu_wake(w, n, page);
}

static void act_edge(struct sim_world *w, struct sim_node *n, const struct coh_action *a)
{
    uint32_t page = (uint32_t)a->page;
    PANDO_CHECK(page < w->opt.pages);
    if (a->type == COH_ACT_MAP && (a->zero || a->writable))
        thaw(n, page);
    if (a->type == COH_ACT_MAP && a->zero)
        memset(n->frame[page], 0, WIRE_PAGE_SIZE);
    if (a->type == COH_ACT_MAP && a->again) {
        node_effect(w, n, page, COH_ACT_MAP, a->writable);
        return;
    }
    if (n->edge_open[page]) {
        check_fail(w, SIM_SAFETY, "node %u: two edge actions open for page %u", n->id, page);
        return;
    }
    n->edge_open[page] = true;
    uint64_t effect = w->now + 1 + prng_next(&w->rng) % w->opt.edge_max;
    uint64_t done = effect + prng_next(&w->rng) % w->opt.edge_max;
    struct sim_event ev = {.time = effect,
                           .type = EV_EFFECT,
                           .node = n->id,
                           .arg = (uint8_t)a->type,
                           .flag = a->writable,
                           .page = page};
    sim_push(w, ev);
    ev.time = done;
    ev.type = EV_DONE;
    sim_push(w, ev);
}

static void act(struct sim_world *w, struct sim_node *n, const struct coh_action *a)
{
    if (w->trace) {
        char text[160];
        coh_action_print(a, text, sizeof(text));
        sim_trace(w, "n%u   %s", n->id, text);
    }
    switch (a->type) {
    case COH_ACT_SEND:
        act_send(w, n, a);
        break;
    case COH_ACT_MAP:
    case COH_ACT_PROTECT:
    case COH_ACT_UNMAP:
        act_edge(w, n, a);
        break;
    case COH_ACT_PUNCH:
        if (n->map[a->page] != MAP_NONE)
            check_fail(w, SIM_SAFETY, "node %u punches page %u, which is mapped", n->id,
                       (unsigned)a->page);
        thaw(n, a->page);
        memset(n->frame[a->page], 0xEE, WIRE_PAGE_SIZE); /* whoever reads it now is caught */
        break;
    case COH_ACT_STOP:
        n->stopped = true;
        if (a->dst >= w->opt.nodes)
            check_fail(w, SIM_SAFETY, "node %u stops, naming node %u, which does not exist", n->id,
                       a->dst);
        if (a->reason != COH_STOP_PEER_LOST)
            check_fail(w, SIM_SAFETY, "node %u stops the VM, reason %u", n->id, a->reason);
        break;
    }
}

void node_step(struct sim_world *w, struct sim_node *n, struct coh_event *ev)
{
    ev->now = w->now;
    if (w->trace) {
        char text[160];
        coh_event_print(ev, text, sizeof(text));
        sim_trace(w, "n%u %s", n->id, text);
    }
    if (w->transitions != NULL)
        observe_before(w, n, ev);
    coh_step(n->coh, ev, &w->actions);
    if (w->transitions != NULL)
        observe_after(w, n, ev);
    for (uint32_t i = 0; i < w->actions.n; i++)
        act(w, n, &w->actions.a[i]);
    if (ev->type != COH_EV_TICK && ev->type != COH_EV_PEER_DOWN && w->result == SIM_PASS)
        check_node(w, n, ev->type == COH_EV_MESSAGE ? ev->msg.page % w->opt.pages : ev->page);
}

/* ---- receive ------------------------------------------------------------------------------- */

static void begin_message(struct sim_world *w, struct sim_node *n, const struct rrdp_segment *s)
{
    struct sim_rx *rx = &n->rx[s->peer][s->cls];
    uint8_t kind = s->len ? s->data[0] : 0;
    uint32_t payload = wire_kind_info(kind)->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 0;
    if (kind == WIRE_IRQ) {
        rx->mode = RX_IRQ;
        if (wire_glue_unpack(s->data, s->len, s->cls, 0, &rx->irq) != WIRE_OK)
            check_fail(w, SIM_SAFETY, "node %u: an interrupt message is refused", n->id);
        return;
    }
    enum wire_error err = wire_msg_unpack(
        s->data, s->len < WIRE_MSG_HEADER ? s->len : WIRE_MSG_HEADER, s->cls, payload, &rx->msg);
    if (err != WIRE_OK) {
        check_fail(w, SIM_SAFETY, "node %u: message refused: %s", n->id, wire_error_name(err));
        rx->mode = RX_REFUSED;
        return;
    }
    if (payload == 0)
        rx->mode = RX_CONTROL;
    else if (rx->msg.kind != WIRE_DATA)
        rx->mode = RX_STAGED;
    else
        rx->mode = coh_wants_data(n->coh, s->peer, &rx->msg) ? RX_IN_PLACE : RX_REFUSED;
}

static void fill(struct sim_node *n, const struct sim_rx *rx, uint32_t at, const uint8_t *data,
                 uint32_t len)
{
    thaw(n, rx->msg.page);
    memcpy(n->frame[rx->msg.page] + at, data, len);
}

static void segment(struct sim_world *w, struct sim_node *n, const struct rrdp_segment *s)
{
    struct sim_rx *rx = &n->rx[s->peer][s->cls];
    const uint8_t *data = s->data;
    uint32_t len = s->len, at = s->offset;
    if (s->first) {
        begin_message(w, n, s);
        uint32_t skip = len < WIRE_MSG_HEADER ? len : WIRE_MSG_HEADER;
        data += skip;
        len -= skip;
        at += skip;
    }
    if (len > 0 && at + len <= WIRE_MSG_HEADER + WIRE_PAGE_SIZE) {
        if (s->placed && (rx->mode != RX_IN_PLACE || data != n->frame[rx->msg.page]))
            check_fail(w, SIM_SAFETY, "node %u wrote into memory of node %u", s->peer, n->id);
        else if (s->placed)
            sim_coverage.placed++;
        else if (rx->mode == RX_IN_PLACE)
            fill(n, rx, at - WIRE_MSG_HEADER, data, len);
        else if (rx->mode == RX_STAGED)
            memcpy(rx->staged + at - WIRE_MSG_HEADER, data, len);
    }
    if (!s->last)
        return;
    if (rx->mode == RX_IRQ) {
        rx->mode = RX_NONE;
        irq_arrives(w, n, &rx->irq);
        return;
    }
    if (rx->mode == RX_STAGED && coh_takes_put(n->coh, s->peer, &rx->msg)) {
        thaw(n, rx->msg.page);
        memcpy(n->frame[rx->msg.page], rx->staged, WIRE_PAGE_SIZE);
    }
    struct coh_event ev = {
        .type = COH_EV_MESSAGE, .src = s->peer, .page = rx->msg.page, .msg = rx->msg};
    rx->mode = RX_NONE;
    liar_before(w, n, &ev);
    node_step(w, n, &ev);
    liar_after(w, n, &ev);
}

void node_place(struct sim_node *n, uint32_t page, const uint8_t *bytes)
{
    memcpy(n->frame[page], bytes, WIRE_PAGE_SIZE);
}

void node_frame(struct sim_world *w, struct sim_node *n, const struct sim_event *ev)
{
    struct rrdp_mac mac = {.addr = {2, 0, 0, 0, 0, ev->src}};
    const uint8_t *placed = ev->flag ? n->frame[ev->page] : NULL;
    rrdp_receive_parts(n->rrdp, w->now, mac, ev->bytes, ev->len, placed,
                       placed != NULL ? WIRE_PAGE_SIZE : 0, &w->segments);
    for (uint32_t i = 0; i < w->segments.n && w->result == SIM_PASS; i++)
        segment(w, n, &w->segments.seg[i]);
}

/* ---- transmit and timers ------------------------------------------------------------------- */

static void events(struct sim_world *w, struct sim_node *n)
{
    struct rrdp_event ev;
    while (rrdp_event(n->rrdp, &ev)) {
        if (ev.type == RRDP_EV_SENT) {
            freeze_unpin(&n->freeze, (uint32_t)ev.value);
        } else if (ev.type == RRDP_EV_DOWN) {
            bool runs = w->running && n->life == w->life;
            sim_trace(w, "n%u peer %u down, reason %u", n->id, ev.peer, (unsigned)ev.value);
            if (w->opt.crash_at == 0 || (runs && n->life == 1))
                check_fail(w, SIM_SAFETY, "node %u lost peer %u without a crash (%u)", n->id,
                           ev.peer, (unsigned)ev.value);
            if (n->life == 1 && !runs && ev.value == RRDP_DOWN_RESTARTED)
                continue; /* the VM has not started: that one joins again at once */
            struct coh_event down = {.type = COH_EV_PEER_DOWN, .src = ev.peer};
            node_step(w, n, &down);
        } else if (ev.type == RRDP_EV_PONG) {
            if (ev.peer == n->id || ev.by != WIRE_PING_BY_PROCESS || ev.value != n->ping[ev.peer])
                check_fail(w, SIM_SAFETY, "node %u: an answer of %u to what was not asked", n->id,
                           ev.peer);
            n->ping[ev.peer] = 0;
            sim_coverage.pongs++;
        } else if (ev.type == RRDP_EV_REFUSED &&
                   (ev.value != RRDP_REFUSE_VERSION || w->opt.lies_ppm == 0)) {
            check_fail(w, SIM_SAFETY, "node %u refuses peer %u", n->id, ev.peer);
        }
    }
}

static void transmit(struct sim_world *w, struct sim_node *n)
{
    struct rrdp_frame f;
    uint8_t bytes[SIM_FRAME_MAX];
    while (rrdp_transmit(n->rrdp, w->now, &f)) {
        uint32_t len = f.header_len;
        memcpy(bytes, f.header, len);
        if (f.inline_len > 0)
            memcpy(bytes + len, f.inline_data, f.inline_len);
        len += f.inline_len;
        if (f.payload_len > 0) {
            const uint8_t *from = freeze_is_staged(f.payload) ? freeze_staged(&n->freeze, f.payload)
                                                              : n->frame[f.payload];
            memcpy(bytes + len, from + f.payload_offset, f.payload_len);
            len += f.payload_len;
        }
        wire_rrdp_seal(bytes, len);
        len = rrdp_frame_pad(&f, bytes, len);
        if (len > w->opt.mtu)
            check_fail(w, SIM_SAFETY, "node %u sends a frame of %u bytes at mtu %u", n->id, len,
                       w->opt.mtu);
        net_send(w, n->id, &f, bytes, len);
    }
}

/* Now and then a node asks whether another's host is there, which must not matter to anything. */
static void ping(struct sim_world *w, struct sim_node *n)
{
    uint8_t peer = (uint8_t)prng_below(&w->rng, w->opt.nodes);
    if (!prng_chance(&w->rng, w->opt.ping_ppm) || peer == n->id)
        return;
    n->ping[peer] = prng_next(&w->rng) | 1;
    rrdp_host_ping(n->rrdp, peer, (uint32_t)n->ping[peer], (uint32_t)(n->ping[peer] >> 32));
}

void node_pump(struct sim_world *w, struct sim_node *n)
{
    if (rrdp_deadline(n->rrdp) <= w->now)
        rrdp_tick(n->rrdp, w->now);
    events(w, n);
    ping(w, n);
    for (uint32_t i = 0; i < 64 && coh_deadline(n->coh) <= w->now; i++) {
        struct coh_event tick = {.type = COH_EV_TICK};
        node_step(w, n, &tick);
    }
    drain_backlog(w, n);
    transmit(w, n);
    uint64_t next = min_u64(rrdp_deadline(n->rrdp), coh_deadline(n->coh));
    if (next <= w->now)
        next = w->now + 1;
    if (next < n->next_wake) {
        n->next_wake = next;
        sim_push(w, (struct sim_event){.time = next, .type = EV_WAKE, .node = n->id});
    }
}
