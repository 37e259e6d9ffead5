/* SPDX-License-Identifier: BSD-3-Clause */
/* The golden files of tests/golden/wire, and the headers that its rrdp_* frames were made of. For
 * tests of one file each, behind cmocka.h. */
#ifndef PANDO_TESTS_WIRE_GOLDEN_H
#define PANDO_TESTS_WIRE_GOLDEN_H

#include <stdio.h>

#include "dataplane/wire/wire.h"

static size_t golden(const char *name, uint8_t *out, size_t size)
{
    char path[512];
    unsigned byte;
    size_t n = 0;
    snprintf(path, sizeof(path), PANDO_SOURCE_ROOT "/tests/golden/wire/%s.hex", name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("no golden file %s: a new message needs one", path);
    while (fscanf(f, "%2x", &byte) == 1) {
        assert_true(n < size);
        out[n++] = (uint8_t)byte;
    }
    fclose(f);
    return n;
}

/* ---- frames -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct wire_rrdp h;
} frames[] = {
    {"rrdp_syn", {.syn = true, .first = true, .last = true, .data_len = 48}},
    {"rrdp_syn_ack", {.syn = true, .ack_valid = true, .first = true, .last = true, .data_len = 48}},
    {"rrdp_ack", {.ack_valid = true, .cls = 1}},
    {"rrdp_eack",
     {.ack_valid = true, .cls = 1, .eack = true, .eack_bits = UINT64_C(0x8000000000000005)}},
    {"rrdp_nul", {.ack_valid = true, .nul = true}},
    {"rrdp_rst", {.rst = true}},
    {"rrdp_closed", {.rst = true, .nul = true}},
    {"rrdp_ping", {.syn = true, .nul = true}},
    {"rrdp_pong", {.syn = true, .nul = true, .ack_valid = true, .credit = WIRE_PING_BY_PROCESS}},
    {"rrdp_group", {.dst = WIRE_DST_GROUP, .first = true, .last = true, .data_len = 54}},
    {"rrdp_message", {.ack_valid = true, .cls = 1, .first = true, .last = true, .data_len = 22}},
    {"rrdp_first", {.ack_valid = true, .cls = 2, .first = true, .data_len = 122}},
    {"rrdp_middle", {.ack_valid = true, .cls = 2, .data_len = 100}},
    {"rrdp_last", {.ack_valid = true, .cls = 2, .last = true, .data_len = 100}},
    {"rrdp_last_eack",
     {.ack_valid = true, .cls = 3, .last = true, .data_len = 100, .eack = true, .eack_bits = 1}},
    {"rrdp_part",
     {.ack_valid = true,
      .cls = 2,
      .first = true,
      .last = true,
      .data_len = 100,
      .part = true,
      .part_at = 0x0B18,
      .part_of = 0x0B7C}},
};

static struct wire_rrdp example_frame(unsigned i)
{
    struct wire_rrdp h = frames[i].h;
    h.src = 2;
    h.cluster_tag = 0x88;
    h.tag = 0xCAFEF00D;
    if (h.dst == WIRE_DST_GROUP)
        return h;
    h.dst = 9;
    if (!wire_rrdp_is_ping(&h))
        h.credit = 64;
    h.seq = 0xFFFFFFFE;
    h.ack = 3;
    return h;
}

#endif
