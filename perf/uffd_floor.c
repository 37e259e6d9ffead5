/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor under every remote fault: what userfaultfd alone costs on this machine, with no
 * protocol and no network. A thread touches pages of a shared memfd; another resolves each fault
 * with the ioctl that the dataplane would use. Two resolvers: one that spins (what a dedicated core
 * gives) and one that yields its core between empty polls (what the dataplane does where cores are
 * short).
 *
 * And what taking a page back costs its owner, a page at a time, while a thread of the same process
 * uses the mapping on another CPU, so that its TLB has to be told: floor/take/wp (write-protect a
 * page that is mapped writable), floor/take/zap (remove it). That thread writes other pages than
 * those that are taken.
 *
 * usage: uffd_floor [ROUNDS]. Prints one JSON object a line, as perf/result.h says, and the median
 * of each round: "round_p50".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/hist.h"
#include "perf/result.h"

#ifndef UFFDIO_CONTINUE_MODE_WP /* linux/userfaultfd.h of 6.5 and later */
#define UFFDIO_CONTINUE_MODE_WP (UINT64_C(1) << 1)
#endif

enum { PAGES = 2048, PAGE = 4096, ROUNDS_MAX = 1000 };

enum kind { KIND_MODIFIED, KIND_SHARED, KIND_UPGRADE, KINDS };
static const char *const kind_name[KINDS] = {"minor_modified", "minor_shared", "wp_upgrade"};

struct floor {
    uint8_t *ram, *alias;
    int uffd;
    enum kind kind;
    bool yield;
    atomic_bool stop;
    struct hist hist, round;
    uint64_t round_p50[ROUNDS_MAX];
    uint32_t rounds;
};

static void die(const char *what)
{
    fprintf(stderr, "uffd_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void set_up(struct floor *f)
{
    int fd = memfd_create("floor", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)PAGES * PAGE) != 0)
        die("memfd");
    f->ram = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    f->alias = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (f->ram == MAP_FAILED || f->alias == MAP_FAILED)
        die("mmap");
    madvise(f->ram, (size_t)PAGES * PAGE, MADV_NOHUGEPAGE);
    memset(f->alias, 1, (size_t)PAGES * PAGE);
    f->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API,
                             .features =
                                 UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                 UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    struct uffdio_register reg = {.range = {(uint64_t)(uintptr_t)f->ram, (uint64_t)PAGES * PAGE},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING |
                                          UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP};
    if (f->uffd < 0 || ioctl(f->uffd, UFFDIO_API, &api) != 0 ||
        ioctl(f->uffd, UFFDIO_REGISTER, &reg) != 0)
        die("userfaultfd (a kernel of 6.8 or later is needed)");
    close(fd);
}

static void cont(struct floor *f, uint64_t addr, uint64_t len, bool shared)
{
    struct uffdio_continue c = {.range = {addr, len}, .mode = shared ? UFFDIO_CONTINUE_MODE_WP : 0};
    if (ioctl(f->uffd, UFFDIO_CONTINUE, &c) != 0 && errno != EEXIST)
        die("UFFDIO_CONTINUE");
}

static void *resolver(void *arg)
{
    struct floor *f = arg;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
        struct uffd_msg m;
        if (read(f->uffd, &m, sizeof(m)) != (ssize_t)sizeof(m)) {
            if (f->yield)
                sched_yield();
            continue;
        }
        uint64_t addr = m.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
        if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
            struct uffdio_writeprotect wp = {.range = {addr, PAGE}, .mode = 0};
            if (ioctl(f->uffd, UFFDIO_WRITEPROTECT, &wp) != 0)
                die("UFFDIO_WRITEPROTECT");
        } else {
            cont(f, addr, PAGE, f->kind == KIND_SHARED);
        }
    }
    return NULL;
}

/* All pages back to what the kind starts from: not mapped, or mapped write-protected. */
static void prepare(struct floor *f)
{
    if (madvise(f->ram, (size_t)PAGES * PAGE, MADV_DONTNEED) != 0)
        die("MADV_DONTNEED");
    if (f->kind == KIND_UPGRADE)
        cont(f, (uint64_t)(uintptr_t)f->ram, (uint64_t)PAGES * PAGE, true);
}

static void begin(struct floor *f)
{
    memset(&f->hist, 0, sizeof(f->hist));
    f->rounds = 0;
    atomic_store(&f->stop, false);
}

/* The first round warms up. */
static void end_round(struct floor *f, uint32_t r)
{
    if (r > 0) {
        f->round_p50[f->rounds++] = hist_quantile(&f->round, 500);
        hist_merge(&f->hist, &f->round);
    }
    memset(&f->round, 0, sizeof(f->round));
}

static void print(const struct floor *f, const char *name)
{
    result_begin(name, &f->hist);
    printf(", \"round_p50\": [");
    for (uint32_t i = 0; i < f->rounds; i++)
        printf("%s%.3f", i ? ", " : "", (double)f->round_p50[i] / 1e3);
    puts("]}");
    fflush(stdout);
}

static void measure(struct floor *f, enum kind kind, bool yield, uint32_t rounds)
{
    pthread_t thread;
    f->kind = kind;
    f->yield = yield;
    begin(f);
    prepare(f);
    if (pthread_create(&thread, NULL, resolver, f) != 0)
        die("pthread_create");
    for (uint32_t r = 0; r <= rounds; r++) {
        prepare(f);
        for (uint32_t i = 0; i < PAGES; i++) {
            volatile uint8_t *p = f->ram + (size_t)i * PAGE;
            uint64_t start = now_ns();
            if (kind == KIND_SHARED)
                (void)*p;
            else
                *p = (uint8_t)r;
            hist_add(&f->round, now_ns() - start);
        }
        end_round(f, r);
    }
    atomic_store(&f->stop, true);
    pthread_join(thread, NULL);
    char name[64];
    snprintf(name, sizeof(name), "floor/uffd_%s/%s", yield ? "yield" : "spin", kind_name[kind]);
    print(f, name);
}

/* The vCPU beside it: its CPU has the address space loaded. Writes the last page, which stays. */
static void *user(void *arg)
{
    struct floor *f = arg;
    volatile uint8_t *p = f->ram + (size_t)(PAGES - 1) * PAGE;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed))
        (*p)++;
    return NULL;
}

static void take(struct floor *f, uint8_t *page, bool zap)
{
    struct uffdio_writeprotect wp = {.range = {(uint64_t)(uintptr_t)page, PAGE},
                                     .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    if (zap ? madvise(page, PAGE, MADV_DONTNEED) : ioctl(f->uffd, UFFDIO_WRITEPROTECT, &wp))
        die(zap ? "MADV_DONTNEED" : "UFFDIO_WRITEPROTECT");
}

static void measure_take(struct floor *f, bool zap, uint32_t rounds)
{
    pthread_t thread;
    begin(f);
    f->kind = KIND_MODIFIED;
    prepare(f);
    cont(f, (uint64_t)(uintptr_t)f->ram, (uint64_t)PAGES * PAGE, false);
    if (pthread_create(&thread, NULL, user, f) != 0)
        die("pthread_create");
    for (uint32_t r = 0; r <= rounds; r++) {
        for (uint32_t i = 0; i < PAGES - 1; i++) {
            uint8_t *p = f->ram + (size_t)i * PAGE;
            take(f, p, true);
            cont(f, (uint64_t)(uintptr_t)p, PAGE, false);
            *(volatile uint8_t *)p = (uint8_t)r; /* mapped, writable, used */
            uint64_t start = now_ns();
            take(f, p, zap);
            hist_add(&f->round, now_ns() - start);
        }
        end_round(f, r);
    }
    atomic_store(&f->stop, true);
    pthread_join(thread, NULL);
    print(f, zap ? "floor/take/zap" : "floor/take/wp");
}

int main(int argc, char **argv)
{
    static struct floor f;
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 3;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: uffd_floor [ROUNDS]   (1..%d rounds of %d faults a kind)\n",
                ROUNDS_MAX, PAGES);
        return 2;
    }
    set_up(&f);
    for (enum kind k = 0; k < KINDS; k++) {
        measure(&f, k, false, rounds);
        measure(&f, k, true, rounds);
    }
    measure_take(&f, false, rounds);
    measure_take(&f, true, rounds);
    return 0;
}
