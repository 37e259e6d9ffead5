/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/vkvm/cpuid_common.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { EAX = 1, EBX = 2, ECX = 4, EDX = 8 };
enum { ANY = -1 }; /* every subleaf */

/* Registers of a leaf that are sets of features: an absent bit is an absent feature. */
static const struct {
    uint32_t leaf;
    int subleaf;
    uint8_t bits, least; /* registers; least: of which the smaller number counts */
} features[] = {
    {0x0, 0, 0, EAX},
    {0x1, 0, ECX | EDX, 0},
    {0x6, 0, EAX, 0},
    {0x7, 0, EBX | ECX | EDX, EAX},
    {0x7, ANY, EAX | EBX | ECX | EDX, 0},
    {0xD, 0, EAX | EDX, EBX | ECX}, /* XCR0; bytes of the area */
    {0xD, 1, EAX | ECX | EDX, EBX}, /* XSAVES and its components */
    {0x40000000, 0, 0, EAX},
    {0x40000001, 0, EAX, 0},
    {0x80000000, 0, 0, EAX},
    {0x80000001, 0, ECX | EDX, 0},
    {0x80000007, 0, EDX, 0},
    {0x80000008, 0, EBX, 0}, /* EAX: address_bits */
    {0x8000000A, 0, EDX, EAX | EBX},
    {0x80000021, 0, EAX | ECX, 0},
};

/* Numbers of something: a leaf stays only if the other's is the same; else these bits of leaf 7.0
 * and of XCR0 (0xD.0 EAX) go with it. */
static const struct {
    uint32_t leaf, ebx, edx, xcr0;
} alike[] = {
    {0xA, 0, 0, 0},
    {0x12, 1u << 2, 0, 0},         /* SGX */
    {0x14, 1u << 25, 0, 0},        /* processor trace */
    {0x1D, 0, 7u << 22, 3u << 17}, /* tiles: AMX-BF16, -TILE, -INT8; their two components */
    {0x1E, 0, 7u << 22, 3u << 17},
};

/* What is the same for all hosts, or only describes one: model, caches, topology, brand. */
static const uint32_t own[] = {0x2,        0x3,        0x4,        0x5,        0xB,
                               0x15,       0x16,       0x1F,       0x80000002, 0x80000003,
                               0x80000004, 0x80000005, 0x80000006, 0x8000001D, 0x8000001E};

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *list, uint32_t leaf,
                                           uint32_t subleaf)
{
    for (uint32_t i = 0; i < list->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &list->entries[i];
        bool indexed = (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
        if (e->function == leaf && (!indexed || e->index == subleaf))
            return e;
    }
    return NULL;
}

static void combine(uint32_t *ours, uint32_t theirs, bool bits, bool least)
{
    if (bits)
        *ours &= theirs;
    else if (least && theirs < *ours)
        *ours = theirs;
}

static void common_features(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid_entry2 *o,
                            uint8_t bits, uint8_t least)
{
    combine(&e->eax, o->eax, bits & EAX, least & EAX);
    combine(&e->ebx, o->ebx, bits & EBX, least & EBX);
    combine(&e->ecx, o->ecx, bits & ECX, least & ECX);
    combine(&e->edx, o->edx, bits & EDX, least & EDX);
}

/* 0x80000008: physical, linear and guest-physical address bits, a byte each. */
static void address_bits(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid_entry2 *o)
{
    for (uint32_t shift = 0; shift < 24; shift += 8) {
        uint32_t mask = 0xFFu << shift;
        if ((o->eax & mask) < (e->eax & mask))
            e->eax = (e->eax & ~mask) | (o->eax & mask);
    }
}

static bool same(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
    return a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

static bool is_own(uint32_t leaf)
{
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (leaf == own[i])
            return true;
    return leaf >> 28 == 4 && leaf > 0x40000001; /* other hypervisors' */
}

/* What is to be cleared in 7.0 and 0xD.0 for the leaves that went. */
struct gone {
    uint32_t ebx, edx, xcr0;
};

static void take_away(struct kvm_cpuid_entry2 *e, struct gone *gone)
{
    e->eax = e->ebx = e->ecx = e->edx = 0;
    if (e->function == 0xD && e->index < 32)
        gone->xcr0 |= 1u << e->index;
    for (size_t i = 0; i < sizeof(alike) / sizeof(alike[0]); i++)
        if (e->function == alike[i].leaf) {
            gone->ebx |= alike[i].ebx;
            gone->edx |= alike[i].edx;
            gone->xcr0 |= alike[i].xcr0;
        }
}

static void common(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid2 *other, struct gone *gone)
{
    static const struct kvm_cpuid_entry2 nothing;
    const struct kvm_cpuid_entry2 *found = find(other, e->function, e->index);
    const struct kvm_cpuid_entry2 *o = found != NULL ? found : &nothing;
    if (e->function == 0x80000008)
        address_bits(e, o);
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (e->function == features[i].leaf &&
            (features[i].subleaf == ANY || e->index == (uint32_t)features[i].subleaf)) {
            common_features(e, o, features[i].bits, features[i].least);
            return;
        }
    if (!is_own(e->function) && !same(e, o))
        take_away(e, gone);
}

static bool is_a_processor(const struct kvm_cpuid2 *list)
{
    return find(list, 0, 0) != NULL && find(list, 1, 0) != NULL &&
           find(list, 0x80000000, 0) != NULL;
}

int cpuid_intersect(struct kvm_cpuid2 *list, const struct kvm_cpuid2 *other)
{
    const struct kvm_cpuid_entry2 *ours = find(list, 0, 0), *theirs = find(other, 0, 0);
    struct gone gone = {0};
    if (!is_a_processor(other))
        return -EPROTO;
    if (ours != NULL &&
        (ours->ebx != theirs->ebx || ours->ecx != theirs->ecx || ours->edx != theirs->edx))
        return -EXDEV;
    for (uint32_t i = 0; i < list->nent; i++)
        common(&list->entries[i], other, &gone);
    for (uint32_t i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 *e = &list->entries[i];
        if (e->function == 7 && e->index == 0) {
            e->ebx &= ~gone.ebx;
            e->edx &= ~gone.edx;
        }
        if (e->function == 0xD && e->index == 0)
            e->eax &= ~gone.xcr0;
    }
    return 0;
}

int cpuid_hide(struct kvm_cpuid2 *list, const char *bit)
{
    static const char *const names[] = {"eax", "ebx", "ecx", "edx"};
    unsigned leaf, subleaf, number, reg = 0;
    char name[4], end;
    if (sscanf(bit, "%x.%x.%3[a-z].%u%c", &leaf, &subleaf, name, &number, &end) != 4 || number > 31)
        return -EINVAL;
    while (reg < 4 && strcmp(name, names[reg]) != 0)
        reg++;
    if (reg == 4)
        return -EINVAL;
    for (uint32_t i = 0; i < list->nent; i++) {
        struct kvm_cpuid_entry2 *e = &list->entries[i];
        uint32_t *const value[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};
        if (e->function == leaf && e->index == subleaf)
            *value[reg] &= ~(1u << number);
    }
    return 0;
}
