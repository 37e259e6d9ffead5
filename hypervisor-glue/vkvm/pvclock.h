/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's paravirtual clock as the guest reads it (Documentation/virt/kvm/x86/msr.rst of Linux):
 *   ns = system_time + (((rdtsc - tsc_timestamp) << shift, or >> -shift) * mul >> 32)
 * The guest's TSC is one clock over all nodes (guest_clock.c), so every vCPU gets the same constant
 * record, and it says that it is stable: the guest may compare times of different vCPUs.
 */
#ifndef PANDO_VKVM_PVCLOCK_H
#define PANDO_VKVM_PVCLOCK_H

#include <stdint.h>
#include <string.h>

enum {
    PVCLOCK_TIME_SIZE = 32,
    PVCLOCK_WALL_SIZE = 12,
    PVCLOCK_TSC_STABLE = 1,
    PVCLOCK_MSR_WALL_OLD = 0x11,
    PVCLOCK_MSR_TIME_OLD = 0x12,
    PVCLOCK_MSR_WALL = 0x4b564d00,
    PVCLOCK_MSR_TIME = 0x4b564d01,
    PVCLOCK_MSR_PV_COUNT = 8, /* 0x4b564d00..07: the others share pages with one host's kernel */
};
#define PVCLOCK_ENABLED UINT64_C(1) /* of the time MSR */

__extension__ typedef unsigned __int128 pvclock_wide;

struct pvclock_scale {
    uint32_t mul;
    int8_t shift;
};

/* tsc_khz 1..2^31. mul is in 2^31..2^32-1: the full precision of the format. */
static inline struct pvclock_scale pvclock_scale(uint32_t tsc_khz)
{
    struct pvclock_scale s = {0, 0};
    uint64_t hz = (uint64_t)tsc_khz * 1000, base = UINT64_C(1000000000);
    while (hz > base * 2) { /* fewer ticks than a shift later: precision goes to mul */
        hz >>= 1;
        s.shift--;
    }
    while (hz <= base) {
        hz <<= 1;
        s.shift++;
    }
    s.mul = (uint32_t)((base << 32) / hz); /* base < hz <= 2 base */
    return s;
}

static inline uint64_t pvclock_ns(struct pvclock_scale s, uint64_t ticks)
{
    ticks = s.shift < 0 ? ticks >> -s.shift : ticks << s.shift;
    return (uint64_t)((pvclock_wide)ticks * s.mul >> 32);
}

/* struct pvclock_vcpu_time_info. version must be even; the record is never changed under a reader
 * that trusts it, for it is constant. */
static inline void pvclock_time_pack(struct pvclock_scale s, uint8_t out[PVCLOCK_TIME_SIZE])
{
    uint32_t version = 2;
    memset(out, 0, PVCLOCK_TIME_SIZE); /* tsc_timestamp, system_time: both clocks start at 0 */
    memcpy(out, &version, 4);
    memcpy(out + 24, &s.mul, 4);
    out[28] = (uint8_t)s.shift;
    out[29] = PVCLOCK_TSC_STABLE;
}

/* struct pvclock_wall_clock: wall-clock time at which the paravirtual clock was 0. */
static inline void pvclock_wall_pack(uint64_t start_ns, uint8_t out[PVCLOCK_WALL_SIZE])
{
    uint32_t v[3] = {2, (uint32_t)(start_ns / 1000000000u), (uint32_t)(start_ns % 1000000000u)};
    memcpy(out, v, sizeof(v));
}

#endif
