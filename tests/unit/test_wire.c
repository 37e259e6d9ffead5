/* SPDX-License-Identifier: BSD-3-Clause */
/* Layouts against the golden files (tests/golden/wire, made by another implementation), round
 * trips, every refusal, and each flipped bit of a sealed frame. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/wire/wire.h"
#include "tests/unit/wire_golden.h"

static bool may_have_age(uint8_t kind)
{
    return kind <= WIRE_INV; /* requests, and what they make the home demand of others */
}

static struct wire_msg example_msg(uint8_t kind)
{
    struct wire_msg m = {.kind = kind,
                         .vm = 3,
                         .requester = 5,
                         .page = UINT64_C(0x456789ABC),
                         .txn = UINT64_C(0x0A0B0C0D0E0F),
                         .version = UINT64_C(0xFEDCBA987654)};
    m.acks = kind == WIRE_FWD_GETM ? 2 : kind == WIRE_GRANT ? 63 : kind == WIRE_DATA ? 1 : 0;
    m.age = may_have_age(kind) ? 0x123 : 0;
    m.zero = kind == WIRE_GRANT;
    m.exclusive = kind == WIRE_FWD_GETM || kind == WIRE_INV_ACK || kind == WIRE_GRANT;
    return m;
}

static struct wire_glue example_glue(uint8_t kind)
{
    return (struct wire_glue){.kind = kind,
                              .vm = 3,
                              .chan = kind >= WIRE_VM_CMD ? WIRE_CHAN_VM : 7,
                              .op = 0xBEEF,
                              .seq = 0x01020304,
                              .arg = UINT64_C(0x1122334455667788)};
}

static struct wire_time example_time(uint8_t kind)
{
    struct wire_time m = {.kind = kind,
                          .vm = 3,
                          .seq = 0x01020304,
                          .khz = 2400000,
                          .rate = -4295,
                          .stamp = UINT64_C(0x1122334455667788)};
    if (kind == WIRE_TIME_REP) {
        m.received = UINT64_C(0x2233445566778899);
        m.base_ref = UINT64_C(0x33445566778899AA);
        m.base_c = UINT64_C(0x445566778899AABB);
        m.generation = 0x0A0B0C0D;
    }
    return m;
}

static struct wire_span example_span(void)
{
    return (struct wire_span){.kind = WIRE_SPAN,
                              .vm = 3,
                              .flags = WIRE_SPAN_AGAIN,
                              .chan = WIRE_CHAN_VM,
                              .points = 0x68,
                              .error = 0x01020304,
                              .id = UINT64_C(0x1122334455667788),
                              .stamp = {UINT64_C(0x2233445566778899), UINT64_C(0x33445566778899AA),
                                        UINT64_C(0x445566778899AABB)}};
}

/* Between dataplanes only; their payload has a layout. */
static bool has_layout(const struct wire_kind_info *info)
{
    return info->family == WIRE_FAMILY_CLOCK || info->family == WIRE_FAMILY_SPAN;
}

static size_t payload_of(const struct wire_kind_info *info)
{
    if (info->family == WIRE_FAMILY_SPAN)
        return 3 * 8;
    if (info->family == WIRE_FAMILY_CLOCK)
        return info->payload == WIRE_NONE ? 0 : WIRE_TIME_BYTES;
    return info->payload == WIRE_NONE ? 0 : info->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 77;
}

static bool same_msg(const struct wire_msg *a, const struct wire_msg *b)
{
    return a->kind == b->kind && a->vm == b->vm && a->requester == b->requester &&
           a->acks == b->acks && a->zero == b->zero && a->exclusive == b->exclusive &&
           a->page == b->page && a->age == b->age && a->txn == b->txn && a->version == b->version;
}

static bool same_glue(const struct wire_glue *a, const struct wire_glue *b)
{
    return a->kind == b->kind && a->vm == b->vm && a->chan == b->chan && a->op == b->op &&
           a->seq == b->seq && a->arg == b->arg;
}

static bool same_span(const struct wire_span *a, const struct wire_span *b)
{
    return a->kind == b->kind && a->vm == b->vm && a->what == b->what && a->flags == b->flags &&
           a->chan == b->chan && a->points == b->points && a->error == b->error && a->id == b->id &&
           memcmp(a->stamp, b->stamp, sizeof(a->stamp)) == 0;
}

static bool same_time(const struct wire_time *a, const struct wire_time *b)
{
    return a->kind == b->kind && a->vm == b->vm && a->seq == b->seq && a->khz == b->khz &&
           a->rate == b->rate && a->stamp == b->stamp && a->received == b->received &&
           a->base_ref == b->base_ref && a->base_c == b->base_c && a->generation == b->generation;
}

static void golden_messages(void **state)
{
    (void)state;
    unsigned kinds = 0;
    for (unsigned k = 0; k < 256; k++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)k);
        uint8_t want[64], got[WIRE_TIME_MAX];
        size_t size = WIRE_MSG_HEADER;
        if (info->name == NULL)
            continue;
        kinds++;
        if (has_layout(info))
            size += payload_of(info);
        assert_int_equal(golden(info->name, want, sizeof(want)), size);
        if (info->family == WIRE_FAMILY_CLOCK) {
            struct wire_time m = example_time((uint8_t)k), back;
            assert_int_equal(wire_time_pack(&m, got), size);
            assert_int_equal(wire_time_unpack(want, WIRE_MSG_HEADER, info->cls,
                                              want + WIRE_MSG_HEADER, payload_of(info), &back),
                             WIRE_OK);
            assert_true(same_time(&m, &back));
        } else if (info->family == WIRE_FAMILY_SPAN) {
            struct wire_span m = example_span(), back;
            assert_int_equal(wire_span_pack(&m, got), size);
            assert_int_equal(wire_span_unpack(want, WIRE_MSG_HEADER, info->cls,
                                              want + WIRE_MSG_HEADER, payload_of(info), &back),
                             WIRE_OK);
            assert_true(same_span(&m, &back));
        } else if (info->family == WIRE_FAMILY_GLUE) {
            struct wire_glue m = example_glue((uint8_t)k), back;
            wire_glue_pack(&m, got);
            assert_int_equal(wire_glue_unpack(want, size, info->cls, payload_of(info), &back),
                             WIRE_OK);
            assert_true(same_glue(&m, &back));
        } else {
            struct wire_msg m = example_msg((uint8_t)k), back;
            wire_msg_pack(&m, got);
            assert_int_equal(wire_msg_unpack(want, size, info->cls, payload_of(info), &back),
                             WIRE_OK);
            assert_true(same_msg(&m, &back));
        }
        assert_memory_equal(got, want, size);
    }
    assert_int_equal(kinds, 25);
}

static bool same_frame(const struct wire_rrdp *a, const struct wire_rrdp *b)
{
    return a->syn == b->syn && a->ack_valid == b->ack_valid && a->eack == b->eack &&
           a->rst == b->rst && a->nul == b->nul && a->first == b->first && a->last == b->last &&
           a->src == b->src && a->dst == b->dst && a->cls == b->cls && a->credit == b->credit &&
           a->cluster_tag == b->cluster_tag && a->data_len == b->data_len && a->seq == b->seq &&
           a->ack == b->ack && a->tag == b->tag && a->eack_bits == b->eack_bits &&
           a->part == b->part && a->part_at == b->part_at && a->part_of == b->part_of;
}

static void golden_frames(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(frames); i++) {
        uint8_t want[256], got[256];
        struct wire_rrdp h = example_frame(i), back;
        const uint8_t *data;
        size_t len = golden(frames[i].name, want, sizeof(want));
        size_t header = wire_rrdp_pack(&h, got);
        assert_int_equal(header + h.data_len, len);
        memcpy(got + header, want + header, h.data_len);
        wire_rrdp_seal(got, len);
        assert_memory_equal(got, want, len);
        assert_int_equal(wire_rrdp_unpack(want, len, 0x88, &back, &data), WIRE_OK);
        assert_true(same_frame(&h, &back) && data == want + header);
        memset(want + len, 0x5A, sizeof(want) - len); /* Ethernet pads; the tail is not ours */
        assert_int_equal(wire_rrdp_unpack(want, sizeof(want), 0x88, &back, &data), WIRE_OK);
        assert_int_equal(back.data_len, h.data_len);
    }
}

/* A frame may be cut anywhere behind its header: the bytes that leave are the same. */
static void sealed_in_parts(void **state)
{
    (void)state;
    uint8_t whole[WIRE_RRDP_HEADER_MAX + WIRE_PAGE_SIZE], head[sizeof(whole)], ext[sizeof(whole)];
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(frames); i++) {
        struct wire_rrdp h = example_frame(i), back;
        const uint8_t *data;
        size_t header = wire_rrdp_pack(&h, whole), len = header + h.data_len;
        for (size_t k = header; k < len; k++)
            whole[k] = (uint8_t)(k * 7 + i);
        wire_rrdp_seal(whole, len);
        for (size_t cut = WIRE_RRDP_HEADER; cut <= len; cut++) {
            memcpy(head, whole, cut);
            memset(head + WIRE_RRDP_CRC_OFFSET, 0xEE, 4); /* whatever was there */
            memcpy(ext + 3, whole + cut, len - cut);      /* and not aligned */
            wire_rrdp_seal_parts(head, cut, ext + 3, len - cut);
            memcpy(head + cut, ext + 3, len - cut);
            assert_memory_equal(head, whole, len);
            memset(head + WIRE_RRDP_CRC_OFFSET, 0xEE, sizeof(head) - WIRE_RRDP_CRC_OFFSET);
            memcpy(head + WIRE_RRDP_HEADER, whole + WIRE_RRDP_HEADER, cut - WIRE_RRDP_HEADER);
            wire_rrdp_seal_copy(head, cut, head + cut, ext + 3, len - cut);
            assert_memory_equal(head, whole, len);
        }
        assert_int_equal(wire_rrdp_unpack(head, len, 0x88, &back, &data), WIRE_OK);
    }
}

/* Each bit of each frame, each byte set to each other value in the header, and each shortening. */
static void no_damage_passes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(frames); i++) {
        uint8_t b[256];
        struct wire_rrdp back;
        const uint8_t *data;
        size_t len = golden(frames[i].name, b, sizeof(b));
        for (size_t bit = 0; bit < len * 8; bit++) {
            b[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_not_equal(wire_rrdp_unpack(b, len, 0x88, &back, &data), WIRE_OK);
            b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t at = 0; at < len; at++)
            for (unsigned v = 1; v < 256; v++) {
                b[at] ^= (uint8_t)v;
                assert_int_not_equal(wire_rrdp_unpack(b, len, 0x88, &back, &data), WIRE_OK);
                b[at] ^= (uint8_t)v;
            }
        for (size_t shorter = 0; shorter < len; shorter++) {
            enum wire_error e = wire_rrdp_unpack(b, shorter, 0x88, &back, &data);
            assert_int_equal(e, shorter < WIRE_RRDP_HEADER ? WIRE_E_SHORT : WIRE_E_LENGTH);
        }
        assert_int_equal(wire_rrdp_unpack(b, len, 0x88, &back, &data), WIRE_OK);
    }
}

/* What is sealed well and still not allowed. */
static enum wire_error resealed(unsigned frame, unsigned offset, uint8_t and, uint8_t or)
{
    uint8_t b[256];
    struct wire_rrdp back;
    const uint8_t *data;
    size_t len = golden(frames[frame].name, b, sizeof(b));
    b[offset] = (uint8_t)((b[offset] & and) | or);
    wire_rrdp_seal(b, len);
    return wire_rrdp_unpack(b, len, 0x88, &back, &data);
}

/* What is no part: nothing of a frame, all of it, or something of a group frame or HOST-PING. */
static void nothing_or_all(void **state)
{
    (void)state;
    static const struct {
        uint16_t len, of;
        enum wire_error e;
    } t[] = {{100, 101, WIRE_OK}, {100, 100, WIRE_E_RANGE}, {0, 100, WIRE_E_RANGE}};
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(t); i++) {
        struct wire_rrdp h = example_frame(15);
        uint8_t b[256] = {0};
        const uint8_t *data;
        assert_true(h.part);
        h.first = h.last = false;
        h.part_at = 0;
        h.data_len = t[i].len;
        h.part_of = t[i].of;
        size_t len = wire_rrdp_pack(&h, b) + h.data_len;
        wire_rrdp_seal(b, len);
        assert_int_equal(wire_rrdp_unpack(b, len, 0x88, &h, &data), t[i].e);
    }
    enum { PING = 7, PONG, GROUP };
    for (int which = PING; which <= GROUP; which++) {
        struct wire_rrdp h = example_frame(which);
        uint8_t b[256] = {0};
        const uint8_t *data;
        assert_true(wire_rrdp_is_ping(&h) || h.dst == WIRE_DST_GROUP);
        h.part = true;
        h.part_of = 100;
        size_t len = wire_rrdp_pack(&h, b) + h.data_len;
        wire_rrdp_seal(b, len);
        assert_int_equal(wire_rrdp_unpack(b, len, 0x88, &h, &data), WIRE_E_RANGE);
    }
}

static void refused_frames(void **state)
{
    (void)state;
    enum { SYN, SYN_ACK, ACK, EACK, NUL, RST, CLOSED, PING, PONG, GROUP, MESSAGE, PART = 15 };
    assert_int_equal(resealed(ACK, 0, 0xFC, 0), WIRE_E_VERSION);
    assert_int_equal(resealed(ACK, 0, 0xFC, 2), WIRE_E_VERSION);
    assert_int_equal(resealed(ACK, 0, 0xFF, 0x80), WIRE_E_RESERVED);
    assert_int_equal(resealed(ACK, 1, 0xFF, 0x80), WIRE_E_RESERVED);
    assert_int_equal(resealed(ACK, 1, 0xE0, 5), WIRE_E_LENGTH);
    assert_int_equal(resealed(ACK, 1, 0xE0, 8), WIRE_E_LENGTH);
    assert_int_equal(resealed(EACK, 1, 0xE0, 6), WIRE_E_LENGTH);
    assert_int_equal(resealed(ACK, 7, 0, 0x89), WIRE_E_CLUSTER);
    assert_int_equal(resealed(ACK, 2, 0, 64), WIRE_E_RANGE);
    assert_int_equal(resealed(ACK, 3, 0, 64), WIRE_E_RANGE);
    assert_int_equal(resealed(ACK, 0, 0xF7, 0), WIRE_E_RANGE);     /* nothing at all */
    assert_int_equal(resealed(ACK, 1, 0xFF, 0x20), WIRE_E_RANGE);  /* FIRST without data */
    assert_int_equal(resealed(ACK, 1, 0xFF, 0x40), WIRE_E_RANGE);  /* LAST without data */
    assert_int_equal(resealed(EACK, 0, 0xF7, 0x40), WIRE_E_RANGE); /* EACK without ACK */
    assert_int_equal(resealed(MESSAGE, 0, 0xF7, 0), WIRE_E_RANGE); /* data without ACK */
    assert_int_equal(resealed(MESSAGE, 0, 0xFF, 0x20), WIRE_E_RANGE);
    assert_int_equal(resealed(MESSAGE, 0, 0xFF, 0x40), WIRE_E_RANGE);
    assert_int_equal(resealed(SYN_ACK, 0, 0xFF, 0x20), WIRE_E_RANGE);
    assert_int_equal(resealed(SYN, 0, 0xFF, 0x40), WIRE_E_RANGE); /* a HOST-PING with data */
    assert_int_equal(resealed(PING, 0, 0xFF, 0x20), WIRE_E_RANGE);
    assert_int_equal(resealed(PING, 4, 0xFF, 1), WIRE_E_RANGE); /* not class 0 */
    assert_int_equal(resealed(PING, 6, 0, WIRE_PING_BY_KERNEL), WIRE_E_RANGE);
    assert_int_equal(resealed(PONG, 6, 0, 0), WIRE_E_RANGE); /* by nobody */
    assert_int_equal(resealed(PONG, 6, 0, WIRE_PING_BY_PROCESS + 1), WIRE_E_RANGE);
    assert_int_equal(resealed(PONG, 6, 0, WIRE_PING_BY_KERNEL), WIRE_OK);
    for (uint8_t flag = 4; flag < 0x80; flag = (uint8_t)(flag << 1))
        assert_int_not_equal(resealed(GROUP, 0, 0xFF, flag), WIRE_OK);
    assert_int_equal(resealed(GROUP, 1, 0xDF, 0), WIRE_E_RANGE); /* not FIRST */
    assert_int_equal(resealed(GROUP, 2, 0, 64), WIRE_E_RANGE);
    assert_int_equal(resealed(GROUP, 4, 0xFF, 1), WIRE_E_RANGE); /* not class 0 */
    assert_int_equal(resealed(GROUP, 6, 0, 1), WIRE_E_RANGE);
    assert_int_equal(resealed(GROUP, 8, 0, 1), WIRE_E_RANGE);
    assert_int_equal(resealed(GROUP, 12, 0, 1), WIRE_E_RANGE);
    assert_int_equal(resealed(PART, 1, 0xE0, 8), WIRE_E_LENGTH);
    assert_int_equal(resealed(PART, 0, 0xF7, 0), WIRE_E_RANGE);    /* without ACK */
    assert_int_equal(resealed(PART, 0, 0xFF, 0x04), WIRE_E_RANGE); /* a SYN */
    assert_int_equal(resealed(PART, 24, 0, 0x19), WIRE_E_RANGE);   /* more than the frame has */
    assert_int_equal(resealed(PART, 26, 0, 0x7B), WIRE_E_RANGE);
    assert_int_equal(resealed(PART, 24, 0, 0x17), WIRE_OK);
    assert_int_equal(resealed(PART, 27, 0, 0x23), WIRE_E_RANGE); /* no frame is so long: 9084 */
    assert_int_equal(resealed(NUL, 0, 0xFF, 0), WIRE_OK);
}

/* What each of 64 nodes finds in the golden group frame, and in others. */
static void group_frames(void **state)
{
    (void)state;
    uint8_t b[256], out[WIRE_GROUP_MAX];
    size_t len = golden("rrdp_group", b, sizeof(b));
    struct wire_group g = {.members = bit64(1) | bit64(9) | bit64(63)};
    for (uint8_t n = 0; n < WIRE_NODES_MAX; n++) {
        struct wire_rrdp h;
        const uint8_t *data;
        assert_int_equal(wire_rrdp_unpack(b, len, 0x88, &h, &data), WIRE_OK);
        bool member = g.members >> n & 1;
        assert_int_equal(wire_group_open(&h, n, &data), member ? WIRE_OK : WIRE_E_RANGE);
        g.seq[n] = 0xFFFFFF80u + n;
        g.tag[n] = 0xCAFE0000u + n;
        if (!member)
            continue;
        assert_true(h.dst == n && h.seq == g.seq[n] && h.tag == g.tag[n]);
        assert_true(h.data_len == WIRE_MSG_HEADER && data == b + len - WIRE_MSG_HEADER);
    }
    assert_int_equal(wire_group_pack(&g, b + len - WIRE_MSG_HEADER, WIRE_MSG_HEADER, out),
                     len - WIRE_RRDP_HEADER);
    assert_memory_equal(out, b + WIRE_RRDP_HEADER, len - WIRE_RRDP_HEADER);
    for (uint16_t cut = 0; cut < len; cut++) { /* a length that the members do not fit */
        struct wire_rrdp h = {.data_len = cut};
        const uint8_t *data = b + WIRE_RRDP_HEADER;
        bool fits = cut >= 8 + 3 * 8 + WIRE_MSG_HEADER && cut <= 8 + 3 * 8 + WIRE_GROUP_MSG_MAX;
        assert_int_equal(wire_group_open(&h, 9, &data), fits ? WIRE_OK : WIRE_E_LENGTH);
    }
    memset(b + WIRE_RRDP_HEADER, 0, 8); /* nobody */
    struct wire_rrdp h = {.data_len = 30};
    const uint8_t *data = b + WIRE_RRDP_HEADER;
    assert_int_equal(wire_group_open(&h, 9, &data), WIRE_E_LENGTH);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void random_round_trips(void **state)
{
    (void)state;
    struct prng r = {11};
    for (int i = 0; i < 20000; i++) {
        uint8_t b[WIRE_MSG_HEADER];
        uint8_t kind = (uint8_t)(1 + prng_below(&r, 12));
        const struct wire_kind_info *info = wire_kind_info(kind);
        struct wire_msg m = example_msg(kind), back;
        m.vm = (uint8_t)prng_next(&r);
        m.requester = (uint8_t)prng_below(&r, WIRE_NODES_MAX);
        m.page = prng_next(&r) >> 28;
        m.age = may_have_age(kind) ? (uint16_t)prng_below(&r, WIRE_AGE_MAX + 1) : 0;
        m.txn = prng_next(&r) >> 16;
        m.version = prng_next(&r) >> 16;
        wire_msg_pack(&m, b);
        assert_int_equal(wire_msg_unpack(b, sizeof(b), info->cls, payload_of(info), &back),
                         WIRE_OK);
        assert_true(same_msg(&m, &back));
        struct wire_glue g = example_glue((uint8_t)(0x20 + prng_below(&r, 10))), gback;
        info = wire_kind_info(g.kind);
        g.chan = (uint16_t)prng_below(&r, WIRE_VCPUS_MAX);
        g.op = (uint16_t)prng_next(&r);
        g.seq = (uint32_t)prng_next(&r);
        g.arg = prng_next(&r);
        wire_glue_pack(&g, b);
        assert_int_equal(wire_glue_unpack(b, sizeof(b), info->cls, payload_of(info), &gback),
                         WIRE_OK);
        assert_true(same_glue(&g, &gback));
    }
}

static void refused_messages(void **state)
{
    (void)state;
    struct wire_msg m;
    struct wire_glue g;
    uint8_t zero[WIRE_MSG_HEADER] = {0}, b[WIRE_MSG_HEADER];
    assert_int_equal(wire_msg_unpack(zero, 22, 1, 0, &m), WIRE_E_KIND);
    assert_int_equal(wire_glue_unpack(zero, 22, 1, 0, &g), WIRE_E_KIND);
    for (unsigned k = 0; k < 256; k++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)k);
        memset(b, 0, sizeof(b));
        b[0] = (uint8_t)k;
        size_t n = payload_of(info);
        if (info->name == NULL) {
            assert_int_equal(wire_msg_unpack(b, 22, info->cls, 0, &m), WIRE_E_KIND);
            assert_int_equal(wire_glue_unpack(b, 22, info->cls, 0, &g), WIRE_E_KIND);
            continue;
        }
        if (has_layout(info))
            continue; /* refused_times, refused_spans */
#define UNPACK(len, cls, payload)                                                                  \
    (info->family == WIRE_FAMILY_GLUE ? wire_glue_unpack(b, len, cls, payload, &g)                 \
                                      : wire_msg_unpack(b, len, cls, payload, &m))
        assert_int_equal(UNPACK(22, info->cls, n), WIRE_OK);
        assert_int_equal(UNPACK(21, info->cls, n), WIRE_E_SHORT);
        assert_int_equal(UNPACK(22, (info->cls + 1) % 4u, n), WIRE_E_CLASS);
        assert_int_equal(UNPACK(22, info->cls, WIRE_BYTES_MAX + 1), WIRE_E_LENGTH);
        if (info->payload != WIRE_BYTES)
            assert_int_equal(UNPACK(22, info->cls, n + 1), WIRE_E_LENGTH);
        if (info->payload == WIRE_PAGE)
            assert_int_equal(UNPACK(22, info->cls, 0), WIRE_E_LENGTH);
        if (info->family == WIRE_FAMILY_GLUE) {
            assert_int_equal(wire_msg_unpack(b, 22, info->cls, n, &m), WIRE_E_KIND);
            put_le16(b + 2, WIRE_VCPUS_MAX);
            assert_int_equal(UNPACK(22, info->cls, n), WIRE_E_RANGE);
            put_le16(b + 2, WIRE_CHAN_VM);
            assert_int_equal(UNPACK(22, info->cls, n), WIRE_OK);
            for (unsigned at = 18; at < 22; at++, memset(b + 18, 0, 4)) {
                b[at] = 1;
                assert_int_equal(UNPACK(22, info->cls, n), WIRE_E_RESERVED);
            }
        } else {
            assert_int_equal(wire_glue_unpack(b, 22, info->cls, n, &g), WIRE_E_KIND);
            b[2] = WIRE_NODES_MAX;
            assert_int_equal(UNPACK(22, info->cls, n), WIRE_E_RANGE);
            b[2] = 0;
            bool flags =
                k == WIRE_GRANT || k == WIRE_DATA || k == WIRE_FWD_GETM || k == WIRE_INV_ACK;
            for (unsigned bit = 6; bit < 8; bit++) {
                b[3] = (uint8_t)(1u << bit);
                assert_int_equal(UNPACK(22, info->cls, n), flags ? WIRE_OK : WIRE_E_RESERVED);
            }
            b[3] = 0;
            for (unsigned bit = 0; bit < 48; bit++) { /* page and age */
                put_le48(b + 4, UINT64_C(1) << bit);
                assert_int_equal(UNPACK(22, info->cls, n),
                                 bit < 36 || may_have_age(k) ? WIRE_OK : WIRE_E_RESERVED);
            }
            put_le48(b + 4, 0);
            b[3] = 1;
            assert_int_equal(UNPACK(22, info->cls, n),
                             flags && k != WIRE_INV_ACK ? WIRE_OK : WIRE_E_RESERVED);
        }
#undef UNPACK
    }
}

/* Never more than it was, by less than 1 us or 1 % less, in order, and 12 bits. */
static void ages(void **state)
{
    (void)state;
    struct prng r = {12};
    assert_int_equal(wire_age(999), 0);
    assert_int_equal(wire_age_ns(wire_age(127999)), 127000);
    assert_int_equal(wire_age_ns(wire_age(128000)), 128000);
    assert_int_equal(wire_age(UINT64_MAX), WIRE_AGE_MAX);
    for (uint16_t age = 0; age < WIRE_AGE_MAX; age++) {
        assert_true(wire_age_ns(age) < wire_age_ns((uint16_t)(age + 1)));
        assert_int_equal(wire_age(wire_age_ns(age)), age);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t ns = prng_next(&r) >> (18 + prng_below(&r, 40)), back = wire_age_ns(wire_age(ns));
        assert_true(back <= ns && ns - back < 1000 + ns / 127);
    }
}

static void refused_times(void **state)
{
    (void)state;
    for (uint8_t k = WIRE_TIME_REQ; k <= WIRE_TIME_REP; k++) {
        const struct wire_kind_info *info = wire_kind_info(k);
        struct wire_time m = example_time(k), back;
        struct wire_glue g;
        struct wire_msg c;
        uint8_t b[WIRE_TIME_MAX + 1], *p = b + WIRE_MSG_HEADER;
        size_t n = wire_time_pack(&m, b) - WIRE_MSG_HEADER;
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, n, &back), WIRE_OK);
        assert_int_equal(wire_time_unpack(b, 21, info->cls, p, n, &back), WIRE_E_SHORT);
        assert_int_equal(wire_time_unpack(b, 22, 1, p, n, &back), WIRE_E_CLASS);
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, n + 1, &back), WIRE_E_LENGTH);
        /* The other families' unpacking refuses them, and theirs the others'. */
        assert_int_equal(wire_glue_unpack(b, 22, info->cls, n, &g), WIRE_E_KIND);
        assert_int_equal(wire_msg_unpack(b, 22, info->cls, n, &c), WIRE_E_KIND);
        b[0] = WIRE_IRQ;
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, 0, &back), WIRE_E_KIND);
        b[0] = k;
        put_le32(b + 6, 0);
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, n, &back), WIRE_E_RANGE);
        put_le32(b + 6, 1);
        if (k == WIRE_TIME_REQ)
            continue;
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, n - 1, &back), WIRE_E_LENGTH);
        assert_int_equal(wire_time_unpack(b, 22, info->cls, p, 0, &back), WIRE_E_LENGTH);
        for (unsigned at = 28; at < 32; at++, put_le32(p + 28, 0)) {
            p[at] = 1;
            assert_int_equal(wire_time_unpack(b, 22, info->cls, p, n, &back), WIRE_E_RESERVED);
        }
    }
}

static void refused_spans(void **state)
{
    (void)state;
    struct wire_span m = example_span(), back;
    struct wire_time t;
    struct wire_glue g;
    uint8_t good[WIRE_SPAN_MAX + 1] = {0}, b[WIRE_SPAN_MAX + 1], *p = b + WIRE_MSG_HEADER;
    size_t n = wire_span_pack(&m, good) - WIRE_MSG_HEADER;
    memcpy(b, good, sizeof(b));
    assert_int_equal(wire_span_unpack(b, 22, 3, p, n, &back), WIRE_OK);
    assert_int_equal(wire_span_unpack(b, 21, 3, p, n, &back), WIRE_E_SHORT);
    assert_int_equal(wire_span_unpack(b, 22, 0, p, n, &back), WIRE_E_CLASS);
    assert_int_equal(wire_span_unpack(b, 22, 3, p, n + 1, &back), WIRE_E_LENGTH);
    assert_int_equal(wire_span_unpack(b, 22, 3, p, n - 8, &back), WIRE_E_LENGTH);
    assert_int_equal(wire_glue_unpack(b, 22, 3, n, &g), WIRE_E_KIND);
    assert_int_equal(wire_time_unpack(b, 22, 3, p, n, &t), WIRE_E_KIND);
    static const struct {
        unsigned at, value;
        enum wire_error why;
    } bad[] = {
        {0, WIRE_TIME_REP, WIRE_E_KIND},
        {2, WIRE_SPAN_WHATS, WIRE_E_RANGE},
        {3, 4, WIRE_E_RESERVED},
        {3, 0x80, WIRE_E_RESERVED},
        {5, 0, WIRE_E_RANGE},
        {6, 0x1F, WIRE_E_RANGE}, /* channel 0xFF; 5 more points */
        {20, 1, WIRE_E_RESERVED},
        {21, 1, WIRE_E_RESERVED},
        {22 + 7, 0x34, WIRE_E_RANGE},
        {22 + 23, 0x32, WIRE_E_RANGE}, /* not in order */
        {6, 0x69, WIRE_E_LENGTH},      /* one point more than stamps */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memcpy(b, good, sizeof(b));
        b[bad[i].at] = (uint8_t)bad[i].value;
        assert_int_equal(wire_span_unpack(b, 22, 3, p, n, &back), bad[i].why);
    }
    memcpy(b, good, sizeof(b));
    put_le16(b + 6, 0);
    assert_int_equal(wire_span_unpack(b, 22, 3, p, 0, &back), WIRE_E_RANGE);
    memcpy(b, good, sizeof(b));
    put_le64(b + 12, 0);
    assert_int_equal(wire_span_unpack(b, 22, 3, p, n, &back), WIRE_E_RANGE);
}

static void printing(void **state)
{
    (void)state;
    char line[128], tiny[8];
    struct wire_msg m = {.kind = WIRE_GETM, .requester = 1, .page = 0x12, .txn = 7, .version = 3};
    assert_int_equal(wire_msg_print(&m, line, sizeof(line)), strlen("getm p=0x12 r=1 txn=7 v=3"));
    assert_string_equal(line, "getm p=0x12 r=1 txn=7 v=3");
    m = example_msg(WIRE_GRANT);
    wire_msg_print(&m, line, sizeof(line));
    assert_string_equal(line, "grant p=0x456789abc r=5 txn=11042563100175 v=280223976814164 "
                              "acks=63 zero excl");
    struct wire_glue g = example_glue(WIRE_VM_CMD);
    wire_glue_print(&g, line, sizeof(line));
    assert_string_equal(line, "vm_cmd chan=vm op=48879 seq=16909060 arg=0x1122334455667788");
    struct wire_time t = example_time(WIRE_TIME_REP);
    wire_time_print(&t, line, sizeof(line));
    assert_string_equal(line, "time_rep seq=16909060 khz=2400000 rate=-4295 "
                              "stamp=0x1122334455667788 gen=168496141");
    assert_int_equal(wire_msg_print(&m, tiny, sizeof(tiny)), 7);
    assert_string_equal(tiny, "grant p");
    m.kind = 0xEE;
    wire_msg_print(&m, tiny, sizeof(tiny));
    assert_string_equal(tiny, "kind? p");
    for (int e = 0; e <= WIRE_ERRORS; e++)
        assert_non_null(wire_error_name((enum wire_error)e));
    assert_string_equal(wire_error_name(WIRE_E_CRC), "crc");
    assert_string_equal(wire_class_name(WIRE_CLASS_BULK), "bulk");
    assert_string_equal(wire_class_name(4), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_messages),    cmocka_unit_test(golden_frames),
        cmocka_unit_test(no_damage_passes),   cmocka_unit_test(refused_frames),
        cmocka_unit_test(nothing_or_all),     cmocka_unit_test(group_frames),
        cmocka_unit_test(random_round_trips), cmocka_unit_test(sealed_in_parts),
        cmocka_unit_test(refused_messages),   cmocka_unit_test(ages),
        cmocka_unit_test(refused_times),      cmocka_unit_test(refused_spans),
        cmocka_unit_test(printing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
