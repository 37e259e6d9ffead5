/* SPDX-License-Identifier: BSD-3-Clause */
/* Device arguments of the two virtual devices that need no hardware: memif and af_packet. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/port/ethdev.h"
#include "dataplane/port/rendezvous.h"

enum {
    DEVARGS_MAX = 256,
    MEMIF_RING_LOG2 = 9, /* 512 slots: twice what the windows of all classes fill */
    MEMIF_BSIZE = 9216,
    AF_PACKET_FRAMES = 512,
    AF_PACKET_SMALL = 2048,
    AF_PACKET_LARGE =
        9216, /* 9,000 + 62 + the kernel's 66; four of them are nine pages, without a gap */
};

static void describe(struct port *p, const char *name, struct port_copies copies)
{
    snprintf(p->name, sizeof(p->name), "%s", name);
    p->copies = copies;
}

int port_open_memif(const char *dir, uint8_t self, uint8_t nodes, uint16_t ethertype, uint16_t mtu,
                    struct port **ret_port, char err[PORT_ERROR_MAX])
{
    static char text[WIRE_NODES_MAX][DEVARGS_MAX];
    const char *args[WIRE_NODES_MAX];
    uint8_t peer_of[WIRE_NODES_MAX];
    uint32_t n = 0;
    if (strlen(dir) > 80 || nodes > WIRE_NODES_MAX || self >= nodes) {
        snprintf(err, PORT_ERROR_MAX,
                 "memif fabric: the directory's name may have 80 bytes; node %u of %u", self,
                 nodes);
        return -EINVAL;
    }
    int rc = rendezvous_dir("memif fabric", dir, err);
    if (rc != 0)
        return rc;
    for (uint8_t peer = 0; peer < nodes; peer++) {
        if (peer == self)
            continue;
        unsigned low = self < peer ? self : peer, high = self < peer ? peer : self;
        char socket_path[108];
        snprintf(socket_path, sizeof(socket_path), "%s/memif-%u-%u.sock", dir, low, high);
        if (self ==
            low) /* the lower number is the server; a killed one's socket would refuse the name */
            unlink(socket_path);
        snprintf(text[n], DEVARGS_MAX,
                 "net_memif%u,role=%s,id=0,socket=%s,socket-abstract=no,bsize=%d,rsize=%d,"
                 "mac=02:00:00:00:00:%02x",
                 peer, self == low ? "server" : "client", socket_path, MEMIF_BSIZE, MEMIF_RING_LOG2,
                 self);
        args[n] = text[n];
        peer_of[n++] = peer;
    }
    struct bell *bell = NULL;
    rc = bell_open(dir, self, nodes, &bell); /* before the devices: a link means a bell */
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX, "memif fabric: doorbell in %s: %s", dir, strerror(-rc));
    else
        rc = port_open_ethdev(args, n, peer_of, NULL, ethertype, mtu, ret_port, err);
    if (rc == 0) {
        ethdev_own_bell(*ret_port, bell);
        describe(*ret_port, "memif", (struct port_copies){.tx = 1, .rx = 1});
        ethdev_own_dir(*ret_port, dir);
    } else {
        bell_close(bell);
        rmdir(dir);
    }
    return rc;
}

/* The kernel sends longer frames than the interface carries nowhere, without a word. */
static int check_interface(const char *interface, uint32_t headers, uint16_t mtu,
                           char err[PORT_ERROR_MAX])
{
    struct ifreq r = {0};
    int rc = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    if (strlen(interface) >= sizeof(r.ifr_name) || ioctl(fd, SIOCGIFMTU, &r) != 0) {
        rc = -ENODEV;
        snprintf(err, PORT_ERROR_MAX,
                 "af_packet fabric: there is no interface %s here (see ip link)", interface);
    } else if (r.ifr_mtu < (int)(mtu + headers)) {
        rc = -EMSGSIZE;
        snprintf(err, PORT_ERROR_MAX,
                 "af_packet fabric: %s carries %d bytes, fabric.mtu is %u and headers have %u: "
                 "ip link set %s mtu %u, or lower fabric.mtu",
                 interface, r.ifr_mtu, mtu, headers, interface, mtu + headers);
    } else if (ioctl(fd, SIOCGIFFLAGS, &r) != 0 || !(r.ifr_flags & IFF_UP)) {
        rc = -ENETDOWN;
        snprintf(err, PORT_ERROR_MAX, "af_packet fabric: %s is down: ip link set %s up", interface,
                 interface);
    }
    close(fd);
    return rc;
}

/* The socket that the driver made for the interface (one, for one pair of queues): readable while
 * the ring has frames, so that it is what to sleep on; the driver itself offers no interrupt. Found
 * by what the kernel says of our descriptors. -1: there is not exactly one. */
static int driver_socket(const char *interface)
{
    int index = (int)if_nametoindex(interface), found = -1;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        struct sockaddr_ll a = {0};
        socklen_t len = sizeof(a);
        int fd = atoi(entry->d_name);
        if (fd == dirfd(d) || getsockname(fd, (struct sockaddr *)&a, &len) != 0 ||
            a.sll_family != AF_PACKET || a.sll_ifindex != index)
            continue;
        if (found >= 0) {
            found = -1;
            break;
        }
        found = fd;
    }
    if (d != NULL)
        closedir(d);
    return found >= 0 ? fcntl(found, F_DUPFD_CLOEXEC, 3) : -1;
}

int port_open_af_packet(const char *interface, const struct link_config *link, uint16_t ethertype,
                        uint16_t mtu, struct port **ret_port, char err[PORT_ERROR_MAX])
{
    char text[DEVARGS_MAX];
    const char *args = text;
    uint32_t headers = link != NULL ? link_ip_bytes(link->kind) : 0;
    int frame = mtu + headers + 128 <= AF_PACKET_SMALL ? AF_PACKET_SMALL : AF_PACKET_LARGE;
    int rc = check_interface(interface, headers, mtu, err);
    if (rc != 0)
        return rc;
    snprintf(text, sizeof(text),
             "net_af_packet0,iface=%s,blocksz=%d,framesz=%d,framecnt=%d,qpairs=1,qdisc_bypass=1",
             interface, frame * 4, frame, AF_PACKET_FRAMES);
    struct port *p;
    rc = port_open_ethdev(&args, 1, NULL, link, ethertype, mtu, &p, err);
    if (rc != 0)
        return rc;
    describe(p, "af_packet", (struct port_copies){.tx = 1, .rx = 2});
    ethdev_wait_on(p, driver_socket(interface));
    rc = ethdev_resolve_over(p, interface, err);
    if (rc == 0)
        *ret_port = p;
    else
        port_close(p);
    return rc;
}
