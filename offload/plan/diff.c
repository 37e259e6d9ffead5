/* SPDX-License-Identifier: BSD-3-Clause */
/* What changes from plan to plan, and whether rules get into each other's way. */
#include <string.h>

#include "offload/plan/internal.h"

static bool same_pattern(const struct rule *a, const struct rule *b)
{
    return a->fields == b->fields && a->tagged == b->tagged && a->transfer == b->transfer &&
           a->group == b->group && a->priority == b->priority &&
           memcmp(a->value, b->value, sizeof(a->value)) == 0;
}

static bool same_fate(const struct rule *a, const struct rule *b)
{
    return a->actions == b->actions && a->queue == b->queue && a->mark == b->mark &&
           a->copies == b->copies;
}

bool plan_same_rule(const struct rule *a, const struct rule *b)
{
    return same_pattern(a, b) && same_fate(a, b);
}

static bool drops(const struct rule *r)
{
    return (r->actions & DO(DROP)) != 0;
}

/* ---- changes ------------------------------------------------------------------------------- */

enum { BITS = 64, WORDS = PLAN_RULES_MAX / BITS };

struct differ {
    const struct plan *from, *to;
    uint64_t goes[WORDS], comes[WORDS]; /* rules that still have to */
    struct plan_change *out;
    uint32_t n;
};

static bool is_in(const uint64_t *set, uint32_t i)
{
    return (set[i / BITS] >> i % BITS & 1) != 0;
}

static void take(struct differ *d, enum plan_op op, uint32_t i)
{
    uint64_t *set = op == PLAN_ADD ? d->comes : d->goes;
    set[i / BITS] &= ~bit64(i % BITS);
    d->out[d->n++] = (struct plan_change){.op = op, .index = i};
}

/* A pattern cannot be there twice. */
static void add(struct differ *d, uint32_t i)
{
    for (uint32_t j = 0; j < d->from->rules; j++)
        if (is_in(d->goes, j) && same_pattern(&d->from->rule[j], &d->to->rule[i]))
            take(d, PLAN_REMOVE, j);
    take(d, PLAN_ADD, i);
}

static void add_all(struct differ *d, bool that_drop)
{
    for (uint32_t i = 0; i < d->to->rules; i++)
        if (is_in(d->comes, i) && drops(&d->to->rule[i]) == that_drop)
            add(d, i);
}

static void remove_all(struct differ *d, bool that_drop)
{
    for (uint32_t i = 0; i < d->from->rules; i++)
        if (is_in(d->goes, i) && drops(&d->from->rule[i]) == that_drop)
            take(d, PLAN_REMOVE, i);
}

uint32_t plan_diff(const struct plan *from, const struct plan *to,
                   struct plan_change ret_changes[2 * PLAN_RULES_MAX])
{
    struct differ d = {.from = from, .to = to, .out = ret_changes};
    for (uint32_t i = 0; i < from->rules; i++)
        d.goes[i / BITS] |= bit64(i % BITS);
    for (uint32_t i = 0; i < to->rules; i++) {
        uint32_t j = 0;
        while (j < from->rules &&
               !(is_in(d.goes, j) && plan_same_rule(&from->rule[j], &to->rule[i])))
            j++;
        if (j < from->rules)
            d.goes[j / BITS] &= ~bit64(j % BITS);
        else
            d.comes[i / BITS] |= bit64(i % BITS);
    }
    add_all(&d, true);
    remove_all(&d, false);
    add_all(&d, false);
    remove_all(&d, true);
    return d.n;
}

/* ---- conflicts ----------------------------------------------------------------------------- */

/* They cannot be told apart by a field that both match. */
static bool overlap(const struct rule *a, const struct rule *b)
{
    if (a->tagged != b->tagged || a->transfer != b->transfer || a->group != b->group)
        return false;
    for (uint32_t f = a->fields & b->fields; f != 0; f &= f - 1) {
        unsigned i = (unsigned)__builtin_ctz(f);
        if (memcmp(a->value[i], b->value[i], RULE_VALUE_MAX) != 0)
            return false;
    }
    return true;
}

bool plan_conflict(const struct nic *nic, const struct plan *p, uint32_t *ret_a, uint32_t *ret_b)
{
    for (uint32_t i = 0; i < p->rules; i++)
        for (uint32_t j = 0; j < i; j++) {
            const struct rule *a = &p->rule[j], *b = &p->rule[i];
            bool ordered = nic->priorities && a->priority != b->priority;
            if (ordered || same_fate(a, b) || !overlap(a, b))
                continue;
            *ret_a = j;
            *ret_b = i;
            return true;
        }
    return false;
}
