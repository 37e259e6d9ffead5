/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routing of interrupt messages (IPI, MSI, IOAPIC) to vCPUs and to the nodes they live on. PURE.
 *
 * Every node holds one struct irq_route_table: what each vCPU last announced about its local APIC
 * (home node, APIC id, logical id, mode, enabled state). A message is turned into a set of target
 * vCPUs by irq_route(); the home of each target then gets it in a frame of its own node.
 *
 *   ICR write | MSI | IOAPIC RTE        irq_announce <- announcement of a vCPU's home node
 *        v                                   v
 *   struct apic_msg ----> irq_route(table, msg) -> struct irq_targets {vCPUs, nodes}
 *                              v
 *         irq_targets_window() -> irq_wire_msg_pack() -> that node: lapic_deliver()
 *
 * Ownership. The table is caller-owned memory with one writer. Nothing here synchronises: readers
 * in other threads need the caller's exclusion (`generation` changes with each accepted
 * announcement).
 * Freshness. An LDR, DFR, SVR or APIC base write must be announced to, and
 * acknowledged by, every node before the vCPU executes its next instruction: hardware has no window
 * in which another CPU still routes by the old logical id.
 *
 * How a destination is matched (SDM vol 3, chapter APIC, "Determining IPI Destination" and
 * "Logical Destination Mode in x2APIC Mode"). A vCPU is addressable if its announcement has PRESENT
 * and HW_ENABLED (IA32_APIC_BASE.EN). Fixed interrupts also go to software-disabled local APICs,
 * which drop them on their own, since these still take NMI, INIT and SIPI.
 *  - Broadcast: dest 0xFF in a message with an 8-bit destination (xAPIC ICR, MSI, RTE), 0xFFFFFFFF
 *    in one with a 32-bit destination (x2APIC ICR): all addressable vCPUs of either mode, physical
 *    or logical. An MSI to 0xFF reaching x2APIC-mode vCPUs is KVM's x2apic_broadcast_quirk, which
 *    is on as long as KVM_CAP_X2APIC_API is hidden.
 *  - Physical: APIC id == dest, in either mode (ids are unique; one look-up).
 *  - Logical, dest <= 0xFF: one look-up of a set precomputed for each of the 256 values. In it,
 *    an xAPIC flat vCPU matches if (logical id & dest) != 0; an xAPIC cluster vCPU if the upper
 *    four bits are equal and the lower four intersect; an x2APIC vCPU if it is in cluster 0 and its
 *    bit is set. Logical id is LDR[31:24]; 0 never matches.
 *  - Logical, dest > 0xFF: x2APIC vCPUs only: cluster dest[31:16], members dest[15:0].
 *  - Lowest priority: exactly one of the matching software-enabled vCPUs, or none. Among those
 *    with the lowest announced priority the one at index (vector + rotor) mod n, in vCPU order. It
 *    is a pure function of table and message. With rotor 0 and equal priorities it is KVM's vector
 *    hashing: one vector stays on one vCPU, whose cache has its handler. A caller that wants
 *    rotation increments `rotor`.
 */
#ifndef PANDO_INTERRUPT_INTERRUPT_H
#define PANDO_INTERRUPT_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#define IRQ_MAX_VCPUS    256u
#define IRQ_MAX_NODES    64u
#define IRQ_MAX_APIC_IDS 512u /* APIC ids 0..511: ids may be sparse, as topologies make them */
#define IRQ_SET_WORDS    (IRQ_MAX_VCPUS / 64u)

#define IRQ_SOURCE_DEVICE 0xFFFFu /* apic_msg.source of MSI and IOAPIC messages */
#define IRQ_NODE_NONE     0xFFu

/* ---- The message ------------------------------------------------------------------------- */

/* Delivery modes with the numbers of ICR[10:8], MSI data[10:8] and RTE[10:8]; 3 is reserved. */
enum apic_delivery {
    APIC_DELIVERY_FIXED = 0,
    APIC_DELIVERY_LOWEST = 1,
    APIC_DELIVERY_SMI = 2,
    APIC_DELIVERY_RESERVED = 3,
    APIC_DELIVERY_NMI = 4,
    APIC_DELIVERY_INIT = 5,
    APIC_DELIVERY_SIPI = 6,
    APIC_DELIVERY_EXTINT = 7,
};

enum apic_dest_mode {
    APIC_DEST_PHYSICAL = 0,
    APIC_DEST_LOGICAL = 1,
};

/* ICR[19:18]. */
enum apic_shorthand {
    APIC_SHORTHAND_NONE = 0,
    APIC_SHORTHAND_SELF = 1,
    APIC_SHORTHAND_ALL = 2,
    APIC_SHORTHAND_OTHERS = 3,
};

enum apic_trigger {
    APIC_TRIGGER_EDGE = 0,
    APIC_TRIGGER_LEVEL = 1,
};

struct apic_msg {
    uint32_t dest;     /* 8-bit (0..255) unless wide; ignored with a shorthand */
    uint16_t source;   /* vCPU index of the sender, or IRQ_SOURCE_DEVICE */
    uint8_t vector;    /* ignored for NMI, INIT, SMI and ExtINT */
    uint8_t delivery;  /* enum apic_delivery */
    uint8_t dest_mode; /* enum apic_dest_mode */
    uint8_t shorthand; /* enum apic_shorthand */
    uint8_t level;     /* 1 assert, 0 de-assert (INIT only) */
    uint8_t trigger;   /* enum apic_trigger */
    uint8_t wide;      /* 1: dest is a 32-bit x2APIC destination */
};

/* 0, or -EINVAL: a field out of range, a narrow dest above 255, the reserved delivery mode, or a
 * shorthand without a source vCPU. */
int apic_msg_check(const struct apic_msg *m);

/* ---- What a vCPU announces --------------------------------------------------------------- */

enum irq_vcpu_flag {
    IRQ_VCPU_PRESENT = 1u << 0,    /* the vCPU exists */
    IRQ_VCPU_HW_ENABLED = 1u << 1, /* IA32_APIC_BASE.EN */
    IRQ_VCPU_SW_ENABLED = 1u << 2, /* SVR bit 8 */
    IRQ_VCPU_X2APIC = 1u << 3,     /* IA32_APIC_BASE.EXTD */
};
#define IRQ_VCPU_FLAGS 0x0Fu

enum irq_dfr {
    IRQ_DFR_CLUSTER = 0x0,
    IRQ_DFR_FLAT = 0xF,
};

struct irq_announcement {
    uint32_t apic_id;
    uint32_t ldr; /* register value: xAPIC [31:24], the rest 0; x2APIC all 32 bits */
    uint32_t seq; /* counts this vCPU's announcements; compared modulo 2^32 */
    uint16_t vcpu;
    uint8_t node;     /* home of the vCPU */
    uint8_t flags;    /* enum irq_vcpu_flag; without PRESENT the entry is removed */
    uint8_t dfr;      /* enum irq_dfr: DFR[31:28]; FLAT in x2APIC mode, which has no DFR */
    uint8_t priority; /* task priority class 0..15, for lowest-priority arbitration */
};

/* ---- The table --------------------------------------------------------------------------- */

struct irq_set {
    uint64_t word[IRQ_SET_WORDS];
};

struct irq_route_table {
    struct irq_announcement vcpu[IRQ_MAX_VCPUS];
    uint8_t known[IRQ_MAX_VCPUS];          /* 1: vcpu[i] holds an announcement */
    struct irq_set addressable;            /* present and hardware-enabled */
    struct irq_set sw_enabled;             /* subset of it: takes part in arbitration */
    struct irq_set at_node[IRQ_MAX_NODES]; /* present vCPUs by home */
    uint16_t by_apic_id[IRQ_MAX_APIC_IDS]; /* vCPU + 1 among the present ones, 0 none */
    struct irq_set by_logical8[256];       /* addressable vCPUs matching a logical dest <= 0xFF */
    uint8_t eoi_node[256];
    uint32_t rotor;
    uint32_t generation;
};

struct irq_targets {
    struct irq_set vcpus;
    uint64_t nodes; /* bit n: node n is home to at least one target */
    uint32_t count; /* number of vCPUs */
};

/* Empties the table; every EOI goes to vmm_node (the node that runs the VMM and its IOAPIC).
 * -EINVAL: vmm_node >= IRQ_MAX_NODES. */
int irq_table_init(struct irq_route_table *t, uint8_t vmm_node);

/*
 * Enters or replaces what a vCPU announced. Nothing changes on error:
 * -EINVAL  a field out of range, unknown flags, SW_ENABLED or X2APIC without HW_ENABLED, an LDR
 *          that does not fit the mode (x2APIC: derived from the id; else: low 24 bits 0), a DFR
 *          model other than flat or cluster;
 * -ESTALE  seq is not newer than the entry's (a duplicate or a late one: drop it, it is no fault);
 * -EXDEV   the vCPU is present at another node (it must be announced absent by that one first);
 * -EEXIST  another present vCPU has this APIC id.
 */
int irq_announce(struct irq_route_table *t, const struct irq_announcement *a);

/* The logical id that x2APIC mode derives from an APIC id (SDM, "Deriving Logical x2APIC ID from
 * the Local x2APIC ID"). */
static inline uint32_t irq_x2apic_ldr(uint32_t apic_id)
{
    return (apic_id >> 4) << 16 | UINT32_C(1) << (apic_id & 15u);
}

/*
 * The targets of a message. Returns their number, 0 if nobody matches (the message is then lost, as
 * on hardware), or -EINVAL as apic_msg_check, or if the source of a shorthand is not in the table.
 * ret_targets is written only on success. SMI and ExtINT are routed like the others; the
 * local APIC model counts and drops them.
 */
int irq_route(const struct irq_route_table *t, const struct apic_msg *m,
              struct irq_targets *ret_targets);

/* The targets at one node among vCPUs 64 * window .. 64 * window + 63, as the mask of an
 * irq_wire_msg; 0 if none. window < IRQ_SET_WORDS, node < IRQ_MAX_NODES, else 0. */
uint64_t irq_targets_window(const struct irq_route_table *t, const struct irq_targets *targets,
                            uint8_t node, uint8_t window);

/* Where the EOI of a level-triggered vector goes: the node of the VMM that owns the IOAPIC, or
 * IRQ_NODE_NONE if irq_eoi_set said that nobody wants this one. */
uint8_t irq_eoi_route(const struct irq_route_table *t, uint8_t vector);

/* Sets it for one vector. -EINVAL: node is neither < IRQ_MAX_NODES nor IRQ_NODE_NONE. */
int irq_eoi_set(struct irq_route_table *t, uint8_t vector, uint8_t node);

static inline bool irq_set_has(const struct irq_set *s, uint32_t vcpu)
{
    return vcpu < IRQ_MAX_VCPUS && (s->word[vcpu / 64u] >> (vcpu % 64u) & 1u) != 0;
}

/* The first member at or after `from`, or IRQ_MAX_VCPUS:
 * for (v = irq_set_next(s, 0); v < IRQ_MAX_VCPUS; v = irq_set_next(s, v + 1)) */
uint32_t irq_set_next(const struct irq_set *s, uint32_t from);

/* ---- Decoding what devices send ---------------------------------------------------------- */

/*
 * MSI (SDM, "Message Signalled Interrupts"). addr [31:20] 0xFEE, dest [19:12], redirection hint
 * [3], destination mode [2]; data: vector [7:0], delivery [10:8], trigger [15]. The level bit [14]
 * is not looked at and level is always 1: QEMU's IOAPIC sends its level-triggered pins as MSIs with
 * that bit clear, and KVM delivers them. A redirection hint with fixed delivery becomes lowest
 * priority.
 * -EOPNOTSUPP  addr[4] set: remappable format (there is no interrupt remapping unit);
 * -ENXIO       not an address in 0xFEExxxxx: this is a memory write, not an interrupt;
 * -EINVAL      reserved delivery mode (3, SIPI), or vector 0..15 with fixed or lowest priority.
 */
int irq_decode_msi(uint64_t addr, uint32_t data, struct apic_msg *ret_msg);

/*
 * IOAPIC redirection table entry (82093AA data sheet, "I/O Redirection Table Registers").
 * -EAGAIN      masked: nothing to send;
 * -EOPNOTSUPP  bit 48 set: remappable format;
 * -EINVAL      as for MSI.
 */
int irq_decode_rte(uint64_t rte, struct apic_msg *ret_msg);

/* ---- Wire forms -------------------------------------------------------------------------- */
/*
 * Little-endian, fixed; they follow the caller's one-byte kind in a message of at most 22 bytes.
 *
 * Announcement, 20 bytes                  Message with its targets, 19 bytes
 *   0 u32 apic_id                           0 u64 mask: vCPU 64 * window + i is a target
 *   4 u32 ldr                               8 u32 dest
 *   8 u32 seq                              12 u16 source
 *  12 u16 vcpu                             14 u8  vector
 *  14 u8  node                             15 u8  delivery [2:0], dest_mode [3], shorthand [5:4],
 *  15 u8  flags                                   level [6], trigger [7]
 *  16 u8  dfr                              16 u8  window [1:0], wide [2], rest 0
 *  17 u8  priority                         17 u16 0
 *  18 u16 0
 */
#define IRQ_WIRE_ANNOUNCE_LEN 20u
#define IRQ_WIRE_MSG_LEN      19u

struct irq_wire_msg {
    struct apic_msg msg;
    uint64_t mask;  /* not 0 */
    uint8_t window; /* < IRQ_SET_WORDS */
};

/* Pack: -EINVAL if the value would not pass unpack. Unpack validates everything that can be known
 * without the table; ret is written only on success. Errors of unpack:
 * -EMSGSIZE  len is not exactly the form's length;
 * -EBADMSG   reserved bytes or bits are not 0;
 * -EINVAL    a field out of range (as apic_msg_check, as irq_announce), an empty mask, or a window
 *            out of range. */
int irq_wire_announce_pack(const struct irq_announcement *a, uint8_t buf[IRQ_WIRE_ANNOUNCE_LEN]);
int irq_wire_announce_unpack(const uint8_t *buf, uint32_t len, struct irq_announcement *ret);
int irq_wire_msg_pack(const struct irq_wire_msg *w, uint8_t buf[IRQ_WIRE_MSG_LEN]);
int irq_wire_msg_unpack(const uint8_t *buf, uint32_t len, struct irq_wire_msg *ret);

/* Field validation of an announcement by itself (the -EINVAL part of irq_announce). */
int irq_announcement_check(const struct irq_announcement *a);

#endif
