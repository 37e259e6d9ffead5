/* SPDX-License-Identifier: BSD-3-Clause */
/* Samples to an estimate: the minimum-delay filter, the rate, the reference's TSC now. */
#include "dataplane/clock/internal.h"

#include <string.h>

static const struct clock_sample *lesser(const struct clock_sample *a, const struct clock_sample *b)
{
    return a->delay < b->delay ? a : b;
}

/* Neighbours merge and bins become twice as long; at their greatest length the oldest goes. */
static void make_room(struct clock *c)
{
    if (c->bin_ms >= CLOCK_BIN_MS_MAX) {
        memmove(c->bin, c->bin + 1, sizeof(c->bin[0]) * (CLOCK_BINS - 1));
        c->bins = CLOCK_BINS - 1;
        return;
    }
    for (uint32_t i = 0; i < CLOCK_BINS / 2; i++)
        c->bin[i] = *lesser(&c->bin[2 * i], &c->bin[2 * i + 1]);
    c->bins = CLOCK_BINS / 2;
    c->bin_ms *= 2;
}

void clock_sample_add(struct clock *c, const struct clock_sample *s)
{
    c->last = *s;
    c->count.samples++;
    if (c->bins > 0 && s->host - c->bin_start < clock_ms(c, c->bin_ms)) {
        struct clock_sample *b = &c->bin[c->bins - 1];
        *b = *lesser(b, s);
        return;
    }
    if (c->bins == CLOCK_BINS)
        make_room(c);
    c->bin[c->bins++] = *s;
    c->bin_start = s->host;
}

uint32_t clock_delay(const struct clock *c)
{
    uint32_t least = c->bins > 0 ? c->bin[0].delay : 0;
    for (uint32_t i = 1; i < c->bins; i++)
        if (c->bin[i].delay < least)
            least = c->bin[i].delay;
    return least;
}

/* ---- the rate ------------------------------------------------------------------------------ */

struct slope {
    int64_t rate, bound;
    uint32_t from, to;
};

static struct slope slope_between(const struct clock *c, uint32_t from, uint32_t to)
{
    const struct clock_sample *a = &c->bin[from], *b = &c->bin[to];
    uint64_t time = b->host - a->host; /* not 0: samples are taken in order */
    return (struct slope){
        .rate = clock_ratio((int64_t)(b->offset - a->offset), time),
        .bound = clock_ratio(((int64_t)a->delay + b->delay) / 2 + CLOCK_ROUND, time),
        .from = from,
        .to = to,
    };
}

static void insert_sorted(int64_t *list, uint32_t n, int64_t v)
{
    for (; n > 0 && list[n - 1] > v; n--)
        list[n] = list[n - 1];
    list[n] = v;
}

/* How wrong a slope is likely to be: what its two samples took longer than the fastest one, and a
 * little for that one. Enough for choosing rho; bounds do not rest on it. */
static int64_t likely_error(const struct clock *c, const struct slope *s)
{
    const struct clock_sample *a = &c->bin[s->from], *b = &c->bin[s->to];
    uint32_t least = clock_delay(c);
    int64_t ticks = ((int64_t)a->delay - least + b->delay - least) / 2 + least / 16;
    return clock_ratio(ticks + CLOCK_ROUND, b->host - a->host);
}

/* Our rate against the reference's, 1/(1 + rate) - 1, on the fast side of its likely error. One
 * that is certainly out of range is reported as it is, for the reference to refuse it by name. */
static int32_t report(const struct clock *c, int64_t likely)
{
    const int64_t limit = CLOCK_RATE_PPM_MAX * CLOCK_PPM;
    int64_t ours = clock_ratio(-c->rate, (uint64_t)((INT64_C(1) << 32) + c->rate));
    if (clock_abs(c->rate) - c->bound > limit)
        return (int32_t)clock_clamp(ours, INT32_MAX);
    int64_t most = CLOCK_REPORT_PPM_MAX * CLOCK_PPM;
    return (int32_t)clock_clamp(ours + (likely < most ? likely : most), limit);
}

void clock_rate_update(struct clock *c)
{
    int64_t slope[CLOCK_SLOPES];
    uint32_t n = 0, half = CLOCK_BINS / 2;
    struct slope best = {.bound = INT64_MAX};
    if (c->bins < (c->rated ? half + 1 : CLOCK_BINS_LOCK))
        return;
    half = c->bins / 2;
    for (uint32_t i = 0; i < c->bins; i++)
        for (uint32_t k = i + half; k < c->bins && n < CLOCK_SLOPES; k++) {
            struct slope s = slope_between(c, i, k);
            insert_sorted(slope, n++, s.rate);
            if (s.bound < best.bound)
                best = s;
        }
    int64_t off = clock_clamp(slope[n / 2] - best.rate, best.bound);
    int64_t bound = best.bound + clock_abs(off);
    bool full = c->bins == CLOCK_BINS && c->bin_ms >= CLOCK_BIN_MS_MAX;
    if (!c->rated && bound > CLOCK_BOUND_PPM_LOCK * CLOCK_PPM && !full)
        return;
    if (c->rated && c->map.state >= CLOCK_LOCKED &&
        clock_abs(best.rate) - best.bound > CLOCK_RATE_PPM_MAX * CLOCK_PPM) {
        c->count.drop[CLOCK_DROP_RATE]++; /* no TSC becomes that: the last rate stays */
        return;
    }
    c->rate = best.rate + off;
    c->bound = bound;
    c->rated = true;
    c->report = report(c, likely_error(c, &best));
}

/* ---- the reference's TSC ------------------------------------------------------------------- */

/* A rate may have changed while it was measured and since; the more the longer that took, as after
 * an outage. */
static int64_t rate_error(const struct clock *c, uint64_t age)
{
    uint64_t time = age + (c->last.host - c->bin[0].host);
    int64_t windows = (int64_t)(time / clock_ms(c, 2 * CLOCK_BINS * CLOCK_BIN_MS_MAX));
    return clock_clamp(c->bound + CLOCK_WANDER_PPM * CLOCK_PPM * (1 + windows), INT64_C(1) << 32);
}

static uint64_t sample_error(const struct clock *c, const struct clock_sample *s, uint64_t host)
{
    uint64_t age = (uint64_t)clock_abs((int64_t)(host - s->host));
    return s->delay / 2 + (uint64_t)clock_scale((int64_t)age, rate_error(c, age));
}

struct clock_guess clock_guess_at(const struct clock *c, uint64_t host)
{
    const struct clock_sample *best = &c->last;
    uint64_t error = sample_error(c, best, host);
    for (uint32_t i = 0; i < c->bins; i++) {
        uint64_t e = sample_error(c, &c->bin[i], host);
        if (e < error) {
            error = e;
            best = &c->bin[i];
        }
    }
    uint64_t past = (uint64_t)clock_scale((int64_t)(host - best->host), c->rate);
    return (struct clock_guess){.ref = host + best->offset + past, .error = error + CLOCK_ROUND};
}

/* Whether a sample agrees with what is known, each within its bounds. */
static bool agrees(const struct clock *c, const struct clock_sample *s)
{
    int64_t known, bound = s->delay / 2 + CLOCK_ROUND;
    if (clock_usable(c)) {
        struct clock_guess g = clock_guess_at(c, s->host);
        known = (int64_t)(g.ref - s->host);
        bound += (int64_t)g.error;
    } else {
        known = (int64_t)c->last.offset;
        bound += c->last.delay / 2 +
                 clock_scale((int64_t)(s->host - c->last.host), CLOCK_ACQUIRE_PPM * CLOCK_PPM);
    }
    int64_t off = (int64_t)(s->offset - (uint64_t)known);
    return off <= bound && off >= -bound;
}

/* Before the first lock the earlier sample may be the wrong one: who is contradicted often enough
 * starts anew. */
bool clock_sample_fits(struct clock *c, const struct clock_sample *s)
{
    if (c->bins == 0 || agrees(c, s)) {
        c->strange = 0;
        return true;
    }
    if (clock_usable(c) || ++c->strange < CLOCK_STRANGE_MAX)
        return false;
    c->bins = 0;
    c->bin_ms = CLOCK_BIN_MS;
    c->rated = false;
    c->strange = 0;
    c->count.restarts++;
    return true;
}
