/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/hist.h"

#include "dataplane/base/check.h"

uint32_t hist_index(uint64_t value)
{
    if (value < HIST_SUB)
        return (uint32_t)value;
    uint32_t log2 = 63u - (uint32_t)__builtin_clzll(value);
    uint32_t shift = log2 - HIST_SUB_BITS;
    return (shift + 1) * HIST_SUB + (uint32_t)((value >> shift) - HIST_SUB);
}

uint64_t hist_upper(uint32_t index)
{
    PANDO_CHECK(index < HIST_BUCKETS);
    if (index < HIST_SUB)
        return index;
    uint32_t shift = index / HIST_SUB - 1;
    uint64_t base = (uint64_t)(index % HIST_SUB + HIST_SUB) << shift;
    return base + ((UINT64_C(1) << shift) - 1);
}

void hist_add(struct hist *h, uint64_t value)
{
    h->bucket[hist_index(value)]++;
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

void hist_merge(struct hist *dst, const struct hist *src)
{
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        dst->bucket[i] += src->bucket[i];
    dst->count += src->count;
    dst->sum += src->sum;
    if (src->max > dst->max)
        dst->max = src->max;
}

/* Relaxed: no other memory is read by what is found in here. */
void hist_still(struct hist *dst, const struct hist *growing)
{
    dst->count = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        dst->bucket[i] = __atomic_load_n(&growing->bucket[i], __ATOMIC_RELAXED);
        dst->count += dst->bucket[i];
    }
    dst->max = __atomic_load_n(&growing->max, __ATOMIC_RELAXED);
    dst->sum = __atomic_load_n(&growing->sum, __ATOMIC_RELAXED);
}

uint64_t hist_quantile(const struct hist *h, uint32_t permille)
{
    if (h->count == 0)
        return 0;
    uint64_t want = (h->count / 1000) * permille + (h->count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= want && seen > 0) {
            uint64_t upper = hist_upper(i);
            return upper < h->max ? upper : h->max;
        }
    }
    return h->max;
}
