/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starts the processes of all nodes and the VMM, watches them, ends them. APP; one thread.
 *
 *     dataplanes of all nodes, until each says that it is ready
 *     pando-vcpud on the nodes without the VMM
 *     the VMM, with the glue preloaded and the user's terminal
 *     until one ends or a signal comes; then everybody else, first by himself, then by SIGTERM,
 *     then by SIGKILL
 */
#ifndef PANDO_RUN_CLUSTER_H
#define PANDO_RUN_CLUSTER_H

#include "dataplane/config/config.h"
#include "hypervisor-glue/run/child.h"
#include "hypervisor-glue/run/program.h"

enum { PLAN_PREFIX_MAX = 32, PLAN_PATH_MAX = PROGRAM_PATH_MAX, EXIT_DIED = 70, EXIT_REFUSED = 2 };

/* --on NODE=COMMAND: words before every command of the node. */
struct plan_prefix {
    const char *word[PLAN_PREFIX_MAX];
    unsigned words;
};

struct plan {
    const struct pando_config *cfg;
    char config[PLAN_PATH_MAX];      /* absolute, as are the next */
    char summary_dir[PLAN_PATH_MAX]; /* "": none */
    char dataplane[PLAN_PATH_MAX], vcpud[PLAN_PATH_MAX], preload[PLAN_PATH_MAX];
    struct plan_prefix on[WIRE_NODES_MAX];
    const char *const *vmm; /* NULL at the end */
};

/* Until everything has ended. The VMM's exit status if it ended by itself; EXIT_DIED, said in one
 * line, if a process died; EXIT_REFUSED if the VMM cannot be started; after signal n
 * the VMM's own if it then ended in order, else 128 + n. */
int cluster_run(const struct plan *plan);

/* A node's words in front of argv; where they begin with ssh, argv's words are quoted for the shell
 * at the other end. 0; -E2BIG. */
int plan_command(const struct plan *plan, uint32_t node, const char *const *argv,
                 const char *ret[CHILD_WORDS_MAX]);

/* plan.c: finds our own programs: $PANDO_LIBEXEC, beside pando, ../libexec/pando, the build tree.
 * False if one is missing, which was said. */
bool plan_find_programs(struct plan *plan);

/* plan.c: splits "NODE=COMMAND". False if it is wrong, which was said. */
bool plan_add_prefix(struct plan *plan, const char *text);

/* version.c: asks QEMU for its version. False if it cannot be started, which was said. */
bool version_check(const struct plan *plan);

#endif
