/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/wire/link.h"

enum {
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_IP6 = 0x86DD,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88A8,
    IP4_BYTES = 20,
    IP4_VERSION_IHL = 0x45,
    IP4_DONT_FRAGMENT = 0x4000,
    IP4_FRAGMENT = 0x3FFF, /* MF and the offset */
    IP6_BYTES = 40,
    IP6_HOP_BY_HOP = 0,
    IP6_ROUTING = 43,
    IP6_FRAGMENT = 44,
    IP6_DESTINATION = 60,
    UDP_BYTES = 8,
    PROTOCOL_UDP = 17,
    TTL = 64,
    RRDP_SOURCE = 2, /* offsets in the RRDP header */
    RRDP_CLASS = 4,
};

const char *link_verdict_name(enum link_verdict v)
{
    static const char *const name[LINK_VERDICTS] = {
#define X(ID, text) [LINK_##ID] = text,
        LINK_VERDICT_LIST(X)
#undef X
    };
    return (unsigned)v < LINK_VERDICTS ? name[v] : "?";
}

const char *link_kind_name(enum link_kind k)
{
    static const char *const name[LINK_KINDS] = {"ethernet", "udp4", "udp6"};
    return (unsigned)k < LINK_KINDS ? name[k] : "?";
}

static void put_be16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint32_t get_be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t fnv1a(const uint8_t *p, size_t len)
{
    uint32_t h = UINT32_C(0x811C9DC5);
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT32_C(0x01000193);
    return h;
}

/* The ones' complement sum of an IPv4 header; 0xFFFF if its checksum is right. */
static uint32_t ip4_sum(const uint8_t *ip)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < IP4_BYTES; i += 2)
        sum += get_be16(ip + i);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (sum & 0xFFFF) + (sum >> 16);
}

static size_t ip_size(enum link_kind kind)
{
    return kind == LINK_UDP4 ? 4 : 16;
}

int link_init(struct link *l, const struct link_config *cfg, uint16_t ethertype, uint16_t mtu,
              const uint8_t mac[6])
{
    if (cfg != NULL && (unsigned)cfg->kind >= LINK_KINDS)
        return -EINVAL;
    bool udp = cfg != NULL && cfg->kind != LINK_ETHERNET;
    if (udp && (cfg->udp_port == 0 || cfg->nodes > WIRE_NODES_MAX || cfg->self >= cfg->nodes))
        return -EINVAL;
    memset(l, 0, sizeof(*l));
    if (udp)
        l->cfg = *cfg;
    l->ethertype = ethertype;
    l->mtu = mtu;
    memcpy(l->mac, mac, 6);
    return 0;
}

void link_ip_mac(enum link_kind kind, const uint8_t ip[16], uint8_t ret_mac[6])
{
    uint32_t h = fnv1a(ip, 16);
    ret_mac[0] = 2;
    ret_mac[1] = kind == LINK_UDP4 ? 4 : 6;
    if (kind == LINK_UDP4) {
        memcpy(ret_mac + 2, ip, 4);
    } else {
        put_be16(ret_mac + 2, h >> 16);
        put_be16(ret_mac + 4, h);
    }
}

void link_own_mac(const struct link *l, uint8_t ret_mac[6])
{
    if (l->cfg.kind == LINK_ETHERNET)
        memcpy(ret_mac, l->mac, 6);
    else
        link_ip_mac(l->cfg.kind, l->cfg.ip[l->cfg.self], ret_mac);
}

bool link_reaches(const struct link *l, uint8_t peer)
{
    return l->cfg.kind == LINK_ETHERNET || (peer < l->cfg.nodes && (l->known >> peer & 1) != 0);
}

/* ---- write --------------------------------------------------------------------------------- */

uint16_t link_source_port(uint8_t to, uint8_t cls)
{
    const uint8_t flow[2] = {to, cls};
    uint32_t h = fnv1a(flow, sizeof(flow));
    return (uint16_t)(LINK_SOURCE_PORT + ((h ^ h >> 14) & 0x3FFF));
}

static void write_udp(const struct link *l, uint8_t peer, uint8_t cls, uint32_t len, uint8_t *udp)
{
    put_be16(udp, link_source_port(peer, cls));
    put_be16(udp + 2, l->cfg.udp_port);
    put_be16(udp + 4, UDP_BYTES + len);
    put_be16(udp + 6, 0); /* no checksum */
}

static void write_ip4(const struct link *l, uint8_t peer, uint32_t len, uint8_t *ip)
{
    ip[0] = IP4_VERSION_IHL;
    ip[1] = 0;
    put_be16(ip + 2, IP4_BYTES + UDP_BYTES + len);
    put_be16(ip + 4, 0); /* identification: of no use without fragments (RFC 6864) */
    put_be16(ip + 6, IP4_DONT_FRAGMENT);
    ip[8] = TTL;
    ip[9] = PROTOCOL_UDP;
    put_be16(ip + 10, 0);
    memcpy(ip + 12, l->cfg.ip[l->cfg.self], 4);
    memcpy(ip + 16, l->cfg.ip[peer], 4);
    put_be16(ip + 10, ~ip4_sum(ip));
}

static void write_ip6(const struct link *l, uint8_t peer, uint32_t len, uint8_t *ip)
{
    static const uint8_t version_class_label[4] = {0x60};
    memcpy(ip, version_class_label, 4);
    put_be16(ip + 4, UDP_BYTES + len);
    ip[6] = PROTOCOL_UDP;
    ip[7] = TTL;
    memcpy(ip + 8, l->cfg.ip[l->cfg.self], 16);
    memcpy(ip + 24, l->cfg.ip[peer], 16);
}

uint32_t link_write(const struct link *l, uint8_t peer, const uint8_t *mac, uint32_t len,
                    uint8_t *header)
{
    PANDO_CHECK(len <= l->mtu && link_reaches(l, peer));
    uint32_t bytes = link_header_bytes(l->cfg.kind);
    const uint8_t *payload = header + bytes;
    uint8_t *ip = header + LINK_ETHERNET_BYTES;
    memcpy(header + 6, l->mac, 6);
    if (l->cfg.kind == LINK_ETHERNET) {
        if (mac != NULL)
            memcpy(header, mac, 6);
        else
            memset(header, 0xFF, 6);
        put_be16(header + 12, l->ethertype);
        return bytes;
    }
    memcpy(header, l->next_hop[peer], 6);
    if (l->cfg.kind == LINK_UDP4) {
        put_be16(header + 12, ETHERTYPE_IP4);
        write_ip4(l, peer, len, ip);
    } else {
        put_be16(header + 12, ETHERTYPE_IP6);
        write_ip6(l, peer, len, ip);
    }
    write_udp(l, peer, len > RRDP_CLASS ? payload[RRDP_CLASS] & 3 : 0, len,
              header + bytes - UDP_BYTES);
    return bytes;
}

/* ---- read ---------------------------------------------------------------------------------- */

/* The RRDP header names the node that its address must be of, nearly always; where it does not, the
 * transport says more about it than we could. */
static bool is_node(const struct link *l, const uint8_t *ip, const uint8_t *payload, uint32_t len)
{
    size_t size = ip_size(l->cfg.kind);
    uint8_t n = len > RRDP_SOURCE ? payload[RRDP_SOURCE] : l->cfg.nodes;
    if (n < l->cfg.nodes && memcmp(l->cfg.ip[n], ip, size) == 0)
        return true;
    for (n = 0; n < l->cfg.nodes; n++)
        if (memcmp(l->cfg.ip[n], ip, size) == 0)
            return true;
    return false;
}

/* ip_payload: bytes behind the IP header, by its own word. */
static enum link_verdict read_udp(const struct link *l, const uint8_t *src, const uint8_t *dst,
                                  const uint8_t *udp, uint32_t ip_payload, size_t available,
                                  struct link_frame *ret_frame)
{
    const uint8_t *own = l->cfg.ip[l->cfg.self];
    if (memcmp(dst, own, ip_size(l->cfg.kind)) != 0)
        return LINK_ADDRESS;
    if (memcmp(src, own, ip_size(l->cfg.kind)) == 0)
        return LINK_ECHO;
    if (get_be16(udp + 2) != l->cfg.udp_port)
        return LINK_PORT;
    uint32_t udp_len = get_be16(udp + 4);
    if (udp_len != ip_payload || udp_len > available || udp_len <= UDP_BYTES ||
        udp_len - UDP_BYTES > l->mtu)
        return LINK_LENGTH;
    if (!is_node(l, src, udp + UDP_BYTES, udp_len - UDP_BYTES))
        return LINK_STRANGER;
    ret_frame->data = udp + UDP_BYTES;
    ret_frame->len = udp_len - UDP_BYTES;
    link_ip_mac(l->cfg.kind, src, ret_frame->src);
    return LINK_OK;
}

static enum link_verdict read_ip4(const struct link *l, const uint8_t *ip, size_t len,
                                  struct link_frame *ret_frame)
{
    if (ip[0] >> 4 != 4)
        return LINK_IP_VERSION;
    if (ip[0] != IP4_VERSION_IHL)
        return LINK_IP_OPTIONS;
    if (ip4_sum(ip) != 0xFFFF)
        return LINK_CHECKSUM;
    if (get_be16(ip + 6) & IP4_FRAGMENT)
        return LINK_FRAGMENT;
    if (ip[9] != PROTOCOL_UDP)
        return LINK_PROTOCOL;
    if (get_be16(ip + 2) < IP4_BYTES + UDP_BYTES)
        return LINK_LENGTH;
    return read_udp(l, ip + 12, ip + 16, ip + IP4_BYTES, get_be16(ip + 2) - IP4_BYTES,
                    len - IP4_BYTES, ret_frame);
}

static enum link_verdict read_ip6(const struct link *l, const uint8_t *ip, size_t len,
                                  struct link_frame *ret_frame)
{
    if (ip[0] >> 4 != 6)
        return LINK_IP_VERSION;
    if (ip[6] == IP6_FRAGMENT)
        return LINK_FRAGMENT;
    if (ip[6] == IP6_HOP_BY_HOP || ip[6] == IP6_ROUTING || ip[6] == IP6_DESTINATION)
        return LINK_IP_OPTIONS;
    if (ip[6] != PROTOCOL_UDP)
        return LINK_PROTOCOL;
    return read_udp(l, ip + 8, ip + 24, ip + IP6_BYTES, get_be16(ip + 4), len - IP6_BYTES,
                    ret_frame);
}

static enum link_verdict read_ethernet(const struct link *l, const uint8_t *bytes, size_t len,
                                       struct link_frame *ret_frame)
{
    uint32_t payload = (uint32_t)len - LINK_ETHERNET_BYTES;
    if (memcmp(bytes + 6, l->mac, 6) == 0)
        return LINK_ECHO;
    if (payload > l->mtu && payload > LINK_PAYLOAD_MIN)
        return LINK_LENGTH;
    ret_frame->data = bytes + LINK_ETHERNET_BYTES;
    ret_frame->len = payload;
    memcpy(ret_frame->src, bytes + 6, 6);
    return LINK_OK;
}

enum link_verdict link_read(const struct link *l, const uint8_t *bytes, size_t len,
                            struct link_frame *ret_frame)
{
    static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    static const uint16_t ip_type[LINK_KINDS] = {0, ETHERTYPE_IP4, ETHERTYPE_IP6};
    enum link_kind kind = l->cfg.kind;
    if (len <= LINK_ETHERNET_BYTES || len > UINT16_MAX)
        return LINK_SHORT;
    uint32_t type = get_be16(bytes + 12);
    if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ)
        return LINK_TAGGED;
    if (type != (kind == LINK_ETHERNET ? l->ethertype : ip_type[kind]))
        return LINK_ETHERTYPE;
    bool group = kind == LINK_ETHERNET ? (bytes[0] & 1) != 0 : memcmp(bytes, broadcast, 6) == 0;
    if (!group && memcmp(bytes, l->mac, 6) != 0)
        return LINK_MAC;
    if (len < link_header_bytes(kind))
        return LINK_SHORT;
    if (kind == LINK_ETHERNET)
        return read_ethernet(l, bytes, len, ret_frame);
    return (kind == LINK_UDP4 ? read_ip4 : read_ip6)(l, bytes + LINK_ETHERNET_BYTES,
                                                     len - LINK_ETHERNET_BYTES, ret_frame);
}
