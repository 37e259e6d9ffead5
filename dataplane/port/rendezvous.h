/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How processes of one machine find each other: sockets in a directory that is theirs alone, and
 * memory that goes from one to another over such a socket. EDGE.
 *
 * A process that maps another's file dies of SIGBUS when that one shortens it. So memory to share
 * is never a file in the directory: it is an anonymous one (memfd), sealed by who makes it, and who
 * gets it looks at size and seals before it maps it. No access to it can fault then.
 */
#ifndef PANDO_PORT_RENDEZVOUS_H
#define PANDO_PORT_RENDEZVOUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "dataplane/port/port.h"

/* Makes the directory, 0700, or takes one that is there, if it is this user's and nobody else can
 * write to it: whoever can, puts himself in a peer's place. A symbolic link is not followed. 0, or
 * -errno and a sentence that begins with `who`: -EPERM, -ENOTDIR, or mkdir's. */
int rendezvous_dir(const char *who, const char *dir, char err[PORT_ERROR_MAX]);

/* New memory, all of it there (too little is an error now, no SIGBUS later), its size sealed.
 * Descriptor and *ret_map, or -errno. */
int rendezvous_memory(const char *name, size_t bytes, void **ret_map);
/* Maps what a peer sent; NULL: not of this size, not sealed at it, or not writable. The descriptor
 * stays the caller's. */
void *rendezvous_map(int fd, size_t bytes);

/* Sends a message with one descriptor. 0 or -errno. Never blocks. */
int rendezvous_send(int socket, const struct sockaddr_un *to, const void *message, size_t len,
                    int fd);
/* Receives a message of at most `room` bytes; its length, room + 1 if it was longer, or -errno.
 * *ret_fd: the descriptor that came with it, the caller's to close; -1: none. Further ones are
 * closed. */
ssize_t rendezvous_receive(int socket, void *message, size_t room, int *ret_fd);

#endif
