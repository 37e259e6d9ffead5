/* SPDX-License-Identifier: BSD-3-Clause */
/* What lies behind an address of this process: the memfd whose bytes are guest RAM, or why it is
 * none. EDGE. */
#ifndef PANDO_GLUE_RAM_SOURCE_H
#define PANDO_GLUE_RAM_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor-glue/link/link.h"

struct ram_source {
    uint8_t *start; /* of the mapping */
    uint64_t size, offset;
    bool shared_file; /* a shared mapping of a memfd or of a tmpfs file */
    int fd;           /* ours, when shared_file */
};

/* Finds the mapping at an address; 0, or -errno with a sentence in err. */
int ram_source_find(const void *address, struct ram_source *ret, char err[LINK_ERROR_MAX]);

/* Makes a mapping coherent: its bytes are set aside, the file emptied, the range registered and
 * handed to the dataplane, and the bytes written back through the mapping, as this node's writes.
 */
int ram_source_hand_over(struct link *l, const struct ram_source *s, char err[LINK_ERROR_MAX]);

#endif
