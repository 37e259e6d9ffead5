/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules and intents in words; rules in those of dpdk-testpmd. */
#include <string.h>

#include "dataplane/base/text.h"
#include "offload/plan/internal.h"

enum {
    HEADER_BITS = WIRE_RRDP_HEADER * 8,
    FLEX_BYTES = 12, /* of a flex item: bytes 0 to 7 and 16 to 19 of the header */
    FLEX_FIRST = 8,  /* ... so many, then the tag */
    RAW_FROM = 2,    /* bytes of the header, from source to class */
    RAW_BYTES = RULE_RRDP_CLASS_AT + 1 - RAW_FROM,
    RAW_EVEN = RAW_BYTES + RAW_BYTES % 2, /* i40e's unit is a word */
    FRAME_MAX = LINK_BYTES_MAX + WIRE_RRDP_HEADER,
};

const char *plan_backend_name(enum backend b)
{
    static const char *const name[BACKENDS] = {
#define X(ID, text) [BACKEND_##ID] = text,
        BACKEND_LIST(X)
#undef X
    };
    return (unsigned)b < BACKENDS ? name[b] : "?";
}

const char *plan_intent_name(enum intent_type t)
{
    static const char *const name[INTENTS] = {
#define X(ID, text) [INTENT_##ID] = text,
        INTENT_LIST(X)
#undef X
    };
    return (unsigned)t < INTENTS ? name[t] : "?";
}

const char *rule_field_name(enum rule_field f)
{
    static const char *const name[RULE_FIELDS] = {
#define X(ID, text, bytes) [RULE_##ID] = text,
        RULE_FIELD_LIST(X)
#undef X
    };
    return (unsigned)f < RULE_FIELDS ? name[f] : "?";
}

const char *rule_action_name(enum rule_action a)
{
    static const char *const name[RULE_ACTIONS] = {
#define X(ID, text) [RULE_DO_##ID] = text,
        RULE_ACTION_LIST(X)
#undef X
    };
    return (unsigned)a < RULE_ACTIONS ? name[a] : "?";
}

uint32_t rule_field_bytes(enum rule_field f, enum link_kind kind)
{
    static const uint8_t of[RULE_FIELDS] = {
#define X(ID, text, bytes) [RULE_##ID] = bytes,
        RULE_FIELD_LIST(X)
#undef X
    };
    bool ip4 = kind == LINK_UDP4 && (f == RULE_IP_SRC || f == RULE_IP_DST);
    return ip4 ? 4 : of[f];
}

/* ---- values -------------------------------------------------------------------------------- */

static void put_hex_byte(struct text *t, uint8_t v)
{
    text_char(t, "0123456789abcdef"[v >> 4]);
    text_char(t, "0123456789abcdef"[v & 15]);
}

static void put_hex(struct text *t, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_hex_byte(t, p[i]);
}

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void put_mac(struct text *t, const uint8_t *mac)
{
    for (unsigned i = 0; i < 6; i++) {
        if (i > 0)
            text_char(t, ':');
        put_hex_byte(t, mac[i]);
    }
}

static void put_ip(struct text *t, enum link_kind kind, const uint8_t *ip)
{
    unsigned n = kind == LINK_UDP4 ? 4 : 8;
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            text_char(t, kind == LINK_UDP4 ? '.' : ':');
        if (kind == LINK_UDP4)
            text_dec(t, ip[i]);
        else
            text_number(t, be16(ip + 2 * (size_t)i), 16);
    }
}

/* Our header as far as the rule matches it, and its mask. */
static void header_of(const struct rule *r, uint8_t spec[WIRE_RRDP_HEADER],
                      uint8_t mask[WIRE_RRDP_HEADER])
{
    memset(spec, 0, WIRE_RRDP_HEADER);
    memset(mask, 0, WIRE_RRDP_HEADER);
    if (r->fields & FIELD(RRDP_SOURCE)) {
        spec[RULE_RRDP_SOURCE_AT] = r->value[RULE_RRDP_SOURCE][0];
        mask[RULE_RRDP_SOURCE_AT] = 0xFF;
    }
    if (r->fields & FIELD(RRDP_CLASS)) {
        spec[RULE_RRDP_CLASS_AT] = r->value[RULE_RRDP_CLASS][0];
        mask[RULE_RRDP_CLASS_AT] = RULE_RRDP_CLASS_MASK;
    }
    if (r->fields & FIELD(RRDP_TAG)) {
        memcpy(spec + RULE_RRDP_TAG_AT, r->value[RULE_RRDP_TAG], 4);
        memset(mask + RULE_RRDP_TAG_AT, 0xFF, 4);
    }
}

/* ---- pattern ------------------------------------------------------------------------------- */

static void is(struct text *t, const struct rule *r, enum link_kind kind, enum rule_field f,
               const char *word)
{
    const uint8_t *v = r->value[f];
    if ((r->fields >> f & 1) == 0)
        return;
    text_char(t, ' ');
    text_str(t, word);
    text_str(t, " is ");
    if (f == RULE_ETH_SRC || f == RULE_ETH_DST) {
        put_mac(t, v);
    } else if (f == RULE_IP_SRC || f == RULE_IP_DST) {
        put_ip(t, kind, v);
    } else if (f == RULE_ETH_TYPE) {
        text_hex(t, be16(v));
    } else {
        text_dec(t, rule_field_bytes(f, kind) == 2 ? be16(v) : v[0]);
    }
}

/* ice: the whole frame from its first byte on, and a mask of the same length. */
static void put_frame(struct text *t, const struct rule *r, enum link_kind kind)
{
    uint8_t spec[FRAME_MAX] = {0}, mask[FRAME_MAX] = {0};
    size_t at = link_header_bytes(kind), n = at + WIRE_RRDP_HEADER;
    if (r->fields & FIELD(ETH_TYPE)) {
        memcpy(spec + 12, r->value[RULE_ETH_TYPE], 2);
        memset(mask + 12, 0xFF, 2);
    }
    header_of(r, spec + at, mask + at);
    text_str(t, " raw pattern spec ");
    put_hex(t, spec, n);
    text_str(t, " pattern mask ");
    put_hex(t, mask, n);
    text_str(t, " /");
}

static void put_raw(struct text *t, const struct rule *r)
{
    uint8_t spec[WIRE_RRDP_HEADER], mask[WIRE_RRDP_HEADER];
    bool tag = (r->fields & FIELD(RRDP_TAG)) != 0;
    size_t n = tag ? RULE_RRDP_TAG_AT + 4 - RAW_FROM : RAW_EVEN;
    header_of(r, spec, mask);
    text_str(t, " raw relative is 1 offset is ");
    text_dec(t, RAW_FROM);
    text_str(t, " pattern_hex spec ");
    put_hex(t, spec + RAW_FROM, n);
    text_str(t, " pattern_hex mask ");
    put_hex(t, mask + RAW_FROM, n);
    text_str(t, " /");
}

static void put_eth(struct text *t, const struct rule *r, enum link_kind kind)
{
    text_str(t, " eth");
    is(t, r, kind, RULE_ETH_SRC, "src");
    is(t, r, kind, RULE_ETH_DST, "dst");
    if (!r->tagged)
        is(t, r, kind, RULE_ETH_TYPE, "type");
    text_str(t, " /");
    if (!r->tagged)
        return;
    text_str(t, " vlan vid is 0");
    is(t, r, kind, RULE_VLAN_PCP, "pcp");
    is(t, r, kind, RULE_ETH_TYPE, "inner_type");
    text_str(t, " /");
}

static void put_pattern(struct text *t, const struct nic *nic, const struct rule *r,
                        const struct plan_input *in)
{
    enum link_kind kind = in->link.kind;
    bool ours = (r->fields & FIELDS_OF_RRDP) != 0;
    text_str(t, " pattern");
    if (r->transfer) {
        text_str(t, " port_id id is ");
        text_dec(t, in->own_port);
        text_str(t, " /");
    }
    if (ours && nic->flex == NIC_FLEX_FRAME) {
        put_frame(t, r, kind);
        text_str(t, " end");
        return;
    }
    put_eth(t, r, kind);
    if (kind != LINK_ETHERNET) {
        text_str(t, kind == LINK_UDP4 ? " ipv4" : " ipv6");
        is(t, r, kind, RULE_IP_SRC, "src");
        is(t, r, kind, RULE_IP_DST, "dst");
        is(t, r, kind, RULE_IP_PROTO, "proto");
        text_str(t, " / udp");
        is(t, r, kind, RULE_UDP_SRC, "src");
        is(t, r, kind, RULE_UDP_DST, "dst");
        text_str(t, " /");
    }
    if (ours && nic->flex == NIC_FLEX_ITEM)
        text_str(t, " flex item is 0 pattern is 0 /");
    else if (ours)
        put_raw(t, r);
    text_str(t, " end");
}

/* ---- actions ------------------------------------------------------------------------------- */

static void put_actions(struct text *t, const struct rule *r, const struct plan_input *in)
{
    text_str(t, " actions");
    if (r->actions & DO(COUNT))
        text_str(t, " count /");
    if (r->actions & DO(QUEUE)) {
        text_str(t, " queue index ");
        text_dec(t, r->queue);
        text_str(t, " /");
    }
    if (r->actions & DO(RSS)) {
        text_str(t, " rss queues ");
        text_dec(t, r->queue);
        text_str(t, " end /");
    }
    if (r->actions & DO(DROP))
        text_str(t, " drop /");
    if (r->actions & DO(MARK)) {
        text_str(t, " mark id ");
        text_hex(t, r->mark);
        text_str(t, " /");
    }
    if (r->actions & DO(REPLICATE)) {
        text_str(t, " sample ratio 1 index 0 / port_id id ");
        text_dec(t, in->wire_port);
        text_str(t, " /");
    }
    text_str(t, " end");
}

size_t plan_rule_text(const struct nic *nic, const struct plan_input *in, const struct rule *r,
                      char *out, size_t size)
{
    struct text t = text_begin(out, size);
    if (r->group != 0) {
        text_str(&t, "group ");
        text_dec(&t, r->group);
        text_char(&t, ' ');
    }
    if (r->priority != 0) {
        text_str(&t, "priority ");
        text_dec(&t, r->priority);
        text_char(&t, ' ');
    }
    text_str(&t, r->transfer ? "transfer" : "ingress");
    put_pattern(&t, nic, r, in);
    put_actions(&t, r, in);
    return t.len;
}

static void put_flex(struct text *t, const uint8_t header[WIRE_RRDP_HEADER])
{
    put_hex(t, header, FLEX_FIRST);
    put_hex(t, header + RULE_RRDP_TAG_AT, FLEX_BYTES - FLEX_FIRST);
}

size_t plan_before_rule_text(const struct nic *nic, const struct plan_input *in,
                             const struct rule *r, char *out, size_t size)
{
    struct text t = text_begin(out, size);
    if ((r->fields & FIELDS_OF_RRDP) != 0 && nic->flex == NIC_FLEX_ITEM) {
        uint8_t spec[WIRE_RRDP_HEADER], mask[WIRE_RRDP_HEADER];
        header_of(r, spec, mask);
        text_str(&t, "set flex_pattern 0 spec ");
        put_flex(&t, spec);
        text_str(&t, " mask ");
        put_flex(&t, mask);
    }
    if (r->actions & DO(REPLICATE)) {
        text_str(&t, "set sample_actions 0");
        for (uint64_t c = r->copies; c != 0; c &= c - 1) {
            text_str(&t, " port_id id ");
            text_dec(&t, in->local_port[bit64_first(c)]);
            text_str(&t, " /");
        }
        text_str(&t, " end");
    }
    return t.len;
}

/* The description that testpmd reads from a file; one sample for each word of the header. */
size_t plan_before_all_text(const struct nic *nic, const struct plan_input *in,
                            const struct plan *p, char *out, size_t size)
{
    static const uint8_t at[] = {0, 4, RULE_RRDP_TAG_AT};
    struct text t = text_begin(out, size);
    bool flex = false;
    for (uint32_t i = 0; i < p->rules; i++)
        flex = flex || (p->rule[i].fields & FIELDS_OF_RRDP) != 0;
    if (!flex || nic->flex != NIC_FLEX_ITEM)
        return 0;
    text_str(&t, "# pando.json: {\"next_header\": {\"field_mode\": \"FIELD_MODE_FIXED\", "
                 "\"field_base\": ");
    text_dec(&t, HEADER_BITS);
    text_str(&t, "}, \"next_protocol\": {\"field_mode\": \"FIELD_MODE_DUMMY\"},\n"
                 "#   \"tunnel\": \"FLEX_TUNNEL_MODE_SINGLE\", \"sample_data\": [");
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(at); i++) {
        text_str(&t, i > 0 ? ", " : "");
        text_str(&t, "{\"field_mode\": \"FIELD_MODE_FIXED\", \"field_size\": 32, \"field_base\": ");
        text_dec(&t, at[i] * UINT64_C(8));
        text_char(&t, '}');
    }
    text_str(&t, "],\n#   \"input_link\": [{\"item\": \"");
    text_str(&t, in->link.kind == LINK_ETHERNET ? "eth type is " : "udp dst is ");
    if (in->link.kind == LINK_ETHERNET)
        text_hex(&t, in->ethertype);
    else
        text_dec(&t, in->link.udp_port);
    text_str(&t, "\"}]}\nflow flex_item create 0 0 pando.json\n");
    return t.len;
}

/* ---- intents ------------------------------------------------------------------------------- */

size_t plan_intent_text(const struct intent *i, char *out, size_t size)
{
    struct text t = text_begin(out, size);
    text_str(&t, plan_intent_name(i->type));
    if (i->type == INTENT_FENCE_EPOCH) {
        text_char(&t, ' ');
        text_hex(&t, i->tag);
    }
    if (i->cls != RULE_ANY) {
        text_char(&t, ' ');
        text_str(&t, wire_class_name(i->cls));
    }
    if (i->node != RULE_ANY) {
        text_str(&t, i->type == INTENT_FENCE_NODE    ? " "
                     : i->type == INTENT_FENCE_EPOCH ? " of node "
                                                     : " from node ");
        text_dec(&t, i->node);
    }
    if (i->type == INTENT_STEER) {
        text_str(&t, " to queue ");
        text_dec(&t, i->queue);
    }
    return t.len;
}
