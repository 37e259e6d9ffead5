/* SPDX-License-Identifier: BSD-3-Clause */
/* A parallel merge sort: verified to be ordered and to be a permutation of its input, in each
 * of reps= repetitions, which have numbers of their own. */
#include "lib.h"

const char guest_name[] = "sort";

static uint64_t *from, *to, count;

struct digest {
    uint64_t sum, xor, mixed;
} PAGE_ALIGNED;

static struct digest before[MAX_CPUS], after[MAX_CPUS];

/* The boundary of chunk i of `parts`; unaligned to pages on purpose. */
static uint64_t bound(uint64_t i, uint64_t parts)
{
    return count * (i < parts ? i : parts) / parts;
}

static void digest_add(struct digest *d, uint64_t v)
{
    d->sum += v;
    d->xor ^= v;
    d->mixed += mix64(v);
}

static void sift_down(uint64_t *v, uint64_t i, uint64_t len)
{
    for (uint64_t child; (child = 2 * i + 1) < len; i = child) {
        if (child + 1 < len && v[child + 1] > v[child])
            child++;
        if (v[i] >= v[child])
            return;
        uint64_t t = v[i];

        v[i] = v[child];
        v[child] = t;
    }
}

static void heap_sort(uint64_t *v, uint64_t len)
{
    for (uint64_t i = len / 2; i-- > 0;)
        sift_down(v, i, len);
    for (uint64_t end = len; end-- > 1;) {
        uint64_t t = v[0];

        v[0] = v[end];
        v[end] = t;
        sift_down(v, 0, end);
    }
}

static void merge(uint64_t lo, uint64_t mid, uint64_t hi)
{
    uint64_t i = lo, j = mid;

    for (uint64_t k = lo; k < hi; k++)
        if (i < mid && (j >= hi || from[i] <= from[j]))
            to[k] = from[i++];
        else
            to[k] = from[j++];
}

static void sort(unsigned cpu)
{
    heap_sort(from + bound(cpu, ncpus), bound(cpu + 1, ncpus) - bound(cpu, ncpus));
    barrier();
    for (unsigned width = 1; width < ncpus; width *= 2) {
        for (unsigned i = cpu; i * 2 * width < ncpus; i += ncpus) {
            uint64_t first = (uint64_t)i * 2 * width;

            merge(bound(first, ncpus), bound(first + width, ncpus),
                  bound(first + 2 * width, ncpus));
        }
        barrier();
        if (cpu == 0) {
            uint64_t *t = from;

            from = to;
            to = t;
        }
        barrier();
    }
}

static void verify(void)
{
    struct digest in = {0}, out = {0};

    for (unsigned c = 0; c < ncpus; c++) {
        in.sum += before[c].sum;
        in.xor ^= before[c].xor ;
        in.mixed += before[c].mixed;
        out.sum += after[c].sum;
        out.xor ^= after[c].xor ;
        out.mixed += after[c].mixed;
    }
    CHECK(in.sum == out.sum && in.xor == out.xor &&in.mixed == out.mixed,
          "the result is not a permutation of the input");
    printf("%lu numbers in order, checksum %lx\n", count, out.mixed);
}

static void sort_once(unsigned cpu, uint64_t rep, bool broken)
{
    uint64_t lo = bound(cpu, ncpus), hi = bound(cpu + 1, ncpus), start;

    for (uint64_t i = lo; i < hi; i++) {
        from[i] = mix64(i + rep * count) >> 20;
        digest_add(&before[cpu], from[i]);
    }
    barrier();
    start = rdtsc();
    sort(cpu);
    if (cpu == 0)
        print_kernel(rep, count, rdtsc() - start);
    if (cpu == 0 && broken)
        from[count / 2] = from[count / 2 + 1];
    barrier();
    for (uint64_t i = lo; i < hi; i++) {
        CHECK(i == 0 || from[i - 1] <= from[i], "not in order at %lu", i);
        digest_add(&after[cpu], from[i]);
    }
    barrier();
}

void guest_main(unsigned cpu)
{
    const uint64_t reps = cmdline_u64("reps", 1);

    if (cpu == 0) {
        count = cmdline_u64("count", 1 << 18);
        CHECK(count >= ncpus, "count is at least the number of vCPUs");
        CHECK(reps >= 1 && reps <= 1000, "reps is 1 to 1000");
        from = arena(count * 8);
        to = arena(count * 8);
    }
    barrier();
    for (uint64_t rep = 0; rep < reps; rep++)
        sort_once(cpu, rep, cmdline_has("break"));
    if (cpu == 0)
        verify();
}
