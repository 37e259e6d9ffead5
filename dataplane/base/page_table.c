/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/page_table.h"

enum { ENTRIES = 512, FRAME_SHIFT = 12 };

#define PRESENT   UINT64_C(0x001)
#define PROT_NONE UINT64_C(0x100)
#define FRAME     UINT64_C(0x000ffffffffff000)
#define CLEAR     UINT64_C(0x01f0000000000000)

bool page_table_like(const uint64_t *page, uint64_t frames)
{
    bool present = false;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        uint64_t entry = __atomic_load_n(&page[i], __ATOMIC_RELAXED);
        if (entry == 0)
            continue;
        uint64_t frame = (entry & FRAME) >> FRAME_SHIFT;
        if ((entry & (PRESENT | PROT_NONE)) == 0 || (entry & CLEAR) != 0 || frame == 0 ||
            frame >= frames)
            return false;
        present |= (entry & PRESENT) != 0;
    }
    return present;
}
