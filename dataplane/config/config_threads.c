/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads by role: what the keys say about their CPUs and classes, and what cannot work. APP. */
#include <errno.h>

#include "dataplane/config/config_keys.h"

const char *config_poll_name(enum config_poll p)
{
    static const char *const names[] = {"busy", "yield", "adaptive", "interrupt", "sleep"};
    return (unsigned)p < sizeof(names) / sizeof(names[0]) ? names[p] : "?";
}

bool config_sched(const struct pando_config *cfg, enum config_role role, struct host_sched *ret)
{
    switch (role) {
    case CONFIG_ROLE_POLL:
    case CONFIG_ROLE_AGENT:
        *ret = role == CONFIG_ROLE_POLL ? cfg->threads.poll : cfg->threads.agent;
        ret->nice = (int8_t)cfg->poll.nice;
        ret->slice_us = cfg->poll.slice_us;
        return true;
    case CONFIG_ROLE_VCPU:
        *ret = cfg->threads.vcpu;
        return ret->class != HOST_OTHER || ret->nice != 0;
    case CONFIG_ROLE_HOUSEKEEPING:
    case CONFIG_ROLE_REGISTRATION:
        *ret =
            (struct host_sched){.class = cfg->threads.housekeeping_batch ? HOST_BATCH : HOST_OTHER,
                                .nice = cfg->threads.housekeeping_nice};
        return ret->class != HOST_OTHER || ret->nice != 0;
    case CONFIG_ROLES:
        break;
    }
    return false;
}

static struct host_cpus set_of(const int32_t *cpus, uint32_t count)
{
    struct host_cpus set = {0};
    for (uint32_t i = 0; i < count; i++)
        if (cpus[i] >= 0)
            host_cpus_add(&set, (uint32_t)cpus[i]);
    return set;
}

struct host_cpus config_cpus(const struct config_node *n, enum config_role role)
{
    switch (role) {
    case CONFIG_ROLE_POLL:
        return set_of(&n->dataplane_core, 1);
    case CONFIG_ROLE_AGENT:
        return set_of(&n->agent_core, 1);
    case CONFIG_ROLE_VCPU:
        return set_of(n->vcpu_cores, n->vcpu_core_count);
    case CONFIG_ROLE_REGISTRATION:
        if (n->registration_core >= 0)
            return set_of(&n->registration_core, 1);
        return set_of(n->housekeeping_cores, n->housekeeping_core_count);
    case CONFIG_ROLE_HOUSEKEEPING:
        return set_of(n->housekeeping_cores, n->housekeeping_core_count);
    case CONFIG_ROLES:
        break;
    }
    return (struct host_cpus){0};
}

/* A yield of a real-time thread lets no ordinary one run. */
static bool never_sleeps(const struct pando_config *cfg)
{
    return cfg->poll.mode == CONFIG_POLL_BUSY ||
           (cfg->poll.mode == CONFIG_POLL_YIELD && host_real_time(cfg->threads.poll.class));
}

/* Where real-time threads would keep others from running at all. A vCPU in a guest's loop never
 * sleeps either. */
static int check_alone(const struct config_context *ctx, const struct pando_config *cfg,
                       const struct config_node *n)
{
    static const struct {
        enum config_role role;
        const char *key;
    } others[] = {{CONFIG_ROLE_AGENT, "agent_core"},
                  {CONFIG_ROLE_HOUSEKEEPING, "housekeeping_cores"},
                  {CONFIG_ROLE_REGISTRATION, "registration_core"}};
    bool real_time = host_real_time(cfg->threads.poll.class);
    const char *mode = cfg->poll.mode == CONFIG_POLL_BUSY ? "busy" : "yield";
    if (!never_sleeps(cfg))
        return 0;
    if (real_time && n->dataplane_core < 0)
        return config_fail(ctx, -EINVAL,
                           "nodes: dataplane_core of node %u: -1; allowed with poll.mode: "
                           "%s and threads.poll_class: %s: a CPU of its own",
                           n->id, mode, host_class_name(cfg->threads.poll.class));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]) && n->dataplane_core >= 0; i++) {
        struct host_cpus set = config_cpus(n, others[i].role);
        bool listed = host_cpus_has(&set, (uint32_t)n->dataplane_core);
        if (listed && (real_time || others[i].role == CONFIG_ROLE_AGENT))
            return config_fail(ctx, -EINVAL,
                               "nodes: %s of node %u: CPU %d is its dataplane_core; allowed with "
                               "poll.mode: %s%s%s: other CPUs, as nothing else runs on that one",
                               others[i].key, n->id, n->dataplane_core, mode,
                               real_time ? " and threads.poll_class: " : "",
                               real_time ? host_class_name(cfg->threads.poll.class) : "");
    }
    return 0;
}

/* Poll loop and agent come before a real-time vCPU, or nowhere near it. */
static int check_vcpus(const struct config_context *ctx, const struct pando_config *cfg,
                       const struct config_node *n)
{
    const struct {
        const char *key, *class_key;
        int32_t core;
        const struct host_sched *sched;
    } who[] = {{"dataplane_core", "poll", n->dataplane_core, &cfg->threads.poll},
               {"agent_core", "agent", n->agent_core, &cfg->threads.agent}};
    struct host_cpus vcpus = config_cpus(n, CONFIG_ROLE_VCPU);
    if (!host_real_time(cfg->threads.vcpu.class))
        return 0;
    for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
        bool apart = n->vcpu_core_count > 0 && who[i].core >= 0 &&
                     !host_cpus_has(&vcpus, (uint32_t)who[i].core);
        bool before = host_real_time(who[i].sched->class) &&
                      who[i].sched->priority > cfg->threads.vcpu.priority;
        if (!apart && !before)
            return config_fail(
                ctx, -EINVAL,
                "threads.vcpu_class: %s with priority %u: a vCPU that spins would keep node %u's "
                "%s waiting for ever; allowed: vcpu_cores and %s without a common CPU, or "
                "threads.%s_class: fifo or rr with a higher %s_priority",
                host_class_name(cfg->threads.vcpu.class), cfg->threads.vcpu.priority, n->id,
                i == 0 ? "poll loop" : "agent", who[i].key, who[i].class_key, who[i].class_key);
    }
    return 0;
}

int config_rule_threads(const struct config_context *ctx, struct pando_config *cfg)
{
    if (cfg->poll.mode == CONFIG_POLL_SLEEP)
        cfg->poll.mode = CONFIG_POLL_INTERRUPT;
    for (uint32_t i = 0; i < cfg->node_count; i++) {
        int rc = check_alone(ctx, cfg, &cfg->node[i]);
        if (rc == 0)
            rc = check_vcpus(ctx, cfg, &cfg->node[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}
