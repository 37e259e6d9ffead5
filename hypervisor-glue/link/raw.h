/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls past libc's names: the preload interposes those, and the glue's own calls must not
 * come back to it. ioctl answers -errno.
 */
#ifndef PANDO_GLUE_RAW_H
#define PANDO_GLUE_RAW_H

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int raw_ioctl(int fd, unsigned long nr, uintptr_t arg)
{
    long rc = syscall(SYS_ioctl, (long)fd, (long)(nr & 0xFFFFFFFFu), arg);
    return rc < 0 ? -errno : (int)rc;
}

static inline int raw_close(int fd)
{
    return (int)syscall(SYS_close, (long)fd);
}

static inline int raw_munmap(void *addr, size_t len)
{
    return syscall(SYS_munmap, addr, len) == 0 ? 0 : -errno;
}

static inline void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, addr, len, (long)prot, (long)flags, (long)fd, offset);
}

#endif
