/* SPDX-License-Identifier: BSD-3-Clause */
/* Events in, own faults, edge completions. */
#include "perf/giantvm/core/ivy.h"

void ivy_drop(struct coh *c, enum coh_drop why)
{
    c->count.drop[why]++;
}

static struct coh_action *act(struct coh *c, enum coh_action_type type, uint64_t page)
{
    PANDO_CHECK(c->out->n < COH_ACTIONS_MAX);
    struct coh_action *a = &c->out->a[c->out->n++];
    *a = (struct coh_action){.type = type, .page = page};
    return a;
}

void ivy_send(struct coh *c, uint8_t dst, const struct wire_msg *m)
{
    PANDO_CHECK(dst != c->cfg.self && dst < c->cfg.nodes);
    struct coh_action *a = act(c, COH_ACT_SEND, m->page);
    a->dst = dst;
    a->msg = *m;
    a->msg.vm = c->cfg.vm;
    c->count.tx[m->kind]++;
}

uint32_t ivy_txn(struct coh *c)
{
    if (++c->last_txn == 0)
        c->last_txn = 1;
    return c->last_txn;
}

static void stop(struct coh *c, enum coh_stop reason, uint8_t node)
{
    struct coh_action *a = act(c, COH_ACT_STOP, 0);
    a->reason = (uint8_t)reason;
    a->dst = node;
    c->stopped = true;
}

/* Its completion grants the page. */
void ivy_map(struct coh *c, struct ivy_rec *r, bool writable)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    struct coh_action *a = act(c, COH_ACT_MAP, r->page);
    if (r->fault == COH_FAULT_UPGRADE && e->map != IVY_S)
        r->fault = COH_FAULT_WRITE; /* INV took the copy meanwhile */
    a->writable = writable;
    a->zero = e->map == IVY_I && r->txn == 0; /* owned, and never mapped anywhere */
    a->fault = r->fault;
    a->started = r->started;
    r->started = 0;
    r->phase = IVY_MAP;
    c->count.resident += e->map == IVY_I;
    if (c->count.resident > c->count.resident_high)
        c->count.resident_high = c->count.resident;
    e->map = writable ? IVY_M : IVY_S;
    if (writable)
        e->version++;
}

static bool satisfied(const struct ivy_entry *e, uint8_t want)
{
    return e->map == IVY_M || (e->map == IVY_S && (want & IVY_WRITE) == 0);
}

/* A fault that came late, or whose page is there meanwhile: mapped again, which wakes. */
static void map_again(struct coh *c, const struct ivy_entry *e, uint64_t page)
{
    struct coh_action *a = act(c, COH_ACT_MAP, page);
    a->writable = e->map == IVY_M;
    a->again = true;
    a->fault = COH_FAULT_SPURIOUS;
    c->count.faults[COH_FAULT_SPURIOUS]++;
}

void ivy_start(struct coh *c, struct ivy_rec *r)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    r->write = (r->want & IVY_WRITE) != 0;
    r->want = 0;
    r->txn = 0;
    if (r->started == 0)
        r->started = c->now;
    r->fault = !r->write ? COH_FAULT_READ : e->map == IVY_S ? COH_FAULT_UPGRADE : COH_FAULT_WRITE;
    c->count.faults[r->fault]++;
    if (e->owner && !r->write) {
        ivy_map(c, r, false);
        return;
    }
    if (e->owner) {
        r->left = e->copyset;
        ivy_invalidate_next(c, r);
        return;
    }
    r->txn = ivy_txn(c);
    r->asked = e->prob;
    r->phase = IVY_FETCH;
    ivy_send(c, r->asked,
             &(struct wire_msg){.kind = r->write ? WIRE_GETM : WIRE_GETS,
                                .requester = c->cfg.self,
                                .page = r->page,
                                .txn = r->txn,
                                .version = e->version});
}

/* The own fault first, for its vCPU stands still; then, unless the page is held, who waits. */
void ivy_finish(struct coh *c, struct ivy_rec *r)
{
    while (!ivy_busy(r)) {
        const struct ivy_entry *e = ivy_entry_of(c, r->page);
        if (r->want != 0 && satisfied(e, r->want)) {
            r->want = 0;
            map_again(c, e, r->page);
            ivy_hold(c, r);
        } else if (r->want != 0) {
            ivy_start(c, r);
        } else if (r->first != POOL_NONE && r->hold_at == POOL_NONE) {
            struct ivy_request q = ivy_wait_pop(c, r);
            ivy_request(c, r, &q);
        } else {
            ivy_rec_release(c, r);
            return;
        }
    }
}

static void fault(struct coh *c, const struct coh_event *ev)
{
    struct ivy_entry *e = ivy_entry_of(c, ev->page);
    uint8_t want = ev->type == COH_EV_WRITE_FAULT ? IVY_WRITE : IVY_READ;
    struct ivy_rec *r = ivy_rec_find(c, ev->page);
    if ((r == NULL || !ivy_busy(r)) && satisfied(e, want)) {
        map_again(c, e, ev->page);
        return;
    }
    r = ivy_rec_get(c, ev->page, true);
    if (r == NULL) {
        ivy_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    if (r->started == 0)
        r->started = c->now;
    r->want |= want;
    ivy_hold_fault(c, r, ev->vcpu);
    if (!ivy_busy(r))
        ivy_start(c, r);
}

/* ---- completions --------------------------------------------------------------------------- */

static void mapped(struct coh *c, struct ivy_rec *r)
{
    if (r->phase != IVY_MAP) {
        ivy_drop(c, COH_DROP_EDGE);
        return;
    }
    r->phase = IVY_IDLE;
    ivy_hold(c, r);
    ivy_finish(c, r);
}

static void protected(struct coh *c, struct ivy_rec *r)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    if (r->phase != IVY_PROTECT) {
        ivy_drop(c, COH_DROP_EDGE);
        return;
    }
    e->map = IVY_S;
    ivy_answer(c, r, e->copyset | (uint16_t)(1u << c->cfg.self));
    ivy_finish(c, r);
}

static void unmapped(struct coh *c, struct ivy_rec *r)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    if (r->phase != IVY_UNMAP && !r->inv_open) {
        ivy_drop(c, COH_DROP_EDGE);
        return;
    }
    e->map = IVY_I;
    c->count.resident--;
    if (!r->inv_open) {
        ivy_answer(c, r, r->left);
        ivy_finish(c, r);
        return;
    }
    r->inv_open = false;
    ivy_send(c, r->inv_src,
             &(struct wire_msg){.kind = WIRE_INV_ACK,
                                .requester = r->inv_src,
                                .page = r->page,
                                .txn = r->inv_txn,
                                .version = e->version});
    ivy_finish(c, r);
}

static void edge(struct coh *c, const struct coh_event *ev)
{
    struct ivy_rec *r = ivy_rec_find(c, ev->page);
    if (r == NULL)
        ivy_drop(c, COH_DROP_EDGE);
    else if (ev->type == COH_EV_MAPPED)
        mapped(c, r);
    else if (ev->type == COH_EV_PROTECTED)
    protected(c, r);
    else unmapped(c, r);
}

static void on_page(struct coh *c, const struct coh_event *ev)
{
    uint64_t page = ev->type == COH_EV_MESSAGE ? ev->msg.page : ev->page;
    if (page >= c->cfg.pages)
        ivy_drop(c, COH_DROP_PAGE_RANGE);
    else if (ev->type == COH_EV_MESSAGE)
        ivy_message(c, ev->src, &ev->msg);
    else if (ev->type == COH_EV_READ_FAULT || ev->type == COH_EV_WRITE_FAULT)
        fault(c, ev);
    else
        edge(c, ev);
}

void coh_step(struct coh *c, const struct coh_event *ev, struct coh_actions *out)
{
    out->n = 0;
    if (c->stopped) {
        ivy_drop(c, COH_DROP_DEAD_PEER);
        return;
    }
    c->out = out;
    c->now = ev->now;
    switch (ev->type) {
    case COH_EV_TICK:
        ivy_hold_tick(c);
        break;
    case COH_EV_PEER_DOWN:
        stop(c, COH_STOP_PEER_LOST, ev->src);
        break;
    case COH_EV_IDLE:
        ivy_hold_idle(c, ev->vcpu);
        break;
    default:
        on_page(c, ev);
        break;
    }
}
