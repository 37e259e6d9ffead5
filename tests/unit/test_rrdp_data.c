/* SPDX-License-Identifier: BSD-3-Clause */
/* The data path: priority, fairness, segments, recovery times, credit, ACKs, handles. */
#include "tests/unit/rrdp_world.h"

#include <errno.h>
#include <string.h>

static struct world *connected(uint8_t nodes, uint16_t mtu, uint64_t seed)
{
    struct world *w = world_new(nodes, mtu, seed);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 1 * MS);
    return w;
}

static void send_some(struct world *w, uint8_t src, uint8_t dst, uint8_t cls, uint32_t payload,
                      unsigned n)
{
    while (n-- > 0)
        assert_int_equal(world_send(w, src, dst, cls, payload), 0);
}

static void urgent_passes_pages(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 1);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    send_some(w, 0, 1, 3, 16384, 10);
    send_some(w, 0, 1, 2, 4096, 64);
    for (int i = 0; i < 5; i++) {
        assert_true(world_take(w, 0, bytes, &f) > 0);
        assert_int_equal(f.cls, 2);
    }
    send_some(w, 0, 1, 1, 0, 1);
    send_some(w, 0, 1, 0, 0, 1);
    assert_true(world_take(w, 0, bytes, &f) > 0);
    assert_int_equal(f.cls, 0);
    assert_true(world_take(w, 0, bytes, &f) > 0);
    assert_int_equal(f.cls, 1);
    assert_true(world_take(w, 0, bytes, &f) > 0);
    assert_int_equal(f.cls, 2);
    world_drain(w, 1 * SEC);
    world_free(w);
}

static void peers_take_turns(void **state)
{
    (void)state;
    struct world *w = connected(5, 9000, 2);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    unsigned seen[W_NODES] = {0};
    for (uint8_t n = 1; n < 5; n++)
        send_some(w, 0, n, 2, 4096, 20);
    for (int i = 0; i < 40; i++) {
        assert_true(world_take(w, 0, bytes, &f) > 0);
        seen[f.peer]++;
    }
    for (uint8_t n = 1; n < 5; n++)
        assert_int_equal(seen[n], 10);
    world_drain(w, 1 * SEC);
    world_free(w);
}

static void frames_of_a_message(void **state)
{
    (void)state;
    static const struct {
        uint16_t mtu;
        uint32_t payload, frames;
    } t[] = {{1500, 0, 1},    {1500, 1446, 1}, {1500, 1447, 2},  {1500, 4096, 3}, {9000, 4096, 1},
             {9000, 8938, 1}, {9000, 8939, 2}, {9000, 16384, 2}, {576, 16384, 31}};
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct world *w = connected(2, t[i].mtu, 3);
        uint8_t bytes[W_FRAME];
        struct rrdp_frame f;
        uint32_t frames = 0;
        size_t len;
        send_some(w, 0, 1, 3, t[i].payload, 1);
        while ((len = world_take(w, 0, bytes, &f)) > 0) {
            assert_true(len <= t[i].mtu);
            assert_int_equal(f.inline_len, frames == 0 ? WIRE_MSG_HEADER : 0);
            if (t[i].payload == 0) /* 14 + 24 + 22 = 60: the smallest Ethernet frame */
                assert_int_equal(len, 46);
            world_inject(w, 0, 1, bytes, len);
            frames++;
        }
        assert_int_equal(frames, t[i].frames);
        world_drain(w, 1 * SEC);
        world_free(w);
    }
}

/* ---- recovery ------------------------------------------------------------------------------ */

static int64_t countdown;

static bool drop_one(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    return src == 0 && h->data_len > 0 && countdown-- == 0;
}

static void one_loss_costs_one_round_trip(void **state)
{
    (void)state;
    for (int64_t lost = 0; lost < 16; lost++) {
        struct world *w = world_new(2, 1500, 4);
        w->node[0].cfg.rto_min_ns = w->node[1].cfg.rto_min_ns = 50 * MS;
        world_start_all(w);
        world_connect(w, 1 * SEC);
        send_some(w, 0, 1, 1, 0, 1); /* a first round-trip sample */
        world_drain(w, 1 * SEC);
        w->filter = drop_one;
        countdown = lost;
        send_some(w, 0, 1, 2, 0, 20);
        uint64_t took = world_drain(w, 1 * SEC);
        assert_int_equal(world_count(w, 0, retransmit[2]), 1);
        assert_int_equal(world_count(w, 0, retransmit_timeout[2]), 0);
        /* One way, the ACK that shows the gap, the frame again, its ACK: each at once. */
        assert_true(took <= 4 * w->latency);
        world_free(w);
    }
}

/* With one or two frames behind the gap, time decides instead of their number; still no time-out.
 */
static void loss_near_the_tail(void **state)
{
    (void)state;
    for (int64_t lost = 7; lost < 9; lost++) {
        struct world *w = world_new(2, 1500, 5);
        w->node[0].cfg.rto_min_ns = w->node[1].cfg.rto_min_ns = 50 * MS;
        world_start_all(w);
        world_connect(w, 1 * SEC);
        send_some(w, 0, 1, 2, 0, 1);
        world_drain(w, 1 * SEC);
        w->filter = drop_one;
        countdown = lost;
        send_some(w, 0, 1, 2, 0, 10);
        uint64_t took = world_drain(w, 1 * SEC);
        assert_int_equal(world_count(w, 0, retransmit_timeout[2]), 0);
        assert_true(took < 10 * w->latency + 5 * w->node[0].cfg.ack_delay_ns);
        world_free(w);
    }
}

/* Two round trips (and the peer's ACK delay, which is in their measure too) until the probe leaves,
 * then one more. */
static uint64_t probed_at_the_latest(const struct world *w)
{
    return 3 * rrdp_peer_rtt_ns(w->node[0].r, 1) + 2 * w->node[0].cfg.ack_delay_ns;
}

static bool drop_last_of_ten(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    if (src != 0 || h->data_len == 0)
        return false;
    countdown++;
    return countdown > 5 && countdown <= 10;
}

/* Nothing follows that could show the loss: the probe does, and only it. */
static void the_last_frame_is_probed(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 6);
    w->node[0].cfg.rto_min_ns = w->node[1].cfg.rto_min_ns = 50 * MS;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    send_some(w, 0, 1, 2, 0, 1);
    world_drain(w, 1 * SEC);
    for (int i = 0; i < 20; i++) { /* without loss, nothing is sent again */
        send_some(w, 0, 1, 2, 0, 1 + (uint32_t)i % 3);
        world_drain(w, 1 * SEC);
    }
    assert_int_equal(world_count(w, 0, retransmit[2]), 0);
    w->filter = drop_one;
    countdown = 0;
    send_some(w, 0, 1, 2, 0, 1);
    uint64_t took = world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, retransmit_probe[2]), 1);
    assert_true(took <= probed_at_the_latest(w));

    w->filter = drop_last_of_ten; /* what the probe's answer shows to be missing follows at once */
    countdown = 0;
    send_some(w, 0, 1, 2, 0, 10);
    took = world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, retransmit_probe[2]), 2);
    assert_int_equal(world_count(w, 0, retransmit[2]), 1 + 5);
    assert_int_equal(world_count(w, 0, retransmit_timeout[2]), 0);
    assert_true(took <= probed_at_the_latest(w) + 6 * w->latency);
    world_free(w);
}

static bool drop_first_two(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    return src == 0 && h->data_len > 0 && countdown++ < 2;
}

/* There is one probe; if it is lost as well, the time-out is counted from it. */
static void a_lost_probe_leaves_the_timer(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 6);
    send_some(w, 0, 1, 2, 0, 1);
    world_drain(w, 1 * SEC);
    w->filter = drop_first_two;
    countdown = 0;
    send_some(w, 0, 1, 2, 0, 1);
    uint64_t took = world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, retransmit_probe[2]), 1);
    assert_int_equal(world_count(w, 0, retransmit_timeout[2]), 1);
    assert_true(took >= 200 * US && took < 300 * US + probed_at_the_latest(w));
    world_free(w);
}

static bool drop_first_six(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    return src == 0 && h->data_len > 0 && countdown++ < 6;
}

static void time_outs_back_off(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 7);
    send_some(w, 0, 1, 2, 0, 1);
    world_drain(w, 1 * SEC);
    w->filter = drop_first_six;
    countdown = 0;
    send_some(w, 0, 1, 2, 0, 1);
    uint64_t took = world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 0, retransmit_probe[2]), 1);
    assert_int_equal(world_count(w, 0, retransmit_timeout[2]), 5);
    assert_in_range(took, 31 * 200 * US,
                    32 * 200 * US + probed_at_the_latest(w)); /* 1 + 2 + 4 + 8 + 16 */
    world_free(w);
}

/* A round trip far above the first guess: Karn's rule must not keep the guess for ever. */
static void long_round_trip(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 8);
    w->latency = 20 * MS;
    for (int i = 0; i < 50; i++) {
        send_some(w, 0, 1, 2, 0, 1);
        world_drain(w, 10 * SEC);
    }
    assert_in_range(rrdp_peer_rtt_ns(w->node[0].r, 1), 40 * MS, 41 * MS);
    assert_true(world_count(w, 0, retransmit[2]) < 30);
    uint64_t before = world_count(w, 0, retransmit[2]);
    send_some(w, 0, 1, 2, 0, 60);
    world_drain(w, 10 * SEC);
    assert_int_equal(world_count(w, 0, retransmit[2]), before);
    world_free(w);
}

static void reordering_alone_is_no_loss(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 9);
    uint8_t bytes[64][64];
    size_t len[64];
    struct rrdp_frame f;
    send_some(w, 0, 1, 1, 0, 1);
    world_drain(w, 1 * SEC);
    send_some(w, 0, 1, 1, 0, 20);
    for (int i = 0; i < 20; i++)
        len[i] = world_take(w, 0, bytes[i], &f);
    for (int i = 0; i < 20; i += 2) { /* neighbours swapped */
        uint8_t ack[W_FRAME];
        world_inject(w, 0, 1, bytes[i + 1], len[i + 1]);
        size_t n = world_take(w, 1, ack, &f); /* at once, and with its EACK bitmap */
        assert_int_equal(n, WIRE_RRDP_HEADER_MAX);
        world_inject(w, 1, 0, ack, n);
        world_inject(w, 0, 1, bytes[i], len[i]);
    }
    world_drain(w, 1 * SEC);
    assert_int_equal(world_count(w, 1, out_of_order), 10);
    assert_int_equal(world_count(w, 0, retransmit[1]), 0);
    world_free(w);
}

/* ---- credit -------------------------------------------------------------------------------- */

static uint32_t promise[WIRE_CLASSES];
static int32_t most_seen; /* -1: the last frame promised was used */

static bool watch_promise(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    if (src == 1 && h->ack_valid && !h->syn)
        promise[h->cls] = h->ack + h->credit;
    if (src == 0 && h->data_len > 0 && !h->syn) {
        int32_t beyond = (int32_t)(h->seq - promise[h->cls]);
        assert_true(beyond < 0);
        if (beyond > most_seen)
            most_seen = beyond;
    }
    return false;
}

static void never_beyond_the_promise(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 10);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    w->node[1].cfg.credit = 4;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    for (uint8_t k = 0; k < WIRE_CLASSES; k++) { /* a first ACK of each class, without the watch */
        send_some(w, 0, 1, k, 0, 1);
        world_drain(w, 1 * SEC);
        send_some(w, 1, 0, k, 0, 1);
        while (world_take(w, 1, bytes, &f) > 0) {
            struct wire_rrdp h;
            const uint8_t *data;
            wire_rrdp_unpack(bytes, sizeof(bytes), 0x88, &h, &data);
            promise[h.cls] = h.ack + h.credit;
        }
        world_drain(w, 1 * SEC);
    }
    w->filter = watch_promise;
    most_seen = -100;
    w->loss = 50000;
    w->reorder = 100000;
    for (int round = 0; round < 20; round++) {
        for (uint8_t k = 0; k < WIRE_CLASSES; k++)
            send_some(w, 0, 1, k, k == 0 ? 0 : 3000, 20);
        world_drain(w, 20 * SEC);
    }
    assert_int_equal(world_drops(w, 1, RRDP_DROP_WINDOW), 0);
    assert_int_equal(most_seen, -1);
    assert_true(world_count(w, 0, credit_stall[3]) > 0);
    world_free(w);
}

static void beyond_the_promise_is_dropped(void **state)
{
    (void)state;
    struct world *w = world_new(2, 1500, 11);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    struct wire_rrdp h;
    const uint8_t *data;
    w->node[1].cfg.credit = 4;
    world_start_all(w);
    world_connect(w, 1 * SEC);
    send_some(w, 0, 1, 1, 0, 1);
    size_t len = world_take(w, 0, bytes, &f);
    assert_int_equal(wire_rrdp_unpack(bytes, len, 0x88, &h, &data), WIRE_OK);
    for (uint32_t ahead = 0; ahead < 8; ahead++) {
        struct wire_rrdp g = h;
        uint8_t other[64] = {0};
        g.seq = h.seq + ahead;
        size_t n = wire_rrdp_pack(&g, other);
        memcpy(other + n, data, h.data_len);
        wire_rrdp_seal(other, n + h.data_len);
        if (ahead > 0) /* the first comes in its turn */
            world_inject(w, 0, 1, other, n + h.data_len);
        assert_int_equal(world_drops(w, 1, RRDP_DROP_WINDOW), ahead < 4 ? 0 : ahead - 3);
    }
    assert_int_equal(world_count(w, 1, out_of_order), 3);
    world_free(w);
}

/* ---- ACKs, handles, limits ----------------------------------------------------------------- */

static void acks_ride_or_wait(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 12);
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    send_some(w, 0, 1, 1, 0, 1);
    size_t len = world_take(w, 0, bytes, &f);
    world_inject(w, 0, 1, bytes, len);
    assert_true(rrdp_deadline(w->node[1].r) == w->now + w->node[1].cfg.ack_delay_ns);
    uint8_t other[W_FRAME];
    assert_int_equal(world_take(w, 1, other, &f), 0); /* not yet */
    send_some(w, 1, 0, 1, 0, 1);                      /* rides on this */
    assert_true(world_take(w, 1, other, &f) > 0);
    assert_true(rrdp_deadline(w->node[1].r) > w->now + w->node[1].cfg.ack_delay_ns);
    world_inject(w, 0, 1, bytes, len); /* a duplicate: our ACK was lost, so at once */
    assert_int_equal(world_drops(w, 1, RRDP_DROP_DUPLICATE), 1);
    uint64_t acks = world_count(w, 1, ack_frames);
    assert_true(world_take(w, 1, other, &f) > 0);
    assert_int_equal(world_count(w, 1, ack_frames), acks + 1);
    world_drain(w, 1 * SEC);
    world_free(w);
}

static void rebind_changes_what_is_sent(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 13);
    uint8_t bytes[W_FRAME], head[WIRE_MSG_HEADER] = {1};
    struct rrdp_frame f;
    struct rrdp *r = w->node[0].r;
    w->mute = true;
    for (uint64_t h = 100; h < 103; h++)
        assert_int_equal(rrdp_send(r, 1, 2, head, sizeof(head), h, 4096, false, 0), 0);
    assert_int_equal(rrdp_send(r, 1, 1, head, sizeof(head), 101, 0, false, 0), 0); /* no payload */
    for (int i = 0; i < 5; i++)
        world_take(w, 0, bytes, &f);
    assert_true(f.payload == 101);
    assert_int_equal(rrdp_rebind(r, 101, 7777), 1);
    assert_int_equal(rrdp_rebind(r, 101, 8888), 0);
    world_take(w, 0, bytes, &f);
    assert_true(f.payload == 7777 && f.payload_offset == 2 * 1468 - WIRE_MSG_HEADER - 1468);
    world_run(w, 300 * MS);
    assert_true(rrdp_idle(r));
    assert_int_equal(rrdp_rebind(r, 7777, 1), 0); /* gone with its ACK */
    world_free(w);
}

static void what_send_refuses(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 14);
    struct rrdp *r = w->node[0].r;
    uint8_t head[RRDP_MSG_INLINE + 1] = {1};
    assert_int_equal(rrdp_send(r, 0, 1, head, 22, 0, 0, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 2, 1, head, 22, 0, 0, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 1, 4, head, 22, 0, 0, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 1, 1, head, 21, 0, 0, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 1, 1, head, 65, 0, 0, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 1, 1, head, 22, 0, 16385, false, 0), -EINVAL);
    assert_int_equal(rrdp_send(r, 1, 0, head, 22, 0, 43, false, 0), -EINVAL);
    assert_int_equal(rrdp_room(r, 1, 2), RRDP_QUEUE);
    send_some(w, 0, 1, 2, 10, RRDP_QUEUE);
    assert_int_equal(rrdp_room(r, 1, 2), 0);
    assert_int_equal(world_send(w, 0, 1, 2, 10), -EAGAIN);
    world_drain(w, 1 * SEC);
    assert_int_equal(rrdp_room(r, 1, 2), RRDP_QUEUE);
    world_free(w);
}

/* An owner that takes no events: messages are refused in time, the ring never overflows. */
static void events_not_taken(void **state)
{
    (void)state;
    struct world *w = connected(2, 9000, 15);
    struct rrdp *a = w->node[0].r, *b = w->node[1].r;
    uint8_t bytes[W_FRAME], head[WIRE_MSG_HEADER] = {1};
    struct rrdp_frame f;
    uint32_t sent = 0, taken = 0;
    size_t len;
    for (int i = 0; i < 100000; i++) {
        if (rrdp_send(a, 1, 1, head, sizeof(head), 0, 0, true, 5) == 0)
            sent++;
        w->now += 10 * US;
        rrdp_tick(a, w->now);
        rrdp_tick(b, w->now);
        while ((len = world_take(w, 0, bytes, &f)) > 0)
            rrdp_receive(b, w->now, w->node[0].mac, bytes, len, &w->segments);
        while ((len = world_take(w, 1, bytes, &f)) > 0)
            rrdp_receive(a, w->now, w->node[1].mac, bytes, len, &w->segments);
    }
    rrdp_check(a);
    assert_true(sent > 3000 && sent < 9000);
    for (struct rrdp_event e; rrdp_event(a, &e); taken++)
        assert_true(e.type == RRDP_EV_SENT && e.value == 5);
    assert_int_equal(taken, sent);
    world_free(w);
}

/* The end of a frame came to rest elsewhere: the same bytes in one segment more, and elsewhere they
 * stay. What is not a whole frame of data is refused. */
static void the_end_lies_elsewhere(void **state)
{
    (void)state;
    struct world *w = connected(2, 9000, 16);
    struct rrdp *b = w->node[1].r;
    struct rrdp_mac mac = w->node[0].mac;
    struct rrdp_frame f;
    uint8_t bytes[W_FRAME], page[WIRE_PAGE_SIZE];
    const uint64_t *drop = rrdp_counters(b, 1)->drop; /* before a frame has a sender: own node's */
    send_some(w, 0, 1, 2, WIRE_PAGE_SIZE, 2);
    size_t len = world_take(w, 0, bytes, &f), head = len - sizeof(page);
    memcpy(page, bytes + head, sizeof(page));
    page[7] ^= 1;
    rrdp_receive_parts(b, w->now, mac, bytes, head, page, sizeof(page), &w->segments);
    assert_int_equal(w->segments.n, 0);
    assert_int_equal(drop[RRDP_DROP_CRC], 1);
    page[7] ^= 1;
    rrdp_receive_parts(b, w->now, mac, bytes, head + 1, page, sizeof(page), &w->segments);
    rrdp_receive_parts(b, w->now, mac, bytes, head, page, sizeof(page) - 1, &w->segments);
    rrdp_receive_parts(b, w->now, mac, bytes, WIRE_RRDP_HEADER - 1, page, 9, &w->segments);
    assert_int_equal(drop[RRDP_DROP_LENGTH], 2);
    assert_int_equal(drop[RRDP_DROP_SHORT], 1);
    /* The message's header has to be in front. */
    uint8_t *rest = bytes + WIRE_RRDP_HEADER + WIRE_MSG_HEADER - 1;
    rrdp_receive_parts(b, w->now, mac, bytes, (size_t)(rest - bytes), rest,
                       len - (size_t)(rest - bytes), &w->segments);
    assert_int_equal(drop[RRDP_DROP_LENGTH], 3);
    rrdp_receive_parts(b, w->now, mac, bytes, head, page, sizeof(page), &w->segments);
    const struct rrdp_segment *s = w->segments.seg;
    assert_int_equal(w->segments.n, 2);
    assert_true(s[0].first && !s[0].last && !s[0].placed && s[0].len == WIRE_MSG_HEADER);
    assert_true(!s[1].first && s[1].last && s[1].placed && s[1].len == sizeof(page));
    assert_int_equal(s[1].offset, WIRE_MSG_HEADER);
    assert_ptr_equal(s[1].data, page);
    rrdp_receive_parts(b, w->now, mac, bytes, head, page, sizeof(page), &w->segments);
    assert_int_equal(w->segments.n, 0);
    assert_int_equal(rrdp_counters(b, 0)->drop[RRDP_DROP_DUPLICATE], 1);
    rrdp_check(b);
    world_free(w);
}

/* One that came too early is kept, its end with it: the memory elsewhere may change. */
static void the_end_is_kept_with_the_rest(void **state)
{
    (void)state;
    struct world *w = connected(2, 9000, 17);
    struct rrdp *b = w->node[1].r;
    struct rrdp_mac mac = w->node[0].mac;
    struct rrdp_frame f;
    uint8_t bytes[2][W_FRAME], page[WIRE_PAGE_SIZE], *end;
    send_some(w, 0, 1, 2, WIRE_PAGE_SIZE, 2);
    size_t len = world_take(w, 0, bytes[0], &f), head = len - sizeof(page);
    assert_int_equal(world_take(w, 0, bytes[1], &f), len);
    end = bytes[1] + head;
    memcpy(page, end, sizeof(page));
    rrdp_receive_parts(b, w->now, mac, bytes[1], head, page, sizeof(page), &w->segments);
    assert_int_equal(w->segments.n, 0);
    memset(page, 0, sizeof(page));
    rrdp_receive(b, w->now, mac, bytes[0], len, &w->segments);
    assert_int_equal(w->segments.n, 2);
    const struct rrdp_segment *s = &w->segments.seg[1];
    assert_true(s->first && s->last && !s->placed);
    assert_memory_equal(s->data + WIRE_MSG_HEADER, end, sizeof(page));
    world_free(w);
}

/* A set-up frame, a HOST-PING and a group frame have no end elsewhere. */
static void only_data_lies_elsewhere(void **state)
{
    (void)state;
    struct world *w = connected(2, 1500, 18);
    struct rrdp *b = w->node[1].r;
    const uint64_t *drop = rrdp_counters(b, 1)->drop;
    const struct wire_rrdp h[] = {
        {.syn = true, .dst = 1, .data_len = RRDP_SYN_BYTES},
        {.first = true, .last = true, .dst = WIRE_DST_GROUP, .data_len = 8 + 8 + WIRE_MSG_HEADER},
    };
    for (unsigned i = 0; i < 2; i++) {
        uint8_t bytes[128] = {0};
        struct wire_rrdp head = h[i];
        head.cluster_tag = (uint8_t)w->node[0].cfg.cluster_id;
        size_t at = wire_rrdp_pack(&head, bytes), len = at + head.data_len;
        bytes[at] = 2; /* of a group frame: members */
        wire_rrdp_seal(bytes, len);
        rrdp_receive_parts(b, w->now, w->node[0].mac, bytes, len - 8, bytes + len - 8, 8,
                           &w->segments);
        assert_int_equal(w->segments.n, 0);
        assert_int_equal(drop[RRDP_DROP_LENGTH], i + 1);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_lies_elsewhere),
        cmocka_unit_test(the_end_is_kept_with_the_rest),
        cmocka_unit_test(only_data_lies_elsewhere),
        cmocka_unit_test(urgent_passes_pages),
        cmocka_unit_test(peers_take_turns),
        cmocka_unit_test(frames_of_a_message),
        cmocka_unit_test(one_loss_costs_one_round_trip),
        cmocka_unit_test(loss_near_the_tail),
        cmocka_unit_test(the_last_frame_is_probed),
        cmocka_unit_test(a_lost_probe_leaves_the_timer),
        cmocka_unit_test(time_outs_back_off),
        cmocka_unit_test(long_round_trip),
        cmocka_unit_test(reordering_alone_is_no_loss),
        cmocka_unit_test(never_beyond_the_promise),
        cmocka_unit_test(beyond_the_promise_is_dropped),
        cmocka_unit_test(acks_ride_or_wait),
        cmocka_unit_test(rebind_changes_what_is_sent),
        cmocka_unit_test(what_send_refuses),
        cmocka_unit_test(events_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
