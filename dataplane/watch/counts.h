/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is read out of a dataplane's summary (JSON that another process wrote): numbers, tables and
 * histograms, each checked when it is read. APP, without I/O.
 *
 * A path is names with '/' between them: "loop/useful_ns". A member that is not there, of another
 * type, below 0 or above COUNT_MAX is worth 0.
 */
#ifndef PANDO_WATCH_COUNTS_H
#define PANDO_WATCH_COUNTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/hist.h"

enum {
    COUNT_ENTRIES_MAX = 512, /* of a table: what comes behind is left out */
    COUNT_NAME_MAX = 64,     /* bytes of a name that are looked at */
};
#define COUNT_MAX (INT64_C(1) << 60) /* a thousand may be added up */

/* The member at a path; NULL: there is none. path "": o itself. */
const json_t *count_at(const json_t *o, const char *path);
uint64_t count_of(const json_t *o, const char *path);
/* A real or an integer, 0 or more and finite. */
double count_real(const json_t *o, const char *path);
bool count_true(const json_t *o, const char *path);
/* "" where there is none. Any characters: for out_word. */
const char *count_text(const json_t *o, const char *path);
/* The sum over the members of the object at path: of themselves, or of their member `of`. */
uint64_t count_sum(const json_t *o, const char *path, const char *of);

/* The histogram of an object {"buckets": [[largest value, samples], ...], "sum_ns", "max_ns" or
 * "max_us"} into *ret, which is all of it. Where the largest values are not those of base/hist.h, a
 * bucket goes to the one of it that has its largest value: by 1/16 too large at most. Without
 * sum_ns the sum is that of the largest values. False: there are no buckets, or not in ascending
 * order; *ret is empty then. */
bool count_hist(const json_t *o, struct hist *ret);
/* now - before: what came between two readings of the same histogram. False, and *now unchanged:
 * before is no earlier reading of it. Its max is the largest bucket's. */
bool count_hist_since(struct hist *now, const struct hist *before);

#endif
