/* SPDX-License-Identifier: BSD-3-Clause */
/* How each intent is served by the rules that were made, and why not all of it is. */
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/base/text.h"
#include "offload/plan/internal.h"

static const char *why_text(enum why w)
{
    static const char *const text[WHYS] = {
#define X(ID, text) [WHY_##ID] = text,
        WHY_LIST(X)
#undef X
    };
    return text[w];
}

static struct intent_plan *add(const struct maker *m, struct intent i)
{
    PANDO_CHECK(m->plan->intents < PLAN_INTENTS_MAX);
    struct intent_plan *p = &m->plan->intent[m->plan->intents++];
    *p = (struct intent_plan){.intent = i, .by = BACKEND_HARDWARE};
    return p;
}

static struct text reason_of(struct intent_plan *p)
{
    return text_begin(p->reason, sizeof(p->reason));
}

static void say(struct intent_plan *p, enum backend by, enum why why)
{
    struct text t = reason_of(p);
    p->by = by;
    text_str(&t, why_text(why));
}

static void say_room(const struct maker *m, struct text *t, int shape, uint32_t wanted)
{
    const struct nic_template *s = &m->nic->shape[shape];
    text_dec(t, wanted);
    text_str(t, " rules are wanted, ");
    text_str(t, s->capacity != NIC_RULES_UNKNOWN ? s->name : "a plan");
    text_str(t, " takes ");
    text_dec(t, s->capacity != NIC_RULES_UNKNOWN ? s->capacity : PLAN_RULES_MAX);
}

/* Rules with this intent alone, for one class and node. */
static bool has_rule(const struct maker *m, enum intent_type type, uint8_t cls, uint8_t node,
                     uint32_t tag)
{
    struct intent i = {.type = type, .cls = cls, .node = node, .tag = tag};
    for (uint32_t n = 0; n < m->plan->rules; n++)
        if (plan_serves(&m->plan->rule[n], &i))
            return true;
    return false;
}

/* ---- fences -------------------------------------------------------------------------------- */

/* Rules that have to name a class hold back what says one of the four in front of our header. */
static void by_class_only(const struct maker *m, struct intent_plan *p, int shape)
{
    const struct ability *a = &m->ability[shape];
    bool ports = (a->cls & FIELD(UDP_SRC)) != 0, tags = (a->cls & FIELD(VLAN_PCP)) != 0;
    if (!a->every_cls || !(ports || tags))
        return;
    say(p, BACKEND_HARDWARE, ports ? WHY_OTHER_PORTS : WHY_OTHER_TAGS);
    p->partly = true;
}

static void explain_fence(const struct maker *m, struct intent_plan *p, int shape, enum why why)
{
    const struct intent *i = &p->intent;
    bool node = i->type == INTENT_FENCE_NODE;
    enum backend next = node && m->in->xdp ? BACKEND_XDP : BACKEND_SOFTWARE;
    if (shape == SHAPE_NONE) {
        say(p, next, why);
        return;
    }
    uint32_t have = 0;
    for (uint8_t c = 0; c < WIRE_CLASSES; c++)
        have += has_rule(m, i->type, c, i->node, i->tag);
    if (have == WIRE_CLASSES) {
        by_class_only(m, p, shape);
        return;
    }
    if (have == 0)
        p->by = next;
    p->partly = have > 0;
    struct text t = reason_of(p);
    if ((m->ability[shape].peer & FIELD(ETH_SRC)) != 0 && !plan_known(m->in, i->node))
        text_str(&t, why_text(WHY_ADDRESS));
    else
        say_room(m, &t, shape, m->wanted[shape]);
}

static void explain_fences(const struct maker *m)
{
    const struct plan_input *in = m->in;
    for (uint64_t f = in->fenced; f != 0; f &= f - 1) {
        uint8_t node = (uint8_t)bit64_first(f);
        explain_fence(
            m, add(m, (struct intent){.type = INTENT_FENCE_NODE, .cls = RULE_ANY, .node = node}),
            m->fence, m->no_fence);
    }
    for (uint32_t e = 0; e < in->epochs; e++)
        explain_fence(m,
                      add(m, (struct intent){.type = INTENT_FENCE_EPOCH,
                                             .cls = RULE_ANY,
                                             .node = in->epoch[e].node,
                                             .tag = in->epoch[e].tag}),
                      m->epoch, m->no_epoch);
}

/* ---- steering ------------------------------------------------------------------------------ */

/* Peers, and those of them whose frames come to queue 0 for want of a rule. One whose frames are
 * dropped is not missed. */
struct reach {
    uint32_t peers, missing;
};

static struct reach reach(const struct maker *m, uint8_t cls)
{
    struct reach n = {0, 0};
    for (uint64_t p = plan_peers(m->in); p != 0; p &= p - 1) {
        uint8_t node = (uint8_t)bit64_first(p);
        if (has_rule(m, INTENT_FENCE_NODE, cls, node, 0))
            continue;
        n.peers++;
        n.missing += plan_queue(m, cls) != 0 && !has_rule(m, INTENT_STEER, cls, node, 0);
    }
    return n;
}

static bool wants_one_queue(const struct plan_input *in)
{
    for (unsigned c = 1; c < WIRE_CLASSES; c++)
        if (in->class_queue[c] != in->class_queue[0])
            return false;
    return true;
}

static void explain_steer(const struct maker *m, struct intent_plan *p)
{
    uint8_t cls = p->intent.cls;
    if (m->in->queues == 1) {
        say(p, BACKEND_NONE, WHY_ONE_QUEUE);
        return;
    }
    if (m->steer == SHAPE_NONE) {
        say(p, m->in->xdp ? BACKEND_XDP : BACKEND_SOFTWARE, m->no_steer);
        p->partly = m->in->xdp;
        return;
    }
    const struct ability *a = &m->ability[m->steer];
    struct reach n = reach(m, cls);
    struct text t = reason_of(p);
    if (a->cls == 0 && !wants_one_queue(m->in)) {
        p->partly = true;
        text_str(&t, why_text(WHY_NO_CLASS));
        text_str(&t, ": all come to queue ");
        text_dec(&t, plan_queue(m, cls));
        text_str(&t, n.missing > 0 ? "; " : "");
    }
    if (n.missing == 0)
        return;
    if (n.missing == n.peers) {
        p->by = BACKEND_SOFTWARE;
        p->partly = false;
    } else {
        p->partly = true;
    }
    text_dec(&t, n.missing);
    text_str(&t, " of ");
    text_dec(&t, n.peers);
    text_str(&t, " nodes come to queue 0: ");
    if ((a->peer & FIELD(ETH_SRC)) != 0 && m->wanted[m->steer] == m->made[m->steer])
        text_str(&t, "no MAC address is known of them");
    else
        say_room(m, &t, m->steer, m->wanted[m->steer]);
}

/* ---- count and mark ------------------------------------------------------------------------ */

static void explain_cell(const struct maker *m, struct intent_plan *p, enum why why)
{
    const struct intent *i = &p->intent;
    if (has_rule(m, i->type, i->cls, i->node, 0))
        return;
    if (has_rule(m, INTENT_FENCE_NODE, i->cls, i->node, 0)) {
        say(p, BACKEND_NONE, WHY_FENCED);
        return;
    }
    /* It would have been counted, but nothing names the node. */
    say(p, BACKEND_SOFTWARE, why == WHY_FULL ? WHY_ADDRESS : why);
    if (why == WHY_ROOM) {
        struct text t = reason_of(p);
        say_room(m, &t, m->steer, m->cells_wanted);
    }
}

static void explain_cells(const struct maker *m, enum intent_type type, enum why why)
{
    for (uint8_t c = 0; c < WIRE_CLASSES; c++)
        for (uint64_t p = plan_peers(m->in); p != 0; p &= p - 1)
            explain_cell(
                m, add(m, (struct intent){.type = type, .cls = c, .node = (uint8_t)bit64_first(p)}),
                why);
}

/* ---- what needs no rule, or another kind ---------------------------------------------------- */

static void explain_group(const struct maker *m)
{
    static const uint8_t none[6];
    if (m->in->link.kind != LINK_ETHERNET || memcmp(m->in->group_mac, none, 6) == 0)
        return;
    struct intent_plan *p =
        add(m, (struct intent){.type = INTENT_GROUP, .cls = RULE_ANY, .node = RULE_ANY});
    if (!m->nic->mac_filter)
        say(p, BACKEND_SOFTWARE, WHY_NO_LIST);
    else if (m->in->refused_intents & WANT(GROUP))
        say(p, BACKEND_SOFTWARE, WHY_REFUSED);
}

static void explain_replicate(const struct maker *m)
{
    static const uint8_t none[6];
    const struct plan_input *in = m->in;
    uint32_t most = 0;
    struct intent_plan *p =
        add(m, (struct intent){.type = INTENT_REPLICATE, .cls = RULE_ANY, .node = RULE_ANY});
    if (has_rule(m, INTENT_REPLICATE, RULE_ANY, RULE_ANY, 0))
        return;
    for (unsigned s = 0; s < m->nic->templates; s++)
        if (m->nic->shape[s].transfer && m->nic->shape[s].copies > most)
            most = m->nic->shape[s].copies;
    if (in->link.kind != LINK_ETHERNET || memcmp(in->group_mac, none, 6) == 0) {
        say(p, BACKEND_NONE, WHY_NO_GROUPS);
    } else if (in->local == 0) {
        say(p, BACKEND_NONE, WHY_NOBODY_LOCAL);
    } else if (most == 0) {
        say(p, BACKEND_SOFTWARE, WHY_NO_MIRROR);
    } else if (most >= bit64_count(in->local)) {
        say(p, BACKEND_SOFTWARE, WHY_REFUSED);
    } else {
        struct text t = reason_of(p);
        p->by = BACKEND_SOFTWARE;
        text_dec(&t, bit64_count(in->local));
        text_str(&t, " copies are wanted, a rule makes ");
        text_dec(&t, most);
    }
}

static void explain_checksum(const struct maker *m)
{
    struct intent_plan *p =
        add(m, (struct intent){.type = INTENT_CHECKSUM, .cls = RULE_ANY, .node = RULE_ANY});
    if (m->in->link.kind != LINK_UDP4)
        say(p, BACKEND_NONE, WHY_NO_IPV4);
    else if (!m->nic->checksum)
        say(p, BACKEND_SOFTWARE, WHY_NO_CHECKSUM);
    else if (m->in->refused_intents & WANT(CHECKSUM))
        say(p, BACKEND_SOFTWARE, WHY_REFUSED);
}

void plan_intents(const struct maker *m)
{
    const struct plan_input *in = m->in;
    explain_fences(m);
    for (uint8_t c = 0; c < WIRE_CLASSES; c++)
        explain_steer(m, add(m, (struct intent){.type = INTENT_STEER,
                                                .cls = c,
                                                .node = RULE_ANY,
                                                .queue = in->class_queue[c]}));
    if (in->count)
        explain_cells(m, INTENT_COUNT, m->no_count);
    if (in->mark)
        explain_cells(m, INTENT_MARK, m->no_mark);
    explain_group(m);
    if (in->replicate)
        explain_replicate(m);
    if (in->checksum)
        explain_checksum(m);
    if (in->crypto)
        say(add(m, (struct intent){.type = INTENT_CRYPTO, .cls = RULE_ANY, .node = RULE_ANY}),
            BACKEND_NONE, WHY_NO_CRYPTO);
}
