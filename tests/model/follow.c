/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Holds what the production code did against the model: reads the lines of `pando-sim
 * --transitions` (tests/sim/observe.c) and looks for each whether rules of coherence.m, as murphi2c
 * translates them to C (coherence_m.c), lead from the first state to the second and send the same
 * messages.
 *
 * A step of the code is one rule of the model for its event, if it has one, and then what became
 * possible: faults that waited elsewhere, residency that ended, replacement. Up to DEPTH of these
 * are tried in all orders.
 *
 * Exit status: 0 all lines are the model's; 1 some are not; 2 the input is not what observe.c
 * writes.
 */
#include <setjmp.h>

#include "coherence_m.c"
#include "dataplane/coherence/coherence.h"

#define X(s)                                                                                       \
    _Static_assert((int)s == (int)COH_##s, "the model's states are the code's, in order: " #s);
COH_STATE_LIST(X)
#undef X
_Static_assert((int)ZERO == (int)COH_DIR_ZERO && (int)OWNED == (int)COH_DIR_OWNED &&
                   (int)MODIFIED == (int)COH_DIR_MODIFIED,
               "and so are the directory's");

enum { DEPTH = 4, P = 0, LINE_BYTES = 4096 };

struct snapshot {
    __typeof__(home) home;
    __typeof__(e) e;
    __typeof__(d) d;
    __typeof__(ch) ch;
};

struct line {
    unsigned nodes, n, home;
    Entry from, to;
    Directory dir_from, dir_to;
    bool is_home;
    unsigned event; /* 0 none, 1 edge, 2 message */
    unsigned src;
    struct snapshot start;
    Edge asked;      /* the edge action that the code asked for */
    Channel sent[3]; /* to each node */
};

static jmp_buf impossible; /* the model says error or fails an assertion */
static const char *why, *text;
static unsigned long number;

static void no(const char *message)
{
    why = message;
    longjmp(impossible, 1);
}

static void save(struct snapshot *s)
{
    s->home = home;
    s->e = e;
    s->d = d;
    s->ch = ch;
}

static void restore(const struct snapshot *s)
{
    home = s->home;
    e = s->e;
    d = s->d;
    ch = s->ch;
}

/* ---- reading --------------------------------------------------------------------------------- */

static _Noreturn void bad(const char *what)
{
    fprintf(stderr, "follow: line %lu: %s\n  %s\n", number, what, text);
    exit(2);
}

static unsigned next(char **at, int base, unsigned max)
{
    char *end;
    unsigned long v = strtoul(*at, &end, base);
    if (end == *at || v > max)
        bad(end == *at ? "a number is missing" : "a number is too large");
    *at = end;
    return (unsigned)v;
}

static Kind kind_of(unsigned wire)
{
    static const struct {
        unsigned wire;
        Kind kind;
    } kinds[] = {{WIRE_GETS, GETS},         {WIRE_GETM, GETM}, {WIRE_PUTS, PUTS},
                 {WIRE_PUTM, PUTM},         {WIRE_PUTO, PUTO}, {WIRE_FWD_GETS, FWD_GETS},
                 {WIRE_FWD_GETM, FWD_GETM}, {WIRE_INV, INV},   {WIRE_GRANT, GRANT},
                 {WIRE_PUT_ACK, PUT_ACK},   {WIRE_DATA, DATA}, {WIRE_INV_ACK, INV_ACK}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].wire == wire)
            return kinds[i].kind;
    bad("a message that the model does not have");
}

static Edge edge_of(State s)
{
    switch (s) {
    case IS_P:
        return E_MAP_RO;
    case IM_P:
        return E_MAP_RW;
    case MS_P:
        return E_PROTECT;
    case SI_U:
    case OI_U:
    case MI_U:
    case SM_IU:
    case SE_U:
    case OE_U:
    case ME_U:
        return E_UNMAP;
    default:
        return E_NONE;
    }
}

static void read_entry(char **at, Entry *x)
{
    memset(x, 0, sizeof(*x));
    x->st = (State)next(at, 10, COH_STATES - 1);
    x->owner = next(at, 10, 1);
    x->age = (Age)next(at, 10, (unsigned)AMAX);
    x->want = (Want)next(at, 10, 2);
    x->count_known = next(at, 10, 1);
    x->acks = (Acks)next(at, 10, (unsigned)NODES);
    unsigned acked = next(at, 16, 7);
    for (int i = 0; i < NODES; i++)
        x->acked.data[i] = acked >> i & 1;
    x->zero = next(at, 10, 1);
    x->serving = next(at, 10, 1);
    x->serve_requester = (Node)next(at, 10, (unsigned)NODES - 1);
    x->serve_acks = (Acks)next(at, 10, (unsigned)NODES);
    x->parks = (int)next(at, 10, (unsigned)PARK);
    for (int i = 0; i < x->parks; i++) {
        x->parked.data[i].kind = kind_of(next(at, 10, 255));
        x->parked.data[i].requester = (Node)next(at, 10, (unsigned)NODES - 1);
        x->parked.data[i].age = (Age)next(at, 10, (unsigned)AMAX);
        x->parked.data[i].acks = (Acks)next(at, 10, (unsigned)NODES);
    }
    x->edge = edge_of(x->st);
    x->map = x->st == M ? WRITABLE : x->st == S ? READABLE : UNMAPPED;
}

static bool read_directory(char **at, Directory *x)
{
    memset(x, 0, sizeof(*x));
    *at += strspn(*at, " ");
    if (**at == '-') {
        ++*at;
        return false;
    }
    x->st = (DirState)next(at, 10, 2);
    x->owner = (Node)next(at, 10, (unsigned)NODES - 1);
    unsigned sharers = next(at, 16, 7);
    for (int i = 0; i < NODES; i++)
        x->sharer.data[i] = sharers >> i & 1;
    return true;
}

static void read_message(char **at, Channel *c)
{
    Kind k = kind_of(next(at, 10, 255));
    Node requester = (Node)next(at, 10, (unsigned)NODES - 1);
    Age age = (Age)next(at, 10, (unsigned)AMAX);
    Acks acks = (Acks)next(at, 10, (unsigned)NODES);
    bool exclusive = next(at, 10, 1), zero = next(at, 10, 1);
    if (c->nu == URGENTS || c->nr == PAGES || c->nb == BYTESES)
        bad("more messages than the model has room for");
    if (k == GETS || k == GETM || k == PUTS)
        c->r.data[c->nr++] = (Request){.kind = k, .age = age};
    else if (k == DATA || k == PUTM || k == PUTO)
        c->b.data[c->nb++] = (Bytes){.kind = k, .age = age, .acks = acks, .exclusive = exclusive};
    else
        c->u.data[c->nu++] = (Urgent){.kind = k,
                                      .requester = requester,
                                      .age = age,
                                      .acks = acks,
                                      .exclusive = exclusive,
                                      .zero = zero};
}

static void read_line(char *at, struct line *l)
{
    text = at;
    memset(l, 0, sizeof(*l));
    l->nodes = next(&at, 10, (unsigned)NODES);
    l->n = next(&at, 10, l->nodes - 1);
    l->home = next(&at, 10, l->nodes - 1);
    startstate_all_pages_are_zero__nobody_has_any((Node)l->home, (Node)l->home);
    read_entry(&at, &l->from);
    l->is_home = read_directory(&at, &l->dir_from);
    l->event = next(&at, 10, 2);
    if (l->event == 2) {
        l->src = next(&at, 10, l->nodes - 1);
        read_message(&at, &ch.data[l->src].data[l->n]);
    }
    read_entry(&at, &l->to);
    if (read_directory(&at, &l->dir_to) != l->is_home || l->is_home != (l->n == l->home))
        bad("a directory at a node that is not the home");
    l->asked = (Edge)next(&at, 10, 9);
    for (unsigned i = next(&at, 10, 64); i > 0; i--) {
        unsigned dst = next(&at, 10, l->nodes - 1);
        read_message(&at, &l->sent[dst]);
    }
    if (at[strspn(at, " \n")] != '\0')
        bad("more than a line has");
    e.data[l->n].data[P] = l->from;
    if (l->is_home)
        d.data[P] = l->dir_from;
    save(&l->start);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool asks(State s)
{
    return s == IM_AD || s == SM_AD || s == SM_A || s == SM_IU;
}

static bool same_entry(const Entry *a, const Entry *b)
{
    bool ok = a->st == b->st && a->owner == b->owner && a->age == b->age && a->want == b->want &&
              a->serving == b->serving && a->serve_acks == b->serve_acks && a->parks == b->parks &&
              a->edge == b->edge;
    if (a->serving)
        ok = ok && a->serve_requester == b->serve_requester;
    if (asks(a->st)) {
        ok = ok && a->count_known == b->count_known &&
             memcmp(&a->acked, &b->acked, sizeof(a->acked)) == 0;
        if (a->count_known)
            ok = ok && a->acks == b->acks && a->zero == b->zero;
    }
    for (int i = 0; ok && i < a->parks; i++) {
        const Parked *x = &a->parked.data[i], *y = &b->parked.data[i];
        ok = x->kind == y->kind && x->requester == y->requester && x->age == y->age &&
             x->acks == y->acks;
    }
    return ok;
}

static bool same_directory(const Directory *a, const Directory *b)
{
    return a->st == b->st && (a->st == ZERO || a->owner == b->owner) &&
           memcmp(&a->sharer, &b->sharer, sizeof(a->sharer)) == 0;
}

static bool same_channel(const Channel *a, const Channel *b)
{
    if (a->nu != b->nu || a->nr != b->nr || a->nb != b->nb)
        return false;
    for (int i = 0; i < a->nu; i++) {
        const Urgent *x = &a->u.data[i], *y = &b->u.data[i];
        if (x->kind != y->kind || x->requester != y->requester || x->age != y->age ||
            x->acks != y->acks || x->exclusive != y->exclusive || x->zero != y->zero)
            return false;
    }
    for (int i = 0; i < a->nr; i++)
        if (a->r.data[i].kind != b->r.data[i].kind ||
            (a->r.data[i].kind == PUTS && a->r.data[i].age != b->r.data[i].age))
            return false;
    for (int i = 0; i < a->nb; i++) {
        const Bytes *x = &a->b.data[i], *y = &b->b.data[i];
        if (x->kind != y->kind || x->age != y->age || x->acks != y->acks ||
            x->exclusive != y->exclusive)
            return false;
    }
    return true;
}

static bool arrived(const struct line *l)
{
    const Entry *now = &e.data[l->n].data[P];
    bool is_new = l->event == 1 || l->from.edge == E_NONE;
    if (!same_entry(now, &l->to) || l->asked != (is_new ? now->edge : E_NONE))
        return false;
    if (l->is_home && !same_directory(&d.data[P], &l->dir_to))
        return false;
    for (unsigned i = 0; i < l->nodes; i++)
        if (!same_channel(&ch.data[l->n].data[i], &l->sent[i]))
            return false;
    return true;
}

/* ---- searching ------------------------------------------------------------------------------- */

static bool inner(const struct line *l, unsigned depth);

/* From the present state by one rule, and on; what the model forbids is no way. */
#define TRY(guard, rule)                                                                           \
    do {                                                                                           \
        if ((guard) && setjmp(impossible) == 0) {                                                  \
            rule;                                                                                  \
            if (inner(l, depth - 1))                                                               \
                return true;                                                                       \
        }                                                                                          \
        restore(&here);                                                                            \
    } while (0)

static bool inner(const struct line *l, unsigned depth)
{
    struct snapshot here;
    const Node n = (Node)l->n;
    if (arrived(l))
        return true;
    if (depth == 0)
        return false;
    save(&here);
    for (int w = 0; w < 2; w++)
        for (int guess = 0; guess < 2; guess++)
            TRY(guard_fault(n, P, w, guess), rule_fault(n, P, w, guess));
    TRY(guard_another_vCPU_of_the_node_wants_to_write__too(n, P),
        rule_another_vCPU_of_the_node_wants_to_write__too(n, P));
    TRY(guard_residency_ends__a_parked_message_is_served(n, P),
        rule_residency_ends__a_parked_message_is_served(n, P));
    TRY(guard_replacement(n, P), rule_replacement(n, P));
    return false;
}

static bool follow(const struct line *l)
{
    const unsigned depth = DEPTH + 1;
    const Node n = (Node)l->n, src = (Node)l->src;
    struct snapshot here = l->start;
    why = "no rule leads there";
    restore(&here);
    if (l->event == 0)
        return inner(l, depth);
    for (int guess = 0; guess < 2; guess++) {
        if (l->event == 1) {
            e.data[n].data[P].effect = true;
            TRY(guard_edge_action_is_complete(n, P, guess),
                rule_edge_action_is_complete(n, P, guess));
            continue;
        }
        for (int hold = 0; hold < 2; hold++) {
            TRY(guard_an_urgent_message_arrives(src, n, hold, guess),
                rule_an_urgent_message_arrives(src, n, hold, guess));
            TRY(guard_a_request_arrives(src, n, hold), rule_a_request_arrives(src, n, hold));
        }
        TRY(guard_bytes_arrive(src, n), rule_bytes_arrive(src, n));
    }
    return false;
}

int main(int argc, char **argv)
{
    static char buf[LINE_BYTES];
    static struct line l;
    unsigned long wrong = 0, events[3] = {0};
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (f == NULL) {
        fprintf(stderr, "usage: follow FILE (of pando-sim --transitions)\n");
        return 2;
    }
    error = no;
    failed_assertion = no;
    while (fgets(buf, sizeof(buf), f) != NULL) {
        number++;
        read_line(buf, &l);
        events[l.event]++;
        if (follow(&l))
            continue;
        if (wrong++ < 10)
            printf("not the model's (%s), line %lu:\n  %s", why, number, buf);
    }
    printf("%lu different steps of the code: %lu messages, %lu completions, %lu others; %lu are "
           "not the "
           "model's\n",
           number, events[2], events[1], events[0], wrong);
    if (number == 0)
        bad("nothing to compare");
    return wrong != 0;
}
