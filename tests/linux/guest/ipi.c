/* SPDX-License-Identifier: BSD-3-Clause */
/* What makes Linux send interrupts between CPUs, from every CPU to every other, with checks of what
 * they are for; at the end the kernel's own counters must show them. */
#include "ipi.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct barrier ipi_barrier;
struct budget ipi_budget;

static struct {
    OWN_PAGE uint32_t y;
    OWN_PAGE struct {
        OWN_LINE uint32_t x, saw;
    } fast[MAX_CPUS];
} fence;

/* Store buffering without a fence on the fast side: membarrier() on the slow one must stand for
 * both. Each round has its own number, so nothing is reset. */
static void membarrier_part(unsigned i)
{
    uint64_t seed = i + 1;
    uint32_t r = 0;

    while (barrier_more(&ipi_barrier, ncpus, &ipi_budget, r++)) {
        bool slow = r % ncpus == i;
        uint32_t x[MAX_CPUS];

        delay((unsigned)(random_next(&seed) % 64));
        if (!slow) {
            __atomic_store_n(&fence.fast[i].x, r, __ATOMIC_RELAXED);
            __asm__ volatile("" ::: "memory");
            fence.fast[i].saw = __atomic_load_n(&fence.y, __ATOMIC_RELAXED);
        } else if (!broken("membarrier")) {
            __atomic_store_n(&fence.y, r, __ATOMIC_RELAXED);
            if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
                die("membarrier: %s", strerror(errno));
        }
        for (unsigned k = 0; slow && k < ncpus; k++)
            x[k] = __atomic_load_n(&fence.fast[k].x, __ATOMIC_RELAXED);
        if (slow && broken("membarrier")) {
            usleep(1000);
            STORE(fence.y, r);
        }
        barrier_wait(&ipi_barrier, ncpus);
        for (unsigned k = 0; slow && k < ncpus; k++)
            if (k != i && x[k] != r && fence.fast[k].saw != r)
                die("round %u: CPU %d did not see CPU %d's store, nor the other way round, "
                    "in spite of membarrier()",
                    r, cpu_list[k], cpu_list[i]);
    }
}

static struct {
    OWN_PAGE uint32_t lap;
} slots[MAX_CPUS];
static uint64_t futex_turns; /* written by the holder of the token only */
static unsigned futex_laps;

/* The first CPU ends it: lap END goes round once more. */
static void futex_part(unsigned i)
{
    const uint32_t END = ~0u;
    unsigned next = (i + 1) % ncpus;

    for (uint32_t lap = 1, now = 0; now != END; lap++) {
        while ((now = LOAD(slots[i].lap)) != lap && now != END)
            syscall(SYS_futex, &slots[i].lap, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        if (i == 0 && !budget_left(&ipi_budget, lap - 1))
            now = END;
        if (now != END && !(lap == 3 && i == 0 && broken("futex")))
            futex_turns++;
        if (now != END && i == 0)
            futex_laps = lap;
        STORE(slots[next].lap, now == END ? now : next == 0 ? lap + 1 : lap);
        syscall(SYS_futex, &slots[next].lap, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    barrier_wait(&ipi_barrier, ncpus);
    if (futex_turns != (uint64_t)ncpus * futex_laps)
        die("the futex token had %lu turns, not %u", futex_turns, ncpus * futex_laps);
}

static void affinity_part(unsigned i)
{
    for (unsigned r = 0; budget_left(&ipi_budget, r); r++) {
        int to = cpu_list[(i + r) % ncpus], want = to;

        if (broken("affinity"))
            want = to + 1;
        pin(to);
        if (sched_getcpu() != want)
            die("a thread that moved to CPU %d runs on CPU %d", want, sched_getcpu());
    }
    pin(cpu_list[i]);
}

static struct {
    OWN_PAGE uint32_t wanted;
    OWN_PAGE struct {
        OWN_LINE uint32_t state;
        pid_t tid;
    } of[MAX_CPUS];
} policy;

/* Each turn a CPU makes the others, which run and do not sleep, real-time and ordinary again: the
 * kernel must interrupt a running CPU for that. */
static void policy_part(unsigned i)
{
    struct sched_param high = {.sched_priority = 1}, low = {0};

    policy.of[i].tid = (pid_t)syscall(SYS_gettid); /* the first barrier shows it to all */
    for (unsigned r = 0; barrier_more(&ipi_barrier, ncpus, &ipi_budget, r); r++) {
        int to = r % 2 ? SCHED_OTHER : SCHED_FIFO;
        bool mine = r / 2 % ncpus == i;

        for (unsigned k = 0; mine && k < ncpus; k++)
            if (k != i && !broken("policy") &&
                sched_setscheduler(policy.of[k].tid, to, to == SCHED_FIFO ? &high : &low) != 0)
                die("sched_setscheduler: %s", strerror(errno));
        if (mine)
            STORE(policy.wanted, r + 1);
        SPIN_UNTIL(LOAD(policy.wanted) == r + 1, "a change of policy");
        if (!mine && sched_getscheduler(0) != to)
            die("the policy of the thread on CPU %d did not change", cpu_list[i]);
    }
}

/* May this process do that at all? */
static bool may_be_realtime(void)
{
    struct sched_param high = {.sched_priority = 1}, low = {0};

    if (sched_setscheduler(0, SCHED_FIFO, &high) != 0)
        return false;
    return sched_setscheduler(0, SCHED_OTHER, &low) == 0;
}

enum { RES, CAL, TLB, ROWS };
static const char *const row_names[ROWS] = {"RES", "CAL", "TLB"};

/* Rows of /proc/interrupts by CPU number. */
static void read_counters(uint64_t counters[ROWS][MAX_CPUS])
{
    static char line[16 * MAX_CPUS + 256];
    int column_cpu[MAX_CPUS];
    unsigned columns = 0;
    FILE *f = fopen("/proc/interrupts", "r");
    char *at;

    memset(counters, 0, sizeof(uint64_t) * ROWS * MAX_CPUS);
    if (!f || !fgets(line, sizeof(line), f))
        die("/proc/interrupts cannot be read");
    for (at = line; columns < MAX_CPUS && (at = strstr(at, "CPU")); at += 3)
        column_cpu[columns++] = atoi(at + 3);
    while (fgets(line, sizeof(line), f)) {
        for (unsigned row = 0; row < ROWS; row++) {
            at = strstr(line, row_names[row]);
            if (!at || at > line + 4 || at[3] != ':')
                continue;
            at += 4;
            for (unsigned c = 0; c < columns; c++) {
                uint64_t n = strtoull(at, &at, 10);

                if (column_cpu[c] < MAX_CPUS)
                    counters[row][column_cpu[c]] = n;
            }
        }
    }
    fclose(f);
}

static uint64_t before[ROWS][MAX_CPUS], after[ROWS][MAX_CPUS];

static void check_counters(void)
{
    read_counters(after);
    if (broken("counters"))
        memcpy(before, after, sizeof(before));
    for (unsigned row = 0; row < ROWS; row++) {
        printf("ipi: %s by CPU:", row_names[row]);
        for (unsigned i = 0; i < ncpus; i++)
            printf(" %lu", after[row][cpu_list[i]] - before[row][cpu_list[i]]);
        printf("\n");
    }
    for (unsigned row = 0; row < ROWS && ncpus > 1 && !opt.no_counters; row++)
        for (unsigned i = 0; i < ncpus; i++)
            if (after[row][cpu_list[i]] == before[row][cpu_list[i]])
                die("CPU %d counted no %s interrupt", cpu_list[i], row_names[row]);
}

static void run(const char *name, void (*part)(unsigned i))
{
    uint64_t start = now_ns();

    ipi_budget = budget_start(opt.seconds * 1000000000ull, 4 * ncpus); /* each CPU in each role */
    on_every_cpu(part);
    printf("ipi: %-10s %.3f s\n", name, (double)(now_ns() - start) / 1e9);
    fflush(stdout);
}

int test_ipi(void)
{
    bool realtime = may_be_realtime();

    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
        die("membarrier cannot be registered: %s", strerror(errno));
    tlb_prepare();
    read_counters(before);
    run("tlb", tlb_part);
    run("membarrier", membarrier_part);
    slots[0].lap = 1;
    run("futex", futex_part);
    run("affinity", affinity_part);
    if (realtime)
        run("policy", policy_part);
    else
        printf("ipi: policy left out: real-time is not allowed here\n");
    check_counters();
    summary("at most %u rounds on %u CPUs: page tables, membarrier, futex, migration%s", opt.rounds,
            ncpus, realtime ? ", policy" : "");
    return 0;
}
