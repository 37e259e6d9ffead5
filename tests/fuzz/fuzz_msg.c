/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzzes the unpacking of message headers: class 1 | payload length 2 | header, and a clock's
 * or span's payload. What is accepted
 * must be in range, pack to the same bytes, and print. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    uint8_t packed[WIRE_TIME_MAX];
    char line[40];
    struct wire_msg m;
    struct wire_glue g;
    struct wire_time t;
    struct wire_span s;
    if (size < 3)
        return 0;
    unsigned cls = in[0] & 7;
    size_t payload = get_le16(in + 1), len = size - 3;
    uint8_t *copy = malloc(len); /* exact, for the sanitizer */
    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, in + 3, len);
    if (wire_msg_unpack(copy, len, cls, payload, &m) == WIRE_OK) {
        PANDO_CHECK(cls < WIRE_CLASSES && m.requester < WIRE_NODES_MAX && m.acks < 64);
        PANDO_CHECK(m.page >> 36 == 0 && m.age <= WIRE_AGE_MAX);
        wire_msg_pack(&m, packed);
        PANDO_CHECK(memcmp(packed, copy, WIRE_MSG_HEADER) == 0);
        PANDO_CHECK(wire_msg_print(&m, line, sizeof(line)) == strlen(line));
    }
    if (wire_glue_unpack(copy, len, cls, payload, &g) == WIRE_OK) {
        PANDO_CHECK(cls < WIRE_CLASSES && (g.chan < WIRE_VCPUS_MAX || g.chan == WIRE_CHAN_VM));
        wire_glue_pack(&g, packed);
        PANDO_CHECK(memcmp(packed, copy, WIRE_MSG_HEADER) == 0);
        PANDO_CHECK(wire_glue_print(&g, line, sizeof(line)) == strlen(line));
    }
    size_t tail = len > WIRE_MSG_HEADER ? len - WIRE_MSG_HEADER : 0;
    if (payload <= tail &&
        wire_time_unpack(copy, len, cls, copy + WIRE_MSG_HEADER, payload, &t) == WIRE_OK) {
        size_t n = wire_time_pack(&t, packed);
        PANDO_CHECK(n == WIRE_MSG_HEADER + payload && memcmp(packed, copy, n) == 0);
        PANDO_CHECK(wire_time_print(&t, line, sizeof(line)) == strlen(line));
    }
    if (payload <= tail &&
        wire_span_unpack(copy, len, cls, copy + WIRE_MSG_HEADER, payload, &s) == WIRE_OK) {
        size_t n = wire_span_pack(&s, packed);
        PANDO_CHECK(n == WIRE_MSG_HEADER + payload && memcmp(packed, copy, n) == 0);
        PANDO_CHECK(s.what < WIRE_SPAN_WHATS && s.id != 0);
        PANDO_CHECK(wire_span_print(&s, line, sizeof(line)) == strlen(line));
    }
    free(copy);
    return 0;
}
