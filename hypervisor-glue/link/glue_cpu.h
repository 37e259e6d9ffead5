/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who shares a CPU with whom, as hints: threads of the VMM publish where they run (glue_abi.h:
 * glue_chan.cpu, glue_agent.cpu), the poll loop where it asks from (glue_agent.asker_cpu). A poll
 * loop that has made a thread of its own CPU runnable makes way at once, as it has priority there;
 * an agent whose answer is awaited on its own CPU does not spin. A thread may have been moved
 * meanwhile: a wrong hint costs a wake-up or some polls, and nothing else.
 */
#ifndef PANDO_GLUE_CPU_H
#define PANDO_GLUE_CPU_H

#include <sched.h>
#include <stdint.h>

/* 1 + the number of the CPU that the calling thread is on; 0: cannot be told. */
static inline uint32_t glue_cpu_here(void)
{
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (uint32_t)cpu + 1;
}

/* hint: of another thread, glue_cpu_here() as it published it. */
static inline int glue_cpu_shared(uint32_t hint)
{
    return hint != 0 && hint == glue_cpu_here();
}

#endif
