/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of RRDP. One struct peer per other node, one struct stream per class of it.
 *
 *             its SYN             its SYN echoes our epoch, or a frame has our tag
 *   OPENING ------------> HALF_OPEN ----------------------------------------------> UP
 *                          ^  ^  |                                                  | |
 *                          |  |  +-- SYN with a larger epoch: HALF_OPEN anew        | |
 *                          |  +-- SYN with a larger epoch: the peer restarted ------+ |
 *                          +-- time-out | RST | RST|NUL (closed) | broken segmentation:
 *                              our epoch towards the peer + 1 ------------------------+
 *
 * OPENING: nothing is known of the peer. HALF_OPEN: its epoch, MAC, MTU and credit are, and so is
 * the tag; that the peer knows ours is not. Both sides open at once: each repeats its SYN until it
 * knows that the other knows its epoch. The connection tag is a hash of the cluster id and both
 * epochs, so a frame of an older incarnation of either side never matches. Both sides derive the
 * first sequence numbers from the tag.
 *
 * A connection that ended is never continued: the side that gave it up counts its own epoch towards
 * that peer up by one. Its next SYN therefore looks like that of a restarted peer, and ends the
 * connection on the other side too, if that one still believed in it.
 *
 * Invariants (rrdp_check executes them):
 *  1. snd_una <= snd_nxt <= snd_una + RRDP_WINDOW, and snd_nxt <= snd_limit, the peer's promise.
 *  2. q_tail <= q_cut <= q_head <= q_tail + RRDP_QUEUE; a message leaves the queue only when its
 *     last frame is acknowledged, or with the connection.
 *  3. Each frame in [snd_una, snd_nxt) belongs to a queued message, in order and without a hole;
 *     lost_count and acked_count are the numbers of those so marked.
 *  4. Parked frames lie in (rcv_nxt, rcv_nxt + our credit).
 *  5. What is unacknowledged has a retransmission time or is marked lost: nothing waits for ever.
 *  6. A peer that is not UP has nothing queued, in flight, parked or in parts.
 *  7. A stream with something to do now has its bit in `ready`; one that is paced waits for
 * pace_at.
 *  8. The event ring has room for every SENT event that is owed.
 *  9. `due` is not later than any peer's deadline: until then rrdp_tick looks at no peer.
 * 10. A slot holds a parked frame, or parts of one in [rcv_nxt, rcv_nxt + our credit), or nothing.
 */
#ifndef PANDO_TRANSPORT_INTERNAL_H
#define PANDO_TRANSPORT_INTERNAL_H

#include <errno.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/transport/rrdp.h"

#define NO_TIME UINT64_MAX

enum {
    URGENT_SLOT = 64,   /* class 0 carries no payloads: a parked frame is at most this long */
    ACK_EVERY = 16,     /* frames received before an ACK is due at once */
    REORDER_FRAMES = 3, /* a frame is lost when one sent this many later has arrived (RFC 8985) */
    BACKOFF_MAX = 10,
    RST_COPIES = 3, /* a RST is not acknowledged: copies against loss */
    SEQ_BEFORE_WRAP = 1024,
    EVENTS_A_FRAME = 4, /* a received frame causes at most this many besides SENT */
    EVENTS_A_PEER = 2,  /* ... and time, until frames of the peer are taken again */
    GROUP_LOST_MAX = 4, /* in a row: the fabric does not bring them to this peer, for now */
    GROUP_REST = 1024,
    CWND_MIN = 4,
    PACE_BURST = 4, /* frames that need not keep their distance: a page at MTU 1500, and one */
    MTU_PROBES = 6, /* syn_ns apart, then twice as long each time */
    MTU_TRIES = 4,  /* a long frame is lost so often in a row: the path does not carry it now */
};

enum peer_state { PEER_OPENING, PEER_HALF_OPEN, PEER_UP };

struct message {
    uint64_t payload, cookie;
    uint64_t last_seq; /* of its last frame; meaningful once cut completely */
    uint32_t total;    /* inline_len + payload_len */
    uint32_t cut;      /* bytes that were put into frames */
    uint16_t inline_len;
    bool want_sent;
    uint8_t inline_data[RRDP_MSG_INLINE];
};

struct sent_frame {
    uint64_t sent_at;
    uint64_t order;   /* of transmission, over all frames of the stream */
    uint32_t message; /* index into the queue, free-running */
    uint32_t offset;
    uint16_t len;
    uint16_t part_at; /* it goes in parts, of which this is the next; 0: or from the beginning */
    uint8_t tries;    /* so often was it lost whole */
    bool first, last, acked, lost, again, group;
};

struct stream {
    /* sender */
    uint64_t snd_una, snd_nxt, snd_limit;
    uint64_t tx_order;
    uint64_t acked_order; /* the latest transmission known to have arrived */
    uint32_t q_tail, q_cut,
        q_head;           /* oldest unacknowledged, next to cut, next free; free-running */
    uint32_t lost_count;  /* of the frames in [snd_una, snd_nxt) */
    uint32_t acked_count; /* ... likewise, those that the peer has beyond a gap */
    uint8_t backoff;
    bool stalled;
    bool probed; /* since the last progress */
    bool paced;  /* has something to send, at pace_at */
    /* receiver */
    bool in_message;
    uint16_t unacked;
    uint32_t rx_offset; /* bytes of the message under way */
    uint64_t rcv_nxt;
    uint64_t parked; /* bit i: frame rcv_nxt + 1 + i is in its slot */
    uint8_t *slot;   /* RRDP_WINDOW slots of slot_size bytes */
    uint32_t slot_size;
    /* both, by sequence or queue number */
    struct sent_frame frame[RRDP_WINDOW];
    uint16_t slot_len[RRDP_WINDOW];
    uint8_t slot_flags[RRDP_WINDOW]; /* bit 0 first, bit 1 last */
    uint8_t slot_parts[RRDP_WINDOW]; /* bit i: part i of a frame that is not whole is in its slot */
    struct message queue[RRDP_QUEUE];
};

struct peer {
    /* what rrdp_deadline looks at, in each loop */
    uint64_t ack_due[WIRE_CLASSES]; /* a lone ACK must leave */
    uint64_t rto_at[WIRE_CLASSES];  /* retransmission time-out */
    uint64_t rack_at[WIRE_CLASSES]; /* a frame overtaken by others counts as lost */
    uint64_t
        probe_at[WIRE_CLASSES]; /* the last frame is sent again: its answer says what is lost */
    uint64_t pace_at;           /* classes DATA and BULK go on */
    uint64_t last_tx, last_rx, syn_at;
    uint8_t state; /* enum peer_state */
    uint8_t id;
    uint8_t rst_left;
    bool rst_closed; /* the RST says that the VM ended, not that something is wrong */
    bool syn_now, nul_now, mac_known;
    struct rrdp_mac mac;
    uint8_t credit;     /* frames a class that it promised in its SYN */
    uint16_t mtu_most;  /* the lower of both */
    uint16_t mtu;       /* what is used */
    uint16_t mtu_told;  /* to the owner; 0: nothing yet */
    uint16_t mtu_heard; /* of the peer's, on the way here; our next SYN says so */
    uint8_t mtu_probes; /* left */
    bool mtu_begins;    /* with the peer's next frame of this connection */
    bool mtu_now;       /* one is to be sent */
    uint64_t mtu_at;    /* the next, or the end of it */
    uint32_t tag, rst_tag;
    uint32_t unread;    /* UP and DOWN events that the owner has not taken */
    uint64_t epoch;     /* the peer's; 0: not known */
    uint64_t own_epoch; /* ours towards it */
    uint64_t srtt, rttvar, rto, rtt_min;
    uint64_t refused_at;
    bool ping_now, ping_open; /* HOST-PING: ours is to be sent; is not answered yet */
    bool pong_now;            /* theirs is to be answered */
    uint32_t ping_id, ping_stamp, pong_id, pong_stamp;
    struct rrdp_mac pong_mac;
    uint8_t cwnd;        /* pace.c: frames of DATA and BULK in flight */
    uint8_t cwnd_acked;  /* since it grew */
    uint64_t cwnd_since; /* it was narrowed */
    uint64_t pace_due;   /* when the next frame would be due, were all equally far apart */
    uint8_t group_lost;  /* group frames in a row that did not arrive */
    uint16_t group_rest; /* so many messages go alone before the next try */
    uint8_t syn[RRDP_SYN_BYTES];
    struct rrdp_counters counters;
    struct stream stream[WIRE_CLASSES];
};

struct rrdp {
    struct rrdp_config cfg;
    struct peer *peer; /* by node number; the own one only counts what belongs to nobody */
    struct rrdp_event *event;
    uint32_t event_head, event_tail, event_size;
    uint32_t owed;                /* SENT events that queued messages will cause */
    uint64_t ready[WIRE_CLASSES]; /* bit n: the stream of peer n may have a frame to send */
    uint64_t control;             /* bit n: peer n may have a SYN, RST or NUL to send */
    uint8_t rotor[WIRE_CLASSES];
    bool closing;
    uint64_t due; /* no timer of any peer is earlier; those put off since leave it too early */
    struct wire_group group;
    uint8_t group_bytes[WIRE_GROUP_MAX];
};

/* setup.c */
void setup_receive(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data,
                   size_t len, struct rrdp_mac mac);
void setup_other_version(struct rrdp *r, uint64_t now, const uint8_t *frame);
void setup_stranger(struct rrdp *r, struct peer *p, uint64_t now, const struct wire_rrdp *h);
void setup_own_number(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data);
void setup_build(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out);
void setup_up(struct rrdp *r, struct peer *p, uint64_t now);
void setup_down(struct rrdp *r, struct peer *p, enum rrdp_down why);
void setup_abort(struct rrdp *r, struct peer *p, enum rrdp_down why);
void setup_reset_streams(struct rrdp *r, struct peer *p);

uint32_t setup_cluster_tag(const struct rrdp *r);

/* ping.c */
void ping_receive(struct rrdp *r, struct peer *p, const struct wire_rrdp *h, struct rrdp_mac mac);
void ping_build(struct rrdp *r, struct peer *p, struct rrdp_frame *out);

/* group.c */
bool group_transmit(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out);
void group_acked(struct peer *p, struct sent_frame *f);
void group_lost(struct peer *p, struct sent_frame *f);

/* pace.c */
void pace_reset(struct peer *p);
bool pace_allows(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now);
void pace_sent(struct peer *p, unsigned cls, uint64_t now);
void pace_acked(struct rrdp *r, struct peer *p, unsigned cls, uint32_t frames);
void pace_lost(struct peer *p, unsigned cls, uint64_t now, bool all);
void pace_go_on(struct rrdp *r, struct peer *p);
void pace_tick(struct rrdp *r, struct peer *p, uint64_t now);

/* mtu.c */
void mtu_start(struct peer *p);
void mtu_begin(struct rrdp *r, struct peer *p, uint64_t now);
void mtu_receive(struct rrdp *r, struct peer *p, size_t len, const struct rrdp_syn *s);
void mtu_tick(struct rrdp *r, struct peer *p, uint64_t now);
void mtu_lost(struct rrdp *r, struct peer *p, struct sent_frame *f, uint64_t now);

/* event.c */
void push_event(struct rrdp *r, enum rrdp_event_type type, struct peer *p, uint64_t value);
uint32_t event_room(const struct rrdp *r);

/* send.c */
bool send_cut(struct peer *p, unsigned cls);
void send_mark(struct rrdp *r, struct peer *p, unsigned cls, uint64_t seq, uint64_t now);
void send_acked(struct rrdp *r, struct peer *p, struct stream *s);

/* ack.c */
void ack_arm_probe(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now);
bool ack_receive(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now,
                 const struct wire_rrdp *h);
void ack_mark_lost(struct rrdp *r, struct peer *p, unsigned cls, uint64_t now);
void frame_lost(struct rrdp *r, struct peer *p, unsigned cls, struct sent_frame *f, uint64_t now);

static inline struct sent_frame *frame_at(struct stream *s, uint64_t seq)
{
    return &s->frame[seq % RRDP_WINDOW];
}

static inline bool in_flight(const struct stream *s)
{
    return s->snd_nxt != s->snd_una;
}

static inline void drop(struct peer *p, enum rrdp_drop why)
{
    p->counters.drop[why]++;
}

/* Sets a timer of a peer. Only what may come earlier than before needs this: a tick that finds
 * nothing to do costs little, one that comes late does harm. */
static inline void arm(struct rrdp *r, uint64_t *timer, uint64_t at)
{
    *timer = at;
    r->due = min_u64(r->due, at);
}

/* The time at which the stream's oldest transmission is given up; never an overflow: rto <= 2^40 ns
 * is validated, backoff <= BACKOFF_MAX. */
static inline uint64_t rto_of(const struct rrdp *r, const struct peer *p, const struct stream *s)
{
    return min_u64(p->rto << s->backoff, r->cfg.rto_max_ns);
}

#endif
