/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/install.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"

/* What the device has. frames, bytes: as last asked. */
struct owned {
    void *handle;
    bool counted, gone;
    uint64_t frames, bytes;
    char why[FLOW_WHY_MAX];
};

enum { OWNED_MAX = PLAN_RULES_MAX }; /* old and new ones together */

struct install {
    struct flow_device *device;
    uint64_t (*clock_ns)(void);
    bool done;
    uint32_t next_count;
    struct plan wanted, have, rest; /* only their rules; rest: wanted without what was refused */
    struct owned owned[OWNED_MAX];  /* as have.rule */
    char refused[PLAN_RULES_MAX][FLOW_WHY_MAX]; /* as wanted.rule; "": not */
    uint32_t wanted_at[PLAN_RULES_MAX];         /* of rest.rule */
    struct plan_change change[2 * PLAN_RULES_MAX];
    uint32_t late[PLAN_RULES_MAX]; /* of rest.rule */
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
    memset(i->refused, 0, sizeof(i->refused));
    i->done = false;
}

/* ---- one call ------------------------------------------------------------------------------ */

static void called(struct install *i, uint64_t since)
{
    uint64_t took = i->clock_ns() - since;
    i->count.calls++;
    i->count.slowest_ns = took > i->count.slowest_ns ? took : i->count.slowest_ns;
}

/* 0, or what the driver said. */
static int create(struct install *i, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct owned *o = &i->owned[i->have.rules];
    uint64_t since = i->clock_ns();
    if (i->have.rules == OWNED_MAX) {
        strcpy(why, "too many rules at a time");
        return -ENOSPC;
    }
    *o = (struct owned){0};
    int rc = i->device->ops->create(i->device, r, &o->handle, why);
    called(i, since);
    if (rc != 0)
        return rc;
    i->have.rule[i->have.rules++] = *r;
    i->count.created++;
    return 0;
}

static bool destroy(struct install *i, uint32_t index)
{
    struct owned *o = &i->owned[index];
    uint64_t since = i->clock_ns();
    int rc = i->device->ops->destroy(i->device, o->handle, o->why);
    called(i, since);
    o->gone = rc == 0;
    i->count.removed += o->gone;
    return o->gone;
}

static void refuse(struct install *i, uint32_t rest, const char why[FLOW_WHY_MAX])
{
    memcpy(i->refused[i->wanted_at[rest]], why, FLOW_WHY_MAX);
    i->count.refused++;
}

/* ---- one step ------------------------------------------------------------------------------ */

static void leave_out_refused(struct install *i)
{
    i->rest.rules = 0;
    for (uint32_t k = 0; k < i->wanted.rules; k++) {
        if (i->refused[k][0] != '\0')
            continue;
        i->wanted_at[i->rest.rules] = k;
        i->rest.rule[i->rest.rules++] = i->wanted.rule[k];
    }
}

static void forget_gone(struct install *i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < i->have.rules; k++) {
        if (i->owned[k].gone)
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

/* Goes through the changes; true: to their end, and each was done or refused. */
static bool carry_out(struct install *i, uint32_t n, uint64_t budget_ns)
{
    uint64_t start = i->clock_ns();
    uint32_t late = 0;
    bool stuck = false;
    char why[FLOW_WHY_MAX];
    for (uint32_t k = 0; k < n; k++) {
        uint32_t index = i->change[k].index;
        if (k > 0 && i->clock_ns() - start >= budget_ns)
            return false;
        if (i->change[k].op == PLAN_REMOVE)
            stuck |= !destroy(i, index);
        else if (create(i, &i->rest.rule[index], why) == 0)
            continue;
        else if (stuck || removals_behind(i, k + 1, n))
            i->late[late++] = index; /* what goes may make room for it */
        else
            refuse(i, index, why);
    }
    for (uint32_t k = 0; k < late; k++) {
        if (stuck || i->clock_ns() - start >= budget_ns)
            return false;
        if (create(i, &i->rest.rule[i->late[k]], why) != 0)
            refuse(i, i->late[k], why);
    }
    return !stuck;
}

bool install_step(struct install *i, uint64_t budget_ns)
{
    if (i->done)
        return true;
    leave_out_refused(i);
    uint32_t n = plan_diff(&i->have, &i->rest, i->change);
    PANDO_CHECK(n <= 2 * PLAN_RULES_MAX);
    i->done = carry_out(i, n, budget_ns);
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
        if ((i->have.rule[k].actions & 1u << RULE_DO_COUNT) == 0)
            continue;
        uint64_t since = i->clock_ns();
        o->counted = i->device->ops->count(i->device, o->handle, &o->frames, &o->bytes) == 0;
        called(i, since);
        return;
    }
}

void install_close(struct install *i)
{
    if (i == NULL)
        return;
    for (uint32_t k = 0; k < i->have.rules; k++)
        destroy(i, k);
    free(i);
}

/* ---- what is there ------------------------------------------------------------------------- */

static bool find(const struct plan *p, const struct rule *r, uint32_t *ret_index)
{
    for (uint32_t k = 0; k < p->rules; k++)
        if (plan_same_rule(&p->rule[k], r)) {
            *ret_index = k;
            return true;
        }
    return false;
}

static void tell(const struct install *i, uint32_t index, struct install_rule *ret)
{
    const struct owned *o = &i->owned[index];
    ret->state = INSTALL_DONE;
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
        memcpy(r->why, i->refused[k], FLOW_WHY_MAX);
        if (find(&i->have, &r->rule, &at))
            tell(i, at, r);
        else if (r->why[0] != '\0')
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
        if (device->ops->validate(device, r, why[r->shape]) == 0) {
            taken |= 1u << r->shape;
        } else {
            refused |= 1u << r->shape;
            n++;
        }
    }
    *ret_refused = refused & ~taken;
    return n;
}
