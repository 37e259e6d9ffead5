# SPDX-License-Identifier: BSD-3-Clause
"""A multiboot kernel that nobody here wrote: tboot of Debian, which prints what it finds on the
serial port and halts. It must say the same, word by word, on plain KVM and over two nodes."""
import gzip
import os
import sys

import cluster as cl
import debian
import outcome
from options import Options

PACKAGE = "tboot"
CMDLINE = "logging=serial"
LAST_WORDS = "shutdown_system() called"  # then it halts for ever
NOISE = "tpm_validate_locality"  # how often it says that there is no TPM depends on the clock
MUST_SAY = ("original e820 map", "0000000000100000 - 0000000004000000  (1)", LAST_WORDS)
SECONDS = 60


def fetch(directory):
    """The kernel's file."""
    try:
        tree = debian.unpack(PACKAGE, directory)
    except debian.DebianError as e:
        raise outcome.Skipped(f"{PACKAGE} is not to be had: {e}") from e
    with gzip.open(os.path.join(tree, "boot/tboot.gz")) as f:
        image = f.read()
    with open(os.path.join(tree, "tboot"), "wb") as out:
        out.write(image)
    return out.name


def console(kernel, build, bare):
    """What the guest says on its console, and what is wrong."""
    said = []
    o = Options(
        nodes=2, vcpus=2, ram=64, guest=kernel, cmdline=CMDLINE, plain=bare, timeout=SECONDS
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
    parser = outcome.parser(__doc__)
    parser.add_argument("--cache", default="out/foreign", help="where the package is unpacked")
    args = parser.parse_args()
    test = lambda: run(args.build, os.path.abspath(args.cache))
    return outcome.status([outcome.run(args.tally, f"foreign/{PACKAGE}", test)])


if __name__ == "__main__":
    sys.exit(main())
