/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A NIC behind rte_flow that is not there: this file's functions are rte_flow's own, and win over
 * those of DPDK's library. It keeps to what rte_flow.h and the programmer's guide of 22.11 promise,
 * and fails the test where a caller does not:
 *
 *   - configured before the port is started; templates only then, tables of live templates, with
 *     the same direction; nothing is destroyed that is still referred to, or not there;
 *   - no more operations in a queue than it was configured for; a rule's items and actions are of
 *     its templates' types, and no bit of a value lies outside the mask;
 *   - an operation does nothing before it was pushed, and its result comes by pull; in any order;
 *   - nothing is removed before the result of its creation was pulled, and nothing twice; every
 *     handle is destroyed, also that of a rule that was rejected;
 *   - templates and tables are destroyed in the reverse order;
 *   - one rule a pattern at a time.
 */
#ifndef PANDO_TESTS_FAKE_FLOW_H
#define PANDO_TESTS_FAKE_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls that can be refused: enumerator, the driver's words. */
/* clang-format off */
#define FAKE_CALL_LIST(X) \
    X(INFO, "info get with incorrect steering mode") X(CONFIGURE, "fail to configure port") \
    X(FLEX, "flex item available on BlueField ports only") \
    X(PATTERN, "Unsupported item type") X(ACTIONS, "action not supported in template API") \
    X(TABLE, "Failed to create template table") \
    X(CREATE, "fail to create rte flow") X(DESTROY, "fail to destroy rte flow") \
    X(PUSH, "fail to push flows") X(PULL, "fail to query flow queue") \
    X(PROXY, "unable to find a proxy port") \
    X(SINGLE_VALIDATE, "not valid") X(SINGLE_CREATE, "Flow non-Q creation not supported") \
    X(SINGLE_DESTROY, "Flow non-Q destruction not supported")
/* clang-format on */
#define X(ID, words) FAKE_##ID,
enum fake_call { FAKE_CALL_LIST(X) FAKE_CALLS };
#undef X
extern const char *const fake_words[FAKE_CALLS];

enum { FAKE_PORT = 7, FAKE_PROXY_PORT = 3, FAKE_FOREVER = 1 << 30, FAKE_LOG = 256 };

/* What a test sets, and sees. */
struct fake_nic {
    uint32_t queues, queue_size, counters;      /* what rte_flow_info_get says */
    bool started;                               /* the port is */
    uint32_t refuse[FAKE_CALLS];                /* so many calls from now on */
    uint32_t reject_creations, reject_removals; /* ... results that are RTE_FLOW_OP_ERROR */
    uint32_t room_in_queue; /* the queue takes fewer than it was configured for; 0: all */
    uint32_t room;          /* rules that the NIC has room for; 0: any number */
    uint32_t late;          /* pulls that a result needs, at most */
    uint64_t frames;        /* of each counter */
    /* Seen. */
    uint32_t calls[FAKE_CALLS];
    uint32_t configured_queue, configured_counters; /* rte_flow_configure's */
    uint32_t patterns, actions, tables, items;      /* that are there */
    uint32_t table_size;                            /* of the last one */
    uint32_t rules, by_queue, lost, deepest;
    char log[FAKE_LOG + 1]; /* 'D' a rule that drops came, 'd' went; 'Q' and 'q': another */
};
extern struct fake_nic fake_nic;

/* seed: not 0: operations change their order. */
void fake_reset(uint64_t seed);
/* Operations that were begun and not pulled. */
uint32_t fake_in_queue(void);
/* Nothing is left behind, but rules whose removal the NIC did not do. */
void fake_end(void);

/* The flex item that is there; NULL: none. */
struct rte_flow_item_flex_handle;
struct rte_flow_item_flex_handle *fake_item(void);

/* The rules that are in the NIC, from 0 on; false: there are not so many. An image of a rule is all
 * that says what it does; of those that a test makes, the attributes, items and actions as of
 * rte_flow_create. */
struct fake_image {
    uint16_t port;
    size_t len, pattern; /* bytes, and those of them that are the pattern and what it is behind */
    uint8_t bytes[768];
};
bool fake_rule(uint32_t number, struct fake_image *ret);
struct rte_flow_attr;
struct rte_flow_item;
struct rte_flow_action;
void fake_image_of(uint16_t port, const struct rte_flow_attr *attr,
                   const struct rte_flow_item *item, const struct rte_flow_action *action,
                   struct fake_image *ret);

#endif
