/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the host's settings of CPUs cost the threads that run there: frequency governors, deep idle
 * states, and what the kernel itself does on them. APP; placement.c asks for the CPUs of a role,
 * system.c for all that there are. What the kernel does not tell of is no finding.
 */
#ifndef PANDO_DOCTOR_CPUS_H
#define PANDO_DOCTOR_CPUS_H

#include "dataplane/doctor/report.h"
#include "dataplane/host/machine.h"

/* Of the CPUs that are usable: a note that names those with another governor than performance, or
 * with an idle state that takes long to leave. True: there are such. role: as of a finding. */
bool doctor_governor(const struct machine *m, const struct host_cpus *set, int role,
                     struct doctor_report *r);
bool doctor_idle(const struct machine *m, const struct host_cpus *set, int role,
                 struct doctor_report *r);

/* Words of the kernel's command line that keep CPUs for those who are pinned there. */
enum doctor_word { DOCTOR_ISOLCPUS, DOCTOR_NOHZ_FULL, DOCTOR_RCU_NOCBS, DOCTOR_WORDS };
enum { DOCTOR_ALL_WORDS = (1 << DOCTOR_WORDS) - 1 };

/* CPUs, word by word. */
struct doctor_words {
    struct host_cpus of[DOCTOR_WORDS];
};

/* The usable CPUs of set that each word of `words` (bits by enum doctor_word) does not name. */
void doctor_lacking(const struct machine *m, const struct host_cpus *set, unsigned words,
                    struct doctor_words *ret);
/* The words as they should be, with those that are lacking. Returns buf. */
char *doctor_boot_words(const struct machine *m, const struct doctor_words *lacking, char *buf,
                        size_t size);
/* One note of all that is lacking, with what it costs; none if nothing is. of: "of the agent". */
void doctor_isolation(const struct doctor_words *lacking, const char *of, int role,
                      const char *remedy, struct doctor_report *r);

#endif
