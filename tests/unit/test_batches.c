/* SPDX-License-Identifier: BSD-3-Clause */
/* How much one round takes of each source: poll.rx_frames, tx_frames and glue_entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engine/engine.h"
#include "hypervisor-glue/link/glue_ring.h"

enum { NODES = 8, MTU = 1500, VCPUS = 2 };

static struct {
    uint32_t taken, calls, largest, sent;
    uint32_t there; /* frames that can be received, of which */
    uint32_t each;  /* so many come at a time */
} port_saw;
static uint8_t frame[MTU];

static uint32_t fake_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    uint32_t n = 0;
    (void)p;
    port_saw.calls++;
    port_saw.largest = max > port_saw.largest ? max : port_saw.largest;
    for (; n < max && n < port_saw.each && port_saw.there > 0; n++, port_saw.there--)
        out[n] = (struct port_frame){.data = frame, .len = 64}; /* nothing that RRDP takes */
    port_saw.taken += n;
    return n;
}

static uint8_t *fake_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    (void)p, (void)peer, (void)mac;
    return frame;
}

static void fake_commit(struct port *p, uint32_t len)
{
    (void)p, (void)len;
    port_saw.sent++;
}

static void fake_flush(struct port *p)
{
    (void)p;
}

static const struct port_ops fake_ops = {.name = "fake",
                                         .rx = fake_rx,
                                         .tx_reserve = fake_reserve,
                                         .tx_commit = fake_commit,
                                         .flush = fake_flush};

static struct pando_config cfg;
static struct port port = {.ops = &fake_ops, .mtu = MTU};
static struct rrdp_segments segments;
static struct engine *e;
static void *rrdp_memory;

static int set_up(void **state)
{
    const uint64_t ms = 1000000;
    const struct rrdp_config c = {.nodes = NODES,
                                  .cluster_id = 7,
                                  .epoch = 100,
                                  .config_hash = 1,
                                  .mtu = MTU,
                                  .credit = RRDP_WINDOW,
                                  .rto_min_ns = ms,
                                  .rto_max_ns = 100 * ms,
                                  .ack_delay_ns = ms / 20,
                                  .heartbeat_ns = 100 * ms,
                                  .dead_ns = 1000 * ms,
                                  .syn_ns = 10 * ms};
    (void)state;
    memset(&port_saw, 0, sizeof(port_saw));
    cfg = (struct pando_config){.node_count = NODES, .vm = {.vcpus = VCPUS}};
    e = calloc(1, sizeof(*e));
    rrdp_memory = aligned_alloc(64, (rrdp_size(&c) + 63) & ~(size_t)63);
    *e = (struct engine){.cfg = &cfg,
                         .port = &port,
                         .nodes = NODES,
                         .now = 1,
                         .segments = &segments,
                         .phase = ENGINE_RUNNING,
                         .conn = CONN_WELCOMED,
                         .rrdp = rrdp_init(rrdp_memory, &c, 1)};
    e->shared = aligned_alloc(4096, (glue_segment_size(VCPUS) + 4095) & ~(size_t)4095);
    memset(e->shared, 0, glue_segment_size(VCPUS));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(e->shared);
    free(e);
    free(rrdp_memory);
    return 0;
}

static void frames_in(void **state)
{
    static const uint32_t limits[] = {1, 31, 32, 40, 64, 1000};
    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        memset(&port_saw, 0, sizeof(port_saw));
        port_saw.there = 5000;
        port_saw.each = i % 2 == 0 ? PORT_BURST : 10;
        cfg.poll.rx_frames = limits[i];
        assert_true(receive_frames(e));
        assert_int_equal(port_saw.taken, limits[i]);
        assert_true(port_saw.largest <= PORT_BURST);
    }
    memset(&port_saw, 0, sizeof(port_saw)); /* who finds less does not look for ever */
    port_saw.there = 33;
    port_saw.each = PORT_BURST;
    assert_true(receive_frames(e));
    assert_int_equal(port_saw.taken, 33);
    assert_int_equal(port_saw.calls, 3);
    assert_false(receive_frames(e));
}

/* Each of the others is to be connected to: a frame for each. */
static void frames_out(void **state)
{
    (void)state;
    e->now += 10000000;
    rrdp_tick(e->rrdp, e->now);
    cfg.poll.tx_frames = 3;
    assert_true(transmit_frames(e));
    assert_int_equal(port_saw.sent, 3);
    cfg.poll.tx_frames = 100;
    assert_true(transmit_frames(e));
    assert_int_equal(port_saw.sent, NODES - 1);
}

static uint32_t left_in(uint32_t chan)
{
    struct glue_ring *r = &e->shared->chan[chan].to_dp;
    return atomic_load(&r->head) - atomic_load(&r->tail);
}

/* Of each channel as many, however many one has. */
static void entries(void **state)
{
    const struct glue_entry to_nobody = {.kind = WIRE_IRQ, .node = NODES};
    (void)state;
    for (uint32_t i = 0; i < GLUE_RING_ENTRIES; i++)
        for (uint32_t chan = 0; chan < VCPUS; chan++)
            assert_int_equal(glue_ring_put(&e->shared->chan[chan].to_dp, &to_nobody, NULL, 0), 0);
    cfg.poll.glue_entries = 5;
    assert_true(glue_poll(e));
    assert_int_equal(e->count.drop[ENGINE_DROP_GLUE_NODE], 5 * VCPUS);
    assert_int_equal(left_in(0), GLUE_RING_ENTRIES - 5);
    assert_int_equal(left_in(1), GLUE_RING_ENTRIES - 5);
    cfg.poll.glue_entries = GLUE_RING_ENTRIES;
    assert_true(glue_poll(e));
    assert_int_equal(left_in(0) + left_in(1), 0);
    assert_false(glue_poll(e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
