/* SPDX-License-Identifier: BSD-3-Clause */
/* Congestion: several nodes send pages to one, through a switch that holds few of them. */
#include <stdio.h>

#include "dataplane/base/bits.h"
#include "tests/unit/rrdp_world.h"

enum { PAGE = WIRE_PAGE_SIZE, PAGES = 200, SENDERS = 4 };

static struct world *ready(uint8_t nodes, uint64_t seed)
{
    struct world *w = world_new(nodes, 9000, seed);
    world_start_all(w);
    world_connect(w, 1 * SEC);
    world_run(w, 100 * MS);
    for (uint8_t n = 1; n < nodes; n++)
        assert_int_equal(world_send(w, n, 0, 2, PAGE), 0);
    world_drain(w, 1 * SEC);
    return w;
}

/* Keeps the senders' queues full until each has sent so many pages. */
static uint64_t stream(struct world *w, uint8_t senders, uint32_t pages)
{
    uint64_t start = w->now;
    uint32_t left[W_NODES] = {0};
    for (uint8_t n = 1; n <= senders; n++)
        left[n] = pages;
    for (bool more = true; more;) {
        more = false;
        for (uint8_t n = 1; n <= senders; n++) {
            while (left[n] > 0 && world_send(w, n, 0, 2, PAGE) == 0)
                left[n]--;
            more |= left[n] > 0;
        }
        world_run(w, 50 * US);
    }
    world_drain(w, 10 * SEC);
    return w->now - start;
}

static void nothing_lost_nothing_held(void **state)
{
    (void)state;
    struct world *w = ready(2, 1);
    stream(w, 1, 2000);
    assert_int_equal(world_count(w, 1, paced), 0);
    assert_int_equal(world_count(w, 1, congestion), 0);
    assert_int_equal(rrdp_peer_window(w->node[1].r, 0), RRDP_WINDOW);
    world_free(w);
}

/* The switch holds 16 frames, four senders' windows are 256. */
static void incast(void **state)
{
    (void)state;
    struct world *w = ready(1 + SENDERS, 2);
    w->frame_ns = 2 * US;
    w->port_frames = 16;
    uint64_t took = stream(w, SENDERS, PAGES), again = 0, timeouts = 0;
    for (uint8_t n = 1; n <= SENDERS; n++) {
        again += world_count(w, n, retransmit[2]);
        timeouts += world_count(w, n, retransmit_timeout[2]);
        assert_true(world_count(w, n, congestion) > 0);
    }
    printf("incast: %u pages, %u again (%u by time-out), %.2f of the time that the port needs\n",
           SENDERS * PAGES, (unsigned)again, (unsigned)timeouts,
           (double)took / (double)(SENDERS * PAGES * w->frame_ns));
    assert_true(again < SENDERS * PAGES / 2);
    assert_true(took < 2 * SENDERS * PAGES * w->frame_ns);
    world_free(w);
}

static uint64_t last_at, distances, too_near;

static bool measure(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    if (src != 1 || h->cls != 2 || h->data_len == 0)
        return false;
    uint32_t window = rrdp_peer_window(w->node[1].r, dst);
    uint64_t apart = rrdp_peer_rtt_ns(w->node[1].r, dst) / window;
    distances++;
    too_near += window < RRDP_WINDOW && last_at != 0 && w->now - last_at < apart * 9 / 10;
    last_at = w->now;
    return false;
}

static bool drop_some(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)measure(w, src, dst, h);
    return src == 1 && h->cls == 2 && h->data_len > 0 && distances % 60 == 10;
}

/* While the window is narrow frames keep their distance but for bursts, and small messages do not
 * wait for them; when nothing is lost any more it opens again. */
static void distances_and_recovery(void **state)
{
    (void)state;
    struct world *w = ready(2, 3);
    w->frame_ns = 100;
    w->port_frames = 1000;
    w->latency = 100 * US;
    distances = too_near = last_at = 0;
    w->filter = drop_some;
    stream(w, 1, 600);
    assert_true(world_count(w, 1, paced) > 50);
    uint32_t narrow = rrdp_peer_window(w->node[1].r, 0);
    assert_true(narrow < RRDP_WINDOW / 2);
    printf("distances: %u frames, %u nearer than the window says\n", (unsigned)distances,
           (unsigned)too_near);
    assert_true(too_near * 2 < distances); /* bursts of up to 4, and before the first loss */
    uint8_t bytes[W_FRAME];
    struct rrdp_frame f;
    for (int i = 0; i < 60; i++)
        assert_int_equal(world_send(w, 1, 0, 2, PAGE), 0);
    world_poll(w, 1);
    assert_int_equal(world_take(w, 1, bytes, &f), 0); /* pages wait */
    for (uint8_t k = 0; k < 2; k++) {
        assert_int_equal(world_send(w, 1, 0, k, 0), 0);
        assert_true(world_take(w, 1, bytes, &f) > 0 && f.cls == k);
    }
    world_drain(w, 1 * SEC);
    w->filter = measure;
    stream(w, 1, 3000);
    assert_int_equal(rrdp_peer_window(w->node[1].r, 0), RRDP_WINDOW);
    uint64_t held = world_count(w, 1, paced);
    stream(w, 1, 300);
    assert_int_equal(world_count(w, 1, paced), held);
    world_free(w);
}

static bool drop_bulk(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    (void)w, (void)dst;
    return src == 1 && h->cls == 3 && h->data_len > 0;
}

/* Bulk that never gets through (as where a path carries less than it did) holds no page back, nor
 * does a page that is lost hold bulk back for ever. */
static void pages_pass_bulk(void **state)
{
    (void)state;
    struct world *w = ready(2, 4);
    w->filter = drop_bulk;
    for (int i = 0; i < 20; i++)
        assert_int_equal(world_send(w, 1, 0, 3, PAGE), 0);
    world_run(w, 20 * MS); /* time-outs: the window is at its narrowest */
    assert_int_equal(rrdp_peer_window(w->node[1].r, 0), 4);
    uint32_t before = w->node[0].link[1].cls[2].received;
    for (int i = 0; i < 3; i++)
        assert_int_equal(world_send(w, 1, 0, 2, PAGE), 0);
    world_run(w, 1 * MS);
    assert_int_equal(w->node[0].link[1].cls[2].received, before + 3);
    assert_int_equal(w->node[0].link[1].cls[3].received, 0);
    w->filter = NULL;
    stream(w, 1, 300);
    assert_int_equal(w->node[0].link[1].cls[3].received, 20);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_lost_nothing_held),
        cmocka_unit_test(incast),
        cmocka_unit_test(distances_and_recovery),
        cmocka_unit_test(pages_pass_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
