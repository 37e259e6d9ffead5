/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/doctor/cpus.h"

#include <stdio.h>
#include <string.h>

/* LIST_MAX: three lists and what is around them fit into a remedy. */
enum { SLOW_IDLE_US = 20, LIST_MAX = 80, SHORT_LIST_MAX = 40 };

/* ---- clocks and idle states ---------------------------------------------------------------- */

/* Without a configuration nobody knows which CPUs of the machine count. */
static void prepare(char *buf, size_t size, const char *option, const char *cpus, int role)
{
    snprintf(buf, size, "configs/host/prepare %s %.200s%s", option, cpus,
             role == DOCTOR_NO_ROLE
                 ? "; pando doctor --config names those of a node's threads alone"
                 : "");
}

bool doctor_governor(const struct machine *m, const struct host_cpus *set, int role,
                     struct doctor_report *r)
{
    char text[HOST_CPUS_TEXT], word[32], governor[32] = "", remedy[DOCTOR_TEXT_MAX];
    struct host_cpus slow = {0};
    for (uint32_t cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (!host_cpus_has(set, cpu) || !host_cpus_has(&m->usable, cpu) ||
            machine_text(m, word, sizeof(word),
                         "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu) != 0 ||
            word[0] == '\0' || strcmp(word, "performance") == 0)
            continue;
        host_cpus_add(&slow, cpu);
        snprintf(governor, sizeof(governor), "%s", word);
    }
    if (host_cpus_empty(&slow))
        return false;
    host_cpus_text(&slow, text, sizeof(text));
    prepare(remedy, sizeof(remedy), "--governor", text, role);
    doctor_add(r, DOCTOR_NOTE, role, remedy,
               "CPUs %.128s: the frequency governor is '%s', not performance", text, governor);
    return true;
}

bool doctor_idle(const struct machine *m, const struct host_cpus *set, int role,
                 struct doctor_report *r)
{
    char text[HOST_CPUS_TEXT], word[32], state[32] = "", remedy[DOCTOR_TEXT_MAX];
    struct host_cpus deep = {0};
    uint32_t longest = 0;
    for (uint32_t cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (!host_cpus_has(set, cpu) || !host_cpus_has(&m->usable, cpu))
            continue;
        uint32_t us = machine_deepest_idle_us(m, cpu, word, sizeof(word));
        if (us <= SLOW_IDLE_US)
            continue;
        host_cpus_add(&deep, cpu);
        if (us > longest) {
            longest = us;
            snprintf(state, sizeof(state), "%s", word);
        }
    }
    if (host_cpus_empty(&deep))
        return false;
    host_cpus_text(&deep, text, sizeof(text));
    prepare(remedy, sizeof(remedy), "--shallow-idle", text, role);
    doctor_add(r, DOCTOR_NOTE, role, remedy,
               "CPUs %.128s may enter idle state %s, from which waking up takes %u us", text, state,
               longest);
    return true;
}

/* ---- isolation ----------------------------------------------------------------------------- */

static const struct {
    const char *word, *without;
} words[DOCTOR_WORDS] = {
    [DOCTOR_ISOLCPUS] = {"isolcpus", "the scheduler puts other threads there"},
    [DOCTOR_NOHZ_FULL] = {"nohz_full", "the tick interrupts up to 1000 times a second"},
    [DOCTOR_RCU_NOCBS] = {"rcu_nocbs", "the kernel's RCU callbacks run there as well"},
};

/* What a word names on this machine; NULL: the kernel does not tell. One that was built without
 * rcu_nocbs does not tell that, and ignores the word. */
static const struct host_cpus *in_force(const struct machine *m, enum doctor_word w)
{
    const struct host_cpus *sets[DOCTOR_WORDS] = {
        [DOCTOR_ISOLCPUS] = m->tells_isolated ? &m->isolated : NULL,
        [DOCTOR_NOHZ_FULL] = m->tells_nohz_full ? &m->nohz_full : NULL,
        [DOCTOR_RCU_NOCBS] = m->tells_rcu_nocbs ? &m->rcu_nocbs : NULL,
    };
    return sets[w];
}

void doctor_lacking(const struct machine *m, const struct host_cpus *set, unsigned which,
                    struct doctor_words *ret)
{
    *ret = (struct doctor_words){0};
    for (int w = 0; w < DOCTOR_WORDS; w++) {
        const struct host_cpus *in = in_force(m, (enum doctor_word)w);
        for (uint32_t cpu = 0; in != NULL && (which >> w & 1) != 0 && cpu < HOST_CPUS_MAX; cpu++)
            if (host_cpus_has(set, cpu) && host_cpus_has(&m->usable, cpu) &&
                !host_cpus_has(in, cpu))
                host_cpus_add(&ret->of[w], cpu);
    }
}

/* A word that is given twice counts once, so that each is said with the CPUs that it has already.
 */
char *doctor_boot_words(const struct machine *m, const struct doctor_words *lacking, char *buf,
                        size_t size)
{
    size_t at = 0;
    for (int w = 0; w < DOCTOR_WORDS && at < size; w++) {
        char list[LIST_MAX];
        const struct host_cpus *in = in_force(m, (enum doctor_word)w);
        struct host_cpus all = lacking->of[w];
        if (host_cpus_empty(&all))
            continue;
        if (in != NULL)
            host_cpus_join(&all, in);
        host_cpus_text(&all, list, sizeof(list));
        if (strstr(list, "...") != NULL) { /* cut off: no word of a command line */
            snprintf(buf, size,
                     "the CPUs of each role in its words on the host's kernel command "
                     "line, and a reboot");
            return buf;
        }
        at += (size_t)snprintf(buf + at, size - at, "%s%s=%s", at > 0 ? " " : "", words[w].word,
                               list);
    }
    if (at < size)
        snprintf(buf + at, size - at, " on the host's kernel command line, and a reboot");
    return buf;
}

void doctor_isolation(const struct doctor_words *lacking, const char *of, int role,
                      const char *remedy, struct doctor_report *r)
{
    char text[DOCTOR_TEXT_MAX], list[SHORT_LIST_MAX];
    const struct host_cpus *before = NULL;
    size_t at = 0;
    for (int w = 0; w < DOCTOR_WORDS && at < sizeof(text); w++) {
        const struct host_cpus *set = &lacking->of[w];
        if (host_cpus_empty(set))
            continue;
        if (before != NULL && memcmp(before, set, sizeof(*set)) == 0)
            at += (size_t)snprintf(text + at, sizeof(text) - at, ", %s (%s)", words[w].word,
                                   words[w].without);
        else
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%sCPUs %s %s: not in %s (%s)",
                                   before != NULL ? "; " : "",
                                   host_cpus_text(set, list, sizeof(list)), of, words[w].word,
                                   words[w].without);
        before = set;
    }
    if (at > 0)
        doctor_add(r, DOCTOR_NOTE, role, remedy, "%s", text);
}
