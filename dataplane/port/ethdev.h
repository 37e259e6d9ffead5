/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the ethdev port and those who make device arguments for it. */
#ifndef PANDO_PORT_ETHDEV_H
#define PANDO_PORT_ETHDEV_H

#include "dataplane/port/port.h"

/* close tries to remove this directory: the last of the nodes that share it succeeds. */
void ethdev_own_dir(struct port *p, const char *dir);

#endif
