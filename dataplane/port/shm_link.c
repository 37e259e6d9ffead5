/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings of the shared-memory port: made, offered, checked and mapped; and the doorbell. See shm.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/port/rendezvous.h"
#include "dataplane/port/shm.h"

/* What travels over the socket beside doorbells, with one descriptor. From a peer: checked in
 * accept_offer. */
struct shm_offer {
    uint64_t magic;
    uint32_t version;
    uint8_t from, to;
    uint16_t reserved;
    uint64_t epoch; /* of this ring and its owner */
    uint64_t seen;  /* the epoch of the addressee's ring that the owner has mapped; 0: none */
};
_Static_assert(sizeof(struct shm_offer) == 32, "shared with other processes");

static void socket_path(const struct shm_port *s, uint8_t node, struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(a->sun_path, sizeof(a->sun_path), "%s/shm-%u.sock", s->dir, node);
}

int shm_link_create(struct shm_port *s, uint8_t from)
{
    void *map;
    int fd = rendezvous_memory("pando-ring", sizeof(struct shm_ring), &map);
    if (fd < 0)
        return fd;
    struct shm_ring *r = map;
    r->magic = SHM_MAGIC;
    r->version = SHM_VERSION;
    r->slots = SHM_SLOTS;
    r->slot_size = SHM_SLOT_SIZE;
    r->epoch = s->epoch;
    s->rx[from] = (struct shm_rx){.ring = r, .fd = fd};
    return 0;
}

/* 0: a living process has this socket; -ECONNREFUSED, -ENOENT: none has (a dead one's file refuses
 * the connection); else -errno: it cannot be told. */
static int probe(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

static bool is_dead(int rc)
{
    return rc == -ECONNREFUSED || rc == -ENOENT;
}

bool shm_link_gone(const struct shm_port *s, uint8_t node)
{
    struct sockaddr_un a;
    socket_path(s, node, &a);
    return is_dead(probe(&a));
}

int shm_link_bind(struct shm_port *s)
{
    struct sockaddr_un a;
    socket_path(s, s->self, &a);
    s->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->socket < 0)
        return -errno;
    int rc = probe(&a);
    if (!is_dead(rc))
        return rc == 0 ? -EADDRINUSE : rc;
    unlink(a.sun_path);
    if (bind(s->socket, (struct sockaddr *)&a, sizeof(a)) != 0)
        return -errno;
    s->bound = true;
    return 0;
}

void shm_link_offer(struct shm_port *s, uint8_t to)
{
    struct shm_offer o = {.magic = SHM_MAGIC,
                          .version = SHM_VERSION,
                          .from = s->self,
                          .to = to,
                          .epoch = s->epoch,
                          .seen = s->tx[to].epoch};
    struct sockaddr_un a;
    socket_path(s, to, &a);
    int rc = rendezvous_send(s->socket, &a, &o, sizeof(o), s->rx[to].fd);
    /* A peer that is not there offers first when it starts; any other failure is a shortage. */
    s->tx[to].offer_due = rc != 0 && !is_dead(rc);
}

void shm_link_unmap(struct shm_tx *t)
{
    if (t->ring != NULL)
        munmap(t->ring, sizeof(*t->ring));
    t->ring = NULL;
    t->epoch = 0;
    t->dirty = false;
}

static struct shm_ring *map_checked(int fd, uint64_t epoch)
{
    struct shm_ring *r = rendezvous_map(fd, sizeof(*r));
    if (r == NULL || (r->magic == SHM_MAGIC && r->version == SHM_VERSION && r->slots == SHM_SLOTS &&
                      r->slot_size == SHM_SLOT_SIZE && r->epoch == epoch))
        return r;
    munmap(r, sizeof(*r));
    return NULL;
}

static void accept_offer(struct shm_port *s, const struct shm_offer *o, int fd)
{
    bool good = o->magic == SHM_MAGIC && o->version == SHM_VERSION && o->from < s->nodes &&
                o->from != s->self && o->to == s->self && o->reserved == 0 && o->epoch != 0 &&
                fd >= 0;
    if (!good) {
        s->port.counters.rx_foreign++;
        return;
    }
    struct shm_tx *t = &s->tx[o->from];
    if (o->epoch != t->epoch) {
        struct shm_ring *r = map_checked(fd, o->epoch);
        if (r == NULL) {
            s->port.counters.rx_foreign++;
            return;
        }
        if (t->ring != NULL)
            s->port.counters.peer_restarts++;
        shm_link_unmap(t);
        t->ring = r;
        t->epoch = o->epoch;
        t->next = shm_ring_resume(r);
        t->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire); /* [B] */
    }
    if (o->seen != s->epoch)
        shm_link_offer(s, o->from);
}

static bool read_one(struct shm_port *s)
{
    struct shm_offer o;
    int fd;
    ssize_t n = rendezvous_receive(s->socket, &o, sizeof(o), &fd);
    if (n < 0)
        return false;
    if (n == sizeof(o))
        accept_offer(s, &o, fd);
    else if (n != 1)
        s->port.counters.rx_foreign++;
    if (fd >= 0)
        close(fd);
    return true;
}

void shm_link_read(struct shm_port *s)
{
    for (unsigned i = 0; i < 4 * WIRE_NODES_MAX && read_one(s); i++)
        ;
    for (uint8_t n = 0; n < s->nodes; n++)
        if (s->tx[n].offer_due)
            shm_link_offer(s, n);
}

void shm_link_ring_bell(struct shm_port *s, uint8_t to)
{
    struct sockaddr_un a;
    socket_path(s, to, &a);
    /* A full queue already wakes the receiver. */
    (void)sendto(s->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a));
}

void shm_link_close(struct shm_port *s)
{
    struct sockaddr_un a;
    for (uint8_t n = 0; n < s->nodes; n++) {
        shm_link_unmap(&s->tx[n]);
        if (s->rx[n].ring == NULL)
            continue;
        munmap(s->rx[n].ring, sizeof(struct shm_ring));
        close(s->rx[n].fd);
    }
    if (s->bound) {
        socket_path(s, s->self, &a);
        unlink(a.sun_path);
    }
    if (s->socket >= 0)
        close(s->socket);
}
