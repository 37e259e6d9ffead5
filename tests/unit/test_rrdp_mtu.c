/* SPDX-License-Identifier: BSD-3-Clause */
/* What the path carries is found out, in each direction, and pages go through meanwhile. */
#include "tests/unit/rrdp_world.h"

enum { PAGE = WIRE_PAGE_SIZE };

static uint64_t first_transmissions(const struct world *w, uint8_t n)
{
    return world_count(w, n, tx_frames[2]) - world_count(w, n, retransmit[2]) -
           world_count(w, n, ack_frames);
}

static uint32_t frames_of_a_page(struct world *w, uint8_t from, uint8_t to)
{
    uint64_t before = first_transmissions(w, from);
    assert_int_equal(world_send(w, from, to, 2, PAGE), 0);
    world_drain(w, 1 * SEC);
    return (uint32_t)(first_transmissions(w, from) - before);
}

static void expect(struct world *w, uint8_t from, uint8_t to, uint16_t mtu)
{
    assert_int_equal(rrdp_peer_mtu(w->node[from].r, to), mtu);
    assert_int_equal(w->node[from].link[to].mtu, mtu);
}

/* Known two round trips after the connection is up, without a time-out. */
static void a_path_that_carries_it(void **state)
{
    (void)state;
    struct world *w = world_new(3, 9000, 1);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 6 * w->latency);
    for (uint8_t n = 0; n < 3; n++)
        for (uint8_t p = 0; p < 3; p++)
            if (p != n)
                expect(w, n, p, 9000);
    uint64_t syns = world_count(w, 0, syn_frames);
    assert_int_equal(frames_of_a_page(w, 0, 1), 1);
    world_run(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, syn_frames), syns); /* it is over */
    world_free(w);
}

static void a_path_that_does_not(void **state)
{
    (void)state;
    struct world *w = world_new(2, 9000, 2);
    w->path_mtu[0] = 8999;
    w->path_mtu[1] = 1500;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    assert_int_equal(w->node[0].link[1].mtu, 0); /* not decided */
    assert_int_equal(frames_of_a_page(w, 0, 1), 3);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, RRDP_MTU_BASE);
    expect(w, 1, 0, RRDP_MTU_BASE);
    assert_int_equal(frames_of_a_page(w, 1, 0), 3);
    assert_int_equal(w->node[0].link[1].down, 0);
    assert_true(world_count(w, 0, syn_frames) < 12);
    world_free(w);
}

static void each_direction_by_itself(void **state)
{
    (void)state;
    struct world *w = world_new(2, 9000, 3);
    w->path_mtu[0] = 1500;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, RRDP_MTU_BASE);
    expect(w, 1, 0, 9000);
    assert_int_equal(frames_of_a_page(w, 1, 0), 1);
    assert_int_equal(frames_of_a_page(w, 0, 1), 3);
    world_free(w);
}

/* The lower of both sides' is asked for; what is at most the base needs no question. */
static void sides_that_differ(void **state)
{
    (void)state;
    struct world *w = world_new(3, 9000, 4);
    w->node[1].cfg.mtu = 1500;
    w->node[2].cfg.mtu = 576;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, 1500);
    expect(w, 1, 0, 1500);
    assert_int_equal(rrdp_peer_mtu(w->node[0].r, 2), 576);
    assert_int_equal(rrdp_peer_mtu(w->node[2].r, 0), 576);
    assert_int_equal(w->node[0].link[2].mtu, 0);
    assert_int_equal(frames_of_a_page(w, 0, 2), 8); /* of at most 576 - 32 bytes */
    world_free(w);
}

static void questions_get_lost(void **state)
{
    (void)state;
    uint32_t large = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct world *w = world_new(2, 9000, seed);
        w->loss = 200000;
        w->dup = w->reorder = 100000;
        world_start_all(w);
        world_connect(w, 10 * SEC);
        for (int i = 0; i < 20; i++)
            assert_int_equal(world_send(w, 0, 1, 2, PAGE), 0);
        world_drain(w, 10 * SEC);
        world_run(w, 1 * SEC);
        for (uint8_t n = 0; n < 2; n++) {
            uint16_t mtu = rrdp_peer_mtu(w->node[n].r, !n);
            assert_true(mtu == 9000 || mtu == RRDP_MTU_BASE);
            expect(w, n, !n, mtu);
            large += mtu == 9000;
        }
        world_free(w);
    }
    assert_true(large > 70); /* 5 questions, each answered with 0.64 */
}

/* A new connection begins with what every path carries: it may be another path. */
static void again_after_a_restart(void **state)
{
    (void)state;
    struct world *w = world_new(2, 9000, 5);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, 9000);
    w->path_mtu[0] = w->path_mtu[1] = 1500;
    world_start(w, 1);
    world_connect(w, 1 * SEC);
    assert_int_equal(frames_of_a_page(w, 0, 1), 3);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, RRDP_MTU_BASE);
    expect(w, 1, 0, RRDP_MTU_BASE);
    world_free(w);
}

/* Some fabrics leave bytes behind a frame: that is no question. */
static void bytes_behind_a_frame(void **state)
{
    (void)state;
    for (uint32_t trailer = 4; trailer <= W_TRAILER; trailer *= 2) {
        struct world *w = world_new(2, 9000, 6);
        w->trailer = trailer;
        world_start_all(w);
        world_connect(w, 1 * SEC);
        world_run(w, 1 * SEC);
        expect(w, 0, 1, 9000);
        assert_true(world_count(w, 0, syn_frames) + world_count(w, 1, syn_frames) < 12);
        world_free(w);
    }
}

static struct wire_rrdp heartbeat; /* of node 1 */

static bool keeps_a_heartbeat(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w;
    (void)dst;
    if (src == 1 && h->nul)
        heartbeat = *h;
    return false;
}

/* An answer that comes when all questions have been asked; who answers is not silent meanwhile. */
static void late_is_not_never(void **state)
{
    (void)state;
    struct world *w = world_new(2, 9000, 7);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    uint64_t latency = w->latency;
    w->latency = 800 * MS; /* longer than the questions take: 63 times syn_ns */
    w->filter = keeps_a_heartbeat;
    for (int i = 0; i < 50; i++) {
        uint8_t bytes[WIRE_RRDP_HEADER_MAX];
        world_run(w, 10 * MS);
        size_t len = wire_rrdp_pack(&heartbeat, bytes);
        wire_rrdp_seal(bytes, len);
        world_inject(w, 1, 0, bytes, len);
    }
    w->latency = latency;
    expect(w, 0, 1, RRDP_MTU_BASE);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, 9000);
    expect(w, 1, 0, 9000);
    assert_int_equal(frames_of_a_page(w, 0, 1), 1);
    assert_int_equal(w->node[0].link[1].down, 0);
    world_free(w);
}

/* What a SYN of another connection says to have heard counts for nothing. */
static void heard_in_another_connection(void **state)
{
    (void)state;
    struct world *w = world_new(2, 9000, 8);
    uint8_t syn[W_FRAME];
    struct rrdp_frame f;
    w->path_mtu[0] = w->path_mtu[1] = 1500;
    world_start_all(w);
    rrdp_tick(w->node[1].r, w->now);
    size_t len = world_take(w, 1, syn, &f);
    world_connect(w, 1 * SEC);
    syn[WIRE_RRDP_HEADER + 6] = 9000 & 0xFF;
    syn[WIRE_RRDP_HEADER + 7] = 9000 >> 8;
    syn[WIRE_RRDP_HEADER + 24] = 1; /* an epoch that was ours once */
    wire_rrdp_seal(syn, len);
    world_inject(w, 1, 0, syn, len);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, RRDP_MTU_BASE);
    world_free(w);
}

/* ---- a path that is cut down later --------------------------------------------------------- */

static struct world *known(uint64_t seed)
{
    struct world *w = world_new(2, 9000, seed);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, 9000);
    expect(w, 1, 0, 9000);
    return w;
}

/* Pages and short messages behind each other go through, the connection stays, and the owner hears
 * what the path carries now. The other direction goes on as before. */
static void a_path_cut_down_later(void **state)
{
    (void)state;
    struct world *w = known(9);
    w->path_mtu[0] = 1500;
    for (int i = 0; i < 30; i++)
        assert_int_equal(world_send(w, 0, 1, 2, i % 3 == 1 ? 0 : PAGE), 0);
    assert_true(world_drain(w, 1 * SEC) < 50 * MS);
    assert_int_equal(world_count(w, 0, mtu_falls), 1);
    assert_true(world_count(w, 0, parts) >= 3 * 20);
    assert_int_equal(rrdp_peer_mtu(w->node[0].r, 1), RRDP_MTU_BASE);
    assert_int_equal(frames_of_a_page(w, 0, 1), 3); /* new ones are cut anew */
    world_run(w, 1 * SEC);
    expect(w, 0, 1, RRDP_MTU_BASE);
    expect(w, 1, 0, 9000);
    assert_int_equal(w->node[0].link[1].mtus, 2);
    assert_int_equal(frames_of_a_page(w, 1, 0), 1);
    assert_int_equal(w->node[0].link[1].down + w->node[1].link[0].down, 0);
    world_free(w);
}

/* A message longer than a frame, of which some frames were acknowledged and some are ahead. */
static void in_the_middle_of_a_message(void **state)
{
    (void)state;
    for (uint32_t cut = 0; cut < 8; cut++) {
        struct world *w = known(10 + cut);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(world_send(w, 0, 1, 3, WIRE_BYTES_MAX - i * 1000), 0);
        world_run(w, cut * w->latency / 2);
        w->path_mtu[0] = 1500;
        world_drain(w, 1 * SEC);
        assert_int_equal(w->node[0].link[1].down, 0);
        world_free(w);
    }
}

static uint32_t to_drop;

static bool drops_long_ones(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w;
    (void)dst;
    if (src != 0 || h->data_len <= RRDP_PART || to_drop == 0)
        return false;
    to_drop--;
    return true;
}

/* Long frames that are lost by bad luck: they come back with the first answer, and nobody is told.
 * Fewer of them change nothing at all. */
static void bad_luck(void **state)
{
    (void)state;
    for (uint32_t lost = 3; lost <= 4; lost++) {
        struct world *w = known(20);
        w->filter = drops_long_ones;
        to_drop = lost;
        assert_int_equal(world_send(w, 0, 1, 2, PAGE), 0);
        world_drain(w, 1 * SEC);
        assert_int_equal(to_drop, 0);
        assert_int_equal(world_count(w, 0, mtu_falls), lost / 4);
        assert_int_equal(world_count(w, 0, parts), lost / 4 * 3);
        world_run(w, 1 * SEC);
        expect(w, 0, 1, 9000);
        assert_int_equal(w->node[0].link[1].mtus, 1);
        assert_int_equal(frames_of_a_page(w, 0, 1), 1);
        world_free(w);
    }
}

/* That the peer heard a long frame once says nothing of now, whatever made it send a SYN. */
static void an_old_answer(void **state)
{
    (void)state;
    struct world *w = known(21);
    w->path_mtu[1] = 1500;
    assert_int_equal(world_send(w, 1, 0, 2, PAGE), 0);
    world_drain(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 1, 0, RRDP_MTU_BASE);
    w->filter = drops_long_ones; /* node 0 asks, so its SYNs reach node 1 */
    to_drop = 4;
    assert_int_equal(world_send(w, 0, 1, 2, PAGE), 0);
    world_drain(w, 1 * SEC);
    world_run(w, 1 * SEC);
    expect(w, 0, 1, 9000);
    expect(w, 1, 0, RRDP_MTU_BASE);
    assert_int_equal(world_count(w, 1, mtu_falls), 1);
    world_free(w);
}

/* Silence is not a verdict on the path: the questions go on until the peer is heard. */
static void a_peer_that_is_silent(void **state)
{
    (void)state;
    struct world *w = known(22);
    w->cut[0][1] = w->cut[1][0] = true;
    assert_int_equal(world_send(w, 0, 1, 2, PAGE), 0);
    world_run(w, 800 * MS); /* longer than the questions take, and than dead_ns not */
    assert_int_equal(world_count(w, 0, mtu_falls), 1);
    assert_int_equal(w->node[0].link[1].mtus, 1);
    w->cut[0][1] = w->cut[1][0] = false;
    world_drain(w, 1 * SEC);
    world_run(w, 500 * MS);
    expect(w, 0, 1, 9000);
    assert_int_equal(w->node[0].link[1].mtus, 1);
    assert_int_equal(w->node[0].link[1].down, 0);
    world_free(w);
}

/* The silence begins behind the last question: that one does not count, either. */
static void silent_at_the_end(void **state)
{
    (void)state;
    struct world *w = known(23);
    w->cut[0][1] = true;
    assert_int_equal(world_send(w, 0, 1, 2, PAGE), 0);
    world_run(w, 250 * MS); /* the last question leaves after 155 ms, and waits for 160 */
    w->cut[1][0] = true;
    world_run(w, 150 * MS);
    assert_int_equal(world_count(w, 0, mtu_falls), 1);
    w->cut[0][1] = w->cut[1][0] = false;
    world_drain(w, 1 * SEC);
    world_run(w, 500 * MS);
    expect(w, 0, 1, 9000);
    assert_int_equal(w->node[0].link[1].mtus, 1);
    assert_int_equal(w->node[0].link[1].down, 0);
    world_free(w);
}

/* All at once: parts are lost, repeated and overtaken, also by the frame that they are of. */
static void parts_on_a_bad_network(void **state)
{
    (void)state;
    uint64_t parts = 0, falls = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct world *w = known(seed);
        w->loss = seed % 4 * 60000;
        w->dup = w->reorder = seed % 3 * 100000;
        w->corrupt = 20000;
        for (int i = 0; i < 60; i++) {
            uint8_t from = (uint8_t)prng_below(&w->rng, 2);
            uint8_t cls = (uint8_t)(2 + prng_below(&w->rng, 2));
            (void)world_send(w, from, !from, cls, prng_below(&w->rng, cls == 2 ? 4097 : 16385));
            world_run(w, prng_below(&w->rng, 3000) * US);
            if (prng_below(&w->rng, 6) == 0)
                w->path_mtu[from] = prng_below(&w->rng, 2) ? 9000 : 1500;
        }
        world_drain(w, 20 * SEC);
        for (uint8_t n = 0; n < 2; n++) {
            assert_int_equal(w->node[n].link[!n].down, 0);
            parts += world_count(w, n, parts);
            falls += world_count(w, n, mtu_falls);
        }
        world_free(w);
    }
    assert_true(parts > 500 && falls > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_that_carries_it),
        cmocka_unit_test(a_path_that_does_not),
        cmocka_unit_test(each_direction_by_itself),
        cmocka_unit_test(sides_that_differ),
        cmocka_unit_test(questions_get_lost),
        cmocka_unit_test(again_after_a_restart),
        cmocka_unit_test(bytes_behind_a_frame),
        cmocka_unit_test(late_is_not_never),
        cmocka_unit_test(heard_in_another_connection),
        cmocka_unit_test(a_path_cut_down_later),
        cmocka_unit_test(in_the_middle_of_a_message),
        cmocka_unit_test(bad_luck),
        cmocka_unit_test(an_old_answer),
        cmocka_unit_test(a_peer_that_is_silent),
        cmocka_unit_test(silent_at_the_end),
        cmocka_unit_test(parts_on_a_bad_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
