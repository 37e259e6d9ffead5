/* SPDX-License-Identifier: BSD-3-Clause */
/* Every fabric that this machine and this build have, between the two sides. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/port/eal.h"
#include "perf/rtt.h"

const char *const rtt_fabric_names[RTT_FABRICS] = {"shm", "memif", "af_packet", "af_xdp"};

_Noreturn void rtt_fail(struct rtt_side *s, const char *what)
{
    fprintf(stderr, "pando-perf: %s\n", what);
    atomic_store(&s->shared->failed, 1);
    _exit(1);
}

static int open_xdp(struct rtt_side *s, struct port **ret_port, char err[PORT_ERROR_MAX])
{
#ifdef PANDO_HAVE_AF_XDP
    struct port_af_xdp c = {.interface = s->options->middle ? "rtt0" : "rtt1",
                            .ethertype = RTT_ETHERTYPE_XDP,
                            .mtu = s->options->mtu,
                            .self = s->side,
                            .nodes = 2,
                            .cluster_id = RTT_CLUSTER};
    return port_open_af_xdp(&c, ret_port, err);
#else
    (void)s;
    (void)ret_port;
    snprintf(err, PORT_ERROR_MAX, "built without libbpf, clang or bpftool");
    return -EOPNOTSUPP;
#endif
}

static int open_port(struct rtt_side *s, enum rtt_fabric fabric, struct port **ret_port,
                     char err[PORT_ERROR_MAX])
{
    uint16_t mtu = s->options->mtu;
    switch (fabric) {
    case RTT_SHM:
        return port_open_shm(s->dir, s->side, 2, mtu, ret_port, err);
    case RTT_MEMIF:
        return port_open_memif(s->dir, s->side, 2, RTT_ETHERTYPE, mtu, ret_port, err);
    case RTT_AF_PACKET:
        return port_open_af_packet("rtt0", NULL, RTT_ETHERTYPE, mtu, ret_port, err);
    default:
        return open_xdp(s, ret_port, err);
    }
}

/* NULL: one of the sides cannot. */
static struct rtt_port *open_fabric(struct rtt_side *s, enum rtt_fabric fabric)
{
    char err[PORT_ERROR_MAX] = "", line[PORT_ERROR_MAX + 64];
    struct port *p = NULL;
    if (open_port(s, fabric, &p, err) != 0) {
        atomic_fetch_or(&s->shared->missing, 1u << fabric);
        fprintf(stderr, "pando-perf: %s is left out: %s\n", rtt_fabric_names[fabric], err);
    }
    rtt_twin_barrier(s);
    if (atomic_load(&s->shared->missing) & 1u << fabric) {
        port_close(p);
        return NULL;
    }
    struct rtt_port *r = rtt_port_new(s, p);
    if (r == NULL || !rtt_port_connect(s, r)) {
        snprintf(line, sizeof(line), "%s: no connection within 10 s", rtt_fabric_names[fabric]);
        rtt_fail(s, line);
    }
    rtt_twin_barrier(s);
    return r;
}

void rtt_fabrics_open(struct rtt_side *s, uint32_t wanted, struct rtt_port *ret_ports[RTT_FABRICS])
{
    char err[PORT_ERROR_MAX] = "", prefix[64];
    snprintf(prefix, sizeof(prefix), "pando-rtt-%d-%u", getppid(), s->side);
    if (port_eal_init(s->options->huge, PORT_EAL_ANY_CORE, NULL, prefix, false, err) != 0)
        rtt_fail(s, err);
    for (unsigned i = 0; i < RTT_FABRICS; i++)
        ret_ports[i] = wanted & 1u << i ? open_fabric(s, i) : NULL;
}

void rtt_fabrics_close(struct rtt_port *ports[RTT_FABRICS])
{
    for (unsigned i = 0; i < RTT_FABRICS; i++)
        rtt_port_free(ports[i]);
    port_eal_close();
}
