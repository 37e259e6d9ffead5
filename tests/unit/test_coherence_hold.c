/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Residency by page set, with artificial time: nodes that contend with an instruction of eight
 * pages all advance, within a bounded number of steps, and the least served gets at least half of
 * the mean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "tests/unit/coherence_world.h"

enum { PAGES = 8, HOLD_NS = 200000, HOLD_MAX_NS = 5000000, LATENCY_NS = 20000, EXEC_NS = 60000 };

struct order {
    bool reversed, shuffled;
};

static struct cw *with_residency(uint8_t nodes, uint64_t pages)
{
    struct coh_config cfg = cw_config(nodes, pages);
    cfg.hold_ns = HOLD_NS;
    cfg.hold_max_ns = HOLD_MAX_NS;
    return cw_new(&cfg);
}

static void load(struct cw_vcpu *v, uint8_t node, struct order o, struct prng *rng)
{
    v->n = PAGES;
    for (unsigned k = 0; k < PAGES; k++) {
        v->page[k] = o.reversed && node % 2 ? PAGES - 1 - k : k;
        v->write[k] = true;
    }
    for (unsigned k = PAGES - 1; o.shuffled && k > 0; k--) {
        unsigned j = prng_below(rng, k + 1);
        uint32_t t = v->page[k];
        v->page[k] = v->page[j];
        v->page[j] = t;
    }
}

/* One round of LATENCY_NS: all that was sent or issued before arrives or completes. */
static void round_of(struct cw *w)
{
    static uint32_t todo[CW_QUEUES];
    static uint32_t count[CW_QUEUES];
    uint32_t n = w->active_n;
    for (uint32_t i = 0; i < n; i++) {
        todo[i] = w->active[i];
        count[i] = w->queue[w->active[i]].n;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < count[i]; k++)
            cw_deliver(w, (uint8_t)(todo[i] / CW_CLASSES / COH_NODES_MAX),
                       (uint8_t)(todo[i] / CW_CLASSES % COH_NODES_MAX), todo[i] % CW_CLASSES);
    for (uint8_t d = 0; d < w->cfg.nodes; d++) {
        for (uint32_t p = 0; p < w->cfg.pages; p++)
            cw_edge_done(w, d, p);
        if (coh_deadline(w->node[d].coh) <= w->now)
            cw_tick(w, d);
    }
}

static void contend(uint8_t nodes, uint64_t rounds, struct order o)
{
    struct coh_config cfg = cw_config(nodes, PAGES);
    struct prng rng = {.state = 7};
    cfg.hold_ns = HOLD_NS;
    cfg.hold_max_ns = HOLD_MAX_NS;
    struct cw *w = cw_new(&cfg);
    for (uint8_t n = 0; n < nodes; n++)
        load(&w->node[n].vcpu[0], n, o, &rng);
    uint64_t longest = 0, last[COH_NODES_MAX] = {0};
    for (uint64_t r = 0; r < rounds && w->broken[0] == '\0'; r++) {
        w->now += LATENCY_NS;
        round_of(w);
        for (uint8_t n = 0; n < nodes; n++) {
            struct cw_vcpu *v = &w->node[n].vcpu[0];
            if (v->blocked) {
                v->ready_at = w->now + EXEC_NS; /* a woken vCPU takes a while to look again */
                continue;
            }
            if (w->now < v->ready_at || !cw_vcpu_run(w, n, 0))
                continue;
            longest = max_u64(longest, w->now - last[n]);
            last[n] = w->now;
        }
    }
    assert_string_equal(w->broken, "");
    uint64_t sum = 0, least = UINT64_MAX, expired = 0;
    for (uint8_t n = 0; n < nodes; n++) {
        uint64_t done = w->node[n].vcpu[0].done;
        print_message("  node %u of %u: %llu instructions\n", n, nodes, (unsigned long long)done);
        sum += done;
        least = min_u64(least, done);
        expired += coh_counters(w->node[n].coh)->hold_expired;
        longest = max_u64(longest, w->now - last[n]);
    }
    print_message("  longest wait %llu us, sets expired %llu\n", (unsigned long long)longest / 1000,
                  (unsigned long long)expired);
    assert_true(least * 2 * nodes >= sum);
    assert_true(least >= 20);
    cw_free(w);
}

static void test_two_same_order(void **state)
{
    (void)state;
    contend(2, 40000, (struct order){false, false});
}

static void test_two_opposite_order(void **state)
{
    (void)state;
    contend(2, 200000, (struct order){true, false});
}

static void test_four(void **state)
{
    (void)state;
    contend(4, 80000, (struct order){false, false});
}

static void test_four_opposite_order(void **state)
{
    (void)state;
    contend(4, 400000, (struct order){true, false});
}

static void test_four_any_order(void **state)
{
    (void)state;
    contend(4, 400000, (struct order){false, true});
}

/* A granted page stays for hold_ns, whoever faulted; coh_deadline says when the parked message is
 * due. */
static void test_minimum_residency(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 2);
    struct coh_page_view v;
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 5000;
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 1, COH_VCPU_NONE, 0, true);
    cw_settle(w);
    uint64_t granted = w->now;
    w->now += 10;
    assert_true(coh_deadline(w->node[1].coh) == UINT64_MAX);
    cw_fault(w, 0, 0, 0, false);
    cw_settle(w);
    coh_view(w->node[1].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    assert_int_equal(coh_counters(w->node[1].coh)->held, 1);
    assert_int_equal(coh_deadline(w->node[1].coh), granted + 1000);
    w->now = granted + 999;
    cw_tick(w, 1);
    coh_view(w->node[1].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    w->now = granted + 1000;
    cw_tick(w, 1);
    cw_settle(w);
    coh_view(w->node[1].coh, 0, &v);
    assert_int_equal(v.state, COH_S);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* A set stays while its vCPU is blocked in a fault, and gives way when its bound has passed. */
static void test_set_bound(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 4);
    struct coh_page_view v;
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 50000;
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 0, 3, 0, true); /* homed at 0 */
    cw_settle(w);
    uint64_t opened = w->now;
    w->now += 100;
    cw_fault(w, 0, 3, 1, true); /* homed at 1: not delivered, so vCPU 3 stays blocked */
    w->now += 100;
    cw_fault(w, 1, 0, 0, true);
    while (cw_deliver(w, 1, 0, WIRE_CLASS_REQUEST))
        ;
    w->now = opened + 1000; /* the minimum residency is over, the set is not */
    cw_tick(w, 0);
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    assert_int_equal(coh_deadline(w->node[0].coh), opened + 50000);
    w->now = opened + 50000;
    cw_tick(w, 0);
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_MI_U);
    assert_int_equal(coh_counters(w->node[0].coh)->hold_expired, 1);
    cw_settle(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* Node 0's vCPU 3 has page 0 and, if blocked, waits for page 1; else it has just got page 4. Node
 * 1's vCPU 0 has collected for `age` when it asks for page 0, and the minimum residency of that is
 * over. */
static struct cw *older_and_younger(bool blocked, uint64_t age, unsigned pages)
{
    struct coh_config cfg = cw_config(2, CW_PAGES_MAX);
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 50000;
    struct cw *w = cw_new(&cfg);
    uint64_t since = w->now;
    for (unsigned i = 0; i < pages; i++, w->now += 100) {
        cw_fault(w, 1, 0, 1 + 2 * i, true); /* homed at 1 */
        cw_settle(w);
    }
    cw_fault(w, 1, 0, 2, true); /* homed at 0: under way, so the set stays open */
    w->now = since + age - 1100;
    cw_tick(w, 1);
    cw_fault(w, 0, 3, 0, true); /* homed at 0: granted at once */
    cw_edge_done(w, 0, 0);
    w->now = since + age - 500;
    cw_fault(w, 0, 3, blocked ? 1 : 4, true); /* 1 is homed at 1: not delivered; 4 at 0 */
    cw_edge_done(w, 0, 4);
    w->now = since + age;
    while (cw_deliver(w, 1, 0, WIRE_CLASS_REQUEST) || cw_deliver(w, 0, 1, WIRE_CLASS_URGENT))
        ;
    cw_edge_done(w, 1, 2);
    cw_fault(w, 1, 0, 0, true);
    while (cw_deliver(w, 1, 0, WIRE_CLASS_REQUEST))
        ;
    cw_tick(w, 0);
    return w;
}

static void yields(bool blocked, uint64_t age, unsigned pages, bool yes)
{
    struct cw *w = older_and_younger(blocked, age, pages);
    struct coh_page_view v;
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, yes ? COH_MI_U : COH_M);
    assert_int_equal(coh_counters(w->node[0].coh)->hold_wounded, yes);
    assert_int_equal(coh_counters(w->node[0].coh)->hold_expired, 0);
    if (!yes && !blocked && age > 8000) { /* as soon as it has to wait as well */
        cw_fault(w, 0, 3, 1, true);
        assert_true(coh_deadline(w->node[0].coh) <= w->now);
        cw_tick(w, 0);
        coh_view(w->node[0].coh, 0, &v);
        assert_int_equal(v.state, COH_MI_U);
        assert_int_equal(coh_counters(w->node[0].coh)->hold_wounded, 1);
    }
    if (!yes && blocked && pages == 1) { /* as soon as it has waited for so long */
        assert_int_equal(coh_deadline(w->node[0].coh), w->now + 8000 - age);
        w->now += 8000 - age;
        cw_tick(w, 0);
        assert_int_equal(coh_counters(w->node[0].coh)->hold_wounded, 1);
    }
    cw_settle(w);
    w->now += 200000;
    cw_tick(w, 0);
    cw_tick(w, 1);
    cw_settle(w);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* A set whose vCPU waits gives way to one that has been at it for longer, and for long. */
static void test_older_first(void **state)
{
    (void)state;
    yields(true, 9000, 1, true);
    yields(true, 7000, 1, false); /* not long: less than 4 * nodes * hold_ns */
    yields(false, 9000, 1, false);
    yields(true, 9000, 20, true);
    yields(true, 9000, 64, false); /* and page 2: more than one instruction needs */
}

static void idle(struct cw *w, uint8_t node, uint8_t vcpu)
{
    struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = vcpu};
    cw_step(w, node, &ev);
    cw_settle(w);
}

/* A vCPU that waits gives way at once; a page that another was granted, too, stays for it. */
static void test_waiting_ends_residency(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 4);
    struct coh_page_view v;
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 50000;
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 0, 0, 0, true);
    cw_settle(w);
    cw_fault(w, 0, 1, 2, true);
    cw_settle(w);
    cw_fault(w, 0, 0, 2, true); /* late, and mapped already: of both now */
    cw_settle(w);
    cw_fault(w, 0, 1, 1, true); /* homed at 1: both wait for it */
    cw_fault(w, 0, 0, 1, true);
    cw_settle(w);
    assert_int_equal(coh_waited_for(w->node[0].coh), 0);
    cw_fault(w, 1, 0, 0, true);
    cw_settle(w);
    cw_fault(w, 1, 1, 2, true);
    cw_settle(w);
    cw_fault(w, 1, 2, 1, true);
    cw_settle(w);
    assert_int_equal(coh_waited_for(w->node[0].coh), 3);
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    idle(w, 0, 2); /* another one: nothing */
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    idle(w, 0, 0);
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_I);
    coh_view(w->node[0].coh, 1, &v);
    assert_int_equal(v.state, COH_M);
    idle(w, 0, 1);
    coh_view(w->node[0].coh, 2, &v);
    assert_int_equal(v.state, COH_M); /* vCPU 0 had it in no set: its minimum residency */
    coh_view(w->node[0].coh, 1, &v);
    assert_int_equal(v.state, COH_I);
    idle(w, 0, COH_VCPU_NONE);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* One that is blocked in a fault does not wait, whatever is said. */
static void test_not_in_a_fault(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 4);
    struct coh_page_view v;
    cfg.hold_ns = 1000;
    cfg.hold_max_ns = 50000;
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 0, 0, 0, true);
    cw_settle(w);
    cw_fault(w, 0, 0, 1, true); /* homed at 1: not delivered */
    cw_fault(w, 1, 0, 0, true);
    while (cw_deliver(w, 1, 0, WIRE_CLASS_REQUEST))
        ;
    struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = 0};
    cw_step(w, 0, &ev);
    coh_view(w->node[0].coh, 0, &v);
    assert_int_equal(v.state, COH_M);
    cw_free(w);
}

/* ---- asked for together --- */

static enum coh_state state_at(struct cw *w, uint8_t node, uint32_t page)
{
    struct coh_page_view view;
    coh_view(w->node[node].coh, page, &view);
    return view.state;
}

static void write_all(struct cw *w, uint8_t node, uint32_t pages)
{
    for (uint32_t p = 0; p < pages; p++) {
        cw_fault(w, node, 0, p, true);
        cw_settle(w);
    }
}

static void pass(struct cw *w, uint64_t ns)
{
    w->now += ns;
    for (uint8_t n = 0; n < w->cfg.nodes; n++)
        cw_tick(w, n);
    cw_settle(w);
}

/* A fault on one page of the set that another node took brings the whole set, and nothing else. */
static void test_a_set_comes_together(void **state)
{
    (void)state;
    struct cw *w = with_residency(2, PAGES + 1);
    write_all(w, 0, PAGES);
    pass(w, 2 * HOLD_MAX_NS);
    cw_fault(w, 0, 1, PAGES, true); /* of another vCPU's set */
    cw_settle(w);
    pass(w, 2 * HOLD_MAX_NS);
    write_all(w, 1, PAGES + 1);
    pass(w, 4 * HOLD_MAX_NS);
    assert_int_equal(state_at(w, 0, 0), COH_I);

    const struct coh_counters *c = coh_counters(w->node[0].coh);
    uint64_t faults = c->faults[COH_FAULT_WRITE], ahead = c->ahead;
    cw_fault(w, 0, 0, 3, true);
    cw_settle(w);
    pass(w, 2 * HOLD_MAX_NS);
    for (uint32_t p = 0; p < PAGES; p++)
        assert_int_equal(state_at(w, 0, p), COH_M);
    assert_int_equal(state_at(w, 0, PAGES), COH_I);
    assert_int_equal(c->faults[COH_FAULT_WRITE], faults + 1);
    assert_int_equal(c->ahead, ahead + PAGES - 1);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* What was read only is asked for to read only: nobody else loses it. */
static void test_a_set_keeps_its_modes(void **state)
{
    (void)state;
    struct cw *w = with_residency(2, 4);
    write_all(w, 1, 4);
    pass(w, 2 * HOLD_MAX_NS);
    for (uint32_t p = 0; p < 4; p++) {
        cw_fault(w, 0, 0, p, p % 2 == 0);
        cw_settle(w);
    }
    pass(w, 2 * HOLD_MAX_NS);
    for (uint32_t first = 0; first < 8; first++) { /* their order changes every time */
        write_all(w, 1, 4);
        pass(w, 4 * HOLD_MAX_NS);
        cw_fault(w, 0, 0, first % 4, first % 2 == 0);
        cw_settle(w);
        pass(w, 2 * HOLD_MAX_NS);
        for (uint32_t p = 0; p < 4; p++) {
            assert_int_equal(state_at(w, 0, p), p % 2 == 0 ? COH_M : COH_S);
            assert_int_equal(state_at(w, 1, p), p % 2 == 0 ? COH_I : COH_S);
        }
    }
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* Page 0 of a set is written by two nodes in turns; page 1, which other vCPUs wrote before, is only
 * read: they share it, though it comes along with page 0 each time, and reads of it began as writes
 * do. */
static void test_a_read_page_of_a_set_is_shared(void **state)
{
    (void)state;
    struct cw *w = with_residency(2, 2);
    for (uint8_t node = 0; node < 2; node++) {
        cw_fault(w, node, 1, 1, false);
        cw_settle(w);
        cw_fault(w, node, 1, 1, true);
        cw_settle(w);
        pass(w, 4 * HOLD_MAX_NS);
        pass(w, 4 * HOLD_MAX_NS);
    }
    for (uint32_t turn = 0; turn < 40; turn++) {
        uint8_t node = (uint8_t)(turn % 2);
        cw_fault(w, node, 0, 0, true);
        cw_settle(w);
        if (state_at(w, node, 1) == COH_I)
            cw_fault(w, node, 0, 1, false);
        cw_settle(w);
        pass(w, 4 * HOLD_MAX_NS);
        pass(w, 4 * HOLD_MAX_NS);
    }
    assert_true(coh_counters(w->node[0].coh)->migratory > 0);
    assert_int_equal(state_at(w, 0, 1), COH_S);
    assert_int_equal(state_at(w, 1, 1), COH_S);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

static struct cw *two_nodes(uint32_t pages)
{
    struct cw *w = with_residency(2, pages);
    write_all(w, 1, pages);
    pass(w, 2 * HOLD_MAX_NS);
    write_all(w, 0, pages);
    pass(w, 2 * HOLD_MAX_NS);
    return w;
}

/* Each page for a vCPU of its own, none of which has been here before. */
static void take_all(struct cw *w, uint8_t node, uint32_t from, uint32_t to, uint8_t vcpu)
{
    for (uint32_t p = from; p < to; p++) {
        cw_fault(w, node, (uint8_t)(vcpu + p), p, true);
        cw_settle(w);
    }
}

/* What another node takes while a vCPU waits for one page of its set comes with that page. */
static void test_lost_while_waiting(void **state)
{
    (void)state;
    struct cw *w = two_nodes(PAGES);
    take_all(w, 1, 0, 1, 2);
    uint64_t faults = coh_counters(w->node[0].coh)->faults[COH_FAULT_WRITE];
    cw_fault(w, 0, 0, 0, true);
    cw_settle(w);
    take_all(w, 1, 1, PAGES, 2);
    for (uint32_t p = 0; p < PAGES; p++)
        assert_int_equal(state_at(w, 1, p), COH_M);
    pass(w, 4 * HOLD_MAX_NS);
    pass(w, 4 * HOLD_MAX_NS);
    for (uint32_t p = 0; p < PAGES; p++)
        assert_int_equal(state_at(w, 0, p), COH_M);
    assert_int_equal(coh_counters(w->node[0].coh)->faults[COH_FAULT_WRITE], faults + 1);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* The group of a page that was never written: what is homed here and nobody's, and no more. */
static void test_zero_pages_come_in_groups(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 24);
    cfg.home_mode = COH_HOME_RANGE;
    cfg.range_end[0] = 12;
    cfg.range_end[1] = 24;
    cfg.zero_ahead = 8;
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 1, 0, 5, false);
    cw_settle(w);
    cw_fault(w, 0, 0, 2, true);
    cw_settle(w);
    for (uint32_t p = 0; p < 8; p++)
        assert_int_equal(state_at(w, 0, p), p == 5 ? COH_I : COH_M);
    assert_int_equal(state_at(w, 1, 5), COH_S);
    cw_fault(w, 0, 0, 9, true); /* 8..11 are homed here, 12..15 are not */
    cw_settle(w);
    for (uint32_t p = 8; p < 16; p++)
        assert_int_equal(state_at(w, 0, p), p < 12 ? COH_M : COH_I);
    cw_fault(w, 0, 0, 16, true); /* homed elsewhere: alone */
    cw_settle(w);
    assert_int_equal(state_at(w, 0, 16), COH_M);
    assert_int_equal(state_at(w, 0, 17), COH_I);
    assert_int_equal(coh_counters(w->node[0].coh)->ahead, 6 + 3);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimum_residency),
        cmocka_unit_test(test_set_bound),
        cmocka_unit_test(test_older_first),
        cmocka_unit_test(test_waiting_ends_residency),
        cmocka_unit_test(test_not_in_a_fault),
        cmocka_unit_test(test_a_set_comes_together),
        cmocka_unit_test(test_a_set_keeps_its_modes),
        cmocka_unit_test(test_a_read_page_of_a_set_is_shared),
        cmocka_unit_test(test_lost_while_waiting),
        cmocka_unit_test(test_zero_pages_come_in_groups),
        cmocka_unit_test(test_two_same_order),
        cmocka_unit_test(test_two_opposite_order),
        cmocka_unit_test(test_four),
        cmocka_unit_test(test_four_opposite_order),
        cmocka_unit_test(test_four_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
