/* SPDX-License-Identifier: BSD-3-Clause */
#include "tiny_vmm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

int vm_fd, vcpu_fd[VCPUS];
struct kvm_run *run_of[VCPUS];
__thread struct kvm_run *own_run;

static void on_signal(int sig)
{
    (void)sig;
    if (own_run != NULL)
        own_run->immediate_exit = 1;
}

int tiny_open(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    CHECK(kvm >= 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    return kvm;
}

void tiny_create_vm(int kvm)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm_fd >= 0);
    CHECK(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) == 1);
    CHECK(ioctl(vm_fd, KVM_ENABLE_CAP, &split) == 0);
}

void tiny_create_vcpu(int kvm, unsigned i)
{
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vcpu_fd[i] = ioctl(vm_fd, KVM_CREATE_VCPU, i);
    CHECK(size > 0 && vcpu_fd[i] >= 0);
    run_of[i] = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd[i], 0);
    CHECK(run_of[i] != MAP_FAILED);
}

uint8_t *tiny_ram(size_t size)
{
    int fd = memfd_create("tiny-ram", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    uint8_t *ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(ram != MAP_FAILED);
    return ram;
}

int slot(uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, const void *at)
{
    struct kvm_userspace_memory_region r = {id, flags, gpa, size, (uintptr_t)at};
    return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
}

void start_at(unsigned i, uint32_t rip)
{
    struct kvm_regs r = {.rip = rip, .rsp = 0x8000, .rflags = 2};
    struct kvm_sregs s;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
    CHECK(ioctl(vcpu_fd[i], KVM_SET_MP_STATE, &mp) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_GET_SREGS, &s) == 0);
    s.ds.base = s.ss.base = s.cs.base = 0;
    s.ds.selector = s.ss.selector = s.cs.selector = 0;
    s.ds.limit = 0xFFFFFFFF; /* 16-bit code that reaches the APIC */
    s.ds.g = 1;
    CHECK(ioctl(vcpu_fd[i], KVM_SET_SREGS, &s) == 0 && ioctl(vcpu_fd[i], KVM_SET_REGS, &r) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_GET_LAPIC, &lapic) == 0);
    lapic.regs[0xF1] |= 1; /* spurious-interrupt vector register: the APIC is on */
    memcpy(lapic.regs + 0x350, &(uint32_t){0x700}, 4); /* LINT0: ExtINT */
    CHECK(ioctl(vcpu_fd[i], KVM_SET_LAPIC, &lapic) == 0);
}
