/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The published clock of glue_abi.h: sequence lock, injected host TSC, ordered TSC reads. The
 * arithmetic of the map is dataplane/clock/clock.h's.
 *
 * Memory order: [C] the writer stores an odd lock, fences, and stores the fields; a reader that saw
 * one of the new fields and then fences sees the odd lock, or a later one. [D] the writer's
 * store-release of the even lock pairs with the reader's load-acquire: the fields are complete.
 */
#ifndef PANDO_GLUE_CLOCK_H
#define PANDO_GLUE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/clock/clock.h"
#include "hypervisor-glue/link/glue_abi.h"

enum { GLUE_CLOCK_TRIES = 1000 };

/* Not before earlier loads are done, and done before anything later starts: a stamp is never older
 * than what was read before it, nor younger than what is sent after it. */
static inline uint64_t glue_clock_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

/* What the node takes for its host's TSC; the injected_ fields do not change after WELCOME. */
static inline uint64_t glue_clock_host(const struct glue_clock *g, uint64_t tsc)
{
    uint64_t drift = (uint64_t)clock_scale((int64_t)(tsc - g->injected_base), g->injected_rate);
    return tsc + g->injected_offset + drift;
}

/* The dataplane, which is the only writer. */
static inline void glue_clock_write(struct glue_clock *g, const struct clock_map *m)
{
    uint32_t lock = atomic_load_explicit(&g->lock, memory_order_relaxed) | 1;
    atomic_store_explicit(&g->lock, lock, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [C] */
    __atomic_store_n(&g->state, m->state, __ATOMIC_RELAXED);
    __atomic_store_n(&g->base_host, m->base_host, __ATOMIC_RELAXED);
    __atomic_store_n(&g->base_cluster, m->base_cluster, __ATOMIC_RELAXED);
    __atomic_store_n(&g->rate, m->rate, __ATOMIC_RELAXED);
    __atomic_store_n(&g->tsc_khz, m->khz, __ATOMIC_RELAXED);
    __atomic_store_n(&g->error_ticks, m->error_ticks, __ATOMIC_RELAXED);
    atomic_store_explicit(&g->lock, lock + 1, memory_order_release); /* [D] */
}

/* False: no whole map could be read (its writer was interrupted in the middle); keep the one that
 * you have and try again later. */
static inline bool glue_clock_read(const struct glue_clock *g, struct clock_map *ret)
{
    for (int i = 0; i < GLUE_CLOCK_TRIES; i++) {
        uint32_t lock = atomic_load_explicit(&g->lock, memory_order_acquire); /* [D] */
        if ((lock & 1) != 0)
            continue;
        struct clock_map m = {
            .state = __atomic_load_n(&g->state, __ATOMIC_RELAXED),
            .base_host = __atomic_load_n(&g->base_host, __ATOMIC_RELAXED),
            .base_cluster = __atomic_load_n(&g->base_cluster, __ATOMIC_RELAXED),
            .rate = __atomic_load_n(&g->rate, __ATOMIC_RELAXED),
            .khz = __atomic_load_n(&g->tsc_khz, __ATOMIC_RELAXED),
            .error_ticks = __atomic_load_n(&g->error_ticks, __ATOMIC_RELAXED),
        };
        atomic_thread_fence(memory_order_acquire); /* [C] */
        if (atomic_load_explicit(&g->lock, memory_order_relaxed) == lock) {
            *ret = m;
            return true;
        }
    }
    return false;
}

#endif
