/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

uint64_t show_number(struct argp_state *state, const char *key, const char *text, uint64_t from,
                     uint64_t to)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 0);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || v < from || v > to)
        argp_error(state, "%s: '%s': a number of %" PRIu64 "..%" PRIu64 " is allowed", key, text,
                   from, to);
    return v;
}

bool show_config(const char *title, const char *path, struct pando_config *ret)
{
    char err[CONFIG_ERROR_MAX];
    int rc = config_load(path, ret, err);
    if (err[0] != '\0')
        fprintf(stderr, "%s: %s\n", title, err);
    return rc == 0;
}

bool show_json(json_t *j)
{
    char *text = j != NULL ? json_dumps(j, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    json_decref(j);
    if (text == NULL) {
        fprintf(stderr, "pando offload: no memory for the result\n");
        return false;
    }
    for (const char *s = text; *s != '\0'; s++) /* jansson leaves DEL, which only strings have */
        fputs(*s == 0x7F ? "\\u007F" : (const char[]){*s, '\0'}, stdout);
    putchar('\n');
    free(text);
    return show_written();
}

void show_word(FILE *to, const char *s)
{
    for (; *s != '\0'; s++)
        putc(*s >= ' ' && *s <= '~' ? *s : '?', to);
}

bool show_written(void)
{
    bool lost = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !lost)
        return true;
    fprintf(stderr, "pando offload: the result cannot be written: %s\n",
            errno != 0 ? strerror(errno) : "part of it is lost");
    return false;
}

static int help(FILE *to, int status)
{
    fprintf(to, "usage: pando offload COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-6s %s\n", commands[i].name, commands[i].doc);
    fprintf(to, "\npando offload COMMAND --help says more.\n");
    return show_written() ? status : 1;
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
