/* SPDX-License-Identifier: BSD-3-Clause */
/* What a person wants to know when a guest ends: registers of a crash, exits as JSON. */
#include "vmm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static const char *const exit_names[EXIT_KINDS] = {
    [EXIT_PIO] = "pio",
    [EXIT_MMIO] = "mmio",
    [EXIT_HLT] = "hlt",
    [EXIT_INTR] = "intr",
    [EXIT_IOAPIC_EOI] = "ioapic_eoi",
    [EXIT_OTHER] = "other",
};

static void print_reason(FILE *out, const struct kvm_run *run)
{
    switch (run->exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
        fprintf(out, "  internal error %u:", run->internal.suberror);
        for (uint32_t i = 0; i < run->internal.ndata && i < 16; i++)
            fprintf(out, " %#llx", (unsigned long long)run->internal.data[i]);
        fputc('\n', out);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        fprintf(out, "  hardware reason %#llx\n",
                (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        fprintf(out, "  event type %u\n", run->system_event.type);
        break;
    default:
        fprintf(out, "  exit reason %u\n", run->exit_reason);
        break;
    }
}

static void print_code(FILE *out, const struct vm *vm, uint64_t rip)
{
    /* Guests here run identity mapped; for others the bytes may be of another place. */
    const uint8_t *code = vm_low_ptr(vm, rip, 16);

    if (code == NULL)
        return;
    fprintf(out, "  code at physical %#" PRIx64 ":", rip);
    for (unsigned i = 0; i < 16; i++)
        fprintf(out, " %02x", code[i]);
    fputc('\n', out);
}

static uint32_t apic_reg(const struct kvm_lapic_state *s, unsigned at)
{
    uint32_t v;

    memcpy(&v, s->regs + at, sizeof(v));
    return v;
}

/* What a vCPU that hangs may be waiting for. Registers as in the SDM's "Local APIC Register Address
 * Map"; of the 256-bit ones the words that are not 0. */
static void print_apic(FILE *out, const struct vcpu *vcpu)
{
    static const struct {
        const char *name;
        unsigned at, words;
    } regs[] = {{"id", 0x20, 1},    {"tpr", 0x80, 1},    {"ppr", 0xA0, 1},   {"svr", 0xF0, 1},
                {"isr", 0x100, 8},  {"irr", 0x200, 8},   {"icr", 0x300, 1},  {"lvtt", 0x320, 1},
                {"lvt0", 0x350, 1}, {"tmict", 0x380, 1}, {"tmcct", 0x390, 1}};
    struct kvm_lapic_state apic;
    struct kvm_vcpu_events events = {0};
    struct kvm_mp_state mp = {0};

    if (ioctl(vcpu->fd, KVM_GET_LAPIC, &apic) < 0 || ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) < 0 ||
        ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
        return;
    fprintf(out, "  mp state %u, injected interrupt %u/%02x, nmi %u/%u, shadow %x; apic",
            mp.mp_state, events.interrupt.injected, events.interrupt.nr, events.nmi.injected,
            events.nmi.pending, events.interrupt.shadow);
    for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
        for (unsigned w = 0; w < regs[i].words; w++) {
            uint32_t v = apic_reg(&apic, regs[i].at + w * 16);

            if (regs[i].words == 1)
                fprintf(out, " %s %x", regs[i].name, v);
            else if (v != 0)
                fprintf(out, " %s[%u] %x", regs[i].name, w * 32, v);
        }
    fputc('\n', out);
}

/* Built in memory and written once, so that two crashing vCPUs do not mix their lines. */
void report_crash(struct vcpu *vcpu, const char *why)
{
    char text[4096];
    FILE *out = fmemopen(text, sizeof(text), "w");
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};

    if (out == NULL)
        return;
    fprintf(out, "pando-testvmm: vCPU %u: %s\n", vcpu->id, why);
    print_reason(out, vcpu->run);
    if (ioctl(vcpu->fd, KVM_GET_REGS, &r) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0)
        fprintf(out, "  registers: %s\n", strerror(errno));
    fprintf(out, "  rip %016llx rsp %016llx rflags %08llx cs %04x ss %04x cpl %u\n", r.rip, r.rsp,
            r.rflags, s.cs.selector, s.ss.selector, s.ss.dpl);
    fprintf(out, "  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %llx\n", s.cr0, s.cr2, s.cr3,
            s.cr4, s.efer);
    fprintf(out, "  rax %016llx rbx %016llx rcx %016llx rdx %016llx\n", r.rax, r.rbx, r.rcx, r.rdx);
    fprintf(out, "  rsi %016llx rdi %016llx rbp %016llx r8  %016llx\n", r.rsi, r.rdi, r.rbp, r.r8);
    fprintf(out, "  r9  %016llx r10 %016llx r11 %016llx r12 %016llx\n", r.r9, r.r10, r.r11, r.r12);
    fprintf(out, "  r13 %016llx r14 %016llx r15 %016llx\n", r.r13, r.r14, r.r15);
    fprintf(out, "  idt %016llx limit %04x gdt %016llx limit %04x tr %04x\n", s.idt.base,
            s.idt.limit, s.gdt.base, s.gdt.limit, s.tr.selector);
    print_apic(out, vcpu);
    print_code(out, vcpu->vm, r.rip);
    fclose(out);
    fputs(text, stderr);
}

int report_json(const struct vm *vm, double seconds)
{
    FILE *out = fopen(vm->opt->json_path, "w");

    if (out == NULL) {
        int err = errno;

        fprintf(stderr, "pando-testvmm: %s: %s\n", vm->opt->json_path, strerror(err));
        return -err;
    }
    fprintf(out,
            "{\"schema\":\"pando.testvmm-exit.1\",\"reason\":\"%s\",\"status\":%d,"
            "\"vcpu\":%u,\"seconds\":%.6f,\"vcpus\":[",
            vm->end_reason, vm->status & 0xFF, vm->end_vcpu, seconds);
    for (unsigned i = 0; i < vm->opt->vcpus; i++) {
        fprintf(out, "%s{\"id\":%u,\"exits\":{", i == 0 ? "" : ",", i);
        for (unsigned k = 0; k < EXIT_KINDS; k++)
            fprintf(out, "%s\"%s\":%" PRIu64, k == 0 ? "" : ",", exit_names[k],
                    vm->vcpus[i].exits[k]);
        fprintf(out, "}}");
    }
    fprintf(out, "],\"msis\":%" PRIu64 "}\n", vm->testdev.msis);
    if (fclose(out) != 0) {
        fprintf(stderr, "pando-testvmm: %s: cannot write\n", vm->opt->json_path);
        return -EIO;
    }
    return 0;
}
