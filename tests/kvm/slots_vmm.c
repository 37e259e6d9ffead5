/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM of a few hundred lines for what the bare-metal guests do not reach: RAM that holds bytes
 * before its slot exists, a private read-only slot, one memfd page seen at two guest addresses,
 * state ioctls of vCPUs wherever they live, kicks, IOAPIC_EOI, NMI, interrupts of the VMM's PIC.
 * Every vCPU runs 16-bit code out of the RAM that was filled beforehand, reads the ROM, and tells
 * by port what it saw; then it spins, is kicked out by a signal whose handler sets immediate_exit,
 * as QEMU does, and takes a level-triggered MSI, whose EOI the VMM must see; then it halts, is
 * woken by an NMI, and takes an interrupt of the PIC when the VMM is told that it can; then it
 * rings doorbells (KVM_IOEVENTFD), of which the VMM must see no exit, and is interrupted by an
 * eventfd (KVM_IRQFD). Last, both use a page of private memory, which only this node has.
 *
 *   slots_vmm                all of it
 *   slots_vmm private        RAM is anonymous memory, which must be refused
 *   slots_vmm lacks ECX MSR  only: a node lacks these bits of CPUID 1's ECX and this MSR, this host
 *                            has them
 * Exit status 0: all as expected.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tiny_vmm.h"

enum {
    RAM = 2 << 20,
    ROM = 64 << 10,
    ROM_AT = 0xE0000,
    ALIAS_AT = 0xD0000,
    CODE_AT = 0x1000,
    DATA_AT = 0x2000,
    SPIN_AT = 0x3000,
    HANDLER_AT = 0x3100,
    WAITS_AT = 0x3200,
    NMI_AT = 0x3300,
    PIC_AT = 0x3400,
    LOCAL_AT = 0x3480,
    ENDLESS_AT = 0x34C0,
    RINGS_AT = 0x3500,
    IRQ_AT = 0x3600,
    BASE_AT = 0x3700
};
enum { APIC_VECTOR = 0x51, PIC_VECTOR = 0x60, IRQ_VECTOR = 0x61, KICKS = 20 };
enum { BELL_PORT = 0x90, IRQ_GSI = 30, X2APIC = 1 << 21 /* CPUID 1 ECX */ };
#define BELL_MMIO UINT64_C(0xC0000000)
enum { OWN_PAGE = 0x200000 }; /* private memory of the VMM */

/* mov ax,[0x2000]; out 0x80,ax; mov ax,0xE000; mov ds,ax; mov ax,[0x1234]; out 0x80,ax; mov
 * ax,0xD000; mov ds,ax; mov ax,[0]; out 0x80,ax; inc word [0]; xor ax,ax; mov ds,ax; mov
 * ax,[0x2000]; out 0x80,ax; in ax,0x80; out 0x80,ax; hlt */
static const uint8_t code[] = {
    0xA1, 0x00, 0x20, 0xE7, 0x80, 0xB8, 0x00, 0xE0, 0x8E, 0xD8, 0xA1, 0x34, 0x12, 0xE7, 0x80,
    0xB8, 0x00, 0xD0, 0x8E, 0xD8, 0xA1, 0x00, 0x00, 0xE7, 0x80, 0xFF, 0x06, 0x00, 0x00, 0x31,
    0xC0, 0x8E, 0xD8, 0xA1, 0x00, 0x20, 0xE7, 0x80, 0xE5, 0x80, 0xE7, 0x80, 0xF4,
};

/* sti; jmp $ */
static const uint8_t spin[] = {0xFB, 0xEB, 0xFE};
/* mov dword [0xFEE000B0],0 (EOI); iret */
static const uint8_t handler[] = {0x66, 0x67, 0xC7, 0x05, 0xB0, 0x00, 0xE0,
                                  0xFE, 0x00, 0x00, 0x00, 0x00, 0xCF};

/* cli; hlt; mov ax,0x1111; out 0x80,ax; sti; L: hlt; jmp L */
static const uint8_t waits[] = {0xFA, 0xF4, 0xB8, 0x11, 0x11, 0xE7, 0x80, 0xFB, 0xF4, 0xEB, 0xFD};
/* mov ax,...; out 0x80,ax; iret */
static const uint8_t nmi_handler[] = {0xB8, 0x22, 0x22, 0xE7, 0x80, 0xCF};
static const uint8_t pic_handler[] = {0xB8, 0x33, 0x33, 0xE7, 0x80, 0xCF};

/* inc dword [0x200000]; mov ax,0x6666; out 0x80,ax */
static const uint8_t increments[] = {0x67, 0x66, 0xFF, 0x05, 0x00, 0x00, 0x20,
                                     0x00, 0xB8, 0x66, 0x66, 0xE7, 0x80};

/* L: out 0x91,ax; jmp L */
static const uint8_t endless[] = {0xE7, 0x91, 0xEB, 0xFC};

/* mov ax,0x1234; out 0x90,ax; inc ax; out 0x90,ax; dec ax; out 0x90,ax; out 0x90,al;
 * mov dword [0xC0000000],7; mov word [0xC0000000],7; sti; L: hlt; jmp L */
static const uint8_t rings[] = {
    0xB8, 0x34, 0x12, 0xE7, 0x90, 0x40, 0xE7, 0x90, 0x48, 0xE7, 0x90, 0xE6, 0x90,
    0x66, 0x67, 0xC7, 0x05, 0x00, 0x00, 0x00, 0xC0, 0x07, 0x00, 0x00, 0x00, 0x67,
    0xC7, 0x05, 0x00, 0x00, 0x00, 0xC0, 0x07, 0x00, 0xFB, 0xF4, 0xEB, 0xFD,
};
/* mov dword [0xFEE000B0],0 (EOI); mov ax,0x4444; out 0x80,ax; iret */
static const uint8_t irq_handler[] = {0x66, 0x67, 0xC7, 0x05, 0xB0, 0x00, 0xE0, 0xFE, 0x00,
                                      0x00, 0x00, 0x00, 0xB8, 0x44, 0x44, 0xE7, 0x80, 0xCF};

/* mov ecx,0x1B (IA32_APIC_BASE); rdmsr; and eax,~0x800 (off); wrmsr; out 0x80,al; or eax,0x800;
 * wrmsr; jmp $ */
static const uint8_t base[] = {
    0x66, 0xB9, 0x1B, 0x00, 0x00, 0x00, 0x0F, 0x32, 0x66, 0x25, 0xFF, 0xF7, 0xFF, 0xFF,
    0x0F, 0x30, 0xE6, 0x80, 0x66, 0x0D, 0x00, 0x08, 0x00, 0x00, 0x0F, 0x30, 0xEB, 0xFE,
};

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

/* ---- kicks and the EOI of a level-triggered interrupt
 * -------------------------------------------- */

static _Atomic unsigned eois;

/* Runs until it was kicked KICKS times and has seen one EOI; each kick ends one KVM_RUN. */
static void *spin_vcpu(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg, kicked = 0, seen = 0;
    struct kvm_run *run = own_run = run_of[i];
    atomic_fetch_add(&eois, 0x10000); /* can be kicked */
    while (kicked < KICKS || seen == 0) {
        int rc = ioctl(vcpu_fd[i], KVM_RUN, 0);
        if (rc != 0) {
            CHECK(errno == EINTR && run->immediate_exit == 1);
            run->immediate_exit = 0;
            kicked++;
            atomic_fetch_add(&eois, 0x10000);
            continue;
        }
        if (run->exit_reason != KVM_EXIT_IOAPIC_EOI)
            fprintf(stderr, "slots_vmm: vCPU %u: exit reason %u\n", i, run->exit_reason);
        CHECK(run->exit_reason == KVM_EXIT_IOAPIC_EOI && run->eoi.vector == APIC_VECTOR);
        seen++;
        atomic_fetch_add(&eois, 1);
    }
    CHECK(seen == 1);
    own_run = NULL;
    return NULL;
}

static void await(unsigned want, const char *what)
{
    for (unsigned ms = 0; (atomic_load(&eois) & (want >= 0x10000 ? ~0xFFFFu : 0xFFFFu)) != want;
         ms++) {
        if (ms == 20000) {
            fprintf(stderr, "slots_vmm: %s: %#x after 20 s\n", what, atomic_load(&eois));
            exit(5);
        }
        usleep(1000);
    }
}

/* A thread that runs the vCPU from there; it tells of its steps by eois. */
static pthread_t run_at(unsigned i, uint32_t at, void *(*thread)(void *))
{
    pthread_t t;
    atomic_store(&eois, 0);
    start_at(i, at);
    CHECK(pthread_create(&t, NULL, thread, (void *)(uintptr_t)i) == 0);
    return t;
}

static void kick_and_interrupt(unsigned i)
{
    struct kvm_msi msi = {.address_lo = 0xFEE00000u | i << 12,
                          .data = 1u << 15 | 1u << 14 | APIC_VECTOR}; /* level, assert */
    pthread_t t = run_at(i, SPIN_AT, spin_vcpu);
    await(0x10000, "start");
    for (unsigned k = 1; k <= KICKS; k++) {
        if (k == KICKS / 2) {
            CHECK(ioctl(vm_fd, KVM_SIGNAL_MSI, &msi) >= 0);
            await(1, "EOI");
        }
        usleep(k * 300); /* in the guest, on its way there, or not yet */
        pthread_kill(t, SIGUSR1);
        await((k + 1) * 0x10000, "kicks");
    }
    CHECK(pthread_join(t, NULL) == 0);
}

/* ---- NMI to a halted vCPU; the PIC's interrupt when the guest is ready for it ------------------
 */

static void expect_word(unsigned i, uint16_t want)
{
    struct kvm_run *run = run_of[i];
    uint16_t got = 0;
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0);
    CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == PORT);
    memcpy(&got, (uint8_t *)run + run->io.data_offset, 2);
    if (got != want) {
        fprintf(stderr, "slots_vmm: vCPU %u: word %#x, not %#x\n", i, got, want);
        exit(6);
    }
}

static void *halt_vcpu(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    struct kvm_run *run = own_run = run_of[i];
    struct kvm_interrupt irq = {.irq = PIC_VECTOR};
    atomic_fetch_add(&eois, 1);
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) < 0 && errno == EINTR); /* halted, IF 0: kicked out */
    run->immediate_exit = 0;
    CHECK(!run->if_flag);
    CHECK(ioctl(vcpu_fd[i], KVM_NMI, 0) == 0);
    run->request_interrupt_window = 1;
    expect_word(i, 0x2222);
    expect_word(i, 0x1111);
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0); /* at STI or HLT, not before */
    CHECK(run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN);
    CHECK(run->ready_for_interrupt_injection && run->if_flag);
    run->request_interrupt_window = 0;
    CHECK(ioctl(vcpu_fd[i], KVM_INTERRUPT, &irq) == 0);
    CHECK(ioctl(vcpu_fd[i], KVM_INTERRUPT, &irq) < 0 && errno == EEXIST);
    expect_word(i, 0x3333);
    own_run = NULL;
    return NULL;
}

static void halt_and_wake(unsigned i)
{
    pthread_t t = run_at(i, WAITS_AT, halt_vcpu);
    await(1, "start");
    usleep(50000);
    pthread_kill(t, SIGUSR1);
    CHECK(pthread_join(t, NULL) == 0);
}

/* ---- small private memory: of this node alone, and right from everywhere
 * ---------------------------- */

/* Handles what a vCPU of another node asks of the page; returns how many accesses that were. */
static unsigned serve_own_page(unsigned i, uint8_t *page)
{
    struct kvm_run *run = run_of[i];
    for (unsigned n = 0;; n++) {
        CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0);
        if (run->exit_reason != KVM_EXIT_MMIO)
            return n;
        uint64_t at = run->mmio.phys_addr - OWN_PAGE;
        CHECK(at == 0 && run->mmio.len == 4);
        if (run->mmio.is_write)
            memcpy(page + at, run->mmio.data, 4);
        else
            memcpy(run->mmio.data, page + at, 4);
    }
}

static void own_page(void)
{
    uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    page[0] = 40;
    CHECK(slot(4, 0, OWN_PAGE, 4096, page) == 0);
    for (unsigned i = 0; i < VCPUS; i++) {
        start_at(i, LOCAL_AT);
        unsigned accesses = serve_own_page(i, (uint8_t *)page); /* vCPU 1 is not of this node */
        CHECK(run_of[i]->exit_reason == KVM_EXIT_IO && accesses == (i == 0 ? 0 : 2));
        CHECK(page[0] == 41 + i);
    }
    CHECK(slot(4, 0, OWN_PAGE, 0, NULL) == 0);
}

/* ---- doorbells and interrupts by eventfd
 * ------------------------------------------------------------ */

static int doorbell(int fd, uint64_t addr, uint32_t len, uint64_t match, uint32_t flags)
{
    struct kvm_ioeventfd io = {
        .fd = fd, .addr = addr, .len = len, .datamatch = match, .flags = flags};
    return ioctl(vm_fd, KVM_IOEVENTFD, &io);
}

static int irqfd(int fd, uint32_t gsi, uint32_t flags)
{
    struct kvm_irqfd irq = {.fd = (uint32_t)fd, .gsi = gsi, .flags = flags};
    return ioctl(vm_fd, KVM_IRQFD, &irq);
}

static uint64_t counted(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void signal_fd(int fd)
{
    CHECK(write(fd, &(uint64_t){1}, 8) == 8);
}

/* What KVM refuses is refused, by the same error. */
static void bad_eventfds(int fd)
{
    const uint32_t value = KVM_IOEVENTFD_FLAG_DATAMATCH, gone = KVM_IOEVENTFD_FLAG_DEASSIGN;
    CHECK(doorbell(fd, BELL_MMIO, 3, 0, 0) < 0 && errno == EINVAL);
    CHECK(doorbell(fd, BELL_MMIO, 0, 7, value) < 0 && errno == EINVAL);
    CHECK(doorbell(fd, UINT64_MAX, 4, 0, 0) < 0 && errno == EINVAL);
    CHECK(doorbell(fd, BELL_MMIO, 4, 0, 1u << 30) < 0 && errno == EINVAL);
    CHECK(doorbell(vm_fd, BELL_MMIO, 4, 0, 0) < 0 && errno == EINVAL);
    CHECK(doorbell(-1, BELL_MMIO, 4, 0, 0) < 0 && errno == EBADF);
    CHECK(doorbell(fd, BELL_MMIO, 4, 0, gone) < 0 && errno == ENOENT);
    CHECK(irqfd(fd, 5000, 0) < 0 && errno == EINVAL);
    CHECK(irqfd(fd, IRQ_GSI, KVM_IRQFD_FLAG_RESAMPLE) < 0 && errno == EINVAL);
    CHECK(irqfd(vm_fd, IRQ_GSI, 0) < 0 && errno == EINVAL);
    errno = 0;
}

/* Rings each bell that the code does: by value, by length, by any length; what no bell takes is an
 * exit as ever. */
static void *ring_vcpu(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    struct kvm_run *run = run_of[i];
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0); /* out 0x90, 0x1235 */
    CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == BELL_PORT && run->io.size == 2);
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0); /* out 0x90, al */
    CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == BELL_PORT && run->io.size == 1);
    expect_word(i, 0x4444); /* the interrupt: all is rung */
    return NULL;
}

static void eventfds(unsigned i)
{
    const uint32_t port = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH;
    const uint32_t gone = KVM_IOEVENTFD_FLAG_DEASSIGN;
    int by_value = eventfd(0, EFD_NONBLOCK), any = eventfd(0, EFD_NONBLOCK), irq = eventfd(0, 0);
    struct { /* struct kvm_irq_routing with its entry */
        uint32_t nr, flags;
        struct kvm_irq_routing_entry e;
    } table = {.nr = 1,
               .e = {.gsi = IRQ_GSI,
                     .type = KVM_IRQ_ROUTING_MSI,
                     .u.msi = {.address_lo = 0xFEE00000u | i << 12, .data = IRQ_VECTOR}}};
    pthread_t t;
    CHECK(by_value >= 0 && any >= 0 && irq >= 0);
    bad_eventfds(any);
    CHECK(doorbell(by_value, BELL_PORT, 2, 0x1234, port) == 0);
    CHECK(doorbell(any, BELL_PORT, 2, 0x1234, port) < 0 && errno == EEXIST);
    CHECK(doorbell(any, BELL_MMIO, 0, 0, 0) == 0);
    CHECK(ioctl(vm_fd, KVM_SET_GSI_ROUTING, &table) == 0 && irqfd(irq, IRQ_GSI, 0) == 0);
    CHECK(irqfd(irq, IRQ_GSI, 0) < 0 && errno == EBUSY);
    start_at(i, RINGS_AT);
    CHECK(pthread_create(&t, NULL, ring_vcpu, (void *)(uintptr_t)i) == 0);
    uint64_t rung = 0;
    for (unsigned ms = 0; rung < 2 && ms < 20000; ms++, usleep(1000))
        rung += counted(any);
    CHECK(rung == 2 && counted(by_value) == 2);
    signal_fd(irq); /* halted by then, or about to */
    CHECK(pthread_join(t, NULL) == 0);
    CHECK(irqfd(irq, IRQ_GSI, KVM_IRQFD_FLAG_DEASSIGN) == 0);
    signal_fd(irq);
    usleep(20000);
    CHECK(counted(irq) == 1); /* nobody else reads it any more */
    CHECK(doorbell(by_value, BELL_PORT, 2, 0x1234, port | gone) == 0);
    CHECK(doorbell(any, BELL_MMIO, 0, 0, gone) == 0);
    CHECK(doorbell(any, BELL_MMIO, 0, 0, gone) < 0 && errno == ENOENT);
    close(by_value), close(any), close(irq);
}

/* ---- processors of different hosts
 * ------------------------------------------------------------------ */

static uint32_t supported_ecx(int kvm)
{
    static struct { /* struct kvm_cpuid2 with its entries */
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 e[256];
    } all;
    all.nent = 256;
    CHECK(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &all) == 0);
    for (uint32_t i = 0; i < all.nent; i++)
        if (all.e[i].function == 1)
            return all.e[i].ecx;
    return 0;
}

struct msr_list { /* struct kvm_msr_list with its indices */
    uint32_t n, index[1000];
};

static void supported_msrs(int kvm, unsigned long nr, struct msr_list *ret)
{
    ret->n = 0;
    CHECK(ioctl(kvm, nr, ret) != 0 && errno == E2BIG && ret->n > 0 && ret->n <= 1000);
    CHECK(ioctl(kvm, nr, ret) == 0);
}

/* All of here but the one that is lacking, in this order. */
static bool all_but(const struct msr_list *here, const struct msr_list *both, uint32_t lacks)
{
    uint32_t n = 0, missing = 0;
    for (uint32_t i = 0; i < here->n; i++) {
        missing += here->index[i] == lacks;
        if (here->index[i] != lacks && (n == both->n || both->index[n++] != here->index[i]))
            return false;
    }
    return missing == 1 && n == both->n;
}

/* Capabilities of VMX are not offered to any guest. */
static void without_vmx(struct msr_list *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->index[i] < 0x480 || l->index[i] > 0x491)
            l->index[n++] = l->index[i];
    memset(l->index + n, 0, (l->n - n) * sizeof(l->index[0]));
    l->n = n;
}

/* What KVM_GET_MSRS of /dev/kvm says of a feature; how many it answered: 0 or 1. */
static int feature_value(int kvm, uint32_t index, uint64_t *ret)
{
    struct { /* struct kvm_msrs with one entry */
        uint32_t nmsrs, pad;
        struct kvm_msr_entry entry;
    } one = {.nmsrs = 1, .entry = {.index = index}};
    int n = ioctl(kvm, KVM_GET_MSRS, &one);
    *ret = one.entry.data;
    return n;
}

/* Before the VM: this host's. After: what both nodes offer, nothing else missing. */
static int common(int kvm, uint32_t lacks, uint32_t lacks_msr)
{
    static struct msr_list msrs, features, both_msrs, both_features;
    static uint64_t value[1000], got;
    uint32_t here = supported_ecx(kvm);
    supported_msrs(kvm, KVM_GET_MSR_INDEX_LIST, &msrs);
    supported_msrs(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, &features);
    without_vmx(&features);
    for (uint32_t i = 0; i < features.n; i++)
        CHECK(feature_value(kvm, features.index[i], &value[i]) == 1);
    vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm_fd >= 0);
    uint32_t both = supported_ecx(kvm);
    if ((here & lacks) != lacks || both != (here & ~lacks)) {
        fprintf(stderr, "slots_vmm: CPUID 1 ECX: %#x here, %#x on both\n", here, both);
        return 7;
    }
    supported_msrs(kvm, KVM_GET_MSR_INDEX_LIST, &both_msrs);
    supported_msrs(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, &both_features);
    if (!all_but(&msrs, &both_msrs, lacks_msr) ||
        memcmp(&features, &both_features, sizeof(features)) != 0) {
        fprintf(stderr, "slots_vmm: %u MSRs, %u features here, %u and %u on both\n", msrs.n,
                features.n, both_msrs.n, both_features.n);
        return 8;
    }
    CHECK(feature_value(kvm, lacks_msr, &got) == 0);
    for (uint32_t i = 0; i < features.n; i++)
        CHECK(feature_value(kvm, features.index[i], &got) == 1 && got == value[i]);
    return 0;
}

/* A guest that does nothing but ring comes out of KVM_RUN at every kick, though no exit is the
 * VMM's. */
static void *ring_for_ever(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    own_run = run_of[i];
    for (unsigned k = 0; k <= KICKS; k++) {
        atomic_fetch_add(&eois, 0x10000); /* can be kicked */
        if (k == KICKS)
            break;
        CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) != 0 && errno == EINTR && own_run->immediate_exit == 1);
        own_run->immediate_exit = 0;
    }
    own_run = NULL;
    return NULL;
}

static void kick_a_ringer(unsigned i)
{
    const uint32_t port = KVM_IOEVENTFD_FLAG_PIO;
    int bell = eventfd(0, EFD_NONBLOCK);
    CHECK(bell >= 0 && doorbell(bell, BELL_PORT + 1, 2, 0, port) == 0);
    pthread_t t = run_at(i, ENDLESS_AT, ring_for_ever);
    for (unsigned k = 1; k <= KICKS; k++) {
        await(k * 0x10000, "kicks of a ringer");
        usleep(k * 200);
        pthread_kill(t, SIGUSR1);
    }
    CHECK(pthread_join(t, NULL) == 0 && counted(bell) > 0);
    CHECK(doorbell(bell, BELL_PORT + 1, 2, 0, port | KVM_IOEVENTFD_FLAG_DEASSIGN) == 0);
    close(bell);
}

/* kvm_run says what the guest has made of its APIC's base, after an exit and after a kick: VMMs
 * keep it and write it back. */
static void *change_base(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg, kicks = 0;
    const uint64_t off = 0xFEE00000u | (i == 0 ? 0x100u : 0);
    own_run = run_of[i];
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0 && own_run->exit_reason == KVM_EXIT_IO);
    CHECK(own_run->apic_base == off);
    atomic_store(&eois, 0x10000);
    do {
        CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) != 0 && errno == EINTR && ++kicks < 1000);
        own_run->immediate_exit = 0;
    } while (own_run->apic_base != (off | 0x800));
    own_run = NULL;
    atomic_store(&eois, 0);
    return NULL;
}

static void apic_base(unsigned i)
{
    pthread_t t = run_at(i, BASE_AT, change_base);
    await(0x10000, "a write of IA32_APIC_BASE");
    while (atomic_load(&eois) != 0) {
        pthread_kill(t, SIGUSR1);
        usleep(2000);
    }
    CHECK(pthread_join(t, NULL) == 0);
}

static void vector(uint8_t *ram, unsigned n, uint16_t at)
{
    memcpy(ram + n * 4, &at, 2);
}

static uint8_t *make_ram(bool private)
{
    uint8_t *ram = private
                       ? mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : tiny_ram(RAM);
    CHECK(ram != MAP_FAILED);
    memcpy(ram + CODE_AT, code, sizeof(code)); /* before any slot shows it */
    memcpy(ram + SPIN_AT, spin, sizeof(spin));
    memcpy(ram + HANDLER_AT, handler, sizeof(handler));
    memcpy(ram + WAITS_AT, waits, sizeof(waits));
    memcpy(ram + NMI_AT, nmi_handler, sizeof(nmi_handler));
    memcpy(ram + PIC_AT, pic_handler, sizeof(pic_handler));
    memcpy(ram + LOCAL_AT, increments, sizeof(increments));
    memcpy(ram + ENDLESS_AT, endless, sizeof(endless));
    memcpy(ram + RINGS_AT, rings, sizeof(rings));
    memcpy(ram + IRQ_AT, irq_handler, sizeof(irq_handler));
    memcpy(ram + BASE_AT, base, sizeof(base));
    vector(ram, 2, NMI_AT);
    vector(ram, APIC_VECTOR, HANDLER_AT);
    vector(ram, PIC_VECTOR, PIC_AT);
    vector(ram, IRQ_VECTOR, IRQ_AT);
    return ram;
}

int main(int argc, char **argv)
{
    bool private = argc > 1 && strcmp(argv[1], "private") == 0;
    uint8_t *ram = make_ram(private);
    uint8_t *rom = mmap(NULL, ROM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int kvm = tiny_open();
    CHECK(rom != MAP_FAILED);
    memcpy(rom + 0x1234, &(uint16_t){0xCAFE}, 2);
    if (argc > 1 && strcmp(argv[1], "lacks") == 0)
        return argc != 4 ? 2
                         : common(kvm, (uint32_t)strtoul(argv[2], NULL, 16),
                                  (uint32_t)strtoul(argv[3], NULL, 16));
    tiny_create_vm(kvm);
    CHECK(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) == 1 &&
          ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD_RESAMPLE) == 0);
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
        tiny_create_vcpu(kvm, i);
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
    for (unsigned i = 0; i < VCPUS; i++)
        kick_and_interrupt(i);
    for (unsigned i = 0; i < VCPUS; i++)
        halt_and_wake(i);
    for (unsigned i = 0; i < VCPUS; i++) {
        eventfds(i);
        kick_a_ringer(i);
    }
    own_page();
    if ((supported_ecx(kvm) & X2APIC) == 0) { /* its MSRs are the kernel's, and nobody else's */
        puts("slots_vmm: all as expected; IA32_APIC_BASE not tried: this KVM keeps it");
        return 0;
    }
    for (unsigned i = 0; i < VCPUS; i++)
        apic_base(i);
    puts("slots_vmm: all as expected");
    return 0;
}
