/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GETS, GETM, PUTS, PUTM, PUTO: the directory. It answers each at once and keeps no transaction.
 *
 * Number of acks: a GRANT counts the INVs that left with it. A FWD_GETM to an owner whose page
 * others may read (OWNED) counts the INVs and the owner's own INV_ACK, and says so by `exclusive`;
 * to a sole owner (MODIFIED) it counts none, and the owner's DATA is its ack. Owner and home agree
 * about which of the two it is because the FWD_GETS that made the difference came first, in the
 * same class.
 */
#include "dataplane/coherence/core.h"

static bool has(const struct coh_dir *d, uint8_t node)
{
    return (d->sharers & bit64(node)) != 0;
}

static struct wire_msg answer(const struct coh_dir *d, const struct wire_msg *m, uint8_t kind)
{
    return (struct wire_msg){.kind = kind,
                             .vm = m->vm,
                             .requester = m->requester,
                             .page = m->page,
                             .txn = m->txn,
                             .version = d->version};
}

/* What takes the page from somebody says for how long the requester has been at it. */
static struct wire_msg demand(const struct coh_dir *d, const struct wire_msg *m, uint8_t kind)
{
    struct wire_msg fwd = answer(d, m, kind);
    fwd.age = m->age;
    return fwd;
}

static void refuse(struct coh *c)
{
    coh_drop(c, COH_DROP_DIR_STATE);
}

/* ---- GETS
 * ------------------------------------------------------------------------------------------ */

void coh_home_gets_zero(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    if (has(d, src)) {
        refuse(c);
        return;
    }
    struct wire_msg grant = answer(d, m, WIRE_GRANT);
    grant.zero = true;
    d->sharers |= bit64(src);
    coh_send(c, src, &grant);
}

void coh_home_gets(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    if (has(d, src)) {
        refuse(c);
        return;
    }
    struct wire_msg fwd = demand(d, m, WIRE_FWD_GETS);
    d->sharers |= bit64(src);
    d->state = COH_DIR_OWNED;
    coh_send(c, (uint8_t)d->owner, &fwd);
}

/* ---- GETM
 * ------------------------------------------------------------------------------------------ */

static bool next_version(struct coh *c, struct coh_dir *d)
{
    if (d->version + 1 >= COH_ID_LIMIT - 1) {
        coh_stop(c, COH_STOP_IDS_USED_UP, c->cfg.self);
        return false;
    }
    d->version++;
    return true;
}

static uint8_t invalidate(struct coh *c, const struct coh_dir *d, const struct wire_msg *m,
                          uint64_t nodes)
{
    struct wire_msg inv = demand(d, m, WIRE_INV);
    for (uint64_t left = nodes; left != 0; left &= left - 1)
        coh_send(c, (uint8_t)bit64_first(left), &inv);
    return (uint8_t)bit64_count(nodes);
}

static void now_modified(struct coh_dir *d, uint8_t owner)
{
    d->owner = owner;
    d->sharers = bit64(owner);
    d->state = COH_DIR_MODIFIED;
}

/* ZERO, or the requester holds the page: no data is needed. */
static void grant_write(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    if (!next_version(c, d))
        return;
    uint8_t acks = invalidate(c, d, m, d->sharers & ~bit64(src));
    struct wire_msg grant = answer(d, m, WIRE_GRANT);
    grant.acks = acks;
    grant.exclusive = true;
    grant.zero = !has(d, src);
    now_modified(d, src);
    coh_send(c, src, &grant);
}

void coh_home_getm_zero(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    grant_write(c, d, m, src);
}

void coh_home_getm_owned(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    if (has(d, src)) {
        grant_write(c, d, m, src);
        return;
    }
    if (!next_version(c, d))
        return;
    uint8_t owner = (uint8_t)d->owner;
    uint8_t acks = invalidate(c, d, m, d->sharers & ~bit64(owner));
    struct wire_msg fwd = demand(d, m, WIRE_FWD_GETM);
    fwd.acks = (uint8_t)(acks + 1);
    fwd.exclusive = true;
    now_modified(d, src);
    coh_send(c, owner, &fwd);
}

void coh_home_getm_modified(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    uint8_t owner = (uint8_t)d->owner;
    if (owner == src) {
        refuse(c);
        return;
    }
    if (!next_version(c, d))
        return;
    struct wire_msg fwd = demand(d, m, WIRE_FWD_GETM);
    now_modified(d, src);
    coh_send(c, owner, &fwd);
}

/* ---- PUTS, PUTM, PUTO
 * ------------------------------------------------------------------------------ */

static void put_ack(struct coh *c, const struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    struct wire_msg ack = answer(d, m, WIRE_PUT_ACK);
    coh_send(c, src, &ack);
}

/* From a node that is no sharer any more: an INV is on its way to it, ahead of our PUT_ACK. */
void coh_home_puts(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    if (has(d, src) && d->state != COH_DIR_ZERO && d->owner == src) {
        refuse(c);
        return;
    }
    if (has(d, src) && m->version != d->version) {
        coh_drop(c, COH_DROP_VERSION);
        return;
    }
    c->counters.put_stale += !has(d, src);
    d->sharers &= ~bit64(src);
    put_ack(c, d, m, src);
}

/* The last clause is true for honest peers: our own copy and our bit in the directory can disagree
 * only while an INV of ours is parked here, and then the owner is still waiting for our ack. */
enum coh_put coh_put_verdict(const struct coh *c, const struct coh_dir *d, const struct wire_msg *m,
                             uint8_t src, enum coh_drop *ret_why)
{
    const struct coh_entry *e = &c->cache[m->page];
    bool owner = d->state != COH_DIR_ZERO && d->owner == src;
    enum coh_drop why = COH_DROPS;
    if (!owner && !has(d, src) && d->state != COH_DIR_ZERO)
        return COH_PUT_STALE;
    if (!owner || (m->kind == WIRE_PUTO && d->state != COH_DIR_OWNED))
        why = COH_DROP_DIR_STATE;
    else if (m->version != d->version)
        why = COH_DROP_VERSION;
    else if (coh_cache_table[e->state][COH_CE_TAKE] == NULL ||
             (e->state == COH_I) == has(d, c->cfg.self))
        why = COH_DROP_STATE;
    if (why == COH_DROPS)
        return COH_PUT_ACCEPT;
    *ret_why = why;
    return COH_PUT_REFUSE;
}

void coh_home_put(struct coh *c, struct coh_dir *d, const struct wire_msg *m, uint8_t src)
{
    enum coh_drop why = COH_DROP_DIR_STATE;
    enum coh_put v = coh_put_verdict(c, d, m, src, &why);
    if (v == COH_PUT_REFUSE) {
        coh_drop(c, why);
        return;
    }
    if (v == COH_PUT_STALE) {
        c->counters.put_stale++;
        put_ack(c, d, m, src);
        return;
    }
    d->sharers = (d->sharers & ~bit64(src)) | bit64(c->cfg.self);
    d->owner = c->cfg.self;
    d->state = COH_DIR_OWNED;
    put_ack(c, d, m, src);
    struct coh_ctx x = coh_ctx_of(c, m->page);
    x.m = m;
    coh_cache_dispatch(c, &x, COH_CE_TAKE);
}

/* I: the engine has copied the bytes into the frame (coh_takes_put). */
void coh_on_take_fill(struct coh *c, struct coh_ctx *x)
{
    coh_frame_take(c, x->e);
    x->e->version = x->m->version;
    x->e->owner = 1;
    x->e->taking = 1;
    c->taking++;
    coh_map(c, x, false, false);
}

/* S, IS_P, SE_U hold these bytes; IS_D gets them from the old owner, who answers forwards until
 * PUT_ACK. */
void coh_on_take_own(struct coh *c, struct coh_ctx *x)
{
    (void)c;
    x->e->owner = 1;
}
