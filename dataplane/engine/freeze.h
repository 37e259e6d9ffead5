/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The freeze rule: bytes that the transport may still send (again) must not change. EDGE.
 *
 * A message with a page's bytes pins its source from SEND until RRDP_EV_SENT. The source is the
 * guest frame itself as long as nobody wants to change it; freeze_thaw copies it aside before
 * somebody does, and everything in flight goes on from the copy. So the normal case costs no copy
 * of ours.
 *
 * A payload handle of the transport is a page number, or a tag bit and an index.
 */
#ifndef PANDO_ENGINE_FREEZE_H
#define PANDO_ENGINE_FREEZE_H

#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/pool.h"
#include "dataplane/memory/ram.h"
#include "dataplane/transport/rrdp.h"

#define FREEZE_STAGED (UINT64_C(1) << 62) /* handle: staging buffer */
#define FREEZE_BUFFER                                                                              \
    (UINT64_C(1) << 63) /* handle and cookie: a transmit buffer of the glue's payloads */

struct freeze_pin {
    uint64_t handle;
    uint32_t chain; /* pins of the same hash bucket; only those of pages are linked */
};

struct freeze {
    struct pool pins, staging;
    struct freeze_pin *pin;
    uint32_t *bucket, mask;
    uint32_t *staging_refs;
    uint8_t (*staging_page)[RAM_PAGE];
    uint64_t copies;
};

/* pins: messages with a page's bytes that can be under way at a time. mem: freeze_size(pins) bytes,
 * zeroed. */
size_t freeze_size(uint32_t pins);
void freeze_init(struct freeze *f, void *mem, uint32_t pins);

/* Pins a page's frame; returns the pin, which is the message's cookie. */
uint32_t freeze_pin(struct freeze *f, uint64_t page);
void freeze_unpin(struct freeze *f, uint32_t pin);

/* The page's frame is about to change: what is in flight goes on from a copy. */
void freeze_thaw(struct freeze *f, struct rrdp *rrdp, const struct ram *ram, uint64_t page);

/* The bytes behind a handle of a page or staging buffer; NULL: the page has no frame. */
const uint8_t *freeze_bytes(const struct freeze *f, const struct ram *ram, uint64_t handle);

#endif
