/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registrations that take long, by a thread of their own: making gigabytes resident takes seconds,
 * after which the peers of a poll loop that waited would have given it up. One at a time. EDGE.
 *
 * The polling thread begins and takes. The thread has an ordinary priority and the CPUs that it is
 * given, or whatever there are: not what it inherits from the poll loop.
 */
#ifndef PANDO_PORT_VERBS_ASIDE_H
#define PANDO_PORT_VERBS_ASIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "dataplane/host/thread.h"
#include "dataplane/port/verbs_api.h"

enum verbs_aside_state { VERBS_ASIDE_IDLE, VERBS_ASIDE_BUSY, VERBS_ASIDE_DONE };

struct verbs_aside {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    bool there, stop;
    struct host_cpus cpus; /* set before the first begin, as the next; empty: all */
    struct host_sched sched;
    enum verbs_aside_state state; /* under lock, as all below */
    struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *address, size_t len, int access);
    struct ibv_pd *pd;
    void *address;
    size_t len;
    int access, error;
    struct ibv_mr *mr;
};

/* *a is zeroed at first. Begins a registration; the thread is started with the first one. 0;
 * -EBUSY: another one is under way, or not taken yet; -errno: no thread. */
int verbs_aside_begin(struct verbs_aside *a, const struct verbs_api *api, struct ibv_pd *pd,
                      void *address, size_t len, int access);
/* DONE: *ret_mr is its result (NULL: *ret_error says why not), and the next one may begin. */
enum verbs_aside_state verbs_aside_take(struct verbs_aside *a, struct ibv_mr **ret_mr,
                                        int *ret_error);
/* Waits for what is under way. The result that nobody took, or NULL. */
struct ibv_mr *verbs_aside_close(struct verbs_aside *a);

#endif
