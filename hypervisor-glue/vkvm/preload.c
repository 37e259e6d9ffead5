/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libpando-kvm.so: the libc calls through which a VMM reaches /dev/kvm. Only descriptors that
 * descend from /dev/kvm are looked at, and only with PANDO_SOCKET set: the library also ends up in
 * shells and helpers of the VMM. mmap is not among them: a local vCPU's descriptor is the real one,
 * a proxy's a memfd.
 */
/* With 64-bit file offsets libc renames open to open64 here; both names are ours to define. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor-glue/vkvm/vkvm.h"

#define EXPORT __attribute__((visibility("default")))

enum fd_kind { FD_OTHER, FD_SYSTEM, FD_VM, FD_VCPU };
enum { FDS_MAX = 65536 };

static struct {
    _Atomic uint8_t kind;
    void *object;
} fds[FDS_MAX];

static enum fd_kind kind_of(int fd)
{
    if (fd < 0 || fd >= FDS_MAX)
        return FD_OTHER;
    return atomic_load_explicit(&fds[fd].kind, memory_order_acquire);
}

static int enter(int fd, enum fd_kind kind, void *object)
{
    if (fd < 0 || fd >= FDS_MAX)
        return fd;
    fds[fd].object = object;
    atomic_store_explicit(&fds[fd].kind, (uint8_t)kind, memory_order_release);
    return fd;
}

static int answer(int rc)
{
    if (rc >= 0)
        return rc;
    errno = -rc;
    return -1;
}

static int dispatch(enum fd_kind kind, int fd, uint32_t nr, uintptr_t arg)
{
    struct vm *vm = NULL;
    switch (kind) {
    case FD_SYSTEM: {
        int rc = system_ioctl(fd, nr, arg, &vm);
        return vm != NULL ? enter(rc, FD_VM, vm) : rc;
    }
    case FD_VM: {
        int rc = vm_ioctl(fds[fd].object, nr, arg);
        if (nr == (uint32_t)KVM_CREATE_VCPU && rc >= 0)
            enter(rc, FD_VCPU, ((struct vm *)fds[fd].object)->vcpu[arg]);
        return rc;
    }
    default:
        return vcpu_ioctl(fds[fd].object, nr, arg);
    }
}

/* Numbers arrive sign-extended where a VMM keeps them in an int. */
EXPORT int ioctl(int fd, unsigned long nr, ...)
{
    va_list args;
    va_start(args, nr);
    uintptr_t arg = va_arg(args, uintptr_t);
    va_end(args);
    enum fd_kind kind = kind_of(fd);
    if (kind == FD_OTHER)
        return (int)syscall(SYS_ioctl, (long)fd, nr, arg);
    int saved = errno;
    int rc = answer(dispatch(kind, fd, (uint32_t)nr, arg));
    if (rc >= 0)
        errno = saved;
    return rc;
}

static int opened(int fd, const char *path)
{
    if (fd >= 0 && path != NULL && strcmp(path, "/dev/kvm") == 0 && getenv("PANDO_SOCKET") != NULL)
        enter(fd, FD_SYSTEM, NULL);
    return fd;
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    return opened((int)syscall(SYS_openat, (long)dir, path, (long)flags, (long)mode), path);
}

#define MODE_ARG(flags, mode)                                                                      \
    mode_t mode = 0;                                                                               \
    if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) {                              \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = (mode_t)va_arg(args, int);                                                          \
        va_end(args);                                                                              \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE_ARG(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE_ARG(flags, mode)
    return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    MODE_ARG(flags, mode)
    return open_at(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
    MODE_ARG(flags, mode)
    return open_at(dir, path, flags | O_LARGEFILE, mode);
}

/* What open becomes under _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

/* The VM and its vCPUs stay until the process ends, as KVM's would while anything refers to them.
 */
EXPORT int close(int fd)
{
    if (kind_of(fd) != FD_OTHER) {
        fds[fd].object = NULL;
        atomic_store_explicit(&fds[fd].kind, FD_OTHER, memory_order_release);
    }
    return raw_close(fd);
}
