/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Some RRDP nodes on a faulty network in virtual time, for the test_rrdp_*.c. Everything follows
 * from the seed. The world checks by itself: every message arrives once, in order, with its own
 * bytes, and after each step the invariants of each node hold.
 */
#ifndef PANDO_TESTS_RRDP_WORLD_H
#define PANDO_TESTS_RRDP_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dataplane/base/prng.h"
#include "dataplane/transport/rrdp.h"

enum { W_NODES = 5, W_PACKETS = 16384, W_FRAME = RRDP_MTU_MAX, W_TRAILER = 16 };

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

struct w_packet {
    uint64_t at, order;
    uint8_t src, dst;
    uint16_t len;
    uint8_t *bytes;
};

/* A message under way into a receiver, and how many came before it. */
struct w_stream {
    uint32_t sent, received, freed;
    uint32_t have;
    uint8_t bytes[WIRE_MSG_MAX];
};

struct w_link {
    uint32_t up, down, refused;
    uint64_t why;  /* of the last DOWN or REFUSED */
    uint16_t mtu;  /* as the last RRDP_EV_MTU said */
    uint32_t mtus; /* how many there were */
    uint32_t pongs;
    struct rrdp_event pong; /* the last */
    struct w_stream cls[WIRE_CLASSES];
};

struct w_node {
    struct rrdp_config cfg;
    struct rrdp_mac mac;
    struct rrdp *r;
    void *mem;
    struct w_link link[W_NODES];
};

struct world {
    uint64_t now, seed, order, epoch;
    struct prng rng;
    uint32_t loss, dup, corrupt, reorder; /* parts per million */
    uint64_t latency;
    size_t path_mtu[W_NODES]; /* of what a node sends, longer frames vanish */
    /* The switch's port to a node passes a frame in that time, and holds so many; 0: no limit. */
    uint64_t frame_ns, port_clear[W_NODES];
    uint32_t port_frames;
    bool cut[W_NODES][W_NODES]; /* one way */
    uint32_t trailer;           /* bytes that the fabric leaves behind each frame */
    bool mute;                  /* payload checks off: for frames made by the test itself */
    uint32_t frames;            /* handed to the network */
    uint32_t most_ahead;        /* of any frame sent, beyond the receiver's last ACK */
    /* Tests look at, or drop (true), a frame on its way; NULL: none. */
    bool (*filter)(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h);
    void *arg;
    uint8_t nodes;
    struct w_node node[W_NODES];
    struct w_packet heap[W_PACKETS];
    uint32_t packets;
    struct rrdp_segments segments;
};

struct world *world_new(uint8_t nodes, uint16_t mtu, uint64_t seed);
void world_free(struct world *w);

/* Starts a node, or starts it again: a new process with a larger epoch. */
void world_start(struct world *w, uint8_t n);
void world_start_all(struct world *w);
/* Its process is gone. */
void world_kill(struct world *w, uint8_t n);

/* A message of payload bytes. 0, or what rrdp_send says. */
int world_send(struct world *w, uint8_t src, uint8_t dst, uint8_t cls, uint32_t payload);

/* The same message, of class 0 and without payload, to several nodes (a bit each), to all of which
 * as many were sent before. 0, or -EAGAIN. */
int world_send_all(struct world *w, uint8_t src, uint64_t members);

/* Lets a node do what it has to do now: time, events, frames. */
void world_poll(struct world *w, uint8_t n);
/* Runs for ns of virtual time. */
void world_run(struct world *w, uint64_t ns);
/* Runs until all that was sent is delivered and acknowledged; fails after ns. Returns the time. */
uint64_t world_drain(struct world *w, uint64_t ns);
/* Runs until every pair of nodes is connected; fails after ns. */
void world_connect(struct world *w, uint64_t ns);

bool world_up(const struct world *w, uint8_t a, uint8_t b);
uint64_t world_drops(const struct world *w, uint8_t n, enum rrdp_drop why);
/* A sum over all peers, of one member of struct rrdp_counters. */
#define world_count(w, n, member) world_sum(w, n, offsetof(struct rrdp_counters, member))
uint64_t world_sum(const struct world *w, uint8_t n, size_t offset);

/* Hands a frame to node dst as if it came from src now. */
void world_inject(struct world *w, uint8_t src, uint8_t dst, const uint8_t *frame, size_t len);
/* Builds the next frame of node n into out; 0 if there is none. */
size_t world_take(struct world *w, uint8_t n, uint8_t *out, struct rrdp_frame *ret_frame);

#endif
