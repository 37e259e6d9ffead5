/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the ipi test; each runs on every CPU at once. */
#ifndef PANDO_GUEST_IPI_H
#define PANDO_GUEST_IPI_H

#include "lib.h"

extern struct barrier ipi_barrier;
extern struct budget ipi_budget; /* of the part that runs */

/* What all CPUs must see at once when one changes the page tables (ipi_tlb.c). */
void tlb_prepare(void);
void tlb_part(unsigned i);

#endif
