/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "dataplane/watch/watch.h"

const char *argp_program_version = "pando-watch 0.1.0";

static const struct {
    const char *name;
    char *title;
    int (*main)(int argc, char **argv);
} commands[] = {
    {"status", (char[]){"pando status"}, status_main},
    {"top", (char[]){"pando top"}, top_main},
    {"metrics", (char[]){"pando metrics"}, metrics_main},
};

static error_t parse_place(int key, char *arg, struct argp_state *state)
{
    struct place *p = state->input;
    switch (key) {
    case KEY_CONFIG:
        p->config = arg;
        break;
    case KEY_RUN_DIR:
        p->run_dir = arg;
        break;
    case ARGP_KEY_END:
        if (p->config != NULL && p->run_dir != NULL)
            argp_error(state, "--config or --run-dir, not both");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option place_options[] = {
    {"config", KEY_CONFIG, "FILE", 0, "The dataplanes of this configuration's run_dir", 0},
    {"run-dir", KEY_RUN_DIR, "DIR", 0,
     "The dataplanes of this run_dir. Default: all of root and of this user that are found in "
     "/run/pando, /run/pando-* and of ./dev demo",
     0},
    {0},
};

const struct argp place_argp = {.options = place_options, .parser = parse_place};

bool place_of(const char *title, const struct place *p, const char **ret_run_dir)
{
    static struct pando_config cfg;
    if (p->config != NULL && !out_config(title, p->config, &cfg))
        return false;
    *ret_run_dir = p->config != NULL ? cfg.run_dir : p->run_dir;
    return true;
}

void print_seconds(FILE *to, double seconds)
{
    unsigned long s = seconds > 0 && seconds < 1e12 ? (unsigned long)seconds : 0;
    if (s < 60)
        fprintf(to, "%lu s", s);
    else if (s < 86400)
        fprintf(to, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        fprintf(to, "%lu d %02lu:%02lu", s / 86400, s / 3600 % 24, s / 60 % 60);
}

int main(int argc, char **argv)
{
    argp_err_exit_status = EXIT_USAGE;
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = commands[i].title;
            return commands[i].main(argc - 1, argv + 1);
        }
    fprintf(stderr, "usage: pando status|top|metrics ...; pando COMMAND --help says more\n");
    return EXIT_USAGE;
}
