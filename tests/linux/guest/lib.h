/* SPDX-License-Identifier: BSD-3-Clause */
/* What the test programs of the Linux guest share: options, threads pinned one a CPU, waiting, and
 * how a test ends. Every test is an ordinary Linux program and runs on any host as well.
 *
 * Data that several CPUs write lies on pages of its own: between hosts a page is what travels. */
#ifndef PANDO_GUEST_LIB_H
#define PANDO_GUEST_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_CPUS     256
#define PAGE         4096
#define OWN_PAGE     _Alignas(PAGE)
#define OWN_LINE     _Alignas(64)
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LOAD(x)      __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)  __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

struct options {
    unsigned seconds; /* clock, echo: in all; else of a part that is not through before */
    unsigned rounds, mib, port;
    unsigned patience;  /* seconds that one wait may last */
    const char *path;   /* disk: the device or file */
    const char *sys;    /* hotplug: in place of /sys/devices/system/cpu, for its own test */
    const char *broken; /* see broken() */
    bool no_counters;   /* ipi: /proc/interrupts need not show what was done */
    bool drop;          /* disk: may drop the page cache of the whole machine */
};

extern struct options opt;
extern unsigned ncpus;           /* that this process may use, */
extern int cpu_list[MAX_CPUS];   /* and which */
extern const char *program_name; /* of the test that runs */

/* True if the test shall make this error: --break=what, or --break for all that it can. */
bool broken(const char *what);

/* The last line that a test prints, and what the job reports. It fails with exit status 1. */
void summary(const char *fmt, ...) PRINTF(1, 2);
_Noreturn void die(const char *fmt, ...) PRINTF(1, 2);

uint64_t now_ns(void);
uint64_t random_next(uint64_t *state); /* xorshift64; the state must not be 0 */
void delay(unsigned spins);
void pin(int cpu);

/* Runs f on every CPU at once, thread i pinned to cpu_list[i], and waits for all. */
void on_every_cpu(void (*f)(unsigned i));
/* The same with n threads, thread i on cpu_list[i % ncpus]. */
void on_threads(unsigned n, void (*f)(unsigned i));

/* Waits, spinning; a wait that is too long is a failure that says what it waited for. */
struct spin {
    unsigned turns, sleep_us;
    uint64_t since;
};
void spin_once(struct spin *s, const char *what);
#define SPIN_UNTIL(condition, what)                                                                \
    for (struct spin spin_ = {0}; !(condition);)                                                   \
    spin_once(&spin_, what)

struct barrier {
    OWN_PAGE uint32_t arrived;
    OWN_LINE uint32_t generation;
    uint32_t over;
};
void barrier_wait(struct barrier *b, unsigned n);
/* The same, but who waits keeps its CPU busy for some time, without system calls: an idle CPU has
 * no page tables of ours loaded, and no TLB that anybody needs to shoot down. */
void barrier_wait_awake(struct barrier *b, unsigned n);

/* How long rounds go on: until all of --rounds are done, or the time is over and the least number
 * is done. A machine whose CPUs are far from each other does fewer rounds, not longer ones. */
struct budget {
    uint64_t end_ns;
    unsigned least;
};
struct budget budget_start(uint64_t ns, unsigned least);
/* Is there time for more, after this many rounds? Of one thread. */
bool budget_left(const struct budget *t, unsigned done);
/* The same for n threads, as a barrier, with one answer for all. */
bool barrier_more(struct barrier *b, unsigned n, const struct budget *t, unsigned done);

/* The tests: return 0, or die. */
int test_threads(void);
int test_clock(void);
int test_ipi(void);
int test_litmus(void);
int test_smc(void);
int test_hotplug(void);
int test_disk(void);
int test_echo(void);

#endif
