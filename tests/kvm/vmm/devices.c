/* SPDX-License-Identifier: BSD-3-Clause */
/* Port and memory-mapped devices. Every access holds the device lock: devices stay simple. */
#include "vmm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PORT_SERIAL 0x3F8u
#define PORT_DEBUG  0xE9u
#define PORT_EXIT   0xF4u

#define SERIAL_LCR_DLAB  0x80u
#define SERIAL_LSR_IDLE  0x60u /* transmitter empty */
#define SERIAL_MSR_READY 0xB0u

/* stdout may be a pipe that is slow or has gone; a guest must not die of it. */
static void console_write(const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);

        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};

            poll(&p, 1, 100);
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void serial_write(struct serial *s, unsigned reg, uint8_t v)
{
    switch (reg) {
    case 0:
        if (s->lcr & SERIAL_LCR_DLAB)
            s->dll = v;
        else
            console_write(&v, 1);
        break;
    case 1:
        if (s->lcr & SERIAL_LCR_DLAB)
            s->dlm = v;
        else
            s->ier = v & 0x0F;
        break;
    case 3:
        s->lcr = v;
        break;
    case 4:
        s->mcr = v & 0x1F;
        break;
    case 7:
        s->scr = v;
        break;
    default: /* FIFO control; LSR and MSR are read-only */
        break;
    }
}

static uint8_t serial_read(const struct serial *s, unsigned reg)
{
    switch (reg) {
    case 0:
        return (s->lcr & SERIAL_LCR_DLAB) ? s->dll : 0; /* no input */
    case 1:
        return (s->lcr & SERIAL_LCR_DLAB) ? s->dlm : s->ier;
    case 2:
        return 0xC1; /* FIFOs on, no interrupt pending */
    case 3:
        return s->lcr;
    case 4:
        return s->mcr;
    case 5:
        return SERIAL_LSR_IDLE;
    case 6:
        return SERIAL_MSR_READY;
    default:
        return s->scr;
    }
}

static void exit_write(struct vcpu *vcpu, const uint8_t *data, uint32_t len)
{
    uint32_t v = 0;

    memcpy(&v, data, len < sizeof(v) ? len : sizeof(v));
    vm_end(vcpu->vm, vcpu->id, (int)((v << 1 | 1) & 0xFF), "exit port");
}

static void port_write(struct vcpu *vcpu, uint16_t port, const uint8_t *data, uint32_t len)
{
    if (port == PORT_EXIT)
        exit_write(vcpu, data, len);
    else if (port == PORT_DEBUG)
        console_write(data, len);
    else if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
        for (uint32_t i = 0; i < len && port + i < PORT_SERIAL + 8; i++)
            serial_write(&vcpu->vm->serial, port - PORT_SERIAL + i, data[i]);
}

static void port_read(struct vcpu *vcpu, uint16_t port, uint8_t *data, uint32_t len)
{
    memset(data, 0xFF, len); /* as an empty bus answers */
    if (port == PORT_DEBUG)
        data[0] = PORT_DEBUG;
    else if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
        for (uint32_t i = 0; i < len && port + i < PORT_SERIAL + 8; i++)
            data[i] = serial_read(&vcpu->vm->serial, port - PORT_SERIAL + i);
}

void device_pio(struct vcpu *vcpu, const struct kvm_run *run, uint8_t *data)
{
    const uint16_t port = run->io.port;
    const uint32_t size = run->io.size, count = run->io.count;
    struct vm *vm = vcpu->vm;
    bool out = run->io.direction == KVM_EXIT_IO_OUT;

    pthread_mutex_lock(&vm->device_lock);
    /* A string to the console is one write, so that blocks of two vCPUs do not mix. */
    if (out && size == 1 &&
        (port == PORT_DEBUG || (port == PORT_SERIAL && !(vm->serial.lcr & SERIAL_LCR_DLAB))))
        console_write(data, count);
    else
        for (uint32_t i = 0; i < count; i++) {
            if (out)
                port_write(vcpu, port, data + i * size, size);
            else
                port_read(vcpu, port, data + i * size, size);
        }
    pthread_mutex_unlock(&vm->device_lock);
}

void device_mmio(struct vcpu *vcpu, uint64_t gpa, uint8_t *data, uint32_t len, bool write)
{
    struct vm *vm = vcpu->vm;

    pthread_mutex_lock(&vm->device_lock);
    if (gpa >= GPA_TESTDEV && gpa - GPA_TESTDEV < 0x1000)
        testdev_access(vcpu, (uint32_t)(gpa - GPA_TESTDEV), data, len, write);
    else if (gpa >= GPA_IOAPIC && gpa - GPA_IOAPIC < 0x1000)
        ioapic_access(vm, (uint32_t)(gpa - GPA_IOAPIC), data, len, write);
    else if (!write)
        memset(data, 0xFF, len);
    pthread_mutex_unlock(&vm->device_lock);
}
