/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "dataplane/net/net.h"

static const struct {
    const char *name;
    char *title;
    int (*main)(int argc, char **argv);
    const char *doc;
} benches[] = {
    {"rtt", (char[]){"pando bench rtt"}, bench_rtt, "round trips of messages, one at a time"},
    {"stream", (char[]){"pando bench stream"}, bench_stream, "pages, as many as go"},
};

static const char json_doc[] =
    "--json prints one object, on one line. It is this program's own and no result of ./dev "
    "bench,\n"
    "whose form is perf/schema.json; of both:\n"
    "  schema            1\n"
    "  what              rtt or stream\n"
    "  cluster, node, far, fabric\n"
    "  transport         tx_frames, rx_frames, sent_again, rtt_us, mtu\n"
    "of rtt:\n"
    "  rate              with --rate: messages a second\n"
    "  sizes             a list; each: class, bytes, reply (bytes of the answer), n, p50_us, "
    "p99_us,\n"
    "                    p999_us, max_us, buckets ([largest ns of the bucket, messages], ...),\n"
    "                    unanswered, seconds\n"
    "of stream:\n"
    "  seconds, pages, pages_per_second\n"
    "  cpu_seconds       of this process; far_cpu_seconds: of the far end's\n";

int bench_main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(benches) / sizeof(benches[0]); i++)
        if (strcmp(argv[1], benches[i].name) == 0) {
            argv[1] = benches[i].title;
            return benches[i].main(argc - 1, argv + 1);
        }
    bool help = argc > 1 && strcmp(argv[1], "--help") == 0;
    FILE *to = help ? stdout : stderr;
    if (argc > 1 && !help)
        fprintf(to, "pando bench: there is no bench '%s'\n", argv[1]);
    fprintf(to, "usage: pando bench BENCH --config FILE --node N NODE\n\n");
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++)
        fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].doc);
    fprintf(to, "\npando bench BENCH --help says more.\n");
    if (help)
        fprintf(to, "\n%s", json_doc);
    return help ? 0 : 2;
}
