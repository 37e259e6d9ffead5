/* SPDX-License-Identifier: BSD-3-Clause */
/* Code written by one CPU and executed by another, for every pair, each CPU with itself too. The
 * function spans cache lines and the boundary of two pages; its value has one right answer. */
#include "lib.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ADDS = 14, CODE_BYTES = 5 * (ADDS + 1) + 1, AT = PAGE - 37, SIZE = 2 * PAGE };

static char *writable, *executable; /* the same pages; the same address, but for "alias" */
static struct {
    OWN_PAGE uint32_t ready;
    OWN_PAGE uint32_t done;
    uint32_t expected;
    uint32_t over; /* there is no other turn */
} turn;
static struct budget budget;
static unsigned turns;
static const char *variant;

/* mov $a, %eax; add $b, %eax; ...; ret. Returns the function's value. */
static uint32_t write_code(char *at, uint32_t seed)
{
    uint64_t x = seed * 2654435761u + 1;
    uint32_t sum = 0;

    for (unsigned i = 0; i <= ADDS; i++, at += 5) {
        uint32_t term = (uint32_t)random_next(&x);

        at[0] = i == 0 ? (char)0xb8 : 0x05;
        memcpy(at + 1, &term, 4);
        sum += term;
    }
    *at = (char)0xc3;
    return sum;
}

static void serialise(void)
{
    unsigned a, b, c, d;

    __cpuid(0, a, b, c, d);
}

static void protect(int protection)
{
    if (strcmp(variant, "wx") == 0 && mprotect(writable, SIZE, protection) != 0)
        die("%s: mprotect failed", variant);
}

static void write_turn(unsigned r)
{
    protect(PROT_READ | PROT_WRITE);
    if (!(r == 2 * ncpus && broken(variant)))
        turn.expected = write_code(writable + AT, r + 1);
    else
        turn.expected = 0; /* as if the other CPU saw what was there before */
    protect(PROT_READ | PROT_EXEC);
    STORE(turn.ready, r + 1);
}

static void execute_turn(unsigned r, unsigned from, unsigned to)
{
    uint32_t (*function)(void);
    char *code = executable + AT;
    uint32_t got;

    memcpy(&function, &code, sizeof(function));
    serialise();
    got = function();
    if (got != turn.expected)
        die("%s, turn %u: code that CPU %d wrote gives %x on CPU %d, not %x", variant, r,
            cpu_list[from], got, cpu_list[to], turn.expected);
    STORE(turn.done, r + 1);
}

/* The writer whose turn it is sees whether there is time for it. */
static void thread(unsigned i)
{
    for (unsigned r = 0; !LOAD(turn.over); r++) {
        unsigned from = r % ncpus, to = (r / ncpus) % ncpus;

        if (from == i) {
            SPIN_UNTIL(LOAD(turn.done) == r || LOAD(turn.over), "the turn before to end");
            if (LOAD(turn.over))
                return;
            if (!budget_left(&budget, r)) {
                turns += r;
                STORE(turn.over, 1);
                return;
            }
            write_turn(r);
        }
        if (to == i) {
            SPIN_UNTIL(LOAD(turn.ready) == r + 1 || LOAD(turn.over), "code to be written");
            if (LOAD(turn.ready) == r + 1)
                execute_turn(r, from, to);
        }
    }
}

static void map_code(void)
{
    int both = PROT_READ | PROT_WRITE;
    int first = strcmp(variant, "rwx") == 0 ? both | PROT_EXEC : both;
    int fd = memfd_create("code", 0);

    if (fd < 0 || ftruncate(fd, SIZE) != 0)
        die("no memory for code");
    writable = executable = mmap(NULL, SIZE, first, MAP_SHARED, fd, 0);
    if (strcmp(variant, "alias") == 0)
        executable = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED || executable == MAP_FAILED)
        die("%s: code cannot be mapped", variant);
    close(fd);
}

int test_smc(void)
{
    static const char *const variants[] = {"rwx", "wx", "alias"};

    for (unsigned v = 0; v < 3; v++) {
        variant = variants[v];
        turn.ready = turn.done = turn.over = 0;
        budget = budget_start(opt.seconds * 1000000000ull, 2 * ncpus * ncpus); /* every pair */
        map_code();
        on_every_cpu(thread);
        munmap(writable, SIZE);
        if (executable != writable)
            munmap(executable, SIZE);
        printf("smc: %s: %u functions\n", variant, turn.done);
    }
    summary("%u functions of %d bytes, three ways, over %u CPUs", turns, (int)CODE_BYTES, ncpus);
    return 0;
}
