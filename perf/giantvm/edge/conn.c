/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "perf/giantvm/edge/tcp.h"

static socklen_t address_of(const struct pando_config *cfg, uint8_t node, uint16_t port,
                            struct sockaddr_storage *out)
{
    const struct config_node *n = config_node_of(cfg, node);
    *out = (struct sockaddr_storage){0};
    if (cfg->fabric.ip_version == 6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(port);
        memcpy(&a->sin6_addr, n->ip, sizeof(a->sin6_addr));
        return sizeof(*a);
    }
    struct sockaddr_in *a = (struct sockaddr_in *)out;
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    memcpy(&a->sin_addr, n->ip, sizeof(a->sin_addr));
    return sizeof(*a);
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

/* ---- open and close ------------------------------------------------------------------------ */

static int allocate(struct tcp_conn *c)
{
    c->fd = -1;
    c->in = mmap(NULL, TCP_IN + (size_t)TCP_OUT, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->in == MAP_FAILED)
        return -errno;
    c->out = c->in + TCP_IN;
    return 0;
}

static int open_listener(struct tcp *t, char err[FABRIC_TEXT_MAX])
{
    struct sockaddr_storage a;
    socklen_t len = address_of(t->cfg, t->self, t->cfg->fabric.udp_port, &a);
    const int on = 1;
    t->listen_fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->listen_fd >= 0 &&
        setsockopt(t->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(t->listen_fd, (struct sockaddr *)&a, len) == 0 && listen(t->listen_fd, TCP_YOUNG) == 0)
        return 0;
    int rc = -errno;
    snprintf(err, FABRIC_TEXT_MAX, "nodes[%u].address %s, TCP port %u (fabric.udp_port): %s",
             t->self, config_node_of(t->cfg, t->self)->address, t->cfg->fabric.udp_port,
             strerror(-rc));
    return rc;
}

int tcp_open(struct tcp *t, char err[FABRIC_TEXT_MAX])
{
    int rc = open_listener(t, err);
    if (rc != 0)
        return rc;
    t->served_fd = epoll_create1(EPOLL_CLOEXEC);
    t->answers_fd = epoll_create1(EPOLL_CLOEXEC);
    t->all_fd = epoll_create1(EPOLL_CLOEXEC);
    if (t->served_fd < 0 || t->answers_fd < 0 || t->all_fd < 0)
        rc = -errno;
    if (rc == 0)
        rc = watch(t->served_fd, t->listen_fd);
    if (rc == 0)
        rc = watch(t->all_fd, t->served_fd);
    tcp_watch_answers(t, rc == 0);
    for (uint32_t i = 0; rc == 0 && i < FRAME_NODES_MAX; i++) {
        rc = allocate(&t->mine[i]);
        rc = rc == 0 ? allocate(&t->its[i]) : rc;
    }
    for (uint32_t i = 0; i < TCP_YOUNG; i++)
        t->young[i].fd = -1;
    if (rc != 0)
        snprintf(err, FABRIC_TEXT_MAX, "TCP: %s", strerror(-rc));
    return rc;
}

void tcp_drop(struct tcp *t, struct tcp_conn *c)
{
    (void)t;
    if (c->fd >= 0)
        close(c->fd); /* and out of its epoll set */
    c->fd = -1;
    c->state = TCP_NONE;
    c->in_len = c->out_at = c->out_len = 0;
}

void tcp_watch_answers(struct tcp *t, bool watched)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = t->answers_fd};
    if (watched != t->watched)
        (void)epoll_ctl(t->all_fd, watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, t->answers_fd, &ev);
    t->watched = watched;
}

static void release(struct tcp *t, struct tcp_conn *c)
{
    tcp_drop(t, c);
    if (c->in != NULL && c->in != MAP_FAILED)
        munmap(c->in, TCP_IN + (size_t)TCP_OUT);
}

void tcp_close(struct tcp *t)
{
    for (uint32_t i = 0; i < FRAME_NODES_MAX; i++) {
        release(t, &t->mine[i]);
        release(t, &t->its[i]);
    }
    for (uint32_t i = 0; i < TCP_YOUNG; i++)
        tcp_drop(t, &t->young[i]);
    const int fds[] = {t->listen_fd, t->served_fd, t->answers_fd, t->all_fd, t->sleep_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- set-up -------------------------------------------------------------------------------- */

static void tune(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void begin(struct tcp *t, uint8_t peer)
{
    struct tcp_conn *c = &t->mine[peer];
    struct sockaddr_storage own, a;
    socklen_t own_len = address_of(t->cfg, t->self, 0, &own);
    socklen_t len = address_of(t->cfg, peer, t->cfg->fabric.udp_port, &a);
    c->fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return;
    tune(c->fd);
    if (bind(c->fd, (struct sockaddr *)&own, own_len) != 0 ||
        (connect(c->fd, (struct sockaddr *)&a, len) != 0 && errno != EINPROGRESS)) {
        tcp_drop(t, c);
        return;
    }
    c->state = TCP_CONNECTING;
}

/* Peers that are not there yet are asked again and again until the engine gives up. */
void tcp_connect(struct tcp *t, uint64_t now)
{
    if (now < t->retry_at)
        return;
    t->retry_at = now + TCP_RETRY_MS * UINT64_C(1000000);
    for (uint8_t n = 0; n < t->nodes; n++)
        if (n != t->self && t->mine[n].state == TCP_NONE)
            begin(t, n);
}

void tcp_hello(struct tcp *t, struct tcp_conn *c, const struct rrdp *r)
{
    uint8_t bytes[FRAME_HELLO_LEN];
    const struct frame_hello h = {.revision = FRAME_REVISION,
                                  .node = t->self,
                                  .nodes = t->nodes,
                                  .cluster_id = r->cfg.cluster_id,
                                  .config_hash = r->cfg.config_hash,
                                  .boot = t->boot};
    frame_pack_hello(&h, bytes);
    (void)!send(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* With more strangers than fit, the newcomer is turned away. */
bool tcp_accept(struct tcp *t)
{
    int fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return false;
    for (uint32_t i = 0; i < TCP_YOUNG; i++) {
        struct tcp_conn *c = &t->young[i];
        if (c->fd >= 0)
            continue;
        if (watch(t->served_fd, fd) != 0)
            break;
        tune(fd);
        c->fd = fd;
        c->state = TCP_GREETED;
        return true;
    }
    close(fd);
    return true;
}

/* ---- bytes out ----------------------------------------------------------------------------- */

/* Honest peers owe what fits. One that asks for more and does not read is lost, like one that hung
 * up. */
static void keep(struct tcp_conn *c, const uint8_t *bytes, size_t len)
{
    if (c->out_len + len > TCP_OUT) {
        shutdown(c->fd, SHUT_RDWR);
        return;
    }
    if (c->out_at + c->out_len + len > TCP_OUT) {
        memmove(c->out, c->out + c->out_at, c->out_len);
        c->out_at = 0;
    }
    memcpy(c->out + c->out_at + c->out_len, bytes, len);
    c->out_len += (uint32_t)len;
}

void tcp_flush(struct tcp_conn *c)
{
    while (c->out_len > 0) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) /* no room; a broken connection is seen where it is read */
            return;
        c->out_at += (uint32_t)n;
        c->out_len -= (uint32_t)n;
    }
    c->out_at = 0;
}

void tcp_send(struct tcp *t, struct tcp_conn *c, const void *head, size_t head_len,
              const void *body, size_t body_len)
{
    struct iovec v[2] = {{(void *)(uintptr_t)head, head_len}, {(void *)(uintptr_t)body, body_len}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = body_len > 0 ? 2 : 1};
    ssize_t sent = 0;
    t->port.counters.tx_frames++;
    t->port.counters.tx_bytes += head_len + body_len;
    if (c->out_len == 0)
        sent = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
        return; /* broken: seen where it is read */
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done < head_len)
        keep(c, (const uint8_t *)head + done, head_len - done);
    if (done < head_len + body_len) {
        size_t from = done > head_len ? done - head_len : 0;
        keep(c, (const uint8_t *)body + from, body_len - from);
    }
}
