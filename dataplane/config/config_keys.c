/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows of the key table, and how a written value is checked and stored. APP. */
#include "dataplane/config/config_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define COMMON true
#define LOCAL false
#define MEMBER(type, member) (((type *)0)->member)

/* Lists are stored entry by entry, everything else as one member. */
#define SIZE_SCALAR(t, m) sizeof(MEMBER(t, m)), 1
#define SIZE_UINT SIZE_SCALAR
#define SIZE_INT SIZE_SCALAR
#define SIZE_BOOL SIZE_SCALAR
#define SIZE_WORD SIZE_SCALAR
#define SIZE_ADDRESS SIZE_SCALAR
#define SIZE_DEVICE SIZE_SCALAR
#define SIZE_PATH SIZE_SCALAR
#define SIZE_ENUM SIZE_SCALAR
#define SIZE_LIST(t, m) sizeof(MEMBER(t, m)[0]), sizeof(MEMBER(t, m)) / sizeof(MEMBER(t, m)[0])
#define SIZE_CHOICES SIZE_LIST

#define ROW(section, raw_type, raw_member, target_type, k, type, unit, min, max, def, common,      \
            scale, target, doc)                                                                    \
    {CONFIG_SECTION_##section, #k, CONFIG_##type, unit, min, max, def, common, scale,              \
     offsetof(raw_type, raw_member), offsetof(target_type, target),                                \
     SIZE_##type(target_type, target), doc},
#define ROW_TOP(k, ...) ROW(TOP, struct raw_config, k, struct pando_config, k, __VA_ARGS__)
#define ROW_VM(k, ...) ROW(VM, struct raw_config, vm.k, struct pando_config, k, __VA_ARGS__)
#define ROW_NODE(k, ...) ROW(NODE, struct raw_node, k, struct config_node, k, __VA_ARGS__)
#define ROW_FABRIC(k, ...)                                                                         \
    ROW(FABRIC, struct raw_config, fabric.k, struct pando_config, k, __VA_ARGS__)
#define ROW_FAULTS(k, ...)                                                                         \
    ROW(FAULTS, struct raw_config, fabric.faults.k, struct pando_config, k, __VA_ARGS__)
#define ROW_TRANSPORT(k, ...)                                                                      \
    ROW(TRANSPORT, struct raw_config, transport.k, struct pando_config, k, __VA_ARGS__)
#define ROW_COHERENCE(k, ...)                                                                      \
    ROW(COHERENCE, struct raw_config, coherence.k, struct pando_config, k, __VA_ARGS__)
#define ROW_POLL(k, ...) ROW(POLL, struct raw_config, poll.k, struct pando_config, k, __VA_ARGS__)
#define ROW_THREADS(k, ...)                                                                        \
    ROW(THREADS, struct raw_config, threads.k, struct pando_config, k, __VA_ARGS__)
#define ROW_CLOCK(k, ...)                                                                          \
    ROW(CLOCK, struct raw_config, clock.k, struct pando_config, k, __VA_ARGS__)
#define ROW_TELEMETRY(k, ...)                                                                      \
    ROW(TELEMETRY, struct raw_config, telemetry.k, struct pando_config, k, __VA_ARGS__)

const struct config_key config_keys[] = {
#define X(ID, id, name, keys) keys(ROW_##ID)
    CONFIG_SECTIONS(X)
#undef X
};
const size_t config_keys_count = sizeof(config_keys) / sizeof(config_keys[0]);

/* clang-format on */

const char *config_section_name(enum config_section s)
{
#define X(ID, id, name, keys) name,
    static const char *const names[] = {CONFIG_SECTIONS(X)};
#undef X
    return (unsigned)s < CONFIG_SECTION_COUNT ? names[s] : "?";
}

int config_fail(const struct config_context *ctx, int error, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(ctx->err, CONFIG_ERROR_MAX, "%s: ", ctx->file);
    if (n < 0 || n >= CONFIG_ERROR_MAX)
        return error;
    va_start(ap, fmt);
    vsnprintf(ctx->err + n, (size_t)(CONFIG_ERROR_MAX - n), fmt, ap);
    va_end(ap);
    return error;
}

void config_key_path(const struct config_key *k, unsigned index, char *buf, size_t size)
{
    if (k->section == CONFIG_SECTION_TOP)
        snprintf(buf, size, "%s", k->key);
    else if (k->section == CONFIG_SECTION_NODE)
        snprintf(buf, size, "nodes[%u].%s", index, k->key);
    else
        snprintf(buf, size, "%s.%s", config_section_name(k->section), k->key);
}

static const char device_marks[] = "._-:,=/@"; /* besides letters and digits */

/* What is allowed, for messages and for the reference. */
static void key_allowed(const struct config_key *k, char *buf, size_t size)
{
    const char *gap = k->unit[0] ? " " : "";

    switch (k->type) {
    case CONFIG_UINT:
    case CONFIG_INT:
        if (k->max == INT64_MAX)
            snprintf(buf, size, "a number, %lld or more", (long long)k->min);
        else if (k->min == 0x0600)
            snprintf(buf, size, "0x%llX..0x%llX", (long long)k->min, (long long)k->max);
        else
            snprintf(buf, size, "%lld..%lld%s%s", (long long)k->min, (long long)k->max, gap,
                     k->unit);
        break;
    case CONFIG_LIST:
        snprintf(buf, size, "a list of up to %u numbers %lld..%lld%s%s",
                 (unsigned)(k->target_count > CONFIG_LIST_MAX ? CONFIG_LIST_MAX : k->target_count),
                 (long long)k->min, (long long)k->max, gap, k->unit);
        break;
    case CONFIG_BOOL:
        snprintf(buf, size, "true, false");
        break;
    case CONFIG_WORD:
        snprintf(buf, size, "%lld to %lld letters, digits, '.', '_' or '-'", (long long)k->min,
                 (long long)k->max);
        break;
    case CONFIG_ADDRESS:
        snprintf(buf, size, "an IPv4 or IPv6 address");
        break;
    case CONFIG_DEVICE:
        snprintf(buf, size, "%lld to %lld letters, digits or any of %s", (long long)k->min,
                 (long long)k->max, device_marks);
        break;
    case CONFIG_PATH:
        snprintf(buf, size, "an absolute path of up to %lld bytes", (long long)k->max);
        break;
    case CONFIG_ENUM:
    case CONFIG_CHOICES: {
        size_t n = k->type == CONFIG_CHOICES ? (size_t)snprintf(buf, size, "a list of ") : 0;
        for (const char *c = k->unit; *c && n + 3 < size; c++) {
            buf[n++] = *c == '|' ? ',' : *c;
            if (*c == '|')
                buf[n++] = ' ';
        }
        buf[n] = '\0';
        break;
    }
    }
}

static int reject(const struct config_context *ctx, const struct config_key *k, unsigned index,
                  const char *value)
{
    char path[96], allowed[160];

    config_key_path(k, index, path, sizeof(path));
    key_allowed(k, allowed, sizeof(allowed));
    return config_fail(ctx, -EINVAL, "%s: '%.64s' is not allowed; allowed: %s", path, value,
                       allowed);
}

/* Decimal or 0x hexadecimal, all of the text, within the range. */
static bool parse_number(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    char *end;
    long long v;

    if (!isdigit((unsigned char)digits[0]))
        return false; /* strtoll would skip white space and take a second sign */
    errno = 0;
    v = strtoll(text, &end, hex ? 16 : 10);
    if (errno || *end || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

static bool parse_choice(const char *choices, const char *text, int64_t *ret)
{
    size_t len = strlen(text);

    for (int64_t i = 0;; i++) {
        size_t n = strcspn(choices, "|");
        if (n == len && memcmp(choices, text, n) == 0) {
            *ret = i;
            return true;
        }
        if (!choices[n])
            return false;
        choices += n + 1;
    }
}

static bool valid_text(const struct config_key *k, const char *text)
{
    size_t len = strlen(text);

    if (len < (size_t)k->min || len > (size_t)k->max || len >= k->target_size)
        return false;
    if (k->type == CONFIG_ADDRESS) {
        uint8_t ip[16];
        return len == 0 || inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
    }
    if (k->type == CONFIG_PATH && text[0] != '/')
        return false;
    for (const char *c = text; *c; c++) {
        bool word = isalnum((unsigned char)*c) ||
                    strchr(k->type == CONFIG_DEVICE ? device_marks : "._-", *c);
        if (!word && !(k->type == CONFIG_PATH && isgraph((unsigned char)*c)))
            return false;
    }
    return true;
}

/* The target members are integers of 1, 2, 4 or 8 bytes; ranges were checked, so nothing is cut
 * off. */
static void store_number(void *at, size_t size, int64_t value)
{
    switch (size) {
    case 1: {
        uint8_t v = (uint8_t)value;
        memcpy(at, &v, 1);
        break;
    }
    case 2: {
        uint16_t v = (uint16_t)value;
        memcpy(at, &v, 2);
        break;
    }
    case 4: {
        uint32_t v = (uint32_t)value;
        memcpy(at, &v, 4);
        break;
    }
    case 8:
        memcpy(at, &value, 8);
        break;
    default:
        abort();
    }
}

static bool store_scalar(const struct config_key *k, const char *text, uint8_t *at)
{
    int64_t v = 0;

    switch (k->type) {
    case CONFIG_UINT:
    case CONFIG_INT:
    case CONFIG_LIST:
        if (!parse_number(text, k->min, k->max, &v))
            return false;
        store_number(at, k->target_size, v * k->scale);
        return true;
    case CONFIG_BOOL:
        if (!parse_choice("false|true", text, &v))
            return false;
        store_number(at, k->target_size, v);
        return true;
    case CONFIG_ENUM:
    case CONFIG_CHOICES:
        if (!parse_choice(k->unit, text, &v))
            return false;
        store_number(at, k->target_size, v);
        return true;
    case CONFIG_WORD:
    case CONFIG_PATH:
    case CONFIG_ADDRESS:
    case CONFIG_DEVICE:
        if (!valid_text(k, text))
            return false;
        memcpy(at, text, strlen(text) + 1);
        return true;
    }
    return false;
}

static int store_list(const struct config_context *ctx, const struct config_key *k, unsigned index,
                      const void *raw, uint8_t *at)
{
    char *const *entries;
    unsigned count;
    char text[32];

    memcpy(&entries, raw, sizeof(entries));
    memcpy(&count, (const uint8_t *)raw + sizeof(entries), sizeof(count));
    if (count > k->target_count) {
        snprintf(text, sizeof(text), "list of %u", count);
        return reject(ctx, k, index, text);
    }
    for (unsigned i = 0; i < count; i++)
        if (!store_scalar(k, entries[i], at + i * k->target_size))
            return reject(ctx, k, index, entries[i]);
    return 0;
}

int config_store(const struct config_context *ctx, enum config_section section, unsigned index,
                 const void *raw, void *target)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *k = &config_keys[i];
        const uint8_t *from = (const uint8_t *)raw + k->raw_offset;
        uint8_t *at = (uint8_t *)target + k->target_offset;
        const char *text;
        char path[96];
        int r;

        if (k->section != section)
            continue;
        if (k->type == CONFIG_LIST || k->type == CONFIG_CHOICES) {
            r = store_list(ctx, k, index, from, at);
            if (r)
                return r;
            continue;
        }
        memcpy(&text, from, sizeof(text));
        if (!text && !k->def) {
            config_key_path(k, index, path, sizeof(path));
            return config_fail(ctx, -EINVAL, "%s is missing: %s", path, k->doc);
        }
        if (!store_scalar(k, text ? text : k->def, at))
            return reject(ctx, k, index, text ? text : k->def);
    }
    return 0;
}

static void print_row(int fd, const struct config_key *k)
{
    char allowed[160], def[64];

    key_allowed(k, allowed, sizeof(allowed));
    if (!k->def)
        snprintf(def, sizeof(def), "(required)");
    else
        snprintf(def, sizeof(def), "%s%s%s", k->def[0] ? "`" : "-", k->def, k->def[0] ? "`" : "");
    dprintf(fd, "| `%s` | %s | %s | %s | %s |\n", k->key, allowed, def, k->common ? "yes" : "no",
            k->doc);
}

void config_print_reference(int fd)
{
    dprintf(
        fd,
        "# Configuration reference\n\n"
        "Printed by `pando-config reference` from the table that parses the file; a test compares "
        "them.\n"
        "One YAML file describes a cluster and is given to every node. Numbers are decimal or 0x\n"
        "hexadecimal. *Common* keys must be equal on all nodes: they make up the configuration "
        "hash, and a\n"
        "peer with another hash is refused. Unknown and repeated keys are errors.\n");
    for (unsigned s = 0; s < CONFIG_SECTION_COUNT; s++) {
        if (s == CONFIG_SECTION_TOP)
            dprintf(fd, "\n## Top level\n\n");
        else if (s == CONFIG_SECTION_NODE)
            dprintf(fd, "\n## nodes: a list with one entry a node, 1..%d\n\n", WIRE_NODES_MAX);
        else
            dprintf(fd, "\n## %s\n\n", config_section_name(s));
        dprintf(fd, "| key | allowed | default | common | meaning |\n|---|---|---|---|---|\n");
        for (size_t i = 0; i < config_keys_count; i++)
            if (config_keys[i].section == s)
                print_row(fd, &config_keys[i]);
    }
}
