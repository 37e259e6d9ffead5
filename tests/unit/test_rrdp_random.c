/* SPDX-License-Identifier: BSD-3-Clause */
/* Random traffic over a random bad network: exactly once, in order, with its own bytes. RRDP_SEED=s
 * runs one seed, RRDP_SEEDS=n the first n. */
#include "tests/unit/rrdp_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const uint16_t mtus[] = {1500, 9000, 576};

static uint64_t wraps;

static bool see_wrap(struct world *w, uint8_t src, uint8_t dst, const struct wire_rrdp *h)
{
    static uint32_t last[W_NODES][W_NODES][WIRE_CLASSES];
    (void)w;
    if (h->data_len > 0 && !h->syn) {
        wraps += h->seq < 4096 && last[src][dst][h->cls] > UINT32_MAX - 4096;
        last[src][dst][h->cls] = h->seq;
    }
    return false;
}

static uint32_t random_payload(struct prng *r, uint8_t cls)
{
    if (cls == WIRE_CLASS_URGENT)
        return prng_below(r, RRDP_MSG_INLINE - WIRE_MSG_HEADER + 1);
    switch (prng_below(r, 4)) {
    case 0:
        return 0;
    case 1:
        return WIRE_PAGE_SIZE;
    case 2:
        return prng_below(r, 200);
    default:
        return prng_below(r, WIRE_BYTES_MAX + 1);
    }
}

static void burst(struct world *w)
{
    uint8_t src = (uint8_t)prng_below(&w->rng, w->nodes);
    uint8_t dst = (uint8_t)((src + 1 + prng_below(&w->rng, w->nodes - 1u)) % w->nodes);
    uint8_t cls = (uint8_t)prng_below(&w->rng, WIRE_CLASSES);
    for (uint32_t i = prng_below(&w->rng, 30); i > 0; i--) {
        int rc = world_send(w, src, dst, cls, random_payload(&w->rng, cls));
        assert_true(rc == 0 || rc == -EAGAIN || rc == -ENOTCONN);
    }
}

static void one_seed(uint64_t seed)
{
    struct prng r = {seed};
    uint8_t nodes = (uint8_t)(2 + prng_below(&r, W_NODES - 1));
    struct world *w = world_new(nodes, mtus[prng_below(&r, 3)], seed);
    for (uint8_t n = 0; n < nodes; n++) {
        if (prng_chance(&r, 200000)) /* a mixed cluster */
            w->node[n].cfg.mtu = mtus[prng_below(&r, 3)];
        if (prng_chance(&r, 300000))
            w->node[n].cfg.credit = (uint8_t)(1 + prng_below(&r, RRDP_WINDOW));
    }
    w->filter = see_wrap;
    w->latency = prng_chance(&r, 200000) ? 2 * MS : (1 + prng_below(&r, 50)) * US;
    world_start_all(w);
    if (!prng_chance(&r, 250000)) {
        w->loss = prng_below(&r, 200000);
        w->dup = prng_below(&r, 100000);
        w->reorder = prng_below(&r, 300000);
        w->corrupt = prng_below(&r, 100000);
    }
    bool restarts = prng_chance(&r, 200000);
    world_connect(w, 5 * SEC);
    for (int i = 0; i < 60; i++) {
        burst(w);
        world_run(w, prng_below(&r, 10) * w->latency);
        if (restarts && prng_chance(&r, 50000)) {
            world_start(w, (uint8_t)prng_below(&r, nodes));
            world_connect(w, 5 * SEC);
        }
    }
    world_connect(w, 10 * SEC);
    world_drain(w, 60 * SEC);
    world_free(w);
}

static void random_traffic(void **state)
{
    const char *one = getenv("RRDP_SEED"), *many = getenv("RRDP_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 0) : 1, n = one    ? 1
                                                           : many ? strtoull(many, NULL, 0)
                                                                  : 40;
    (void)state;
    printf("seeds %llu to %llu\n", (unsigned long long)first, (unsigned long long)(first + n - 1));
    for (uint64_t seed = first; seed < first + n; seed++)
        one_seed(seed);
    printf("sequence numbers wrapped %llu times\n", (unsigned long long)wraps);
    assert_true(one != NULL || wraps > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_traffic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
