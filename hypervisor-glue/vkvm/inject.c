/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts into a vCPU at its home: posted bits -> model -> KVM; INIT and start-up. */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/probes.h"
#include "hypervisor-glue/vkvm/span_stamps.h"
#include "hypervisor-glue/vkvm/vkvm.h"

bool inject_posted_any(struct vcpu *v)
{
    struct glue_posted *p = &v->chan->posted;
    uint64_t irr = 0;
    for (uint32_t w = 0; w < 4; w++)
        irr |= atomic_load_explicit(&p->irr[w], memory_order_relaxed);
    return irr != 0 || atomic_load_explicit(&p->events, memory_order_relaxed) != 0;
}

static void deliver(struct vcpu *v, uint8_t delivery, uint8_t vector, uint8_t trigger)
{
    struct apic_msg m = {.source = IRQ_SOURCE_DEVICE,
                         .vector = vector,
                         .delivery = delivery,
                         .level = 1,
                         .trigger = trigger};
    struct lapic_out out;
    lapic_out_clear(&out);
    lapic_deliver(&v->lapic, link_now(), &m, &out);
    inject_events(v, &out);
}

static void deliver_word(struct vcpu *v, uint32_t w)
{
    struct glue_posted *p = &v->chan->posted;
    uint64_t irr = atomic_exchange(&p->irr[w], 0);
    uint64_t level = atomic_load(&p->level[w]);
    if (irr != 0)
        span_taken(v, w, irr);
    while (irr != 0) {
        uint32_t bit = (uint32_t)__builtin_ctzll(irr);
        irr &= irr - 1;
        deliver(v, APIC_DELIVERY_FIXED, (uint8_t)(w * 64 + bit),
                (level >> bit & 1) != 0 ? APIC_TRIGGER_LEVEL : APIC_TRIGGER_EDGE);
    }
}

/* INIT before SIPI: whoever sends both means that order. */
void inject_posted(struct vcpu *v)
{
    struct glue_posted *p = &v->chan->posted;
    if (!inject_posted_any(v))
        return;
    uint32_t events = atomic_exchange(&p->events, 0);
    if ((events & GLUE_POST_INIT) != 0)
        deliver(v, APIC_DELIVERY_INIT, 0, APIC_TRIGGER_EDGE);
    if ((events & GLUE_POST_SIPI) != 0)
        deliver(v, APIC_DELIVERY_SIPI, (uint8_t)atomic_load(&p->sipi_vector), APIC_TRIGGER_EDGE);
    if ((events & GLUE_POST_NMI) != 0)
        deliver(v, APIC_DELIVERY_NMI, 0, APIC_TRIGGER_EDGE);
    for (uint32_t w = 0; w < 4; w++)
        deliver_word(v, w);
}

void inject_next(struct vcpu *v)
{
    int pending = lapic_next_vector(&v->lapic);
    if (pending < 0 || !v->ready || !v->run->if_flag)
        return;
    /* An access that KVM has yet to complete may end in an exception, which wins over an injected
     * interrupt and makes KVM forget it. The window that enter() asks for comes after that. */
    if (v->io_pending)
        return;
    struct kvm_interrupt irq = {.irq = LAPIC_VECTOR(pending)};
    if (raw_ioctl(v->fd, KVM_INTERRUPT, (uintptr_t)&irq) != 0)
        return;
    KVM_PROBE(vcpu_inject, v->id, LAPIC_VECTOR(pending));
    lapic_accept(&v->lapic, pending);
    tick_accepted(v, pending, link_now());
    v->ready = false; /* as of the last exit; the next one says it anew */
}

static void report(struct vcpu *v, const char *what, int rc)
{
    if (rc < 0)
        say("vCPU %u: %s: %s", v->id, what, strerror(-rc));
}

/* Registers as the kernel made them; the model has been reset by whoever asks. */
static void reset_registers(struct vcpu *v)
{
    struct kvm_sregs sregs = v->reset.sregs;
    struct kvm_vcpu_events events = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
                                              KVM_VCPUEVENT_VALID_SHADOW};
    tick_forget(v);
    home_finish_io(v);
    sregs.apic_base = lapic_base(&v->lapic);
    sregs.cr8 = 0;
    report(v, "INIT: registers", raw_ioctl(v->fd, KVM_SET_SREGS, (uintptr_t)&sregs));
    report(v, "INIT: registers", raw_ioctl(v->fd, KVM_SET_REGS, (uintptr_t)&v->reset.regs));
    if (v->reset.have_debugregs)
        report(v, "INIT: debug registers",
               raw_ioctl(v->fd, KVM_SET_DEBUGREGS, (uintptr_t)&v->reset.debugregs));
    report(v, "INIT: events", raw_ioctl(v->fd, KVM_SET_VCPU_EVENTS, (uintptr_t)&events));
    v->ready = false;
    v->run->if_flag = 0; /* EOIs that the guest has done stay done: the I/O APIC waits for them */
}

static void start_up(struct vcpu *v)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    uint8_t vector = lapic_sipi_vector(&v->lapic);
    int rc = raw_ioctl(v->fd, KVM_GET_SREGS, (uintptr_t)&sregs);
    if (rc == 0)
        rc = raw_ioctl(v->fd, KVM_GET_REGS, (uintptr_t)&regs);
    sregs.cs.selector = (uint16_t)(vector << 8);
    sregs.cs.base = (uint64_t)vector << 12;
    regs.rip = 0;
    if (rc == 0)
        rc = raw_ioctl(v->fd, KVM_SET_SREGS, (uintptr_t)&sregs);
    if (rc == 0)
        rc = raw_ioctl(v->fd, KVM_SET_REGS, (uintptr_t)&regs);
    report(v, "start-up IPI", rc);
    lapic_set_mp_state(&v->lapic, LAPIC_MP_RUNNABLE);
}

int inject_nmi(struct vcpu *v)
{
    int rc = raw_ioctl(v->fd, KVM_NMI, 0);
    v->nmi_sent = true;
    if (lapic_mp_state(&v->lapic) == LAPIC_MP_HALTED)
        lapic_set_mp_state(&v->lapic, LAPIC_MP_RUNNABLE);
    return rc;
}

int inject_events(struct vcpu *v, const struct lapic_out *out)
{
    int rc = 0;
    if ((out->events & LAPIC_EV_EOI) != 0)
        v->eoi[out->eoi_vector / 64u] |= UINT64_C(1) << (out->eoi_vector % 64u);
    if ((out->events & LAPIC_EV_INIT) != 0)
        reset_registers(v);
    if ((out->events & LAPIC_EV_SIPI) != 0)
        start_up(v);
    if ((out->events & LAPIC_EV_NMI) != 0)
        report(v, "KVM_NMI", inject_nmi(v));
    if ((out->events & LAPIC_EV_ANNOUNCE) != 0)
        rc = routing_announce(v);
    if (rc == 0 && (out->events & LAPIC_EV_IPI) != 0)
        rc = routing_send(v->vm, v, &out->msg);
    return rc == -EIO ? rc : 0; /* a message without receiver is lost, as on hardware */
}
