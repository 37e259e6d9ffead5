/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dataplanes of this machine, asked again and again: their two latest answers, and what follows
 * from both. APP.
 *
 * A node that was seen once is kept: it may end, and come back. Rates are differences of two
 * answers over the time that the dataplane itself says is between them; of a single answer, since
 * its start. A dataplane that was started anew has no earlier answer.
 */
#ifndef PANDO_WATCH_NODES_H
#define PANDO_WATCH_NODES_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/watch/ask.h"
#include "dataplane/watch/counts.h"

/* Of all clusters of the machine, those that ended included; where there are more, one that ended
 * is forgotten, and if there is none the new one is left out. */
enum { NODES_MAX = 256 };

enum node_state {
    NODE_UP,
    NODE_BACK,   /* up: it was started anew since the last look */
    NODE_SILENT, /* its socket is there; err says why there is no answer */
    NODE_ENDED,  /* its socket is gone; err is "" */
};

struct node {
    char socket[PATH_MAX];
    unsigned number; /* by its socket's place */
    enum node_state state;
    bool seen;        /* in this look */
    bool since_start; /* rates are since the start, whatever was answered before */
    char err[ASK_ERROR_MAX];
    json_t *now, *before; /* the latest answer, NULL: never one; the one before it, NULL: none */
    json_t *offload;      /* latest, NULL: not asked or no answer */
};

struct nodes {
    const char *title;   /* says on standard error who does not answer; NULL: does not */
    const char *run_dir; /* NULL: everywhere (find.h) */
    struct ask_limits limits;
    bool offload;         /* ask for it, too */
    bool since_start;     /* of every node */
    size_t n, left_out;   /* left_out: adds up over the looks */
    size_t found, others; /* in the last look, as struct find has it */
    struct node node[NODES_MAX];
};

/* Looks at all dataplanes that are there now; one that is silent takes limits.silence_ms, one that
 * trickles limits.all_ms. Returns how many answered. */
size_t nodes_look(struct nodes *all);
void nodes_release(struct nodes *all);
/* Rates since the start, or since the look before: also of the answers that are there. */
void nodes_since_start(struct nodes *all, bool yes);

static inline bool node_is_up(const struct node *n)
{
    return n->state == NODE_UP || n->state == NODE_BACK;
}

/* Seconds between the two answers, or since the start; 0: none. */
double node_seconds(const struct node *n);
/* A second, of the counter at path; of the sum over the table's members (count_sum). 0 where it
 * went backwards. */
double node_rate(const struct node *n, const char *path);
double node_rate_sum(const struct node *n, const char *path, const char *of);
/* The histogram of the object at path, in that time. False: none. */
bool node_hist(const struct node *n, const char *path, struct hist *ret);
/* 0..1: the share of that time that the loop was in a state ("useful", "empty", "yield", "sleep");
 * below 0: not known. */
double node_share(const struct node *n, const char *state);
/* ... and had a CPU, by the kernel's account. */
double node_cpu(const struct node *n);

/* A thread's share of a CPU, by the counter at path/cpu_ns; below 0: not known, or impossible. */
double node_thread_share(const struct node *n, const char *path);
/* Its CPU time since it began, in seconds; below 0: not known. */
double node_thread_seconds(const struct node *n, const char *path);
/* The CPU that it is on; below 0: not known. */
int32_t node_thread_core(const struct node *n, const char *path);

/* Entries that wait in a ring, as the table at path ("channels/to_dp", "channels/to_glue") has them
 * for a channel. False: not known, or more than there can be. */
bool node_ring(const struct node *n, const char *path, const char *channel, uint64_t *ret_waiting);
/* ... and in that of the agent's unmap requests. */
bool node_unmap_ring(const struct node *n, uint64_t *ret_waiting);

/* What the rings of the VM's process hold. */
struct node_rings {
    uint64_t capacity;    /* entries of a ring; 0: not known */
    uint64_t rings, used; /* that are known; of those, with entries that wait */
    uint64_t most;        /* entries of the fullest */
    const char *channel;  /* ... and whose it is: any characters */
    bool to_dp;           /* ... and its direction */
    uint64_t implausible; /* rings whose indices are impossible, or that hold more than they can */
};
void node_rings(const struct node *n, struct node_rings *ret);

#endif
