/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/made_up.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void die(const char *what)
{
    perror(what);
    abort();
}

const char *made_up_begin(void)
{
    snprintf(root, sizeof(root), "/tmp/pando-made-up-XXXXXX");
    if (mkdtemp(root) == NULL)
        die(root);
    return root;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void made_up_end(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path below the root, whose folders are there then. */
static void path_of(const char *path, char full[PATH_MAX])
{
    snprintf(full, PATH_MAX, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(full, 0700) != 0 && errno != EEXIST)
            die(full);
        *slash = '/';
    }
}

void made_up_put(const char *path, const char *fmt, ...)
{
    char full[PATH_MAX];
    va_list args;
    path_of(path, full);
    FILE *f = fopen(full, "we");
    if (f == NULL)
        die(full);
    va_start(args, fmt);
    vfprintf(f, fmt, args);
    va_end(args);
    fputc('\n', f);
    fclose(f);
}

void made_up_link(const char *path, const char *target)
{
    char full[PATH_MAX];
    path_of(path, full);
    if (symlink(target, full) != 0)
        die(full);
}

#define CPU "/sys/devices/system/cpu/"

static void put_cpu(unsigned cpu, const char *siblings, const char *governor, unsigned deepest_us)
{
    char path[128];
#define PUT(name, ...)                                                                             \
    (snprintf(path, sizeof(path), CPU "cpu%u/" name, cpu), made_up_put(path, __VA_ARGS__))
    PUT("topology/thread_siblings_list", "%s", siblings);
    PUT("cpufreq/scaling_governor", "%s", governor);
    PUT("cpuidle/state0/latency", "0");
    PUT("cpuidle/state0/name", "POLL");
    PUT("cpuidle/state1/latency", "2");
    PUT("cpuidle/state1/name", "C1");
    PUT("cpuidle/state2/latency", "133");
    PUT("cpuidle/state2/name", "C6");
    PUT("cpuidle/state2/disable", "%d", deepest_us < 133);
#undef PUT
}

void made_up_server(void)
{
    char siblings[16];
    made_up_put(CPU "online", "0-15");
    made_up_put(CPU "present", "0-15");
    made_up_put(CPU "isolated", "2-3,10-11");
    made_up_put(CPU "nohz_full", "2-3,10-11");
    for (unsigned c = 0; c < 16; c++) {
        bool fast = c == 2 || c == 3;
        snprintf(siblings, sizeof(siblings), "%u,%u", c % 8, c % 8 + 8);
        put_cpu(c, siblings, fast ? "performance" : "schedutil", fast ? 2 : 133);
    }
    made_up_put("/proc/cmdline",
                "quiet isolcpus=2-3,10-11 nohz_full=2-3,10-11 rcu_nocbs=2,3,10,11");
    made_up_put("/proc/self/cgroup", "0::/user.slice");
    made_up_put("/sys/fs/cgroup/user.slice/cpuset.cpus.effective", "0-15");
    made_up_put("/sys/devices/system/node/online", "0-1");
    made_up_put("/sys/devices/system/node/has_memory", "0-1");
    made_up_put("/sys/devices/system/node/node0/cpulist", "0-3,8-11");
    made_up_put("/sys/devices/system/node/node1/cpulist", "4-7,12-15");
    for (int n = 0; n < 2; n++) {
        char path[128];
        snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", n);
        made_up_put(path, "Node %d MemTotal: 33554432 kB\nNode %d MemFree: 16777216 kB", n, n);
    }
    made_up_put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "64");
    made_up_put("/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/free_hugepages", "1");
    made_up_put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "64");
    made_up_put("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1");
    made_up_put("/proc/meminfo",
                "MemTotal: 67108864 kB\nHugePages_Free: 64\nHugepagesize: 2048 kB");
    made_up_put("/sys/class/net/eth0/device/numa_node", "1");
    made_up_put("/sys/bus/pci/devices/0000:af:00.0/numa_node", "1");
    made_up_put("/sys/bus/pci/devices/0000:af:00.0/class", "0x020000");
    made_up_link("/sys/bus/pci/devices/0000:af:00.0/driver", "../../../bus/pci/drivers/mlx5_core");
    made_up_put("/sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE");
    made_up_put("/sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", "eth0");
    made_up_put("/dev/infiniband/uverbs0", "%s", "");
    made_up_put("/proc/irq/40/eth0-rx-0/nothing", "%s", "");
    made_up_put("/proc/irq/40/smp_affinity_list", "0-15");
    made_up_put("/proc/irq/40/effective_affinity_list", "5");
    made_up_put("/proc/irq/41/spurious", "nobody has it");
    made_up_put("/proc/irq/41/smp_affinity_list", "5");
    made_up_put("/proc/irq/42/nvme0q1/nothing", "%s", "");
    made_up_put("/proc/irq/42/smp_affinity_list", "5,13");
    made_up_put("/proc/sys/kernel/watchdog", "1");
    made_up_put("/proc/sys/kernel/watchdog_cpumask", "0-1,4-9,12-15");
    made_up_put("/proc/sys/kernel/timer_migration", "1");
    made_up_put("/proc/sys/kernel/numa_balancing", "1");
    made_up_put("/proc/sys/kernel/sched_rt_runtime_us", "950000");
    made_up_put("/proc/sys/kernel/sched_rt_period_us", "1000000");
    made_up_put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vmx ssse3\nbugs\t\t: svm");
    made_up_put("/sys/module/kvm_intel/parameters/ept", "Y");
    made_up_put("/sys/module/kvm_intel/parameters/eptad", "Y");
    made_up_put("/proc/swaps", "Filename Type Size Used Priority");
    made_up_put("/sys/kernel/mm/ksm/run", "0");
    made_up_put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
                "always within_size advise [never] deny force");
}

void made_up_laptop(void)
{
    made_up_put(CPU "online", "0-2");
    made_up_put(CPU "present", "0-3");
    made_up_put(CPU "isolated", "%s", "");
    made_up_put(CPU "nohz_full", "(null)");
    for (unsigned c = 0; c < 4; c++)
        put_cpu(c, c % 2 == 0 ? "0,2" : "1", "powersave", 133);
    made_up_put("/proc/cmdline", "ro quiet");
    made_up_put("/proc/self/cgroup", "0::/");
    made_up_put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu svm");
    made_up_put("/sys/module/kvm_amd/parameters/npt", "0");
    made_up_put("/proc/swaps", "Filename Type\n/dev/sda2 partition");
    made_up_put("/sys/kernel/mm/ksm/run", "1");
    made_up_put("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
                "[always] within_size advise never deny force");
    made_up_put("/sys/bus/pci/devices/0000:02:00.0/class", "0x028000");
    made_up_link("/sys/bus/pci/devices/0000:02:00.0/driver", "../../../bus/pci/drivers/iwlwifi");
}
