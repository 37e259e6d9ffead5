# SPDX-License-Identifier: BSD-3-Clause
"""Tries what the AF_XDP fabric needs of the kernel: an XDP program that takes frames of several buffers is
loaded, and an AF_XDP socket that takes such frames (XDP_USE_SG) is bound to the loopback device. Nothing is
attached, and all of it ends with the descriptors."""
import ctypes
import mmap
import os
import platform
import socket
import struct

NEW_KERNEL = "Linux 6.6 or later with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS; until then fabric af_packet"
ROOT = "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW"
SYS_BPF = {"x86_64": 321, "aarch64": 280}
BPF_PROG_LOAD, BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS = 5, 6, 1 << 5
AF_XDP, SOL_XDP = 44, 283
XDP_RX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING = 2, 4, 5, 6
XDP_COPY, XDP_USE_SG = 1 << 1, 1 << 4
PAGE, PAGES = 4096, 16
libc = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """What does not work; the second argument is the remedy."""


def fail(what, error):
    raise Missing(f"{what}: {os.strerror(error)}", ROOT if error == 1 else NEW_KERNEL)


def load_program():
    """r0 = XDP_PASS; exit."""
    program = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"BSD-3-Clause")
    attributes = struct.pack("<IIQQIIQII", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(program),
                             ctypes.addressof(licence), 0, 0, 0, 0, BPF_F_XDP_HAS_FRAGS)
    number = SYS_BPF.get(platform.machine())
    if number is None:
        raise Missing(f"XDP is not known on {platform.machine()}", "an x86_64 host")
    fd = libc.syscall(number, BPF_PROG_LOAD, attributes + bytes(64), len(attributes) + 64)
    if fd < 0:
        fail("an XDP program that takes frames of several buffers", ctypes.get_errno())
    os.close(fd)


def bind_socket():
    memory = mmap.mmap(-1, PAGES * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    try:
        with socket.socket(AF_XDP, socket.SOCK_RAW) as s:
            s.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("<QQIIII", start, PAGES * PAGE, PAGE, 0, 0, 0))
            for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING):
                s.setsockopt(SOL_XDP, ring, struct.pack("<i", PAGES))
            address = struct.pack("<HHIII", AF_XDP, XDP_COPY | XDP_USE_SG, socket.if_nametoindex("lo"), 0, 0)
            if libc.bind(s.fileno(), address, len(address)) != 0:
                fail("an AF_XDP socket for frames of several buffers (XDP_USE_SG)", ctypes.get_errno())
    except OSError as e:
        fail("an AF_XDP socket", e.errno)


def run():
    """What was found, in words; Missing if the fabric cannot work here."""
    load_program()
    bind_socket()
    types = "" if os.path.exists("/sys/kernel/btf/vmlinux") else "; no BTF, which bpftool's dumps of maps would like"
    return "AF_XDP with frames of several buffers" + types
