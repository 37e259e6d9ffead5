/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two ends, A and B, in network namespaces of their own, joined by a veth pair; or by two with a
 * namespace in the middle. All in one process, which steps from one into the other; the namespaces
 * have no names and end with the process, however it ends.
 */
#ifndef PANDO_TESTS_BPF_WIRES_H
#define PANDO_TESTS_BPF_WIRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wires_place { WIRES_A, WIRES_B, WIRES_MIDDLE, WIRES_PLACES };

/* Makes them; the ends are called "veth0" in A and B, "left" and "right" in the middle, if there is
 * one. Their MACs are frames_mac. False: reason is why not. */
bool wires_make(unsigned mtu, bool middle, char reason[200]);
void wires_remove(void);

/* This process goes there; sockets stay where they were made. */
void wires_enter(enum wires_place place);

/* A packet socket for all frames on `device` at the current place. */
int wires_packet_socket(const char *device);
void wires_send(int socket, const void *frame, size_t len);
/* The next frame that came in (not one that went out) within the time; 0: none. */
size_t wires_receive(int socket, uint8_t *out, size_t size, int ms);

#endif
