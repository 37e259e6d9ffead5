/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster.h"
#include "hypervisor-glue/run/parse.h"

/* ---- our own programs ---------------------------------------------------------------------- */

bool plan_find_programs(struct plan *plan)
{
    return program_find(plan->dataplane, "pando run", "pando-dataplane") &&
           program_find(plan->vcpud, "pando run", "pando-vcpud") &&
           program_find(plan->preload, "pando run", "libpando-kvm.so");
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
