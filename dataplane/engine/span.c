/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spans (dataplane/span/span.h) of this node: the poll loop's hooks, the glue's stamps, SPAN
 * messages. Each hook begins with the test that most transactions end at.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"
#include "hypervisor-glue/link/glue_clock.h"

/* A processor's TSC as cluster clock. */
static uint64_t cluster_at(const struct engine *e, uint64_t tsc)
{
    return clock_map_at(&e->clock.core.map, glue_clock_host(&e->clock.injected, tsc));
}

static struct span_time span_now(const struct engine *e)
{
    uint64_t host = glue_clock_host(&e->clock.injected, glue_clock_tsc());
    uint64_t error = clock_map_error(&e->clock.core.map, host);
    return (struct span_time){.at = clock_map_at(&e->clock.core.map, host),
                              .error = (uint32_t)min_u64(error, UINT32_MAX)};
}

uint64_t span_stamp_now(const struct engine *e)
{
    return cluster_at(e, glue_clock_tsc());
}

/* Of one stamp: the best of some averages, as anything may come between. */
static uint32_t stamp_cost(const struct engine *e)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 16; i++) {
        uint64_t before = glue_clock_tsc();
        for (int n = 0; n < 64; n++)
            span_stamp_now(e);
        best = min_u64(best, (glue_clock_tsc() - before) / 64);
    }
    return (uint32_t)best;
}

int span_open(struct engine *e)
{
    struct span_config c = {.self = e->self, .nodes = e->nodes, .sample = e->cfg->telemetry.sample};
    void *mem = mmap(NULL, sizeof(*e->spans), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mem == MAP_FAILED) {
        snprintf(e->err, sizeof(e->err), "%zu bytes of memory for spans: %s", sizeof(*e->spans),
                 strerror(errno));
        return -ENOMEM;
    }
    e->spans = mem;
    span_init(e->spans, &c);
    e->span.below = e->spans->below;
    e->shared->span_below = e->span.below;
    e->span.cost_ticks = stamp_cost(e);
    if (e->fabric.eal)
        span_telemetry(e);
    return 0;
}

static struct span_key txn_key(uint8_t requester, uint64_t txn)
{
    return (struct span_key){.id = txn, .what = SPAN_FAULT, .node = requester};
}

static struct span_key glue_key(uint8_t what, uint8_t node, const struct wire_glue *m)
{
    return (struct span_key){.id = m->seq, .chan = m->chan, .what = what, .node = node};
}

/* This node's piece of another one's span is complete: off it goes. A span that it does not reach
 * stays without it. */
static void send_part(struct engine *e, const struct span_key *k, uint8_t flags)
{
    struct wire_span m;
    if (span_part_end(e->spans, k, span_now(e).error, flags, &m))
        e->span.unsent += transmit_span(e, k->node, &m) != 0;
}

/* ---- faults -------------------------------------------------------------------------------- */

/* userfaultfd messages were read at e->now, which becomes their faults' start. */
void span_faults_read(struct engine *e)
{
    if (e->span.below == 0)
        return;
    e->span.read_tsc = glue_clock_tsc();
    e->span.read_ns = e->now;
}

/* The core's time of a fault as a stamp: from the reading next to it, at the TSC's nominal rate,
 * which over the time that a fault waits is off by less than a stamp costs. */
static uint64_t read_stamp(const struct engine *e, uint64_t started)
{
    int64_t ns = (int64_t)(started - e->span.read_ns);
    int64_t ticks = (int64_t)((clock_wide)ns * e->clock.core.cfg.khz / 1000000);
    return cluster_at(e, e->span.read_tsc + (uint64_t)ticks);
}

static bool sampled(const struct engine *e, const struct wire_msg *m)
{
    return span_txn_sampled(e->span.below, m->requester, m->txn);
}

/* Of what this node does as a sharer. */
static struct span_key sharer_key(const struct wire_msg *m)
{
    struct span_key k = txn_key(m->requester, m->txn);
    k.chan = SPAN_CHAN_SHARER;
    return k;
}

/* The core asks for a message to be sent. */
void span_asked(struct engine *e, const struct wire_msg *m)
{
    if (e->span.below == 0 || !sampled(e, m))
        return;
    struct span_key k = txn_key(m->requester, m->txn);
    bool put = m->kind >= WIRE_PUTS && m->kind <= WIRE_PUT_ACK;
    if (m->requester == e->self && !put && m->kind != WIRE_DATA && m->kind != WIRE_INV_ACK) {
        bool reads = m->kind == WIRE_GETS || m->kind == WIRE_FWD_GETS;
        struct span_begin b = {.kind = reads ? SPAN_KIND_READ : SPAN_KIND_WRITE,
                               .home = coh_home(e->coh, m->page),
                               .object = m->page};
        e->spans->khz = e->clock.core.map.khz;
        span_begin(e->spans, &k, &b, SPAN_AT_ASKED, span_stamp_now(e));
    } else if (m->requester != e->self && m->kind == WIRE_DATA) {
        span_stamp(e->spans, &k, SPAN_AT_OWNER_DONE, span_stamp_now(e));
    } else if (m->requester != e->self && m->kind == WIRE_INV_ACK) {
        uint64_t now = span_stamp_now(e);
        k = sharer_key(m);
        if (coh_home(e->coh, m->page) == e->self) /* what asked for it was in no frame */
            span_part_begin(e->spans, &k, SPAN_AT_SHARER_DONE, now);
        span_stamp(e->spans, &k, SPAN_AT_SHARER_DONE, now);
    }
}

/* ... of another node's transaction: a request of that node, or what the home demands. */
static void another_s(struct engine *e, uint8_t src, const struct wire_msg *m)
{
    struct span_key k = txn_key(m->requester, m->txn), sharer = sharer_key(m);
    bool home = src == coh_home(e->coh, m->page);
    bool asks = (m->kind == WIRE_GETS || m->kind == WIRE_GETM) && m->requester == src;
    bool forwarded = home && (m->kind == WIRE_FWD_GETS || m->kind == WIRE_FWD_GETM);
    bool acks = home && (m->kind == WIRE_INV || (m->kind == WIRE_FWD_GETM && m->exclusive));
    uint64_t now = asks || forwarded || acks ? span_stamp_now(e) : 0;
    if (asks || forwarded)
        span_part_begin(e->spans, &k, asks ? SPAN_AT_HOME_RX : SPAN_AT_OWNER_RX, now);
    if (acks)
        span_part_begin(e->spans, &sharer, SPAN_AT_SHARER_RX, now);
}

/* A whole coherence message is here. */
void span_received(struct engine *e, uint8_t src, const struct wire_msg *m)
{
    if (e->span.below == 0 || !sampled(e, m))
        return;
    struct span_key k = txn_key(m->requester, m->txn);
    if (m->requester != e->self) {
        another_s(e, src, m);
        return;
    }
    if (m->kind == WIRE_DATA || m->kind == WIRE_GRANT)
        span_answered(e->spans, &k, src, m->kind == WIRE_DATA, span_stamp_now(e));
    else if (m->kind == WIRE_INV_ACK)
        span_acked(e->spans, &k, src, span_stamp_now(e));
}

/* About to map: what a fault without other nodes has for its `asked`. Mappings without a
 * transaction are drawn by page. */
uint64_t span_mapping(const struct engine *e, const struct coh_action *a)
{
    uint64_t id = a->txn != 0 ? a->txn : a->page + 1;
    if (e->span.below == 0 || !span_txn_sampled(e->span.below, e->self, id))
        return 0;
    return span_stamp_now(e);
}

/* ... and done. asked: of span_mapping, not 0. */
void span_mapped(struct engine *e, const struct coh_action *a, uint64_t asked)
{
    static const enum span_kind kind_of[COH_FAULT_KINDS] = {[COH_FAULT_READ] = SPAN_KIND_READ,
                                                            [COH_FAULT_WRITE] = SPAN_KIND_WRITE,
                                                            [COH_FAULT_UPGRADE] = SPAN_KIND_UPGRADE,
                                                            [COH_FAULT_SPURIOUS] = SPAN_KIND_LOCAL};
    struct span_key k = txn_key(e->self, a->txn);
    if (a->again)
        return;
    if (a->txn == 0) {
        if (a->started != 0)
            span_lack(e->spans, kind_of[a->fault], SPAN_LACK_UNREQUESTED);
        return;
    }
    struct span_time now = span_now(e);
    struct span_fault_end end = {.kind = kind_of[a->fault],
                                 .page = a->page,
                                 .read = read_stamp(e, a->started),
                                 .asked = asked,
                                 .mapped = now.at,
                                 .home = coh_home(e->coh, a->page),
                                 .prefetch = a->started == 0,
                                 .error = now.error};
    span_fault_end(e->spans, &k, &end);
}

/* ---- frames -------------------------------------------------------------------------------- */

static void txn_sent(struct engine *e, const uint8_t *header)
{
    struct wire_msg m = {.kind = header[0], .requester = header[2], .txn = get_le48(header + 10)};
    if (!sampled(e, &m))
        return;
    struct span_key k = txn_key(m.requester, m.txn);
    bool own = m.requester == e->self;
    switch (m.kind) {
    case WIRE_GETS:
    case WIRE_GETM:
    case WIRE_INV:
        if (own)
            span_stamp(e->spans, &k, SPAN_AT_REQUEST_TX, span_stamp_now(e));
        break;
    case WIRE_FWD_GETS:
    case WIRE_FWD_GETM:
    case WIRE_GRANT:
        span_stamp(e->spans, &k, own ? SPAN_AT_REQUEST_TX : SPAN_AT_HOME_TX, span_stamp_now(e));
        if (!own)
            send_part(e, &k, 0);
        break;
    case WIRE_DATA:
        span_stamp(e->spans, &k, SPAN_AT_OWNER_TX, span_stamp_now(e));
        send_part(e, &k, 0);
        break;
    case WIRE_INV_ACK:
        k = sharer_key(&m);
        span_stamp(e->spans, &k, SPAN_AT_SHARER_TX, span_stamp_now(e));
        send_part(e, &k, 0);
        break;
    default:
        break;
    }
}

static void glue_sent(struct engine *e, uint8_t dst, const uint8_t *header)
{
    struct wire_glue m = {
        .kind = header[0], .chan = get_le16(header + 2), .seq = get_le32(header + 6)};
    struct span_key k = glue_key(m.kind == WIRE_IRQ ? SPAN_IPI : SPAN_IO, e->self, &m);
    if (m.seq == 0)
        return;
    if (m.kind == WIRE_IO_DONE) {
        k.node = dst;
        span_stamp(e->spans, &k, SPAN_AT_DONE_TX, span_stamp_now(e));
        send_part(e, &k, 0);
    } else {
        span_stamp(e->spans, &k, m.kind == WIRE_IRQ ? SPAN_AT_IPI_TX : SPAN_AT_EXIT_TX,
                   span_stamp_now(e));
    }
}

static void sent_again(struct engine *e, const uint8_t *header)
{
    struct span_key k = txn_key(header[2], get_le48(header + 10));
    if (header[0] <= WIRE_PUT_ACK && span_txn_sampled(e->span.below, k.node, k.id))
        span_again(e->spans, &k);
}

/* A frame is about to be built for the port. */
void span_frame(struct engine *e, const struct rrdp_frame *f)
{
    const uint8_t *header = f->inline_data;
    if (e->span.below == 0 || f->inline_len < WIRE_MSG_HEADER || !wire_rrdp_begins(f->header))
        return;
    if (f->members != 0)
        header += wire_group_head(f->members);
    if (f->retransmission)
        sent_again(e, header);
    else if (header[0] <= WIRE_PUT_ACK)
        txn_sent(e, header);
    else if (header[0] == WIRE_IRQ || header[0] == WIRE_IO_EXIT || header[0] == WIRE_IO_DONE)
        glue_sent(e, f->peer, header);
}

/* ---- the glue's messages ------------------------------------------------------------------- */

/* The VM's process may write any stamp: one that lies ahead of now, or far back, is none. */
static bool plausible(struct engine *e, uint64_t stamp, uint64_t now)
{
    int64_t age = (int64_t)(now - stamp);
    return age >= 0 && age <= (int64_t)e->clock.core.map.khz * 1000 * SPAN_GLUE_SECONDS;
}

/* What a vCPU's thread stamped: never later than now. */
static uint64_t thread_stamp(const struct engine *e, _Atomic uint64_t *from, uint64_t now)
{
    uint64_t at = cluster_at(e, atomic_load_explicit(from, memory_order_relaxed));
    return (int64_t)(at - now) > 0 ? now : at;
}

static void look_at_chan(struct engine *e, uint32_t chan)
{
    struct engine_waits *w = &e->span.waits[chan];
    struct glue_span *g = &e->shared->chan[chan].span;
    if (w->irq != 0 && atomic_load_explicit(&g->taken, memory_order_acquire) == w->irq) { /* [F] */
        uint64_t at = thread_stamp(e, &g->taken_stamp, span_stamp_now(e));
        w->irq = 0;
        span_stamp(e->spans, &w->irq_key, SPAN_AT_TAKEN, at);
        send_part(e, &w->irq_key, 0);
    }
    if (w->turn != 0 && atomic_load_explicit(&g->turn, memory_order_acquire) == w->turn) { /* [F] */
        struct span_time now = span_now(e);
        now.at = thread_stamp(e, &g->turn_stamp, now.at);
        w->turn = 0;
        if (w->turn_key.node == e->self) {
            span_io_end(e->spans, &w->turn_key, now);
        } else {
            span_stamp(e->spans, &w->turn_key, SPAN_AT_EXIT_TAKEN, now.at);
            send_part(e, &w->turn_key, 0);
        }
    }
    if (w->irq == 0 && w->turn == 0)
        e->span.waiting[chan / 64] &= ~bit64(chan % 64);
}

/* An entry for another node was read from the glue's ring. It may be read again, if the transport
 * has no room: the first time counts. */
void span_entry(struct engine *e, const struct glue_entry *entry)
{
    if (e->span.below == 0 || entry->seq == 0 || entry->stamp == 0)
        return;
    uint64_t now = span_stamp_now(e), stamp = cluster_at(e, entry->stamp);
    struct wire_glue m = {.kind = entry->kind, .chan = entry->chan, .seq = entry->seq};
    struct span_key k = glue_key(m.kind == WIRE_IRQ ? SPAN_IPI : SPAN_IO, e->self, &m);
    bool irq = m.kind == WIRE_IRQ;
    if (m.kind == WIRE_IO_DONE) {
        k.node = entry->node;
        /* Taken and handled since the last look: one piece after the other. */
        if (m.chan < e->cfg->vm.vcpus)
            look_at_chan(e, m.chan);
        if (plausible(e, stamp, now)) {
            span_part_begin(e->spans, &k, SPAN_AT_HANDLED, stamp);
            span_stamp(e->spans, &k, SPAN_AT_DONE_READ, now);
        }
        return;
    }
    if (!irq && m.kind != WIRE_IO_EXIT)
        return;
    struct span_begin b = {.kind = irq ? SPAN_KIND_IPI : SPAN_KIND_IO,
                           .home = entry->node,
                           .object = irq ? entry->arg : 0};
    e->spans->khz = e->clock.core.map.khz;
    if (!plausible(e, stamp, now)) {
        span_lack(e->spans, b.kind, SPAN_LACK_IMPLAUSIBLE);
        return;
    }
    span_begin(e->spans, &k, &b, irq ? SPAN_AT_ICR : SPAN_AT_EXIT, stamp);
    span_stamp(e->spans, &k, irq ? SPAN_AT_IPI_READ : SPAN_AT_EXIT_READ, now);
}

static void await_chan(struct engine *e, uint32_t chan, const struct span_key *k, uint64_t irq)
{
    struct engine_waits *w = &e->span.waits[chan];
    if (irq != 0) {
        look_at_chan(e, chan);
        /* Posted while one before it was not taken, it may be taken with that one, or not at all
         * if they share a vector: whose turn it was cannot be said. */
        if (w->irq != 0)
            send_part(e, &w->irq_key, WIRE_SPAN_MERGED);
        w->irq_key = *k;
        w->irq = irq;
    } else {
        w->turn_key = *k;
        w->turn = (uint32_t)k->id;
    }
    e->span.waiting[chan / 64] |= bit64(chan % 64);
    e->span.any_waiting = true;
}

/* A glue message of another node is here; before it is delivered. */
void span_delivering(struct engine *e, uint8_t src, const struct wire_glue *m)
{
    if (e->span.below == 0 || m->seq == 0 || src == e->self)
        return;
    struct span_key k = glue_key(m->kind == WIRE_IRQ ? SPAN_IPI : SPAN_IO, src, m);
    uint64_t now = span_stamp_now(e);
    if (m->kind == WIRE_IRQ && (m->op == GLUE_IRQ_EDGE || m->op == GLUE_IRQ_LEVEL)) {
        uint64_t irq = GLUE_SPAN_IRQ(m->seq, m->arg);
        await_chan(e, m->chan, &k, irq);
        span_part_begin(e->spans, &k, SPAN_AT_IPI_RX, now);
        atomic_store_explicit(&e->shared->chan[m->chan].span.irq, irq,
                              memory_order_release); /* [E] */
    } else if (m->kind == WIRE_IO_EXIT) {
        span_part_begin(e->spans, &k, SPAN_AT_EXIT_RX, now);
    } else if (m->kind == WIRE_IO_DONE) {
        k.node = e->self;
        span_stamp(e->spans, &k, SPAN_AT_DONE_RX, now);
    }
}

/* ... and when it was; its thread is still to be woken. */
void span_delivered(struct engine *e, uint8_t src, const struct wire_glue *m)
{
    if (e->span.below == 0 || m->seq == 0 || src == e->self)
        return;
    struct span_key k = glue_key(m->kind == WIRE_IRQ ? SPAN_IPI : SPAN_IO, src, m);
    uint64_t now = span_stamp_now(e);
    if (m->kind == WIRE_IRQ) {
        span_stamp(e->spans, &k, SPAN_AT_POSTED, now);
    } else if (m->kind == WIRE_IO_EXIT && m->chan < e->cfg->vm.vcpus) {
        span_stamp(e->spans, &k, SPAN_AT_GIVEN, now);
        await_chan(e, m->chan, &k, 0);
    } else if (m->kind == WIRE_IO_DONE && m->chan < e->cfg->vm.vcpus) {
        k.node = e->self;
        span_stamp(e->spans, &k, SPAN_AT_BACK, now);
        await_chan(e, m->chan, &k, 0);
    }
}

/* Each round: have the threads done what sampled messages wait for? */
void span_poll(struct engine *e)
{
    bool any = false;
    if (!e->span.any_waiting)
        return;
    for (uint32_t i = 0; i < PANDO_ARRAY_LEN(e->span.waiting); i++) {
        for (uint64_t left = e->span.waiting[i]; left != 0; left &= left - 1)
            look_at_chan(e, i * 64 + bit64_first(left));
        any |= e->span.waiting[i] != 0;
    }
    e->span.any_waiting = any;
}

void span_message_in(struct engine *e, uint8_t src, const struct wire_span *m)
{
    if (e->span.below != 0)
        span_message(e->spans, src, m, span_now(e));
}
