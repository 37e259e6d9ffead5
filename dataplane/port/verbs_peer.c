/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers: hellos over a UDP socket at the node's address, and what follows from them on the device.
 * dataplane/rdma decides; this does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/verbs_port.h"

#define SECOND UINT64_C(1000000000)

enum {
    DATAGRAMS = 4 * WIRE_NODES_MAX, /* looked at in one go */
    EVENTS = 64,
    GOODBYES = 3, /* a goodbye is not answered, and may be lost */
    GOODBYE_US = 1000,
    HOP_LIMIT = 64,
    RNR_TIMER = 12, /* 0.64 ms until a peer that had no buffer is asked again */
};

/* ---- datagrams out ------------------------------------------------------------------------- */

static void send_hello(struct verbs_port *v, uint8_t n, enum rdma_phase phase)
{
    const struct verbs_peer *peer = &v->peer[n];
    uint8_t bytes[RDMA_HELLO_MAX];
    struct rdma_hello h = {.from = v->self,
                           .to = n,
                           .cluster_id = v->cluster_id,
                           .mtu = (uint8_t)v->attr.active_mtu,
                           .lid = v->attr.lid,
                           .ud_number = v->lane[VERBS_UD].qp->qp_num,
                           .ud_key = v->ud_key,
                           .blocks = peer->keys};
    memcpy(h.gid, v->gid.raw, RDMA_GID);
    for (uint8_t i = 0; i < peer->keys; i++)
        h.block[i] = (struct rdma_block){.base_page = v->block[i].base_page,
                                         .pages = v->block[i].pages,
                                         .address = (uintptr_t)v->block[i].alias,
                                         .key = peer->key[i]->rkey};
    rdma_hello_fill(&v->cfg, &peer->rdma, phase, &h);
    size_t len = rdma_hello_write(&h, bytes);
    if (sendto(v->socket, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *)&peer->at, v->address_bytes) == (ssize_t)len)
        v->counters.hellos_tx++;
}

/* ---- what dataplane/rdma says -------------------------------------------------------------- */

static struct ibv_ah_attr way_to(const struct verbs_port *v, const struct rdma_hello *theirs)
{
    struct ibv_ah_attr way = {.port_num = v->device_port, .dlid = theirs->lid};
    if (v->attr.link_layer == IBV_LINK_LAYER_ETHERNET) {
        way.is_global = 1;
        memcpy(way.grh.dgid.raw, theirs->gid, RDMA_GID);
        way.grh.sgid_index = (uint8_t)v->gid_index;
        way.grh.hop_limit = HOP_LIMIT;
    }
    return way;
}

static uint32_t mtu_with(const struct verbs_port *v, const struct rdma_hello *theirs)
{
    return (uint32_t)min_u64((uint64_t)v->attr.active_mtu, theirs->mtu);
}

static uint32_t bytes_of_mtu(uint32_t mtu)
{
    return 128u << mtu;
}

static void forget(struct verbs_port *v, struct verbs_peer *peer)
{
    if (peer->ah == NULL)
        return;
    verbs_flush(&v->port); /* those that the device has not taken by then are left out */
    v->api.destroy_ah(peer->ah);
    peer->ah = NULL;
}

static void learn(struct verbs_port *v, uint8_t n)
{
    struct verbs_peer *peer = &v->peer[n];
    struct ibv_ah_attr way = way_to(v, &peer->rdma.theirs);
    forget(v, peer);
    peer->ah = v->api.create_ah(v->pd, &way);
    peer->ud_max = bytes_of_mtu(mtu_with(v, &peer->rdma.theirs));
    if (peer->ah == NULL)
        fprintf(stderr, "%s: no way to node %u: %s\n", v->port.name, n, strerror(errno));
}

/* Invariant 2 of rdma.h, in this order. */
static void end_connection(struct verbs_port *v, uint8_t n)
{
    struct verbs_lane *lane = &v->lane[n];
    struct ibv_qp_attr error = {.qp_state = IBV_QPS_ERR};
    if (lane->qp == NULL)
        return;
    (void)v->api.modify_qp(lane->qp, &error, IBV_QP_STATE); /* may be in error already */
    if (v->api.destroy_qp(lane->qp) != 0)
        verbs_die(v, "%s: the connection to node %u cannot be ended: %s", v->device, n,
                  strerror(errno));
    lane->qp = NULL;
    verbs_keys_end(v, n);
    verbs_lane_reset(v, lane);
}

/* Another one than before, or a queue pair with the same number could not be told apart. */
static uint32_t first_packet(uint32_t before)
{
    uint32_t packet = before;
    while (packet == before) {
        if (getrandom(&packet, sizeof(packet), 0) != sizeof(packet))
            packet = before + (uint32_t)verbs_now();
        packet &= RDMA_NUMBER_MAX;
    }
    return packet;
}

static unsigned step(struct verbs_port *v, uint8_t n, const struct rdma_event *ev)
{
    return rdma_step(&v->cfg, &v->peer[n].rdma, verbs_now(), ev);
}

static unsigned make_connection(struct verbs_port *v, uint8_t n)
{
    struct verbs_lane *lane = &v->lane[n];
    lane->qp = v->peer[n].ah != NULL ? verbs_make_pair(v) : NULL;
    if (lane->qp == NULL) {
        verbs_die(v, "%s: no connection to node %u can be made: %s", v->device, n, strerror(errno));
        return step(v, n, &(struct rdma_event){.type = RDMA_EVENT_BROKE});
    }
    verbs_keys_make(v, n);
    v->peer[n].why = NULL;
    v->peer[n].first_packet = first_packet(v->peer[n].first_packet);
    return step(v, n,
                &(struct rdma_event){.type = RDMA_EVENT_MADE,
                                     .number = lane->qp->qp_num,
                                     .packet = v->peer[n].first_packet});
}

static unsigned connect_pair(struct verbs_port *v, uint8_t n)
{
    const struct rdma_hello *theirs = &v->peer[n].rdma.theirs;
    struct ibv_qp *qp = v->lane[n].qp;
    struct ibv_qp_attr receive = {.qp_state = IBV_QPS_RTR,
                                  .path_mtu = (enum ibv_mtu)mtu_with(v, theirs),
                                  .dest_qp_num = theirs->number,
                                  .rq_psn = theirs->packet,
                                  .max_dest_rd_atomic = 1,
                                  .min_rnr_timer = RNR_TIMER,
                                  .ah_attr = way_to(v, theirs)};
    struct ibv_qp_attr send = {.qp_state = IBV_QPS_RTS,
                               .timeout = v->timeout,
                               .retry_cnt = VERBS_RETRIES,
                               .rnr_retry = VERBS_RNR_ENDLESS,
                               .sq_psn = v->peer[n].rdma.packet,
                               .max_rd_atomic = 1};
    int rc = v->api.modify_qp(qp, &receive,
                              IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    if (rc == 0)
        rc = v->api.modify_qp(qp, &send,
                              IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
    if (rc == 0)
        return 0;
    verbs_die(v, "%s: no connection to node %u: %s", v->device, n, strerror(rc));
    return step(v, n, &(struct rdma_event){.type = RDMA_EVENT_BROKE});
}

/* Actions in their order; what one leads to is added to what is left. */
static void perform(struct verbs_port *v, uint8_t n, unsigned todo)
{
    struct verbs_peer *peer = &v->peer[n];
    v->counters.refused[RDMA_REFUSAL_STALE] += (todo & RDMA_DO_STALE) != 0;
    if (todo & RDMA_DO_END)
        end_connection(v, n);
    if (todo & RDMA_DO_FORGET)
        forget(v, peer);
    if (todo & RDMA_DO_LEARN)
        learn(v, n);
    if (todo & RDMA_DO_MAKE)
        todo |= make_connection(v, n);
    if (todo & RDMA_DO_CONNECT)
        todo |= connect_pair(v, n);
    if (v->peer[n].rdma.number == 0 && v->lane[n].qp != NULL)
        end_connection(v, n); /* of one that could not be made or connected */
    if (todo & RDMA_DO_PROBE && v->lane[n].qp != NULL)
        verbs_probe(v, n);
    if (todo & RDMA_DO_HELLO)
        send_hello(v, n, RDMA_LIVE);
    if (todo & RDMA_DO_FAIL)
        verbs_die(v, "node %u: %s%s%s", n, rdma_failure_name(peer->rdma.failure),
                  peer->why != NULL ? ": " : "", peer->why != NULL ? peer->why : "");
}

void verbs_peer_event(struct verbs_port *v, uint8_t peer, enum rdma_event_type type)
{
    perform(v, peer, step(v, peer, &(struct rdma_event){.type = type}));
}

/* Its connection and keys end, so no WRITE of its lands; without a way to it, its short frames are
 * a stranger's; and as its hellos are dropped, it gets neither again. */
int verbs_fence(struct port *p, uint8_t node, bool fenced)
{
    struct verbs_port *v = verbs_of(p);
    if (node >= v->nodes || node == v->self)
        return -EINVAL;
    v->fenced = fenced ? v->fenced | bit64(node) : v->fenced & ~bit64(node);
    if (fenced)
        verbs_peer_event(v, node, RDMA_EVENT_FENCED);
    return 0;
}

/* ---- datagrams in -------------------------------------------------------------------------- */

static const uint8_t *ip_of(const struct sockaddr_storage *a, size_t *ret_len)
{
    *ret_len = a->ss_family == AF_INET ? 4 : 16;
    return a->ss_family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr
                                   : (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr;
}

/* The node with this address; v->nodes: none. */
static uint8_t node_at(const struct verbs_port *v, const struct sockaddr_storage *a)
{
    size_t len;
    const uint8_t *ip = ip_of(a, &len);
    uint8_t n = 0;
    while (n < v->nodes && (n == v->self || a->ss_family != v->peer[n].at.ss_family ||
                            memcmp(ip, v->link.ip[n], len) != 0))
        n++;
    return n;
}

/* A frame of the transport's, whole and of this cluster, that came by UDP: its sender is on a
 * fabric that encapsulates. */
static bool is_frame(const struct verbs_port *v, const uint8_t *bytes, size_t len, uint8_t from)
{
    struct wire_rrdp h;
    const uint8_t *data;
    return wire_rrdp_unpack(bytes, len, (uint8_t)v->cluster_id, &h, &data) == WIRE_OK &&
           h.src == from && (h.dst == v->self || h.dst == WIRE_DST_GROUP);
}

static bool read_hello(struct verbs_port *v)
{
    uint8_t bytes[RRDP_MTU_MAX];
    struct sockaddr_storage from = {0};
    socklen_t from_len = sizeof(from);
    struct rdma_hello h;
    ssize_t len = recvfrom(v->socket, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from,
                           &from_len);
    if (len < 0)
        return errno == ECONNREFUSED; /* the error queue says whose */
    enum rdma_refusal r = rdma_hello_read(bytes, (size_t)len, v->self, v->nodes, v->cluster_id, &h);
    uint8_t n = node_at(v, &from);
    if (r == RDMA_REFUSAL_OK && n != h.from)
        r = RDMA_REFUSAL_STRANGER;
    if (n < v->nodes && (v->fenced >> n & 1) != 0)
        r = RDMA_REFUSAL_FENCED;
    else if (r != RDMA_REFUSAL_OK && n < v->nodes && is_frame(v, bytes, (size_t)len, n))
        verbs_peer_event(v, n, RDMA_EVENT_ELSEWHERE);
    if (r != RDMA_REFUSAL_OK) {
        v->counters.refused[r]++;
        return true;
    }
    v->counters.hellos_rx++;
    perform(v, h.from,
            step(v, h.from, &(struct rdma_event){.type = RDMA_EVENT_HELLO, .hello = &h}));
    return true;
}

/* What hosts answer to our hellos: nobody is there. */
static bool read_error(struct verbs_port *v)
{
    uint8_t bytes[RDMA_HELLO_MAX], control[512];
    struct sockaddr_storage to = {0};
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof(to),
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    if (recvmsg(v->socket, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
        struct sock_extended_err e;
        bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!is_error || c->cmsg_len < CMSG_LEN(sizeof(e)))
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        uint8_t n = node_at(v, &to);
        if (e.ee_errno == ECONNREFUSED && n < v->nodes)
            verbs_peer_event(v, n, RDMA_EVENT_REFUSED);
    }
    return true;
}

/* ---- the device's own events --------------------------------------------------------------- */

static bool read_device_event(struct verbs_port *v)
{
    struct ibv_async_event ev;
    if (v->api.get_async_event(v->context, &ev) != 0)
        return false;
    enum ibv_event_type type = ev.event_type;
    struct ibv_qp *qp = ev.element.qp; /* may be gone: its address is all that is looked at */
    v->api.ack_async_event(&ev);
    switch (type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
        for (unsigned i = 0; i <= VERBS_UD; i++)
            if (v->lane[i].qp == qp && !v->lane[i].broken) {
                v->lane[i].broken = true;
                v->lane[i].status = IBV_WC_FATAL_ERR;
            }
        break;
    case IBV_EVENT_DEVICE_FATAL:
    case IBV_EVENT_CQ_ERR:
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_LID_CHANGE:
        verbs_die(v, "%s: %s", v->device, v->api.event_type_str(type));
        break;
    case IBV_EVENT_GID_CHANGE: /* of any entry: an address more or less */
        if (!verbs_gid_is_there(v))
            verbs_die(v, "%s: it has lost the address of node %u", v->device, v->self);
        break;
    default: /* a port that is down may come up again before the connections give up */
        break;
    }
    return true;
}

/* rxe gives a UD queue pair up for a packet that the interface had no room for. */
static void mend_ud(struct verbs_port *v)
{
    const char *why = v->api.wc_status_str(v->lane[VERBS_UD].status);
    uint64_t now = verbs_now();
    if (now - v->ud_reset_at > SECOND)
        v->ud_resets = 0;
    if (v->ud_resets++ == 0)
        v->ud_reset_at = now;
    v->counters.ud_resets++;
    if (v->ud_resets > VERBS_UD_RESETS || verbs_reset_ud(v) != 0)
        verbs_die(v, "%s: its UD queue pair: %s", v->device, why);
}

static void look_at_lanes(struct verbs_port *v)
{
    if (v->lane[VERBS_UD].broken)
        mend_ud(v);
    for (uint8_t n = 0; n < v->nodes; n++) {
        if (!v->lane[n].broken)
            continue;
        v->peer[n].why = v->api.wc_status_str(v->lane[n].status);
        verbs_peer_event(v, n, RDMA_EVENT_BROKE);
    }
}

void verbs_attend(struct verbs_port *v)
{
    v->attend = false;
    v->polls = 0;
    for (unsigned i = 0; i < EVENTS && read_device_event(v); i++)
        ;
    verbs_reap(v);
    look_at_lanes(v);
    verbs_memory_attend(v);
    /* Errors first: a peer that starts anew says so behind them. */
    for (unsigned i = 0; i < DATAGRAMS && read_error(v); i++)
        ;
    for (unsigned i = 0; i < DATAGRAMS && read_hello(v); i++)
        ;
    for (uint8_t n = 0; n < v->nodes; n++)
        if (n != v->self)
            verbs_peer_event(v, n, RDMA_EVENT_TICK);
}

/* ---- open and close ------------------------------------------------------------------------ */

static void set_address(struct verbs_port *v, uint8_t node)
{
    struct verbs_peer *peer = &v->peer[node];
    if (v->link.kind == LINK_UDP4) {
        struct sockaddr_in *a = (struct sockaddr_in *)&peer->at;
        *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(v->link.udp_port)};
        memcpy(&a->sin_addr, v->link.ip[node], 4);
        v->address_bytes = sizeof(*a);
    } else {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&peer->at;
        *a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(v->link.udp_port)};
        memcpy(&a->sin6_addr, v->link.ip[node], 16);
        if (IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr))
            a->sin6_scope_id = v->interface;
        v->address_bytes = sizeof(*a);
    }
    link_ip_mac(v->link.kind, v->link.ip[node], peer->mac.addr);
}

static bool watch(struct verbs_port *v, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(v->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static int open_socket(struct verbs_port *v)
{
    bool v4 = v->link.kind == LINK_UDP4;
    int on = 1;
    v->socket = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (v->socket < 0 ||
        setsockopt(v->socket, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &on,
                   sizeof(on)) != 0 ||
        (!v4 && setsockopt(v->socket, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
        bind(v->socket, (const struct sockaddr *)&v->peer[v->self].at, v->address_bytes) != 0)
        return -errno;
    return 0;
}

int verbs_peers_open(struct verbs_port *v, char err[PORT_ERROR_MAX])
{
    for (uint8_t n = 0; n < v->nodes; n++)
        set_address(v, n);
    v->port.mac = v->peer[v->self].mac;
    int rc = open_socket(v);
    if (rc != 0) {
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: no socket at port %u of node %u's address: %s; see ip addr, ss "
                 "-ulpn",
                 v->link.udp_port, v->self, strerror(-rc));
        return rc;
    }
    v->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (v->epoll < 0 || !watch(v, v->socket) || !watch(v, v->channel->fd) ||
        !watch(v, v->context->async_fd)) {
        rc = -errno;
        snprintf(err, PORT_ERROR_MAX, "verbs fabric: epoll: %s", strerror(-rc));
        return rc;
    }
    for (uint8_t n = 0; n < v->nodes; n++)
        if (n != v->self)
            verbs_peer_event(v, n, RDMA_EVENT_START);
    return 0;
}

/* First nothing can arrive any more, then the peers are told so. */
void verbs_peers_close(struct verbs_port *v)
{
    for (uint8_t n = 0; n < v->nodes; n++) {
        end_connection(v, n);
        forget(v, &v->peer[n]);
    }
    for (unsigned i = 0; v->socket >= 0 && v->epoll >= 0 && i < GOODBYES; i++) {
        if (i > 0)
            usleep(GOODBYE_US);
        for (uint8_t n = 0; n < v->nodes; n++)
            if (n != v->self)
                send_hello(v, n, v->dead[0] != '\0' ? RDMA_BROKEN : RDMA_CLOSED);
    }
    if (v->socket >= 0)
        close(v->socket);
    if (v->epoll >= 0)
        close(v->epoll);
}
