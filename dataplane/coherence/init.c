/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration, memory layout, and the map from pages to homes. */
#include "dataplane/coherence/core.h"

enum { ALIGN = 64, TXN_LIMIT = 65536, DEFERRED_LIMIT = 1 << 23 };

static bool ranges_valid(const struct coh_config *cfg)
{
    uint64_t before = 0;
    for (unsigned n = 0; n < cfg->nodes; n++) {
        if (cfg->range_end[n] < before)
            return false;
        before = cfg->range_end[n];
    }
    return before == cfg->pages;
}

static bool config_valid(const struct coh_config *cfg)
{
    if (cfg->nodes < 1 || cfg->nodes > COH_NODES_MAX || cfg->self >= cfg->nodes)
        return false;
    if (cfg->pages < 1 || cfg->pages > COH_PAGES_MAX)
        return false;
    if (cfg->home_mode > COH_HOME_RANGE || cfg->interleave_shift > 20)
        return false;
    if (cfg->home_mode == COH_HOME_RANGE && !ranges_valid(cfg))
        return false;
    if (cfg->epoch_txn < 1 || cfg->epoch_txn > UINT64_C(1) << 47)
        return false;
    if (cfg->txn_max < 1 || cfg->txn_max > TXN_LIMIT)
        return false;
    if (cfg->deferred_max < 1 || cfg->deferred_max > DEFERRED_LIMIT)
        return false;
    /* Every transaction of every peer may have one message here (core.h). */
    if (cfg->deferred_max < (uint64_t)(cfg->nodes - 1u) * cfg->txn_max)
        return false;
    if (cfg->zero_ahead > COH_ZERO_AHEAD_MAX || (cfg->zero_ahead & (cfg->zero_ahead - 1)) != 0)
        return false;
    return cfg->hold_ns <= UINT64_C(1) << 40 && cfg->hold_max_ns <= UINT64_C(1) << 40 &&
           cfg->hold_max_ns >= cfg->hold_ns;
}

/* Pages homed at this node: exact for ranges, rounded up to whole stripes for interleave. */
static uint64_t home_pages(const struct coh_config *cfg)
{
    if (cfg->home_mode == COH_HOME_RANGE)
        return cfg->range_end[cfg->self] - (cfg->self > 0 ? cfg->range_end[cfg->self - 1] : 0);
    uint64_t stripe = bit64(cfg->interleave_shift);
    uint64_t stripes = (cfg->pages + stripe - 1) / stripe;
    return (stripes / cfg->nodes + (stripes % cfg->nodes > cfg->self)) * stripe;
}

struct layout {
    size_t cache, dir, rec, rec_next, bucket, deferred, deferred_next, size;
    uint32_t records, buckets;
};

static size_t place(size_t *at, uint64_t bytes)
{
    size_t here = *at;
    *at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return here;
}

static struct layout layout_of(const struct coh_config *cfg)
{
    struct layout l = {0};
    size_t at = 0;
    l.records = cfg->txn_max + cfg->deferred_max + COH_EVICT_MAX + COH_HOLD_RECORDS;
    l.buckets = 1;
    while (l.buckets < l.records)
        l.buckets *= 2;
    place(&at, sizeof(struct coh));
    l.cache = place(&at, cfg->pages * sizeof(struct coh_entry));
    l.dir = place(&at, home_pages(cfg) * sizeof(struct coh_dir));
    l.rec = place(&at, l.records * sizeof(struct coh_rec));
    l.rec_next = place(&at, l.records * sizeof(uint32_t));
    l.bucket = place(&at, l.buckets * sizeof(uint32_t));
    l.deferred = place(&at, cfg->deferred_max * sizeof(struct coh_deferred));
    l.deferred_next = place(&at, cfg->deferred_max * sizeof(uint32_t));
    l.size = at;
    return l;
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
    c->home_pages = home_pages(cfg);
    c->cache = (void *)(base + l.cache);
    c->dir = (void *)(base + l.dir);
    c->rec = (void *)(base + l.rec);
    c->bucket = (void *)(base + l.bucket);
    c->bucket_mask = l.buckets - 1;
    c->deferred = (void *)(base + l.deferred);
    pool_init(&c->rec_pool, (void *)(base + l.rec_next), l.records);
    pool_init(&c->deferred_pool, (void *)(base + l.deferred_next), cfg->deferred_max);
    for (uint32_t i = 0; i < l.buckets; i++)
        c->bucket[i] = POOL_NONE;
    c->ready = c->holds = (struct coh_list){POOL_NONE, POOL_NONE};
    c->next_txn = cfg->epoch_txn;
    return c;
}

uint8_t coh_home(const struct coh *c, uint64_t page)
{
    if (c->cfg.home_mode == COH_HOME_INTERLEAVE)
        return (uint8_t)((page >> c->cfg.interleave_shift) % c->cfg.nodes);
    uint8_t n = 0;
    while (n + 1 < c->cfg.nodes && page >= c->cfg.range_end[n])
        n++;
    return n;
}

/* A bijection from the pages homed here to 0..home_pages-1. */
uint64_t coh_home_index(const struct coh *c, uint64_t page)
{
    unsigned shift = c->cfg.interleave_shift;
    uint64_t i;
    if (c->cfg.home_mode == COH_HOME_INTERLEAVE)
        i = ((page >> shift) / c->cfg.nodes) << shift | (page & (bit64(shift) - 1));
    else
        i = page - (c->cfg.self > 0 ? c->cfg.range_end[c->cfg.self - 1] : 0);
    PANDO_CHECK(i < c->home_pages);
    return i;
}
