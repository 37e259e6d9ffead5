/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/watch/ask.h"
#include "dataplane/watch/find.h"
#include "offload/show/show.h"

enum { KEY_CONFIG = 256, KEY_RUN_DIR };

struct options {
    const char *config, *run_dir;
    unsigned first, last; /* nodes */
    bool json, rules;
};

static const char title[] = "pando offload show";

static const struct argp_option option_list[] = {
    {"config", KEY_CONFIG, "FILE", 0, "The dataplanes of this configuration's run_dir", 0},
    {"run-dir", KEY_RUN_DIR, "DIR", 0,
     "The dataplanes of this run_dir. Default: all of root and of this user that are found in "
     "/run/pando, /run/pando-* and of ./dev demo",
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
        o->first = o->last = (unsigned)out_option(state, "--node", arg, 0, WIRE_NODES_MAX - 1);
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
    out_word(stdout, s);
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

/* path: how they come to the NIC. */
static void print_rules(const json_t *rules, const char *path, bool all)
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
    printf("  rules: %zu installed, %zu pending, %zu refused", n[0], n[1], n[2] + n[3]);
    fputs(path[0] != '\0' ? "; by " : "", stdout);
    print_word(path);
    putchar('\n');
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
    printf(", %lld receive queue%s; ", (long long)queues, queues == 1 ? "" : "s");
    print_word(path);
    putchar('\n');
    json_array_foreach(json_object_get(a, "intents"), i, intent) print_intent(intent);
    print_rules(json_object_get(a, "rules"), text_of(a, "path"), rules);
}

/* ---- all dataplanes ------------------------------------------------------------------------- */

struct tally {
    const struct options *o;
    size_t answered;
    json_t *all;
};

/* As it is, if that can be said in JSON. */
static json_t *path_json(const char *path)
{
    char ascii[PATH_MAX];
    json_t *j = json_string(path);
    size_t n = 0;
    for (; j == NULL && path[n] != '\0' && n < sizeof(ascii) - 1; n++)
        ascii[n] = path[n] >= ' ' && path[n] <= '~' ? path[n] : '?';
    return j != NULL ? j : json_stringn(ascii, n);
}

static void ask(void *arg, const char *path, unsigned node)
{
    struct tally *t = arg;
    char err[ASK_ERROR_MAX];
    json_t *answer;
    (void)node;
    if (ask_offload(path, ASK_PATIENT, &answer, err) != 0) {
        out_complain(title, path, err);
        return;
    }
    t->answered++;
    if (t->o->json) {
        json_object_set_new(answer, "socket", path_json(path));
        json_array_append(t->all, answer);
    } else {
        print_answer(path, answer, t->o->rules);
    }
    json_decref(answer);
}

int show_main(int argc, char **argv)
{
    struct options o = {.last = WIRE_NODES_MAX - 1};
    static struct pando_config cfg;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.config != NULL && !out_config(title, o.config, &cfg))
        return EXIT_USAGE;
    struct tally t = {.o = &o, .all = json_array()};
    struct find f = {.title = title,
                     .run_dir = o.config != NULL ? cfg.run_dir : o.run_dir,
                     .first = o.first,
                     .last = o.last,
                     .take = ask,
                     .arg = &t};
    find_dataplanes(&f);
    if (f.found == 0)
        find_say_nobody(&f);
    bool ok = f.found > 0 && t.answered == f.found;
    if (o.json)
        return out_json(offload_title, t.all) && ok ? 0 : 1;
    json_decref(t.all);
    return out_written(offload_title) && ok ? 0 : 1;
}
