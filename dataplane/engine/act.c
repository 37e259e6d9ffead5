/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Carries out what the coherence core asks for, in its order. MAP, PROTECT and PUNCH are done at
 * once; the completion of MAP and PROTECT is queued and fed back after the present actions (a loop,
 * no recursion). UNMAP goes to the agent.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/base/page_table.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"

static void push_done(struct engine *e, uint64_t page, enum coh_event_type type)
{
    PANDO_CHECK(e->done_head - e->done_tail <= e->done_mask);
    e->done[e->done_head++ & e->done_mask] =
        (struct engine_done){.page = page, .type = (uint8_t)type};
}

/* -ESRCH: the VMM's address space is gone. What it said before that waits in its socket: an orderly
 * end is one, even if a page that was asked for ahead arrives after it. */
static void edge_failed(struct engine *e, const char *what, uint64_t page, int rc)
{
    if (rc != -ESRCH) {
        engine_stop(e, false, "node %u: %s of page 0x%llx: %s", e->self, what,
                    (unsigned long long)page, strerror(-rc));
        return;
    }
    if (e->conn != CONN_NONE)
        control_ready(e, e->conn_fd);
    engine_stop(e, false, "node %u: the VM's process is gone", e->self); /* if it said nothing */
}

/* A fault has ended with a mapping of the page. */
static void count_page(struct engine *e, const struct coh_action *a)
{
    const void *frame = a->zero ? NULL : ram_frame(&e->ram, a->page);
    topk_add(&e->hot, a->page);
    if (frame != NULL && page_table_like(frame, e->cfg->vm.ram_pages + ENGINE_LOW_FRAMES))
        e->count.page_tables[a->fault]++;
}

static void act_map(struct engine *e, const struct coh_action *a)
{
    if (a->zero || a->writable)
        thaw(e, a->page);
    if (a->zero && ram_frame(&e->ram, a->page) != NULL)
        ram_zero(&e->ram, a->page);
    uint64_t asked = span_mapping(e, a);
    int rc = ram_map(&e->ram, a->page, a->writable, a->fault == COH_FAULT_UPGRADE && !a->again);
    if (rc != 0) {
        edge_failed(e, "mapping", a->page, rc);
        return;
    }
    if (asked != 0)
        span_mapped(e, a, asked);
    if (!a->again)
        push_done(e, a->page, COH_EV_MAPPED);
    if (a->started != 0) {
        e->make_way |= e->beside;
        e->beside = false; /* whose fault it was is not known here: the hint is good for one */
        e->now = engine_now();
        hist_add(&e->latency[a->fault], e->now - a->started);
        PROBE(fault_mapped, e->self, a->page, a->fault, e->now - a->started, a->writable);
        if (a->fault != COH_FAULT_SPURIOUS)
            count_page(e, a);
    }
}

/* A STOP is about a node; it has no page. */
static void act_stop(struct engine *e, const struct coh_action *a)
{
    static const char *const why[] = {"?", "was lost", "has no frame left that it could replace",
                                      "has used up its transaction ids",
                                      "found the protocol's state impossible"};
    unsigned reason = a->reason < sizeof(why) / sizeof(why[0]) ? a->reason : 0;
    engine_stop(e, false, "node %u (%s) %s", a->dst, node_name(e, a->dst), why[reason]);
}

static void act(struct engine *e, const struct coh_action *a)
{
    int rc;
    switch (a->type) {
    case COH_ACT_SEND:
        if (PROBE_WANTED(fault_asked) && (a->msg.kind == WIRE_GETS || a->msg.kind == WIRE_GETM))
            PROBE(fault_asked, e->self, a->msg.page, a->msg.kind, a->dst, a->msg.txn);
        transmit_message(e, a->dst, &a->msg);
        break;
    case COH_ACT_MAP:
        act_map(e, a);
        break;
    case COH_ACT_PROTECT:
        rc = ram_protect(&e->ram, a->page);
        if (rc != 0)
            edge_failed(e, "write-protecting", a->page, rc);
        else
            push_done(e, a->page, COH_EV_PROTECTED);
        break;
    case COH_ACT_UNMAP:
        zap_push(&e->zap, a->page);
        PROBE(zap_requested, e->self, a->page);
        break;
    case COH_ACT_PUNCH:
        thaw(e, a->page);
        rc = ram_punch(&e->ram, a->page);
        if (rc != 0)
            edge_failed(e, "punching", a->page, rc);
        break;
    case COH_ACT_STOP:
        act_stop(e, a);
        break;
    }
}

static void check(struct engine *e, const struct coh_event *ev)
{
    const char *wrong = coh_check(e->coh, ev->type == COH_EV_MESSAGE ? ev->msg.page : ev->page);
    if (wrong == NULL)
        return;
    if (e->count.violations++ == 0)
        snprintf(e->violation, sizeof(e->violation), "%s", wrong);
    engine_stop(e, false, "node %u: invariant violated at page 0x%llx: %s", e->self,
                (unsigned long long)ev->page, wrong);
}

static void step_once(struct engine *e, struct coh_event *ev)
{
    coh_step(e->coh, ev, e->actions);
    for (uint32_t i = 0; i < e->actions->n; i++)
        act(e, &e->actions->a[i]);
    if (e->cfg->coherence.check && ev->type <= COH_EV_UNMAPPED && ev->page < e->cfg->vm.ram_pages)
        check(e, ev);
}

void engine_step(struct engine *e, struct coh_event *ev)
{
    if (e->phase == ENGINE_LEAVING)
        return;
    ev->now = e->now;
    step_once(e, ev);
    while (e->done_head != e->done_tail) {
        struct engine_done d = e->done[e->done_tail++ & e->done_mask];
        struct coh_event next = {
            .type = (enum coh_event_type)d.type, .page = d.page, .now = e->now};
        step_once(e, &next);
    }
}

bool engine_tick(struct engine *e)
{
    bool useful = false;
    for (uint32_t i = 0;
         i < ENGINE_TICKS && e->phase != ENGINE_LEAVING && coh_deadline(e->coh) <= e->now; i++) {
        struct coh_event ev = {.type = COH_EV_TICK};
        engine_step(e, &ev);
        useful = true;
    }
    return useful;
}
