/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans: each path of span.h's table, who is sampled, stamps of clocks that disagree, ids that come
 * again, foreign messages refused by reason, floods, records read while they are written. */
#include <pthread.h>
#include <string.h>

#include "tests/unit/span_world.h"

/* ---- paths --------------------------------------------------------------------------------- */

/* A message for each point: until the last one has come the span waits. Returns how many waited. */
static unsigned say_singly(const struct path *p, uint64_t txn, bool backwards)
{
    unsigned waited = 0;
    for (unsigned i = 0; i < SPAN_FAULT_POINTS; i++) {
        unsigned q = backwards ? SPAN_FAULT_POINTS - 1 - i : i;
        if (((p->home_points | p->owner_points) & BIT(q)) == 0)
            continue;
        bool home = (p->home_points & BIT(q)) != 0;
        struct wire_span m = stamps(SPAN_FAULT, txn, BIT(q), (home ? 2000 : 3000) + 10 * q);
        waited += s.kind[SPAN_KIND_WRITE].total.count == 0;
        assert_int_equal(span_message(&s, home ? p->home : p->answer, &m, at(6000)), SPAN_OK);
    }
    return waited;
}

static void every_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < PATHS; i++) {
        const struct path *p = &paths[i];
        begin(1); /* stamps of others last */
        requester_side(p, 9);
        assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 0);
        say(p, 9, true, false);
        assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count,
                         p->owner_points == 0 && !p->acks_late);
        say(p, 9, false, true);
        check_path(p);
        if (p->acks_late) { /* its sharer's alone are what it lacks */
            begin(1);
            requester_side(p, 9);
            say_singly(p, 9, false);
            assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 0);
            struct wire_span m = last_says(p, 9);
            assert_int_equal(span_message(&s, p->acker, &m, at(6000)), SPAN_OK);
            assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 1);
            continue;
        }
        for (int backwards = 0; backwards < 2; backwards++) {
            begin(1);
            requester_side(p, 9);
            assert_int_equal(say_singly(p, 9, backwards != 0),
                             bit64_count(p->home_points | p->owner_points));
            assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 1);
        }
        begin(1); /* ... and first, the owner before the home */
        struct span_key k = fault_key(9);
        struct span_begin b = {.kind = SPAN_KIND_READ, .home = p->home, .object = PAGE};
        span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
        say(p, 9, false, true);
        say(p, 9, true, false);
        requester_side(p, 9);
        check_path(p);
    }
}

static void other_kinds(void **state)
{
    (void)state;
    begin(1);
    struct span_key ipi = {.id = 7, .chan = 5, .what = SPAN_IPI, .node = SELF};
    struct span_begin b = {.kind = SPAN_KIND_IPI, .home = HOME, .object = 0x90};
    span_begin(&s, &ipi, &b, SPAN_AT_ICR, 1000);
    span_stamp(&s, &ipi, SPAN_AT_IPI_READ, 1100);
    span_stamp(&s, &ipi, SPAN_AT_IPI_TX, 1200);
    struct wire_span m = stamps(SPAN_IPI, 7, 7 << SPAN_AT_IPI_RX, 2000);
    assert_int_equal(span_message(&s, HOME, &m, at(3000)), SPAN_OK);
    assert_int_equal(s.kind[SPAN_KIND_IPI].total.max, 1020);
    assert_int_equal(stage_sum(&s.kind[SPAN_KIND_IPI]), 1020);
    struct span_key io = {.id = 8, .chan = 5, .what = SPAN_IO, .node = SELF};
    b = (struct span_begin){.kind = SPAN_KIND_IO, .home = HOME};
    span_begin(&s, &io, &b, SPAN_AT_EXIT, 1000);
    span_stamp(&s, &io, SPAN_AT_EXIT_READ, 1100);
    span_stamp(&s, &io, SPAN_AT_EXIT_TX, 1200);
    m = stamps(SPAN_IO, 8, 7 << SPAN_AT_EXIT_RX, 2000);
    assert_int_equal(span_message(&s, HOME, &m, at(3000)), SPAN_OK);
    m = stamps(SPAN_IO, 8, 7 << SPAN_AT_HANDLED, 3000);
    assert_int_equal(span_message(&s, HOME, &m, at(4000)), SPAN_OK);
    span_stamp(&s, &io, SPAN_AT_DONE_RX, 4000);
    span_stamp(&s, &io, SPAN_AT_BACK, 4700); /* stamped after the thread was in the guest already */
    span_io_end(&s, &io, at(4600));
    assert_int_equal(s.kind[SPAN_KIND_IO].total.max, 3600);
    assert_int_equal(stage_sum(&s.kind[SPAN_KIND_IO]), 3600);
    assert_int_equal(s.kind[SPAN_KIND_IO].negative, 0);
    /* An end that the VM's process makes up. */
    span_begin(&s, &io, &b, SPAN_AT_EXIT, 5000);
    span_stamp(&s, &io, SPAN_AT_DONE_RX, 6000);
    span_stamp(&s, &io, SPAN_AT_BACK, 6100);
    span_io_end(&s, &io, at(5900));
    assert_int_equal(s.kind[SPAN_KIND_IO].lack[SPAN_LACK_IMPLAUSIBLE], 1);
    assert_int_equal(s.kind[SPAN_KIND_IO].total.count, 1);
    /* An interrupt that met another one. */
    b = (struct span_begin){.kind = SPAN_KIND_IPI, .home = HOME};
    span_begin(&s, &ipi, &b, SPAN_AT_ICR, 7000);
    m = stamps(SPAN_IPI, 7, 3 << SPAN_AT_IPI_RX, 7100);
    m.flags = WIRE_SPAN_MERGED;
    assert_int_equal(span_message(&s, HOME, &m, at(8000)), SPAN_OK);
    assert_int_equal(s.kind[SPAN_KIND_IPI].lack[SPAN_LACK_MERGED], 1);
    assert_false(span_is_open(&s, &ipi));
}

static void local_and_no_faults(void **state)
{
    (void)state;
    begin(1);
    struct span_key k = fault_key(4);
    struct span_fault_end end = {.kind = SPAN_KIND_WRITE,
                                 .page = PAGE,
                                 .read = 1000,
                                 .asked = 1400,
                                 .mapped = 2000,
                                 .home = SELF};
    span_fault_end(&s, &k, &end);
    assert_int_equal(s.kind[SPAN_KIND_LOCAL].total.max, 1000);
    assert_int_equal(s.kind[SPAN_KIND_LOCAL].stage[SPAN_AT_ASKED].max, 400);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
    k = fault_key(5); /* asked for before the fault came */
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 500);
    end.home = HOME;
    span_fault_end(&s, &k, &end);
    assert_int_equal(s.kind[SPAN_KIND_WRITE].lack[SPAN_LACK_JOINED], 1);
    struct wire_span early = stamps(SPAN_FAULT, 5, ALL_HOME, 600); /* before the fault: welcome */
    assert_int_equal(span_message(&s, HOME, &early, at(2000)), SPAN_OK);
    k = fault_key(7); /* ... of which no node would have anything to say */
    b.home = end.home = SELF;
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 900);
    span_fault_end(&s, &k, &end);
    assert_int_equal(s.kind[SPAN_KIND_WRITE].lack[SPAN_LACK_JOINED], 2);
    assert_false(span_is_open(&s, &k));
    k = fault_key(6);
    b.home = end.home = HOME;
    end.prefetch = true;
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 900);
    span_answered(&s, &k, HOME, false, 1500);
    span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 950);
    span_fault_end(&s, &k, &end);
    assert_int_equal(s.kind[SPAN_KIND_WRITE].lack[SPAN_LACK_PREFETCH], 1);
    /* It waits for what others say of it, and that is all. */
    assert_int_equal(span_open_count(&s, SPAN_FAULT, true), 0);
    struct wire_span m = stamps(SPAN_FAULT, 6, ALL_HOME, 1000);
    assert_int_equal(span_message(&s, HOME, &m, at(2000)), SPAN_OK);
    assert_false(span_is_open(&s, &k));
    assert_int_equal(span_newest(&s), 1); /* the local one */
    k = fault_key(8);                     /* nor is this a fault */
    end.home = SELF;
    span_fault_end(&s, &k, &end);
    assert_int_equal(s.kind[SPAN_KIND_LOCAL].total.count, 1);
    assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 0);
}

/* ---- who is sampled ------------------------------------------------------------------------ */

static void sampling(void **state)
{
    (void)state;
    static const uint32_t step[] = {1, 2, 4, 64, 1000, 1 << 16};
    for (uint64_t txn = 1; txn < 1000; txn++) {
        assert_true(span_txn_sampled(span_below(1), (uint8_t)(txn % 64), txn));
        assert_false(span_txn_sampled(span_below(0), (uint8_t)(txn % 64), txn));
    }
    for (size_t i = 0; i < PANDO_ARRAY_LEN(step); i++) {
        uint32_t hits = 0, others = 0;
        for (uint64_t n = 0; n < 64000; n++) {
            uint64_t txn = 123456789 + n * step[i];
            hits += span_txn_sampled(span_below(64), 3, txn);
            others += span_txn_sampled(span_below(64), 3, txn) &&
                      span_txn_sampled(span_below(64), 4, txn);
        }
        assert_in_range(hits, 800, 1200);
        assert_in_range(others, 0, hits / 2); /* another requester's are others */
    }
}

/* ---- clocks that disagree ------------------------------------------------------------------ */

static void disagreeing(int64_t home_off, uint64_t negative, uint64_t beyond, uint64_t excess)
{
    begin(1);
    const struct path *p = &paths[GRANT]; /* GRANT */
    requester_side(p, 9);
    struct wire_span m = stamps(SPAN_FAULT, 9, p->home_points, 2000 + (uint64_t)home_off);
    m.error = 60;
    assert_int_equal(span_message(&s, HOME, &m, at(9000)), SPAN_OK);
    const struct span_kind_count *k = &s.kind[SPAN_KIND_WRITE];
    struct span_record r;
    assert_int_equal(k->total.count, 1);
    assert_int_equal(k->total.max, 4000);
    assert_int_equal(stage_sum(k), 4000);
    assert_int_equal(k->stage[SPAN_AT_MAPPED].max, 1000); /* own points stay where they are */
    assert_int_equal(k->negative, negative);
    assert_int_equal(k->beyond, beyond);
    assert_int_equal(k->excess, excess);
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.stamp[SPAN_AT_HOME_RX], 2000 + (uint64_t)home_off); /* as it came */
    assert_int_equal(r.flags, (negative ? SPAN_NEGATIVE : 0) | (beyond ? SPAN_BEYOND : 0));
    assert_int_equal(r.peer_error, 60);
}

static void clocks(void **state)
{
    (void)state;
    disagreeing(0, 0, 0, 0);
    disagreeing(-800, 0, 0, 0); /* 1200, as the request */
    disagreeing(-801, 1, 0, 0); /* 1 before it */
    disagreeing(-960, 1, 0, 0); /* by both bounds, 100 + 60 */
    disagreeing(-961, 1, 1, 1); /* and a tick */
    disagreeing(1990, 0, 0, 0); /* sent when the answer came */
    disagreeing(2150, 1, 0, 0); /* 160 after it */
    disagreeing(2151, 1, 1, 1);
}

/* ---- foreign messages ---------------------------------------------------------------------- */

static void refuse(uint8_t src, struct wire_span m, uint64_t now, enum span_drop why)
{
    uint64_t before = s.drop[why];
    static struct spans copy;
    copy = s;
    assert_int_equal(span_message(&s, src, &m, at(now)), why);
    assert_int_equal(s.drop[why], before + 1);
    s.drop[why]--;
    assert_memory_equal(&s, &copy, sizeof(s));
}

static void refused(void **state)
{
    (void)state;
    begin(1);
    struct span_key k = fault_key(9);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    struct wire_span good = stamps(SPAN_FAULT, 9, ALL_HOME, 2000), m = good;
    m.id = 10;
    refuse(HOME, m, 3000, SPAN_DROP_NOT_OPEN);
    m = good;
    m.what = SPAN_IPI;
    m.chan = 0;
    refuse(HOME, m, 3000, SPAN_DROP_NOT_OPEN);
    static const uint16_t own[] = {BIT(SPAN_AT_READ),
                                   BIT(SPAN_AT_MAPPED),
                                   BIT(SPAN_AT_ACKED),
                                   BIT(SPAN_AT_DATA_RX),
                                   BIT(SPAN_AT_SHARER_TX), /* comes with another one only */
                                   BIT(SPAN_AT_SHARER_RX),
                                   ALL_SHARER | BIT(SPAN_AT_HOME_RX),
                                   ALL_SHARER | BIT(SPAN_AT_ACKED),
                                   BIT(14),
                                   BIT(15)};
    for (size_t i = 0; i < PANDO_ARRAY_LEN(own); i++)
        refuse(HOME, stamps(SPAN_FAULT, 9, own[i], 2000), 3000, SPAN_DROP_POINTS);
    m = good;
    m.flags = WIRE_SPAN_MERGED; /* only interrupts are */
    refuse(HOME, m, 3000, SPAN_DROP_POINTS);
    refuse(OWNER, good, 3000, SPAN_DROP_NODE); /* not the home */
    m = good;
    m.error = KHZ * SPAN_ERROR_MS + 1;
    refuse(HOME, m, 3000, SPAN_DROP_ERROR);
    m = good;
    m.stamp[0] = 1100 - 2 * ERROR - 1;
    refuse(HOME, m, 3000, SPAN_DROP_TIME);
    m.stamp[0]++;
    refuse(HOME, m, 2010 - 2 * ERROR - 1, SPAN_DROP_TIME);
    assert_int_equal(span_message(&s, HOME, &m, at(2010 - 2 * ERROR)), SPAN_OK);
    refuse(HOME, good, 3000, SPAN_DROP_TWICE);
    m = stamps(SPAN_FAULT, 9, ALL_OWNER, 2500);
    span_answered(&s, &k, OWNER, true, 3000);
    refuse(HOME, m, 4000, SPAN_DROP_NODE);
    refuse(0, m, 4000, SPAN_DROP_NODE);
    assert_int_equal(span_message(&s, OWNER, &m, at(4000)), SPAN_OK);
}

/* Who says to be the owner before the owner's data is here is found out by it. */
static void usurped(void **state)
{
    (void)state;
    begin(1);
    struct span_key k = fault_key(9);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    struct wire_span m = stamps(SPAN_FAULT, 9, ALL_OWNER, 1500);
    assert_int_equal(span_message(&s, 0, &m, at(2000)), SPAN_OK);
    requester_side(&paths[0], 9); /* DATA of OWNER */
    assert_int_equal(s.drop[SPAN_DROP_NODE], 1);
    say(&paths[0], 9, true, true);
    check_path(&paths[0]);
}

/* ---- tables -------------------------------------------------------------------------------- */

static void ids_again(void **state)
{
    (void)state;
    begin(1);
    struct span_key k = fault_key(9);
    struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    b.object = 1;
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1150); /* open already: as it was */
    span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1200);
    span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1250); /* the first time counts */
    span_again(&s, &k);
    requester_side(&paths[GRANT], 9);
    say(&paths[GRANT], 9, true, false);
    check_path(&paths[GRANT]);
    struct span_record r;
    assert_true(span_copy(&s, 1, &r));
    assert_int_equal(r.flags, SPAN_AGAIN);
    refuse(HOME, stamps(SPAN_FAULT, 9, ALL_HOME, 2000), 3000, SPAN_DROP_NOT_OPEN); /* it is over */
    requester_side(&paths[GRANT], 9); /* a new one of that id */
    say(&paths[GRANT], 9, true, false);
    assert_int_equal(s.kind[SPAN_KIND_WRITE].total.count, 2);
    assert_true(span_copy(&s, 2, &r));
    assert_int_equal(r.flags, 0);
    k = fault_key(12);
    struct span_fault_end end = {
        .kind = SPAN_KIND_WRITE, .read = 1000, .mapped = 5000, .home = HOME};
    span_begin(&s, &k, &b, SPAN_AT_ASKED, 1100);
    span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1200);
    span_stamp(&s, &k, SPAN_AT_REQUEST_TX, 1250); /* the first time counts */
    span_answered(&s, &k, HOME, false, 4000);
    span_answered(&s, &k, OWNER, true, 4100);
    span_fault_end(&s, &k, &end);
    end.mapped = 9000;
    span_fault_end(&s, &k, &end);
    say(&paths[GRANT], 12, true, false);
    assert_true(span_copy(&s, 3, &r));
    assert_int_equal(r.stamp[SPAN_AT_REQUEST_TX], 1200);
    assert_int_equal(r.stamp[SPAN_AT_DATA_RX], 4000);
    assert_int_equal(r.stamp[SPAN_AT_MAPPED], 5000);
}

/* Twice as many as there is room for: each has its place in a histogram, or a reason. */
static void full_tables(void **state)
{
    (void)state;
    begin(1);
    uint64_t n = 2 * SPAN_OPEN_MAX, lack = 0, done = 0;
    for (uint64_t i = 1; i <= n; i++) { /* half of them end and wait for other nodes */
        struct span_key k = fault_key(i);
        struct span_begin b = {.kind = SPAN_KIND_READ, .home = HOME, .object = PAGE};
        if (i % 2 == 0)
            requester_side(&paths[GRANT], i);
        else
            span_begin(&s, &k, &b, SPAN_AT_ASKED, 588 + i);
    }
    assert_true(s.kind[SPAN_KIND_READ].lack[SPAN_LACK_REPLACED] > 0);
    assert_true(s.kind[SPAN_KIND_WRITE].lack[SPAN_LACK_SILENT] > 0);
    uint64_t gone = s.lost[(s.lost_n - 1) % SPAN_LOST];
    struct span_key k = fault_key(gone);
    struct span_fault_end end = {.home = SELF, .read = 1000, .asked = 1100, .mapped = 1200};
    span_fault_end(&s, &k, &end); /* counted already: not a local one */
    assert_int_equal(s.kind[SPAN_KIND_LOCAL].total.count, 0);
    for (uint64_t i = 1; i <= n; i++) {
        struct wire_span m = stamps(SPAN_FAULT, i, ALL_HOME, 2000);
        span_message(&s, HOME, &m, at(6000));
    }
    for (unsigned kind = 0; kind < SPAN_KINDS; kind++) {
        done += s.kind[kind].total.count;
        for (unsigned i = 0; i < SPAN_LACKS; i++)
            lack += s.kind[kind].lack[i];
    }
    assert_int_equal(done + lack + span_open_count(&s, SPAN_FAULT, false) +
                         span_open_count(&s, SPAN_FAULT, true),
                     n);
    assert_int_equal(span_open_count(&s, SPAN_FAULT, true), 0);
    assert_true(done > 0);
}

/* A node that opens a million pieces pushes out its own. */
static void flood(void **state)
{
    (void)state;
    begin(1);
    struct wire_span m;
    struct span_key k = {.what = SPAN_FAULT, .node = HOME};
    for (k.id = 1; k.id <= 32; k.id++)
        span_part_begin(&s, &k, SPAN_AT_HOME_RX, 10);
    k.node = 0;
    for (k.id = 1; k.id <= 1000000; k.id++)
        span_part_begin(&s, &k, SPAN_AT_HOME_RX, 20 + k.id);
    k.node = HOME;
    for (k.id = 1; k.id <= 32; k.id++) {
        span_stamp(&s, &k, SPAN_AT_HOME_TX, 30);
        assert_true(span_part_end(&s, &k, 5, WIRE_SPAN_AGAIN, &m));
        assert_int_equal(m.points, ALL_HOME);
        assert_int_equal(m.stamp[0], 10);
        assert_int_equal(m.stamp[1], 30);
        assert_int_equal(m.error, 5);
        assert_int_equal(m.flags, WIRE_SPAN_AGAIN);
        assert_false(span_part_end(&s, &k, 5, 0, &m)); /* once */
    }
    assert_int_equal(s.parts_lost, 1000000 - (SPAN_PARTS_MAX - 32));
    assert_int_equal(s.parts_sent, 32);
    /* A thread's stamp that is older than what it answers is no reason to be refused there. */
    k = (struct span_key){.id = 3, .chan = 5, .what = SPAN_IPI, .node = HOME};
    span_part_begin(&s, &k, SPAN_AT_IPI_RX, 100);
    span_stamp(&s, &k, SPAN_AT_POSTED, 90);
    assert_true(span_part_end(&s, &k, 0, 0, &m));
    assert_int_equal(m.stamp[1], 100);
    assert_int_equal(m.chan, 5);
    /* A thread that was there before the poll loop said that it had told it. */
    span_part_begin(&s, &k, SPAN_AT_IPI_RX, 100);
    span_stamp(&s, &k, SPAN_AT_POSTED, 150);
    span_stamp(&s, &k, SPAN_AT_TAKEN, 120);
    assert_true(span_part_end(&s, &k, 0, 0, &m));
    assert_int_equal(m.stamp[0], 100);
    assert_int_equal(m.stamp[1], 120);
    assert_int_equal(m.stamp[2], 120);
}

/* ---- records ------------------------------------------------------------------------------- */

static void keep(uint64_t value)
{
    struct span_record r = {.id = value, .object = value, .kind = SPAN_KIND_IO};
    for (unsigned p = 0; p < SPAN_POINTS_MAX; p++)
        r.stamp[p] = value;
    span_keep(&s, &r);
}

static void ring(void **state)
{
    (void)state;
    struct span_record r;
    begin(1);
    assert_int_equal(span_newest(&s), 0);
    assert_false(span_copy(&s, 0, &r));
    assert_false(span_copy(&s, 1, &r));
    for (uint64_t i = 1; i <= SPAN_RING + 3; i++)
        keep(i);
    assert_int_equal(span_newest(&s), SPAN_RING + 3);
    assert_false(span_copy(&s, 3, &r));
    assert_false(span_copy(&s, SPAN_RING + 4, &r));
    for (uint64_t i = 4; i <= SPAN_RING + 3; i++) {
        assert_true(span_copy(&s, i, &r));
        assert_int_equal(r.id, i);
    }
    s.ring[5].lock |= 1; /* its writer is in the middle */
    assert_false(span_copy(&s, 5, &r));
    assert_false(span_copy(&s, SPAN_RING + 5, &r));
}

static volatile bool ends;

static void *writer(void *arg)
{
    (void)arg;
    for (uint64_t i = 1; !ends; i++)
        keep(i);
    return NULL;
}

/* What is read is one record, never two halves: all of its words say the same number. */
static void torn(void **state)
{
    (void)state;
    pthread_t thread;
    struct span_record r;
    uint64_t read = 0, missed = 0;
    begin(1);
    ends = false;
    assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
    while (read < 200000 && missed < 100000000) {
        /* The oldest: just being overwritten. */
        uint64_t newest = span_newest(&s);
        if (newest <= SPAN_RING || !span_copy(&s, newest - SPAN_RING + 1, &r)) {
            missed++;
            continue;
        }
        read++;
        assert_int_equal(r.id, r.serial);
        assert_int_equal(r.object, r.serial);
        for (unsigned p = 0; p < SPAN_POINTS_MAX; p++)
            assert_int_equal(r.stamp[p], r.serial);
    }
    ends = true;
    pthread_join(thread, NULL);
    assert_true(read > 0);
}

static void names(void **state)
{
    (void)state;
    for (unsigned k = 0; k < SPAN_KINDS; k++)
        for (unsigned l = 0; l < k; l++)
            assert_string_not_equal(span_kind_name(k), span_kind_name(l));
    for (unsigned w = 0; w < SPAN_WHATS; w++)
        for (unsigned p = 0; p < span_points((enum span_what)w); p++)
            for (unsigned q = 0; q < p; q++)
                assert_string_not_equal(span_point_name((enum span_what)w, p),
                                        span_point_name((enum span_what)w, q));
    assert_string_equal(span_kind_name(SPAN_KINDS), "?");
    assert_string_equal(span_lack_name(SPAN_LACKS), "?");
    assert_string_equal(span_drop_name(SPAN_DROPS), "?");
    assert_string_equal(span_point_name(SPAN_IPI, SPAN_IPI_POINTS), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(local_and_no_faults),
        cmocka_unit_test(sampling),
        cmocka_unit_test(clocks),
        cmocka_unit_test(refused),
        cmocka_unit_test(usurped),
        cmocka_unit_test(ids_again),
        cmocka_unit_test(full_tables),
        cmocka_unit_test(flood),
        cmocka_unit_test(ring),
        cmocka_unit_test(torn),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
