# SPDX-License-Identifier: BSD-3-Clause
"""A VMM that does what the bare-metal guests' VMM does not (tests/kvm/slots_vmm.c), over two nodes."""
import sys

import cluster as cl
import outcome
from options import Options

CASES = {"slots": [], "private_ram": ["private"]}
TIMEOUT = 60


class VmmCluster(cl.Cluster):
    """A cluster whose VMM is not the test VMM."""

    def __init__(self, *args, argv, **kwargs):
        super().__init__(*args, **kwargs)
        self.argv = argv

    def vmm_argv(self, guest):
        return [cl.find_program(self.build, "slots_vmm")] + self.argv


def run_case(argv, build):
    lines = []
    o = Options(nodes=2, vcpus=2, ram=8, guest="hello", timeout=TIMEOUT)
    on_line = lambda p, stream, text: lines.append(f"{p.name:>10} | {text}")
    with VmmCluster(o, build, on_line=on_line, argv=argv) as c:
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
            outcome.run(args.tally, f"vmm/{name}", lambda: run_case(argv, args.build))
            for name, argv in CASES.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
