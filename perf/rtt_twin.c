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
             "ip addr add 10.77.0.%d/24 dev rtt0 && ip link set rtt0 up%s",
             s->side + 1, s->options->middle ? "" : " && ip link set rtt1 up");
    return system(line) == 0;
}

/* Directly, or both to the namespace that the parent is in. */
static bool make_links(const struct rtt_options *o, const pid_t *pid)
{
    char line[300];
    if (!o->middle) {
        snprintf(line, sizeof(line),
                 "for i in rtt0 rtt1; do ip link add $i mtu %u netns %d type veth peer name $i "
                 "mtu %u netns %d || exit 1; done",
                 o->mtu, pid[0], o->mtu, pid[1]);
        return system(line) == 0;
    }
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    snprintf(line, sizeof(line),
             "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
             "ip link add left mtu %u type veth peer name rtt0 mtu %u netns %d && "
             "ip link add right mtu %u type veth peer name rtt0 mtu %u netns %d && "
             "ip link set left up && ip link set right up",
             o->mtu, o->mtu, pid[0], o->mtu, o->mtu, pid[1]);
    return system(line) == 0;
}

static bool join(struct rtt_shared *shared, const pid_t *pid, const struct rtt_options *o)
{
    uint64_t limit = rtt_now() + START_S * UINT64_C(1000000000);
    while (atomic_load(&shared->namespaces) < 2) {
        if (rtt_now() > limit || atomic_load(&shared->failed))
            return false;
        usleep(1000);
    }
    if (!make_links(o, pid) || (o->joined != NULL && !o->joined(shared)))
        return false;
    atomic_store(&shared->linked, 1);
    return true;
}

/* waitpid that looks after the wire meanwhile. */
static pid_t wait_one(struct rtt_shared *shared, const struct rtt_options *o, int *status)
{
    pid_t who;
    if (o->tend == NULL)
        return wait(status);
    while ((who = waitpid(-1, status, WNOHANG)) == 0) {
        o->tend(shared);
        usleep(1000);
    }
    return who;
}

static int wait_both(struct rtt_shared *shared, const pid_t *pid, const struct rtt_options *o)
{
    int worst = 0;
    for (unsigned i = 0; i < 2; i++) {
        int status;
        pid_t who = wait_one(shared, o, &status);
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
    if (!join(shared, pid, o))
        atomic_store(&shared->failed, 1);
    *ret_status = wait_both(shared, pid, o);
    rmdir(dir);
    return false;
}

void rtt_round(struct rtt_side *s, const struct rtt_variant *v, struct rtt_shape shape,
               struct rtt_result *result)
{
    static struct hist round;
    memset(&round, 0, sizeof(round));
    s->shape = shape;
    if (s->side == 0) /* before the barrier, so that a round of nothing but losses is seen, too */
        atomic_store(&s->shared->asking, 1);
    rtt_twin_barrier(s);
    if (s->side == 1) {
        while (atomic_load_explicit(&s->shared->asking, memory_order_relaxed))
            v->answer(s, v->context);
        rtt_twin_barrier(s);
        return;
    }
    uint32_t warm = s->options->samples / 10 + 1;
    for (uint32_t i = 0; i < warm + s->options->samples; i++) {
        uint64_t began = rtt_now();
        if (!v->ask(s, v->context))
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
