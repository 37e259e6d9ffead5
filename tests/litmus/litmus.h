/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Litmus tests of the x86 memory model, as the guests run them: bare metal
 * (tests/kvm/guests/litmus.c) and Linux (tests/linux/guest/litmus.c). generate.py writes
 * litmus_table.h from shapes.txt: one function for each thread of each test, made of the macros
 * here, and what the model allows.
 *
 * Who includes this defines litmus_gap(), called between a thread's two accesses, and, for
 * interrupts, LITMUS_IRQ, litmus_irq(), litmus_handled() and litmus_handler_value().
 */
#ifndef PANDO_LITMUS_H
#define PANDO_LITMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITMUS_THREADS   4
#define LITMUS_REGISTERS 4
#define LITMUS_OUTCOMES  256 /* up to four things to see, of two bits each */

struct litmus_seen {
    uint8_t r[LITMUS_REGISTERS]; /* 3: a value that nobody stores */
    uint32_t begin;              /* when the thread began this instance, in the includer's clock */
};

/* One thread's turn: the instances first .. end - 1, each access in all of them before the next. */
struct litmus_thread {
    volatile uint8_t *x, *y; /* of instance 0; the next is stride bytes further */
    size_t stride;
    uint32_t first, end;
    struct litmus_seen *seen; /* by instance, this thread's own */
    void *context;
};

struct litmus_item {
    char name; /* 'a'..'d': a register of a thread; 'x', 'y': a value in the end */
    uint8_t thread, reg;
};

struct litmus_test {
    const char *name, *mode, *text;
    uint8_t threads, variables;
    bool irq; /* the last thread gets an interrupt */
    void (*run[LITMUS_THREADS])(struct litmus_thread *t);
    void (*turn)(
        struct litmus_thread *t); /* thread `turned` the other way round, to be noticed, or NULL */
    uint8_t turned;
    uint8_t items;
    struct litmus_item item[LITMUS_REGISTERS];
    uint64_t allowed[LITMUS_OUTCOMES / 64]; /* by the model */
    uint64_t asked[LITMUS_OUTCOMES / 64];   /* what the shape is about */
};

static inline uint8_t litmus_value(uint32_t v)
{
    return (uint8_t)(v > 3 ? 3 : v);
}

static inline void litmus_gap(struct litmus_thread *t);
#ifdef LITMUS_IRQ
/* Sends the interrupt of this turn and waits until its handler has loaded. */
static inline void litmus_irq(struct litmus_thread *t);
/* Waits for the end of this turn's handler, which loads the first variable of each instance. */
static inline void litmus_handled(struct litmus_thread *t);
static inline uint32_t litmus_handler_value(struct litmus_thread *t, uint32_t instance);
#endif

#define LM_AT(t, variable, i)                                                                      \
    ((volatile uint32_t *)(volatile void *)((t)->variable + (size_t)(i) * (t)->stride))
#define LM_EACH(t) for (uint32_t i = (t)->first; i < (t)->end; i++)

#define LM_STORE(t, variable, v) LM_EACH(t) * LM_AT(t, variable, i) = (v)
#define LM_XCHG(t, variable, v)                                                                    \
    LM_EACH(t)                                                                                     \
    {                                                                                              \
        uint32_t v_ = (v);                                                                         \
        __asm__ volatile("xchgl %0, %1" : "+r"(v_), "+m"(*LM_AT(t, variable, i)) : : "memory");    \
    }
#define LM_SEE(t, i, reg, v)      (t)->seen[i].r[reg] = litmus_value(v)
#define LM_LOAD(t, reg, variable) LM_EACH(t) LM_SEE(t, i, reg, *LM_AT(t, variable, i))
#define LM_FENCE(t)               __asm__ volatile("mfence" : : : "memory")
#define LM_GAP(t)                 litmus_gap(t)
#define LM_IRQ(t)                 litmus_irq(t)
#define LM_AFTER_LOAD(t, reg, variable)                                                            \
    litmus_handled(t);                                                                             \
    LM_LOAD(t, reg, variable)
#define LM_HANDLER_LOAD(t, reg, variable)                                                          \
    litmus_handled(t);                                                                             \
    LM_EACH(t) LM_SEE(t, i, reg, litmus_handler_value(t, i))

static inline bool litmus_has(const uint64_t *set, unsigned outcome)
{
    return (set[outcome / 64] >> outcome % 64 & 1) != 0;
}

/* Whether the test's outcome has this variable's value in the end. */
static inline bool litmus_sees(const struct litmus_test *test, char variable)
{
    for (unsigned k = 0; k < test->items; k++)
        if (test->item[k].name == variable)
            return true;
    return false;
}

/* The outcome of an instance; seen[t] is thread t's. */
static inline unsigned litmus_outcome(const struct litmus_test *test,
                                      struct litmus_seen *const *seen, uint32_t x, uint32_t y,
                                      uint32_t instance)
{
    unsigned code = 0;

    for (unsigned k = 0; k < test->items; k++) {
        const struct litmus_item *item = &test->item[k];
        unsigned v = item->name == 'x'   ? litmus_value(x)
                     : item->name == 'y' ? litmus_value(y)
                                         : seen[item->thread][instance].r[item->reg];

        code |= v << 2 * k;
    }
    return code;
}

/* Writes the values of an outcome, one digit a thing to see; text has room for 5 characters. */
static inline const char *litmus_digits(const struct litmus_test *test, unsigned outcome,
                                        char *text)
{
    for (unsigned k = 0; k < test->items; k++)
        text[k] = (char)('0' + (outcome >> 2 * k & 3));
    text[test->items] = '\0';
    return text;
}

#endif
