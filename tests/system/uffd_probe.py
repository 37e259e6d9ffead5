# SPDX-License-Identifier: BSD-3-Clause
"""Tries, on a scratch mapping, every userfaultfd operation that guest memory needs (design: minor
faults on shared memory resolved read-only or writable, write-protect faults, a page taken away
again)."""
import ctypes
import errno
import fcntl
import mmap
import os
import struct
import threading

SYS_USERFAULTFD = 323  # x86_64
NEW_KERNEL = (
    "a kernel of 6.8 or later: on Debian 12, apt-get install linux-image-6.12-amd64, then reboot"
)
USERFAULTFD_IOC_NEW, UFFDIO_API = 0xAA00, 0xC018AA3F
UFFDIO_REGISTER, UFFDIO_CONTINUE, UFFDIO_WRITEPROTECT = 0xC020AA00, 0xC020AA07, 0xC018AA06
FEATURES = {
    "PAGEFAULT_FLAG_WP": 1 << 0,
    "MISSING_SHMEM": 1 << 5,
    "MINOR_SHMEM": 1 << 10,
    "WP_HUGETLBFS_SHMEM": 1 << 12,
}
FLAG_WRITE, FLAG_WP, FLAG_MINOR = 1, 2, 4
PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)


class Missing(Exception):
    """What does not work; the second argument is the remedy."""


def open_uffd():
    """A descriptor that also takes faults of the kernel, from whichever of the two sources allows
    it.
    """
    fd = libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd >= 0:
        return fd, "syscall"
    first = os.strerror(ctypes.get_errno())
    try:
        device = os.open("/dev/userfaultfd", os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        raise Missing(
            f"userfaultfd: {first}; /dev/userfaultfd: {e.strerror}",
            "run as root, or give access to /dev/userfaultfd (chmod), or CAP_SYS_PTRACE",
        ) from e
    try:
        return (
            fcntl.ioctl(device, USERFAULTFD_IOC_NEW, os.O_CLOEXEC | os.O_NONBLOCK),
            "/dev/userfaultfd",
        )
    finally:
        os.close(device)


def require_features(fd):
    offered = struct.unpack("QQQ", fcntl.ioctl(fd, UFFDIO_API, struct.pack("QQQ", 0xAA, 0, 0)))[1]
    lacking = [name for name, bit in FEATURES.items() if not offered & bit]
    if lacking:
        raise Missing(f"userfaultfd lacks {', '.join(lacking)}", NEW_KERNEL)


def ioctl(fd, request, data, what):
    try:
        return fcntl.ioctl(fd, request, data)
    except OSError as e:
        raise Missing(f"{what}: {errno.errorcode.get(e.errno, e.errno)}", NEW_KERNEL) from e


def fault(fd, touch, want, what):
    """Lets a thread touch the page and waits for the message; returns the blocked thread."""
    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    for _ in range(2000):
        try:
            event, flags = struct.unpack_from("B7xQ", os.read(fd, 32))
            break
        except BlockingIOError:
            thread.join(0.001)
    else:
        raise Missing(f"{what}: no fault was reported within 2 s", NEW_KERNEL)
    if event != 0x12 or flags & (FLAG_WP | FLAG_MINOR) != want:
        raise Missing(
            f"{what}: event {event:#x} with flags {flags:#x} instead of {want:#x}", NEW_KERNEL
        )
    return thread


def finish(thread, what):
    thread.join(2)
    if thread.is_alive():
        raise Missing(f"{what}: the thread that had the fault was not woken", NEW_KERNEL)


def run():
    """Raises Missing, or returns a sentence."""
    fd, source = open_uffd()
    require_features(fd)
    os.close(fd)  # UFFDIO_API is once a descriptor
    fd, source = open_uffd()
    ioctl(
        fd,
        UFFDIO_API,
        struct.pack("QQQ", 0xAA, sum(FEATURES.values()), 0),
        "UFFDIO_API with these features",
    )

    memory = os.memfd_create("pando-probe", os.MFD_CLOEXEC)
    os.ftruncate(memory, PAGE)
    alias = mmap.mmap(memory, PAGE)
    alias[0] = 7
    at = libc.mmap(None, PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, memory, 0)
    reply = ioctl(
        fd,
        UFFDIO_REGISTER,
        struct.pack("QQQQ", at, PAGE, 1 | 2 | 4, 0),
        "UFFDIO_REGISTER (MISSING, WP and MINOR on a memfd)",
    )
    if not struct.unpack("QQQQ", reply)[3] & (1 << 7):
        raise Missing("UFFDIO_CONTINUE is not offered for a memfd", NEW_KERNEL)
    seven = ctypes.create_string_buffer(b"\x07")

    # Shared: read fault, mapped read-only. Then upgrade: write fault, protection taken off.
    t = fault(fd, lambda: libc.memcmp(at, seven, 1), FLAG_MINOR, "read fault on a present page")
    ioctl(
        fd,
        UFFDIO_CONTINUE,
        struct.pack("QQQq", at, PAGE, 2, 0),
        "UFFDIO_CONTINUE with write-protect mode",
    )
    finish(t, "UFFDIO_CONTINUE")
    t = fault(fd, lambda: libc.memset(at, 9, 1), FLAG_WP, "write fault on a read-only page")
    ioctl(fd, UFFDIO_WRITEPROTECT, struct.pack("QQQ", at, PAGE, 0), "UFFDIO_WRITEPROTECT, off")
    finish(t, "UFFDIO_WRITEPROTECT")
    if alias[0] != 9:
        raise Missing("a write through the registered mapping is not seen in the memfd", NEW_KERNEL)

    # Modified to Shared, to Invalid, and mapped again, writable.
    ioctl(fd, UFFDIO_WRITEPROTECT, struct.pack("QQQ", at, PAGE, 1), "UFFDIO_WRITEPROTECT, on")
    t = fault(fd, lambda: libc.memset(at, 10, 1), FLAG_WP, "write fault after protecting")
    if libc.madvise(at, PAGE, mmap.MADV_DONTNEED):
        raise Missing("madvise(MADV_DONTNEED): " + os.strerror(ctypes.get_errno()), NEW_KERNEL)
    ioctl(fd, UFFDIO_CONTINUE, struct.pack("QQQq", at, PAGE, 0, 0), "UFFDIO_CONTINUE, writable")
    finish(t, "UFFDIO_CONTINUE after MADV_DONTNEED")
    if alias[0] != 10:
        raise Missing("a write after a page was taken away and mapped again is lost", NEW_KERNEL)
    os.close(fd)
    return f"faults, upgrade, protect, unmap: each tried on a scratch mapping (by {source})"
