/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takes Pando's frames off an interface: contract.h says which, and what becomes of the others. For
 * the BPF target; it reads nothing of the kernel's own structures, so that one object fits all.
 *
 * Of RRDP (dataplane/wire/wire.h) it knows the bytes that it compares: version and flags 0, nodes 2
 * and 3, class 4, cluster 7; source and cluster are where they are in every version. The one frame
 * that it answers is HOST-PING, and only one that is right to the last byte; one with a wrong RRDP
 * header goes to the process, which counts why, one with a wrong link header to the kernel.
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/contract.h"

enum {
    RRDP_HEADER = 24,
    RRDP_VERSION = 1,
    RRDP_VERSION_MASK = 3,
    RRDP_PING = RRDP_VERSION | 1 << 2 | 1 << 6, /* SYN, NUL */
    RRDP_ACK = 1 << 3,
    RRDP_WORDS = RRDP_HEADER / 4,
    RRDP_CRC = 20,
    PING_BY_KERNEL = 1,
    PAYLOAD_MIN = 46, /* what Ethernet pads a frame's payload to */
    UDP_PING = sizeof(struct udphdr) + RRDP_HEADER,
    IP4_FRAGMENT = 0x3FFF,
    IP6_HOP_BY_HOP = 0,
    IP6_ROUTING = 43,
    IP6_FRAGMENT = 44,
    IP6_DESTINATION = 60,
    TTL = 64,
    /* Where the RRDP header begins. That number tells the encapsulation behind find_header, as the
     * verifier follows it on every path; the config may change meanwhile. */
    AT_ETHERNET = sizeof(struct ethhdr),
    AT_UDP4 = AT_ETHERNET + sizeof(struct iphdr) + sizeof(struct udphdr),
    AT_UDP6 = AT_ETHERNET + sizeof(struct ipv6hdr) + sizeof(struct udphdr),
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct steer_config);
} config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, STEER_QUEUES_MAX *STEER_SOCKETS);
    __type(key, __u32);
    __type(value, __u32);
} sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, STEER_REASONS);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

/* As in dataplane/base/crc32c.c. */
static const __u32 nibble[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

static __always_inline __u32 le32(const __u8 *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (__u32)p[3] << 24;
}

/* Of a header without data; its own field counts as zero. */
static __noinline __u32 header_crc(const __u8 *h)
{
    __u32 crc = ~0u;
#pragma unroll
    for (int i = 0; i < RRDP_HEADER; i++) {
        crc ^= i < RRDP_CRC ? h[i] : 0;
        crc = nibble[crc & 15] ^ (crc >> 4);
        crc = nibble[crc & 15] ^ (crc >> 4);
    }
    return ~crc;
}

static __always_inline __u16 fold(__u64 sum)
{
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (__u16) ~((sum & 0xFFFF) + (sum >> 16));
}

static __always_inline int is_equal6(const __u8 *a, const __u8 *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] &&
           a[5] == b[5];
}

static __always_inline int is_broadcast(const __u8 *a)
{
    return (a[0] & a[1] & a[2] & a[3] & a[4] & a[5]) == 0xFF;
}

/* The mask is for the verifier: nodes are below it. */
static __always_inline const __be32 *address_of(const struct steer_config *c, __u8 node)
{
    return (const __be32 *)c->address[node & (STEER_NODES_MAX - 1)];
}

static __always_inline int is_address6(const struct in6_addr *a, const __be32 *b)
{
    const __be32 *w = a->in6_u.u6_addr32;
    return w[0] == b[0] && w[1] == b[1] && w[2] == b[2] && w[3] == b[3];
}

/* The link header: STEER_CONTROL if what follows at *ret_at is ours, else why not. */

static __always_inline int find_udp4(void *data, void *end, const struct steer_config *c,
                                     __u32 *ret_at)
{
    struct iphdr *ip = data + sizeof(struct ethhdr);
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(ip + 1) > end || ip->version != 4 || ip->protocol != IPPROTO_UDP)
        return STEER_OTHER;
    if (ip->daddr != *address_of(c, c->self))
        return STEER_OTHER;
    if (ip->frag_off & bpf_htons(IP4_FRAGMENT))
        return STEER_FRAGMENT;
    if (ip->ihl != 5)
        return STEER_OPTIONS;
    if ((void *)(udp + 1) > end || udp->dest != c->udp_port)
        return STEER_OTHER;
    *ret_at = AT_UDP4;
    return STEER_CONTROL;
}

static __always_inline int find_udp6(void *data, void *end, const struct steer_config *c,
                                     __u32 *ret_at)
{
    struct ipv6hdr *ip = data + sizeof(struct ethhdr);
    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(ip + 1) > end || ip->version != 6)
        return STEER_OTHER;
    if (!is_address6(&ip->daddr, address_of(c, c->self)))
        return STEER_OTHER;
    if (ip->nexthdr == IP6_FRAGMENT)
        return STEER_FRAGMENT;
    if (ip->nexthdr == IP6_HOP_BY_HOP || ip->nexthdr == IP6_ROUTING ||
        ip->nexthdr == IP6_DESTINATION)
        return STEER_OPTIONS;
    if (ip->nexthdr != IPPROTO_UDP || (void *)(udp + 1) > end || udp->dest != c->udp_port)
        return STEER_OTHER;
    *ret_at = AT_UDP6;
    return STEER_CONTROL;
}

static __always_inline int find_header(void *data, void *end, const struct steer_config *c,
                                       __u32 *ret_at)
{
    struct ethhdr *eth = data;
    int why = STEER_OTHER;
    if ((void *)(eth + 1) > end)
        return STEER_OTHER;
    if (eth->h_proto == bpf_htons(ETH_P_8021Q) || eth->h_proto == bpf_htons(ETH_P_8021AD))
        return STEER_TAGGED;
    if (c->encapsulation == STEER_ETHERNET && eth->h_proto == c->ethertype) {
        *ret_at = AT_ETHERNET;
        why = STEER_CONTROL;
    } else if (c->encapsulation == STEER_UDP4 && eth->h_proto == bpf_htons(ETH_P_IP)) {
        why = find_udp4(data, end, c, ret_at);
    } else if (c->encapsulation == STEER_UDP6 && eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        why = find_udp6(data, end, c, ret_at);
    }
    /* A group address is everybody's; over UDP there are no group frames. */
    int group = *ret_at == AT_ETHERNET ? eth->h_dest[0] & 1 : is_broadcast(eth->h_dest);
    if (why == STEER_CONTROL && !group && !is_equal6(eth->h_dest, c->mac))
        return STEER_ADDRESS;
    return why;
}

/* ---- HOST-PING ----------------------------------------------------------------------------- */

static __always_inline int is_ping(const __u8 *h, const struct steer_config *c)
{
    return h[0] == RRDP_PING && h[1] == RRDP_WORDS && h[3] == c->self && h[2] < c->nodes &&
           h[2] != c->self && h[4] == 0 && h[5] == 0 && h[6] == 0 &&
           le32(h + 16) == c->cluster_tag && le32(h + RRDP_CRC) == header_crc(h);
}

/* The link header of a good HOST-PING from node `from`, before it is sent to whom it names:
 * STEER_PING or why not. The destination and what cannot be answered as it is (fragments, options)
 * find_header has looked at. */

static __always_inline int check_ethernet(const struct ethhdr *eth, const struct steer_config *c)
{
    /* No station has a group address; ours would be an answer to ourselves. */
    return eth->h_source[0] & 1 || is_equal6(eth->h_source, c->mac) ? STEER_PING_SOURCE
                                                                    : STEER_PING;
}

static __always_inline int check_udp4(const struct iphdr *ip, const struct udphdr *udp,
                                      const struct steer_config *c, __u8 from)
{
    if (fold((__u32)bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0)) != 0)
        return STEER_PING_CHECKSUM;
    if (ip->tot_len != bpf_htons(sizeof(*ip) + UDP_PING) || udp->len != bpf_htons(UDP_PING))
        return STEER_PING_LENGTH;
    return ip->saddr == *address_of(c, from) ? STEER_PING : STEER_PING_SOURCE;
}

static __always_inline int check_udp6(const struct ipv6hdr *ip, const struct udphdr *udp,
                                      const struct steer_config *c, __u8 from)
{
    if (ip->payload_len != bpf_htons(UDP_PING) || udp->len != bpf_htons(UDP_PING))
        return STEER_PING_LENGTH;
    return is_address6(&ip->saddr, address_of(c, from)) ? STEER_PING : STEER_PING_SOURCE;
}

static __always_inline int check_link(void *data, __u32 at, const struct steer_config *c, __u8 from)
{
    void *ip = data + sizeof(struct ethhdr);
    int why = check_ethernet(data, c);
    if (why == STEER_PING && at == AT_UDP4)
        why = check_udp4(ip, ip + sizeof(struct iphdr), c, from);
    else if (why == STEER_PING && at == AT_UDP6)
        why = check_udp6(ip, ip + sizeof(struct ipv6hdr), c, from);
    return why;
}

static __always_inline void make_answer(__u8 *h, const struct steer_config *c)
{
    h[0] |= RRDP_ACK;
    h[3] = h[2];
    h[2] = c->self;
    h[6] = PING_BY_KERNEL;
    __u32 crc = header_crc(h);
    h[20] = (__u8)crc;
    h[21] = (__u8)(crc >> 8);
    h[22] = (__u8)(crc >> 16);
    h[23] = (__u8)(crc >> 24);
}

static __always_inline void turn_ethernet(struct ethhdr *eth, const struct steer_config *c)
{
    __builtin_memcpy(eth->h_dest, eth->h_source, sizeof(eth->h_dest));
    __builtin_memcpy(eth->h_source, c->mac, sizeof(eth->h_source));
}

/* The ports stay: the answer goes to Pando's port as well, not to the one that only spreads flows.
 * So addresses that change places and a new time to live leave UDP's checksum as it is. */
static __always_inline void turn_ip(void *data, __u32 at)
{
    if (at == AT_UDP4) {
        struct iphdr *ip = data + sizeof(struct ethhdr);
        __be32 asker = ip->saddr;
        ip->saddr = ip->daddr;
        ip->daddr = asker;
        ip->ttl = TTL;
        ip->check = 0;
        ip->check = fold((__u32)bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0));
    } else {
        struct ipv6hdr *ip = data + sizeof(struct ethhdr);
        struct in6_addr asker = ip->saddr;
        ip->saddr = ip->daddr;
        ip->daddr = asker;
        ip->hop_limit = TTL;
    }
}

/* STEER_PING: the frame is the answer now. STEER_CONTROL: not to be answered here. Else why it is
 * not. `at` is where the RRDP header begins, checked by the caller. */
static __always_inline int answer_ping(struct xdp_md *ctx, const struct steer_config *c, __u32 at)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __be32 before[RRDP_WORDS], after[RRDP_WORDS];
    __u8 *h = data + at;
    if (at < AT_ETHERNET || (void *)(h + RRDP_HEADER) > end ||
        bpf_xdp_get_buff_len(ctx) - at > PAYLOAD_MIN)
        return STEER_CONTROL;
    __builtin_memcpy(before, h, RRDP_HEADER);
    if (!is_ping((__u8 *)before, c))
        return STEER_CONTROL;
    int why = check_link(data, at, c, h[2]);
    if (why != STEER_PING)
        return why;
    __builtin_memcpy(after, before, RRDP_HEADER);
    make_answer((__u8 *)after, c);
    __builtin_memcpy(h, after, RRDP_HEADER);
    turn_ethernet(data, c);
    if (at == AT_ETHERNET)
        return STEER_PING;
    struct udphdr *udp = data + at - sizeof(struct udphdr);
    if (udp->check != 0) { /* zero: the asker uses none (RFC 6935, 6936) */
        __u16 sum =
            fold((__u32)bpf_csum_diff(before, RRDP_HEADER, after, RRDP_HEADER, (__u16)~udp->check));
        udp->check = sum != 0 ? sum : 0xFFFF;
    }
    turn_ip(data, at);
    return STEER_PING;
}

/* ---- the program --------------------------------------------------------------------------- */

static __always_inline int look(struct xdp_md *ctx, const struct steer_config *c)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 at = 0;
    int why = find_header(data, end, c, &at);
    if (why != STEER_CONTROL)
        return why;
    const __u8 *h = data + at;
    if ((void *)(h + RRDP_HEADER) > end)
        return STEER_SHORT;
    if (h[7] != (__u8)c->cluster_id)
        return STEER_CLUSTER;
    if (h[2] < STEER_NODES_MAX && (c->fenced >> h[2] & 1))
        return STEER_FENCED;
    if ((h[0] & RRDP_VERSION_MASK) != RRDP_VERSION)
        return STEER_CONTROL; /* the process says so, in words */
    why = h[0] == RRDP_PING ? answer_ping(ctx, c, at) : STEER_CONTROL;
    if (why != STEER_CONTROL)
        return why;
    return (h[4] & 3) < 2 ? STEER_CONTROL : STEER_PAGES;
}

SEC("xdp.frags")
int pando_steer(struct xdp_md *ctx)
{
    static const __u8 action_of[STEER_REASONS] = {
#define X(ID, name, action) [STEER_##ID] = XDP_##action,
        STEER_REASON_LIST(X)
#undef X
    };
    __u32 zero = 0;
    const struct steer_config *c = bpf_map_lookup_elem(&config, &zero);
    if (c == NULL || c->version != STEER_VERSION)
        return XDP_PASS;
    __u32 why = (__u32)look(ctx, c);
    if (why >= STEER_REASONS)
        return XDP_PASS;
    long action = action_of[why];
    if (action == XDP_REDIRECT) {
        __u32 slot = ctx->rx_queue_index * STEER_SOCKETS +
                     (why == STEER_PAGES ? STEER_PAGES_SOCKET : STEER_CONTROL_SOCKET);
        action = bpf_redirect_map(&sockets, slot, XDP_DROP);
        if (action != XDP_REDIRECT)
            why = STEER_NO_SOCKET;
    }
    __u64 *n = bpf_map_lookup_elem(&counters, &why);
    if (n != NULL)
        ++*n;
    return (int)action;
}

char _license[] SEC("license") = "BSD-3-Clause"; /* it calls no helper that asks for more */
