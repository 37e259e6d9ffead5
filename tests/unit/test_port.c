/* SPDX-License-Identifier: BSD-3-Clause */
/* The pair port and the fault filter. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/frame.h"
#include "dataplane/port/port.h"

static uint64_t now_value;

static uint64_t fake_now(void)
{
    return now_value;
}

static bool send_number(struct port *p, uint64_t number, uint32_t len)
{
    uint8_t *b = p->ops->tx_reserve(p, 1, NULL);
    if (b == NULL)
        return false;
    memset(b, (int)(number & 0xFF), len);
    put_le64(b, number);
    p->ops->tx_commit(p, len);
    p->ops->flush(p);
    return true;
}

static void pair_delivers_in_order_and_refuses_when_full(void **state)
{
    (void)state;
    struct port *a, *b;
    struct port_frame f[PORT_BURST];
    assert_int_equal(port_open_pair(1500, &a, &b), 0);
    assert_true(b->ops->arm(b));
    uint64_t sent = 0, got = 0;
    while (send_number(a, sent, 100 + sent % 1400))
        sent++;
    assert_int_equal(sent, 256);
    assert_int_equal(a->counters.tx_full, 1);
    assert_false(b->ops->arm(b));
    for (uint32_t n; (n = port_rx(b, f, PORT_BURST)) > 0;)
        for (uint32_t i = 0; i < n; i++, got++) {
            assert_int_equal(f[i].len, 100 + got % 1400);
            assert_int_equal(get_le64(f[i].data), got);
            assert_int_equal(f[i].data[f[i].len - 1], got & 0xFF);
            assert_memory_equal(&f[i].src, &a->mac, sizeof(a->mac));
        }
    assert_int_equal(got, sent);
    assert_true(send_number(a, 1, 8));
    a = port_close(a);
    assert_null(a);
    assert_false(send_number(b, 1, 8)); /* nobody there: refused, not a crash */
    port_close(b);
}

/* ---- fault filter -------------------------------------------------------------------------- */

enum { FRAMES = 20000, FRAME_LEN = 200 };

struct outcome {
    uint32_t received, seen_once, seen_twice, lost, damaged, late;
    uint64_t hash;
    struct port_fault_counters counters;
};

static void take(struct port *p, struct outcome *o, uint8_t *seen, uint64_t *highest)
{
    struct port_frame f[PORT_BURST];
    uint32_t n = port_rx(p, f, PORT_BURST);
    for (uint32_t i = 0; i < n; i++) {
        o->received++;
        for (uint32_t k = 0; k < f[i].len; k++)
            o->hash = (o->hash ^ f[i].data[k]) * UINT64_C(0x100000001B3);
        o->hash = (o->hash ^ f[i].len) * UINT64_C(0x100000001B3);
        uint64_t number = f[i].len >= 8 ? get_le64(f[i].data) : UINT64_MAX;
        bool good = f[i].len == FRAME_LEN && number < FRAMES;
        for (uint32_t k = 8; good && k < FRAME_LEN; k++)
            good = f[i].data[k] == (uint8_t)number;
        if (!good) {
            o->damaged++;
            continue;
        }
        seen[number]++;
        if (number < *highest)
            o->late++;
        *highest = max_u64(*highest, number);
    }
}

static struct outcome run(const struct port_faults *faults)
{
    struct port *a, *b, *f;
    struct outcome o = {.hash = UINT64_C(0xCBF29CE484222325)};
    uint8_t *seen = calloc(FRAMES, 1);
    uint64_t highest = 0;
    assert_int_equal(port_open_pair(1500, &a, &b), 0);
    assert_int_equal(port_open_faulty(b, faults, fake_now, &f), 0);
    now_value = 1;
    for (uint64_t i = 0; i < FRAMES; i++) {
        assert_true(send_number(a, i, FRAME_LEN));
        now_value += 1000;
        take(f, &o, seen, &highest);
    }
    for (uint32_t i = 0; i < 2000; i++, now_value += 10000)
        take(f, &o, seen, &highest);
    assert_true(f->ops->arm(f)); /* nothing is held back for ever */
    for (uint32_t i = 0; i < FRAMES; i++) {
        o.seen_once += seen[i] == 1;
        o.seen_twice += seen[i] == 2;
        o.lost += seen[i] == 0;
        assert_true(seen[i] <= 2);
    }
    o.counters = *port_fault_counters(f);
    assert_null(port_fault_counters(a));
    assert_int_equal(f->counters.rx_frames, FRAMES);
    free(seen);
    port_close(f);
    port_close(a);
    return o;
}

static void near_ppm(uint64_t n, uint32_t ppm)
{
    uint64_t expected = (uint64_t)FRAMES * ppm / 1000000;
    assert_in_range(n, expected * 7 / 10, expected * 13 / 10);
}

static void no_faults_change_nothing(void **state)
{
    (void)state;
    struct outcome o = run(&(struct port_faults){.seed = 1});
    assert_int_equal(o.seen_once, FRAMES);
    assert_int_equal(o.late + o.damaged, 0);
}

static void each_fault_does_what_it_says(void **state)
{
    (void)state;
    struct outcome o = run(&(struct port_faults){.seed = 2, .drop_ppm = 50000});
    near_ppm(o.lost, 50000);
    assert_int_equal(o.lost, o.counters.dropped);
    assert_int_equal(o.late + o.damaged + o.seen_twice, 0);

    o = run(&(struct port_faults){.seed = 3, .duplicate_ppm = 50000});
    near_ppm(o.seen_twice, 50000);
    assert_int_equal(o.seen_twice, o.counters.duplicated);
    assert_int_equal(o.lost + o.damaged, 0);

    o = run(&(struct port_faults){.seed = 4, .reorder_ppm = 50000});
    near_ppm(o.late, 50000);
    assert_int_equal(o.late, o.counters.reordered);
    assert_int_equal(o.seen_once, FRAMES);

    o = run(&(struct port_faults){.seed = 5, .corrupt_ppm = 50000});
    near_ppm(o.counters.corrupted, 50000);
    /* Two flips of one bit undo each other now and then. */
    assert_in_range(o.damaged, o.counters.corrupted * 95 / 100, o.counters.corrupted);
    assert_int_equal(o.received, FRAMES);

    o = run(&(struct port_faults){.seed = 6, .delay_ppm = 50000, .delay_max_us = 50});
    near_ppm(o.counters.delayed, 50000);
    assert_true(o.late > o.counters.delayed / 2);
    assert_int_equal(o.seen_once, FRAMES);
}

static void a_seed_replays(void **state)
{
    (void)state;
    struct port_faults all = {.seed = 7,
                              .drop_ppm = 20000,
                              .duplicate_ppm = 20000,
                              .reorder_ppm = 20000,
                              .corrupt_ppm = 20000,
                              .delay_ppm = 20000,
                              .delay_max_us = 30};
    uint64_t first = run(&all).hash;
    assert_true(run(&all).hash == first);
    all.seed = 8;
    assert_true(run(&all).hash != first);
}

static void a_full_store_loses_and_counts(void **state)
{
    (void)state;
    struct port *a, *b, *f;
    struct port_frame out[PORT_BURST];
    uint32_t got = 0;
    struct port_faults all = {.seed = 9, .delay_ppm = 1000000, .delay_max_us = 1000000};
    assert_int_equal(port_open_pair(1500, &a, &b), 0);
    assert_int_equal(port_open_faulty(b, &all, fake_now, &f), 0);
    now_value = 1;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(send_number(a, i, FRAME_LEN));
        assert_int_equal(port_rx(f, out, PORT_BURST), 0);
    }
    const struct port_fault_counters *c = port_fault_counters(f);
    assert_false(f->ops->arm(f));
    now_value += UINT64_C(2000000000);
    for (uint32_t n; (n = port_rx(f, out, PORT_BURST)) > 0;)
        got += n;
    assert_int_equal(got + c->dropped, 1000);
    assert_true(got > 0 && c->dropped > 0);
    port_close(f);
    port_close(a);
}

static void one_way_block_drops_what_is_sent_only(void **state)
{
    (void)state;
    struct port *a, *b, *f;
    struct port_frame out[PORT_BURST];
    assert_int_equal(port_open_pair(1500, &a, &b), 0);
    assert_int_equal(
        port_open_faulty(a, &(struct port_faults){.one_way_block = bit64(1)}, fake_now, &f), 0);
    assert_true(send_number(f, 1, FRAME_LEN));
    assert_int_equal(port_rx(b, out, PORT_BURST), 0);
    assert_true(send_number(b, 1, FRAME_LEN));
    assert_int_equal(port_rx(f, out, PORT_BURST), 1);
    assert_int_equal(port_fault_counters(f)->dropped, 1);
    port_close(f);
    port_close(b);
}

static void a_filter_hides_nothing_of_what_is_below(void **state)
{
    (void)state;
    struct port *a, *b, *f, *g;
    struct port_udp_counters c;
    struct link_config link = {
        .kind = LINK_UDP4, .udp_port = (uint16_t)(20000 + getpid() % 20000), .nodes = 2};
    char err[PORT_ERROR_MAX];
    for (unsigned n = 0; n < 2; n++)
        memcpy(link.ip[n], (const uint8_t[]){127, 0, 0, (uint8_t)(n + 1)}, 4);
    assert_null(port_below(NULL));
    assert_int_equal(port_open_pair(1500, &a, &b), 0);
    assert_ptr_equal(port_below(a), a);
    assert_int_equal(port_open_faulty(a, &(struct port_faults){0}, fake_now, &f), 0);
    assert_int_equal(port_udp_counters(f, &c), -EOPNOTSUPP);
    port_close(f);
    port_close(b);
    if (port_open_udp(&link, 1500, 1, &a, err) != 0)
        fail_msg("%s", err);
    assert_int_equal(port_open_faulty(a, &(struct port_faults){0}, fake_now, &f), 0);
    assert_int_equal(port_open_faulty(f, &(struct port_faults){0}, fake_now, &g), 0);
    assert_ptr_equal(port_below(g), a);
    assert_non_null(g->ops->tx_reserve(g, 1, NULL));
    g->ops->tx_commit(g, UINT16_MAX); /* no datagram is so long */
    g->ops->flush(g);
    assert_int_equal(port_udp_counters(g, &c), 0);
    assert_int_equal(c.failed[PORT_UDP_TOO_LONG], 1);
    port_close(g);
}

/* ---- pages in place ------------------------------------------------------------------------ */

enum { HEAD = 46 };

static struct {
    struct port port;
    struct port_frame next; /* what the fake receives, again and again */
    uint64_t placed, other; /* frames that it sent */
    uint64_t page, pages;
    uint8_t frame[9000];
} below;

static uint32_t below_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    (void)p;
    if (max == 0 || below.next.data == NULL)
        return 0;
    out[0] = below.next;
    return 1;
}

static uint8_t *below_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    (void)p;
    (void)peer;
    (void)mac;
    return below.frame;
}

static void below_commit(struct port *p, uint32_t len)
{
    (void)p;
    (void)len;
    below.other++;
}

static void below_placed(struct port *p, uint32_t len, const uint8_t *bytes, uint64_t page)
{
    (void)p;
    assert_int_equal(len, HEAD);
    assert_int_equal(bytes[0], 0x77);
    below.placed++;
    below.page = page;
}

static int below_memory(struct port *p, uint64_t first, uint64_t pages, uint8_t *alias,
                        char err[PORT_ERROR_MAX])
{
    (void)p;
    (void)first;
    (void)alias;
    (void)err;
    below.pages = pages;
    return 0;
}

static void below_flush(struct port *p)
{
    (void)p;
}

static const struct port_ops below_ops = {.name = "below",
                                          .rx = below_rx,
                                          .tx_reserve = below_reserve,
                                          .tx_commit = below_commit,
                                          .tx_commit_placed = below_placed,
                                          .add_memory = below_memory,
                                          .flush = below_flush,
                                          .close = below_flush};

static struct port *faulty_above(const struct port_faults *faults)
{
    struct port *f;
    memset(&below, 0, sizeof(below));
    below.port = (struct port){.ops = &below_ops, .mtu = 9000, .places = true};
    assert_int_equal(port_open_faulty(&below.port, faults, fake_now, &f), 0);
    return f;
}

/* Which frames are offered to be placed: the page that is awaited, whole, the first time. */
static void what_is_placed(void **state)
{
    (void)state;
    static uint8_t page[WIRE_PAGE_SIZE] = {0x77};
    uint8_t head[WIRE_MSG_HEADER], other[WIRE_MSG_HEADER];
    struct wire_msg m = {.kind = WIRE_DATA, .page = 0x123456789, .txn = 1, .version = 1};
    struct port *f = faulty_above(&(struct port_faults){0});
    uint32_t copied;
    wire_msg_pack(&m, head);
    m.kind = WIRE_PUTM; /* the home takes it or not: never placed */
    wire_msg_pack(&m, other);
    const struct rrdp_frame first = {.cls = WIRE_CLASS_DATA,
                                     .header_len = WIRE_RRDP_HEADER,
                                     .inline_data = head,
                                     .inline_len = sizeof(head),
                                     .payload_len = sizeof(page)};
    struct rrdp_frame again = first, part = first, put = first, tail = first;
    again.retransmission = true;
    part.payload_len--;
    put.inline_data = other;
    tail.inline_len = 0;
    assert_true(f->places);
    assert_true(port_put_frame(f, &first, page, &copied));
    assert_int_equal(copied, 0);
    assert_int_equal(below.placed, 1);
    assert_int_equal(below.page, 0x123456789);
    const struct rrdp_frame *others[] = {&again, &part, &put, &tail};
    for (unsigned i = 0; i < 4; i++)
        assert_true(port_put_frame(f, others[i], page, &copied));
    below.port.places = false;
    f->ops->flush(f);
    assert_true(port_put_frame(f, &first, page, &copied));
    assert_int_equal(below.placed, 1);
    assert_int_equal(below.other, 5);
    assert_int_equal(port_add_memory(f, 0, 99, page, NULL), 0);
    assert_int_equal(below.pages, 99);
    port_close(f);
}

/* What a filter spoils or keeps is a copy: the page stays as it was written. */
static void a_placed_page_is_not_spoiled(void **state)
{
    (void)state;
    static uint8_t head[HEAD] = {1}, page[WIRE_PAGE_SIZE], before[WIRE_PAGE_SIZE];
    struct port_frame out[PORT_BURST];
    const struct port_faults each[] = {
        {.corrupt_ppm = 1000000}, {.delay_ppm = 1000000, .delay_max_us = 5}, {0}};
    for (size_t i = 0; i < sizeof(page); i++)
        page[i] = before[i] = (uint8_t)i;
    for (unsigned i = 0; i < 3; i++) {
        struct port *f = faulty_above(&each[i]);
        below.next =
            (struct port_frame){.data = head, .len = HEAD, .ext = page, .ext_len = sizeof(page)};
        uint32_t n = port_rx(f, out, PORT_BURST);
        below.next.data = NULL;
        now_value += 10000;
        if (n == 0)
            n = port_rx(f, out, PORT_BURST);
        assert_int_equal(n, 1);
        assert_memory_equal(page, before, sizeof(page));
        assert_int_equal(out[0].ext_len, i == 2 ? sizeof(page) : 0);
        if (i == 1)
            assert_memory_equal(out[0].data + HEAD, page, sizeof(page));
        if (i == 1)
            assert_int_equal(out[0].len, HEAD + sizeof(page));
        if (i == 2)
            assert_ptr_equal(out[0].ext, page);
        port_close(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_delivers_in_order_and_refuses_when_full),
        cmocka_unit_test(no_faults_change_nothing),
        cmocka_unit_test(each_fault_does_what_it_says),
        cmocka_unit_test(a_seed_replays),
        cmocka_unit_test(a_full_store_loses_and_counts),
        cmocka_unit_test(one_way_block_drops_what_is_sent_only),
        cmocka_unit_test(a_filter_hides_nothing_of_what_is_below),
        cmocka_unit_test(what_is_placed),
        cmocka_unit_test(a_placed_page_is_not_spoiled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
