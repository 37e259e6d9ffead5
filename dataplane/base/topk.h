/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The most frequent keys of a stream, in a fixed amount of memory: Space-Saving (Metwally, Agrawal
 * and El Abbadi, ICDT 2005). PURE; one owner.
 *
 * A key that is not among the entries takes the place of the least frequent one and inherits its
 * count, which is from then on how much its own may be over. A key that makes up more than one in
 * TOPK_ENTRIES of the stream is always among the entries; true count: count - over .. count.
 */
#ifndef PANDO_BASE_TOPK_H
#define PANDO_BASE_TOPK_H

#include <stdint.h>

enum { TOPK_ENTRIES = 64 };

struct topk_entry {
    uint64_t key, count, over;
};

/* The least that the key's count can be. Also right for an entry that its owner changes meanwhile.
 */
static inline uint64_t topk_sure(const struct topk_entry *e)
{
    return e->over < e->count ? e->count - e->over : 0;
}

struct topk { /* begins as all zero */
    struct topk_entry entry[TOPK_ENTRIES];
    uint32_t used;
};

/* Counts the key once. About 64 comparisons. */
void topk_add(struct topk *t, uint64_t key);

/* The most frequent ones into out, which has room for n, by count - over, the highest first, equal
 * ones by key; returns how many. */
uint32_t topk_most(const struct topk *t, struct topk_entry *out, uint32_t n);

#endif
