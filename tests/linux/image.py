#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The Linux guest: a kernel of Debian's and an initramfs of ours, with the jobs in it.

    image.py [--stress] [--kernel META] [--build DIR]     prints where they are, as JSON

META is a kernel's meta-package: linux-image-cloud-amd64 (6.1, the default), linux-image-amd64, or
with 6.12-: linux-image-6.12-cloud-amd64. Packages are downloaded and unpacked, never installed.
"""
import argparse
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import debian  # noqa: E402
import initramfs  # noqa: E402
import libraries  # noqa: E402

CACHE = os.environ.get("PANDO_LINUX_CACHE", os.path.join(ROOT, "out", "linux"))
META = "linux-image-cloud-amd64"
MODULES = (
    "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng",
    "virtio_scsi", "af_packet",
)  # fmt: skip
KINDS = ("small", "stress")


class ImageError(Exception):
    """The guest cannot be made; the text says why and what to do."""


def say(words):
    print(f"linux: {words}", file=sys.stderr, flush=True)


def fetch(meta):
    os.makedirs(CACHE, exist_ok=True)
    try:
        return debian.kernel(meta, os.path.join(CACHE, meta), say)
    except debian.DebianError as e:
        raise ImageError(str(e)) from e


def kernel(meta=META):
    """(vmlinuz, System.map, version). Debian's System.map only says in which package the real one
    is; a guest that runs with nokaslr has the same in /proc/kallsyms."""
    tree = fetch(meta)
    with open(os.path.join(tree, "version"), encoding="ascii") as f:
        version = f.read()
    return os.path.join(tree, "vmlinuz"), os.path.join(tree, f"boot/System.map-{version}"), version


def guest_tests(build):
    program = os.path.join(build, "tests", "linux", "guest-tests")
    if not os.path.exists(program):
        raise ImageError(f"{program} was not built: ./dev build gcc")
    return program


def busybox():
    """A static one: it is the guest's whole userspace."""
    program = shutil.which("busybox")
    if not program or b"/lib64/ld-linux" in open(program, "rb").read():
        raise ImageError("the guest needs a static busybox: apt-get install busybox-static")
    return program


def sources(program, tree):
    """Every file that the image follows from."""
    jobs = sorted(glob.glob(os.path.join(HERE, "jobs", "*")))
    code = [__file__, initramfs.__file__, libraries.__file__, debian.__file__]
    return [os.path.join(HERE, "init"), *jobs, *code, program, busybox(), os.path.join(tree, "version")]


def key_of(files):
    """Changes when a source does."""
    h = hashlib.sha256()
    for name in files:
        with open(name, "rb") as f:
            data = f.read()
        h.update(f"{os.path.basename(name)} {len(data)}\n".encode() + data)
    return h.hexdigest()[:16]


def fill(tree, kernel_tree, program, kind):
    """The initramfs's files."""
    for name in ("bin", "dev"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy(busybox(), os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "init"), os.path.join(tree, "init"))
    os.chmod(os.path.join(tree, "init"), 0o755)
    debian.call(["strip", "-o", os.path.join(tree, "bin/guest-tests"), program])
    shutil.copytree(os.path.join(HERE, "jobs"), os.path.join(tree, "jobs"))
    initramfs.add_modules(tree, kernel_tree, MODULES)
    if kind == "stress":
        packages = os.path.join(CACHE, "stress-packages")
        libraries.add_program(tree, "stress-ng", "usr/bin/stress-ng", packages)


def initrd(kind="small", meta=META, build=os.path.join(ROOT, "build")):
    """The initramfs's file; it is made when there is none or one of its sources is another."""
    if kind not in KINDS:
        raise ImageError(f"no image '{kind}'; there are: {' '.join(KINDS)}")
    tree, program = fetch(meta), guest_tests(build)
    key, start = key_of(sources(program, tree)), time.monotonic()
    target = os.path.join(CACHE, f"initrd-{kind}-{meta}-{key}")
    if os.path.exists(target):
        return target
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        files, archive = os.path.join(scratch, "tree"), os.path.join(scratch, "initrd")
        os.makedirs(files)
        try:
            fill(files, tree, program, kind)
            initramfs.pack(files, archive)
        except (debian.DebianError, subprocess.CalledProcessError) as e:
            raise ImageError(str(e)) from e
        os.rename(archive, target)
    for old in glob.glob(os.path.join(CACHE, f"initrd-{kind}-{meta}-*")):
        if old != target and time.time() - os.path.getmtime(old) > 3600:
            os.unlink(old)
    say(f"made {os.path.basename(target)}, {os.path.getsize(target) >> 10} KiB, in {time.monotonic() - start:.1f} s")
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stress", action="store_true", help="the image with stress-ng")
    parser.add_argument("--kernel", default=META, metavar="META")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = parser.parse_args()
    try:
        vmlinuz, system_map, version = kernel(args.kernel)
        archive = initrd("stress" if args.stress else "small", args.kernel, args.build)
    except ImageError as e:
        say(str(e))
        return 4
    print(json.dumps({"kernel": vmlinuz, "system_map": system_map, "version": version, "initrd": archive}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
