/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this machine does to a loop that only looks at the clock: the gaps between two looks, on
 * each CPU that the process may use, all CPUs at the same time. A gap is the time of one look (some
 * 25 ns) or whatever took the CPU away meanwhile: interrupts, other processes, the hypervisor.
 *
 * usage: pando-noise [--ms 10..600000]
 * A JSON object a line and CPU, as result.h says, with stolen_ppm: the share of the time that
 * passed in gaps of more than a microsecond, and ms: for how long it looked.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "perf/result.h"

enum { MS_LEAST = 10, MS_MOST = 600000, MS_DEFAULT = 1000, STOLEN_NS = 1000, NOT_PINNED = 3 };

struct watch {
    pthread_t thread;
    pthread_barrier_t *start;
    unsigned cpu;
    uint64_t ns;     /* for how long it looks */
    uint64_t stolen; /* ns in gaps longer than STOLEN_NS */
    struct hist gaps;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *look(void *arg)
{
    struct watch *w = arg;
    pthread_barrier_wait(w->start);
    uint64_t last = now_ns(), end = last + w->ns;
    while (last < end) {
        uint64_t now = now_ns(), gap = now - last;
        hist_add(&w->gaps, gap);
        if (gap > STOLEN_NS)
            w->stolen += gap;
        last = now;
    }
    return NULL;
}

/* Returns 0 or an error number. */
static int start(struct watch *w)
{
    pthread_attr_t attr;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(w->cpu, &one);
    pthread_attr_init(&attr);
    int rc = pthread_attr_setaffinity_np(&attr, sizeof(one), &one);
    if (rc == 0)
        rc = pthread_create(&w->thread, &attr, look, w);
    pthread_attr_destroy(&attr);
    return rc;
}

static void print(const struct watch *w)
{
    char name[32];
    snprintf(name, sizeof(name), "noise/cpu%u", w->cpu);
    result_begin(name, &w->gaps);
    printf(", \"stolen_ppm\": %.0f, \"ms\": %llu}\n", (double)w->stolen * 1e6 / (double)w->ns,
           (unsigned long long)(w->ns / 1000000));
}

static int run(const cpu_set_t *cpus, uint64_t ns)
{
    unsigned n = (unsigned)CPU_COUNT(cpus), have = 0;
    struct watch *watches = calloc(n, sizeof(*watches));
    pthread_barrier_t barrier;
    if (watches == NULL || pthread_barrier_init(&barrier, NULL, n) != 0) {
        fprintf(stderr, "noise: no memory for %u threads\n", n);
        return 1;
    }
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && have < n; cpu++) {
        if (!CPU_ISSET(cpu, cpus))
            continue;
        struct watch *w = &watches[have++];
        w->cpu = cpu;
        w->ns = ns;
        w->start = &barrier;
        int rc = start(w);
        if (rc != 0) { /* those that wait at the barrier end with the process */
            fprintf(stderr, "noise: no thread on CPU %u: %s\n", cpu, strerror(rc));
            exit(NOT_PINNED);
        }
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(watches[i].thread, NULL);
    for (unsigned i = 0; i < n; i++)
        print(&watches[i]);
    pthread_barrier_destroy(&barrier);
    free(watches);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long ms = MS_DEFAULT;
    char *end = NULL;
    if (argc == 3 && strcmp(argv[1], "--ms") == 0)
        ms = strtoul(argv[2], &end, 10);
    if ((argc != 1 && (end == NULL || end == argv[2] || *end != 0)) || ms < MS_LEAST ||
        ms > MS_MOST) {
        fprintf(stderr, "usage: pando-noise [--ms %d..%d]\n", MS_LEAST, MS_MOST);
        return 2;
    }
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) {
        fprintf(stderr, "noise: which CPUs may be used: %s\n", strerror(errno));
        return 1;
    }
    return run(&cpus, ms * UINT64_C(1000000));
}
