/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One node's share of a VM that only exercises memory; started once a node by tests/net/run_net.py.
 *
 *   net_vm --socket PATH [--pages N] [--iters N] [--sweep N] [--work NAME] [--rest MS]
 *          [--skip-zap] [--private]
 *
 * Every thread stands for a vCPU. Work, each with an exact result:
 *   zero      what nobody wrote reads as zero, whatever the host had there before
 *   counters  locked increments of counters that share pages
 *   dekker    mutual exclusion by loads, stores, mfence
 *   sb        store buffering: never both 0
 *   sweep     every page written by one, read by all
 *   all       these, one after the other
 *   light     one increment a millisecond of a counter that all share, each that had
 *             to wait timed
 *   idle      nothing
 *   forever   counters without an end, for those who kill processes
 * After the work the vCPUs rest for --rest milliseconds.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/hist.h"
#include "tests/net/fakevm.h"

enum { PAGE = 4096, COUNTERS = 8, WATCH_READS = 200, NO_FAULT_NS = 3000 };

/* Lies in guest RAM: page by page what contends. */
struct layout {
    _Alignas(PAGE) _Atomic uint32_t arrived, round; /* barrier */
    _Atomic uint32_t failures;
    _Alignas(PAGE) struct {
        _Alignas(PAGE) _Atomic uint64_t value[2]; /* two counters a page */
    } counter[COUNTERS];
    _Alignas(PAGE) volatile uint32_t flag[2];
    _Alignas(PAGE) volatile uint32_t turn;
    _Alignas(PAGE) volatile uint64_t guarded;
    _Alignas(PAGE) volatile uint32_t x;
    _Alignas(PAGE) volatile uint32_t y;
    _Alignas(PAGE) volatile uint32_t seen[2];
    _Alignas(PAGE) uint8_t sweep[];
};

static struct fakevm vm;
static uint32_t iters = 2000, sweep_pages = 1024, rest_ms;
static const char *work = "all";

struct job {
    pthread_t thread;
    uint32_t vcpu, index; /* index among all vCPUs: 0..count-1 */
    uint32_t failures;
    struct hist took; /* light: ns */
};

static struct layout *shared_ram(void)
{
    return (struct layout *)(void *)vm.ram;
}

static uint32_t vcpus(void)
{
    return vm.welcome.vcpus;
}

static void fail(struct job *j, const char *what, uint64_t got, uint64_t want)
{
    j->failures++;
    if (j->failures < 10)
        fprintf(stderr, "net_vm: node %u vcpu %u: %s: %llu, expected %llu\n", vm.welcome.node,
                j->vcpu, what, (unsigned long long)got, (unsigned long long)want);
}

/* All vCPUs of all nodes; itself a test: it hangs if an increment is lost. */
static void barrier(void)
{
    struct layout *s = shared_ram();
    uint32_t round = atomic_load(&s->round);
    if (atomic_fetch_add(&s->arrived, 1) + 1 == vcpus()) {
        atomic_store(&s->arrived, 0);
        atomic_fetch_add(&s->round, 1);
        return;
    }
    while (atomic_load(&s->round) == round)
        usleep(200);
}

static void work_zero(struct job *j)
{
    const uint64_t *w = (void *)shared_ram()->sweep;
    for (size_t k = 0; k < (size_t)sweep_pages * PAGE / 8; k += 64)
        if (w[k] != 0) {
            fail(j, "a page that nobody wrote", w[k], 0);
            return;
        }
}

static void work_counters(struct job *j)
{
    struct layout *s = shared_ram();
    for (uint32_t i = 0; i < iters; i++)
        atomic_fetch_add(&s->counter[(i + j->index) % COUNTERS].value[j->index % 2], 1);
    barrier();
    uint64_t sum = 0;
    for (uint32_t c = 0; c < COUNTERS; c++)
        sum += s->counter[c].value[0] + s->counter[c].value[1];
    if (sum != (uint64_t)iters * vcpus())
        fail(j, "sum of the counters", sum, (uint64_t)iters * vcpus());
}

/* The first and the last vCPU are on different nodes. */
static int side(const struct job *j)
{
    return j->index == 0 ? 0 : j->index == vcpus() - 1 ? 1 : -1;
}

/* Dekker's algorithm: correct only if stores and loads of both sides are sequentially consistent.
 */
static void work_dekker(struct job *j)
{
    struct layout *s = shared_ram();
    int me = side(j), rounds = (int)iters / 4;
    for (int i = 0; me >= 0 && i < rounds; i++) {
        s->flag[me] = 1;
        __builtin_ia32_mfence();
        while (s->flag[!me]) {
            if (s->turn != (uint32_t)me) {
                s->flag[me] = 0;
                __builtin_ia32_mfence();
                while (s->turn != (uint32_t)me)
                    sched_yield();
                s->flag[me] = 1;
                __builtin_ia32_mfence();
            }
        }
        s->guarded = s->guarded + 1; /* plain: two inside at a time lose one */
        s->turn = !me;
        __builtin_ia32_mfence();
        s->flag[me] = 0;
    }
    barrier();
    if (s->guarded != 2u * (uint32_t)rounds)
        fail(j, "guarded counter", s->guarded, 2u * (uint32_t)rounds);
}

static void work_sb(struct job *j)
{
    struct layout *s = shared_ram();
    int me = side(j);
    for (uint32_t i = 0; i < iters / 100; i++) {
        if (me == 0)
            s->x = s->y = 0;
        barrier();
        if (me == 0) {
            s->x = 1;
            __builtin_ia32_mfence();
            s->seen[0] = s->y;
        } else if (me == 1) {
            s->y = 1;
            __builtin_ia32_mfence();
            s->seen[1] = s->x;
        }
        barrier();
        if (s->seen[0] == 0 && s->seen[1] == 0)
            fail(j, "store buffering: both sides read 0 in round", i, 0);
        barrier();
    }
}

static uint64_t pattern(uint32_t page, uint32_t word, uint32_t round)
{
    return (page * UINT64_C(0x9E3779B97F4A7C15)) ^ (word * UINT64_C(0xBF58476D1CE4E5B9)) ^ round;
}

/* Each page is written as a whole by one vCPU and read as a whole by all; the writers move on each
 * round. */
static void work_sweep(struct job *j)
{
    struct layout *s = shared_ram();
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t p = 0; p < sweep_pages; p++) {
            uint64_t *w = (void *)(s->sweep + (size_t)p * PAGE);
            for (uint32_t k = 0; (p + round) % vcpus() == j->index && k < PAGE / 8; k++)
                w[k] = pattern(p, k, round);
        }
        barrier();
        for (uint32_t p = 0; p < sweep_pages; p++) {
            const uint64_t *w = (void *)(s->sweep + (size_t)p * PAGE);
            for (uint32_t k = 0; k < PAGE / 8; k++)
                if (w[k] != pattern(p, k, round)) {
                    fail(j, "swept page", w[k], pattern(p, k, round));
                    break;
                }
        }
        barrier();
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void work_light(struct job *j)
{
    _Atomic uint64_t *shared = &shared_ram()->counter[0].value[0];
    for (uint32_t i = 0; i < iters; i++) {
        usleep(1000 + j->index * 7); /* not in step with the others */
        uint64_t before = now_ns();
        atomic_fetch_add(shared, 1);
        uint64_t took = now_ns() - before;
        if (took > NO_FAULT_NS)
            hist_add(&j->took, took);
    }
    barrier();
    if (atomic_load(shared) != (uint64_t)iters * vcpus())
        fail(j, "shared counter", atomic_load(shared), (uint64_t)iters * vcpus());
}

static void say_phase(const struct job *j, const char *phase)
{
    if (j->index != 0)
        return;
    printf("net_vm: phase %s\n", phase);
    fflush(stdout);
}

static void work_forever(struct job *j)
{
    struct layout *s = shared_ram();
    for (uint32_t i = 0;; i++) {
        atomic_fetch_add(&s->counter[i % COUNTERS].value[0], 1);
        (void)j;
    }
}

/* For perf/idle.py as well: all that was timed. */
static void print_light(const struct hist *h)
{
    printf("net_vm: light n %llu p50 %.1f p90 %.1f p99 %.1f us\n", (unsigned long long)h->count,
           (double)hist_quantile(h, 500) / 1e3, (double)hist_quantile(h, 900) / 1e3,
           (double)hist_quantile(h, 990) / 1e3);
    printf("net_vm: light max %llu buckets", (unsigned long long)h->max);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        if (h->bucket[i] != 0)
            printf(" %llu:%llu", (unsigned long long)hist_upper(i),
                   (unsigned long long)h->bucket[i]);
    printf(" ns\n");
}

static void *run(void *arg)
{
    static const struct {
        const char *name;
        void (*run)(struct job *j);
    } list[] = {{"zero", work_zero},
                {"counters", work_counters},
                {"dekker", work_dekker},
                {"sb", work_sb},
                {"sweep", work_sweep}};
    struct job *j = arg;
    fakevm_is_vcpu(&vm, j->vcpu);
    if (strcmp(work, "forever") == 0)
        work_forever(j);
    say_phase(j, "work");
    if (strcmp(work, "light") == 0)
        work_light(j);
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        if (strcmp(work, "all") == 0 || strcmp(work, list[i].name) == 0) {
            barrier();
            list[i].run(j);
            barrier();
        }
    if (rest_ms > 0) {
        barrier();
        say_phase(j, "rest");
        usleep(rest_ms * 1000);
        say_phase(j, "end");
    }
    atomic_fetch_add(&shared_ram()->failures, j->failures);
    barrier();
    return NULL;
}

static uint32_t start(struct job *jobs)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < vcpus(); v++) {
        if (vm.welcome.vcpu_home[v] != vm.welcome.node)
            continue;
        jobs[n] = (struct job){.vcpu = v, .index = v};
        if (pthread_create(&jobs[n].thread, NULL, run, &jobs[n]) != 0)
            exit(1);
        n++;
    }
    return n;
}

static void *watch_stop(void *arg)
{
    char text[GLUE_ERROR_TEXT];
    int status = fakevm_wait(&vm, text);
    (void)arg;
    fprintf(stderr, "net_vm: node %u: stopped: %s\n", vm.welcome.node, text);
    fflush(NULL);
    _exit(status == 0 ? 0 : 3);
}

static void options(int argc, char **argv, const char **socket, uint64_t *pages, bool *private)
{
    static const struct option list[] = {
        {"socket", 1, NULL, 's'},   {"pages", 1, NULL, 'p'},   {"iters", 1, NULL, 'i'},
        {"sweep", 1, NULL, 'w'},    {"work", 1, NULL, 'k'},    {"rest", 1, NULL, 'r'},
        {"skip-zap", 0, NULL, 'z'}, {"private", 0, NULL, 'x'}, {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
        switch (c) {
        case 's':
            *socket = optarg;
            break;
        case 'p':
            *pages = strtoull(optarg, NULL, 0);
            break;
        case 'i':
            iters = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'w':
            sweep_pages = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'k':
            work = optarg;
            break;
        case 'r':
            rest_ms = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'z':
            vm.skip_zap = true;
            break;
        case 'x':
            *private = true;
            break;
        default:
            exit(2);
        }
    }
    if (*socket == NULL || *pages < sweep_pages + sizeof(struct layout) / PAGE) {
        fprintf(stderr, "net_vm: --socket is needed, and --pages of at least %zu and the sweep's\n",
                sizeof(struct layout) / PAGE);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    const char *socket = NULL;
    uint64_t pages = 4096;
    bool private = false;
    static struct job jobs[WIRE_VCPUS_MAX];
    pthread_t watcher;
    options(argc, argv, &socket, &pages, &private);
    fakevm_open(&vm, socket, pages, private);
    printf("net_vm: node %u runs\n", vm.welcome.node);
    fflush(stdout);
    uint32_t n = start(jobs), failures = 0;
    if (vm.welcome.node != vm.welcome.vmm_node) {
        /* Ends when the VM ends: the VMM's node says BYE, and our dataplane stops us. */
        watch_stop(NULL);
    }
    if (pthread_create(&watcher, NULL, watch_stop, NULL) != 0)
        return 1;
    for (uint32_t i = 0; i < n; i++) {
        pthread_join(jobs[i].thread, NULL);
        failures += jobs[i].failures;
    }
    uint32_t all = atomic_load(&shared_ram()->failures);
    if (jobs[0].took.count > 0)
        print_light(&jobs[0].took);
    printf("net_vm: %u vCPUs on %u nodes: %s (%u failures)\n", vcpus(), vm.welcome.nodes,
           all == 0 ? "all results exact" : "WRONG", all);
    fflush(stdout);
    fakevm_bye(&vm, all == 0 ? 0 : 1);
    _exit(all == 0 && failures == 0 ? 0 : 4);
}
