/* SPDX-License-Identifier: BSD-3-Clause */
/* What takes rules: a NIC through rte_flow, or a fake in tests. EDGE. */
#ifndef PANDO_OFFLOAD_DEVICE_H
#define PANDO_OFFLOAD_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "offload/nic/nic.h"
#include "offload/plan/plan.h"

enum { FLOW_WHY_MAX = 128 };

struct flow_device;

/* All by the polling thread. None of them has a bound on its time: a driver may ask its firmware
 * or the kernel. 0, or -errno and what the driver said, cut, in why. */
struct flow_device_ops {
    int (*validate)(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX]);
    int (*create)(struct flow_device *d, const struct rule *r, void **ret_handle,
                  char why[FLOW_WHY_MAX]);
    int (*destroy)(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX]);
    /* Of a rule that counts. */
    int (*count)(struct flow_device *d, void *handle, uint64_t *ret_frames, uint64_t *ret_bytes);
};

struct flow_device {
    const struct flow_device_ops *ops;
};

/* A started port of DPDK's, number id. */
struct flow_device_rte {
    struct flow_device device;
    uint16_t id;
    enum link_kind kind;
    enum nic_flex flex;
};
void flow_device_rte_init(struct flow_device_rte *d, uint16_t id, enum link_kind kind,
                          enum nic_flex flex);

#endif
