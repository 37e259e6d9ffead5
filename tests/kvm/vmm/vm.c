/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtual machine: RAM in one shared memfd, memory slots, interrupt controller. */
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define IOAPIC_PINS      24u
#define GPA_IDENTITY_MAP 0xFEFFC000ull
#define GPA_TSS          0xFEFFD000ull

static int fail(const char *what)
{
    int err = errno;

    fprintf(stderr, "pando-testvmm: %s: %s\n", what, strerror(err));
    return err == 0 ? -EIO : -err;
}

uint64_t vm_low_ram(const struct vm *vm)
{
    return vm->ram_size < GPA_PCI_HOLE ? vm->ram_size : GPA_PCI_HOLE;
}

void *vm_low_ptr(const struct vm *vm, uint64_t gpa, uint64_t len)
{
    uint64_t top = vm_low_ram(vm);

    if (len > top || gpa > top - len)
        return NULL;
    return vm->ram + gpa;
}

static int open_kvm(struct vm *vm)
{
    vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd < 0)
        return fail("/dev/kvm");
    if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        fprintf(stderr, "pando-testvmm: /dev/kvm is not KVM API version 12\n");
        return -ENOTSUP;
    }
    int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (size < (int)sizeof(struct kvm_run))
        return fail("KVM_GET_VCPU_MMAP_SIZE");
    vm->run_size = (size_t)size;
    vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    if (vm->fd < 0)
        return fail("KVM_CREATE_VM");
    return 0;
}

/* Intel hosts without unrestricted guest need both; the others accept them. */
static int set_kernel_areas(struct vm *vm)
{
    uint64_t identity = GPA_IDENTITY_MAP;

    if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
        ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
        return fail("KVM_SET_IDENTITY_MAP_ADDR");
    if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
        ioctl(vm->fd, KVM_SET_TSS_ADDR, GPA_TSS) < 0)
        return fail("KVM_SET_TSS_ADDR");
    return 0;
}

static int route_pins(struct vm *vm)
{
    struct kvm_irq_routing *table =
        calloc(1, sizeof(*table) + IOAPIC_PINS * sizeof(table->entries[0]));

    if (table == NULL)
        return -ENOMEM;
    /* The user-space IOAPIC has no wired device yet: every pin gets a masked-like route. */
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        table->entries[i].gsi = i;
        table->entries[i].type = KVM_IRQ_ROUTING_MSI;
        table->entries[i].u.msi.address_lo = GPA_LAPIC;
    }
    table->nr = IOAPIC_PINS;
    int ret = ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? fail("KVM_SET_GSI_ROUTING") : 0;

    free(table);
    return ret;
}

/* Split irqchip (LAPICs in the kernel, IOAPIC here) is what Pando offers. A plain KVM that lacks
 * it may still have the full one; the guests use nothing but LAPICs and MSIs. */
static int create_irqchip(struct vm *vm)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {IOAPIC_PINS}};

    if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) > 0) {
        if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0)
            return route_pins(vm);
        fprintf(stderr, "pando-testvmm: KVM_CAP_SPLIT_IRQCHIP: %s; using KVM_CREATE_IRQCHIP\n",
                strerror(errno));
    } else {
        fprintf(stderr, "pando-testvmm: no KVM_CAP_SPLIT_IRQCHIP; using KVM_CREATE_IRQCHIP\n");
    }
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return fail("KVM_CREATE_IRQCHIP");
    return 0;
}

static int add_slot(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t off, uint64_t len)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = gpa,
        .memory_size = len,
        .userspace_addr = (uintptr_t)(vm->ram + off),
    };

    if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return fail("KVM_SET_USER_MEMORY_REGION");
    return 0;
}

static int add_ram(struct vm *vm)
{
    vm->ram_size = vm->opt->ram_mib << 20;
    vm->ram_fd = memfd_create("guest-ram", MFD_CLOEXEC);
    if (vm->ram_fd < 0)
        return fail("memfd_create");
    if (ftruncate(vm->ram_fd, (off_t)vm->ram_size) < 0)
        return fail("ftruncate of guest RAM");
    void *ram = mmap(NULL, vm->ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->ram_fd, 0);

    if (ram == MAP_FAILED)
        return fail("mmap of guest RAM");
    vm->ram = ram;
    uint64_t low = vm_low_ram(vm);
    int ret = add_slot(vm, 0, 0, 0, low);

    if (ret == 0 && vm->ram_size > low)
        ret = add_slot(vm, 1, GPA_HIGH_RAM, low, vm->ram_size - low);
    return ret;
}

int vm_create(struct vm *vm, const struct vmm_options *opt)
{
    pthread_condattr_t attr;
    int ret;

    vm->opt = opt;
    pthread_mutex_init(&vm->device_lock, NULL);
    pthread_mutex_init(&vm->end_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vm->end_cond, &attr);
    pthread_condattr_destroy(&attr);
    ret = open_kvm(vm);
    if (ret == 0)
        ret = set_kernel_areas(vm);
    if (ret == 0)
        ret = create_irqchip(vm);
    if (ret == 0)
        ret = add_ram(vm);
    return ret;
}

void vm_destroy(struct vm *vm)
{
    for (unsigned i = 0; i < vm->opt->vcpus; i++) {
        munmap(vm->vcpus[i].run, vm->run_size);
        close(vm->vcpus[i].fd);
    }
    close(vm->fd);
    close(vm->kvm_fd);
    munmap(vm->ram, vm->ram_size);
    close(vm->ram_fd);
}

void vm_end(struct vm *vm, unsigned vcpu, int status, const char *reason)
{
    pthread_mutex_lock(&vm->end_lock);
    if (!vm->ending) {
        vm->status = status;
        vm->end_vcpu = vcpu;
        vm->end_reason = reason;
        __atomic_store_n(&vm->ending, true, __ATOMIC_RELEASE);
        pthread_cond_signal(&vm->end_cond);
    }
    pthread_mutex_unlock(&vm->end_lock);
}
