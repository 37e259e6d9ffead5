/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's way out (engine/transmit.c) over a port that writes down what it is told: by
 * reference or as a copy, and settled before bytes change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engine/engine.h"

enum { MTU = 9000, PAGES = 4, PINS = 8, PAGE = 2, EXT_MIN = 512 };

struct world {
    struct engine e;
    struct port port;
    struct rrdp *peer;
    void *memory[4];
    uint8_t (*ram)[WIRE_PAGE_SIZE];
};

static struct {
    struct world *world;
    uint8_t frame[MTU];
    uint8_t page[WIRE_PAGE_SIZE]; /* as the peer got it */
    unsigned pages;
    const uint8_t *ext; /* of the page's frame */
    uint32_t ext_len;
    const uint8_t *settled;
    size_t settled_len;
    uint8_t settled_first; /* the byte that was there at that time */
} seen;

static uint8_t *fake_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    (void)p;
    (void)peer;
    (void)mac;
    return seen.frame;
}

/* The peer hears it at once. */
static void fake_commit_ext(struct port *p, uint32_t len, const uint8_t *ext, uint32_t ext_len)
{
    static struct rrdp_segments s;
    struct rrdp_mac mac = {.addr = {2, 0, 0, 0, 0, 0}};
    (void)p;
    memcpy(seen.frame + len, ext, ext_len);
    rrdp_receive(seen.world->peer, seen.world->e.now, mac, seen.frame, len + ext_len, &s);
    if (s.n != 1 || s.seg[0].len != WIRE_MSG_HEADER + WIRE_PAGE_SIZE)
        return;
    memcpy(seen.page, s.seg[0].data + WIRE_MSG_HEADER, WIRE_PAGE_SIZE);
    seen.pages++;
    seen.ext = ext;
    seen.ext_len = ext_len;
}

static void fake_commit(struct port *p, uint32_t len)
{
    fake_commit_ext(p, len, seen.frame, 0);
}

static void fake_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    (void)p;
    seen.settled = bytes;
    seen.settled_len = len;
    seen.settled_first = bytes[0];
}

static void fake_flush(struct port *p)
{
    (void)p;
}

static const struct port_ops fake_ops = {.name = "fake",
                                         .tx_reserve = fake_reserve,
                                         .tx_commit = fake_commit,
                                         .tx_commit_ext = fake_commit_ext,
                                         .settle = fake_settle,
                                         .flush = fake_flush};

static struct rrdp *make_rrdp(uint8_t self, void **ret_memory)
{
    struct rrdp_config c = {.self = self,
                            .nodes = 2,
                            .cluster_id = 7,
                            .epoch = 100 + self,
                            .config_hash = 1,
                            .mtu = MTU,
                            .credit = RRDP_WINDOW,
                            .rto_min_ns = 1000000,
                            .rto_max_ns = 100000000,
                            .ack_delay_ns = 50000,
                            .heartbeat_ns = 100000000,
                            .dead_ns = 1000000000,
                            .syn_ns = 10000000};
    *ret_memory = aligned_alloc(64, (rrdp_size(&c) + 63) & ~(size_t)63);
    struct rrdp *r = rrdp_init(*ret_memory, &c, 1);
    assert_non_null(r);
    return r;
}

/* What the peer has to say comes in; its frames have no payload. */
static void hear_peer(struct world *w)
{
    static struct rrdp_segments segments;
    struct rrdp_mac mac = {.addr = {2, 0, 0, 0, 0, 1}};
    struct rrdp_frame f;
    while (rrdp_transmit(w->peer, w->e.now, &f)) {
        uint8_t bytes[MTU] = {0};
        memcpy(bytes, f.header, f.header_len);
        if (f.inline_len > 0)
            memcpy(bytes + f.header_len, f.inline_data, f.inline_len);
        uint32_t len = f.header_len + f.inline_len;
        wire_rrdp_seal(bytes, len);
        rrdp_receive(w->e.rrdp, w->e.now, mac, bytes, rrdp_frame_pad(&f, bytes, len), &segments);
    }
}

static void say_to_peer(struct world *w)
{
    struct rrdp_event ev;
    transmit_frames(&w->e);
    while (rrdp_event(w->peer, &ev) || rrdp_event(w->e.rrdp, &ev))
        ;
}

static void connect_both(struct world *w)
{
    bool up = false;
    for (unsigned i = 0; i < 200; i++) { /* on for a while: path MTU, acknowledgements */
        w->e.now += 10000000;
        rrdp_tick(w->e.rrdp, w->e.now);
        rrdp_tick(w->peer, w->e.now);
        say_to_peer(w);
        hear_peer(w);
        up = rrdp_peer_up(w->e.rrdp, 1) && rrdp_peer_up(w->peer, 0);
    }
    assert_true(up);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    static const struct pando_config cfg = {.poll = {.tx_frames = 64}};
    struct engine *e = &w->e;
    e->cfg = &cfg;
    w->ram = aligned_alloc(4096, (size_t)PAGES * WIRE_PAGE_SIZE);
    for (unsigned i = 0; i < PAGES * WIRE_PAGE_SIZE; i++)
        w->ram[0][i] = (uint8_t)(i * 31 + i / WIRE_PAGE_SIZE);
    w->port =
        (struct port){.ops = &fake_ops, .mtu = MTU, .ext = PORT_EXT_TAKEN, .ext_min = EXT_MIN};
    e->port = &w->port;
    e->nodes = 2;
    e->now = 1;
    e->ram.block[0] = (struct ram_block){.pages = PAGES, .alias = w->ram[0]};
    e->ram.blocks = 1;
    e->rrdp = make_rrdp(0, &w->memory[0]);
    w->peer = make_rrdp(1, &w->memory[1]);
    w->memory[2] = calloc(1, freeze_size(PINS));
    freeze_init(&e->freeze, w->memory[2], PINS);
    w->memory[3] = calloc(ENGINE_BUFFERS, WIRE_BYTES_MAX);
    e->buffer = w->memory[3];
    pool_init(&e->buffers, e->buffer_next, ENGINE_BUFFERS);
    for (unsigned n = 0; n < 2; n++)
        for (unsigned c = 0; c < WIRE_CLASSES; c++)
            e->backlog[n][c] = (struct engine_fifo){POOL_NONE, POOL_NONE};
    memset(&seen, 0, sizeof(seen));
    seen.world = w;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 4; i++)
        free(w->memory[i]);
    free(w->ram);
    free(w);
    return 0;
}

static void send_page(struct world *w)
{
    struct wire_msg m = {.kind = WIRE_DATA, .requester = 1, .page = PAGE, .txn = 5, .version = 1};
    transmit_message(&w->e, 1, &m);
}

static void by_reference_or_copied(void **state)
{
    struct world *w = *state;
    connect_both(w);
    send_page(w);
    say_to_peer(w);
    assert_int_equal(seen.pages, 1);
    assert_memory_equal(seen.page, w->ram[PAGE], WIRE_PAGE_SIZE);
    assert_ptr_equal(seen.ext, w->ram[PAGE]);
    assert_int_equal(seen.ext_len, WIRE_PAGE_SIZE);
    assert_int_equal(w->e.count.page_bytes_out, WIRE_PAGE_SIZE);
    assert_int_equal(w->e.count.page_copied_out, 0);
    w->port.ext = PORT_EXT_DRIVER;
    send_page(w);
    say_to_peer(w);
    assert_int_equal(seen.pages, 2);
    assert_memory_equal(seen.page, w->ram[PAGE], WIRE_PAGE_SIZE);
    assert_int_equal(seen.ext_len, 0);
    assert_int_equal(w->e.count.page_bytes_out, 2 * WIRE_PAGE_SIZE);
    assert_int_equal(w->e.count.page_copied_out, WIRE_PAGE_SIZE);
}

/* Before a page changes the port is settled, whether the transport still holds the page or not:
 * an acknowledged frame may wait there once more. */
static void a_thaw_settles(void **state)
{
    struct world *w = *state;
    thaw(&w->e, PAGES + 3); /* there is no such frame */
    assert_null(seen.settled);
    thaw(&w->e, PAGE);
    assert_ptr_equal(seen.settled, w->ram[PAGE]);
    assert_int_equal(seen.settled_len, WIRE_PAGE_SIZE);
    assert_int_equal(w->e.freeze.copies, 0);
    connect_both(w);
    send_page(w);
    seen.settled = NULL;
    uint8_t was[WIRE_PAGE_SIZE];
    memcpy(was, w->ram[PAGE], sizeof(was));
    thaw(&w->e, PAGE);
    assert_ptr_equal(seen.settled, w->ram[PAGE]);
    assert_int_equal(seen.settled_first, was[0]); /* not yet changed */
    assert_int_equal(w->e.freeze.copies, 1);
    memset(w->ram[PAGE], 0xEE, WIRE_PAGE_SIZE);
    say_to_peer(w); /* goes on from the copy, by reference to it */
    assert_int_equal(seen.pages, 1);
    assert_memory_equal(seen.page, was, WIRE_PAGE_SIZE);
    assert_int_equal(seen.ext_len, WIRE_PAGE_SIZE);
    assert_true(seen.ext < w->ram[0] || seen.ext >= w->ram[PAGES]);
}

/* A staging buffer or a buffer of the glue may be filled anew once its message is acknowledged. */
static void buffers_are_settled_before_reuse(void **state)
{
    struct world *w = *state;
    uint32_t pin = freeze_pin(&w->e.freeze, PAGE);
    transmit_sent(&w->e, pin); /* a page's own frame: thaw does it when it changes */
    assert_null(seen.settled);
    pin = freeze_pin(&w->e.freeze, PAGE);
    thaw(&w->e, PAGE);
    const uint8_t *staged = freeze_staged(&w->e.freeze, w->e.freeze.pin[pin].handle);
    transmit_sent(&w->e, pin);
    assert_ptr_equal(seen.settled, staged);
    uint32_t b = pool_get(&w->e.buffers);
    transmit_sent(&w->e, ENGINE_BUFFER | b);
    assert_ptr_equal(seen.settled, w->e.buffer[b]);
    assert_int_equal(seen.settled_len, WIRE_BYTES_MAX);
    assert_int_equal(w->e.buffers.used, 0);
}

/* Every message that was to leave is counted by who was to get it, or as one that nobody gets. */
static void nobody_is_there(void **state)
{
    struct world *w = *state;
    connect_both(w);
    const struct rrdp_counters *c = rrdp_counters(w->e.rrdp, 1);
    send_page(w);
    assert_int_equal(c->tx_messages[WIRE_CLASS_DATA], 1);
    assert_int_equal(w->e.count.drop[ENGINE_DROP_MSG_NO_PEER], 0);
    rrdp_reset(w->e.rrdp);
    send_page(w);
    assert_int_equal(c->tx_messages[WIRE_CLASS_DATA], 1);
    assert_int_equal(w->e.count.drop[ENGINE_DROP_MSG_NO_PEER], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_reference_or_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thaw_settles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buffers_are_settled_before_reuse, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
