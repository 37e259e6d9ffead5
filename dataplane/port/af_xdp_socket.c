/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets, UMEM and rings of the AF_XDP port: the kernel's interface, if_xdp.h, without a library
 * between. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/port/af_xdp.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static int say(int rc, char err[PORT_ERROR_MAX], const char *what)
{
    if (rc == -EPERM)
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: %s: CAP_NET_RAW is needed: run as root",
                 what);
    else if (rc == -ENOBUFS)
        snprintf(err, PORT_ERROR_MAX,
                 "af_xdp fabric: %s: %d MiB cannot be locked: ulimit -l unlimited, or run as root",
                 what, (AF_XDP_UMEM_BYTES >> 20) + 1);
    else if (rc == -EAFNOSUPPORT)
        snprintf(err, PORT_ERROR_MAX,
                 "af_xdp fabric: this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use af_packet");
    else
        snprintf(err, PORT_ERROR_MAX, "af_xdp fabric: %s: %s", what, strerror(-rc));
    return rc;
}

/* A device that reads the UMEM itself needs it in hugepages; the kernel's copies do not. */
static int map_umem(struct xsk *x, char err[PORT_ERROR_MAX])
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    x->umem_bytes = (AF_XDP_UMEM_BYTES + AF_XDP_HUGEPAGE - 1) / AF_XDP_HUGEPAGE * AF_XDP_HUGEPAGE;
    x->umem = mmap(NULL, x->umem_bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
    x->hugepages = x->umem != MAP_FAILED;
    if (!x->hugepages)
        x->umem = mmap(NULL, x->umem_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (x->umem == MAP_FAILED) {
        x->umem = NULL;
        return say(-errno, err, "packet memory");
    }
    return 0;
}

static int set_ring(int fd, int option, int entries)
{
    return setsockopt(fd, SOL_XDP, option, &entries, sizeof(entries)) == 0 ? 0 : -errno;
}

static int map_ring(struct xsk_ring *r, int fd, const struct xdp_ring_offset *at, uint64_t page,
                    uint32_t size, size_t entry)
{
    r->map_bytes = at->desc + size * entry;
    r->map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                  (off_t)page);
    if (r->map == MAP_FAILED) {
        r->map = NULL;
        return -errno;
    }
    uint8_t *base = r->map;
    r->producer = (uint32_t *)(void *)(base + at->producer);
    r->consumer = (uint32_t *)(void *)(base + at->consumer);
    r->flags = (uint32_t *)(void *)(base + at->flags);
    r->entries = base + at->desc;
    r->size = size;
    return 0;
}

static int make_rings(struct xsk *x)
{
    static const int rx_size[STEER_SOCKETS] = {AF_XDP_RING_CONTROL, AF_XDP_RING_PAGES};
    struct xdp_mmap_offsets off;
    socklen_t len = sizeof(off);
    int rc = set_ring(x->fd[0], XDP_UMEM_FILL_RING, AF_XDP_FILL);
    if (rc == 0)
        rc = set_ring(x->fd[0], XDP_UMEM_COMPLETION_RING, AF_XDP_TX);
    if (rc == 0)
        rc = set_ring(x->fd[0], XDP_TX_RING, AF_XDP_TX);
    for (unsigned i = 0; i < STEER_SOCKETS && rc == 0; i++)
        rc = set_ring(x->fd[i], XDP_RX_RING, rx_size[i]);
    if (rc == 0 && getsockopt(x->fd[0], SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) != 0)
        rc = -errno;
    if (rc == 0)
        rc = map_ring(&x->fill, x->fd[0], &off.fr, XDP_UMEM_PGOFF_FILL_RING, AF_XDP_FILL,
                      sizeof(uint64_t));
    if (rc == 0)
        rc = map_ring(&x->completion, x->fd[0], &off.cr, XDP_UMEM_PGOFF_COMPLETION_RING, AF_XDP_TX,
                      sizeof(uint64_t));
    if (rc == 0)
        rc = map_ring(&x->tx, x->fd[0], &off.tx, XDP_PGOFF_TX_RING, AF_XDP_TX,
                      sizeof(struct xdp_desc));
    for (unsigned i = 0; i < STEER_SOCKETS && rc == 0; i++)
        rc = map_ring(&x->rx[i], x->fd[i], &off.rx, XDP_PGOFF_RX_RING, (uint32_t)rx_size[i],
                      sizeof(struct xdp_desc));
    return rc;
}

/* The kernel gives a queue free only a while after its last socket was closed (a work item behind a
 * grace period), so a successor may find it busy. */
static int bind_when_free(int fd, const struct sockaddr_xdp *a)
{
    int rc = -EBUSY;
    for (unsigned i = 0; i < AF_XDP_BIND_TRIES && rc == -EBUSY; i++) {
        if (i > 0)
            usleep(10000);
        rc = bind(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ? 0 : -errno;
    }
    return rc;
}

/* The kernel tries zero-copy first and copies where the driver cannot; several buffers a frame are
 * tried before one. */
static int bind_sockets(struct xsk *x, const char *interface, uint32_t queue, bool single,
                        char err[PORT_ERROR_MAX])
{
    struct sockaddr_xdp a = {
        .sxdp_family = AF_XDP,
        .sxdp_ifindex = if_nametoindex(interface),
        .sxdp_queue_id = queue,
        .sxdp_flags = (uint16_t)(XDP_USE_NEED_WAKEUP | XDP_USE_SG | (x->hugepages ? 0 : XDP_COPY)),
    };
    int rc = bind_when_free(x->fd[0], &a);
    x->multi_buffer = rc == 0;
    if (rc == -EINVAL && single) {
        a.sxdp_flags &= (uint16_t)~XDP_USE_SG;
        rc = bind_when_free(x->fd[0], &a);
    }
    if (rc == 0) { /* the second one has the first one's flags and its two shared rings */
        a.sxdp_flags = XDP_SHARED_UMEM;
        a.sxdp_shared_umem_fd = (uint32_t)x->fd[0];
        rc = bind_when_free(x->fd[1], &a);
    }
    if (rc == -EINVAL && !single)
        snprintf(err, PORT_ERROR_MAX,
                 "af_xdp fabric: the kernel refuses frames of several buffers on %s (XDP_USE_SG, "
                 "Linux 6.6): a newer kernel, fabric.mtu at most %d, or af_packet",
                 interface, AF_XDP_STRIDE - 64);
    else if (rc == -EBUSY)
        snprintf(err, PORT_ERROR_MAX,
                 "af_xdp fabric: queue %u of %s has another AF_XDP socket: end its owner, or "
                 "choose another queue",
                 queue, interface);
    else if (rc != 0)
        say(rc, err, interface);
    return rc;
}

int xsk_open(struct xsk *x, const char *interface, uint32_t queue, bool single,
             char err[PORT_ERROR_MAX])
{
    struct xdp_options options = {0};
    socklen_t len = sizeof(options);
    memset(x, 0, sizeof(*x));
    for (unsigned i = 0; i < STEER_SOCKETS; i++)
        x->fd[i] = -1;
    int rc = map_umem(x, err);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < STEER_SOCKETS; i++) {
        x->fd[i] = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
        if (x->fd[i] < 0)
            return say(-errno, err, "AF_XDP socket");
    }
    struct xdp_umem_reg umem = {
        .addr = (uint64_t)(uintptr_t)x->umem,
        .len = x->umem_bytes,
        .chunk_size = AF_XDP_CHUNK,
        .flags = XDP_UMEM_UNALIGNED_CHUNK_FLAG,
    };
    if (setsockopt(x->fd[0], SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) != 0)
        return say(-errno, err, "packet memory");
    rc = make_rings(x);
    if (rc != 0)
        return say(rc, err, "rings");
    rc = bind_sockets(x, interface, queue, single, err);
    if (rc == 0 && getsockopt(x->fd[0], SOL_XDP, XDP_OPTIONS, &options, &len) == 0)
        x->zero_copy = (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
    return rc;
}

static void unmap_ring(struct xsk_ring *r)
{
    if (r->map != NULL)
        munmap(r->map, r->map_bytes);
}

void xsk_close(struct xsk *x)
{
    for (unsigned i = 0; i < STEER_SOCKETS; i++) {
        unmap_ring(&x->rx[i]);
        if (x->fd[i] >= 0)
            close(x->fd[i]);
    }
    unmap_ring(&x->fill);
    unmap_ring(&x->completion);
    unmap_ring(&x->tx);
    if (x->umem != NULL)
        munmap(x->umem, x->umem_bytes);
}
