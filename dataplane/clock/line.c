/* SPDX-License-Identifier: BSD-3-Clause */
/* C's line over the reference's TSC: the reference decides it, the others check and take it. */
#include "dataplane/clock/internal.h"

bool clock_khz_fits(const struct clock *c, uint32_t khz)
{
    uint64_t more = khz > c->cfg.khz ? khz - c->cfg.khz : c->cfg.khz - khz;
    return more * 1000000 <= (uint64_t)c->cfg.khz * CLOCK_KHZ_PPM_MAX;
}

/* ---- the reference ------------------------------------------------------------------------- */

uint64_t clock_missing(const struct clock *c)
{
    uint64_t all = c->cfg.nodes >= 64 ? UINT64_MAX : (UINT64_C(1) << c->cfg.nodes) - 1;
    if (c->cfg.self != c->cfg.reference || !c->cfg.discipline)
        return 0;
    return all & ~c->reported & ~(UINT64_C(1) << c->cfg.self);
}

static int64_t rho_wanted(const struct clock *c)
{
    int64_t most = INT32_MIN;
    for (uint8_t n = 0; n < c->cfg.nodes; n++)
        if ((c->reported >> n & 1) != 0 && c->reports[n] > most)
            most = c->reports[n];
    most += CLOCK_MARGIN_PPM * CLOCK_PPM;
    return most > 0 ? most : 0;
}

/* At once while nobody can be locked; a small step a second afterwards, as the others go on with
 * the old line until they hear of the new one. It is raised for any need, but lowered only if much
 * too high: estimates are never quite the same twice. */
void clock_line_decide(struct clock *c, uint64_t host)
{
    const int64_t step = CLOCK_RHO_STEP_PPM * CLOCK_PPM;
    if (c->reported == 0 || clock_missing(c) != 0)
        return;
    int64_t change = rho_wanted(c) - c->line.rho;
    if (c->line.generation != 0) {
        bool keep = change == 0 || (change < 0 && -change <= CLOCK_RHO_KEEP_PPM * CLOCK_PPM);
        if (keep || host - c->changed_at < clock_ms(c, 1000))
            return;
        change = clock_clamp(change, step);
    }
    c->line.base_c = clock_line_at(&c->line, host);
    c->line.base_ref = host;
    c->line.rho += change;
    c->line.generation = c->line.generation == UINT32_MAX ? 1 : c->line.generation + 1;
    c->changed_at = host;
    c->map.state = CLOCK_LOCKED;
}

static enum clock_drop drop(struct clock *c, enum clock_drop why)
{
    c->count.drop[why]++;
    return why;
}

enum clock_drop clock_request(struct clock *c, uint8_t src, const struct wire_time *m, uint64_t t2,
                              struct wire_time *ret)
{
    if (c->cfg.self != c->cfg.reference || !c->cfg.discipline || src >= c->cfg.nodes ||
        src == c->cfg.self || m->kind != WIRE_TIME_REQ)
        return drop(c, CLOCK_DROP_SOURCE);
    if (!clock_khz_fits(c, m->khz))
        return drop(c, CLOCK_DROP_FREQUENCY);
    if (m->rate != CLOCK_RATE_UNKNOWN) {
        if (clock_abs(m->rate) > CLOCK_RATE_PPM_MAX * CLOCK_PPM)
            return drop(c, CLOCK_DROP_RATE);
        c->reports[src] = m->rate;
        c->reported |= UINT64_C(1) << src;
    }
    *ret = (struct wire_time){
        .kind = WIRE_TIME_REP,
        .vm = m->vm,
        .seq = m->seq,
        .khz = c->cfg.khz,
        .rate = (int32_t)c->line.rho,
        .received = t2,
        .base_ref = c->line.base_ref,
        .base_c = c->line.base_c,
        .generation = c->line.generation,
    };
    return drop(c, CLOCK_OK);
}

/* ---- the others ---------------------------------------------------------------------------- */

/* Whether a later generation can follow the known one: rho in steps, a second apart, and C
 * continuous; after exactly one change to the tick. */
static enum clock_drop continues(const struct clock *c, const struct wire_time *m, uint32_t more)
{
    int64_t since = (int64_t)(m->base_ref - c->line.base_ref);
    int64_t second = (int64_t)m->khz * 990; /* less one percent: the two count differently */
    int64_t steps = more < CLOCK_RHO_PPM_MAX ? more : CLOCK_RHO_PPM_MAX;
    int64_t most = steps * CLOCK_RHO_STEP_PPM * CLOCK_PPM;
    if (since < 0 || since / second < (int64_t)more || clock_abs(m->rate - c->line.rho) > most)
        return CLOCK_DROP_RHO;
    int64_t off = (int64_t)(m->base_c - clock_line_at(&c->line, m->base_ref));
    if (clock_abs(off) > (more == 1 ? 2 : clock_scale(since, most) + CLOCK_ROUND))
        return CLOCK_DROP_JUMP;
    return CLOCK_OK;
}

enum clock_drop clock_line_take(struct clock *c, const struct wire_time *m, uint64_t t1)
{
    struct clock_line *l = &c->line;
    struct clock_line n = {m->base_ref, m->base_c, m->rate, m->generation};
    if (m->rate < 0 || m->rate > CLOCK_RHO_PPM_MAX * CLOCK_PPM)
        return CLOCK_DROP_RHO;
    if ((int64_t)(m->stamp - m->base_ref) < 0)
        return CLOCK_DROP_JUMP; /* a line that begins in the future */
    if (m->generation == 0)
        return l->generation == 0 ? CLOCK_OK : CLOCK_DROP_GENERATION;
    if (l->generation != 0) {
        int32_t more = (int32_t)(m->generation - l->generation);
        bool same = n.base_ref == l->base_ref && n.base_c == l->base_c && n.rho == l->rho;
        if (more < 0 || (more == 0 && !same))
            return CLOCK_DROP_GENERATION;
        enum clock_drop why = more == 0 ? CLOCK_OK : continues(c, m, (uint32_t)more);
        if (why != CLOCK_OK)
            return why;
    }
    *l = n;
    c->line_at = t1;
    return CLOCK_OK;
}
