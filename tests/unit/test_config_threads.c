/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys about threads, memory and batches: what they say, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/config/config.h"

#define TOP  "cluster: c\nvm: {ram_mib: 8, vcpus: 2}\n"
#define GOOD TOP "nodes:\n- {id: 0, name: a}\n- {id: 1, name: b}\n"

static const struct bad {
    const char *what, *text;
    const char *words[4]; /* all of them are in the message */
} bad[] = {
    {"busy poller on its agent's CPU",
     TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1, agent_core: 1}\n"
         "- {id: 1, name: b}\npoll: {mode: busy}\n",
     {"agent_core of node 0", "CPU 1 is its dataplane_core", "other CPUs"}},
    {"real-time poller that spins anywhere",
     GOOD "poll: {mode: busy}\nthreads: {poll_class: fifo}\n",
     {"dataplane_core of node 0", "-1", "poll_class: fifo", "a CPU of its own"}},
    {"real-time poller that yields anywhere",
     GOOD "poll: {mode: yield}\nthreads: {poll_class: fifo}\n",
     {"dataplane_core of node 0", "-1", "poll.mode: yield and threads.poll_class: fifo"}},
    {"real-time poller that yields to its agent",
     TOP
     "nodes:\n- {id: 0, name: a, dataplane_core: 1, agent_core: 1}\n"
     "- {id: 1, name: b, dataplane_core: 2}\npoll: {mode: yield}\nthreads: {poll_class: fifo}\n",
     {"agent_core of node 0", "CPU 1", "poll.mode: yield"}},
    {"real-time poller that spins on housekeeping's CPU",
     TOP "nodes:\n- {id: 0, name: a, dataplane_core: 1, housekeeping_cores: [0, 1]}\n"
         "- {id: 1, name: b, dataplane_core: 2}\n"
         "poll: {mode: busy}\nthreads: {poll_class: rr}\n",
     {"housekeeping_cores of node 0", "CPU 1", "poll_class: rr"}},
    {"real-time vCPUs before the poll loop",
     GOOD "threads: {vcpu_class: fifo, vcpu_priority: 5, poll_class: fifo, poll_priority: 5}\n",
     {"threads.vcpu_class: fifo with priority 5", "node 0's poll loop", "poll_priority"}},
    {"real-time vCPUs before the agent",
     TOP "nodes:\n- {id: 0, name: a, vcpu_cores: [1], dataplane_core: 0, agent_core: 1}\n"
         "- {id: 1, name: b}\nthreads: {vcpu_class: rr, poll_class: rr, poll_priority: 2}\n",
     {"node 0's agent", "agent_class", "agent_priority"}},
    {"batch is not for the poll loop",
     GOOD "threads: {poll_class: batch}\n",
     {"threads.poll_class", "'batch'", "other, fifo, rr"}},
    {"real-time housekeeping",
     GOOD "threads: {housekeeping_class: fifo}\n",
     {"threads.housekeeping_class", "'fifo'", "other, batch"}},
    {"priority 0", GOOD "threads: {agent_priority: 0}\n", {"threads.agent_priority", "1..99"}},
    {"no frame a round", GOOD "poll: {rx_frames: 0}\n", {"poll.rx_frames", "1..1024 frames"}},
    {"no frame out", GOOD "poll: {tx_frames: 1025}\n", {"poll.tx_frames", "1..1024"}},
    {"more than a ring", GOOD "poll: {glue_entries: 129}\n", {"poll.glue_entries", "1..128"}},
    {"odd hugepages",
     GOOD "fabric: {hugepages: 4M}\n",
     {"fabric.hugepages", "'4M'", "auto, on, off, 2M, 1G"}},
    {"NUMA node beyond DPDK's",
     TOP "nodes:\n- {id: 0, name: a, ram_node: 32}\n- {id: 1, name: b}\n",
     {"nodes[0].ram_node", "-1..31 NUMA node"}},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pando_config c;
        char err[CONFIG_ERROR_MAX];
        print_message("%s\n", bad[i].what);
        assert_true(config_parse(bad[i].text, strlen(bad[i].text), "c.yaml", &c, err) < 0);
        for (size_t k = 0; k < 4 && bad[i].words[k] != NULL; k++)
            if (strstr(err, bad[i].words[k]) == NULL)
                fail_msg("'%s' is not in: %s", bad[i].words[k], err);
    }
}

static void load_good(const char *text, struct pando_config *c)
{
    char err[CONFIG_ERROR_MAX];
    if (config_parse(text, strlen(text), "c.yaml", c, err) != 0)
        fail_msg("%s", err);
}

static void expect_sched(const struct pando_config *c, enum config_role role, bool given,
                         enum host_class class, int nice, uint32_t slice_us, uint32_t priority)
{
    struct host_sched s = {0};
    assert_int_equal(config_sched(c, role, &s), given);
    if (!given)
        return;
    assert_int_equal(s.class, class);
    assert_int_equal(s.nice, nice);
    assert_int_equal(s.slice_us, slice_us);
    if (host_real_time(class))
        assert_int_equal(s.priority, priority);
}

static void expect_cpus(const struct config_node *n, enum config_role role, const char *want)
{
    char text[HOST_CPUS_TEXT];
    struct host_cpus set = config_cpus(n, role);
    assert_string_equal(host_cpus_text(&set, text, sizeof(text)), want);
}

static void test_threads(void **state)
{
    struct pando_config c;
    (void)state;
    load_good(
        TOP "nodes:\n- {id: 0, name: a, dataplane_core: 9, agent_core: 3, vcpu_cores: [8, 4], "
            "housekeeping_cores: [0, 1, 2], ram_node: 1, packet_node: 0}\n"
            "- {id: 1, name: b, registration_core: 7}\n"
            "poll: {mode: sleep, nice: -5, rx_frames: 32, tx_frames: 7, glue_entries: 128}\n"
            "threads: {poll_class: fifo, poll_priority: 50, agent_class: rr, agent_priority: 3, "
            "vcpu_class: rr, vcpu_priority: 2, housekeeping_class: batch, housekeeping_nice: 4}\n",
        &c);
    assert_int_equal(c.poll.mode, CONFIG_POLL_INTERRUPT); /* the older word */
    assert_int_equal(c.poll.rx_frames, 32);
    assert_int_equal(c.poll.tx_frames, 7);
    assert_int_equal(c.poll.glue_entries, 128);
    assert_int_equal(c.node[0].ram_node, 1);
    assert_int_equal(c.node[0].packet_node, 0);
    assert_int_equal(c.node[1].packet_node, -1);
    expect_sched(&c, CONFIG_ROLE_POLL, true, HOST_FIFO, -5, 100, 50);
    expect_sched(&c, CONFIG_ROLE_AGENT, true, HOST_RR, -5, 100, 3);
    expect_sched(&c, CONFIG_ROLE_VCPU, true, HOST_RR, 0, 0, 2);
    expect_sched(&c, CONFIG_ROLE_HOUSEKEEPING, true, HOST_BATCH, 4, 0, 0);
    expect_sched(&c, CONFIG_ROLE_REGISTRATION, true, HOST_BATCH, 4, 0, 0);
    expect_cpus(&c.node[0], CONFIG_ROLE_POLL, "9");
    expect_cpus(&c.node[0], CONFIG_ROLE_AGENT, "3");
    expect_cpus(&c.node[0], CONFIG_ROLE_VCPU, "4,8");
    expect_cpus(&c.node[0], CONFIG_ROLE_HOUSEKEEPING, "0-2");
    expect_cpus(&c.node[0], CONFIG_ROLE_REGISTRATION, "0-2");
    expect_cpus(&c.node[1], CONFIG_ROLE_REGISTRATION, "7");
    expect_cpus(&c.node[1], CONFIG_ROLE_POLL, "");
    load_good(GOOD, &c);
    expect_sched(&c, CONFIG_ROLE_POLL, true, HOST_OTHER, -10, 100, 0);
    expect_sched(&c, CONFIG_ROLE_VCPU, false, HOST_OTHER, 0, 0, 0);
    expect_sched(&c, CONFIG_ROLE_HOUSEKEEPING, false, HOST_OTHER, 0, 0, 0);
    assert_int_equal(c.poll.rx_frames, 64);
    assert_int_equal(c.poll.tx_frames, 64);
    assert_int_equal(c.poll.glue_entries, 16);
    load_good(GOOD "poll: {mode: adaptive}\nfabric: {hugepages: 1G}\n", &c);
    assert_int_equal(c.poll.mode, CONFIG_POLL_ADAPTIVE);
    assert_int_equal(c.fabric.hugepages, CONFIG_HUGE_1G);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused), cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
