/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A struct rule in rte_flow's words. EDGE, but without a call into DPDK: the structures only.
 *
 * The items of a pattern: eth, vlan where the rule is for tagged frames, ipv4 or ipv6 and udp by
 * the kind of link, then our own header as the NIC takes it (enum nic_flex): a RAW item relative to
 * the header before it, or the whole frame as one RAW item, in hexadecimal digits (ice).
 */
#ifndef PANDO_OFFLOAD_PATTERN_H
#define PANDO_OFFLOAD_PATTERN_H

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_flow.h>

#include "offload/nic/nic.h"
#include "offload/plan/plan.h"

enum {
    FLOW_ITEMS = 6,   /* eth, vlan, ip, udp, raw, end */
    FLOW_ACTIONS = 4, /* count, mark, what becomes of the frame, end */
    FLOW_FRAME = 96,  /* link header and RRDP header, for the whole-frame pattern */
};

/* What the items and actions point to lies beside them: it is not copied. */
struct flow_rule {
    struct rte_flow_attr attr;
    struct rte_flow_item item[FLOW_ITEMS];
    struct rte_flow_action action[FLOW_ACTIONS];
    struct rte_flow_item_eth eth[2]; /* what is looked for, and its mask */
    struct rte_flow_item_vlan vlan[2];
    union {
        struct rte_flow_item_ipv4 v4[2];
        struct rte_flow_item_ipv6 v6[2];
    } ip;
    struct rte_flow_item_udp udp[2];
    struct rte_flow_item_raw raw[2];
    uint8_t bytes[2][2 * FLOW_FRAME]; /* of raw */
    struct rte_flow_action_queue queue;
    struct rte_flow_action_rss rss;
    struct rte_flow_action_mark mark;
};

/* 0; -ENOTSUP: it would need what this program does not do yet, an item FLEX or copies in the
 * embedded switch; why says which. */
int flow_rule_make(const struct rule *r, enum link_kind kind, enum nic_flex flex,
                   struct flow_rule *ret, const char **why);

#endif
