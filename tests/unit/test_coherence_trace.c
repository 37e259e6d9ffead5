/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Golden traces: scripts in tests/golden/coherence with the exact events and actions that they
 * cause, to be reviewed as text. Lines that begin with '>' are commands, '#' comments; the rest is
 * output. A wrong trace is printed in full; PANDO_GOLDEN_WRITE=1 writes what is true now into the
 * files (then read the diff).
 *
 *   > world NODES PAGES [HOLD HOLD_MAX [TXN_MAX]]
 *   > read NODE PAGE [VCPU]    > write NODE PAGE [VCPU]   the faults
 *   > store NODE PAGE          > load NODE PAGE           what the guest does with a mapped page
 *   > deliver SRC DST urgent|request|data  > done NODE PAGE             > settle
 *   > evict NODE PAGE                      > time NS                    > tick NODE
 *   > state PAGE
 *
 * A store adds one to the page's value; a load must find the last store.
 *
 *   > crash NODE           it is no more; what it had sent may still arrive
 *   > lost NODE PEER       NODE is told: PEER_DOWN; what was on its way between the two is lost
 *   > copies PAGE          who has the bytes of the last store
 *   > limit NODE FRAMES    resident_max from now on
 *   > life TXN             all nodes start again with this first transaction id; old messages stay
 *   > expect stop NODE PEER     NODE has stopped, naming PEER, by the end (of this life)
 *   > expect drop NODE REASON   something was dropped there
 *
 * No node may stop and nothing may be dropped, but as expected; after a crash every survivor has to
 * stop, so that nothing waits for the dead. One that has stopped drops what comes (dead_peer), and
 * what it still maps holds the last store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/coherence/core.h"
#include "tests/unit/coherence_world.h"

#ifndef PANDO_SOURCE_ROOT
#define PANDO_SOURCE_ROOT "."
#endif

struct script {
    struct cw *w;
    char out[32768];
    size_t n;
    bool crashed;                        /* in this life */
    uint8_t stop[COH_NODES_MAX];         /* 1 + the peer that is expected to be named; 0: none */
    bool drop[COH_NODES_MAX][COH_DROPS]; /* expected */
};

static void emit(void *arg, const char *line)
{
    struct script *s = arg;
    int n = snprintf(s->out + s->n, sizeof(s->out) - s->n, "%s\n", line);
    assert_true(n > 0 && (size_t)n < sizeof(s->out) - s->n);
    s->n += (size_t)n;
}

static unsigned class_named(const char *name)
{
    static const char *const names[] = {"urgent", "request", "data"};
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fail_msg("no class %s", name);
    return 0;
}

static void show(struct script *s, uint32_t page)
{
    static const char *const dir[] = {"ZERO", "OWNED", "MODIFIED"};
    char line[256];
    struct coh_dir_view d;
    size_t n = (size_t)snprintf(line, sizeof(line), "p=0x%x:", page);
    for (unsigned i = 0; i < s->w->cfg.nodes; i++) {
        struct coh_page_view v;
        coh_view(s->w->node[i].coh, page, &v);
        if (s->w->node[i].dead)
            n += (size_t)snprintf(line + n, sizeof(line) - n, " %u=dead", i);
        else
            n += (size_t)snprintf(line + n, sizeof(line) - n, " %u=%s%s", i,
                                  coh_state_name(v.state), v.owner ? "*" : "");
    }
    const struct cw_node *home = &s->w->node[coh_home(s->w->node[0].coh, page)];
    if (home->dead) {
        emit(s, line);
        return;
    }
    coh_dir_view(home->coh, page, &d);
    snprintf(line + n, sizeof(line) - n, "  directory %s owner=%u sharers=0x%llx v=%llu",
             dir[d.state], d.owner, (unsigned long long)d.sharers, (unsigned long long)d.version);
    emit(s, line);
}

/* Makes the clock hand choose this page now. */
static void evict(struct script *s, uint8_t node, uint32_t page)
{
    struct coh *c = s->w->node[node].coh;
    c->cfg.resident_max = c->counters.resident++; /* a limit of 0 would mean none */
    c->hand = page;
    c->cache[page].ref = 0;
    cw_tick(s->w, node);
    c->cfg.resident_max = 0;
    c->counters.resident--;
    if (s->w->actions.n != 1 || s->w->actions.a[0].type != COH_ACT_UNMAP)
        fail_msg("page %u of node %u was not chosen\n%s", page, node, s->out);
}

/* Frames of pages that a node has, and messages on their way. */
static void copies(struct script *s, uint32_t page)
{
    struct cw *w = s->w;
    char line[256];
    size_t n = (size_t)snprintf(line, sizeof(line), "p=0x%x: store %llu is at:", page,
                                (unsigned long long)w->latest[page]);
    size_t none = n;
    assert_true(w->latest[page] > 0); /* without a store nothing tells frames apart */
    for (uint8_t i = 0; i < w->cfg.nodes; i++) {
        struct coh_page_view v;
        coh_view(w->node[i].coh, page, &v);
        if (!w->node[i].dead && v.state != COH_I && w->node[i].frame[page] == w->latest[page])
            n += (size_t)snprintf(line + n, sizeof(line) - n, " %u", i);
    }
    for (uint32_t q = 0; q < CW_QUEUES; q++)
        for (uint32_t i = 0; i < w->queue[q].n; i++) {
            const struct cw_queue *at = &w->queue[q];
            const struct cw_parcel *p = &at->item[(at->head + i) % at->size];
            if (p->msg.page == page && p->value == w->latest[page])
                n += (size_t)snprintf(line + n, sizeof(line) - n, " (%u to %u)",
                                      q / CW_CLASSES / COH_NODES_MAX,
                                      q / CW_CLASSES % COH_NODES_MAX);
        }
    if (n == none)
        snprintf(line + n, sizeof(line) - n, " no node");
    emit(s, line);
}

static void guest(struct script *s, const char *verb, uint8_t node, uint32_t page)
{
    char line[64];
    if (verb[0] == 's')
        cw_write(s->w, node, page);
    else
        cw_read(s->w, node, page);
    snprintf(line, sizeof(line), "   %ss %llu", verb,
             (unsigned long long)s->w->node[node].frame[page]);
    emit(s, line);
}

/* ---- crashes: what must be true of stops and drops at the end of a life -------------------- */

static void expect(struct script *s, const char *what, unsigned node, const char *word)
{
    assert_true(node < s->w->cfg.nodes);
    if (strcmp(what, "stop") == 0) {
        s->stop[node] = (uint8_t)(1 + strtoul(word, NULL, 10));
        return;
    }
    for (unsigned d = 0; d < COH_DROPS; d++)
        if (strcmp(word, coh_drop_name((enum coh_drop)d)) == 0) {
            s->drop[node][d] = true;
            return;
        }
    fail_msg("no reason to drop: %s", word);
}

static void check_life(struct script *s)
{
    for (unsigned n = 0; n < s->w->cfg.nodes; n++) {
        const struct cw_node *node = &s->w->node[n];
        bool stopped = cw_stopped(node);
        if (!stopped && !node->dead && s->crashed)
            fail_msg("node %u does not stop after the crash of another\n%s", n, s->out);
        if (stopped != (s->stop[n] > 0))
            fail_msg("node %u: stopped %d, expected %d\n%s", n, stopped, !stopped, s->out);
        if (stopped &&
            (node->stopped.reason != COH_STOP_PEER_LOST || node->stopped.dst != s->stop[n] - 1))
            fail_msg("node %u stops, reason %u, naming %u\n%s", n, node->stopped.reason,
                     node->stopped.dst, s->out);
        for (unsigned d = 0; d < COH_DROPS; d++) {
            bool may = stopped && d == COH_DROP_DEAD_PEER;
            bool did = coh_counters(node->coh)->drop[d] > 0;
            if (did ? !may && !s->drop[n][d] : s->drop[n][d])
                fail_msg("node %u: drop %s: %d\n%s", n, coh_drop_name((enum coh_drop)d), did,
                         s->out);
        }
    }
}

/* Whatever comes now, a stopped node does nothing (cw_step looks) and shows nothing wrong. */
static void check_stopped(struct cw *w, uint8_t n)
{
    struct cw_node *node = &w->node[n];
    if (coh_deadline(node->coh) != UINT64_MAX)
        cw_break(w, "node %u wants a TICK after STOP", n);
    struct coh_event idle = {.type = COH_EV_IDLE};
    cw_tick(w, n);
    cw_step(w, n, &idle);
    for (uint32_t p = 0; p < w->cfg.pages; p++) {
        cw_fault(w, n, 0, p, false);
        cw_fault(w, n, 1, p, true);
        if (node->map[p] != CW_NONE)
            cw_read(w, n, p);
        if (coh_check(node->coh, p) != NULL)
            cw_break(w, "node %u page %u: not true: %s", n, p, coh_check(node->coh, p));
    }
}

static void end_well(struct script *s)
{
    struct cw *w = s->w;
    w->trace = NULL;
    w->now += 1000000;
    for (uint8_t n = 0; n < w->cfg.nodes; n++)
        if (!w->node[n].dead)
            cw_tick(w, n);
    cw_settle(w);
    for (uint8_t n = 0; n < w->cfg.nodes; n++)
        if (cw_stopped(&w->node[n]) && !w->node[n].dead)
            check_stopped(w, n);
    if (!s->crashed)
        cw_check_end(w);
}

static void new_life(struct script *s, uint64_t txn)
{
    check_life(s);
    memset(s->stop, 0, sizeof(s->stop));
    memset(s->drop, 0, sizeof(s->drop));
    s->crashed = false;
    cw_new_life(s->w, txn);
}

static bool crash_command(struct script *s, const char *text)
{
    unsigned a = 0, b = 0;
    unsigned long long h = 0;
    char what[8], word[16];
    if (sscanf(text, "> crash %u", &a) == 1) {
        s->crashed = true;
        cw_crash(s->w, (uint8_t)a);
    } else if (sscanf(text, "> lost %u %u", &a, &b) == 2) {
        cw_lost(s->w, (uint8_t)a, (uint8_t)b);
    } else if (sscanf(text, "> copies %u", &a) == 1) {
        copies(s, a);
    } else if (sscanf(text, "> limit %u %u", &a, &b) == 2) {
        s->w->node[a].coh->cfg.resident_max = b;
    } else if (sscanf(text, "> life %llu", &h) == 1) {
        new_life(s, h);
    } else if (sscanf(text, "> expect %7s %u %15s", what, &a, word) == 3) {
        expect(s, what, a, word);
    } else {
        return false;
    }
    return true;
}

static void begin(struct script *s, const char *text)
{
    unsigned nodes = 0, pages = 0;
    unsigned long long hold = 0, hold_max = 0;
    struct coh_config cfg = cw_config(2, 1);
    uint32_t txn_max = cfg.txn_max;
    assert_true(sscanf(text, "> world %u %u %llu %llu %u", &nodes, &pages, &hold, &hold_max,
                       &txn_max) >= 2);
    cfg = cw_config((uint8_t)nodes, pages);
    cfg.hold_ns = hold;
    cfg.hold_max_ns = hold_max;
    cfg.txn_max = txn_max;
    s->w = cw_new(&cfg);
    s->w->trace = emit;
    s->w->trace_arg = s;
}

static void command(struct script *s, const char *text)
{
    char verb[16], word[16];
    unsigned a = 0, b = 0;
    unsigned long long h = 0;
    assert_true(sscanf(text, "> %15s", verb) == 1);
    if (strcmp(verb, "world") == 0) {
        begin(s, text);
    } else if (crash_command(s, text)) {
        return;
    } else if (strcmp(verb, "settle") == 0) {
        cw_settle(s->w);
    } else if (sscanf(text, "> deliver %u %u %15s", &a, &b, word) == 3) {
        if (!cw_deliver(s->w, (uint8_t)a, (uint8_t)b, class_named(word)))
            emit(s, "nothing to deliver");
    } else if (sscanf(text, "> time %llu", &h) == 1) {
        s->w->now += h;
    } else if (sscanf(text, "> state %u", &a) == 1) {
        show(s, a);
    } else if (sscanf(text, "> tick %u", &a) == 1) {
        cw_tick(s->w, (uint8_t)a);
    } else {
        unsigned vcpu = 0;
        int n = sscanf(text, "> %*s %u %u %u", &a, &b, &vcpu);
        assert_true(n >= 2);
        if (strcmp(verb, "read") == 0 || strcmp(verb, "write") == 0)
            cw_fault(s->w, (uint8_t)a, (uint8_t)vcpu, b, verb[0] == 'w');
        else if (strcmp(verb, "done") == 0)
            cw_edge_done(s->w, (uint8_t)a, b);
        else if (strcmp(verb, "evict") == 0)
            evict(s, (uint8_t)a, b);
        else if (strcmp(verb, "store") == 0 || strcmp(verb, "load") == 0)
            guest(s, verb, (uint8_t)a, b);
        else
            fail_msg("no command: %s", text);
    }
}

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    char *text = calloc(1, 65536);
    size_t n = fread(text, 1, 65535, f);
    assert_true(n > 0 && n < 65535);
    fclose(f);
    return text;
}

static void play(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), PANDO_SOURCE_ROOT "/tests/golden/coherence/%s.txt", name);
    char *golden = read_all(path);
    char *copy = malloc(strlen(golden) + 1);
    memcpy(copy, golden, strlen(golden) + 1);
    struct script *s = calloc(1, sizeof(*s));
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (line[0] != '>' && line[0] != '#')
            continue;
        emit(s, line);
        if (line[0] == '>')
            command(s, line);
    }
    if (s->w->broken[0] != '\0')
        fail_msg("%s: %s\n%s", name, s->w->broken, s->out);
    check_life(s);
    end_well(s);
    if (s->w->broken[0] != '\0')
        fail_msg("%s: %s\n%s", name, s->w->broken, s->out);
    cw_free(s->w);
    if (getenv("PANDO_GOLDEN_WRITE") != NULL) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fwrite(s->out, 1, s->n, f);
        fclose(f);
    } else if (strcmp(s->out, golden) != 0) {
        fail_msg("%s is now:\n%s", name, s->out);
    }
    free(s);
    free(copy);
    free(golden);
}

static void test_trace(void **state)
{
    play(*state);
}

#define TRACE(name)                                                                                \
    {                                                                                              \
        name, test_trace, NULL, NULL, (void *)(uintptr_t)name                                      \
    }

int main(void)
{
    /* clang-format off */
    const struct CMUnitTest tests[] = {
        TRACE("read_zero"),           TRACE("read_from_owner"),   TRACE("write_two_sharers"),
        TRACE("write_owner_away"),    TRACE("upgrade_race"),      TRACE("inv_before_data"),
        TRACE("fwd_before_data"),     TRACE("acks_before_grant"), TRACE("evict_puts"),
        TRACE("evict_puts_inv"),      TRACE("evict_putm"),        TRACE("evict_putm_fwd_gets"),
        TRACE("evict_putm_fwd_getm"), TRACE("evict_puto"),        TRACE("evict_puto_fwd_gets"),
        TRACE("evict_puto_fwd_getm"), TRACE("evict_puto_inv"),    TRACE("evict_unmap_races"),
        TRACE("evict_called_off"),    TRACE("home_reads_putm"),   TRACE("home_evicts_put"),
        TRACE("page_set_hold"),       TRACE("late_faults"),       TRACE("upgrade_with_parked"),
        TRACE("crash_reader_gets_lost"), TRACE("crash_reader_gets"), TRACE("crash_reader_data"),
        TRACE("crash_writer_getm"), TRACE("crash_writer_fwd_late"), TRACE("crash_writer_data"),
        TRACE("crash_writer_acks"), TRACE("crash_writer_mapped"), TRACE("crash_owner_fwd_lost"),
        TRACE("crash_owner_protect"), TRACE("crash_owner_unmap"), TRACE("crash_owner_data_lost"),
        TRACE("crash_owner_data_out"), TRACE("crash_owner_gave"), TRACE("crash_owner_ack"),
        TRACE("crash_sharer_inv"), TRACE("crash_sharer_unmap"), TRACE("crash_sharer_acked"),
        TRACE("crash_home_view_idle"), TRACE("crash_home_view_shared"),
        TRACE("crash_home_view_last"), TRACE("crash_zero_sharer"), TRACE("crash_evict_putm"),
        TRACE("crash_evict_putm_lost"), TRACE("crash_evict_putm_fwd_gets"),
        TRACE("crash_evict_putm_fwd_getm"), TRACE("crash_evict_puto_home_reads"),
        TRACE("crash_evict_puto"), TRACE("crash_evict_puto_inv"), TRACE("crash_evict_puts"),
        TRACE("crash_evict_puts_inv"), TRACE("crash_evict_unmap"), TRACE("crash_home_gets"),
        TRACE("crash_home_fwd_out"), TRACE("crash_home_grant_out"), TRACE("crash_home_inv_out"),
        TRACE("crash_home_grant_zero"), TRACE("crash_home_owner"), TRACE("crash_edge_map"),
        TRACE("crash_edge_protect"), TRACE("crash_edge_unmap"), TRACE("crash_edge_unmap_inv"),
        TRACE("crash_edge_unmap_evict"), TRACE("crash_hold_over"), TRACE("crash_evict_due"),
        TRACE("crash_fault_waits"), TRACE("crash_stopped_serves_nobody"), TRACE("crash_two"),
        TRACE("crash_new_life"),
    };
    /* clang-format on */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
