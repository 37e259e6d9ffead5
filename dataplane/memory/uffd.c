/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/memory/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/check.h"

/* Constants newer than Debian 12's headers (linux/userfaultfd.h, 6.4 and 6.5). */
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP (UINT64_C(1) << 1)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

enum { PAGE = 4096, CONTINUE_TRIES = 100000 };

static const struct {
    uint64_t bit;
    const char *name;
} needed[] = {
    {UFFD_FEATURE_MINOR_SHMEM, "MINOR_SHMEM (5.14)"},
    {UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "WP_HUGETLBFS_SHMEM (5.19)"},
    {UFFD_FEATURE_MISSING_SHMEM, "MISSING_SHMEM (4.11)"},
    {UFFD_FEATURE_PAGEFAULT_FLAG_WP, "PAGEFAULT_FLAG_WP (5.7)"},
    {UFFD_FEATURE_THREAD_ID, "THREAD_ID (4.14)"},
};
static const char remedy[] = "remedy: a kernel of 6.8 or later; on Debian 12: apt-get install -t "
                             "bookworm-backports linux-image-amd64 "
                             "(linux-image-6.12-amd64) and reboot";

/* /dev/userfaultfd first: unlike the system call it needs no sysctl and no CAP_SYS_PTRACE for
 * kernel faults. */
static int open_uffd(void)
{
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (dev >= 0) {
        int fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
        int err = errno;
        close(dev);
        if (fd >= 0)
            return fd;
        errno = err;
    }
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static int supported(uint64_t *ret_features)
{
    int fd = open_uffd();
    if (fd < 0)
        return -errno;
    struct uffdio_api api = {.api = UFFD_API};
    int err = ioctl(fd, UFFDIO_API, &api) == 0 ? 0 : -errno;
    close(fd);
    *ret_features = api.features;
    return err;
}

static int open_with_features(char err[UFFD_ERROR_MAX])
{
    uint64_t have = 0, want = 0;
    int rc = supported(&have);
    if (rc != 0) {
        snprintf(err, UFFD_ERROR_MAX,
                 "userfaultfd: %s; remedy: run as root, or give access to /dev/userfaultfd",
                 strerror(-rc));
        return rc;
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if ((have & needed[i].bit) == 0) {
            snprintf(err, UFFD_ERROR_MAX, "this kernel's userfaultfd lacks %s; %s", needed[i].name,
                     remedy);
            return -ENOSYS;
        }
        want |= needed[i].bit;
    }
    int fd = open_uffd();
    struct uffdio_api api = {.api = UFFD_API, .features = want};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0) {
        rc = -errno;
        snprintf(err, UFFD_ERROR_MAX, "userfaultfd: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    return fd;
}

int uffd_open_register(void *addr, size_t len, int *ret_fd, char err[UFFD_ERROR_MAX])
{
    PANDO_CHECK(((uintptr_t)addr | len) % PAGE == 0 && len > 0);
    int fd = open_with_features(err);
    if (fd < 0)
        return fd;
    /* A huge mapping made before registration would be dropped as a whole by the first zap in it.
     */
    madvise(addr, len, MADV_NOHUGEPAGE);
    struct uffdio_register reg = {
        .range = {(uint64_t)(uintptr_t)addr, len},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
    };
    if (ioctl(fd, UFFDIO_REGISTER, &reg) != 0) {
        int rc = -errno;
        snprintf(err, UFFD_ERROR_MAX,
                 "UFFDIO_REGISTER of %zu bytes at %p: %s; guest RAM must be a shared memfd", len,
                 addr, strerror(errno));
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int uffd_read(int fd, struct uffd_fault out[UFFD_BATCH])
{
    struct uffd_msg msg[UFFD_BATCH];
    ssize_t n = read(fd, msg, sizeof(msg));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    int faults = 0;
    for (size_t i = 0; i < (size_t)n / sizeof(msg[0]); i++) {
        if (msg[i].event != UFFD_EVENT_PAGEFAULT)
            continue;
        uint64_t flags = msg[i].arg.pagefault.flags;
        out[faults++] = (struct uffd_fault){
            .address = msg[i].arg.pagefault.address & ~(uint64_t)(PAGE - 1),
            .write = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0,
            .tid = msg[i].arg.pagefault.feat.ptid,
        };
    }
    return faults;
}

int uffd_wake(int fd, uint64_t addr, size_t len)
{
    struct uffdio_range range = {addr, len};
    return ioctl(fd, UFFDIO_WAKE, &range) == 0 ? 0 : -errno;
}

/* WRITEPROTECT also wakes, unless asked not to; EAGAIN means that the mapping is just changing. */
static int write_protect(int fd, uint64_t addr, size_t len, bool on)
{
    struct uffdio_writeprotect wp = {.range = {addr, len},
                                     .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
    for (int i = 0; i < CONTINUE_TRIES; i++) {
        if (ioctl(fd, UFFDIO_WRITEPROTECT, &wp) == 0)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

int uffd_protect(int fd, uint64_t addr, size_t len)
{
    PANDO_CHECK((addr | len) % PAGE == 0);
    return write_protect(fd, addr, len, true);
}

int uffd_unprotect(int fd, uint64_t addr, size_t len)
{
    PANDO_CHECK((addr | len) % PAGE == 0);
    return write_protect(fd, addr, len, false);
}

/* One page that may have an entry already: set its mode, then wake. */
static int map_existing(int fd, uint64_t addr, bool writable)
{
    int rc = write_protect(fd, addr, PAGE, !writable);
    return rc != 0 ? rc : uffd_wake(fd, addr, PAGE);
}

int uffd_map(int fd, uint64_t addr, size_t len, bool writable)
{
    PANDO_CHECK((addr | len) % PAGE == 0);
    for (int i = 0; len > 0 && i < CONTINUE_TRIES; i++) {
        struct uffdio_continue c = {.range = {addr, len},
                                    .mode = writable ? 0 : UFFDIO_CONTINUE_MODE_WP};
        if (ioctl(fd, UFFDIO_CONTINUE, &c) == 0)
            return 0;
        int err = errno;
        if (c.mapped > 0) { /* a part of the range was done */
            addr += (uint64_t)c.mapped;
            len -= (size_t)c.mapped;
            continue;
        }
        if (err == EEXIST) {
            int rc = map_existing(fd, addr, writable);
            if (rc != 0)
                return rc;
            addr += PAGE;
            len -= PAGE;
        } else if (err != EAGAIN && err != EINTR) {
            return -err;
        }
    }
    return len == 0 ? 0 : -EAGAIN;
}

int uffd_probe(char err[UFFD_ERROR_MAX])
{
    int memfd = memfd_create("pando-probe", MFD_CLOEXEC), fd = -1, rc = 0;
    uint8_t *map = MAP_FAILED, *alias = MAP_FAILED;
    if (memfd < 0 || ftruncate(memfd, 2 * PAGE) != 0)
        rc = -errno;
    if (rc == 0) {
        map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        alias = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    }
    if (rc != 0 || map == MAP_FAILED || alias == MAP_FAILED) {
        snprintf(err, UFFD_ERROR_MAX, "memfd: %s", strerror(errno));
        rc = rc != 0 ? rc : -errno;
    } else {
        rc = uffd_open_register(map, 2 * PAGE, &fd, err);
    }
    if (rc == 0) {
        alias[0] = 1;
        rc = uffd_map(fd, (uint64_t)(uintptr_t)map, PAGE, false);
        if (rc != 0)
            snprintf(err, UFFD_ERROR_MAX, "UFFDIO_CONTINUE with write protection: %s; %s",
                     strerror(-rc), remedy);
    }
    if (fd >= 0)
        close(fd);
    if (map != MAP_FAILED)
        munmap(map, 2 * PAGE);
    if (alias != MAP_FAILED)
        munmap(alias, 2 * PAGE);
    if (memfd >= 0)
        close(memfd);
    return rc;
}
