/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol of the GiantVM-style baseline: IVY with a dynamic distributed manager. PURE.
 *
 * It implements the part of dataplane/coherence/coherence.h that the engine calls, with the same
 * contract towards the engine, and is linked in its place. What it copies from GiantVM and what it
 * does not: ../README.md. After Li and Hudak, "Memory Coherence in Shared Virtual Memory Systems"
 * (ACM TOCS 1989), as GiantVM changed it.
 *
 * Every page has one owner, at first node 0. A node that is not the owner knows a probable owner;
 * following these leads to the owner. There is no home.
 *
 *   fault at                 what happens
 *   no owner, read           GETS to the probable owner; its DATA brings page, ownership and
 *                            copyset; mapped read-only
 *   no owner, write          GETM likewise; then the copyset is invalidated; mapped writable
 *   owner with copies, write the copyset is invalidated; mapped writable
 *
 *   request at               what happens
 *   owner, GETS              write-protected, DATA to who asked; ownership goes to the requester
 *   owner, GETM              unmapped, DATA likewise
 *   another node             asks its own probable owner on behalf of the requester, waits, and
 *                            passes the answer back the way that the request came: the bytes take
 *                            the whole chain. The probable owner is then the requester. GETM: a
 *                            copy here is unmapped first
 *   sharer, INV              unmapped, INV_ACK; the probable owner is who sent it
 *
 * Invalidations leave one after the other: the next when the one before is acknowledged. A page is
 * locked at a node from fault or request until its end there, INV excepted; what comes meanwhile
 * waits in order. INV needs no lock: who sends it is the owner and has the page locked, so what
 * this node waits for is behind it, or has not begun.
 *
 * Invariants (coh_check asserts those that one node can see): single writer; the copyset of the
 * owner names all other copies; M has an empty copyset; only the owner has a copyset.
 *
 * Minimum residency is production's idea, in the same configuration keys: without one, two nodes
 * take an instruction's pages from each other for ever. A granted page stays until hold_ns after
 * its vCPU's last grant; while that vCPU waits for another page of its instruction, until a bound
 * that is drawn between hold_max_ns and 16 times as much, more after each failure. INV does not
 * wait for it: a sharer is no owner, and its page was granted to the next one already.
 *
 * Messages are struct wire_msg: kinds GETS, GETM, DATA, INV, INV_ACK; `age` is DATA's copyset, one
 * bit a node; `requester` whose fault it is; `txn` the asker's, which the answer carries back.
 * Reading requests are answered to who asked, not to the requester.
 */
#ifndef PANDO_GIANTVM_IVY_H
#define PANDO_GIANTVM_IVY_H

#include "dataplane/base/check.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/prng.h"
#include "dataplane/coherence/coherence.h"

enum {
    IVY_NODES_MAX = 16, /* bits of a copyset, as in GiantVM */
    IVY_THREADS = 128,  /* of one node that may be blocked in a fault at a time */
    IVY_HOLD_MAX = 256, /* pages within their residency; then the oldest gives way */
    IVY_FAILS_MAX = 4,
    IVY_TICK_MAX = 16, /* pages let go in one TICK */
};

enum { IVY_READ = 1, IVY_WRITE = 2 }; /* bits of ivy_rec.want */

/* Mapping of the page here. */
enum { IVY_I, IVY_S, IVY_M };

struct ivy_entry {
    uint32_t rec;     /* index + 1; 0: nothing is under way */
    uint16_t version; /* grants for writing; wraps, as GiantVM's: nothing depends on it */
    uint16_t copyset; /* of the owner: nodes with a copy, itself excepted */
    uint8_t prob;     /* probable owner; where owner is set, this node */
    uint8_t map : 2, owner : 1, touched : 1; /* touched: node 0 is no longer owner by default */
};

enum ivy_phase {
    IVY_IDLE,
    IVY_FETCH,   /* own fault: GETS or GETM sent */
    IVY_INVAL,   /* own write: INV sent to `asked`, `left` are next */
    IVY_MAP,     /* MAP issued */
    IVY_RELAY,   /* another's request passed on to `asked` */
    IVY_PROTECT, /* serving GETS: PROTECT issued, then DATA */
    IVY_UNMAP,   /* serving or passing on a GETM: UNMAP issued, then DATA */
};

struct ivy_request { /* of another node */
    uint64_t txn;
    uint8_t src, origin, kind;
};

/* A page that something is under way for, or that is held. */
struct ivy_rec {
    uint64_t page;
    uint64_t txn;     /* of the request or INV that is out */
    uint64_t started; /* own fault: when */
    uint64_t granted; /* held: since */
    uint64_t inv_txn;
    uint64_t waiters;        /* vCPUs in a fault on it */
    struct ivy_request for_; /* RELAY, PROTECT, UNMAP */
    uint32_t first, last;    /* requests that wait */
    uint32_t hold_at;        /* place in ivy.held; POOL_NONE: not held */
    uint16_t left; /* INVAL: to be invalidated; UNMAP: the copyset that DATA takes along */
    uint8_t phase, asked, want, fault, inv_src;
    uint8_t vcpu;  /* held: for whom */
    bool write;    /* own fault */
    bool inv_open; /* UNMAP issued for an INV, in IDLE, FETCH or RELAY */
};

struct ivy_wait {
    struct ivy_request req;
    uint32_t next;
};

struct ivy_vcpu {
    uint64_t last_grant, set_start, bound;
    bool waits;
    uint8_t fails;
};

struct coh {
    struct coh_config cfg;
    struct coh_actions *out;
    uint64_t now;
    uint32_t last_txn; /* ids wrap: those that are out are few */
    struct prng rng;
    struct ivy_entry *entry;
    struct ivy_rec *rec;
    struct ivy_wait *wait;
    struct pool recs, waits;
    uint32_t held[IVY_HOLD_MAX], held_n;
    struct ivy_vcpu vcpu[COH_VCPUS_MAX];
    struct coh_counters count;
    bool stopped;
};

/* ivy_init.c */
struct ivy_entry *ivy_entry_of(struct coh *c, uint64_t page);

/* ivy.c */
void ivy_start(struct coh *c, struct ivy_rec *r);  /* the own fault in r->want */
void ivy_finish(struct coh *c, struct ivy_rec *r); /* nothing is under way: what waits is next */
void ivy_map(struct coh *c, struct ivy_rec *r, bool writable);
void ivy_send(struct coh *c, uint8_t dst, const struct wire_msg *m);
void ivy_drop(struct coh *c, enum coh_drop why);
uint32_t ivy_txn(struct coh *c);

/* ivy_serve.c */
bool ivy_busy(const struct ivy_rec *r);
void ivy_request(struct coh *c, struct ivy_rec *r, const struct ivy_request *q);
void ivy_message(struct coh *c, uint8_t src, const struct wire_msg *m);
void ivy_answer(struct coh *c, struct ivy_rec *r, uint16_t copyset);
void ivy_invalidate_next(struct coh *c, struct ivy_rec *r);

/* ivy_hold.c */
void ivy_hold(struct coh *c, struct ivy_rec *r);
void ivy_hold_drop(struct coh *c, struct ivy_rec *r);
uint64_t ivy_hold_until(const struct coh *c, const struct ivy_rec *r);
void ivy_hold_fault(struct coh *c, struct ivy_rec *r, uint8_t vcpu); /* it has begun to wait */
void ivy_hold_idle(struct coh *c, uint8_t vcpu);
void ivy_hold_tick(struct coh *c);

/* ivy_rec.c */
struct ivy_rec *ivy_rec_find(struct coh *c, uint64_t page);
struct ivy_rec *ivy_rec_get(struct coh *c, uint64_t page, bool own); /* NULL: none is left */
void ivy_rec_release(struct coh *c, struct ivy_rec *r);              /* if it has no reason left */
bool ivy_wait_push(struct coh *c, struct ivy_rec *r, const struct ivy_request *q);
struct ivy_request ivy_wait_pop(struct coh *c, struct ivy_rec *r);

#endif
