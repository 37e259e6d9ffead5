/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/rtt_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/check.h"

enum { OPTIONS_MAX = 16, USAGE = 2, NOT_ROOT = 77 };

static int usage(const char *tool, const struct rtt_option *options)
{
    fprintf(stderr, "usage: %s", tool);
    for (const struct rtt_option *o = options; o->name != NULL; o++) {
        if (o->number != NULL)
            fprintf(stderr, " [--%s %u..%u]", o->name, o->low, o->high);
        else if (o->text != NULL)
            fprintf(stderr, " [--%s %s]", o->name, o->form);
        else
            fprintf(stderr, " [--%s]", o->name);
    }
    fprintf(stderr, "\n");
    return USAGE;
}

static bool take(const struct rtt_option *o, const char *value)
{
    if (o->flag != NULL) {
        *o->flag = true;
        return true;
    }
    if (o->text != NULL)
        return o->text(value);
    char *end;
    unsigned long n = strtoul(value, &end, 0);
    if (end == value || *end != 0 || n < o->low || n > o->high)
        return false;
    *o->number = (uint32_t)n;
    return true;
}

int rtt_main(int argc, char **argv, const struct rtt_option *options, const struct rtt_options *o,
             void (*run)(struct rtt_side *s))
{
    struct option longs[OPTIONS_MAX + 1] = {{0}};
    const char *slash = strrchr(argv[0], '/'), *tool = slash != NULL ? slash + 1 : argv[0];
    struct rtt_side side;
    int index, status = 1;
    for (unsigned i = 0; options[i].name != NULL; i++) {
        PANDO_CHECK(i < OPTIONS_MAX);
        longs[i] =
            (struct option){.name = options[i].name,
                            .has_arg = options[i].flag == NULL ? required_argument : no_argument};
    }
    for (int c; (c = getopt_long(argc, argv, "", longs, &index)) != -1;)
        if (c != 0 || !take(&options[index], optarg))
            return usage(tool, options);
    if (optind != argc)
        return usage(tool, options);
    if (geteuid() != 0) {
        fprintf(stderr, "%s: network namespaces, packet sockets and XDP programs need root\n",
                tool);
        return NOT_ROOT;
    }
    if (rtt_twin_start(o, &side, &status))
        run(&side);
    return status;
}
