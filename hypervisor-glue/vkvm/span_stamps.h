/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vCPU's stamps of sampled exits, interrupts and turns (dataplane/span/span.h). EDGE. All by the
 * thread that owns the vCPU's channel. Cost of what is not sampled: an increment, a multiplication
 * and a compare an exit; a load and a compare for each interrupt, entry and exit of the VMM's.
 */
#ifndef PANDO_VKVM_SPAN_STAMPS_H
#define PANDO_VKVM_SPAN_STAMPS_H

#include "dataplane/span/span.h"
#include "hypervisor-glue/link/glue_clock.h"
#include "hypervisor-glue/vkvm/vkvm.h"

/* KVM_RUN has returned. */
static inline void span_exit(struct vcpu *v)
{
    uint64_t id = ++v->span.exits | (uint64_t)v->id << 48;
    v->span.exit_stamp = span_sampled(v->vm->link.shared->span_below, id) ? glue_clock_tsc() : 0;
}

/* The message tells of that exit. */
static inline void span_mark(struct vcpu *v, struct glue_entry *e)
{
    if (v->span.exit_stamp == 0)
        return;
    do
        e->seq = GLUE_SPAN_SEQ(v->id, ++v->span.samples);
    while (e->seq == 0);
    e->stamp = v->span.exit_stamp;
}

/* A sampled turn has got here: the VMM's thread has the exit, or the vCPU is about to enter. */
static inline void span_turn(struct vcpu *v, uint32_t seq)
{
    struct glue_span *s = &v->chan->span;
    atomic_store_explicit(&s->turn_stamp, glue_clock_tsc(), memory_order_relaxed);
    atomic_store_explicit(&s->turn, seq, memory_order_release); /* [F] */
}

/* The posted interrupts of word w were taken with an acquiring exchange. [E] */
static inline void span_taken(struct vcpu *v, uint32_t w, uint64_t irr)
{
    struct glue_span *s = &v->chan->span;
    uint64_t irq = atomic_load_explicit(&s->irq, memory_order_relaxed);
    uint8_t vector = GLUE_SPAN_VECTOR(irq);
    if (irq == 0 || vector / 64u != w || (irr >> (vector % 64u) & 1) == 0 ||
        irq == atomic_load_explicit(&s->taken, memory_order_relaxed))
        return;
    atomic_store_explicit(&s->taken_stamp, glue_clock_tsc(), memory_order_relaxed);
    atomic_store_explicit(&s->taken, irq, memory_order_release); /* [F] */
}

#endif
