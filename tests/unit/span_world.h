/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One node's spans and what the other nodes say of them, for test_span.c and test_span_sharers.c.
 * Times are made up, in ticks.
 */
#ifndef PANDO_TESTS_SPAN_WORLD_H
#define PANDO_TESTS_SPAN_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/span/span.h"

enum { KHZ = 2000000, SHARER = 0, SELF = 1, HOME = 2, OWNER = 3, PAGE = 77, ERROR = 100 };

extern struct spans s;

#define BIT(p)    ((uint16_t)(1u << (p)))
#define ALL_HOME  (BIT(SPAN_AT_HOME_RX) | BIT(SPAN_AT_HOME_TX))
#define ALL_OWNER (BIT(SPAN_AT_OWNER_RX) | BIT(SPAN_AT_OWNER_DONE) | BIT(SPAN_AT_OWNER_TX))

#define ALL_SHARER (BIT(SPAN_AT_SHARER_RX) | BIT(SPAN_AT_SHARER_DONE) | BIT(SPAN_AT_SHARER_TX))
/* INV came in no frame: the home's came from itself */
#define WITHOUT_RX (BIT(SPAN_AT_SHARER_DONE) | BIT(SPAN_AT_SHARER_TX))
#define WAITED     (ALL_SHARER | BIT(SPAN_AT_ACKED))

/* A fault's way: the table in span.h. */
struct path {
    char name;
    uint8_t home, answer;       /* who answers: owner or home; 0: nobody */
    bool data, acks, acks_late; /* DATA or GRANT; there are acks; the last after the answer */
    uint16_t home_points, owner_points;
    uint16_t want; /* points of the record */
    uint8_t acker; /* who acknowledges last, if that is late */
};

#define LOCAL_POINTS (BIT(SPAN_AT_READ) | BIT(SPAN_AT_ASKED) | BIT(SPAN_AT_MAPPED))
#define REMOTE       (LOCAL_POINTS | BIT(SPAN_AT_REQUEST_TX) | BIT(SPAN_AT_DATA_RX))

enum { PATHS = 11, GRANT = 5 }; /* GRANT: the one without acknowledgements */
extern const struct path paths[PATHS];

void begin(uint32_t sample);
struct span_key fault_key(uint64_t txn);
struct span_time at(uint64_t t);
/* A SPAN message of these points, stamped 10 apart from `from` on. */
struct wire_span stamps(enum span_what what, uint64_t id, uint16_t points, uint64_t from);
/* Of one sample; UINT64_MAX if a stage is below 0. */
uint64_t stage_sum(const struct span_kind_count *k);
/* What the last one to acknowledge says. */
struct wire_span last_says(const struct path *p, uint64_t txn);
/* Everything but what peers say. Times are 1000 at `read`, and later by 1000 a step. */
void requester_side(const struct path *p, uint64_t txn);
/* What the home says; what the owner says, and the last to acknowledge. */
void say(const struct path *p, uint64_t txn, bool home, bool owner);
void check_path(const struct path *p);

#endif
