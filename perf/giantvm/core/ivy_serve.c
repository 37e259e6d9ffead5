/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: requests of others, answers, invalidations. */
#include "dataplane/base/bits.h"
#include "perf/giantvm/core/ivy.h"

bool ivy_busy(const struct ivy_rec *r)
{
    return r->phase != IVY_IDLE || r->inv_open;
}

static void act_on(struct coh *c, enum coh_action_type type, uint64_t page)
{
    PANDO_CHECK(c->out->n < COH_ACTIONS_MAX);
    c->out->a[c->out->n++] = (struct coh_action){.type = type, .page = page};
}

/* ---- invalidating others, one after the other ---------------------------------------------- */

void ivy_invalidate_next(struct coh *c, struct ivy_rec *r)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    if (r->left == 0) {
        e->copyset = 0;
        ivy_map(c, r, true);
        return;
    }
    r->asked = (uint8_t)bit64_first(r->left);
    r->left &= (uint16_t)(r->left - 1);
    r->txn = ivy_txn(c);
    r->phase = IVY_INVAL;
    ivy_send(c, r->asked,
             &(struct wire_msg){.kind = WIRE_INV,
                                .requester = c->cfg.self,
                                .page = r->page,
                                .txn = r->txn,
                                .version = e->version});
}

static void on_ack(struct coh *c, uint8_t src, const struct wire_msg *m)
{
    struct ivy_rec *r = ivy_rec_find(c, m->page);
    if (r == NULL || r->phase != IVY_INVAL || r->asked != src || r->txn != m->txn) {
        ivy_drop(c, COH_DROP_TXN);
        return;
    }
    ivy_invalidate_next(c, r);
}

static void on_invalidate(struct coh *c, uint8_t src, const struct wire_msg *m)
{
    struct ivy_entry *e = ivy_entry_of(c, m->page);
    if (e->owner || e->map != IVY_S) {
        ivy_drop(c, COH_DROP_STATE);
        return;
    }
    struct ivy_rec *r = ivy_rec_get(c, m->page, false);
    if (r == NULL) {
        ivy_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    if (r->inv_open || (r->phase != IVY_IDLE && r->phase != IVY_FETCH && r->phase != IVY_RELAY)) {
        ivy_drop(c, COH_DROP_STATE);
        return;
    }
    r->inv_open = true;
    r->inv_src = src;
    r->inv_txn = m->txn;
    e->prob = src;
    if (r->hold_at != POOL_NONE)
        ivy_hold_drop(c, r);
    act_on(c, COH_ACT_UNMAP, m->page);
}

/* ---- requests ------------------------------------------------------------------------------ */

/* The page leaves with its ownership, or is passed on. What was asked is over here. */
void ivy_answer(struct coh *c, struct ivy_rec *r, uint16_t copyset)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    const struct ivy_request *q = &r->for_;
    ivy_send(c, q->src,
             &(struct wire_msg){.kind = WIRE_DATA,
                                .requester = q->origin,
                                .exclusive = q->kind == WIRE_GETM,
                                .page = r->page,
                                .txn = q->txn,
                                .version = e->version,
                                .age = copyset});
    e->owner = 0;
    e->copyset = 0;
    e->prob = q->origin;
    r->phase = IVY_IDLE;
}

static void pass_on(struct coh *c, struct ivy_rec *r)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    const struct ivy_request *q = &r->for_;
    if (e->prob == q->origin || e->prob == c->cfg.self) {
        ivy_drop(c, COH_DROP_REQUESTER); /* it asks for what it was given */
        return;
    }
    r->txn = ivy_txn(c);
    r->asked = e->prob;
    r->phase = IVY_RELAY;
    ivy_send(c, r->asked,
             &(struct wire_msg){.kind = q->kind,
                                .requester = q->origin,
                                .page = r->page,
                                .txn = r->txn,
                                .version = e->version});
}

void ivy_request(struct coh *c, struct ivy_rec *r, const struct ivy_request *q)
{
    struct ivy_entry *e = ivy_entry_of(c, r->page);
    r->for_ = *q;
    if (!e->owner) {
        pass_on(c, r);
        return;
    }
    uint16_t self = (uint16_t)(1u << c->cfg.self);
    r->left = e->copyset;
    if (q->kind == WIRE_GETM && e->map != IVY_I) {
        r->phase = IVY_UNMAP;
        act_on(c, COH_ACT_UNMAP, r->page);
    } else if (q->kind == WIRE_GETS && e->map == IVY_M) {
        r->phase = IVY_PROTECT;
        act_on(c, COH_ACT_PROTECT, r->page);
    } else {
        ivy_answer(c, r, e->copyset | (e->map != IVY_I ? self : 0));
    }
}

static void on_request(struct coh *c, uint8_t src, const struct wire_msg *m)
{
    struct ivy_request q = {.txn = m->txn, .src = src, .origin = m->requester, .kind = m->kind};
    if (m->requester >= c->cfg.nodes || m->requester == c->cfg.self) {
        ivy_drop(c, COH_DROP_REQUESTER);
        return;
    }
    ivy_entry_of(c, m->page);
    struct ivy_rec *r = ivy_rec_get(c, m->page, false);
    if (r == NULL) {
        ivy_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    if (!ivy_busy(r) && r->first == POOL_NONE && r->hold_at == POOL_NONE) {
        ivy_request(c, r, &q);
        ivy_finish(c, r);
        return;
    }
    c->count.held += r->hold_at != POOL_NONE && !ivy_busy(r);
    if (!ivy_wait_push(c, r, &q))
        ivy_drop(c, COH_DROP_DEFERRED_FULL);
}

/* ---- answers ------------------------------------------------------------------------------- */

static struct ivy_rec *awaiting(const struct coh *c, uint8_t src, const struct wire_msg *m)
{
    if (m->page >= c->cfg.pages || c->entry[m->page].rec == 0)
        return NULL;
    struct ivy_rec *r = &c->rec[c->entry[m->page].rec - 1];
    bool write = r->phase == IVY_FETCH ? r->write : r->for_.kind == WIRE_GETM;
    if ((r->phase != IVY_FETCH && r->phase != IVY_RELAY) || r->inv_open || r->asked != src ||
        r->txn != m->txn || m->exclusive != write || m->age >> c->cfg.nodes != 0)
        return NULL;
    return r;
}

/* Where there is a copy its bytes are the same: the owner's writes would have taken it. */
bool coh_wants_data(const struct coh *c, uint8_t src, const struct wire_msg *m)
{
    return m->kind == WIRE_DATA && m->vm == c->cfg.vm && awaiting(c, src, m) != NULL &&
           c->entry[m->page].map == IVY_I;
}

static void pass_back(struct coh *c, struct ivy_rec *r, uint16_t copyset)
{
    const struct ivy_entry *e = ivy_entry_of(c, r->page);
    if (r->for_.kind == WIRE_GETM && e->map != IVY_I) {
        r->left = copyset & (uint16_t) ~(1u << c->cfg.self);
        r->phase = IVY_UNMAP;
        act_on(c, COH_ACT_UNMAP, r->page);
        return;
    }
    ivy_answer(c, r, copyset);
}

static void on_data(struct coh *c, uint8_t src, const struct wire_msg *m)
{
    struct ivy_rec *r = awaiting(c, src, m);
    if (r == NULL) {
        ivy_drop(c, COH_DROP_TXN);
        return;
    }
    struct ivy_entry *e = ivy_entry_of(c, m->page);
    e->version = (uint16_t)m->version;
    if (r->phase == IVY_RELAY) {
        pass_back(c, r, m->age);
        ivy_finish(c, r);
        return;
    }
    e->owner = 1;
    e->touched = 1;
    e->prob = c->cfg.self;
    e->copyset = m->age & (uint16_t) ~(1u << c->cfg.self);
    if (!r->write) {
        ivy_map(c, r, false);
        return;
    }
    r->left = e->copyset;
    ivy_invalidate_next(c, r);
}

void ivy_message(struct coh *c, uint8_t src, const struct wire_msg *m)
{
    c->count.rx[m->kind < WIRE_KIND_LIMIT ? m->kind : 0]++;
    if (src >= c->cfg.nodes || src == c->cfg.self) {
        ivy_drop(c, COH_DROP_FIELDS);
        return;
    }
    if (m->vm != c->cfg.vm) {
        ivy_drop(c, COH_DROP_WRONG_VM);
        return;
    }
    switch (m->kind) {
    case WIRE_GETS:
    case WIRE_GETM:
        on_request(c, src, m);
        break;
    case WIRE_DATA:
        on_data(c, src, m);
        break;
    case WIRE_INV:
        on_invalidate(c, src, m);
        break;
    case WIRE_INV_ACK:
        on_ack(c, src, m);
        break;
    default:
        ivy_drop(c, COH_DROP_STATE);
        break;
    }
}
