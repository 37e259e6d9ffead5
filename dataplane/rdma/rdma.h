/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How two nodes come to a connection over RDMA: what they tell each other by datagrams beside it
 * (hellos), and when a queue pair is made, connected and ended. PURE.
 *
 * One struct rdma_peer serves one peer of one port. The owner (dataplane/port) passes time, events
 * and datagrams in and does what the answer says; it knows the verbs, this knows the order.
 *
 *   state   what is so                                       a newer hello of the peer makes it
 *   ABSENT  nothing is known of the peer, or it has ended    MADE
 *   MADE    its port is known; our queue pair for it is in   READY, when it names a queue pair for
 *           INIT, and our hellos name it                     this port that waits for this one
 *   READY   ours is in RTS; the peer's may still be in INIT  UP, when it is joined with ours
 *   UP      both are in RTS: frames of any length            -
 *   DOUBT   ours broke and is gone. Does the peer live?      FAILED, as it does: the path broke;
 *                                                            off a ladder MADE, unless the broken
 *                                                            one was younger than young_ns
 *   FAILED  nothing goes over this port any more             -
 *
 *   event                        ABSENT  MADE    READY, UP           DOUBT
 *   hello of a newer epoch       MADE    MADE'   MADE'               MADE
 *   ... names another queue pair -       -       MADE'               -
 *   ... has not heard of us      -       -       MADE'               MADE
 *   ... its queue pair broke     -       -       DOUBT               -
 *   ... it ends (CLOSED)         ABSENT  ABSENT  ABSENT              ABSENT
 *   ... its port broke (FAILED)  ABSENT  FAILED on a ladder, else ABSENT
 *   our queue pair broke         -       FAILED  DOUBT               -
 *   nobody is at its socket      -       ABSENT  FAILED on a ladder, else ABSENT
 *   it is heard elsewhere        FAILED on a ladder
 *   it is fenced                 -       ABSENT  ABSENT              ABSENT
 *   time                         -       -       (probe)             after doubt_ns FAILED on a
 *                                                                    ladder, else ABSENT
 *   (': with a new queue pair, the old one has ended before)
 *
 * What must hold, always:
 *   1. A queue pair is connected at most once, to one that its peer made for this port's epoch, and
 *      sent on only when that one is joined with it. So nothing of an older incarnation arrives.
 *   2. END comes before any MAKE, and before the port closes: the old queue pair is in the error
 *      state and destroyed, and the memory keys of that connection are invalid, before the peer can
 *      be heard in another way. So a WRITE that comes late changes no page that was filled
 *      otherwise meanwhile.
 *   3. Hellos are ordered by (epoch, generation): an older one changes nothing.
 *
 * Whoever can send datagrams with a node's address can end its connections, as with the other
 * fabrics; bytes are validated (rdma_hello_read), and what they say of memory is only where this
 * node's own WRITEs go to.
 */
#ifndef PANDO_RDMA_RDMA_H
#define PANDO_RDMA_RDMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/wire/wire.h"

enum {
    RDMA_REVISION = 1, /* any change of the hello's layout or meaning increments it */
    RDMA_BLOCKS = 8,
    RDMA_GID = 16,
    RDMA_HELLO_BYTES = 104, /* without blocks */
    RDMA_BLOCK_BYTES = 32,
    RDMA_HELLO_MAX = RDMA_HELLO_BYTES + RDMA_BLOCKS * RDMA_BLOCK_BYTES,
    RDMA_NUMBER_MAX = 0xFFFFFF, /* of a queue pair, of a packet */
    RDMA_MTU_MIN = 1,           /* as the verbs number them: 256 bytes ... */
    RDMA_MTU_MAX = 5,           /* ... 4096 */
    RDMA_PLACE_BITS = 29,       /* of an immediate: the page in its block; above them the block */
};
#define RDMA_BLOCK_PAGES_MAX (UINT64_C(1) << RDMA_PLACE_BITS)
#define RDMA_PAGES_MAX       (UINT64_C(1) << 36)

/* Guest pages that the receiver of the hello may write: of this connection alone. */
struct rdma_block {
    uint64_t base_page, pages; /* 1..RDMA_BLOCK_PAGES_MAX; blocks are ascending and apart */
    uint64_t address;          /* of the first byte, for a WRITE; 4096-byte pages follow */
    uint32_t key;
};

/* What a hello says of its sender. */
enum rdma_phase { RDMA_LIVE = 1, RDMA_CLOSED, RDMA_BROKEN };

/*
 * Layout, little-endian, reserved bytes 0:
 *   0 magic 4 | 4 revision 2 | 6 length 2 | 8 CRC32C 4 (of all, this field 0) | 12 from 1 | 13 to 1
 * | 14 phase 1 | 15 blocks 1 | 16 cluster id 8 | 24 epoch 8 | 32 heard epoch 8 | 40 generation 4 |
 *  44 heard generation 4 | 48 UD number 4 | 52 UD key 4 | 56 RC number 4 | 60 RC first packet 4 |
 *  64 joined 4 | 68 LID 2 | 70 mtu 1 | 71 reserved 1 | 72 GID 16 | 88 reserved 16 | 104 blocks:
 *   0 first page 8 | 8 pages 8 | 16 address 8 | 24 key 4 | 28 reserved 4
 */
struct rdma_hello {
    uint8_t from, to, phase, blocks;
    uint8_t mtu; /* of the sender's RDMA port: RDMA_MTU_MIN.. */
    uint16_t lid;
    uint8_t gid[RDMA_GID];
    uint64_t cluster_id;
    uint64_t epoch;            /* of the sender's port: larger at each open, never 0 */
    uint64_t heard_epoch;      /* the receiver's, as the sender knows it; 0: not */
    uint32_t generation;       /* of what this hello says, to this receiver; never 0 */
    uint32_t heard_generation; /* the receiver's last one that the sender took, of heard_epoch */
    uint32_t ud_number, ud_key;
    uint32_t number, packet; /* RC queue pair for heard_epoch, and its first PSN; 0: none (now) */
    uint32_t joined;         /* the receiver's RC queue pair that it is connected to; 0: none */
    struct rdma_block block[RDMA_BLOCKS];
};

/* Why a datagram changed nothing. Each has a counter. */
/* clang-format off */
#define RDMA_REFUSAL_LIST(X) \
    X(OK, "ok") \
    X(LENGTH, "length") X(MAGIC, "magic") X(REVISION, "revision") X(CRC, "crc") \
    X(RESERVED, "reserved") X(CLUSTER, "cluster") \
    X(FROM, "from")              /* no node, or this one */ \
    X(TO, "not_for_us") \
    X(PHASE, "phase") X(EPOCH, "epoch") X(GENERATION, "generation") \
    X(NUMBER, "queue_number")    /* of more than 24 bits, UD's is 0, or joined without one */ \
    X(MTU, "mtu") \
    X(BLOCKS, "blocks")          /* too many, too large, not ascending, or without a connection */ \
    X(STRANGER, "not_a_node")    /* the datagram's source address is not that node's */ \
    X(FENCED, "fenced")          /* of a node that is fenced: the owner's to say */ \
    X(STALE, "stale")            /* of an older incarnation, or overtaken by a later one */
/* clang-format on */
#define X(ID, name) RDMA_REFUSAL_##ID,
enum rdma_refusal { RDMA_REFUSAL_LIST(X) RDMA_REFUSALS };
#undef X
const char *rdma_refusal_name(enum rdma_refusal r);

/* Writes a hello; RDMA_HELLO_MAX bytes are there. Returns its length. */
size_t rdma_hello_write(const struct rdma_hello *h, uint8_t *bytes);
/* Reads and validates what came for node `self` of `nodes`. *ret_hello is written on OK only. */
enum rdma_refusal rdma_hello_read(const uint8_t *bytes, size_t len, uint8_t self, uint8_t nodes,
                                  uint64_t cluster_id, struct rdma_hello *ret_hello);

struct rdma_config {
    uint64_t epoch; /* of this port: larger at each open, not 0 */
    bool ladder;    /* nodes can meet on another fabric when this one breaks: then all leave it */
    uint64_t hello_ns; /* hellos are repeated so often while something is not heard or not done */
    uint64_t calm_ns;  /* ... and else: a peer's end is noticed by them */
    uint64_t young_ns; /* a connection that broke sooner says that the path is broken */
    uint64_t doubt_ns; /* a peer that says nothing for so long after its queue pair broke is lost */
    uint64_t probe_ns; /* an idle connection is tried so often */
};

/* clang-format off */
#define RDMA_STATE_LIST(X) \
    X(ABSENT, "absent") X(MADE, "made") X(READY, "ready") X(UP, "up") X(DOUBT, "doubt") \
    X(FAILED, "failed")
/* Why the port carries nothing any more; sentences about the peer. */
#define RDMA_FAILURE_LIST(X) \
    X(NONE, "nothing") \
    X(MAKE, "no queue pair can be made for it") \
    X(PATH, "the RDMA path to it broke, and it lives") \
    X(SILENT, "the RDMA path to it broke, and it says nothing") \
    X(SAID, "its port broke, as it says") \
    X(LEFT, "it has left the fabric") \
    X(ELSEWHERE, "it is on another fabric")
/* clang-format on */
#define X(ID, name) RDMA_##ID,
enum rdma_state { RDMA_STATE_LIST(X) RDMA_STATES };
#undef X
#define X(ID, name) RDMA_FAILURE_##ID,
enum rdma_failure { RDMA_FAILURE_LIST(X) RDMA_FAILURES };
#undef X
const char *rdma_state_name(enum rdma_state s);
const char *rdma_failure_name(enum rdma_failure f);

/* To be zeroed at first. All of it may be read; rdma_step alone writes. */
struct rdma_peer {
    enum rdma_state state;
    enum rdma_failure failure;
    bool ended;               /* hellos of theirs.epoch do not count any more */
    struct rdma_hello theirs; /* the newest one taken; epoch 0: none ever */
    uint32_t number, packet;  /* our RC queue pair for it; 0: none */
    uint32_t generation;      /* of our hello to it */
    uint32_t made;            /* ... the first one that named `number` */
    uint32_t heard;           /* ... the last one that it has taken */
    uint64_t hello_at, doubt_at, probe_at;
    uint64_t connected_at;
    bool young;        /* in DOUBT: what broke was */
    uint64_t restarts; /* queue pairs that were replaced */
};

/* clang-format off */
#define RDMA_EVENT_LIST(X) \
    X(START, "start")      /* the first of all: the port is open */ \
    X(HELLO, "hello")      /* hello: rdma_hello_read said OK, and the address was its node's */ \
    X(MADE, "made")        /* number, packet: MAKE is done */ \
    X(BROKE, "broke")      /* MAKE or CONNECT failed, or the queue pair is in error */ \
    X(REFUSED, "refused")  /* the peer's host says that nobody is at its socket */ \
    X(ELSEWHERE, "elsewhere") /* it sends to this node by another fabric of the ladder */ \
    X(FENCED, "fenced")    /* it is not to reach this node: its hellos are not told of then */ \
    X(MEMORY, "memory")    /* what our hello says of memory has changed */ \
    X(TICK, "tick")        /* time: at least each hello_ns */
/* clang-format on */
#define X(ID, name) RDMA_EVENT_##ID,
enum rdma_event_type { RDMA_EVENT_LIST(X) RDMA_EVENTS };
#undef X
const char *rdma_event_name(enum rdma_event_type t);

struct rdma_event {
    enum rdma_event_type type;
    const struct rdma_hello *hello;
    uint32_t number, packet;
};

/* What the owner has to do, in this order. */
/* clang-format off */
#define RDMA_ACTION_LIST(X) \
    X(STALE, "stale")      /* count it: the hello changed nothing */ \
    X(END, "end")          /* RC queue pair to the error state, destroyed; its keys invalid */ \
    X(FORGET, "forget")    /* nothing can be sent to the peer any more */ \
    X(LEARN, "learn")      /* theirs says how it is reached by UD */ \
    X(MAKE, "make")        /* RC queue pair in INIT, keys for it; then event MADE, or BROKE */ \
    X(CONNECT, "connect")  /* RTR and RTS, with theirs; event BROKE if that fails */ \
    X(PROBE, "probe")      /* an empty WRITE, unless one is under way: it ends well or as BROKE */ \
    X(HELLO, "hello")      /* send one, with rdma_hello_fill */ \
    X(FAIL, "fail")        /* the port is dead: failure says why */
/* clang-format on */
#define X(ID, name) RDMA_DO_##ID##_BIT,
enum { RDMA_ACTION_LIST(X) RDMA_ACTIONS };
#undef X
#define X(ID, name) RDMA_DO_##ID = 1 << RDMA_DO_##ID##_BIT,
enum rdma_action { RDMA_ACTION_LIST(X) };
#undef X
const char *rdma_action_name(unsigned bit);

/* One event, and what to do about it: bits of enum rdma_action. now: ns, monotonic, never 0. */
unsigned rdma_step(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now,
                   const struct rdma_event *ev);

/* Completes a hello that has its sender's part filled in (from, to, cluster_id, mtu, lid, gid, UD,
 * blocks): what this peer is to be told. Blocks are left out while there is no connection. */
void rdma_hello_fill(const struct rdma_config *cfg, const struct rdma_peer *p,
                     enum rdma_phase phase, struct rdma_hello *h);

/* A page of the peer's, as its hello places it. */
struct rdma_place {
    uint64_t address;
    uint32_t key, immediate;
};
/* False: it lies in no block that the peer lets us write. */
bool rdma_place_of(const struct rdma_hello *theirs, uint64_t page, struct rdma_place *ret_place);
/* The inverse, for what comes with an immediate: the block and the page in it; false: no such block
 * of `blocks`, or the block ends before it. */
bool rdma_place_read(const struct rdma_block *block, uint8_t blocks, uint32_t immediate,
                     uint8_t *ret_block, uint64_t *ret_page);

/* The verbs' number t of a time-out of 4.096 us * 2^t, such that `tries` of them last at most ns; 1
 * at least. */
uint8_t rdma_timeout(uint64_t ns, unsigned tries);

#endif
