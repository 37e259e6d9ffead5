/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules that a device has, and how it comes from them to those that are wanted: the changes of
 * plan_diff, one call of the driver each. EDGE.
 *
 * A call has no bound on its time, so a step makes calls until its budget is used up, at least one,
 * and the next step goes on: what is left to do is found anew each time, from what the device has.
 * The longest call is kept (slowest_ns). What finds no room while rules are to go is not asked
 * again before they are gone, in later steps neither. What the driver refuses is kept with its
 * words, and not asked again until other rules are wanted; a rule that it does not remove is asked
 * for again at the next step, since a fence that stays is a node that is cut off.
 *
 * A device with poll is given calls in bulk, as far as their order does not matter: creations, or
 * removals, that follow one another. The step waits for their ends as long as its budget lasts.
 * What has not ended then is pending, and the next step waits for it before it begins anything.
 */
#ifndef PANDO_OFFLOAD_INSTALL_H
#define PANDO_OFFLOAD_INSTALL_H

#include <stdbool.h>

#include "offload/flow/device.h"

struct install;

enum { INSTALL_CLOSE_MS = 500 };

/* PENDING: not asked for yet, or its end has not come. */
enum install_state { INSTALL_PENDING, INSTALL_DONE, INSTALL_REFUSED };

/* One rule that is wanted, or is there still. why: of REFUSED, and of what cannot be removed. */
struct install_rule {
    struct rule rule;
    enum install_state state;
    bool counted; /* frames and bytes are known */
    uint64_t frames, bytes;
    char why[FLOW_WHY_MAX];
};

struct install_counters {
    uint64_t calls, created, removed, refused, slowest_ns;
};

/* device is kept; clock: nanoseconds, for the budget. 0 or -ENOMEM. */
int install_open(struct flow_device *device, uint64_t (*clock_ns)(void), struct install **ret);
/* Removes all rules; waits for the ends of that for INSTALL_CLOSE_MS at most. NULL is fine. */
void install_close(struct install *i);

/* Which rules are wanted from now on; copied. Nothing is called yet. */
void install_want(struct install *i, const struct plan *plan);

/* True: nothing is left to do. Takes the budget and one call, whatever the device does. */
bool install_step(struct install *i, uint64_t budget_ns);

bool install_done(const struct install *i);

/* Asks the driver for the counters of one rule after the other, one at each call. */
void install_count(struct install *i);

/* For show: the rules that are wanted, in their order, then those that are still to be removed.
 * Returns how many. */
enum { INSTALL_LIST_MAX = 2 * PLAN_RULES_MAX };
uint32_t install_list(const struct install *i, struct install_rule ret[INSTALL_LIST_MAX]);
const struct install_counters *install_counters(const struct install *i);

/* Whether the device takes the plan's rules: asks once for each shape, kind of pattern and actions
 * that the plan has. ret_refused: bits of shapes of which it took nothing; the driver's last words
 * about each in why. 0, or the number of refusals. */
uint32_t install_probe(struct flow_device *device, const struct plan *plan, uint32_t *ret_refused,
                       char why[NIC_TEMPLATES_MAX][FLOW_WHY_MAX]);

#endif
