/* SPDX-License-Identifier: BSD-3-Clause */
/* The shared-memory port, within one process: exchange of rings, hostile rings and sockets, sleep,
 * clean-up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/port/shm.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static char dir[64];
static char err[PORT_ERROR_MAX];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/dev/shm/pando-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

/* Whatever the test did, closing left neither socket nor directory. */
static int dir_is_gone(void **state)
{
    (void)state;
    struct stat st;
    return stat(dir, &st) == 0 ? -1 : 0;
}

static struct port *open_node(uint8_t self, uint8_t nodes)
{
    struct port *p;
    int rc = port_open_shm(dir, self, nodes, RRDP_MTU_MAX, &p, err);
    if (rc != 0)
        fail_msg("%s", err);
    return p;
}

static struct shm_port *inside(struct port *p)
{
    return (struct shm_port *)p;
}

static bool put(struct port *p, uint8_t to, uint64_t number, uint32_t len)
{
    uint8_t *b = p->ops->tx_reserve(p, to, NULL);
    if (b == NULL)
        return false;
    memset(b, (int)number, len);
    put_le64(b, number);
    p->ops->tx_commit(p, len);
    p->ops->flush(p);
    return true;
}

/* Lets nodes of this one process look at their sockets: offers, then answers. */
static void greet(struct port *a, struct port *b)
{
    for (unsigned i = 0; i < 2; i++) {
        a->ops->disarm(a);
        b->ops->disarm(b);
    }
}

/* Polls long enough for the socket to have been looked at. */
static uint32_t get(struct port *p, struct port_frame *f)
{
    uint32_t n = 0;
    for (unsigned i = 0; i <= SHM_LOOK_POLLS && n == 0; i++)
        n = port_rx(p, f, 1);
    return n;
}

static void expect(struct port *p, uint64_t number, uint32_t len, uint8_t from)
{
    struct port_frame f;
    assert_int_equal(get(p, &f), 1);
    assert_int_equal(f.len, len);
    assert_int_equal(get_le64(f.data), number);
    assert_int_equal(f.data[len - 1], len > 8 ? number & 0xFF : f.data[len - 1]);
    assert_int_equal(f.src.addr[5], from);
}

static void any_order_of_start_connects(void **state)
{
    (void)state;
    struct port *p[3], *two;
    assert_null(port_close(NULL));
    two = open_node(2, 3);
    assert_false(put(two, 0, 1, 64)); /* nobody there yet */
    assert_int_equal(two->counters.tx_full, 1);
    p[0] = open_node(0, 3);
    p[1] = open_node(1, 3);
    p[2] = two;
    greet(p[0], two);
    greet(p[0], p[1]);
    greet(p[1], two);
    for (unsigned lap = 0; lap < 1000; lap++)
        for (uint8_t from = 0; from < 3; from++)
            for (uint8_t to = 0; to < 3; to++) {
                if (from == to)
                    continue;
                uint32_t len = 8 + (lap * 37) % (RRDP_MTU_MAX - 7);
                assert_true(put(p[from], to, lap, len));
                expect(p[to], lap, len, from);
            }
    assert_false(put(p[0], 0, 1, 64)); /* not to itself, not to a node that is none */
    assert_false(put(p[0], 3, 1, 64));
    assert_int_equal(p[0]->counters.peer_restarts, 0);
    for (unsigned i = 0; i < 3; i++)
        port_close(p[i]);
}

static void a_full_ring_refuses_and_recovers(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    uint64_t n = 0;
    while (put(a, 1, n, 64))
        n++;
    assert_int_equal(n, SHM_SLOTS);
    assert_int_equal(a->counters.tx_full, 1);
    expect(b, 0, 64, 0);
    assert_true(put(a, 1, n, 64));
    for (uint64_t i = 1; i <= n; i++)
        expect(b, i, 64, 0);
    /* A buffer that was reserved and not committed is offered again. */
    uint8_t *first = a->ops->tx_reserve(a, 1, NULL);
    assert_ptr_equal(a->ops->tx_reserve(a, 1, NULL), first);
    port_close(a);
    port_close(b);
}

static void restarted_peers_are_found(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    for (unsigned i = 0; i < 20; i++) {
        struct port_frame f;
        assert_true(put(a, 1, i, 64));
        if (i % 3 != 0) /* sometimes the frame is still in the ring that goes away */
            expect(b, i, 64, 0);
        port_close(b);
        b = open_node(1, 2);
        greet(a, b);
        assert_true(put(b, 0, 100 + i, 300));
        expect(a, 100 + i, 300, 1); /* it goes on in our ring, behind what its predecessor sent */
        assert_int_equal(get(a, &f), 0);
        assert_int_equal(a->counters.peer_restarts, i + 1);
        assert_true(put(a, 1, i, 64));
        expect(b, i, 64, 0);
    }
    assert_int_equal(a->counters.rx_foreign, 0);
    port_close(a);
    port_close(b);
}

/* A sender that claimed a slot and died before it published: the next one uses that slot again. */
static void a_claimed_slot_is_not_a_hole(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    assert_true(put(a, 1, 7, 64));
    struct shm_tx *t = &inside(a)->tx[1];
    atomic_store(&t->ring->claimed, t->next + 1);
    port_close(a);
    a = open_node(0, 2);
    greet(a, b);
    assert_true(put(a, 1, 8, 64));
    expect(b, 7, 64, 0);
    expect(b, 8, 64, 0);
    port_close(a);
    port_close(b);
}

/* The other side writes what it likes into the ring: frames are lost, nothing else happens. */
static void a_hostile_ring_cannot_hurt(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    struct prng rng = {.state = 42};
    struct port_frame f[PORT_BURST];
    assert_true(put(a, 1, 7, 64));
    expect(b, 7, 64, 0);
    struct shm_ring *r = inside(a)->tx[1].ring;
    static const uint32_t lengths[] = {
        0, 1, RRDP_MTU_MAX, RRDP_MTU_MAX + 1, SHM_SLOT_SIZE, 65536, UINT32_MAX};
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(lengths); i++) {
        uint32_t at = inside(b)->rx[0].next;
        atomic_store(&shm_slot_at(r, at)->publish, (uint64_t)lengths[i] << 32 | (at + 1));
        uint64_t foreign = b->counters.rx_foreign;
        bool fits = lengths[i] >= 1 && lengths[i] <= RRDP_MTU_MAX;
        assert_int_equal(get(b, f), fits);
        assert_int_equal(b->counters.rx_foreign - foreign, !fits);
    }
    for (unsigned lap = 0; lap < 200; lap++) {
        uint64_t *words = (uint64_t *)(void *)r;
        for (unsigned i = 0; i < 20000; i++)
            words[prng_below(&rng, sizeof(*r) / 8)] = prng_next(&rng);
        uint32_t at = inside(b)->rx[0].next;
        for (uint32_t i = 0; i < SHM_SLOTS; i++) /* ... and publishes all of it */
            atomic_store(&shm_slot_at(r, at + i)->publish,
                         (prng_next(&rng) & UINT64_C(0x3FFF00000000)) | (at + i + 1));
        for (uint32_t n, polls = 0; polls < 40; polls++) {
            n = port_rx(b, f, PORT_BURST);
            for (uint32_t i = 0; i < n; i++)
                assert_in_range(f[i].len, 1, RRDP_MTU_MAX);
        }
        b->ops->arm(b);
        b->ops->disarm(b);
    }
    assert_true(b->counters.rx_foreign > 0);
    /* The receiver of a's frames lies about its tail: a finds the ring full or free, and stays
     * inside. */
    for (unsigned i = 0; i < 10000; i++) {
        atomic_store(&inside(b)->rx[0].ring->tail, (uint32_t)prng_next(&rng));
        put(a, 1, i, RRDP_MTU_MAX);
    }
    port_close(a);
    port_close(b);
}

/* The bytes handed up do not change any more, whatever the sender does to the slot. */
static void a_frame_is_a_stable_copy(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    struct port_frame f;
    assert_true(put(a, 1, 5, 4096));
    uint32_t at = inside(a)->tx[1].next - 1;
    assert_int_equal(get(b, &f), 1);
    memset(shm_slot_at(inside(a)->tx[1].ring, at)->data, 0xEE, 4096);
    assert_int_equal(get_le64(f.data), 5);
    assert_int_equal(f.data[4095], 5);
    assert_int_equal(b->counters.rx_copied_bytes, 4096);
    port_close(a);
    port_close(b);
}

/* ---- the socket ---------------------------------------------------------------------------- */

struct forged {
    uint64_t magic;
    uint32_t version;
    uint8_t from, to;
    uint16_t reserved;
    uint64_t epoch, seen;
};

static void send_raw(const void *bytes, size_t len, const int *fds, size_t nfds)
{
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char control[256] __attribute__((aligned(8))) = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov, .msg_iovlen = 1};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/shm-0.sock", dir);
    if (nfds > 0) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    assert_true(sendmsg(s, &m, 0) >= 0);
    close(s);
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int ring_fd(uint64_t size, unsigned seals, const struct shm_ring *header)
{
    int fd = memfd_create("forged", MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    assert_true(pwrite(fd, header, 64, 0) == 64);
    if (seals != 0)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void forged_offers_are_refused(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2);
    struct port_frame f;
    unsigned before = open_fds();
    uint64_t foreign = 0;
    static struct shm_ring good, bad[4];
    good.magic = SHM_MAGIC;
    good.version = SHM_VERSION;
    good.slots = SHM_SLOTS;
    good.slot_size = SHM_SLOT_SIZE;
    good.epoch = 9;
    for (unsigned i = 0; i < 4; i++)
        memcpy(&bad[i], &good, 64);
    bad[0].magic++;
    bad[1].slots *= 2;
    bad[2].slot_size *= 2;
    bad[3].epoch = 8;
    struct forged o = {.magic = SHM_MAGIC, .version = SHM_VERSION, .from = 1, .epoch = 9};
    struct {
        int fd;
        struct forged offer;
    } bad_one[] = {
        {ring_fd(sizeof(good), SEALS, &bad[0]), o},
        {ring_fd(sizeof(good), SEALS, &bad[1]), o},
        {ring_fd(sizeof(good), SEALS, &bad[2]), o},
        {ring_fd(sizeof(good), SEALS, &bad[3]), o},
        {ring_fd(sizeof(good), 0, &good), o},
        {ring_fd(4096, SEALS, &good), o},
        {open("/dev/null", O_RDWR), o},
        {socket(AF_UNIX, SOCK_STREAM, 0), o},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC + 1, SHM_VERSION, 1, 0, 0, 9, 0}},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC, SHM_VERSION + 1, 1, 0, 0, 9, 0}},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC, SHM_VERSION, 2, 0, 0, 9, 0}},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC, SHM_VERSION, 255, 0, 0, 9, 0}},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC, SHM_VERSION, 0, 0, 0, 9, 0}},
        {ring_fd(sizeof(good), SEALS, &good), {SHM_MAGIC, SHM_VERSION, 1, 1, 0, 9, 0}},
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(bad_one); i++) {
        send_raw(&bad_one[i].offer, sizeof(o), &bad_one[i].fd, 1);
        close(bad_one[i].fd);
        assert_int_equal(get(a, &f), 0);
        assert_int_equal(a->counters.rx_foreign, ++foreign);
        assert_null(inside(a)->tx[1].ring);
    }
    send_raw(&o, sizeof(o), NULL, 0); /* no descriptor */
    send_raw(&o, sizeof(o) - 1, NULL, 0);
    send_raw("", 1, NULL, 0); /* a doorbell for nobody is no offence */
    get(a, &f);
    assert_int_equal(a->counters.rx_foreign, foreign + 2);
    int many[6];
    for (unsigned i = 0; i < 6; i++)
        many[i] = ring_fd(sizeof(good), SEALS, &good);
    send_raw(&o, sizeof(o), many, 6);
    for (unsigned i = 0; i < 6; i++)
        close(many[i]);
    get(a, &f);
    assert_non_null(inside(a)->tx[1].ring); /* the good one is good */
    assert_int_equal(open_fds(), before);
    port_close(a);
}

static void one_living_process_per_number(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *again = NULL;
    assert_int_equal(port_open_shm(dir, 0, 2, 1500, &again, err), -EADDRINUSE);
    assert_null(again);
    assert_non_null(strstr(err, "node 0 already runs"));
    struct port *b = open_node(1, 2); /* the refused one took nothing away */
    greet(a, b);
    assert_true(put(b, 0, 1, 64));
    expect(a, 1, 64, 1);
    port_close(a);
    port_close(b);
}

static void the_next_open_removes_what_a_kill_left(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        open_node(0, 2);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s/shm-0.sock", dir);
    assert_int_equal(stat(path, &st), 0); /* the test would prove nothing otherwise */
    port_close(open_node(0, 2));
}

static void bad_arguments_are_said(void **state)
{
    (void)state;
    struct port *p = NULL;
    char name[200];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    assert_int_equal(port_open_shm(name, 0, 2, 1500, &p, err), -EINVAL);
    assert_int_equal(port_open_shm(dir, 2, 2, 1500, &p, err), -EINVAL);
    assert_int_equal(port_open_shm(dir, 0, 65, 1500, &p, err), -EINVAL);
    assert_int_equal(port_open_shm("/proc/none/none", 0, 2, 1500, &p, err), -ENOENT);
    assert_non_null(strstr(err, "/proc/none/none"));
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(port_open_shm(dir, 0, 2, 1500, &p, err), -EPERM);
    assert_non_null(strstr(err, "chmod go-w"));
    assert_null(p);
    rmdir(dir);
}

/* ---- sleep --------------------------------------------------------------------------------- */

static bool readable(struct port *p)
{
    struct pollfd fd = {.fd = p->ops->wait_fd(p), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void bells_ring_for_sleepers_only(void **state)
{
    (void)state;
    struct port *a = open_node(0, 2), *b = open_node(1, 2);
    greet(a, b);
    struct port_frame f;
    assert_true(put(a, 1, 1, 64));
    assert_false(b->ops->arm(b)); /* a frame is there: no sleep */
    expect(b, 1, 64, 0);
    get(a, &f);
    get(b, &f);
    assert_false(readable(b)); /* awake: nobody rang */
    assert_true(b->ops->arm(b));
    assert_false(readable(b));
    assert_true(put(a, 1, 2, 64));
    assert_true(readable(b));
    assert_true(put(a, 1, 3, 64)); /* one bell a sleep */
    b->ops->disarm(b);
    assert_false(readable(b));
    expect(b, 2, 64, 0);
    expect(b, 3, 64, 0);
    assert_true(put(a, 1, 4, 64));
    assert_false(readable(b)); /* disarmed */
    port_close(a);
    port_close(b);
}

/* Two processes that sleep after every frame: a lost wake-up would hang them. */
static void no_wake_up_is_lost(void **state)
{
    (void)state;
    enum { LAPS = 20000 };
    int status;
    pid_t pid = fork();
    uint8_t self = pid == 0;
    struct port *p = open_node(self, 2);
    struct port_frame f;
    uint64_t next = 0, late = 0;
    while (next < LAPS) {
        if (self == 0 && !put(p, 1, next, 64) && next > 0)
            break;
        while (port_rx(p, &f, 1) == 0) {
            struct pollfd fd = {.fd = p->ops->wait_fd(p), .events = POLLIN};
            if (!p->ops->arm(p))
                continue;
            if (poll(&fd, 1, next == 0 ? 10 : 2000) == 0 && next > 0)
                late++;
            p->ops->disarm(p);
            if (next == 0 && self == 0)
                put(p, 1, 0, 64); /* until the other one has started */
        }
        uint64_t number = get_le64(f.data);
        if (number < next)
            continue;
        if (self == 1 && !put(p, 0, number, 64))
            break;
        next = number + 1;
    }
    port_close(p);
    if (pid == 0)
        _exit(late != 0 || next != LAPS);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(late, 0);
    assert_int_equal(next, LAPS);
}

#define SHM_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, dir_is_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_TEST(any_order_of_start_connects),
        SHM_TEST(a_full_ring_refuses_and_recovers),
        SHM_TEST(restarted_peers_are_found),
        SHM_TEST(a_claimed_slot_is_not_a_hole),
        SHM_TEST(a_hostile_ring_cannot_hurt),
        SHM_TEST(a_frame_is_a_stable_copy),
        SHM_TEST(forged_offers_are_refused),
        SHM_TEST(one_living_process_per_number),
        SHM_TEST(the_next_open_removes_what_a_kill_left),
        SHM_TEST(bad_arguments_are_said),
        SHM_TEST(bells_ring_for_sleepers_only),
        SHM_TEST(no_wake_up_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
