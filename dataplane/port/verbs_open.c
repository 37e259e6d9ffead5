/* SPDX-License-Identifier: BSD-3-Clause */
/* The device that the configuration means, and all that is made of it before the first frame. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/verbs_port.h"

#define MS UINT64_C(1000000)

enum { ADDRESS_TEXT = INET6_ADDRSTRLEN, NAMES_MAX = 96, RXE_VENDOR = 0xFFFFFF };

/* ---- the device ---------------------------------------------------------------------------- */

static void address_text(const struct verbs_port *v, char out[ADDRESS_TEXT])
{
    int family = v->link.kind == LINK_UDP4 ? AF_INET : AF_INET6;
    if (inet_ntop(family, v->link.ip[v->self], out, ADDRESS_TEXT) == NULL)
        out[0] = '\0';
}

/* The address as a GID of RoCE v2: IPv4's is mapped into IPv6. */
static union ibv_gid gid_of_address(const struct verbs_port *v)
{
    union ibv_gid gid = {.raw = {[10] = 0xFF, [11] = 0xFF}};
    if (v->link.kind == LINK_UDP4)
        memcpy(gid.raw + 12, v->link.ip[v->self], 4);
    else
        memcpy(gid.raw, v->link.ip[v->self], 16);
    return gid;
}

static bool has_gid(const struct verbs_port *v, int index)
{
    struct ibv_gid_entry entry;
    bool roce = v->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    return v->api.query_gid(v->context, v->device_port, (uint32_t)index, &entry, 0,
                            sizeof(entry)) == 0 &&
           entry.gid_type == (roce ? IBV_GID_TYPE_ROCE_V2 : IBV_GID_TYPE_IB) &&
           memcmp(entry.gid.raw, v->gid.raw, sizeof(entry.gid.raw)) == 0;
}

bool verbs_gid_is_there(const struct verbs_port *v)
{
    return has_gid(v, v->gid_index);
}

/* InfiniBand's are not addresses: its first one is taken. */
static bool find_gid(struct verbs_port *v)
{
    struct ibv_gid_entry entry;
    v->gid_index = 0;
    if (v->attr.link_layer != IBV_LINK_LAYER_ETHERNET) {
        if (v->api.query_gid(v->context, v->device_port, 0, &entry, 0, sizeof(entry)) != 0)
            return false;
        v->gid = entry.gid;
        return true;
    }
    v->gid = gid_of_address(v);
    while (v->gid_index < v->attr.gid_tbl_len && !has_gid(v, v->gid_index))
        v->gid_index++;
    if (v->gid_index == v->attr.gid_tbl_len ||
        v->api.query_gid(v->context, v->device_port, (uint32_t)v->gid_index, &entry, 0,
                         sizeof(entry)) != 0)
        return false;
    v->interface = entry.ndev_ifindex;
    return true;
}

static unsigned bytes_of_mtu(enum ibv_mtu mtu)
{
    return 128u << mtu;
}

/* A port that would do; else -errno, and why in err, where the reason says more than `was`. */
static int look_at_port(struct verbs_port *v, bool named, int was, char err[PORT_ERROR_MAX])
{
    char address[ADDRESS_TEXT];
    address_text(v, address);
    v->attr = (struct ibv_port_attr){0};
    if (v->api.query_port(v->context, v->device_port, (struct _compat_ibv_port_attr *)&v->attr) !=
        0)
        return was;
    bool roce = v->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    if ((!roce && !named) || !find_gid(v)) {
        if (was == -ENODEV)
            snprintf(err, PORT_ERROR_MAX,
                     "verbs fabric: %s has no GID (RoCE v2) for %s: give its interface that "
                     "address (ip addr add), or choose another nodes[].device or address",
                     v->device, address);
        return was == -ENODEV ? -EADDRNOTAVAIL : was;
    }
    if (v->attr.state != IBV_PORT_ACTIVE) {
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: port %u of %s is not ACTIVE: ip link set its interface up; see "
                 "ibv_devinfo",
                 v->device_port, v->device);
        return -ENETDOWN;
    }
    if ((unsigned)v->attr.active_mtu < VERBS_MTU_LEAST) {
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: packets of %s have %u bytes; needed: %u or more: ip link set the "
                 "interface's mtu to 1280 or more",
                 v->device, bytes_of_mtu(v->attr.active_mtu),
                 bytes_of_mtu((enum ibv_mtu)VERBS_MTU_LEAST));
        return -EMSGSIZE;
    }
    return 0;
}

/* Leaves the device open if a port of it will do. */
static int look_at_device(struct verbs_port *v, struct ibv_device *d, bool named, int was,
                          char err[PORT_ERROR_MAX])
{
    if (d->transport_type != IBV_TRANSPORT_IB) {
        if (named)
            snprintf(err, PORT_ERROR_MAX,
                     "verbs fabric: %s has no UD queue pairs, as iWARP's have not: InfiniBand or "
                     "RoCE v2 is needed",
                     v->device);
        return was;
    }
    v->context = v->api.open_device(d);
    if (v->context == NULL) {
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: %s cannot be opened: %s; see ls -l /dev/infiniband", v->device,
                 strerror(errno));
        return -EACCES;
    }
    int rc = v->api.query_device(v->context, &v->limits) != 0 ? -EIO : was;
    for (uint8_t p = 1; rc != -EIO && p <= v->limits.phys_port_cnt; p++) {
        v->device_port = p;
        rc = look_at_port(v, named, rc, err);
        if (rc == 0)
            return 0;
    }
    v->api.close_device(v->context);
    v->context = NULL;
    return rc;
}

static void say_missing(const struct port_verbs *cfg, const char *names, char err[PORT_ERROR_MAX])
{
    if (names[0] == '\0')
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: no RDMA device here (ibv_devices): modprobe rdma_rxe; rdma link "
                 "add rxe0 type rxe netdev INTERFACE");
    else if (cfg->device[0] != '\0')
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: no RDMA device %.32s here; there are:%s (nodes[].device; \"\": by "
                 "nodes[].address)",
                 cfg->device, names);
    else
        snprintf(err, PORT_ERROR_MAX, "verbs fabric: none of these RDMA devices will do:%s", names);
}

static int find_device(struct verbs_port *v, const struct port_verbs *cfg, char err[PORT_ERROR_MAX])
{
    char names[NAMES_MAX] = "";
    bool named = cfg->device[0] != '\0';
    int n = 0, rc = -ENODEV;
    struct ibv_device **list = v->api.get_device_list(&n);
    err[0] = '\0';
    for (int i = 0; list != NULL && i < n && v->context == NULL; i++) {
        size_t at = strlen(names);
        snprintf(v->device, sizeof(v->device), "%s", v->api.get_device_name(list[i]));
        snprintf(names + at, sizeof(names) - at, " %.*s", VERBS_DEVICE_MAX, v->device);
        if (!named || strcmp(v->device, cfg->device) == 0)
            rc = look_at_device(v, list[i], named, rc, err);
    }
    if (list != NULL)
        v->api.free_device_list(list);
    if (v->context == NULL && err[0] == '\0')
        say_missing(cfg, names, err);
    return v->context != NULL ? 0 : rc;
}

/* ---- what is made of it -------------------------------------------------------------------- */

static struct ibv_qp *create_pair(struct verbs_port *v, enum ibv_qp_type type)
{
    bool ud = type == IBV_QPT_UD;
    struct ibv_qp_init_attr init = {
        .send_cq = v->send_cq,
        .recv_cq = v->receive_cq,
        .srq = ud ? NULL : v->srq,
        .qp_type = type,
        .cap = {.max_send_wr = ud ? v->lane[VERBS_UD].limit : v->lane[0].limit,
                .max_recv_wr = ud ? v->ud_receive_count : 0,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = v->inline_max}};
    struct ibv_qp *qp = v->api.create_qp(v->pd, &init);
    if (qp == NULL && v->inline_max > 0) { /* not every device can take bytes along */
        init.cap.max_inline_data = v->inline_max = 0;
        qp = v->api.create_qp(v->pd, &init);
    }
    if (qp != NULL && init.cap.max_inline_data < v->inline_max)
        v->inline_max = init.cap.max_inline_data;
    return qp;
}

static struct ibv_qp *give_up_pair(struct verbs_port *v, struct ibv_qp *qp, int error)
{
    v->api.destroy_qp(qp);
    errno = error;
    return NULL;
}

struct ibv_qp *verbs_make_pair(struct verbs_port *v)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_INIT,
                               .port_num = v->device_port,
                               .qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE};
    struct ibv_qp *qp = create_pair(v, IBV_QPT_RC);
    if (qp == NULL)
        return NULL;
    int rc = v->api.modify_qp(qp, &attr,
                              IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    return rc == 0 ? qp : give_up_pair(v, qp, rc);
}

/* From RESET on. */
static int start_ud(struct verbs_port *v, struct ibv_qp *qp)
{
    struct ibv_qp_attr attr = {
        .qp_state = IBV_QPS_INIT, .port_num = v->device_port, .qkey = v->ud_key};
    int rc =
        v->api.modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);
    attr.qp_state = IBV_QPS_RTR;
    if (rc == 0)
        rc = v->api.modify_qp(qp, &attr, IBV_QP_STATE);
    attr.qp_state = IBV_QPS_RTS;
    if (rc == 0)
        rc = v->api.modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN);
    return rc;
}

static struct ibv_qp *make_ud(struct verbs_port *v)
{
    struct ibv_qp *qp = create_pair(v, IBV_QPT_UD);
    int rc = qp != NULL ? start_ud(v, qp) : 0;
    return rc == 0 ? qp : give_up_pair(v, qp, rc);
}

static bool is_used(const struct verbs_port *v, uint64_t id)
{
    for (uint32_t i = 0; i < v->used_count; i++)
        if (v->used[i] == id)
            return true;
    return false;
}

int verbs_reset_ud(struct verbs_port *v)
{
    struct verbs_lane *lane = &v->lane[VERBS_UD];
    struct ibv_qp_attr reset = {.qp_state = IBV_QPS_RESET};
    int rc = v->api.modify_qp(lane->qp, &reset, IBV_QP_STATE);
    verbs_lane_reset(v, lane);
    v->ud_life++;
    if (rc == 0)
        rc = start_ud(v, lane->qp);
    for (uint64_t i = VERBS_UD_BUFFER; i < VERBS_UD_BUFFER + v->ud_receive_count && rc == 0; i++)
        if (!is_used(v, i))
            rc = -verbs_post_receives(v, &i, 1);
    return -rc;
}

static uint32_t clamp(uint64_t value, uint32_t least, uint32_t most)
{
    return (uint32_t)max_u64(least, min_u64(value, most));
}

static uint32_t whole_lines(uint32_t bytes)
{
    return (bytes + 63) & ~63u;
}

/* How much of everything: what peers may send before they hear from us twice over, so that what
 * is sent again while we stand still finds a buffer as well; and what the device has. */
static void size_queues(struct verbs_port *v, const struct port_verbs *cfg)
{
    uint32_t peers = v->nodes > 1 ? v->nodes - 1u : 1, wr = (uint32_t)v->limits.max_qp_wr,
             cqe = (uint32_t)v->limits.max_cqe;
    uint64_t frames = UINT64_C(4) * peers * cfg->credit;
    v->receive_count = clamp(frames, VERBS_RECEIVES_MIN, VERBS_RECEIVES_MAX);
    v->receive_count = clamp(v->receive_count, 1, (uint32_t)v->limits.max_srq_wr);
    v->ud_receive_count = clamp(frames, VERBS_RECEIVES_MIN, VERBS_UD_RECEIVES_MAX);
    v->ud_receive_count = clamp(v->ud_receive_count, 1, wr);
    if (v->receive_count + v->ud_receive_count > cqe) {
        v->receive_count = clamp(v->receive_count, 1, cqe / 2);
        v->ud_receive_count = clamp(v->ud_receive_count, 1, cqe / 2);
    }
    v->lane[VERBS_UD].ring = VERBS_UD_SENDS;
    v->lane[VERBS_UD].limit = clamp(VERBS_UD_SENDS, 1, wr);
    for (uint8_t n = 0; n < v->nodes; n++) {
        v->lane[n].ring = VERBS_RC_SENDS;
        v->lane[n].limit =
            clamp(VERBS_RC_SENDS, 2, (uint32_t)min_u64(wr, (cqe - VERBS_UD_SENDS) / peers));
    }
    v->silent_max = clamp(VERBS_SLOTS / 2 / v->nodes, 1, v->lane[0].limit / 4);
    v->silent_max = clamp(v->silent_max, 1, 16);
    v->slot_bytes = whole_lines(v->port.mtu);
    v->receive_bytes = whole_lines(v->port.mtu);
    v->ud_receive_bytes = whole_lines(VERBS_GRH + bytes_of_mtu(v->attr.active_mtu));
}

static int allocate(struct verbs_port *v)
{
    size_t line = 4096;
    v->sends = calloc(VERBS_UD_SENDS + (size_t)v->nodes * VERBS_RC_SENDS, sizeof(*v->sends));
    if (v->sends == NULL ||
        posix_memalign((void **)&v->slots, line, (size_t)VERBS_SLOTS * v->slot_bytes) != 0 ||
        posix_memalign((void **)&v->receives, line, (size_t)v->receive_count * v->receive_bytes) !=
            0 ||
        posix_memalign((void **)&v->ud_receives, line,
                       (size_t)v->ud_receive_count * v->ud_receive_bytes) != 0)
        return -ENOMEM;
    v->lane[VERBS_UD].send = v->sends;
    for (uint8_t n = 0; n < v->nodes; n++)
        v->lane[n].send = v->sends + VERBS_UD_SENDS + (size_t)n * VERBS_RC_SENDS;
    for (uint16_t i = 0; i < VERBS_SLOTS; i++)
        v->slot_free[v->slots_free++] = i;
    return 0;
}

static bool unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static bool make_queues(struct verbs_port *v)
{
    int sends = VERBS_UD_SENDS + (int)(v->nodes * v->lane[0].limit);
    struct ibv_srq_init_attr shared = {.attr = {.max_wr = v->receive_count, .max_sge = 1}};
    return (v->pd = v->api.alloc_pd(v->context)) != NULL &&
           (v->channel = v->api.create_comp_channel(v->context)) != NULL &&
           unblock(v->channel->fd) && unblock(v->context->async_fd) &&
           (v->send_cq = v->api.create_cq(
                v->context, (int)min_u64((uint64_t)sends, (uint64_t)v->limits.max_cqe), NULL, NULL,
                0)) != NULL &&
           (v->receive_cq =
                v->api.create_cq(v->context, (int)(v->receive_count + v->ud_receive_count), NULL,
                                 v->channel, 0)) != NULL &&
           (v->srq = v->api.create_srq(v->pd, &shared)) != NULL &&
           (v->lane[VERBS_UD].qp = make_ud(v)) != NULL;
}

static bool register_buffers(struct verbs_port *v)
{
    int in = IBV_ACCESS_LOCAL_WRITE;
    return (v->slots_mr =
                v->api.reg_mr(v->pd, v->slots, (size_t)VERBS_SLOTS * v->slot_bytes, in)) != NULL &&
           (v->receives_mr = v->api.reg_mr(
                v->pd, v->receives, (size_t)v->receive_count * v->receive_bytes, in)) != NULL &&
           (v->ud_receives_mr =
                v->api.reg_mr(v->pd, v->ud_receives,
                              (size_t)v->ud_receive_count * v->ud_receive_bytes, in)) != NULL;
}

static int fill_receives(struct verbs_port *v)
{
    int rc = 0;
    for (uint64_t i = 0; i < v->receive_count && rc == 0; i++)
        rc = verbs_post_receives(v, &i, 1);
    for (uint64_t i = 0; i < v->ud_receive_count && rc == 0; i++)
        rc = verbs_post_receives(v, &(uint64_t){i | VERBS_UD_BUFFER}, 1);
    return rc;
}

static int make_all(struct verbs_port *v, char err[PORT_ERROR_MAX])
{
    const char *what = "queues";
    struct rlimit lock = {0};
    int rc = allocate(v);
    errno = -rc;
    if (rc == 0 && !make_queues(v))
        rc = -errno;
    if (rc == 0 && !register_buffers(v)) {
        what = "packet memory";
        rc = -errno;
    }
    if (rc == 0)
        rc = fill_receives(v);
    if (rc == 0)
        return 0;
    (void)getrlimit(RLIMIT_MEMLOCK, &lock);
    if (rc == -ENOMEM && lock.rlim_cur != RLIM_INFINITY)
        snprintf(err, PORT_ERROR_MAX,
                 "verbs fabric: no %s on %s: %s; RLIMIT_MEMLOCK is %llu KiB: ulimit -l unlimited, "
                 "or LimitMEMLOCK=infinity",
                 what, v->device, strerror(-rc), (unsigned long long)lock.rlim_cur >> 10);
    else
        snprintf(err, PORT_ERROR_MAX, "verbs fabric: no %s on %s: %s", what, v->device,
                 strerror(-rc));
    return rc;
}

void verbs_close_device(struct verbs_port *v)
{
    struct ibv_mr *mr[] = {v->slots_mr, v->receives_mr, v->ud_receives_mr};
    if (v->lane[VERBS_UD].qp != NULL)
        v->api.destroy_qp(v->lane[VERBS_UD].qp);
    if (v->srq != NULL)
        v->api.destroy_srq(v->srq);
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(mr); i++)
        if (mr[i] != NULL)
            v->api.dereg_mr(mr[i]);
    if (v->send_cq != NULL)
        v->api.destroy_cq(v->send_cq);
    if (v->receive_cq != NULL)
        v->api.destroy_cq(v->receive_cq);
    if (v->channel != NULL)
        v->api.destroy_comp_channel(v->channel);
    if (v->pd != NULL)
        v->api.dealloc_pd(v->pd);
    if (v->context != NULL)
        v->api.close_device(v->context);
}

/* ---- open ---------------------------------------------------------------------------------- */

static int check(const struct port_verbs *cfg, char err[PORT_ERROR_MAX])
{
    const struct link_config *l = cfg->link;
    if (l != NULL && (l->kind == LINK_UDP4 || l->kind == LINK_UDP6) && l->udp_port != 0 &&
        l->nodes <= WIRE_NODES_MAX && l->self < l->nodes && cfg->mtu >= RRDP_MTU_MIN &&
        cfg->mtu <= RRDP_MTU_MAX && cfg->credit > 0 && cfg->dead_ns > 0)
        return 0;
    snprintf(err, PORT_ERROR_MAX,
             "verbs fabric: it needs addresses and a UDP port (1..65535), fewer nodes than %d, an "
             "MTU (%d..%d) and credit; MTU %u, credit %u",
             WIRE_NODES_MAX + 1, RRDP_MTU_MIN, RRDP_MTU_MAX, cfg->mtu, cfg->credit);
    return -EINVAL;
}

static void set_up(struct verbs_port *v, const struct port_verbs *cfg)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    v->link = *cfg->link;
    v->self = cfg->link->self;
    v->nodes = cfg->link->nodes;
    v->cluster_id = cfg->cluster_id;
    v->reserved = VERBS_SLOT_NONE;
    v->socket = v->epoll = -1;
    v->inline_max = VERBS_INLINE;
    v->timeout = rdma_timeout(cfg->dead_ns * 3 / 8, VERBS_RETRIES + 1);
    v->settle_ns = max_u64(50 * MS, cfg->dead_ns / 4);
    v->aside_pages = VERBS_ASIDE_PAGES;
    v->aside.cpus = cfg->registrar_cpus;
    v->aside.sched = cfg->registrar;
    v->cfg = (struct rdma_config){
        .epoch = (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec,
        .ladder = cfg->ladder,
        .hello_ns = 20 * MS,
        .calm_ns = 500 * MS,
        .young_ns = cfg->dead_ns,
        .doubt_ns = cfg->dead_ns / 4,
        .probe_ns = cfg->dead_ns / 4,
    };
    /* No secret: one more number that a stray packet would have to have. High bit clear, as the
     * others are the kernel's. */
    v->ud_key = (uint32_t)(v->cfg.epoch * UINT64_C(0x9E3779B97F4A7C15) >> 33);
    v->port = (struct port){.ops = &verbs_ops, .name = "verbs", .mtu = cfg->mtu, .places = true};
}

int verbs_open_with(const struct port_verbs *cfg, const struct verbs_api *api,
                    struct port **ret_port, char err[PORT_ERROR_MAX])
{
    int rc = check(cfg, err);
    if (rc != 0)
        return rc;
    struct verbs_port *v = calloc(1, sizeof(*v));
    if (v == NULL) {
        snprintf(err, PORT_ERROR_MAX, "verbs fabric: out of memory");
        return -ENOMEM;
    }
    v->api = *api;
    set_up(v, cfg);
    rc = find_device(v, cfg, err);
    if (rc == 0) {
        size_queues(v, cfg);
        rc = make_all(v, err);
    }
    if (rc == 0)
        rc = verbs_peers_open(v, err);
    if (rc != 0) {
        port_close(&v->port);
        return rc;
    }
    if (v->limits.vendor_id == RXE_VENDOR) /* rxe_mr_copy: memory to packet, packet to memory */
        v->port.copies = (struct port_copies){.tx = 1, .rx = 1};
    snprintf(v->notice, sizeof(v->notice), "%s, %s, packets of %u bytes", v->device,
             v->attr.link_layer == IBV_LINK_LAYER_ETHERNET ? "RoCE v2" : "InfiniBand",
             bytes_of_mtu(v->attr.active_mtu));
    *ret_port = &v->port;
    return 0;
}

int port_open_verbs(const struct port_verbs *cfg, struct port **ret_port, char err[PORT_ERROR_MAX])
{
    struct verbs_api api;
    int rc = verbs_load(&api, err);
    return rc != 0 ? rc : verbs_open_with(cfg, &api, ret_port, err);
}
