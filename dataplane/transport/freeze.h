/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The freeze rule: bytes that the transport may still send (again) must not change. PURE.
 *
 * A message with a page's bytes pins its source from SEND until RRDP_EV_SENT. The source is the
 * guest frame itself as long as nobody wants to change it; freeze_thaw copies it aside before
 * somebody does, and everything in flight goes on from the copy. So the normal case costs no copy
 * of ours.
 *
 * A payload handle of the transport is a page number, or a tag bit and an index; bit 63 is the
 * owner's for payloads of other kinds.
 */
#ifndef PANDO_TRANSPORT_FREEZE_H
#define PANDO_TRANSPORT_FREEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/pool.h"
#include "dataplane/transport/rrdp.h"

#define FREEZE_STAGED (UINT64_C(1) << 62) /* handle: staging buffer */

struct freeze_pin {
    uint64_t handle;
    uint32_t chain; /* pins of the same hash bucket; only those of pages are linked */
};

struct freeze {
    struct pool pins, staging;
    struct freeze_pin *pin;
    uint32_t *bucket, mask;
    uint32_t *staging_refs;
    uint8_t (*staging_page)[WIRE_PAGE_SIZE];
    uint64_t copies;
};

/* Messages with a page's bytes that can be under way at a time: for each peer one of each
 * transaction or eviction of this node or the peer, and those sent and not yet acknowledged, of the
 * two classes that carry pages. */
static inline uint32_t freeze_pins(uint32_t nodes, uint32_t transactions)
{
    return nodes * (transactions + 2 * RRDP_QUEUE);
}

/* mem: freeze_size(pins) bytes, zeroed. */
size_t freeze_size(uint32_t pins);
void freeze_init(struct freeze *f, void *mem, uint32_t pins);

/* Pins a page's frame; returns the pin, which is the message's cookie. */
uint32_t freeze_pin(struct freeze *f, uint64_t page);
void freeze_unpin(struct freeze *f, uint32_t pin);

/* The page's frame is about to change: what is in flight goes on from a copy. frame: the page's
 * bytes; NULL only if the page never was pinned. */
void freeze_thaw(struct freeze *f, struct rrdp *rrdp, uint64_t page, const uint8_t *frame);

/* Number of the page behind a handle of freeze_pin, or of a staging buffer, whose bytes are
 * freeze_staged. */
static inline bool freeze_is_staged(uint64_t handle)
{
    return (handle & FREEZE_STAGED) != 0;
}
const uint8_t *freeze_staged(const struct freeze *f, uint64_t handle);

/* May the sender's device write the payload of this frame into the receiver's memory (port.h: pages
 * in place)? Only a whole page that the receiver awaits, at the frame's first transmission; true:
 * as which page. */
bool freeze_places(const struct rrdp_frame *f, uint64_t *ret_page);

#endif
