/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RRDP: the reliable, ordered, IP-less transport between nodes. PURE.
 *
 * Source: Song and Xiao's Reduced Reliable Data Protocol (set-up, ACK, EACK, RST, NUL), RFC
 * 908/1151 (RDP, its ancestor), RFC 6298 (RTO from SRTT and RTTVAR) with microsecond floors, RFC
 * 8985 (loss by order of transmission, tail-loss probe).
 * 20-transport of the design says what was added: classes, credits, segmentation, epochs.
 *
 * Contract with the user above: exactly once and in order per (peer, class, epoch); nothing across
 * classes or peers. A peer that restarts is a new epoch: RRDP_EV_DOWN, then RRDP_EV_UP.
 *
 * One struct rrdp serves one node and all its peers. One thread owns it. It knows neither clock nor
 * sockets: the owner passes `now` (ns, monotonic, never 0), feeds frames with rrdp_receive, pulls
 * frames with rrdp_transmit and events with rrdp_event, and calls rrdp_tick at rrdp_deadline or
 * later. Payload bytes are never touched on the way out: they are named by a handle that the owner
 * resolves when it builds the frame (from guest memory), until RRDP_EV_SENT gives the handle back.
 *
 * A connection that was given up (time-out, RST, close, broken segmentation) is not continued; both
 * sides open a new one, with a new epoch, at once. A peer that breaks the rules of segmentation, or
 * whose acknowledgement does not fit, is malfunctioning: the former resets the connection
 * (SEGMENT), the latter drops the frame (ACK_RANGE). Data that arrives while an UP or DOWN event of
 * its peer is unread is dropped and comes again (EVENTS), so that no byte of a new epoch is seen
 * before its event.
 *
 * Numbers: window 64 frames a class and peer; EACK covers the 64 frames after the cumulative ack;
 * logical sequence numbers have 64 bits, of which 32 travel; a frame whose 32 bits lie outside
 * [expected - window, expected + window] is counted (RRDP_DROP_WINDOW) and dropped, so 2^31 frames
 * in flight would be needed for an ambiguity and at most 64 are.
 *
 * A sequence number is a frame's, whose bytes never change. So when the path stops carrying long
 * frames while the connection is up (mtu.c notices), one that was cut before goes on in parts: each
 * begins at a multiple of RRDP_PART and has so many bytes, the last one what is left. The receiver
 * keeps what it has of them, and acknowledges the frame when it is whole.
 */
#ifndef PANDO_TRANSPORT_RRDP_H
#define PANDO_TRANSPORT_RRDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/wire/wire.h"

enum {
    RRDP_WINDOW = 64, /* frames per class and peer, sent and not acknowledged */
    RRDP_QUEUE =
        256, /* messages per class and peer, accepted by rrdp_send and not yet acknowledged */
    RRDP_MSG_INLINE = 64, /* bytes of a message kept by copy (its header) */
    RRDP_MTU_MIN = 576,   /* bytes after the Ethernet header */
    RRDP_MTU_MAX = 9000,
    RRDP_MTU_BASE = 1452, /* what every path carries: Ethernet's 1500 less IPv6 and UDP headers */
    RRDP_PART = RRDP_MTU_BASE - WIRE_RRDP_HEADER_MAX, /* bytes of a frame that goes in parts */
    RRDP_SYN_BYTES = 48,
    RRDP_EVENTS_SPARE = 256, /* events a node beyond those of its queues */
};

/*
 * The segment bytes of a SYN, little-endian, reserved bytes 0:
 *   0 revision 2 | 2 nodes 1 | 3 credit 1 | 4 mtu 2 | 6 heard 2 | 8 cluster id 8 | 16 epoch 8 |
 *  24 echoed epoch of the receiver 8 (0: not known) | 32 configuration hash 8 | 40 reserved 8
 * The ACK flag of a SYN says that the echoed epoch is not 0. A SYN that is filled up with zeros
 * behind its end asks whether the path carries that length; the answer is a SYN with it in `heard`.
 */
struct rrdp_syn {
    uint16_t revision; /* WIRE_REVISION */
    uint8_t nodes;     /* of the cluster */
    uint8_t credit;    /* frames a class that the sender takes, 1..RRDP_WINDOW */
    uint16_t mtu;
    uint16_t heard; /* bytes of such a SYN of the receiver, which this one answers; 0: of none */
    uint64_t cluster_id;
    uint64_t epoch; /* of the sender, towards the receiver: cfg.epoch + connections given up */
    uint64_t echo_epoch;
    uint64_t config_hash;
};

struct rrdp_mac {
    uint8_t addr[6];
};

/* In config_hash: set by who uses RRDP alone (dataplane/endpoint), clear in a dataplane's. The two
 * do not connect, and say why: RRDP_REFUSE_PURPOSE. */
#define RRDP_HASH_ENDPOINT (UINT64_C(1) << 63)

struct rrdp_config {
    uint8_t self;        /* node number, 0..nodes-1 */
    uint8_t nodes;       /* 1..64 */
    uint64_t cluster_id; /* frames of another one are dropped by name */
    uint64_t epoch; /* this process's boot epoch: larger at each start (wall clock ns), not 0 */
    uint64_t config_hash; /* peers with another configuration are refused: RRDP_EV_REFUSED */
    uint16_t mtu;   /* bytes after the Ethernet header: RRDP_MTU_MIN.. RRDP_MTU_MAX. A pair uses the
                       lower of both; what is above RRDP_MTU_BASE once it was seen to arrive */
    uint8_t credit; /* frames a class that we promise to take: 1..RRDP_WINDOW */
    uint64_t rto_min_ns; /* floor of the retransmission time-out, e.g. 200 us .. 1 s */
    uint64_t rto_max_ns;
    uint64_t
        ack_delay_ns; /* a lone ACK waits this long for a frame to ride on; well below rto_min */
    uint64_t heartbeat_ns; /* NUL after this long without sending */
    uint64_t dead_ns;      /* RRDP_EV_DOWN after this long without receiving */
    uint64_t syn_ns;       /* SYN repeated at this interval until answered */
    uint8_t group_min; /* class 0: equal messages that wait for so many peers leave as one frame, to
                          group_mac. 2..; 0: off, as where the fabric has no such thing */
    struct rrdp_mac group_mac;
};

/* Why a received frame changed nothing. Each has a counter. */
/* clang-format off */
#define RRDP_DROP_LIST(X) \
    X(SHORT, "short") X(LENGTH, "length") X(VERSION, "version") X(RESERVED, "reserved") \
    X(CLUSTER, "cluster") X(CRC, "crc") X(RANGE, "range") X(NOT_FOR_US, "not_for_us") \
    X(SELF, "from_self") X(NO_CONNECTION, "no_connection") X(TAG, "tag") \
    X(EPOCH, "old_epoch") X(MAC_MOVED, "mac_moved") X(DUPLICATE, "duplicate") \
    X(WINDOW, "window") X(ACK_RANGE, "ack_range") X(SEGMENT, "segment") \
    X(REFUSED, "refused") X(EVENTS, "events_unread") X(PONG, "pong_not_asked_for")
/* clang-format on */

#define X(ID, name) RRDP_DROP_##ID,
enum rrdp_drop { RRDP_DROP_LIST(X) RRDP_DROPS };
#undef X

struct rrdp_counters {
    uint64_t drop[RRDP_DROPS];
    uint64_t tx_frames[WIRE_CLASSES], rx_frames[WIRE_CLASSES];
    uint64_t tx_bytes[WIRE_CLASSES], rx_bytes[WIRE_CLASSES]; /* after the Ethernet header */
    uint64_t tx_messages[WIRE_CLASSES], rx_messages[WIRE_CLASSES];
    uint64_t retransmit[WIRE_CLASSES]; /* frames sent again, for whatever reason; and given up: */
    uint64_t
        retransmit_probe[WIRE_CLASSES]; /* ... the last one, after two round trips of silence */
    uint64_t retransmit_timeout[WIRE_CLASSES];
    uint64_t ack_frames, nul_frames, syn_frames, rst_frames;
    uint64_t ping_frames, pong_frames;   /* HOST-PINGs asked and answered */
    uint64_t out_of_order;               /* frames parked until the gap before them closes */
    uint64_t congestion;                 /* times that losses of pages narrowed the peer's window */
    uint64_t paced;                      /* frames of pages and bulk that waited for their turn */
    uint64_t credit_stall[WIRE_CLASSES]; /* times a class had something to send and no credit */
    uint64_t ooo_copied_bytes;           /* of those, and of parts */
    uint64_t mtu_falls;                  /* times that long frames stopped arriving, or seemed to */
    uint64_t parts;                      /* frames sent that are parts of such ones */
    uint64_t group_tx, group_rx;         /* messages that left or came in group frames */
    uint64_t group_lost;                 /* ... that were sent again */
    uint64_t group_bytes;  /* of those that left, as if each had come alone (rx_bytes counts so) */
    uint64_t group_frames; /* own node only: frames sent */
    uint64_t group_others; /* own node only: received, and not for this node */
};

/* One in-order piece of a message. data is valid until the next call into this rrdp. */
struct rrdp_segment {
    uint8_t peer;
    uint8_t cls;
    bool first, last;
    bool placed;     /* data is where rrdp_receive_parts was told, not in a frame */
    uint32_t offset; /* of data within the message, header included */
    uint32_t len;
    const uint8_t *data;
};

enum { RRDP_SEGMENTS_MAX = RRDP_WINDOW + 2 };

struct rrdp_segments {
    uint32_t n;
    struct rrdp_segment seg[RRDP_SEGMENTS_MAX];
};

enum rrdp_event_type {
    RRDP_EV_NONE,
    RRDP_EV_UP,      /* peer connected; value = its epoch, see struct rrdp_syn */
    RRDP_EV_DOWN,    /* connection gone; value = enum rrdp_down. All unsent messages were dropped:
                        their SENT events come first */
    RRDP_EV_REFUSED, /* the SYN, or version, of a peer that is not up does not fit; value = enum
                        rrdp_refusal. At most once a second a peer */
    RRDP_EV_SENT,    /* message acknowledged (or dropped by DOWN): payload handle is free; value =
                        cookie */
    RRDP_EV_PONG,    /* the peer's host answered rrdp_host_ping; value = id | stamp << 32, by = who
                        (enum wire_ping_by) */
    RRDP_EV_MTU,     /* it is known what the path to the peer carries; value = bytes of a frame from
                        now on: the lower of both mtu, or RRDP_MTU_BASE. Once a connection where the
                        former is larger; again when it is known that this has changed */
};
enum rrdp_down {
    RRDP_DOWN_TIMEOUT = 1,
    RRDP_DOWN_RST,
    RRDP_DOWN_CLOSED,
    RRDP_DOWN_RESTARTED,
    RRDP_DOWN_GONE /* rrdp_gone */
};
enum rrdp_refusal {
    RRDP_REFUSE_REVISION = 1,
    RRDP_REFUSE_CONFIG,
    RRDP_REFUSE_NODES,
    RRDP_REFUSE_SAME_NODE,
    RRDP_REFUSE_VERSION, /* of the header: WIRE_VERSION */
    RRDP_REFUSE_PURPOSE, /* a dataplane and an endpoint: RRDP_HASH_ENDPOINT */
};

struct rrdp_event {
    enum rrdp_event_type type;
    uint8_t peer;
    uint8_t by; /* PONG */
    uint64_t value;
};

enum { RRDP_GROUP = WIRE_DST_GROUP };

/* A frame to build: header bytes, then `inline_len` bytes, then payload[handle] from
 * payload_offset. The owner puts them in one buffer behind an Ethernet header and calls
 * wire_rrdp_seal. */
struct rrdp_frame {
    uint8_t peer; /* RRDP_GROUP: `members` */
    uint8_t cls;
    bool mac_known; /* else broadcast (only SYN) */
    struct rrdp_mac mac;
    uint8_t header_len;
    uint8_t header[WIRE_RRDP_HEADER_MAX];
    const uint8_t *inline_data;
    uint16_t inline_len;
    uint64_t payload; /* handle; meaningful if payload_len > 0 */
    uint32_t payload_offset;
    uint16_t payload_len;
    bool retransmission;
    uint64_t members; /* of a group frame, which goes to mac; 0: an ordinary one */
    uint16_t pad_to;  /* the sealed frame is to be filled up with zeros: rrdp_frame_pad */
};

/* Fills up a sealed frame of len bytes; returns its length, at most mtu. */
static inline uint32_t rrdp_frame_pad(const struct rrdp_frame *f, uint8_t *frame, uint32_t len)
{
    for (; len < f->pad_to; len++)
        frame[len] = 0;
    return len;
}

struct rrdp;

/* Bytes of memory that rrdp_init needs for this configuration; 0 if the configuration is out of
 * range. The amount grows with nodes and mtu only. */
size_t rrdp_size(const struct rrdp_config *cfg);

/* Builds an rrdp in mem (64-byte aligned, rrdp_size bytes). Starts connecting to every other node
 * at the first tick. NULL: configuration out of range. */
struct rrdp *rrdp_init(void *mem, const struct rrdp_config *cfg, uint64_t now);

/* Queues a message: inline_len (22..RRDP_MSG_INLINE) bytes are copied, payload_len
 * (0..WIRE_BYTES_MAX) bytes are named by handle. cookie comes back with RRDP_EV_SENT if want_sent.
 * 0, -EAGAIN (RRDP_QUEUE messages wait: keep it and try after the next RRDP_EV_SENT or ack),
 * -ENOTCONN, -EINVAL. Never blocks, never drops. */
int rrdp_send(struct rrdp *r, uint8_t peer, uint8_t cls, const void *inline_data,
              uint16_t inline_len, uint64_t payload, uint32_t payload_len, bool want_sent,
              uint64_t cookie);

/* Room left in the send queue of (peer, class): messages. */
uint32_t rrdp_room(const struct rrdp *r, uint8_t peer, uint8_t cls);

/* Replaces a payload handle in every message queued or unacknowledged that carries `from` (the page
 * is wanted for something else and its bytes were copied to `to`). Returns how many were changed.
 */
uint32_t rrdp_rebind(struct rrdp *r, uint64_t from, uint64_t to);

/* Takes one frame as received, without Ethernet header; mac is its link source address. out->n
 * segments are to be consumed at once. Anything that is not a good frame of a peer is counted and
 * changes nothing. */
void rrdp_receive(struct rrdp *r, uint64_t now, struct rrdp_mac mac, const uint8_t *frame,
                  size_t len, struct rrdp_segments *out);
/* The same for a frame whose last ext_len bytes came to rest elsewhere, at ext: a page that the
 * peer wrote into this node's memory. What lies there is checked as all bytes of a frame are. Only
 * data of a connection comes so, in whole frames and behind the message's header (else
 * RRDP_DROP_LENGTH); ext_len 0: all of it is at frame. */
void rrdp_receive_parts(struct rrdp *r, uint64_t now, struct rrdp_mac mac, const uint8_t *frame,
                        size_t len, const uint8_t *ext, size_t ext_len, struct rrdp_segments *out);

/* The next frame to send, class 0 first, peers in rotation within a class; false when there is none
 * now. A frame handed out counts as sent: if the port refuses it, that is a loss like any other. */
bool rrdp_transmit(struct rrdp *r, uint64_t now, struct rrdp_frame *out);

/* The next event; false when there is none. Events are to be drained after each burst of frames:
 * while too many are unread, rrdp_receive drops what it gets and rrdp_send answers -EAGAIN. */
bool rrdp_event(struct rrdp *r, struct rrdp_event *out);

/* Time at which rrdp_tick must run at the latest (UINT64_MAX: never); rrdp_tick handles time-outs,
 * heartbeats, dead peers and set-up. Ticking early does nothing, and costs a comparison: a loop
 * that polls ticks in each round. The deadline is for who sleeps: it looks at every peer. */
uint64_t rrdp_deadline(const struct rrdp *r);
void rrdp_tick(struct rrdp *r, uint64_t now);

/* The owner knows better than a time-out. gone: the peer's process has ended; a connection with it
 * goes down. stalled: this node itself did not run for so long; its peers' silence of that time
 * does not count. */
void rrdp_gone(struct rrdp *r, uint8_t peer);
void rrdp_stalled(struct rrdp *r, uint64_t ns);

/* What identifies a cluster in frames that belong to no connection (SYN, HOST-PING, group frames):
 * a hash of its id. Who answers for a process, as the kernel does, must know it. */
uint32_t rrdp_cluster_tag(uint64_t cluster_id);

/* Asks the peer's host for a sign of life: a HOST-PING leaves with the next rrdp_transmit, whatever
 * the state of the connection; by broadcast if the peer's address is not known. Its answer, should
 * it come, is RRDP_EV_PONG with this id and stamp (both the caller's). Only the latest question to
 * a peer has an answer. It is unauthenticated and changes nothing: never evidence for membership,
 * only for words such as "the host is there, the process stands still". 0, or -EINVAL: no such
 * peer. */
int rrdp_host_ping(struct rrdp *r, uint8_t peer, uint32_t id, uint32_t stamp);

/* Orderly close towards all peers: queued messages are still delivered, then RST|NUL (closed). */
void rrdp_close(struct rrdp *r, uint64_t now);
/* Abortive close towards all peers: RST without waiting for anything (they see RRDP_DOWN_RST). */
void rrdp_reset(struct rrdp *r);
/* True when nothing is queued or unacknowledged towards any live peer. */
bool rrdp_idle(const struct rrdp *r);

/* Checks every invariant of transport/internal.h with PANDO_CHECK: for tests, fuzzing, debugging.
 */
void rrdp_check(const struct rrdp *r);

bool rrdp_peer_up(const struct rrdp *r, uint8_t peer);
uint64_t rrdp_peer_last_rx(const struct rrdp *r, uint8_t peer); /* time of its last good frame */
/* Where the frames of a peer that is up come from: struct port_frame's src. */
struct rrdp_mac rrdp_peer_mac(const struct rrdp *r, uint8_t peer);
uint64_t rrdp_peer_epoch(const struct rrdp *r, uint8_t peer);
uint32_t rrdp_peer_window(const struct rrdp *r, uint8_t peer); /* 4..RRDP_WINDOW, see pace.c */
uint16_t rrdp_peer_mtu(const struct rrdp *r, uint8_t peer);    /* bytes of a frame to it, at most */
uint64_t rrdp_peer_rtt_ns(const struct rrdp *r,
                          uint8_t peer); /* smoothed; 0 before the first sample */
const struct rrdp_counters *rrdp_counters(const struct rrdp *r, uint8_t peer);
const char *rrdp_drop_name(enum rrdp_drop d);

#endif
