/* SPDX-License-Identifier: BSD-3-Clause */
/* -numa: a NUMA node of the guest for each Pando node, so that the guest keeps memory where it is
 * used. */
#include <string.h>

#include "hypervisor-glue/run/compose.h"

void numa_check(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *type = opt_get(p, "type"), *memdev = opt_get(p, "memdev");
    c->numa.given = true;
    if (type == NULL || strcmp(type, "node") != 0)
        return;
    if (opt_get(p, "mem") != NULL) {
        compose_refuse(c, o, "memdev= and -object memory-backend-memfd,id=...,size=...,share=on",
                       "mem= makes private memory, which cannot be shared with other nodes");
        c->memory.bad = true;
    }
    if (memdev == NULL)
        return;
    if (c->numa.memdevs < COMPOSE_BACKENDS_MAX)
        c->numa.memdev[c->numa.memdevs++] = memdev;
    else
        c->overflow = true;
}

/* ",cpus=0-1,cpus=4" */
static const char *cpus_of(struct compose *c, uint32_t node)
{
    const struct pando_config *cfg = c->cfg;
    const char *text = "";
    for (uint32_t v = 0; v < cfg->vm.vcpus; v++) {
        uint32_t last = v;
        if (cfg->vm.vcpu_home[v] != node)
            continue;
        while (last + 1 < cfg->vm.vcpus && cfg->vm.vcpu_home[last + 1] == node)
            last++;
        text = last == v ? arena_printf(&c->arena, "%s,cpus=%u", text, v)
                         : arena_printf(&c->arena, "%s,cpus=%u-%u", text, v, last);
        v = last;
    }
    return text;
}

static void add_node(struct compose *c, uint32_t n)
{
    const char *memdev = "";
    if (c->cfg->node[n].range_pages > 0)
        memdev = arena_printf(&c->arena, ",memdev=pando-ram%u", n);
    const char *value = arena_printf(&c->arena, "node,nodeid=%u%s%s", n, cpus_of(c, n), memdev);
    compose_add(c, "-numa", value);
    compose_note(c, "added -numa %s: node %u (%s)", value, n, c->cfg->node[n].name);
}

void numa_finish(struct compose *c)
{
    uint32_t nodes = c->cfg->node_count;
    if (c->numa.given || c->machine.backend != NULL || c->memory.one || c->refusals > 0)
        return;
    for (uint32_t n = 0; n < nodes; n++)
        add_node(c, n);
    for (uint32_t a = 0; a < nodes; a++)
        for (uint32_t b = 0; b < nodes; b++)
            if (a != b)
                compose_add(c, "-numa", arena_printf(&c->arena, "dist,src=%u,dst=%u,val=20", a, b));
    compose_note(c,
                 "added -numa dist, 20 between any two nodes: a page of another host is far away");
}
