/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of pages that need more than their cache entry, and messages that wait there (core.h). */
#include "dataplane/coherence/core.h"

static uint32_t *bucket_of(const struct coh *c, uint64_t page)
{
    uint64_t h = page * UINT64_C(0x9E3779B97F4A7C15);
    return &c->bucket[(h >> 32) & c->bucket_mask];
}

struct coh_rec *coh_rec_find(const struct coh *c, uint64_t page)
{
    if (!c->cache[page].tracked)
        return NULL;
    for (uint32_t i = *bucket_of(c, page); i != POOL_NONE; i = c->rec[i].chain)
        if (c->rec[i].page == page)
            return &c->rec[i];
    PANDO_CHECK(!"a tracked page has a record");
    return NULL;
}

struct coh_rec *coh_rec_get(struct coh *c, struct coh_ctx *x)
{
    if (x->r != NULL)
        return x->r;
    uint32_t i = pool_get(&c->rec_pool);
    PANDO_CHECK(i != POOL_NONE); /* the sum of the four limits is the pool's size */
    uint32_t *b = bucket_of(c, x->page);
    c->rec[i] = (struct coh_rec){.page = x->page,
                                 .chain = *b,
                                 .first = POOL_NONE,
                                 .last = POOL_NONE,
                                 .hold_prev = POOL_NONE,
                                 .hold_next = POOL_NONE,
                                 .ready_next = POOL_NONE};
    *b = i;
    x->e->tracked = 1;
    x->r = &c->rec[i];
    return x->r;
}

void coh_rec_release(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    if (r == NULL || r->own || r->evict || r->serving || r->holding || r->ready ||
        r->set_refs > 0 || r->first != POOL_NONE)
        return;
    PANDO_CHECK(r->waiters == 0 && !r->other);
    uint32_t id = coh_rec_id(c, r);
    uint32_t *link = bucket_of(c, r->page);
    while (*link != id)
        link = &c->rec[*link].chain;
    *link = r->chain;
    pool_put(&c->rec_pool, id);
    x->e->tracked = 0;
    x->r = NULL;
}

bool coh_rec_own(struct coh *c, struct coh_ctx *x)
{
    if (x->r != NULL && x->r->own)
        return true;
    if (c->own_used == c->cfg.txn_max)
        return false;
    coh_rec_get(c, x)->own = true;
    c->own_used++;
    c->counters.txn_high = max_u64(c->counters.txn_high, c->own_used);
    return true;
}

void coh_rec_own_end(struct coh *c, struct coh_rec *r)
{
    if (!r->own)
        return;
    r->own = false;
    c->own_used--;
}

void coh_rec_evict_end(struct coh *c, struct coh_rec *r)
{
    if (!r->evict)
        return;
    r->evict = false;
    c->evict_used--;
}

/* Remembers whom to answer when the edge action that x->m caused is complete. */
void coh_serve_begin(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = coh_rec_get(c, x);
    PANDO_CHECK(!r->serving);
    r->serving = true;
    r->serve_requester = x->m->requester;
    r->serve_txn = x->m->txn;
    r->serve_acks = x->m->acks;
    c->service_used++;
}

void coh_serve_end(struct coh *c, struct coh_rec *r)
{
    PANDO_CHECK(r->serving);
    r->serving = false;
    c->service_used--;
}

void coh_deferred_add(struct coh *c, struct coh_ctx *x)
{
    const struct wire_msg *m = x->m;
    if (c->service_used >= c->cfg.deferred_max) {
        coh_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    struct coh_rec *r = coh_rec_get(c, x);
    uint32_t i = pool_get(&c->deferred_pool);
    PANDO_CHECK(i != POOL_NONE);
    c->deferred[i] = (struct coh_deferred){.txn = m->txn,
                                           .version = m->version,
                                           .since = coh_since(c, m),
                                           .next = POOL_NONE,
                                           .kind = m->kind,
                                           .requester = m->requester,
                                           .acks = m->acks,
                                           .exclusive = m->exclusive};
    if (r->first == POOL_NONE)
        r->first = i;
    else
        c->deferred[r->last].next = i;
    r->last = i;
    c->service_used++;
    c->counters.deferred++;
    c->counters.deferred_high = max_u64(c->counters.deferred_high, c->service_used);
}

void coh_deferred_pop(struct coh *c, struct coh_rec *r, struct wire_msg *ret_msg)
{
    uint32_t i = r->first;
    PANDO_CHECK(i != POOL_NONE);
    const struct coh_deferred *d = &c->deferred[i];
    *ret_msg = (struct wire_msg){.kind = d->kind,
                                 .vm = c->cfg.vm,
                                 .requester = d->requester,
                                 .acks = d->acks,
                                 .exclusive = d->exclusive,
                                 .page = r->page,
                                 .txn = d->txn,
                                 .version = d->version};
    r->first = d->next;
    if (r->first == POOL_NONE)
        r->last = POOL_NONE;
    pool_put(&c->deferred_pool, i);
    c->service_used--;
}

void coh_ready_add(struct coh *c, struct coh_rec *r)
{
    if (r->ready)
        return;
    uint32_t id = coh_rec_id(c, r);
    r->ready = true;
    r->ready_next = POOL_NONE;
    if (c->ready.first == POOL_NONE)
        c->ready.first = id;
    else
        c->rec[c->ready.last].ready_next = id;
    c->ready.last = id;
}

struct coh_rec *coh_ready_take(struct coh *c)
{
    if (c->ready.first == POOL_NONE)
        return NULL;
    struct coh_rec *r = &c->rec[c->ready.first];
    c->ready.first = r->ready_next;
    if (c->ready.first == POOL_NONE)
        c->ready.last = POOL_NONE;
    r->ready = false;
    return r;
}
