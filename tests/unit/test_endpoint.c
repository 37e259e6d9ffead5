/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport as a socket (dataplane/endpoint) over real ports: content, order, limits, restart,
 * close, what is not ours. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/endpoint/endpoint.h"
#include "dataplane/port/frame.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

enum { MTU = 1500, MESSAGES = 400 };

static uint8_t bytes[ENDPOINT_BYTES_MAX];

static struct endpoint *open_on(struct port *p, uint8_t self)
{
    struct endpoint_config c;
    struct endpoint *ep;
    endpoint_defaults(&c, p);
    c.rrdp.self = self;
    c.rrdp.cluster_id = 7;
    c.buffers = 4;
    assert_int_equal(endpoint_open(&c, p, &ep), 0);
    return ep;
}

/* Polls both; true if a got something. */
static bool step(struct endpoint *a, struct endpoint *b, struct endpoint_message *m)
{
    struct endpoint_message other;
    (void)endpoint_receive(b, 0, &other);
    return endpoint_receive(a, 0, m) == 0;
}

/* Until a has a message of the type, and says whose events it passed over. */
static struct endpoint_message await(struct endpoint *a, struct endpoint *b,
                                     enum endpoint_type type)
{
    struct endpoint_message m;
    uint64_t end = endpoint_now() + 10 * SECOND;
    while (endpoint_now() < end)
        if (step(a, b, &m) && m.type == type)
            return m;
    fail_msg("no message of type %d", type);
    return m;
}

static void connect_both(struct endpoint *a, struct endpoint *b)
{
    struct endpoint_message m;
    uint64_t end = endpoint_now() + 10 * SECOND;
    while (!(endpoint_up(a, 1) && endpoint_up(b, 0)) && endpoint_now() < end)
        (void)step(a, b, &m);
    assert_true(endpoint_up(a, 1) && endpoint_up(b, 0));
}

static void open_pair(struct endpoint **ret_a, struct endpoint **ret_b)
{
    struct port *a, *b;
    assert_int_equal(port_open_pair(MTU, &a, &b), 0);
    *ret_a = open_on(a, 0);
    *ret_b = open_on(b, 1);
}

static void fill(uint64_t seed, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i + seed) * 0x9E3779B1u >> 16);
}

static void messages_of_each_length_arrive_as_they_were_sent(void **state)
{
    (void)state;
    static const uint32_t lens[] = {0,    1,    19,   20,   21,   61,   62,    63,
                                    1400, 1450, 1500, 4096, 4097, 8192, 16383, ENDPOINT_BYTES_MAX};
    struct endpoint *a, *b;
    open_pair(&a, &b);
    connect_both(a, b);
    for (uint32_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
        for (uint8_t cls = 0; cls < WIRE_CLASSES; cls++) {
            if (cls == WIRE_CLASS_URGENT && lens[i] > ENDPOINT_URGENT_BYTES)
                continue;
            fill(i + cls, lens[i]);
            assert_int_equal(endpoint_send(a, 1, cls, bytes, lens[i], false), 0);
            struct endpoint_message m = await(b, a, ENDPOINT_DATA);
            assert_int_equal(m.peer, 0);
            assert_int_equal(m.cls, cls);
            assert_int_equal(m.len, lens[i]);
            assert_memory_equal(m.data, bytes, lens[i]);
            /* What the caller holds stays while it sends: an answer out of the message itself. */
            assert_int_equal(endpoint_send(b, 0, cls, m.data, m.len, false), 0);
            assert_memory_equal(m.data, bytes, lens[i]);
            m = await(a, b, ENDPOINT_DATA);
            assert_int_equal(m.len, lens[i]);
            assert_memory_equal(m.data, bytes, lens[i]);
        }
    assert_int_equal(endpoint_close(a, 0), 0);
    assert_int_equal(endpoint_close(b, 0), 0);
}

static void what_is_out_of_range_is_refused(void **state)
{
    (void)state;
    struct endpoint *a, *b, *none = NULL;
    struct endpoint_config c;
    struct endpoint_message m;
    struct port *p, *q;
    assert_int_equal(port_open_pair(MTU, &p, &q), 0);
    endpoint_defaults(&c, p);
    c.rrdp.self = 2; /* of 2 nodes */
    assert_int_equal(endpoint_open(&c, p, &none), -EINVAL);
    endpoint_defaults(&c, q);
    c.rrdp.mtu = MTU + 1;
    assert_int_equal(endpoint_open(&c, q, &none), -EINVAL);
    assert_int_equal(port_open_pair(MTU, &p, &q), 0);
    endpoint_defaults(&c, p);
    c.buffers = 0;
    assert_int_equal(endpoint_open(&c, p, &none), -EINVAL);
    c.buffers = ENDPOINT_BUFFERS_MAX + 1;
    assert_int_equal(endpoint_open(&c, q, &none), -EINVAL);
    assert_null(none);

    open_pair(&a, &b);
    assert_int_equal(endpoint_send(a, 1, 0, bytes, 1, false), -ENOTCONN);
    connect_both(a, b);
    assert_int_equal(endpoint_send(a, 0, 0, bytes, 1, false), -EINVAL); /* itself */
    assert_int_equal(endpoint_send(a, 2, 0, bytes, 1, false), -EINVAL);
    assert_int_equal(endpoint_send(a, 1, WIRE_CLASSES, bytes, 1, false), -EINVAL);
    assert_int_equal(endpoint_send(a, 1, 0, bytes, ENDPOINT_BYTES_MAX + 1, false), -EINVAL);
    assert_int_equal(
        endpoint_send(a, 1, WIRE_CLASS_URGENT, bytes, ENDPOINT_URGENT_BYTES + 1, false), -EINVAL);
    assert_int_equal(endpoint_host_ping(a, 2, 1, 1), -EINVAL);
    assert_int_equal(endpoint_counters(a)->sent, 0);
    while (endpoint_receive(a, 0, &m) == 0)
        ;
    uint64_t before = endpoint_now();
    assert_int_equal(endpoint_receive(a, 20 * MS, &m), -EAGAIN);
    assert_in_range(endpoint_now() - before, 20 * MS, SECOND);
    endpoint_close(a, 0);
    endpoint_close(b, 0);
    assert_int_equal(endpoint_close(NULL, 0), 0);
}

static void a_full_endpoint_says_again_and_recovers(void **state)
{
    (void)state;
    struct endpoint *a, *b;
    struct endpoint_message m;
    uint32_t sent = 0, got = 0, room[WIRE_CLASSES] = {0};
    open_pair(&a, &b);
    connect_both(a, b);
    while (endpoint_send(a, 1, WIRE_CLASS_REQUEST, bytes, 62, true) == 0) /* without buffers */
        sent++;
    assert_int_equal(sent, RRDP_QUEUE);
    for (unsigned i = 0; i < 8; i++) /* refused by the queue: no buffer is lost */
        assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_REQUEST, bytes, 4096, true), -EAGAIN);
    while (endpoint_send(a, 1, WIRE_CLASS_DATA, bytes, 4096, true) == 0)
        sent++;
    assert_int_equal(sent, RRDP_QUEUE + 4); /* buffers */
    for (uint64_t end = endpoint_now() + 10 * SECOND; got < sent && endpoint_now() < end;)
        if (step(b, a, &m) && m.type == ENDPOINT_DATA)
            got++;
    assert_int_equal(got, sent);
    for (uint64_t end = endpoint_now() + 10 * SECOND;
         !rrdp_idle(endpoint_rrdp(a)) && endpoint_now() < end;)
        (void)step(a, b, &m);
    (void)step(a, b, &m);
    (void)step(a, b, &m);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_DATA, bytes, 4096, true), 0);
    /* Refused once more, it hears of the room as soon as there is some, once. */
    assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_DATA, bytes, 4096, true), -EAGAIN);
    for (uint64_t end = endpoint_now() + SECOND / 5; endpoint_now() < end;)
        if (step(a, b, &m) && m.type == ENDPOINT_ROOM) {
            assert_int_equal(m.peer, 1);
            room[m.cls]++;
        }
    for (unsigned c = 0; c < WIRE_CLASSES; c++)
        assert_int_equal(room[c], c == WIRE_CLASS_DATA);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_DATA, bytes, 4096, true), 0);
    endpoint_close(a, 0);
    endpoint_close(b, 0);
}

static uint32_t length_of(uint8_t cls, uint32_t number)
{
    uint32_t max = cls == WIRE_CLASS_URGENT ? ENDPOINT_URGENT_BYTES : ENDPOINT_BYTES_MAX;
    return 4 + (number * 977 + cls) % (max - 3);
}

/* Every class in order, each message once and whole, whatever the port does to frames. */
static void run_in_order(struct endpoint *a, struct endpoint *b)
{
    uint32_t next[WIRE_CLASSES] = {0}, want[WIRE_CLASSES] = {0}, got = 0;
    struct prng rng;
    struct endpoint_message m;
    rng.state = 5;
    connect_both(a, b);
    for (uint64_t end = endpoint_now() + 60 * SECOND;
         got < MESSAGES * WIRE_CLASSES && endpoint_now() < end;) {
        uint8_t cls = (uint8_t)(prng_next(&rng) % WIRE_CLASSES);
        uint32_t len = length_of(cls, next[cls]);
        if (next[cls] < MESSAGES) {
            fill(next[cls], len);
            put_le32(bytes, next[cls]);
            if (endpoint_send(a, 1, cls, bytes, len, prng_next(&rng) % 2 == 0) == 0)
                next[cls]++;
        }
        if (!step(b, a, &m) || m.type != ENDPOINT_DATA)
            continue;
        len = length_of(m.cls, want[m.cls]);
        fill(want[m.cls], len);
        put_le32(bytes, want[m.cls]);
        assert_int_equal(m.len, len);
        assert_memory_equal(m.data, bytes, len);
        want[m.cls]++;
        got++;
    }
    assert_int_equal(got, MESSAGES * WIRE_CLASSES);
    assert_int_equal(endpoint_counters(b)->received, got);
}

static void a_bad_port_changes_nothing(void **state)
{
    (void)state;
    struct port *p, *q, *bad[2]; /* each spoils what its end receives */
    struct port_faults f = {.seed = 3,
                            .drop_ppm = 20000,
                            .duplicate_ppm = 20000,
                            .reorder_ppm = 20000,
                            .corrupt_ppm = 20000};
    assert_int_equal(port_open_pair(MTU, &p, &q), 0);
    assert_int_equal(port_open_faulty(p, &f, endpoint_now, &bad[0]), 0);
    assert_int_equal(port_open_faulty(q, &f, endpoint_now, &bad[1]), 0);
    struct endpoint *a = open_on(bad[0], 0), *b = open_on(bad[1], 1);
    run_in_order(a, b);
    const struct port_fault_counters *c = port_fault_counters(bad[1]);
    assert_true(c->dropped > 0 && c->duplicated > 0 && c->reordered > 0 && c->corrupted > 0);
    assert_true(rrdp_counters(endpoint_rrdp(b), 0)->out_of_order > 0);
    endpoint_close(a, 0);
    endpoint_close(b, 0);
}

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/dev/shm/pando-endpoint-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

/* Closing left nothing; what a test that failed left is removed here. */
static int remove_dir(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    if (d == NULL)
        return 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    (void)rmdir(dir);
    return -1;
}

static struct port *shm_port_of(uint8_t self, uint8_t nodes)
{
    char err[PORT_ERROR_MAX];
    struct port *p;
    if (port_open_shm(dir, self, nodes, RRDP_MTU_MAX, &p, err) != 0)
        fail_msg("%s", err);
    return p;
}

static struct port *shm_port(uint8_t self)
{
    return shm_port_of(self, 2);
}

/* A peer that takes nothing more keeps the buffers, but nobody from hearing of room elsewhere. */
static void room_for_one_does_not_wait_for_another(void **state)
{
    (void)state;
    struct endpoint *ep[3];
    struct endpoint_message m;
    uint32_t room = 0;
    for (uint8_t n = 0; n < 3; n++) {
        struct port *p = shm_port_of(n, 3);
        struct endpoint_config c;
        endpoint_defaults(&c, p);
        c.rrdp.self = n;
        c.rrdp.nodes = 3;
        c.rrdp.dead_ns = 60 * SECOND;
        c.buffers = 4;
        assert_int_equal(endpoint_open(&c, p, &ep[n]), 0);
    }
    for (uint64_t end = endpoint_now() + 10 * SECOND; endpoint_now() < end;) {
        if (endpoint_up(ep[0], 1) && endpoint_up(ep[0], 2))
            break;
        for (unsigned n = 0; n < 3; n++)
            (void)endpoint_receive(ep[n], 0, &m);
    }
    while (endpoint_send(ep[0], 2, WIRE_CLASS_DATA, bytes, 4096, true) == 0)
        ;
    while (endpoint_send(ep[0], 1, WIRE_CLASS_REQUEST, bytes, 10, true) == 0)
        ;
    for (uint64_t end = endpoint_now() + 5 * SECOND; room == 0 && endpoint_now() < end;)
        if (step(ep[0], ep[1], &m) && m.type == ENDPOINT_ROOM) {
            assert_int_equal(m.peer, 1);
            assert_int_equal(m.cls, WIRE_CLASS_REQUEST);
            room++;
        }
    assert_int_equal(room, 1);
    for (unsigned n = 0; n < 3; n++)
        endpoint_close(ep[n], 0);
}

static void shared_memory_carries_the_same(void **state)
{
    (void)state;
    struct endpoint *a = open_on(shm_port(0), 0), *b = open_on(shm_port(1), 1);
    run_in_order(a, b);
    endpoint_close(a, 0);
    endpoint_close(b, 0);
    assert_int_not_equal(access(dir, F_OK), 0);
}

/* A message that was begun in the former life is not continued in the next. */
static void a_peer_that_restarts_is_down_then_up(void **state)
{
    (void)state;
    struct endpoint_message m;
    struct endpoint *a = open_on(shm_port(0), 0), *b = open_on(shm_port(1), 1);
    connect_both(a, b);
    uint64_t epoch = rrdp_peer_epoch(endpoint_rrdp(b), 0);
    endpoint_close(a, 0);
    a = open_on(shm_port(0), 0);
    m = await(b, a, ENDPOINT_DOWN);
    assert_int_equal(m.peer, 0);
    m = await(b, a, ENDPOINT_UP);
    assert_int_equal(m.peer, 0);
    assert_true(m.value > epoch);
    connect_both(a, b);
    fill(1, 5000);
    assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_BULK, bytes, 5000, false), 0);
    m = await(b, a, ENDPOINT_DATA);
    assert_int_equal(m.len, 5000);
    assert_memory_equal(m.data, bytes, 5000);
    endpoint_close(a, 0);
    endpoint_close(b, 0);
}

struct receiver {
    struct endpoint *ep;
    uint32_t got;
    uint64_t down, sleeps;
};

static void *receive_until_down(void *context)
{
    struct receiver *r = context;
    struct endpoint_message m;
    for (uint64_t end = endpoint_now() + 10 * SECOND; endpoint_now() < end;) {
        if (endpoint_receive(r->ep, SECOND, &m) != 0)
            continue;
        r->got += m.type == ENDPOINT_DATA;
        if (m.type == ENDPOINT_DOWN) {
            r->down = m.value;
            break;
        }
    }
    r->sleeps = endpoint_counters(r->ep)->sleeps;
    return NULL;
}

/* A receiver that sleeps is woken; close delivers everything first; then the peer is told. */
static void close_delivers_what_was_sent(void **state)
{
    (void)state;
    pthread_t thread;
    struct endpoint_message m;
    struct endpoint *a = open_on(shm_port(0), 0), *b = open_on(shm_port(1), 1);
    struct receiver r = {.ep = b};
    connect_both(a, b);
    while (step(a, b, &m) || endpoint_receive(b, 0, &m) == 0)
        ;
    assert_int_equal(pthread_create(&thread, NULL, receive_until_down, &r), 0);
    usleep(50000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(endpoint_send(a, 1, WIRE_CLASS_BULK, bytes, ENDPOINT_BYTES_MAX, true), 0);
    assert_int_equal(endpoint_close(a, 5 * SECOND), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.got, 4);
    assert_int_equal(r.down, RRDP_DOWN_CLOSED);
    assert_true(r.sleeps > 0);
    endpoint_close(b, 0);
}

static void nobody_to_take_it_is_a_time_out(void **state)
{
    (void)state;
    struct endpoint *a, *b;
    open_pair(&a, &b);
    connect_both(a, b);
    assert_int_equal(endpoint_send(a, 1, 0, bytes, 10, false), 0);
    assert_int_equal(endpoint_close(a, 20 * MS), -ETIMEDOUT);
    endpoint_close(b, 0);
}

static void a_file_descriptor_ends_the_wait(uint64_t spin_ns)
{
    struct port *p, *q;
    struct endpoint_config c;
    struct endpoint *a;
    struct endpoint_message m;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(port_open_pair(MTU, &p, &q), 0);
    endpoint_defaults(&c, p);
    c.wake_fd = fd[0];
    c.spin_ns = spin_ns;
    assert_int_equal(endpoint_open(&c, p, &a), 0);
    assert_int_equal(endpoint_receive(a, 10 * MS, &m), -EAGAIN);
    assert_int_equal(write(fd[1], "x", 1), 1);
    assert_int_equal(endpoint_receive(a, ENDPOINT_FOREVER, &m), -EINTR);
    endpoint_close(a, 0);
    port_close(q);
    close(fd[0]);
    close(fd[1]);
}

static void a_file_descriptor_wakes_a_sleeper_and_a_spinner(void **state)
{
    (void)state;
    a_file_descriptor_ends_the_wait(0);
    a_file_descriptor_ends_the_wait(UINT64_MAX);
}

/* Its process is killed: that is known long before dead_ns is over. */
static void a_peer_whose_process_ended_is_gone(void **state)
{
    (void)state;
    struct endpoint_config c;
    struct endpoint_message m = {0};
    struct endpoint *a;
    pid_t child = fork();
    if (child == 0) {
        struct endpoint *b = open_on(shm_port(1), 1);
        while (endpoint_receive(b, SECOND, &m) != 0 || m.type != ENDPOINT_DATA)
            ;
        raise(SIGKILL);
    }
    struct port *p = shm_port(0);
    endpoint_defaults(&c, p);
    c.rrdp.cluster_id = 7;
    c.rrdp.dead_ns = 60 * SECOND;
    assert_int_equal(endpoint_open(&c, p, &a), 0);
    for (uint64_t end = endpoint_now() + 10 * SECOND; endpoint_now() < end;) {
        if (endpoint_receive(a, SECOND, &m) == 0 && m.type == ENDPOINT_UP)
            assert_int_equal(endpoint_send(a, 1, 0, bytes, 10, false), 0);
        if (m.type == ENDPOINT_DOWN)
            break;
    }
    assert_int_equal(m.type, ENDPOINT_DOWN);
    assert_int_equal(m.value, RRDP_DOWN_GONE);
    assert_int_equal(waitpid(child, NULL, 0), child);
    endpoint_close(a, 0);
    endpoint_close(open_on(shm_port(1), 1), 0); /* removes what the killed one left */
}

static void the_process_answers_a_host_ping(void **state)
{
    (void)state;
    struct endpoint *a, *b;
    open_pair(&a, &b);
    connect_both(a, b);
    assert_int_equal(endpoint_host_ping(a, 1, 0x1234, 0xABCD), 0);
    struct endpoint_message m = await(a, b, ENDPOINT_PONG);
    assert_int_equal(m.peer, 1);
    assert_int_equal(m.by, WIRE_PING_BY_PROCESS);
    assert_true(m.value == (UINT64_C(0xABCD) << 32 | 0x1234));
    endpoint_close(a, 0);
    endpoint_close(b, 0);
}

static void who_was_away_does_not_take_its_peers_for_dead(void **state)
{
    (void)state;
    struct port *p[2];
    struct endpoint *ep[2];
    struct endpoint_config c;
    struct endpoint_message m;
    assert_int_equal(port_open_pair(MTU, &p[0], &p[1]), 0);
    for (uint8_t n = 0; n < 2; n++) {
        endpoint_defaults(&c, p[n]);
        c.rrdp.self = n;
        c.rrdp.heartbeat_ns = 20 * MS;
        c.rrdp.dead_ns = 200 * MS;
        assert_int_equal(endpoint_open(&c, p[n], &ep[n]), 0);
    }
    connect_both(ep[0], ep[1]);
    usleep(300000);
    for (uint64_t end = endpoint_now() + 100 * MS; endpoint_now() < end;)
        if (step(ep[0], ep[1], &m))
            assert_int_not_equal(m.type, ENDPOINT_DOWN);
    usleep(300000);
    for (uint64_t end = endpoint_now() + 100 * MS; endpoint_now() < end;)
        if (step(ep[1], ep[0], &m))
            assert_int_not_equal(m.type, ENDPOINT_DOWN);
    assert_true(endpoint_up(ep[0], 1) && endpoint_up(ep[1], 0));
    endpoint_close(ep[0], 0);
    endpoint_close(ep[1], 0);
}

/* What a peer with the same cluster and configuration may say that is not ours. */
static void strange_messages_are_counted(void **state)
{
    (void)state;
    static uint8_t big[ENDPOINT_BYTES_MAX + 200];
    static const struct {
        uint8_t kind, count;
        uint16_t inline_len;
        uint32_t payload_len;
        bool kind_dropped, length_dropped;
    } strange[] = {
        {WIRE_GETS, 0, WIRE_MSG_HEADER, 0, true, false},
        {0xFF, 0, 40, 5000, true, false},
        {ENDPOINT_KIND, 21, WIRE_MSG_HEADER, 0, false, true},
        {ENDPOINT_KIND, 255, 64, 0, false, true},
        {ENDPOINT_KIND, 19, 23, 0, false, true},
        {ENDPOINT_KIND, 20, WIRE_MSG_HEADER, ENDPOINT_BYTES_MAX, false, true},
        {ENDPOINT_KIND, 20, 64, ENDPOINT_BYTES_MAX - 62, false, false},
        {ENDPOINT_KIND, 0, WIRE_MSG_HEADER, 0, false, false},
    };
    struct endpoint_config c;
    struct port *p, *q;
    struct endpoint_message m;
    assert_int_equal(port_open_pair(MTU, &p, &q), 0);
    endpoint_defaults(&c, p);
    c.rrdp.cluster_id = 7;
    c.rrdp.self = 1;
    void *memory = aligned_alloc(64, (rrdp_size(&c.rrdp) + 63) & ~(size_t)63);
    struct rrdp *peer = rrdp_init(memory, &c.rrdp, endpoint_now());
    struct endpoint *b = open_on(q, 0);
    uint64_t kind = 0, length = 0, received = 0;
    uint32_t at = 0, n = sizeof(strange) / sizeof(strange[0]);
    for (uint64_t end = endpoint_now() + 10 * SECOND; endpoint_now() < end;) {
        static struct rrdp_segments segments;
        struct port_frame f[PORT_BURST];
        struct rrdp_frame out;
        struct rrdp_event ev;
        uint32_t copied, frames = port_rx(p, f, PORT_BURST);
        for (uint32_t i = 0; i < frames; i++)
            rrdp_receive(peer, endpoint_now(), f[i].src, f[i].data, f[i].len, &segments);
        rrdp_tick(peer, endpoint_now());
        while (rrdp_event(peer, &ev))
            ;
        if (at < n && rrdp_peer_up(peer, 0)) {
            uint8_t head[RRDP_MSG_INLINE] = {strange[at].kind, strange[at].count};
            assert_int_equal(rrdp_send(peer, 0, WIRE_CLASS_BULK, head, strange[at].inline_len, 0,
                                       strange[at].payload_len, false, 0),
                             0);
            kind += strange[at].kind_dropped;
            length += strange[at].length_dropped;
            received += !strange[at].kind_dropped && !strange[at].length_dropped;
            at++;
        }
        while (rrdp_transmit(peer, endpoint_now(), &out))
            (void)port_put_frame(p, &out, big + out.payload_offset, &copied);
        p->ops->flush(p);
        while (endpoint_receive(b, 0, &m) == 0)
            ;
        if (at == n && rrdp_idle(peer))
            break;
    }
    const struct endpoint_counters *e = endpoint_counters(b);
    assert_int_equal(e->dropped_kind, kind);
    assert_int_equal(e->dropped_length, length);
    assert_int_equal(e->received, received);
    assert_true(endpoint_up(b, 1));
    endpoint_close(b, 0);
    port_close(p);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_each_length_arrive_as_they_were_sent),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(a_full_endpoint_says_again_and_recovers),
        cmocka_unit_test(a_bad_port_changes_nothing),
        cmocka_unit_test_setup_teardown(shared_memory_carries_the_same, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(room_for_one_does_not_wait_for_another, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_peer_that_restarts_is_down_then_up, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(close_delivers_what_was_sent, make_dir, remove_dir),
        cmocka_unit_test(nobody_to_take_it_is_a_time_out),
        cmocka_unit_test(a_file_descriptor_wakes_a_sleeper_and_a_spinner),
        cmocka_unit_test_setup_teardown(a_peer_whose_process_ended_is_gone, make_dir, remove_dir),
        cmocka_unit_test(the_process_answers_a_host_ping),
        cmocka_unit_test(who_was_away_does_not_take_its_peers_for_dead),
        cmocka_unit_test(strange_messages_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
