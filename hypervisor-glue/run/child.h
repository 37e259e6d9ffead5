/* SPDX-License-Identifier: BSD-3-Clause */
/* One process that pando run started: it dies with us (PR_SET_PDEATHSIG), its end is seen by a
 * pidfd, and what it says is printed line by line under its name. APP. */
#ifndef PANDO_RUN_CHILD_H
#define PANDO_RUN_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_NAME_MAX = 32, CHILD_LINE_MAX = 1024, CHILD_WORDS_MAX = 2200 };

struct child {
    char name[CHILD_NAME_MAX];
    pid_t pid;
    int pidfd, pipe; /* -1: closed */
    bool terminal;   /* has our standard streams, and is in our process group */
    bool ended, ready;
    int status;        /* as of waitpid, when ended */
    uint64_t ended_at; /* ns */
    const char *ready_line;
    char line[CHILD_LINE_MAX];
    unsigned line_len;
};

/* Starts argv, found in PATH. environment: NULL, or "NAME=value" strings that are set, NULL at the
 * end. terminal: as in struct child; otherwise its output comes through the pipe. 0, or -errno of
 * what failed, exec included. */
int child_start(struct child *c, const char *const *argv, const char *const *environment,
                bool terminal);

/* The pipe can be read. Prints complete lines to standard error; one that is ready_line is kept
 * back and makes the child ready. */
void child_read(struct child *c);

/* The pidfd can be read: collects it. */
void child_reap(struct child *c, uint64_t now);

/* It has ended, and so has everybody whom it started and who could say something in its name: words
 * of --on need not be replaced by the command behind them. */
bool child_gone(const struct child *c);

/* Sends a signal to it, or to its process group if it has one of its own; nothing if it is gone. */
void child_signal(struct child *c, int number);

/* "was killed by SIGKILL", "exited with status 1". */
void child_words(const struct child *c, char *buf, size_t size);

#endif
