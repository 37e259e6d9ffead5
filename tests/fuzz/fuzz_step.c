/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes one node's coherence core with steps: faults, completions, time, and messages of peers
 * that send anything. Whatever comes, its own invariants (coh_check) hold after each step, actions
 * are in range, at most one edge action a page is open, and nothing is sent to a node that does not
 * exist. A stop by name is allowed only for lost peers, frames and ids.
 *
 * Input: 6 bytes of configuration, then operations of one byte and their operands. Fields of
 * messages are drawn near what the node itself sent and what its directory says, so that many fit.
 * Other operations give exact messages, time without a tick and evictions of a page: make_corpus.py
 * writes the golden traces of tests/golden/coherence with them, one node's events an input.
 */
#include <stdint.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/coherence/core.h"

enum { PAGES = 12, MORE_PAGES = 24, SENT = 64 };
enum { OP_LIMIT = 0xA7, OP_DOWN = 0xB7, OP_EVICT = 0xC7, OP_TIME = 0xD7, OP_EXACT = 0xE7 };

struct fuzz {
    const uint8_t *in;
    size_t left;
    struct coh_config cfg;
    struct coh *coh;
    uint64_t now;
    bool open[MORE_PAGES], stopped;
    enum coh_action_type edge[MORE_PAGES];
    struct wire_msg sent[SENT]; /* what it sent last: answers to these may fit */
    uint32_t sent_n;
    struct coh_actions actions;
};

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static uint8_t byte(struct fuzz *f)
{
    if (f->left == 0)
        return 0;
    f->left--;
    return *f->in++;
}

static uint16_t number(struct fuzz *f)
{
    uint8_t low = byte(f);
    return (uint16_t)(low | byte(f) << 8);
}

static void act(struct fuzz *f, const struct coh_action *a)
{
    switch (a->type) {
    case COH_ACT_SEND:
        PANDO_CHECK(a->dst < f->cfg.nodes && a->dst != f->cfg.self);
        PANDO_CHECK(a->msg.page < f->cfg.pages && a->msg.requester < f->cfg.nodes);
        f->sent[f->sent_n++ % SENT] = a->msg;
        break;
    case COH_ACT_MAP:
    case COH_ACT_PROTECT:
    case COH_ACT_UNMAP:
        PANDO_CHECK(a->page < f->cfg.pages);
        if (a->type == COH_ACT_MAP && a->again)
            break;
        PANDO_CHECK(!f->open[a->page]);
        f->open[a->page] = true;
        f->edge[a->page] = a->type;
        break;
    case COH_ACT_PUNCH:
        PANDO_CHECK(a->page < f->cfg.pages && !f->open[a->page]);
        break;
    case COH_ACT_STOP:
        PANDO_CHECK(a->reason != COH_STOP_BUG && a->dst < f->cfg.nodes);
        f->stopped = true;
        break;
    }
}

static void carry_out(struct fuzz *f, uint64_t page)
{
    PANDO_CHECK(f->actions.n <= COH_ACTIONS_MAX);
    for (uint32_t i = 0; i < f->actions.n; i++)
        act(f, &f->actions.a[i]);
    if (!f->stopped && page < f->cfg.pages)
        PANDO_CHECK(coh_check(f->coh, page) == NULL);
}

static void step(struct fuzz *f, struct coh_event *ev)
{
    ev->now = f->now;
    coh_step(f->coh, ev, &f->actions);
    carry_out(f, ev->type == COH_EV_MESSAGE ? ev->msg.page : ev->page);
}

static const uint8_t kinds[] = {WIRE_GETS, WIRE_GETM,    WIRE_FWD_GETS, WIRE_FWD_GETM,
                                WIRE_INV,  WIRE_INV_ACK, WIRE_GRANT,    WIRE_DATA,
                                WIRE_PUTS, WIRE_PUTM,    WIRE_PUTO,     WIRE_PUT_ACK};

static void deliver(struct fuzz *f, struct coh_event *ev)
{
    const struct wire_msg *m = &ev->msg;
    ev->page = m->page;
    bool wants = coh_wants_data(f->coh, ev->src, m);
    PANDO_CHECK(!wants || (m->kind == WIRE_DATA && m->page < f->cfg.pages));
    bool takes = coh_takes_put(f->coh, ev->src, m);
    PANDO_CHECK(!takes || m->kind == WIRE_PUTM || m->kind == WIRE_PUTO);
    step(f, ev);
}

/* What may come back for a message that the node sent, or nearly so. */
static void answer(struct fuzz *f)
{
    uint8_t which = byte(f), how = byte(f);
    uint32_t sent = f->sent_n < SENT ? f->sent_n : SENT;
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = (uint8_t)(how >> 4 & 3)};
    if (sent == 0)
        return;
    const struct wire_msg *of = &f->sent[which % sent];
    bool write = of->kind == WIRE_GETM || of->kind == WIRE_FWD_GETM;
    ev.msg = (struct wire_msg){.kind = WIRE_DATA,
                               .vm = of->vm,
                               .requester = of->requester,
                               .page = of->page,
                               .txn = of->txn,
                               .version = of->version + (how >> 2 & 3),
                               .exclusive = write,
                               .acks = write ? how & 3 : 0};
    if (of->kind == WIRE_INV)
        ev.msg.kind = WIRE_INV_ACK;
    else if (of->kind == WIRE_PUTS || of->kind == WIRE_PUTM || of->kind == WIRE_PUTO)
        ev.msg.kind = WIRE_PUT_ACK;
    else if ((how & 0x80) != 0) {
        ev.msg.kind = WIRE_GRANT;
        ev.msg.zero = how >> 6 & 1;
    }
    step(f, &ev);
}

/* About a transaction that it asked for, or about anything. */
static void message(struct fuzz *f)
{
    uint8_t kind = byte(f), fields = byte(f), place = byte(f), near = byte(f);
    struct coh_page_view v;
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = (uint8_t)(fields & 3)};
    struct wire_msg *m = &ev.msg;
    const struct wire_msg *of = &f->sent[near % SENT];
    m->kind = kinds[kind % sizeof(kinds)];
    m->vm = (uint8_t)(f->cfg.vm + (kind >> 7));
    m->page = place % (f->cfg.pages + 1);
    m->txn = 1 + near;
    if (of->txn != 0 && (near & 64) != 0) {
        m->page = of->page;
        m->txn = of->txn;
    }
    m->requester = (uint8_t)(fields >> 2 & 3);
    m->acks = (uint8_t)((fields >> 4 & 1) | (fields >> 6 & 2));
    m->exclusive = fields >> 5 & 1;
    m->zero = fields >> 6 & 1;
    m->age = wire_has_age(m->kind) ? (uint16_t)(near >> 2) : 0;
    if (m->page < f->cfg.pages) {
        coh_view(f->coh, m->page, &v);
        uint64_t version = v.version;
        if ((kind & 64) != 0 && coh_home(f->coh, m->page) == f->cfg.self) {
            struct coh_dir_view d;
            coh_dir_view(f->coh, m->page, &d);
            version = d.version;
        }
        m->version = version + (place >> 4 & 3) - (version > 0 && (place >> 6) == 1);
    }
    deliver(f, &ev);
}

/* Each field as the input says, within what wire_msg_unpack lets through: a message of a trace. */
static void exact(struct fuzz *f)
{
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = byte(f) & 3};
    struct wire_msg *m = &ev.msg;
    m->kind = kinds[byte(f) % sizeof(kinds)];
    m->vm = f->cfg.vm;
    m->page = byte(f) % (f->cfg.pages + 1);
    m->requester = byte(f) & 3;
    uint8_t flags = byte(f); /* acks, zero, exclusive */
    bool counts = m->kind == WIRE_GRANT || m->kind == WIRE_DATA || m->kind == WIRE_FWD_GETM;
    if (counts || m->kind == WIRE_INV_ACK) {
        m->acks = counts ? flags & 63 : 0;
        m->zero = flags >> 6 & 1;
        m->exclusive = flags >> 7;
    }
    m->txn = number(f);
    m->version = number(f);
    uint16_t age = number(f);
    m->age = wire_has_age(m->kind) ? age : 0;
    deliver(f, &ev);
}

/* Makes the clock hand choose this page now, if it can be chosen (as test_coherence_trace.c). */
static void evict(struct fuzz *f)
{
    uint8_t p = byte(f) % f->cfg.pages;
    struct coh *c = f->coh;
    struct coh_event ev = {.type = COH_EV_TICK, .now = f->now};
    uint64_t limit = c->cfg.resident_max;
    c->cfg.resident_max = c->counters.resident++; /* a limit of 0 would mean none */
    c->hand = p;
    c->cache[p].ref = 0;
    coh_step(c, &ev, &f->actions);
    c->cfg.resident_max = limit;
    c->counters.resident--;
    carry_out(f, p);
}

static void complete(struct fuzz *f)
{
    static const enum coh_event_type done[] = {[COH_ACT_MAP] = COH_EV_MAPPED,
                                               [COH_ACT_PROTECT] = COH_EV_PROTECTED,
                                               [COH_ACT_UNMAP] = COH_EV_UNMAPPED};
    uint8_t p = byte(f) % f->cfg.pages;
    if (!f->open[p])
        return;
    f->open[p] = false;
    struct coh_event ev = {.type = done[f->edge[p]], .page = p};
    step(f, &ev);
}

/* Operations added later, where others were ticks: seeds of traces are made of them. */
static bool traced(struct fuzz *f, uint8_t op)
{
    struct coh_event ev = {.type = COH_EV_PEER_DOWN};
    switch (op) {
    case OP_LIMIT:
        f->coh->cfg.resident_max = byte(f);
        return true;
    case OP_DOWN:
        ev.src = byte(f) % f->cfg.nodes;
        if (ev.src != f->cfg.self)
            step(f, &ev);
        return true;
    case OP_EVICT:
        evict(f);
        return true;
    case OP_TIME:
        f->now += number(f);
        return true;
    case OP_EXACT:
        exact(f);
        return true;
    default:
        return false;
    }
}

static void operation(struct fuzz *f)
{
    uint8_t op = byte(f), arg;
    struct coh_event ev = {.type = COH_EV_TICK};
    if (traced(f, op))
        return;
    switch (op & 7) {
    case 0:
    case 1:
        arg = byte(f);
        ev = (struct coh_event){.type = op & 8 ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT,
                                .page = arg % (f->cfg.pages + 1),
                                .vcpu = op & 16 ? COH_VCPU_NONE : arg >> 5};
        step(f, &ev);
        break;
    case 2:
    case 3:
        message(f);
        break;
    case 4:
        answer(f);
        break;
    case 5:
        complete(f);
        break;
    case 6:
        f->now += (uint64_t)byte(f) << (op >> 3 & 15);
        step(f, &ev);
        break;
    default:
        ev.type = op & 8 ? COH_EV_IDLE : op == 0xF7 ? COH_EV_PEER_DOWN : COH_EV_TICK;
        ev.vcpu = op >> 4;
        ev.src = (uint8_t)((f->cfg.self + 1) % f->cfg.nodes);
        step(f, &ev);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static struct fuzz f;
    f = (struct fuzz){.in = in, .left = size, .now = 1000};
    f.cfg.nodes = (uint8_t)(2 + byte(&f) % 3);
    f.cfg.self = byte(&f) % f.cfg.nodes;
    f.cfg.vm = 1;
    uint8_t shift = byte(&f);
    f.cfg.interleave_shift = (shift & 127) % 3;
    f.cfg.pages = shift & 128 ? MORE_PAGES : PAGES;
    f.cfg.epoch_txn = 1;
    f.cfg.txn_max = 1 + byte(&f) % 8;
    f.cfg.deferred_max = f.cfg.nodes * f.cfg.txn_max + 4;
    uint8_t resident = byte(&f), hold = byte(&f);
    f.cfg.resident_max = resident % f.cfg.pages;
    f.cfg.hold_ns = (uint64_t)(hold & 15) * 100;
    f.cfg.hold_max_ns = f.cfg.hold_ns * (1 + (hold >> 4));
    f.cfg.zero_ahead = resident & 64 ? 4 : 0;
    size_t bytes = coh_size(&f.cfg);
    PANDO_CHECK(bytes > 0);
    static _Alignas(64) uint8_t mem[2 << 20]; /* its pools are checked by coh_check */
    PANDO_CHECK(bytes <= sizeof(mem));
    memset(mem, 0, bytes);
    f.coh = coh_init(mem, &f.cfg);
    PANDO_CHECK(f.coh != NULL);
    while (f.left > 0 && !f.stopped)
        operation(&f);
    PANDO_CHECK(f.stopped || coh_check(f.coh, UINT64_MAX) == NULL);
    return 0;
}
