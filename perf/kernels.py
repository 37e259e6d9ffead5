#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench kernels: application kernels on bare-metal guests over 1, 2 and 3 nodes with a vCPU each.

matrix (operations are multiply-adds), sort (numbers sorted), join (probes of a shared hash table) and stencil (cell
updates). Each guest verifies its results, or the run counts for nothing. .../ops: the median repetition, from barrier
to barrier; the first one, which fetches what it works on, is not counted. .../messages, pages and bytes are for 1000
operations: what the dataplanes counted in a run of many repetitions, less a run of one, for the repetitions between.
With sort that includes the filling and the verification of each repetition.
"""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 85, "args": ["--rounds", "2", "--limit", "75"]}
NODES = (1, 2, 3)
KERNELS = {"matrix": "n=160", "sort": "count=65536", "join": "rows=16384 probes=65536", "stencil": "n=192 sweeps=10"}
COUNTED = ("messages", "pages", "bytes")


class Kernels:
    def __init__(self):
        self.ops, self.cost, self.configs = {}, {}, [""]

    def measure(self, args, kernel, nodes):
        words, reps = KERNELS[kernel], args.reps
        how = {"fabric": args.fabric, "poll": guests.poll_mode(max(NODES))}
        one = guests.run(args.build, kernel, f"{words} reps=1", nodes, **how).counted()
        run = guests.run(args.build, kernel, f"{words} reps={1 + reps}", nodes, **how)
        if len(run.kernels) != 1 + reps:
            raise guests.GuestError(f"guest {kernel}: {len(run.kernels)} repetitions were told of, not {1 + reps}")
        name, counted = f"kernels/{kernel}/nodes={nodes}", run.counted()
        rate = statistics.median(ops / ns * 1e9 for ops, ns in run.kernels[1:])
        self.ops.setdefault(name, []).append(rate)
        for key in COUNTED:
            each = (counted[key] - one[key]) / reps / run.kernels[0][0] * 1000
            self.cost.setdefault((name, key), []).append(each)  # below 0: there is nothing, and noise
        self.configs.append(run.config)

    def rows(self):
        out = []
        for name, each in self.ops.items():
            out.append(measured.value(f"{name}/ops", "ops/s", each, 0))
            out += [measured.value(f"{name}/{key}", f"{key}/kop", self.cost[name, key], 4) for key in COUNTED]
        return out

    def ratios(self):
        """What more nodes bring."""
        out = []
        for kernel in KERNELS:
            one = self.ops.get(f"kernels/{kernel}/nodes=1")
            for nodes in NODES[1:]:
                name = f"kernels/{kernel}/nodes={nodes}"
                if one and name in self.ops:
                    each = [a / b for a, b in zip(self.ops[name], one)]
                    out.append(measured.compared(f"{name}/ops : nodes=1", each, (self.ops[name], one)))
        return out


def table(results):
    rows = {r["name"]: r for r in results}
    print(f"{'kernel':<28}{'ops/s':>12}{'spread':>26}{'messages':>12}{'pages':>10}{'bytes':>12}  for 1000 operations")
    for name in (n.removesuffix("/ops") for n in rows if n.endswith("/ops")):
        r = rows[f"{name}/ops"]
        cost = "".join(f"{rows[f'{name}/{k}']['median']:>{w}.3f}" for k, w in zip(COUNTED, (12, 10, 12)))
        spread = f"{r['low']:g}..{r['high']:g}"
        print(f"{name.removeprefix('kernels/'):<28}{r['median']:>12g}{spread:>26}{cost}")


def main():
    args = guests.arguments("kernels", __doc__, 3, ("reps", 3, 1, 100, "repetitions that count, a run"))
    kernels, missing, start = Kernels(), [], time.monotonic()
    steps = [(f"{k} on {n} node{'s' if n > 1 else ''}", lambda k=k, n=n: kernels.measure(args, k, n))
             for k in KERNELS for n in NODES]  # fmt: skip
    measured.run_steps("kernels", args, steps, missing)
    short = guests.cores_short(max(NODES))
    remarks = [f"{short}: operations a second on more nodes are the host scheduler's as well"] if short else []
    measured.report("kernels", args, start, kernels.rows(), [], missing, table, remarks, ratios=kernels.ratios(),
                    config=kernels.configs[-1] or None)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
