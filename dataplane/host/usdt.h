/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Static probes (USDT): named places in a program that bpftrace, perf, SystemTap or gdb attach to
 * while it runs. EDGE.
 *
 * A program has one list of its probes, which is also their manual (dataplane/engine/probes.h,
 * hypervisor-glue/vkvm/probes.h): name, number of arguments, cost. How to add one: HACKING.md.
 *
 *   USDT_AT_HAND  where nobody attached, the probe is one nop. For arguments that the code around
 *                 it has in registers or in memory anyway.
 *   USDT_GUARDED  a counter says whether somebody attached, and only then are arguments looked at:
 *                 else a comparison with memory and a branch that is not taken, out of whose way
 *                 all the rest lies. For arguments that cost something.
 *
 * What an attached probe costs is the kernel's: a trap, 0.6 us on a machine of today (Linux 6.18).
 *
 * Arguments are integers or pointers; a tool sees their size and sign as the compiler does. Names
 * and arguments are what scripts rely on: change them as one would an interface. Without
 * <sys/sdt.h> (systemtap-sdt-dev; the build option usdt) no probe leaves anything in the program,
 * and its arguments are checked all the same.
 */
#ifndef PANDO_HOST_USDT_H
#define PANDO_HOST_USDT_H

#include <stdbool.h>

enum usdt_cost { USDT_AT_HAND, USDT_GUARDED };

#define USDT_COUNT_(a, b, c, d, e, f, n, ...) n
/* How many arguments, 1..6: bpftrace knows no more on x86-64. */
#define USDT_COUNT(...) USDT_COUNT_(__VA_ARGS__, 6, 5, 4, 3, 2, 1, 0)

/* For the head of a list, once for each of its probes. */
#define USDT_DECLARE(provider, name, args, cost)                                                   \
    enum { provider##_##name##_args = (args), provider##_##name##_cost = USDT_##cost };            \
    USDT_DECLARE_SEMAPHORE(provider##_##name##_semaphore)

#ifdef PANDO_USDT
#define SDT_USE_VARIADIC
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#ifdef __clang__ /* which warns of what that header does */
#define USDT_QUIET(words) _Pragma(words)
#else
#define USDT_QUIET(words)
#endif

/* How many have attached: written by the kernel, in a section that tools find by the ELF note. */
#define USDT_DECLARE_SEMAPHORE(semaphore)                                                          \
    extern unsigned short semaphore __attribute__((visibility("hidden")));
/* In one file of each program. */
#define USDT_DEFINE(provider, name)                                                                \
    unsigned short provider##_##name##_semaphore                                                   \
        __attribute__((section(".probes"), visibility("hidden")));

/* Whether somebody has attached: for what only a probe needs. Read anew each time, in one
 * comparison. */
static inline __attribute__((always_inline)) bool usdt_wanted(unsigned short *semaphore)
{
    __asm__ volatile("" : "+m"(*semaphore));
    return __builtin_expect(*semaphore != 0, false);
}
#define USDT_WANTED(provider, name) usdt_wanted(&provider##_##name##_semaphore)

#define USDT(provider, name, ...)                                                                  \
    do {                                                                                           \
        _Static_assert(USDT_COUNT(__VA_ARGS__) == (int)provider##_##name##_args,                   \
                       "as many arguments as the list says");                                      \
        USDT_QUIET("clang diagnostic push")                                                        \
        USDT_QUIET("clang diagnostic ignored \"-Wgnu-zero-variadic-macro-arguments\"")             \
        if (provider##_##name##_cost == (int)USDT_AT_HAND || USDT_WANTED(provider, name))          \
            STAP_PROBEV(provider, name, __VA_ARGS__);                                              \
        USDT_QUIET("clang diagnostic pop")                                                         \
    } while (0)
#else
#define USDT_DECLARE_SEMAPHORE(semaphore)
#define USDT_DEFINE(provider, name)
#define USDT_WANTED(provider, name) false

static inline void usdt_nothing(int n, ...)
{
    (void)n;
}

#define USDT(provider, name, ...)                                                                  \
    do {                                                                                           \
        _Static_assert(USDT_COUNT(__VA_ARGS__) == (int)provider##_##name##_args,                   \
                       "as many arguments as the list says");                                      \
        if (false)                                                                                 \
            usdt_nothing(0, __VA_ARGS__);                                                          \
    } while (0)
#endif

#endif
