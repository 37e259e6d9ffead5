/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What glue_abi.h says of the control socket, as fuzz_control.c holds the dataplane to it: who is
 * connected, which packets are refused, what each process is answered.
 */
#ifndef PANDO_FUZZ_CONTROL_MODEL_H
#define PANDO_FUZZ_CONTROL_MODEL_H

#include "dataplane/engine/engine.h"

enum {
    CLIENTS = 4,
    RAM_PAGES = 40,  /* what the configuration allows */
    FILE_PAGES = 16, /* in FD_MEMFD; FD_SMALL has one */
    FDS_TAKEN = 2,   /* of a packet */
    QUEUE = 24,
    ANSWERS = 16,
};

enum fd_kind {
    FD_MEMFD,
    FD_UFFD,
    FD_SMALL,
    FD_READ_ONLY,
    FD_PATH,
    FD_EVENT,
    FD_PIPE,
    FD_NULL,
    FD_DIR,
    FD_SELF, /* the process's own end of the connection */
    FD_KINDS
};

struct packet {
    struct glue_ctl ctl;
    size_t length;
    uint32_t fds;
    uint8_t kind[FDS_TAKEN];
    bool two_headers, credentials;
};

/* A process and its connection; PENDING: not accepted yet, ENDED: closed by the dataplane. */
enum place { FREE, PENDING, SERVED, ENDED };
struct client {
    enum place place;
    int fd;                     /* -1: closed */
    bool deaf, finished;        /* reads nothing; sends nothing more */
    bool unread;                /* ENDED over packets: the process sees a reset before the words */
    struct packet queue[QUEUE]; /* sent, and not looked at yet */
    uint32_t head, n;
    uint8_t answer[ANSWERS]; /* that must come next */
    uint32_t answers;
};

struct model {
    bool takes_vmm;   /* this node's process is the VMM, not a pando-vcpud */
    bool uffd;        /* FD_UFFD is one: not every user may have it */
    bool watch_fails; /* the next connection or block cannot be watched */
    enum engine_conn conn;
    enum engine_phase phase;
    int owner; /* client that is connected; -1 */
    bool orderly;
    uint32_t blocks, stops;
    uint64_t pages, drops;
    struct client client[CLIENTS];
    int pending[CLIENTS], pending_n; /* in the order of connect() */
};

void model_connect(struct model *m, struct client *c, int fd, bool deaf);
/* The dataplane looks at its listening socket, or at the connection, with room for so many new
 * descriptors. */
void model_accept(struct model *m, uint32_t room);
void model_serve(struct model *m, uint32_t room);
/* The VM runs, or ends by another reason. */
void model_welcome(struct model *m);
void model_stop(struct model *m, bool orderly);

#endif
