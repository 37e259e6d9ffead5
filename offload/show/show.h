/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pando-offload: what `pando offload plan`, `nics` and `show` are. APP.
 *
 *   plan  what a NIC would be asked for: no NIC, no rights and no running cluster needed
 *   nics  what the tables say of each family of NICs, and where it was read
 *   show  what running dataplanes have got, intent by intent, over DPDK's telemetry socket
 *
 * Exit status: 0; 1: not all of it could be done, said on standard error; 2: usage.
 */
#ifndef PANDO_OFFLOAD_SHOW_H
#define PANDO_OFFLOAD_SHOW_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dataplane/config/config.h"

enum { EXIT_USAGE = 2, SHOW_ERROR_MAX = 256 };

int plan_main(int argc, char **argv);
int nics_main(int argc, char **argv);
int show_main(int argc, char **argv);

/* A number of an option, or the program ends with what is allowed. */
uint64_t show_number(struct argp_state *state, const char *key, const char *text, uint64_t from,
                     uint64_t to);
/* Reads a configuration; its warnings and errors go to standard error. */
bool show_config(const char *title, const char *path, struct pando_config *ret);
/* Prints and frees it, in ASCII. False, said on standard error: memory or standard output. */
bool show_json(json_t *j);
/* Prints what another process or user chose: printable ASCII, '?' for each other byte, since a
 * terminal takes more than ESC for an order (U+009B, or 0x9B where it is not set to UTF-8). */
void show_word(FILE *to, const char *s);
/* At the end: false, said on standard error, if not all went to standard output. */
bool show_written(void);

/* Asks the dataplane behind a telemetry socket for all that it says of its offload: one object, as
 * /pando/offload has it, all pages in it. Takes 5 seconds at most. 0, or -errno and a sentence in
 * err that says what to do, without the path. */
int ask_offload(const char *socket_path, json_t **ret_answer, char err[SHOW_ERROR_MAX]);

#endif
