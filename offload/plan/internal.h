/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the planner. */
#ifndef PANDO_OFFLOAD_PLAN_INTERNAL_H
#define PANDO_OFFLOAD_PLAN_INTERNAL_H

#include "offload/nic/nic.h"
#include "offload/plan/plan.h"

#define FIELD(id) (UINT32_C(1) << RULE_##id)
#define DO(id)    (UINT32_C(1) << RULE_DO_##id)
#define WANT(id)  (UINT32_C(1) << INTENT_##id)

enum {
    FIELDS_OF_CLASS = FIELD(UDP_SRC) | FIELD(VLAN_PCP) | FIELD(RRDP_CLASS),
    FIELDS_OF_PEER = FIELD(ETH_SRC) | FIELD(IP_SRC) | FIELD(RRDP_SOURCE),
    FIELDS_OF_RRDP = FIELD(RRDP_SOURCE) | FIELD(RRDP_CLASS) | FIELD(RRDP_TAG),
    SHAPE_NONE = -1,
};

/* What one shape can do with Pando's frames of this link: 0 fields: it cannot. */
struct ability {
    bool usable;
    uint32_t base;   /* what makes a frame Pando's */
    uint32_t cls;    /* ... what tells its class */
    uint32_t peer;   /* ... its source */
    uint32_t tag;    /* ... its connection */
    bool every_cls;  /* a rule has to name a class, */
    bool every_peer; /* ... a source */
};

/* Why an intent is not all in hardware. NO_RULES to NO_TAG: the later, the nearer to it. */
/* clang-format off */
#define WHY_LIST(X) \
    X(FULL, "")                 /* it is */ \
    X(NO_RULES, "no rules are known for this port and link") \
    X(NO_DROP, "its rules cannot drop") \
    X(NO_PEER, "its rules do not see the source node") \
    X(NO_TAG, "its rules do not see the connection tag") \
    X(REFUSED, "the device refused its rules") \
    X(ONE_QUEUE, "one receive queue") \
    X(NO_CLASS, "its rules do not see the class") \
    X(OTHER_PORTS, "what it sends from another UDP port, as a socket does, comes through") \
    X(OTHER_TAGS, "what it sends with another priority comes through") \
    X(NO_ACTION, "its rules do not have this action") \
    X(NO_PRIORITY, "its rules have no priorities and a drop would overlap with steering") \
    X(ADDRESS, "no MAC address is known of the node") \
    X(ROOM, "no room") \
    X(FENCED, "the node is fenced") \
    X(NO_LIST, "the driver takes no list of group addresses: all of them are received") \
    X(NOBODY_LOCAL, "no other node is behind this NIC: the network copies") \
    X(NO_GROUPS, "there are no group frames over UDP") \
    X(NO_MIRROR, "its switch does not copy") \
    X(NO_IPV4, "there is no IPv4 header") \
    X(NO_CHECKSUM, "the driver does not compute it") \
    X(NO_CRYPTO, "frames are not encrypted, and rte_security of DPDK 22.11 knows none but other protocols")
/* clang-format on */
#define X(ID, text) WHY_##ID,
enum why { WHY_LIST(X) WHYS };
#undef X

/* What was decided on the way to the rules, for those who explain it. */
struct maker {
    const struct nic *nic;
    const struct plan_input *in;
    struct plan *plan;
    struct ability ability[NIC_TEMPLATES_MAX];
    int steer, fence, epoch; /* shapes, or SHAPE_NONE */
    enum why no_steer, no_fence, no_epoch, no_count, no_mark;
    bool per_peer;                      /* a rule for each source, not for all */
    bool count, mark;                   /* rules do that */
    bool count_drops;                   /* ... and those that drop */
    uint32_t wanted[NIC_TEMPLATES_MAX]; /* rules of a shape, whether they fit or not */
    uint32_t made[NIC_TEMPLATES_MAX];
    uint32_t cells_wanted; /* rules of `steer`, if there had been room to count and mark */
};

uint64_t plan_peers(const struct plan_input *in); /* bits: all nodes but this one */
bool plan_known(const struct plan_input *in, uint8_t node);
/* The queue where this class is wanted, or all classes if no rule tells them apart. */
uint16_t plan_queue(const struct maker *m, uint8_t cls);
struct ability plan_ability(const struct nic *nic, const struct plan_input *in, unsigned shape);
void plan_intents(const struct maker *m);

#endif
