/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread of a vCPU at home here: carries out what its proxy at the VMM asks for, one message at
 * a time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "hypervisor-glue/vkvm/exit_wire.h"
#include "hypervisor-glue/vkvm/span_stamps.h"
#include "hypervisor-glue/vkvm/vcpud.h"

static void answer(struct vcpu *v, const struct glue_entry *e, int result, uint32_t len)
{
    struct glue_entry r = {.kind = WIRE_VCPU_REP,
                           .node = e->node,
                           .chan = (uint16_t)v->id,
                           .seq = e->seq,
                           .arg = (uint32_t)(int32_t)result};
    link_send(&v->vm->link, v->id, &r, v->payload, len);
}

/* The number and the size come from a peer: only state ioctls of the allow-list, with exactly their
 * bytes. */
static void command(struct vcpu *v, const struct glue_entry *e)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_VCPU, (uint32_t)e->arg);
    if (info == NULL || e->arg >> 32 != 0 || info->way != WAY_STATE) {
        answer(v, e, -EPERM, 0);
        return;
    }
    int size = ioctl_arg_size(info, v->payload, e->len);
    if (size < 0 || size != e->len) {
        answer(v, e, -EINVAL, 0);
        return;
    }
    uint64_t value;
    memcpy(&value, v->payload, sizeof(value));
    bool is_value = info->size == SIZE_VALUE;
    pthread_mutex_lock(&v->lock);
    int rc = home_ioctl(v, info, is_value ? value : (uintptr_t)v->payload);
    pthread_mutex_unlock(&v->lock);
    bool writes = (_IOC_DIR(info->nr) & _IOC_READ) != 0 && !is_value;
    answer(v, e, rc, rc >= 0 && writes ? (uint32_t)size : 0);
}

static void run(struct vcpu *v, const struct glue_entry *e)
{
    pthread_mutex_lock(&v->lock);
    v->run_number = e->arg;
    v->span.turn = e->seq;
    v->span.exit_stamp = 0;
    int rc = exit_wire_apply(v->run, v->io_pending, v->payload, e->len);
    if (rc == 0)
        rc = home_run(v, e->op == EXIT_WIRE_RUN_WINDOW);
    uint32_t len = exit_wire_pack(v->run, rc, v->payload);
    pthread_mutex_unlock(&v->lock);
    struct glue_entry x = {.kind = WIRE_IO_EXIT,
                           .node = (uint8_t)v->vm->link.vmm_node,
                           .chan = (uint16_t)v->id,
                           .arg = v->run_number};
    if (rc == 0 && (v->run->exit_reason == KVM_EXIT_IO || v->run->exit_reason == KVM_EXIT_MMIO))
        span_mark(v, &x);
    link_send(&v->vm->link, v->id, &x, v->payload, len);
}

void *vcpud_vcpu_thread(void *arg)
{
    struct vcpu *v = arg;
    struct link *l = &v->vm->link;
    char name[16];
    snprintf(name, sizeof(name), "pando-vcpu%u", v->id);
    prctl(PR_SET_NAME, name);
    home_thread_setup(v);
    while (!link_stopped(l)) {
        struct glue_entry e;
        link_doze(v->chan);
        int got = link_take(l, v->id, &e, v->payload);
        if (got == 0 && !link_stopped(l))
            link_sleep(v->chan, UINT64_MAX);
        link_awake(v->chan);
        if (got == 0 || e.node != l->vmm_node)
            continue;
        if (e.kind == WIRE_VCPU_CMD)
            command(v, &e);
        else if (e.kind == WIRE_IO_DONE && (e.op == EXIT_WIRE_RUN || e.op == EXIT_WIRE_RUN_WINDOW))
            run(v, &e);
    }
    return NULL;
}
