/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that takes rules in memory, for tests of offload/flow: one that refuses, is slow, is
 * full, or does not let go. It fails the test that asks for a pattern twice, or removes a rule
 * twice. */
#ifndef PANDO_TESTS_FAKE_DEVICE_H
#define PANDO_TESTS_FAKE_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "offload/flow/device.h"

#define F(field)   (1u << RULE_##field)
#define DO(action) (1u << RULE_DO_##action)

struct fake {
    struct flow_device device;
    struct plan has; /* what it was given, gaps closed */
    uintptr_t handle[PLAN_RULES_MAX], last;
    uint32_t capacity, calls;
    uint64_t clock_ns, cost_ns;
    bool stuck;       /* removes nothing */
    uint32_t never;   /* actions that it takes no rule of */
    uint32_t lies;    /* ... that it validates, and does not create */
    const char *says; /* ... with these words; NULL: its own */
    uint64_t frames_a_rule;
};

extern struct fake fake;

uint64_t fake_clock(void);
void fake_reset(void); /* empty, willing, and with no end of room */

#endif
