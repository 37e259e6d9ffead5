/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/doctor/system.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/doctor/cpus.h"

enum { FEW_CPUS = 6, NAMES_MAX = 16, ENTRY_MAX = 64 };

#define OK(r, ...)              doctor_add(r, DOCTOR_OK, DOCTOR_NO_ROLE, "", __VA_ARGS__)
#define NOTE(r, remedy, ...)    doctor_add(r, DOCTOR_NOTE, DOCTOR_NO_ROLE, remedy, __VA_ARGS__)
#define MISSING(r, remedy, ...) doctor_add(r, DOCTOR_MISSING, DOCTOR_NO_ROLE, remedy, __VA_ARGS__)

static bool listed(const char *words, const char *name)
{
    size_t len = strlen(name);
    for (const char *w = words; w != NULL; w = strchr(w, ',')) {
        w += *w == ',';
        if (strncmp(w, name, len) == 0 && (w[len] == ',' || w[len] == '\0'))
            return true;
    }
    return words == NULL;
}

uint32_t doctor_run(const struct doctor_check *list, const char *words, const struct machine *m,
                    struct doctor_report *r)
{
    uint32_t n = 0;
    for (; list->name != NULL; list++)
        if (listed(words, list->name)) {
            r->check = list->name;
            list->run(m, r);
            n++;
        }
    return n;
}

static bool there(const struct machine *m, const char *path)
{
    char full[PATH_MAX];
    struct stat st;
    return snprintf(full, sizeof(full), "%s%s", m->root, path) < (int)sizeof(full) &&
           stat(full, &st) == 0;
}

/* Entries of a folder, sorted. */
static uint32_t names_of(const struct machine *m, const char *path, char names[][ENTRY_MAX])
{
    char full[PATH_MAX];
    struct dirent **list;
    uint32_t n = 0;
    snprintf(full, sizeof(full), "%s%s", m->root, path);
    int count = scandir(full, &list, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (list[i]->d_name[0] != '.' && n < NAMES_MAX)
            snprintf(names[n++], ENTRY_MAX, "%.63s", list[i]->d_name);
        free(list[i]);
    }
    if (count >= 0)
        free(list);
    return n;
}

static bool is_on(const struct machine *m, const char *path)
{
    char value[16];
    return machine_text(m, value, sizeof(value), "%s", path) == 0 &&
           (strcmp(value, "Y") == 0 || strcmp(value, "1") == 0);
}

/* ---- the processor ------------------------------------------------------------------------- */

/* The words of the line "flags" of the first CPU. */
static bool cpu_flag(const char *info, const char *flag)
{
    const char *line = strstr(info, "\nflags");
    const char *end = line != NULL ? strchr(line + 1, '\n') : NULL;
    size_t len = strlen(flag);
    for (const char *at = line; at != NULL && (at = strstr(at, flag)) != NULL; at += len) {
        if (end != NULL && at >= end)
            return false;
        if (at[-1] == ' ' && (at[len] == ' ' || at[len] == '\n' || at[len] == '\0'))
            return true;
    }
    return false;
}

static void check_virtualisation(const struct machine *m, struct doctor_report *r)
{
    static const struct {
        const char *flag, *name, *nested;
    } kinds[] = {{"vmx", "Intel VT-x", "/sys/module/kvm_intel/parameters/ept"},
                 {"svm", "AMD-V", "/sys/module/kvm_amd/parameters/npt"}};
    char info[MACHINE_TEXT_MAX];
    (void)machine_text(m, info, sizeof(info), "/proc/cpuinfo");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!cpu_flag(info, kinds[i].flag))
            continue;
        if (is_on(m, kinds[i].nested) || !there(m, kinds[i].nested))
            OK(r, "%s with nested paging", kinds[i].name);
        else
            NOTE(r, "load kvm_amd with npt=1 or kvm_intel with ept=1",
                 "%s without nested paging: shadow page tables", kinds[i].name);
        return;
    }
    if (there(m, "/sys/module/kvm_pvm"))
        NOTE(r, "a host with VT-x or AMD-V for other guests",
             "/dev/kvm is PVM (no vmx or svm): shadow paging, slow supervisor code, so only guests "
             "with static page tables (those in tests/kvm/guests) run here; stock Linux does not");
    else if (there(m, "/dev/kvm"))
        NOTE(r, "a host with VT-x or AMD-V",
             "the CPU shows neither vmx nor svm, yet there is a /dev/kvm");
    else
        MISSING(r, "turn virtualisation on in the firmware, or use another host",
                "the CPU shows neither vmx nor svm");
}

static void check_eptad(const struct machine *m, struct doctor_report *r)
{
    if (is_on(m, "/sys/module/kvm_intel/parameters/eptad"))
        NOTE(r, "modprobe -r kvm_intel; modprobe kvm_intel eptad=0 (compare both)",
             "kvm_intel.eptad=1: the CPU's walks of guest page tables count as writes, so shared "
             "page tables move between nodes");
    else
        OK(r, there(m, "/sys/module/kvm_intel/parameters/eptad")
                  ? "kvm_intel.eptad is off"
                  : "kvm_intel is not in use (eptad)");
}

static void check_cpus(const struct machine *m, struct doctor_report *r)
{
    char text[HOST_CPUS_TEXT];
    uint32_t n = host_cpus_count(&m->usable);
    host_cpus_text(&m->usable, text, sizeof(text));
    if (n >= FEW_CPUS)
        OK(r, "%u CPUs to be used: %s%s", n, text, m->cpuset ? ", as the cpuset says" : "");
    else
        NOTE(r, "a machine with a CPU for each dataplane and vCPU",
             "%u CPUs to be used (%s%s): where threads take turns keep poll.mode: interrupt, and "
             "do not read latencies as those of a cluster",
             n, text, m->cpuset ? ", as the cpuset says" : "");
}

static void check_governor(const struct machine *m, struct doctor_report *r)
{
    if (!doctor_governor(m, &m->usable, DOCTOR_NO_ROLE, r))
        OK(r, "no frequency governor but performance is told of");
}

static void check_idle(const struct machine *m, struct doctor_report *r)
{
    if (!doctor_idle(m, &m->usable, DOCTOR_NO_ROLE, r))
        OK(r, "no idle state that takes long to leave is told of");
}

/* Which CPUs a node will want is not known here; but where nobody is in a list, none of them is. */
static void check_isolation(const struct machine *m, struct doctor_report *r)
{
    struct doctor_words lacking;
    char text[HOST_CPUS_TEXT];
    bool any = false;
    doctor_lacking(m, &m->usable, DOCTOR_ALL_WORDS, &lacking);
    for (int w = 0; w < DOCTOR_WORDS; w++) {
        if (memcmp(&lacking.of[w], &m->usable, sizeof(m->usable)) != 0)
            lacking.of[w] = (struct host_cpus){0};
        any |= !host_cpus_empty(&lacking.of[w]);
    }
    uint32_t n = host_cpus_count(&m->usable);
    if (!host_cpus_empty(&m->isolated))
        host_cpus_text(&m->isolated, text, sizeof(text));
    else
        snprintf(text, sizeof(text), m->tells_isolated ? "none" : "not known");
    if (!any)
        OK(r, "CPUs kept for pinned threads by isolcpus: %s", text);
    else if (n < FEW_CPUS && host_cpus_empty(&m->isolated))
        OK(r, "no CPUs kept for pinned threads: %u are few for that", n);
    else
        doctor_isolation(&lacking, "of this machine", DOCTOR_NO_ROLE,
                         "the CPUs of its threads in these words of the host's kernel command "
                         "line, and a reboot: pando doctor --config says which",
                         r);
}

/* ---- memory -------------------------------------------------------------------------------- */

static void check_hugepages(const struct machine *m, struct doctor_report *r)
{
    char text[512] = "";
    uint32_t kib[] = {2048, 1048576}, def = machine_default_hugepage_kib(m);
    uint64_t all = 0;
    size_t at = 0;
    for (int n = 0; n < MACHINE_NODES_MAX; n++)
        for (size_t i = 0; i < 2 && (m->nodes >> n & 1) != 0; i++) {
            uint64_t pages = machine_free_hugepages(m, kib[i], n);
            all += pages;
            if (pages > 0 && at < sizeof(text))
                at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu of %s on node %d",
                                       at > 0 ? ", " : "", (unsigned long long)pages,
                                       i == 0 ? "2M" : "1G", n);
        }
    if (all == 0 && def != 0) /* a kernel that does not count by node */
        all = machine_free_hugepages(m, def, -1);
    if (all > 0)
        OK(r, "hugepages free: %s", text[0] != '\0' ? text : "some");
    else
        NOTE(r, "configs/host/prepare --hugepages 0:2M:64",
             "no free hugepages: memif and af_packet do without (more TLB misses), a NIC by "
             "fabric.type dpdk cannot; shm needs none");
}

static void check_swap(const struct machine *m, struct doctor_report *r)
{
    char text[MACHINE_TEXT_MAX];
    (void)machine_text(m, text, sizeof(text), "/proc/swaps");
    if (strchr(text, '\n') != NULL)
        NOTE(r, "swapoff -a while Pando runs",
             "there is swap: guest memory that the kernel swaps out makes a page fault slow");
    else
        OK(r, "no swap");
}

static void check_thp(const struct machine *m, struct doctor_report *r)
{
    char word[32];
    if (machine_choice(m, word, sizeof(word),
                       "/sys/kernel/mm/transparent_hugepage/shmem_enabled") &&
        strcmp(word, "never") != 0 && strcmp(word, "advise") != 0 && strcmp(word, "deny") != 0)
        NOTE(r,
             "configs/host/prepare --set /sys/kernel/mm/transparent_hugepage/shmem_enabled=advise",
             "transparent hugepages for shared memory: %s: guest memory is kept coherent in pages "
             "of 4 KiB, and splitting large ones costs time",
             word);
    else
        OK(r, "no transparent hugepages for guest memory");
}

static void check_ksm(const struct machine *m, struct doctor_report *r)
{
    int64_t run = 0;
    if (machine_number(m, &run, "/sys/kernel/mm/ksm/run") && run == 1)
        NOTE(r, "configs/host/prepare --set /sys/kernel/mm/ksm/run=0",
             "KSM runs: its thread takes CPU time, and memory that it merged faults on the next "
             "write");
    else
        OK(r, "KSM does not run");
}

static void check_numa_balancing(const struct machine *m, struct doctor_report *r)
{
    int64_t on = 0;
    if ((m->nodes & (m->nodes - 1)) != 0 &&
        machine_number(m, &on, "/proc/sys/kernel/numa_balancing") && on != 0)
        NOTE(r, "configs/host/prepare --sysctl kernel.numa_balancing=0",
             "NUMA balancing is on: the kernel takes pages out of page tables to see who uses "
             "them, and moves them");
    else
        OK(r, "%d NUMA node%s with memory%s", __builtin_popcountll(m->nodes),
           (m->nodes & (m->nodes - 1)) != 0 ? "s" : "",
           (m->nodes & (m->nodes - 1)) != 0 ? ", no balancing between them" : "");
}

/* ---- devices ------------------------------------------------------------------------------- */

static void driver_of(const struct machine *m, const char *address, char *buf, size_t size)
{
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%.63s/driver", m->root, address);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *name = strrchr(target, '/');
    snprintf(buf, size, "%.48s", name != NULL ? name + 1 : n > 0 ? target : "no driver");
}

static void check_nics(const struct machine *m, struct doctor_report *r)
{
    static char devices[256][ENTRY_MAX];
    char class[16], driver[64], path[160], all[240] = "", ready[240] = "";
    bool groups = false, any = false;
    DIR *dir;
    char full[PATH_MAX];
    snprintf(full, sizeof(full), "%s/sys/bus/pci/devices", m->root);
    dir = opendir(full);
    uint32_t n = 0;
    for (struct dirent *d; dir != NULL && n < 256 && (d = readdir(dir)) != NULL;)
        if (d->d_name[0] != '.')
            snprintf(devices[n++], ENTRY_MAX, "%.63s", d->d_name);
    if (dir != NULL)
        closedir(dir);
    for (uint32_t i = 0; i < n; i++) {
        if (machine_text(m, class, sizeof(class), "/sys/bus/pci/devices/%s/class", devices[i]) !=
                0 ||
            strncmp(class, "0x02", 4) != 0)
            continue;
        driver_of(m, devices[i], driver, sizeof(driver));
        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.63s/iommu_group", devices[i]);
        bool group = there(m, path);
        char *list = strcmp(driver, "mlx5_core") == 0 || (strcmp(driver, "vfio-pci") == 0 && group)
                         ? ready
                         : all;
        size_t at = strlen(list);
        snprintf(list + at, sizeof(all) - at, "%s%.63s (%.48s)", at > 0 ? ", " : "", devices[i],
                 driver);
        groups |= group;
        any = true;
    }
    if (ready[0] != '\0')
        OK(r, "network cards that DPDK can have (fabric.type dpdk): %s", ready);
    else if (!any)
        NOTE(r, "", "no network card on PCI: fabric.type dpdk has only virtual devices here");
    else if (!groups)
        NOTE(r,
             "switch the IOMMU on in the firmware, and by intel_iommu=on or amd_iommu=on for the "
             "kernel",
             "network cards: %s; without IOMMU groups DPDK gets none (fabric.type dpdk)", all);
    else
        NOTE(r,
             "modprobe vfio-pci; dpdk-devbind.py --bind=vfio-pci ADDRESS takes one from the "
             "kernel",
             "network cards: %s; none is DPDK's (fabric.type dpdk)", all);
}

static void check_rdma(const struct machine *m, struct doctor_report *r)
{
    char devices[NAMES_MAX][ENTRY_MAX], ports[NAMES_MAX][ENTRY_MAX], path[256];
    char words[240] = "", state[64], netdev[32];
    bool active = false;
    size_t at = 0;
    uint32_t n = names_of(m, "/sys/class/infiniband", devices);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "/sys/class/infiniband/%.63s/ports", devices[i]);
        uint32_t count = names_of(m, path, ports);
        for (uint32_t k = 0; k < count && at < sizeof(words); k++) {
            (void)machine_text(m, state, sizeof(state), "%s/%s/state", path, ports[k]);
            if (machine_text(m, netdev, sizeof(netdev), "%s/%s/gid_attrs/ndevs/0", path,
                             ports[k]) != 0)
                snprintf(netdev, sizeof(netdev), "no interface");
            const char *word = strstr(state, ": ") != NULL ? strstr(state, ": ") + 2 : state;
            active |= strcmp(word, "ACTIVE") == 0;
            at += (size_t)snprintf(words + at, sizeof(words) - at, "%s%s port %s %s (%s)",
                                   at > 0 ? ", " : "", devices[i], ports[k], word, netdev);
        }
    }
    if (n == 0)
        NOTE(r,
             "an RDMA NIC and its kernel driver; to try it: modprobe rdma_rxe; rdma link add "
             "rxe0 type rxe netdev INTERFACE",
             "no RDMA device: no fabric.type verbs here");
    else if (!there(m, "/dev/infiniband"))
        NOTE(r, "modprobe ib_uverbs", "RDMA: %s, but there is no /dev/infiniband", words);
    else if (!active)
        NOTE(r, "ip link set the interface up", "RDMA: %s", words);
    else
        OK(r, "RDMA: %s", words);
}

const struct doctor_check doctor_files[] = {
    {"virtualisation", check_virtualisation},
    {"eptad", check_eptad},
    {"cpus", check_cpus},
    {"governor", check_governor},
    {"idle", check_idle},
    {"isolation", check_isolation},
    {"hugepages", check_hugepages},
    {"thp", check_thp},
    {"swap", check_swap},
    {"ksm", check_ksm},
    {"numa", check_numa_balancing},
    {"nics", check_nics},
    {"rdma", check_rdma},
    {NULL, NULL},
};
