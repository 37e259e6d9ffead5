/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small messages over a wire that loses frames: RRDP on af_packet and af_xdp, and kernel TCP, over
 * the same devices. An XDP program (bpf/fault.h) in a namespace in the middle loses frames both
 * ways, the same for all of them.
 *
 * Open loop: a message is due every --interval-us, whatever became of those before, and its time
 * counts from then; at most 8 are under way, so what comes due behind a stall waits, and counts.
 *
 * usage: pando-loss [--rounds N] [--samples N] [--ppm N] [--interval-us N]
 * One JSON object a line: loss/VARIANT/PPM (less the time that a side did not run; PPM/all: with
 * it), and loss/wire with what the wire did.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/fault.h"
#include "perf/result.h"
#include "perf/rtt_options.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum {
    WINDOW = 8, /* messages under way at most */
    BYTES = 64,
    VARIANTS = 3,
    RATES = 2,
    STALL_MS = 5, /* longer is a stall */
    STOOD_MS = 1, /* a poll loop that comes round later did not run */
    DRAIN_MS = 3000,
};

struct load_result {
    struct hist hist; /* without the time that a side did not run */
    struct hist all;
    uint64_t unanswered, stalls, excused, gap;
    uint32_t rounds;
    uint64_t p50[RTT_ROUNDS_MAX], p99[RTT_ROUNDS_MAX], all_p50[RTT_ROUNDS_MAX];
};

struct message {
    uint64_t due;
    uint64_t stood[2]; /* for how long the sides had not run until then */
};

/* The client's messages: answers come in the order of the questions. */
struct load {
    struct rtt_side *s;
    struct load_result *result;
    struct hist round, all; /* of this round */
    struct message message[WINDOW];
    uint64_t next_due;
    uint64_t stood_from, stood_to; /* when this side last did not run */
    uint64_t sent, answered, polled, warm;
};

struct variant {
    const char *name;
    void *context;
    bool (*send)(struct load *l, void *context); /* false: not now */
    void (*receive)(struct load *l, void *context);
    void (*answer)(struct rtt_side *s, void *context);
};

static uint32_t interval_us = 50;
static uint32_t rate_ppm[RATES] = {0, 10000};
static struct load_result results[VARIANTS][RATES];
static struct fault *wire[2];

/* ---- the wire: the parent ------------------------------------------------------------------- */

static bool join_wire(struct rtt_shared *shared)
{
    char err[XDP_ERROR_MAX] = "";
    (void)shared;
    for (unsigned i = 0; i < 2; i++) {
        struct fault_config c = {.seed = 1 + i}; /* the directions do not lose in step */
        if (fault_open(i ? "right" : "left", i ? "left" : "right", &c, &wire[i], err) != 0) {
            fprintf(stderr, "pando-loss: no wire: %s\n", err);
            return false;
        }
    }
    return true;
}

static void tend_wire(struct rtt_shared *shared)
{
    uint32_t ppm = atomic_load(&shared->loss_ppm);
    uint64_t n[FAULT_REASONS], forwarded = 0, lost = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct fault_config c = {.seed = rtt_now() + i, .drop_ppm = ppm};
        if (ppm != atomic_load(&shared->wired) && fault_set(wire[i], &c) != 0)
            atomic_store(&shared->failed, 1);
        fault_counters(wire[i], n);
        forwarded += n[FAULT_FORWARDED];
        lost += n[FAULT_LOST];
    }
    atomic_store(&shared->forwarded, forwarded);
    atomic_store(&shared->lost, lost);
    atomic_store(&shared->wired, ppm);
}

/* Redirected frames enter a veth only if its driver polls, which GRO turns on, and carry no
 * offloads: the sender's checksums must be complete (without that the kernel does not segment late,
 * either). */
static bool prepare_device(void)
{
    static const uint32_t set[2][2] = {{ETHTOOL_STXCSUM, 0}, {ETHTOOL_SGRO, 1}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0;
    for (unsigned i = 0; i < 2 && good; i++) {
        struct ethtool_value v = {.cmd = set[i][0], .data = set[i][1]};
        struct ifreq r = {.ifr_name = "rtt0", .ifr_data = (char *)&v};
        good = ioctl(fd, SIOCETHTOOL, &r) == 0;
    }
    if (fd >= 0)
        close(fd);
    return good;
}

/* ---- both sides ----------------------------------------------------------------------------- */

/* Each side adds up for how long it did not run, when it does again. */
static uint64_t polled(struct rtt_side *s, uint64_t *last)
{
    uint64_t now = rtt_now(), gap = *last != 0 ? now - *last : 0;
    if (gap > STOOD_MS * MS)
        atomic_fetch_add(&s->shared->stood[s->side], gap);
    if (gap > atomic_load_explicit(&s->shared->gap[s->side], memory_order_relaxed))
        atomic_store(&s->shared->gap[s->side], gap);
    *last = now;
    return now;
}

static uint64_t load_polled(struct load *l)
{
    uint64_t before = l->polled, now = polled(l->s, &l->polled);
    if (before != 0 && now - before > STOOD_MS * MS) {
        l->stood_from = before;
        l->stood_to = now;
    }
    return now;
}

/* What a message took less the time that a side did not run meanwhile: of the two the longer, since
 * they may have been the same time, so never too little is left. */
static uint64_t took_net(const struct load *l, const struct message *m, uint64_t took)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t stood = atomic_load(&l->s->shared->stood[i]) - m->stood[i];
        most = stood > most ? stood : most;
    }
    return took > most ? took - most : 0;
}

static void load_sent(struct load *l, uint64_t due)
{
    struct message *m = &l->message[l->sent++ % WINDOW];
    uint64_t from = due > l->stood_from ? due : l->stood_from;
    m->due = due;
    for (unsigned i = 0; i < 2; i++)
        m->stood[i] = atomic_load(&l->s->shared->stood[i]);
    if (l->stood_to > from) /* it became due while this side did not run */
        m->stood[0] -= l->stood_to - from;
}

static void load_answered(struct load *l)
{
    uint64_t now = load_polled(l);
    if (l->answered == l->sent)
        return; /* an answer to what was given up */
    const struct message *m = &l->message[l->answered % WINDOW];
    if (l->answered++ < l->warm)
        return;
    uint64_t took = now - m->due, net = took_net(l, m, took);
    hist_add(&l->all, took);
    hist_add(&l->round, net);
    l->result->stalls += net > STALL_MS * MS;
    l->result->excused += took > STALL_MS * MS && net <= STALL_MS * MS;
}

static void rrdp_answered(void *arg, uint32_t number)
{
    (void)number;
    load_answered(arg);
}

static bool rrdp_say_one(struct load *l, void *context)
{
    struct rtt_head h = {.kind = RTT_KIND_ASK, .number = (uint32_t)l->sent, .reply = BYTES};
    return rtt_rrdp_say(l->s, context, &h, BYTES) == 0;
}

static void rrdp_look(struct load *l, void *context)
{
    rtt_rrdp_poll(l->s, context);
}

static bool tcp_say_one(struct load *l, void *context)
{
    static const uint8_t bytes[BYTES];
    (void)l;
    return send(*(int *)context, bytes, BYTES, MSG_NOSIGNAL) == BYTES; /* far from a full buffer */
}

static void tcp_look(struct load *l, void *context)
{
    static uint32_t have, empty;
    uint8_t bytes[BYTES * WINDOW];
    ssize_t n = recv(*(int *)context, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n <= 0) {
        rtt_relax(&empty);
        return;
    }
    empty = 0;
    for (have += (uint32_t)n; have >= BYTES; have -= BYTES)
        load_answered(l);
}

static void ask_all(struct rtt_side *s, const struct variant *v, struct load *l)
{
    uint64_t count = l->warm + s->options->samples, now = rtt_now();
    uint64_t interval_ns = interval_us * US, limit = now + count * interval_ns + DRAIN_MS * MS;
    l->next_due = now;
    while (l->answered < count && now < limit) {
        now = load_polled(l);
        if (l->sent < count && now >= l->next_due && l->sent - l->answered < WINDOW &&
            v->send(l, v->context)) {
            load_sent(l, l->next_due);
            l->next_due += interval_ns;
        }
        v->receive(l, v->context);
    }
    l->result->unanswered += count - l->answered;
}

static void load_round(struct rtt_side *s, const struct variant *v, struct load_result *result)
{
    static struct load l;
    l = (struct load){.s = s, .result = result, .warm = s->options->samples / 10};
    s->shape = (struct rtt_shape){BYTES, BYTES};
    if (s->side == 0)
        atomic_store(&s->shared->asking, 1);
    atomic_store(&s->shared->gap[s->side], 0);
    rtt_twin_barrier(s);
    if (s->side == 1) {
        for (uint64_t last = 0; atomic_load_explicit(&s->shared->asking, memory_order_relaxed);) {
            polled(s, &last);
            v->answer(s, v->context);
        }
        rtt_twin_barrier(s);
        return;
    }
    if (v->send == rrdp_say_one)
        rtt_port_on_answer(v->context, rrdp_answered, &l);
    ask_all(s, v, &l);
    atomic_store(&s->shared->asking, 0);
    rtt_twin_barrier(s);
    for (unsigned i = 0; i < 2; i++)
        if (atomic_load(&s->shared->gap[i]) > result->gap)
            result->gap = atomic_load(&s->shared->gap[i]);
    result->p50[result->rounds] = hist_quantile(&l.round, 500);
    result->all_p50[result->rounds] = hist_quantile(&l.all, 500);
    result->p99[result->rounds++] = hist_quantile(&l.round, 990);
    hist_merge(&result->hist, &l.round);
    hist_merge(&result->all, &l.all);
}

static void set_rate(struct rtt_side *s, uint32_t ppm)
{
    if (s->side == 0)
        atomic_store(&s->shared->loss_ppm, ppm);
    while (s->side == 0 && atomic_load(&s->shared->wired) != ppm) {
        if (atomic_load(&s->shared->failed))
            _exit(1);
        usleep(500);
    }
    rtt_twin_barrier(s);
}

static void print_list(const char *name, const uint64_t *ns, uint32_t n)
{
    printf(", \"%s\": [", name);
    for (uint32_t i = 0; i < n; i++)
        printf("%s%.3f", i ? ", " : "", (double)ns[i] / 1e3);
    printf("]");
}

static void print(const char *variant, uint32_t ppm, const struct load_result *r)
{
    char name[64];
    snprintf(name, sizeof(name), "loss/%s/%u", variant, ppm);
    result_begin(name, &r->hist);
    printf(", \"unanswered\": %llu, \"stalls\": %llu, \"stalls_excused\": %llu, "
           "\"poll_gap_max\": %.3f",
           (unsigned long long)r->unanswered, (unsigned long long)r->stalls,
           (unsigned long long)r->excused, (double)r->gap / 1e3);
    print_list("round_p50", r->p50, r->rounds);
    print_list("round_p99", r->p99, r->rounds);
    printf("}\n");
    snprintf(name, sizeof(name), "loss/%s/%u/all", variant, ppm);
    result_begin(name, &r->all);
    print_list("round_p50", r->all_p50, r->rounds);
    printf("}\n");
}

static void run(struct rtt_side *s)
{
    struct rtt_port *ports[RTT_FABRICS];
    struct variant v[VARIANTS];
    unsigned n = 0;
    if (!prepare_device())
        rtt_fail(s, "loss: rtt0 does not let its offloads be turned off");
    rtt_twin_barrier(s);
    rtt_fabrics_open(s, 1u << RTT_AF_PACKET | 1u << RTT_AF_XDP, ports);
    int tcp = rtt_tcp_open(s);
    if (tcp < 0)
        rtt_fail(s, strerror(-tcp));
    for (unsigned i = 0; i < RTT_FABRICS; i++)
        if (ports[i] != NULL)
            v[n++] = (struct variant){rtt_fabric_names[i], ports[i], rrdp_say_one, rrdp_look,
                                      rtt_rrdp_answer};
    v[n++] = (struct variant){"tcp_spin", &tcp, tcp_say_one, tcp_look, rtt_tcp_spin_answer};
    for (uint32_t round = 0; round < s->options->rounds; round++)
        for (unsigned k = 0; k < RATES; k++) {
            set_rate(s, rate_ppm[k]);
            for (unsigned i = 0; i < n; i++)
                load_round(s, &v[i], &results[i][k]);
        }
    for (unsigned i = 0; i < n && s->side == 0; i++)
        for (unsigned k = 0; k < RATES; k++)
            print(v[i].name, rate_ppm[k], &results[i][k]);
    if (s->side == 0)
        printf("{\"name\": \"loss/wire\", \"unit\": \"frames\", \"forwarded\": %llu, "
               "\"lost\": %llu}\n",
               (unsigned long long)atomic_load(&s->shared->forwarded),
               (unsigned long long)atomic_load(&s->shared->lost));
    fflush(stdout);
    rtt_twin_barrier(s);
    rtt_fabrics_close(ports);
    close(tcp);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct rtt_options o = {.rounds = 10,
                            .samples = 5000,
                            .mtu = 1500,
                            .middle = true,
                            .joined = join_wire,
                            .tend = tend_wire};
    const struct rtt_option options[] = {
        {.name = "rounds", .number = &o.rounds, .low = 1, .high = RTT_ROUNDS_MAX},
        {.name = "samples", .number = &o.samples, .low = 100, .high = 1000000},
        {.name = "ppm", .number = &rate_ppm[1], .low = 1, .high = 500000},
        {.name = "interval-us", .number = &interval_us, .low = 10, .high = 10000},
        {.name = NULL}};
    int status = rtt_main(argc, argv, options, &o, run);
    fault_close(wire[0]);
    fault_close(wire[1]);
    return status;
}
