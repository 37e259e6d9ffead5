/* SPDX-License-Identifier: BSD-3-Clause */
/* Exits: the local APIC's and HLT are handled where the vCPU runs, the others are the VMM's. */
#include <errno.h>
#include <string.h>

#include "hypervisor-glue/vkvm/vkvm.h"

static int apic_page(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    struct lapic_out out;
    uint32_t value = 0, offset = (uint32_t)run->mmio.phys_addr & (LAPIC_MMIO_SIZE - 1);
    uint32_t len = run->mmio.len;
    lapic_out_clear(&out);
    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, len < 4 ? len : 4);
        lapic_mmio_write(&v->lapic, link_now(), offset, len, value, &out);
    } else {
        lapic_mmio_read(&v->lapic, link_now(), offset, len, &value, &out);
        memset(run->mmio.data, 0, sizeof(run->mmio.data));
        memcpy(run->mmio.data, &value, len < 4 ? len : 4);
    }
    return inject_events(v, &out);
}

static int model_msr(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    struct lapic_out out;
    uint32_t index = run->msr.index;
    bool read = run->exit_reason == KVM_EXIT_X86_RDMSR;
    uint64_t value = read ? 0 : run->msr.data;
    int rc = 0;
    lapic_out_clear(&out);
    if (guest_clock_msr_known(index))
        rc = read ? guest_clock_msr_read(v, index, &value)
                  : guest_clock_msr_write(v, index, value, true);
    else if (index == LAPIC_MSR_DEADLINE && read)
        lapic_tsc_deadline_read(&v->lapic, link_now(), &value, &out);
    else if (index == LAPIC_MSR_DEADLINE)
        lapic_tsc_deadline_write(&v->lapic, link_now(), guest_clock_tsc(v), value, &out);
    else
        rc = read ? lapic_msr_read(&v->lapic, link_now(), index, &value, &out)
                  : lapic_msr_write(&v->lapic, link_now(), index, value, &out);
    if (read)
        run->msr.data = value;
    /* The union is reused: error may hold bytes of an earlier exit. */
    run->msr.error = rc != 0 || (out.events & LAPIC_EV_GP) != 0;
    return inject_events(v, &out);
}

/* The VMM asked to be told when its PIC's interrupt would be taken; what the model holds goes
 * first. */
static bool window_for_vmm(const struct vcpu *v)
{
    return v->vmm_window && v->ready && v->run->if_flag && lapic_extint_ready(&v->lapic) &&
           lapic_next_vector(&v->lapic) < 0;
}

/* Without an APIC in the kernel HLT exits even if the kernel holds an NMI back (STI's shadow). */
static bool nmi_waits(struct vcpu *v)
{
    struct kvm_vcpu_events events;
    if (!v->nmi_sent)
        return false;
    v->nmi_sent = raw_ioctl(v->fd, KVM_GET_VCPU_EVENTS, (uintptr_t)&events) == 0 &&
                  (events.nmi.pending || events.nmi.injected);
    return v->nmi_sent;
}

/* A triple fault, where the registers still are: most VMMs reset the machine without a word. */
static void report_shutdown(struct vcpu *v)
{
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};
    struct kvm_vcpu_events e = {0};
    raw_ioctl(v->fd, KVM_GET_REGS, (uintptr_t)&r);
    raw_ioctl(v->fd, KVM_GET_SREGS, (uintptr_t)&s);
    raw_ioctl(v->fd, KVM_GET_VCPU_EVENTS, (uintptr_t)&e);
    say("vCPU %u (node %u) shuts down (triple fault): rip %llx rsp %llx rflags %llx cs %x/%llx cr0 "
        "%llx cr2 %llx cr3 %llx cr4 %llx efer %llx gdt %llx idt %llx exception %u/%u code %x",
        v->id, v->vm->link.node, r.rip, r.rsp, r.rflags, s.cs.selector, s.cs.base, s.cr0, s.cr2,
        s.cr3, s.cr4, s.efer, s.gdt.base, s.idt.base, e.exception.injected, e.exception.nr,
        e.exception.error_code);
}

/* A device's access: the VMM's, unless nobody has to look at it. */
static int for_vmm(struct vcpu *v)
{
    if (eventfds_take(v->vm, v->run)) {
        v->exits_here++;
        return 0;
    }
    v->exits_vmm++;
    return 1;
}

int exits_handle(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    int rc;
    switch (run->exit_reason) {
    case KVM_EXIT_MMIO:
        v->io_pending = true;
        if (!lapic_mmio_claims(&v->lapic, run->mmio.phys_addr))
            return for_vmm(v);
        v->exits_here++;
        return apic_page(v);
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        v->io_pending = true;
        v->exits_here++;
        return model_msr(v);
    case KVM_EXIT_IO:
        v->io_pending = true;
        return for_vmm(v);
    case KVM_EXIT_HLT:
        if (nmi_waits(v))
            return 0;
        rc = lapic_set_mp_state(&v->lapic, LAPIC_MP_HALTED);
        if (rc == 0 && window_for_vmm(v)) {
            run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
            break;
        }
        v->exits_here++;
        return rc;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        if (window_for_vmm(v))
            break;
        v->exits_here++;
        return 0;
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR:
        v->exits_here++;
        return 0;
    case KVM_EXIT_SHUTDOWN:
        report_shutdown(v);
        break;
    default:
        break;
    }
    v->exits_vmm++;
    return 1;
}
