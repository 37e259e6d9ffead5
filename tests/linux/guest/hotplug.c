/* SPDX-License-Identifier: BSD-3-Clause */
/* Every CPU but the first goes offline and comes back, while threads compute what has one right
 * result. */
#include "lib.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOAD_STEPS = 100000 };

static uint32_t ended;
static uint64_t loads;

static uint64_t chain(uint64_t x)
{
    for (unsigned i = 0; i < LOAD_STEPS; i++)
        random_next(&x);
    return x;
}

static void *load_main(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg + 1, right = chain(seed), n = 0;

    while (!LOAD(ended)) {
        uint64_t got = chain(seed) + (n == 3 && broken("load"));

        if (got != right)
            die("a computation under hotplug gave %lx, not %lx", got, right);
        n++;
    }
    __atomic_add_fetch(&loads, n, __ATOMIC_RELAXED);
    return NULL;
}

/* <dir>/cpuN/online: 1, 0, or -1 if it cannot be read. */
static int get_online(const char *dir, int cpu)
{
    char name[300];
    FILE *f;
    int value;

    snprintf(name, sizeof(name), "%s/cpu%d/online", dir, cpu);
    f = fopen(name, "re");
    if (!f)
        return -1;
    if (fscanf(f, "%d", &value) != 1)
        value = -1;
    fclose(f);
    return value;
}

static void set_online(const char *dir, int cpu, int value)
{
    char name[300];
    FILE *f;
    int bad;

    snprintf(name, sizeof(name), "%s/cpu%d/online", dir, cpu);
    f = fopen(name, "we");
    if (!f)
        die("%s: %s", name, strerror(errno));
    bad = fprintf(f, "%d\n", value) < 0;
    bad |= fclose(f) != 0;
    if (bad)
        die("CPU %d does not go %s: %s", cpu, value ? "online" : "offline", strerror(errno));
}

static bool can_run_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0 && sched_getcpu() == cpu;
}

/* One way and back. */
static void cycle(const char *dir, int cpu, int home)
{
    uint64_t start = now_ns(), away;

    if (!broken("offline"))
        set_online(dir, cpu, 0);
    if (get_online(dir, cpu) != 0)
        die("CPU %d is still online", cpu);
    if (!opt.sys && can_run_on(cpu))
        die("a thread runs on CPU %d, which is offline", cpu);
    away = now_ns();
    usleep(20000);
    if (!broken("online"))
        set_online(dir, cpu, 1);
    if (get_online(dir, cpu) != 1)
        die("CPU %d did not come back", cpu);
    if (!opt.sys && !can_run_on(cpu))
        die("no thread runs on CPU %d, which came back", cpu);
    pin(home);
    printf("hotplug: CPU %d went in %.1f ms and was back after %.1f ms\n", cpu,
           (double)(away - start) / 1e6, (double)(now_ns() - start) / 1e6);
    fflush(stdout);
}

/* CPU numbers below dir that can go offline; with --sys these need not be ours. */
static unsigned find(const char *dir, int *cpus, unsigned max)
{
    unsigned n = 0;

    for (int cpu = 1; cpu < MAX_CPUS && n < max; cpu++)
        if (get_online(dir, cpu) == 1)
            cpus[n++] = cpu;
    return n;
}

int test_hotplug(void)
{
    const char *dir = opt.sys ? opt.sys : "/sys/devices/system/cpu";
    pthread_t threads[MAX_CPUS];
    int cpus[MAX_CPUS];
    unsigned n = find(dir, cpus, MAX_CPUS);

    if (n == 0) {
        summary("no CPU that can go offline");
        return 0;
    }
    for (unsigned i = 0; i < ncpus; i++)
        if (pthread_create(&threads[i], NULL, load_main, (void *)(uintptr_t)i) != 0)
            die("no thread");
    pin(cpu_list[0]);
    for (unsigned r = 0; r < opt.rounds; r++)
        for (unsigned i = 0; i < n; i++)
            cycle(dir, cpus[i], cpu_list[0]);
    if (broken("load"))
        sleep(2);
    STORE(ended, 1);
    for (unsigned i = 0; i < ncpus; i++)
        pthread_join(threads[i], NULL);
    summary("%u CPUs went and came back %u times; %lu computations meanwhile", n, opt.rounds,
            loads);
    return 0;
}
