/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's option strings, as pando run takes them apart and puts them together. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hypervisor-glue/run/parse.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static char arena_text[1 << 16];

static struct opt parsed(const char *text, const char *implied)
{
    static struct arena a;
    struct opt o;
    a = (struct arena){.buf = arena_text, .size = sizeof(arena_text)};
    assert_int_equal(opt_parse(&a, text, implied, &o), 0);
    return o;
}

static void test_opt_round_trip(void **state)
{
    static const char *const texts[] = {
        "", "a", "a,b=c", "a=b", "a,,b=c,,d,x=,,", "a=b=c,d,+e,-f", "file=x,,y z,if=none,readonly"};
    (void)state;
    for (size_t i = 0; i < LEN(texts); i++) {
        struct opt o = parsed(texts[i], "first");
        assert_string_equal(opt_print(&o), texts[i]);
    }
}

static void test_opt_pairs(void **state)
{
    (void)state;
    struct opt o = parsed("a,,b,file=c,,d,,,on_off,k=1,k=2", "first");
    assert_int_equal(o.count, 5);
    assert_string_equal(opt_get(&o, "first"), "a,b");
    assert_string_equal(opt_get(&o, "file"), "c,d,");
    o = parsed("a,,b,file=c,,d,on_off,,k=1", NULL);
    assert_null(opt_get(&o, "first"));
    o = parsed("one,two_x,k=1,k=2", NULL);
    assert_string_equal(opt_get(&o, "one"), "on");
    assert_string_equal(opt_get(&o, "two-x"), "on");
    assert_string_equal(opt_get(&o, "k"), "2");
    assert_null(opt_get(&o, "two-xx"));
    assert_null(opt_get(&o, "two"));
    assert_int_equal(opt_set(&o, "k", "3"), 0);
    assert_int_equal(opt_set(&o, "one", "off"), 0);
    assert_int_equal(opt_set(&o, "new", "x,y"), 0);
    assert_string_equal(opt_print(&o), "one=off,two_x,k=3,k=3,new=x,,y");
    o = parsed("first,,", "i"); /* an escaped comma at the end */
    assert_string_equal(opt_get(&o, "i"), "first,");
    o = parsed(",a=1,", "i"); /* empty elements */
    assert_int_equal(o.count, 1);
}

static void test_opt_limits(void **state)
{
    char text[4 * OPT_PAIRS_MAX] = "", small[4];
    struct arena a = {.buf = arena_text, .size = sizeof(arena_text)};
    struct opt o;
    (void)state;
    for (unsigned i = 0; i < OPT_PAIRS_MAX; i++)
        strcat(text, "a,");
    assert_int_equal(opt_parse(&a, text, NULL, &o), 0);
    assert_int_equal(opt_set(&o, "b", "c"), -E2BIG);
    strcat(text, "a");
    assert_int_equal(opt_parse(&a, text, NULL, &o), -E2BIG);
    a = (struct arena){.buf = small, .size = sizeof(small)};
    assert_string_equal(arena_copy(&a, "abc", 3), "abc");
    assert_false(a.full);
    assert_string_equal(arena_printf(&a, "x"), "");
    assert_true(a.full);
}

static void test_opt_values(void **state)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t bytes;
    } sizes[] = {{"512", 0, UINT64_C(512) << 20},
                 {"1G", 0, 1 << 30},
                 {"1g", 0, 1 << 30},
                 {"2T", 0, UINT64_C(2) << 40},
                 {"4096b", 0, 4096},
                 {"4K", 0, 4096},
                 {"3M", 0, 3 << 20},
                 {"0", 0, 0},
                 {"", -EINVAL, 0},
                 {"1.5G", -EINVAL, 0},
                 {"1GB", -EINVAL, 0},
                 {"-1", -EINVAL, 0},
                 {"0x10", -EINVAL, 0},
                 {"G", -EINVAL, 0},
                 {"18446744073709551616", -EINVAL, 0},
                 {"17592186044416", -EINVAL, 0}};
    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++) {
        uint64_t bytes = 0;
        assert_int_equal(opt_size(sizes[i].text, 20, &bytes), sizes[i].rc);
        assert_int_equal(bytes, sizes[i].bytes);
    }
    uint64_t n = 7;
    assert_int_equal(opt_number("12x", &n), -EINVAL);
    assert_int_equal(opt_number("", &n), -EINVAL);
    assert_int_equal(n, 7);
    assert_int_equal(opt_number("255", &n), 0);
    assert_int_equal(n, 255);
    assert_true(opt_is_on("on") && opt_is_on("yes") && opt_is_on("true") && !opt_is_on("off"));
    assert_true(opt_is_off("off") && opt_is_off("no") && opt_is_off("false") && !opt_is_off("on"));
    assert_true(!opt_is_on(NULL) && !opt_is_off(NULL) && !opt_is_on("auto") && !opt_is_off("auto"));
}

static void test_shell_quote(void **state)
{
    struct arena a = {.buf = arena_text, .size = sizeof(arena_text)};
    (void)state;
    assert_string_equal(opt_shell_quote(&a, "a,b=c/d.e:+@%_-"), "a,b=c/d.e:+@%_-");
    assert_string_equal(opt_shell_quote(&a, ""), "''");
    assert_string_equal(opt_shell_quote(&a, "a b$c"), "'a b$c'");
    assert_string_equal(opt_shell_quote(&a, "it's"), "'it'\\''s'");
    assert_string_equal(opt_shell_quote(&a, "'"), "''\\'''");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opt_round_trip), cmocka_unit_test(test_opt_pairs),
        cmocka_unit_test(test_opt_limits),     cmocka_unit_test(test_opt_values),
        cmocka_unit_test(test_shell_quote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
