#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Boots the Linux guest under plain QEMU, without Pando: proves the jobs on a machine that is right.

    smoke.py [--cpus N] [--nodes N] [--mem MIB] [--accel tcg|kvm] [--jobs a,b] [--stress] [--words "..."]

Exit status 0 if every job has passed and the kernel had nothing to complain about.
"""
import argparse
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import disk_image
import guest_log
import image
import net_client

ALL_JOBS = "show,threads,clock,ipi,litmus,smc,hotplug,disk,storm,net"
# Short enough for an emulator on a busy machine.
BRIEF = "pando.clock=seconds:3 pando.hotplug=rounds:1"
# Linux takes the TSCs of several of AMD's processors for one clock only if they say that they are, and
# the emulator's do not; Intel's are measured against each other.
TCG_CPU = "max,vendor=GenuineIntel"
# A processor of the emulator is a thread that may have to wait in the middle of a read of the HPET, and
# Linux's watchdog then blames the TSC.
TCG_WORDS = "tsc=nowatchdog"
NET_PORT = 7  # in the guest
END_SECONDS = 15  # from the polite end to the other one: `pando run` leaves its summaries


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def machine(args):
    """The options of the machine itself: processors, memory and NUMA nodes."""
    accel = ["-accel", "tcg,thread=multi", "-cpu", TCG_CPU] if args.accel == "tcg" else ["-accel", "kvm", "-cpu", "host"]
    argv = ["-machine", "q35", *accel, "-m", str(args.mem)]
    nodes = min(args.nodes, args.cpus)
    if nodes < 2:
        return argv + ["-smp", str(args.cpus)]
    argv += ["-smp", f"{args.cpus},sockets={nodes}" if args.cpus % nodes == 0 else str(args.cpus)]
    for n in range(nodes):
        cpus = range(n * args.cpus // nodes, (n + 1) * args.cpus // nodes)
        mib = args.mem // nodes if n else args.mem - args.mem // nodes * (nodes - 1)
        argv += ["-object", f"memory-backend-ram,id=m{n},size={mib}M"]
        argv += ["-numa", f"node,nodeid={n},memdev=m{n},cpus={cpus[0]}-{cpus[-1]}"]
    return argv


def qemu_argv(args, kernel, initrd, disk, port):
    words = f"console=ttyS0 panic=-1 pando.limit={args.limit} pando.jobs={args.jobs} {BRIEF} {args.words}"
    words += "" if args.bare else " pando.need=disk,net,storm"
    words += f" pando.cpus={args.cpus}" + (" pando.end=reboot" if args.reboot else "")
    words += f" {TCG_WORDS}" if args.accel == "tcg" else ""
    argv = ["qemu-system-x86_64", *machine(args), "-nodefaults", "-display", "none", "-serial", "stdio"]
    argv += [] if args.reboot else ["-no-reboot"]
    argv += ["-kernel", kernel, "-initrd", initrd, "-append", words]
    if disk:
        argv += ["-drive", f"file={disk},format=raw,if=none,id=d0,cache=none", "-device", "virtio-blk-pci,drive=d0"]
    if port:
        argv += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:{NET_PORT}", "-device", "virtio-net-pci,netdev=n0"]
    return argv


def in_child():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Client(threading.Thread):
    """The host's side of the job net; starts when the guest says that it listens."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.words = port, None

    def run(self):
        try:
            client = net_client.run("127.0.0.1", self.port, connections=6, messages=10)
            self.words = f"{client.messages} messages, {len(client.errors)} errors {client.errors[:3] or ''}"
        except OSError as e:
            self.words = str(e)


def run(argv, port, seconds, show, prefix="", boots=1, watch=lambda line: None):
    """One boot; returns what the guest's console said, and the exit status. prefix: in front of each line
    that is shown, for who must tell this kernel's lines from another one's. watch: called with each line."""
    log, client = guest_log.GuestLog(boots), Client(port)
    qemu = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=in_child
    )
    timers = [threading.Timer(seconds, qemu.terminate), threading.Timer(seconds + END_SECONDS, qemu.kill)]
    for timer in timers:
        timer.start()
    try:
        for raw in qemu.stdout:
            line = guest_log.ANSI.sub("", raw.decode("utf-8", "replace")).rstrip("\n")
            log.feed(line)
            watch(line)
            if re.match("echo: listening", line):
                client = Client(port)  # each boot listens anew
                client.start()
            if show or not re.match(r"\[ *\d+\.\d+\]", line):
                print(prefix + line, flush=True)
        status = qemu.wait(30)
    finally:
        for timer in timers:
            timer.cancel()
        qemu.kill()
        qemu.wait()
    if client.ident:
        client.join(net_client.TIMEOUT)
        print(f"client: {client.words}")
    return log, status


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--nodes", type=int, default=2, help="NUMA nodes")
    parser.add_argument("--mem", type=int, default=512, metavar="MIB")
    parser.add_argument("--accel", choices=("tcg", "kvm"), default="tcg")
    parser.add_argument("--jobs", default=ALL_JOBS)
    parser.add_argument("--words", default="", help="more for the kernel's command line")
    parser.add_argument("--stress", action="store_true", help="the image with stress-ng")
    parser.add_argument("--bare", action="store_true", help="neither disk nor network")
    parser.add_argument("--reboot", action="store_true", help="the guest reboots once, then it ends")
    parser.add_argument("--verbose", action="store_true", help="the kernel's own lines too")
    parser.add_argument("--kernel", default=image.META, metavar="META")
    parser.add_argument("--build", default=os.path.join(image.ROOT, "build"))
    parser.add_argument("--limit", type=int, default=180, help="seconds a job")
    parser.add_argument("--seconds", type=int, default=600, help="for all")
    return parser.parse_args()


def main():
    args, start = arguments(), time.monotonic()
    try:
        kernel = image.kernel(args.kernel)[0]
        initrd = image.initrd("stress" if args.stress else "small", args.kernel, args.build)
    except image.ImageError as e:
        print(f"smoke: {e}")
        return 4
    with tempfile.TemporaryDirectory(dir=image.CACHE) as scratch:
        disk = None if args.bare else disk_image.make(os.path.join(scratch, "disk"), 16, seed=int(start * 1e6))
        port = None if args.bare else free_port()
        log, status = run(qemu_argv(args, kernel, initrd, disk, port), port, args.seconds, args.verbose, boots=1 + args.reboot)
    print("\n" + log.text())
    print(f"smoke: {time.monotonic() - start:.0f} s, status {status}")
    return 1 if log.problem() or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
