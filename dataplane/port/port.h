/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port moves frames between this node and its peers: the one interface to every fabric. EDGE.
 *
 * A frame here is what RRDP gives and takes (no Ethernet header); the port adds and removes the
 * link header where the fabric has one. Ports may lose, duplicate and reorder; RRDP repairs. All
 * functions are called by the one polling thread, except open and close (before and after polling).
 */
#ifndef PANDO_PORT_H
#define PANDO_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/transport/rrdp.h"

enum { PORT_BURST = 32, PORT_NAME_MAX = 32, PORT_ERROR_MAX = 256 };

struct port_counters {
    uint64_t tx_frames, rx_frames, tx_bytes, rx_bytes;
    uint64_t tx_full;       /* frames refused because the ring was full: RRDP sends them again */
    uint64_t rx_foreign;    /* other EtherType or malformed link header */
    uint64_t copied_bytes;  /* by us, not by the driver */
    uint64_t peer_restarts; /* shared-memory ring: the peer mapped a new ring */
};

/* A received frame; data is valid until the next port_rx. */
struct port_frame {
    const uint8_t *data;
    uint32_t len;
    struct rrdp_mac src;
};

struct port;

struct port_ops {
    const char *name;
    /* Receives up to max frames; returns how many. Never blocks. */
    uint32_t (*rx)(struct port *p, struct port_frame *out, uint32_t max);
    /* A buffer of at least port_mtu bytes for one frame to `peer`; NULL: no room now (counted). The
     * caller writes the frame and calls tx_commit with its length; or never, then the buffer is
     * offered again. Nothing else of the port may be called in between: the buffer may go away with
     * it. */
    uint8_t *(*tx_reserve)(struct port *p, uint8_t peer,
                           const struct rrdp_mac *mac /* NULL: broadcast */);
    void (*tx_commit)(struct port *p, uint32_t len);
    /* Pushes out what was committed (doorbells, tx_burst). Called once a loop. */
    void (*flush)(struct port *p);
    /* A descriptor that becomes readable when frames may have come, after arm() returned true; -1:
     * none (the loop then polls with short sleeps). arm() returns false if frames are there
     * already. */
    int (*wait_fd)(struct port *p);
    bool (*arm)(struct port *p);
    void (*disarm)(struct port *p);
    /* True if the fabric knows that the peer's process has ended (shm: nobody is behind its socket;
     * memif: disconnected after it was connected). May cost system calls. Frames that the peer sent
     * before may still be waiting. NULL: only silence tells. */
    bool (*gone)(struct port *p, uint8_t peer);
    void (*close)(
        struct port *p); /* leaves nothing behind: no file, socket, segment. Use port_close */
};

struct port {
    const struct port_ops *ops;
    char name[PORT_NAME_MAX];
    uint16_t mtu; /* frame bytes without link header: 1500, 9000, ... */
    struct rrdp_mac mac;
    struct port_counters counters;
};

static inline uint32_t port_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    return p->ops->rx(p, out, max);
}

static inline bool port_peer_gone(struct port *p, uint8_t peer)
{
    return p->ops->gone != NULL && p->ops->gone(p, peer);
}

/* Openers. Each returns 0 and *ret_port, or -errno and a sentence in err that says what to do.
 *
 * shm: rings in shared memory between the processes of one machine, exchanged over sockets in
 * `dir`, which is created 0700 and removed by the last node that leaves. A peer that died and came
 * back is recognised by its epoch and its new ring is mapped. Survives kill -9 of a peer at any
 * instruction; the next open removes what was left. -EADDRINUSE: a living process has this number
 * in this directory. */
int port_open_shm(const char *dir, uint8_t self, uint8_t nodes, uint16_t mtu,
                  struct port **ret_port, char err[PORT_ERROR_MAX]);
/* ethdev: any DPDK port, by device arguments ("net_memif0,role=server,...",
 * "net_af_packet0,iface=veth0"). EAL is initialised by the caller (eal.h). One device for all peers
 * (peer_of NULL), or, for memif, one device per peer: devargs[i] leads to node peer_of[i]. Frames
 * have this EtherType; all others, and those that are tagged, not for our address, or our own, are
 * counted (rx_foreign). */
int port_open_ethdev(const char *const *devargs, uint32_t count, const uint8_t *peer_of,
                     uint16_t ethertype, uint16_t mtu, struct port **ret_port,
                     char err[PORT_ERROR_MAX]);
/* The two that need no hardware. memif: sockets "memif-<low>-<high>.sock" in `dir`, the lower
 * number serves; a peer that was killed is not connected again. af_packet: any kernel interface
 * that carries mtu. */
int port_open_memif(const char *dir, uint8_t self, uint8_t nodes, uint16_t ethertype, uint16_t mtu,
                    struct port **ret_port, char err[PORT_ERROR_MAX]);
int port_open_af_packet(const char *interface, uint16_t ethertype, uint16_t mtu,
                        struct port **ret_port, char err[PORT_ERROR_MAX]);
/* pair: in memory, both ends in one process, for tests. */
int port_open_pair(uint16_t mtu, struct port **ret_a, struct port **ret_b);

/* Fault filter: wraps a port and drops, duplicates, reorders, corrupts and delays frames, seeded,
 * in both or one direction. Takes ownership of inner. Rates in parts per million. */
struct port_faults {
    uint64_t seed;
    uint32_t drop_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, delay_ppm;
    uint32_t delay_max_us;
    uint64_t one_way_block; /* bit n: everything to peer n is dropped (one-way partition) */
};
struct port_fault_counters {
    uint64_t dropped, duplicated, reordered, corrupted, delayed;
};
int port_open_faulty(struct port *inner, const struct port_faults *faults, uint64_t (*now_ns)(void),
                     struct port **ret_port);
const struct port_fault_counters *
port_fault_counters(const struct port *p); /* NULL if not a filter */

/* Closes and frees; NULL is fine. Returns NULL, so that `p = port_close(p)`. */
struct port *port_close(struct port *p);

#endif
