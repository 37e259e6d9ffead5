/* SPDX-License-Identifier: BSD-3-Clause */
/* A five-point stencil on a torus: each vCPU has a band of rows and reads the rows at the edges of
 * its neighbours' bands. The numbers are integers modulo 2^64, so the result is exact: the first
 * vCPU computes it again alone. Keys: n=rows and columns, sweeps=a repetition, reps. */
#include "lib.h"

const char guest_name[] = "stencil";

#define N_MAX 1024u

static uint64_t *grids[2], *alone[2];
static uint64_t n, sweeps, reps;

static void sweep_rows(const uint64_t *from, uint64_t *to, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        const uint64_t *up = from + (i + n - 1) % n * n, *row = from + i * n,
                       *down = from + (i + 1) % n * n;

        for (uint64_t j = 0; j < n; j++)
            to[i * n + j] = 4 * row[j] + up[j] + down[j] + row[j == 0 ? n - 1 : j - 1] +
                            row[j + 1 == n ? 0 : j + 1];
    }
}

static void fill(uint64_t *grid, uint64_t first, uint64_t end)
{
    for (uint64_t i = first * n; i < end * n; i++)
        grid[i] = mix64(i) >> 8;
}

static void verify(void)
{
    const uint64_t total = sweeps * reps, *result = grids[total % 2];

    if (cmdline_has("break"))
        grids[total % 2][n * n - 1]++;
    fill(alone[0], 0, n);
    for (uint64_t s = 0; s < total; s++)
        sweep_rows(alone[s % 2], alone[1 - s % 2], 0, n);
    for (uint64_t i = 0; i < n * n; i++)
        CHECK(result[i] == alone[total % 2][i], "cell %lu,%lu is %lx, not %lx", i / n, i % n,
              result[i], alone[total % 2][i]);
    printf("%lux%lu cells after %lu sweeps, all verified\n", n, n, total);
}

static void set_up(void)
{
    n = cmdline_u64("n", 128);
    sweeps = cmdline_u64("sweeps", 10);
    reps = cmdline_u64("reps", 1);
    CHECK(n >= 2 && n <= N_MAX && n >= ncpus, "n is 2 to %u, at least the number of vCPUs", N_MAX);
    CHECK(sweeps >= 1 && sweeps <= 1000, "sweeps is 1 to 1000");
    CHECK(reps >= 1 && reps <= 1000, "reps is 1 to 1000");
    for (unsigned i = 0; i < 2; i++) {
        grids[i] = arena(n * n * 8);
        alone[i] = arena(n * n * 8);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu == 0)
        set_up();
    barrier();
    uint64_t first = n * cpu / ncpus, end = n * (cpu + 1) / ncpus, done = 0;

    fill(grids[0], first, end);
    barrier();
    for (uint64_t rep = 0; rep < reps; rep++) {
        uint64_t start = rdtsc();

        for (uint64_t s = 0; s < sweeps; s++, done++) {
            sweep_rows(grids[done % 2], grids[1 - done % 2], first, end);
            barrier();
        }
        if (cpu == 0)
            print_kernel(rep, n * n * sweeps, rdtsc() - start);
        barrier();
    }
    if (cpu == 0)
        verify();
}
