/* SPDX-License-Identifier: BSD-3-Clause */
/* Multiboot version 1: finds the header, loads the image, builds the information structure. */
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_MAGIC       0x1BADB002u
#define HEADER_SEARCH      8192u
#define HEADER_WANTS_VIDEO (1u << 2)
#define HEADER_REQUIRED    0xFFFFu /* flag bits a loader must understand or refuse */
#define HEADER_KNOWN       0x7u

#define INFO_MEMORY      (1u << 0)
#define INFO_BOOT_DEVICE (1u << 1)
#define INFO_CMDLINE     (1u << 2)
#define INFO_MODULES     (1u << 3)
#define INFO_MMAP        (1u << 6)
#define INFO_LOADER_NAME (1u << 9)

struct mb_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table;
    uint32_t boot_loader_name, apm_table;
};

struct mb_mmap {
    uint32_t size; /* of what follows */
    uint64_t addr, len;
    uint32_t type; /* 1: RAM, 2: reserved */
} __attribute__((packed));

#define INFO_MMAP_AT    0x100u
#define INFO_STRINGS_AT 0x400u

static const char loader_name[] = "pando-testvmm";

static int refuse(const struct vm *vm, const char *why)
{
    fprintf(stderr, "pando-testvmm: %s: %s\n", vm->opt->guest_path, why);
    return -EINVAL;
}

static int check_header(const struct vm *vm, const uint8_t *file, size_t size)
{
    for (size_t at = 0; at + 12 <= size && at + 12 <= HEADER_SEARCH; at += 4) {
        uint32_t h[3];

        memcpy(h, file + at, sizeof(h));
        if (h[0] != HEADER_MAGIC || h[0] + h[1] + h[2] != 0)
            continue;
        if (h[1] & HEADER_REQUIRED & ~HEADER_KNOWN)
            return refuse(vm, "its multiboot header requires a feature that is not supported");
        if (h[1] & HEADER_WANTS_VIDEO)
            fprintf(stderr, "pando-testvmm: %s: wants a video mode; there is none\n",
                    vm->opt->guest_path);
        return 0;
    }
    return refuse(vm, "no multiboot (version 1) header in its first 8192 bytes");
}

static unsigned build_mmap(const struct vm *vm, struct mb_mmap *map)
{
    uint64_t low = vm_low_ram(vm), high = vm->ram_size - low;
    unsigned n = 0;

    map[n++] = (struct mb_mmap){20, 0, GPA_LOW_RAM_END, 1};
    map[n++] = (struct mb_mmap){20, GPA_LOW_RAM_END, 0x100000 - GPA_LOW_RAM_END, 2};
    map[n++] = (struct mb_mmap){20, 0x100000, low - 0x100000, 1};
    if (high > 0)
        map[n++] = (struct mb_mmap){20, GPA_HIGH_RAM, high, 1};
    return n;
}

static int build_info(struct vm *vm)
{
    uint8_t *page = vm_low_ptr(vm, GPA_INFO, GPA_INFO_END - GPA_INFO);
    size_t room = GPA_INFO_END - GPA_INFO - INFO_STRINGS_AT - sizeof(loader_name);
    char *strings = (char *)page + INFO_STRINGS_AT;
    struct mb_info info = {
        .flags = INFO_MEMORY | INFO_BOOT_DEVICE | INFO_CMDLINE | INFO_MODULES | INFO_MMAP |
                 INFO_LOADER_NAME,
        .mem_lower = GPA_LOW_RAM_END / 1024,
        .mem_upper = (uint32_t)((vm_low_ram(vm) - 0x100000) / 1024),
        .boot_device = 0x8000FFFFu,
        .mmap_addr = GPA_INFO + INFO_MMAP_AT,
        .boot_loader_name = GPA_INFO + INFO_STRINGS_AT,
        .cmdline = GPA_INFO + INFO_STRINGS_AT + sizeof(loader_name),
    };

    if ((size_t)snprintf(strings + sizeof(loader_name), room, "%s %s", vm->opt->guest_path,
                         vm->opt->cmdline) >= room)
        return refuse(vm, "its command line is longer than about 3,000 bytes");
    memcpy(strings, loader_name, sizeof(loader_name));
    struct mb_mmap map[4];

    info.mmap_length = build_mmap(vm, map) * (uint32_t)sizeof(map[0]);
    memcpy(page + INFO_MMAP_AT, map, info.mmap_length);
    memcpy(page, &info, sizeof(info));
    return 0;
}

static int read_all(const struct vm *vm, int fd, uint8_t **ret_file, size_t *ret_size)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return refuse(vm, "not a file with content");
    if ((uint64_t)st.st_size > 1ull << 30)
        return refuse(vm, "larger than 1 GiB");
    size_t size = (size_t)st.st_size, have = 0;
    uint8_t *file = malloc(size);

    while (file != NULL && have < size) {
        ssize_t n = read(fd, file + have, size - have);

        if (n <= 0) {
            free(file);
            return n < 0 ? -errno : -EIO;
        }
        have += (size_t)n;
    }
    if (file == NULL)
        return -ENOMEM;
    *ret_file = file;
    *ret_size = size;
    return 0;
}

int multiboot_load(struct vm *vm)
{
    uint8_t *file = NULL;
    size_t size = 0;
    int fd = open(vm->opt->guest_path, O_RDONLY | O_CLOEXEC);
    int ret = fd < 0 ? -errno : read_all(vm, fd, &file, &size);

    if (fd >= 0)
        close(fd);
    if (ret < 0) {
        if (ret != -EINVAL)
            refuse(vm, strerror(-ret));
        return ret;
    }
    /* The ELF is looked at before the header: "not an ELF" says more to a person. */
    ret = elf_load(vm, file, size);
    if (ret == 0)
        ret = check_header(vm, file, size);
    if (ret == 0)
        ret = build_info(vm);
    free(file);
    return ret;
}
