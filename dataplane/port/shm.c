/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The embedded default: rings in shared memory between processes of one machine. shm_ring.h has the
 * layout and the memory order, shm.h how processes find each other.
 *
 * Nothing that one side does, or leaves undone by dying at any instruction, makes the other crash:
 * there are no locks, a frame exists only once it is published, and a mapping cannot lose its
 * memory. A frame is copied out of the ring once, by a length read once, before anyone looks at it:
 * what is validated is what is used, whatever the sender writes into the slot meanwhile. The copy
 * is counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/port/rendezvous.h"
#include "dataplane/port/shm.h"

static struct shm_port *self_of(struct port *p)
{
    return (struct shm_port *)p;
}

static void look(struct shm_port *s)
{
    s->polls = 0;
    shm_link_read(s);
}

static uint32_t rx_one(struct shm_port *s, uint8_t from, struct port_frame *out, uint32_t used,
                       uint32_t max)
{
    struct shm_rx *x = &s->rx[from];
    uint32_t n = used, start = x->next, len;
    /* At most one lap, so that a sender that overwrites what it must not cannot hold us here. */
    while (n < max && x->next - start < SHM_SLOTS && shm_ring_peek(x->ring, x->next, &len)) {
        const struct shm_slot *slot = shm_slot_at(x->ring, x->next++);
        if (len == 0 || len > s->port.mtu) {
            s->port.counters.rx_foreign++;
            continue;
        }
        uint8_t *copy = s->frames + (size_t)n * RRDP_MTU_MAX;
        memcpy(copy, slot->data, len);
        out[n++] =
            (struct port_frame){.data = copy, .len = len, .src = {.addr = {2, 0, 0, 0, 0, from}}};
        s->port.counters.rx_bytes += len;
        s->port.counters.rx_copied_bytes += len;
    }
    if (x->next != start)
        atomic_store_explicit(&x->ring->tail, x->next, memory_order_release); /* [B] */
    return n;
}

static uint32_t shm_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct shm_port *s = self_of(p);
    uint32_t n = 0;
    if (max > PORT_BURST)
        max = PORT_BURST;
    if (++s->polls >= SHM_LOOK_POLLS)
        look(s);
    for (uint8_t i = 0; i < s->nodes && n < max; i++) {
        uint8_t from = (uint8_t)((s->rotor + i) % s->nodes);
        if (from != s->self)
            n = rx_one(s, from, out, n, max);
    }
    s->rotor = (uint8_t)((s->rotor + 1) % s->nodes);
    p->counters.rx_frames += n;
    return n;
}

/* True if the next slot may be written. A tail that makes no sense counts as full: it harms who
 * wrote it. */
static bool has_room(struct shm_tx *t)
{
    if (t->next - t->tail_seen < SHM_SLOTS)
        return true;
    t->tail_seen = atomic_load_explicit(&t->ring->tail, memory_order_acquire); /* [B] */
    return t->next - t->tail_seen < SHM_SLOTS;
}

static uint8_t *shm_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    struct shm_port *s = self_of(p);
    (void)mac;
    if (peer >= s->nodes || peer == s->self)
        return NULL;
    struct shm_tx *t = &s->tx[peer];
    if (t->ring == NULL || !has_room(t)) {
        look(s); /* a peer that restarted does not empty its old ring */
        if (t->ring == NULL || !has_room(t)) {
            p->counters.tx_full++;
            return NULL;
        }
    }
    s->reserved_peer = peer;
    return shm_slot_at(t->ring, t->next)->data;
}

static void shm_tx_commit(struct port *p, uint32_t len)
{
    struct shm_port *s = self_of(p);
    struct shm_tx *t = &s->tx[s->reserved_peer];
    shm_ring_publish(t->ring, t->next++, len);
    t->dirty = true;
    p->counters.tx_frames++;
    p->counters.tx_bytes += len;
}

static void shm_flush(struct port *p)
{
    struct shm_port *s = self_of(p);
    bool fenced = false;
    for (uint8_t i = 0; i < s->nodes; i++) {
        struct shm_tx *t = &s->tx[i];
        if (!t->dirty)
            continue;
        t->dirty = false;
        if (!fenced)
            atomic_thread_fence(memory_order_seq_cst); /* [C] */
        fenced = true;
        /* Cleared before the bell: cleared after it, the flag of the receiver's next sleep could be
         * lost. */
        if (atomic_load_explicit(&t->ring->sleeping, memory_order_relaxed) != 0) {
            atomic_store_explicit(&t->ring->sleeping, 0, memory_order_relaxed);
            shm_link_ring_bell(s, i);
        }
    }
}

/* ---- sleep --------------------------------------------------------------------------------- */

static int shm_wait_fd(struct port *p)
{
    return self_of(p)->socket;
}

static void set_sleeping(struct shm_port *s, uint32_t on)
{
    for (uint8_t i = 0; i < s->nodes; i++)
        if (i != s->self)
            atomic_store_explicit(&s->rx[i].ring->sleeping, on, memory_order_relaxed);
}

static void shm_disarm(struct port *p)
{
    set_sleeping(self_of(p), 0);
    look(self_of(p));
}

static bool shm_arm(struct port *p)
{
    struct shm_port *s = self_of(p);
    uint32_t len;
    set_sleeping(s, 1);
    atomic_thread_fence(memory_order_seq_cst); /* [C] */
    for (uint8_t i = 0; i < s->nodes; i++) {
        if (i == s->self || !shm_ring_peek(s->rx[i].ring, s->rx[i].next, &len))
            continue;
        set_sleeping(s, 0);
        return false;
    }
    return true;
}

/* ---- open and close ------------------------------------------------------------------------ */

static void shm_close(struct port *p)
{
    struct shm_port *s = self_of(p);
    shm_link_close(s);
    rmdir(s->dir); /* the last one to leave; others' files keep it */
    free(s->frames);
    free(s);
}

static bool shm_gone(struct port *p, uint8_t peer)
{
    const struct shm_port *s = (const struct shm_port *)p;
    return peer < s->nodes && shm_link_gone(s, peer);
}

static const struct port_ops shm_ops = {
    .name = "shm",
    .rx = shm_rx,
    .tx_reserve = shm_tx_reserve,
    .tx_commit = shm_tx_commit,
    .flush = shm_flush,
    .wait_fd = shm_wait_fd,
    .arm = shm_arm,
    .disarm = shm_disarm,
    .gone = shm_gone,
    .close = shm_close,
};

static int start(struct shm_port *s, char err[PORT_ERROR_MAX])
{
    int rc = shm_link_bind(s);
    if (rc == -ENOENT && rendezvous_dir("shm fabric", s->dir, err) == 0) {
        /* the last one of a former cluster left just now */
        close(s->socket);
        rc = shm_link_bind(s);
    }
    for (uint8_t i = 0; i < s->nodes && rc == 0; i++)
        if (i != s->self)
            rc = shm_link_create(s, i);
    for (uint8_t i = 0; i < s->nodes && rc == 0; i++)
        if (i != s->self)
            shm_link_offer(s, i);
    return rc;
}

int port_open_shm(const char *dir, uint8_t self, uint8_t nodes, uint16_t mtu,
                  struct port **ret_port, char err[PORT_ERROR_MAX])
{
    struct timespec now;
    if (strlen(dir) >= SHM_DIR_MAX || self >= nodes || nodes > WIRE_NODES_MAX ||
        mtu > RRDP_MTU_MAX) {
        snprintf(err, PORT_ERROR_MAX,
                 "shm fabric: the directory's name may have %d bytes, nodes are at most %d and "
                 "the MTU at most %d; this is node %u of %u, MTU %u",
                 SHM_DIR_MAX - 1, WIRE_NODES_MAX, RRDP_MTU_MAX, self, nodes, mtu);
        return -EINVAL;
    }
    int rc = rendezvous_dir("shm fabric", dir, err);
    if (rc != 0)
        return rc;
    struct shm_port *s = calloc(1, sizeof(*s));
    uint8_t *frames = calloc(PORT_BURST, RRDP_MTU_MAX);
    if (s == NULL || frames == NULL) {
        free(s);
        free(frames);
        snprintf(err, PORT_ERROR_MAX, "shm fabric: out of memory");
        return -ENOMEM;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *s = (struct shm_port){.self = self,
                           .nodes = nodes,
                           .socket = -1,
                           .frames = frames,
                           .epoch = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
    s->port = (struct port){
        .ops = &shm_ops, .name = "shm", .mtu = mtu, .mac = {.addr = {2, 0, 0, 0, 0, self}}};
    memcpy(s->dir, dir, strlen(dir) + 1);
    rc = start(s, err);
    if (rc == -EADDRINUSE)
        snprintf(err, PORT_ERROR_MAX,
                 "shm fabric: node %u already runs in %s; end it, or give this node another "
                 "number or run_dir",
                 self, dir);
    else if (rc != 0)
        snprintf(err, PORT_ERROR_MAX,
                 "shm fabric in %s: %s; it needs a writable directory and %zu MiB of memory", dir,
                 strerror(-rc), ((nodes - 1) * sizeof(struct shm_ring) >> 20) + 1);
    if (rc != 0) {
        shm_close(&s->port);
        return rc;
    }
    *ret_port = &s->port;
    return 0;
}
