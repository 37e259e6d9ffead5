/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The edge of the GiantVM-style baseline: TCP where the dataplane has a port and RRDP. APP.
 *
 *   fabric.c     fabric.h's functions: what the configuration must be; sockets, the port's place
 *   link.c       rrdp.h's functions that the engine calls: who is up, events, counters
 *   conn.c       connections: set-up, bytes out
 *   receive.c    engine.h's receive_frames: bytes in, when a message is read, the sleep between
 *   transmit.c   engine.h's transmit_..., thaw
 *
 * These are linked in the place of the production objects; the engine's other files are the same
 * objects. The engine's one thread owns all of it.
 *
 * Connections, as GiantVM's for its pages: each node connects to each other one. By this one,
 * `mine`, it asks (GETS, GETM, INV) and is answered (DATA, INV_ACK); and it sends the guest's
 * interrupts and I/O and the clock's messages, which take the server's side of the peer, for that
 * never sleeps. `its` is the one that the peer made.
 *
 * When `mine` is read: in the variant that sleeps as published, polls while an answer to a GETS or
 * GETM is awaited are 1, 2, 3 ... up to TCP_POLL_MAX_US us apart, and the thread sleeps in
 * between, unless there is something else for it to do. An INV_ACK is read as soon as it is there,
 * for which GiantVM polls without sleep. In the other variant, and `its` in both, a connection is
 * read as soon as there is something, and poll.mode says what the loop does when there is nothing,
 * as in production.
 */
#ifndef PANDO_GIANTVM_TCP_H
#define PANDO_GIANTVM_TCP_H

#include "dataplane/engine/engine.h"
#include "perf/giantvm/core/frame.h"

enum {
    TCP_IN = 1 << 18,                /* bytes read ahead of a connection */
    TCP_OUT = 1 << 24,               /* bytes that wait for the kernel: 4,000 messages */
    TCP_OUT_GLUE = TCP_OUT / 2,      /* with more, the glue's messages wait in its rings */
    TCP_YOUNG = 2 * FRAME_NODES_MAX, /* accepted, and not yet known who it is */
    TCP_RETRY_MS = 20,
    TCP_POLL_MAX_US = 1000, /* as published: ../README.md */
    TCP_EVENTS = 64,
};

enum tcp_state { TCP_NONE, TCP_CONNECTING, TCP_GREETED, TCP_READY, TCP_OVER };

struct tcp_conn {
    int fd;
    enum tcp_state state;
    uint8_t *in, *out;
    uint32_t in_len, out_at, out_len;
};

struct tcp {
    struct port port; /* first: the engine has its address */
    const struct pando_config *cfg;
    uint8_t self, nodes;
    bool sleeps; /* the variant */
    int listen_fd;
    int served_fd;  /* epoll: listen_fd, young, its */
    int answers_fd; /* epoll: mine */
    int all_fd;     /* epoll: served_fd, and answers_fd if `watched` */
    int sleep_fd;   /* epoll: served_fd and the engine's; -1: not made yet */
    bool watched;
    uint64_t boot, retry_at;
    struct tcp_conn mine[FRAME_NODES_MAX], its[FRAME_NODES_MAX], young[TCP_YOUNG];
    uint32_t fetches, acks; /* awaited */
    uint32_t interval_us;
    uint64_t next_poll;
};

struct rrdp {
    struct rrdp_config cfg;
    struct rrdp_counters count[WIRE_NODES_MAX];
    bool up[FRAME_NODES_MAX], told[FRAME_NODES_MAX]; /* told: BYE or STOP has been queued */
    uint8_t end;                                     /* FRAME_BYE, FRAME_STOP; 0: not yet */
    struct rrdp_event event[TCP_EVENTS];
    uint32_t head, tail;
};

static inline struct tcp *tcp_of(const struct engine *e)
{
    return (struct tcp *)e->port;
}

/* variant.c: whether this program's receiver sleeps. */
extern const bool tcp_receiver_sleeps;

/* An answer is awaited that is read between sleeps. */
static inline bool tcp_paced(const struct tcp *t)
{
    return t->sleeps && t->fetches > 0 && t->acks == 0;
}

/* link.c */
void link_up(struct rrdp *r, uint8_t peer);
void link_down(struct rrdp *r, uint8_t peer, enum rrdp_down why);
void link_refused(struct rrdp *r, uint8_t peer, enum rrdp_refusal why);

/* conn.c */
int tcp_open(struct tcp *t, char err[FABRIC_TEXT_MAX]);
void tcp_close(struct tcp *t);
void tcp_connect(struct tcp *t, uint64_t now);
bool tcp_accept(struct tcp *t);
void tcp_drop(struct tcp *t, struct tcp_conn *c);
/* Whether an answer ends the engine's sleep. */
void tcp_watch_answers(struct tcp *t, bool watched);
/* One message of two parts; what the kernel has no room for now is kept. */
void tcp_send(struct tcp *t, struct tcp_conn *c, const void *head, size_t head_len,
              const void *body, size_t body_len);
void tcp_flush(struct tcp_conn *c);
void tcp_hello(struct tcp *t, struct tcp_conn *c, const struct rrdp *r);

#endif
