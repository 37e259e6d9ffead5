/* SPDX-License-Identifier: BSD-3-Clause */
/* The meaning of fences and classes, case by case: header, address, tag, length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "offload/plan/classify.h"

enum { NODES = 6, UNKNOWN = 5, FENCED = 2, FRAME = 60 };

/* Node 2 is fenced; nodes 3 and 4 were here before, with tags 30 and 40. */
static struct plan_input input(enum link_kind kind)
{
    struct plan_input in = {
        .link = {.kind = kind, .udp_port = 18514, .self = 0, .nodes = NODES},
        .ethertype = WIRE_ETHERTYPE,
        .queues = 5,
        .fenced = bit64(FENCED),
        .epochs = 2,
        .epoch = {{.node = 3, .tag = 30}, {.node = 4, .tag = 40}},
    };
    for (uint8_t n = 0; n < NODES; n++) {
        const uint8_t address[6] = {2, 1, 1, 1, 1, n};
        if (n != UNKNOWN)
            memcpy(in.peer_mac[n], address, 6);
        memcpy(in.link.ip[n], address + 2, 4);
    }
    plan_class_queues(in.queues, in.class_queue);
    return in;
}

/* clang-format off */
static const struct row {
    uint8_t source, from, cls, len;
    uint32_t tag;
    enum classify_verdict verdict;
    uint8_t node;
} rows[] = {
    {1, 1, 0, 60, 7, CLASSIFY_DELIVER, 1},
    {2, 2, 3, 60, 7, CLASSIFY_NODE, 2},
    {2, 1, 1, 60, 7, CLASSIFY_NODE, 2},         /* says so, */
    {1, 2, 2, 60, 7, CLASSIFY_NODE, 1},         /* or comes from there */
    {3, 3, 1, 60, 30, CLASSIFY_EPOCH, 3},
    {3, 3, 1, 60, 31, CLASSIFY_DELIVER, 3},     /* the new connection */
    {4, 4, 1, 60, 30, CLASSIFY_DELIVER, 4},     /* another node's old tag */
    {3, 3, 1, 60, 40, CLASSIFY_DELIVER, 3},
    {4, 4, 1, 60, 40, CLASSIFY_EPOCH, 4},
    {1, 3, 1, 60, 30, CLASSIFY_EPOCH, 1},
    {3, 1, 1, 60, 30, CLASSIFY_EPOCH, 3},
    {1, 1, 1, 60, 30, CLASSIFY_DELIVER, 1},
    {9, 1, 2, 60, 7, CLASSIFY_DELIVER, RULE_ANY}, /* nobody: the transport says so */
    {9, 2, 2, 60, 7, CLASSIFY_NODE, RULE_ANY},
    {2, 1, 0, 3, 7, CLASSIFY_NODE, 2},          /* as much as is there */
    {2, 1, 0, 2, 7, CLASSIFY_DELIVER, RULE_ANY},
    {3, 3, 2, 20, 30, CLASSIFY_EPOCH, 3},
    {3, 3, 2, 19, 30, CLASSIFY_DELIVER, 3},
    {1, 1, 2, 5, 7, CLASSIFY_DELIVER, 1},
};
/* clang-format on */

static void cases(enum link_kind kind)
{
    struct plan_input in = input(kind);
    struct classify c;
    classify_init(&c, &in);
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        uint8_t b[FRAME] = {0};
        struct link_frame f = {.data = b, .len = r->len};
        b[2] = r->source;
        b[4] = (uint8_t)(0xFC | r->cls); /* the length shares its byte */
        put_le32(b + 16, r->tag);
        if (kind == LINK_ETHERNET)
            memcpy(f.src, in.peer_mac[r->from], 6);
        else
            link_ip_mac(kind, in.link.ip[r->from], f.src);
        struct classified got = classify_frame(&c, &f);
        if (got.verdict != r->verdict || got.node != r->node || got.cls != r->cls ||
            got.queue != in.class_queue[r->cls])
            fail_msg("%s, case %u: %s, node %u, class %u, queue %u", link_kind_name(kind), i,
                     classify_verdict_name(got.verdict), got.node, got.cls, got.queue);
    }
}

static void links(void **state)
{
    (void)state;
    for (enum link_kind k = 0; k < LINK_KINDS; k++)
        cases(k);
}

/* An address that is not known is nobody's: all 0 is no address. */
static void unknown_address(void **state)
{
    (void)state;
    struct plan_input in = input(LINK_ETHERNET);
    struct classify c;
    uint8_t b[FRAME] = {0, 0, 1};
    struct link_frame f = {.data = b, .len = FRAME};
    in.fenced = bit64(UNKNOWN);
    classify_init(&c, &in);
    assert_int_equal(classify_frame(&c, &f).verdict, CLASSIFY_DELIVER);
    b[2] = UNKNOWN;
    assert_int_equal(classify_frame(&c, &f).verdict, CLASSIFY_NODE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links),
        cmocka_unit_test(unknown_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
