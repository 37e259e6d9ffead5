/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of pages that something is under way for, and the requests that wait for them. */
#include "perf/giantvm/core/ivy.h"

struct ivy_rec *ivy_rec_find(struct coh *c, uint64_t page)
{
    uint32_t rec = c->entry[page].rec;
    return rec == 0 ? NULL : &c->rec[rec - 1];
}

/* Peers cannot take the records that own faults need. */
struct ivy_rec *ivy_rec_get(struct coh *c, uint64_t page, bool own)
{
    struct ivy_rec *r = ivy_rec_find(c, page);
    if (r != NULL)
        return r;
    if (!own && c->recs.size - c->recs.used <= IVY_THREADS)
        return NULL;
    uint32_t i = pool_get(&c->recs);
    if (i == POOL_NONE)
        return NULL;
    c->entry[page].rec = i + 1;
    c->rec[i] = (struct ivy_rec){.page = page,
                                 .first = POOL_NONE,
                                 .last = POOL_NONE,
                                 .hold_at = POOL_NONE,
                                 .vcpu = COH_VCPU_NONE};
    c->count.txn_high = c->recs.high_water;
    return &c->rec[i];
}

void ivy_rec_release(struct coh *c, struct ivy_rec *r)
{
    if (r->phase != IVY_IDLE || r->inv_open || r->want != 0 || r->first != POOL_NONE ||
        r->hold_at != POOL_NONE)
        return;
    c->entry[r->page].rec = 0;
    pool_put(&c->recs, (uint32_t)(r - c->rec));
}

bool ivy_wait_push(struct coh *c, struct ivy_rec *r, const struct ivy_request *q)
{
    uint32_t i = pool_get(&c->waits);
    if (i == POOL_NONE)
        return false;
    c->wait[i] = (struct ivy_wait){.req = *q, .next = POOL_NONE};
    if (r->first == POOL_NONE)
        r->first = i;
    else
        c->wait[r->last].next = i;
    r->last = i;
    c->count.deferred++;
    c->count.deferred_high = c->waits.high_water;
    return true;
}

struct ivy_request ivy_wait_pop(struct coh *c, struct ivy_rec *r)
{
    uint32_t i = r->first;
    PANDO_CHECK(i != POOL_NONE);
    r->first = c->wait[i].next;
    pool_put(&c->waits, i);
    return c->wait[i].req;
}
