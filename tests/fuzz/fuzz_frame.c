/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what a peer can send: node 0 and node 1 of RRDP are connected, then the input is a list of
 * records  op 1 | length 2 | bytes:
 *   0  a frame for node 0 as it is
 *   1  the same, with version, cluster, tag, addresses and CRC made good, so that it gets through
 *   2  the same, and sequence and acknowledgement numbers are relative to the live connection
 *   3  node 0 queues messages, or asks for node 1's host      4  the nodes talk to each other 5
 * time passes After each record the invariants of both nodes are checked. The top bit of op: the
 * second half of the frame lies elsewhere.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/transport/rrdp.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum { MTU = 1500, CLUSTER = 0x88, RECORDS = 64 };

static struct rrdp *node[2];
static uint64_t now;
static uint32_t tag, seq[WIRE_CLASSES], ack[WIRE_CLASSES]; /* of node 1's latest frames */
static volatile uint8_t sink;
static bool halved; /* frames come in two pieces */

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static const struct rrdp_mac mac[2] = {{{2, 0, 0, 0, 0, 0}}, {{2, 0, 0, 0, 0, 1}}};

static void start(void)
{
    static void *mem[2];
    now = 1000 * MS;
    for (uint8_t n = 0; n < 2; n++) {
        struct rrdp_config c = {
            .self = n,
            .nodes = 2,
            .cluster_id = CLUSTER,
            .epoch = 1000u + n,
            .config_hash = 7,
            .mtu = MTU,
            .credit = RRDP_WINDOW,
            .rto_min_ns = 200 * US,
            .rto_max_ns = 10 * MS,
            .ack_delay_ns = 20 * US,
            .heartbeat_ns = 10 * MS,
            .dead_ns = 100 * MS,
            .syn_ns = 5 * MS,
        };
        size_t bytes = rrdp_size(&c);
        if (mem[n] == NULL)
            mem[n] = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        node[n] = rrdp_init(mem[n], &c, now);
        if (node[n] == NULL)
            abort();
    }
}

static void receive(uint8_t to, const uint8_t *frame, size_t len)
{
    static struct rrdp_segments out;
    /* Exact copies, so that the sanitizer sees each byte read beyond the frame. */
    size_t head = halved ? len - len / 2 : len;
    uint8_t *copy = malloc(head), *rest = malloc(len - head);
    if (copy == NULL || rest == NULL)
        abort();
    if (len > 0) {
        memcpy(copy, frame, head);
        memcpy(rest, frame + head, len - head);
    }
    rrdp_receive_parts(node[to], now, mac[!to], copy, head, rest, len - head, &out);
    for (uint32_t i = 0; i < out.n; i++)
        for (uint32_t k = 0; k < out.seg[i].len; k++)
            sink = (uint8_t)(sink ^ out.seg[i].data[k]);
    free(copy);
    free(rest);
}

static void talk(uint8_t from)
{
    struct rrdp_frame f;
    struct rrdp_event e;
    uint8_t bytes[MTU + 64];
    if (rrdp_deadline(node[from]) <= now)
        rrdp_tick(node[from], now);
    while (rrdp_event(node[from], &e))
        ;
    for (int n = 0; n < 100 && rrdp_transmit(node[from], now, &f); n++) {
        size_t len = f.header_len;
        memcpy(bytes, f.header, len);
        if (f.inline_len > 0)
            memcpy(bytes + len, f.inline_data, f.inline_len);
        len += f.inline_len;
        memset(bytes + len, 0x33, f.payload_len);
        len += f.payload_len;
        wire_rrdp_seal(bytes, len);
        len = rrdp_frame_pad(&f, bytes, (uint32_t)len);
        if (from == 1 && !(bytes[0] & 4)) {
            tag = get_le32(bytes + 16);
            seq[bytes[4] & 3] = get_le32(bytes + 8);
            ack[bytes[4] & 3] = get_le32(bytes + 12);
        }
        receive(!from, bytes, len);
    }
}

/* A group frame whose entry of node 0 fits the connection; the rest is as it comes. */
static void forged_group(uint8_t *b, size_t len)
{
    b[0] = WIRE_VERSION;
    b[1] = 6 | 0x60; /* FIRST and LAST */
    b[2] = 1;
    b[7] = CLUSTER;
    put_le16(b + 4, (uint16_t)((len - WIRE_RRDP_HEADER) << 2));
    b[6] = 0;
    memset(b + 8, 0, 8);
    if (len >= WIRE_RRDP_HEADER + 16) {
        b[WIRE_RRDP_HEADER] |= 1;
        put_le32(b + WIRE_RRDP_HEADER + 8, seq[0] + b[WIRE_RRDP_HEADER + 8] % 80u - 8);
        put_le32(b + WIRE_RRDP_HEADER + 12, tag);
    }
    wire_rrdp_seal(b, len);
    receive(0, b, len);
}

/* A part that an honest peer could send, of a frame that is nowhere else; returns the length. */
static size_t forged_part(uint8_t *b)
{
    uint16_t of = (uint16_t)(RRDP_PART + 1 + b[26] % 60), at = b[24] & 1 ? RRDP_PART : 0;
    uint16_t n = (uint16_t)(at != 0 ? of - RRDP_PART : RRDP_PART);
    put_le16(b + WIRE_RRDP_HEADER, at);
    put_le16(b + WIRE_RRDP_HEADER + 2, of);
    memset(b + WIRE_RRDP_HEADER_PART, 0x44, n);
    return (size_t)WIRE_RRDP_HEADER_PART + n;
}

static void forged(uint8_t op, const uint8_t *data, size_t len)
{
    uint8_t b[MTU + 600];
    if (len < WIRE_RRDP_HEADER || len > sizeof(b)) {
        receive(0, data, len);
        return;
    }
    memcpy(b, data, len);
    if (b[3] == WIRE_DST_GROUP) {
        forged_group(b, len);
        return;
    }
    b[0] = (uint8_t)((b[0] & 0x7C) | WIRE_VERSION);
    b[1] = (uint8_t)((b[1] & 0x60) | (b[0] & 0x10 ? 8 : b[1] & 1 ? 7 : 6));
    b[2] = 1;
    b[3] = 0;
    b[7] = CLUSTER;
    size_t header = (b[1] & 0x1Fu) * 4;
    if (len < header)
        return;
    if (header == WIRE_RRDP_HEADER_PART && b[27] & 1)
        len = forged_part(b);
    put_le16(b + 4, (uint16_t)((b[4] & 3) | (len - header) << 2));
    if (!(b[0] & 4))
        put_le32(b + 16, tag);
    if (op == 2) {
        put_le32(b + 8, seq[b[4] & 3] + b[8] % 80u - 8);
        put_le32(b + 12, ack[b[4] & 3] + b[12] % 80u - 8);
    }
    wire_rrdp_seal(b, len);
    receive(0, b, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static const uint8_t head[WIRE_MSG_HEADER] = {1};
    start();
    halved = false;
    for (int i = 0; i < 3; i++) {
        talk(0);
        talk(1);
    }
    for (unsigned k = 0; k < WIRE_CLASSES; k++) { /* numbers of each class become known */
        (void)rrdp_send(node[1], 0, (uint8_t)k, head, sizeof(head), 0, 0, true, k);
        talk(1);
    }
    for (int n = 0; n < RECORDS && size >= 3; n++) {
        uint8_t op = (in[0] & 0x7F) % 6;
        halved = (in[0] & 0x80) != 0;
        size_t len = min_u64(get_le16(in + 1), size - 3);
        const uint8_t *data = in + 3;
        in += 3 + len;
        size -= 3 + len;
        if (op == 0)
            receive(0, data, len);
        else if (op <= 2)
            forged(op, data, len);
        else if (op == 3 && len == 0)
            (void)rrdp_host_ping(node[0], 1, (uint32_t)n, (uint32_t)now);
        else if (op == 3)
            for (size_t k = 0; k < len && k < 40; k++)
                (void)rrdp_send(node[0], 1, data[k] & 3, head, sizeof(head), k,
                                (data[k] & 3) ? (data[k] & 0xFCu) * 64 : 0, true, k);
        else if (op == 4)
            for (unsigned k = 0; k < 2; k++)
                talk(k & 1);
        else
            now += len > 0 ? data[0] * 100 * US : 30 * US;
        rrdp_check(node[0]);
        rrdp_check(node[1]);
    }
    return 0;
}
