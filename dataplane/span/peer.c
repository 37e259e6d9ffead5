/* SPDX-License-Identifier: BSD-3-Clause */
/* Pieces of other nodes' spans, which leave as WIRE_SPAN, and theirs of ours: the border. */
#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/span/span.h"

static struct span_part *find(struct span_part *table, const struct span_key *k)
{
    struct span_part *set = &table[span_set_of(k)];
    for (unsigned i = 0; i < SPAN_WAYS; i++)
        if (set[i].used && span_same(&set[i].key, k))
            return &set[i];
    return NULL;
}

/* A node that opens, or says, much pushes out its own first. */
static struct span_part *place(struct span_part *table, const struct span_key *k)
{
    struct span_part *set = &table[span_set_of(k)], *own = NULL, *oldest = set;
    for (unsigned i = 0; i < SPAN_WAYS; i++) {
        struct span_part *p = &set[i];
        if (!p->used)
            return p;
        if ((int64_t)(p->opened - oldest->opened) < 0)
            oldest = p;
        if (p->key.node == k->node && (own == NULL || (int64_t)(p->opened - own->opened) < 0))
            own = p;
    }
    return own != NULL ? own : oldest;
}

void span_part_begin(struct spans *s, const struct span_key *k, unsigned point, uint64_t at)
{
    PANDO_CHECK(k->what < SPAN_WHATS && point < span_points((enum span_what)k->what));
    PANDO_CHECK(k->node != s->cfg.self);
    if (find(s->part, k) != NULL)
        return;
    struct span_part *p = place(s->part, k);
    s->parts_lost += p->used;
    *p = (struct span_part){
        .used = true, .key = *k, .opened = at, .points = (uint16_t)(1u << point)};
    p->stamp[point] = at;
    s->parts++;
}

/* The last stamp may be a vCPU thread's, which began before the poll loop had stamped that it had
 * told the thread; or nonsense, which must not make the receiver refuse the others. */
static void put_in_order(uint64_t *stamp, unsigned n)
{
    if ((int64_t)(stamp[n - 1] - stamp[0]) < 0)
        stamp[n - 1] = stamp[0];
    for (unsigned i = n - 1; i > 0; i--)
        if ((int64_t)(stamp[i] - stamp[i - 1]) < 0)
            stamp[i - 1] = stamp[i];
}

bool span_part_end(struct spans *s, const struct span_key *k, uint32_t error, uint8_t flags,
                   struct wire_span *ret)
{
    struct span_part *p = find(s->part, k);
    if (p == NULL)
        return false;
    p->used = false;
    *ret = (struct wire_span){.kind = WIRE_SPAN,
                              .what = k->what,
                              .flags = p->flags | flags,
                              .chan = k->what == SPAN_FAULT ? WIRE_CHAN_VM : k->chan,
                              .points = p->points,
                              .error = error,
                              .id = k->id};
    unsigned n = bit64_count(p->points), i = 0;
    if (n > WIRE_SPAN_STAMPS)
        return false;
    for (uint64_t left = p->points; left != 0; left &= left - 1)
        ret->stamp[i++] = p->stamp[bit64_first(left)];
    put_in_order(ret->stamp, n);
    s->parts_sent++;
    return true;
}

/* ---- the border ---------------------------------------------------------------------------- */

static enum span_drop check_sender(const struct span_open *o, uint8_t src,
                                   const struct wire_span *m)
{
    enum span_what what = (enum span_what)m->what;
    uint16_t homes = span_points_of(what, SPAN_HOME), owners = span_points_of(what, SPAN_OWNER);
    bool merged = (m->flags & WIRE_SPAN_MERGED) != 0;
    if ((m->points & ~(homes | owners)) != 0 || (merged && what != SPAN_IPI))
        return SPAN_DROP_POINTS;
    if ((m->points & o->r.points) != 0)
        return SPAN_DROP_TWICE;
    if ((m->points & homes) != 0 && src != o->r.home)
        return SPAN_DROP_NODE;
    if ((m->points & owners) == 0)
        return SPAN_OK;
    if (o->answered ? src != o->r.owner : o->said != SPAN_NODE_NONE && o->said != src)
        return SPAN_DROP_NODE;
    return SPAN_OK;
}

/* Nothing of a span is older than its first stamp here, nor younger than the message. */
static enum span_drop check_time(const struct spans *s, const struct span_open *o,
                                 const struct wire_span *m, struct span_time now)
{
    unsigned n = bit64_count(m->points);
    if (m->error > (uint64_t)s->khz * SPAN_ERROR_MS)
        return SPAN_DROP_ERROR;
    int64_t slack = (int64_t)m->error + now.error;
    uint64_t begun = o->r.stamp[bit64_first(o->r.points)];
    if ((int64_t)(m->stamp[0] - begun) < -slack || (int64_t)(m->stamp[n - 1] - now.at) > slack)
        return SPAN_DROP_TIME;
    return SPAN_OK;
}

static void stamps_of(const struct wire_span *m, uint64_t stamp[SPAN_POINTS_MAX])
{
    unsigned n = 0;
    for (uint64_t left = m->points; left != 0; left &= left - 1)
        stamp[bit64_first(left)] = m->stamp[n++];
}

static void take(struct span_open *o, uint8_t src, const struct wire_span *m)
{
    stamps_of(m, o->r.stamp);
    o->r.points |= m->points;
    o->r.peer_error = (uint32_t)max_u64(o->r.peer_error, m->error);
    if ((m->flags & WIRE_SPAN_AGAIN) != 0)
        o->r.flags |= SPAN_AGAIN;
    if ((m->points & span_points_of((enum span_what)m->what, SPAN_OWNER)) != 0)
        o->said = src;
}

/* ---- sharers: put aside, by span and node --------------------------------------------------- */

static struct span_key sharer_key(uint64_t id, uint8_t node)
{
    return (struct span_key){.id = id, .chan = SPAN_CHAN_SHARER, .what = SPAN_FAULT, .node = node};
}

const struct span_part *span_sharer_find(const struct spans *s, uint64_t id, uint8_t node)
{
    struct span_key k = sharer_key(id, node);
    return find((struct span_part *)(uintptr_t)s->sharer, &k);
}

/* All of its points come at once. o: NULL if there is no such span. */
static enum span_drop check_sharer(const struct spans *s, const struct span_open *o, uint8_t src,
                                   const struct wire_span *m)
{
    uint16_t all = span_points_of(SPAN_FAULT, SPAN_SHARER), rx = 1u << SPAN_AT_SHARER_RX;
    bool at_home = o != NULL && src == o->r.home;
    if ((m->flags & WIRE_SPAN_MERGED) != 0 || (m->points != all && m->points != (all & ~rx)))
        return SPAN_DROP_POINTS;
    if (o == NULL || (o->ended && (!o->acked || src != o->acker)))
        return SPAN_DROP_NOT_LAST;
    if (((m->points & rx) == 0) != at_home)
        return SPAN_DROP_NODE;
    return span_sharer_find(s, m->id, src) != NULL ? SPAN_DROP_TWICE : SPAN_OK;
}

static void put_aside(struct spans *s, uint8_t src, const struct wire_span *m, uint64_t now)
{
    struct span_key k = sharer_key(m->id, src);
    struct span_part *p = place(s->sharer, &k);
    *p = (struct span_part){.used = true,
                            .key = k,
                            .opened = now,
                            .error = m->error,
                            .points = m->points,
                            .flags = m->flags};
    stamps_of(m, p->stamp);
}

static enum span_drop sharer_message(struct spans *s, struct span_open *o, uint8_t src,
                                     const struct wire_span *m, struct span_time now)
{
    enum span_drop why = check_sharer(s, o, src, m);
    if (why == SPAN_OK)
        why = check_time(s, o, m, now);
    if (why != SPAN_OK)
        return why;
    put_aside(s, src, m, now.at);
    span_try_complete(s, o);
    return SPAN_OK;
}

/* -------------------------------------------------------------------------------------------- */

static enum span_drop message(struct spans *s, uint8_t src, const struct wire_span *m,
                              struct span_time now)
{
    struct span_key k = {.id = m->id,
                         .chan = m->what == SPAN_FAULT ? 0 : m->chan,
                         .what = m->what,
                         .node = s->cfg.self};
    struct span_open *o = span_find(s, &k);
    if ((m->points & span_points_of((enum span_what)m->what, SPAN_SHARER)) != 0)
        return sharer_message(s, o, src, m, now);
    if (o == NULL)
        return SPAN_DROP_NOT_OPEN;
    enum span_drop why = check_sender(o, src, m);
    if (why == SPAN_OK)
        why = check_time(s, o, m, now);
    if (why != SPAN_OK)
        return why;
    take(o, src, m);
    if (m->what == SPAN_IPI)
        o->r.error = now.error;
    if ((m->flags & WIRE_SPAN_MERGED) != 0)
        span_close_lacking(s, o, SPAN_LACK_MERGED);
    else
        span_try_complete(s, o);
    return SPAN_OK;
}

enum span_drop span_message(struct spans *s, uint8_t src, const struct wire_span *m,
                            struct span_time now)
{
    enum span_drop why = message(s, src, m, now);
    s->drop[why]++;
    return why;
}
