/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules by a port's flow queue, the flex item and copies in the embedded switch, against a NIC that
 * is not there but checks what it is asked (fake_flow.h): every call refused once and always, a
 * queue with less room than it said, results that are late, in another order, or bad.
 */
#include <errno.h>
#include <jansson.h>
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
#include "dataplane/port/ethdev_device.h"
#include "offload/flow/install.h"
#include "offload/flow/offload.h"
#include "offload/flow/pattern.h"
#include "tests/unit/fake_flow.h"

enum { NODES = 4, MS = 1000000, US = 1000, TAG = 0x1a2b3c4d };

#define F(field)   (1u << RULE_##field)
#define DO(action) (1u << RULE_DO_##action)

/* ---- a cluster, its plans, the device ------------------------------------------------------ */

static struct plan_input in;
static struct plan want;
static struct flow_device *device;
static struct install *install;
static uint64_t now_ns;

/* Each look takes a microsecond. */
static uint64_t clock_ns(void)
{
    return now_ns += US;
}

static const struct nic *nic_named(const char *name)
{
    const struct nic *n = nic_by_name(name);
    assert_non_null(n);
    return n;
}

static void cluster(enum link_kind kind)
{
    in = (struct plan_input){.link = {.kind = kind, .udp_port = 34997, .nodes = NODES},
                             .ethertype = 0x88B5,
                             .queues = 5,
                             .count = true,
                             .mark = true};
    for (uint8_t n = 0; n < NODES; n++) {
        in.link.ip[n][0] = 10;
        in.link.ip[n][kind == LINK_UDP6 ? 15 : 3] = (uint8_t)(n + 1);
        memcpy(in.peer_mac[n], (const uint8_t[]){2, 0, 0, 0, 1, n}, 6);
    }
    plan_class_queues(in.queues, in.class_queue);
}

/* Old ones, of node 1. */
static void fence_connections(uint32_t n)
{
    in.epochs = n;
    for (uint32_t e = 0; e < n; e++) {
        in.epoch[e].node = 1;
        in.epoch[e].tag = TAG + e;
    }
}

/* A port that was given its flow queue and started, as ethdev.c does. */
static void open_device(const struct nic *nic)
{
    struct ethdev_flow flow;
    ethdev_flow_queue(FAKE_PORT, &flow);
    fake_nic.started = true;
    struct flow_device_config c = {
        .id = FAKE_PORT, .nic = nic, .in = &in, .flow_queue = flow.queue, .flow_why = flow.why};
    assert_int_equal(flow_device_open(&c, &device), 0);
    assert_int_equal(install_open(device, clock_ns, &install), 0);
}

static void close_device(void)
{
    install_close(install);
    flow_device_close(device);
    fake_end();
}

static void wish(const struct nic *nic)
{
    assert_int_equal(plan_make(nic, &in, &want), 0);
    assert_true(want.rules > 0);
    install_want(install, &want);
}

static void finish(void)
{
    for (unsigned steps = 0; !install_step(install, MS); steps++)
        if (steps == 10000)
            fail_msg("it does not end");
}

static bool rule_at(uint32_t number, struct install_rule *ret)
{
    static struct install_rule list[INSTALL_LIST_MAX];
    uint32_t n = install_list(install, list);
    if (number < n)
        *ret = list[number];
    return number < n;
}

static const char *note(void)
{
    static char text[FLOW_WHY_MAX];
    device->ops->note(device, text);
    return text;
}

/* The words of the device: what its rules are made for. */
static struct flow_words words(const struct nic *nic)
{
    struct flow_words w = {.kind = in.link.kind,
                           .flex = nic->flex,
                           .item = fake_item(),
                           .own_port = in.own_port,
                           .wire_port = in.wire_port};
    memcpy(w.local_port, in.local_port, sizeof(w.local_port));
    return w;
}

static bool same_image(const struct fake_image *a, const struct fake_image *b)
{
    return a->port == b->port && a->len == b->len && a->pattern == b->pattern &&
           memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool nic_has(const struct rule *r, const struct flow_words *w)
{
    struct flow_rule f;
    struct fake_image expected, there;
    const char *why;
    assert_int_equal(flow_rule_make(r, w, &f, &why), 0);
    fake_image_of(r->transfer ? FAKE_PROXY_PORT : FAKE_PORT, &f.attr, f.item, f.action, &expected);
    for (uint32_t k = 0; fake_rule(k, &there); k++)
        if (same_image(&expected, &there))
            return true;
    return false;
}

/* The NIC has the rules of `want`, and no others. */
static void check_rules(const struct nic *nic)
{
    const struct flow_words w = words(nic);
    for (uint32_t k = 0; k < want.rules; k++)
        assert_true(nic_has(&want.rule[k], &w));
    assert_int_equal(fake_nic.rules, want.rules);
}

/* ---- patterns ------------------------------------------------------------------------------ */

static void hex_of(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
}

/* The item and its patterns are those of the plan's text, which dpdk-testpmd takes. */
static void test_flex_item(void **state)
{
    const struct nic *nic = nic_named("bluefield2");
    struct flow_flex x;
    struct flow_rule f;
    const char *why;
    char text[PLAN_TEXT_MAX], spec[64], mask[64], expected[256];
    (void)state;
    fake_reset(0);
    cluster(LINK_ETHERNET);
    assert_int_equal(flow_flex_make(nic, LINK_ETHERNET, 0x88B5, 0, &x, &why), 0);
    const struct rte_flow_item_eth *type = x.conf.input_link->item.spec;
    assert_memory_equal(&type->hdr.ether_type, "\x88\xb5", 2);
    assert_int_equal(x.conf.sample_data[1].field_base, 32);
    assert_int_equal(x.conf.sample_data[2].field_base, 128);
    assert_int_equal(x.conf.next_header.field_base, 192);
    assert_int_equal(flow_flex_make(nic, LINK_UDP6, 0, 34997, &x, &why), 0);
    const struct rte_flow_item_udp *port = x.conf.input_link->item.spec;
    assert_memory_equal(&port->hdr.dst_port, "\x88\xb5", 2);

    open_device(nic);
    in.fenced = bit64(2);
    fence_connections(1);
    wish(nic);
    const struct flow_words w = words(nic);
    for (uint32_t k = 0; k < want.rules; k++) {
        assert_int_equal(flow_rule_make(&want.rule[k], &w, &f, &why), 0);
        assert_int_equal(f.item[1].type, RTE_FLOW_ITEM_TYPE_FLEX);
        const struct rte_flow_item_flex *s = f.item[1].spec, *m = f.item[1].mask;
        assert_true(s->handle == fake_item() && s->length == 12 && m->length == 12);
        hex_of(s->pattern, 12, spec);
        hex_of(m->pattern, 12, mask);
        snprintf(expected, sizeof(expected), "set flex_pattern 0 spec %s mask %s", spec, mask);
        plan_before_rule_text(nic, &in, &want.rule[k], text, sizeof(text));
        assert_string_equal(text, expected);
    }
    close_device();
}

static void test_flex_item_limits(void **state)
{
    struct nic small = *nic_named("bluefield2");
    struct flow_flex x;
    const char *why;
    char said[FLOW_WHY_MAX];
    (void)state;
    small.flex_samples = 2;
    assert_int_equal(flow_flex_make(&small, LINK_UDP4, 0, 1, &x, &why), -ENOTSUP);
    assert_non_null(strstr(why, "3 words"));
    small.flex_samples = 3;
    small.flex_links = 1u << LINK_ETHERNET;
    assert_int_equal(flow_flex_make(&small, LINK_UDP4, 0, 1, &x, &why), -ENOTSUP);
    assert_int_equal(flow_flex_make(&small, LINK_ETHERNET, 1, 0, &x, &why), 0);
    fake_reset(0); /* and a driver that does not want it: its words, and the other rules go on */
    fake_nic.refuse[FAKE_FLEX] = FAKE_FOREVER;
    cluster(LINK_UDP4);
    fence_connections(1);
    open_device(nic_named("bluefield2"));
    wish(nic_named("bluefield2"));
    finish();
    unsigned refused = 0;
    struct install_rule r;
    for (uint32_t k = 0; rule_at(k, &r); k++)
        if (r.state == INSTALL_REFUSED) {
            assert_string_equal(r.why, fake_words[FAKE_FLEX]);
            assert_true(r.rule.fields & F(RRDP_TAG));
            refused++;
        }
    assert_true(refused == 1 && fake_nic.rules == want.rules - 1);
    assert_int_equal(fake_nic.calls[FAKE_FLEX], 1);
    assert_int_equal(device->ops->validate(device, &want.rule[0], said), -ENOTSUP);
    assert_string_equal(said, fake_words[FAKE_FLEX]);
    close_device();
}

static void cluster_with_switch(void)
{
    cluster(LINK_ETHERNET);
    in.replicate = true;
    in.local = bit64(3);
    in.local_port[3] = 12;
    in.own_port = 10;
    in.wire_port = 9;
    memcpy(in.group_mac, "\x03PA\1\2\3", 6);
}

static void test_copies(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    struct flow_rule f;
    const char *why;
    (void)state;
    fake_reset(0);
    cluster_with_switch();
    open_device(nic);
    wish(nic);
    finish();
    check_rules(nic);
    struct rule *r = &want.rule[want.rules - 1];
    struct flow_words w = words(nic);
    assert_true(r->transfer && nic_has(r, &w));
    assert_int_equal(flow_rule_make(r, &w, &f, &why), 0);
    assert_true(f.attr.transfer && !f.attr.ingress);
    assert_int_equal(((const struct rte_flow_item_port_id *)f.item[0].spec)->id, 10);
    const struct rte_flow_item_eth *group = f.item[1].spec;
    assert_memory_equal(&group->hdr.dst_addr, in.group_mac, 6);
    const struct rte_flow_action_sample *s = f.action[0].conf;
    assert_true(f.action[0].type == RTE_FLOW_ACTION_TYPE_SAMPLE && s->ratio == 1);
    assert_int_equal(((const struct rte_flow_action_port_id *)s->actions[0].conf)->id, 12);
    assert_int_equal(s->actions[1].type, RTE_FLOW_ACTION_TYPE_END);
    assert_int_equal(((const struct rte_flow_action_port_id *)f.action[1].conf)->id, 9);
    assert_int_equal(f.action[2].type, RTE_FLOW_ACTION_TYPE_END);
    r->copies = UINT64_C(0x1FF);
    assert_int_equal(flow_rule_make(r, &w, &f, &why), -ENOTSUP);
    in.replicate = false;
    wish(nic);
    finish();
    check_rules(nic);
    close_device();
}

/* ---- by the queue -------------------------------------------------------------------------- */

/* Distinct rules of the plan, but for what these bits leave out. */
static uint32_t kinds(bool pattern, bool actions, bool attributes)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < want.rules; k++) {
        const struct rule *r = &want.rule[k];
        bool before = r->transfer;
        for (uint32_t m = 0; m < k && !before; m++) {
            const struct rule *q = &want.rule[m];
            before = (!pattern || q->fields == r->fields) &&
                     (!actions || q->actions == r->actions) &&
                     (!attributes || q->priority == r->priority);
        }
        n += !before;
    }
    return n;
}

static void test_tables(void **state)
{
    const struct nic *nic = nic_named("bluefield2");
    struct nic small = *nic;
    struct install_rule r;
    (void)state;
    fake_reset(0);
    cluster(LINK_ETHERNET);
    in.fenced = bit64(2);
    fence_connections(1);
    open_device(nic);
    assert_true(fake_nic.configured_queue == 64 && fake_nic.configured_counters == 1024);
    wish(nic);
    finish();
    check_rules(nic);
    assert_int_equal(fake_nic.by_queue, want.rules);
    assert_int_equal(fake_nic.patterns, kinds(true, false, false));
    assert_int_equal(fake_nic.actions, kinds(false, true, false));
    assert_int_equal(fake_nic.tables, kinds(true, true, true));
    assert_int_equal(fake_nic.table_size, PLAN_RULES_MAX);
    assert_string_equal(note(), "flow queue");
    assert_int_equal(fake_nic.calls[FAKE_SINGLE_CREATE], 0);
    fake_nic.frames = 7;
    for (uint32_t k = 0; k < want.rules; k++)
        install_count(install);
    for (uint32_t k = 0; rule_at(k, &r); k++)
        assert_true(r.counted && r.frames == 7 && r.bytes == 700);
    close_device();
    for (uint32_t s = 0; s < small.templates; s++) /* what the NIC has room for, if that is known */
        small.shape[s].capacity = 100;
    fake_reset(0);
    open_device(&small);
    wish(&small);
    finish();
    assert_int_equal(fake_nic.table_size, 100);
    close_device();
}

/* What a table is for: with a tag or without, and the priority. */
static void test_kinds_of_rules(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    (void)state;
    fake_reset(0);
    cluster(LINK_UDP4);
    open_device(nic);
    wish(nic);
    finish();
    check_rules(nic);
    in.vlan_priority = true;
    wish(nic);
    assert_true(want.rule[0].tagged);
    want.rule[want.rules] = want.rule[0];
    want.rule[want.rules++].priority = 0;
    install_want(install, &want);
    finish();
    check_rules(nic);
    assert_int_equal(fake_nic.by_queue, want.rules);
    close_device();
}

static void fence_all(bool on)
{
    in.fenced = on ? bit64(1) | bit64(2) | bit64(3) : 0;
}

/* A queue that holds fewer than there are rules, and one that holds fewer than it said. */
static void test_small_queue(void **state)
{
    static const uint32_t size[][2] = {{3, 0}, {64, 2}, {1, 0}, {4, 1}};
    const struct nic *nic = nic_named("mlx5");
    (void)state;
    for (size_t i = 0; i < PANDO_ARRAY_LEN(size); i++) {
        fake_reset(i);
        fake_nic.queue_size = size[i][0];
        fake_nic.room_in_queue = size[i][1];
        fake_nic.late = 2;
        cluster(LINK_UDP6);
        open_device(nic);
        wish(nic);
        finish();
        check_rules(nic);
        assert_int_equal(fake_nic.by_queue, want.rules);
        assert_true(want.rules > 10);
        assert_int_equal(fake_nic.deepest, size[i][1] != 0 ? size[i][1] : size[i][0]);
        fence_all(true);
        wish(nic);
        finish();
        check_rules(nic);
        close_device();
    }
}

static uint32_t in_state(enum install_state s)
{
    struct install_rule r;
    uint32_t n = 0;
    for (uint32_t k = 0; rule_at(k, &r); k++)
        n += r.state == s;
    return n;
}

/* A step does not wait longer than it may, and what has not come is pending until it does. */
static void late(enum fake_call never)
{
    const struct nic *nic = nic_named("mlx5");
    fake_reset(0);
    fake_nic.refuse[never] = 3000;
    cluster(LINK_UDP4);
    open_device(nic);
    wish(nic);
    for (unsigned k = 0; k < 3; k++) {
        uint64_t before = now_ns;
        assert_false(install_step(install, 200 * US));
        assert_true(now_ns - before < 200 * US + 10 * US);
        assert_int_equal(in_state(INSTALL_PENDING), want.rules);
        assert_int_equal(fake_nic.calls[FAKE_CREATE], want.rules); /* each is asked for once */
    }
    assert_int_equal(fake_nic.rules, 0);
    assert_non_null(strstr(note(), fake_words[never]));
    finish();
    check_rules(nic);
    assert_int_equal(fake_nic.by_queue, want.rules);
    assert_string_equal(note(), "flow queue");
    fake_nic.refuse[never] = FAKE_FOREVER; /* others, of which nothing is heard */
    fence_all(true);
    wish(nic);
    for (unsigned k = 0; k < 5; k++)
        assert_false(install_step(install, 200 * US));
    assert_int_equal(in_state(INSTALL_PENDING), 3);
    fence_all(false); /* and back, before anything was */
    wish(nic);
    assert_false(install_step(install, 200 * US));
    fake_nic.refuse[never] = 0;
    finish();
    check_rules(nic);
    fence_all(true); /* closed in the midst of it */
    wish(nic);
    assert_false(install_step(install, 0));
    close_device();
}

static void test_late(void **state)
{
    (void)state;
    late(FAKE_PULL);
    late(FAKE_PUSH);
}

/* Queues and fences; the log is of this alone. */
static void change_all(const struct nic *nic, uint16_t queues, bool fenced)
{
    memset(fake_nic.log, 0, sizeof(fake_nic.log));
    in.queues = queues;
    plan_class_queues(queues, in.class_queue);
    fence_all(fenced);
    wish(nic);
    finish();
    check_rules(nic);
}

/* What drops comes before what it replaces goes, and goes after what replaces it has come, in
 * whatever order the NIC does what is begun together. */
static void test_order(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fake_reset(seed);
        fake_nic.late = 5;
        cluster(LINK_UDP4);
        in.count = in.mark = false;
        open_device(nic);
        wish(nic);
        finish();
        change_all(nic, 2, true);
        const char *log = fake_nic.log;
        assert_true(strchr(log, 'q') != NULL && strrchr(log, 'D') < strchr(log, 'q'));
        assert_null(strchr(log, 'd'));
        change_all(nic, 5, false);
        assert_true(strchr(log, 'd') != NULL && strrchr(log, 'Q') < strchr(log, 'd'));
        assert_null(strchr(log, 'D'));
        close_device();
    }
}

/* ---- refusals ------------------------------------------------------------------------------ */

/* What the queue does not do is done by single calls, and why is said. */
static void test_fall_back(void **state)
{
    static const enum fake_call call[] = {FAKE_INFO,    FAKE_CONFIGURE, FAKE_PATTERN,
                                          FAKE_ACTIONS, FAKE_TABLE,     FAKE_CREATE};
    const struct nic *nic = nic_named("bluefield2");
    char expected[2 * FLOW_WHY_MAX];
    (void)state;
    for (size_t i = 0; i < 2 * PANDO_ARRAY_LEN(call); i++) {
        enum fake_call c = call[i / 2];
        bool queue = c != FAKE_INFO && c != FAKE_CONFIGURE, once = i % 2 == 0;
        fake_reset(0);
        fake_nic.refuse[c] = once ? 1 : FAKE_FOREVER;
        cluster(LINK_ETHERNET);
        fence_all(true);
        open_device(nic);
        wish(nic);
        finish();
        check_rules(nic);
        assert_true(fake_nic.calls[FAKE_SINGLE_CREATE] > 0);
        assert_true((fake_nic.by_queue > 0) == (queue && once));
        snprintf(expected, sizeof(expected), "%ssingle calls: %s", queue ? "flow queue and " : "",
                 fake_words[c]);
        assert_string_equal(note(), expected);
        fence_all(false);
        wish(nic);
        finish();
        check_rules(nic);
        close_device();
    }
}

/* Of a driver that says no to both, both words are kept; as far as there is room. */
static void test_both_refuse(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    struct install_rule r;
    char why[FLOW_WHY_MAX];
    (void)state;
    fake_reset(0);
    fake_nic.refuse[FAKE_TABLE] = fake_nic.refuse[FAKE_SINGLE_CREATE] = FAKE_FOREVER;
    fake_nic.refuse[FAKE_SINGLE_VALIDATE] = FAKE_FOREVER;
    cluster(LINK_UDP4);
    open_device(nic);
    wish(nic);
    finish();
    assert_int_equal(in_state(INSTALL_REFUSED), want.rules);
    assert_true(rule_at(0, &r));
    assert_string_equal(r.why, "Failed to create template table; by a single call: "
                               "Flow non-Q creation not supported");
    assert_int_equal(device->ops->validate(device, &want.rule[0], why), -ENOTSUP);
    assert_string_equal(why, "Failed to create template table; by a single call: not valid");
    assert_int_equal(fake_nic.rules, 0);
    assert_int_equal(fake_nic.tables, 0);
    close_device();
}

static void test_rejected(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    struct install_rule r;
    (void)state;
    for (uint32_t refuse = 0; refuse <= 40; refuse += 40) { /* also the clean-up, some times */
        fake_reset(3);
        fake_nic.late = 3;
        fake_nic.reject_creations = 5;
        cluster(LINK_UDP4);
        open_device(nic);
        wish(nic);
        fake_nic.refuse[FAKE_DESTROY] = refuse;
        finish();
        check_rules(nic);
        assert_int_equal(fake_nic.by_queue, want.rules - 5);
        assert_string_equal(note(), "flow queue and single calls: the NIC rejected the rule");
        for (unsigned tick = 0; tick < 50; tick++)
            assert_true(install_step(install, MS));
        assert_int_equal(fake_in_queue(), 0); /* handles are cleaned up behind it */
        fence_all(true);
        fake_nic.reject_creations = fake_nic.refuse[FAKE_SINGLE_CREATE] = FAKE_FOREVER;
        wish(nic);
        finish();
        assert_int_equal(in_state(INSTALL_REFUSED), 3);
        assert_true(rule_at(0, &r) && r.rule.actions & DO(DROP));
        assert_string_equal(r.why, "the NIC rejected the rule; by a single call: "
                                   "Flow non-Q creation not supported");
        fake_nic.reject_creations = fake_nic.refuse[FAKE_SINGLE_CREATE] = 0;
        wish(nic); /* other rules, or the same anew: asked again */
        finish();
        check_rules(nic);
        close_device();
    }
}

/* Nobody can ask for it again: it is shown as what is there, and the driver is left alone. */
static void test_not_removed(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    struct install_rule r;
    (void)state;
    fake_reset(0);
    cluster(LINK_UDP4);
    fence_all(true);
    open_device(nic);
    wish(nic);
    finish();
    fake_nic.reject_removals = 1;
    fence_all(false);
    wish(nic);
    assert_false(install_step(install, MS));
    assert_true(rule_at(want.rules, &r) && r.state == INSTALL_DONE);
    assert_string_equal(r.why, "the NIC did not remove the rule");
    assert_true(fake_nic.lost == 1 && fake_nic.rules == want.rules + 1);
    uint32_t calls = fake_nic.calls[FAKE_DESTROY];
    assert_false(install_step(install, MS));
    assert_int_equal(fake_nic.calls[FAKE_DESTROY], calls);
    assert_true(rule_at(want.rules, &r));
    assert_string_equal(r.why, "its removal failed, and the driver has given up its handle");
    in.queues = 2; /* the others go on */
    plan_class_queues(in.queues, in.class_queue);
    wish(nic);
    assert_false(install_step(install, MS));
    assert_int_equal(in_state(INSTALL_PENDING), 0);
    fake_nic.refuse[FAKE_DESTROY] = 4; /* a removal that is refused before it is begun */
    in.queues = 5;
    plan_class_queues(in.queues, in.class_queue);
    wish(nic);
    assert_false(install_step(install, MS));
    assert_true(in_state(INSTALL_PENDING) > 0); /* what takes the place of those */
    for (unsigned k = 0; k < 10; k++)
        assert_false(install_step(install, MS));
    assert_int_equal(in_state(INSTALL_PENDING), 0);
    assert_int_equal(fake_nic.rules, want.rules + 1);
    close_device();
}

/* A full NIC: what goes makes room for what comes, and nothing is refused for good before. */
static void test_full_nic(void **state)
{
    const struct nic *nic = nic_named("mlx5");
    (void)state;
    fake_reset(5);
    fake_nic.late = 2;
    fake_nic.refuse[FAKE_SINGLE_CREATE] = FAKE_FOREVER;
    cluster(LINK_UDP4);
    open_device(nic);
    wish(nic);
    fake_nic.room = want.rules;
    finish();
    check_rules(nic);
    in.count = in.mark = false; /* fewer rules, and three that drop, which come first */
    fence_all(true);
    wish(nic);
    assert_true(want.rules <= fake_nic.room);
    finish();
    check_rules(nic);
    close_device();
}

/* ---- all of it, at random ------------------------------------------------------------------ */

static void some_trouble(struct prng *p)
{
    static const enum fake_call may[] = {FAKE_CREATE, FAKE_DESTROY,       FAKE_PUSH,
                                         FAKE_PULL,   FAKE_SINGLE_CREATE, FAKE_SINGLE_DESTROY};
    for (size_t i = 0; i < PANDO_ARRAY_LEN(may); i++)
        fake_nic.refuse[may[i]] = prng_below(p, 3) == 0 ? (uint32_t)prng_below(p, 30) : 0;
    fake_nic.reject_creations = prng_below(p, 3) == 0 ? (uint32_t)prng_below(p, 8) : 0;
    fake_nic.late = (uint32_t)prng_below(p, 6);
    fake_nic.room_in_queue = prng_below(p, 2) ? 1 + (uint32_t)prng_below(p, 20) : 0;
}

static void change_input(struct prng *p)
{
    in.fenced = prng_next(p) & 14;
    in.queues = (uint16_t)(1 + prng_below(p, 5));
    in.count = prng_below(p, 2);
    fence_connections((uint32_t)prng_below(p, 3));
    plan_class_queues(in.queues, in.class_queue);
}

static uint64_t seed_now; /* 0: it is done */

static int tell_seed(void **state)
{
    (void)state;
    if (seed_now != 0)
        print_message("PANDO_SEED=%llu repeats it\n", (unsigned long long)seed_now);
    return 0;
}

static void test_random(void **state)
{
    static const enum link_kind links[] = {LINK_ETHERNET, LINK_UDP4, LINK_UDP6};
    const struct nic *nic = nic_named("bluefield2");
    (void)state;
    const char *one = getenv("PANDO_SEED");
    uint64_t first = one != NULL ? strtoull(one, NULL, 0) : 1, n = one != NULL ? 1 : 1000;
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct prng p = {.state = seed};
        seed_now = seed;
        fake_reset(seed);
        cluster(links[seed % 3]);
        open_device(nic);
        for (unsigned round = 0; round < 8; round++) {
            some_trouble(&p);
            change_input(&p);
            assert_int_equal(plan_make(nic, &in, &want), 0);
            install_want(install, &want);
            for (uint64_t k = prng_below(&p, 6); k > 0; k--)
                install_step(install, prng_below(&p, 60) * US);
        }
        memset(fake_nic.refuse, 0, sizeof(fake_nic.refuse));
        fake_nic.reject_creations = 0;
        install_want(install, &want);
        finish();
        check_rules(nic);
        close_device();
    }
    seed_now = 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void check_text(struct offload *o, const char *path)
{
    static char text[OFFLOAD_TEXT_MAX];
    uint32_t from = 0, rules = 0;
    do {
        assert_true(offload_text(o, from, text) > 0);
        json_t *page = json_loads(text, 0, NULL), *r;
        size_t k;
        assert_string_equal(json_string_value(json_object_get(page, "path")), path);
        json_array_foreach(json_object_get(page, "rules"), k, r)
        {
            assert_string_equal(json_string_value(json_object_get(r, "state")), "installed");
            rules++;
        }
        from = (uint32_t)json_integer_value(json_object_get(page, "next"));
        json_decref(page);
    } while (from != 0);
    assert_true(rules > 0 && rules == fake_nic.rules);
}

static void test_offload(void **state)
{
    const struct nic *nic = nic_named("bluefield2");
    struct port *port, *far;
    struct offload *o;
    (void)state;
    fake_reset(9);
    fake_nic.late = 4;
    cluster(LINK_ETHERNET);
    open_device(nic);
    assert_int_equal(port_open_pair(1400, &port, &far), 0);
    struct offload_config c = {.port = port,
                               .link = in.link,
                               .ethertype = in.ethertype,
                               .count = true,
                               .nic = nic,
                               .device = device};
    assert_int_equal(offload_open(&c, &o), 0);
    assert_true(fake_nic.tables > 0); /* made by the probe */
    uint32_t tables = fake_nic.tables;
    assert_int_equal(offload_fence(o, 2, true), 0);
    assert_int_equal(offload_fence_epoch(o, 1, TAG, true), 0);
    for (unsigned k = 0; !offload_settled(o); k++) {
        offload_tick(o);
        assert_true(k < 1000);
    }
    check_text(o, "flow queue");
    assert_true(fake_nic.by_queue == fake_nic.rules && fake_nic.tables == tables);
    assert_int_equal(offload_fence(o, 2, false), 0);
    offload_close(o);
    assert_int_equal(fake_nic.rules, 0);
    close_device();
    port_close(port);
    port_close(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flex_item),      cmocka_unit_test(test_flex_item_limits),
        cmocka_unit_test(test_copies),         cmocka_unit_test(test_tables),
        cmocka_unit_test(test_kinds_of_rules), cmocka_unit_test(test_small_queue),
        cmocka_unit_test(test_late),           cmocka_unit_test(test_order),
        cmocka_unit_test(test_fall_back),      cmocka_unit_test(test_both_refuse),
        cmocka_unit_test(test_rejected),       cmocka_unit_test(test_not_removed),
        cmocka_unit_test(test_full_nic),       cmocka_unit_test_teardown(test_random, tell_seed),
        cmocka_unit_test(test_offload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
