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

static const char *sched_text(const struct host_sched *s, char *buf, size_t size)
{
    if (host_real_time(s->class))
        snprintf(buf, size, "%s %u", host_class_name(s->class), s->priority);
    else
        snprintf(buf, size, "%s, nice %d", host_class_name(s->class), s->nice);
    return buf;
}

void link_sched(const struct link *l, const struct glue_sched *sched, const char *who)
{
    struct host_sched s = sched_of(sched);
    char what[24];
    int rc = sched->given ? host_thread_sched(0, &s) : 0;
    /* The agent's usual nice level needs a privilege that not everybody has. Nothing fails without,
     * and the dataplane says so of the same level. */
    if (rc != 0 && (host_real_time(s.class) || sched != &l->agent_sched))
        complain(who, sched_text(&s, what, sizeof(what)), rc);
}

void link_place(struct link *l, const struct glue_sched *sched, int32_t cpu, const char *who)
{
    char what[24];
    if (l->usual.moved) {
        struct host_sched usual = {.class = HOST_OTHER, .nice = (int8_t)l->usual.nice};
        (void)host_thread_pin_set(0, &l->usual.cpus);
        (void)host_thread_sched(0, &usual);
    }
    link_sched(l, sched, who);
    int rc = cpu < 0 ? 0 : host_thread_pin(0, cpu);
    snprintf(what, sizeof(what), "CPU %d", cpu);
    if (rc != 0)
        complain(who, what, rc);
}

void link_place_housekeeping(struct link *l, const uint64_t cpus[GLUE_CPU_WORDS])
{
    bool scheduled = l->housekeeping_sched.given;
    struct host_sched sched = sched_of(&l->housekeeping_sched);
    struct host_cpus set;
    char text[HOST_CPUS_TEXT], what[HOST_CPUS_TEXT + 8];
    int pin_error, sched_error;
    _Static_assert(sizeof(set.word) == GLUE_CPU_WORDS * sizeof(uint64_t), "the same bits");
    memcpy(set.word, cpus, sizeof(set.word));
    if (host_cpus_empty(&set) && !scheduled)
        return;
    if (host_thread_cpus(0, &l->usual.cpus) != 0)
        return;
    l->usual.nice = getpriority(PRIO_PROCESS, 0); /* Linux: of this thread */
    l->usual.moved = true;
    host_threads_place(0, &set, scheduled ? &sched : NULL, &pin_error, &sched_error);
    snprintf(what, sizeof(what), "CPUs %s", host_cpus_text(&set, text, sizeof(text)));
    if (pin_error != 0)
        complain("housekeeping_cores", what, pin_error);
    if (sched_error != 0)
        complain("threads.housekeeping_class, _nice", sched_text(&sched, what, sizeof(what)),
                 sched_error);
}
