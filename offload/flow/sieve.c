/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/sieve.h"

#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"

/* The fence that a frame stands before, by what it says of itself. */
static uint32_t epoch_of(const struct classify *c, const struct port_frame *f, uint8_t node)
{
    for (uint32_t k = 0; k < c->epochs; k++)
        if (c->epoch[k].node == node && f->len >= RULE_RRDP_TAG_AT + 4 &&
            get_le32(f->data + RULE_RRDP_TAG_AT) == c->epoch[k].tag)
            return k;
    return PLAN_EPOCHS_MAX;
}

/* True: it is handed on. */
static bool look(struct sieve *s, const struct port_frame *f, bool *ret_urgent)
{
    struct link_frame l = {.data = f->data, .len = f->len};
    memcpy(l.src, f->src.addr, sizeof(l.src));
    struct classified v = classify_frame(&s->rules, &l);
    bool named = v.node < WIRE_NODES_MAX;
    *ret_urgent = v.cls == WIRE_CLASS_URGENT;
    if (v.verdict == CLASSIFY_NODE)
        s->fenced_node[named && s->rules.fenced >> v.node & 1 ? v.node : WIRE_NODES_MAX]++;
    else if (v.verdict == CLASSIFY_EPOCH)
        s->fenced_epoch[epoch_of(&s->rules, f, v.node)]++;
    else if (named)
        s->frames[v.node][v.cls]++;
    else
        s->strange++;
    s->dropped += v.verdict != CLASSIFY_DELIVER;
    return v.verdict == CLASSIFY_DELIVER;
}

static uint32_t run(struct port_sieve *hook, struct port_frame *frame, uint32_t n)
{
    struct sieve *s = (struct sieve *)hook;
    struct port_frame other[PORT_BURST];
    uint32_t kept = 0, others = 0;
    PANDO_CHECK(n <= PORT_BURST);
    for (uint32_t i = 0; i < n; i++) {
        bool urgent;
        if (!look(s, &frame[i], &urgent))
            continue;
        if (urgent || !s->order)
            frame[kept++] = frame[i];
        else
            other[others++] = frame[i];
    }
    memcpy(frame + kept, other, others * sizeof(other[0]));
    return kept + others;
}

void sieve_attach(struct sieve *s, struct port *p)
{
    s->hook.run = run;
    p->sieve = &s->hook;
}

void sieve_detach(struct sieve *s, struct port *p)
{
    if (p->sieve == &s->hook)
        p->sieve = NULL;
}
