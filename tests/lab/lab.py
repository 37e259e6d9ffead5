#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lab VM: a complete KVM where the machine has none.

QEMU without KVM emulates a machine whose processor has AMD's virtualisation with nested paging; in
it runs Debian's 6.12 kernel with kvm-amd, on this machine's own root directory, read-only. A job is
a shell script that runs in there as root; what it prints comes out live, its exit status and files
come back in a directory.

    lab.py [--seconds N] SCRIPT [FILE...]     runs a script; FILEs lie beside it in $OUT

    --modules NAME,...   loads these modules of the lab's kernel before the script starts; modprobe, and
                         what the kernel loads by itself (tc's classifiers, ip link's types), then work.
    --nics KIND,KIND,... adds network cards behind an IOMMU, the first joined to the second by a wire, the
                         third to the fourth, ... They are 0000:01:00.0, 0000:02:00.0, ..., with addresses
                         52:54:00:00:00:01, :02, ...; tests/lab/nic_bind.sh hands one to vfio-pci. There
                         are huge pages then (2 MiB each), and modprobe works.

A test calls run_job(), where these are nics= and modules=.

Times in the lab are not measurements: an exit from a guest costs some 300 us there.
"""
import argparse
import collections
import os
import re
import shlex
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
MODULES = ("9pnet_virtio", "9p", "kvm_amd", "veth", "bridge", "af_packet", "tun")
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
# QEMU up to 10.1 loses interrupts of a processor that opens an interrupt window for its guest (its set
# of pending ones is changed by two threads without a lock).
SUITES = ("trixie", "trixie-backports")
EMULATOR = "qemu-system-x86"
# What the lab's own kernel says when the emulator's virtualisation has broken it. Only then, or when
# one of its processors has stopped (heartbeat.c), or all of it is gone before the job's end, a job
# is run again.
OWN_CRASH = re.compile(r"^\[ *\d+\.\d+\].*(BUG:|Kernel panic|stack guard page|Oops)", re.M)
ATTEMPTS = 3
# The kernel patches its own text when the first vCPU without an APIC in the kernel appears and when
# the last one goes, and the emulator does not survive every such patch on two processors: one idle
# vCPU is made before the second processor starts (maxcpus=1), and stays.
KERNEL_WORDS = "console=ttyS0 panic=-1 quiet mitigations=off maxcpus=1 clocksource=tsc tsc=reliable"
STOPPED_SECONDS = 40
PREPARE = """
python3 tests/lab/hold_kvm.py >/run/held &
until grep -q held /run/held; do sleep 0.1; done
for cpu in {others}; do echo 1 >/sys/devices/system/cpu/cpu$cpu/online; done
taskset -pc {first}-{last} $$ >/dev/null
[ ! -x {heartbeat} ] || {heartbeat} /dev/ttyS1 &
"""
OWN = ("/tmp/", "/var/tmp/", "/run/")  # tests/lab/init
# The emulator's processors clear a flag of the first one's whenever they load FPU state (cpu_clear_ignne:
# a read and a write of all its flags, from another thread), and what the first one changes meanwhile is
# undone: that there are nested page tables, that it runs a guest, that interrupts are on. Only
# virtualisation changes those flags, so no guest runs on the first one.
MEMORY_MIB, CPUS = 3072, 3
# What a card's model is called, and its words besides. A virtio device passes by the IOMMU unless it
# is told, and its wire (hubport) has one queue. Each card has a bus of its own: an igb wants room there
# for what it can be split into.
NICS = {
    "e1000e": "e1000e",
    "igb": "igb",
    "virtio-net-pci": "virtio-net-pci,disable-legacy=on,iommu_platform=on",
}
NIC_MAX = 8
NIC_HUGEPAGES = 128
NIC_MODULES = ("vfio-pci", "vfio_iommu_type1")
IOMMU = "intel-iommu,intremap=on,caching-mode=on"
# modprobe with the lab kernel's modules: by the job, and by the kernel, which runs a program of the
# initramfs.
MODPROBE = """
export MODPROBE_OPTIONS='-d {kernel}'
printf '#!/bin/busybox sh\nexec chroot /host /sbin/modprobe -d {kernel} "$@"\n' >/run/modprobe
chmod 755 /run/modprobe
echo /host/run/modprobe >/proc/sys/kernel/modprobe
modprobe -a {modules} || exit
"""
# 48-bit addresses: a walk of nested page tables has a fifth less to do.
CPU = "max,la57=off"


class LabError(Exception):
    """The lab cannot be had; the text says why and what to do."""


def say(words):
    print(f"lab: {words}", flush=True)


def check_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)]
    if missing:
        raise LabError(f"the lab VM needs packages: apt-get install {' '.join(sorted(set(missing)))}")


def check_path(path):
    if not re.fullmatch(r"[-+.,/\w]+", path):
        raise LabError(f"{path}: allowed in the path of what the lab VM runs are letters, digits and -+.,_/")


def kept(build):
    """The lab sees this machine's directories, but for those that it needs to write to: of these, what it
    is to see all the same."""
    paths = sorted({path for path in (ROOT, os.path.abspath(build), os.path.abspath(CACHE)) if path.startswith(OWN)})
    for path in paths:
        check_path(path)
    return [path for path in paths if not any(path.startswith(other + "/") for other in paths)]


def emulator():
    """The emulator's first words and what it needs in its environment."""
    try:
        tree = debian.unpack_from(SUITES, EMULATOR, os.path.join(CACHE, "emulator-" + SUITES[-1]))
    except debian.DebianError as e:
        say(f"no QEMU of {SUITES[-1]} ({e}): the installed one has to do")
        return ["qemu-system-x86_64"], {}
    words = debian.run_unpacked(tree, "qemu-system-x86_64")
    for data in ("qemu", "seabios"):
        words += ["-L", os.path.join(tree, "usr/share", data)]
    return words, {"QEMU_MODULE_DIR": os.path.join(tree, "usr/lib/x86_64-linux-gnu/qemu")}


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


def known_modules(kernel):
    """Names of the modules of an unpacked kernel, with _ for -."""
    with open(os.path.join(kernel, "version"), encoding="ascii") as f:
        base = os.path.join(kernel, "lib/modules", f.read())
    names = set()
    for name in ("modules.dep", "modules.builtin"):
        with open(os.path.join(base, name), encoding="ascii") as f:
            names.update(re.findall(r"^\S*/([^/\s]+)\.ko\b", f.read(), re.M))
    return {name.replace("-", "_") for name in names}


def check_options(kernel, nics, modules):
    if nics or modules:
        check_path(kernel)  # stands unquoted in MODPROBE
    known = known_modules(kernel) if modules else ()
    for kind in nics:
        if kind not in NICS:
            raise LabError(f"network card {kind}: allowed are {', '.join(NICS)}")
    if len(nics) % 2 or len(nics) > NIC_MAX:
        raise LabError(f"{len(nics)} network cards: allowed are pairs, up to {NIC_MAX} cards")
    for name in modules:
        if name.replace("-", "_") not in known:
            raise LabError(f"module {name}: allowed are those of {META}, which has none of that name")


def nic_argv(nics):
    """The emulator's words for network cards, two to a wire; the IOMMU comes before what it is for."""
    words = ["-device", IOMMU] if nics else []
    for i, kind in enumerate(nics, 1):
        words += ["-netdev", f"hubport,id=wire{i},hubid={(i - 1) // 2}"]
        words += ["-device", f"pcie-root-port,id=bus{i},chassis={i}"]
        words += ["-device", f"{NICS[kind]},netdev=wire{i},bus=bus{i},mac=52:54:00:00:00:{i:02x},romfile="]
    return words


def qemu_argv(kernel, initrd, out, keep=(), nics=()):
    kernel_words = KERNEL_WORDS + (f" intel_iommu=on hugepages={NIC_HUGEPAGES}" if nics else "")
    share = "local,path={},mount_tag={},security_model=none,multidevs=remap{}"
    return [
        "-machine", "q35,hpet=off", "-accel", "tcg,thread=multi", "-cpu", CPU,
        "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-no-reboot", "-nic", "none",
        "-display", "none", "-vga", "none", "-monitor", "none",
        "-serial", "stdio", "-serial", "file:" + os.path.join(out, "heartbeat"),
        "-kernel", os.path.join(kernel, "vmlinuz"), "-initrd", initrd,
        *nic_argv(nics),
        "-virtfs", share.format("/", "host", ",readonly=on"),
        "-virtfs", share.format(out, "out", ""),
        "-append", f"{kernel_words} lab.keep={':'.join(keep)}",
    ]  # fmt: skip


def in_child():
    """The emulator ends with us, whatever happens to us."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Attempt:
    """One boot of the lab with one job."""

    def __init__(self, out, seconds, on_line):
        self.out, self.seconds, self.on_line = out, seconds, on_line
        self.log, self.timed_out, self.stopped = [], False, ""

    def watch(self, p, over):
        """Ends the emulator when a processor of the lab that was alive is not any more."""
        beats, seen = os.path.join(self.out, "heartbeat"), {}
        while not over.wait(5):
            now = time.monotonic()
            with open(beats, encoding="ascii", errors="replace") as f:
                counts = collections.Counter(f.read().split())
            for cpu, n in counts.items():
                if n != seen.get(cpu, (0, 0))[0]:
                    seen[cpu] = (n, now)
                elif now - seen[cpu][1] > STOPPED_SECONDS:
                    self.stopped = cpu
                    p.kill()

    def run(self, argv, env):
        status = os.path.join(self.out, "status")
        if os.path.exists(status):
            os.unlink(status)
        p = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=in_child,
            env=os.environ | env,
        )  # fmt: skip
        over = threading.Event()
        threading.Thread(target=self.watch, args=(p, over), daemon=True).start()

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
            over.set()
            p.kill()
            p.wait()
        try:
            with open(status, encoding="utf-8") as f:
                found = re.match(r"exit (\d+)", f.read())
                return int(found[1]) if found else None
        except OSError:
            return None

    def own_crash(self):
        """What befell the lab itself, in words; empty: nothing."""
        if self.stopped:
            return f"the lab's processor {self.stopped} stopped"
        if self.timed_out:
            return ""
        if OWN_CRASH.search("\n".join(self.log)):
            return "the lab's own kernel crashed"
        return "the lab ended without a word"


def write_job(path, kernel, script, build, modules):
    others = range(1, CPUS)
    prepare = PREPARE.format(
        heartbeat=f"{build}/tests/lab/lab-heartbeat", others=" ".join(map(str, others)), first=others[0], last=others[-1]
    )
    if modules:
        prepare += MODPROBE.format(kernel=kernel, modules=" ".join(modules))
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"export OUT=/run/out\ncd {shlex.quote(ROOT)} || exit\n{prepare}\n{script}")


def run_job(script, out, seconds=600, on_line=None, files=(), build="build", nics=(), modules=()):
    """Runs a shell script in the lab; OUT is where its files come and go. NICS are names of network
    cards, in pairs; MODULES are loaded first (the head of this file says more). Returns its exit
    status; LabError if the lab itself did not get that far."""
    check_programs()
    keep = kept(build)
    on_line = on_line or (lambda line: print(line, flush=True))
    os.makedirs(CACHE, exist_ok=True)
    os.makedirs(out, exist_ok=True)
    kernel = os.path.abspath(fetch_kernel(META))
    check_options(kernel, nics, modules)
    initrd = lab_initramfs(kernel)
    for name in files:
        shutil.copy(name, out)
    modules = [*modules, *(NIC_MODULES if nics else ())]
    write_job(os.path.join(out, "job.sh"), kernel, script, build, modules)
    words, env = emulator()
    for number in range(1, ATTEMPTS + 1):
        attempt = Attempt(out, seconds, on_line)
        open(os.path.join(out, "heartbeat"), "w", encoding="ascii").close()
        status = attempt.run(words + qemu_argv(kernel, initrd, out, keep, nics), env)
        with open(os.path.join(out, f"lab{number}.log"), "w", encoding="utf-8") as f:
            f.write("\n".join(attempt.log) + "\n")
        if status is not None:
            return status
        if not attempt.own_crash():
            break
        say(f"{attempt.own_crash()} (a fault of the emulator); boot {number} of {ATTEMPTS}")
    why = f"no end after {seconds} s" if attempt.timed_out else "it ended without a result"
    raise LabError(f"the lab VM: {why}; its log is {out}/lab{number}.log")


def names(text):
    return [name for name in text.split(",") if name]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--out", default=os.path.join(CACHE, "job"))
    parser.add_argument("--nics", type=names, default=[], metavar="KIND,KIND[,...]", help=f"of {', '.join(NICS)}")
    parser.add_argument("--modules", type=names, default=[], metavar="NAME[,...]", help="of the lab's kernel")
    parser.add_argument("script")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    start = time.monotonic()
    with open(args.script, encoding="utf-8") as f:
        script = f.read()
    try:
        status = run_job(
            script, os.path.abspath(args.out), args.seconds, files=args.files, nics=args.nics, modules=args.modules
        )
    except LabError as e:
        say(str(e))
        return 4
    say(f"exit status {status} after {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
