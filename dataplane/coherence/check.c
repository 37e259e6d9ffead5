/* SPDX-License-Identifier: BSD-3-Clause */
/* coh_check: what one node can see of the invariants (coherence.h, core.h), as one executable
 * assert. */
#include "dataplane/coherence/core.h"

#define RULE(condition, sentence)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return sentence;                                                                       \
    } while (0)

static uint32_t set_of(enum coh_state s)
{
    return UINT32_C(1) << s;
}

static bool in(const struct coh_entry *e, uint32_t states)
{
    return (states >> e->state & 1) != 0;
}

static const char *check_entry(const struct coh_entry *e)
{
    const uint32_t owner_always = set_of(COH_M) | set_of(COH_IM_P) | set_of(COH_MS_P) |
                                  set_of(COH_MI_U) | set_of(COH_OE_U) | set_of(COH_ME_U) |
                                  set_of(COH_OE_A) | set_of(COH_ME_A);
    const uint32_t owner_maybe = set_of(COH_S) | set_of(COH_IS_D) | set_of(COH_IS_P) |
                                 set_of(COH_SM_AD) | set_of(COH_SM_A) | set_of(COH_SE_U);
    RULE(e->state < COH_STATES, "the state exists");
    RULE(e->state == COH_I || e->frame, "a page that is not Invalid has a frame");
    RULE(!in(e, owner_always) || e->owner, "this state is an owner's");
    RULE(in(e, owner_always | owner_maybe) || !e->owner, "this state is not an owner's");
    RULE(!e->taking || (e->state == COH_IS_P && e->owner), "a page that was taken is being mapped");
    return NULL;
}

static const char *check_record(const struct coh *c, const struct coh_entry *e,
                                const struct coh_rec *r)
{
    const uint32_t requests = set_of(COH_IS_D) | set_of(COH_IM_AD) | set_of(COH_SM_AD) |
                              set_of(COH_SM_A) | set_of(COH_SM_IU);
    const uint32_t serving = set_of(COH_SI_U) | set_of(COH_OI_U) | set_of(COH_MI_U) |
                             set_of(COH_MS_P) | set_of(COH_SM_IU);
    const uint32_t evicting = set_of(COH_SE_U) | set_of(COH_OE_U) | set_of(COH_ME_U) |
                              set_of(COH_SE_A) | set_of(COH_OE_A) | set_of(COH_ME_A) |
                              set_of(COH_IE_A);
    const uint32_t mapping = set_of(COH_IS_P) | set_of(COH_IM_P);
    bool own = r != NULL && r->own, evict = r != NULL && r->evict, serve = r != NULL && r->serving;
    RULE(!in(e, requests) || (own && r->txn != 0), "a request has an own record and an id");
    RULE(serve == in(e, serving), "exactly the states of service know whom to answer");
    RULE(in(e, evicting) ? evict : !evict || in(e, mapping),
         "exactly evictions have an eviction's record");
    if (r == NULL)
        return NULL;
    RULE(r->page < c->cfg.pages && &c->cache[r->page] == e, "the record is this page's");
    RULE((r->write_waiters & ~r->waiters) == 0 && (!r->write_other || r->other),
         "writers wait, too");
    RULE(!r->count_known || !in(e, requests) || bit64_count(r->acked) <= r->acks,
         "no more acks than were asked for");
    RULE(!coh_wanted(r) || !(e->state == COH_I || e->state == COH_S || e->state == COH_M),
         "nobody waits at a stable page");
    RULE(r->first == POOL_NONE || r->ready || !coh_may_serve(c, e, r),
         "a parked message that can be served is about to be");
    RULE(r->own || r->evict || r->serving || r->holding || r->ready || r->set_refs > 0 ||
             r->first != POOL_NONE,
         "a record has a reason");
    return NULL;
}

static const char *check_dir(const struct coh *c, const struct coh_dir *d,
                             const struct coh_entry *e)
{
    uint64_t owner = bit64((unsigned)d->owner);
    uint64_t all = c->cfg.nodes == 64 ? UINT64_MAX : bit64(c->cfg.nodes) - 1;
    RULE((d->sharers & ~all) == 0, "sharers exist");
    if (d->state == COH_DIR_ZERO) {
        RULE(d->version == 0, "a page of version 0 was never written");
        return NULL;
    }
    RULE(d->state <= COH_DIR_MODIFIED && d->version > 0, "a written page has a version");
    RULE((d->sharers & owner) != 0, "the owner is a sharer");
    RULE(d->state == COH_DIR_OWNED || d->sharers == owner, "a modified page has one holder");
    RULE(d->owner != c->cfg.self || e->state != COH_I, "a home that owns a page has it");
    RULE(e->version <= d->version, "no copy is newer than the directory");
    return NULL;
}

static const char *check_lists(const struct coh *c, uint32_t *ret_records)
{
    uint32_t own = 0, evict = 0, service = 0, holds = 0, records = 0;
    for (uint32_t b = 0; b <= c->bucket_mask; b++) {
        for (uint32_t i = c->bucket[b]; i != POOL_NONE; i = c->rec[i].chain) {
            const struct coh_rec *r = &c->rec[i];
            RULE(++records <= c->rec_pool.size, "record chains end");
            RULE(c->cache[r->page].tracked, "a record's page is tracked");
            own += r->own;
            evict += r->evict;
            holds += r->holding;
            service += r->serving;
            for (uint32_t d = r->first; d != POOL_NONE; d = c->deferred[d].next)
                RULE(++service <= c->cfg.deferred_max, "parked messages are within their limit");
        }
    }
    RULE(own == c->own_used && own <= c->cfg.txn_max, "requests are counted");
    RULE(evict == c->evict_used && evict <= COH_EVICT_MAX, "evictions are counted");
    RULE(service == c->service_used, "parked and served messages are counted");
    RULE(holds == c->hold_used && holds <= COH_HOLD_MAX, "holds are counted");
    *ret_records = records;
    return NULL;
}

static const char *check_all(const struct coh *c)
{
    uint32_t records = 0;
    uint64_t resident = 0, tracked = 0, taking = 0;
    const char *why = check_lists(c, &records);
    if (why != NULL)
        return why;
    RULE(records == c->rec_pool.used, "no record leaks");
    for (uint64_t p = 0; p < c->cfg.pages; p++) {
        resident += c->cache[p].frame;
        tracked += c->cache[p].tracked;
        taking += c->cache[p].taking;
    }
    RULE(resident == c->counters.resident, "resident frames are counted");
    RULE(taking == c->taking, "pages that were taken are counted");
    RULE(tracked == records, "a tracked page has one record");
    return NULL;
}

const char *coh_check(struct coh *c, uint64_t page)
{
    c->counters.checks++;
    if (page == UINT64_MAX)
        return check_all(c);
    RULE(page < c->cfg.pages, "the page exists");
    const struct coh_entry *e = &c->cache[page];
    const char *why = check_entry(e);
    if (why == NULL)
        why = check_record(c, e, coh_rec_find(c, page));
    if (why == NULL && coh_home(c, page) == c->cfg.self)
        why = check_dir(c, &c->dir[coh_home_index(c, page)], e);
    return why;
}
