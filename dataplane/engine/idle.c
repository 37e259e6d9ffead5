/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors, and what the loop does when there is nothing to do.
 *
 * All descriptors (userfaultfds, control socket, doorbell, the port's) sit in one epoll set. A
 * round asks it without waiting; a sleeping loop waits in it. Poll modes (50-fabrics of the design,
 * measured): busy never gives the core away; yield gives it away after some empty rounds; interrupt
 * (in older files: sleep) also blocks after some idle time. What frames wake a sleeper by is the
 * port's (wait_fd): a bell, or the socket of the kernel's that they come by. A port that has no
 * such thing at the moment, as while its links come up, is polled.
 *
 * Adaptive polls while useful rounds follow each other faster than a sleep and the way back take on
 * this machine, and sleeps without yielding first where the gaps are longer: the rule is at the
 * head of base/gap.h. What a sleep costs is measured at start: the median of some wake-ups of this
 * thread by another one, from the write to the doorbell until epoll has returned here. A gap is the
 * time from the last useful round to the next. It does not yield while it waits for frames: it
 * spins for twice that cost at most, which is less than a yield to somebody who wants the CPU.
 *
 * Yield is cheap while nobody else wants the CPU. Beside a thread that spins, such as a vCPU, it is
 * not: the scheduler lets that one have its slice, up to a tick (4 ms at HZ=250), and nothing that
 * comes meanwhile makes us run, for we are not asleep. A sleeper is woken at once. So a yield that
 * was long makes the loop sleep instead of yielding for a while.
 *
 * Who has just made a vCPU or the agent of its own CPU runnable makes way in the first empty round
 * (the next one, if work comes on the way to bed), in every mode but busy, and asleep: the loop has
 * priority, so that no wake-up takes the CPU from it; and after a yield the scheduler gives it back
 * for some more rounds (6.18: 8 of them, 11 us, as a vCPU that ran has had its share). Measured, a
 * read fault, loop and vCPU on one CPU, shm: 46 us instead of 92 (yield), 93 instead of 106
 * (adaptive). In mode yield it is back after MAKE_WAY_US and the timer's slack: a halted CPU takes
 * longer to wake than a fault to be served. A port that cannot wake a sleeper at the moment is
 * yielded beside. glue_cpu.h says how CPUs are compared.
 *
 * The way is that long in any case. A deadline within it, such as a lone acknowledgement's, is late
 * by less than it; and whom a frame woke goes on making way when the frame is dealt with, as the
 * thread was not yet where it wanted to be. Yielding instead cost such faults 100 to 200 us
 * (measured, read faults over af_packet: 98th percentile 125 us instead of 187, 99th 185, 233).
 * Only what a thread of this node asks for, a fault or an entry, ends the way early: somebody got
 * where he wanted.
 *
 * [S] Before sleeping: dp_sleeping = 1, full fence, one more look at rings, agent and port. The
 * glue publishes, full fence, looks at dp_sleeping and rings the doorbell: one of the two sees the
 * other.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"
#include "dataplane/host/thread.h"

#define US UINT64_C(1000)

enum {
    NO_WAIT_FD_US = 50,     /* a port without a descriptor, at the moment, is polled so often */
    SLEEP_MAX_US = 50000,   /* signals and the watch over joining are looked at this often */
    SLEEP_MIN_US = 20,      /* shorter is not worth the system call */
    CROWDED_AFTER_US = 200, /* a yield that takes longer: others fill this CPU */
    CROWDED_FOR_US = 100000,
    MAKE_WAY_US = 50, /* a vCPU needs some 20 from its fault's end until it is in the guest */
    WAY_LEAST_US = 5, /* less of it is not worth the system call */
    WAKE_ROUNDS = 15,
    WAKE_SETTLE_US = 100,
    WAKE_USUAL_US = 20,
    WAKE_MOST_US = 200, /* measured while others filled the CPUs: not the price of a sleep */
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
        e->way_ns = 0;
        faults_read(e, (uint32_t)(tag - WATCH_BLOCK));
    } else if (tag == WATCH_LISTEN) {
        control_ready(e, e->listen_fd);
    } else if (tag == WATCH_CONN) {
        control_ready(e, e->conn_fd);
    } else if (tag == WATCH_DOORBELL) {
        (void)!read(e->doorbell_fd, &value, sizeof(value));
        e->way_ns = 0;
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

/* How long nothing can be due, or least_ns; 0: do not sleep. */
static uint64_t sleep_time(const struct engine *e, uint64_t least_ns)
{
    uint64_t until = min_u64(rrdp_deadline(e->rrdp), coh_deadline(e->coh));
    uint64_t most = zap_pending(&e->zap) ? AGENT_MAX_US * US : SLEEP_MAX_US * US;
    if (e->phase != ENGINE_RUNNING)
        until = min_u64(until, e->deadline);
    if (e->port->ops->wait_fd(e->port) < 0)
        most = NO_WAIT_FD_US * US;
    most = min_u64(most, clock_wait_ns(e));
    if (most == 0 || until <= e->now + SLEEP_MIN_US * US || e->late_pool.used > 0)
        return least_ns;
    return max_u64(min_u64(until - e->now, most), least_ns);
}

/* ---- what a sleep costs here --- */

struct waker {
    int fd;
    _Atomic uint32_t sleeping; /* round in which the other one is about to sleep; 0: none */
    _Atomic uint64_t rung_at;
};

static void *wake_body(void *arg)
{
    struct waker *w = arg;
    struct host_cpus all;
    memset(&all, 0xFF, sizeof(all));
    (void)host_thread_pin_set(0, &all); /* from another CPU, as frames and faults come */
    for (uint32_t round = 1; round <= WAKE_ROUNDS; round++) {
        struct timespec settle = {0, WAKE_SETTLE_US * (long)US};
        while (atomic_load_explicit(&w->sleeping, memory_order_acquire) != round)
            sched_yield();
        nanosleep(&settle, NULL); /* until it really sleeps */
        uint64_t one = 1;
        atomic_store_explicit(&w->rung_at, engine_now(), memory_order_release);
        (void)!write(w->fd, &one, sizeof(one));
    }
    return NULL;
}

static int shorter(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of WAKE_ROUNDS sleeps in an epoll set, as this thread is pinned and scheduled now. What cannot be
 * measured is taken to be usual. */
static uint64_t wake_cost_ns(void)
{
    struct waker w = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN}, got;
    uint64_t took[WAKE_ROUNDS], value, result = WAKE_USUAL_US * US;
    pthread_t thread;
    bool there = w.fd >= 0 && set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, w.fd, &ev) == 0 &&
                 pthread_create(&thread, NULL, wake_body, &w) == 0;
    for (uint32_t round = 1; there && round <= WAKE_ROUNDS; round++) {
        atomic_store_explicit(&w.sleeping, round, memory_order_release);
        while (epoll_wait(set, &got, 1, -1) != 1)
            ;
        took[round - 1] = engine_now() - atomic_load_explicit(&w.rung_at, memory_order_acquire);
        (void)!read(w.fd, &value, sizeof(value));
    }
    if (there) {
        pthread_join(thread, NULL);
        qsort(took, WAKE_ROUNDS, sizeof(took[0]), shorter);
        result = min_u64(max_u64(took[WAKE_ROUNDS / 2], US), WAKE_MOST_US * US);
    }
    if (w.fd >= 0)
        close(w.fd);
    if (set >= 0)
        close(set);
    return result;
}

int idle_measure(struct engine *e)
{
    if (e->cfg->poll.mode != CONFIG_POLL_ADAPTIVE)
        return 0;
    gap_init(&e->gap, wake_cost_ns());
    if (e->verbose)
        fprintf(stderr,
                "pando-dataplane: node %u: poll.mode adaptive: a sleep costs %llu ns here\n",
                e->self, (unsigned long long)e->gap.cost_ns);
    return 0;
}

static void give_away(struct engine *e)
{
    uint64_t before = engine_now();
    if (e->cfg->poll.mode >= CONFIG_POLL_ADAPTIVE && before < e->crowded_until) {
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

/* Something was found. */
static void gap_over(struct engine *e, uint64_t now)
{
    if (e->cfg->poll.mode == CONFIG_POLL_ADAPTIVE && e->empty_rounds > 0)
        gap_ended(&e->gap, now - e->idle_since, e->slept);
    e->empty_rounds = 0;
    e->slept = false;
}

/* Whether the CPU was given away, if only until a descriptor that is ready ends the sleep: not, if
 * frames, entries of the glue or answers of the agent came on the way to bed. */
static bool block(struct engine *e, uint64_t least_ns, uint64_t most_ns)
{
    bool gave = false;
    int fd = e->port->ops->wait_fd(e->port);
    uint64_t ns = min_u64(sleep_time(e, least_ns), most_ns);
    if (fd >= 0 && !e->wait_fd_known) {
        e->wait_fd_known = true;
        (void)idle_watch(e, fd, WATCH_PORT);
    }
    if (ns == 0 || e->paused) { /* unread faults would end the sleep at once */
        give_away(e);
        return true;
    }
    atomic_store_explicit(&e->shared->dp_sleeping,
                          coh_waited_for(e->coh) != 0 ? GLUE_DP_WAITS : GLUE_DP_SLEEPS,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [S] */
    if (e->port->ops->arm(e->port)) {
        gave = !glue_pending(e) && !faults_idle_pending(e);
        if (gave) {
            e->count.sleeps++;
            PROBE(sleep, e->self, ns);
            e->slept = true;
            bool found = idle_poll_fds(e, ns);
            PROBE(wake, e->self);
            e->time.useful |= found;
            if (found && e->cfg->poll.mode == CONFIG_POLL_ADAPTIVE)
                gap_over(e, engine_now());
        }
        e->port->ops->disarm(e->port);
    }
    atomic_store_explicit(&e->shared->dp_sleeping, 0, memory_order_relaxed);
    return gave;
}

/* For who shares this CPU and was woken by us; whether it was done, for now. */
static bool make_way(struct engine *e)
{
    uint64_t begun = engine_now(), left = e->way_ns;
    if (e->port->ops->wait_fd(e->port) < 0) {
        e->way_ns = 0;
        give_away(e); /* no descriptor: frames are under way that only polling moves on */
        return true;
    }
    if (!block(e, left, e->cfg->poll.mode == CONFIG_POLL_YIELD ? left : UINT64_MAX))
        return false;
    uint64_t slept = engine_now() - begun;
    if (e->way_ns != 0)
        e->way_ns = slept + WAY_LEAST_US * US < left ? left - slept : 0;
    return true;
}

void idle_round(struct engine *e, bool useful)
{
    enum config_poll mode = e->cfg->poll.mode;
    if (useful) {
        gap_over(e, e->now);
        return;
    }
    if (e->empty_rounds++ == 0)
        e->idle_since = e->now;
    if (mode == CONFIG_POLL_BUSY) {
        e->make_way = false;
        return;
    }
    if (e->make_way)
        e->way_ns = MAKE_WAY_US * US;
    if (e->way_ns != 0) {
        bool asked = e->make_way;
        e->make_way = false; /* what is found in a sleep may ask for it again */
        bool made = make_way(e);
        e->make_way |= asked && !made;
        e->count.made_way += asked && made;
        if (made)
            return;
    }
    if (e->empty_rounds < e->cfg->poll.empty_polls)
        return;
    if (mode == CONFIG_POLL_ADAPTIVE) {
        if (!gap_spins(&e->gap, e->now - e->idle_since))
            (void)block(e, 0, UINT64_MAX);
        return;
    }
    if (mode == CONFIG_POLL_INTERRUPT &&
        (e->now < e->crowded_until || e->now - e->idle_since >= e->cfg->poll.sleep_after_us * US)) {
        (void)block(e, 0, UINT64_MAX);
        return;
    }
    give_away(e);
}
