/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPIs between the vCPUs of the simulator: routed by the production tables, carried by RRDP in the
 * urgent class. The handler reads a page that the sender wrote before: an IPI may overtake
 * anything, yet its receiver can hold no stale copy, for a store is complete only after all
 * acknowledgements.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "hypervisor-glue/link/glue_abi.h"
#include "tests/sim/sim.h"

enum { FIRST_VECTOR = 0x20 };

/* vCPU v of node n is n * vcpus + v, its APIC id twice that: ids may be sparse. */
void irq_start(struct sim_world *w, struct sim_node *n)
{
    n->routes = malloc(sizeof(*n->routes));
    PANDO_CHECK(n->routes != NULL && irq_table_init(n->routes, 0) == 0);
    for (uint32_t v = 0; v < w->opt.nodes * w->opt.vcpus; v++) {
        struct irq_announcement a = {.apic_id = 2 * v,
                                     .ldr = irq_x2apic_ldr(2 * v),
                                     .seq = 1,
                                     .vcpu = (uint16_t)v,
                                     .node = (uint8_t)(v / w->opt.vcpus),
                                     .flags = IRQ_VCPU_PRESENT | IRQ_VCPU_HW_ENABLED |
                                              IRQ_VCPU_SW_ENABLED | IRQ_VCPU_X2APIC,
                                     .dfr = IRQ_DFR_FLAT};
        PANDO_CHECK(irq_announce(n->routes, &a) == 0);
    }
}

static void take(struct sim_world *w, struct sim_node *n, uint32_t vcpu, uint64_t vector)
{
    uint32_t v = vcpu % w->opt.vcpus;
    if (vcpu / w->opt.vcpus != n->id || vector < FIRST_VECTOR ||
        vector - FIRST_VECTOR >= w->opt.pages) {
        check_fail(w, SIM_SAFETY, "node %u: vector %llu for vCPU %u", n->id,
                   (unsigned long long)vector, vcpu);
        return;
    }
    w->ipis_taken++;
    n->vcpu[v].irr |= UINT64_C(1) << (vector - FIRST_VECTOR);
    if (!n->vcpu[v].blocked)
        vcpu_schedule(w, n, v, 1);
}

void irq_arrives(struct sim_world *w, struct sim_node *n, const struct wire_glue *m)
{
    if (m->op != GLUE_IRQ_EDGE)
        check_fail(w, SIM_SAFETY, "node %u: an IPI of kind %u", n->id, m->op);
    else
        take(w, n, m->chan, m->arg);
}

void irq_send(struct sim_world *w, struct sim_node *n, uint32_t v, uint32_t page)
{
    uint32_t vcpus = w->opt.nodes * w->opt.vcpus, from = n->id * w->opt.vcpus + v;
    bool all = prng_below(&w->rng, 8) == 0;
    struct irq_targets t;
    struct apic_msg m = {.dest = 2 * prng_below(&w->rng, vcpus),
                         .source = (uint16_t)from,
                         .vector = (uint8_t)(FIRST_VECTOR + page),
                         .delivery = APIC_DELIVERY_FIXED,
                         .shorthand = all ? APIC_SHORTHAND_OTHERS : APIC_SHORTHAND_NONE,
                         .level = 1,
                         .wide = 1};
    int found = irq_route(n->routes, &m, &t);
    if (found != (all ? (int)vcpus - 1 : 1))
        check_fail(w, SIM_SAFETY, "node %u: an IPI finds %d targets", n->id, found);
    for (uint32_t i = irq_set_next(&t.vcpus, 0); found > 0 && i < vcpus;
         i = irq_set_next(&t.vcpus, i + 1)) {
        struct wire_glue g = {
            .kind = WIRE_IRQ, .vm = 1, .chan = (uint16_t)i, .op = GLUE_IRQ_EDGE, .arg = m.vector};
        struct sim_backlog b = {.cls = WIRE_CLASS_URGENT};
        uint8_t node = (uint8_t)(i / w->opt.vcpus);
        w->ipis_sent++;
        wire_glue_pack(&g, b.header);
        if (node == n->id)
            take(w, n, i, m.vector);
        else
            node_send(n, node, &b);
    }
    if (n->busy_until <= w->now)
        node_pump(w, n);
}
