/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FWD_GETS, FWD_GETM and INV: what other nodes' requests take from this one.
 *
 * A forward is served at once, or parked behind earlier ones of its page: because the state says so
 * (DEFER), or because residency holds the page. A hold keeps what would take the mapping away or
 * make it read-only; it never keeps a message that our own request waits for (in SM_AD all is
 * served at once), and it ends by time, so that no cycle of waiting can arise.
 */
#include "dataplane/coherence/core.h"

static enum coh_cache_event column(uint8_t kind)
{
    return kind == WIRE_INV        ? COH_CE_INV
           : kind == WIRE_FWD_GETM ? COH_CE_FWD_GETM
                                   : COH_CE_FWD_GETS;
}

static bool hold_keeps(const struct coh_entry *e, const struct coh_rec *r, uint8_t kind)
{
    if (e->state == COH_M)
        return coh_held(r);
    return e->state == COH_S && kind != WIRE_FWD_GETS && coh_held(r);
}

bool coh_may_serve(const struct coh *c, const struct coh_entry *e, const struct coh_rec *r)
{
    if (r->first == POOL_NONE)
        return false;
    uint8_t kind = c->deferred[r->first].kind;
    return coh_cache_table[e->state][column(kind)] != coh_defer_cell && !hold_keeps(e, r, kind);
}

static void serve(struct coh *c, struct coh_ctx *x)
{
    if (!coh_cache_dispatch(c, x, column(x->m->kind)))
        coh_drop(c, COH_DROP_STATE);
    coh_settle(c, x);
}

void coh_forward(struct coh *c, struct coh_ctx *x)
{
    coh_cache_handler h = coh_cache_table[x->e->state][column(x->m->kind)];
    bool behind = x->r != NULL && x->r->first != POOL_NONE;
    if (h == NULL && !behind) {
        coh_drop(c, COH_DROP_STATE);
        return;
    }
    if (c->service_used >= c->cfg.deferred_max) {
        coh_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    bool held = h != coh_defer_cell && hold_keeps(x->e, x->r, x->m->kind);
    c->counters.held += held;
    if (held)
        coh_hold_demand(c, x->page, coh_since(c, x->m), x->m->requester);
    if (behind || held || h == coh_defer_cell)
        coh_deferred_add(c, x);
    else
        serve(c, x);
}

bool coh_ready_run(struct coh *c)
{
    struct coh_rec *r = coh_ready_take(c);
    if (r == NULL)
        return false;
    struct coh_ctx x = coh_ctx_of(c, r->page);
    struct wire_msg m;
    if (coh_may_serve(c, x.e, r)) {
        coh_deferred_pop(c, r, &m);
        x.m = &m;
        x.src = coh_home(c, x.page);
        serve(c, &x);
    } else {
        coh_rec_release(c, &x);
    }
    return true;
}

/* An upgrade leaves S. What is parked was ordered before our GETM and is answered before that
 * leaves, holds or not: afterwards nobody could tell it from what was ordered later. An eviction
 * leaves ME_U: what is parked is answered while the page is still here, in this very step. Honest
 * homes cause at most one answer per other node (and an UNMAP); what would be more is refused, so
 * that the actions of a step stay bounded. */
void coh_forward_all(struct coh *c, struct coh_ctx *x)
{
    const struct wire_msg *outer = x->m;
    uint8_t src = x->src;
    struct wire_msg m;
    x->src = coh_home(c, x->page);
    uint32_t most = c->out->n + c->cfg.nodes;
    while (coh_may_serve(c, x->e, x->r)) {
        coh_deferred_pop(c, x->r, &m);
        x->m = &m;
        if (c->out->n > most || !coh_cache_dispatch(c, x, column(m.kind)))
            coh_drop(c, COH_DROP_STATE);
    }
    x->m = outer;
    x->src = src;
}

/* ---- answers
 * --------------------------------------------------------------------------------------- */

void coh_send_ack(struct coh *c, struct coh_ctx *x, uint8_t requester, uint64_t txn)
{
    struct wire_msg m = {.kind = WIRE_INV_ACK,
                         .vm = c->cfg.vm,
                         .requester = requester,
                         .page = x->page,
                         .txn = txn,
                         .version = x->e->version + 1};
    coh_send(c, requester, &m);
}

void coh_send_data(struct coh *c, struct coh_ctx *x, const struct wire_msg *fwd)
{
    struct wire_msg m = {.kind = WIRE_DATA,
                         .vm = c->cfg.vm,
                         .requester = fwd->requester,
                         .acks = fwd->acks,
                         .exclusive = fwd->kind == WIRE_FWD_GETM,
                         .page = x->page,
                         .txn = fwd->txn,
                         .version = fwd->version};
    coh_send(c, fwd->requester, &m);
}

/* ---- FWD_GETS
 * -------------------------------------------------------------------------------------- */

static bool is_read_of_ours(struct coh *c, struct coh_ctx *x)
{
    if (!x->e->owner) {
        coh_drop(c, COH_DROP_STATE);
        return false;
    }
    if (x->m->version != x->e->version) {
        coh_drop(c, COH_DROP_VERSION);
        return false;
    }
    return true;
}

/* S, SM_AD, SE_U, OE_U, OE_A: the frame does not change, so the data may leave at once. */
void coh_on_share(struct coh *c, struct coh_ctx *x)
{
    if (is_read_of_ours(c, x))
        coh_send_data(c, x, x->m);
}

void coh_on_share_me(struct coh *c, struct coh_ctx *x)
{
    if (!is_read_of_ours(c, x))
        return;
    coh_send_data(c, x, x->m);
    coh_set_state(c, x, COH_OE_A);
}

void coh_on_downgrade(struct coh *c, struct coh_ctx *x)
{
    if (!is_read_of_ours(c, x))
        return;
    coh_serve_begin(c, x);
    coh_act(c, COH_ACT_PROTECT, x->page);
    if (x->e->migratory > 0)
        x->e->migratory--;
    coh_set_state(c, x, COH_MS_P);
}

/* ---- FWD_GETM
 * -------------------------------------------------------------------------------------- */

/* exclusive in FWD_GETM says that our INV_ACK is counted: it must be so exactly if others may read.
 */
static bool is_handover(struct coh *c, struct coh_ctx *x, bool shared)
{
    enum coh_drop why = COH_DROPS;
    if (!x->e->owner)
        why = COH_DROP_STATE;
    else if (x->m->version != x->e->version + 1)
        why = COH_DROP_VERSION;
    else if (x->m->exclusive != shared)
        why = COH_DROP_FIELDS;
    if (why != COH_DROPS)
        coh_drop(c, why);
    return why == COH_DROPS;
}

/* The ack follows when the mapping is gone (edge.c), but in tests with an error planted. */
static void invalidate(struct coh *c, struct coh_ctx *x, enum coh_state to, bool unmap)
{
    coh_serve_begin(c, x);
    if (COH_PLANT_EARLY_ACK && to != COH_SM_IU)
        coh_send_ack(c, x, x->r->serve_requester, x->r->serve_txn);
    if (unmap)
        coh_act(c, COH_ACT_UNMAP, x->page);
    x->e->owner = 0;
    coh_set_state(c, x, to);
}

/* The data leaves now; the ack follows when the mapping is gone. */
static void yield_shared(struct coh *c, struct coh_ctx *x, enum coh_state to, bool unmap)
{
    coh_send_data(c, x, x->m);
    invalidate(c, x, to, unmap);
}

void coh_on_yield_s(struct coh *c, struct coh_ctx *x)
{
    if (is_handover(c, x, true))
        yield_shared(c, x, COH_OI_U, true);
}

void coh_on_yield_sm(struct coh *c, struct coh_ctx *x)
{
    if (is_handover(c, x, true))
        yield_shared(c, x, COH_SM_IU, true);
}

/* SE_U, OE_U: the eviction's UNMAP is under way already; the eviction is over. */
void coh_on_yield_u(struct coh *c, struct coh_ctx *x)
{
    if (!is_handover(c, x, true))
        return;
    coh_rec_evict_end(c, x->r);
    yield_shared(c, x, COH_OI_U, false);
}

void coh_on_yield_m(struct coh *c, struct coh_ctx *x)
{
    if (!is_handover(c, x, false))
        return;
    coh_serve_begin(c, x);
    coh_act(c, COH_ACT_UNMAP, x->page);
    coh_set_state(c, x, COH_MI_U);
}

void coh_on_yield_mu(struct coh *c, struct coh_ctx *x)
{
    if (!is_handover(c, x, false))
        return;
    coh_rec_evict_end(c, x->r);
    coh_serve_begin(c, x);
    coh_set_state(c, x, COH_MI_U);
}

/* OE_A, ME_A: not mapped any more; all that is due leaves now. The PUT will be found stale. */
static void yield_evicted(struct coh *c, struct coh_ctx *x)
{
    coh_send_data(c, x, x->m);
    if (x->m->exclusive)
        coh_send_ack(c, x, x->m->requester, x->m->txn);
    x->e->owner = 0;
    coh_set_state(c, x, COH_IE_A);
}

void coh_on_yield_oa(struct coh *c, struct coh_ctx *x)
{
    if (is_handover(c, x, true))
        yield_evicted(c, x);
}

void coh_on_yield_ma(struct coh *c, struct coh_ctx *x)
{
    if (is_handover(c, x, false))
        yield_evicted(c, x);
}

/* ---- INV
 * ------------------------------------------------------------------------------------------- */

static bool is_newer(struct coh *c, struct coh_ctx *x)
{
    if (x->m->version == x->e->version + 1)
        return true;
    coh_drop(c, COH_DROP_VERSION);
    return false;
}

void coh_on_inv_s(struct coh *c, struct coh_ctx *x)
{
    if (is_newer(c, x))
        invalidate(c, x, COH_SI_U, true);
}

void coh_on_inv_sm(struct coh *c, struct coh_ctx *x)
{
    if (is_newer(c, x))
        invalidate(c, x, COH_SM_IU, true);
}

void coh_on_inv_u(struct coh *c, struct coh_ctx *x)
{
    if (!is_newer(c, x))
        return;
    coh_rec_evict_end(c, x->r);
    invalidate(c, x, COH_SI_U, false);
}

void coh_on_inv_a(struct coh *c, struct coh_ctx *x)
{
    if (!is_newer(c, x))
        return;
    coh_send_ack(c, x, x->m->requester, x->m->txn);
    x->e->owner = 0;
    coh_set_state(c, x, COH_IE_A);
}
