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
 * the last factor keeps equal levels from ending alike.
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
    return v->opened + bound + bound / c->cfg.nodes * c->cfg.self;
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

static void set_end(struct coh *c, uint8_t vcpu, bool quiet)
{
    struct coh_vcpu *v = &c->vcpu[vcpu];
    v->open = false;
    c->open_sets &= ~bit64(vcpu);
    v->lost_n = 0;
    v->bumped = false;
    v->ahead_n = 0; /* what was not asked for by now is not of this time */
    c->ahead &= ~bit64(vcpu);
    set_remember(c, v);
    if (quiet) {
        v->attempt = 0;
    } else {
        memcpy(v->lost, v->page, sizeof(v->lost));
        v->lost_n = v->n;
        c->counters.hold_expired++;
    }
    for (uint32_t i = 0; i < v->n; i++)
        set_drop_page(c, v->page[i]);
    v->n = 0;
}

static void set_add(struct coh *c, uint8_t vcpu, struct coh_rec *r)
{
    struct coh_vcpu *v = &c->vcpu[vcpu];
    if (!v->open) {
        v->open = true;
        v->opened = c->now;
        v->n = 0;
        v->sets++;
        v->level = draw_level(c, vcpu);
        c->open_sets |= bit64(vcpu);
    }
    v->last_mapped = c->now;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->page[i] == r->page)
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
        const struct coh_vcpu *v = &c->vcpu[vcpu];
        if (min_u64(set_expiry(c, v), set_quiet(c, v)) <= c->now)
            set_end(c, vcpu, set_quiet(c, v) <= c->now);
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
    set_end(c, vcpu, true);
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
