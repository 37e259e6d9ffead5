/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "offload/plan/classify.h"
#include "offload/plan/internal.h"

const char *classify_verdict_name(enum classify_verdict v)
{
    static const char *const name[CLASSIFY_VERDICTS] = {
#define X(ID, text) [CLASSIFY_##ID] = text,
        CLASSIFY_VERDICT_LIST(X)
#undef X
    };
    return (unsigned)v < CLASSIFY_VERDICTS ? name[v] : "?";
}

void classify_init(struct classify *c, const struct plan_input *in)
{
    memset(c, 0, sizeof(*c));
    c->fenced = in->fenced;
    c->nodes = in->link.nodes;
    c->epochs = in->epochs;
    memcpy(c->queue, in->class_queue, sizeof(c->queue));
    for (uint32_t i = 0; i < in->epochs; i++) {
        c->epoch[i].node = in->epoch[i].node;
        c->epoch[i].tag = in->epoch[i].tag;
        c->epoch_of |= bit64(in->epoch[i].node);
    }
    for (uint8_t n = 0; n < in->link.nodes; n++) {
        if (in->link.kind != LINK_ETHERNET)
            link_ip_mac(in->link.kind, in->link.ip[n], c->address[n]);
        else
            memcpy(c->address[n], in->peer_mac[n], 6);
        if (in->link.kind != LINK_ETHERNET || plan_known(in, n))
            c->known |= bit64(n);
    }
}

/* Of `nodes`, those that the frame bears as its source or comes from. */
static uint64_t senders(const struct classify *c, const struct link_frame *f, uint8_t node,
                        uint64_t nodes)
{
    uint64_t found = node < 64 ? nodes & bit64(node) : 0;
    for (uint64_t n = nodes & c->known; n != 0; n &= n - 1)
        if (memcmp(f->src, c->address[bit64_first(n)], 6) == 0)
            found |= n & -n;
    return found;
}

static enum classify_verdict fence(const struct classify *c, const struct link_frame *f,
                                   uint8_t node)
{
    if (senders(c, f, node, c->fenced) != 0)
        return CLASSIFY_NODE;
    if (f->len < RULE_RRDP_TAG_AT + 4)
        return CLASSIFY_DELIVER;
    uint64_t old = senders(c, f, node, c->epoch_of);
    uint32_t tag = get_le32(f->data + RULE_RRDP_TAG_AT);
    for (uint32_t i = 0; old != 0 && i < c->epochs; i++)
        if ((old >> c->epoch[i].node & 1) != 0 && c->epoch[i].tag == tag)
            return CLASSIFY_EPOCH;
    return CLASSIFY_DELIVER;
}

struct classified classify_frame(const struct classify *c, const struct link_frame *f)
{
    struct classified r = {.verdict = CLASSIFY_DELIVER, .node = RULE_ANY};
    if (f->len > RULE_RRDP_SOURCE_AT && f->data[RULE_RRDP_SOURCE_AT] < c->nodes)
        r.node = f->data[RULE_RRDP_SOURCE_AT];
    if (f->len > RULE_RRDP_CLASS_AT)
        r.cls = f->data[RULE_RRDP_CLASS_AT] & RULE_RRDP_CLASS_MASK;
    if ((c->fenced | c->epoch_of) != 0)
        r.verdict = fence(c, f, r.node);
    r.queue = c->queue[r.cls];
    return r;
}
