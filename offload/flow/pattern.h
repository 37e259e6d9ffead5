/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A struct rule in rte_flow's words. EDGE, but without a call into DPDK: the structures only.
 *
 * The items of a pattern: eth, vlan where the rule is for tagged frames, ipv4 or ipv6 and udp by
 * the kind of link, then our own header as the NIC takes it (enum nic_flex): a RAW item relative to
 * the header before it, the whole frame as one RAW item, in hexadecimal digits (ice), or a FLEX
 * item, whose pattern is the words of the header that flow_flex_make asks the parser for. In front
 * of a rule in the embedded switch stands the port that the frames come from.
 */
#ifndef PANDO_OFFLOAD_PATTERN_H
#define PANDO_OFFLOAD_PATTERN_H

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_flow.h>

#include "offload/flow/device.h"

enum {
    FLOW_ITEMS = 7,      /* port, eth, vlan, ip, udp, raw or flex, end */
    FLOW_ACTIONS = 5,    /* count, mark, sample, what becomes of the frame, end */
    FLOW_FRAME = 96,     /* link header and RRDP header, for the whole-frame pattern */
    FLOW_FLEX_WORDS = 3, /* of 32 bits: source and class, and the connection tag, lie in them */
    FLOW_COPIES_MAX = 8, /* of one rule in the embedded switch */
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
    struct rte_flow_item_flex flex[2];
    struct rte_flow_item_port_id from[2];
    uint8_t bytes[2][2 * FLOW_FRAME]; /* of raw, flex */
    struct rte_flow_action_queue queue;
    struct rte_flow_action_rss rss;
    struct rte_flow_action_mark mark;
    struct rte_flow_action_sample sample;
    struct rte_flow_action copy[FLOW_COPIES_MAX + 1]; /* of sample */
    struct rte_flow_action_port_id to[FLOW_COPIES_MAX], wire;
};

/* 0; -ENOTSUP: the words do not do for it, why says what is missing. */
int flow_rule_make(const struct rule *r, const struct flow_words *w, struct flow_rule *ret,
                   const char **why);

/* What rte_flow_flex_item_create is asked for. conf points to what lies beside it. */
struct flow_flex {
    struct rte_flow_item_flex_conf conf;
    struct rte_flow_item_flex_field field[FLOW_FLEX_WORDS];
    struct rte_flow_item_flex_link link;
    struct rte_flow_item_eth eth[2]; /* spec and mask of link */
    struct rte_flow_item_udp udp[2];
};

/* Our header behind Ethernet of this type, or behind UDP to this port (host byte order). 0;
 * -ENOTSUP: the NIC's parser is too small, or does not come here from such a header; why says. */
int flow_flex_make(const struct nic *nic, enum link_kind kind, uint16_t ethertype,
                   uint16_t udp_port, struct flow_flex *ret, const char **why);

#endif
