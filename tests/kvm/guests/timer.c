/* SPDX-License-Identifier: BSD-3-Clause */
/* The LAPIC timer on every vCPU at once: one-shot, periodic, masked, stopped. Lower bounds are
 * exact (a timer never fires early), upper bounds are wide: the host may be busy. */
#include "lib.h"

const char guest_name[] = "timer";
bool naps_allowed = false;

#define V_ONESHOT  0x70u
#define V_PERIODIC 0x71u
#define V_MASKED   0x72u
#define V_SLOW     0x73u

enum { SLOW_MS = 3, SLOW_TICKS = 2000, SLOW_WORK_MS = 100 };

static uint64_t apic_khz[MAX_CPUS][512] PAGE_ALIGNED;

static void spin_us(uint64_t us)
{
    for (uint64_t end = rdtsc() + tsc_khz() * us / 1000; rdtsc() < end;)
        cpu_pause();
}

/* The timer's clock against the TSC over about 50 ms, the best of three: one that was interrupted
 * between its two reads is off by that much. */
static uint64_t measure(void)
{
    uint64_t best = 0, best_slack = ~0ull;

    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    for (unsigned round = 0; round < 3; round++) {
        apic_write(APIC_TIMER_INITIAL, 0xFFFFFFFFu);
        uint64_t t0 = rdtsc();
        uint32_t c0 = apic_read(APIC_TIMER_CURRENT);
        uint64_t t1 = rdtsc();

        spin_us(50000);
        uint64_t t2 = rdtsc();
        uint32_t c1 = apic_read(APIC_TIMER_CURRENT);
        uint64_t t3 = rdtsc(), slack = (t1 - t0) + (t3 - t2);

        CHECK(c1 < c0, "the timer does not count down (%u, then %u)", c0, c1);
        if (slack < best_slack) {
            best_slack = slack;
            best = (uint64_t)(c0 - c1) * tsc_khz() / ((t2 + t3) / 2 - (t0 + t1) / 2);
        }
    }
    apic_write(APIC_TIMER_INITIAL, 0);
    return best;
}

static void one_shot(unsigned cpu, uint64_t shots, uint32_t ticks, uint64_t least)
{
    uint64_t worst = 0;

    apic_write(APIC_LVT_TIMER, V_ONESHOT);
    for (uint64_t i = 1; i <= shots; i++) {
        uint64_t start = rdtsc();

        apic_write(APIC_TIMER_INITIAL, ticks);
        WAIT_UNTIL(irq_count(cpu, V_ONESHOT) >= i, "one-shot %lu", i);
        uint64_t took = rdtsc() - start;

        CHECK(took >= least, "one-shot %lu came early: %lu cycles, at least %lu", i, took, least);
        worst = took > worst ? took : worst;
        uint32_t current = apic_read(APIC_TIMER_CURRENT);

        CHECK(current == 0, "a one-shot timer goes on: %u", current);
    }
    spin_us(20000);
    CHECK(irq_count(cpu, V_ONESHOT) == shots, "%lu one-shots, not %lu", irq_count(cpu, V_ONESHOT),
          shots);
    printf("vCPU %u: %lu one-shots of 2 ms, the longest %lu us\n", cpu, shots,
           worst * 1000 / tsc_khz());
}

/* Ticks cannot run ahead of time. Some may be lost or late on a busy host, so the lower bound is
 * that they keep coming. */
static void periodic(unsigned cpu, uint64_t count, uint32_t ticks, uint64_t least)
{
    uint64_t start = rdtsc();

    apic_write(APIC_LVT_TIMER, LVT_PERIODIC | V_PERIODIC);
    apic_write(APIC_TIMER_INITIAL, ticks);
    WAIT_UNTIL(irq_count(cpu, V_PERIODIC) >= count, "tick %lu of %lu", irq_count(cpu, V_PERIODIC),
               count);
    apic_write(APIC_TIMER_INITIAL, 0);
    uint64_t took = rdtsc() - start;

    spin_us(10000); /* one may have been on its way */
    uint64_t got = irq_count(cpu, V_PERIODIC);

    CHECK(got <= took / least + 1, "%lu ticks in %lu us", got, took * 1000 / tsc_khz());
    CHECK(took >= least * count, "%lu ticks already after %lu us", count, took * 1000 / tsc_khz());
    spin_us(20000);
    CHECK(irq_count(cpu, V_PERIODIC) == got, "a stopped timer goes on");
    printf("vCPU %u: %lu ticks of 5 ms in %lu us\n", cpu, got, took * 1000 / tsc_khz());
}

static void masked(unsigned cpu)
{
    apic_write(APIC_LVT_TIMER, LVT_MASKED | V_MASKED);
    apic_write(APIC_TIMER_INITIAL, APIC_HZ_ASSUMED / 1000);
    spin_us(20000);
    apic_write(APIC_TIMER_INITIAL, 0);
    CHECK(irq_count(cpu, V_MASKED) == 0, "a masked timer interrupted");
}

/* Until so many turns or the time are over; returns the turns. */
static uint64_t turns(uint64_t most, uint64_t until)
{
    uint64_t n = 0;

    while (n < most && rdtsc() < until) {
        cpu_pause();
        n++;
    }
    return n;
}

/* Ticks that take many times their period, with a periodic timer, and with one that each tick sets
 * anew: under KVM itself next to nothing runs beside them. Pando gives the vCPU a rest after each
 * (vm.tick_rest_times). */
static void slow(unsigned cpu, uint32_t khz, bool rearm)
{
    struct cpu *c = this_cpu();
    uint64_t before = irq_count(cpu, V_SLOW);
    uint64_t work = turns(~0ull, rdtsc() + tsc_khz() * SLOW_WORK_MS);

    c->slow = tsc_khz() * SLOW_MS;
    c->rearm = rearm ? khz / 20 : 0;
    c->slow_left = SLOW_TICKS;
    apic_write(APIC_LVT_TIMER, rearm ? V_SLOW : LVT_PERIODIC | V_SLOW);
    apic_write(APIC_TIMER_INITIAL, khz / 20);
    WAIT_UNTIL(irq_count(cpu, V_SLOW) != before, "a tick of %d ms", SLOW_MS);
    turns(work, ~0ull);
    uint64_t ticks = irq_count(cpu, V_SLOW) - before;

    apic_write(APIC_LVT_TIMER, LVT_MASKED | V_SLOW);
    apic_write(APIC_TIMER_INITIAL, 0);
    c->slow_left = 0;
    CHECK(ticks >= 2, "only %lu ticks beside work for %d ms", ticks, SLOW_WORK_MS);
    CHECK(ticks < SLOW_TICKS / 4, "%lu ticks of %d ms, %s, beside work for %d ms: no rest", ticks,
          SLOW_MS, rearm ? "each sets the next" : "periodic", SLOW_WORK_MS);
    printf("vCPU %u: %lu ticks of %d ms, %s, beside work for %d ms\n", cpu, ticks, SLOW_MS,
           rearm ? "each sets the next" : "periodic", SLOW_WORK_MS);
}

static void compare_cpus(void)
{
    for (unsigned c = 0; c < ncpus; c++) {
        uint64_t a = apic_khz[0][0], b = apic_khz[c][0];

        printf("vCPU %u: APIC timer %lu kHz against a TSC of %lu kHz\n", c, b, tsc_khz());
        CHECK(b > a / 2 && b < a * 2, "APIC timers of vCPU 0 and %u differ: %lu, %lu kHz", c, a, b);
    }
}

void guest_main(unsigned cpu)
{
    uint64_t khz = measure();

    apic_khz[cpu][0] = khz;
    CHECK(khz > 1000 && khz < 100000000, "the APIC timer runs at %lu kHz", khz);
    barrier();
    if (cpu == 0)
        compare_cpus();
    barrier();
    /* "Early" leaves 10 % for what the measurement above may be wrong by. */
    uint32_t early = cmdline_has("break") ? 2 : 1;

    one_shot(cpu, cmdline_u64("shots", 20), (uint32_t)(khz * 2 / early), tsc_khz() * 2 * 9 / 10);
    barrier();
    periodic(cpu, cmdline_u64("ticks", 40), (uint32_t)(khz * 5), tsc_khz() * 5 * 9 / 10);
    barrier();
    masked(cpu);
    if (!cmdline_has("slow"))
        return;
    slow(cpu, (uint32_t)khz, false);
    slow(cpu, (uint32_t)khz, true);
}
