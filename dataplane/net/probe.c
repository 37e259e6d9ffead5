/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "dataplane/net/net.h"

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void probe_pack(const struct probe *p, uint8_t *buf)
{
    buf[0] = (uint8_t)p->op;
    buf[1] = 0;
    put(buf + 2, p->reply_len, 2);
    put(buf + 4, p->seq, 4);
    if (p->op == PROBE_MARK_REPLY) {
        put(buf + 8, p->count, 8);
        put(buf + 16, p->cpu_ns, 8);
    }
}

bool probe_unpack(const struct endpoint_message *m, struct probe *ret_probe)
{
    const uint8_t *b = m->data;
    uint32_t least = PROBE_MIN;
    if (m->type != ENDPOINT_DATA || m->len < PROBE_MIN)
        return false;
    struct probe p = {
        .op = b[0], .reply_len = (uint16_t)get(b + 2, 2), .seq = (uint32_t)get(b + 4, 4)};
    if (p.op == PROBE_MARK_REPLY)
        least = PROBE_MARK_BYTES;
    if (p.op < PROBE_PING || p.op > PROBE_MARK_REPLY || b[1] != 0 || m->len < least)
        return false;
    if (p.op == PROBE_PING &&
        (p.reply_len < PROBE_MIN ||
         p.reply_len > (m->cls == WIRE_CLASS_URGENT ? ENDPOINT_URGENT_BYTES : ENDPOINT_BYTES_MAX)))
        return false;
    if (p.op == PROBE_MARK_REPLY) {
        p.count = get(b + 8, 8);
        p.cpu_ns = get(b + 16, 8);
    }
    *ret_probe = p;
    return true;
}
