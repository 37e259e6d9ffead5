/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM_SET_USER_MEMORY_REGION: whose bytes the slot shows decides what it becomes. Shared memfd: a
 * coherent block, one per file, however many slots (at whatever addresses) show parts of it.
 * Private and read-only: bytes sent to every node once. Private and writable: the VMM's node alone
 * has it, if it is small (a firmware's, as microvm's); from other nodes each access is an exit, and
 * the VMM reads or writes its memory. Large: refused, as nobody could keep it coherent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/link/ram_source.h"
#include "hypervisor-glue/vkvm/vkvm.h"

enum { ROM_PIECE = 8192 };

static int find_block(struct vm *vm, uint64_t address)
{
    uint32_t blocks = atomic_load(&vm->link.blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        uint64_t start = (uint64_t)(uintptr_t)vm->link.block[i].hva;
        if (address >= start && address - start < vm->link.block[i].pages * WIRE_PAGE_SIZE)
            return (int)i;
    }
    return -ENOENT;
}

static int replicate(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    uint8_t *piece = malloc(sizeof(struct vmc_rom) + ROM_PIECE);
    int rc = piece == NULL ? -ENOMEM : 0;
    if (r->memory_size > VKVM_ROM_MAX)
        rc = -E2BIG;
    for (uint64_t at = 0; rc == 0 && at < r->memory_size; at += ROM_PIECE) {
        uint64_t left = r->memory_size - at;
        struct vmc_rom h = {r->slot, left < ROM_PIECE ? (uint32_t)left : ROM_PIECE, r->memory_size,
                            at};
        memcpy(piece, &h, sizeof(h));
        memcpy(piece + sizeof(h), (const void *)(uintptr_t)(r->userspace_addr + at), h.len);
        rc = vm_cmd(vm, UINT32_MAX, VMC_ROM, 0, piece, (uint32_t)(sizeof(h) + h.len),
                    "read-only memory");
    }
    free(piece);
    return rc;
}

static int adopt(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    struct ram_source source;
    char err[LINK_ERROR_MAX];
    int rc = ram_source_find((const void *)(uintptr_t)r->userspace_addr, &source, err);
    if (rc == 0 && !source.shared_file) {
        if ((r->flags & KVM_MEM_READONLY) != 0 || r->memory_size <= VKVM_LOCAL_MAX)
            return -ENOENT;
        say("slot %u: guest RAM at %#llx (%llu KiB at host address %#llx) is private memory, which "
            "cannot be shared with "
            "other nodes; remedy: -object memory-backend-memfd,id=ram,size=...,share=on -machine "
            "memory-backend=ram",
            r->slot, (unsigned long long)r->guest_phys_addr,
            (unsigned long long)r->memory_size >> 10, (unsigned long long)r->userspace_addr);
        return -EINVAL;
    }
    if (rc == 0)
        rc = ram_source_hand_over(&vm->link, &source, err);
    if (rc != 0) {
        say("slot %u: %s", r->slot, err);
        return rc == -ENOENT ? -EINVAL : rc;
    }
    return find_block(vm, r->userspace_addr);
}

void memslots_note(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    struct vkvm_slot *s = &vm->slot[r->slot];
    pthread_mutex_lock(&vm->slot_lock);
    s->gpa = r->guest_phys_addr;
    s->size = r->memory_size;
    s->hva = (uint8_t *)(uintptr_t)r->userspace_addr;
    s->flags = r->flags;
    pthread_mutex_unlock(&vm->slot_lock);
}

/* Where a guest-physical address is in this process, and how many bytes from there; NULL: not RAM.
 */
static uint8_t *find_ram(struct vm *vm, uint64_t gpa, uint64_t *ret_left)
{
    uint8_t *found = NULL;
    pthread_mutex_lock(&vm->slot_lock);
    for (uint32_t i = 0; i < VKVM_SLOTS && found == NULL; i++) {
        const struct vkvm_slot *s = &vm->slot[i];
        if (gpa - s->gpa >= s->size || (s->flags & KVM_MEM_READONLY) != 0)
            continue;
        found = s->hva + (gpa - s->gpa);
        *ret_left = s->size - (gpa - s->gpa);
    }
    pthread_mutex_unlock(&vm->slot_lock);
    return found;
}

int memslots_write(struct vm *vm, uint64_t gpa, const void *bytes, uint32_t len)
{
    const uint8_t *from = bytes;
    while (len > 0) {
        uint64_t left = 0;
        uint8_t *to = find_ram(vm, gpa, &left);
        if (to == NULL)
            return -EFAULT;
        uint32_t n = left < len ? (uint32_t)left : len;
        memcpy(to, from, n);
        gpa += n;
        from += n;
        len -= n;
    }
    return 0;
}

int memslots_set(struct vm *vm, const struct kvm_userspace_memory_region *r)
{
    struct vmc_memory m = {
        .slot = r->slot, .flags = r->flags, .gpa = r->guest_phys_addr, .size = r->memory_size};
    if (r->slot >= VKVM_SLOTS || (r->flags & ~(uint32_t)KVM_MEM_READONLY) != 0) {
        say("slot %u with flags %#x is not offered (no dirty logging, no second address space)",
            r->slot, r->flags);
        return -EINVAL;
    }
    bool local = r->memory_size == 0 && vm->slot[r->slot].local;
    if (r->memory_size != 0) {
        int block = find_block(vm, r->userspace_addr);
        if (block == -ENOENT)
            block = adopt(vm, r);
        if (block < 0 && block != -ENOENT)
            return block;
        local = block == -ENOENT && (r->flags & KVM_MEM_READONLY) == 0;
        if (local) {
            say("slot %u: memory at %#llx (%llu KiB) stays on node %u: other nodes reach it by "
                "exits",
                r->slot, (unsigned long long)r->guest_phys_addr,
                (unsigned long long)r->memory_size >> 10, vm->link.node);
        } else if (block == -ENOENT) {
            m.block = UINT32_MAX;
            int rc = replicate(vm, r);
            if (rc != 0)
                return rc;
        } else {
            const struct link_block *b = &vm->link.block[block];
            m.block = (uint32_t)block;
            m.block_pages = b->pages;
            m.offset = r->userspace_addr - (uint64_t)(uintptr_t)b->hva;
            if (m.size > b->pages * WIRE_PAGE_SIZE - m.offset)
                return -EINVAL;
        }
    }
    int rc = raw_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)r);
    if (rc < 0)
        return rc;
    memslots_note(vm, r);
    vm->slot[r->slot].local = local && r->memory_size != 0;
    if (local)
        return 0;
    return vm_cmd(vm, UINT32_MAX, VMC_MEMORY, 0, &m, sizeof(m), "KVM_SET_USER_MEMORY_REGION");
}
