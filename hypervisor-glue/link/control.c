/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: packets with descriptors, and the thread that ends the process when the VM
 * stops. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor-glue/link/link.h"
#include "hypervisor-glue/link/raw.h"

enum { FDS_MAX = 2 };

int link_control_send(int sock, const struct glue_ctl *c, const int *fds, unsigned nfds)
{
    _Alignas(struct cmsghdr) char buf[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
    struct iovec iov = {(void *)(uintptr_t)c, sizeof(*c)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > FDS_MAX)
        return -EINVAL;
    if (nfds > 0) {
        msg.msg_control = buf;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(h), fds, nfds * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*c) ? 0 : n < 0 ? -errno : -EMSGSIZE;
}

int link_control_recv(int sock, struct glue_ctl *ret, int *fds, unsigned *nfds)
{
    _Alignas(struct cmsghdr) char buf[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
    struct iovec iov = {ret, sizeof(*ret)};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf)};
    unsigned got = 0;
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); n > 0 && h != NULL; h = CMSG_NXTHDR(&msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (fds != NULL && got < *nfds)
                fds[got++] = fd;
            else
                raw_close(fd);
        }
    }
    if (nfds != NULL)
        *nfds = got;
    ret->text[GLUE_ERROR_TEXT - 1] = '\0';
    return n == 0 ? -ECONNRESET : n == (ssize_t)sizeof(*ret) ? 0 : -EPROTO;
}

/* Every thread that runs or stands for a vCPU leaves what it waits in. */
static void wake_all(struct link *l)
{
    for (uint32_t i = 0; i <= l->vcpus; i++) {
        struct glue_chan *c = link_chan(l, i);
        uint32_t tid = atomic_load(&c->tid);
        uint32_t state = atomic_exchange(&c->state, GLUE_AWAKE);
        syscall(SYS_futex, &c->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        if (state != GLUE_SLEEPING && tid != 0)
            syscall(SYS_tgkill, getpid(), tid, SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
    }
}

static void end_process(struct link *l, const char *text, uint32_t status)
{
    atomic_store(&l->stopping, 1);
    wake_all(l);
    if (atomic_load(&l->leaving) != 0)
        return;
    if (status != 0 && text[0] != '\0')
        fprintf(stderr, "pando: the VM stops: %s\n", text);
    fflush(stderr);
    pthread_mutex_lock(&l->ctl_lock);
    pthread_cond_broadcast(&l->ctl_cond);
    pthread_mutex_unlock(&l->ctl_lock);
    /* A VMM reports and exits by itself; one that hangs in a fault that nobody answers any more
     * does not. */
    if (l->role == GLUE_ROLE_VMM) {
        struct timespec grace = {0, LINK_STOP_GRACE_MS * 1000000L};
        nanosleep(&grace, NULL);
        status = LINK_EXIT_STOPPED;
    }
    _exit((int)status);
}

void *link_control(void *arg)
{
    struct link *l = arg;
    prctl(PR_SET_NAME, "pando-control");
    for (;;) {
        struct glue_ctl c = {0};
        int rc = link_control_recv(l->sock, &c, NULL, NULL);
        if (rc == -EPROTO)
            continue;
        if (rc != 0) {
            end_process(l, "the dataplane of this node went away", LINK_EXIT_STOPPED);
            return NULL;
        }
        if (c.type == GLUE_STOP) {
            end_process(l, c.text,
                        c.status == 0 && l->role == GLUE_ROLE_VCPUD ? 0 : LINK_EXIT_STOPPED);
            return NULL;
        }
        pthread_mutex_lock(&l->ctl_lock);
        l->ctl_answer = c;
        l->ctl_answered = true;
        pthread_cond_broadcast(&l->ctl_cond);
        pthread_mutex_unlock(&l->ctl_lock);
    }
}
