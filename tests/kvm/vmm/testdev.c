/* SPDX-License-Identifier: BSD-3-Clause */
/* The MMIO test device: 64-bit registers that tell who reached them, and an MSI doorbell.
 *
 *   0x00  scratch          read/write
 *   0x08  writes to 0x00   read; a write sets it
 *   0x10  vCPU that wrote 0x00 last, read-only
 *   0x18  doorbell: address << 32 | data becomes KVM_SIGNAL_MSI; reads give the number of MSIs sent
 *   0x20  the vCPU that reads, read-only
 *   0x100 + 8 * i          scratch register i, one per vCPU
 */
#include "vmm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define REG_OWN 0x100u

static void signal_msi(struct vcpu *vcpu, uint64_t v)
{
    struct kvm_msi msi = {.address_lo = (uint32_t)(v >> 32), .data = (uint32_t)v};

    if (ioctl(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi) < 0)
        fprintf(stderr, "pando-testvmm: KVM_SIGNAL_MSI %#x %#x: %s\n", msi.address_lo, msi.data,
                strerror(errno));
    vcpu->vm->testdev.msis++;
}

static uint64_t *own_register(struct testdev *t, uint32_t off)
{
    if (off < REG_OWN || (off - REG_OWN) / 8 >= VMM_MAX_VCPUS)
        return NULL;
    return &t->own[(off - REG_OWN) / 8];
}

static uint64_t reg_read(struct vcpu *vcpu, uint32_t reg)
{
    struct testdev *t = &vcpu->vm->testdev;
    const uint64_t *own = own_register(t, reg);

    switch (reg) {
    case 0x00:
        return t->scratch;
    case 0x08:
        return t->scratch_writes;
    case 0x10:
        return t->last_writer;
    case 0x18:
        return t->msis;
    case 0x20:
        return vcpu->id;
    default:
        return own != NULL ? *own : ~0ull;
    }
}

static void reg_write(struct vcpu *vcpu, uint32_t reg, uint64_t v)
{
    struct testdev *t = &vcpu->vm->testdev;
    uint64_t *own = own_register(t, reg);

    switch (reg) {
    case 0x00:
        t->scratch = v;
        t->scratch_writes++;
        t->last_writer = vcpu->id;
        break;
    case 0x08:
        t->scratch_writes = v;
        break;
    case 0x18:
        signal_msi(vcpu, v);
        break;
    default:
        if (own != NULL)
            *own = v;
        break;
    }
}

/* Narrow accesses work on the bytes of their register; one that straddles two is ignored. */
void testdev_access(struct vcpu *vcpu, uint32_t off, uint8_t *data, uint32_t len, bool write)
{
    uint32_t reg = off & ~7u, shift = off & 7u;

    if (shift + len > 8) {
        if (!write)
            memset(data, 0xFF, len);
        return;
    }
    uint8_t bytes[8];
    uint64_t v = reg_read(vcpu, reg);

    if (write && reg == 0x18)
        v = 0; /* a doorbell has nothing to merge with */
    memcpy(bytes, &v, sizeof(bytes));
    if (!write) {
        memcpy(data, bytes + shift, len);
        return;
    }
    memcpy(bytes + shift, data, len);
    memcpy(&v, bytes, sizeof(v));
    reg_write(vcpu, reg, v);
}
