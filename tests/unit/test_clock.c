/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, step by step: exchanges whose true offsets are known, edges of the arithmetic, every
 * refusal, the published map's promises, the segment's sequence lock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/clock/clock.h"
#include "hypervisor-glue/link/glue_clock.h"

enum { KHZ = 2000000, US = 2000, MS = KHZ }; /* ticks */

/* Reference and node on one true time; the node's TSC is true * (1 + rate) + offset. */
static struct bench {
    struct clock ref, node;
    uint64_t true_now, start;
    uint64_t offset;
    int64_t rate;
    uint32_t there, back; /* one-way delays, ticks */
} b;

static uint64_t node_tsc(uint64_t t)
{
    return t + b.offset + (uint64_t)clock_scale((int64_t)(t - b.start), b.rate);
}

static void begin(uint64_t true_now, uint64_t offset, int64_t rate)
{
    struct clock_config c = {
        .self = 0, .reference = 0, .nodes = 2, .discipline = true, .khz = KHZ, .interval_ms = 50};
    b = (struct bench){.true_now = true_now, .start = true_now, .offset = offset, .rate = rate};
    b.there = b.back = 5 * US;
    clock_init(&b.ref, &c, true_now);
    c.self = 1;
    clock_init(&b.node, &c, node_tsc(true_now));
}

static bool ask(struct wire_time *m)
{
    clock_tick(&b.ref, b.true_now, m);
    if (!clock_tick(&b.node, node_tsc(b.true_now), m))
        return false;
    clock_asked(&b.node, m, node_tsc(b.true_now));
    return true;
}

/* The next request, whenever it is due. */
static struct wire_time next_request(void)
{
    struct wire_time m;
    while (!ask(&m))
        b.true_now += MS;
    return m;
}

/* The honest answer to m. */
static struct wire_time honest(const struct wire_time *m)
{
    struct wire_time a;
    assert_int_equal(clock_request(&b.ref, 1, m, b.true_now + b.there, &a), CLOCK_OK);
    a.stamp = b.true_now + b.there + US;
    return a;
}

static enum clock_drop deliver(const struct wire_time *a)
{
    return clock_answer(&b.node, 0, a, node_tsc(b.true_now + b.there + US + b.back));
}

/* Exchanges for so long; every answer must be accepted. */
static void run_ms(uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++, b.true_now += MS) {
        struct wire_time m;
        if (!ask(&m))
            continue;
        struct wire_time a = honest(&m);
        assert_int_equal(deliver(&a), CLOCK_OK);
    }
}

static int64_t node_off(uint64_t t) /* what the node is ahead of C by */
{
    return (int64_t)(clock_map_at(&b.node.map, node_tsc(t)) - clock_map_at(&b.ref.map, t));
}

static void check_locked(uint64_t within)
{
    assert_int_equal(b.node.map.state, CLOCK_LOCKED);
    int64_t off = node_off(b.true_now);
    uint64_t stated = clock_map_error(&b.node.map, node_tsc(b.true_now)) +
                      clock_map_error(&b.ref.map, b.true_now);
    if ((uint64_t)(off < 0 ? -off : off) > within)
        fail_msg("off by %lld ticks, stated %llu", (long long)off, (unsigned long long)stated);
    assert_true((uint64_t)(off < 0 ? -off : off) <= stated);
}

static void locks_anywhere(void **state)
{
    static const uint64_t offset[] = {0,
                                      1,
                                      UINT64_C(20000000000),
                                      (uint64_t)-20000000000,
                                      UINT64_C(1) << 63,
                                      (UINT64_C(1) << 63) - 1};
    /* 2^64 is a second away, for one or for both. */
    static const uint64_t start[] = {UINT64_C(1) << 40,
                                     (uint64_t) - (int64_t)(1000 * (uint64_t)MS)};
    static const int32_t ppm[] = {0, 50, -50, 180, -180};
    (void)state;
    for (unsigned i = 0; i < sizeof(offset) / sizeof(offset[0]); i++)
        for (unsigned k = 0; k < 2; k++)
            for (unsigned p = 0; p < sizeof(ppm) / sizeof(ppm[0]); p++) {
                begin(start[k], offset[i], (int64_t)ppm[p] * CLOCK_PPM);
                run_ms(3000);
                check_locked(100); /* 50 ns: symmetric and constant */
                assert_int_equal(b.node.map.khz, KHZ);
                assert_true(b.node.map.error_ticks < 15 * US);
                /* Correction is forward, and the reference's own rho no more than it takes. */
                assert_true(b.node.rate + b.node.line.rho >= 0);
                assert_true(b.ref.line.rho <= ((ppm[p] > 0 ? ppm[p] : 0) + 4) * CLOCK_PPM);
                assert_int_equal(b.node.count.steps, 0);
            }
}

static void states(void **state)
{
    struct wire_time m, a;
    (void)state;
    begin(5, 99, 0);
    assert_int_equal(b.node.map.state, CLOCK_NONE);
    assert_int_equal(b.ref.map.state, CLOCK_NONE);
    assert_int_equal(b.node.map.error_ticks, UINT32_MAX);
    assert_true(ask(&m));
    assert_int_equal(m.rate, CLOCK_RATE_UNKNOWN);
    a = honest(&m);
    assert_int_equal(a.generation, 0);
    assert_int_equal(deliver(&a), CLOCK_OK);
    assert_int_equal(b.node.map.state, CLOCK_ACQUIRING);
    assert_int_equal(b.node.map.error_ticks, UINT32_MAX);
    assert_int_equal(clock_missing(&b.ref), 2);
    run_ms(400);
    assert_int_equal(b.ref.map.state, CLOCK_LOCKED);
    assert_int_equal(clock_missing(&b.ref), 0);
    check_locked(2 * US);
    uint32_t error = b.node.map.error_ticks;
    for (uint32_t ms = 0; ms < 600; ms++, b.true_now += MS)
        ask(&m); /* no answers */
    assert_int_equal(b.node.map.state, CLOCK_HOLDOVER);
    assert_true(b.node.map.error_ticks > error && b.node.map.error_ticks < UINT32_MAX);
    run_ms(100);
    check_locked(2 * US);
}

static void alone_and_off(void **state)
{
    struct clock c;
    struct wire_time m;
    struct clock_config cfg = {.nodes = 1, .discipline = true, .khz = KHZ, .interval_ms = 50};
    (void)state;
    for (int i = 0; i < 2; i++) {
        clock_init(&c, &cfg, 1000);
        assert_int_equal(c.map.state, CLOCK_LOCKED);
        assert_int_equal(clock_map_at(&c.map, 123456789), 123456789);
        assert_false(clock_tick(&c, 1000 + 60 * (uint64_t)MS, &m));
        assert_int_equal(clock_map_at(&c.map, UINT64_MAX), UINT64_MAX);
        assert_int_equal(c.map.error_ticks, 0);
        assert_int_equal(clock_missing(&c), 0);
        cfg = (struct clock_config){.self = 1, .nodes = 3, .khz = KHZ, .interval_ms = 50};
    }
    assert_int_equal(clock_answer(&c, 0, &m, 0), CLOCK_DROP_SOURCE);
    assert_int_equal(clock_request(&c, 0, &m, 0, &m), CLOCK_DROP_SOURCE);
}

/* All of the way back, none of the way there: off by half the delay, and said so. */
static void asymmetric(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        begin(1000, 7, 0);
        b.there = way == 0 ? 0 : 100 * US;
        b.back = way == 0 ? 100 * US : 0;
        run_ms(6000);
        int64_t off = node_off(b.true_now);
        assert_true((way == 0 ? -off : off) > 49 * US - 100 ||
                    (way == 0 ? off : -off) > 49 * US - 100);
        check_locked(51 * US);
    }
}

/* Few fast exchanges among slow ones are what counts. */
static void minimum_delay(void **state)
{
    (void)state;
    begin(1000, UINT64_C(1) << 50, 30 * CLOCK_PPM);
    for (uint32_t i = 0; i < 300; i++) {
        b.there = i % 4 == 0 ? 5 * US : 3000 * US; /* 3 ms on one way only: wrong by 1.5 ms */
        run_ms(50);
    }
    check_locked(2 * US);
    assert_true(b.node.map.error_ticks < 25 * US);
}

/* ---- rho ----------------------------------------------------------------------------------- */

static void rho_follows_the_fastest(void **state)
{
    struct clock c;
    struct wire_time m = {.kind = WIRE_TIME_REQ, .khz = KHZ}, a;
    struct clock_config cfg = {
        .self = 2, .reference = 2, .nodes = 3, .discipline = true, .khz = KHZ, .interval_ms = 50};
    uint64_t t = 1000;
    (void)state;
    clock_init(&c, &cfg, t);
    m.rate = -30 * CLOCK_PPM;
    assert_int_equal(clock_request(&c, 0, &m, t, &a), CLOCK_OK);
    clock_tick(&c, t += MS, &a);
    assert_int_equal(c.line.generation, 0); /* node 1 has not said */
    m.rate = 40 * CLOCK_PPM;
    clock_request(&c, 1, &m, t, &a);
    clock_tick(&c, t += 50 * MS, &a);
    assert_int_equal(c.line.generation, 1);
    assert_int_equal(c.line.rho, 41 * CLOCK_PPM); /* and a margin */
    /* All slower than the reference: down in steps of 1 ppm, never by more than that a second, and
     * C goes on where it was. */
    m.rate = -10 * CLOCK_PPM;
    clock_request(&c, 1, &m, t, &a);
    for (int i = 0; i < 60; i++) {
        struct clock_line old = c.line;
        clock_tick(&c, t += 1000 * (uint64_t)MS, &a);
        assert_int_equal(clock_line_at(&old, t), clock_map_at(&c.map, t));
        assert_true(old.rho - c.line.rho <= CLOCK_PPM && old.rho >= c.line.rho);
        int64_t rho = c.line.rho;
        clock_tick(&c, t += 500 * (uint64_t)MS, &a);
        assert_true(i == 0 || c.line.rho == rho || rho - c.line.rho <= CLOCK_PPM);
    }
    assert_int_equal(c.line.rho, 4 * CLOCK_PPM); /* low enough */
    assert_true(c.line.rho >= 0);
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void refused_requests(void **state)
{
    struct wire_time m = {.kind = WIRE_TIME_REQ, .khz = KHZ, .rate = CLOCK_RATE_UNKNOWN}, a;
    struct clock *c = &b.ref;
    (void)state;
    begin(1000, 0, 0);
    assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_OK);
    assert_int_equal(clock_request(c, 2, &m, 1, &a), CLOCK_DROP_SOURCE);
    assert_int_equal(clock_request(c, 0, &m, 1, &a), CLOCK_DROP_SOURCE);
    assert_int_equal(clock_request(&b.node, 0, &m, 1, &a), CLOCK_DROP_SOURCE);
    for (int sign = -1; sign <= 1; sign += 2) {
        m.khz = (uint32_t)(KHZ + sign * KHZ / 1000000 * CLOCK_KHZ_PPM_MAX);
        assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_OK);
        m.khz = (uint32_t)((int)m.khz + sign);
        assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_DROP_FREQUENCY);
        m.khz = KHZ;
        m.rate = sign * CLOCK_RATE_PPM_MAX * CLOCK_PPM;
        assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_OK);
        m.rate += sign;
        assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_DROP_RATE);
        assert_int_equal(c->reports[1], sign * CLOCK_RATE_PPM_MAX * CLOCK_PPM);
        m.rate = CLOCK_RATE_UNKNOWN;
    }
    m.khz = UINT32_MAX;
    assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_DROP_FREQUENCY);
    m.khz = 1;
    assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_DROP_FREQUENCY);
    assert_int_equal(c->count.drop[CLOCK_DROP_FREQUENCY], 4);
    m.khz = KHZ;
    m.rate = INT32_MAX;
    assert_int_equal(clock_request(c, 1, &m, 1, &a), CLOCK_DROP_RATE);
}

enum {
    SEQ,
    KHZ_OFF,
    OTHER_KIND,
    T_BACK,
    T_LONG,
    OFF_AHEAD,
    OFF_BEHIND,
    RHO_NEG,
    RHO_BIG,
    RHO_JUMP,
    RHO_SOON,
    GEN_OLD,
    GEN_ZERO,
    GEN_SAME,
    LINE_FUTURE,
    LINE_BACK,
    LINE_JUMP,
    CASES
};

/* How an answer is spoilt, and the refusal that it must meet. */
static enum clock_drop spoil_stamps(struct wire_time *a, int how)
{
    switch (how) {
    case SEQ:
        a->seq += 1;
        return CLOCK_DROP_UNASKED;
    case KHZ_OFF:
        a->khz += KHZ / 1000;
        return CLOCK_DROP_FREQUENCY;
    case OTHER_KIND:
        a->kind = WIRE_TIME_REQ;
        return CLOCK_DROP_SOURCE;
    case T_BACK:
        a->received = a->stamp + 1;
        return CLOCK_DROP_ORDER;
    case T_LONG:
        a->received = a->stamp - 50 * US;
        return CLOCK_DROP_ORDER;
    case OFF_AHEAD:
        a->received += 1000 * (uint64_t)MS;
        a->stamp += 1000 * (uint64_t)MS;
        return CLOCK_DROP_OFFSET;
    default:
        a->received -= 100 * US;
        a->stamp -= 100 * US;
        return CLOCK_DROP_OFFSET;
    }
}

static enum clock_drop spoil_line(struct wire_time *a, int how)
{
    uint64_t c = clock_line_at(&b.node.line, a->stamp);
    a->generation += how == GEN_OLD ? UINT32_MAX : how == RHO_SOON ? 20 : 1;
    if (how != RHO_NEG && how != RHO_BIG && how != GEN_OLD && how != GEN_ZERO) {
        a->base_ref = a->stamp;
        a->base_c = c;
    }
    switch (how) {
    case RHO_NEG:
        a->rate = -1;
        return CLOCK_DROP_RHO;
    case RHO_BIG:
        a->rate = CLOCK_RHO_PPM_MAX * CLOCK_PPM + 1;
        return CLOCK_DROP_RHO;
    case RHO_JUMP:
        a->rate += 2 * CLOCK_PPM;
        return CLOCK_DROP_RHO;
    case RHO_SOON:
        return CLOCK_DROP_RHO;
    case GEN_ZERO:
        a->generation = 0;
        return CLOCK_DROP_GENERATION;
    case GEN_SAME:
        a->generation--;
        return CLOCK_DROP_GENERATION;
    case LINE_FUTURE:
        a->base_ref = a->stamp + 1;
        return CLOCK_DROP_JUMP;
    case LINE_BACK:
        a->base_c -= 3;
        return CLOCK_DROP_JUMP;
    case LINE_JUMP:
        a->base_c += 1000 * (uint64_t)MS;
        return CLOCK_DROP_JUMP;
    default:
        return CLOCK_DROP_GENERATION;
    }
}

/* Each is counted and changes nothing, and nothing honest is refused afterwards. */
static void refused_answers(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        begin(1000, 12345, 20 * CLOCK_PPM);
        run_ms(5050);
        struct wire_time m = next_request();
        struct wire_time a = honest(&m);
        enum clock_drop want = i < RHO_NEG ? spoil_stamps(&a, i) : spoil_line(&a, i);
        struct clock before = b.node;
        assert_int_equal(deliver(&a), want);
        assert_int_equal(b.node.count.drop[want], before.count.drop[want] + 1);
        assert_memory_equal(&b.node.map, &before.map, sizeof(before.map));
        assert_memory_equal(&b.node.line, &before.line, sizeof(before.line));
        assert_memory_equal(b.node.bin, before.bin, sizeof(before.bin));
        assert_true(b.node.rate == before.rate);
        b.true_now += 50 * MS;
        run_ms(200);
        check_locked(100);
    }
}

/* An answer of somebody else, or to somebody else, or late, or again. */
static void stray_answers(void **state)
{
    (void)state;
    begin(1000, 12345, 0);
    run_ms(1000);
    struct wire_time m = next_request();
    struct wire_time a = honest(&m);
    uint64_t t4 = node_tsc(b.true_now + 20 * US);
    assert_int_equal(clock_answer(&b.node, 1, &a, t4), CLOCK_DROP_SOURCE);
    assert_int_equal(clock_answer(&b.ref, 0, &a, t4), CLOCK_DROP_SOURCE);
    b.back = 101 * MS;
    assert_int_equal(deliver(&a), CLOCK_DROP_DELAY);
    b.back = 5 * US;
    assert_int_equal(deliver(&a), CLOCK_DROP_UNASKED);
}

/* Before the lock, too, a wrong sample is left out; and if it was the first, the others win. */
static void wrong_at_first(void **state)
{
    (void)state;
    for (int bad = 0; bad < 12; bad += 5) {
        begin(1000, 777, 0);
        for (int i = 0; i < 60; i++, b.true_now += 10 * MS) {
            struct wire_time m;
            assert_true(ask(&m));
            struct wire_time a = honest(&m);
            if (i == bad) {
                a.received += 1000 * (uint64_t)MS;
                a.stamp += 1000 * (uint64_t)MS;
            }
            deliver(&a);
            if (b.node.map.state == CLOCK_LOCKED)
                break;
        }
        check_locked(50);
        assert_int_equal(b.node.count.restarts, bad == 0);
    }
}

/* A rate that nobody's TSC has: the node never locks, and tells. */
static void rate_out_of_range(void **state)
{
    struct wire_time m, a;
    (void)state;
    begin(1000, 777, 350 * CLOCK_PPM);
    for (int i = 0; i < 100; i++, b.true_now += 10 * MS) {
        if (!ask(&m))
            continue;
        if (m.rate != CLOCK_RATE_UNKNOWN)
            break;
        a = honest(&m);
        deliver(&a);
    }
    assert_true(m.rate > 340 * CLOCK_PPM && m.rate < 360 * CLOCK_PPM);
    assert_int_equal(clock_request(&b.ref, 1, &m, b.true_now, &a), CLOCK_DROP_RATE);
    assert_int_equal(b.node.map.state, CLOCK_ACQUIRING);
}

/* ---- the map ------------------------------------------------------------------------------- */

/* Somebody who turns out to be ahead goes slower, never back; behind, faster; and agrees in the
 * end. */
static void slews(void **state)
{
    struct wire_time m;
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        begin(1000, 12345, 0);
        run_ms(5000);
        b.node.map.base_cluster += (uint64_t)(sign * 10 * US);
        uint64_t last = clock_map_at(&b.node.map, node_tsc(b.true_now)), slews = b.node.count.slews;
        for (int i = 0; i < 8000; i++, b.true_now += MS) {
            uint64_t c = clock_map_at(&b.node.map, node_tsc(b.true_now));
            assert_true(i == 0 || c - last > (uint64_t)MS * 999 / 1000);
            assert_true(i == 0 || c - last < (uint64_t)MS * 1001 / 1000);
            last = c;
            if (!ask(&m))
                continue;
            struct wire_time a = honest(&m);
            assert_int_equal(deliver(&a), CLOCK_OK);
            assert_true(clock_map_at(&b.node.map, node_tsc(b.true_now + b.there + US + b.back)) >=
                        last);
        }
        check_locked(100);
        assert_int_equal(b.node.count.steps, 0);
        assert_true((b.node.count.slews > slews) || sign < 0);
    }
}

/* A map that is behind by more than all bounds allow is put right by one step, forward. */
static void steps_forward_only(void **state)
{
    (void)state;
    begin(1000, 12345, 0);
    run_ms(5000);
    b.node.map.base_cluster -= 1000 * (uint64_t)MS;
    run_ms(100);
    assert_int_equal(b.node.count.steps, 1);
    check_locked(100);
    b.node.map.base_cluster += 1000 * (uint64_t)MS;
    uint64_t c = clock_map_at(&b.node.map, node_tsc(b.true_now));
    run_ms(100);
    assert_int_equal(b.node.count.steps, 1);
    assert_true((int64_t)(clock_map_at(&b.node.map, node_tsc(b.true_now)) - c) > 0);
    assert_true(b.node.map.error_ticks > 999 * (uint32_t)MS); /* and says so */
}

/* Nothing for 10 s, then everything again: within its bounds all the time. */
static void stalled(void **state)
{
    (void)state;
    begin((uint64_t) - (int64_t)(8000 * (uint64_t)MS), 1, -45 * CLOCK_PPM); /* 2^64 in the gap */
    run_ms(5000);
    for (int i = 0; i < 100; i++, b.true_now += 100 * MS) {
        int64_t off = node_off(b.true_now);
        assert_true((uint64_t)(off < 0 ? -off : off) <=
                    clock_map_error(&b.node.map, node_tsc(b.true_now)));
    }
    run_ms(3000);
    check_locked(100);
    assert_int_equal(b.node.count.steps, 0);
}

/* rho goes up, a step a second, and the node does not hear of it. */
static void line_unheard(void **state)
{
    struct wire_time m;
    (void)state;
    begin(1000, 12345, 0);
    run_ms(5000);
    b.ref.reports[1] = 150 * CLOCK_PPM;
    for (int i = 0; i < 600; i++, b.true_now += 50 * MS) {
        ask(&m);
        int64_t off = node_off(b.true_now);
        assert_true((uint64_t)(off < 0 ? -off : off) <=
                    clock_map_error(&b.node.map, node_tsc(b.true_now)));
    }
    assert_true(node_off(b.true_now) < -300 * US);
    b.ref.reports[1] = 0;
    run_ms(60000); /* 30 generations later it is believed all the same, and catches up */
    check_locked(500);
}

static void map_arithmetic(void **state)
{
    struct clock_map m = {.base_host = UINT64_MAX - 9, .base_cluster = UINT64_MAX - 4, .rate = 0};
    (void)state;
    assert_int_equal(clock_map_at(&m, 10), 15);
    m.rate = INT64_C(1) << 22; /* 1/1024 */
    assert_int_equal(clock_map_at(&m, 1014), 1024 - 5 + 1);
    m.rate = -m.rate;
    assert_int_equal(clock_map_at(&m, 1014), 1024 - 5 - 1);
    assert_int_equal(clock_map_at(&m, m.base_host - 1024), m.base_cluster - 1024 + 1);
    assert_int_equal(clock_scale(INT64_MAX, INT64_C(1) << 32), INT64_MAX);
    assert_int_equal(clock_scale(INT64_MIN, INT64_C(1) << 31), INT64_MIN / 2);
    assert_int_equal(clock_scale(-1, 1), -1); /* down, not to zero: so it never decreases */
    for (uint64_t h = 0; h < 4096; h++)
        assert_true(clock_map_at(&m, h + 1) >= clock_map_at(&m, h));
    m.error_ticks = 7;
    assert_int_equal(clock_map_error(&m, m.base_host + 32768 * 3), 10);
    assert_int_equal(clock_map_error(&m, m.base_host - 1), 7);
    assert_string_equal(clock_drop_name(CLOCK_DROP_FREQUENCY), "frequency");
    assert_string_equal(clock_drop_name(CLOCK_DROPS), "?");
    assert_string_equal(clock_state_name(CLOCK_HOLDOVER), "holdover");
    assert_string_equal(clock_state_name(9), "?");
}

static void segment(void **state)
{
    struct glue_clock g = {
        .injected_offset = 1000, .injected_rate = INT64_C(1) << 22, .injected_base = 50};
    struct clock_map m = {CLOCK_LOCKED, 1, 2, -3, 4, 5}, r = {0};
    (void)state;
    glue_clock_write(&g, &m);
    assert_int_equal(atomic_load(&g.lock), 2);
    assert_true(glue_clock_read(&g, &r));
    assert_true(r.state == m.state && r.base_host == 1 && r.base_cluster == 2 && r.rate == -3 &&
                r.khz == 4 && r.error_ticks == 5);
    atomic_store(&g.lock, 3); /* its writer is in the middle */
    assert_false(glue_clock_read(&g, &r));
    glue_clock_write(&g, &m);
    assert_int_equal(atomic_load(&g.lock), 4);
    assert_int_equal(glue_clock_host(&g, 50 + 1024), 50 + 1024 + 1000 + 1);
    assert_int_equal(glue_clock_host(&g, 50), 1050);
    uint64_t before = glue_clock_tsc();
    assert_true(glue_clock_tsc() > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_anywhere),
        cmocka_unit_test(states),
        cmocka_unit_test(alone_and_off),
        cmocka_unit_test(asymmetric),
        cmocka_unit_test(minimum_delay),
        cmocka_unit_test(rho_follows_the_fastest),
        cmocka_unit_test(refused_requests),
        cmocka_unit_test(refused_answers),
        cmocka_unit_test(stray_answers),
        cmocka_unit_test(wrong_at_first),
        cmocka_unit_test(rate_out_of_range),
        cmocka_unit_test(slews),
        cmocka_unit_test(steps_forward_only),
        cmocka_unit_test(stalled),
        cmocka_unit_test(line_unheard),
        cmocka_unit_test(map_arithmetic),
        cmocka_unit_test(segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
