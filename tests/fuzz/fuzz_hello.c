/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes hellos between RDMA ports and what they make one of them do: operations, each op 1 | rest.
 * Op 0 is a hello: blocks 1 | its fields from `phase` on; what only a CRC and the right addressee
 * would have to be is made right. Others are events. What is accepted is what was written, lies in
 * its ranges, and the order of actions is what rdma.h promises.
 */
#include <stdint.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/rdma/rdma.h"

enum { SELF = 0, PEER = 1, NODES = 2, CLUSTER = 5, AT_FIELDS = 24 };
#define MS UINT64_C(1000000)

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t byte_of(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

struct node {
    struct rdma_config cfg;
    struct rdma_peer peer;
    uint64_t now;
    uint32_t made, number,
        connected; /* of the queue pair that there is; whether it was connected */
    bool failed;
};

static void perform(struct node *n, unsigned todo);

static void event(struct node *n, const struct rdma_event *ev)
{
    perform(n, rdma_step(&n->cfg, &n->peer, n->now, ev));
}

static void perform(struct node *n, unsigned todo)
{
    PANDO_CHECK(todo >> RDMA_ACTIONS == 0);
    if (todo & RDMA_DO_END) {
        PANDO_CHECK(n->number != 0);
        n->number = n->connected = 0;
    }
    if (todo & RDMA_DO_MAKE) {
        PANDO_CHECK(n->number == 0 && !n->failed);
        n->number = ++n->made;
        event(n, &(struct rdma_event){
                     .type = RDMA_EVENT_MADE, .number = n->number, .packet = n->number});
    }
    if (todo & RDMA_DO_CONNECT) {
        PANDO_CHECK(n->number != 0 && !n->connected);
        PANDO_CHECK(n->peer.theirs.heard_epoch == n->cfg.epoch && n->peer.theirs.number != 0);
        n->connected = 1;
    }
    PANDO_CHECK(!(todo & RDMA_DO_PROBE) || n->connected);
    n->failed |= (todo & RDMA_DO_FAIL) != 0;
    PANDO_CHECK(n->peer.number == n->number && n->failed == (n->peer.state == RDMA_FAILED));
    PANDO_CHECK(n->connected == (n->peer.state == RDMA_READY || n->peer.state == RDMA_UP));
}

static void look_at(const struct rdma_hello *h, const uint8_t *bytes, size_t len)
{
    uint8_t again[RDMA_HELLO_MAX];
    struct rdma_place at;
    uint8_t block;
    uint64_t page;
    PANDO_CHECK(rdma_hello_write(h, again) == len && memcmp(again, bytes, len) == 0);
    for (uint8_t i = 0; i < h->blocks; i++) {
        const struct rdma_block *b = &h->block[i];
        uint64_t last = b->base_page + b->pages - 1;
        PANDO_CHECK(rdma_place_of(h, last, &at) && at.key == b->key);
        PANDO_CHECK(at.address == b->address + (b->pages - 1) * WIRE_PAGE_SIZE);
        PANDO_CHECK(rdma_place_read(h->block, h->blocks, at.immediate, &block, &page));
        PANDO_CHECK(block == i && page == b->pages - 1);
    }
}

static void hello(struct node *n, struct input *in)
{
    uint8_t bytes[RDMA_HELLO_MAX] = {'P', 'D', 'R', 'V', RDMA_REVISION}, blocks = byte_of(in) % 10;
    size_t len = RDMA_HELLO_BYTES + (size_t)(blocks % (RDMA_BLOCKS + 1)) * RDMA_BLOCK_BYTES;
    struct rdma_hello h;
    put_le16(bytes + 6, (uint16_t)len);
    bytes[12] = PEER;
    bytes[14] = byte_of(in);
    bytes[15] = blocks;
    put_le64(bytes + 16, CLUSTER);
    for (size_t i = AT_FIELDS; i < len; i++)
        bytes[i] = byte_of(in);
    put_le32(bytes + 8, crc32c_end(crc32c_update(crc32c_begin(), bytes, len)));
    if (rdma_hello_read(bytes, len, SELF, NODES, CLUSTER, &h) != RDMA_REFUSAL_OK)
        return;
    look_at(&h, bytes, len);
    event(n, &(struct rdma_event){.type = RDMA_EVENT_HELLO, .hello = &h});
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const enum rdma_event_type other[] = {RDMA_EVENT_TICK,      RDMA_EVENT_BROKE,
                                                 RDMA_EVENT_REFUSED,   RDMA_EVENT_MEMORY,
                                                 RDMA_EVENT_ELSEWHERE, RDMA_EVENT_FENCED};
    struct input in = {bytes, size};
    struct rdma_hello raw;
    struct node n = {.cfg = {.epoch = 7,
                             .ladder = byte_of(&in) & 1,
                             .hello_ns = 20 * MS,
                             .calm_ns = 500 * MS,
                             .young_ns = 100 * MS,
                             .doubt_ns = 200 * MS,
                             .probe_ns = 200 * MS},
                     .now = 1};
    (void)rdma_hello_read(bytes, size, SELF, NODES, CLUSTER, &raw); /* whatever it is */
    event(&n, &(struct rdma_event){.type = RDMA_EVENT_START});
    while (in.left > 0) {
        uint8_t op = byte_of(&in);
        n.now += (op >> 3) * 10 * MS;
        if ((op & 7) >= PANDO_ARRAY_LEN(other))
            hello(&n, &in);
        else
            event(&n, &(struct rdma_event){.type = other[op & 7]});
    }
    return 0;
}
