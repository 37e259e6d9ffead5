/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of a peer that is broken or hostile: the seal is good, the tag is right, the rest is not.
 */
#include "tests/unit/rrdp_world.h"

#include <stdio.h>
#include <string.h>

/* Node 1's next data frame to node 0, as fields and bytes. */
static struct world *begin(struct wire_rrdp *h, uint8_t cls, uint32_t payload, uint8_t *data)
{
    struct world *w = world_new(2, 1500, 1);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    const uint8_t *at;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * MS);
    w->mute = true;
    assert_int_equal(world_send(w, 1, 0, cls, payload), 0);
    size_t len = world_take(w, 1, bytes, &f);
    assert_int_equal(wire_rrdp_unpack(bytes, len, 0x88, h, &at), WIRE_OK);
    memcpy(data, at, h->data_len);
    return w;
}

static void inject(struct world *w, const struct wire_rrdp *h, const uint8_t *data)
{
    uint8_t bytes[W_FRAME + 64];
    size_t len = wire_rrdp_pack(h, bytes);
    memcpy(bytes + len, data, h->data_len);
    wire_rrdp_seal(bytes, len + h->data_len);
    world_inject(w, 1, 0, bytes, len + h->data_len);
}

static void ack_of_what_was_not_sent(void **state)
{
    (void)state;
    static const struct {
        uint32_t ack;
        uint64_t eack;
        uint64_t refused;
    } t[] = {
        {0, 0, 0},          {1, 0, 0},
        {2, 0, 0},          {3, 0, 1},
        {100, 0, 1},        {0x80000000, 0, 1},
        {0xBFFFFFFF, 0, 1}, {0xFFFFFFFF, 0, 0},
        {0, 1, 0},          {0, 2, 1},
        {1, 1, 1},          {2, 1, 1},
        {0, UINT64_MAX, 1}, {0, UINT64_C(1) << 63, 1},
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct wire_rrdp h;
        uint8_t data[W_FRAME], bytes[W_FRAME];
        struct rrdp_frame f;
        struct world *w = begin(&h, 1, 0, data);
        for (int k = 0; k < 2; k++) { /* two of ours are in flight */
            assert_int_equal(world_send(w, 0, 1, 1, 0), 0);
            assert_true(world_take(w, 0, bytes, &f) > 0);
        }
        h.ack += t[i].ack;
        h.eack = t[i].eack != 0;
        h.eack_bits = t[i].eack;
        inject(w, &h, data);
        assert_int_equal(world_drops(w, 0, RRDP_DROP_ACK_RANGE), t[i].refused);
        assert_int_equal(w->node[0].link[1].cls[1].have, t[i].refused ? 0 : WIRE_MSG_HEADER);
        world_free(w);
    }
}

/* Each breaks the rules of segmentation: counted, and the connection is reset, here and there. */
static void broken_segments(void **state)
{
    (void)state;
    for (int what = 0; what < 5; what++) {
        struct wire_rrdp h;
        uint8_t data[W_FRAME];
        struct world *w = begin(&h, 2, 4096, data);
        assert_true(h.first && !h.last);
        switch (what) {
        case 0: /* the middle without a beginning */
            h.first = false;
            break;
        case 1: /* a beginning in the middle */
            inject(w, &h, data);
            h.seq++;
            break;
        case 2: /* a beginning shorter than a message header */
            h.data_len = WIRE_MSG_HEADER - 1;
            break;
        case 3: /* a message without end */
            for (int i = 0; i < 11; i++) {
                inject(w, &h, data);
                assert_true(rrdp_peer_up(w->node[0].r, 1));
                h.seq++;
                h.first = false;
            }
            break;
        case 4: /* the same, parked before it is seen */
            h.first = false;
            h.seq++;
            inject(w, &h, data);
            h.seq--;
            h.first = h.last = true;
            break;
        }
        assert_int_equal(world_drops(w, 0, RRDP_DROP_SEGMENT), 0);
        inject(w, &h, data);
        assert_int_equal(world_drops(w, 0, RRDP_DROP_SEGMENT), 1);
        assert_false(rrdp_peer_up(w->node[0].r, 1));
        world_connect(w, 100 * MS);
        assert_int_equal(w->node[0].link[1].why, RRDP_DOWN_RST);
        assert_int_equal(w->node[1].link[0].down, 1);
        w->mute = false;
        assert_int_equal(world_send(w, 1, 0, 2, 4096), 0);
        world_drain(w, 1 * SEC);
        world_free(w);
    }
}

static void too_long_for_the_class(void **state)
{
    (void)state;
    struct wire_rrdp h;
    uint8_t data[W_FRAME] = {0};
    struct world *w = begin(&h, 0, 0, data);
    for (uint32_t ahead = 0; ahead < 2; ahead++, h.seq++) {
        h.data_len = RRDP_MSG_INLINE + 1;
        inject(w, &h, data);
    }
    assert_int_equal(world_drops(w, 0, RRDP_DROP_LENGTH), 2);
    h.cls = 3;
    h.data_len = 1500;
    inject(w, &h, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_LENGTH) + world_drops(w, 0, RRDP_DROP_WINDOW) +
                         world_drops(w, 0, RRDP_DROP_ACK_RANGE),
                     3);
    world_free(w);
}

enum { WHOLE = RRDP_PART + 40 }; /* bytes of a frame in two parts */

/* Parts that belong to no frame that an honest peer sends: dropped by name. */
static void parts_that_do_not_fit(void **state)
{
    (void)state;
    enum { MOST = 1500 - WIRE_RRDP_HEADER };
    static const struct {
        uint8_t cls;
        uint16_t at, len, of;
    } bad[] = {
        {2, 40, RRDP_PART, WHOLE},
        {2, 0, RRDP_PART - 1, WHOLE},
        {2, RRDP_PART, 39, WHOLE},
        {2, RRDP_PART, 41, WHOLE},
        {2, 0, 40, WHOLE},
        {2, 0, RRDP_PART, MOST + 1},
        {0, 0, 22, RRDP_MSG_INLINE + 1},
    };
    struct wire_rrdp h;
    uint8_t data[W_FRAME];
    struct world *w = begin(&h, 2, 4096, data);
    struct w_stream *s = &w->node[0].link[1].cls[2];
    h.part = h.last = true;
    uint32_t range = 0;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wire_rrdp g = h;
        uint64_t before = world_drops(w, 0, RRDP_DROP_LENGTH);
        g.part_at = bad[i].at;
        g.data_len = bad[i].len;
        g.part_of = bad[i].of;
        if (bad[i].cls == 0) { /* numbers of that class: as its first frame has them */
            struct rrdp_frame f;
            uint8_t bytes[W_FRAME];
            const uint8_t *at;
            assert_int_equal(world_send(w, 1, 0, 0, 0), 0);
            size_t len = world_take(w, 1, bytes, &f);
            struct wire_rrdp first;
            assert_int_equal(wire_rrdp_unpack(bytes, len, 0x88, &first, &at), WIRE_OK);
            g.cls = 0;
            g.seq = first.seq;
            g.ack = first.ack;
        }
        inject(w, &g, data);
        range += bad[i].at + bad[i].len > bad[i].of;
        assert_int_equal(world_drops(w, 0, RRDP_DROP_LENGTH) - before,
                         bad[i].at + bad[i].len <= bad[i].of);
    }
    assert_int_equal(world_drops(w, 0, RRDP_DROP_RANGE), range);
    assert_int_equal(s->have, 0);
    world_free(w);
}

static void parts_again_and_of_others(void **state)
{
    (void)state;
    struct wire_rrdp h;
    uint8_t data[W_FRAME];
    struct world *w = begin(&h, 2, 4096, data);
    struct w_stream *s = &w->node[0].link[1].cls[2];
    h.part = h.last = true;

    /* Of the next frame: the first part, the same again, and others that it cannot have. */
    struct wire_rrdp g = h;
    g.seq++;
    g.part_of = WHOLE;
    g.data_len = RRDP_PART;
    inject(w, &g, data);
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_DUPLICATE), 1);
    g.part_at = RRDP_PART;
    g.part_of = WHOLE + 1;
    g.data_len = 41;
    inject(w, &g, data);
    g.part_of = WHOLE;
    g.data_len = 40;
    g.last = false;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_LENGTH), 2);
    g.last = true;
    inject(w, &g, data + RRDP_PART); /* whole, and parked */
    inject(w, &g, data + RRDP_PART);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_DUPLICATE), 2);
    assert_int_equal(world_count(w, 0, out_of_order), 1);
    assert_int_equal(s->have, 0);

    /* The frame before it: a part, then all of it at once. */
    h.part_of = WHOLE;
    h.data_len = RRDP_PART;
    inject(w, &h, data);
    h.part = false;
    h.data_len = WHOLE;
    inject(w, &h, data);
    assert_int_equal(s->have, WHOLE);
    assert_memory_equal(s->bytes, data, WHOLE);
    assert_int_equal(world_count(w, 0, rx_messages[2]), 2);
    assert_true(rrdp_peer_up(w->node[0].r, 1));

    /* A part of a frame that never comes: the next connection knows nothing of it. */
    g.seq++;
    g.part_at = 0;
    g.data_len = RRDP_PART;
    inject(w, &g, data);
    w->mute = false;
    world_start(w, 1);
    world_connect(w, 1 * SEC);
    assert_int_equal(world_send(w, 1, 0, 2, 4096), 0);
    world_drain(w, 1 * SEC);
    world_free(w);
}

static void frames_for_others(void **state)
{
    (void)state;
    struct wire_rrdp h;
    uint8_t data[W_FRAME];
    struct world *w = begin(&h, 1, 0, data);
    struct wire_rrdp g = h;
    g.dst = 1;
    inject(w, &g, data);
    g = h;
    g.src = 63;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_NOT_FOR_US), 2);
    g = h;
    g.src = 0;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_SELF), 1);
    g = h;
    g.tag ^= 1;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_TAG), 1);
    g = h;
    g.seq -= 1;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_DUPLICATE), 1);
    g.seq -= 64;
    inject(w, &g, data);
    assert_int_equal(world_drops(w, 0, RRDP_DROP_WINDOW), 1);
    inject(w, &h, data);
    assert_int_equal(world_count(w, 0, rx_messages[1]), 1);
    world_free(w);
}

/* Any fields, with a good seal and mostly the right tag: the invariants hold (checked at each
 * frame), the connection comes back, and then everything works. */
static void any_fields(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct wire_rrdp h;
        uint8_t data[W_FRAME] = {0};
        struct world *w = begin(&h, 2, 4096, data);
        struct prng r = {seed};
        uint64_t epoch = w->node[1].cfg.epoch;
        for (int i = 0; i < 3000; i++) {
            struct wire_rrdp g = h;
            uint64_t bits = prng_next(&r);
            g.cls = bits & 3;
            g.first = bits >> 2 & 1;
            g.last = bits >> 3 & 1;
            g.eack = (bits >> 4 & 3) == 0;
            g.rst = (bits >> 6 & 255) == 0;
            g.nul = (bits >> 14 & 63) == 0;
            g.syn = (bits >> 20 & 255) == 0;
            g.seq += prng_below(&r, 80) - 10;
            g.ack += prng_below(&r, 12) - 6;
            g.credit = (uint8_t)(bits >> 28);
            g.eack_bits = (bits >> 36 & 1) ? prng_next(&r) : 0;
            g.data_len = (uint16_t)prng_below(&r, bits >> 37 & 1 ? 1468 : 100);
            g.part = !g.eack && (bits >> 40 & 3) == 0;
            g.part_at = (uint16_t)(bits >> 42 & 1) * RRDP_PART;
            g.part_of = (uint16_t)(RRDP_PART + prng_below(&r, 70));
            if (g.part && bits >> 43 & 1) /* a good one */
                g.data_len = (uint16_t)(g.part_at ? g.part_of - RRDP_PART : RRDP_PART);
            if (g.rst || g.nul)
                g.data_len = 0;
            if (bits >> 38 & 1)
                world_send(w, 0, 1, (uint8_t)prng_below(&r, 4), 0);
            inject(w, &g, data);
            if (bits >> 39 & 1)
                world_poll(w, 0);
            if (!rrdp_peer_up(w->node[0].r, 1)) {
                world_connect(w, 1 * SEC);
                break;
            }
        }
        assert_true(w->node[1].cfg.epoch == epoch);
        w->mute = false;
        world_start(w, 1);
        world_connect(w, 10 * SEC);
        for (uint8_t k = 0; k < WIRE_CLASSES; k++)
            assert_int_equal(world_send(w, 1, 0, k, k == 0 ? 0 : 5000), 0);
        world_drain(w, 10 * SEC);
        world_free(w);
    }
}

static void random_bytes(void **state)
{
    (void)state;
    struct world *w = world_new(3, 1500, 3);
    uint8_t bytes[2000];
    world_start_all(w);
    world_connect(w, 1 * SEC);
    uint64_t drops = 0;
    for (int i = 0; i < 20000; i++) {
        size_t len = prng_below(&w->rng, sizeof(bytes));
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)prng_next(&w->rng);
        if (i % 2 && len > 8) { /* past the first checks */
            bytes[0] = (uint8_t)((bytes[0] & 0x7C) | WIRE_VERSION);
            bytes[7] = 0x88;
        }
        world_inject(w, 1, 0, bytes, len);
    }
    for (int d = 0; d < RRDP_DROPS; d++)
        drops += world_drops(w, 0, (enum rrdp_drop)d);
    assert_int_equal(drops, 20000);
    assert_true(world_up(w, 0, 1));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ack_of_what_was_not_sent),
        cmocka_unit_test(broken_segments),
        cmocka_unit_test(too_long_for_the_class),
        cmocka_unit_test(parts_that_do_not_fit),
        cmocka_unit_test(parts_again_and_of_others),
        cmocka_unit_test(frames_for_others),
        cmocka_unit_test(any_fields),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
