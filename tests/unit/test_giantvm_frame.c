/* SPDX-License-Identifier: BSD-3-Clause */
/* The frames of the GiantVM-style baseline: their lengths, and what of a peer's bytes is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/prng.h"
#include "perf/giantvm/core/frame.h"

static const struct wire_msg example = {.kind = WIRE_DATA,
                                        .requester = 3,
                                        .exclusive = true,
                                        .age = 0x0005,
                                        .version = 0x1234,
                                        .page = 0x89ABCDEF,
                                        .txn = 0xFEDCBA98};

static void test_layout(void **state)
{
    static const uint8_t want[FRAME_DSM_HEADER] = {WIRE_DATA, 0x83, 5,    0,    0x34, 0x12, 0xEF,
                                                   0xCD,      0xAB, 0x89, 0x98, 0xBA, 0xDC, 0xFE};
    uint8_t out[FRAME_DSM_HEADER];
    struct wire_msg m;
    (void)state;
    frame_pack(&example, out);
    assert_memory_equal(out, want, sizeof(want));
    assert_int_equal(frame_unpack(out, 4, FRAME_PAGES_MAX, &m), WIRE_OK);
    assert_int_equal(m.kind, WIRE_DATA);
    assert_int_equal(m.requester, 3);
    assert_true(m.exclusive);
    assert_int_equal(m.age, 5);
    assert_int_equal(m.version, 0x1234);
    assert_int_equal(m.page, 0x89ABCDEF);
    assert_int_equal(m.txn, 0xFEDCBA98);
}

static void test_lengths(void **state)
{
    static const uint8_t dsm[] = {WIRE_GETS, WIRE_GETM, WIRE_DATA, WIRE_INV, WIRE_INV_ACK};
    uint8_t in[4] = {0};
    (void)state;
    assert_int_equal(frame_length(in, 0), 0);
    for (size_t i = 0; i < sizeof(dsm); i++) {
        in[0] = dsm[i];
        assert_int_equal(frame_length(in, 1), 4110);
    }
    in[0] = FRAME_HELLO;
    assert_int_equal(frame_length(in, 1), FRAME_HELLO_LEN);
    in[0] = FRAME_BYE;
    assert_int_equal(frame_length(in, 1), 2);
    in[0] = WIRE_IO_EXIT;
    assert_int_equal(frame_length(in, 3), 0);
    put_le16(in + 2, WIRE_BYTES_MAX);
    assert_int_equal(frame_length(in, 4), 4 + WIRE_MSG_HEADER + WIRE_BYTES_MAX);
    assert_int_equal(frame_length(in, 4), FRAME_MAX);
    put_le16(in + 2, WIRE_BYTES_MAX + 1);
    assert_int_equal(frame_length(in, 4), -1);
    put_le16(in + 2, 0);
    in[1] = 1;
    assert_int_equal(frame_length(in, 4), -1);
    for (unsigned kind = 0; kind < 256; kind++) { /* no other kind begins a frame */
        const struct wire_kind_info *info = wire_kind_info((uint8_t)kind);
        bool known = (info->name != NULL && info->family != WIRE_FAMILY_COH) ||
                     kind == FRAME_HELLO || kind == FRAME_BYE || kind == FRAME_STOP;
        for (size_t i = 0; i < sizeof(dsm); i++)
            known |= kind == dsm[i];
        uint8_t bytes[4] = {(uint8_t)kind};
        assert_int_equal(frame_length(bytes, 4) > 0, known);
    }
}

static enum wire_error changed(unsigned at, uint8_t to)
{
    uint8_t in[FRAME_DSM_HEADER];
    struct wire_msg m;
    frame_pack(&example, in);
    in[at] = to;
    return frame_unpack(in, 4, UINT64_C(0x89ABCDF0), &m);
}

static void test_refusals(void **state)
{
    uint8_t in[FRAME_DSM_HEADER];
    struct wire_msg m, request = {.kind = WIRE_GETS, .page = 1, .txn = 1};
    (void)state;
    assert_int_equal(changed(1, 0x83), WIRE_OK);
    assert_int_equal(changed(0, WIRE_PUTM), WIRE_E_KIND);
    assert_int_equal(changed(0, FRAME_HELLO), WIRE_E_KIND);
    assert_int_equal(changed(1, 0x93), WIRE_E_RESERVED);
    assert_int_equal(changed(1, 0x84), WIRE_E_RANGE);         /* node 4 of 4 */
    assert_int_equal(changed(2, 0x10), WIRE_E_RANGE);         /* a copyset with it */
    assert_int_equal(changed(6, 0xF0), WIRE_E_RANGE);         /* the page behind the last */
    assert_int_equal(changed(0, WIRE_GETM), WIRE_E_RESERVED); /* a request has no copyset */
    frame_pack(&request, in);
    assert_int_equal(frame_unpack(in, 4, 2, &m), WIRE_OK);
    in[1] = 0x80;
    assert_int_equal(frame_unpack(in, 4, 2, &m), WIRE_E_RESERVED);
    in[1] = 0;
    in[10] = 0;
    assert_int_equal(frame_unpack(in, 4, 2, &m), WIRE_E_RANGE); /* transaction 0 */
}

/* Whatever is accepted is what packs to the same bytes. */
static void test_random(void **state)
{
    struct prng r = {.state = 1};
    unsigned accepted = 0;
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t in[FRAME_DSM_HEADER], out[FRAME_DSM_HEADER];
        struct wire_msg m;
        for (size_t k = 0; k < sizeof(in); k++)
            in[k] = prng_below(&r, 3) == 0 ? 0 : (uint8_t)prng_next(&r);
        in[0] = (uint8_t)prng_below(&r, 12);
        in[1] &= 0x8F;
        uint8_t nodes = (uint8_t)(1 + prng_below(&r, FRAME_NODES_MAX));
        if (frame_unpack(in, nodes, UINT64_C(1) << 31, &m) != WIRE_OK)
            continue;
        accepted++;
        assert_true(m.requester < nodes && m.page < UINT64_C(1) << 31 && m.txn != 0);
        assert_int_equal(m.age >> nodes, 0);
        frame_pack(&m, out);
        assert_memory_equal(in, out, sizeof(in));
    }
    assert_true(accepted > 1000);
}

static void test_hello(void **state)
{
    const struct frame_hello h = {1, 2, 3, 0x0102030405060708, 0x1112131415161718, 77};
    struct frame_hello back;
    uint8_t bytes[FRAME_HELLO_LEN];
    (void)state;
    frame_pack_hello(&h, bytes);
    frame_unpack_hello(bytes, &back);
    assert_int_equal(bytes[0], FRAME_HELLO);
    assert_int_equal(back.revision, 1);
    assert_int_equal(back.node, 2);
    assert_int_equal(back.nodes, 3);
    assert_int_equal(back.cluster_id, h.cluster_id);
    assert_int_equal(back.config_hash, h.config_hash);
    assert_int_equal(back.boot, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),   cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_random),
        cmocka_unit_test(test_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
