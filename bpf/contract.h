/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the XDP programs and their user side agree on: map layouts, reasons, versions. Included by
 * both, so it takes nothing but fixed-width types.
 *
 * steer.bpf.c: one program an interface. It takes the frames of one encapsulation that are for this
 * node and hands them by traffic class to the AF_XDP sockets of the queue on which they came; all
 * else goes on to the kernel as if it were not there. Maps:
 *   config    array of one struct steer_config, written by the user side at any time
 *   sockets   XSKMAP, [queue * STEER_SOCKETS + enum steer_socket]
 *   counters  per CPU array of u64, by enum steer_reason: frames
 *
 * fault.bpf.c: one program a device, in a namespace between two nodes. It sends each frame on to
 * another device, or loses, repeats or spoils it. Maps: config (struct fault_config), target
 * (DEVMAP, FAULT_COPIES times the same device), counters by enum fault_reason.
 *
 * The two sides are built together and the object is part of the program, so a version that differs
 * is a mistake of ours: the program then passes everything.
 */
#ifndef PANDO_BPF_CONTRACT_H
#define PANDO_BPF_CONTRACT_H

#include <linux/types.h>

enum {
    STEER_VERSION = 2,
    STEER_NODES_MAX = 64,
    STEER_QUEUES_MAX = 64,
    FAULT_VERSION = 1,
    FAULT_COPIES = 2,
    FAULT_PPM = 1000000,
};

/* Two sockets a queue, each with a ring of its own: pages cannot fill the ring in front of
 * interrupts. */
enum steer_socket {
    STEER_CONTROL_SOCKET, /* classes urgent and request */
    STEER_PAGES_SOCKET,   /* classes data and bulk */
    STEER_SOCKETS,
};

enum steer_encapsulation { STEER_ETHERNET, STEER_UDP4, STEER_UDP6 };

/* Each frame is counted under one of these. Enumerator, name, what becomes of the frame. What may
 * be somebody else's is passed on; what bears our EtherType, or our UDP port at our address, is
 * ours to drop.
 *
 * CLUSTER and FENCED hold for frames of every version of the header, since cluster and source are
 * in the same place in all of them (wire_rrdp_read_common), and before anything else is believed:
 * neither CRC nor sender was looked at. So the fence cuts off a node that was given up and goes on
 * sending, not one that writes another number into its frames.
 *
 * HOST-PING is answered here, so what the process checks of a link header (wire/link.h) is checked
 * here as well; PING_...: not answered, since the answer would go to whoever is named in it. */
/* clang-format off */
#define STEER_REASON_LIST(X) \
    X(OTHER, "other", PASS)        /* another protocol, port or IP address */ \
    X(TAGGED, "tagged", PASS)      /* VLAN tag in the frame: Pando does not use any */ \
    X(OPTIONS, "options", PASS)    /* IPv4 with options, IPv6 with extension headers, to our address */ \
    X(FRAGMENT, "fragment", PASS)  /* of an IP datagram to our address: we send none */ \
    X(ADDRESS, "address", PASS)    /* ours, but to another station's MAC: seen by a promiscuous device */ \
    X(SHORT, "short", DROP)        /* the RRDP header is not whole (or not in the first buffer) */ \
    X(CLUSTER, "cluster", DROP)    /* of another cluster */ \
    X(FENCED, "fenced", DROP)      /* its source is a node that is fenced */ \
    X(NO_SOCKET, "no_socket", DROP) /* no socket of ours on the queue where it came */ \
    X(PING, "ping", TX)            /* HOST-PING, answered here */ \
    X(PING_CHECKSUM, "ping_checksum", PASS) /* HOST-PING, but IPv4's header checksum is wrong */ \
    X(PING_LENGTH, "ping_length", PASS)     /* ... its IP or UDP length is not a HOST-PING's */ \
    X(PING_SOURCE, "ping_source", PASS)     /* ... not from the address of the node that asks */ \
    X(CONTROL, "control", REDIRECT) /* handed to the socket; other versions of the header too */ \
    X(PAGES, "pages", REDIRECT)
/* clang-format on */
#define X(ID, name, action) STEER_##ID,
enum steer_reason { STEER_REASON_LIST(X) STEER_REASONS };
#undef X

/* In network byte order where it says so; else the host's. */
struct steer_config {
    __u32 version;       /* STEER_VERSION */
    __u32 encapsulation; /* enum steer_encapsulation */
    __be16 ethertype;    /* STEER_ETHERNET: ours */
    __be16 udp_port;     /* STEER_UDP4, STEER_UDP6: destination port */
    __u8 self, nodes;
    __u8 mac[6];                       /* of the interface */
    __u8 address[STEER_NODES_MAX][16]; /* IP address of each node; IPv4 in the first four bytes */
    __u32 cluster_tag;                 /* rrdp_cluster_tag(): what a HOST-PING must bear */
    __u32 cluster_id;                  /* low 8 bits: what every frame must bear */
    __u32 reserved;
    __u64 fenced; /* bit n: what bears node n as its source is dropped */
};

_Static_assert(sizeof(struct steer_config) == 1064, "the layout has no holes");
_Static_assert(STEER_NODES_MAX <= 64, "a bit for each node");

/* clang-format off */
#define FAULT_REASON_LIST(X) \
    X(FORWARDED, "forwarded")      /* sent on; repeated and spoiled ones are counted here too */ \
    X(LOST, "lost") \
    X(REPEATED, "repeated")        /* sent on twice */ \
    X(CORRUPTED, "corrupted")      /* one bit behind the link header turned over */ \
    X(LARGE, "large")              /* would have been repeated, but the kernel repeats one buffer only */ \
    X(UNCONFIGURED, "unconfigured") /* dropped: no target yet */
/* clang-format on */
#define X(ID, name) FAULT_##ID,
enum fault_reason { FAULT_REASON_LIST(X) FAULT_REASONS };
#undef X

/* Rates in parts per million. What happens to the nth frame of a device follows from seed and n. */
struct fault_config {
    __u32 version; /* FAULT_VERSION */
    __u32 drop_ppm, duplicate_ppm, corrupt_ppm;
    __u64 seed;
    __u64 frames; /* counted by the program */
};

_Static_assert(sizeof(struct fault_config) == 32, "the layout has no holes");

#endif
