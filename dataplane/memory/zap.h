/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unmapping by the agent thread of the VMM process: the only one who can (glue_abi.h: struct
 * glue_agent).
 *
 * Pages are queued by zap_push, published together by zap_publish (contiguous ones as one request:
 * nearly all of the cost is one TLB shootdown a request), and come back one by one from zap_done,
 * in order.
 *
 * Memory order: [A] our store-release of head pairs with the agent's load-acquire. [B] the agent's
 * store-release of done pairs with our load-acquire: madvise returned before. [C] we publish, full
 * fence, look at sleeping; the agent stores sleeping, full fence, looks at head.
 */
#ifndef PANDO_MEMORY_ZAP_H
#define PANDO_MEMORY_ZAP_H

#include "dataplane/memory/ram.h"
#include "hypervisor-glue/link/glue_abi.h"

struct zap {
    struct glue_agent *agent;
    uint64_t *page; /* FIFO of pages: [tail, published) with the agent, [published, head) queued */
    uint32_t mask;
    uint32_t head, published, tail;
    uint32_t ring_head, ring_tail;       /* requests: published, answered */
    uint32_t pages_of[GLUE_ZAP_ENTRIES]; /* pages of each published request */
    uint64_t requests, pages, wakes;
};

/* memory: room for `size` pages, a power of two, at least as many as can be open at a time. */
void zap_init(struct zap *z, struct glue_agent *agent, uint64_t *memory, uint32_t size);

void zap_push(struct zap *z, uint64_t page);

/* Hands queued pages to the agent as far as its ring has room, and wakes it. True if it did
 * anything. */
bool zap_publish(struct zap *z, const struct ram *ram);

/* 1: *ret_page is unmapped; 0: none yet; -EPROTO: the agent's counter is impossible; else the
 * agent's -errno. */
int zap_done(struct zap *z, uint64_t *ret_page);

static inline bool zap_pending(const struct zap *z)
{
    return z->head != z->tail;
}

#endif
