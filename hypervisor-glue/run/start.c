/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/run/cluster_internal.h"

enum {
    START_MS = 120000, /* until all dataplanes are ready: who fails ends before; lab VMs are slow */
    SAY_FIRST_MS = 1000,
    SAY_AGAIN_MS = 5000,
};

static bool all_ready(const struct cluster *c)
{
    for (unsigned i = 0; i < c->children; i++)
        if (!c->child[i].ready)
            return false;
    return true;
}

static bool started(const struct cluster *c)
{
    return all_ready(c) || cluster_disturbed(c);
}

__attribute__((format(printf, 5, 6))) static int start(struct cluster *c, uint32_t node,
                                                       const char *const *words,
                                                       const char *ready_line, const char *fmt, ...)
{
    const char *argv[CHILD_WORDS_MAX];
    struct child *p = &c->child[c->children];
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->name, sizeof(p->name), fmt, args);
    va_end(args);
    p->ready_line = ready_line;
    int rc = plan_command(c->plan, node, words, argv);
    if (rc == 0)
        rc = child_start(p, argv, NULL, false);
    if (rc == 0)
        c->children++;
    else
        snprintf(c->died, sizeof(c->died), "%s cannot be started: %.100s: %s", p->name, argv[0],
                 strerror(-rc));
    return rc;
}

static int start_dataplanes(struct cluster *c)
{
    static char ready[WIRE_NODES_MAX][48];
    const struct plan *plan = c->plan;
    int rc = 0;
    for (uint32_t n = 0; rc == 0 && n < plan->cfg->node_count; n++) {
        char number[12], summary[PLAN_PATH_MAX + 32];
        snprintf(number, sizeof(number), "%u", n);
        snprintf(summary, sizeof(summary), "%s/summary%u.json", plan->summary_dir, n);
        snprintf(ready[n], sizeof(ready[n]), "pando-dataplane: node %u: ready", n);
        bool sum = plan->summary_dir[0] != '\0';
        const char *const words[] = {
            plan->dataplane,          "--announce", "--config", plan->config, "--node", number,
            sum ? "--summary" : NULL, summary,      NULL};
        rc = start(c, n, words, ready[n], "dataplane%u", n);
    }
    return rc;
}

static void say_waiting(const struct cluster *c)
{
    for (unsigned i = 0; i < c->children; i++)
        if (!c->child[i].ready)
            fprintf(stderr, "pando run: waiting for %s (%s)\n", c->child[i].name,
                    c->plan->cfg->node[i].name);
}

/* 0: all are ready, or something happened that ends the run. */
static int wait_ready(struct cluster *c)
{
    uint64_t deadline = cluster_in_ms(START_MS), say = cluster_in_ms(SAY_FIRST_MS);
    while (!cluster_wait(c, started, say < deadline ? say : deadline)) {
        if (cluster_now() >= deadline) {
            for (unsigned i = 0; c->died[0] == '\0' && i < c->children; i++)
                if (!c->child[i].ready)
                    snprintf(c->died, sizeof(c->died), "%s is not ready after %d s",
                             c->child[i].name, START_MS / 1000);
            return -ETIMEDOUT;
        }
        say_waiting(c);
        say = cluster_in_ms(SAY_AGAIN_MS);
    }
    return 0;
}

static int start_vcpuds(struct cluster *c)
{
    const struct pando_config *cfg = c->plan->cfg;
    int rc = 0;
    for (uint32_t n = 0; rc == 0 && n < cfg->node_count; n++) {
        char socket[CONFIG_PATH_MAX + 32];
        const char *const words[] = {c->plan->vcpud, "--socket", socket, NULL};
        if (n == cfg->vm.vmm_node)
            continue;
        rc = config_glue_socket(cfg, (uint8_t)n, socket, sizeof(socket));
        if (rc == 0)
            rc = start(c, n, words, NULL, "vcpud%u", n);
    }
    return rc;
}

/* Without words in front, the environment is set in the VMM; with them, by env behind them: they
 * may lead to another host, and are no VMM themselves. */
static int start_vmm(struct cluster *c)
{
    const struct plan *plan = c->plan;
    uint8_t node = plan->cfg->vm.vmm_node;
    static char preload[2 * PLAN_PATH_MAX], socket[CONFIG_PATH_MAX + 48];
    const char *words[CHILD_WORDS_MAX] = {"env", preload, socket}, *argv[CHILD_WORDS_MAX];
    const char *const environment[] = {preload, socket, NULL};
    const char *old = getenv("LD_PRELOAD"), *slash = strrchr(plan->vmm[0], '/');
    bool local = plan->on[node].words == 0;
    bool more = old != NULL && old[0] != '\0';
    unsigned n = local ? 0 : 3;
    int len = snprintf(preload, sizeof(preload), "LD_PRELOAD=%s%s%s", more ? old : "",
                       more ? ":" : "", plan->preload);
    static const char name[] = "PANDO_SOCKET=";
    strcpy(socket, name);
    int rc =
        config_glue_socket(plan->cfg, node, socket + strlen(name), sizeof(socket) - strlen(name));
    if (len < 0 || (size_t)len >= sizeof(preload))
        rc = -E2BIG;
    for (unsigned i = 0; rc == 0 && plan->vmm[i] != NULL; i++) {
        if (n == CHILD_WORDS_MAX - 1)
            rc = -E2BIG;
        else
            words[n++] = plan->vmm[i];
    }
    words[n] = NULL;
    struct child *p = &c->child[c->children];
    snprintf(p->name, sizeof(p->name), "%s", slash ? slash + 1 : plan->vmm[0]);
    if (rc == 0)
        rc = plan_command(plan, node, words, argv);
    if (rc == 0)
        rc = child_start(p, argv, local ? environment : NULL, true);
    if (rc != 0) {
        fprintf(stderr, "pando run: %s cannot be started: %s\n", plan->vmm[0], strerror(-rc));
        return rc;
    }
    c->vmm = p;
    c->children++;
    return 0;
}

int cluster_start(struct cluster *c)
{
    int rc = start_dataplanes(c);
    if (rc == 0)
        rc = wait_ready(c);
    if (rc == 0 && !cluster_disturbed(c))
        rc = start_vcpuds(c);
    if (rc == 0 && !cluster_disturbed(c))
        rc = start_vmm(c);
    return rc;
}
