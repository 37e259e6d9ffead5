/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API /* rte_flow_flex_item_create, rte_flow_pick_transfer_proxy */
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

void flow_why_tidy(char why[FLOW_WHY_MAX], int rc)
{
    if (why[0] == '\0')
        snprintf(why, FLOW_WHY_MAX, "%s", strerror(-rc));
    for (char *c = why; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

int flow_device_failed(int rc, const struct rte_flow_error *e, char why[FLOW_WHY_MAX])
{
    rc = rc < 0 ? rc : -EIO;
    snprintf(why, FLOW_WHY_MAX, "%s", e->message != NULL ? e->message : "");
    flow_why_tidy(why, rc);
    return rc;
}

/* ---- rules --------------------------------------------------------------------------------- */

static int make(struct flow_device *d, const struct rule *r, struct flow_rule *out,
                char why[FLOW_WHY_MAX])
{
    const struct flow_device_rte *self = self_of(d);
    const uint32_t own = 1u << RULE_RRDP_SOURCE | 1u << RULE_RRDP_CLASS | 1u << RULE_RRDP_TAG;
    const char *words;
    int rc = flow_rule_make(r, &self->words, out, &words);
    if (rc != 0)
        snprintf(why, FLOW_WHY_MAX, "%s",
                 r->fields & own && self->flex_why[0] != '\0' ? self->flex_why : words);
    return rc;
}

static uint16_t port_of(const struct flow_device_rte *self, bool transfer)
{
    return transfer ? self->switch_port : self->id;
}

/* The place of a rule in the embedded switch; NULL: it is not one. handle NULL: a free place. */
static void **switched(struct flow_device_rte *self, void *handle)
{
    for (unsigned i = 0; i < FLOW_SWITCHED_MAX; i++)
        if (self->switched[i] == handle)
            return &self->switched[i];
    return NULL;
}

static int rte_validate(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct rte_flow_error e = {0};
    struct flow_rule f;
    int rc = make(d, r, &f, why);
    if (rc != 0)
        return rc;
    rc = rte_flow_validate(port_of(self_of(d), r->transfer), &f.attr, f.item, f.action, &e);
    return rc == 0 ? 0 : flow_device_failed(rc, &e, why);
}

static int rte_create(struct flow_device *d, const struct rule *r, void **ret_handle,
                      char why[FLOW_WHY_MAX])
{
    struct flow_device_rte *self = self_of(d);
    struct rte_flow_error e = {0};
    struct flow_rule f;
    void **place = r->transfer ? switched(self, NULL) : NULL;
    int rc = make(d, r, &f, why);
    if (rc != 0)
        return rc;
    if (r->transfer && place == NULL) {
        snprintf(why, FLOW_WHY_MAX, "%d rules are in the embedded switch, as many as there may be",
                 FLOW_SWITCHED_MAX);
        return -ENOSPC;
    }
    struct rte_flow *flow =
        rte_flow_create(port_of(self, r->transfer), &f.attr, f.item, f.action, &e);
    if (flow == NULL)
        return flow_device_failed(-rte_errno, &e, why);
    if (place != NULL)
        *place = flow;
    *ret_handle = flow;
    return 0;
}

static int rte_destroy(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX])
{
    struct rte_flow_error e = {0};
    void **place = switched(self_of(d), handle);
    int rc = rte_flow_destroy(port_of(self_of(d), place != NULL), handle, &e);
    if (rc != 0)
        return flow_device_failed(rc, &e, why);
    if (place != NULL)
        *place = NULL;
    return 0;
}

static int rte_count(struct flow_device *d, void *handle, uint64_t *ret_frames, uint64_t *ret_bytes)
{
    const struct rte_flow_action action[] = {{.type = RTE_FLOW_ACTION_TYPE_COUNT},
                                             {.type = RTE_FLOW_ACTION_TYPE_END}};
    struct rte_flow_query_count c = {0};
    struct rte_flow_error e = {0};
    uint16_t port = port_of(self_of(d), switched(self_of(d), handle) != NULL);
    int rc = rte_flow_query(port, handle, action, &c, &e);
    if (rc != 0)
        return rc;
    if (!c.hits_set)
        return -ENODATA;
    *ret_frames = c.hits;
    *ret_bytes = c.bytes_set ? c.bytes : 0;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

void flow_device_rte_init(struct flow_device_rte *d, uint16_t id, enum link_kind kind,
                          enum nic_flex flex)
{
    static const struct flow_device_ops ops = {
        .validate = rte_validate, .create = rte_create, .destroy = rte_destroy, .count = rte_count};
    *d = (struct flow_device_rte){.device = {.ops = &ops},
                                  .id = id,
                                  .switch_port = id,
                                  .words = {.kind = kind, .flex = flex}};
}

static void open_flex(struct flow_device_rte *d, const struct flow_device_config *cfg)
{
    struct rte_flow_error e = {0};
    struct flow_flex f;
    const char *why;
    if (flow_flex_make(cfg->nic, d->words.kind, cfg->in->ethertype, cfg->in->link.udp_port, &f,
                       &why) != 0) {
        snprintf(d->flex_why, FLOW_WHY_MAX, "%s", why);
        return;
    }
    d->words.item = rte_flow_flex_item_create(d->id, &f.conf, &e);
    if (d->words.item == NULL)
        flow_device_failed(-rte_errno, &e, d->flex_why);
}

void flow_device_rte_open(struct flow_device_rte *d, const struct flow_device_config *cfg)
{
    struct rte_flow_error e = {0};
    uint16_t proxy;
    flow_device_rte_init(d, cfg->id, cfg->in->link.kind, cfg->nic->flex);
    d->words.own_port = cfg->in->own_port;
    d->words.wire_port = cfg->in->wire_port;
    memcpy(d->words.local_port, cfg->in->local_port, sizeof(d->words.local_port));
    if (cfg->nic->flex == NIC_FLEX_ITEM)
        open_flex(d, cfg);
    if (cfg->in->local == 0)
        return;
    d->switch_port = cfg->in->wire_port; /* where there is no proxy, the uplink's is the switch */
    if (rte_flow_pick_transfer_proxy(cfg->in->wire_port, &proxy, &e) == 0)
        d->switch_port = proxy;
}

void flow_device_rte_close(struct flow_device_rte *d)
{
    struct rte_flow_error e = {0};
    if (d->words.item != NULL)
        rte_flow_flex_item_release(d->id, d->words.item, &e);
    d->words.item = NULL;
}

void flow_device_close(struct flow_device *d)
{
    if (d != NULL && d->ops->close != NULL)
        d->ops->close(d);
}
