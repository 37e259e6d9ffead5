/* SPDX-License-Identifier: BSD-3-Clause */
/* Doorbells within one process: who is woken and when, restarts, hostile offers; and the directory
 * that processes of one machine meet in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/bell.h"
#include "dataplane/port/rendezvous.h"

enum { SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

static char dir[64], err[PORT_ERROR_MAX];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/dev/shm/pando-bell-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

/* It is empty: closing left nothing. */
static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static struct bell *open_bell(uint8_t self)
{
    struct bell *b = NULL;
    assert_int_equal(bell_open(dir, self, 3, &b), 0);
    return b;
}

static bool rings(const struct bell *b)
{
    struct pollfd p = {.fd = bell_fd(b), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void introduce(struct bell *a, struct bell *b)
{
    bell_meet(a, 1);
    bell_look(b); /* and answers */
    bell_look(a); /* and rings once */
    bell_look(b);
    assert_false(rings(a) || rings(b));
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void only_sleepers_are_rung_for(void **state)
{
    (void)state;
    char byte[8];
    struct bell *a = open_bell(0), *b = open_bell(1);
    introduce(a, b);
    bell_ring(b, 1);
    assert_false(rings(a)); /* awake: no system call */
    bell_asleep(a);
    assert_false(rings(a));
    bell_ring(b, 1);
    assert_true(rings(a));
    bell_ring(b, 1); /* once a sleep */
    assert_int_equal(recv(bell_fd(a), byte, sizeof(byte), 0), 1);
    assert_false(rings(a));
    bell_ring(b, 1);
    assert_false(rings(a));
    bell_asleep(a);
    bell_awake(a);
    bell_ring(b, 1);
    assert_false(rings(a));
    bell_asleep(b); /* and the other way */
    bell_ring(a, 2);
    assert_true(rings(b));
    bell_close(a);
    bell_close(b);
}

static void who_is_not_known_is_rung_for(void **state)
{
    (void)state;
    struct bell *a = open_bell(0), *b = open_bell(1);
    bell_ring(b, 1); /* a may be asleep */
    assert_true(rings(a));
    bell_awake(a);
    bell_ring(b, 4); /* nobody is there: no harm */
    assert_false(rings(a) || rings(b));
    assert_true(bell_refused(a) == 0 && bell_refused(b) == 0);
    bell_close(a);
    bell_close(b);
}

/* b never saw the link of a down: it learns of the new start by the offer alone. */
static void a_restarted_peer_is_woken_by_its_new_word(void **state)
{
    (void)state;
    struct bell *killed = open_bell(0), *b = open_bell(1);
    introduce(killed, b);
    struct bell *a = open_bell(0);
    bell_meet(a, 1);
    assert_false(bell_owes(a));
    bell_asleep(a);
    bell_ring(b, 1); /* still the old word */
    assert_false(rings(a));
    bell_look(b);
    assert_true(rings(a)); /* for what was published meanwhile, and an answer */
    bell_awake(a);
    bell_look(b); /* a rang as well: what it published met no word */
    assert_false(rings(a) || rings(b));
    bell_asleep(a);
    bell_ring(b, 1);
    assert_true(rings(a));
    bell_awake(a);
    bell_ring(b, 1);
    assert_false(rings(a));
    bell_ring(a, 2); /* and a has b's, who is awake */
    assert_false(rings(b));
    bell_asleep(b);
    bell_ring(a, 2);
    assert_true(rings(b));
    bell_close(killed); /* takes the file of its successor, as only a test can */
    bell_close(a);
    bell_close(b);
}

/* As before, but b offers first, so that a's offer needs no answer: b rings all the same. */
static void a_new_word_is_rung_for_once(void **state)
{
    (void)state;
    struct bell *killed = open_bell(0), *b = open_bell(1);
    introduce(killed, b);
    struct bell *a = open_bell(0);
    bell_meet(b, 0);
    bell_look(a);
    assert_false(rings(a));
    bell_asleep(a);
    bell_ring(b, 1); /* still the old word */
    assert_false(rings(a));
    bell_look(b);
    assert_true(rings(a));
    bell_close(killed);
    bell_close(a);
    bell_close(b);
}

/* A queue of the kernel's holds few messages: an offer for which there is no room is owed. */
static void an_offer_is_not_lost_in_a_full_queue(void **state)
{
    (void)state;
    struct bell *a = open_bell(0), *b = open_bell(1);
    unsigned limit = 100000;
    while (!bell_owes(a) && limit-- > 0)
        bell_meet(a, 1);
    assert_true(bell_owes(a));
    bell_close(b);
    b = open_bell(1); /* what was queued died with the old one */
    bell_look(a);
    assert_false(bell_owes(a));
    bell_asleep(a);
    bell_look(b);
    bell_look(b);
    bell_awake(a);
    bell_ring(b, 1);
    assert_false(rings(a)); /* so b has the word */
    bell_close(a);
    bell_close(b);
}

/* The layout of bell.c's offer. */
struct forged {
    uint64_t magic;
    uint32_t version;
    uint8_t from, to;
    uint16_t reserved;
    uint64_t epoch, seen;
};
#define MAGIC UINT64_C(0x4C4C45424F444E50)

static int word_fd(off_t bytes, unsigned seals)
{
    int fd = memfd_create("forged", MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && ftruncate(fd, bytes) == 0);
    assert_true(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int file_fd(void)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/word", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0 && ftruncate(fd, 4096) == 0 && unlink(path) == 0);
    return fd;
}

static int read_only_fd(void)
{
    char path[64];
    int fd = word_fd(4096, SIZE_SEALS);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int ro = open(path, O_RDONLY);
    close(fd);
    assert_true(ro >= 0);
    return ro;
}

static void send_to(const struct bell *a, const void *message, size_t len, int fd)
{
    struct sockaddr_un to;
    socklen_t size = sizeof(to);
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0 && getsockname(bell_fd(a), (struct sockaddr *)&to, &size) == 0);
    if (fd >= 0)
        assert_int_equal(rendezvous_send(s, &to, message, len, fd), 0);
    else
        assert_true(sendto(s, message, len, 0, (struct sockaddr *)&to, size) == (ssize_t)len);
    close(s);
}

static void forged_offers_are_refused(void **state)
{
    (void)state;
    struct bell *a = open_bell(0), *b = open_bell(1);
    introduce(a, b);
    unsigned before = open_fds();
    const struct forged o = {.magic = MAGIC, .version = 1, .from = 1, .epoch = 9};
    const struct {
        int fd;
        struct forged offer;
    } bad[] = {
        {word_fd(4096, 0), o}, /* could be shortened */
        {word_fd(4096, F_SEAL_GROW), o},
        {word_fd(4095, SIZE_SEALS), o},
        {word_fd(0, SIZE_SEALS), o},
        {word_fd(8192, SIZE_SEALS), o},
        {file_fd(), o},
        {read_only_fd(), o},
        {socket(AF_UNIX, SOCK_STREAM, 0), o},
        {word_fd(4096, SIZE_SEALS), {MAGIC + 1, 1, 1, 0, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 2, 1, 0, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 0, 0, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 3, 0, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 255, 0, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 1, 1, 0, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 1, 0, 1, 9, 0}},
        {word_fd(4096, SIZE_SEALS), {MAGIC, 1, 1, 0, 0, 0, 0}},
        {-1, o},
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(bad); i++) {
        send_to(a, &bad[i].offer, sizeof(o), bad[i].fd);
        if (bad[i].fd >= 0)
            close(bad[i].fd);
        bell_look(a);
        assert_int_equal(bell_refused(a), i + 1);
        assert_false(rings(b)); /* neither an answer nor a ring */
    }
    uint64_t refused = bell_refused(a);
    int fd = word_fd(4096, SIZE_SEALS);
    send_to(a, &o, sizeof(o) - 1, fd);
    send_to(a, "two words, and far too long for an offer", 40, fd);
    bell_look(a);
    assert_int_equal(bell_refused(a), refused + 2);
    bell_asleep(b); /* and a still has b's word */
    bell_ring(a, 2);
    assert_true(rings(b));
    send_to(a, &o, sizeof(o), fd); /* the good one is good */
    close(fd);
    bell_look(a);
    assert_int_equal(bell_refused(a), refused + 2);
    assert_int_equal(open_fds(), before);
    bell_close(a);
    bell_close(b);
}

/* What a peer gets of us it cannot take away again. */
static void a_word_cannot_be_shortened(void **state)
{
    (void)state;
    struct forged o;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = -1, s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/bell-1.sock", dir);
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
    struct bell *a = open_bell(0);
    bell_meet(a, 1);
    assert_int_equal(rendezvous_receive(s, &o, sizeof(o), &fd), sizeof(o));
    assert_true(fd >= 0 && ftruncate(fd, 0) != 0 && errno == EPERM);
    assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0);
    bell_asleep(a);
    bell_awake(a);
    close(fd);
    close(s);
    unlink(at.sun_path);
    bell_close(a);
}

static void the_directory_is_ours_alone(void **state)
{
    (void)state;
    static const mode_t open_modes[] = {0720, 0702, 0777, 01777};
    char path[100], name[100];
    struct stat st;
    snprintf(path, sizeof(path), "%s/d", dir);
    snprintf(name, sizeof(name), "%s/link", dir);
    assert_int_equal(rendezvous_dir("memif fabric", path, err), 0);
    assert_true(stat(path, &st) == 0 && (st.st_mode & 07777) == 0700);
    assert_int_equal(rendezvous_dir("memif fabric", path, err), 0);
    assert_int_equal(chmod(path, 0755), 0); /* others may look */
    assert_int_equal(rendezvous_dir("memif fabric", path, err), 0);
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(rendezvous_dir("memif fabric", path, err), -EPERM);
        assert_non_null(strstr(err, "chmod go-w"));
        assert_true(strstr(err, path) != NULL && strncmp(err, "memif fabric", 12) == 0);
    }
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(symlink(path, name), 0);
    assert_true(rendezvous_dir("memif fabric", name, err) < 0);
    unlink(name);
    int fd = open(name, O_CREAT | O_EXCL, 0600);
    assert_int_equal(rendezvous_dir("memif fabric", name, err), -ENOTDIR);
    close(fd);
    unlink(name);
    assert_int_equal(rendezvous_dir("memif fabric", "/proc/none/none", err), -ENOENT);
    assert_non_null(strstr(err, "/proc/none/none"));
    if (geteuid() == 0) { /* only root can give one away */
        assert_int_equal(chown(path, 4242, 0), 0);
        assert_int_equal(rendezvous_dir("memif fabric", path, err), -EPERM);
        assert_true(strstr(err, "user 4242") != NULL && strstr(err, "chown") != NULL);
    } else {
        assert_int_equal(rendezvous_dir("memif fabric", "/usr", err), -EPERM);
        assert_non_null(strstr(err, "user 0"));
    }
    assert_int_equal(rmdir(path), 0);
}

#define BELL_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BELL_TEST(only_sleepers_are_rung_for),
        BELL_TEST(who_is_not_known_is_rung_for),
        BELL_TEST(a_restarted_peer_is_woken_by_its_new_word),
        BELL_TEST(a_new_word_is_rung_for_once),
        BELL_TEST(an_offer_is_not_lost_in_a_full_queue),
        BELL_TEST(forged_offers_are_refused),
        BELL_TEST(a_word_cannot_be_shortened),
        BELL_TEST(the_directory_is_ours_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
