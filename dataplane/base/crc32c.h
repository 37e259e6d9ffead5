/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C (Castagnoli, RFC 3720 appendix B.4). PURE. */
#ifndef PANDO_BASE_CRC32C_H
#define PANDO_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc over len bytes. Start with crc32c_begin, end with crc32c_end. Uses SSE4.2 where the
 * compiler's target or the running CPU has it; long inputs go three streams at a time, because one
 * stream of crc32 instructions is bound by their latency. */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);

/* The same by table, for machines without the instruction and as the tests' reference. */
uint32_t crc32c_update_table(uint32_t crc, const void *data, size_t len);

static inline uint32_t crc32c_begin(void)
{
    return UINT32_MAX;
}

static inline uint32_t crc32c_end(uint32_t crc)
{
    return ~crc;
}

#endif
