/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/wire/wire.h"

enum { BELL_DIR_MAX = 88, WORD_BYTES = 4096 };

typedef _Atomic uint32_t bell_word;

struct bell {
    char dir[BELL_DIR_MAX];
    uint8_t self;
    int socket;
    bell_word *own;
    bell_word *peer[WIRE_NODES_MAX]; /* NULL: not met */
};

static void word_path(const struct bell *b, uint8_t node, char *out, size_t size)
{
    snprintf(out, size, "%s/bell-%u.word", b->dir, node);
}

static void socket_path(const struct bell *b, uint8_t node, struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(a->sun_path, sizeof(a->sun_path), "%s/bell-%u.sock", b->dir, node);
}

/* NULL: no such word. A shorter file would make us fault, so it is no word. */
static bell_word *map_word(const struct bell *b, uint8_t node, int flags)
{
    char path[128];
    struct stat st;
    word_path(b, node, path, sizeof(path));
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0)
        return NULL;
    void *p = MAP_FAILED;
    if (((flags & O_CREAT) == 0 || ftruncate(fd, WORD_BYTES) == 0) && fstat(fd, &st) == 0 &&
        st.st_size >= WORD_BYTES)
        p = mmap(NULL, WORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p != MAP_FAILED ? p : NULL;
}

int bell_open(const char *dir, uint8_t self, struct bell **ret_bell)
{
    struct sockaddr_un a;
    char path[128];
    struct bell *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -ENOMEM;
    if (strlen(dir) >= sizeof(b->dir)) {
        free(b);
        return -ENAMETOOLONG;
    }
    snprintf(b->dir, sizeof(b->dir), "%s", dir);
    b->self = self;
    socket_path(b, self, &a);
    word_path(b, self, path, sizeof(path));
    unlink(a.sun_path);
    unlink(path);
    b->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = b->socket < 0 || bind(b->socket, (struct sockaddr *)&a, sizeof(a)) != 0 ? -errno : 0;
    if (rc == 0 && (b->own = map_word(b, self, O_CREAT | O_EXCL)) == NULL)
        rc = errno != 0 ? -errno : -EIO;
    if (rc != 0) {
        bell_close(b);
        return rc;
    }
    *ret_bell = b;
    return 0;
}

void bell_close(struct bell *b)
{
    struct sockaddr_un a;
    char path[128];
    if (b == NULL)
        return;
    for (unsigned n = 0; n < WIRE_NODES_MAX; n++)
        if (b->peer[n] != NULL)
            munmap((void *)b->peer[n], WORD_BYTES);
    if (b->own != NULL)
        munmap((void *)b->own, WORD_BYTES);
    socket_path(b, b->self, &a);
    word_path(b, b->self, path, sizeof(path));
    unlink(a.sun_path);
    unlink(path);
    if (b->socket >= 0)
        close(b->socket);
    free(b);
}

int bell_fd(const struct bell *b)
{
    return b->socket;
}

void bell_asleep(struct bell *b)
{
    atomic_store_explicit(b->own, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [D] */
}

void bell_awake(struct bell *b)
{
    char bytes[8];
    atomic_store_explicit(b->own, 0, memory_order_relaxed);
    while (recv(b->socket, bytes, sizeof(bytes), 0) >= 0)
        ;
}

void bell_meet(struct bell *b, uint8_t peer)
{
    if (peer >= WIRE_NODES_MAX || peer == b->self)
        return;
    if (b->peer[peer] != NULL)
        munmap((void *)b->peer[peer], WORD_BYTES);
    b->peer[peer] = map_word(b, peer, 0);
}

void bell_ring(struct bell *b, uint64_t peers)
{
    struct sockaddr_un a;
    atomic_thread_fence(memory_order_seq_cst); /* [D] */
    for (; peers != 0; peers &= peers - 1) {
        uint8_t n = (uint8_t)bit64_first(peers);
        if (b->peer[n] == NULL || atomic_load_explicit(b->peer[n], memory_order_relaxed) == 0)
            continue;
        /* Cleared before the byte: after it, the word of the next sleep could be lost. */
        atomic_store_explicit(b->peer[n], 0, memory_order_relaxed);
        socket_path(b, n, &a);
        /* A full queue wakes as well. */
        (void)sendto(b->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&a,
                     sizeof(a));
    }
}
