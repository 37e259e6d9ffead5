/* SPDX-License-Identifier: BSD-3-Clause */
/* The states, the exchange, and what is published. */
#include "dataplane/clock/clock.h"

#include "dataplane/base/check.h"
#include "dataplane/clock/internal.h"

void clock_init(struct clock *c, const struct clock_config *cfg, uint64_t host)
{
    PANDO_CHECK(cfg->self < cfg->nodes && cfg->reference < cfg->nodes && cfg->interval_ms > 0);
    PANDO_CHECK(cfg->khz >= CLOCK_KHZ_MIN && cfg->khz <= CLOCK_KHZ_MAX);
    *c = (struct clock){.cfg = *cfg, .due = host, .bin_ms = CLOCK_BIN_MS};
    bool alone = !cfg->discipline || cfg->nodes == 1;
    if (alone || cfg->self == cfg->reference) {
        c->line = (struct clock_line){.base_ref = host, .base_c = host, .generation = alone};
        c->map.khz = cfg->khz;
        c->map.state = alone ? CLOCK_LOCKED : CLOCK_NONE;
    }
    c->map.error_ticks = UINT32_MAX;
    c->changed_at = host;
    clock_publish(c, host);
}

/* ---- publishing ---------------------------------------------------------------------------- */

/* The reference's rho may have changed since its line was heard: by a step then, and a step more
 * each second. */
static uint64_t line_error(const struct clock *c, uint64_t host)
{
    uint64_t age = host - c->line_at, seconds = age / clock_ms(c, 1000);
    if (seconds > CLOCK_RHO_PPM_MAX)
        seconds = CLOCK_RHO_PPM_MAX;
    int64_t rho = CLOCK_RHO_STEP_PPM * CLOCK_PPM * (1 + (int64_t)seconds);
    return (uint64_t)clock_scale((int64_t)age, rho);
}

/* A node's map: begins where the old one is now, and runs at the estimated rate, corrected so that
 * it meets the estimate in a second, or as fast as CLOCK_SLEW_PPM allows. */
static void follow(struct clock *c, uint64_t host, struct clock_map *m)
{
    struct clock_guess g = clock_guess_at(c, host);
    uint64_t error = g.error + line_error(c, host) + CLOCK_ROUND;
    m->base_cluster = clock_line_at(&c->line, g.ref);
    m->rate = c->rate + c->line.rho + clock_scale(c->rate, c->line.rho);
    if (c->map.error_ticks != UINT32_MAX) { /* there is an old one */
        uint64_t held = clock_map_at(&c->map, host);
        int64_t ahead = (int64_t)(held - m->base_cluster);
        if (ahead < 0 && (uint64_t)-ahead > clock_map_error(&c->map, host) + error) {
            c->count.steps++;
        } else {
            const int64_t most = CLOCK_SLEW_PPM * CLOCK_PPM;
            m->base_cluster = held;
            m->rate -= clock_clamp(clock_ratio(ahead, clock_ms(c, 1000)), most);
            error += (uint64_t)clock_abs(ahead);
            c->count.slews += ahead > 0;
        }
    }
    /* What readers add with age covers a rate error of about 28 ppm; what is beyond counts for a
     * second in advance. */
    int64_t grows = c->bound + (CLOCK_WANDER_PPM + CLOCK_RHO_STEP_PPM) * CLOCK_PPM - CLOCK_GROWTH;
    if (grows > 0)
        error += (uint64_t)clock_scale((int64_t)clock_ms(c, 1000), grows);
    m->error_ticks = error < UINT32_MAX ? (uint32_t)error : UINT32_MAX - 1;
}

void clock_publish(struct clock *c, uint64_t host)
{
    struct clock_map m = {
        .state = c->map.state, .base_host = host, .khz = c->map.khz, .error_ticks = UINT32_MAX};
    if (clock_usable(c)) {
        if (!c->cfg.discipline || c->cfg.self == c->cfg.reference) {
            m.base_cluster = clock_line_at(&c->line, host);
            m.rate = c->line.rho;
            m.error_ticks = c->cfg.discipline && c->cfg.nodes > 1 ? CLOCK_ROUND : 0;
        } else {
            follow(c, host, &m);
        }
    }
    c->map = m;
}

/* ---- the exchange -------------------------------------------------------------------------- */

uint64_t clock_due(const struct clock *c)
{
    return c->due;
}

bool clock_tick(struct clock *c, uint64_t host, struct wire_time *ret)
{
    uint32_t ms = c->cfg.interval_ms, silence = 8 * c->cfg.interval_ms;
    bool follows = c->cfg.discipline && c->cfg.self != c->cfg.reference;
    if ((int64_t)(host - c->due) < 0)
        return false;
    if (!clock_usable(c) && ms > CLOCK_FAST_MS)
        ms = CLOCK_FAST_MS;
    c->due = host + clock_ms(c, ms);
    if (!c->in_burst)
        c->burst = CLOCK_BURST;
    c->in_burst = false;
    if (silence < CLOCK_SILENCE_MS)
        silence = CLOCK_SILENCE_MS;
    if (!follows)
        clock_line_decide(c, host);
    else if (c->map.state == CLOCK_LOCKED && host - c->changed_at > clock_ms(c, silence))
        c->map.state = CLOCK_HOLDOVER;
    clock_publish(c, host);
    if (follows)
        *ret = (struct wire_time){.kind = WIRE_TIME_REQ,
                                  .khz = c->cfg.khz,
                                  .rate = c->rated ? c->report : CLOCK_RATE_UNKNOWN};
    return follows;
}

void clock_asked(struct clock *c, struct wire_time *m, uint64_t t1)
{
    m->seq = ++c->seq;
    m->stamp = t1;
    c->asked[m->seq % CLOCK_ASKED].open = true;
    c->asked[m->seq % CLOCK_ASKED].seq = m->seq;
    c->asked[m->seq % CLOCK_ASKED].host = t1;
    c->count.requests++;
}

/* The four stamps to a sample. The two TSCs count differently, by less than 1/4096, which the delay
 * makes room for. */
static enum clock_drop measure(const struct clock *c, const struct wire_time *m, uint64_t t1,
                               uint64_t t4, struct clock_sample *ret)
{
    int64_t here = (int64_t)(t4 - t1), there = (int64_t)(m->stamp - m->received);
    int64_t most = (int64_t)clock_ms(c, CLOCK_DELAY_MS_MAX);
    if (here < 0 || there < 0)
        return CLOCK_DROP_ORDER;
    if (here > most)
        return CLOCK_DROP_DELAY;
    int64_t delay = here - there + (here >> 11);
    if (delay < 0)
        return CLOCK_DROP_ORDER;
    ret->host = t1 + (uint64_t)here / 2;
    ret->offset = m->received + (uint64_t)there / 2 - ret->host;
    ret->delay = (uint32_t)delay;
    if (c->bins > 0 && (int64_t)(ret->host - c->last.host) <= 0)
        return CLOCK_DROP_ORDER;
    return CLOCK_OK;
}

static enum clock_drop take(struct clock *c, uint8_t src, const struct wire_time *m, uint64_t t4)
{
    uint32_t slot = m->seq % CLOCK_ASKED;
    struct clock_sample s;
    if (src != c->cfg.reference || c->cfg.self == c->cfg.reference || !c->cfg.discipline ||
        m->kind != WIRE_TIME_REP)
        return CLOCK_DROP_SOURCE;
    if (!c->asked[slot].open || c->asked[slot].seq != m->seq)
        return CLOCK_DROP_UNASKED;
    c->asked[slot].open = false;
    if (!clock_khz_fits(c, m->khz))
        return CLOCK_DROP_FREQUENCY;
    enum clock_drop why = measure(c, m, c->asked[slot].host, t4, &s);
    if (why == CLOCK_OK && !clock_sample_fits(c, &s))
        why = CLOCK_DROP_OFFSET;
    if (why == CLOCK_OK)
        why = clock_line_take(c, m, c->asked[slot].host);
    if (why != CLOCK_OK)
        return why;
    clock_sample_add(c, &s);
    clock_rate_update(c);
    return CLOCK_OK;
}

enum clock_drop clock_answer(struct clock *c, uint8_t src, const struct wire_time *m, uint64_t t4)
{
    enum clock_drop why = take(c, src, m, t4);
    c->count.drop[why]++;
    if (why != CLOCK_OK)
        return why;
    if (c->map.khz == 0)
        c->map.khz = m->khz;
    c->changed_at = t4;
    if (c->burst > 0) {
        c->burst--;
        c->in_burst = true;
        c->due = t4;
    }
    bool sound = c->rated && clock_abs(c->rate) - c->bound <= CLOCK_RATE_PPM_MAX * CLOCK_PPM;
    if (clock_usable(c) || (sound && c->line.generation != 0))
        c->map.state = CLOCK_LOCKED;
    else
        c->map.state = CLOCK_ACQUIRING;
    clock_publish(c, t4);
    return CLOCK_OK;
}

/* ---- names --------------------------------------------------------------------------------- */

const char *clock_drop_name(unsigned d)
{
    static const char *const names[CLOCK_DROPS] = {[CLOCK_OK] = "accepted",
#define X(ID, name) [CLOCK_DROP_##ID] = name,
                                                   CLOCK_DROP_LIST(X)
#undef X
    };
    return d < CLOCK_DROPS ? names[d] : "?";
}

const char *clock_state_name(unsigned state)
{
    static const char *const names[] = {"none", "acquiring", "locked", "holdover"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}
