/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-net: what `pando ping`, `pando echo` and `pando bench` are. APP. */
#include <stdio.h>
#include <string.h>

#include "dataplane/net/net.h"

const char *argp_program_version = "pando-net 0.1.0";

static const struct {
    const char *name;
    char *title;
    int (*main)(int argc, char **argv);
} commands[] = {
    {"ping", (char[]){"pando ping"}, ping_main},
    {"echo", (char[]){"pando echo"}, echo_main},
    {"bench", (char[]){"pando bench"}, bench_main},
};

int main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = commands[i].title;
            return commands[i].main(argc - 1, argv + 1);
        }
    fprintf(stderr, "usage: pando ping|echo|bench ...; pando COMMAND --help says more\n");
    return 2;
}
