/* SPDX-License-Identifier: BSD-3-Clause */
/* The adversarial network: per directed link loss, duplication, reordering (by latency spread),
 * corruption, junk, clogging and one-way cuts. After the heal only latency remains. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { ANCIENT_PPM = 20000 };
#define ANCIENT_NS UINT64_C(4000000000)

static uint64_t arrival(struct sim_world *w, uint8_t src, uint8_t dst)
{
    const struct sim_options *o = &w->opt;
    uint64_t spread = o->latency_max - o->latency_min;
    uint64_t when = w->now + o->latency_min + (spread ? prng_next(&w->rng) % spread : 0);
    bool node = src < SIM_NODES_MAX; /* a lie may come from a number that nobody has */
    if (!w->healed && node && w->link_clear[src][dst] > when)
        when = w->link_clear[src][dst] + prng_below(&w->rng, 1000);
    return when;
}

/* Where pages are placed, what may carry one arrives in order (port.h: pages in place, 3). */
static uint64_t in_order(struct sim_world *w, uint8_t src, uint8_t dst, const uint8_t *frame,
                         uint32_t len, uint64_t when)
{
    bool pages = len > 4 && (frame[4] & 3) == WIRE_CLASS_DATA;
    if (!w->opt.places || !pages || src >= SIM_NODES_MAX || w->plant == PLANT_LATE)
        return when;
    w->link_last[src][dst] = max_u64(when, w->link_last[src][dst] + 1);
    return w->link_last[src][dst];
}

static void deliver(struct sim_world *w, uint8_t src, uint8_t dst, const uint8_t *bytes,
                    uint32_t len, uint64_t late)
{
    const struct sim_options *o = &w->opt;
    uint64_t when = late + in_order(w, src, dst, bytes, len, arrival(w, src, dst));
    uint8_t *copy = malloc(len + 64);
    memcpy(copy, bytes, len);
    /* Ethernet pads short frames: the receiver must cut the tail off itself. */
    if (len < 46 && prng_below(&w->rng, 2)) {
        memset(copy + len, 0xA5, 46 - len);
        len = 46;
    }
    if (!w->healed && prng_chance(&w->rng, o->corrupt_ppm)) {
        uint32_t flips = 1 + prng_below(&w->rng, 8);
        for (uint32_t i = 0; i < flips; i++)
            copy[prng_below(&w->rng, len)] ^= (uint8_t)(1u << prng_below(&w->rng, 8));
        if (prng_below(&w->rng, 4) == 0)
            len = 1 + prng_below(&w->rng, len);
    }
    sim_push(
        w, (struct sim_event){
               .time = when, .type = EV_FRAME, .node = dst, .src = src, .bytes = copy, .len = len});
}

static void junk(struct sim_world *w, uint8_t src, uint8_t dst)
{
    uint8_t bytes[256];
    uint32_t len = 1 + prng_below(&w->rng, sizeof(bytes) - 1);
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)prng_next(&w->rng);
    deliver(w, src, dst, bytes, len, 0);
}

static void lie(struct sim_world *w, uint8_t src, uint8_t dst, const uint8_t *frame, uint32_t len)
{
    uint8_t twisted[SIM_FRAME_MAX], from;
    uint32_t n = liar_frame(w, src, dst, frame, len, twisted, &from);
    if (n > 0)
        deliver(w, from, dst, twisted, n, 0);
}

static void send_to(struct sim_world *w, uint8_t src, uint8_t dst, uint8_t *bytes, uint32_t len)
{
    const struct sim_options *o = &w->opt;
    if (w->node[dst].dead || len > (w->now < o->cut_at ? o->mtu : o->path_mtu))
        return;
    if (!w->healed) {
        if (w->link_cut[src][dst] > w->now || prng_chance(&w->rng, o->loss_ppm))
            return;
        if (prng_chance(&w->rng, o->dup_ppm))
            deliver(w, src, dst, bytes, len, 0);
        if (prng_chance(&w->rng, o->junk_ppm))
            junk(w, src, dst);
        if (prng_chance(&w->rng, o->lies_ppm))
            lie(w, src, dst, bytes, len);
    }
    /* Some frames of the first life come in the second, whoever has started again by then. */
    if (o->rejoin && w->life == 0 && prng_chance(&w->rng, ANCIENT_PPM))
        deliver(w, src, dst, bytes, len, prng_next(&w->rng) % ANCIENT_NS);
    deliver(w, src, dst, bytes, len, 0);
}

/* As an RDMA device would: the page into the receiver's memory, then the rest of the frame. The
 * device repeats and spoils nothing. Loss is that of a node that has no room: for all, or for what
 * came behind the write. */
static void send_placed(struct sim_world *w, uint8_t src, uint8_t dst, uint32_t page,
                        const uint8_t *bytes, uint32_t len)
{
    bool lost = !w->healed && prng_chance(&w->rng, w->opt.loss_ppm);
    uint32_t head = len - WIRE_PAGE_SIZE;
    if (w->node[dst].dead || (lost && prng_below(&w->rng, 2)))
        return;
    uint64_t last = w->link_last[src][dst];
    uint64_t when = in_order(w, src, dst, bytes, len, arrival(w, src, dst));
    uint64_t from = max_u64(last + 1, w->now), write = from;
    if (w->plant == PLANT_LATE)
        write = when + prng_next(&w->rng) % (w->opt.latency_max * 4);
    else if (when > from)
        write = from + prng_next(&w->rng) % (when - from);
    struct sim_event ev = {
        .time = write, .type = EV_PLACE, .node = dst, .src = src, .page = page, .len = len};
    ev.bytes = malloc(WIRE_PAGE_SIZE);
    memcpy(ev.bytes, bytes + head, WIRE_PAGE_SIZE);
    sim_push(w, ev);
    if (lost)
        return;
    ev.time = when;
    ev.type = EV_FRAME;
    ev.flag = true;
    ev.len = head;
    ev.bytes = malloc(head);
    memcpy(ev.bytes, bytes, head);
    sim_push(w, ev);
}

void net_send(struct sim_world *w, uint8_t src, const struct rrdp_frame *f, uint8_t *bytes,
              uint32_t len)
{
    for (uint8_t n = 0; f->members != 0 && n < w->opt.nodes; n++) /* it reaches all of them */
        if (n != src)
            send_to(w, src, n, bytes, len);
    uint64_t page;
    if (f->members == 0 && w->opt.places && freeze_places(f, &page))
        send_placed(w, src, f->peer, (uint32_t)page, bytes, len);
    else if (f->members == 0)
        send_to(w, src, f->peer, bytes, len);
}

void net_chaos(struct sim_world *w)
{
    const struct sim_options *o = &w->opt;
    if (w->healed)
        return;
    uint32_t a = prng_below(&w->rng, o->nodes), b = prng_below(&w->rng, o->nodes);
    if (prng_chance(&w->rng, o->clog_ppm))
        w->link_clear[a][b] = w->now + prng_next(&w->rng) % o->clog_ns;
    if (prng_chance(&w->rng, o->partition_ppm))
        w->link_cut[a][b] = w->now + prng_next(&w->rng) % o->clog_ns;
    if (prng_chance(&w->rng, o->slow_ppm))
        w->node[a].busy_until = w->now + prng_next(&w->rng) % o->slow_ns;
    sim_push(w, (struct sim_event){.time = w->now + 20000, .type = EV_CHAOS, .arg = w->life});
}
