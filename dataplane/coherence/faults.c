/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ_FAULT and WRITE_FAULT, requests, and faults that wait for a free transaction.
 *
 * A fault that finds the page in a transient state joins its record. A fault that finds all txn_max
 * transactions in use is remembered, one slot a vCPU: it blocks in one fault at a time, but a fault
 * of its earlier life (userfaultfd repeats messages after a signal) may still be here, so that
 * moves to a common slot.
 */
#include "dataplane/coherence/core.h"

static uint64_t vcpu_bit(uint8_t vcpu)
{
    return vcpu < COH_VCPUS_MAX ? bit64(vcpu) : 0;
}

/* ---- waiting for a transaction
 * --------------------------------------------------------------------- */

static struct coh_pending *common_slot(struct coh *c, uint64_t page)
{
    struct coh_pending *free_slot = NULL;
    for (uint32_t i = COH_VCPUS_MAX; i < COH_PENDING_MAX; i++) {
        struct coh_pending *p = &c->pending[i];
        if (p->used && p->page == page)
            return p;
        if (!p->used && free_slot == NULL)
            free_slot = p;
    }
    return free_slot;
}

static void pending_set(struct coh *c, struct coh_pending *p, const struct coh_pending *value)
{
    bool write = value->write || (p->used && p->page == value->page && p->write);
    uint64_t seq = p->used && p->page == value->page ? p->seq : value->seq;
    c->pending_n += !p->used;
    *p = *value;
    p->used = true;
    p->write = write;
    p->seq = seq;
}

static void pending_add(struct coh *c, uint64_t page, uint8_t vcpu, bool write, uint64_t started)
{
    struct coh_pending value = {
        .page = page, .seq = c->pending_seq++, .started = started, .vcpu = vcpu, .write = write};
    struct coh_pending *p = vcpu < COH_VCPUS_MAX ? &c->pending[vcpu] : common_slot(c, page);
    c->counters.txn_full++;
    if (p == NULL) { /* more blocked threads that are no vCPU than slots: counted; the engine bounds
                        them */
        coh_drop(c, COH_DROP_DEFERRED_FULL);
        return;
    }
    if (vcpu < COH_VCPUS_MAX && p->used && p->page != page) {
        struct coh_pending *old = common_slot(c, p->page);
        if (old != NULL) {
            p->vcpu = COH_VCPU_NONE;
            pending_set(c, old, p);
        }
    }
    pending_set(c, p, &value);
}

/* Starts the oldest waiting fault; false: none, or no transaction is free. */
bool coh_pending_run(struct coh *c)
{
    struct coh_pending *oldest = NULL;
    if (c->pending_n == 0 || c->own_used >= c->cfg.txn_max)
        return false;
    for (uint32_t i = 0; i < COH_PENDING_MAX; i++) {
        struct coh_pending *p = &c->pending[i];
        if (p->used && (oldest == NULL || p->seq < oldest->seq))
            oldest = p;
    }
    struct coh_pending f = *oldest;
    oldest->used = false;
    c->pending_n--;
    coh_fault(c, f.page, f.vcpu, f.write, f.started);
    return true;
}

/* ---- requests
 * -------------------------------------------------------------------------------------- */

/* Migratory data (a lock, a counter, a list's head) is read and then written by one node after the
 * other; as two requests that costs two round trips a turn. After a fault had to upgrade a page,
 * its next reads here ask as a write does, a few times: then one plain read finds out whether it is
 * still written. A plain read by another node, while the page is writable here, takes one off.
 * (After Cox and Fowler, ISCA 1993, and Stenström et al., ISCA 1993; there the directory decides,
 * here each reader does by itself, so that nothing is added to messages.) */
static bool as_write(struct coh *c, struct coh_entry *e)
{
    if (e->migratory == 0)
        return false;
    e->migratory--;
    c->counters.migratory++;
    return true;
}

/* Sends GETS or GETM for a page in I or S. */
void coh_request(struct coh *c, struct coh_ctx *x, bool write)
{
    struct coh_rec *r = x->r;
    bool upgrade = x->e->state == COH_S;
    PANDO_CHECK(r->own && (x->e->state == COH_I || (upgrade && write)));
    bool exclusive = write || as_write(c, x->e);
    x->e->guessed = exclusive && !write;
    if (upgrade && r->started != 0)
        x->e->migratory = COH_MIGRATORY_MAX;
    r->txn = coh_new_txn(c);
    r->acked = 0;
    r->count_known = false;
    r->zero = false;
    r->fault = write ? (upgrade ? COH_FAULT_UPGRADE : COH_FAULT_WRITE) : COH_FAULT_READ;
    if (r->started != 0)
        c->counters.faults[r->fault]++;
    else
        c->counters.ahead++;
    coh_frame_take(c, x->e);
    coh_set_state(c, x, upgrade ? COH_SM_AD : exclusive ? COH_IM_AD : COH_IS_D);
    struct wire_msg m = {.kind = exclusive ? WIRE_GETM : WIRE_GETS,
                         .vm = c->cfg.vm,
                         .requester = c->cfg.self,
                         .page = x->page,
                         .txn = r->txn,
                         .version = x->e->version,
                         .age = coh_hold_age(c, r->waiters)};
    if (upgrade)
        coh_forward_all(c, x);
    coh_send(c, coh_home(c, x->page), &m);
}

static void join(struct coh *c, struct coh_ctx *x, bool write)
{
    struct coh_rec *r = x->r;
    if (r->started == 0 && x->started != 0 && r->txn != 0 && coh_wanted(r))
        c->counters.faults[r->fault]++; /* it was asked for ahead, and now a vCPU waits for it */
    if ((r->waiters == 0 && !r->other) || r->started == 0)
        r->started = x->started;
    if (write && ((r->write_waiters == 0 && !r->write_other) || r->write_started == 0))
        r->write_started = x->started;
    r->waiters |= vcpu_bit(x->vcpu);
    r->other |= x->vcpu >= COH_VCPUS_MAX;
    if (write) {
        r->write_waiters |= vcpu_bit(x->vcpu);
        r->write_other |= x->vcpu >= COH_VCPUS_MAX;
    }
}

/* Joins the page's record. A record that nothing keeps until the page is stable (home took a PUT
 * and is mapping it) becomes an own one. */
static bool wait_here(struct coh *c, struct coh_ctx *x, bool write)
{
    const struct coh_rec *r = x->r;
    bool kept = r != NULL && (r->own || r->evict || r->serving);
    if (!kept && !coh_rec_own(c, x)) {
        pending_add(c, x->page, x->vcpu, write, x->started);
        return false;
    }
    join(c, x, write);
    return true;
}

static void start(struct coh *c, struct coh_ctx *x, bool write)
{
    if (!coh_rec_own(c, x)) {
        pending_add(c, x->page, x->vcpu, write, x->started);
        return;
    }
    join(c, x, write);
    coh_request(c, x, write);
}

/* ---- ahead
 * ----------------------------------------------------------------------------------------- */

/* Half of the transactions and all frames are for faults. */
bool coh_ahead_possible(const struct coh *c)
{
    return (c->ahead != 0 || c->zero_next != c->zero_end) && c->own_used < c->cfg.txn_max / 2 &&
           (c->cfg.resident_max == 0 || c->counters.resident < c->cfg.resident_max);
}

/* Nobody has it, nobody has had it, and this home gives it out by itself. */
static bool untouched(const struct coh *c, uint64_t page)
{
    if (coh_home(c, page) != c->cfg.self || c->cache[page].state != COH_I)
        return false;
    const struct coh_dir *d = &c->dir[coh_home_index(c, page)];
    return d->state == COH_DIR_ZERO && d->sharers == 0;
}

static void zero_ahead_begin(struct coh *c, uint64_t page)
{
    if (c->cfg.zero_ahead < 2 || !untouched(c, page))
        return;
    c->zero_next = page & ~(uint64_t)(c->cfg.zero_ahead - 1);
    c->zero_end = min_u64(c->zero_next + c->cfg.zero_ahead, c->cfg.pages);
}

bool coh_ahead_run(struct coh *c)
{
    if (!coh_ahead_possible(c))
        return false;
    if (c->ahead == 0) {
        struct coh_ctx z = coh_ctx_of(c, c->zero_next++);
        z.vcpu = COH_VCPU_NONE;
        if (untouched(c, z.page))
            start(c, &z, true);
        return true;
    }
    uint8_t vcpu = (uint8_t)bit64_first(c->ahead);
    struct coh_vcpu *v = &c->vcpu[vcpu];
    uint32_t i = --v->ahead_n;
    if (i == 0)
        c->ahead &= ~bit64(vcpu);
    struct coh_ctx x = coh_ctx_of(c, v->last[i]);
    bool write = (v->last_writable & bit64(i)) != 0;
    x.vcpu = vcpu;
    if (x.e->state == COH_I || (x.e->state == COH_S && write))
        start(c, &x, write);
    return true;
}

/* Faults that the present mapping satisfies are over: their page sets get the page. */
void coh_satisfied(struct coh *c, struct coh_ctx *x, bool writable)
{
    struct coh_rec *r = x->r;
    if (r == NULL || (r->waiters == 0 && !r->other))
        return;
    uint64_t done = writable ? r->waiters : r->waiters & ~r->write_waiters;
    uint64_t granted = r->waiters;
    bool ahead = r->started == 0;
    r->waiters &= ~done;
    r->other = !writable && r->write_other;
    if (writable) {
        r->write_waiters = 0;
        r->write_other = false;
    }
    if (r->waiters == 0 && !r->other)
        r->started = r->write_started = 0;
    for (uint64_t left = done; left != 0; left &= left - 1) {
        struct coh_vcpu *v = &c->vcpu[bit64_first(left)];
        if (v->fault_page == x->page)
            v->outstanding = false;
    }
    if (!ahead || granted != 0) /* else nobody waits: nothing to hold it for */
        coh_hold_granted(c, x, granted, ahead);
}

static void give_up_waiters(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    for (uint64_t left = r->waiters; left != 0; left &= left - 1) {
        uint8_t v = (uint8_t)bit64_first(left);
        bool write = (r->write_waiters & bit64(v)) != 0;
        pending_add(c, x->page, v, write, write ? r->write_started : r->started);
    }
    if (r->other)
        pending_add(c, x->page, COH_VCPU_NONE, r->write_other, r->started);
    r->waiters = r->write_waiters = 0;
    r->other = r->write_other = false;
}

/* Called whenever a handler may have brought the page to a stable state: maps again for late
 * faults, goes on with what is still wanted, lets parked messages be served, frees the record. */
void coh_settle(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    enum coh_state s = x->e->state;
    if (r == NULL)
        return;
    if (s == COH_I || s == COH_S || s == COH_M) {
        coh_rec_evict_end(c, r);
        if (r->again && s != COH_I) {
            struct coh_action *a = coh_act(c, COH_ACT_MAP, x->page);
            a->writable = s == COH_M;
            a->again = true;
            a->fault = COH_FAULT_SPURIOUS;
            c->counters.faults[COH_FAULT_SPURIOUS]++;
        }
        r->again = false;
        if (s != COH_I)
            coh_satisfied(c, x, s == COH_M);
        bool write = r->write_waiters != 0 || r->write_other;
        if (r->waiters == 0 && !r->other)
            coh_rec_own_end(c, r);
        else if (coh_rec_own(c, x))
            coh_request(c, x, write);
        else
            give_up_waiters(c, x);
    }
    if (r->first != POOL_NONE && coh_may_serve(c, x->e, r))
        coh_ready_add(c, r);
    coh_rec_release(c, x);
}

/* ---- events
 * ---------------------------------------------------------------------------------------- */

void coh_fault(struct coh *c, uint64_t page, uint8_t vcpu, bool write, uint64_t started)
{
    struct coh_ctx x = coh_ctx_of(c, page);
    x.vcpu = vcpu;
    x.started = started;
    coh_hold_fault(c, vcpu, page);
    if (write)
        zero_ahead_begin(c, page);
    coh_cache_dispatch(c, &x,
                       write ? COH_CE_WRITE : COH_CE_READ); /* no empty cell in these columns */
}

void coh_on_read_i(struct coh *c, struct coh_ctx *x)
{
    start(c, x, false);
}

void coh_on_write_i(struct coh *c, struct coh_ctx *x)
{
    start(c, x, true);
}

void coh_on_write_s(struct coh *c, struct coh_ctx *x)
{
    start(c, x, true);
}

/* The page is mapped in the mode that the fault needs: the message was late, or the kernel dropped
 * the PTE. */
void coh_on_again(struct coh *c, struct coh_ctx *x)
{
    struct coh_action *a = coh_act(c, COH_ACT_MAP, x->page);
    a->writable = x->e->state == COH_M;
    a->again = true;
    a->fault = COH_FAULT_SPURIOUS;
    a->started = x->started;
    c->counters.faults[COH_FAULT_SPURIOUS]++;
    if (x->vcpu < COH_VCPUS_MAX && c->vcpu[x->vcpu].fault_page == x->page)
        c->vcpu[x->vcpu].outstanding = false;
    if (x->r != NULL && x->r->holding) { /* for this one as well, then */
        x->r->hold_for |= vcpu_bit(x->vcpu);
        x->r->hold_other |= x->vcpu >= COH_VCPUS_MAX;
    }
}

void coh_on_read_wait(struct coh *c, struct coh_ctx *x)
{
    wait_here(c, x, false);
}

void coh_on_write_wait(struct coh *c, struct coh_ctx *x)
{
    wait_here(c, x, true);
}

void coh_on_read_late(struct coh *c, struct coh_ctx *x)
{
    if (wait_here(c, x, false))
        x->r->again = true;
}

void coh_on_write_late(struct coh *c, struct coh_ctx *x)
{
    if (wait_here(c, x, true))
        x->r->again = true;
}
