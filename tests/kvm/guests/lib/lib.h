/* SPDX-License-Identifier: BSD-3-Clause */
/* Runtime of the bare-metal guests. All of it but ring0.c and the assembly runs in ring 3.
 *
 * A guest defines guest_name and guest_main(), which every CPU calls. When all have returned, the
 * first CPU prints "PASS name" and ends the VM; fail() ends it at once.
 */
#ifndef PANDO_GUEST_LIB_H
#define PANDO_GUEST_LIB_H

#include "layout.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/base/hist.h"

#define TESTDEV      0xFEB00000u
#define PAGE         4096u
#define PAGE_ALIGNED __attribute__((aligned(4096)))
#define PORT_CONSOLE 0x3F8

struct cpu {
    uint64_t counts[256]; /* interrupts taken, by vector; written by ring 0 of this CPU only */
    uint64_t exc_vector, exc_error, exc_rip, exc_rsp, exc_cr2, exc_cs;
    uint32_t index, apic_id;
    uint32_t online;
    uint32_t napped;          /* the timer has interrupted this CPU before */
    uint64_t slow, slow_left; /* TSC cycles that each of the next slow_left interrupts takes ... */
    uint64_t rearm;           /* ... before it writes this to the timer's initial count; 0: no */
    /* Ring 0's handler of VECTOR_PROBE loads probe_n words of 32 bits, from probe_at on with
     * probe_step bytes between, to probe_out, adds probe_next to probe_at and what it wrote to
     * probe_out, and counts itself: that many interrupts have loaded. */
    uint64_t probe_at, probe_n, probe_step, probe_next;
    uint32_t *probe_out;
};

_Static_assert(offsetof(struct cpu, counts) == CPU_COUNTS, "layout.h");
_Static_assert(offsetof(struct cpu, exc_vector) == CPU_EXC_VECTOR, "layout.h");
_Static_assert(offsetof(struct cpu, exc_cs) == CPU_EXC_CS, "layout.h");
_Static_assert(offsetof(struct cpu, slow) == CPU_SLOW, "layout.h");
_Static_assert(offsetof(struct cpu, slow_left) == CPU_SLOW_LEFT, "layout.h");
_Static_assert(offsetof(struct cpu, rearm) == CPU_REARM, "layout.h");
_Static_assert(offsetof(struct cpu, probe_at) == CPU_PROBE_AT, "layout.h");
_Static_assert(offsetof(struct cpu, probe_out) == CPU_PROBE_OUT, "layout.h");
_Static_assert(sizeof(struct cpu) <= PAGE, "one page");

/* A page of its own, not written after the start: sending an interrupt moves no page. */
struct cpu_ids {
    uint8_t apic[MAX_CPUS];
} PAGE_ALIGNED;
extern struct cpu_ids cpu_ids;

extern uint8_t cpu_blocks[MAX_CPUS][CPU_BLOCK];
extern unsigned ncpus;
extern const char guest_name[];
void guest_main(unsigned cpu);

/* --- CPU --- */
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

/* Returns the count that is left: 0 when the string went out completely. */
static inline uint64_t rep_outsb(uint16_t port, const void **data, uint64_t len)
{
    __asm__ volatile("rep outsb" : "+S"(*data), "+c"(len) : "d"(port) : "memory");
    return len;
}

/* entry.S: asks ring 0 for one of the SYS_ services of layout.h. */
uint64_t system_call(uint64_t a, uint64_t b, uint64_t number);

static inline struct cpu *cpu_data(unsigned index)
{
    return (struct cpu *)(void *)cpu_blocks[index];
}

static inline struct cpu *this_cpu(void)
{
    uintptr_t sp;

    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
    return (struct cpu *)(sp & -(uintptr_t)CPU_BLOCK);
}

static inline uint64_t irq_count(unsigned cpu, unsigned vector)
{
    return __atomic_load_n(&cpu_data(cpu)->counts[vector], __ATOMIC_ACQUIRE);
}

/* --- memory and console: lib.c, console.c --- */
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memmove(void *to, const void *from, size_t n);
size_t strlen(const char *s);
void console_write(const char *text, size_t len);
void console_lock(void);
void console_unlock(void);
/* %s %c %d %u %x %p with l and ll, width and 0; a line of at most 500 bytes. */
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- the end --- */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail(__VA_ARGS__);                                                                     \
    } while (0)
/* Said behind PASS, in parentheses. */
void pass_note(const char *note);
_Noreturn void vm_exit(uint32_t v);

/* --- waiting: every wait has a bound --- */
extern uint64_t wait_limit; /* TSC cycles */
extern uint64_t nap_after, nap_us;
/* Guests that use the APIC timer, or that measure, define this as false. */
extern bool naps_allowed;
/* Halts for 200 us by the APIC timer, so that the host runs whoever is waited for. */
void nap(void);
/* Until the TSC has this value: naps if that is long enough. */
void wait_until_tsc(uint64_t at);

/* Polls for a millisecond, then between naps: with more vCPUs than host cores, polling alone would
 * take the time from the CPU that is waited for. */
#define WAIT_UNTIL(cond, ...)                                                                      \
    do {                                                                                           \
        uint64_t wait_start_ = rdtsc();                                                            \
        while (!(cond)) {                                                                          \
            uint64_t waited_ = rdtsc() - wait_start_;                                              \
            if (waited_ > wait_limit && !(cond))                                                   \
                fail("waited too long: " __VA_ARGS__);                                             \
            if (waited_ > nap_after && naps_allowed)                                               \
                nap();                                                                             \
            else                                                                                   \
                cpu_pause();                                                                       \
        }                                                                                          \
    } while (0)
/* Waits for all CPUs. */
void barrier(void);

/* --- contention: contend.c ---
 * After contend_begin(), each CPU works while contend_more() is true: until every CPU has done
 * `iters` iterations and has seen others at work in `contended` (50) of them. */
void contend_begin(void);
bool contend_more(uint64_t done, uint64_t iters, uint64_t contended);

/* --- measuring: measure.c; perf/common/guests.py reads these lines --- */
/* "HIST name n= max= tsc_khz=", then "BUCKETS name upper:count ..."; values are TSC cycles. One CPU
 * at a time. */
void print_hist(const char *name, const struct hist *h);
/* "KERNEL guest rep= ops= cycles= tsc_khz=": one repetition of an application kernel. */
void print_kernel(uint64_t rep, uint64_t ops, uint64_t cycles);

/* --- parameters: lib.c --- */
uint64_t cmdline_u64(const char *key, uint64_t fallback);
/* Whether the command line has key=value. */
bool cmdline_is(const char *key, const char *value);
bool cmdline_has(const char *key);
uint64_t ram_low_end(void); /* end of RAM below 3 GiB */
uint64_t tsc_khz(void);
/* Unused RAM behind the image, page aligned; called by one CPU before the others need it. */
void *arena(uint64_t bytes);

/* --- APIC: apic.c --- */
#define ICR_FIXED          0x000u
#define ICR_LOWEST         0x100u
#define ICR_NMI            0x400u
#define ICR_INIT           0x500u
#define ICR_STARTUP        0x600u
#define ICR_LOGICAL        0x800u
#define ICR_ASSERT         0x4000u
#define ICR_SELF           0x40000u
#define ICR_ALL            0x80000u
#define ICR_OTHERS         0xC0000u
#define APIC_HZ_ASSUMED    1000000000ull /* KVM's bus clock */
#define V_NAP              0xE0u
#define APIC_LVT_TIMER     0x320u
#define APIC_TIMER_INITIAL 0x380u
#define APIC_TIMER_CURRENT 0x390u
#define APIC_TIMER_DIVIDE  0x3E0u /* apic_enable() sets it to 1 */
#define LVT_MASKED         0x10000u
#define LVT_PERIODIC       0x20000u

uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t v);
void apic_enable(void);
void apic_icr(uint32_t apic_id, uint32_t command);
void ipi_send(unsigned cpu, unsigned vector);
/* In xAPIC flat mode; 0 for CPUs beyond the eighth. */
uint32_t apic_logical_id(unsigned cpu);

/* --- CPUs: cpus.c --- */
void cpus_find(void);
void cpus_start(void);
extern unsigned madt_cpus, mp_cpus; /* as counted in each table; 0: no such table */

/* --- random numbers, the same everywhere (splitmix64) --- */
static inline uint64_t mix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
}

#endif
