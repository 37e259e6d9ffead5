/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/crc32c.h"

#include <string.h>

/* The polynomial 0x1EDC6F41, bit-reversed. */
#define CRC32C_POLY UINT32_C(0x82F63B78)

/* Four bits at a time: a table of 16 entries that a reader can check by hand. */
static const uint32_t nibble[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

uint32_t crc32c_update_table(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len-- > 0) {
        crc ^= *p++;
        crc = nibble[crc & 15] ^ (crc >> 4);
        crc = nibble[crc & 15] ^ (crc >> 4);
    }
    return crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

/* One step of a 3-stream block: 3 x STREAM bytes. The crc32 instruction has a latency of three
 * cycles and a throughput of one, so three independent streams keep it busy. */
enum { STREAM = 168, BLOCK = 3 * STREAM };

/* x^(8 * STREAM * k - 33) mod P, bit-reversed, for k = 1 and 2: the carry-less product of a CRC
 * with it, reduced by a crc32 instruction over 8 bytes, is that CRC moved over k streams of zeros.
 * The unit test compares every length with the table. */
static const uint64_t shift1 = UINT64_C(0x1B3D8F29);
static const uint64_t shift2 = UINT64_C(0xA60CE07B);

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t shifted(uint64_t crc, uint64_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
                                           _mm_cvtsi64_si128((long long)by), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t update_sse(uint32_t crc, const uint8_t *p,
                                                                    size_t len)
{
    uint64_t a = crc;
    while (len >= BLOCK) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < STREAM; i += 8) {
            a = _mm_crc32_u64(a, load64(p + i));
            b = _mm_crc32_u64(b, load64(p + STREAM + i));
            c = _mm_crc32_u64(c, load64(p + 2 * STREAM + i));
        }
        a = shifted(a, shift2) ^ shifted(b, shift1) ^ c;
        p += BLOCK;
        len -= BLOCK;
    }
    for (; len >= 8; p += 8, len -= 8)
        a = _mm_crc32_u64(a, load64(p));
    if (len & 4) {
        uint32_t v;
        memcpy(&v, p, sizeof(v));
        a = _mm_crc32_u32((uint32_t)a, v);
        p += 4;
    }
    for (len &= 3; len > 0; p++, len--)
        a = _mm_crc32_u8((uint32_t)a, *p);
    return (uint32_t)a;
}

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        return update_sse(crc, data, len);
    return crc32c_update_table(crc, data, len);
}

#else

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
    return crc32c_update_table(crc, data, len);
}

#endif
