/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's way in (engine/receive.c) for pages that the peer's device wrote into guest memory:
 * taken as they lie where they are awaited, the end of the VM where they are not. Node 0 is the
 * engine; of node 1 there is the transport. There is no userfaultfd: mapping what has arrived
 * fails, which is how a test sees that it was taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engine/engine.h"

enum { MTU = 9000, PAGES = 4, PAGE = 3, PINS = 8, HEAD_MAX = 256 };

static struct world {
    struct engine e;
    struct pando_config cfg;
    struct port port;
    struct rrdp *peer;
    struct coh_actions actions;
    struct rrdp_segments segments, of_peer;
    struct engine_done done[64];
    uint8_t head[HEAD_MAX], staged[WIRE_BYTES_MAX];
    struct port_frame next; /* what the port receives */
    struct wire_msg request;
    void *memory[4];
    uint8_t (*ram)[WIRE_PAGE_SIZE];
} * w;

static const struct rrdp_mac mac[2] = {{{2, 0, 0, 0, 0, 0}}, {{2, 0, 0, 0, 0, 1}}};

static uint32_t fake_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    (void)p;
    if (max == 0 || w->next.data == NULL)
        return 0;
    *out = w->next;
    out->src = mac[1];
    w->next.data = NULL;
    return 1;
}

static const struct port_ops fake_ops = {.name = "fake", .rx = fake_rx};

static struct rrdp *make_rrdp(uint8_t self, void **ret_memory)
{
    const uint64_t ms = 1000000;
    struct rrdp_config c = {.self = self,
                            .nodes = 2,
                            .cluster_id = 7,
                            .epoch = 100u + self,
                            .config_hash = 1,
                            .mtu = MTU,
                            .credit = RRDP_WINDOW,
                            .rto_min_ns = ms,
                            .rto_max_ns = 100 * ms,
                            .ack_delay_ns = ms / 20,
                            .heartbeat_ns = 100 * ms,
                            .dead_ns = 1000 * ms,
                            .syn_ns = 10 * ms};
    *ret_memory = aligned_alloc(64, (rrdp_size(&c) + 63) & ~(size_t)63);
    return rrdp_init(*ret_memory, &c, 1);
}

/* All but the page of a frame, at w->head; returns its length. */
static uint32_t head_of(const struct rrdp_frame *f, const uint8_t *page)
{
    uint32_t len = f->header_len;
    memcpy(w->head, f->header, len);
    if (f->inline_len > 0)
        memcpy(w->head + len, f->inline_data, f->inline_len);
    len += f->inline_len;
    assert_true(len <= HEAD_MAX);
    wire_rrdp_seal_parts(w->head, len, page, f->payload_len);
    return len;
}

/* The two talk; what is asked for is noted. */
static void talk(void)
{
    struct rrdp_frame f;
    struct rrdp_event ev;
    uint8_t bytes[MTU] = {0};
    for (unsigned from = 0; from < 2; from++) {
        struct rrdp *a = from == 0 ? w->e.rrdp : w->peer, *b = from == 0 ? w->peer : w->e.rrdp;
        rrdp_tick(a, w->e.now);
        while (rrdp_transmit(a, w->e.now, &f)) {
            assert_int_equal(f.payload_len, 0);
            uint32_t len = head_of(&f, NULL);
            memcpy(bytes, w->head, len);
            rrdp_receive(b, w->e.now, mac[from], bytes, rrdp_frame_pad(&f, bytes, len),
                         &w->of_peer);
            for (uint32_t i = 0; from == 0 && i < w->of_peer.n; i++)
                assert_int_equal(wire_msg_unpack(w->of_peer.seg[i].data, WIRE_MSG_HEADER,
                                                 w->of_peer.seg[i].cls, 0, &w->request),
                                 WIRE_OK);
        }
        while (rrdp_event(a, &ev) || rrdp_event(b, &ev))
            ;
    }
}

static int set_up(void **state)
{
    (void)state;
    w = calloc(1, sizeof(*w));
    struct engine *e = &w->e;
    const struct coh_config c = {.nodes = 2,
                                 .home_mode = COH_HOME_RANGE,
                                 .pages = PAGES,
                                 .range_end = {2, PAGES},
                                 .epoch_txn = 1,
                                 .txn_max = 4,
                                 .deferred_max = 64};
    w->ram = aligned_alloc(4096, sizeof(*w->ram) * PAGES);
    memset(w->ram, 0, sizeof(*w->ram) * PAGES);
    w->cfg.vm.ram_pages = PAGES;
    w->cfg.node_count = 2;
    w->cfg.poll.rx_frames = PORT_BURST;
    w->port = (struct port){.ops = &fake_ops, .mtu = MTU, .places = true};
    *e = (struct engine){.cfg = &w->cfg,
                         .port = &w->port,
                         .nodes = 2,
                         .now = 1,
                         .actions = &w->actions,
                         .segments = &w->segments,
                         .done = w->done,
                         .done_mask = 63};
    e->ram.block[0] =
        (struct ram_block){.pages = PAGES, .alias = w->ram[0], .memfd = -1, .uffd = -1};
    e->ram.blocks = 1;
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        e->rx[1][k].bytes = w->staged;
        e->backlog[1][k] = (struct engine_fifo){POOL_NONE, POOL_NONE};
    }
    e->rrdp = make_rrdp(0, &w->memory[0]);
    w->peer = make_rrdp(1, &w->memory[1]);
    w->memory[2] = calloc(1, freeze_size(PINS));
    freeze_init(&e->freeze, w->memory[2], PINS);
    size_t size = (coh_size(&c) + 63) & ~(size_t)63;
    w->memory[3] = aligned_alloc(64, size);
    memset(w->memory[3], 0, size);
    e->coh = coh_init(w->memory[3], &c);
    for (unsigned i = 0; i < 200; i++) {
        e->now += 10000000;
        talk();
    }
    assert_true(rrdp_peer_up(e->rrdp, 1));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        free(w->memory[i]);
    free(w->ram);
    free(w);
    return 0;
}

static void ask(uint64_t page)
{
    struct coh_event fault = {.type = COH_EV_READ_FAULT, .page = page};
    engine_step(&w->e, &fault);
    talk();
    assert_int_equal(w->request.kind, WIRE_GETS);
    assert_int_equal(w->request.page, page);
}

/* Node 1 answers with `page`, whose bytes its device has put at `at`. */
static void answer(uint8_t kind, uint64_t page, uint8_t *at)
{
    uint8_t header[WIRE_MSG_HEADER];
    struct wire_msg m = {
        .kind = kind, .requester = 0, .page = page, .txn = w->request.txn, .version = 1};
    struct rrdp_frame f;
    if (kind != WIRE_DATA)
        m.requester = 1;
    memset(at, 0x77, WIRE_PAGE_SIZE);
    wire_msg_pack(&m, header);
    assert_int_equal(
        rrdp_send(w->peer, 0, WIRE_CLASS_DATA, header, sizeof(header), 0, WIRE_PAGE_SIZE, false, 0),
        0);
    assert_true(rrdp_transmit(w->peer, w->e.now, &f));
    uint32_t len = head_of(&f, at);
    w->next =
        (struct port_frame){.data = w->head, .len = len, .ext = at, .ext_len = WIRE_PAGE_SIZE};
    assert_true(receive_frames(&w->e));
}

static void an_awaited_page_is_taken_as_it_lies(void **state)
{
    (void)state;
    ask(PAGE);
    answer(WIRE_DATA, PAGE, w->ram[PAGE]);
    assert_int_equal(w->e.count.page_bytes_in, WIRE_PAGE_SIZE);
    assert_int_equal(w->e.count.page_copied_in, 0);
    assert_non_null(strstr(w->e.stop_text, "mapping of page 0x3"));
}

static void misplaced(void)
{
    assert_non_null(strstr(w->e.stop_text, "wrote into memory of node 0 that was not open"));
    assert_int_equal(w->e.count.page_bytes_in, 0);
}

static void nobody_asked(void **state)
{
    (void)state;
    w->request.txn = 1;
    answer(WIRE_DATA, PAGE, w->ram[PAGE]);
    misplaced();
}

static void another_page_was_asked_for(void **state)
{
    (void)state;
    ask(PAGE);
    answer(WIRE_DATA, PAGE, w->ram[PAGE - 1]);
    misplaced();
}

static void an_evicted_page_is_not_written_in_place(void **state)
{
    (void)state;
    ask(PAGE);
    answer(WIRE_PUTM, 1, w->ram[1]);
    misplaced();
}

/* What the transport delivered is counted by kind, or as refused, or as too late. */
static void the_vm_has_ended(void **state)
{
    (void)state;
    ask(PAGE);
    w->e.phase = ENGINE_LEAVING;
    answer(WIRE_DATA, PAGE, w->ram[PAGE]);
    assert_int_equal(rrdp_counters(w->e.rrdp, 1)->rx_messages[WIRE_CLASS_DATA], 1);
    assert_int_equal(coh_counters(w->e.coh)->rx[WIRE_DATA], 0);
    assert_int_equal(w->e.count.drop[ENGINE_DROP_MSG_ENDED], 1);
    assert_int_equal(w->e.count.page_bytes_in, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_awaited_page_is_taken_as_it_lies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_vm_has_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_page_was_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_evicted_page_is_not_written_in_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
