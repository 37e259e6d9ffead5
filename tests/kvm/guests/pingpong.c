/* SPDX-License-Identifier: BSD-3-Clause */
/* What a page, or an interrupt, costs to move between vCPUs, in the guest's own cycles.
 *
 * mode=handover  two CPUs pass one page to and fro by writing it; a sample is half a round trip
 * mode=read      a page that the peer just modified is read
 * mode=write     a page that the peer just modified is written
 * mode=upgrade   a page that this CPU and sharers=K others have read is written
 * mode=ipi       an interrupt to the peer and back; a sample is half a round trip
 * mode=all       (default) all of them. n=samples (raw=1 prints every one; raw=2 as they came, with
 * the TSC at its end), peer=CPU (default the last), gap_us=pause before each sample of read, write
 * and upgrade; break=1 makes the peer's value wrong once
 *
 * CPU 0 measures. Before each sample the peers bring the page into the wanted state; they are told
 * by, and answer on, other pages than the one measured. Every value that moves is checked.
 */
#include "lib.h"

const char guest_name[] = "pingpong";
bool naps_allowed = false;

#define MAX_SAMPLES 100000u
#define V_PING      0x90u
#define V_PONG      0x91u
#define V_STOP      0x92u

enum command { CMD_HANDOVER = 1, CMD_WRITE_IT, CMD_READ_IT, CMD_IPI, CMD_STOP };

struct order {
    uint64_t serial; /* written last by CPU 0 */
    uint64_t command, value;
} PAGE_ALIGNED;

static struct order orders[MAX_CPUS];
static uint64_t done[MAX_CPUS][512] PAGE_ALIGNED; /* serial of the last order carried out */
static volatile uint64_t page[512] PAGE_ALIGNED;  /* the page that is measured */
static uint64_t *samples, *ends, max_samples;     /* ends: TSC, with raw=2 */
static unsigned peer;
static unsigned sharers;
static bool broken;

/* CPU 0 writes it at each sample; the others read their neighbours in .bss all the time. */
static struct {
    uint64_t count;
} PAGE_ALIGNED taken;

static void pause_us(uint64_t us)
{
    for (uint64_t end = rdtsc() + tsc_khz() * us / 1000; rdtsc() < end;)
        cpu_pause();
}

/* Tells CPU c what to do. */
static uint64_t give_order(unsigned c, enum command command, uint64_t value)
{
    uint64_t serial = orders[c].serial + 1;

    orders[c].command = command;
    orders[c].value = value;
    __atomic_store_n(&orders[c].serial, serial, __ATOMIC_RELEASE);
    return serial;
}

static void await_order(unsigned c, uint64_t serial)
{
    WAIT_UNTIL(__atomic_load_n(&done[c][0], __ATOMIC_ACQUIRE) == serial, "order %lu at vCPU %u",
               serial, c);
}

/* The peer's half of a handover: odd values are CPU 0's, even ones the peer's. */
static void hand_back(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        WAIT_UNTIL(page[0] == 2 * i + 1, "handover %lu at the peer", i);
        page[0] = 2 * i + 2;
    }
}

/* Counts from the start of the guest, not of this function: the first ping may be here already. */
static void answer_ipis(uint64_t rounds)
{
    const unsigned me = this_cpu()->index;

    for (uint64_t i = 1; i <= rounds; i++) {
        WAIT_UNTIL(irq_count(me, V_PING) >= i, "ping %lu", i);
        ipi_send(0, V_PONG);
    }
    CHECK(irq_count(me, V_PING) == rounds, "%lu pings came, not %lu", irq_count(me, V_PING),
          rounds);
}

/* Whether CPU c takes part; the sharers are the peer and those before it. */
static bool takes_part(unsigned c)
{
    return c != 0 && (peer - c + ncpus - 1) % (ncpus - 1) < sharers;
}

static void serve(unsigned cpu)
{
    const struct order *o = &orders[cpu];

    for (uint64_t serial = 1;; serial++) {
        WAIT_UNTIL(__atomic_load_n(&o->serial, __ATOMIC_ACQUIRE) == serial, "order %lu", serial);
        if (o->command == CMD_STOP)
            return;
        if (o->command == CMD_WRITE_IT)
            page[1] = broken && serial == 5 ? ~o->value : o->value;
        else if (o->command == CMD_READ_IT)
            CHECK(page[0] == o->value, "vCPU %u reads %lu, not %lu", cpu, page[0], o->value);
        else if (o->command == CMD_HANDOVER)
            hand_back(o->value);
        else
            answer_ipis(o->value);
        __atomic_store_n(&done[cpu][0], serial, __ATOMIC_RELEASE);
    }
}

/* CPUs without a part sleep, or they would take host time from those that are measured. */
static void sleep_until_stop(void)
{
    while (this_cpu()->counts[V_STOP] == 0)
        system_call((uintptr_t)&this_cpu()->counts[V_STOP], 0, SYS_HALT_UNLESS);
}

static void stop_all(void)
{
    for (unsigned c = 1; c < ncpus; c++)
        if (takes_part(c))
            give_order(c, CMD_STOP, 0);
        else
            ipi_send(c, V_STOP);
}

static void sift(uint64_t *v, uint64_t i, uint64_t n)
{
    for (uint64_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && v[k + 1] > v[k])
            k++;
        if (v[i] >= v[k])
            return;
        uint64_t t = v[i];

        v[i] = v[k];
        v[k] = t;
    }
}

static void swap_first(uint64_t *v, uint64_t end)
{
    uint64_t t = v[0];

    v[0] = v[end];
    v[end] = t;
    sift(v, 0, end);
}

/* For whoever merges several runs: percentiles of percentiles would be wrong. */
static void print_samples(const char *name)
{
    for (uint64_t i = 0; i < taken.count; i += 4)
        printf("SAMPLES %s %lu %lu %lu %lu\n", name, samples[i],
               samples[i + 1 < taken.count ? i + 1 : i], samples[i + 2 < taken.count ? i + 2 : i],
               samples[i + 3 < taken.count ? i + 3 : i]);
}

/* For whoever puts a sample beside what the nodes saw of it. */
static void print_stamps(const char *name)
{
    for (uint64_t i = 0; i < taken.count; i++)
        printf("STAMPS %s %lu %lu\n", name, ends[i], samples[i]);
}

/* All samples are kept, so the percentiles are exact (nearest rank). */
static void report(const char *name)
{
    if (ends != NULL)
        print_stamps(name);
    for (uint64_t i = taken.count / 2; i-- > 0;)
        sift(samples, i, taken.count);
    for (uint64_t end = taken.count; end-- > 1;)
        swap_first(samples, end);
    for (uint64_t i = 1; i < taken.count; i++)
        CHECK(samples[i - 1] <= samples[i], "samples are not in order");
    CHECK(taken.count == max_samples, "%lu samples, not %lu", taken.count, max_samples);
    printf("BENCH %s unit=cycles n=%lu p50=%lu p90=%lu p99=%lu max=%lu tsc_khz=%lu peer=%u "
           "sharers=%u\n",
           name, taken.count, samples[(taken.count * 50 + 99) / 100 - 1],
           samples[(taken.count * 90 + 99) / 100 - 1], samples[(taken.count * 99 + 99) / 100 - 1],
           samples[taken.count - 1], tsc_khz(), peer, sharers);
    if (cmdline_u64("raw", 0) == 1)
        print_samples(name);
    taken.count = 0;
}

static void sample(uint64_t cycles)
{
    if (ends != NULL)
        ends[taken.count] = rdtsc();
    samples[taken.count++] = cycles;
}

static void bench_handover(void)
{
    page[0] = 0;
    uint64_t serial = give_order(peer, CMD_HANDOVER, max_samples);

    for (uint64_t i = 0; i < max_samples; i++) {
        uint64_t start = rdtsc();

        page[0] = 2 * i + 1;
        WAIT_UNTIL(page[0] == 2 * i + 2, "handover %lu", i);
        sample((rdtsc() - start) / 2);
    }
    await_order(peer, serial);
    report("handover");
}

static void bench_read(uint64_t gap_us)
{
    for (uint64_t i = 0; i < max_samples; i++) {
        uint64_t want = mix64(i);

        await_order(peer, give_order(peer, CMD_WRITE_IT, want));
        pause_us(gap_us);
        uint64_t start = rdtsc(), got = page[1], end = rdtsc();

        CHECK(got == want, "read %lu: %lx, not %lx", i, got, want);
        sample(end - start);
    }
    report("read");
}

/* A store may still be in the store buffer when rdtsc runs: mfence waits for it. */
static uint64_t timed_write(uint64_t value)
{
    uint64_t start = rdtsc();

    page[0] = value;
    __asm__ volatile("mfence" : : : "memory");
    return rdtsc() - start;
}

static void bench_write(uint64_t gap_us)
{
    for (uint64_t i = 0; i < max_samples; i++) {
        uint64_t want = mix64(i + 7);

        await_order(peer, give_order(peer, CMD_WRITE_IT, want));
        pause_us(gap_us);
        sample(timed_write(i));
        CHECK(page[1] == want, "write %lu reverted the peer's: %lx, not %lx", i, page[1], want);
        CHECK(page[0] == i, "write %lu was lost", i);
    }
    report("write");
}

/* This CPU reads too, so that it has the page Shared when it writes. */
static void bench_upgrade(uint64_t gap_us)
{
    page[0] = 0;
    for (uint64_t i = 0; i < max_samples; i++) {
        for (unsigned c = 1; c < ncpus; c++)
            if (takes_part(c))
                await_order(c, give_order(c, CMD_READ_IT, i));
        CHECK(page[0] == i, "upgrade %lu: %lu before it", i, page[0]);
        pause_us(gap_us);
        sample(timed_write(i + 1));
    }
    report("upgrade");
}

static void bench_ipi(void)
{
    uint64_t before = irq_count(0, V_PONG), serial = give_order(peer, CMD_IPI, max_samples);

    for (uint64_t i = 1; i <= max_samples; i++) {
        uint64_t start = rdtsc();

        ipi_send(peer, V_PING);
        WAIT_UNTIL(irq_count(0, V_PONG) >= before + i, "pong %lu", i);
        sample((rdtsc() - start) / 2);
    }
    await_order(peer, serial);
    CHECK(irq_count(0, V_PONG) == before + max_samples, "pongs");
    report("ipi");
}

static void measure(void)
{
    static const char *const modes[] = {"handover", "read", "write", "upgrade", "ipi"};
    bool all = !cmdline_has("mode") || cmdline_is("mode", "all");
    uint64_t gap_us = cmdline_u64("gap_us", 0);
    unsigned ran = 0;

    for (unsigned m = 0; m < 5; m++) {
        if (!all && !cmdline_is("mode", modes[m]))
            continue;
        ran++;
        if (m == 0)
            bench_handover();
        else if (m == 1)
            bench_read(gap_us);
        else if (m == 2)
            bench_write(gap_us);
        else if (m == 3)
            bench_upgrade(gap_us);
        else
            bench_ipi();
    }
    CHECK(ran > 0, "mode is one of handover, read, write, upgrade, ipi, all");
}

void guest_main(unsigned cpu)
{
    if (ncpus == 1) {
        pass_note("1 vCPU: nothing to contend");
        return;
    }
    if (cpu == 0) {
        max_samples = cmdline_u64("n", 500);
        peer = (unsigned)cmdline_u64("peer", ncpus - 1);
        CHECK(max_samples >= 1 && max_samples <= MAX_SAMPLES, "n is 1 to %u", MAX_SAMPLES);
        CHECK(peer >= 1 && peer < ncpus, "peer is 1 to %u here", ncpus - 1);
        broken = cmdline_has("break");
        sharers = (unsigned)cmdline_u64("sharers", 1);
        CHECK(sharers >= 1 && sharers < ncpus, "sharers is 1 to %u here", ncpus - 1);
        samples = arena(max_samples * sizeof(*samples));
        if (cmdline_u64("raw", 0) == 2)
            ends = arena(max_samples * sizeof(*ends));
    }
    barrier();
    if (cpu == 0) {
        measure();
        stop_all();
    } else if (takes_part(cpu)) {
        serve(cpu);
    } else {
        sleep_until_stop();
    }
}
