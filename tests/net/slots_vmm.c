/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM of a hundred lines for what the bare-metal guests do not reach: RAM that holds bytes before
 * its slot exists, a private read-only slot, one memfd page seen at two guest addresses, state
 * ioctls of vCPUs wherever they live, IOAPIC_EOI. Every vCPU runs 16-bit code out of the RAM that
 * was filled beforehand, reads the ROM, and tells by port what it saw.
 *
 *   slots_vmm [private]   private: RAM is anonymous memory, which must be refused
 * Exit status 0: all as expected.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    VCPUS = 2,
    RAM = 2 << 20,
    ROM = 64 << 10,
    ROM_AT = 0xE0000,
    ALIAS_AT = 0xD0000,
    CODE_AT = 0x1000,
    DATA_AT = 0x2000
};
enum { PORT = 0x80, APIC_VECTOR = 0x51 };

static int vm_fd, run_size;
static int vcpu_fd[VCPUS];
static struct kvm_run *run_of[VCPUS];

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            fprintf(stderr, "slots_vmm: line %d: %s: %s\n", __LINE__, #expr, strerror(errno));     \
            exit(3);                                                                               \
        }                                                                                          \
    } while (0)

/* mov ax,[0x2000]; out 0x80,ax; mov ax,0xE000; mov ds,ax; mov ax,[0x1234]; out 0x80,ax; mov
 * ax,0xD000; mov ds,ax; mov ax,[0]; out 0x80,ax; inc word [0]; xor ax,ax; mov ds,ax; mov
 * ax,[0x2000]; out 0x80,ax; in ax,0x80; out 0x80,ax; hlt */
static const uint8_t code[] = {
    0xA1, 0x00, 0x20, 0xE7, 0x80, 0xB8, 0x00, 0xE0, 0x8E, 0xD8, 0xA1, 0x34, 0x12, 0xE7, 0x80,
    0xB8, 0x00, 0xD0, 0x8E, 0xD8, 0xA1, 0x00, 0x00, 0xE7, 0x80, 0xFF, 0x06, 0x00, 0x00, 0x31,
    0xC0, 0x8E, 0xD8, 0xA1, 0x00, 0x20, 0xE7, 0x80, 0xE5, 0x80, 0xE7, 0x80, 0xF4,
};

static int slot(uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, const void *at)
{
    struct kvm_userspace_memory_region r = {id, flags, gpa, size, (uintptr_t)at};
    return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static void state_round_trip(unsigned i)
{
    struct kvm_regs a = {.rax = 0x1122334455667788, .r15 = i + 1, .rip = CODE_AT, .rflags = 2}, b;
    struct kvm_sregs s;
    struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
    struct kvm_lapic_state lapic;
    struct kvm_fpu fpu = {.fcw = 0x37F, .mxcsr = 0x1F80}, fpu2;
    CHECK(ioctl(vcpu_fd[i], KVM_SET_REGS, &a) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_GET_REGS, &b) == 0);
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    fpu.xmm[3][5] = 0xA5;
    CHECK(ioctl(vcpu_fd[i], KVM_SET_FPU, &fpu) == 0 && ioctl(vcpu_fd[i], KVM_GET_FPU, &fpu2) == 0);
    CHECK(fpu2.xmm[3][5] == 0xA5);
    CHECK(ioctl(vcpu_fd[i], KVM_GET_SREGS, &s) == 0);
    CHECK(s.apic_base == (0xFEE00800u | (i == 0 ? 0x100u : 0)));
    s.cs.base = s.ds.base = 0;
    s.cs.selector = s.ds.selector = 0;
    CHECK(ioctl(vcpu_fd[i], KVM_SET_SREGS, &s) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_GET_LAPIC, &lapic) == 0);
    CHECK((uint8_t)lapic.regs[0x23] == i);
    CHECK(ioctl(vcpu_fd[i], KVM_SET_LAPIC, &lapic) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_SET_MP_STATE, &mp) == 0);
    struct { /* struct kvm_msrs with two entries */
        uint32_t nmsrs, pad;
        struct kvm_msr_entry e[2];
    } msrs = {.nmsrs = 2, .e = {{.index = 0x1B}, {.index = 0x174}}};
    CHECK(ioctl(vcpu_fd[i], KVM_GET_MSRS, &msrs) == 2);
    CHECK(msrs.e[0].data == s.apic_base);
    errno = 0;
    CHECK(ioctl(vcpu_fd[i], KVM_SMI, 0) < 0 && errno == ENOTTY);
    CHECK(ioctl(vcpu_fd[i], 0xABCD, 0) < 0 && errno == ENOTTY);
    errno = 0;
}

/* The data word, the ROM word, the aliased word, the data word again (now one more), and what the
 * port answered. */
static void *run_vcpu(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg, n = 0;
    struct kvm_run *run = run_of[i];
    uint16_t seen[5] = {0}, start = (uint16_t)(0x4000 + i);
    while (n < 5) {
        int rc = ioctl(vcpu_fd[i], KVM_RUN, 0);
        if (rc != 0 && errno == EINTR)
            continue;
        CHECK(rc == 0);
        if (run->exit_reason != KVM_EXIT_IO)
            fprintf(stderr, "slots_vmm: vCPU %u: exit reason %u\n", i, run->exit_reason);
        CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == PORT && run->io.size == 2);
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        if (run->io.direction == KVM_EXIT_IO_IN)
            memcpy(data, &(uint16_t){0xBEEF}, 2);
        else
            memcpy(&seen[n++], data, 2);
    }
    const uint16_t want[5] = {start, 0xCAFE, start, (uint16_t)(start + 1), 0xBEEF};
    for (unsigned k = 0; k < 5; k++)
        if (seen[k] != want[k]) {
            fprintf(stderr, "slots_vmm: vCPU %u: word %u is %#x, not %#x\n", i, k, seen[k],
                    want[k]);
            exit(4);
        }
    return NULL;
}

static uint8_t *make_ram(bool private)
{
    int fd = memfd_create("slots-ram", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, RAM) == 0);
    uint8_t *ram = private
                       ? mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(ram != MAP_FAILED);
    memcpy(ram + CODE_AT, code, sizeof(code)); /* before any slot shows it */
    return ram;
}

int main(int argc, char **argv)
{
    bool private = argc > 1 && strcmp(argv[1], "private") == 0;
    uint8_t *ram = make_ram(private);
    uint8_t *rom = mmap(NULL, ROM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    CHECK(rom != MAP_FAILED && kvm >= 0);
    memcpy(rom + 0x1234, &(uint16_t){0xCAFE}, 2);
    run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(run_size > 0 && vm_fd >= 0);
    CHECK(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) == 1);
    CHECK(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) == 0 &&
          ioctl(vm_fd, KVM_ENABLE_CAP, &split) == 0);
    if (private) {
        CHECK(slot(0, 0, 0, ROM_AT, ram) < 0 && errno == EINVAL);
        return 0;
    }
    CHECK(slot(0, 0, 0, ALIAS_AT, ram) == 0);
    CHECK(slot(1, KVM_MEM_READONLY, ROM_AT, ROM, rom) == 0);
    CHECK(slot(2, 0, ALIAS_AT, 4096, ram + DATA_AT) == 0); /* the same page a second time */
    CHECK(slot(3, 0, 0x100000, 1 << 20, ram + (1 << 20)) == 0);
    CHECK(slot(3, 0, 0x100000, 0, NULL) == 0); /* and away again */
    for (unsigned i = 0; i < VCPUS; i++) {
        vcpu_fd[i] = ioctl(vm_fd, KVM_CREATE_VCPU, i);
        CHECK(vcpu_fd[i] >= 0);
        run_of[i] = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd[i], 0);
        CHECK(run_of[i] != MAP_FAILED);
        state_round_trip(i);
    }
    for (unsigned i = 0; i < VCPUS;
         i++) { /* one after the other: each must see this process's last write */
        pthread_t t;
        *(volatile uint16_t *)(ram + DATA_AT) = (uint16_t)(0x4000 + i);
        CHECK(pthread_create(&t, NULL, run_vcpu, (void *)(uintptr_t)i) == 0 &&
              pthread_join(t, NULL) == 0);
        CHECK(*(volatile uint16_t *)(ram + DATA_AT) == 0x4001 + i);
    }
    puts("slots_vmm: all as expected");
    return 0;
}
