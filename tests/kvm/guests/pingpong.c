/* SPDX-License-Identifier: BSD-3-Clause */
/* What a page, or an interrupt, costs to move between vCPUs, in the guest's own cycles.
 *
 * mode=handover  two CPUs pass one page to and fro by writing it; a sample is half a round trip
 * mode=read      a page that the peer just modified is read
 * mode=write     a page that the peer just modified is written; with sharers=K above 1, K-1 others
 *                have read it since: the page is Shared at K vCPUs, and not here
 * mode=touch     a page that no vCPU has touched before is written, each page once
 * mode=upgrade   a page that this CPU and sharers=K others have read is written; they read pages=P
 *                (1..64) at an order, which are written one after the other
 * mode=ipi       an interrupt to the peer and back; a sample is half a round trip
 * mode=pio       the peer reads (pio_in) and writes (pio_out) a port of the VMM's
 * mode=mmio      the peer reads (mmio_read) and writes (mmio_write) a register of the VMM's
 * mode=all       (default) all of them. n=samples (raw=1 prints every one; raw=2 as they came, with
 * the TSC at its end), warm=samples (default 8) before them of each kind that are made, verified
 * and not kept: the first ones find cold caches, threads that sleep and pages on their way;
 * peer=CPU (default the last), gap_us=pause around each sample of read, write, touch
 * and upgrade (shorter than coherence.hold_us, and the page comes with the one that the vCPU
 * faulted on before: the sample is no fault); nodes=N home=K: the pages of read, write and touch
 * are those that node K of N keeps the directory of (vm.homes: interleave, a page each in turn);
 * halt=1: who waits for an order halts, so that vCPUs beyond the host's cores take no time of those
 * that are measured; break=1 makes the peer's value wrong once
 *
 * CPU 0 measures, but for pio and mmio. Before each sample the peers bring the page into the wanted
 * state; they are told by, and answer on, other pages than the one measured. Every value that moves
 * is checked.
 */
#include "lib.h"

const char guest_name[] = "pingpong";
bool naps_allowed = false;

#define MAX_SAMPLES   100000u
#define MAX_WARM      10000u
#define V_PING        0x90u
#define V_PONG        0x91u
#define V_STOP        0x92u
#define V_ORDER       0x93u
#define BATCH_MAX     64u
#define PORT_SCRATCH  (PORT_CONSOLE + 7)
#define REG_PEER(cpu) ((volatile uint64_t *)(uintptr_t)(TESTDEV + 0x100u + 8 * (cpu)))

enum command {
    CMD_HANDOVER = 1,
    CMD_WRITE_IT,
    CMD_READ_IT,
    CMD_READ_PAGE,
    CMD_IPI,
    CMD_IO,
    CMD_STOP
};
enum io { PIO_IN, PIO_OUT, MMIO_READ, MMIO_WRITE };

struct order {
    uint64_t serial; /* written last by CPU 0 */
    uint64_t command, value;
} PAGE_ALIGNED;

static struct order orders[MAX_CPUS];
static uint64_t done[MAX_CPUS][512] PAGE_ALIGNED;      /* serial of the last order carried out */
static volatile uint64_t any_page[512] PAGE_ALIGNED;   /* the page that is measured ... */
static volatile uint64_t (*batch)[PAGE / 8];           /* those that are upgraded */
static uint64_t *samples, *ends, max_samples, batched; /* ends: TSC, with raw=2 */
static volatile uint64_t *page = any_page;             /* ... or one of the node that home= names */
static uint64_t warm, nodes, home;
static unsigned peer;
static unsigned sharers;
static bool broken, halting;

/* CPU 0 writes it at each sample; the others read their neighbours in .bss all the time. */
static struct {
    uint64_t count, warmed;
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
    if (halting)
        ipi_send(c, V_ORDER);
    return serial;
}

/* At the CPU that is ordered. */
static void wait_for_order(unsigned cpu, uint64_t serial)
{
    const struct order *o = &orders[cpu];

    while (halting) {
        uint64_t wakes = irq_count(cpu, V_ORDER);

        if (__atomic_load_n(&o->serial, __ATOMIC_ACQUIRE) == serial)
            return;
        system_call((uintptr_t)&this_cpu()->counts[V_ORDER], wakes, SYS_HALT_UNLESS);
    }
    WAIT_UNTIL(__atomic_load_n(&o->serial, __ATOMIC_ACQUIRE) == serial, "order %lu", serial);
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

static void read_batch(unsigned cpu, uint64_t want)
{
    for (uint64_t p = 0; p < batched; p++)
        CHECK(batch[p][0] == want, "vCPU %u reads %lu in page %lu, not %lu", cpu, batch[p][0], p,
              want);
}

/* Of each kind that is measured: the samples, and what is not kept before them. */
static uint64_t all_samples(void)
{
    return warm + max_samples;
}

static void sample(uint64_t cycles)
{
    if (taken.warmed < warm) {
        taken.warmed++;
        return;
    }
    if (ends != NULL)
        ends[taken.count] = rdtsc();
    samples[taken.count++] = cycles;
}

/* One access to the VMM's node, whose value is another each time; returns the cycles. */
static uint64_t timed_io(enum io which, volatile uint64_t *reg, uint64_t value, uint64_t *ret_got)
{
    uint64_t start = rdtsc();

    switch (which) {
    case PIO_IN:
        *ret_got = inb(PORT_SCRATCH);
        break;
    case PIO_OUT:
        outb(PORT_SCRATCH, (uint8_t)value);
        break;
    case MMIO_READ:
        *ret_got = *reg;
        break;
    case MMIO_WRITE:
        *reg = value;
        break;
    }
    return rdtsc() - start;
}

/* The peer measures: what is read was written before, what is written is read behind it. */
static void peer_io(unsigned cpu, enum io which)
{
    volatile uint64_t *reg = REG_PEER(cpu);
    bool pio = which == PIO_IN || which == PIO_OUT, reads = which == PIO_IN || which == MMIO_READ;

    for (uint64_t i = 0; i < all_samples(); i++) {
        uint64_t want = pio ? mix64(i) & 0xFF : mix64(i), got, cycles = 0;

        if (!reads)
            cycles = timed_io(which, reg, want, &got);
        else
            (void)timed_io(pio ? PIO_OUT : MMIO_WRITE, reg, broken && i == 5 ? ~want : want, &got);
        uint64_t read = timed_io(pio ? PIO_IN : MMIO_READ, reg, 0, &got);

        CHECK(got == want, "I/O %lu: %lx, not %lx", i, got, want);
        sample(reads ? read : cycles);
    }
}

static void serve(unsigned cpu)
{
    const struct order *o = &orders[cpu];

    for (uint64_t serial = 1;; serial++) {
        wait_for_order(cpu, serial);
        if (o->command == CMD_STOP)
            return;
        if (o->command == CMD_WRITE_IT)
            page[1] = broken && serial == 5 ? ~o->value : o->value;
        else if (o->command == CMD_READ_IT)
            read_batch(cpu, o->value);
        else if (o->command == CMD_READ_PAGE)
            CHECK(page[1] == o->value, "vCPU %u reads %lx, not %lx", cpu, page[1], o->value);
        else if (o->command == CMD_IO)
            peer_io(cpu, (enum io)o->value);
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
    CHECK(taken.count == max_samples && taken.warmed == warm, "%lu samples behind %lu, not %lu",
          taken.count, taken.warmed, max_samples);
    printf("BENCH %s unit=cycles n=%lu p50=%lu p90=%lu p99=%lu max=%lu tsc_khz=%lu peer=%u "
           "sharers=%u warm=%lu\n",
           name, taken.count, samples[(taken.count * 50 + 99) / 100 - 1],
           samples[(taken.count * 90 + 99) / 100 - 1], samples[(taken.count * 99 + 99) / 100 - 1],
           samples[taken.count - 1], tsc_khz(), peer, sharers, warm);
    if (cmdline_u64("raw", 0) == 1)
        print_samples(name);
    taken.count = taken.warmed = 0;
}

static void bench_handover(void)
{
    page[0] = 0;
    uint64_t serial = give_order(peer, CMD_HANDOVER, all_samples());

    for (uint64_t i = 0; i < all_samples(); i++) {
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
    volatile uint64_t *const at = page; /* a register: nothing but the page itself is loaded */

    for (uint64_t i = 0; i < all_samples(); i++) {
        uint64_t want = mix64(i);

        await_order(peer, give_order(peer, CMD_WRITE_IT, want));
        pause_us(gap_us);
        uint64_t start = rdtsc(), got = at[1], end = rdtsc();

        CHECK(got == want, "read %lu: %lx, not %lx", i, got, want);
        sample(end - start);
        pause_us(gap_us);
    }
    report("read");
}

/* A store may still be in the store buffer when rdtsc runs: mfence waits for it. */
static uint64_t timed_write(volatile uint64_t *at, uint64_t value)
{
    uint64_t start = rdtsc();

    *at = value;
    __asm__ volatile("mfence" : : : "memory");
    return rdtsc() - start;
}

static void bench_write(uint64_t gap_us)
{
    for (uint64_t i = 0; i < all_samples(); i++) {
        uint64_t want = mix64(i + 7);

        await_order(peer, give_order(peer, CMD_WRITE_IT, want));
        for (unsigned c = 1; c < ncpus; c++)
            if (c != peer && takes_part(c))
                await_order(c, give_order(c, CMD_READ_PAGE, want));
        pause_us(gap_us);
        sample(timed_write(page, i));
        pause_us(gap_us);
        CHECK(page[1] == want, "write %lu reverted the peer's: %lx, not %lx", i, page[1], want);
        CHECK(page[0] == i, "write %lu was lost", i);
    }
    report("write");
}

/* A page of node `home`, in `nodes` pages from here on; without nodes=, this one. */
static volatile uint64_t *homed(uintptr_t at)
{
    while (nodes != 0 && at / PAGE % nodes != home)
        at += PAGE;
    return (volatile uint64_t *)at;
}

static void bench_touch(uint64_t gap_us)
{
    const uint64_t step = (nodes != 0 ? nodes : 1) * PAGE;
    uintptr_t fresh = (uintptr_t)arena(all_samples() * step);

    for (uint64_t i = 0; i < all_samples(); i++) {
        volatile uint64_t *at = homed(fresh + i * step);

        pause_us(gap_us);
        sample(timed_write(at, broken && i == 5 ? 0 : mix64(i)));
        pause_us(gap_us);
    }
    for (uint64_t i = 0; i < all_samples(); i++) {
        volatile uint64_t *at = homed(fresh + i * step);

        CHECK(at[0] == mix64(i) && at[1] == 0, "page %lu holds %lx and %lx, not %lx and 0", i,
              at[0], at[1], mix64(i));
    }
    report("touch");
}

/* This CPU reads too, so that it has the pages Shared when it writes. */
static void bench_upgrade(uint64_t gap_us)
{
    for (uint64_t p = 0; p < batched; p++)
        batch[p][0] = 0;
    for (uint64_t i = 0; taken.count < max_samples; i++) { /* behind the warm ones */
        for (unsigned c = 1; c < ncpus; c++)
            if (takes_part(c))
                await_order(c, give_order(c, CMD_READ_IT, i));
        read_batch(0, i);
        for (uint64_t p = 0; p < batched; p++) {
            pause_us(gap_us);
            uint64_t cycles = timed_write(batch[p], i + 1);

            if (taken.count < max_samples)
                sample(cycles);
        }
        pause_us(gap_us);
    }
    report("upgrade");
}

static void bench_ipi(void)
{
    uint64_t before = irq_count(0, V_PONG), serial = give_order(peer, CMD_IPI, all_samples());

    for (uint64_t i = 1; i <= all_samples(); i++) {
        uint64_t start = rdtsc();

        ipi_send(peer, V_PING);
        WAIT_UNTIL(irq_count(0, V_PONG) >= before + i, "pong %lu", i);
        sample((rdtsc() - start) / 2);
    }
    await_order(peer, serial);
    CHECK(irq_count(0, V_PONG) == before + all_samples(), "pongs");
    report("ipi");
}

static void bench_io(enum io which, const char *name)
{
    await_order(peer, give_order(peer, CMD_IO, which));
    report(name);
}

static void measure(void)
{
    static const char *const modes[] = {"handover", "read", "write", "touch",
                                        "upgrade",  "ipi",  "pio",   "mmio"};
    bool all = !cmdline_has("mode") || cmdline_is("mode", "all");
    uint64_t gap_us = cmdline_u64("gap_us", 0);
    unsigned ran = 0;

    for (unsigned m = 0; m < 8; m++) {
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
            bench_touch(gap_us);
        else if (m == 4)
            bench_upgrade(gap_us);
        else if (m == 5)
            bench_ipi();
        else {
            bench_io(m == 6 ? PIO_IN : MMIO_READ, m == 6 ? "pio_in" : "mmio_read");
            bench_io(m == 6 ? PIO_OUT : MMIO_WRITE, m == 6 ? "pio_out" : "mmio_write");
        }
    }
    CHECK(ran > 0, "mode is one of handover, read, write, touch, upgrade, ipi, pio, mmio, all");
}

static void set_up(void)
{
    max_samples = cmdline_u64("n", 500);
    peer = (unsigned)cmdline_u64("peer", ncpus - 1);
    CHECK(max_samples >= 1 && max_samples <= MAX_SAMPLES, "n is 1 to %u", MAX_SAMPLES);
    CHECK(peer >= 1 && peer < ncpus, "peer is 1 to %u here", ncpus - 1);
    broken = cmdline_has("break");
    halting = cmdline_u64("halt", 0) != 0;
    sharers = (unsigned)cmdline_u64("sharers", 1);
    CHECK(sharers >= 1 && sharers < ncpus, "sharers is 1 to %u here", ncpus - 1);
    batched = cmdline_u64("pages", 1);
    CHECK(batched >= 1 && batched <= BATCH_MAX, "pages is 1 to %u", BATCH_MAX);
    warm = cmdline_u64("warm", 8);
    CHECK(warm <= MAX_WARM, "warm is at most %u", MAX_WARM);
    nodes = cmdline_u64("nodes", 0);
    home = cmdline_u64("home", 0);
    CHECK(nodes <= MAX_CPUS && home < (nodes != 0 ? nodes : 1), "home is one of nodes=");
    if (nodes != 0)
        page = homed((uintptr_t)arena(nodes * PAGE));
    batch = arena(batched * PAGE);
    samples = arena(max_samples * sizeof(*samples));
    if (cmdline_u64("raw", 0) == 2)
        ends = arena(max_samples * sizeof(*ends));
}

void guest_main(unsigned cpu)
{
    if (ncpus == 1) {
        pass_note("1 vCPU: nothing to contend");
        return;
    }
    if (cpu == 0)
        set_up();
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
