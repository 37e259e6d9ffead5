/* SPDX-License-Identifier: BSD-3-Clause */
/* Hellos between RDMA ports as bytes: what is refused, and why; pages by place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/rdma/rdma.h"

#define MS UINT64_C(1000000)

enum { CLUSTER = 77 };

static struct rdma_hello good_hello(void)
{
    return (struct rdma_hello){
        .from = 1,
        .to = 0,
        .phase = RDMA_LIVE,
        .blocks = 2,
        .mtu = 3,
        .lid = 5,
        .gid = {[15] = 9},
        .cluster_id = CLUSTER,
        .epoch = 11,
        .heard_epoch = 12,
        .generation = 13,
        .heard_generation = 14,
        .ud_number = 15,
        .ud_key = 16,
        .number = 17,
        .packet = 18,
        .joined = 19,
        .block = {{.base_page = 0, .pages = 10, .address = 0x10000, .key = 1},
                  {.base_page = 20, .pages = 5, .address = 0x90000, .key = 2}}};
}

static enum rdma_refusal read_hello(const struct rdma_hello *h)
{
    uint8_t bytes[RDMA_HELLO_MAX];
    struct rdma_hello out;
    return rdma_hello_read(bytes, rdma_hello_write(h, bytes), 0, 3, CLUSTER, &out);
}

static void test_hello(void **state)
{
    uint8_t bytes[RDMA_HELLO_MAX];
    struct rdma_hello h = good_hello(), out;
    (void)state;
    size_t len = rdma_hello_write(&h, bytes);
    assert_int_equal(len, RDMA_HELLO_BYTES + 2 * RDMA_BLOCK_BYTES);
    memset(&out, 0xA5, sizeof(out));
    assert_int_equal(rdma_hello_read(bytes, len, 0, 3, CLUSTER, &out), RDMA_REFUSAL_OK);
    assert_int_equal(out.lid, 5);
    assert_int_equal(out.heard_epoch, 12);
    assert_int_equal(out.joined, 19);
    assert_memory_equal(out.gid, h.gid, RDMA_GID);
    assert_memory_equal(out.block, h.block, 2 * sizeof(h.block[0]));
    /* Any byte that differs is noticed, and nothing is written. */
    memset(&out, 0xA5, sizeof(out));
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x10;
        assert_int_not_equal(rdma_hello_read(bytes, len, 0, 3, CLUSTER, &out), RDMA_REFUSAL_OK);
        bytes[i] ^= 0x10;
        assert_int_equal(rdma_hello_read(bytes, i, 0, 3, CLUSTER, &out), RDMA_REFUSAL_LENGTH);
    }
    assert_int_equal(out.from, 0xA5);
}

static void test_refusals(void **state)
{
    (void)state;
#define REFUSED(why, change)                                                                       \
    do {                                                                                           \
        struct rdma_hello h = good_hello();                                                        \
        change;                                                                                    \
        assert_string_equal(rdma_refusal_name(read_hello(&h)), why);                               \
    } while (0)
    REFUSED("ok", (void)0);
    REFUSED("cluster", h.cluster_id++);
    REFUSED("from", h.from = 0);
    REFUSED("from", h.from = 3);
    REFUSED("not_for_us", h.to = 2);
    REFUSED("phase", h.phase = 0);
    REFUSED("phase", h.phase = 4);
    REFUSED("epoch", h.epoch = 0);
    REFUSED("generation", h.generation = 0);
    REFUSED("queue_number", h.ud_number = 0);
    REFUSED("queue_number", h.ud_number = 1 << 24);
    REFUSED("queue_number", h.number = 1 << 24);
    REFUSED("queue_number", h.packet = 1 << 24);
    REFUSED("queue_number", h.joined = 1 << 24);
    REFUSED("queue_number", h.heard_epoch = 0);
    REFUSED("queue_number", h.number = 0);
    REFUSED("mtu", h.mtu = 0);
    REFUSED("mtu", h.mtu = 6);
    REFUSED("blocks", (h.number = 0, h.joined = 0));
    REFUSED("blocks", h.block[1].base_page = 9);
    REFUSED("blocks", h.block[0].pages = 0);
    REFUSED("blocks", h.block[1].pages = RDMA_BLOCK_PAGES_MAX + 1);
    REFUSED("blocks", h.block[1].base_page = RDMA_PAGES_MAX - 4);
    REFUSED("ok", h.block[1].base_page = RDMA_PAGES_MAX - 5);
    REFUSED("blocks", h.block[1].base_page = UINT64_MAX);
    REFUSED("blocks", h.block[1].address = UINT64_MAX - 5 * 4096 + 1);
    REFUSED("ok", h.block[1].address = UINT64_MAX - 5 * 4096);
#undef REFUSED
}

/* With a CRC that is right: what the fields are tried against. */
static void seal(uint8_t *bytes, size_t len)
{
    memset(bytes + 8, 0, 4);
    put_le32(bytes + 8, crc32c_end(crc32c_update(crc32c_begin(), bytes, len)));
}

static void test_form(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } cases[] = {{0, 1, "magic"},           {4, 9, "revision"},
                 {6, 1, "length"},          {15, 1, "length"},
                 {15, 255, "length"},       {71, 1, "reserved"},
                 {88, 1, "reserved"},       {103, 1, "reserved"},
                 {104 + 28, 1, "reserved"}, {104 + 32 + 31, 1, "reserved"}};
    struct rdma_hello h = good_hello(), out;
    (void)state;
    for (size_t i = 0; i < PANDO_ARRAY_LEN(cases); i++) {
        uint8_t bytes[RDMA_HELLO_MAX];
        size_t len = rdma_hello_write(&h, bytes);
        bytes[cases[i].at] = cases[i].value;
        seal(bytes, len);
        assert_string_equal(rdma_refusal_name(rdma_hello_read(bytes, len, 0, 3, CLUSTER, &out)),
                            cases[i].why);
    }
}

static void test_places(void **state)
{
    struct rdma_hello h = good_hello();
    struct rdma_place at;
    uint64_t page;
    uint8_t block;
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        bool in = i < 10 || (i >= 20 && i < 25);
        assert_int_equal(rdma_place_of(&h, i, &at), in);
        if (!in)
            continue;
        assert_int_equal(at.address, i < 10 ? 0x10000 + i * 4096 : 0x90000 + (i - 20) * 4096);
        assert_int_equal(at.key, i < 10 ? 1 : 2);
        assert_true(rdma_place_read(h.block, h.blocks, at.immediate, &block, &page));
        assert_int_equal(block, i >= 20);
        assert_int_equal(h.block[block].base_page + page, i);
    }
    assert_false(rdma_place_of(&h, UINT64_MAX, &at));
    assert_false(rdma_place_read(h.block, 2, 10, &block, &page));
    assert_false(rdma_place_read(h.block, 2, UINT32_C(1) << 29 | 5, &block, &page));
    assert_false(rdma_place_read(h.block, 2, UINT32_C(2) << 29, &block, &page));
    assert_false(rdma_place_read(h.block, 2, UINT32_MAX, &block, &page));
}

static void test_timeout(void **state)
{
    (void)state;
    assert_int_equal(rdma_timeout(300 * MS, 8), 13); /* 8 * 33.6 ms */
    assert_int_equal(rdma_timeout(8 * (UINT64_C(4096) << 13), 8), 13);
    assert_int_equal(rdma_timeout(8 * (UINT64_C(4096) << 13) - 1, 8), 12);
    assert_int_equal(rdma_timeout(0, 8), 1);
    assert_int_equal(rdma_timeout(UINT64_MAX, 1), 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),  cmocka_unit_test(test_refusals), cmocka_unit_test(test_form),
        cmocka_unit_test(test_places), cmocka_unit_test(test_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
