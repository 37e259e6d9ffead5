/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/memory/zap.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "hypervisor-glue/link/glue_cpu.h"

void zap_init(struct zap *z, struct glue_agent *agent, uint64_t *memory, uint32_t size)
{
    PANDO_CHECK(is_pow2(size));
    *z = (struct zap){.agent = agent, .page = memory, .mask = size - 1};
}

void zap_push(struct zap *z, uint64_t page)
{
    PANDO_CHECK(z->head - z->tail <= z->mask);
    z->page[z->head++ & z->mask] = page;
}

/* How many of the queued pages from z->published on are contiguous and of one block. */
static uint32_t run_length(const struct zap *z, const struct ram *ram)
{
    uint64_t first = z->page[z->published & z->mask];
    const struct ram_block *b = ram_block_of(ram, first);
    uint64_t left = b == NULL ? 1 : b->base_page + b->pages - first;
    uint32_t n = 1;
    while (z->published + n != z->head && n < left &&
           z->page[(z->published + n) & z->mask] == first + n)
        n++;
    return n;
}

bool zap_publish(struct zap *z, const struct ram *ram)
{
    if (z->published == z->head)
        return false;
    uint32_t before = z->ring_head;
    while (z->published != z->head && z->ring_head - z->ring_tail < GLUE_ZAP_ENTRIES) {
        uint32_t n = run_length(z, ram), slot = z->ring_head % GLUE_ZAP_ENTRIES;
        z->agent->zap[slot] =
            (struct glue_zap){.page = z->page[z->published & z->mask], .pages = n};
        z->pages_of[slot] = n;
        z->published += n;
        z->pages += n;
        z->ring_head++;
    }
    if (z->ring_head == before)
        return false;
    z->requests += z->ring_head - before;
    atomic_store_explicit(&z->agent->asker_cpu, glue_cpu_here(), memory_order_relaxed);
    atomic_store_explicit(&z->agent->head, z->ring_head, memory_order_release); /* [A] */
    atomic_thread_fence(memory_order_seq_cst);                                  /* [C] */
    if (atomic_load_explicit(&z->agent->sleeping, memory_order_relaxed) != 0) {
        atomic_store_explicit(&z->agent->sleeping, 0, memory_order_relaxed);
        syscall(SYS_futex, &z->agent->sleeping, FUTEX_WAKE, 1, NULL, NULL, 0);
        z->wakes++;
    }
    return true;
}

int zap_done(struct zap *z, uint64_t *ret_page)
{
    if (z->ring_tail == z->ring_head)
        return 0;
    uint32_t done = atomic_load_explicit(&z->agent->done, memory_order_acquire); /* [B] */
    if (done - z->ring_tail > z->ring_head - z->ring_tail)
        return -EPROTO;
    uint32_t failed = atomic_load_explicit(&z->agent->failed, memory_order_relaxed);
    if (failed != 0) /* the request that failed is never done: this comes first */
        return failed < 4096 ? -(int)failed : -EPROTO;
    if (done == z->ring_tail)
        return 0;
    *ret_page = z->page[z->tail++ & z->mask];
    if (--z->pages_of[z->ring_tail % GLUE_ZAP_ENTRIES] == 0)
        z->ring_tail++;
    return 1;
}
