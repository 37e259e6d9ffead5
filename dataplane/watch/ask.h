/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client of a dataplane's telemetry socket, DPDK's: a packet with who it is, then for each
 * command a packet with the answer, {"COMMAND": value}. APP.
 *
 * What comes from there is another process's: each part of it may be missing or wrong, late or
 * endless. All that is asked ends within limits.all_ms, and no answer is larger than
 * ASK_TEXT_MAX; UTF-8 and JSON are checked here, the members of an answer by who reads them.
 * Strings may hold any character: what goes to a terminal goes through out_word.
 */
#ifndef PANDO_WATCH_ASK_H
#define PANDO_WATCH_ASK_H

#include <jansson.h>
#include <stdint.h>

enum { ASK_ERROR_MAX = 256, ASK_TEXT_MAX = 4 << 20 };

struct ask_limits {
    uint32_t silence_ms; /* between a question and its answer */
    uint32_t all_ms;     /* for all that one call asks */
};
#define ASK_PATIENT ((struct ask_limits){.silence_ms = 2000, .all_ms = 5000})

/* Of a monotonic clock. */
uint64_t now_ms(void);

/* Each: 0, or -errno and a sentence in err that says what to do, without the path. The answer is
 * an object, the caller's to release. Not for several threads at a time. */

/* Everything that a dataplane counts: its summary (tests/system/summary.py), all of one moment. */
int ask_all(const char *socket_path, struct ask_limits limits, json_t **ret_answer,
            char err[ASK_ERROR_MAX]);
/* All that it says of its offload: as /pando/offload has it, all pages in it. */
int ask_offload(const char *socket_path, struct ask_limits limits, json_t **ret_answer,
                char err[ASK_ERROR_MAX]);

#endif
