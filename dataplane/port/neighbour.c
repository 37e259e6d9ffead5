/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/neighbour.h"

enum {
    DISCARD_PORT = 9,
    WAIT_STEP_MS = 10,
    ANSWER_MAX = 4096,
    USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT,
};

struct neighbours {
    struct link *link;
    int interface; /* its index */
    int family;
    size_t ip_bytes;
    int udp, netlink;
    uint32_t sequence;
    uint64_t next_ms[WIRE_NODES_MAX];
    uint8_t refreshed; /* the node that was last */
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static socklen_t address_of(const struct neighbours *n, const uint8_t *ip, uint16_t port,
                            struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (n->family == AF_INET) {
        struct sockaddr_in *a = (struct sockaddr_in *)out;
        *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&a->sin_addr, ip, 4);
        return sizeof(*a);
    }
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;
    *a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&a->sin6_addr, ip, 16);
    if (IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr))
        a->sin6_scope_id = (uint32_t)n->interface;
    return sizeof(*a);
}

/* ---- rtnetlink ----------------------------------------------------------------------------- */

struct request {
    struct nlmsghdr head;
    union {
        struct rtmsg route;
        struct ndmsg neighbour;
    } body;
    uint8_t attributes[64];
};
_Static_assert(sizeof(struct rtmsg) == sizeof(struct ndmsg), "attributes follow either");

static void add_attribute(struct request *r, unsigned short type, const void *data, size_t len)
{
    struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)r + NLMSG_ALIGN(r->head.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* These two requests are answered within the system call that sends them. 0, or -errno. */
static int ask_kernel(struct neighbours *n, struct request *r, uint8_t answer[ANSWER_MAX])
{
    r->head.nlmsg_flags = NLM_F_REQUEST;
    r->head.nlmsg_seq = ++n->sequence;
    if (send(n->netlink, r, r->head.nlmsg_len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t len = recv(n->netlink, answer, ANSWER_MAX, MSG_DONTWAIT);
        const struct nlmsghdr *h = (const struct nlmsghdr *)(void *)answer;
        if (len < 0)
            return -errno;
        if (!NLMSG_OK(h, (size_t)len) || h->nlmsg_seq != n->sequence)
            continue; /* of an earlier question */
        if (h->nlmsg_type != NLMSG_ERROR)
            return 0;
        return h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))
                   ? ((const struct nlmsgerr *)NLMSG_DATA(h))->error
                   : -EPROTO;
    }
}

/* The attribute's bytes; NULL: not there, or not so long. */
static const void *attribute(const uint8_t *answer, unsigned short type, size_t len)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)answer;
    const struct rtattr *a =
        (const struct rtattr *)(const void *)(answer + NLMSG_SPACE(sizeof(struct rtmsg)));
    int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(sizeof(struct rtmsg));
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == type)
            return RTA_PAYLOAD(a) >= len ? RTA_DATA(a) : NULL;
    return NULL;
}

/* The router on the way to ip, or ip itself. */
static int find_hop(struct neighbours *n, const uint8_t *ip, uint8_t ret_hop[16])
{
    uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
    struct request r = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)), .nlmsg_type = RTM_GETROUTE},
        .body.route = {.rtm_family = (uint8_t)n->family, .rtm_dst_len = (uint8_t)(n->ip_bytes * 8)},
    };
    uint32_t oif;
    add_attribute(&r, RTA_DST, ip, n->ip_bytes);
    add_attribute(&r, RTA_OIF, &n->interface, sizeof(n->interface));
    int rc = ask_kernel(n, &r, answer);
    if (rc != 0)
        return rc;
    const void *out = attribute(answer, RTA_OIF, sizeof(oif));
    if (out == NULL || memcmp(out, &n->interface, sizeof(oif)) != 0 ||
        attribute(answer, RTA_VIA, 0) != NULL)
        return -ENETUNREACH;
    const void *router = attribute(answer, RTA_GATEWAY, n->ip_bytes);
    memcpy(ret_hop, router != NULL ? router : ip, n->ip_bytes);
    return 0;
}

static int find_mac(struct neighbours *n, const uint8_t *hop, uint8_t ret_mac[6])
{
    uint8_t answer[ANSWER_MAX] __attribute__((aligned(8)));
    struct request r = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg)), .nlmsg_type = RTM_GETNEIGH},
        .body.neighbour = {.ndm_family = (uint8_t)n->family, .ndm_ifindex = n->interface},
    };
    add_attribute(&r, NDA_DST, hop, n->ip_bytes);
    int rc = ask_kernel(n, &r, answer);
    if (rc != 0)
        return rc;
    const struct ndmsg *m = NLMSG_DATA((const struct nlmsghdr *)(void *)answer);
    const void *mac = attribute(answer, NDA_LLADDR, 6);
    if ((m->ndm_state & USABLE) == 0 || mac == NULL)
        return -EAGAIN;
    memcpy(ret_mac, mac, 6);
    return 0;
}

/* ---- nodes --------------------------------------------------------------------------------- */

/* What the kernel knows. True: it is another MAC than before. */
static bool look_up(struct neighbours *n, uint8_t node)
{
    uint8_t hop[16], mac[6];
    struct link *l = n->link;
    if (find_hop(n, l->cfg.ip[node], hop) != 0 || find_mac(n, hop, mac) != 0)
        return false;
    bool changed = link_reaches(l, node) && memcmp(l->next_hop[node], mac, 6) != 0;
    memcpy(l->next_hop[node], mac, 6);
    l->known |= bit64(node);
    return changed;
}

void neighbours_refresh(struct neighbours *n, struct port_counters *counters)
{
    for (unsigned i = 0; n != NULL && i < NEIGHBOUR_REFRESH && i < n->link->cfg.nodes; i++) {
        n->refreshed = (uint8_t)((n->refreshed + 1) % n->link->cfg.nodes);
        if (n->refreshed != n->link->cfg.self)
            counters->hops_changed += look_up(n, n->refreshed);
    }
}

static bool resolve(struct neighbours *n, uint8_t node)
{
    struct sockaddr_storage to;
    struct link *l = n->link;
    socklen_t len = address_of(n, l->cfg.ip[node], DISCARD_PORT, &to);
    /* Whether it leaves is no matter: what it makes the kernel find out is read below, or later. */
    (void)!sendto(n->udp, NULL, 0, MSG_DONTWAIT, (struct sockaddr *)&to, len);
    (void)look_up(n, node);
    return link_reaches(l, node);
}

bool neighbours_ask(struct neighbours *n, uint8_t node)
{
    if (node >= n->link->cfg.nodes)
        return false;
    uint64_t now = now_ms();
    if (now < n->next_ms[node])
        return link_reaches(n->link, node);
    n->next_ms[node] = now + NEIGHBOUR_ASK_MS;
    return resolve(n, node);
}

static void wait_for_all(struct neighbours *n)
{
    struct link *l = n->link;
    uint64_t end = now_ms() + NEIGHBOUR_WAIT_MS;
    for (;;) {
        bool all = true;
        for (uint8_t node = 0; node < l->cfg.nodes; node++)
            if (node != l->cfg.self && !link_reaches(l, node))
                all = resolve(n, node) && all;
        if (all || now_ms() >= end)
            return;
        usleep(WAIT_STEP_MS * 1000);
    }
}

/* ---- open and close ------------------------------------------------------------------------ */

static int say(const struct neighbours *n, int rc, const char *interface, char err[PORT_ERROR_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct link_config *c = &n->link->cfg;
    inet_ntop(n->family, c->ip[c->self], ip, sizeof(ip));
    if (rc == -EADDRNOTAVAIL)
        snprintf(err, PORT_ERROR_MAX,
                 "UDP fabric: %s is not an address of %s: ip addr add %s/LENGTH dev %s, or correct "
                 "the node's address",
                 ip, interface, ip, interface);
    else if (rc == -EADDRINUSE)
        snprintf(err, PORT_ERROR_MAX,
                 "UDP fabric: port %u of %s is in use (ss -ulpn): end that program, or choose "
                 "another fabric.udp_port on all nodes",
                 c->udp_port, ip);
    else
        snprintf(err, PORT_ERROR_MAX, "UDP fabric: sockets for %s on %s: %s", ip, interface,
                 strerror(-rc));
    return rc;
}

/* Bound to address, port and interface; what comes in is dropped before it is queued. */
static int hold_port(struct neighbours *n, const char *interface)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog filter = {.len = 1, .filter = &nothing};
    struct sockaddr_storage own;
    const struct link_config *c = &n->link->cfg;
    socklen_t len = address_of(n, c->ip[c->self], c->udp_port, &own);
    n->udp = socket(n->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->udp < 0 ||
        setsockopt(n->udp, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0 ||
        setsockopt(n->udp, SOL_SOCKET, SO_BINDTODEVICE, interface,
                   (socklen_t)strlen(interface) + 1) != 0 ||
        bind(n->udp, (struct sockaddr *)&own, len) != 0)
        return -errno;
    return 0;
}

int neighbours_open(const char *interface, struct link *l, struct neighbours **ret_neighbours,
                    char err[PORT_ERROR_MAX])
{
    struct neighbours *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    n->link = l;
    n->family = l->cfg.kind == LINK_UDP4 ? AF_INET : AF_INET6;
    n->ip_bytes = l->cfg.kind == LINK_UDP4 ? 4 : 16;
    n->interface = (int)if_nametoindex(interface);
    n->netlink = n->udp = -1;
    int rc = n->interface == 0 ? -ENODEV : hold_port(n, interface);
    if (rc == 0) {
        n->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        rc = n->netlink < 0 ? -errno : 0;
    }
    if (rc != 0) {
        say(n, rc, interface, err);
        neighbours_close(n);
        return rc;
    }
    wait_for_all(n);
    *ret_neighbours = n;
    return 0;
}

void neighbours_close(struct neighbours *n)
{
    if (n == NULL)
        return;
    if (n->udp >= 0)
        close(n->udp);
    if (n->netlink >= 0)
        close(n->netlink);
    free(n);
}
