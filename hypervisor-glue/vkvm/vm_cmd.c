/* SPDX-License-Identifier: BSD-3-Clause */
/* VM-wide changes: sent to every other node in order, and acknowledged by all before the ioctl
 * returns. */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

static int take_replies(struct vm *vm, uint64_t waiting, uint32_t seq, const char *what)
{
    struct link *l = &vm->link;
    struct glue_chan *c = link_chan(l, l->vcpus);
    uint64_t deadline = link_now() + VKVM_CMD_SECONDS * UINT64_C(1000000000);
    int result = 0;
    while (waiting != 0) {
        struct glue_entry e;
        link_doze(c);
        int got = link_take(l, l->vcpus, &e, vm->reply);
        if (got == 0 && !link_stopped(l) && link_now() < deadline)
            link_sleep(c, UINT64_MAX);
        link_awake(c);
        if (got == 0) {
            if (link_stopped(l))
                return -EIO;
            if (link_now() >= deadline) {
                say("%s: node %d does not answer after %d s: is pando-vcpud running there?", what,
                    __builtin_ctzll(waiting), VKVM_CMD_SECONDS);
                return -ETIMEDOUT;
            }
            continue;
        }
        if (e.kind != WIRE_VM_REP || e.seq != seq || e.node >= l->nodes ||
            (waiting >> e.node & 1) == 0)
            continue; /* of an earlier change that was given up */
        waiting &= ~(UINT64_C(1) << e.node);
        vm->reply_len = e.len;
        if (e.arg != 0) {
            int err = e.arg < 4096 ? (int)e.arg : EPROTO;
            say("%s: refused by node %u: %s%s%.*s", what, e.node, strerror(err),
                e.len > 0 ? ": " : "", e.len, (const char *)vm->reply);
            result = -err;
        }
    }
    return result;
}

int vm_cmd(struct vm *vm, uint32_t node, enum vm_cmd op, uint64_t arg, const void *payload,
           uint32_t len, const char *what)
{
    struct link *l = &vm->link;
    struct glue_entry e = {
        .kind = WIRE_VM_CMD, .chan = WIRE_CHAN_VM, .op = (uint16_t)op, .arg = arg};
    uint64_t waiting = 0;
    e.seq = ++vm->cmd_seq;
    for (uint32_t n = 0; n < l->nodes; n++) {
        if (n == l->node || (node != UINT32_MAX && n != node))
            continue;
        e.node = (uint8_t)n;
        int rc = link_send_vm(l, &e, payload, len);
        if (rc < 0)
            return rc;
        waiting |= UINT64_C(1) << n;
    }
    return take_replies(vm, waiting, e.seq, what);
}
