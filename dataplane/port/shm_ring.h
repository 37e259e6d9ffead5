/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layout of the shared-memory ring: one sender, one receiver, fixed slots.
 *
 * Fixed slots, not variable-length records: a length that the peer wrote can only ever address its
 * own slot, there is no wrap to get wrong, and the word that publishes a frame lies in the frame's
 * first cache line, so that a small frame costs one cache miss. The price is memory: 2.2 MiB a
 * ring.
 *
 * The memory belongs to the receiver, who makes it anew at each start: an anonymous file (memfd)
 * sealed against shrinking, so that no access to it can fault whatever the other side does to the
 * file.
 *
 * Every word that the other side can write is read exactly once, into a private variable, and then
 * checked.
 *
 *   sender:    bytes -> slot[i];  claimed = i + 1;  publish = {i + 1, length}   (release)      [A]
 *   receiver:  publish == i + 1? (acquire) [A]   slot[i] -> private copy;  tail = i + 1 (release)
 * [B] sender:    tail (acquire) [B] before it writes slot[i + SHM_SLOTS]
 *
 * A sender that dies before [A] published nothing. Its successor goes on at `claimed`, or one
 * before when that slot was claimed but not published (shm_ring_resume); so no slot that the
 * receiver may be reading is ever written. Sleep [C]: the receiver stores sleeping, full fence,
 * looks at the next slot; the sender publishes, full fence, looks at sleeping: at least one of them
 * sees the other.
 */
#ifndef PANDO_PORT_SHM_RING_H
#define PANDO_PORT_SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/transport/rrdp.h"

enum {
    SHM_VERSION = 1,
    SHM_SLOTS = 256, /* a power of two: the windows of all four classes, RRDP_WINDOW each */
    SHM_SLOT_HEADER = 8,
    /* The same for every MTU, so that nodes whose MTU differs can still refuse each other in words.
     */
    SHM_SLOT_SIZE = (SHM_SLOT_HEADER + RRDP_MTU_MAX + 63) / 64 * 64,
};
#define SHM_MAGIC UINT64_C(0x474E49524F444E50) /* "PNDORING" */

struct shm_slot {
    _Atomic uint64_t publish; /* index + 1 in the low half, length in the high half */
    uint8_t data[SHM_SLOT_SIZE - SHM_SLOT_HEADER];
};

/* Each line has one writer and one habit: polled words never share a line with words written often.
 */
struct shm_ring {
    uint64_t magic;
    uint32_t version, slots, slot_size, reserved;
    uint64_t epoch;                         /* of the receiver: another one is another ring */
    _Alignas(64) _Atomic uint32_t claimed;  /* sender */
    _Alignas(64) _Atomic uint32_t tail;     /* receiver */
    _Alignas(64) _Atomic uint32_t sleeping; /* receiver sets, sender clears when it rings */
    _Alignas(64) struct shm_slot slot[SHM_SLOTS];
};

_Static_assert(sizeof(struct shm_slot) == SHM_SLOT_SIZE, "slots follow each other without a gap");
_Static_assert(offsetof(struct shm_ring, slot) == 256, "shared with other processes");
_Static_assert((SHM_SLOTS & (SHM_SLOTS - 1)) == 0, "indices wrap at 2^32");
_Static_assert(SHM_SLOTS >= WIRE_CLASSES * RRDP_WINDOW, "a full window of every class fits");

/* The one place where an index becomes an address. */
static inline struct shm_slot *shm_slot_at(struct shm_ring *r, uint32_t index)
{
    return &r->slot[index % SHM_SLOTS];
}

/* True if the frame at index is published; its length is then in *len, unchecked. */
static inline bool shm_ring_peek(struct shm_ring *r, uint32_t index, uint32_t *len)
{
    uint64_t word =
        atomic_load_explicit(&shm_slot_at(r, index)->publish, memory_order_acquire); /* [A] */
    *len = (uint32_t)(word >> 32);
    return (uint32_t)word == (uint32_t)(index + 1);
}

/* Where a sender that maps this ring goes on. (In a new ring the slot before 0 counts as published:
 * its word is 0, which is also the wrapped index + 1.) */
static inline uint32_t shm_ring_resume(struct shm_ring *r)
{
    uint32_t len, claimed = atomic_load_explicit(&r->claimed, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire); /* [B] */
    if (claimed - tail > SHM_SLOTS)
        return tail; /* what no sender can have claimed: the last one was out of its mind */
    return shm_ring_peek(r, claimed - 1, &len) ? claimed : claimed - 1;
}

static inline void shm_ring_publish(struct shm_ring *r, uint32_t index, uint32_t len)
{
    atomic_store_explicit(&r->claimed, index + 1,
                          memory_order_relaxed); /* before [A], which is a release */
    atomic_store_explicit(&shm_slot_at(r, index)->publish,
                          (uint64_t)len << 32 | (uint32_t)(index + 1),
                          memory_order_release); /* [A] */
}

#endif
