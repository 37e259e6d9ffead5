/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips on every fabric, raw and through RRDP, and over the kernel's sockets: rtt/VARIANT/N,
 * N bytes there and back; fetch/VARIANT/4096, 64 bytes there and a page back.
 *
 * usage: pando-rtt [--sizes A,B,...] [--rounds N] [--samples N] [--mtu N] [--huge] [--wire]
 * One JSON object a line, as the benches want it, with the medians of the rounds for whoever
 * computes ratios. --sizes none: fetch only. --wire: lengths of frames as captured, too.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/result.h"
#include "perf/rtt.h"

enum { VARIANTS_MAX = RTT_FABRICS * 2 + 3, SHAPES_MAX = 9, FETCH_ASK = 64, SIZE_MAX_BYTES = 1024 };

static struct rtt_result results[VARIANTS_MAX][SHAPES_MAX];
static struct rtt_shape shapes[SHAPES_MAX];
static uint32_t shape_count;
static bool wire;

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

static void print(const char *variant, const struct rtt_shape *shape, const struct rtt_result *r)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s/%u", shape->ask == shape->reply ? "rtt" : "fetch", variant,
             shape->reply);
    result_begin(name, &r->hist);
    printf(", \"lost\": %llu, \"round_p50\": [", (unsigned long long)r->lost);
    for (uint32_t i = 0; i < r->rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)r->round_p50[i] / 1e3);
    printf("]}\n");
}

/* Returns how many there are. */
static unsigned list_variants(struct rtt_port *ports[RTT_FABRICS], int *tcp, int *udp,
                              struct rtt_variant v[VARIANTS_MAX])
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
    return n;
}

static void run(struct rtt_side *s)
{
    struct rtt_port *ports[RTT_FABRICS];
    struct rtt_variant v[VARIANTS_MAX];
    rtt_fabrics_open(s, (1u << RTT_FABRICS) - 1, ports);
    int tcp = rtt_tcp_open(s), udp = tcp < 0 ? tcp : rtt_udp_open(s);
    if (udp < 0)
        rtt_fail(s, strerror(-udp));
    unsigned variants = list_variants(ports, &tcp, &udp, v);
    for (uint32_t round = 0; round < s->options->rounds; round++)
        for (unsigned k = 0; k < shape_count; k++)
            for (unsigned i = 0; i < variants; i++)
                rtt_round(s, &v[i], shapes[k], &results[i][k]);
    for (unsigned k = 0; k < shape_count && s->side == 0; k++)
        for (unsigned i = 0; i < variants; i++)
            print(v[i].name, &shapes[k], &results[i][k]);
    if (wire && ports[RTT_AF_PACKET] != NULL)
        rtt_wire(s, ports[RTT_AF_PACKET]);
    fflush(stdout);
    rtt_twin_barrier(s);
    rtt_fabrics_close(ports);
    close(tcp);
    close(udp);
    _exit(0);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: pando-rtt [--sizes none|A,B,... each %d..%d, at most %d] [--rounds 1..%d]\n"
            "                 [--samples 10..1000000] [--mtu 1500..%d] [--huge] [--wire]\n",
            RTT_MIN, SIZE_MAX_BYTES, SHAPES_MAX - 1, RTT_ROUNDS_MAX, RRDP_MTU_MAX);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"sizes", required_argument, NULL, 'z'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"samples", required_argument, NULL, 's'},
                                          {"mtu", required_argument, NULL, 'm'},
                                          {"huge", no_argument, NULL, 'h'},
                                          {"wire", no_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
    struct rtt_options o = {.rounds = 10, .samples = 2000, .mtu = 9000};
    struct rtt_side side;
    int c, status = 1;
    (void)parse_sizes("32,64,128,256,512");
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long value = optarg != NULL ? strtoul(optarg, NULL, 0) : 0;
        if (c == 'r' && value >= 1 && value <= RTT_ROUNDS_MAX)
            o.rounds = (uint32_t)value;
        else if (c == 's' && value >= 10 && value <= 1000000)
            o.samples = (uint32_t)value;
        else if (c == 'm' && value >= 1500 && value <= RRDP_MTU_MAX)
            o.mtu = (uint16_t)value;
        else if (c == 'h')
            o.huge = true;
        else if (c == 'w')
            wire = true;
        else if (c != 'z' || !parse_sizes(optarg))
            return usage();
    }
    if (optind != argc)
        return usage();
    if (geteuid() != 0) {
        fprintf(stderr, "rtt: network namespaces and packet sockets need root\n");
        return 77;
    }
    if (rtt_twin_start(&o, &side, &status))
        run(&side);
    return status;
}
