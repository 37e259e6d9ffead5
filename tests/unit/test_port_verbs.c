/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs port: connections and their ends, frames, sleep, what is refused. */
#include "verbs_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void test_connects(void **state)
{
    (void)state;
    for (uint8_t first = 0; first < 2; first++) {
        begin(2);
        open_node(first);
        for (unsigned i = 0; i < 20; i++) {
            round_of_all();
            usleep(1000);
        }
        assert_null(port[first]->ops->tx_reserve(port[first], 1 - first, NULL));
        assert_int_equal(port[first]->counters.tx_unresolved, 1);
        open_node(1 - first);
        UNTIL(all_up());
        assert_null(port_look(port[0]));
        assert_string_equal(port_verbs_mode(port[0]), "fake0, RoCE v2, packets of 1024 bytes");
        assert_null(port[0]->ops->tx_reserve(port[0], 0, NULL));
        assert_null(port[0]->ops->tx_reserve(port[0], 2, NULL));
        close_all();
    }
}

static void test_every_length(void **state)
{
    (void)state;
    connect_all(2);
    for (uint8_t from = 0; from < 2; from++) {
        struct port_verbs_counters before = counters_of(from);
        uint8_t to = 1 - from;
        uint32_t ud = 0, rc = 0;
        for (uint32_t len = 1; len <= MTU; len += len < 1100 || len > 8900 ? 1 : 61) {
            uint8_t cls = (uint8_t)(len % WIRE_CLASSES);
            bool by_ud =
                len <= 1024 && (cls < WIRE_CLASS_DATA || len <= WIRE_RRDP_HEADER_MAX || len <= 4);
            got[to].n = 0;
            assert_true(send_frame(from, to, len, cls, len));
            port[from]->ops->flush(port[from]);
            receive(to);
            assert_int_equal(got[to].n, 1);
            assert_int_equal(got[to].len[0], len);
            assert_int_equal(got[to].ext_len[0], 0);
            assert_memory_equal(&got[to].src[0], &port[from]->mac, sizeof(port[from]->mac));
            ud += by_ud;
            rc += !by_ud;
        }
        assert_int_equal(counters_of(from).tx_ud - before.tx_ud, ud);
        assert_int_equal(counters_of(from).tx_rc - before.tx_rc, rc);
        assert_true(counters_of(from).asked * 2 < counters_of(from).requests);
    }
    close_all();
}

/* More than buffers, work requests and receives: what is refused is counted, the rest arrives
 * whole and, where it is one connection, in order. */
static void test_bursts(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        uint8_t cls = how == 1 ? WIRE_CLASS_URGENT : WIRE_CLASS_DATA;
        uint32_t sent = 0;
        connect_all(2);
        fake.stopped = how == 2;
        for (uint32_t i = 0; i < 3000; i++) {
            uint64_t refused = port[0]->counters.tx_full;
            bool room = send_frame(0, 1, i, cls, 150 + i % 800);
            sent += room && port[0]->counters.tx_full == refused;
            if (i % 40 == 0)
                port[0]->ops->flush(port[0]);
        }
        assert_true(how == 1 || port[0]->counters.tx_full > 0);
        assert_true(how == 1 || sent >= 200);
        if (how == 2) { /* short frames pass by those that wait */
            assert_true(send_frame(0, 1, 9999, WIRE_CLASS_URGENT, 60));
            port[0]->ops->flush(port[0]);
            receive(1);
            assert_int_equal(got[1].n, 1);
            assert_int_equal(got[1].number[0], 9999);
            got[1].n = 0;
        }
        fake.stopped = false;
        fake_go_on();
        for (unsigned i = 0; i < 50; i++) {
            port[0]->ops->flush(port[0]);
            receive(1);
        }
        assert_int_equal(port[0]->counters.tx_frames, sent + (how == 2));
        if (cls == WIRE_CLASS_DATA)
            assert_int_equal(got[1].n, sent);
        else
            assert_true(got[1].n >= VERBS_RECEIVES_MIN); /* UD's others found no buffer */
        for (uint32_t i = 1; i < got[1].n; i++)
            assert_true(got[1].number[i] > got[1].number[i - 1]);
        assert_int_equal(fake.rnr > 0, how == 0);
        got[1].n = 0;
        assert_true(send_frame(0, 1, 7, cls, 500)); /* and all goes on */
        UNTIL(got[1].n == 1);
        close_all();
    }
}

static void test_three_nodes(void **state)
{
    (void)state;
    connect_all(3);
    for (uint32_t i = 0; i < 900; i++) {
        uint8_t from = (uint8_t)(i % 3), to = (uint8_t)((from + 1 + i / 3 % 2) % 3);
        assert_true(send_frame(from, to, i, (uint8_t)(i % 4), 100 + i * 9));
        if (i % 10 == 9)
            round_of_all();
    }
    UNTIL(got[0].n + got[1].n + got[2].n == 900);
    for (uint8_t n = 0; n < 3; n++)
        for (uint32_t i = 0; i < got[n].n; i++) {
            uint8_t from = (uint8_t)(got[n].number[i] % 3);
            assert_memory_equal(&got[n].src[i], &port[from]->mac, sizeof(port[from]->mac));
        }
    close_all();
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* With frames under way: those that are lost with the old connection do not harm the new one. */
static void test_restart(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        begin(2);
        ladder = false;
        open_node(0);
        open_node(1);
        UNTIL(all_up());
        give_memory(0);
        give_memory(1);
        UNTIL(is_open(0, 1));
        uint32_t before = verbs_of(port[0])->lane[1].qp->qp_num,
                 packet = verbs_of(port[0])->peer[1].first_packet;
        fake.stopped = how == 2;
        for (uint32_t i = 0; i < 40; i++)
            assert_true(send_frame(0, 1, 1, WIRE_CLASS_DATA, 3000));
        if (how == 0)
            port[1] = port_close(port[1]);
        else
            kill_node(1);
        port[0]->ops->flush(port[0]);
        open_node(1);
        give_memory(1);
        UNTIL(state_of(0, 1) != RDMA_UP || verbs_of(port[0])->lane[1].qp->qp_num != before);
        fake.stopped = false;
        UNTIL(all_up() && is_open(0, 1));
        assert_int_not_equal(verbs_of(port[0])->lane[1].qp->qp_num, before);
        assert_int_not_equal(verbs_of(port[0])->peer[1].first_packet, packet);
        assert_int_equal(verbs_of(port[0])->slots_free, VERBS_SLOTS);
        got[1].n = 0;
        fill(page_at(0, 1), 9, 0, PAGE);
        assert_true(send_frame(0, 1, 2, WIRE_CLASS_URGENT, 60));
        assert_true(send_placed(0, 1, 3, page_at(0, 1), 1));
        UNTIL(got[1].n == 2);
        assert_true(page_is(page_at(1, 1), 9));
        assert_null(port_look(port[0]));
        close_all();
    }
}

/* On the ladder both leave; and without traffic of their own, as idle connections are tried. */
static void test_path_breaks(void **state)
{
    (void)state;
    for (unsigned idle = 0; idle < 2; idle++) {
        connect_all(2);
        fake.cut = true;
        if (!idle) {
            assert_true(send_frame(0, 1, 1, WIRE_CLASS_DATA, 4000));
            port[0]->ops->flush(port[0]);
        }
        uint64_t before = verbs_now();
        UNTIL(port_look(port[0]) != NULL || port_look(port[1]) != NULL);
        assert_true(verbs_now() - before < dead_ns / 2);
        uint8_t first = port_look(port[0]) != NULL ? 0 : 1;
        assert_non_null(strstr(port_look(port[first]), "retry counter exceeded"));
        port[first] = port_close(port[first]);
        UNTIL(port_look(port[1 - first]) != NULL);
        close_all();
    }
}

/* UD's queue pair breaks, as rxe's does for little: it is mended, and nothing of it is mixed up. */
static void test_ud_breaks(void **state)
{
    (void)state;
    connect_all(2);
    uint32_t number = verbs_of(port[0])->lane[VERBS_UD].qp->qp_num;
    for (unsigned round = 0; round < 3; round++) {
        for (uint8_t from = 0; from < 2; from++)
            for (uint32_t i = 0; i < 10; i++)
                assert_true(send_frame(from, 1 - from, i, WIRE_CLASS_URGENT, 60));
        port[1]->ops->flush(port[1]); /* node 0 has frames, and some that wait to leave */
        fake_break(number);
        if (round == 1)
            port[0]->ops->flush(port[0]);
        UNTIL(counters_of(0).ud_resets == round + 1);
        got[0].n = got[1].n = 0;
        for (uint32_t i = 0; i < 300; i++) {
            assert_true(send_frame(0, 1, i, WIRE_CLASS_URGENT, 200 + i));
            assert_true(send_frame(1, 0, i, WIRE_CLASS_URGENT, 200 + i));
            round_of_all();
        }
        UNTIL(got[0].n == 300 && got[1].n == 300);
        assert_int_equal(verbs_of(port[0])->lane[VERBS_UD].qp->qp_num, number);
        assert_null(port_look(port[0]));
        assert_int_equal(port[0]->counters.tx_full, 0);
    }
    for (unsigned i = 0; i < 100 * VERBS_UD_RESETS && port_look(port[0]) == NULL; i++) {
        if (i % 10 == 0)
            fake_break(number);
        round_of_all();
    }
    assert_non_null(port_look(port[0]));
    assert_string_equal(port_look(port[0]), "fake0: its UD queue pair: another error");
    close_all();
}

static void test_device_goes(void **state)
{
    (void)state;
    connect_all(2);
    fake_event(IBV_EVENT_PORT_ACTIVE);
    fake_event(IBV_EVENT_GID_CHANGE);
    assert_null(port_look(port[0]));
    fake_event(IBV_EVENT_DEVICE_FATAL);
    assert_string_equal(port_look(port[0]), "fake0: local catastrophic error");
    close_all();
    connect_all(2);
    fake.no_gids = true;
    fake_event(IBV_EVENT_GID_CHANGE);
    assert_string_equal(port_look(port[0]), "fake0: it has lost the address of node 0");
    close_all();
}

/* ---- what others send ---------------------------------------------------------------------- */

static void test_strangers(void **state)
{
    uint8_t bytes[64];
    uint32_t key, number;
    (void)state;
    connect_with_memory();
    write_frame(bytes, 1, 0, sizeof(bytes));
    struct verbs_port *v = verbs_of(port[0]);
    number = fake_ud_of(0, &key);
    assert_int_equal(number, v->lane[VERBS_UD].qp->qp_num);
    union ibv_gid peer = {.raw = {[10] = 0xFF, 0xFF, 127, 0, 0, 2}}, other = peer;
    uint32_t theirs = v->peer[1].rdma.theirs.ud_number;
    other.raw[15] = 3;
    assert_true(fake_inject_ud(number, key, theirs, &peer, bytes, sizeof(bytes)));
    receive(0);
    assert_int_equal(got[0].n, 1);
    assert_true(fake_inject_ud(number, key, theirs, &other, bytes, sizeof(bytes)));
    assert_true(fake_inject_ud(number, key, theirs + 77, &peer, bytes, sizeof(bytes)));
    assert_true(fake_inject_ud(number, key, theirs, &peer, bytes, 0));
    receive(0);
    assert_int_equal(got[0].n, 1);
    assert_int_equal(counters_of(0).dropped[PORT_VERBS_DROP_STRANGER], 2);
    assert_int_equal(counters_of(0).dropped[PORT_VERBS_DROP_LENGTH], 1);
    /* Places that are none, of a peer that is connected. */
    static const uint32_t none[] = {PAGES, UINT32_C(1) << RDMA_PLACE_BITS | PAGES,
                                    UINT32_C(2) << RDMA_PLACE_BITS, UINT32_MAX};
    uint32_t rc = v->lane[1].qp->qp_num;
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(none); i++)
        assert_true(fake_inject_rc(rc, bytes, sizeof(bytes), none[i]));
    receive(0);
    assert_int_equal(counters_of(0).dropped[PORT_VERBS_DROP_PLACE], PANDO_ARRAY_LEN(none));
    assert_true(fake_inject_rc(rc, bytes, sizeof(bytes), PAGES - 1));
    receive(0);
    assert_int_equal(got[0].n, 2);
    assert_ptr_equal(got[0].ext[1], page_at(0, PAGES - 1));
    assert_int_equal(port[0]->counters.rx_foreign, 3 + PANDO_ARRAY_LEN(none));
    close_all();
}

static void send_datagram(uint8_t from, const void *bytes, size_t len)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000001u + from)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    a.sin_addr.s_addr = htonl(0x7F000001u);
    a.sin_port = htons(udp_port());
    assert_int_equal(sendto(fd, bytes, len, 0, (struct sockaddr *)&a, sizeof(a)), len);
    close(fd);
}

static void test_wrong_hellos(void **state)
{
    uint8_t bytes[RDMA_HELLO_MAX];
    (void)state;
    connect_all(2);
    struct rdma_hello h = verbs_of(port[0])->peer[1].rdma.theirs;
    size_t len = rdma_hello_write(&h, bytes);
    send_datagram(1, "hello", 5);
    send_datagram(7, bytes, len);
    bytes[20] ^= 1;
    send_datagram(1, bytes, len);
    h.epoch--;
    len = rdma_hello_write(&h, bytes);
    send_datagram(1, bytes, len);
    UNTIL(counters_of(0).refused[RDMA_REFUSAL_STALE] == 1);
    assert_int_equal(counters_of(0).refused[RDMA_REFUSAL_LENGTH], 1);
    assert_int_equal(counters_of(0).refused[RDMA_REFUSAL_STRANGER], 1);
    assert_int_equal(counters_of(0).refused[RDMA_REFUSAL_CRC], 1);
    assert_true(all_up());
    assert_int_equal(counters_of(0).restarts, 0);
    close_all();
}

/* A frame over UDP is nothing here but the news that its sender is on another fabric. */
static void test_peer_elsewhere(void **state)
{
    struct wire_rrdp syn = {
        .syn = true, .first = true, .last = true, .src = 1, .dst = 0, .cluster_tag = 5};
    uint8_t frame[WIRE_RRDP_HEADER_MAX + RRDP_SYN_BYTES] = {0};
    (void)state;
    for (unsigned on_ladder = 0; on_ladder < 2; on_ladder++) {
        begin(2);
        ladder = on_ladder;
        open_node(0);
        syn.data_len = RRDP_SYN_BYTES;
        size_t len = wire_rrdp_pack(&syn, frame) + RRDP_SYN_BYTES;
        wire_rrdp_seal(frame, len);
        send_datagram(2, frame, len); /* node 2 is none */
        frame[len - 1] ^= 1;
        send_datagram(1, frame, len);
        UNTIL(counters_of(0).refused[RDMA_REFUSAL_LENGTH] == 2);
        assert_null(port_look(port[0]));
        frame[len - 1] ^= 1;
        send_datagram(1, frame, len);
        UNTIL(counters_of(0).refused[RDMA_REFUSAL_LENGTH] == 3);
        if (on_ladder)
            assert_string_equal(port_look(port[0]), "node 1: it is on another fabric");
        else
            assert_null(port_look(port[0]));
        close_all();
    }
}

/* ---- sleep --------------------------------------------------------------------------------- */

static bool readable(uint8_t n, int ms)
{
    struct pollfd p = {.fd = port[n]->ops->wait_fd(port[n]), .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void test_sleep(void **state)
{
    (void)state;
    connect_all(2);
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t cls = i % 2 == 0 ? WIRE_CLASS_URGENT : WIRE_CLASS_DATA;
        got[1].n = 0;
        if (i % 4 < 2) {
            assert_true(port[1]->ops->arm(port[1]));
            while (readable(1, 0)) /* a hello */
                port[1]->ops->disarm(port[1]);
            assert_true(port[1]->ops->arm(port[1]));
            assert_true(send_frame(0, 1, i, cls, 200));
            port[0]->ops->flush(port[0]);
            assert_true(readable(1, 1000));
            port[1]->ops->disarm(port[1]);
        } else { /* it came before */
            assert_true(send_frame(0, 1, i, cls, 200));
            port[0]->ops->flush(port[0]);
            assert_false(port[1]->ops->arm(port[1]));
        }
        receive(1);
        assert_int_equal(got[1].n, 1);
        assert_int_equal(got[1].number[0], i);
        while (readable(1, 0))
            port[1]->ops->disarm(port[1]);
    }
    close_all();
}

/* Who only sleeps hears hellos as well. */
static void test_sleeper_connects(void **state)
{
    (void)state;
    begin(2);
    open_node(0);
    open_node(1);
    for (unsigned i = 0; i < 200 && !all_up(); i++)
        for (uint8_t n = 0; n < 2; n++)
            if (port[n]->ops->arm(port[n]) && readable(n, 10))
                port[n]->ops->disarm(port[n]);
    assert_true(all_up());
    close_all();
}

/* ---- open ---------------------------------------------------------------------------------- */

static void refused(const char *device, int rc, const char *why)
{
    int is = open_as(0, device);
    if (is != rc || strstr(err, why) == NULL)
        print_message("%d: %s (should have: %s)\n", is, err, why);
    assert_int_equal(is, rc);
    assert_non_null(strstr(err, why));
    assert_int_equal(fake.objects, 0);
    begin(2);
}

static void test_open_errors(void **state)
{
    (void)state;
    begin(2);
    fake.devices = 0;
    refused("", -ENODEV, "no RDMA device here (ibv_devices): modprobe rdma_rxe");
    fake.devices = 2;
    refused("mlx5_0", -ENODEV, "no RDMA device mlx5_0 here; there are: fake0 fake1");
    fake.iwarp = true;
    refused("fake0", -ENODEV, "fake0 has no UD queue pairs");
    fake.iwarp = true;
    refused("", -ENODEV, "none of these RDMA devices will do: fake0");
    fake.no_gids = true;
    refused("", -EADDRNOTAVAIL, "fake0 has no GID (RoCE v2) for 127.0.0.1");
    fake.down = true;
    refused("fake0", -ENETDOWN, "port 1 of fake0 is not ACTIVE");
    fake.mtu = IBV_MTU_512;
    refused("", -EMSGSIZE, "packets of fake0 have 512 bytes; needed: 1024");
    for (int i = 1; i <= 3; i++) {
        fake.fail_reg = i;
        refused("", -ENOMEM, "no packet memory on fake0");
    }
    fake.fail_qp = 1;
    refused("", -ENOMEM, "no queues on fake0");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(udp_port()),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    char why[64];
    snprintf(why, sizeof(why), "no socket at port %u of node 0's address", udp_port());
    refused("", -EADDRINUSE, why);
    close(fd);
    nodes = WIRE_NODES_MAX + 1;
    refused("", -EINVAL, "fewer nodes than 65");
    fake.max_qp_wr = 64; /* a small device will do */
    fake.max_cqe = 600;
    open_node(0);
    open_node(1);
    UNTIL(all_up());
    for (uint32_t i = 0; i < 500; i++) {
        assert_true(send_frame(0, 1, i, WIRE_CLASS_DATA, 1000 + i));
        port[0]->ops->flush(port[0]);
        receive(1);
    }
    assert_int_equal(got[1].n, 500);
    close_all();
}

/* ---- all of it ----------------------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects),         cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_bursts),           cmocka_unit_test(test_three_nodes),
        cmocka_unit_test(test_restart),          cmocka_unit_test(test_path_breaks),
        cmocka_unit_test(test_device_goes),      cmocka_unit_test(test_ud_breaks),
        cmocka_unit_test(test_strangers),        cmocka_unit_test(test_wrong_hellos),
        cmocka_unit_test(test_peer_elsewhere),   cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_sleeper_connects), cmocka_unit_test(test_open_errors),
    };
    return cmocka_run_group_tests(tests, make_guests, free_guests);
}
