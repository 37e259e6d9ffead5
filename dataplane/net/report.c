/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "dataplane/net/net.h"

uint64_t net_cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

double net_us(uint64_t ns)
{
    return (double)ns / 1000;
}

json_t *net_hist(const struct hist *h)
{
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        if (h->bucket[i] != 0)
            json_array_append_new(
                buckets, json_pack("[I, I]", (json_int_t)hist_upper(i), (json_int_t)h->bucket[i]));
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:o}", "n", (json_int_t)h->count, "p50_us",
                     net_us(hist_quantile(h, 500)), "p99_us", net_us(hist_quantile(h, 990)),
                     "p999_us", net_us(hist_quantile(h, 999)), "max_us", net_us(h->max), "buckets",
                     buckets);
}

static uint64_t sum(const uint64_t of[WIRE_CLASSES])
{
    uint64_t total = 0;
    for (unsigned c = 0; c < WIRE_CLASSES; c++)
        total += of[c];
    return total;
}

json_t *net_head(const struct session *s, const char *what)
{
    const struct rrdp_counters *c = rrdp_counters(endpoint_rrdp(s->ep), s->far);
    json_t *transport = json_pack(
        "{s:I, s:I, s:I, s:f, s:i}", "tx_frames", (json_int_t)sum(c->tx_frames), "rx_frames",
        (json_int_t)sum(c->rx_frames), "sent_again", (json_int_t)sum(c->retransmit), "rtt_us",
        net_us(rrdp_peer_rtt_ns(endpoint_rrdp(s->ep), s->far)), "mtu",
        (int)rrdp_peer_mtu(endpoint_rrdp(s->ep), s->far));
    return json_pack("{s:i, s:s, s:s, s:i, s:i, s:s, s:o}", "schema", 1, "what", what, "cluster",
                     s->cfg.cluster, "node", (int)s->self, "far", (int)s->far, "fabric",
                     s->fabric.text, "transport", transport);
}

bool net_print(json_t *report)
{
    char *text = report != NULL ? json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    bool done = text != NULL && printf("%s\n", text) > 0 && fflush(stdout) == 0;
    if (!done)
        fprintf(stderr, "pando: the results could not be written\n");
    free(text);
    json_decref(report);
    return done;
}
