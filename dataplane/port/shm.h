/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the shared-memory port: shm.c moves frames, shm_link.c makes and exchanges the rings.
 *
 * Each node owns a datagram socket "<dir>/shm-<node>.sock", the only thing in the file system. It
 * carries
 *   - a doorbell: one byte, sent only to a receiver that said it sleeps;
 *   - an offer: "this is the ring for your frames to me", with the memfd, once per pair and start.
 * Every start of a node is an epoch. An offer says which epoch of the other side its sender has
 * mapped; who sees that the other side has not mapped its present ring answers with an offer of its
 * own. So the later of two nodes to start connects both, and a restarted one replaces its rings
 * everywhere.
 */
#ifndef PANDO_PORT_SHM_H
#define PANDO_PORT_SHM_H

#include "dataplane/port/port.h"
#include "dataplane/port/shm_ring.h"

enum {
    SHM_DIR_MAX = 88,     /* "/shm-255.sock" behind it fits into sockaddr_un */
    SHM_LOOK_POLLS = 256, /* empty or not: every so many receives the socket is looked at */
};

struct shm_tx {
    struct shm_ring *ring; /* NULL: no offer yet */
    uint64_t epoch;
    uint32_t next;
    uint32_t tail_seen; /* the receiver's tail when last read: it only grows, so reading it late is
                           safe */
    bool dirty;
    bool offer_due; /* our ring could not be offered: socket queue full */
};

struct shm_rx {
    struct shm_ring *ring;
    int fd; /* to be offered again to a peer that restarts */
    uint32_t next;
};

struct shm_port {
    struct port port;
    char dir[SHM_DIR_MAX];
    uint8_t self, nodes;
    uint64_t epoch;
    int socket;
    bool bound;
    uint32_t polls;
    uint8_t rotor, reserved_peer;
    struct shm_tx tx[WIRE_NODES_MAX];
    struct shm_rx rx[WIRE_NODES_MAX];
    uint8_t *frames; /* PORT_BURST private copies */
};

/* Makes the ring for frames from `from`. */
int shm_link_create(struct shm_port *s, uint8_t from);
/* Binds the socket, after removing one that a killed process left; -EADDRINUSE if its owner lives.
 */
int shm_link_bind(struct shm_port *s);
/* True if it is certain that no process is behind the node's socket. */
bool shm_link_gone(const struct shm_port *s, uint8_t node);
void shm_link_offer(struct shm_port *s, uint8_t to);
/* Reads what came to the socket: forgets doorbells, maps offered rings. Afterwards no pointer into
 * a tx ring from before is valid. */
void shm_link_read(struct shm_port *s);
void shm_link_ring_bell(struct shm_port *s, uint8_t to);
void shm_link_unmap(struct shm_tx *t);
void shm_link_close(struct shm_port *s);

#endif
