/* SPDX-License-Identifier: BSD-3-Clause */
/* Names, and one line of text per event and action, for traces. */
#include "dataplane/coherence/core.h"

struct text {
    char *buf;
    size_t size, n;
};

static void put_str(struct text *t, const char *s)
{
    for (; *s != '\0' && t->n + 1 < t->size; s++)
        t->buf[t->n++] = *s;
}

static void put_num(struct text *t, uint64_t v, unsigned base)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    while (n > 0) {
        char one[2] = {digits[--n], '\0'};
        put_str(t, one);
    }
}

static void put_field(struct text *t, const char *name, uint64_t v)
{
    put_str(t, name);
    put_num(t, v, 10);
}

static void put_page(struct text *t, uint64_t page)
{
    put_str(t, " p=0x");
    put_num(t, page, 16);
}

static size_t finish(struct text *t)
{
    if (t->size > 0)
        t->buf[t->n] = '\0';
    return t->n;
}

static const char *kind_name(uint8_t kind)
{
#define X(id, ID, name, class, payload, family)                                                    \
    case id:                                                                                       \
        return name;
    switch (kind) {
        WIRE_MSG_LIST(X)
    default:
        return "?";
    }
#undef X
}

static void put_msg(struct text *t, const struct wire_msg *m)
{
    put_str(t, kind_name(m->kind));
    put_page(t, m->page);
    put_field(t, " r=", m->requester);
    put_field(t, " txn=", m->txn);
    put_field(t, " v=", m->version);
    if (m->acks > 0)
        put_field(t, " acks=", m->acks);
    if (m->exclusive)
        put_str(t, " exclusive");
    if (m->zero)
        put_str(t, " zero");
}

const char *coh_state_name(enum coh_state s)
{
#define X(s) #s,
    static const char *const names[COH_STATES] = {COH_STATE_LIST(X)};
#undef X
    return (unsigned)s < COH_STATES ? names[s] : "?";
}

const char *coh_drop_name(enum coh_drop d)
{
#define X(ID, name) name,
    static const char *const names[COH_DROPS] = {COH_DROP_LIST(X)};
#undef X
    return (unsigned)d < COH_DROPS ? names[d] : "?";
}

const char *coh_event_name(enum coh_event_type type)
{
#define X(e) #e,
    static const char *const names[COH_EVENTS] = {COH_EVENT_LIST(X)};
#undef X
    return (unsigned)type < COH_EVENTS ? names[type] : "?";
}

size_t coh_event_print(const struct coh_event *ev, char *buf, size_t size)
{
    struct text t = {.buf = buf, .size = size};
    put_str(&t, coh_event_name(ev->type));
    if (ev->type == COH_EV_MESSAGE) {
        put_field(&t, " from ", ev->src);
        put_str(&t, ": ");
        put_msg(&t, &ev->msg);
    } else if (ev->type == COH_EV_PEER_DOWN) {
        put_field(&t, " ", ev->src);
    } else if (ev->type == COH_EV_IDLE) {
        put_field(&t, " vcpu=", ev->vcpu);
    } else if (ev->type != COH_EV_TICK) {
        put_page(&t, ev->page);
        if (ev->type == COH_EV_READ_FAULT || ev->type == COH_EV_WRITE_FAULT)
            put_field(&t, " vcpu=", ev->vcpu);
    }
    return finish(&t);
}

static const char *stop_name(uint8_t reason)
{
    static const char *const names[] = {[COH_STOP_PEER_LOST] = "peer lost",
                                        [COH_STOP_NO_FRAME] = "no frame",
                                        [COH_STOP_IDS_USED_UP] = "ids used up",
                                        [COH_STOP_BUG] = "bug"};
    return reason >= COH_STOP_PEER_LOST && reason <= COH_STOP_BUG ? names[reason] : "?";
}

size_t coh_action_print(const struct coh_action *a, char *buf, size_t size)
{
    struct text t = {.buf = buf, .size = size};
    switch (a->type) {
    case COH_ACT_SEND:
        put_field(&t, "SEND to ", a->dst);
        put_str(&t, ": ");
        put_msg(&t, &a->msg);
        break;
    case COH_ACT_MAP:
        put_str(&t, a->writable ? "MAP rw" : "MAP ro");
        put_page(&t, a->page);
        put_str(&t, a->zero ? " zero" : "");
        put_str(&t, a->again ? " again" : "");
        break;
    case COH_ACT_PROTECT:
        put_str(&t, "PROTECT");
        put_page(&t, a->page);
        break;
    case COH_ACT_UNMAP:
        put_str(&t, "UNMAP");
        put_page(&t, a->page);
        break;
    case COH_ACT_PUNCH:
        put_str(&t, "PUNCH");
        put_page(&t, a->page);
        break;
    case COH_ACT_STOP:
        put_str(&t, "STOP ");
        put_str(&t, stop_name(a->reason));
        put_field(&t, " node ", a->dst);
        break;
    }
    return finish(&t);
}
