/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct fake fake;

uint64_t fake_clock(void)
{
    return fake.clock_ns;
}

static int fake_validate(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    if ((r->actions & f->never) == 0)
        return 0;
    snprintf(why, FLOW_WHY_MAX, "action not supported");
    return -ENOTSUP;
}

static int fake_create(struct flow_device *d, const struct rule *r, void **ret_handle,
                       char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    f->calls++;
    f->clock_ns += f->cost_ns;
    if ((r->actions & f->lies) != 0) {
        snprintf(why, FLOW_WHY_MAX, "no room in \"TCAM\" \\ %u", f->has.rules);
        if (f->says != NULL)
            snprintf(why, FLOW_WHY_MAX, "%s", f->says);
        return -EINVAL;
    }
    if (fake_validate(d, r, why) != 0)
        return -ENOTSUP;
    if (f->has.rules == f->capacity) {
        snprintf(why, FLOW_WHY_MAX, "table full");
        return -ENOSPC;
    }
    for (uint32_t k = 0; k < f->has.rules; k++) { /* as drivers do: one rule a pattern */
        struct rule same = f->has.rule[k];
        same.actions = r->actions;
        same.queue = r->queue;
        same.mark = r->mark;
        assert_false(plan_same_rule(&same, r));
    }
    f->has.rule[f->has.rules] = *r;
    f->handle[f->has.rules++] = ++f->last;
    *ret_handle = (void *)f->last;
    return 0;
}

static int fake_destroy(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX])
{
    struct fake *f = (struct fake *)d;
    f->calls++;
    f->clock_ns += f->cost_ns;
    if (f->stuck) {
        snprintf(why, FLOW_WHY_MAX, "busy");
        return -EBUSY;
    }
    for (uint32_t k = 0; k < f->has.rules; k++)
        if (f->handle[k] == (uintptr_t)handle) {
            f->has.rules--;
            memmove(&f->has.rule[k], &f->has.rule[k + 1],
                    (f->has.rules - k) * sizeof(f->has.rule[0]));
            memmove(&f->handle[k], &f->handle[k + 1], (f->has.rules - k) * sizeof(f->handle[0]));
            return 0;
        }
    fail_msg("a rule is removed twice");
    return -ENOENT;
}

static int fake_count(struct flow_device *d, void *handle, uint64_t *ret_frames,
                      uint64_t *ret_bytes)
{
    struct fake *f = (struct fake *)d;
    (void)handle;
    f->calls++;
    *ret_frames = f->frames_a_rule;
    *ret_bytes = f->frames_a_rule * 100;
    return 0;
}

void fake_reset(void)
{
    static const struct flow_device_ops ops = {.validate = fake_validate,
                                               .create = fake_create,
                                               .destroy = fake_destroy,
                                               .count = fake_count};
    memset(&fake, 0, sizeof(fake));
    fake.device.ops = &ops;
    fake.capacity = PLAN_RULES_MAX;
}
