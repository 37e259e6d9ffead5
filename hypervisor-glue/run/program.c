/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/run/program.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool find_in(char ret[PROGRAM_PATH_MAX], const char *base, const char *dir, const char *name)
{
    char path[PROGRAM_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s%s%s/%s", base, dir[0] ? "/" : "", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || access(path, R_OK) != 0)
        return false;
    char *absolute = realpath(path, NULL);
    bool found = absolute != NULL && strlen(absolute) < PROGRAM_PATH_MAX;
    if (found)
        strcpy(ret, absolute);
    free(absolute);
    return found;
}

bool program_find(char ret_path[PROGRAM_PATH_MAX], const char *command, const char *name)
{
    /* Installed: pando in bin, the others in libexec/pando. Built: each in its source's folder. */
    static const char *const dirs[] = {"",
                                       "../libexec/pando",
                                       "../vkvm",
                                       "../../dataplane/engine",
                                       "../../dataplane/net",
                                       "../../dataplane/doctor",
                                       "../../dataplane/watch",
                                       "../../offload/show"};
    char self[PROGRAM_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *base = dirname(self), *given = getenv("PANDO_LIBEXEC");
    if (given != NULL && find_in(ret_path, given, "", name))
        return true;
    for (size_t i = 0; given == NULL && i < sizeof(dirs) / sizeof(dirs[0]); i++)
        if (find_in(ret_path, base, dirs[i], name))
            return true;
    fprintf(stderr, "%s: %s is not in %s; remedy: set PANDO_LIBEXEC to the directory that has it\n",
            command, name, given ? given : base);
    return false;
}
