#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench upgrade: a page that others read as well is written: messages and time with 1 to 15 sharers.

One vCPU a node; the sharers read 16 pages at an order, then halt, and the first vCPU writes each: an upgrade a page.
Messages for an upgrade are what the dataplanes of a long run counted less a short run, by the upgrades between; they
include what the orders cost, two invalidations for 16 upgrades and sharer. Times are measured where every node has CPUs
for its threads, and in any case with the fewest sharers; what was not measured is modelled and says so:
the time with one sharer + (sharers - 1) * what the protocol needs to send one more message and take one more
(pando-cycles, in the same rounds, without the fabric), as if nothing of it happened at the same time.
"""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 100, "args": ["--rounds", "2", "--limit", "90"]}
SHARERS, MEASURED_ANYWAY, GOAL = range(1, 16), 2, 1.3
PAGES, SHORT, LONG, TRACE = 16, 16, 112, 20000  # upgrades of a run that is counted; faults of the trace
KINDS = ("getm", "grant", "inv", "inv_ack")
TRACED = "cycles/trace/time"


def guest(args, sharers, upgrades, raw=0):
    """A vCPU that waits 120 s for another is not too slow, where 32 threads share two CPUs."""
    more = f"gap_us={guests.GAP_US}" if raw else "warm=0"  # what is counted needs no warming up
    words = f"mode=upgrade sharers={sharers} n={upgrades} pages={PAGES} halt=1 raw={raw} wait_s=120 {more}"
    poll = guests.poll_mode(timed_sharers()[-1] + 1, halting=True) if raw else "sleep"
    return guests.run(args.build, "pingpong", words, sharers + 1, fabric=args.fabric, dead_ms=30000, poll=poll)


def timed_sharers():
    return [k for k in SHARERS if k <= MEASURED_ANYWAY or guests.cores_short(k + 1) is None]


class Upgrades:
    def __init__(self):
        self.rounds, self.trace, self.messages, self.configs = measured.Rounds(), [], {}, [""]

    def timed(self, args, sharers):
        run = guest(args, sharers, args.samples, raw=1)
        self.rounds.add(guests.line_of_samples(f"upgrade/sharers={sharers}", run.samples["upgrade"]))
        self.configs.append(run.config)

    def traced(self, args):
        (line,) = measured.run_tool(args.build, "pando-cycles", TRACE)
        self.trace.append(line["ns"] / line["messages"])

    def counted(self, args, sharers):
        """Once: what is counted does not drift."""
        if sharers in self.messages:
            return
        short, long = guest(args, sharers, SHORT), guest(args, sharers, LONG)
        self.messages[sharers] = {k: (long.messages(k) - short.messages(k)) / (LONG - SHORT) for k in KINDS}

    def modelled(self, sharers):
        """Microseconds, round by round; None: its parts were not measured."""
        one = "upgrade/sharers=1"
        if one not in self.rounds or not self.trace:
            return None
        return [us + (sharers - 1) * ns / 1e3 for us, ns in zip(self.rounds.get(one, "round_p50"), self.trace)]

    def rows(self):
        out = [self.rounds.time_row(n) for n in self.rounds.names("upgrade/")]
        if self.trace:
            out.append(measured.value(TRACED, "ns/message", self.trace, 1))
        for k, each in sorted(self.messages.items()):
            counts = {kind: round(n, 3) for kind, n in each.items()}
            out.append(measured.value(f"upgrade/messages/sharers={k}", "messages", [sum(each.values())], counts=counts))
        for k in (k for k in SHARERS if f"upgrade/sharers={k}" not in self.rounds):
            each = self.modelled(k)
            if each:
                out.append(measured.value(f"upgrade/modelled/sharers={k}", "us", [statistics.median(each)], modelled=(
                    f"median of upgrade/sharers=1 + {k - 1} * {TRACED}")))  # fmt: skip
        return out


def judge(upgrades, missing):
    most, one = f"upgrade/sharers={SHARERS[-1]}", "upgrade/sharers=1"
    if most in upgrades.rounds:
        goal = upgrades.rounds.goal(most, one, GOAL)
        return ([goal] if goal else []), []
    missing.append(f"whether an upgrade with {SHARERS[-1]} sharers takes at most {GOAL} of one with one: "
                   f"{guests.cores_short(SHARERS[-1] + 1)}; the modelled time's is among the ratios")  # fmt: skip
    model = upgrades.modelled(SHARERS[-1])
    if not model:
        return [], []
    sides = model, upgrades.rounds.get(one, "round_p50")
    name = f"upgrade/modelled/sharers={SHARERS[-1]} : {one}"
    return [], [measured.compared(name, [a / b for a, b in zip(*sides)])]


def steps_of(args, upgrades):
    steps = [("the protocol alone", lambda: upgrades.traced(args))]
    steps += [(f"{k} sharers", lambda k=k: upgrades.timed(args, k)) for k in timed_sharers()]
    return steps + [(f"messages with {k} sharers", lambda k=k: upgrades.counted(args, k)) for k in SHARERS]


def table(results):
    for r in (r for r in results if "buckets" in r):
        print(f"{r['name']:<32}{r['n']:>7} p50 {r['p50']:.2f} ({r['p50_low']:.2f}..{r['p50_high']:.2f}), "
              f"p99 {r['p99']:.1f}, max {r['max']:.0f} us")  # fmt: skip
    for r in (r for r in results if "buckets" not in r):
        more = ", ".join(f"{k} {v:g}" for k, v in r.get("counts", {}).items())
        print(f"{r['name']:<32}{r['median']:>9g} {r['unit']:<12}{more or r.get('modelled', '')}")


def main():
    samples = ("samples", 192, 16, 100000, "upgrades with each number of sharers, a round")
    args = guests.arguments("upgrade", __doc__, 4, samples)
    upgrades, missing, start = Upgrades(), [], time.monotonic()
    measured.run_steps("upgrade", args, steps_of(args, upgrades), missing)
    goals, ratios = judge(upgrades, missing)
    short = guests.cores_short(MEASURED_ANYWAY + 1)
    remarks = [f"{short}: times with up to {MEASURED_ANYWAY} sharers are the host scheduler's as well, and so are "
               "ratios to them; what the model adds to them is not"] if short else []  # fmt: skip
    measured.report("upgrade", args, start, upgrades.rows(), goals, missing, table, remarks, ratios=ratios,
                    config=upgrades.configs[-1] or None)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
