/* SPDX-License-Identifier: BSD-3-Clause */
/* A deliberate triple fault on the last vCPU (or cpu=N): the VMM reports it and ends with 124. */
#include "lib.h"

const char guest_name[] = "triplefault";

void guest_main(unsigned cpu)
{
    if (cpu == cmdline_u64("cpu", ncpus - 1)) {
        printf("vCPU %u: triple fault now\n", cpu);
        system_call(0, 0, SYS_TRIPLE_FAULT);
        fail("still running after a triple fault");
    }
    barrier(); /* never completed */
}
