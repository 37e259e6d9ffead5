/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory, views, and what can be checked. */
#include "perf/giantvm/core/ivy.h"

enum { ALIGN = 64 };

struct layout {
    size_t entry, rec, rec_next, wait, wait_next, size;
    uint32_t recs, waits;
};

static size_t place(size_t *at, size_t bytes)
{
    size_t here = *at;
    *at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return here;
}

/* Each blocked thread of the cluster has a record at most once at this node: its own fault, or
 * somebody's whom this node serves. */
static struct layout layout_of(const struct coh_config *cfg)
{
    struct layout l = {.recs = cfg->nodes * IVY_THREADS + IVY_HOLD_MAX,
                       .waits = cfg->nodes * IVY_THREADS};
    size_t at = 0;
    place(&at, sizeof(struct coh));
    l.entry = place(&at, cfg->pages * sizeof(struct ivy_entry));
    l.rec = place(&at, l.recs * sizeof(struct ivy_rec));
    l.rec_next = place(&at, l.recs * sizeof(uint32_t));
    l.wait = place(&at, l.waits * sizeof(struct ivy_wait));
    l.wait_next = place(&at, l.waits * sizeof(uint32_t));
    l.size = at;
    return l;
}

static bool config_valid(const struct coh_config *cfg)
{
    return cfg->nodes >= 1 && cfg->nodes <= IVY_NODES_MAX && cfg->self < cfg->nodes &&
           cfg->pages >= 1 && cfg->pages <= UINT64_C(1) << 32 && cfg->resident_max == 0 &&
           cfg->hold_ns <= UINT64_C(1) << 40 && cfg->hold_max_ns >= cfg->hold_ns &&
           cfg->hold_max_ns <= UINT64_C(1) << 40;
}

size_t coh_size(const struct coh_config *cfg)
{
    return config_valid(cfg) ? layout_of(cfg).size : 0;
}

struct coh *coh_init(void *mem, const struct coh_config *cfg)
{
    if (!config_valid(cfg) || (uintptr_t)mem % ALIGN != 0)
        return NULL;
    struct layout l = layout_of(cfg);
    uint8_t *base = mem;
    struct coh *c = mem;
    c->cfg = *cfg;
    c->rng.state = cfg->self;
    c->entry = (void *)(base + l.entry);
    c->rec = (void *)(base + l.rec);
    c->wait = (void *)(base + l.wait);
    pool_init(&c->recs, (void *)(base + l.rec_next), l.recs);
    pool_init(&c->waits, (void *)(base + l.wait_next), l.waits);
    return c;
}

/* All bytes 0 means owned by node 0, everywhere: untouched pages cost no memory. */
struct ivy_entry *ivy_entry_of(struct coh *c, uint64_t page)
{
    struct ivy_entry *e = &c->entry[page];
    if (c->cfg.self == 0 && !e->touched) {
        e->owner = 1;
        e->touched = 1;
    }
    return e;
}

/* There is no home; whom everybody asks first is node 0. */
uint8_t coh_home(const struct coh *c, uint64_t page)
{
    (void)c;
    (void)page;
    return 0;
}

const struct coh_counters *coh_counters(const struct coh *c)
{
    return &c->count;
}

bool coh_idle(const struct coh *c)
{
    return c->recs.used == c->held_n && c->waits.used == 0;
}

static enum coh_state state_of(const struct ivy_entry *e, const struct ivy_rec *r)
{
    static const enum coh_state still[] = {[IVY_I] = COH_I, [IVY_S] = COH_S, [IVY_M] = COH_M};
    if (r == NULL)
        return still[e->map];
    if (r->inv_open)
        return COH_SI_U;
    switch ((enum ivy_phase)r->phase) {
    case IVY_FETCH:
        return !r->write ? COH_IS_D : e->map == IVY_S ? COH_SM_AD : COH_IM_AD;
    case IVY_INVAL:
        return COH_SM_A;
    case IVY_MAP:
        return r->write ? COH_IM_P : COH_IS_P;
    case IVY_PROTECT:
        return COH_MS_P;
    case IVY_UNMAP:
        return COH_MI_U;
    case IVY_RELAY:
    case IVY_IDLE:
        break;
    }
    return still[e->map];
}

void coh_view(const struct coh *c, uint64_t page, struct coh_page_view *out)
{
    const struct ivy_entry *e = &c->entry[page];
    out->state = state_of(e, e->rec != 0 ? &c->rec[e->rec - 1] : NULL);
    out->owner = e->owner || (c->cfg.self == 0 && !e->touched);
    out->frame = out->owner || e->map != IVY_I;
    out->version = e->version;
}

static const char *check_rec(const struct coh *c, const struct ivy_entry *e)
{
    const struct ivy_rec *r = &c->rec[e->rec - 1];
    if (r->inv_open && r->phase != IVY_IDLE && r->phase != IVY_FETCH && r->phase != IVY_RELAY)
        return "INV is served only where nothing of the page's mapping is under way";
    if (r->inv_open && (e->owner || e->map != IVY_S))
        return "INV takes a sharer's page";
    if ((r->phase == IVY_PROTECT || r->phase == IVY_INVAL) && !e->owner)
        return "only the owner protects, or invalidates others";
    if (r->phase == IVY_RELAY && e->owner)
        return "an owner passes no request on";
    if (r->phase == IVY_IDLE && r->first != POOL_NONE && r->hold_at == POOL_NONE && !r->inv_open)
        return "nobody waits for a page that nothing is under way for";
    return NULL;
}

const char *coh_check(struct coh *c, uint64_t page)
{
    c->count.checks++;
    if (page >= c->cfg.pages)
        return NULL;
    const struct ivy_entry *e = &c->entry[page];
    if (e->map == IVY_M && (!e->owner || e->copyset != 0))
        return "a writable page has its owner here and no other copy";
    if (e->copyset != 0 && !e->owner)
        return "only the owner has a copyset";
    if ((e->copyset >> c->cfg.self & 1) != 0 || e->copyset >> c->cfg.nodes != 0)
        return "a copyset names other nodes";
    if (e->owner && e->prob != c->cfg.self)
        return "an owner's probable owner is itself";
    if (!e->owner && e->touched && e->prob == c->cfg.self && e->rec == 0)
        return "who is not the owner knows another";
    return e->rec != 0 ? check_rec(c, e) : NULL;
}
