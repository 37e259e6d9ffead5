/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/watch/counts.h"

#include <math.h>
#include <string.h>

const json_t *count_at(const json_t *o, const char *path)
{
    while (o != NULL && *path != '\0') {
        char name[COUNT_NAME_MAX];
        size_t n = strcspn(path, "/");
        if (n >= sizeof(name))
            return NULL;
        memcpy(name, path, n);
        name[n] = '\0';
        o = json_object_get(o, name);
        path += n;
        path += *path == '/';
    }
    return o;
}

uint64_t count_of(const json_t *o, const char *path)
{
    json_int_t v = json_integer_value(count_at(o, path));
    return v >= 0 && v <= COUNT_MAX ? (uint64_t)v : 0;
}

double count_real(const json_t *o, const char *path)
{
    double v = json_number_value(count_at(o, path));
    return isfinite(v) && v > 0 ? v : 0;
}

bool count_true(const json_t *o, const char *path)
{
    return json_is_true(count_at(o, path));
}

const char *count_text(const json_t *o, const char *path)
{
    const char *s = json_string_value(count_at(o, path));
    return s != NULL ? s : "";
}

uint64_t count_sum(const json_t *o, const char *path, const char *of)
{
    uint64_t sum = 0;
    size_t n = 0;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)count_at(o, path), key, v)
    {
        if (n++ == COUNT_ENTRIES_MAX)
            break;
        sum += count_of(v, of);
    }
    return sum;
}

/* An upper edge that is none of ours, such as one of ticks told in ns, goes where it belongs. */
static bool add_bucket(struct hist *h, const json_t *pair, json_int_t *last)
{
    json_int_t upper = json_integer_value(json_array_get(pair, 0)),
               n = json_integer_value(json_array_get(pair, 1));
    uint64_t sum;
    if (json_array_size(pair) != 2 || upper < *last || n <= 0 || n > COUNT_MAX / HIST_BUCKETS)
        return false;
    h->bucket[hist_index((uint64_t)upper)] += (uint64_t)n;
    h->count += (uint64_t)n;
    h->max = (uint64_t)upper;
    *last = upper;
    if (__builtin_mul_overflow((uint64_t)upper, (uint64_t)n, &sum) ||
        __builtin_add_overflow(sum, h->sum, &h->sum))
        h->sum = COUNT_MAX;
    return true;
}

bool count_hist(const json_t *o, struct hist *ret)
{
    const json_t *buckets = count_at(o, "buckets");
    size_t n = json_array_size(buckets);
    json_int_t last = 0;
    *ret = (struct hist){0};
    bool good = json_is_array(buckets) && n <= HIST_BUCKETS;
    for (size_t i = 0; good && i < n; i++)
        good = add_bucket(ret, json_array_get(buckets, i), &last);
    if (!good) {
        *ret = (struct hist){0};
        return false;
    }
    uint64_t max = count_at(o, "max_ns") != NULL ? count_of(o, "max_ns")
                                                 : (uint64_t)(count_real(o, "max_us") * 1e3 + 0.5);
    if (max < ret->max && max > 0 && hist_index(max) == hist_index(ret->max))
        ret->max = max; /* else it is of another moment than the buckets, or made up */
    if (count_at(o, "sum_ns") != NULL)
        ret->sum = count_of(o, "sum_ns");
    return true;
}

bool count_hist_since(struct hist *now, const struct hist *before)
{
    if (now->sum < before->sum)
        return false;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        if (now->bucket[i] < before->bucket[i])
            return false;
    uint64_t max = now->max;
    now->max = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        now->bucket[i] -= before->bucket[i];
        if (now->bucket[i] > 0)
            now->max = hist_upper(i) < max ? hist_upper(i) : max;
    }
    now->count -= before->count;
    now->sum -= before->sum;
    return true;
}
