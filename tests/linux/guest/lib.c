/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options opt = {.seconds = 2, .rounds = 200, .mib = 8, .port = 7, .patience = 120};
unsigned ncpus;
int cpu_list[MAX_CPUS];
const char *program_name = "?";

bool broken(const char *what)
{
    return opt.broken && (!*opt.broken || strcmp(opt.broken, what) == 0);
}

/* The words also go to the file that the environment names: the job's line quotes them. */
static void last_words(const char *mark, const char *fmt, va_list args)
{
    const char *file = getenv("PANDO_DETAIL");
    char line[400];

    vsnprintf(line, sizeof(line), fmt, args);
    printf("%s: %s%s\n", program_name, mark, line);
    fflush(stdout);
    if (file) {
        int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd >= 0) {
            dprintf(fd, "%s\n", line);
            close(fd);
        }
    }
}

void summary(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    last_words("", fmt, args);
    va_end(args);
}

void die(const char *fmt, ...)
{
    static uint32_t dying;
    va_list args;

    if (__atomic_exchange_n(&dying, 1, __ATOMIC_ACQ_REL)) /* the first failure is the one to tell */
        for (;;)
            pause();
    va_start(args, fmt);
    last_words("FAIL: ", fmt, args);
    va_end(args);
    _exit(1);
}

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

void delay(unsigned spins)
{
    while (spins--)
        __builtin_ia32_pause();
}

void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        die("a thread cannot be pinned to CPU %d", cpu);
}

struct worker {
    pthread_t thread;
    unsigned index;
    void (*f)(unsigned i);
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    pin(cpu_list[w->index % ncpus]);
    w->f(w->index);
    return NULL;
}

void on_threads(unsigned n, void (*f)(unsigned i))
{
    static struct worker workers[MAX_CPUS];

    for (unsigned i = 0; i < n; i++) {
        workers[i].index = i;
        workers[i].f = f;
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
            die("thread %u of %u cannot be created", i, n);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
}

void on_every_cpu(void (*f)(unsigned i))
{
    on_threads(ncpus, f);
}

/* There may be fewer real CPUs than threads, and over hosts a CPU that looks often takes pages from
 * the one it waits for, its kernel's page tables, too: each sleep is at most an eighth of what was
 * waited so far, and a second. */
static void sleep_longer(struct spin *s)
{
    uint64_t waited_us = s->since ? (now_ns() - s->since) / 1000 : 0;
    unsigned most = waited_us < 80000 ? 10000 : waited_us < 8000000 ? waited_us / 8 : 1000000;

    s->sleep_us = s->sleep_us == 0 ? 100 : 2 * s->sleep_us;
    if (s->sleep_us > most)
        s->sleep_us = most;
    usleep(s->sleep_us);
}

void spin_once(struct spin *s, const char *what)
{
    __builtin_ia32_pause();
    if (++s->turns % 1024)
        return;
    if (s->turns < 16 * 1024)
        sched_yield();
    else
        sleep_longer(s);
    if (!s->since)
        s->since = now_ns();
    else if (now_ns() - s->since > opt.patience * 1000000000ull)
        die("waited %u s for %s on CPU %d", opt.patience, what, sched_getcpu());
}

#define AWAKE_NS UINT64_C(20000000000)

/* The last to arrive lets all go on. */
static bool is_last(struct barrier *b, unsigned n, uint32_t generation)
{
    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) != n)
        return false;
    b->arrived = 0;
    STORE(b->generation, generation + 1);
    return true;
}

void barrier_wait(struct barrier *b, unsigned n)
{
    uint32_t generation = LOAD(b->generation);

    if (!is_last(b, n, generation))
        SPIN_UNTIL(LOAD(b->generation) != generation, "the other CPUs at a barrier");
}

void barrier_wait_awake(struct barrier *b, unsigned n)
{
    uint32_t generation = LOAD(b->generation);
    uint64_t end = now_ns() + AWAKE_NS;
    bool awake = !is_last(b, n, generation);

    for (unsigned turns = 1; awake && LOAD(b->generation) == generation; turns++) {
        __builtin_ia32_pause();
        awake = turns % 1024 != 0 || now_ns() < end;
    }
    SPIN_UNTIL(LOAD(b->generation) != generation, "the other CPUs at a barrier");
}

struct budget budget_start(uint64_t ns, unsigned least)
{
    return (struct budget){.end_ns = now_ns() + ns, .least = least};
}

bool budget_left(const struct budget *t, unsigned done)
{
    return done < opt.rounds && (done < t->least || now_ns() < t->end_ns);
}

bool barrier_more(struct barrier *b, unsigned n, const struct budget *t, unsigned done)
{
    uint32_t generation = LOAD(b->generation);

    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == n) {
        b->arrived = 0;
        b->over = !budget_left(t, done);
        STORE(b->generation, generation + 1);
    } else {
        SPIN_UNTIL(LOAD(b->generation) != generation, "the other CPUs at a barrier");
    }
    return !b->over; /* nobody writes it before all have come to the next barrier */
}
