/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool of indices 0..size-1: a free list over caller-supplied memory. PURE; one owner.
 * The objects live in an array of the caller's; the pool only says which index is free, and knows
 * its high-water mark, so that every maximum in the configuration can be compared with its use.
 */
#ifndef PANDO_BASE_POOL_H
#define PANDO_BASE_POOL_H

#include <stdint.h>

#define POOL_NONE UINT32_MAX

struct pool {
    uint32_t *next; /* next[i]: the free index after i, POOL_NONE at the end, POOL_USED if taken */
    uint32_t head;
    uint32_t size;
    uint32_t used;
    uint32_t high_water;
};

/* next: memory for size integers, kept by the caller as long as the pool. size 1..2^31. */
void pool_init(struct pool *p, uint32_t *next, uint32_t size);

/* A free index, or POOL_NONE when all are taken. */
uint32_t pool_get(struct pool *p);

/* Gives an index back. It must be taken (checked: a double free is a bug of ours). */
void pool_put(struct pool *p, uint32_t index);

#endif
