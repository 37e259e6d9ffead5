/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells between the nodes of one machine, for fabrics that have none of their own (memif).
 * EDGE.
 *
 * A node owns two files in `dir`: a datagram socket "bell-<node>.sock", whose descriptor it sleeps
 * on, and "bell-<node>.word", one word that says whether it sleeps. Who has published something for
 * it looks at the word, and sends a byte only if it does: awake nodes cost no system call.
 *
 *   [D] sleeper: word = 1, full fence, looks for frames once more, sleeps
 *       sender:  publishes a frame, full fence, looks at the word, rings
 *   At least one of the two sees what the other did.
 *
 * The word is a hint: one that was lost, or written by somebody who should not, costs a needless
 * byte or a sleep that ends by its time-out. All functions are called by the one polling thread.
 */
#ifndef PANDO_PORT_BELL_H
#define PANDO_PORT_BELL_H

#include <stdint.h>

struct bell;

/* Takes over what a killed process of the same number left. dir exists. 0 or -errno. */
int bell_open(const char *dir, uint8_t self, struct bell **ret_bell);
/* Removes both files. NULL is fine. */
void bell_close(struct bell *b);

/* Readable when somebody has rung; bell_awake reads it empty. */
int bell_fd(const struct bell *b);
void bell_asleep(struct bell *b); /* ends with the fence of [D] */
void bell_awake(struct bell *b);

/* The peer's bell exists from here on, perhaps anew: its word is looked for again. */
void bell_meet(struct bell *b, uint8_t peer);
/* Something was published for each peer of the set (bit n: node n). */
void bell_ring(struct bell *b, uint64_t peers);

#endif
