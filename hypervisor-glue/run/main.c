/* SPDX-License-Identifier: BSD-3-Clause */
/* pando COMMAND ...: one table of commands. APP. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor-glue/run/commands.h"
#include "hypervisor-glue/run/program.h"

const char *argp_program_version = "pando 0.1.0";

static const struct {
    const char *name;
    char *title;                        /* argv[0] of the command, for its messages */
    int (*main)(int argc, char **argv); /* NULL: a command of another program */
    const char *doc, *program;
} commands[] = {
    {"run", (char[]){"pando run"}, run_main, "start a virtual machine on all nodes of a cluster"},
    {"ping", (char[]){"pando ping"}, NULL,
     "is a node's host there, and does the transport reach it", "pando-net"},
    {"echo", (char[]){"pando echo"}, NULL, "the far end of ping and bench, in a dataplane's place",
     "pando-net"},
    {"bench", (char[]){"pando bench"}, NULL, "measure the transport between two nodes",
     "pando-net"},
    {"status", (char[]){"pando status"}, NULL, "what the running dataplanes of this machine do",
     "pando-watch"},
    {"top", (char[]){"pando top"}, NULL, "... at the moment, with rates, again and again",
     "pando-watch"},
    {"metrics", (char[]){"pando metrics"}, NULL, "... in Prometheus' text format, also by HTTP",
     "pando-watch"},
    {"doctor", (char[]){"pando doctor"}, NULL,
     "is this machine ready for a node, and what would make it better", "pando-doctor"},
    {"offload", (char[]){"pando offload"}, NULL,
     "what NICs can do for it, and what they do for running dataplanes", "pando-offload"},
};

static int help(FILE *to, int status)
{
    fprintf(to, "usage: pando COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].doc);
    fprintf(to, "\npando COMMAND --help says more; pando --version.\n");
    return status;
}

/* What uses a fabric needs DPDK, and what speaks of NICs their tables, which nothing else of pando
 * does: programs of their own. */
static int other_main(const char *title, const char *program, char **argv)
{
    char path[PROGRAM_PATH_MAX];
    if (!program_find(path, title, program))
        return 1;
    execv(path, argv);
    fprintf(stderr, "%s: %s: %s\n", title, path, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    if (argc < 2)
        return help(stderr, 2);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            if (commands[i].main == NULL)
                return other_main(commands[i].title, commands[i].program, argv);
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
