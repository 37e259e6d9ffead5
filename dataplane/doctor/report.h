/* SPDX-License-Identifier: BSD-3-Clause */
/* What was found about a machine, each with its remedy. APP. */
#ifndef PANDO_DOCTOR_REPORT_H
#define PANDO_DOCTOR_REPORT_H

#include <stddef.h>
#include <stdint.h>

enum { DOCTOR_FINDINGS_MAX = 96, DOCTOR_TEXT_MAX = 320, DOCTOR_NO_ROLE = -1 };

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_NOTE,    /* works, with a cost that the text names */
    DOCTOR_MISSING, /* cannot work: a start is refused */
    DOCTOR_STATES
};
const char *doctor_state_name(enum doctor_state s);

struct doctor_finding {
    enum doctor_state state;
    const char *check; /* its short name: "kvm" */
    int role;          /* enum config_role, or DOCTOR_NO_ROLE: of the machine */
    char text[DOCTOR_TEXT_MAX];
    char remedy[DOCTOR_TEXT_MAX]; /* "": none is needed */
};

/* More findings than fit are counted and left out. */
struct doctor_report {
    const char *check; /* of findings that are added; set by who runs checks */
    uint32_t n, count[DOCTOR_STATES];
    struct doctor_finding finding[DOCTOR_FINDINGS_MAX];
};

void doctor_add(struct doctor_report *r, enum doctor_state state, int role, const char *remedy,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The worst of a role. */
enum doctor_state doctor_worst(const struct doctor_report *r, int role);
/* The first that cannot work; NULL: none. */
const struct doctor_finding *doctor_first_missing(const struct doctor_report *r);

#endif
