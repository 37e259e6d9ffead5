/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules in rte_flow's words. */
#include "fake_device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "offload/flow/pattern.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_ethernet),
        cmocka_unit_test(test_pattern_udp),
        cmocka_unit_test(test_pattern_own_header),
        cmocka_unit_test(test_pattern_as_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
