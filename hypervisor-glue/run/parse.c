/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/run/parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- arena --------------------------------------------------------------------------------- */

static char *arena_take(struct arena *a, size_t size)
{
    if (size > a->size - a->used) {
        a->full = true;
        return NULL;
    }
    char *p = a->buf + a->used;
    a->used += size;
    return p;
}

const char *arena_copy(struct arena *a, const char *text, size_t len)
{
    char *p = arena_take(a, len + 1);
    if (p == NULL)
        return "";
    memcpy(p, text, len);
    p[len] = '\0';
    return p;
}

const char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_take(a, (size_t)n + 1);
    if (p != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p == NULL ? "" : p;
}

/* ---- option strings ------------------------------------------------------------------------ */

/* The end of an element: a comma that is not doubled, or the end of the text. */
static const char *element_end(const char *p)
{
    while (*p != '\0') {
        if (*p == ',' && p[1] != ',')
            return p;
        p += *p == ',' ? 2 : 1;
    }
    return p;
}

static const char *unescape(struct arena *a, const char *from, const char *end)
{
    char *p = arena_take(a, (size_t)(end - from) + 1), *to = p;
    if (p == NULL)
        return "";
    while (from < end) {
        *to++ = *from;
        from += *from == ',' ? 2 : 1;
    }
    *to = '\0';
    return p;
}

int opt_parse(struct arena *a, const char *text, const char *implied, struct opt *ret)
{
    ret->arena = a;
    ret->count = 0;
    for (const char *p = text; *p != '\0';) {
        const char *end = element_end(p), *equals = memchr(p, '=', (size_t)(end - p));
        bool first = p == text;
        if (end == p) { /* an empty element */
            p++;
            continue;
        }
        if (ret->count == OPT_PAIRS_MAX)
            return -E2BIG;
        struct opt_pair *pair = &ret->pair[ret->count++];
        if (equals != NULL)
            *pair = (struct opt_pair){arena_copy(a, p, (size_t)(equals - p)),
                                      unescape(a, equals + 1, end), OPT_VALUE};
        else if (first && implied != NULL)
            *pair = (struct opt_pair){implied, unescape(a, p, end), OPT_IMPLIED};
        else
            *pair = (struct opt_pair){unescape(a, p, end), "on", OPT_FLAG};
        p = *end == ',' ? end + 1 : end;
    }
    return 0;
}

static const char *escape(struct arena *a, const char *value)
{
    size_t commas = 0;
    for (const char *p = value; *p != '\0'; p++)
        commas += *p == ',';
    char *p = arena_take(a, strlen(value) + commas + 1), *to = p;
    if (p == NULL)
        return "";
    for (; *value != '\0'; value++) {
        if (*value == ',')
            *to++ = ',';
        *to++ = *value;
    }
    *to = '\0';
    return p;
}

const char *opt_print(const struct opt *o)
{
    const char *text = "";
    for (unsigned i = 0; i < o->count; i++) {
        const struct opt_pair *p = &o->pair[i];
        const char *comma = i > 0 ? "," : "";
        if (p->form == OPT_VALUE)
            text = arena_printf(o->arena, "%s%s%s=%s", text, comma, p->key,
                                escape(o->arena, p->value));
        else
            text = arena_printf(o->arena, "%s%s%s", text, comma,
                                escape(o->arena, p->form == OPT_FLAG ? p->key : p->value));
    }
    return text;
}

static char dash(char c)
{
    return c == '_' ? '-' : c;
}

bool opt_key_is(const char *key, const char *name)
{
    while (*key != '\0' && dash(*key) == dash(*name)) {
        key++;
        name++;
    }
    return *key == '\0' && *name == '\0';
}

const char *opt_get(const struct opt *o, const char *key)
{
    for (unsigned i = o->count; i > 0; i--)
        if (opt_key_is(o->pair[i - 1].key, key))
            return o->pair[i - 1].value;
    return NULL;
}

int opt_set(struct opt *o, const char *key, const char *value)
{
    bool found = false;
    for (unsigned i = 0; i < o->count; i++)
        if (opt_key_is(o->pair[i].key, key)) {
            o->pair[i].value = value;
            if (o->pair[i].form == OPT_FLAG)
                o->pair[i].form = OPT_VALUE;
            found = true;
        }
    if (found)
        return 0;
    if (o->count == OPT_PAIRS_MAX)
        return -E2BIG;
    o->pair[o->count++] = (struct opt_pair){key, value, OPT_VALUE};
    return 0;
}

/* ---- values -------------------------------------------------------------------------------- */

static bool one_of(const char *value, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(value, *words) == 0)
            return true;
    return false;
}

bool opt_is_on(const char *value)
{
    static const char *const words[] = {"on", "yes", "true", "y", NULL};
    return value != NULL && one_of(value, words);
}

bool opt_is_off(const char *value)
{
    static const char *const words[] = {"off", "no", "false", "n", NULL};
    return value != NULL && one_of(value, words);
}

static int digits(const char **text, uint64_t *ret)
{
    const char *p = *text;
    uint64_t n = 0;
    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        n = n * 10 + digit;
    }
    *text = p;
    *ret = n;
    return 0;
}

int opt_number(const char *text, uint64_t *ret)
{
    uint64_t n;
    if (digits(&text, &n) != 0 || *text != '\0')
        return -EINVAL;
    *ret = n;
    return 0;
}

int opt_size(const char *text, unsigned shift, uint64_t *ret_bytes)
{
    static const char suffixes[] = "bkmgt";
    uint64_t n;
    if (digits(&text, &n) != 0)
        return -EINVAL;
    if (*text != '\0') {
        char lower = (char)(*text >= 'A' && *text <= 'Z' ? *text + ('a' - 'A') : *text);
        const char *at = strchr(suffixes, lower);
        if (at == NULL || text[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(at - suffixes);
    }
    if (n > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_bytes = n << shift;
    return 0;
}

const char *opt_shell_quote(struct arena *a, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@%+=:,./-";
    if (*word != '\0' && word[strspn(word, plain)] == '\0')
        return word;
    const char *text = "'";
    for (;;) {
        size_t n = strcspn(word, "'");
        text = arena_printf(a, "%s%.*s", text, (int)n, word);
        if (word[n] == '\0')
            break;
        text = arena_printf(a, "%s'\\''", text);
        word += n + 1;
    }
    return arena_printf(a, "%s'", text);
}
