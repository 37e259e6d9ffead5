/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SPSC rings of glue_abi.h: the one place where indices, lengths and side slots are checked.
 *
 * Memory order: [A] the producer's store-release of head pairs with the consumer's load-acquire of
 * head: the entry and its side bytes are visible before the index. [B] the consumer's store-release
 * of tail (and side_tail) pairs with the producer's load-acquire: a slot is read to its end before
 * it is written again.
 */
#ifndef PANDO_GLUE_RING_H
#define PANDO_GLUE_RING_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "hypervisor-glue/link/glue_abi.h"

/* Producer. Publishes one entry with payload_len bytes; node, kind, chan, op, seq, arg are taken
 * from *e. 0; -EAGAIN: no entry or no side slot free; -EMSGSIZE. The caller wakes the consumer. */
static inline int glue_ring_put(struct glue_ring *r, const struct glue_entry *e,
                                const void *payload, uint32_t payload_len)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire); /* [B] */
    if (payload_len > GLUE_SIDE_SIZE)
        return -EMSGSIZE;
    if (head - tail >= GLUE_RING_ENTRIES)
        return -EAGAIN;
    struct glue_entry *slot = &r->entry[head % GLUE_RING_ENTRIES];
    struct glue_entry copy = *e;
    copy.len = (uint16_t)payload_len;
    copy.side = 0;
    if (payload_len > GLUE_INLINE) {
        uint32_t side_head = atomic_load_explicit(&r->side_head, memory_order_relaxed);
        uint32_t side_tail = atomic_load_explicit(&r->side_tail, memory_order_acquire); /* [B] */
        if (side_head - side_tail >= GLUE_SIDE_SLOTS)
            return -EAGAIN;
        copy.side = side_head % GLUE_SIDE_SLOTS;
        memcpy(r->side[copy.side], payload, payload_len);
        atomic_store_explicit(&r->side_head, side_head + 1, memory_order_relaxed);
    } else if (payload_len > 0) {
        memcpy(copy.data, payload, payload_len);
    }
    *slot = copy;
    atomic_store_explicit(&r->head, head + 1, memory_order_release); /* [A] */
    return 0;
}

/* Consumer. Looks at the oldest entry: *ret is a private copy, *ret_payload its bytes (inside *ret
 * or in the side slot; a producer that is not trusted may still change side bytes: copy before
 * looking twice). 1: there is one; 0: empty; -EPROTO: the producer broke the rules (index, length
 * or slot out of range). */
static inline int glue_ring_peek(struct glue_ring *r, struct glue_entry *ret,
                                 const uint8_t **ret_payload)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire); /* [A] */
    if (head == tail)
        return 0;
    if (head - tail > GLUE_RING_ENTRIES)
        return -EPROTO;
    memcpy(ret, &r->entry[tail % GLUE_RING_ENTRIES], sizeof(*ret));
    if (ret->len > GLUE_SIDE_SIZE)
        return -EPROTO;
    *ret_payload = ret->data;
    if (ret->len > GLUE_INLINE) {
        uint32_t side_tail = atomic_load_explicit(&r->side_tail, memory_order_relaxed);
        if (ret->side != side_tail % GLUE_SIDE_SLOTS)
            return -EPROTO;
        *ret_payload = r->side[ret->side];
    }
    return 1;
}

/* Consumer. Gives back the entry that peek returned; len is the copy's len. */
static inline void glue_ring_pop(struct glue_ring *r, uint32_t len)
{
    if (len > GLUE_INLINE) {
        uint32_t side_tail = atomic_load_explicit(&r->side_tail, memory_order_relaxed);
        atomic_store_explicit(&r->side_tail, side_tail + 1, memory_order_release); /* [B] */
    }
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release); /* [B] */
}

/* Entries that wait now, 0..most, for who is neither producer nor consumer (telemetry); -1: the
 * indices are impossible. Any ring of glue_abi.h: head and tail are its indices. Both may move
 * meanwhile; while tail stands still, head is at most `most` ahead of it. A tail that never does
 * belongs to a ring in full use, whose last difference is as good as any: cut off, not believed. */
enum { GLUE_WAITING_TRIES = 8 };
static inline int32_t glue_waiting(_Atomic uint32_t *head, _Atomic uint32_t *tail, uint32_t most)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < GLUE_WAITING_TRIES; i++) {
        uint32_t before = atomic_load_explicit(tail, memory_order_acquire);
        n = atomic_load_explicit(head, memory_order_acquire) - before;
        if (atomic_load_explicit(tail, memory_order_relaxed) == before)
            return n <= most ? (int32_t)n : -1;
    }
    return (int32_t)(n <= most ? n : most);
}

static inline bool glue_ring_empty(struct glue_ring *r)
{
    return atomic_load_explicit(&r->head, memory_order_acquire) ==
           atomic_load_explicit(&r->tail, memory_order_relaxed);
}

#endif
