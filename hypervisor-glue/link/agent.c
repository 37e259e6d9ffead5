/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The agent thread: the dataplane's hand inside this address space. It unmaps pages, touches none,
 * takes no lock and waits for nobody.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/prctl.h>

#include "hypervisor-glue/link/glue_cpu.h"
#include "hypervisor-glue/link/link.h"
#include "hypervisor-glue/link/raw.h"

static int zap(struct link *l, const struct glue_zap *z)
{
    uint32_t blocks = atomic_load_explicit(&l->blocks, memory_order_acquire);
    for (uint32_t i = 0; i < blocks; i++) {
        const struct link_block *b = &l->block[i];
        if (z->page < b->base_page || z->page - b->base_page >= b->pages)
            continue;
        uint64_t first = z->page - b->base_page;
        if (z->pages == 0 || z->pages > b->pages - first)
            return EINVAL;
        void *at = b->hva + first * WIRE_PAGE_SIZE;
        int err = madvise(at, z->pages * WIRE_PAGE_SIZE, MADV_DONTNEED) == 0 ? 0 : errno;
        return err == ENOMEM ? 0 : err; /* the VMM has unmapped its RAM; the rest was done */
    }
    return EINVAL;
}

/* [A] of memory/zap.h: acquire of head. [B] release of done: madvise returned before. */
static bool serve(struct link *l, struct glue_agent *a)
{
    uint32_t done = atomic_load_explicit(&a->done, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&a->head, memory_order_acquire);
    if (done == head)
        return false;
    for (; done != head; done++) {
        int err = zap(l, &a->zap[done % GLUE_ZAP_ENTRIES]);
        if (err != 0) {
            atomic_store(&a->failed, (uint32_t)err);
            break; /* not done: the dataplane hears of it below and stops the VM */
        }
        atomic_store_explicit(&a->done, done + 1, memory_order_release);
    }
    /* The answer is waited for: a sleeping dataplane must hear of it. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&l->shared->dp_sleeping, memory_order_relaxed) != 0) {
        uint64_t one = 1;
        ssize_t n = write(l->doorbell, &one, sizeof(one));
        (void)n;
    }
    return done == head;
}

/* [C] of memory/zap.h: store sleeping, full fence, look at head. */
static void doze(struct link *l, struct glue_agent *a)
{
    atomic_store_explicit(&a->cpu, glue_cpu_here(), memory_order_relaxed);
    atomic_store_explicit(&a->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&a->head) == atomic_load_explicit(&a->done, memory_order_relaxed) &&
        !link_stopped(l)) {
        struct timespec ts = {0, LINK_SLEEP_MAX_MS * 1000000L};
        syscall(SYS_futex, &a->sleeping, FUTEX_WAIT, 1, &ts, NULL, 0);
    }
    atomic_store_explicit(&a->sleeping, 0, memory_order_relaxed);
}

void *link_agent(void *arg)
{
    struct link *l = arg;
    struct glue_agent *a = &l->shared->agent;
    uint64_t idle_since = link_now();
    prctl(PR_SET_NAME, "pando-agent");
    /* Short work that a page waits for: ahead of vCPUs that fill the cores. */
    link_place(l, &l->agent_sched, l->agent_core, "agent_core: the agent thread");
    for (;;) {
        /* After a stop the pages are nobody's, but a dataplane that still waits for an answer gets
         * it. */
        if (serve(l, a)) {
            idle_since = link_now();
            continue;
        }
        /* A few looks, then sleep: no yield (engine/idle.c says why). None if they are taken from
         * him who awaits the answer. */
        uint32_t asker = atomic_load_explicit(&a->asker_cpu, memory_order_relaxed);
        if (!glue_cpu_shared(asker) &&
            link_now() - idle_since < LINK_AGENT_SPIN_US * UINT64_C(1000))
            __builtin_ia32_pause();
        else
            doze(l, a);
    }
    return NULL;
}
