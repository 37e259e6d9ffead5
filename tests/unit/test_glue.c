/* SPDX-License-Identifier: BSD-3-Clause */
/* The glue's border: rings, the ioctl allow-list and its sizes, exits on the wire, commands from
 * peers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypervisor-glue/link/glue_ring.h"
#include "hypervisor-glue/vkvm/cpuid_common.h"
#include "hypervisor-glue/vkvm/msrs_common.h"
#include "hypervisor-glue/vkvm/exit_wire.h"
#include "hypervisor-glue/vkvm/vkvm.h"

static uint8_t storage[64 + GLUE_SIDE_SIZE + 64];
static uint8_t *const big = storage + 64; /* room before it: see forged */

static void ring_carries_both_sizes(void **state)
{
    (void)state;
    struct glue_ring *r = aligned_alloc(4096, sizeof(*r));
    memset(r, 0, sizeof(*r));
    struct glue_entry in = {.kind = WIRE_IO_EXIT, .node = 3, .chan = 7, .arg = 99}, out;
    const uint8_t *payload;
    for (uint32_t turn = 0; turn < 1000; turn++) {
        uint32_t len = turn % 3 == 0 ? GLUE_SIDE_SIZE : turn % (GLUE_INLINE + 1);
        memset(big, (int)turn, len);
        in.seq = turn;
        assert_int_equal(glue_ring_put(r, &in, big, len), 0);
        assert_int_equal(glue_ring_peek(r, &out, &payload), 1);
        assert_int_equal(out.len, len);
        assert_int_equal(out.seq, turn);
        assert_memory_equal(payload, big, len);
        glue_ring_pop(r, out.len);
        assert_int_equal(glue_ring_peek(r, &out, &payload), 0);
    }
    for (uint32_t i = 0; i < GLUE_SIDE_SLOTS; i++)
        assert_int_equal(glue_ring_put(r, &in, big, GLUE_INLINE + 1), 0);
    assert_int_equal(glue_ring_put(r, &in, big, GLUE_INLINE + 1), -EAGAIN);
    for (uint32_t i = GLUE_SIDE_SLOTS; i < GLUE_RING_ENTRIES; i++)
        assert_int_equal(glue_ring_put(r, &in, big, GLUE_INLINE), 0);
    assert_int_equal(glue_ring_put(r, &in, big, 0), -EAGAIN);
    assert_int_equal(glue_ring_put(r, &in, big, GLUE_SIDE_SIZE + 1), -EMSGSIZE);
    free(r);
}

static void ring_refuses_a_bad_producer(void **state)
{
    (void)state;
    struct glue_ring *r = aligned_alloc(4096, sizeof(*r));
    struct glue_entry out;
    const uint8_t *payload;
    memset(r, 0, sizeof(*r));
    atomic_store(&r->head, GLUE_RING_ENTRIES + 1);
    assert_int_equal(glue_ring_peek(r, &out, &payload), -EPROTO);
    atomic_store(&r->head, 1);
    r->entry[0].len = GLUE_SIDE_SIZE + 1;
    assert_int_equal(glue_ring_peek(r, &out, &payload), -EPROTO);
    r->entry[0].len = GLUE_INLINE + 1;
    r->entry[0].side = 1;
    assert_int_equal(glue_ring_peek(r, &out, &payload), -EPROTO);
    r->entry[0].side = UINT32_MAX;
    assert_int_equal(glue_ring_peek(r, &out, &payload), -EPROTO);
    free(r);
}

/* As who only looks: how much waits, up to what a ring holds; what cannot be is said to be that. */
static void ring_tells_what_waits(void **state)
{
    (void)state;
    struct glue_ring *r = aligned_alloc(4096, sizeof(*r));
    struct glue_entry e = {.kind = WIRE_IO_EXIT}, out;
    const uint8_t *payload;
    memset(r, 0, sizeof(*r));
    atomic_store(&r->head, UINT32_MAX - 2); /* the numbers wrap on the way */
    atomic_store(&r->tail, UINT32_MAX - 2);
    for (int32_t n = 0; n < GLUE_RING_ENTRIES; n++) {
        assert_int_equal(glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES), n);
        assert_int_equal(glue_ring_put(r, &e, NULL, 0), 0);
    }
    assert_int_equal(glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES), GLUE_RING_ENTRIES);
    assert_int_equal(glue_ring_peek(r, &out, &payload), 1);
    glue_ring_pop(r, 0);
    assert_int_equal(glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES), GLUE_RING_ENTRIES - 1);
    atomic_store(&r->head, atomic_load(&r->tail) + GLUE_RING_ENTRIES + 1);
    assert_int_equal(glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES), -1);
    atomic_store(&r->head, atomic_load(&r->tail) - 1); /* more was taken than was there */
    assert_int_equal(glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES), -1);
    free(r);
}

static void *put_and_take(void *arg)
{
    struct glue_ring *r = arg;
    struct glue_entry e = {.kind = WIRE_IO_EXIT}, out;
    const uint8_t *payload;
    for (uint32_t i = 0; i < 300000; i++) {
        while (i % 1000 < 500 && glue_ring_put(r, &e, NULL, 0) == 0)
            ;
        if (glue_ring_peek(r, &out, &payload) == 1)
            glue_ring_pop(r, out.len);
    }
    atomic_store(&r->side_head, 1);
    return NULL;
}

/* Beside who uses it: whatever moves between two reads, no honest ring looks broken. */
static void ring_in_use_is_plausible(void **state)
{
    (void)state;
    struct glue_ring *r = aligned_alloc(4096, sizeof(*r));
    pthread_t t;
    memset(r, 0, sizeof(*r));
    assert_int_equal(pthread_create(&t, NULL, put_and_take, r), 0);
    while (atomic_load(&r->side_head) == 0) {
        int32_t n = glue_waiting(&r->head, &r->tail, GLUE_RING_ENTRIES);
        assert_in_range(n, 0, GLUE_RING_ENTRIES);
    }
    pthread_join(t, NULL);
    free(r);
}

/* The VM stops by name instead of waiting for a message that cannot come. */
static void broken_ring_ends_the_vm(void **state)
{
    (void)state;
    int pair[2];
    uint8_t byte;
    struct glue_entry out;
    struct link *l = calloc(1, sizeof(*l));
    l->shared = aligned_alloc(4096, (glue_segment_size(1) + 4095) & ~(size_t)4095);
    memset(l->shared, 0, glue_segment_size(1));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    l->sock = pair[0];
    assert_int_equal(link_take(l, 0, &out, big), 0);
    assert_int_equal(atomic_load(&l->stopping), 0);
    atomic_store(&link_chan(l, 0)->to_glue.head, GLUE_RING_ENTRIES + 1);
    assert_int_equal(link_take(l, 0, &out, big), 0);
    assert_int_equal(atomic_load(&l->stopping), 1);
    assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0); /* closed, not just silent */
    close(pair[0]);
    close(pair[1]);
    free(l->shared);
    free(l);
}

/* A kick that comes just before KVM_RUN leaves a mark that the kernel looks at; the VMM's own mark
 * is not touched. */
static void kick_leaves_a_mark(void **state)
{
    (void)state;
    struct vm *vm = calloc(1, sizeof(*vm));
    struct vcpu *v = calloc(1, sizeof(*v));
    struct kvm_run run = {0};
    v->vm = vm;
    v->run = &run;
    v->chan = aligned_alloc(4096, (sizeof(*v->chan) + 4095) & ~(size_t)4095);
    vm->link.vcpu_core[0] = -1;
    assert_int_equal(kick_install(), 0);
    home_thread_setup(v);
    assert_int_equal(atomic_load(&v->chan->tid), (uint32_t)gettid());
    raise(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
    assert_int_equal(run.immediate_exit, VKVM_KICKED);
    run.immediate_exit = 1;
    raise(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
    assert_int_equal(run.immediate_exit, 1);
    timer_delete(v->timer);
    signal(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET, SIG_IGN);
    free(v->chan);
    free(v);
    free(vm);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    const struct ioctl_info *regs = ioctl_find(SCOPE_VCPU, (uint32_t)KVM_GET_REGS);
    const struct ioctl_info *msrs = ioctl_find(SCOPE_VCPU, (uint32_t)KVM_SET_MSRS);
    const struct ioctl_info *cpuid = ioctl_find(SCOPE_VCPU, (uint32_t)KVM_SET_CPUID2);
    const struct ioctl_info *nmi = ioctl_find(SCOPE_VCPU, (uint32_t)KVM_NMI);
    uint32_t count;
    memset(big, 0, GLUE_SIDE_SIZE);
    assert_int_equal(ioctl_arg_size(regs, big, sizeof(struct kvm_regs)), sizeof(struct kvm_regs));
    assert_int_equal(ioctl_arg_size(regs, big, sizeof(struct kvm_regs) - 1), -EINVAL);
    assert_int_equal(ioctl_arg_size(nmi, big, 7), -EINVAL);
    count = 3;
    memcpy(big, &count, 4);
    assert_int_equal(ioctl_arg_size(msrs, big, 8 + 3 * 16), 8 + 3 * 16);
    assert_int_equal(ioctl_arg_size(msrs, big, 8 + 3 * 16 - 1), -EINVAL);
    assert_int_equal(ioctl_arg_size(cpuid, big, 8 + 3 * 40), 8 + 3 * 40);
    assert_int_equal(ioctl_arg_size(cpuid, big, 7), -EINVAL);
    count = UINT32_MAX;
    memcpy(big, &count, 4);
    assert_int_equal(ioctl_arg_size(msrs, big, SIZE_MAX), -E2BIG);
    count = GLUE_SIDE_SIZE / 16; /* with its header it no longer fits */
    memcpy(big, &count, 4);
    assert_int_equal(ioctl_arg_size(msrs, big, SIZE_MAX), -E2BIG);
    assert_null(ioctl_find(SCOPE_VCPU, 0xABCD));
    assert_null(ioctl_find(SCOPE_VM, (uint32_t)KVM_GET_REGS));
}

static struct kvm_run *new_run(void)
{
    struct kvm_run *run = aligned_alloc(4096, VKVM_RUN_PAGES * 4096);
    memset(run, 0, VKVM_RUN_PAGES * 4096);
    return run;
}

static void exits_travel(void **state)
{
    (void)state;
    struct kvm_run *home = new_run(), *proxy = new_run();
    uint8_t *data = (uint8_t *)home + 4096;
    home->exit_reason = KVM_EXIT_IO;
    home->io.direction = KVM_EXIT_IO_OUT;
    home->io.size = 4;
    home->io.port = 0x3F8;
    home->io.count = 1024;
    home->io.data_offset = 4096;
    for (int i = 0; i < 4096; i++)
        data[i] = (uint8_t)(i * 7);
    uint32_t len = exit_wire_pack(home, 0, big);
    assert_int_equal(len, EXIT_WIRE_HEAD + 4096);
    proxy->immediate_exit = 1;
    assert_int_equal(exit_wire_unpack(proxy, big, len), 0);
    assert_int_equal(proxy->immediate_exit, 1); /* input fields are the VMM's */
    assert_int_equal(proxy->io.port, 0x3F8);
    assert_memory_equal((uint8_t *)proxy + proxy->io.data_offset, data, 4096);
    assert_int_equal(exit_wire_result(proxy, big), 0);
    /* the way back of an in */
    proxy->io.direction = home->io.direction = KVM_EXIT_IO_IN;
    proxy->io.count = home->io.count = 3;
    memcpy((uint8_t *)proxy + VKVM_PIO_OFFSET, "abcdefghijkl", 12);
    assert_int_equal(exit_wire_result(proxy, big), 12);
    assert_int_equal(exit_wire_apply(home, true, big, 12), 0);
    assert_memory_equal(data, "abcdefghijkl", 12);
    assert_int_equal(exit_wire_apply(home, false, big, 12), -EPROTO);
    assert_int_equal(exit_wire_apply(home, true, big, 13), -EPROTO);
    /* an MMIO read */
    home->exit_reason = proxy->exit_reason = KVM_EXIT_MMIO;
    home->mmio.is_write = proxy->mmio.is_write = 0;
    memcpy(proxy->mmio.data, "01234567", 8);
    assert_int_equal(exit_wire_result(proxy, big), 8);
    assert_int_equal(exit_wire_apply(home, true, big, 8), 0);
    assert_memory_equal(home->mmio.data, "01234567", 8);
    home->mmio.is_write = 1;
    assert_int_equal(exit_wire_apply(home, true, big, 8), -EPROTO);
    home->apic_base = 0xFEE00D00;
    home->cr8 = 3;
    home->if_flag = 1;
    proxy->apic_base = proxy->cr8 = proxy->if_flag = 0;
    assert_int_equal(exit_wire_unpack(proxy, big, exit_wire_pack(home, -EINTR, big)), -EINTR);
    assert_int_equal(proxy->exit_reason, KVM_EXIT_INTR);
    assert_true(proxy->apic_base == 0xFEE00D00 && proxy->cr8 == 3 && proxy->if_flag == 1);
    free(home);
    free(proxy);
}

static void hostile_exits_change_nothing_outside(void **state)
{
    (void)state;
    struct kvm_run *proxy = new_run();
    uint8_t *last = (uint8_t *)proxy + VKVM_RUN_PAGES * 4096 - 1;
    *last = 0x5A;
    memset(big, 0, GLUE_SIDE_SIZE);
    struct kvm_run *forged =
        (struct kvm_run *)(big - VKVM_RUN_HEADER); /* never read at its start */
    forged->exit_reason = KVM_EXIT_IO;
    forged->io.direction = KVM_EXIT_IO_OUT;
    forged->io.size = 8;
    forged->io.count = UINT32_MAX;
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD + 4096), -EPROTO);
    forged->io.size = 1;
    forged->io.count = 4097;
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD + 4097), -EPROTO);
    forged->io.count = 100;
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD + 99), -EPROTO);
    forged->io.data_offset = 1u << 30;
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD + 100), 0);
    assert_int_equal(proxy->io.data_offset, VKVM_PIO_OFFSET);
    forged->exit_reason = KVM_EXIT_MMIO;
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD + 1), -EPROTO);
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_HEAD - 1), -EPROTO);
    assert_int_equal(exit_wire_unpack(proxy, big, 0), -EPROTO);
    int32_t positive = 5;
    memcpy(big, &positive, 4);
    assert_int_equal(exit_wire_unpack(proxy, big, EXIT_WIRE_ERROR_LEN), -EPROTO);
    positive = -EINTR;
    memcpy(big, &positive, 4);
    assert_int_equal(exit_wire_unpack(proxy, big, 4), -EPROTO);
    assert_int_equal(*last, 0x5A);
    free(proxy);
}

/* No KVM is behind this VM (its descriptors are -1): what passes the border fails with EBADF, the
 * rest by name. */
static struct vm *vm_without_kvm(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    vm->fd = vm->kvm_fd = -1;
    vm->link.vcpus = 4;
    vm->link.node = 1;
    vm->link.ram_pages_max = 16;
    memset(big, 0, GLUE_SIDE_SIZE);
    return vm;
}

static void commands_are_checked(void **state)
{
    (void)state;
    struct vm *vm = vm_without_kvm();
    struct glue_entry e = {.kind = WIRE_VM_CMD, .op = VMC_IOCTL};
    e.arg = (uint32_t)KVM_SET_TSS_ADDR;
    e.len = 8;
    assert_int_equal(vm_exec(vm, &e, big), -EBADF);
    e.len = 9;
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    const uint32_t never[] = {(uint32_t)KVM_CREATE_VCPU, (uint32_t)KVM_SET_USER_MEMORY_REGION,
                              (uint32_t)KVM_IRQFD, (uint32_t)KVM_GET_CLOCK, 0xABCD};
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        e.arg = never[i];
        e.len = (uint16_t)(_IOC_SIZE(never[i]) < 8 ? 8 : _IOC_SIZE(never[i]));
        assert_int_equal(vm_exec(vm, &e, big), -EPERM);
    }
    e.arg = (uint32_t)KVM_SET_TSS_ADDR | UINT64_C(1) << 40;
    assert_int_equal(vm_exec(vm, &e, big), -EPERM);
    e.arg = (uint32_t)KVM_ENABLE_CAP;
    e.len = sizeof(struct kvm_enable_cap);
    memcpy(big, &(uint32_t){KVM_CAP_X2APIC_API}, 4);
    assert_int_equal(vm_exec(vm, &e, big), -EPERM);
    free(vm);
}

static void memory_commands_are_checked(void **state)
{
    (void)state;
    struct vm *vm = vm_without_kvm();
    struct glue_entry e = {.kind = WIRE_VM_CMD};
    struct vmc_memory m = {.slot = VKVM_SLOTS, .size = 4096, .block_pages = 1};
    e.op = VMC_MEMORY;
    e.len = sizeof(m);
    memcpy(big, &m, sizeof(m));
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    m.slot = 0;
    m.block = 5; /* not the next one */
    memcpy(big, &m, sizeof(m));
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    m.block = UINT32_MAX; /* no bytes were sent for it */
    m.flags = KVM_MEM_READONLY;
    memcpy(big, &m, sizeof(m));
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    m = (struct vmc_memory){.size = 8192, .block_pages = 2};
    vm->link.block[0] = (struct link_block){big, 0, 2, -1, -1};
    atomic_store(&vm->link.blocks, 1);
    const uint64_t bad[][2] = {
        {4096, 8192}, {UINT64_MAX & ~UINT64_C(4095), 8192}, {1, 4096}, {0, 12288}, {0, 4097}};
    for (size_t i = 0; i < 5; i++) {
        m.offset = bad[i][0];
        m.size = bad[i][1];
        memcpy(big, &m, sizeof(m));
        assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    }

    struct vmc_rom h = {.slot = 1, .len = 16, .total = 4096, .offset = 4090};
    e.op = VMC_ROM;
    e.len = sizeof(h) + 16;
    memcpy(big, &h, sizeof(h));
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    h.offset = 0;
    memcpy(big, &h, sizeof(h));
    assert_int_equal(vm_exec(vm, &e, big), 0);
    h.total = 8192; /* another size in the middle */
    h.offset = 16;
    memcpy(big, &h, sizeof(h));
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    e.len--;
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);

    e.op = VMC_VCPU;
    e.arg = 4;
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    e.arg = 0; /* at home elsewhere */
    assert_int_equal(vm_exec(vm, &e, big), -EINVAL);
    e.op = 77;
    assert_int_equal(vm_exec(vm, &e, big), -ENOSYS);
    free(vm);
}

static struct vm *routed_vm(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    vm->link.vcpus = 4;
    vm->link.nodes = 2;
    vm->link.vcpu_home[2] = vm->link.vcpu_home[3] = 1;
    size_t size = (glue_segment_size(4) + 4095) & ~(size_t)4095;
    vm->link.shared = aligned_alloc(4096, size);
    memset(vm->link.shared, 0, size);
    pthread_mutex_init(&vm->link.vm_lock, NULL);
    assert_int_equal(routing_init(vm), 0);
    for (uint32_t i = 0; i < 4;
         i++) { /* as the dataplane stores them: op = node | dfr, arg = ldr | id | flags */
        struct glue_apic *a = &vm->link.shared->apic[i];
        a->op = vm->link.vcpu_home[i] | 0xF << 8;
        a->arg = (uint64_t)i << 32 | UINT64_C(7) << 48 | UINT64_C(1) << (24 + i);
        atomic_store(&a->lock, 2);
    }
    return vm;
}

static void messages_find_their_way(void **state)
{
    (void)state;
    struct vm *vm = routed_vm();
    struct glue_shared *s = vm->link.shared;
    struct glue_entry e;
    const uint8_t *payload;
    assert_int_equal(routing_msi(vm, 0xFEE01000, 0x41), 1); /* physical, id 1: here */
    assert_int_equal(atomic_load(&s->chan[1].posted.irr[1]), 2);
    assert_int_equal(routing_msi(vm, 0xFEE03000, 0x8042), 1); /* level, id 3: node 1 */
    assert_int_equal(glue_ring_peek(&s->chan[4].to_dp, &e, &payload), 1);
    assert_true(e.kind == WIRE_IRQ && e.node == 1 && e.chan == 3 && e.op == GLUE_IRQ_LEVEL &&
                e.arg == 0x42);
    glue_ring_pop(&s->chan[4].to_dp, e.len);
    assert_int_equal(routing_msi(vm, 0xFEE09000, 0x41), 0); /* nobody */
    assert_int_equal(routing_msi(vm, 0x1000, 0x43), 1);     /* the offset alone, as QEMU has it */
    assert_int_equal(atomic_exchange(&s->chan[1].posted.irr[1], 2), 2 | 8);
    assert_int_equal(routing_msi(vm, 0xFEE01000, 0x0344), -EINVAL); /* a reserved delivery mode */

    /* vCPU 0 to all others: 1 by a bit, 2 and 3 by messages on its own channel */
    struct vcpu *v = calloc(1, sizeof(*v));
    v->vm = vm;
    struct apic_msg m = {.vector = 0x60, .shorthand = APIC_SHORTHAND_OTHERS, .level = 1};
    assert_int_equal(routing_send(vm, v, &m), 3);
    assert_int_equal(atomic_load(&s->chan[1].posted.irr[1]), 2 | UINT64_C(1) << 32);
    assert_int_equal(atomic_load(&s->chan[0].posted.irr[1]), 0);
    for (uint16_t k = 2; k < 4; k++) {
        assert_int_equal(glue_ring_peek(&s->chan[0].to_dp, &e, &payload), 1);
        assert_true(e.chan == k && e.op == GLUE_IRQ_EDGE && e.arg == 0x60);
        glue_ring_pop(&s->chan[0].to_dp, 0);
    }
    /* an announcement is in force for the very next message */
    s->apic[1].arg = UINT64_C(1) << 32 | UINT64_C(7) << 48 | UINT64_C(0x80) << 24;
    atomic_store(&s->apic[1].lock, 4);
    atomic_store(&s->chan[1].posted.irr[1], 0);
    assert_int_equal(routing_msi(vm, 0xFEE80004, 0x41), 1); /* logical 0x80 */
    assert_int_equal(atomic_load(&s->chan[1].posted.irr[1]), 2);
    assert_int_equal(routing_msi(vm, 0xFEE02004, 0x41), 0); /* its old one */

    struct { /* struct kvm_irq_routing with one entry */
        uint32_t nr, flags;
        struct kvm_irq_routing_entry e;
    } table = {.nr = 1,
               .e = {.gsi = 5, .type = KVM_IRQ_ROUTING_MSI, .u.msi = {0xFEE01000, 0, 0x43, {0}}}};
    assert_int_equal(routing_set(vm, (const struct kvm_irq_routing *)&table), 0);
    assert_int_equal(routing_gsi(vm, 5, 0), 1);
    assert_int_equal(atomic_load(&s->chan[1].posted.irr[1]), 2);
    assert_int_equal(routing_gsi(vm, 5, 1), 1);
    assert_int_equal(atomic_load(&s->chan[1].posted.irr[1]), 10);
    assert_int_equal(routing_gsi(vm, 6, 1), -EINVAL);
    assert_int_equal(routing_gsi(vm, VKVM_GSIS, 1), -EINVAL);
    free(v);
    free(vm->link.shared);
    free(vm);
}

static struct kvm_ioeventfd bell(uint64_t addr, uint32_t len, uint64_t match, uint32_t flags,
                                 int fd)
{
    return (struct kvm_ioeventfd){
        .addr = addr, .len = len, .datamatch = match, .flags = flags, .fd = fd};
}

static int bell_add(struct doorbells *d, struct kvm_ioeventfd io)
{
    int rc = doorbells_check(&io);
    return rc != 0 ? rc : doorbells_add(d, &io, io.fd + 1000);
}

static bool by_number(int own_fd, int vmm_fd)
{
    return own_fd == vmm_fd + 1000;
}

static void doorbells(void **state)
{
    (void)state;
    static struct doorbells d;
    const uint32_t port = KVM_IOEVENTFD_FLAG_PIO, value = KVM_IOEVENTFD_FLAG_DATAMATCH;
    const uint64_t seven = 7, eight = 8;
    struct kvm_ioeventfd first = bell(0x100, 4, 7, value, 1), any = bell(0x200, 0, 0, 0, 3);
    assert_int_equal(bell_add(&d, bell(0x100, 3, 0, 0, 9)), -EINVAL);
    assert_int_equal(bell_add(&d, bell(0x100, 16, 0, 0, 9)), -EINVAL);
    assert_int_equal(bell_add(&d, bell(0x100, 0, 7, value, 9)), -EINVAL);
    assert_int_equal(bell_add(&d, bell(UINT64_MAX - 2, 4, 0, 0, 9)), -EINVAL);
    assert_int_equal(bell_add(&d, bell(0x100, 4, 0, 1u << 3, 9)), -EINVAL); /* of another bus */
    assert_int_equal(bell_add(&d, first), 0);
    assert_int_equal(bell_add(&d, first), -EEXIST);
    assert_int_equal(bell_add(&d, bell(0x100, 4, 0, 0, 2)),
                     -EEXIST); /* any value is that one, too */
    assert_int_equal(bell_add(&d, bell(0x100, 0, 0, 0, 2)), -EEXIST);
    assert_int_equal(bell_add(&d, bell(0x100, 4, 8, value, 2)), 0);
    assert_int_equal(bell_add(&d, any), 0);
    assert_int_equal(bell_add(&d, bell(0x100, 4, 7, port | value, 4)), 0);
    assert_int_equal(doorbells_find(&d, false, 0x100, 4, &seven), 1001);
    assert_int_equal(doorbells_find(&d, false, 0x100, 4, &eight), 1002);
    assert_int_equal(doorbells_find(&d, false, 0x100, 2, &seven), -1);
    assert_int_equal(doorbells_find(&d, false, 0x101, 4, &seven), -1);
    assert_int_equal(doorbells_find(&d, true, 0x100, 4, &seven), 1004);
    assert_int_equal(doorbells_find(&d, true, 0x100, 4, &eight), -1);
    for (uint32_t len = 1; len <= 8; len *= 2)
        assert_int_equal(doorbells_find(&d, false, 0x200, len, &eight), 1003);
    struct kvm_ioeventfd other = first;
    other.fd = 5;
    assert_int_equal(doorbells_remove(&d, &other, by_number), -ENOENT);
    other = first;
    other.datamatch = 9;
    assert_int_equal(doorbells_remove(&d, &other, by_number), -ENOENT);
    assert_int_equal(doorbells_remove(&d, &first, by_number), 1001);
    assert_int_equal(doorbells_find(&d, false, 0x100, 4, &seven), -1);
    assert_int_equal(doorbells_remove(&d, &first, by_number), -ENOENT);
    assert_int_equal(doorbells_remove(&d, &any, by_number), 1003);
    for (uint32_t i = d.n; i < DOORBELLS_MAX; i++) /* neither upwards nor downwards */
        assert_int_equal(
            bell_add(&d, bell(0x1000 + (i * 40503 & 0xFFFF) * 8, 1, 0, i % 2 ? port : 0, (int)i)),
            0);
    for (uint32_t i = DOORBELLS_MAX; i-- > 100;) {
        uint64_t addr = 0x1000 + (i * 40503 & 0xFFFF) * 8;
        assert_int_equal(doorbells_find(&d, i % 2, addr, 1, &seven), (int)i + 1000);
        assert_int_equal(doorbells_find(&d, i % 2 == 0, addr, 1, &seven), -1);
    }
    assert_int_equal(bell_add(&d, bell(0x10, 1, 0, 0, 6)), -ENOSPC);
    free(d.entry);
}

struct cpuid_list { /* struct kvm_cpuid2 with its entries */
    uint32_t nent, padding;
    struct kvm_cpuid_entry2 e[16];
};
_Static_assert(offsetof(struct cpuid_list, e) == sizeof(struct kvm_cpuid2), "KVM's layout");

static struct kvm_cpuid2 *as_list(struct cpuid_list *l)
{
    return (struct kvm_cpuid2 *)(void *)l;
}

static struct kvm_cpuid_entry2 leaf(uint32_t function, int index, uint32_t a, uint32_t b,
                                    uint32_t c, uint32_t d)
{
    return (struct kvm_cpuid_entry2){.function = function,
                                     .index = index < 0 ? 0 : (uint32_t)index,
                                     .flags = index < 0 ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                                     .eax = a,
                                     .ebx = b,
                                     .ecx = c,
                                     .edx = d};
}

static void assert_leaf(const struct kvm_cpuid_entry2 *e, uint32_t a, uint32_t b, uint32_t c,
                        uint32_t d)
{
    assert_int_equal(e->eax, a);
    assert_int_equal(e->ebx, b);
    assert_int_equal(e->ecx, c);
    assert_int_equal(e->edx, d);
}

static void cpuid_of_all(void **state)
{
    (void)state;
    struct cpuid_list a = {12,
                           0,
                           {leaf(0, -1, 0x1F, 1, 2, 3), leaf(1, -1, 0x306A0, 0x800, 0xFF, 0xF0),
                            leaf(7, 0, 2, 0x0200FFFF, 3, 1u << 24 | 1), leaf(7, 2, 1, 1, 1, 1),
                            leaf(0xD, 0, 0x602E7, 0xA88, 0xA88, 0), leaf(0xD, 9, 8, 0xA80, 0, 0),
                            leaf(0x14, 0, 1, 2, 3, 4), leaf(0x1D, 1, 1, 2, 3, 4),
                            leaf(0xA, -1, 7, 7, 7, 7),
                            leaf(0x80000008, -1, 0x30342E, 0xFF, 0x7007, 0), leaf(4, 1, 9, 9, 9, 9),
                            leaf(0x80000022, -1, 1, 6, 0, 0)}};
    struct cpuid_list b = {8,
                           0,
                           {leaf(0, -1, 0x10, 1, 2, 3), leaf(1, -1, 0x50650, 0x100, 0x3C, 0xFF),
                            leaf(7, 0, 0, 0x020000FF, 7, 1u << 24),
                            leaf(0xD, 0, 0x60207, 0x340, 0x340, 0),
                            leaf(0xD, 9, 8, 0x980, 0, 0), /* at another place */
                            leaf(0xA, -1, 7, 7, 7, 7), leaf(0x80000008, -1, 0x32302E, 0x0F, 1, 0),
                            leaf(0x80000000, -1, 0x80000008, 0, 0, 0)}};
    struct cpuid_list amd = b, before = a, none = {0};
    amd.e[0] = leaf(0, -1, 0x20, 4, 5, 6);
    assert_int_equal(cpuid_intersect(as_list(&a), as_list(&amd)), -EXDEV);
    assert_int_equal(cpuid_intersect(as_list(&a), as_list(&none)), -EPROTO);
    assert_memory_equal(&a, &before, sizeof(a));
    assert_int_equal(cpuid_intersect(as_list(&a), as_list(&b)), 0);
    assert_leaf(&a.e[0], 0x10, 1, 2, 3);
    assert_leaf(&a.e[1], 0x306A0, 0x800, 0x3C, 0xF0); /* the model and brand are the VMM's host's */
    assert_leaf(&a.e[2], 0, 0x00FF, 3, 0); /* no processor trace, no tiles without their leaves */
    assert_leaf(&a.e[3], 0, 0, 0, 0);
    assert_leaf(&a.e[4], 0x7, 0x340, 0x340, 0);
    assert_leaf(&a.e[5], 0, 0, 0, 0);
    assert_leaf(&a.e[6], 0, 0, 0, 0);
    assert_leaf(&a.e[7], 0, 0, 0, 0);
    assert_leaf(&a.e[8], 7, 7, 7, 7);
    assert_leaf(&a.e[9], 0x30302E, 0x0F, 0x7007, 0);
    assert_leaf(&a.e[10], 9, 9, 9, 9);
    assert_leaf(&a.e[11], 0, 0, 0, 0);
    assert_int_equal(cpuid_hide(as_list(&a), "7.0.ebx.3"), 0);
    assert_leaf(&a.e[2], 0, 0x00F7, 3, 0);
    assert_int_equal(cpuid_hide(as_list(&a), "d.0.eax.0"), 0);
    assert_leaf(&a.e[4], 0x6, 0x340, 0x340, 0);
    static const char *const bad[] = {"", "7", "7.0.ebx", "7.0.ebx.32", "7.0.efx.1", "7.0.ebx.1x"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(cpuid_hide(as_list(&a), bad[i]), -EINVAL);
}

static void msrs_in_common(void **state)
{
    (void)state;
    struct {
        uint32_t n, pad;
        struct host_msr msr[4];
    } a = {4, 0, {{0x10, 0, 0}, {0x10, 1, 7}, {0x8c, 1, 1}, {0x174, 0, 0}}},
      b = {4, 0, {{0x174, 0, 0}, {0x8c, 1, 2}, {0x10, 1, 7}, {0x11, 0, 0}}};
    struct host_msrs *list = (void *)&a;
    struct {
        uint32_t n, index[4];
    } out = {.n = 0};
    assert_int_equal(msrs_intersect(list, (void *)&b, sizeof(b) - 1), -EPROTO);
    assert_int_equal(msrs_intersect(list, (void *)&b, 4), -EPROTO);
    assert_int_equal(a.n, 4);
    assert_int_equal(msrs_answer(list, true, (void *)&out), -E2BIG);
    assert_int_equal(out.n, 2);
    assert_int_equal(msrs_answer(list, true, (void *)&out), 0);
    assert_int_equal(out.index[0] << 16 | out.index[1], 0x10008c);
    assert_int_equal(msrs_intersect(list, (void *)&b, sizeof(b)), 0);
    assert_int_equal(a.n, 2); /* the feature of one value, and what both have */
    assert_int_equal(a.msr[0].index << 1 | a.msr[0].is_feature, 0x10 << 1 | 1);
    assert_int_equal(a.msr[1].index << 1 | a.msr[1].is_feature, 0x174 << 1);
    struct kvm_msr_entry e[3] = {{.index = 0x10}, {.index = 0x174}, {.index = 0x10}};
    assert_int_equal(msrs_values(list, e, 3), 1); /* no feature: ends there, as KVM does */
    assert_int_equal(e[0].data, 7);
    msrs_hide(list, 0x10);
    assert_int_equal(msrs_answer(list, false, (void *)&out), 0);
    assert_int_equal(out.n, 1);
    assert_int_equal(out.index[0], 0x174);
}

static void feature_values_in_common(void **state)
{
    (void)state;
    struct {
        uint32_t n, pad;
        struct host_msr msr[4];
    } a = {4,
           0,
           {{HOST_MSR_ARCH_CAPABILITIES, 1, 0x80005},
            {HOST_MSR_UCODE_REV, 1, 9},
            {HOST_MSR_DE_CFG, 1, 3},
            {HOST_MSR_PERF_CAPABILITIES, 1, 1}}},
      b = {4,
           0,
           {{HOST_MSR_PERF_CAPABILITIES, 1, 2},
            {HOST_MSR_DE_CFG, 1, 6},
            {HOST_MSR_UCODE_REV, 1, 8},
            {HOST_MSR_ARCH_CAPABILITIES, 1, 0x22B}}};
    struct host_msrs *list = (void *)&a;
    assert_int_equal(msrs_intersect(list, (void *)&b, sizeof(b)), 0);
    assert_int_equal(a.n, 3);
    assert_int_equal(msrs_feature(list, HOST_MSR_ARCH_CAPABILITIES)->value, 0x80005);
    assert_int_equal(msrs_feature(list, HOST_MSR_UCODE_REV)->value, 8);
    assert_int_equal(msrs_feature(list, HOST_MSR_DE_CFG)->value, 2);
    assert_null(msrs_feature(list, HOST_MSR_PERF_CAPABILITIES));
    list = (void *)&b; /* a warning of the other's alone stays; its other bits do not come in */
    a.msr[0].value = 1;
    assert_int_equal(msrs_intersect(list, (void *)&a, sizeof(a)), 0);
    assert_int_equal(msrs_feature(list, HOST_MSR_ARCH_CAPABILITIES)->value, 1);
    a.msr[0].value = 0x80004;
    assert_int_equal(msrs_intersect(list, (void *)&a, sizeof(a)), 0);
    assert_int_equal(msrs_feature(list, HOST_MSR_ARCH_CAPABILITIES)->value, 0x80004);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(msrs_in_common),
        cmocka_unit_test(feature_values_in_common),
        cmocka_unit_test(ring_carries_both_sizes),
        cmocka_unit_test(ring_refuses_a_bad_producer),
        cmocka_unit_test(ring_tells_what_waits),
        cmocka_unit_test(ring_in_use_is_plausible),
        cmocka_unit_test(broken_ring_ends_the_vm),
        cmocka_unit_test(kick_leaves_a_mark),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(exits_travel),
        cmocka_unit_test(hostile_exits_change_nothing_outside),
        cmocka_unit_test(commands_are_checked),
        cmocka_unit_test(memory_commands_are_checked),
        cmocka_unit_test(messages_find_their_way),
        cmocka_unit_test(doorbells),
        cmocka_unit_test(cpuid_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
