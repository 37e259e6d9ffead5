/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk: threads on different CPUs write blocks that say what they are, half of them past the page
 * cache; another CPU reads each back, the other way, and compares every byte. The first MiB belongs
 * to the host: a pattern by which the guest sees what the host wrote. */
#include "lib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, MIB = 1024 * 1024, PATTERN_BYTES = MIB };

static int buffered = -1, direct = -1;
static struct barrier barrier;
static unsigned chunks;

static void fill(char *data, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i += 8) {
        memcpy(data + i, &seed, 8);
        random_next(&seed);
    }
}

static uint64_t seed_of(unsigned round, unsigned chunk)
{
    return ((uint64_t)(round + 1) << 32 | chunk) * 0x9e3779b97f4a7c15u | 1;
}

static off_t offset_of(unsigned chunk)
{
    return PATTERN_BYTES + (off_t)chunk * CHUNK;
}

static void *buffer(void)
{
    void *p = aligned_alloc(PAGE, CHUNK);

    if (!p)
        die("no memory");
    return p;
}

static void write_chunks(unsigned i, unsigned round)
{
    char *data = buffer();

    for (unsigned c = i; c < chunks; c += ncpus) {
        int fd = (c / ncpus + round) & 1 ? direct : buffered;

        fill(data, CHUNK, seed_of(round, c));
        if (c == chunks / 2 && broken("block"))
            data[CHUNK / 3] ^= 4;
        if (pwrite(fd, data, CHUNK, offset_of(c)) != CHUNK)
            die("writing chunk %u from CPU %d: %s", c, cpu_list[i], strerror(errno));
    }
    if (fsync(buffered) != 0)
        die("fsync on CPU %d: %s", cpu_list[i], strerror(errno));
    free(data);
}

static void read_chunks(unsigned i, unsigned round)
{
    char *data = buffer(), *want = buffer();

    for (unsigned c = (i + 1) % ncpus; c < chunks; c += ncpus) {
        int fd = (c / ncpus + round) & 1 ? buffered : direct;

        if (pread(fd, data, CHUNK, offset_of(c)) != CHUNK)
            die("reading chunk %u on CPU %d: %s", c, cpu_list[i], strerror(errno));
        fill(want, CHUNK, seed_of(round, c));
        for (unsigned k = 0; k < CHUNK; k += 8)
            if (memcmp(data + k, want + k, 8) != 0)
                die("round %u, chunk %u, byte %u: written by CPU %d, read wrongly by CPU %d", round,
                    c, k, cpu_list[c % ncpus], cpu_list[i]);
    }
    free(data);
    free(want);
}

static void drop_caches(void)
{
    int fd = opt.drop ? open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC) : -1;

    if (opt.drop && (fd < 0 || write(fd, "3\n", 2) != 2))
        die("the page cache cannot be dropped: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    posix_fadvise(buffered, 0, 0, POSIX_FADV_DONTNEED);
}

static void thread(unsigned i)
{
    for (unsigned round = 0; round < opt.rounds; round++) {
        write_chunks(i, round);
        barrier_wait(&barrier, ncpus);
        if (i == 0)
            drop_caches();
        barrier_wait(&barrier, ncpus);
        read_chunks(i, round);
        barrier_wait(&barrier, ncpus);
    }
}

/* What the host has written; false if there is nothing. */
static bool check_pattern(void)
{
    char *data = buffer(), *want = buffer();
    uint64_t seed = 0;

    for (off_t at = 0; at < PATTERN_BYTES; at += CHUNK) {
        if (pread(direct, data, CHUNK, at) != CHUNK)
            die("reading what the host wrote: %s", strerror(errno));
        if (at == 0)
            memcpy(&seed, data, 8);
        if (seed == 0)
            return false;
        if (at == CHUNK && broken("pattern"))
            data[5] ^= 1;
        for (unsigned k = 0; k < CHUNK; k += 8, random_next(&seed)) {
            memcpy(want + k, &seed, 8);
            if (memcmp(data + k, want + k, 8) != 0)
                die("what the host wrote is wrong at byte %ld", (long)at + k);
        }
    }
    free(data);
    free(want);
    return true;
}

static uint64_t size_of(int fd)
{
    struct stat s;
    uint64_t size = 0;

    if (fstat(fd, &s) != 0)
        return 0;
    if (S_ISBLK(s.st_mode))
        return ioctl(fd, BLKGETSIZE64, &size) == 0 ? size : 0;
    return (uint64_t)s.st_size;
}

int test_disk(void)
{
    const char *path = opt.path ? opt.path : "/dev/vda";
    uint64_t size, room;
    bool pattern;

    buffered = open(path, O_RDWR | O_CLOEXEC);
    direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (buffered < 0 || direct < 0)
        die("%s: %s", path, strerror(errno));
    size = size_of(buffered);
    room = size > PATTERN_BYTES ? size - PATTERN_BYTES : 0;
    if (room > (uint64_t)opt.mib * MIB)
        room = (uint64_t)opt.mib * MIB;
    chunks = (unsigned)(room / CHUNK);
    if (chunks < ncpus)
        die("%s has %lu bytes: too few for the pattern and a chunk a CPU", path, size);
    pattern = check_pattern();
    on_every_cpu(thread);
    summary("%u MiB written and read %u times on %u CPUs; the host's pattern is %s",
            (unsigned)(room / MIB), opt.rounds, ncpus, pattern ? "right" : "not there");
    return 0;
}
