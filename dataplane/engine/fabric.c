/* SPDX-License-Identifier: BSD-3-Clause */
/* From the configuration to a port: DPDK's environment, which fabric, behind which fault filter. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/engine/engine.h"
#include "dataplane/port/eal.h"

const struct config_node *own_node(const struct engine *e)
{
    for (uint32_t i = 0; i < e->cfg->node_count; i++)
        if (e->cfg->node[i].id == e->self)
            return &e->cfg->node[i];
    return NULL;
}

/* What EAL takes for packet memory, should a fabric need any: hugepages where there are some. */
static bool choose_memory(const struct engine *e)
{
    enum config_fabric f = e->cfg->fabric.type;
    bool maybe =
        f == CONFIG_FABRIC_MEMIF || f == CONFIG_FABRIC_AF_PACKET || f == CONFIG_FABRIC_AUTO;
    return maybe && e->cfg->fabric.hugepages != CONFIG_HUGE_OFF && port_eal_hugepages();
}

/* memif and af_packet need packet memory; the other fabrics have their own. */
static int packet_memory(const struct engine *e, char err[PORT_ERROR_MAX])
{
    if (e->huge || e->cfg->fabric.hugepages == CONFIG_HUGE_OFF)
        return 0;
    if (e->cfg->fabric.hugepages == CONFIG_HUGE_ON) {
        snprintf(err, PORT_ERROR_MAX,
                 "fabric.hugepages is on, and 64 MiB of hugepages are not free: sysctl "
                 "vm.nr_hugepages=64, or set it to auto");
        return -ENOMEM;
    }
    fprintf(
        stderr,
        "pando-dataplane: node %u: no free hugepages: packet memory is ordinary memory. It costs "
        "TLB misses on large transfers, and real NICs cannot use it; remedy: sysctl "
        "vm.nr_hugepages=64\n",
        e->self);
    return 0;
}

/* DPDK is there for telemetry too. Its files go under run_dir, where what a killed process left is
 * found. */
int fabric_start_eal(struct engine *e)
{
    const struct config_node *n = own_node(e);
    unsigned core =
        n != NULL && n->dataplane_core >= 0 ? (unsigned)n->dataplane_core : PORT_EAL_ANY_CORE;
    char prefix[24], err[PORT_ERROR_MAX];
    setenv("RUNTIME_DIRECTORY", e->cfg->run_dir, 1);
    snprintf(prefix, sizeof(prefix), "node%u", e->self);
    e->huge = choose_memory(e);
    int rc = port_eal_init(e->huge, core, prefix, true, err);
    e->eal = rc == 0;
    if (rc != 0)
        snprintf(e->err, sizeof(e->err), "%s", err);
    return rc;
}

void fabric_close(struct engine *e)
{
    char dir[CONFIG_PATH_MAX + 8];
    e->port = port_close(e->port);
    if (e->group_fd >= 0)
        close(e->group_fd);
    e->group_fd = -1;
    if (!e->eal)
        return;
    port_eal_close();
    snprintf(dir, sizeof(dir), "%s/dpdk", e->cfg->run_dir);
    (void)rmdir(dir); /* the last one to leave */
}

static int open_shm(struct engine *e, char err[PORT_ERROR_MAX])
{
    char dir[CONFIG_PATH_MAX + 8];
    snprintf(dir, sizeof(dir), "%s/ring", e->cfg->run_dir);
    return port_open_shm(dir, e->self, e->nodes, e->cfg->fabric.mtu, &e->port, err);
}

static int open_memif(struct engine *e, char err[PORT_ERROR_MAX])
{
    char dir[CONFIG_PATH_MAX + 8];
    int rc = packet_memory(e, err);
    if (rc != 0)
        return rc;
    snprintf(dir, sizeof(dir), "%s/memif", e->cfg->run_dir);
    return port_open_memif(dir, e->self, e->nodes, e->cfg->fabric.ethertype, e->cfg->fabric.mtu,
                           &e->port, err);
}

/* How frames are carried; NULL: plain Ethernet. */
static const struct link_config *link_of(const struct engine *e, struct link_config *out)
{
    const struct pando_config *c = e->cfg;
    if (c->fabric.type != CONFIG_FABRIC_UDP && c->fabric.encapsulation != CONFIG_ENCAP_UDP)
        return NULL;
    *out = (struct link_config){
        .kind = c->fabric.ip_version == 4 ? LINK_UDP4 : LINK_UDP6,
        .udp_port = c->fabric.udp_port,
        .self = e->self,
        .nodes = e->nodes,
    };
    for (uint32_t n = 0; n < c->node_count; n++)
        memcpy(out->ip[c->node[n].id], c->node[n].ip, sizeof(c->node[n].ip));
    return out;
}

static int open_af_packet(struct engine *e, char err[PORT_ERROR_MAX])
{
    struct link_config link;
    int rc = packet_memory(e, err);
    if (rc != 0)
        return rc;
    return port_open_af_packet(own_node(e)->device, link_of(e, &link), e->cfg->fabric.ethertype,
                               e->cfg->fabric.mtu, &e->port, err);
}

static int open_af_xdp(struct engine *e, char err[PORT_ERROR_MAX])
{
#ifdef PANDO_HAVE_AF_XDP
    struct link_config link;
    struct port_af_xdp c = {
        .link = link_of(e, &link),
        .interface = own_node(e)->device,
        .queue = own_node(e)->queue,
        .ethertype = e->cfg->fabric.ethertype,
        .mtu = e->cfg->fabric.mtu,
        .self = e->self,
        .nodes = e->nodes,
        .cluster_id = e->cfg->cluster_id,
    };
    return port_open_af_xdp(&c, &e->port, err);
#else
    (void)e;
    snprintf(err, PORT_ERROR_MAX,
             "af_xdp fabric: not in this build: it needs libbpf-dev, clang and bpftool (./dev "
             "setup), then a build");
    return -ENOTSUP;
#endif
}

static int open_udp(struct engine *e, char err[PORT_ERROR_MAX])
{
    struct link_config link;
    const char *notice;
    int rc = port_open_udp(link_of(e, &link), e->cfg->fabric.mtu, (uint8_t)e->cfg->transport.credit,
                           &e->port, err);
    if (rc == 0 && (notice = port_udp_notice(e->port)) != NULL)
        fprintf(stderr, "pando-dataplane: node %u: %s\n", e->self, notice);
    return rc;
}

static int open_ladder(struct engine *e, char err[PORT_ERROR_MAX]);

static int (*const openers[CONFIG_FABRICS])(struct engine *, char *) = {
    [CONFIG_FABRIC_SHM] = open_shm,
    [CONFIG_FABRIC_MEMIF] = open_memif,
    [CONFIG_FABRIC_AF_PACKET] = open_af_packet,
    [CONFIG_FABRIC_AF_XDP] = open_af_xdp,
    [CONFIG_FABRIC_UDP] = open_udp,
    [CONFIG_FABRIC_AUTO] = open_ladder,
};

static void append(struct engine *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void append(struct engine *e, const char *fmt, ...)
{
    size_t at = strlen(e->fabric);
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->fabric + at, sizeof(e->fabric) - at, fmt, args);
    va_end(args);
}

/* How the port that was opened works, where there is more than one way. */
static const char *mode_of(const struct engine *e)
{
#ifdef PANDO_HAVE_AF_XDP
    return port_af_xdp_mode(e->port);
#else
    (void)e;
    return NULL;
#endif
}

/* The first rung that can be opened; what is above it is said with its reason. If there is none,
 * all reasons are the error. */
static int open_ladder(struct engine *e, char err[PORT_ERROR_MAX])
{
    static const enum config_fabric rungs[CONFIG_RUNGS] = {
        [CONFIG_RUNG_AF_XDP] = CONFIG_FABRIC_AF_XDP,
        [CONFIG_RUNG_AF_PACKET] = CONFIG_FABRIC_AF_PACKET,
        [CONFIG_RUNG_UDP] = CONFIG_FABRIC_UDP,
    };
    char above[sizeof(e->fabric)] = "", why[PORT_ERROR_MAX];
    int rc = -EINVAL;
    for (uint32_t i = 0; i < e->cfg->fabric.ladder_count; i++) {
        enum config_fabric rung = rungs[e->cfg->fabric.ladder[i]];
        why[0] = '\0';
        rc = openers[rung](e, why);
        if (rc == 0) {
            append(e, "%s on %s", config_fabric_name(rung),
                   rung == CONFIG_FABRIC_UDP ? own_node(e)->address : own_node(e)->device);
            if (above[0] != '\0')
                append(e, "; not %s", above);
            return 0;
        }
        size_t at = strlen(above);
        snprintf(above + at, sizeof(above) - at, "%s%s", at > 0 ? "; not " : "", why);
    }
    snprintf(e->err, sizeof(e->err), "fabric.type: auto: nothing of fabric.ladder works: %.*s",
             (int)sizeof(e->err) - 64, above);
    err[0] = '\0'; /* it is said */
    return rc;
}

/* Where the interface refuses, group frames do not arrive here, and the peers notice (group.c). */
static void join_group(struct engine *e)
{
    struct rrdp_mac group = port_group_mac(e->cfg->cluster_id);
    if (!e->port->reaches_all)
        return;
    e->group_fd = port_join_group(own_node(e)->device, &group);
    if (e->group_fd < 0)
        fprintf(stderr,
                "pando-dataplane: node %u: %s takes no group address (%s): invalidations are sent "
                "one by one\n",
                e->self, own_node(e)->device, strerror(-e->group_fd));
}

static int put_filter(struct engine *e)
{
    struct port_faults f = {
        .seed =
            e->cfg->fabric.faults.seed + e->self, /* the ends of a link must not spoil in step */
        .drop_ppm = e->cfg->fabric.faults.drop_ppm,
        .duplicate_ppm = e->cfg->fabric.faults.duplicate_ppm,
        .reorder_ppm = e->cfg->fabric.faults.reorder_ppm,
        .corrupt_ppm = e->cfg->fabric.faults.corrupt_ppm,
        .delay_ppm = e->cfg->fabric.faults.delay_ppm,
        .delay_max_us = e->cfg->fabric.faults.delay_max_us,
    };
    struct port *outer;
    if ((f.drop_ppm | f.duplicate_ppm | f.reorder_ppm | f.corrupt_ppm | f.delay_ppm) == 0)
        return 0;
    int rc = port_open_faulty(e->port, &f, engine_now, &outer);
    if (rc == 0)
        e->port = outer;
    else
        snprintf(e->err, sizeof(e->err), "fault filter: %s", strerror(-rc));
    return rc;
}

int fabric_open(struct engine *e)
{
    char err[PORT_ERROR_MAX] = "";
    const char *name = config_fabric_name(e->cfg->fabric.type);
    e->fabric[0] = '\0';
    int rc = openers[e->cfg->fabric.type](e, err);
    if (rc != 0) {
        if (err[0] != '\0')
            snprintf(e->err, sizeof(e->err), "%s", err);
        return rc;
    }
    if (e->fabric[0] == '\0')
        append(e, "%s", name);
    if (mode_of(e) != NULL)
        append(e, ": %s", mode_of(e));
    if (e->verbose || strcmp(e->fabric, name) != 0)
        fprintf(stderr, "pando-dataplane: node %u: fabric: %s\n", e->self, e->fabric);
    join_group(e);
    return put_filter(e);
}
