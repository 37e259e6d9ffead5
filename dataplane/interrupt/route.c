/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The routing table and the resolution of destinations.
 *
 * Invariants, for each vCPU v with entry e:
 *  1. addressable(v) <=> e is present and hardware-enabled; sw_enabled is a subset of it.
 *  2. at_node[e.node] has v <=> e is present; no other at_node has it.
 *  3. by_apic_id[e.apic_id] == v + 1 <=> e is present.
 *  4. by_logical8[d] has v <=> addressable(v) and logical8_match(e, d), for all 256 d.
 * irq_announce takes v out of all sets by its old entry and puts it in by the new one.
 */
#include "dataplane/interrupt/interrupt.h"

#include <errno.h>
#include <string.h>

static void set_add(struct irq_set *s, uint32_t vcpu)
{
    s->word[vcpu / 64u] |= UINT64_C(1) << (vcpu % 64u);
}

static void set_del(struct irq_set *s, uint32_t vcpu)
{
    s->word[vcpu / 64u] &= ~(UINT64_C(1) << (vcpu % 64u));
}

uint32_t irq_set_next(const struct irq_set *s, uint32_t from)
{
    for (uint32_t w = from / 64u; w < IRQ_SET_WORDS; w++) {
        uint64_t bits = s->word[w];
        if (w == from / 64u)
            bits &= UINT64_MAX << (from % 64u);
        if (bits != 0)
            return w * 64u + (uint32_t)__builtin_ctzll(bits);
    }
    return IRQ_MAX_VCPUS;
}

int irq_table_init(struct irq_route_table *t, uint8_t vmm_node)
{
    if (vmm_node >= IRQ_MAX_NODES)
        return -EINVAL;
    memset(t, 0, sizeof(*t));
    memset(t->eoi_node, vmm_node, sizeof(t->eoi_node));
    return 0;
}

static bool is_present(const struct irq_announcement *e)
{
    return (e->flags & IRQ_VCPU_PRESENT) != 0;
}

static bool is_addressable(const struct irq_announcement *e)
{
    return is_present(e) && (e->flags & IRQ_VCPU_HW_ENABLED) != 0;
}

/* Does a logical destination of at most 0xFF that is no broadcast select this vCPU? */
static bool logical8_match(const struct irq_announcement *e, uint32_t dest)
{
    if (e->flags & IRQ_VCPU_X2APIC)
        return e->ldr >> 16 == 0 && (e->ldr & dest) != 0;
    uint32_t id = e->ldr >> 24;
    if (e->dfr == IRQ_DFR_FLAT)
        return (id & dest) != 0;
    return id >> 4 == dest >> 4 && (id & dest & 0xFu) != 0;
}

static void entry_remove(struct irq_route_table *t, uint32_t v)
{
    const struct irq_announcement *e = &t->vcpu[v];
    if (!is_present(e))
        return;
    set_del(&t->addressable, v);
    set_del(&t->sw_enabled, v);
    set_del(&t->at_node[e->node], v);
    t->by_apic_id[e->apic_id] = 0;
    for (uint32_t d = 0; d < 256; d++)
        set_del(&t->by_logical8[d], v);
}

static void entry_insert(struct irq_route_table *t, uint32_t v)
{
    const struct irq_announcement *e = &t->vcpu[v];
    if (!is_present(e))
        return;
    set_add(&t->at_node[e->node], v);
    t->by_apic_id[e->apic_id] = (uint16_t)(v + 1);
    if (!is_addressable(e))
        return;
    set_add(&t->addressable, v);
    if (e->flags & IRQ_VCPU_SW_ENABLED)
        set_add(&t->sw_enabled, v);
    for (uint32_t d = 0; d < 256; d++)
        if (logical8_match(e, d))
            set_add(&t->by_logical8[d], v);
}

int irq_announcement_check(const struct irq_announcement *a)
{
    const unsigned need_hw = IRQ_VCPU_SW_ENABLED | IRQ_VCPU_X2APIC;
    if (a->vcpu >= IRQ_MAX_VCPUS || a->node >= IRQ_MAX_NODES || a->apic_id >= IRQ_MAX_APIC_IDS)
        return -EINVAL;
    if ((a->flags & ~IRQ_VCPU_FLAGS) != 0 || a->priority > 15)
        return -EINVAL;
    if ((a->flags & need_hw) != 0 && (a->flags & IRQ_VCPU_HW_ENABLED) == 0)
        return -EINVAL;
    if (a->dfr != IRQ_DFR_FLAT && a->dfr != IRQ_DFR_CLUSTER)
        return -EINVAL;
    if (a->flags & IRQ_VCPU_X2APIC)
        return a->dfr == IRQ_DFR_FLAT && a->ldr == irq_x2apic_ldr(a->apic_id) ? 0 : -EINVAL;
    return (a->ldr & 0x00FFFFFFu) == 0 ? 0 : -EINVAL;
}

int irq_announce(struct irq_route_table *t, const struct irq_announcement *a)
{
    int err = irq_announcement_check(a);
    if (err != 0)
        return err;
    const struct irq_announcement *e = &t->vcpu[a->vcpu];
    if (t->known[a->vcpu]) {
        uint32_t ahead = a->seq - e->seq;
        if (ahead == 0 || ahead > UINT32_MAX / 2)
            return -ESTALE;
        if (is_present(e) && e->node != a->node)
            return -EXDEV;
    }
    uint16_t holder = t->by_apic_id[a->apic_id];
    if (is_present(a) && holder != 0 && holder != a->vcpu + 1)
        return -EEXIST;
    entry_remove(t, a->vcpu);
    t->vcpu[a->vcpu] = *a;
    t->known[a->vcpu] = 1;
    entry_insert(t, a->vcpu);
    t->generation++;
    return 0;
}

/* ---- Resolution --------------------------------------------------------------------------- */

int apic_msg_check(const struct apic_msg *m)
{
    if (m->delivery > APIC_DELIVERY_EXTINT || m->delivery == APIC_DELIVERY_RESERVED)
        return -EINVAL;
    if (m->dest_mode > 1 || m->shorthand > APIC_SHORTHAND_OTHERS || m->level > 1 ||
        m->trigger > 1 || m->wide > 1)
        return -EINVAL;
    if (!m->wide && m->dest > 0xFFu)
        return -EINVAL;
    if (m->source >= IRQ_MAX_VCPUS && m->source != IRQ_SOURCE_DEVICE)
        return -EINVAL;
    if (m->source == IRQ_SOURCE_DEVICE && m->shorthand != APIC_SHORTHAND_NONE)
        return -EINVAL;
    return 0;
}

/* "Logical Destination Mode in x2APIC Mode": the members of one cluster of sixteen ids. Only
 * reached with dest > 0xFF, which no xAPIC vCPU matches. */
static void resolve_cluster(const struct irq_route_table *t, uint32_t dest, struct irq_set *set)
{
    uint32_t first_id = (dest >> 16) * 16u;
    if (first_id >= IRQ_MAX_APIC_IDS)
        return;
    for (uint32_t bits = dest & 0xFFFFu; bits != 0; bits &= bits - 1) {
        uint32_t holder = t->by_apic_id[first_id + (uint32_t)__builtin_ctz(bits)];
        if (holder == 0)
            continue;
        const struct irq_announcement *e = &t->vcpu[holder - 1];
        if (is_addressable(e) && (e->flags & IRQ_VCPU_X2APIC) != 0)
            set_add(set, holder - 1);
    }
}

static void resolve_dest(const struct irq_route_table *t, const struct apic_msg *m,
                         struct irq_set *set)
{
    if (m->dest == (m->wide ? UINT32_MAX : 0xFFu)) {
        *set = t->addressable;
        return;
    }
    if (m->dest_mode == APIC_DEST_PHYSICAL) {
        uint32_t holder = m->dest < IRQ_MAX_APIC_IDS ? t->by_apic_id[m->dest] : 0;
        if (holder != 0 && irq_set_has(&t->addressable, holder - 1))
            set_add(set, holder - 1);
        return;
    }
    if (m->dest <= 0xFFu)
        *set = t->by_logical8[m->dest];
    else
        resolve_cluster(t, m->dest, set);
}

static int resolve(const struct irq_route_table *t, const struct apic_msg *m, struct irq_set *set)
{
    if (m->shorthand == APIC_SHORTHAND_NONE) {
        resolve_dest(t, m, set);
        return 0;
    }
    if (!t->known[m->source] || !is_present(&t->vcpu[m->source]))
        return -EINVAL;
    if (m->shorthand != APIC_SHORTHAND_SELF)
        *set = t->addressable;
    else if (irq_set_has(&t->addressable, m->source))
        set_add(set, m->source);
    if (m->shorthand == APIC_SHORTHAND_OTHERS)
        set_del(set, m->source);
    return 0;
}

/* "Lowest Priority Delivery Mode": keeps one member of the set, or none. */
static void arbitrate(const struct irq_route_table *t, uint8_t vector, struct irq_set *set)
{
    struct irq_set best = {{0}};
    uint32_t best_count = 0;
    uint8_t best_priority = 0;
    for (uint32_t w = 0; w < IRQ_SET_WORDS; w++)
        set->word[w] &= t->sw_enabled.word[w];
    for (uint32_t v = irq_set_next(set, 0); v < IRQ_MAX_VCPUS; v = irq_set_next(set, v + 1)) {
        uint8_t priority = t->vcpu[v].priority;
        if (best_count > 0 && priority > best_priority)
            continue;
        if (best_count > 0 && priority < best_priority) {
            best = (struct irq_set){{0}};
            best_count = 0;
        }
        best_priority = priority;
        set_add(&best, v);
        best_count++;
    }
    *set = (struct irq_set){{0}};
    if (best_count == 0)
        return;
    uint32_t skip = (vector + t->rotor) % best_count;
    uint32_t v = irq_set_next(&best, 0);
    while (skip-- > 0)
        v = irq_set_next(&best, v + 1);
    set_add(set, v);
}

int irq_route(const struct irq_route_table *t, const struct apic_msg *m,
              struct irq_targets *ret_targets)
{
    struct irq_targets targets = {0};
    int err = apic_msg_check(m);
    if (err != 0)
        return err;
    err = resolve(t, m, &targets.vcpus);
    if (err != 0)
        return err;
    if (m->delivery == APIC_DELIVERY_LOWEST)
        arbitrate(t, m->vector, &targets.vcpus);
    for (uint32_t v = irq_set_next(&targets.vcpus, 0); v < IRQ_MAX_VCPUS;
         v = irq_set_next(&targets.vcpus, v + 1)) {
        targets.nodes |= UINT64_C(1) << t->vcpu[v].node;
        targets.count++;
    }
    *ret_targets = targets;
    return (int)targets.count;
}

uint64_t irq_targets_window(const struct irq_route_table *t, const struct irq_targets *targets,
                            uint8_t node, uint8_t window)
{
    if (node >= IRQ_MAX_NODES || window >= IRQ_SET_WORDS)
        return 0;
    return targets->vcpus.word[window] & t->at_node[node].word[window];
}

/* ---- EOI ---------------------------------------------------------------------------------- */

uint8_t irq_eoi_route(const struct irq_route_table *t, uint8_t vector)
{
    return t->eoi_node[vector];
}

int irq_eoi_set(struct irq_route_table *t, uint8_t vector, uint8_t node)
{
    if (node >= IRQ_MAX_NODES && node != IRQ_NODE_NONE)
        return -EINVAL;
    t->eoi_node[vector] = node;
    return 0;
}
