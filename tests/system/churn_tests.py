# SPDX-License-Identifier: BSD-3-Clause
"""One page without rest, on real KVM with real faults: hand-offs between two nodes with a third that reads between
(no stale read, ever), and four vCPUs on four nodes that all write it (the least served gets half of the mean, or more).

In brief by default; --full: 1000000 hand-offs, an hour at most.
"""
import sys

import cluster as cl
import outcome
import summary
from options import Options

FULL = {"handoffs": 1000000, "fair_ms": 60000, "timeout": 5400}
BRIEF = {"handoffs": 5000, "fair_ms": 3000, "timeout": 150}


def run(build, nodes, handoffs, fair_ms, timeout):
    """(what is wrong or None, what the guest said)"""
    o = Options(nodes=nodes, vcpus=nodes, ram=64, guest="churn",
                cmdline=f"wait_s=60 handoffs={handoffs} fair_ms={fair_ms}", timeout=timeout)
    said = []

    def on_line(process, _stream, text):
        if process.name == "vmm":
            said.append(text)

    with cl.Cluster(o, build, on_line=on_line) as c:
        result = c.run()
    if not result.passed:
        return f"{result.died or said[-1:]}; again: {o.command()}", ""
    faults = sum(summary.total(result.summaries, "faults", kind, "n") for kind in ("read", "write", "upgrade"))
    wrong = summary.problem(result, o)
    if wrong is None and faults < handoffs:
        wrong = f"{faults} page faults, fewer than {handoffs} hand-offs"
    return wrong, "; ".join(said[1:-1]) + f"; {faults} page faults"


def main():
    p = outcome.parser(__doc__)
    p.add_argument("--full", action="store_true")
    args = p.parse_args()
    much = FULL if args.full else BRIEF
    cases = {
        "churn/handoffs": lambda: run(args.build, 3, much["handoffs"], 0, much["timeout"]),
        "churn/fairness": lambda: run(args.build, 4, 1000, much["fair_ms"], much["timeout"]),
    }
    return outcome.status([outcome.run(args.tally, name, test) for name, test in cases.items()])


if __name__ == "__main__":
    sys.exit(main())
