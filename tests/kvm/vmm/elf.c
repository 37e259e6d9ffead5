/* SPDX-License-Identifier: BSD-3-Clause */
/* Loads the segments of an ELF32 file. Its bytes are data from outside: every field is checked. */
#include "vmm.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse(const struct vm *vm, const char *why)
{
    fprintf(stderr, "pando-testvmm: %s: %s\n", vm->opt->guest_path, why);
    return -EINVAL;
}

static int check_header(const struct vm *vm, const uint8_t *file, size_t size, Elf32_Ehdr *eh)
{
    if (size < EI_NIDENT || memcmp(file, ELFMAG, SELFMAG) != 0)
        return refuse(vm, "not an ELF file");
    if (file[EI_CLASS] == ELFCLASS64)
        return refuse(vm, "a 64-bit ELF; multiboot loads ELF32 (objcopy -O elf32-i386 makes one)");
    if (file[EI_CLASS] != ELFCLASS32 || file[EI_DATA] != ELFDATA2LSB || size < sizeof(*eh))
        return refuse(vm, "not a little-endian ELF32 file");
    memcpy(eh, file, sizeof(*eh));
    if (eh->e_machine != EM_386)
        return refuse(vm, "an ELF for another machine than i386");
    if (eh->e_type != ET_EXEC)
        return refuse(vm, "an ELF that is not an executable (ET_EXEC)");
    if (eh->e_phnum == 0 || eh->e_phentsize != sizeof(Elf32_Phdr) || eh->e_phoff > size ||
        (uint64_t)eh->e_phnum * sizeof(Elf32_Phdr) > size - eh->e_phoff)
        return refuse(vm, "an ELF without a valid program header table");
    return 0;
}

static bool overlaps(const Elf32_Phdr *ph, uint64_t start, uint64_t end)
{
    return ph->p_paddr < end && (uint64_t)ph->p_paddr + ph->p_memsz > start;
}

static int load_segment(struct vm *vm, const uint8_t *file, size_t size, const Elf32_Phdr *ph)
{
    char why[160];

    if (ph->p_filesz > ph->p_memsz || ph->p_offset > size || ph->p_filesz > size - ph->p_offset)
        return refuse(vm, "a segment lies outside the file (truncated?)");
    void *to = vm_low_ptr(vm, ph->p_paddr, ph->p_memsz);

    if (to == NULL) {
        snprintf(why, sizeof(why), "segment %#x..%#llx lies outside of RAM (%llu MiB below 3 GiB)",
                 ph->p_paddr, (unsigned long long)ph->p_paddr + ph->p_memsz,
                 (unsigned long long)(vm_low_ram(vm) >> 20));
        return refuse(vm, why);
    }
    if (overlaps(ph, GPA_INFO, GPA_INFO_END) || overlaps(ph, GPA_TABLES, GPA_TABLES_END)) {
        snprintf(why, sizeof(why),
                 "segment %#x..%#llx overlaps the multiboot information "
                 "(0x9000..0xA000) or the firmware tables (0xE0000..0x100000)",
                 ph->p_paddr, (unsigned long long)ph->p_paddr + ph->p_memsz);
        return refuse(vm, why);
    }
    memcpy(to, file + ph->p_offset, ph->p_filesz); /* the rest of RAM is zero already */
    return 0;
}

int elf_load(struct vm *vm, const uint8_t *file, size_t size)
{
    Elf32_Ehdr eh = {0};
    bool entry_loaded = false;
    int ret = check_header(vm, file, size, &eh);

    for (unsigned i = 0; ret == 0 && i < eh.e_phnum; i++) {
        Elf32_Phdr ph;

        memcpy(&ph, file + eh.e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
            continue;
        ret = load_segment(vm, file, size, &ph);
        if (eh.e_entry >= ph.p_paddr && eh.e_entry - ph.p_paddr < ph.p_memsz)
            entry_loaded = true;
    }
    if (ret < 0)
        return ret;
    if (!entry_loaded)
        return refuse(vm, "its entry point is in no loaded segment");
    vm->entry = eh.e_entry;
    return 0;
}
