/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small world for the tests of dataplane/coherence: nodes in one process, a queue per (source,
 * destination, class), a frame and a mapping per page and node, edge actions that take effect and
 * complete when the test says so. A page's bytes are one counter: every write adds one, so that a
 * lost or stale page shows at once. The mappings and values are checked after every change (single
 * writer, data value).
 */
#ifndef PANDO_TEST_COHERENCE_WORLD_H
#define PANDO_TEST_COHERENCE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/coherence/coherence.h"

enum {
    CW_PAGES_MAX = 192,
    CW_VCPUS_MAX = 4,
    CW_INSN_PAGES = 8,
    CW_CLASSES = 3,
    CW_QUEUES = COH_NODES_MAX * COH_NODES_MAX * CW_CLASSES,
};

enum cw_map { CW_NONE, CW_RO, CW_RW };

struct cw_parcel {
    struct wire_msg msg;
    uint64_t value;
};

struct cw_queue {
    struct cw_parcel *item;
    uint32_t head, n, size;
    bool active;
};

struct cw_edge { /* at most one open per page */
    bool open, effective;
    enum coh_action_type type;
    bool writable;
};

struct cw_vcpu {
    uint8_t n;
    uint32_t page[CW_INSN_PAGES];
    bool write[CW_INSN_PAGES];
    bool blocked;
    uint32_t block_page;
    uint64_t ready_at; /* a woken vCPU looks again then */
    uint64_t done;
};

struct cw_node {
    struct coh *coh;
    void *mem;
    uint64_t frame[CW_PAGES_MAX];
    enum cw_map map[CW_PAGES_MAX];
    struct cw_edge edge[CW_PAGES_MAX];
    struct cw_vcpu vcpu[CW_VCPUS_MAX];
    uint64_t last_txn;         /* ids only grow: none is ever used twice, in any life */
    struct coh_action stopped; /* type COH_ACT_STOP once it said so */
    bool dead;                 /* it crashed */
    uint64_t lost;             /* peers that it was told are lost: nothing comes from them */
};

struct cw {
    struct coh_config cfg;
    uint64_t now;
    uint64_t steps;
    uint64_t latest[CW_PAGES_MAX];
    struct cw_node node[COH_NODES_MAX];
    struct cw_queue queue[CW_QUEUES];
    uint32_t active[CW_QUEUES], active_n;
    struct coh_actions actions;
    void (*trace)(void *arg, const char *line); /* NULL: silent */
    void *trace_arg;
    char broken[256]; /* the first violation; empty: none */
};

/* cfg.self is filled in per node. */
struct cw *cw_new(const struct coh_config *cfg);
void cw_free(struct cw *w);

/* Defaults that any test may change: n nodes, interleaved homes, no hold, no limit. */
struct coh_config cw_config(uint8_t nodes, uint64_t pages);

void cw_step(struct cw *w, uint8_t node, struct coh_event *ev);
void cw_fault(struct cw *w, uint8_t node, uint8_t vcpu, uint32_t page, bool write);
void cw_tick(struct cw *w, uint8_t node);
struct cw_queue *cw_queue_of(struct cw *w, uint8_t src, uint8_t dst, unsigned cls);
bool cw_deliver(struct cw *w, uint8_t src, uint8_t dst,
                unsigned cls); /* false: nothing is queued */
bool cw_edge_effect(struct cw *w, uint8_t node, uint32_t page);
bool cw_edge_done(struct cw *w, uint8_t node, uint32_t page); /* effect first, if it was not */
void cw_settle(
    struct cw *w); /* delivers and completes everything, in a fixed order, without passing time */
static inline bool cw_stopped(const struct cw_node *n)
{
    return n->stopped.type == COH_ACT_STOP;
}

/* The node is no more: what was on its way to it is lost. What it had sent may arrive, in order,
 * until the receiver is told that the peer is lost (that one is dead, or has stopped). */
void cw_crash(struct cw *w, uint8_t node);
void cw_lost(struct cw *w, uint8_t node, uint8_t peer);
/* All nodes start again: no page was ever written. Messages of the old life stay on their way. */
void cw_new_life(struct cw *w, uint64_t epoch_txn);

void cw_write(struct cw *w, uint8_t node, uint32_t page);
void cw_read(struct cw *w, uint8_t node, uint32_t page);

/* The vCPU tries its instruction; true if it retired. Otherwise it faulted or is blocked. */
bool cw_vcpu_run(struct cw *w, uint8_t node, uint8_t vcpu);

/* Everything idle, nothing queued, no record leaked, directory and caches agree. Sets broken
 * otherwise. */
void cw_check_end(struct cw *w);
void cw_break(struct cw *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
