/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/frame.h"

#include <string.h>

#include "dataplane/transport/freeze.h"

/* What the owner writes himself is put together aside, a small frame whole, and copied into the
 * port at once, behind the payload. In a ring its first bytes share a cache line with the word that
 * the receiver polls, who would take the line away between two of our accesses, at a hundred
 * nanoseconds each time. The CRC is computed over a longer payload where it lies, which does not
 * change meanwhile (frame.h): reading it back from a ring, whose lines are still on their way from
 * another CPU, costs more than all else. */
enum { SMALL = 640 };
_Static_assert(SMALL >= WIRE_RRDP_HEADER_MAX + RRDP_MSG_INLINE, "what is no payload fits");

bool port_put_frame(struct port *p, const struct rrdp_frame *f, const uint8_t *payload,
                    uint32_t *ret_copied)
{
    uint8_t *out = p->ops->tx_reserve(p, f->peer, f->mac_known ? &f->mac : NULL);
    if (out == NULL)
        return false;
    uint8_t small[SMALL];
    uint32_t len = f->header_len;
    uint64_t page = 0;
    bool place = p->places && freeze_places(f, &page);
    bool ext = place || (f->payload_len > 0 && port_takes_ext(p, f->payload_len));
    uint8_t *at = ext ? out : small;
    memcpy(at, f->header, len);
    if (f->inline_len > 0)
        memcpy(at + len, f->inline_data, f->inline_len);
    len += f->inline_len;
    if (ext) {
        wire_rrdp_seal_parts(out, len, payload, f->payload_len);
        if (place)
            p->ops->tx_commit_placed(p, len, payload, page);
        else
            p->ops->tx_commit_ext(p, len, payload, f->payload_len);
        *ret_copied = 0;
        return true;
    }
    *ret_copied = f->payload_len;
    if (len + f->payload_len <= SMALL) {
        if (f->payload_len > 0)
            memcpy(small + len, payload, f->payload_len);
        len += f->payload_len;
        wire_rrdp_seal(small, len);
        memcpy(out, small, len);
    } else {
        wire_rrdp_seal_copy(small, len, out + len, payload, f->payload_len);
        memcpy(out, small, len);
        len += f->payload_len;
    }
    p->ops->tx_commit(p, rrdp_frame_pad(f, out, len));
    return true;
}
