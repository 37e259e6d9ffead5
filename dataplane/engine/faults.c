/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What guest memory reports: faults and finished unmappings.
 *
 * A userfaultfd message is a hint (race 1 in memory/ram.h): it may be a duplicate, or stale. It
 * becomes a READ_FAULT or WRITE_FAULT, and the core decides by the page's state; for a page that is
 * mapped already the core asks to map it again, which wakes the waiter.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"
#include "dataplane/memory/uffd.h"
#include "hypervisor-glue/link/glue_cpu.h"

static uint64_t idles_of(const struct engine *e, uint32_t vcpu)
{
    return atomic_load_explicit(&e->shared->chan[vcpu].idles, memory_order_acquire); /* [P] */
}

bool faults_idle_pending(const struct engine *e)
{
    for (uint64_t left = coh_waited_for(e->coh); left != 0; left &= left - 1) {
        uint32_t v = bit64_first(left);
        if (idles_of(e, v) != e->idles[v])
            return true;
    }
    return false;
}

/* A vCPU that keeps others waiting has begun to wait itself. */
bool faults_idle(struct engine *e)
{
    bool useful = false;
    for (uint64_t left = coh_waited_for(e->coh); left != 0; left &= left - 1) {
        uint32_t v = bit64_first(left);
        uint64_t now = idles_of(e, v);
        if (now == e->idles[v])
            continue;
        struct coh_event ev = {.type = COH_EV_IDLE, .vcpu = (uint8_t)v};
        e->idles[v] = now;
        engine_step(e, &ev);
        useful = true;
    }
    return useful;
}

/* The vCPU that a thread runs; COH_VCPU_NONE for other threads of the VMM. */
static uint8_t vcpu_of(const struct engine *e, uint32_t tid)
{
    uint32_t n = e->cfg->vm.vcpus < COH_VCPUS_MAX ? e->cfg->vm.vcpus : COH_VCPUS_MAX;
    for (uint32_t v = 0; v < n; v++)
        if (e->cfg->vm.vcpu_home[v] == e->self &&
            atomic_load_explicit(&e->shared->chan[v].tid, memory_order_relaxed) == tid)
            return (uint8_t)v;
    return COH_VCPU_NONE;
}

void faults_read(struct engine *e, uint32_t block)
{
    struct uffd_fault f[UFFD_BATCH];
    const struct ram_block *b = &e->ram.block[block];
    int n = uffd_read(b->uffd, f);
    e->now = engine_now();
    span_faults_read(e);
    if (n < 0) {
        engine_stop(e, false, "node %u: reading userfaultfd: %s", e->self, strerror(-n));
        return;
    }
    e->count.uffd_messages += (uint64_t)n;
    for (int i = 0; i < n; i++) {
        struct coh_event ev = {.type = f[i].write ? COH_EV_WRITE_FAULT : COH_EV_READ_FAULT,
                               .vcpu = vcpu_of(e, f[i].tid)};
        /* Counted before it faulted: says nothing of the instruction that faults now. */
        if (ev.vcpu != COH_VCPU_NONE) {
            e->idles[ev.vcpu] = idles_of(e, ev.vcpu);
            /* Where it runs, and so where it will run when its fault is over. */
            e->beside |= glue_cpu_shared(
                atomic_load_explicit(&e->shared->chan[ev.vcpu].cpu, memory_order_relaxed));
        }
        if (!ram_page_at(b, f[i].address, &ev.page)) {
            engine_drop(e, ENGINE_DROP_UFFD_RANGE);
            continue;
        }
        PROBE(fault_read, e->self, ev.page, f[i].write, ev.vcpu);
        engine_step(e, &ev);
    }
}

bool faults_unmapped(struct engine *e)
{
    bool useful = false;
    uint64_t page;
    int rc;
    while ((rc = zap_done(&e->zap, &page)) > 0) {
        struct coh_event ev = {.type = COH_EV_UNMAPPED, .page = page};
        PROBE(zap_done, e->self, page);
        engine_step(e, &ev);
        useful = true;
    }
    if (rc == -EPROTO)
        engine_stop(e, false, "node %u: the agent thread's counter is impossible", e->self);
    else if (rc < 0)
        engine_stop(e, false, "node %u: the agent thread cannot unmap: %s", e->self, strerror(-rc));
    if (!zap_publish(&e->zap, &e->ram))
        return useful;
    uint32_t cpu = atomic_load_explicit(&e->shared->agent.cpu, memory_order_relaxed);
    e->make_way |= glue_cpu_shared(cpu);
    return true;
}
