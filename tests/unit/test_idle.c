/* SPDX-License-Identifier: BSD-3-Clause */
/* What an idle poll loop does, mode by mode (engine/idle.c): spin, give the core away, or sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/engine/engine.h"
#include "hypervisor-glue/link/glue_cpu.h"

enum { MTU = 1500, PAGES = 16, COST = 8000, STEP = 1000 };

static struct engine *e;
static int bell = -1; /* -1: the port is looked at every 50 us; no sleep of most tests is longer */
static bool frames;   /* that came on the way to bed */

static int fake_wait_fd(struct port *p)
{
    (void)p;
    return bell;
}

static bool fake_arm(struct port *p)
{
    (void)p;
    return !frames;
}

static bool wakes; /* in its sleep the loop makes another one runnable */

static void fake_disarm(struct port *p)
{
    (void)p;
    e->make_way |= wakes;
}

static const struct port_ops fake_ops = {
    .name = "fake", .wait_fd = fake_wait_fd, .arm = fake_arm, .disarm = fake_disarm};
static struct port port = {.ops = &fake_ops, .mtu = MTU};
static struct pando_config cfg;
static void *memory[2];

static int set_up(void **state)
{
    const uint64_t ms = 1000000, later = 1000000 * ms;
    const struct rrdp_config r = {.nodes = 2,
                                  .cluster_id = 7,
                                  .epoch = 100,
                                  .config_hash = 1,
                                  .mtu = MTU,
                                  .credit = RRDP_WINDOW,
                                  .rto_min_ns = later,
                                  .rto_max_ns = later,
                                  .ack_delay_ns = ms,
                                  .heartbeat_ns = later,
                                  .dead_ns = 3 * later,
                                  .syn_ns = later};
    const struct coh_config c = {.nodes = 2,
                                 .home_mode = COH_HOME_RANGE,
                                 .pages = PAGES,
                                 .range_end = {8, PAGES},
                                 .epoch_txn = 1,
                                 .txn_max = 4,
                                 .deferred_max = 64};
    struct rrdp_frame f;
    (void)state;
    memory[0] = aligned_alloc(64, (rrdp_size(&r) + 63) & ~(size_t)63);
    memory[1] = aligned_alloc(4096, (coh_size(&c) + 4095) & ~(size_t)4095);
    memset(memory[1], 0, (coh_size(&c) + 4095) & ~(size_t)4095);
    cfg = (struct pando_config){.node_count = 2, .vm = {.vcpus = 1}};
    cfg.poll.empty_polls = 4;
    cfg.poll.sleep_after_us = 100;
    e = calloc(1, sizeof(*e));
    *e = (struct engine){.cfg = &cfg,
                         .port = &port,
                         .nodes = 2,
                         .now = engine_now(),
                         .phase = ENGINE_RUNNING,
                         .rrdp = rrdp_init(memory[0], &r, 1),
                         .coh = coh_init(memory[1], &c)};
    gap_init(&e->gap, COST);
    e->shared = aligned_alloc(4096, (glue_segment_size(1) + 4095) & ~(size_t)4095);
    memset(e->shared, 0, glue_segment_size(1));
    assert_int_equal(idle_open(e), 0);
    rrdp_tick(e->rrdp, e->now);
    while (rrdp_transmit(e->rrdp, e->now, &f)) /* the next time-out is far away then */
        ;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (bell >= 0)
        close(bell);
    bell = -1;
    frames = wakes = false;
    close(e->epoll_fd);
    free(e->shared);
    free(e);
    free(memory[0]);
    free(memory[1]);
    return 0;
}

/* Empty rounds of STEP each; how many until the loop sleeps for the first time, at most `most`. */
static unsigned rounds_to_sleep(unsigned most)
{
    uint64_t before = e->count.sleeps;
    for (unsigned n = 1; n <= most; n++) {
        e->now += STEP;
        idle_round(e, false);
        e->crowded_until = 0; /* a yield that was long, where others fill the CPU */
        if (e->count.sleeps != before)
            return n;
    }
    return 0;
}

static void found(void)
{
    e->now += STEP;
    idle_round(e, true);
}

static void busy(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_BUSY;
    assert_int_equal(rounds_to_sleep(1000), 0);
    assert_int_equal(e->count.yields, 0);
}

static void yield(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_YIELD;
    assert_int_equal(rounds_to_sleep(1000), 0);
    assert_int_equal(e->count.yields, 1000 - (cfg.poll.empty_polls - 1));
}

/* 100 us after it began to be idle, and not while it yields. */
static void interrupt(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_INTERRUPT;
    found();
    assert_int_equal(rounds_to_sleep(1000), 101);
    assert_in_range(e->count.yields, 90, 98);
}

/* Short gaps are spun through, without giving the core away. */
static void adaptive_spins(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_ADAPTIVE;
    for (int i = 0; i < 50; i++) {
        found();
        assert_int_equal(rounds_to_sleep(COST / STEP - 2), 0);
    }
    assert_int_equal(e->count.yields, 0);
    found();
    assert_int_equal(rounds_to_sleep(1000), GAP_SPIN * COST / STEP + 1); /* the guess was wrong */
}

/* After some long gaps the loop sleeps as soon as empty_polls are over, and unlearns it. */
static void adaptive_sleeps(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_ADAPTIVE;
    for (int i = 0; i < 20; i++) {
        found();
        assert_true(rounds_to_sleep(1000) > 0);
        e->now += 100 * COST;
    }
    found();
    assert_int_equal(rounds_to_sleep(1000), cfg.poll.empty_polls);
    assert_int_equal(e->count.yields, 0);
    for (int i = 0; i < 40; i++) {
        found();
        (void)rounds_to_sleep(1000); /* and comes back as late as a sleep makes it: */
        e->now += COST;
    }
    found();
    assert_int_equal(rounds_to_sleep(1000), GAP_SPIN * COST / STEP + 1);
}

static void ring(int fd)
{
    uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* Somebody of the loop's own CPU was made runnable: in the first empty round, and once, as what
 * ends the sleep is of this node. */
static void makes_way(void **state)
{
    (void)state;
    bell = eventfd(0, EFD_NONBLOCK);
    e->doorbell_fd = eventfd(0, EFD_NONBLOCK);
    assert_int_equal(idle_watch(e, e->doorbell_fd, WATCH_DOORBELL), 0);
    for (int mode = CONFIG_POLL_BUSY; mode <= CONFIG_POLL_INTERRUPT; mode++) {
        bool sleeps = mode != CONFIG_POLL_BUSY;
        cfg.poll.mode = (enum config_poll)mode;
        ring(e->doorbell_fd); /* no sleep is long */
        e->make_way = true;
        uint64_t slept = e->count.sleeps, made = e->count.made_way;
        found();
        assert_true(e->make_way); /* other work comes first */
        assert_int_equal(rounds_to_sleep(1), sleeps);
        assert_int_equal(e->count.sleeps - slept, sleeps);
        assert_int_equal(e->count.made_way - made, sleeps);
        assert_false(e->make_way);
        assert_int_equal(e->way_ns, 0);
        found();
        assert_int_equal(rounds_to_sleep(1), 0);
    }
    assert_int_equal(e->count.yields, 0);
    close(e->doorbell_fd);
}

/* Frames end the sleep, and it goes on when they are dealt with, until all of the way was made. */
static void makes_way_between_frames(void **state)
{
    (void)state;
    bell = eventfd(0, EFD_NONBLOCK);
    ring(bell); /* nobody takes it away: each sleep is over at once */
    for (unsigned i = 0; i < 30; i++) {
        cfg.poll.mode = (enum config_poll)(CONFIG_POLL_YIELD + i % 3);
        e->make_way = true;
        uint64_t made = e->count.made_way, left = UINT64_MAX;
        do {
            assert_true(e->way_ns < left);
            left = e->way_ns == 0 ? UINT64_MAX : e->way_ns;
            found();
            assert_int_equal(rounds_to_sleep(1), 1);
        } while (e->way_ns != 0);
        assert_int_equal(e->count.made_way - made, 1);
        found();
        assert_int_equal(rounds_to_sleep(1), 0);
    }
    assert_true(e->count.sleeps > e->count.made_way); /* some of them may have been long */
}

/* A deadline within the way is late; one behind it ends the sleep. */
static void makes_way_before_deadlines(void **state)
{
    (void)state;
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* which else makes short sleeps as long */
    bell = eventfd(0, EFD_NONBLOCK);
    for (unsigned i = 0; i < 6; i++) {
        cfg.poll.mode = (enum config_poll)(CONFIG_POLL_YIELD + i % 3);
        e->phase = ENGINE_JOINING;
        e->now = engine_now();
        e->deadline = e->now + (i < 3 ? 10 : 30) * STEP; /* us; 10: too short to sleep otherwise */
        e->make_way = true;
        uint64_t before = engine_now(), slept = e->count.sleeps;
        idle_round(e, false);
        assert_int_equal(e->count.sleeps - slept, 1);
        assert_true(engine_now() - before >= 45000);
        assert_int_equal(e->way_ns, 0);
        e->phase = ENGINE_RUNNING;
    }
}

/* What comes on the way to bed is served first; the way is made after it. */
static void makes_way_after_work(void **state)
{
    (void)state;
    bell = eventfd(0, EFD_NONBLOCK);
    ring(bell);
    cfg.poll.mode = CONFIG_POLL_YIELD;
    e->make_way = true;
    frames = true;
    assert_int_equal(rounds_to_sleep(1), 0);
    assert_true(e->make_way);
    assert_int_equal(e->count.made_way, 0);
    assert_int_equal(rounds_to_sleep(100), 0); /* comes that again and again, it yields */
    assert_in_range(e->count.yields, 90, 100);
    frames = false;
    atomic_store(&e->shared->agent.done, 1); /* likewise the glue: it has answered */
    assert_int_equal(rounds_to_sleep(1), 0);
    assert_true(e->make_way);
    atomic_store(&e->shared->agent.done, 0);
    found();
    assert_int_equal(rounds_to_sleep(1), 1);
    assert_false(e->make_way);
    assert_int_equal(e->count.made_way, 1);
    e->make_way = wakes = true;
    assert_int_equal(rounds_to_sleep(1), 1);
    assert_true(e->make_way);
    assert_int_equal(e->count.made_way, 2);
}

/* A port that cannot wake a sleeper at the moment is polled on. */
static void makes_way_awake(void **state)
{
    (void)state;
    for (int mode = CONFIG_POLL_YIELD; mode <= CONFIG_POLL_INTERRUPT; mode++) {
        cfg.poll.mode = (enum config_poll)mode;
        uint64_t yields = e->count.yields;
        found();
        e->make_way = true;
        assert_int_equal(rounds_to_sleep(1), 0);
        assert_int_equal(e->count.yields - yields, 1);
    }
    assert_int_equal(e->count.made_way, 3);
}

/* In mode yield it is back soon, though nothing comes. */
static void makes_way_for_a_while(void **state)
{
    (void)state;
    bell = eventfd(0, EFD_NONBLOCK);
    cfg.poll.mode = CONFIG_POLL_YIELD;
    uint64_t shortest = UINT64_MAX;
    for (unsigned i = 0; i < 20; i++) {
        e->make_way = true;
        uint64_t before = engine_now();
        assert_int_equal(rounds_to_sleep(1), 1);
        shortest = min_u64(shortest, engine_now() - before);
    }
    assert_in_range(shortest, 50000, 800000); /* without that bound: 1 ms */
}

/* Whom glue_wake wakes: it matters where he was. */
static void sees_who_shares_its_cpu(void **state)
{
    (void)state;
    struct glue_chan *c = &e->shared->chan[0];
    uint32_t here =
        glue_cpu_here(); /* a move to another CPU meanwhile is answered by another try */
    static const enum glue_thread_state states[] = {GLUE_AWAKE, GLUE_SLEEPING, GLUE_IN_GUEST};
    for (unsigned try = 0; try < 100; try++) {
        for (unsigned i = 0; i < 9; i++) {
            uint32_t hint = i / 3 == 0 ? 0 : i / 3 == 1 ? here : here + 1;
            e->make_way = false;
            atomic_store(&c->cpu, hint);
            atomic_store(&c->state, (uint32_t)states[i % 3]);
            glue_wake(e, 0);
            if (glue_cpu_here() != here)
                break;
            assert_int_equal(e->make_way, hint == here && states[i % 3] != GLUE_AWAKE);
            if (i == 8)
                return;
        }
        here = glue_cpu_here();
    }
    fail_msg("the scheduler moves this thread all the time");
}

/* Adaptive: what the sleep itself has found ends the gap. */
static void adaptive_counts_its_sleeps(void **state)
{
    (void)state;
    cfg.poll.mode = CONFIG_POLL_ADAPTIVE;
    bell = eventfd(0, EFD_NONBLOCK);
    e->doorbell_fd = eventfd(0, EFD_NONBLOCK);
    assert_int_equal(idle_watch(e, e->doorbell_fd, WATCH_DOORBELL), 0);
    ring(e->doorbell_fd);
    e->gap.expected_ns = 2 * COST; /* sleeps at once */
    e->now = engine_now() - 50 * COST;
    for (unsigned i = 0; i < cfg.poll.empty_polls; i++)
        idle_round(e, false);
    assert_int_equal(e->count.sleeps, 1);
    assert_int_equal(e->empty_rounds, 0);
    assert_true(e->gap.expected_ns > 2 * COST);
    close(e->doorbell_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(busy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(yield, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adaptive_spins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adaptive_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way_between_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way_before_deadlines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way_after_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way_awake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_way_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sees_who_shares_its_cpu, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adaptive_counts_its_sleeps, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
