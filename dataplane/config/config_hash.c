/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration hash: FNV-1a, 64 bits, over "section.key=value" lines of every COMMON key in
 * the order of the table, after defaults and derived values were filled in and nodes sorted by
 * number. So order, comments and spelling of the file do not matter, and a default written out
 * equals one left out. APP.
 */
#include "dataplane/config/config_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t config_fnv1a(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
    return hash;
}

static uint64_t load_number(const uint8_t *at, size_t size)
{
    uint8_t v1;
    uint16_t v2;
    uint32_t v4;
    uint64_t v8;

    switch (size) {
    case 1:
        memcpy(&v1, at, 1);
        return v1;
    case 2:
        memcpy(&v2, at, 2);
        return v2;
    case 4:
        memcpy(&v4, at, 4);
        return v4;
    default:
        memcpy(&v8, at, 8);
        return v8;
    }
}

static uint64_t hash_key(uint64_t hash, const struct config_key *k, unsigned index, uint32_t vcpus,
                         const void *base)
{
    const uint8_t *at = (const uint8_t *)base + k->target_offset;
    size_t count = k->type == CONFIG_LIST ? vcpus : 1; /* the one common list is vm.vcpu_homes */
    char line[CONFIG_PATH_MAX + 64];

    for (size_t i = 0; i < count; i++) {
        int n;
        if (k->type == CONFIG_WORD || k->type == CONFIG_PATH || k->type == CONFIG_ADDRESS ||
            k->type == CONFIG_DEVICE)
            n = snprintf(line, sizeof(line), "%s[%u].%s=%s\n", config_section_name(k->section),
                         index, k->key, (const char *)at);
        else
            n = snprintf(line, sizeof(line), "%s[%u].%s[%zu]=%" PRIu64 "\n",
                         config_section_name(k->section), index, k->key, i,
                         load_number(at + i * k->target_size, k->target_size));
        if (n > 0)
            hash =
                config_fnv1a(hash, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    }
    return hash;
}

uint64_t config_hash(const struct pando_config *cfg)
{
    uint64_t hash = CONFIG_FNV_START;

    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (!k->common)
            continue;
        if (k->section != CONFIG_SECTION_NODE) {
            hash = hash_key(hash, k, 0, cfg->vm.vcpus, cfg);
            continue;
        }
        for (unsigned n = 0; n < cfg->node_count; n++)
            hash = hash_key(hash, k, n, cfg->vm.vcpus, &cfg->node[n]);
    }
    return hash;
}
