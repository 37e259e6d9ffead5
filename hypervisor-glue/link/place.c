/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the threads of the vCPU process run, and in which class. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "hypervisor-glue/link/link.h"

static void complain(const char *who, const char *what, int rc)
{
    fprintf(stderr, "pando: %s: %s: %s; it runs as the host lets it (cgroup, ulimit?)\n", who, what,
            strerror(-rc));
}

static struct host_sched sched_of(const struct glue_sched *s)
{
    return (struct host_sched){
        .class = s->class, .priority = s->priority, .nice = s->nice, .slice_us = s->slice_us};
}

void link_sched(const struct glue_sched *sched, const char *who)
{
    struct host_sched s = sched_of(sched);
    int rc = sched->given ? host_thread_sched(0, &s) : 0;
    /* The usual nice level needs a privilege that not everybody has, and nothing fails without. */
    if (rc != 0 && host_real_time(s.class))
        complain(who, host_class_name(s.class), rc);
}

void link_place(struct link *l, const struct glue_sched *sched, int32_t cpu, const char *who)
{
    char what[24];
    if (l->usual.moved) {
        struct host_sched usual = {.class = HOST_OTHER, .nice = (int8_t)l->usual.nice};
        (void)host_thread_pin_set(0, &l->usual.cpus);
        (void)host_thread_sched(0, &usual);
    }
    link_sched(sched, who);
    int rc = cpu < 0 ? 0 : host_thread_pin(0, cpu);
    snprintf(what, sizeof(what), "CPU %d", cpu);
    if (rc != 0)
        complain(who, what, rc);
}

struct housekeeping {
    struct host_cpus cpus;
    const struct glue_sched *sched;
    int pin_error, sched_error;
};

static void move(pid_t tid, const char *name, void *arg)
{
    struct housekeeping *h = arg;
    struct host_sched s = sched_of(h->sched);
    (void)name;
    if (!host_cpus_empty(&h->cpus)) {
        int rc = host_thread_pin_set(tid, &h->cpus);
        h->pin_error = rc != 0 && rc != -ESRCH ? rc : h->pin_error; /* ESRCH: it has ended */
    }
    if (h->sched->given) {
        int rc = host_thread_sched(tid, &s);
        h->sched_error = rc != 0 && rc != -ESRCH ? rc : h->sched_error;
    }
}

void link_place_housekeeping(struct link *l, const uint64_t cpus[GLUE_CPU_WORDS])
{
    struct housekeeping h = {.sched = &l->housekeeping_sched};
    char text[HOST_CPUS_TEXT], what[HOST_CPUS_TEXT + 8];
    _Static_assert(sizeof(h.cpus.word) == GLUE_CPU_WORDS * sizeof(uint64_t), "the same bits");
    memcpy(h.cpus.word, cpus, sizeof(h.cpus.word));
    if (host_cpus_empty(&h.cpus) && !h.sched->given)
        return;
    if (host_thread_cpus(0, &l->usual.cpus) != 0)
        return;
    l->usual.nice = getpriority(PRIO_PROCESS, 0); /* Linux: of this thread */
    l->usual.moved = true;
    (void)host_threads(move, &h);
    snprintf(what, sizeof(what), "CPUs %s", host_cpus_text(&h.cpus, text, sizeof(text)));
    if (h.pin_error != 0)
        complain("housekeeping_cores", what, h.pin_error);
    if (h.sched_error != 0)
        complain("threads.housekeeping_class, _nice", host_class_name(h.sched->class),
                 h.sched_error);
}
