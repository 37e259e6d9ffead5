/* SPDX-License-Identifier: BSD-3-Clause */
/* One thread per vCPU: its first state, the run loop, the kick. */
#include "vmm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define MULTIBOOT_LOADER_MAGIC 0x2BADB002u

static __thread struct kvm_run *current_run;

/* As QEMU does it: the signal may arrive just before KVM_RUN, so it also leaves a mark in kvm_run
 * that makes the next KVM_RUN return at once. */
static void on_kick(int sig)
{
    (void)sig;
    if (current_run != NULL)
        current_run->immediate_exit = 1;
}

int vcpu_install_kick_handler(void)
{
    struct sigaction action = {.sa_handler = on_kick};

    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL) < 0)
        return -errno;
    return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
    if (vcpu->started)
        pthread_kill(vcpu->thread, SIGUSR1);
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){
        .selector = selector,
        .base = 0,
        .limit = 0xFFFFFFFFu,
        .type = type,
        .present = 1,
        .dpl = 0,
        .db = 1,
        .s = 1,
        .l = 0,
        .g = 1,
    };
}

/* The state the multiboot specification promises: flat 32-bit protected mode, paging off. */
static int set_multiboot_state(struct vcpu *vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {
        .rax = MULTIBOOT_LOADER_MAGIC,
        .rbx = GPA_INFO,
        .rip = vcpu->vm->entry,
        .rflags = 2,
    };

    if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs = flat_segment(0x08, 0xB);
    sregs.ds = flat_segment(0x10, 0x3);
    sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
    sregs.cr0 |= 1; /* PE */
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
        return -errno;
    if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}

int vcpu_create(struct vm *vm, unsigned id)
{
    struct vcpu *vcpu = &vm->vcpus[id];
    int ret;

    vcpu->vm = vm;
    vcpu->id = id;
    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
    if (vcpu->fd < 0) {
        ret = -errno;
        fprintf(stderr, "pando-testvmm: KVM_CREATE_VCPU %u: %s\n", id, strerror(errno));
        return ret;
    }
    void *run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);

    if (run == MAP_FAILED) {
        ret = -errno;
        fprintf(stderr, "pando-testvmm: mmap of vCPU %u: %s\n", id, strerror(errno));
        return ret;
    }
    vcpu->run = run;
    ret = cpuid_set(vm, vcpu);
    /* The others keep their reset state and wait for INIT and SIPI. */
    if (ret == 0 && id == 0) {
        ret = set_multiboot_state(vcpu);
        if (ret < 0)
            fprintf(stderr, "pando-testvmm: state of vCPU 0: %s\n", strerror(-ret));
    }
    return ret;
}

static void crash(struct vcpu *vcpu, const char *why)
{
    report_crash(vcpu, why);
    vm_end(vcpu->vm, vcpu->id, VMM_STATUS_CRASH, why);
}

/* HLT exits reach user space only without an in-kernel LAPIC; then nothing can wake the vCPU but
 * KVM itself, so running it again is right. */
static void handle_exit(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        vcpu->exits[EXIT_PIO]++;
        device_pio(vcpu, run, (uint8_t *)run + run->io.data_offset);
        break;
    case KVM_EXIT_MMIO:
        vcpu->exits[EXIT_MMIO]++;
        device_mmio(vcpu, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
                    run->mmio.is_write != 0);
        break;
    case KVM_EXIT_HLT:
        vcpu->exits[EXIT_HLT]++;
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        vcpu->exits[EXIT_INTR]++;
        break;
    case KVM_EXIT_IOAPIC_EOI: /* no wired, level-triggered device here */
        vcpu->exits[EXIT_IOAPIC_EOI]++;
        break;
    case KVM_EXIT_SHUTDOWN:
        crash(vcpu, "triple fault");
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        crash(vcpu, "KVM internal error");
        break;
    case KVM_EXIT_FAIL_ENTRY:
        crash(vcpu, "KVM entry failed");
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        crash(vcpu, "system event");
        break;
    default:
        vcpu->exits[EXIT_OTHER]++;
        crash(vcpu, "unknown KVM exit");
        break;
    }
}

static void *vcpu_thread(void *arg)
{
    struct vcpu *vcpu = arg;
    struct vm *vm = vcpu->vm;

    current_run = vcpu->run;
    while (!__atomic_load_n(&vm->ending, __ATOMIC_ACQUIRE)) {
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
            handle_exit(vcpu);
            continue;
        }
        int err = errno;

        vcpu->exits[EXIT_INTR]++;
        vcpu->run->immediate_exit = 0;
        if (err != EINTR && err != EAGAIN) {
            fprintf(stderr, "pando-testvmm: KVM_RUN: %s\n", strerror(err));
            crash(vcpu, "KVM_RUN failed");
        }
    }
    /* A hang is looked into by its registers; they are this thread's to read. */
    if (vm->status == VMM_STATUS_TIMEOUT)
        report_crash(vcpu, "timeout");
    return NULL;
}

int vcpu_start(struct vcpu *vcpu)
{
    int err = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);

    if (err != 0)
        return -err;
    vcpu->started = true;
    return 0;
}
