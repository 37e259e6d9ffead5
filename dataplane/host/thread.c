/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host/thread.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_setattr(2), first version of the structure: glibc has no wrapper, and its header clashes
 * with the kernel's. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* runtime: the slice of a SCHED_OTHER thread, ns */
};
_Static_assert(sizeof(struct attr) == 48, "SCHED_ATTR_SIZE_VER0");
#define ATTR_RESET_ON_FORK UINT64_C(1)

_Static_assert(HOST_CPUS_MAX == CPU_SETSIZE, "a set is a cpu_set_t");

const char *host_class_name(enum host_class c)
{
    static const char *const names[] = {
        [HOST_OTHER] = "other", [HOST_FIFO] = "fifo", [HOST_RR] = "rr", [HOST_BATCH] = "batch"};
    return (unsigned)c < sizeof(names) / sizeof(names[0]) ? names[c] : "?";
}

/* ---- sets ---------------------------------------------------------------------------------- */

uint32_t host_cpus_count(const struct host_cpus *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < HOST_CPUS_MAX / 64; i++)
        n += (uint32_t)__builtin_popcountll(s->word[i]);
    return n;
}

bool host_cpus_empty(const struct host_cpus *s)
{
    return host_cpus_count(s) == 0;
}

char *host_cpus_text(const struct host_cpus *s, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (uint32_t first = 0, last; first < HOST_CPUS_MAX; first = last + 1) {
        char part[16];
        last = first;
        if (!host_cpus_has(s, first))
            continue;
        while (host_cpus_has(s, last + 1))
            last++;
        int n = snprintf(part, sizeof(part), last > first ? "%s%u-%u" : "%s%u", at > 0 ? "," : "",
                         first, last);
        if (at + (size_t)n + sizeof("...") > size) {
            snprintf(buf + at, size - at, "...");
            break;
        }
        memcpy(buf + at, part, (size_t)n + 1);
        at += (size_t)n;
    }
    return buf;
}

static bool parse_cpu(const char **text, unsigned long *ret)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *ret = strtoul(*text, &end, 10);
    *text = end;
    return errno == 0;
}

bool host_cpus_parse(const char *text, struct host_cpus *ret_set)
{
    struct host_cpus set = {0};
    unsigned long first, last;
    while (isspace((unsigned char)*text))
        text++;
    while (*text != '\0') {
        if (!parse_cpu(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!parse_cpu(&text, &last) || last < first)
                return false;
        }
        for (unsigned long c = first; c <= last && c < HOST_CPUS_MAX; c++)
            host_cpus_add(&set, (uint32_t)c);
        if (*text == ',' && isdigit((unsigned char)text[1]))
            text++;
        else
            break;
    }
    while (isspace((unsigned char)*text))
        text++;
    if (*text != '\0')
        return false;
    *ret_set = set;
    return true;
}

/* ---- threads ------------------------------------------------------------------------------- */

int host_thread_sched(pid_t tid, const struct host_sched *s)
{
    static const uint32_t policies[] = {[HOST_OTHER] = SCHED_OTHER,
                                        [HOST_FIFO] = SCHED_FIFO,
                                        [HOST_RR] = SCHED_RR,
                                        [HOST_BATCH] = SCHED_BATCH};
    int now = sched_getscheduler(tid);
    if (now < 0)
        return -errno;
    now &= ~SCHED_RESET_ON_FORK;
    if (s->class == HOST_OTHER && now != SCHED_OTHER && now != SCHED_BATCH)
        return 0;
    struct attr a = {.size = sizeof(a), .policy = policies[s->class]};
    if (host_real_time(s->class)) {
        a.priority = s->priority;
        a.flags = ATTR_RESET_ON_FORK;
    } else {
        a.nice = s->nice;
        a.runtime = (uint64_t)s->slice_us * 1000;
    }
    return syscall(SYS_sched_setattr, tid, &a, 0) == 0 ? 0 : -errno;
}

int host_thread_pin_set(pid_t tid, const struct host_cpus *set)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (uint32_t c = 0; c < HOST_CPUS_MAX; c++)
        if (host_cpus_has(set, c))
            CPU_SET(c, &cpus);
    return sched_setaffinity(tid, sizeof(cpus), &cpus) == 0 ? 0 : -errno;
}

int host_thread_pin(pid_t tid, int32_t cpu)
{
    struct host_cpus set = {0};
    if (cpu < 0 || cpu >= HOST_CPUS_MAX)
        return -EINVAL;
    host_cpus_add(&set, (uint32_t)cpu);
    return host_thread_pin_set(tid, &set);
}

int host_thread_cpus(pid_t tid, struct host_cpus *ret_set)
{
    cpu_set_t cpus;
    if (sched_getaffinity(tid, sizeof(cpus), &cpus) != 0)
        return -errno;
    *ret_set = (struct host_cpus){0};
    for (uint32_t c = 0; c < HOST_CPUS_MAX; c++)
        if (CPU_ISSET(c, &cpus))
            host_cpus_add(ret_set, c);
    return 0;
}

/* proc(5): "TID (NAME) STATE ...". A name may hold anything, what follows no parenthesis. */
static bool parse_stat(const char *line, struct host_thread *ret)
{
    enum { USER = 11, SYSTEM = 12, PROCESSOR = 36, WORDS = 37 }; /* behind the name, from 0 on */
    const char *name = strchr(line, '('), *end = strrchr(line, ')');
    uint64_t word[WORDS];
    if (name == NULL || end == NULL || end < name)
        return false;
    const char *at = end + 1;
    for (unsigned i = 0; i < WORDS; i++) {
        at += strspn(at, " ");
        if (*at == '\0' || *at == '\n')
            return false;
        word[i] = strtoull(at, NULL, 10); /* the state is a letter: 0 */
        at += strcspn(at, " ");
    }
    size_t len = (size_t)(end - name - 1);
    len = len < sizeof(ret->name) ? len : sizeof(ret->name) - 1;
    memcpy(ret->name, name + 1, len);
    ret->name[len] = '\0';
    ret->cpu_ns =
        (word[USER] + word[SYSTEM]) * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
    ret->cpu = (int32_t)word[PROCESSOR];
    return true;
}

bool host_thread_look(pid_t pid, pid_t tid, struct host_thread *ret)
{
    char path[64], line[1024];
    struct host_thread t = {.tid = tid};
    if (pid <= 0 || tid < 0)
        return false;
    if (tid == 0)
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    else
        snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(line, 1, sizeof(line) - 1, f); /* a name may hold a newline */
    fclose(f);
    line[n] = '\0';
    bool good = parse_stat(line, &t);
    if (good)
        *ret = t;
    return good;
}

int32_t host_thread_cpu(pid_t tid)
{
    struct host_thread t;
    return tid > 0 && host_thread_look(getpid(), tid, &t) ? t.cpu : -1;
}

int host_threads_look(pid_t pid, uint32_t most,
                      void (*each)(const struct host_thread *t, void *arg), void *arg)
{
    char path[64];
    uint32_t n = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = pid > 0 ? opendir(path) : NULL;
    if (dir == NULL)
        return pid > 0 ? -errno : -ESRCH;
    for (struct dirent *d; n < most && (d = readdir(dir)) != NULL;) {
        struct host_thread t;
        if (!isdigit((unsigned char)d->d_name[0]))
            continue;
        n++;
        if (host_thread_look(pid, (pid_t)strtol(d->d_name, NULL, 10), &t)) /* else it has ended */
            each(&t, arg);
    }
    closedir(dir);
    return 0;
}

int host_threads(void (*each)(pid_t tid, const char *name, void *arg), void *arg)
{
    DIR *dir = opendir("/proc/self/task");
    if (dir == NULL)
        return -errno;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        char path[300], name[32] = "";
        if (!isdigit((unsigned char)d->d_name[0]))
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue; /* it has ended */
        if (fgets(name, sizeof(name), f) != NULL)
            name[strcspn(name, "\n")] = '\0';
        fclose(f);
        each((pid_t)strtol(d->d_name, NULL, 10), name, arg);
    }
    closedir(dir);
    return 0;
}

struct placing {
    pid_t but;
    const struct host_cpus *cpus;
    const struct host_sched *sched;
    int pin_error, sched_error;
};

static void place(pid_t tid, const char *name, void *arg)
{
    struct placing *p = arg;
    (void)name;
    if (tid == p->but)
        return;
    int pin = host_cpus_empty(p->cpus) ? 0 : host_thread_pin_set(tid, p->cpus);
    int sched = p->sched == NULL ? 0 : host_thread_sched(tid, p->sched);
    if (pin != 0 && pin != -ESRCH) /* ... has ended meanwhile */
        p->pin_error = pin;
    if (sched != 0 && sched != -ESRCH)
        p->sched_error = sched;
}

void host_threads_place(pid_t but, const struct host_cpus *cpus, const struct host_sched *sched,
                        int *ret_pin_error, int *ret_sched_error)
{
    struct placing p = {.but = but, .cpus = cpus, .sched = sched};
    (void)host_threads(place, &p);
    *ret_pin_error = p.pin_error;
    *ret_sched_error = p.sched_error;
}

bool host_has_cpu(int32_t cpu)
{
    return cpu >= 0 && cpu < sysconf(_SC_NPROCESSORS_CONF);
}
