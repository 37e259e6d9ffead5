/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pando-watch: what `pando status`, `pando top` and `pando metrics` are. APP.
 *
 *   status   a page about each running dataplane of this machine, or one JSON object
 *   top      the same again and again, with rates, on a terminal; -b: as text
 *   metrics  Prometheus' text format, to standard output or by HTTP
 *
 * All three see the dataplanes of this machine (find.h); what they say of other hosts' nodes is
 * what their peers here know. They only read: DPDK's telemetry thread answers, the poll loop never
 * waits for it.
 */
#ifndef PANDO_WATCH_WATCH_H
#define PANDO_WATCH_WATCH_H

#include <stdint.h>
#include <stdio.h>

#include "dataplane/watch/nodes.h"
#include "dataplane/watch/out.h"

int status_main(int argc, char **argv);
int top_main(int argc, char **argv);
int metrics_main(int argc, char **argv);

/* --config, --run-dir: the same in all three. config wins its run_dir into run_dir when parsed. */
enum { KEY_CONFIG = 256, KEY_RUN_DIR };
struct place {
    const char *config, *run_dir;
};
/* A child for argp: its input is a struct place. */
extern const struct argp place_argp;
/* The run_dir that was asked for, NULL: everywhere. False: the configuration is not one (said). */
bool place_of(const char *title, const struct place *p, const char **ret_run_dir);

/* Prints a duration of seconds: "12 s", "3:04:05", "2 d 03:04". */
void print_seconds(FILE *to, double seconds);

/* One page of metrics, Prometheus' text format 0.0.4, of the last look. */
void metrics_print(FILE *to, const struct nodes *all, double now_unix);

/* Serves metrics until SIGINT or SIGTERM; where: [ADDRESS:]PORT, an IPv6 address in brackets.
 * Exit status. */
int http_serve(const char *title, const char *where, struct nodes *all);

/* top's page as text of at most `lines` lines. Those that begin with VIEW_MARK and a letter are
 * headings (H), the chosen node (C), nodes that ended or are silent (E). */
enum { VIEW_MARK = 1, VIEW_LINES = 4096 };
enum view_sort {
    VIEW_BY_NODE,
    VIEW_BY_FAULTS,
    VIEW_BY_MESSAGES,
    VIEW_BY_BUSY,
    VIEW_BY_LATENCY,
    VIEW_BY_TIME
};
struct view {
    enum view_sort sort;
    bool reverse, paused;
    const struct node *chosen; /* NULL: all nodes */
    double delay;              /* seconds */
    size_t lines;              /* of each list; 0: as many as by default */
};
/* Sorts rows and prints the page. rows: out, the nodes of it in their order, all->n of them. */
void view_print(FILE *to, const struct view *v, const struct nodes *all,
                const struct node *rows[NODES_MAX]);
void view_help(FILE *to);

#endif
