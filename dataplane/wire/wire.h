/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wire formats: one list of messages, everything derived from it. PURE. Where each field lies, for
 * programs that read what others sent: fields.h.
 *
 * A frame is   Ethernet header (14) | RRDP header (24, more with an EACK bitmap) | segment bytes.
 * A message is a fixed header of 22 bytes, then (by kind) nothing, one 4 KiB page, or up to
 * WIRE_BYTES_MAX bytes. The transport cuts messages into segments; the first segment starts with
 * the message header. 14 + 24 + 22 = 60 bytes, so a message without payload is a minimum-size
 * Ethernet frame (64 with the FCS).
 *
 * All integers are little-endian. Reserved bits are sent 0 and refused otherwise. Kind 0 is
 * invalid, so that a page of zeros is never a message. Everything here comes from a peer: unpack
 * functions validate once, answer a named error, and everything behind them may trust the struct.
 */
#ifndef PANDO_WIRE_H
#define PANDO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/bits.h"

enum {
    WIRE_VERSION = 1,        /* 2 bits in the RRDP header; SYN carries WIRE_REVISION as well */
    WIRE_REVISION = 9,       /* any change of a layout or of a meaning increments it */
    WIRE_ETHERTYPE = 0x88B5, /* IEEE local experimental; configurable */
    WIRE_NODES_MAX = 64,
    WIRE_PAGE_SIZE = 4096,
    WIRE_PAGE_SHIFT = 12,
    WIRE_MSG_HEADER = 22,
    WIRE_BYTES_MAX = 16384, /* largest payload of a "bytes" kind */
    WIRE_MSG_MAX = WIRE_MSG_HEADER + WIRE_BYTES_MAX,
    WIRE_CHAN_VM = 0xFFFF, /* channel of the VM itself; others are vCPU numbers */
    WIRE_VCPUS_MAX = 255,
    WIRE_TIME_BYTES = 32, /* payload of a time_rep */
    WIRE_TIME_MAX = WIRE_MSG_HEADER + WIRE_TIME_BYTES,
    WIRE_SPAN_STAMPS = 4, /* in one span message */
    WIRE_SPAN_MAX = WIRE_MSG_HEADER + 8 * WIRE_SPAN_STAMPS,
};

/* Traffic classes, strict priority, each its own sequence space (20-transport). */
enum wire_class {
    WIRE_CLASS_URGENT = 0,  /* interrupts, invalidations, acks, forwards, grants */
    WIRE_CLASS_REQUEST = 1, /* page requests, remote I/O */
    WIRE_CLASS_DATA = 2,    /* page data */
    WIRE_CLASS_BULK = 3,    /* vCPU state, VM control */
    WIRE_CLASSES = 4,
};

enum wire_payload { WIRE_NONE, WIRE_PAGE, WIRE_BYTES };

/* Whose messages these are, and so their layout and who may send them: the coherence core's, the
 * glue's (through a dataplane's rings), or the clock's and the spans' (between dataplanes only). */
enum wire_family { WIRE_FAMILY_COH, WIRE_FAMILY_GLUE, WIRE_FAMILY_CLOCK, WIRE_FAMILY_SPAN };

/* The list: id, enumerator, name, class, payload, family (COH: struct wire_msg, GLUE: struct
 * wire_glue, CLOCK: struct wire_time, SPAN: struct wire_span). Adding a message is adding a line
 * here (HACKING.md). */
/* clang-format off */
#define WIRE_MSG_LIST(X)                                                                           \
    X(0x01, GETS, "gets", REQUEST, NONE, COH)         /* read copy, requester -> home */           \
    X(0x02, GETM, "getm", REQUEST, NONE, COH)         /* write copy or upgrade, requester -> home */ \
    X(0x03, FWD_GETS, "fwd_gets", URGENT, NONE, COH)  /* home -> owner: send data to requester */  \
    X(0x04, FWD_GETM, "fwd_getm", URGENT, NONE, COH)  /* home -> owner: hand the page over */      \
    X(0x05, INV, "inv", URGENT, NONE, COH)            /* home -> sharer: drop, ack the requester */ \
    X(0x06, INV_ACK, "inv_ack", URGENT, NONE, COH)    /* sharer -> requester */                    \
    X(0x07, GRANT, "grant", URGENT, NONE, COH)        /* home -> requester: no data needed */      \
    X(0x08, DATA, "data", DATA, PAGE, COH)            /* owner -> requester */                     \
    X(0x09, PUTS, "puts", REQUEST, NONE, COH)         /* sharer -> home: I dropped my copy */      \
    X(0x0A, PUTM, "putm", DATA, PAGE, COH)            /* owner, sole copy -> home, with data */    \
    X(0x0B, PUTO, "puto", DATA, PAGE, COH)            /* owner with sharers -> home, with data */  \
    X(0x0C, PUT_ACK, "put_ack", URGENT, NONE, COH)    /* home -> evictor: nothing more will come */ \
    X(0x20, IRQ, "irq", URGENT, NONE, GLUE)           /* interrupt for one vCPU of the receiver */ \
    X(0x21, APIC_SET, "apic_set", URGENT, NONE, GLUE) /* a vCPU's APIC addresses changed */        \
    X(0x22, APIC_ACK, "apic_ack", URGENT, NONE, GLUE) /* the change is in the receiver's table */  \
    X(0x23, IO_EXIT, "io_exit", REQUEST, BYTES, GLUE) /* vCPU home -> VMM: an exit to handle */    \
    X(0x24, IO_DONE, "io_done", REQUEST, BYTES, GLUE) /* VMM -> vCPU home: handled, go on / RUN */ \
    X(0x25, KICK, "kick", URGENT, NONE, GLUE)         /* VMM -> vCPU home: leave KVM_RUN */        \
    X(0x26, VCPU_CMD, "vcpu_cmd", BULK, BYTES, GLUE)  /* VMM -> vCPU home: a vCPU ioctl */         \
    X(0x27, VCPU_REP, "vcpu_rep", BULK, BYTES, GLUE)                                               \
    X(0x28, VM_CMD, "vm_cmd", BULK, BYTES, GLUE)      /* VMM -> every node: a VM-wide change */    \
    X(0x29, VM_REP, "vm_rep", BULK, BYTES, GLUE)                                                   \
    X(0x30, TIME_REQ, "time_req", URGENT, NONE, CLOCK)  /* node -> reference: what is your time? */ \
    X(0x31, TIME_REP, "time_rep", URGENT, BYTES, CLOCK) /* and the cluster clock's line */         \
    X(0x32, SPAN, "span", BULK, BYTES, SPAN) /* when a sampled transaction was here */
/* clang-format on */

/* Kinds from WIRE_KIND_LIMIT on are no dataplane's; 0x40 is an endpoint's (endpoint/endpoint.h). */
#define X(id, ID, name, class, payload, family) WIRE_##ID = (id),
enum wire_kind { WIRE_MSG_LIST(X) WIRE_KIND_LIMIT = 0x40 };
#undef X

struct wire_kind_info {
    const char *name; /* NULL: no such kind */
    uint8_t cls;      /* enum wire_class */
    uint8_t payload;  /* enum wire_payload */
    uint8_t family;   /* enum wire_family */
};

/* Never NULL; .name is NULL for an unknown kind. */
const struct wire_kind_info *wire_kind_info(uint8_t kind);
const char *wire_class_name(unsigned cls);

/* Coherence message. Layout: kind 1 | vm 1 | requester 1 | flags 1 | place 6 | txn 6 | version 6.
 * Place: page in bits 0-35, age in bits 36-47 (GETS, GETM, FWD_GETS, FWD_GETM, INV; reserved in
 * every other kind). Flags: acks in bits 0-5 (GRANT, DATA, FWD_GETM), zero in bit 6 and exclusive
 * in bit 7 (GRANT, DATA, FWD_GETM, INV_ACK); in every other kind they are reserved. */
struct wire_msg {
    uint8_t kind;
    uint8_t vm;        /* virtual machine number within the cluster, 0..255 */
    uint8_t requester; /* node 0..63 for whom this transaction runs */
    uint8_t acks;   /* 0..63: INV_ACKs that the requester has to collect (FWD_GETM, DATA, GRANT) */
    bool zero;      /* GRANT: the page was never written, its content is zero */
    bool exclusive; /* DATA, GRANT: for writing, else for reading; FWD_GETM: the owner's own
                       INV_ACK is among acks, so it sends one after its DATA */
    uint64_t page;  /* coherence unit number, below 2^36 */
    uint64_t txn;   /* requester's transaction id, 1..2^48-1, never reused in an epoch */
    uint64_t version; /* directory's version of the page, below 2^48 */
    uint16_t age;     /* how long a vCPU has been collecting pages (wire_age_ns); 0: none */
};

/* An age on the wire: microseconds as a floating-point number of 12 bits, 5 of them the exponent,
 * so by less than 1 us or 1 % too small; what is longer than 76 hours is said to be that. */
enum { WIRE_AGE_MAX = 0xFFF, WIRE_AGE_MANTISSA = 7 };

static inline uint16_t wire_age(uint64_t ns)
{
    uint64_t us = ns / 1000, one = UINT64_C(1) << WIRE_AGE_MANTISSA;
    if (us < one)
        return (uint16_t)us;
    unsigned shift = bit64_last(us) - WIRE_AGE_MANTISSA;
    uint64_t age = (shift + 1) * one + ((us >> shift) & (one - 1));
    return (uint16_t)min_u64(age, WIRE_AGE_MAX);
}

static inline uint64_t wire_age_ns(uint16_t age)
{
    uint64_t one = UINT64_C(1) << WIRE_AGE_MANTISSA, us = age & (one - 1);
    unsigned exponent = age >> WIRE_AGE_MANTISSA;
    return (exponent == 0 ? us : (one + us) << (exponent - 1)) * 1000;
}

/* Requests, and what they make the home demand of others. */
static inline bool wire_has_age(uint8_t kind)
{
    return kind == WIRE_GETS || kind == WIRE_GETM || kind == WIRE_FWD_GETS ||
           kind == WIRE_FWD_GETM || kind == WIRE_INV;
}

/* Glue message. Layout: kind 1 | vm 1 | chan 2 | op 2 | seq 4 | arg 8 | reserved 4. */
struct wire_glue {
    uint8_t kind;
    uint8_t vm;
    uint16_t chan; /* vCPU number at the destination, or WIRE_CHAN_VM */
    uint16_t op;   /* meaning by kind: hypervisor-glue/link/glue_abi.h */
    uint32_t seq;  /* echoed in a reply */
    uint64_t arg;
};

/* Clock message (dataplane/clock/clock.h). Layout: kind 1 | vm 1 | seq 4 | khz 4 | rate 4 | stamp
 * 8; a TIME_REP's payload: received 8 | base_ref 8 | base_c 8 | generation 4 | reserved 4. */
struct wire_time {
    uint8_t kind;
    uint8_t vm;
    uint32_t seq; /* echoed in the answer */
    uint32_t khz; /* nominal TSC frequency of the sender, not 0 */
    int32_t rate; /* TIME_REQ: of the sender's TSC against the reference's; TIME_REP: rho. 2^-32 */
    uint64_t stamp;    /* sender's TSC when it sent: t1 or t3 */
    uint64_t received; /* TIME_REP, as the following: t2 */
    uint64_t base_ref, base_c;
    uint32_t generation;
};

/* Stamps of one sampled transaction (dataplane/span/span.h), to the node that it runs for. Layout:
 * kind 1 | vm 1 | what 1 | flags 1 | chan 2 | points 2 | error 4 | id 8 | reserved 2; payload: for
 * each bit of points, ascending, the stamp of that point, 8 bytes. */
struct wire_span {
    uint8_t kind;
    uint8_t vm;
    uint8_t what;    /* 0..2: enum span_what */
    uint8_t flags;   /* WIRE_SPAN_* */
    uint16_t chan;   /* vCPU; WIRE_CHAN_VM: none */
    uint16_t points; /* 1..WIRE_SPAN_STAMPS bits */
    uint32_t error;  /* bound of the sender's clock, ticks */
    uint64_t id;     /* not 0 */
    uint64_t
        stamp[WIRE_SPAN_STAMPS]; /* cluster clock, not decreasing; as many as points has bits */
};
/* Flags: a frame of it was sent again; it ends here without its last point (an interrupt that met
 * another one of its vector). */
enum { WIRE_SPAN_AGAIN = 1, WIRE_SPAN_MERGED = 2, WIRE_SPAN_FLAGS = 3, WIRE_SPAN_WHATS = 3 };

enum wire_error {
    WIRE_OK = 0,
    WIRE_E_SHORT,    /* fewer bytes than the header needs */
    WIRE_E_LENGTH,   /* length field and bytes disagree, or payload not as the kind says */
    WIRE_E_KIND,     /* unknown kind, or of the other family */
    WIRE_E_CLASS,    /* kind travelled in a class that is not its own */
    WIRE_E_RESERVED, /* reserved bits set */
    WIRE_E_RANGE,    /* a field out of its range */
    WIRE_E_VERSION,  /* RRDP header of another version */
    WIRE_E_CLUSTER,  /* RRDP header of another cluster */
    WIRE_E_CRC,
    WIRE_ERRORS,
};
const char *wire_error_name(enum wire_error e);

/* Packs into exactly WIRE_MSG_HEADER bytes; fields must be in range (checked). */
void wire_msg_pack(const struct wire_msg *m, uint8_t out[WIRE_MSG_HEADER]);
void wire_glue_pack(const struct wire_glue *m, uint8_t out[WIRE_MSG_HEADER]);
/* With its payload; returns the length. */
size_t wire_time_pack(const struct wire_time *m, uint8_t out[WIRE_TIME_MAX]);
size_t wire_span_pack(const struct wire_span *m, uint8_t out[WIRE_SPAN_MAX]);

/* Unpacks and validates a header of len bytes that arrived in class cls followed by payload_len
 * payload bytes. On WIRE_OK, *out is complete and in range. */
enum wire_error wire_msg_unpack(const uint8_t *in, size_t len, unsigned cls, size_t payload_len,
                                struct wire_msg *out);
enum wire_error wire_glue_unpack(const uint8_t *in, size_t len, unsigned cls, size_t payload_len,
                                 struct wire_glue *out);
enum wire_error wire_time_unpack(const uint8_t *in, size_t len, unsigned cls,
                                 const uint8_t *payload, size_t payload_len, struct wire_time *out);
enum wire_error wire_span_unpack(const uint8_t *in, size_t len, unsigned cls,
                                 const uint8_t *payload, size_t payload_len, struct wire_span *out);

/* One line for a trace: "getm p=0x12 r=1 txn=7 v=3"; always terminated; returns its length. */
size_t wire_msg_print(const struct wire_msg *m, char *buf, size_t size);
size_t wire_glue_print(const struct wire_glue *m, char *buf, size_t size);
size_t wire_time_print(const struct wire_time *m, char *buf, size_t size);
size_t wire_span_print(const struct wire_span *m, char *buf, size_t size);

/*
 * RRDP header, 24 bytes, then an EACK bitmap or a part's place, or neither:
 *   0  version:2 (bits 0-1) | SYN 2 | ACK 3 | EACK 4 | RST 5 | NUL 6 | AEAD 7 (reserved, 0)
 *   1  header length in 4-byte words:5 (6; 7: a part; 8: EACK) | FIRST 5 | LAST 6 | reserved 7
 *   2  source node   3  destination node
 *   4  class:2 (bits 0-1) | data length:14 (16 bits in all)
 *   6  credit: frames that the sender of this header will still take, beyond ack, in this class
 *   7  cluster tag: low 8 bits of the cluster id (all 64 are in the SYN and the connection tag)
 *   8  sequence number, low 32 bits of the 64-bit logical one   12  acknowledgement, likewise
 *  16  connection tag: hash of cluster id and both epochs; in a SYN: of the cluster id only
 *  20  CRC32C over the whole frame after the Ethernet header, this field taken as 0
 *  24  EACK bitmap, 8 bytes, if EACK: bit i = frame (ack + 1 + i) is here already
 *  24  of a part: where its bytes begin in the frame's segment bytes, 2 | how many the frame has, 2
 * A SYN's segment bytes are struct rrdp_syn's (transport/rrdp.h).
 *
 * SYN and NUL together: HOST-PING, a header alone that belongs to no connection. With ACK it is the
 * answer, to whoever asked. Class 0; credit 0, in the answer who gave it (enum wire_ping_by);
 * sequence number: the asker's id, acknowledgement number: the asker's time stamp, both sent back;
 * tag as in a SYN. The kernel may answer it (XDP), for a process that does not run.
 *
 * A part is a piece of a frame that is too long for the path, and has the frame's sequence number
 * and FIRST and LAST. It has bytes, but not all of the frame's. Which pieces: transport/rrdp.h.
 *
 * Destination WIRE_DST_GROUP: a group frame, one class-0 message for several nodes at once. Segment
 * bytes: members 8, a bit for each node | for each of them, ascending: sequence number 4,
 * connection tag 4 | the message, WIRE_MSG_HEADER..WIRE_GROUP_MSG_MAX bytes. FIRST and LAST, no
 * other flag; sequence, acknowledgement and credit 0; tag as in a SYN. For a member it is a frame
 * with its own sequence number and tag that acknowledges nothing.
 */
enum wire_ping_by { WIRE_PING_BY_KERNEL = 1, WIRE_PING_BY_PROCESS = 2 };

enum {
    WIRE_RRDP_HEADER = 24,
    WIRE_RRDP_HEADER_PART = 28,
    WIRE_RRDP_HEADER_MAX = 32,
    WIRE_RRDP_CRC_OFFSET = 20,
    WIRE_RRDP_DATA_MAX = 8960, /* segment bytes at MTU 9000 */
    WIRE_DST_GROUP = 0xFF,
    WIRE_GROUP_MSG_MAX = 64,
    WIRE_GROUP_MAX = 8 + 8 * WIRE_NODES_MAX + WIRE_GROUP_MSG_MAX, /* segment bytes */
};

struct wire_rrdp {
    bool syn, ack_valid, eack, rst, nul, first, last, part;
    uint8_t src, dst;
    uint8_t cls;
    uint8_t credit;
    uint8_t cluster_tag;
    uint16_t data_len;
    uint16_t part_at, part_of; /* meaningful if part */
    uint32_t seq, ack, tag;
    uint64_t eack_bits; /* meaningful if eack */
};

/* Of a packed header: the frame has the first bytes of a message. */
static inline bool wire_rrdp_begins(const uint8_t *header)
{
    return (header[1] & 1 << 5) != 0;
}

static inline bool wire_rrdp_is_ping(const struct wire_rrdp *h)
{
    return h->syn && h->nul;
}

/* Of a whole frame (its CRC was right) of another version: the fields that every version has in the
 * same place, which are the flags SYN and ACK, source, destination, cluster tag, and the connection
 * tag. */
void wire_rrdp_read_common(const uint8_t *frame, struct wire_rrdp *out);

/* Packs header (and bitmap, or part) with CRC field 0; returns its length, 24, 28 or 32. */
size_t wire_rrdp_pack(const struct wire_rrdp *h, uint8_t out[WIRE_RRDP_HEADER_MAX]);

/* Stores the CRC over the complete frame (header, bitmap, data; without Ethernet). */
void wire_rrdp_seal(uint8_t *frame, size_t len);
/* The same for a frame that is not in one piece: head_len bytes at head, at least the header, then
 * ext_len bytes at ext, which may lie anywhere (guest memory). */
void wire_rrdp_seal_parts(uint8_t *head, size_t head_len, const void *ext, size_t ext_len);
/* The same, and copies the ext bytes to `to`, which overlaps neither. They must not change
 * meanwhile: the frame would be refused as a damaged one is. Faster than the copy and then the
 * seal, where the lines of `to` have to come from another CPU (a ring). */
void wire_rrdp_seal_copy(uint8_t *head, size_t head_len, void *to, const void *ext, size_t ext_len);

/* Validates and unpacks. Order of checks: short, length, cluster tag, CRC, version (so that is of a
 * whole frame of another version, not of a damaged one), reserved,
 * ranges (addresses; flags that exclude each other: a SYN with RST or EACK, a SYN with NUL that is
 * more than a HOST-PING, a group frame with other flags or fields, data with RST or NUL, FIRST or
 * LAST without data, data or EACK without ACK, a part that is none, nothing at all). A frame may be
 * longer than header + data (Ethernet pads to 60 bytes): the tail is not covered by the CRC and not
 * looked at. On WIRE_OK *data points into frame; else *out and *data mean nothing. */
enum wire_error wire_rrdp_unpack(const uint8_t *frame, size_t len, uint8_t cluster_tag,
                                 struct wire_rrdp *out, const uint8_t **data);
/* The same for a frame that came in two pieces: ext_len bytes at ext, which may lie anywhere,
 * follow what is at frame, which has all of the header. Not padded: WIRE_E_LENGTH if the two are
 * not exactly header and data. */
enum wire_error wire_rrdp_unpack_parts(const uint8_t *frame, size_t len, const void *ext,
                                       size_t ext_len, uint8_t cluster_tag, struct wire_rrdp *out,
                                       const uint8_t **data);

/* The segment bytes of a group frame; msg_len is 22..WIRE_GROUP_MSG_MAX. Returns their length. */
struct wire_group {
    uint64_t members;
    uint32_t seq[WIRE_NODES_MAX], tag[WIRE_NODES_MAX]; /* by node number; those of members */
};
size_t wire_group_pack(const struct wire_group *g, const uint8_t *msg, size_t msg_len,
                       uint8_t out[WIRE_GROUP_MAX]);

/* Bytes of it before the message: 8, and 8 a member. */
static inline uint32_t wire_group_head(uint64_t members)
{
    return 8 + 8 * (uint32_t)bit64_count(members);
}

/* Finds what a group frame, unpacked before, says to node self. WIRE_OK: *h is as if it were a
 * frame for self, with *data its message; WIRE_E_RANGE: self is not a member; WIRE_E_LENGTH:
 * malformed. */
enum wire_error wire_group_open(struct wire_rrdp *h, uint8_t self, const uint8_t **data);

#endif
