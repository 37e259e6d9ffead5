/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log-linear histogram of unsigned 64-bit values (HdrHistogram's bucket rule: 32 linear buckets per
 * power of two, so a quantile is exact below 64 and within 1/32 above). PURE.
 * One writer; readers may copy it at any time and see a count or two less.
 */
#ifndef PANDO_BASE_HIST_H
#define PANDO_BASE_HIST_H

#include <stdint.h>

enum {
    HIST_SUB_BITS = 5,
    HIST_SUB = 1 << HIST_SUB_BITS,
    HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) * HIST_SUB,
};

struct hist {
    uint64_t count;
    uint64_t max;
    uint64_t sum; /* of all samples, modulo 2^64 */
    uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);

/* Adds every sample of src to dst. */
void hist_merge(struct hist *dst, const struct hist *src);

/* Of one that another thread adds to: a copy whose count is that of its buckets. Word by word: of
 * all histograms, 15 KiB each, whole copies would be the dataplane's largest ones. */
void hist_still(struct hist *dst, const struct hist *growing);

/* The smallest value v so that at least permille/1000 of the samples are <= v's bucket; the upper
 * edge of that bucket, never above max. 0 when empty. permille in 0..1000. */
uint64_t hist_quantile(const struct hist *h, uint32_t permille);

/* Bucket index of a value and the largest value of a bucket: for whoever prints raw buckets. */
uint32_t hist_index(uint64_t value);
uint64_t hist_upper(uint32_t index);

#endif
