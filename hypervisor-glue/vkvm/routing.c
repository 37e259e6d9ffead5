/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt messages to vCPUs: one table per process, brought up to date from the addresses that
 * every vCPU has announced (glue_abi.h: struct glue_apic) before each message.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/span_stamps.h"
#include "hypervisor-glue/vkvm/vkvm.h"

int routing_init(struct vm *vm)
{
    pthread_mutex_init(&vm->routing.lock, NULL);
    return irq_table_init(&vm->routing.table, (uint8_t)vm->link.vmm_node);
}

/* op: node | dfr << 8 | priority << 12. arg: ldr | apic_id << 32 | flags << 48. */
static void pack(const struct irq_announcement *a, uint16_t *ret_op, uint64_t *ret_arg)
{
    *ret_op = (uint16_t)(a->node | a->dfr << 8 | a->priority << 12);
    *ret_arg = a->ldr | (uint64_t)(a->apic_id & 0xFFFF) << 32 | (uint64_t)a->flags << 48;
}

static struct irq_announcement unpack(uint32_t vcpu, uint32_t op, uint64_t arg, uint32_t seq)
{
    return (struct irq_announcement){.apic_id = (uint32_t)(arg >> 32) & 0xFFFF,
                                     .ldr = (uint32_t)arg,
                                     .seq = seq,
                                     .vcpu = (uint16_t)vcpu,
                                     .node = (uint8_t)op,
                                     .flags = (uint8_t)(arg >> 48),
                                     .dfr = op >> 8 & 0xF,
                                     .priority = op >> 12 & 0xF};
}

/* The reader's side of the sequence lock: an even word, the fields, the same word again. */
static void refresh(struct vm *vm)
{
    struct routing *r = &vm->routing;
    for (uint32_t i = 0; i < vm->link.vcpus; i++) {
        struct glue_apic *a = &vm->link.shared->apic[i];
        for (;;) {
            uint32_t lock = atomic_load_explicit(&a->lock, memory_order_acquire);
            if (lock == r->seen[i])
                break;
            if ((lock & 1) != 0)
                continue;
            uint32_t op = *(volatile uint32_t *)&a->op;
            uint64_t arg = *(volatile uint64_t *)&a->arg;
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&a->lock, memory_order_relaxed) != lock)
                continue;
            struct irq_announcement ann = unpack(i, op, arg, lock / 2);
            int rc = irq_announce(&r->table, &ann);
            if (rc != 0)
                say("the APIC address of vCPU %u cannot be used: %s", i, strerror(-rc));
            r->seen[i] = lock;
        }
    }
}

static const uint8_t op_of[] = {
    [APIC_DELIVERY_FIXED] = GLUE_IRQ_EDGE, [APIC_DELIVERY_LOWEST] = GLUE_IRQ_EDGE,
    [APIC_DELIVERY_NMI] = GLUE_IRQ_NMI,    [APIC_DELIVERY_INIT] = GLUE_IRQ_INIT,
    [APIC_DELIVERY_SIPI] = GLUE_IRQ_SIPI,  [APIC_DELIVERY_EXTINT] = 0,
};

static int deliver(struct vm *vm, struct vcpu *from, const struct apic_msg *m,
                   const struct irq_targets *t)
{
    enum glue_irq_op op = op_of[m->delivery & 7];
    if (op == GLUE_IRQ_EDGE && m->trigger == APIC_TRIGGER_LEVEL)
        op = GLUE_IRQ_LEVEL;
    /* SMI and ExtINT by message have no receiver; an INIT de-assert is ignored by every current
     * processor. */
    if (op == 0 || (op == GLUE_IRQ_INIT && m->level == 0 && m->trigger == APIC_TRIGGER_LEVEL))
        return 0;
    for (uint32_t v = irq_set_next(&t->vcpus, 0); v < vm->link.vcpus;
         v = irq_set_next(&t->vcpus, v + 1)) {
        if (vm->link.vcpu_home[v] == vm->link.node) {
            link_post(&vm->link, v, op, m->vector);
            continue;
        }
        struct glue_entry e = {.kind = WIRE_IRQ,
                               .node = vm->link.vcpu_home[v],
                               .chan = (uint16_t)v,
                               .op = op,
                               .arg = m->vector};
        if (from != NULL && (op == GLUE_IRQ_EDGE || op == GLUE_IRQ_LEVEL))
            span_mark(from, &e);
        int rc = from != NULL ? link_send(&vm->link, from->id, &e, NULL, 0)
                              : link_send_vm(&vm->link, &e, NULL, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int routing_send(struct vm *vm, struct vcpu *from, const struct apic_msg *m)
{
    struct irq_targets targets;
    pthread_mutex_lock(&vm->routing.lock);
    refresh(vm);
    int rc = irq_route(&vm->routing.table, m, &targets);
    if (rc <= 0)
        vm->routing.unroutable++;
    pthread_mutex_unlock(&vm->routing.lock);
    if (rc <= 0)
        return rc;
    int sent = deliver(vm, from, m, &targets);
    return sent < 0 ? sent : rc;
}

/* As KVM: of the address only what is below the local APICs' megabyte counts, so that a VMM may
 * give the offset within it (QEMU does, for what a device writes there). */
int routing_msi(struct vm *vm, uint64_t address, uint32_t data)
{
    struct apic_msg m;
    address = LAPIC_DEFAULT_BASE | (address & 0xFFFFF);
    int rc = irq_decode_msi(address, data, &m);
    if (rc != 0) {
        say("an MSI to %#llx with data %#x is no interrupt message: %s",
            (unsigned long long)address, data, strerror(-rc));
        return -EINVAL;
    }
    rc = routing_send(vm, NULL, &m);
    return rc > 0 ? 1 : rc;
}

int routing_gsi(struct vm *vm, uint32_t gsi, int level)
{
    struct kvm_irq_routing_entry e;
    if (gsi >= VKVM_GSIS)
        return -EINVAL;
    pthread_mutex_lock(&vm->routing.lock);
    e = vm->routing.gsi[gsi];
    bool known = vm->routing.gsi_known[gsi];
    pthread_mutex_unlock(&vm->routing.lock);
    /* As KVM: an MSI route sends when its line rises, and only then. */
    if (!known || level == 0)
        return known ? 1 : -EINVAL;
    return routing_msi(vm, (uint64_t)e.u.msi.address_hi << 32 | e.u.msi.address_lo, e.u.msi.data);
}

int routing_set(struct vm *vm, const struct kvm_irq_routing *table)
{
    int rc = 0;
    for (uint32_t i = 0; i < table->nr; i++)
        if (table->entries[i].gsi >= VKVM_GSIS || table->entries[i].type != KVM_IRQ_ROUTING_MSI)
            return -EINVAL;
    pthread_mutex_lock(&vm->routing.lock);
    memset(vm->routing.gsi_known, 0, sizeof(vm->routing.gsi_known));
    for (uint32_t i = 0; i < table->nr; i++) {
        vm->routing.gsi[table->entries[i].gsi] = table->entries[i];
        vm->routing.gsi_known[table->entries[i].gsi] = true;
    }
    pthread_mutex_unlock(&vm->routing.lock);
    return rc;
}

/* The writer's side, for vCPUs at home here; the dataplane writes those of other nodes. */
static void store_own(struct glue_apic *a, uint16_t op, uint64_t arg)
{
    uint32_t lock = atomic_load_explicit(&a->lock, memory_order_relaxed);
    atomic_store_explicit(&a->lock, lock + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    a->op = op;
    a->arg = arg;
    atomic_store_explicit(&a->lock, lock + 2, memory_order_release);
}

int routing_announce(struct vcpu *v)
{
    struct vm *vm = v->vm;
    struct irq_announcement a;
    struct glue_entry e = {.kind = WIRE_APIC_SET, .chan = (uint16_t)v->id};
    uint64_t waiting = 0;
    lapic_announcement(&v->lapic, (uint8_t)vm->link.node, &a);
    pack(&a, &e.op, &e.arg);
    store_own(&vm->link.shared->apic[v->id], e.op, e.arg);
    e.seq = v->id << 16 | (++v->seq & 0xFFFF);
    for (uint32_t n = 0; n < vm->link.nodes; n++) {
        if (n == vm->link.node)
            continue;
        e.node = (uint8_t)n;
        int rc = link_send(&vm->link, v->id, &e, NULL, 0);
        if (rc < 0)
            return rc;
        waiting |= UINT64_C(1) << n;
    }
    while (waiting != 0) {
        struct glue_entry got;
        link_doze(v->chan);
        int n = link_take(&vm->link, v->id, &got, v->payload);
        if (n == 0 && !link_stopped(&vm->link))
            link_sleep(v->chan, UINT64_MAX);
        link_awake(v->chan);
        if (n == 0 && link_stopped(&vm->link))
            return -EIO;
        if (n == 1 && got.kind == WIRE_APIC_ACK && got.seq == e.seq && got.node < vm->link.nodes)
            waiting &= ~(UINT64_C(1) << got.node);
    }
    return 0;
}
