/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/host/thread.h"

static uint64_t slice_us(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } a = {0};
    assert_int_equal(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
    return a.runtime / 1000;
}

/* The test's own thread is not changed: others would inherit it. */
static void *priority_body(void *arg)
{
    struct host_sched s = {.class = HOST_OTHER, .nice = 5, .slice_us = 200};
    (void)arg;
    uint64_t usual = slice_us();
    assert_int_equal(host_thread_sched(0, &s), 0);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)), 5);
    if (usual != 0) /* kernels that know slices tell them */
        assert_int_equal(slice_us(), 200);
    s.slice_us = 0;
    assert_int_equal(host_thread_sched(0, &s), 0);
    if (usual != 0)
        assert_int_equal(slice_us(), usual);
    return NULL;
}

static void in_a_thread(void *(*body)(void *))
{
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, body, NULL), 0);
    pthread_join(t, NULL);
}

static void priority(void **state)
{
    (void)state;
    in_a_thread(priority_body);
    struct host_sched s = {0};
    assert_int_equal(host_thread_sched(-1, &s), -EINVAL);
}

static void *pin_body(void *arg)
{
    (void)arg;
    cpu_set_t set, before;
    sched_getaffinity(0, sizeof(before), &before);
    prctl(PR_SET_NAME, "a) b 1 2"); /* /proc shows it beside the number of the CPU */
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((unsigned)cpu, &before))
            continue;
        assert_true(host_has_cpu(cpu));
        assert_int_equal(host_thread_pin(0, cpu), 0);
        sched_getaffinity(0, sizeof(set), &set);
        assert_int_equal(CPU_COUNT(&set), 1);
        assert_int_equal(sched_getcpu(), cpu);
        assert_int_equal(host_thread_cpu(gettid()), cpu);
    }
    assert_int_equal(host_thread_pin(0, -1), -EINVAL);
    assert_int_equal(host_thread_pin(0, CPU_SETSIZE), -EINVAL);
    assert_int_equal(host_thread_pin(0, (int32_t)sysconf(_SC_NPROCESSORS_CONF)), -EINVAL);
    return NULL;
}

static void pin(void **state)
{
    (void)state;
    in_a_thread(pin_body);
    assert_int_equal(host_thread_cpu(-1), -1);
    assert_false(host_has_cpu(-1));
    assert_false(host_has_cpu((int32_t)sysconf(_SC_NPROCESSORS_CONF)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(priority), cmocka_unit_test(pin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
