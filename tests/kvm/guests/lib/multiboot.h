/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the multiboot (version 1) information that guests read. */
#ifndef PANDO_GUEST_MULTIBOOT_H
#define PANDO_GUEST_MULTIBOOT_H

#include <stdint.h>

struct mb_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr, config_table, boot_loader_name;
};

struct mb_mmap {
    uint32_t size;
    uint64_t addr, len;
    uint32_t type;
} __attribute__((packed));

#define MB_FLAG_MEMORY  0x1u
#define MB_FLAG_CMDLINE 0x4u
#define MB_FLAG_MMAP    0x40u
#define MB_FLAG_LOADER  0x200u

#endif
