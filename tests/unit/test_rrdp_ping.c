/* SPDX-License-Identifier: BSD-3-Clause */
/* HOST-PING: who answers, in which states, and that it touches nothing else. */
#include <errno.h>

#include "dataplane/base/bits.h"
#include "tests/unit/rrdp_world.h"

static struct rrdp_event *pong_of(struct world *w, uint8_t asker, uint8_t peer)
{
    return &w->node[asker].link[peer].pong;
}

static void the_process_answers(void **state)
{
    (void)state;
    struct world *w = world_new(3, 1500, 1);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    assert_int_equal(rrdp_host_ping(w->node[0].r, 1, 77, 0xDEADBEEF), 0);
    world_run(w, 4 * w->latency);
    assert_int_equal(w->node[0].link[1].pongs, 1);
    assert_int_equal(w->node[0].link[2].pongs + w->node[1].link[0].pongs, 0);
    assert_int_equal(pong_of(w, 0, 1)->value, UINT64_C(0xDEADBEEF) << 32 | 77);
    assert_int_equal(pong_of(w, 0, 1)->by, WIRE_PING_BY_PROCESS);
    assert_int_equal(world_count(w, 0, ping_frames), 1);
    assert_int_equal(world_count(w, 1, pong_frames), 1);
    assert_int_equal(rrdp_host_ping(w->node[0].r, 0, 1, 1), -EINVAL);
    assert_int_equal(rrdp_host_ping(w->node[0].r, 3, 1, 1), -EINVAL);
    world_free(w);
}

/* Without a connection the question goes out by broadcast; its answer opens nothing. */
static void needs_no_connection(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 2);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    w->cut[0][1] = w->cut[1][0] = true;
    world_start_all(w);
    world_run(w, 50 * MS);
    assert_int_equal(rrdp_host_ping(w->node[0].r, 1, 5, 6), 0);
    size_t len = world_take(w, 0, bytes, &f);
    assert_true(len == WIRE_RRDP_HEADER && !f.mac_known);
    world_inject(w, 0, 1, bytes, len);
    len = world_take(w, 1, bytes, &f);
    assert_true(len == WIRE_RRDP_HEADER && f.mac_known);
    assert_memory_equal(&f.mac, &w->node[0].mac, sizeof(f.mac));
    world_inject(w, 1, 0, bytes, len);
    assert_int_equal(w->node[0].link[1].pongs, 0); /* not taken yet */
    world_run(w, 1 * MS);
    assert_int_equal(w->node[0].link[1].pongs, 1);
    assert_false(world_up(w, 0, 1) || world_up(w, 1, 0));
    assert_int_equal(rrdp_peer_epoch(w->node[0].r, 1) + rrdp_peer_epoch(w->node[1].r, 0), 0);
    world_free(w);
}

/* It is not a sign of life: a peer that only pongs is lost. */
static void is_no_evidence(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 3);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    uint64_t heard = rrdp_peer_last_rx(w->node[0].r, 1), end = w->now + w->node[0].cfg.dead_ns;
    w->cut[1][0] = true;
    while (w->now < end + MS) {
        assert_int_equal(rrdp_host_ping(w->node[0].r, 1, 9, (uint32_t)w->now), 0);
        while (world_take(w, 0, bytes, &f) > 0)
            if (f.header_len == WIRE_RRDP_HEADER && (bytes[0] & 0x44) == 0x44) {
                bytes[0] |= 8; /* ACK: the kernel's answer */
                bytes[2] = 1;
                bytes[3] = 0;
                bytes[6] = WIRE_PING_BY_KERNEL;
                wire_rrdp_seal(bytes, WIRE_RRDP_HEADER);
                world_inject(w, 1, 0, bytes, WIRE_RRDP_HEADER);
            }
        world_run(w, w->node[0].cfg.heartbeat_ns);
    }
    assert_true(w->node[0].link[1].pongs > 3);
    assert_int_equal(pong_of(w, 0, 1)->by, WIRE_PING_BY_KERNEL);
    assert_true(rrdp_peer_last_rx(w->node[0].r, 1) <= heard + 4 * w->latency);
    assert_int_equal(w->node[0].link[1].down, 1);
    assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_TIMEOUT);
    world_free(w);
}

/* What was not asked, twice, for another cluster, of oneself. */
static void strange_answers(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 4);
    uint8_t ask[W_FRAME], answer[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    assert_int_equal(rrdp_host_ping(w->node[0].r, 1, 5, 6), 0);
    assert_true(world_take(w, 0, ask, &f) == WIRE_RRDP_HEADER);
    world_inject(w, 0, 1, ask, WIRE_RRDP_HEADER);
    world_inject(w, 0, 1, ask, WIRE_RRDP_HEADER);
    assert_true(world_take(w, 1, answer, &f) == WIRE_RRDP_HEADER);
    assert_int_equal(world_count(w, 1, pong_frames), 1); /* one for both */

    answer[8]++; /* another id */
    wire_rrdp_seal(answer, WIRE_RRDP_HEADER);
    world_inject(w, 1, 0, answer, WIRE_RRDP_HEADER);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_PONG), 1);
    answer[8]--;
    answer[16] ^= 1; /* another cluster whose number has the same low byte */
    wire_rrdp_seal(answer, WIRE_RRDP_HEADER);
    world_inject(w, 1, 0, answer, WIRE_RRDP_HEADER);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_CLUSTER), 1);
    answer[16] ^= 1;
    wire_rrdp_seal(answer, WIRE_RRDP_HEADER);
    world_inject(w, 1, 0, answer, WIRE_RRDP_HEADER);
    world_inject(w, 1, 0, answer, WIRE_RRDP_HEADER);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_PONG), 2);
    world_inject(w, 0, 0, ask, WIRE_RRDP_HEADER); /* the fabric sends back our own */
    world_run(w, 1 * MS);
    assert_int_equal(w->node[0].link[1].pongs, 1);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_SELF) + world_drops(w, 0, RRDP_DROP_NOT_FOR_US),
                     1);
    assert_int_equal(w->node[0].link[1].down + w->node[0].link[1].refused, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_process_answers),
        cmocka_unit_test(needs_no_connection),
        cmocka_unit_test(is_no_evidence),
        cmocka_unit_test(strange_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
