/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes, configuration limits, home maps, tables, identifiers at their end, and the refusal of bad
 * messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/coherence/core.h"
#include "tests/unit/coherence_world.h"

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct coh_entry), 8);
    assert_int_equal(sizeof(struct coh_dir), 16);
    /* Twice the pages cost 8 bytes each, and 16 for those homed here. */
    struct coh_config cfg = cw_config(2, 1 << 20);
    size_t one = coh_size(&cfg);
    cfg.pages = 1 << 21;
    assert_int_equal(coh_size(&cfg) - one, (8 + 16 / 2) << 20);
}

static void expect_refused(struct coh_config cfg)
{
    static uint8_t mem[64] __attribute__((aligned(64)));
    assert_int_equal(coh_size(&cfg), 0);
    assert_null(coh_init(mem, &cfg));
}

static void test_config(void **state)
{
    (void)state;
    const struct coh_config good = cw_config(3, 64);
    struct coh_config c;
    assert_true(coh_size(&good) > 0);
#define REFUSED(field, value)                                                                      \
    c = good;                                                                                      \
    c.field = value;                                                                               \
    expect_refused(c)
    REFUSED(nodes, 0);
    REFUSED(nodes, 65);
    REFUSED(self, 3);
    REFUSED(pages, 0);
    REFUSED(pages, (UINT64_C(1) << 36) + 1);
    REFUSED(home_mode, 2);
    REFUSED(interleave_shift, 21);
    REFUSED(epoch_txn, 0);
    REFUSED(epoch_txn, (UINT64_C(1) << 47) + 1);
    REFUSED(txn_max, 0);
    REFUSED(txn_max, 65537);
    REFUSED(deferred_max, 2 * 16 - 1); /* (nodes - 1) * txn_max - 1 */
    REFUSED(deferred_max, (1 << 23) + 1);
    REFUSED(hold_ns, 1); /* more than hold_max_ns */
    REFUSED(hold_max_ns, (UINT64_C(1) << 40) + 1);
#undef REFUSED
    c = good;
    c.home_mode = COH_HOME_RANGE;
    assert_true(coh_size(&c) > 0);
    c.range_end[2] = 63;
    expect_refused(c);
    c.range_end[2] = 64;
    c.range_end[0] = 50;
    c.range_end[1] = 49;
    expect_refused(c);
    uint8_t *mem = aligned_alloc(64, coh_size(&good) + 128);
    memset(mem, 0, coh_size(&good) + 128);
    assert_null(coh_init(mem + 8, &good));
    assert_non_null(coh_init(mem, &good));
    free(mem);
}

/* Every page has one home, and the homes' directories have exactly their pages. */
static void test_homes(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 2; mode++)
        for (uint8_t shift = 0; shift < 4; shift++)
            for (uint8_t nodes = 1; nodes <= 5; nodes++)
                for (uint64_t pages = 1; pages <= 40; pages++) {
                    struct coh_config cfg = cw_config(nodes, pages);
                    cfg.home_mode = (uint8_t)mode;
                    cfg.interleave_shift = shift;
                    struct cw *w = cw_new(&cfg);
                    for (uint64_t p = 0; p < pages; p++) {
                        uint8_t home = coh_home(w->node[0].coh, p);
                        assert_true(home < nodes);
                        struct coh *h = w->node[home].coh;
                        uint64_t i = coh_home_index(h, p);
                        assert_true(i < h->home_pages);
                        assert_int_equal(h->dir[i].spare, 0);
                        h->dir[i].spare = 1; /* no other page has this index */
                    }
                    cw_free(w);
                }
}

/* The table against the rules that the prose states for whole groups of states. */
static void test_tables(void **state)
{
    (void)state;
    for (unsigned s = 0; s < COH_STATES; s++) {
        const coh_cache_handler *row = coh_cache_table[s];
        assert_non_null(row[COH_CE_READ]);
        assert_non_null(row[COH_CE_WRITE]);
        unsigned edges = (row[COH_CE_MAPPED] != NULL) + (row[COH_CE_PROTECTED] != NULL) +
                         (row[COH_CE_UNMAPPED] != NULL);
        assert_true(edges <= 1);
        bool stable = s == COH_I || s == COH_S || s == COH_M;
        assert_int_equal(stable, row[COH_CE_EVICT] != NULL);
        if (stable)
            for (unsigned e = COH_CE_FWD_GETS; e <= COH_CE_INV; e++)
                assert_true(row[e] != coh_defer_cell);
        for (unsigned e = 0; e < COH_CES; e++)
            if (e < COH_CE_FWD_GETS || e > COH_CE_INV)
                assert_true(row[e] != coh_defer_cell);
        assert_string_not_equal(coh_state_name(s), "?");
    }
}

/* ---- refusals
 * --------------------------------------------------------------------------------------- */

static uint64_t drops(const struct cw *w, unsigned node, enum coh_drop why)
{
    return coh_counters(w->node[node].coh)->drop[why];
}

static void refused(struct cw *w, uint8_t dst, uint8_t src, struct wire_msg m, enum coh_drop why)
{
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src, .page = m.page, .msg = m};
    struct coh_page_view before, after;
    uint64_t n = drops(w, dst, why);
    coh_view(w->node[dst].coh, 0, &before);
    cw_step(w, dst, &ev);
    coh_view(w->node[dst].coh, 0, &after);
    assert_int_equal(w->actions.n, 0);
    assert_int_equal(drops(w, dst, why), n + 1);
    assert_int_equal(before.state, after.state);
    assert_int_equal(before.version, after.version);
}

static void test_refusals(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(3, 8);
    struct cw *w = cw_new(&cfg);
    const struct wire_msg gets = {.kind = WIRE_GETS, .vm = 1, .requester = 1, .page = 0, .txn = 9};
    struct wire_msg m = gets;
    m.vm = 2;
    refused(w, 0, 1, m, COH_DROP_WRONG_VM);
    m = gets;
    m.page = 8;
    refused(w, 0, 1, m, COH_DROP_PAGE_RANGE);
    m = gets;
    m.page = 1;
    refused(w, 0, 1, m, COH_DROP_NOT_HOME);
    refused(w, 0, 2, gets, COH_DROP_REQUESTER);
    m = gets;
    m.acks = 1;
    refused(w, 0, 1, m, COH_DROP_FIELDS);
    m = gets;
    m.txn = 0;
    refused(w, 0, 1, m, COH_DROP_FIELDS);
    m = (struct wire_msg){.kind = WIRE_INV, .vm = 1, .requester = 2, .txn = 5, .version = 1};
    refused(w, 1, 2, m, COH_DROP_NOT_FROM_HOME);
    refused(w, 1, 0, m, COH_DROP_STATE);
    m.requester = 1;
    refused(w, 1, 0, m, COH_DROP_REQUESTER);
    cw_fault(w, 1, 0, 0, true);
    cw_settle(w); /* node 1 is in M with version 1 */
    m = gets;
    m.kind = WIRE_GETM;
    refused(w, 0, 1, m, COH_DROP_DIR_STATE);
    refused(w, 0, 1, gets, COH_DROP_DIR_STATE);
    m = (struct wire_msg){.kind = WIRE_FWD_GETS, .vm = 1, .requester = 2, .txn = 5, .version = 3};
    refused(w, 1, 0, m, COH_DROP_VERSION);
    m = (struct wire_msg){.kind = WIRE_FWD_GETM,
                          .vm = 1,
                          .requester = 2,
                          .txn = 5,
                          .version = 2,
                          .acks = 1,
                          .exclusive = true};
    refused(w, 1, 0, m, COH_DROP_FIELDS);
    m = (struct wire_msg){.kind = WIRE_PUTM, .vm = 1, .requester = 1, .txn = 5, .version = 2};
    refused(w, 0, 1, m, COH_DROP_VERSION);
    m = (struct wire_msg){.kind = WIRE_PUTO, .vm = 1, .requester = 1, .txn = 5, .version = 1};
    refused(w, 0, 1, m, COH_DROP_DIR_STATE);
    m = (struct wire_msg){.kind = WIRE_PUT_ACK, .vm = 1, .requester = 1, .txn = 5};
    refused(w, 1, 0, m, COH_DROP_STATE);
    struct coh_event ev = {.type = COH_EV_UNMAPPED, .page = 0};
    cw_step(w, 1, &ev);
    assert_int_equal(drops(w, 1, COH_DROP_EDGE), 1);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* Answers to a request in flight: wrong id, wrong kind of answer, double acks, too many acks. */
static void test_refused_answers(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(4, 8);
    struct cw *w = cw_new(&cfg);
    cw_fault(w, 1, 0, 0, true);
    struct wire_msg data = {
        .kind = WIRE_DATA, .vm = 1, .requester = 1, .txn = 1, .version = 1, .exclusive = true};
    struct wire_msg ack = {.kind = WIRE_INV_ACK, .vm = 1, .requester = 1, .txn = 1, .version = 1};
    struct wire_msg m = data;
    m.txn = 2;
    assert_false(coh_wants_data(w->node[1].coh, 2, &m));
    refused(w, 1, 2, m, COH_DROP_TXN);
    m = data;
    m.exclusive = false;
    refused(w, 1, 2, m, COH_DROP_FIELDS);
    m = ack;
    m.txn = 7;
    refused(w, 1, 2, m, COH_DROP_TXN);
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = 2, .msg = ack};
    cw_step(w, 1, &ev);
    refused(w, 1, 2, ack, COH_DROP_ACKS);
    refused(w, 1, 3, data, COH_DROP_ACKS); /* acks 0, but one came */
    m = data;
    m.acks = 2;
    m.version = 0;
    refused(w, 1, 3, m, COH_DROP_VERSION);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* A peer answers this home's own request with a version that no home has given out. */
static void test_invented_version(void **state)
{
    for (unsigned write = 0; write < 2; write++) {
        struct coh_config cfg = cw_config(2, 4);
        struct cw *w = cw_new(&cfg);
        (void)state;
        cw_fault(w, 1, 0, 0, true);
        cw_settle(w);
        cw_fault(w, 0, 0, 0, write != 0);
        struct wire_msg m = {.kind = WIRE_DATA,
                             .vm = 1,
                             .requester = 0,
                             .txn = 1,
                             .version = write != 0 ? 3 : 2,
                             .exclusive = write != 0};
        assert_false(coh_wants_data(w->node[0].coh, 1, &m));
        refused(w, 0, 1, m, COH_DROP_VERSION);
        cw_settle(w);
        cw_check_end(w);
        assert_string_equal(w->broken, "");
        cw_free(w);
    }
}

static void test_peer_down(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 8);
    struct cw *w = cw_new(&cfg);
    struct coh_event ev = {.type = COH_EV_PEER_DOWN, .src = 1};
    cw_step(w, 0, &ev);
    assert_int_equal(w->actions.n, 1);
    assert_int_equal(w->actions.a[0].type, COH_ACT_STOP);
    assert_int_equal(w->actions.a[0].reason, COH_STOP_PEER_LOST);
    assert_int_equal(w->actions.a[0].dst, 1);
    cw_fault(w, 0, 0, 0, true);
    assert_int_equal(w->actions.n, 0);
    assert_int_equal(drops(w, 0, COH_DROP_DEAD_PEER), 1);
    assert_true(coh_deadline(w->node[0].coh) == UINT64_MAX);
    cw_free(w);
}

/* The 48-bit numbers do not wrap: the VM stops by name. */
static void test_ids_used_up(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 8);
    struct cw *w = cw_new(&cfg);
    w->node[0].coh->next_txn = COH_ID_LIMIT - 1;
    cw_fault(w, 0, 0, 1, true);
    assert_int_equal(w->node[0].stopped.reason, COH_STOP_IDS_USED_UP);
    cw_free(w);
    w = cw_new(&cfg);
    w->node[0].coh->dir[0].version = COH_ID_LIMIT - 2;
    cw_fault(w, 1, 0, 0, true);
    cw_settle(w);
    assert_int_equal(w->node[0].stopped.reason, COH_STOP_IDS_USED_UP);
    cw_free(w);
}

/* A node whose own pages exceed its limit by more than the slack (1 + 64 + 8/8) says so instead of
 * spinning. */
static void test_no_frame(void **state)
{
    (void)state;
    static struct coh_actions out;
    const uint64_t slack = 66;
    struct coh_config cfg = cw_config(1, 100);
    cfg.txn_max = 1;
    cfg.deferred_max = 1;
    cfg.resident_max = 8;
    size_t size = coh_size(&cfg);
    void *mem = aligned_alloc(64, (size + 63) / 64 * 64);
    memset(mem, 0, size);
    struct coh *c = coh_init(mem, &cfg);
    bool stopped = false;
    struct coh_event ev = {.now = 1};
    for (uint64_t p = 0; p < cfg.pages && !stopped; p++) {
        static const enum coh_event_type types[] = {COH_EV_WRITE_FAULT, COH_EV_MAPPED, COH_EV_TICK};
        for (unsigned i = 0; i < 3; i++) {
            ev.type = types[i];
            ev.page = p;
            ev.now += 1000000;
            coh_step(c, &ev, &out);
            if (out.n > 0 && out.a[out.n - 1].type == COH_ACT_STOP) {
                assert_int_equal(out.a[out.n - 1].reason, COH_STOP_NO_FRAME);
                stopped = true;
            }
        }
        assert_int_equal(stopped, p + 1 > cfg.resident_max + slack);
    }
    assert_true(stopped);
    free(mem);
}

/* coh_check finds planted damage (so that its silence means something). */
static void test_check_finds(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(2, 8);
    struct cw *w = cw_new(&cfg);
    struct coh *c = w->node[0].coh;
    cw_fault(w, 0, 0, 0, true);
    cw_settle(w);
    assert_null(coh_check(c, 0));
    assert_null(coh_check(c, UINT64_MAX));
    c->cache[0].owner = 0;
    assert_string_equal(coh_check(c, 0), "this state is an owner's");
    c->cache[0].owner = 1;
    c->cache[0].frame = 0;
    assert_string_equal(coh_check(c, 0), "a page that is not Invalid has a frame");
    assert_string_equal(coh_check(c, UINT64_MAX), "resident frames are counted");
    c->cache[0].frame = 1;
    c->dir[0].sharers = 3;
    assert_string_equal(coh_check(c, 0), "a modified page has one holder");
    c->dir[0].sharers = 1;
    c->cache[0].state = COH_IM_AD;
    c->cache[0].owner = 0;
    assert_string_equal(coh_check(c, 0), "a request has an own record and an id");
    c->cache[0].state = COH_M;
    c->cache[0].owner = 1;
    c->own_used++;
    assert_string_equal(coh_check(c, UINT64_MAX), "requests are counted");
    c->own_used--;
    assert_null(coh_check(c, 0));
    cw_free(w);
}

/* Reads and then writes the page; returns how many requests that took. */
static uint64_t read_and_write(struct cw *w, uint8_t node)
{
    const uint64_t *faults = coh_counters(w->node[node].coh)->faults;
    uint64_t before = faults[COH_FAULT_READ] + faults[COH_FAULT_WRITE] + faults[COH_FAULT_UPGRADE];
    cw_fault(w, node, 0, 0, false);
    cw_settle(w);
    cw_read(w, node, 0);
    if (w->node[node].map[0] != CW_RW) {
        cw_fault(w, node, 0, 0, true);
        cw_settle(w);
    }
    cw_write(w, node, 0);
    return faults[COH_FAULT_READ] + faults[COH_FAULT_WRITE] + faults[COH_FAULT_UPGRADE] - before;
}

/* Read and written by one node after the other: most turns are one request. */
static void test_migratory(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(3, 1);
    struct cw *w = cw_new(&cfg);
    uint64_t requests = 0;
    for (uint32_t turn = 0; turn < 30; turn++)
        requests += read_and_write(w, (uint8_t)(turn % 3));
    assert_in_range(requests, 30, 45);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

/* When nobody writes any more, the readers soon share it. */
static void test_migratory_no_more(void **state)
{
    (void)state;
    struct coh_config cfg = cw_config(3, 1);
    struct cw *w = cw_new(&cfg);
    for (uint32_t turn = 0; turn < 30; turn++)
        read_and_write(w, (uint8_t)(turn % 3));
    uint32_t reads = 0;
    for (uint32_t quiet = 0; quiet < 3; reads++) {
        uint8_t node = (uint8_t)(reads % 3);
        if (w->node[node].map[0] != CW_NONE) {
            quiet++;
            continue;
        }
        quiet = 0;
        cw_fault(w, node, 0, 0, false);
        cw_settle(w);
    }
    assert_in_range(reads, 3, 3 * 3 * 3);
    cw_check_end(w);
    assert_string_equal(w->broken, "");
    cw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_homes),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_answers),
        cmocka_unit_test(test_invented_version),
        cmocka_unit_test(test_peer_down),
        cmocka_unit_test(test_ids_used_up),
        cmocka_unit_test(test_no_frame),
        cmocka_unit_test(test_check_finds),
        cmocka_unit_test(test_migratory),
        cmocka_unit_test(test_migratory_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
