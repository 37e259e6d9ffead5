/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the ethdev port and those who make device arguments for it. */
#ifndef PANDO_PORT_ETHDEV_H
#define PANDO_PORT_ETHDEV_H

#include "dataplane/port/bell.h"
#include "dataplane/port/port.h"

/* close tries to remove this directory: the last of the nodes that share it succeeds. */
void ethdev_own_dir(struct port *p, const char *dir);

/* How the port can be slept on, by one of two: a descriptor that is readable while frames are
 * there, or a bell that whoever sends to us rings, and we whoever we send to. The port owns it. */
void ethdev_wait_on(struct port *p, int fd);
void ethdev_own_bell(struct port *p, struct bell *b);

/* Asks the kernel for the next hops over this interface from now on; nothing over plain Ethernet.
 * 0, or -errno and a sentence: neighbours_open. */
int ethdev_resolve_over(struct port *p, const char *interface, char err[PORT_ERROR_MAX]);

#endif
