/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Pando wants of a NIC, and the rules that give it as much of that as it can do. PURE.
 *
 * An *intent* is a wish in Pando's own words: this class to that queue, nothing more from that
 * node. A *rule* is a line of rte_flow: pattern, actions, priority. plan_make turns intents into
 * rules for one NIC, whose abilities are a table (offload/nic/nic.h). What the NIC cannot do is
 * left to XDP or to the poll loop, and each intent says which of them serves it and why. Nothing
 * depends on a rule for being right: software looks at every frame in the same way whether the NIC
 * did or not (classify.h, which all three agree with), so a rule may be missing, partial or late.
 *
 * A frame is *proper* if it is as a node writes it: link_read takes it, its RRDP header is whole
 * and of our version, the node that the header names as its source is a peer and its address that
 * peer's, and what stands for the class in front of the header agrees with the class in it
 * (link_source_port; the priority of a tag). What rules promise:
 *
 *   - No rule drops a frame with a whole RRDP header that classify.h delivers, nor one that is not
 *     Pando's.
 *   - An intent that is all in hardware (BACKEND_HARDWARE, not partly) holds for every proper frame
 *     as classify.h has it: its queue, its fence, its count, its mark.
 *   - What is not proper, and what is said to be partly done, may come to another queue, not be
 *     counted or marked, or as what it pretends to be, or pass a fence. Software does what is left.
 *   - A NIC takes what is behind a datagram, as Ethernet's padding, for its next bytes. A datagram
 *     too short for an RRDP header may so be dropped as what those pretend to be; classify.h, which
 *     goes by its length, delivers it, and the transport refuses it (WIRE_E_SHORT).
 *
 * The order of rules is their meaning: a frame takes the first that it matches. Where a NIC has
 * priorities they say the same. For one that has none, no two rules can take the same frame and
 * differ in what becomes of it (plan_conflict). What no rule takes comes to queue 0.
 */
#ifndef PANDO_OFFLOAD_PLAN_H
#define PANDO_OFFLOAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/wire/link.h"
#include "dataplane/wire/wire.h"

struct nic;

/* ---- rules --------------------------------------------------------------------------------- */

/* What a pattern can match: enumerator, name, bytes of the value. The mask follows from the field:
 * all bits, but of RRDP_CLASS the low two. A pattern has an item for every header: eth for
 * LINK_ETHERNET, eth / ipv4 or ipv6 / udp for the others, so those imply EtherType and protocol
 * (IP_PROTO: where a driver wants it said). ETH_TYPE behind a tag is its inner type. RRDP_... lie
 * in the header behind the link header (wire.h), at RULE_RRDP_..._AT: a NIC matches them by a
 * flexible item or not at all. */
/* clang-format off */
#define RULE_FIELD_LIST(X) \
    X(ETH_SRC, "eth src", 6) X(ETH_DST, "eth dst", 6) X(ETH_TYPE, "eth type", 2) \
    X(VLAN_PCP, "vlan pcp", 1) \
    X(IP_SRC, "ip src", 16) X(IP_DST, "ip dst", 16) X(IP_PROTO, "ip proto", 1) \
    X(UDP_SRC, "udp src", 2) X(UDP_DST, "udp dst", 2) \
    X(RRDP_SOURCE, "rrdp source", 1) X(RRDP_CLASS, "rrdp class", 1) X(RRDP_TAG, "rrdp tag", 4)
#define RULE_ACTION_LIST(X) \
    X(QUEUE, "queue") \
    X(RSS, "rss")             /* of one queue, where there is no QUEUE */ \
    X(DROP, "drop") \
    X(COUNT, "count") \
    X(MARK, "mark") \
    X(REPLICATE, "replicate") /* to `copies` and to the wire */
/* clang-format on */
#define X(ID, name, bytes) RULE_##ID,
enum rule_field { RULE_FIELD_LIST(X) RULE_FIELDS };
#undef X
#define X(ID, name) RULE_DO_##ID,
enum rule_action { RULE_ACTION_LIST(X) RULE_ACTIONS };
#undef X

enum {
    RULE_VALUE_MAX = 16,
    RULE_RRDP_SOURCE_AT = 2,
    RULE_RRDP_CLASS_AT = 4,
    RULE_RRDP_CLASS_MASK = 3,
    RULE_RRDP_TAG_AT = 16,
    RULE_ANY = 0xFF, /* cls, node: of all */
    PLAN_RULES_MAX = 1024,
    PLAN_INTENTS_MAX = 1024,
    PLAN_QUEUES_MAX = 16,
    PLAN_EPOCHS_MAX = 64,
    PLAN_REASON_MAX = 160,
    PLAN_TEXT_MAX = 512, /* a rule in words, with its end */
};

struct rule {
    uint32_t fields;  /* bits of enum rule_field: all of them must match */
    uint32_t actions; /* bits of enum rule_action */
    /* As in the frame, so in network byte order (RRDP_TAG: little-endian); IPv4 in the first four
     * bytes, VLAN_PCP 0..7. What is not matched is 0. */
    uint8_t value[RULE_FIELDS][RULE_VALUE_MAX];
    bool tagged;              /* behind eth is a VLAN item, of VID 0: a priority tag */
    bool transfer;            /* in the embedded switch, not in the port's receive path */
    uint16_t group, priority; /* of rte_flow: 0 comes first */
    uint16_t queue;           /* QUEUE, RSS */
    uint32_t mark;            /* MARK: plan_mark */
    uint64_t copies;          /* REPLICATE: nodes, whose ports are plan_input.local_port */
    /* What it is for. */
    uint32_t serves;   /* bits of enum intent_type */
    uint8_t cls, node; /* RULE_ANY */
    uint32_t tag;      /* FENCE_EPOCH */
    uint8_t shape;     /* which of the NIC's templates it follows */
};

/* What MARK says of a frame: class and source node. A hint, as a frame may pretend. */
static inline uint32_t plan_mark(uint8_t cls, uint8_t node)
{
    return UINT32_C(0x500000) | (uint32_t)cls << 8 | node; /* 24 bits: mlx5 has no more */
}

/* ---- intents ------------------------------------------------------------------------------- */

/* In the order of their worth, where not all rules fit. */
/* clang-format off */
#define INTENT_LIST(X) \
    X(FENCE_NODE, "fence node")   /* drop what bears `node` as its source, or comes from its address */ \
    X(FENCE_EPOCH, "fence epoch") /* ... and connection tag `tag` */ \
    X(STEER, "steer")             /* frames of `cls` to queue `queue` */ \
    X(COUNT, "count")             /* frames of `cls` from `node` */ \
    X(MARK, "mark")               /* ... say so: plan_mark */ \
    X(GROUP, "group")             /* group frames reach this node: its MAC filter takes group_mac */ \
    X(REPLICATE, "replicate")     /* ... and other nodes behind the same NIC: its switch copies them */ \
    X(CHECKSUM, "checksum")       /* IPv4 header checksum of what leaves and comes */ \
    X(CRYPTO, "crypto")           /* frames encrypted by the NIC */
#define BACKEND_LIST(X) X(HARDWARE, "hardware") X(XDP, "xdp") X(SOFTWARE, "software") \
    X(NONE, "none") /* nobody does it, or need do it: reason */
/* clang-format on */
#define X(ID, name) INTENT_##ID,
enum intent_type { INTENT_LIST(X) INTENTS };
#undef X
#define X(ID, name) BACKEND_##ID,
enum backend { BACKEND_LIST(X) BACKENDS };
#undef X

struct intent {
    enum intent_type type;
    uint8_t cls, node; /* RULE_ANY where the type has none */
    uint16_t queue;
    uint32_t tag;
};

/* How one intent is served. partly: `by` does some of it, or a coarser thing; what comes behind it
 * does the rest. reason: why it is not all in hardware, "" if it is. */
struct intent_plan {
    struct intent intent;
    enum backend by;
    bool partly;
    char reason[PLAN_REASON_MAX];
};

/* ---- input --------------------------------------------------------------------------------- */

struct plan_input {
    struct link_config
        link;           /* over plain Ethernet self and nodes are needed too; 2 nodes or more */
    uint16_t ethertype; /* LINK_ETHERNET */
    /* As learned, for LINK_ETHERNET; all 0: not known, the node is not fenced by its address. No
     * two the same, or the fence of one were the other's: who learns an address that another node
     * has decides which of them has it, and clears the other. */
    uint8_t peer_mac[WIRE_NODES_MAX][6];
    uint8_t group_mac[6]; /* port_group_mac; all 0: no group frames */
    bool vlan_priority;   /* frames bear a tag, of priority 7 - class, that the NIC strips */
    uint16_t queues;      /* receive queues of the port: 1..PLAN_QUEUES_MAX */
    uint16_t class_queue[WIRE_CLASSES];            /* below queues: plan_class_queues */
    bool count, mark, replicate, checksum, crypto; /* wanted besides steering, fences and group */
    uint64_t fenced;                               /* nodes */
    uint32_t epochs;
    struct {
        uint8_t node;
        uint32_t tag;
    } epoch[PLAN_EPOCHS_MAX];            /* old connections; no two the same */
    uint64_t local;                      /* nodes behind the same embedded switch: not this one */
    uint16_t local_port[WIRE_NODES_MAX]; /* DPDK's port number of their representor */
    uint16_t own_port, wire_port;        /* ... of this node's, and of the uplink */
    bool xdp; /* the port has an XDP program of ours: what it does comes before software */
    /* What the device said no to, whatever its table promises: bits of enum intent_type, and of the
     * index of the NIC's templates. */
    uint32_t refused_intents, refused_shapes;
};

struct plan {
    uint32_t rules, intents;
    struct rule rule[PLAN_RULES_MAX]; /* in the order of installation and of meaning */
    struct intent_plan intent[PLAN_INTENTS_MAX];
};

/* The queues of the classes where a port has this many: urgent has one for itself as soon as there
 * are two, and queue 0 is the one for what no rule takes. */
void plan_class_queues(uint16_t queues, uint16_t ret_class_queue[WIRE_CLASSES]);

/* Fills *ret_plan (large: static, or the caller's heap). Where rules do not fit, those of the
 * intents of less worth are left out, rule by rule, and their intents say so. 0; -EINVAL: input out
 * of range, or two nodes with one address (peer_mac; over UDP link.ip); *ret_plan is not written.
 */
int plan_make(const struct nic *nic, const struct plan_input *in, struct plan *ret_plan);

/* True if the rule is part of how the intent is served. */
bool plan_serves(const struct rule *r, const struct intent *i);

/* ---- changes ------------------------------------------------------------------------------- */

/* The fewest changes that make `to` of `from`, both for one NIC: a rule that is the same
 * (plan_same_rule) stays. In an order in which nothing comes through that both plans drop: DROP
 * rules that are new; others that go; others that are new; DROP rules that go. No pattern is ever
 * there twice: a rule with the pattern of one that goes comes directly behind the removal of that.
 * Before what goes is gone there may be more rules than the device or a plan has room for: what
 * finds none is to be tried again at the end. So the NIC has two gaps, for frames that both drop:
 *
 *   - a DROP that is replaced by another DROP with the same pattern: for one step;
 *   - a new DROP that found no room: from when the old one goes until it is tried again, and for
 *     good if it is refused then.
 *
 * What comes through a gap comes to software, which has dropped it since the fence was wanted and
 * goes on to (classify.h). Returns how many. */
enum plan_op { PLAN_ADD, PLAN_REMOVE };
struct plan_change {
    enum plan_op op;
    uint32_t index; /* ADD: of to->rule; REMOVE: of from->rule */
};
uint32_t plan_diff(const struct plan *from, const struct plan *to,
                   struct plan_change ret_changes[2 * PLAN_RULES_MAX]);

/* The same pattern, actions, group and priority; what they are for is not looked at. */
bool plan_same_rule(const struct rule *a, const struct rule *b);

/* Two rules that can match the same frame, that do not do the same to it, and between which no
 * priority decides. False: there are none. */
bool plan_conflict(const struct nic *nic, const struct plan *p, uint32_t *ret_a, uint32_t *ret_b);

/* The index of the rule that takes a received frame (from its Ethernet header on), or -1: as a NIC
 * would that parses Ethernet, one tag, IP with options and UDP, and looks at no length but the
 * frame's. Rules in the embedded switch do not take what is received. */
int32_t plan_apply(const struct plan *p, enum link_kind kind, const uint8_t *frame, size_t len);

/* ---- words --------------------------------------------------------------------------------- */

/* In words of dpdk-testpmd, cut at size (1 or more), always terminated; they return the length that
 * is there. A rule, behind "flow create 0 ": "ingress pattern eth type is 0x88b5 / end actions
 * queue index 1 / end". Before it, where it needs that, a line of its own: a pattern of the flex
 * item, or what a sample does; else "". Before all rules, lines: how the flex item is made; else
 * "". */
size_t plan_rule_text(const struct nic *nic, const struct plan_input *in, const struct rule *r,
                      char *out, size_t size);
size_t plan_before_rule_text(const struct nic *nic, const struct plan_input *in,
                             const struct rule *r, char *out, size_t size);
size_t plan_before_all_text(const struct nic *nic, const struct plan_input *in,
                            const struct plan *p, char *out, size_t size);
/* All of a plan, line by line: intents behind '#', which testpmd skips, so that it can be pasted.
 */
typedef void plan_line(void *arg, const char *line);
void plan_print(const struct nic *nic, const struct plan_input *in, const struct plan *plan,
                plan_line *line, void *arg);
/* "steer urgent to queue 1", "fence node 3", "fence epoch 0x1a2b3c4d of node 3". */
size_t plan_intent_text(const struct intent *i, char *out, size_t size);
const char *plan_backend_name(enum backend b);
const char *plan_intent_name(enum intent_type t);
const char *rule_field_name(enum rule_field f);
const char *rule_action_name(enum rule_action a);
/* Bytes of a field's value, as far as this kind uses them (IP addresses: 4 or 16). */
uint32_t rule_field_bytes(enum rule_field f, enum link_kind kind);

#endif
