/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster_internal.h"

uint64_t cluster_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t cluster_in_ms(unsigned ms)
{
    return cluster_now() + ms * UINT64_C(1000000);
}

static void take_signal(struct cluster *c)
{
    struct signalfd_siginfo info;
    if (read(c->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (c->signal != 0) {
        c->again++;
        return;
    }
    c->signal = (int)info.ssi_signo;
    /* Typed: the kernel has sent it to the whole process group. */
    c->from_terminal = info.ssi_code > 0 && (c->signal == SIGINT || c->signal == SIGQUIT);
}

static void step(struct cluster *c, int timeout_ms)
{
    struct pollfd fds[1 + 2 * CHILDREN_MAX];
    struct child *who[1 + 2 * CHILDREN_MAX];
    nfds_t n = 1;
    fds[0] = (struct pollfd){.fd = c->signal_fd, .events = POLLIN};
    for (unsigned i = 0; i < c->children; i++) {
        const int of[] = {c->child[i].pidfd, c->child[i].pipe};
        for (unsigned k = 0; k < 2; k++)
            if (of[k] >= 0) {
                who[n] = &c->child[i];
                fds[n++] = (struct pollfd){.fd = of[k], .events = POLLIN};
            }
    }
    if (poll(fds, n, timeout_ms) <= 0)
        return;
    uint64_t now = cluster_now();
    if (fds[0].revents != 0)
        take_signal(c);
    for (nfds_t i = 1; i < n; i++) {
        if (fds[i].revents == 0)
            continue;
        if (fds[i].fd == who[i]->pidfd)
            child_reap(who[i], now);
        else if (fds[i].fd == who[i]->pipe)
            child_read(who[i]);
    }
}

bool cluster_wait(struct cluster *c, condition *done, uint64_t deadline)
{
    while (!done(c)) {
        uint64_t now = cluster_now();
        if (now >= deadline)
            return false;
        uint64_t left = (deadline - now) / 1000000 + 1;
        step(c, left < 1000 ? (int)left : 1000);
    }
    return true;
}

static bool any_ended(const struct cluster *c)
{
    for (unsigned i = 0; i < c->children; i++)
        if (c->child[i].ended)
            return true;
    return false;
}

bool cluster_disturbed(const struct cluster *c)
{
    return c->signal != 0 || any_ended(c);
}
