/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages in place over the verbs port: where they land, when they must not, and what settle
 * promises. */
#include "verbs_world.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "dataplane/base/prng.h"
#include "dataplane/port/frame.h"

static void test_pages_in_place(void **state)
{
    static const uint64_t where[] = {0, 3, PAGES - 1, SECOND_BLOCK, SECOND_BLOCK + PAGES - 1};
    uint8_t staged[PAGE];
    (void)state;
    connect_with_memory();
    for (uint32_t i = 0; i < 2 * PANDO_ARRAY_LEN(where); i++) {
        bool from_guest = i % 2 == 0;
        uint64_t page = where[i / 2];
        uint8_t *bytes = from_guest ? page_at(0, page) : staged;
        got[1].n = 0;
        fill(bytes, 500 + i, 0, PAGE);
        uint64_t by_reference = port[0]->counters.tx_ext_bytes,
                 copied = port[0]->counters.tx_copied_bytes;
        assert_true(send_placed(0, 1, i, bytes, page));
        port[0]->ops->flush(port[0]);
        receive(1);
        assert_int_equal(got[1].n, 1);
        assert_int_equal(got[1].len[0], HEAD);
        assert_int_equal(got[1].ext_len[0], PAGE);
        assert_ptr_equal(got[1].ext[0], page_at(1, page));
        assert_true(page_is(page_at(1, page), 500 + i));
        assert_int_equal(port[0]->counters.tx_ext_bytes - by_reference, from_guest ? PAGE : 0);
        assert_int_equal(port[0]->counters.tx_copied_bytes - copied, from_guest ? 0 : PAGE);
    }
    assert_int_equal(counters_of(0).placed_tx, 2 * PANDO_ARRAY_LEN(where));
    assert_int_equal(counters_of(1).placed_rx, 2 * PANDO_ARRAY_LEN(where));
    assert_int_equal(fake.writes, 2 * PANDO_ARRAY_LEN(where));
    /* What the peer has not opened comes with its bytes; so does what is not whole. */
    for (uint64_t page = PAGES; page < SECOND_BLOCK; page += SECOND_BLOCK - PAGES - 1) {
        got[1].n = 0;
        assert_true(send_placed(0, 1, 77, staged, page));
        port[0]->ops->flush(port[0]);
        receive(1);
        assert_int_equal(got[1].n, 1);
        assert_int_equal(got[1].len[0], HEAD + PAGE);
        assert_int_equal(got[1].ext_len[0], 0);
    }
    assert_int_equal(counters_of(0).not_open, 2);
    close_all();
}

/* Of pages that are not the guest's a copy waits for the device, whatever is sent meanwhile. */
static void test_staged_pages_wait(void **state)
{
    uint8_t staged[PAGE];
    (void)state;
    connect_with_memory();
    fake.stopped = true;
    for (uint32_t i = 0; i < PAGES; i++) {
        fill(staged, i, 0, PAGE);
        assert_true(send_placed(0, 1, i, staged, i));
        port[0]->ops->flush(port[0]);
    }
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(send_frame(0, 1, i, WIRE_CLASS_URGENT, 1000));
        port[0]->ops->flush(port[0]);
    }
    fake.stopped = false;
    fake_go_on();
    for (uint32_t i = 0; i < PAGES; i++)
        assert_true(page_is(page_at(1, i), i));
    close_all();
}

/* A device that takes no bytes along. */
static void test_no_inline(void **state)
{
    (void)state;
    begin(2);
    fake.inline_max = 0;
    open_node(0);
    open_node(1);
    UNTIL(all_up());
    give_memory(0);
    give_memory(1);
    UNTIL(is_open(0, 1));
    uint8_t staged[PAGE];
    for (uint32_t i = 0; i < 1000; i++) {
        fill(staged, i, 0, PAGE);
        assert_true(send_placed(0, 1, i, staged, i % PAGES));
        memset(staged, 0, sizeof(staged)); /* it is not looked at any more */
        assert_true(send_frame(0, 1, 10000 + i, WIRE_CLASS_URGENT, 60));
        port[0]->ops->flush(port[0]);
        receive(1);
        assert_true(page_is(page_at(1, i % PAGES), i));
        got[1].n = 0;
    }
    close_all();
}

/* The transport's frames: placed at first, with their bytes when sent again. */
static void test_sent_again(void **state)
{
    struct wire_msg m = {.kind = WIRE_DATA, .requester = 1, .page = 5, .txn = 1, .version = 1};
    struct rrdp_frame f = {.peer = 1,
                           .cls = WIRE_CLASS_DATA,
                           .header_len = WIRE_RRDP_HEADER,
                           .inline_len = WIRE_MSG_HEADER,
                           .payload_len = PAGE};
    uint8_t message[WIRE_MSG_HEADER];
    uint32_t copied;
    (void)state;
    connect_with_memory();
    wire_msg_pack(&m, message);
    memcpy(f.header, (uint8_t[WIRE_RRDP_HEADER]){[4] = WIRE_CLASS_DATA}, WIRE_RRDP_HEADER);
    f.inline_data = message;
    fill(page_at(0, 5), 1, 0, PAGE);
    assert_true(port_put_frame(port[0], &f, page_at(0, 5), &copied));
    f.retransmission = true;
    fill(page_at(0, 5), 2, 0, PAGE);
    port_settle(port[0], page_at(0, 5), PAGE);
    port[0]->ops->flush(port[0]);
    assert_true(port_put_frame(port[0], &f, page_at(0, 5), &copied));
    port[0]->ops->flush(port[0]);
    memset(got, 0, sizeof(got));
    struct port_frame in[PORT_BURST];
    assert_int_equal(port_rx(port[1], in, PORT_BURST), 2);
    assert_int_equal(in[0].ext_len, PAGE);
    assert_int_equal(in[1].len, WIRE_RRDP_HEADER + WIRE_MSG_HEADER + PAGE);
    assert_int_equal(in[1].ext_len, 0);
    assert_true(page_is(in[1].data + WIRE_RRDP_HEADER + WIRE_MSG_HEADER, 2));
    assert_int_equal(counters_of(0).placed_tx, 1);
    assert_int_equal(fake.writes, 1);
    close_all();
}

/* Behind settle nobody reads the page: it has left, or will not leave any more. */
static void test_settle(void **state)
{
    (void)state;
    connect_with_memory();
    fill(page_at(0, 2), 1, 0, PAGE);
    assert_true(send_placed(0, 1, 1, page_at(0, 2), 2)); /* not even handed over */
    port_settle(port[0], page_at(0, 3), PAGE);
    assert_int_equal(counters_of(0).settle_waits, 0);
    assert_true(send_placed(0, 1, 1, page_at(0, 2), 2));
    port_settle(port[0], page_at(0, 2) + PAGE - 1, 1);
    fill(page_at(0, 2), 2, 0, PAGE);
    fake_go_on();
    assert_true(page_is(page_at(1, 2), 1));
    assert_null(port_look(port[0]));
    /* A peer that does not take it: the connection ends, and the port. */
    fake.stopped = true;
    fill(page_at(0, 4), 3, 0, PAGE);
    assert_true(send_placed(0, 1, 1, page_at(0, 4), 4));
    port[0]->ops->flush(port[0]);
    uint64_t before = verbs_now();
    port_settle(port[0], page_at(0, 4), PAGE);
    assert_true(verbs_now() - before >= 190 * MS);
    fill(page_at(0, 4), 4, 0, PAGE);
    fake.stopped = false;
    fake_go_on();
    assert_int_equal(page_at(1, 4)[0], 0xCC);
    assert_string_equal(port_look(port[0]), "node 1: a page that was sent to it is not taken");
    assert_null(port[0]->ops->tx_reserve(port[0], 1, NULL));
    close_all();
}

/* Node 0's WRITE is on the wire when it is killed. It starts again and sends the page anew; the
 * guest changes it. Then the WRITE arrives. */
static void test_late_write_of_a_former_life(void **state)
{
    (void)state;
    connect_with_memory();
    fake.delay_writes = true;
    fill(page_at(0, 6), 1, 0, PAGE);
    assert_true(send_placed(0, 1, 1, page_at(0, 6), 6));
    port[0]->ops->flush(port[0]);
    kill_node(0);
    fake.delay_writes = false;
    open_node(0);
    UNTIL(all_up());
    got[1].n = 0;
    assert_true(send_frame(0, 1, 2, WIRE_CLASS_DATA, 5000));
    UNTIL(got[1].n == 1);
    fill(page_at(1, 6), 2, 0, PAGE);
    fake_late();
    assert_int_equal(fake.writes_late_landed, 0);
    assert_int_equal(fake.writes_late_refused, 1);
    assert_true(page_is(page_at(1, 6), 2));
    close_all();
}

/* The same when both leave the fabric for another one, over which the page is sent again. */
static void test_late_write_after_fail_over(void **state)
{
    struct port *a, *b;
    struct port_frame f[PORT_BURST];
    (void)state;
    connect_with_memory();
    fake.delay_writes = true;
    fill(page_at(0, 6), 1, 0, PAGE);
    assert_true(send_placed(0, 1, 1, page_at(0, 6), 6));
    port_settle(port[0], page_at(0, 6), PAGE); /* waits in vain */
    UNTIL(port_look(port[0]) != NULL);
    port[0] = port_close(port[0]); /* what the fabric does then */
    UNTIL(port_look(port[1]) != NULL);
    assert_non_null(strstr(port_look(port[1]), "node 0: its port broke, as it says"));
    port[1] = port_close(port[1]);
    assert_int_equal(port_open_pair(MTU, &a, &b), 0);
    memcpy(a->ops->tx_reserve(a, 1, NULL), page_at(0, 6), PAGE);
    a->ops->tx_commit(a, PAGE);
    a->ops->flush(a);
    assert_int_equal(port_rx(b, f, PORT_BURST), 1);
    memcpy(page_at(1, 6), f[0].data, PAGE);
    assert_true(page_is(page_at(1, 6), 1));
    fill(page_at(1, 6), 2, 0, PAGE);
    fake_late();
    assert_int_equal(fake.writes_late_landed, 0);
    assert_int_equal(fake.writes_late_refused, 1);
    assert_true(page_is(page_at(1, 6), 2));
    port_close(a);
    port_close(b);
    close_all();
}

/* Node 0 is given up and goes on: its WRITE on the wire does not land, nor does anything that it
 * sends, until the fence is lifted. The port lives, and node 2 notices nothing. */
static void test_fence(void **state)
{
    (void)state;
    for (unsigned on_ladder = 0; on_ladder < 2; on_ladder++) {
        begin(3);
        ladder = on_ladder;
        for (uint8_t n = 0; n < 3; n++)
            open_node(n);
        UNTIL(all_up());
        give_memory(0);
        give_memory(1);
        UNTIL(is_open(0, 1) && is_open(1, 0));
        fake.delay_writes = true;
        fill(page_at(0, 6), 1, 0, PAGE);
        assert_true(send_placed(0, 1, 1, page_at(0, 6), 6));
        port[0]->ops->flush(port[0]);
        assert_int_equal(port_fence(port[1], 0, true), 0);
        unsigned refused = fake.writes_late_refused, landed = fake.writes_late_landed;
        fake_late();
        assert_int_equal(fake.writes_late_landed, landed);
        assert_int_equal(fake.writes_late_refused, refused + 1);
        assert_int_equal(page_at(1, 6)[0], 0xCC);
        for (uint32_t i = 0; i < 40; i++) { /* short ones and long ones, and it asks to come back */
            (void)send_frame(0, 1, 10 + i, i % 4, i % 2 != 0 ? 60 : 5000);
            (void)send_placed(0, 1, 100 + i, page_at(0, 6), 6);
            assert_true(send_frame(2, 1, 200 + i, WIRE_CLASS_URGENT, 60));
            round_of_all();
            usleep(2000);
        }
        UNTIL(got[1].n >= 40);
        for (uint32_t i = 0; i < got[1].n; i++)
            assert_true(got[1].number[i] >= 200);
        assert_int_equal(page_at(1, 6)[0], 0xCC);
        assert_true(state_of(1, 0) == RDMA_ABSENT && state_of(1, 2) == RDMA_UP);
        assert_true(counters_of(1).refused[RDMA_REFUSAL_FENCED] > 0);
        assert_null(port_look(port[1]));
        assert_null(port_look(port[0]));
        assert_int_equal(port_fence(port[1], 0, false), 0);
        UNTIL(is_open(0, 1) && all_up());
        got[1].n = 0;
        assert_true(send_placed(0, 1, 300, page_at(0, 6), 6));
        UNTIL(got[1].n == 1);
        assert_int_equal(got[1].number[0], 300);
        assert_true(page_is(page_at(1, 6), 1));
        assert_int_equal(port_fence(port[1], 1, true), -EINVAL);
        assert_int_equal(port_fence(port[1], nodes, true), -EINVAL);
        close_all();
    }
}

/* Registration takes as long as it takes: meanwhile frames go to and fro, and pages as copies.
 * Where the port is closed before anybody took the result, nothing is left. */
static void test_slow_memory(void **state)
{
    uint8_t staged[PAGE];
    (void)state;
    for (unsigned taken = 0; taken < 2; taken++) {
        connect_all(2);
        verbs_of(port[1])->aside_pages = PAGES; /* a block has as many */
        atomic_store(&fake.slow_reg, true);
        memset(guest[1], 0, (size_t)PAGES * PAGE);
        assert_int_equal(add_block(1, 0), 0);
        fill(staged, 5, 0, PAGE);
        got[1].n = 0;
        assert_true(send_frame(0, 1, 1, WIRE_CLASS_URGENT, 60));
        assert_true(send_placed(0, 1, 2, staged, 3));
        port[0]->ops->flush(port[0]);
        UNTIL(got[1].n == 2);
        assert_int_equal(got[1].ext_len[0] + got[1].ext_len[1], 0);
        assert_int_equal(counters_of(0).not_open, 1);
        atomic_store(&fake.slow_reg, false);
        if (taken == 1) {
            UNTIL(verbs_of(port[0])->peer[1].rdma.theirs.blocks == 1);
            assert_true(send_placed(0, 1, 3, staged, 3));
            port[0]->ops->flush(port[0]);
            receive(1);
            assert_true(page_is(page_at(1, 3), 5));
        }
        close_all();
    }
}

static struct registrar {
    struct host_cpus cpus;
    int policy;
} registrar;

static struct ibv_mr *who_registers(struct ibv_pd *pd, void *address, size_t len, int access)
{
    static struct ibv_mr mr;
    (void)pd, (void)address, (void)len, (void)access;
    (void)host_thread_cpus(0, &registrar.cpus);
    registrar.policy = sched_getscheduler(0);
    return &mr;
}

/* Who registers runs where it is told and in its class, or on all CPUs: never where the polling
 * thread is. */
static void test_registrar(void **state)
{
    const struct verbs_api api = {.reg_mr = who_registers};
    struct host_cpus all, other = {0};
    struct ibv_mr *mr;
    int error, cpu = sched_getcpu();
    (void)state;
    assert_int_equal(host_thread_cpus(0, &all), 0);
    if (cpu < 0 || host_cpus_count(&all) < 2)
        skip();
    for (uint32_t c = 0; host_cpus_empty(&other); c++)
        if (c != (uint32_t)cpu && host_cpus_has(&all, c))
            host_cpus_add(&other, c);
    assert_int_equal(host_thread_pin(0, cpu), 0); /* as the poll loop is */
    for (int given = 0; given < 2; given++) {
        struct verbs_aside a = {0};
        if (given == 1)
            a = (struct verbs_aside){.cpus = other, .sched = {.class = HOST_BATCH}};
        assert_int_equal(verbs_aside_begin(&a, &api, NULL, NULL, 0, 0), 0);
        UNTIL(verbs_aside_take(&a, &mr, &error) == VERBS_ASIDE_DONE);
        assert_non_null(mr);
        verbs_aside_close(&a);
        assert_memory_equal(&registrar.cpus, given == 1 ? &other : &all, sizeof(all));
        assert_int_equal(registrar.policy, given == 1 ? SCHED_BATCH : SCHED_OTHER);
    }
    assert_int_equal(host_thread_pin_set(0, &all), 0);
}

static void test_memory_errors(void **state)
{
    (void)state;
    connect_all(2);
    fake.fail_reg = 1;
    assert_int_equal(add_block(1, 0), -ENOMEM);
    assert_true(strstr(err, "memory cannot be registered") || strstr(err, "RLIMIT_MEMLOCK"));
    fake.fail_reg = 2; /* ours, but not for the peer */
    assert_int_equal(add_block(1, 0), 0);
    fake.fail_reg = 0;
    assert_int_equal(add_block(1, 5), -EINVAL); /* overlaps */
    assert_int_equal(add_block(1, SECOND_BLOCK), 0);
    UNTIL(verbs_of(port[0])->peer[1].rdma.theirs.blocks == 2); /* made up for */
    assert_int_equal(port_add_memory(port[1], 1000, 0, guest[1], err), -EINVAL);
    assert_int_equal(port_add_memory(port[1], RDMA_PAGES_MAX - 1, 2, guest[1], err), -EINVAL);
    for (uint64_t i = 2; i < RDMA_BLOCKS; i++)
        assert_int_equal(port_add_memory(port[1], 1000 * i, 1, guest[1], err), 0);
    assert_int_equal(port_add_memory(port[1], 1000 * RDMA_BLOCKS, 1, guest[1], err), -EINVAL);
    close_all();
}

/* Frames and pages between three nodes over a wire that stops now and then; one starts anew. Each
 * page arrives as it was when it was sent, though it changes as soon as it is settled. */
static void test_soak(void **state)
{
    struct prng random = {.state = 99};
    uint64_t sent = 0, placed = 0;
    (void)state;
    connect_all(3);
    for (uint8_t n = 0; n < 3; n++)
        give_memory(n);
    for (uint32_t i = 0; i < 6000; i++) {
        uint8_t from = (uint8_t)prng_below(&random, 3),
                to = (uint8_t)((from + 1 + prng_below(&random, 2)) % 3);
        uint32_t what = prng_below(&random, 100);
        if (what < 40) {
            sent += send_frame(from, to, i, (uint8_t)prng_below(&random, 4),
                               16 + prng_below(&random, MTU - 16));
        } else if (what < 80) {
            /* Page p of node n comes from (n + 1) % 3 or (n + 2) % 3 by p's parity: one writer. */
            uint64_t page = 2 * prng_below(&random, PAGES / 2) + (to == (from + 1) % 3);
            uint8_t *bytes = page_at(from, page);
            fill(bytes, i, 0, PAGE);
            uint64_t before = counters_of(from).placed_tx;
            sent += send_placed(from, to, i, bytes, page);
            bool in_place = counters_of(from).placed_tx > before;
            placed += in_place;
            if (!fake.stopped) {
                port_settle(port[from], bytes, PAGE);
                if (in_place)
                    assert_true(page_is(page_at(to, page), i));
            }
        } else if (what < 83) {
            fake.stopped = !fake.stopped;
            if (!fake.stopped)
                fake_go_on();
        } else {
            round_of_all();
            for (uint8_t n = 0; n < 3; n++)
                got[n].n = 0;
        }
    }
    fake.stopped = false;
    fake_go_on();
    UNTIL(all_up());
    assert_true(sent > 3000 && placed > 1000);
    for (uint8_t n = 0; n < 3; n++)
        assert_null(port_look(port[n]));
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_in_place),
        cmocka_unit_test(test_staged_pages_wait),
        cmocka_unit_test(test_no_inline),
        cmocka_unit_test(test_sent_again),
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_late_write_of_a_former_life),
        cmocka_unit_test(test_late_write_after_fail_over),
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_memory_errors),
        cmocka_unit_test(test_slow_memory),
        cmocka_unit_test(test_registrar),
        cmocka_unit_test(test_soak),
    };
    return cmocka_run_group_tests(tests, make_guests, free_guests);
}
