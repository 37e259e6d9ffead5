/* SPDX-License-Identifier: BSD-3-Clause */
/* Group frames: one for many, recovery for each, order and exactly once as ever. */
#include <errno.h>

#include "dataplane/base/bits.h"
#include "tests/unit/rrdp_world.h"

enum { ALL = 0x1E }; /* nodes 1 to 4, of 5 */

static uint32_t group_copies; /* handed to the network */
static uint8_t deaf;          /* gets no group frames */
static uint32_t deaf_for;

static bool deaf_member(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)src;
    if (h->dst != WIRE_DST_GROUP)
        return false;
    group_copies++;
    return dst == deaf && deaf_for > 0 && deaf_for-- > 0;
}

static struct world *grouped(uint64_t seed, uint8_t group_min)
{
    struct world *w = world_new(5, 1500, seed);
    for (uint8_t n = 0; n < 5; n++)
        w->node[n].cfg.group_min = group_min;
    w->filter = deaf_member;
    group_copies = deaf_for = 0;
    deaf = 0;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 100 * MS);
    for (uint8_t n = 1; n < 5; n++) { /* a round-trip sample, each by itself */
        assert_int_equal(world_send_all(w, 0, bit64(n)), 0);
        world_drain(w, 1 * SEC);
    }
    return w;
}

static uint32_t received(const struct world *w, uint8_t n)
{
    return w->node[n].link[0].cls[0].received;
}

static void one_frame_for_all(void **state)
{
    (void)state;
    struct world *w = grouped(1, 2);
    uint64_t before = world_count(w, 0, tx_frames[0]), bytes[5];
    for (uint8_t n = 1; n < 5; n++)
        bytes[n] = rrdp_counters(w->node[n].r, 0)->rx_bytes[0];
    assert_int_equal(world_send_all(w, 0, ALL), 0);
    world_drain(w, 1 * SEC);
    for (uint8_t n = 1; n < 5; n++) /* what a member counts, the sender counts for it */
        assert_int_equal(rrdp_counters(w->node[0].r, n)->group_bytes,
                         rrdp_counters(w->node[n].r, 0)->rx_bytes[0] - bytes[n]);
    assert_int_equal(world_count(w, 0, group_frames), 1);
    assert_int_equal(world_count(w, 0, group_tx), 4);
    assert_int_equal(world_count(w, 0, tx_frames[0]), before);
    assert_int_equal(group_copies, 4);
    for (uint8_t n = 1; n < 5; n++) {
        assert_int_equal(received(w, n), 2);
        assert_int_equal(world_count(w, n, group_rx), 1);
    }
    assert_int_equal(world_count(w, 0, retransmit[0]), 0);
    world_free(w);
}

static void off_or_too_few(void **state)
{
    (void)state;
    for (uint8_t min = 0; min <= 5; min += 5) {
        struct world *w = grouped(2, min);
        assert_int_equal(world_send_all(w, 0, ALL), 0);
        world_drain(w, 1 * SEC);
        assert_int_equal(world_count(w, 0, group_frames), 0);
        world_free(w);
    }
}

/* Others get theirs; who does not, gets its own after the probe's time, and nobody twice. */
static void a_member_misses_it(void **state)
{
    (void)state;
    struct world *w = grouped(3, 2);
    deaf = 3;
    deaf_for = 1;
    assert_int_equal(world_send_all(w, 0, ALL), 0);
    uint64_t took = world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, retransmit[0]), 1);
    assert_int_equal(world_count(w, 0, group_lost), 1);
    assert_true(took <= 3 * rrdp_peer_rtt_ns(w->node[0].r, 3) + 2 * w->node[0].cfg.ack_delay_ns);
    for (uint8_t n = 1; n < 5; n++)
        assert_int_equal(received(w, n), 2);
    world_free(w);
}

/* A fabric that never brings them to one node: it is left out, and tried again later. */
static void a_member_is_deaf(void **state)
{
    (void)state;
    struct world *w = grouped(4, 2);
    deaf = 3;
    deaf_for = UINT32_MAX;
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(world_send_all(w, 0, ALL), 0);
        world_drain(w, 1 * SEC);
    }
    const struct rrdp_counters *c = rrdp_counters(w->node[0].r, 3);
    assert_in_range(c->group_lost, 5, 8); /* 4, then 1 in 1024 */
    assert_int_equal(rrdp_counters(w->node[0].r, 2)->group_lost, 0);
    assert_int_equal(received(w, 3), 3001);
    deaf_for = 0;
    for (uint32_t i = 0; i < 1100; i++) {
        assert_int_equal(world_send_all(w, 0, ALL), 0);
        world_drain(w, 1 * SEC);
    }
    uint64_t before = c->group_tx;
    assert_int_equal(world_send_all(w, 0, ALL), 0);
    world_drain(w, 1 * SEC);
    assert_int_equal(c->group_tx, before + 1);
    world_free(w);
}

/* Who has older messages waiting, or no credit, is left out of it, not waited for. */
static void members_that_cannot(void **state)
{
    (void)state;
    struct world *w = grouped(5, 2);
    uint8_t head[WIRE_MSG_HEADER] = {9};
    w->mute = true;
    w->cut[2][0] = true; /* 2 acknowledges nothing */
    for (int i = 0; i < RRDP_WINDOW + 3; i++)
        assert_int_equal(rrdp_send(w->node[0].r, 2, 0, head, sizeof(head), 0, 0, false, 0), 0);
    world_run(w, 100 * US);
    assert_int_equal(rrdp_send(w->node[0].r, 1, 0, head, sizeof(head), 0, 0, false, 0), 0);
    head[0] = 10;
    for (uint8_t n = 1; n < 5; n++)
        assert_int_equal(rrdp_send(w->node[0].r, n, 0, head, sizeof(head), 0, 0, false, 0), 0);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    uint64_t members = 0;
    uint32_t frames = 0;
    for (; world_take(w, 0, bytes, &f) > 0; frames++)
        members |= f.members;
    assert_true((members & ~UINT64_C(2)) == 0x18 && frames >= 3 - (members >> 1 & 1));
    world_free(w);
}

/* One that is not a member, of another connection, damaged, of oneself. */
static void frames_that_are_not_for_us(void **state)
{
    (void)state;
    struct world *w = grouped(6, 2);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    assert_int_equal(world_send_all(w, 0, 6), 0); /* to 1 and 2 */
    size_t len = world_take(w, 0, bytes, &f);
    assert_true(f.peer == RRDP_GROUP && f.members == 6);
    assert_int_equal(len, WIRE_RRDP_HEADER + 8 + 2 * 8 + WIRE_MSG_HEADER);
    world_inject(w, 0, 3, bytes, len);
    assert_int_equal(world_count(w, 3, group_others), 1);
    world_inject(w, 0, 0, bytes, len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_SELF), 1);
    bytes[WIRE_RRDP_HEADER + 8 + 4] ^= 1; /* 1's tag */
    wire_rrdp_seal(bytes, len);
    world_inject(w, 0, 1, bytes, len);
    assert_int_equal(world_drops(w, 1, RRDP_DROP_TAG), 1);
    bytes[WIRE_RRDP_HEADER] = 0xFE; /* more members than entries */
    wire_rrdp_seal(bytes, len);
    world_inject(w, 0, 2, bytes, len);
    assert_int_equal(world_drops(w, 2, RRDP_DROP_LENGTH), 1);
    bytes[2] = 60;
    wire_rrdp_seal(bytes, len);
    world_inject(w, 0, 2, bytes, len);
    assert_int_equal(world_drops(w, 2, RRDP_DROP_NOT_FOR_US), 1);
    for (uint8_t n = 1; n < 4; n++)
        assert_int_equal(received(w, n), 1);
    world_free(w);
}

static bool group_frames_only(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    return src == 0 && h->dst != WIRE_DST_GROUP;
}

/* They go another way than frames between two nodes: that they come does not show that those would.
 */
static void are_no_sign_of_life(void **state)
{
    (void)state;
    struct world *w = grouped(7, 2);
    w->filter = group_frames_only;
    uint64_t end = w->now + 3 * w->node[0].cfg.dead_ns;
    for (; w->now < end && w->node[1].link[0].down == 0; world_run(w, 5 * MS))
        (void)world_send_all(w, 0, ALL);
    assert_int_equal(w->node[1].link[0].down, 1);
    assert_int_equal(w->node[1].link[0].why, RRDP_DOWN_TIMEOUT);
    world_free(w);
}

static void on_bad_networks(void **state)
{
    (void)state;
    uint64_t in_groups = 0, again = 0;
    for (uint64_t seed = 10; seed < 30; seed++) {
        struct world *w = grouped(seed, 2);
        w->loss = prng_below(&w->rng, 200000);
        w->dup = prng_below(&w->rng, 200000);
        w->reorder = prng_below(&w->rng, 300000);
        w->corrupt = prng_below(&w->rng, 50000);
        for (uint32_t i = 0; i < 400; i++) {
            if (world_send_all(w, 0, ALL) != 0)
                world_run(w, 200 * US);
            if (prng_below(&w->rng, 4) == 0)
                world_run(w, prng_below(&w->rng, 50 * (uint32_t)US));
            uint8_t a = (uint8_t)prng_below(&w->rng, 5), b = (uint8_t)prng_below(&w->rng, 5);
            if (a != b)
                (void)world_send(w, a, b, (uint8_t)(1 + prng_below(&w->rng, 3)), 300);
        }
        world_drain(w, 20 * SEC); /* checks order, and once */
        in_groups += world_count(w, 0, group_tx);
        again += world_count(w, 0, group_lost);
        world_free(w);
    }
    assert_true(in_groups > 2000 && again > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_frame_for_all),   cmocka_unit_test(off_or_too_few),
        cmocka_unit_test(a_member_misses_it),  cmocka_unit_test(a_member_is_deaf),
        cmocka_unit_test(members_that_cannot), cmocka_unit_test(frames_that_are_not_for_us),
        cmocka_unit_test(are_no_sign_of_life), cmocka_unit_test(on_bad_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
