/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GRANT, DATA, INV_ACK and PUT_ACK: answers to requests of this node.
 *
 * A write is granted by GRANT or DATA, which say how many INV_ACKs belong to it; acks may come
 * before that number is known. Acks are kept as a set of nodes, so that none counts twice.
 */
#include "dataplane/coherence/core.h"

static bool is_ours(const struct coh *c, const struct wire_msg *m)
{
    const struct coh_rec *r = coh_rec_find(c, m->page);
    return r != NULL && (r->own || r->evict) && r->txn == m->txn;
}

static void complete_write(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    bool waits = x->e->state == COH_IM_AD || x->e->state == COH_SM_A;
    if (!waits || !r->count_known || bit64_count(r->acked) != r->acks)
        return;
    x->e->owner = 1;
    coh_map(c, x, true, r->zero);
}

static void granted_write(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    r->count_known = true;
    r->acks = x->m->acks;
    r->zero = x->m->zero;
    x->e->version = x->m->version;
    if (x->e->state == COH_SM_AD)
        coh_set_state(c, x, COH_SM_A);
    complete_write(c, x);
}

/* The directory of this very node knows the newest version there is. */
static bool is_invented(const struct coh *c, const struct wire_msg *m)
{
    return coh_home(c, m->page) == c->cfg.self &&
           m->version > c->dir[coh_home_index(c, m->page)].version;
}

/* The one test of a DATA message, asked for each of its segments and again when it is complete. */
enum coh_drop coh_data_verdict(const struct coh *c, const struct wire_msg *m)
{
    const struct coh_entry *e = &c->cache[m->page];
    if (e->state != COH_IS_D && e->state != COH_IM_AD)
        return COH_DROP_STATE;
    if (!is_ours(c, m))
        return COH_DROP_TXN;
    if (m->exclusive != (e->state == COH_IM_AD))
        return COH_DROP_FIELDS;
    if (is_invented(c, m))
        return COH_DROP_VERSION;
    if (e->state == COH_IS_D)
        return m->version >= e->version ? COH_DROPS : COH_DROP_VERSION;
    const struct coh_rec *r = coh_rec_find(c, m->page);
    if (r->count_known)
        return COH_DROP_STATE;
    if (bit64_count(r->acked) > m->acks)
        return COH_DROP_ACKS;
    return m->version > e->version ? COH_DROPS : COH_DROP_VERSION;
}

void coh_on_data(struct coh *c, struct coh_ctx *x)
{
    enum coh_drop why = coh_data_verdict(c, x->m);
    if (why != COH_DROPS) {
        coh_drop(c, why);
        return;
    }
    if (x->e->state == COH_IM_AD) {
        granted_write(c, x);
        return;
    }
    x->e->version = x->m->version;
    coh_map(c, x, false, false);
}

void coh_on_grant_read(struct coh *c, struct coh_ctx *x)
{
    if (!is_ours(c, x->m)) {
        coh_drop(c, COH_DROP_TXN);
    } else if (x->m->exclusive || !x->m->zero) {
        coh_drop(c, COH_DROP_FIELDS);
    } else if (x->m->version < x->e->version) {
        coh_drop(c, COH_DROP_VERSION);
    } else {
        x->e->version = x->m->version;
        coh_map(c, x, false, true);
    }
}

/* What is common to a GRANT for writing: we have the page (upgrade) or it is zero. */
static void grant_write(struct coh *c, struct coh_ctx *x, bool zero)
{
    const struct wire_msg *m = x->m;
    if (!is_ours(c, m))
        coh_drop(c, COH_DROP_TXN);
    else if (!m->exclusive || m->zero != zero)
        coh_drop(c, COH_DROP_FIELDS);
    else if (x->r->count_known)
        coh_drop(c, COH_DROP_STATE);
    else if (zero ? m->version <= x->e->version : m->version != x->e->version + 1)
        coh_drop(c, COH_DROP_VERSION);
    else if (bit64_count(x->r->acked) > m->acks)
        coh_drop(c, COH_DROP_ACKS);
    else
        granted_write(c, x);
}

void coh_on_grant_write(struct coh *c, struct coh_ctx *x)
{
    grant_write(c, x, true);
}

void coh_on_grant_upgrade(struct coh *c, struct coh_ctx *x)
{
    grant_write(c, x, false);
}

void coh_on_inv_ack(struct coh *c, struct coh_ctx *x)
{
    struct coh_rec *r = x->r;
    uint64_t bit = bit64(x->src);
    if (!is_ours(c, x->m)) {
        coh_drop(c, COH_DROP_TXN);
    } else if ((r->acked & bit) || (r->count_known && bit64_count(r->acked) >= r->acks)) {
        coh_drop(c, COH_DROP_ACKS);
    } else if (r->count_known ? x->m->version != x->e->version : x->m->version <= x->e->version) {
        coh_drop(c, COH_DROP_VERSION);
    } else {
        r->acked |= bit;
        complete_write(c, x);
    }
}

/* The eviction is over: nothing that concerns the copy can come any more. */
void coh_on_put_ack(struct coh *c, struct coh_ctx *x)
{
    if (!is_ours(c, x->m)) {
        coh_drop(c, COH_DROP_TXN);
        return;
    }
    x->e->owner = 0;
    coh_set_state(c, x, COH_I);
    if (!coh_wanted(x->r))
        coh_frame_punch(c, x);
    coh_settle(c, x);
}
