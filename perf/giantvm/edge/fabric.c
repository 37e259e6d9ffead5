/* SPDX-License-Identifier: BSD-3-Clause */
/* fabric.h's functions for TCP between the nodes' addresses. */
#include "dataplane/fabric/fabric.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "dataplane/host/thread.h"
#include "perf/giantvm/edge/tcp.h"

/* ---- in the port's place ------------------------------------------------------------------- */

static int wait_fd(struct port *p)
{
    return ((const struct tcp *)p)->all_fd;
}

/* A page that is awaited is polled for, with sleeps of receive.c's. */
static bool arm(struct port *p)
{
    struct tcp *t = (struct tcp *)p;
    if (tcp_paced(t))
        return false;
    tcp_watch_answers(t, true);
    return true;
}

static void disarm(struct port *p)
{
    (void)p; /* readable until it has been read */
}

static void close_port(struct port *p)
{
    tcp_close((struct tcp *)p);
    free(p);
}

static const struct port_ops tcp_ops = {
    .name = "tcp", .wait_fd = wait_fd, .arm = arm, .disarm = disarm, .close = close_port};

/* ---- fabric.h ------------------------------------------------------------------------------ */

void fabric_init(struct fabric *f, const struct pando_config *cfg, uint8_t self, const char *who)
{
    *f = (struct fabric){.cfg = cfg,
                         .self = self,
                         .nodes = (uint8_t)cfg->node_count,
                         .group_fd = -1,
                         .claim_fd = -1};
    snprintf(f->who, sizeof(f->who), "%s", who);
}

static int unfit(char err[FABRIC_TEXT_MAX], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int unfit(char err[FABRIC_TEXT_MAX], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = snprintf(err, FABRIC_TEXT_MAX, "the GiantVM-style baseline: ");
    vsnprintf(err + n, FABRIC_TEXT_MAX - (size_t)n, fmt, args);
    va_end(args);
    return -EINVAL;
}

/* The configuration is production's; what has no meaning here is refused, not ignored. The glue
 * socket and the TCP port show that no other process is this node. */
int fabric_claim(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    const struct pando_config *c = f->cfg;
    if (c->fabric.type != CONFIG_FABRIC_UDP)
        return unfit(err, "fabric.type: %s; allowed: udp, for TCP between the nodes' addresses",
                     config_fabric_name(c->fabric.type));
    if (c->node_count > FRAME_NODES_MAX)
        return unfit(err, "nodes: %u; allowed: at most %d", c->node_count, FRAME_NODES_MAX);
    if (c->vm.ram_pages > FRAME_PAGES_MAX)
        return unfit(err, "vm.ram_mib: %llu; allowed: at most %llu",
                     (unsigned long long)(c->vm.ram_pages / 256),
                     (unsigned long long)(FRAME_PAGES_MAX / 256));
    if (c->fabric.faults.drop_ppm + c->fabric.faults.duplicate_ppm + c->fabric.faults.reorder_ppm +
            c->fabric.faults.corrupt_ppm + c->fabric.faults.delay_ppm !=
        0)
        return unfit(err, "fabric.faults; allowed: none, for TCP mends them");
    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->node[i].resident_pages != 0)
            return unfit(err, "nodes[%u].resident_mib: %llu; allowed: 0, for it cannot evict", i,
                         (unsigned long long)(c->node[i].resident_pages / 256));
    return 0;
}

/* No DPDK here, and so no telemetry. */
int fabric_start_eal(struct fabric *f, bool always, char err[FABRIC_TEXT_MAX])
{
    const struct config_node *n = config_node_of(f->cfg, f->self);
    (void)always;
    if (n->dataplane_core == -1)
        return 0;
    int rc = host_thread_pin(0, n->dataplane_core);
    if (rc != 0)
        snprintf(err, FABRIC_TEXT_MAX, "dataplane_core %d: %s", n->dataplane_core, strerror(-rc));
    return rc;
}

int fabric_open(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    struct tcp *t = calloc(1, sizeof(*t));
    struct timespec now;
    if (t == NULL) {
        snprintf(err, FABRIC_TEXT_MAX, "out of memory");
        return -ENOMEM;
    }
    t->cfg = f->cfg;
    t->self = f->self;
    t->nodes = f->nodes;
    t->sleeps = tcp_receiver_sleeps;
    t->listen_fd = t->served_fd = t->answers_fd = t->all_fd = t->sleep_fd = -1;
    t->port = (struct port){.ops = &tcp_ops,
                            .mtu = f->cfg->fabric.mtu,
                            .ext = PORT_EXT_NOT_OFFERED,
                            .copies = {.tx = 1, .rx = 1}};
    snprintf(t->port.name, sizeof(t->port.name), "tcp");
    for (uint32_t i = 0; i < FRAME_NODES_MAX; i++)
        t->mine[i].fd = t->its[i].fd = -1;
    clock_gettime(CLOCK_REALTIME, &now);
    t->boot = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    f->port = &t->port;
    int rc = tcp_open(t, err);
    if (rc != 0)
        return rc;
    /* A sleep of a microsecond is to be one, as usleep_range's of equal bounds is in the kernel. */
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    snprintf(f->text, sizeof(f->text), "TCP, GiantVM-style baseline: %s",
             t->sleeps ? "the receiver sleeps between polls" : "the receiver spins");
    return 0;
}

void fabric_open_offload(struct fabric *f, const struct offload_wishes *wishes)
{
    (void)f; /* nothing below: f->offload stays NULL */
    (void)wishes;
}

bool fabric_look(struct fabric *f)
{
    (void)f;
    return false; /* there is no other fabric to change to */
}

void fabric_transport(const struct fabric *f, struct rrdp_config *ret_config)
{
    *ret_config = (struct rrdp_config){.self = f->self,
                                       .nodes = f->nodes,
                                       .cluster_id = f->cfg->cluster_id,
                                       .config_hash = f->cfg->hash,
                                       .mtu = f->cfg->fabric.mtu};
}

void fabric_close(struct fabric *f)
{
    f->port = port_close(f->port);
}
