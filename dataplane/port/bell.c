/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/bell.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/rendezvous.h"
#include "dataplane/wire/wire.h"

enum {
    BELL_DIR_MAX = 88,
    BELL_VERSION = 1,
    WORD_BYTES = 4096,
    READ_MAX = 4 * WIRE_NODES_MAX, /* so that who sends without end cannot hold us */
};
#define BELL_MAGIC UINT64_C(0x4C4C45424F444E50) /* "PNDOBELL" */

typedef _Atomic uint32_t bell_word;

/* What travels over the sockets beside rings, with the descriptor of the sender's word. From a
 * peer: checked in take_offer. */
struct bell_offer {
    uint64_t magic;
    uint32_t version;
    uint8_t from, to;
    uint16_t reserved;
    uint64_t epoch; /* the sender's start */
    uint64_t seen;  /* the addressee's start whose word the sender has; 0: none */
};
_Static_assert(sizeof(struct bell_offer) == 32, "shared with other processes");

struct bell_peer {
    bell_word *word; /* NULL: not known */
    uint64_t epoch;
};

struct bell {
    char dir[BELL_DIR_MAX];
    uint8_t self, nodes;
    int socket, fd; /* fd: of the word, to be offered */
    bell_word *word;
    uint64_t epoch, due; /* due: the peers to whom an offer could not be sent */
    uint64_t refused;
    struct bell_peer peer[WIRE_NODES_MAX];
};

static void socket_path(const struct bell *b, uint8_t node, struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(a->sun_path, sizeof(a->sun_path), "%s/bell-%u.sock", b->dir, node);
}

static void send_byte(struct bell *b, uint8_t to)
{
    struct sockaddr_un a;
    socket_path(b, to, &a);
    /* A full queue wakes as well. */
    (void)sendto(b->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a));
}

/* ---- words -------------------------------------------------------------------------------- */

static void offer(struct bell *b, uint8_t to)
{
    struct bell_offer o = {.magic = BELL_MAGIC,
                           .version = BELL_VERSION,
                           .from = b->self,
                           .to = to,
                           .epoch = b->epoch,
                           .seen = b->peer[to].epoch};
    struct sockaddr_un a;
    socket_path(b, to, &a);
    int rc = rendezvous_send(b->socket, &a, &o, sizeof(o), b->fd);
    /* Who is not there offers when it starts; any other failure is a shortage. */
    if (rc == 0 || rc == -ECONNREFUSED || rc == -ENOENT)
        b->due &= ~bit64(to);
    else
        b->due |= bit64(to);
}

static bool take_offer(struct bell *b, const struct bell_offer *o, int fd)
{
    if (o->magic != BELL_MAGIC || o->version != BELL_VERSION || o->from >= b->nodes ||
        o->from == b->self || o->to != b->self || o->reserved != 0 || o->epoch == 0 || fd < 0)
        return false;
    struct bell_peer *p = &b->peer[o->from];
    if (o->epoch != p->epoch) {
        void *word = rendezvous_map(fd, WORD_BYTES);
        if (word == NULL)
            return false;
        if (p->word != NULL)
            munmap((void *)p->word, WORD_BYTES);
        *p = (struct bell_peer){.word = word, .epoch = o->epoch};
        send_byte(b, o->from); /* what we published so far may have met the old word */
    }
    if (o->seen != b->epoch)
        offer(b, o->from);
    return true;
}

void bell_look(struct bell *b)
{
    struct bell_offer o;
    int fd;
    for (unsigned i = 0; i < READ_MAX; i++) {
        ssize_t n = rendezvous_receive(b->socket, &o, sizeof(o), &fd);
        if (n < 0)
            break;
        if (n != 1 && (n != sizeof(o) || !take_offer(b, &o, fd)))
            b->refused++;
        if (fd >= 0)
            close(fd);
    }
    for (uint64_t due = b->due; due != 0; due &= due - 1)
        offer(b, (uint8_t)bit64_first(due));
}

void bell_meet(struct bell *b, uint8_t peer)
{
    if (peer < b->nodes && peer != b->self)
        offer(b, peer);
}

bool bell_owes(const struct bell *b)
{
    return b->due != 0;
}

uint64_t bell_refused(const struct bell *b)
{
    return b->refused;
}

/* ---- sleep -------------------------------------------------------------------------------- */

int bell_fd(const struct bell *b)
{
    return b->socket;
}

void bell_asleep(struct bell *b)
{
    atomic_store_explicit(b->word, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [D] */
}

void bell_awake(struct bell *b)
{
    atomic_store_explicit(b->word, 0, memory_order_relaxed);
    bell_look(b);
}

void bell_ring(struct bell *b, uint64_t peers)
{
    atomic_thread_fence(memory_order_seq_cst); /* [D] */
    for (; peers != 0; peers &= peers - 1) {
        uint8_t n = (uint8_t)bit64_first(peers);
        bell_word *word = b->peer[n].word;
        if (word != NULL) {
            if (atomic_load_explicit(word, memory_order_relaxed) == 0)
                continue;
            /* Cleared before the byte: after it, the word of the next sleep could be lost. */
            atomic_store_explicit(word, 0, memory_order_relaxed);
        }
        send_byte(b, n);
    }
}

/* ---- open and close ----------------------------------------------------------------------- */

static int start(struct bell *b)
{
    struct sockaddr_un a;
    struct timespec now;
    void *word;
    clock_gettime(CLOCK_REALTIME, &now);
    b->epoch = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    b->fd = rendezvous_memory("pando-bell", WORD_BYTES, &word);
    if (b->fd < 0)
        return b->fd;
    b->word = word;
    socket_path(b, b->self, &a);
    unlink(a.sun_path);
    b->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (b->socket < 0 || bind(b->socket, (struct sockaddr *)&a, sizeof(a)) != 0)
        return -errno;
    return 0;
}

int bell_open(const char *dir, uint8_t self, uint8_t nodes, struct bell **ret_bell)
{
    if (strlen(dir) >= BELL_DIR_MAX)
        return -ENAMETOOLONG;
    if (self >= nodes || nodes > WIRE_NODES_MAX)
        return -EINVAL;
    struct bell *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -ENOMEM;
    snprintf(b->dir, sizeof(b->dir), "%s", dir);
    b->self = self;
    b->nodes = nodes;
    b->socket = -1;
    int rc = start(b);
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
    if (b == NULL)
        return;
    for (uint8_t n = 0; n < b->nodes; n++)
        if (b->peer[n].word != NULL)
            munmap((void *)b->peer[n].word, WORD_BYTES);
    if (b->word != NULL)
        munmap((void *)b->word, WORD_BYTES);
    if (b->fd >= 0)
        close(b->fd);
    socket_path(b, b->self, &a);
    unlink(a.sun_path);
    if (b->socket >= 0)
        close(b->socket);
    free(b);
}
