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
    bool seen; /* in this look */
    char err[ASK_ERROR_MAX];
    json_t *now, *before; /* the latest answer, NULL: never one; the one before it, NULL: none */
    json_t *offload;      /* latest, NULL: not asked or no answer */
};

struct nodes {
    const char *title;   /* says on standard error who does not answer; NULL: does not */
    const char *run_dir; /* NULL: everywhere (find.h) */
    struct ask_limits limits;
    bool offload;         /* ask for it, too */
    size_t n, left_out;   /* left_out: adds up over the looks */
    size_t found, others; /* in the last look, as struct find has it */
    struct node node[NODES_MAX];
};

/* Looks at all dataplanes that are there now; one that is silent takes limits.silence_ms, one that
 * trickles limits.all_ms. Returns how many answered. */
size_t nodes_look(struct nodes *all);
void nodes_release(struct nodes *all);

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

#endif
