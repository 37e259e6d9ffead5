/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/port/port.h"

int port_join_group(const char *interface, const struct rrdp_mac *group)
{
    struct packet_mreq m = {.mr_ifindex = (int)if_nametoindex(interface),
                            .mr_type = PACKET_MR_MULTICAST,
                            .mr_alen = sizeof(group->addr)};
    if (m.mr_ifindex == 0)
        return -ENODEV;
    memcpy(m.mr_address, group->addr, sizeof(group->addr));
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* of no protocol: it gets no frames */
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}
