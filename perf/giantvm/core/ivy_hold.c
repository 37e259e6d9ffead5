/* SPDX-License-Identifier: BSD-3-Clause */
/* Minimum residency: how long a granted page stays against requests (ivy.h). */
#include "dataplane/base/bits.h"
#include "perf/giantvm/core/ivy.h"

/* While the vCPU waits its bound alone counts, else the quiet time does as well. */
uint64_t ivy_hold_until(const struct coh *c, const struct ivy_rec *r)
{
    if (r->vcpu >= COH_VCPUS_MAX)
        return r->granted + c->cfg.hold_ns;
    const struct ivy_vcpu *v = &c->vcpu[r->vcpu];
    uint64_t end = v->set_start + v->bound;
    return v->waits ? end : min_u64(end, v->last_grant + c->cfg.hold_ns);
}

static void new_set(struct coh *c, struct ivy_vcpu *v, uint8_t fails)
{
    v->fails = (uint8_t)min_u64(fails, IVY_FAILS_MAX);
    v->set_start = c->now;
    v->bound = c->cfg.hold_max_ns * (1 + prng_below(&c->rng, 1u << v->fails));
}

/* A grant after the bound: what it was granted before is lost, and it begins again. */
static void granted(struct coh *c, uint64_t vcpus)
{
    for (; vcpus != 0; vcpus &= vcpus - 1) {
        struct ivy_vcpu *v = &c->vcpu[bit64_first(vcpus)];
        if (c->now >= v->set_start + v->bound)
            new_set(c, v, v->fails + 1);
        v->waits = false;
        v->last_grant = c->now;
    }
}

void ivy_hold(struct coh *c, struct ivy_rec *r)
{
    granted(c, r->waiters);
    r->vcpu = r->waiters != 0 ? (uint8_t)bit64_first(r->waiters) : COH_VCPU_NONE;
    r->waiters = 0;
    r->granted = c->now;
    if (c->cfg.hold_ns == 0 || r->hold_at != POOL_NONE)
        return;
    if (c->held_n == IVY_HOLD_MAX) {
        struct ivy_rec *oldest = &c->rec[c->held[0]];
        ivy_hold_drop(c, oldest);
        ivy_finish(c, oldest);
    }
    r->hold_at = c->held_n;
    c->held[c->held_n++] = (uint32_t)(r - c->rec);
}

void ivy_hold_drop(struct coh *c, struct ivy_rec *r)
{
    uint32_t at = r->hold_at;
    c->held_n--;
    for (uint32_t i = at; i < c->held_n; i++) { /* in order of age */
        c->held[i] = c->held[i + 1];
        c->rec[c->held[i]].hold_at = i;
    }
    r->hold_at = POOL_NONE;
}

/* A fault long after the last grant: the vCPU got through what it did before. */
void ivy_hold_fault(struct coh *c, struct ivy_rec *r, uint8_t vcpu)
{
    if (vcpu >= COH_VCPUS_MAX)
        return;
    struct ivy_vcpu *v = &c->vcpu[vcpu];
    r->waiters |= bit64(vcpu);
    if (!v->waits && c->now >= v->last_grant + c->cfg.hold_ns)
        new_set(c, v, 0);
    v->waits = true;
}

void ivy_hold_idle(struct coh *c, uint8_t vcpu)
{
    if (vcpu < COH_VCPUS_MAX && !c->vcpu[vcpu].waits)
        c->vcpu[vcpu].last_grant = 0; /* it got through */
}

void ivy_hold_tick(struct coh *c)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < c->held_n && done < IVY_TICK_MAX;) {
        struct ivy_rec *r = &c->rec[c->held[i]];
        if (ivy_hold_until(c, r) > c->now) {
            i++;
            continue;
        }
        if (r->vcpu < COH_VCPUS_MAX && c->vcpu[r->vcpu].waits)
            c->count.hold_expired++;
        ivy_hold_drop(c, r);
        ivy_finish(c, r);
        done++;
    }
}

uint64_t coh_deadline(const struct coh *c)
{
    uint64_t t = UINT64_MAX;
    for (uint32_t i = 0; i < c->held_n; i++)
        t = min_u64(t, ivy_hold_until(c, &c->rec[c->held[i]]));
    return t;
}

uint64_t coh_waited_for(const struct coh *c)
{
    uint64_t vcpus = 0;
    for (uint32_t i = 0; i < c->held_n; i++) {
        const struct ivy_rec *r = &c->rec[c->held[i]];
        if (r->first != POOL_NONE && r->vcpu < COH_VCPUS_MAX)
            vcpus |= bit64(r->vcpu);
    }
    return vcpus;
}
