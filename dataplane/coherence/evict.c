/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replacement: a clock hand over the cache entries, a bounded piece at a time.
 *
 * Frames of Invalid pages go when the hand meets them. A page that was granted survives one pass (a
 * copy) or two (an owner), so that copies go before owners. Pages with a record (transient, held,
 * or with messages parked) are passed by, and so are pages that are both owned and homed here: home
 * is their place. Homes accept PUTM and PUTO without limit and then replace others.
 */
#include "dataplane/coherence/core.h"

/* How far resident may exceed resident_max when nothing can be replaced: what may be in flight. */
static uint64_t slack(const struct coh *c)
{
    return c->cfg.txn_max + 64 + c->cfg.resident_max / 8;
}

void coh_frame_take(struct coh *c, struct coh_entry *e)
{
    if (e->frame)
        return;
    e->frame = 1;
    c->counters.resident++;
    c->counters.resident_high = max_u64(c->counters.resident_high, c->counters.resident);
}

void coh_frame_punch(struct coh *c, struct coh_ctx *x)
{
    PANDO_CHECK(x->e->state == COH_I);
    if (!x->e->frame)
        return;
    x->e->frame = 0;
    c->counters.resident--;
    c->counters.punches++;
    coh_act(c, COH_ACT_PUNCH, x->page);
}

static void evict(struct coh *c, struct coh_ctx *x, enum coh_state to)
{
    coh_rec_get(c, x)->evict = true;
    c->evict_used++;
    coh_act(c, COH_ACT_UNMAP, x->page);
    coh_set_state(c, x, to);
}

void coh_on_evict_i(struct coh *c, struct coh_ctx *x)
{
    coh_frame_punch(c, x);
}

void coh_on_evict_s(struct coh *c, struct coh_ctx *x)
{
    evict(c, x, x->e->owner ? COH_OE_U : COH_SE_U);
}

void coh_on_evict_m(struct coh *c, struct coh_ctx *x)
{
    evict(c, x, COH_ME_U);
}

/* With COH_EVICT_MAX evictions in flight, their PUT_ACKs bring us back here. */
static bool over(const struct coh *c)
{
    return c->cfg.resident_max > 0 && c->evict_used < COH_EVICT_MAX &&
           c->counters.resident > c->cfg.resident_max + c->evict_used;
}

/* The hand looks at one page; true if that brought replacement forward. */
static bool pass(struct coh *c, uint64_t page)
{
    struct coh_entry *e = &c->cache[page];
    if (!e->frame || e->tracked || coh_cache_table[e->state][COH_CE_EVICT] == NULL)
        return false;
    if (e->owner && coh_home(c, page) == c->cfg.self)
        return false;
    if (e->state != COH_I && e->ref > 0) {
        e->ref--;
        return true;
    }
    struct coh_ctx x = coh_ctx_of(c, page);
    return coh_cache_dispatch(c, &x, COH_CE_EVICT);
}

void coh_evict_run(struct coh *c)
{
    if (!over(c) || c->now < c->evict_at)
        return;
    uint64_t scan = min_u64(COH_SCAN_MAX, c->cfg.pages);
    for (; scan > 0 && over(c) && !c->stopped && coh_room(c); scan--) {
        bool progress = pass(c, c->hand);
        c->hand = c->hand + 1 < c->cfg.pages ? c->hand + 1 : 0;
        c->hand_idle = progress ? 0 : c->hand_idle + 1;
        if (c->hand_idle < c->cfg.pages)
            continue;
        c->hand_idle = 0;
        c->evict_at = c->now + max_u64(c->cfg.hold_ns, COH_EVICT_RETRY_NS);
        if (coh_idle(c) && c->hold_used == 0 && c->open_sets == 0 &&
            c->counters.resident > c->cfg.resident_max + slack(c))
            coh_stop(c, COH_STOP_NO_FRAME, c->cfg.self);
        return;
    }
}

uint64_t coh_evict_deadline(const struct coh *c)
{
    return over(c) ? max_u64(c->now, c->evict_at) : UINT64_MAX;
}
