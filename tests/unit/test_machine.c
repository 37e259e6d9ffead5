/* SPDX-License-Identifier: BSD-3-Clause */
/* host/machine.h on machines that are made up, and its sets of CPUs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/host/machine.h"
#include "tests/unit/made_up.h"

static struct machine m;

static int begin(void **state)
{
    *state = (void *)(uintptr_t)made_up_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    made_up_end();
    return 0;
}

static void expect_set(const struct host_cpus *set, const char *want)
{
    char text[HOST_CPUS_TEXT];
    assert_string_equal(host_cpus_text(set, text, sizeof(text)), want);
}

static void sets_in_words(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: no list */
    } lists[] = {{"", ""},
                 {"0", "0"},
                 {"0-3,8", "0-3,8"},
                 {"3,1,2\n", "1-3"},
                 {" 7 \n", "7"},
                 {"1023", "1023"},
                 {"1024", ""},
                 {"0-4000", "0-1023"},
                 {"a", NULL},
                 {"1-", NULL},
                 {"3-1", NULL},
                 {"1,,2", NULL},
                 {"1,", NULL},
                 {"-1", NULL},
                 {"(null)", NULL},
                 {"1 2", NULL},
                 {"1-2-3", NULL},
                 {"0x10", NULL},
                 {"99999999999999999999", NULL}};
    struct host_cpus set;
    char small[12];
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        memset(&set, 0x5A, sizeof(set));
        struct host_cpus before = set;
        bool good = host_cpus_parse(lists[i].text, &set);
        if (good != (lists[i].want != NULL))
            fail_msg("'%s' is %s list", lists[i].text, good ? "a" : "no");
        if (good)
            expect_set(&set, lists[i].want);
        else
            assert_memory_equal(&set, &before, sizeof(set));
    }
    assert_true(host_cpus_parse("1,3,5,7,9,11", &set));
    assert_int_equal(host_cpus_count(&set), 6);
    assert_string_equal(host_cpus_text(&set, small, sizeof(small)), "1,3,5,7...");
    assert_false(host_cpus_has(&set, HOST_CPUS_MAX));
}

static void a_server(void **state)
{
    char text[128];
    struct host_cpus set;
    made_up_server();
    assert_int_equal(machine_open(&m, *state), 0);
    expect_set(&m.online, "0-15");
    expect_set(&m.usable, "0-15");
    assert_false(m.cpuset);
    expect_set(&m.isolated, "2-3,10-11");
    expect_set(&m.rcu_nocbs, "2-3,10-11");
    assert_true(m.tells_isolated && m.tells_nohz_full && m.tells_rcu_nocbs);
    assert_int_equal(m.nodes, 3);
    assert_int_equal(machine_node_of(&m, 9), 0);
    assert_int_equal(machine_node_of(&m, 12), 1);
    assert_int_equal(machine_node_of(&m, 99), -1);
    set = machine_siblings(&m, 5);
    expect_set(&set, "5,13");
    assert_int_equal(machine_deepest_idle_us(&m, 0, text, sizeof(text)), 133);
    assert_string_equal(text, "C6");
    assert_int_equal(machine_deepest_idle_us(&m, 2, text, sizeof(text)), 2);
    assert_int_equal(machine_device_node(&m, "eth0"), 1);
    assert_int_equal(machine_device_node(&m, "0000:af:00.0"), 1);
    assert_int_equal(machine_device_node(&m, "eth7"), -1);
    assert_int_equal(machine_device_node(&m, "../net/eth0"), -1);
    assert_int_equal(machine_device_node(&m, ""), -1);
    assert_int_equal(machine_free_hugepages(&m, 2048, 0), 64);
    assert_int_equal(machine_free_hugepages(&m, 2048, 1), 0);
    assert_int_equal(machine_free_hugepages(&m, 1048576, -1), 1);
    assert_int_equal(machine_default_hugepage_kib(&m), 2048);
    assert_int_equal(machine_free_kib(&m, 1), 16777216);
    assert_int_equal(machine_free_kib(&m, 7), 0);
    /* 40 is delivered to 5 alone, though it could be to all; nobody has 41 */
    assert_int_equal(machine_irqs_of(&m, 5, text, sizeof(text)), 2);
    assert_non_null(strstr(text, "40 eth0-rx-0"));
    assert_non_null(strstr(text, "42 nvme0q1"));
    assert_int_equal(machine_irqs_of(&m, 0, text, sizeof(text)), 0);
    assert_true(machine_boot_word(&m, "rcu_nocbs", text, sizeof(text)));
    assert_string_equal(text, "2,3,10,11");
    assert_false(machine_boot_word(&m, "rcu", text, sizeof(text)));
    assert_true(machine_choice(&m, text, sizeof(text),
                               "/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
    assert_string_equal(text, "never");
    assert_false(machine_choice(&m, text, sizeof(text), "/proc/swaps"));
}

static void a_laptop(void **state)
{
    made_up_laptop();
    assert_int_equal(machine_open(&m, *state), 0);
    expect_set(&m.possible, "0-3");
    expect_set(&m.usable, "0-2");
    assert_false(m.cpuset); /* offline is no cpuset */
    expect_set(&m.nohz_full, "");
    assert_true(m.tells_isolated && m.tells_nohz_full && m.tells_rcu_nocbs); /* none, and said so */
    assert_int_equal(m.nodes, 1);
    assert_int_equal(machine_node_of(&m, 0), -1);
}

/* What a container may use; its group is the root of what it sees, or is named by its path outside.
 */
static void cpusets(void **state)
{
    static const struct {
        const char *cgroup, *file, *list, *want;
    } cases[] = {
        {"0::/", "/sys/fs/cgroup/cpuset.cpus.effective", "1,3", "1,3"},
        {"0::/docker/x", "/sys/fs/cgroup/docker/x/cpuset.cpus.effective", "1-2", "1-2"},
        {"0::/docker/x", "/sys/fs/cgroup/cpuset.cpus.effective", "2-9", "2-7"},
        {"4:memory:/a\n3:cpuset:/docker/abc\n0::/", "/sys/fs/cgroup/cpuset/cpuset.cpus", "5", "5"},
        {"3:cpu,cpuset:/b", "/sys/fs/cgroup/cpuset/b/cpuset.effective_cpus", "6-7", "6-7"},
        {"3:cpuset:/c\n0::/", "/sys/fs/cgroup/unified/cpuset.cpus.effective", "0", "0"},
        {"3:mycpuset:/d", "/sys/fs/cgroup/cpuset/d/cpuset.cpus", "0", "0-7"},
        {"3:mycpusets:/d", "/sys/fs/cgroup/cpuset/d/cpuset.cpus", "0", "0-7"},
        {"nonsense", "/sys/fs/cgroup/cpuset.cpus.effective", "0", "0-7"},
        {"0::/e", "/sys/fs/cgroup/e/cpuset.cpus.effective", "", "0-7"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *root = made_up_begin();
        made_up_put("/sys/devices/system/cpu/online", "0-7");
        made_up_put("/proc/self/cgroup", "%s", cases[i].cgroup);
        made_up_put(cases[i].file, "%s", cases[i].list);
        assert_int_equal(machine_open(&m, root), 0);
        print_message("%s\n", cases[i].cgroup);
        expect_set(&m.usable, cases[i].want);
        assert_int_equal(m.cpuset, strcmp(cases[i].want, "0-7") != 0);
        made_up_end();
    }
}

static void not_a_machine(void **state)
{
    char deep[MACHINE_ROOT_MAX + 8];
    assert_int_equal(machine_open(&m, *state), -ENOENT);
    made_up_put("/sys/devices/system/cpu/online", "what");
    assert_int_equal(machine_open(&m, *state), -ENOENT);
    memset(deep, '/', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(machine_open(&m, deep), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_in_words),
        cmocka_unit_test_setup_teardown(a_server, begin, end),
        cmocka_unit_test_setup_teardown(a_laptop, begin, end),
        cmocka_unit_test(cpusets),
        cmocka_unit_test_setup_teardown(not_a_machine, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
