/* SPDX-License-Identifier: BSD-3-Clause */
/* Own spans: opened, stamped, completed, or closed for a reason. */
#include "dataplane/span/span.h"

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"

#define BIT(point) ((uint16_t)(1u << (point)))

struct point_info {
    const char *name;
    uint8_t who;
};

#define X(ID, text, by) {.name = text, .who = SPAN_##by},
static const struct point_info fault_points[SPAN_FAULT_POINTS] = {SPAN_FAULT_LIST(X)};
static const struct point_info ipi_points[SPAN_IPI_POINTS] = {SPAN_IPI_LIST(X)};
static const struct point_info io_points[SPAN_IO_POINTS] = {SPAN_IO_LIST(X)};
#undef X
_Static_assert((int)SPAN_FAULT_POINTS <= (int)SPAN_POINTS_MAX &&
                   (int)SPAN_IPI_POINTS <= (int)SPAN_POINTS_MAX &&
                   (int)SPAN_IO_POINTS <= (int)SPAN_POINTS_MAX,
               "a record has room for every point");
_Static_assert((int)SPAN_WHATS == (int)WIRE_SPAN_WHATS, "as on the wire");

static const struct {
    const struct point_info *point;
    unsigned n;
} whats[SPAN_WHATS] = {[SPAN_FAULT] = {fault_points, SPAN_FAULT_POINTS},
                       [SPAN_IPI] = {ipi_points, SPAN_IPI_POINTS},
                       [SPAN_IO] = {io_points, SPAN_IO_POINTS}};

/* ---- names --------------------------------------------------------------------------------- */

#define X(ID, text, of) {text, SPAN_##of},
static const struct {
    const char *name;
    enum span_what what;
} kinds[SPAN_KINDS] = {SPAN_KIND_LIST(X)};
#undef X

const char *span_kind_name(unsigned kind)
{
    return kind < SPAN_KINDS ? kinds[kind].name : "?";
}

enum span_what span_what_of(enum span_kind kind)
{
    PANDO_CHECK((unsigned)kind < SPAN_KINDS);
    return kinds[kind].what;
}

const char *span_lack_name(unsigned lack)
{
#define X(ID, text) text,
    static const char *const names[SPAN_LACKS] = {SPAN_LACK_LIST(X)};
#undef X
    return lack < SPAN_LACKS ? names[lack] : "?";
}

const char *span_drop_name(unsigned drop)
{
#define X(ID, text) [SPAN_DROP_##ID] = text,
    static const char *const names[SPAN_DROPS] = {[SPAN_OK] = "taken", SPAN_DROP_LIST(X)};
#undef X
    return drop < SPAN_DROPS ? names[drop] : "?";
}

unsigned span_points(enum span_what what)
{
    return (unsigned)what < SPAN_WHATS ? whats[what].n : 0;
}

const char *span_point_name(enum span_what what, unsigned point)
{
    return point < span_points(what) ? whats[what].point[point].name : "?";
}

uint16_t span_points_of(enum span_what what, unsigned who)
{
    uint16_t set = 0;
    for (unsigned p = 0; p < span_points(what); p++)
        if (whats[what].point[p].who == who)
            set |= BIT(p);
    return set;
}

/* ---- the table ----------------------------------------------------------------------------- */

void span_init(struct spans *s, const struct span_config *cfg)
{
    PANDO_CHECK(cfg->sample <= SPAN_SAMPLE_MAX && cfg->self < cfg->nodes);
    s->cfg = *cfg;
    s->below = span_below(cfg->sample);
}

struct span_open *span_find(struct spans *s, const struct span_key *k)
{
    struct span_open *set = &s->open[span_set_of(k)];
    for (unsigned i = 0; i < SPAN_WAYS; i++)
        if (set[i].used && span_same(&set[i].key, k))
            return &set[i];
    return NULL;
}

bool span_is_open(const struct spans *s, const struct span_key *k)
{
    return span_find((struct spans *)(uintptr_t)s, k) != NULL;
}

uint32_t span_open_count(const struct spans *s, enum span_what what, bool ended)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < SPAN_OPEN_MAX; i++)
        n += s->open[i].used && !s->open[i].counted && s->open[i].key.what == what &&
             s->open[i].ended == ended;
    return n;
}

void span_close_lacking(struct spans *s, struct span_open *o, enum span_lack why)
{
    s->kind[o->r.kind].lack[why]++;
    o->used = false;
}

/* A fault whose span gave way must not be taken for one without other nodes when it ends. */
static void give_way(struct spans *s, struct span_open *o)
{
    if (o->counted)
        return;
    if (!o->ended && o->key.what == SPAN_FAULT)
        s->lost[s->lost_n++ % SPAN_LOST] = o->key.id;
    span_close_lacking(s, o, o->ended ? SPAN_LACK_SILENT : SPAN_LACK_REPLACED);
}

static bool was_lost(const struct spans *s, uint64_t id)
{
    for (uint64_t i = 0; i < min_u64(s->lost_n, SPAN_LOST); i++)
        if (s->lost[i] == id)
            return true;
    return false;
}

static struct span_open *place(struct spans *s, const struct span_key *k)
{
    struct span_open *set = &s->open[span_set_of(k)], *oldest = set;
    for (unsigned i = 0; i < SPAN_WAYS; i++) {
        if (!set[i].used)
            return &set[i];
        if ((int64_t)(set[i].opened - oldest->opened) < 0)
            oldest = &set[i];
    }
    give_way(s, oldest);
    return oldest;
}

static void set_stamp(struct span_record *r, unsigned point, uint64_t at)
{
    r->stamp[point] = at;
    r->points |= BIT(point);
}

void span_begin(struct spans *s, const struct span_key *k, const struct span_begin *b,
                unsigned point, uint64_t at)
{
    PANDO_CHECK(k->what < SPAN_WHATS && point < whats[k->what].n && k->node == s->cfg.self);
    PANDO_CHECK(span_what_of(b->kind) == k->what && k->id != 0);
    if (span_find(s, k) != NULL)
        return;
    struct span_open *o = place(s, k);
    *o = (struct span_open){
        .used = true,
        .key = *k,
        .opened = at,
        .said = SPAN_NODE_NONE,
        .acker = SPAN_NODE_NONE,
        .r = {.id = k->id,
              .object = b->object,
              .chan = k->chan,
              .kind = (uint8_t)b->kind,
              .home = b->home,
              .owner = SPAN_NODE_NONE},
    };
    if (k->what != SPAN_FAULT) { /* one path only */
        o->need = (uint16_t)(BIT(whats[k->what].n) - 1);
        o->ended = k->what == SPAN_IPI;
    }
    set_stamp(&o->r, point, at);
}

static void stamp_part(struct spans *s, const struct span_key *k, unsigned point, uint64_t at)
{
    struct span_part *set = &s->part[span_set_of(k)];
    for (unsigned i = 0; i < SPAN_WAYS; i++) {
        if (!set[i].used || !span_same(&set[i].key, k) || (set[i].points & BIT(point)) != 0)
            continue;
        set[i].stamp[point] = at;
        set[i].points |= BIT(point);
    }
}

void span_stamp(struct spans *s, const struct span_key *k, unsigned point, uint64_t at)
{
    PANDO_CHECK(k->what < SPAN_WHATS && point < whats[k->what].n);
    if (k->node != s->cfg.self) {
        stamp_part(s, k, point, at);
        return;
    }
    struct span_open *o = span_find(s, k);
    bool over = o == NULL || (o->ended && k->what != SPAN_IPI); /* that one only a peer ends */
    if (!over && (o->r.points & BIT(point)) == 0)
        set_stamp(&o->r, point, at);
}

void span_again(struct spans *s, const struct span_key *k)
{
    struct span_open *o = k->node == s->cfg.self ? span_find(s, k) : NULL;
    if (o != NULL)
        o->r.flags |= SPAN_AGAIN;
}

void span_answered(struct spans *s, const struct span_key *k, uint8_t src, bool data, uint64_t at)
{
    struct span_open *o = span_find(s, k);
    if (o == NULL || o->answered)
        return;
    o->answered = true;
    set_stamp(&o->r, SPAN_AT_DATA_RX, at);
    if (!data)
        return;
    o->r.owner = src;
    if (o->said == SPAN_NODE_NONE || o->said == src)
        return;
    /* Somebody else said to be the owner, before the owner's data was here. */
    o->r.points &= (uint16_t)~span_points_of(SPAN_FAULT, SPAN_OWNER);
    o->said = SPAN_NODE_NONE;
    s->drop[SPAN_DROP_NODE]++;
}

void span_acked(struct spans *s, const struct span_key *k, uint8_t src, uint64_t at)
{
    struct span_open *o = span_find(s, k);
    if (o == NULL || o->ended)
        return;
    o->acker = src;
    set_stamp(&o->r, SPAN_AT_ACKED, at);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The stamp of the next own point after p, which no peer's may pass. */
static bool next_own(const struct span_record *r, enum span_what what, unsigned p, uint64_t *ret)
{
    for (unsigned q = p + 1; q < whats[what].n; q++)
        if ((r->points & BIT(q)) != 0 && whats[what].point[q].who == SPAN_OWN) {
            *ret = r->stamp[q];
            return true;
        }
    return false;
}

/* Where the point is counted, at or after `before`; how far that is from its stamp is kept. */
static uint64_t settled(const struct span_record *r, enum span_what what, unsigned p,
                        uint64_t before, uint64_t *moved)
{
    uint64_t at = r->stamp[p], limit;
    if (whats[what].point[p].who != SPAN_OWN && next_own(r, what, p, &limit) &&
        (int64_t)(at - limit) > 0) {
        *moved = max_u64(*moved, at - limit);
        at = limit;
    }
    if ((int64_t)(at - before) < 0) {
        *moved = max_u64(*moved, before - at);
        at = before;
    }
    return at;
}

static void count(struct spans *s, struct span_record *r)
{
    enum span_what what = kinds[r->kind].what;
    struct span_kind_count *c = &s->kind[r->kind];
    unsigned first = bit64_first(r->points);
    uint64_t before = r->stamp[first], moved = 0;
    for (unsigned p = first + 1; p < whats[what].n; p++) {
        if ((r->points & BIT(p)) == 0)
            continue;
        uint64_t at = settled(r, what, p, before, &moved);
        hist_add(&c->stage[p], at - before);
        before = at;
    }
    hist_add(&c->total, before - r->stamp[first]);
    if (moved == 0)
        return;
    c->negative++;
    r->flags |= SPAN_NEGATIVE;
    uint64_t bound = (uint64_t)r->error + r->peer_error;
    if (moved <= bound)
        return;
    c->beyond++;
    c->excess = max_u64(c->excess, moved - bound);
    r->flags |= SPAN_BEYOND;
}

/* Of a sharer's points those for which the fault waited when it had its answer. */
static void add_sharer(struct span_open *o, const struct span_part *l)
{
    struct span_record *r = &o->r;
    uint16_t had = r->points;
    for (unsigned p = SPAN_AT_SHARER_RX; p <= SPAN_AT_SHARER_TX; p++) {
        bool late = !o->answered || (int64_t)(l->stamp[p] - r->stamp[SPAN_AT_DATA_RX]) >= 0;
        if ((l->points & BIT(p)) != 0 && late)
            set_stamp(r, p, l->stamp[p]);
    }
    if (r->points == had)
        return;
    r->peer_error = (uint32_t)max_u64(r->peer_error, l->error);
    r->flags |= (l->flags & WIRE_SPAN_AGAIN) != 0 ? SPAN_AGAIN : 0;
}

void span_try_complete(struct spans *s, struct span_open *o)
{
    const struct span_part *last = NULL;
    if (!o->ended || (o->r.points & o->need) != o->need)
        return;
    if (o->acked && (last = span_sharer_find(s, o->key.id, o->acker)) == NULL)
        return;
    o->used = false;
    if (o->counted)
        return;
    if (last != NULL)
        add_sharer(o, last);
    count(s, &o->r);
    span_keep(s, &o->r);
}

/* The points of the path that this fault took: the table in span.h. */
static uint16_t fault_needs(const struct spans *s, const struct span_open *o)
{
    const struct span_record *r = &o->r;
    uint16_t need = BIT(SPAN_AT_READ) | BIT(SPAN_AT_ASKED) | BIT(SPAN_AT_MAPPED);
    bool home_here = r->home == s->cfg.self, data = r->owner != SPAN_NODE_NONE;
    if (!home_here)
        need |= BIT(SPAN_AT_REQUEST_TX) | BIT(SPAN_AT_HOME_RX) | BIT(SPAN_AT_DATA_RX);
    if (!home_here && (!data || r->owner != r->home))
        need |= BIT(SPAN_AT_HOME_TX);
    if (data)
        need |= BIT(SPAN_AT_REQUEST_TX) | BIT(SPAN_AT_OWNER_DONE) | BIT(SPAN_AT_OWNER_TX) |
                BIT(SPAN_AT_DATA_RX);
    if (data && r->owner != r->home)
        need |= BIT(SPAN_AT_OWNER_RX);
    return need;
}

static void local_fault(struct spans *s, const struct span_key *k, const struct span_fault_end *end)
{
    struct span_open o = {.used = true,
                          .ended = true,
                          .key = *k,
                          .r = {.id = k->id,
                                .object = end->page,
                                .kind = SPAN_KIND_LOCAL,
                                .home = end->home,
                                .owner = SPAN_NODE_NONE,
                                .error = end->error}};
    if (was_lost(s, k->id) || end->home != s->cfg.self || end->prefetch)
        return; /* counted when it gave way, or no fault */
    set_stamp(&o.r, SPAN_AT_READ, end->read);
    set_stamp(&o.r, SPAN_AT_ASKED, end->asked);
    set_stamp(&o.r, SPAN_AT_MAPPED, end->mapped);
    span_try_complete(s, &o);
}

void span_fault_end(struct spans *s, const struct span_key *k, const struct span_fault_end *end)
{
    struct span_open *o = span_find(s, k);
    if (o == NULL) {
        local_fault(s, k, end);
        return;
    }
    if (o->ended)
        return;
    struct span_record *r = &o->r;
    r->kind = (uint8_t)end->kind;
    r->error = end->error;
    if (end->prefetch || (int64_t)(r->stamp[SPAN_AT_ASKED] - end->read) < 0) {
        s->kind[r->kind].lack[end->prefetch ? SPAN_LACK_PREFETCH : SPAN_LACK_JOINED]++;
        o->counted = true;
    }
    /* What came before the data cost no time of its own. */
    if ((r->points & BIT(SPAN_AT_ACKED)) != 0 && o->answered &&
        (int64_t)(r->stamp[SPAN_AT_ACKED] - r->stamp[SPAN_AT_DATA_RX]) < 0)
        r->points &= (uint16_t)~BIT(SPAN_AT_ACKED);
    set_stamp(r, SPAN_AT_READ, o->counted ? r->stamp[SPAN_AT_ASKED] : end->read);
    set_stamp(r, SPAN_AT_MAPPED, end->mapped);
    o->need = fault_needs(s, o);
    o->acked = (r->points & BIT(SPAN_AT_ACKED)) != 0;
    o->ended = true;
    span_try_complete(s, o);
}

void span_io_end(struct spans *s, const struct span_key *k, struct span_time now)
{
    struct span_open *o = span_find(s, k);
    if (o == NULL || o->ended)
        return;
    o->r.error = now.error;
    o->ended = true;
    /* The VM's process stamps this one; its thread may be in the guest before BACK is stamped. */
    if ((o->r.points & BIT(SPAN_AT_BACK)) == 0 || (o->r.points & BIT(SPAN_AT_DONE_RX)) == 0 ||
        (int64_t)(now.at - o->r.stamp[SPAN_AT_DONE_RX]) < 0) {
        span_close_lacking(s, o, SPAN_LACK_IMPLAUSIBLE);
        return;
    }
    if ((int64_t)(now.at - o->r.stamp[SPAN_AT_BACK]) < 0)
        o->r.stamp[SPAN_AT_BACK] = now.at;
    set_stamp(&o->r, SPAN_AT_ENTERED, now.at);
    span_try_complete(s, o);
}

void span_lack(struct spans *s, enum span_kind kind, enum span_lack why)
{
    PANDO_CHECK((unsigned)kind < SPAN_KINDS && (unsigned)why < SPAN_LACKS);
    s->kind[kind].lack[why]++;
}
