/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The user side of steer.bpf.c: loads it, configures it, attaches it, tells it about sockets and
 * fenced nodes, reads its counters. EDGE. Only steer_fence and steer_counters may be called by
 * another thread than the others.
 */
#ifndef PANDO_BPF_STEER_H
#define PANDO_BPF_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/attach.h"
#include "bpf/contract.h"

struct steer;

/* Loads the program into the kernel; it touches no interface yet. config: as in contract.h (version
 * is filled in); NULL: a program that passes everything. 0, or -errno and a sentence in err. */
int steer_open(const struct steer_config *config, struct steer **ret_steer,
               char err[XDP_ERROR_MAX]);

/* From here on the interface's frames go through it, until close or the end of the process. Errors
 * as xdp_attach. */
int steer_attach(struct steer *s, const char *interface, char err[XDP_ERROR_MAX]);
/* How: NULL: native; else why it is the generic mode. */
const char *steer_generic_reason(const struct steer *s);

/* Frames of that queue and kind go to this AF_XDP socket, which must have a receive ring. Closing
 * the socket takes it out again. 0 or -errno. */
int steer_set_socket(struct steer *s, uint32_t queue, enum steer_socket which, int fd);

/* From the next frame on the kernel drops (or no longer drops) what this node sends; HOST-PINGs
 * and frames of other versions too. contract.h: what that does not stop. 0, or -EINVAL: no such
 * node number. */
int steer_fence(struct steer *s, uint8_t node, bool fenced);

/* As xdp_lost. */
const char *steer_lost(const struct steer *s);

/* Frames by reason, all CPUs together, since the program was loaded. A system call each. */
void steer_counters(const struct steer *s, uint64_t ret_frames[STEER_REASONS]);
const char *steer_reason_name(enum steer_reason reason);
/* True: such frames are dropped, or are HOST-PINGs without an answer. */
bool steer_reason_refuses(enum steer_reason reason);

int steer_program_fd(const struct steer *s); /* for tests: BPF_PROG_TEST_RUN */

/* Detaches and frees; NULL is fine. */
void steer_close(struct steer *s);

#endif
