/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzzes the configuration file: whatever its text, it is accepted within the ranges that the
 * program relies on, or refused with a sentence that names something. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static struct pando_config cfg;
    char err[CONFIG_ERROR_MAX], *text = malloc(size + 1), path[256];
    if (text == NULL)
        abort();
    memcpy(text, in, size);
    text[size] = '\0';
    memset(err, 0, sizeof(err));
    int rc = config_parse(text, size, "fuzzed", &cfg, err);
    PANDO_CHECK(memchr(err, '\0', sizeof(err)) != NULL);
    PANDO_CHECK(rc == 0 || err[0] != '\0');
    if (rc == 0) {
        PANDO_CHECK(cfg.node_count >= 1 && cfg.node_count <= WIRE_NODES_MAX);
        PANDO_CHECK(cfg.vm.vcpus >= 1 && cfg.vm.vcpus <= WIRE_VCPUS_MAX);
        for (uint32_t v = 0; v < cfg.vm.vcpus; v++)
            PANDO_CHECK(cfg.vm.vcpu_home[v] < cfg.node_count);
        for (uint32_t n = 0; n < cfg.node_count; n++)
            PANDO_CHECK(cfg.node[n].id == n &&
                        config_glue_socket(&cfg, (uint8_t)n, path, sizeof(path)) <= 0);
    }
    free(text);
    return 0;
}
