/* SPDX-License-Identifier: BSD-3-Clause */
/* Unmapping by the agent (memory/zap.h), with this test as the agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/memory/zap.h"

enum { PAGES = 1024, SIZE = 1024 };

static struct glue_agent agent;
static uint64_t fifo[SIZE];
static struct ram ram;
static struct zap z;

static int set_up(void **state)
{
    (void)state;
    memset(&agent, 0, sizeof(agent));
    ram = (struct ram){.blocks = 2, .pages = PAGES};
    ram.block[0] = (struct ram_block){.base_page = 0, .pages = PAGES / 2};
    ram.block[1] = (struct ram_block){.base_page = PAGES / 2, .pages = PAGES / 2};
    zap_init(&z, &agent, fifo, SIZE);
    return 0;
}

static void contiguous_pages_are_one_request(void **state)
{
    (void)state;
    uint64_t page = 99;
    const uint64_t pages[] = {7, 8, 9, 20, 21, PAGES / 2 - 1, PAGES / 2}; /* the last: two blocks */
    for (size_t i = 0; i < 7; i++)
        zap_push(&z, pages[i]);
    assert_int_equal(zap_done(&z, &page), 0);
    assert_true(zap_publish(&z, &ram));
    assert_false(zap_publish(&z, &ram));
    assert_int_equal(atomic_load(&agent.head), 4);
    assert_true(atomic_load(&agent.asker_cpu) != 0);
    assert_int_equal(agent.zap[0].page, 7);
    assert_int_equal(agent.zap[0].pages, 3);
    assert_int_equal(agent.zap[2].pages, 1);
    assert_int_equal(agent.zap[3].page, PAGES / 2);
    atomic_store(&agent.done, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(zap_done(&z, &page), 1);
        assert_int_equal(page, pages[i]);
    }
    assert_int_equal(zap_done(&z, &page), 0);
    assert_true(zap_pending(&z));
    atomic_store(&agent.done, 4);
    for (size_t i = 3; i < 7; i++) {
        assert_int_equal(zap_done(&z, &page), 1);
        assert_int_equal(page, pages[i]);
    }
    assert_false(zap_pending(&z));
}

/* More requests than the agent's ring has room for go later, in order. */
static void ring_full(void **state)
{
    (void)state;
    uint64_t page;
    for (uint64_t i = 0; i < 2 * GLUE_ZAP_ENTRIES; i++)
        zap_push(&z, i * 2 % PAGES);
    assert_true(zap_publish(&z, &ram));
    assert_int_equal(atomic_load(&agent.head), GLUE_ZAP_ENTRIES);
    assert_false(zap_publish(&z, &ram));
    atomic_store(&agent.done, GLUE_ZAP_ENTRIES);
    for (uint64_t i = 0; i < GLUE_ZAP_ENTRIES; i++) {
        assert_int_equal(zap_done(&z, &page), 1);
        assert_int_equal(page, i * 2);
    }
    assert_true(zap_publish(&z, &ram));
    assert_int_equal(atomic_load(&agent.head), 2 * GLUE_ZAP_ENTRIES);
}

/* A failed request is never counted as done: its error must be seen all the same. */
static void failure_is_seen(void **state)
{
    (void)state;
    uint64_t page;
    zap_push(&z, 1);
    zap_publish(&z, &ram);
    atomic_store(&agent.failed, EINVAL);
    assert_int_equal(zap_done(&z, &page), -EINVAL);
    atomic_store(&agent.failed, 1u << 31);
    assert_int_equal(zap_done(&z, &page), -EPROTO);
}

static void impossible_counter(void **state)
{
    (void)state;
    uint64_t page;
    zap_push(&z, 1);
    zap_publish(&z, &ram);
    atomic_store(&agent.done, 2);
    assert_int_equal(zap_done(&z, &page), -EPROTO);
    atomic_store(&agent.done, UINT32_MAX);
    assert_int_equal(zap_done(&z, &page), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(contiguous_pages_are_one_request, set_up),
        cmocka_unit_test_setup(ring_full, set_up),
        cmocka_unit_test_setup(failure_is_seen, set_up),
        cmocka_unit_test_setup(impossible_counter, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
