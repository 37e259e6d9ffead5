/* SPDX-License-Identifier: BSD-3-Clause */
/* The poll loop and who reads its counters: the loop never waits, and readers make room for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "dataplane/engine/engine.h"

/* While anybody holds it, the loop is told so at once; a wait here would never end. */
static void never_waits(void **state)
{
    (void)state;
    assert_true(telemetry_try_hold());
    assert_false(telemetry_try_hold());
    assert_false(telemetry_try_hold());
    telemetry_release();
    assert_true(telemetry_try_hold());
    telemetry_release();
}

static void *close_it(void *arg)
{
    (void)arg;
    telemetry_close(); /* waits as a reader would, but takes no account of who wants it */
    return arg;
}

/* The end of the engine waits for a reader, and only for that. */
static void the_end(void **state)
{
    pthread_t thread;
    struct timespec soon;
    (void)state;
    assert_true(telemetry_try_hold());
    assert_false(telemetry_try_hold());
    assert_int_equal(pthread_create(&thread, NULL, close_it, NULL), 0);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 50000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    assert_int_not_equal(pthread_timedjoin_np(thread, NULL, &soon), 0);
    telemetry_release();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(telemetry_try_hold());
    telemetry_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_waits), cmocka_unit_test(the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
