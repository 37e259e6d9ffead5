/* SPDX-License-Identifier: BSD-3-Clause */
/* How a measuring tool prints a result: one JSON object a line, with the whole histogram, so that
 * whoever puts rounds together adds samples instead of averaging percentiles. */
#ifndef PANDO_PERF_RESULT_H
#define PANDO_PERF_RESULT_H

#include <stdio.h>

#include "dataplane/base/hist.h"

/* Everything but the closing brace, and no new line: the caller may add members of its own. Values
 * of the histogram are nanoseconds; buckets are [largest value of the bucket, samples]. */
static inline void result_begin(const char *name, const struct hist *h)
{
    printf("{\"name\": \"%s\", \"unit\": \"us\", \"n\": %llu, \"p50\": %.3f, \"p90\": %.3f, "
           "\"p99\": %.3f, \"max\": %.3f, \"buckets\": [",
           name, (unsigned long long)h->count, (double)hist_quantile(h, 500) / 1e3,
           (double)hist_quantile(h, 900) / 1e3, (double)hist_quantile(h, 990) / 1e3,
           (double)h->max / 1e3);
    const char *comma = "";
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        if (h->bucket[i] != 0) {
            printf("%s[%llu, %llu]", comma, (unsigned long long)hist_upper(i),
                   (unsigned long long)h->bucket[i]);
            comma = ", ";
        }
    printf("]");
}

#endif
