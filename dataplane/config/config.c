/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration: from a file to a checked struct pando_config. APP. */
#include "dataplane/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/config/config_keys.h"

enum { CONFIG_FILE_MAX = 1 << 20 };

static int check_shape(const struct config_context *ctx, const struct raw_config *raw)
{
    if (raw->nodes_count == 0)
        return config_fail(ctx, -EINVAL, "nodes is missing or empty; allowed: 1..%d nodes",
                           WIRE_NODES_MAX);
    if (raw->nodes_count > WIRE_NODES_MAX)
        return config_fail(ctx, -EINVAL, "nodes: has %u entries; allowed: 1..%d", raw->nodes_count,
                           WIRE_NODES_MAX);
    return 0;
}

static int convert(const struct config_context *ctx, const struct raw_config *raw,
                   struct pando_config *cfg)
{
    int r = check_shape(ctx, raw);

    for (unsigned s = 0; !r && s < CONFIG_SECTION_COUNT; s++)
        if (s != CONFIG_SECTION_NODE)
            r = config_store(ctx, s, 0, raw, cfg);
    for (unsigned n = 0; !r && n < raw->nodes_count; n++) {
        r = config_store(ctx, CONFIG_SECTION_NODE, n, &raw->nodes[n], &cfg->node[n]);
        cfg->node[n].vcpu_core_count = raw->nodes[n].vcpu_cores_count;
        cfg->node[n].housekeeping_core_count = raw->nodes[n].housekeeping_cores_count;
    }
    if (r)
        return r;
    cfg->node_count = raw->nodes_count;
    r = config_apply_rules(ctx, raw, cfg);
    if (r)
        return r;
    cfg->cluster_id = config_fnv1a(CONFIG_FNV_START, cfg->cluster, strlen(cfg->cluster));
    cfg->hash = config_hash(cfg);
    return 0;
}

int config_parse(const char *text, size_t len, const char *name, struct pando_config *ret,
                 char err[CONFIG_ERROR_MAX])
{
    struct config_context ctx = {name, err};
    struct raw_config *raw = NULL;
    struct pando_config *cfg;
    int r;

    err[0] = '\0';
    r = config_raw_load(&ctx, text, len, &raw);
    if (r)
        return r;
    cfg = calloc(1, sizeof(*cfg));
    r = cfg ? convert(&ctx, raw, cfg) : config_fail(&ctx, -ENOMEM, "out of memory");
    if (!r)
        *ret = *cfg;
    free(cfg);
    config_raw_free(raw);
    return r;
}

static int read_all(int fd, char *buf, size_t size, size_t *ret_len)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, buf + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return 0;
}

int config_load(const char *path, struct pando_config *ret, char err[CONFIG_ERROR_MAX])
{
    struct config_context ctx = {path, err};
    size_t len = 0;
    char *buf;
    int fd, r;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return config_fail(&ctx, -errno, "cannot be opened: %s", strerror(errno));
    buf = malloc(CONFIG_FILE_MAX + 1);
    r = buf ? read_all(fd, buf, CONFIG_FILE_MAX + 1, &len) : -ENOMEM;
    if (r)
        config_fail(&ctx, r, "cannot be read: %s", strerror(-r));
    else if (len > CONFIG_FILE_MAX)
        r = config_fail(&ctx, -EFBIG, "the file is larger than %d bytes", CONFIG_FILE_MAX);
    else
        r = config_parse(buf, len, path, ret, err);
    free(buf);
    close(fd);
    return r;
}

int config_find_node(const struct pando_config *cfg, const char *id_or_name, uint8_t *ret_node,
                     char err[CONFIG_ERROR_MAX])
{
    char id[12];

    for (uint32_t n = 0; n < cfg->node_count; n++) {
        snprintf(id, sizeof(id), "%u", n);
        if (strcmp(id_or_name, id) == 0 || strcmp(id_or_name, cfg->node[n].name) == 0) {
            *ret_node = (uint8_t)n;
            return 0;
        }
    }
    snprintf(err, CONFIG_ERROR_MAX,
             "node '%.40s' is not in cluster '%s'; allowed: 0..%u or a node's name", id_or_name,
             cfg->cluster, cfg->node_count - 1);
    return -ENOENT;
}

int config_glue_socket(const struct pando_config *cfg, uint8_t node, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%s/node%u.sock", cfg->run_dir, node);

    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

const char *config_fabric_name(enum config_fabric f)
{
    static const char *const names[CONFIG_FABRICS] = {"shm", "memif", "af_packet", "af_xdp",
                                                      "udp", "dpdk",  "verbs",     "auto"};
    return f < CONFIG_FABRICS ? names[f] : "?";
}
