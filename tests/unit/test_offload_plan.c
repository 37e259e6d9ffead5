/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans against classify.h, the meaning of the intents: random intents on every NIC family and on
 * NICs that nobody makes, every kind of link, clusters of 2 to 64 nodes, frames of all sorts. What
 * must hold is what the head of plan.h promises. Seeds are new in each run. A failure names its
 * seed; with PANDO_SEED each test begins with that one.
 */
#include "offload_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = 400,  /* a plan */
    MADE_UP = 600, /* plans at least; then as many as fit into this: */
    MADE_UP_SECONDS = 2,
};

/* How often each of these was looked at: a test that never gets there shows nothing. */
static struct {
    unsigned delivered, fenced, dropped, epochs, queues, exact, counted, marked, foreign;
    unsigned padding;
} seen;

/* ---- what must hold ------------------------------------------------------------------------ */

static const struct intent_plan *intent_of(enum intent_type type, uint8_t cls, uint8_t node,
                                           uint32_t tag)
{
    for (uint32_t i = 0; i < w.plan.intents; i++) {
        const struct intent *p = &w.plan.intent[i].intent;
        if (p->type == type && p->cls == cls && p->node == node && p->tag == tag)
            return &w.plan.intent[i];
    }
    return NULL;
}

static bool wholly(enum intent_type type, uint8_t cls, uint8_t node, uint32_t tag)
{
    const struct intent_plan *p = intent_of(type, cls, node, tag);
    return p != NULL && p->by == BACKEND_HARDWARE && !p->partly;
}

static bool is_fenced_epoch(uint8_t node, uint32_t tag)
{
    for (uint32_t i = 0; i < w.in.epochs; i++)
        if (w.in.epoch[i].node == node && w.in.epoch[i].tag == tag)
            return true;
    return false;
}

/* The kernel's, or another program's, whatever comes behind the field that says so. */
static bool is_foreign(enum link_verdict v)
{
    return v == LINK_TAGGED || v == LINK_ETHERTYPE || v == LINK_IP_VERSION || v == LINK_PROTOCOL ||
           v == LINK_PORT;
}

static void check_delivered(const struct frame *f, bool whole, const struct classified *c,
                            int32_t i)
{
    const struct rule *r = i >= 0 ? &w.plan.rule[i] : NULL;
    bool drops = r != NULL && (r->actions & DO(DROP)) != 0;
    if (drops && whole)
        fail_here("a frame is dropped that is delivered", i);
    seen.padding += drops;
    if (!f->proper)
        return;
    uint16_t queue = r != NULL ? r->queue : 0;
    if (wholly(INTENT_STEER, c->cls, RULE_ANY, 0)) {
        seen.exact++;
        seen.queues += queue != 0;
        if (queue != c->queue)
            fail_here("another queue", i);
    }
    if (wholly(INTENT_COUNT, c->cls, c->node, 0)) {
        seen.counted++;
        if (r == NULL || (r->actions & DO(COUNT)) == 0 || r->cls != c->cls || r->node != c->node)
            fail_here("not counted as what it is", i);
    }
    bool marks = r != NULL && (r->actions & DO(MARK)) != 0;
    if (wholly(INTENT_MARK, c->cls, c->node, 0)) {
        seen.marked++;
        if (!marks)
            fail_here("not marked", i);
    }
    if (marks && r->mark != plan_mark(c->cls, c->node))
        fail_here("marked as another", i);
}

static void check_fenced(const struct frame *f, const struct classified *c, int32_t i)
{
    bool drops = i >= 0 && (w.plan.rule[i].actions & DO(DROP)) != 0;
    seen.fenced++;
    seen.dropped += drops;
    if (!f->proper || drops)
        return;
    if (c->verdict == CLASSIFY_NODE && wholly(INTENT_FENCE_NODE, RULE_ANY, f->node, 0))
        fail_here("a fenced node comes through", i);
    size_t at = f->len - WIRE_RRDP_HEADER - BEHIND_HEADER + 16;
    if (is_fenced_epoch(f->node, get_le32(f->b + at)) &&
        wholly(INTENT_FENCE_EPOCH, RULE_ANY, f->node, get_le32(f->b + at)))
        fail_here("an old connection comes through", i);
}

/* Of an exact copy, so that a sanitizer sees each byte read beyond the frame. */
static int32_t apply_exact(const struct frame *f)
{
    uint8_t *copy = malloc(f->len > 0 ? f->len : 1);
    assert_non_null(copy);
    memcpy(copy, f->b, f->len);
    int32_t i = plan_apply(&w.plan, w.in.link.kind, copy, f->len);
    free(copy);
    return i;
}

static void check_frame(void)
{
    static struct frame f;
    uint8_t plain[FRAME_MAX];
    struct link_frame in = {0};
    make_proper(&f);
    if (chance(60) && spoil(&f))
        f.proper = false;
    size_t len = strip(&f, plain);
    enum link_verdict v = link_read(&w.own, plain, len, &in);
    int32_t i = apply_exact(&f);
    bool untagged = w.in.vlan_priority && len == f.len;
    if (is_foreign(v) || untagged) {
        seen.foreign++;
        if (i >= 0)
            fail_here("a rule takes what is not Pando's", i);
        return;
    }
    if (v != LINK_OK)
        return;
    /* Its sender's claim and its address may be of two nodes: then it is not proper. */
    static const uint8_t none[6];
    if (f.proper && w.in.link.kind == LINK_ETHERNET && memcmp(w.in.peer_mac[f.node], none, 6) != 0)
        f.proper = memcmp(in.src, w.in.peer_mac[f.node], 6) == 0;
    struct classified c = classify_frame(&w.classify, &in);
    if (f.proper) {
        assert_int_equal(c.cls, f.cls);
        assert_int_equal(c.node, f.node);
    }
    if (c.verdict != CLASSIFY_DELIVER) {
        seen.epochs += c.verdict == CLASSIFY_EPOCH;
        check_fenced(&f, &c, i);
        return;
    }
    seen.delivered++;
    check_delivered(&f, in.len >= WIRE_RRDP_HEADER, &c, i);
}

static void check_rule(const struct rule *r, uint32_t made[NIC_TEMPLATES_MAX])
{
    const struct nic_template *t = &w.nic->shape[r->shape];
    uint32_t fate = r->actions & (DO(QUEUE) | DO(RSS) | DO(DROP) | DO(REPLICATE));
    assert_true(r->shape < w.nic->templates);
    made[r->shape]++;
    assert_int_equal(r->fields & t->must, t->must);
    assert_int_equal(r->fields & ~(t->must | t->may), 0);
    assert_true(is_pow2(fate) && (fate & t->fates) != 0);
    assert_int_equal(r->actions & ~(fate | t->with), 0);
    assert_true(r->queue < w.in.queues);
    assert_true(r->priority <= (w.nic->priorities ? w.nic->priority_max : 0));
    assert_true((w.in.refused_shapes >> r->shape & 1) == 0 && r->transfer == t->transfer);
    assert_true(!r->tagged || t->tagged);
    for (unsigned f = 0; f < RULE_FIELDS; f++)
        if ((r->fields >> f & 1) == 0)
            for (unsigned b = 0; b < RULE_VALUE_MAX; b++)
                assert_int_equal(r->value[f][b], 0);
}

/* Our header is matched as far as the NIC sees it. */
static void check_flex(const struct rule *r)
{
    const struct nic_template *t = &w.nic->shape[r->shape];
    static const struct {
        enum rule_field field;
        uint8_t at, bytes;
    } in[] = {{RULE_RRDP_SOURCE, 2, 1}, {RULE_RRDP_CLASS, 4, 1}, {RULE_RRDP_TAG, 16, 4}};
    uint32_t bytes = 0;
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(in); i++) {
        if ((r->fields >> in[i].field & 1) == 0)
            continue;
        bytes += in[i].bytes;
        assert_true(in[i].at + in[i].bytes <= t->flex_until);
        assert_true(in[i].field != RULE_RRDP_CLASS || t->flex_bits);
    }
    assert_true(bytes <= t->flex_bytes);
}

static void check_plan(void)
{
    uint32_t a = 0, b = 0, made[NIC_TEMPLATES_MAX] = {0};
    for (uint32_t i = 0; i < w.plan.rules; i++)
        check_rule(&w.plan.rule[i], made);
    for (uint32_t i = 0; i < w.plan.rules; i++)
        check_flex(&w.plan.rule[i]);
    for (unsigned s = 0; s < w.nic->templates; s++)
        if (w.nic->shape[s].capacity != NIC_RULES_UNKNOWN)
            assert_true(made[s] <= w.nic->shape[s].capacity);
    if (plan_conflict(w.nic, &w.plan, &a, &b))
        fail_here("two rules are in conflict", (int32_t)b);
    for (uint32_t i = 0; i < w.plan.intents; i++) {
        const struct intent_plan *p = &w.plan.intent[i];
        bool served = false;
        for (uint32_t n = 0; n < w.plan.rules; n++)
            served = served || plan_serves(&w.plan.rule[n], &p->intent);
        if (p->by != BACKEND_HARDWARE && p->intent.type != INTENT_STEER)
            assert_false(served);
        assert_true((p->reason[0] == '\0') == (p->by == BACKEND_HARDWARE && !p->partly));
    }
}

static void check_nic(const struct nic *nic, enum link_kind kind, uint8_t nodes)
{
    w.nic = nic;
    make_input(kind, nodes);
    memset(&w.plan, 0xEE, sizeof(w.plan));
    assert_int_equal(plan_make(nic, &w.in, &w.plan), 0);
    classify_init(&w.classify, &w.in);
    check_plan();
    for (unsigned i = 0; i < FRAMES; i++)
        check_frame();
}

static void families(void **state)
{
    (void)state;
    uint64_t first = first_seed();
    memset(&seen, 0, sizeof(seen));
    for (unsigned i = 0; i < 12 * WORLDS * families_known(); i++) {
        const struct nic *nic;
        uint8_t nodes;
        enum link_kind kind = seeded(first + i, &nodes, &nic);
        check_nic(nic, kind, nodes);
    }
    print_message("%u delivered, %u fenced (%u by rules, %u old connections), %u with exact queue "
                  "(%u not 0), %u counted, %u marked, %u foreign, %u dropped for their padding\n",
                  seen.delivered, seen.fenced, seen.dropped, seen.epochs, seen.exact, seen.queues,
                  seen.counted, seen.marked, seen.foreign, seen.padding);
    assert_true(seen.delivered > 100000 && seen.fenced > 10000 && seen.dropped > 1000 &&
                seen.epochs > 1000 && seen.exact > 10000 && seen.queues > 1000 &&
                seen.counted > 1000 && seen.marked > 1000 && seen.foreign > 10000 &&
                seen.padding > 0);
}

static void made_up(void **state)
{
    (void)state;
    static struct nic nic;
    uint64_t first = first_seed(), n = 0;
    double end = now(CLOCK_MONOTONIC) + MADE_UP_SECONDS;
    memset(&seen, 0, sizeof(seen));
    for (; n < MADE_UP || now(CLOCK_MONOTONIC) < end; n++) {
        const struct nic *known;
        uint8_t nodes;
        enum link_kind kind = seeded(first + n, &nodes, &known);
        make_up_nic(&nic);
        check_nic(&nic, kind, nodes);
    }
    print_message("%llu NICs\n", (unsigned long long)n);
    assert_true(seen.dropped > 1000 && seen.queues > 1000 && seen.counted > 1000 &&
                seen.marked > 1000);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void queue_layouts(void **state)
{
    (void)state;
    uint16_t q[WIRE_CLASSES];
    for (uint16_t n = 0; n <= PLAN_QUEUES_MAX; n++) {
        plan_class_queues(n, q);
        for (unsigned c = 0; c < WIRE_CLASSES; c++) {
            assert_true(q[c] < (n > 0 ? n : 1));
            assert_true(n < 2 || c == 0 || q[c] != q[0]);
        }
        assert_true(n < 2 || q[0] != 0);
    }
}

static void refuses(const char *what)
{
    w.plan.rules = 77;
    if (plan_make(nic_by_name("mlx5"), &w.in, &w.plan) != -EINVAL || w.plan.rules != 77)
        fail_msg("taken: %s", what);
}

static void bad_inputs(void **state)
{
    (void)state;
    struct plan_input good;
    w.r.state = 2;
    make_input(LINK_UDP4, 3);
    w.in.link.self = 0;
    w.in.fenced = w.in.local = w.in.epochs = 0;
    w.in.queues = 2;
    plan_class_queues(2, w.in.class_queue);
    good = w.in;
    assert_int_equal(plan_make(nic_by_name("mlx5"), &w.in, &w.plan), 0);
#define BAD(change)                                                                                \
    do {                                                                                           \
        w.in = good;                                                                               \
        change;                                                                                    \
        refuses(#change);                                                                          \
    } while (0)
    BAD(w.in.link.kind = LINK_KINDS);
    BAD(w.in.link.nodes = 1);
    BAD(w.in.link.nodes = 65);
    BAD(w.in.link.self = 3);
    BAD(w.in.link.udp_port = 0);
    BAD(w.in.queues = 0);
    BAD(w.in.queues = PLAN_QUEUES_MAX + 1);
    BAD(w.in.class_queue[2] = 2);
    BAD(w.in.fenced = 1);
    BAD(w.in.fenced = bit64(3));
    BAD(w.in.local = bit64(3));
    BAD(w.in.epochs = PLAN_EPOCHS_MAX + 1);
    BAD(w.in.epochs = 1; w.in.epoch[0].node = 0);
    BAD(w.in.epochs = 1; w.in.epoch[0].node = 3);
    BAD(w.in.epochs = 2; w.in.epoch[0].node = w.in.epoch[1].node = 1;
        w.in.epoch[0].tag = w.in.epoch[1].tag = 5);
    BAD(memcpy(w.in.link.ip[2], w.in.link.ip[0], 4));
    BAD(w.in.link.kind = LINK_UDP6; memcpy(w.in.link.ip[2], w.in.link.ip[1], 16));
    BAD(w.in.link.kind = LINK_ETHERNET; memcpy(w.in.peer_mac[1], w.mac[2], 6);
        memcpy(w.in.peer_mac[2], w.mac[2], 6));
#undef BAD
    w.in = good; /* two that are not known, and addresses that the link does not use */
    memset(w.in.peer_mac, 0, sizeof(w.in.peer_mac));
    assert_int_equal(plan_make(nic_by_name("mlx5"), &w.in, &w.plan), 0);
    w.in.link.kind = LINK_ETHERNET;
    memset(w.in.link.ip, 0, sizeof(w.in.link.ip));
    assert_int_equal(plan_make(nic_by_name("mlx5"), &w.in, &w.plan), 0);
}

/* What is not ours, and two rules that a priority keeps apart or does not. */
static void conflicts(void **state)
{
    (void)state;
    uint32_t a = 0, b = 0;
    struct nic plain = {.name = "plain"}, ordered = {.name = "ordered", .priorities = true};
    memset(&w.plan, 0, sizeof(w.plan));
    w.plan.rules = 2;
    w.plan.rule[0] = (struct rule){.fields = FIELD(ETH_SRC), .actions = DO(DROP)};
    w.plan.rule[1] = (struct rule){.fields = FIELD(ETH_TYPE), .actions = DO(QUEUE)};
    assert_true(plan_conflict(&plain, &w.plan, &a, &b) && a == 0 && b == 1);
    assert_true(plan_conflict(&ordered, &w.plan, &a, &b));
    w.plan.rule[1].priority = 1;
    assert_true(plan_conflict(&plain, &w.plan, &a, &b));
    assert_false(plan_conflict(&ordered, &w.plan, &a, &b));
    w.plan.rule[1] = (struct rule){.fields = FIELD(ETH_SRC), .actions = DO(QUEUE)};
    w.plan.rule[1].value[RULE_ETH_SRC][5] = 1;
    assert_false(plan_conflict(&plain, &w.plan, &a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families),   cmocka_unit_test(made_up),   cmocka_unit_test(queue_layouts),
        cmocka_unit_test(bad_inputs), cmocka_unit_test(conflicts),
    };
    print_message("seeds from %llu\n", (unsigned long long)first_seed());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
