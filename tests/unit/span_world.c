/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/span_world.h"

#include <string.h>

struct spans s;

void begin(uint32_t sample)
{
    struct span_config c = {.self = SELF, .nodes = 4, .sample = sample};
    memset(&s, 0, sizeof(s));
    span_init(&s, &c);
    s.khz = KHZ;
}

struct span_key fault_key(uint64_t txn)
{
    return (struct span_key){.id = txn, .what = SPAN_FAULT, .node = SELF};
}

struct span_time at(uint64_t t)
{
    return (struct span_time){.at = t, .error = ERROR};
}

struct wire_span stamps(enum span_what what, uint64_t id, uint16_t points, uint64_t from)
{
    struct wire_span m = {.kind = WIRE_SPAN,
                          .what = (uint8_t)what,
                          .chan = what == SPAN_FAULT ? WIRE_CHAN_VM : 5,
                          .points = points,
                          .error = ERROR,
                          .id = id};
    for (unsigned i = 0; i < bit64_count(points); i++)
        m.stamp[i] = from + 10 * (uint64_t)i;
    return m;
}

uint64_t stage_sum(const struct span_kind_count *k)
{
    uint64_t sum = 0;
    for (unsigned p = 0; p < SPAN_POINTS_MAX; p++)
        if (k->stage[p].max > UINT32_MAX) /* below 0 */
            return UINT64_MAX;
        else
            sum += k->stage[p].max; /* of one sample it is that */
    return sum;
}

const struct path paths[PATHS] = {
    {'a', HOME, OWNER, true, false, false, ALL_HOME, ALL_OWNER, REMOTE | ALL_HOME | ALL_OWNER},
    {'a', HOME, OWNER, true, true, true, ALL_HOME, ALL_OWNER,
     REMOTE | ALL_HOME | ALL_OWNER | WAITED, SHARER},
    {'a', HOME, OWNER, true, true, true, ALL_HOME, ALL_OWNER,
     REMOTE | ALL_HOME | ALL_OWNER | WAITED, OWNER},
    {'a', HOME, OWNER, true, true, false, ALL_HOME, ALL_OWNER, REMOTE | ALL_HOME | ALL_OWNER},
    {'b', HOME, HOME, true, false, false, BIT(SPAN_AT_HOME_RX),
     BIT(SPAN_AT_OWNER_DONE) | BIT(SPAN_AT_OWNER_TX),
     REMOTE | BIT(SPAN_AT_HOME_RX) | BIT(SPAN_AT_OWNER_DONE) | BIT(SPAN_AT_OWNER_TX)},
    {'c', HOME, HOME, false, false, false, ALL_HOME, 0, REMOTE | ALL_HOME},
    {'c', HOME, HOME, false, true, true, ALL_HOME, 0, REMOTE | ALL_HOME | WAITED, SHARER},
    {'c', HOME, HOME, false, true, true, ALL_HOME, 0,
     REMOTE | ALL_HOME | WITHOUT_RX | BIT(SPAN_AT_ACKED), HOME},
    {'d', SELF, OWNER, true, false, false, 0, ALL_OWNER, REMOTE | ALL_OWNER},
    {'d', SELF, OWNER, true, true, true, 0, ALL_OWNER, REMOTE | ALL_OWNER | WAITED, SHARER},
    {'e', SELF, 0, false, true, true, 0, 0, LOCAL_POINTS | BIT(SPAN_AT_REQUEST_TX) | WAITED,
     SHARER},
};
struct wire_span last_says(const struct path *p, uint64_t txn)
{
    return stamps(SPAN_FAULT, txn, p->want & ALL_SHARER, 4100);
}

void requester_side(const struct path *p, uint64_t txn)
{
    struct span_key k = fault_key(txn);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = p->home, .object = PAGE};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    if (p->answer != 0 || p->acks)
        span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1200);
    if (p->acks)
        span_acked(&s, &k, SHARER, 1300);
    if (p->answer != 0)
        span_answered(&s, &k, p->answer, p->data, 4000);
    if (p->acks_late)
        span_acked(&s, &k, p->acker, 4500);
    struct span_fault_end end = {.kind = SPAN_KIND_WRITE,
                                 .page = PAGE,
                                 .read = 1000,
                                 .mapped = 5000,
                                 .home = p->home,
                                 .error = ERROR};
    span_fault_end(&s, &k, &end);
}

void say(const struct path *p, uint64_t txn, bool home, bool owner)
{
    if (owner && p->acks_late) {
        struct wire_span m = last_says(p, txn);
        assert_int_equal(span_message(&s, p->acker, &m, at(6000)), SPAN_OK);
    }
    if (home && p->home_points != 0) {
        struct wire_span m = stamps(SPAN_FAULT, txn, p->home_points, 2000);
        assert_int_equal(span_message(&s, p->home, &m, at(6000)), SPAN_OK);
    }
    if (owner && p->owner_points != 0) {
        struct wire_span m = stamps(SPAN_FAULT, txn, p->owner_points, 3000);
        assert_int_equal(span_message(&s, p->answer, &m, at(6000)), SPAN_OK);
    }
}

void check_path(const struct path *p)
{
    const struct span_kind_count *k = &s.kind[SPAN_KIND_WRITE];
    struct span_record r;
    assert_int_equal(k->total.count, 1);
    assert_int_equal(k->total.max, 4000);
    assert_int_equal(stage_sum(k), 4000);
    assert_int_equal(k->negative, 0);
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.points, p->want);
    assert_int_equal(r.object, PAGE);
    assert_int_equal(r.home, p->home);
    assert_int_equal(r.owner, p->data ? p->answer : SPAN_NODE_NONE);
    assert_int_equal(r.error, ERROR);
    for (unsigned q = 1; q < SPAN_POINTS_MAX; q++)
        assert_int_equal(k->stage[q].count, q != SPAN_AT_READ && (p->want & BIT(q)) != 0);
    if ((p->want & BIT(SPAN_AT_HOME_RX)) != 0)
        assert_int_equal(k->stage[SPAN_AT_HOME_RX].max, 2000 - 1200);
    if ((p->want & BIT(SPAN_AT_SHARER_RX)) != 0) {
        assert_int_equal(k->stage[SPAN_AT_SHARER_RX].max, 4100 - (p->answer != 0 ? 4000 : 1200));
        assert_int_equal(k->stage[SPAN_AT_SHARER_DONE].max, 10);
        assert_int_equal(k->stage[SPAN_AT_ACKED].max, 4500 - 4120);
    } else if ((p->want & BIT(SPAN_AT_ACKED)) != 0) {
        assert_int_equal(k->stage[SPAN_AT_SHARER_DONE].max, 100);
        assert_int_equal(k->stage[SPAN_AT_SHARER_TX].max, 10);
        assert_int_equal(k->stage[SPAN_AT_ACKED].max, 4500 - 4110);
    }
    assert_int_equal(span_open_count(&s, SPAN_FAULT, true), 0);
}
