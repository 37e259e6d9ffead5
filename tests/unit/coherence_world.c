/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/coherence_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"

static const uint8_t class_of[WIRE_KIND_LIMIT] = {
#define X(id, ID, name, cls, payload, family) [id] = WIRE_CLASS_##cls,
    WIRE_MSG_LIST(X)
#undef X
};
static const uint8_t payload_of[WIRE_KIND_LIMIT] = {
#define X(id, ID, name, cls, payload, family) [id] = WIRE_##payload,
    WIRE_MSG_LIST(X)
#undef X
};

void cw_break(struct cw *w, const char *fmt, ...)
{
    if (w->broken[0] != '\0')
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->broken, sizeof(w->broken), fmt, ap);
    va_end(ap);
}

static void trace(struct cw *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void trace(struct cw *w, const char *fmt, ...)
{
    if (w->trace == NULL)
        return;
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    w->trace(w->trace_arg, line);
}

struct coh_config cw_config(uint8_t nodes, uint64_t pages)
{
    struct coh_config cfg = {.nodes = nodes,
                             .vm = 1,
                             .home_mode = COH_HOME_INTERLEAVE,
                             .pages = pages,
                             .epoch_txn = 1,
                             .txn_max = 16,
                             .deferred_max = nodes * 16u < 64 ? 64 : nodes * 16u};
    for (unsigned n = 0; n < nodes; n++)
        cfg.range_end[n] = pages * (n + 1) / nodes;
    return cfg;
}

static void poison(struct cw_node *n)
{
    for (unsigned p = 0; p < CW_PAGES_MAX; p++)
        n->frame[p] = 0xEEEEEEEE;
}

static void begin(struct cw *w, uint8_t node)
{
    struct cw_node *n = &w->node[node];
    struct coh_config mine = w->cfg;
    mine.self = node;
    size_t size = coh_size(&mine);
    PANDO_CHECK(size > 0);
    n->mem = aligned_alloc(64, (size + 63) / 64 * 64);
    memset(n->mem, 0, size);
    n->coh = coh_init(n->mem, &mine);
    PANDO_CHECK(n->coh != NULL);
    poison(n);
}

struct cw *cw_new(const struct coh_config *cfg)
{
    struct cw *w = calloc(1, sizeof(*w));
    w->cfg = *cfg;
    w->now = 1000;
    PANDO_CHECK(cfg->pages <= CW_PAGES_MAX);
    for (uint8_t n = 0; n < cfg->nodes; n++)
        begin(w, n);
    return w;
}

void cw_free(struct cw *w)
{
    for (unsigned n = 0; n < w->cfg.nodes; n++)
        free(w->node[n].mem);
    for (unsigned q = 0; q < CW_QUEUES; q++)
        free(w->queue[q].item);
    free(w);
}

/* ---- queues
 * ---------------------------------------------------------------------------------------- */

struct cw_queue *cw_queue_of(struct cw *w, uint8_t src, uint8_t dst, unsigned cls)
{
    return &w->queue[(src * COH_NODES_MAX + dst) * CW_CLASSES + cls];
}

static void push(struct cw *w, uint8_t src, uint8_t dst, const struct cw_parcel *p)
{
    struct cw_queue *q = cw_queue_of(w, src, dst, class_of[p->msg.kind]);
    if (w->node[dst].dead || (w->node[dst].lost >> src & 1) != 0)
        return;
    if (q->n == q->size) {
        uint32_t size = q->size ? q->size * 2 : 8;
        struct cw_parcel *item = malloc(size * sizeof(*item));
        for (uint32_t i = 0; i < q->n; i++)
            item[i] = q->item[(q->head + i) % q->size];
        free(q->item);
        q->item = item;
        q->head = 0;
        q->size = size;
    }
    q->item[(q->head + q->n++) % q->size] = *p;
    if (!q->active) {
        q->active = true;
        w->active[w->active_n++] = (uint32_t)(q - w->queue);
    }
}

static void retire_queue(struct cw *w, struct cw_queue *q)
{
    uint32_t id = (uint32_t)(q - w->queue);
    for (uint32_t i = 0; i < w->active_n; i++) {
        if (w->active[i] != id)
            continue;
        w->active[i] = w->active[--w->active_n];
        break;
    }
    q->active = false;
}

static struct cw_parcel pop(struct cw *w, struct cw_queue *q)
{
    struct cw_parcel p = q->item[q->head];
    q->head = (q->head + 1) % q->size;
    if (--q->n == 0)
        retire_queue(w, q);
    return p;
}

/* ---- mappings and values
 * --------------------------------------------------------------------------- */

static void check_mapping(struct cw *w, uint32_t page)
{
    unsigned writers = 0, readers = 0;
    for (unsigned n = 0; n < w->cfg.nodes; n++) {
        writers += w->node[n].map[page] == CW_RW;
        readers += w->node[n].map[page] == CW_RO;
    }
    if (writers > 1 || (writers == 1 && readers > 0))
        cw_break(w, "page %u has %u writers and %u readers", page, writers, readers);
}

void cw_read(struct cw *w, uint8_t node, uint32_t page)
{
    const struct cw_node *n = &w->node[node];
    if (n->map[page] == CW_NONE)
        cw_break(w, "test error: node %u reads page %u, which is not mapped", node, page);
    else if (n->frame[page] != w->latest[page])
        cw_break(w, "node %u reads %llu of page %u; the last write was %llu", node,
                 (unsigned long long)n->frame[page], page, (unsigned long long)w->latest[page]);
}

void cw_write(struct cw *w, uint8_t node, uint32_t page)
{
    cw_read(w, node, page);
    if (w->node[node].map[page] != CW_RW)
        cw_break(w, "test error: node %u writes page %u, which is not writable", node, page);
    w->node[node].frame[page] = ++w->latest[page];
}

static void wake(struct cw *w, uint8_t node, uint32_t page)
{
    for (unsigned v = 0; v < CW_VCPUS_MAX; v++)
        if (w->node[node].vcpu[v].block_page == page)
            w->node[node].vcpu[v].blocked = false;
    (void)w;
}

static void change_mapping(struct cw *w, uint8_t node, uint32_t page, enum coh_action_type type,
                           bool writable)
{
    struct cw_node *n = &w->node[node];
    if (type == COH_ACT_MAP)
        n->map[page] = writable ? CW_RW : CW_RO;
    else if (type == COH_ACT_UNMAP)
        n->map[page] = CW_NONE;
    else if (n->map[page] == CW_RW)
        n->map[page] = CW_RO;
    check_mapping(w, page);
    if (type == COH_ACT_MAP)
        wake(w, node, page);
}

bool cw_edge_effect(struct cw *w, uint8_t node, uint32_t page)
{
    struct cw_edge *e = &w->node[node].edge[page];
    if (!e->open || e->effective)
        return false;
    e->effective = true;
    change_mapping(w, node, page, e->type, e->writable);
    return true;
}

bool cw_edge_done(struct cw *w, uint8_t node, uint32_t page)
{
    struct cw_edge *e = &w->node[node].edge[page];
    if (!e->open)
        return false;
    cw_edge_effect(w, node, page);
    e->open = false;
    struct coh_event ev = {.page = page};
    ev.type = e->type == COH_ACT_MAP       ? COH_EV_MAPPED
              : e->type == COH_ACT_PROTECT ? COH_EV_PROTECTED
                                           : COH_EV_UNMAPPED;
    cw_step(w, node, &ev);
    return true;
}

/* ---- actions
 * --------------------------------------------------------------------------------------- */

static void act_edge(struct cw *w, uint8_t node, const struct coh_action *a)
{
    struct cw_node *n = &w->node[node];
    uint32_t page = (uint32_t)a->page;
    if (a->again) {
        if (n->map[page] != (a->writable ? CW_RW : CW_RO))
            cw_break(w, "node %u maps page %u again in another mode", node, page);
        change_mapping(w, node, page, COH_ACT_MAP, a->writable);
        return;
    }
    if (n->edge[page].open)
        cw_break(w, "node %u: two edge actions for page %u", node, page);
    if (a->type == COH_ACT_MAP && a->zero)
        n->frame[page] = 0;
    n->edge[page] = (struct cw_edge){.open = true, .type = a->type, .writable = a->writable};
}

static void act(struct cw *w, uint8_t node, const struct coh_action *a)
{
    struct cw_node *n = &w->node[node];
    char text[160];
    coh_action_print(a, text, sizeof(text));
    trace(w, "   %s", text);
    switch (a->type) {
    case COH_ACT_SEND: {
        struct cw_parcel p = {.msg = a->msg};
        if (payload_of[a->msg.kind] == WIRE_PAGE) {
            p.value = n->frame[a->msg.page];
            if (n->map[a->msg.page] == CW_RW)
                cw_break(w, "node %u sends page %u while it is writable", node,
                         (unsigned)a->msg.page);
        }
        if (class_of[a->msg.kind] == WIRE_CLASS_REQUEST || a->msg.kind == WIRE_PUTM ||
            a->msg.kind == WIRE_PUTO) {
            if (a->msg.txn <= n->last_txn)
                cw_break(w, "node %u uses id %llu again", node, (unsigned long long)a->msg.txn);
            n->last_txn = a->msg.txn;
        }
        if (a->dst == node || a->dst >= w->cfg.nodes)
            cw_break(w, "node %u sends to %u", node, a->dst);
        push(w, node, a->dst, &p);
        break;
    }
    case COH_ACT_PUNCH:
        if (n->map[a->page] != CW_NONE)
            cw_break(w, "node %u punches page %u, which is mapped", node, (unsigned)a->page);
        n->frame[a->page] = 0xEEEEEEEE;
        break;
    case COH_ACT_STOP:
        n->stopped = *a;
        break;
    default:
        act_edge(w, node, a);
        break;
    }
}

static void trace_drops(struct cw *w, const struct cw_node *n, const uint64_t *before)
{
    for (unsigned d = 0; d < COH_DROPS; d++)
        if (coh_counters(n->coh)->drop[d] > before[d])
            trace(w, "   drop %s", coh_drop_name((enum coh_drop)d));
}

void cw_step(struct cw *w, uint8_t node, struct coh_event *ev)
{
    struct cw_node *n = &w->node[node];
    char text[160];
    uint64_t before[COH_DROPS];
    bool over = cw_stopped(n);
    if (n->dead)
        cw_break(w, "test error: node %u is dead", node);
    memcpy(before, coh_counters(n->coh)->drop, sizeof(before));
    ev->now = w->now;
    w->steps++;
    coh_event_print(ev, text, sizeof(text));
    trace(w, "%u: %s", node, text);
    coh_step(n->coh, ev, &w->actions);
    for (uint32_t i = 0; i < w->actions.n; i++)
        act(w, node, &w->actions.a[i]);
    trace_drops(w, n, before);
    if (over && w->actions.n > 0)
        cw_break(w, "node %u acts after STOP", node);
    if (n->stopped.type == COH_ACT_STOP && n->stopped.reason == COH_STOP_BUG)
        cw_break(w, "node %u stops: bug: %s", node,
                 coh_check(n->coh, ev->type == COH_EV_MESSAGE ? ev->msg.page : ev->page));
}

void cw_fault(struct cw *w, uint8_t node, uint8_t vcpu, uint32_t page, bool write)
{
    struct coh_event ev = {
        .type = write ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT, .page = page, .vcpu = vcpu};
    cw_step(w, node, &ev);
}

void cw_tick(struct cw *w, uint8_t node)
{
    struct coh_event ev = {.type = COH_EV_TICK};
    cw_step(w, node, &ev);
}

bool cw_deliver(struct cw *w, uint8_t src, uint8_t dst, unsigned cls)
{
    struct cw_queue *q = cw_queue_of(w, src, dst, cls);
    if (q->n == 0)
        return false;
    struct cw_parcel p = pop(w, q);
    struct cw_node *n = &w->node[dst];
    if (payload_of[p.msg.kind] == WIRE_PAGE &&
        (coh_wants_data(n->coh, src, &p.msg) || coh_takes_put(n->coh, src, &p.msg))) {
        if (n->map[p.msg.page] != CW_NONE)
            cw_break(w, "node %u fills page %u, which is mapped", dst, (unsigned)p.msg.page);
        if (cw_stopped(n))
            cw_break(w, "node %u fills page %u after STOP", dst, (unsigned)p.msg.page);
        n->frame[p.msg.page] = p.value;
    }
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src, .page = p.msg.page, .msg = p.msg};
    cw_step(w, dst, &ev);
    return true;
}

void cw_settle(struct cw *w)
{
    bool more = true;
    while (more) {
        more = false;
        for (uint8_t s = 0; s < w->cfg.nodes; s++)
            for (uint8_t d = 0; d < w->cfg.nodes; d++)
                for (unsigned k = 0; k < CW_CLASSES; k++)
                    while (cw_deliver(w, s, d, k))
                        more = true;
        for (uint8_t n = 0; n < w->cfg.nodes; n++)
            for (uint32_t p = 0; p < w->cfg.pages; p++)
                more |= cw_edge_done(w, n, p);
    }
}

/* ---- crashes
 * --------------------------------------------------------------------------------------- */

static void forget(struct cw *w, uint8_t src, uint8_t dst)
{
    for (unsigned k = 0; k < CW_CLASSES; k++) {
        struct cw_queue *q = cw_queue_of(w, src, dst, k);
        while (q->n > 0) {
            char text[160];
            struct cw_parcel p = pop(w, q);
            struct coh_action a = {.type = COH_ACT_SEND, .dst = dst, .msg = p.msg};
            coh_action_print(&a, text, sizeof(text));
            trace(w, "   lost from %u: %s", src, text);
        }
    }
}

void cw_crash(struct cw *w, uint8_t node)
{
    struct cw_node *n = &w->node[node];
    n->dead = true;
    memset(n->map, 0, sizeof(n->map));
    memset(n->edge, 0, sizeof(n->edge));
    memset(n->vcpu, 0, sizeof(n->vcpu));
    poison(n);
    for (uint8_t s = 0; s < w->cfg.nodes; s++)
        forget(w, s, node);
}

void cw_lost(struct cw *w, uint8_t node, uint8_t peer)
{
    struct coh_event ev = {.type = COH_EV_PEER_DOWN, .src = peer};
    if (!w->node[peer].dead && !cw_stopped(&w->node[peer]))
        cw_break(w, "test error: node %u is not lost", peer);
    forget(w, peer, node);
    w->node[node].lost |= bit64(peer);
    cw_step(w, node, &ev);
}

void cw_new_life(struct cw *w, uint64_t epoch_txn)
{
    w->cfg.epoch_txn = epoch_txn;
    memset(w->latest, 0, sizeof(w->latest));
    for (uint8_t i = 0; i < w->cfg.nodes; i++) {
        struct cw_node *n = &w->node[i];
        free(n->mem);
        *n = (struct cw_node){.last_txn = n->last_txn};
        begin(w, i);
    }
}

/* ---- vCPUs and the end
 * ----------------------------------------------------------------------------- */

bool cw_vcpu_run(struct cw *w, uint8_t node, uint8_t vcpu)
{
    struct cw_node *n = &w->node[node];
    struct cw_vcpu *v = &n->vcpu[vcpu];
    for (unsigned k = 0; k < v->n; k++) {
        if (n->map[v->page[k]] == CW_RW || (n->map[v->page[k]] == CW_RO && !v->write[k]))
            continue;
        v->blocked = true;
        v->block_page = v->page[k];
        cw_fault(w, node, vcpu, v->page[k], v->write[k]);
        return false;
    }
    for (unsigned k = 0; k < v->n; k++) {
        if (v->write[k])
            cw_write(w, node, v->page[k]);
        else
            cw_read(w, node, v->page[k]);
    }
    v->done++;
    return true;
}

static void check_page_end(struct cw *w, uint32_t page)
{
    struct coh_dir_view d;
    uint64_t holders = 0;
    coh_dir_view(w->node[coh_home(w->node[0].coh, page)].coh, page, &d);
    for (unsigned n = 0; n < w->cfg.nodes; n++) {
        struct coh_page_view v;
        coh_view(w->node[n].coh, page, &v);
        if (v.state != COH_I && v.state != COH_S && v.state != COH_M)
            cw_break(w, "page %u ends in %s at node %u", page, coh_state_name(v.state), n);
        if (v.state != COH_I) {
            holders |= bit64(n);
            if (w->node[n].frame[page] != w->latest[page] || v.version != d.version)
                cw_break(w, "page %u ends stale at node %u", page, n);
        }
        if (v.owner != (d.state != COH_DIR_ZERO && d.owner == n))
            cw_break(w, "page %u: node %u and the directory disagree about the owner", page, n);
        if ((v.state == COH_M) != (d.state == COH_DIR_MODIFIED && d.owner == n))
            cw_break(w, "page %u: node %u and the directory disagree about M", page, n);
    }
    if (holders != d.sharers)
        cw_break(w, "page %u: sharers %llx, holders %llx", page, (unsigned long long)d.sharers,
                 (unsigned long long)holders);
}

void cw_check_end(struct cw *w)
{
    if (w->active_n > 0)
        cw_break(w, "%u queues are not empty", w->active_n);
    for (unsigned n = 0; n < w->cfg.nodes; n++) {
        const char *why = coh_check(w->node[n].coh, UINT64_MAX);
        if (why != NULL)
            cw_break(w, "node %u: not true: %s", n, why);
        if (!coh_idle(w->node[n].coh))
            cw_break(w, "node %u is not idle", n);
        for (uint32_t p = 0; p < w->cfg.pages; p++)
            if ((why = coh_check(w->node[n].coh, p)) != NULL)
                cw_break(w, "node %u page %u: not true: %s", n, p, why);
    }
    for (uint32_t p = 0; p < w->cfg.pages; p++)
        check_page_end(w, p);
}
