/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vCPU that lives elsewhere, in the VMM's process. KVM_RUN sends the result of the last exit and
 * waits for the next; other ioctls are one message there and one back.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/exit_wire.h"
#include "hypervisor-glue/vkvm/span_stamps.h"
#include "hypervisor-glue/vkvm/vkvm.h"

static struct glue_entry message(struct vcpu *v, uint8_t kind, uint16_t op, uint64_t arg)
{
    return (struct glue_entry){.kind = kind,
                               .node = v->vm->link.vcpu_home[v->id],
                               .chan = (uint16_t)v->id,
                               .op = op,
                               .arg = arg};
}

/* One look or one bounded sleep. 1: *e is a message of this vCPU's home. *signalled is set if a
 * signal ended the sleep. */
static int await(struct vcpu *v, struct glue_entry *e, uint64_t nanoseconds, bool *signalled)
{
    struct link *l = &v->vm->link;
    link_doze(v->chan);
    int got = link_take(l, v->id, e, v->payload);
    if (got == 0 && !link_stopped(l))
        *signalled |= link_sleep(v->chan, nanoseconds);
    link_awake(v->chan);
    if (got == 0)
        return link_stopped(l) ? -EIO : 0;
    return e->node == l->vcpu_home[v->id] ? 1 : 0;
}

static int send_kick(struct vcpu *v, uint64_t run)
{
    struct glue_entry kick = message(v, WIRE_KICK, 0, run);
    return link_send(&v->vm->link, v->id, &kick, NULL, 0);
}

/* A kick is the VMM's flag, or, as with KVM, any signal that is handled while KVM_RUN waits. The
 * flag of a signal that comes between the look and the sleep is seen after VKVM_POLL_NS.
 * *signalled: such a signal has come, also in an earlier run of the same KVM_RUN; then the kick
 * goes ahead of the run, which so completes its access and enters no guest. */
static int next_exit(struct vcpu *v, bool *signalled)
{
    struct link *l = &v->vm->link;
    uint64_t run = ++v->run_number;
    bool kicked = false;
    uint32_t len = exit_wire_result(v->run, v->payload);
    struct glue_entry e =
        message(v, WIRE_IO_DONE,
                v->run->request_interrupt_window != 0 ? EXIT_WIRE_RUN_WINDOW : EXIT_WIRE_RUN, run);
    e.seq = v->span.echo;
    e.stamp = e.seq != 0 ? glue_clock_tsc() : 0;
    v->span.echo = 0;
    atomic_store(&v->chan->tid, (uint32_t)syscall(SYS_gettid));
    *signalled |= __atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED) != 0;
    int rc = *signalled ? send_kick(v, run) : 0;
    kicked = *signalled;
    if (rc == 0)
        rc = link_send(l, v->id, &e, v->payload, len);
    while (rc == 0) {
        *signalled |= __atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED) != 0;
        if (!kicked && *signalled) {
            rc = send_kick(v, run);
            kicked = true; /* once: the home compares run numbers */
            continue;
        }
        rc = await(v, &e, VKVM_POLL_NS, signalled);
        if (rc != 1)
            continue;
        rc = 0;
        if (e.kind != WIRE_IO_EXIT || e.arg != run)
            continue;
        v->span.echo = e.seq;
        if (e.seq != 0)
            span_turn(v, e.seq);
        return exit_wire_unpack(v->run, v->payload, e.len);
    }
    return rc;
}

int proxy_run(struct vcpu *v)
{
    bool signalled = false;
    int rc = next_exit(v, &signalled);
    for (; rc == 0 && eventfds_take(v->vm, v->run); rc = next_exit(v, &signalled))
        v->exits_here++;
    v->exits_vmm += rc == 0;
    return rc;
}

int proxy_ioctl(struct vcpu *v, const struct ioctl_info *info, uintptr_t arg)
{
    uint64_t value = arg;
    void *bytes = info->size == SIZE_VALUE ? (void *)&value : (void *)arg;
    int size = ioctl_arg_size(info, bytes, SIZE_MAX);
    if (size < 0)
        return size;
    struct glue_entry e = message(v, WIRE_VCPU_CMD, 0, info->nr);
    uint32_t seq = e.seq = ++v->seq;
    bool signalled = false;
    int rc = link_send(&v->vm->link, v->id, &e, bytes, (uint32_t)size);
    while (rc == 0) {
        rc = await(v, &e, UINT64_MAX, &signalled);
        if (rc != 1)
            continue;
        rc = 0;
        if (e.kind != WIRE_VCPU_REP || e.seq != seq)
            continue;
        int answer = (int)(int32_t)(uint32_t)e.arg;
        if (answer < -4095 || e.len > size)
            return -EPROTO;
        if (info->size != SIZE_VALUE)
            memcpy(bytes, v->payload, e.len);
        return answer;
    }
    return rc;
}
