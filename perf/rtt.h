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
    RTT_ASK = 64, /* bytes of every request */
    RTT_PAGE = 4096,
    RTT_ROUNDS_MAX = 64,
    RTT_ETHERTYPE = 0x88B5,
    RTT_LOST_MS = 50, /* a request without an answer for so long is sent again, and counted */
};

struct rtt_options {
    uint32_t rounds, samples; /* samples a variant and round */
    uint16_t mtu;
    bool huge;
};

/* Between the two processes and their parent. */
struct rtt_shared {
    _Atomic uint32_t arrived[2]; /* barrier: how often each side came */
    _Atomic uint32_t asking;     /* 1 while the client has questions */
    _Atomic uint32_t namespaces; /* sides that have made theirs */
    _Atomic uint32_t linked;     /* the parent has joined them */
    _Atomic uint32_t failed;
};

struct rtt_side {
    uint8_t side; /* 0 asks, 1 answers */
    struct rtt_shared *shared;
    const struct rtt_options *options;
    const char *dir;
    uint64_t lost;
};

struct rtt_result {
    struct hist hist; /* ns, of all rounds */
    uint32_t rounds;
    uint64_t round_p50[RTT_ROUNDS_MAX], lost;
};

/* One way to ask. `reply` is the number of bytes wanted back. */
struct rtt_variant {
    const char *name;
    void *context;
    /* Client: one round trip; false: it was lost. */
    bool (*ask)(struct rtt_side *s, void *context, uint32_t reply);
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

/* rtt_port.c: variants over a port. */
struct rtt_port;
struct rtt_port *rtt_port_new(struct rtt_side *s, struct port *port); /* NULL: out of memory */
bool rtt_port_connect(struct rtt_side *s,
                      struct rtt_port *r); /* both sides; false: no connection */
void rtt_port_free(struct rtt_port *r);    /* closes the port */
bool rtt_raw_ask(struct rtt_side *s, void *context, uint32_t reply);
void rtt_raw_answer(struct rtt_side *s, void *context);
bool rtt_rrdp_ask(struct rtt_side *s, void *context, uint32_t reply);
void rtt_rrdp_answer(struct rtt_side *s, void *context);

/* rtt_tcp.c: a connection over the veth pair, TCP_NODELAY. context points to the socket. */
int rtt_tcp_open(struct rtt_side *s); /* the socket; -errno */
bool rtt_tcp_spin_ask(struct rtt_side *s, void *context, uint32_t reply);
void rtt_tcp_spin_answer(struct rtt_side *s, void *context);
bool rtt_tcp_block_ask(struct rtt_side *s, void *context, uint32_t reply);
void rtt_tcp_block_answer(struct rtt_side *s, void *context);

/* One round of one variant, by both sides; the client adds to *result. */
void rtt_round(struct rtt_side *s, const struct rtt_variant *v, uint32_t reply,
               struct rtt_result *result);

#endif
