/* SPDX-License-Identifier: BSD-3-Clause */
/* Where this process's threads run and in which class, by the configuration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/doctor/placement.h"
#include "dataplane/engine/engine.h"

/* What cannot work refuses the start; what costs latency is counted in one line. */
int place_check(struct engine *e)
{
    static struct doctor_report report; /* large: not on the stack */
    struct machine m;
    if (machine_open(&m, "") != 0)
        return 0; /* no /sys: what cannot be is refused by the kernel then */
    report = (struct doctor_report){0};
    doctor_placement(&m, e->cfg, e->self, &report);
    const struct doctor_finding *f = doctor_first_missing(&report);
    if (f != NULL) {
        snprintf(e->err, sizeof(e->err), "%s: %.300s; remedy: %.140s", node_name(e, e->self),
                 f->text, f->remedy);
        return -EINVAL;
    }
    uint32_t notes = report.count[DOCTOR_NOTE];
    if (notes > 0)
        fprintf(stderr,
                "pando-dataplane: node %u: %u note%s on this machine: pando doctor --config %s "
                "--node %u\n",
                e->self, notes, notes == 1 ? "" : "s",
                e->config_path != NULL ? e->config_path : "FILE", e->self);
    return 0;
}

static void not_placed(const struct engine *e, const char *keys, int rc)
{
    fprintf(stderr, "pando-dataplane: node %u: %s: %s; these threads run as the host lets them\n",
            e->self, keys, strerror(-rc));
}

static void place_housekeeping(struct engine *e)
{
    const struct config_node *n = config_node_of(e->cfg, e->self);
    struct host_cpus cpus = config_cpus(n, CONFIG_ROLE_HOUSEKEEPING);
    struct host_sched sched;
    bool scheduled = config_sched(e->cfg, CONFIG_ROLE_HOUSEKEEPING, &sched);
    int pin_error, sched_error;
    host_threads_place(gettid(), &cpus, scheduled ? &sched : NULL, &pin_error, &sched_error);
    if (pin_error != 0)
        not_placed(e, "housekeeping_cores", pin_error);
    if (sched_error != 0)
        not_placed(e, "threads.housekeeping_class, _nice", sched_error);
}

/* Real-time is asked for by name, and is refused if it is not to be had. With fewer cores than
 * threads a poll loop that waits its turn behind spinning vCPUs makes every fault and every remote
 * exit cost a time slice; but nothing fails without the right to be first. */
static int place_loop(struct engine *e)
{
    struct host_sched s;
    (void)config_sched(e->cfg, CONFIG_ROLE_POLL, &s);
    int rc = host_thread_sched(0, &s);
    if (rc == 0)
        return 0;
    if (host_real_time(s.class)) {
        snprintf(e->err, sizeof(e->err),
                 "threads.poll_class: %s, priority %u: %s; needed: CAP_SYS_NICE (root), and where "
                 "CONFIG_RT_GROUP_SCHED is on a cgroup with cpu.rt_runtime_us; or class other",
                 host_class_name(s.class), s.priority, strerror(-rc));
        return rc;
    }
    fprintf(stderr,
            "pando-dataplane: poll.nice %d, poll.slice_us %u: %s; going on at the usual priority\n",
            s.nice, s.slice_us, strerror(-rc));
    return 0;
}

/* Last: by then all threads are there that this process has from the start, and none inherits the
 * loop's priority. */
int place_threads(struct engine *e)
{
    if (config_node_of(e->cfg, e->self) != NULL)
        place_housekeeping(e);
    return place_loop(e);
}
