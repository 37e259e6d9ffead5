/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/transport/freeze.h"

#include <string.h>

#include "dataplane/base/check.h"

static uint32_t buckets_for(uint32_t pins)
{
    uint32_t n = 16;
    while (n < pins)
        n *= 2;
    return n;
}

static size_t place(size_t *at, size_t bytes)
{
    size_t here = *at;
    *at += (bytes + 4095) & ~(size_t)4095;
    return here;
}

size_t freeze_size(uint32_t pins)
{
    size_t at = 0;
    place(&at, (size_t)pins * sizeof(struct freeze_pin));
    place(&at, (size_t)pins * sizeof(uint32_t));
    place(&at, (size_t)pins * sizeof(uint32_t));
    place(&at, (size_t)pins * sizeof(uint32_t));
    place(&at, (size_t)buckets_for(pins) * sizeof(uint32_t));
    place(&at, (size_t)pins * WIRE_PAGE_SIZE);
    return at;
}

void freeze_init(struct freeze *f, void *mem, uint32_t pins)
{
    uint8_t *base = mem;
    size_t at = 0;
    *f = (struct freeze){.mask = buckets_for(pins) - 1};
    f->pin = (void *)(base + place(&at, (size_t)pins * sizeof(struct freeze_pin)));
    pool_init(&f->pins, (void *)(base + place(&at, (size_t)pins * sizeof(uint32_t))), pins);
    pool_init(&f->staging, (void *)(base + place(&at, (size_t)pins * sizeof(uint32_t))), pins);
    f->staging_refs = (void *)(base + place(&at, (size_t)pins * sizeof(uint32_t)));
    f->bucket = (void *)(base + place(&at, (size_t)buckets_for(pins) * sizeof(uint32_t)));
    f->staging_page = (void *)(base + place(&at, (size_t)pins * WIRE_PAGE_SIZE));
    for (uint32_t i = 0; i <= f->mask; i++)
        f->bucket[i] = POOL_NONE;
}

static uint32_t *bucket_of(struct freeze *f, uint64_t page)
{
    return &f->bucket[(page * UINT64_C(0x9E3779B97F4A7C15) >> 32) & f->mask];
}

uint32_t freeze_pin(struct freeze *f, uint64_t page)
{
    uint32_t i = pool_get(&f->pins);
    uint32_t *head = bucket_of(f, page);
    PANDO_CHECK(i != POOL_NONE); /* sized for every transaction of every peer */
    f->pin[i] = (struct freeze_pin){.handle = page, .chain = *head};
    *head = i;
    return i;
}

static void unlink_pin(struct freeze *f, uint32_t pin)
{
    uint32_t *at = bucket_of(f, f->pin[pin].handle);
    while (*at != pin) {
        PANDO_CHECK(*at != POOL_NONE);
        at = &f->pin[*at].chain;
    }
    *at = f->pin[pin].chain;
}

void freeze_unpin(struct freeze *f, uint32_t pin)
{
    uint64_t handle = f->pin[pin].handle;
    if (handle & FREEZE_STAGED) {
        uint32_t s = (uint32_t)(handle & ~FREEZE_STAGED);
        if (--f->staging_refs[s] == 0)
            pool_put(&f->staging, s);
    } else {
        unlink_pin(f, pin);
    }
    pool_put(&f->pins, pin);
}

void freeze_thaw(struct freeze *f, struct rrdp *rrdp, uint64_t page, const uint8_t *frame)
{
    uint32_t *at = bucket_of(f, page), s = POOL_NONE;
    while (*at != POOL_NONE) {
        struct freeze_pin *p = &f->pin[*at];
        if (p->handle != page) {
            at = &p->chain;
            continue;
        }
        if (s == POOL_NONE) {
            s = pool_get(&f->staging); /* one staging buffer has at least one pin: there is one */
            PANDO_CHECK(s != POOL_NONE && frame != NULL);
            memcpy(f->staging_page[s], frame, WIRE_PAGE_SIZE);
            f->staging_refs[s] = 0;
        }
        p->handle = FREEZE_STAGED | s;
        f->staging_refs[s]++;
        *at = p->chain;
    }
    if (s == POOL_NONE)
        return;
    rrdp_rebind(rrdp, page, FREEZE_STAGED | s);
    f->copies++;
}

const uint8_t *freeze_staged(const struct freeze *f, uint64_t handle)
{
    PANDO_CHECK(freeze_is_staged(handle));
    return f->staging_page[handle & ~FREEZE_STAGED];
}

bool freeze_places(const struct rrdp_frame *f, uint64_t *ret_page)
{
    struct wire_msg m;
    if (f->retransmission || f->payload_len != WIRE_PAGE_SIZE || f->payload_offset != 0 ||
        f->inline_len != WIRE_MSG_HEADER || f->inline_data[0] != WIRE_DATA ||
        wire_msg_unpack(f->inline_data, WIRE_MSG_HEADER, f->cls, WIRE_PAGE_SIZE, &m) != WIRE_OK)
        return false;
    *ret_page = m.page;
    return true;
}
