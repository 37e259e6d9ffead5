/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the clock share. PURE. */
#ifndef PANDO_CLOCK_INTERNAL_H
#define PANDO_CLOCK_INTERNAL_H

#include "dataplane/clock/clock.h"

enum {
    CLOCK_ROUND = 8,        /* ticks that the roundings of a chain of maps add up to, at most */
    CLOCK_GROWTH = 1 << 17, /* 1/32768, what clock_map_error allows for, in 2^-32 */
    CLOCK_ACQUIRE_PPM =
        400, /* no two honest TSCs differ by more: nominal, before a rate is known */
    CLOCK_RATIO_LIMIT_BITS = 8, /* a ratio saturates at 2^8: two of them never overflow */
};

struct clock_guess { /* the reference's TSC at some host TSC, and the certain bound of its error */
    uint64_t ref, error;
};

static inline uint64_t clock_ms(const struct clock *c, uint64_t ms)
{
    return c->cfg.khz * ms;
}

static inline int64_t clock_abs(int64_t v)
{
    return v < 0 ? -v : v;
}

static inline int64_t clock_clamp(int64_t v, int64_t limit)
{
    return v > limit ? limit : v < -limit ? -limit : v;
}

/* num / den in 2^-32 units, saturated; den is not 0. */
static inline int64_t clock_ratio(int64_t num, uint64_t den)
{
    const clock_wide limit = (clock_wide)1 << (32 + CLOCK_RATIO_LIMIT_BITS);
    clock_wide r = (clock_wide)num * ((clock_wide)1 << 32) / (clock_wide)den;
    return (int64_t)(r > limit ? limit : r < -limit ? -limit : r);
}

/* estimate.c */
bool clock_sample_fits(struct clock *c, const struct clock_sample *s);
void clock_sample_add(struct clock *c, const struct clock_sample *s);
void clock_rate_update(struct clock *c);
struct clock_guess clock_guess_at(const struct clock *c, uint64_t host);

/* line.c */
enum clock_drop clock_line_take(struct clock *c, const struct wire_time *m, uint64_t t1);
void clock_line_decide(struct clock *c, uint64_t host);

/* clock.c */
void clock_publish(struct clock *c, uint64_t host);

#endif
