/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What programs that look at dataplanes say: options, words of other processes, results. APP.
 */
#ifndef PANDO_WATCH_OUT_H
#define PANDO_WATCH_OUT_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dataplane/config/config.h"

/* Exit status of these programs: 0; 1: not all of it could be done, said on standard error; 2:
 * usage. */
enum { EXIT_USAGE = 2 };

/* A number of an option, or the program ends with what is allowed. */
uint64_t out_option(struct argp_state *state, const char *key, const char *text, uint64_t from,
                    uint64_t to);
/* Reads a configuration; its warnings and errors go to standard error, behind title. */
bool out_config(const char *title, const char *path, struct pando_config *ret);
/* Prints and frees it, in ASCII. False, said on standard error behind title: memory or standard
 * output. */
bool out_json(const char *title, json_t *j);
/* Prints what another process or user chose: printable ASCII, '?' for each other byte, since a
 * terminal takes more than ESC for an order (U+009B, or 0x9B where it is not set to UTF-8). */
void out_word(FILE *to, const char *s);
/* "title: path: text" on standard error; path is another's word. */
void out_complain(const char *title, const char *path, const char *text);
/* At the end: false, said on standard error behind title, if not all went to standard output. */
bool out_written(const char *title);

#endif
