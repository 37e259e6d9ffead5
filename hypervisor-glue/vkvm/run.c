/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The run loop of a vCPU at its home. One thread runs the vCPU and owns its local APIC model;
 * others set posted bits and kick (link_post). A kick sets immediate_exit to VKVM_KICKED where the
 * VMM's own writes 1, so that the two are told apart: ours is consumed here, the VMM's returns
 * EINTR.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/bits.h"
#include "hypervisor-glue/link/glue_cpu.h"
#include "hypervisor-glue/vkvm/probes.h"
#include "hypervisor-glue/vkvm/span_stamps.h"
#include "hypervisor-glue/vkvm/vkvm.h"

static __thread struct kvm_run *kick_run __attribute__((tls_model("initial-exec")));

/* immediate_exit is also written by the VMM's handler, in this same thread: between two
 * instructions of this one, too. */
static void on_kick(int sig)
{
    (void)sig;
    struct kvm_run *run = kick_run;
    uint8_t expected = 0;
    if (run != NULL)
        __atomic_compare_exchange_n(&run->immediate_exit, &expected, VKVM_KICKED, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

int kick_install(void)
{
    struct sigaction action = {.sa_handler = on_kick};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET, &action, NULL) == 0 ? 0 : -errno;
}

static void clear_kick(struct vcpu *v)
{
    uint8_t expected =
        VKVM_KICKED; /* a handler of the VMM may run in between: it must not be undone */
    __atomic_compare_exchange_n(&v->run->immediate_exit, &expected, 0, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

void home_thread_setup(struct vcpu *v)
{
    pid_t tid = (pid_t)syscall(SYS_gettid);
    kick_run = v->run;
    if (v->tid == tid)
        return;
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    if (v->timer_made)
        timer_delete(v->timer);
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID,
                          .sigev_signo = SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET};
    ev._sigev_un._tid = tid;
    v->timer_made = timer_create(CLOCK_MONOTONIC, &ev, &v->timer) == 0;
    if (!v->timer_made)
        say("vCPU %u: no timer: %s", v->id, strerror(errno));
    v->timer_armed = LAPIC_NO_DEADLINE;
    v->tid = tid;
    char who[48];
    snprintf(who, sizeof(who), "vcpu_cores, threads.vcpu_*: vCPU %u", v->id);
    link_place(&v->vm->link, &v->vm->link.vcpu_sched, v->vm->link.vcpu_core[v->id], who);
    atomic_store(&v->chan->tid, (uint32_t)tid);
}

/* While the timer's vector waits in the IRR another expiry would change nothing, and with a period
 * that is shorter than the way into the guest the guest would never get there. */
static uint64_t next_expiry(const struct vcpu *v)
{
    return lapic_timer_waits(&v->lapic) ? LAPIC_NO_DEADLINE : lapic_timer_deadline(&v->lapic);
}

/* ---- a slow tick ---
 *
 * Linux works in its timer interrupt with interrupts off. Where that work has to fetch pages it can
 * take longer than the period, and the next one would be taken the moment interrupts are on again:
 * nothing else would ever run. So a timer interrupt that was long over is followed by a rest from
 * them, of several times as long: part of the vCPU's time is left for other work. One that waits by
 * then is still taken, and the rest counts from its end. (With only the wait of a second interrupt
 * counted, which a timer that Linux sets at the end of its work never shows, four Linux CPUs on
 * four nodes of the lab VM do nothing but tick.)
 *
 * A halted vCPU rests as long: it has nothing else to do, but would take pages from those that have
 * (with an 8th of the rest four CPUs that sleep while they wait for a lock got it no sooner).
 *
 * How long one takes is known only if its end is an exit, the first at which the guest could take
 * another. That costs an exit, so it is asked for only where one may have been slow lately: where
 * an exit came late, before the guest was seen with interrupts on. (It may have come from
 * elsewhere: that the handler returned is no exit.) For some ticks after that, too: one that comes
 * right after a slow one finds the pages there. */
void tick_accepted(struct vcpu *v, int pending, uint64_t now)
{
    struct tick *t = &v->tick;
    if ((pending & LAPIC_PENDING_EXTINT) != 0 ||
        LAPIC_VECTOR(pending) != lapic_timer_vector(&v->lapic))
        return;
    t->accepted = now;
    t->in_work = true;
    t->is_watched = t->watch != 0;
}

void tick_exit(struct vcpu *v, uint64_t now)
{
    struct tick *t = &v->tick;
    uint64_t took = now - t->accepted;
    bool late = took > VKVM_TICK_LATE_NS && t->rest_times != 0;
    if (late && !t->is_watched && (!v->ready || v->run->request_interrupt_window))
        t->watch = VKVM_TICK_WATCH;
    if (!v->ready)
        return;
    if (t->is_watched && late) {
        t->watch = VKVM_TICK_WATCH;
        lapic_timer_rest(&v->lapic, now + min_u64(t->rest_times * took, t->rest_max_ns));
    } else if (t->is_watched) {
        t->watch--;
    }
    t->in_work = t->is_watched = false;
}

void tick_forget(struct vcpu *v)
{
    v->tick.in_work = v->tick.is_watched = false;
    v->tick.watch = 0;
}

/* The model's timer kicks a vCPU that is in the guest. */
static void arm_timer(struct vcpu *v)
{
    uint64_t deadline = next_expiry(v);
    if (deadline == v->timer_armed || !v->timer_made)
        return;
    struct itimerspec spec = {0};
    if (deadline != LAPIC_NO_DEADLINE) {
        uint64_t at = deadline == 0 ? 1 : deadline;
        spec.it_value = (struct timespec){(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
    }
    timer_settime(v->timer, TIMER_ABSTIME, &spec, NULL);
    v->timer_armed = deadline;
}

static void run_timer(struct vcpu *v)
{
    uint64_t now = link_now();
    if (next_expiry(v) > now)
        return;
    struct lapic_out out;
    lapic_out_clear(&out);
    lapic_timer_fire(&v->lapic, now, &out);
    v->timer_armed = LAPIC_NO_DEADLINE; /* it has fired, or is about to in vain */
    inject_events(v, &out);
}

/* The VMM wants its vCPU back: its own flag, or a kick message for this run. */
static bool wanted(struct vcpu *v)
{
    if (v->remote)
        return atomic_load_explicit(&v->chan->kick_run, memory_order_acquire) >= v->run_number;
    return __atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED) == 1;
}

static bool attention(struct vcpu *v)
{
    return inject_posted_any(v) || wanted(v) || link_stopped(&v->vm->link);
}

/* One entry into the guest; lets what was published before it in, [W] of link_wake. */
static int enter(struct vcpu *v)
{
    struct lapic_out out;
    struct kvm_run *run = v->run;
    run->request_interrupt_window = lapic_wants_window(&v->lapic) ||
                                    (v->vmm_window && lapic_extint_ready(&v->lapic)) ||
                                    v->tick.is_watched;
    run->cr8 = lapic_cr8(&v->lapic);
    arm_timer(v);
    guest_clock_follow(v);
    atomic_store_explicit(&v->chan->cpu, glue_cpu_here(), memory_order_relaxed);
    atomic_store_explicit(&v->chan->state, GLUE_IN_GUEST, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (attention(v)) {
        link_awake(v->chan);
        return -EAGAIN;
    }
    if (v->span.turn != 0)
        span_turn(v, v->span.turn);
    v->span.turn = 0;
    KVM_PROBE(vcpu_enter, v->id);
    int rc = raw_ioctl(v->fd, KVM_RUN, 0);
    span_exit(v);
    KVM_PROBE(vcpu_exit, v->id, rc, run->exit_reason);
    link_awake(v->chan);
    v->io_pending = false;
    v->ready = run->ready_for_interrupt_injection != 0;
    if (v->tick.in_work)
        tick_exit(v, link_now());
    if (rc == 0 && run->exit_reason == KVM_EXIT_HLT)
        link_idle(&v->vm->link, v->chan);
    lapic_out_clear(&out);
    lapic_set_cr8(&v->lapic, (uint8_t)run->cr8, &out);
    return rc;
}

int home_finish_io(struct vcpu *v)
{
    if (!v->io_pending)
        return 0;
    uint8_t was = __atomic_exchange_n(&v->run->immediate_exit, VKVM_KICKED, __ATOMIC_RELAXED);
    int rc = raw_ioctl(v->fd, KVM_RUN, 0);
    v->io_pending = false;
    v->span.exit_stamp = 0;
    if (was == 1)
        v->run->immediate_exit = 1;
    else
        clear_kick(v);
    return rc == 0 ? 1 : 0;
}

/* UNINITIALIZED, INIT_RECEIVED and HALTED vCPUs wait here. */
static bool must_wait(struct vcpu *v)
{
    switch (lapic_mp_state(&v->lapic)) {
    case LAPIC_MP_UNINITIALIZED:
    case LAPIC_MP_INIT_RECEIVED:
        return true;
    case LAPIC_MP_HALTED:
        if (lapic_next_vector(&v->lapic) < 0 || !v->run->if_flag)
            return true;
        lapic_set_mp_state(&v->lapic, LAPIC_MP_RUNNABLE);
        return false;
    default:
        return false;
    }
}

static void wait_event(struct vcpu *v)
{
    uint64_t now = link_now(), deadline = next_expiry(v);
    uint64_t most = v->remote ? UINT64_MAX : VKVM_POLL_NS;
    uint64_t left = deadline == LAPIC_NO_DEADLINE ? most : deadline > now ? deadline - now : 0;
    link_doze(v->chan);
    if (left > 0 && !attention(v))
        link_sleep(v->chan, left < most ? left : most);
    link_awake(v->chan);
}

static bool eoi_exit(struct vcpu *v)
{
    for (uint32_t w = 0; w < 4; w++) {
        if (v->eoi[w] == 0)
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(v->eoi[w]);
        v->eoi[w] &= v->eoi[w] - 1;
        v->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
        v->run->eoi.vector = (uint8_t)(w * 64 + bit);
        return true;
    }
    return false;
}

static bool eoi_any(const struct vcpu *v)
{
    return (v->eoi[0] | v->eoi[1] | v->eoi[2] | v->eoi[3]) != 0;
}

/* Before the guest goes on. 1: an exit for the VMM is in v->run; 0: go on; -errno. */
static int before_entry(struct vcpu *v)
{
    clear_kick(v);
    inject_posted(v);
    run_timer(v);
    if (eoi_any(v) || wanted(v)) {
        /* The access must be complete before the VMM looks at registers or another exit takes its
         * place. */
        if (home_finish_io(v) == 1)
            return exits_handle(v);
        if (eoi_exit(v))
            return 1;
        return -EINTR;
    }
    if (must_wait(v)) {
        wait_event(v);
        return 0;
    }
    return -EAGAIN; /* enter */
}

/* What kvm_run says of the local APIC, which is not the kernel's: whether the VMM's PIC may
 * acknowledge (the kernel knows nothing of LINT0), the base, the priority. VMMs keep the last two
 * and write them back whenever they write registers. */
static void tell_vmm(struct vcpu *v)
{
    v->run->ready_for_interrupt_injection = v->ready && lapic_extint_ready(&v->lapic);
    v->run->apic_base = lapic_base(&v->lapic);
    v->run->cr8 = lapic_cr8(&v->lapic);
}

static int run_loop(struct vcpu *v)
{
    for (;;) {
        if (link_stopped(&v->vm->link))
            return -EIO;
        int rc = before_entry(v);
        if (rc == 1)
            return 0;
        if (rc == 0)
            continue;
        if (rc != -EAGAIN)
            return rc;
        inject_next(v);
        rc = enter(v);
        if (rc == 0) {
            rc = exits_handle(v);
            if (rc == 1)
                return 0;
            if (rc < 0)
                return rc;
            continue;
        }
        if (rc == -EINTR && !v->remote &&
            __atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED) == 0)
            return -EINTR; /* a signal of the VMM's without the flag */
        if (rc != -EINTR && rc != -EAGAIN)
            return rc;
    }
}

int home_run(struct vcpu *v, bool vmm_window)
{
    home_thread_setup(v);
    v->vmm_window = vmm_window;
    int rc = run_loop(v);
    if (rc == -EINTR)
        v->tick.is_watched = false; /* the VMM may keep the vCPU for long */
    tell_vmm(v);
    v->run->request_interrupt_window = vmm_window; /* ours is not the VMM's wish next time */
    return rc;
}
