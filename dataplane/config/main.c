/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-config: checks a configuration file, prints the reference. APP. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/config/config.h"

static int usage(FILE *to, int status)
{
    fprintf(
        to,
        "usage: pando-config check FILE    check a cluster configuration and say what it means\n"
        "       pando-config reference     print the reference of all keys (Markdown)\n");
    return status;
}

static int check(const char *path)
{
    static struct pando_config cfg;
    char err[CONFIG_ERROR_MAX];

    if (config_load(path, &cfg, err)) {
        fprintf(stderr, "pando-config: %s\n", err);
        return 1;
    }
    if (err[0])
        fprintf(stderr, "pando-config: %s\n", err);
    printf("cluster %s: %u nodes, %u vCPUs, %" PRIu64 " MiB, hash %016" PRIx64 "\n", cfg.cluster,
           cfg.node_count, cfg.vm.vcpus, cfg.vm.ram_pages * WIRE_PAGE_SIZE >> 20, cfg.hash);
    for (uint32_t n = 0; n < cfg.node_count; n++) {
        printf("  node %u %-12s%s vCPUs", n, cfg.node[n].name,
               n == cfg.vm.vmm_node ? " (VMM)" : "      ");
        for (uint32_t v = 0; v < cfg.vm.vcpus; v++)
            if (cfg.vm.vcpu_home[v] == n)
                printf(" %u", v);
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    if (argc == 2 && strcmp(argv[1], "reference") == 0) {
        config_print_reference(STDOUT_FILENO);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    return usage(stderr, 2);
}
