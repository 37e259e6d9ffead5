/* SPDX-License-Identifier: BSD-3-Clause */
/* The freeze rule (transport/freeze.h): what is in flight keeps its bytes when the guest's page
 * changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/transport/freeze.h"

enum { PAGES = 8, PINS = 16 };

static uint8_t (*frames)[WIRE_PAGE_SIZE];

static const uint8_t *bytes_of(const struct freeze *f, uint64_t handle)
{
    return freeze_is_staged(handle) ? freeze_staged(f, handle) : frames[handle];
}

static struct rrdp *make_transport(void)
{
    struct rrdp_config c = {.nodes = 2,
                            .cluster_id = 1,
                            .epoch = 1,
                            .mtu = 9000,
                            .credit = 64,
                            .rto_min_ns = 1000000,
                            .rto_max_ns = 10000000,
                            .heartbeat_ns = 1000000,
                            .dead_ns = 9000000,
                            .syn_ns = 1000000};
    size_t size = (rrdp_size(&c) + 63) & ~(size_t)63;
    void *mem = aligned_alloc(64, size);
    PANDO_CHECK(size > 0 && mem != NULL);
    memset(mem, 0, size);
    return rrdp_init(mem, &c, 1);
}

int main(void)
{
    struct freeze f;
    struct rrdp *rrdp = make_transport();
    uint8_t *bytes = calloc(PAGES, WIRE_PAGE_SIZE);
    frames = (void *)bytes;
    void *mem = calloc(1, freeze_size(PINS));
    freeze_init(&f, mem, PINS);

    memset(frames[3], 0x33, WIRE_PAGE_SIZE);
    uint32_t a = freeze_pin(&f, 3), b = freeze_pin(&f, 3), other = freeze_pin(&f, 4);
    PANDO_CHECK(bytes_of(&f, f.pin[a].handle) == frames[3]); /* no copy yet */

    freeze_thaw(&f, rrdp, 5, frames[5]); /* nothing of page 5 is in flight */
    PANDO_CHECK(f.copies == 0);
    freeze_thaw(&f, rrdp, 3, frames[3]);
    memset(frames[3], 0x99, WIRE_PAGE_SIZE);           /* the page is the guest's again */
    PANDO_CHECK(f.copies == 1 && f.staging.used == 1); /* one copy serves both messages */
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *in_flight = bytes_of(&f, f.pin[i == 0 ? a : b].handle);
        PANDO_CHECK(in_flight[0] == 0x33 && in_flight[WIRE_PAGE_SIZE - 1] == 0x33);
    }
    PANDO_CHECK(bytes_of(&f, f.pin[other].handle) == frames[4]);

    uint32_t c = freeze_pin(&f, 3); /* the new content leaves as well */
    PANDO_CHECK(bytes_of(&f, f.pin[c].handle)[0] == 0x99);
    freeze_unpin(&f, a);
    PANDO_CHECK(f.staging.used == 1);
    freeze_unpin(&f, b);
    PANDO_CHECK(f.staging.used == 0);
    freeze_unpin(&f, c);
    freeze_unpin(&f, other);
    PANDO_CHECK(f.pins.used == 0);

    for (uint32_t i = 0; i < PINS;
         i++) /* every pin on a page of its own, all thawed: buffers suffice */
    {
        (void)freeze_pin(&f, i % PAGES);
        freeze_thaw(&f, rrdp, i % PAGES, frames[i % PAGES]);
    }
    PANDO_CHECK(f.pins.used == PINS && f.staging.used == PINS);
    printf("freeze: %llu copies, all as they should be\n", (unsigned long long)f.copies);
    free(mem);
    free(bytes);
    free(rrdp); /* it starts where its memory starts */
    return 0;
}
