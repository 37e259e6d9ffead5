/* SPDX-License-Identifier: BSD-3-Clause */
/* The state machine of one peer: the tables at the head of rdma.h. */
#include "dataplane/base/bits.h"
#include "dataplane/rdma/rdma.h"

const char *rdma_state_name(enum rdma_state s)
{
    static const char *const name[RDMA_STATES] = {
#define X(ID, text) [RDMA_##ID] = text,
        RDMA_STATE_LIST(X)
#undef X
    };
    return (unsigned)s < RDMA_STATES ? name[s] : "?";
}

const char *rdma_failure_name(enum rdma_failure f)
{
    static const char *const name[RDMA_FAILURES] = {
#define X(ID, text) [RDMA_FAILURE_##ID] = text,
        RDMA_FAILURE_LIST(X)
#undef X
    };
    return (unsigned)f < RDMA_FAILURES ? name[f] : "?";
}

const char *rdma_event_name(enum rdma_event_type t)
{
    static const char *const name[RDMA_EVENTS] = {
#define X(ID, text) [RDMA_EVENT_##ID] = text,
        RDMA_EVENT_LIST(X)
#undef X
    };
    return (unsigned)t < RDMA_EVENTS ? name[t] : "?";
}

const char *rdma_action_name(unsigned bit)
{
    static const char *const name[RDMA_ACTIONS] = {
#define X(ID, text) [RDMA_DO_##ID##_BIT] = text,
        RDMA_ACTION_LIST(X)
#undef X
    };
    return bit < RDMA_ACTIONS ? name[bit] : "?";
}

/* What our hello says has changed. */
static unsigned tell(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now)
{
    p->generation++;
    p->hello_at = now + cfg->hello_ns;
    return RDMA_DO_HELLO;
}

static unsigned end_pair(struct rdma_peer *p)
{
    bool had = p->number != 0;
    p->number = p->packet = 0;
    return had ? RDMA_DO_END : 0;
}

static unsigned fail(struct rdma_peer *p, enum rdma_failure why)
{
    p->state = RDMA_FAILED;
    p->failure = why;
    return end_pair(p) | RDMA_DO_FAIL;
}

static unsigned leave(struct rdma_peer *p)
{
    p->state = RDMA_ABSENT;
    p->generation++; /* the next hello says that it is not heard any more */
    return end_pair(p) | RDMA_DO_FORGET;
}

/* A queue pair for the port that `theirs` describes. Its number is known by event MADE. */
static unsigned make(struct rdma_peer *p)
{
    unsigned todo = end_pair(p);
    if (todo != 0)
        p->restarts++;
    p->state = RDMA_MADE;
    return todo | RDMA_DO_LEARN | RDMA_DO_MAKE;
}

/* With the queue pair that we have now: the device may have given its number to an older one. */
static bool joined(const struct rdma_peer *p)
{
    return p->theirs.joined == p->number && p->heard >= p->made;
}

/* The peer's queue pair is for this port, and joined with ours or with none. */
static bool fits(const struct rdma_config *cfg, const struct rdma_peer *p)
{
    const struct rdma_hello *t = &p->theirs;
    return t->heard_epoch == cfg->epoch && t->number != 0 && (t->joined == 0 || joined(p));
}

static unsigned advance(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now)
{
    unsigned todo = 0;
    if (p->state == RDMA_MADE && p->number != 0 && fits(cfg, p)) {
        p->state = RDMA_READY;
        p->connected_at = now;
        todo |= RDMA_DO_CONNECT | tell(cfg, p, now);
    }
    if (p->state == RDMA_READY && joined(p)) {
        p->state = RDMA_UP;
        p->probe_at = now + cfg->probe_ns;
        todo |= RDMA_DO_PROBE; /* the first use shows whether the path is one */
    }
    return todo;
}

/* Our queue pair is of no use any more. */
static unsigned doubt(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now)
{
    p->young = now - p->connected_at < cfg->young_ns;
    p->state = RDMA_DOUBT;
    p->doubt_at = now + cfg->doubt_ns;
    return end_pair(p) | tell(cfg, p, now);
}

/* The peer says that it ends, or that its port broke. */
static unsigned goodbye(const struct rdma_config *cfg, struct rdma_peer *p)
{
    bool known = p->state != RDMA_ABSENT;
    p->ended = true;
    if (p->theirs.phase == RDMA_BROKEN && cfg->ladder && known)
        return fail(p, RDMA_FAILURE_SAID);
    return known ? leave(p) : 0;
}

/* A hello of the port that is known already; same: it names the queue pair that the last one did.
 */
static unsigned go_on(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now, bool same)
{
    const struct rdma_hello *t = &p->theirs;
    bool heard = t->heard_epoch == cfg->epoch;
    switch (p->state) {
    case RDMA_ABSENT: /* it was thought to have ended */
        return make(p);
    case RDMA_READY:
    case RDMA_UP:
        if (heard && same)
            break;
        return heard && t->number == 0 ? doubt(cfg, p, now) : make(p);
    case RDMA_DOUBT:
        if (!heard) /* it has ended the connection: nothing is wrong with the path */
            return make(p);
        if (p->heard != p->generation)
            break;
        if (cfg->ladder || p->young)
            return fail(p, RDMA_FAILURE_PATH);
        p->restarts++;
        return make(p);
    default:
        break;
    }
    return advance(cfg, p, now);
}

static bool is_stale(const struct rdma_peer *p, const struct rdma_hello *h)
{
    if (h->epoch != p->theirs.epoch)
        return h->epoch < p->theirs.epoch;
    return p->ended || h->generation < p->theirs.generation;
}

static unsigned take(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now,
                     const struct rdma_hello *h)
{
    if (p->state == RDMA_FAILED || is_stale(p, h))
        return RDMA_DO_STALE;
    bool other = h->epoch != p->theirs.epoch, later = other || h->generation > p->theirs.generation;
    bool same = h->number == p->theirs.number && h->packet == p->theirs.packet;
    p->theirs = *h;
    if (other)
        p->ended = false;
    /* Of two hellos that say the same, the one that has heard more may come first. */
    if (h->heard_epoch == cfg->epoch && h->heard_generation <= p->generation &&
        h->heard_generation > p->heard)
        p->heard = h->heard_generation;
    if (h->phase != RDMA_LIVE)
        return goodbye(cfg, p);
    unsigned todo = other ? make(p) : go_on(cfg, p, now, same);
    return later && p->state != RDMA_FAILED ? todo | RDMA_DO_HELLO : todo;
}

static unsigned broke(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now)
{
    switch (p->state) {
    case RDMA_MADE:
        return fail(p, RDMA_FAILURE_MAKE);
    case RDMA_READY:
    case RDMA_UP:
        return doubt(cfg, p, now);
    default:
        return 0;
    }
}

static unsigned refused(const struct rdma_config *cfg, struct rdma_peer *p)
{
    switch (p->state) {
    case RDMA_MADE:
        return leave(p);
    case RDMA_READY:
    case RDMA_UP:
    case RDMA_DOUBT:
        return cfg->ladder ? fail(p, RDMA_FAILURE_LEFT) : leave(p);
    default:
        return 0;
    }
}

static unsigned elsewhere(const struct rdma_config *cfg, struct rdma_peer *p)
{
    return cfg->ladder && p->state != RDMA_FAILED ? fail(p, RDMA_FAILURE_ELSEWHERE) : 0;
}

/* The peer is told that it is not heard: it ends its part, and waits. */
static unsigned fenced(struct rdma_peer *p)
{
    if (p->state == RDMA_ABSENT || p->state == RDMA_FAILED)
        return 0;
    return leave(p) | RDMA_DO_HELLO;
}

static unsigned tick(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now)
{
    unsigned todo = 0;
    if (p->state == RDMA_FAILED)
        return 0;
    if (p->state == RDMA_DOUBT && now >= p->doubt_at)
        return cfg->ladder ? fail(p, RDMA_FAILURE_SILENT) : leave(p);
    if (p->state == RDMA_UP && now >= p->probe_at) {
        p->probe_at = now + cfg->probe_ns;
        todo |= RDMA_DO_PROBE;
    }
    if (now < p->hello_at)
        return todo;
    bool calm = p->state == RDMA_ABSENT || (p->state == RDMA_UP && p->heard == p->generation);
    p->hello_at = now + (calm ? cfg->calm_ns : cfg->hello_ns);
    return todo | RDMA_DO_HELLO;
}

static unsigned made(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now,
                     const struct rdma_event *ev)
{
    unsigned todo = tell(cfg, p, now);
    p->number = ev->number;
    p->packet = ev->packet;
    p->made = p->generation;
    return todo | advance(cfg, p, now);
}

unsigned rdma_step(const struct rdma_config *cfg, struct rdma_peer *p, uint64_t now,
                   const struct rdma_event *ev)
{
    switch (ev->type) {
    case RDMA_EVENT_START:
        return tell(cfg, p, now);
    case RDMA_EVENT_HELLO:
        return take(cfg, p, now, ev->hello);
    case RDMA_EVENT_MADE:
        return made(cfg, p, now, ev);
    case RDMA_EVENT_BROKE:
        return broke(cfg, p, now);
    case RDMA_EVENT_REFUSED:
        return refused(cfg, p);
    case RDMA_EVENT_ELSEWHERE:
        return elsewhere(cfg, p);
    case RDMA_EVENT_FENCED:
        return fenced(p);
    case RDMA_EVENT_MEMORY:
        return p->number != 0 ? tell(cfg, p, now) : 0;
    case RDMA_EVENT_TICK:
        return tick(cfg, p, now);
    default:
        return 0;
    }
}

void rdma_hello_fill(const struct rdma_config *cfg, const struct rdma_peer *p,
                     enum rdma_phase phase, struct rdma_hello *h)
{
    bool known = p->theirs.epoch != 0 && !p->ended && p->state != RDMA_ABSENT;
    bool has_pair = known && phase == RDMA_LIVE;
    bool connected = p->state == RDMA_READY || p->state == RDMA_UP;
    h->phase = (uint8_t)phase;
    h->epoch = cfg->epoch;
    h->generation = p->generation;
    h->heard_epoch = known ? p->theirs.epoch : 0;
    h->heard_generation = known ? p->theirs.generation : 0;
    h->number = has_pair ? p->number : 0;
    h->packet = has_pair ? p->packet : 0;
    h->joined = has_pair && connected ? p->theirs.number : 0;
    if (h->number == 0)
        h->blocks = 0;
}
