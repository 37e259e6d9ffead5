/* SPDX-License-Identifier: BSD-3-Clause */
/* What is read out of a dataplane's answer: numbers, tables, histograms and what two of them are
 * apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/prng.h"
#include "dataplane/watch/counts.h"
#include "dataplane/watch/nodes.h"

static json_t *json(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    return j;
}

static void numbers(void **state)
{
    (void)state;
    json_t *j =
        json("{\"a\": {\"b\": 7, \"c\": -1, \"d\": 1152921504606846977, \"e\": 2.5, \"f\": "
             "\"x\", \"g\": true}, \"t\": {\"x\": {\"n\": 1}, \"y\": {\"n\": 2}, \"z\": 3}}");
    assert_int_equal(count_of(j, "a/b"), 7);
    assert_int_equal(count_of(j, "a/c"), 0);
    assert_int_equal(count_of(j, "a/d"), 0); /* above what may be added up */
    assert_int_equal(count_of(j, "a/e"), 0);
    assert_int_equal(count_of(j, "a/nothing/here"), 0);
    assert_int_equal(count_of(NULL, "a/b"), 0);
    assert_true(count_real(j, "a/e") == 2.5 && count_real(j, "a/b") == 7);
    assert_true(count_real(j, "a/c") == 0 && count_real(j, "a/f") == 0);
    assert_string_equal(count_text(j, "a/f"), "x");
    assert_string_equal(count_text(j, "a/b"), "");
    assert_true(count_true(j, "a/g") && !count_true(j, "a/b"));
    assert_int_equal(count_sum(j, "t", "n"), 3);
    assert_int_equal(count_sum(j, "t", ""), 3);
    assert_int_equal(count_sum(j, "a/b", ""), 0);
    char path[300];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_null(count_at(j, path));
    json_decref(j);
}

static json_t *of_hist(const struct hist *h)
{
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        if (h->bucket[i] > 0)
            json_array_append_new(
                buckets, json_pack("[I,I]", (json_int_t)hist_upper(i), (json_int_t)h->bucket[i]));
    return json_pack("{s:o, s:I, s:I}", "buckets", buckets, "sum_ns", (json_int_t)h->sum, "max_ns",
                     (json_int_t)h->max);
}

/* A histogram comes through as it is; two that are merged have the quantiles of all samples. */
static void histograms(void **state)
{
    (void)state;
    static struct hist all, part[2], got, sum;
    struct prng r = {7};
    for (int i = 0; i < 20000; i++) {
        uint64_t v = prng_next(&r) >> (20 + prng_next(&r) % 40);
        hist_add(&all, v);
        hist_add(&part[i % 3 == 0], v);
    }
    for (int p = 0; p < 2; p++) {
        json_t *j = of_hist(&part[p]);
        assert_true(count_hist(j, &got));
        assert_memory_equal(&got, &part[p], sizeof(got));
        hist_merge(&sum, &got);
        json_decref(j);
    }
    assert_memory_equal(&sum, &all, sizeof(sum));
    for (uint32_t q = 0; q <= 1000; q++)
        assert_true(hist_quantile(&sum, q) == hist_quantile(&all, q));
    assert_true(count_hist_since(&sum, &part[0]));
    assert_memory_equal(sum.bucket, part[1].bucket, sizeof(sum.bucket));
    assert_true(sum.count == part[1].count && sum.sum == part[1].sum);
    assert_true(sum.max >= part[1].max && hist_index(sum.max) == hist_index(part[1].max));
    got = part[0];
    assert_false(count_hist_since(&got, &all)); /* it lost samples */
    assert_memory_equal(&got, &part[0], sizeof(got));
    got.sum = all.sum; /* ... in some bucket */
    assert_false(count_hist_since(&got, &all));
}

static void not_histograms(void **state)
{
    static const char *const bad[] = {"{}",
                                      "7",
                                      "{\"buckets\": 7}",
                                      "{\"buckets\": [7]}",
                                      "{\"buckets\": [[1]]}",
                                      "{\"buckets\": [[1, 2, 3]]}",
                                      "{\"buckets\": [[1, 0]]}",
                                      "{\"buckets\": [[1, -2]]}",
                                      "{\"buckets\": [[-1, 2]]}",
                                      "{\"buckets\": [[2, 2], [1, 2]]}",
                                      "{\"buckets\": [[1, \"2\"]]}",
                                      "{\"buckets\": [[1, 1152921504606846976]]}"};
    static struct hist h;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *j = json(bad[i]);
        h.count = 9;
        if (count_hist(j, &h) || h.count != 0)
            fail_msg("%s was taken", bad[i]);
        json_decref(j);
    }
    json_t *j = json("{\"buckets\": [[1023, 2]], \"max_ns\": 5000, \"sum_ns\": -4}");
    assert_true(count_hist(j, &h));
    assert_true(h.max == 1023 && h.sum == 0); /* what cannot be is not taken over */
    json_decref(j);
    j = json(
        "{\"buckets\": [[1000, 2], [1005, 3], [1005, 1], [4000, 1]]}"); /* edges of another unit */
    assert_true(count_hist(j, &h) && h.count == 7 && h.max == 4000);
    assert_true(h.bucket[hist_index(1000)] == 6 && h.sum == 2 * 1000 + 4 * 1005 + 4000);
    assert_true(hist_quantile(&h, 500) == hist_upper(hist_index(1000)));
    json_decref(j);
    j = json("{\"buckets\": [], \"max_ns\": 0}");
    assert_true(count_hist(j, &h) && h.count == 0);
    json_decref(j);
}

static struct node two(const char *before, const char *now)
{
    struct node n = {.now = json(now), .before = before != NULL ? json(before) : NULL};
    return n;
}

static void end(struct node *n)
{
    json_decref(n->now);
    json_decref(n->before);
}

static void rates(void **state)
{
    (void)state;
    struct node n =
        two(NULL, "{\"seconds\": 4, \"loop\": {\"x\": 8, \"useful_ns\": 1, \"sleep_ns\": 3, "
                  "\"cpu_ns\": 2000000000}}");
    assert_true(node_rate(&n, "loop/x") == 2 && node_share(&n, "useful") == 0.25);
    assert_true(node_share(&n, "sleep") == 0.75 && node_cpu(&n) == 0.5);
    end(&n);
    n = two("{\"seconds\": 4, \"loop\": {\"x\": 8, \"useful_ns\": 10, \"sleep_ns\": 30}}",
            "{\"seconds\": 6, \"loop\": {\"x\": 9, \"useful_ns\": 11, \"sleep_ns\": 30}}");
    assert_true(node_rate(&n, "loop/x") == 0.5 && node_share(&n, "useful") == 1);
    assert_true(node_cpu(&n) < 0);
    end(&n);
    n = two("{\"seconds\": 4, \"loop\": {\"x\": 8}}", "{\"seconds\": 6, \"loop\": {\"x\": 7}}");
    assert_true(node_rate(&n, "loop/x") == 0 && node_share(&n, "useful") < 0);
    end(&n);
    n = two("{\"seconds\": 4, \"loop\": {\"x\": 8}}", "{\"seconds\": 4, \"loop\": {\"x\": 9}}");
    assert_true(node_rate(&n, "loop/x") == 0); /* of no time */
    end(&n);
}

/* Who looks for months sees clusters come and go: those that ended make room. */
static void room(void **state)
{
    static struct nodes all;
    char dir[] = "/tmp/pando-watch-XXXXXX", path[PATH_MAX];
    static const char *const parts[] = {"", "/dpdk", "/dpdk/node3"};
    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 1; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof(path), "%s/dpdk/node3/dpdk_telemetry.v2", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    all = (struct nodes){.run_dir = dir, .limits = ASK_PATIENT, .n = NODES_MAX};
    for (size_t i = 0; i < NODES_MAX; i++) {
        snprintf(all.node[i].socket, sizeof(all.node[i].socket), "/nowhere/%zu", i);
        all.node[i].now = json("{}");
    }
    assert_int_equal(nodes_look(&all), 0);
    assert_int_equal(all.left_out, 1); /* all were up until this look */
    assert_int_equal(nodes_look(&all), 0);
    assert_int_equal(all.left_out, 1);
    assert_int_equal(all.n, NODES_MAX);
    assert_string_equal(all.node[0].socket, path);
    assert_true(all.node[0].state == NODE_SILENT && all.node[1].state == NODE_ENDED);
    nodes_release(&all);
    unlink(path);
    for (size_t i = 3; i-- > 0;) {
        snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
        rmdir(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(histograms),
                                       cmocka_unit_test(not_histograms), cmocka_unit_test(rates),
                                       cmocka_unit_test(room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
