/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the loop's time went: every nanosecond is in one state, and in the right one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/prng.h"
#include "dataplane/engine/loop_time.h"

static void states(void **state)
{
    (void)state;
    struct loop_time t = {0};
    loop_time_round(&t, 1000); /* what was before the first round is nobody's */
    t.useful = true;
    loop_time_round(&t, 1100);
    loop_time_gave(&t, LOOP_YIELD, 30);
    loop_time_round(&t, 1150);
    loop_time_gave(&t, LOOP_SLEEP, 500);
    t.useful = true; /* there was something to do on waking up */
    loop_time_round(&t, 1700);
    assert_int_equal(t.ns[LOOP_USEFUL], 100 + 50);
    assert_int_equal(t.ns[LOOP_EMPTY], 20);
    assert_int_equal(t.ns[LOOP_YIELD], 30);
    assert_int_equal(t.ns[LOOP_SLEEP], 500);
    loop_time_round(&t, 1690); /* never backwards, never negative */
    assert_int_equal(t.ns[LOOP_USEFUL] + t.ns[LOOP_EMPTY], 170);
    loop_time_gave(&t, LOOP_SLEEP, 100);
    loop_time_round(&t, 1700);
    assert_int_equal(t.ns[LOOP_USEFUL] + t.ns[LOOP_EMPTY], 170);
}

static void tiles(void **state)
{
    (void)state;
    struct loop_time t = {0};
    struct prng r = {11};
    uint64_t start = 12345, now = start, all = 0;
    loop_time_round(&t, now);
    for (int i = 0; i < 100000; i++) {
        uint64_t work = prng_next(&r) % 1000, given = prng_next(&r) % 4 == 0 ? 700 : 0;
        t.useful = prng_next(&r) % 2;
        if (given > 0)
            loop_time_gave(&t, prng_next(&r) % 2 ? LOOP_YIELD : LOOP_SLEEP, given);
        now += work + given;
        loop_time_round(&t, now);
    }
    for (unsigned s = 0; s < LOOP_STATES; s++) {
        assert_true(t.ns[s] > 1000000);
        all += t.ns[s];
    }
    assert_int_equal(all, now - start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(states), cmocka_unit_test(tiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
