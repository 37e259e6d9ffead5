/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PANDO_ENDPOINT_INTERNAL_H
#define PANDO_ENDPOINT_INTERNAL_H

#include "dataplane/base/pool.h"
#include "dataplane/endpoint/endpoint.h"

enum {
    ENDPOINT_HEADER = 2,
    ENDPOINT_INLINE = RRDP_MSG_INLINE - ENDPOINT_HEADER, /* bytes of a message without a buffer */
    ENDPOINT_MSG_MAX = ENDPOINT_HEADER + ENDPOINT_BYTES_MAX,
};

_Static_assert(ENDPOINT_KIND >= (int)WIRE_KIND_LIMIT, "no dataplane's kind");
_Static_assert(ENDPOINT_INLINE == (int)ENDPOINT_URGENT_BYTES, "goes without a buffer");
_Static_assert(ENDPOINT_HEADER + ENDPOINT_FRAME_BYTES == WIRE_MSG_HEADER, "one minimum frame");
_Static_assert(ENDPOINT_BYTES_MAX - ENDPOINT_INLINE <= WIRE_BYTES_MAX, "RRDP's limit");

/* A message that comes in several segments. */
struct assembly {
    bool dropped; /* its rest is not looked at */
    uint32_t len;
    uint8_t bytes[ENDPOINT_MSG_MAX];
};

struct endpoint {
    struct endpoint_config cfg;
    struct port *port;
    struct rrdp *rrdp;
    uint64_t now;
    uint64_t polled;           /* when the loop ran last */
    uint64_t wake_at, gone_at; /* the next look at wake_fd, for ended processes of peers ... */
    uint64_t gone;             /* ... which the last look found */
    struct endpoint_counters count;

    /* What came and was not yet looked at: frames, then segments of the last of them. */
    struct port_frame frame[PORT_BURST];
    uint32_t frames, frame_at;
    struct rrdp_segments segments;
    uint32_t segment_at;
    struct assembly *assembly; /* [node * WIRE_CLASSES + class] */

    /* Peers that ENDPOINT_ROOM is due for: once their queue has room; once there is a buffer, too.
     */
    uint64_t blocked[WIRE_CLASSES], no_buffer[WIRE_CLASSES];
    struct pool buffers;
    uint32_t *buffer_next;
    uint8_t (*buffer)[WIRE_BYTES_MAX];
};

/* receive.c */
void endpoint_transmit(struct endpoint *ep);
bool endpoint_next(struct endpoint *ep, struct endpoint_message *out);
bool endpoint_poll(struct endpoint *ep);

/* receive.c: sleeps until frames come, something is due, or `until`. 0, or -EINTR. */
int endpoint_wait(struct endpoint *ep, uint64_t until);

#endif
