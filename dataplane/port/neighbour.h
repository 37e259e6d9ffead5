/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops for frames over UDP that a port writes itself. EDGE.
 *
 * The kernel knows routes and neighbours, and keeps them: it is asked by rtnetlink, and an empty
 * datagram to the peer's discard port makes it resolve who it does not know yet. Nothing here
 * blocks but the first wait. What was learned is used until a later answer differs; the kernel is
 * asked again, at most every NEIGHBOUR_ASK_MS a peer, when a frame finds its peer unresolved or not
 * connected (so a peer that came back with another MAC is found), and of connected peers a few at
 * each port_look: a router that hands its address to another one announces that, and the kernel
 * knows.
 *
 * Pando's UDP port is also bound, by a socket that takes nothing: else the kernel, which sees the
 * frames of a packet socket too, would answer each of them by "port unreachable".
 */
#ifndef PANDO_PORT_NEIGHBOUR_H
#define PANDO_PORT_NEIGHBOUR_H

#include "dataplane/port/port.h"

enum { NEIGHBOUR_WAIT_MS = 200, NEIGHBOUR_ASK_MS = 100, NEIGHBOUR_REFRESH = 16 };

struct neighbours;

/* Resolves the nodes of a link over UDP through this interface; waits until all are known, but no
 * longer than NEIGHBOUR_WAIT_MS: who is missing is no error. Keeps l, and writes its next hops. 0,
 * or -errno and a sentence: -EADDRNOTAVAIL, -EADDRINUSE (port.h), -ENODEV, -EPERM. */
int neighbours_open(const char *interface, struct link *l, struct neighbours **ret_neighbours,
                    char err[PORT_ERROR_MAX]);
void neighbours_close(struct neighbours *n); /* NULL is fine */

/* Asks for one node, if it is time to; true if its next hop is known now. Some system calls. */
bool neighbours_ask(struct neighbours *n, uint8_t node);

/* Asks for the next NEIGHBOUR_REFRESH nodes, each in its turn, and sends nothing; changes are
 * counted. NULL is fine. Two or four system calls a node. */
void neighbours_refresh(struct neighbours *n, struct port_counters *counters);

/* For tx_reserve: whether a frame can leave for peer; if not, it is counted. connected: the
 * transport has heard of the peer, so what is known of it is right. n is NULL over plain Ethernet.
 */
static inline bool neighbours_reach(struct neighbours *n, const struct link *l, uint8_t peer,
                                    bool connected, struct port_counters *counters)
{
    if (link_reaches(l, peer) && (connected || n == NULL))
        return true;
    if (n != NULL && neighbours_ask(n, peer))
        return true;
    counters->tx_unresolved++;
    return false;
}

#endif
