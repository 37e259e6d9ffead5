/* SPDX-License-Identifier: BSD-3-Clause */
/* The AF_XDP port and its program on a real interface: node FRAMES_SELF at end B, whoever sends at
 * end A. As root; exit status 77: skipped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>
#include <linux/if_link.h>

#include "bpf/steer.h"
#include "dataplane/base/bits.h"
#include "dataplane/port/af_xdp.h"
#include "tests/bpf/frames.h"
#include "tests/bpf/wires.h"

enum { SKIP = 77, PAGE = 4096 + WIRE_MSG_HEADER, SOON_MS = 2000 };

static char err[PORT_ERROR_MAX], reason[200];
static uint8_t frame[FRAMES_MAX];
static int sender;

static struct port_af_xdp config_for(const char *interface, uint16_t mtu)
{
    return (struct port_af_xdp){.interface = interface,
                                .ethertype = FRAMES_ETHERTYPE,
                                .mtu = mtu,
                                .self = FRAMES_SELF,
                                .nodes = FRAMES_NODES,
                                .cluster_id = FRAMES_CLUSTER};
}

static struct port *open_port(uint16_t mtu)
{
    struct port_af_xdp c = config_for("veth0", mtu);
    struct port *p = NULL;
    wires_enter(WIRES_B);
    if (port_open_af_xdp(&c, &p, err) != 0)
        fail_msg("%s", err);
    return p;
}

static void make_wires(unsigned mtu)
{
    if (!wires_make(mtu, false, reason))
        fail_msg("%s", reason);
    wires_enter(WIRES_A);
    sender = wires_packet_socket("veth0");
}

static void end_wires(struct port *p)
{
    port_close(p);
    close(sender);
    wires_remove();
}

static void send_data(unsigned cls, uint16_t data_len)
{
    wires_send(sender, frame, frames_data(STEER_ETHERNET, cls, data_len, frame));
}

/* Up to max frames, waiting for the first as the idle loop does. */
static uint32_t receive(struct port *p, struct port_frame *f, uint32_t max)
{
    struct pollfd w = {.fd = p->ops->wait_fd(p), .events = POLLIN};
    uint32_t n = port_rx(p, f, max);
    if (n == 0 && p->ops->arm(p))
        assert_int_equal(poll(&w, 1, SOON_MS), 1);
    p->ops->disarm(p);
    return n > 0 ? n : port_rx(p, f, max);
}

/* Complete, in one piece, as it was built. */
static void check_frame(const struct port_frame *f, unsigned cls, uint16_t data_len)
{
    const uint8_t *data;
    struct wire_rrdp h;
    uint8_t all[FRAMES_MAX];
    assert_int_equal(wire_rrdp_unpack(f->data, f->len, (uint8_t)FRAMES_CLUSTER, &h, &data),
                     WIRE_OK);
    assert_int_equal(h.cls, cls);
    assert_int_equal(h.data_len, data_len);
    frames_data(STEER_ETHERNET, cls, data_len, all);
    assert_memory_equal(f->data, all + 14, WIRE_RRDP_HEADER + data_len);
    assert_memory_equal(f->src.addr, frames_mac[FRAMES_PEER], 6);
}

static struct port_af_xdp_counters counters_of(struct port *p)
{
    struct port_af_xdp_counters c;
    assert_int_equal(port_af_xdp_counters(p, &c), 0);
    return c;
}

static void each_class_arrives_on_its_socket(void **state)
{
    (void)state;
    static const uint16_t mtus[] = {1500, 9000};
    for (unsigned m = 0; m < 2; m++) {
        uint16_t most = (uint16_t)(mtus[m] - WIRE_RRDP_HEADER);
        const uint16_t lengths[] = {0, 22, 1400, most < PAGE ? most : PAGE, most};
        make_wires(mtus[m]);
        struct port *p = open_port(mtus[m]);
        assert_non_null(strstr(port_af_xdp_mode(p), "native"));
        for (unsigned lap = 0; lap < 300; lap++)
            for (unsigned cls = 0; cls < WIRE_CLASSES; cls++) {
                struct port_frame f;
                uint16_t len = lengths[(lap + cls) % PANDO_ARRAY_LEN(lengths)];
                send_data(cls, len);
                assert_int_equal(receive(p, &f, 1), 1);
                check_frame(&f, cls, len);
            }
        struct port_af_xdp_counters c = counters_of(p);
        assert_int_equal(c.rx[STEER_CONTROL_SOCKET], 600);
        assert_int_equal(c.rx[STEER_PAGES_SOCKET], 600);
        assert_int_equal(c.dropped + c.ring_full + c.no_buffer, 0);
        /* In one piece without a copy, but for the one that lies over the end of the UMEM. */
        assert_in_range(c.assembled, 0, 2);
        assert_true(mtus[m] == 9000 || p->counters.rx_copied_bytes == 0);
        end_wires(p);
    }
}

static void control_comes_before_pages_that_came_first(void **state)
{
    (void)state;
    struct port_frame f[PORT_BURST];
    make_wires(9000);
    struct port *p = open_port(9000);
    for (unsigned i = 0; i < 8; i++)
        send_data(WIRE_CLASS_DATA, PAGE);
    send_data(WIRE_CLASS_URGENT, 22);
    usleep(20000);
    assert_int_equal(port_rx(p, f, 4), 4);
    check_frame(&f[0], WIRE_CLASS_URGENT, 22);
    check_frame(&f[3], WIRE_CLASS_DATA, PAGE);
    assert_int_equal(port_rx(p, f, PORT_BURST), 5);
    end_wires(p);
}

/* Nobody reads, and more pages come than their ring holds: an interrupt still arrives, and when
 * somebody reads again all goes on. */
static void pages_that_nobody_reads_do_not_block_control(void **state)
{
    (void)state;
    static const uint16_t mtus[] = {1500, 9000};
    for (unsigned m = 0; m < 2; m++) {
        struct port_frame f[PORT_BURST];
        uint16_t most = (uint16_t)(mtus[m] - WIRE_RRDP_HEADER);
        make_wires(mtus[m]);
        struct port *p = open_port(mtus[m]);
        for (unsigned lap = 0; lap < 3; lap++) {
            uint64_t full = counters_of(p).ring_full;
            uint32_t got = 0, n;
            for (unsigned i = 0; i < 4000; i++)
                send_data(WIRE_CLASS_DATA, most);
            assert_true(counters_of(p).ring_full > full);
            send_data(WIRE_CLASS_URGENT, 22);
            assert_int_equal(receive(p, f, PORT_BURST), PORT_BURST);
            check_frame(&f[0], WIRE_CLASS_URGENT, 22);
            for (; (n = port_rx(p, f, PORT_BURST)) > 0; got += n)
                for (unsigned i = 0; i < n; i++)
                    check_frame(&f[i], WIRE_CLASS_DATA, most);
            assert_in_range(got, 600, 4000);
            for (unsigned i = 0; i < 200; i++) {
                send_data(WIRE_CLASS_DATA, most);
                assert_int_equal(receive(p, f, 1), 1);
                check_frame(&f[0], WIRE_CLASS_DATA, most);
            }
        }
        struct port_af_xdp_counters c = counters_of(p);
        assert_int_equal(c.no_buffer, 0);
        /* Over the end of the UMEM a large frame's buffers are no neighbours: copied, and right. */
        assert_true((c.assembled > 0) == (mtus[m] > AF_XDP_STRIDE));
        assert_true((p->counters.rx_copied_bytes >= c.assembled * most) &&
                    c.assembled < c.rx[STEER_PAGES_SOCKET] / 100);
        end_wires(p);
    }
}

static void everything_else_reaches_the_kernel(void **state)
{
    (void)state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4444)};
    uint8_t got[FRAMES_MAX];
    char text[8] = "";
    make_wires(1500);
    struct port *p = open_port(1500);
    int tap = wires_packet_socket("veth0");
    send_data(WIRE_CLASS_URGENT, 22); /* ours: the kernel does not see it */
    assert_int_equal(wires_receive(tap, got, sizeof(got), 50), 0);
    size_t len = frames_data(STEER_ETHERNET, 0, 22, frame);
    frame[13]++;
    wires_send(sender, frame, len);
    assert_int_equal(wires_receive(tap, got, sizeof(got), SOON_MS), len);
    assert_memory_equal(got, frame, len);
    close(tap);
    /* IP traffic as ever: a datagram through both stacks, ARP before it. */
    assert_int_equal(system("ip addr add 10.77.0.2/24 dev veth0"), 0);
    int server = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&to, sizeof(to)), 0);
    wires_enter(WIRES_A);
    assert_int_equal(system("ip addr add 10.77.0.1/24 dev veth0"), 0);
    int client = socket(AF_INET, SOCK_DGRAM, 0);
    to.sin_addr.s_addr = inet_addr("10.77.0.2");
    assert_int_equal(sendto(client, "hello", 6, 0, (struct sockaddr *)&to, sizeof(to)), 6);
    struct pollfd w = {.fd = server, .events = POLLIN};
    assert_int_equal(poll(&w, 1, SOON_MS), 1);
    assert_int_equal(recv(server, text, sizeof(text), 0), 6);
    assert_string_equal(text, "hello");
    close(client);
    close(server);
    end_wires(p);
}

static void fenced_nodes_are_cut_off(void **state)
{
    (void)state;
    struct port_frame f;
    make_wires(1500);
    struct port *p = open_port(1500);
    assert_int_equal(port_fence(p, FRAMES_PEER, true), 0);
    for (unsigned i = 0; i < 10; i++)
        send_data(i % 4, 22);
    usleep(20000);
    assert_int_equal(port_rx(p, &f, 1), 0);
    assert_int_equal(counters_of(p).steered[STEER_FENCED], 10);
    assert_int_equal(port_fence(p, FRAMES_PEER, false), 0);
    send_data(0, 22);
    assert_int_equal(receive(p, &f, 1), 1);
    assert_int_equal(port_fence(p, WIRE_NODES_MAX, true), -EINVAL);
    end_wires(p);
}

static uint64_t fake_now(void)
{
    return 1;
}

/* What one asks of this port, one may ask of it behind a fault filter. */
static void a_fault_filter_hides_none_of_it(void **state)
{
    (void)state;
    struct port_frame f[PORT_BURST];
    struct port *outer;
    make_wires(1500);
    struct port *p = open_port(1500);
    assert_int_equal(port_open_faulty(p, &(struct port_faults){0}, fake_now, &outer), 0);
    assert_non_null(port_af_xdp_mode(outer));
    send_data(0, 22);
    send_data(2, 22);
    send_data(2, 22);
    for (uint32_t n = 0; n < 3;)
        n += receive(outer, f, PORT_BURST);
    assert_int_equal(port_fence(outer, FRAMES_PEER, true), 0);
    send_data(0, 22);
    usleep(20000);
    struct port_af_xdp_counters c = counters_of(outer);
    assert_int_equal(c.rx[STEER_CONTROL_SOCKET], 1);
    assert_int_equal(c.rx[STEER_PAGES_SOCKET], 2);
    assert_int_equal(c.steered[STEER_FENCED], 1);
    assert_int_equal(system("ip link del veth0"), 0);
    assert_non_null(outer->ops->tx_reserve(outer, FRAMES_PEER, NULL));
    outer->ops->tx_commit(outer, 100);
    outer->ops->flush(outer);
    assert_true(port_af_xdp_error(outer) < 0);
    end_wires(outer);
}

static void reasons_have_names(void **state)
{
    (void)state;
    unsigned n = 0, refused = 0;
    for (; port_af_xdp_reason(n).name != NULL; n++)
        refused += port_af_xdp_reason(n).refused;
    assert_int_equal(n, STEER_REASONS);
    assert_int_equal(refused, 7);
    assert_true(port_af_xdp_reason(STEER_FENCED).refused);
    assert_true(port_af_xdp_reason(STEER_PING_SOURCE).refused);
    assert_false(port_af_xdp_reason(STEER_OTHER).refused);
    assert_false(port_af_xdp_reason(STEER_PING).refused);
    assert_string_equal(port_af_xdp_reason(STEER_NO_SOCKET).name, "no_socket");
}

static void the_idle_loop_sleeps_on_it(void **state)
{
    (void)state;
    struct port_frame f;
    make_wires(1500);
    struct port *p = open_port(1500);
    struct pollfd w = {.fd = p->ops->wait_fd(p), .events = POLLIN};
    for (unsigned cls = 0; cls < WIRE_CLASSES; cls++) {
        assert_true(p->ops->arm(p));
        assert_int_equal(poll(&w, 1, 20), 0);
        send_data(cls, 22);
        assert_int_equal(poll(&w, 1, SOON_MS), 1);
        assert_false(p->ops->arm(p));
        p->ops->disarm(p);
        assert_int_equal(port_rx(p, &f, 1), 1);
    }
    end_wires(p);
}

static void what_leaves_is_what_was_committed(void **state)
{
    (void)state;
    struct rrdp_mac to;
    uint8_t got[FRAMES_MAX];
    make_wires(9000);
    struct port *p = open_port(9000);
    memcpy(to.addr, frames_mac[FRAMES_PEER], 6);
    for (unsigned i = 0; i < 2000; i++) {
        uint16_t len = (uint16_t)(24 + i * 37 % (9000 - 23));
        uint8_t *b = p->ops->tx_reserve(p, FRAMES_PEER, i % 3 == 0 ? NULL : &to);
        assert_non_null(b);
        assert_ptr_equal(b, p->ops->tx_reserve(p, FRAMES_PEER, i % 3 == 0 ? NULL : &to));
        for (unsigned k = 0; k < len; k++)
            b[k] = (uint8_t)(i + k);
        p->ops->tx_commit(p, len);
        p->ops->flush(p);
        assert_int_equal(wires_receive(sender, got, sizeof(got), SOON_MS), 14 + len);
        assert_int_equal(got[0], i % 3 == 0 ? 0xFF : frames_mac[FRAMES_PEER][0]);
        assert_memory_equal(got + 6, frames_mac[FRAMES_SELF], 6);
        for (unsigned k = 0; k < len; k++)
            assert_int_equal(got[14 + k], (uint8_t)(i + k));
    }
    assert_int_equal(p->counters.tx_full, 0);
    assert_int_equal(p->counters.tx_copied_bytes, 0);
    assert_int_equal(counters_of(p).tx_invalid, 0);
    /* Without a flush the slots run out, which is said; with one they come back. */
    uint32_t n = 0;
    while (p->ops->tx_reserve(p, FRAMES_PEER, &to) != NULL) {
        p->ops->tx_commit(p, 9000);
        n++;
    }
    assert_in_range(n, 200, 512);
    assert_int_equal(p->counters.tx_full, 1);
    for (unsigned i = 0; i < 100 && p->ops->tx_reserve(p, FRAMES_PEER, &to) == NULL; i++) {
        p->ops->flush(p);
        usleep(1000);
    }
    assert_non_null(p->ops->tx_reserve(p, FRAMES_PEER, &to));
    assert_int_equal(port_af_xdp_error(p), 0);
    /* The interface goes away: said, and nothing worse. */
    assert_int_equal(system("ip link del veth0"), 0);
    p->ops->tx_commit(p, 100);
    p->ops->flush(p);
    assert_true(port_af_xdp_error(p) < 0);
    end_wires(p);
}

/* ---- another process ----------------------------------------------------------------------- */

/* A process that holds the port at B until it is killed; returns when it has opened it. */
static pid_t start_holder(void)
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct port_af_xdp cfg = config_for("veth0", 1500);
        struct port *p;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no holder behind */
        wires_enter(WIRES_B);
        if (port_open_af_xdp(&cfg, &p, err) != 0 || write(ready[1], "r", 1) != 1) {
            printf("%s\n", err);
            fflush(stdout);
            _exit(1);
        }
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return pid;
}

static void kill_holder(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void a_second_process_is_refused_and_a_successor_is_not(void **state)
{
    (void)state;
    struct port_af_xdp c = config_for("veth0", 1500);
    struct port *p = NULL;
    make_wires(1500);
    for (unsigned i = 0; i < 20; i++) {
        pid_t pid = start_holder();
        wires_enter(WIRES_B);
        assert_int_equal(port_open_af_xdp(&c, &p, err), -EBUSY);
        assert_null(p);
        assert_non_null(strstr(err, "veth0 has an XDP program already: pando_steer"));
        kill_holder(pid);
        /* Nothing is left: no program on the interface, and the next one opens. */
        __u32 id = 1;
        for (unsigned k = 0; k < 100 && id != 0; k++) {
            assert_int_equal(bpf_xdp_query_id((int)if_nametoindex("veth0"), 0, &id), 0);
            usleep(id != 0 ? 10000 : 0);
        }
        assert_int_equal(id, 0);
        p = port_close(open_port(1500));
    }
    end_wires(p);
}

static void ping_is_answered_for_a_process_that_stands_still(void **state)
{
    (void)state;
    struct steer *pass = NULL;
    const uint8_t *data;
    struct wire_rrdp h;
    make_wires(1500);
    pid_t pid = start_holder();
    assert_int_equal(kill(pid, SIGSTOP), 0);
    wires_enter(WIRES_A); /* an end into which XDP sends needs a program, too */
    assert_int_equal(steer_open(NULL, &pass, err), 0);
    assert_int_equal(steer_attach(pass, "veth0", err), 0);
    for (uint32_t i = 0; i < 20; i++) {
        uint8_t got[FRAMES_MAX];
        wires_send(sender, frame, frames_ping(STEER_ETHERNET, i, ~i, frame));
        size_t len = wires_receive(sender, got, sizeof(got), SOON_MS);
        assert_int_equal(len, 60);
        assert_int_equal(wire_rrdp_unpack(got + 14, len - 14, (uint8_t)FRAMES_CLUSTER, &h, &data),
                         WIRE_OK);
        assert_true(wire_rrdp_is_ping(&h) && h.ack_valid && h.credit == WIRE_PING_BY_KERNEL);
        assert_true(h.seq == i && h.ack == ~i && h.src == FRAMES_SELF);
    }
    steer_close(pass);
    kill_holder(pid);
    end_wires(NULL);
}

/* ---- errors in words ----------------------------------------------------------------------- */

static void expect_error(struct port_af_xdp c, int rc, const char *words)
{
    struct port *p = NULL;
    err[0] = 0;
    assert_int_equal(port_open_af_xdp(&c, &p, err), rc);
    assert_null(p);
    if (strstr(err, words) == NULL)
        fail_msg("'%s' does not say '%s'", err, words);
}

static void two_nodes_on_one_interface(void **state)
{
    (void)state;
    uint8_t got[FRAMES_MAX];
    make_wires(1500);
    pid_t pid = start_holder();
    wires_enter(WIRES_B);
    struct port_af_xdp c = config_for("veth0", 1500);
    expect_error(c, -EBUSY, "it is this very node's (1): end its process first");
    c.self = 2;
    expect_error(c, -EBUSY, "node 1 of this cluster has it: each node needs an interface");
    c.cluster_id++;
    expect_error(c, -EBUSY, "node 1 of another cluster has it, and all frames of EtherType 0x88B5");
    expect_error(c, -EBUSY, "or af_packet with another fabric.ethertype");
    c.ethertype++;
    expect_error(c, -EBUSY, "node 1 of another cluster has it: take another interface, or af_p");
    /* As it was said: af_packet sees what bears another number, and only that. */
    int tap = wires_packet_socket("veth0");
    size_t len = frames_data(STEER_ETHERNET, 0, 22, frame);
    frame[14 + 7]++; /* of that cluster */
    wires_send(sender, frame, len);
    assert_int_equal(wires_receive(tap, got, sizeof(got), 50), 0);
    frame[13]++;
    wires_send(sender, frame, len);
    assert_int_equal(wires_receive(tap, got, sizeof(got), SOON_MS), len);
    close(tap);
    kill_holder(pid);
    end_wires(NULL);
}

/* Somebody else's program, libxdp's dispatcher by its name among them, is left where it is. */
static void foreign_programs_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"xdp_dispatcher", "foreign"};
    static const char *const words[] = {"libxdp's dispatcher", "ip link set dev veth0 xdp off"};
    /* r0 = XDP_PASS; exit */
    static const struct bpf_insn pass[] = {{.code = 0xB7, .imm = XDP_PASS}, {.code = 0x95}};
    make_wires(1500);
    wires_enter(WIRES_B);
    int ifindex = (int)if_nametoindex("veth0");
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(names); i++) {
        __u32 before = 0, after = 0;
        int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, names[i], "GPL", pass, 2, NULL);
        assert_true(fd >= 0);
        assert_int_equal(bpf_xdp_attach(ifindex, fd, XDP_FLAGS_DRV_MODE, NULL), 0);
        close(fd);
        assert_int_equal(bpf_xdp_query_id(ifindex, 0, &before), 0);
        expect_error(config_for("veth0", 1500), -EBUSY, words[i]);
        assert_int_equal(bpf_xdp_query_id(ifindex, 0, &after), 0);
        assert_true(before != 0 && before == after);
        assert_int_equal(bpf_xdp_detach(ifindex, 0, NULL), 0);
    }
    end_wires(NULL);
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    make_wires(1500);
    wires_enter(WIRES_B);
    struct port_af_xdp c = config_for("veth0", 1500);
    c.queue = 7;
    expect_error(c, -ENXIO, "ethtool -l veth0");
    expect_error(config_for("nowhere", 1500), -ENODEV, "ip link");
    expect_error(config_for("an-interface-with-a-long-name", 1500), -ENODEV, "ip link");
    expect_error(config_for("veth0", 1501), -EMSGSIZE, "ip link set veth0 mtu 1501");
    expect_error(config_for("veth0", 9001), -EINVAL, "9000");
    pid_t pid = fork();
    if (pid == 0) {
        struct port *p = NULL;
        c = config_for("veth0", 1500);
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(2);
        _exit(port_open_af_xdp(&c, &p, err) == -EPERM && strstr(err, "run as root") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(system("ip link set veth0 down"), 0);
    expect_error(config_for("veth0", 1500), -ENETDOWN, "ip link set veth0 up");
    end_wires(NULL);
}

/* A device whose driver has no XDP: the kernel's generic mode, and it says why. */
static void generic_mode_is_the_fallback(void **state)
{
    (void)state;
    struct port *p = NULL;
    make_wires(1500);
    wires_enter(WIRES_B);
    struct port_af_xdp c = config_for("lo", 9000);
    if (port_open_af_xdp(&c, &p, err) != 0)
        fail_msg("%s", err);
    assert_non_null(strstr(port_af_xdp_mode(p), "generic"));
    assert_non_null(strstr(port_af_xdp_mode(p), "the driver of lo refuses"));
    int s = wires_packet_socket("lo");
    struct port_frame f;
    size_t len = frames_data(STEER_ETHERNET, 2, 1400, frame);
    memset(frame, 0, 6); /* lo's address */
    wires_send(s, frame, len);
    assert_int_equal(receive(p, &f, 1), 1);
    check_frame(&f, 2, 1400);
    close(s);
    end_wires(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_class_arrives_on_its_socket),
        cmocka_unit_test(control_comes_before_pages_that_came_first),
        cmocka_unit_test(pages_that_nobody_reads_do_not_block_control),
        cmocka_unit_test(everything_else_reaches_the_kernel),
        cmocka_unit_test(fenced_nodes_are_cut_off),
        cmocka_unit_test(a_fault_filter_hides_none_of_it),
        cmocka_unit_test(reasons_have_names),
        cmocka_unit_test(the_idle_loop_sleeps_on_it),
        cmocka_unit_test(what_leaves_is_what_was_committed),
        cmocka_unit_test(a_second_process_is_refused_and_a_successor_is_not),
        cmocka_unit_test(ping_is_answered_for_a_process_that_stands_still),
        cmocka_unit_test(two_nodes_on_one_interface),
        cmocka_unit_test(foreign_programs_stay),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(generic_mode_is_the_fallback),
    };
    if (geteuid() != 0) {
        printf("skipped: network namespaces and XDP need root\n");
        return SKIP;
    }
    int s = socket(44, SOCK_RAW, 0); /* AF_XDP */
    if (s < 0 || !wires_make(1500, false, reason)) {
        printf("skipped: %s\n", s < 0 ? "this kernel has no AF_XDP" : reason);
        return SKIP;
    }
    close(s);
    wires_remove();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
