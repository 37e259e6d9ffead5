/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offload/flow without a NIC: rules in rte_flow's words; how rules come into a device that refuses,
 * is slow, is full, or does not let go; fences, counters and the text over a pair of ports; and all
 * NICs of the tables as a model in front of the port (plan_apply): with the NIC, without it and
 * with a NIC that takes some rules only, the same frames are handed on.
 */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "offload/flow/install.h"
#include "offload/flow/offload.h"
#include "offload/flow/pattern.h"
#include "offload/plan/classify.h"

enum { SELF = 0, NODES = 5, MTU = 1400, OLD = 0x0DD, NEW = 0x4EE, MS = 1000000 };

#define F(field)   (1u << RULE_##field)
#define DO(action) (1u << RULE_DO_##action)

/* ---- a device ------------------------------------------------------------------------------ */

struct fake {
    struct flow_device device;
    struct plan has; /* what it was given, gaps closed */
    uintptr_t handle[PLAN_RULES_MAX], last;
    uint32_t capacity, calls;
    uint64_t clock_ns, cost_ns;
    bool stuck;       /* removes nothing */
    uint32_t never;   /* actions that it takes no rule of */
    uint32_t lies;    /* ... that it validates, and does not create */
    const char *says; /* ... with these words; NULL: its own */
    uint64_t frames_a_rule;
};

static struct fake fake;

static uint64_t fake_clock(void)
{
    return fake.clock_ns;
}

static int fake_validate(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    if ((r->actions & f->never) == 0)
        return 0;
    snprintf(why, FLOW_WHY_MAX, "action not supported");
    return -ENOTSUP;
}

static int fake_create(struct flow_device *d, const struct rule *r, void **ret_handle,
                       char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    f->calls++;
    f->clock_ns += f->cost_ns;
    if ((r->actions & f->lies) != 0) {
        snprintf(why, FLOW_WHY_MAX, "no room in \"TCAM\" \\ %u", f->has.rules);
        if (f->says != NULL)
            snprintf(why, FLOW_WHY_MAX, "%s", f->says);
        return -EINVAL;
    }
    if (fake_validate(d, r, why) != 0)
        return -ENOTSUP;
    if (f->has.rules == f->capacity) {
        snprintf(why, FLOW_WHY_MAX, "table full");
        return -ENOSPC;
    }
    for (uint32_t k = 0; k < f->has.rules; k++) { /* as drivers do: one rule a pattern */
        struct rule same = f->has.rule[k];
        same.actions = r->actions;
        same.queue = r->queue;
        same.mark = r->mark;
        assert_false(plan_same_rule(&same, r));
    }
    f->has.rule[f->has.rules] = *r;
    f->handle[f->has.rules++] = ++f->last;
    *ret_handle = (void *)f->last;
    return 0;
}

static int fake_destroy(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    f->calls++;
    f->clock_ns += f->cost_ns;
    if (f->stuck) {
        snprintf(why, FLOW_WHY_MAX, "busy");
        return -EBUSY;
    }
    for (uint32_t k = 0; k < f->has.rules; k++)
        if (f->handle[k] == (uintptr_t)handle) {
            f->has.rules--;
            memmove(&f->has.rule[k], &f->has.rule[k + 1],
                    (f->has.rules - k) * sizeof(f->has.rule[0]));
            memmove(&f->handle[k], &f->handle[k + 1], (f->has.rules - k) * sizeof(f->handle[0]));
            return 0;
        }
    fail_msg("a rule is removed twice");
    return -ENOENT;
}

static int fake_count(struct flow_device *d, void *handle, uint64_t *ret_frames,
                      uint64_t *ret_bytes)
{
    struct fake *f = (struct fake *)d;
    (void)handle;
    f->calls++;
    *ret_frames = f->frames_a_rule;
    *ret_bytes = f->frames_a_rule * 100;
    return 0;
}

static void fake_reset(void)
{
    static const struct flow_device_ops ops = {.validate = fake_validate,
                                               .create = fake_create,
                                               .destroy = fake_destroy,
                                               .count = fake_count};
    memset(&fake, 0, sizeof(fake));
    fake.device.ops = &ops;
    fake.capacity = PLAN_RULES_MAX;
}

/* ---- patterns ------------------------------------------------------------------------------ */

static void make(const struct rule *r, enum link_kind kind, enum nic_flex flex,
                 struct flow_rule *out)
{
    const struct flow_words w = {.kind = kind, .flex = flex};
    const char *why;
    assert_int_equal(flow_rule_make(r, &w, out, &why), 0);
}

static void test_pattern_ethernet(void **state)
{
    struct rule r = {.fields = F(ETH_SRC) | F(ETH_TYPE),
                     .actions = DO(QUEUE) | DO(COUNT) | DO(MARK),
                     .queue = 3,
                     .mark = plan_mark(1, 2),
                     .priority = 4,
                     .group = 1};
    struct flow_rule f;
    (void)state;
    memcpy(r.value[RULE_ETH_SRC], "\x02\x00\x00\x00\x00\x09", 6);
    memcpy(r.value[RULE_ETH_TYPE], "\x88\xb5", 2);
    make(&r, LINK_ETHERNET, NIC_FLEX_NONE, &f);
    assert_true(f.attr.ingress && !f.attr.transfer && f.attr.priority == 4 && f.attr.group == 1);
    const struct rte_flow_item_eth *spec = f.item[0].spec, *mask = f.item[0].mask;
    assert_int_equal(f.item[0].type, RTE_FLOW_ITEM_TYPE_ETH);
    assert_memory_equal(&spec->hdr.src_addr, "\x02\x00\x00\x00\x00\x09", 6);
    assert_memory_equal(&spec->hdr.ether_type, "\x88\xb5", 2);
    assert_memory_equal(mask, "\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 14);
    assert_int_equal(f.item[1].type, RTE_FLOW_ITEM_TYPE_END);
    assert_int_equal(f.action[0].type, RTE_FLOW_ACTION_TYPE_COUNT);
    assert_int_equal(((const struct rte_flow_action_mark *)f.action[1].conf)->id, plan_mark(1, 2));
    assert_int_equal(((const struct rte_flow_action_queue *)f.action[2].conf)->index, 3);
    assert_int_equal(f.action[3].type, RTE_FLOW_ACTION_TYPE_END);

    r.tagged = true; /* the type then is the tag's */
    r.fields |= F(VLAN_PCP);
    r.value[RULE_VLAN_PCP][0] = 6;
    make(&r, LINK_ETHERNET, NIC_FLEX_NONE, &f);
    const struct rte_flow_item_vlan *tag = f.item[1].spec, *tag_mask = f.item[1].mask;
    assert_int_equal(f.item[1].type, RTE_FLOW_ITEM_TYPE_VLAN);
    assert_memory_equal(tag, "\xc0\x00\x88\xb5", 4);
    assert_memory_equal(tag_mask, "\xef\xff\xff\xff", 4); /* of no VLAN */
    mask = f.item[0].mask;
    assert_memory_equal(mask, "\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\0\0", 14);
    r.fields &= ~F(VLAN_PCP);
    make(&r, LINK_UDP4, NIC_FLEX_NONE, &f);
    tag_mask = f.item[1].mask;
    assert_memory_equal(tag_mask, "\x0f\xff\0\0", 4);
}

static void test_pattern_udp(void **state)
{
    struct rule r = {.fields = F(IP_SRC) | F(UDP_SRC) | F(UDP_DST), .actions = DO(DROP)};
    struct flow_rule f;
    (void)state;
    memcpy(r.value[RULE_IP_SRC], "\xc0\x00\x02\x09", 4);
    memcpy(r.value[RULE_UDP_SRC], "\xc0\x01", 2);
    memcpy(r.value[RULE_UDP_DST], "\x88\xb5", 2);
    make(&r, LINK_UDP4, NIC_FLEX_NONE, &f);
    assert_null(f.item[0].spec); /* any Ethernet header */
    const struct rte_flow_item_ipv4 *ip = f.item[1].spec, *ip_mask = f.item[1].mask;
    assert_memory_equal(&ip->hdr.src_addr, "\xc0\x00\x02\x09", 4);
    assert_true(ip_mask->hdr.src_addr == UINT32_MAX && ip_mask->hdr.dst_addr == 0 &&
                ip_mask->hdr.next_proto_id == 0);
    const struct rte_flow_item_udp *udp = f.item[2].spec;
    assert_memory_equal(udp, "\xc0\x01\x88\xb5", 4);
    assert_int_equal(f.action[0].type, RTE_FLOW_ACTION_TYPE_DROP);
    r.actions = DO(RSS);
    r.queue = 2;
    make(&r, LINK_UDP6, NIC_FLEX_NONE, &f);
    assert_int_equal(f.item[1].type, RTE_FLOW_ITEM_TYPE_IPV6);
    const struct rte_flow_action_rss *rss = f.action[0].conf;
    assert_true(rss->queue_num == 1 && rss->queue[0] == 2);
}

static void test_pattern_own_header(void **state)
{
    struct rule r = {.fields = F(ETH_TYPE) | F(RRDP_SOURCE) | F(RRDP_CLASS), .actions = DO(DROP)};
    struct flow_rule f;
    const char *why;
    (void)state;
    memcpy(r.value[RULE_ETH_TYPE], "\x88\xb5", 2);
    r.value[RULE_RRDP_SOURCE][0] = 7;
    r.value[RULE_RRDP_CLASS][0] = 2;
    make(&r, LINK_ETHERNET, NIC_FLEX_RAW, &f);
    const struct rte_flow_item_raw *raw = f.item[1].spec, *mask = f.item[1].mask;
    assert_true(raw->relative && raw->offset == 2 && raw->length == 4); /* whole words */
    assert_memory_equal(raw->pattern, "\x07\x00\x02\x00", 4);
    assert_memory_equal(mask->pattern, "\xff\x00\x03\x00", 4);
    r.fields = F(ETH_TYPE) | F(RRDP_TAG);
    memcpy(r.value[RULE_RRDP_TAG], "\x11\x22\x33\x44", 4);
    make(&r, LINK_ETHERNET, NIC_FLEX_RAW, &f);
    assert_true(raw->offset == 16 && raw->length == 4);
    make(&r, LINK_ETHERNET, NIC_FLEX_FRAME, &f); /* all in digits; nothing besides */
    raw = f.item[0].spec;
    assert_true(f.item[1].type == RTE_FLOW_ITEM_TYPE_END &&
                raw->length == 2 * (14 + WIRE_RRDP_HEADER));
    assert_memory_equal(raw->pattern + 2 * 12, "88B5", 4);
    assert_memory_equal(raw->pattern + 2 * 30, "11223344", 8);
    mask = f.item[0].mask;
    assert_memory_equal(mask->pattern + 2 * 12, "FFFF0000", 8);
    struct flow_words w = {.kind = LINK_ETHERNET, .flex = NIC_FLEX_ITEM};
    assert_int_equal(flow_rule_make(&r, &w, &f, &why), -ENOTSUP);
    assert_non_null(strstr(why, "flex item"));
    w.flex = NIC_FLEX_NONE;
    assert_int_equal(flow_rule_make(&r, &w, &f, &why), -ENOTSUP);
    w.flex = NIC_FLEX_FRAME;
    r.tagged = true; /* what is printed has none either */
    assert_int_equal(flow_rule_make(&r, &w, &f, &why), -ENOTSUP);
    assert_non_null(strstr(why, "tag"));
    r.tagged = false;
    w.flex = NIC_FLEX_RAW;
    r.transfer = true; /* only copies are made there */
    assert_int_equal(flow_rule_make(&r, &w, &f, &why), -ENOTSUP);
}

/* The digits behind a word of a rule's text, as bytes; returns how many. */
static size_t printed(const char *text, const char *word, uint8_t *out)
{
    const char *at = strstr(text, word);
    size_t n = 0;
    assert_non_null(at);
    for (at += strlen(word); sscanf(at, "%2hhx", &out[n]) == 1 && *at != ' '; at += 2)
        n++;
    return n;
}

/* What the device is told of our header is what is printed, bit by bit. */
static void test_pattern_as_printed(void **state)
{
    static struct plan p;
    unsigned seen = 0;
    (void)state;
    for (unsigned k = 0; nic_at(k) != NULL; k++) {
        const struct nic *nic = nic_at(k);
        bool frame = nic->flex == NIC_FLEX_FRAME;
        struct plan_input in = {
            .link = {.kind = LINK_ETHERNET, .nodes = 3}, .ethertype = 0x88B5, .queues = 4};
        if (!frame && nic->flex != NIC_FLEX_RAW)
            continue;
        plan_class_queues(in.queues, in.class_queue);
        assert_int_equal(plan_make(nic, &in, &p), 0);
        assert_true(p.rules > 0);
        for (uint32_t i = 0; i < p.rules; i++, seen++) {
            char text[PLAN_TEXT_MAX], offset[32];
            uint8_t bytes[2][2 * FLOW_FRAME];
            struct flow_rule f;
            make(&p.rule[i], LINK_ETHERNET, nic->flex, &f);
            plan_rule_text(nic, &in, &p.rule[i], text, sizeof(text));
            size_t n = printed(text, frame ? "pattern spec " : "pattern_hex spec ", bytes[0]);
            assert_int_equal(printed(text, frame ? "pattern mask " : "pattern_hex mask ", bytes[1]),
                             n);
            const struct rte_flow_item *item = &f.item[frame ? 0 : 1];
            const struct rte_flow_item_raw *spec = item->spec, *mask = item->mask;
            assert_int_equal(spec->length, frame ? 2 * n : n);
            for (size_t b = 0; b < n && !frame; b++)
                assert_true(spec->pattern[b] == bytes[0][b] && mask->pattern[b] == bytes[1][b]);
            for (size_t b = 0; b < n && frame; b++) {
                char digits[3];
                snprintf(digits, sizeof(digits), "%02X", bytes[0][b]);
                assert_memory_equal(spec->pattern + 2 * b, digits, 2);
                snprintf(digits, sizeof(digits), "%02X", bytes[1][b]);
                assert_memory_equal(mask->pattern + 2 * b, digits, 2);
            }
            snprintf(offset, sizeof(offset), "offset is %d ", spec->offset);
            assert_true(frame || strstr(text, offset) != NULL);
        }
    }
    assert_true(seen > 0);
}

/* ---- installing ---------------------------------------------------------------------------- */

static struct plan want, other;

static struct rule drop_of(uint8_t node)
{
    struct rule r = {.fields = F(ETH_SRC) | F(ETH_TYPE),
                     .actions = DO(DROP),
                     .node = node,
                     .serves = 1u << INTENT_FENCE_NODE};
    r.value[RULE_ETH_SRC][5] = node;
    return r;
}

static void want_drops(struct plan *p, uint8_t from, uint8_t until)
{
    p->rules = 0;
    for (uint8_t n = from; n < until; n++)
        p->rule[p->rules++] = drop_of(n);
}

static struct install *opened(void)
{
    struct install *i;
    fake_reset();
    assert_int_equal(install_open(&fake.device, fake_clock, &i), 0);
    return i;
}

static bool device_has(const struct plan *p)
{
    if (fake.has.rules != p->rules)
        return false;
    for (uint32_t k = 0; k < p->rules; k++) {
        bool found = false;
        for (uint32_t m = 0; m < fake.has.rules; m++)
            found |= plan_same_rule(&p->rule[k], &fake.has.rule[m]);
        if (!found)
            return false;
    }
    return true;
}

/* False: there is none of this number. */
static bool install_at(const struct install *i, uint32_t number, struct install_rule *ret)
{
    static struct install_rule all[INSTALL_LIST_MAX];
    if (number >= install_list(i, all))
        return false;
    *ret = all[number];
    return true;
}

static void test_budget(void **state)
{
    struct install *i = opened();
    (void)state;
    fake.cost_ns = MS;
    want_drops(&want, 1, 31);
    install_want(i, &want);
    unsigned steps = 1;
    for (; !install_step(i, 4 * MS); steps++) /* at most what fits, and the one that was begun */
        assert_true(fake.calls <= steps * 5 && fake.calls >= steps);
    assert_true(device_has(&want));
    assert_true(steps >= 30 / 5 && fake.calls == 30);
    assert_int_equal(install_counters(i)->slowest_ns, MS);
    assert_true(install_step(i, 4 * MS) && fake.calls == 30); /* nothing is done twice */
    want_drops(&other, 20, 40);                               /* in the midst of it, others */
    install_want(i, &other);
    assert_false(install_step(i, 0)); /* one call */
    assert_int_equal(fake.calls, 31);
    install_want(i, &want);
    while (!install_step(i, MS))
        ;
    assert_true(device_has(&want) && fake.calls == 32);
    install_close(i);
    assert_int_equal(fake.has.rules, 0);
}

static void test_full_device(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    fake.capacity = 10;
    want_drops(&want, 1, 11);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    want_drops(&other, 6, 16); /* five go, five come: before there is room, no call is lost */
    install_want(i, &other);
    assert_true(install_step(i, MS));
    assert_true(device_has(&other));
    want_drops(&other, 6, 18);
    install_want(i, &other);
    assert_true(install_step(i, MS));
    uint32_t refused = 0, k = 0;
    for (; install_at(i, k, &r); k++)
        if (r.state == INSTALL_REFUSED) {
            refused++;
            assert_string_equal(r.why, "table full");
        }
    assert_true(k == 12 && refused == 2 && fake.has.rules == 10);
    uint32_t calls = fake.calls;
    assert_true(install_step(i, MS) && fake.calls == calls); /* not asked again */
    install_close(i);
}

/* A device that is full and takes longer for a call than a step has: what finds no room does not
 * keep back the removals that make it. */
static void test_full_slow_device(void **state)
{
    (void)state;
    for (uint8_t drops = 1; drops <= 10; drops++) {
        struct install *i = opened();
        unsigned steps = 1;
        fake.capacity = 10;
        want_drops(&want, 1, 11);
        install_want(i, &want);
        assert_true(install_step(i, MS));
        fake.cost_ns = 3 * MS;
        fake.calls = 0;
        want_drops(&other, 11, 11 + drops); /* others instead */
        install_want(i, &other);
        while (!install_step(i, MS / 5))
            assert_true(++steps <= 10 + 2u * drops); /* each new one twice at most */
        assert_true(device_has(&other) && fake.calls <= 10 + 2u * drops);
        assert_int_equal(install_counters(i)->refused, 0);
        install_close(i);
    }
}

static void want_many(struct plan *p, uint32_t from, uint32_t n)
{
    for (p->rules = 0; p->rules < n; p->rules++) {
        p->rule[p->rules] = drop_of(1);
        p->rule[p->rules].value[RULE_ETH_SRC][3] = (uint8_t)((from + p->rules) >> 8);
        p->rule[p->rules].value[RULE_ETH_SRC][4] = (uint8_t)(from + p->rules);
    }
}

/* As many rules as there may be, and others for all of them at once. */
static void test_replace_all(void **state)
{
    static const uint32_t many[] = {400, 600, PLAN_RULES_MAX};
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(many); k++) {
        struct install *i = opened();
        want_many(&want, 0, many[k]);
        install_want(i, &want);
        assert_true(install_step(i, MS) && device_has(&want));
        want_many(&other, 5000, many[k]);
        install_want(i, &other);
        assert_true(install_step(i, MS) && device_has(&other));
        assert_int_equal(install_counters(i)->refused, 0);
        install_close(i);
        assert_int_equal(fake.has.rules, 0);
    }
}

/* In steps of one call each, too: what was refused is behind us. */
static void test_refused_once(void **state)
{
    struct install *i = opened();
    unsigned steps = 1;
    (void)state;
    fake.capacity = 3;
    fake.cost_ns = MS;
    want_drops(&want, 1, 11);
    install_want(i, &want);
    while (!install_step(i, MS))
        assert_true(++steps <= 10);
    assert_true(fake.has.rules == 3 && fake.calls == 10);
    assert_int_equal(install_counters(i)->refused, 7);
    install_close(i);
}

/* A driver that says nothing has refused all the same. */
static void test_refused_without_words(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    fake.lies = DO(DROP);
    fake.says = "";
    want_drops(&want, 1, 3);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    assert_true(install_at(i, 1, &r) && r.state == INSTALL_REFUSED);
    assert_string_equal(r.why, "Invalid argument");
    install_close(i);
}

static void test_stuck_rule(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    want_drops(&want, 1, 3);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    want_drops(&want, 1, 2);
    fake.stuck = true;
    install_want(i, &want);
    assert_false(install_step(i, MS)); /* it is asked for again, and shown as what is there */
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 1, &r) && r.state == INSTALL_DONE && r.rule.node == 2);
    assert_string_equal(r.why, "busy");
    fake.stuck = false;
    assert_true(install_step(i, MS));
    assert_false(install_at(i, 1, &r));
    fake.stuck = true; /* what waits for its room is not refused */
    fake.capacity = 1;
    want_drops(&want, 5, 6);
    install_want(i, &want);
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 0, &r) && r.state == INSTALL_PENDING);
    fake.capacity = 2; /* it comes before the other goes, once there is some */
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 0, &r) && r.state == INSTALL_DONE);
    fake.stuck = false;
    assert_true(install_step(i, MS) && device_has(&want));
    install_close(i);
}

/* ---- the whole over a pair of ports -------------------------------------------------------- */

struct world {
    struct port *port, *far;
    struct offload *o;
};

static void node_mac(uint8_t node, uint8_t out[6])
{
    const uint8_t mac[6] = {2, 0, 0, 0, 1, node};
    memcpy(out, mac, sizeof(mac));
}

static struct link_config links(enum link_kind kind)
{
    struct link_config c = {.kind = kind, .udp_port = 34997, .self = SELF, .nodes = NODES};
    for (uint8_t n = 0; n < NODES; n++) {
        c.ip[n][0] = 10;
        c.ip[n][kind == LINK_UDP6 ? 15 : 3] = (uint8_t)(n + 1);
    }
    return c;
}

static const struct nic *nic_named(const char *name)
{
    assert_non_null(nic_by_name(name));
    return nic_by_name(name);
}

static struct world begin(const struct nic *nic, bool device, enum link_kind kind)
{
    struct world w;
    assert_int_equal(port_open_pair(MTU, &w.port, &w.far), 0);
    struct offload_config c = {.port = w.port,
                               .link = links(kind),
                               .ethertype = WIRE_ETHERTYPE,
                               .order = true,
                               .count = true,
                               .nic = nic,
                               .device = device ? &fake.device : NULL};
    assert_int_equal(offload_open(&c, &w.o), 0);
    for (uint8_t n = 1; n < NODES; n++) {
        uint8_t mac[6];
        node_mac(n, mac);
        assert_int_equal(offload_peer(w.o, n, mac), 0);
    }
    while (!offload_settled(w.o))
        offload_tick(w.o);
    return w;
}

static void end(struct world *w)
{
    offload_close(w->o);
    port_close(w->port);
    port_close(w->far);
}

static size_t rrdp_frame(uint8_t node, uint8_t cls, uint32_t tag, uint32_t id, uint8_t *out)
{
    struct wire_rrdp h = {.ack_valid = true,
                          .first = true,
                          .last = true,
                          .src = node,
                          .dst = SELF,
                          .cls = cls,
                          .data_len = 40,
                          .seq = id,
                          .tag = tag};
    size_t len = wire_rrdp_pack(&h, out);
    memset(out + len, 0, h.data_len);
    wire_rrdp_seal(out, len + h.data_len);
    return len + h.data_len;
}

static void to_port(struct world *w, const uint8_t *frame, size_t len, const uint8_t src[6])
{
    memcpy(w->far->mac.addr, src, 6);
    uint8_t *b = w->far->ops->tx_reserve(w->far, SELF, NULL);
    assert_non_null(b);
    memcpy(b, frame, len);
    w->far->ops->tx_commit(w->far, (uint32_t)len);
}

/* What is handed on of one frame, a burst by itself. */
static bool passes(struct world *w, uint8_t node, uint8_t from, uint8_t cls, uint32_t tag)
{
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    node_mac(from, mac);
    to_port(w, frame, rrdp_frame(node, cls, tag, 1, frame), mac);
    return port_rx(w->port, f, PORT_BURST) == 1;
}

static void test_bad_nodes(void **state)
{
    static const uint8_t nodes[] = {0, 1, WIRE_NODES_MAX + 1, 200, 255};
    struct port *a, *b;
    struct offload *o = NULL;
    (void)state;
    fake_reset();
    assert_int_equal(port_open_pair(MTU, &a, &b), 0);
    struct offload_config c = {
        .port = a, .ethertype = WIRE_ETHERTYPE, .nic = nic_named("mlx5"), .device = &fake.device};
    for (unsigned k = 0; k < sizeof(nodes); k++) {
        c.link = (struct link_config){.kind = LINK_ETHERNET, .nodes = nodes[k]};
        assert_int_equal(offload_open(&c, &o), -EINVAL);
    }
    c.link = (struct link_config){.kind = LINK_ETHERNET, .self = 3, .nodes = 3};
    assert_int_equal(offload_open(&c, &o), -EINVAL);
    assert_null(o);
    port_close(a);
    port_close(b);
}

static void test_fences(void **state)
{
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    assert_true(passes(&w, 2, 2, 1, NEW));
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_false(passes(&w, 2, 2, 1, NEW) || passes(&w, 3, 2, 1, NEW) || passes(&w, 2, 3, 1, NEW));
    assert_true(passes(&w, 3, 3, 1, NEW));
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, true), 0);
    assert_false(passes(&w, 3, 3, 0, OLD));
    assert_true(passes(&w, 3, 3, 0, NEW) && passes(&w, 4, 4, 0, OLD));
    assert_int_equal(offload_dropped(w.o), 4);
    assert_int_equal(offload_fence(w.o, 2, false), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, false), 0);
    assert_true(passes(&w, 2, 2, 1, NEW) && passes(&w, 3, 3, 0, OLD));
    assert_int_equal(offload_fence(w.o, SELF, true), -EINVAL);
    assert_int_equal(offload_fence(w.o, NODES, true), -EINVAL);
    assert_int_equal(offload_fence_epoch(w.o, NODES, OLD, true), -EINVAL);
    for (uint32_t k = 0; k < PLAN_EPOCHS_MAX; k++)
        assert_int_equal(offload_fence_epoch(w.o, 1, 100 + k, true), 0);
    assert_int_equal(offload_fence_epoch(w.o, 1, 99, true), -ENOSPC);
    assert_int_equal(offload_fence_epoch(w.o, 1, 100, true), 0); /* is there */
    assert_int_equal(offload_fence_epoch(w.o, 1, 100, false), 0);
    assert_true(passes(&w, 1, 1, 0, 100) && passes(&w, 1, 1, 0, 99));
    assert_false(passes(&w, 1, 1, 0, 100 + PLAN_EPOCHS_MAX - 1)); /* has moved to the free place */
    end(&w);
}

/* The device has a rule for this value of the field. */
static bool device_uses(enum rule_field f, const uint8_t *value)
{
    for (uint32_t k = 0; k < fake.has.rules; k++)
        if ((fake.has.rule[k].fields >> f & 1) != 0 &&
            memcmp(fake.has.rule[k].value[f], value, rule_field_bytes(f, LINK_ETHERNET)) == 0)
            return true;
    return false;
}

/* The port is replaced: all that was asked for holds for the next one, addresses too. */
static void test_take_over(void **state)
{
    struct offload_wishes wishes;
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, true), 0);
    offload_wishes(w.o, &wishes);
    offload_close(w.o);
    assert_true(passes(&w, 2, 2, 1, NEW)); /* nobody looks */
    fake_reset();
    struct offload_config c = {.port = w.port,
                               .link = links(LINK_ETHERNET),
                               .ethertype = WIRE_ETHERTYPE,
                               .nic = nic_named("ice"),
                               .device = &fake.device,
                               .wishes = &wishes};
    assert_int_equal(offload_open(&c, &w.o), 0);
    assert_false(passes(&w, 2, 2, 1, NEW) || passes(&w, 3, 3, 1, OLD));
    assert_true(passes(&w, 3, 3, 1, NEW));
    node_mac(2, mac);
    to_port(&w, frame, rrdp_frame(4, 1, NEW, 1, frame), mac);
    assert_int_equal(port_rx(w.port, f, PORT_BURST), 0); /* from its address */
    assert_int_equal(offload_fence(w.o, 2, false), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, false), 0);
    offload_wishes(w.o, &wishes); /* without a fence, addresses alone */
    offload_close(w.o);
    fake_reset();
    struct nic by_address = *nic_named("bluefield2");
    for (unsigned k = 0; k < by_address.templates; k++)
        by_address.shape[k].may &= ~F(RRDP_SOURCE);
    c.nic = &by_address;
    c.count = true;
    assert_int_equal(offload_open(&c, &w.o), 0);
    assert_true(device_uses(RULE_ETH_SRC, mac));
    end(&w);
}

/* An address moves from node to node: who is told with it last has it. */
static void test_address_moves(void **state)
{
    struct offload_wishes now;
    uint8_t mac[6], another[6];
    static const uint8_t none[6];
    (void)state;
    fake_reset();
    struct world w = begin(nic_named("ice"), true, LINK_ETHERNET);
    node_mac(1, mac);
    assert_int_equal(offload_fence(w.o, 1, true), 0);
    assert_false(passes(&w, 2, 1, 1, NEW)); /* it comes from the address of 1 */
    assert_int_equal(offload_peer(w.o, 2, mac), 0);
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[1], none, 6);
    assert_memory_equal(now.peer_mac[2], mac, 6);
    assert_true(passes(&w, 2, 1, 1, NEW)); /* now it is the address of 2 */
    uint32_t calls = fake.calls;
    for (unsigned k = 0; k < 3; k++) { /* both are said to have it: it stays, and nothing is done */
        assert_int_equal(offload_peer(w.o, 1, mac), 0);
        assert_int_equal(offload_peer(w.o, 2, mac), 0);
    }
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[2], mac, 6);
    assert_int_equal(fake.calls, calls);
    node_mac(9, another);
    assert_int_equal(offload_peer(w.o, 2, another), 0);
    assert_int_equal(offload_peer(w.o, 1, mac), 0); /* it is free */
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[1], mac, 6);
    assert_memory_equal(now.peer_mac[2], another, 6);
    assert_int_equal(offload_peer(w.o, 1, none), 0); /* not known any more: nobody's */
    assert_int_equal(offload_peer(w.o, 2, none), 0);
    assert_int_equal(offload_peer(w.o, SELF, mac), -EINVAL);
    assert_int_equal(offload_peer(w.o, NODES, mac), -EINVAL);
    end(&w);
}

/* A port with a fence of its own. */
static struct {
    uint64_t fenced;
    unsigned calls;
    int says;
} below;

static int below_fence(struct port *p, uint8_t node, bool fenced)
{
    (void)p;
    below.calls++;
    if (below.says == 0)
        below.fenced = fenced ? below.fenced | bit64(node) : below.fenced & ~bit64(node);
    return below.says;
}

static uint64_t no_time(void)
{
    return 1;
}

/* The port is told of each fence, behind a fault filter too, and asked again until it has it. */
static void test_port_fence(void **state)
{
    struct offload_wishes wishes;
    struct port *outer;
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    offload_close(w.o);
    struct port_ops ops = *w.port->ops;
    const struct port_ops *own = w.port->ops;
    ops.fence = below_fence;
    w.port->ops = &ops;
    assert_int_equal(port_open_faulty(w.port, &(struct port_faults){0}, no_time, &outer), 0);
    memset(&below, 0, sizeof(below));
    struct offload_config c = {
        .port = outer, .link = links(LINK_ETHERNET), .ethertype = WIRE_ETHERTYPE};
    assert_int_equal(offload_open(&c, &w.o), 0);
    below.says = -EAGAIN;
    assert_int_equal(offload_fence(w.o, 2, true), -EAGAIN);
    assert_true(below.fenced == 0 && !offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 2, true), -EAGAIN); /* no less than the first time */
    below.says = 0;
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_true(below.fenced == bit64(2) && below.calls == 3 && offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_int_equal(below.calls, 3);
    below.says = -EAGAIN;
    assert_int_equal(offload_fence(w.o, 2, false), -EAGAIN);
    assert_false(offload_settled(w.o));
    below.says = 0;
    offload_tick(w.o);
    assert_true(below.fenced == 0 && offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 3, true), 0);
    offload_wishes(w.o, &wishes);
    offload_close(w.o);
    assert_true(below.fenced == 0); /* with its fences */
    below.says = -EAGAIN;
    c.wishes = &wishes;
    assert_int_equal(offload_open(&c, &w.o), 0); /* later will do */
    assert_false(offload_settled(w.o));
    below.says = 0;
    offload_tick(w.o);
    assert_true(below.fenced == bit64(3) && offload_settled(w.o));
    offload_close(w.o);
    w.port->ops = own;
    port_close(outer);
    port_close(w.far);
}

static void test_order(void **state)
{
    static const uint8_t classes[] = {2, 0, 1, 0, 2, 3, 0}, in_order[] = {1, 3, 6, 0, 2, 4, 5};
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    node_mac(1, mac);
    for (uint32_t k = 0; k < sizeof(classes); k++)
        to_port(&w, frame, rrdp_frame(1, classes[k], NEW, k, frame), mac);
    assert_int_equal(port_rx(w.port, f, PORT_BURST), sizeof(classes));
    for (uint32_t k = 0; k < sizeof(classes); k++)
        assert_int_equal(get_le32(f[k].data + 8), in_order[k]);
    end(&w);
}

/* All pages of the text. */
static json_t *text_of(struct offload *o, uint32_t *ret_pages)
{
    static char text[OFFLOAD_TEXT_MAX];
    json_t *all = json_pack("{s:[], s:[]}", "intents", "rules");
    uint32_t from = 0;
    *ret_pages = 0;
    do {
        size_t n = offload_text(o, from, text);
        assert_true(n > 0 && n < OFFLOAD_TEXT_MAX && strlen(text) == n);
        json_t *page = json_loads(text, 0, NULL);
        assert_non_null(page);
        json_array_extend(json_object_get(all, "intents"), json_object_get(page, "intents"));
        json_array_extend(json_object_get(all, "rules"), json_object_get(page, "rules"));
        from = (uint32_t)json_integer_value(json_object_get(page, "next"));
        json_decref(page);
        (*ret_pages)++;
    } while (from != 0);
    return all;
}

static json_t *intent_of(json_t *all, const char *text)
{
    json_t *e;
    size_t k;
    json_array_foreach(json_object_get(all, "intents"), k,
                       e) if (strcmp(json_string_value(json_object_get(e, "intent")), text) ==
                              0) return e;
    fail_msg("there is no intent '%s'", text);
    return NULL;
}

static const char *word(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static int64_t number(json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* A driver that takes no rule that drops: the fence is the poll loop's, and says so in its words.
 */
static void test_text_of_refusals(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.lies = DO(DROP);
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    passes(&w, 2, 2, 1, NEW);
    json_t *all = text_of(w.o, &pages), *fence = intent_of(all, "fence node 2");
    assert_string_equal(word(fence, "by"), "software");
    assert_non_null(strstr(word(fence, "reason"), "no room in \"TCAM\" \\ "));
    assert_int_equal(number(fence, "frames"), 1);
    json_decref(all);
    fake.lies = 0; /* now it does, at the next change */
    assert_int_equal(offload_fence(w.o, 3, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    all = text_of(w.o, &pages);
    fence = intent_of(all, "fence node 2");
    assert_string_equal(word(fence, "by"), "hardware");
    json_decref(all);
    end(&w);
    assert_int_equal(fake.has.rules, 0);
}

/* Words that are not UTF-8, which JSON cannot hold. */
static void test_text_of_odd_words(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.lies = DO(DROP);
    fake.says = "bad \xff\n";
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    json_t *all = text_of(w.o, &pages);
    size_t before = json_array_size(json_object_get(all, "rules"));
    assert_true(before > 0);
    json_decref(all);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    all = text_of(w.o, &pages);
    assert_int_equal(json_array_size(json_object_get(all, "rules")), before + 1);
    assert_string_equal(word(intent_of(all, "fence node 2"), "reason"), "bad ??");
    json_decref(all);
    end(&w);
}

static void test_text_pages_and_counts(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.frames_a_rule = 7;
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    for (uint8_t n = 1; n < NODES; n++)
        assert_int_equal(offload_fence(w.o, n, true), 0);
    for (uint32_t k = 0; k < 40; k++)
        assert_int_equal(offload_fence_epoch(w.o, 1, k, true), 0);
    for (unsigned k = 0; k < 500; k++)
        offload_tick(w.o);
    json_t *all = text_of(w.o, &pages), *e;
    size_t k, counted = 0;
    assert_true(pages > 1);
    assert_int_equal(json_array_size(json_object_get(all, "rules")), fake.has.rules);
    json_array_foreach(json_object_get(all, "rules"), k, e)
    {
        assert_string_equal(word(e, "state"), "installed");
        counted += number(e, "frames") == 7 && number(e, "bytes") == 700;
    }
    assert_true(counted > 0);
    json_decref(all);
    end(&w);
}

/* Somebody reads all the time while fences come and go: the answers are whole. (Under a thread
 * sanitizer this says whether what they are made of is guarded.) */
struct reading {
    struct offload *o;
    atomic_bool stop;
    unsigned answers, broken;
};

static void *read_on(void *arg)
{
    static char text[OFFLOAD_TEXT_MAX];
    struct reading *r = arg;
    while (!atomic_load(&r->stop)) {
        offload_text(r->o, 0, text);
        json_t *page = json_loads(text, 0, NULL);
        r->broken += page == NULL || json_array_size(json_object_get(page, "intents")) == 0;
        r->answers++;
        json_decref(page);
    }
    return NULL;
}

static void test_text_beside_changes(void **state)
{
    pthread_t thread;
    (void)state;
    fake_reset();
    struct world w = begin(nic_named("mlx5"), true, LINK_ETHERNET);
    struct reading r = {.o = w.o};
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    for (unsigned k = 0; k < 500; k++) {
        uint8_t mac[6] = {2, 0, 0, 0, 9, (uint8_t)(k % 7)};
        assert_int_equal(offload_fence_epoch(w.o, 1, k % 5, k & 1), 0);
        assert_int_equal(offload_fence(w.o, 2, k & 1), 0);
        assert_int_equal(offload_peer(w.o, 3, mac), 0);
        offload_tick(w.o);
        if (k % 16 == 0)
            usleep(100); /* it gets the lock now and then */
    }
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    assert_true(r.answers > 0 && r.broken == 0);
    end(&w);
}

/* ---- a NIC in front of the port ------------------------------------------------------------ */

/* Puts a frame on the wire in front of the fake NIC, which has the rules in fake.has. */
static void through_nic(struct world *w, enum link_kind kind, uint8_t node, uint8_t from,
                        uint8_t cls, uint32_t tag, uint32_t id)
{
    uint8_t bytes[320], *frame = bytes + LINK_BYTES_MAX, mac[6], own[6], src[6];
    struct link_config c = links(kind);
    struct link l;
    size_t len = rrdp_frame(node, cls, tag, id, frame), header = link_header_bytes(kind);
    node_mac(from, mac);
    node_mac(SELF, own);
    c.self = from;
    assert_int_equal(link_init(&l, &c, WIRE_ETHERTYPE, MTU, mac), 0);
    memcpy(l.next_hop[SELF], own, 6);
    l.known = bit64(SELF);
    link_write(&l, SELF, own, (uint32_t)len, frame - header);
    link_own_mac(&l, src);
    int32_t taken = plan_apply(&fake.has, kind, frame - header, len + header);
    if (taken >= 0 && fake.has.rule[taken].actions & DO(DROP))
        return;
    to_port(w, frame, len, src);
}

/* Ids of what is handed on, as a sum. */
static uint64_t run_frames(struct world *w, enum link_kind kind, uint64_t seed)
{
    struct prng r = {.state = seed};
    uint64_t sum = 1;
    struct port_frame f[PORT_BURST];
    for (uint32_t id = 0; id < 400; id++) {
        uint8_t node = (uint8_t)(1 + prng_below(&r, NODES - 1)), from = node;
        if (prng_below(&r, 8) == 0)
            from = (uint8_t)(1 + prng_below(&r, NODES - 1));
        through_nic(w, kind, prng_below(&r, 9) == 0 ? 61 : node, from,
                    (uint8_t)prng_below(&r, WIRE_CLASSES), prng_below(&r, 2) ? OLD : NEW, id);
        for (uint32_t n = port_rx(w->port, f, PORT_BURST), k = 0; k < n; k++)
            sum = (sum ^ get_le32(f[k].data + 8)) * UINT64_C(0x100000001B3);
    }
    return sum;
}

/* True: a fence was lifted, and may still be in the NIC. */
static bool change(struct world *w, struct prng *r)
{
    uint8_t node = (uint8_t)(1 + prng_below(r, NODES - 1));
    bool on = prng_below(r, 2);
    if (prng_below(r, 2))
        assert_int_equal(offload_fence(w->o, node, on), 0);
    else
        assert_int_equal(offload_fence_epoch(w->o, node, OLD, on), 0);
    return !on;
}

/* never: what the device refuses. Sums of five rounds of changes. */
static uint64_t life(const struct nic *nic, enum link_kind kind, uint32_t never, uint64_t seed)
{
    struct prng r = {.state = seed};
    uint64_t sum = 0;
    fake_reset();
    fake.never = never;
    fake.capacity = 64;
    struct world w = begin(nic, nic != NULL, kind);
    for (unsigned round = 0; round < 5; round++) {
        bool lifted = false;
        for (unsigned k = 0; k < 3; k++)
            lifted |= change(&w, &r);
        if (lifted || prng_below(&r, 2)) /* or the NIC is still behind, which nobody sees */
            while (!offload_settled(w.o))
                offload_tick(w.o);
        sum = sum * 31 + run_frames(&w, kind, seed + round);
    }
    end(&w);
    assert_int_equal(fake.has.rules, 0);
    return sum;
}

static void test_same_with_each_nic(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < LINK_KINDS; kind++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            uint64_t without = life(NULL, kind, 0, seed);
            for (unsigned k = 0; nic_at(k) != NULL; k++) {
                assert_true(life(nic_at(k), kind, 0, seed) == without);
                assert_true(life(nic_at(k), kind, DO(DROP), seed) == without);
                assert_true(life(nic_at(k), kind, DO(QUEUE), seed) == without);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_ethernet),
        cmocka_unit_test(test_pattern_udp),
        cmocka_unit_test(test_pattern_own_header),
        cmocka_unit_test(test_pattern_as_printed),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_full_device),
        cmocka_unit_test(test_full_slow_device),
        cmocka_unit_test(test_replace_all),
        cmocka_unit_test(test_refused_without_words),
        cmocka_unit_test(test_stuck_rule),
        cmocka_unit_test(test_refused_once),
        cmocka_unit_test(test_bad_nodes),
        cmocka_unit_test(test_fences),
        cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_address_moves),
        cmocka_unit_test(test_port_fence),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_text_of_refusals),
        cmocka_unit_test(test_text_of_odd_words),
        cmocka_unit_test(test_text_pages_and_counts),
        cmocka_unit_test(test_text_beside_changes),
        cmocka_unit_test(test_same_with_each_nic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
