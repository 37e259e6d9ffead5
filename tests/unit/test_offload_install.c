/* SPDX-License-Identifier: BSD-3-Clause */
/* How rules come into a device that refuses, is slow, is full, or does not let go. */
#include "fake_device.h"

#include <string.h>

#include "dataplane/base/bits.h"
#include "offload/flow/install.h"

enum { MS = 1000000 };

static struct plan want, other;

static struct rule drop_of(uint8_t node)
{
    struct rule r = {.fields = F(ETH_SRC) | F(ETH_TYPE),
                     .actions = DO(DROP),
                     .node = node,
                     .serves = 1u << INTENT_FENCE_NODE};
    r.value[RULE_ETH_SRC][5] = node;
    return r;
}

static void want_drops(struct plan *p, uint8_t from, uint8_t until)
{
    p->rules = 0;
    for (uint8_t n = from; n < until; n++)
        p->rule[p->rules++] = drop_of(n);
}

static struct install *opened(void)
{
    struct install *i;
    fake_reset();
    assert_int_equal(install_open(&fake.device, fake_clock, &i), 0);
    return i;
}

static bool device_has(const struct plan *p)
{
    if (fake.has.rules != p->rules)
        return false;
    for (uint32_t k = 0; k < p->rules; k++) {
        bool found = false;
        for (uint32_t m = 0; m < fake.has.rules; m++)
            found |= plan_same_rule(&p->rule[k], &fake.has.rule[m]);
        if (!found)
            return false;
    }
    return true;
}

/* False: there is none of this number. */
static bool install_at(const struct install *i, uint32_t number, struct install_rule *ret)
{
    static struct install_rule all[INSTALL_LIST_MAX];
    if (number >= install_list(i, all))
        return false;
    *ret = all[number];
    return true;
}

static void test_budget(void **state)
{
    struct install *i = opened();
    (void)state;
    fake.cost_ns = MS;
    want_drops(&want, 1, 31);
    install_want(i, &want);
    unsigned steps = 1;
    for (; !install_step(i, 4 * MS); steps++) /* at most what fits, and the one that was begun */
        assert_true(fake.calls <= steps * 5 && fake.calls >= steps);
    assert_true(device_has(&want));
    assert_true(steps >= 30 / 5 && fake.calls == 30);
    assert_int_equal(install_counters(i)->slowest_ns, MS);
    assert_true(install_step(i, 4 * MS) && fake.calls == 30); /* nothing is done twice */
    want_drops(&other, 20, 40);                               /* in the midst of it, others */
    install_want(i, &other);
    assert_false(install_step(i, 0)); /* one call */
    assert_int_equal(fake.calls, 31);
    install_want(i, &want);
    while (!install_step(i, MS))
        ;
    assert_true(device_has(&want) && fake.calls == 32);
    install_close(i);
    assert_int_equal(fake.has.rules, 0);
}

static void test_full_device(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    fake.capacity = 10;
    want_drops(&want, 1, 11);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    want_drops(&other, 6, 16); /* five go, five come: before there is room, no call is lost */
    install_want(i, &other);
    assert_true(install_step(i, MS));
    assert_true(device_has(&other));
    want_drops(&other, 6, 18);
    install_want(i, &other);
    assert_true(install_step(i, MS));
    uint32_t refused = 0, k = 0;
    for (; install_at(i, k, &r); k++)
        if (r.state == INSTALL_REFUSED) {
            refused++;
            assert_string_equal(r.why, "table full");
        }
    assert_true(k == 12 && refused == 2 && fake.has.rules == 10);
    uint32_t calls = fake.calls;
    assert_true(install_step(i, MS) && fake.calls == calls); /* not asked again */
    install_close(i);
}

/* A device that is full and takes longer for a call than a step has: what finds no room does not
 * keep back the removals that make it. */
static void test_full_slow_device(void **state)
{
    (void)state;
    for (uint8_t drops = 1; drops <= 10; drops++) {
        struct install *i = opened();
        unsigned steps = 1;
        fake.capacity = 10;
        want_drops(&want, 1, 11);
        install_want(i, &want);
        assert_true(install_step(i, MS));
        fake.cost_ns = 3 * MS;
        fake.calls = 0;
        want_drops(&other, 11, 11 + drops); /* others instead */
        install_want(i, &other);
        while (!install_step(i, MS / 5))
            assert_true(++steps <= 10 + 2u * drops); /* each new one twice at most */
        assert_true(device_has(&other) && fake.calls <= 10 + 2u * drops);
        assert_int_equal(install_counters(i)->refused, 0);
        install_close(i);
    }
}

static void want_many(struct plan *p, uint32_t from, uint32_t n)
{
    for (p->rules = 0; p->rules < n; p->rules++) {
        p->rule[p->rules] = drop_of(1);
        p->rule[p->rules].value[RULE_ETH_SRC][3] = (uint8_t)((from + p->rules) >> 8);
        p->rule[p->rules].value[RULE_ETH_SRC][4] = (uint8_t)(from + p->rules);
    }
}

/* As many rules as there may be, and others for all of them at once. */
static void test_replace_all(void **state)
{
    static const uint32_t many[] = {400, 600, PLAN_RULES_MAX};
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(many); k++) {
        struct install *i = opened();
        want_many(&want, 0, many[k]);
        install_want(i, &want);
        assert_true(install_step(i, MS) && device_has(&want));
        want_many(&other, 5000, many[k]);
        install_want(i, &other);
        assert_true(install_step(i, MS) && device_has(&other));
        assert_int_equal(install_counters(i)->refused, 0);
        install_close(i);
        assert_int_equal(fake.has.rules, 0);
    }
}

/* In steps of one call each, too: what was refused is behind us. */
static void test_refused_once(void **state)
{
    struct install *i = opened();
    unsigned steps = 1;
    (void)state;
    fake.capacity = 3;
    fake.cost_ns = MS;
    want_drops(&want, 1, 11);
    install_want(i, &want);
    while (!install_step(i, MS))
        assert_true(++steps <= 10);
    assert_true(fake.has.rules == 3 && fake.calls == 10);
    assert_int_equal(install_counters(i)->refused, 7);
    install_close(i);
}

/* A driver that says nothing has refused all the same. */
static void test_refused_without_words(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    fake.lies = DO(DROP);
    fake.says = "";
    want_drops(&want, 1, 3);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    assert_true(install_at(i, 1, &r) && r.state == INSTALL_REFUSED);
    assert_string_equal(r.why, "Invalid argument");
    install_close(i);
}

static void test_stuck_rule(void **state)
{
    struct install *i = opened();
    struct install_rule r;
    (void)state;
    want_drops(&want, 1, 3);
    install_want(i, &want);
    assert_true(install_step(i, MS));
    want_drops(&want, 1, 2);
    fake.stuck = true;
    install_want(i, &want);
    assert_false(install_step(i, MS)); /* it is asked for again, and shown as what is there */
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 1, &r) && r.state == INSTALL_DONE && r.rule.node == 2);
    assert_string_equal(r.why, "busy");
    fake.stuck = false;
    assert_true(install_step(i, MS));
    assert_false(install_at(i, 1, &r));
    fake.stuck = true; /* what waits for its room is not refused */
    fake.capacity = 1;
    want_drops(&want, 5, 6);
    install_want(i, &want);
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 0, &r) && r.state == INSTALL_PENDING);
    fake.capacity = 2; /* it comes before the other goes, once there is some */
    assert_false(install_step(i, MS));
    assert_true(install_at(i, 0, &r) && r.state == INSTALL_DONE);
    fake.stuck = false;
    assert_true(install_step(i, MS) && device_has(&want));
    install_close(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_full_device),
        cmocka_unit_test(test_full_slow_device),
        cmocka_unit_test(test_replace_all),
        cmocka_unit_test(test_refused_without_words),
        cmocka_unit_test(test_stuck_rule),
        cmocka_unit_test(test_refused_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
