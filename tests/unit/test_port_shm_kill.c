/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two processes stream numbered, checksummed frames to each other over the shared-memory port; 100
 * times one of them is killed (SIGKILL) at a random instant in mid-stream and started again. The
 * survivor must live, must never be given a torn, old or repeated frame, and must be connected both
 * ways again. At the end both are killed, and the next to open and close leave nothing.
 *
 * usage: test_port_shm_kill [KILLS [SEED]]
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/prng.h"
#include "dataplane/port/port.h"

enum { FRAME_HEADER = 24, MID_STREAM = 300, PATIENCE_S = 20 };

/* Shared between the parent and both nodes; each word has one writer. */
struct progress {
    _Atomic uint64_t life;     /* parent: which start of this node is the present one */
    _Atomic uint64_t verified; /* frames of the peer's present life, received by the present life */
    _Atomic uint64_t peer_life;
    _Atomic uint32_t torn, disorder, failed;
    _Atomic uint32_t stop;
};
static struct progress *node;
static char dir[64], err[PORT_ERROR_MAX];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* life | number | length | checksum of all that and of the filling that follows from the number. */
static uint32_t checksum(const uint8_t *b, uint32_t len)
{
    uint32_t crc = crc32c_update(crc32c_begin(), b, 20);
    return crc32c_end(crc32c_update(crc, b + FRAME_HEADER, len - FRAME_HEADER));
}

static void build(uint8_t *b, uint64_t life, uint64_t number, uint32_t len)
{
    put_le64(b, life);
    put_le64(b + 8, number);
    put_le32(b + 16, len);
    memset(b + FRAME_HEADER, (int)(number * 7 + life), len - FRAME_HEADER);
    put_le32(b + 20, checksum(b, len));
}

static void verify(struct progress *me, const struct port_frame *f, uint64_t *life, uint64_t *next)
{
    if (f->len < FRAME_HEADER || get_le32(f->data + 16) != f->len ||
        get_le32(f->data + 20) != checksum(f->data, f->len)) {
        atomic_fetch_add(&me->torn, 1);
        return;
    }
    uint64_t l = get_le64(f->data), number = get_le64(f->data + 8);
    if (l > *life) { /* the peer's next life starts anywhere: its first frames may be in a ring of
                        our last one */
        *life = l;
        atomic_store(&me->verified, 0);
        atomic_store(&me->peer_life, l);
    } else if (l < *life || number <= *next) {
        atomic_fetch_add(&me->disorder, 1);
        return;
    }
    *next = number;
    atomic_fetch_add(&me->verified, 1);
}

static void run_node(uint8_t self, uint64_t seed)
{
    struct progress *me = &node[self];
    struct prng rng = {.state = seed};
    struct port *p;
    struct port_frame f[PORT_BURST];
    uint64_t number = 0, life = 0, next = 0, my_life = atomic_load(&me->life);
    uint32_t idle = 0;
    if (port_open_shm(dir, self, 2, 9000, &p, err) != 0) {
        fprintf(stderr, "%s\n", err);
        atomic_store(&me->failed, 1);
        _exit(1);
    }
    while (atomic_load(&node[0].stop) == 0) {
        uint32_t burst = prng_below(&rng, 8);
        for (uint32_t i = 0; i < burst; i++) {
            uint8_t *b = p->ops->tx_reserve(p, !self, NULL);
            if (b == NULL)
                break;
            uint32_t len =
                FRAME_HEADER + prng_below(&rng, prng_below(&rng, 4) ? 200 : 9000 - FRAME_HEADER);
            build(b, my_life, ++number, len);
            p->ops->tx_commit(p, len);
        }
        p->ops->flush(p);
        uint32_t n = port_rx(p, f, PORT_BURST);
        for (uint32_t i = 0; i < n; i++)
            verify(me, &f[i], &life, &next);
        idle = n == 0 ? idle + 1 : 0;
        if (idle >= 16)
            sched_yield();
        if (prng_below(&rng, 64) == 0 &&
            p->ops->arm(p)) /* sleeping and waking are cut off as well */
            p->ops->disarm(p);
    }
    port_close(p);
    _exit(0);
}

static pid_t start(uint8_t self, uint64_t life, uint64_t seed)
{
    atomic_store(&node[self].life, life);
    atomic_store(&node[self].verified, 0);
    atomic_store(&node[self].peer_life, 0);
    pid_t pid = fork();
    if (pid == 0)
        run_node(self, seed);
    return pid;
}

/* Both nodes have verified frames of the present life of the other. */
static bool wait_connected(const pid_t *pid, int round)
{
    double limit = seconds() + PATIENCE_S;
    for (;;) {
        bool all = true;
        for (unsigned i = 0; i < 2; i++) {
            all &= atomic_load(&node[i].peer_life) == atomic_load(&node[!i].life) &&
                   atomic_load(&node[i].verified) >= MID_STREAM;
            int status;
            if (waitpid(pid[i], &status, WNOHANG) != 0) {
                printf("FAIL round %d: node %u died by itself (%s %d)\n", round, i,
                       WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
                return false;
            }
        }
        if (all)
            return true;
        if (seconds() > limit) {
            printf("FAIL round %d: not connected again after %d s (node 0 saw life %lu of %lu, "
                   "node 1 %lu of %lu)\n",
                   round, PATIENCE_S, (unsigned long)node[0].peer_life, (unsigned long)node[1].life,
                   (unsigned long)node[1].peer_life, (unsigned long)node[0].life);
            return false;
        }
        usleep(200);
    }
}

static bool nothing_left(void)
{
    struct stat st;
    for (uint8_t i = 0; i < 2; i++) {
        struct port *p;
        if (port_open_shm(dir, i, 2, 9000, &p, err) != 0) {
            printf("FAIL: open after a kill: %s\n", err);
            return false;
        }
        port_close(p);
    }
    if (stat(dir, &st) == 0) {
        printf("FAIL: something was left in %s\n", dir);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    int kills = argc > 1 ? atoi(argv[1]) : 100;
    struct prng rng = {.state =
                           argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)(seconds() * 1e6)};
    printf("seed %lu, %d kills\n", (unsigned long)rng.state, kills);
    fflush(stdout);
    node = mmap(NULL, 2 * sizeof(*node), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(dir, sizeof(dir), "/dev/shm/pando-kill-XXXXXX");
    if (node == MAP_FAILED || mkdtemp(dir) == NULL) {
        perror("set-up");
        return 1;
    }
    pid_t pid[2] = {start(0, 1, prng_next(&rng)), start(1, 1, prng_next(&rng))};
    uint64_t life = 1;
    double began = seconds();
    bool good = wait_connected(pid, 0);
    for (int round = 1; round <= kills && good; round++) {
        unsigned victim = prng_below(&rng, 2);
        usleep(prng_below(&rng, 3000));
        kill(pid[victim], SIGKILL);
        waitpid(pid[victim], NULL, 0);
        if (prng_below(&rng, 2))
            usleep(prng_below(&rng, 3000)); /* the survivor fills the ring of a dead peer */
        pid[victim] = start((uint8_t)victim, ++life, prng_next(&rng));
        good = wait_connected(pid, round);
    }
    double took = seconds() - began;
    if (good) { /* an orderly end leaves nothing */
        struct stat st;
        atomic_store(&node[0].stop, 1);
        for (unsigned i = 0; i < 2; i++) {
            int status;
            waitpid(pid[i], &status, 0);
            good &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }
        if (!good || stat(dir, &st) == 0)
            printf("FAIL: the orderly end %s\n", good ? "left something" : "failed");
        good &= stat(dir, &st) != 0;
        atomic_store(&node[0].stop, 0);
        pid[0] = start(0, ++life, 1);
        pid[1] = start(1, ++life, 2);
        good = good && wait_connected(pid, kills + 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    good = nothing_left() && good;
    for (unsigned i = 0; i < 2; i++)
        if (node[i].torn + node[i].disorder + node[i].failed > 0) {
            printf("FAIL: node %u: %u torn frames, %u old or repeated, %u failed starts\n", i,
                   node[i].torn, node[i].disorder, node[i].failed);
            good = false;
        }
    printf("%s: %d kills in %.1f s\n", good ? "ok" : "FAIL", kills, took);
    return good ? 0 : 1;
}
