/* SPDX-License-Identifier: BSD-3-Clause */
/* Litmus tests of the x86 memory model (tests/litmus/shapes.txt), each thread a CPU, the last CPU
 * stirring.
 *
 * Each test runs in two ways, with its variables on pages of their own and on one page. Free:
 * instance after instance, as fast as it goes. Windows: each thread waits 100 to 300 us between its
 * two accesses, while the stirrer reads and writes the same pages; a window counts as moved if an
 * access of the stirrer that took a fault ended in it. Instances begin together by the TSC, so that
 * nothing but the test's own accesses orders them.
 *
 * iters=  free instances of each test and placement     moved=  instances in moved windows of each
 * max_s=  most seconds of windows of each               only=   name of a shape; mode=, place=
 * likewise keep=1  go on after a forbidden outcome               threads=  only tests with so many
 * break=1 one thread's accesses in the opposite order: every shape that can must notice
 *
 * Only tests with as many threads as there are CPUs, or one fewer, are run: the others belong to
 * VMs of their size.
 */
#define LITMUS_IRQ
#include "lib.h"
#include "tests/litmus/litmus.h"

#include "litmus_table.h"

const char guest_name[] = "litmus";

enum {
    TESTS = sizeof(litmus_tests) / sizeof(litmus_tests[0]),
    WINDOWS = 16,
    SLOTS = 4096,    /* instances of a free batch; windows have fewer */
    FREE_STRIDE = 8, /* bytes from an instance to the next */
    WINDOW_STRIDE = 64,
    FREE_IRQ_GROUP = 128, /* instances of one interrupt */
    GROUP = 16,           /* instances of one window */
    STIR_LOG = 400,
    TRACES = 3,
    FAULT_US = 8 /* an access that took longer was a fault */
};

enum way { FREE, WINDOW, TURNED, WAYS };
static const char *const way_names[] = {"free", "window", "turned"};

/* Written by CPU 0 between barriers. */
static struct {
    const struct litmus_test *test;
    bool same; /* both variables on one page */
    enum way way;
    uint64_t start, period, end; /* TSC; of windows; of stirring */
    bool over;
} PAGE_ALIGNED job;

static uint8_t xs[WINDOWS * PAGE] PAGE_ALIGNED, ys[WINDOWS * PAGE] PAGE_ALIGNED;

static struct results {
    struct litmus_seen seen[SLOTS];
    uint64_t gap[WINDOWS][2]; /* begin, end; 0: none */
    uint64_t end[WINDOWS];
} PAGE_ALIGNED results[LITMUS_THREADS];

static struct {
    uint32_t n;
    struct stir {
        uint64_t at; /* when the access ended */
        uint32_t page;
        bool write;
    } log[STIR_LOG];
} PAGE_ALIGNED stirred;

static uint32_t probe_out[MAX_CPUS][PAGE / 4] PAGE_ALIGNED;

/* A CPU's own. */
struct own {
    unsigned cpu;
    uint64_t random, gap, turns; /* gap: cycles, 0: none; turns: interrupts of this batch so far */
    uint64_t irqs;               /* of all batches before */
    uint64_t *stamp;
    struct litmus_thread t;
};

/* Of one test and placement; CPU 0's. */
static struct {
    uint64_t histogram[WAYS][LITMUS_OUTCOMES];
    uint64_t instances[WAYS], moved, forbidden, asked;
    uint32_t traces;
    uint64_t late;
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
    if (o->stamp != NULL) {
        o->stamp[0] = begin;
        o->stamp[1] = now();
    }
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

    return probe_out[o->cpu][instance - t->first];
}

/* ---- a batch: the same for all threads ------------------------------------------------------- */

static uint32_t stride(void)
{
    return job.way == FREE ? FREE_STRIDE : job.same ? 2 * WINDOW_STRIDE : WINDOW_STRIDE;
}

static uint8_t *y_base(void)
{
    return job.same ? xs + stride() / 2 : ys;
}

static uint32_t per_page(void)
{
    return PAGE / stride();
}

static uint32_t group(void)
{
    return job.way != FREE ? GROUP : job.test->irq ? FREE_IRQ_GROUP : 1;
}

/* Turns of a batch, and the first instance of each. */
static uint32_t turns(void)
{
    return job.way == FREE ? SLOTS / group() : job.way == WINDOW ? WINDOWS : 1;
}

static uint32_t turn_first(uint32_t turn)
{
    return job.way == FREE ? turn * group() : turn * per_page();
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
        c->probe_next = job.way == FREE ? group() * stride() : PAGE;
        c->probe_out = probe_out[o->cpu];
    }
}

static void one_turn(struct own *o, uint32_t turn, void (*run)(struct litmus_thread *t))
{
    struct litmus_seen *seen = results[o->cpu].seen;

    o->t.first = turn_first(turn);
    o->t.end = o->t.first + group();
    seen[o->t.first].begin = (uint32_t)(rdtsc() - job.start);
    run(&o->t);
}

static void run_free(struct own *o)
{
    o->gap = 0;
    while (rdtsc() < job.start)
        cpu_pause();
    for (uint32_t turn = 0; turn < turns(); turn++) {
        for (uint64_t spins = draw(o, 32); spins > 0; spins--)
            cpu_pause();
        one_turn(o, turn, job.test->run[o->cpu]);
    }
}

static void run_windows(struct own *o)
{
    for (uint32_t w = 0; w < WINDOWS; w++) {
        uint64_t at = job.start + w * job.period;

        if (rdtsc() < at)
            wait_until_tsc(at + draw(o, us(60)));
        o->gap = us(100) + draw(o, us(200));
        o->stamp = results[o->cpu].gap[w];
        o->stamp[0] = o->stamp[1] = 0;
        one_turn(o, w, job.test->run[o->cpu]);
        results[o->cpu].end[w] = rdtsc();
        o->stamp = NULL;
    }
}

/* What must not look so: one thread's accesses in the opposite order and far from each other, the
 * other threads one after the other between. */
static void run_turned(struct own *o)
{
    static const uint8_t slot_ms[LITMUS_THREADS] = {2, 6, 4, 2};
    bool turned = o->cpu == job.test->turned;

    o->gap = turned ? us(9000) : 0;
    if (!turned)
        wait_until_tsc(job.start + us(slot_ms[o->cpu] * 1000u));
    one_turn(o, 0, turned ? job.test->turn : job.test->run[o->cpu]);
}

/* The pages of the batch, or, of windows, those of the window that is open now. */
static uint32_t stir_page(struct own *o)
{
    uint32_t pages = job.way == FREE ? SLOTS * FREE_STRIDE / PAGE : WINDOWS;
    uint32_t page = (uint32_t)draw(o, pages),
             y = !job.same && job.test->variables > 1 ? WINDOWS : 0;

    if (job.way == WINDOW)
        page = (uint32_t)((rdtsc() - job.start) / job.period);
    return (page < pages ? page : pages - 1) + (draw(o, 2) != 0 ? y : 0);
}

static void run_stirrer(struct own *o)
{
    stirred.n = 0;
    while (rdtsc() < job.end) {
        uint32_t page = stir_page(o);
        uint8_t *at = (page < WINDOWS ? xs : ys) + page % WINDOWS * PAGE + 4 * draw(o, PAGE / 4);
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
        wait_until_tsc(end + draw(o, us(50)));
    }
}

/* ---- what was seen: CPU 0 -------------------------------------------------------------------- */

static long ns(uint64_t tsc, uint64_t zero)
{
    return (long)(tsc - zero) * 1000000 / (long)tsc_khz();
}

static uint64_t begin_of(unsigned thread, uint32_t turn)
{
    return job.start + (uint64_t)(int32_t)results[thread].seen[turn_first(turn)].begin;
}

static void print_thread(const struct litmus_test *test, unsigned thread, uint32_t turn,
                         uint64_t zero)
{
    const struct results *r = &results[thread];

    printf("  thread %u: began at %ld ns", thread, ns(begin_of(thread, turn), zero));
    if (job.way == WINDOW && r->gap[turn][0] != 0)
        printf(", waited from %ld to %ld ns", ns(r->gap[turn][0], zero), ns(r->gap[turn][1], zero));
    if (job.way == WINDOW)
        printf(", ended at %ld ns", ns(r->end[turn], zero));
    for (unsigned k = 0; k < test->items; k++)
        if (test->item[k].name <= 'd' && test->item[k].thread == thread)
            printf(", has %c", test->item[k].name);
    printf("\n");
}

static bool turn_has_page(uint32_t turn, uint32_t page)
{
    return page % WINDOWS == turn_first(turn) / per_page();
}

static void print_trace(uint32_t turn, uint32_t instance, unsigned outcome)
{
    const struct litmus_test *test = job.test;
    uint64_t zero = ~0ull;
    char digits[8];

    printf("FORBIDDEN %s %s %s: %s gave %s, %s, instance %u at %p\n", test->name, test->mode,
           job.same ? "same" : "different", test->text, litmus_digits(test, outcome, digits),
           way_names[job.way], instance, (void *)(xs + instance * stride()));
    for (unsigned t = 0; t < test->threads; t++)
        zero = begin_of(t, turn) < zero ? begin_of(t, turn) : zero;
    for (unsigned t = 0; t < test->threads; t++)
        print_thread(test, t, turn, zero);
    for (uint32_t k = 0; ncpus > test->threads && k < stirred.n; k++) {
        const struct stir *s = &stirred.log[k];

        if (turn_has_page(turn, s->page) && s->at + us(1000) > zero && s->at < zero + us(3000))
            printf("  stirrer: %s %c's page, done at %ld ns\n", s->write ? "wrote" : "read",
                   s->page < WINDOWS ? 'x' : 'y', ns(s->at, zero));
    }
}

static bool turn_moved(uint32_t turn)
{
    for (unsigned t = 0; t < job.test->threads; t++) {
        const uint64_t *gap = results[t].gap[turn];

        for (uint32_t k = 0; gap[0] != 0 && k < stirred.n; k++)
            if (turn_has_page(turn, stirred.log[k].page) && gap[0] < stirred.log[k].at &&
                stirred.log[k].at < gap[1])
                return true;
    }
    return false;
}

static void judge(uint32_t turn, uint32_t instance)
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
        print_trace(turn, instance, outcome);
    }
}

static void evaluate(void)
{
    for (uint32_t turn = 0; turn < turns(); turn++) {
        for (uint32_t k = 0; k < group(); k++)
            judge(turn, turn_first(turn) + k);
        if (job.way == WINDOW && ncpus > job.test->threads && turn_moved(turn))
            sum.moved += group();
    }
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
        run_windows(o);
    } else {
        run_turned(o);
    }
}

/* CPU 0: one batch of all CPUs; the others are in serve(). */
static void do_batch(struct own *o, enum way way)
{
    static uint64_t free_cycles, lead; /* of a batch; until all have passed its barrier */

    job.way = way;
    for (uint32_t turn = 0; turn < turns(); turn++)
        for (uint32_t k = 0; k < group(); k++) {
            uint32_t at = (turn_first(turn) + k) * stride();

            *(volatile uint32_t *)(void *)(xs + at) = 0;
            *(volatile uint32_t *)(void *)(y_base() + at) = 0;
        }
    job.start = rdtsc() + lead;
    job.end = job.start + (way == WINDOW ? WINDOWS * job.period : free_cycles);
    barrier();
    uint64_t begin = rdtsc();

    if (begin < job.start)
        lead -= lead / 16;
    else if (lead < us(10000))
        lead += lead / 4 + us(10);
    batch(o);
    barrier();
    uint64_t end = rdtsc();

    if (way == FREE)
        free_cycles = end - begin < us(20000) ? end - begin : us(20000);
    /* Threads that are late are not where the stirrer is. */
    if (way == WINDOW && end > job.end + job.period && job.period < us(20000))
        job.period += job.period / 4;
    else if (way == WINDOW && end < job.end + job.period && job.period > us(400))
        job.period -= job.period / 16;
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
    uint64_t iters = cmdline_u64("iters", 4000), moved = cmdline_u64("moved", 0), begin = rdtsc();

    memset(&sum, 0, sizeof(sum));
    job.period = us(600);
    while (sum.instances[FREE] < iters)
        do_batch(o, FREE);
    uint64_t middle = rdtsc(), most = us(cmdline_u64("max_s", 60) * 1000000);

    if (ncpus == job.test->threads)
        moved = 0;
    while (sum.moved < moved && rdtsc() - middle < most)
        do_batch(o, WINDOW);
    uint64_t khz = tsc_khz();

    printf(
        "LITMUS %s %s %s instances=%lu windows=%lu moved=%lu asked=%lu forbidden=%lu free_ms=%lu "
        "window_ms=%lu\n",
        job.test->name, job.test->mode, job.same ? "same" : "different", sum.instances[FREE],
        sum.instances[WINDOW], sum.moved, sum.asked, sum.forbidden, (middle - begin) / khz,
        (rdtsc() - middle) / khz);
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
