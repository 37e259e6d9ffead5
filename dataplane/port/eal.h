/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK's environment layer, with the fewest options that the ethdev port needs. EDGE. */
#ifndef PANDO_PORT_EAL_H
#define PANDO_PORT_EAL_H

#include <limits.h>
#include <stdbool.h>

#include "dataplane/port/port.h"

#define PORT_EAL_ANY_CORE UINT_MAX

/* Once a process, by the thread that will poll, before the ports are opened.
 *   huge       packet memory in hugepages, without files (--in-memory); else ordinary memory
 *              (--no-huge), which serves every virtual device, but no NIC that does DMA. Are there
 *              any? port_eal_hugepages.
 *   core       the calling thread is pinned to it; PORT_EAL_ANY_CORE leaves the affinity as it is.
 *   pci        the address of a NIC on PCI, which is looked for at once, since the kind of DMA
 *              addresses is chosen by it; NULL: PCI is not scanned.
 *   prefix     names the directory under /run/dpdk: unlike for all processes of a machine, alike
 *              for all starts of one node, which thereby takes over what a killed predecessor left.
 *   telemetry  DPDK's telemetry thread and its socket in that directory; without it nothing is
 *              there.
 * 0, or -errno and what to do in err. A NIC that no driver takes is no error yet (port_open_dpdk).
 */
int port_eal_init(bool huge, unsigned core, const char *pci, const char *prefix, bool telemetry,
                  char err[PORT_ERROR_MAX]);
/* Removes what it put under /run/dpdk; for a process that is about to end. */
void port_eal_close(void);
/* True if enough free hugepages are there for port_eal_init(true, ...). */
bool port_eal_hugepages(void);

#endif
