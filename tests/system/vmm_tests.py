# SPDX-License-Identifier: BSD-3-Clause
"""VMMs that do what the bare-metal guests' VMM does not (tests/kvm/*_vmm.c), over two nodes."""
import sys

import cluster as cl
import outcome
from options import Options

# Node 1's processor is said to lack CMPXCHG16B (CPUID 1, ECX bit 13), its kernel KERNEL_GS_BASE.
HIDDEN = ["--hide-cpu", "1.0.ecx.13", "--hide-msr", "c0000102"]
# The VMM with its arguments, and more for node 1's pando-vcpud.
CASES = {
    "slots": (["slots_vmm"], []),
    "private_ram": (["slots_vmm", "private"], []),
    "common": (["slots_vmm", "lacks", "2000", "c0000102"], HIDDEN),
    "storm": (["storm_vmm"], []),
}
TIMEOUT = 60


class VmmCluster(cl.Cluster):
    """A cluster whose VMM is not the test VMM."""

    def __init__(self, *args, argv, vcpud, **kwargs):
        super().__init__(*args, **kwargs)
        self.argv, self.vcpud = argv, vcpud

    def vcpud_words(self, node):
        return self.vcpud

    def vmm_argv(self, guest):
        return [cl.find_program(self.build, self.argv[0]), *self.argv[1:]]


def run_case(argv, vcpud, build):
    lines = []
    o = Options(nodes=2, vcpus=2, ram=8, guest="hello", timeout=TIMEOUT)
    on_line = lambda p, stream, text: lines.append(f"{p.name:>10} | {text}")
    with VmmCluster(o, build, on_line=on_line, argv=argv, vcpud=vcpud) as c:
        result = c.run()
    wrong = None
    if result.status != 0:
        wrong = f"the VMM ended with status {result.status}; {result.died}"
    elif result.died or result.slow or result.left:
        wrong = f"{result.died} {result.slow} {result.left}"
    elif len(result.summaries) != 2 or any(
        s["coherence"]["violations"] for s in result.summaries
    ):
        wrong = "an invariant was violated"
    if wrong:
        print("\n".join("       " + line for line in lines[-30:]))
    return wrong


def main():
    args = outcome.parser(__doc__).parse_args()
    return outcome.status(
        [
            outcome.run(args.tally, f"vmm/{name}", lambda: run_case(argv, vcpud, args.build))
            for name, (argv, vcpud) in CASES.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
