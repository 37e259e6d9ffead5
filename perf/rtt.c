/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips on every fabric, raw and through RRDP, and over the kernel's sockets: rtt/VARIANT/N,
 * N bytes there and back; fetch/VARIANT/4096, 64 bytes there and a page back.
 *
 * usage: pando-rtt [--sizes A,B,...] [--rounds N] [--samples N] [--mtu N] [--huge] [--classes]
 *                  [--wire]
 * One JSON object a line, as the benches want it, with the medians of the rounds for whoever
 * computes ratios. --sizes none: fetch only. --classes: class/VARIANT/CLASS/32 too, 32 bytes there
 * and back in each of the transport's classes, on CLASSED; "sent" is how many messages left in that
 * class meanwhile. --wire: lengths of frames as captured, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/transport/rrdp.h"
#include "dataplane/wire/wire.h"
#include "perf/result.h"
#include "perf/rtt_options.h"

enum {
    VARIANTS_MAX = RTT_FABRICS * 2 + 3 + RTT_UCX,
    SHAPES_MAX = 9,
    FETCH_ASK = 64,
    SIZE_MAX_BYTES = 1024
};

static const enum rtt_fabric CLASSED[] = {RTT_SHM, RTT_AF_PACKET, RTT_AF_XDP};
enum { CLASSED_N = sizeof(CLASSED) / sizeof(CLASSED[0]) };

struct classed {
    struct rtt_result result;
    uint64_t sent;
};

static struct rtt_result results[VARIANTS_MAX][SHAPES_MAX];
static struct classed classed[CLASSED_N][WIRE_CLASSES];
static struct rtt_shape shapes[SHAPES_MAX];
static uint32_t shape_count;
static bool wire, classes;

/* Sizes, and the fetch behind them. */
static bool parse_sizes(const char *text)
{
    shape_count = 0;
    for (const char *at = text; strcmp(text, "none") != 0 && *at != 0;) {
        char *end;
        unsigned long size = strtoul(at, &end, 10);
        if (end == at || (*end != 0 && *end != ',') || size < RTT_MIN || size > SIZE_MAX_BYTES ||
            shape_count == SHAPES_MAX - 1)
            return false;
        shapes[shape_count++] = (struct rtt_shape){(uint32_t)size, (uint32_t)size};
        at = *end == ',' ? end + 1 : end;
    }
    shapes[shape_count++] = (struct rtt_shape){FETCH_ASK, RTT_PAGE};
    return true;
}

/* Without the closing brace. */
static void print_begin(const char *name, const struct rtt_result *r)
{
    result_begin(name, &r->hist);
    printf(", \"lost\": %llu, \"round_p50\": [", (unsigned long long)r->lost);
    for (uint32_t i = 0; i < r->rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)r->round_p50[i] / 1e3);
    printf("]");
}

static void print(const char *variant, const struct rtt_shape *shape, const struct rtt_result *r)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s/%u", shape->ask == shape->reply ? "rtt" : "fetch", variant,
             shape->reply);
    print_begin(name, r);
    printf("}\n");
}

static void measure_classes(struct rtt_side *s, struct rtt_port *ports[RTT_FABRICS])
{
    for (unsigned i = 0; i < CLASSED_N; i++)
        for (uint8_t c = 0; c < WIRE_CLASSES && ports[CLASSED[i]] != NULL; c++) {
            struct rtt_port *r = ports[CLASSED[i]];
            const struct rrdp_counters *n = rrdp_counters(rtt_port_rrdp(r), !s->side);
            struct rtt_variant v = {rtt_fabric_names[CLASSED[i]], r, rtt_rrdp_ask, rtt_rrdp_answer};
            struct rtt_shape shape = {RTT_MIN, RTT_MIN, true, c};
            uint64_t asked = n->tx_messages[c], answered = n->rx_messages[c];
            rtt_round(s, &v, shape, &classed[i][c].result);
            classed[i][c].sent += min_u64(n->tx_messages[c] - asked, n->rx_messages[c] - answered);
        }
}

static void print_classes(struct rtt_port *ports[RTT_FABRICS])
{
    for (unsigned i = 0; i < CLASSED_N; i++)
        for (uint8_t c = 0; c < WIRE_CLASSES && ports[CLASSED[i]] != NULL; c++) {
            char name[64];
            snprintf(name, sizeof(name), "class/%s/%s/%u", rtt_fabric_names[CLASSED[i]],
                     wire_class_name(c), RTT_MIN);
            print_begin(name, &classed[i][c].result);
            printf(", \"sent\": %llu}\n", (unsigned long long)classed[i][c].sent);
        }
}

static void open_ucx(struct rtt_side *s, struct rtt_ucx *ucx[RTT_UCX])
{
    for (unsigned t = 0; t < RTT_UCX; t++)
#ifdef PANDO_HAVE_UCX
        ucx[t] = rtt_ucx_open(s, t);
#else
        ucx[t] = NULL;
    if (s->side == 0)
        fprintf(stderr, "pando-rtt: UCX is left out: built without libucx-dev\n");
#endif
}

/* What UCX has in /dev/shm ends with it. */
static void close_ucx(struct rtt_ucx *ucx[RTT_UCX])
{
#ifdef PANDO_HAVE_UCX
    for (unsigned t = 0; t < RTT_UCX; t++)
        rtt_ucx_free(ucx[t]);
#else
    (void)ucx;
#endif
}

static unsigned list_ucx(struct rtt_ucx *ucx[RTT_UCX], struct rtt_variant *v)
{
    unsigned n = 0;
#ifdef PANDO_HAVE_UCX
    static const char *const names[RTT_UCX] = {"ucx_tcp", "ucx_shm"};
    for (unsigned t = 0; t < RTT_UCX; t++)
        if (ucx[t] != NULL)
            v[n++] = (struct rtt_variant){names[t], ucx[t], rtt_ucx_ask, rtt_ucx_answer};
#else
    (void)ucx;
    (void)v;
#endif
    return n;
}

/* Returns how many there are. */
static unsigned list_variants(struct rtt_port *ports[RTT_FABRICS], int *tcp, int *udp,
                              struct rtt_ucx *ucx[RTT_UCX], struct rtt_variant v[VARIANTS_MAX])
{
    static char raw_names[RTT_FABRICS][24];
    unsigned n = 0;
    for (unsigned i = 0; i < RTT_FABRICS; i++) {
        if (ports[i] == NULL)
            continue;
        snprintf(raw_names[i], sizeof(raw_names[i]), "raw_%s", rtt_fabric_names[i]);
        v[n++] = (struct rtt_variant){rtt_fabric_names[i], ports[i], rtt_rrdp_ask, rtt_rrdp_answer};
        v[n++] = (struct rtt_variant){raw_names[i], ports[i], rtt_raw_ask, rtt_raw_answer};
    }
    v[n++] = (struct rtt_variant){"tcp_spin", tcp, rtt_tcp_spin_ask, rtt_tcp_spin_answer};
    v[n++] = (struct rtt_variant){"tcp_block", tcp, rtt_tcp_block_ask, rtt_tcp_block_answer};
    v[n++] = (struct rtt_variant){"udp_spin", udp, rtt_udp_ask, rtt_udp_answer};
    return n + list_ucx(ucx, &v[n]);
}

static void run(struct rtt_side *s)
{
    struct rtt_port *ports[RTT_FABRICS];
    struct rtt_ucx *ucx[RTT_UCX];
    struct rtt_variant v[VARIANTS_MAX];
    rtt_fabrics_open(s, (1u << RTT_FABRICS) - 1, ports);
    int tcp = rtt_tcp_open(s), udp = tcp < 0 ? tcp : rtt_udp_open(s);
    if (udp < 0)
        rtt_fail(s, strerror(-udp));
    open_ucx(s, ucx);
    unsigned variants = list_variants(ports, &tcp, &udp, ucx, v);
    for (uint32_t round = 0; round < s->options->rounds; round++) {
        for (unsigned k = 0; k < shape_count; k++)
            for (unsigned i = 0; i < variants; i++)
                rtt_round(s, &v[i], shapes[k], &results[i][k]);
        if (classes)
            measure_classes(s, ports);
    }
    for (unsigned k = 0; k < shape_count && s->side == 0; k++)
        for (unsigned i = 0; i < variants; i++)
            print(v[i].name, &shapes[k], &results[i][k]);
    if (classes && s->side == 0)
        print_classes(ports);
    if (wire && ports[RTT_AF_PACKET] != NULL)
        rtt_wire(s, ports[RTT_AF_PACKET]);
    fflush(stdout);
    rtt_twin_barrier(s);
    rtt_fabrics_close(ports);
    close_ucx(ucx);
    close(tcp);
    close(udp);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct rtt_options o = {.rounds = 10, .samples = 2000, .mtu = 9000};
    const struct rtt_option options[] = {
        {.name = "sizes", .text = parse_sizes, .form = "none|A,B,... (32..1024, at most 8)"},
        {.name = "rounds", .number = &o.rounds, .low = 1, .high = RTT_ROUNDS_MAX},
        {.name = "samples", .number = &o.samples, .low = 10, .high = 1000000},
        {.name = "mtu", .number = &o.mtu, .low = 1500, .high = RRDP_MTU_MAX},
        {.name = "huge", .flag = &o.huge},
        {.name = "classes", .flag = &classes},
        {.name = "wire", .flag = &wire},
        {.name = NULL}};
    _Static_assert(RTT_MIN == 32 && SIZE_MAX_BYTES == 1024 && SHAPES_MAX == 9, "as --sizes says");
    (void)parse_sizes("32,64,128,256,512");
    return rtt_main(argc, argv, options, &o, run);
}
