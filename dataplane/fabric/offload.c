/* SPDX-License-Identifier: BSD-3-Clause */
/* What a fabric's port is to be served with, by what the configuration says. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/fabric/fabric.h"

void fabric_open_offload(struct fabric *f, const struct offload_wishes *wishes)
{
    /* Between processes of one machine nothing overtakes anything, and a frame is handed over in
     * less time than it takes to look at it twice; but a fence holds there as well. */
    bool wire = config_on_the_wire(f->cfg->fabric.type);
    struct offload_config c = {
        .port = f->port,
        .ethertype = f->cfg->fabric.ethertype,
        .order = wire,
        .count = wire,
        .wishes = wishes,
    };
    struct rrdp_mac group = port_group_mac(f->cfg->cluster_id);
    fabric_link(f, &c.link);
    c.group_how = f->grouped;
    if (f->grouped != NULL)
        memcpy(c.group_mac, group.addr, sizeof(c.group_mac));
    int rc = f->nodes > 1 ? offload_open(&c, &f->offload) : 0; /* alone: nobody to fence */
    if (rc != 0)
        fprintf(stderr, "%s: offload: %s: nothing is fenced or counted\n", f->who, strerror(-rc));
}
