/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rrdp_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"

static uint64_t current_seed;

static void report(const char *expr, const char *file, int line)
{
    fprintf(stderr, "seed %llu: %s:%d: %s\n", (unsigned long long)current_seed, file, line, expr);
}

struct world *world_new(uint8_t nodes, uint16_t mtu, uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    current_seed = seed;
    pando_check_set_handler(report);
    w->seed = seed;
    w->rng.state = seed;
    w->nodes = nodes;
    w->now = 1 * SEC;
    w->latency = 10 * US;
    for (uint8_t n = 0; n < W_NODES; n++)
        w->path_mtu[n] = RRDP_MTU_MAX;
    w->epoch = UINT64_C(1700000000000000000) + seed;
    for (uint8_t n = 0; n < nodes; n++) {
        w->node[n].mac = (struct rrdp_mac){{2, 0, 0, 0, 0, n}};
        w->node[n].cfg = (struct rrdp_config){
            .self = n,
            .nodes = nodes,
            .cluster_id = 0x1122334455667788,
            .config_hash = 0xC0FFEE,
            .mtu = mtu,
            .credit = RRDP_WINDOW,
            .rto_min_ns = 200 * US,
            .rto_max_ns = 100 * MS,
            .ack_delay_ns = 20 * US,
            .heartbeat_ns = 10 * MS,
            .dead_ns = 1 * SEC,
            .syn_ns = 5 * MS,
        };
    }
    return w;
}

static void forget(struct world *w, uint8_t n)
{
    free(w->node[n].mem);
    w->node[n].mem = NULL;
    w->node[n].r = NULL;
}

void world_free(struct world *w)
{
    for (uint8_t n = 0; n < w->nodes; n++)
        forget(w, n);
    for (uint32_t i = 0; i < w->packets; i++)
        free(w->heap[i].bytes);
    free(w);
}

void world_kill(struct world *w, uint8_t n)
{
    forget(w, n);
    memset(w->node[n].link, 0, sizeof(w->node[n].link));
}

void world_start(struct world *w, uint8_t n)
{
    struct w_node *node = &w->node[n];
    world_kill(w, n);
    w->epoch += 1 * SEC;
    node->cfg.epoch = w->epoch;
    size_t size = rrdp_size(&node->cfg);
    assert_true(size > 0);
    node->mem = aligned_alloc(64, (size + 63) & ~(size_t)63);
    assert_non_null(node->mem);
    memset(node->mem, 0xA5, size);
    node->r = rrdp_init(node->mem, &node->cfg, w->now);
    assert_non_null(node->r);
}

void world_start_all(struct world *w)
{
    for (uint8_t n = 0; n < w->nodes; n++)
        world_start(w, n);
}

/* ---- the network --------------------------------------------------------------------------- */

static bool sooner(const struct w_packet *a, const struct w_packet *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(struct w_packet *a, struct w_packet *b)
{
    struct w_packet t = *a;
    *a = *b;
    *b = t;
}

static void put(struct world *w, uint64_t at, uint8_t src, uint8_t dst, const uint8_t *bytes,
                size_t len)
{
    assert_true(w->packets < W_PACKETS);
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    uint32_t i = w->packets++;
    w->heap[i] = (struct w_packet){at, w->order++, src, dst, (uint16_t)len, copy};
    for (; i > 0 && sooner(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

static struct w_packet get(struct world *w)
{
    struct w_packet first = w->heap[0];
    w->heap[0] = w->heap[--w->packets];
    for (uint32_t i = 0;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < w->packets && sooner(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (child >= w->packets || !sooner(&w->heap[child], &w->heap[i]))
            return first;
        swap(&w->heap[i], &w->heap[child]);
        i = child;
    }
}

static void one_copy(struct world *w, uint8_t src, uint8_t dst, uint8_t *bytes, size_t len)
{
    uint64_t at = w->now + w->latency;
    if (w->frame_ns > 0) {
        uint64_t clear = max_u64(w->port_clear[dst], w->now);
        if (clear - w->now >= w->frame_ns * w->port_frames)
            return;
        w->port_clear[dst] = clear + w->frame_ns;
        at += clear + w->frame_ns - w->now;
    }
    if (prng_chance(&w->rng, w->reorder))
        at += prng_below(&w->rng, (uint32_t)(4 * w->latency) + 1);
    uint32_t bit = 0;
    bool bad = prng_chance(&w->rng, w->corrupt);
    if (bad) {
        bit = prng_below(&w->rng, (uint32_t)len * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    put(w, at, src, dst, bytes, len);
    if (bad)
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void to_network(struct world *w, uint8_t src, uint8_t dst, uint8_t *bytes, size_t len)
{
    struct wire_rrdp h;
    const uint8_t *data;
    w->frames++;
    assert_int_equal(wire_rrdp_unpack(bytes, len, (uint8_t)w->node[src].cfg.cluster_id, &h, &data),
                     WIRE_OK);
    assert_true(len <= w->node[src].cfg.mtu);
    memset(bytes + len, 0x5A, w->trailer);
    if (w->cut[src][dst] || len > w->path_mtu[src] ||
        (w->filter != NULL && w->filter(w, src, dst, &h)) || prng_chance(&w->rng, w->loss))
        return;
    len += w->trailer;
    one_copy(w, src, dst, bytes, len);
    if (prng_chance(&w->rng, w->dup))
        one_copy(w, src, dst, bytes, len);
}

/* ---- messages ------------------------------------------------------------------------------ */

/* The bytes of a payload: a handle names the message, so a byte of any other message shows. */
static uint8_t pattern(uint64_t handle, uint32_t offset)
{
    uint64_t z = (handle + offset / 8) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint8_t)((z ^ z >> 29) >> offset % 8 * 8);
}

static uint64_t handle_of(uint8_t src, uint8_t dst, uint8_t cls, uint32_t number)
{
    return (uint64_t)src << 56 | (uint64_t)dst << 48 | (uint64_t)cls << 40 | (uint64_t)number << 12;
}

int world_send(struct world *w, uint8_t src, uint8_t dst, uint8_t cls, uint32_t payload)
{
    struct w_stream *s = &w->node[src].link[dst].cls[cls];
    uint8_t head[WIRE_MSG_HEADER] = {src, dst, cls};
    put_le32(head + 4, s->sent);
    put_le32(head + 8, payload);
    int rc =
        rrdp_send(w->node[src].r, dst, cls, head, sizeof(head), handle_of(src, dst, cls, s->sent),
                  payload, true, handle_of(src, dst, cls, s->sent));
    s->sent += rc == 0;
    return rc;
}

int world_send_all(struct world *w, uint8_t src, uint64_t members)
{
    uint32_t number = w->node[src].link[bit64_first(members)].cls[0].sent;
    uint8_t head[WIRE_MSG_HEADER] = {src, RRDP_GROUP, 0};
    put_le32(head + 4, number);
    for (uint64_t left = members; left != 0; left &= left - 1)
        if (rrdp_room(w->node[src].r, (uint8_t)bit64_first(left), 0) == 0)
            return -EAGAIN;
    for (uint64_t left = members; left != 0; left &= left - 1) {
        uint8_t dst = (uint8_t)bit64_first(left);
        struct w_stream *s = &w->node[src].link[dst].cls[0];
        assert_int_equal(s->sent, number);
        assert_int_equal(rrdp_send(w->node[src].r, dst, 0, head, sizeof(head), 0, 0, true,
                                   handle_of(src, dst, 0, s->sent++)),
                         0);
    }
    return 0;
}

static void complete(struct world *w, uint8_t dst, const struct rrdp_segment *g, struct w_stream *s)
{
    const uint8_t *m = s->bytes;
    (void)dst;
    if (w->mute)
        return;
    assert_int_equal(m[0], g->peer);
    assert_true(m[1] == dst || m[1] == RRDP_GROUP);
    assert_int_equal(m[2], g->cls);
    if (get_le32(m + 4) != s->received)
        fail_msg("seed %llu: %u -> %u class %u: message %u where %u is due",
                 (unsigned long long)w->seed, g->peer, dst, g->cls, get_le32(m + 4), s->received);
    assert_int_equal(get_le32(m + 8), s->have - WIRE_MSG_HEADER);
    uint64_t handle = handle_of(g->peer, dst, g->cls, s->received);
    for (uint32_t i = 0; i < s->have - WIRE_MSG_HEADER; i++)
        if (m[WIRE_MSG_HEADER + i] != pattern(handle, i))
            fail_msg("seed %llu: wrong byte %u", (unsigned long long)w->seed, i);
    s->received++;
}

static void take_segments(struct world *w, uint8_t dst)
{
    for (uint32_t i = 0; i < w->segments.n; i++) {
        const struct rrdp_segment *g = &w->segments.seg[i];
        struct w_stream *s = &w->node[dst].link[g->peer].cls[g->cls];
        if (g->first)
            s->have = 0;
        assert_int_equal(g->offset, s->have);
        assert_true(s->have + g->len <= WIRE_MSG_MAX);
        memcpy(s->bytes + s->have, g->data, g->len);
        s->have += g->len;
        if (g->last)
            complete(w, dst, g, s);
    }
}

void world_inject(struct world *w, uint8_t src, uint8_t dst, const uint8_t *frame, size_t len)
{
    struct w_node *node = &w->node[dst];
    if (node->r == NULL)
        return;
    rrdp_receive(node->r, w->now, w->node[src].mac, frame, len, &w->segments);
    take_segments(w, dst);
    rrdp_check(node->r);
}

static void take_events(struct world *w, uint8_t n)
{
    struct rrdp_event e;
    while (rrdp_event(w->node[n].r, &e)) {
        struct w_link *l = &w->node[n].link[e.peer];
        switch (e.type) {
        case RRDP_EV_UP:
            l->up++;
            for (unsigned k = 0; k < WIRE_CLASSES; k++)
                l->cls[k].sent = l->cls[k].received = l->cls[k].freed = l->cls[k].have = 0;
            break;
        case RRDP_EV_DOWN:
            l->down++;
            l->why = e.value;
            for (unsigned k = 0; k < WIRE_CLASSES; k++) /* every handle came back first */
                assert_int_equal(l->cls[k].freed, l->cls[k].sent);
            break;
        case RRDP_EV_REFUSED:
            l->refused++;
            l->why = e.value;
            break;
        case RRDP_EV_SENT: {
            struct w_stream *s = &l->cls[e.value >> 40 & 3];
            assert_int_equal(e.value >> 12 & 0xFFFFFFF, s->freed);
            s->freed++;
            break;
        }
        case RRDP_EV_PONG:
            l->pongs++;
            l->pong = e;
            break;
        case RRDP_EV_MTU:
            l->mtu = (uint16_t)e.value;
            l->mtus++;
            break;
        case RRDP_EV_NONE:
            fail();
        }
    }
}

size_t world_take(struct world *w, uint8_t n, uint8_t *out, struct rrdp_frame *ret_frame)
{
    struct rrdp_frame f;
    memset(&f, 0xA5, sizeof(f));
    if (!rrdp_transmit(w->node[n].r, w->now, &f))
        return 0;
    size_t len = f.header_len;
    memcpy(out, f.header, len);
    if (f.inline_len > 0)
        memcpy(out + len, f.inline_data, f.inline_len);
    len += f.inline_len;
    for (uint32_t i = 0; i < f.payload_len; i++)
        out[len++] = pattern(f.payload, f.payload_offset + i);
    wire_rrdp_seal(out, len);
    *ret_frame = f;
    return rrdp_frame_pad(&f, out, (uint32_t)len);
}

void world_poll(struct world *w, uint8_t n)
{
    static uint8_t bytes[W_FRAME + W_TRAILER];
    struct rrdp *r = w->node[n].r;
    struct rrdp_frame f;
    size_t len;
    if (r == NULL)
        return;
    take_events(w, n);
    if (rrdp_deadline(r) <= w->now)
        rrdp_tick(r, w->now);
    while ((len = world_take(w, n, bytes, &f)) > 0) {
        rrdp_check(r);
        if (f.members == 0)
            to_network(w, n, f.peer, bytes, len);
        for (uint64_t left = f.members; left != 0; left &= left - 1)
            to_network(w, n, (uint8_t)bit64_first(left), bytes, len);
    }
    take_events(w, n);
    /* All that is due is done: an owner that sleeps until the deadline sleeps. */
    assert_true(rrdp_deadline(r) > w->now);
}

/* Everything due now, then the clock goes on to what is next; false: nothing until the end. */
static bool step(struct world *w, uint64_t end)
{
    uint64_t next = end;
    for (uint8_t n = 0; n < w->nodes; n++)
        world_poll(w, n);
    for (uint8_t n = 0; n < w->nodes; n++)
        if (w->node[n].r != NULL)
            next = min_u64(next, rrdp_deadline(w->node[n].r));
    if (w->packets > 0)
        next = min_u64(next, w->heap[0].at);
    w->now = max_u64(w->now, next);
    if (w->now >= end)
        return false;
    while (w->packets > 0 && w->heap[0].at <= w->now) {
        struct w_packet p = get(w);
        world_inject(w, p.src, p.dst, p.bytes, p.len);
        if (w->node[p.dst].r != NULL)
            take_events(w, p.dst);
        free(p.bytes);
    }
    return true;
}

void world_run(struct world *w, uint64_t ns)
{
    uint64_t end = w->now + ns;
    while (step(w, end))
        ;
    w->now = end;
}

static bool drained(const struct world *w)
{
    for (uint8_t a = 0; a < w->nodes; a++) {
        if (w->node[a].r == NULL)
            continue;
        if (!rrdp_idle(w->node[a].r))
            return false;
        for (uint8_t b = 0; b < w->nodes; b++)
            for (unsigned k = 0; a != b && w->node[b].r != NULL && k < WIRE_CLASSES; k++) {
                const struct w_stream *tx = &w->node[a].link[b].cls[k];
                if (tx->sent != w->node[b].link[a].cls[k].received || tx->freed != tx->sent)
                    return false;
            }
    }
    return true;
}

uint64_t world_drain(struct world *w, uint64_t ns)
{
    uint64_t start = w->now;
    for (uint8_t n = 0; n < w->nodes; n++)
        world_poll(w, n);
    while (!drained(w))
        if (!step(w, start + ns))
            fail_msg("seed %llu: not delivered in %llu us", (unsigned long long)w->seed,
                     (unsigned long long)(ns / US));
    return w->now - start;
}

bool world_up(const struct world *w, uint8_t a, uint8_t b)
{
    return w->node[a].r != NULL && w->node[b].r != NULL && rrdp_peer_up(w->node[a].r, b) &&
           rrdp_peer_up(w->node[b].r, a);
}

static bool connected(const struct world *w)
{
    for (uint8_t a = 0; a < w->nodes; a++)
        for (uint8_t b = 0; b < a; b++)
            if (w->node[a].r != NULL && w->node[b].r != NULL && !world_up(w, a, b))
                return false;
    return true;
}

void world_connect(struct world *w, uint64_t ns)
{
    uint64_t end = w->now + ns;
    while (!connected(w))
        if (!step(w, end))
            fail_msg("seed %llu: not connected", (unsigned long long)w->seed);
    for (uint8_t n = 0; n < w->nodes; n++)
        world_poll(w, n);
}

uint64_t world_sum(const struct world *w, uint8_t n, size_t offset)
{
    uint64_t sum = 0, one;
    for (uint8_t p = 0; p < w->nodes; p++) {
        memcpy(&one, (const char *)rrdp_counters(w->node[n].r, p) + offset, sizeof(one));
        sum += one;
    }
    return sum;
}

uint64_t world_drops(const struct world *w, uint8_t n, enum rrdp_drop why)
{
    return world_sum(w, n, offsetof(struct rrdp_counters, drop) + why * sizeof(uint64_t));
}
