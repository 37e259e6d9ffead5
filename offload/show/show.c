/* SPDX-License-Identifier: BSD-3-Clause */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offload/show/show.h"

enum { KEY_CONFIG = 256, KEY_RUN_DIR, DIRS_MAX = 16 };

struct options {
    const char *config, *run_dir, *node;
    bool json, rules;
};

static const char title[] = "pando offload show";

/* Where dataplanes are by default: configs/, and clusters of ./dev demo. */
static const char *const places[] = {"/run/pando", "/run/pando-*", "/run/pando-test/*/run",
                                     "/dev/shm/pando-test/*/run"};

static const struct argp_option option_list[] = {
    {"config", KEY_CONFIG, "FILE", 0, "The dataplanes of this configuration's run_dir", 0},
    {"run-dir", KEY_RUN_DIR, "DIR", 0,
     "The dataplanes of this run_dir. Default: all that are found in /run/pando, /run/pando-* and "
     "of ./dev demo",
     0},
    {"node", 'n', "N", 0, "Only this node, by number", 0},
    {"rules", 'r', NULL, 0, "All rules, not only those that were refused", 0},
    {"json", 'j', NULL, 0, "What the dataplanes say, as JSON: an object each", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case KEY_CONFIG:
        o->config = arg;
        break;
    case KEY_RUN_DIR:
        o->run_dir = arg;
        break;
    case 'n':
        show_number(state, "--node", arg, 0, WIRE_NODES_MAX - 1);
        o->node = arg;
        break;
    case 'r':
        o->rules = true;
        break;
    case 'j':
        o->json = true;
        break;
    case ARGP_KEY_END:
        if (o->config != NULL && o->run_dir != NULL)
            argp_error(state, "--config or --run-dir, not both");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .doc = "Asks running dataplanes of this machine what their NIC does, what XDP and what they do "
           "themselves, and why.",
};

/* ---- words of another process --------------------------------------------------------------- */

static void print_word(const char *s)
{
    for (; *s != '\0'; s++)
        putchar((unsigned char)*s < ' ' || *s == 0x7F ? '?' : *s);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

static void print_count(const json_t *o, const char *key)
{
    json_t *n = json_object_get(o, key);
    if (json_is_integer(n) && json_integer_value(n) >= 0)
        printf("%12lld %s", (long long)json_integer_value(n), key);
}

static void print_intent(const json_t *i)
{
    bool partly = json_is_true(json_object_get(i, "partly"));
    char by[32];
    snprintf(by, sizeof(by), "%s%s", text_of(i, "by"), partly ? ", partly" : "");
    printf("  ");
    print_word(text_of(i, "intent"));
    size_t used = strlen(text_of(i, "intent"));
    printf("%*s", used < 36 ? (int)(36 - used) : 1, "");
    print_word(by);
    printf("%*s", strlen(by) < 18 ? (int)(18 - strlen(by)) : 1, "");
    print_count(i, "frames");
    if (text_of(i, "reason")[0] != '\0') {
        printf("  (");
        print_word(text_of(i, "reason"));
        putchar(')');
    }
    putchar('\n');
}

static void print_rule(const json_t *r)
{
    printf("    ");
    print_word(text_of(r, "state"));
    printf(": ");
    print_word(text_of(r, "text"));
    print_count(r, "frames");
    if (text_of(r, "error")[0] != '\0') {
        printf(": ");
        print_word(text_of(r, "error"));
    }
    putchar('\n');
}

static void print_rules(const json_t *rules, bool all)
{
    static const char *const states[] = {"installed", "pending", "refused", "software"};
    size_t n[sizeof(states) / sizeof(states[0])] = {0}, i;
    json_t *r;
    if (json_array_size(rules) == 0)
        return;
    json_array_foreach(rules, i, r)
    {
        for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
            n[s] += strcmp(text_of(r, "state"), states[s]) == 0;
    }
    printf("  rules: %zu installed, %zu pending, %zu refused\n", n[0], n[1], n[2] + n[3]);
    json_array_foreach(rules, i, r)
    {
        if (all || strcmp(text_of(r, "state"), "refused") == 0)
            print_rule(r);
    }
}

static void print_answer(const char *path, const json_t *a, bool rules)
{
    size_t i;
    json_t *intent;
    printf("node %lld: ", (long long)json_integer_value(json_object_get(a, "node")));
    if (strcmp(text_of(a, "nic"), "none") == 0) {
        printf("no NIC of its own");
    } else {
        print_word(text_of(a, "nic"));
        printf(" (");
        print_word(text_of(a, "driver"));
        printf(")");
    }
    printf(", ");
    print_word(text_of(a, "link"));
    json_int_t queues = json_integer_value(json_object_get(a, "queues"));
    printf(", %lld receive queue%s; %s\n", (long long)queues, queues == 1 ? "" : "s", path);
    json_array_foreach(json_object_get(a, "intents"), i, intent) print_intent(intent);
    print_rules(json_object_get(a, "rules"), rules);
}

/* ---- all dataplanes ------------------------------------------------------------------------- */

struct tally {
    size_t found, answered;
    json_t *all;
};

static void ask(const char *path, const struct options *o, struct tally *t)
{
    char err[SHOW_ERROR_MAX];
    json_t *answer;
    t->found++;
    if (ask_offload(path, &answer, err) != 0) {
        fprintf(stderr, "%s: %s\n", title, err);
        return;
    }
    t->answered++;
    if (o->json) {
        json_object_set_new(answer, "socket", json_string(path));
        json_array_append(t->all, answer);
    } else {
        print_answer(path, answer, o->rules);
    }
    json_decref(answer);
}

static void ask_in(const char *run_dir, const struct options *o, struct tally *t)
{
    char pattern[512];
    glob_t g;
    snprintf(pattern, sizeof(pattern), "%s/dpdk/node%s/dpdk_telemetry.v2", run_dir,
             o->node != NULL ? o->node : "*");
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++)
            ask(g.gl_pathv[i], o, t);
        globfree(&g);
    }
}

int show_main(int argc, char **argv)
{
    struct options o = {0};
    static struct pando_config cfg;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.config != NULL && !show_config(title, o.config, &cfg))
        return EXIT_USAGE;
    const char *dir = o.config != NULL ? cfg.run_dir : o.run_dir;
    struct tally t = {.all = json_array()};
    if (dir != NULL)
        ask_in(dir, &o, &t);
    for (size_t i = 0; dir == NULL && i < sizeof(places) / sizeof(places[0]); i++)
        ask_in(places[i], &o, &t);
    if (t.found == 0)
        fprintf(stderr,
                "%s: no dataplane runs here%s%s; start one (pando run, ./dev demo), or name its "
                "run_dir: --config or --run-dir\n",
                title, dir != NULL ? ": " : "", dir != NULL ? dir : "");
    bool ok = t.found > 0 && t.answered == t.found;
    if (!o.json)
        json_decref(t.all);
    else if (!show_json(t.all))
        ok = false;
    return ok ? 0 : 1;
}
