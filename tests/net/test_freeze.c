/* SPDX-License-Identifier: BSD-3-Clause */
/* The freeze rule (engine/freeze.h): what is in flight keeps its bytes when the guest's page
 * changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/engine/freeze.h"

enum { PAGES = 8, PINS = 16 };

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
    struct ram ram = {.blocks = 1};
    struct freeze f;
    struct rrdp *rrdp = make_transport();
    uint8_t *bytes = calloc(PAGES, RAM_PAGE);
    ram.block[0] = (struct ram_block){.base_page = 0, .pages = PAGES, .alias = bytes};
    freeze_init(&f, calloc(1, freeze_size(PINS)), PINS);

    memset(ram_frame(&ram, 3), 0x33, RAM_PAGE);
    uint32_t a = freeze_pin(&f, 3), b = freeze_pin(&f, 3), other = freeze_pin(&f, 4);
    PANDO_CHECK(freeze_bytes(&f, &ram, f.pin[a].handle) == ram_frame(&ram, 3)); /* no copy yet */

    freeze_thaw(&f, rrdp, &ram, 5); /* nothing of page 5 is in flight */
    PANDO_CHECK(f.copies == 0);
    freeze_thaw(&f, rrdp, &ram, 3);
    memset(ram_frame(&ram, 3), 0x99, RAM_PAGE);        /* the page is the guest's again */
    PANDO_CHECK(f.copies == 1 && f.staging.used == 1); /* one copy serves both messages */
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *in_flight = freeze_bytes(&f, &ram, f.pin[i == 0 ? a : b].handle);
        PANDO_CHECK(in_flight[0] == 0x33 && in_flight[RAM_PAGE - 1] == 0x33);
    }
    PANDO_CHECK(freeze_bytes(&f, &ram, f.pin[other].handle) == ram_frame(&ram, 4));

    uint32_t c = freeze_pin(&f, 3); /* the new content leaves as well */
    PANDO_CHECK(freeze_bytes(&f, &ram, f.pin[c].handle)[0] == 0x99);
    freeze_unpin(&f, a);
    PANDO_CHECK(f.staging.used == 1);
    freeze_unpin(&f, b);
    PANDO_CHECK(f.staging.used == 0);
    freeze_unpin(&f, c);
    freeze_unpin(&f, other);
    PANDO_CHECK(f.pins.used == 0);

    for (uint32_t i = 0; i < PINS;
         i++) /* every pin on a page of its own, all thawed: buffers suffice */
        freeze_thaw(&f, rrdp, &ram, f.pin[freeze_pin(&f, i % PAGES)].handle);
    PANDO_CHECK(f.pins.used == PINS && f.staging.used == PINS);
    printf("freeze: %llu copies, all as they should be\n", (unsigned long long)f.copies);
    return 0;
}
