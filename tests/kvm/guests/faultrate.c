/* SPDX-License-Identifier: BSD-3-Clause */
/* As many page faults as vCPUs can have: random pages of a set larger than what their nodes hold.
 *
 * On the command line:
 *  - size=MiB of the set; ms=how long (0: only what comes before and after the work);
 *  - warm_ms=how long the same work goes on before that, verified and not counted: pages get to
 *    where they are used, and nodes fill up (0: not at all);
 *  - rest_ms=how long all rest behind the line "WORK begins" and behind "WORK ends", before they go
 *    on: who counts faults outside can look at the counters then, and has those of the work alone;
 *  - reads=PCT of the accesses that read a page which all read, of the first half of the set (100:
 *    of all of it); the others write a page of the vCPU's own part of the second half, or, with
 *    steal=1, any page of that half;
 *  - active=vCPUs at work: the last, the first, the last but one, ...; the others halt;
 *  - rate=accesses a second of each vCPU, at times that are fixed before: a time is counted from
 *    when the access was due, so that what waits behind a stall counts as late (0: each one follows
 *    the last).
 * What is read is verified; what was written is added up at the end. break=1: a write is lost.
 */
#include "lib.h"

const char guest_name[] = "faultrate";
bool naps_allowed = false;

#define V_DONE  0x90u
#define SPIN_US 100u /* before an access is due: longer than waking up takes */

struct worker {
    struct hist hist;
    uint64_t accesses, writes;           /* all, of warming up as well */
    uint64_t warm_accesses, warm_writes; /* of them, before what counts */
    uint64_t cycles;
};

static volatile uint64_t (*set)[PAGE / 8]; /* word 0: mix64(page); word 1 + c: writes of vCPU c */
static uint64_t pages, shared, reads, ms, warm_ms, rest_ms, active, rate;
static bool steal, broken;
static struct worker *workers[MAX_CPUS];

/* The place of a vCPU in the order of those that begin to work. */
static unsigned place(unsigned cpu)
{
    return cpu >= ncpus / 2 ? 2 * (ncpus - 1 - cpu) : 2 * cpu + 1;
}

static uint64_t page_to_write(unsigned cpu, uint64_t random)
{
    uint64_t half = pages - shared, own = half / ncpus;

    return shared + (steal ? random % half : own * cpu + random % own);
}

static void access_page(unsigned cpu, struct worker *w)
{
    uint64_t random = mix64((uint64_t)cpu << 40 | w->accesses++), at = random >> 32;

    if (random % 100 < reads) {
        uint64_t p = at % shared, got = set[p][0];

        CHECK(got == mix64(p), "page %lu reads %lx, not %lx", p, got, mix64(p));
        return;
    }
    uint64_t p = page_to_write(cpu, at);

    CHECK(set[p][0] == mix64(p), "page %lu to write reads %lx", p, set[p][0]);
    if (!broken || w->writes != 2)
        set[p][1 + cpu]++;
    w->writes++;
}

static void work(unsigned cpu, uint64_t for_ms, bool counts)
{
    struct worker *w = workers[cpu];
    uint64_t start = rdtsc(), length = for_ms * tsc_khz();
    uint64_t interval = rate != 0 ? tsc_khz() * 1000 / rate : 0;

    for (uint64_t i = 0;; i++) {
        uint64_t due = rate != 0 ? start + i * interval : rdtsc();

        if (due - start >= length)
            break;
        if (rate != 0) /* halts until shortly before, and leaves its CPU to others */
            wait_until_tsc(due - tsc_khz() * SPIN_US / 1000);
        while (rdtsc() < due)
            cpu_pause();
        access_page(cpu, w);
        if (counts)
            hist_add(&w->hist, rdtsc() - due);
    }
    if (counts) {
        w->cycles = rdtsc() - start;
        return;
    }
    w->warm_accesses = w->accesses;
    w->warm_writes = w->writes;
}

/* The others halt until the vCPU that works first is here, and wakes them: who is through does not
 * poll beside those that are measured. `turn` counts how often. */
static void gather(unsigned cpu, uint64_t turn)
{
    if (place(cpu) != 0)
        while (irq_count(cpu, V_DONE) < turn)
            system_call((uintptr_t)&this_cpu()->counts[V_DONE], turn - 1, SYS_HALT_UNLESS);
    else
        for (unsigned c = 0; c < ncpus; c++)
            if (c != cpu)
                ipi_send(c, V_DONE);
    barrier();
}

/* No page moves meanwhile. */
static void rest(unsigned cpu, const char *line)
{
    if (place(cpu) != 0 || rest_ms == 0)
        return;
    printf("WORK %s\n", line);
    for (uint64_t until = rdtsc() + rest_ms * tsc_khz(); rdtsc() < until;)
        nap();
}

static void fill(unsigned cpu)
{
    for (uint64_t p = cpu; p < pages; p += ncpus)
        set[p][0] = mix64(p);
}

/* Each vCPU's own writes; a page at a time, all that are in it. */
static void verify(void)
{
    uint64_t sum[MAX_CPUS] = {0};

    for (uint64_t p = shared; p < pages; p++)
        for (unsigned c = 0; c < ncpus; c++)
            sum[c] += set[p][1 + c];
    for (unsigned c = 0; c < ncpus; c++)
        CHECK(sum[c] == workers[c]->writes, "vCPU %u wrote %lu times, %lu are there", c,
              workers[c]->writes, sum[c]);
}

static void tell(void)
{
    struct hist *all = arena(sizeof(*all));

    memset(all, 0, sizeof(*all));
    for (unsigned c = 0; c < ncpus; c++) {
        if (place(c) >= active)
            continue;
        hist_merge(all, &workers[c]->hist);
        printf("RATE cpu=%u accesses=%lu writes=%lu cycles=%lu tsc_khz=%lu warm=%lu\n", c,
               workers[c]->accesses - workers[c]->warm_accesses,
               workers[c]->writes - workers[c]->warm_writes, workers[c]->cycles, tsc_khz(),
               workers[c]->warm_accesses);
    }
    print_hist("access", all);
}

static void set_up(void)
{
    uint64_t size = cmdline_u64("size", 8);

    ms = cmdline_u64("ms", 100);
    warm_ms = cmdline_u64("warm_ms", 20);
    rest_ms = cmdline_u64("rest_ms", 0);
    reads = cmdline_u64("reads", 50);
    active = cmdline_u64("active", ncpus);
    rate = cmdline_u64("rate", 0);
    naps_allowed = rate != 0;
    steal = cmdline_u64("steal", 0) != 0;
    broken = cmdline_has("break");
    CHECK(size >= 1 && size <= 1024, "size is 1 to 1024");
    CHECK(ms <= 60000 && warm_ms <= 60000, "ms and warm_ms are at most 60000");
    CHECK(rest_ms <= 10000, "rest_ms is at most 10000");
    CHECK(reads <= 100, "reads is at most 100");
    CHECK(active >= 1 && active <= ncpus, "active is 1 to %u here", ncpus);
    CHECK(rate <= 1000000, "rate is at most 1000000");
    pages = size * 256;
    shared = reads == 100 ? pages : pages / 2;
    set = arena(pages * PAGE);
    for (unsigned c = 0; c < ncpus; c++)
        workers[c] = arena(sizeof(*workers[c]));
}

void guest_main(unsigned cpu)
{
    if (cpu == 0)
        set_up();
    barrier();
    memset(workers[cpu], 0, sizeof(*workers[cpu]));
    fill(cpu);
    barrier();
    if (place(cpu) < active)
        work(cpu, warm_ms, false);
    gather(cpu, 1);
    rest(cpu, "begins");
    gather(cpu, 2);
    if (place(cpu) < active)
        work(cpu, ms, true);
    gather(cpu, 3);
    rest(cpu, "ends");
    gather(cpu, 4);
    if (cpu == 0) {
        verify();
        tell();
    }
}
