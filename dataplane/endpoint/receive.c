/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop within endpoint_receive: frames, their segments put together to messages, events, time,
 * and sleep when there is nothing.
 *
 * A segment points into the frame it came in, or into what RRDP parked. Both stay until the next
 * frame is handed to RRDP or taken from the port, and that is done only when all segments before
 * are used up: so a message of one segment is given to the caller where it lies.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/bits.h"
#include "dataplane/endpoint/internal.h"
#include "dataplane/port/frame.h"

#define US UINT64_C(1000)

enum {
    EMPTY_POLLS = 16,   /* then the core is given away for a moment */
    STALL_MS = 20,      /* a caller that was away for longer has not heard its peers */
    NO_WAIT_FD_US = 50, /* a port without a descriptor is polled at this interval */
    SLEEP_MIN_US = 20,  /* shorter is not worth the system call */
    WAKE_US = 1000,     /* between two looks at wake_fd while awake */
    GONE_MS = 100,      /* between two looks for peers whose process has ended */
};

void endpoint_transmit(struct endpoint *ep)
{
    struct rrdp_frame f;
    uint32_t copied;
    while (rrdp_transmit(ep->rrdp, ep->now, &f)) {
        const uint8_t *payload =
            f.payload_len > 0 ? ep->buffer[f.payload] + f.payload_offset : NULL;
        if (!port_put_frame(ep->port, &f, payload, &copied))
            ep->count.no_room++;
    }
    ep->port->ops->flush(ep->port);
}

/* A whole message. False: it is not one of ours, and counted. */
static bool deliver(struct endpoint *ep, const struct rrdp_segment *s, const uint8_t *bytes,
                    uint32_t total, struct endpoint_message *out)
{
    uint32_t count = bytes[1], len = total - ENDPOINT_HEADER;
    if (bytes[0] != ENDPOINT_KIND) {
        ep->count.dropped_kind++;
        return false;
    }
    /* What is longer than the shortest one has no filling. */
    if (count > ENDPOINT_FRAME_BYTES || len > ENDPOINT_BYTES_MAX ||
        (len > ENDPOINT_FRAME_BYTES && count != ENDPOINT_FRAME_BYTES)) {
        ep->count.dropped_length++;
        return false;
    }
    *out = (struct endpoint_message){.type = ENDPOINT_DATA,
                                     .peer = s->peer,
                                     .cls = s->cls,
                                     .len = len > ENDPOINT_FRAME_BYTES ? len : count,
                                     .data = bytes + ENDPOINT_HEADER};
    ep->count.received++;
    return true;
}

static bool take_segment(struct endpoint *ep, const struct rrdp_segment *s,
                         struct endpoint_message *out)
{
    struct assembly *a = &ep->assembly[s->peer * WIRE_CLASSES + s->cls];
    if (s->first && s->last)
        return deliver(ep, s, s->data, s->len, out);
    if (s->first) {
        a->len = 0;
        a->dropped = false;
    }
    if (!a->dropped && s->len > ENDPOINT_MSG_MAX - a->len) {
        a->dropped = true;
        ep->count.dropped_length++;
    }
    if (a->dropped)
        return false;
    memcpy(a->bytes + a->len, s->data, s->len);
    a->len += s->len;
    return s->last && deliver(ep, s, a->bytes, a->len, out);
}

/* False: it is of no interest to the caller. */
static bool take_event(struct endpoint *ep, const struct rrdp_event *ev,
                       struct endpoint_message *out)
{
    static const enum endpoint_type types[] = {
        [RRDP_EV_UP] = ENDPOINT_UP,     [RRDP_EV_DOWN] = ENDPOINT_DOWN,
        [RRDP_EV_PONG] = ENDPOINT_PONG, [RRDP_EV_REFUSED] = ENDPOINT_REFUSED,
        [RRDP_EV_MTU] = ENDPOINT_MTU,
    };
    if (ev->type == RRDP_EV_NONE)
        return false;
    for (unsigned c = 0; c < WIRE_CLASSES && ev->type == RRDP_EV_DOWN; c++) {
        ep->blocked[c] &= ~bit64(ev->peer);
        ep->no_buffer[c] &= ~bit64(ev->peer);
    }
    if (ev->type == RRDP_EV_SENT) {
        port_settle(ep->port, ep->buffer[ev->value], WIRE_BYTES_MAX);
        pool_put(&ep->buffers, (uint32_t)ev->value);
        return false;
    }
    *out = (struct endpoint_message){
        .type = types[ev->type], .peer = ev->peer, .by = ev->by, .value = ev->value};
    return true;
}

/* Whom acknowledgements made room for. Who waits for a buffer keeps nobody else waiting. */
static bool take_room(struct endpoint *ep, struct endpoint_message *out)
{
    bool buffer = ep->buffers.used < ep->buffers.size;
    for (uint8_t c = 0; c < WIRE_CLASSES; c++) {
        uint64_t may = ep->blocked[c] & (buffer ? UINT64_MAX : ~ep->no_buffer[c]);
        for (; may != 0; may &= may - 1) {
            uint8_t n = (uint8_t)bit64_first(may);
            if (rrdp_room(ep->rrdp, n, c) == 0)
                continue;
            ep->blocked[c] &= ~bit64(n);
            ep->no_buffer[c] &= ~bit64(n);
            *out = (struct endpoint_message){.type = ENDPOINT_ROOM, .peer = n, .cls = c};
            return true;
        }
    }
    return false;
}

/* The next message or event of what has come. */
bool endpoint_next(struct endpoint *ep, struct endpoint_message *out)
{
    struct rrdp_event ev;
    for (;;) {
        while (ep->segment_at < ep->segments.n)
            if (take_segment(ep, &ep->segments.seg[ep->segment_at++], out))
                return true;
        while (rrdp_event(ep->rrdp, &ev))
            if (take_event(ep, &ev, out))
                return true;
        if (ep->frame_at == ep->frames)
            return take_room(ep, out);
        const struct port_frame *f = &ep->frame[ep->frame_at++];
        ep->segment_at = 0;
        rrdp_receive(ep->rrdp, ep->now, f->src, f->data, f->len, &ep->segments);
    }
}

/* Awake, wake_fd costs a system call: not in each round. */
static bool woken(struct endpoint *ep)
{
    if (ep->cfg.wake_fd < 0 || ep->now < ep->wake_at)
        return false;
    struct pollfd fd = {.fd = ep->cfg.wake_fd, .events = POLLIN};
    ep->wake_at = ep->now + WAKE_US * US;
    return poll(&fd, 1, 0) > 0;
}

/* Takes a burst from the port, when the one before is used up, and does what is due. True if there
 * was something. */
bool endpoint_poll(struct endpoint *ep)
{
    ep->now = endpoint_now();
    if (ep->now - ep->polled > STALL_MS * 1000 * US)
        rrdp_stalled(ep->rrdp, ep->now - ep->polled);
    ep->polled = ep->now;
    ep->segments.n = ep->segment_at = 0;
    ep->frame_at = 0;
    ep->frames = port_rx(ep->port, ep->frame, PORT_BURST);
    if (ep->now >= ep->gone_at) {
        ep->gone_at = ep->now + GONE_MS * 1000 * US;
        port_tell_gone(ep->port, ep->rrdp, ep->cfg.rrdp.nodes, ep->now,
                       2 * ep->cfg.rrdp.heartbeat_ns, &ep->gone);
    }
    rrdp_tick(ep->rrdp, ep->now);
    endpoint_transmit(ep);
    return ep->frames > 0;
}

/* Sleeps until frames come, something is due, or `until`. 0, or -EINTR. */
int endpoint_wait(struct endpoint *ep, uint64_t until)
{
    int fd = ep->port->ops->wait_fd(ep->port), rc = 0;
    until = min_u64(until, rrdp_deadline(ep->rrdp));
    if (fd < 0)
        until = min_u64(until, ep->now + NO_WAIT_FD_US * US);
    if (until <= ep->now + SLEEP_MIN_US * US) {
        sched_yield();
        return 0;
    }
    if (!ep->port->ops->arm(ep->port))
        return 0;
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = ep->cfg.wake_fd, .events = POLLIN}};
    uint64_t ns = until - ep->now;
    struct timespec t = {.tv_sec = (time_t)min_u64(ns / 1000000000u, 3600),
                         .tv_nsec = (long)(ns % 1000000000u)};
    ep->count.sleeps++;
    int n = ppoll(fds, 2, &t, NULL);
    if ((n < 0 && errno == EINTR) || (n > 0 && fds[1].revents != 0))
        rc = -EINTR;
    ep->port->ops->disarm(ep->port);
    ep->polled = endpoint_now(); /* asleep is not away */
    return rc;
}

int endpoint_receive(struct endpoint *ep, uint64_t timeout_ns, struct endpoint_message *ret_message)
{
    uint64_t start = 0, until = UINT64_MAX;
    for (uint32_t empty = 0;; empty++) {
        if (endpoint_next(ep, ret_message))
            return 0;
        if (endpoint_poll(ep)) {
            empty = 0;
            start = ep->now;
        }
        if (endpoint_next(ep, ret_message))
            return 0;
        if (start == 0)
            start = ep->now;
        if (until == UINT64_MAX && timeout_ns < UINT64_MAX - ep->now)
            until = ep->now + timeout_ns;
        if (woken(ep))
            return -EINTR;
        if (ep->now >= until)
            return -EAGAIN;
        if (ep->now - start >= ep->cfg.spin_ns) {
            int rc = endpoint_wait(ep, until);
            if (rc != 0)
                return rc;
        } else if (empty >= EMPTY_POLLS) {
            sched_yield();
        }
    }
}
