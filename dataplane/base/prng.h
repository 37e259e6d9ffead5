/* SPDX-License-Identifier: BSD-3-Clause */
/* Seeded random numbers: SplitMix64 (Steele, Lea, Flood, 2014). PURE, header only.
 * Deterministic on every machine; not for secrets. */
#ifndef PANDO_BASE_PRNG_H
#define PANDO_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound 0 gives 0. The bias of the multiply-shift is below 2^-32 for the
 * bounds used here. */
static inline uint32_t prng_below(struct prng *r, uint32_t bound)
{
    return (uint32_t)(((prng_next(r) >> 32) * bound) >> 32);
}

/* True with probability parts_per_million / 1e6. */
static inline bool prng_chance(struct prng *r, uint32_t parts_per_million)
{
    return prng_below(r, 1000000) < parts_per_million;
}

#endif
