/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/verbs_aside.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

/* What a thread inherits are the poll loop's CPU and nice level. */
static void be_ordinary(const struct verbs_aside *a)
{
    struct host_cpus all;
    memset(&all, 0xFF, sizeof(all));
    prctl(PR_SET_NAME, "pando-register");
    if (host_cpus_empty(&a->cpus) || host_thread_pin_set(0, &a->cpus) != 0)
        (void)host_thread_pin_set(0, &all);
    (void)host_thread_sched(0, &a->sched);
}

static void *work(void *arg)
{
    struct verbs_aside *a = arg;
    be_ordinary(a);
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->stop && a->state != VERBS_ASIDE_BUSY)
            pthread_cond_wait(&a->begun, &a->lock);
        if (a->stop && a->state != VERBS_ASIDE_BUSY)
            break;
        pthread_mutex_unlock(&a->lock); /* nobody changes the others while it is BUSY */
        struct ibv_mr *mr = a->reg_mr(a->pd, a->address, a->len, a->access);
        int error = mr == NULL ? errno : 0;
        pthread_mutex_lock(&a->lock);
        a->mr = mr;
        a->error = error;
        a->state = VERBS_ASIDE_DONE;
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static int start(struct verbs_aside *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->begun, NULL);
    int rc = pthread_create(&a->thread, NULL, work, a);
    a->there = rc == 0;
    return -rc;
}

int verbs_aside_begin(struct verbs_aside *a, const struct verbs_api *api, struct ibv_pd *pd,
                      void *address, size_t len, int access)
{
    int rc = a->there ? 0 : start(a);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&a->lock);
    if (a->state == VERBS_ASIDE_IDLE) {
        a->reg_mr = api->reg_mr;
        a->pd = pd;
        a->address = address;
        a->len = len;
        a->access = access;
        a->state = VERBS_ASIDE_BUSY;
        pthread_cond_signal(&a->begun);
    } else {
        rc = -EBUSY;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

enum verbs_aside_state verbs_aside_take(struct verbs_aside *a, struct ibv_mr **ret_mr,
                                        int *ret_error)
{
    if (!a->there)
        return VERBS_ASIDE_IDLE;
    pthread_mutex_lock(&a->lock);
    enum verbs_aside_state state = a->state;
    if (state == VERBS_ASIDE_DONE) {
        *ret_mr = a->mr;
        *ret_error = a->error;
        a->mr = NULL;
        a->state = VERBS_ASIDE_IDLE;
    }
    pthread_mutex_unlock(&a->lock);
    return state;
}

struct ibv_mr *verbs_aside_close(struct verbs_aside *a)
{
    if (!a->there)
        return NULL;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->begun);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->begun);
    pthread_mutex_destroy(&a->lock);
    a->there = false;
    return a->mr;
}
