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
struct rte_flow_item_flex_handle;

/* The end of a call that was only begun: of create or destroy of this handle. */
struct flow_done {
    void *handle;
    int rc;
    char why[FLOW_WHY_MAX]; /* where rc is not 0 */
};

/* A driver's words, as far as they are printable ASCII, with '?' for each other byte; those of the
 * error where there are none. rc: -errno. */
void flow_why_tidy(char why[FLOW_WHY_MAX], int rc);

/* All by the polling thread. None of them has a bound on its time: a driver may ask its firmware
 * or the kernel. 0, or -errno and what the driver said, cut, in why;
 * it may be any bytes, or none: flow_why_tidy.
 *
 * A device with poll may also answer create and destroy with -EINPROGRESS: the call is begun, the
 * handle is there, and the end is told by poll; or with -EAGAIN: nothing is begun, poll makes room.
 * What is begun together has no order: who needs one waits for the end of the first. So nothing is
 * destroyed before its creation has ended. A handle is gone when its creation has failed or its
 * removal has ended well; it is still the rule's when its removal has failed. */
struct flow_device_ops {
    int (*validate)(struct flow_device *d, const struct rule *r, char why[FLOW_WHY_MAX]);
    int (*create)(struct flow_device *d, const struct rule *r, void **ret_handle,
                  char why[FLOW_WHY_MAX]);
    int (*destroy)(struct flow_device *d, void *handle, char why[FLOW_WHY_MAX]);
    /* Of a rule that counts, and that is there. */
    int (*count)(struct flow_device *d, void *handle, uint64_t *ret_frames, uint64_t *ret_bytes);
    /* Sends what was begun, and tells up to max ends; does not wait for any. Returns how many.
     * NULL: create and destroy have ended when they return. */
    uint32_t (*poll)(struct flow_device *d, struct flow_done *ret_done, uint32_t max);
    /* How rules come to the device, and why not otherwise. NULL: there is nothing to say. */
    void (*note)(const struct flow_device *d, char out[FLOW_WHY_MAX]);
    void (*close)(struct flow_device *d); /* NULL: nothing to do */
};

struct flow_device {
    const struct flow_device_ops *ops;
};

/* ---- DPDK ---------------------------------------------------------------------------------- */

/* What rules are made for (pattern.h). */
struct flow_words {
    enum link_kind kind;
    enum nic_flex flex;
    struct rte_flow_item_flex_handle *item; /* NIC_FLEX_ITEM; NULL: the port has none */
    /* As in struct plan_input: for rules in the embedded switch. */
    uint16_t own_port, wire_port, local_port[WIRE_NODES_MAX];
};

enum { FLOW_SWITCHED_MAX = 4 };

/* A started port of DPDK's, number id, by single calls: each has ended when it returns. */
struct flow_device_rte {
    struct flow_device device;
    uint16_t id;
    struct flow_words words;
    char flex_why[FLOW_WHY_MAX]; /* why words.item is NULL */
    /* Rules in the embedded switch belong to another port: its transfer proxy. */
    uint16_t switch_port;
    void *switched[FLOW_SWITCHED_MAX]; /* NULL: free */
};
void flow_device_rte_init(struct flow_device_rte *d, uint16_t id, enum link_kind kind,
                          enum nic_flex flex);

/*
 * The same port with all that its NIC has: the flex item for our header, the switch's proxy, and
 * rules by its flow queue (rte_flow's template and asynchronous API) where nic says async and the
 * port has such a queue. What the driver refuses of this is done by single calls, and its words are
 * kept: in a rule's why where the single call is refused as well, else in note.
 */
struct flow_device_config {
    uint16_t id;
    const struct nic *nic;       /* kept */
    const struct plan_input *in; /* link, ethertype, ports of the embedded switch; copied */
    uint32_t flow_queue;         /* operations that flow queue 0 holds: ethdev_info; 0: none */
    const char *flow_why;        /* why there is none; copied */
};
/* 0 or -ENOMEM. The port stays started until flow_device_close. */
int flow_device_open(const struct flow_device_config *cfg, struct flow_device **ret);
/* Destroys what open and the rules needed, last first; the rules are gone. NULL is fine. */
void flow_device_close(struct flow_device *d);

/* Between device.c and device_async.c: open and close without the flow queue; the driver's words,
 * or the error's where it has none. rc: what the driver returned; returns -errno. */
struct rte_flow_error;
void flow_device_rte_open(struct flow_device_rte *d, const struct flow_device_config *cfg);
void flow_device_rte_close(struct flow_device_rte *d);
int flow_device_failed(int rc, const struct rte_flow_error *e, char why[FLOW_WHY_MAX]);

#endif
