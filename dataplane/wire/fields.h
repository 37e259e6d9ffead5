/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each field lies on the wire: one list a layout, for programs that read what others sent,
 * such as the Wireshark dissector (perf/wireshark), which is made of them. PURE.
 *
 * A line is X(role, name, first bit, bits, show, text). Bit n is bit n % 8 of byte n / 8; all
 * integers are little-endian, so a field is its bytes as one number, shifted and masked. Together
 * the lines of a layout cover each bit of it once. Roles:
 *
 *   MEMBER    of the struct that the layout is packed from, by this name
 *   MADE      by the packer itself: version, lengths, CRC
 *   RESERVED  sent 0, refused otherwise
 *
 * The packers (wire.c, transport/setup.c) are written out by hand, for they are on the fast path.
 * tests/unit/test_wire_fields.c sets one member at a time and sees that just these bits move, and
 * that all of them do; a layout that is changed in one place only fails there.
 */
#ifndef PANDO_WIRE_FIELDS_H
#define PANDO_WIRE_FIELDS_H

#include "dataplane/wire/wire.h"

/* How people read it. KIND: enum wire_kind; CHAN: WIRE_CHAN_VM has a name; NODES: a bit each. */
enum wire_show {
    WIRE_SHOW_DEC,
    WIRE_SHOW_HEX,
    WIRE_SHOW_FLAG,
    WIRE_SHOW_SIGNED,
    WIRE_SHOW_KIND,
    WIRE_SHOW_CLASS,
    WIRE_SHOW_CHAN,
    WIRE_SHOW_NODES,
};

/* clang-format off */
#define WIRE_RRDP_FIELDS(X) \
    X(MADE, version, 0, 2, DEC, "version of the header") \
    X(MEMBER, syn, 2, 1, FLAG, "SYN: set-up, or HOST-PING with NUL") \
    X(MEMBER, ack_valid, 3, 1, FLAG, "ACK: the acknowledgement is valid") \
    X(MEMBER, eack, 4, 1, FLAG, "EACK: a bitmap of frames out of order follows") \
    X(MEMBER, rst, 5, 1, FLAG, "RST: the connection ends") \
    X(MEMBER, nul, 6, 1, FLAG, "NUL: heartbeat") \
    X(RESERVED, aead, 7, 1, FLAG, "AEAD (reserved)") \
    X(MADE, words, 8, 5, DEC, "length of the header, in 4-byte words") \
    X(MEMBER, first, 13, 1, FLAG, "FIRST: a message begins") \
    X(MEMBER, last, 14, 1, FLAG, "LAST: a message ends") \
    X(RESERVED, reserved, 15, 1, FLAG, "reserved") \
    X(MEMBER, src, 16, 8, DEC, "source node") \
    X(MEMBER, dst, 24, 8, DEC, "destination node (255: a group)") \
    X(MEMBER, cls, 32, 2, CLASS, "class") \
    X(MEMBER, data_len, 34, 14, DEC, "bytes of the segment") \
    X(MEMBER, credit, 48, 8, DEC, "credit: frames that the sender will still take") \
    X(MEMBER, cluster_tag, 56, 8, HEX, "cluster tag") \
    X(MEMBER, seq, 64, 32, DEC, "sequence number") \
    X(MEMBER, ack, 96, 32, DEC, "acknowledgement number") \
    X(MEMBER, tag, 128, 32, HEX, "connection tag") \
    X(MADE, crc, 160, 32, HEX, "CRC32C")

#define WIRE_EACK_FIELDS(X) \
    X(MEMBER, eack_bits, 0, 64, HEX, "bit i: frame (acknowledgement + 1 + i) is here already")

#define WIRE_PART_FIELDS(X) \
    X(MEMBER, part_at, 0, 16, DEC, "where the part begins in its frame's segment") \
    X(MEMBER, part_of, 16, 16, DEC, "bytes of the whole segment")

#define WIRE_SYN_FIELDS(X) /* struct rrdp_syn */ \
    X(MEMBER, revision, 0, 16, DEC, "wire revision") \
    X(MEMBER, nodes, 16, 8, DEC, "nodes of the cluster") \
    X(MEMBER, credit, 24, 8, DEC, "frames a class that the sender takes") \
    X(MEMBER, mtu, 32, 16, DEC, "MTU") \
    X(MEMBER, heard, 48, 16, DEC, "bytes of the SYN that this one answers (path MTU)") \
    X(MEMBER, cluster_id, 64, 64, HEX, "cluster id") \
    X(MEMBER, epoch, 128, 64, DEC, "epoch of the sender") \
    X(MEMBER, echo_epoch, 192, 64, DEC, "epoch of the receiver (0: not known)") \
    X(MEMBER, config_hash, 256, 64, HEX, "hash of the configuration") \
    X(RESERVED, reserved, 320, 64, HEX, "reserved")

#define WIRE_GROUP_FIELDS(X) /* struct wire_group, before its entries */ \
    X(MEMBER, members, 0, 64, NODES, "members")

#define WIRE_ENTRY_FIELDS(X) /* of each member */ \
    X(MEMBER, seq, 0, 32, DEC, "sequence number for a member") \
    X(MEMBER, tag, 32, 32, HEX, "connection tag of a member")

#define WIRE_MSG_FIELDS(X) /* all families */ \
    X(MEMBER, kind, 0, 8, KIND, "kind") \
    X(MEMBER, vm, 8, 8, DEC, "virtual machine")

#define WIRE_COH_FIELDS(X) /* struct wire_msg */ \
    X(MEMBER, requester, 16, 8, DEC, "requester (node)") \
    X(MEMBER, acks, 24, 6, DEC, "invalidation acknowledgements that the requester collects") \
    X(MEMBER, zero, 30, 1, FLAG, "zero: the page was never written") \
    X(MEMBER, exclusive, 31, 1, FLAG, "exclusive: for writing") \
    X(MEMBER, page, 32, 36, HEX, "page") \
    X(MEMBER, age, 68, 12, DEC, "age: how long the vCPU has been collecting (float)") \
    X(MEMBER, txn, 80, 48, DEC, "transaction of the requester") \
    X(MEMBER, version, 128, 48, DEC, "the directory's version of the page")

#define WIRE_GLUE_FIELDS(X) /* struct wire_glue */ \
    X(MEMBER, chan, 16, 16, CHAN, "channel: vCPU at the destination") \
    X(MEMBER, op, 32, 16, DEC, "operation") \
    X(MEMBER, seq, 48, 32, DEC, "sequence number of the sender's") \
    X(MEMBER, arg, 80, 64, HEX, "argument") \
    X(RESERVED, reserved, 144, 32, HEX, "reserved")

#define WIRE_CLOCK_FIELDS(X) /* struct wire_time */ \
    X(MEMBER, seq, 16, 32, DEC, "sequence number, echoed") \
    X(MEMBER, khz, 48, 32, DEC, "nominal TSC frequency of the sender, kHz") \
    X(MEMBER, rate, 80, 32, SIGNED, "rate, 2^-32") \
    X(MEMBER, stamp, 112, 64, HEX, "sender's TSC when it sent")

#define WIRE_TIME_REP_FIELDS(X) /* ... and the payload of a time_rep */ \
    X(MEMBER, received, 0, 64, HEX, "TSC when the request came") \
    X(MEMBER, base_ref, 64, 64, HEX, "line: TSC of the reference") \
    X(MEMBER, base_c, 128, 64, HEX, "line: cluster clock") \
    X(MEMBER, generation, 192, 32, DEC, "line: generation") \
    X(RESERVED, reserved, 224, 32, HEX, "reserved")

#define WIRE_SPAN_FIELDS(X) /* struct wire_span */ \
    X(MEMBER, what, 16, 8, DEC, "what it is of: 0 fault, 1 interrupt, 2 exit") \
    X(MEMBER, flags, 24, 8, HEX, "1: a frame was sent again, 2: merged") \
    X(MEMBER, chan, 32, 16, CHAN, "vCPU") \
    X(MEMBER, points, 48, 16, HEX, "points that are stamped, a bit each") \
    X(MEMBER, error, 64, 32, DEC, "bound of the sender's clock, ticks") \
    X(MEMBER, id, 96, 64, DEC, "transaction, or number of the interrupt or exit") \
    X(RESERVED, reserved, 160, 16, HEX, "reserved")

#define WIRE_STAMP_FIELDS(X) /* ... and of its payload, for each point */ \
    X(MEMBER, stamp, 0, 64, HEX, "cluster clock at the point")

/* id, name, first byte (of a message's or a segment's layouts), bytes */
#define WIRE_LAYOUT_LIST(X) \
    X(RRDP, "rrdp", 0, WIRE_RRDP_HEADER) \
    X(EACK, "eack", 0, WIRE_RRDP_HEADER_MAX - WIRE_RRDP_HEADER) \
    X(PART, "part", 0, WIRE_RRDP_HEADER_PART - WIRE_RRDP_HEADER) \
    X(SYN, "syn", 0, 48) \
    X(GROUP, "group", 0, 8) \
    X(ENTRY, "entry", 0, 8) \
    X(MSG, "msg", 0, 2) \
    X(COH, "coh", 2, WIRE_MSG_HEADER) \
    X(GLUE, "glue", 2, WIRE_MSG_HEADER) \
    X(CLOCK, "clock", 2, WIRE_MSG_HEADER) \
    X(TIME_REP, "time_rep", 0, WIRE_TIME_BYTES) \
    X(SPAN, "span", 2, WIRE_MSG_HEADER) \
    X(STAMP, "stamp", 0, 8)

/* family, its layout behind MSG, the layout of its payload where that has one (repeated until the
 * payload's end), else NONE. A new family: a line here, its layouts above. */
#define WIRE_FAMILY_LIST(X) \
    X(COH, COH, NONE) \
    X(GLUE, GLUE, NONE) \
    X(CLOCK, CLOCK, TIME_REP) \
    X(SPAN, SPAN, STAMP)
/* clang-format on */

#define X(ID, name, from, end) WIRE_LAYOUT_##ID,
enum wire_layout_id { WIRE_LAYOUT_LIST(X) WIRE_LAYOUTS, WIRE_LAYOUT_NONE = WIRE_LAYOUTS };
#undef X

enum wire_role { WIRE_ROLE_MEMBER, WIRE_ROLE_MADE, WIRE_ROLE_RESERVED };

struct wire_field {
    const char *name, *text;
    uint16_t at;  /* first bit */
    uint8_t bits; /* 1..64; in at most 8 bytes */
    uint8_t show; /* enum wire_show */
    uint8_t role; /* enum wire_role */
};

struct wire_layout {
    const char *name;
    uint16_t from, end; /* bytes that its fields cover */
    uint16_t fields;
    const struct wire_field *field;
};

/* NULL: no such layout (WIRE_LAYOUT_NONE). */
const struct wire_layout *wire_layout(enum wire_layout_id id);

struct wire_family_info {
    const char *name;
    enum wire_layout_id header, payload;
};
/* By enum wire_family; *ret_n of them. */
const struct wire_family_info *wire_families(unsigned *ret_n);

/* The field's value in a layout's bytes (from byte 0 of the message or segment on). */
uint64_t wire_field_get(const struct wire_field *f, const uint8_t *bytes);

#endif
