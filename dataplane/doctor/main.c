/* SPDX-License-Identifier: BSD-3-Clause */
/* pando doctor: is this machine ready for a node, and what would make it better. APP. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/doctor/placement.h"
#include "dataplane/doctor/system.h"

const char *argp_program_version = "pando-doctor 0.1.0";

static const char doc[] =
    "Checks this machine: what it lacks to run a node of a cluster (missing), and what it will "
    "cost "
    "in latency (note), each with a remedy. With --config and --node: what the configuration asks "
    "of this machine, too, as a table of threads by role; without --node, of each node. Changes "
    "nothing. Exit status 0: ready, notes possible; 1: something is missing; 2: the command line "
    "or "
    "the configuration is wrong.";

enum { KEY_JSON = 0x100, KEY_ONLY, KEY_ROOT };

struct options {
    const char *config, *node, *only, *root;
    bool json;
};

static const struct argp_option option_list[] = {
    {"config", 'c', "FILE", 0, "Cluster configuration", 0},
    {"node", 'n', "N", 0, "The node that this machine is to be: its number or name", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object instead of lines", 0},
    {"only", KEY_ONLY, "NAME,...", 0, "Only these checks of the machine (their names: --json)", 0},
    {"root", KEY_ROOT, "DIR", 0,
     "Read /sys and /proc below DIR, which may be another machine's; nothing is tried then", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->config = arg;
        break;
    case 'n':
        o->node = arg;
        break;
    case KEY_JSON:
        o->json = true;
        break;
    case KEY_ONLY:
        o->only = arg;
        break;
    case KEY_ROOT:
        o->root = arg;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected '%s'", arg);
        break;
    case ARGP_KEY_END:
        if (o->node != NULL && o->config == NULL)
            argp_error(state, "--node needs --config");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

struct colours {
    const char *state[DOCTOR_STATES], *plain;
};

static struct colours colours(void)
{
    if (!isatty(STDOUT_FILENO) || getenv("NO_COLOR") != NULL)
        return (struct colours){{"", "", ""}, ""};
    return (struct colours){{"\033[32m", "\033[33m", "\033[31m"}, "\033[0m"};
}

static void print_findings(const struct doctor_report *r, const struct colours *c)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct doctor_finding *f = &r->finding[i];
        printf("%s%-8s%s %s\n", c->state[f->state], doctor_state_name(f->state), c->plain, f->text);
        if (f->remedy[0] != '\0')
            printf("         remedy: %s\n", f->remedy);
    }
}

static const char *verdict(const struct doctor_report *r, int role, char *buf, size_t size)
{
    uint32_t notes = 0;
    for (uint32_t i = 0; i < r->n; i++)
        notes += r->finding[i].role == role && r->finding[i].state == DOCTOR_NOTE;
    enum doctor_state worst = doctor_worst(r, role);
    if (worst == DOCTOR_NOTE)
        snprintf(buf, size, "%u note%s", notes, notes == 1 ? "" : "s");
    else
        snprintf(buf, size, "%s", doctor_state_name(worst));
    return buf;
}

static void print_table(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                        const struct doctor_report *r, const struct colours *c)
{
    struct doctor_row row;
    char text[24];
    printf("\nnode %u (%s), poll.mode %s\n", node, config_node_of(cfg, node)->name,
           config_poll_name(cfg->poll.mode));
    printf("%-14s %-18s %-32s %-5s %s\n", "role", "CPUs", "class", "NUMA", "verdict");
    for (int role = 0; role < CONFIG_ROLES; role++) {
        doctor_row(m, cfg, node, (enum config_role)role, &row);
        printf("%-14s %-18s %-32s %-5s %s%s%s\n", row.role, row.cpus, row.sched, row.numa,
               c->state[doctor_worst(r, role)], verdict(r, role, text, sizeof(text)), c->plain);
    }
}

static json_t *findings_json(const struct doctor_report *r, int role)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->n; i++) {
        const struct doctor_finding *f = &r->finding[i];
        if (f->role == role)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "check", f->check,
                                                  "state", doctor_state_name(f->state), "text",
                                                  f->text, "remedy", f->remedy));
    }
    return list;
}

static json_t *node_json(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                         const struct doctor_report *r)
{
    json_t *roles = json_array();
    for (int role = 0; role < CONFIG_ROLES; role++) {
        struct doctor_row row;
        doctor_row(m, cfg, node, (enum config_role)role, &row);
        json_array_append_new(roles,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "role", row.role, "cpus",
                                        row.cpus, "class", row.sched, "numa", row.numa, "verdict",
                                        doctor_state_name(doctor_worst(r, role)), "findings",
                                        findings_json(r, role)));
    }
    return json_pack("{s:i, s:s, s:o, s:o}", "node", node, "name", config_node_of(cfg, node)->name,
                     "roles", roles, "findings", findings_json(r, DOCTOR_NO_ROLE));
}

/* Of a node; what the configuration itself warns of is a note as well. */
static void examine(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                    const char *warning, struct doctor_report *r)
{
    *r = (struct doctor_report){.check = "configuration"};
    if (warning[0] != '\0')
        doctor_add(r, DOCTOR_NOTE, DOCTOR_NO_ROLE, "", "%s", warning);
    doctor_placement(m, cfg, node, r);
}

static uint32_t closing(const struct doctor_report *all, bool json, json_t *out)
{
    const uint32_t *n = all->count;
    const char *word = n[DOCTOR_MISSING] == 0 ? "ready" : "not ready";
    if (!json) {
        printf("\n%s: %u ok, %u notes, %u missing\n", word, n[DOCTOR_OK], n[DOCTOR_NOTE],
               n[DOCTOR_MISSING]);
    } else {
        json_object_set_new(out, "result", json_string(word));
        for (int s = 0; s < DOCTOR_STATES; s++)
            json_object_set_new(out, doctor_state_name((enum doctor_state)s), json_integer(n[s]));
        json_dumpf(out, stdout, JSON_COMPACT);
        printf("\n");
    }
    return n[DOCTOR_MISSING];
}

static int run(const struct options *o, const struct machine *m, const struct pando_config *cfg,
               int node, const char *warning)
{
    static struct doctor_report all, of_node;
    const struct colours c = colours();
    json_t *out = json_object(), *nodes = json_array();
    uint32_t ran = o->root == NULL ? doctor_run(doctor_probes, o->only, m, &all) : 0;
    ran += doctor_run(doctor_files, o->only, m, &all);
    if (o->only != NULL && ran == 0) {
        fprintf(stderr,
                "pando doctor: --only %s: there is no such check; pando doctor --json names them\n",
                o->only);
        return 2;
    }
    if (!o->json)
        print_findings(&all, &c);
    json_object_set_new(out, "checks", findings_json(&all, DOCTOR_NO_ROLE));
    for (uint32_t i = 0; cfg != NULL && i < cfg->node_count; i++) {
        if (node >= 0 && node != (int)i)
            continue;
        examine(m, cfg, (uint8_t)i, warning, &of_node);
        for (int s = 0; s < DOCTOR_STATES; s++)
            all.count[s] += of_node.count[s];
        if (o->json) {
            json_array_append_new(nodes, node_json(m, cfg, (uint8_t)i, &of_node));
        } else {
            print_table(m, cfg, (uint8_t)i, &of_node, &c);
            print_findings(&of_node, &c);
        }
    }
    json_object_set_new(out, "nodes", nodes);
    uint32_t missing = closing(&all, o->json, out);
    json_decref(out);
    return missing == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct pando_config cfg;
    const struct argp argp = {option_list, parse, NULL, doc, NULL, NULL, NULL};
    struct options o = {0};
    char err[CONFIG_ERROR_MAX] = "";
    struct machine m;
    uint8_t node = 0;
    argp_err_exit_status = 2;
    if (argc > 1 && strcmp(argv[1], "doctor") == 0) { /* from pando */
        static char title[] = "pando doctor";
        argv[1] = title;
        argc--;
        argv++;
    }
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc = o.config != NULL ? config_load(o.config, &cfg, err) : 0;
    if (rc != 0) {
        fprintf(stderr, "pando doctor: %s\n", err);
        return 2;
    }
    char none[CONFIG_ERROR_MAX];
    if (o.node != NULL && config_find_node(&cfg, o.node, &node, none) != 0) {
        fprintf(stderr, "pando doctor: %s\n", none);
        return 2;
    }
    rc = machine_open(&m, o.root != NULL ? o.root : "");
    if (rc != 0) {
        fprintf(stderr, "pando doctor: %s/sys/devices/system/cpu/online: %s\n",
                o.root != NULL ? o.root : "", strerror(-rc));
        return 2;
    }
    return run(&o, &m, o.config != NULL ? &cfg : NULL, o.node != NULL ? node : -1, err);
}
