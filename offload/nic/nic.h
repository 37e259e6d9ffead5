/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a family of NICs can be asked for through rte_flow, as its PMD's documentation and source
 * say: tables of templates, each the shape of rules that the device takes. PURE.
 *
 * A table says what to try. What a device takes is found out by rte_flow_validate on the started
 * port (offload/flow); where both differ, `pando offload show` says so.
 */
#ifndef PANDO_OFFLOAD_NIC_H
#define PANDO_OFFLOAD_NIC_H

#include "offload/plan/plan.h"

enum { NIC_TEMPLATES_MAX = 8, NIC_RULES_UNKNOWN = 0 };

/* How our own header is matched: by an item RAW relative to the header before it; by a RAW alone,
 * the whole frame as hexadecimal digits, spec and mask; or by an item FLEX, which has to be created
 * first (rte_flow_flex_item_create). */
enum nic_flex { NIC_FLEX_NONE, NIC_FLEX_RAW, NIC_FLEX_FRAME, NIC_FLEX_ITEM };

/* A shape of rule: what must be matched, what may be besides, which actions it can have. */
struct nic_template {
    const char *name;   /* "ethertype filter" */
    uint32_t kinds;     /* bits of enum link_kind */
    uint32_t must, may; /* bits of enum rule_field; a rule has all of must and no others
                           than of both */
    uint32_t fates;     /* QUEUE, RSS, DROP: exactly one of them ... */
    uint32_t with;      /* ... and COUNT, MARK with it */
    bool tagged;        /* frames with a VLAN tag can be matched */
    bool transfer;      /* it is in the embedded switch, and its fate is REPLICATE */
    uint16_t capacity;  /* rules of this shape; NIC_RULES_UNKNOWN: no limit is documented */
    uint8_t copies;     /* REPLICATE: besides the wire's */
    uint8_t flex_bytes; /* of our header that one rule can match */
    uint8_t flex_until; /* ... and they lie before this offset in it */
    bool flex_bits;     /* single bits of them, not whole bytes only */
    const char *source; /* where it was read: file and version */
};

struct nic {
    const char *name;    /* as `pando offload plan --nic` takes it */
    const char *drivers; /* rte_eth_dev_info.driver_name, separated by spaces */
    const char *title;   /* "NVIDIA ConnectX-6 Dx, BlueField-2" */
    bool priorities;     /* rules have them; else the planner keeps rules apart */
    uint16_t priority_max;
    uint16_t group;  /* where rules go */
    bool async;      /* rte_flow's template and asynchronous API */
    bool mac_filter; /* multicast addresses: rte_eth_dev_set_mc_addr_list */
    bool checksum;   /* IPv4 header checksum, both ways */
    uint16_t queues; /* receive queues, at most */
    enum nic_flex flex;
    uint8_t flex_samples; /* NIC_FLEX_ITEM: words of 32 bits that a port's items can look at, */
    uint32_t flex_links;  /* ... and what an item can follow: bits of enum link_kind */
    uint32_t templates;
    struct nic_template shape[NIC_TEMPLATES_MAX];
    const char *notes;  /* what a user has to know or set first; "" */
    const char *source; /* of what is not in a template */
};

/* By name, or by a port's driver name; NULL: not known. nic_at: for lists; NULL behind the last. */
const struct nic *nic_by_name(const char *name);
const struct nic *nic_by_driver(const char *driver);
const struct nic *nic_at(unsigned i);

/* Takes no rule: for ports of the kernel, sockets, shared memory and unknown drivers. */
extern const struct nic nic_none;

#endif
