/* SPDX-License-Identifier: BSD-3-Clause */
/* Litmus tests of the x86 memory model between CPUs that are pinned. Variables lie on pages that
 * are far from each other, many instances in a row; the threads run through them together, each
 * with small delays by chance, and what they saw is counted by outcome. */
#include "lib.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 256, REGISTERS = 4, OUTCOMES = 16, THREADS = 4 };

struct variable {
    OWN_LINE volatile uint32_t v;
};

static OWN_PAGE struct variable xs[BATCH];
static OWN_PAGE struct variable ys[BATCH];
static OWN_PAGE struct registers {
    OWN_LINE volatile uint32_t r[REGISTERS];
} seen[THREADS][BATCH]; /* each thread writes its own */

static struct barrier barrier;

/* One access to x or y of an instance. */
enum op { END, STORE_1, STORE_2, LOAD_IT, FENCE };
struct step {
    enum op op;
    char variable;
    unsigned reg; /* bit of the outcome */
};

enum { STEPS = 4 };
struct litmus {
    const char *name;
    unsigned threads;
    struct step steps[THREADS][STEPS];
    bool final;    /* bits 0 and 1 of the outcome: x == 1, y == 1 at the end */
    int forbidden; /* outcome, bit i is register i; -1: none */
    int swapped;   /* thread whose order --break turns round */
};

/* clang-format off */
static const struct litmus tests[] = {
    {"SB", 2, {{{STORE_1, 'x', 0}, {LOAD_IT, 'y', 0}}, {{STORE_1, 'y', 0}, {LOAD_IT, 'x', 1}}}, false, -1, -1},
    {"SB+mfence", 2, {{{STORE_1, 'x', 0}, {FENCE, 0, 0}, {LOAD_IT, 'y', 0}},
                      {{STORE_1, 'y', 0}, {FENCE, 0, 0}, {LOAD_IT, 'x', 1}}}, false, 0, 0},
    {"MP", 2, {{{STORE_1, 'x', 0}, {STORE_1, 'y', 0}}, {{LOAD_IT, 'y', 0}, {LOAD_IT, 'x', 1}}}, false, 1, 0},
    {"LB", 2, {{{LOAD_IT, 'x', 0}, {STORE_1, 'y', 0}}, {{LOAD_IT, 'y', 1}, {STORE_1, 'x', 0}}}, false, 3, 0},
    {"CoRR", 2, {{{STORE_1, 'x', 0}}, {{LOAD_IT, 'x', 0}, {LOAD_IT, 'x', 1}}}, false, 1, 1},
    {"2+2W", 2, {{{STORE_1, 'x', 0}, {STORE_2, 'y', 0}}, {{STORE_1, 'y', 0}, {STORE_2, 'x', 0}}}, true, 3, 0},
    {"IRIW", 4, {{{STORE_1, 'x', 0}}, {{STORE_1, 'y', 0}}, {{LOAD_IT, 'x', 0}, {LOAD_IT, 'y', 1}},
                 {{LOAD_IT, 'y', 2}, {LOAD_IT, 'x', 3}}}, false, 5, 3},
};
/* clang-format on */

static struct {
    const struct litmus *test;
    int cpu[THREADS];
    uint64_t histogram[OUTCOMES];
    uint64_t seed;
    struct budget budget;
} job;

static void do_step(const struct step *s, unsigned thread, unsigned n)
{
    volatile uint32_t *v = s->variable == 'x' ? &xs[n].v : &ys[n].v;

    switch (s->op) {
    case STORE_1:
        *v = 1;
        break;
    case STORE_2:
        *v = 2;
        break;
    case LOAD_IT:
        seen[thread][n].r[s->reg] = *v;
        break;
    case FENCE:
        __asm__ volatile("mfence" ::: "memory");
        break;
    case END:
        break;
    }
}

static void run_steps(const struct step *steps, unsigned thread, unsigned n, uint64_t *seed)
{
    for (unsigned i = 0; i < n; i++) {
        delay((unsigned)(random_next(seed) >> 40) % 16);
        for (unsigned s = 0; s < STEPS; s++)
            do_step(&steps[s], thread, i);
    }
}

/* What must not look so: one thread's last step in all instances before its others, and the other
 * threads one after the other between. */
static void run_turned(const struct step *steps, unsigned thread, unsigned n, uint64_t *seed)
{
    static const useconds_t slot_us[THREADS] = {300, 900, 600, 300};

    if ((int)thread != job.test->swapped) {
        usleep(slot_us[thread]);
        run_steps(steps, thread, n, seed);
        return;
    }
    for (unsigned s = STEPS; s-- > 0;) {
        if (steps[s].op == END)
            continue;
        for (unsigned i = 0; i < n; i++)
            do_step(&steps[s], thread, i);
        usleep(1300);
    }
}

static unsigned outcome(unsigned n)
{
    unsigned bits = 0;

    if (job.test->final)
        return (xs[n].v == 1) | (unsigned)(ys[n].v == 1) << 1;
    for (unsigned t = 0; t < job.test->threads; t++)
        for (unsigned s = 0; s < STEPS; s++) {
            const struct step *step = &job.test->steps[t][s];

            if (step->op == LOAD_IT && seen[t][n].r[step->reg])
                bits |= 1u << step->reg;
        }
    return bits;
}

static void thread(unsigned t)
{
    uint64_t seed = job.seed * 31 + t + 1;
    bool turned = broken(job.test->name);
    unsigned done = 0, n;

    pin(job.cpu[t]);
    do {
        n = opt.rounds - done < BATCH ? opt.rounds - done : BATCH;

        if (t == 0)
            for (unsigned i = 0; i < BATCH; i++)
                xs[i].v = ys[i].v = 0;
        barrier_wait(&barrier, job.test->threads);
        if (turned)
            run_turned(job.test->steps[t], t, n, &seed);
        else
            run_steps(job.test->steps[t], t, n, &seed);
        barrier_wait(&barrier, job.test->threads);
        for (unsigned i = 0; t == 0 && i < n; i++)
            job.histogram[outcome(i)]++;
        done += n;
    } while (barrier_more(&barrier, job.test->threads, &job.budget, done));
}

static uint64_t instances; /* of all tests */

static void print_histogram(void)
{
    unsigned bits = job.test->threads == 4 ? 4 : 2;

    printf("litmus: %-9s", job.test->name);
    for (unsigned o = 0; o < 1u << bits; o++)
        if (job.histogram[o]) {
            instances += job.histogram[o];
            printf(" ");
            for (unsigned b = 0; b < bits; b++)
                putchar(o >> b & 1 ? '1' : '0');
            printf(":%lu%s", job.histogram[o], (int)o == job.test->forbidden ? "(forbidden)" : "");
        }
    printf("\n");
    fflush(stdout);
}

/* All pairs of few CPUs; of many, each with its neighbour and with the one across. */
static bool wanted_pair(unsigned a, unsigned b)
{
    return a != b && (ncpus <= 4 || b == (a + 1) % ncpus || b == (a + ncpus / 2) % ncpus);
}

static void run_test(const struct litmus *test)
{
    int a = -1, b = -1;
    unsigned pairs = 0;

    for (unsigned i = 0; i < ncpus; i++)
        for (unsigned k = 0; k < ncpus; k++)
            pairs += wanted_pair(i, k);
    memset(&job, 0, sizeof(job));
    job.test = test;
    for (unsigned i = 0; i < ncpus; i++)
        for (unsigned k = 0; k < ncpus; k++) {
            if (!wanted_pair(i, k))
                continue;
            job.seed = i * MAX_CPUS + k + 1;
            for (unsigned t = 0; t < THREADS; t++) /* writers and readers of IRIW on all four */
                job.cpu[t] = cpu_list[((t & 1 ? k : i) + (t & 2 ? 2 : 0)) % ncpus];
            job.budget = budget_start(opt.seconds * 1000000000ull / pairs, 1);
            on_threads(test->threads, thread);
            if (test->forbidden >= 0 && job.histogram[test->forbidden] && a < 0)
                a = cpu_list[i], b = cpu_list[k];
        }
    print_histogram();
    if (a >= 0)
        die("%s: the forbidden outcome came %lu times, first with CPUs %d and %d", test->name,
            job.histogram[test->forbidden], a, b);
}

int test_litmus(void)
{
    unsigned n = sizeof(tests) / sizeof(tests[0]);

    if (ncpus < 2) {
        summary("one CPU: nothing to see");
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        run_test(&tests[i]);
    summary("%u tests, %lu instances on %u CPUs, no forbidden outcome", n, instances, ncpus);
    return 0;
}
