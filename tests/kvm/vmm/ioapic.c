/* SPDX-License-Identifier: BSD-3-Clause */
/* The register file of an IOAPIC with 24 pins and nothing wired to them: guests that set it up or
 * mask it find what they expect, and no pin ever rises. */
#include "vmm.h"

#include <string.h>

#define IOAPIC_VERSION (0x20u | 23u << 16)

static uint32_t *redirect_word(struct ioapic *io)
{
    uint32_t word = io->select - 0x10;

    if (io->select < 0x10 || word / 2 >= 24)
        return NULL;
    return (uint32_t *)&io->redirect[word / 2] + (word & 1);
}

static uint32_t read_window(struct ioapic *io)
{
    const uint32_t *word = redirect_word(io);

    switch (io->select) {
    case 0:
    case 2:
        return io->id;
    case 1:
        return IOAPIC_VERSION;
    default:
        return word != NULL ? *word : 0;
    }
}

static void write_window(struct ioapic *io, uint32_t v)
{
    uint32_t *word = redirect_word(io);

    if (io->select == 0)
        io->id = v & 0x0F000000u;
    else if (word != NULL)
        *word = v;
}

void ioapic_access(struct vm *vm, uint32_t off, uint8_t *data, uint32_t len, bool write)
{
    struct ioapic *io = &vm->ioapic;
    uint32_t v = 0;

    if (write) {
        memcpy(&v, data, len < 4 ? len : 4);
        if (off == 0x00)
            io->select = v & 0xFF;
        else if (off == 0x10)
            write_window(io, v);
        return;
    }
    if (off == 0x00)
        v = io->select;
    else if (off == 0x10)
        v = read_window(io);
    memset(data, 0, len);
    memcpy(data, &v, len < 4 ? len : 4);
}
