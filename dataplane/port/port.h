/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port moves frames between this node and its peers: the one interface to every fabric. EDGE.
 *
 * A frame here is what RRDP gives and takes (no Ethernet header); the port adds and removes the
 * link header where the fabric has one. Ports may lose, duplicate and reorder; RRDP repairs. All
 * functions are called by the one polling thread, except open and close (before and after polling).
 *
 * Bytes by reference. A page is not copied into the frame that carries it: where a port offers it
 * (ext_min), the frame's last bytes are named by a pointer into guest memory (tx_commit_ext), and
 * the device takes them from there. The caller promises that these bytes stay as they are until
 * the transport gives the payload's handle back (transport/freeze.h); but an acknowledgement can
 * come while a further copy of the frame, sent again in vain, still waits here, and a page can be
 * wanted earlier (thaw). So two rules make what leaves always what the CRC in the header was
 * computed over:
 *
 *   1. Before such bytes change, for whatever reason, the caller calls port_settle: frames that
 *      wait in the port and point to them are given bytes of their own (counted).
 *   2. A port takes bytes by reference only from a device whose driver has copied or sent them
 *      when its tx_burst or system call returns, so that behind rule 1 nobody points to them.
 *
 * Even without them a receiver would hardly see a wrong value: a copy of a frame that was
 * acknowledged is a duplicate by its sequence number (and of an older connection by its tag),
 * whatever its bytes are; one that was not yet acknowledged is refused by its CRC, as a frame that
 * the network spoiled is, and comes again from the frozen copy. But a CRC misses one in 2^32.
 *
 * A NIC that reads by DMA breaks rule 2: it holds the frame until it reports it sent. It would also
 * need guest memory registered (rte_extmem_register, rte_dev_dma_map, buf_iova) and pinned, and a
 * pin keeps the old physical page when a hole is punched. So for it, as for every driver that is
 * not known to obey rule 2, the bytes are copied into packet memory; ext_refused says why. What the
 * virtual devices here read with memcpy needs no registration.
 *
 * Pages in place. An RDMA device can be told where at the peer a page belongs. Then the peer's
 * device writes it into the guest memory of the node that awaits it, and what arrives is the rest
 * of the frame with a note of where its end lies (struct port_frame). Such a write obeys nobody: it
 * does not look at the page's state. What keeps it from meeting a page that is in use:
 *
 *   1. A node is written to only where it has asked for a page (DATA) and cannot have it otherwise;
 *      so it is not mapped there, and nothing else is written to it (coherence/coherence.h). Frames
 *      of its own that still point there are ones that have arrived: a page has no newer content
 *      before everybody who was sent the older one has it, as who awaits data keeps whatever would
 *      take it away waiting.
 *   2. Each message writes at most once. Only the first transmission of its frame is offered to be
 *      placed (tx_commit_placed); should it be sent again, it carries its bytes like any frame.
 *   3. Between two nodes what was written arrives before what is sent later. The port sees to it,
 *      and when it can no longer (the connection broke, the next port takes over), nothing written
 *      before can land any more when anything is sent again: port_close, and a new connection to
 * the same peer, come after the peer's right to write has ended at the device that would do it.
 *   4. Memory that was registered is not given back to the host while the VM runs (ram_keep).
 */
#ifndef PANDO_PORT_H
#define PANDO_PORT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/transport/rrdp.h"
#include "dataplane/wire/link.h"

enum { PORT_BURST = 32, PORT_NAME_MAX = 32, PORT_ERROR_MAX = 256 };

struct port_counters {
    uint64_t tx_frames, rx_frames, tx_bytes, rx_bytes;
    uint64_t tx_full;       /* frames refused because the ring was full: RRDP sends them again */
    uint64_t tx_unresolved; /* frames refused because the peer's next hop is not known: likewise */
    uint64_t hops_changed;  /* next hops that have got another MAC */
    uint64_t rx_foreign;    /* not for us, or a malformed link header; where link_read says so: */
    uint64_t rx_refused[LINK_VERDICTS];
    /* Bytes of frames that the port's own code copied. What the caller wrote into tx_reserve's
     * buffer is the caller's; what happens below is port_copies. */
    uint64_t tx_copied_bytes, rx_copied_bytes;
    uint64_t tx_ext_frames, tx_ext_bytes; /* that left by reference */
    uint64_t ext_settled;                 /* frames that port_settle gave bytes of their own */
    uint64_t peer_restarts;               /* shared-memory ring: the peer mapped a new ring */
};

/* How often each byte of a frame is copied below the port, by driver and kernel, until it is on the
 * wire or in a buffer of the port. From the sources, said where the port is opened; it is part of
 * the description of a port, not measured. */
struct port_copies {
    uint8_t tx, rx;
};

/* Whether a port takes bytes by reference, and why not. */
/* clang-format off */
#define PORT_EXT_LIST(X) \
    X(NOT_OFFERED, "not_offered")  /* it has buffers of its own: shm the ring, AF_XDP the UMEM */ \
    X(TAKEN, "taken") \
    X(SEGMENTS, "no_segments")     /* the device sends no frame of several segments */ \
    X(DRIVER, "driver_holds")      /* the driver holds frames after tx_burst, or is not known not to */
/* clang-format on */
#define X(ID, name) PORT_EXT_##ID,
enum port_ext { PORT_EXT_LIST(X) PORT_EXTS };
#undef X
const char *port_ext_name(enum port_ext e);

/* A received frame: len bytes at data, valid until the next port_rx; then ext_len bytes at ext, if
 * there are any: a page that the peer wrote into guest memory. */
struct port_frame {
    const uint8_t *data, *ext;
    uint32_t len, ext_len;
    struct rrdp_mac src;
};

struct port;

struct port_ops {
    const char *name;
    /* Receives up to max frames; returns how many. Never blocks. */
    uint32_t (*rx)(struct port *p, struct port_frame *out, uint32_t max);
    /* A buffer of at least port_mtu bytes for one frame to `peer`; NULL: no room now (counted). The
     * caller writes the frame and calls tx_commit with its length; or never, then the buffer is
     * offered again. Nothing else of the port may be called in between: the buffer may go away with
     * it. */
    uint8_t *(*tx_reserve)(struct port *p, uint8_t peer,
                           const struct rrdp_mac *mac /* NULL: broadcast */);
    void (*tx_commit)(struct port *p, uint32_t len);
    /* The same for a frame that ends with ext_len bytes at ext, at least ext_min of them: len bytes
     * are in the buffer, len + ext_len at most port_mtu. See above; NULL where ext is not TAKEN. */
    void (*tx_commit_ext)(struct port *p, uint32_t len, const uint8_t *ext, uint32_t ext_len);
    /* The same for a frame whose end is WIRE_PAGE_SIZE bytes that the peer awaits as guest page
     * `page`: they may be written there instead. Where places is set; else NULL. */
    void (*tx_commit_placed)(struct port *p, uint32_t len, const uint8_t *bytes, uint64_t page);
    /* Use port_add_memory. */
    int (*add_memory)(struct port *p, uint64_t first_page, uint64_t pages, uint8_t *alias,
                      char err[PORT_ERROR_MAX]);
    /* Use port_settle. */
    void (*settle)(struct port *p, const uint8_t *bytes, size_t len);
    /* Pushes out what was committed (doorbells, tx_burst). Called once a loop. */
    void (*flush)(struct port *p);
    /* A descriptor that becomes readable when frames may have come, after arm() returned true; -1:
     * none, or not now, since something is under way that only polling moves on (the loop then
     * polls with short sleeps). It is the same one whenever it is one. arm() returns false if
     * frames are there already. disarm() follows after true, and whenever the descriptor is
     * readable: it makes it not so, unless frames are there. */
    int (*wait_fd)(struct port *p);
    bool (*arm)(struct port *p);
    void (*disarm)(struct port *p);
    /* True if the fabric knows that the peer's process has ended (shm: nobody is behind its socket;
     * memif: disconnected after it was connected). May cost system calls. Frames that the peer sent
     * before may still be waiting. NULL: only silence tells. */
    bool (*gone)(struct port *p, uint8_t peer);
    /* Use port_fence. NULL: the port has no fence of its own. */
    int (*fence)(struct port *p, uint8_t node, bool fenced);
    /* A look at what lies below: use port_look. NULL: there is nothing to look at. */
    const char *(*look)(struct port *p);
    void (*close)(
        struct port *p); /* leaves nothing behind: no file, socket, segment. Use port_close */
};

/* Looks at received frames before the caller of port_rx does (offload/flow): keeps those that are
 * handed on, in their new order, at the head of frame[], and returns how many. */
struct port_sieve {
    uint32_t (*run)(struct port_sieve *s, struct port_frame *frame, uint32_t n);
};

struct port {
    const struct port_ops *ops;
    struct port_sieve *sieve; /* NULL: none */
    char name[PORT_NAME_MAX];
    uint16_t mtu;        /* frame bytes without link header: 1500, 9000, ... */
    struct rrdp_mac mac; /* as peers see it in struct port_frame: link_own_mac */
    bool reaches_all;    /* one frame, to RRDP_GROUP, reaches all peers: port_join_group */
    enum port_ext ext;
    uint32_t ext_min; /* below this a copy is cheaper than a reference */
    bool places;      /* pages may be written in place: rules above */
    struct port_copies copies;
    struct port_counters counters;
};

static inline uint32_t port_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    uint32_t n = p->ops->rx(p, out, max);
    return p->sieve == NULL || n == 0 ? n : p->sieve->run(p->sieve, out, n);
}

/* True if the last len bytes of a frame may be committed by reference. */
static inline bool port_takes_ext(const struct port *p, uint32_t len)
{
    return p->ext == PORT_EXT_TAKEN && len >= p->ext_min;
}

/* The bytes are about to change, or to go away: after it no frame that waits in the port points to
 * them. Costs a look at one word while no frame waits by reference, which is nearly always. */
static inline void port_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    if (p->ops->settle != NULL)
        p->ops->settle(p, bytes, len);
}

/* Guest memory from page first_page on lies at alias: peers may write pages into it that this node
 * asks for. 0: until the port is closed they may, as soon as it is registered, which goes on beside
 * where it takes long, and the memory must stay; else they do not: -EOPNOTSUPP, no use for it;
 * -errno and why not in err. */
static inline int port_add_memory(struct port *p, uint64_t first_page, uint64_t pages,
                                  uint8_t *alias, char err[PORT_ERROR_MAX])
{
    if (p->ops->add_memory == NULL)
        return -EOPNOTSUPP;
    return p->ops->add_memory(p, first_page, pages, alias, err);
}

static inline bool port_peer_gone(struct port *p, uint8_t peer)
{
    return p->ops->gone != NULL && p->ops->gone(p, peer);
}

/* Nothing that this node sends reaches this one any more, pages in place included, or it does
 * again: when this returns. What was received before may still be handed up, so a sieve is needed
 * all the same. The way to that node may be closed as well. For a node that was given up and goes
 * on, not against one that lies about its number. 0; -EINVAL: no peer; -EOPNOTSUPP: the port has
 * nothing below that looks at frames, the sieve alone fences; another -errno: not now. */
static inline int port_fence(struct port *p, uint8_t node, bool fenced)
{
    return p->ops->fence != NULL ? p->ops->fence(p, node, fenced) : -EOPNOTSUPP;
}

/* Some times a second: tells the transport of peers that are up and have been silent for silent_ns,
 * whose process has ended (port_peer_gone) in two looks in a row: between them the loop has taken
 * what that process sent before its end. *seen, 0 at first, is what the last look found. */
void port_tell_gone(struct port *p, struct rrdp *r, uint8_t nodes, uint64_t now, uint64_t silent_ns,
                    uint64_t *seen);

/* For some times a second: may cost system calls. Keeps fresh what was learned (next hops), and
 * says why the port will not carry frames again, whatever is waited for; NULL: it may. */
static inline const char *port_look(struct port *p)
{
    return p->ops->look != NULL ? p->ops->look(p) : NULL;
}

/* The port itself, below a fault filter; p, if it is none. What is asked of one kind of port below
 * (port_udp_..., port_af_xdp_...) is asked of that. NULL is fine. */
const struct port *port_below(const struct port *p);

/* Openers. Each returns 0 and *ret_port, or -errno and a sentence in err that says what to do.
 *
 * shm: rings in shared memory between the processes of one machine, exchanged over sockets in
 * `dir`, which is created 0700 (or is this user's, and others cannot write to it: -EPERM) and
 * removed by the last node that leaves. A peer that died and came back is recognised by its epoch
 * and its new ring is mapped. Survives kill -9 of a peer at any instruction; the next open removes
 * what was left. -EADDRINUSE: a living process has this number in this directory. */
int port_open_shm(const char *dir, uint8_t self, uint8_t nodes, uint16_t mtu,
                  struct port **ret_port, char err[PORT_ERROR_MAX]);
/* In shm the copy into the peer's ring is the transfer, and the caller's (tx_reserve points there);
 * the receiver copies each frame out of the ring before it looks at it (rx_copied_bytes). */
/* ethdev: any DPDK port, by device arguments ("net_memif0,role=server,...",
 * "net_af_packet0,iface=veth0"). EAL is initialised by the caller (eal.h). One device for all peers
 * (peer_of NULL), or, for memif, one device per peer: devargs[i] leads to node peer_of[i]. Frames
 * are carried as link says (wire/link.h; NULL: plain Ethernet, with this EtherType); what is not
 * for us is counted by its reason (rx_refused). link is copied. UDP needs one device for all peers,
 * and over it reaches_all is false. */
int port_open_ethdev(const char *const *devargs, uint32_t count, const uint8_t *peer_of,
                     const struct link_config *link, uint16_t ethertype, uint16_t mtu,
                     struct port **ret_port, char err[PORT_ERROR_MAX]);
/* Copies below, from DPDK 22.11's sources and the kernel's:
 *   memif      out 1: eth_memif_tx, mbuf to ring; in 1: eth_memif_rx, ring to mbuf.
 *   af_packet  out 1: eth_af_packet_tx, mbuf to ring; the kernel sends the ring's pages
 *              (tpacket_fill_skb). In 2: tpacket_rcv, packet to ring; eth_af_packet_rx, ring to
 *              mbuf. What a NIC's own driver below the kernel does is not in it. */
/* The two that need no hardware. memif: sockets "memif-<low>-<high>.sock" in `dir` (as shm's), the
 * lower number serves; a client that was killed may come again, a server is not connected again. A
 * peer is trusted with this process's life, which shm's is not: the driver maps the peer's memory
 * without asking for seals. af_packet: any kernel interface that carries mtu, with link_ip_bytes in
 * front of it.
 *
 * Over UDP the interface has the node's address and the kernel has a route to the others' over it;
 * it is asked for the next hops, at first for at most NEIGHBOUR_WAIT_MS, later when a frame finds
 * its peer unresolved (tx_unresolved). -EADDRNOTAVAIL: the address is not this machine's;
 * -EADDRINUSE: another program has the UDP port. This holds for af_xdp as well. */
int port_open_memif(const char *dir, uint8_t self, uint8_t nodes, uint16_t ethertype, uint16_t mtu,
                    struct port **ret_port, char err[PORT_ERROR_MAX]);
int port_open_af_packet(const char *interface, const struct link_config *link, uint16_t ethertype,
                        uint16_t mtu, struct port **ret_port, char err[PORT_ERROR_MAX]);
/* af_xdp: a kernel interface, by AF_XDP sockets behind an XDP program of ours (bpf/contract.h: what
 * it takes and what it leaves to the kernel). It also drops what other clusters and fenced nodes
 * send and answers HOST-PING, without this process. Linux 6.6 or later (below MTU 3,776 an earlier
 * one will do), a build with libbpf (PANDO_HAVE_AF_XDP), CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF.
 * The interface keeps its addresses and its other traffic; frames must arrive on `queue`, which is
 * the NIC's choice. Program and sockets end with the process, however it ends.
 *
 * Copies: none of ours, but for frames of several buffers that do not adjoin (rx_copied_bytes).
 * The kernel copies once each way (xsk_build_skb, __xsk_rcv), unless the driver has zero-copy.
 *
 * -ENODEV, -ENETDOWN, -EMSGSIZE: the interface; -ENXIO: no such queue; -EBUSY: it has another XDP
 * program, or the queue another socket; -EPERM, -ENOBUFS: rights, locked memory. */
struct port_af_xdp {
    const char *interface;
    uint32_t queue;
    uint16_t ethertype, mtu;
    uint8_t self, nodes;
    uint64_t cluster_id;
    const struct link_config *link; /* NULL: plain Ethernet; copied */
};
int port_open_af_xdp(const struct port_af_xdp *cfg, struct port **ret_port,
                     char err[PORT_ERROR_MAX]);
/* "native, copy, several buffers a frame"; in generic mode with the reason. NULL: another port. */
const char *port_af_xdp_mode(const struct port *p);
/* 0, or -errno of the last attempt to send, if it failed for good (-ENETDOWN, -ENXIO: the interface
 * went down or away). */
int port_af_xdp_error(const struct port *p);
/* What happened below the port, since it was opened; some system calls, and any thread may ask. 0,
 * or -EOPNOTSUPP. */
struct port_af_xdp_counters {
    uint64_t steered[16];                               /* by enum steer_reason: bpf/contract.h */
    uint64_t rx[2];                                     /* frames by enum steer_socket */
    uint64_t assembled;                                 /* frames copied into one piece */
    uint64_t dropped, ring_full, no_buffer, tx_invalid; /* XDP_STATISTICS, both sockets */
};
int port_af_xdp_counters(const struct port *p, struct port_af_xdp_counters *ret_counters);
/* What steered[i] counts, and whether it is a refusal: dropped, or a HOST-PING that got no answer.
 * name NULL: there are no more. */
struct port_af_xdp_reason {
    const char *name;
    bool refused;
};
struct port_af_xdp_reason port_af_xdp_reason(unsigned i);
/* udp: a plain UDP socket, without any right; on the wire the same as af_packet and af_xdp over
 * UDP. link is copied; credit (1..RRDP_WINDOW) and mtu size the socket's receive buffer. The kernel
 * copies a frame once each way. -EINVAL; -EADDRNOTAVAIL, -EADDRINUSE: as af_packet. */
int port_open_udp(const struct link_config *link, uint16_t mtu, uint8_t credit,
                  struct port **ret_port, char err[PORT_ERROR_MAX]);
/* Frames that the kernel refused for good, by why. */
/* clang-format off */
#define PORT_UDP_FAILURE_LIST(X) \
    X(TOO_LONG, "too_long")       /* EMSGSIZE: the path carries less than mtu */ \
    X(UNREACHABLE, "unreachable") /* no route, or nobody there */ \
    X(FILTERED, "filtered")       /* a packet filter of this machine */ \
    X(OTHER, "other")
/* clang-format on */
#define X(ID, name) PORT_UDP_##ID,
enum port_udp_failure { PORT_UDP_FAILURE_LIST(X) PORT_UDP_FAILURES };
#undef X
const char *port_udp_failure_name(enum port_udp_failure f);
struct port_udp_counters {
    uint64_t failed[PORT_UDP_FAILURES];
};
/* 0, or -EOPNOTSUPP: another port. */
int port_udp_counters(const struct port *p, struct port_udp_counters *ret_counters);
/* A line for the log, if the kernel gave a smaller receive buffer than the credits need; or NULL.
 */
const char *port_udp_notice(const struct port *p);
/* The link address of a cluster's group frames: a locally administered group address. */
static inline struct rrdp_mac port_group_mac(uint64_t cluster_id)
{
    uint8_t c = (uint8_t)(cluster_id >> 16), b = (uint8_t)(cluster_id >> 8),
            a = (uint8_t)cluster_id;
    return (struct rrdp_mac){{0x03, 'P', 'A', c, b, a}};
}
/* Makes an interface take frames to a group address, for as long as the descriptor is open.
 * Descriptor or -errno. */
int port_join_group(const char *interface, const struct rrdp_mac *group);
/* pair: in memory, both ends in one process, for tests. */
int port_open_pair(uint16_t mtu, struct port **ret_a, struct port **ret_b);

/* Fault filter: wraps a port and drops, duplicates, reorders, corrupts and delays frames, seeded,
 * in both or one direction. Takes ownership of inner. Rates in parts per million. */
struct port_faults {
    uint64_t seed;
    uint32_t drop_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, delay_ppm;
    uint32_t delay_max_us;
    uint64_t one_way_block; /* bit n: everything to peer n is dropped (one-way partition) */
};
struct port_fault_counters {
    uint64_t dropped, duplicated, reordered, corrupted, delayed;
};
int port_open_faulty(struct port *inner, const struct port_faults *faults, uint64_t (*now_ns)(void),
                     struct port **ret_port);
const struct port_fault_counters *
port_fault_counters(const struct port *p); /* NULL if not a filter */

/* Closes and frees; NULL is fine. Returns NULL, so that `p = port_close(p)`. */
struct port *port_close(struct port *p);

#endif
