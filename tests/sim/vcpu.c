/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vCPU of the simulator: a program of instructions, each of which touches one or more pages and
 * retires only when all of them are mapped at once in the mode it needs, exactly as a real
 * instruction restarts after each page fault. Retiring reads and writes whole pages and has every
 * value checked.
 */
#include "dataplane/base/bits.h"
#include "tests/sim/sim.h"

static void draw_insn(struct sim_world *w, struct sim_vcpu *v)
{
    struct sim_insn *i = &v->insn;
    i->n = 1 + prng_below(&w->rng, w->opt.insn_pages_max);
    for (uint32_t k = 0; k < i->n; k++) {
        bool again;
        do {
            i->page[k] = prng_below(&w->rng, w->opt.pages);
            again = false;
            for (uint32_t j = 0; j < k; j++)
                again |= i->page[j] == i->page[k];
        } while (again);
        i->write[k] = prng_below(&w->rng, 100) < w->opt.write_pct;
    }
}

/* An interrupt's handler comes before the program. */
static void next_insn(struct sim_world *w, struct sim_vcpu *v)
{
    v->handles = v->irr != 0;
    if (!v->handles) {
        draw_insn(w, v);
        return;
    }
    uint32_t page = bit64_first(v->irr);
    v->irr &= v->irr - 1;
    v->insn = (struct sim_insn){.n = 1, .page = {page}};
}

void vcpu_schedule(struct sim_world *w, struct sim_node *n, uint32_t v, uint64_t delay)
{
    if (n->vcpu[v].scheduled)
        return;
    n->vcpu[v].scheduled = true;
    sim_push(w, (struct sim_event){
                    .time = w->now + delay, .type = EV_VCPU, .node = n->id, .arg = (uint8_t)v});
}

static void fault(struct sim_world *w, struct sim_node *n, uint32_t v, uint32_t page, bool write)
{
    struct sim_vcpu *c = &n->vcpu[v];
    bool repeat = c->blocked && c->block_page == page && c->block_write == write;
    if (!repeat)
        c->faulted_at = w->now;
    c->blocked = true;
    c->block_page = page;
    c->block_write = write;
    struct sim_event ev = {.time = w->now + prng_below(&w->rng, 300),
                           .type = EV_FAULT,
                           .node = n->id,
                           .arg = (uint8_t)v,
                           .flag = write,
                           .page = page};
    sim_push(w, ev);
    /* userfaultfd repeats a message when a signal made the vCPU leave and enter again. */
    while (prng_chance(&w->rng, w->opt.spurious_ppm)) {
        ev.time += prng_below(&w->rng, 50000);
        sim_push(w, ev);
    }
}

void vcpu_run(struct sim_world *w, struct sim_node *n, uint32_t v)
{
    struct sim_vcpu *c = &n->vcpu[v];
    c->scheduled = false;
    if ((c->done >= w->opt.insns && c->irr == 0 && c->insn.n == 0) || n->stopped)
        return;
    if (c->insn.n == 0)
        next_insn(w, c);
    for (uint32_t k = 0; k < c->insn.n; k++) {
        enum map_mode have = n->map[c->insn.page[k]];
        if (have == MAP_NONE || (c->insn.write[k] && have != MAP_RW)) {
            fault(w, n, v, c->insn.page[k], c->insn.write[k]);
            return;
        }
    }
    for (uint32_t k = 0; k < c->insn.n; k++) {
        check_read(w, n, c->insn.page[k]);
        if (c->insn.write[k])
            check_write(w, n, c->insn.page[k]);
    }
    c->blocked = false;
    uint32_t wrote = c->insn.write[0] ? c->insn.page[0] : UINT32_MAX;
    c->insn.n = 0;
    w->retired_at = w->now;
    c->done += !c->handles;
    if (wrote != UINT32_MAX && prng_chance(&w->rng, w->opt.ipi_ppm))
        irq_send(w, n, v, wrote);
    if (prng_chance(&w->rng, w->opt.idle_ppm)) { /* it waits, or so it was a moment ago */
        struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = (uint8_t)v};
        node_step(w, n, &ev);
    }
    sim_coverage.insns++;
    vcpu_schedule(w, n, v, 50 + prng_below(&w->rng, 3000));
}

void vcpu_wake(struct sim_world *w, struct sim_node *n, uint32_t page)
{
    for (uint32_t v = 0; v < w->opt.vcpus; v++) {
        struct sim_vcpu *c = &n->vcpu[v];
        if (!c->blocked || c->block_page != page)
            continue;
        if (w->now > c->faulted_at + SIM_FAULT_MAX)
            check_fail(w, SIM_LIVENESS, "node %u vcpu %u waited for page %u for %llu ms", n->id, v,
                       page, (unsigned long long)((w->now - c->faulted_at) / 1000000));
        if (w->now > c->faulted_at)
            hist_add(&sim_coverage.fault_ns, w->now - c->faulted_at);
        c->blocked = false;
        vcpu_schedule(w, n, v, 1 + prng_next(&w->rng) % w->opt.exec_max);
    }
}
