/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to dataplane/coherence: the data of one node and what its files share.
 *
 * coh_step (step.c) dispatches by the tables (tables.c) to one handler file per family of events:
 *   faults.c     READ, WRITE                    responses.c  GRANT, DATA, INV_ACK, PUT_ACK
 *   forwards.c   FWD_GETS, FWD_GETM, INV        edge.c       MAPPED, PROTECTED, UNMAPPED
 *   home.c       GETS, GETM, PUTS, PUTM, PUTO   evict.c      EVICT: replacement
 *   residency.c  minimum residency, page sets   records.c    records and deferred messages
 *
 * A *record* holds all that a page needs beyond its 8-byte cache entry. It exists for at least one
 * reason: own       a request of ours, or a fault that waits      at most txn_max evict     an
 * eviction of ours                           at most COH_EVICT_MAX service   messages being served,
 * or deferred            at most deferred_max (one record or more each) hold      minimum
 * residency, membership of page sets    at most COH_HOLD_MAX + vCPUs * page set The pool has room
 * for the sum, so that none of the four can starve another and rec_get never fails. deferred_max is
 * enough for honest peers: a deferred message belongs to a transaction that its requester cannot
 * end without our answer, and one transaction sends at most one message to us.
 */
#ifndef PANDO_COHERENCE_CORE_H
#define PANDO_COHERENCE_CORE_H

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/base/pool.h"
#include "dataplane/coherence/coherence.h"

enum {
    COH_PENDING_MAX = COH_VCPUS_MAX + 64, /* faults that wait for a free transaction */
    COH_SELF_MAX = 128,                   /* messages to self queued within one step */
    COH_UNIT_ACTIONS = 160,               /* upper bound of the actions of one unit of work */
    COH_SCAN_MAX = 256,                   /* cache entries that the clock hand passes in one step */
    COH_MIGRATORY_MAX = 3,                /* fits its field */
    COH_ATTEMPT_MAX = 4,                  /* the bound of a page set doubles this often at most */
    COH_FRESH_MAX = COH_PAGE_SET_MAX,     /* more pages than one instruction needs */
};
#define COH_NO_AGE         UINT64_MAX
#define COH_ID_LIMIT       (UINT64_C(1) << 48)
#define COH_PAGES_MAX      (UINT64_C(1) << 36)
#define COH_EVICT_RETRY_NS UINT64_C(100000)

struct coh_entry { /* cache side, one per page */
    uint64_t version : 48;
    uint64_t state : 5;
    uint64_t owner : 1;   /* this node is the data source */
    uint64_t frame : 1;   /* the frame holds memory */
    uint64_t tracked : 1; /* a record exists */
    uint64_t ref : 2;     /* clock: passes of the hand that the page survives */
    uint64_t taking : 1;  /* IS_P because this home took a PUT: needs no record, but is not idle */
    uint64_t migratory : 2; /* so many reads to come ask for the page as a write does */
    uint64_t guessed : 1; /* the last request was such a read: M does not say that it was written */
    uint64_t spare : 2;
};
struct coh_dir {      /* home side, one per page homed here */
    uint64_t sharers; /* the owner included */
    uint64_t version : 48;
    uint64_t state : 2;
    uint64_t owner : 6;
    uint64_t spare : 8;
};
_Static_assert(sizeof(struct coh_entry) == 8, "cache entry: 8 bytes a page");
_Static_assert(sizeof(struct coh_dir) == 16, "directory entry: 16 bytes a page");
_Static_assert(COH_STATES <= 32, "cache state: 5 bits");
_Static_assert(COH_NODES_MAX <= 64, "sharers: 64 bits, owner: 6 bits");

struct coh_deferred {
    uint64_t txn, version;
    uint64_t since; /* when the requester began to collect pages; COH_NO_AGE: no vCPU does */
    uint32_t next;
    uint8_t kind, requester, acks;
    bool exclusive;
};

struct coh_rec {
    uint64_t page;
    uint64_t txn;                    /* of our request or eviction; 0: none */
    uint64_t acked;                  /* nodes whose INV_ACK came */
    uint64_t waiters, write_waiters; /* vCPUs; the latter a subset */
    uint64_t started, write_started; /* time of the oldest fault that waits */
    uint64_t hold_until, hold_for;   /* hold_for: vCPUs that it was granted to meanwhile */
    uint64_t serve_txn;
    uint32_t chain;                /* next record of the hash bucket */
    uint32_t first, last;          /* deferred messages */
    uint32_t hold_prev, hold_next; /* minimum residency, in order of hold_until */
    uint32_t ready_next;
    uint16_t set_refs; /* open page sets with this page */
    uint8_t acks;      /* INV_ACKs to collect, once count_known */
    uint8_t serve_requester, serve_acks;
    uint8_t fault;           /* enum coh_fault_kind of our request */
    bool other, write_other; /* threads that are no vCPU wait */
    bool own, evict, serving, holding, hold_other, ready;
    bool count_known, zero;
    bool again; /* a fault came after MAP was issued: map again when it is complete */
};

struct coh_pending {
    uint64_t page, seq, started;
    uint8_t vcpu;
    bool used, write;
};

struct coh_vcpu {
    bool open, bumped; /* set open; its attempt was already raised */
    bool outstanding;  /* blocked in a fault on fault_page */
    uint8_t n, lost_n;
    uint8_t attempt; /* sets of the present instruction that expired, up to COH_ATTEMPT_MAX */
    uint8_t level;   /* drawn, at most attempt: the bound of this set is doubled so often */
    uint32_t sets;   /* opened so far: seeds the draw */
    uint8_t fresh;   /* pages that are new since `since` */
    uint64_t fault_page;
    uint64_t opened, last_mapped;
    uint64_t since;    /* when it began its present instruction: over all sets of that */
    uint64_t yield_at; /* when the open set ends if the vCPU waits: for an older one of a peer */
    uint64_t page[COH_PAGE_SET_MAX];
    uint64_t lost[COH_PAGE_SET_MAX]; /* of sets of this instruction that did not end quietly */
    uint64_t last[COH_PAGE_SET_MAX]; /* of the set that ended last, however it ended */
    uint64_t last_writable;          /* bit i: last[i] was mapped writable */
    uint8_t last_n, ahead_n;         /* ahead_n: so many of last[] are still to be asked for */
};

struct coh_list {
    uint32_t first, last;
};

struct coh {
    struct coh_config cfg;
    uint64_t home_pages;
    struct coh_entry *cache;
    struct coh_dir *dir;
    struct coh_rec *rec;
    uint32_t *bucket;
    uint32_t bucket_mask;
    struct coh_deferred *deferred;
    struct pool rec_pool, deferred_pool;

    uint64_t now, next_txn;
    bool stopped;
    uint32_t own_used, evict_used, service_used, hold_used;
    uint64_t taking; /* entries with that flag */
    struct coh_list ready, holds;

    struct coh_pending pending[COH_PENDING_MAX];
    uint32_t pending_n;
    uint64_t pending_seq;

    struct coh_vcpu vcpu[COH_VCPUS_MAX];
    uint64_t open_sets;           /* bit v: vcpu[v].open */
    uint64_t ahead;               /* bit v: vcpu[v].ahead_n > 0 */
    uint64_t zero_next, zero_end; /* pages of a group that was never written, to be taken ahead */

    uint64_t hand, hand_idle, evict_at;

    struct coh_self_msg {
        struct wire_msg msg;
    } self[COH_SELF_MAX];
    uint32_t self_head, self_n;

    struct coh_actions *out;
    struct coh_counters counters;
};

/* What a handler works on. */
struct coh_ctx {
    uint64_t page;
    struct coh_entry *e;
    struct coh_rec *r;        /* NULL: the page has no record */
    const struct wire_msg *m; /* messages only */
    uint8_t src;
    uint8_t vcpu;     /* faults only */
    uint64_t started; /* faults only */
};

/* Cache-side events, the columns of the table. EVICT and TAKE are internal: the clock hand chose
 * the page; the directory (same node) took a PUTM or PUTO and makes this cache the owner. */
enum coh_cache_event {
    COH_CE_READ,
    COH_CE_WRITE,
    COH_CE_GRANT,
    COH_CE_DATA,
    COH_CE_FWD_GETS,
    COH_CE_FWD_GETM,
    COH_CE_INV,
    COH_CE_INV_ACK,
    COH_CE_PUT_ACK,
    COH_CE_MAPPED,
    COH_CE_PROTECTED,
    COH_CE_UNMAPPED,
    COH_CE_EVICT,
    COH_CE_TAKE,
    COH_CES
};
enum coh_home_event { COH_HE_GETS, COH_HE_GETM, COH_HE_PUTS, COH_HE_PUTM, COH_HE_PUTO, COH_HES };

typedef void (*coh_cache_handler)(struct coh *c, struct coh_ctx *x);
typedef void (*coh_home_handler)(struct coh *c, struct coh_dir *d, const struct wire_msg *m,
                                 uint8_t src);
extern const coh_cache_handler coh_cache_table[COH_STATES][COH_CES];
extern const coh_home_handler coh_home_table[3][COH_HES];

/* tables.c */
void coh_defer_cell(struct coh *c,
                    struct coh_ctx *x); /* the cell "deferred until the state is left" */

/* init.c */
uint64_t coh_home_index(const struct coh *c, uint64_t page);

/* step.c */
void coh_send(struct coh *c, uint8_t dst, const struct wire_msg *m);
struct coh_action *coh_act(struct coh *c, enum coh_action_type type, uint64_t page);
void coh_map(struct coh *c, struct coh_ctx *x, bool writable, bool zero);
void coh_set_state(struct coh *c, struct coh_ctx *x, enum coh_state to);
void coh_drop(struct coh *c, enum coh_drop why);
void coh_stop(struct coh *c, enum coh_stop why, uint8_t node);
struct coh_ctx coh_ctx_of(struct coh *c, uint64_t page);
bool coh_cache_dispatch(struct coh *c, struct coh_ctx *x,
                        enum coh_cache_event ev); /* false: no such cell */
uint64_t coh_new_txn(struct coh *c);
static inline bool coh_room(const struct coh *c)
{
    return c->out->n + COH_UNIT_ACTIONS <= COH_ACTIONS_MAX;
}

/* records.c */
struct coh_rec *coh_rec_find(const struct coh *c, uint64_t page);
struct coh_rec *coh_rec_get(struct coh *c, struct coh_ctx *x); /* finds or makes */
void coh_rec_release(struct coh *c, struct coh_ctx *x); /* frees if there is no reason left */
bool coh_rec_own(struct coh *c, struct coh_ctx *x);     /* false: txn_max are in use */
void coh_rec_own_end(struct coh *c, struct coh_rec *r);
void coh_rec_evict_end(struct coh *c, struct coh_rec *r);
void coh_serve_begin(struct coh *c, struct coh_ctx *x);
void coh_serve_end(struct coh *c, struct coh_rec *r);
void coh_deferred_add(struct coh *c, struct coh_ctx *x);
void coh_deferred_pop(struct coh *c, struct coh_rec *r, struct wire_msg *ret_msg);
void coh_ready_add(struct coh *c, struct coh_rec *r);
struct coh_rec *coh_ready_take(struct coh *c);
static inline uint32_t coh_rec_id(const struct coh *c, const struct coh_rec *r)
{
    return (uint32_t)(r - c->rec);
}

/* faults.c */
void coh_fault(struct coh *c, uint64_t page, uint8_t vcpu, bool write, uint64_t started);
void coh_request(struct coh *c, struct coh_ctx *x, bool write); /* the record must be own */
void coh_satisfied(struct coh *c, struct coh_ctx *x, bool writable);
void coh_settle(struct coh *c,
                struct coh_ctx *x); /* a stable state or a new one was reached: what now? */
bool coh_pending_run(struct coh *c);
bool coh_ahead_run(struct coh *c); /* asks for one page of a set that is needed again */
bool coh_ahead_possible(const struct coh *c);
static inline bool coh_wanted(const struct coh_rec *r)
{
    return r != NULL && (r->waiters != 0 || r->other);
}
void coh_on_read_i(struct coh *c, struct coh_ctx *x);
void coh_on_write_i(struct coh *c, struct coh_ctx *x);
void coh_on_write_s(struct coh *c, struct coh_ctx *x);
void coh_on_again(struct coh *c, struct coh_ctx *x);
void coh_on_read_wait(struct coh *c, struct coh_ctx *x);
void coh_on_write_wait(struct coh *c, struct coh_ctx *x);
void coh_on_read_late(struct coh *c, struct coh_ctx *x);
void coh_on_write_late(struct coh *c, struct coh_ctx *x);

/* forwards.c */
void coh_forward(struct coh *c, struct coh_ctx *x); /* arrival: serve, defer or refuse */
void coh_forward_all(struct coh *c, struct coh_ctx *x);
bool coh_ready_run(struct coh *c); /* serves one deferred message; false: none is ready */
bool coh_may_serve(const struct coh *c, const struct coh_entry *e, const struct coh_rec *r);
void coh_on_share(struct coh *c, struct coh_ctx *x);
void coh_on_share_me(struct coh *c, struct coh_ctx *x);
void coh_on_downgrade(struct coh *c, struct coh_ctx *x);
void coh_on_yield_s(struct coh *c, struct coh_ctx *x);
void coh_on_yield_sm(struct coh *c, struct coh_ctx *x);
void coh_on_yield_u(struct coh *c, struct coh_ctx *x);
void coh_on_yield_m(struct coh *c, struct coh_ctx *x);
void coh_on_yield_mu(struct coh *c, struct coh_ctx *x);
void coh_on_yield_oa(struct coh *c, struct coh_ctx *x);
void coh_on_yield_ma(struct coh *c, struct coh_ctx *x);
void coh_on_inv_s(struct coh *c, struct coh_ctx *x);
void coh_on_inv_sm(struct coh *c, struct coh_ctx *x);
void coh_on_inv_u(struct coh *c, struct coh_ctx *x);
void coh_on_inv_a(struct coh *c, struct coh_ctx *x);
/* -Dplant=early-ack, for tests only: an invalidation is acknowledged before the mapping is gone.
 * tests/litmus must notice. */
#ifdef PANDO_PLANT_EARLY_ACK
enum { COH_PLANT_EARLY_ACK = 1 };
#else
enum { COH_PLANT_EARLY_ACK = 0 };
#endif
void coh_send_ack(struct coh *c, struct coh_ctx *x, uint8_t requester, uint64_t txn);
void coh_send_data(struct coh *c, struct coh_ctx *x, const struct wire_msg *fwd);

/* responses.c */
enum coh_drop coh_data_verdict(const struct coh *c,
                               const struct wire_msg *m); /* COH_DROPS: acceptable */
void coh_on_grant_read(struct coh *c, struct coh_ctx *x);
void coh_on_grant_write(struct coh *c, struct coh_ctx *x);
void coh_on_grant_upgrade(struct coh *c, struct coh_ctx *x);
void coh_on_data(struct coh *c, struct coh_ctx *x);
void coh_on_inv_ack(struct coh *c, struct coh_ctx *x);
void coh_on_put_ack(struct coh *c, struct coh_ctx *x);

/* edge.c */
void coh_on_mapped_ro(struct coh *c, struct coh_ctx *x);
void coh_on_mapped_rw(struct coh *c, struct coh_ctx *x);
void coh_on_protected(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_ack(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_data(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_sm(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_se(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_oe(struct coh *c, struct coh_ctx *x);
void coh_on_unmapped_me(struct coh *c, struct coh_ctx *x);

/* home.c */
enum coh_put { COH_PUT_ACCEPT, COH_PUT_STALE, COH_PUT_REFUSE };
enum coh_put coh_put_verdict(const struct coh *c, const struct coh_dir *d, const struct wire_msg *m,
                             uint8_t src, enum coh_drop *ret_why);
void coh_home_gets_zero(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_home_gets(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_home_getm_zero(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_home_getm_owned(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_home_getm_modified(struct coh *c, struct coh_dir *d, const struct wire_msg *m,
                            uint8_t src);
void coh_home_puts(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_home_put(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src);
void coh_on_take_fill(struct coh *c, struct coh_ctx *x);
void coh_on_take_own(struct coh *c, struct coh_ctx *x);

/* residency.c */
void coh_hold_fault(struct coh *c, uint8_t vcpu, uint64_t page);
void coh_hold_granted(struct coh *c, struct coh_ctx *x, uint64_t vcpus, bool ahead);
void coh_hold_expire(struct coh *c);
void coh_hold_idle(struct coh *c, uint8_t vcpu);
uint64_t coh_hold_deadline(const struct coh *c);
/* A demand for a page that is held is parked. */
void coh_hold_demand(struct coh *c, uint64_t page, uint64_t since, uint8_t requester);
/* Of a request for these vCPUs: how long the oldest is at its instruction. 0: it is nobody's. */
uint16_t coh_hold_age(const struct coh *c, uint64_t vcpus);
static inline bool coh_held(const struct coh_rec *r)
{
    return r != NULL && (r->holding || r->set_refs > 0);
}

/* When the vCPU for which a demand came began to collect, by the age that the demand has. */
static inline uint64_t coh_since(const struct coh *c, const struct wire_msg *m)
{
    uint64_t age = wire_age_ns(m->age);
    return m->age == 0 ? COH_NO_AGE : age < c->now ? c->now - age : 0;
}

/* evict.c */
void coh_on_evict_i(struct coh *c, struct coh_ctx *x);
void coh_on_evict_s(struct coh *c, struct coh_ctx *x);
void coh_on_evict_m(struct coh *c, struct coh_ctx *x);
void coh_frame_take(struct coh *c, struct coh_entry *e);
void coh_frame_punch(struct coh *c, struct coh_ctx *x);
void coh_evict_run(struct coh *c);
uint64_t coh_evict_deadline(const struct coh *c);

#endif
