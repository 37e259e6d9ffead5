/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's option strings: "value,key=value,flag", where ",," stands for a comma within a value.
 * APP, without I/O; text is taken from an arena that the caller provides.
 */
#ifndef PANDO_RUN_PARSE_H
#define PANDO_RUN_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
    char *buf;
    size_t size, used;
    bool full; /* something did not fit; it reads as "" */
};

const char *arena_copy(struct arena *a, const char *text, size_t len);
const char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

enum { OPT_PAIRS_MAX = 64 };
enum opt_form { OPT_IMPLIED, OPT_FLAG, OPT_VALUE }; /* "value", "key", "key=value" */

struct opt_pair {
    const char *key;   /* of OPT_IMPLIED: the option's implied key */
    const char *value; /* unescaped; of OPT_FLAG: "on" */
    enum opt_form form;
};

struct opt {
    struct arena *arena;
    struct opt_pair pair[OPT_PAIRS_MAX];
    unsigned count;
};

/* implied: the key of a first element without '=', or NULL. 0; -E2BIG: too many elements. */
int opt_parse(struct arena *a, const char *text, const char *implied, struct opt *ret);
const char *opt_print(const struct opt *o);

/* '-' and '_' are the same in keys, as they are for QEMU. */
bool opt_key_is(const char *key, const char *name);

/* The last value of a key, which is the one that counts; NULL: not there. */
const char *opt_get(const struct opt *o, const char *key);

/* Replaces every value of a key, or appends it. -E2BIG. */
int opt_set(struct opt *o, const char *key, const char *value);

/* What QEMU reads as a switch that is on, or off. */
bool opt_is_on(const char *value);
bool opt_is_off(const char *value);

/* A size in bytes: digits and a suffix b K M G T; without one, units of 1 << shift. -EINVAL. */
int opt_size(const char *text, unsigned shift, uint64_t *ret_bytes);

/* A decimal number. -EINVAL. */
int opt_number(const char *text, uint64_t *ret);

/* A word as a shell reads it back. */
const char *opt_shell_quote(struct arena *a, const char *word);

#endif
