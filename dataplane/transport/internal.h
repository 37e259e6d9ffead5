/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of RRDP. One struct peer per other node, one struct stream per class of it.
 *
 *            SYN (epoch) received              SYN that echoes our epoch, or any frame with our tag
 *   OPENING ----------------------> HALF_OPEN --------------------------------------------------> UP
 *      ^   \____________________________SYN that echoes our epoch________________________________/ |
 *      |                                                                                            |
 *      +----- time-out, RST, RST|NUL (closed), SYN with a larger epoch (restarted) -----------------+
 *
 * Both sides open at once: each repeats its SYN until it knows that the other knows its epoch. The
 * connection tag is a hash of the cluster id and both epochs, so a frame of an older incarnation of either side
 * never matches. Both sides derive the first sequence numbers from the tag.
 *
 * Invariants (rrdp_check):
 *  1. snd_una <= snd_nxt <= snd_una + RRDP_WINDOW, and snd_nxt <= the peer's limit.
 *  2. A message leaves the queue only when its last frame is acknowledged, or the connection is gone.
 *  3. Each frame in [snd_una, snd_nxt) belongs to a queued message.
 *  4. Parked frames lie in (rcv_nxt, rcv_nxt + our credit).
 */
#ifndef PANDO_TRANSPORT_INTERNAL_H
#define PANDO_TRANSPORT_INTERNAL_H

#include <errno.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/transport/rrdp.h"

#define NO_TIME UINT64_MAX

enum {
    SYN_BYTES = 48,
    URGENT_SLOT = 64,    /* class 0 carries no payloads: a parked frame is at most this long */
    ACK_EVERY = 16,      /* frames received before an ACK is due at once */
    REORDER_FRAMES = 3,  /* a frame is lost when one sent this many later has arrived (RFC 8985) */
    BACKOFF_MAX = 10,
    RST_COPIES = 3,      /* a RST is not acknowledged: copies against loss */
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
    uint64_t order;  /* of transmission, over all frames of the stream */
    uint32_t message;/* index into the queue, free-running */
    uint32_t offset;
    uint16_t len;
    bool first, last, acked, lost, again;
};

struct stream {
    /* sender */
    uint64_t snd_una, snd_nxt, snd_limit;
    uint64_t tx_order, acked_order, acked_sent_at;
    uint32_t q_tail, q_cut, q_head; /* oldest unacknowledged, next to cut, next free; free-running */
    uint32_t lost_count;
    uint8_t backoff;
    bool stalled;
    /* receiver */
    uint64_t rcv_nxt;
    uint64_t parked; /* bit i: frame rcv_nxt + 1 + i is in its slot */
    uint64_t ack_due;
    uint32_t rx_offset; /* bytes of the message under way */
    uint16_t unacked;
    bool in_message;
    struct sent_frame frame[RRDP_WINDOW];
    struct message queue[RRDP_QUEUE];
    uint16_t slot_len[RRDP_WINDOW];
    uint8_t slot_flags[RRDP_WINDOW]; /* bit 0 first, bit 1 last */
    uint8_t *slot;                   /* RRDP_WINDOW slots of slot_size bytes */
    uint32_t slot_size;
};

struct peer {
    enum peer_state state;
    uint8_t id;
    bool mac_known;
    struct rrdp_mac mac;
    uint64_t epoch; /* the peer's; 0: not known */
    uint32_t tag;
    uint16_t mtu;   /* the lower of both */
    uint8_t rst_left;
    bool rst_closed; /* the RST says that the VM ended, not that something is wrong */
    bool syn_now, nul_now;
    uint64_t syn_at, last_tx, last_rx, refused_at;
    uint64_t srtt, rttvar, rto;
    struct rrdp_counters counters;
    struct stream stream[WIRE_CLASSES];
};

struct rrdp {
    struct rrdp_config cfg;
    struct peer *peer; /* by node number; the own one only counts what belongs to nobody */
    struct rrdp_event *event;
    uint32_t event_head, event_tail, event_size;
    uint8_t rotor[WIRE_CLASSES];
    bool closing;
};

struct rrdp_syn {
    uint16_t revision;
    uint8_t nodes, credit;
    uint16_t mtu;
    bool ack; /* echo_epoch is meant */
    uint64_t cluster_id, epoch, echo_epoch, config_hash;
};

/* setup.c */
void setup_receive(struct rrdp *r, uint64_t now, const struct wire_rrdp *h, const uint8_t *data,
                   struct rrdp_mac mac);
void setup_build(struct rrdp *r, struct peer *p, uint64_t now, struct rrdp_frame *out);
void setup_up(struct rrdp *r, struct peer *p, uint64_t now);
void setup_down(struct rrdp *r, struct peer *p, enum rrdp_down why);
void setup_reset_streams(struct rrdp *r, struct peer *p);
uint64_t setup_first_seq(const struct peer *p, uint8_t from, unsigned cls);

/* send.c */
void send_acked(struct rrdp *r, struct peer *p, struct stream *s);
void push_event(struct rrdp *r, enum rrdp_event_type type, uint8_t peer, uint64_t value);
struct wire_rrdp frame_header(const struct rrdp *r, const struct peer *p, unsigned cls);

/* ack.c */
bool ack_receive(struct rrdp *r, struct peer *p, struct stream *s, uint64_t now, const struct wire_rrdp *h);
void ack_mark_lost(struct peer *p, struct stream *s);
uint64_t stream_rto_at(const struct peer *p, const struct stream *s);

static inline struct sent_frame *frame_at(struct stream *s, uint64_t seq)
{
    return &s->frame[seq % RRDP_WINDOW];
}

static inline void drop(struct peer *p, enum rrdp_drop why)
{
    p->counters.drop[why]++;
}

#endif
