/* SPDX-License-Identifier: BSD-3-Clause */
/* Litmus tests of the x86 memory model (tests/litmus/shapes.txt) between CPUs that are pinned, but
 * those that need interrupts. Both variables lie on pages that are far from each other, or, in
 * every second batch, on one page, many instances in a row; the threads run through them together,
 * each with small delays by chance, and what they saw is counted by outcome. */
#include "lib.h"
#include "tests/litmus/litmus.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "litmus_table.h"

enum { BATCH = 256, LINE = 64, TESTS = sizeof(litmus_tests) / sizeof(litmus_tests[0]) };

static OWN_PAGE uint8_t xs[BATCH * LINE];
static OWN_PAGE uint8_t ys[BATCH * LINE];
static OWN_PAGE struct seen {
    OWN_PAGE struct litmus_seen at[BATCH];
} seen[LITMUS_THREADS]; /* each thread writes its own */

static struct barrier barrier;

static struct {
    const struct litmus_test *test;
    char label[24];
    int cpu[LITMUS_THREADS];
    uint64_t histogram[LITMUS_OUTCOMES];
    uint64_t seed;
    struct budget budget;
} job;

static inline void litmus_gap(struct litmus_thread *t)
{
    const useconds_t *us = t->context;

    if (*us != 0)
        usleep(*us);
}

static void run_batch(struct litmus_thread *t, unsigned thread, unsigned n, uint64_t *seed)
{
    for (unsigned i = 0; i < n; i++) {
        delay((unsigned)(random_next(seed) >> 40) % 16);
        t->first = i;
        t->end = i + 1;
        job.test->run[thread](t);
    }
}

/* What must not look so: one thread's accesses the other way round, in all instances before the
 * next, and the other threads one after the other between. */
static void run_turned(struct litmus_thread *t, unsigned thread, unsigned n, uint64_t *seed)
{
    static const useconds_t slot_us[LITMUS_THREADS] = {300, 900, 600, 300};
    useconds_t gap_us = 1300;

    if (thread != job.test->turned) {
        usleep(slot_us[thread]);
        run_batch(t, thread, n, seed);
        return;
    }
    t->first = 0;
    t->end = n;
    t->context = &gap_us;
    job.test->turn(t);
    usleep(gap_us);
}

static void count(const struct litmus_thread *t, unsigned n)
{
    struct litmus_seen *of[LITMUS_THREADS];

    for (unsigned k = 0; k < LITMUS_THREADS; k++)
        of[k] = seen[k].at;
    for (unsigned i = 0; i < n; i++)
        job.histogram[litmus_outcome(job.test, of, *LM_AT(t, x, i), *LM_AT(t, y, i), i)]++;
}

static void thread(unsigned me)
{
    uint64_t seed = job.seed * 31 + me + 1;
    bool turned = job.test->turn != NULL && broken(job.label);
    unsigned done = 0, n, batch = 0;
    useconds_t no_gap = 0;

    pin(job.cpu[me]);
    do {
        bool same = batch++ % 2 != 0;
        struct litmus_thread t = {.x = xs,
                                  .y = same ? xs + LINE / 2 : ys,
                                  .stride = LINE,
                                  .seen = seen[me].at,
                                  .context = &no_gap};

        n = opt.rounds - done < BATCH ? opt.rounds - done : BATCH;
        for (unsigned i = 0; me == 0 && i < BATCH; i++)
            *LM_AT(&t, x, i) = *LM_AT(&t, y, i) = 0;
        barrier_wait(&barrier, job.test->threads);
        if (turned)
            run_turned(&t, me, n, &seed);
        else
            run_batch(&t, me, n, &seed);
        barrier_wait(&barrier, job.test->threads);
        if (me == 0)
            count(&t, n);
        done += n;
    } while (barrier_more(&barrier, job.test->threads, &job.budget, done));
}

static uint64_t instances; /* of all tests */

static uint64_t forbidden(void)
{
    uint64_t n = 0;

    for (unsigned o = 0; o < LITMUS_OUTCOMES; o++)
        n += litmus_has(job.test->allowed, o) ? 0 : job.histogram[o];
    return n;
}

static void print_histogram(void)
{
    char digits[8];

    printf("litmus: %-11s", job.label);
    for (unsigned o = 0; o < LITMUS_OUTCOMES; o++)
        if (job.histogram[o] != 0) {
            instances += job.histogram[o];
            printf(" %s:%lu%s", litmus_digits(job.test, o, digits), job.histogram[o],
                   litmus_has(job.test->allowed, o) ? "" : "(forbidden)");
        }
    printf("\n");
    fflush(stdout);
}

/* All pairs of few CPUs; of many, each with its neighbour and with the one across. */
static bool wanted_pair(unsigned a, unsigned b)
{
    return a != b && (ncpus <= 4 || b == (a + 1) % ncpus || b == (a + ncpus / 2) % ncpus);
}

static void run_test(const struct litmus_test *test)
{
    int a = -1, b = -1;
    unsigned pairs = 0;

    for (unsigned i = 0; i < ncpus; i++)
        for (unsigned k = 0; k < ncpus; k++)
            pairs += wanted_pair(i, k);
    memset(&job, 0, sizeof(job));
    job.test = test;
    snprintf(job.label, sizeof(job.label), "%s%s%s", test->name,
             strcmp(test->mode, "plain") == 0 ? "" : "+",
             strcmp(test->mode, "plain") == 0 ? "" : test->mode);
    for (unsigned i = 0; i < ncpus; i++)
        for (unsigned k = 0; k < ncpus; k++) {
            if (!wanted_pair(i, k))
                continue;
            job.seed = i * MAX_CPUS + k + 1;
            for (unsigned t = 0; t < LITMUS_THREADS;
                 t++) /* writers and readers of IRIW on all four */
                job.cpu[t] = cpu_list[((t & 1 ? k : i) + (t & 2 ? 2 : 0)) % ncpus];
            job.budget = budget_start(opt.seconds * 1000000000ull / pairs, 1);
            on_threads(test->threads, thread);
            if (forbidden() != 0 && a < 0)
                a = cpu_list[i], b = cpu_list[k];
        }
    print_histogram();
    if (a >= 0)
        die("%s: the forbidden outcome came %lu times, first with CPUs %d and %d", job.label,
            forbidden(), a, b);
}

int test_litmus(void)
{
    if (ncpus < 2) {
        summary("one CPU: nothing to see");
        return 0;
    }
    for (unsigned i = 0; i < TESTS; i++)
        run_test(&litmus_tests[i]);
    summary("%u tests, %lu instances on %u CPUs, no forbidden outcome", (unsigned)TESTS, instances,
            ncpus);
    return 0;
}
