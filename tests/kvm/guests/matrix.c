/* SPDX-License-Identifier: BSD-3-Clause */
/* A parallel matrix product, verified by two other methods: every element again as integers with
 * another loop order by another CPU, and A(Bx) = Cx for random vectors x. With reps= the product is
 * added to C so many times, and verified when all have been. */
#include "lib.h"

const char guest_name[] = "matrix";

#define MAX_N 512u

static double *a, *b, *c;
static unsigned n;
static uint64_t reps;

/* Small integers: all sums are exact in a double (below 2^53, at most n * 999^2 * reps). */
static unsigned element(unsigned which, unsigned i, unsigned j)
{
    return (unsigned)(mix64((uint64_t)which << 40 | (uint64_t)i << 20 | j) % 1000);
}

static void fill(unsigned cpu)
{
    for (unsigned i = cpu; i < n; i += ncpus)
        for (unsigned j = 0; j < n; j++) {
            a[i * n + j] = element(1, i, j);
            b[i * n + j] = element(2, i, j);
            c[i * n + j] = 0;
        }
}

/* Rows in turn: neighbouring rows, often in one page, are written by different CPUs. */
static void multiply(unsigned cpu)
{
    for (unsigned i = cpu; i < n; i += ncpus)
        for (unsigned k = 0; k < n; k++)
            for (unsigned j = 0; j < n; j++)
                c[i * n + j] += a[i * n + k] * b[k * n + j];
}

static void verify_elements(unsigned cpu)
{
    unsigned first = (cpu + 1) % ncpus; /* rows of the next CPU */

    for (unsigned i = first; i < n; i += ncpus)
        for (unsigned j = 0; j < n; j++) {
            uint64_t sum = 0;

            for (unsigned k = 0; k < n; k++)
                sum += (uint64_t)element(1, i, k) * (uint64_t)b[k * n + j];
            sum *= reps;
            CHECK((uint64_t)c[i * n + j] == sum, "element %u,%u is %lu, not %lu", i, j,
                  (uint64_t)c[i * n + j], sum);
        }
}

static void verify_vector(unsigned cpu)
{
    static uint64_t x[MAX_CPUS][MAX_N] PAGE_ALIGNED, bx[MAX_CPUS][MAX_N] PAGE_ALIGNED;

    for (unsigned i = 0; i < n; i++)
        x[cpu][i] = mix64(i + 1000000ull * cpu) >> 40;
    for (unsigned i = 0; i < n; i++) {
        bx[cpu][i] = 0;
        for (unsigned j = 0; j < n; j++)
            bx[cpu][i] += element(2, i, j) * x[cpu][j];
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t left = 0, right = 0;

        for (unsigned j = 0; j < n; j++) {
            left += reps * element(1, i, j) * bx[cpu][j];
            right += (uint64_t)c[i * n + j] * x[cpu][j];
        }
        CHECK(left == right, "row %u: A(Bx) is not Cx", i);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu == 0) {
        n = (unsigned)cmdline_u64("n", 160);
        reps = cmdline_u64("reps", 1);
        CHECK(n >= 1 && n <= MAX_N, "n is 1 to %u", MAX_N);
        CHECK(reps >= 1 && reps <= 1000, "reps is 1 to 1000");
        a = arena((uint64_t)n * n * sizeof(double));
        b = arena((uint64_t)n * n * sizeof(double));
        c = arena((uint64_t)n * n * sizeof(double));
    }
    barrier();
    fill(cpu);
    barrier();
    for (uint64_t rep = 0; rep < reps; rep++) {
        uint64_t start = rdtsc();

        multiply(cpu);
        barrier();
        if (cpu == 0)
            print_kernel(rep, (uint64_t)n * n * n, rdtsc() - start);
        barrier();
    }
    if (cpu == 0 && cmdline_has("break"))
        c[n * n - 1] += 1;
    barrier();
    verify_elements(cpu);
    verify_vector(cpu);
    if (cpu == 0)
        printf("%ux%u product, every element verified\n", n, n);
}
