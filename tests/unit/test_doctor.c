/* SPDX-License-Identifier: BSD-3-Clause */
/* What the doctor says of made-up machines: of each configuration exactly the findings that are
 * listed, no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/doctor/placement.h"
#include "dataplane/doctor/system.h"
#include "tests/unit/made_up.h"

static struct doctor_report report;

#define VM       "cluster: c\nvm: {ram_mib: 64, vcpus: 2}\n"
#define NODES(a) VM "nodes:\n- {id: 0, name: a" a "}\n- {id: 1, name: b}\n"
#define NIC(a, pages)                                                                              \
    VM "nodes:\n- {id: 0, name: a, device: '0000:af:00.0'" a                                       \
       "}\n- {id: 1, name: b, device: '0000:af:00.0'}\n"                                           \
       "fabric: {type: dpdk, hugepages: " pages "}\n"

enum { FINDINGS = 12 };

struct expected {
    const char *what;
    void (*machine)(void);
    const char *config;            /* NULL: the checks of the machine itself */
    const char *finding[FINDINGS]; /* "note words of it", in any order; each one, and no other */
};

static const char *shown(const struct doctor_finding *f, char *buf, size_t size)
{
    snprintf(buf, size, "%s %s", doctor_state_name(f->state), f->text);
    return buf;
}

static bool matches(const struct doctor_finding *f, const char *words)
{
    size_t state = strcspn(words, " ");
    return strncmp(doctor_state_name(f->state), words, state) == 0 &&
           strlen(doctor_state_name(f->state)) == state &&
           strstr(f->text, words + state + 1) != NULL;
}

static void compare(const struct expected *x)
{
    char text[DOCTOR_TEXT_MAX + 16];
    bool used[DOCTOR_FINDINGS_MAX] = {false};
    for (size_t i = 0; i < FINDINGS && x->finding[i] != NULL; i++) {
        uint32_t k = 0;
        while (k < report.n && (used[k] || !matches(&report.finding[k], x->finding[i])))
            k++;
        if (k == report.n)
            fail_msg("%s: not found: %s", x->what, x->finding[i]);
        used[k] = true;
    }
    for (uint32_t k = 0; k < report.n; k++) {
        const struct doctor_finding *f = &report.finding[k];
        if (!used[k] && (f->state != DOCTOR_OK || x->config != NULL))
            fail_msg("%s: too much: %s", x->what, shown(f, text, sizeof(text)));
        /* Who is told that something is wrong is told what to do. */
        if (f->state == DOCTOR_MISSING && f->remedy[0] == '\0')
            fail_msg("%s: no remedy: %s", x->what, f->text);
    }
}

static void look(void (*machine)(void), const char *config, const char *what)
{
    static struct pando_config cfg;
    char err[CONFIG_ERROR_MAX];
    struct machine m;
    const char *root = made_up_begin();
    machine();
    assert_int_equal(machine_open(&m, root), 0);
    report = (struct doctor_report){0};
    if (config == NULL) {
        doctor_run(doctor_files, NULL, &m, &report);
    } else {
        if (config_parse(config, strlen(config), what, &cfg, err) != 0)
            fail_msg("%s", err);
        doctor_placement(&m, &cfg, 0, &report);
    }
    made_up_end();
}

static void examine(const struct expected *x)
{
    look(x->machine, x->config, x->what);
    compare(x);
}

static void container(void)
{
    made_up_server();
    made_up_put("/sys/fs/cgroup/user.slice/cpuset.cpus.effective", "2-3,6");
}

static void desktop(void)
{
    made_up_laptop();
    made_up_put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
                "always within_size [advise] never deny force");
}

/* Processes of two clusters: 70 is pinned to CPU 2, 71 to 2 and 3, 72 is something else, and 73 is
 * the node itself. */
static void crowd(void)
{
    made_up_server();
    made_up_put("/proc/70/comm", "pando-dataplane");
    made_up_put("/proc/70/status",
                "Name:\tpando-dataplane\nCpus_allowed:\t4\nCpus_allowed_list:\t2\nx: 1");
    made_up_put("/proc/71/comm", "pando-dataplane");
    made_up_put("/proc/71/status", "Name:\tpando-dataplane\nCpus_allowed_list:\t2-3");
    made_up_put("/proc/72/comm", "other");
    made_up_put("/proc/72/status", "Name:\tother\nCpus_allowed_list:\t3");
    made_up_put("/proc/73/comm", "pando-dataplane");
    made_up_put("/proc/73/status", "Name:\tpando-dataplane\nCpus_allowed_list:\t3");
    made_up_put("/run/pando/node0.claim", "pando-dataplane: node 0, process 73");
}

/* Who tells of nothing but its CPUs. */
static void taciturn(void)
{
    made_up_put("/sys/devices/system/cpu/online", "0-7");
    made_up_put("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "%s", "");
}

/* A kernel without CONFIG_NO_HZ_FULL, whose command line cannot be read. */
static void older(void)
{
    taciturn();
    made_up_put("/sys/devices/system/cpu/isolated", "%s", "");
}

/* ... of two CPUs, which tells. */
static void small(void)
{
    taciturn();
    made_up_put("/sys/devices/system/cpu/online", "0-1");
    made_up_put("/sys/devices/system/cpu/isolated", "%s", "");
    made_up_put("/sys/devices/system/cpu/nohz_full", " (null)");
    made_up_put("/proc/cmdline", "%s", "");
}

static void isolated_only(void)
{
    older();
    made_up_put("/sys/devices/system/cpu/isolated", "2-3");
    made_up_put("/sys/devices/system/cpu/nohz_full", " (null)");
    made_up_put("/proc/cmdline", "isolcpus=2-3");
}

static void uneven(void)
{
    isolated_only();
    made_up_put("/sys/devices/system/cpu/nohz_full", "4");
    made_up_put("/proc/cmdline", "nohz_full=4 rcu_nocbs=5");
}

/* Pages of 1 GiB are the kernel's default, and there are none. */
static void large_by_default(void)
{
    made_up_server();
    made_up_put("/proc/meminfo", "MemTotal: 67108864 kB\nHugepagesize: 1048576 kB");
    made_up_put("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0");
}

static void unthrottled(void)
{
    made_up_server();
    made_up_put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
}

static const struct expected cases[] = {
    {"nothing pinned", made_up_server, NODES(""), {NULL}},
    {"a core made ready",
     made_up_server,
     NODES(", dataplane_core: 2, ram_node: 0, packet_node: 0") "poll: {mode: busy}\n",
     {NULL}},
    {"its sibling is an agent",
     made_up_server,
     NODES(", dataplane_core: 2, agent_core: 10"),
     {"note CPU 10 is a thread of the poll loop's core (CPU 2), and in agent_core",
      "note CPUs 10: the frequency governor is 'schedutil'",
      "note CPUs 10 may enter idle state C6, from which waking up takes 133 us"}},
    {"a core like any other",
     made_up_server,
     NODES(", dataplane_core: 5"),
     {"note CPU 13 is a thread of the poll loop's core (CPU 5), and open to everybody",
      "note CPUs 5 of the poll loop: not in isolcpus (the scheduler puts other threads there), "
      "nohz_full (the tick interrupts up to 1000 times a second), rcu_nocbs (the kernel's RCU "
      "callbacks run there as well)",
      "note 2 IRQs are delivered to CPU 5", "note watchdog looks after CPU 5",
      "note kernel.timer_migration is on", "note CPUs 5: the frequency governor",
      "note CPUs 5 may enter idle state C6"}},
    {"a core like any other, which never idles",
     made_up_server,
     NODES(", dataplane_core: 5") "poll: {mode: busy}\n",
     {"note CPU 13 is a thread of", "note CPUs 5 of the poll loop: not in isolcpus", "note 2 IRQs",
      "note the kernel's watchdog", "note kernel.timer_migration",
      "note CPUs 5: the frequency governor"}},
    {"CPUs of each role that are like any other",
     made_up_server,
     VM "nodes:\n- {id: 0, name: a, dataplane_core: 2, agent_core: 4, vcpu_cores: [3, 6]}\n"
        "- {id: 1, name: b}\npoll: {mode: busy}\n",
     {"note CPUs 4 of the agent: not in isolcpus (the scheduler puts other threads there), "
      "rcu_nocbs (",
      "note CPUs 6 of the vCPUs: not in nohz_full (the tick interrupts up to 1000 times a second), "
      "rcu_nocbs (",
      "note CPUs 4: the frequency governor", "note CPUs 4 may enter", "note CPUs 6: the frequency",
      "note CPUs 6 may enter"}},
    {"vCPUs that take turns on a CPU need the tick",
     made_up_server,
     "cluster: c\nvm: {ram_mib: 64, vcpus: 4}\nnodes:\n- {id: 0, name: a, vcpu_cores: [6]}\n"
     "- {id: 1, name: b}\n",
     {"note CPUs 6 of the vCPUs: not in rcu_nocbs (", "note CPUs 6: the frequency governor",
      "note CPUs 6 may enter"}},
    {"... and one that has its own does not",
     made_up_server,
     NODES(", vcpu_cores: [6]"),
     {"note CPUs 6 of the vCPUs: not in nohz_full (", "note CPUs 6: the frequency governor",
      "note CPUs 6 may enter"}},
    {"words that name other CPUs each",
     uneven,
     "cluster: c\nvm: {ram_mib: 64, vcpus: 6}\nnodes:\n- {id: 0, name: a, vcpu_cores: [4, 5, 7]}\n"
     "- {id: 1, name: b}\n",
     {"note CPUs 5,7 of the vCPUs: not in nohz_full (the tick interrupts up to 1000 times a "
      "second); CPUs 7 of the vCPUs: not in rcu_nocbs ("}},
    {"a kernel that tells nothing",
     taciturn,
     NODES(", dataplane_core: 2, agent_core: 3, vcpu_cores: [4]"),
     {NULL}},
    {"a kernel that tells some",
     older,
     NODES(", dataplane_core: 2, agent_core: 3, vcpu_cores: [4]"),
     {"note CPUs 2 of the poll loop: not in isolcpus (the scheduler puts other threads there)",
      "note CPUs 3 of the agent: not in isolcpus (the scheduler puts other threads there)"}},
    {"not all CPUs for some, and none from threads that are balanced",
     small,
     NODES(", dataplane_core: 0, agent_core: 1, vcpu_cores: [0]"),
     {"note vcpu_cores", "note CPUs 0 of the poll loop: not in nohz_full (",
      "note CPUs 1 of the agent: not in isolcpus (the scheduler puts other threads there)",
      "note CPUs 0 of the vCPUs: not in nohz_full ("}},
    {"nor from housekeeping",
     isolated_only,
     NODES(", dataplane_core: 5, agent_core: 6, housekeeping_cores: [5]"),
     {"note CPU 5 is the poll loop's and also in housekeeping_cores",
      "note CPUs 5 of the poll loop: not in nohz_full (the tick",
      "note CPUs 6 of the agent: not in isolcpus (the scheduler puts other threads there), rcu"}},
    {"busy wherever it wanders",
     made_up_server,
     NODES("") "poll: {mode: busy}\n",
     {"note poll.mode is busy and the loop is not pinned"}},
    {"the NIC is elsewhere",
     made_up_server,
     VM "nodes:\n- {id: 0, name: a, device: eth0, dataplane_core: 2, packet_node: 1}\n"
        "- {id: 1, name: b, device: eth0}\nfabric: {type: af_xdp}\npoll: {mode: busy}\n",
     {"note eth0 is on NUMA node 1, and dataplane_core 2 on node 0",
      "note packet_node is 1, and dataplane_core 2 on node 0"}},
    {"memory elsewhere",
     made_up_server,
     NODES(", dataplane_core: 2, vcpu_cores: [3], ram_node: 1") "poll: {mode: busy}\n",
     {"note dataplane_core: CPUs 2 are on another NUMA node than the guest's memory (ram_node 1)",
      "note vcpu_cores: CPUs 3 are on another NUMA node"}},
    {"memory that is not there",
     made_up_server,
     "cluster: c\nvm: {ram_mib: 32768, vcpus: 2}\nnodes:\n- {id: 0, name: a, ram_node: 0}\n"
     "- {id: 1, name: b}\n",
     {"note ram_node 0 has 16384 MiB free, and this node may hold 32768 MiB"}},
    {"no such NUMA node",
     made_up_server,
     NODES(", ram_node: 2, packet_node: 3"),
     {"missing ram_node: NUMA node 2: this host has no such node with memory; allowed: 0-1",
      "missing packet_node: NUMA node 3"}},
    {"no such CPU",
     made_up_server,
     NODES(", dataplane_core: 16, housekeeping_cores: [0, 17]"),
     {"missing dataplane_core: CPU 16: this host has 16 CPUs; allowed: 0-15",
      "missing housekeeping_cores: CPU 17"}},
    {"offline",
     made_up_laptop,
     NODES(", agent_core: 3"),
     {"missing agent_core: CPU 3 is offline; allowed: 0-2"}},
    {"outside of the cpuset",
     container,
     NODES(", vcpu_cores: [3, 4], registration_core: 6"),
     {"missing vcpu_cores: CPU 4 is outside of this process's cpuset; allowed: 2-3,6"}},
    {"on one CPU",
     made_up_server,
     NODES(", dataplane_core: 2, housekeeping_cores: [0, 2]"),
     {"note CPU 2 is the poll loop's and also in housekeeping_cores"}},
    {"another cluster's loop there",
     crowd,
     NODES(", dataplane_core: 2") "poll: {mode: busy}\n",
     {"missing dataplane_core: CPU 2 is that of process 70 (pando-dataplane), too; allowed with "
      "poll.mode: busy"}},
    {"... which sleeps",
     crowd,
     NODES(", dataplane_core: 2"),
     {"note dataplane_core: CPU 2 is that of process 70"}},
    {"the node itself, and others that are not alone",
     crowd,
     NODES(", dataplane_core: 3") "poll: {mode: busy}\n",
     {NULL}},
    {"hugepages that are there",
     made_up_server,
     VM "nodes:\n- {id: 0, name: a, packet_node: 0}\n- {id: 1, name: b}\n"
        "fabric: {type: memif, hugepages: 2M}\n",
     {NULL}},
    {"hugepages on the other node",
     made_up_server,
     VM "nodes:\n- {id: 0, name: a, packet_node: 1}\n- {id: 1, name: b}\n"
        "fabric: {type: memif, hugepages: 'on'}\n",
     {"missing fabric.hugepages: 0 pages of 2048 KiB are free on packet_node"}},
    {"one large page", made_up_server, NODES("") "fabric: {type: memif, hugepages: 1G}\n", {NULL}},
    {"no large page there",
     made_up_server,
     VM "nodes:\n- {id: 0, name: a, packet_node: 0}\n- {id: 1, name: b}\n"
        "fabric: {type: memif, hugepages: 1G}\n",
     {"missing fabric.hugepages: 0 pages of 1048576 KiB are free on packet_node"}},
    {"a NIC with hugepages", made_up_server, NIC("", "auto"), {NULL}},
    {"a NIC without",
     made_up_laptop,
     NIC("", "auto"),
     {"missing a NIC on PCI (0000:af:00.0) needs 64 MiB of free hugepages: this kernel has none"}},
    {"a NIC, and hugepages on the other node",
     made_up_server,
     NIC(", packet_node: 1", "auto"),
     {"missing a NIC on PCI (0000:af:00.0) needs 64 MiB of free hugepages: 0 pages of 2048 KiB are "
      "free on packet_node"}},
    {"a NIC, and hugepages that are forbidden",
     made_up_server,
     NIC("", "'off'"),
     {"missing a NIC on PCI (0000:af:00.0) needs 64 MiB of free hugepages: 64 pages of 2048 KiB "
      "are "
      "free, and fabric.hugepages is off"}},
    {"a NIC, and hugepages that are demanded",
     made_up_server,
     NIC(", packet_node: 1", "2M"),
     {"missing fabric.hugepages: 0 pages of 2048 KiB are free on packet_node; needed: 64 MiB"}},
    {"a virtual device of DPDK's does without",
     made_up_laptop,
     VM "nodes:\n- {id: 0, name: a, device: 'net_tap0,iface=p0'}\n"
        "- {id: 1, name: b, device: 'net_tap0,iface=p0'}\nfabric: {type: dpdk}\n",
     {NULL}},
    {"hugepages that nobody uses", made_up_laptop, NODES("") "fabric: {hugepages: 2M}\n", {NULL}},
    {"a server",
     made_up_server,
     NULL,
     {"ok Intel VT-x with nested paging", "note kvm_intel.eptad=1", "ok 16 CPUs to be used: 0-15",
      "ok hugepages free: 64 of 2M on node 0, 1 of 1G on node 1", "note NUMA balancing is on",
      "ok no transparent hugepages",
      "ok network cards that DPDK can have (fabric.type dpdk): 0000:af:00.0 (mlx5_core)",
      "ok RDMA: mlx5_0 port 1 ACTIVE (eth0)",
      "note CPUs 0-1,4-15: the frequency governor is 'schedutil', not performance",
      "note CPUs 0-1,4-15 may enter idle state C6, from which waking up takes 133 us",
      "ok CPUs kept for pinned threads by isolcpus: 2-3,10-11"}},
    {"a machine that tells nothing",
     taciturn,
     NULL,
     {"missing the CPU shows neither", "note no free hugepages", "note no network card",
      "note no RDMA", "ok no frequency governor but performance",
      "ok no idle state that takes long to leave",
      "ok CPUs kept for pinned threads by isolcpus: not known"}},
    {"a machine like any other",
     older,
     NULL,
     {"missing the CPU shows neither", "note no free hugepages", "note no network card",
      "note no RDMA",
      "note CPUs 0-7 of this machine: not in isolcpus (the scheduler puts other threads there)"}},
    {"isolated from threads alone",
     isolated_only,
     NULL,
     {"missing the CPU shows neither", "note no free hugepages", "note no network card",
      "note no RDMA",
      "note CPUs 0-7 of this machine: not in nohz_full (the tick interrupts up to 1000 times a "
      "second), rcu_nocbs ("}},
    {"a laptop",
     made_up_laptop,
     NULL,
     {"note AMD-V without nested paging", "note 3 CPUs to be used (0-2)", "note no free hugepages",
      "note transparent hugepages for shared memory: always", "note there is swap", "note KSM runs",
      "note network cards: 0000:02:00.0 (iwlwifi); without IOMMU groups", "note no RDMA device",
      "note CPUs 0-2: the frequency governor is 'powersave'", "note CPUs 0-2 may enter idle state",
      "ok no CPUs kept for pinned threads: 3 are few for that"}},
    {"a desktop",
     desktop,
     NULL,
     {"ok no transparent hugepages", "note AMD-V without", "note 3 CPUs", "note no free hugepages",
      "note there is swap", "note KSM", "note network cards", "note no RDMA", "note CPUs 0-2: the",
      "note CPUs 0-2 may"}},
    {"a container",
     container,
     NULL,
     {"note 3 CPUs to be used (2-3,6, as the cpuset says)", "note kvm_intel.eptad=1",
      "note NUMA balancing is on", "note CPUs 6: the frequency governor", "note CPUs 6 may enter"}},
};

static void findings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].what);
        examine(&cases[i]);
    }
}

/* What is to be done, to be copied. */
static void remedies(void **state)
{
    static const struct {
        void (*machine)(void);
        const char *config, *words, *remedy;
    } cases_of[] = {
        /* The whole line for all roles, with what is there already: a word counts once. */
        {made_up_server, NODES(", dataplane_core: 5, agent_core: 6, vcpu_cores: [3, 7]"),
         "CPUs 5 of the poll loop: not",
         "isolcpus=2-3,5-6,10-11 nohz_full=2-3,5,7,10-11 rcu_nocbs=2-3,5-7,10-11 on the host's "
         "kernel command line, and a reboot"},
        {made_up_server, NODES(", dataplane_core: 5, agent_core: 6, vcpu_cores: [3, 7]"),
         "CPUs 7 of the vCPUs: not",
         "isolcpus=2-3,5-6,10-11 nohz_full=2-3,5,7,10-11 rcu_nocbs=2-3,5-7,10-11 on the host's "
         "kernel command line, and a reboot"},
        {made_up_server, NODES(", dataplane_core: 5"), "CPUs 5: the frequency",
         "configs/host/prepare --governor 5"},
        {made_up_laptop, NULL, "CPUs 0-2: the frequency",
         "configs/host/prepare --governor 0-2; pando doctor --config names those of a node's "
         "threads alone"},
        {made_up_laptop, NULL, "CPUs 0-2 may enter",
         "configs/host/prepare --shallow-idle 0-2; pando doctor --config names those of a node's "
         "threads alone"},
        {made_up_laptop, NIC("", "auto"), "a NIC on PCI",
         "configs/host/prepare --hugepages 0:2M:64"},
        {made_up_server, NIC("", "'off'"), "a NIC on PCI", "fabric.hugepages: auto"},
        {made_up_laptop, NIC("", "'off'"), "a NIC on PCI",
         "fabric.hugepages: auto, and configs/host/prepare --hugepages 0:2M:64"},
        {large_by_default, NIC("", "auto"), "a NIC on PCI",
         "configs/host/prepare --hugepages 0:1G:1, best right after a boot"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        uint32_t k = 0;
        look(cases_of[i].machine, cases_of[i].config, cases_of[i].words);
        while (k < report.n && strstr(report.finding[k].text, cases_of[i].words) == NULL)
            k++;
        assert_true(k < report.n);
        assert_string_equal(report.finding[k].remedy, cases_of[i].remedy);
    }
}

/* Who never sleeps in a real-time class starves others, or is stopped for it. */
static void real_time(void **state)
{
    const struct expected throttled = {
        "throttled",
        made_up_server,
        VM "nodes:\n- {id: 0, name: a, dataplane_core: 2}\n- {id: 1, name: b, dataplane_core: 3}\n"
           "poll: {mode: busy}\nthreads: {poll_class: fifo}\n",
        {"note poll loop: fifo and never asleep: RT throttling stops it for 50000 us of each "
         "1000000"}};
    struct expected off = throttled;
    (void)state;
    examine(&throttled);
    off.machine = unthrottled;
    off.finding[0] = "note poll loop: fifo and never asleep, with RT throttling off";
    examine(&off);
}

static void the_table(void **state)
{
    static struct pando_config cfg;
    static const char config[] =
        VM "nodes:\n- {id: 0, name: a, dataplane_core: 2, vcpu_cores: [3, 4, 5], "
           "housekeeping_cores: [0, 1]}\n- {id: 1, name: b}\n"
           "threads: {agent_class: rr, agent_priority: 7, housekeeping_class: batch}\n";
    static const char *const want[CONFIG_ROLES] = {"poll loop|2|other, nice -10, slice 100 us|0",
                                                   "agent|any|rr 7|-", "vCPUs|3-5|as started|0-1",
                                                   "housekeeping|0-1|batch, nice 0|0",
                                                   "registration|0-1|batch, nice 0|0"};
    char err[CONFIG_ERROR_MAX], text[512];
    struct machine m;
    (void)state;
    const char *root = made_up_begin();
    made_up_server();
    assert_int_equal(machine_open(&m, root), 0);
    assert_int_equal(config_parse(config, strlen(config), "c", &cfg, err), 0);
    for (int role = 0; role < CONFIG_ROLES; role++) {
        struct doctor_row r;
        doctor_row(&m, &cfg, 0, (enum config_role)role, &r);
        snprintf(text, sizeof(text), "%s|%s|%s|%s", r.role, r.cpus, r.sched, r.numa);
        assert_string_equal(text, want[role]);
    }
    made_up_end();
}

static void only_some(void **state)
{
    struct machine m;
    (void)state;
    const char *root = made_up_begin();
    made_up_laptop();
    assert_int_equal(machine_open(&m, root), 0);
    report = (struct doctor_report){0};
    assert_int_equal(doctor_run(doctor_files, "swap,ksm", &m, &report), 2);
    assert_int_equal(report.n, 2);
    assert_string_equal(report.finding[0].check, "swap");
    assert_int_equal(doctor_run(doctor_files, "swa", &m, &report), 0);
    assert_int_equal(doctor_run(doctor_files, "", &m, &report), 0);
    made_up_end();
}

static void more_than_fits(void **state)
{
    (void)state;
    report = (struct doctor_report){.check = "c"};
    for (int i = 0; i < DOCTOR_FINDINGS_MAX + 3; i++)
        doctor_add(&report, DOCTOR_NOTE, 1, "", "n");
    doctor_add(&report, DOCTOR_MISSING, 1, "do", "n");
    assert_int_equal(report.n, DOCTOR_FINDINGS_MAX);
    assert_int_equal(report.count[DOCTOR_NOTE], DOCTOR_FINDINGS_MAX + 3);
    assert_int_equal(report.count[DOCTOR_MISSING], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings),  cmocka_unit_test(remedies),  cmocka_unit_test(real_time),
        cmocka_unit_test(the_table), cmocka_unit_test(only_some), cmocka_unit_test(more_than_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
