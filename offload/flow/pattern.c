/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/pattern.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "dataplane/base/bits.h"

enum {
    SPEC,
    MASK,
    ETHERTYPE_AT = 12,
    IP_AT = LINK_ETHERNET_BYTES,
    IPV4_PROTO_AT = 9,
    IPV4_SRC_AT = 12,
    IPV6_PROTO_AT = 6,
    IPV6_SRC_AT = 8,
    TCI_PRIORITY_SHIFT = 13,
    TCI_VID = 0x0FFF,
    IPV4 = 0x0800,
    IPV6 = 0x86DD,
};

static bool has(const struct rule *r, enum rule_field f)
{
    return (r->fields & 1u << f) != 0;
}

/* Copies a field's value, and the mask of all its bits. */
static void put(const struct rule *r, enum rule_field f, void *spec, void *mask, size_t len)
{
    if (!has(r, f))
        return;
    memcpy(spec, r->value[f], len);
    memset(mask, 0xFF, len);
}

/* An item that asks for nothing but the header has neither. */
static void add(struct flow_rule *out, unsigned *n, enum rte_flow_item_type type, const void *spec,
                const void *mask, size_t len)
{
    static const uint8_t none[sizeof(struct rte_flow_item_ipv6)];
    bool empty = memcmp(mask, none, len) == 0;
    out->item[(*n)++] = (struct rte_flow_item){
        .type = type, .spec = empty ? NULL : spec, .mask = empty ? NULL : mask};
}

static void add_ethernet(const struct rule *r, enum link_kind kind, struct flow_rule *out,
                         unsigned *n)
{
    struct rte_flow_item_eth *e = out->eth;
    struct rte_flow_item_vlan *v = out->vlan;
    put(r, RULE_ETH_SRC, &e[SPEC].hdr.src_addr, &e[MASK].hdr.src_addr, 6);
    put(r, RULE_ETH_DST, &e[SPEC].hdr.dst_addr, &e[MASK].hdr.dst_addr, 6);
    if (!r->tagged)
        put(r, RULE_ETH_TYPE, &e[SPEC].hdr.ether_type, &e[MASK].hdr.ether_type, 2);
    add(out, n, RTE_FLOW_ITEM_TYPE_ETH, &e[SPEC], &e[MASK], sizeof(e[0]));
    if (!r->tagged)
        return;
    if (kind == LINK_ETHERNET)
        put(r, RULE_ETH_TYPE, &v[SPEC].hdr.eth_proto, &v[MASK].hdr.eth_proto, 2);
    v[MASK].hdr.vlan_tci = htons(TCI_VID); /* a priority tag is of no VLAN */
    if (has(r, RULE_VLAN_PCP)) {
        v[SPEC].hdr.vlan_tci = htons((uint16_t)(r->value[RULE_VLAN_PCP][0] << TCI_PRIORITY_SHIFT));
        v[MASK].hdr.vlan_tci |= htons(7u << TCI_PRIORITY_SHIFT);
    }
    add(out, n, RTE_FLOW_ITEM_TYPE_VLAN, &v[SPEC], &v[MASK], sizeof(v[0]));
}

static void add_udp(const struct rule *r, enum link_kind kind, struct flow_rule *out, unsigned *n)
{
    if (kind == LINK_UDP4) {
        struct rte_flow_item_ipv4 *i = out->ip.v4;
        put(r, RULE_IP_SRC, &i[SPEC].hdr.src_addr, &i[MASK].hdr.src_addr, 4);
        put(r, RULE_IP_DST, &i[SPEC].hdr.dst_addr, &i[MASK].hdr.dst_addr, 4);
        put(r, RULE_IP_PROTO, &i[SPEC].hdr.next_proto_id, &i[MASK].hdr.next_proto_id, 1);
        add(out, n, RTE_FLOW_ITEM_TYPE_IPV4, &i[SPEC], &i[MASK], sizeof(i[0]));
    } else {
        struct rte_flow_item_ipv6 *i = out->ip.v6;
        put(r, RULE_IP_SRC, i[SPEC].hdr.src_addr, i[MASK].hdr.src_addr, 16);
        put(r, RULE_IP_DST, i[SPEC].hdr.dst_addr, i[MASK].hdr.dst_addr, 16);
        put(r, RULE_IP_PROTO, &i[SPEC].hdr.proto, &i[MASK].hdr.proto, 1);
        add(out, n, RTE_FLOW_ITEM_TYPE_IPV6, &i[SPEC], &i[MASK], sizeof(i[0]));
    }
    struct rte_flow_item_udp *u = out->udp;
    put(r, RULE_UDP_SRC, &u[SPEC].hdr.src_port, &u[MASK].hdr.src_port, 2);
    put(r, RULE_UDP_DST, &u[SPEC].hdr.dst_port, &u[MASK].hdr.dst_port, 2);
    add(out, n, RTE_FLOW_ITEM_TYPE_UDP, &u[SPEC], &u[MASK], sizeof(u[0]));
}

/* Fields of our header where they lie in it; returns how far they reach, 0 if there are none.
 * *ret_from: the first. */
static size_t own_header(const struct rule *r, uint8_t *spec, uint8_t *mask, size_t *ret_from)
{
    size_t from = SIZE_MAX, until = 0;
    static const struct {
        enum rule_field field;
        size_t at;
        uint8_t mask;
    } where[] = {{RULE_RRDP_SOURCE, RULE_RRDP_SOURCE_AT, 0xFF},
                 {RULE_RRDP_CLASS, RULE_RRDP_CLASS_AT, RULE_RRDP_CLASS_MASK},
                 {RULE_RRDP_TAG, RULE_RRDP_TAG_AT, 0xFF}};
    for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
        size_t len = where[i].field == RULE_RRDP_TAG ? 4 : 1;
        if (!has(r, where[i].field))
            continue;
        memcpy(spec + where[i].at, r->value[where[i].field], len);
        memset(mask + where[i].at, where[i].mask, len);
        from = where[i].at < from ? where[i].at : from;
        until = where[i].at + len > until ? where[i].at + len : until;
    }
    *ret_from = until > 0 ? from : 0;
    return until;
}

static void add_raw(struct flow_rule *out, unsigned *n, bool relative, size_t at, size_t len)
{
    out->raw[SPEC] = (struct rte_flow_item_raw){.relative = relative,
                                                .offset = (int32_t)at,
                                                .length = (uint16_t)len,
                                                .pattern = out->bytes[SPEC]};
    out->raw[MASK] = (struct rte_flow_item_raw){.relative = 1,
                                                .offset = -1,
                                                .limit = UINT16_MAX,
                                                .length = UINT16_MAX, /* all of it */
                                                .search = 1,
                                                .pattern = out->bytes[MASK]};
    out->item[(*n)++] = (struct rte_flow_item){
        .type = RTE_FLOW_ITEM_TYPE_RAW, .spec = &out->raw[SPEC], .mask = &out->raw[MASK]};
}

/* From word to word: i40e counts in them, and leaves out half a one. */
static void add_relative(const struct rule *r, struct flow_rule *out, unsigned *n)
{
    uint8_t spec[WIRE_RRDP_HEADER_MAX] = {0}, mask[WIRE_RRDP_HEADER_MAX] = {0};
    size_t from, until = own_header(r, spec, mask, &from);
    from -= from % 2;
    until += until % 2;
    memcpy(out->bytes[SPEC], spec + from, until - from);
    memcpy(out->bytes[MASK], mask + from, until - from);
    add_raw(out, n, true, from, until - from);
}

/* The words that the parser samples, one behind the other. */
static const uint8_t flex_word[FLOW_FLEX_WORDS] = {0, 4, RULE_RRDP_TAG_AT};

static void add_flex(const struct rule *r, const struct flow_words *w, struct flow_rule *out,
                     unsigned *n)
{
    uint8_t own[2][WIRE_RRDP_HEADER_MAX] = {0};
    size_t from;
    own_header(r, own[SPEC], own[MASK], &from);
    for (unsigned m = SPEC; m <= MASK; m++) {
        for (unsigned i = 0; i < FLOW_FLEX_WORDS; i++)
            memcpy(out->bytes[m] + (size_t)4 * i, own[m] + flex_word[i], 4);
        out->flex[m] = (struct rte_flow_item_flex){
            .handle = w->item, .length = 4 * FLOW_FLEX_WORDS, .pattern = out->bytes[m]};
    }
    out->item[(*n)++] = (struct rte_flow_item){
        .type = RTE_FLOW_ITEM_TYPE_FLEX, .spec = &out->flex[SPEC], .mask = &out->flex[MASK]};
}

static void put_digits(uint8_t *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = (uint8_t) "0123456789ABCDEF"[bytes[i] >> 4];
        out[2 * i + 1] = (uint8_t) "0123456789ABCDEF"[bytes[i] & 15];
    }
}

/* The frame from its first byte to the end of our header. What says which headers there are stands
 * in it, whether it is matched or not: the driver parses it. ice matches pairs of bytes, and none
 * that the pattern ends in, so it does not end with the last field. */
static void add_frame(const struct rule *r, enum link_kind kind, struct flow_rule *out, unsigned *n)
{
    uint8_t spec[FLOW_FRAME] = {0}, mask[FLOW_FRAME] = {0};
    size_t header = link_header_bytes(kind), udp = header - 8, from;
    size_t until = header + WIRE_RRDP_HEADER;
    put(r, RULE_ETH_DST, spec, mask, 6);
    put(r, RULE_ETH_SRC, spec + 6, mask + 6, 6);
    if (kind == LINK_ETHERNET) {
        put(r, RULE_ETH_TYPE, spec + ETHERTYPE_AT, mask + ETHERTYPE_AT, 2);
    } else {
        bool v4 = kind == LINK_UDP4;
        size_t proto = IP_AT + (v4 ? IPV4_PROTO_AT : IPV6_PROTO_AT), len = v4 ? 4 : 16;
        size_t src = IP_AT + (v4 ? IPV4_SRC_AT : IPV6_SRC_AT);
        spec[ETHERTYPE_AT] = (uint8_t)((v4 ? IPV4 : IPV6) >> 8);
        spec[ETHERTYPE_AT + 1] = (uint8_t)(v4 ? IPV4 : IPV6);
        spec[IP_AT] = v4 ? 0x45 : 0x60;
        spec[proto] = IPPROTO_UDP;
        put(r, RULE_IP_PROTO, spec + proto, mask + proto, 1);
        put(r, RULE_IP_SRC, spec + src, mask + src, len);
        put(r, RULE_IP_DST, spec + src + len, mask + src + len, len);
        put(r, RULE_UDP_SRC, spec + udp, mask + udp, 2);
        put(r, RULE_UDP_DST, spec + udp + 2, mask + udp + 2, 2);
    }
    own_header(r, spec + header, mask + header, &from);
    put_digits(out->bytes[SPEC], spec, until);
    put_digits(out->bytes[MASK], mask, until);
    add_raw(out, n, false, 0, 2 * until);
}

/* The frame goes on to the wire, copies of it to the nodes behind the switch. */
static unsigned add_copies(const struct rule *r, const struct flow_words *w, struct flow_rule *out,
                           unsigned n)
{
    unsigned k = 0;
    for (uint64_t c = r->copies; c != 0; c &= c - 1, k++) {
        out->to[k].id = w->local_port[bit64_first(c)];
        out->copy[k] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_PORT_ID, &out->to[k]};
    }
    out->copy[k].type = RTE_FLOW_ACTION_TYPE_END;
    out->sample = (struct rte_flow_action_sample){.ratio = 1, .actions = out->copy};
    out->wire.id = w->wire_port;
    out->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_SAMPLE, &out->sample};
    out->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_PORT_ID, &out->wire};
    return n;
}

static void make_actions(const struct rule *r, const struct flow_words *w, struct flow_rule *out)
{
    unsigned n = 0;
    if (r->actions & 1u << RULE_DO_COUNT)
        out->action[n++].type = RTE_FLOW_ACTION_TYPE_COUNT;
    if (r->actions & 1u << RULE_DO_MARK) {
        out->mark.id = r->mark;
        out->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_MARK, &out->mark};
    }
    out->queue.index = r->queue;
    out->rss = (struct rte_flow_action_rss){.queue_num = 1, .queue = &out->queue.index};
    if (r->actions & 1u << RULE_DO_REPLICATE)
        n = add_copies(r, w, out, n);
    else if (r->actions & 1u << RULE_DO_DROP)
        out->action[n++].type = RTE_FLOW_ACTION_TYPE_DROP;
    else if (r->actions & 1u << RULE_DO_RSS)
        out->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_RSS, &out->rss};
    else if (r->actions & 1u << RULE_DO_QUEUE)
        out->action[n++] = (struct rte_flow_action){RTE_FLOW_ACTION_TYPE_QUEUE, &out->queue};
    out->action[n].type = RTE_FLOW_ACTION_TYPE_END;
}

static void add_from(const struct flow_words *w, struct flow_rule *out, unsigned *n)
{
    out->from[SPEC].id = w->own_port;
    out->from[MASK].id = UINT32_MAX;
    add(out, n, RTE_FLOW_ITEM_TYPE_PORT_ID, &out->from[SPEC], &out->from[MASK],
        sizeof(out->from[0]));
}

/* NULL: nothing is. */
static const char *missing(const struct rule *r, const struct flow_words *w, bool matches_own)
{
    if (r->transfer != ((r->actions & 1u << RULE_DO_REPLICATE) != 0))
        return "copies are made in the embedded switch, and nothing else is";
    if (r->transfer && (r->copies == 0 || bit64_count(r->copies) > FLOW_COPIES_MAX))
        return "a rule in the embedded switch makes 1 to 8 copies";
    if (matches_own && w->flex == NIC_FLEX_NONE)
        return "the NIC does not match bytes of our header";
    if (matches_own && w->flex == NIC_FLEX_FRAME && r->tagged)
        return "a pattern of the whole frame is without a tag";
    if (matches_own && w->flex == NIC_FLEX_ITEM && w->item == NULL)
        return "the port has no flex item for our header";
    return NULL;
}

int flow_rule_make(const struct rule *r, const struct flow_words *w, struct flow_rule *ret,
                   const char **why)
{
    const uint32_t own = 1u << RULE_RRDP_SOURCE | 1u << RULE_RRDP_CLASS | 1u << RULE_RRDP_TAG;
    bool matches_own = (r->fields & own) != 0;
    unsigned n = 0;
    *why = missing(r, w, matches_own);
    if (*why != NULL)
        return -ENOTSUP;
    memset(ret, 0, sizeof(*ret));
    ret->attr = (struct rte_flow_attr){.group = r->group,
                                       .priority = r->priority,
                                       .ingress = !r->transfer,
                                       .transfer = r->transfer};
    if (r->transfer)
        add_from(w, ret, &n);
    if (matches_own && w->flex == NIC_FLEX_FRAME) {
        add_frame(r, w->kind, ret, &n);
    } else {
        add_ethernet(r, w->kind, ret, &n);
        if (w->kind != LINK_ETHERNET)
            add_udp(r, w->kind, ret, &n);
        if (matches_own && w->flex == NIC_FLEX_ITEM)
            add_flex(r, w, ret, &n);
        else if (matches_own)
            add_relative(r, ret, &n);
    }
    ret->item[n].type = RTE_FLOW_ITEM_TYPE_END;
    make_actions(r, w, ret);
    return 0;
}

int flow_flex_make(const struct nic *nic, enum link_kind kind, uint16_t ethertype,
                   uint16_t udp_port, struct flow_flex *ret, const char **why)
{
    bool udp = kind != LINK_ETHERNET;
    *why = nic->flex_samples < FLOW_FLEX_WORDS  ? "the NIC's parser samples fewer than 3 words"
           : (nic->flex_links >> kind & 1) == 0 ? "the NIC's parser does not follow this link"
                                                : NULL;
    if (*why != NULL)
        return -ENOTSUP;
    memset(ret, 0, sizeof(*ret));
    for (unsigned i = 0; i < FLOW_FLEX_WORDS; i++)
        ret->field[i] = (struct rte_flow_item_flex_field){
            .field_mode = FIELD_MODE_FIXED, .field_size = 32, .field_base = flex_word[i] * 8};
    ret->eth[SPEC].hdr.ether_type = htons(ethertype);
    ret->eth[MASK].hdr.ether_type = UINT16_MAX;
    ret->udp[SPEC].hdr.dst_port = htons(udp_port);
    ret->udp[MASK].hdr.dst_port = UINT16_MAX;
    ret->link.item.type = udp ? RTE_FLOW_ITEM_TYPE_UDP : RTE_FLOW_ITEM_TYPE_ETH;
    ret->link.item.spec = udp ? (const void *)&ret->udp[SPEC] : &ret->eth[SPEC];
    ret->link.item.mask = udp ? (const void *)&ret->udp[MASK] : &ret->eth[MASK];
    ret->conf = (struct rte_flow_item_flex_conf){
        .tunnel = FLEX_TUNNEL_MODE_SINGLE,
        .next_header = {.field_mode = FIELD_MODE_FIXED, .field_base = WIRE_RRDP_HEADER * 8},
        .next_protocol = {.field_mode = FIELD_MODE_DUMMY},
        .sample_data = ret->field,
        .nb_samples = FLOW_FLEX_WORDS,
        .input_link = &ret->link,
        .nb_inputs = 1};
    return 0;
}
