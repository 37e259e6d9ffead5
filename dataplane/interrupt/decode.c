/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices send, as struct apic_msg: MSI address and data, IOAPIC redirection table entries. */
#include "dataplane/interrupt/interrupt.h"

#include <errno.h>

#define MSI_ADDR_BASE       UINT64_C(0xFEE00000)
#define MSI_ADDR_BASE_MASK  UINT64_C(0xFFFFFFFFFFF00000)
#define MSI_ADDR_REMAPPABLE (UINT64_C(1) << 4)
#define MSI_ADDR_HINT       (UINT64_C(1) << 3)
#define MSI_ADDR_LOGICAL    (UINT64_C(1) << 2)

#define RTE_MASKED     (UINT64_C(1) << 16)
#define RTE_REMAPPABLE (UINT64_C(1) << 48)

#define FIRST_LEGAL_VECTOR 16u

/* The fields that MSI data and the low half of an RTE have in common, at the same places. */
static int decode_common(uint32_t low, struct apic_msg *m)
{
    m->source = IRQ_SOURCE_DEVICE;
    m->vector = (uint8_t)low;
    m->delivery = (uint8_t)(low >> 8 & 7u);
    m->trigger = (uint8_t)(low >> 15 & 1u);
    m->level = 1;
    if (m->delivery == APIC_DELIVERY_RESERVED || m->delivery == APIC_DELIVERY_SIPI)
        return -EINVAL;
    if (m->delivery <= APIC_DELIVERY_LOWEST && m->vector < FIRST_LEGAL_VECTOR)
        return -EINVAL;
    return 0;
}

int irq_decode_msi(uint64_t addr, uint32_t data, struct apic_msg *ret_msg)
{
    struct apic_msg m = {0};
    if ((addr & MSI_ADDR_BASE_MASK) != MSI_ADDR_BASE)
        return -ENXIO;
    if (addr & MSI_ADDR_REMAPPABLE)
        return -EOPNOTSUPP;
    int err = decode_common(data, &m);
    if (err != 0)
        return err;
    m.dest = (uint32_t)(addr >> 12 & 0xFFu);
    m.dest_mode = addr & MSI_ADDR_LOGICAL ? APIC_DEST_LOGICAL : APIC_DEST_PHYSICAL;
    if ((addr & MSI_ADDR_HINT) != 0 && m.delivery == APIC_DELIVERY_FIXED)
        m.delivery = APIC_DELIVERY_LOWEST;
    *ret_msg = m;
    return 0;
}

int irq_decode_rte(uint64_t rte, struct apic_msg *ret_msg)
{
    struct apic_msg m = {0};
    if (rte & RTE_MASKED)
        return -EAGAIN;
    if (rte & RTE_REMAPPABLE)
        return -EOPNOTSUPP;
    int err = decode_common((uint32_t)rte, &m);
    if (err != 0)
        return err;
    m.dest = (uint32_t)(rte >> 56);
    m.dest_mode = rte >> 11 & 1u ? APIC_DEST_LOGICAL : APIC_DEST_PHYSICAL;
    *ret_msg = m;
    return 0;
}
