/* SPDX-License-Identifier: BSD-3-Clause */
/* The smallest guest: one CPU says hello. */
#include "lib.h"

const char guest_name[] = "hello";

void guest_main(unsigned cpu)
{
    printf("hello from vCPU %u of %u\n", cpu, ncpus);
}
