/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol of the GiantVM-style baseline (perf/giantvm/core) in the world of the coherence
 * tests: what it sends, step by step, and random interleavings with single writer and data value
 * checked after each change. Queues here overtake each other more than connections do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/base/prng.h"
#include "perf/giantvm/core/ivy.h"
#include "tests/unit/coherence_world.h"

/* What the world asks of a protocol with homes and eviction. */
bool coh_takes_put(const struct coh *c, uint8_t src, const struct wire_msg *m)
{
    (void)c;
    (void)src;
    (void)m;
    return false;
}

void coh_dir_view(const struct coh *c, uint64_t page, struct coh_dir_view *out)
{
    (void)c;
    (void)page;
    (void)out;
    PANDO_CHECK(false);
}

static struct cw *world(const struct coh_config *cfg)
{
    struct cw *w = cw_new(cfg);
    memset(w->node[0].frame, 0, sizeof(w->node[0].frame)); /* guest RAM that nobody touched */
    return w;
}

static struct coh_page_view view(struct cw *w, uint8_t node, uint32_t page)
{
    struct coh_page_view v;
    coh_view(w->node[node].coh, page, &v);
    return v;
}

/* Everything at rest: one owner, whose copyset is who else has a copy; all copies are the latest.
 */
static void check_end(struct cw *w)
{
    for (uint32_t p = 0; p < w->cfg.pages; p++) {
        unsigned owners = 0;
        uint64_t copies = 0, copyset = 0;
        for (uint8_t n = 0; n < w->cfg.nodes; n++) {
            struct coh_page_view v = view(w, n, p);
            const char *why = coh_check(w->node[n].coh, p);
            if (why != NULL)
                cw_break(w, "node %u page %u: not true: %s", n, p, why);
            if (v.state != COH_I && v.state != COH_S && v.state != COH_M)
                cw_break(w, "page %u ends in %s at node %u", p, coh_state_name(v.state), n);
            if ((v.state == COH_M) != (w->node[n].map[p] == CW_RW) ||
                (v.state == COH_S) != (w->node[n].map[p] == CW_RO))
                cw_break(w, "node %u: page %u is mapped otherwise than it believes", n, p);
            if (v.state != COH_I && w->node[n].frame[p] != w->latest[p])
                cw_break(w, "page %u ends stale at node %u", p, n);
            owners += v.owner;
            if (v.owner)
                copyset = w->node[n].coh->entry[p].copyset;
            else if (v.state != COH_I)
                copies |= bit64(n);
        }
        if (owners != 1 || copies != copyset)
            cw_break(w, "page %u: %u owners, copyset %llx, copies %llx", p, owners,
                     (unsigned long long)copyset, (unsigned long long)copies);
    }
    for (uint8_t n = 0; n < w->cfg.nodes; n++)
        if (!coh_idle(w->node[n].coh))
            cw_break(w, "node %u is not idle", n);
}

static void done(struct cw *w)
{
    check_end(w);
    if (w->broken[0] != '\0')
        fail_msg("%s", w->broken);
    cw_free(w);
}

/* ---- step by step -------------------------------------------------------------------------- */

static uint64_t sent(struct cw *w, uint8_t node, uint8_t kind)
{
    return coh_counters(w->node[node].coh)->tx[kind];
}

static void touch(struct cw *w, uint8_t node, uint32_t page, bool write)
{
    cw_fault(w, node, 0, page, write);
    cw_settle(w);
    if (write)
        cw_write(w, node, page);
    else
        cw_read(w, node, page);
}

/* A read takes the ownership along; the next one finds it by the probable owner of who had it. */
static void test_read_moves_ownership(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(4, 2);
    struct cw *w = world(&cfg);
    touch(w, 0, 0, true);
    assert_true(view(w, 0, 0).owner && view(w, 0, 0).state == COH_M);
    touch(w, 1, 0, false);
    assert_true(view(w, 1, 0).owner && view(w, 1, 0).state == COH_S);
    assert_true(!view(w, 0, 0).owner && view(w, 0, 0).state == COH_S);
    /* Node 2 asks node 0, which asks node 1; the page comes back by node 0. */
    touch(w, 2, 0, false);
    assert_int_equal(sent(w, 0, WIRE_GETS), 1);
    assert_int_equal(sent(w, 1, WIRE_DATA), 1);
    assert_int_equal(sent(w, 0, WIRE_DATA), 2);
    assert_true(view(w, 2, 0).owner && !view(w, 1, 0).owner);
    /* Node 0 knows node 2 now: node 3 takes one hop more than none. */
    touch(w, 3, 0, false);
    assert_int_equal(sent(w, 0, WIRE_GETS), 2);
    assert_int_equal(sent(w, 1, WIRE_GETS), 1); /* its own, of the beginning */
    assert_int_equal(sent(w, 2, WIRE_DATA), 1);
    done(w);
}

/* The next INV leaves when the one before is acknowledged. */
static void test_one_sharer_after_another(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(4, 1);
    struct cw *w = world(&cfg);
    touch(w, 0, 0, true);
    for (uint8_t n = 1; n < 4; n++)
        touch(w, n, 0, false);
    cw_fault(w, 3, 0, 0, true); /* the owner, with three copies elsewhere */
    for (uint8_t k = 0; k < 3; k++) {
        assert_int_equal(sent(w, 3, WIRE_INV), k + 1);
        assert_true(cw_deliver(w, 3, k, WIRE_CLASS_URGENT));
        assert_int_equal(sent(w, 3, WIRE_INV), k + 1);
        assert_true(cw_edge_done(w, k, 0));
        assert_int_equal(sent(w, 3, WIRE_INV), k + 1);
        assert_true(cw_deliver(w, k, 3, WIRE_CLASS_URGENT));
    }
    cw_settle(w);
    cw_write(w, 3, 0);
    assert_int_equal(sent(w, 3, WIRE_INV), 3);
    assert_int_equal(sent(w, 3, WIRE_GETM), 0);
    /* INV says who the owner is: node 1, which knew node 2, asks node 3 itself. */
    touch(w, 1, 0, false);
    assert_int_equal(sent(w, 2, WIRE_GETS), 1);
    done(w);
}

/* A sharer that is not the owner fetches the page although it has it, then invalidates the rest. */
static void test_upgrade_of_a_sharer(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(3, 1);
    struct cw *w = world(&cfg);
    touch(w, 0, 0, true);
    touch(w, 1, 0, false);
    touch(w, 2, 0, false);
    touch(w, 1, 0, true); /* owner is 2; copies 0 and 2 */
    assert_int_equal(sent(w, 1, WIRE_GETM), 1);
    assert_int_equal(sent(w, 1, WIRE_INV), 1); /* node 0; node 2 was asked and gave its own up */
    assert_true(view(w, 1, 0).state == COH_M && view(w, 2, 0).state == COH_I &&
                view(w, 0, 0).state == COH_I);
    done(w);
}

/* INV overtakes the own write: what was to become an upgrade is mapped anew. */
static void test_upgrade_that_was_overtaken(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 1);
    struct cw *w = world(&cfg);
    touch(w, 0, 0, true);
    touch(w, 1, 0, false); /* node 1 owns it, node 0 has a copy */
    cw_fault(w, 0, 0, 0, true);
    cw_fault(w, 1, 0, 0, true); /* first, for it is the owner */
    cw_deliver(w, 1, 0, WIRE_CLASS_URGENT);
    cw_edge_done(w, 0, 0);
    cw_deliver(w, 0, 1, WIRE_CLASS_URGENT);
    cw_edge_done(w, 1, 0);
    cw_write(w, 1, 0);
    cw_deliver(w, 0, 1, WIRE_CLASS_REQUEST);
    cw_edge_done(w, 1, 0);
    cw_deliver(w, 1, 0, WIRE_CLASS_DATA);
    assert_int_equal(w->actions.n, 1);
    assert_int_equal(w->actions.a[0].type, COH_ACT_MAP);
    assert_int_equal(w->actions.a[0].fault, COH_FAULT_WRITE);
    cw_settle(w);
    cw_write(w, 0, 0);
    done(w);
}

/* Who passes a write on gives its own copy up, and needs no INV. */
static void test_write_along_the_chain(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(4, 1);
    struct cw *w = world(&cfg);
    touch(w, 0, 0, true);
    touch(w, 1, 0, false);
    touch(w, 2, 0, false);
    touch(w, 3, 0, true); /* asks 0, which asks 2; copies 0, 1, 2 */
    assert_int_equal(sent(w, 0, WIRE_GETM), 1);
    assert_int_equal(sent(w, 3, WIRE_INV), 1);
    assert_int_equal(sent(w, 1, WIRE_INV_ACK), 1);
    done(w);
}

/* A granted page stays for hold_ns; while its vCPU waits for another, to the end of its bound. */
static void test_residency(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 2);
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 5000;
    struct cw *w = world(&cfg);
    w->now = 1000000;
    touch(w, 0, 0, true);
    cw_fault(w, 1, 0, 0, true);
    cw_settle(w);
    assert_int_equal(coh_waited_for(w->node[0].coh), 1);
    assert_int_equal(coh_deadline(w->node[0].coh), 1001000);
    w->now = 1000999;
    cw_tick(w, 0);
    assert_true(view(w, 0, 0).state == COH_M);
    w->now = 1001000;
    cw_tick(w, 0);
    cw_settle(w);
    assert_true(view(w, 1, 0).state == COH_M);
    /* Node 1 waits for page 1, which node 0 keeps as long as it waits for page 0. */
    cw_fault(w, 0, 0, 1, true);
    cw_settle(w);
    cw_fault(w, 0, 0, 0, true);
    cw_fault(w, 1, 0, 1, true);
    cw_settle(w);
    uint64_t end0 = coh_deadline(w->node[0].coh), end1 = coh_deadline(w->node[1].coh);
    assert_int_equal(end0, 1001000 + 5000);
    assert_int_equal(end1, 1000000 + 5000); /* its set is that much older */
    w->now = end1;
    cw_tick(w, 0);
    cw_tick(w, 1); /* gives page 0 up */
    cw_settle(w);
    assert_true(view(w, 0, 0).state == COH_M && view(w, 0, 1).state == COH_M);
    assert_int_equal(coh_counters(w->node[1].coh)->hold_expired, 1);
    struct coh_event idle = {.type = COH_EV_IDLE, .vcpu = 0};
    cw_step(w, 0, &idle); /* it got through */
    cw_tick(w, 0);
    cw_settle(w);
    assert_true(view(w, 1, 1).state == COH_M);
    assert_int_equal(w->node[1].coh->vcpu[0].fails, 1); /* and may keep what it has for longer */
    w->now += 100000;
    cw_tick(w, 0);
    cw_tick(w, 1);
    done(w);
}

static void test_refuses_configurations(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(IVY_NODES_MAX, 4);
    assert_true(coh_size(&cfg) > 0);
    cfg.nodes = IVY_NODES_MAX + 1;
    assert_int_equal(coh_size(&cfg), 0);
    cfg = cw_config(2, 4);
    cfg.resident_max = 2;
    assert_int_equal(coh_size(&cfg), 0);
}

/* ---- at random ----------------------------------------------------------------------------- */

struct run {
    struct cw *w;
    struct prng rng;
    uint32_t vcpus, insns, write_pct, late_pct;
    bool hostile, early_ack;
};

static struct {
    uint64_t relayed, deferred, held, expired, drop[COH_DROPS], spurious;
} seen;

static void draw(struct run *r, struct cw_vcpu *v)
{
    uint32_t pages = (uint32_t)r->w->cfg.pages;
    uint32_t most = r->w->cfg.hold_ns == 0 ? 1 : pages < 3 ? pages : 3;
    v->n = (uint8_t)(1 + prng_below(&r->rng, most));
    uint32_t first = prng_below(&r->rng, pages);
    for (unsigned k = 0; k < v->n; k++) {
        v->page[k] = (first + k) % pages;
        v->write[k] = prng_below(&r->rng, 100) < r->write_pct;
    }
}

static bool run_vcpu(struct run *r, uint8_t n, uint8_t k)
{
    struct cw_vcpu *v = &r->w->node[n].vcpu[k];
    if (v->done >= r->insns || v->blocked || r->w->now < v->ready_at)
        return false;
    if (v->n == 0)
        draw(r, v);
    if (cw_vcpu_run(r->w, n, k)) {
        v->n = 0;
        if (prng_below(&r->rng, 100) < r->late_pct) { /* a message that came late: it waits */
            v->blocked = true;
            v->block_page = v->page[0];
            cw_fault(r->w, n, k, v->block_page, false);
            return true;
        }
        struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = k};
        if (prng_chance(&r->rng, 300000))
            cw_step(r->w, n, &ev);
        v->ready_at = r->w->now + prng_below(&r->rng, 300);
    } else if (prng_below(&r->rng, 100) < r->late_pct) {
        cw_fault(r->w, n, k, v->block_page, prng_chance(&r->rng, 500000));
    }
    return true;
}

/* An acknowledgement before the copy is gone: the error that the checks must notice. */
static void forge_ack(struct run *r, uint8_t src, uint8_t dst)
{
    const struct cw_queue *q = cw_queue_of(r->w, src, dst, WIRE_CLASS_URGENT);
    if (q->n == 0 || q->item[q->head].msg.kind != WIRE_INV)
        return;
    struct wire_msg m = q->item[q->head].msg;
    m.kind = WIRE_INV_ACK;
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = dst, .page = m.page, .msg = m};
    cw_step(r->w, src, &ev);
}

static void junk(struct run *r)
{
    static const uint8_t kinds[] = {WIRE_INV_ACK, WIRE_DATA,  WIRE_DATA,
                                    WIRE_INV,     WIRE_GRANT, WIRE_GETS};
    const struct coh_config *cfg = &r->w->cfg;
    uint8_t dst = (uint8_t)prng_below(&r->rng, cfg->nodes);
    struct wire_msg m = {.kind = kinds[prng_below(&r->rng, PANDO_ARRAY_LEN(kinds))],
                         .vm = (uint8_t)(cfg->vm + (prng_below(&r->rng, 8) == 0)),
                         .requester = (uint8_t)prng_below(&r->rng, cfg->nodes),
                         .exclusive = prng_below(&r->rng, 2),
                         .page = prng_below(&r->rng, (uint32_t)cfg->pages + 2),
                         .txn = UINT32_MAX - prng_below(&r->rng, 1000)};
    uint8_t src = (uint8_t)prng_below(&r->rng, cfg->nodes);
    if (m.kind == WIRE_GETS)
        m.requester = dst; /* who asks for what it has itself */
    if (m.kind == WIRE_INV && m.page < cfg->pages &&
        r->w->node[dst].coh->entry[m.page].map == IVY_S)
        return; /* what a sharer has to believe */
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src, .page = m.page, .msg = m};
    cw_step(r->w, dst, &ev);
}

static bool run_edges(struct run *r)
{
    bool any = false;
    for (uint8_t n = 0; n < r->w->cfg.nodes; n++)
        for (uint32_t p = 0; p < r->w->cfg.pages; p++) {
            if (!r->w->node[n].edge[p].open)
                continue;
            any = true;
            uint32_t dice = prng_below(&r->rng, 8);
            if (dice == 0)
                cw_edge_done(r->w, n, p);
            else if (dice == 1)
                cw_edge_effect(r->w, n, p);
        }
    return any;
}

static bool turn(struct run *r)
{
    struct cw *w = r->w;
    bool any = run_edges(r);
    for (uint32_t i = 0, n = w->active_n; i < n && w->active_n > 0; i++) {
        uint32_t q = w->active[prng_below(&r->rng, w->active_n)];
        uint8_t src = (uint8_t)(q / CW_CLASSES / COH_NODES_MAX),
                dst = (uint8_t)(q / CW_CLASSES % COH_NODES_MAX);
        any = true;
        if (r->early_ack && q % CW_CLASSES == WIRE_CLASS_URGENT)
            forge_ack(r, src, dst);
        if (prng_below(&r->rng, 3) == 0)
            cw_deliver(w, src, dst, q % CW_CLASSES);
    }
    for (uint8_t n = 0; n < w->cfg.nodes; n++) {
        for (uint8_t v = 0; v < r->vcpus; v++)
            if (prng_below(&r->rng, 3) == 0)
                any |= run_vcpu(r, n, v);
        if (coh_deadline(w->node[n].coh) <= w->now) {
            cw_tick(w, n);
            any = true;
        }
    }
    if (r->hostile && prng_below(&r->rng, 3) == 0)
        junk(r);
    return any;
}

static uint64_t next_deadline(struct run *r)
{
    uint64_t t = UINT64_MAX;
    for (unsigned n = 0; n < r->w->cfg.nodes; n++) {
        t = min_u64(t, coh_deadline(r->w->node[n].coh));
        for (unsigned v = 0; v < r->vcpus; v++) {
            const struct cw_vcpu *u = &r->w->node[n].vcpu[v];
            if (u->done < r->insns && !u->blocked)
                t = min_u64(t, u->ready_at);
        }
    }
    return t;
}

static bool finished(struct run *r)
{
    struct cw *w = r->w;
    bool open = w->active_n > 0;
    for (unsigned n = 0; n < w->cfg.nodes && !open; n++) {
        for (unsigned v = 0; v < r->vcpus; v++)
            open |= w->node[n].vcpu[v].done < r->insns;
        for (unsigned p = 0; p < w->cfg.pages; p++)
            open |= w->node[n].edge[p].open;
        open |= !coh_idle(w->node[n].coh);
    }
    return !open;
}

static void collect(struct run *r)
{
    for (unsigned n = 0; n < r->w->cfg.nodes; n++) {
        const struct coh_counters *k = coh_counters(r->w->node[n].coh);
        seen.deferred += k->deferred;
        seen.held += k->held;
        seen.expired += k->hold_expired;
        seen.spurious += k->faults[COH_FAULT_SPURIOUS];
        seen.relayed += k->tx[WIRE_GETS] + k->tx[WIRE_GETM];
        for (unsigned k2 = 0; k2 < COH_FAULT_SPURIOUS; k2++)
            seen.relayed -= min_u64(seen.relayed, k->faults[k2]);
        for (unsigned d = 0; d < COH_DROPS; d++) {
            seen.drop[d] += k->drop[d];
            if (k->drop[d] > 0 && !r->hostile && !r->early_ack)
                cw_break(r->w, "node %u dropped: %s", n, coh_drop_name((enum coh_drop)d));
        }
    }
}

static void run_to_end(struct run *r)
{
    struct cw *w = r->w;
    while (!finished(r) && w->broken[0] == '\0') {
        w->now += 1 + prng_below(&r->rng, 40);
        if (!turn(r)) {
            uint64_t t = next_deadline(r);
            if (t == UINT64_MAX)
                cw_break(w, "nothing can happen any more");
            w->now = max_u64(w->now, t);
        }
        if (w->steps > 2000000)
            cw_break(w, "no end after %llu steps", (unsigned long long)w->steps);
    }
    if (w->broken[0] == '\0')
        check_end(w);
    collect(r);
}

static void print_line(void *arg, const char *line)
{
    const struct run *r = arg;
    printf("%8llu %s\n", (unsigned long long)r->w->now, line);
}

static void prepare(struct run *r, uint64_t seed)
{
    *r = (struct run){.rng = {.state = seed * 77 + 5}};
    uint8_t nodes = (uint8_t)(2 + prng_below(&r->rng, 5));
    struct coh_config cfg = cw_config(nodes, 1 + prng_below(&r->rng, 8));
    if (prng_below(&r->rng, 2)) {
        cfg.hold_ns = 300 + prng_below(&r->rng, 1000);
        cfg.hold_max_ns = cfg.hold_ns * (4 + prng_below(&r->rng, 20));
    }
    r->vcpus = 1 + prng_below(&r->rng, 3);
    r->insns = 20 + prng_below(&r->rng, 40);
    r->write_pct = 5 + prng_below(&r->rng, 95);
    r->late_pct = prng_below(&r->rng, 2) * 20;
    r->w = world(&cfg);
    r->w->trace = getenv("COH_TRACE") != NULL ? print_line : NULL;
    r->w->trace_arg = r;
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 0) : otherwise;
}

static void many(bool hostile)
{
    uint64_t first = env_number("COH_SEED", 1), n = env_number("COH_SEEDS", hostile ? 200 : 1000);
    for (uint64_t s = first; s < first + n; s++) {
        struct run r;
        prepare(&r, s);
        r.hostile = hostile;
        run_to_end(&r);
        if (r.w->broken[0] != '\0')
            fail_msg("COH_SEED=%llu COH_SEEDS=1 COH_TRACE=1: %s", (unsigned long long)s,
                     r.w->broken);
        cw_free(r.w);
    }
}

static void test_random(void **state)
{
    (void)state;
    many(false);
    assert_true(seen.relayed > 0 && seen.deferred > 0 && seen.held > 0 && seen.expired > 0 &&
                seen.spurious > 0);
}

static void test_hostile(void **state)
{
    (void)state;
    many(true);
    assert_true(seen.drop[COH_DROP_TXN] > 0 && seen.drop[COH_DROP_STATE] > 0);
    assert_true(seen.drop[COH_DROP_PAGE_RANGE] > 0 && seen.drop[COH_DROP_WRONG_VM] > 0);
    assert_true(seen.drop[COH_DROP_REQUESTER] > 0 && seen.drop[COH_DROP_FIELDS] > 0);
}

/* The checks see what they are for. */
static void test_early_ack_is_noticed(void **state)
{
    (void)state;
    unsigned noticed = 0;
    for (uint64_t s = 1; s <= 100; s++) {
        struct run r;
        prepare(&r, s);
        r.early_ack = true;
        run_to_end(&r);
        noticed += strstr(r.w->broken, "writers") != NULL || strstr(r.w->broken, "reads") != NULL;
        cw_free(r.w);
    }
    assert_true(noticed > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_moves_ownership),
        cmocka_unit_test(test_one_sharer_after_another),
        cmocka_unit_test(test_upgrade_of_a_sharer),
        cmocka_unit_test(test_upgrade_that_was_overtaken),
        cmocka_unit_test(test_write_along_the_chain),
        cmocka_unit_test(test_residency),
        cmocka_unit_test(test_refuses_configurations),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_early_ack_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
