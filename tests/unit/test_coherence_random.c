/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random interleavings: every choice (which message, which edge action, which vCPU, how much time)
 * comes from a seed. After each change single writer and data value are checked; at the end all is
 * idle and agrees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "tests/unit/coherence_world.h"

struct run {
    struct cw *w;
    struct prng rng;
    uint32_t vcpus, insns, write_pct, spurious_ppm, junk_ppm;
    uint64_t max_steps;
};

static struct {
    uint64_t transitions[COH_STATES][COH_STATES];
    uint64_t drop[COH_DROPS];
    uint64_t held, expired, wounded, puts, putm, puto, stale, txn_full, deferred, punches;
} seen;

static void draw(struct run *r, struct cw_vcpu *v)
{
    uint32_t pages = (uint32_t)r->w->cfg.pages;
    /* Without residency an instruction of several pages may never find them all: one page then. */
    uint32_t most = r->w->cfg.hold_ns == 0 ? 1 : pages < 4 ? pages : 4;
    v->n = (uint8_t)(1 + prng_below(&r->rng, most));
    for (unsigned k = 0; k < v->n; k++) {
        bool again = true;
        while (again) {
            v->page[k] = prng_below(&r->rng, pages);
            again = false;
            for (unsigned j = 0; j < k; j++)
                again |= v->page[j] == v->page[k];
        }
        v->write[k] = prng_below(&r->rng, 100) < r->write_pct;
    }
}

static bool run_vcpu(struct run *r, uint8_t n, uint8_t k)
{
    struct cw_vcpu *v = &r->w->node[n].vcpu[k];
    if (v->done >= r->insns || v->blocked || r->w->now < v->ready_at)
        return false;
    if (v->n == 0)
        draw(r, v);
    if (cw_vcpu_run(r->w, n, k)) {
        v->n = 0;
        struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = k};
        if (prng_chance(&r->rng, 300000))
            cw_step(r->w, n, &ev);
        v->ready_at = r->w->now + prng_below(&r->rng, 500);
    } else if (prng_chance(&r->rng, r->spurious_ppm)) {
        cw_fault(r->w, n, k, v->block_page, prng_chance(&r->rng, 500000));
    }
    return true;
}

static bool run_edges(struct run *r)
{
    bool any = false;
    for (uint8_t n = 0; n < r->w->cfg.nodes; n++)
        for (uint32_t p = 0; p < r->w->cfg.pages; p++) {
            if (!r->w->node[n].edge[p].open)
                continue;
            any = true;
            uint32_t dice = prng_below(&r->rng, 8);
            if (dice == 0)
                cw_edge_done(r->w, n, p);
            else if (dice == 1)
                cw_edge_effect(r->w, n, p);
        }
    return any;
}

/* A message that no honest state accepts: its transaction id was never given out, or it names a
 * wrong place. */
static void junk(struct run *r)
{
    static const uint8_t kinds[] = {WIRE_FWD_GETS, WIRE_FWD_GETM, WIRE_INV,
                                    WIRE_INV_ACK,  WIRE_GRANT,    WIRE_DATA,
                                    WIRE_PUT_ACK,  WIRE_PUTM,     WIRE_PUTO};
    const struct coh_config *cfg = &r->w->cfg;
    uint8_t dst = (uint8_t)prng_below(&r->rng, cfg->nodes);
    struct wire_msg m = {.kind = kinds[prng_below(&r->rng, PANDO_ARRAY_LEN(kinds))],
                         .vm = (uint8_t)(cfg->vm + (prng_below(&r->rng, 8) == 0)),
                         .requester = (uint8_t)prng_below(&r->rng, cfg->nodes),
                         .acks = prng_below(&r->rng, 4) == 0 ? 1 : 0,
                         .zero = prng_below(&r->rng, 4) == 0,
                         .exclusive = prng_below(&r->rng, 2),
                         .age = prng_below(&r->rng, 4) == 0 ? prng_below(&r->rng, 2 * WIRE_AGE_MAX)
                                                            : 0,
                         .page = prng_below(&r->rng, (uint32_t)cfg->pages + 2),
                         .txn = (UINT64_C(1) << 47) + prng_below(&r->rng, 1000),
                         .version = (UINT64_C(1) << 46) + prng_below(&r->rng, 1000)};
    uint8_t src = (uint8_t)prng_below(&r->rng, cfg->nodes);
    bool stale_put = m.kind == WIRE_PUTM || m.kind == WIRE_PUTO;
    if (stale_put &&
        m.requester ==
            src) /* the one that is answered: its PUT_ACK goes to a node that asked nothing */
        m.requester = (uint8_t)((src + 1) % cfg->nodes);
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src, .page = m.page, .msg = m};
    cw_step(r->w, dst, &ev);
}

static uint64_t next_deadline(struct run *r)
{
    uint64_t t = UINT64_MAX;
    for (unsigned n = 0; n < r->w->cfg.nodes; n++) {
        t = min_u64(t, coh_deadline(r->w->node[n].coh));
        for (unsigned v = 0; v < r->vcpus; v++) {
            const struct cw_vcpu *u = &r->w->node[n].vcpu[v];
            if (u->done < r->insns && !u->blocked)
                t = min_u64(t, u->ready_at);
        }
    }
    return t;
}

static bool turn(struct run *r)
{
    struct cw *w = r->w;
    bool any = run_edges(r);
    for (uint32_t i = 0, n = w->active_n; i < n && w->active_n > 0; i++) {
        uint32_t q = w->active[prng_below(&r->rng, w->active_n)];
        any = true;
        if (prng_below(&r->rng, 3) == 0)
            cw_deliver(w, (uint8_t)(q / CW_CLASSES / COH_NODES_MAX),
                       (uint8_t)(q / CW_CLASSES % COH_NODES_MAX), q % CW_CLASSES);
    }
    for (uint8_t n = 0; n < w->cfg.nodes; n++) {
        for (uint8_t v = 0; v < r->vcpus; v++)
            if (prng_below(&r->rng, 3) == 0)
                any |= run_vcpu(r, n, v);
        if (coh_deadline(w->node[n].coh) <= w->now) {
            cw_tick(w, n);
            any = true;
        }
    }
    if (prng_chance(&r->rng, r->junk_ppm))
        junk(r);
    return any;
}

static bool finished(struct run *r)
{
    struct cw *w = r->w;
    bool open = w->active_n > 0;
    for (unsigned n = 0; n < w->cfg.nodes && !open; n++) {
        for (unsigned v = 0; v < r->vcpus; v++)
            open |= w->node[n].vcpu[v].done < r->insns;
        for (unsigned p = 0; p < w->cfg.pages; p++)
            open |= w->node[n].edge[p].open;
        open |= !coh_idle(w->node[n].coh);
    }
    return !open;
}

static void collect(struct run *r)
{
    for (unsigned n = 0; n < r->w->cfg.nodes; n++) {
        const struct coh_counters *k = coh_counters(r->w->node[n].coh);
        for (unsigned a = 0; a < COH_STATES; a++)
            for (unsigned b = 0; b < COH_STATES; b++)
                seen.transitions[a][b] += k->transitions[a][b];
        for (unsigned d = 0; d < COH_DROPS; d++)
            seen.drop[d] += k->drop[d];
        seen.held += k->held;
        seen.expired += k->hold_expired;
        seen.wounded += k->hold_wounded;
        seen.puts += k->evict_puts;
        seen.putm += k->evict_putm;
        seen.puto += k->evict_puto;
        seen.stale += k->put_stale;
        seen.txn_full += k->txn_full;
        seen.deferred += k->deferred;
        seen.punches += k->punches;
    }
}

/* With honest peers only, nothing may be dropped. */
static void check_no_drops(struct run *r)
{
    for (unsigned n = 0; n < r->w->cfg.nodes; n++)
        for (unsigned d = 0; d < COH_DROPS; d++)
            if (coh_counters(r->w->node[n].coh)->drop[d] > 0)
                cw_break(r->w, "node %u dropped: %s", n, coh_drop_name(d));
}

static void print_line(void *arg, const char *line)
{
    const struct run *r = arg;
    printf("%8llu %s\n", (unsigned long long)r->w->now, line);
}

static void run_to_end(struct run *r, uint64_t seed)
{
    struct cw *w = r->w;
    while (!finished(r) && w->broken[0] == '\0') {
        w->now += 1 + prng_below(&r->rng, 40);
        if (!turn(r)) {
            uint64_t t = next_deadline(r);
            if (t == UINT64_MAX)
                cw_break(w, "nothing can happen any more");
            w->now = max_u64(w->now, t);
        }
        if (w->steps > r->max_steps)
            cw_break(w, "no end after %llu steps", (unsigned long long)w->steps);
    }
    if (w->broken[0] == '\0')
        cw_check_end(w);
    if (r->junk_ppm == 0)
        check_no_drops(r);
    collect(r);
    if (w->broken[0] != '\0')
        fail_msg("seed %llu: %s", (unsigned long long)seed, w->broken);
    cw_free(w);
}

static void one(uint64_t seed, uint8_t nodes_fixed, bool hostile)
{
    struct run r = {.rng = {.state = seed * 77 + 5}};
    uint8_t nodes = nodes_fixed ? nodes_fixed : (uint8_t)(2 + prng_below(&r.rng, 4));
    uint32_t pages = 2 + prng_below(&r.rng, 14);
    struct coh_config cfg = cw_config(nodes, pages);
    cfg.home_mode = prng_below(&r.rng, 2) ? COH_HOME_RANGE : COH_HOME_INTERLEAVE;
    cfg.interleave_shift = (uint8_t)prng_below(&r.rng, 3);
    cfg.txn_max = prng_below(&r.rng, 3) == 0 ? 1 + prng_below(&r.rng, 2) : 16;
    cfg.deferred_max = max_u64(1, (nodes - 1u) * cfg.txn_max); /* exactly the bound */
    if (prng_below(&r.rng, 2)) {
        cfg.hold_ns = 400 + prng_below(&r.rng, 2000);
        cfg.hold_max_ns = cfg.hold_ns * (4 + prng_below(&r.rng, 20));
    }
    if (pages >= 8 && prng_below(&r.rng, 3) > 0)
        cfg.resident_max = 5 + prng_below(&r.rng, pages - 5);
    if (hostile) {
        r.junk_ppm = 300000;
        cfg.deferred_max +=
            1024; /* what a lying home parks takes room from nobody else's messages then */
    }
    r.vcpus = nodes > 8 ? 1 : 1 + prng_below(&r.rng, 3);
    r.insns = nodes > 8 ? 4 : 30 + prng_below(&r.rng, 40);
    r.write_pct = 5 + prng_below(&r.rng, 95);
    r.spurious_ppm = prng_below(&r.rng, 2) * 200000;
    r.max_steps = 4000000;
    r.w = cw_new(&cfg);
    r.w->trace = getenv("COH_TRACE") != NULL ? print_line : NULL; /* with COH_SEED=s COH_SEEDS=1 */
    r.w->trace_arg = &r;
    run_to_end(&r, seed);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 0) : otherwise;
}

static void test_small_clusters(void **state)
{
    (void)state;
    uint64_t first = env_number("COH_SEED", 1), n = env_number("COH_SEEDS", 1500);
    for (uint64_t s = first; s < first + n; s++)
        one(s, 0, false);
}

static void test_hostile(void **state)
{
    (void)state;
    uint64_t first = env_number("COH_SEED", 1), n = env_number("COH_SEEDS", 300);
    for (uint64_t s = first; s < first + n; s++)
        one(s, 0, true);
    assert_true(seen.drop[COH_DROP_TXN] > 0 && seen.drop[COH_DROP_NOT_FROM_HOME] > 0);
    assert_true(seen.drop[COH_DROP_PAGE_RANGE] > 0 && seen.drop[COH_DROP_WRONG_VM] > 0);
    assert_true(seen.drop[COH_DROP_STATE] > 0 && seen.drop[COH_DROP_FIELDS] > 0);
    assert_true(seen.drop[COH_DROP_VERSION] > 0 && seen.drop[COH_DROP_REQUESTER] > 0);
}

static void test_64_nodes(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= 5; s++)
        one(s, 64, false);
}

/* Every transition that the protocol has must have been taken by some seed. */
static void test_coverage(void **state)
{
    static const uint8_t want[][2] = {
        {COH_I, COH_IS_D},      {COH_I, COH_IM_AD},     {COH_I, COH_IS_P},    {COH_S, COH_SM_AD},
        {COH_S, COH_SI_U},      {COH_S, COH_OI_U},      {COH_S, COH_SE_U},    {COH_S, COH_OE_U},
        {COH_M, COH_MS_P},      {COH_M, COH_MI_U},      {COH_M, COH_ME_U},    {COH_IS_D, COH_IS_P},
        {COH_IS_P, COH_S},      {COH_IM_AD, COH_IM_P},  {COH_IM_P, COH_M},    {COH_SM_AD, COH_SM_A},
        {COH_SM_AD, COH_SM_IU}, {COH_SM_IU, COH_IM_AD}, {COH_SM_A, COH_IM_P}, {COH_MS_P, COH_S},
        {COH_SI_U, COH_I},      {COH_OI_U, COH_I},      {COH_MI_U, COH_I},    {COH_SE_U, COH_SE_A},
        {COH_SE_U, COH_SI_U},   {COH_SE_U, COH_IS_P},   {COH_OE_U, COH_OE_A}, {COH_OE_U, COH_OI_U},
        {COH_OE_U, COH_SI_U},   {COH_OE_U, COH_IS_P},   {COH_ME_U, COH_ME_A}, {COH_ME_U, COH_MI_U},
        {COH_ME_U, COH_IM_P},   {COH_SE_A, COH_I},      {COH_SE_A, COH_IE_A}, {COH_OE_A, COH_I},
        {COH_OE_A, COH_IE_A},   {COH_ME_A, COH_I},      {COH_ME_A, COH_IE_A}, {COH_ME_A, COH_OE_A},
        {COH_IE_A, COH_I},
    };
    (void)state;
    bool all = true;
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(want); i++) {
        if (seen.transitions[want[i][0]][want[i][1]] > 0)
            continue;
        print_message("never seen: %s -> %s\n", coh_state_name(want[i][0]),
                      coh_state_name(want[i][1]));
        all = false;
    }
    assert_true(seen.held > 0 && seen.expired > 0 && seen.wounded > 0 && seen.stale > 0 &&
                seen.txn_full > 0);
    assert_true(seen.deferred > 0 && seen.punches > 0);
    assert_true(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_clusters),
        cmocka_unit_test(test_64_nodes),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
