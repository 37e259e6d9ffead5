/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port over RDMA verbs (InfiniBand, RoCE v2, the kernel's rdma_rxe): what its files share.
 * EDGE.
 *
 *   verbs.c         the port: received frames, sleep, close, counters
 *   verbs_send.c    frames and pages out: work requests, completions, settle
 *   verbs_peer.c    hellos over a UDP socket beside it; what dataplane/rdma says is done
 *   verbs_memory.c  guest memory that peers may write pages into
 *   verbs_aside.c   its registration, where that takes long
 *   verbs_open.c    the device, its GID, queues and buffers
 *   verbs_load.c    the library
 *
 * Two ways lead to a peer. Short frames go by one UD queue pair for all: it needs no connection and
 * is lost like a frame. Longer ones, and everything of the classes that carry pages but what is
 * header alone, go by a reliable connection (RC) with each peer. A page that the peer awaits is
 * written into its guest memory and followed by the rest of its frame, with an immediate that says
 * where it was written: on one connection the one arrives after the other.
 *
 * Rule 3 of port.h (what was written does not land on what came later). A page's message is only
 * ever repeated on the connection that wrote it, behind that WRITE, or on a later one: its class
 * goes by RC at any length. The sender's queue pair in the error state is no barrier, as packets
 * may be on the wire; the receiver's is, and an invalid key is. So it is the receiver who ends a
 * connection before it listens to the peer on the next one: queue pair in the error state, then
 * destroyed, then its keys invalid. Keys are a connection's own for that reason, at the price of
 * one registration of guest memory for each peer; and one more, local, that pages leave by.
 *
 * What a peer's device reads of ours, by contrast, only port_settle waits for: WRITEs ask for a
 * completion. All others ask for one now and then, such that at most half of the buffers wait for
 * one that was not asked for.
 */
#ifndef PANDO_PORT_VERBS_PORT_H
#define PANDO_PORT_VERBS_PORT_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "dataplane/port/verbs.h"
#include "dataplane/port/verbs_api.h"
#include "dataplane/port/verbs_aside.h"
#include "dataplane/rdma/rdma.h"

enum {
    VERBS_SLOTS = 256,   /* buffers of frames that leave */
    VERBS_SLOTS_UD = 32, /* of them left to short frames */
    VERBS_SLOT_NONE = 0xFFFF,
    VERBS_RC_SENDS = 256, /* work requests under way, a power of two */
    VERBS_UD_SENDS = 256,
    VERBS_BATCH = 32,   /* work requests handed over at once */
    VERBS_INLINE = 128, /* asked of the device: header, message, and some more */
    VERBS_RECEIVES_MIN = 256,
    VERBS_RECEIVES_MAX = 4096,
    VERBS_UD_RECEIVES_MAX = 1024,
    VERBS_GRH = 40,    /* in front of what is received by UD */
    VERBS_RETRIES = 6, /* 7 is without end for some devices */
    VERBS_RNR_ENDLESS = 7,
    VERBS_MTU_LEAST = 3, /* 1024 bytes: a UD packet carries a frame of RRDP_MTU_MIN */
    VERBS_DEVICE_MAX = 64,
    VERBS_ASIDE_PAGES = 4096, /* 16 MiB: milliseconds */
    VERBS_UD_RESETS = 8,      /* of its queue pair within a second: more, and it is of no use */
    VERBS_WATCHED = 3,        /* descriptors to sleep on: frames, hellos, the device's events */
};

/* A work request that waits, or is under way. */
enum verbs_what { VERBS_SEND, VERBS_WRITE, VERBS_PROBE };
struct verbs_send {
    uint8_t what, peer;
    bool placed;   /* SEND: it follows the WRITE of its page */
    bool guest;    /* WRITE: bytes are the guest's, and settled */
    uint16_t slot; /* to be given back with it; VERBS_SLOT_NONE */
    uint32_t len;
    const uint8_t *bytes;
    uint32_t local_key;
    struct rdma_place place;
};

/* The sending side of a queue pair. */
struct verbs_lane {
    struct ibv_qp *qp; /* NULL: none */
    uint8_t life;      /* completions of an earlier queue pair are not this one's */
    bool broken;       /* in error, or as good as that: error says why */
    bool probing;
    uint32_t ring, limit;        /* of send[]; of work requests under way */
    uint32_t done, posted, next; /* completed up to; handed over up to; committed up to */
    uint32_t silent;             /* since the last one that asked for a completion */
    enum ibv_wc_status status;
    struct verbs_send *send;
};

struct verbs_peer {
    struct rdma_peer rdma;
    struct ibv_ah *ah;
    uint32_t ud_max;       /* bytes of a frame that goes by UD */
    uint32_t first_packet; /* of the last connection */
    const char *why;       /* the device's word for what broke it; NULL: nothing did */
    struct ibv_mr *key[RDMA_BLOCKS];
    uint8_t keys;
    bool no_more_keys; /* the device refused one */
    struct sockaddr_storage at;
    struct rrdp_mac mac;
};

struct verbs_block {
    uint64_t base_page, pages;
    uint8_t *alias;
    struct ibv_mr *local; /* NULL: not yet, or refused */
    bool refused;
};

struct verbs_port {
    struct port port;
    struct verbs_api api;
    struct link_config link; /* numbers and addresses */
    struct rdma_config cfg;
    uint64_t cluster_id, settle_ns;
    uint8_t timeout, nodes, self;
    char dead[PORT_ERROR_MAX], notice[PORT_ERROR_MAX];

    /* the device */
    char device[VERBS_DEVICE_MAX];
    struct ibv_context *context;
    uint8_t device_port;
    struct ibv_port_attr attr;
    struct ibv_device_attr limits;
    union ibv_gid gid;
    int gid_index;
    uint32_t interface; /* index of the kernel's, that has the address */
    struct ibv_pd *pd;
    struct ibv_comp_channel *channel;
    struct ibv_cq *send_cq, *receive_cq;
    struct ibv_srq *srq;
    uint32_t ud_key, inline_max;

    /* beside it */
    int socket, epoll;
    socklen_t address_bytes;
    uint32_t polls;
    bool attend;     /* something waits for verbs_attend */
    uint64_t fenced; /* nodes: without connection and way, and their datagrams are dropped */

    /* out */
    uint8_t *slots, reserved_for;
    struct ibv_mr *slots_mr;
    uint32_t slot_bytes, slots_free, silent_max, guests_waiting;
    uint16_t slot_free[VERBS_SLOTS], reserved;
    uint64_t dirty[2]; /* lanes with something to hand over; UD's in the second word */
    struct verbs_lane lane[WIRE_NODES_MAX + 1]; /* by peer; the last one is UD's */
    struct verbs_send *sends;

    /* in */
    uint8_t *receives, *ud_receives;
    struct ibv_mr *receives_mr, *ud_receives_mr;
    uint32_t receive_bytes, receive_count, ud_receive_bytes, ud_receive_count;
    uint64_t
        used[PORT_BURST]; /* buffers of frames that were handed up: VERBS_UD_BUFFER and number */
    uint32_t used_count;
    uint8_t ud_life;    /* receives of before its queue pair was reset are not UD's any more */
    uint32_t ud_resets; /* within a second from then: */
    uint64_t ud_reset_at;
    struct ibv_wc early; /* a completion that arm() found */
    bool have_early;
    uint8_t by_number[256]; /* where a queue pair's peer was found last */

    struct verbs_aside aside;
    bool asking; /* it has something to do: for whom, and the life of that one's connection */
    uint8_t asked_for, asked_life;
    uint32_t asked_block;
    uint64_t aside_pages; /* of a block; shorter ones are registered at once */
    uint32_t blocks;
    struct verbs_block block[RDMA_BLOCKS];
    struct verbs_peer peer[WIRE_NODES_MAX];
    struct port_verbs_counters counters;
};

enum { VERBS_UD = WIRE_NODES_MAX }; /* UD's lane */
#define VERBS_UD_BUFFER                                                                            \
    (UINT64_C(1) << 32) /* in the wr_id of a receive, with its life above it                       \
                         */
#define VERBS_UD_LIFE_SHIFT 40

static inline struct verbs_port *verbs_of(struct port *p)
{
    return (struct verbs_port *)p;
}

/* verbs_open.c: a reliable queue pair in INIT; NULL: errno says why. */
struct ibv_qp *verbs_make_pair(struct verbs_port *v);
/* ... with the library's functions, or others; for the opener and for tests. */
int verbs_open_with(const struct port_verbs *cfg, const struct verbs_api *api,
                    struct port **ret_port, char err[PORT_ERROR_MAX]);
void verbs_close_device(struct verbs_port *v);
bool verbs_gid_is_there(const struct verbs_port *v);
/* UD's queue pair once more, with the same number, after it broke: frames under way are lost. 0 or
 * -errno. */
int verbs_reset_ud(struct verbs_port *v);

/* verbs.c */
extern const struct port_ops verbs_ops;
uint64_t verbs_now(void);
/* The port carries nothing any more; the first reason counts. */
void verbs_die(struct verbs_port *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Gives receive buffers, by wr_id, to the device. 0 or -errno. */
int verbs_post_receives(struct verbs_port *v, const uint64_t *ids, uint32_t n);

/* verbs_send.c */
uint8_t *verbs_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac);
void verbs_tx_commit(struct port *p, uint32_t len);
void verbs_tx_commit_placed(struct port *p, uint32_t len, const uint8_t *bytes, uint64_t page);
void verbs_settle(struct port *p, const uint8_t *bytes, size_t len);
void verbs_flush(struct port *p);
void verbs_reap(struct verbs_port *v); /* takes completions of what left */
void verbs_probe(struct verbs_port *v, uint8_t peer);
/* What waits or is under way is over, since the queue pair is. */
void verbs_lane_reset(struct verbs_port *v, struct verbs_lane *lane);

/* verbs_peer.c */
int verbs_peers_open(struct verbs_port *v, char err[PORT_ERROR_MAX]);
/* Datagrams, events, errors and time: what is not for each round. */
void verbs_attend(struct verbs_port *v);
void verbs_peer_event(struct verbs_port *v, uint8_t peer, enum rdma_event_type type);
int verbs_fence(struct port *p, uint8_t node, bool fenced);
/* Ends all connections, and says so to the peers. */
void verbs_peers_close(struct verbs_port *v);

/* verbs_memory.c */
int verbs_add_memory(struct port *p, uint64_t first_page, uint64_t pages, uint8_t *alias,
                     char err[PORT_ERROR_MAX]);
/* Registers what is not yet, and takes what was registered aside. */
void verbs_memory_attend(struct verbs_port *v);
/* Keys of a new connection, for the first blocks, those that can be had at once; and their end. */
void verbs_keys_make(struct verbs_port *v, uint8_t peer);
void verbs_keys_end(struct verbs_port *v, uint8_t peer);
void verbs_memory_close(struct verbs_port *v);
/* The local key of bytes that lie in a block; false: in none. */
bool verbs_local_key(const struct verbs_port *v, const uint8_t *bytes, size_t len,
                     uint32_t *ret_key);

#endif
