/* SPDX-License-Identifier: BSD-3-Clause */
/* pando run: its command line. */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster.h"
#include "hypervisor-glue/run/commands.h"
#include "hypervisor-glue/run/compose.h"

enum { KEY_ON = 0x100, KEY_RULES, KEY_RAW };

struct options {
    const char *config, *summary_dir;
    const char *on[WIRE_NODES_MAX];
    unsigned ons;
    bool print, raw, rules;
    const char **vmm; /* NULL at the end, as argv */
    unsigned vmm_words;
};

static const char doc[] =
    "Starts one virtual machine on all nodes of a cluster. The command line is an ordinary one of "
    "QEMU; what coherence over several hosts needs is added, what cannot be coherent is refused, "
    "and both are said.\v"
    "The words of --on stand before every command of that node, for example --on 1=\"ssh host-b\" "
    "or --on 1=\"ip netns exec pando1\"; they are split at blanks. The configuration and Pando's "
    "programs must exist there under the same paths, and behind ssh nobody answers a prompt.\n"
    "Exit status: QEMU's own if it ended by itself; 70 if any process died; 2 if something is "
    "refused; after signal N the VMM's own, if it then ended in order (QEMU does, with 0), else "
    "128 + N.";

static const struct argp_option option_list[] = {
    {"config", 'c', "FILE", 0, "Cluster configuration, the same file on every node", 0},
    {"on", KEY_ON, "NODE=COMMAND", 0, "Start the processes of NODE (number or name) by COMMAND", 0},
    {"print", 'p', NULL, 0, "Print the resulting line, start nothing", 0},
    {"summary-dir", 's', "DIR", 0,
     "Each node writes what it counted to DIR/summaryN.json, on its own host", 0},
    {"rules", KEY_RULES, NULL, 0, "Print what is done with each option of QEMU (Markdown)", 0},
    {"vmm-raw", KEY_RAW, NULL, 0,
     "The command is started as it is, nothing is composed: for VMMs other than QEMU", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->config = arg;
        break;
    case 'p':
        o->print = true;
        break;
    case 's':
        o->summary_dir = arg;
        break;
    case KEY_ON:
        if (o->ons == WIRE_NODES_MAX)
            argp_error(state, "more than %d times --on", WIRE_NODES_MAX);
        o->on[o->ons++] = arg;
        break;
    case KEY_RULES:
        o->rules = true;
        break;
    case KEY_RAW:
        o->raw = true;
        break;
    case ARGP_KEY_ARG: /* the VMM; what follows is its own */
        o->vmm = (const char **)(uintptr_t)&state->argv[state->next - 1];
        o->vmm_words = (unsigned)(state->argc - state->next + 1);
        state->next = state->argc;
        break;
    case ARGP_KEY_END:
        if (!o->rules && (o->config == NULL || o->vmm == NULL))
            argp_error(state, "--config FILE and a command line are needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static int compose_line(struct compose *c, const struct options *o, const struct pando_config *cfg)
{
    int rc = compose(c, o->vmm, o->vmm_words, cfg);
    for (unsigned i = 0; i < c->notes && rc == 0; i++)
        fprintf(stderr, "pando run: %s\n", c->note[i]);
    for (unsigned i = 0; i < c->refusals; i++)
        fprintf(stderr, "pando run: refused: %s\n", c->refusal[i]);
    return rc;
}

static void print_line(const char *const *argv)
{
    static char text[1 << 20];
    struct arena arena = {.buf = text, .size = sizeof(text)};
    for (unsigned i = 0; argv[i] != NULL; i++)
        printf("%s%s", i > 0 ? " " : "", opt_shell_quote(&arena, argv[i]));
    printf("\n");
}

static bool make_absolute(char ret[PLAN_PATH_MAX], const char *path)
{
    char *absolute = realpath(path, NULL);
    bool good = absolute != NULL && strlen(absolute) < PLAN_PATH_MAX;
    if (good)
        strcpy(ret, absolute);
    else
        fprintf(stderr, "pando run: %s: %s\n", path, strerror(absolute ? ENAMETOOLONG : errno));
    free(absolute);
    return good;
}

static bool make_plan(struct plan *plan, const struct options *o)
{
    for (unsigned i = 0; i < o->ons; i++)
        if (!plan_add_prefix(plan, o->on[i]))
            return false;
    if (o->print)
        return true;
    if (o->summary_dir != NULL) {
        mkdir(o->summary_dir, 0755); /* if that fails, the next line says why */
        if (!make_absolute(plan->summary_dir, o->summary_dir))
            return false;
    }
    return make_absolute(plan->config, o->config) && plan_find_programs(plan) &&
           (o->raw || version_check(plan));
}

int run_main(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "-- QEMU OPTION...", doc, NULL,
                                     NULL,        NULL};
    static struct pando_config cfg;
    static struct compose line;
    static struct plan plan;
    struct options o = {0};
    char err[CONFIG_ERROR_MAX] = "";
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
    signal(SIGCHLD, SIG_DFL); /* ignored, as some parents leave it, children leave no status */
    if (o.rules) {
        compose_print_rules(STDOUT_FILENO);
        return 0;
    }
    int rc = config_load(o.config, &cfg, err);
    if (err[0] != '\0')
        fprintf(stderr, "pando run: %s\n", err);
    if (rc != 0 || (!o.raw && compose_line(&line, &o, &cfg) != 0))
        return EXIT_REFUSED;
    plan.cfg = &cfg;
    plan.vmm = o.raw ? o.vmm : line.argv;
    if (!make_plan(&plan, &o))
        return EXIT_REFUSED;
    if (o.print) {
        print_line(plan.vmm);
        return 0;
    }
    return cluster_run(&plan);
}
