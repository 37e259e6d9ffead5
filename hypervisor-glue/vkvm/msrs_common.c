/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/msrs_common.h"

#include <errno.h>
#include <stddef.h>

/* Arch capabilities are promises, but for these two, which warn (Intel, "Return Stack Buffer
 * Underflow"). */
enum { ARCH_CAP_RSBA = 1u << 2, ARCH_CAP_RRSBA = 1u << 19 };

/* Whether a feature of two hosts can be one guest's; then *value is what both keep. */
static bool combine(uint32_t index, uint64_t *value, uint64_t other)
{
    const uint64_t warn = ARCH_CAP_RSBA | ARCH_CAP_RRSBA;
    switch (index) {
    case HOST_MSR_ARCH_CAPABILITIES:
        *value = (*value & other & ~warn) | ((*value | other) & warn);
        return true;
    case HOST_MSR_UCODE_REV:
        *value = other < *value ? other : *value;
        return true;
    case HOST_MSR_DE_CFG:
        *value &= other;
        return true;
    default:
        return *value == other;
    }
}

static bool has(const struct host_msrs *list, struct host_msr *m)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const struct host_msr *o = &list->msr[i];
        if (o->index == m->index && o->is_feature == m->is_feature)
            return combine(m->index, &m->value, o->value);
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

const struct host_msr *msrs_feature(const struct host_msrs *list, uint32_t index)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->msr[i].is_feature && list->msr[i].index == index)
            return &list->msr[i];
    return NULL;
}

int msrs_values(const struct host_msrs *list, struct kvm_msr_entry *entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct host_msr *m = msrs_feature(list, entries[i].index);
        if (m == NULL)
            return (int)i;
        entries[i].data = m->value;
    }
    return (int)n;
}
