/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intents and rules as JSON, for DPDK's telemetry and `pando offload show`. A page of it: as many
 * elements as fit, intents first, then rules, each with a number over both.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "offload/flow/internal.h"

enum { ROOM_FOR_THE_REST = 64 }; /* brackets and "next" */

static const char *const state_name[] = {
    [INSTALL_PENDING] = "pending", [INSTALL_DONE] = "installed", [INSTALL_REFUSED] = "refused"};

/* What is shown, copied at one moment; the polling thread goes on counting meanwhile. */
struct seen {
    const struct offload *o;
    struct plan_input in;
    struct sieve sieve;
    bool sieved; /* it looks at the port's frames */
    struct install_counters calls;
    char note[FLOW_WHY_MAX]; /* how rules come to the NIC; "": there is none, or nothing to say */
    uint32_t intents, rules;
    struct intent_plan intent[PLAN_INTENTS_MAX];
    struct install_rule rule[INSTALL_LIST_MAX];
};

/* ---- what an intent did -------------------------------------------------------------------- */

static uint64_t of_class(const struct sieve *s, uint8_t cls)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < WIRE_NODES_MAX; n++)
        sum += s->frames[n][cls];
    return sum;
}

/* What the program in the kernel dropped; it does not count by node. -1: there is none, or more
 * than one node is meant. */
static int64_t dropped_by_xdp(const struct seen *s)
{
#ifdef PANDO_HAVE_AF_XDP
    struct port_af_xdp_counters c;
    if (bit64_count(s->in.fenced) != 1 || port_af_xdp_counters(s->o->port, &c) != 0)
        return -1;
    for (unsigned i = 0; port_af_xdp_reason(i).name != NULL; i++)
        if (strcmp(port_af_xdp_reason(i).name, "fenced") == 0)
            return (int64_t)c.steered[i];
#else
    (void)s;
#endif
    return -1;
}

/* Frames of the rules that serve it; false: there is one that does not count. */
static bool in_hardware(const struct seen *s, const struct intent *i, uint64_t *ret_frames)
{
    *ret_frames = 0;
    for (uint32_t k = 0; k < s->rules; k++) {
        const struct install_rule *r = &s->rule[k];
        if (r->state != INSTALL_DONE || !plan_serves(&r->rule, i))
            continue;
        if (!r->counted)
            return false;
        *ret_frames += r->frames;
    }
    return true;
}

/* -1: not known. What is not dropped comes by here, whoever steered it. */
static int64_t frames_of(const struct seen *seen, const struct intent *i)
{
    const struct sieve *s = &seen->sieve;
    uint64_t below;
    int64_t xdp = 0;
    switch (i->type) {
    case INTENT_STEER:
        return seen->sieved ? (int64_t)of_class(s, i->cls) : -1;
    case INTENT_COUNT:
        return seen->sieved ? (int64_t)s->frames[i->node][i->cls] : -1;
    case INTENT_FENCE_NODE:
        if (!in_hardware(seen, i, &below) || (seen->in.xdp && (xdp = dropped_by_xdp(seen)) < 0))
            return -1;
        return (int64_t)(s->fenced_node[i->node] + below) + xdp;
    case INTENT_FENCE_EPOCH:
        if (!in_hardware(seen, i, &below))
            return -1;
        for (uint32_t k = 0; k < seen->in.epochs; k++)
            if (seen->in.epoch[k].node == i->node && seen->in.epoch[k].tag == i->tag)
                return (int64_t)(s->fenced_epoch[k] + below);
        return -1;
    default:
        return -1;
    }
}

/* ---- words --------------------------------------------------------------------------------- */

/* Of the rules that an intent was to have: how many are there; the others are counted, with what
 * the driver said of one of them. */
static uint32_t rules_of(const struct seen *s, const struct intent *i, const char **ret_why,
                         uint32_t *ret_missing)
{
    uint32_t there = 0;
    *ret_missing = 0;
    *ret_why = "";
    for (uint32_t k = 0; k < s->rules; k++) {
        const struct install_rule *r = &s->rule[k];
        if (!plan_serves(&r->rule, i))
            continue;
        there += r->state == INSTALL_DONE;
        *ret_missing += r->state != INSTALL_DONE;
        if (r->state == INSTALL_REFUSED)
            *ret_why = r->why;
    }
    return there;
}

/* As planned; less what the NIC did not take, and with what others do that the plan does not know
 * of: the poll loop puts urgent frames first, and the port has seen to its group frames. */
static json_t *intent_json(const struct seen *s, const struct intent_plan *p)
{
    char text[PLAN_TEXT_MAX];
    const char *why;
    const struct offload *o = s->o;
    uint32_t missing, there = rules_of(s, &p->intent, &why, &missing);
    enum backend by = p->by;
    bool partly = p->partly || (there > 0 && missing > 0);
    const char *reason = p->reason;
    if (by == BACKEND_HARDWARE && there == 0 && missing > 0)
        by = BACKEND_SOFTWARE;
    if (missing > 0)
        reason = why[0] != '\0' ? why : "the NIC has not been told of all rules yet";
    if (p->intent.type == INTENT_STEER && by == BACKEND_NONE && s->sieve.order) {
        by = BACKEND_SOFTWARE;
        reason = "one queue; of the frames that are taken at a time the urgent ones come first";
    }
    if (p->intent.type == INTENT_GROUP && o->group_how[0] != '\0')
        reason = o->group_how;
    plan_intent_text(&p->intent, text, sizeof(text));
    return json_pack("{s:s, s:s, s:b, s:s, s:I}", "intent", text, "by", plan_backend_name(by),
                     "partly", partly, "reason", reason, "frames",
                     (json_int_t)frames_of(s, &p->intent));
}

static json_t *rule_json(const struct seen *s, const struct install_rule *r)
{
    char text[PLAN_TEXT_MAX];
    plan_rule_text(s->o->nic, &s->in, &r->rule, text, sizeof(text));
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "text", text, "state", state_name[r->state],
                     "error", r->why, "frames", r->counted ? (json_int_t)r->frames : -1, "bytes",
                     r->counted ? (json_int_t)r->bytes : -1);
}

/* A shape that the device takes nothing of is in no plan. */
static json_t *shapes_json(const struct seen *s)
{
    const struct offload *o = s->o;
    json_t *all = json_array();
    for (uint32_t k = 0; k < o->nic->templates && k < NIC_TEMPLATES_MAX; k++)
        if (s->in.refused_shapes >> k & 1)
            json_array_append_new(all, json_pack("{s:s, s:s}", "shape", o->nic->shape[k].name,
                                                 "error", o->shape_why[k]));
    return all;
}

static json_t *head_json(const struct seen *s)
{
    const struct offload *o = s->o;
    const struct install_counters *c = &s->calls;
    json_t *head = json_pack("{s:i, s:i, s:s, s:s, s:i, s:s, s:o, s:s}", "v", 1, "node",
                             s->in.link.self, "nic", o->nic->name, "driver", o->driver, "queues",
                             o->queues, "link", link_kind_name(s->in.link.kind), "refused_shapes",
                             shapes_json(s), "path", s->note);
    if (head != NULL && o->install != NULL)
        json_object_set_new(head, "calls",
                            json_pack("{s:I, s:I, s:I, s:I, s:f}", "all", (json_int_t)c->calls,
                                      "created", (json_int_t)c->created, "removed",
                                      (json_int_t)c->removed, "refused", (json_int_t)c->refused,
                                      "slowest_us", (double)c->slowest_ns / 1e3));
    return head;
}

/* ---- pages --------------------------------------------------------------------------------- */

/* Element `number` of intents and rules; NULL: no memory. */
static json_t *element(const struct seen *s, uint32_t number)
{
    return number < s->intents ? intent_json(s, &s->intent[number])
                               : rule_json(s, &s->rule[number - s->intents]);
}

/* The polling thread waits for no longer than this takes. */
static struct seen *look(struct offload *o)
{
    struct seen *s = malloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    pthread_mutex_lock(&o->lock);
    s->o = o;
    s->in = o->in;
    s->sieve = o->sieve;
    s->sieved = o->port->sieve == &o->sieve.hook;
    s->intents = o->plan.intents;
    memcpy(s->intent, o->plan.intent, s->intents * sizeof(s->intent[0]));
    s->note[0] = '\0';
    if (o->device != NULL && o->device->ops->note != NULL)
        o->device->ops->note(o->device, s->note);
    if (s->note[0] != '\0')
        flow_why_tidy(s->note, 0);
    s->rules = o->install != NULL ? install_list(o->install, s->rule) : 0;
    if (o->install != NULL)
        s->calls = *install_counters(o->install);
    pthread_mutex_unlock(&o->lock);
    return s;
}

static size_t length_of(const json_t *j)
{
    return j != NULL ? json_dumpb(j, NULL, 0, JSON_COMPACT) : 0;
}

/* Adds elements from number `from` on to *page, as many as fit. NULL there: no memory, here or
 * before. */
static void add_elements(const struct seen *s, uint32_t from, json_t **page)
{
    json_t *intents = json_array(), *rules = json_array();
    size_t used = length_of(*page) + ROOM_FOR_THE_REST;
    bool full = false, failed = *page == NULL;
    /* A telemetry answer is a JSON string: each quote and backslash of ours takes two bytes there,
     * but its limit is that of the string itself. */
    while (!failed && !full && from < s->intents + s->rules) {
        json_t *next = element(s, from);
        failed = next == NULL;
        used += length_of(next) + 1;
        full = used >= OFFLOAD_TEXT_MAX;
        if (full || failed)
            json_decref(next);
        else
            json_array_append_new(from++ < s->intents ? intents : rules, next);
    }
    json_object_set_new(*page, "intents", intents);
    json_object_set_new(*page, "rules", rules);
    json_object_set_new(*page, "next", json_integer(full ? from : 0));
    if (failed) {
        json_decref(*page);
        *page = NULL;
    }
}

static size_t text_of(const struct seen *s, uint32_t from, char out[OFFLOAD_TEXT_MAX])
{
    json_t *page = s != NULL ? head_json(s) : NULL;
    if (s != NULL)
        add_elements(s, from, &page);
    size_t n = page != NULL ? json_dumpb(page, out, OFFLOAD_TEXT_MAX - 1, JSON_COMPACT) : 0;
    n = n < OFFLOAD_TEXT_MAX ? n : 0;
    out[n] = '\0';
    json_decref(page);
    return n;
}

size_t offload_text(struct offload *o, uint32_t from, char out[OFFLOAD_TEXT_MAX])
{
    struct seen *s = look(o);
    size_t n = text_of(s, from, out);
    free(s);
    return n;
}

size_t offload_text_alone(uint8_t node, char out[OFFLOAD_TEXT_MAX])
{
    struct offload *nothing = calloc(1, sizeof(*nothing));
    struct seen *s = calloc(1, sizeof(*s));
    size_t n = 0;
    if (nothing != NULL && s != NULL) {
        nothing->nic = &nic_none;
        s->o = nothing;
        s->in.link.self = node;
        n = text_of(s, 0, out);
    }
    free(s);
    free(nothing);
    return n;
}
