/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/check.h"

#include <stddef.h>

/* The one variable of the PURE parts: who prints a failed assertion. Protocol state never lives in
 * globals. */
static pando_check_handler check_handler;

void pando_check_set_handler(pando_check_handler handler)
{
    check_handler = handler;
}

void pando_check_failed(const char *expr, const char *file, int line)
{
    if (check_handler != NULL)
        check_handler(expr, file, line);
    __builtin_trap();
}
