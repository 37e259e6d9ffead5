/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Residency: how long a page stays against the wishes of others.
 *
 * Minimum: hold_ns after a fault was satisfied. All ends are equally far ahead, so a FIFO is in
 * order of time.
 *
 * Page set of a vCPU: what it was granted since it last got through an instruction. It opens with
 * the first grant after it was closed and ends
 *   - quietly, hold_ns after the last grant with no fault outstanding: the vCPU got through.
 * Attempt := 0;
 *   - by expiry, a bound after it opened. The pages are remembered as lost; a fault on one of them
 * shows that the same instruction still runs, and raises the attempt. Bound: hold_max_ns * 2^level
 * * (1 + self/nodes). level is 0, 1, 2 ... attempt with probability 1/2, 1/4, 1/8 ..., drawn by a
 * hash of node, vCPU and the number of the set. Doubling alone would not do: sets that keep each
 * other waiting fail together, so their attempts grow together, and with equal bounds none ever
 * outlasts the others for long enough to collect all its pages. The draw makes one stand out soon;
 * the last factor keeps equal levels from ending alike;
 *   - by giving way (wound-wait: Rosenkrantz, Stearns, Lewis, TODS 1978; in coherence: Rajwar and
 * Goodman, ASPLOS 2002): its vCPU waits, and for one of its pages waits one of another node that
 * has been at its instruction for longer, and for long. Requests carry that age as of when they
 * left, forwards pass it on; nodes need no common clock, for ages grow alike. Cycles then end, in
 * favour of whom they have cost most, however long bounds are; those still end what ages that are
 * not exact leave over. A vCPU that does not wait keeps its set: it mostly gets through. Giving way
 * raises no attempt.
 *
 * A set that ended is remembered. When the vCPU faults on one of its pages, the others that were
 * lost meanwhile are asked for in the same step: one at a time they would take as many round trips
 * as there are pages, and other nodes would take the first ones back before the last had come.
 * They are asked for again when that fault is over: while the vCPU waited for the one page, others
 * took what it still had. Under nested paging every access is such a set: the walk needs four
 * page-table pages and the page.
 */
#include <string.h>

#include "dataplane/base/prng.h"
#include "dataplane/coherence/core.h"

/* A reason to keep the page has ended. */
static void let_go(struct coh *c, struct coh_rec *r)
{
    struct coh_ctx x = coh_ctx_of(c, r->page);
    if (coh_may_serve(c, x.e, r))
        coh_ready_add(c, r);
    coh_rec_release(c, &x);
}

/* ---- minimum residency
 * ----------------------------------------------------------------------------- */

static void hold_unlink(struct coh *c, struct coh_rec *r)
{
    uint32_t *from_prev =
        r->hold_prev == POOL_NONE ? &c->holds.first : &c->rec[r->hold_prev].hold_next;
    uint32_t *from_next =
        r->hold_next == POOL_NONE ? &c->holds.last : &c->rec[r->hold_next].hold_prev;
    *from_prev = r->hold_next;
    *from_next = r->hold_prev;
    r->hold_prev = r->hold_next = POOL_NONE;
    r->holding = r->hold_other = false;
    r->hold_for = 0;
    c->hold_used--;
}

static void hold_append(struct coh *c, struct coh_rec *r, uint64_t vcpus)
{
    uint32_t id = coh_rec_id(c, r);
    uint64_t before = r->hold_for;
    bool other = r->hold_other;
    if (r->holding)
        hold_unlink(c, r);
    r->hold_for = before | vcpus;
    r->hold_other = other || vcpus == 0;
    r->hold_until = c->now + c->cfg.hold_ns;
    r->hold_prev = c->holds.last;
    r->hold_next = POOL_NONE;
    if (c->holds.last == POOL_NONE)
        c->holds.first = id;
    else
        c->rec[c->holds.last].hold_next = id;
    c->holds.last = id;
    r->holding = true;
    c->hold_used++;
}

static void hold_end_first(struct coh *c)
{
    struct coh_rec *r = &c->rec[c->holds.first];
    hold_unlink(c, r);
    let_go(c, r);
}

/* ---- page sets
 * ------------------------------------------------------------------------------------- */

static uint64_t set_expiry(const struct coh *c, const struct coh_vcpu *v)
{
    uint64_t bound = c->cfg.hold_max_ns << v->level;
    uint64_t end = v->opened + bound + bound / c->cfg.nodes * c->cfg.self;
    return v->outstanding ? min_u64(end, v->yield_at) : end;
}

static uint8_t draw_level(const struct coh *c, uint8_t vcpu)
{
    const struct coh_vcpu *v = &c->vcpu[vcpu];
    struct prng r = {.state = (uint64_t)c->cfg.self << 48 | (uint64_t)vcpu << 40 | v->sets};
    return (uint8_t)min_u64(bit64_first(prng_next(&r) | bit64(COH_ATTEMPT_MAX)), v->attempt);
}

static uint64_t set_quiet(const struct coh *c, const struct coh_vcpu *v)
{
    return v->outstanding ? UINT64_MAX : v->last_mapped + c->cfg.hold_ns;
}

static void set_drop_page(struct coh *c, uint64_t page)
{
    struct coh_rec *r = coh_rec_find(c, page);
    PANDO_CHECK(r != NULL && r->set_refs > 0);
    r->set_refs--;
    let_go(c, r);
}

static void set_remember(struct coh *c, struct coh_vcpu *v)
{
    v->last_writable = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        v->last[i] = v->page[i];
        const struct coh_entry *e = &c->cache[v->page[i]];
        if (e->state == COH_M && !e->guessed)
            v->last_writable |= bit64(i);
    }
    v->last_n = v->n;
}

enum set_end { SET_QUIET, SET_EXPIRED, SET_WOUNDED };

static bool among(const uint64_t *list, uint32_t n, uint64_t page)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i] == page)
            return true;
    return false;
}

/* What the instruction has lost in this set and in those before. */
static void add_lost(struct coh_vcpu *v)
{
    uint64_t old[COH_PAGE_SET_MAX];
    uint32_t n = v->lost_n;
    memcpy(old, v->lost, n * sizeof(old[0]));
    memcpy(v->lost, v->page, v->n * sizeof(v->page[0]));
    v->lost_n = v->n;
    for (uint32_t i = 0; i < n && v->lost_n < COH_PAGE_SET_MAX; i++)
        if (!among(v->page, v->n, old[i]))
            v->lost[v->lost_n++] = old[i];
}

static void set_end(struct coh *c, uint8_t vcpu, enum set_end how)
{
    struct coh_vcpu *v = &c->vcpu[vcpu];
    v->open = false;
    c->open_sets &= ~bit64(vcpu);
    v->yield_at = UINT64_MAX;
    v->bumped = how == SET_WOUNDED;
    v->ahead_n = 0; /* what was not asked for by now is not of this time */
    c->ahead &= ~bit64(vcpu);
    set_remember(c, v);
    if (how == SET_QUIET) {
        v->attempt = 0;
        v->lost_n = 0;
    } else {
        add_lost(v);
        c->counters.hold_expired += how == SET_EXPIRED;
        c->counters.hold_wounded += how == SET_WOUNDED;
    }
    for (uint32_t i = 0; i < v->n; i++)
        set_drop_page(c, v->page[i]);
    v->n = 0;
}

/* ---- wound-wait
 * ------------------------------------------------------------------------------------ */

/* When a set has to give way to a demand, if its vCPU waits; UINT64_MAX: never.
 *
 * Nodes that want the same pages mostly queue for them in the same order, and each gets through in
 * its turn: that a demand is older says nothing until it has waited for longer than all turns take.
 * Of two that began at about the same time (a message takes less than hold_ns, and an age is up to
 * 1/128 too small) the lower node's goes first; in doubt both give way. */
static uint64_t yield_time(const struct coh *c, const struct coh_vcpu *v, uint64_t since,
                           uint8_t requester)
{
    if (since == COH_NO_AGE)
        return UINT64_MAX;
    uint64_t slack = max_u64(c->cfg.hold_ns, (c->now - since) / 64);
    bool lower = requester < c->cfg.self;
    bool first = since < v->since ? lower || v->since - since >= slack
                                  : lower && since - v->since < 2 * slack;
    return first ? since + 4 * c->cfg.nodes * c->cfg.hold_ns : UINT64_MAX;
}

/* Of the demands that are parked at a page of the set. */
static void note_parked(const struct coh *c, struct coh_vcpu *v, const struct coh_rec *r)
{
    for (uint32_t i = r->first; i != POOL_NONE; i = c->deferred[i].next)
        v->yield_at =
            min_u64(v->yield_at, yield_time(c, v, c->deferred[i].since, c->deferred[i].requester));
}

static bool has_to_yield(struct coh *c, struct coh_vcpu *v)
{
    v->yield_at = UINT64_MAX;
    for (uint32_t i = 0; i < v->n; i++)
        note_parked(c, v, coh_rec_find(c, v->page[i]));
    return v->yield_at <= c->now;
}

void coh_hold_demand(struct coh *c, uint64_t page, uint64_t since, uint8_t requester)
{
    for (uint64_t left = c->open_sets; left != 0; left &= left - 1) {
        struct coh_vcpu *v = &c->vcpu[bit64_first(left)];
        if (among(v->page, v->n, page))
            v->yield_at = min_u64(v->yield_at, yield_time(c, v, since, requester));
    }
}

uint16_t coh_hold_age(const struct coh *c, uint64_t vcpus)
{
    uint64_t since = c->now;
    if (vcpus == 0 || c->cfg.hold_ns == 0)
        return 0;
    for (uint64_t left = vcpus; left != 0; left &= left - 1)
        since = min_u64(since, c->vcpu[bit64_first(left)].since);
    uint16_t age = wire_age(c->now - since);
    return age == 0 ? 1 : age;
}

/* ---- page sets, again
 * ------------------------------------------------------------------------------ */

/* So many different pages are more than one instruction needs: it got through, and is young again.
 */
static void set_count(struct coh *c, struct coh_vcpu *v, uint64_t page)
{
    if ((v->open && among(v->page, v->n, page)) || among(v->lost, v->lost_n, page) ||
        ++v->fresh <= COH_FRESH_MAX)
        return;
    v->fresh = 0;
    v->since = c->now;
    if (v->open)
        has_to_yield(c, v);
}

static void set_add(struct coh *c, uint8_t vcpu, struct coh_rec *r)
{
    struct coh_vcpu *v = &c->vcpu[vcpu];
    if (!v->open) {
        v->open = true;
        v->opened = c->now;
        v->yield_at = UINT64_MAX;
        v->n = 0;
        v->sets++;
        v->level = draw_level(c, vcpu);
        c->open_sets |= bit64(vcpu);
    }
    v->last_mapped = c->now;
    note_parked(c, v, r);
    if (among(v->page, v->n, r->page))
        return;
    r->set_refs++;
    if (v->n == COH_PAGE_SET_MAX) { /* more pages than an instruction needs: the oldest gives way */
        uint64_t oldest = v->page[0];
        memmove(&v->page[0], &v->page[1], (COH_PAGE_SET_MAX - 1) * sizeof(v->page[0]));
        v->n--;
        set_drop_page(c, oldest);
    }
    v->page[v->n++] = r->page;
}

/* The vCPU needs this page: if it was in the set that ended last, it needs the others as well. */
static void ask(struct coh *c, uint8_t vcpu, uint64_t page)
{
    struct coh_vcpu *v = &c->vcpu[vcpu];
    for (uint32_t i = 0; i < v->last_n; i++)
        if (v->last[i] == page) {
            v->ahead_n = v->last_n;
            c->ahead |= bit64(vcpu);
            return;
        }
}

void coh_hold_fault(struct coh *c, uint8_t vcpu, uint64_t page)
{
    if (vcpu >= COH_VCPUS_MAX)
        return;
    struct coh_vcpu *v = &c->vcpu[vcpu];
    bool quiet = c->now - v->last_mapped >= c->cfg.hold_ns;
    if (!v->open && !v->outstanding && (quiet || v->lost_n == 0)) {
        v->lost_n = 0;
        v->bumped = false;
        v->fresh = 0;
        v->since = c->now;
    }
    v->outstanding = true;
    v->fault_page = page;
    for (uint32_t i = 0; i < v->lost_n && !v->bumped; i++) {
        if (v->lost[i] != page)
            continue;
        v->bumped = true;
        if (v->attempt < COH_ATTEMPT_MAX)
            v->attempt++;
    }
    ask(c, vcpu, page);
}

/* The page was mapped for a fault, of these vCPUs or of other threads; ahead: for none yet. */
void coh_hold_granted(struct coh *c, struct coh_ctx *x, uint64_t vcpus, bool ahead)
{
    if (c->cfg.hold_ns == 0)
        return;
    if (c->hold_used == COH_HOLD_MAX && !x->r->holding)
        hold_end_first(c);
    hold_append(c, x->r, vcpus);
    for (uint64_t left = vcpus; left != 0; left &= left - 1) {
        if (!ahead)
            set_count(c, &c->vcpu[bit64_first(left)], x->page);
        set_add(c, (uint8_t)bit64_first(left), x->r);
        if (!ahead)
            ask(c, (uint8_t)bit64_first(left), x->page);
    }
}

/* ---- time
 * ------------------------------------------------------------------------------------------ */

void coh_hold_expire(struct coh *c)
{
    while (c->holds.first != POOL_NONE && c->rec[c->holds.first].hold_until <= c->now)
        hold_end_first(c);
    for (uint64_t left = c->open_sets; left != 0; left &= left - 1) {
        uint8_t vcpu = (uint8_t)bit64_first(left);
        struct coh_vcpu *v = &c->vcpu[vcpu];
        if (set_quiet(c, v) <= c->now)
            set_end(c, vcpu, SET_QUIET);
        else if (v->outstanding && v->yield_at <= c->now && has_to_yield(c, v))
            set_end(c, vcpu, SET_WOUNDED);
        else if (set_expiry(c, v) <= c->now)
            set_end(c, vcpu, SET_EXPIRED);
    }
}

/* A vCPU that waits needs no page: residency ends, but of pages that another one was granted
 * meanwhile. Other exits, which show as well that it got through its instruction, end nothing: what
 * it does next mostly needs the same pages, and it would have to collect them after each exit
 * (tried with Linux under nested paging: five times slower). */
void coh_hold_idle(struct coh *c, uint8_t vcpu)
{
    uint64_t page[COH_PAGE_SET_MAX];
    if (vcpu >= COH_VCPUS_MAX || !c->vcpu[vcpu].open || c->vcpu[vcpu].outstanding)
        return;
    uint32_t n = c->vcpu[vcpu].n;
    memcpy(page, c->vcpu[vcpu].page, n * sizeof(page[0]));
    set_end(c, vcpu, SET_QUIET);
    for (uint32_t i = 0; i < n; i++) {
        struct coh_rec *r = coh_rec_find(c, page[i]);
        if (r == NULL || !r->holding)
            continue;
        r->hold_for &= ~bit64(vcpu);
        if (r->hold_for != 0 || r->hold_other)
            continue;
        hold_unlink(c, r);
        let_go(c, r);
    }
}

/* Holds end by themselves when the next event comes; a TICK is needed only if a message may wait
 * for it. */
uint64_t coh_hold_deadline(const struct coh *c)
{
    uint64_t t = UINT64_MAX;
    if (c->service_used == 0)
        return t;
    if (c->holds.first != POOL_NONE)
        t = c->rec[c->holds.first].hold_until;
    for (uint64_t left = c->open_sets; left != 0; left &= left - 1) {
        const struct coh_vcpu *v = &c->vcpu[bit64_first(left)];
        t = min_u64(t, min_u64(set_expiry(c, v), set_quiet(c, v)));
    }
    return t;
}
