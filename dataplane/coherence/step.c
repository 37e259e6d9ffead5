/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coh_step: validates one event, dispatches it by the tables, then does the work that became
 * possible: messages to self, parked messages, waiting faults, replacement. One unit of work emits
 * fewer than COH_UNIT_ACTIONS actions and starts only if that many fit: what is left over waits for
 * the next TICK.
 */
#include "dataplane/coherence/core.h"

void coh_drop(struct coh *c, enum coh_drop why)
{
    c->counters.drop[why]++;
}

struct coh_action *coh_act(struct coh *c, enum coh_action_type type, uint64_t page)
{
    PANDO_CHECK(c->out->n < COH_ACTIONS_MAX);
    struct coh_action *a = &c->out->a[c->out->n++];
    *a = (struct coh_action){.type = type, .page = page};
    return a;
}

void coh_stop(struct coh *c, enum coh_stop why, uint8_t node)
{
    if (c->stopped)
        return;
    struct coh_action *a = coh_act(c, COH_ACT_STOP, 0);
    a->reason = (uint8_t)why;
    a->dst = node;
    c->stopped = true;
}

void coh_send(struct coh *c, uint8_t dst, const struct wire_msg *m)
{
    if (dst == c->cfg.self) {
        PANDO_CHECK(c->self_n < COH_SELF_MAX);
        c->self[(c->self_head + c->self_n++) % COH_SELF_MAX].msg = *m;
        return;
    }
    struct coh_action *a = coh_act(c, COH_ACT_SEND, m->page);
    a->dst = dst;
    a->msg = *m;
    c->counters.tx[m->kind]++;
}

void coh_map(struct coh *c, struct coh_ctx *x, bool writable, bool zero)
{
    const struct coh_rec *r = x->r;
    struct coh_action *a = coh_act(c, COH_ACT_MAP, x->page);
    a->writable = writable;
    a->zero = zero;
    a->fault = r != NULL ? r->fault : COH_FAULT_READ;
    a->started = r == NULL ? 0 : writable && r->write_started != 0 ? r->write_started : r->started;
    a->txn = r != NULL && r->own ? r->txn : 0;
    coh_set_state(c, x, writable ? COH_IM_P : COH_IS_P);
}

void coh_set_state(struct coh *c, struct coh_ctx *x, enum coh_state to)
{
    c->counters.transitions[x->e->state][to]++;
    x->e->state = to;
}

uint64_t coh_new_txn(struct coh *c)
{
    if (c->next_txn >= COH_ID_LIMIT - 1)
        coh_stop(c, COH_STOP_IDS_USED_UP, c->cfg.self);
    else
        c->next_txn++;
    return c->next_txn - 1;
}

struct coh_ctx coh_ctx_of(struct coh *c, uint64_t page)
{
    return (struct coh_ctx){
        .page = page, .e = &c->cache[page], .r = coh_rec_find(c, page), .src = c->cfg.self};
}

bool coh_cache_dispatch(struct coh *c, struct coh_ctx *x, enum coh_cache_event ev)
{
    coh_cache_handler h = coh_cache_table[x->e->state][ev];
    if (h == NULL)
        return false;
    h(c, x);
    return true;
}

/* ---- messages
 * -------------------------------------------------------------------------------------- */

enum { TO_HOME = 1, FROM_HOME = 2, TO_REQUESTER = 4 };

static const struct {
    uint8_t role;
    uint8_t event; /* enum coh_home_event or enum coh_cache_event */
} kinds[WIRE_KIND_LIMIT] = {
    [WIRE_GETS] = {TO_HOME, COH_HE_GETS},
    [WIRE_GETM] = {TO_HOME, COH_HE_GETM},
    [WIRE_PUTS] = {TO_HOME, COH_HE_PUTS},
    [WIRE_PUTM] = {TO_HOME, COH_HE_PUTM},
    [WIRE_PUTO] = {TO_HOME, COH_HE_PUTO},
    [WIRE_FWD_GETS] = {FROM_HOME, COH_CE_FWD_GETS},
    [WIRE_FWD_GETM] = {FROM_HOME, COH_CE_FWD_GETM},
    [WIRE_INV] = {FROM_HOME, COH_CE_INV},
    [WIRE_GRANT] = {FROM_HOME | TO_REQUESTER, COH_CE_GRANT},
    [WIRE_PUT_ACK] = {FROM_HOME | TO_REQUESTER, COH_CE_PUT_ACK},
    [WIRE_DATA] = {TO_REQUESTER, COH_CE_DATA},
    [WIRE_INV_ACK] = {TO_REQUESTER, COH_CE_INV_ACK},
};

/* Flags and counts that the kind does not have must be 0 (wire.h lists them). */
static bool fields_valid(const struct wire_msg *m)
{
    switch (m->kind) {
    case WIRE_GRANT:
        return m->exclusive || (m->zero && m->acks == 0);
    case WIRE_DATA:
        return !m->zero && (m->exclusive || m->acks == 0);
    case WIRE_FWD_GETM:
        return !m->zero && m->exclusive == (m->acks > 0);
    default:
        return !m->zero && !m->exclusive && m->acks == 0;
    }
}

/* The border: everything behind it may trust the fields, though not that they fit the state. */
static enum coh_drop verdict(const struct coh *c, const struct wire_msg *m, uint8_t src)
{
    if (m->kind >= WIRE_KIND_LIMIT || kinds[m->kind].role == 0)
        return COH_DROP_FIELDS;
    unsigned role = kinds[m->kind].role;
    if (m->vm != c->cfg.vm)
        return COH_DROP_WRONG_VM;
    if (m->page >= c->cfg.pages)
        return COH_DROP_PAGE_RANGE;
    if (m->requester >= c->cfg.nodes || src >= c->cfg.nodes || src == c->cfg.self)
        return COH_DROP_REQUESTER;
    uint8_t home = coh_home(c, m->page);
    if (role == TO_HOME && home != c->cfg.self)
        return COH_DROP_NOT_HOME;
    if ((role & FROM_HOME) && home != src)
        return COH_DROP_NOT_FROM_HOME;
    bool for_self = m->requester == c->cfg.self;
    if (role == TO_HOME ? m->requester != src : for_self != ((role & TO_REQUESTER) != 0))
        return COH_DROP_REQUESTER;
    if (m->txn == 0 || m->txn >= COH_ID_LIMIT || m->version >= COH_ID_LIMIT || !fields_valid(m) ||
        m->age > (wire_has_age(m->kind) ? WIRE_AGE_MAX : 0))
        return COH_DROP_FIELDS;
    return COH_DROPS;
}

static void message(struct coh *c, const struct wire_msg *m, uint8_t src)
{
    unsigned ev = kinds[m->kind].event;
    if (kinds[m->kind].role == TO_HOME) {
        struct coh_dir *d = &c->dir[coh_home_index(c, m->page)];
        coh_home_handler h = coh_home_table[d->state][ev];
        if (h == NULL)
            coh_drop(c, COH_DROP_DIR_STATE);
        else
            h(c, d, m, src);
        return;
    }
    struct coh_ctx x = coh_ctx_of(c, m->page);
    x.m = m;
    x.src = src;
    if (ev == COH_CE_FWD_GETS || ev == COH_CE_FWD_GETM || ev == COH_CE_INV)
        coh_forward(c, &x);
    else if (!coh_cache_dispatch(c, &x, ev))
        coh_drop(c, COH_DROP_STATE);
}

static void message_from_peer(struct coh *c, const struct coh_event *ev)
{
    enum coh_drop why = verdict(c, &ev->msg, ev->src);
    if (ev->msg.kind < WIRE_KIND_LIMIT)
        c->counters.rx[ev->msg.kind]++;
    if (why != COH_DROPS)
        coh_drop(c, why);
    else
        message(c, &ev->msg, ev->src);
}

/* Messages to self keep the order in which this node decided as a home. */
static void drain_self(struct coh *c)
{
    while (c->self_n > 0 && !c->stopped) {
        struct wire_msg m = c->self[c->self_head].msg;
        c->self_head = (c->self_head + 1) % COH_SELF_MAX;
        c->self_n--;
        message(c, &m, c->cfg.self);
    }
}

/* ---- the step
 * -------------------------------------------------------------------------------------- */

static void edge(struct coh *c, const struct coh_event *ev)
{
    static const uint8_t event[COH_EVENTS] = {[COH_EV_MAPPED] = COH_CE_MAPPED,
                                              [COH_EV_PROTECTED] = COH_CE_PROTECTED,
                                              [COH_EV_UNMAPPED] = COH_CE_UNMAPPED};
    if (ev->page >= c->cfg.pages) {
        coh_drop(c, COH_DROP_PAGE_RANGE);
        return;
    }
    struct coh_ctx x = coh_ctx_of(c, ev->page);
    if (!coh_cache_dispatch(c, &x, event[ev->type]))
        coh_drop(c, COH_DROP_EDGE);
}

static void fault(struct coh *c, const struct coh_event *ev)
{
    if (ev->page >= c->cfg.pages)
        coh_drop(c, COH_DROP_PAGE_RANGE);
    else
        coh_fault(c, ev->page, ev->vcpu, ev->type == COH_EV_WRITE_FAULT, c->now);
}

static void dispatch(struct coh *c, const struct coh_event *ev)
{
    switch (ev->type) {
    case COH_EV_READ_FAULT:
    case COH_EV_WRITE_FAULT:
        fault(c, ev);
        break;
    case COH_EV_MESSAGE:
        message_from_peer(c, ev);
        break;
    case COH_EV_MAPPED:
    case COH_EV_PROTECTED:
    case COH_EV_UNMAPPED:
        edge(c, ev);
        break;
    case COH_EV_PEER_DOWN:
        coh_stop(c, COH_STOP_PEER_LOST, ev->src);
        break;
    case COH_EV_IDLE:
        coh_hold_idle(c, ev->vcpu);
        break;
    default: /* TICK: time only */
        break;
    }
}

static void work(struct coh *c)
{
    bool more = true;
    drain_self(c);
    while (more && !c->stopped && coh_room(c)) {
        more = coh_ready_run(c);
        if (!more)
            more = coh_pending_run(c) || coh_ahead_run(c);
        drain_self(c);
    }
    coh_evict_run(c);
}

void coh_step(struct coh *c, const struct coh_event *ev, struct coh_actions *out)
{
    out->n = 0;
    if (c->stopped) {
        coh_drop(c, COH_DROP_DEAD_PEER);
        return;
    }
    c->out = out;
    c->now = max_u64(c->now, ev->now);
    coh_hold_expire(c);
    dispatch(c, ev);
    work(c);
    uint64_t page = ev->type == COH_EV_MESSAGE ? ev->msg.page : ev->page;
    if (!c->stopped && ev->type < COH_EV_TICK && page < c->cfg.pages && coh_check(c, page) != NULL)
        coh_stop(c, COH_STOP_BUG, c->cfg.self);
}

uint64_t coh_deadline(const struct coh *c)
{
    if (c->stopped)
        return UINT64_MAX;
    if (c->ready.first != POOL_NONE || coh_ahead_possible(c) ||
        (c->pending_n > 0 && c->own_used < c->cfg.txn_max))
        return c->now;
    return min_u64(coh_hold_deadline(c), coh_evict_deadline(c));
}

/* ---- views
 * ----------------------------------------------------------------------------------------- */

bool coh_wants_data(const struct coh *c, uint8_t src, const struct wire_msg *m)
{
    return !c->stopped && m->kind == WIRE_DATA && verdict(c, m, src) == COH_DROPS &&
           coh_data_verdict(c, m) == COH_DROPS;
}

bool coh_takes_put(const struct coh *c, uint8_t src, const struct wire_msg *m)
{
    enum coh_drop why;
    if (c->stopped || (m->kind != WIRE_PUTM && m->kind != WIRE_PUTO) ||
        verdict(c, m, src) != COH_DROPS)
        return false;
    const struct coh_dir *d = &c->dir[coh_home_index(c, m->page)];
    return c->cache[m->page].state == COH_I &&
           coh_put_verdict(c, d, m, src, &why) == COH_PUT_ACCEPT;
}

void coh_view(const struct coh *c, uint64_t page, struct coh_page_view *out)
{
    const struct coh_entry *e = &c->cache[page];
    *out = (struct coh_page_view){
        .state = e->state, .owner = e->owner, .frame = e->frame, .version = e->version};
}

void coh_dir_view(const struct coh *c, uint64_t page, struct coh_dir_view *out)
{
    const struct coh_dir *d = &c->dir[coh_home_index(c, page)];
    *out = (struct coh_dir_view){
        .state = d->state, .owner = d->owner, .sharers = d->sharers, .version = d->version};
}

uint64_t coh_waited_for(const struct coh *c)
{
    return c->service_used == 0 ? 0 : c->open_sets;
}

bool coh_idle(const struct coh *c)
{
    return c->own_used == 0 && c->evict_used == 0 && c->service_used == 0 && c->pending_n == 0 &&
           c->taking == 0 && c->ready.first == POOL_NONE && c->self_n == 0;
}

const struct coh_counters *coh_counters(const struct coh *c)
{
    return &c->counters;
}
