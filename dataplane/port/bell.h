/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells between the nodes of one machine, for fabrics that have none of their own (memif).
 * EDGE.
 *
 * A node sleeps on a datagram socket, "bell-<node>.sock" in `dir`, its only file. One word in
 * memory that its peers map says whether it sleeps. Who has published something for it looks at
 * the word, and sends a byte only if it does: awake nodes cost no system call.
 *
 *   [D] sleeper: word = 1, full fence, looks for frames once more, sleeps
 *       sender:  publishes a frame, full fence, looks at the word, rings
 *   At least one of the two sees what the other did.
 *
 * The word is a hint: written by somebody who should not, it costs a needless byte or a sleep that
 * ends by its time-out. Its memory is sealed (rendezvous.h), so a peer cannot take it away.
 *
 * It goes to a peer over the bells' sockets, in an offer. An offer names the start of its sender,
 * and the start of the addressee whose word the sender has; who finds there that the other has not
 * got his present word answers with an offer of his own. So the later of two to start makes both
 * known, and one that was started anew replaces its word with its peers, even if they never saw its
 * link down: it sleeps only once its offers are out (bell_owes), and who takes one rings once, for
 * what was published while he looked at the word from before. A peer whose word is not known may be
 * asleep, and is rung for always.
 *
 * All functions are called by the one polling thread.
 */
#ifndef PANDO_PORT_BELL_H
#define PANDO_PORT_BELL_H

#include <stdbool.h>
#include <stdint.h>

struct bell;

/* Of nodes 0..nodes-1. Takes over what a killed process of the same number left. dir exists. 0 or
 * -errno. */
int bell_open(const char *dir, uint8_t self, uint8_t nodes, struct bell **ret_bell);
/* Removes the socket. NULL is fine. */
void bell_close(struct bell *b);

/* Readable when somebody has rung or offered; bell_awake and bell_look read it empty. */
int bell_fd(const struct bell *b);
void bell_asleep(struct bell *b); /* ends with the fence of [D] */
void bell_awake(struct bell *b);
/* Reads what came, offers too. For who polls and does not sleep: now and then; a system call. */
void bell_look(struct bell *b);

/* The peer's bell exists from here on, perhaps anew: offers our word. */
void bell_meet(struct bell *b, uint8_t peer);
/* An offer could not be sent, and bell_look sends it: until then nobody may rest on the bell. */
bool bell_owes(const struct bell *b);
/* Something was published for each peer of the set (bit n: node n). */
void bell_ring(struct bell *b, uint64_t peers);

/* Messages that were neither a ring nor an offer that can be used. */
uint64_t bell_refused(const struct bell *b);

#endif
