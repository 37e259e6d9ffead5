/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans of faults that wait for acknowledgements: of many sharers the last one's stamps, in
 * whatever order they come; those beside the data; nodes that only say to be one. */
#include "tests/unit/span_world.h"

static void sharer_says(uint8_t src, uint16_t points, uint64_t from, enum span_drop want)
{
    struct wire_span m = stamps(SPAN_FAULT, 9, points, from);
    assert_int_equal(span_message(&s, src, &m, at(9000)), want);
}

static void path_e(uint64_t mapped)
{
    struct span_key k = fault_key(9);
    struct span_fault_end end = {
        .kind = SPAN_KIND_UPGRADE, .page = PAGE, .read = 1000, .mapped = mapped, .home = SELF};
    span_fault_end(&s, &k, &end);
}

/* Two or three sharers, each with an acknowledgement and stamps of its own, which come in any
 * order: every permutation. The one whose acknowledgement is last is kept; before the end or after
 * it. */
static void one_order(const uint8_t *order, unsigned n, unsigned mapped_at)
{
    static const uint8_t node[] = {SHARER, HOME, OWNER};
    struct span_key k = fault_key(9);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = SELF, .object = PAGE};
    struct span_record r;
    unsigned last = 0, acks = 0;
    begin(1);
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    for (unsigned i = 0; i < 2 * n; i++) {
        unsigned who = order[i] / 2;
        if (order[i] % 2 == 0) {
            span_acked(&s, &k, node[who], 4000 + 10 * i);
            last = who;
            if (++acks == n && mapped_at <= i)
                path_e(5000);
        } else {
            struct wire_span m = stamps(SPAN_FAULT, 9, ALL_SHARER, 2000 + 100 * who);
            enum span_drop got = span_message(&s, node[who], &m, at(9000));
            assert_true(got == SPAN_OK || (got == SPAN_DROP_NOT_LAST && acks == n && who != last));
        }
    }
    if (mapped_at == 2 * n)
        path_e(5000);
    assert_int_equal(s.kind[SPAN_KIND_UPGRADE].total.count, 1);
    assert_int_equal(s.kind[SPAN_KIND_UPGRADE].negative, 0);
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.points, LOCAL_POINTS | WAITED);
    assert_int_equal(r.stamp[SPAN_AT_SHARER_RX], 2000 + 100 * last);
    assert_int_equal(r.stamp[SPAN_AT_SHARER_TX], 2020 + 100 * last);
    struct wire_span m = stamps(SPAN_FAULT, 9, ALL_SHARER, 2000);
    assert_int_equal(span_message(&s, node[last], &m, at(9000)), SPAN_DROP_NOT_LAST); /* over */
}

static unsigned permute(uint8_t *order, unsigned n, unsigned from)
{
    unsigned count = 0;
    if (from == 2 * n) {
        one_order(order, n, 0);
        one_order(order, n, 2 * n);
        return 1;
    }
    for (unsigned i = from; i < 2 * n; i++) {
        uint8_t a = order[from];
        order[from] = order[i];
        order[i] = a;
        count += permute(order, n, from + 1);
        order[i] = order[from];
        order[from] = a;
    }
    return count;
}

static void last_sharer(void **state)
{
    (void)state;
    uint8_t order[] = {0, 1, 2, 3, 4, 5};
    assert_int_equal(permute(order, 1, 0), 2);
    assert_int_equal(permute(order, 2, 0), 24);
    assert_int_equal(permute(order, 3, 0), 720);
}

/* Whoever says to be a sharer leaves no trace if it was not the last. */
static void false_sharers(void **state)
{
    (void)state;
    const struct path *p = &paths[GRANT];
    begin(1);
    struct span_key k = fault_key(9);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = p->home, .object = PAGE};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    struct wire_span m = stamps(SPAN_FAULT, 9, ALL_SHARER, 2000);
    m.error = KHZ * SPAN_ERROR_MS;
    m.flags = WIRE_SPAN_AGAIN;
    assert_int_equal(span_message(&s, SHARER, &m, at(9000)), SPAN_OK);
    assert_int_equal(span_message(&s, SHARER, &m, at(9000)), SPAN_DROP_TWICE);
    sharer_says(SHARER, WITHOUT_RX, 2000, SPAN_DROP_NODE); /* only a home's INV is in no frame */
    sharer_says(HOME, ALL_SHARER, 2000, SPAN_DROP_NODE);
    sharer_says(HOME, WITHOUT_RX, 2000, SPAN_OK);
    m.flags = WIRE_SPAN_MERGED;
    assert_int_equal(span_message(&s, OWNER, &m, at(9000)), SPAN_DROP_POINTS);
    m.flags = WIRE_SPAN_AGAIN;
    sharer_says(OWNER, ALL_SHARER, 1100 - 2 * ERROR - 1, SPAN_DROP_TIME);
    sharer_says(OWNER, ALL_SHARER, 9000 - 20 + 2 * ERROR + 1, SPAN_DROP_TIME);
    requester_side(p, 9);
    sharer_says(OWNER, ALL_SHARER, 2000, SPAN_DROP_NOT_LAST);
    say(p, 9, true, false);
    check_path(p);
    struct span_record r;
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.peer_error, ERROR);
    assert_int_equal(r.flags, 0);
    begin(1); /* its acknowledgement was before the answer */
    requester_side(&paths[3], 9);
    sharer_says(SHARER, ALL_SHARER, 2000, SPAN_DROP_NOT_LAST);
    /* The one that was last has both. */
    p = &paths[1];
    begin(1);
    requester_side(p, 9);
    sharer_says(OWNER, ALL_SHARER, 2000, SPAN_DROP_NOT_LAST);
    say(p, 9, true, false);
    struct wire_span o = stamps(SPAN_FAULT, 9, p->owner_points, 3000);
    assert_int_equal(span_message(&s, OWNER, &o, at(9000)), SPAN_OK);
    m.points = ALL_SHARER;
    for (unsigned i = 0; i < 3; i++)
        m.stamp[i] = 4100 + 10 * i;
    assert_int_equal(span_message(&s, SHARER, &m, at(9000)), SPAN_OK);
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.peer_error, KHZ * SPAN_ERROR_MS);
    assert_int_equal(r.flags, SPAN_AGAIN);
    /* A node that speaks for many spans pushes out its own. */
    begin(1);
    for (uint64_t id = 1; id <= SPAN_OPEN_MAX; id++) {
        k = fault_key(id);
        span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    }
    uint64_t opened = span_open_count(&s, SPAN_FAULT, false), kept = 0;
    for (uint64_t id = 1; id <= 16; id++) {
        m = stamps(SPAN_FAULT, id, ALL_SHARER, 2000);
        k = fault_key(id);
        if (span_is_open(&s, &k)) {
            assert_int_equal(span_message(&s, SHARER, &m, at(9000)), SPAN_OK);
            kept++;
        }
    }
    for (uint64_t id = 1; id <= SPAN_OPEN_MAX; id++) {
        m = stamps(SPAN_FAULT, id, ALL_SHARER, 2000);
        span_message(&s, OWNER, &m, at(9000));
    }
    assert_true(opened > SPAN_OPEN_MAX / 2 && kept > 8);
    for (uint64_t id = 1; id <= 16; id++) {
        k = fault_key(id);
        assert_int_equal(span_sharer_find(&s, id, SHARER) != NULL, span_is_open(&s, &k));
    }
}

/* Data came while the last sharer unmapped, and while its acknowledgement was under way; and behind
 * all: the fault waited for what was left. */
static void sharer_beside_data(void **state)
{
    (void)state;
    static const struct {
        uint64_t data;
        uint16_t points;
        uint64_t done, acked;
    } at_time[] = {{2005, WITHOUT_RX | BIT(SPAN_AT_ACKED), 5, 2500 - 2020},
                   {2021, BIT(SPAN_AT_ACKED), 0, 2500 - 2021},
                   {2501, 0, 0, 0}};
    for (size_t i = 0; i < PANDO_ARRAY_LEN(at_time); i++) {
        begin(1);
        struct span_key k = fault_key(9);
        struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
        struct span_fault_end end = {
            .kind = SPAN_KIND_UPGRADE, .read = 1000, .mapped = 5000, .home = HOME};
        span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
        span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1200);
        struct wire_span m = stamps(SPAN_FAULT, 9, ALL_SHARER, 2000);
        m.error = 777;
        assert_int_equal(span_message(&s, SHARER, &m, at(9000)), SPAN_OK);
        span_acked(&s, &k, SHARER, 2500);
        span_answered(&s, &k, HOME, false, at_time[i].data);
        span_fault_end(&s, &k, &end);
        m = stamps(SPAN_FAULT, 9, ALL_HOME, 1300);
        assert_int_equal(span_message(&s, HOME, &m, at(9000)), SPAN_OK);
        struct span_record r;
        const struct span_kind_count *c = &s.kind[SPAN_KIND_UPGRADE];
        assert_true(span_copy(&s, 1, &r));
        assert_int_equal(r.points, REMOTE | ALL_HOME | at_time[i].points);
        assert_int_equal(r.peer_error, i == 0 ? 777 : ERROR); /* of whose stamps are in it */
        assert_int_equal(c->negative, 0);
        assert_int_equal(stage_sum(c), 4000);
        assert_int_equal(c->stage[SPAN_AT_SHARER_DONE].max, at_time[i].done);
        assert_int_equal(c->stage[SPAN_AT_ACKED].max, at_time[i].acked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_sharer),
        cmocka_unit_test(false_sharers),
        cmocka_unit_test(sharer_beside_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
