/* SPDX-License-Identifier: BSD-3-Clause */
/* One-line forms for traces, formatted by hand: the PURE parts use no stdio. */
#include "dataplane/base/text.h"
#include "dataplane/wire/wire.h"

static const char *kind_name(uint8_t kind)
{
    const char *name = wire_kind_info(kind)->name;
    return name ? name : "kind?";
}

size_t wire_msg_print(const struct wire_msg *m, char *buf, size_t size)
{
    struct text t = text_begin(buf, size);
    text_str(&t, kind_name(m->kind));
    text_str(&t, " p=");
    text_hex(&t, m->page);
    text_str(&t, " r=");
    text_dec(&t, m->requester);
    text_str(&t, " txn=");
    text_dec(&t, m->txn);
    text_str(&t, " v=");
    text_dec(&t, m->version);
    if (m->age != 0) {
        text_str(&t, " age=");
        text_dec(&t, m->age);
    }
    if (m->acks != 0) {
        text_str(&t, " acks=");
        text_dec(&t, m->acks);
    }
    if (m->zero)
        text_str(&t, " zero");
    if (m->exclusive)
        text_str(&t, " excl");
    return t.len;
}

size_t wire_glue_print(const struct wire_glue *m, char *buf, size_t size)
{
    struct text t = text_begin(buf, size);
    text_str(&t, kind_name(m->kind));
    text_str(&t, " chan=");
    if (m->chan == WIRE_CHAN_VM)
        text_str(&t, "vm");
    else
        text_dec(&t, m->chan);
    text_str(&t, " op=");
    text_dec(&t, m->op);
    text_str(&t, " seq=");
    text_dec(&t, m->seq);
    text_str(&t, " arg=");
    text_hex(&t, m->arg);
    return t.len;
}

size_t wire_time_print(const struct wire_time *m, char *buf, size_t size)
{
    struct text t = text_begin(buf, size);
    text_str(&t, kind_name(m->kind));
    text_str(&t, " seq=");
    text_dec(&t, m->seq);
    text_str(&t, " khz=");
    text_dec(&t, m->khz);
    text_str(&t, m->rate < 0 ? " rate=-" : " rate=");
    text_dec(&t, (uint64_t)(m->rate < 0 ? -(int64_t)m->rate : m->rate));
    text_str(&t, " stamp=");
    text_hex(&t, m->stamp);
    if (m->kind == WIRE_TIME_REP) {
        text_str(&t, " gen=");
        text_dec(&t, m->generation);
    }
    return t.len;
}

size_t wire_span_print(const struct wire_span *m, char *buf, size_t size)
{
    struct text t = text_begin(buf, size);
    text_str(&t, kind_name(m->kind));
    text_str(&t, " what=");
    text_dec(&t, m->what);
    text_str(&t, " chan=");
    if (m->chan == WIRE_CHAN_VM)
        text_str(&t, "none");
    else
        text_dec(&t, m->chan);
    text_str(&t, " id=");
    text_dec(&t, m->id);
    text_str(&t, " points=");
    text_hex(&t, m->points);
    text_str(&t, " at=");
    text_hex(&t, m->stamp[0]);
    if ((m->flags & WIRE_SPAN_AGAIN) != 0)
        text_str(&t, " again");
    if ((m->flags & WIRE_SPAN_MERGED) != 0)
        text_str(&t, " merged");
    return t.len;
}
