#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench scale: page faults a second with 1 to N vCPUs, and how late accesses come that are due at fixed times.

The guest faultrate on two nodes that hold 60 % of the memory each, so that pages have to be replaced: read is random
reads of a set that all share, larger than what a node holds; mixed is half reads of a shared half, half writes of the
vCPU's own part of the other half; steal is half reads, half writes of pages that any vCPU writes. The guest does so
for a while before anything counts. Faults, messages and bytes are counted by the dataplanes, from when the work begins
to its end: the guest rests there. open/... offers accesses at a fixed rate: a time counts from when the access was due,
so what waits behind a stall is as late as it is.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 100, "args": ["--rounds", "2", "--ms", "250", "--limit", "80"]}
NODES, VCPUS, RAM_MIB, RESIDENT_PCT, SET_MIB = 2, 4, 32, 60, 26
MIXES = {"read": "reads=100", "mixed": "reads=50", "steal": "reads=50 steal=1"}
OPEN = {"read": 200, "mixed": 200}  # accesses a second of each vCPU
WARM_MS = 50
PER_FAULT = ("messages", "pages", "bytes")


def guest(args, words):
    words = f"size={SET_MIB} {words} ms={args.ms} warm_ms={WARM_MS}"
    run = guests.run(args.build, "faultrate", words, NODES, VCPUS, fabric=args.fabric, ram=RAM_MIB,
                     resident_pct=RESIDENT_PCT, poll=guests.poll_mode(NODES, VCPUS))  # fmt: skip
    if not any(run.warm):
        raise measured.ToolError("the guest did not warm up")
    return run


class Rates:
    """Faults a second, round by round, and what they cost in all rounds together."""

    def __init__(self):
        self.each, self.sums, self.configs = {}, {}, [""]

    def add(self, name, run):
        more = run.worked()
        seconds = max(ns for _, _, ns in run.rates) / 1e9
        more["accesses"] = sum(a for a, _, _ in run.rates)
        self.each.setdefault(name, []).append(more["faults"] / seconds)
        sums = self.sums.setdefault(name, dict.fromkeys(more, 0))
        for key, n in more.items():
            sums[key] += n

    def rows(self):
        out = []
        for name, each in self.each.items():
            sums = self.sums[name]
            counts = {"accesses": sums["accesses"], "faults": sums["faults"]}
            for key in PER_FAULT:
                counts[f"{key}_per_fault"] = round(sums[key] / max(sums["faults"], 1), 3)
            out.append(measured.value(name, "faults/s", each, 0, counts=counts))
        return out


def steps_of(args, rates, rounds):
    def closed(mix, words, active):
        run = guest(args, f"{words} active={active} rest_ms={guests.REST_MS}")
        rates.add(f"scale/{mix}/vcpus={active}", run)
        rates.configs.append(run.config)

    def offered(mix, words, rate):
        run = guest(args, f"{words} rate={rate}")
        name = f"open/{mix}/rate={rate}"
        rounds.add(guests.line_of_hist(name, run.hists["access"], run.top["access"]))

    steps = []
    for mix, words in MIXES.items():
        steps += [(f"{mix}, {k} vCPUs", measured.second_try(lambda m=mix, w=words, k=k: closed(m, w, k)))
                  for k in range(1, VCPUS + 1)]  # fmt: skip
    return steps + [(f"{m}, {r}/s and vCPU", lambda m=m, r=r: offered(m, MIXES[m], r)) for m, r in OPEN.items()]


def ratios_of(rates):
    out = []
    for mix in MIXES:
        one, all_of_them = (rates.each.get(f"scale/{mix}/vcpus={k}") for k in (1, VCPUS))
        if one and all_of_them and min(one) > 0:
            each = [a / b for a, b in zip(all_of_them, one)]
            out.append(measured.compared(f"scale/{mix}/vcpus={VCPUS} : scale/{mix}/vcpus=1", each, (all_of_them, one)))
    return out


def table(results):
    print(f"{'result':<26}{'faults/s':>10}{'spread':>18}{'messages':>12}{'pages':>8}{'bytes':>10}  a fault")
    for r in (r for r in results if "buckets" not in r):
        spread, c = f"{r['low']:g}..{r['high']:g}", r["counts"]
        each = "".join(f"{c[f'{k}_per_fault']:>{w}.2f}" for k, w in zip(PER_FAULT, (12, 8, 10)))
        print(f"{r['name']:<26}{r['median']:>10g}{spread:>18}{each}")
    for r in (r for r in results if "buckets" in r):
        tail = f"{r['p999']:.0f}" if "p999" in r else "-"
        print(f"{r['name']:<26} late by: p50 {r['p50']:.2f}, p99 {r['p99']:.0f}, p99.9 {tail}, max {r['max']:.0f} us")


def main():
    args = guests.arguments("scale", __doc__, 3, ("ms", 500, 50, 60000, "of work a run"))
    rates, rounds, missing, start = Rates(), measured.Rounds(), [], time.monotonic()
    measured.run_steps("scale", args, steps_of(args, rates, rounds), missing)
    rows = rates.rows() + [rounds.time_row(n) for n in rounds.names("open/")]
    short = guests.cores_short(NODES, VCPUS)
    remarks = [f"{short}: more vCPUs than CPUs share what there is"] if short else []
    measured.report("scale", args, start, rows, [], missing, table, remarks, ratios=ratios_of(rates),
                    config=rates.configs[-1] or None)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
