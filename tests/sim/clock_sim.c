/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One clock over 2 to 16 nodes, simulated: the clock's production code on hosts whose TSCs differ
 * by offset and by a rate that wanders, over links with jitter, heavy tails, losses and outages, on
 * threads that stall. Seeded; virtual time in nanoseconds.
 *
 *   pando-clock-sim [--seed S] [--seeds N] [--seconds T] [--off-must-fail] [--verbose]
 *
 * Checked at every event, on the published maps as a vCPU would read them:
 *   monotonic  a node's clock never steps back, and goes on with time
 *   bounds     any two usable clocks differ by no more than the sum of their stated bounds
 *   token      handed from node to node, it never sees time go back by more than that
 *   useful     bounds are about as small as the fastest exchange allows, corrections are forward
 *   live       everybody locks in time
 * With the discipline off the same run must fail.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/base/prng.h"
#include "dataplane/clock/clock.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum { NODES = 16, EVENTS = 8192, WANDER_MS = 50, SETTLE_S = 10, LOCK_S = 8 };

enum event_type { EV_TICK, EV_REQUEST, EV_ANSWER, EV_TOKEN, EV_STALL, EV_OUTAGE };
struct event {
    uint64_t at, order;
    enum event_type type;
    uint8_t node; /* who it happens to; REQUEST: who asked */
    struct wire_time m;
};

struct host {
    uint64_t at, ticks, fraction; /* TSC at virtual time at, and 2^-32 ticks */
    uint32_t khz;
    int64_t rate, wander; /* 2^-32 units; per WANDER_MS */
    uint64_t busy_until, outage_until;
    uint64_t base[2], last[2]; /* to and from the reference: fastest way, last delivery */
    struct clock clock;
    uint64_t seen, seen_at;
    bool seen_any;
};

static struct world {
    uint64_t seed, now, order, end, all_locked;
    struct prng r;
    uint32_t nodes, tail_ppm, events;
    bool off, calm; /* calm: no stalls, no outages */
    struct host host[NODES];
    struct event heap[EVENTS];
    uint64_t token_c, token_error;
    uint8_t token_at;
    bool token_out;
    uint64_t worst_skew, worst_back, error_sum, error_count, reads;
    int64_t worst_rate;
    char why[256];
} w;

/* ---- hosts --------------------------------------------------------------------------------- */

static void count_up(struct host *h, uint64_t ns)
{
    clock_wide add = (clock_wide)ns * h->khz * ((INT64_C(1) << 32) + h->rate) / 1000000;
    add += (clock_wide)h->fraction;
    h->ticks += (uint64_t)(add >> 32);
    h->fraction = (uint64_t)add & UINT32_MAX;
    h->at += ns;
}

static uint64_t tsc(struct host *h, uint64_t t)
{
    const int64_t most = 50 * CLOCK_PPM;
    /* Some readings are for a moment later than now: the past stays within reach. */
    while (t - h->at >= (WANDER_MS + 10) * MS) {
        count_up(h, WANDER_MS * MS);
        if (prng_chance(&w.r, 30000))
            h->wander = (int64_t)prng_below(&w.r, 43) - 21; /* up to 0.1 ppm a second */
        h->rate += h->wander;
        h->rate = h->rate > most ? most : h->rate < -most ? -most : h->rate;
    }
    struct host copy = *h;
    count_up(&copy, t - h->at);
    return copy.ticks;
}

/* ---- events -------------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(uint64_t at, enum event_type type, uint8_t node, const struct wire_time *m)
{
    struct event e = {.at = at, .order = w.order++, .type = type, .node = node};
    if (m != NULL)
        e.m = *m;
    PANDO_CHECK(w.events < EVENTS);
    uint32_t i = w.events++;
    for (; i > 0 && before(&e, &w.heap[(i - 1) / 2]); i = (i - 1) / 2)
        w.heap[i] = w.heap[(i - 1) / 2];
    w.heap[i] = e;
}

static struct event pop(void)
{
    struct event top = w.heap[0], e = w.heap[--w.events];
    uint32_t i = 0, k;
    while ((k = 2 * i + 1) < w.events) {
        if (k + 1 < w.events && before(&w.heap[k + 1], &w.heap[k]))
            k++;
        if (before(&e, &w.heap[k]))
            break;
        w.heap[i] = w.heap[k];
        i = k;
    }
    w.heap[i] = e;
    return top;
}

/* One way between a node and the reference, in order: jitter, a heavy tail, a retransmission. */
static void carry(uint8_t node, bool back, uint64_t from, const struct wire_time *m)
{
    struct host *h = &w.host[node];
    uint64_t delay = h->base[back];
    if (prng_chance(&w.r, 700000))
        delay += prng_below(&w.r, (uint32_t)(h->base[back]) + 1);
    if (prng_chance(&w.r, w.tail_ppm))
        delay += UINT64_C(1000) << prng_below(&w.r, 16);
    if (prng_chance(&w.r, 5000))
        delay += 2 * MS + prng_below(&w.r, 90 * 1000 * 1000);
    uint64_t at = from + delay;
    if (from < h->outage_until)
        at = h->outage_until + delay;
    if (at <= h->last[back])
        at = h->last[back] + 1;
    h->last[back] = at;
    push(at, back ? EV_ANSWER : EV_REQUEST, node, m);
}

/* ---- checks -------------------------------------------------------------------------------- */

#define FAIL(...) (w.why[0] == '\0' ? (void)snprintf(w.why, sizeof(w.why), __VA_ARGS__) : (void)0)

struct reading {
    uint64_t c, error;
    bool usable;
};

static struct reading read_clock(uint8_t n)
{
    struct host *h = &w.host[n];
    uint64_t t = tsc(h, w.now);
    struct reading r = {.usable = h->clock.map.state >= CLOCK_LOCKED};
    if (!r.usable)
        return r;
    r.c = clock_map_at(&h->clock.map, t);
    r.error = clock_map_error(&h->clock.map, t);
    if (h->seen_any && ((int64_t)(r.c - h->seen) < 0 || (r.c == h->seen && w.now > h->seen_at + 2)))
        FAIL("monotonic: node %u: C went from %" PRIu64 " to %" PRIu64, n, h->seen, r.c);
    h->seen = r.c;
    h->seen_at = w.now;
    h->seen_any = true;
    w.reads++;
    return r;
}

static void check_all(void)
{
    struct reading r[NODES];
    bool all = true;
    for (uint8_t n = 0; n < w.nodes; n++) {
        r[n] = read_clock(n);
        all &= r[n].usable;
        for (uint8_t k = 0; r[n].usable && k < n; k++) {
            if (!r[k].usable)
                continue;
            int64_t off = (int64_t)(r[n].c - r[k].c);
            uint64_t apart = (uint64_t)(off < 0 ? -off : off);
            if (apart > w.worst_skew)
                w.worst_skew = apart;
            if (apart > r[n].error + r[k].error)
                FAIL("bounds: nodes %u and %u: %" PRIu64 " ticks apart, stated %" PRIu64
                     " and %" PRIu64,
                     k, n, apart, r[k].error, r[n].error);
        }
    }
    if (all && w.all_locked == 0) {
        w.all_locked = w.now;
        push(w.now + 1, EV_TOKEN, 0, NULL);
    }
    if (!all && w.now > LOCK_S * S)
        FAIL("live: somebody is not locked after %d s", LOCK_S);
}

/* Only where nothing disturbs: what the bounds and the corrections are worth. */
static void check_useful(uint8_t n)
{
    const struct host *h = &w.host[n];
    if (!w.calm || w.all_locked == 0 || w.now < w.all_locked + SETTLE_S * S || w.off)
        return;
    uint64_t fastest = (h->base[0] + h->base[1]) * h->khz / 1000000;
    int64_t rate = h->clock.rate + h->clock.line.rho;
    w.error_sum += h->clock.map.error_ticks * 1000 / (fastest / 2 + 24000); /* and 10 us */
    w.error_count++;
    if (rate < w.worst_rate)
        w.worst_rate = rate;
    if (rate < -2 * CLOCK_PPM)
        FAIL("useful: node %u is corrected backwards, by %" PRId64 " ppb", n,
             rate * 1000 / CLOCK_PPM);
}

/* ---- what happens -------------------------------------------------------------------------- */

static void tick(uint8_t n)
{
    struct host *h = &w.host[n];
    struct wire_time m;
    if (clock_tick(&h->clock, tsc(h, w.now), &m)) {
        clock_asked(&h->clock, &m, tsc(h, w.now + 100));
        carry(n, false, w.now + 100 + prng_below(&w.r, 2000), &m);
    }
    uint64_t left = clock_due(&h->clock) - tsc(h, w.now);
    push(w.now + left * 1000000 / h->khz + 1 + prng_below(&w.r, 50000), EV_TICK, n, NULL);
    check_useful(n);
}

static void request(const struct event *e)
{
    struct host *ref = &w.host[0];
    struct wire_time m;
    uint64_t t2 = w.now + prng_below(&w.r, 1000), t3 = t2 + 200 + prng_below(&w.r, 3000);
    if (prng_chance(&w.r, 10000))
        t3 += prng_below(&w.r, 3000000); /* the thread was preempted in between */
    if (clock_request(&ref->clock, e->node, &e->m, tsc(ref, t2), &m) != CLOCK_OK) {
        FAIL("live: an honest request was refused");
        return;
    }
    m.stamp = tsc(ref, t3);
    carry(e->node, true, t3, &m);
}

/* A delay or an offset that a bound just excludes may be refused, anything else is wrong. */
static void answer(const struct event *e)
{
    struct host *h = &w.host[e->node];
    enum clock_drop why = clock_answer(&h->clock, 0, &e->m, tsc(h, w.now));
    if (why != CLOCK_OK && why != CLOCK_DROP_DELAY && why != CLOCK_DROP_UNASKED)
        FAIL("live: node %u refused an honest answer: %s", e->node, clock_drop_name(why));
}

static void token(const struct event *e)
{
    struct reading r = read_clock(e->node);
    int64_t back = (int64_t)(w.token_c - r.c);
    if (w.token_out && back > 0) {
        if ((uint64_t)back > w.worst_back)
            w.worst_back = (uint64_t)back;
        if ((uint64_t)back > w.token_error + r.error)
            FAIL("token: from node %u to %u time went back by %" PRId64 " ticks", w.token_at,
                 e->node, back);
    }
    w.token_c = r.c;
    w.token_error = r.error;
    w.token_at = e->node;
    w.token_out = true;
    push(w.now + US + prng_below(&w.r, 20000), EV_TOKEN, (uint8_t)prng_below(&w.r, w.nodes), NULL);
}

static void happen(const struct event *e)
{
    uint8_t who = e->type == EV_REQUEST ? 0 : e->node;
    bool work = e->type == EV_TICK || e->type == EV_REQUEST || e->type == EV_ANSWER;
    w.now = e->at;
    if (work && w.now < w.host[who].busy_until) {
        push(w.host[who].busy_until, e->type, e->node, &e->m);
        return;
    }
    switch (e->type) {
    case EV_TICK:
        tick(e->node);
        break;
    case EV_REQUEST:
        request(e);
        break;
    case EV_ANSWER:
        answer(e);
        break;
    case EV_TOKEN:
        token(e);
        return; /* often: the other checks need not follow each hop */
    case EV_STALL:
        w.host[e->node].busy_until = w.now + MS + prng_below(&w.r, 1500) * MS;
        push(w.now + S + prng_below(&w.r, 4000) * MS, EV_STALL, (uint8_t)prng_below(&w.r, w.nodes),
             NULL);
        break;
    case EV_OUTAGE:
        w.host[e->node].outage_until = w.now + 100 * MS + prng_below(&w.r, 4000) * MS;
        push(w.now + S + prng_below(&w.r, 8000) * MS, EV_OUTAGE, (uint8_t)prng_below(&w.r, w.nodes),
             NULL);
        break;
    }
    check_all();
}

/* ---- a run --------------------------------------------------------------------------------- */

static void begin_host(uint8_t n)
{
    static const uint32_t interval[] = {5, 50, 50, 50, 200};
    struct host *h = &w.host[n];
    uint32_t khz = 2400000;
    *h = (struct host){.khz = khz,
                       .rate = (int64_t)prng_below(&w.r, 100 * CLOCK_PPM) - 50 * CLOCK_PPM};
    /* Up to 10 s apart, on both sides of the wrap. */
    h->ticks = (uint64_t)prng_below(&w.r, 10000) * khz - 5000 * (uint64_t)khz * prng_below(&w.r, 2);
    for (int way = 0; way < 2; way++)
        h->base[way] = 1000 + prng_below(&w.r, prng_chance(&w.r, 200000) ? 100000 : 20000);
    struct clock_config cfg = {.self = n,
                               .reference = 0,
                               .nodes = (uint8_t)w.nodes,
                               .discipline = !w.off,
                               .khz = khz - 50 + prng_below(&w.r, 100),
                               .interval_ms = interval[prng_below(&w.r, 5)]};
    clock_init(&h->clock, &cfg, tsc(h, 0));
    push(prng_below(&w.r, 200) * MS, EV_TICK, n, NULL);
}

static bool run(uint64_t seed, uint64_t seconds, bool off)
{
    w = (struct world){.seed = seed, .r = {seed}, .off = off, .end = seconds * S};
    w.worst_rate = INT64_MAX;
    w.nodes = 2 + prng_below(&w.r, prng_chance(&w.r, 500000) ? 3 : NODES - 1);
    w.calm = prng_chance(&w.r, 500000);
    w.tail_ppm = prng_chance(&w.r, 500000) ? 200000 : 20000;
    for (uint8_t n = 0; n < w.nodes; n++)
        begin_host(n);
    if (!w.calm) { /* after everybody could lock: before, it only takes longer */
        push(4 * S, EV_STALL, (uint8_t)prng_below(&w.r, w.nodes), NULL);
        push(5 * S, EV_OUTAGE, (uint8_t)prng_below(&w.r, w.nodes), NULL);
    }
    while (w.why[0] == '\0' && w.heap[0].at < w.end) {
        struct event e = pop();
        happen(&e);
    }
    if (w.error_count > 0 && w.error_sum / w.error_count > 1000)
        FAIL("useful: bounds are %" PRIu64 " per mille of what they should be",
             w.error_sum / w.error_count);
    return w.why[0] == '\0';
}

static void on_check(const char *expr, const char *file, int line)
{
    fprintf(stderr, "seed %" PRIu64 ": assertion failed: %s at %s:%d\n", w.seed, expr, file, line);
}

static double ppm(int64_t rate)
{
    return rate == INT64_MAX ? 0 : (double)rate / CLOCK_PPM;
}

static double us(uint64_t ticks)
{
    return (double)ticks / 2400.0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 1, seconds = 25, failed = 0, reads = 0;
    uint64_t skew = 0, back = 0, error = 0;
    int64_t rate = INT64_MAX;
    bool off = false, verbose = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--off-must-fail") == 0)
            off = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (more && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[++i], NULL, 0);
        else if (more && strcmp(argv[i], "--seconds") == 0)
            seconds = strtoull(argv[++i], NULL, 0);
        else
            return fprintf(stderr, "%s: unknown option; see the head of clock_sim.c\n", argv[i]), 2;
    }
    pando_check_set_handler(on_check);
    for (uint64_t s = seed; s < seed + seeds; s++) {
        bool good = run(s, seconds, off);
        failed += !good;
        reads += w.reads;
        skew = w.worst_skew > skew ? w.worst_skew : skew;
        back = w.worst_back > back ? w.worst_back : back;
        rate = w.worst_rate < rate ? w.worst_rate : rate;
        uint64_t mean = w.error_count ? w.error_sum / w.error_count : 0;
        error = mean > error ? mean : error;
        if (verbose || (!good && !off))
            printf("seed %" PRIu64 ": %u nodes%s: %s; skew %.2f us, back %.2f us, bounds %" PRIu64
                   " per mille, all locked after %" PRIu64 " ms\n",
                   s, w.nodes, w.calm ? ", calm" : "", good ? "good" : w.why, us(w.worst_skew),
                   us(w.worst_back), mean, w.all_locked / MS);
        if (!good && !off)
            printf("repeat: pando-clock-sim --seed %" PRIu64 " --verbose\n", s);
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " readings; worst skew %.2f us, worst "
           "step back of a token %.2f us, widest bounds %" PRIu64 " per mille, slowest correction "
           "%.3f ppm\n",
           seeds, failed, reads, us(skew), us(back), error, ppm(rate));
    return off ? failed != seeds : failed != 0;
}
