/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-sim: runs seeds, in several processes if asked, and sums up. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "tests/sim/sim.h"

enum { JOBS_MAX = 64, KEY_TRANSITIONS = 0x100, KEY_REACH, KEY_PLANT };

struct arguments {
    uint64_t seeds, seed;
    uint32_t jobs;
    bool trace, json, reach_all;
    enum sim_plant plant;
    const char *transitions;
};

static uint64_t current_seed;

static void assertion(const char *expr, const char *file, int line)
{
    fflush(stdout);
    fprintf(stderr,
            "%s:%d: assertion failed: %s\nrepeat: ./dev sim --seeds 1 --seed %llu --trace\n", file,
            line, expr, (unsigned long long)current_seed);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static enum sim_plant plant_of(const char *name, struct argp_state *state)
{
    static const char *const names[PLANTS] = {
#define X(ID, text) [PLANT_##ID] = text,
        SIM_PLANT_LIST(X)
#undef X
    };
    for (unsigned p = 0; p < PLANTS; p++)
        if (strcmp(name, names[p]) == 0)
            return (enum sim_plant)p;
    argp_error(state, "--plant %s: allowed are none, zap, late", name);
    return PLANT_NONE;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    char *end = NULL;
    if (key == KEY_PLANT) {
        a->plant = plant_of(arg, state);
        return 0;
    }
    if (key == KEY_TRANSITIONS) {
        a->transitions = arg;
        return 0;
    }
    uint64_t value = arg ? strtoull(arg, &end, 0) : 0;
    if (arg && (*arg == '\0' || *end != '\0'))
        argp_error(state, "'%s' is not a number", arg);
    switch (key) {
    case 'n':
        a->seeds = value;
        if (value == 0)
            argp_error(state, "--seeds must be at least 1");
        return 0;
    case 's':
        a->seed = value;
        return 0;
    case 'j':
        a->jobs = (uint32_t)value;
        if (value < 1 || value > JOBS_MAX)
            argp_error(state, "--jobs %s: allowed are 1 to %d", arg, JOBS_MAX);
        return 0;
    case 't':
        a->trace = true;
        return 0;
    case 'J':
        a->json = true;
        return 0;
    case KEY_REACH:
        a->reach_all = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What the model has: few nodes, no crash, transactions for all faults. */
static FILE *transitions;

static void as_the_model(struct sim_world *w)
{
    w->transitions = transitions;
    w->opt.nodes = 2 + (uint32_t)(w->seed % 2);
    w->opt.crash_at = 0;
    w->opt.txn_max = 64;
    sim_enough_frames(&w->opt);
}

static int run_one(const struct arguments *a, uint64_t seed)
{
    struct sim_world *w = calloc(1, sizeof(*w));
    w->seed = seed;
    w->trace = a->trace;
    w->plant = a->plant;
    w->adjust = transitions != NULL ? as_the_model : NULL;
    current_seed = seed;
    enum sim_result result = sim_run(w);
    if (result == SIM_PASS) {
        sim_coverage.passed++;
    } else {
        sim_coverage.failed++;
        fprintf(stderr, "%s violation: %s\n  at %.3f ms of virtual time, event %llu\n  ",
                result == SIM_SAFETY ? "SAFETY" : "LIVENESS", w->why, (double)w->now / 1e6,
                (unsigned long long)w->events);
        sim_print_options(w, stderr);
        fprintf(stderr, "  repeat: ./dev sim --seeds 1 --seed %llu --trace\n",
                (unsigned long long)seed);
    }
    if (a->trace)
        printf("seed %llu: %s, hash %016llx\n", (unsigned long long)seed, result ? "FAIL" : "pass",
               (unsigned long long)w->hash);
    free(w);
    return (int)result;
}

/* Child j of n runs the seeds j, j+n, ...; it stops at its first failures so that output stays
 * readable. */
static int run_share(const struct arguments *a, uint32_t j, uint64_t *progress)
{
    int worst = 0;
    for (uint64_t i = j; i < a->seeds; i += a->jobs) {
        int result = run_one(a, a->seed + i);
        if (result != 0 && (worst == 0 || result < worst))
            worst = result;
        __atomic_fetch_add(progress, 1, __ATOMIC_RELAXED);
        if (sim_coverage.failed >= 5)
            break;
    }
    return worst;
}

static bool open_transitions(struct arguments *a)
{
    if (a->transitions == NULL)
        return true;
    a->jobs = 1;
    transitions = fopen(a->transitions, "w");
    if (transitions == NULL)
        fprintf(stderr, "pando-sim: %s: %s\n", a->transitions, strerror(errno));
    return transitions != NULL;
}

static void merge(const struct sim_coverage *from)
{
    /* All members are 64-bit counters, but for the histogram's max. */
    uint64_t max = sim_coverage.fault_ns.max;
    uint64_t *to = (uint64_t *)&sim_coverage;
    const uint64_t *add = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof(sim_coverage) / sizeof(uint64_t); i++)
        to[i] += add[i];
    sim_coverage.fault_ns.max = max > from->fault_ns.max ? max : from->fault_ns.max;
}

struct shared {
    uint64_t progress;
    struct sim_coverage coverage[JOBS_MAX];
};

static int run_jobs(const struct arguments *a, struct shared *s)
{
    bool tty = isatty(STDERR_FILENO);
    int worst = 0;
    pid_t pid[JOBS_MAX];
    for (uint32_t j = 0; j < a->jobs; j++) {
        pid[j] = fork();
        if (pid[j] < 0) {
            fprintf(stderr, "pando-sim: fork: %s\n", strerror(errno));
            exit(SIM_USAGE);
        }
        if (pid[j] == 0) {
            int result = run_share(a, j, &s->progress);
            s->coverage[j] = sim_coverage;
            fflush(NULL);
            _exit(result);
        }
    }
    uint32_t left = a->jobs;
    double last = seconds_now(), start = last;
    while (left > 0) {
        int status;
        pid_t done = waitpid(-1, &status, WNOHANG);
        if (done > 0) {
            left--;
            int result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            if (result != 0 && (worst == 0 || result > 100))
                worst = result;
            continue;
        }
        usleep(20000);
        if (seconds_now() - last > (tty ? 1 : 10)) {
            last = seconds_now();
            uint64_t n = __atomic_load_n(&s->progress, __ATOMIC_RELAXED);
            fprintf(stderr, "%ssim: %llu of %llu seeds, %.0f a second%s", tty ? "\r" : "",
                    (unsigned long long)n, (unsigned long long)a->seeds, (double)n / (last - start),
                    tty ? "   " : "\n");
        }
    }
    if (tty)
        fprintf(stderr, "\n");
    (void)pid;
    for (uint32_t j = 0; j < a->jobs; j++)
        merge(&s->coverage[j]);
    return worst;
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"seeds", 'n', "N", 0, "how many seeds (default 2000)", 0},
        {"seed", 's', "S", 0, "first seed (default: drawn from the clock, printed)", 0},
        {"jobs", 'j', "J", 0, "processes (default: one per CPU)", 0},
        {"trace", 't', NULL, 0, "print every event and action (for a single seed)", 0},
        {"json", 'J', NULL, 0, "last line: one JSON object", 0},
        {"plant", KEY_PLANT, "BUG", 0,
         "plant a bug that must be caught: zap (an UNMAP that does nothing), "
         "late (pages in place: sim.h)",
         0},
        {"reach-all", KEY_REACH, NULL, 0,
         "fail if something that the protocol can do was never reached", 0},
        {"transitions", KEY_TRANSITIONS, "FILE", 0,
         "write what steps did, for tests/model/follow.c; 2 and 3 nodes, no crashes, one job", 0},
        {0}};
    static const struct argp argp = {
        options,
        parse,
        NULL,
        "Simulates Pando's coherence and transport over a faulty network.\v"
        "Exit status: 0 passed, 2 safety violation, 3 liveness violation, 4 usage, 5 not all was "
        "reached (--reach-all).",
        NULL,
        NULL,
        NULL};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    struct arguments a = {.seeds = 2000,
                          .seed = ((uint64_t)t.tv_sec % 1000000) * 100000,
                          .jobs = cpus < 1          ? 1
                                  : cpus > JOBS_MAX ? JOBS_MAX
                                                    : (uint32_t)cpus};
    argp_err_exit_status = SIM_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    if (!open_transitions(&a))
        return SIM_USAGE;
    if (a.seeds < a.jobs)
        a.jobs = (uint32_t)a.seeds;
    pando_check_set_handler(assertion);
    fprintf(stderr, "sim: seeds %llu to %llu, %u jobs\n", (unsigned long long)a.seed,
            (unsigned long long)(a.seed + a.seeds - 1), a.jobs);
    fflush(NULL);
    struct shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED) {
        fprintf(stderr, "pando-sim: mmap: %s\n", strerror(errno));
        return SIM_USAGE;
    }
    double began = seconds_now();
    int worst = run_jobs(&a, s);
    if (worst > 100)
        fprintf(stderr, "sim: a job died of signal %d\n", worst - 128);
    if (!a.json)
        coverage_print(stdout, false, seconds_now() - began);
    if (worst != 0 && sim_coverage.failed == 0)
        sim_coverage.failed = 1;
    if (a.json)
        coverage_print(stdout, true, seconds_now() - began);
    else
        printf("sim: %llu seeds passed, %llu failed, %.1f s\n",
               (unsigned long long)sim_coverage.passed, (unsigned long long)sim_coverage.failed,
               seconds_now() - began);
    char missing[2048];
    if (worst == 0 && a.reach_all && coverage_missing(missing, sizeof(missing)) != 0)
        worst = SIM_UNREACHED;
    return worst;
}
