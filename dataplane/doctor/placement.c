/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/doctor/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/doctor/cpus.h"

enum { HUGE_MIB = 64 };

struct check {
    const struct machine *m;
    const struct pando_config *cfg;
    const struct config_node *node;
    struct doctor_report *r;
    bool poller; /* dataplane_core is given, and the host has it */
    uint32_t core;
};

static const struct {
    const char *role, *key;
} roles[CONFIG_ROLES] = {
    [CONFIG_ROLE_POLL] = {"poll loop", "dataplane_core"},
    [CONFIG_ROLE_AGENT] = {"agent", "agent_core"},
    [CONFIG_ROLE_VCPU] = {"vCPUs", "vcpu_cores"},
    [CONFIG_ROLE_HOUSEKEEPING] = {"housekeeping", "housekeeping_cores"},
    [CONFIG_ROLE_REGISTRATION] = {"registration", "registration_core"},
};

/* The keys that name this role's CPUs: registration falls back on housekeeping's, which are checked
 * under their own. */
static bool named(const struct check *c, enum config_role role)
{
    return role != CONFIG_ROLE_REGISTRATION || c->node->registration_core >= 0;
}

static bool spins(const struct check *c)
{
    return c->cfg->poll.mode == CONFIG_POLL_BUSY ||
           (c->cfg->poll.mode == CONFIG_POLL_YIELD &&
            host_real_time(c->cfg->threads.poll.class)); /* lets no ordinary thread run */
}

/* ---- what is not there --------------------------------------------------------------------- */

static void check_cpus(struct check *c, enum config_role role)
{
    struct host_cpus set = config_cpus(c->node, role);
    char allowed[HOST_CPUS_TEXT];
    host_cpus_text(&c->m->usable, allowed, sizeof(allowed));
    for (uint32_t cpu = 0; named(c, role) && cpu < HOST_CPUS_MAX; cpu++) {
        if (!host_cpus_has(&set, cpu) || host_cpus_has(&c->m->usable, cpu))
            continue;
        if (!host_cpus_has(&c->m->possible, cpu))
            doctor_add(c->r, DOCTOR_MISSING, (int)role, "another CPU in the configuration",
                       "%s: CPU %u: this host has %u CPUs; allowed: %s", roles[role].key, cpu,
                       host_cpus_count(&c->m->possible), allowed);
        else if (!host_cpus_has(&c->m->online, cpu))
            doctor_add(c->r, DOCTOR_MISSING, (int)role,
                       "another CPU, or echo 1 > /sys/devices/system/cpu/cpuN/online",
                       "%s: CPU %u is offline; allowed: %s", roles[role].key, cpu, allowed);
        else
            doctor_add(c->r, DOCTOR_MISSING, (int)role,
                       "another CPU, or a cpuset with it (cgroup, container, AllowedCPUs= of the "
                       "unit)",
                       "%s: CPU %u is outside of this process's cpuset; allowed: %s",
                       roles[role].key, cpu, allowed);
        return; /* the first one says it */
    }
}

static void check_numa_node(struct check *c, const char *key, int32_t node)
{
    struct host_cpus nodes = {{c->m->nodes}};
    char allowed[HOST_CPUS_TEXT];
    if (node < 0 || host_cpus_has(&nodes, (uint32_t)node))
        return;
    doctor_add(c->r, DOCTOR_MISSING, CONFIG_ROLE_POLL, "another node in the configuration, or -1",
               "%s: NUMA node %d: this host has no such node with memory; allowed: %s", key, node,
               host_cpus_text(&nodes, allowed, sizeof(allowed)));
}

static void check_ram(struct check *c)
{
    uint64_t want = c->node->resident_pages > 0 ? c->node->resident_pages : c->cfg->vm.ram_pages;
    uint64_t free_kib;
    if (c->node->ram_node < 0 || (c->m->nodes >> c->node->ram_node & 1) == 0)
        return;
    free_kib = machine_free_kib(c->m, c->node->ram_node);
    if (free_kib > 0 && free_kib / 4 < want)
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_VCPU,
                   "another ram_node, or nodes[].resident_mib below what is free",
                   "ram_node %d has %llu MiB free, and this node may hold %llu MiB of guest "
                   "memory: when it is full, the VM ends",
                   c->node->ram_node, (unsigned long long)(free_kib / 1024),
                   (unsigned long long)(want / 256));
}

/* Free pages that are enough for packet memory, as the fabric looks for them (fabric.c). */
static bool free_hugepages(const struct check *c, uint32_t *ret_kib, char *text, size_t size)
{
    enum config_hugepages h = c->cfg->fabric.hugepages;
    uint32_t kib = h == CONFIG_HUGE_2M   ? 2048
                   : h == CONFIG_HUGE_1G ? 1048576
                                         : machine_default_hugepage_kib(c->m);
    uint64_t pages = kib == 0 ? 0 : machine_free_hugepages(c->m, kib, c->node->packet_node);
    *ret_kib = kib;
    if (kib == 0)
        snprintf(text, size, "this kernel has none");
    else
        snprintf(text, size, "%llu pages of %u KiB are free%s", (unsigned long long)pages, kib,
                 c->node->packet_node >= 0 ? " on packet_node" : "");
    return pages * kib / 1024 >= HUGE_MIB;
}

/* Virtual devices start without any, unless they are demanded; a NIC on PCI does not. */
static void check_hugepages(struct check *c)
{
    enum config_hugepages h = c->cfg->fabric.hugepages;
    enum config_fabric t = c->cfg->fabric.type;
    bool used = t == CONFIG_FABRIC_MEMIF || t == CONFIG_FABRIC_AF_PACKET ||
                t == CONFIG_FABRIC_DPDK || t == CONFIG_FABRIC_AUTO;
    bool demanded = h != CONFIG_HUGE_AUTO && h != CONFIG_HUGE_OFF;
    bool nic = t == CONFIG_FABRIC_DPDK && config_is_pci(c->node->device);
    char have[64], prepare[96], remedy[DOCTOR_TEXT_MAX];
    uint32_t kib;
    if (!used || (!demanded && !nic))
        return;
    bool enough = free_hugepages(c, &kib, have, sizeof(have));
    if (enough && h != CONFIG_HUGE_OFF)
        return;
    snprintf(prepare, sizeof(prepare), "configs/host/prepare --hugepages %d:%s",
             c->node->packet_node >= 0 ? c->node->packet_node : 0,
             kib == 1048576 ? "1G:1, best right after a boot" : "2M:64");
    if (demanded) {
        doctor_add(c->r, DOCTOR_MISSING, CONFIG_ROLE_POLL, prepare,
                   "fabric.hugepages: %s; needed: %d MiB%s", have, HUGE_MIB,
                   nic ? "" : ", or auto");
        return;
    }
    snprintf(remedy, sizeof(remedy), "%s%s%s", h == CONFIG_HUGE_OFF ? "fabric.hugepages: auto" : "",
             h == CONFIG_HUGE_OFF && !enough ? ", and " : "", enough ? "" : prepare);
    doctor_add(c->r, DOCTOR_MISSING, CONFIG_ROLE_POLL, remedy,
               "a NIC on PCI (%.32s) needs %d MiB of free hugepages: %s%s", c->node->device,
               HUGE_MIB, have, h == CONFIG_HUGE_OFF ? ", and fabric.hugepages is off" : "");
}

/* ---- who shares what ----------------------------------------------------------------------- */

static void check_sharing(struct check *c)
{
    for (int role = CONFIG_ROLE_AGENT; c->poller && role < CONFIG_ROLES; role++) {
        struct host_cpus set = config_cpus(c->node, (enum config_role)role);
        if (named(c, (enum config_role)role) && host_cpus_has(&set, c->core))
            doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, "CPUs of their own",
                       "CPU %u is the poll loop's and also in %s: they take turns, which costs "
                       "latency",
                       c->core, roles[role].key);
    }
}

/* The process that is this node, where it runs already: its claim in run_dir names it
 * (fabric.h). */
static pid_t own_process(const struct check *c)
{
    char text[128];
    (void)machine_text(c->m, text, sizeof(text), "%s/node%u.claim", c->cfg->run_dir, c->node->id);
    const char *at = strstr(text, "process ");
    return at != NULL ? (pid_t)strtol(at + strlen("process "), NULL, 10) : getpid();
}

/* Of another cluster, or another configuration: those of one file are config_load's. */
static void check_other_pollers(struct check *c)
{
    pid_t other = c->poller ? machine_pinned(c->m, "pando-dataplane", c->core, own_process(c)) : 0;
    if (other != 0)
        doctor_add(
            c->r, spins(c) ? DOCTOR_MISSING : DOCTOR_NOTE, CONFIG_ROLE_POLL,
            "another dataplane_core for one of the two",
            "dataplane_core: CPU %u is that of process %d (pando-dataplane), too; allowed%s: "
            "a CPU of its own",
            c->core, (int)other, spins(c) ? " with poll.mode: busy" : "");
}

static void check_siblings(struct check *c)
{
    if (!c->poller)
        return;
    struct host_cpus siblings = machine_siblings(c->m, c->core);
    for (uint32_t cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (cpu == c->core || !host_cpus_has(&siblings, cpu) || !host_cpus_has(&c->m->online, cpu))
            continue;
        const char *who = NULL;
        for (int role = CONFIG_ROLE_AGENT; role < CONFIG_ROLES; role++) {
            struct host_cpus set = config_cpus(c->node, (enum config_role)role);
            if (who == NULL && host_cpus_has(&set, cpu))
                who = roles[role].key;
        }
        if (who != NULL || !host_cpus_has(&c->m->isolated, cpu))
            doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL,
                       "leave it idle: isolcpus= with both, or take it offline",
                       "CPU %u is a thread of the poll loop's core (CPU %u), and %s%s: the two "
                       "share its execution units",
                       cpu, c->core, who != NULL ? "in " : "open to everybody",
                       who != NULL ? who : "");
    }
}

static void check_unpinned(struct check *c)
{
    if (spins(c) && c->node->dataplane_core < 0)
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, "nodes[].dataplane_core",
                   "poll.mode is busy and the loop is not pinned: it wanders, and whoever shares "
                   "its CPU gets little of it");
}

/* ---- CPUs of its own ----------------------------------------------------------------------- */

static uint32_t vcpus_here(const struct check *c)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < c->cfg->vm.vcpus; v++)
        n += c->cfg->vm.vcpu_home[v] == c->node->id;
    return n;
}

/* All CPUs kept for somebody are kept for nobody: these are too few for the word. */
static bool leaves_none(const struct check *c, const struct doctor_words *lacking,
                        enum doctor_word w)
{
    struct doctor_words unnamed;
    doctor_lacking(c->m, &c->m->usable, 1u << w, &unnamed);
    host_cpus_take_away(&unnamed.of[w], &lacking->of[w]);
    return !host_cpus_empty(&lacking->of[w]) && host_cpus_empty(&unnamed.of[w]);
}

/* By role what helps there. The agent sleeps until it is asked, and an idle CPU has no tick.
 * isolcpus ends the balancing that the VMM's other threads need; where vCPUs take turns on a CPU,
 * the tick is what ends a turn. */
static void check_isolation(struct check *c)
{
    static const unsigned isolcpus = 1 << DOCTOR_ISOLCPUS, nohz_full = 1 << DOCTOR_NOHZ_FULL,
                          rcu_nocbs = 1 << DOCTOR_RCU_NOCBS;
    bool turns = vcpus_here(c) > c->node->vcpu_core_count;
    const unsigned helps[] = {
        [CONFIG_ROLE_POLL] = isolcpus | nohz_full | rcu_nocbs,
        [CONFIG_ROLE_AGENT] = isolcpus | rcu_nocbs,
        [CONFIG_ROLE_VCPU] = (turns ? 0 : nohz_full) | rcu_nocbs,
    };
    enum { N = sizeof(helps) / sizeof(helps[0]) };
    struct doctor_words lacking[N], all = {0};
    struct host_cpus balanced = config_cpus(c->node, CONFIG_ROLE_VCPU),
                     rest = config_cpus(c->node, CONFIG_ROLE_HOUSEKEEPING);
    host_cpus_join(&balanced, &rest);
    char of[32], remedy[DOCTOR_TEXT_MAX];
    for (int role = 0; role < N; role++) {
        struct host_cpus set = config_cpus(c->node, (enum config_role)role);
        doctor_lacking(c->m, &set, helps[role], &lacking[role]);
        host_cpus_take_away(&lacking[role].of[DOCTOR_ISOLCPUS], &balanced);
        for (int w = 0; w < DOCTOR_WORDS; w++)
            host_cpus_join(&all.of[w], &lacking[role].of[w]);
    }
    for (int w = 0; w < DOCTOR_WORDS; w++)
        if (leaves_none(c, &all, (enum doctor_word)w))
            for (int role = 0; role <= N; role++)
                (role < N ? &lacking[role] : &all)->of[w] = (struct host_cpus){0};
    doctor_boot_words(c->m, &all, remedy, sizeof(remedy)); /* one line for all roles */
    for (int role = 0; role < N; role++) {
        snprintf(of, sizeof(of), "of the %s", roles[role].role);
        doctor_isolation(&lacking[role], of, role, remedy, c->r);
    }
}

static void check_irqs(struct check *c)
{
    char words[160], remedy[DOCTOR_TEXT_MAX];
    uint32_t n = c->poller ? machine_irqs_of(c->m, c->core, words, sizeof(words)) : 0;
    if (n == 0)
        return;
    snprintf(remedy, sizeof(remedy), "configs/host/prepare --irqs-away %u", c->core);
    doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, remedy,
               "%u IRQs are delivered to CPU %u of the poll loop: %s", n, c->core, words);
}

static void check_kernel_work(struct check *c)
{
    char remedy[DOCTOR_TEXT_MAX];
    struct host_cpus mask;
    int64_t on;
    if (!c->poller)
        return;
    if (machine_number(c->m, &on, "/proc/sys/kernel/watchdog") && on != 0 &&
        (!machine_list(c->m, &mask, "/proc/sys/kernel/watchdog_cpumask") ||
         host_cpus_has(&mask, c->core))) {
        snprintf(remedy, sizeof(remedy), "configs/host/prepare --sysctl kernel.watchdog=0");
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, remedy,
                   "the kernel's watchdog looks after CPU %u of the poll loop every few seconds",
                   c->core);
    }
    if (machine_number(c->m, &on, "/proc/sys/kernel/timer_migration") && on != 0 &&
        !host_cpus_has(&c->m->nohz_full, c->core))
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL,
                   "configs/host/prepare --sysctl kernel.timer_migration=0, or nohz_full=",
                   "kernel.timer_migration is on: timers of CPUs that go idle may move to CPU %u "
                   "of the poll loop, which never does",
                   c->core);
}

/* Of all roles whose latency counts. */
static void check_clocks(struct check *c, enum config_role role)
{
    struct host_cpus set = config_cpus(c->node, role);
    (void)doctor_governor(c->m, &set, (int)role, c->r);
    if (role != CONFIG_ROLE_POLL || !spins(c)) /* a loop that never idles enters no idle state */
        (void)doctor_idle(c->m, &set, (int)role, c->r);
}

/* ---- NUMA ---------------------------------------------------------------------------------- */

static void check_distance(struct check *c)
{
    int core = c->poller ? machine_node_of(c->m, c->core) : -1;
    int device = machine_device_node(c->m, c->node->device);
    int packets = c->node->packet_node, ram = c->node->ram_node;
    if (core >= 0 && device >= 0 && core != device)
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, "a dataplane_core on the NIC's node",
                   "%s is on NUMA node %d, and dataplane_core %u on node %d: every frame crosses "
                   "between them",
                   c->node->device, device, c->core, core);
    if (core >= 0 && packets >= 0 && core != packets)
        doctor_add(c->r, DOCTOR_NOTE, CONFIG_ROLE_POLL, "packet_node: -1, or that of the core",
                   "packet_node is %d, and dataplane_core %u on node %d", packets, c->core, core);
    for (int role = CONFIG_ROLE_POLL; ram >= 0 && role <= CONFIG_ROLE_VCPU; role++) {
        struct host_cpus set = config_cpus(c->node, (enum config_role)role), apart = {0};
        char text[HOST_CPUS_TEXT];
        for (uint32_t cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
            int node = host_cpus_has(&set, cpu) ? machine_node_of(c->m, cpu) : -1;
            if (node >= 0 && node != ram)
                host_cpus_add(&apart, cpu);
        }
        if (!host_cpus_empty(&apart))
            doctor_add(c->r, DOCTOR_NOTE, role, "CPUs on ram_node, or another ram_node",
                       "%s: CPUs %s are on another NUMA node than the guest's memory (ram_node "
                       "%d)",
                       roles[role].key, host_cpus_text(&apart, text, sizeof(text)), ram);
    }
}

/* ---- classes ------------------------------------------------------------------------------- */

static void check_real_time(struct check *c)
{
    const struct {
        enum config_role role;
        const struct host_sched *sched;
        bool spins;
    } who[] = {{CONFIG_ROLE_POLL, &c->cfg->threads.poll, spins(c)},
               {CONFIG_ROLE_VCPU, &c->cfg->threads.vcpu, true}};
    int64_t runtime = -1, period = 1000000;
    bool known = machine_number(c->m, &runtime, "/proc/sys/kernel/sched_rt_runtime_us");
    (void)machine_number(c->m, &period, "/proc/sys/kernel/sched_rt_period_us");
    for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
        const char *name = host_class_name(who[i].sched->class);
        if (!host_real_time(who[i].sched->class) || !who[i].spins)
            continue;
        if (known && runtime >= 0)
            doctor_add(c->r, DOCTOR_NOTE, (int)who[i].role,
                       "class other on an isolated CPU is as good; else configs/host/prepare "
                       "--sysctl kernel.sched_rt_runtime_us=-1",
                       "%s: %s and never asleep: RT throttling stops it for %lld us of each %lld",
                       roles[who[i].role].role, name, (long long)(period - runtime),
                       (long long)period);
        else
            doctor_add(c->r, DOCTOR_NOTE, (int)who[i].role, "class other on an isolated CPU",
                       "%s: %s and never asleep, with RT throttling off: the kernel's own threads "
                       "on its CPU never run, and what waits for them hangs",
                       roles[who[i].role].role, name);
    }
}

void doctor_placement(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                      struct doctor_report *r)
{
    struct check c = {.m = m, .cfg = cfg, .node = config_node_of(cfg, node), .r = r};
    if (c.node == NULL)
        return;
    r->check = "placement";
    c.poller =
        c.node->dataplane_core >= 0 && host_cpus_has(&m->usable, (uint32_t)c.node->dataplane_core);
    c.core = (uint32_t)c.node->dataplane_core;
    for (int role = 0; role < CONFIG_ROLES; role++)
        check_cpus(&c, (enum config_role)role);
    check_numa_node(&c, "ram_node", c.node->ram_node);
    check_numa_node(&c, "packet_node", c.node->packet_node);
    check_ram(&c);
    check_hugepages(&c);
    check_unpinned(&c);
    check_sharing(&c);
    check_other_pollers(&c);
    check_siblings(&c);
    check_isolation(&c);
    check_irqs(&c);
    check_kernel_work(&c);
    for (int role = CONFIG_ROLE_POLL; role <= CONFIG_ROLE_VCPU; role++)
        check_clocks(&c, (enum config_role)role);
    check_distance(&c);
    check_real_time(&c);
}

/* ---- the table ----------------------------------------------------------------------------- */

void doctor_row(const struct machine *m, const struct pando_config *cfg, uint8_t node,
                enum config_role role, struct doctor_row *ret)
{
    const struct config_node *n = config_node_of(cfg, node);
    struct host_cpus set = n != NULL ? config_cpus(n, role) : (struct host_cpus){0}, nodes = {0};
    struct host_sched s = {0};
    *ret = (struct doctor_row){.role = roles[role].role};
    host_cpus_text(&set, ret->cpus, sizeof(ret->cpus));
    if (ret->cpus[0] == '\0')
        snprintf(ret->cpus, sizeof(ret->cpus), "any");
    if (!config_sched(cfg, role, &s))
        snprintf(ret->sched, sizeof(ret->sched), "as started");
    else if (host_real_time(s.class))
        snprintf(ret->sched, sizeof(ret->sched), "%s %u", host_class_name(s.class), s.priority);
    else if (s.slice_us > 0)
        snprintf(ret->sched, sizeof(ret->sched), "%s, nice %d, slice %u us",
                 host_class_name(s.class), s.nice, s.slice_us);
    else
        snprintf(ret->sched, sizeof(ret->sched), "%s, nice %d", host_class_name(s.class), s.nice);
    for (uint32_t cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        int at = host_cpus_has(&set, cpu) ? machine_node_of(m, cpu) : -1;
        if (at >= 0)
            host_cpus_add(&nodes, (uint32_t)at);
    }
    host_cpus_text(&nodes, ret->numa, sizeof(ret->numa));
    if (ret->numa[0] == '\0')
        snprintf(ret->numa, sizeof(ret->numa), "-");
}
