/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What telemetry tells of the VM's process (engine/glue_json.c): this process plays it, with a
 * segment that it can write to as it likes, and threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "dataplane/engine/engine.h"

enum { VCPUS = 3, HERE = 1, BURN_MS = 60 }; /* node 1 is home of vCPU 1 */

static struct engine e;

static int set_up(void **state)
{
    static struct pando_config cfg = {.vm = {.vcpus = VCPUS, .vcpu_home = {0, HERE, 2}}};
    (void)state;
    memset(&e, 0, sizeof(e));
    e.cfg = &cfg;
    e.self = HERE;
    e.shared = aligned_alloc(4096, glue_segment_size(VCPUS));
    memset(e.shared, 0, glue_segment_size(VCPUS));
    e.conn = CONN_WELCOMED;
    e.glue_pid = getpid();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(e.shared);
    return 0;
}

/* The number at a path of two names; -1: there is none. */
static json_int_t at(const json_t *o, const char *name, const char *member)
{
    const json_t *v = json_object_get(o, name);
    v = member != NULL ? json_object_get(v, member) : v;
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static void rings(void **state)
{
    (void)state;
    atomic_store(&e.shared->chan[0].to_dp.head, 3);
    atomic_store(&e.shared->chan[1].to_glue.head, 200);
    atomic_store(&e.shared->chan[1].to_glue.tail, 200 - GLUE_RING_ENTRIES);
    atomic_store(&e.shared->chan[VCPUS].to_dp.head, 7);
    atomic_store(&e.shared->agent.head, GLUE_ZAP_ENTRIES);
    json_t *o = channels_section(&e);
    assert_int_equal(at(o, "capacity", NULL), GLUE_RING_ENTRIES);
    assert_int_equal(at(o, "unmap", NULL), GLUE_ZAP_ENTRIES);
    assert_int_equal(at(o, "unmap_capacity", NULL), GLUE_ZAP_ENTRIES);
    assert_int_equal(json_object_size(json_object_get(o, "to_dp")), VCPUS + 1);
    assert_int_equal(json_object_size(json_object_get(o, "to_glue")), VCPUS + 1);
    assert_int_equal(at(o, "to_dp", "0"), 3);
    assert_int_equal(at(o, "to_dp", "1"), 0);
    assert_int_equal(at(o, "to_dp", "vm"), 7);
    assert_int_equal(at(o, "to_glue", "0"), 0);
    assert_int_equal(at(o, "to_glue", "1"), GLUE_RING_ENTRIES);
    assert_int_equal(json_object_size(json_object_get(o, "implausible")), 0);
    json_decref(o);
}

static void rings_that_cannot_be(void **state)
{
    (void)state;
    atomic_store(&e.shared->chan[0].to_dp.head, GLUE_RING_ENTRIES + 1);
    atomic_store(&e.shared->chan[0].to_glue.tail, 1);
    atomic_store(&e.shared->chan[2].to_glue.tail, UINT32_MAX / 2);
    atomic_store(&e.shared->agent.done, 1);
    json_t *o = channels_section(&e);
    assert_int_equal(at(o, "to_dp", "0"), -1);
    assert_int_equal(at(o, "to_glue", "0"), -1);
    assert_int_equal(at(o, "to_glue", "2"), -1);
    assert_int_equal(at(o, "to_dp", "2"), 0);
    assert_int_equal(at(o, "unmap", NULL), -1);
    assert_int_equal(at(o, "implausible", "0"), 2);
    assert_int_equal(at(o, "implausible", "2"), 1);
    assert_int_equal(at(o, "implausible", "agent"), 1);
    assert_int_equal(json_object_size(json_object_get(o, "implausible")), 3);
    json_decref(o);
}

static sem_t ready, over;

static void *agent_body(void *arg)
{
    struct timespec t;
    (void)arg;
    prctl(PR_SET_NAME, "pando-agent");
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec == 0 && t.tv_nsec < BURN_MS * 1000000);
    sem_post(&ready);
    sem_wait(&over);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    pthread_t t;
    sem_init(&ready, 0, 0);
    sem_init(&over, 0, 0);
    assert_int_equal(pthread_create(&t, NULL, agent_body, NULL), 0);
    sem_wait(&ready);
    atomic_store(&e.shared->chan[0].tid, (uint32_t)gettid());
    atomic_store(&e.shared->chan[2].tid, UINT32_MAX);
    atomic_store(&e.shared->chan[VCPUS].tid, (uint32_t)gettid());
    json_t *o = threads_section(&e), *p = processes_section(&e);
    sem_post(&over);
    pthread_join(t, NULL);
    assert_int_equal(json_object_size(o), 3);
    assert_in_range(at(o, "agent", "cpu_ns"), (BURN_MS - 30) * 1000000, 10 * BURN_MS * 1000000LL);
    assert_true(at(o, "agent", "core") >= 0);
    assert_true(at(o, "proxy0", "cpu_ns") >= 0);  /* of another node */
    assert_non_null(json_object_get(o, "vcpu1")); /* there is to be one: it is not known */
    assert_int_equal(at(o, "vcpu1", "cpu_ns"), -1);
    /* The kernel rounds user and system time, each, down to a tick, of a process and of a thread.
     */
    assert_true(at(p, "vm", "cpu_ns") + 20000000 >= at(o, "agent", "cpu_ns"));
    assert_true(at(p, "dataplane", "cpu_ns") >= 0);
    json_decref(o);
    json_decref(p);
}

/* A thread's number is the VM's word: that of another process has no time here. */
static void nobody(void **state)
{
    (void)state;
    atomic_store(&e.shared->chan[1].tid, (uint32_t)getppid());
    json_t *o = threads_section(&e);
    assert_int_equal(at(o, "vcpu1", "cpu_ns"), -1);
    assert_int_equal(at(o, "agent", "cpu_ns"), -1);
    json_decref(o);
    atomic_store(&e.shared->chan[1].tid, (uint32_t)gettid());
    for (int i = 0; i < 2; i++) { /* the kernel named no process; there is none any more */
        e.glue_pid = i == 0 ? 0 : getpid();
        e.conn = i == 0 ? CONN_WELCOMED : CONN_NONE;
        o = threads_section(&e);
        json_t *p = processes_section(&e);
        assert_int_equal(json_object_size(o), 2);
        assert_int_equal(at(o, "vcpu1", "cpu_ns"), -1);
        assert_null(json_object_get(p, "vm"));
        json_decref(o);
        json_decref(p);
    }
    struct glue_shared *kept = e.shared;
    e.shared = NULL; /* start-up failed before there was a segment */
    o = channels_section(&e);
    assert_int_equal(json_object_size(json_object_get(o, "to_dp")), 0);
    json_decref(o);
    json_decref(threads_section(&e));
    e.shared = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rings_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
