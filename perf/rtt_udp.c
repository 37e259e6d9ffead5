/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP over the same veth pair, both sides spinning: what the kernel's sockets cost without TCP. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/rtt.h"

enum { UDP_PORT = 7778 };

static uint8_t bytes[RTT_PAGE];
static uint32_t number; /* of the open question; a late answer to another one does not count */

int rtt_udp_open(struct rtt_side *s)
{
    struct sockaddr_in a[2];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;
    if (fd < 0)
        return -errno;
    for (unsigned i = 0; i < 2; i++) {
        a[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(UDP_PORT)};
        inet_pton(AF_INET, i == 0 ? "10.77.0.1" : "10.77.0.2", &a[i].sin_addr);
    }
    if (bind(fd, (struct sockaddr *)&a[s->side], sizeof(a[0])) != 0 ||
        connect(fd, (struct sockaddr *)&a[!s->side], sizeof(a[0])) != 0)
        rc = -errno;
    rtt_twin_barrier(s); /* nobody asks before both are bound */
    if (rc != 0)
        close(fd);
    return rc != 0 ? rc : fd;
}

bool rtt_udp_ask(struct rtt_side *s, void *context)
{
    int fd = *(int *)context;
    uint32_t got, empty = 0;
    uint64_t limit = rtt_now() + RTT_LOST_MS * UINT64_C(1000000);
    number++;
    memcpy(bytes, &number, sizeof(number));
    if (send(fd, bytes, s->shape.ask, 0) != (ssize_t)s->shape.ask)
        return false;
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        memcpy(&got, bytes, sizeof(got));
        if (n == (ssize_t)s->shape.reply && got == number)
            return true;
        if (n < 0)
            rtt_relax(&empty);
        if (empty > 1000 && rtt_now() > limit)
            return false;
    }
}

void rtt_udp_answer(struct rtt_side *s, void *context)
{
    static uint32_t empty;
    int fd = *(int *)context;
    if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
        empty = 0;
        (void)send(fd, bytes, s->shape.reply, 0);
    } else {
        rtt_relax(&empty);
    }
}
