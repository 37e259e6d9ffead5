/* SPDX-License-Identifier: BSD-3-Clause */
/* The byte layouts that interrupt.h documents. A peer's bytes are data: unpack validates them. */
#include "dataplane/interrupt/interrupt.h"

#include <errno.h>

#include "dataplane/base/bits.h"

_Static_assert(IRQ_WIRE_ANNOUNCE_LEN <= 21, "kind + announcement must fit a 22-byte message");
_Static_assert(IRQ_WIRE_MSG_LEN <= 21, "kind + message must fit a 22-byte message");
_Static_assert(IRQ_SET_WORDS == 4, "the window has two bits on the wire");

int irq_wire_announce_pack(const struct irq_announcement *a, uint8_t buf[IRQ_WIRE_ANNOUNCE_LEN])
{
    int err = irq_announcement_check(a);
    if (err != 0)
        return err;
    put_le32(buf, a->apic_id);
    put_le32(buf + 4, a->ldr);
    put_le32(buf + 8, a->seq);
    put_le16(buf + 12, a->vcpu);
    buf[14] = a->node;
    buf[15] = a->flags;
    buf[16] = a->dfr;
    buf[17] = a->priority;
    put_le16(buf + 18, 0);
    return 0;
}

int irq_wire_announce_unpack(const uint8_t *buf, uint32_t len, struct irq_announcement *ret)
{
    if (len != IRQ_WIRE_ANNOUNCE_LEN)
        return -EMSGSIZE;
    if (get_le16(buf + 18) != 0)
        return -EBADMSG;
    struct irq_announcement a = {
        .apic_id = get_le32(buf),
        .ldr = get_le32(buf + 4),
        .seq = get_le32(buf + 8),
        .vcpu = get_le16(buf + 12),
        .node = buf[14],
        .flags = buf[15],
        .dfr = buf[16],
        .priority = buf[17],
    };
    int err = irq_announcement_check(&a);
    if (err != 0)
        return err;
    *ret = a;
    return 0;
}

static int wire_msg_check(const struct irq_wire_msg *w)
{
    if (w->mask == 0 || w->window >= IRQ_SET_WORDS)
        return -EINVAL;
    return apic_msg_check(&w->msg);
}

int irq_wire_msg_pack(const struct irq_wire_msg *w, uint8_t buf[IRQ_WIRE_MSG_LEN])
{
    const struct apic_msg *m = &w->msg;
    int err = wire_msg_check(w);
    if (err != 0)
        return err;
    put_le64(buf, w->mask);
    put_le32(buf + 8, m->dest);
    put_le16(buf + 12, m->source);
    buf[14] = m->vector;
    buf[15] = (uint8_t)(m->delivery | (unsigned)m->dest_mode << 3 | (unsigned)m->shorthand << 4 |
                        (unsigned)m->level << 6 | (unsigned)m->trigger << 7);
    buf[16] = (uint8_t)(w->window | (unsigned)m->wide << 2);
    put_le16(buf + 17, 0);
    return 0;
}

int irq_wire_msg_unpack(const uint8_t *buf, uint32_t len, struct irq_wire_msg *ret)
{
    if (len != IRQ_WIRE_MSG_LEN)
        return -EMSGSIZE;
    if ((buf[16] & ~7u) != 0 || get_le16(buf + 17) != 0)
        return -EBADMSG;
    struct irq_wire_msg w = {
        .mask = get_le64(buf),
        .window = buf[16] & 3u,
        .msg =
            {
                .dest = get_le32(buf + 8),
                .source = get_le16(buf + 12),
                .vector = buf[14],
                .delivery = buf[15] & 7u,
                .dest_mode = buf[15] >> 3 & 1u,
                .shorthand = buf[15] >> 4 & 3u,
                .level = buf[15] >> 6 & 1u,
                .trigger = (uint8_t)(buf[15] >> 7),
                .wide = buf[16] >> 2 & 1u,
            },
    };
    int err = wire_msg_check(&w);
    if (err != 0)
        return err;
    *ret = w;
    return 0;
}
