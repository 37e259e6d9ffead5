/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzzes the GiantVM-style baseline: one node among peers that lie as they like. Operations, a byte
 * each and what it needs: fault (page and kind), completion of a page's mapping change, time, bytes
 * of a stream (which must be measured before they are whole), a message of the protocol. After each
 * the page's invariants hold, no page has two changes open, and what is sent can be packed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "perf/giantvm/core/frame.h"
#include "perf/giantvm/core/ivy.h"

enum { SELF = 1, NODES = 3, PAGES = 6, OPS_MAX = 2000 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static struct world {
    struct coh *coh;
    struct coh_actions actions;
    bool open[PAGES];
    enum coh_action_type type[PAGES];
    uint64_t now;
} w;

static void look(const struct coh_action *a)
{
    uint8_t head[FRAME_DSM_HEADER];
    struct wire_msg back;
    switch (a->type) {
    case COH_ACT_SEND:
        PANDO_CHECK(a->dst < NODES && a->dst != SELF);
        frame_pack(&a->msg, head);
        PANDO_CHECK(frame_unpack(head, NODES, PAGES, &back) == WIRE_OK);
        PANDO_CHECK(back.kind == a->msg.kind && back.page == a->msg.page);
        return;
    case COH_ACT_MAP:
        if (a->again) /* at once: nothing is open then */
            PANDO_CHECK(!w.open[a->page]);
        break;
    case COH_ACT_PROTECT:
    case COH_ACT_UNMAP:
        break;
    default:
        PANDO_CHECK(false);
    }
    PANDO_CHECK(a->page < PAGES && (a->again || !w.open[a->page]));
    w.open[a->page] = !a->again;
    w.type[a->page] = a->type;
}

static void step(struct coh_event *ev)
{
    ev->now = w.now;
    coh_step(w.coh, ev, &w.actions);
    for (uint32_t i = 0; i < w.actions.n; i++)
        look(&w.actions.a[i]);
    for (uint64_t p = 0; p < PAGES; p++)
        PANDO_CHECK(coh_check(w.coh, p) == NULL);
}

static void complete(uint64_t page)
{
    struct coh_event ev = {.page = page};
    if (!w.open[page])
        return;
    ev.type = w.type[page] == COH_ACT_MAP       ? COH_EV_MAPPED
              : w.type[page] == COH_ACT_PROTECT ? COH_EV_PROTECTED
                                                : COH_EV_UNMAPPED;
    w.open[page] = false;
    step(&ev);
}

static void message(uint8_t src, const uint8_t *in)
{
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src};
    if (frame_unpack(in, NODES, PAGES, &ev.msg) != WIRE_OK)
        return;
    ev.page = ev.msg.page;
    /* A request's own number, so that answers are found without guessing 32 bits. */
    const struct ivy_entry *e = &w.coh->entry[ev.page];
    if ((ev.msg.kind == WIRE_DATA || ev.msg.kind == WIRE_INV_ACK) && e->rec != 0 &&
        ev.msg.txn == 0xFF) {
        ev.msg.txn = w.coh->rec[e->rec - 1].txn;
        ev.src = w.coh->rec[e->rec - 1].asked;
    }
    bool wanted = coh_wants_data(w.coh, ev.src, &ev.msg);
    PANDO_CHECK(!wanted || (e->map == IVY_I && ev.msg.kind == WIRE_DATA));
    step(&ev);
}

static void stream(const uint8_t *in, size_t len)
{
    int64_t whole = frame_length(in, len);
    PANDO_CHECK(whole >= -1 && whole <= FRAME_MAX);
    for (size_t k = 0; k < len; k++) { /* what is said early is said again */
        int64_t early = frame_length(in, k);
        PANDO_CHECK(early == 0 || early == whole);
    }
}

static size_t operation(const uint8_t *in, size_t left)
{
    uint8_t what = in[0] >> 4, arg = in[0] & 15;
    struct coh_event ev = {.page = arg % PAGES, .vcpu = arg & 3};
    switch (what % 5) {
    case 0:
        ev.type = arg & 8 ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT;
        step(&ev);
        return 1;
    case 1:
        complete(arg % PAGES);
        return 1;
    case 2:
        w.now += 100u << arg;
        ev.type = arg & 1 ? COH_EV_TICK : COH_EV_IDLE;
        step(&ev);
        return 1;
    case 3:
        stream(in + 1, left - 1 < arg ? left - 1 : arg);
        return 1 + (left - 1 < arg ? left - 1 : arg);
    default:
        if (left < 1 + FRAME_DSM_HEADER)
            return left;
        message(arg % 4, in + 1);
        return 1 + FRAME_DSM_HEADER;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    const struct coh_config cfg = {
        .self = SELF, .nodes = NODES, .pages = PAGES, .hold_ns = 1000, .hold_max_ns = 5000};
    size_t bytes = (coh_size(&cfg) + 63) / 64 * 64;
    void *mem = aligned_alloc(64, bytes);
    if (mem == NULL)
        abort();
    memset(mem, 0, bytes);
    memset(&w, 0, sizeof(w));
    w.coh = coh_init(mem, &cfg);
    w.now = 1000000;
    PANDO_CHECK(w.coh != NULL);
    for (unsigned i = 0; size > 0 && i < OPS_MAX; i++) {
        size_t used = operation(in, size);
        in += used;
        size -= used;
    }
    free(mem);
    return 0;
}
