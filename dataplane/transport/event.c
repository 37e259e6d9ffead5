/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events to the owner. The ring cannot overflow: rrdp_send accepts a message only while its SENT
 * event has a place (owed), and rrdp_receive drops frames while there is no place for what they may
 * cause.
 */
#include "dataplane/transport/internal.h"

/* Places that are neither used nor owed. */
uint32_t event_room(const struct rrdp *r)
{
    return r->event_size - (r->event_head - r->event_tail) - r->owed;
}

void push_event(struct rrdp *r, enum rrdp_event_type type, struct peer *p, uint64_t value)
{
    PANDO_CHECK(r->event_head - r->event_tail < r->event_size);
    r->event[r->event_head++ % r->event_size] =
        (struct rrdp_event){.type = type, .peer = p->id, .value = value};
    if (type == RRDP_EV_UP || type == RRDP_EV_DOWN)
        p->unread++;
}

bool rrdp_event(struct rrdp *r, struct rrdp_event *out)
{
    if (r->event_head == r->event_tail)
        return false;
    *out = r->event[r->event_tail++ % r->event_size];
    if (out->type == RRDP_EV_UP || out->type == RRDP_EV_DOWN)
        r->peer[out->peer].unread--;
    return true;
}
