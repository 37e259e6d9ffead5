/* SPDX-License-Identifier: BSD-3-Clause */
/* What measuring guests print, for perf/common/guests.py. */
#include "lib.h"

#include "dataplane/base/check.h"

enum { BUCKETS_A_LINE = 12 }; /* of at most 2 * 20 digits: below printf's 500 bytes */

/* The histogram's own check of an index. */
void pando_check_failed(const char *expr, const char *file, int line)
{
    fail("%s:%d: %s does not hold", file, line, expr);
}

void print_hist(const char *name, const struct hist *h)
{
    uint64_t line[2 * BUCKETS_A_LINE] = {0};
    unsigned n = 0;

    printf("HIST %s n=%lu max=%lu tsc_khz=%lu\n", name, h->count, h->max, tsc_khz());
    for (uint32_t i = 0; i <= HIST_BUCKETS; i++) {
        if (i < HIST_BUCKETS && h->bucket[i] != 0) {
            line[2 * n] = hist_upper(i);
            line[2 * n + 1] = h->bucket[i];
            n++;
        }
        if (n == 0 || (n < BUCKETS_A_LINE && i < HIST_BUCKETS))
            continue;
        printf("BUCKETS %s", name);
        for (unsigned k = 0; k < n; k++)
            printf(" %lu:%lu", line[2 * k], line[2 * k + 1]);
        printf("\n");
        n = 0;
    }
}

void print_kernel(uint64_t rep, uint64_t ops, uint64_t cycles)
{
    printf("KERNEL %s rep=%lu ops=%lu cycles=%lu tsc_khz=%lu\n", guest_name, rep, ops, cycles,
           tsc_khz());
}
