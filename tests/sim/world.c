/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual time: a binary heap of events, ordered by (time, order of insertion), so a seed gives one
 * run. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const uint64_t MS = 1000000;

void sim_trace(struct sim_world *w, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("%12.3f us  ", (double)w->now / 1e3);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void sim_push(struct sim_world *w, struct sim_event ev)
{
    if (w->heap_n == w->heap_size) {
        w->heap_size = w->heap_size ? w->heap_size * 2 : 1024;
        w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
    }
    ev.order = w->order++;
    ev.life = w->node[ev.node].life;
    uint32_t i = w->heap_n++;
    while (i > 0 && before(&ev, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = ev;
}

static struct sim_event pop(struct sim_world *w)
{
    struct sim_event top = w->heap[0], last = w->heap[--w->heap_n];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->heap_n)
            break;
        if (child + 1 < w->heap_n && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static void heal(struct sim_world *w)
{
    w->healed = true;
    for (uint32_t i = 0; i < w->opt.nodes; i++)
        w->node[i].busy_until = 0;
    sim_trace(w, "network heals: liveness phase");
}

static void edge_done(struct sim_world *w, struct sim_node *n, const struct sim_event *ev)
{
    static const enum coh_event_type done[] = {[COH_ACT_MAP] = COH_EV_MAPPED,
                                               [COH_ACT_PROTECT] = COH_EV_PROTECTED,
                                               [COH_ACT_UNMAP] = COH_EV_UNMAPPED};
    n->edge_open[ev->page] = false;
    struct coh_event e = {.type = done[ev->arg], .page = ev->page};
    node_step(w, n, &e);
}

static void node_event(struct sim_world *w, struct sim_node *n, const struct sim_event *ev)
{
    struct coh_event fault = {.type = ev->flag ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT,
                              .page = ev->page,
                              .vcpu = ev->arg};
    switch (ev->type) {
    case EV_FRAME:
        node_frame(w, n, ev);
        break;
    case EV_DONE:
        edge_done(w, n, ev);
        break;
    case EV_WAKE:
        if (ev->time < n->next_wake)
            return; /* a later pump found nothing due at this time any more */
        n->next_wake = UINT64_MAX;
        break;
    case EV_FAULT:
        node_step(w, n, &fault);
        break;
    default:
        break;
    }
    node_pump(w, n);
}

/* The node's process is started anew, before the others miss it (dead_ns) or after they stopped.
 * Who joins and misses somebody for so long gives up, as pando-dataplane does: that is no rejoin.
 */
static void start_again(struct sim_world *w, const struct sim_node *n)
{
    if (!w->opt.rejoin || n->life == 1)
        return;
    sim_push(w, (struct sim_event){
                    .time = w->now + (prng_next(&w->rng) % (1500 * MS) >> prng_below(&w->rng, 14)),
                    .type = EV_START,
                    .node = n->id});
}

static void dispatch(struct sim_world *w, struct sim_event *ev)
{
    struct sim_node *n = &w->node[ev->node];
    if (ev->type == EV_CHAOS || ev->type == EV_HEAL) {
        if (ev->arg == w->life && ev->type == EV_CHAOS)
            net_chaos(w);
        else if (ev->arg == w->life)
            heal(w);
    } else if (ev->type == EV_CRASH && !w->running) {
        ev->time += 10 * MS; /* crashes during set-up: rrdp.m, test_rrdp_setup */
        sim_push(w, *ev);
    } else if (ev->type == EV_CRASH) {
        n->dead = true;
        sim_trace(w, "n%u crashes", n->id);
        start_again(w, n);
    } else if (ev->type == EV_START) {
        coverage_node(w, n);
        node_destroy(n);
        n->life = 1;
        node_create(w, n->id);
        sim_trace(w, "n%u starts again", n->id);
        node_pump(w, n);
    } else if (n->stopped && ev->type == EV_FRAME && ev->life == n->life) {
        liar_stopped(w, n);
    } else if (n->dead || n->stopped || (ev->type != EV_FRAME && ev->life != n->life)) {
        /* A dead node neither computes nor answers; a stopped one only keeps still. Frames outlive
         * who sent them, and whom they were for. */
    } else if (ev->type == EV_PLACE) {
        node_place(n, ev->page, ev->bytes); /* by the device, however busy the node is */
    } else if (ev->type == EV_EFFECT) {
        node_effect(w, n, ev->page, (enum coh_action_type)ev->arg, ev->flag);
    } else if (ev->type == EV_VCPU) {
        vcpu_run(w, n, ev->arg);
    } else if (n->busy_until > w->now) {
        if (ev->type == EV_WAKE && ev->time == n->next_wake)
            n->next_wake = n->busy_until;
        ev->time = n->busy_until;
        sim_push(w, *ev);
        return; /* the bytes go with it */
    } else {
        node_event(w, n, ev);
    }
    if (n->stopped && !n->restarts) {
        n->restarts = true;
        start_again(w, n);
    }
    free(ev->bytes);
}

static bool all_done(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->opt.nodes; i++) {
        const struct sim_node *n = &w->node[i];
        for (uint32_t v = 0; v < w->opt.vcpus; v++)
            if (n->vcpu[v].done < w->opt.insns)
                return false;
        for (uint32_t v = 0; v < w->opt.vcpus; v++)
            if (n->vcpu[v].irr != 0 || n->vcpu[v].insn.n != 0)
                return false;
        if (!coh_idle(n->coh) || !rrdp_idle(n->rrdp))
            return false;
    }
    return true;
}

/* With a crash, what must hold is that every survivor stops the VM and names a node, and that
 * nothing that was read before was wrong. */
static void check_crash(struct sim_world *w)
{
    sim_coverage.crashes++;
    for (uint32_t i = 0; i < w->opt.nodes; i++) {
        const struct sim_node *n = &w->node[i];
        if (!n->dead && !n->stopped && n->life == 0)
            check_fail(w, SIM_LIVENESS, "node %u does not stop after the crash of another", i);
    }
}

static bool survivors_stopped(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->opt.nodes; i++)
        if (!w->node[i].dead && !w->node[i].stopped && w->node[i].life == 0)
            return false;
    return true;
}

/* The safety phase: until the network heals. */
static void misbehave(struct sim_world *w)
{
    const struct sim_options *o = &w->opt;
    if (o->clog_ppm || o->partition_ppm || o->slow_ppm)
        sim_push(w, (struct sim_event){.time = w->now + 20000, .type = EV_CHAOS, .arg = w->life});
    sim_push(w, (struct sim_event){.time = w->now + 300 * MS, .type = EV_HEAL, .arg = w->life});
}

static void start(struct sim_world *w)
{
    const struct sim_options *o = &w->opt;
    for (uint32_t i = 0; i < o->nodes; i++)
        node_create(w, (uint8_t)i);
    for (uint32_t i = 0; i < o->nodes; i++) {
        w->node[i].next_wake = w->now + prng_below(&w->rng, 1000);
        sim_push(w, (struct sim_event){
                        .time = w->node[i].next_wake, .type = EV_WAKE, .node = (uint8_t)i});
    }
    misbehave(w);
    if (o->crash_at)
        sim_push(w, (struct sim_event){.time = w->now + 50 * MS + o->crash_at,
                                       .type = EV_CRASH,
                                       .node = (uint8_t)prng_below(&w->rng, o->nodes)});
}

static bool everyone_joined(const struct sim_world *w)
{
    for (uint8_t i = 0; i < w->opt.nodes; i++)
        for (uint8_t j = 0; j < w->opt.nodes; j++)
            if (i != j && (!rrdp_peer_up(w->node[i].rrdp, j) || w->node[i].life != w->life ||
                           rrdp_peer_epoch(w->node[i].rrdp, j) >> 56 != w->life))
                return false;
    return true;
}

/* All of the first life have stopped; the VM starts again when all have joined. */
static bool next_life(struct sim_world *w)
{
    check_crash(w);
    sim_coverage.rejoins++;
    w->life = 1;
    w->running = false;
    w->ipis_sent = w->ipis_taken = 0;
    return w->result == SIM_PASS;
}

static void start_vcpus(struct sim_world *w)
{
    w->running_at = w->now;
    if (w->life == 1) {
        w->healed = false;
        misbehave(w);
    }
    for (uint32_t i = 0; i < w->opt.nodes; i++)
        for (uint32_t v = 0; v < w->opt.vcpus; v++)
            vcpu_schedule(w, &w->node[i], v, prng_below(&w->rng, 5000));
}

/* Many nodes whose every instruction needs the same few pages get through slowly (62 nodes, 8 pages
 * each, all written: 99 s). But each fault must end, and somebody always get through. */
static bool out_of_time(const struct sim_world *w)
{
    uint64_t limit = (w->opt.nodes <= 16 ? 60 : 4 * w->opt.nodes) * 1000 * MS;
    uint64_t still = w->now - max_u64(w->retired_at, w->running_at);
    return w->now > limit || (w->running && still > SIM_FAULT_MAX);
}

enum sim_result sim_run(struct sim_world *w)
{
    w->now = 1000;
    w->rng.state = w->seed;
    sim_draw_options(w);
    if (w->adjust != NULL)
        w->adjust(w);
    if (w->trace)
        sim_print_options(w, stdout);
    start(w);
    bool finished = false;
    while (w->heap_n > 0 && w->result == SIM_PASS && !finished) {
        struct sim_event ev = pop(w);
        w->now = ev.time;
        w->hash = (w->hash ^ ev.time ^ (uint64_t)ev.type << 56) * UINT64_C(0x100000001B3);
        w->events++;
        dispatch(w, &ev);
        if (!w->running && (w->events & 63) == 0 && everyone_joined(w)) {
            w->running = true;
            start_vcpus(w);
        }
        if ((w->events & 255) == 0 || w->healed)
            finished =
                w->opt.crash_at && w->life == 0 ? survivors_stopped(w) : w->running && all_done(w);
        if (finished && w->opt.crash_at != 0 && w->opt.rejoin && w->life == 0)
            finished = !next_life(w);
        if (out_of_time(w))
            finished = true;
    }
    if (w->opt.crash_at && w->life == 0)
        check_crash(w);
    else
        check_end(w);
    coverage_add(w);
    for (uint32_t i = 0; i < w->heap_n; i++)
        free(w->heap[i].bytes);
    free(w->heap);
    for (uint32_t i = 0; i < w->opt.nodes; i++)
        node_destroy(&w->node[i]);
    return w->result;
}
