/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/gap.h"

enum { COST = 8000 };

static void short_gaps_are_polled_through(void **state)
{
    struct gap g;
    (void)state;
    gap_init(&g, COST);
    for (int i = 0; i < 100; i++) {
        assert_true(gap_spins(&g, COST / 2));
        gap_ended(&g, COST / 2, false);
    }
    assert_in_range(g.expected_ns, COST / 2 - 8, COST / 2);
}

/* A wrong guess costs what two sleeps do, no more. */
static void a_guess_is_given_up(void **state)
{
    struct gap g;
    (void)state;
    gap_init(&g, COST);
    assert_true(gap_spins(&g, COST * GAP_SPIN - 1));
    assert_false(gap_spins(&g, COST * GAP_SPIN));
}

static void long_gaps_are_slept_through(void **state)
{
    struct gap g;
    int n = 0;
    (void)state;
    gap_init(&g, COST);
    for (; gap_spins(&g, 0); n++) {
        assert_true(n < 32);
        gap_ended(&g, 2 * COST, false);
    }
    assert_true(n > 1); /* not by the first one */
    for (int i = 0; i < 100; i++) {
        gap_ended(&g, 3 * COST, true);
        assert_false(gap_spins(&g, 0));
    }
}

/* The way back is not the gap's: else what is slept through once would never be polled through. */
static void a_sleep_is_not_counted(void **state)
{
    struct gap awake, asleep;
    (void)state;
    gap_init(&awake, COST);
    gap_init(&asleep, COST);
    for (int i = 0; i < 50; i++) {
        gap_ended(&awake, COST * 3 / 4, false);
        gap_ended(&asleep, COST * 3 / 4 + COST, true);
    }
    assert_int_equal(awake.expected_ns, asleep.expected_ns);
    assert_true(gap_spins(&asleep, 0));
    gap_init(&asleep, COST);
    gap_ended(&asleep, COST / 2, true); /* shorter than a sleep: no gap, and nothing below it */
    assert_int_equal(asleep.expected_ns, 0);
}

static void a_long_pause_is_unlearned(void **state)
{
    static const uint64_t pauses[] = {UINT64_C(60000000000), COST * (GAP_MOST + 300)};
    (void)state;
    for (int p = 0; p < 2; p++) {
        struct gap g;
        gap_init(&g, COST);
        for (int i = 0; i < 100; i++)
            gap_ended(&g, pauses[p], true);
        for (int n = 0; !gap_spins(&g, 0); n++) {
            assert_true(n < 24);
            gap_ended(&g, COST / 4, true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_gaps_are_polled_through), cmocka_unit_test(a_guess_is_given_up),
        cmocka_unit_test(long_gaps_are_slept_through),   cmocka_unit_test(a_sleep_is_not_counted),
        cmocka_unit_test(a_long_pause_is_unlearned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
