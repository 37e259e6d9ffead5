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

#include "dataplane/port/eal.h"

enum { EAL_MIB = 64, EAL_ARGS = 16, EAL_LCORES = 2048 };

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

int port_eal_init(bool huge, unsigned core, const char *pci, const char *prefix, bool telemetry,
                  char err[PORT_ERROR_MAX])
{
    static char arg[EAL_ARGS][64], cores[EAL_LCORES]; /* EAL keeps pointers into its arguments */
    char *argv[EAL_ARGS + 1];
    int argc = 0, rc = lcores(core, cores, sizeof(cores));
    if (rc != 0)
        return rc;
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
    ARG("-m");
    ARG("%d", EAL_MIB);
    if (huge) {
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
                 huge ? ": it needs 64 MiB of free hugepages (sysctl vm.nr_hugepages=64), or "
                        "fabric.hugepages: off"
                      : ": it needs 64 MiB of memory, and the core must exist and be allowed");
        return rc;
    }
    snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
    if (!telemetry)
        rmdir(runtime_dir); /* empty: a killed process leaves nothing */
    return 0;
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

bool port_eal_hugepages(void)
{
    /* The default size only: what --in-memory takes first. */
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long pages = 0, kib = 0;
    char line[128];
    if (f == NULL)
        return false;
    while (fgets(line, sizeof(line), f) != NULL) {
        sscanf(line, "HugePages_Free: %lu", &pages);
        sscanf(line, "Hugepagesize: %lu", &kib);
    }
    fclose(f);
    return pages * kib / 1024 >= EAL_MIB;
}
