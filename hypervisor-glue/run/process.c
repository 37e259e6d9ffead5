/* SPDX-License-Identifier: BSD-3-Clause */
/* Options about QEMU as a process: the glue is in it, needs /proc, and pando run is its parent. */
#include "hypervisor-glue/run/compose.h"

#include <string.h>

void process_sandbox(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *value = opt_get(p, "resourcecontrol");
    if (value != NULL && strcmp(value, "deny") == 0)
        compose_refuse(c, o, "resourcecontrol=allow",
                       "resourcecontrol=deny: the glue sets priority and CPUs of its threads, and "
                       "would be killed for it");
}

void process_run_with(struct compose *c, struct line_option *o, struct opt *p)
{
    static const char *const refused[] = {"chroot", "user"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (opt_get(p, refused[i]) != NULL)
            compose_refuse(c, o, "leave it out",
                           "%s: a new memory slot is looked up in /proc/self/maps, also while the "
                           "VM runs",
                           refused[i]);
}

void process_untried(struct compose *c, struct line_option *o, struct opt *p)
{
    (void)p;
    compose_note(c, "%s %s: a VM that goes on from saved state was not tried on several hosts",
                 o->word, o->value);
}
