/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
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

/* ---- what /proc tells -------------------------------------------------------------------------
 */

enum { NAMED_MS = 200 };

static void *named_body(void *arg)
{
    struct timespec t;
    (void)arg;
    prctl(PR_SET_NAME, ") S 1 (2 3\n 4");
    do {
        for (volatile int i = 0; i < 100000; i++) /* mostly user time */
            ;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while (t.tv_sec == 0 && t.tv_nsec < NAMED_MS * 1000000);
    struct host_thread h;
    assert_true(host_thread_look(getpid(), gettid(), &h));
    if (strstr(h.name, "\\n") == NULL) /* so do kernels that write none */
        assert_string_equal(h.name, ") S 1 (2 3\n 4");
    else
        assert_string_equal(h.name, ") S 1 (2 3\\n 4");
    assert_int_equal(h.tid, gettid());
    assert_in_range(h.cpu_ns / 1000000, NAMED_MS - 30, NAMED_MS * 2);
    assert_true(host_has_cpu(h.cpu));
    return NULL;
}

static void a_thread(void **state)
{
    (void)state;
    struct host_thread h = {.tid = 7};
    in_a_thread(named_body);
    /* The process has its time still, and its other thread has not. */
    assert_true(host_thread_look(getpid(), 0, &h));
    assert_true(h.cpu_ns / 1000000 >= NAMED_MS - 30);
    assert_int_equal(h.tid, 0);
    h.tid = 7;
    static const pid_t none[][2] = {{0, 0}, {-1, 1}, {1, -1}, {1 << 22, 0}, {1, 1 << 22}};
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_false(host_thread_look(none[i][0], none[i][1], &h));
    assert_false(host_thread_look(getppid(), gettid(), &h)); /* another process's thread */
    assert_int_equal(h.tid, 7);
}

struct seen {
    unsigned n;
    pid_t last;
};

static void count_one(const struct host_thread *t, void *arg)
{
    struct seen *s = arg;
    s->n++;
    s->last = t->tid;
}

static void *wait_body(void *arg)
{
    char c;
    (void)!read(*(int *)arg, &c, 1);
    return NULL;
}

static void all_threads(void **state)
{
    (void)state;
    enum { MORE = 5 };
    int fd[2];
    pthread_t t[MORE];
    struct seen s = {0};
    assert_int_equal(pipe(fd), 0);
    for (unsigned i = 0; i < MORE; i++)
        assert_int_equal(pthread_create(&t[i], NULL, wait_body, &fd[0]), 0);
    assert_int_equal(host_threads_look(getpid(), 100, count_one, &s), 0);
    assert_int_equal(s.n, MORE + 1);
    s.n = 0;
    assert_int_equal(host_threads_look(getpid(), 3, count_one, &s), 0);
    assert_int_equal(s.n, 3);
    close(fd[1]);
    for (unsigned i = 0; i < MORE; i++)
        pthread_join(t[i], NULL);
    close(fd[0]);
    assert_int_equal(host_threads_look(1 << 22, 100, count_one, &s), -ENOENT);
    assert_true(host_threads_look(0, 100, count_one, &s) < 0);
    assert_true(host_threads_look(-1, 100, count_one, &s) < 0);
    assert_int_equal(s.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(priority), cmocka_unit_test(pin),
                                       cmocka_unit_test(a_thread), cmocka_unit_test(all_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
