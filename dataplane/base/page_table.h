/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a page of guest memory is laid out like a page table of x86 (AMD64 Architecture
 * Programmer's Manual, volume 2, section 5.3: 512 entries of eight bytes). PURE. For counting only:
 * userfaultfd does not say whether the processor was reading an operand or walking tables, so a
 * fault is told by what its page holds. Both mistakes are possible: a table that is empty yet is
 * not seen, and data that happens to be laid out as a table is.
 */
#ifndef PANDO_BASE_PAGE_TABLE_H
#define PANDO_BASE_PAGE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * page: 4096 bytes, aligned to eight; may change meanwhile. frames: one above the highest page
 * frame number that an entry can name, 2^40 at most. True if at least one entry is present, and
 * every entry that is not 0 names a frame other than 0 below frames, has bits 52 to 56 clear, and
 * is present, or is what Linux makes of PROT_NONE (bit 8 alone). Up to 512 loads, as many if the
 * page is nearly empty; dense data ends it at its first word.
 */
bool page_table_like(const uint64_t *page, uint64_t frames);

#endif
