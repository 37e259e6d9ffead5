/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pando-offload: what `pando offload plan`, `nics` and `show` are. APP.
 *
 *   plan  what a NIC would be asked for: no NIC, no rights and no running cluster needed
 *   nics  what the tables say of each family of NICs, and where it was read
 *   show  what running dataplanes have got, intent by intent, over DPDK's telemetry socket
 *
 * Exit status: 0; 1: not all of it could be done, said on standard error; 2: usage.
 */
#ifndef PANDO_OFFLOAD_SHOW_H
#define PANDO_OFFLOAD_SHOW_H

#include "dataplane/watch/out.h"

int plan_main(int argc, char **argv);
int nics_main(int argc, char **argv);
int show_main(int argc, char **argv);

extern const char offload_title[]; /* of the program, where no command's is meant */

#endif
