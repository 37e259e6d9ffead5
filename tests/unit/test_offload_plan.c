/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans against classify.h, the meaning of the intents: random intents on every NIC family and on
 * NICs that nobody makes, every kind of link, clusters of 2 to 64 nodes, frames of all sorts. What
 * must hold is what the head of plan.h promises. A failure names the seed; PANDO_SEED repeats it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "offload/nic/nic.h"
#include "offload/plan/classify.h"
#include "offload/plan/plan.h"

#define FIELD(id) (UINT32_C(1) << RULE_##id)
#define DO(id)    (UINT32_C(1) << RULE_DO_##id)

enum {
    MTU = 1500,
    UDP_PORT = 18514,
    FRAME_MAX = 256,
    FRAMES = 400, /* a plan */
    MADE_UP_NICS = 150,
    TAG_AT = 12,
};

struct world {
    struct prng r;
    uint64_t seed;
    const struct nic *nic;
    struct plan_input in;
    uint8_t mac[WIRE_NODES_MAX][6];
    struct link own;
    struct classify classify;
    struct plan plan;
};

static struct world w;
static struct plan other;
static struct plan_change changes[2 * PLAN_RULES_MAX];

/* How often each of these was looked at: a test that never gets there shows nothing. */
static struct {
    unsigned delivered, fenced, dropped, epochs, queues, exact, counted, marked, foreign;
} seen;

static void fail_here(const char *what, int32_t rule)
{
    char text[PLAN_TEXT_MAX] = "no rule";
    if (rule >= 0)
        plan_rule_text(w.nic, &w.in, &w.plan.rule[rule], text, sizeof(text));
    fail_msg("%s: seed %llu, %s, %s, %u nodes: %s", what, (unsigned long long)w.seed, w.nic->name,
             link_kind_name(w.in.link.kind), w.in.link.nodes, text);
}

static bool chance(unsigned percent)
{
    return prng_below(&w.r, 100) < percent;
}

static uint8_t any_peer(void)
{
    uint8_t n = (uint8_t)prng_below(&w.r, w.in.link.nodes - 1u);
    return n >= w.in.link.self ? (uint8_t)(n + 1) : n;
}

/* ---- inputs -------------------------------------------------------------------------------- */

static void make_addresses(void)
{
    for (uint8_t n = 0; n < w.in.link.nodes; n++) {
        const uint8_t mac[6] = {2, 'P', 'A', 0, 1, n};
        memcpy(w.mac[n], mac, 6);
        for (unsigned i = 0; i < 16; i++)
            w.in.link.ip[n][i] = (uint8_t)(10 + i);
        w.in.link.ip[n][3] = w.in.link.ip[n][15] = n;
        if (chance(90))
            memcpy(w.in.peer_mac[n], mac, 6);
    }
}

static void make_intents(void)
{
    w.in.fenced = 0;
    w.in.epochs = 0;
    for (unsigned i = prng_below(&w.r, 4); i > 0; i--)
        w.in.fenced |= bit64(any_peer());
    for (unsigned i = prng_below(&w.r, 4); i > 0; i--) {
        w.in.epoch[w.in.epochs].node = any_peer();
        w.in.epoch[w.in.epochs++].tag = (uint32_t)prng_next(&w.r);
    }
    if (chance(3)) /* all that fit */
        for (w.in.epochs = 0; w.in.epochs < PLAN_EPOCHS_MAX; w.in.epochs++) {
            w.in.epoch[w.in.epochs].node = any_peer();
            w.in.epoch[w.in.epochs].tag = 1000 + w.in.epochs;
        }
}

static void make_input(enum link_kind kind, uint8_t nodes)
{
    memset(&w.in, 0, sizeof(w.in));
    w.in.link.kind = kind;
    w.in.link.udp_port = UDP_PORT;
    w.in.link.nodes = nodes;
    w.in.link.self = (uint8_t)prng_below(&w.r, nodes);
    w.in.ethertype = WIRE_ETHERTYPE;
    make_addresses();
    const uint8_t group[6] = {3, 'P', 'A', 1, 2, 3};
    memcpy(w.in.group_mac, group, 6);
    w.in.vlan_priority = chance(15);
    w.in.queues = (uint16_t)(1 + prng_below(&w.r, 6));
    plan_class_queues(w.in.queues, w.in.class_queue);
    for (unsigned c = 0; chance(30) && c < WIRE_CLASSES; c++)
        w.in.class_queue[c] = (uint16_t)prng_below(&w.r, w.in.queues);
    w.in.count = chance(50);
    w.in.mark = chance(50);
    w.in.replicate = chance(30);
    w.in.checksum = chance(30);
    w.in.crypto = chance(10);
    w.in.xdp = chance(10);
    if (chance(20))
        w.in.local = bit64(any_peer()) | bit64(any_peer());
    w.in.refused_intents = chance(10) ? bit64(prng_below(&w.r, INTENTS)) & UINT32_MAX : 0;
    w.in.refused_shapes = chance(10) ? prng_below(&w.r, 8) : 0;
    make_intents();
    assert_int_equal(link_init(&w.own, &w.in.link, w.in.ethertype, MTU, w.mac[w.in.link.self]), 0);
}

/* Any combination of what a table can say. */
static void make_up_nic(struct nic *nic)
{
    static const uint32_t fields[] = {
        FIELD(ETH_TYPE),
        FIELD(ETH_TYPE) | FIELD(ETH_SRC),
        FIELD(IP_DST) | FIELD(UDP_DST) | FIELD(IP_PROTO),
        FIELD(UDP_DST) | FIELD(UDP_SRC),
        FIELD(IP_SRC) | FIELD(IP_DST) | FIELD(UDP_SRC) | FIELD(UDP_DST),
        FIELD(RRDP_SOURCE),
        FIELD(RRDP_CLASS),
        FIELD(RRDP_TAG),
        FIELD(VLAN_PCP),
    };
    *nic = (struct nic){.name = "made up", .drivers = "", .title = "", .notes = "", .source = ""};
    nic->priorities = chance(50);
    nic->priority_max = (uint16_t)prng_below(&w.r, 3);
    nic->group = (uint16_t)prng_below(&w.r, 2);
    nic->flex = (enum nic_flex)(1 + prng_below(&w.r, 3));
    nic->mac_filter = chance(50);
    nic->templates = 1 + prng_below(&w.r, NIC_TEMPLATES_MAX);
    for (unsigned s = 0; s < nic->templates; s++) {
        struct nic_template *t = &nic->shape[s];
        *t = (struct nic_template){.name = "shape", .source = ""};
        t->kinds = 1 + prng_below(&w.r, (1 << LINK_KINDS) - 1);
        for (unsigned f = 0; f < PANDO_ARRAY_LEN(fields); f++) {
            t->must |= chance(20) ? fields[f] : 0;
            t->may |= chance(60) ? fields[f] : 0;
        }
        t->fates = prng_below(&w.r, 8) & (DO(QUEUE) | DO(RSS) | DO(DROP));
        t->with = (chance(50) ? DO(COUNT) : 0) | (chance(50) ? DO(MARK) : 0);
        t->tagged = chance(50);
        t->capacity = chance(50) ? 0 : (uint16_t)(1 + prng_below(&w.r, 40));
        t->flex_bytes = (uint8_t)prng_below(&w.r, 8);
        t->flex_until = (uint8_t)prng_below(&w.r, 30);
        t->flex_bits = chance(60);
    }
}

/* ---- frames -------------------------------------------------------------------------------- */

struct frame {
    uint8_t b[FRAME_MAX];
    size_t len;
    uint8_t cls, node;
    bool proper; /* as it was made; then spoiled, perhaps */
};

static void make_header(struct frame *f, uint8_t *h)
{
    for (unsigned i = 0; i < WIRE_RRDP_HEADER + 22; i++)
        h[i] = (uint8_t)prng_next(&w.r);
    h[0] = (uint8_t)((h[0] & ~3) | WIRE_VERSION);
    h[2] = f->node;
    h[3] = chance(20) ? WIRE_DST_GROUP : w.in.link.self;
    h[4] = (uint8_t)((h[4] & ~3) | f->cls);
    if (w.in.epochs > 0 && chance(50)) {
        unsigned e = prng_below(&w.r, w.in.epochs);
        put_le32(h + 16, w.in.epoch[e].tag);
        if (chance(80))
            h[2] = w.in.epoch[e].node;
    }
    f->node = h[2];
}

static void put_tag(struct frame *f, uint8_t pcp)
{
    memmove(f->b + TAG_AT + 4, f->b + TAG_AT, f->len - TAG_AT);
    const uint8_t tag[4] = {0x81, 0x00, (uint8_t)(pcp << 5), 0};
    memcpy(f->b + TAG_AT, tag, 4);
    f->len += 4;
}

/* As its sender writes it. */
static void make_proper(struct frame *f)
{
    struct link_config cfg = w.in.link;
    struct link from;
    uint32_t header = link_header_bytes(cfg.kind), len = WIRE_RRDP_HEADER + 22;
    static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    f->proper = true;
    f->node = any_peer();
    f->cls = (uint8_t)prng_below(&w.r, WIRE_CLASSES);
    make_header(f, f->b + header);
    cfg.self = f->node;
    assert_int_equal(link_init(&from, &cfg, w.in.ethertype, MTU, w.mac[f->node]), 0);
    for (uint8_t n = 0; n < cfg.nodes; n++)
        memcpy(from.next_hop[n], w.mac[n], 6);
    from.known = UINT64_MAX;
    const uint8_t *to = chance(10)   ? broadcast
                        : chance(20) ? w.in.group_mac
                                     : w.mac[w.in.link.self];
    link_write(&from, w.in.link.self, to, len, f->b);
    f->len = header + len;
    if (w.in.vlan_priority)
        put_tag(f, (uint8_t)(7 - f->cls));
}

/* One thing that makes it another frame; true: it is not proper any more. */
static bool spoil(struct frame *f)
{
    size_t link = f->len - WIRE_RRDP_HEADER - 22;
    bool udp = w.in.link.kind != LINK_ETHERNET;
    uint8_t *h = f->b + link;
    switch (prng_below(&w.r, 12)) {
    case 0: /* version */
        h[0] ^= (uint8_t)(1 + prng_below(&w.r, 3));
        return true;
    case 1: /* says to be another, or nobody */
        h[2] = (uint8_t)prng_below(&w.r, w.in.link.nodes + 10u);
        return true;
    case 2: /* class and what stands for it disagree */
        h[4] ^= (uint8_t)(1 + prng_below(&w.r, 3));
        return true;
    case 3: /* a plain UDP socket */
        if (udp)
            h[-7] ^= (uint8_t)(1 + prng_below(&w.r, 255));
        return udp;
    case 4: /* another's port */
        h[udp ? -5 : 2] ^= 1;
        return true;
    case 5: /* EtherType */
        f->b[link - (udp ? link_header_bytes(w.in.link.kind) : 14) + 13] ^= 1;
        return true;
    case 6: /* tagged, or not: with a priority tag it becomes a frame with two */
        put_tag(f, (uint8_t)prng_below(&w.r, 8));
        return true;
    case 7: /* cut off */
        f->len = prng_below(&w.r, (uint32_t)f->len + 1);
        return true;
    case 8: /* to another address */
        if (udp)
            h[-9] ^= 1;
        else
            f->b[4] ^= 1;
        return true;
    case 9: /* from another address */
        f->b[11] ^= 1;
        if (udp)
            h[w.in.link.kind == LINK_UDP4 ? -13 : -25] ^= 1;
        return true;
    case 10: /* any byte */
        f->b[prng_below(&w.r, (uint32_t)f->len)] ^= (uint8_t)(1 + prng_below(&w.r, 255));
        return true;
    default: /* nothing of ours */
        for (size_t i = 0; i < f->len; i++)
            f->b[i] = (uint8_t)prng_next(&w.r);
        return true;
    }
}

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

static void check_delivered(const struct frame *f, const struct classified *c, int32_t i)
{
    const struct rule *r = i >= 0 ? &w.plan.rule[i] : NULL;
    if (r != NULL && (r->actions & DO(DROP)) != 0)
        fail_here("a frame is dropped that is delivered", i);
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
    size_t at = f->len - WIRE_RRDP_HEADER - 22 + 16;
    if (is_fenced_epoch(f->node, get_le32(f->b + at)) &&
        wholly(INTENT_FENCE_EPOCH, RULE_ANY, f->node, get_le32(f->b + at)))
        fail_here("an old connection comes through", i);
}

/* What software gets to see: the NIC strips priority tags. */
static size_t strip(const struct frame *f, uint8_t out[FRAME_MAX])
{
    memcpy(out, f->b, f->len);
    if (!w.in.vlan_priority || f->len < 18 || out[12] != 0x81 || out[13] != 0 ||
        (out[14] & 15) != 0 || out[15] != 0)
        return f->len;
    memmove(out + 12, out + 16, f->len - 16);
    return f->len - 4;
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
    if (chance(60))
        f.proper = !spoil(&f);
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
    check_delivered(&f, &c, i);
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

static void seeded(uint64_t seed)
{
    w.seed = seed;
    w.r.state = seed;
}

static uint64_t first_seed(void)
{
    const char *s = getenv("PANDO_SEED");
    return s != NULL ? strtoull(s, NULL, 0) : 1;
}

static const uint8_t sizes[] = {2, 3, 16, 64};

static void families(void **state)
{
    (void)state;
    uint64_t seed = first_seed();
    memset(&seen, 0, sizeof(seen));
    for (unsigned n = 0; nic_at(n) != NULL; n++)
        for (enum link_kind k = 0; k < LINK_KINDS; k++)
            for (unsigned s = 0; s < PANDO_ARRAY_LEN(sizes); s++)
                for (unsigned i = 0; i < 12; i++) {
                    seeded(seed++);
                    check_nic(nic_at(n), k, sizes[s]);
                }
    print_message("%u delivered, %u fenced (%u by rules, %u old connections), %u with exact queue "
                  "(%u not 0), %u counted, %u marked, %u foreign\n",
                  seen.delivered, seen.fenced, seen.dropped, seen.epochs, seen.exact, seen.queues,
                  seen.counted, seen.marked, seen.foreign);
    assert_true(seen.delivered > 100000 && seen.fenced > 10000 && seen.dropped > 1000 &&
                seen.epochs > 1000 && seen.exact > 10000 && seen.queues > 1000 &&
                seen.counted > 1000 && seen.marked > 1000 && seen.foreign > 10000);
}

static void made_up(void **state)
{
    (void)state;
    static struct nic nic;
    uint64_t seed = first_seed();
    memset(&seen, 0, sizeof(seen));
    for (unsigned n = 0; n < MADE_UP_NICS; n++)
        for (enum link_kind k = 0; k < LINK_KINDS; k++)
            for (unsigned s = 0; s < PANDO_ARRAY_LEN(sizes); s++) {
                seeded(seed++);
                make_up_nic(&nic);
                check_nic(&nic, k, sizes[s]);
            }
    assert_true(seen.dropped > 1000 && seen.queues > 1000 && seen.counted > 1000 &&
                seen.marked > 1000);
}

/* ---- changes ------------------------------------------------------------------------------- */

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

/* From w.plan to other, step by step; `between` are frames that both plans drop. */
static void carry_out(uint32_t n, const struct frame *between, unsigned frames)
{
    static struct plan now;
    now = w.plan;
    for (uint32_t i = 0; i < n; i++) {
        if (changes[i].op == PLAN_REMOVE) {
            remove_rule(&now, &w.plan.rule[changes[i].index]);
        } else {
            const struct rule *r = &other.rule[changes[i].index];
            for (uint32_t j = 0; j < now.rules; j++)
                if (same_pattern(&now.rule[j], r))
                    fail_here("a pattern is there twice", -1);
            if (now.rules == PLAN_RULES_MAX)
                fail_here("too many rules", -1);
            now.rule[now.rules++] = *r;
        }
        bool replaces =
            changes[i].op == PLAN_REMOVE && i + 1 < n && changes[i + 1].op == PLAN_ADD &&
            same_pattern(&w.plan.rule[changes[i].index], &other.rule[changes[i + 1].index]);
        for (unsigned f = 0; f < frames && !replaces; f++)
            if (!dropped_by(&now, &between[f]))
                fail_here("a fence has a gap", -1);
    }
    assert_int_equal(now.rules, other.rules);
    assert_int_equal(missing(&now, &other), 0);
}

static void change(const struct nic *nic, enum link_kind kind, uint8_t nodes)
{
    static struct frame between[64];
    unsigned frames = 0;
    w.nic = nic;
    make_input(kind, nodes);
    assert_int_equal(plan_make(nic, &w.in, &w.plan), 0);
    uint64_t fenced = w.in.fenced;
    make_intents();
    w.in.fenced = chance(50) ? w.in.fenced | fenced : w.in.fenced;
    if (chance(30))
        memset(w.in.peer_mac[any_peer()], 7, 6);
    if (chance(20))
        w.in.class_queue[0] = (uint16_t)prng_below(&w.r, w.in.queues);
    assert_int_equal(plan_make(nic, &w.in, &other), 0);
    for (unsigned i = 0; i < 300 && frames < PANDO_ARRAY_LEN(between); i++) {
        make_proper(&between[frames]);
        frames += dropped_by(&w.plan, &between[frames]) && dropped_by(&other, &between[frames]);
    }
    uint32_t n = plan_diff(&w.plan, &other, changes);
    assert_int_equal(n, missing(&w.plan, &other) + missing(&other, &w.plan));
    carry_out(n, between, frames);
    seen.dropped += frames;
    seen.exact += n;
    assert_int_equal(plan_diff(&other, &other, changes), 0);
}

static void diffs(void **state)
{
    (void)state;
    uint64_t seed = first_seed();
    memset(&seen, 0, sizeof(seen));
    for (unsigned n = 0; nic_at(n) != NULL; n++)
        for (enum link_kind k = 0; k < LINK_KINDS; k++)
            for (unsigned s = 0; s < PANDO_ARRAY_LEN(sizes); s++)
                for (unsigned i = 0; i < 6; i++) {
                    seeded(seed++);
                    change(nic_at(n), k, sizes[s]);
                }
    assert_true(seen.dropped > 1000 && seen.exact > 1000);
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
        seeded(1);
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
    seeded(2);
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
#undef BAD
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
        cmocka_unit_test(families),  cmocka_unit_test(made_up),       cmocka_unit_test(diffs),
        cmocka_unit_test(one_fence), cmocka_unit_test(queue_layouts), cmocka_unit_test(bad_inputs),
        cmocka_unit_test(conflicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
