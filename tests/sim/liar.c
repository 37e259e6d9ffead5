/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lies that must be refused whatever state a node is in: messages with a field that cannot be true,
 * answers that come a second time, completions of nothing, anything at all after a STOP; frames
 * with valid checksums and such fields. A lie is dropped, for a reason that fits, and causes
 * nothing. (A peer that lies about what only it can know, a page's data or its own acknowledgement,
 * is believed: tests/fuzz looks at what such a peer can break.)
 */
#include <string.h>

#include "tests/sim/sim.h"

#define FAR         (UINT64_C(1) << 46) /* beyond all ids and versions; COH_ID_LIMIT: 2^48 */
#define WHY(reason) (1u << COH_DROP_##reason)

static uint64_t drops(const struct sim_node *n, uint32_t reasons)
{
    uint64_t sum = 0;
    for (uint32_t d = 0; d < COH_DROPS; d++)
        if (reasons >> d & 1)
            sum += coh_counters(n->coh)->drop[d];
    return sum;
}

/* What is due at this time is not a lie's doing: it comes first. False: there is no end of it. */
static bool settled(struct sim_world *w, struct sim_node *n)
{
    for (uint32_t i = 0; i < 64 && !n->stopped && coh_deadline(n->coh) <= w->now; i++) {
        struct coh_event tick = {.type = COH_EV_TICK};
        node_step(w, n, &tick);
    }
    return w->result == SIM_PASS && (n->stopped || coh_deadline(n->coh) > w->now);
}

/* The node, which is settled, is told this and must drop it for one of these reasons. */
static void tell(struct sim_world *w, struct sim_node *n, struct coh_event *ev, uint32_t reasons)
{
    uint64_t before = drops(n, reasons), all = drops(n, UINT32_MAX);
    ev->now = w->now;
    coh_step(n->coh, ev, &w->actions);
    sim_coverage.lies++;
    if (w->actions.n == 0 && drops(n, reasons) == before + 1 && drops(n, UINT32_MAX) == all + 1)
        return;
    char text[160];
    coh_event_print(ev, text, sizeof(text));
    check_fail(w, SIM_SAFETY,
               "node %u was told a lie, and did not just drop it: %s from %u: %u actions", n->id,
               text, ev->src, w->actions.n);
}

/* A page whose home is (not) this node, from a random one on; UINT64_MAX: there is none. */
static uint64_t page_of_home(struct sim_world *w, const struct sim_node *n, uint8_t home, bool is)
{
    uint32_t first = prng_below(&w->rng, w->opt.pages);
    for (uint32_t i = 0; i < w->opt.pages; i++) {
        uint64_t page = (first + i) % w->opt.pages;
        if ((coh_home(n->coh, page) == home) == is)
            return page;
    }
    return UINT64_MAX;
}

static bool is_answer(const struct wire_msg *m)
{
    return m->kind == WIRE_DATA || m->kind == WIRE_GRANT || m->kind == WIRE_INV_ACK ||
           m->kind == WIRE_PUT_ACK;
}

/* Makes *ev, a true message, a lie. Returns the reasons to drop it; 0: nothing fits. */
static uint32_t twist(struct sim_world *w, const struct sim_node *n, struct coh_event *ev)
{
    struct wire_msg *m = &ev->msg;
    struct coh_dir_view d;
    switch (prng_below(&w->rng, 10)) {
    case 0:
        m->vm ^= 1;
        return WHY(WRONG_VM);
    case 1:
        m->page = ev->page = w->opt.pages + prng_below(&w->rng, 1000);
        return WHY(PAGE_RANGE);
    case 2:
        m->requester = (uint8_t)(w->opt.nodes + prng_below(&w->rng, 100));
        return WHY(REQUESTER);
    case 3:
        ev->src = n->id;
        return WHY(REQUESTER);
    case 4: /* a request to somebody who is not the home */
        *m = (struct wire_msg){.kind = WIRE_GETS, .vm = m->vm, .requester = ev->src, .txn = 1};
        m->page = ev->page = page_of_home(w, n, n->id, false);
        return m->page == UINT64_MAX ? 0 : WHY(NOT_HOME);
    case 5: /* an invalidation of somebody who is not the home */
        *m = (struct wire_msg){.kind = WIRE_INV, .vm = m->vm, .requester = ev->src, .txn = 1};
        m->page = ev->page = page_of_home(w, n, ev->src, false);
        return m->page == UINT64_MAX ? 0 : WHY(NOT_FROM_HOME);
    case 6:
        m->txn = prng_below(&w->rng, 2) ? 0 : UINT64_C(1) << 48;
        return WHY(FIELDS);
    case 7:
        m->txn = FAR;
        return is_answer(m) ? WHY(TXN) | WHY(STATE) : 0;
    case 8:
        m->version = m->zero ? 0 : FAR;
        return m->kind == WIRE_GRANT && m->exclusive ? WHY(VERSION) | WHY(STATE) | WHY(FIELDS) : 0;
    default: /* a page put back that nobody was ever given */
        m->page = ev->page = page_of_home(w, n, n->id, true);
        if (m->page == UINT64_MAX)
            return 0;
        coh_dir_view(n->coh, m->page, &d);
        *m = (struct wire_msg){
            .kind = WIRE_PUTM, .vm = m->vm, .requester = ev->src, .txn = 1, .page = m->page};
        return d.state == COH_DIR_ZERO ? WHY(DIR_STATE) : 0;
    }
}

void liar_before(struct sim_world *w, struct sim_node *n, const struct coh_event *truth)
{
    struct coh_event ev = *truth;
    if (w->healed || !prng_chance(&w->rng, w->opt.lies_ppm) || !settled(w, n))
        return;
    uint32_t reasons = twist(w, n, &ev);
    if (reasons != 0)
        tell(w, n, &ev, reasons);
    uint32_t page = prng_below(&w->rng, w->opt.pages);
    if (n->edge_open[page])
        return;
    struct coh_event done = {.type = COH_EV_MAPPED + prng_below(&w->rng, 3), .page = page};
    tell(w, n, &done, WHY(EDGE));
}

void liar_after(struct sim_world *w, struct sim_node *n, const struct coh_event *truth)
{
    struct coh_event again = *truth;
    if (w->healed || !is_answer(&truth->msg) || !prng_chance(&w->rng, w->opt.lies_ppm) ||
        !settled(w, n))
        return;
    tell(w, n, &again, WHY(TXN) | WHY(STATE) | WHY(ACKS));
}

void liar_stopped(struct sim_world *w, struct sim_node *n)
{
    struct coh_event fault = {.type = COH_EV_WRITE_FAULT,
                              .page = prng_below(&w->rng, w->opt.pages)};
    if (n->stopped && !n->dead && settled(w, n))
        tell(w, n, &fault, WHY(DEAD_PEER));
}

/* A frame that is right but for one field, with a right checksum. Returns its length; 0: nothing
 * fits. *ret_from is whose address it comes from. */
uint32_t liar_frame(struct sim_world *w, uint8_t src, uint8_t dst, const uint8_t *frame,
                    uint32_t len, uint8_t *out, uint8_t *ret_from)
{
    struct wire_rrdp h;
    const uint8_t *data;
    *ret_from = src;
    if (wire_rrdp_unpack(frame, len, frame[7], &h, &data) != WIRE_OK || h.syn)
        return 0;
    switch (prng_below(&w->rng, 7)) {
    case 0:
        h.src = dst;
        break;
    case 1:
        h.dst = (uint8_t)((dst + 1) % SIM_NODES_MAX);
        break;
    case 2:
        if (!h.ack_valid)
            return 0;
        h.ack += 1u << 29;
        break;
    case 3:
        if (h.data_len == 0)
            return 0;
        h.seq += 1u << 29;
        break;
    case 4:
        *ret_from = (uint8_t)(src + 1 + prng_below(&w->rng, 200));
        break;
    case 5: /* what another version sends, or one with a field that this one does not know */
        memcpy(out, frame, len);
        if (prng_below(&w->rng, 2))
            out[0] ^= 2;
        else
            out[1] |= 0x80;
        wire_rrdp_seal(out, len);
        return len;
    default: /* a heartbeat with data */
        if (h.data_len == 0)
            return 0;
        h.nul = true;
        break;
    }
    size_t header = wire_rrdp_pack(&h, out);
    memcpy(out + header, data, h.data_len);
    wire_rrdp_seal(out, header + h.data_len);
    return (uint32_t)(header + h.data_len);
}
