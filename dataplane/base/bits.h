/* SPDX-License-Identifier: BSD-3-Clause */
/* Small integer helpers and little-endian loads and stores. PURE, header only. */
#ifndef PANDO_BASE_BITS_H
#define PANDO_BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PANDO_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t bit64(unsigned n)
{
    return UINT64_C(1) << n;
}

/* Index of the lowest set bit; v must not be 0. */
static inline unsigned bit64_first(uint64_t v)
{
    return (unsigned)__builtin_ctzll(v);
}

/* v must not be 0. */
static inline unsigned bit64_last(uint64_t v)
{
    return 63u - (unsigned)__builtin_clzll(v);
}

static inline unsigned bit64_count(uint64_t v)
{
    return (unsigned)__builtin_popcountll(v);
}

static inline bool is_pow2(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Unaligned little-endian access: all wire and shared-memory integers of Pando are little-endian.
 */
static inline void put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_le48(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le16(p + 4, (uint16_t)(v >> 32));
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *p)
{
    return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

static inline uint64_t get_le48(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le16(p + 4) << 32;
}

static inline uint64_t get_le64(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

#endif
