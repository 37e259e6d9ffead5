/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "dataplane/net/net.h"

#define MS UINT64_C(1000000)

enum { KEY_CONFIG = 256 }; /* -c is ping's count, as everywhere */

static const struct argp_option option_list[] = {
    {"config", KEY_CONFIG, "FILE", 0, "Cluster configuration, the same file on every node", 0},
    {"node", 'n', "N", 0, "This node: its number or name. Its dataplane must not be running", 0},
    {"json", 'j', NULL, 0,
     "Results as JSON on standard output (of bench: `pando bench --help' lists the members)", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct net_options *o = state->input;
    switch (key) {
    case KEY_CONFIG:
        o->config = arg;
        break;
    case 'n':
        o->node = arg;
        break;
    case 'j':
        o->json = true;
        break;
    case ARGP_KEY_ARG:
        if (!o->wants_far || o->far != NULL)
            return ARGP_ERR_UNKNOWN; /* argp says that it is one too many */
        o->far = arg;
        break;
    case ARGP_KEY_END:
        if (o->config == NULL || o->node == NULL)
            argp_error(state, "--config and --node are needed");
        if (o->wants_far && o->far == NULL)
            argp_error(state, "which node? Give its number or name");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp common = {.options = option_list, .parser = parse};
const struct argp_child net_children[] = {{&common, 0, NULL, 0}, {0}};

error_t net_parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

uint64_t net_number(struct argp_state *state, const char *key, const char *text, uint64_t from,
                    uint64_t to)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || v < from || v > to)
        argp_error(state, "%s: '%s': a number of %" PRIu64 "..%" PRIu64 " is allowed", key, text,
                   from, to);
    return v;
}

uint64_t net_seconds(struct argp_state *state, const char *key, const char *text, uint64_t from_ms,
                     uint64_t to_ms)
{
    char *end;
    double v = strtod(text, &end);
    if (*text < '0' || *text > '9' || *end != '\0' || !(v * 1000 >= (double)from_ms) ||
        !(v * 1000 <= (double)to_ms))
        argp_error(state, "%s: '%s': seconds, %g..%g, are allowed", key, text,
                   (double)from_ms / 1000, (double)to_ms / 1000);
    return (uint64_t)(v * 1e9);
}
