/* SPDX-License-Identifier: BSD-3-Clause */
/* One thread a CPU: atomic counters, a lock, rings from CPU to CPU, a blocked matrix product. Each
 * ends with a result that has one right value. */
#include "lib.h"

#include <stdio.h>

enum { RING_SLOTS = 64, ORDER = 96, BLOCK = 16, BLOCKS = (ORDER / BLOCK) * (ORDER / BLOCK) };

static struct barrier barrier;
static uint64_t work[MAX_CPUS][4]; /* by CPU and part; written at the end of each part */
static uint64_t part_ns[4], total;
static struct budget budget;

static struct {
    OWN_PAGE uint64_t all;              /* every CPU adds to this */
    OWN_PAGE uint64_t packed[MAX_CPUS]; /* each to its own, on shared lines */
} count;

/* Looks at the time now and then only: the clock may be a slow device. */
static bool more(unsigned done, unsigned every)
{
    return done % every ? done < opt.rounds : budget_left(&budget, done);
}

static void part_atomic(unsigned i)
{
    unsigned r;

    for (r = 0; more(r, 256); r++) {
        if (r == 3 && i == ncpus - 1 && broken("atomic"))
            continue;
        __atomic_add_fetch(&count.all, r + 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&count.packed[i], 1, __ATOMIC_RELAXED);
    }
    work[i][0] = r;
}

static void check_atomic(void)
{
    uint64_t want = 0;

    for (unsigned i = 0; i < ncpus; i++)
        want += work[i][0] * (work[i][0] + 1) / 2;
    if (count.all != want)
        die("the counter of all CPUs is %lu, not %lu", count.all, want);
    for (unsigned i = 0; i < ncpus; i++)
        if (count.packed[i] != work[i][0])
            die("the counter of CPU %d is %lu, not %lu", cpu_list[i], count.packed[i], work[i][0]);
}

static struct {
    OWN_PAGE uint32_t next;
    OWN_LINE uint32_t serving; /* a ticket lock; it protects what follows, on three pages */
    OWN_PAGE uint64_t sum;
    OWN_PAGE uint64_t holders;
    OWN_PAGE uint32_t last[2];
} locked;

static void part_lock(unsigned i)
{
    unsigned r;

    for (r = 0; more(r, 8); r++) {
        uint32_t ticket = __atomic_fetch_add(&locked.next, 1, __ATOMIC_RELAXED);

        SPIN_UNTIL(LOAD(locked.serving) == ticket, "the lock");
        if (locked.sum != locked.holders * 3 || locked.last[0] != locked.last[1] ||
            locked.holders != ticket)
            die("under the lock, turn %u of CPU %d: sum %lu, holders %lu, last %u and %u", ticket,
                cpu_list[i], locked.sum, locked.holders, locked.last[0], locked.last[1]);
        locked.sum += 3;
        locked.last[0] = i;
        if (!(r == 3 && i == 0 && broken("lock")))
            locked.holders++;
        locked.last[1] = i;
        STORE(locked.serving, ticket + 1);
    }
    work[i][1] = r;
}

static void check_lock(void)
{
    uint64_t want = 0;

    for (unsigned i = 0; i < ncpus; i++)
        want += work[i][1];
    if (locked.holders != want)
        die("the lock was held %lu times, not %lu", locked.holders, want);
}

/* From the CPU of the same index to the next one; a producer's and a consumer's page. */
static struct ring {
    OWN_PAGE uint32_t tail;
    uint64_t slot[RING_SLOTS];
    OWN_PAGE uint32_t head;
} rings[MAX_CPUS];

static uint64_t message(unsigned from, uint32_t n)
{
    uint64_t x = ((uint64_t)(from + 1) << 32 | n) + 1;

    return random_next(&x);
}

/* Sends while there is room and time; the last message is 0. */
static bool ring_send(struct ring *out, unsigned i, uint32_t *sent)
{
    while (*sent - LOAD(out->head) < RING_SLOTS) {
        bool last = !more(*sent, 16);
        uint64_t x = last ? 0 : message(i, *sent);

        if (*sent == 3 && i == 0 && broken("ring"))
            x ^= 1ull << 40;
        out->slot[*sent % RING_SLOTS] = x;
        STORE(out->tail, ++*sent);
        if (last)
            return true;
    }
    return false;
}

static void part_ring(unsigned i)
{
    unsigned from = (i + ncpus - 1) % ncpus;
    struct ring *out = &rings[i], *in = &rings[from];
    uint32_t sent = 0, got = 0;
    bool sent_all = false, got_all = false;
    struct spin s = {0};

    while (!sent_all || !got_all) {
        sent_all = sent_all || ring_send(out, i, &sent);
        if (LOAD(in->tail) == got) {
            spin_once(&s, "a message in a ring");
            continue;
        }
        s = (struct spin){0};
        while (!got_all && LOAD(in->tail) != got) {
            uint64_t x = in->slot[got % RING_SLOTS];

            got_all = x == 0;
            if (!got_all && x != message(from, got))
                die("message %u from CPU %d to %d is %lx, not %lx", got, cpu_list[from],
                    cpu_list[i], x, message(from, got));
            STORE(in->head, ++got);
        }
    }
    work[i][2] = got - 1;
}

static struct {
    OWN_PAGE uint64_t a[ORDER][ORDER], b[ORDER][ORDER];
    OWN_PAGE uint64_t c[ORDER][ORDER];
    OWN_PAGE uint32_t next_block;
} matrix;

static void matrix_fill(void)
{
    uint64_t x = 88172645463325252u;

    for (unsigned r = 0; r < ORDER; r++)
        for (unsigned k = 0; k < ORDER; k++) {
            matrix.a[r][k] = random_next(&x);
            matrix.b[r][k] = random_next(&x);
        }
}

/* Blocks are taken one by one, so that neighbours are computed by different CPUs. */
static void part_matrix(unsigned i)
{
    uint32_t block;

    while ((block = __atomic_fetch_add(&matrix.next_block, 1, __ATOMIC_RELAXED)) < BLOCKS) {
        unsigned r0 = block / (ORDER / BLOCK) * BLOCK, c0 = block % (ORDER / BLOCK) * BLOCK;

        for (unsigned r = r0; r < r0 + BLOCK; r++)
            for (unsigned c = c0; c < c0 + BLOCK; c++) {
                uint64_t sum = 0;

                for (unsigned k = 0; k < ORDER; k++)
                    sum += matrix.a[r][k] * matrix.b[k][c];
                matrix.c[r][c] = sum;
            }
        if (block == BLOCKS / 2 && broken("matrix"))
            matrix.c[r0][c0]++;
        work[i][3]++;
    }
}

/* C v = A (B v), exactly, modulo 2^64, for a random vector v. */
static void check_matrix(void)
{
    uint64_t v[ORDER], bv[ORDER], x = 1234567;

    for (unsigned k = 0; k < ORDER; k++)
        v[k] = random_next(&x) | 1;
    for (unsigned r = 0; r < ORDER; r++) {
        bv[r] = 0;
        for (unsigned k = 0; k < ORDER; k++)
            bv[r] += matrix.b[r][k] * v[k];
    }
    for (unsigned r = 0; r < ORDER; r++) {
        uint64_t left = 0, right = 0;

        for (unsigned k = 0; k < ORDER; k++) {
            left += matrix.c[r][k] * v[k];
            right += matrix.a[r][k] * bv[k];
        }
        if (left != right)
            die("row %u of the matrix product is wrong", r);
    }
}

static const struct {
    const char *name;
    void (*run)(unsigned i);
    void (*check)(void);
} parts[] = {
    {"atomic adds", part_atomic, check_atomic},
    {"lock turns", part_lock, check_lock},
    {"ring messages", part_ring, NULL},
    {"matrix blocks", part_matrix, check_matrix},
};

/* As each part ends: over emulated hosts one takes minutes. */
static uint64_t tell(unsigned p)
{
    uint64_t ops = 0;

    printf("threads: %-13s by CPU:", parts[p].name);
    for (unsigned i = 0; i < ncpus; i++) {
        printf(" %lu", work[i][p]);
        ops += work[i][p];
    }
    printf("; %.0f a second\n", (double)ops * 1e9 / (double)(part_ns[p] + 1));
    fflush(stdout);
    return ops;
}

static void thread(unsigned i)
{
    for (unsigned p = 0; p < 4; p++) {
        uint64_t start;

        if (i == 0)
            budget = budget_start(opt.seconds * 1000000000ull, 16);
        barrier_wait(&barrier, ncpus);
        start = now_ns();
        parts[p].run(i);
        barrier_wait(&barrier, ncpus);
        if (i == 0) {
            part_ns[p] = now_ns() - start;
            if (parts[p].check)
                parts[p].check();
            total += tell(p);
        }
    }
}

int test_threads(void)
{
    uint64_t ns = 1;

    matrix_fill();
    printf("threads: one on each of %u CPUs\n", ncpus);
    fflush(stdout);
    on_every_cpu(thread);
    for (unsigned p = 0; p < 4; p++)
        ns += part_ns[p];
    summary("%lu operations on %u CPUs verified, %.0f a second", total, ncpus,
            (double)total * 1e9 / (double)ns);
    return 0;
}
