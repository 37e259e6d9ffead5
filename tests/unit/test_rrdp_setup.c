/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections: opening, restarts, refusals, liveness, the end. */
#include "tests/unit/rrdp_world.h"

#include <errno.h>
#include <string.h>

#include "dataplane/base/bits.h"

static void both_open_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(2, RRDP_MTU_BASE, 1); /* nothing to ask of the path */
    world_start_all(w);
    uint64_t start = w->now;
    world_connect(w, 1 * SEC);
    assert_true(w->now - start <= 3 * w->latency);
    world_run(w, 1 * SEC);
    for (uint8_t n = 0; n < 2; n++) {
        assert_int_equal(w->node[n].link[1 - n].up, 1);
        assert_int_equal(w->node[n].link[1 - n].down, 0);
        assert_true(world_count(w, n, syn_frames) <= 3);
        assert_true(rrdp_peer_epoch(w->node[n].r, 1 - n) == w->node[1 - n].cfg.epoch);
    }
    world_free(w);
}

static void one_comes_later(void **state)
{
    (void)state;
    struct world *w = world_new(3, 1500, 2);
    world_start(w, 0);
    world_run(w, 42 * MS);
    world_start(w, 2);
    world_run(w, 42 * MS);
    assert_true(world_up(w, 0, 2));
    world_start(w, 1);
    world_connect(w, 1 * MS); /* its own SYN comes at once */
    for (uint8_t n = 0; n < 3; n++)
        assert_int_equal(w->node[n].link[(n + 1) % 3].down, 0);
    world_free(w);
}

static void lost_syns(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct world *w = world_new(3, 1500, seed);
        world_start_all(w);
        w->loss = 1000000;
        world_run(w, 50 * MS);
        w->loss = 400000;
        w->dup = 200000;
        w->reorder = 500000;
        world_connect(w, 2 * SEC);
        for (uint8_t n = 0; n < 3; n++)
            for (uint8_t m = 0; m < 3; m++)
                assert_int_equal(w->node[n].link[m].up, n != m);
        world_free(w);
    }
}

/* A peer restarts at each moment of the set-up, and in the middle of traffic. */
static void restart_in_each_state(void **state)
{
    (void)state;
    for (uint32_t steps = 0; steps < 12; steps++) {
        struct world *w = world_new(2, 1500, steps);
        world_start_all(w);
        world_run(w, steps * w->latency / 2 + 1);
        for (int i = 0; steps >= 8 && i < 40; i++)
            assert_int_equal(world_send(w, 0, 1, 2, 4096), 0);
        if (steps >= 8)
            world_run(w, steps * w->latency / 2);
        uint32_t up = w->node[0].link[1].up;
        world_start(w, 1);
        world_connect(w, 1 * SEC);
        if (up > 0) {
            assert_int_equal(w->node[0].link[1].down, 1);
            assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_RESTARTED);
        }
        assert_true(rrdp_peer_epoch(w->node[0].r, 1) == w->node[1].cfg.epoch);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(world_send(w, 0, 1, 2, 4096), 0);
            assert_int_equal(world_send(w, 1, 0, 1, 100), 0);
        }
        world_drain(w, 1 * SEC);
        world_free(w);
    }
}

static void old_frames_change_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 5);
    uint8_t syn[W_FRAME], data[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    rrdp_tick(w->node[1].r, w->now);
    size_t syn_len = world_take(w, 1, syn, &f);
    assert_true(syn_len == WIRE_RRDP_HEADER + RRDP_SYN_BYTES && !f.mac_known);
    world_inject(w, 1, 0, syn, syn_len);
    world_connect(w, 1 * SEC);
    assert_int_equal(world_send(w, 1, 0, 0, 0), 0);
    size_t data_len = world_take(w, 1, data, &f);
    assert_true(data_len == WIRE_RRDP_HEADER + WIRE_MSG_HEADER);
    world_start(w, 1);
    world_connect(w, 1 * SEC);
    world_inject(w, 1, 0, data, data_len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_TAG), 1);
    world_inject(w, 1, 0, syn, syn_len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_EPOCH), 1);
    assert_true(world_up(w, 0, 1));
    assert_int_equal(w->node[0].link[1].down, 1);
    world_free(w);
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void misfits_are_refused(void **state)
{
    (void)state;
    enum { CONFIG, NODES, PURPOSE, CLUSTER, CLUSTER_TAG, MISFITS };
    static const enum rrdp_refusal why[MISFITS] = {RRDP_REFUSE_CONFIG, RRDP_REFUSE_NODES,
                                                   RRDP_REFUSE_PURPOSE};
    for (int what = 0; what < MISFITS; what++) {
        struct world *w = world_new(3, 1500, 6);
        struct rrdp_config *c = &w->node[1].cfg;
        c->config_hash += what == CONFIG;
        c->config_hash ^= what == PURPOSE ? RRDP_HASH_ENDPOINT : 0;
        c->nodes = (uint8_t)(c->nodes + (what == NODES));
        c->cluster_id ^= what == CLUSTER ? UINT64_C(1) << 40 : 0; /* same low 8 bits */
        c->cluster_id ^= what == CLUSTER_TAG ? 1 : 0;
        world_start_all(w);
        world_run(w, 2500 * MS);
        assert_true(world_up(w, 0, 2));
        assert_false(world_up(w, 0, 1));
        assert_int_equal(w->node[0].link[1].up + w->node[1].link[0].up, 0);
        if (why[what] != 0) { /* both are told, once a second */
            for (uint8_t n = 0; n < 2; n++) {
                assert_int_equal(w->node[n].link[1 - n].refused, 3);
                assert_int_equal(w->node[n].link[1 - n].why, why[what]);
                assert_true(world_drops(w, n, RRDP_DROP_REFUSED) > 100);
            }
        } else {
            assert_int_equal(w->node[0].link[1].refused, 0);
            assert_true(world_drops(w, 0, RRDP_DROP_CLUSTER) > 100);
        }
        world_free(w);
    }
}

/* A SYN with one field changed, and the seal made good again. */
static void bad_fields_of_a_syn(void **state)
{
    (void)state;
    static const struct {
        uint8_t offset, value;
        enum rrdp_drop why;
    } bad[] = {
        {0, WIRE_REVISION + 1, RRDP_DROP_REFUSED},
        {2, 64, RRDP_DROP_REFUSED},
        {3, 0, RRDP_DROP_RANGE},
        {3, RRDP_WINDOW + 1, RRDP_DROP_RANGE},
        {5, 0, RRDP_DROP_RANGE},
        {5, 255, RRDP_DROP_RANGE},
        {7, 255, RRDP_DROP_RANGE},
        {15, 99, RRDP_DROP_CLUSTER},
        {32, 1, RRDP_DROP_REFUSED},
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(bad); i++) {
        struct world *w = world_new(2, 1500, 7);
        uint8_t syn[W_FRAME];
        struct rrdp_frame f;
        world_start_all(w);
        rrdp_tick(w->node[1].r, w->now);
        size_t len = world_take(w, 1, syn, &f);
        syn[WIRE_RRDP_HEADER + bad[i].offset] = bad[i].value;
        wire_rrdp_seal(syn, len);
        world_inject(w, 1, 0, syn, len);
        assert_int_equal(world_drops(w, 0, bad[i].why), 1);
        assert_true(rrdp_peer_epoch(w->node[0].r, 1) == 0);
        world_free(w);
    }
}

/* The header's version: said of a peer that is not connected, at most once a second; not believed
 * of one that is, nor of a damaged frame. */
static void another_version(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 7);
    uint8_t syn[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    rrdp_tick(w->node[1].r, w->now);
    size_t len = world_take(w, 1, syn, &f);
    syn[0] ^= 3; /* version 2 */
    world_inject(w, 1, 0, syn, len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_CRC), 1);
    static const struct {
        uint8_t offset, flip;
    } strange[] = {{0, 4}, {3, 1}, {16, 1}}; /* no SYN, not for this node, another cluster's */
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(strange); i++) {
        syn[strange[i].offset] ^= strange[i].flip;
        wire_rrdp_seal(syn, len);
        world_inject(w, 1, 0, syn, len);
        syn[strange[i].offset] ^= strange[i].flip;
    }
    assert_int_equal(world_drops(w, 0, RRDP_DROP_VERSION), 3);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_REFUSED), 0);
    wire_rrdp_seal(syn, len);
    for (int i = 0; i < 3; i++)
        world_inject(w, 1, 0, syn, len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_VERSION), 6);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_REFUSED), 3);
    world_connect(w, 1 * SEC);
    assert_int_equal(w->node[0].link[1].refused, 1);
    assert_int_equal(w->node[0].link[1].why, RRDP_REFUSE_VERSION);
    world_run(w, 2 * SEC);
    world_inject(w, 1, 0, syn, len);
    world_run(w, 1 * MS);
    assert_int_equal(w->node[0].link[1].refused, 1);
    assert_true(world_up(w, 0, 1));
    world_free(w);
}

static void two_nodes_with_one_number(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 8);
    uint8_t syn[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    rrdp_tick(w->node[1].r, w->now);
    size_t len = world_take(w, 1, syn, &f);
    world_inject(w, 1, 1, syn, len); /* its own, sent back by the fabric */
    assert_int_equal(world_drops(w, 1, RRDP_DROP_SELF), 1);
    world_start(w, 1); /* stands for another process with the same number */
    world_inject(w, 0, 1, syn, len);
    world_run(w, 1 * MS);
    assert_int_equal(w->node[1].link[1].refused, 1);
    assert_int_equal(w->node[1].link[1].why, RRDP_REFUSE_SAME_NODE);
    world_free(w);
}

/* A second node with a number of a running cluster, on another machine: nobody who runs is ended.
 */
static void stranger_with_a_living_number(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 13);
    uint8_t syn[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    struct world *other = world_new(2, 1500, 14);
    other->epoch = w->epoch + 100 * SEC; /* started later */
    world_start_all(other);
    rrdp_tick(other->node[1].r, other->now);
    size_t len = world_take(other, 1, syn, &f);
    struct rrdp_mac real = w->node[1].mac;
    w->node[1].mac.addr[5] = 99;
    world_inject(w, 1, 0, syn, len);
    world_inject(w, 1, 1, syn, len);
    w->node[1].mac = real;
    world_run(w, 100 * MS);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_MAC_MOVED), 1);
    assert_int_equal(world_drops(w, 1, RRDP_DROP_REFUSED), 1);
    for (int i = 0; i < 2; i++) {
        assert_true(rrdp_peer_up(w->node[i].r, (uint8_t)(1 - i)));
        assert_int_equal(w->node[i].link[1 - i].down, 0);
        assert_int_equal(w->node[i].link[i].refused, 0);
        assert_int_equal(w->node[i].link[1 - i].refused, 0);
    }
    world_free(other);
    world_free(w);
}

/* The same from the peer's own host: pando ping, say, or a dataplane of another version or
 * configuration. What does not fit is counted, and ends nothing. */
static void a_misfit_beside_a_living_peer(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        struct world *w = world_new(2, 1500, 15), *other = world_new(2, 1500, 16);
        uint8_t syn[W_FRAME];
        struct rrdp_frame f;
        world_start_all(w);
        world_connect(w, 1 * SEC);
        other->epoch = w->epoch + 100 * SEC;
        struct rrdp_config *c = &other->node[1].cfg;
        c->config_hash ^= what == 0 ? RRDP_HASH_ENDPOINT : what == 1 ? 1 : 0;
        c->nodes = (uint8_t)(c->nodes + (what == 2));
        world_start_all(other);
        rrdp_tick(other->node[1].r, other->now);
        size_t len = world_take(other, 1, syn, &f);
        syn[WIRE_RRDP_HEADER] = (uint8_t)(syn[WIRE_RRDP_HEADER] + (what == 3)); /* revision */
        wire_rrdp_seal(syn, len);
        world_inject(w, 1, 0, syn, len);
        world_run(w, 100 * MS);
        assert_int_equal(world_drops(w, 0, RRDP_DROP_REFUSED), 1);
        assert_true(world_up(w, 0, 1));
        assert_int_equal(w->node[0].link[1].down + w->node[0].link[1].refused, 0);
        assert_int_equal(world_send(w, 1, 0, 1, 10), 0);
        world_drain(w, 1 * SEC);
        world_free(other);
        world_free(w);
    }
}

static void moved_mac(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 9);
    uint8_t syn[W_FRAME];
    struct rrdp_frame f;
    world_start_all(w);
    rrdp_tick(w->node[1].r, w->now);
    size_t len = world_take(w, 1, syn, &f);
    world_inject(w, 1, 0, syn, len);
    w->node[1].mac.addr[5] = 76; /* the same SYN from elsewhere: half open, and up */
    world_inject(w, 1, 0, syn, len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_MAC_MOVED), 1);
    w->node[1].mac.addr[5] = 1;
    world_connect(w, 1 * SEC);
    w->node[1].mac.addr[5] = 76;
    world_inject(w, 1, 0, syn, len);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_MAC_MOVED), 2);
    w->node[1].mac.addr[5] = 1;
    struct rrdp_mac real = w->node[1].mac;
    w->node[1].mac.addr[5] = 77;
    assert_int_equal(world_send(w, 1, 0, 1, 10), 0);
    world_run(w, 5 * MS);
    assert_int_equal(w->node[0].link[1].cls[1].received, 0);
    assert_true(world_drops(w, 0, RRDP_DROP_MAC_MOVED) > 0);
    w->node[1].mac = real;
    world_drain(w, 1 * SEC);
    w->node[1].mac.addr[5] = 78; /* with a restart it may, once the old one is dead (1 s) */
    world_start(w, 1);
    world_run(w, 900 * MS);
    assert_int_equal(w->node[0].link[1].down, 0);
    assert_true(rrdp_peer_up(w->node[0].r, 1));
    world_connect(w, 1 * SEC);
    assert_int_equal(w->node[0].link[1].down, 1);
    assert_int_equal(world_send(w, 1, 0, 1, 10), 0);
    world_drain(w, 1 * SEC);
    world_free(w);
}

/* ---- liveness ------------------------------------------------------------------------------ */

static void heartbeat_and_death(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 10);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    uint64_t before = world_count(w, 0, nul_frames);
    world_run(w, 5 * SEC);
    uint64_t beats = world_count(w, 0, nul_frames) - before;
    assert_in_range(beats, 495, 505); /* one in 10 ms, and nothing else */
    assert_int_equal(w->node[0].link[1].down, 0);
    world_kill(w, 1);
    world_run(w, 985 * MS);
    assert_true(rrdp_peer_up(w->node[0].r, 1));
    world_run(w, 20 * MS);
    assert_false(rrdp_peer_up(w->node[0].r, 1));
    assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_TIMEOUT);
    assert_int_equal(world_send(w, 0, 1, 1, 10), -ENOTCONN);
    world_free(w);
}

/* The owner's better knowledge: a peer that has ended goes down at once, and only if it was up;
 * time in which this node itself did not run is not its peers' silence. */
static void gone_and_stalled(void **state)
{
    (void)state;
    struct world *w = world_new(3, 1500, 12);
    world_start_all(w);
    rrdp_gone(w->node[0].r, 1); /* not up, self, no node: nothing happens */
    rrdp_gone(w->node[0].r, 0);
    rrdp_gone(w->node[0].r, 63);
    rrdp_gone(w->node[0].r, 255);
    world_connect(w, 1 * SEC);
    world_kill(w, 1);
    world_run(w, 500 * MS);
    assert_true(rrdp_peer_up(w->node[0].r, 1));
    rrdp_gone(w->node[0].r, 1);
    assert_false(rrdp_peer_up(w->node[0].r, 1));
    world_run(w, 1 * MS);
    assert_int_equal(w->node[0].link[1].down, 1);
    assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_GONE);
    assert_true(rrdp_peer_up(w->node[0].r, 2));
    rrdp_stalled(w->node[2].r, 300 * MS);
    world_run(w, 700 * MS); /* 1200 ms of silence, of which 300 do not count */
    assert_true(rrdp_peer_up(w->node[2].r, 1));
    world_run(w, 120 * MS);
    assert_false(rrdp_peer_up(w->node[2].r, 1));
    assert_int_equal(w->node[2].link[1].why, RRDP_DOWN_TIMEOUT);
    rrdp_check(w->node[0].r);
    world_free(w);
}

/* 0 hears nothing, 1 hears all: only 0 gives up, and its SYN must open 1's eyes. */
static void one_way_partition(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 11);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    w->cut[1][0] = true;
    for (int i = 0; i < 20; i++)
        assert_int_equal(world_send(w, 1, 0, 2, 4096), 0);
    world_run(w, 3 * SEC);
    assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_TIMEOUT);
    assert_int_equal(w->node[1].link[0].why, RRDP_DOWN_RESTARTED);
    w->cut[1][0] = false;
    world_connect(w, 20 * MS);
    assert_int_equal(w->node[0].link[1].up, 2);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(world_send(w, 1, 0, 2, 4096), 0);
        assert_int_equal(world_send(w, 0, 1, 0, 0), 0);
    }
    world_drain(w, 1 * SEC);
    world_free(w);
}

static void no_network_then_heals(void **state)
{
    (void)state;
    struct world *w = world_new(4, 9000, 12);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    for (int i = 0; i < 30; i++)
        assert_int_equal(world_send(w, 0, 1, 2, 4096), 0);
    w->loss = 1000000;
    world_run(w, 500 * MS);
    w->loss = 0;
    world_drain(w, 1 * SEC); /* short of dead_ns: the connection goes on */
    assert_int_equal(w->node[0].link[1].down, 0);
    w->loss = 1000000;
    world_run(w, 5 * SEC);
    assert_int_equal(w->node[0].link[1].down, 1);
    w->loss = 0;
    world_connect(w, 20 * MS);
    for (int i = 0; i < 30; i++)
        assert_int_equal(world_send(w, 0, 1, 2, 4096), 0);
    world_drain(w, 1 * SEC);
    world_free(w);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void close_delivers_first(void **state)
{
    (void)state;
    struct world *w = world_new(3, 1500, 13);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    w->loss = 100000;
    for (int i = 0; i < 100; i++)
        assert_int_equal(world_send(w, 0, 1, 3, 10000), 0);
    rrdp_close(w->node[0].r, w->now);
    assert_int_equal(world_send(w, 0, 1, 3, 10), -ENOTCONN);
    world_run(w, 900 * MS);
    assert_int_equal(w->node[1].link[0].cls[3].received, 100);
    for (uint8_t n = 1; n < 3; n++) {
        assert_int_equal(w->node[n].link[0].why, RRDP_DOWN_CLOSED);
        assert_int_equal(w->node[0].link[n].why, RRDP_DOWN_CLOSED);
    }
    assert_true(world_up(w, 1, 2));
    assert_true(rrdp_idle(w->node[0].r));
    assert_int_equal(w->node[1].link[0].up, 1); /* who closed does not come back */
    world_free(w);
}

static bool drop_rst(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)src, (void)dst;
    return h->rst;
}

static void lost_closing_rsts(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 14);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    w->filter = drop_rst;
    rrdp_close(w->node[0].r, w->now);
    world_run(w, 5 * MS);
    assert_in_range(world_count(w, 0, rst_frames), 3, 5);
    assert_int_equal(w->node[1].link[0].down, 0);
    w->filter = NULL;
    world_run(w, 11 * MS); /* the next heartbeat is answered */
    assert_int_equal(w->node[1].link[0].why, RRDP_DOWN_CLOSED);
    world_free(w);
}

static void reset_is_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 15);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    for (int i = 0; i < 100; i++)
        assert_int_equal(world_send(w, 0, 1, 3, 10000), 0);
    rrdp_reset(w->node[0].r);
    world_run(w, 2 * w->latency);
    assert_int_equal(w->node[1].link[0].down, 1);
    assert_int_equal(w->node[1].link[0].why, RRDP_DOWN_RST);
    assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_RST);
    world_free(w);
}

/* No byte of a connection is seen before its UP event is taken. */
static void events_come_before_data(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 16);
    uint8_t frame[W_FRAME];
    struct rrdp_frame f;
    struct rrdp_event e;
    size_t len;
    world_start_all(w);
    rrdp_tick(w->node[0].r, w->now);
    rrdp_tick(w->node[1].r, w->now);
    while ((len = world_take(w, 1, frame, &f)) > 0)
        world_inject(w, 1, 0, frame, len);
    while ((len = world_take(w, 0, frame, &f)) > 0)
        world_inject(w, 0, 1, frame, len);
    assert_true(rrdp_event(w->node[1].r, &e) && e.type == RRDP_EV_UP);
    assert_int_equal(world_send(w, 1, 0, 0, 0), 0);
    while ((len = world_take(w, 1, frame, &f)) > 0)
        rrdp_receive(w->node[0].r, w->now, w->node[1].mac, frame, len, &w->segments);
    assert_int_equal(w->segments.n, 0); /* node 0's UP is still unread */
    assert_int_equal(world_drops(w, 0, RRDP_DROP_EVENTS), 1);
    world_poll(w, 0);
    world_drain(w, 1 * SEC);
    assert_int_equal(w->node[0].link[1].cls[0].received, 1);
    world_free(w);
}

static void bad_configurations(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 17);
    struct rrdp_config good = w->node[0].cfg;
    good.epoch = 1;
    assert_true(rrdp_size(&good) > 0);
#define BAD(field, value)                                                                          \
    do {                                                                                           \
        struct rrdp_config c = good;                                                               \
        c.field = (value);                                                                         \
        assert_int_equal(rrdp_size(&c), 0);                                                        \
        assert_null(rrdp_init(NULL, &c, 1));                                                       \
    } while (0)
    BAD(self, 2);
    BAD(nodes, 0);
    BAD(nodes, 65);
    BAD(epoch, 0);
    BAD(mtu, RRDP_MTU_MIN - 1);
    BAD(mtu, RRDP_MTU_MAX + 1);
    BAD(credit, 0);
    BAD(credit, RRDP_WINDOW + 1);
    BAD(rto_min_ns, 0);
    BAD(rto_max_ns, good.rto_min_ns - 1);
    BAD(ack_delay_ns, good.rto_min_ns);
    BAD(heartbeat_ns, 0);
    BAD(dead_ns, good.heartbeat_ns);
    BAD(syn_ns, 0);
#undef BAD
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_open_at_once),
        cmocka_unit_test(one_comes_later),
        cmocka_unit_test(lost_syns),
        cmocka_unit_test(restart_in_each_state),
        cmocka_unit_test(old_frames_change_nothing),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(bad_fields_of_a_syn),
        cmocka_unit_test(another_version),
        cmocka_unit_test(two_nodes_with_one_number),
        cmocka_unit_test(moved_mac),
        cmocka_unit_test(heartbeat_and_death),
        cmocka_unit_test(stranger_with_a_living_number),
        cmocka_unit_test(a_misfit_beside_a_living_peer),
        cmocka_unit_test(gone_and_stalled),
        cmocka_unit_test(one_way_partition),
        cmocka_unit_test(no_network_then_heals),
        cmocka_unit_test(close_delivers_first),
        cmocka_unit_test(lost_closing_rsts),
        cmocka_unit_test(reset_is_at_once),
        cmocka_unit_test(events_come_before_data),
        cmocka_unit_test(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
