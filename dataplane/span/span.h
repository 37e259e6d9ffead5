/* SPDX-License-Identifier: BSD-3-Clause */
/* clang-format off */ /* the tables of this manual */
/*
 * Spans: what one remote fault, one interrupt between nodes and one exit to the VMM's node is made
 * of, stage by stage, in every build. PURE.
 *
 * A span is one sampled transaction. It passes points, at each of which the node that is there
 * stamps it with the cluster clock (dataplane/clock), in ticks. A stage is what lies between a
 * point and the one before it that this span passed; it has the name of the point that ends it.
 *
 * Who is sampled follows from the id alone, so every node knows without a bit on the wire:
 *   fault    span_sampled() of requester and transaction id
 *   ipi, io  wire_glue.seq is not 0. The vCPU's process counts KVM_RUN's returns and stamps one in
 *            `sample` of them, span_sampled() of the count; if that exit is an IPI for another
 *            node, or one for the VMM at another node, its messages carry a number that this vCPU
 *            gives out again after 2^24 others
 * The multiplier is 2^64 over the golden ratio: what is drawn is spread evenly over the ids, and
 * over each n-th of them too, so a guest whose exits alternate is not sampled at one of them only.
 *
 * Points of a fault. R: the node that faulted, H: the page's home, O: the owner, which had the data,
 * L: the node whose INV_ACK came last
 *
 *   point            when                                                  path: a  b  c  d  e  f
 *   read        R    the userfaultfd message was read                            x  x  x  x  x  x
 *   asked       R    the step has decided whom to ask                            x  x  x  x  x  x
 *   request_tx  R    GETS, GETM or (the home is here) FWD_*, INV given to the    x  x  x  x  x  .
 *                    port
 *   home_rx     H    the request is here                                         x  x  x  .  .  .
 *   home_tx     H    FWD_* or GRANT given to the port                            x  .  x  .  .  .
 *   owner_rx    O    FWD_* is here                                               x  .  .  x  .  .
 *   owner_done  O    write-protected or unmapped, if it had to be                x  x  .  x  .  .
 *   owner_tx    O    DATA given to the port                                      x  x  .  x  .  .
 *   data_rx     R    DATA or GRANT is here, the bytes in the guest's frame       x  x  x  x  .  .
 *   sharer_rx   L    INV, or FWD_GETM to the owner of a shared page, is here     (where the last
 *   sharer_done L    unmapped                                                     INV_ACK was waited
 *   sharer_tx   L    INV_ACK given to the port                                    for)
 *   acked       R    the last INV_ACK is here                                    (likewise)
 *   mapped      R    UFFDIO_CONTINUE or UFFDIO_WRITEPROTECT returned             x  x  x  x  x  x
 *   a: three nodes; b: the home is the owner; c: GRANT (upgrade, zero page); d: the requester is
 *   the home; e: it is, and needs acknowledgements only; f: no other node has a part: kind "local"
 * Every sharer stamps and says so; a span has what the last one says, for which the fault waited. It
 * is told by its INV_ACK, which is in another class: its stamps may come first. What came before
 * data_rx cost no time of its own: those four points then are no part of the span (a sharer whose
 * clock is behind is not noticed there). A home that is L has no sharer_rx: its INV was in no frame.
 * The kind is the fault's as the coherence core says: read, write, upgrade. What a vCPU sees before
 * `read` (its exit, the kernel) and after `mapped` (waking it, the entry) no dataplane can; the
 * bench (perf/span.py) takes it from the guest's own stamps. Spurious faults have no transaction.
 *
 * Points of an interrupt, kind "ipi". S: the sending vCPU's node, T: the target's
 *   icr     S  KVM_RUN returned with the ICR's write      rx      T  IRQ is here
 *   read    S  the entry was read from the ring           posted  T  in the vCPU's posted bits
 *   tx      S  IRQ given to the port                      taken   T  its thread, woken, took it in
 *
 * Points of an exit to the VMM, kind "io". B: the vCPU's node, V: the VMM's
 *   exit       B  KVM_RUN returned                        handled    V  the VMM called KVM_RUN again
 *   read       B  the entry was read from the ring        done_read  V  the entry was read
 *   exit_tx    B  IO_EXIT given to the port               done_tx    V  IO_DONE given to the port
 *   rx         V  IO_EXIT is here                         done_rx    B  IO_DONE is here
 *   given      V  in the ring of the VMM's thread         back       B  in the ring of the vCPU's
 *   taken      V  that thread, woken, has it              entered    B  that, woken, enters the guest
 *
 * "Given to the port" is when the first frame of the message is about to be built, once; that it
 * was sent again is a flag of the record, as far as it was known when the stamps left. "Is here" is
 * when the poll loop has the whole message.
 *
 * H's, O's, L's, T's and V's stamps come to the node that the span is of in a message of their own
 * (WIRE_SPAN), after the fact, in the lowest class. No message of the protocol gets longer, nothing
 * waits for it, and one that is lost costs a span. A span is complete when its last own point is
 * there and all stamps have come that its path has.
 *
 * Clocks. Two nodes' stamps agree to the sum of their clocks' bounds, so a stage between nodes can
 * come out below 0. A peer's stamp is moved between the own ones around it, and behind the one
 * before: stages are 0 or more and add up to the total, which for faults and exits is two readings
 * of one clock. A span in which one was moved is counted (negative), and again if by more than both
 * bounds (beyond: a broken promise of somebody). The record keeps the stamps as they came.
 *
 * Never believed: a peer's SPAN is refused by reason unless a span of that id is open and waits for
 * these points from that node, and its stamps lie between the span's beginning and now. A sharer's
 * are put aside, and become part of the span if its INV_ACK was the last. What is kept is bounded:
 * SPAN_OPEN_MAX own spans, SPAN_PARTS_MAX pieces of others', SPAN_SHARERS_MAX of sharers, in sets of
 * SPAN_WAYS. In a full set the oldest gives way, of pieces the oldest of the same node first; what
 * never completes is counted by reason.
 *
 * Cost, on a Xeon at 2.1 GHz in a virtual machine, quiet and busy; `./dev bench span` measures it
 * where it runs (pando-span-cost). sample 0: a call, a load and a compare a hook, 2 to 4 cycles a
 * message. sample 64: a multiplication and a compare more, and a stamp for each read of
 * userfaultfd, 25 to 45 cycles a message. Sampled: each stamp an ordered TSC read (lfence, rdtsc,
 * lfence) and the map, 80 to 115 cycles, and a look into one set: 270 to 620 cycles a message, and
 * a SPAN message of each other node, or two of one that acknowledges besides being home or owner.
 *
 * One thread writes. Readers (telemetry) may copy histograms and counters at any time and see a
 * count or two less; records are read with span_copy, which sees whole ones only.
 */
/* clang-format on */
#ifndef PANDO_SPAN_SPAN_H
#define PANDO_SPAN_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/base/hist.h"
#include "dataplane/wire/wire.h"

enum {
    SPAN_POINTS_MAX = 14,
    SPAN_WAYS = 8,
    SPAN_SETS = 64,
    SPAN_OPEN_MAX = SPAN_WAYS * SPAN_SETS,
    SPAN_PARTS_MAX = SPAN_WAYS * SPAN_SETS,
    SPAN_SHARERS_MAX = SPAN_WAYS * SPAN_SETS,
    SPAN_RING = 1024, /* last records */
    SPAN_LOST = 64,   /* ids of spans that gave way before they ended */
    SPAN_SAMPLE_DEFAULT = 64,
    SPAN_SAMPLE_MAX = 1 << 20,
    SPAN_GLUE_SECONDS = 1, /* a stamp of the VM's process is older than this: not believed */
    SPAN_ERROR_MS = 100,   /* a peer's clock is worse: its stamps say nothing */
    SPAN_NODE_NONE = 0xFF,
};

enum span_what { SPAN_FAULT, SPAN_IPI, SPAN_IO, SPAN_WHATS }; /* as on the wire */

/* X(enumerator, name, who stamps) */
/* clang-format off */
#define SPAN_FAULT_LIST(X) \
    X(READ, "read", OWN) X(ASKED, "asked", OWN) X(REQUEST_TX, "request_tx", OWN) \
    X(HOME_RX, "home_rx", HOME) X(HOME_TX, "home_tx", HOME) \
    X(OWNER_RX, "owner_rx", OWNER) X(OWNER_DONE, "owner_done", OWNER) X(OWNER_TX, "owner_tx", OWNER) \
    X(DATA_RX, "data_rx", OWN) \
    X(SHARER_RX, "sharer_rx", SHARER) X(SHARER_DONE, "sharer_done", SHARER) X(SHARER_TX, "sharer_tx", SHARER) \
    X(ACKED, "acked", OWN) X(MAPPED, "mapped", OWN)
#define SPAN_IPI_LIST(X) \
    X(ICR, "icr", OWN) X(IPI_READ, "read", OWN) X(IPI_TX, "tx", OWN) \
    X(IPI_RX, "rx", HOME) X(POSTED, "posted", HOME) X(TAKEN, "taken", HOME)
#define SPAN_IO_LIST(X) \
    X(EXIT, "exit", OWN) X(EXIT_READ, "read", OWN) X(EXIT_TX, "exit_tx", OWN) \
    X(EXIT_RX, "rx", HOME) X(GIVEN, "given", HOME) X(EXIT_TAKEN, "taken", HOME) \
    X(HANDLED, "handled", HOME) X(DONE_READ, "done_read", HOME) X(DONE_TX, "done_tx", HOME) \
    X(DONE_RX, "done_rx", OWN) X(BACK, "back", OWN) X(ENTERED, "entered", OWN)
/* Kinds: by which the histograms are kept; X(enumerator, name, what) */
#define SPAN_KIND_LIST(X) \
    X(READ, "read", FAULT) X(WRITE, "write", FAULT) X(UPGRADE, "upgrade", FAULT) \
    X(LOCAL, "local", FAULT) X(IPI, "ipi", IPI) X(IO, "io", IO)
/* Why a span has no place in the histograms. */
#define SPAN_LACK_LIST(X) \
    X(REPLACED, "replaced")     /* its set was full before it ended */ \
    X(SILENT, "silent")         /* it had ended, and another node's stamps did not come */ \
    X(JOINED, "joined")         /* a fault on a page that had been asked for before it */ \
    X(PREFETCH, "prefetch")     /* asked for ahead, and no fault came: not a fault at all */ \
    X(UNREQUESTED, "no_request") /* mapped without a transaction: its home had it evicted here */ \
    X(MERGED, "merged")         /* an interrupt that met one of its vector, not taken yet */ \
    X(IMPLAUSIBLE, "implausible") /* a stamp of the VM's process is not between its neighbours */
/* Why a SPAN message changed nothing. */
#define SPAN_DROP_LIST(X) \
    X(NOT_OPEN, "not_open")     /* no such span, not any more, or none of ours */ \
    X(POINTS, "points")         /* points that no peer stamps; an end that this kind does not have */ \
    X(TWICE, "twice")           /* points that are stamped already */ \
    X(NODE, "node")             /* of a node that has no such part in it */ \
    X(NOT_LAST, "not_last")     /* of a sharer; not the last, or its span is over: to be expected */ \
    X(TIME, "time")             /* before its beginning, or in the future */ \
    X(ERROR, "error")           /* the sender's clock is worse than SPAN_ERROR_MS */
/* clang-format on */

#define X(ID, name, who) SPAN_AT_##ID,
enum span_fault_point { SPAN_FAULT_LIST(X) SPAN_FAULT_POINTS };
enum span_ipi_point { SPAN_IPI_LIST(X) SPAN_IPI_POINTS };
enum span_io_point { SPAN_IO_LIST(X) SPAN_IO_POINTS };
#undef X
#define X(ID, name, what) SPAN_KIND_##ID,
enum span_kind { SPAN_KIND_LIST(X) SPAN_KINDS };
#undef X
#define X(ID, name) SPAN_LACK_##ID,
enum span_lack { SPAN_LACK_LIST(X) SPAN_LACKS };
#undef X
#define X(ID, name) SPAN_DROP_##ID,
enum span_drop { SPAN_OK, SPAN_DROP_LIST(X) SPAN_DROPS };
#undef X

/* "?" if out of range, as all names. */
const char *span_kind_name(unsigned kind);
const char *span_lack_name(unsigned lack);
const char *span_drop_name(unsigned drop);
enum span_what span_what_of(enum span_kind kind);
unsigned span_points(enum span_what what);
const char *span_point_name(enum span_what what, unsigned point);

/* One in `sample`; 0: none, 1: all. The threshold for span_sampled. */
static inline uint64_t span_below(uint32_t sample)
{
    return sample == 0 ? 0 : (UINT64_C(1) << 32) / sample;
}

static inline bool span_sampled(uint64_t below, uint64_t id)
{
    return (id * UINT64_C(0x9E3779B97F4A7C15)) >> 32 < below;
}

/* Of a transaction: the requester in the 16 bits above its 48. */
static inline bool span_txn_sampled(uint64_t below, uint8_t requester, uint64_t txn)
{
    return span_sampled(below, txn | (uint64_t)requester << 48);
}

/* Which span: chan is the vCPU of the glue message (wire_glue.chan); of a fault it is 0, or, of the
 * piece that a node has as a sharer, SPAN_CHAN_SHARER: it may have one as home or owner beside it.
 */
enum { SPAN_CHAN_SHARER = 1 };
struct span_key {
    uint64_t id; /* transaction id, or wire_glue.seq; not 0 */
    uint16_t chan;
    uint8_t what; /* enum span_what */
    uint8_t node; /* that it runs for: requester, sender of the IPI, the vCPU's node */
};

/* The cluster clock's stamp, and the bound of its error then. Ticks. */
struct span_time {
    uint64_t at;
    uint32_t error;
};

enum { SPAN_AGAIN = 1, SPAN_NEGATIVE = 2, SPAN_BEYOND = 4 }; /* span_record.flags */

struct span_record {
    uint64_t serial; /* 1, 2, ...: of those that were completed on this node */
    uint64_t id;
    uint64_t object; /* page; vector of an IPI; 0 */
    uint16_t chan, points;
    uint8_t kind, flags;
    uint8_t home;                    /* the page's home; target's node; VMM's node */
    uint8_t owner;                   /* whose DATA came; SPAN_NODE_NONE: nobody's */
    uint32_t error, peer_error;      /* own bound at its end, and the largest of the peers' */
    uint64_t stamp[SPAN_POINTS_MAX]; /* as they came; those in points mean something */
};

struct span_slot { /* sequence-locked: odd while written */
    uint64_t lock;
    struct span_record r;
};

struct span_open {
    struct span_record r;
    struct span_key key;
    uint64_t opened; /* for who gives way */
    uint16_t need;
    uint8_t said;  /* who sent the owner's stamps */
    uint8_t acker; /* whose INV_ACK was the last so far; SPAN_NODE_NONE */
    bool used, ended, answered;
    bool acked;   /* it has ended, and waited for acker */
    bool counted; /* as lacking; open only for the stamps that are still to come */
};

struct span_part { /* of a span of another node; or what another one, key.node, said of one here */
    struct span_key key;
    uint64_t opened;
    uint32_t error; /* of its sender's clock, where it was said */
    uint16_t points;
    uint8_t flags; /* WIRE_SPAN_* */
    bool used;
    uint64_t stamp[SPAN_POINTS_MAX];
};

struct span_config {
    uint8_t self, nodes;
    uint32_t sample; /* 0..SPAN_SAMPLE_MAX */
};

struct span_kind_count {
    struct hist total, stage[SPAN_POINTS_MAX]; /* ticks; by the point that ends it, [0] unused */
    uint64_t lack[SPAN_LACKS], negative, beyond;
    uint64_t excess; /* the most that one was moved by, beyond both bounds */
};

struct spans {
    struct span_config cfg;
    uint64_t below; /* span_below(cfg.sample) */
    uint32_t khz;   /* of the cluster clock; the owner sets it before the first span */
    struct span_open open[SPAN_OPEN_MAX];
    struct span_part part[SPAN_PARTS_MAX];
    struct span_part sharer[SPAN_SHARERS_MAX]; /* put aside until all acknowledgements are here */
    uint64_t lost[SPAN_LOST], lost_n;
    struct span_kind_count kind[SPAN_KINDS];
    struct span_slot ring[SPAN_RING];
    uint64_t serial;           /* of the newest record */
    uint64_t drop[SPAN_DROPS]; /* [SPAN_OK]: taken */
    uint64_t parts, parts_lost, parts_sent;
};

/* s: zeroed memory. */
void span_init(struct spans *s, const struct span_config *cfg);

/* ---- own spans (span.c) ---- */

/* What the caller knows when it opens one; home as in the record; a fault's kind may change. */
struct span_begin {
    enum span_kind kind;
    uint8_t home;
    uint64_t object;
};
/* Opens one and stamps its point (at, in ticks). Nothing if it is open already. */
void span_begin(struct spans *s, const struct span_key *k, const struct span_begin *b,
                unsigned point, uint64_t at);
/* Stamps a point: of an own span if k->node is this one, else of a piece. The first time counts.
 * Nothing if it is not open. */
void span_stamp(struct spans *s, const struct span_key *k, unsigned point, uint64_t at);
/* A frame of it was sent again. */
void span_again(struct spans *s, const struct span_key *k);
/* DATA (of src) or GRANT came. */
void span_answered(struct spans *s, const struct span_key *k, uint8_t src, bool data, uint64_t at);

/* An INV_ACK of src came: the last one counts. */
void span_acked(struct spans *s, const struct span_key *k, uint8_t src, uint64_t at);

struct span_fault_end {
    enum span_kind kind;                /* READ, WRITE or UPGRADE; LOCAL where it was not open */
    uint64_t page, read, asked, mapped; /* asked: only for what was not open */
    uint8_t home;
    bool prefetch; /* no fault waited for the page: read means nothing */
    uint32_t error;
};
/* The fault of a sampled transaction is over: its page is mapped. */
void span_fault_end(struct spans *s, const struct span_key *k, const struct span_fault_end *end);
/* An exit is over: stamps ENTERED. An interrupt of the VM's own process ends by its peer's stamps.
 */
void span_io_end(struct spans *s, const struct span_key *k, struct span_time now);
/* What was never opened is none, for this reason. */
void span_lack(struct spans *s, enum span_kind kind, enum span_lack why);
bool span_is_open(const struct spans *s, const struct span_key *k);
/* Spans that are open now and not yet counted: ended or not. */
uint32_t span_open_count(const struct spans *s, enum span_what what, bool ended);

/* ---- pieces of other nodes' spans, and what comes of ours (peer.c) ---- */

void span_part_begin(struct spans *s, const struct span_key *k, unsigned point, uint64_t at);
/* Closes the piece; true: *ret is to be sent to k->node. False: it was not open. flags: WIRE_SPAN_*
 * to add. */
bool span_part_end(struct spans *s, const struct span_key *k, uint32_t error, uint8_t flags,
                   struct wire_span *ret);
/* A SPAN of node src, unpacked; now: of this node. Counted in drop[]. */
enum span_drop span_message(struct spans *s, uint8_t src, const struct wire_span *m,
                            struct span_time now);

/* ---- records (ring.c) ---- */

/* Any thread. False: no such record any more, not yet, or it was just being written. */
bool span_copy(const struct spans *s, uint64_t serial, struct span_record *ret);
uint64_t span_newest(const struct spans *s);

/* ---- within the module ---- */
struct span_open *span_find(struct spans *s, const struct span_key *k);
void span_try_complete(struct spans *s, struct span_open *o);
void span_close_lacking(struct spans *s, struct span_open *o, enum span_lack why);
uint16_t span_points_of(enum span_what what, unsigned who); /* enum span_who */
void span_keep(struct spans *s, struct span_record *r);
const struct span_part *span_sharer_find(const struct spans *s, uint64_t id, uint8_t node);
static inline uint32_t span_set_of(const struct span_key *k)
{
    uint64_t h =
        (k->id ^ (uint64_t)k->chan << 40 ^ (uint64_t)k->node << 56) * UINT64_C(0xC2B2AE3D27D4EB4F);
    return (uint32_t)(h >> 58) * SPAN_WAYS;
}
static inline bool span_same(const struct span_key *a, const struct span_key *b)
{
    return a->id == b->id && a->chan == b->chan && a->what == b->what && a->node == b->node;
}
enum span_who { SPAN_OWN, SPAN_HOME, SPAN_OWNER, SPAN_SHARER };

#endif
