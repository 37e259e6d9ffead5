/* SPDX-License-Identifier: BSD-3-Clause */
/* clang-format off */ /* the tables of this manual need the width */
/*
 * Coherence: the directory and cache state machines of one node. PURE.
 *
 * Unit: one 4 KiB guest page. A home node (a fixed function of the page number) keeps the directory
 * entry that puts all requests for the page in one order; every node keeps a cache entry. The
 * protocol is a three-hop MSI/MOSI directory protocol with a *non-blocking home*: the home never
 * waits and keeps no transaction; it answers each request at once by messages to requester, owner and
 * sharers, and what arrives at a node before it can be served is deferred there, in order. (Terms and
 * transient states after Sorin, Hill, Wood: A Primer on Memory Consistency and Cache Coherence, ch. 8.)
 *
 * Invariants (coh_check asserts those that one node can see; the simulator's checkers the others):
 *  1. Single writer: at any moment at most one node maps a page writable, and then no other maps it.
 *  2. Data value: a read returns the last write in the order of the directory.
 *  3. A mapping changes only through an action of this core, and the core learns of its completion by
 *     COH_EV_MAPPED / PROTECTED / UNMAPPED. Nothing maps as a side effect.
 *  4. GETS moves no ownership: after a downgrade the old writer stays owner (the data source). A read of a page
 *     that is read and then written in turns may ask by GETM (faults.c); its MAP is writable, its fault READ.
 *  5. Invalidations leave together; acks go straight to the requester; a write is granted only after
 *     all of them.
 *  6. Versions and transaction ids have 48 bits and never wrap (2^48 at one a microsecond: 8.9 years;
 *     reaching the end stops the VM by name).
 *  7. Duplicate, late, corrupt and malicious messages change nothing and are counted by reason.
 *  8. Progress: every request ends; contended pages are served in the home's order. A vCPU's *page set*
 *     (what it was granted since it last got through an instruction) is kept until it got through or a
 *     bound has passed, with ageing: see struct coh_config. While the vCPU is blocked in a fault the set
 *     gives way to one that has been at its instruction for longer, and for more than 4 * nodes * hold_ns
 *     (GETS, GETM and what they make the home send say since when). That it got through is known by hold_ns
 *     without a fault, and at once where the vCPU leaves the guest and waits (IDLE). A fault on one of
 *     the pages that the vCPU had last asks for all of them at once: what a walk of page tables needs
 *     is needed together again.
 *  9. An unlisted (state, event) pair is a counted protocol error: never ignored silently, never an abort.
 * 10. No node drops the data without a handshake (PUTS, PUTM, PUTO ... PUT_ACK): the directory always
 *     names one node that holds it, or knows that the page is zero.
 *
 * Contract used from the transport: exactly once, in order per (peer, class, epoch); nothing across
 * classes or peers. All home -> node messages (GRANT, FWD_*, INV, PUT_ACK) share class 0, so that a
 * node sees its home's decisions in the home's order; data and acks may come at any time before or after.
 *
 * Home (directory) side, per page:
 *   ZERO      never written; sharers may map the zero page; no owner
 *   OWNED     owner holds the data, mapped read-only; sharers (owner included) may map it read-only
 *   MODIFIED  owner holds the only copy
 *
 *   event        ZERO                          OWNED                              MODIFIED
 *   GETS r       GRANT(zero) r; +r             FWD_GETS owner; +r                 FWD_GETS owner; +r -> OWNED
 *   GETM r       INV sharers-r;                r sharer: INV sharers-r, GRANT r   FWD_GETM owner
 *                GRANT(zero unless r sharer)   else: INV sharers-owner, FWD_GETM owner
 *                -> MODIFIED(r), version+1     -> MODIFIED(r), version+1          -> MODIFIED(r), version+1
 *   PUTS r       -r; PUT_ACK                   r owner: error; -r; PUT_ACK        not sharer: PUT_ACK (stale)
 *   PUTM r       error                         r owner, version equal: home takes the data, owner := home, -r,
 *   PUTO r       error                         PUT_ACK (PUTO in MODIFIED: error); r no sharer: PUT_ACK (stale)
 *   The home node's own cache takes part like any other; messages to self go through an internal queue
 *   in the same order. The owner is always a sharer; in MODIFIED it is the only one. A GETS of a sharer and
 *   a GETM of a MODIFIED owner are errors.
 *
 * Who acks whom: GRANT.acks and DATA.acks say how many INV_ACKs the requester collects; they may come before.
 *   GRANT to a sharer, or of a zero page          as many as INVs left with it
 *   FWD_GETM to a MODIFIED owner                  acks 0, exclusive 0: the owner unmaps first; its DATA is its ack
 *   FWD_GETM to an OWNED owner                    acks = INVs + 1, exclusive 1 ("your INV_ACK is counted"):
 *                                                 DATA at once, for the page is read-only; UNMAP; INV_ACK
 *   The owner copies acks from FWD_GETM to DATA. The two sides agree about the case because the FWD_GETS that
 *   makes it OWNED reached the owner first, in the same class; where they do not agree the message is an error.
 *
 * Versions: a GETM makes version+1. GRANT, DATA (for writing), FWD_GETM, INV and INV_ACK carry the new one, which
 * is the receiver's copy's plus one; FWD_GETS, DATA (for reading), PUT* and PUT_ACK the present one.
 *
 * Cache side: the states below. '+': what is deferred until the state is left.
 *   I        no mapping                              S        mapped read-only
 *   IS_D     GETS sent, waits for DATA or GRANT      IS_P     data in place, MAP(ro) issued
 *   IM_AD    GETM sent from I (data and acks due)    IM_P     MAP(rw) issued
 *   SM_AD    GETM sent from S, waits for GRANT       SM_A     granted, waits for acks
 *   SM_IU    SM_AD, taken by an earlier writer: UNMAP issued, then ack, then IM_AD
 *   M        mapped read-write                       MS_P     FWD_GETS: PROTECT issued, then data, then S
 *   SI_U     INV: UNMAP issued, then ack             OI_U     owner in S, FWD_GETM: data sent, UNMAP issued, then ack
 *   MI_U     FWD_GETM: UNMAP issued, then data (which is also the ack)
 *   SE_U OE_U ME_U   eviction: UNMAP issued          SE_A OE_A ME_A   PUTS/PUTO/PUTM sent, waits for PUT_ACK;
 *                                                    OE_A, ME_A still hold the data and answer forwards
 *   IE_A     eviction overtaken by INV or FWD_GETM   (acknowledged; waits for PUT_ACK)
 *
 * A stable state may be entered with messages parked; then they wait for residency only. FWD_GETS in S (and in SM_AD,
 * SE_U, OE_U, OE_A) is answered at once, for the frame does not change. SE_U, OE_U, ME_U are called off (mapped
 * again) if a fault comes before UNMAPPED, and turn into SI_U, OI_U, MI_U if INV or FWD_GETM comes. A home that
 * takes a PUT and has the page in I maps it read-only (IS_P, owner); in S, IS_P, IS_D, SE_U only the ownership moves.
 *
 * Ordering rule at a requester: in SM_AD everything from the home that comes before GRANT was ordered
 * before our GETM (answer at once); from IM_AD or after GRANT, a forward was ordered after it (defer).
 * What was parked in S is answered before GETM leaves, holds or not.
 * In IS_D an INV is deferred until the page was mapped and its minimum residency has passed: this cannot
 * deadlock, because what we wait for was ordered earlier.
 *
 * The core never sees page bytes. Where they are is part of the contract with the owner (the engine):
 * on DATA the bytes were placed into the page's frame before the event (the engine asks
 * coh_wants_data at each segment); on SEND with payload the engine reads the frame at once or holds it
 * (then nothing may write it: the engine copies it aside before it carries out MAP(rw), a fill or a punch).
 */
#ifndef PANDO_COHERENCE_H
#define PANDO_COHERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/wire/wire.h"

enum {
    COH_NODES_MAX = WIRE_NODES_MAX,
    COH_VCPUS_MAX = 64,      /* fault sources with a page set of their own, per node */
    COH_VCPU_NONE = 255,     /* a fault of a thread that is no vCPU (device emulation) */
    COH_PAGE_SET_MAX = 64,   /* pages that are held, and fetched, together */
    COH_ACTIONS_MAX = 512,   /* actions of one step: the worst case is asserted */
    COH_ZERO_AHEAD_MAX = 64,
    COH_EVICT_MAX = 32,      /* evictions of a node in flight */
    COH_HOLD_MAX = 256,      /* pages within their minimum residency; the oldest gives way */
    COH_HOLD_RECORDS = COH_HOLD_MAX + COH_VCPUS_MAX * COH_PAGE_SET_MAX, /* busy beyond transactions */
};

#define COH_STATE_LIST(X)                                                                          \
    X(I) X(S) X(M) X(IS_D) X(IS_P) X(IM_AD) X(IM_P) X(SM_AD) X(SM_A) X(SM_IU) X(MS_P) X(SI_U)      \
    X(OI_U) X(MI_U) X(SE_U) X(OE_U) X(ME_U) X(SE_A) X(OE_A) X(ME_A) X(IE_A)
#define X(s) COH_##s,
enum coh_state { COH_STATE_LIST(X) COH_STATES };
#undef X

enum coh_dir_state { COH_DIR_ZERO, COH_DIR_OWNED, COH_DIR_MODIFIED };

struct coh_config {
    uint8_t self;
    uint8_t nodes;
    uint8_t vm;
    uint8_t home_mode;         /* enum coh_home_mode */
    uint8_t interleave_shift;  /* INTERLEAVE: log2 of pages per stripe, 0..20 */
    uint64_t pages;            /* units of the VM, 1..2^36 */
    uint64_t range_end[COH_NODES_MAX]; /* RANGE: node n is home of [range_end[n-1], range_end[n]); the last is pages */
    uint64_t epoch_txn;        /* first transaction id of this boot, 1..2^47: no id of an earlier boot is reused */
    uint32_t txn_max;          /* transactions of this node in flight, 1..65536 */
    uint32_t deferred_max;     /* forwards and invalidates parked or being served: (nodes-1) * txn_max..2^23. That is
                                  enough for honest peers: one transaction has at most one message at a node */
    uint64_t resident_max;     /* frames that this node may hold; 0 = no limit. Soft by what is in flight:
                                  STOP(NO_FRAME) when nothing can be replaced and txn_max + 64 + 1/8 of it
                                  more are held. Pages that are homed and owned here are not replaced: it
                                  must exceed this node's share of the pages */
    uint32_t zero_ahead;       /* 0 or 1: off. Pages that a write fault on a page homed here and never
                                  written takes with it: its aligned group of so many, a power of two up to 64 */
    uint64_t hold_ns;          /* minimum residency after MAPPED, and the quiet time that ends a page set */
    uint64_t hold_max_ns;      /* base bound on how long a page set is held, counted from its first grant; at least
                                  hold_ns. For sets that fail again and again it grows, up to 2^4 times (residency.c).
                                  hold_ns 0: no residency; an instruction of several contended pages may then starve.
                                  hold_ns must exceed the time from MAPPED to the vCPU's next fault, and
                                  should exceed that of a message and be the same on all nodes (residency.c) */
};
enum coh_home_mode { COH_HOME_INTERLEAVE, COH_HOME_RANGE };

#define COH_EVENT_LIST(X)                                                                          \
    X(READ_FAULT)   /* page, vcpu */                                                               \
    X(WRITE_FAULT)  /* page, vcpu */                                                               \
    X(MESSAGE)      /* src, msg (validated by wire_msg_unpack); payload, if any, already placed */ \
    X(MAPPED)       /* page: the MAP action is complete */                                         \
    X(PROTECTED)    /* page */                                                                     \
    X(UNMAPPED)     /* page */                                                                     \
    X(TICK)         /* time only: deferred work, eviction */                                       \
    X(PEER_DOWN)    /* src */                                                                      \
    X(IDLE)         /* vcpu: it has left the guest and waits, after its last fault was over */
#define X(e) COH_EV_##e,
enum coh_event_type { COH_EVENT_LIST(X) COH_EVENTS };
#undef X

struct coh_event {
    enum coh_event_type type;
    uint8_t src;
    uint8_t vcpu;   /* 0..COH_VCPUS_MAX-1 or COH_VCPU_NONE */
    uint64_t page;
    uint64_t now;   /* ns, monotonic */
    struct wire_msg msg;
};

/* What the engine has to do, in this order. MAP, PROTECT, UNMAP complete by an event, at once or later
 * and in any order among different pages; there is never more than one of them open for a page. */
enum coh_action_type {
    COH_ACT_SEND,    /* msg to dst (never self); with the page's bytes if its kind carries a page */
    COH_ACT_MAP,     /* page: map it, writable or not; zero: the frame must read as zero first */
    COH_ACT_PROTECT, /* page: write-protect the mapping */
    COH_ACT_UNMAP,   /* page: remove the mapping; the frame keeps the data */
    COH_ACT_PUNCH,   /* page: free the frame; it is complete when the engine goes on to the next action */
    COH_ACT_STOP,    /* the VM must stop: reason and node say why */
};
enum coh_fault_kind { COH_FAULT_READ, COH_FAULT_WRITE, COH_FAULT_UPGRADE, COH_FAULT_SPURIOUS, COH_FAULT_KINDS };
enum coh_stop { COH_STOP_PEER_LOST = 1, COH_STOP_NO_FRAME, COH_STOP_IDS_USED_UP, COH_STOP_BUG };

struct coh_action {
    enum coh_action_type type;
    uint8_t dst;
    bool writable, zero;      /* MAP */
    bool again;               /* MAP: page was mapped in this mode already; a fault came late: map or wake.
                                 Carried out at once, before the next action; no MAPPED event follows */
    uint8_t fault;            /* MAP: enum coh_fault_kind */
    uint8_t reason;           /* STOP: enum coh_stop */
    uint64_t page;
    uint64_t started;         /* MAP: time of the fault that it ends; 0 if none */
    uint64_t txn;             /* MAP: of the request that it ends; 0 if none */
    struct wire_msg msg;      /* SEND */
};

struct coh_actions {
    uint32_t n;
    struct coh_action a[COH_ACTIONS_MAX];
};

/* Why a message or event changed nothing. */
#define COH_DROP_LIST(X)                                                                           \
    X(PAGE_RANGE, "page_range") X(WRONG_VM, "wrong_vm") X(NOT_HOME, "not_home")                    \
    X(NOT_FROM_HOME, "not_from_home") X(REQUESTER, "requester") X(TXN, "txn") X(VERSION, "version") \
    X(STATE, "state") X(DIR_STATE, "dir_state") X(ACKS, "acks") X(DEFERRED_FULL, "deferred_full")  \
    X(EDGE, "edge_completion") X(DEAD_PEER, "dead_peer") X(FIELDS, "fields")
#define X(ID, name) COH_DROP_##ID,
enum coh_drop { COH_DROP_LIST(X) COH_DROPS };
#undef X

struct coh_counters {
    uint64_t faults[COH_FAULT_KINDS];
    uint64_t transitions[COH_STATES][COH_STATES];
    uint64_t drop[COH_DROPS];
    uint64_t tx[WIRE_KIND_LIMIT], rx[WIRE_KIND_LIMIT];   /* messages by kind, to and from others */
    uint64_t ahead;                                      /* requests for a set's other pages, without a fault */
    uint64_t migratory;                                  /* reads that asked as writes do */
    uint64_t deferred, held;                             /* parked; parked for residency */
    uint64_t hold_expired, hold_wounded;                 /* sets whose bound passed; that gave way to an older one */
    uint64_t evict_puts, evict_putm, evict_puto, put_stale, punches;
    uint64_t txn_full;                                   /* faults that waited for a free transaction */
    uint64_t resident, resident_high, txn_high, deferred_high;
    uint64_t checks;                                     /* coh_check runs */
};

struct coh;

/* Memory for coh_init: about 24 bytes a page plus the pools; 0 if the configuration is out of range. */
size_t coh_size(const struct coh_config *cfg);

/* Builds the node in mem (zeroed by the caller, e.g. fresh anonymous memory, so that untouched parts of
 * the tables cost nothing; 64-byte aligned). NULL: configuration out of range. Every page starts ZERO at
 * its home and Invalid here. One thread owns it. */
struct coh *coh_init(void *mem, const struct coh_config *cfg);

/* The state machine: consumes one event, appends to out (emptied first). Never fails, never blocks. After a
 * COH_ACT_STOP every event is only counted (COH_DROP_DEAD_PEER). Page numbers beyond the VM's are counted
 * (PAGE_RANGE). A vCPU is taken to block in one fault at a time; of threads that are no vCPU at most 64 may be
 * blocked (more, while all txn_max transactions are in use, are dropped and counted as DEFERRED_FULL). */
void coh_step(struct coh *c, const struct coh_event *ev, struct coh_actions *out);

/* Latest time for the next TICK; UINT64_MAX: none needed. After a TICK that had more to do than fits in
 * one set of actions this is `now`. */
uint64_t coh_deadline(const struct coh *c);

/* May the payload of this DATA message be written into the page's frame now? (PUTM and PUTO payloads are
 * staged by the engine instead: coh_takes_put says whether to copy them when the message is complete,
 * asked immediately before the MESSAGE event.) */
bool coh_wants_data(const struct coh *c, uint8_t src, const struct wire_msg *m);
bool coh_takes_put(const struct coh *c, uint8_t src, const struct wire_msg *m);

uint8_t coh_home(const struct coh *c, uint64_t page);

/* vCPUs whose page sets keep somebody waiting: for these IDLE is worth its event. */
uint64_t coh_waited_for(const struct coh *c);

/* Read-only views for checkers, telemetry and tests. */
struct coh_page_view {
    enum coh_state state;
    bool owner;       /* this node is the data source as far as it knows */
    bool frame;       /* a frame is held (counts towards resident); from the request on */
    uint64_t version;
};
struct coh_dir_view { /* only at the page's home */
    enum coh_dir_state state;
    uint8_t owner;
    uint64_t sharers, version;
};
void coh_view(const struct coh *c, uint64_t page, struct coh_page_view *out);
void coh_dir_view(const struct coh *c, uint64_t page, struct coh_dir_view *out);
bool coh_idle(const struct coh *c); /* no transaction, no deferred message, no eviction, no mapping under way */
const struct coh_counters *coh_counters(const struct coh *c);
const char *coh_state_name(enum coh_state s);
const char *coh_drop_name(enum coh_drop d);
const char *coh_event_name(enum coh_event_type t);

/* The one executable assert: checks every invariant that this node can see about a page (and the pools'
 * book-keeping when page is UINT64_MAX). NULL if it holds, else the sentence that does not. */
const char *coh_check(struct coh *c, uint64_t page);

/* One line for a trace; returns its length. */
size_t coh_event_print(const struct coh_event *ev, char *buf, size_t size);
size_t coh_action_print(const struct coh_action *a, char *buf, size_t size);

#endif
