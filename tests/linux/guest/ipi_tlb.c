/* SPDX-License-Identifier: BSD-3-Clause */
/* TLB shootdown: one CPU changes the mapping of a page that all have in their TLBs. When the system
 * call has returned, no CPU may see the old mapping. */
#include "ipi.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MARK = 0x5a5a0000 };

static int file = -1; /* two pages, MARK and MARK + 1 in their first words */
static char *window;  /* where one of them is mapped */
static _Thread_local sigjmp_buf escape;
static _Thread_local volatile sig_atomic_t probing;

static void on_fault(int number)
{
    if (!probing) {
        signal(number, SIG_DFL);
        return; /* and dies there */
    }
    siglongjmp(escape, 1);
}

/* False if the access faults. */
static bool probe(uint32_t *ret_value)
{
    bool there = false;

    probing = 1;
    if (sigsetjmp(escape, 0) == 0) {
        *ret_value = *(volatile uint32_t *)window;
        there = true;
    }
    probing = 0;
    return there;
}

static void map(unsigned which)
{
    if (mmap(window, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
             (off_t)which * PAGE) != window)
        die("mmap in place failed");
}

void tlb_prepare(void)
{
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    uint32_t words[2] = {MARK, MARK + 1};

    file = memfd_create("tlb", 0);
    if (file < 0 || pwrite(file, &words[0], 4, 0) != 4 || pwrite(file, &words[1], 4, PAGE) != 4 ||
        ftruncate(file, 2 * PAGE) != 0)
        die("no memory for the window");
    window = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window == MAP_FAILED)
        die("no address for the window");
    sigaction(SIGSEGV, &action, NULL);
    map(0);
}

static void must_see(unsigned i, unsigned which, const char *after)
{
    uint32_t value = 0;

    if (!probe(&value))
        die("after %s CPU %d has no page", after, cpu_list[i]);
    if (value != MARK + which)
        die("after %s CPU %d reads the old page", after, cpu_list[i]);
}

static void must_fault(unsigned i, const char *after)
{
    uint32_t value;

    if (probe(&value))
        die("after %s CPU %d still reads the page: its TLB is stale", after, cpu_list[i]);
}

void tlb_part(unsigned i)
{
    unsigned r = 0;

    do {
        unsigned which = r & 1;
        bool mine = r % ncpus == i, by_munmap = (r / ncpus) & 1;

        /* All have the page of the last round in their TLBs; it is replaced by the other one. */
        must_see(i, which, "the last round");
        barrier_wait(&ipi_barrier, ncpus);
        if (mine && !broken("stale"))
            map(which ^ 1);
        barrier_wait_awake(&ipi_barrier, ncpus);
        must_see(i, which ^ 1, "mmap over it");
        barrier_wait(&ipi_barrier, ncpus);
        if (mine && by_munmap && !broken("munmap"))
            munmap(window, PAGE);
        if (mine && !by_munmap && !broken("mprotect"))
            mprotect(window, PAGE, PROT_NONE);
        barrier_wait_awake(&ipi_barrier, ncpus);
        must_fault(i, by_munmap ? "munmap" : "mprotect");
        barrier_wait(&ipi_barrier, ncpus);
        if (mine)
            map(which ^ 1);
    } while (barrier_more(&ipi_barrier, ncpus, &ipi_budget, ++r));
}
