/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens the AF_XDP port: what can be known beforehand is checked first, since the kernel's own
 * answers to it are one EINVAL. */
#include <errno.h>
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/af_xdp.h"

_Static_assert(PANDO_ARRAY_LEN(((struct port_af_xdp_counters *)0)->steered) >= STEER_REASONS &&
                   PANDO_ARRAY_LEN(((struct port_af_xdp_counters *)0)->rx) == STEER_SOCKETS,
               "port.h does not include the contract");
_Static_assert(sizeof(((struct steer_config *)0)->address) == sizeof(((struct link_config *)0)->ip),
               "an address for each node");

/* Receive queues of the interface; 1 where the driver does not say. */
static uint32_t queues_of(int fd, struct ifreq *r)
{
    struct ethtool_channels c = {.cmd = ETHTOOL_GCHANNELS};
    r->ifr_data = (void *)&c;
    if (ioctl(fd, SIOCETHTOOL, r) != 0 || c.rx_count + c.combined_count == 0)
        return 1;
    return c.rx_count + c.combined_count;
}

static int check_with(int fd, const struct port_af_xdp *cfg, uint8_t mac[6],
                      char err[PORT_ERROR_MAX])
{
    struct ifreq r = {0};
    const char *name = cfg->interface;
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    if (strlen(name) >= sizeof(r.ifr_name) || ioctl(fd, SIOCGIFMTU, &r) != 0) {
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: there is no interface %s here (see ip link)",
                 name);
        return -ENODEV;
    }
    uint32_t headers = cfg->link != NULL ? link_ip_bytes(cfg->link->kind) : 0;
    if (r.ifr_mtu < (int)(cfg->mtu + headers)) {
        snprintf(
            err, PORT_ERROR_MAX,
            "af_xdp fabric: %s carries %d bytes, fabric.mtu is %u and headers have %u: ip link "
            "set %s mtu %u, or lower fabric.mtu",
            name, r.ifr_mtu, cfg->mtu, headers, name, cfg->mtu + headers);
        return -EMSGSIZE;
    }
    if (ioctl(fd, SIOCGIFFLAGS, &r) != 0 || !(r.ifr_flags & IFF_UP)) {
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: %s is down: ip link set %s up", name, name);
        return -ENETDOWN;
    }
    uint32_t queues = queues_of(fd, &r);
    if (cfg->queue >= queues || cfg->queue >= STEER_QUEUES_MAX) {
        snprintf(err, PORT_ERROR_MAX,
                 "af_xdp fabric: %s has receive queues 0..%u and queue is %u (at most %d): see "
                 "ethtool -l %s",
                 name, queues - 1, cfg->queue, STEER_QUEUES_MAX - 1, name);
        return -ENXIO;
    }
    if (ioctl(fd, SIOCGIFHWADDR, &r) != 0)
        return -errno;
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    return 0;
}

static int check_interface(const struct port_af_xdp *cfg, uint8_t mac[6], char err[PORT_ERROR_MAX])
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: no socket: %s", strerror(errno));
        return -errno;
    }
    int rc = check_with(fd, cfg, mac, err);
    close(fd);
    return rc;
}

static int start_program(struct af_xdp_port *a, const struct port_af_xdp *cfg,
                         char err[PORT_ERROR_MAX])
{
    char why[XDP_ERROR_MAX] = "";
    static const uint32_t encapsulation[LINK_KINDS] = {STEER_ETHERNET, STEER_UDP4, STEER_UDP6};
    const struct link_config *link = &a->link.cfg;
    struct steer_config c = {
        .encapsulation = encapsulation[link->kind],
        .ethertype = htons(cfg->ethertype),
        .udp_port = htons(link->udp_port),
        .self = cfg->self,
        .nodes = cfg->nodes,
        .cluster_tag = rrdp_cluster_tag(cfg->cluster_id),
        .cluster_id = (uint32_t)cfg->cluster_id,
    };
    memcpy(c.mac, a->link.mac, 6);
    if (link->kind != LINK_ETHERNET)
        memcpy(c.address, link->ip, sizeof(c.address));
    int rc = steer_open(&c, &a->steer, why);
    if (rc == 0)
        rc = steer_attach(a->steer, cfg->interface, why);
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: %.*s", PORT_ERROR_MAX - 20, why);
    return rc;
}

static int begin_link(struct af_xdp_port *a, const struct port_af_xdp *cfg, const uint8_t mac[6],
                      char err[PORT_ERROR_MAX])
{
    int rc = link_init(&a->link, cfg->link, cfg->ethertype, cfg->mtu, mac);
    if (rc != 0) {
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: link header of node %u of %u, UDP port %u",
                 cfg->link->self, cfg->link->nodes, cfg->link->udp_port);
        return rc;
    }
    a->header = link_header_bytes(a->link.cfg.kind);
    a->port.reaches_all = a->link.cfg.kind == LINK_ETHERNET;
    link_own_mac(&a->link, a->port.mac.addr);
    if (a->port.reaches_all)
        return 0;
    return neighbours_open(cfg->interface, &a->link, &a->hops, err);
}

/* One descriptor for both sockets: epoll's own is readable when one of them is. */
static int join_sockets(struct af_xdp_port *a, char err[PORT_ERROR_MAX])
{
    int rc = 0;
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (a->epoll < 0)
        rc = -errno;
    for (unsigned i = 0; i < STEER_SOCKETS && rc == 0; i++) {
        struct epoll_event e = {.events = EPOLLIN};
        rc = steer_set_socket(a->steer, a->queue, (enum steer_socket)i, a->xsk.fd[i]);
        if (rc == 0 && epoll_ctl(a->epoll, EPOLL_CTL_ADD, a->xsk.fd[i], &e) != 0)
            rc = -errno;
    }
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: sockets cannot be joined: %s", strerror(-rc));
    return rc;
}

static void say_how(struct af_xdp_port *a)
{
    const char *generic = steer_generic_reason(a->steer);
    snprintf(a->mode, sizeof(a->mode), "%s, %s, %s%s%s%s", generic != NULL ? "generic" : "native",
             a->xsk.zero_copy ? "zero-copy" : "copy",
             a->xsk.multi_buffer ? "several buffers a frame" : "one buffer a frame",
             generic != NULL ? " (" : "", generic != NULL ? generic : "",
             generic != NULL ? ")" : "");
}

int port_open_af_xdp(const struct port_af_xdp *cfg, struct port **ret_port,
                     char err[PORT_ERROR_MAX])
{
    uint8_t mac[6];
    if (cfg->mtu == 0 || cfg->mtu > RRDP_MTU_MAX || cfg->nodes > WIRE_NODES_MAX ||
        cfg->self >= cfg->nodes || (cfg->link != NULL && (unsigned)cfg->link->kind >= LINK_KINDS)) {
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: MTU %u (1..%d), node %u of %u, link kind %d",
                 cfg->mtu, RRDP_MTU_MAX, cfg->self, cfg->nodes,
                 cfg->link != NULL ? (int)cfg->link->kind : LINK_ETHERNET);
        return -EINVAL;
    }
    int rc = check_interface(cfg, mac, err);
    if (rc != 0)
        return rc;
    struct af_xdp_port *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->port = (struct port){.ops = &af_xdp_ops, .name = "af_xdp", .mtu = cfg->mtu};
    a->xsk = (struct xsk){.fd = {-1, -1}};
    a->queue = cfg->queue;
    a->epoll = -1;
    rc = begin_link(a, cfg, mac, err);
    /* The program first: some drivers make the queue fit for AF_XDP only with one attached. */
    if (rc == 0)
        rc = start_program(a, cfg, err);
    if (rc == 0)
        rc = xsk_open(&a->xsk, cfg->interface, cfg->queue, cfg->mtu + 64 <= AF_XDP_STRIDE, err);
    if (rc == 0) {
        af_xdp_begin(a);
        rc = join_sockets(a, err);
    }
    if (rc != 0) {
        af_xdp_ops.close(&a->port);
        return rc;
    }
    say_how(a);
    if (!a->xsk.zero_copy) /* see port.h */
        a->port.copies = (struct port_copies){.tx = 1, .rx = 1};
    *ret_port = &a->port;
    return 0;
}

static const struct af_xdp_port *inside(const struct port *p)
{
    p = port_below(p);
    return p != NULL && p->ops == &af_xdp_ops ? (const struct af_xdp_port *)p : NULL;
}

const char *port_af_xdp_mode(const struct port *p)
{
    return inside(p) != NULL ? inside(p)->mode : NULL;
}

int port_af_xdp_error(const struct port *p)
{
    return inside(p) != NULL ? inside(p)->error : 0;
}

struct port_af_xdp_reason port_af_xdp_reason(unsigned i)
{
    struct port_af_xdp_reason r = {0};
    if (i < STEER_REASONS)
        r = (struct port_af_xdp_reason){steer_reason_name((enum steer_reason)i),
                                        steer_reason_refuses((enum steer_reason)i)};
    return r;
}

int port_af_xdp_counters(const struct port *p, struct port_af_xdp_counters *ret_counters)
{
    const struct af_xdp_port *a = inside(p);
    struct port_af_xdp_counters c = {0};
    if (a == NULL)
        return -EOPNOTSUPP;
    steer_counters(a->steer, c.steered);
    for (unsigned i = 0; i < STEER_SOCKETS; i++) {
        struct xdp_statistics s = {0};
        socklen_t len = sizeof(s);
        (void)getsockopt(a->xsk.fd[i], SOL_XDP, XDP_STATISTICS, &s, &len);
        c.dropped += s.rx_dropped + s.rx_invalid_descs;
        c.ring_full += s.rx_ring_full;
        c.no_buffer += s.rx_fill_ring_empty_descs;
        c.tx_invalid += s.tx_invalid_descs;
        c.rx[i] = a->rx_by_socket[i];
    }
    c.assembled = a->assembled;
    *ret_counters = c;
    return 0;
}
