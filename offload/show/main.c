/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "offload/show/show.h"

const char *argp_program_version = "pando-offload 0.1.0";

static const struct {
    const char *name;
    char *title;
    int (*main)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"plan", (char[]){"pando offload plan"}, plan_main,
     "the rules for a NIC, as dpdk-testpmd takes them, and what is left to software"},
    {"nics", (char[]){"pando offload nics"}, nics_main,
     "the families of NICs that are known, and by which source"},
    {"show", (char[]){"pando offload show"}, show_main,
     "what running dataplanes have in hardware, in XDP and in software, and why"},
};

const char offload_title[] = "pando offload";

static int help(FILE *to, int status)
{
    fprintf(to, "usage: pando offload COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-6s %s\n", commands[i].name, commands[i].doc);
    fprintf(to, "\npando offload COMMAND --help says more.\n");
    return out_written(offload_title) ? status : 1;
}

int main(int argc, char **argv)
{
    argp_err_exit_status = EXIT_USAGE;
    if (argc > 1 && strcmp(argv[1], "offload") == 0) { /* as pando hands it on */
        argc--;
        argv++;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = commands[i].title;
            return commands[i].main(argc - 1, argv + 1);
        }
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help(stdout, 0);
    if (argc > 1)
        fprintf(stderr, "pando offload: there is no command '%s'\n", argv[1]);
    return help(stderr, EXIT_USAGE);
}
