/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/pool.h"

#include "dataplane/base/check.h"

#define POOL_USED (UINT32_MAX - 1)

void pool_init(struct pool *p, uint32_t *next, uint32_t size)
{
    PANDO_CHECK(size > 0 && size <= UINT32_C(1) << 31);
    *p = (struct pool){.next = next, .head = 0, .size = size};
    for (uint32_t i = 0; i < size; i++)
        next[i] = i + 1 < size ? i + 1 : POOL_NONE;
}

uint32_t pool_get(struct pool *p)
{
    uint32_t index = p->head;
    if (index == POOL_NONE)
        return POOL_NONE;
    p->head = p->next[index];
    p->next[index] = POOL_USED;
    if (++p->used > p->high_water)
        p->high_water = p->used;
    return index;
}

void pool_put(struct pool *p, uint32_t index)
{
    PANDO_CHECK(index < p->size && p->next[index] == POOL_USED);
    p->next[index] = p->head;
    p->head = index;
    p->used--;
}
