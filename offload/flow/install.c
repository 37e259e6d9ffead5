/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/install.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"

enum owned_state { THERE, COMING, GOING, GONE };

/* What the device has, or will have. frames, bytes: as last asked. */
struct owned {
    void *handle;
    enum owned_state state;
    bool counted;
    bool room_comes; /* when it was begun, there were removals to come */
    uint64_t frames, bytes;
    char why[FLOW_WHY_MAX];
};

/* A wanted rule that is not there. why: of refused. */
struct wish {
    bool refused;
    bool behind; /* it found no room while rules were to go: tried again behind them */
    char why[FLOW_WHY_MAX];
};

enum { OWNED_MAX = PLAN_RULES_MAX }; /* old and new ones together */

struct install {
    struct flow_device *device;
    uint64_t (*clock_ns)(void);
    bool done;
    uint32_t under_way; /* owned that are COMING or GOING */
    /* In this step: a removal failed; removals are to come, which may make room for what is created
     * now. */
    bool stuck, room_comes;
    uint32_t next_count;
    /* Only their rules. rest: wanted without what was refused or is behind. */
    struct plan wanted, have, rest;
    struct owned owned[OWNED_MAX];      /* as have.rule */
    struct wish wish[PLAN_RULES_MAX];   /* as wanted.rule */
    uint32_t wanted_at[PLAN_RULES_MAX]; /* of rest.rule */
    struct plan_change change[2 * PLAN_RULES_MAX];
    struct install_counters count;
};

int install_open(struct flow_device *device, uint64_t (*clock_ns)(void), struct install **ret)
{
    struct install *i = calloc(1, sizeof(*i));
    if (i == NULL)
        return -ENOMEM;
    i->device = device;
    i->clock_ns = clock_ns;
    i->done = true;
    *ret = i;
    return 0;
}

void install_want(struct install *i, const struct plan *plan)
{
    i->wanted.rules = plan->rules;
    memcpy(i->wanted.rule, plan->rule, plan->rules * sizeof(plan->rule[0]));
    memset(i->wish, 0, sizeof(i->wish));
    i->done = false;
}

/* ---- ends of calls ------------------------------------------------------------------------- */

static bool find(const struct plan *p, const struct rule *r, uint32_t *ret_index)
{
    for (uint32_t k = 0; k < p->rules; k++)
        if (plan_same_rule(&p->rule[k], r)) {
            *ret_index = k;
            return true;
        }
    return false;
}

static void took(struct install *i, uint64_t since)
{
    uint64_t ns = i->clock_ns() - since;
    i->count.slowest_ns = ns > i->count.slowest_ns ? ns : i->count.slowest_ns;
}

/* A creation failed: it is tried again behind the removals, if those are to come. */
static void failed(struct install *i, uint32_t wanted, bool room_comes, int rc,
                   const char why[FLOW_WHY_MAX])
{
    struct wish *w = &i->wish[wanted];
    w->behind = room_comes;
    w->refused = !room_comes;
    if (room_comes)
        return;
    memcpy(w->why, why, FLOW_WHY_MAX);
    flow_why_tidy(w->why, rc);
    i->count.refused++;
}

/* What is wanted may have changed since it was begun. */
static void end_creation(struct install *i, uint32_t index, const struct flow_done *d)
{
    uint32_t wanted;
    i->owned[index].state = d->rc == 0 ? THERE : GONE;
    i->count.created += d->rc == 0;
    if (d->rc != 0 && find(&i->wanted, &i->have.rule[index], &wanted))
        failed(i, wanted, i->owned[index].room_comes, d->rc, d->why);
}

static void end_removal(struct install *i, uint32_t index, const struct flow_done *d)
{
    struct owned *o = &i->owned[index];
    o->state = d->rc == 0 ? GONE : THERE;
    i->count.removed += d->rc == 0;
    i->stuck |= d->rc != 0;
    memcpy(o->why, d->why, FLOW_WHY_MAX);
    if (d->rc != 0)
        flow_why_tidy(o->why, d->rc);
}

/* Once, without waiting. */
static void poll(struct install *i)
{
    struct flow_done done[32];
    uint64_t since = i->clock_ns();
    uint32_t n = i->device->ops->poll(i->device, done, PANDO_ARRAY_LEN(done));
    took(i, since);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t m = 0; m < i->have.rules; m++) {
            struct owned *o = &i->owned[m];
            if (o->handle != done[k].handle || (o->state != COMING && o->state != GOING))
                continue;
            i->under_way--;
            if (o->state == COMING)
                end_creation(i, m, &done[k]);
            else
                end_removal(i, m, &done[k]);
            break;
        }
}

/* True: all that was begun has ended. */
static bool settle(struct install *i, uint64_t until)
{
    while (i->under_way > 0) {
        poll(i);
        if (i->under_way > 0 && i->clock_ns() >= until)
            return false;
    }
    return true;
}

/* ---- one call ------------------------------------------------------------------------------ */

/* Whether to call once more, behind -EAGAIN. */
static bool made_room(struct install *i, int rc, uint64_t until)
{
    if (rc != -EAGAIN || i->clock_ns() >= until)
        return false;
    poll(i);
    return true;
}

/* The place of a rule that is gone, if there is no other; OWNED_MAX: none. Changes that are still
 * to be made do not name it. */
static uint32_t free_place(const struct install *i)
{
    uint32_t k = i->have.rules < OWNED_MAX ? i->have.rules : 0;
    while (k < i->have.rules && i->owned[k].state != GONE)
        k++;
    return k;
}

/* 0: it is there, or begun; or what the driver said. -EAGAIN: not yet. */
static int create(struct install *i, const struct rule *r, uint64_t until, char why[FLOW_WHY_MAX])
{
    uint32_t place = free_place(i);
    struct owned *o = &i->owned[place];
    uint64_t since;
    int rc;
    if (place == OWNED_MAX) {
        strcpy(why, "too many rules at a time");
        return -ENOSPC;
    }
    *o = (struct owned){.state = THERE, .room_comes = i->room_comes};
    do {
        since = i->clock_ns();
        rc = i->device->ops->create(i->device, r, &o->handle, why);
        took(i, since);
    } while (made_room(i, rc, until));
    i->count.calls += rc != -EAGAIN;
    if (rc != 0 && rc != -EINPROGRESS) {
        o->state = GONE;
        return rc;
    }
    i->have.rule[place] = *r;
    i->have.rules += place == i->have.rules;
    i->count.created += rc == 0;
    i->under_way += rc != 0;
    o->state = rc == 0 ? THERE : COMING;
    return 0;
}

/* As create. */
static int destroy(struct install *i, uint32_t index, uint64_t until)
{
    struct owned *o = &i->owned[index];
    uint64_t since;
    int rc;
    do {
        since = i->clock_ns();
        rc = i->device->ops->destroy(i->device, o->handle, o->why);
        took(i, since);
    } while (made_room(i, rc, until));
    i->count.calls += rc != -EAGAIN;
    if (rc == -EINPROGRESS) {
        o->state = GOING;
        i->under_way++;
        return 0;
    }
    if (rc != 0 && rc != -EAGAIN)
        flow_why_tidy(o->why, rc);
    o->state = rc == 0 ? GONE : o->state;
    i->count.removed += rc == 0;
    return rc;
}

/* ---- one step ------------------------------------------------------------------------------ */

static void leave_out(struct install *i)
{
    i->rest.rules = 0;
    for (uint32_t k = 0; k < i->wanted.rules; k++) {
        if (i->wish[k].refused || i->wish[k].behind)
            continue;
        i->wanted_at[i->rest.rules] = k;
        i->rest.rule[i->rest.rules++] = i->wanted.rule[k];
    }
}

static bool any_behind(const struct install *i)
{
    for (uint32_t k = 0; k < i->wanted.rules; k++)
        if (i->wish[k].behind)
            return true;
    return false;
}

static void forget_gone(struct install *i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < i->have.rules; k++) {
        if (i->owned[k].state == GONE)
            continue;
        if (n != k) {
            i->have.rule[n] = i->have.rule[k];
            i->owned[n] = i->owned[k];
        }
        n++;
    }
    i->have.rules = n;
}

static bool removals_behind(const struct install *i, uint32_t from, uint32_t n)
{
    for (uint32_t k = from; k < n; k++)
        if (i->change[k].op == PLAN_REMOVE)
            return true;
    return false;
}

/* A rule that had to go for this one is there still: no pattern may be there twice. */
static bool in_the_way(const struct install *i, const struct rule *new)
{
    for (uint32_t k = 0; i->stuck && k < i->have.rules; k++) {
        const struct rule *old = &i->have.rule[k];
        struct rule r = *new;
        r.actions = old->actions;
        r.queue = old->queue;
        r.mark = old->mark;
        r.copies = old->copies;
        if (i->owned[k].state != GONE && plan_same_rule(old, &r))
            return true;
    }
    return false;
}

/* False: this step has no time for it. */
static bool add(struct install *i, uint32_t wanted, bool room_comes, uint64_t until)
{
    const struct rule *r = &i->wanted.rule[wanted];
    char why[FLOW_WHY_MAX] = "";
    i->room_comes = room_comes;
    int rc = in_the_way(i, r) ? -EEXIST : create(i, r, until, why);
    if (rc == -EAGAIN)
        return false;
    i->wish[wanted].behind = false;
    if (rc != 0)
        failed(i, wanted, room_comes, rc, why);
    return true;
}

/* One change. False: this step has no time for it. */
static bool change(struct install *i, uint32_t k, uint32_t n, uint64_t until)
{
    uint32_t index = i->change[k].index;
    if (i->change[k].op == PLAN_ADD)
        return add(i, i->wanted_at[index], i->stuck || removals_behind(i, k + 1, n), until);
    int rc = destroy(i, index, until);
    i->stuck |= rc != 0 && rc != -EAGAIN;
    return rc != -EAGAIN;
}

/* Goes through the changes; true: to their end, and each was done or refused. Between creations and
 * removals it waits: what is begun together has no order. */
static bool carry_out(struct install *i, uint32_t n, uint64_t until)
{
    bool begun = false;
    for (uint32_t k = 0; k < n; k++, begun = true) {
        if (k > 0 && i->change[k].op != i->change[k - 1].op && !settle(i, until))
            return false;
        if ((begun && i->clock_ns() >= until) || !change(i, k, n, until))
            return false;
    }
    if (!settle(i, until))
        return false;
    for (uint32_t k = 0; k < i->wanted.rules; k++) {
        if (!i->wish[k].behind)
            continue;
        if ((begun && i->clock_ns() >= until) || !add(i, k, i->stuck, until))
            return false;
        begun = true;
    }
    return settle(i, until) && !i->stuck && !any_behind(i);
}

bool install_step(struct install *i, uint64_t budget_ns)
{
    uint64_t until = i->clock_ns() + budget_ns;
    i->stuck = i->room_comes = false;
    if (i->device->ops->poll != NULL) /* also if all is done: the device may have things to end */
        poll(i);
    if (i->done)
        return true;
    bool settled = settle(i, until);
    forget_gone(i);
    if (!settled)
        return false;
    leave_out(i);
    uint32_t n = plan_diff(&i->have, &i->rest, i->change);
    PANDO_CHECK(n <= 2 * PLAN_RULES_MAX);
    i->done = carry_out(i, n, until);
    forget_gone(i);
    return i->done;
}

bool install_done(const struct install *i)
{
    return i->done;
}

void install_count(struct install *i)
{
    for (uint32_t tries = 0; tries < i->have.rules; tries++) {
        uint32_t k = i->next_count++ % i->have.rules;
        struct owned *o = &i->owned[k];
        if ((i->have.rule[k].actions & 1u << RULE_DO_COUNT) == 0 || o->state != THERE)
            continue;
        uint64_t since = i->clock_ns();
        o->counted = i->device->ops->count(i->device, o->handle, &o->frames, &o->bytes) == 0;
        i->count.calls++;
        took(i, since);
        return;
    }
}

void install_close(struct install *i)
{
    if (i == NULL)
        return;
    uint64_t until = i->clock_ns() + INSTALL_CLOSE_MS * UINT64_C(1000000);
    settle(i, until); /* nothing is destroyed before it is there */
    for (uint32_t k = 0; k < i->have.rules; k++)
        if (i->owned[k].state == THERE)
            destroy(i, k, until);
    settle(i, until);
    free(i);
}

/* ---- what is there ------------------------------------------------------------------------- */

static void tell(const struct install *i, uint32_t index, struct install_rule *ret)
{
    const struct owned *o = &i->owned[index];
    ret->state = o->state == THERE ? INSTALL_DONE : INSTALL_PENDING;
    ret->counted = o->counted;
    ret->frames = o->frames;
    ret->bytes = o->bytes;
    memcpy(ret->why, o->why, FLOW_WHY_MAX);
}

uint32_t install_list(const struct install *i, struct install_rule ret[INSTALL_LIST_MAX])
{
    uint32_t n = 0, at;
    for (uint32_t k = 0; k < i->wanted.rules; k++) {
        struct install_rule *r = &ret[n++];
        *r = (struct install_rule){.rule = i->wanted.rule[k]};
        memcpy(r->why, i->wish[k].why, FLOW_WHY_MAX);
        if (find(&i->have, &r->rule, &at))
            tell(i, at, r);
        else if (i->wish[k].refused)
            r->state = INSTALL_REFUSED;
    }
    for (uint32_t k = 0; k < i->have.rules; k++) {
        if (find(&i->wanted, &i->have.rule[k], &at))
            continue;
        ret[n] = (struct install_rule){.rule = i->have.rule[k]};
        tell(i, k, &ret[n++]);
    }
    return n;
}

const struct install_counters *install_counters(const struct install *i)
{
    return &i->count;
}

/* ---- the probe ----------------------------------------------------------------------------- */

/* Rules of which a driver takes all or none, but for the values in them. */
static bool alike(const struct rule *a, const struct rule *b)
{
    return a->shape == b->shape && a->fields == b->fields && a->actions == b->actions &&
           a->tagged == b->tagged && a->transfer == b->transfer;
}

uint32_t install_probe(struct flow_device *device, const struct plan *plan, uint32_t *ret_refused,
                       char why[NIC_TEMPLATES_MAX][FLOW_WHY_MAX])
{
    uint32_t taken = 0, refused = 0, n = 0;
    for (uint32_t k = 0; k < plan->rules; k++) {
        const struct rule *r = &plan->rule[k];
        bool asked = false;
        for (uint32_t m = 0; m < k && !asked; m++)
            asked = alike(r, &plan->rule[m]);
        if (asked || r->shape >= NIC_TEMPLATES_MAX)
            continue;
        int rc = device->ops->validate(device, r, why[r->shape]);
        if (rc == 0) {
            taken |= 1u << r->shape;
        } else {
            flow_why_tidy(why[r->shape], rc);
            refused |= 1u << r->shape;
            n++;
        }
    }
    *ret_refused = refused & ~taken;
    return n;
}
