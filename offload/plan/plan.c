/* SPDX-License-Identifier: BSD-3-Clause */
/* From intents to rules. intents.c then says how each intent is served by them, and why not. */
#include <errno.h>
#include <string.h>

#include "offload/plan/internal.h"

enum {
    CLASS_TO_PCP = 7, /* a tag's priority is that minus the class */
    PROTOCOL_UDP = 17,
    PRIORITY_FENCE = 0,
    PRIORITY_STEER = 1,
};

uint64_t plan_peers(const struct plan_input *in)
{
    uint64_t all = in->link.nodes == 64 ? UINT64_MAX : bit64(in->link.nodes) - 1;
    return all & ~bit64(in->link.self);
}

bool plan_known(const struct plan_input *in, uint8_t node)
{
    static const uint8_t none[6];
    return memcmp(in->peer_mac[node], none, 6) != 0;
}

void plan_class_queues(uint16_t queues, uint16_t ret_class_queue[WIRE_CLASSES])
{
    static const uint8_t layout[][WIRE_CLASSES] = {
        {0, 0, 0, 0}, {1, 0, 0, 0}, {1, 0, 2, 2}, {1, 2, 3, 0}, {1, 2, 3, 4},
    };
    uint16_t row = (uint16_t)min_u64(queues, PANDO_ARRAY_LEN(layout));
    for (unsigned c = 0; c < WIRE_CLASSES; c++)
        ret_class_queue[c] = layout[row > 0 ? row - 1 : 0][c];
}

uint16_t plan_queue(const struct maker *m, uint8_t cls)
{
    bool told = m->steer != SHAPE_NONE && m->ability[m->steer].cls != 0;
    return m->in->class_queue[told ? cls : WIRE_CLASS_URGENT];
}

/* ---- what a shape can do ------------------------------------------------------------------- */

static uint32_t flex_end(uint32_t field)
{
    switch (field) {
    case FIELD(RRDP_SOURCE):
        return RULE_RRDP_SOURCE_AT + 1;
    case FIELD(RRDP_CLASS):
        return RULE_RRDP_CLASS_AT + 1;
    default:
        return RULE_RRDP_TAG_AT + 4;
    }
}

/* Of these fields, the ones that the shape has, each for itself. */
static uint32_t available(const struct nic_template *t, uint32_t fields)
{
    fields &= t->must | t->may;
    for (uint32_t f = fields & FIELDS_OF_RRDP; f != 0; f &= f - 1) {
        uint32_t field = f & -f;
        if (flex_end(field) > t->flex_until || (field == FIELD(RRDP_CLASS) && !t->flex_bits))
            fields &= ~field;
    }
    return fields;
}

static uint32_t first_of(uint32_t has, const uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (has & order[i])
            return order[i];
    return 0;
}

static uint32_t flex_bytes(uint32_t fields)
{
    return (fields & FIELD(RRDP_SOURCE) ? 1 : 0) + (fields & FIELD(RRDP_CLASS) ? 1 : 0) +
           (fields & FIELD(RRDP_TAG) ? 4 : 0);
}

/* What stands in front of our header is preferred, since every NIC finds it faster. Over Ethernet a
 * source address has to be learned; the node in the header does not. */
struct ability plan_ability(const struct nic *nic, const struct plan_input *in, unsigned shape)
{
    static const uint32_t by_cls[] = {FIELD(UDP_SRC), FIELD(VLAN_PCP), FIELD(RRDP_CLASS)};
    static const uint32_t by_peer[] = {FIELD(IP_SRC), FIELD(RRDP_SOURCE), FIELD(ETH_SRC)};
    const struct nic_template *t = &nic->shape[shape];
    bool udp = in->link.kind != LINK_ETHERNET;
    uint32_t ours = udp ? FIELD(UDP_DST) : FIELD(ETH_TYPE);
    uint32_t names_node = FIELDS_OF_PEER, names_cls = FIELDS_OF_CLASS;
    struct ability a = {0};
    if ((t->kinds >> in->link.kind & 1) == 0 || (in->refused_shapes >> shape & 1) != 0 ||
        t->transfer || (in->vlan_priority && !t->tagged))
        return a;
    if (!in->vlan_priority)
        names_cls &= ~(uint32_t)FIELD(VLAN_PCP);
    names_node &= udp ? ~(uint32_t)FIELD(ETH_SRC) : ~(uint32_t)FIELD(IP_SRC);
    names_cls &= udp ? ~(uint32_t)0 : ~(uint32_t)FIELD(UDP_SRC);
    a.base = (t->must & ~(names_node | names_cls)) | ours | (udp ? available(t, FIELD(IP_DST)) : 0);
    uint32_t can_fill = ours | (udp ? FIELD(IP_DST) | FIELD(IP_PROTO) : 0);
    if (!(available(t, ours) & ours) || (a.base & ~can_fill) != 0)
        return (struct ability){0};
    a.every_cls = (t->must & names_cls) != 0;
    a.every_peer = (t->must & names_node) != 0;
    a.cls = a.every_cls ? t->must & names_cls
                        : first_of(available(t, names_cls), by_cls, PANDO_ARRAY_LEN(by_cls));
    a.peer = a.every_peer ? t->must & names_node
                          : first_of(available(t, names_node), by_peer, PANDO_ARRAY_LEN(by_peer));
    a.tag = available(t, FIELD(RRDP_TAG));
    if (available(t, a.cls | a.peer) != (a.cls | a.peer) ||
        flex_bytes(a.cls | a.peer) > t->flex_bytes)
        return (struct ability){0};
    if (flex_bytes(a.tag | a.peer | (a.every_cls ? a.cls : 0)) > t->flex_bytes)
        a.tag = 0;
    a.usable = true;
    return a;
}

/* ---- which shape for what ------------------------------------------------------------------ */

static bool has_priorities(const struct nic *nic)
{
    return nic->priorities && nic->priority_max >= PRIORITY_STEER;
}

static bool refused(const struct plan_input *in, enum intent_type t)
{
    return (in->refused_intents >> t & 1) != 0;
}

static bool can_tell_both(const struct ability *a)
{
    return a->cls != 0 && a->peer != 0;
}

static void choose_steer(struct maker *m)
{
    uint32_t best = 0;
    m->steer = SHAPE_NONE;
    m->no_steer = refused(m->in, INTENT_STEER) ? WHY_REFUSED : WHY_NO_RULES;
    for (unsigned s = 0; s < m->nic->templates && !refused(m->in, INTENT_STEER); s++) {
        const struct nic_template *t = &m->nic->shape[s];
        const struct ability *a = &m->ability[s];
        if (!a->usable || (t->fates & (DO(QUEUE) | DO(RSS))) == 0)
            continue;
        bool both = can_tell_both(a);
        uint32_t score = 1 + (a->cls != 0 ? 16 : 0) +
                         (both && m->in->count && t->with & DO(COUNT) ? 8 : 0) +
                         (both && m->in->mark && t->with & DO(MARK) ? 4 : 0) +
                         (a->peer != 0 && t->fates & DO(DROP) ? 2 : 0);
        if (score <= best)
            continue;
        best = score;
        m->steer = (int)s;
        m->no_steer = WHY_FULL;
    }
}

static enum why no_drop(const struct maker *m, int shape, bool tag)
{
    const struct ability *a = &m->ability[shape];
    if (!a->usable)
        return WHY_NO_RULES;
    if ((m->nic->shape[shape].fates & DO(DROP)) == 0)
        return WHY_NO_DROP;
    if (a->peer == 0)
        return WHY_NO_PEER;
    return tag && a->tag == 0 ? WHY_NO_TAG : WHY_FULL;
}

/* The shape that steers, if it can do this too; else the first that can. *why: what the nearest to
 * it lacks. */
static int dropper(const struct maker *m, bool tag, enum why *why)
{
    int found = SHAPE_NONE;
    *why = WHY_NO_RULES;
    for (int s = 0; s < (int)m->nic->templates; s++) {
        enum why lacks = no_drop(m, s, tag);
        if (lacks == WHY_FULL && (found == SHAPE_NONE || s == m->steer))
            found = s;
        *why = lacks > *why ? lacks : *why;
    }
    return found;
}

static void choose_fence(struct maker *m)
{
    bool steers = m->steer != SHAPE_NONE, order = has_priorities(m->nic);
    m->fence = dropper(m, false, &m->no_fence);
    if (m->fence != SHAPE_NONE && !order && steers && m->fence != m->steer) {
        m->fence = SHAPE_NONE;
        m->no_fence = WHY_NO_PRIORITY;
    }
    m->epoch = dropper(m, true, &m->no_epoch);
    if (m->epoch != SHAPE_NONE && !order && steers) {
        m->epoch = SHAPE_NONE;
        m->no_epoch = WHY_NO_PRIORITY;
    }
    if (refused(m->in, INTENT_FENCE_NODE)) {
        m->fence = SHAPE_NONE;
        m->no_fence = WHY_REFUSED;
    }
    if (refused(m->in, INTENT_FENCE_EPOCH)) {
        m->epoch = SHAPE_NONE;
        m->no_epoch = WHY_REFUSED;
    }
}

/* A frame may be of a fenced node and of an old connection. Their rules have one priority, so they
 * do the same to it: all count, or none. Whichever there are now: a new fence must not change the
 * rules of those that hold. */
static bool drops_count(const struct maker *m)
{
    const struct nic_template *t = m->nic->shape;
    return m->in->count && (m->fence == SHAPE_NONE || (t[m->fence].with & DO(COUNT)) != 0) &&
           (m->epoch == SHAPE_NONE || (t[m->epoch].with & DO(COUNT)) != 0);
}

static enum why choose_action(const struct maker *m, enum intent_type t, uint32_t action)
{
    if (m->steer == SHAPE_NONE)
        return m->no_steer;
    if (refused(m->in, t))
        return WHY_REFUSED;
    if ((m->nic->shape[m->steer].with & action) == 0)
        return WHY_NO_ACTION;
    if (m->ability[m->steer].cls == 0)
        return WHY_NO_CLASS;
    return m->ability[m->steer].peer == 0 ? WHY_NO_PEER : WHY_FULL;
}

/* ---- rules --------------------------------------------------------------------------------- */

static void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void fill(const struct maker *m, struct rule *r, uint32_t fields)
{
    const struct plan_input *in = m->in;
    size_t ip = in->link.kind == LINK_UDP4 ? 4 : 16;
    r->fields = fields;
    if (fields & FIELD(ETH_TYPE))
        put_be16(r->value[RULE_ETH_TYPE], in->ethertype);
    if (fields & FIELD(ETH_SRC))
        memcpy(r->value[RULE_ETH_SRC], in->peer_mac[r->node], 6);
    if (fields & FIELD(VLAN_PCP))
        r->value[RULE_VLAN_PCP][0] = (uint8_t)(CLASS_TO_PCP - r->cls);
    if (fields & FIELD(IP_SRC))
        memcpy(r->value[RULE_IP_SRC], in->link.ip[r->node], ip);
    if (fields & FIELD(IP_DST))
        memcpy(r->value[RULE_IP_DST], in->link.ip[in->link.self], ip);
    if (fields & FIELD(IP_PROTO))
        r->value[RULE_IP_PROTO][0] = PROTOCOL_UDP;
    if (fields & FIELD(UDP_SRC))
        put_be16(r->value[RULE_UDP_SRC], link_source_port(in->link.self, r->cls));
    if (fields & FIELD(UDP_DST))
        put_be16(r->value[RULE_UDP_DST], in->link.udp_port);
    if (fields & FIELD(RRDP_SOURCE))
        r->value[RULE_RRDP_SOURCE][0] = r->node;
    if (fields & FIELD(RRDP_CLASS))
        r->value[RULE_RRDP_CLASS][0] = r->cls;
    if (fields & FIELD(RRDP_TAG))
        put_le32(r->value[RULE_RRDP_TAG], r->tag);
}

/* Over plain Ethernet an address may have to be known that is not. */
static bool can_name(const struct maker *m, int shape, uint8_t node)
{
    return (m->ability[shape].peer & FIELD(ETH_SRC)) == 0 || plan_known(m->in, node);
}

static bool has_room(const struct maker *m, int shape)
{
    uint16_t capacity = m->nic->shape[shape].capacity;
    return m->plan->rules < PLAN_RULES_MAX &&
           (capacity == NIC_RULES_UNKNOWN || m->made[shape] < capacity);
}

static struct rule *rule_of(struct maker *m, int shape, uint8_t cls, uint8_t node)
{
    m->wanted[shape]++;
    if (!has_room(m, shape))
        return NULL;
    m->made[shape]++;
    struct rule *r = &m->plan->rule[m->plan->rules++];
    memset(r, 0, sizeof(*r));
    r->shape = (uint8_t)shape;
    r->cls = cls;
    r->node = node;
    r->group = m->nic->group;
    r->tagged = m->in->vlan_priority;
    return r;
}

/* A drop for one node, or for one of its connections; a rule for each class where one is needed. */
static void make_drop(struct maker *m, int shape, uint8_t node, bool epoch, uint32_t tag)
{
    const struct ability *a = &m->ability[shape];
    uint8_t n = a->every_cls ? WIRE_CLASSES : 1;
    if (!can_name(m, shape, node))
        return;
    for (uint8_t c = 0; c < n; c++) {
        struct rule *r = rule_of(m, shape, a->every_cls ? c : RULE_ANY, node);
        if (r == NULL)
            continue;
        r->tag = tag;
        r->serves = epoch ? WANT(FENCE_EPOCH) : WANT(FENCE_NODE);
        r->priority = PRIORITY_FENCE;
        r->actions = DO(DROP) | (m->count_drops ? DO(COUNT) : 0);
        fill(m, r, a->base | a->peer | (a->every_cls ? a->cls : 0) | (epoch ? a->tag : 0));
    }
}

static void make_cell(struct maker *m, uint8_t cls, uint8_t node)
{
    const struct ability *a = &m->ability[m->steer];
    const struct nic_template *t = &m->nic->shape[m->steer];
    if (node != RULE_ANY && !can_name(m, m->steer, node))
        return;
    struct rule *r = rule_of(m, m->steer, cls, node);
    if (r == NULL)
        return;
    r->serves = WANT(STEER) | (m->count ? WANT(COUNT) : 0) | (m->mark ? WANT(MARK) : 0);
    r->priority = has_priorities(m->nic) ? PRIORITY_STEER : 0;
    r->actions = t->fates & DO(QUEUE) ? DO(QUEUE) : DO(RSS);
    r->queue = plan_queue(m, cls);
    if (m->count)
        r->actions |= DO(COUNT);
    if (m->mark) {
        r->actions |= DO(MARK);
        r->mark = plan_mark(cls, node);
    }
    fill(m, r, a->base | (cls == RULE_ANY ? 0 : a->cls) | (node == RULE_ANY ? 0 : a->peer));
}

/* Queue 0 is where frames come anyway. */
static bool needs_rule(const struct maker *m, uint8_t cls)
{
    return m->count || m->mark || plan_queue(m, cls) != 0;
}

static uint32_t cells(const struct maker *m)
{
    uint32_t n = 0, peers = bit64_count(plan_peers(m->in));
    bool told = m->ability[m->steer].cls != 0;
    for (uint8_t c = 0; c < (told ? WIRE_CLASSES : 1); c++)
        n += needs_rule(m, c) ? 1 : 0;
    return n * (m->per_peer ? peers : 1);
}

/* One rule for each class and peer, if it has to be, or if they are to be counted or marked and
 * there is room for so many. */
static void choose_cells(struct maker *m)
{
    const struct ability *a = &m->ability[m->steer];
    uint32_t capacity = m->nic->shape[m->steer].capacity;
    bool apart = !has_priorities(m->nic) && m->fence == m->steer;
    m->count = m->in->count && m->no_count == WHY_FULL;
    m->mark = m->in->mark && m->no_mark == WHY_FULL;
    m->per_peer = a->every_peer || apart || m->count || m->mark;
    uint32_t room = capacity == NIC_RULES_UNKNOWN ? PLAN_RULES_MAX : capacity;
    room = (uint32_t)min_u64(room, PLAN_RULES_MAX);
    if (!(m->count || m->mark) || m->made[m->steer] + cells(m) <= room)
        return;
    m->cells_wanted = m->made[m->steer] + cells(m);
    m->no_count = m->no_count == WHY_FULL ? WHY_ROOM : m->no_count;
    m->no_mark = m->no_mark == WHY_FULL ? WHY_ROOM : m->no_mark;
    m->count = m->mark = false;
    m->per_peer = a->every_peer || apart;
}

static void make_steering(struct maker *m)
{
    bool told = m->ability[m->steer].cls != 0;
    /* Without priorities a fenced node has no other rules than those that drop. */
    uint64_t apart = has_priorities(m->nic) || m->fence == SHAPE_NONE ? 0 : m->in->fenced;
    for (uint8_t c = 0; c < (told ? WIRE_CLASSES : 1); c++) {
        if (!needs_rule(m, c))
            continue;
        uint8_t cls = told ? c : RULE_ANY;
        uint64_t peers = plan_peers(m->in) & ~apart;
        if (!m->per_peer)
            make_cell(m, cls, RULE_ANY);
        for (; m->per_peer && peers != 0; peers &= peers - 1)
            make_cell(m, cls, (uint8_t)bit64_first(peers));
    }
}

/* Group frames that this node sends are copied to the ports of its neighbours behind the NIC. */
static void make_mirror(struct maker *m)
{
    const struct plan_input *in = m->in;
    static const uint8_t none[6];
    if (!in->replicate || in->local == 0 || refused(in, INTENT_REPLICATE) ||
        in->link.kind != LINK_ETHERNET || memcmp(in->group_mac, none, 6) == 0)
        return;
    for (int s = 0; s < (int)m->nic->templates; s++) {
        const struct nic_template *t = &m->nic->shape[s];
        if (!t->transfer || t->must != FIELD(ETH_DST) || (t->fates & DO(REPLICATE)) == 0 ||
            t->copies < bit64_count(in->local) || (in->refused_shapes >> s & 1) != 0)
            continue;
        struct rule *r = rule_of(m, s, WIRE_CLASS_URGENT, RULE_ANY);
        if (r == NULL)
            return;
        r->tagged = false;
        r->transfer = true;
        r->serves = WANT(REPLICATE);
        r->actions = DO(REPLICATE);
        r->copies = in->local;
        r->fields = FIELD(ETH_DST);
        memcpy(r->value[RULE_ETH_DST], in->group_mac, 6);
        return;
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* A rule or a fence for one would be the other's as well. */
static bool share_address(const struct plan_input *in, uint8_t a, uint8_t b)
{
    if (in->link.kind == LINK_ETHERNET)
        return plan_known(in, a) && memcmp(in->peer_mac[a], in->peer_mac[b], 6) == 0;
    return memcmp(in->link.ip[a], in->link.ip[b], in->link.kind == LINK_UDP4 ? 4 : 16) == 0;
}

static bool addresses_ok(const struct plan_input *in)
{
    for (uint8_t a = 0; a < in->link.nodes; a++)
        for (uint8_t b = 0; b < a; b++)
            if (share_address(in, a, b))
                return false;
    return true;
}

static bool input_ok(const struct plan_input *in)
{
    const struct link_config *l = &in->link;
    if ((unsigned)l->kind >= LINK_KINDS || l->nodes < 2 || l->nodes > WIRE_NODES_MAX ||
        l->self >= l->nodes || (l->kind != LINK_ETHERNET && l->udp_port == 0) || in->queues == 0 ||
        in->queues > PLAN_QUEUES_MAX || in->epochs > PLAN_EPOCHS_MAX ||
        ((in->fenced | in->local) & ~plan_peers(in)) != 0)
        return false;
    for (unsigned c = 0; c < WIRE_CLASSES; c++)
        if (in->class_queue[c] >= in->queues)
            return false;
    for (uint32_t i = 0; i < in->epochs; i++) {
        if (in->epoch[i].node >= l->nodes || in->epoch[i].node == l->self)
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (in->epoch[j].node == in->epoch[i].node && in->epoch[j].tag == in->epoch[i].tag)
                return false;
    }
    return addresses_ok(in);
}

int plan_make(const struct nic *nic, const struct plan_input *in, struct plan *ret_plan)
{
    struct maker m = {.nic = nic, .in = in, .plan = ret_plan};
    if (!input_ok(in))
        return -EINVAL;
    ret_plan->rules = ret_plan->intents = 0;
    for (unsigned s = 0; s < nic->templates; s++)
        m.ability[s] = plan_ability(nic, in, s);
    choose_steer(&m);
    choose_fence(&m);
    m.count_drops = drops_count(&m);
    m.no_count = choose_action(&m, INTENT_COUNT, DO(COUNT));
    m.no_mark = choose_action(&m, INTENT_MARK, DO(MARK));
    for (uint64_t f = in->fenced; m.fence != SHAPE_NONE && f != 0; f &= f - 1)
        make_drop(&m, m.fence, (uint8_t)bit64_first(f), false, 0);
    for (uint32_t i = 0; m.epoch != SHAPE_NONE && i < in->epochs; i++)
        make_drop(&m, m.epoch, in->epoch[i].node, true, in->epoch[i].tag);
    if (m.steer != SHAPE_NONE) {
        choose_cells(&m);
        make_steering(&m);
    }
    make_mirror(&m);
    plan_intents(&m);
    return 0;
}

bool plan_serves(const struct rule *r, const struct intent *i)
{
    if ((r->serves >> i->type & 1) == 0)
        return false;
    if (i->type == INTENT_FENCE_EPOCH && r->tag != i->tag)
        return false;
    return (r->cls == RULE_ANY || i->cls == RULE_ANY || r->cls == i->cls) &&
           (r->node == RULE_ANY || i->node == RULE_ANY || r->node == i->node);
}
