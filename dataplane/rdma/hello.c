/* SPDX-License-Identifier: BSD-3-Clause */
/* A hello's bytes, and what is asked of them. */
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/rdma/rdma.h"

enum {
    AT_MAGIC = 0,
    AT_REVISION = 4,
    AT_LENGTH = 6,
    AT_CRC = 8,
    AT_FROM = 12,
    AT_TO = 13,
    AT_PHASE = 14,
    AT_BLOCKS = 15,
    AT_CLUSTER = 16,
    AT_EPOCH = 24,
    AT_HEARD_EPOCH = 32,
    AT_GENERATION = 40,
    AT_HEARD_GENERATION = 44,
    AT_UD_NUMBER = 48,
    AT_UD_KEY = 52,
    AT_NUMBER = 56,
    AT_PACKET = 60,
    AT_JOINED = 64,
    AT_LID = 68,
    AT_MTU = 70,
    AT_RESERVED = 71,
    AT_GID = 72,
    AT_RESERVED_2 = 88,
    BLOCK_BASE = 0,
    BLOCK_PAGES = 8,
    BLOCK_ADDRESS = 16,
    BLOCK_KEY = 24,
    BLOCK_RESERVED = 28,
};
_Static_assert(AT_GID + RDMA_GID == AT_RESERVED_2, "no gap");
_Static_assert(AT_RESERVED_2 + 16 == RDMA_HELLO_BYTES, "no gap");
_Static_assert(BLOCK_RESERVED + 4 == RDMA_BLOCK_BYTES, "no gap");

#define MAGIC UINT32_C(0x56524450) /* "PDRV" */

const char *rdma_refusal_name(enum rdma_refusal r)
{
    static const char *const name[RDMA_REFUSALS] = {
#define X(ID, text) [RDMA_REFUSAL_##ID] = text,
        RDMA_REFUSAL_LIST(X)
#undef X
    };
    return (unsigned)r < RDMA_REFUSALS ? name[r] : "?";
}

static uint32_t crc_of(const uint8_t *bytes, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c_update(crc32c_begin(), bytes, AT_CRC);
    crc = crc32c_update(crc, zero, sizeof(zero));
    return crc32c_end(crc32c_update(crc, bytes + AT_FROM, len - AT_FROM));
}

size_t rdma_hello_write(const struct rdma_hello *h, uint8_t *bytes)
{
    size_t len = RDMA_HELLO_BYTES + (size_t)h->blocks * RDMA_BLOCK_BYTES;
    memset(bytes, 0, len);
    put_le32(bytes + AT_MAGIC, MAGIC);
    put_le16(bytes + AT_REVISION, RDMA_REVISION);
    put_le16(bytes + AT_LENGTH, (uint16_t)len);
    bytes[AT_FROM] = h->from;
    bytes[AT_TO] = h->to;
    bytes[AT_PHASE] = h->phase;
    bytes[AT_BLOCKS] = h->blocks;
    put_le64(bytes + AT_CLUSTER, h->cluster_id);
    put_le64(bytes + AT_EPOCH, h->epoch);
    put_le64(bytes + AT_HEARD_EPOCH, h->heard_epoch);
    put_le32(bytes + AT_GENERATION, h->generation);
    put_le32(bytes + AT_HEARD_GENERATION, h->heard_generation);
    put_le32(bytes + AT_UD_NUMBER, h->ud_number);
    put_le32(bytes + AT_UD_KEY, h->ud_key);
    put_le32(bytes + AT_NUMBER, h->number);
    put_le32(bytes + AT_PACKET, h->packet);
    put_le32(bytes + AT_JOINED, h->joined);
    put_le16(bytes + AT_LID, h->lid);
    bytes[AT_MTU] = h->mtu;
    memcpy(bytes + AT_GID, h->gid, RDMA_GID);
    for (uint8_t i = 0; i < h->blocks; i++) {
        uint8_t *b = bytes + RDMA_HELLO_BYTES + (size_t)i * RDMA_BLOCK_BYTES;
        put_le64(b + BLOCK_BASE, h->block[i].base_page);
        put_le64(b + BLOCK_PAGES, h->block[i].pages);
        put_le64(b + BLOCK_ADDRESS, h->block[i].address);
        put_le32(b + BLOCK_KEY, h->block[i].key);
    }
    put_le32(bytes + AT_CRC, crc_of(bytes, len));
    return len;
}

static void read_fields(const uint8_t *bytes, struct rdma_hello *h)
{
    *h = (struct rdma_hello){
        .from = bytes[AT_FROM],
        .to = bytes[AT_TO],
        .phase = bytes[AT_PHASE],
        .blocks = bytes[AT_BLOCKS],
        .mtu = bytes[AT_MTU],
        .lid = get_le16(bytes + AT_LID),
        .cluster_id = get_le64(bytes + AT_CLUSTER),
        .epoch = get_le64(bytes + AT_EPOCH),
        .heard_epoch = get_le64(bytes + AT_HEARD_EPOCH),
        .generation = get_le32(bytes + AT_GENERATION),
        .heard_generation = get_le32(bytes + AT_HEARD_GENERATION),
        .ud_number = get_le32(bytes + AT_UD_NUMBER),
        .ud_key = get_le32(bytes + AT_UD_KEY),
        .number = get_le32(bytes + AT_NUMBER),
        .packet = get_le32(bytes + AT_PACKET),
        .joined = get_le32(bytes + AT_JOINED),
    };
    memcpy(h->gid, bytes + AT_GID, RDMA_GID);
    for (uint8_t i = 0; i < h->blocks; i++) {
        const uint8_t *b = bytes + RDMA_HELLO_BYTES + (size_t)i * RDMA_BLOCK_BYTES;
        h->block[i] = (struct rdma_block){.base_page = get_le64(b + BLOCK_BASE),
                                          .pages = get_le64(b + BLOCK_PAGES),
                                          .address = get_le64(b + BLOCK_ADDRESS),
                                          .key = get_le32(b + BLOCK_KEY)};
    }
}

/* What can be said before the fields have a meaning. */
static enum rdma_refusal look_at_form(const uint8_t *bytes, size_t len)
{
    uint8_t reserved = 0;
    if (len < RDMA_HELLO_BYTES || len > RDMA_HELLO_MAX)
        return RDMA_REFUSAL_LENGTH;
    if (get_le32(bytes + AT_MAGIC) != MAGIC)
        return RDMA_REFUSAL_MAGIC;
    if (get_le16(bytes + AT_REVISION) != RDMA_REVISION)
        return RDMA_REFUSAL_REVISION;
    if (get_le16(bytes + AT_LENGTH) != len ||
        len != RDMA_HELLO_BYTES + (size_t)bytes[AT_BLOCKS] * RDMA_BLOCK_BYTES)
        return RDMA_REFUSAL_LENGTH;
    if (get_le32(bytes + AT_CRC) != crc_of(bytes, len))
        return RDMA_REFUSAL_CRC;
    reserved |= bytes[AT_RESERVED];
    for (size_t i = AT_RESERVED_2; i < RDMA_HELLO_BYTES; i++)
        reserved |= bytes[i];
    for (size_t b = RDMA_HELLO_BYTES; b < len; b += RDMA_BLOCK_BYTES)
        for (size_t i = BLOCK_RESERVED; i < RDMA_BLOCK_BYTES; i++)
            reserved |= bytes[b + i];
    return reserved == 0 ? RDMA_REFUSAL_OK : RDMA_REFUSAL_RESERVED;
}

static bool blocks_fit(const struct rdma_hello *h)
{
    uint64_t end = 0;
    if (h->blocks > 0 && h->number == 0)
        return false;
    for (uint8_t i = 0; i < h->blocks; i++) {
        const struct rdma_block *b = &h->block[i];
        if (b->pages == 0 || b->pages > RDMA_BLOCK_PAGES_MAX || b->base_page < end ||
            b->base_page > RDMA_PAGES_MAX - b->pages ||
            b->address > UINT64_MAX - b->pages * WIRE_PAGE_SIZE)
            return false;
        end = b->base_page + b->pages;
    }
    return true;
}

static enum rdma_refusal look_at_fields(const struct rdma_hello *h, uint8_t self, uint8_t nodes,
                                        uint64_t cluster_id)
{
    if (h->cluster_id != cluster_id)
        return RDMA_REFUSAL_CLUSTER;
    if (h->from >= nodes || h->from == self)
        return RDMA_REFUSAL_FROM;
    if (h->to != self)
        return RDMA_REFUSAL_TO;
    if (h->phase < RDMA_LIVE || h->phase > RDMA_BROKEN)
        return RDMA_REFUSAL_PHASE;
    if (h->epoch == 0)
        return RDMA_REFUSAL_EPOCH;
    if (h->generation == 0)
        return RDMA_REFUSAL_GENERATION;
    if (h->ud_number == 0 || h->ud_number > RDMA_NUMBER_MAX || h->number > RDMA_NUMBER_MAX ||
        h->packet > RDMA_NUMBER_MAX || h->joined > RDMA_NUMBER_MAX ||
        (h->number != 0 && h->heard_epoch == 0) || (h->joined != 0 && h->number == 0))
        return RDMA_REFUSAL_NUMBER;
    if (h->mtu < RDMA_MTU_MIN || h->mtu > RDMA_MTU_MAX)
        return RDMA_REFUSAL_MTU;
    return blocks_fit(h) ? RDMA_REFUSAL_OK : RDMA_REFUSAL_BLOCKS;
}

enum rdma_refusal rdma_hello_read(const uint8_t *bytes, size_t len, uint8_t self, uint8_t nodes,
                                  uint64_t cluster_id, struct rdma_hello *ret_hello)
{
    struct rdma_hello h;
    enum rdma_refusal r = look_at_form(bytes, len);
    if (r != RDMA_REFUSAL_OK)
        return r;
    read_fields(bytes, &h);
    r = look_at_fields(&h, self, nodes, cluster_id);
    if (r == RDMA_REFUSAL_OK)
        *ret_hello = h;
    return r;
}

/* ---- pages by place ------------------------------------------------------------------------ */

bool rdma_place_of(const struct rdma_hello *theirs, uint64_t page, struct rdma_place *ret_place)
{
    for (uint8_t i = 0; i < theirs->blocks; i++) {
        const struct rdma_block *b = &theirs->block[i];
        uint64_t at = page - b->base_page;
        if (page < b->base_page || at >= b->pages)
            continue;
        *ret_place =
            (struct rdma_place){.address = b->address + at * WIRE_PAGE_SIZE,
                                .key = b->key,
                                .immediate = (uint32_t)i << RDMA_PLACE_BITS | (uint32_t)at};
        return true;
    }
    return false;
}

bool rdma_place_read(const struct rdma_block *block, uint8_t blocks, uint32_t immediate,
                     uint8_t *ret_block, uint64_t *ret_page)
{
    uint32_t i = immediate >> RDMA_PLACE_BITS;
    uint64_t at = immediate & (RDMA_BLOCK_PAGES_MAX - 1);
    if (i >= blocks || at >= block[i].pages)
        return false;
    *ret_block = (uint8_t)i;
    *ret_page = at;
    return true;
}

uint8_t rdma_timeout(uint64_t ns, unsigned tries)
{
    uint8_t t = 1;
    while (t < 31 && (UINT64_C(4096) << (t + 1)) * tries <= ns)
        t++;
    return t;
}
