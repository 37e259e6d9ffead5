/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link header in front of an RRDP frame: how a frame is carried. PURE.
 *
 *   ethernet  destination 6 | source 6 | EtherType 2, then the frame
 *   udp4      Ethernet 14 | IPv4 20 (no options, DF, identification 0, TTL 64) | UDP 8, the frame
 *   udp6      Ethernet 14 | IPv6 40 (no extension headers, hop limit 64) | UDP 8, then the frame
 *
 * All of it is in network byte order. The UDP checksum is sent as 0 and not looked at: RRDP's
 * CRC32C covers the payload, with node numbers and connection tag, so a datagram that was delivered
 * to the wrong host changes nothing there. That is what RFC 6935 and 6936 ask of a protocol that
 * uses no checksum over IPv6. IPv4's header checksum is written and verified.
 *
 * The destination port is Pando's, at all nodes the same. The source port only spreads flows over
 * paths and receive queues: it follows from the destination node and the traffic class, so one
 * class to one node stays in order, and a NIC can tell classes apart by it (offload). Software does
 * not look at it: a UDP socket's is another one.
 *
 * The address that RRDP sees of a sender is its MAC over plain Ethernet. Behind a router that would
 * be the router's, so over UDP it is made from the IP address (link_ip_mac). What such a frame is
 * sent to is the peer's IP address, through the MAC of the next hop, which the EDGE finds out.
 */
#ifndef PANDO_WIRE_LINK_H
#define PANDO_WIRE_LINK_H

#include "dataplane/wire/wire.h"

enum link_kind { LINK_ETHERNET, LINK_UDP4, LINK_UDP6, LINK_KINDS };

enum {
    LINK_ETHERNET_BYTES = 14,
    LINK_UDP4_BYTES = 14 + 20 + 8,
    LINK_UDP6_BYTES = 14 + 40 + 8,
    LINK_BYTES_MAX = LINK_UDP6_BYTES,
    LINK_PAYLOAD_MIN = 46,    /* what Ethernet pads the bytes behind its header to */
    LINK_SOURCE_PORT = 49152, /* the lowest one: the dynamic ports of RFC 6335 */
};

/* What the configuration says. ip: of each node, below `nodes`; IPv4 in the first four bytes, the
 * others are not looked at. For LINK_ETHERNET only kind counts. */
struct link_config {
    enum link_kind kind;
    uint16_t udp_port; /* 1..65535 */
    uint8_t self, nodes;
    uint8_t ip[WIRE_NODES_MAX][16];
};

struct link {
    struct link_config cfg;
    uint16_t ethertype; /* LINK_ETHERNET */
    uint16_t mtu;       /* bytes of a frame behind the link header, at most */
    uint8_t mac[6];     /* of our interface */
    /* UDP: the MAC that leads to each node, and whether it is known. The port may write these at
     * any time. */
    uint8_t next_hop[WIRE_NODES_MAX][6];
    uint64_t known; /* bit n: next_hop[n] is right */
};

/* Why a received frame is not handed up. */
/* clang-format off */
#define LINK_VERDICT_LIST(X) \
    X(OK, "ok") \
    X(SHORT, "short")            /* the link header is not whole, or nothing is behind it */ \
    X(TAGGED, "tagged")          /* VLAN tag: Pando does not use any */ \
    X(ETHERTYPE, "ethertype")    /* another one than ours, or than IP's */ \
    X(MAC, "mac")                /* to another station; over UDP also to a group */ \
    X(ECHO, "own_echo")          /* we are the sender */ \
    X(IP_VERSION, "ip_version")  /* disagrees with the EtherType */ \
    X(IP_OPTIONS, "ip_options")  /* IPv4 with options, IPv6 with an extension header */ \
    X(FRAGMENT, "fragment") \
    X(CHECKSUM, "ip_checksum") \
    X(PROTOCOL, "protocol")      /* not UDP */ \
    X(PORT, "udp_port")          /* destination port not ours */ \
    X(ADDRESS, "ip_address")     /* destination address not ours */ \
    X(LENGTH, "length")          /* lengths disagree, or more than mtu */ \
    X(STRANGER, "not_a_node")    /* source address of no configured node */
/* clang-format on */
#define X(ID, name) LINK_##ID,
enum link_verdict { LINK_VERDICT_LIST(X) LINK_VERDICTS };
#undef X
const char *link_verdict_name(enum link_verdict v);
const char *link_kind_name(enum link_kind k); /* "ethernet", "udp4", "udp6" */

struct link_frame {
    const uint8_t *data; /* into what was read */
    uint32_t len;        /* over plain Ethernet with the padding, if there is any */
    uint8_t src[6];      /* for RRDP: the sender's MAC, or link_ip_mac of its address */
};

/* cfg NULL: plain Ethernet. next hops are all unknown. 0; -EINVAL: kind, port, or nodes out of
 * range. */
int link_init(struct link *l, const struct link_config *cfg, uint16_t ethertype, uint16_t mtu,
              const uint8_t mac[6]);

/* Bytes of the link header, of one of these kinds, in all and without Ethernet's 14: what the
 * interface's MTU must carry beyond a frame. */
static inline uint32_t link_header_bytes(enum link_kind kind)
{
    static const uint8_t bytes[LINK_KINDS] = {LINK_ETHERNET_BYTES, LINK_UDP4_BYTES,
                                              LINK_UDP6_BYTES};
    return bytes[kind];
}

static inline uint32_t link_ip_bytes(enum link_kind kind)
{
    return link_header_bytes(kind) - LINK_ETHERNET_BYTES;
}

/* UDP source port of frames of this class to this node. Two classes to one node have two ports. */
uint16_t link_source_port(uint8_t to, uint8_t cls);

/* A 6-byte stand-in for an IP address, locally administered: 02:04 and the IPv4 address, or 02:06
 * and 32 bits of FNV-1a over the IPv6 address, high byte first. Not for LINK_ETHERNET. */
void link_ip_mac(enum link_kind kind, const uint8_t ip[16], uint8_t ret_mac[6]);

/* The address of this node as its peers see it in link_frame.src. */
void link_own_mac(const struct link *l, uint8_t ret_mac[6]);

/* False: there is no way to send to peer now. Over UDP its next hop must be known, and there are no
 * group frames; plain Ethernet reaches everybody. */
bool link_reaches(const struct link *l, uint8_t peer);

/* Writes link_header_bytes at header, in front of a frame of len bytes for a peer that
 * link_reaches; at least its first five bytes are there already, if it has so many (the class is
 * read from them). mac: the destination over plain Ethernet, NULL: broadcast; over UDP not looked
 * at. Returns the header's length. */
uint32_t link_write(const struct link *l, uint8_t peer, const uint8_t *mac, uint32_t len,
                    uint8_t *header);

/* What was received, from its Ethernet header on. *ret_frame is written on LINK_OK only. Bytes
 * behind what an IP header says are padding. */
enum link_verdict link_read(const struct link *l, const uint8_t *bytes, size_t len,
                            struct link_frame *ret_frame);

#endif
