/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster.h"
#include "hypervisor-glue/run/parse.h"

/* ---- our own programs ---------------------------------------------------------------------- */

static bool find_in(char ret[PLAN_PATH_MAX], const char *base, const char *dir, const char *name)
{
    char path[PLAN_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s%s%s/%s", base, dir[0] ? "/" : "", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || access(path, R_OK) != 0)
        return false;
    char *absolute = realpath(path, NULL);
    bool found = absolute != NULL && strlen(absolute) < PLAN_PATH_MAX;
    if (found)
        strcpy(ret, absolute);
    free(absolute);
    return found;
}

static bool find_program(char ret[PLAN_PATH_MAX], const char *base, const char *name)
{
    /* Installed: pando in bin, the others in libexec/pando. Built: each in its source's folder. */
    static const char *const dirs[] = {"", "../libexec/pando", "../vkvm", "../../dataplane/engine"};
    const char *given = getenv("PANDO_LIBEXEC");
    if (given != NULL && find_in(ret, given, "", name))
        return true;
    for (size_t i = 0; given == NULL && i < sizeof(dirs) / sizeof(dirs[0]); i++)
        if (find_in(ret, base, dirs[i], name))
            return true;
    fprintf(stderr,
            "pando run: %s is not in %s; remedy: set PANDO_LIBEXEC to the directory that has it\n",
            name, given ? given : base);
    return false;
}

bool plan_find_programs(struct plan *plan)
{
    char self[PLAN_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *base = dirname(self);
    return find_program(plan->dataplane, base, "pando-dataplane") &&
           find_program(plan->vcpud, base, "pando-vcpud") &&
           find_program(plan->preload, base, "libpando-kvm.so");
}

/* ---- --on ---------------------------------------------------------------------------------- */

bool plan_add_prefix(struct plan *plan, const char *text)
{
    static char copies[1 << 16];
    static size_t used;
    char name[CONFIG_NAME_MAX + 1] = "", err[CONFIG_ERROR_MAX];
    const char *equals = strchr(text, '=');
    size_t len = strlen(text) + 1;
    uint8_t node;
    if (equals == NULL || (size_t)(equals - text) >= sizeof(name) || len > sizeof(copies) - used) {
        fprintf(stderr, "pando run: --on %s: remedy: --on NODE=COMMAND\n", text);
        return false;
    }
    memcpy(name, text, (size_t)(equals - text));
    if (config_find_node(plan->cfg, name, &node, err) != 0) {
        fprintf(stderr, "pando run: --on %s: %s\n", text, err);
        return false;
    }
    struct plan_prefix *p = &plan->on[node];
    char *copy = memcpy(copies + used, text, len), *save;
    used += len;
    if (p->words > 0) {
        fprintf(stderr, "pando run: --on %s: node %u has a command already\n", text, node);
        return false;
    }
    for (char *w = strtok_r(copy + (equals - text) + 1, " \t", &save); w != NULL;
         w = strtok_r(NULL, " \t", &save)) {
        if (p->words == PLAN_PREFIX_MAX) {
            fprintf(stderr, "pando run: --on %s: more than %d words\n", text, PLAN_PREFIX_MAX);
            return false;
        }
        p->word[p->words++] = w;
    }
    return true;
}

static bool is_ssh(const struct plan_prefix *p)
{
    const char *slash = p->words > 0 ? strrchr(p->word[0], '/') : NULL;
    return p->words > 0 && strcmp(slash ? slash + 1 : p->word[0], "ssh") == 0;
}

int plan_command(const struct plan *plan, uint32_t node, const char *const *argv,
                 const char *ret[CHILD_WORDS_MAX])
{
    static char text[1 << 20];
    static struct arena arena = {.buf = text, .size = sizeof(text)};
    const struct plan_prefix *p = &plan->on[node];
    bool quote = is_ssh(p);
    unsigned n = 0;
    for (; n < p->words; n++)
        ret[n] = p->word[n];
    for (; *argv != NULL; argv++) {
        if (n == CHILD_WORDS_MAX - 1)
            return -E2BIG;
        ret[n++] = quote ? opt_shell_quote(&arena, *argv) : *argv;
    }
    ret[n] = NULL;
    return arena.full ? -E2BIG : 0;
}
