/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One clock over all nodes: what a node must add to its host's TSC so that guests on different
 * hosts read the same time. PURE.
 *
 * Hosts' TSCs differ by an offset and by a rate. The cluster clock C counts TSC ticks of one node,
 * the reference, made a little faster:
 *
 *     C = base_c + (T_ref - base_ref) * (1 + rho)          rho >= 0, decided by the reference
 *
 * rho is the rate of the fastest node relative to the reference, and a margin: so C runs at least
 * as fast as any node's TSC, and a vCPU's TSC is only ever corrected forward. Each node learns
 * T_ref by symmetric exchanges and C's line from the answers, and publishes its map host TSC -> C.
 *
 *     node, t1  --- time_req: khz, rate ------------------------> t2
 *                                                                 reference: time_at(), rho
 *     node, t4 <--- time_rep: t2, t3, base_ref, base_c, rho, gen - t3
 *
 *     offset = ((t2 - t1) + (t3 - t4)) / 2        delay = (t4 - t1) - (t3 - t2)
 *
 * The true offset lies within delay/2 of the measured one, whatever the two ways took: all error
 * bounds come from that and from the rates' limits, none from an assumption about symmetry.
 *
 * Invariants
 *  1. A published map is never behind the one before it at the moment of publication, and never
 *     decreases: C seen by a reader does not step back. Who is ahead slews: the map runs slower, by
 *     CLOCK_SLEW_PPM at most, until it agrees. Who is behind slews too; it steps (forward) only if
 *     the old map contradicts the new bound, which takes a broken promise of somebody.
 *  2. The difference of a usable map to C is at most error_ticks at base_host, and grows by no more
 *     than 1/32768 of the time since (clock_map_error): also if the node stalls. While the rate is
 *     known to no better than 28 ppm, just after locking or over very slow links, that holds for a
 *     second; error_ticks is larger then, to cover it.
 *  3. rho is 0 until every node has reported a rate, is set once (generation 1) before anybody is
 *     locked, and from then on changes continuously, by CLOCK_RHO_STEP_PPM a second at most. Each
 *     change is a new generation.
 *  4. Whatever a peer says, the estimate moves by no more than its own stated bound at a time: an
 *     answer that contradicts it is refused, counted by reason, and changes nothing.
 *
 *   state      published map                leaves it when
 *   NONE       nothing, error unknown       an answer is accepted -> ACQUIRING
 *   ACQUIRING  nothing, error unknown       samples suffice and generation > 0 -> LOCKED
 *   LOCKED     usable                       no accepted answer for a while -> HOLDOVER
 *   HOLDOVER   usable, on the last rate;    an answer is accepted -> LOCKED
 *              its error grows
 * The reference goes from NONE to LOCKED with generation 1. A cluster of one node, and any node
 * with the discipline off, is LOCKED at once on the identity map.
 *
 * Estimate. Samples go into CLOCK_BINS bins of equal length, each of which keeps the one of least
 * delay; full bins merge in pairs, so that the window grows from 1/4 s, enough to start, to 4 s.
 * The offset comes from the sample with the least (delay/2 + age * rate error). The rate is the
 * median of the slopes between bins at least half the window apart, held within the certain bound
 * of the best pair, (delay_i + delay_j)/2 over their distance.
 *
 * A poll loop that sleeps is woken by a request, but not by the answer to it, which it still waits
 * for: the way there takes longer than the way back, by a wake-up. So an answer is followed by
 * further requests at once, while both ends are awake; these are the fast and symmetric ones.
 *
 * Frequency. TSC scaling is not offered, so hosts must have the same nominal TSC: khz is announced
 * and more than CLOCK_KHZ_PPM_MAX of difference is refused by name. khz may be a short calibration
 * with up to 25 ppm of error on each side; a true difference of CLOCK_RATE_PPM_MAX, the most that
 * the exchange itself takes, is therefore never refused for khz.
 *
 * Units and ranges. TSC values are modulo 2^64 and only differences mean anything; |difference| is
 * below 2^63. Rates are signed, in 2^-32 units (0.23 ppb). Products are 128 bits wide.
 */
#ifndef PANDO_CLOCK_CLOCK_H
#define PANDO_CLOCK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/wire/wire.h"

enum {
    CLOCK_BINS = 16,
    CLOCK_SLOPES = 36, /* pairs of 16 bins that are 8 or more apart */
    CLOCK_ASKED = 8,   /* requests whose answers are still wanted */
    CLOCK_KHZ_MIN = 100000,
    CLOCK_KHZ_MAX = 20000000,
    CLOCK_PPM = 4295,          /* one part in a million, in 2^-32 units */
    CLOCK_RATE_PPM_MAX = 200,  /* a node against the reference; beyond: refused */
    CLOCK_KHZ_PPM_MAX = 250,   /* likewise, as announced */
    CLOCK_MARGIN_PPM = 1,      /* C is faster than the fastest node by this */
    CLOCK_RHO_PPM_MAX = 240,   /* of any honest reference */
    CLOCK_RHO_STEP_PPM = 1,    /* ... which changes it by this, once a second */
    CLOCK_RHO_KEEP_PPM = 4,    /* it is lowered only if it is too high by more */
    CLOCK_WANDER_PPM = 1,      /* what a rate may change within a window */
    CLOCK_SLEW_PPM = 16,       /* speed at which a published map is corrected */
    CLOCK_REPORT_PPM_MAX = 20, /* most that uncertainty adds to a reported rate */
    CLOCK_BIN_MS = 16,         /* length of a bin at first ... */
    CLOCK_BIN_MS_MAX = 256,    /* ... and when it has grown */
    CLOCK_BINS_LOCK = 15,      /* bins that suffice for a start ... */
    CLOCK_BOUND_PPM_LOCK =
        100,            /* ... if they give the rate this well; else the window must be full */
    CLOCK_BURST = 2,    /* requests that follow an answer at once: both ends are awake then */
    CLOCK_FAST_MS = 10, /* between requests, until locked */
    CLOCK_DELAY_MS_MAX = 100, /* a sample of more is of no use */
    CLOCK_SILENCE_MS = 500,   /* or 8 intervals: then HOLDOVER */
    CLOCK_STRANGE_MAX = 4,    /* before locking: as many contradictions in a row start it anew */
};
#define CLOCK_RATE_UNKNOWN INT32_MIN /* in a request: not measured yet */

enum clock_state { CLOCK_NONE, CLOCK_ACQUIRING, CLOCK_LOCKED, CLOCK_HOLDOVER };
const char *clock_state_name(unsigned state);

/* Why a message changed nothing. */
/* clang-format off */
#define CLOCK_DROP_LIST(X) \
    X(SOURCE, "source")         /* a request to who is not the reference, or an answer of such */ \
    X(UNASKED, "unasked")       /* the answer to no open request */ \
    X(FREQUENCY, "frequency")   /* khz differs too much: needs TSC scaling */ \
    X(RATE, "rate")             /* the measured rates differ too much */ \
    X(RHO, "rho")               /* of the answer: out of range, or changed too fast */ \
    X(GENERATION, "generation") /* older than known, or known with another line */ \
    X(JUMP, "jump")             /* a new line that does not continue the known one */ \
    X(ORDER, "order")           /* less time passed here than at the peer in between */ \
    X(DELAY, "delay")           /* too long under way to tell anything */ \
    X(OFFSET, "offset")         /* contradicts what is known within its bounds */
/* clang-format on */
#define X(ID, name) CLOCK_DROP_##ID,
enum clock_drop { CLOCK_OK, CLOCK_DROP_LIST(X) CLOCK_DROPS };
#undef X
const char *clock_drop_name(unsigned d);

/* ---- The map ------------------------------------------------------------------------------- */

struct clock_map {
    uint32_t state; /* enum clock_state */
    uint64_t base_host, base_cluster;
    int64_t rate;         /* of C relative to the host's TSC, less 1 */
    uint32_t khz;         /* of C, nominal: the reference's; 0 before it is known */
    uint32_t error_ticks; /* at base_host; UINT32_MAX: unknown */
};

__extension__ typedef __int128 clock_wide;

/* d * rate, in ticks, rounded down. */
static inline int64_t clock_scale(int64_t d, int64_t rate)
{
    return (int64_t)(((clock_wide)d * rate) >> 32);
}

/* C at a host TSC. Non-decreasing in host, as rate > -1. */
static inline uint64_t clock_map_at(const struct clock_map *m, uint64_t host)
{
    uint64_t d = host - m->base_host;
    return m->base_cluster + d + (uint64_t)clock_scale((int64_t)d, m->rate);
}

/* The bound on |clock_map_at(m, host) - C| at host, which is not before base_host. */
static inline uint64_t clock_map_error(const struct clock_map *m, uint64_t host)
{
    uint64_t age = host - m->base_host;
    return m->error_ticks + ((int64_t)age > 0 ? age >> 15 : 0);
}

/* ---- A node's clock ------------------------------------------------------------------------ */

struct clock_config {
    uint8_t self, reference, nodes; /* self, reference < nodes <= WIRE_NODES_MAX */
    bool discipline;
    uint32_t khz;         /* of this host's TSC */
    uint32_t interval_ms; /* between requests, 1 or more */
};

struct clock_line { /* C over the reference's TSC */
    uint64_t base_ref, base_c;
    int64_t rho;
    uint32_t generation; /* 0: not decided */
};

struct clock_sample {
    uint64_t host;   /* middle of the exchange */
    uint64_t offset; /* the reference's TSC less ours then, modulo 2^64 */
    uint32_t delay;
};

struct clock_counters {
    uint64_t drop[CLOCK_DROPS]; /* [0]: accepted */
    uint64_t requests, samples, slews, steps, restarts;
};

struct clock {
    struct clock_config cfg;
    struct clock_map map; /* published */
    struct clock_line line;
    uint64_t due;        /* next tick */
    uint64_t line_at;    /* the line was the reference's at this host TSC or later */
    uint64_t changed_at; /* reference: when rho changed; node: when the last sample was taken */

    struct {
        bool open;
        uint32_t seq;
        uint64_t host;
    } asked[CLOCK_ASKED];
    uint32_t seq, burst; /* requests left of the burst */
    bool in_burst;       /* the next tick is one of it */

    struct clock_sample bin[CLOCK_BINS];
    uint64_t bin_start; /* of the newest */
    uint32_t bins, bin_ms, strange;
    struct clock_sample last;

    bool rated;          /* rate, bound and report are known */
    int64_t rate, bound; /* the reference's TSC relative to ours, less 1; and its certain error */
    int32_t report;      /* ours relative to the reference's, on the fast side of the error */

    uint64_t reported;               /* reference: nodes whose rate is known */
    int32_t reports[WIRE_NODES_MAX]; /* ... and the rates */
    struct clock_counters count;
};

void clock_init(struct clock *c, const struct clock_config *cfg, uint64_t host);

/* At host TSC clock_due or later: publishes anew; true: *ret is to be sent to the reference, with
 * its stamp taken as late as possible by clock_asked. */
uint64_t clock_due(const struct clock *c);
bool clock_tick(struct clock *c, uint64_t host, struct wire_time *ret);
void clock_asked(struct clock *c, struct wire_time *m, uint64_t t1);

/* The reference's side: a node's request, received at t2. CLOCK_OK: *ret goes back, with ret->stamp
 * set to the TSC as late as possible. */
enum clock_drop clock_request(struct clock *c, uint8_t src, const struct wire_time *m, uint64_t t2,
                              struct wire_time *ret);

/* A node's side: the answer, received at t4. */
enum clock_drop clock_answer(struct clock *c, uint8_t src, const struct wire_time *m, uint64_t t4);

/* Whether a nominal frequency is near enough to ours. */
bool clock_khz_fits(const struct clock *c, uint32_t khz);

/* The fastest exchange of the window, in ticks; 0 before there is one. */
uint32_t clock_delay(const struct clock *c);

/* Nodes whose rate the reference is still waiting for; 0 elsewhere. */
uint64_t clock_missing(const struct clock *c);

static inline bool clock_usable(const struct clock *c)
{
    return c->map.state >= CLOCK_LOCKED;
}

static inline uint64_t clock_line_at(const struct clock_line *l, uint64_t ref)
{
    uint64_t d = ref - l->base_ref;
    return l->base_c + d + (uint64_t)clock_scale((int64_t)d, l->rho);
}

#endif
