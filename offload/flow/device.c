/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>

#include "offload/flow/pattern.h"

static struct flow_device_rte *self_of(struct flow_device *d)
{
    return (struct flow_device_rte *)d;
}

/* The driver's words; where it has none, the error's. */
static int failed(int rc, const struct rte_flow_error *e, char why[FLOW_WHY_MAX])
{
    rc = rc < 0 ? rc : -EIO;
    snprintf(why, FLOW_WHY_MAX, "%s", e->message != NULL ? e->message : strerror(-rc));
    return rc;
}

static int make(struct flow_device *d, const struct rule *r, struct flow_rule *out,
                char why[FLOW_WHY_MAX])
{
    const struct flow_device_rte *self = self_of(d);
    const char *words;
    int rc = flow_rule_make(r, self->kind, self->flex, out, &words);
    if (rc != 0)
        snprintf(why, FLOW_WHY_MAX, "%s", words);
    return rc;
}

static int rte_validate(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct rte_flow_error e = {0};
    struct flow_rule f;
    int rc = make(d, r, &f, why);
    if (rc == 0 && (rc = rte_flow_validate(self_of(d)->id, &f.attr, f.item, f.action, &e)) != 0)
        rc = failed(rc, &e, why);
    return rc;
}

static int rte_create(struct flow_device *d, const struct rule *r, void **ret_handle,
                      char why[FLOW_WHY_MAX])
{
    struct rte_flow_error e = {0};
    struct flow_rule f;
    int rc = make(d, r, &f, why);
    if (rc != 0)
        return rc;
    struct rte_flow *flow = rte_flow_create(self_of(d)->id, &f.attr, f.item, f.action, &e);
    if (flow == NULL)
        return failed(-rte_errno, &e, why);
    *ret_handle = flow;
    return 0;
}

static int rte_destroy(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX])
{
    struct rte_flow_error e = {0};
    int rc = rte_flow_destroy(self_of(d)->id, handle, &e);
    return rc == 0 ? 0 : failed(rc, &e, why);
}

static int rte_count(struct flow_device *d, void *handle, uint64_t *ret_frames, uint64_t *ret_bytes)
{
    const struct rte_flow_action action[] = {{.type = RTE_FLOW_ACTION_TYPE_COUNT},
                                             {.type = RTE_FLOW_ACTION_TYPE_END}};
    struct rte_flow_query_count c = {0};
    struct rte_flow_error e = {0};
    int rc = rte_flow_query(self_of(d)->id, handle, action, &c, &e);
    if (rc != 0)
        return rc;
    if (!c.hits_set)
        return -ENODATA;
    *ret_frames = c.hits;
    *ret_bytes = c.bytes_set ? c.bytes : 0;
    return 0;
}

void flow_device_rte_init(struct flow_device_rte *d, uint16_t id, enum link_kind kind,
                          enum nic_flex flex)
{
    static const struct flow_device_ops ops = {rte_validate, rte_create, rte_destroy, rte_count};
    *d = (struct flow_device_rte){.device = {.ops = &ops}, .id = id, .kind = kind, .flex = flex};
}
