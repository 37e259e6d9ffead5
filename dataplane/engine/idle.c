/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors, and what the loop does when there is nothing to do.
 *
 * All descriptors (userfaultfds, control socket, doorbell, the port's) sit in one epoll set. A
 * round asks it without waiting; a sleeping loop waits in it. Poll modes (50-fabrics of the design,
 * measured): busy never gives the core away; yield gives it away after some empty rounds; sleep
 * also blocks after some idle time. What frames wake a sleeper by is the port's (wait_fd): a bell,
 * or the socket of the kernel's that they come by. A port that has no such thing at the moment, as
 * while its links come up, is polled.
 *
 * Yield is cheap while nobody else wants the CPU. Beside a thread that spins, such as a vCPU, it is
 * not: the scheduler lets that one have its slice, up to a tick (4 ms at HZ=250), and nothing that
 * comes meanwhile makes us run, for we are not asleep. A sleeper is woken at once. So a yield that
 * was long makes the loop sleep instead of yielding for a while.
 *
 * [S] Before sleeping: dp_sleeping = 1, full fence, one more look at rings, agent and port. The
 * glue publishes, full fence, looks at dp_sleeping and rings the doorbell: one of the two sees the
 * other.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"

#define US UINT64_C(1000)

enum {
    NO_WAIT_FD_US = 50,     /* a port without a descriptor, at the moment, is polled so often */
    SLEEP_MAX_US = 50000,   /* signals and the watch over joining are looked at this often */
    SLEEP_MIN_US = 20,      /* shorter is not worth the system call */
    CROWDED_AFTER_US = 200, /* a yield that takes longer: others fill this CPU */
    CROWDED_FOR_US = 100000,
    AGENT_MAX_US =
        1000, /* bound while unmappings are under way, should the agent's doorbell be lost */
};

int idle_open(struct engine *e)
{
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd >= 0)
        return 0;
    snprintf(e->err, sizeof(e->err), "epoll: %s", strerror(errno));
    return -errno;
}

int idle_watch(struct engine *e, int fd, uint64_t tag)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag};
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
        return 0;
    snprintf(e->err, sizeof(e->err), "epoll: %s", strerror(errno));
    return -errno;
}

/* False: left for later. */
static bool ready(struct engine *e, uint64_t tag)
{
    uint64_t value;
    if (tag >= WATCH_BLOCK) {
        if (coh_counters(e->coh)->resident > e->resident_pause) {
            e->paused = true;
            e->count.fault_pauses++;
            return false;
        }
        faults_read(e, (uint32_t)(tag - WATCH_BLOCK));
    } else if (tag == WATCH_LISTEN) {
        control_ready(e, e->listen_fd);
    } else if (tag == WATCH_CONN) {
        control_ready(e, e->conn_fd);
    } else if (tag == WATCH_DOORBELL) {
        (void)!read(e->doorbell_fd, &value, sizeof(value));
    } else if (tag == WATCH_PORT) {
        /* A bell that was rung while we were getting up: left there, it would make every round look
         * useful, and the loop would never rest again. */
        e->port->ops->disarm(e->port);
    }
    return true;
}

bool idle_poll_fds(struct engine *e, uint64_t timeout_ns)
{
    struct epoll_event ev[ENGINE_FDS];
    struct timespec t = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                         .tv_nsec = (long)(timeout_ns % 1000000000u)};
    uint64_t before = timeout_ns == 0 ? 0 : engine_now();
    int n = timeout_ns == 0 ? epoll_wait(e->epoll_fd, ev, ENGINE_FDS, 0)
                            : epoll_pwait2(e->epoll_fd, ev, ENGINE_FDS, &t, NULL);
    if (timeout_ns != 0)
        loop_time_gave(&e->time, LOOP_SLEEP, engine_now() - before);
    bool useful = false;
    e->paused = false;
    for (int i = 0; i < n; i++)
        useful |= ready(e, ev[i].data.u64);
    return useful;
}

/* How long nothing can be due; 0: do not sleep. */
static uint64_t sleep_time(const struct engine *e)
{
    uint64_t until = min_u64(rrdp_deadline(e->rrdp), coh_deadline(e->coh));
    uint64_t most = zap_pending(&e->zap) ? AGENT_MAX_US * US : SLEEP_MAX_US * US;
    if (e->phase != ENGINE_RUNNING)
        until = min_u64(until, e->deadline);
    if (e->port->ops->wait_fd(e->port) < 0)
        most = NO_WAIT_FD_US * US;
    most = min_u64(most, clock_wait_ns(e));
    if (most == 0 || until <= e->now + SLEEP_MIN_US * US || e->late_pool.used > 0)
        return 0;
    return min_u64(until - e->now, most);
}

static void give_away(struct engine *e)
{
    uint64_t before = engine_now();
    if (e->cfg->poll.mode == CONFIG_POLL_SLEEP && before < e->crowded_until) {
        struct timespec t = {0, SLEEP_MIN_US * (long)US};
        nanosleep(&t, NULL);
        loop_time_gave(&e->time, LOOP_SLEEP, engine_now() - before);
        return;
    }
    e->count.yields++;
    sched_yield();
    uint64_t after = engine_now();
    loop_time_gave(&e->time, LOOP_YIELD, after - before);
    if (after - before > CROWDED_AFTER_US * US) {
        e->count.crowded++;
        e->crowded_until = after + CROWDED_FOR_US * US;
    }
}

static void block(struct engine *e)
{
    int fd = e->port->ops->wait_fd(e->port);
    uint64_t ns = sleep_time(e);
    if (fd >= 0 && !e->wait_fd_known) {
        e->wait_fd_known = true;
        (void)idle_watch(e, fd, WATCH_PORT);
    }
    if (ns == 0 || e->paused) { /* unread faults would end the sleep at once */
        give_away(e);
        return;
    }
    atomic_store_explicit(&e->shared->dp_sleeping,
                          coh_waited_for(e->coh) != 0 ? GLUE_DP_WAITS : GLUE_DP_SLEEPS,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [S] */
    if (e->port->ops->arm(e->port)) {
        if (!glue_pending(e) && !faults_idle_pending(e)) {
            e->count.sleeps++;
            PROBE(sleep, e->self, ns);
            e->time.useful |= idle_poll_fds(e, ns);
            PROBE(wake, e->self);
        }
        e->port->ops->disarm(e->port);
    }
    atomic_store_explicit(&e->shared->dp_sleeping, 0, memory_order_relaxed);
}

void idle_round(struct engine *e, bool useful)
{
    enum config_poll mode = e->cfg->poll.mode;
    if (useful) {
        e->empty_rounds = 0;
        return;
    }
    if (e->empty_rounds++ == 0)
        e->idle_since = e->now;
    if (mode == CONFIG_POLL_BUSY || e->empty_rounds < e->cfg->poll.empty_polls)
        return;
    if (mode == CONFIG_POLL_SLEEP &&
        (e->now < e->crowded_until || e->now - e->idle_since >= e->cfg->poll.sleep_after_us * US)) {
        block(e);
        return;
    }
    give_away(e);
}
