/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state machine of an RDMA connection: two ends whose actions are carried out on
 * queue pairs that are only written down, over a network of datagrams that the test delivers, loses
 * or keeps. A few numbers are used again and again for queue pairs, as a device may.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/base/text.h"
#include "dataplane/rdma/rdma.h"

#define MS UINT64_C(1000000)

enum { MAIL = 256, PAIRS = 4096, CLUSTER = 77, YOUNG_MS = 800 };

/* A queue pair that was made. */
struct pair {
    uint8_t owner;
    uint32_t number, packet;
    uint64_t epoch, peer_epoch; /* whose it is, and for whom */
    bool alive;
    int to; /* the pair that it is connected to; -1: none yet */
};

struct mail {
    uint8_t to;
    size_t len;
    uint8_t bytes[RDMA_HELLO_MAX];
};

struct end {
    struct rdma_config cfg;
    struct rdma_peer peer;
    int pair; /* in pairs; -1: none */
    bool running, reachable, failed;
    uint8_t blocks; /* of own memory */
    unsigned probes, refused[RDMA_REFUSALS];
};

static struct world {
    struct end end[2];
    struct pair pairs[PAIRS];
    unsigned made;
    struct mail mail[MAIL];
    unsigned mails;
    uint64_t now, epoch;
    struct prng random;
    struct text trace;
    char trace_text[65536];
    bool fail_make;
    uint32_t numbers; /* that the device gives to queue pairs */
} w;

static void perform(uint8_t who, unsigned todo);

static void event(uint8_t who, const struct rdma_event *ev)
{
    struct end *e = &w.end[who];
    enum rdma_state before = e->peer.state;
    unsigned todo = rdma_step(&e->cfg, &e->peer, w.now, ev);
    if (before != e->peer.state || (todo & ~(unsigned)RDMA_DO_HELLO) != 0) {
        text_char(&w.trace, (char)('a' + who));
        text_str(&w.trace, " ");
        text_str(&w.trace, rdma_event_name(ev->type));
        text_str(&w.trace, ": ");
        text_str(&w.trace, rdma_state_name(e->peer.state));
        for (unsigned i = 0; i < RDMA_ACTIONS; i++)
            if (todo & 1u << i) {
                text_str(&w.trace, " ");
                text_str(&w.trace, rdma_action_name(i));
            }
        text_str(&w.trace, "\n");
    }
    perform(who, todo);
}

static void simple(uint8_t who, enum rdma_event_type type)
{
    event(who, &(struct rdma_event){.type = type});
}

static void send_hello(uint8_t who, enum rdma_phase phase)
{
    struct end *e = &w.end[who];
    struct mail *m = &w.mail[w.mails];
    struct rdma_hello h = {.from = who,
                           .to = 1 - who,
                           .mtu = 3,
                           .gid = {[15] = who + 1},
                           .cluster_id = CLUSTER,
                           .ud_number = 17 + who,
                           .blocks = e->blocks};
    for (uint8_t i = 0; i < e->blocks; i++)
        h.block[i] =
            (struct rdma_block){.base_page = 100 * i, .pages = 50, .address = 4096, .key = i};
    rdma_hello_fill(&e->cfg, &e->peer, phase, &h);
    if (w.mails == MAIL)
        return; /* lost */
    m->to = 1 - who;
    m->len = rdma_hello_write(&h, m->bytes);
    w.mails++;
}

static struct pair *pair_named(uint8_t owner, uint32_t number, uint32_t packet)
{
    for (unsigned i = w.made; i-- > 0;)
        if (w.pairs[i].owner == owner && w.pairs[i].number == number && w.pairs[i].packet == packet)
            return &w.pairs[i];
    return NULL;
}

/* Numbers come again at once; what else tells them apart is random. */
static void make(uint8_t who)
{
    struct end *e = &w.end[who];
    assert_int_equal(e->pair, -1); /* END before MAKE */
    if (w.fail_make) {
        simple(who, RDMA_EVENT_BROKE);
        return;
    }
    assert_true(w.made < PAIRS);
    struct pair *q = &w.pairs[w.made];
    *q = (struct pair){.owner = who,
                       .number = 40 + prng_below(&w.random, w.numbers),
                       .packet = prng_below(&w.random, RDMA_NUMBER_MAX),
                       .epoch = e->cfg.epoch,
                       .peer_epoch = e->peer.theirs.epoch,
                       .alive = true,
                       .to = -1};
    e->pair = (int)w.made++;
    event(who,
          &(struct rdma_event){.type = RDMA_EVENT_MADE, .number = q->number, .packet = q->packet});
}

/* Invariant 1: what is connected to was made for this port, and for no other queue pair. */
static void connect_pair(uint8_t who)
{
    struct end *e = &w.end[who];
    const struct rdma_hello *t = &e->peer.theirs;
    struct pair *mine = &w.pairs[e->pair], *theirs = pair_named(1 - who, t->number, t->packet);
    assert_true(e->pair >= 0 && mine->alive && mine->to < 0);
    assert_non_null(theirs);
    assert_true(theirs->epoch == t->epoch && theirs->peer_epoch == e->cfg.epoch);
    assert_true(mine->peer_epoch == t->epoch);
    mine->to = (int)(theirs - w.pairs);
}

/* Who is up may send: the other queue pair was joined with this one, whatever became of it. */
static void check_up(uint8_t who)
{
    const struct end *e = &w.end[who];
    assert_true(e->pair >= 0 && w.pairs[e->pair].to >= 0);
    assert_int_equal(w.pairs[w.pairs[e->pair].to].to, e->pair);
}

static void perform(uint8_t who, unsigned todo)
{
    struct end *e = &w.end[who];
    e->refused[RDMA_REFUSAL_STALE] += (todo & RDMA_DO_STALE) != 0;
    if (todo & RDMA_DO_END) {
        assert_true(e->pair >= 0);
        w.pairs[e->pair].alive = false;
        e->pair = -1;
    }
    if (todo & RDMA_DO_FORGET)
        e->reachable = false;
    if (todo & RDMA_DO_LEARN)
        e->reachable = true;
    if (todo & RDMA_DO_MAKE)
        make(who);
    if (todo & RDMA_DO_CONNECT)
        connect_pair(who);
    if (todo & RDMA_DO_PROBE)
        check_up(who);
    e->probes += (todo & RDMA_DO_PROBE) != 0;
    if (todo & RDMA_DO_HELLO)
        send_hello(who, RDMA_LIVE);
    if (todo & RDMA_DO_FAIL)
        e->failed = true;
}

static void open_end(uint8_t who)
{
    struct end *e = &w.end[who];
    bool ladder = e->cfg.ladder;
    *e = (struct end){.cfg = {.epoch = ++w.epoch,
                              .ladder = ladder,
                              .hello_ns = 20 * MS,
                              .calm_ns = 500 * MS,
                              .young_ns = YOUNG_MS * MS,
                              .doubt_ns = 200 * MS,
                              .probe_ns = 200 * MS},
                      .pair = -1,
                      .running = true};
    simple(who, RDMA_EVENT_START);
}

static void close_end(uint8_t who, bool orderly)
{
    struct end *e = &w.end[who];
    if (e->pair >= 0)
        w.pairs[e->pair].alive = false;
    e->pair = -1;
    if (orderly)
        send_hello(who, e->failed ? RDMA_BROKEN : RDMA_CLOSED);
    e->running = false;
}

/* Hands over datagram i of those that wait; keep: it comes again later. */
static void deliver(unsigned i, bool keep)
{
    struct mail m = w.mail[i];
    struct rdma_hello h;
    if (!keep) {
        memmove(&w.mail[i], &w.mail[i + 1], (w.mails - i - 1) * sizeof(m));
        w.mails--;
    }
    if (!w.end[m.to].running) {
        if (w.end[1 - m.to].running)
            simple(1 - m.to, RDMA_EVENT_REFUSED);
        return;
    }
    assert_int_equal(rdma_hello_read(m.bytes, m.len, m.to, 2, CLUSTER, &h), RDMA_REFUSAL_OK);
    event(m.to, &(struct rdma_event){.type = RDMA_EVENT_HELLO, .hello = &h});
}

static void settle_mail(void)
{
    for (unsigned i = 0; w.mails > 0; i++) {
        assert_true(i < 1000); /* hellos do not answer each other for ever */
        deliver(0, false);
    }
}

static void pass(uint64_t ns)
{
    for (uint64_t end = w.now + ns; w.now < end; w.now += 5 * MS) {
        for (uint8_t i = 0; i < 2; i++)
            if (w.end[i].running)
                simple(i, RDMA_EVENT_TICK);
        settle_mail();
    }
}

static void begin(bool ladder)
{
    w = (struct world){.now = 1, .random = {42}, .numbers = 1};
    w.trace = text_begin(w.trace_text, sizeof(w.trace_text));
    w.end[0].pair = w.end[1].pair = -1;
    w.end[0].cfg.ladder = w.end[1].cfg.ladder = ladder;
}

static void assert_joined(void)
{
    for (uint8_t i = 0; i < 2; i++) {
        const struct rdma_peer *p = &w.end[i].peer, *q = &w.end[1 - i].peer;
        assert_int_equal(p->state, RDMA_UP);
        assert_true(w.end[i].reachable && w.end[i].pair >= 0);
        assert_true(w.pairs[w.end[i].pair].alive);
        check_up(i);
        assert_int_equal(p->theirs.number, q->number);
        assert_int_equal(p->theirs.packet, q->packet);
        assert_int_equal(p->heard, p->generation);
    }
}

/* What happened since the last time. */
static void assert_trace(const char *expected)
{
    if (strcmp(w.trace_text, expected) != 0)
        print_message("is:\n%sshould be:\n%s", w.trace_text, expected);
    assert_string_equal(w.trace_text, expected);
    w.trace = text_begin(w.trace_text, sizeof(w.trace_text));
}

static void both_up(bool ladder)
{
    begin(ladder);
    open_end(0);
    open_end(1);
    settle_mail();
    assert_joined();
    w.trace = text_begin(w.trace_text, sizeof(w.trace_text));
}

/* ---- connections --------------------------------------------------------------------------- */

static void test_both_at_once(void **state)
{
    (void)state;
    begin(true);
    open_end(0);
    open_end(1);
    settle_mail();
    assert_joined();
    assert_trace("b hello: made learn make hello\n"
                 "a hello: made learn make hello\n"
                 "a hello: ready connect hello\n"
                 "b hello: ready connect hello\n"
                 "b hello: up probe hello\n"
                 "a hello: up probe hello\n");
    assert_int_equal(w.end[0].peer.restarts + w.end[1].peer.restarts, 0);
}

static void test_one_after_the_other(void **state)
{
    (void)state;
    for (uint8_t first = 0; first < 2; first++) {
        begin(false);
        open_end(first);
        settle_mail(); /* nobody is there */
        assert_int_equal(w.end[first].peer.state, RDMA_ABSENT);
        pass(2000 * MS);
        open_end(1 - first);
        settle_mail();
        assert_joined();
        assert_int_equal(w.end[0].peer.restarts + w.end[1].peer.restarts, 0);
    }
}

/* Each of the first datagrams lost, delivered twice, or kept to the end. */
static void test_disturbed(void **state)
{
    enum { LOST, TWICE, LAST, HOW };
    (void)state;
    for (unsigned how = 0; how < HOW; how++)
        for (unsigned which = 0; which < 10; which++) {
            struct mail kept = {0};
            begin(true);
            open_end(0);
            open_end(1);
            for (unsigned i = 0; w.mails > 0; i++) {
                if (i == which && how == TWICE)
                    deliver(0, true);
                if (i == which && how != TWICE) {
                    kept = w.mail[0];
                    memmove(&w.mail[0], &w.mail[1], --w.mails * sizeof(kept));
                } else {
                    deliver(0, false);
                }
            }
            pass(50 * MS);
            assert_joined();
            if (how == LAST && kept.len > 0) {
                w.mail[w.mails++] = kept;
                settle_mail();
                pass(50 * MS);
                assert_joined();
            }
            assert_false(w.end[0].failed || w.end[1].failed);
        }
}

/* B is killed when A has come to each state, and starts again; with and without a last word, and
 * with an old datagram that arrives after it. */
static void test_restart(void **state)
{
    (void)state;
    bool seen[RDMA_STATES] = {false};
    for (unsigned steps = 0; steps < 12; steps++)
        for (unsigned how = 0; how < 4; how++) {
            struct mail old;
            begin(false);
            open_end(0);
            open_end(1);
            for (unsigned i = 0; i < steps && w.mails > 0; i++)
                deliver(0, false);
            seen[w.end[0].peer.state] = true;
            send_hello(1, RDMA_LIVE);
            old = w.mail[w.mails - 1];
            close_end(1, how & 1);
            if (how & 2)
                settle_mail();
            open_end(1);
            w.mail[w.mails++] = old;
            settle_mail();
            pass(50 * MS);
            assert_joined();
            assert_false(w.end[0].failed);
            assert_true(w.end[0].refused[RDMA_REFUSAL_STALE] > 0);
        }
    assert_true(seen[RDMA_ABSENT] && seen[RDMA_MADE] && seen[RDMA_READY] && seen[RDMA_UP]);
    both_up(false);
    close_end(1, false);
    w.mails = 0;
    open_end(1);
    deliver(0, false);
    assert_trace("a hello: made end learn make hello\n");
    settle_mail();
    assert_joined();
    assert_int_equal(w.end[0].peer.restarts, 1);
}

/* In doubt as well: our queue pair broke because the peer was killed. */
static void test_restart_in_doubt(void **state)
{
    (void)state;
    both_up(true);
    close_end(1, false);
    simple(0, RDMA_EVENT_BROKE);
    w.mails = 0;
    assert_trace("a broke: doubt end hello\n");
    open_end(1);
    settle_mail();
    assert_joined();
    assert_false(w.end[0].failed);
}

static void test_closed(void **state)
{
    (void)state;
    both_up(true);
    close_end(1, true);
    settle_mail();
    assert_trace("a hello: absent end forget\n");
    pass(1000 * MS); /* it may say that nobody is there: nothing new */
    assert_trace("");
    assert_int_equal(w.end[0].peer.state, RDMA_ABSENT);
    open_end(1);
    settle_mail();
    assert_joined();
}

static void test_killed(void **state)
{
    (void)state;
    both_up(false);
    close_end(1, false);
    pass(600 * MS);
    assert_trace("a refused: absent end forget\n");
    both_up(true); /* where there is another fabric, it may be there */
    close_end(1, false);
    pass(600 * MS);
    assert_int_equal(w.end[0].peer.failure, RDMA_FAILURE_LEFT);
}

/* A node that never had this fabric, or has left it unheard: on a ladder nobody waits for it. */
static void test_elsewhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool ladder = i % 2 == 0;
        begin(ladder);
        open_end(0);
        if (i < 2)
            open_end(1);
        settle_mail();
        enum rdma_state before = w.end[0].peer.state;
        simple(0, RDMA_EVENT_ELSEWHERE);
        assert_int_equal(w.end[0].peer.state, ladder ? RDMA_FAILED : before);
        assert_int_equal(w.end[0].peer.failure, ladder ? RDMA_FAILURE_ELSEWHERE : 0);
        assert_int_equal(w.end[0].pair >= 0, !ladder && i < 2);
    }
}

/* A is to hear nothing of B any more: its queue pair ends, and B's, which waits. When A listens
 * again they come together, on a ladder too. */
static void test_fenced(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        both_up(i == 0);
        simple(0, RDMA_EVENT_FENCED);
        deliver(0, false);
        assert_trace("a fenced: absent end forget hello\n"
                     "b hello: made end learn make hello\n");
        for (unsigned k = 0; k < 200; k++) { /* A's owner drops what B says */
            w.now += 5 * MS;
            w.mails = 0;
            simple(0, RDMA_EVENT_TICK);
            if (w.mails > 0)
                deliver(0, false);
            simple(1, RDMA_EVENT_TICK);
            w.mails = 0;
            assert_true(w.end[0].pair < 0 && !w.end[0].reachable);
        }
        assert_false(w.end[0].failed || w.end[1].failed);
        simple(0, RDMA_EVENT_FENCED); /* it is already */
        assert_trace("");
        pass(50 * MS);
        assert_joined();
    }
    both_up(true); /* B has seen its queue pair break before it hears why */
    simple(1, RDMA_EVENT_BROKE);
    w.mails = 0;
    simple(0, RDMA_EVENT_FENCED);
    deliver(0, false);
    assert_trace("b broke: doubt end hello\n"
                 "a fenced: absent end forget hello\n"
                 "b hello: made learn make hello\n");
    settle_mail();
    pass(50 * MS);
    assert_joined();
    begin(true); /* before it is connected */
    open_end(0);
    open_end(1);
    deliver(0, false);
    deliver(0, false);
    assert_int_equal(w.end[0].peer.state, RDMA_MADE);
    simple(0, RDMA_EVENT_FENCED);
    assert_true(w.end[0].peer.state == RDMA_ABSENT && w.end[0].pair < 0);
    settle_mail();
    pass(50 * MS);
    assert_joined();
}

/* The path breaks under both: either way round, and at the same time. */
static void test_path_broke(void **state)
{
    (void)state;
    both_up(true);
    simple(0, RDMA_EVENT_BROKE);
    settle_mail();
    assert_trace("a broke: doubt end hello\n"
                 "b hello: doubt end hello\n"
                 "a hello: failed fail\n");
    close_end(0, true);
    settle_mail();
    assert_trace("b hello: failed fail\n");
    assert_int_equal(w.end[0].peer.failure, RDMA_FAILURE_PATH);
    assert_int_equal(w.end[1].peer.failure, RDMA_FAILURE_SAID);
    both_up(true);
    simple(0, RDMA_EVENT_BROKE);
    simple(1, RDMA_EVENT_BROKE);
    settle_mail();
    assert_true(w.end[0].failed || w.end[1].failed);
    pass(50 * MS);
    close_end(0, true);
    settle_mail();
    assert_true(w.end[0].failed && w.end[1].failed);
    assert_int_equal(w.end[0].pair, -1);
    assert_int_equal(w.end[1].pair, -1);
}

/* Off a ladder there is nowhere else to go: a connection that was good is made anew, by both; one
 * that breaks at once again shows that the path is gone. */
static void test_tries_again(void **state)
{
    (void)state;
    for (unsigned both = 0; both < 2; both++) {
        both_up(false);
        pass(YOUNG_MS * MS);
        simple(0, RDMA_EVENT_BROKE);
        if (both)
            simple(1, RDMA_EVENT_BROKE);
        settle_mail();
        pass(50 * MS);
        assert_joined();
        assert_int_equal(w.end[0].peer.restarts, 1);
        assert_int_equal(w.end[1].peer.restarts, 1);
        pass((YOUNG_MS - 200) * MS);
        simple(0, RDMA_EVENT_BROKE);
        pass(50 * MS);
        assert_true(w.end[0].failed || w.end[1].failed);
    }
}

/* A hello that was under way when the queue pair broke does not say that the peer lives. */
static void test_old_hello_in_doubt(void **state)
{
    (void)state;
    both_up(true);
    send_hello(1, RDMA_LIVE);
    close_end(1, false);
    simple(0, RDMA_EVENT_BROKE);
    deliver(0, false);
    assert_int_equal(w.end[0].peer.state, RDMA_DOUBT);
}

static void test_silence(void **state)
{
    (void)state;
    for (unsigned ladder = 0; ladder < 2; ladder++) {
        both_up(ladder);
        simple(0, RDMA_EVENT_BROKE);
        for (uint64_t end = w.now + 250 * MS; w.now < end; w.now += 5 * MS) {
            simple(0, RDMA_EVENT_TICK);
            w.mails = 0;
        }
        assert_int_equal(w.end[0].peer.state, ladder ? RDMA_FAILED : RDMA_ABSENT);
        assert_int_equal(w.end[0].failed, ladder);
        if (!ladder) { /* the cable is in again */
            pass(600 * MS);
            assert_joined();
        }
    }
}

static void test_cannot_make(void **state)
{
    (void)state;
    begin(true);
    w.fail_make = true;
    open_end(0);
    open_end(1);
    deliver(0, false);
    assert_int_equal(w.end[1].peer.failure, RDMA_FAILURE_MAKE);
    assert_true(w.end[1].failed);
}

static void test_memory(void **state)
{
    (void)state;
    both_up(true);
    send_hello(0, RDMA_LIVE);
    struct mail old = w.mail[0];
    w.mails = 0;
    w.end[0].blocks = 2;
    simple(0, RDMA_EVENT_MEMORY);
    assert_int_equal(w.end[1].peer.theirs.blocks, 0);
    w.mails = 0; /* lost: it is said again */
    pass(30 * MS);
    assert_int_equal(w.end[1].peer.theirs.blocks, 2);
    assert_joined();
    w.mail[w.mails++] = old; /* overtaken */
    settle_mail();
    assert_int_equal(w.end[1].peer.theirs.blocks, 2);
    assert_int_equal(w.end[1].refused[RDMA_REFUSAL_STALE], 1);
    pass(2000 * MS); /* ... and not for ever */
    assert_true(w.end[0].probes > 5 && w.end[0].probes < 15);
}

/* Anything, for a while; then a network that works, and both meet. */
static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        begin(false);
        w.random.state = seed;
        w.numbers = 1 + seed % 3;
        open_end(0);
        open_end(1);
        w.end[0].cfg.young_ns = w.end[1].cfg.young_ns = 0;
        for (unsigned i = 0; i < 120; i++) {
            uint8_t who = (uint8_t)prng_below(&w.random, 2);
            uint32_t what = prng_below(&w.random, 100);
            w.now += MS;
            if (what < 55 && w.mails > 0) {
                deliver(prng_below(&w.random, w.mails), prng_chance(&w.random, 200000));
            } else if (what < 70 && w.mails > 0) {
                memmove(&w.mail[0], &w.mail[1], --w.mails * sizeof(w.mail[0]));
            } else if (what < 73) {
                close_end(who, prng_chance(&w.random, 500000));
                open_end(who);
                w.end[who].cfg.young_ns = 0;
            } else if (what < 75) {
                simple(who, RDMA_EVENT_REFUSED); /* a firewall may say anything */
            } else if (what < 77) {
                simple(who, RDMA_EVENT_MEMORY);
            } else if (what < 79 && w.end[who].peer.state == RDMA_UP) {
                simple(who, RDMA_EVENT_BROKE);
            } else {
                w.now += 20 * MS;
                simple(who, RDMA_EVENT_TICK);
            }
        }
        assert_false(w.end[0].failed || w.end[1].failed);
        pass(1500 * MS);
        if (w.end[0].peer.state != RDMA_UP || w.end[1].peer.state != RDMA_UP)
            printf("seed %llu\n%s", (unsigned long long)seed,
                   w.trace_text); /* longer than a message */
        assert_joined();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_at_once),     cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_disturbed),        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_in_doubt), cmocka_unit_test(test_closed),
        cmocka_unit_test(test_killed),           cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_fenced),           cmocka_unit_test(test_path_broke),
        cmocka_unit_test(test_tries_again),      cmocka_unit_test(test_old_hello_in_doubt),
        cmocka_unit_test(test_silence),          cmocka_unit_test(test_cannot_make),
        cmocka_unit_test(test_memory),           cmocka_unit_test(test_random),

    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
