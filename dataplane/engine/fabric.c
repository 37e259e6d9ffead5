/* SPDX-License-Identifier: BSD-3-Clause */
/* From the configuration to a port: DPDK's environment, which fabric, behind which fault filter. */
#include <errno.h>
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

/* Packet memory in hugepages where there are some; the shm fabric has no packet memory. */
static int choose_memory(struct engine *e, bool *ret_huge)
{
    bool some = port_eal_hugepages();
    *ret_huge = false;
    if (e->cfg->fabric.type == CONFIG_FABRIC_SHM || e->cfg->fabric.hugepages == CONFIG_HUGE_OFF)
        return 0;
    if (!some && e->cfg->fabric.hugepages == CONFIG_HUGE_ON) {
        snprintf(e->err, sizeof(e->err),
                 "fabric.hugepages is on, and 64 MiB of hugepages are not free: sysctl "
                 "vm.nr_hugepages=64, or set it to auto");
        return -ENOMEM;
    }
    if (!some)
        fprintf(stderr,
                "pando-dataplane: node %u: no free hugepages: packet memory is ordinary memory. It "
                "costs TLB misses on "
                "large transfers, and real NICs cannot use it; remedy: sysctl vm.nr_hugepages=64\n",
                e->self);
    *ret_huge = some;
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
    bool huge;
    int rc = choose_memory(e, &huge);
    if (rc != 0)
        return rc;
    setenv("RUNTIME_DIRECTORY", e->cfg->run_dir, 1);
    snprintf(prefix, sizeof(prefix), "node%u", e->self);
    rc = port_eal_init(huge, core, prefix, true, err);
    e->eal = rc == 0;
    if (rc != 0)
        snprintf(e->err, sizeof(e->err), "%s", err);
    return rc;
}

void fabric_close(struct engine *e)
{
    char dir[CONFIG_PATH_MAX + 8];
    e->port = port_close(e->port);
    if (!e->eal)
        return;
    port_eal_close();
    snprintf(dir, sizeof(dir), "%s/dpdk", e->cfg->run_dir);
    (void)rmdir(dir); /* the last one to leave */
}

static int open_port(struct engine *e, char err[PORT_ERROR_MAX])
{
    const struct pando_config *c = e->cfg;
    const struct config_node *n = own_node(e);
    char dir[CONFIG_PATH_MAX + 8];
    switch (c->fabric.type) {
    case CONFIG_FABRIC_SHM:
        snprintf(dir, sizeof(dir), "%s/ring", c->run_dir);
        return port_open_shm(dir, e->self, e->nodes, c->fabric.mtu, &e->port, err);
    case CONFIG_FABRIC_MEMIF:
        snprintf(dir, sizeof(dir), "%s/memif", c->run_dir);
        return port_open_memif(dir, e->self, e->nodes, c->fabric.ethertype, c->fabric.mtu, &e->port,
                               err);
    case CONFIG_FABRIC_AF_PACKET:
        return port_open_af_packet(n->device, c->fabric.ethertype, c->fabric.mtu, &e->port, err);
    }
    snprintf(err, PORT_ERROR_MAX, "fabric: no such type");
    return -EINVAL;
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
    int rc = open_port(e, err);
    if (rc != 0) {
        snprintf(e->err, sizeof(e->err), "%s", err);
        return rc;
    }
    return put_filter(e);
}
