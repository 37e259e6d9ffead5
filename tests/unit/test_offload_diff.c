/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From plan to plan: the changes of plan_diff lead there, in the order that its comment promises,
 * in a device with room and in one that is full; what comes through a gap is dropped by classify.h.
 */
#include "offload_world.h"

#include <string.h>

enum { MADE_UP = 1800 };

static struct plan other;
static struct plan_change changes[2 * PLAN_RULES_MAX];

static struct {
    unsigned changes, frames, replaced, full; /* gaps: with room for all rules, and without */
} seen;

static bool dropped_by(const struct plan *p, const struct frame *f)
{
    int32_t i = plan_apply(p, w.in.link.kind, f->b, f->len);
    return i >= 0 && (p->rule[i].actions & DO(DROP)) != 0;
}

static uint32_t missing(const struct plan *a, const struct plan *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->rules; i++) {
        uint32_t j = 0;
        while (j < b->rules && !plan_same_rule(&a->rule[i], &b->rule[j]))
            j++;
        n += j == b->rules;
    }
    return n;
}

static void remove_rule(struct plan *p, const struct rule *r)
{
    uint32_t i = 0;
    while (i < p->rules && !plan_same_rule(&p->rule[i], r))
        i++;
    assert_true(i < p->rules);
    p->rule[i] = p->rule[--p->rules];
}

static bool same_pattern(const struct rule *a, const struct rule *b)
{
    struct rule c = *b;
    c.actions = a->actions;
    c.queue = a->queue;
    c.mark = a->mark;
    c.copies = a->copies;
    return plan_same_rule(a, &c);
}

static bool add_rule(struct plan *p, uint32_t room, const struct rule *r)
{
    for (uint32_t j = 0; j < p->rules; j++)
        if (same_pattern(&p->rule[j], r))
            fail_here("a pattern is there twice", -1);
    if (p->rules == room)
        return false;
    p->rule[p->rules++] = *r;
    return true;
}

/* Frames that both plans drop, and so both inputs. */
struct between {
    struct frame frame[64];
    unsigned n;
};

/* Rules of `other` that the device does not have yet, but a gap is allowed for. */
static bool waits[PLAN_RULES_MAX];

static void check_gap(const struct plan *p, const struct between *b, unsigned *seen_gaps)
{
    for (unsigned i = 0; i < b->n; i++) {
        const struct frame *f = &b->frame[i];
        if (dropped_by(p, f))
            continue;
        (*seen_gaps)++;
        if (!waits[plan_apply(&other, w.in.link.kind, f->b, f->len)])
            fail_here("a fence has a gap", -1);
    }
}

static bool replaces(uint32_t i, uint32_t n)
{
    return changes[i].op == PLAN_REMOVE && i + 1 < n && changes[i + 1].op == PLAN_ADD &&
           same_pattern(&w.plan.rule[changes[i].index], &other.rule[changes[i + 1].index]);
}

/* From w.plan to other, step by step, in a device with room for so many rules. */
static void carry_out(uint32_t n, uint32_t room, const struct between *b, unsigned *seen_gaps)
{
    static struct plan at;
    memset(waits, 0, sizeof(waits));
    at = w.plan;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = changes[i].index;
        if (changes[i].op == PLAN_ADD)
            waits[index] = !add_rule(&at, room, &other.rule[index]);
        else
            remove_rule(&at, &w.plan.rule[index]);
        if (replaces(i, n))
            waits[changes[i + 1].index] = true;
        check_gap(&at, b, seen_gaps);
    }
    for (uint32_t i = 0; i < other.rules; i++)
        if (waits[i])
            assert_true(add_rule(&at, room, &other.rule[i]));
    memset(waits, 0, sizeof(waits));
    check_gap(&at, b, seen_gaps);
    assert_int_equal(at.rules, other.rules);
    assert_int_equal(missing(&at, &other), 0);
}

/* Software drops it, by an input. */
static bool fenced_by(const struct classify *c, const struct frame *f)
{
    uint8_t plain[FRAME_MAX];
    struct link_frame in = {0};
    size_t len = strip(f, plain);
    return link_read(&w.own, plain, len, &in) == LINK_OK &&
           classify_frame(c, &in).verdict != CLASSIFY_DELIVER;
}

static void make_between(struct between *b, const struct classify *from, const struct classify *to)
{
    b->n = 0;
    for (unsigned i = 0; i < 300 && b->n < PANDO_ARRAY_LEN(b->frame); i++) {
        struct frame *f = &b->frame[b->n];
        make_proper(f);
        if (!f->proper || !dropped_by(&w.plan, f) || !dropped_by(&other, f))
            continue;
        if (!fenced_by(from, f) || !fenced_by(to, f))
            fail_here("software has a gap", -1);
        b->n++;
    }
}

static void change(const struct nic *nic, enum link_kind kind, uint8_t nodes)
{
    static struct between between;
    static struct classify to;
    static const uint8_t elsewhere[6] = {2, 'P', 'A', 0, 2, 0};
    w.nic = nic;
    make_input(kind, nodes);
    assert_int_equal(plan_make(nic, &w.in, &w.plan), 0);
    classify_init(&w.classify, &w.in);
    uint64_t fenced = w.in.fenced;
    make_intents();
    w.in.fenced = chance(50) ? w.in.fenced | fenced : w.in.fenced;
    if (chance(30))
        memcpy(w.in.peer_mac[any_peer()], elsewhere, 6);
    w.in.count ^= chance(10);
    if (chance(20))
        w.in.class_queue[0] = (uint16_t)prng_below(&w.r, w.in.queues);
    assert_int_equal(plan_make(nic, &w.in, &other), 0);
    classify_init(&to, &w.in);
    make_between(&between, &w.classify, &to);
    uint32_t n = plan_diff(&w.plan, &other, changes);
    uint32_t full = w.plan.rules > other.rules ? w.plan.rules : other.rules;
    assert_int_equal(n, missing(&w.plan, &other) + missing(&other, &w.plan));
    carry_out(n, PLAN_RULES_MAX, &between, &seen.replaced);
    carry_out(n, full, &between, &seen.full);
    seen.frames += between.n;
    seen.changes += n;
    assert_int_equal(plan_diff(&other, &other, changes), 0);
}

static bool saw_gaps(void)
{
    return seen.replaced > 0 && seen.full > seen.replaced;
}

static void diffs(void **state)
{
    (void)state;
    uint64_t first = first_seed();
    memset(&seen, 0, sizeof(seen));
    for (unsigned i = 0; i < 6 * WORLDS * families_known(); i++) {
        const struct nic *nic;
        uint8_t nodes;
        enum link_kind kind = seeded(first + i, &nodes, &nic);
        change(nic, kind, nodes);
    }
    /* Gaps are rare: on until both kinds were seen. */
    for (unsigned i = 0; i < MADE_UP || (i < 50 * MADE_UP && !saw_gaps()); i++) {
        static struct nic nic;
        const struct nic *known;
        uint8_t nodes;
        enum link_kind kind = seeded(first + i, &nodes, &known);
        make_up_nic(&nic);
        change(&nic, kind, nodes);
    }
    print_message("%u changes, %u frames that both drop; they see %u gaps, %u in full devices\n",
                  seen.changes, seen.frames, seen.replaced, seen.full);
    assert_true(seen.frames > 1000 && seen.changes > 1000 && saw_gaps());
}

/* One more fence is one more rule, or those of one node in the place of what they did before. */
static void one_fence(void **state)
{
    (void)state;
    static const struct {
        const char *nic;
        enum link_kind kind;
        uint32_t adds, removes;
    } row[] = {
        {"bluefield2", LINK_ETHERNET, 1, 0},
        {"mlx5", LINK_UDP6, 1, 0},
        {"tap", LINK_UDP4, 1, 0},
        {"i40e", LINK_UDP4, 4, 3},
        {"ice", LINK_ETHERNET, 4, 3},
        {"bnxt", LINK_UDP4, 4, 3},
        {"igb", LINK_UDP4, 0, 0},
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(row); i++) {
        w.r.state = 1;
        make_input(row[i].kind, 16);
        w.in.fenced = w.in.epochs = 0;
        w.in.count = w.in.mark = w.in.vlan_priority = false;
        w.in.refused_intents = w.in.refused_shapes = 0;
        w.in.queues = 4;
        plan_class_queues(4, w.in.class_queue);
        w.nic = nic_by_name(row[i].nic);
        assert_int_equal(plan_make(w.nic, &w.in, &w.plan), 0);
        w.in.fenced = bit64(any_peer());
        assert_int_equal(plan_make(w.nic, &w.in, &other), 0);
        uint32_t adds = 0, n = plan_diff(&w.plan, &other, changes);
        for (uint32_t c = 0; c < n; c++)
            adds += changes[c].op == PLAN_ADD;
        assert_int_equal(adds, row[i].adds);
        assert_int_equal(n - adds, row[i].removes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(diffs), cmocka_unit_test(one_fence)};
    print_message("seeds from %llu\n", (unsigned long long)first_seed());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
