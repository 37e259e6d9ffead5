/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/hist.h"
#include "dataplane/base/page_table.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/prng.h"
#include "dataplane/base/text.h"
#include "dataplane/base/topk.h"

static uint32_t crc(const void *p, size_t len)
{
    return crc32c_end(crc32c_update(crc32c_begin(), p, len));
}

/* RFC 3720 B.4, and the check value of the catalogues. */
static void crc_known_vectors(void **state)
{
    (void)state;
    uint8_t b[32];
    static const uint8_t read10[48] = {0x01, 0xC0, 0, 0,    0,    0, 0, 0,    0,    0, 0,    0,
                                       0,    0,    0, 0,    0x14, 0, 0, 0,    0,    0, 0x04, 0,
                                       0,    0,    0, 0x14, 0,    0, 0, 0x18, 0x28, 0, 0,    0,
                                       0,    0,    0, 0,    0x02, 0, 0, 0,    0,    0, 0,    0};
    assert_true(crc("123456789", 9) == 0xE3069283);
    assert_true(crc("", 0) == 0);
    memset(b, 0, sizeof(b));
    assert_true(crc(b, sizeof(b)) == 0x8A9136AA);
    memset(b, 0xFF, sizeof(b));
    assert_true(crc(b, sizeof(b)) == 0x62A8AB43);
    for (unsigned i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)i;
    assert_true(crc(b, sizeof(b)) == 0x46DD794E);
    for (unsigned i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)(31 - i);
    assert_true(crc(b, sizeof(b)) == 0x113FDB5C);
    assert_true(crc(read10, sizeof(read10)) == 0xD9963A56);
}

/* Each length and alignment against the table, in one piece and in two. */
static void crc_against_the_table(void **state)
{
    (void)state;
    static uint8_t b[9216 + 8];
    struct prng r = {7};
    for (unsigned i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)prng_next(&r);
    for (unsigned len = 0; len < 9216; len += len < 2100 ? 1 : 97) {
        unsigned off = len % 8, cut = len > 0 ? prng_below(&r, len) : 0;
        uint32_t begin = (uint32_t)prng_next(&r);
        uint32_t want = crc32c_update_table(begin, b + off, len);
        assert_true(crc32c_update(begin, b + off, len) == want);
        assert_true(crc32c_update(crc32c_update(begin, b + off, cut), b + off + cut, len - cut) ==
                    want);
    }
}

static void bits(void **state)
{
    (void)state;
    uint8_t b[8];
    assert_true(bit64(63) == UINT64_C(0x8000000000000000) &&
                bit64_first(bit64(40) | bit64(63)) == 40);
    assert_int_equal(bit64_count(UINT64_MAX), 64);
    assert_true(is_pow2(1) && is_pow2(bit64(63)) && !is_pow2(0) && !is_pow2(6));
    put_le64(b, UINT64_C(0x1122334455667788));
    assert_memory_equal(b, ((uint8_t[]){0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}), 8);
    assert_true(get_le64(b) == UINT64_C(0x1122334455667788));
    assert_true(get_le48(b) == UINT64_C(0x334455667788));
    assert_true(get_le32(b) == 0x55667788 && get_le16(b) == 0x7788);
    memset(b, 0, 8);
    put_le48(b, UINT64_C(0xFFFF112233445566));
    assert_memory_equal(b, ((uint8_t[]){0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0}), 8);
}

static void histogram(void **state)
{
    (void)state;
    static struct hist h, sum, still;
    struct prng r = {1};
    assert_true(hist_quantile(&h, 500) == 0);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) { /* the buckets tile the numbers without a gap */
        uint64_t upper = hist_upper(i);
        assert_int_equal(hist_index(upper), i);
        if (upper != UINT64_MAX)
            assert_int_equal(hist_index(upper + 1), i + 1);
        else
            assert_int_equal(i, HIST_BUCKETS - 1);
    }
    for (unsigned v = 1; v <= 1000; v++)
        hist_add(&h, v * 1000);
    for (unsigned q = 1; q <= 1000; q++) {
        uint64_t got = hist_quantile(&h, q), exact = q * 1000;
        assert_true(got >= exact && got <= exact + exact / 32 + 1);
    }
    assert_true(h.sum == 500500000);
    h.count -= 3; /* as a reader may see it while another thread adds */
    hist_still(&still, &h);
    assert_true(still.count == 1000 && still.sum == h.sum && still.max == h.max);
    h.count += 3;
    assert_memory_equal(&still, &h, sizeof(h));
    assert_true(hist_quantile(&h, 1000) == 1000000 && hist_quantile(&h, 0) >= 1000);
    hist_add(&sum, prng_next(&r) | bit64(63));
    hist_merge(&sum, &h);
    assert_true(sum.sum == sum.max + h.sum);
    assert_true(sum.count == 1001 && sum.max >= bit64(63));
    assert_true(hist_quantile(&sum, 500) == hist_quantile(&h, 500));
}

static jmp_buf caught;

static void catch_check(const char *expr, const char *file, int line)
{
    (void)expr, (void)file, (void)line;
    longjmp(caught, 1);
}

static void pools(void **state)
{
    (void)state;
    uint32_t next[8];
    bool taken[8] = {false};
    struct pool p;
    struct prng r = {3};
    pool_init(&p, next, 8);
    for (int i = 0; i < 10000; i++) {
        if (prng_chance(&r, 500000)) {
            uint32_t got = pool_get(&p);
            assert_true((got == POOL_NONE) == (p.used == 8 && got == POOL_NONE));
            if (got == POOL_NONE)
                continue;
            assert_true(got < 8 && !taken[got]);
            taken[got] = true;
        } else {
            uint32_t k = prng_below(&r, 8);
            if (taken[k])
                pool_put(&p, k);
            taken[k] = false;
        }
        uint32_t count = 0;
        for (int k = 0; k < 8; k++)
            count += taken[k];
        assert_int_equal(p.used, count);
    }
    assert_int_equal(p.high_water, 8);
    pool_init(&p, next, 8);
    pando_check_set_handler(catch_check);
    volatile int stopped = 0;
    if (setjmp(caught) == 0)
        pool_put(&p, 3); /* it is not taken */
    else
        stopped++;
    if (setjmp(caught) == 0)
        pool_put(&p, 8);
    else
        stopped++;
    pando_check_set_handler(NULL);
    assert_int_equal(stopped, 2);
}

static void random_numbers(void **state)
{
    (void)state;
    struct prng r = {1234567}; /* SplitMix64's published first values */
    assert_true(prng_next(&r) == UINT64_C(6457827717110365317));
    assert_true(prng_next(&r) == UINT64_C(3203168211198807973));
    assert_true(prng_next(&r) == UINT64_C(9817491932198370423));
    uint32_t seen[7] = {0}, hits = 0;
    for (int i = 0; i < 70000; i++) {
        uint32_t v = prng_below(&r, 7);
        assert_true(v < 7);
        seen[v]++;
        hits += prng_chance(&r, 100000);
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9500, 10500);
    assert_in_range(hits, 6600, 7400);
    assert_int_equal(prng_below(&r, 0), 0);
    assert_false(prng_chance(&r, 0));
    assert_true(prng_chance(&r, 1000000));
}

static void texts(void **state)
{
    (void)state;
    char b[24];
    struct text t = text_begin(b, sizeof(b));
    text_str(&t, "n=");
    text_dec(&t, UINT64_MAX);
    assert_string_equal(b, "n=18446744073709551615");
    text_hex(&t, 0xABC); /* cut off, and terminated */
    assert_string_equal(b, "n=184467440737095516150");
    assert_int_equal(t.len, 23);
    t = text_begin(b, 1);
    text_dec(&t, 0);
    assert_string_equal(b, "");
    t = text_begin(b, sizeof(b));
    text_hex(&t, 0);
    assert_string_equal(b, "0x0");
}

/* Few keys: exact, and in order. */
static void topk_exact(void **state)
{
    (void)state;
    struct topk t = {0};
    struct topk_entry most[5];
    assert_int_equal(topk_most(&t, most, 5), 0);
    for (uint64_t key = 1; key <= 20; key++)
        for (uint64_t n = 0; n < key % 10; n++)
            topk_add(&t, key);
    assert_int_equal(topk_most(&t, most, 5), 5);
    static const uint64_t keys[] = {9, 19, 8, 18, 7};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(most[i].key, keys[i]);
        assert_int_equal(most[i].count, keys[i] % 10);
        assert_int_equal(most[i].over, 0);
    }
    assert_int_equal(topk_most(&t, most, 0), 0);
}

/* Ten hot keys among many others: they come out first, and the bounds hold. */
static void topk_bounds(void **state)
{
    (void)state;
    struct topk t = {0};
    struct topk_entry most[10];
    struct prng r = {.state = 7};
    uint64_t truth[10] = {0};
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t x = prng_next(&r) % 40;
        if (x < 10)
            truth[x]++;
        topk_add(&t, x < 10 ? x : 1000 + prng_next(&r) % 5000);
    }
    assert_int_equal(topk_most(&t, most, 10), 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_in_range(most[i].key, 0, 9);
        assert_true(most[i].count >= truth[most[i].key]);
        assert_true(most[i].count - most[i].over <= truth[most[i].key]);
    }
}

/* What a page of a guest with 256 MiB may hold. */
static void page_tables(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, rest;
        bool like;
    } page[] = {
        {0, 0, false},                                   /* fresh */
        {0x2e0a067, 0, true},                            /* one table below */
        {0x8000000002e0a163, 0x8000000002e0b163, true},  /* data, not executable */
        {0x80000000000000e3, 0x2e00000000000e3, false},  /* frame 0; bits 52 to 56 */
        {0xfee0011b, 0x1000063, true},                   /* a device below 4 GiB */
        {0x2e0a067, 0x2e0a120, true},                    /* PROT_NONE beside it */
        {0x2e0a120, 0x2e0a120, false},                   /* nothing present */
        {0x2e0a067, 0x5000000000002, false},             /* a swap entry: not told apart */
        {0x110000001, 0, false},                         /* above all RAM */
        {0xffff888001234001, 0xffff888001234567, false}, /* odd pointers of the kernel */
        {1, 3, false},                                   /* small odd numbers */
        {UINT64_MAX, UINT64_MAX, false},
        {0x6c6c6548206f2021, 0x21646c726f77206f, false}, /* text */
    };
    uint64_t frames = (UINT64_C(4) << 30 | UINT64_C(256) << 20) / 4096;
    for (uint32_t k = 0; k < sizeof(page) / sizeof(page[0]); k++) {
        uint64_t words[512] = {0};
        for (uint32_t i = 0; i < 512; i += 7)
            words[i] = i == 0 ? page[k].first : page[k].rest;
        assert_int_equal(page_table_like(words, frames), page[k].like);
    }
    for (uint32_t bit = 52; bit <= 63; bit++) {
        uint64_t one[512] = {[9] = 0x2e0a067 | UINT64_C(1) << bit};
        assert_int_equal(page_table_like(one, frames), bit > 56);
    }
    uint64_t last[512] = {[511] = 0x2e0a067};
    assert_true(page_table_like(last, frames));
    assert_false(page_table_like(last, 0x2e0a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_known_vectors),
        cmocka_unit_test(crc_against_the_table),
        cmocka_unit_test(bits),
        cmocka_unit_test(histogram),
        cmocka_unit_test(pools),
        cmocka_unit_test(random_numbers),
        cmocka_unit_test(texts),
        cmocka_unit_test(topk_exact),
        cmocka_unit_test(topk_bounds),
        cmocka_unit_test(page_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
