# SPDX-License-Identifier: BSD-3-Clause
"""A multiboot kernel that nobody here wrote: tboot of Debian, which prints what it finds on the
serial port and halts. It must say the same, word by word, on plain KVM and over two nodes."""
import argparse
import glob
import gzip
import os
import subprocess
import sys
import time

import cluster as cl
from options import Options

PACKAGE = "tboot"
CMDLINE = "logging=serial"
LAST_WORDS = "shutdown_system() called"  # then it halts for ever
NOISE = "tpm_validate_locality"  # how often it says that there is no TPM depends on the clock
MUST_SAY = ("original e820 map", "0000000000100000 - 0000000004000000  (1)", LAST_WORDS)
SECONDS = 60


class Skipped(Exception):
    """The kernel is not to be had on this machine; the text says why."""


def fetch(directory):
    """The kernel's file; downloads and unpacks Debian's package if it is not here yet. Nothing is
    installed."""
    kernel = os.path.join(directory, "tboot")
    if os.path.exists(kernel):
        return kernel
    os.makedirs(directory, exist_ok=True)
    argv = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE]
    try:
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=120)
        error = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as e:
        error = [str(e)]
    packages = glob.glob(os.path.join(directory, PACKAGE + "_*.deb"))
    if error or not packages:
        raise Skipped(f"apt-get cannot download {PACKAGE}: {' '.join(error)}")
    unpacked = os.path.join(directory, "unpacked")
    subprocess.run(["dpkg-deb", "-x", packages[0], unpacked], check=True)
    with gzip.open(os.path.join(unpacked, "boot/tboot.gz")) as f, open(kernel, "wb") as out:
        out.write(f.read())
    return kernel


def console(kernel, build, bare):
    """What the guest says on its console, and what is wrong."""
    said = []
    o = Options(
        nodes=2, vcpus=2, ram=64, guest=kernel, cmdline=CMDLINE, bare=bare, timeout=SECONDS
    )

    def on_line(process, stream, text):
        if process.name == "vmm" and stream == "out":
            said.append(text)
            if LAST_WORDS in text:
                c.stopping = "the guest has said all"

    with cl.Cluster(o, build, on_line=on_line) as c:
        result = c.run()
    said = [line for line in said if NOISE not in line]
    for words in MUST_SAY:
        if not any(words in line for line in said):
            return said, f"{'plain KVM' if bare else 'two nodes'}: nobody said '{words}'" + (
                f" ({result.died})" if result.died else ""
            )
    return said, None


def run(build, directory):
    kernel = fetch(directory)
    plain, wrong = console(kernel, build, True)
    if wrong:
        return wrong
    pando, wrong = console(kernel, build, False)
    if not wrong and plain != pando:
        wrong = f"it says {len(plain)} lines on plain KVM and other {len(pando)} over two nodes"
    if wrong:
        print("\n".join("       plain | " + line for line in plain))
        print("\n".join("       pando | " + line for line in pando))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--tally")
    parser.add_argument("--cache", default="out/foreign", help="where the kernel is kept")
    args = parser.parse_args()
    start, name = time.monotonic(), f"foreign/{PACKAGE}"
    try:
        wrong = run(args.build, os.path.abspath(args.cache))
        word = "fail" if wrong else "pass"
    except cl.SetupError as e:
        wrong, word = str(e), "fail"
    except Skipped as e:
        wrong, word = str(e), "skip"
    mark = {"pass": "ok  ", "fail": "FAIL", "skip": "SKIP"}[word]
    print(f"{mark} {name} ({time.monotonic() - start:.1f} s)" + (f": {wrong}" if wrong else ""))
    if args.tally:
        with open(args.tally, "a", encoding="utf-8") as f:
            f.write(f"{word}\t{name}\t{wrong or ''}\n")
    return 3 if word == "fail" else 0


if __name__ == "__main__":
    sys.exit(main())
