/* SPDX-License-Identifier: BSD-3-Clause */
/* pando COMMAND ...: one table of commands. APP. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor-glue/run/commands.h"

const char *argp_program_version = "pando 0.1.0";

static const struct {
    const char *name;
    char *title; /* argv[0] of the command, for its messages */
    int (*main)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"run", (char[]){"pando run"}, run_main, "start a virtual machine on all nodes of a cluster"},
};

static int help(FILE *to, int status)
{
    fprintf(to, "usage: pando COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].doc);
    fprintf(to, "\npando COMMAND --help says more; pando --version.\n");
    return status;
}

int main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    if (argc < 2)
        return help(stderr, 2);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = commands[i].title;
            return commands[i].main(argc - 1, argv + 1);
        }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(stdout, 0);
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s\n", argp_program_version);
        return 0;
    }
    fprintf(stderr, "pando: there is no command '%s'\n", argv[1]);
    return help(stderr, 2);
}
