/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault filter: sits between the engine and a port and spoils what is received (so both
 * directions of a link are spoiled when both ends have one), and drops what is sent to blocked
 * peers. From one seed the same decisions follow for the same sequence of frames; only when a
 * waiting frame comes back depends on the clock. Its counters are those of the port inside; what
 * was spoiled is counted apart.
 *
 * A delayed or reordered frame waits in a bounded store; when that is full the frame is lost, which
 * RRDP must bear as well.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/port/port.h"

enum {
    STORE = 128,
    REORDER_MAX = 8,         /* a reordered frame lets up to this many others pass */
    REORDER_NS = 1000 * 1000 /* ... but waits no longer than this */
};

struct stored {
    bool used;
    uint64_t due;
    uint32_t behind; /* frames that still go first */
    uint32_t len;
    struct rrdp_mac src;
    uint8_t *bytes;
};

struct faulty_port {
    struct port port;
    struct port *inner;
    struct port_faults faults;
    struct port_fault_counters counters;
    struct prng rng;
    uint64_t (*now_ns)(void);
    struct stored store[STORE];
    uint32_t waiting;
    uint8_t *memory;
    bool swallow; /* the reserved buffer is not to be sent */
    uint8_t *scratch;
    uint8_t *out_bytes[PORT_BURST * 2];
};

static struct faulty_port *self_of(struct port *p)
{
    return (struct faulty_port *)p;
}

/* What the filter keeps or spoils is in one piece; what was placed stays where it is. */
static void flatten(uint8_t *out, const struct port_frame *in)
{
    memcpy(out, in->data, in->len);
    if (in->ext_len > 0)
        memcpy(out + in->len, in->ext, in->ext_len);
}

static bool keep(struct faulty_port *f, const struct port_frame *in, uint64_t due, uint32_t behind)
{
    for (uint32_t i = 0; i < STORE; i++) {
        struct stored *s = &f->store[i];
        if (s->used)
            continue;
        s->used = true;
        s->due = due;
        s->behind = behind;
        s->len = in->len + in->ext_len;
        s->src = in->src;
        flatten(s->bytes, in);
        f->waiting++;
        return true;
    }
    f->counters.dropped++;
    return false;
}

/* Decides about one frame; true if it goes on now, perhaps changed, in *in. */
static bool judge(struct faulty_port *f, struct port_frame *in, uint64_t now, uint8_t *copy)
{
    const struct port_faults *o = &f->faults;
    if (in->len + in->ext_len > f->port.mtu || prng_chance(&f->rng, o->drop_ppm)) {
        f->counters.dropped++;
        return false;
    }
    if (prng_chance(&f->rng, o->duplicate_ppm)) {
        f->counters.duplicated++;
        keep(f, in, now + REORDER_NS, prng_below(&f->rng, REORDER_MAX));
    }
    if (prng_chance(&f->rng, o->corrupt_ppm)) {
        flatten(copy, in);
        in->len += in->ext_len;
        in->ext_len = 0;
        uint32_t flips = 1 + prng_below(&f->rng, 8);
        for (uint32_t i = 0; i < flips; i++)
            copy[prng_below(&f->rng, in->len)] ^= (uint8_t)(1u << prng_below(&f->rng, 8));
        if (prng_below(&f->rng, 4) == 0)
            in->len = 1 + prng_below(&f->rng, in->len);
        in->data = copy;
        f->counters.corrupted++;
    }
    if (prng_chance(&f->rng, o->reorder_ppm)) {
        f->counters.reordered++;
        keep(f, in, now + REORDER_NS, 1 + prng_below(&f->rng, REORDER_MAX));
        return false;
    }
    if (prng_chance(&f->rng, o->delay_ppm)) {
        f->counters.delayed++;
        uint64_t us = 1 + prng_below(&f->rng, o->delay_max_us);
        keep(f, in, now + us * 1000, UINT32_MAX);
        return false;
    }
    return true;
}

/* Hands up stored frames that are due, or that enough others have passed. */
static uint32_t release(struct faulty_port *f, struct port_frame *out, uint32_t n, uint32_t max,
                        uint64_t now, uint32_t passed)
{
    for (uint32_t i = 0; i < STORE && f->waiting > 0 && n < max; i++) {
        struct stored *s = &f->store[i];
        if (!s->used)
            continue;
        if (s->behind != UINT32_MAX)
            s->behind = s->behind > passed ? s->behind - passed : 0;
        if (s->due > now && s->behind != 0)
            continue;
        s->used = false;
        f->waiting--;
        memcpy(f->out_bytes[n], s->bytes, s->len);
        out[n] = (struct port_frame){.data = f->out_bytes[n], .len = s->len, .src = s->src};
        n++;
    }
    return n;
}

static uint32_t faulty_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct faulty_port *f = self_of(p);
    struct port_frame in[PORT_BURST];
    if (max > PORT_BURST)
        max = PORT_BURST;
    /* The other half of the room is for frames that come back. */
    uint32_t half = max / 2 ? max / 2 : 1;
    uint32_t got = port_rx(f->inner, in, half), n = 0;
    uint64_t now = got > 0 || f->waiting > 0 ? f->now_ns() : 0;
    for (uint32_t i = 0; i < got; i++)
        if (judge(f, &in[i], now, f->out_bytes[PORT_BURST + i]))
            out[n++] = in[i];
    if (f->waiting > 0)
        n = release(f, out, n, max, now, n);
    p->counters = f->inner->counters;
    return n;
}

static uint8_t *faulty_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    struct faulty_port *f = self_of(p);
    /* A group frame goes to all or to none. */
    uint64_t to = peer == RRDP_GROUP ? UINT64_MAX : bit64(peer & 63);
    f->swallow = (f->faults.one_way_block & to) != 0;
    return f->swallow ? f->scratch : f->inner->ops->tx_reserve(f->inner, peer, mac);
}

static void faulty_tx_commit(struct port *p, uint32_t len)
{
    struct faulty_port *f = self_of(p);
    if (f->swallow)
        f->counters.dropped++;
    else
        f->inner->ops->tx_commit(f->inner, len);
}

static void faulty_tx_commit_ext(struct port *p, uint32_t len, const uint8_t *ext, uint32_t ext_len)
{
    struct faulty_port *f = self_of(p);
    if (f->swallow)
        f->counters.dropped++;
    else
        f->inner->ops->tx_commit_ext(f->inner, len, ext, ext_len);
}

static void faulty_tx_commit_placed(struct port *p, uint32_t len, const uint8_t *bytes,
                                    uint64_t page)
{
    struct faulty_port *f = self_of(p);
    if (f->swallow)
        f->counters.dropped++;
    else
        f->inner->ops->tx_commit_placed(f->inner, len, bytes, page);
}

static int faulty_add_memory(struct port *p, uint64_t first_page, uint64_t pages, uint8_t *alias,
                             char err[PORT_ERROR_MAX])
{
    return port_add_memory(self_of(p)->inner, first_page, pages, alias, err);
}

static void faulty_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    port_settle(self_of(p)->inner, bytes, len);
}

static void faulty_flush(struct port *p)
{
    self_of(p)->inner->ops->flush(self_of(p)->inner);
    p->counters = self_of(p)->inner->counters;
    p->ext = self_of(p)->inner->ext;
    p->places = self_of(p)->inner->places;
}

static int faulty_wait_fd(struct port *p)
{
    return self_of(p)->inner->ops->wait_fd(self_of(p)->inner);
}

/* While frames wait here the loop must not sleep without a limit: it goes on polling. */
static bool faulty_arm(struct port *p)
{
    struct faulty_port *f = self_of(p);
    return f->waiting == 0 && f->inner->ops->arm(f->inner);
}

static void faulty_disarm(struct port *p)
{
    self_of(p)->inner->ops->disarm(self_of(p)->inner);
}

static bool faulty_gone(struct port *p, uint8_t peer)
{
    struct faulty_port *f = self_of(p);
    return f->waiting == 0 && port_peer_gone(f->inner, peer); /* its last words may wait here */
}

static int faulty_fence(struct port *p, uint8_t node, bool fenced)
{
    return port_fence(self_of(p)->inner, node, fenced);
}

static const char *faulty_look(struct port *p)
{
    return port_look(self_of(p)->inner);
}

static void faulty_close(struct port *p)
{
    struct faulty_port *f = self_of(p);
    port_close(f->inner);
    free(f->memory);
    free(f);
}

static const struct port_ops faulty_ops = {
    .name = "faulty",
    .rx = faulty_rx,
    .tx_reserve = faulty_tx_reserve,
    .tx_commit = faulty_tx_commit,
    .tx_commit_ext = faulty_tx_commit_ext,
    .tx_commit_placed = faulty_tx_commit_placed,
    .add_memory = faulty_add_memory,
    .settle = faulty_settle,
    .flush = faulty_flush,
    .wait_fd = faulty_wait_fd,
    .arm = faulty_arm,
    .disarm = faulty_disarm,
    .gone = faulty_gone,
    .fence = faulty_fence,
    .look = faulty_look,
    .close = faulty_close,
};

int port_open_faulty(struct port *inner, const struct port_faults *faults, uint64_t (*now_ns)(void),
                     struct port **ret_port)
{
    struct faulty_port *f = calloc(1, sizeof(*f));
    uint8_t *memory = malloc((size_t)(STORE + PORT_BURST * 2 + 1) * inner->mtu);
    if (f == NULL || memory == NULL) {
        free(f);
        free(memory);
        return -ENOMEM;
    }
    *f = (struct faulty_port){.inner = inner,
                              .faults = *faults,
                              .rng = {.state = faults->seed},
                              .now_ns = now_ns,
                              .memory = memory};
    f->port = (struct port){.ops = &faulty_ops,
                            .mtu = inner->mtu,
                            .mac = inner->mac,
                            .ext = inner->ext,
                            .ext_min = inner->ext_min,
                            .reaches_all = inner->reaches_all,
                            .copies = inner->copies,
                            .places = inner->places};
    memcpy(f->port.name, inner->name, sizeof(f->port.name));
    for (uint32_t i = 0; i < STORE; i++, memory += inner->mtu)
        f->store[i].bytes = memory;
    for (uint32_t i = 0; i < PORT_BURST * 2; i++, memory += inner->mtu)
        f->out_bytes[i] = memory;
    f->scratch = memory;
    *ret_port = &f->port;
    return 0;
}

const struct port *port_below(const struct port *p)
{
    while (p != NULL && p->ops == &faulty_ops)
        p = ((const struct faulty_port *)p)->inner;
    return p;
}

const struct port_fault_counters *port_fault_counters(const struct port *p)
{
    return p->ops == &faulty_ops ? &((const struct faulty_port *)p)->counters : NULL;
}
