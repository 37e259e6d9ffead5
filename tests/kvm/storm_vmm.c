/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storms: what a VMM does to vCPUs that are in the middle of something. Both vCPUs change memory
 * and a device's registers (a read-modify-write, a string move out of the device) while another
 * thread of the VMM writes to the pages of their code, operands and stack as a device's DMA would,
 * so that they are always on the other node; a third kicks the vCPUs, a fourth changes slots. Then
 * a vCPU that waits for such a page gets an INIT.
 *
 *   storm_vmm [ROUNDS]     (default 1000)
 * Exit status 0: every access happened once and with the right bytes.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "tiny_vmm.h"

enum { RAM = 2 << 20, LOW = 1 << 20, CODE_AT = 0x1000, INC_AT = 0x2000, MOVED_AT = 0x3000 };
enum { START_AT = 0x5000, ENDLESS_AT = 0x6000, COUNT_AT = 0x9000 };
enum { STEP = 3, INITS = 20, STOLEN = 0x800 };
#define DEVICE  UINT32_C(0xC0000000)
#define PATTERN UINT32_C(0xA5000000)

/* inc word [INC]; add word [DEVICE],STEP; mov ax,[DEVICE]; mov esi,DEVICE+8; mov edi,MOVED;
 * movsd [es:edi],[ds:esi]; out 0x80,ax; jmp to the start. Each vCPU has its own copy. */
static const uint8_t round_code[] = {
    0xFF, 0x06, 0, 0, 0x67, 0x83, 0x05, 0, 0, 0, 0, STEP, 0x67, 0xA1, 0,    0,    0,    0,    0x66,
    0xBE, 0,    0, 0, 0,    0x66, 0xBF, 0, 0, 0, 0, 0x67, 0x66, 0xA5, 0xE7, 0x80, 0xEB, 0xDB,
};
enum { INC_REF = 2, ADD_REF = 7, READ_REF = 14, FROM_REF = 20, TO_REF = 26 };
/* L: inc dword [COUNT]; jmp L */
static const uint8_t endless[] = {0x66, 0xFF, 0x06, 0x00, 0x90, 0xEB, 0xF9};
/* mov ax,0x5555; out 0x80,ax; L: hlt; jmp L */
static const uint8_t start[] = {0xB8, 0x55, 0x55, 0xE7, 0x80, 0xF4, 0xEB, 0xFD};

static uint8_t *ram;
static unsigned rounds = 1000;
static pthread_t runner[VCPUS];
static _Atomic bool over, storms[3];
static _Atomic unsigned exits[VCPUS]; /* that each vCPU has come to */
static _Atomic unsigned finished;     /* vCPUs */

static uint32_t own(unsigned i, uint32_t at)
{
    return at + i * 0x100;
}

static uint32_t device_of(unsigned i)
{
    return DEVICE + i * 0x1000;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void place_code(unsigned i)
{
    uint8_t *code = ram + own(i, CODE_AT);
    memcpy(code, round_code, sizeof(round_code));
    memcpy(code + INC_REF, &(uint16_t){(uint16_t)own(i, INC_AT)}, 2);
    put32(code + ADD_REF, device_of(i));
    put32(code + READ_REF, device_of(i));
    put32(code + FROM_REF, device_of(i) + 8);
    put32(code + TO_REF, own(i, MOVED_AT));
}

/* ---- the storms
 * ------------------------------------------------------------------------------------- */

/* Words of the same pages that no vCPU looks at: what counts is that the page is here and not
 * there.
 */
static void *steal(void *arg)
{
    static const uint32_t pages[] = {CODE_AT, INC_AT, MOVED_AT, COUNT_AT};
    (void)arg;
    for (uint32_t n = 0; !atomic_load(&over); n++) {
        volatile uint32_t *word = (volatile uint32_t *)(ram + pages[n % 4] + STOLEN);
        *word += 1;
        usleep(300);
        atomic_store(&storms[0], true);
    }
    return NULL;
}

/* Once for each exit, a little later each time: at any point of an access, and the guest gets on.
 */
static void *kick(void *arg)
{
    unsigned seen[VCPUS] = {0};
    (void)arg;
    for (unsigned n = 0; !atomic_load(&over); n++) {
        usleep(100 + n % 16 * 50);
        for (unsigned i = 0; i < VCPUS; i++) {
            if (seen[i] == atomic_load(&exits[i]))
                continue;
            seen[i] = atomic_load(&exits[i]);
            pthread_kill(runner[i], SIGUSR1); /* it stays until the storms are over */
            atomic_store(&storms[1], true);
        }
    }
    return NULL;
}

static void *change_slots(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        CHECK(slot(1, 0, LOW, RAM - LOW, ram + LOW) == 0);
        CHECK(slot(1, 0, LOW, 0, NULL) == 0);
        usleep(2000);
        atomic_store(&storms[2], true);
    }
    return NULL;
}

/* ---- the vCPUs and their device
 * --------------------------------------------------------------------- */

/* The word that the guest adds to; it must be read before it is written, and written once. */
static void device(unsigned i, struct kvm_run *run, uint16_t *reg)
{
    uint64_t at = run->mmio.phys_addr - device_of(i);
    uint16_t value = 0;
    if (at == 8 && !run->mmio.is_write && run->mmio.len == 4) {
        put32(run->mmio.data, PATTERN | *reg);
        return;
    }
    CHECK(at == 0 && run->mmio.len == 2);
    if (!run->mmio.is_write) {
        memcpy(run->mmio.data, reg, 2);
        return;
    }
    memcpy(&value, run->mmio.data, 2);
    if (value != (uint16_t)(*reg + STEP)) {
        fprintf(stderr, "storm_vmm: vCPU %u writes %#x over %#x\n", i, value, *reg);
        exit(4);
    }
    *reg = value;
}

static void *run_rounds(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg, done = 0, kicked = 0;
    struct kvm_run *run = own_run = run_of[i];
    uint16_t reg = 0, seen = 0;
    while (!atomic_load(&storms[0]) || !atomic_load(&storms[2]))
        usleep(1000);
    while (done < rounds) {
        int rc = ioctl(vcpu_fd[i], KVM_RUN, 0);
        if (rc != 0) {
            CHECK(errno == EINTR);
            run->immediate_exit = 0;
            kicked++;
            continue;
        }
        atomic_fetch_add(&exits[i], 1);
        if (run->exit_reason == KVM_EXIT_MMIO) {
            device(i, run, &reg);
            continue;
        }
        CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == PORT && run->io.size == 2);
        memcpy(&seen, (uint8_t *)run + run->io.data_offset, 2);
        done++;
        CHECK(seen == reg && reg == (uint16_t)(done * STEP));
    }
    own_run = NULL;
    uint16_t counted = *(volatile uint16_t *)(ram + own(i, INC_AT));
    uint32_t moved = *(volatile uint32_t *)(ram + own(i, MOVED_AT));
    if (counted != (uint16_t)rounds || moved != (PATTERN | reg) || kicked == 0) {
        fprintf(stderr, "storm_vmm: vCPU %u: %u rounds, not %u; moved %#x, not %#x; %u kicks\n", i,
                counted, rounds, moved, PATTERN | reg, kicked);
        exit(5);
    }
    atomic_fetch_add(&finished, 1);
    while (!atomic_load(&over))
        usleep(1000);
    return NULL;
}

/* ---- INIT to a vCPU that waits for a page
 * ------------------------------------------------------------ */

static void *run_until_init(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
    own_run = run_of[i];
    while (mp.mp_state != KVM_MP_STATE_INIT_RECEIVED) {
        int rc = ioctl(vcpu_fd[i], KVM_RUN, 0);
        CHECK(rc != 0 && errno == EINTR);
        own_run->immediate_exit = 0;
        CHECK(ioctl(vcpu_fd[i], KVM_GET_MP_STATE, &mp) == 0);
    }
    own_run = NULL;
    atomic_fetch_add(&exits[i], 1);
    return NULL;
}

/* Ends the access that the last exit was about: before the VMM changes the vCPU's state. */
static void complete(unsigned i)
{
    run_of[i]->immediate_exit = 1;
    CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) != 0 && errno == EINTR);
    run_of[i]->immediate_exit = 0;
}

static void init_in_a_fault(unsigned i)
{
    volatile uint32_t *count = (volatile uint32_t *)(ram + COUNT_AT);
    struct kvm_msi init = {.address_lo = 0xFEE00000u | i << 12, .data = 5 << 8};
    struct kvm_run *run = run_of[i];
    struct kvm_regs r;
    uint16_t seen = 0;
    for (unsigned n = 0; n < INITS; n++) {
        uint32_t before = *count;
        unsigned done = atomic_load(&exits[i]) + 1;
        complete(i);
        start_at(i, ENDLESS_AT);
        CHECK(pthread_create(&runner[i], NULL, run_until_init, (void *)(uintptr_t)i) == 0);
        for (unsigned ms = 0; *count - before < 2; ms++, usleep(1000))
            CHECK(ms < 20000); /* it runs, and each look takes its page away */
        for (unsigned k = 0; k < n; k++, usleep(70))
            count[1] += 1;
        count[1] += 1; /* the page has just gone */
        CHECK(ioctl(vm_fd, KVM_SIGNAL_MSI, &init) >= 0);
        for (unsigned ms = 0; atomic_load(&exits[i]) != done; ms++, usleep(1000)) {
            CHECK(ms < 20000);
            pthread_kill(runner[i], SIGUSR1);
        }
        CHECK(pthread_join(runner[i], NULL) == 0);
        run->immediate_exit = 0; /* of a kick that came last */
        CHECK(ioctl(vcpu_fd[i], KVM_GET_REGS, &r) == 0 && r.rip == 0xFFF0);
        start_at(i, START_AT);
        CHECK(ioctl(vcpu_fd[i], KVM_RUN, 0) == 0);
        CHECK(run->exit_reason == KVM_EXIT_IO && run->io.port == PORT);
        memcpy(&seen, (uint8_t *)run + run->io.data_offset, 2);
        CHECK(seen == 0x5555);
    }
}

int main(int argc, char **argv)
{
    static void *(*const storm[])(void *) = {steal, kick, change_slots};
    pthread_t thread[3];
    if (argc > 1)
        rounds = (unsigned)strtoul(argv[1], NULL, 10);
    int kvm = tiny_open();
    ram = tiny_ram(RAM);
    memcpy(ram + START_AT, start, sizeof(start));
    memcpy(ram + ENDLESS_AT, endless, sizeof(endless));
    tiny_create_vm(kvm);
    CHECK(slot(0, 0, 0, LOW, ram) == 0);
    for (unsigned i = 0; i < VCPUS; i++) {
        place_code(i);
        tiny_create_vcpu(kvm, i);
        start_at(i, own(i, CODE_AT));
        CHECK(pthread_create(&runner[i], NULL, run_rounds, (void *)(uintptr_t)i) == 0);
    }
    for (unsigned k = 0; k < 3; k++)
        CHECK(pthread_create(&thread[k], NULL, storm[k], NULL) == 0);
    while (atomic_load(&finished) < VCPUS)
        usleep(1000);
    atomic_store(&over, true);
    for (unsigned k = 0; k < 3; k++)
        CHECK(pthread_join(thread[k], NULL) == 0 && atomic_load(&storms[k]));
    for (unsigned i = 0; i < VCPUS; i++)
        CHECK(pthread_join(runner[i], NULL) == 0);
    init_in_a_fault(1); /* vCPU 0 would go on at the reset vector */
    puts("storm_vmm: all as expected");
    return 0;
}
