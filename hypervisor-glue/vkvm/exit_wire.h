/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An exit and its result as messages between a vCPU's home and its proxy.
 *
 * IO_EXIT  arg = run number; op and payload:
 *          EXIT_WIRE_EXIT   kvm_run from exit_reason to the end of its union, then port data (out)
 *          EXIT_WIRE_ERROR  i32 -errno of KVM_RUN (-EINTR after a kick), then kvm_run from
 *                           exit_reason to its union
 * IO_DONE  op = EXIT_WIRE_RUN, or _WINDOW if the VMM waits to inject (request_interrupt_window);
 * arg = run number; payload: result of the exit before: port data (in), the 8 bytes of an MMIO
 * read, or nothing.
 */
#ifndef PANDO_VKVM_EXIT_WIRE_H
#define PANDO_VKVM_EXIT_WIRE_H

#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

enum { EXIT_WIRE_RUN = 1, EXIT_WIRE_RUN_WINDOW = 2 };
enum {
    EXIT_WIRE_HEAD = VKVM_RUN_UNION - VKVM_RUN_HEADER,
    EXIT_WIRE_STATE = offsetof(struct kvm_run, padding) - VKVM_RUN_HEADER,
    EXIT_WIRE_ERROR_LEN = sizeof(int32_t) + EXIT_WIRE_STATE,
    EXIT_WIRE_PIO_MAX = 4096,
};

static inline uint32_t exit_wire_pio_bytes(const struct kvm_run *run)
{
    uint64_t n = (uint64_t)run->io.size * run->io.count;
    return run->exit_reason == KVM_EXIT_IO && n <= EXIT_WIRE_PIO_MAX ? (uint32_t)n : 0;
}

/* At the proxy: the result of the exit that the VMM has handled. Returns its length. */
static inline uint32_t exit_wire_result(const struct kvm_run *run, uint8_t *out)
{
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN) {
        uint32_t n = exit_wire_pio_bytes(run);
        memcpy(out, (const uint8_t *)run + VKVM_PIO_OFFSET, n);
        return n;
    }
    if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write) {
        memcpy(out, run->mmio.data, 8);
        return 8;
    }
    return 0;
}

/* At home: the same into the kernel's kvm_run. -EPROTO: not the result of the exit that is pending.
 */
static inline int exit_wire_apply(struct kvm_run *run, bool io_pending, const uint8_t *in,
                                  uint32_t len)
{
    if (len == 0)
        return 0;
    if (!io_pending)
        return -EPROTO;
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN &&
        len == exit_wire_pio_bytes(run)) {
        memcpy((uint8_t *)run + run->io.data_offset, in, len);
        return 0;
    }
    if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write && len == 8) {
        memcpy(run->mmio.data, in, 8);
        return 0;
    }
    return -EPROTO;
}

/* At home: the exit, or -errno. Returns its length. */
static inline uint32_t exit_wire_pack(const struct kvm_run *run, int error, uint8_t *out)
{
    if (error != 0) {
        int32_t e = error;
        memcpy(out, &e, sizeof(e));
        memcpy(out + sizeof(e), (const uint8_t *)run + VKVM_RUN_HEADER, EXIT_WIRE_STATE);
        return EXIT_WIRE_ERROR_LEN;
    }
    memcpy(out, (const uint8_t *)run + VKVM_RUN_HEADER, EXIT_WIRE_HEAD);
    uint32_t n = 0;
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT) {
        n = exit_wire_pio_bytes(run);
        memcpy(out + EXIT_WIRE_HEAD, (const uint8_t *)run + run->io.data_offset, n);
    }
    return EXIT_WIRE_HEAD + n;
}

/* At the proxy: into the VMM's kvm_run; what KVM_RUN answers. */
static inline int exit_wire_unpack(struct kvm_run *run, const uint8_t *in, uint32_t len)
{
    int32_t e = 0;
    if (len == EXIT_WIRE_ERROR_LEN) {
        memcpy(&e, in, sizeof(e));
        memcpy((uint8_t *)run + VKVM_RUN_HEADER, in + sizeof(e), EXIT_WIRE_STATE);
        run->exit_reason = KVM_EXIT_INTR;
        return e < 0 && e >= -4095 ? e : -EPROTO;
    }
    if (len < EXIT_WIRE_HEAD)
        return -EPROTO;
    memcpy((uint8_t *)run + VKVM_RUN_HEADER, in, EXIT_WIRE_HEAD);
    if (run->exit_reason != KVM_EXIT_IO)
        return len == EXIT_WIRE_HEAD ? 0 : -EPROTO;
    uint32_t n = len - EXIT_WIRE_HEAD;
    uint64_t want = (uint64_t)run->io.size * run->io.count;
    if (want == 0 || want > EXIT_WIRE_PIO_MAX ||
        n != (run->io.direction == KVM_EXIT_IO_OUT ? want : 0)) {
        run->exit_reason = KVM_EXIT_INTR;
        return -EPROTO;
    }
    run->io.data_offset = VKVM_PIO_OFFSET; /* the sender's own is no business of this mapping */
    memcpy((uint8_t *)run + VKVM_PIO_OFFSET, in + EXIT_WIRE_HEAD, n);
    return 0;
}

#endif
