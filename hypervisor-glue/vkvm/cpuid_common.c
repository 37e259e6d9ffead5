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
    {0x80000021, 0, EAX, 0},
};

/* Leaves that stay only if the other's are the same. */
static const uint32_t alike[] = {0xA, 0x14, 0x1D, 0x1E};

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

static void common(struct kvm_cpuid_entry2 *e, const struct kvm_cpuid2 *other)
{
    static const struct kvm_cpuid_entry2 nothing;
    const struct kvm_cpuid_entry2 *found = find(other, e->function, e->index);
    const struct kvm_cpuid_entry2 *o = found != NULL ? found : &nothing;
    for (size_t i = 0; i < sizeof(alike) / sizeof(alike[0]); i++)
        if (e->function == alike[i] && !same(e, o))
            e->eax = e->ebx = e->ecx = e->edx = 0;
    if (e->function == 0xD && e->index > 1 && found == NULL) /* a state component */
        e->eax = e->ebx = e->ecx = e->edx = 0;
    if (e->function == 0x80000008)
        address_bits(e, o);
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (e->function == features[i].leaf &&
            (features[i].subleaf == ANY || e->index == (uint32_t)features[i].subleaf)) {
            common_features(e, o, features[i].bits, features[i].least);
            return;
        }
}

int cpuid_intersect(struct kvm_cpuid2 *list, const struct kvm_cpuid2 *other)
{
    const struct kvm_cpuid_entry2 *ours = find(list, 0, 0), *theirs = find(other, 0, 0);
    if (ours != NULL && theirs != NULL &&
        (ours->ebx != theirs->ebx || ours->ecx != theirs->ecx || ours->edx != theirs->edx))
        return -EXDEV;
    for (uint32_t i = 0; i < list->nent; i++)
        common(&list->entries[i], other);
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
