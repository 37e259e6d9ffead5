/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/host/machine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IRQ_WORDS = 3 };

/* ---- files --------------------------------------------------------------------------------- */

static int read_path(const char *path, char *buf, size_t size)
{
    size_t at = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf[0] = '\0';
    if (fd < 0)
        return -errno;
    while (at + 1 < size && (n = read(fd, buf + at, size - 1 - at)) > 0)
        at += (size_t)n;
    int rc = at + 1 < size && n < 0 ? -errno : 0; /* an offline CPU's file, for one */
    close(fd);
    if (rc != 0)
        at = 0;
    while (at > 0 && isspace((unsigned char)buf[at - 1]))
        at--;
    buf[at] = '\0';
    return rc;
}

static int vtext(const struct machine *m, char *buf, size_t size, const char *fmt, va_list args)
{
    char path[PATH_MAX];
    int at = snprintf(path, sizeof(path), "%s", m->root);
    int n = vsnprintf(path + at, sizeof(path) - (size_t)at, fmt, args);
    buf[0] = '\0';
    if (n < 0 || (size_t)(at + n) >= sizeof(path))
        return -ENAMETOOLONG;
    return read_path(path, buf, size);
}

int machine_text(const struct machine *m, char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = vtext(m, buf, size, fmt, args);
    va_end(args);
    return rc;
}

static bool parse_number(const char *text, int64_t *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-')
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *ret = v;
    return true;
}

bool machine_number(const struct machine *m, int64_t *ret, const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    int rc = vtext(m, text, sizeof(text), fmt, args);
    va_end(args);
    return rc == 0 && parse_number(text, ret);
}

bool machine_list(const struct machine *m, struct host_cpus *ret, const char *fmt, ...)
{
    char text[MACHINE_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int rc = vtext(m, text, sizeof(text), fmt, args);
    va_end(args);
    return rc == 0 && host_cpus_parse(text, ret);
}

bool machine_choice(const struct machine *m, char *buf, size_t size, const char *path)
{
    char text[256];
    if (machine_text(m, text, sizeof(text), "%s", path) != 0)
        return false;
    const char *open = strchr(text, '['), *close = open != NULL ? strchr(open, ']') : NULL;
    if (close == NULL || (size_t)(close - open) > size)
        return false;
    snprintf(buf, size, "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

bool machine_boot_word(const struct machine *m, const char *key, char *buf, size_t size)
{
    char line[MACHINE_TEXT_MAX];
    size_t len = strlen(key);
    char *save = NULL;
    bool found = false;
    (void)machine_text(m, line, sizeof(line), "/proc/cmdline");
    for (char *w = strtok_r(line, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        if (strncmp(w, key, len) == 0 && w[len] == '=') {
            snprintf(buf, size, "%s", w + len + 1); /* the last one counts */
            found = true;
        }
    return found;
}

/* ---- sets ---------------------------------------------------------------------------------- */

/* The path behind a controller in /proc/self/cgroup: "3:cpuset:/x", or v2's "0::/x". */
static bool cgroup_path(const char *text, const char *controller, char *buf, size_t size)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n'), *name = strchr(line, ':');
        const char *path = name != NULL ? strchr(name + 1, ':') : NULL;
        size_t len = end != NULL ? (size_t)(end - line) : strlen(line);
        if (path != NULL && path < line + len) {
            size_t n = (size_t)(path - name - 1), want = strlen(controller);
            const char *at = want > 0 ? strstr(name + 1, controller) : NULL;
            bool match = want == 0 ? n == 0
                                   : at != NULL && at + want <= path &&
                                         (at == name + 1 || at[-1] == ',') &&
                                         (at + want == path || at[want] == ',');
            if (match) {
                snprintf(buf, size, "%.*s", (int)(len - (size_t)(path - line) - 1), path + 1);
                return true;
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

/* What the process may be pinned to at all. Its affinity at the moment (taskset) is no limit: it
 * can be widened. */
static bool cpuset_of(const struct machine *m, struct host_cpus *ret)
{
    static const char *const files[] = {
        "/sys/fs/cgroup/cpuset%s/cpuset.effective_cpus",  /* v1 */
        "/sys/fs/cgroup/cpuset%s/cpuset.cpus",            /* v1, older kernels */
        "/sys/fs/cgroup%s/cpuset.cpus.effective",         /* v2 */
        "/sys/fs/cgroup/unified%s/cpuset.cpus.effective", /* v2 beside v1 */
    };
    char text[MACHINE_TEXT_MAX], path[512], file[768];
    if (machine_text(m, text, sizeof(text), "/proc/self/cgroup") != 0)
        return false;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (!cgroup_path(text, i < 2 ? "cpuset" : "", path, sizeof(path)))
            continue;
        const char *mark = strchr(files[i], '%');
        /* A container sees its own group as the root of the mount, under its path outside or "/".
         */
        for (int top = 0; top < 2; top++) {
            const char *group = top == 1 || strcmp(path, "/") == 0 ? "" : path;
            snprintf(file, sizeof(file), "%.*s%s%s", (int)(mark - files[i]), files[i], group,
                     mark + 2);
            if (machine_list(m, ret, "%s", file) && !host_cpus_empty(ret))
                return true;
        }
    }
    return false;
}

static struct host_cpus both(const struct host_cpus *a, const struct host_cpus *b)
{
    struct host_cpus r;
    for (size_t i = 0; i < sizeof(r.word) / sizeof(r.word[0]); i++)
        r.word[i] = a->word[i] & b->word[i];
    return r;
}

static void read_nodes(struct machine *m)
{
    struct host_cpus nodes; /* the same notation */
    m->nodes = 1;
    if (machine_list(m, &nodes, "/sys/devices/system/node/has_memory") ||
        machine_list(m, &nodes, "/sys/devices/system/node/online"))
        m->nodes = nodes.word[0] != 0 ? nodes.word[0] : 1;
}

int machine_open(struct machine *m, const char *root)
{
    char word[MACHINE_TEXT_MAX];
    struct host_cpus set;
    *m = (struct machine){0};
    if (strlen(root) >= sizeof(m->root))
        return -ENAMETOOLONG;
    memcpy(m->root, root, strlen(root) + 1);
    if (!machine_list(m, &m->online, "/sys/devices/system/cpu/online"))
        return -ENOENT;
    if (!machine_list(m, &m->possible, "/sys/devices/system/cpu/present"))
        m->possible = m->online;
    m->usable = m->online;
    if (cpuset_of(m, &set)) {
        m->usable = both(&m->online, &set);
        m->cpuset = memcmp(&m->usable, &m->online, sizeof(m->usable)) != 0;
    }
    m->tells_isolated = machine_list(m, &m->isolated, "/sys/devices/system/cpu/isolated");
    m->tells_nohz_full =
        machine_text(m, word, sizeof(word), "/sys/devices/system/cpu/nohz_full") == 0;
    (void)host_cpus_parse(word, &m->nohz_full); /* "(null)": none */
    m->tells_rcu_nocbs = machine_text(m, word, sizeof(word), "/proc/cmdline") == 0;
    if (machine_boot_word(m, "rcu_nocbs", word, sizeof(word))) {
        if (strcmp(word, "all") == 0)
            m->rcu_nocbs = m->possible;
        else
            (void)host_cpus_parse(word, &m->rcu_nocbs);
    }
    host_cpus_join(&m->rcu_nocbs, &m->nohz_full); /* implied */
    read_nodes(m);
    return 0;
}

/* ---- CPUs ---------------------------------------------------------------------------------- */

int machine_node_of(const struct machine *m, uint32_t cpu)
{
    struct host_cpus set;
    for (int n = 0; n < MACHINE_NODES_MAX; n++)
        if (machine_list(m, &set, "/sys/devices/system/node/node%d/cpulist", n) &&
            host_cpus_has(&set, cpu))
            return n;
    return -1;
}

struct host_cpus machine_siblings(const struct machine *m, uint32_t cpu)
{
    struct host_cpus set = {0};
    if (!machine_list(m, &set, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu))
        (void)machine_list(m, &set, "/sys/devices/system/cpu/cpu%u/topology/core_cpus_list", cpu);
    host_cpus_add(&set, cpu);
    return set;
}

uint32_t machine_deepest_idle_us(const struct machine *m, uint32_t cpu, char *name, size_t size)
{
    static const char dir[] = "/sys/devices/system/cpu/cpu%u/cpuidle/state%u/%s";
    int64_t us, off, deepest = 0;
    name[0] = '\0';
    for (unsigned s = 0; s < 16; s++) {
        if (!machine_number(m, &us, dir, cpu, s, "latency"))
            break;
        if (machine_number(m, &off, dir, cpu, s, "disable") && off != 0)
            continue;
        if (us > deepest && us <= UINT32_MAX) {
            deepest = us;
            (void)machine_text(m, name, size, dir, cpu, s, "name");
        }
    }
    return (uint32_t)deepest;
}

/* ---- memory and devices -------------------------------------------------------------------- */

int machine_device_node(const struct machine *m, const char *device)
{
    static const char *const files[] = {
        "/sys/class/net/%s/device/numa_node",
        "/sys/class/infiniband/%s/device/numa_node",
        "/sys/bus/pci/devices/%s/numa_node",
    };
    int64_t node;
    if (device[0] == '\0' || strchr(device, '/') != NULL || (m->nodes & (m->nodes - 1)) == 0)
        return -1;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[256];
        const char *mark = strchr(files[i], '%');
        snprintf(path, sizeof(path), "%.*s%s%s", (int)(mark - files[i]), files[i], device,
                 mark + 2);
        if (machine_number(m, &node, "%s", path) && node >= 0 && node < MACHINE_NODES_MAX)
            return (int)node;
    }
    return -1;
}

uint64_t machine_free_hugepages(const struct machine *m, uint32_t kib, int node)
{
    int64_t n = 0;
    bool there =
        node < 0
            ? machine_number(m, &n, "/sys/kernel/mm/hugepages/hugepages-%ukB/free_hugepages", kib)
            : machine_number(m, &n,
                             "/sys/devices/system/node/node%d/hugepages/hugepages-%ukB/"
                             "free_hugepages",
                             node, kib);
    return there && n > 0 ? (uint64_t)n : 0;
}

/* The number behind a word of a file such as /proc/meminfo. */
static uint64_t number_behind(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    return at != NULL ? strtoull(at + strlen(word), NULL, 10) : 0;
}

uint32_t machine_default_hugepage_kib(const struct machine *m)
{
    char text[MACHINE_TEXT_MAX];
    (void)machine_text(m, text, sizeof(text), "/proc/meminfo");
    return (uint32_t)number_behind(text, "Hugepagesize:");
}

uint64_t machine_free_kib(const struct machine *m, int node)
{
    char text[MACHINE_TEXT_MAX];
    if (machine_text(m, text, sizeof(text), "/sys/devices/system/node/node%d/meminfo", node) != 0)
        return 0;
    return number_behind(text, "MemFree:") + number_behind(text, "FilePages:");
}

/* ---- processes ----------------------------------------------------------------------------- */

pid_t machine_pinned(const struct machine *m, const char *name, uint32_t cpu, pid_t except)
{
    static const char word[] = "\nCpus_allowed_list:";
    char path[PATH_MAX], text[MACHINE_TEXT_MAX], comm[32];
    struct host_cpus set;
    pid_t found = 0;
    snprintf(path, sizeof(path), "%s/proc", m->root);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir != NULL && found == 0 && (d = readdir(dir)) != NULL;) {
        int64_t pid;
        if (!parse_number(d->d_name, &pid) || pid == except ||
            machine_text(m, comm, sizeof(comm), "/proc/%lld/comm", (long long)pid) != 0 ||
            strncmp(comm, name, 15) != 0 ||
            machine_text(m, text, sizeof(text), "/proc/%lld/status", (long long)pid) != 0)
            continue;
        char *list = strstr(text, word);
        if (list == NULL)
            continue;
        list += sizeof(word) - 1;
        list[strcspn(list, "\n")] = '\0';
        if (host_cpus_parse(list, &set) && host_cpus_count(&set) == 1 && host_cpus_has(&set, cpu))
            found = (pid_t)pid;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

/* ---- IRQs ---------------------------------------------------------------------------------- */

/* Who asked for it: the folders below /proc/irq/N. */
static void irq_name(const struct machine *m, const char *irq, char *buf, size_t size)
{
    char path[PATH_MAX];
    buf[0] = '\0';
    snprintf(path, sizeof(path), "%s/proc/irq/%s", m->root, irq);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
        if (d->d_name[0] != '.' && d->d_type == DT_DIR) {
            snprintf(buf, size, " %.40s", d->d_name);
            break;
        }
    closedir(dir);
}

uint32_t machine_irqs_of(const struct machine *m, uint32_t cpu, char *words, size_t size)
{
    char path[PATH_MAX], name[48];
    struct host_cpus set;
    uint32_t n = 0;
    size_t at = 0;
    words[0] = '\0';
    snprintf(path, sizeof(path), "%s/proc/irq", m->root);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (!isdigit((unsigned char)d->d_name[0]))
            continue;
        irq_name(m, d->d_name, name, sizeof(name));
        if (name[0] == '\0') /* nobody has it */
            continue;
        /* effective: where it is really delivered; empty until it was set up */
        if ((!machine_list(m, &set, "/proc/irq/%s/effective_affinity_list", d->d_name) ||
             host_cpus_empty(&set)) &&
            !machine_list(m, &set, "/proc/irq/%s/smp_affinity_list", d->d_name))
            continue;
        if (!host_cpus_has(&set, cpu))
            continue;
        if (n++ < IRQ_WORDS && at < size)
            at += (size_t)snprintf(words + at, size - at, "%s%s%s", at > 0 ? ", " : "", d->d_name,
                                   name);
    }
    closedir(dir);
    if (n > IRQ_WORDS && at < size)
        snprintf(words + at, size - at, ", ...");
    return n;
}
