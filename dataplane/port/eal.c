/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_memory.h>

#include "dataplane/host/machine.h"
#include "dataplane/host/memory.h"
#include "dataplane/port/eal.h"

enum { EAL_MIB = 64, EAL_ARGS = 16, EAL_LCORES = 2048, EAL_1G_KIB = 1048576 };

static char runtime_dir[160];

/* "0@7", or "0@(0,1,2,...)": one logical core on the CPUs that the thread may use anyway. */
static int lcores(unsigned core, char *buf, size_t size)
{
    cpu_set_t set;
    if (core != PORT_EAL_ANY_CORE) {
        snprintf(buf, size, "0@%u", core);
        return 0;
    }
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return -errno;
    size_t at = (size_t)snprintf(buf, size, "0@(");
    for (unsigned i = 0; i < CPU_SETSIZE && at + 8 < size; i++)
        if (CPU_ISSET(i, &set))
            at += (size_t)snprintf(buf + at, size - at, "%s%u", buf[at - 1] == '(' ? "" : ",", i);
    snprintf(buf + at, size - at, ")");
    return 0;
}

/* "64", or of one NUMA node: "0,64". Where there are smaller pages, EAL takes large ones only for
 * what they divide: 64 MiB come in pages of 2 MiB if there are some, 1024 MiB in one of 1 GiB. */
static void amount(const struct port_eal_memory *memory, char *buf, size_t size)
{
    unsigned mib = memory->huge && memory->page_kib == EAL_1G_KIB ? EAL_1G_KIB / 1024 : EAL_MIB;
    size_t at = 0;
    for (int n = 0; n < memory->numa_node && at < size; n++)
        at += (size_t)snprintf(buf + at, size - at, "0,");
    if (at < size)
        snprintf(buf + at, size - at, "%u", mib);
}

/* What EAL has taken already. (Hugepages it takes later come from the node by --socket-mem.) */
static int bind_segment(const struct rte_memseg_list *list, const struct rte_memseg *ms, size_t len,
                        void *arg)
{
    int rc = list->external ? 0 : host_memory_bind(ms->addr, len, *(const int *)arg);
    return rc < 0 ? rc : 0;
}

static int place_memory(const struct port_eal_memory *memory, char err[PORT_ERROR_MAX])
{
    int node = memory->numa_node;
    int rc = node < 0 ? 0 : rte_memseg_contig_walk(bind_segment, &node);
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX,
                 "packet_node %d: %s; allowed: a NUMA node of this host, or -1", node,
                 strerror(-rc));
    return rc;
}

int port_eal_init_memory(const struct port_eal_memory *memory, unsigned core, const char *pci,
                         const char *prefix, bool telemetry, char err[PORT_ERROR_MAX])
{
    static char arg[EAL_ARGS][128], cores[EAL_LCORES]; /* EAL keeps pointers into its arguments */
    char *argv[EAL_ARGS + 1], mib[96];
    int argc = 0, rc = lcores(core, cores, sizeof(cores));
    if (rc != 0)
        return rc;
    amount(memory, mib, sizeof(mib));
#define ARG(...) (snprintf(arg[argc], sizeof(arg[0]), __VA_ARGS__), argv[argc] = arg[argc], argc++)
    ARG("pando");
    ARG("--lcores");
    argv[argc++] = cores;
    if (pci == NULL) {
        ARG("--no-pci");
    } else { /* nothing else on the bus is touched */
        ARG("-a");
        ARG("%s", pci);
    }
    /* The first match counts. memif complains about having no secondary processes and, each time a
     * client looks, about a server that has not started. */
    ARG("--log-level=pmd.net.memif:critical");
    ARG("--log-level=lib.telemetry:critical");
    ARG("--log-level=*:warning");
    ARG("--file-prefix=%s", prefix);
    if (memory->huge && memory->numa_node >= 0) {
        ARG("--socket-mem=%s", mib);
    } else {
        ARG("-m");
        ARG("%s", strrchr(mib, ',') != NULL ? strrchr(mib, ',') + 1 : mib);
    }
    if (memory->huge) {
        ARG("--in-memory");
    } else {
        ARG("--no-huge");
        ARG("--no-shconf");
    }
    if (!telemetry)
        ARG("--no-telemetry");
#undef ARG
    argv[argc] = NULL;
    if (rte_eal_init(argc, argv) < 0) {
        rc = rte_errno > 0 ? -rte_errno : -EINVAL;
        snprintf(err, PORT_ERROR_MAX, "DPDK does not start (%s)%s", strerror(-rc),
                 memory->huge
                     ? ": it needs 64 MiB of free hugepages (sysctl vm.nr_hugepages=64), or "
                       "fabric.hugepages: off"
                     : ": it needs 64 MiB of memory, and the core must exist and be allowed");
        return rc;
    }
    snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
    if (!telemetry)
        rmdir(runtime_dir); /* empty: a killed process leaves nothing */
    rc = place_memory(memory, err);
    if (rc != 0)
        port_eal_close();
    return rc;
}

int port_eal_init(bool huge, unsigned core, const char *pci, const char *prefix, bool telemetry,
                  char err[PORT_ERROR_MAX])
{
    struct port_eal_memory memory = {.huge = huge, .numa_node = -1};
    return port_eal_init_memory(&memory, core, pci, prefix, telemetry, err);
}

/* rte_eal_cleanup is not called: it unmaps memory that the interrupt thread, which it does not
 * stop, may be reading. The end of the process frees all of it; with the options above, there are
 * no files to remove but telemetry's. */
void port_eal_close(void)
{
    static const char *const names[] = {"/dpdk_telemetry.v2*", "/mp_socket*", "/config",
                                        "/fbarray_*"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && runtime_dir[0] != 0; i++) {
        char pattern[200];
        glob_t g;
        snprintf(pattern, sizeof(pattern), "%s%s", runtime_dir, names[i]);
        if (glob(pattern, 0, NULL, &g) != 0)
            continue;
        for (size_t k = 0; k < g.gl_pathc; k++)
            unlink(g.gl_pathv[k]);
        globfree(&g);
    }
    if (runtime_dir[0] != 0)
        rmdir(runtime_dir);
}

bool port_eal_has(const struct port_eal_memory *memory)
{
    struct machine m;
    if (machine_open(&m, "") != 0)
        return false;
    /* The default size: what --in-memory takes first. */
    uint32_t kib = memory->page_kib != 0 ? memory->page_kib : machine_default_hugepage_kib(&m);
    uint64_t pages = kib != 0 ? machine_free_hugepages(&m, kib, memory->numa_node) : 0;
    return pages * kib / 1024 >= EAL_MIB;
}

bool port_eal_hugepages(void)
{
    struct port_eal_memory memory = {.huge = true, .numa_node = -1};
    return port_eal_has(&memory);
}
