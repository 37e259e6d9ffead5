/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/rendezvous.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW,
    FDS = 4, /* room to receive and close more than the one expected; the kernel closes the rest */
};

int rendezvous_dir(const char *who, const char *dir, char err[PORT_ERROR_MAX])
{
    struct stat st;
    if (mkdir(dir, 0700) == 0)
        return 0;
    int fd = errno == EEXIST ? open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    int rc = fd < 0 || fstat(fd, &st) != 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (rc != 0) {
        snprintf(err, PORT_ERROR_MAX, "%s: cannot make or use the directory %s: %s", who, dir,
                 strerror(-rc));
        return rc;
    }
    if (st.st_uid != geteuid()) {
        snprintf(err, PORT_ERROR_MAX,
                 "%s: %s belongs to user %u, and this process is user %u: remove it, chown "
                 "it, or choose another run_dir",
                 who, dir, st.st_uid, geteuid());
        return -EPERM;
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        snprintf(err, PORT_ERROR_MAX,
                 "%s: others than its owner, user %u, can write to %s (mode %04o): chmod "
                 "go-w %s",
                 who, st.st_uid, dir, st.st_mode & 07777, dir);
        return -EPERM;
    }
    return 0;
}

int rendezvous_memory(const char *name, size_t bytes, void **ret_map)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int rc = ftruncate(fd, (off_t)bytes) != 0 ? -errno : 0;
    if (rc == 0)
        rc = -posix_fallocate(fd, 0, (off_t)bytes);
    if (rc == 0 && fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) != 0)
        rc = -errno;
    void *map = MAP_FAILED;
    if (rc == 0) {
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        rc = map == MAP_FAILED ? -errno : 0;
    }
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *ret_map = map;
    return fd;
}

void *rendezvous_map(int fd, size_t bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS || fstat(fd, &st) != 0 ||
        !S_ISREG(st.st_mode) || st.st_size != (off_t)bytes)
        return NULL;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    return map != MAP_FAILED ? map : NULL;
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS * sizeof(int))];
};

int rendezvous_send(int socket, const struct sockaddr_un *to, const void *message, size_t len,
                    int fd)
{
    union control control = {.bytes = {0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = len};
    struct msghdr m = {.msg_name = (void *)(uintptr_t)to,
                       .msg_namelen = sizeof(*to),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Takes the first descriptor out of a message and closes any others; -1: none. */
static int take_fd(struct msghdr *m)
{
    int first = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

ssize_t rendezvous_receive(int socket, void *message, size_t room, int *ret_fd)
{
    union control control;
    struct iovec iov = {.iov_base = message, .iov_len = room};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    *ret_fd = take_fd(&m);
    return (m.msg_flags & MSG_TRUNC) != 0 ? (ssize_t)room + 1 : n;
}
