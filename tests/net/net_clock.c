/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The published clocks of all nodes of a cluster on this machine, read through their segments as
 * vCPUs would and compared at the same TSC: net_clock SECONDS SOCKET... (node 0 first; started by
 * tests/net/run_net.py).
 *
 * Fails if a clock is not locked, steps back, or differs from another's by more than both state; if
 * vCPUs in the guest are not told of a drifting correction.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hypervisor-glue/link/glue_clock.h"
#include "tests/net/fakevm.h"

enum { NODES = 8, PAGES = 256 };

static struct fakevm vm[NODES];
static volatile sig_atomic_t kicks;

static void on_kick(int number)
{
    (void)number;
    kicks++;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

struct reading {
    struct clock_map map;
    uint64_t c, error;
};

/* Every node's clock at one TSC. False: a map was being written. */
static bool read_all(uint32_t nodes, struct reading *r)
{
    uint64_t tsc = glue_clock_tsc();
    for (uint32_t n = 0; n < nodes; n++) {
        const struct glue_clock *g = &vm[n].shared->clock;
        if (!glue_clock_read(g, &r[n].map))
            return false;
        uint64_t host = glue_clock_host(g, tsc);
        r[n].c = clock_map_at(&r[n].map, host);
        r[n].error = clock_map_error(&r[n].map, host);
    }
    return true;
}

static struct {
    uint64_t reads, worst, worst_error, sum, khz;
} seen;

static bool compare(uint32_t nodes, const struct reading *r, uint64_t *last)
{
    for (uint32_t n = 0; n < nodes; n++) {
        if (r[n].map.state != CLOCK_LOCKED && r[n].map.state != CLOCK_HOLDOVER)
            return fprintf(stderr, "net_clock: node %u is not locked\n", n), false;
        if (last[n] != 0 && (int64_t)(r[n].c - last[n]) < 0)
            return fprintf(stderr, "net_clock: node %u stepped back\n", n), false;
        last[n] = r[n].c;
        seen.worst_error = r[n].error > seen.worst_error ? r[n].error : seen.worst_error;
        for (uint32_t k = 0; k < n; k++) {
            int64_t off = (int64_t)(r[n].c - r[k].c);
            uint64_t apart = (uint64_t)(off < 0 ? -off : off);
            seen.worst = apart > seen.worst ? apart : seen.worst;
            seen.sum += apart;
            if (apart > r[n].error + r[k].error)
                return fprintf(stderr,
                               "net_clock: nodes %u and %u are beyond their bounds: %" PRIu64
                               " ticks apart, stated %" PRIu64 " and %" PRIu64 "\n",
                               k, n, apart, r[k].error, r[n].error),
                       false;
        }
    }
    seen.reads++;
    seen.khz = r[0].map.khz;
    return true;
}

/* This thread stands for a vCPU of each node, always in the guest. */
static void be_vcpus(uint32_t nodes)
{
    struct sigaction a = {.sa_handler = on_kick};
    sigaction(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET, &a, NULL);
    for (uint32_t n = 0; n < nodes; n++)
        for (uint32_t v = 0; v < vm[n].welcome.vcpus; v++)
            if (vm[n].welcome.vcpu_home[v] == n)
                fakevm_is_vcpu(&vm[n], v);
}

static uint32_t take_posts(uint32_t nodes)
{
    uint32_t told = 0;
    for (uint32_t n = 0; n < nodes; n++)
        for (uint32_t v = 0; v < vm[n].welcome.vcpus; v++) {
            struct glue_chan *c = &vm[n].shared->chan[v];
            if (vm[n].welcome.vcpu_home[v] != n)
                continue;
            atomic_store_explicit(&c->state, GLUE_IN_GUEST, memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
            told += (atomic_exchange(&c->posted.events, 0) & GLUE_POST_CLOCK) != 0;
        }
    return told;
}

int main(int argc, char **argv)
{
    uint32_t nodes = (uint32_t)argc - 2, told = 0;
    uint64_t last[NODES] = {0};
    struct reading r[NODES];
    bool good = true;
    if (argc < 3 || nodes > NODES)
        return 2;
    for (uint32_t n = 0; n < nodes; n++)
        fakevm_open(&vm[n], argv[2 + n], PAGES, false);
    be_vcpus(nodes);
    uint64_t end = now_ms() + strtoull(argv[1], NULL, 0) * 1000;
    while (good && now_ms() < end) {
        const struct timespec pause = {.tv_nsec = 100000};
        if (read_all(nodes, r))
            good = compare(nodes, r, last);
        told += take_posts(nodes);
        nanosleep(&pause, NULL);
    }
    if (good && nodes > 1 && (told == 0 || kicks == 0)) {
        fprintf(stderr, "net_clock: vCPUs were told %u times and kicked %d times\n", told,
                (int)kicks);
        good = false;
    }
    double us = seen.khz ? 1000.0 / (double)seen.khz : 0;
    uint64_t pairs = (uint64_t)nodes * (nodes - 1) / 2 * seen.reads;
    printf("%" PRIu64 " readings: skew worst %.2f us, mean %.2f us; largest stated bound %.2f us; "
           "vCPUs told %u times\n",
           seen.reads, (double)seen.worst * us, pairs ? (double)seen.sum / (double)pairs * us : 0,
           (double)seen.worst_error * us, told);
    fakevm_bye(&vm[0], 0);
    for (uint32_t n = 0; n < nodes; n++) {
        char text[GLUE_ERROR_TEXT];
        good &= fakevm_wait(&vm[n], text) == 0;
    }
    return good ? 0 : 1;
}
