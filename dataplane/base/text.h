/* SPDX-License-Identifier: BSD-3-Clause */
/* Bounded text building for traces, without stdio. PURE, header only. The buffer is always
 * terminated (size at least 1); what does not fit is cut off. */
#ifndef PANDO_BASE_TEXT_H
#define PANDO_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
    char *buf;
    size_t size, len;
};

static inline struct text text_begin(char *buf, size_t size)
{
    buf[0] = '\0';
    return (struct text){.buf = buf, .size = size, .len = 0};
}

static inline void text_char(struct text *t, char c)
{
    if (t->len + 1 < t->size) {
        t->buf[t->len++] = c;
        t->buf[t->len] = '\0';
    }
}

static inline void text_str(struct text *t, const char *s)
{
    while (*s != '\0')
        text_char(t, *s++);
}

static inline void text_number(struct text *t, uint64_t v, unsigned base)
{
    char digit[20];
    unsigned n = 0;
    do {
        digit[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    while (n > 0)
        text_char(t, digit[--n]);
}

static inline void text_dec(struct text *t, uint64_t v)
{
    text_number(t, v, 10);
}

static inline void text_hex(struct text *t, uint64_t v)
{
    text_str(t, "0x");
    text_number(t, v, 16);
}

#endif
