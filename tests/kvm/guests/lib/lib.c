/* SPDX-License-Identifier: BSD-3-Clause */
/* Start of ring 3, parameters, barrier, the memory functions that compilers call. */
#include "lib.h"
#include "multiboot.h"

#define ASSUMED_TSC_KHZ 3000000ull

extern uint32_t boot_magic, boot_info;
extern uint8_t _end[];

uint8_t cpu_blocks[MAX_CPUS][CPU_BLOCK] __attribute__((aligned(CPU_BLOCK)));
uint64_t wait_limit = ASSUMED_TSC_KHZ * 1000 * 60;
uint64_t nap_after = ~0ull, nap_us;
bool naps_allowed __attribute__((weak)) = true;
static uint64_t tsc_khz_measured;
static const char *note;
static uint64_t arena_at;

static struct {
    uint32_t arrived;
    uint32_t generation PAGE_ALIGNED; /* polled: on another page than what arrivals write */
} PAGE_ALIGNED barrier_state;

void *memset(void *to, int c, size_t n)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(c) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if (t <= f || t >= f + n)
        return memcpy(to, from, n);
    while (n-- > 0)
        ((volatile uint8_t *)t)[n] = f[n];
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;

    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (((const volatile char *)s)[n] != '\0')
        n++;
    return n;
}

_Noreturn void vm_exit(uint32_t v)
{
    for (;;)
        outl(0xF4, v);
}

static const struct mb_info *info(void)
{
    return (const void *)(uintptr_t)boot_info;
}

/* The text behind "key=", NULL when the command line has no such word. */
static const char *find_value(const char *key)
{
    size_t len = strlen(key);

    if (!(info()->flags & MB_FLAG_CMDLINE))
        return NULL;
    for (const char *s = (const char *)(uintptr_t)info()->cmdline; *s != '\0'; s++) {
        bool at_word = s == (const char *)(uintptr_t)info()->cmdline || s[-1] == ' ';

        if (at_word && strlen(s) > len && memcmp(s, key, len) == 0 && s[len] == '=')
            return s + len + 1;
    }
    return NULL;
}

uint64_t cmdline_u64(const char *key, uint64_t fallback)
{
    const char *s = find_value(key);
    uint64_t v = 0;

    if (s == NULL)
        return fallback;
    for (; *s != '\0' && *s != ' '; s++) {
        if (*s < '0' || *s > '9')
            fail("command line: %s= wants a decimal number", key);
        v = v * 10 + (uint64_t)(*s - '0');
    }
    return v;
}

bool cmdline_has(const char *key)
{
    return find_value(key) != NULL;
}

bool cmdline_is(const char *key, const char *value)
{
    const char *s = find_value(key);
    size_t len = strlen(value);

    return s != NULL && strlen(s) >= len && memcmp(s, value, len) == 0 &&
           (s[len] == '\0' || s[len] == ' ');
}

uint64_t ram_low_end(void)
{
    return 0x100000 + (uint64_t)info()->mem_upper * 1024;
}

void *arena(uint64_t bytes)
{
    uint64_t at = arena_at;

    CHECK(bytes <= ram_low_end() - at, "needs %lu KiB of RAM behind its image, has %lu KiB",
          bytes / 1024, (ram_low_end() - at) / 1024);
    arena_at = (at + bytes + PAGE - 1) & -(uint64_t)PAGE;
    return (void *)at;
}

void pass_note(const char *text)
{
    note = text;
}

uint64_t tsc_khz(void)
{
    return tsc_khz_measured;
}

/* TSC cycles in 20 ms of the APIC timer, whose clock KVM runs at 1 GHz. CPUID is no help: on PVM
 * ring 3 sees the host's own leaves. The shortest of three, for a noisy machine stretches them. */
static void measure_tsc(void)
{
    const uint32_t ticks = APIC_HZ_ASSUMED / 50;

    if (cmdline_has("tsc_khz")) {
        tsc_khz_measured = cmdline_u64("tsc_khz", 0);
        return;
    }
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    for (unsigned round = 0; round < 3; round++) {
        apic_write(APIC_TIMER_INITIAL, 0xFFFFFFFFu);
        uint32_t first = apic_read(APIC_TIMER_CURRENT);
        uint64_t start = rdtsc(), end;
        uint32_t passed;

        do {
            passed = first - apic_read(APIC_TIMER_CURRENT);
            end = rdtsc();
            /* A timer that stands still must not hang the start. */
            if (end - start > ASSUMED_TSC_KHZ * 10000)
                fail("the APIC timer stands still");
        } while (passed < ticks);
        uint64_t khz = (end - start) * (APIC_HZ_ASSUMED / 1000) / passed;

        if (tsc_khz_measured == 0 || khz < tsc_khz_measured)
            tsc_khz_measured = khz;
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

void barrier(void)
{
    uint32_t generation = __atomic_load_n(&barrier_state.generation, __ATOMIC_ACQUIRE);

    if (__atomic_add_fetch(&barrier_state.arrived, 1, __ATOMIC_ACQ_REL) == ncpus) {
        __atomic_store_n(&barrier_state.arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier_state.generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    WAIT_UNTIL(__atomic_load_n(&barrier_state.generation, __ATOMIC_ACQUIRE) != generation,
               "barrier %u, %u of %u CPUs came", generation,
               __atomic_load_n(&barrier_state.arrived, __ATOMIC_RELAXED), ncpus);
}

static void start_first(void)
{
    CHECK(boot_magic == 0x2BADB002u, "multiboot magic is %x", boot_magic);
    CHECK((info()->flags & (MB_FLAG_MEMORY | MB_FLAG_MMAP)) == (MB_FLAG_MEMORY | MB_FLAG_MMAP),
          "multiboot information without memory sizes");
    arena_at = (uintptr_t)_end;
    apic_enable();
    measure_tsc();
    wait_limit = tsc_khz_measured * 1000 * cmdline_u64("wait_s", 60);
    nap_us = cmdline_u64("nap_us", 0);
    nap_after = tsc_khz_measured * cmdline_u64("nap_after_ms", 1);
    cpus_find();
    printf("%s: %u vCPU%s, %lu MiB below 3 GiB\n", guest_name, ncpus, ncpus == 1 ? "" : "s",
           ram_low_end() >> 20);
    cpus_start();
}

/* The first ring-3 code of every CPU. */
_Noreturn void rt_enter(void);
_Noreturn void rt_enter(void)
{
    uintptr_t offset = (uintptr_t)this_cpu() - (uintptr_t)cpu_blocks;
    unsigned index = (unsigned)(offset / CPU_BLOCK);

    this_cpu()->index = index;
    if (index == 0)
        start_first();
    else
        apic_enable();
    __atomic_store_n(&this_cpu()->online, 1, __ATOMIC_RELEASE);
    barrier();
    guest_main(index);
    barrier();
    if (index == 0) {
        if (note != NULL)
            printf("PASS %s (%s)\n", guest_name, note);
        else
            printf("PASS %s\n", guest_name);
        vm_exit(0);
    }
    for (;;)
        system_call((uintptr_t)&this_cpu()->online, 1, SYS_HALT_UNLESS);
}
