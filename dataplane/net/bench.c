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
    return help ? 0 : 2;
}
