/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/doctor/report.h"

#include <stdarg.h>
#include <stdio.h>

const char *doctor_state_name(enum doctor_state s)
{
    static const char *const names[DOCTOR_STATES] = {"ok", "note", "missing"};
    return (unsigned)s < DOCTOR_STATES ? names[s] : "?";
}

void doctor_add(struct doctor_report *r, enum doctor_state state, int role, const char *remedy,
                const char *fmt, ...)
{
    va_list args;
    r->count[state]++;
    if (r->n == DOCTOR_FINDINGS_MAX)
        return;
    struct doctor_finding *f = &r->finding[r->n++];
    f->state = state;
    f->role = role;
    f->check = r->check;
    snprintf(f->remedy, sizeof(f->remedy), "%s", remedy);
    va_start(args, fmt);
    vsnprintf(f->text, sizeof(f->text), fmt, args);
    va_end(args);
}

enum doctor_state doctor_worst(const struct doctor_report *r, int role)
{
    enum doctor_state worst = DOCTOR_OK;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->finding[i].role == role && r->finding[i].state > worst)
            worst = r->finding[i].state;
    return worst;
}

const struct doctor_finding *doctor_first_missing(const struct doctor_report *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->finding[i].state == DOCTOR_MISSING)
            return &r->finding[i];
    return NULL;
}
