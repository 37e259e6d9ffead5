/* SPDX-License-Identifier: BSD-3-Clause */
/* A port of DPDK's is given a flow queue where its driver has some, and before it is started. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/port/dpdk.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/ethdev_device.h"
#include "tests/unit/fake_flow.h"

static void test_flow_queue_of_a_port(void **state)
{
    struct ethdev_flow flow;
    (void)state;
    fake_reset(0);
    fake_nic.queue_size = 48;
    fake_nic.counters = 10;
    ethdev_flow_queue(FAKE_PORT, &flow);
    assert_true(flow.queue == 48 && flow.why[0] == '\0');
    assert_true(fake_nic.configured_queue == 48 && fake_nic.configured_counters == 10);
    fake_reset(0);
    fake_nic.queues = 0;
    ethdev_flow_queue(FAKE_PORT, &flow);
    assert_true(flow.queue == 0 && fake_nic.calls[FAKE_CONFIGURE] == 0);
    assert_string_equal(flow.why, "the device has no flow queues");
    fake_reset(0);
    fake_nic.refuse[FAKE_CONFIGURE] = 1;
    ethdev_flow_queue(FAKE_PORT, &flow);
    assert_int_equal(flow.queue, 0);
    assert_string_equal(flow.why, fake_words[FAKE_CONFIGURE]);
}

/* DPDK's own, behind a note that the port is started. */
int rte_eth_dev_start(uint16_t id)
{
    int (*start)(uint16_t) = (int (*)(uint16_t))(uintptr_t)dlsym(RTLD_NEXT, "rte_eth_dev_start");
    fake_nic.started = true;
    return start(id);
}

/* A port of DPDK's is given its flow queue before it is started; the fake looks. */
static void test_open_port(void **state)
{
    const struct port_dpdk c = {.device = "net_null0", .queues = 1, .mtu = 1400};
    char err[PORT_ERROR_MAX], prefix[32];
    struct ethdev_info info;
    struct port *p;
    (void)state;
    fake_reset(0);
    snprintf(prefix, sizeof(prefix), "offload-async-%d", (int)getpid());
    if (port_eal_init(false, PORT_EAL_ANY_CORE, NULL, prefix, false, err) != 0) {
        print_message("skipped: %s\n", err);
        skip();
    }
    if (port_open_dpdk(&c, &p, err) != 0)
        fail_msg("%s", err);
    assert_true(fake_nic.started && fake_nic.calls[FAKE_CONFIGURE] == 1);
    assert_int_equal(ethdev_info(p, &info), 0);
    assert_true(info.flow_queue == 64 && info.flow_why[0] == '\0');
    port_close(p);
    port_eal_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow_queue_of_a_port),
        cmocka_unit_test(test_open_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
