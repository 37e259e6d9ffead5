/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/giantvm/core/frame.h"

#include <string.h>

#include "dataplane/base/check.h"

enum { EXCLUSIVE = 0x80, REQUESTER = 0x0F };

_Static_assert(FRAME_DSM == 4110, "as GiantVM's");

static bool is_dsm(uint8_t kind)
{
    return kind == WIRE_GETS || kind == WIRE_GETM || kind == WIRE_DATA || kind == WIRE_INV ||
           kind == WIRE_INV_ACK;
}

int64_t frame_length(const uint8_t *in, size_t len)
{
    if (len == 0)
        return 0;
    if (is_dsm(in[0]))
        return FRAME_DSM;
    if (in[0] == FRAME_HELLO)
        return FRAME_HELLO_LEN;
    if (in[0] == FRAME_BYE || in[0] == FRAME_STOP)
        return FRAME_END_LEN;
    const struct wire_kind_info *info = wire_kind_info(in[0]);
    if (info->name == NULL || info->family == WIRE_FAMILY_COH)
        return -1;
    if (len < FRAME_OTHER_HEADER)
        return 0;
    if (in[1] != 0 || get_le16(in + 2) > WIRE_BYTES_MAX)
        return -1;
    return FRAME_OTHER_HEADER + WIRE_MSG_HEADER + get_le16(in + 2);
}

void frame_pack(const struct wire_msg *m, uint8_t out[FRAME_DSM_HEADER])
{
    PANDO_CHECK(is_dsm(m->kind) && m->requester < FRAME_NODES_MAX && m->page < FRAME_PAGES_MAX &&
                m->txn <= UINT32_MAX);
    out[0] = m->kind;
    out[1] = (uint8_t)(m->requester | (m->exclusive ? EXCLUSIVE : 0));
    put_le16(out + 2, m->age);
    put_le16(out + 4, (uint16_t)m->version);
    put_le32(out + 6, (uint32_t)m->page);
    put_le32(out + 10, (uint32_t)m->txn);
}

enum wire_error frame_unpack(const uint8_t in[FRAME_DSM_HEADER], uint8_t nodes, uint64_t pages,
                             struct wire_msg *out)
{
    struct wire_msg m = {.kind = in[0],
                         .requester = in[1] & REQUESTER,
                         .exclusive = (in[1] & EXCLUSIVE) != 0,
                         .age = get_le16(in + 2),
                         .version = get_le16(in + 4),
                         .page = get_le32(in + 6),
                         .txn = get_le32(in + 10)};
    if (!is_dsm(m.kind))
        return WIRE_E_KIND;
    if ((in[1] & ~(EXCLUSIVE | REQUESTER)) != 0)
        return WIRE_E_RESERVED;
    if (m.kind != WIRE_DATA && (m.exclusive || m.age != 0))
        return WIRE_E_RESERVED;
    if (m.requester >= nodes || m.page >= pages || m.txn == 0 || m.age >> nodes != 0)
        return WIRE_E_RANGE;
    *out = m;
    return WIRE_OK;
}

void frame_pack_other(uint16_t payload_len, const uint8_t header[WIRE_MSG_HEADER],
                      uint8_t out[FRAME_OTHER_HEADER + WIRE_MSG_HEADER])
{
    PANDO_CHECK(payload_len <= WIRE_BYTES_MAX);
    out[0] = header[0];
    out[1] = 0;
    put_le16(out + 2, payload_len);
    memcpy(out + FRAME_OTHER_HEADER, header, WIRE_MSG_HEADER);
}

void frame_pack_hello(const struct frame_hello *h, uint8_t out[FRAME_HELLO_LEN])
{
    out[0] = FRAME_HELLO;
    out[1] = h->revision;
    out[2] = h->node;
    out[3] = h->nodes;
    put_le64(out + 4, h->cluster_id);
    put_le64(out + 12, h->config_hash);
    put_le64(out + 20, h->boot);
}

void frame_unpack_hello(const uint8_t in[FRAME_HELLO_LEN], struct frame_hello *out)
{
    *out = (struct frame_hello){.revision = in[1],
                                .node = in[2],
                                .nodes = in[3],
                                .cluster_id = get_le64(in + 4),
                                .config_hash = get_le64(in + 12),
                                .boot = get_le64(in + 20)};
}
