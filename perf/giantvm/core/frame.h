/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of the GiantVM-style baseline on a TCP connection. PURE.
 *
 * A message of the protocol has the length that each of GiantVM's has, whatever it carries: 4,110
 * bytes, a header of 14 and 4,096 of payload (../README.md says what GiantVM's bytes are). Ours:
 *
 *   0  kind (wire.h's) 1   1  requester, bits 0-3; exclusive, bit 7   2  copyset 2
 *   4  version 2           6  page 4                                 10  transaction 4
 *  14  DATA: the page. Other kinds: zeros, which nobody looks at
 *
 * The guest's interrupts and I/O, and the clock's messages, are as long as they need to be: kind 1
 * | 0 1 | payload length 2 | header of wire.h 22 | payload. HELLO opens a connection; BYE (the VM
 * has ended) and STOP (it cannot go on) end it: kind and a zero.
 *
 * Integers are little-endian. What comes from a peer is validated here, once: a peer whose bytes
 * are refused is lost, for there is no next message to find in its stream.
 */
#ifndef PANDO_GIANTVM_FRAME_H
#define PANDO_GIANTVM_FRAME_H

#include "dataplane/wire/wire.h"

enum {
    FRAME_DSM_HEADER = 14,
    FRAME_DSM = FRAME_DSM_HEADER + WIRE_PAGE_SIZE, /* 4110 */
    FRAME_OTHER_HEADER = 4,
    FRAME_MAX = FRAME_OTHER_HEADER + WIRE_MSG_MAX,
    FRAME_HELLO_LEN = 28,
    FRAME_END_LEN = 2,
    FRAME_REVISION = 1,
    FRAME_NODES_MAX = 16,

    FRAME_HELLO = 0x70, /* behind the kinds of wire.h and of endpoints */
    FRAME_BYE = 0x71,
    FRAME_STOP = 0x72,
};

#define FRAME_PAGES_MAX (UINT64_C(1) << 32)

/* kind 1 | revision 1 | node 1 | nodes 1 | cluster id 8 | configuration hash 8 | boot 8 */
struct frame_hello {
    uint8_t revision, node, nodes;
    uint64_t cluster_id, config_hash, boot;
};

/* Length of the frame that begins with these len bytes: 0 if they do not say yet, -1 if no frame
 * begins so. */
int64_t frame_length(const uint8_t *in, size_t len);

/* Header of a message of the protocol; the payload follows it. Fields must be in range (checked):
 * kinds GETS, GETM, DATA, INV, INV_ACK; requester below FRAME_NODES_MAX; page below
 * FRAME_PAGES_MAX; txn below 2^32; of version the low 16 bits travel. */
void frame_pack(const struct wire_msg *m, uint8_t out[FRAME_DSM_HEADER]);

/* WIRE_OK: *out is complete; vm is 0. nodes, pages: of this cluster. */
enum wire_error frame_unpack(const uint8_t in[FRAME_DSM_HEADER], uint8_t nodes, uint64_t pages,
                             struct wire_msg *out);

void frame_pack_other(uint16_t payload_len, const uint8_t header[WIRE_MSG_HEADER],
                      uint8_t out[FRAME_OTHER_HEADER + WIRE_MSG_HEADER]);
static inline uint16_t frame_payload_len(const uint8_t *in)
{
    return get_le16(in + 2);
}

void frame_pack_hello(const struct frame_hello *h, uint8_t out[FRAME_HELLO_LEN]);
void frame_unpack_hello(const uint8_t in[FRAME_HELLO_LEN], struct frame_hello *out);

#endif
