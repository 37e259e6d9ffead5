/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/topk.h"

#include <stdbool.h>

void topk_add(struct topk *t, uint64_t key)
{
    struct topk_entry *least = &t->entry[0];
    for (uint32_t i = 0; i < t->used; i++) {
        if (t->entry[i].key == key) {
            t->entry[i].count++;
            return;
        }
        if (t->entry[i].count < least->count)
            least = &t->entry[i];
    }
    if (t->used < TOPK_ENTRIES)
        t->entry[t->used++] = (struct topk_entry){.key = key, .count = 1};
    else
        *least = (struct topk_entry){.key = key, .count = least->count + 1, .over = least->count};
}

static bool before(const struct topk_entry *a, const struct topk_entry *b)
{
    uint64_t sure_a = topk_sure(a), sure_b = topk_sure(b);
    return sure_a != sure_b ? sure_a > sure_b : a->key < b->key;
}

uint32_t topk_most(const struct topk *t, struct topk_entry *out, uint32_t n)
{
    uint32_t filled = 0;
    for (uint32_t i = 0; i < t->used; i++) {
        uint32_t at = filled < n ? filled++ : n;
        for (; at > 0 && before(&t->entry[i], &out[at - 1]); at--)
            if (at < n)
                out[at] = out[at - 1];
        if (at < n)
            out[at] = t->entry[i];
    }
    return filled;
}
