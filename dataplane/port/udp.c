/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port over a plain UDP socket: needs no right, no interface of its own, no DPDK. One system
 * call receives a burst, one sends what waits for flush; all buffers are made at open. On the wire
 * it is what wire/link.h describes, so it works together with the ports that write that header
 * themselves; but its source port is the socket's own, so all frames of a node are one flow.
 *
 * The kernel has copied a frame when sendmmsg returns (port.h, rule 2), so a page leaves by
 * reference, as a second part of its datagram.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/port.h"

enum {
    UDP_OUT = 64,      /* frames that wait for flush */
    UDP_EXT_MIN = 512, /* below it a copy is cheaper than another part */
    UDP_TRUESIZE = 2,  /* memory that the kernel counts for a byte received, about */
};

struct udp_out {
    struct iovec part[2]; /* in the buffer; by reference */
};

struct udp_port {
    struct port port;
    struct link_config link;
    int fd;
    uint32_t first, waiting; /* of out: sent up to first */
    struct sockaddr_storage to[WIRE_NODES_MAX];
    socklen_t address_bytes;
    struct mmsghdr out[UDP_OUT], in[PORT_BURST];
    struct udp_out out_parts[UDP_OUT];
    struct iovec in_part[PORT_BURST];
    struct sockaddr_storage from[PORT_BURST];
    struct port_udp_counters counters;
    char notice[PORT_ERROR_MAX];
    uint8_t *buffers; /* UDP_OUT + PORT_BURST of RRDP_MTU_MAX bytes */
};

const char *port_udp_failure_name(enum port_udp_failure f)
{
    static const char *const name[PORT_UDP_FAILURES] = {
#define X(ID, text) [PORT_UDP_##ID] = text,
        PORT_UDP_FAILURE_LIST(X)
#undef X
    };
    return (unsigned)f < PORT_UDP_FAILURES ? name[f] : "?";
}

static struct udp_port *self_of(struct port *p)
{
    return (struct udp_port *)p;
}

static const uint8_t *ip_of(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr
                                   : (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr;
}

/* ---- receive ------------------------------------------------------------------------------- */

static enum link_verdict look_at(const struct udp_port *u, const struct mmsghdr *m)
{
    const struct sockaddr_storage *from = m->msg_hdr.msg_name;
    size_t bytes = u->link.kind == LINK_UDP4 ? 4 : 16;
    if (m->msg_len == 0)
        return LINK_SHORT;
    if (m->msg_hdr.msg_flags & MSG_TRUNC)
        return LINK_LENGTH;
    for (uint8_t n = 0; n < u->link.nodes; n++)
        if (memcmp(ip_of(from), u->link.ip[n], bytes) == 0)
            return n == u->link.self ? LINK_ECHO : LINK_OK;
    return LINK_STRANGER;
}

static uint32_t udp_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct udp_port *u = self_of(p);
    uint32_t n = 0;
    max = max < PORT_BURST ? max : PORT_BURST;
    for (uint32_t i = 0; i < max; i++)
        u->in[i].msg_hdr.msg_namelen = sizeof(u->from[i]);
    int got = recvmmsg(u->fd, u->in, max, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        enum link_verdict v = look_at(u, &u->in[i]);
        if (v != LINK_OK) {
            p->counters.rx_foreign++;
            p->counters.rx_refused[v]++;
            continue;
        }
        struct port_frame *f = &out[n++];
        uint8_t ip[16] = {0};
        memcpy(ip, ip_of(&u->from[i]), u->link.kind == LINK_UDP4 ? 4 : 16);
        *f = (struct port_frame){.data = u->in_part[i].iov_base, .len = u->in[i].msg_len};
        link_ip_mac(u->link.kind, ip, f->src.addr);
        p->counters.rx_bytes += f->len;
    }
    p->counters.rx_frames += n;
    return n;
}

/* ---- send ---------------------------------------------------------------------------------- */

static enum port_udp_failure failure_of(int error)
{
    switch (error) {
    case EMSGSIZE:
        return PORT_UDP_TOO_LONG;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
        return PORT_UDP_UNREACHABLE;
    case EPERM:
    case EACCES:
        return PORT_UDP_FILTERED;
    default:
        return PORT_UDP_OTHER;
    }
}

/* What the kernel has no room for now stays; a frame that it will not send is lost, and counted. */
static void udp_flush(struct port *p)
{
    struct udp_port *u = self_of(p);
    while (u->waiting > 0) {
        int sent = sendmmsg(u->fd, u->out + u->first, u->waiting, MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR))
            return;
        if (sent < 0) {
            u->counters.failed[failure_of(errno)]++;
            sent = 1;
        }
        u->first += (uint32_t)sent;
        u->waiting -= (uint32_t)sent;
    }
    u->first = 0;
}

static uint8_t *udp_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    struct udp_port *u = self_of(p);
    (void)mac;
    if (peer >= u->link.nodes) {
        p->counters.tx_unresolved++;
        return NULL;
    }
    if (u->first + u->waiting == UDP_OUT)
        udp_flush(p);
    uint32_t slot = u->first + u->waiting;
    if (slot == UDP_OUT) {
        p->counters.tx_full++;
        return NULL;
    }
    u->out[slot].msg_hdr.msg_name = &u->to[peer];
    return u->out_parts[slot].part[0].iov_base;
}

static void udp_tx_commit_ext(struct port *p, uint32_t len, const uint8_t *ext, uint32_t ext_len)
{
    struct udp_port *u = self_of(p);
    uint32_t slot = u->first + u->waiting++;
    struct iovec *part = u->out_parts[slot].part;
    part[0].iov_len = len;
    part[1] = (struct iovec){.iov_base = (void *)(uintptr_t)ext, .iov_len = ext_len};
    u->out[slot].msg_hdr.msg_iovlen = ext_len > 0 ? 2 : 1;
    p->counters.tx_frames++;
    p->counters.tx_bytes += len + ext_len;
    p->counters.tx_ext_frames += ext_len > 0;
    p->counters.tx_ext_bytes += ext_len;
}

static void udp_tx_commit(struct port *p, uint32_t len)
{
    udp_tx_commit_ext(p, len, NULL, 0);
}

static void udp_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    struct udp_port *u = self_of(p);
    for (uint32_t slot = u->first; slot < u->first + u->waiting; slot++) {
        struct iovec *part = u->out_parts[slot].part;
        uintptr_t at = (uintptr_t)part[1].iov_base, begin = (uintptr_t)bytes;
        if (u->out[slot].msg_hdr.msg_iovlen < 2 || at >= begin + len ||
            begin >= at + part[1].iov_len)
            continue;
        memcpy((uint8_t *)part[0].iov_base + part[0].iov_len, part[1].iov_base, part[1].iov_len);
        part[0].iov_len += part[1].iov_len;
        u->out[slot].msg_hdr.msg_iovlen = 1;
        p->counters.ext_settled++;
        p->counters.tx_copied_bytes += part[1].iov_len;
    }
}

/* ---- sleep --------------------------------------------------------------------------------- */

static int udp_wait_fd(struct port *p)
{
    return self_of(p)->waiting > 0 ? -1 : self_of(p)->fd;
}

/* The socket is readable while datagrams are in it, so nothing has to be switched on. */
static bool udp_arm(struct port *p)
{
    (void)p;
    return true;
}

static void udp_disarm(struct port *p)
{
    (void)p;
}

/* ---- open and close ------------------------------------------------------------------------ */

static void udp_close(struct port *p)
{
    struct udp_port *u = self_of(p);
    if (u->fd >= 0)
        close(u->fd);
    free(u->buffers);
    free(u);
}

static const struct port_ops udp_ops = {
    .name = "udp",
    .rx = udp_rx,
    .tx_reserve = udp_tx_reserve,
    .tx_commit = udp_tx_commit,
    .tx_commit_ext = udp_tx_commit_ext,
    .settle = udp_settle,
    .flush = udp_flush,
    .wait_fd = udp_wait_fd,
    .arm = udp_arm,
    .disarm = udp_disarm,
    .close = udp_close,
};

static void set_address(struct udp_port *u, uint8_t node)
{
    if (u->link.kind == LINK_UDP4) {
        struct sockaddr_in *a = (struct sockaddr_in *)&u->to[node];
        *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(u->link.udp_port)};
        memcpy(&a->sin_addr, u->link.ip[node], 4);
        u->address_bytes = sizeof(*a);
    } else {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&u->to[node];
        *a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(u->link.udp_port)};
        memcpy(&a->sin6_addr, u->link.ip[node], 16);
        u->address_bytes = sizeof(*a);
    }
}

static void lay_out_buffers(struct udp_port *u)
{
    for (uint8_t n = 0; n < u->link.nodes; n++)
        set_address(u, n);
    for (uint32_t i = 0; i < UDP_OUT; i++) {
        u->out_parts[i].part[0].iov_base = u->buffers + (size_t)i * RRDP_MTU_MAX;
        u->out[i].msg_hdr =
            (struct msghdr){.msg_namelen = u->address_bytes, .msg_iov = u->out_parts[i].part};
    }
    for (uint32_t i = 0; i < PORT_BURST; i++) {
        u->in_part[i] = (struct iovec){
            .iov_base = u->buffers + (size_t)(UDP_OUT + i) * RRDP_MTU_MAX, .iov_len = u->port.mtu};
        u->in[i].msg_hdr =
            (struct msghdr){.msg_name = &u->from[i], .msg_iov = &u->in_part[i], .msg_iovlen = 1};
    }
}

/* Room for what all peers may send before they hear from us. */
static void set_receive_buffer(struct udp_port *u, uint8_t credit)
{
    uint64_t want =
        (uint64_t)(u->link.nodes - 1) * WIRE_CLASSES * credit * u->port.mtu * UDP_TRUESIZE;
    int ask = (int)min_u64(want / 2, INT32_MAX / 2), got = 0; /* the kernel doubles it */
    socklen_t len = sizeof(got);
    if (setsockopt(u->fd, SOL_SOCKET, SO_RCVBUFFORCE, &ask, sizeof(ask)) != 0)
        (void)setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &ask, sizeof(ask));
    (void)getsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &got, &len);
    if (got < ask * 2)
        snprintf(u->notice, sizeof(u->notice),
                 "udp fabric: the kernel buffers %d bytes, the peers may send %d before they hear "
                 "from us: frames may be lost; sysctl net.core.rmem_max=%d",
                 got, ask * 2, ask);
}

static int set_options(struct udp_port *u)
{
    int on = 1, dont_fragment = IP_PMTUDISC_DO, dont_fragment6 = IPV6_PMTUDISC_DO, rc;
    if (u->link.kind == LINK_UDP4) /* wire/link.h says why no checksum is needed */
        rc = setsockopt(u->fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)) |
             setsockopt(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont_fragment, sizeof(dont_fragment));
    else
        rc = setsockopt(u->fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, &on, sizeof(on)) |
             setsockopt(u->fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, &on, sizeof(on)) |
             setsockopt(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) |
             setsockopt(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &dont_fragment6,
                        sizeof(dont_fragment6));
    return rc == 0 ? 0 : -errno;
}

static int open_socket(struct udp_port *u, uint8_t credit, char err[PORT_ERROR_MAX])
{
    int family = u->link.kind == LINK_UDP4 ? AF_INET : AF_INET6;
    u->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc = u->fd < 0 ? -errno : set_options(u);
    if (rc == 0 &&
        bind(u->fd, (const struct sockaddr *)&u->to[u->link.self], u->address_bytes) != 0)
        rc = -errno;
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX,
                 "udp fabric: no socket at port %u of node %u's address: %s; see ip addr, ss -ulpn",
                 u->link.udp_port, u->link.self, strerror(-rc));
    else
        set_receive_buffer(u, credit);
    return rc;
}

int port_open_udp(const struct link_config *link, uint16_t mtu, uint8_t credit,
                  struct port **ret_port, char err[PORT_ERROR_MAX])
{
    if ((link->kind != LINK_UDP4 && link->kind != LINK_UDP6) || link->udp_port == 0 ||
        link->nodes > WIRE_NODES_MAX || link->self >= link->nodes || mtu == 0 ||
        mtu > RRDP_MTU_MAX || credit == 0) {
        snprintf(err, PORT_ERROR_MAX,
                 "udp fabric: %s, UDP port %u (1..65535), node %u of %u, MTU %u (1..%d), credit %u",
                 link_kind_name(link->kind), link->udp_port, link->self, link->nodes, mtu,
                 RRDP_MTU_MAX, credit);
        return -EINVAL;
    }
    struct udp_port *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    u->port = (struct port){.ops = &udp_ops,
                            .name = "udp",
                            .mtu = mtu,
                            .ext = PORT_EXT_TAKEN,
                            .ext_min = UDP_EXT_MIN,
                            .copies = {.tx = 1, .rx = 1}};
    u->link = *link;
    u->fd = -1;
    u->buffers = calloc(UDP_OUT + PORT_BURST, RRDP_MTU_MAX);
    int rc = u->buffers == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        lay_out_buffers(u);
        rc = open_socket(u, credit, err);
    }
    if (rc != 0) {
        udp_close(&u->port);
        return rc;
    }
    link_ip_mac(link->kind, link->ip[link->self], u->port.mac.addr);
    *ret_port = &u->port;
    return 0;
}

int port_udp_counters(const struct port *p, struct port_udp_counters *ret_counters)
{
    p = port_below(p);
    if (p == NULL || p->ops != &udp_ops)
        return -EOPNOTSUPP;
    *ret_counters = ((const struct udp_port *)p)->counters;
    return 0;
}

const char *port_udp_notice(const struct port *p)
{
    p = port_below(p);
    if (p == NULL || p->ops != &udp_ops || ((const struct udp_port *)p)->notice[0] == 0)
        return NULL;
    return ((const struct udp_port *)p)->notice;
}
