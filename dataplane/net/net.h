/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pando ping, pando echo, pando bench: the transport by itself between the nodes of a
 * configuration, without dataplanes and guest. APP.
 *
 *   main.c     the table of commands
 *   options.c  their command lines
 *   session.c  configuration -> fabric -> endpoint; what happened meanwhile in words
 *   probe.c    the messages between them
 *   bench_ask.c  the questions of bench rtt
 *   ping.c, echo.c, bench_rtt.c, bench_stream.c, report.c
 *
 * The far end of ping and bench is pando echo. Where there is a dataplane instead, it keeps to its
 * own, and its host answers HOST-PING still.
 */
#ifndef PANDO_NET_H
#define PANDO_NET_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/base/hist.h"
#include "dataplane/endpoint/endpoint.h"
#include "dataplane/fabric/fabric.h"

enum {
    NET_JOIN_MS = 5000, /* bench waits so long for the far end */
    NET_LINGER_MS = 300,
    NET_SIZES_MAX = 16,
    NET_PAGE = 4096,
    NET_RATE_MAX = 1000000, /* questions a second of an open loop */
    NET_CANNOT = 2,         /* exit status: nothing was asked, for a reason on this side */
};

/* ---- command lines --------------------------------------------------------------------------- */

/* What all of them take: --config, --node, --json, and but for echo the far node. Begins the
 * options of each command. */
struct net_options {
    const char *config, *node, *far;
    bool json, wants_far;
};
extern const struct argp_child net_children[]; /* of each command's argp ... */
/* ... whose parser is this one, or ends in it. */
error_t net_parse(int key, char *arg, struct argp_state *state);

/* A number from..to (0 < from); else argp_error, which names key, value and range and ends. */
uint64_t net_number(struct argp_state *state, const char *key, const char *text, uint64_t from,
                    uint64_t to);
/* Seconds, such as "0.2", as ns; from and to in ms. */
uint64_t net_seconds(struct argp_state *state, const char *key, const char *text, uint64_t from_ms,
                     uint64_t to_ms);

/* ---- session --------------------------------------------------------------------------------- */

struct session {
    const char *command; /* "pando ping" */
    struct pando_config cfg;
    struct fabric fabric;
    struct endpoint *ep;
    uint8_t self, far;
    uint64_t look_at; /* when the port is looked at next */
    uint64_t refused; /* nodes that do not fit: said */
    uint32_t seq;     /* of bench's last question */
};

/* Loads the configuration, opens fabric and endpoint. spin_ns: endpoint_config, or 0: as poll.mode
 * says. 0, or the exit status, NET_CANNOT; what is wrong is said. */
int session_open(struct session *s, const char *command, const struct net_options *o,
                 uint64_t spin_ns);
/* Tells the peers, and closes. */
void session_close(struct session *s);

/* The next message of far, or with any_peer of somebody; events become words on standard error. 0;
 * -EAGAIN: time is over; -EINTR: a signal to end; -ENOTCONN: far went away, said; -ENETDOWN: this
 * side's port is dead, said. */
int session_receive(struct session *s, uint64_t timeout_ns, bool any_peer,
                    struct endpoint_message *ret_message);
/* Waits for far. 0, or the exit status; what is wrong is said. */
int session_join(struct session *s);
/* Sends, and waits for room where there is none, at most until `end`. 0, -EAGAIN: no room came; and
 * as session_receive, whose messages meanwhile are lost. */
int session_send(struct session *s, uint8_t cls, const void *data, uint32_t len, uint64_t end);
bool session_ended(void); /* SIGINT or SIGTERM came */
void session_go_on(void); /* ... and once more is needed to end what follows */
const char *session_name(const struct session *s, uint8_t node);

/* ---- messages -------------------------------------------------------------------------------- */

/*
 * op 1 | zero 1 | reply_len 2 | seq 4 | count 8 | cpu_ns 8 | filling, little-endian; a message ends
 * after seq, but a MARK_REPLY after cpu_ns, at least.
 *
 *   PING        -> PONG of reply_len bytes, same seq and class
 *   PAGE           is counted
 *   MARK        -> MARK_REPLY: pages since the connection came up, CPU time of the process
 */
enum probe_op { PROBE_PING = 1, PROBE_PONG, PROBE_PAGE, PROBE_MARK, PROBE_MARK_REPLY };
enum { PROBE_MIN = 8, PROBE_MARK_BYTES = 24 };

struct probe {
    enum probe_op op;
    uint16_t reply_len;
    uint32_t seq;
    uint64_t count, cpu_ns; /* MARK_REPLY */
};

/* Writes the head of a message of len bytes into buf, which has that many; the rest is left. */
void probe_pack(const struct probe *p, uint8_t *buf);
/* False: not one of ours. */
bool probe_unpack(const struct endpoint_message *m, struct probe *ret_probe);

/* ---- questions of bench rtt ------------------------------------------------------------------ */

struct bench_shape {
    uint32_t bytes, reply; /* of question and answer: PROBE_MIN.. what cls takes */
    uint8_t cls;           /* of both */
    struct hist rtt;       /* ns; in an open loop from when the question was due */
    uint64_t unanswered;   /* within a second: not in rtt */
    uint64_t ns;           /* how long it took, without warming up */
};

/* Both warm up with questions that are not counted, then ask for length_ns. 0; as session_receive,
 * with what was measured until then. */
int bench_closed(struct session *s, struct bench_shape *of, uint64_t length_ns);
/* rate questions a second (1..NET_RATE_MAX), each due at a time that is fixed before, whatever
 * became of those before it: one that could not leave in time, or waits behind a stall, counts as
 * that late. */
int bench_open_loop(struct session *s, struct bench_shape *of, uint64_t length_ns, uint64_t rate);

/* ---- reports --------------------------------------------------------------------------------- */

uint64_t net_cpu_ns(void); /* of this process, user and system */
double net_us(uint64_t ns);
/* {"n", "p50_us", "p99_us", "p999_us", "max_us", "buckets": [[largest ns, n], ...]}: the used ones,
 * of base/hist.h, so that whoever adds up several runs needs no percentile of theirs. */
json_t *net_hist(const struct hist *h);
/* What both ends are, and what the transport did towards far; for the JSON of who has a far end. */
json_t *net_head(const struct session *s, const char *what);
/* To standard output, and frees it. False: it could not be written. */
bool net_print(json_t *report);

int ping_main(int argc, char **argv);
int echo_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int bench_rtt(int argc, char **argv);
int bench_stream(int argc, char **argv);

#endif
