/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages one after the other: how many a second, and how many for a second of CPU time of both
 * sides together, through RRDP on every fabric, in raw frames on the same ports, and through kernel
 * TCP, in interleaved rounds.
 *
 * Everything is counted at the receiver, which copies each page to where it belongs. CPU time is
 * the processes' own (getrusage). Sides that poll use theirs up whether there is work or not;
 * tcp_block sleeps when there is none.
 *
 * usage: pando-stream [--rounds N] [--ms N] [--mtu N] [--huge]
 * One JSON object a line: stream/VARIANT, with pages and CPU time of each round.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/transport/rrdp.h"
#include "perf/rtt_options.h"

#define MS UINT64_C(1000000)

enum {
    VARIANTS_MAX = RTT_FABRICS * 2 + 2,
    WARM_MS = 20,
    DRAIN_MS = 200,
    TCP_READ = 65536,
    WAIT_MS = 5
};

struct variant {
    const char *name;
    void *context;
    void (*send)(struct rtt_side *s, void *context);        /* pages, as many as go now */
    bool (*sent)(struct rtt_side *s, void *context);        /* nothing of them is left behind */
    uint64_t (*receive)(struct rtt_side *s, void *context); /* bytes of pages that came */
};

struct round {
    uint64_t pages, ns, cpu_ns;
};

static struct round rounds[VARIANTS_MAX][RTT_ROUNDS_MAX];
static uint32_t length_ms = 200;

static uint64_t cpu_now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000 * MS +
           ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

static void rrdp_pages(struct rtt_side *s, void *context)
{
    struct rtt_head h = {.kind = RTT_KIND_PAGE};
    while (rtt_rrdp_say(s, context, &h, RTT_PAGE) == 0)
        ;
    rtt_rrdp_poll(s, context);
}

static bool rrdp_sent(struct rtt_side *s, void *context)
{
    rtt_rrdp_poll(s, context);
    return rrdp_idle(rtt_port_rrdp(context));
}

static uint64_t rrdp_take(struct rtt_side *s, void *context)
{
    uint64_t before = rtt_port_pages(context);
    rtt_rrdp_poll(s, context);
    return (rtt_port_pages(context) - before) * RTT_PAGE;
}

/* What is not in the port is lost or has arrived. */
static bool raw_sent(struct rtt_side *s, void *context)
{
    (void)s;
    (void)context;
    return true;
}

static void tcp_page(struct rtt_side *s, void *context, int flags)
{
    static uint8_t page[RTT_PAGE];
    static uint32_t at, empty; /* a page may go in parts */
    ssize_t n = send(*(int *)context, page, RTT_PAGE - at, MSG_NOSIGNAL | flags);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        rtt_fail(s, "stream: the TCP connection broke");
    if (n < 0)
        rtt_relax(&empty);
    else
        empty = 0;
    at = n > 0 ? (at + (uint32_t)n) % RTT_PAGE : at;
}

static void tcp_block_page(struct rtt_side *s, void *context)
{
    tcp_page(s, context, 0);
}

static void tcp_spin_page(struct rtt_side *s, void *context)
{
    tcp_page(s, context, MSG_DONTWAIT);
}

static bool tcp_sent(struct rtt_side *s, void *context)
{
    (void)s;
    (void)context;
    return true; /* the receiver takes the rest of one round for the start of the next */
}

static uint64_t tcp_take(void *context, int flags)
{
    static uint8_t bytes[TCP_READ];
    static uint32_t empty;
    ssize_t n = recv(*(int *)context, bytes, sizeof(bytes), flags);
    if (n > 0)
        empty = 0;
    else if (flags != 0)
        rtt_relax(&empty);
    return n > 0 ? (uint64_t)n : 0;
}

static uint64_t tcp_spin_take(struct rtt_side *s, void *context)
{
    (void)s;
    return tcp_take(context, MSG_DONTWAIT);
}

static uint64_t tcp_block_take(struct rtt_side *s, void *context)
{
    (void)s;
    return tcp_take(context, 0);
}

/* What arrives while the client's clock runs, and what that costs here. */
static void receive_round(struct rtt_side *s, const struct variant *v)
{
    uint64_t cpu = 0, bytes = 0;
    bool counting = false;
    while (atomic_load_explicit(&s->shared->asking, memory_order_relaxed)) {
        uint64_t n = v->receive(s, v->context);
        bool wanted = atomic_load_explicit(&s->shared->counting, memory_order_relaxed) != 0;
        bytes += counting ? n : 0;
        if (wanted && !counting)
            cpu = cpu_now();
        if (!wanted && counting)
            atomic_store(&s->shared->cpu_ns, cpu_now() - cpu);
        counting = wanted;
    }
    atomic_store(&s->shared->pages, bytes / RTT_PAGE);
    rtt_twin_barrier(s);
}

static void stream_round(struct rtt_side *s, const struct variant *v, struct round *ret_round)
{
    if (s->side == 0)
        atomic_store(&s->shared->asking, 1);
    rtt_twin_barrier(s);
    if (s->side == 1) {
        receive_round(s, v);
        return;
    }
    for (uint64_t until = rtt_now() + WARM_MS * MS; rtt_now() < until;)
        v->send(s, v->context);
    uint64_t cpu = cpu_now(), start = rtt_now();
    atomic_store(&s->shared->counting, 1);
    while (rtt_now() < start + length_ms * MS)
        v->send(s, v->context);
    uint64_t ns = rtt_now() - start;
    cpu = cpu_now() - cpu;
    atomic_store(&s->shared->counting, 0);
    for (uint64_t until = rtt_now() + DRAIN_MS * MS; rtt_now() < until;)
        if (v->sent(s, v->context))
            break;
    usleep(2 * WAIT_MS * 1000); /* the receiver sees the end of the count, even from recv */
    atomic_store(&s->shared->asking, 0);
    rtt_twin_barrier(s);
    *ret_round = (struct round){.pages = atomic_load(&s->shared->pages),
                                .ns = ns,
                                .cpu_ns = cpu + atomic_load(&s->shared->cpu_ns)};
}

static void print(const char *name, const struct round *r, uint32_t n)
{
    printf("{\"name\": \"stream/%s\", \"unit\": \"pages/s\", \"round_pages_s\": [", name);
    for (uint32_t i = 0; i < n; i++)
        printf("%s%.1f", i ? ", " : "", (double)r[i].pages * 1e9 / (double)r[i].ns);
    printf("], \"round_pages_core_s\": [");
    for (uint32_t i = 0; i < n; i++)
        printf("%s%.1f", i ? ", " : "",
               r[i].cpu_ns ? (double)r[i].pages * 1e9 / (double)r[i].cpu_ns : 0);
    printf("]}\n");
}

static unsigned list_variants(struct rtt_port *ports[RTT_FABRICS], int *tcp,
                              struct variant v[VARIANTS_MAX])
{
    static char raw_names[RTT_FABRICS][24];
    unsigned n = 0;
    for (unsigned i = 0; i < RTT_FABRICS; i++) {
        if (ports[i] == NULL)
            continue;
        snprintf(raw_names[i], sizeof(raw_names[i]), "raw_%s", rtt_fabric_names[i]);
        v[n++] = (struct variant){rtt_fabric_names[i], ports[i], rrdp_pages, rrdp_sent, rrdp_take};
        v[n++] = (struct variant){raw_names[i], ports[i], rtt_raw_pages, raw_sent, rtt_raw_take};
    }
    v[n++] = (struct variant){"tcp_spin", tcp, tcp_spin_page, tcp_sent, tcp_spin_take};
    v[n++] = (struct variant){"tcp_block", tcp, tcp_block_page, tcp_sent, tcp_block_take};
    return n;
}

static void run(struct rtt_side *s)
{
    struct rtt_port *ports[RTT_FABRICS];
    struct variant v[VARIANTS_MAX];
    struct timeval bound = {.tv_usec = WAIT_MS * 1000};
    rtt_fabrics_open(s, (1u << RTT_FABRICS) - 1, ports);
    int tcp = rtt_tcp_open(s);
    if (tcp < 0)
        rtt_fail(s, strerror(-tcp));
    if (s->side == 1) /* so that a reader sees the end of a round */
        (void)setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    unsigned n = list_variants(ports, &tcp, v);
    for (uint32_t round = 0; round < s->options->rounds; round++)
        for (unsigned i = 0; i < n; i++)
            stream_round(s, &v[i], &rounds[i][round]);
    for (unsigned i = 0; i < n && s->side == 0; i++)
        print(v[i].name, rounds[i], s->options->rounds);
    fflush(stdout);
    rtt_twin_barrier(s);
    rtt_fabrics_close(ports);
    close(tcp);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct rtt_options o = {.rounds = 10, .mtu = 9000};
    const struct rtt_option options[] = {
        {.name = "rounds", .number = &o.rounds, .low = 1, .high = RTT_ROUNDS_MAX},
        {.name = "ms", .number = &length_ms, .low = 20, .high = 10000},
        {.name = "mtu", .number = &o.mtu, .low = 1500, .high = RRDP_MTU_MAX},
        {.name = "huge", .flag = &o.huge},
        {.name = NULL}};
    return rtt_main(argc, argv, options, &o, run);
}
