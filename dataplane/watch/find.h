/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the running dataplanes of this machine are: their telemetry sockets, by run_dir. APP.
 *
 * Without a run_dir, all places are looked at where clusters are by default; some of these anybody
 * can write to, so only sockets that root or this user made are taken there, and the directories
 * on the way must be theirs as well. A run_dir that is named may be anybody's.
 */
#ifndef PANDO_WATCH_FIND_H
#define PANDO_WATCH_FIND_H

#include <stdbool.h>
#include <stddef.h>

struct find {
    const char *title;   /* of the program, for what is said on standard error; NULL: say nothing */
    const char *run_dir; /* NULL: everywhere */
    unsigned first, last; /* nodes, 0..63 */
    /* Called for each socket, in the order of nodes. */
    void (*take)(void *arg, const char *socket_path, unsigned node);
    void *arg;
    size_t found;  /* out: sockets, and directories that could not be looked into (said) */
    size_t others; /* out: left out, for they are other users' (said) */
};

/* The dataplanes that are there now: out members of f are set, take is called. */
void find_dataplanes(struct find *f);
/* On standard error: nobody is there, and what to do. */
void find_say_nobody(const struct find *f);

#endif
