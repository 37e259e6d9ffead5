/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-testvmm: a small VMM that speaks nothing but the documented KVM ABI.
 *
 * It runs the bare-metal guests of tests/kvm/guests on plain KVM and, unchanged, on Pando (under
 * LD_PRELOAD=libpando-kvm.so). It does not know which of the two it talks to.
 *
 * Return rule: functions return 0 or -errno and have printed a message on stderr when they fail.
 */
#ifndef PANDO_TESTVMM_H
#define PANDO_TESTVMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_MAX_VCPUS 64u

/* Guest physical layout: what multiboot guests find on a PC. */
#define GPA_INFO        0x9000u /* multiboot information, memory map and strings: one page */
#define GPA_INFO_END    0xA000u
#define GPA_LOW_RAM_END 0x9FC00u
#define GPA_TABLES      0xE0000u /* ACPI at 0xE0000, MP tables at 0xF0000 */
#define GPA_MP_TABLES   0xF0000u
#define GPA_TABLES_END  0x100000u
#define GPA_PCI_HOLE    0xC0000000ull /* RAM ends here and continues at 4 GiB */
#define GPA_HIGH_RAM    0x100000000ull
#define GPA_TESTDEV     0xFEB00000u
#define GPA_IOAPIC      0xFEC00000u
#define GPA_LAPIC       0xFEE00000u

/* Process status when the guest did not choose one through port 0xF4. */
enum {
    VMM_STATUS_USAGE = 2,
    VMM_STATUS_SETUP = 123, /* KVM, memory or the guest file was refused */
    VMM_STATUS_CRASH = 124, /* triple fault or an exit that nobody can handle */
    VMM_STATUS_TIMEOUT = 125,
};

struct vmm_options {
    uint64_t ram_mib;
    unsigned vcpus;
    unsigned timeout_s; /* 0: none */
    const char *cmdline;
    const char *json_path;
    const char *guest_path;
};

enum exit_kind {
    EXIT_PIO,
    EXIT_MMIO,
    EXIT_HLT,
    EXIT_INTR,
    EXIT_IOAPIC_EOI,
    EXIT_OTHER,
    EXIT_KINDS
};

struct vm;

struct vcpu {
    struct vm *vm;
    unsigned id;
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    bool started;
    uint64_t exits[EXIT_KINDS];
};

/* 16550 registers a polling driver looks at. */
struct serial {
    uint8_t ier, lcr, mcr, scr, dll, dlm;
};

/* The registers of the test device; guests/testdev.h describes them for the guest. */
struct testdev {
    uint64_t scratch, scratch_writes, last_writer;
    uint64_t own[VMM_MAX_VCPUS];
    uint64_t msis;
};

struct ioapic {
    uint32_t select, id;
    uint64_t redirect[24];
};

struct vm {
    const struct vmm_options *opt;
    int kvm_fd, fd, ram_fd;
    size_t run_size;
    uint8_t *ram;
    uint64_t ram_size;
    uint32_t entry; /* guest entry point */
    struct vcpu vcpus[VMM_MAX_VCPUS];

    pthread_mutex_t device_lock; /* serial, testdev, ioapic, stdout */
    struct serial serial;
    struct testdev testdev;
    struct ioapic ioapic;

    pthread_mutex_t end_lock; /* the fields below; `ending` is also read without it */
    pthread_cond_t end_cond;
    bool ending;
    int status;
    unsigned end_vcpu;
    const char *end_reason;
};

/* vm.c: the virtual machine, its memory and interrupt controller. */
int vm_create(struct vm *vm, const struct vmm_options *opt);
void vm_destroy(struct vm *vm);
/* First caller wins: records why the VM ends and wakes vm_wait(). */
void vm_end(struct vm *vm, unsigned vcpu, int status, const char *reason);
/* Bytes of guest RAM below the PCI hole. */
uint64_t vm_low_ram(const struct vm *vm);
/* Host address of [gpa, gpa + len) below the PCI hole, NULL when it is not all RAM. */
void *vm_low_ptr(const struct vm *vm, uint64_t gpa, uint64_t len);

/* cpuid.c */
int cpuid_set(struct vm *vm, struct vcpu *vcpu);

/* vcpu.c: state at start, the run loop, the end. */
int vcpu_create(struct vm *vm, unsigned id);
int vcpu_start(struct vcpu *vcpu);
void vcpu_kick(struct vcpu *vcpu);
int vcpu_install_kick_handler(void);

/* report.c */
void report_crash(struct vcpu *vcpu, const char *why);
int report_json(const struct vm *vm, double seconds);

/* multiboot.c, elf.c, tables.c: guest memory before the first instruction. */
int multiboot_load(struct vm *vm);
int elf_load(struct vm *vm, const uint8_t *file, size_t size);
void tables_build(struct vm *vm);

/* devices.c */
void device_pio(struct vcpu *vcpu, const struct kvm_run *run, uint8_t *data);
void device_mmio(struct vcpu *vcpu, uint64_t gpa, uint8_t *data, uint32_t len, bool write);
/* testdev.c; ioapic.c */
void testdev_access(struct vcpu *vcpu, uint32_t off, uint8_t *data, uint32_t len, bool write);
void ioapic_access(struct vm *vm, uint32_t off, uint8_t *data, uint32_t len, bool write);

#endif
