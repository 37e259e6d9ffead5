#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lab VM: a complete KVM where the machine has none.

QEMU without KVM emulates a machine whose processor has AMD's virtualisation with nested paging; in
it runs Debian's 6.12 kernel with kvm-amd, on this machine's own root directory, read-only. A job is
a shell script that runs in there as root; what it prints comes out live, its exit status and files
come back in a directory.

    lab.py [--seconds N] SCRIPT [FILE...]     runs a script; FILEs lie beside it in $OUT

Times in the lab are not measurements: an exit from a guest costs some 300 us there.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import debian  # noqa: E402
import initramfs  # noqa: E402

CACHE = os.environ.get("PANDO_LAB_CACHE", os.path.join(ROOT, "out", "lab"))
META = "linux-image-6.12-amd64"  # the fault design needs what came after 6.1
MODULES = ("9pnet_virtio", "9p", "kvm_amd", "veth", "af_packet", "tun")
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
# What the lab's own kernel says when the emulator's virtualisation has broken it. Only then a job is
# run again.
OWN_CRASH = re.compile(r"^\[ *\d+\.\d+\].*(BUG:|Kernel panic|stack guard page|Oops)", re.M)
ATTEMPTS = 3
# The kernel patches its own text when the first vCPU without an APIC in the kernel appears and when
# the last one goes, and the emulator does not survive every such patch on two processors: one idle
# vCPU is made before the second processor starts (maxcpus=1), and stays.
# The emulator can lose an interrupt around VMRUN, too. If that is the one shot of the tick, this
# CPU's time stands still for ever; a periodic tick comes again.
KERNEL_WORDS = "console=ttyS0 panic=-1 quiet mitigations=off maxcpus=1 nohz=off highres=off lapic=notscdeadline"
PREPARE = """
python3 tests/lab/hold_kvm.py >/run/held &
until grep -q held /run/held; do sleep 0.1; done
echo 1 >/sys/devices/system/cpu/cpu1/online
"""
MEMORY_MIB, CPUS = 3072, 2


class LabError(Exception):
    """The lab cannot be had; the text says why and what to do."""


def say(words):
    print(f"lab: {words}", flush=True)


def check_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)]
    if missing:
        raise LabError(f"the lab VM needs packages: apt-get install {' '.join(sorted(set(missing)))}")


def fetch_kernel(meta):
    """A Debian kernel package's directory, with vmlinuz and version in it."""
    try:
        return debian.kernel(meta, os.path.join(CACHE, meta), say)
    except debian.DebianError as e:
        raise LabError(str(e)) from e


def lab_initramfs(kernel):
    target = os.path.join(CACHE, "lab-initrd")
    sources = [os.path.join(HERE, "init"), os.path.abspath(__file__), initramfs.__file__, os.path.join(kernel, "vmlinuz")]
    if os.path.exists(target) and all(os.path.getmtime(target) > os.path.getmtime(s) for s in sources):
        return target
    tree = os.path.join(CACHE, "lab-tree")
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(os.path.join(tree, "bin"))
    shutil.copy(shutil.which("busybox"), os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "init"), os.path.join(tree, "init"))
    os.chmod(os.path.join(tree, "init"), 0o755)
    initramfs.add_modules(tree, kernel, MODULES)
    initramfs.pack(tree, target)
    return target


def qemu_argv(kernel, initrd, out):
    share = "local,path={},mount_tag={},security_model=none,multidevs=remap{}"
    return [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-nographic", "-no-reboot", "-nic", "none",
        "-kernel", os.path.join(kernel, "vmlinuz"), "-initrd", initrd,
        "-virtfs", share.format("/", "host", ",readonly=on"),
        "-virtfs", share.format(out, "out", ""),
        "-append", KERNEL_WORDS,
    ]  # fmt: skip


def in_child():
    """The emulator ends with us, whatever happens to us."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Attempt:
    """One boot of the lab with one job."""

    def __init__(self, out, seconds, on_line):
        self.out, self.seconds, self.on_line = out, seconds, on_line
        self.log, self.timed_out = [], False

    def run(self, argv):
        status = os.path.join(self.out, "status")
        if os.path.exists(status):
            os.unlink(status)
        p = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=in_child
        )

        def end():
            self.timed_out = True
            p.kill()  # a wedged emulator ignores SIGTERM

        timer = threading.Timer(self.seconds, end)
        timer.start()
        try:
            for raw in p.stdout:
                line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1bc|\r", "", raw.decode("utf-8", "replace")).rstrip("\n")
                self.log.append(line)
                self.on_line(line)
        finally:
            timer.cancel()
            p.kill()
            p.wait()
        try:
            with open(status, encoding="utf-8") as f:
                found = re.match(r"exit (\d+)", f.read())
                return int(found[1]) if found else None
        except OSError:
            return None

    def own_crash(self):
        return bool(OWN_CRASH.search("\n".join(self.log)))


def run_job(script, out, seconds=600, on_line=None, files=()):
    """Runs a shell script in the lab; OUT is where its files come and go. Returns its exit status;
    LabError if the lab itself did not get that far."""
    check_programs()
    on_line = on_line or (lambda line: print(line, flush=True))
    os.makedirs(CACHE, exist_ok=True)
    os.makedirs(out, exist_ok=True)
    kernel = fetch_kernel(META)
    initrd = lab_initramfs(kernel)
    for name in files:
        shutil.copy(name, out)
    with open(os.path.join(out, "job.sh"), "w", encoding="utf-8") as f:
        f.write(f"export OUT=/run/out\ncd {ROOT}\n{PREPARE}\n{script}")
    for number in range(1, ATTEMPTS + 1):
        attempt = Attempt(out, seconds, on_line)
        status = attempt.run(qemu_argv(kernel, initrd, out))
        with open(os.path.join(out, f"lab{number}.log"), "w", encoding="utf-8") as f:
            f.write("\n".join(attempt.log) + "\n")
        if status is not None:
            return status
        if not attempt.own_crash():
            break
        say(f"the lab's own kernel crashed (a fault of the emulator); boot {number} of {ATTEMPTS}")
    why = f"no end after {seconds} s" if attempt.timed_out else "it ended without a result"
    raise LabError(f"the lab VM: {why}; its log is {out}/lab{number}.log")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--out", default=os.path.join(CACHE, "job"))
    parser.add_argument("script")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    start = time.monotonic()
    with open(args.script, encoding="utf-8") as f:
        script = f.read()
    try:
        status = run_job(script, os.path.abspath(args.out), args.seconds, files=args.files)
    except LabError as e:
        say(str(e))
        return 4
    say(f"exit status {status} after {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
