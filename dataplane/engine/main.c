/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-dataplane: one node of a cluster. APP. */
#include <argp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/engine/engine.h"

const char *argp_program_version = "pando-dataplane 0.1.0";
static const char doc[] =
    "Runs one node of a Pando cluster: guest memory, interrupts and remote I/O between "
    "the VM's process on this host and the other nodes. Needs root.";

struct options {
    const char *config, *node, *summary, *spans;
    bool verbose, announce, print_config;
};

static const struct argp_option option_list[] = {
    {"config", 'c', "FILE", 0, "Cluster configuration, the same file on every node", 0},
    {"node", 'n', "N", 0, "This node: its number or name", 0},
    {"summary", 's', "FILE", 0, "Write what was counted to FILE at the end, as JSON", 0},
    {"spans", 't', "FILE", 0,
     "Write the last sampled transactions to FILE at the end, stamp by stamp, a line of JSON each",
     0},
    {"verbose", 'v', NULL, 0, "Say what happens while starting and joining", 0},
    {"announce", 'a', NULL, 0,
     "Print \"pando-dataplane: node N: ready\" once the glue socket is there: for who starts it",
     0},
    {"print-config", 'p', NULL, 0,
     "Check the configuration, print what it says about this node, and exit", 0},
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
    case 's':
        o->summary = arg;
        break;
    case 't':
        o->spans = arg;
        break;
    case 'v':
        o->verbose = true;
        break;
    case 'a':
        o->announce = true;
        break;
    case 'p':
        o->print_config = true;
        break;
    case ARGP_KEY_END:
        if (o->config == NULL || o->node == NULL)
            argp_error(state, "--config and --node are needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void on_signal(int number)
{
    (void)number;
    engine_interrupt();
}

/* Guest RAM that the VMM cut off behind our back (a memfd that it could not seal). */
static void on_sigbus(int number)
{
    static const char text[] = "pando-dataplane: SIGBUS: the VM's process cut off its guest RAM, "
                               "or the host is out of memory\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static void on_check(const char *expr, const char *file, int line)
{
    fprintf(stderr, "pando-dataplane: a bug: %s is false at %s:%d; please report it\n", expr, file,
            line);
}

static void set_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal}, bus = {.sa_handler = on_sigbus},
                     ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGBUS, &bus, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    pando_check_set_handler(on_check);
}

static void print_config(const struct pando_config *cfg, const struct config_node *n)
{
    printf("cluster %s, configuration hash %016llx, %u nodes\n", cfg->cluster,
           (unsigned long long)cfg->hash, cfg->node_count);
    printf("vm %s: %llu MiB, %u vCPUs, VMM on node %u\n", cfg->vm.name,
           (unsigned long long)(cfg->vm.ram_pages / 256), cfg->vm.vcpus, cfg->vm.vmm_node);
    printf("node %u (%s): vCPUs", n->id, n->name);
    for (uint32_t v = 0; v < cfg->vm.vcpus; v++)
        if (cfg->vm.vcpu_home[v] == n->id)
            printf(" %u", v);
    printf("; resident limit %llu MiB%s\n", (unsigned long long)(n->resident_pages / 256),
           n->resident_pages ? "" : " (none)");
    printf("fabric %s, mtu %u; poll mode %s; sockets in %s\n", config_fabric_name(cfg->fabric.type),
           cfg->fabric.mtu, config_poll_name(cfg->poll.mode), cfg->run_dir);
}

static int run(const struct pando_config *cfg, uint8_t node, const struct options *o)
{
    static struct engine engine; /* large: not on the stack */
    int rc = engine_start(&engine, cfg, node, o->config, o->verbose);
    if (rc != 0) {
        fprintf(stderr, "pando-dataplane: node %u: %s\n", node, engine.err);
        engine_close(&engine);
        return 1;
    }
    if (o->announce) {
        printf("pando-dataplane: node %u: ready\n", node);
        fflush(stdout);
    }
    int status = engine_run(&engine);
    if (o->summary != NULL && (rc = summary_write(&engine, o->summary)) != 0) {
        fprintf(stderr, "pando-dataplane: %s: %s\n", o->summary, strerror(-rc));
        status = status ? status : 1;
    }
    if (o->spans != NULL && (rc = span_records_write(&engine, o->spans)) != 0) {
        fprintf(stderr, "pando-dataplane: %s: %s\n", o->spans, strerror(-rc));
        status = status ? status : 1;
    }
    engine_close(&engine);
    return status;
}

int main(int argc, char **argv)
{
    static struct pando_config cfg;
    const struct argp argp = {option_list, parse, NULL, doc, NULL, NULL, NULL};
    struct options o = {0};
    char err[CONFIG_ERROR_MAX] = "";
    uint8_t node;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc = config_load(o.config, &cfg, err);
    if (rc == 0 && err[0] != '\0')
        fprintf(stderr, "pando-dataplane: %s\n", err);
    if (rc == 0)
        rc = config_find_node(&cfg, o.node, &node, err);
    if (rc != 0) {
        fprintf(stderr, "pando-dataplane: %s\n", err);
        return 2;
    }
    if (o.print_config) {
        print_config(&cfg, config_node_of(&cfg, node));
        return 0;
    }
#ifdef PANDO_PLANT_EARLY_ACK
    fprintf(stderr, "pando-dataplane: built with -Dplant=early-ack: an error for tests, which "
                    "shows the guest wrong memory\n");
#endif
    set_signals();
    return run(&cfg, node, &o);
}
