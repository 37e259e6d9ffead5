/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One page without rest: two nodes write it in turns, a third reads it between, so that it holds
 * and loses copies; messages, edge actions and vCPUs go on in an order drawn from the seed. Each
 * read is compared with the last write. Then as many nodes as are asked for write it for as long,
 * and the least served must get at least half of the mean.
 *
 * Exit status: 0 as it must be; 1 a stale read, an unfair share or a broken invariant; 2 usage.
 */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "tests/unit/coherence_world.h"

enum { PAGE = 0, STALL = 1000000 };

struct churn {
    struct cw *w;
    struct prng rng;
    uint8_t writers; /* nodes 0 .. writers - 1; the others read */
    uint64_t handoffs, reads, writes[COH_NODES_MAX];
    uint8_t last;
};

struct options {
    uint64_t handoffs, seed;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    char *end = NULL;
    uint64_t v = arg != NULL ? strtoull(arg, &end, 10) : 0;
    if (arg != NULL && (*arg == '\0' || *end != '\0'))
        argp_error(state, "'%s' is not a number", arg);
    if (key == 'n')
        o->handoffs = v;
    else if (key == 's')
        o->seed = v;
    else
        return ARGP_ERR_UNKNOWN;
    if (o->handoffs < 1)
        argp_error(state, "--handoffs must be at least 1");
    return 0;
}

static void vcpu(struct churn *c, uint8_t n)
{
    struct cw_vcpu *v = &c->w->node[n].vcpu[0];
    bool write = n < c->writers;
    if (v->blocked || c->w->now < v->ready_at)
        return;
    v->n = 1;
    v->page[0] = PAGE;
    v->write[0] = write;
    if (!cw_vcpu_run(c->w, n, 0))
        return;
    if (!write) {
        c->reads++;
        return;
    }
    c->handoffs += c->last != n;
    c->last = n;
    c->writes[n]++;
}

static void edge(struct churn *c, uint8_t n)
{
    if (!c->w->node[n].edge[PAGE].open)
        return;
    if (prng_below(&c->rng, 2) == 0)
        cw_edge_effect(c->w, n, PAGE);
    else
        cw_edge_done(c->w, n, PAGE);
}

static void message(struct churn *c)
{
    if (c->w->active_n == 0)
        return;
    uint32_t q = c->w->active[prng_below(&c->rng, c->w->active_n)];
    cw_deliver(c->w, (uint8_t)(q / CW_CLASSES / COH_NODES_MAX),
               (uint8_t)(q / CW_CLASSES % COH_NODES_MAX), q % CW_CLASSES);
}

static void turn(struct churn *c)
{
    uint8_t n = (uint8_t)prng_below(&c->rng, c->w->cfg.nodes);
    switch (prng_below(&c->rng, 4)) {
    case 0:
        vcpu(c, n);
        break;
    case 1:
        edge(c, n);
        break;
    case 2:
        message(c);
        break;
    default:
        c->w->now += 20;
        if (coh_deadline(c->w->node[n].coh) <= c->w->now)
            cw_tick(c->w, n);
        break;
    }
}

/* Until so many hand-offs; false: broken, or none for very long. */
static bool run(struct churn *c, uint64_t handoffs)
{
    uint64_t seen = 0, since = 0;
    while (c->handoffs < handoffs && c->w->broken[0] == '\0') {
        turn(c);
        since = c->handoffs == seen ? since + 1 : 0;
        seen = c->handoffs;
        if (since > STALL)
            cw_break(c->w, "no hand-off in %d turns after %" PRIu64, STALL, seen);
    }
    if (c->w->broken[0] == '\0')
        return true;
    printf("churn: broken: %s\n", c->w->broken);
    return false;
}

/* All that is under way comes to its end, and nothing is left of it. */
static bool ends_well(struct churn *c)
{
    for (unsigned i = 0; i < 100; i++) {
        c->w->now += 1000000;
        cw_settle(c->w);
        for (uint8_t n = 0; n < c->w->cfg.nodes; n++)
            cw_tick(c->w, n);
    }
    cw_check_end(c->w);
    if (c->w->broken[0] != '\0')
        printf("churn: broken at the end: %s\n", c->w->broken);
    return c->w->broken[0] == '\0';
}

static struct churn begin(uint8_t nodes, uint8_t writers, uint64_t hold, uint64_t seed)
{
    struct coh_config cfg = cw_config(nodes, 1);
    cfg.hold_ns = hold;
    cfg.hold_max_ns = hold * 8;
    return (struct churn){
        .w = cw_new(&cfg), .rng = {.state = seed}, .writers = writers, .last = COH_NODES_MAX - 1};
}

static bool hand_over(const struct options *o)
{
    struct churn c = begin(3, 2, 0, o->seed);
    bool ok = run(&c, o->handoffs);
    const struct coh_counters *k = coh_counters(c.w->node[2].coh);
    printf("churn: %" PRIu64 " hand-offs, %" PRIu64 " reads of the third node, which lost %" PRIu64
           " copies: %s\n",
           c.handoffs, c.reads, k->rx[WIRE_INV] + k->rx[WIRE_FWD_GETM],
           ok ? "no stale read" : "BROKEN");
    ok = ok && c.reads > c.handoffs / 100 && k->rx[WIRE_INV] > c.handoffs / 100 && ends_well(&c);
    cw_free(c.w);
    return ok;
}

static bool fairly(const struct options *o, uint64_t hold)
{
    enum { NODES = 4 };
    struct churn c = begin(NODES, NODES, hold, o->seed + 1);
    uint64_t least = UINT64_MAX, sum = 0;
    bool ok = run(&c, o->handoffs / 10 + 1000);
    for (unsigned n = 0; n < NODES; n++) {
        least = min_u64(least, c.writes[n]);
        sum += c.writes[n];
    }
    ok = ok && least >= sum / NODES / 2 && ends_well(&c);
    printf("churn: %d nodes, residency %" PRIu64 " ns: writes %" PRIu64 " %" PRIu64 " %" PRIu64
           " %" PRIu64 "; the least served got %.0f %% of the mean%s\n",
           NODES, hold, c.writes[0], c.writes[1], c.writes[2], c.writes[3],
           100.0 * NODES * (double)least / (double)(sum > 0 ? sum : 1), ok ? "" : ": UNFAIR");
    cw_free(c.w);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"handoffs", 'n', "N", 0, "of the page between two nodes (default 1000000)", 0},
        {"seed", 's', "S", 0, "of the order of all things (default 1)", 0},
        {0}};
    static const struct argp argp = {
        .options = options, .parser = parse, .doc = "Hands one page to and fro, without rest."};
    struct options o = {.handoffs = 1000000, .seed = 1};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    bool ok = hand_over(&o);
    ok = fairly(&o, 0) && ok;
    ok = fairly(&o, 20000) && ok;
    return ok ? 0 : 1;
}
