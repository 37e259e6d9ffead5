/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The glue's end of glue_abi.h: connection, segment, messages, waiting and waking, the agent
 * thread. EDGE.
 *
 * Threads: link_connect starts two that need nothing from the VMM and never touch guest RAM: the
 * control thread (reads the socket; when the VM stops or the dataplane goes away it ends the
 * process) and the agent (unmaps pages for the dataplane). Messages are sent and taken by the
 * thread that owns the channel.
 */
#ifndef PANDO_GLUE_LINK_H
#define PANDO_GLUE_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "dataplane/host/thread.h"
#include "hypervisor-glue/link/glue_abi.h"
#include "hypervisor-glue/link/glue_ring.h"

enum {
    LINK_ERROR_MAX = 320,
    LINK_EXIT_STOPPED =
        70, /* exit status of a process whose VM was stopped; no guest's status is even */
    LINK_STOP_GRACE_MS = 300, /* for the VMM to report, before the process is ended */
    LINK_AGENT_SPIN_US = 5,
    LINK_SLEEP_MAX_MS = 100, /* longest sleep without a look at the stop flag */
};

struct link_block { /* written once, before `blocks` counts it */
    uint8_t *hva;
    uint64_t base_page, pages;
    int memfd,
        uffd; /* our own copy: with the last one closed, faults would fall through to stale pages */
};

/* What the process's threads had before housekeeping was moved aside: for those that are not
 * housekeeping, and inherit from the threads that are. */
struct link_usual {
    bool moved; /* housekeeping was moved; the rest is set */
    struct host_cpus cpus;
    int nice;
};

struct link {
    int sock, doorbell;
    struct glue_shared *shared;
    uint32_t role, node, nodes, vmm_node, vcpus;
    uint64_t ram_pages_max;
    uint8_t vcpu_home[256];
    int16_t vcpu_core[256]; /* -1: not pinned */
    int32_t agent_core;
    struct glue_sched agent_sched, vcpu_sched, housekeeping_sched;
    struct link_usual usual;
    uint32_t tick_rest_times, tick_rest_max_ms;
    struct link_block block[GLUE_RAM_BLOCKS];
    _Atomic uint32_t blocks;
    _Atomic uint32_t stopping; /* no vCPU enters the guest again */
    _Atomic uint32_t
        leaving; /* this process ends by itself: nothing that the dataplane does is news */
    pthread_mutex_t ctl_lock, vm_lock;
    pthread_cond_t ctl_cond;
    bool ctl_answered;
    struct glue_ctl ctl_answer;
};

/* Connects, waits for WELCOME (all nodes are up), maps the segment and starts both threads. 0, or
 * -errno with a sentence in err; -ESHUTDOWN: the VM has ended well before this process was in it.
 */
int link_connect(struct link *l, const char *path, enum glue_role role, char err[LINK_ERROR_MAX]);

/* A detached thread on which no signal of the process is handled. 0 or -errno. */
int link_start_thread(void *(*body)(void *), void *arg);

/* Hands the next RAM block to the dataplane; *l's block entry is filled. */
int link_ram(struct link *l, void *hva, uint64_t pages, int memfd, int uffd,
             char err[LINK_ERROR_MAX]);

/* The VM ended by itself. */
void link_bye(struct link *l, int status);

/* place.c. Places the calling thread: what it inherited from housekeeping is undone, then class,
 * priority and CPU (-1: any) are its own. What cannot be is said on stderr, and the thread runs as
 * it may: slower, not wrong. who: key and thread for the message. */
void link_place(struct link *l, const struct glue_sched *sched, int32_t cpu, const char *who);
/* The class alone. */
void link_sched(const struct link *l, const struct glue_sched *sched, const char *who);
/* Moves every thread that this process has now to the CPUs and class of housekeeping; by
 * link_connect, before it starts its own. Threads that are made later inherit both. */
void link_place_housekeeping(struct link *l, const uint64_t cpus[GLUE_CPU_WORDS]);

static inline bool link_stopped(struct link *l)
{
    return atomic_load_explicit(&l->stopping, memory_order_acquire) != 0 ||
           atomic_load_explicit(&l->shared->stop, memory_order_acquire) != 0;
}

/* The channel's index is a vCPU number or l->vcpus for the VM's own. */
static inline struct glue_chan *link_chan(struct link *l, uint32_t index)
{
    return &l->shared->chan[index];
}

/* Sends on a channel; waits while the ring is full. The caller owns the channel. 0, -EIO (stopped),
 * -EMSGSIZE. */
int link_send(struct link *l, uint32_t index, const struct glue_entry *e, const void *payload,
              uint32_t len);
/* The same on the VM's channel, from any thread. */
int link_send_vm(struct link *l, const struct glue_entry *e, const void *payload, uint32_t len);

/* Sets a posted interrupt of a vCPU at home here and wakes its thread. */
void link_post(struct link *l, uint32_t vcpu, enum glue_irq_op op, uint8_t vector);
void link_wake(struct link *l, uint32_t index);
/* The vCPU is about to wait: glue_chan.idles. */
void link_idle(struct link *l, struct glue_chan *c);

/* Sleeping: link_doze, look at everything once more, then link_sleep (at most LINK_SLEEP_MAX_MS;
 * returns early at a wake-up or a signal), then link_awake. */
void link_doze(struct glue_chan *c);
bool link_sleep(struct glue_chan *c, uint64_t timeout_ns);
void link_awake(struct glue_chan *c);

/* Takes the next message of a channel: 1 and a private copy (payload: GLUE_SIDE_SIZE bytes), 0
 * none. A ring that breaks the rules ends the VM, with a line on stderr. */
int link_take(struct link *l, uint32_t index, struct glue_entry *ret, uint8_t *payload);

static inline uint64_t link_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* agent.c: the body of the agent thread. */
void *link_agent(void *arg);
/* control.c: the body of the control thread; link_control_pack sends one packet with descriptors.
 */
void *link_control(void *arg);
int link_control_send(int sock, const struct glue_ctl *c, const int *fds, unsigned nfds);
int link_control_recv(int sock, struct glue_ctl *ret, int *fds, unsigned *nfds);

#endif
