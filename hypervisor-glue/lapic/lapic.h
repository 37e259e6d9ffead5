/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model of one local APIC (xAPIC and x2APIC) and of the MP state of its vCPU. PURE.
 *
 * Source: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller (APIC)"; sections
 * are cited by name where the code follows them. Where hardware generations differ or the SDM
 * leaves a case open, the model does what Linux KVM's in-kernel local APIC does; each such place
 * says so.
 *
 * Ownership. `struct lapic` is caller-owned memory, used by exactly one thread: the one that runs
 * the vCPU. Nothing in here is atomic. Another thread that has a message for it puts the message in
 * that thread's ring, kicks the vCPU, and lets the owner call lapic_deliver(). The struct has no
 * pointers: a plain copy of it is an exact snapshot (lapic_export is the ABI form, which loses a
 * little).
 *
 * Steps. Every function that can have consequences gets `now_ns` (guest time on any monotonic scale
 * that never runs backwards for this lapic) and a `struct lapic_out` that the caller has zeroed
 * (lapic_out_clear). What is to be done is added to out->events. Act on it after every call: one
 * out holds one message and one EOI vector.
 *
 * The run loop:
 *   for (;;) {
 *     drain the ring: lapic_deliver() for each message, act on events
 *     if (lapic_timer_deadline(l) <= now) lapic_timer_fire(l, now, &out)
 *     pending = lapic_next_vector(l)
 *     if (pending >= 0 && run->ready_for_interrupt_injection && run->if_flag
 *         && ioctl(KVM_INTERRUPT, LAPIC_VECTOR(pending)) == 0) {
 *       lapic_accept(l, pending)
 *       pending = lapic_next_vector(l)
 *     }
 *     run->request_interrupt_window = lapic_wants_window(l)
 *     run->cr8 = lapic_cr8(l)
 *     ioctl(KVM_RUN)
 *     lapic_set_cr8(l, run->cr8, &out)
 *     switch (exit) ...  MMIO: lapic_mmio_claims? lapic_mmio_read/write; RDMSR/WRMSR: lapic_msr_*;
 *                        HLT: lapic_set_mp_state(l, LAPIC_MP_HALTED) unless lapic_next_vector >= 0
 *   }
 *
 * Injection and re-injection. lapic_next_vector() only looks. KVM_INTERRUPT comes first, and only
 * when it has succeeded does lapic_accept() move the vector from IRR to ISR. From then on the
 * interrupt lives in the kernel's event state: if KVM_RUN is left before it was delivered (a kick,
 * a page fault during delivery), the kernel keeps it and re-injects it at the next KVM_RUN. So it
 * must not be queued or accepted again, and is never moved back to IRR. A VMM that reads
 * KVM_GET_VCPU_EVENTS and KVM_GET_LAPIC at that moment sees interrupt.injected = 1 with the vector
 * and the vector's ISR bit set, which is exactly what KVM with an in-kernel local APIC shows;
 * writing both back restores it. Whoever drops the kernel's event (INIT, reset) must reset this
 * model in the same step: on LAPIC_EV_INIT clear interrupt.injected, nmi.* and exception.* by
 * KVM_SET_VCPU_EVENTS.
 *
 * CR8. KVM without an in-kernel local APIC exits with KVM_EXIT_SET_TPR only when the guest lowers
 * CR8, and reports the value in run->cr8 at every exit: call lapic_set_cr8 after every KVM_RUN.
 *
 * Level-triggered interrupts. An EOI of a vector whose TMR bit is set yields LAPIC_EV_EOI: route it
 * with irq_eoi_route() to the VMM's node, where it is presented as KVM_EXIT_IOAPIC_EOI. Suppression
 * of EOI broadcasts (SVR bit 12) is not offered (VERSION bit 24 is 0).
 *
 * Not modelled: APIC bus arbitration and its delivery status (always idle), focus processor
 * checking, remote read, send/receive accept and checksum errors (none exist on current
 * processors), the CMCI LVT, SMI (counted and dropped: there is no SMM), remote IRR of LINT0 (reads
 * 0). The APIC id is read-only.
 */
#ifndef PANDO_LAPIC_LAPIC_H
#define PANDO_LAPIC_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/interrupt/interrupt.h"

#define LAPIC_REGS_SIZE    1024u /* sizeof(((struct kvm_lapic_state *)0)->regs) */
#define LAPIC_MMIO_SIZE    4096u
#define LAPIC_MSR_BASE     0x1Bu  /* IA32_APIC_BASE */
#define LAPIC_MSR_DEADLINE 0x6E0u /* IA32_TSC_DEADLINE: lapic_tsc_deadline_* */
#define LAPIC_MSR_X2_FIRST 0x800u
#define LAPIC_MSR_X2_LAST  0x8FFu
#define LAPIC_DEFAULT_HZ   UINT64_C(1000000000)
#define LAPIC_MIN_HZ       UINT64_C(1000000)
#define LAPIC_MAX_HZ       UINT64_C(10000000000)
#define LAPIC_DEFAULT_BASE UINT64_C(0xFEE00000)
#define LAPIC_BASE_BSP     (UINT64_C(1) << 8)
#define LAPIC_BASE_EXTD    (UINT64_C(1) << 10)
#define LAPIC_BASE_EN      (UINT64_C(1) << 11)
#define LAPIC_NO_DEADLINE  UINT64_MAX

/* Register offsets in the MMIO page; the x2APIC MSR is 0x800 + offset / 16. */
enum lapic_reg {
    LAPIC_ID = 0x020,
    LAPIC_VERSION = 0x030,
    LAPIC_TPR = 0x080,
    LAPIC_APR = 0x090,
    LAPIC_PPR = 0x0A0,
    LAPIC_EOI = 0x0B0,
    LAPIC_RRD = 0x0C0,
    LAPIC_LDR = 0x0D0,
    LAPIC_DFR = 0x0E0,
    LAPIC_SVR = 0x0F0,
    LAPIC_ISR = 0x100,
    LAPIC_TMR = 0x180,
    LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280,
    LAPIC_ICR = 0x300,
    LAPIC_ICR2 = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330,
    LAPIC_LVT_PERF = 0x340,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TMICT = 0x380,
    LAPIC_TMCCT = 0x390,
    LAPIC_TDCR = 0x3E0,
    LAPIC_SELF_IPI = 0x3F0, /* x2APIC only */
};

/* ESR bits (SDM, "Error Handling"). */
#define LAPIC_ESR_SEND_VECTOR (1u << 5)
#define LAPIC_ESR_RECV_VECTOR (1u << 6)
#define LAPIC_ESR_ILLEGAL_REG (1u << 7)

/* KVM_MP_STATE_* numbers. */
enum lapic_mp_state {
    LAPIC_MP_RUNNABLE = 0,
    LAPIC_MP_UNINITIALIZED = 1, /* AP after power-up: waits for INIT */
    LAPIC_MP_INIT_RECEIVED = 2, /* waits for SIPI */
    LAPIC_MP_HALTED = 3,
    LAPIC_MP_SIPI_RECEIVED = 4, /* lapic_sipi_vector says where to start; then set RUNNABLE */
};

enum lapic_event {
    LAPIC_EV_EVAL = 1u << 0,     /* something may be deliverable now: leave HLT or the guest, and
                                    ask lapic_next_vector (set only if it would return >= 0) */
    LAPIC_EV_IPI = 1u << 1,      /* out->msg is to be routed (irq_route), maybe back here */
    LAPIC_EV_EOI = 1u << 2,      /* out->eoi_vector: tell the IOAPIC (irq_eoi_route) */
    LAPIC_EV_GP = 1u << 3,       /* the access raises #GP(0) and itself changes nothing */
    LAPIC_EV_TIMER = 1u << 4,    /* lapic_timer_deadline may have changed */
    LAPIC_EV_ANNOUNCE = 1u << 5, /* lapic_announcement changed: announce it and wait for the acks */
    LAPIC_EV_NMI = 1u << 6,      /* KVM_NMI, and wake from HLT */
    LAPIC_EV_INIT = 1u << 7,     /* the model is reset: set the vCPU's registers to INIT state
                                    and drop the kernel's events; the BSP runs on at the reset
                                    vector, an AP waits for SIPI */
    LAPIC_EV_SIPI = 1u << 8,     /* start at v = lapic_sipi_vector: CS.sel = v << 8, CS.base =
                                    v << 12, IP = 0; then lapic_set_mp_state(RUNNABLE) */
};

struct lapic_out {
    struct apic_msg msg;
    uint32_t events; /* enum lapic_event */
    uint8_t eoi_vector;
};

/* Things that happened and are nobody's error but worth a telemetry line. */
struct lapic_counters {
    uint64_t accepted;  /* lapic_accept */
    uint64_t coalesced; /* fixed interrupt whose IRR bit was set already */
    uint64_t dropped;   /* local APIC disabled, or NMI while waiting for INIT or SIPI */
    uint64_t smi_ignored;
    uint64_t extint_ignored; /* ExtINT by message: only LINT0 is wired to a PIC */
    uint64_t sipi_ignored;   /* not waiting for a SIPI */
    uint64_t icr_ignored;    /* ICR write with a combination that sends nothing */
    uint64_t timer_fired;
    uint64_t timer_missed; /* whole periods skipped: lapic_timer_fire came too late */
};

struct lapic_config {
    uint64_t timer_hz; /* 0: LAPIC_DEFAULT_HZ, 1 ns per tick as KVM; else MIN..MAX_HZ */
    uint32_t tsc_khz;  /* needed with tsc_deadline */
    uint32_t apic_id;  /* < IRQ_MAX_APIC_IDS */
    uint16_t vcpu;     /* index, < IRQ_MAX_VCPUS: apic_msg.source of what it sends */
    bool bsp;
    bool tsc_deadline; /* offer LVT timer mode 2 and MSR 0x6E0; only if that MSR is trapped */
};

/* Fields are private to this folder; tests and telemetry may read `count`. */
struct lapic {
    uint32_t reg[LAPIC_REGS_SIZE / 16u]; /* reg[offset >> 4] */
    uint64_t base;                       /* IA32_APIC_BASE */
    uint64_t timer_deadline_ns;          /* LAPIC_NO_DEADLINE: not running */
    uint64_t tsc_deadline;               /* IA32_TSC_DEADLINE, 0 disarmed */
    uint64_t timer_rest_ns;              /* the timer does not fire before */
    struct lapic_config config;
    struct lapic_counters count;
    uint32_t esr_pending; /* errors since the last write of ESR */
    uint32_t announce_seq;
    int16_t extint; /* vector a PIC offers on LINT0, -1 none */
    uint8_t mp_state;
    uint8_t sipi_vector;
    uint8_t phys_bits;
    bool x2apic_allowed;
};

/* ---- Life -------------------------------------------------------------------------------- */

/* Initialises *l and resets it as at power-up. x2APIC is allowed and physical addresses have 52
 * bits until lapic_set_cpuid. -EINVAL: a configuration value out of range. */
int lapic_create(struct lapic *l, const struct lapic_config *config);

/* What the guest's CPUID says: x2APIC (leaf 1 ECX bit 21) and the width of physical addresses (leaf
 * 0x80000008 EAX[7:0], 32..52; others are taken as 52). They decide which IA32_APIC_BASE values
 * #GP. */
void lapic_set_cpuid(struct lapic *l, bool x2apic, uint8_t phys_bits);

/*
 * Power-up reset (SDM, "Local APIC State After Power-Up or Reset"): IA32_APIC_BASE to its default,
 * all registers, BSP RUNNABLE and AP UNINITIALIZED. LINT0 of the BSP is ExtINT unmasked instead of
 * masked, as a BIOS programs it and KVM and QEMU start (KVM_X86_QUIRK_LINT0_REENABLED).
 * INIT (SDM, "Local APIC State After It Receives an INIT-Deassert IPI"; "x2APIC State Transitions")
 * arrives by lapic_deliver: the same except that IA32_APIC_BASE, hence mode and APIC id, is kept,
 * and that an AP becomes INIT_RECEIVED. Adds TIMER, ANNOUNCE. Both drop a held ExtINT vector.
 */
void lapic_reset(struct lapic *l, struct lapic_out *out);

static inline void lapic_out_clear(struct lapic_out *out)
{
    *out = (struct lapic_out){0};
}

/* ---- Guest accesses ---------------------------------------------------------------------- */
/*
 * ICR (SDM, "Interrupt Command Register"). A write sends at most one message. Consumed here: the
 * self shorthand with fixed or lowest-priority delivery, and SELF IPI (IRR at once, no
 * LAPIC_EV_IPI). Nothing is sent, and count.icr_ignored counts: reserved delivery modes (3, 7),
 * INIT level de-assert, and INIT or SIPI with the shorthands self and all-including-self (invalid
 * in the SDM's table). Fixed or lowest priority with vector 0..15: ESR bit 5, nothing is sent. NMI
 * and SMI go out with every shorthand, as KVM has it. IPIs other than INIT are edge-triggered
 * whatever ICR[15] says.
 */

/* True if a guest-physical address is in this local APIC's MMIO page: enabled, in xAPIC mode, and
 * at IA32_APIC_BASE. If false the access is not ours (in x2APIC mode it goes to memory or a
 * device). */
bool lapic_mmio_claims(const struct lapic *l, uint64_t gpa);

/*
 * MMIO in xAPIC mode; offset 0..4095. Widths (the SDM leaves all but aligned 32-bit undefined; this
 * is KVM's behaviour): a read may be 1, 2 or 4 bytes inside the first four of a 16-byte slot, all
 * other reads give 0; a write counts only if it is 4 bytes at the start of a slot, others
 * are ignored. A reserved offset reads 0, ignores writes, and logs ESR bit 7 (illegal register
 * address). Reserved bits are ignored on writes. Returns 0, or -ENXIO when not in xAPIC mode (see
 * claims).
 */
int lapic_mmio_read(struct lapic *l, uint64_t now_ns, uint32_t offset, uint32_t len,
                    uint32_t *ret_value, struct lapic_out *out);
int lapic_mmio_write(struct lapic *l, uint64_t now_ns, uint32_t offset, uint32_t len,
                     uint32_t value, struct lapic_out *out);

/*
 * Guest RDMSR and WRMSR of IA32_APIC_BASE and of 0x800..0x8FF. LAPIC_EV_GP if the MSR does not
 * exist, is not readable (EOI, SELF IPI) or writable, if a reserved bit is set, if the mode is not
 * x2APIC, or if the mode transition is not allowed (SDM, "x2APIC State Transitions": from x2APIC to
 * xAPIC, from disabled to x2APIC, EXTD without EN). ICR is one 64-bit register.
 * Returns 0, or -ENOENT if the MSR is not one of these.
 */
int lapic_msr_read(struct lapic *l, uint64_t now_ns, uint32_t msr, uint64_t *ret_value,
                   struct lapic_out *out);
int lapic_msr_write(struct lapic *l, uint64_t now_ns, uint32_t msr, uint64_t value,
                    struct lapic_out *out);

/* IA32_APIC_BASE as the VMM sets it (KVM_SET_SREGS.apic_base, KVM_SET_MSRS): any transition between
 * valid states. -EINVAL: reserved bits, or EXTD without EN. Clearing EN loses all state but the
 * APIC id, by guest or by VMM. xAPIC -> x2APIC keeps all but LDR (derived) and ICR[63:32]
 * (cleared). */
int lapic_base_set(struct lapic *l, uint64_t value, struct lapic_out *out);
uint64_t lapic_base(const struct lapic *l);

/* IA32_TSC_DEADLINE. tsc_now is the guest's TSC at now_ns. #GP if tsc_deadline was not configured
 * (the MSR then does not exist). Written in another timer mode it is ignored and reads 0. A
 * deadline in the past fires at once. For KVM_GET/SET_MSRS too. */
void lapic_tsc_deadline_read(struct lapic *l, uint64_t now_ns, uint64_t *ret_value,
                             struct lapic_out *out);
void lapic_tsc_deadline_write(struct lapic *l, uint64_t now_ns, uint64_t tsc_now, uint64_t value,
                              struct lapic_out *out);

/* CR8 is TPR[7:4]. Setting a different value clears TPR[3:0] (SDM, "Interaction of Task Priorities
 * between CR8 and APIC"); the same value changes nothing, so it can be called after every
 * KVM_RUN. */
uint8_t lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint8_t cr8, struct lapic_out *out);

/* ---- Interrupts in ----------------------------------------------------------------------- */

/*
 * A message of which this vCPU is a target (irq_route decided). Fixed and lowest priority: IRR and
 * TMR; vectors 0..15 log ESR bit 6 and are not accepted. NMI, INIT, SIPI: the events of that name,
 * or nothing where the state says so: INIT level de-assert is ignored; SIPI counts only in
 * INIT_RECEIVED; NMI is dropped in UNINITIALIZED and INIT_RECEIVED. SMI and ExtINT: counted,
 * dropped. Fixed interrupts are dropped while software-disabled, everything while
 * IA32_APIC_BASE.EN is 0 (irq_route does not select such a vCPU anyway).
 */
void lapic_deliver(struct lapic *l, uint64_t now_ns, const struct apic_msg *msg,
                   struct lapic_out *out);

/* A local source: LAPIC_LVT_LINT0, _LINT1, _PERF or _THERMAL asserts once. Masked: nothing. Fixed:
 * IRR. NMI: LAPIC_EV_NMI. ExtINT: nothing, the PIC's vector comes by lapic_extint_set. PERF masks
 * itself when it fires, as on hardware. Other values of lvt do nothing. With IA32_APIC_BASE.EN 0
 * LINT1 is the NMI pin. */
void lapic_local(struct lapic *l, enum lapic_reg lvt, struct lapic_out *out);

/*
 * ExtINT via LINT0: what KVM_INTERRUPT means in KVM's split irqchip. The VMM's PIC offers a vector
 * (0..255); it is held until accepted. lapic_extint_ready: the VMM may offer one
 * (kvm_run.ready_for_interrupt_injection, combined with the real vCPU's own readiness): LINT0 is
 * unmasked in ExtINT mode, or the local APIC is disabled; and none is held. -EEXIST: one is held
 * already.
 */
bool lapic_extint_ready(const struct lapic *l);
int lapic_extint_set(struct lapic *l, uint8_t vector, struct lapic_out *out);

/* ---- Interrupts out ---------------------------------------------------------------------- */

#define LAPIC_PENDING_EXTINT  0x100
#define LAPIC_VECTOR(pending) ((uint8_t)(pending))

/*
 * What to inject next: -1 nothing (always so while waiting for INIT or SIPI); the highest IRR
 * vector whose class is above PPR's; or, before that, a held ExtINT vector | LAPIC_PENDING_EXTINT
 * if LINT0 lets it through. Changes nothing.
 */
int lapic_next_vector(const struct lapic *l);

/* KVM_INTERRUPT of LAPIC_VECTOR(pending) succeeded: IRR -> ISR, or the held ExtINT is taken (no
 * ISR). pending is what lapic_next_vector returned, nothing having happened in between: else
 * -EINVAL. Does not change mp_state. */
int lapic_accept(struct lapic *l, int pending);

/* True if something is deliverable: if it cannot be injected now, ask for an interrupt window. */
bool lapic_wants_window(const struct lapic *l);

/* ---- Timer ------------------------------------------------------------------------------- */

/* When lapic_timer_fire is to be called, or LAPIC_NO_DEADLINE. A masked timer has none: it
 * interrupts nobody and its current count follows from the clock. */
uint64_t lapic_timer_deadline(const struct lapic *l);

/* True while the timer's vector is in the IRR: an expiry would change nothing. */
bool lapic_timer_waits(const struct lapic *l);

/* The timer does not fire before until_ns, whatever its deadline: for whoever runs the vCPU and
 * sees that it does not get through its timer interrupts. Until a reset or an import; the latest of
 * several calls counts. An expiry meanwhile is late: it comes at the end of the rest, or never if
 * the guest has set the timer anew by then. */
void lapic_timer_rest(struct lapic *l, uint64_t until_ns);

uint8_t lapic_timer_vector(const struct lapic *l);

/* Brings the timer up to now: if its deadline has passed, raises the interrupt (once, whatever the
 * number of missed periods), and re-arms a periodic timer at the next multiple after now, without
 * drift. Early calls do nothing. All guest accesses that depend on the timer do this on their own.
 * Adds EVAL, TIMER. */
void lapic_timer_fire(struct lapic *l, uint64_t now_ns, struct lapic_out *out);

/* ---- State ------------------------------------------------------------------------------- */

uint8_t lapic_mp_state(const struct lapic *l); /* enum lapic_mp_state */
uint8_t lapic_sipi_vector(const struct lapic *l);

/* KVM_SET_MP_STATE and the run loop's own changes (HALTED on HLT, RUNNABLE on wake-up and after
 * SIPI). -EINVAL: not one of enum lapic_mp_state. */
int lapic_set_mp_state(struct lapic *l, uint8_t mp_state);
void lapic_set_sipi_vector(struct lapic *l, uint8_t vector); /* KVM_SET_VCPU_EVENTS */

/*
 * struct kvm_lapic_state.regs: 16-byte slots, 32 bits each, id in bits [31:24] in both modes (the
 * form without KVM_CAP_X2APIC_API). PPR and the timer's current count are as of now_ns. Not in the
 * page: IA32_APIC_BASE (set it before import, as KVM does), IA32_TSC_DEADLINE (set it after), MP
 * state, a held ExtINT vector, errors not yet latched in ESR, and the fraction of a timer tick
 * (import starts a whole tick: up to one divided tick late).
 */
void lapic_export(const struct lapic *l, uint64_t now_ns, uint8_t regs[LAPIC_REGS_SIZE]);

/* -EINVAL, nothing changed: an id other than this vCPU's, or vectors 0..15 in IRR or ISR. VERSION
 * and PPR are ignored, reserved bits dropped, LDR derived in x2APIC mode. */
int lapic_import(struct lapic *l, uint64_t now_ns, const uint8_t regs[LAPIC_REGS_SIZE],
                 struct lapic_out *out);

/* What to announce to all nodes now (after create, and on LAPIC_EV_ANNOUNCE); each call takes the
 * next seq. priority is 0: TPR changes are too frequent to be announced. */
void lapic_announcement(struct lapic *l, uint8_t node, struct irq_announcement *ret);

#endif
