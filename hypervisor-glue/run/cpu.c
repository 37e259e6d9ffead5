/* SPDX-License-Identifier: BSD-3-Clause */
/* -cpu and -smp: a CPU that all hosts have, whose paravirtual parts share no page and no clock with
 * one host's kernel; as many vCPUs as have a home. */
#include <stdio.h>
#include <string.h>

#include "hypervisor-glue/run/compose.h"

#define PAGE "shares a page with one host's kernel"

/* kvmclock and kvmclock-stable-bit stay as the user has them. */
const struct cpu_flag cpu_flags[] = {
    {"kvm-asyncpf", false, PAGE},
    {"kvm-asyncpf-int", false, PAGE},
    {"kvm-steal-time", false, PAGE ", and counts that host's time"},
    {"kvm-pv-eoi", false, PAGE},
    {"kvm-pv-unhalt", false, "wakes vCPUs through one host's kernel"},
    {"kvm-pv-tlb-flush", false, "relies on the page of kvm-steal-time"},
    {"kvm-pv-ipi", false, "sends interrupts through one host's kernel"},
    {"kvm-poll-control", false, "speaks to one host's kernel about waiting"},
    {"kvm-pv-sched-yield", false, "yields to vCPUs of one host's kernel"},
    {"kvm-msi-ext-dest-id", false, "needs interrupt destinations that Pando does not route"},
    {"invtsc", true, "without it guests leave the TSC for clocks that are read over the network"},
};
const unsigned cpu_flags_count = sizeof(cpu_flags) / sizeof(cpu_flags[0]);

struct feature {
    const char *name;
    const char *value; /* "on", "off", or what is behind '=' */
};

static struct feature feature_of(const struct opt_pair *p)
{
    if (p->form == OPT_FLAG && p->key[0] == '+')
        return (struct feature){p->key + 1, "on"};
    if (p->form == OPT_FLAG && p->key[0] == '-')
        return (struct feature){p->key + 1, "off"};
    return (struct feature){p->key, p->value};
}

static void check_model(struct compose *c, const struct line_option *o, const char *model)
{
    static const char *const refused[] = {"host", "max", "base"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char type[32];
        snprintf(type, sizeof(type), "%s-x86_64-cpu", refused[i]);
        if (strcmp(model, refused[i]) == 0 || strcmp(model, type) == 0)
            compose_refuse(c, o, "a model that every host has, qemu64 or EPYC, for example",
                           "'%s' follows this host, and the vCPUs run on all hosts", model);
    }
}

void cpu_check(struct compose *c, struct line_option *o, struct opt *p)
{
    c->cpu.last = o;
    for (unsigned i = 0; i < p->count; i++) {
        struct feature f = feature_of(&p->pair[i]);
        if (p->pair[i].form == OPT_IMPLIED) {
            check_model(c, o, f.value);
            continue;
        }
        if (strncmp(f.name, "hv", 2) == 0 && (f.name[2] == '-' || f.name[2] == '_') &&
            !opt_is_off(f.value))
            compose_refuse(c, o, "leave it out",
                           "%s: Hyper-V's interfaces share pages and clocks with one host's kernel",
                           f.name);
        for (unsigned k = 0; k < cpu_flags_count; k++)
            if (opt_key_is(f.name, cpu_flags[k].name) &&
                !(cpu_flags[k].on ? opt_is_on(f.value) : opt_is_off(f.value)))
                compose_refuse(c, o, "leave it out; pando run sets it", "%s=%s: %s", f.name,
                               f.value, cpu_flags[k].reason);
    }
}

static bool has_feature(const struct opt *p, const char *name)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->pair[i].form != OPT_IMPLIED && opt_key_is(feature_of(&p->pair[i]).name, name))
            return true;
    return false;
}

void cpu_finish(struct compose *c)
{
    struct opt p;
    const char *added = "";
    if (c->cpu.last == NULL) {
        c->cpu.last = compose_add(c, "-cpu", "qemu64");
        compose_note(c, "added -cpu qemu64: every host has what it needs");
    }
    if (c->cpu.last == NULL || !compose_parse(c, c->cpu.last, "model", &p))
        return;
    for (unsigned k = 0; k < cpu_flags_count; k++) {
        const struct cpu_flag *f = &cpu_flags[k];
        if (has_feature(&p, f->name))
            continue;
        if (f->on && p.count < OPT_PAIRS_MAX)
            p.pair[p.count++] =
                (struct opt_pair){arena_printf(&c->arena, "+%s", f->name), "on", OPT_FLAG};
        else if (f->on || opt_set(&p, f->name, "off") != 0)
            c->overflow = true;
        added = arena_printf(&c->arena, "%s%s%s%s%s", added, added[0] ? "," : "", f->on ? "+" : "",
                             f->name, f->on ? "" : "=off");
    }
    if (added[0] == '\0')
        return;
    compose_rewrite(c, c->cpu.last, &p);
    compose_note(c, "added to -cpu %s: no page and no clock of one host's kernel", added);
}

/* ---- -smp ---------------------------------------------------------------------------------- */

void cpu_smp(struct compose *c, struct line_option *o, struct opt *p)
{
    c->cpu.smp = true;
    for (unsigned i = 0; i < p->count; i++) {
        uint64_t n;
        if (opt_number(p->pair[i].value, &n) != 0 || n > UINT16_MAX) {
            compose_refuse(c, o, "a number", "%s=%s is not a number of vCPUs", p->pair[i].key,
                           p->pair[i].value);
            return;
        }
        if (strcmp(p->pair[i].key, "cpus") == 0)
            c->cpu.cpus = n;
        else if (strcmp(p->pair[i].key, "maxcpus") == 0)
            c->cpu.maxcpus = n;
        else if (n > 0 && n <= WIRE_VCPUS_MAX)
            c->cpu.product = (c->cpu.product ? c->cpu.product : 1) * n;
    }
    if (c->cpu.cpus == 0) /* as QEMU does */
        c->cpu.cpus = c->cpu.maxcpus ? c->cpu.maxcpus : c->cpu.product;
    uint32_t vcpus = c->cfg->vm.vcpus;
    const char *remedy = arena_printf(&c->arena, "-smp %u, or vm.vcpus", vcpus);
    if (c->cpu.cpus != vcpus)
        compose_refuse(c, o, remedy, "%llu vCPUs, but the configuration's vm.vcpus is %u",
                       (unsigned long long)c->cpu.cpus, vcpus);
    else if (c->cpu.maxcpus > vcpus)
        compose_refuse(c, o, remedy,
                       "maxcpus=%llu is more than vm.vcpus, %u: only those have homes",
                       (unsigned long long)c->cpu.maxcpus, vcpus);
}

/* Nodes that have vCPUs, if each of them has the same number in one run; otherwise 0. */
static uint32_t equal_runs(const struct pando_config *cfg)
{
    uint32_t runs = 0, length = 0;
    bool seen[WIRE_NODES_MAX] = {false};
    for (uint32_t v = 0; v < cfg->vm.vcpus;) {
        uint32_t start = v;
        uint8_t node = cfg->vm.vcpu_home[v];
        while (v < cfg->vm.vcpus && cfg->vm.vcpu_home[v] == node)
            v++;
        if (seen[node] || (runs > 0 && v - start != length))
            return 0;
        seen[node] = true;
        length = v - start;
        runs++;
    }
    return runs;
}

void cpu_smp_finish(struct compose *c)
{
    uint32_t vcpus = c->cfg->vm.vcpus, sockets = equal_runs(c->cfg);
    if (c->cpu.smp)
        return;
    const char *value = arena_printf(&c->arena, "cpus=%u", vcpus);
    if (sockets > 1)
        value = arena_printf(&c->arena, "cpus=%u,sockets=%u,cores=%u,threads=1", vcpus, sockets,
                             vcpus / sockets);
    compose_add(c, "-smp", value);
    compose_note(c, "added -smp %s: vm.vcpus%s", value,
                 sockets > 1 ? ", a socket for each node" : "");
}
