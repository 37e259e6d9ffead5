/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernel TCP with TCP_NODELAY over the same veth pair: the baseline, with both sides spinning and
 * with both blocking. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/rtt.h"

enum { TCP_PORT = 7777, WAIT_MS = 5 };

static uint8_t bytes[RTT_PAGE];

int rtt_tcp_open(struct rtt_side *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(TCP_PORT)};
    int one = 1, rc = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    inet_pton(AF_INET, "10.77.0.2", &a.sin_addr);
    if (s->side == 1) {
        int listener = fd;
        fd = -1;
        (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(listener, 1) != 0)
            rc = -errno;
        rtt_twin_barrier(s);
        if (rc == 0 && (fd = accept(listener, NULL, NULL)) < 0)
            rc = -errno;
        close(listener);
    } else {
        rtt_twin_barrier(s);
        rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ? -errno : 0;
    }
    if (rc == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    else if (fd >= 0)
        close(fd);
    return rc == 0 ? fd : rc;
}

static bool send_all(int fd, uint32_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool receive_all(int fd, uint32_t len, int flags)
{
    uint32_t at = 0, empty = 0;
    while (at < len) {
        ssize_t n = recv(fd, bytes, len - at, flags);
        if (n > 0)
            at += (uint32_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return false;
        else
            rtt_relax(&empty);
    }
    return true;
}

static bool ask(struct rtt_side *s, int fd, int flags)
{
    return send_all(fd, s->shape.ask) && receive_all(fd, s->shape.reply, flags);
}

static void answer(struct rtt_side *s, int fd, int flags)
{
    if (receive_all(fd, s->shape.ask, flags))
        (void)send_all(fd, s->shape.reply);
}

bool rtt_tcp_spin_ask(struct rtt_side *s, void *context)
{
    return ask(s, *(int *)context, MSG_DONTWAIT);
}

void rtt_tcp_spin_answer(struct rtt_side *s, void *context)
{
    static uint32_t empty;
    char byte;
    if (recv(*(int *)context, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1) {
        empty = 0;
        answer(s, *(int *)context, MSG_DONTWAIT);
    } else {
        rtt_relax(&empty);
    }
}

bool rtt_tcp_block_ask(struct rtt_side *s, void *context)
{
    return ask(s, *(int *)context, 0);
}

/* Blocks in recv, with a bound so that the end of the round is seen. */
void rtt_tcp_block_answer(struct rtt_side *s, void *context)
{
    int fd = *(int *)context;
    struct timeval bound = {.tv_usec = WAIT_MS * 1000}, none = {0};
    char byte;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    while (recv(fd, &byte, 1, MSG_PEEK) == 1) /* stays in here while questions come */
        answer(s, fd, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
}
