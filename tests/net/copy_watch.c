/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into pando-dataplane by run_net.py: counts the bytes that memcpy and memmove really
 * copy, large copies only, by who calls: the program itself, or one of DPDK's drivers. A copy that
 * somebody adds and forgets to count is in here.
 *
 * Not seen: a copy of constant size that the compiler made instructions of, and rte_memcpy, which
 * is inline. At its end the process writes "OURS DRIVERS" to the file PANDO_COPY_WATCH and its
 * number.
 */
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE = 512 };

static uintptr_t program_from, program_to; /* its code */
static _Atomic uint64_t copied[2];         /* by the program, by drivers */

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0)
            continue;
        program_from = info->dlpi_addr + p->p_vaddr;
        program_to = program_from + p->p_memsz;
    }
    return 1; /* the first is the program */
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(look, NULL);
}

__attribute__((destructor)) static void end(void)
{
    const char *name = getenv("PANDO_COPY_WATCH");
    char path[512];
    if (name == NULL)
        return;
    snprintf(path, sizeof(path), "%s.%d", name, getpid());
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return;
    fprintf(f, "%llu %llu\n", (unsigned long long)copied[0], (unsigned long long)copied[1]);
    fclose(f);
}

static void count(void *caller, size_t n)
{
    uintptr_t at = (uintptr_t)caller;
    Dl_info info;
    if (n < LARGE || program_to == 0)
        return;
    if (at >= program_from && at < program_to)
        copied[0] += n;
    else if (dladdr(caller, &info) != 0 && strstr(info.dli_fname, "librte_net_") != NULL)
        copied[1] += n; /* DPDK loads its drivers later than this constructor runs */
}

/* In assembly, or the compiler would see a memcpy in it. */
static void forwards(void *to, const void *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    count(__builtin_return_address(0), n);
    forwards(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    count(__builtin_return_address(0), n);
    if ((uintptr_t)to - (uintptr_t)from >= n) {
        forwards(to, from, n);
        return to;
    }
    uint8_t *t = to;
    const uint8_t *f = from;
    while (n-- > 0)
        *(volatile uint8_t *)(t + n) = f[n];
    return to;
}
