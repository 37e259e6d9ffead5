/* SPDX-License-Identifier: BSD-3-Clause */
/* What pando ping, echo and bench say to each other (dataplane/net/probe.c): each field there and
 * back, and all that a far end may not say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/net/net.h"

static struct endpoint_message message(const uint8_t *data, uint32_t len, uint8_t cls)
{
    return (struct endpoint_message){.type = ENDPOINT_DATA, .cls = cls, .data = data, .len = len};
}

static void each_field_comes_back(void **state)
{
    (void)state;
    static const struct probe all[] = {
        {PROBE_PING, 0x3F00, 0xFEDCBA98, 0, 0},
        {PROBE_PONG, 0, 1, 0, 0},
        {PROBE_PAGE, 0, 2, 0, 0},
        {PROBE_MARK, 0, 3, 0, 0},
        {PROBE_MARK_REPLY, 0, 4, UINT64_C(0x0123456789ABCDEF), UINT64_C(0xFEDCBA9876543210)},
    };
    uint8_t buf[PROBE_MARK_BYTES];
    struct probe got;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        probe_pack(&all[i], buf);
        struct endpoint_message m = message(buf, sizeof(buf), WIRE_CLASS_DATA);
        assert_true(probe_unpack(&m, &got));
        assert_int_equal(got.op, all[i].op);
        assert_int_equal(got.reply_len, all[i].reply_len);
        assert_int_equal(got.seq, all[i].seq);
        assert_true(got.count == all[i].count && got.cpu_ns == all[i].cpu_ns);
    }
    probe_pack(&all[0], buf);
    assert_memory_equal(buf, "\1\0\0\x3F\x98\xBA\xDC\xFE", PROBE_MIN);
}

static void what_is_not_ours_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t len;
        uint8_t cls;
        bool good;
    } all[] = {
        {"\1\0\x08\0\0\0\0\0", 8, WIRE_CLASS_URGENT, true},
        {"\1\0\x08\0\0\0\0\0", 7, WIRE_CLASS_URGENT, false}, /* short */
        {"\1\0\x07\0\0\0\0\0", 8, WIRE_CLASS_URGENT, false}, /* an answer without room for itself */
        {"\1\0\x3E\0\0\0\0\0", 8, WIRE_CLASS_URGENT, true},
        {"\1\0\x3F\0\0\0\0\0", 8, WIRE_CLASS_URGENT, false}, /* longer than its class takes */
        {"\1\0\x3F\0\0\0\0\0", 8, WIRE_CLASS_REQUEST, true},
        {"\1\0\0\x40\0\0\0\0", 8, WIRE_CLASS_BULK, true},
        {"\1\0\1\x40\0\0\0\0", 8, WIRE_CLASS_BULK, false}, /* longer than any message */
        {"\1\1\x08\0\0\0\0\0", 8, WIRE_CLASS_BULK, false}, /* reserved */
        {"\0\0\x08\0\0\0\0\0", 8, WIRE_CLASS_BULK, false}, /* no such op */
        {"\6\0\x08\0\0\0\0\0", 8, WIRE_CLASS_BULK, false},
        {"\5\0\0\0\0\0\0\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 23, WIRE_CLASS_BULK, false},
        {"\5\0\0\0\0\0\0\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 24, WIRE_CLASS_BULK, true},
    };
    struct probe got;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct endpoint_message m = message((const uint8_t *)all[i].bytes, all[i].len, all[i].cls);
        if (probe_unpack(&m, &got) != all[i].good)
            fail_msg("message %zu", i);
        m.type = ENDPOINT_PONG;
        assert_false(probe_unpack(&m, &got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_comes_back),
        cmocka_unit_test(what_is_not_ours_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
