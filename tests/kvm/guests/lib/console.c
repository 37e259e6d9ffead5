/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: a line is built in a buffer and sent under one ticket lock. */
#include "lib.h"

static struct {
    uint32_t next, serving;
} PAGE_ALIGNED lock;

void console_lock(void)
{
    uint32_t ticket = __atomic_fetch_add(&lock.next, 1, __ATOMIC_RELAXED);

    WAIT_UNTIL(__atomic_load_n(&lock.serving, __ATOMIC_ACQUIRE) == ticket, "console lock");
}

void console_unlock(void)
{
    __atomic_store_n(&lock.serving, lock.serving + 1, __ATOMIC_RELEASE);
}

void console_write(const char *text, size_t len)
{
    const void *at = text;
    uint64_t left = rep_outsb(PORT_CONSOLE, &at, len);

    if (left != 0 || at != text + len)
        vm_exit(2); /* the console itself is broken: nothing can be said */
}

struct line {
    char text[512];
    size_t len;
};

static void put(struct line *l, char c)
{
    if (l->len < sizeof(l->text))
        l->text[l->len++] = c;
}

static void put_number(struct line *l, uint64_t v, unsigned base, unsigned width, char pad)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    for (unsigned i = n; i < width; i++)
        put(l, pad);
    while (n > 0)
        put(l, digits[--n]);
}

static void put_signed(struct line *l, int64_t v, unsigned width)
{
    if (v < 0) {
        put(l, '-');
        put_number(l, -(uint64_t)v, 10, width > 0 ? width - 1 : 0, ' ');
    } else {
        put_number(l, (uint64_t)v, 10, width, ' ');
    }
}

static void format_line(struct line *l, const char *f, va_list *args)
{
    for (; *f != '\0'; f++) {
        if (*f != '%') {
            put(l, *f);
            continue;
        }
        char pad = ' ';
        unsigned width = 0, longs = 0;

        for (f++; *f == '0'; f++)
            pad = '0';
        for (; *f >= '0' && *f <= '9'; f++)
            width = width * 10 + (unsigned)(*f - '0');
        for (; *f == 'l' || *f == 'z'; f++)
            longs++;
        if (*f == 's') {
            for (const char *s = va_arg(*args, const char *); *s != '\0'; s++)
                put(l, *s);
        } else if (*f == 'c') {
            put(l, (char)va_arg(*args, int));
        } else if (*f == 'd') {
            put_signed(l, longs ? va_arg(*args, long) : va_arg(*args, int), width);
        } else if (*f == 'u' || *f == 'x') {
            put_number(l, longs ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
                       *f == 'u' ? 10 : 16, width, pad);
        } else if (*f == 'p') {
            put_number(l, (uintptr_t)va_arg(*args, void *), 16, 0, ' ');
        } else {
            put(l, *f);
        }
    }
}

void printf(const char *format, ...)
{
    struct line l;
    va_list args;

    l.len = 0;
    va_start(args, format);
    format_line(&l, format, &args);
    va_end(args);
    console_lock();
    console_write(l.text, l.len);
    console_unlock();
}

/* Waits for the lock for a second at most: its holder may be what failed. */
static void console_lock_if_possible(void)
{
    uint32_t ticket = __atomic_fetch_add(&lock.next, 1, __ATOMIC_RELAXED);

    for (uint64_t end = rdtsc() + tsc_khz() * 1000; rdtsc() < end; cpu_pause())
        if (__atomic_load_n(&lock.serving, __ATOMIC_ACQUIRE) == ticket)
            return;
}

_Noreturn void fail(const char *format, ...)
{
    static uint32_t failed; /* CPU number + 1 */
    uint32_t me = this_cpu()->index + 1, first = 0;
    struct line l;
    va_list args;

    if (!__atomic_compare_exchange_n(&failed, &first, me, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        if (first == me) /* saying it failed, too: leave with registers */
            system_call(0, 0, SYS_TRIPLE_FAULT);
        for (;;)
            cpu_pause(); /* another CPU tells; the VM ends in a moment */
    }
    l.len = 0;
    for (const char *s = "\nFAIL "; *s != '\0'; s++)
        put(&l, *s);
    for (const char *s = guest_name; *s != '\0'; s++)
        put(&l, *s);
    put(&l, ':');
    put(&l, ' ');
    va_start(args, format);
    format_line(&l, format, &args);
    va_end(args);
    put(&l, ' ');
    put(&l, '(');
    put(&l, 'C');
    put(&l, 'P');
    put(&l, 'U');
    put(&l, ' ');
    put_number(&l, this_cpu()->index, 10, 0, ' ');
    put(&l, ')');
    if (l.len == sizeof(l.text))
        l.len--;
    put(&l, '\n');
    console_lock_if_possible();
    console_write(l.text, l.len);
    vm_exit(1);
}

/* Entered from ring 0's exception stub on a fresh stack of this CPU. */
_Noreturn void rt_exception(void);
_Noreturn void rt_exception(void)
{
    const struct cpu *c = this_cpu();

    fail("exception %lu error %lx rip %lx rsp %lx cr2 %lx cs %lx", c->exc_vector, c->exc_error,
         c->exc_rip, c->exc_rsp, c->exc_cr2, c->exc_cs);
}
