/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips between two processes: raw port echo, the same through RRDP, and kernel TCP beside
 * them.
 *
 * Both processes walk through one schedule in lock step: rounds of all variants, interleaved, so
 * that a ratio of two variants compares neighbours in time. Each lives in a network namespace of
 * its own; a veth pair joins them for af_packet and TCP. The namespaces are anonymous: they end
 * with the processes, however those end.
 */
#ifndef PANDO_PERF_RTT_H
#define PANDO_PERF_RTT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dataplane/base/hist.h"
#include "dataplane/port/port.h"

enum {
    RTT_MIN = 32, /* bytes of the shortest question: its head, and what RRDP sends at least */
    RTT_PAGE = 4096,
    RTT_ROUNDS_MAX = 64,
    RTT_ETHERTYPE = 0x88B5,     /* af_packet, on rtt0, as TCP and UDP are */
    RTT_ETHERTYPE_XDP = 0x88B6, /* af_xdp, on rtt1: its XDP program changes how a veth works */
    RTT_CLUSTER = 77,
    RTT_LOST_MS = 50,       /* a request without an answer for so long is sent again, and counted */
    RTT_UCX_ADDRESS = 2048, /* bytes of a UCX worker's address, at most */
};

struct rtt_shared;

struct rtt_options {
    uint32_t rounds, samples; /* samples a variant and round */
    uint32_t mtu;
    bool huge;
    /* A third namespace in the middle, the parent's: rtt0 of both sides leads to its devices left
     * and right, rtt1 is not made. joined() puts a wire between them (false: it cannot be), tend()
     * looks after it every millisecond until both sides have ended. */
    bool middle;
    bool (*joined)(struct rtt_shared *shared);
    void (*tend)(struct rtt_shared *shared);
};

/* Bytes of question and answer. RRDP sends them in the class that their length is for, or in cls.
 */
struct rtt_shape {
    uint32_t ask, reply;
    bool classed;
    uint8_t cls;
};

/* Between the two processes and their parent. */
struct rtt_shared {
    _Atomic uint32_t arrived[2]; /* barrier: how often each side came */
    _Atomic uint32_t asking;     /* 1 while the client has questions */
    _Atomic uint32_t namespaces; /* sides that have made theirs */
    _Atomic uint32_t linked;     /* the parent has joined them */
    _Atomic uint32_t failed;
    _Atomic uint32_t missing;         /* fabrics that a side cannot open: a bit each */
    _Atomic uint32_t counting;        /* stream: the client's clock runs */
    _Atomic uint64_t pages;           /* stream: that have arrived, of the running variant */
    _Atomic uint64_t cpu_ns;          /* stream: what they cost the receiver */
    _Atomic uint32_t loss_ppm, wired; /* loss: wanted, and what the wire has now */
    _Atomic uint64_t forwarded, lost; /* loss: frames, since the wire was joined */
    _Atomic uint64_t stood[2];        /* for how long a side did not run, in all: ns */
    _Atomic uint64_t gap[2];          /* the longest time between two of its polls: ns */
    _Atomic uint32_t ucx_missing;     /* transports of UCX that a side cannot open: a bit each */
    uint8_t ucx_address[2][RTT_UCX_ADDRESS]; /* each side's, of the one that is being opened */
};

struct rtt_side {
    uint8_t side; /* 0 asks, 1 answers */
    struct rtt_shared *shared;
    const struct rtt_options *options;
    const char *dir;
    struct rtt_shape shape; /* of the running round */
};

struct rtt_result {
    struct hist hist; /* ns, of all rounds */
    uint32_t rounds;
    uint64_t round_p50[RTT_ROUNDS_MAX], lost;
};

/* One way to ask; sizes are in the side's shape. */
struct rtt_variant {
    const char *name;
    void *context;
    /* Client: one round trip; false: it was lost. */
    bool (*ask)(struct rtt_side *s, void *context);
    /* Server: answers what is there, waits a little if nothing is; called until the client is done.
     */
    void (*answer)(struct rtt_side *s, void *context);
};

uint64_t rtt_now(void);
/* The measured policy of 16 empty polls, then sched_yield: neither side starves the other on a
 * shared core. */
void rtt_relax(uint32_t *empty);

/* rtt_twin.c: starts both sides, returns in each of them; the parent waits for both and returns
 * their verdict. */
bool rtt_twin_start(const struct rtt_options *o, struct rtt_side *ret_side, int *ret_status);
void rtt_twin_barrier(struct rtt_side *s);

/* rtt_port.c: variants over a port. A message through RRDP begins with this head; kinds are
 * unlike any kind of wire.h, so that real messages can pass beside them. */
enum rtt_kind { RTT_KIND_ASK = 0xF1, RTT_KIND_ANSWER, RTT_KIND_PAGE };
struct rtt_head {
    uint8_t kind, reserved[3];
    uint32_t number; /* of the question */
    uint32_t reply;  /* bytes wanted back */
};
struct rtt_port;
struct rtt_port *rtt_port_new(struct rtt_side *s, struct port *port); /* NULL: out of memory */
/* Both sides. Returns when the connection is up and it is known which frames its path carries;
 * false: not within 10 s. */
bool rtt_port_connect(struct rtt_side *s, struct rtt_port *r);
void rtt_port_free(struct rtt_port *r); /* closes the port; NULL is fine */
struct rrdp *rtt_port_rrdp(struct rtt_port *r);
/* Answers that come are handed to it, in order; it calls nothing of the port. */
void rtt_port_on_answer(struct rtt_port *r, void (*answered)(void *arg, uint32_t number),
                        void *arg);
uint64_t rtt_port_pages(const struct rtt_port *r); /* messages of RTT_KIND_PAGE that came */
/* Queues a message of len bytes, RTT_MIN..RTT_PAGE, in the class of the side's shape; 0 or
 * rrdp_send's error. */
int rtt_rrdp_say(struct rtt_side *s, struct rtt_port *r, const struct rtt_head *head, uint32_t len);
/* Once through what a poll loop does; true if the answer to the latest question came. */
bool rtt_rrdp_poll(struct rtt_side *s, struct rtt_port *r);
bool rtt_raw_ask(struct rtt_side *s, void *context);
void rtt_raw_answer(struct rtt_side *s, void *context);
/* Pages one after the other in raw frames, a burst of them or until there is no room; the bytes of
 * those that came. What is lost on the way is nobody's. */
void rtt_raw_pages(struct rtt_side *s, void *context);
uint64_t rtt_raw_take(struct rtt_side *s, void *context);
bool rtt_rrdp_ask(struct rtt_side *s, void *context);
void rtt_rrdp_answer(struct rtt_side *s, void *context);

/* rtt_fabrics.c: every fabric that both sides can open, connected. */
enum rtt_fabric {
    RTT_SHM,
    RTT_MEMIF,
    RTT_AF_PACKET,
    RTT_AF_XDP,
    RTT_FABRICS,
};
extern const char *const rtt_fabric_names[RTT_FABRICS];
/* Both sides; once a process. wanted: a bit each. ret_ports: NULL for those that are not there,
 * which the client says on standard error. Ends the process if it cannot go on. */
void rtt_fabrics_open(struct rtt_side *s, uint32_t wanted, struct rtt_port *ret_ports[RTT_FABRICS]);
void rtt_fabrics_close(struct rtt_port *ports[RTT_FABRICS]);
/* Says why, and ends both sides. */
_Noreturn void rtt_fail(struct rtt_side *s, const char *what);

/* rtt_tcp.c, rtt_udp.c: sockets over the veth pair; TCP_NODELAY. context points to the socket. */
int rtt_tcp_open(struct rtt_side *s); /* the socket; -errno */
bool rtt_tcp_spin_ask(struct rtt_side *s, void *context);
void rtt_tcp_spin_answer(struct rtt_side *s, void *context);
bool rtt_tcp_block_ask(struct rtt_side *s, void *context);
void rtt_tcp_block_answer(struct rtt_side *s, void *context);
int rtt_udp_open(struct rtt_side *s); /* the socket; -errno */
bool rtt_udp_ask(struct rtt_side *s, void *context);
void rtt_udp_answer(struct rtt_side *s, void *context);

/* rtt_ucx.c, if built: UCX over TCP on rtt0 and over shared memory, both sides spinning. */
enum rtt_ucx_transport { RTT_UCX_TCP, RTT_UCX_SHM, RTT_UCX };
struct rtt_ucx;
/* Both sides, one transport after the other. NULL: one of them cannot, and says why on standard
 * error. */
struct rtt_ucx *rtt_ucx_open(struct rtt_side *s, enum rtt_ucx_transport t);
void rtt_ucx_free(struct rtt_ucx *u); /* NULL is fine */
bool rtt_ucx_ask(struct rtt_side *s, void *context);
void rtt_ucx_answer(struct rtt_side *s, void *context);

/* rtt_wire.c: prints the lengths of frames as a packet socket on rtt0 sees them leave and come, one
 * JSON object a line. Both sides; r is the af_packet port. */
void rtt_wire(struct rtt_side *s, struct rtt_port *r);

/* One round of one variant, by both sides; the client adds to *result. */
void rtt_round(struct rtt_side *s, const struct rtt_variant *v, struct rtt_shape shape,
               struct rtt_result *result);

#endif
