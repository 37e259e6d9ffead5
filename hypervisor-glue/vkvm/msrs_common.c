/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/msrs_common.h"

#include <errno.h>

static bool has(const struct host_msrs *list, const struct host_msr *m)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const struct host_msr *o = &list->msr[i];
        if (o->index == m->index && o->is_feature == m->is_feature)
            return o->value == m->value;
    }
    return false;
}

int msrs_intersect(struct host_msrs *list, const struct host_msrs *other, uint32_t len)
{
    uint32_t kept = 0;
    if (len < sizeof(*other) || other->n > (len - sizeof(*other)) / sizeof(other->msr[0]))
        return -EPROTO;
    for (uint32_t i = 0; i < list->n; i++)
        if (has(other, &list->msr[i]))
            list->msr[kept++] = list->msr[i];
    list->n = kept;
    return 0;
}

void msrs_hide(struct host_msrs *list, uint32_t index)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->n; i++)
        if (list->msr[i].index != index)
            list->msr[kept++] = list->msr[i];
    list->n = kept;
}

int msrs_answer(const struct host_msrs *list, bool features, struct kvm_msr_list *ret)
{
    uint32_t room = ret->nmsrs, n = 0;
    for (uint32_t i = 0; i < list->n; i++)
        n += list->msr[i].is_feature == features;
    ret->nmsrs = n;
    if (n > room)
        return -E2BIG;
    n = 0;
    for (uint32_t i = 0; i < list->n; i++)
        if (list->msr[i].is_feature == features)
            ret->indices[n++] = list->msr[i].index;
    return 0;
}
