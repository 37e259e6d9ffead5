/* SPDX-License-Identifier: BSD-3-Clause */
/* What rules do to a frame, as a NIC would. */
#include <string.h>

#include "offload/plan/internal.h"

enum {
    ETH_BYTES = 14,
    TAG_BYTES = 4,
    TYPE_VLAN = 0x8100,
    VID = 0x0FFF,
    TYPE_IP4 = 0x0800,
    TYPE_IP6 = 0x86DD,
    IP4_FRAGMENT = 0x3FFF,
    IP4_MIN = 20,
    IP6_BYTES = 40,
    UDP_BYTES = 8,
    PROTOCOL_UDP = 17,
};

/* Where the headers are; 0: not there. */
struct parsed {
    const uint8_t *frame;
    size_t len;
    bool tagged, priority_tag; /* one tag; of no VLAN */
    size_t type, ip, udp, rrdp;
};

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static bool parse_ip4(struct parsed *p)
{
    const uint8_t *ip = p->frame + p->ip;
    if (p->len < p->ip + IP4_MIN || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
        return false;
    p->udp = p->ip + (ip[0] & 15) * 4u;
    return ip[9] == PROTOCOL_UDP && (be16(ip + 6) & IP4_FRAGMENT) == 0;
}

static bool parse_ip6(struct parsed *p)
{
    const uint8_t *ip = p->frame + p->ip;
    p->udp = p->ip + IP6_BYTES;
    return p->len >= p->udp && ip[0] >> 4 == 6 && ip[6] == PROTOCOL_UDP;
}

/* False: no frame of this kind. */
static bool parse(struct parsed *p, enum link_kind kind)
{
    if (p->len < ETH_BYTES)
        return false;
    p->type = ETH_BYTES - 2;
    p->tagged = be16(p->frame + p->type) == TYPE_VLAN;
    if (p->tagged)
        p->type += TAG_BYTES;
    p->ip = p->type + 2;
    if (p->len < p->ip)
        return false;
    p->priority_tag = p->tagged && (be16(p->frame + ETH_BYTES) & VID) == 0;
    if (kind == LINK_ETHERNET) {
        p->rrdp = p->ip;
        return true;
    }
    uint32_t type = be16(p->frame + p->type);
    bool ok =
        kind == LINK_UDP4 ? type == TYPE_IP4 && parse_ip4(p) : type == TYPE_IP6 && parse_ip6(p);
    p->rrdp = p->udp + UDP_BYTES;
    return ok && p->len >= p->rrdp;
}

static bool field_is(const struct rule *r, unsigned f, const struct parsed *p, enum link_kind kind)
{
    static const uint8_t in_ip4[] = {[RULE_IP_SRC] = 12, [RULE_IP_DST] = 16, [RULE_IP_PROTO] = 9};
    static const uint8_t in_ip6[] = {[RULE_IP_SRC] = 8, [RULE_IP_DST] = 24, [RULE_IP_PROTO] = 6};
    const uint8_t *in_ip = kind == LINK_UDP4 ? in_ip4 : in_ip6;
    size_t bytes = rule_field_bytes((enum rule_field)f, kind), at = 0;
    uint8_t mask = 0xFF;
    switch (f) {
    case RULE_ETH_DST:
        break;
    case RULE_ETH_SRC:
        at = 6;
        break;
    case RULE_ETH_TYPE:
        at = p->type;
        break;
    case RULE_VLAN_PCP:
        return p->tagged && p->frame[ETH_BYTES] >> 5 == r->value[f][0];
    case RULE_UDP_SRC:
        at = p->udp;
        break;
    case RULE_UDP_DST:
        at = p->udp + 2;
        break;
    case RULE_RRDP_SOURCE:
        at = p->rrdp + RULE_RRDP_SOURCE_AT;
        break;
    case RULE_RRDP_CLASS:
        at = p->rrdp + RULE_RRDP_CLASS_AT;
        mask = RULE_RRDP_CLASS_MASK;
        break;
    case RULE_RRDP_TAG:
        at = p->rrdp + RULE_RRDP_TAG_AT;
        break;
    default:
        at = p->ip + in_ip[f];
    }
    if (p->len < at + bytes)
        return false;
    if (mask != 0xFF)
        return (p->frame[at] & mask) == r->value[f][0];
    return memcmp(p->frame + at, r->value[f], bytes) == 0;
}

static bool takes(const struct rule *r, const struct parsed *p, enum link_kind kind)
{
    if (r->transfer || p->tagged != p->priority_tag || r->tagged != p->tagged)
        return false;
    for (uint32_t f = r->fields; f != 0; f &= f - 1)
        if (!field_is(r, (unsigned)__builtin_ctz(f), p, kind))
            return false;
    return true;
}

int32_t plan_apply(const struct plan *plan, enum link_kind kind, const uint8_t *frame, size_t len)
{
    struct parsed p = {.frame = frame, .len = len};
    int32_t best = -1;
    if (!parse(&p, kind))
        return -1;
    for (uint32_t i = 0; i < plan->rules; i++) {
        const struct rule *r = &plan->rule[i];
        if (takes(r, &p, kind) && (best < 0 || r->priority < plan->rule[best].priority))
            best = (int32_t)i;
    }
    return best;
}
