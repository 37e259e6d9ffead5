/* SPDX-License-Identifier: BSD-3-Clause */
/* Two processes in lock step, each in a network namespace, joined by a veth pair. */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "perf/rtt.h"

enum { START_S = 20 };

uint64_t rtt_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void rtt_relax(uint32_t *empty)
{
    if (++*empty >= 16)
        sched_yield();
}

void rtt_twin_barrier(struct rtt_side *s)
{
    uint32_t mine = atomic_fetch_add(&s->shared->arrived[s->side], 1) + 1;
    while (atomic_load(&s->shared->arrived[!s->side]) < mine) {
        if (atomic_load(&s->shared->failed))
            _exit(1);
        usleep(50);
    }
}

/* Each side gets a core of its own if there are two. */
static void pin(uint8_t side)
{
    cpu_set_t all, one;
    unsigned seen = 0;
    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < 2)
        return;
    CPU_ZERO(&one);
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && seen++ == side)
            CPU_SET(i, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

static bool enter_namespace(const struct rtt_side *s)
{
    char line[300];
    uint64_t limit = rtt_now() + START_S * UINT64_C(1000000000);
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    atomic_fetch_add(&s->shared->namespaces, 1);
    while (!atomic_load(&s->shared->linked)) {
        if (rtt_now() > limit || atomic_load(&s->shared->failed))
            return false;
        usleep(1000);
    }
    snprintf(line, sizeof(line),
             "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
             "ip addr add 10.77.0.%d/24 dev rtt0 && ip link set rtt0 up",
             s->side + 1);
    return system(line) == 0;
}

static bool join(struct rtt_shared *shared, const pid_t *pid, uint16_t mtu)
{
    char line[200];
    uint64_t limit = rtt_now() + START_S * UINT64_C(1000000000);
    while (atomic_load(&shared->namespaces) < 2) {
        if (rtt_now() > limit || atomic_load(&shared->failed))
            return false;
        usleep(1000);
    }
    snprintf(line, sizeof(line),
             "ip link add rtt0 mtu %u netns %d type veth peer name rtt0 mtu %u netns %d", mtu,
             pid[0], mtu, pid[1]);
    if (system(line) != 0)
        return false;
    atomic_store(&shared->linked, 1);
    return true;
}

static int wait_both(struct rtt_shared *shared, const pid_t *pid)
{
    int worst = 0;
    for (unsigned i = 0; i < 2; i++) {
        int status;
        pid_t who = wait(&status);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        if (WIFSIGNALED(status))
            fprintf(stderr, "rtt: the side that %s died of signal %d\n",
                    who == pid[0] ? "asks" : "answers", WTERMSIG(status));
        if (code != 0)
            atomic_store(&shared->failed, 1);
        worst = code > worst ? code : worst;
    }
    return worst;
}

bool rtt_twin_start(const struct rtt_options *o, struct rtt_side *ret_side, int *ret_status)
{
    static char dir[64];
    pid_t pid[2];
    struct rtt_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(dir, sizeof(dir), "/dev/shm/pando-rtt-%d", getpid());
    if (shared == MAP_FAILED) {
        *ret_status = 1;
        return false;
    }
    fflush(stdout);
    for (uint8_t i = 0; i < 2; i++) {
        pid[i] = fork();
        if (pid[i] != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        *ret_side = (struct rtt_side){.side = i, .shared = shared, .options = o, .dir = dir};
        if (!enter_namespace(ret_side)) {
            fprintf(stderr,
                    "rtt: no network namespace with a veth pair (root and iproute2 are needed)\n");
            atomic_store(&shared->failed, 1);
            _exit(1);
        }
        pin(i);
        return true;
    }
    if (!join(shared, pid, o->mtu))
        atomic_store(&shared->failed, 1);
    *ret_status = wait_both(shared, pid);
    rmdir(dir);
    return false;
}

void rtt_round(struct rtt_side *s, const struct rtt_variant *v, uint32_t reply,
               struct rtt_result *result)
{
    struct hist round = {0};
    rtt_twin_barrier(s);
    if (s->side == 1) {
        while (!atomic_load_explicit(&s->shared->asking, memory_order_relaxed))
            sched_yield();
        while (atomic_load_explicit(&s->shared->asking, memory_order_relaxed))
            v->answer(s, v->context);
        rtt_twin_barrier(s);
        return;
    }
    atomic_store(&s->shared->asking, 1);
    uint32_t warm = s->options->samples / 10 + 1;
    for (uint32_t i = 0; i < warm + s->options->samples; i++) {
        uint64_t began = rtt_now();
        if (!v->ask(s, v->context, reply))
            result->lost++;
        else if (i >= warm)
            hist_add(&round, rtt_now() - began);
    }
    atomic_store(&s->shared->asking, 0);
    rtt_twin_barrier(s);
    if (result->rounds < RTT_ROUNDS_MAX)
        result->round_p50[result->rounds++] = hist_quantile(&round, 500);
    hist_merge(&result->hist, &round);
}
