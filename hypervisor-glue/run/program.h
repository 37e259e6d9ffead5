/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the other programs of Pando are. APP. */
#ifndef PANDO_RUN_PROGRAM_H
#define PANDO_RUN_PROGRAM_H

#include <stdbool.h>

enum { PROGRAM_PATH_MAX = 4096 };

/* In PANDO_LIBEXEC, else in ../libexec/pando beside this program (installed), else in the build
 * directory. False: it is not there; said in the name of command ("pando run"). */
bool program_find(char ret_path[PROGRAM_PATH_MAX], const char *command, const char *name);

#endif
