/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips of 64 bytes (rtt/.../64) and of 64 bytes for 4 KiB (fetch/.../4096) on every fabric.
 *
 * usage: pando-rtt [--rounds N] [--samples N] [--mtu N] [--huge]
 * One JSON object a line, as the benches want it, with the medians of the rounds for whoever
 * computes ratios.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/port/eal.h"
#include "perf/result.h"
#include "perf/rtt.h"

enum { FABRICS = 3, VARIANTS = FABRICS * 2 + 2 };
static const char *const fabric_names[FABRICS] = {"shm", "memif", "af_packet"};

static struct rtt_result results[VARIANTS][2];

static int open_port(struct rtt_side *s, unsigned fabric, struct port **ret_port, char *err)
{
    switch (fabric) {
    case 0:
        return port_open_shm(s->dir, s->side, 2, s->options->mtu, ret_port, err);
    case 1:
        return port_open_memif(s->dir, s->side, 2, RTT_ETHERTYPE, s->options->mtu, ret_port, err);
    default:
        return port_open_af_packet("rtt0", RTT_ETHERTYPE, s->options->mtu, ret_port, err);
    }
}

static void fail(struct rtt_side *s, const char *what)
{
    fprintf(stderr, "rtt: %s\n", what);
    atomic_store(&s->shared->failed, 1);
    _exit(1);
}

static void print(const char *kind, const char *variant, uint32_t reply, const struct rtt_result *r)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s/%u", kind, variant, reply);
    result_begin(name, &r->hist);
    printf(", \"lost\": %llu, \"round_p50\": [", (unsigned long long)r->lost);
    for (uint32_t i = 0; i < r->rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)r->round_p50[i] / 1e3);
    printf("]}\n");
}

static void run(struct rtt_side *s)
{
    struct rtt_port *port[FABRICS];
    struct rtt_variant v[VARIANTS];
    char err[PORT_ERROR_MAX] = "", prefix[64];
    static char names[FABRICS][24];
    snprintf(prefix, sizeof(prefix), "pando-rtt-%d-%u", getppid(), s->side);
    if (port_eal_init(s->options->huge, PORT_EAL_ANY_CORE, prefix, false, err) != 0)
        fail(s, err);
    for (unsigned i = 0; i < FABRICS; i++) {
        struct port *p;
        if (open_port(s, i, &p, err) != 0)
            fail(s, err);
        rtt_twin_barrier(s);
        port[i] = rtt_port_new(s, p);
        if (port[i] == NULL || !rtt_port_connect(s, port[i])) {
            snprintf(err, sizeof(err), "%s: no connection", fabric_names[i]);
            fail(s, err);
        }
        rtt_twin_barrier(s);
        snprintf(names[i], sizeof(names[i]), "raw_%s", fabric_names[i]);
        v[i] = (struct rtt_variant){fabric_names[i], port[i], rtt_rrdp_ask, rtt_rrdp_answer};
        v[FABRICS + i] = (struct rtt_variant){names[i], port[i], rtt_raw_ask, rtt_raw_answer};
    }
    int tcp = rtt_tcp_open(s);
    if (tcp < 0)
        fail(s, strerror(-tcp));
    v[FABRICS * 2] = (struct rtt_variant){"tcp_spin", &tcp, rtt_tcp_spin_ask, rtt_tcp_spin_answer};
    v[FABRICS * 2 + 1] =
        (struct rtt_variant){"tcp_block", &tcp, rtt_tcp_block_ask, rtt_tcp_block_answer};
    for (uint32_t round = 0; round < s->options->rounds; round++)
        for (unsigned k = 0; k < 2; k++)
            for (unsigned i = 0; i < VARIANTS; i++)
                rtt_round(s, &v[i], k == 0 ? RTT_ASK : RTT_PAGE, &results[i][k]);
    for (unsigned k = 0; k < 2 && s->side == 0; k++)
        for (unsigned i = 0; i < VARIANTS; i++)
            print(k == 0 ? "rtt" : "fetch", v[i].name, k == 0 ? RTT_ASK : RTT_PAGE, &results[i][k]);
    fflush(stdout);
    rtt_twin_barrier(s);
    for (unsigned i = 0; i < FABRICS; i++)
        rtt_port_free(port[i]);
    close(tcp);
    port_eal_close();
    _exit(0);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"rounds", required_argument, NULL, 'r'},
                                          {"samples", required_argument, NULL, 's'},
                                          {"mtu", required_argument, NULL, 'm'},
                                          {"huge", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct rtt_options o = {.rounds = 10, .samples = 2000, .mtu = 9000};
    struct rtt_side side;
    int c, status = 1;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long value = c != 'h' && c != '?' ? strtoul(optarg, NULL, 0) : 0;
        if (c == 'r' && value >= 1 && value <= RTT_ROUNDS_MAX)
            o.rounds = (uint32_t)value;
        else if (c == 's' && value >= 10 && value <= 1000000)
            o.samples = (uint32_t)value;
        else if (c == 'm' && value >= RTT_PAGE + 100 && value <= RRDP_MTU_MAX)
            o.mtu = (uint16_t)value; /* the raw variants answer with one frame */
        else if (c == 'h')
            o.huge = true;
        else
            return fprintf(
                       stderr,
                       "usage: pando-rtt [--rounds 1..%d] [--samples N] [--mtu %d..%d] [--huge]\n",
                       RTT_ROUNDS_MAX, RTT_PAGE + 100, RRDP_MTU_MAX),
                   2;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "rtt: network namespaces and packet sockets need root\n");
        return 77;
    }
    if (rtt_twin_start(&o, &side, &status))
        run(&side);
    return status;
}
