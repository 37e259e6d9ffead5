/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API
#include "tests/unit/fake_flow.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_errno.h>
#include <rte_flow.h>

#include "dataplane/base/prng.h"

enum { OBJECTS = 128, RULES = 2048, OPS = 256, PARTS = 8 };

#define X(ID, words) [FAKE_##ID] = words,
const char *const fake_words[FAKE_CALLS] = {FAKE_CALL_LIST(X)};
#undef X

struct fake_nic fake_nic;

/* ---- what is there ------------------------------------------------------------------------- */

enum object_type { NOTHING, ITEM, PATTERN, ACTIONS, TABLE };

struct object {
    enum object_type type;
    uint32_t made, users;
    bool ingress, transfer;
    unsigned parts; /* of PATTERN, ACTIONS, with the end */
    int part[PARTS];
    size_t mask_len[PARTS]; /* 0: none */
    uint8_t mask[PARTS][64];
    struct rte_flow_attr attr; /* TABLE */
    uint32_t size;
    struct object *pattern, *actions;
};

enum rule_state { FREE, BEGUN, IN, REJECTED, LEAVING, LOST };

struct rule_there {
    enum rule_state state;
    bool single, counts, in_nic;
    struct object *table;
    struct fake_image image;
};

struct operation {
    bool used, pushed, removes;
    uint32_t wait;
    struct rule_there *rule;
    void *user_data;
};

static struct object object[OBJECTS];
static struct rule_there rule[RULES];
static struct operation operation[OPS];
static uint32_t made;
static bool configured, reorder;
static struct prng random_numbers;

void fake_reset(uint64_t seed)
{
    memset(&fake_nic, 0, sizeof(fake_nic));
    memset(object, 0, sizeof(object));
    memset(rule, 0, sizeof(rule));
    memset(operation, 0, sizeof(operation));
    made = 0;
    configured = false;
    reorder = seed != 0;
    random_numbers = (struct prng){.state = seed};
    fake_nic.queues = UINT32_MAX; /* as mlx5 says */
    fake_nic.queue_size = UINT32_MAX;
    fake_nic.counters = 1 << 20;
}

void fake_end(void)
{
    for (unsigned i = 0; i < OBJECTS; i++)
        if (object[i].type != NOTHING)
            fail_msg("object %u of type %d is left behind", object[i].made, object[i].type);
    for (unsigned i = 0; i < RULES; i++)
        if (rule[i].state != FREE && rule[i].state != LOST)
            fail_msg("a rule is left behind, in state %d", rule[i].state);
    for (unsigned i = 0; i < OPS; i++)
        assert_false(operation[i].used);
}

/* Counts the call; true: it is refused, with *e. */
static bool refused(enum fake_call c, int error, struct rte_flow_error *e)
{
    fake_nic.calls[c]++;
    if (fake_nic.refuse[c] == 0)
        return false;
    if (fake_nic.refuse[c] != FAKE_FOREVER)
        fake_nic.refuse[c]--;
    rte_flow_error_set(e, error, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, fake_words[c]);
    return true;
}

/* Not DPDK's: without the library's own state. */
int rte_flow_error_set(struct rte_flow_error *e, int code, enum rte_flow_error_type type,
                       const void *cause, const char *message)
{
    if (e != NULL)
        *e = (struct rte_flow_error){type, cause, message};
    rte_errno = code;
    return -code;
}

static struct object *new_object(enum object_type type)
{
    for (unsigned i = 0; i < OBJECTS; i++)
        if (object[i].type == NOTHING) {
            object[i] = (struct object){.type = type, .made = ++made};
            return &object[i];
        }
    fail_msg("more than %d objects", OBJECTS);
    return NULL;
}

static void check_object(const struct object *o, enum object_type type)
{
    if (o < object || o >= object + OBJECTS || o->type != type)
        fail_msg("no such object of type %d", type);
}

/* The last one that is there, and nobody needs it. */
static void end_object(struct object *o, enum object_type type)
{
    check_object(o, type);
    if (o->users != 0)
        fail_msg("an object of type %d is destroyed that %u others need", type, o->users);
    for (unsigned i = 0; i < OBJECTS; i++)
        if (object[i].type != NOTHING && object[i].made > o->made)
            fail_msg("an object of type %d is destroyed before a later one of type %d", type,
                     object[i].type);
    o->type = NOTHING;
}

/* ---- images -------------------------------------------------------------------------------- */

static size_t item_bytes(const struct rte_flow_item *i)
{
    switch ((int)i->type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
        return sizeof(struct rte_flow_item_eth);
    case RTE_FLOW_ITEM_TYPE_VLAN:
        return sizeof(struct rte_flow_item_vlan);
    case RTE_FLOW_ITEM_TYPE_IPV4:
        return sizeof(struct rte_flow_item_ipv4);
    case RTE_FLOW_ITEM_TYPE_IPV6:
        return sizeof(struct rte_flow_item_ipv6);
    case RTE_FLOW_ITEM_TYPE_UDP:
        return sizeof(struct rte_flow_item_udp);
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
        return sizeof(struct rte_flow_item_port_id);
    case RTE_FLOW_ITEM_TYPE_FLEX:
        return ((const struct rte_flow_item_flex *)i->mask)->length;
    default:
        fail_msg("item of type %d", i->type);
        return 0;
    }
}

/* The bytes that a value or mask is made of. */
static const uint8_t *item_part(const struct rte_flow_item *i, const void *part)
{
    const struct rte_flow_item_flex *f = part;
    if (i->type != RTE_FLOW_ITEM_TYPE_FLEX || part == NULL)
        return part;
    check_object((const struct object *)(const void *)f->handle, ITEM);
    return f->pattern;
}

static void put(struct fake_image *to, const void *bytes, size_t len)
{
    assert_true(to->len + len <= sizeof(to->bytes));
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
}

static void put_number(struct fake_image *to, uint32_t v)
{
    put(to, &v, sizeof(v));
}

static void put_action(struct fake_image *to, const struct rte_flow_action *a)
{
    put_number(to, (uint32_t)a->type);
    if (a->type == RTE_FLOW_ACTION_TYPE_QUEUE) {
        put_number(to, ((const struct rte_flow_action_queue *)a->conf)->index);
    } else if (a->type == RTE_FLOW_ACTION_TYPE_MARK) {
        put_number(to, ((const struct rte_flow_action_mark *)a->conf)->id);
    } else if (a->type == RTE_FLOW_ACTION_TYPE_PORT_ID) {
        put_number(to, ((const struct rte_flow_action_port_id *)a->conf)->id);
    } else if (a->type == RTE_FLOW_ACTION_TYPE_SAMPLE) {
        const struct rte_flow_action_sample *s = a->conf;
        put_number(to, s->ratio);
        for (const struct rte_flow_action *sub = s->actions;; sub++) {
            put_action(to, sub);
            if (sub->type == RTE_FLOW_ACTION_TYPE_END)
                break;
        }
    } else if (a->type != RTE_FLOW_ACTION_TYPE_COUNT && a->type != RTE_FLOW_ACTION_TYPE_DROP &&
               a->type != RTE_FLOW_ACTION_TYPE_END) {
        fail_msg("action of type %d", a->type);
    }
}

void fake_image_of(uint16_t port, const struct rte_flow_attr *attr,
                   const struct rte_flow_item *item, const struct rte_flow_action *action,
                   struct fake_image *ret)
{
    *ret = (struct fake_image){.port = port};
    put(ret, attr, sizeof(*attr));
    for (; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
        size_t len = item->mask != NULL ? item_bytes(item) : 0;
        put_number(ret, (uint32_t)item->type);
        if (len == 0)
            continue;
        put(ret, item_part(item, item->spec), len);
        put(ret, item_part(item, item->mask), len);
    }
    ret->pattern = ret->len;
    for (;; action++) {
        put_action(ret, action);
        if (action->type == RTE_FLOW_ACTION_TYPE_END)
            return;
    }
}

bool fake_rule(uint32_t number, struct fake_image *ret)
{
    for (unsigned i = 0; i < RULES; i++)
        if (rule[i].in_nic && number-- == 0) {
            *ret = rule[i].image;
            return true;
        }
    return false;
}

/* ---- the NIC ------------------------------------------------------------------------------- */

static struct rule_there *new_rule(bool single)
{
    for (unsigned i = 0; i < RULES; i++)
        if (rule[i].state == FREE) {
            rule[i] = (struct rule_there){.single = single};
            return &rule[i];
        }
    fail_msg("more than %d rules", RULES);
    return NULL;
}

static bool has_action(const struct rte_flow_action *a, enum rte_flow_action_type type)
{
    while (a->type != RTE_FLOW_ACTION_TYPE_END && a->type != type)
        a++;
    return a->type == type;
}

static void write_log(const struct rule_there *r, bool comes)
{
    uint32_t action;
    char c = 'Q';
    for (size_t at = r->image.pattern; at + 4 <= r->image.len; at += 4) {
        memcpy(&action, r->image.bytes + at, 4);
        if (action == RTE_FLOW_ACTION_TYPE_DROP && at + 8 == r->image.len)
            c = 'D';
    }
    size_t len = strlen(fake_nic.log);
    if (len < FAKE_LOG)
        fake_nic.log[len] = (char)(comes ? c : c + 'a' - 'A');
}

static void comes(struct rule_there *r)
{
    for (unsigned i = 0; i < RULES; i++)
        if (rule[i].in_nic && rule[i].image.port == r->image.port &&
            rule[i].image.pattern == r->image.pattern &&
            memcmp(rule[i].image.bytes, r->image.bytes, r->image.pattern) == 0)
            fail_msg("a pattern is there twice");
    r->in_nic = true;
    fake_nic.rules++;
    fake_nic.by_queue += !r->single;
    write_log(r, true);
}

static void goes(struct rule_there *r)
{
    r->in_nic = false;
    fake_nic.rules--;
    fake_nic.by_queue -= !r->single;
    write_log(r, false);
}

static bool one_less(uint32_t *n)
{
    if (*n == 0)
        return false;
    *n -= *n != FAKE_FOREVER;
    return true;
}

/* Its result: true is success. */
static bool carry_out(struct operation *o)
{
    struct rule_there *r = o->rule;
    if (!o->removes) {
        bool full = fake_nic.room != 0 && fake_nic.rules == fake_nic.room;
        bool ok = !one_less(&fake_nic.reject_creations) && !full;
        r->state = ok ? IN : REJECTED;
        if (ok)
            comes(r);
        return ok;
    }
    r->table->users--;
    if (r->in_nic && one_less(&fake_nic.reject_removals)) {
        r->state = LOST;
        fake_nic.lost++;
        return false;
    }
    if (r->in_nic)
        goes(r);
    r->state = FREE;
    return true;
}

/* ---- single calls -------------------------------------------------------------------------- */

static void check_port(uint16_t port, const struct rte_flow_attr *attr)
{
    assert_int_equal(port, attr->transfer ? FAKE_PROXY_PORT : FAKE_PORT);
    assert_true(attr->ingress != attr->transfer && !attr->egress);
}

int rte_flow_validate(uint16_t port, const struct rte_flow_attr *attr,
                      const struct rte_flow_item item[], const struct rte_flow_action action[],
                      struct rte_flow_error *e)
{
    struct fake_image i;
    check_port(port, attr);
    fake_image_of(port, attr, item, action, &i);
    return refused(FAKE_SINGLE_VALIDATE, ENOTSUP, e) ? -ENOTSUP : 0;
}

struct rte_flow *rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
                                 const struct rte_flow_item item[],
                                 const struct rte_flow_action action[], struct rte_flow_error *e)
{
    assert_true(fake_nic.started);
    check_port(port, attr);
    if (refused(FAKE_SINGLE_CREATE, ENOTSUP, e))
        return NULL;
    struct rule_there *r = new_rule(true);
    fake_image_of(port, attr, item, action, &r->image);
    r->counts = has_action(action, RTE_FLOW_ACTION_TYPE_COUNT);
    r->state = IN;
    comes(r);
    return (struct rte_flow *)(void *)r;
}

static struct rule_there *check_rule(uint16_t port, struct rte_flow *flow)
{
    struct rule_there *r = (struct rule_there *)(void *)flow;
    if (r < rule || r >= rule + RULES || r->state == FREE || r->state == LOST)
        fail_msg("no such rule");
    assert_int_equal(port, r->image.port);
    return r;
}

int rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *e)
{
    struct rule_there *r = check_rule(port, flow);
    assert_true(r->single);
    if (refused(FAKE_SINGLE_DESTROY, ENOTSUP, e))
        return -ENOTSUP;
    goes(r);
    r->state = FREE;
    return 0;
}

int rte_flow_query(uint16_t port, struct rte_flow *flow, const struct rte_flow_action *action,
                   void *data, struct rte_flow_error *e)
{
    const struct rule_there *r = check_rule(port, flow);
    struct rte_flow_query_count *c = data;
    (void)e;
    assert_true(r->state == IN && r->counts && action->type == RTE_FLOW_ACTION_TYPE_COUNT);
    c->hits_set = c->bytes_set = 1;
    c->hits = fake_nic.frames;
    c->bytes = fake_nic.frames * 100;
    return 0;
}

int rte_flow_pick_transfer_proxy(uint16_t port, uint16_t *proxy, struct rte_flow_error *e)
{
    (void)port;
    if (refused(FAKE_PROXY, ENODEV, e))
        return -ENODEV;
    *proxy = FAKE_PROXY_PORT;
    return 0;
}

struct rte_flow_item_flex_handle *
rte_flow_flex_item_create(uint16_t port, const struct rte_flow_item_flex_conf *conf,
                          struct rte_flow_error *e)
{
    assert_int_equal(port, FAKE_PORT);
    if (refused(FAKE_FLEX, ENOTSUP, e))
        return NULL;
    /* As mlx5 takes it. */
    assert_true(conf->next_header.field_mode == FIELD_MODE_FIXED &&
                conf->next_header.field_base % 8 == 0 && conf->next_header.field_size == 0);
    assert_true(conf->nb_inputs == 1 && conf->nb_outputs == 0 && conf->nb_samples <= 8 &&
                conf->next_protocol.field_mode == FIELD_MODE_DUMMY);
    fake_nic.items++;
    return (struct rte_flow_item_flex_handle *)(void *)new_object(ITEM);
}

struct rte_flow_item_flex_handle *fake_item(void)
{
    for (unsigned i = 0; i < OBJECTS; i++)
        if (object[i].type == ITEM)
            return (struct rte_flow_item_flex_handle *)(void *)&object[i];
    return NULL;
}

int rte_flow_flex_item_release(uint16_t port, const struct rte_flow_item_flex_handle *handle,
                               struct rte_flow_error *e)
{
    (void)e;
    assert_int_equal(port, FAKE_PORT);
    end_object((struct object *)(uintptr_t)(const void *)handle, ITEM);
    fake_nic.items--;
    return 0;
}

/* ---- configuration, templates, tables ------------------------------------------------------ */

int rte_flow_info_get(uint16_t port, struct rte_flow_port_info *info,
                      struct rte_flow_queue_info *queue, struct rte_flow_error *e)
{
    (void)port;
    if (refused(FAKE_INFO, ENOTSUP, e))
        return -ENOTSUP;
    info->max_nb_queues = fake_nic.queues;
    info->max_nb_counters = fake_nic.counters;
    queue->max_size = fake_nic.queue_size;
    return 0;
}

int rte_flow_configure(uint16_t port, const struct rte_flow_port_attr *attr, uint16_t queues,
                       const struct rte_flow_queue_attr *queue[], struct rte_flow_error *e)
{
    (void)port;
    assert_false(fake_nic.started);
    assert_true(queues == 1 && queue[0]->size > 0 && queue[0]->size <= fake_nic.queue_size &&
                attr->nb_counters <= fake_nic.counters);
    if (refused(FAKE_CONFIGURE, EINVAL, e))
        return -EINVAL;
    fake_nic.configured_queue = queue[0]->size;
    fake_nic.configured_counters = attr->nb_counters;
    configured = true;
    return 0;
}

struct rte_flow_pattern_template *
rte_flow_pattern_template_create(uint16_t port, const struct rte_flow_pattern_template_attr *attr,
                                 const struct rte_flow_item item[], struct rte_flow_error *e)
{
    assert_true(configured && port == FAKE_PORT && attr->ingress + attr->transfer == 1);
    if (refused(FAKE_PATTERN, EINVAL, e))
        return NULL;
    struct object *o = new_object(PATTERN);
    o->ingress = attr->ingress;
    o->transfer = attr->transfer;
    do {
        const struct rte_flow_item *i = &item[o->parts];
        assert_true(o->parts < PARTS);
        o->part[o->parts] = (int)i->type;
        if (i->type != RTE_FLOW_ITEM_TYPE_END && i->mask != NULL) {
            o->mask_len[o->parts] = item_bytes(i);
            memcpy(o->mask[o->parts], item_part(i, i->mask), item_bytes(i));
        }
    } while (item[o->parts++].type != RTE_FLOW_ITEM_TYPE_END);
    fake_nic.patterns++;
    return (struct rte_flow_pattern_template *)(void *)o;
}

int rte_flow_pattern_template_destroy(uint16_t port, struct rte_flow_pattern_template *t,
                                      struct rte_flow_error *e)
{
    (void)port, (void)e;
    end_object((struct object *)(void *)t, PATTERN);
    fake_nic.patterns--;
    return 0;
}

struct rte_flow_actions_template *
rte_flow_actions_template_create(uint16_t port, const struct rte_flow_actions_template_attr *attr,
                                 const struct rte_flow_action action[],
                                 const struct rte_flow_action mask[], struct rte_flow_error *e)
{
    assert_true(configured && port == FAKE_PORT && attr->ingress + attr->transfer == 1);
    if (refused(FAKE_ACTIONS, ENOTSUP, e))
        return NULL;
    struct object *o = new_object(ACTIONS);
    o->ingress = attr->ingress;
    o->transfer = attr->transfer;
    do {
        assert_true(o->parts < PARTS && mask[o->parts].type == action[o->parts].type);
        assert_null(mask[o->parts].conf); /* this fake knows no constants */
        o->part[o->parts] = (int)action[o->parts].type;
    } while (action[o->parts++].type != RTE_FLOW_ACTION_TYPE_END);
    fake_nic.actions++;
    return (struct rte_flow_actions_template *)(void *)o;
}

int rte_flow_actions_template_destroy(uint16_t port, struct rte_flow_actions_template *t,
                                      struct rte_flow_error *e)
{
    (void)port, (void)e;
    end_object((struct object *)(void *)t, ACTIONS);
    fake_nic.actions--;
    return 0;
}

struct rte_flow_template_table *
rte_flow_template_table_create(uint16_t port, const struct rte_flow_template_table_attr *attr,
                               struct rte_flow_pattern_template *pattern[], uint8_t patterns,
                               struct rte_flow_actions_template *actions[], uint8_t actions_count,
                               struct rte_flow_error *e)
{
    struct object *p = (struct object *)(void *)pattern[0];
    struct object *a = (struct object *)(void *)actions[0];
    assert_true(port == FAKE_PORT && patterns == 1 && actions_count == 1 && attr->nb_flows > 0);
    check_object(p, PATTERN);
    check_object(a, ACTIONS);
    assert_true(p->ingress == attr->flow_attr.ingress && a->ingress == attr->flow_attr.ingress);
    if (refused(FAKE_TABLE, EINVAL, e))
        return NULL;
    struct object *o = new_object(TABLE);
    o->attr = attr->flow_attr;
    o->size = attr->nb_flows;
    o->pattern = p;
    o->actions = a;
    p->users++;
    a->users++;
    fake_nic.tables++;
    fake_nic.table_size = o->size;
    return (struct rte_flow_template_table *)(void *)o;
}

int rte_flow_template_table_destroy(uint16_t port, struct rte_flow_template_table *t,
                                    struct rte_flow_error *e)
{
    struct object *o = (struct object *)(void *)t;
    (void)port, (void)e;
    end_object(o, TABLE);
    o->pattern->users--;
    o->actions->users--;
    fake_nic.tables--;
    return 0;
}

/* ---- the queue ----------------------------------------------------------------------------- */

uint32_t fake_in_queue(void)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < OPS; i++)
        n += operation[i].used;
    return n;
}

static bool has_room(enum fake_call c, struct rte_flow_error *e)
{
    uint32_t n = fake_in_queue();
    assert_true(configured && fake_nic.started);
    if (n >= fake_nic.configured_queue)
        fail_msg("%u operations in a queue for %u", n + 1, fake_nic.configured_queue);
    if (refused(c, ENOMEM, e))
        return false;
    if (fake_nic.room_in_queue == 0 || n < fake_nic.room_in_queue)
        return true;
    rte_flow_error_set(e, ENOMEM, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, fake_words[c]);
    return false;
}

static void enqueue(const struct rte_flow_op_attr *attr, struct rule_there *r, bool removes,
                    void *user_data)
{
    struct operation *o = operation;
    while (o->used)
        o++;
    *o = (struct operation){.used = true,
                            .pushed = !attr->postpone,
                            .removes = removes,
                            .rule = r,
                            .user_data = user_data};
    if (fake_nic.late > 0)
        o->wait = (uint32_t)prng_below(&random_numbers, fake_nic.late + 1);
    fake_nic.deepest = fake_in_queue() > fake_nic.deepest ? fake_in_queue() : fake_nic.deepest;
}

/* The rule as the templates and the values make it. */
static void check_templates(const struct object *t, const struct rte_flow_item *value,
                            const struct rte_flow_action *action, struct rte_flow_item *out)
{
    for (unsigned i = 0; i < t->pattern->parts; i++) {
        size_t len = t->pattern->mask_len[i];
        assert_int_equal(value[i].type, t->pattern->part[i]);
        out[i] = value[i];
        assert_true((value[i].spec != NULL) == (len != 0));
        if (len == 0)
            continue;
        const uint8_t *v = item_part(&value[i], value[i].spec);
        const uint8_t *m = item_part(&value[i], value[i].mask);
        assert_memory_equal(m, t->pattern->mask[i], len); /* else it would not be that rule */
        for (size_t k = 0; k < len; k++)
            assert_int_equal(v[k] & ~t->pattern->mask[i][k], 0);
    }
    for (unsigned i = 0; i < t->actions->parts; i++)
        assert_int_equal(action[i].type, t->actions->part[i]);
}

struct rte_flow *rte_flow_async_create(uint16_t port, uint32_t queue,
                                       const struct rte_flow_op_attr *attr,
                                       struct rte_flow_template_table *table,
                                       const struct rte_flow_item item[], uint8_t pattern_index,
                                       const struct rte_flow_action action[], uint8_t action_index,
                                       void *user_data, struct rte_flow_error *e)
{
    struct object *t = (struct object *)(void *)table;
    struct rte_flow_item whole[PARTS];
    assert_true(port == FAKE_PORT && queue == 0 && pattern_index == 0 && action_index == 0);
    check_object(t, TABLE);
    check_templates(t, item, action, whole);
    if (!has_room(FAKE_CREATE, e))
        return NULL;
    if (t->users == t->size) {
        rte_flow_error_set(e, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "table is full");
        return NULL;
    }
    struct rule_there *r = new_rule(false);
    r->table = t;
    r->counts = has_action(action, RTE_FLOW_ACTION_TYPE_COUNT);
    r->state = BEGUN;
    fake_image_of(port, &t->attr, whole, action, &r->image);
    t->users++;
    enqueue(attr, r, false, user_data);
    return (struct rte_flow *)(void *)r;
}

int rte_flow_async_destroy(uint16_t port, uint32_t queue, const struct rte_flow_op_attr *attr,
                           struct rte_flow *flow, void *user_data, struct rte_flow_error *e)
{
    struct rule_there *r = check_rule(port, flow);
    assert_true(queue == 0 && !r->single);
    if (r->state != IN && r->state != REJECTED)
        fail_msg("a rule is removed in state %d", r->state);
    if (!has_room(FAKE_DESTROY, e))
        return -ENOMEM;
    r->state = LEAVING;
    enqueue(attr, r, true, user_data);
    return 0;
}

int rte_flow_push(uint16_t port, uint32_t queue, struct rte_flow_error *e)
{
    assert_true(port == FAKE_PORT && queue == 0);
    if (refused(FAKE_PUSH, EIO, e))
        return -EIO;
    for (unsigned i = 0; i < OPS; i++)
        operation[i].pushed = true;
    return 0;
}

/* One that was pushed and is ready; NULL: none. */
static struct operation *next_ready(void)
{
    struct operation *ready = NULL;
    uint32_t n = 0;
    for (unsigned i = 0; i < OPS; i++) {
        struct operation *o = &operation[i];
        if (!o->used || !o->pushed || o->wait > 0)
            continue;
        n++;
        if (ready == NULL || (reorder && prng_below(&random_numbers, n) == 0))
            ready = o;
    }
    return ready;
}

int rte_flow_pull(uint16_t port, uint32_t queue, struct rte_flow_op_result res[], uint16_t max,
                  struct rte_flow_error *e)
{
    struct operation *o;
    int n = 0;
    assert_true(port == FAKE_PORT && queue == 0 && max > 0);
    if (refused(FAKE_PULL, EIO, e))
        return -EIO;
    for (unsigned i = 0; i < OPS; i++)
        if (operation[i].used && operation[i].pushed && operation[i].wait > 0)
            operation[i].wait--;
    while (n < max && (o = next_ready()) != NULL) {
        res[n].user_data = o->user_data;
        res[n++].status = carry_out(o) ? RTE_FLOW_OP_SUCCESS : RTE_FLOW_OP_ERROR;
        o->used = false;
    }
    return n;
}
