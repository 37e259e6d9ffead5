/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Golden traces: scripts in tests/golden/coherence with the exact events and actions that they
 * cause, to be reviewed as text. Lines that begin with '>' are commands, '#' comments; the rest is
 * output. A wrong trace is printed in full; PANDO_GOLDEN_WRITE=1 writes what is true now into the
 * files (then read the diff).
 *
 *   > world NODES PAGES [HOLD HOLD_MAX]    > read NODE PAGE [VCPU]      > write NODE PAGE [VCPU]
 *   > deliver SRC DST urgent|request|data  > done NODE PAGE             > settle
 *   > evict NODE PAGE                      > time NS                    > tick NODE
 *   > state PAGE
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
        n += (size_t)snprintf(line + n, sizeof(line) - n, " %u=%s%s", i, coh_state_name(v.state),
                              v.owner ? "*" : "");
    }
    coh_dir_view(s->w->node[coh_home(s->w->node[0].coh, page)].coh, page, &d);
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

static void command(struct script *s, const char *text)
{
    char verb[16], word[16];
    unsigned a = 0, b = 0;
    unsigned long long h = 0, m = 0;
    assert_true(sscanf(text, "> %15s", verb) == 1);
    if (sscanf(text, "> world %u %u %llu %llu", &a, &b, &h, &m) >= 2) {
        struct coh_config cfg = cw_config((uint8_t)a, b);
        cfg.hold_ns = h;
        cfg.hold_max_ns = m;
        s->w = cw_new(&cfg);
        s->w->trace = emit;
        s->w->trace_arg = s;
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
    for (unsigned n = 0; n < s->w->cfg.nodes; n++)
        for (unsigned d = 0; d < COH_DROPS; d++)
            if (coh_counters(s->w->node[n].coh)->drop[d] > 0)
                fail_msg("%s: node %u dropped: %s\n%s", name, n, coh_drop_name(d), s->out);
    s->w->trace = NULL; /* whatever was left ends well */
    s->w->now += 1000000;
    for (uint8_t n = 0; n < s->w->cfg.nodes; n++)
        cw_tick(s->w, n);
    cw_settle(s->w);
    cw_check_end(s->w);
    if (s->w->broken[0] != '\0')
        fail_msg("%s: %s", name, s->w->broken);
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
    const struct CMUnitTest tests[] = {
        TRACE("read_zero"),           TRACE("read_from_owner"),   TRACE("write_two_sharers"),
        TRACE("write_owner_away"),    TRACE("upgrade_race"),      TRACE("inv_before_data"),
        TRACE("fwd_before_data"),     TRACE("acks_before_grant"), TRACE("evict_puts"),
        TRACE("evict_puts_inv"),      TRACE("evict_putm"),        TRACE("evict_putm_fwd_gets"),
        TRACE("evict_putm_fwd_getm"), TRACE("evict_puto"),        TRACE("evict_puto_fwd_gets"),
        TRACE("evict_puto_fwd_getm"), TRACE("evict_puto_inv"),    TRACE("evict_unmap_races"),
        TRACE("evict_called_off"),    TRACE("home_reads_putm"),   TRACE("home_evicts_put"),
        TRACE("page_set_hold"),       TRACE("late_faults"),       TRACE("upgrade_with_parked"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
