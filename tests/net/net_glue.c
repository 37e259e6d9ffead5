/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vCPU threads and the VMM say to each other across nodes: rings, side slots, posted
 * interrupts, kicks, APIC announcements, wake-ups. Started once a node by tests/net/run_net.py (2
 * nodes).
 *
 * Node 0 drives; node 1 answers every VCPU_CMD by a VCPU_REP with the same bytes turned around.
 */
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor-glue/link/glue_ring.h"
#include "tests/net/fakevm.h"

enum { ROUNDS = 400, IRQS = 2000, WAIT_MS = 10000 };

static struct fakevm vm;
static uint32_t failures;
static _Atomic uint32_t signals;

static void expect(bool good, const char *what, uint64_t value)
{
    if (good)
        return;
    failures++;
    fprintf(stderr, "net_glue: node %u: %s (%llu)\n", vm.welcome.node, what,
            (unsigned long long)value);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static void ring_doorbell(void)
{
    uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&vm.shared->dp_sleeping, memory_order_relaxed) != 0)
        (void)!write(vm.doorbell, &one, sizeof(one));
}

static void put(uint32_t chan, const struct glue_entry *e, const void *bytes, uint32_t len)
{
    uint64_t end = now_ms() + WAIT_MS;
    int rc;
    while ((rc = glue_ring_put(&vm.shared->chan[chan].to_dp, e, bytes, len)) == -EAGAIN &&
           now_ms() < end)
        usleep(50);
    expect(rc == 0, "the ring never had room", (uint64_t)-rc);
    ring_doorbell();
}

/* Sleeps as a vCPU thread does: state, fence, look again, futex. */
static void sleep_for(uint32_t chan)
{
    struct glue_chan *c = &vm.shared->chan[chan];
    struct timespec most = {.tv_nsec = 200 * 1000 * 1000};
    atomic_store_explicit(&c->state, GLUE_SLEEPING, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (glue_ring_empty(&c->to_glue))
        syscall(SYS_futex, &c->state, FUTEX_WAIT, GLUE_SLEEPING, &most, NULL, 0);
    atomic_store_explicit(&c->state, GLUE_AWAKE, memory_order_relaxed);
}

/* Waits for an entry of a kind. The caller's buffer gets the payload. */
static bool get(uint32_t chan, uint8_t kind, struct glue_entry *e, uint8_t *bytes)
{
    struct glue_ring *r = &vm.shared->chan[chan].to_glue;
    uint64_t end = now_ms() + WAIT_MS;
    const uint8_t *payload;
    int rc;
    while ((rc = glue_ring_peek(r, e, &payload)) == 0 && now_ms() < end)
        sleep_for(chan);
    expect(rc == 1, "no answer", kind);
    if (rc != 1)
        return false;
    memcpy(bytes, payload, e->len);
    glue_ring_pop(r, e->len);
    expect(e->kind == kind, "another kind came", e->kind);
    return e->kind == kind;
}

/* Payloads of every interesting size through two channels, and back. */
static void echo(void)
{
    static const uint32_t size[] = {0, 1, 40, 41, 42, 43, 64, 1400, 4096, 8938, 9000, 16383, 16384};
    static uint8_t out[GLUE_SIDE_SIZE], in[GLUE_SIDE_SIZE];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t len = size[i % (sizeof(size) / sizeof(size[0]))],
                 chan = i % 2 ? vm.welcome.vcpus : 0;
        struct glue_entry e = {.kind = WIRE_VCPU_CMD,
                               .node = 1,
                               .chan = chan == 0 ? 0 : WIRE_CHAN_VM,
                               .op = (uint16_t)i,
                               .seq = i * 7,
                               .arg = ~(uint64_t)i};
        for (uint32_t k = 0; k < len; k++)
            out[k] = (uint8_t)(k * 31 + i);
        put(chan, &e, out, len);
        struct glue_entry a;
        if (!get(chan, WIRE_VCPU_REP, &a, in))
            return;
        expect(a.node == 1 && a.op == (uint16_t)i && a.seq == i * 7 && a.arg == ~(uint64_t)i &&
                   a.len == len,
               "an answer with other fields", i);
        for (uint32_t k = 0; k < len; k++)
            if ((in[k] ^ out[k]) != 0xFF) {
                expect(false, "an answer with other bytes", len);
                break;
            }
    }
}

static _Noreturn void serve(void)
{
    static uint8_t bytes[GLUE_SIDE_SIZE];
    uint32_t chans[] = {0, vm.welcome.vcpus};
    for (;;)
        for (uint32_t c = 0; c < 2; c++) {
            struct glue_ring *r = &vm.shared->chan[chans[c]].to_glue;
            struct glue_entry e;
            const uint8_t *payload;
            if (glue_ring_peek(r, &e, &payload) != 1) {
                usleep(20);
                continue;
            }
            uint32_t len = e.len;
            for (uint32_t k = 0; k < len; k++)
                bytes[k] = (uint8_t)~payload[k];
            glue_ring_pop(r, len);
            e.kind = WIRE_VCPU_REP;
            put(chans[c], &e, bytes, len);
        }
}

/* vCPU 2 and 3 live on node 1 and forward what is posted to them to vCPU 0 and 1: vector + 1, or
 * NMI as it is. */
static void *bounce(void *arg)
{
    uint32_t v = (uint32_t)(uintptr_t)arg;
    struct glue_posted *p = &vm.shared->chan[v].posted;
    fakevm_is_vcpu(&vm, v);
    for (;;) {
        atomic_store_explicit(&vm.shared->chan[v].state, GLUE_IN_GUEST, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        usleep(100000); /* a signal ends it */
        atomic_store_explicit(&vm.shared->chan[v].state, GLUE_AWAKE, memory_order_relaxed);
        for (uint32_t w = 0; w < 4; w++) {
            uint64_t bits = atomic_exchange(&p->irr[w], 0);
            for (; bits != 0; bits &= bits - 1) {
                uint32_t vector = w * 64 + (uint32_t)__builtin_ctzll(bits);
                struct glue_entry e = {.kind = WIRE_IRQ,
                                       .node = 0,
                                       .chan = (uint16_t)(v - 2),
                                       .op = GLUE_IRQ_LEVEL,
                                       .arg = vector + 1};
                put(v, &e, NULL, 0);
            }
        }
        if (atomic_exchange(&p->events, 0) & GLUE_POST_NMI) {
            struct glue_entry e = {
                .kind = WIRE_IRQ, .node = 0, .chan = (uint16_t)(v - 2), .op = GLUE_IRQ_NMI};
            put(v, &e, NULL, 0);
        }
    }
    return NULL;
}

static bool wait_bit(_Atomic uint64_t *word, uint64_t bit)
{
    uint64_t end = now_ms() + WAIT_MS;
    while ((atomic_load(word) & bit) == 0)
        if (now_ms() > end)
            return false;
        else
            usleep(10);
    atomic_fetch_and(word, ~bit);
    return true;
}

static void interrupts(void)
{
    for (uint32_t i = 0; i < IRQS; i++) {
        uint32_t v = i % 2, vector = 32 + i % 200;
        struct glue_posted *p = &vm.shared->chan[v].posted;
        struct glue_entry e = {.kind = WIRE_IRQ,
                               .node = 1,
                               .chan = (uint16_t)(2 + v),
                               .op = GLUE_IRQ_EDGE,
                               .arg = vector};
        put(v, &e, NULL, 0);
        uint64_t bit = UINT64_C(1) << (vector + 1) % 64;
        if (!wait_bit(&p->irr[(vector + 1) / 64], bit)) {
            expect(false, "an interrupt did not come back", vector);
            return;
        }
        expect((atomic_load(&p->level[(vector + 1) / 64]) & bit) != 0, "level was lost", vector);
    }
    struct glue_entry nmi = {.kind = WIRE_IRQ, .node = 1, .chan = 3, .op = GLUE_IRQ_NMI};
    put(1, &nmi, NULL, 0);
    uint64_t end = now_ms() + WAIT_MS;
    while ((atomic_load(&vm.shared->chan[1].posted.events) & GLUE_POST_NMI) == 0 && now_ms() < end)
        usleep(100);
    expect((atomic_load(&vm.shared->chan[1].posted.events) & GLUE_POST_NMI) != 0,
           "NMI did not come back", 0);
}

/* An announcement is stored by both dataplanes and acknowledged into the announcer's channel. */
static void announce(void)
{
    uint8_t bytes[GLUE_SIDE_SIZE];
    for (uint8_t node = 0; node < 2; node++) {
        struct glue_entry e = {.kind = WIRE_APIC_SET,
                               .node = node,
                               .chan = 1,
                               .op = 5,
                               .seq = (uint32_t)WIRE_CHAN_VM << 16 | 9,
                               .arg = 0x1234};
        put(1, &e, NULL, 0);
        struct glue_entry a;
        if (get(vm.welcome.vcpus, WIRE_APIC_ACK, &a, bytes))
            expect(a.node == node && a.seq == e.seq && a.chan == 1, "another acknowledgement",
                   a.seq);
    }
    struct glue_apic *t = &vm.shared->apic[1];
    expect(t->arg == 0x1234 && t->op == 5 && atomic_load(&t->lock) == 2,
           "the announcement is not in the table", t->arg);
    struct glue_entry k = {.kind = WIRE_KICK, .node = 0, .chan = 1, .arg = 77};
    put(0, &k, NULL, 0);
    uint64_t end = now_ms() + WAIT_MS;
    while (atomic_load(&vm.shared->chan[1].kick_run) != 77 && now_ms() < end)
        usleep(100);
    expect(atomic_load(&vm.shared->chan[1].kick_run) == 77, "the kick did not come", 0);
}

/* Broken entries are dropped and counted; the ring goes on. run_net.py looks at the counters. */
static void nonsense(void)
{
    static const struct glue_entry bad[] = {
        {.kind = 0, .node = 1},
        {.kind = WIRE_GETS, .node = 1},
        {.kind = 0xFF, .node = 1},
        {.kind = WIRE_TIME_REQ, .node = 1}, /* the dataplanes' own */
        {.kind = WIRE_TIME_REP, .node = 0},
        {.kind = WIRE_VCPU_CMD, .node = 2},
        {.kind = WIRE_VCPU_CMD, .node = 255},
        {.kind = WIRE_VCPU_CMD, .node = 1, .chan = 4},
        {.kind = WIRE_IRQ, .node = 1, .chan = WIRE_CHAN_VM, .op = 1},
        {.kind = WIRE_IRQ, .node = 1, .chan = 2, .op = 0},
        {.kind = WIRE_IRQ, .node = 1, .chan = 2, .op = 7},
        {.kind = WIRE_IRQ, .node = 1, .chan = 2, .op = 1, .arg = 256},
        {.kind = WIRE_IRQ, .node = 0, .chan = 3, .op = 1, .arg = 50}, /* not at home here */
    };
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        put(0, &bad[i], NULL, 0);
}

static void *watch_stop(void *arg)
{
    char text[GLUE_ERROR_TEXT];
    int status = fakevm_wait(&vm, text);
    (void)arg;
    fprintf(stderr, "net_glue: node %u: stopped: %s\n", vm.welcome.node, text);
    if (vm.welcome.node == 1)
        expect(atomic_load(&signals) > 0, "no thread in the guest was ever kicked", 0);
    fflush(NULL);
    _exit(status == 0 && failures == 0 ? 0 : 3);
}

static void on_kick(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--socket") != 0)
        return 2;
    struct sigaction kick = {.sa_handler = on_kick};
    sigaction(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET, &kick, NULL);
    fakevm_open(&vm, argv[2], 16, false);
    pthread_t thread;
    pthread_create(&thread, NULL, watch_stop, NULL);
    if (vm.welcome.node == 1) {
        for (uintptr_t v = 2; v < 4; v++)
            pthread_create(&thread, NULL, bounce, (void *)v);
        serve();
    }
    usleep(300000); /* node 1 connects */
    echo();
    interrupts();
    announce();
    nonsense();
    echo();
    printf("net_glue: %s\n", failures == 0 ? "all as it should be" : "WRONG");
    fflush(stdout);
    fakevm_bye(&vm, failures);
    _exit(failures == 0 ? 0 : 4);
}
