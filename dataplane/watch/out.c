/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/out.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

uint64_t out_option(struct argp_state *state, const char *key, const char *text, uint64_t from,
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

bool out_config(const char *title, const char *path, struct pando_config *ret)
{
    char err[CONFIG_ERROR_MAX];
    int rc = config_load(path, ret, err);
    if (err[0] != '\0')
        fprintf(stderr, "%s: %s\n", title, err);
    return rc == 0;
}

bool out_json(const char *title, json_t *j)
{
    char *text = j != NULL ? json_dumps(j, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    json_decref(j);
    if (text == NULL) {
        fprintf(stderr, "%s: no memory for the result\n", title);
        return false;
    }
    for (const char *s = text; *s != '\0'; s++) /* jansson leaves DEL, which only strings have */
        fputs(*s == 0x7F ? "\\u007F" : (const char[]){*s, '\0'}, stdout);
    putchar('\n');
    free(text);
    return out_written(title);
}

void out_word(FILE *to, const char *s)
{
    for (; *s != '\0'; s++)
        putc(*s >= ' ' && *s <= '~' ? *s : '?', to);
}

void out_complain(const char *title, const char *path, const char *text)
{
    fprintf(stderr, "%s: ", title);
    out_word(stderr, path);
    fprintf(stderr, ": %s\n", text);
}

bool out_written(const char *title)
{
    bool lost = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) == 0 && !lost)
        return true;
    fprintf(stderr, "%s: the result cannot be written: %s\n", title,
            errno != 0 ? strerror(errno) : "part of it is lost");
    return false;
}
