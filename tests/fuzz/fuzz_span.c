/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes spans: what this node does in any order, and SPAN messages of any peer about anything.
 * Operation 1, then by operation. Each span ends once: in a histogram, for a reason, or open.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/span/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

enum { SELF = 1, NODES = 4, ARGS = 12 };

static struct spans s;
static uint64_t now, begun, local;

static struct span_key key_of(const uint8_t *a)
{
    return (struct span_key){.id = 1 + a[0],
                             .chan = a[1] % 3 == SPAN_FAULT ? 0 : a[2] % 4,
                             .what = a[1] % 3,
                             .node = a[3] % NODES};
}

static void own(unsigned op, struct span_key k, const uint8_t *a)
{
    unsigned point = a[5] % span_points((enum span_what)k.what);
    static const enum span_kind kind[SPAN_WHATS] = {SPAN_KIND_READ, SPAN_KIND_IPI, SPAN_KIND_IO};
    struct span_begin b = {.kind = kind[k.what], .home = a[4] % NODES, .object = a[6]};
    struct span_fault_end end = {.kind = (enum span_kind)(a[4] % 3),
                                 .read = now - a[5],
                                 .asked = now - a[6] % (a[5] + 1u),
                                 .mapped = now,
                                 .home = a[7] % NODES,
                                 .prefetch = a[8] % 4 == 0,
                                 .error = a[9]};
    k.node = SELF;
    switch (op) {
    case 0:
        begun += !span_is_open(&s, &k);
        span_begin(&s, &k, &b, k.what == SPAN_FAULT ? SPAN_AT_ASKED : 0, now);
        break;
    case 1:
        span_stamp(&s, &k, point, now);
        break;
    case 2:
        if (k.what == SPAN_FAULT && a[6] % 2 == 0)
            span_answered(&s, &k, a[4] % NODES, a[5] % 2 != 0, now);
        else if (k.what == SPAN_FAULT)
            span_acked(&s, &k, a[4] % NODES, now);
        break;
    case 3:
        if (k.what == SPAN_FAULT) {
            uint64_t before = s.kind[SPAN_KIND_LOCAL].total.count;
            span_fault_end(&s, &k, &end);
            local += s.kind[SPAN_KIND_LOCAL].total.count - before;
        }
        break;
    case 4:
        if (k.what == SPAN_IO)
            span_io_end(&s, &k, (struct span_time){.at = now - a[5], .error = a[6]});
        break;
    default:
        span_again(&s, &k);
    }
}

static void piece(unsigned op, struct span_key k, const uint8_t *a)
{
    struct wire_span m;
    uint8_t bytes[WIRE_SPAN_MAX];
    if (k.node == SELF)
        return;
    if (k.what == SPAN_FAULT)
        k.chan = a[7] % 2 ? SPAN_CHAN_SHARER : 0;
    if (op == 0)
        span_part_begin(&s, &k, a[5] % span_points((enum span_what)k.what), now);
    else if (op == 1)
        span_stamp(&s, &k, a[5] % span_points((enum span_what)k.what), now - a[6]);
    else if (span_part_end(&s, &k, a[5], a[6] & WIRE_SPAN_FLAGS, &m)) {
        struct wire_span back; /* what leaves is good at the other end */
        size_t n = wire_span_pack(&m, bytes);
        PANDO_CHECK(wire_span_unpack(bytes, WIRE_MSG_HEADER, WIRE_CLASS_BULK,
                                     bytes + WIRE_MSG_HEADER, n - WIRE_MSG_HEADER,
                                     &back) == WIRE_OK);
    }
}

static void message(struct span_key k, const uint8_t *a)
{
    struct wire_span m = {.kind = WIRE_SPAN,
                          .what = k.what,
                          .flags = a[4] & WIRE_SPAN_FLAGS,
                          .chan = k.what == SPAN_FAULT ? WIRE_CHAN_VM : k.chan,
                          .points = (uint16_t)(a[5] | a[6] << 8),
                          .error = a[7],
                          .id = k.id};
    unsigned n = bit64_count(m.points);
    if (n < 1 || n > WIRE_SPAN_STAMPS)
        return; /* refused by wire_span_unpack, as stamps out of order are */
    for (unsigned i = 0; i < n; i++)
        m.stamp[i] = now - a[8] + (uint64_t)(a[9] % 64) * i;
    span_message(&s, k.node, &m, (struct span_time){.at = now, .error = a[10]});
}

static void check_ends(void)
{
    uint64_t ends = 0;
    for (unsigned k = 0; k < SPAN_KINDS; k++) {
        struct span_kind_count *c = &s.kind[k];
        ends += c->total.count;
        for (unsigned i = 0; i < SPAN_LACKS; i++)
            ends += c->lack[i];
        PANDO_CHECK(c->total.max < UINT64_C(1) << 40); /* no stage below 0 */
        for (unsigned p = 0; p < SPAN_POINTS_MAX; p++)
            PANDO_CHECK(c->stage[p].max <= c->total.max && c->stage[p].count <= c->total.count);
    }
    for (unsigned w = 0; w < SPAN_WHATS; w++)
        ends += span_open_count(&s, (enum span_what)w, false) +
                span_open_count(&s, (enum span_what)w, true);
    PANDO_CHECK(ends == begun + local);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct span_config c = {.self = SELF, .nodes = NODES, .sample = 1};
    memset(&s, 0, sizeof(s));
    span_init(&s, &c);
    s.khz = 2000000;
    now = 1 << 20;
    begun = local = 0;
    for (; size > ARGS; in += 1 + ARGS, size -= 1 + ARGS) {
        const uint8_t *a = in + 1;
        now += in[0] >> 4;
        unsigned op = in[0] % 16;
        if (op < 6)
            own(op, key_of(a), a);
        else if (op < 9)
            piece(op - 6, key_of(a), a);
        else
            message(key_of(a), a);
    }
    check_ends();
    return 0;
}
