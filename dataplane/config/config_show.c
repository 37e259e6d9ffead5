/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration in force, key by key, as the file would say it. APP. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/config/config_keys.h"

static int64_t load(const uint8_t *at, size_t size, bool is_signed)
{
    int8_t v1;
    int16_t v2;
    int32_t v4;
    int64_t v8;
    switch (size) {
    case 1:
        memcpy(&v1, at, 1);
        return is_signed ? v1 : (uint8_t)v1;
    case 2:
        memcpy(&v2, at, 2);
        return is_signed ? v2 : (uint16_t)v2;
    case 4:
        memcpy(&v4, at, 4);
        return is_signed ? v4 : (int64_t)(uint32_t)v4;
    default:
        memcpy(&v8, at, 8);
        return v8;
    }
}

/* The n-th word of "a|b|c"; "?" behind the last. */
static void choice(const char *choices, int64_t n, char *buf, size_t size)
{
    for (; n > 0 && *choices != '\0'; n--) {
        choices += strcspn(choices, "|");
        choices += *choices == '|';
    }
    size_t len = strcspn(choices, "|");
    snprintf(buf, size, "%.*s", len > 0 ? (int)len : 1, len > 0 ? choices : "?");
}

static void scalar(const struct config_key *k, const uint8_t *at, char *buf, size_t size)
{
    int64_t v = 0;
    switch (k->type) {
    case CONFIG_WORD:
    case CONFIG_ADDRESS:
    case CONFIG_DEVICE:
    case CONFIG_PATH:
        snprintf(buf, size, "%s", (const char *)at);
        return;
    case CONFIG_BOOL:
        snprintf(buf, size, "%s", load(at, k->target_size, false) != 0 ? "true" : "false");
        return;
    case CONFIG_ENUM:
    case CONFIG_CHOICES:
        choice(k->unit, load(at, k->target_size, false), buf, size);
        return;
    case CONFIG_UINT:
    case CONFIG_INT:
    case CONFIG_LIST:
        v = load(at, k->target_size, k->type == CONFIG_INT);
        snprintf(buf, size, "%" PRId64, v / k->scale);
        return;
    }
}

/* How many entries of a list are in use: the structure keeps it in a member of its own. */
static size_t entries(const struct pando_config *cfg, const struct config_node *n,
                      const struct config_key *k)
{
    if (k->section == CONFIG_SECTION_NODE)
        return k->target_offset == offsetof(struct config_node, vcpu_cores)
                   ? n->vcpu_core_count
                   : n->housekeeping_core_count;
    return k->type == CONFIG_CHOICES ? cfg->fabric.ladder_count : cfg->vm.vcpus;
}

static void list(const struct config_key *k, const uint8_t *at, size_t count, char *buf,
                 size_t size)
{
    size_t used = (size_t)snprintf(buf, size, "[");
    for (size_t i = 0; i < count && i < k->target_count && used < size; i++) {
        char one[32];
        scalar(k, at + i * k->target_size, one, sizeof(one));
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "", one);
    }
    if (used < size)
        snprintf(buf + used, size - used, "]");
}

/* Numbers may be written in several ways: 0x88B5 is 34997. */
static bool is_default(const struct config_key *k, const uint8_t *at, const char *value)
{
    if (k->def == NULL)
        return false;
    if (k->type == CONFIG_UINT || k->type == CONFIG_INT)
        return load(at, k->target_size, k->type == CONFIG_INT) ==
               strtoll(k->def, NULL, 0) * (int64_t)k->scale;
    if (k->type == CONFIG_LIST || k->type == CONFIG_CHOICES)
        return strcmp(value, "[]") == 0;
    return strcmp(value, k->def) == 0;
}

static void each_of(const struct pando_config *cfg, const struct config_node *n,
                    enum config_section section, config_each *each, void *arg)
{
    const void *base = n != NULL ? (const void *)n : cfg;
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (k->section != section)
            continue;
        const uint8_t *at = (const uint8_t *)base + k->target_offset;
        char path[96], value[CONFIG_VALUE_MAX];
        config_key_path(k, n != NULL ? n->id : 0, path, sizeof(path));
        if (k->type == CONFIG_LIST || k->type == CONFIG_CHOICES)
            list(k, at, entries(cfg, n, k), value, sizeof(value));
        else
            scalar(k, at, value, sizeof(value));
        each(arg, path, value, is_default(k, at, value));
    }
}

void config_show(const struct pando_config *cfg, config_each *each, void *arg)
{
    for (unsigned s = 0; s < CONFIG_SECTION_COUNT; s++) {
        if (s != CONFIG_SECTION_NODE)
            each_of(cfg, NULL, s, each, arg);
        for (uint32_t n = 0; s == CONFIG_SECTION_NODE && n < cfg->node_count; n++)
            each_of(cfg, &cfg->node[n], s, each, arg);
    }
}
