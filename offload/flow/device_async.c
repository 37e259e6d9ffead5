/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules by flow queue 0 of a port.
 *
 * A rule goes into a table, which was made of a pattern template and an actions template; rules of
 * which the driver takes all or none share them. They are made when the first such rule is asked
 * for, which at open is the probe, and stay until close.
 *
 * An operation lies in the queue from the call that begins it until its result was pulled. The
 * driver's word on this (programmer's guide of 22.11, "Asynchronous operations"): it may change
 * their order; a creation's result comes before the removal may be begun; and a handle has to be
 * destroyed even if its creation failed.
 *
 *     FREE -> CREATE -> FREE                the rule is there
 *                    -> CLEAN_UP -> FREE    it failed, and a single call has the last word
 *             CLEAN_UP <-> WAITS            the driver does not take the removal yet
 *     FREE -> DESTROY -> FREE               the rule is gone; or it stays, and its handle is lost
 *
 * A refusal to begin an operation, or of what it needs, is answered by a single call (device.c). A
 * refusal to push or pull is not: what lies in the queue cannot be taken back, and done once more
 * it would be there twice. It stays under way, and the driver is asked again at each poll; what is
 * begun meanwhile goes by single calls.
 */
#define ALLOW_EXPERIMENTAL_API /* the template and asynchronous API */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>

#include "dataplane/base/text.h"
#include "dataplane/port/ethdev_device.h"
#include "offload/flow/device.h"
#include "offload/flow/pattern.h"

enum {
    QUEUE = 0,
    OPS_MAX = 64,
    MADE_MAX = 64, /* templates and tables together */
    SLOTS = PLAN_RULES_MAX,
    DRAIN_POLLS = 1000, /* at close, for handles of rules that failed */
    DRAIN_US = 100,     /* between two of them */
};

_Static_assert((int)ETH_FLOW_COUNTERS == (int)PLAN_RULES_MAX, "a counter for each rule");

/* A rule's handle. */
struct slot {
    void *flow;
    bool used;
    bool single; /* it was created by a single call */
    bool lost;   /* its removal failed, and with the call the driver's handle was given up */
};

enum op_state { FREE, CREATE, DESTROY, CLEAN_UP, WAITS };

struct op {
    enum op_state state;
    struct slot *slot; /* CREATE, DESTROY */
    struct rte_flow *flow;
    struct rule rule; /* CREATE */
};

enum made_what { PATTERN, ACTIONS, TABLE };

struct made {
    enum made_what what;
    struct rule like;       /* a rule that it is for */
    void *handle;           /* NULL: refused */
    char why[FLOW_WHY_MAX]; /* ... with these words */
};

struct flow_async {
    struct flow_device device;
    struct flow_device_rte single; /* the same port by single calls */
    const struct nic *nic;
    uint32_t depth;      /* operations that the queue holds; 0: there is none */
    uint32_t busy;       /* ... that are not FREE */
    uint32_t made_count; /* in the order in which they were made */
    bool unsent;
    bool broken;                   /* the last push was refused */
    char queue_why[FLOW_WHY_MAX];  /* why there is no queue, or the last refusal to push or pull */
    char single_why[FLOW_WHY_MAX]; /* why there was a single call; "": there was none */
    struct made made[MADE_MAX];
    struct op op[OPS_MAX];
    struct slot slot[SLOTS];
};

static struct flow_async *self_of(struct flow_device *d)
{
    return (struct flow_async *)d;
}

static void copy_why(char to[FLOW_WHY_MAX], const char *from)
{
    struct text t = text_begin(to, FLOW_WHY_MAX);
    text_str(&t, from);
}

/* "a: b"; only a where b is "". */
static void say(char out[FLOW_WHY_MAX], const char *a, const char *b)
{
    struct text t = text_begin(out, FLOW_WHY_MAX);
    text_str(&t, a);
    text_str(&t, b[0] != '\0' ? ": " : "");
    text_str(&t, b);
}

/* Both refusals, as far as there is room. */
static void join_why(char to[FLOW_WHY_MAX], const char *queue, const char *single)
{
    struct text t = text_begin(to, FLOW_WHY_MAX);
    text_str(&t, queue);
    text_str(&t, queue[0] != '\0' ? "; by a single call: " : "");
    text_str(&t, single);
}

/* ---- templates and tables ------------------------------------------------------------------ */

static bool is_for(const struct made *m, enum made_what what, const struct rule *r)
{
    const struct rule *l = &m->like;
    bool pattern = l->fields == r->fields && l->tagged == r->tagged;
    bool actions = l->actions == r->actions;
    if (m->what != what)
        return false;
    if (what == PATTERN)
        return pattern;
    if (what == ACTIONS)
        return actions;
    return pattern && actions && l->shape == r->shape && l->group == r->group &&
           l->priority == r->priority;
}

static struct made *find_made(struct flow_async *a, enum made_what what, const struct rule *r)
{
    for (uint32_t i = 0; i < a->made_count; i++)
        if (is_for(&a->made[i], what, r))
            return &a->made[i];
    return NULL;
}

static void *make_pattern(struct flow_async *a, const struct flow_rule *f, struct rte_flow_error *e)
{
    const struct rte_flow_pattern_template_attr attr = {.ingress = 1};
    return rte_flow_pattern_template_create(a->single.id, &attr, f->item, e);
}

/* All values come with the rules: the mask of each action is empty. */
static void *make_actions(struct flow_async *a, const struct flow_rule *f, struct rte_flow_error *e)
{
    const struct rte_flow_actions_template_attr attr = {.ingress = 1};
    struct rte_flow_action mask[FLOW_ACTIONS] = {0};
    for (unsigned i = 0; i < FLOW_ACTIONS; i++)
        mask[i].type = f->action[i].type;
    return rte_flow_actions_template_create(a->single.id, &attr, f->action, mask, e);
}

static void *make_table(struct flow_async *a, const struct rule *r, const struct flow_rule *f,
                        struct rte_flow_error *e)
{
    struct rte_flow_pattern_template *pattern = find_made(a, PATTERN, r)->handle;
    struct rte_flow_actions_template *actions = find_made(a, ACTIONS, r)->handle;
    uint16_t capacity = r->shape < a->nic->templates ? a->nic->shape[r->shape].capacity : 0;
    const struct rte_flow_template_table_attr attr = {
        .flow_attr = f->attr,
        .nb_flows =
            capacity != NIC_RULES_UNKNOWN && capacity < PLAN_RULES_MAX ? capacity : PLAN_RULES_MAX};
    return rte_flow_template_table_create(a->single.id, &attr, &pattern, 1, &actions, 1, e);
}

/* Made now, if it was not before. NULL: there is no room for more. */
static struct made *made_for(struct flow_async *a, enum made_what what, const struct rule *r,
                             const struct flow_rule *f)
{
    struct rte_flow_error e = {0};
    struct made *m = find_made(a, what, r);
    if (m != NULL || a->made_count == MADE_MAX)
        return m;
    m = &a->made[a->made_count++];
    *m = (struct made){.what = what, .like = *r};
    m->handle = what == PATTERN   ? make_pattern(a, f, &e)
                : what == ACTIONS ? make_actions(a, f, &e)
                                  : make_table(a, r, f, &e);
    if (m->handle == NULL)
        flow_device_failed(-rte_errno, &e, m->why);
    return m;
}

/* The table for a rule; NULL: it goes by a single call, *why. */
static void *table_for(struct flow_async *a, const struct rule *r, const struct flow_rule *f,
                       const char **why)
{
    const struct made *m = NULL;
    *why = "";
    if (a->depth == 0)
        return NULL;
    if (r->transfer) {
        *why = "rules in the embedded switch are another port's";
        return NULL;
    }
    for (enum made_what what = PATTERN; what <= TABLE; what++) {
        m = made_for(a, what, r, f);
        if (m == NULL || m->handle == NULL) {
            *why = m != NULL ? m->why : "there are 64 templates and tables, and no room for more";
            return NULL;
        }
    }
    return m->handle;
}

static void destroy_made(struct flow_async *a)
{
    struct rte_flow_error e = {0};
    while (a->made_count > 0) {
        struct made *m = &a->made[--a->made_count];
        if (m->handle == NULL)
            continue;
        if (m->what == TABLE)
            rte_flow_template_table_destroy(a->single.id, m->handle, &e);
        else if (m->what == ACTIONS)
            rte_flow_actions_template_destroy(a->single.id, m->handle, &e);
        else
            rte_flow_pattern_template_destroy(a->single.id, m->handle, &e);
    }
}

/* ---- operations ---------------------------------------------------------------------------- */

static struct op *take_op(struct flow_async *a)
{
    for (uint32_t i = 0; i < a->depth; i++)
        if (a->op[i].state == FREE) {
            a->busy++;
            return &a->op[i];
        }
    return NULL;
}

/* Whether results are to come. */
static bool in_queue(const struct flow_async *a)
{
    for (uint32_t i = 0; i < a->depth; i++)
        if (a->op[i].state != FREE && a->op[i].state != WAITS)
            return true;
    return false;
}

static void free_op(struct flow_async *a, struct op *op)
{
    *op = (struct op){.state = FREE};
    a->busy--;
}

static struct slot *take_slot(struct flow_async *a)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        if (!a->slot[i].used) {
            a->slot[i] = (struct slot){.used = true};
            return &a->slot[i];
        }
    return NULL;
}

/* reason: why it is a single call. */
static int by_single_call(struct flow_async *a, struct slot *s, const struct rule *r,
                          const char *reason, char why[FLOW_WHY_MAX])
{
    char own[FLOW_WHY_MAX];
    int rc = a->single.device.ops->create(&a->single.device, r, &s->flow, own);
    if (rc != 0) {
        join_why(why, reason, own);
        return rc;
    }
    s->single = true;
    if (reason[0] != '\0')
        copy_why(a->single_why, reason);
    return 0;
}

/* Begins the removal of op->flow. */
static int begin_removal(struct flow_async *a, struct op *op, enum op_state state,
                         char why[FLOW_WHY_MAX])
{
    const struct rte_flow_op_attr attr = {.postpone = 1};
    struct rte_flow_error e = {0};
    int rc = rte_flow_async_destroy(a->single.id, QUEUE, &attr, op->flow, op, &e);
    if (rc != 0)
        return flow_device_failed(rc, &e, why);
    op->state = state;
    a->unsent = true;
    return 0;
}

/* Where the driver refuses, it is asked again at the next poll. */
static void clean_up(struct flow_async *a, struct op *op)
{
    char why[FLOW_WHY_MAX];
    if (begin_removal(a, op, CLEAN_UP, why) != 0)
        op->state = WAITS;
}

/* ---- rules --------------------------------------------------------------------------------- */

static const char keeps[] = "the driver keeps all handles of rules that failed";

static int async_validate(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX])
{
    struct flow_async *a = self_of(d);
    const char *reason = "", *words;
    struct flow_rule f;
    char own[FLOW_WHY_MAX];
    if (flow_rule_make(r, &a->single.words, &f, &words) == 0 &&
        table_for(a, r, &f, &reason) != NULL)
        return 0;
    int rc = a->single.device.ops->validate(&a->single.device, r, own);
    if (rc != 0)
        join_why(why, reason, own);
    return rc;
}

static int begin(struct flow_async *a, const struct rule *r, struct slot *s, char why[FLOW_WHY_MAX])
{
    const struct rte_flow_op_attr attr = {.postpone = 1};
    struct rte_flow_error e = {0};
    struct flow_rule f;
    const char *reason;
    char refusal[FLOW_WHY_MAX];
    int rc = flow_rule_make(r, &a->single.words, &f, &reason);
    void *table = rc == 0 ? table_for(a, r, &f, &reason) : NULL;
    if (rc != 0 || table == NULL || a->broken)
        return by_single_call(a, s, r, rc != 0 ? "" : table == NULL ? reason : a->queue_why, why);
    struct op *op = take_op(a);
    if (op == NULL)
        return in_queue(a) ? -EAGAIN : by_single_call(a, s, r, keeps, why);
    op->flow =
        rte_flow_async_create(a->single.id, QUEUE, &attr, table, f.item, 0, f.action, 0, op, &e);
    if (op->flow == NULL) {
        free_op(a, op);
        if (in_queue(a)) /* it may be the room: drivers have no common word for it */
            return -EAGAIN;
        flow_device_failed(-rte_errno, &e, refusal);
        return by_single_call(a, s, r, refusal, why);
    }
    op->state = CREATE;
    op->slot = s;
    op->rule = *r;
    a->unsent = true;
    return -EINPROGRESS;
}

static int async_create(struct flow_device *d, const struct rule *r, void **ret_handle,
                        char why[FLOW_WHY_MAX])
{
    struct flow_async *a = self_of(d);
    struct slot *s = take_slot(a);
    if (s == NULL) {
        copy_why(why, "too many rules at a time");
        return -ENOSPC;
    }
    int rc = begin(a, r, s, why);
    if (rc == 0 || rc == -EINPROGRESS)
        *ret_handle = s;
    else
        s->used = false;
    return rc;
}

static int async_destroy(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX])
{
    struct flow_async *a = self_of(d);
    struct slot *s = handle;
    if (s->lost) {
        copy_why(why, "its removal failed, and the driver has given up its handle");
        return -EIO;
    }
    if (s->single) {
        int rc = a->single.device.ops->destroy(&a->single.device, s->flow, why);
        s->used = rc != 0;
        return rc;
    }
    struct op *op = take_op(a);
    if (op == NULL) {
        copy_why(why, keeps);
        return in_queue(a) ? -EAGAIN : -EBUSY;
    }
    op->slot = s;
    op->flow = s->flow;
    int rc = begin_removal(a, op, DESTROY, why);
    if (rc == 0)
        return -EINPROGRESS;
    free_op(a, op);
    return in_queue(a) ? -EAGAIN : rc;
}

static int async_count(struct flow_device *d, void *handle, uint64_t *ret_frames,
                       uint64_t *ret_bytes)
{
    struct flow_async *a = self_of(d);
    const struct slot *s = handle;
    if (s->lost)
        return -ENOENT;
    return a->single.device.ops->count(&a->single.device, s->flow, ret_frames, ret_bytes);
}

/* ---- results ------------------------------------------------------------------------------- */

static uint32_t end_creation(struct flow_async *a, struct op *op, bool ok, struct flow_done *ret)
{
    struct slot *s = op->slot;
    *ret = (struct flow_done){.handle = s};
    if (ok) {
        s->flow = op->flow;
        free_op(a, op);
        return 1;
    }
    ret->rc = by_single_call(a, s, &op->rule, "the NIC rejected the rule", ret->why);
    s->used = ret->rc == 0;
    clean_up(a, op);
    return 1;
}

static uint32_t end_removal(struct flow_async *a, struct op *op, bool ok, struct flow_done *ret)
{
    *ret = (struct flow_done){.handle = op->slot, .rc = ok ? 0 : -EIO};
    op->slot->used = !ok;
    op->slot->lost = !ok;
    if (!ok)
        copy_why(ret->why, "the NIC did not remove the rule");
    free_op(a, op);
    return 1;
}

static uint32_t ended(struct flow_async *a, const struct rte_flow_op_result *res,
                      struct flow_done *ret)
{
    struct op *op = res->user_data;
    bool ok = res->status == RTE_FLOW_OP_SUCCESS;
    switch (op->state) {
    case CREATE:
        return end_creation(a, op, ok, ret);
    case DESTROY:
        return end_removal(a, op, ok, ret);
    case CLEAN_UP:
        free_op(a, op);
        return 0;
    default:
        return 0;
    }
}

static void push(struct flow_async *a)
{
    struct rte_flow_error e = {0};
    int rc = rte_flow_push(a->single.id, QUEUE, &e);
    a->broken = rc != 0;
    if (a->broken)
        flow_device_failed(rc, &e, a->queue_why);
    else
        a->unsent = false;
}

static uint32_t async_poll(struct flow_device *d, struct flow_done *ret_done, uint32_t max)
{
    struct flow_async *a = self_of(d);
    struct rte_flow_op_result res[OPS_MAX];
    struct rte_flow_error e = {0};
    uint32_t n = 0;
    if (a->busy == 0)
        return 0;
    for (uint32_t i = 0; i < a->depth; i++)
        if (a->op[i].state == WAITS)
            clean_up(a, &a->op[i]);
    if (a->unsent)
        push(a);
    uint16_t room = (uint16_t)(max < OPS_MAX ? max : OPS_MAX);
    int got = rte_flow_pull(a->single.id, QUEUE, res, room, &e);
    if (got < 0)
        flow_device_failed(got, &e, a->queue_why);
    else if (!a->broken)
        a->queue_why[0] = '\0';
    for (int i = 0; i < got; i++)
        n += ended(a, &res[i], &ret_done[n]);
    return n;
}

static void async_note(const struct flow_device *d, char out[FLOW_WHY_MAX])
{
    const struct flow_async *a = (const struct flow_async *)d;
    if (a->depth == 0)
        say(out, "single calls", a->queue_why);
    else if (a->queue_why[0] != '\0')
        say(out, "flow queue, refused by the driver", a->queue_why);
    else
        say(out, a->single_why[0] != '\0' ? "flow queue and single calls" : "flow queue",
            a->single_why);
}

/* ---- open and close ------------------------------------------------------------------------ */

static void async_close(struct flow_device *d)
{
    struct flow_async *a = self_of(d);
    struct flow_done done[OPS_MAX];
    for (unsigned i = 0; i < DRAIN_POLLS && a->busy > 0; i++) {
        async_poll(d, done, OPS_MAX);
        if (a->busy > 0)
            usleep(DRAIN_US);
    }
    destroy_made(a);
    flow_device_rte_close(&a->single);
    free(a);
}

int flow_device_open(const struct flow_device_config *cfg, struct flow_device **ret)
{
    static const struct flow_device_ops ops = {.validate = async_validate,
                                               .create = async_create,
                                               .destroy = async_destroy,
                                               .count = async_count,
                                               .poll = async_poll,
                                               .note = async_note,
                                               .close = async_close};
    struct flow_async *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->device.ops = &ops;
    a->nic = cfg->nic;
    if (cfg->nic->async) {
        a->depth = cfg->flow_queue < OPS_MAX ? cfg->flow_queue : OPS_MAX;
        copy_why(a->queue_why, a->depth == 0 ? cfg->flow_why : "");
    }
    flow_device_rte_open(&a->single, cfg);
    *ret = &a->device;
    return 0;
}
