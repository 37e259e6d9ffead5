/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each step of a node did to a page, in the terms of the model (tests/model/coherence.m), for
 * tests/model/follow.c. One line for each different one:
 *
 *   NODES NODE HOME  ENTRY DIR  EVENT  ENTRY DIR  EDGE SENDS
 *
 * ENTRY  state owner age want  count_known acks acked zero  serving requester acks
 *        parks {kind requester age acks}...
 * DIR    - (another node is home), or: state owner sharers
 * EVENT  0 | 1 (the edge action is complete) | 2 src MESSAGE
 * EDGE   the edge action that it asked for: 0 none, 1 map, 2 map writable, 3 protect, 4 unmap
 * SENDS  n {dst MESSAGE}...       MESSAGE  kind requester age acks exclusive zero
 *
 * Ages are versions counted back from the directory's, AGE_MAX meaning that or more; what a state
 * does not use is 0.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/coherence/core.h"
#include "tests/sim/sim.h"

enum { AGE_MAX = 4, LINE_MAX_BYTES = 1024, SEEN_MAX = 1 << 20 };

struct view { /* of one page at one node */
    char text[LINE_MAX_BYTES / 3];
};

static struct view before[SIM_PAGES_MAX];
static uint64_t *seen;
static uint32_t seen_n;

static unsigned age_of(uint64_t newest, uint64_t version)
{
    return newest - version < AGE_MAX ? (unsigned)(newest - version) : AGE_MAX;
}

static uint64_t newest(const struct sim_world *w, uint64_t page)
{
    struct coh_dir_view d;
    coh_dir_view(w->node[coh_home(w->node[0].coh, page)].coh, page, &d);
    return d.version;
}

static bool requests(unsigned state)
{
    return state == COH_IS_D || state == COH_IM_AD || state == COH_SM_AD || state == COH_SM_A ||
           state == COH_SM_IU;
}

static size_t print_entry(const struct sim_world *w, const struct coh *c, uint64_t page, char *out,
                          size_t size)
{
    static const struct coh_rec none = {.first = POOL_NONE};
    const struct coh_entry *e = &c->cache[page];
    const struct coh_rec *found = coh_rec_find(c, page), *r = found != NULL ? found : &none;
    uint64_t top = newest(w, page);
    bool no_copy =
        e->state == COH_I || e->state == COH_IS_D || (e->state == COH_IM_AD && !r->count_known);
    bool asks = requests(e->state), known = asks && e->state != COH_IS_D && r->count_known;
    unsigned want = r->write_waiters != 0 || r->write_other ? 2 : r->waiters != 0 || r->other;
    size_t n = (size_t)snprintf(
        out, size, "%u %u %u %u  %u %u %llx %u  %u %u %u  ", (unsigned)e->state, (unsigned)e->owner,
        no_copy ? AGE_MAX : age_of(top, e->version), want, known, known ? r->acks : 0,
        asks && e->state != COH_IS_D ? (unsigned long long)r->acked : 0, known && r->zero,
        r->serving, r->serving ? r->serve_requester : 0, r->serving ? r->serve_acks : 0);
    uint32_t parks = 0;
    for (uint32_t i = r->first; i != POOL_NONE; i = c->deferred[i].next)
        parks++;
    n += (size_t)snprintf(out + n, size - n, "%u", parks);
    for (uint32_t i = r->first; i != POOL_NONE && n < size; i = c->deferred[i].next) {
        const struct coh_deferred *d = &c->deferred[i];
        n += (size_t)snprintf(out + n, size - n, " %u %u %u %u", d->kind, d->requester,
                              age_of(top, d->version), d->acks);
    }
    return n;
}

static void print_view(const struct sim_world *w, const struct sim_node *node, uint64_t page,
                       struct view *v)
{
    const struct coh *c = node->coh;
    size_t n = print_entry(w, c, page, v->text, sizeof(v->text));
    if (n >= sizeof(v->text))
        return; /* more parked than the model has: told by its length */
    if (coh_home(c, page) != node->id) {
        snprintf(v->text + n, sizeof(v->text) - n, "  -");
        return;
    }
    struct coh_dir_view d;
    coh_dir_view(c, page, &d);
    snprintf(v->text + n, sizeof(v->text) - n, "  %u %u %llx", (unsigned)d.state,
             d.state == COH_DIR_ZERO ? 0 : d.owner, (unsigned long long)d.sharers);
}

static size_t print_message(const struct sim_world *w, const struct wire_msg *m, char *out,
                            size_t size)
{
    bool ordered = m->kind != WIRE_GETS && m->kind != WIRE_GETM; /* their version says nothing */
    return (size_t)snprintf(out, size, " %u %u %u %u %u %u", m->kind, m->requester,
                            ordered ? age_of(newest(w, m->page), m->version) : 0, m->acks,
                            m->exclusive, m->zero);
}

/* FNV-1a. */
static bool is_new(const char *line)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (const char *p = line; *p != '\0'; p++)
        h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001B3);
    h |= 1;
    if (seen == NULL)
        seen = calloc(SEEN_MAX, sizeof(*seen));
    uint64_t i = h % SEEN_MAX;
    while (seen[i] != 0 && seen[i] != h)
        i = (i + 1) % SEEN_MAX;
    if (seen[i] == h)
        return false;
    if (seen_n < SEEN_MAX / 2) { /* then lines come twice */
        seen[i] = h;
        seen_n++;
    }
    return true;
}

void observe_before(struct sim_world *w, struct sim_node *n, const struct coh_event *ev)
{
    for (uint32_t p = 0; p < w->opt.pages; p++)
        print_view(w, n, p, &before[p]);
    if (ev->type == COH_EV_MESSAGE)
        print_message(w, &ev->msg, w->observed, sizeof(w->observed));
}

static unsigned edge_asked(const struct coh_action *a)
{
    switch (a->type) {
    case COH_ACT_MAP:
        return a->again ? 0 : a->writable ? 2 : 1;
    case COH_ACT_PROTECT:
        return 3;
    case COH_ACT_UNMAP:
        return 4;
    default:
        return 0;
    }
}

static void observe_page(struct sim_world *w, const struct sim_node *n, const struct coh_event *ev,
                         uint64_t page)
{
    char line[2 * LINE_MAX_BYTES], sends[LINE_MAX_BYTES];
    struct view after;
    size_t len = 0;
    unsigned count = 0, asked = 0;
    bool of_page = ev->type == COH_EV_MESSAGE ? ev->msg.page == page
                                              : ev->type <= COH_EV_UNMAPPED && ev->page == page;
    print_view(w, n, page, &after);
    for (uint32_t i = 0; i < w->actions.n; i++) {
        const struct coh_action *a = &w->actions.a[i];
        if (a->page == page && edge_asked(a) != 0)
            asked = asked == 0 ? edge_asked(a) : 9; /* two: no step may */
        if (a->type != COH_ACT_SEND || a->page != page || len >= sizeof(sends))
            continue;
        len += (size_t)snprintf(sends + len, sizeof(sends) - len, " %u", a->dst);
        len += print_message(w, &a->msg, sends + len, sizeof(sends) - len);
        count++;
    }
    bool edge = of_page && (ev->type == COH_EV_MAPPED || ev->type == COH_EV_PROTECTED ||
                            ev->type == COH_EV_UNMAPPED);
    bool message = of_page && ev->type == COH_EV_MESSAGE;
    if (!edge && !message && count == 0 && asked == 0 && strcmp(before[page].text, after.text) == 0)
        return;
    int size = snprintf(line, sizeof(line), "%u %u %u  %s  %u", w->opt.nodes, n->id,
                        coh_home(n->coh, page), before[page].text, message ? 2u : edge);
    if (message)
        size += snprintf(line + size, sizeof(line) - (size_t)size, " %u%s", ev->src, w->observed);
    snprintf(line + size, sizeof(line) - (size_t)size, "  %s  %u %u%s", after.text, asked, count,
             count > 0 ? sends : "");
    if (is_new(line))
        fprintf(w->transitions, "%s\n", line);
}

void observe_after(struct sim_world *w, struct sim_node *n, const struct coh_event *ev)
{
    if (n->stopped)
        return;
    for (uint32_t p = 0; p < w->opt.pages; p++)
        observe_page(w, n, ev, p);
}
