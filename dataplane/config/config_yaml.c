/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * YAML to the raw structure, by libcyaml; the schema comes from the key lists. APP.
 *
 * libcyaml knows the shape (which keys, mapping or sequence); the key table knows values. libcyaml
 * reports through a log function only, so its first error and the backtrace below it are collected
 * and put together as one sentence.
 */
#include "dataplane/config/config_keys.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_value_t list_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};

/* clang-format off */
#define FIELD_SCALAR(s, k) CYAML_FIELD_STRING_PTR(#k, OPTIONAL, s, k, 0, CYAML_UNLIMITED),
#define FIELD_UINT FIELD_SCALAR
#define FIELD_INT FIELD_SCALAR
#define FIELD_BOOL FIELD_SCALAR
#define FIELD_WORD FIELD_SCALAR
#define FIELD_ADDRESS FIELD_SCALAR
#define FIELD_DEVICE FIELD_SCALAR
#define FIELD_PATH FIELD_SCALAR
#define FIELD_ENUM FIELD_SCALAR
#define FIELD_LIST(s, k) CYAML_FIELD_SEQUENCE(#k, OPTIONAL, s, k, &list_entry, 0, CONFIG_LIST_MAX),
#define FIELD_CHOICES FIELD_LIST

#define SCHEMA(name, keys)                                                                         \
    static const cyaml_schema_field_t name##_fields[] = {keys(FIELD_##name) CYAML_FIELD_END}

#define FIELD_vm(k, type, ...) FIELD_##type(struct raw_vm, k)
#define FIELD_node(k, type, ...) FIELD_##type(struct raw_node, k)
#define FIELD_faults(k, type, ...) FIELD_##type(struct raw_faults, k)
#define FIELD_fabric(k, type, ...) FIELD_##type(struct raw_fabric, k)
#define FIELD_transport(k, type, ...) FIELD_##type(struct raw_transport, k)
#define FIELD_coherence(k, type, ...) FIELD_##type(struct raw_coherence, k)
#define FIELD_poll(k, type, ...) FIELD_##type(struct raw_poll, k)
#define FIELD_threads(k, type, ...) FIELD_##type(struct raw_threads, k)
#define FIELD_clock(k, type, ...) FIELD_##type(struct raw_clock, k)
#define FIELD_telemetry(k, type, ...) FIELD_##type(struct raw_telemetry, k)
#define FIELD_top(k, type, ...) FIELD_##type(struct raw_config, k)

SCHEMA(vm, CONFIG_KEYS_VM);
SCHEMA(node, CONFIG_KEYS_NODE);
SCHEMA(faults, CONFIG_KEYS_FAULTS);
SCHEMA(transport, CONFIG_KEYS_TRANSPORT);
SCHEMA(coherence, CONFIG_KEYS_COHERENCE);
SCHEMA(poll, CONFIG_KEYS_POLL);
SCHEMA(threads, CONFIG_KEYS_THREADS);
SCHEMA(clock, CONFIG_KEYS_CLOCK);
SCHEMA(telemetry, CONFIG_KEYS_TELEMETRY);

static const cyaml_schema_field_t fabric_fields[] = {
    CONFIG_KEYS_FABRIC(FIELD_fabric)
    CYAML_FIELD_MAPPING("faults", CYAML_FLAG_OPTIONAL, struct raw_fabric, faults, faults_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t node_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_node, node_fields),
};

static const cyaml_schema_field_t top_fields[] = {
    CONFIG_KEYS_TOP(FIELD_top)
    CYAML_FIELD_MAPPING("vm", CYAML_FLAG_OPTIONAL, struct raw_config, vm, vm_fields),
    CYAML_FIELD_SEQUENCE("nodes", OPTIONAL, struct raw_config, nodes, &node_value, 0,
                         CYAML_UNLIMITED),
    CYAML_FIELD_MAPPING("fabric", CYAML_FLAG_OPTIONAL, struct raw_config, fabric, fabric_fields),
    CYAML_FIELD_MAPPING("transport", CYAML_FLAG_OPTIONAL, struct raw_config, transport,
                        transport_fields),
    CYAML_FIELD_MAPPING("coherence", CYAML_FLAG_OPTIONAL, struct raw_config, coherence,
                        coherence_fields),
    CYAML_FIELD_MAPPING("poll", CYAML_FLAG_OPTIONAL, struct raw_config, poll, poll_fields),
    CYAML_FIELD_MAPPING("threads", CYAML_FLAG_OPTIONAL, struct raw_config, threads, threads_fields),
    CYAML_FIELD_MAPPING("clock", CYAML_FLAG_OPTIONAL, struct raw_config, clock, clock_fields),
    CYAML_FIELD_MAPPING("telemetry", CYAML_FLAG_OPTIONAL, struct raw_config, telemetry,
                        telemetry_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t top_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, top_fields),
};

/* clang-format on */

/* What libcyaml said: the first message, and the path rebuilt from its backtrace, innermost first.
 */
struct yaml_report {
    char what[160];
    char path[96];
    unsigned line;
};

static void report_prefix(struct yaml_report *rep, const char *part, bool index)
{
    char path[sizeof(rep->path)];
    const char *dot = rep->path[0] && rep->path[0] != '[' ? "." : "";

    if (index)
        snprintf(path, sizeof(path), "[%ld]%s%.60s", atol(part) - 1, dot, rep->path);
    else
        snprintf(path, sizeof(path), "%.24s%s%.60s", part, dot, rep->path);
    memcpy(rep->path, path, sizeof(path));
}

static void collect(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct yaml_report *rep = ctx;
    char text[256], name[64];
    unsigned line;

    (void)level;
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(text, "Load: Backtrace", 15) == 0)
        return;
    if (sscanf(text, "  in mapping field '%63[^']' (line: %u", name, &line) == 2)
        report_prefix(rep, name, false);
    else if (sscanf(text, "  in sequence entry '%63[^']' (line: %u", name, &line) == 2)
        report_prefix(rep, name, true);
    else if (sscanf(text, "  in mapping (line: %u", &line) != 1)
        line = 0;
    if (line && !rep->line)
        rep->line = line;
    if (!line && !rep->what[0])
        snprintf(rep->what, sizeof(rep->what), "%.150s",
                 strncmp(text, "Load: ", 6) == 0 ? text + 6 : text);
}

/* The keys of the section that a path such as "nodes[1]" or "fabric.faults" names. */
static void list_keys(const char *path, char *buf, size_t size)
{
    static const char *const top =
        "vm nodes fabric transport coherence poll threads clock telemetry";
    size_t n = 0, len = strcspn(path, "[");

    buf[0] = '\0';
    for (size_t i = 0; i < config_keys_count; i++) {
        const char *section = config_section_name(config_keys[i].section);
        if (strlen(section) == len && strncmp(section, path, len) == 0 && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " " : "", config_keys[i].key);
    }
    if (len == 0 && n < size)
        snprintf(buf + n, size - n, " %s", top);
    else if (strcmp(path, "fabric") == 0 && n < size)
        snprintf(buf + n, size - n, " faults");
}

static int fail_yaml(const struct config_context *ctx, cyaml_err_t e, const struct yaml_report *rep)
{
    char keys[256];

    if (strncmp(rep->what, "Unexpected key: ", 16) == 0) {
        list_keys(rep->path, keys, sizeof(keys));
        return config_fail(ctx, -EINVAL, "line %u: unknown key '%.48s' in %s; allowed: %s",
                           rep->line, rep->what + 16, rep->path[0] ? rep->path : "the file", keys);
    }
    if (strncmp(rep->what, "Mapping field already seen", 26) == 0)
        return config_fail(ctx, -EINVAL, "line %u: %s is given twice; allowed: once", rep->line,
                           rep->path);
    return config_fail(ctx, e == CYAML_ERR_OOM ? -ENOMEM : -EINVAL, "line %u: %s%s%s", rep->line,
                       rep->path, rep->path[0] ? ": " : "",
                       rep->what[0] ? rep->what : cyaml_strerror(e));
}

static cyaml_config_t yaml_config(struct yaml_report *rep)
{
    return (cyaml_config_t){
        .log_fn = collect,
        .log_ctx = rep,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_WARNING,
        .flags = CYAML_CFG_NO_ALIAS, /* no document that unfolds into a larger one */
    };
}

int config_raw_load(const struct config_context *ctx, const char *text, size_t len,
                    struct raw_config **ret_raw)
{
    struct yaml_report rep = {0};
    cyaml_config_t yc = yaml_config(&rep);
    struct raw_config *raw = NULL;
    cyaml_err_t e;

    if (memchr(text, '\0', len))
        return config_fail(ctx, -EINVAL, "not a text file: it contains a byte 0");
    e = cyaml_load_data((const uint8_t *)text, len, &yc, &top_value, (cyaml_data_t **)&raw, NULL);
    if (e != CYAML_OK)
        return fail_yaml(ctx, e, &rep);
    if (!raw)
        return config_fail(ctx, -EINVAL,
                           "the file is empty; a cluster needs cluster, vm and nodes");
    if (rep.what[0]) { /* a warning: documents after the first are ignored, which hides a mistake */
        config_raw_free(raw);
        return config_fail(ctx, -EINVAL, "%s; allowed: one document", rep.what);
    }
    *ret_raw = raw;
    return 0;
}

void config_raw_free(struct raw_config *raw)
{
    struct yaml_report rep = {0};
    cyaml_config_t yc = yaml_config(&rep);

    if (raw)
        cyaml_free(&yc, &top_value, raw, 0);
}
