/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the consumer of a glue ring (hypervisor-glue/link/glue_ring.h) whose producer writes what
 * it likes into the shared memory, indices included, between the consumer's looks and between a
 * look and the use of what was seen. What is taken is in range and inside the ring; a broken rule
 * is told, never followed.
 *
 * Input: operations of one byte and their operands: take, write bytes anywhere, set an index, put
 * as an honest producer does.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "hypervisor-glue/link/glue_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static bool inside(const struct glue_ring *r, const struct glue_entry *e, const uint8_t *p)
{
    const uint8_t *side = r->side[0], *end = side + sizeof(r->side);
    return p == e->data ? e->len <= GLUE_INLINE
                        : p >= side && p + e->len <= end && e->len <= GLUE_SIDE_SIZE;
}

unsigned fuzz_ring_sum(void);
static unsigned sum; /* of what was taken: it is read, whatever the compiler thinks */

unsigned fuzz_ring_sum(void)
{
    return sum;
}

static void take(struct glue_ring *r)
{
    struct glue_entry e;
    const uint8_t *payload;
    uint8_t copy[GLUE_SIDE_SIZE];
    int32_t waiting = glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES);
    PANDO_CHECK(waiting >= -1 && waiting <= GLUE_RING_ENTRIES);
    int got = glue_ring_peek(r, &e, &payload);
    PANDO_CHECK(waiting >= 0 ? got != 0 || waiting == 0 : got == -EPROTO);
    PANDO_CHECK(got == 0 || got == 1 || got == -EPROTO);
    if (got != 1)
        return;
    PANDO_CHECK(inside(r, &e, payload));
    /* What was looked at is the consumer's own: the producer changes the entry and the index now.
     */
    memset(&r->entry[atomic_load(&r->tail) % GLUE_RING_ENTRIES], 0xFF, sizeof(e));
    atomic_fetch_add(&r->head, GLUE_RING_ENTRIES * 3);
    memcpy(copy, payload, e.len); /* the sanitizer looks */
    for (uint32_t i = 0; i < e.len; i++)
        sum += copy[i];
    glue_ring_pop(r, e.len);
}

static void put(struct glue_ring *r, uint16_t len, uint8_t fill)
{
    static uint8_t bytes[GLUE_SIDE_SIZE + 1];
    struct glue_entry e = {.arg = fill};
    len %= sizeof(bytes) + 1;
    memset(bytes, fill, sizeof(bytes));
    int rc = glue_ring_put(r, &e, bytes, len);
    PANDO_CHECK(rc == 0 || rc == -EAGAIN || (rc == -EMSGSIZE && len > GLUE_SIDE_SIZE));
}

static void set_index(struct glue_ring *r, uint8_t which, uint32_t value)
{
    if ((which & 1) != 0) /* the producer's only: the consumer's are its own */
        atomic_store(&r->head, value);
    else
        atomic_store(&r->side_head, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct glue_ring *r = aligned_alloc(_Alignof(struct glue_ring), sizeof(*r));
    if (r == NULL)
        abort();
    memset(r, 0, sizeof(*r));
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint16_t at = get_le16(in + i + 1);
        uint8_t value = in[i + 3];
        uint32_t tail = atomic_load(&r->tail);
        switch (in[i] & 7) {
        case 0:
        case 1:
            put(r, at, value);
            break;
        case 2:
            set_index(r, value, tail + at);
            break;
        case 3: /* the entry that comes next */
            ((uint8_t *)&r->entry[tail % GLUE_RING_ENTRIES])[at % sizeof(r->entry[0])] = value;
            break;
        case 4:
            ((uint8_t *)r->side)[at % sizeof(r->side)] = value;
            break;
        default:
            take(r);
            break;
        }
    }
    for (unsigned i = 0; i < 2 * GLUE_RING_ENTRIES; i++)
        take(r);
    free(r);
    return 0;
}
