/* SPDX-License-Identifier: BSD-3-Clause */
/* The command lines of the tools with two sides: one table of options a tool, from which they are
 * parsed, checked and listed. */
#ifndef PANDO_PERF_RTT_OPTIONS_H
#define PANDO_PERF_RTT_OPTIONS_H

#include "perf/rtt.h"

/* --NAME N with N in low..high, --NAME alone, or --NAME TEXT: whichever of the three is set. */
struct rtt_option {
    const char *name;
    uint32_t *number, low, high;
    bool *flag;
    bool (*text)(const char *value); /* false: it is none */
    const char *form;                /* of the text, for the usage */
};

/* main() of a tool: parses, says what is wrong, starts both sides and calls run in each of them,
 * which does not return. Returns the exit status: the sides' verdict; 2: usage; 77: not root. The
 * last option has no name. */
int rtt_main(int argc, char **argv, const struct rtt_option *options, const struct rtt_options *o,
             void (*run)(struct rtt_side *s));

#endif
