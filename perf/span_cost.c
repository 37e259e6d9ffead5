/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What spans cost the poll loop: the engine's hooks (engine/span.c) along the messages of four
 * faults, of which this node is once the requester, once the home, once the owner and once a
 * sharer, with sample 0, 64 and 1, in turns; and a stamp. In cycles of the TSC, less what the same
 * loop takes without hooks. Without the SPAN messages themselves: of a sampled fault each other
 * node sends one more message, in the lowest class.
 *
 * A line of JSON each: {"name", "unit": "cycles", "each": [by round]}.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/base/check.h"
#include "dataplane/engine/engine.h"
#include "hypervisor-glue/link/glue_clock.h"

enum { ROUNDS = 40, FAULTS = 4096, MESSAGES = 8, PAGES = 64, KHZ = 2000000, STAMPS = 4096 };

static struct engine e;
static struct pando_config cfg;
static struct glue_shared shared;
static uint64_t next_txn = 1000;
static uint64_t others_page; /* whose home is node 1 */

static void *memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "pando-span-cost: %zu bytes of memory: %s\n", size, strerror(errno));
        exit(1);
    }
    return p;
}

static void set_up(void)
{
    struct coh_config c = {.nodes = 3,
                           .pages = PAGES,
                           .epoch_txn = 1,
                           .txn_max = 16,
                           .deferred_max = 64,
                           .hold_ns = 1000,
                           .hold_max_ns = 10000};
    struct rrdp_config r = {.nodes = 3,
                            .cluster_id = 7,
                            .epoch = 100,
                            .config_hash = 1,
                            .mtu = 9000,
                            .credit = RRDP_WINDOW,
                            .rto_min_ns = 1000000,
                            .rto_max_ns = 100000000,
                            .ack_delay_ns = 50000,
                            .heartbeat_ns = 100000000,
                            .dead_ns = 1000000000,
                            .syn_ns = 10000000};
    e.cfg = &cfg;
    e.shared = &shared;
    e.nodes = 3;
    e.coh = coh_init(memory(coh_size(&c)), &c);
    e.rrdp = rrdp_init(memory(rrdp_size(&r)), &r, 1);
    PANDO_CHECK(e.coh != NULL && e.rrdp != NULL);
    e.clock.core.cfg.khz = KHZ;
    e.clock.core.map = (struct clock_map){.state = CLOCK_LOCKED, .khz = KHZ, .error_ticks = 100};
    cfg.telemetry.sample = 1;
    while (coh_home(e.coh, others_page) != 1)
        PANDO_CHECK(++others_page < PAGES);
    if (span_open(&e) != 0) {
        fprintf(stderr, "pando-span-cost: %s\n", e.err);
        exit(1);
    }
}

/* A frame that begins a message. */
static void frame_of(const struct wire_msg *m, uint8_t bytes[WIRE_MSG_HEADER], struct rrdp_frame *f)
{
    struct wire_rrdp h = {.first = true, .last = true, .ack_valid = true, .cls = 1};
    wire_msg_pack(m, bytes);
    f->header_len = (uint8_t)wire_rrdp_pack(&h, f->header);
    f->inline_data = bytes;
    f->inline_len = WIRE_MSG_HEADER;
}

/* The messages' fields and frames have to be made in any case; hooks: is anybody told? */
static void fault(bool hooks, uint64_t txn)
{
    static struct rrdp_frame f;
    static uint8_t bytes[WIRE_MSG_HEADER];
    struct wire_msg own = {.kind = WIRE_GETS, .page = 1, .txn = txn}, data = own;
    struct wire_msg gets = {.kind = WIRE_GETS, .requester = 1, .page = 3, .txn = txn}, fwd = gets;
    struct wire_msg asked = {
        .kind = WIRE_FWD_GETS, .requester = 2, .page = others_page, .txn = txn};
    struct wire_msg sent = asked, inv = asked, ack = asked;
    struct coh_action map = {.type = COH_ACT_MAP, .page = 1, .started = txn, .txn = txn};
    data.kind = sent.kind = WIRE_DATA;
    fwd.kind = WIRE_FWD_GETS;
    inv.kind = WIRE_INV;
    ack.kind = WIRE_INV_ACK;
    inv.txn = ack.txn = txn ^ UINT64_C(1) << 40;
    e.now = txn;
    if (hooks) {
        span_faults_read(&e);
        span_asked(&e, &own);
    }
    frame_of(&own, bytes, &f);
    if (hooks) {
        span_frame(&e, &f);
        span_received(&e, 1, &data);
        uint64_t at = span_mapping(&e, &map);
        if (at != 0)
            span_mapped(&e, &map, at);
        span_received(&e, 1, &gets);
        span_asked(&e, &fwd);
    }
    frame_of(&fwd, bytes, &f);
    if (hooks) {
        span_frame(&e, &f);
        span_received(&e, 1, &asked);
        span_asked(&e, &sent);
    }
    frame_of(&sent, bytes, &f);
    if (hooks) {
        span_frame(&e, &f);
        span_received(&e, 1, &inv);
        span_asked(&e, &ack);
    }
    frame_of(&ack, bytes, &f);
    if (hooks)
        span_frame(&e, &f);
}

static double per_message(bool hooks, uint32_t sample)
{
    e.span.below = e.spans->below = span_below(sample);
    uint64_t start = glue_clock_tsc();
    for (unsigned i = 0; i < FAULTS; i++)
        fault(hooks, next_txn++);
    return (double)(glue_clock_tsc() - start) / FAULTS / MESSAGES;
}

static double per_stamp(void)
{
    uint64_t start = glue_clock_tsc(), sum = 0;
    for (unsigned i = 0; i < STAMPS; i++)
        sum += span_stamp_now(&e);
    uint64_t took = glue_clock_tsc() - start;
    PANDO_CHECK(sum != 0);
    return (double)took / STAMPS;
}

static void print(const char *name, const double *each)
{
    printf("{\"name\":\"%s\",\"unit\":\"cycles\",\"each\":[", name);
    for (unsigned i = 0; i < ROUNDS; i++)
        printf("%s%.2f", i == 0 ? "" : ",", each[i] > 0 ? each[i] : 0.0);
    printf("]}\n");
}

int main(void)
{
    static const uint32_t samples[] = {0, 64, 1};
    static double each[3][ROUNDS], stamp[ROUNDS];
    set_up();
    per_message(true, 1); /* warm-up */
    for (unsigned r = 0; r < ROUNDS; r++) {
        double without = per_message(false, 0);
        for (unsigned i = 0; i < 3; i++)
            each[i][r] = per_message(true, samples[i]) - without;
        stamp[r] = per_stamp();
    }
    /* All were looked at, and one in 64 of the others. */
    uint64_t want = (uint64_t)(ROUNDS + 1) * FAULTS, got = e.spans->parts_sent;
    if (got < 3 * want || got > 3 * want + 3 * (uint64_t)ROUNDS * FAULTS / 32) {
        fprintf(stderr, "pando-span-cost: %llu pieces of spans, not about %llu\n",
                (unsigned long long)got, (unsigned long long)(3 * want));
        return 1;
    }
    for (unsigned i = 0; i < 3; i++) {
        char name[40];
        snprintf(name, sizeof(name), "span/cost/message/sample_%u", samples[i]);
        print(name, each[i]);
    }
    print("span/cost/stamp", stamp);
    return 0;
}
