/* SPDX-License-Identifier: BSD-3-Clause */
/* Litmus tests of the x86 memory model (tests/litmus/shapes.txt), each thread a CPU, the next CPU
 * stirring. Each test runs in two ways, with its variables on different pages and on one.
 *
 * Free: instance after instance, as fast as it goes, many on a page.
 *
 * Window: each instance has its pages to itself. Threads first load from them, or not, by chance,
 * so that their nodes have copies to lose; then each does its first access in all instances, waits
 * for some milliseconds, and does its second. Meanwhile the stirrer loads from and writes to the
 * pages. An instance is counted as moved if an access of the stirrer to one of its pages, which
 * took so long that it was a fault, ended while a thread waited, and another was at its turn.
 *
 * Threads begin together by the TSC: nothing but the test's own accesses orders them.
 *
 * On the command line:
 *  - iters: free instances of each test; moved: moved instances of each; both are halved for tests
 *    that run in two placements; max_s: most seconds of windows of each;
 *  - only, mode, place, threads: only the tests of this shape, mode, placement, number of threads;
 *  - keep=1: go on after a forbidden outcome;
 *  - break=1: one thread's accesses in the opposite order, which every shape must notice.
 */
#define LITMUS_IRQ
#include "lib.h"
#include "tests/litmus/litmus.h"

#include "litmus_table.h"

const char guest_name[] = "litmus";

enum {
    TESTS = sizeof(litmus_tests) / sizeof(litmus_tests[0]),
    PAGES = 16,           /* of each variable: instances of a window */
    SLOTS = 4096,         /* instances of a free batch */
    FREE_STRIDE = 8,      /* bytes from an instance to the next */
    FREE_IRQ_GROUP = 128, /* instances of one interrupt */
    SAME_OFFSET = 64,     /* of y behind x on one page */
    SPARE = 4092,         /* in a page: what no instance uses */
    STIR_LOG = 500,
    TRACES = 3,
    FAULT_US = 20 /* an access that took longer was a fault */
};

enum way { FREE, WINDOW, TURNED, WAYS };
static const char *const way_names[] = {"free", "window", "turned"};

/* Written by CPU 0 between barriers. */
static struct {
    const struct litmus_test *test;
    bool same; /* both variables on one page */
    enum way way;
    uint64_t start, end; /* TSC: of the threads; of stirring */
    bool over;
} PAGE_ALIGNED job;

static uint8_t xs[PAGES * PAGE] PAGE_ALIGNED, ys[PAGES * PAGE] PAGE_ALIGNED;

static struct results {
    struct litmus_seen seen[SLOTS];
    uint64_t begin, end; /* of a window's turn */
    uint64_t gap[2];     /* of it: begin, end; 0: none */
} PAGE_ALIGNED results[LITMUS_THREADS];

static struct {
    uint32_t n;
    struct stir {
        uint64_t at; /* when the access ended */
        uint32_t page;
        bool write;
    } log[STIR_LOG];
} PAGE_ALIGNED stirred;

static uint32_t probe_out[LITMUS_THREADS][SLOTS] PAGE_ALIGNED;

/* A CPU's own. */
struct own {
    unsigned cpu;
    uint64_t random, gap, turns; /* gap: cycles, 0: none; turns: interrupts of this batch so far */
    uint64_t irqs;               /* of all batches before */
    struct litmus_thread t;
};

/* Of one test and placement; CPU 0's. */
static struct {
    uint64_t histogram[WAYS][LITMUS_OUTCOMES];
    uint64_t instances[WAYS], moved, forbidden, asked, stirs, irqs;
    uint32_t traces;
} PAGE_ALIGNED sum;

static uint64_t total_forbidden PAGE_ALIGNED;

static uint64_t us(uint64_t n)
{
    return tsc_khz() * n / 1000;
}

static uint64_t draw(struct own *o, uint64_t below)
{
    o->random = mix64(o->random);
    return o->random % below;
}

/* The time, when all that was before has happened. */
static uint64_t now(void)
{
    __asm__ volatile("lfence" : : : "memory");
    uint64_t t = rdtsc();

    __asm__ volatile("lfence" : : : "memory");
    return t;
}

static inline void litmus_gap(struct litmus_thread *t)
{
    struct own *o = t->context;

    if (o->gap == 0)
        return;
    uint64_t begin = now();

    wait_until_tsc(begin + o->gap);
    results[o->cpu].gap[0] = begin;
    results[o->cpu].gap[1] = now();
}

static unsigned receiver(void)
{
    return job.test->threads - 1u;
}

static inline void litmus_irq(struct litmus_thread *t)
{
    struct own *o = t->context;

    ipi_send(receiver(), VECTOR_PROBE);
    o->turns++;
    /* Each look takes from the receiver the page that its handler has to write. */
    wait_until_tsc(rdtsc() + us(150));
    WAIT_UNTIL(irq_count(receiver(), VECTOR_PROBE) >= o->irqs + o->turns, "interrupt %lu",
               o->irqs + o->turns);
}

static inline void litmus_handled(struct litmus_thread *t)
{
    struct own *o = t->context;

    o->turns++;
    WAIT_UNTIL(irq_count(o->cpu, VECTOR_PROBE) >= o->irqs + o->turns, "interrupt %lu here",
               o->irqs + o->turns);
}

static inline uint32_t litmus_handler_value(struct litmus_thread *t, uint32_t instance)
{
    struct own *o = t->context;

    return probe_out[o->cpu][instance];
}

/* ---- a batch: the same for all threads ------------------------------------------------------- */

static uint32_t stride(void)
{
    return job.way == FREE ? FREE_STRIDE : PAGE;
}

static uint8_t *y_base(void)
{
    return !job.same ? ys : xs + (job.way == FREE ? FREE_STRIDE / 2 : SAME_OFFSET);
}

/* Instances of a batch, and of a turn. */
static uint32_t slots(void)
{
    return job.way == FREE ? SLOTS : PAGES;
}

static uint32_t group(void)
{
    return job.way != FREE ? PAGES : job.test->irq ? FREE_IRQ_GROUP : 1;
}

static void set_up(struct own *o)
{
    o->t.x = xs;
    o->t.y = y_base();
    o->t.stride = stride();
    o->t.seen = results[o->cpu].seen;
    o->t.context = o;
    o->irqs += o->turns;
    o->turns = 0;
    if (job.test->irq && o->cpu == receiver()) {
        struct cpu *c = this_cpu();

        c->probe_at = (uintptr_t)xs;
        c->probe_n = group();
        c->probe_step = stride();
        c->probe_next = group() * stride();
        c->probe_out = probe_out[o->cpu];
    }
}

static void one_turn(struct own *o, uint32_t first, void (*run)(struct litmus_thread *t))
{
    o->t.first = first;
    o->t.end = first + group();
    results[o->cpu].seen[first].begin = (uint32_t)((rdtsc() - job.start) >> 8);
    run(&o->t);
}

static void run_free(struct own *o)
{
    o->gap = 0;
    while (rdtsc() < job.start)
        cpu_pause();
    for (uint32_t first = 0; first < slots(); first += group()) {
        for (uint64_t spins = draw(o, 32); spins > 0; spins--)
            cpu_pause();
        one_turn(o, first, job.test->run[o->cpu]);
    }
}

static void run_window(struct own *o)
{
    struct results *r = &results[o->cpu];

    for (uint32_t page = 0; page < PAGES; page++) {
        if (draw(o, 2) != 0)
            (void)*(volatile uint32_t *)(void *)(xs + page * PAGE + SPARE);
        if (draw(o, 2) != 0 && !job.same)
            (void)*(volatile uint32_t *)(void *)(ys + page * PAGE + SPARE);
    }
    /* Who has but one access, as the window before showed, comes at any time of the others' wait.
     */
    wait_until_tsc(job.start + draw(o, us(r->gap[0] == 0 ? 6000 : 1000)));
    o->gap = us(2000) + draw(o, us(4000));
    r->gap[0] = r->gap[1] = 0;
    r->begin = rdtsc();
    one_turn(o, 0, job.test->run[o->cpu]);
    r->end = rdtsc();
}

/* What must not look so: one thread's accesses in the opposite order and far from each other, the
 * other threads one after the other between. */
static void run_turned(struct own *o)
{
    static const uint8_t slot_ms[LITMUS_THREADS] = {2, 6, 4, 2};
    bool turned = o->cpu == job.test->turned;

    o->gap = turned ? us(9000) : 0;
    wait_until_tsc(job.start + (turned ? 0 : us(slot_ms[o->cpu] * 1000u)));
    one_turn(o, 0, turned ? job.test->turn : job.test->run[o->cpu]);
}

static void run_stirrer(struct own *o)
{
    uint32_t used = job.way == FREE ? SLOTS * FREE_STRIDE / PAGE : PAGES;

    stirred.n = 0;
    while (rdtsc() < job.end) {
        uint32_t page = (uint32_t)draw(o, used);

        if (!job.same && job.test->variables > 1 && draw(o, 2) != 0)
            page += PAGES;
        uint8_t *at = (page < PAGES ? xs : ys) + page % PAGES * PAGE + 4 * draw(o, PAGE / 4);
        bool write = draw(o, 2) != 0;
        uint64_t begin = now();

        /* Such a write, of whatever there is, changes nothing but who has the page. */
        if (write)
            __asm__ volatile("lock; orl $0, %0"
                             : "+m"(*(volatile uint32_t *)(void *)at)
                             :
                             : "memory");
        else
            (void)*(volatile uint32_t *)(void *)at;
        uint64_t end = now();

        if (end - begin > us(FAULT_US) && stirred.n < STIR_LOG)
            stirred.log[stirred.n++] = (struct stir){end, page, write};
        wait_until_tsc(end + draw(o, us(30)));
    }
}

/* ---- what was seen: CPU 0 -------------------------------------------------------------------- */

static long ns(uint64_t tsc, uint64_t zero)
{
    return (long)(tsc - zero) * 1000000 / (long)tsc_khz();
}

static uint64_t begin_of(unsigned thread, uint32_t instance)
{
    uint32_t first = instance - instance % group();

    return job.start + ((uint64_t)results[thread].seen[first].begin << 8);
}

static void print_thread(const struct litmus_test *test, unsigned thread, uint32_t instance,
                         uint64_t zero)
{
    const struct results *r = &results[thread];

    printf("  thread %u: began at %ld ns", thread, ns(begin_of(thread, instance), zero));
    if (job.way == WINDOW && r->gap[0] != 0)
        printf(", waited from %ld to %ld ns", ns(r->gap[0], zero), ns(r->gap[1], zero));
    if (job.way == WINDOW)
        printf(", ended at %ld ns", ns(r->end, zero));
    for (unsigned k = 0; k < test->items; k++)
        if (test->item[k].name <= 'd' && test->item[k].thread == thread)
            printf(", has %c", test->item[k].name);
    printf("\n");
}

static bool has_page(uint32_t instance, uint32_t page)
{
    return page % PAGES == instance * stride() / PAGE;
}

static void print_trace(uint32_t instance, unsigned outcome)
{
    const struct litmus_test *test = job.test;
    uint64_t zero = ~0ull;
    char digits[8];

    printf("FORBIDDEN %s %s %s: %s gave %s, %s, instance %u at %p\n", test->name, test->mode,
           job.same ? "same" : "different", test->text, litmus_digits(test, outcome, digits),
           way_names[job.way], instance, (void *)(xs + instance * stride()));
    for (unsigned t = 0; t < test->threads; t++)
        zero = begin_of(t, instance) < zero ? begin_of(t, instance) : zero;
    for (unsigned t = 0; t < test->threads; t++)
        print_thread(test, t, instance, zero);
    for (uint32_t k = 0; ncpus > test->threads && k < stirred.n; k++) {
        const struct stir *s = &stirred.log[k];

        if (has_page(instance, s->page) && s->at + us(1000) > zero && s->at < zero + us(10000))
            printf("  stirrer: %s %c's page, done at %ld ns\n", s->write ? "wrote" : "read",
                   s->page < PAGES ? 'x' : 'y', ns(s->at, zero));
    }
}

/* Whether thread t waits at this time, and another is at its turn. A handler runs somewhere in its
 * thread's wait: of tests with interrupts only the senders' count. */
static bool waits(unsigned t, uint64_t at)
{
    const struct results *r = &results[t];
    bool together = false;

    if (r->gap[0] == 0 || at <= r->gap[0] || at >= r->gap[1] || (job.test->irq && t == receiver()))
        return false;
    for (unsigned u = 0; u < job.test->threads; u++)
        together = together || (u != t && results[u].begin < r->end && r->begin < results[u].end);
    return together;
}

static bool moved(uint32_t instance)
{
    for (uint32_t k = 0; k < stirred.n; k++)
        for (unsigned t = 0; has_page(instance, stirred.log[k].page) && t < job.test->threads; t++)
            if (waits(t, stirred.log[k].at))
                return true;
    return false;
}

static void judge(uint32_t instance)
{
    struct litmus_seen *seen[LITMUS_THREADS];

    for (unsigned t = 0; t < LITMUS_THREADS; t++)
        seen[t] = results[t].seen;
    uint32_t x = 0, y = 0;

    if (litmus_sees(job.test, 'x'))
        x = *(volatile uint32_t *)(void *)(xs + instance * stride());
    if (litmus_sees(job.test, 'y'))
        y = *(volatile uint32_t *)(void *)(y_base() + instance * stride());
    unsigned outcome = litmus_outcome(job.test, seen, x, y, instance);

    sum.histogram[job.way][outcome]++;
    sum.instances[job.way]++;
    if (litmus_has(job.test->asked, outcome))
        sum.asked++;
    if (litmus_has(job.test->allowed, outcome))
        return;
    sum.forbidden++;
    if (sum.traces < TRACES && job.way != TURNED) {
        sum.traces++;
        print_trace(instance, outcome);
    }
}

static void evaluate(void)
{
    bool stirs = ncpus > job.test->threads && job.way != TURNED;

    for (uint32_t instance = 0; instance < slots(); instance++) {
        judge(instance);
        sum.moved += job.way == WINDOW && stirs && moved(instance);
    }
    sum.stirs += stirs ? stirred.n : 0;
    sum.irqs += job.test->irq ? slots() / group() : 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

static void batch(struct own *o)
{
    bool threads = o->cpu < job.test->threads;

    if (threads)
        set_up(o);
    if (job.test->irq) /* no interrupt before its receiver is ready */
        barrier();
    if (!threads) {
        if (job.way != TURNED && o->cpu == job.test->threads)
            run_stirrer(o);
    } else if (job.way == FREE) {
        run_free(o);
    } else if (job.way == WINDOW) {
        run_window(o);
    } else {
        run_turned(o);
    }
}

/* CPU 0: one batch of all CPUs; the others are in serve(). */
static void do_batch(struct own *o, enum way way)
{
    static uint64_t lead, took[WAYS]; /* until all have passed the barrier; a batch, without that */

    job.way = way;
    for (uint32_t k = 0; k < slots(); k++) {
        *(volatile uint32_t *)(void *)(xs + k * stride()) = 0;
        *(volatile uint32_t *)(void *)(y_base() + k * stride()) = 0;
    }
    job.start = rdtsc() + lead + (way == WINDOW ? us(2000) : 0);
    job.end = job.start + took[way];
    barrier();
    if (rdtsc() < job.start)
        lead -= lead / 16;
    else if (lead < us(10000))
        lead += lead / 4 + us(10);
    batch(o);
    uint64_t end = rdtsc(), most = us(50000);

    took[way] = end < job.start ? 0 : end - job.start < most ? end - job.start : most;
    barrier();
    evaluate();
}

static void serve(struct own *o)
{
    for (;;) {
        barrier();
        if (job.over)
            return;
        batch(o);
        barrier();
    }
}

static void print_histogram(enum way way)
{
    char digits[8];

    if (sum.instances[way] == 0)
        return;
    printf("LITMUS-%s %s %s %s", way_names[way], job.test->name, job.test->mode,
           job.same ? "same" : "different");
    for (unsigned k = 0; k < LITMUS_OUTCOMES; k++)
        if (sum.histogram[way][k] != 0)
            printf(" %s%s:%lu", litmus_digits(job.test, k, digits),
                   litmus_has(job.test->allowed, k) ? "" : "(forbidden)", sum.histogram[way][k]);
    printf("\n");
}

static void run_test(struct own *o)
{
    uint64_t placements = job.test->variables > 1 ? 2 : 1, begin = rdtsc();
    uint64_t iters = cmdline_u64("iters", 4000) / placements;
    uint64_t moved = cmdline_u64("moved", 0) / placements;

    memset(&sum, 0, sizeof(sum));
    while (sum.instances[FREE] < iters)
        do_batch(o, FREE);
    uint64_t middle = rdtsc(), most = us(cmdline_u64("max_s", 60) * 1000000);

    if (ncpus == job.test->threads)
        moved = 0;
    while (sum.moved < moved && rdtsc() - middle < most)
        do_batch(o, WINDOW);
    uint64_t khz = tsc_khz();

    printf("LITMUS %s %s %s instances=%lu windows=%lu moved=%lu asked=%lu forbidden=%lu irqs=%lu "
           "stirs=%lu free_ms=%lu window_ms=%lu\n",
           job.test->name, job.test->mode, job.same ? "same" : "different", sum.instances[FREE],
           sum.instances[WINDOW], sum.moved, sum.asked, sum.forbidden, sum.irqs, sum.stirs,
           (middle - begin) / khz, (rdtsc() - middle) / khz);
    print_histogram(FREE);
    print_histogram(WINDOW);
    total_forbidden += sum.forbidden;
    if (sum.forbidden != 0 && !cmdline_has("keep"))
        fail("%s %s %s: the forbidden outcome came %lu times", job.test->name, job.test->mode,
             job.same ? "same" : "different", sum.forbidden);
}

/* True if the planted error was noticed. */
static bool run_broken(struct own *o)
{
    memset(&sum, 0, sizeof(sum));
    for (unsigned k = 0; k < 40 && sum.forbidden == 0; k++)
        do_batch(o, TURNED);
    return sum.forbidden != 0;
}

static bool wanted(const struct litmus_test *test, bool same)
{
    if (test->threads > ncpus || (same && test->variables == 1))
        return false;
    if (cmdline_u64("threads", test->threads) != test->threads)
        return false;
    return (!cmdline_has("only") || cmdline_is("only", test->name)) &&
           (!cmdline_has("mode") || cmdline_is("mode", test->mode)) &&
           (!cmdline_has("place") || cmdline_is("place", same ? "same" : "different"));
}

static void run_all(struct own *o)
{
    unsigned ran = 0, missed = 0;
    bool broken = cmdline_has("break");

    for (unsigned n = 0; n < TESTS; n++)
        for (unsigned same = 0; same < 2; same++) {
            const struct litmus_test *test = &litmus_tests[n];

            if (!wanted(test, same != 0) || (broken && test->turn == NULL))
                continue;
            job.test = test;
            job.same = same != 0;
            ran++;
            if (!broken) {
                run_test(o);
            } else if (!run_broken(o)) {
                missed++;
                printf("%s %s: a thread that was turned round was not noticed\n", test->name,
                       test->mode);
            }
        }
    job.over = true;
    barrier();
    CHECK(ran > 0, "no test for %u vCPUs is named so", ncpus);
    if (broken && missed == 0)
        fail("%u tests, a thread of each turned round: all noticed", ran);
    if (total_forbidden != 0)
        fail("%lu forbidden outcomes in %u tests", total_forbidden, ran);
    printf("%u tests\n", ran);
}

void guest_main(unsigned cpu)
{
    struct own own = {.cpu = cpu, .random = mix64(cmdline_u64("seed", 1) * 64 + cpu)};

    if (ncpus == 1) {
        pass_note("1 vCPU: nothing to see");
        return;
    }
    if (cpu == 0)
        run_all(&own);
    else
        serve(&own);
}
