/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the protocol costs a message without a kernel, a fabric or another process: two nodes in one
 * thread, coherence over the transport over two ports that are joined in memory. The trace is
 * fixed, and so is time (a microsecond a poll): the same instructions each time, for whoever counts
 * them. Each page is written by one node and read by the other, in turns that change with each
 * round.
 *
 * usage: pando-cycles [FAULTS]. Prints one JSON object: faults, messages, frames, and ns of CPU
 * time of all (wall time would have what others took).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/check.h"
#include "dataplane/coherence/coherence.h"
#include "dataplane/port/frame.h"
#include "dataplane/transport/rrdp.h"

#define MS UINT64_C(1000000)

enum { NODES = 2, PAGES = 64, MTU = 9000, FAULTS_MAX = 10000000, POLLS_MAX = 100000 };

struct node {
    struct coh *coh;
    struct rrdp *rrdp;
    struct port *port;
    struct coh_actions actions;
    struct rrdp_segments segments;
    struct coh_event done[COH_ACTIONS_MAX]; /* mappings that were changed at once */
    uint32_t done_n;
    uint8_t head[WIRE_CLASSES][WIRE_MSG_HEADER];
    uint8_t *ram;
    uint64_t mapped; /* faults that ended */
};

static struct node nodes[NODES];
static uint64_t now = MS;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "pando-cycles: %s\n", what);
    exit(1);
}

static void *memory(size_t size)
{
    size = (size + 63) & ~(size_t)63;
    void *m = size != 0 ? aligned_alloc(64, size) : NULL;
    if (m == NULL)
        die("out of memory, or a configuration out of range");
    return memset(m, 0, size);
}

static void open_node(struct node *n, uint8_t self)
{
    struct coh_config c = {.self = self,
                           .nodes = NODES,
                           .pages = PAGES,
                           .epoch_txn = 1,
                           .txn_max = 64,
                           .deferred_max = 64};
    struct rrdp_config r = {.self = self,
                            .nodes = NODES,
                            .cluster_id = 1,
                            .epoch = 1 + self,
                            .config_hash = 1,
                            .mtu = MTU,
                            .credit = RRDP_WINDOW,
                            .rto_min_ns = 20 * MS,
                            .rto_max_ns = 100 * MS,
                            .ack_delay_ns = MS / 20,
                            .heartbeat_ns = 100 * MS,
                            .dead_ns = 10000 * MS,
                            .syn_ns = 10 * MS};
    n->coh = coh_init(memory(coh_size(&c)), &c);
    n->rrdp = rrdp_init(memory(rrdp_size(&r)), &r, now);
    n->ram = memory((size_t)PAGES * WIRE_PAGE_SIZE);
}

static void push_done(struct node *n, enum coh_event_type type, uint64_t page)
{
    PANDO_CHECK(n->done_n < COH_ACTIONS_MAX);
    n->done[n->done_n++] = (struct coh_event){.type = type, .page = page};
}

static void send(struct node *n, const struct coh_action *a)
{
    const struct wire_kind_info *info = wire_kind_info(a->msg.kind);
    uint8_t header[WIRE_MSG_HEADER];
    wire_msg_pack(&a->msg, header);
    if (rrdp_send(n->rrdp, a->dst, info->cls, header, sizeof(header), a->msg.page,
                  info->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 0, false, 0) != 0)
        die("the transport took no message");
}

static void act(struct node *n, const struct coh_action *a)
{
    switch (a->type) {
    case COH_ACT_SEND:
        send(n, a);
        break;
    case COH_ACT_MAP:
        n->mapped += a->started != 0;
        if (!a->again)
            push_done(n, COH_EV_MAPPED, a->page);
        break;
    case COH_ACT_PROTECT:
        push_done(n, COH_EV_PROTECTED, a->page);
        break;
    case COH_ACT_UNMAP:
        push_done(n, COH_EV_UNMAPPED, a->page);
        break;
    case COH_ACT_PUNCH:
        break;
    case COH_ACT_STOP:
        die("the protocol stopped");
    }
}

/* As the engine: completions are events behind the step that asked for them. */
static void step(struct node *n, struct coh_event ev)
{
    for (;;) {
        ev.now = now;
        coh_step(n->coh, &ev, &n->actions);
        for (uint32_t i = 0; i < n->actions.n; i++)
            act(n, &n->actions.a[i]);
        if (n->done_n == 0)
            return;
        ev = n->done[0];
        memmove(n->done, n->done + 1, --n->done_n * sizeof(n->done[0]));
    }
}

static void take(struct node *n, const struct rrdp_segment *g)
{
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = g->peer};
    uint8_t *head = n->head[g->cls];
    const uint8_t *from = g->data;
    uint32_t len = g->len, at = g->offset;
    if (g->first) {
        memcpy(head, from, WIRE_MSG_HEADER);
        from += WIRE_MSG_HEADER;
        len -= WIRE_MSG_HEADER;
    } else {
        at -= WIRE_MSG_HEADER;
    }
    uint64_t payload = wire_kind_info(head[0])->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 0;
    if (wire_msg_unpack(head, WIRE_MSG_HEADER, g->cls, payload, &ev.msg) != WIRE_OK)
        die("a message is none");
    if (payload != 0)
        memcpy(n->ram + ev.msg.page * WIRE_PAGE_SIZE + at, from, len);
    if (g->last)
        step(n, ev);
}

static void poll(struct node *n)
{
    struct port_frame f[PORT_BURST];
    struct rrdp_frame out;
    struct rrdp_event ev;
    uint32_t count = port_rx(n->port, f, PORT_BURST), copied;
    for (uint32_t i = 0; i < count; i++) {
        rrdp_receive(n->rrdp, now, f[i].src, f[i].data, f[i].len, &n->segments);
        for (uint32_t k = 0; k < n->segments.n; k++)
            take(n, &n->segments.seg[k]);
    }
    rrdp_tick(n->rrdp, now);
    while (rrdp_transmit(n->rrdp, now, &out))
        if (!port_put_frame(n->port, &out,
                            n->ram + out.payload * WIRE_PAGE_SIZE + out.payload_offset, &copied))
            die("the port has no room");
    n->port->ops->flush(n->port);
    while (rrdp_event(n->rrdp, &ev))
        ;
    now += MS / 1000;
}

static void poll_all(void)
{
    for (unsigned i = 0; i < NODES; i++)
        poll(&nodes[i]);
}

static bool connected(void)
{
    return rrdp_peer_up(nodes[0].rrdp, 1) && rrdp_peer_up(nodes[1].rrdp, 0);
}

static void fault(struct node *n, uint64_t page, bool write)
{
    struct coh_event ev = {.type = write ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT, .page = page};
    uint64_t ended = n->mapped;
    step(n, ev);
    for (uint32_t i = 0; n->mapped == ended; i++) {
        if (i == POLLS_MAX)
            die("a fault does not end");
        poll_all();
    }
}

static uint64_t total(bool frames)
{
    uint64_t sum = 0;
    for (uint8_t i = 0; i < NODES; i++) {
        const struct rrdp_counters *c = rrdp_counters(nodes[i].rrdp, !i);
        for (unsigned k = 0; k < WIRE_CLASSES; k++)
            sum += frames ? c->tx_frames[k] : c->tx_messages[k];
    }
    return sum;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    unsigned long faults = argc > 1 ? strtoul(argv[1], &end, 10) : 20000;
    if (argc > 2 || (end != NULL && *end != '\0') || faults < 1 || faults > FAULTS_MAX) {
        fprintf(stderr, "usage: pando-cycles [FAULTS]   (1..%d)\n", FAULTS_MAX);
        return 2;
    }
    if (port_open_pair(MTU, &nodes[0].port, &nodes[1].port) != 0)
        die("no ports");
    for (uint8_t i = 0; i < NODES; i++)
        open_node(&nodes[i], i);
    for (uint32_t i = 0; !connected(); i++) {
        if (i == POLLS_MAX)
            die("the nodes do not connect");
        poll_all();
    }
    uint64_t start = cpu_ns();
    for (unsigned long i = 0; i < faults; i++) {
        uint64_t page = i / 2 % PAGES;
        bool turned = i / 2 / PAGES % 2 != 0, write = i % 2 == 0;
        fault(&nodes[write == turned], page, write);
    }
    printf("{\"name\": \"cycles/trace\", \"faults\": %lu, \"messages\": %llu, \"frames\": %llu, "
           "\"ns\": %llu}\n",
           faults, (unsigned long long)total(false), (unsigned long long)total(true),
           (unsigned long long)(cpu_ns() - start));
    for (unsigned i = 0; i < NODES; i++)
        port_close(nodes[i].port);
    return 0;
}
