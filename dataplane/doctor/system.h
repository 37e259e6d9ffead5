/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What any machine needs to run a node, whatever its configuration, each with its remedy. APP.
 *
 * Two kinds of checks: what files say (system.c; below any root, so that tests can make machines
 * up) and what has to be tried (probe.c: opening /dev/kvm, a userfaultfd, an AF_XDP socket; the
 * real machine only). Nothing is changed, and all that is opened is closed.
 */
#ifndef PANDO_DOCTOR_SYSTEM_H
#define PANDO_DOCTOR_SYSTEM_H

#include "dataplane/doctor/report.h"
#include "dataplane/host/machine.h"

struct doctor_check {
    const char *name;
    void (*run)(const struct machine *m, struct doctor_report *r);
};

/* In the order in which they are shown; ended by a NULL name. */
extern const struct doctor_check doctor_files[];
extern const struct doctor_check doctor_probes[];

/* Runs the checks of a list whose names are among words (separated by commas; NULL: all). Returns
 * how many. */
uint32_t doctor_run(const struct doctor_check *list, const char *words, const struct machine *m,
                    struct doctor_report *r);

#endif
