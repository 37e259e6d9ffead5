/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RRDP by itself, used like a socket: open, send and receive by node number and class, close. EDGE.
 *
 * For programs that want the transport and nothing else of Pando: a port (any fabric of
 * port/port.h), a node number, and this. Delivery is what transport/rrdp.h promises: exactly once
 * and in order per (peer, class, epoch), nothing across classes or peers. A peer that restarts is
 * ENDPOINT_DOWN, then ENDPOINT_UP; what was under way to it is lost, and nothing of its former life
 * is delivered after the DOWN.
 *
 * There is no thread: everything happens within the caller's calls. One thread owns an endpoint.
 * It has to come to endpoint_receive at least once a heartbeat, or its peers take it for dead after
 * dead_ns; it does not take them for dead because of its own absence. Nothing is allocated after
 * endpoint_open.
 *
 * On the wire a message is: kind 1 (ENDPOINT_KIND) | count 1 | bytes. It is filled up with zeros to
 * WIRE_MSG_HEADER bytes; count is the number of bytes, at most ENDPOINT_FRAME_BYTES, and tells them
 * from the filling. So up to 20 bytes travel in one minimum Ethernet frame of 64 bytes. The kind
 * lies outside those of dataplanes, which drop and count it; an endpoint drops theirs.
 */
#ifndef PANDO_ENDPOINT_H
#define PANDO_ENDPOINT_H

#include "dataplane/port/port.h"

enum {
    ENDPOINT_KIND = 0x40,       /* not below WIRE_KIND_LIMIT */
    ENDPOINT_FRAME_BYTES = 20,  /* of a message that is one minimum frame */
    ENDPOINT_URGENT_BYTES = 62, /* of a message of WIRE_CLASS_URGENT, which is never cut */
    ENDPOINT_BYTES_MAX = 16384, /* of a message */
    ENDPOINT_BUFFERS = 64,      /* a good number for `buffers` */
    ENDPOINT_BUFFERS_MAX = 65536,
};

#define ENDPOINT_FOREVER UINT64_MAX

struct endpoint;

struct endpoint_config {
    struct rrdp_config rrdp; /* endpoint_defaults, then at least self, nodes and cluster_id */
    uint32_t buffers;        /* messages of more than 62 bytes, sent and not acknowledged:
                                1..ENDPOINT_BUFFERS_MAX, each of 16 KiB */
    uint64_t spin_ns;        /* endpoint_receive polls for so long before it sleeps */
    /* Who waits for a descriptor of its own as well gives it here, and endpoint_receive ends with
     * -EINTR when it is readable and there is no message: asleep at once, else within a
     * millisecond; -1: none. */
    int wake_fd;
};

enum endpoint_type {
    ENDPOINT_DATA,    /* a message */
    ENDPOINT_UP,      /* peer connected; value: its epoch */
    ENDPOINT_DOWN,    /* connection gone; value: enum rrdp_down */
    ENDPOINT_REFUSED, /* a peer that does not fit; value: enum rrdp_refusal */
    ENDPOINT_PONG,    /* answer to endpoint_host_ping; value: id | stamp << 32; by */
    ENDPOINT_MTU,     /* what the path carries is known, or has changed; value: bytes of a frame */
    ENDPOINT_ROOM,    /* peer and cls, which endpoint_send had answered -EAGAIN, can be sent to */
};

struct endpoint_message {
    enum endpoint_type type;
    uint8_t peer;
    uint8_t cls;         /* DATA, ROOM */
    uint8_t by;          /* PONG: enum wire_ping_by */
    uint32_t len;        /* DATA: 0..ENDPOINT_BYTES_MAX */
    const uint8_t *data; /* DATA: valid until the next endpoint_receive or endpoint_close */
    uint64_t value;
};

struct endpoint_counters {
    uint64_t sent, received; /* messages */
    uint64_t dropped_kind;   /* not ours: a dataplane with our cluster's id and configuration */
    uint64_t dropped_length; /* too long, or count and length disagree */
    uint64_t no_room;        /* frames that the port had no room for: RRDP sends them again */
    uint64_t sleeps;
};

/* Timers, credit and MTU as they suit a LAN and port; epoch from the wall clock; a config_hash of
 * endpoints' own (RRDP_HASH_ENDPOINT). To be completed. */
void endpoint_defaults(struct endpoint_config *ret_cfg, const struct port *port);

/* Takes the port over (closed by endpoint_close), also when it fails. DPDK's ports need EAL before
 * (port/eal.h). 0 and *ret_endpoint; -EINVAL: configuration out of range, -ENOMEM. */
int endpoint_open(const struct endpoint_config *cfg, struct port *port,
                  struct endpoint **ret_endpoint);

/* Sends len bytes (0..ENDPOINT_BYTES_MAX; 0..ENDPOINT_URGENT_BYTES in
 * WIRE_CLASS_URGENT) to peer in a class (enum wire_class). They are copied.
 * more: others follow at once, so the frames may wait until a call without it, or
 * endpoint_receive.
 *
 * 0; -ENOTCONN: no connection with peer now (after ENDPOINT_UP there is one); -EAGAIN: RRDP_QUEUE
 * messages or all buffers wait for acknowledgements, which endpoint_receive takes in, so try again
 * after its ENDPOINT_ROOM; -EINVAL: peer, class or len out of range. Never blocks, never drops. */
int endpoint_send(struct endpoint *ep, uint8_t peer, uint8_t cls, const void *data, uint32_t len,
                  bool more);

/* Polls, and takes the next message or event. timeout_ns: 0 does not wait, ENDPOINT_FOREVER has no
 * end. 0 and *ret_message; -EAGAIN: nothing in that time; -EINTR: a signal, or wake_fd. Between
 * two calls that answer 0 the endpoint may be sent on, whatever ret_message points to. */
int endpoint_receive(struct endpoint *ep, uint64_t timeout_ns,
                     struct endpoint_message *ret_message);

/* Asks the peer's host for a sign of life: rrdp_host_ping. Its answer is ENDPOINT_PONG. Leaves at
 * once. 0 or -EINVAL. */
int endpoint_host_ping(struct endpoint *ep, uint8_t peer, uint32_t id, uint32_t stamp);

bool endpoint_up(const struct endpoint *ep, uint8_t peer);
/* port_look, some times a second: an endpoint whose port is dead is to be closed. */
const char *endpoint_look(struct endpoint *ep);
const struct endpoint_counters *endpoint_counters(const struct endpoint *ep);
const struct rrdp *endpoint_rrdp(const struct endpoint *ep); /* to read counters, RTT, MTU */

/* Delivers what was sent, within at most linger_ns, tells the peers (they see RRDP_DOWN_CLOSED) and
 * closes the port. Messages that arrive meanwhile are lost. linger_ns 0: RST at once
 * (RRDP_DOWN_RST). NULL is fine. Returns 0, or -ETIMEDOUT: some peer has not acknowledged all. */
int endpoint_close(struct endpoint *ep, uint64_t linger_ns);

/* CLOCK_MONOTONIC, ns: the endpoint's time. */
uint64_t endpoint_now(void);

#endif
