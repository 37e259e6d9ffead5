/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last records, for readers of other threads.
 *
 * Memory order: [R] the writer stores an odd lock, fences, and stores the words; a reader that saw
 * a new word and then fences sees the odd lock, or a later one. [S] the writer's store-release of
 * the even lock pairs with the reader's load-acquire: the words are complete.
 */
#include "dataplane/base/bits.h"
#include "dataplane/span/span.h"

enum { WORDS = sizeof(struct span_record) / 8 };
_Static_assert(sizeof(struct span_record) % 8 == 0, "copied in words");

void span_keep(struct spans *s, struct span_record *r)
{
    uint64_t word[WORDS];
    r->serial = s->serial + 1;
    struct span_slot *slot = &s->ring[r->serial % SPAN_RING];
    uint64_t lock = slot->lock | 1, *to = (uint64_t *)(void *)&slot->r;
    memcpy(word, r, sizeof(word));
    __atomic_store_n(&slot->lock, lock, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* [R] */
    for (unsigned i = 0; i < WORDS; i++)
        __atomic_store_n(&to[i], word[i], __ATOMIC_RELAXED);
    __atomic_store_n(&slot->lock, lock + 1, __ATOMIC_RELEASE); /* [S] */
    __atomic_store_n(&s->serial, r->serial, __ATOMIC_RELEASE);
}

uint64_t span_newest(const struct spans *s)
{
    return __atomic_load_n(&s->serial, __ATOMIC_ACQUIRE);
}

bool span_copy(const struct spans *s, uint64_t serial, struct span_record *ret)
{
    const struct span_slot *slot = &s->ring[serial % SPAN_RING];
    const uint64_t *from = (const uint64_t *)(const void *)&slot->r;
    uint64_t word[WORDS], lock = __atomic_load_n(&slot->lock, __ATOMIC_ACQUIRE); /* [S] */
    if (serial == 0 || (lock & 1) != 0)
        return false;
    for (unsigned i = 0; i < WORDS; i++)
        word[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* [R] */
    if (__atomic_load_n(&slot->lock, __ATOMIC_RELAXED) != lock)
        return false;
    struct span_record r;
    memcpy(&r, word, sizeof(r));
    if (r.serial != serial)
        return false;
    *ret = r;
    return true;
}
