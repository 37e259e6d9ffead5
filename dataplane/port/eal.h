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

/* The same with more to say about packet memory. */
struct port_eal_memory {
    bool huge;
    uint32_t page_kib; /* huge: 2048 or 1048576; 0: the kernel's default size */
    int numa_node;     /* -1: DPDK's choice, the node of core; else from there alone */
};
int port_eal_init_memory(const struct port_eal_memory *memory, unsigned core, const char *pci,
                         const char *prefix, bool telemetry, char err[PORT_ERROR_MAX]);
/* Removes what it put under /run/dpdk; for a process that is about to end. */
void port_eal_close(void);
/* True if enough free hugepages are there for port_eal_init(true, ...). */
bool port_eal_hugepages(void);
/* ... for this memory, with huge. */
bool port_eal_has(const struct port_eal_memory *memory);

#endif
