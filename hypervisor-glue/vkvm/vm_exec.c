/* SPDX-License-Identifier: BSD-3-Clause */
/* VM-wide changes carried out on a node without VMM. What arrives comes from a peer and is checked
 * here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/memory/uffd.h"
#include "hypervisor-glue/vkvm/vkvm.h"

static int exec_ioctl(struct vm *vm, const struct glue_entry *e, const uint8_t *payload)
{
    const struct ioctl_info *info = ioctl_find(SCOPE_VM, (uint32_t)e->arg);
    if (info == NULL || e->arg >> 32 != 0 ||
        (info->way != WAY_MIRROR && info->nr != (uint32_t)KVM_ENABLE_CAP))
        return -EPERM;
    int size = ioctl_arg_size(info, payload, e->len);
    if (size < 0 || size != e->len)
        return -EINVAL;
    uint64_t value;
    memcpy(&value, payload, sizeof(value));
    if (info->nr == (uint32_t)KVM_ENABLE_CAP && caps_check(vm->fd, vm, (uint32_t)value) <= 0)
        return -EPERM;
    int rc = raw_ioctl(vm->fd, info->nr, info->size == SIZE_VALUE ? value : (uintptr_t)payload);
    return rc < 0 ? rc : 0;
}

/* The node's own copy of a RAM block: an empty memfd, coherent from its first page on. */
static int make_block(struct vm *vm, uint64_t pages)
{
    char err[LINK_ERROR_MAX];
    char why[UFFD_ERROR_MAX];
    if (pages == 0 || pages > vm->link.ram_pages_max)
        return -EINVAL;
    size_t size = pages * WIRE_PAGE_SIZE;
    int memfd = memfd_create("pando-ram", MFD_CLOEXEC), uffd = -1;
    if (memfd < 0)
        return -errno;
    if (ftruncate(memfd, (off_t)size) != 0)
        return -errno;
    void *hva = raw_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (hva == MAP_FAILED)
        return -errno;
    int rc = uffd_open_register(hva, size, &uffd, why);
    if (rc != 0) {
        say("node %u: %s", vm->link.node, why);
        return rc;
    }
    rc = link_ram(&vm->link, hva, pages, memfd, uffd, err);
    if (rc != 0)
        say("node %u: %s", vm->link.node, err);
    return rc;
}

static int block_address(struct vm *vm, const struct vmc_memory *m, uint64_t *ret)
{
    uint32_t blocks = atomic_load(&vm->link.blocks);
    if (m->block > blocks || (m->offset | m->size) % WIRE_PAGE_SIZE != 0)
        return -EINVAL;
    if (m->block == blocks) {
        int rc = make_block(vm, m->block_pages);
        if (rc != 0)
            return rc;
    }
    const struct link_block *b = &vm->link.block[m->block];
    uint64_t size = b->pages * WIRE_PAGE_SIZE;
    if (b->pages != m->block_pages || m->offset > size || m->size > size - m->offset)
        return -EINVAL;
    *ret = (uint64_t)(uintptr_t)b->hva + m->offset;
    return 0;
}

static int exec_memory(struct vm *vm, const struct glue_entry *e, const uint8_t *payload)
{
    struct vmc_memory m;
    if (e->len != sizeof(m))
        return -EINVAL;
    memcpy(&m, payload, sizeof(m));
    if (m.slot >= VKVM_SLOTS || (m.flags & ~(uint32_t)KVM_MEM_READONLY) != 0)
        return -EINVAL;
    struct kvm_userspace_memory_region r = {
        .slot = m.slot, .flags = m.flags, .guest_phys_addr = m.gpa, .memory_size = m.size};
    uint64_t address = 0;
    if (m.size != 0 && m.block == UINT32_MAX) {
        if (vm->slot[m.slot].rom == NULL || vm->slot[m.slot].rom_size != m.size ||
            m.flags != KVM_MEM_READONLY)
            return -EINVAL;
        address = (uint64_t)(uintptr_t)vm->slot[m.slot].rom;
    } else if (m.size != 0) {
        int rc = block_address(vm, &m, &address);
        if (rc != 0)
            return rc;
    }
    r.userspace_addr = address;
    int rc = raw_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&r);
    struct vkvm_slot *s = &vm->slot[m.slot];
    if (rc == 0)
        memslots_note(vm, &r);
    if (rc == 0 && m.size == 0 && s->rom != NULL) { /* a VMM deletes a slot before it changes it */
        raw_munmap(s->rom, s->rom_size);
        s->rom = NULL;
    }
    return rc;
}

static int exec_rom(struct vm *vm, const struct glue_entry *e, const uint8_t *payload)
{
    struct vmc_rom h;
    if (e->len < sizeof(h))
        return -EINVAL;
    memcpy(&h, payload, sizeof(h));
    if (h.slot >= VKVM_SLOTS || h.len != e->len - sizeof(h) || h.total == 0 ||
        h.total > VKVM_ROM_MAX || h.total % WIRE_PAGE_SIZE != 0 || h.offset > h.total ||
        h.len > h.total - h.offset)
        return -EINVAL;
    struct vkvm_slot *s = &vm->slot[h.slot];
    if (h.offset == 0) { /* the old bytes may still be mapped into the guest: they stay */
        void *p =
            raw_mmap(NULL, h.total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return -ENOMEM;
        s->rom = p;
        s->rom_size = h.total;
    }
    if (s->rom == NULL || s->rom_size != h.total)
        return -EINVAL;
    memcpy(s->rom + h.offset, payload + sizeof(h), h.len);
    return 0;
}

static int exec_vcpu(struct vm *vm, const struct glue_entry *e)
{
    if (e->arg >= vm->link.vcpus || vm->link.vcpu_home[e->arg] != vm->link.node)
        return -EINVAL;
    if (vm->vcpu[e->arg] != NULL)
        return -EEXIST;
    if (vm->clock.tsc_khz == 0) /* VMC_CLOCK comes first */
        return -EINVAL;
    int err = 0;
    struct vcpu *v = vcpu_create(vm, (uint32_t)e->arg, &err);
    if (v == NULL)
        return err;
    vm->vcpu[e->arg] = v;
    return 0;
}

static int exec_clock(struct vm *vm, const struct glue_entry *e, const uint8_t *payload)
{
    struct vmc_clock c;
    if (e->len != sizeof(c))
        return -EINVAL;
    memcpy(&c, payload, sizeof(c));
    return guest_clock_set(vm, &c);
}

int vm_exec(struct vm *vm, const struct glue_entry *e, const uint8_t *payload)
{
    switch (e->op) {
    case VMC_IOCTL:
        return exec_ioctl(vm, e, payload);
    case VMC_MEMORY:
        return exec_memory(vm, e, payload);
    case VMC_ROM:
        return exec_rom(vm, e, payload);
    case VMC_VCPU:
        return exec_vcpu(vm, e);
    case VMC_CLOCK:
        return exec_clock(vm, e, payload);
    default:
        return -ENOSYS;
    }
}
