/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bpf/wires.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/check.h"

static int place_fd[WIRES_PLACES] = {-1, -1, -1};

static bool run(const char *format, ...)
{
    char line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    return system(line) == 0;
}

static bool make_place(enum wires_place place)
{
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    place_fd[place] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return place_fd[place] >= 0 && run("ip link set lo up");
}

void wires_enter(enum wires_place place)
{
    PANDO_CHECK(setns(place_fd[place], CLONE_NEWNET) == 0);
}

/* From the current place: `here`, and veth0 at an end. No IPv6: its own chatter would be counted.
 */
static bool join(const char *here, enum wires_place end, unsigned mtu)
{
    return run("ip link add %s mtu %u type veth peer name veth0 mtu %u netns /proc/%d/fd/%d", here,
               mtu, mtu, getpid(), place_fd[end]);
}

static bool set_up(enum wires_place place, const char *device, const char *more)
{
    wires_enter(place);
    return run("echo 1 >/proc/sys/net/ipv6/conf/%s/disable_ipv6; ip link set %s %s up", device,
               device, more);
}

bool wires_make(unsigned mtu, bool middle, char reason[200])
{
    bool good = make_place(WIRES_A) && make_place(WIRES_B) && (!middle || make_place(WIRES_MIDDLE));
    if (!good) {
        snprintf(reason, 200, "no network namespace can be made: %s", strerror(errno));
        return false;
    }
    if (middle) {
        wires_enter(WIRES_MIDDLE);
        good = join("left", WIRES_A, mtu) && join("right", WIRES_B, mtu) &&
               set_up(WIRES_MIDDLE, "left", "") && set_up(WIRES_MIDDLE, "right", "");
    } else {
        wires_enter(WIRES_A);
        good = join("veth0", WIRES_B, mtu);
    }
    good = good && set_up(WIRES_A, "veth0", "address 02:77:00:00:00:01") &&
           set_up(WIRES_B, "veth0", "address 02:77:00:00:00:02");
    snprintf(reason, 200, "%s", good ? "" : "no veth pair can be made");
    return good;
}

void wires_remove(void)
{
    PANDO_CHECK(unshare(CLONE_NEWNET) == 0);
    for (unsigned i = 0; i < WIRES_PLACES; i++) {
        if (place_fd[i] >= 0)
            close(place_fd[i]);
        place_fd[i] = -1;
    }
}

int wires_packet_socket(const char *device)
{
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETH_P_ALL),
                            .sll_ifindex = (int)if_nametoindex(device)};
    int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), on = 1;
    PANDO_CHECK(s >= 0 && bind(s, (struct sockaddr *)&a, sizeof(a)) == 0);
    PANDO_CHECK(setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) == 0);
    return s;
}

void wires_send(int socket, const void *frame, size_t len)
{
    while (send(socket, frame, len, 0) != (ssize_t)len)
        PANDO_CHECK(errno == ENOBUFS || errno == EAGAIN);
}

size_t wires_receive(int socket, uint8_t *out, size_t size, int ms)
{
    struct pollfd p = {.fd = socket, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return 0;
    ssize_t n = recv(socket, out, size, 0);
    return n < 0 ? 0 : (size_t)n;
}
