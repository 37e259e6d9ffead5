#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench giantvm: Pando beside a GiantVM-style baseline, on the same guests over the same link.

The baseline (perf/giantvm/README.md: what it copies, and that it is not GiantVM) runs in two programs: giantvm, whose
receiver sleeps between polls as published, and giantvm_spin, whose receiver does not. Pando runs over af_packet and
over AF_XDP. All of them use the same veth pair between two network namespaces (a bridge for more nodes), the baseline
by TCP; beside it, without a goal, shared memory and TCP over the loopback interface. Rounds are interleaved, and the
order of the sides changes from round to round.

What a guest sees: a page that the peer has modified is read and written; a page that 1, 2 or 3 others have read is
written (2, 3 and 4 nodes); an interrupt one way; a page handed to and fro. And what two kernels send: increments of
contended counters, a matrix product. All threads keep their CPUs. p is of a Mann-Whitney U test over the rounds.

The floors are measured in the same rounds: userfaultfd alone with no network (floor/...), and a round trip of each
fabric by itself (rtt/raw_...). Where a goal is missed, what they are of the fault is said.
"""
import argparse
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "perf", "common"), os.path.join(ROOT, "tests", "system")]
import guests  # noqa: E402
import measured  # noqa: E402
import summary  # noqa: E402
from options import Options  # noqa: E402

IN_ALL = {"seconds": 460, "args": ["--rounds", "4", "--samples", "400", "--limit", "430"]}
# Sides: (engine, link). Pando's come first in names and ratios.
SIDES = {
    "af_packet": ("pando", "af_packet"),
    "af_xdp": ("pando", "af_xdp"),
    "giantvm": ("giantvm", "af_packet"),
    "giantvm_spin": ("giantvm-spin", "af_packet"),
}
# On one machine without a link: not the same way for both, and so without a goal.
LOOPBACK = {
    "shm": ("pando", "shm"),
    "giantvm_loopback": ("giantvm", "udp"),
    "giantvm_spin_loopback": ("giantvm-spin", "udp"),
}
OURS, PUBLISHED, SPINNING = ("af_packet", "af_xdp"), "giantvm", "giantvm_spin"
PAIRS = [(ours, theirs) for ours in OURS for theirs in (PUBLISHED, SPINNING)]
# Runs of the guest pingpong: (nodes, command line, what it is here, whether it is measured on all links). The mode that
# it reports is the one of the command line. The page's home is the peer's node. Peers that have nothing to do halt; of ipi and handover they never rest.
LATENCIES = (
    (2, "mode=read halt=1 nodes=2 home=1", "read", True),
    (2, "mode=write halt=1 nodes=2 home=1", "write", True),
    (2, "mode=upgrade halt=1", "upgrade/1", True),
    (2, "mode=ipi", "ipi", False),
    (2, "mode=handover nodes=2 home=1", "handover", False),
    (3, "mode=upgrade sharers=2 halt=1", "upgrade/2", False),
    (4, "mode=upgrade sharers=3 halt=1", "upgrade/3", False),
)
FAULTS = ("read", "write", "upgrade/1", "upgrade/2", "upgrade/3")
# Kernels: (guest, nodes, command line, operations, what one is).
COUNTER_ITERS, MATRIX_N = 1000, 96
KERNELS = {
    "counters": (2, f"iters={COUNTER_ITERS}", 2 * COUNTER_ITERS, "increments of each kind"),
    "matrix": (2, f"n={MATRIX_N}", MATRIX_N**3, "multiply-adds"),
}
# Of faults as node 0's poll loop sees them, from the message to the mapping, all of that guest's by kind: without the
# time until the vCPU runs again. Not of writes: most of them are node 0's first, which need no message in the baseline.
SERVED = {"read": "read", "upgrade/1": "upgrade", "upgrade/2": "upgrade_2", "upgrade/3": "upgrade_3"}
# Of a fault by its kind: the local fault, and what the other node's end does (perf/fault.py).
PARTS = {"read": ("minor_shared", "wp"), "write": ("minor_modified", "zap"), "upgrade": ("wp_upgrade", "zap")}
RAW = [f"rtt/raw_{n}/64" for n in ("shm", *OURS)]
RAW_SAMPLES = 1000
P50_GOAL, P99_GOAL = 1 / 3, 1 / 5  # of the baseline as published; of the spinning one: below 1
GUEST_SECONDS = 60
P99_SAMPLES = 400  # of a round: four lie beyond the percentile; one would be the largest, and chance


def run(build, side, guest, nodes, words):
    """One guest on one side (guests.Run); the poll mode is that of all sides."""
    engine, fabric = (SIDES | LOOPBACK)[side]
    poll = poll_of(nodes, "halt=1" in words)
    try:
        return guests.run(build, guest, words, nodes, engine=engine, fabric=fabric, pinned=True, poll=poll,
                          timeout=GUEST_SECONDS)  # fmt: skip
    except guests.GuestError as e:
        raise measured.ToolError(f"{side}: {e}") from None


def poll_of(nodes, halting):
    """Never busy: a thread that yields is slower by little, and pinned threads may share a CPU."""
    poll = guests.poll_mode(nodes, halting=halting)
    return ("yield" if halting else "sleep") if poll == "busy" else poll


def samples_of(run, mode, expected):
    have = run.samples.get(mode, [])
    if len(have) != expected:
        raise measured.ToolError(f"guest pingpong printed {len(have)} samples of {mode}, not {expected}")
    return have


def sent(run):
    """Messages of all kinds, and bytes on the wire as summary.py counts them: those of the baseline as well."""
    return run.messages(), summary.total_classes(run.summaries, "tx_bytes")


class Sides:
    """By name giantvm/WHAT/SIDE: what each round found; a round that failed on a side is not paired."""

    def __init__(self):
        self.p50, self.p99, self.buckets, self.top, self.each = {}, {}, {}, {}, {}
        self.floors = measured.Rounds()

    def add_samples(self, what, side, turn, ns):
        name = f"giantvm/{what}/{side}"
        line = guests.line_of_samples(name, ns)
        self.p50.setdefault(name, {})[turn] = line["round_p50"][0]
        self.p99.setdefault(name, {})[turn] = line["round_p99"][0]
        self.top[name] = max(self.top.get(name, 0), line["max"])
        sums = self.buckets.setdefault(name, {})
        for top, n in line["buckets"]:
            sums[top] = sums.get(top, 0) + n

    def add_value(self, what, side, turn, value):
        self.each.setdefault(f"giantvm/{what}/{side}", {})[turn] = value

    def rows(self):
        rows = [measured.histogram(n, self.buckets[n], list(r.values()), self.top[n], round_p99=list(self.p99[n].values()))
                for n, r in self.p50.items()]  # fmt: skip
        for name, r in self.each.items():
            what = name.split("/")[1]
            unit = "us" if what.startswith("served") else "bytes/op" if "bytes" in what else "messages/op"
            rows.append(measured.value(name, unit, list(r.values()), digits=3 if unit == "us" else 6))
        rows += [self.floors.time_row(n) for n in self.floors.names("")]
        return sorted(rows, key=lambda row: row["name"])

    @staticmethod
    def paired(table, what, ours, theirs):
        """(the ratio of each round, both sides) over the rounds that both have; None without any."""
        a, b = table.get(f"giantvm/{what}/{ours}", {}), table.get(f"giantvm/{what}/{theirs}", {})
        turns = [t for t in a if t in b and b[t] > 0]
        if not turns:
            return None
        return [a[t] / b[t] for t in turns], ([a[t] for t in turns], [b[t] for t in turns])

    def stages(self, what, key, *both):
        """Where a fault's time is: on both sides, as far as it is known, and what of ours the floors are."""
        table, kind, words = {"p50": self.p50, "p99": self.p99}[key], SERVED.get(what), []
        for side in both:
            seen = list(table.get(f"giantvm/{what}/{side}", {}).values())
            served = list(self.each.get(f"giantvm/served_{kind}_{key}/{side}", {}).values())
            if seen and served:
                words.append(f"{side}: {statistics.median(seen):.0f} us at the vCPU, {statistics.median(served):.0f} us from "
                             "message to mapping over all such faults of the guest")  # fmt: skip
        return "; ".join(words + self.share_of_floors(what, key, both[0]))

    def share_of_floors(self, what, key, ours):
        """Of the median of all rounds; of p99, how far it is beyond that. More than two nodes are on a bridge, of which
        the round trip by itself, over a veth pair, has nothing: what it costs is in the rest."""
        name, (local, take) = f"giantvm/{what}/{ours}", PARTS[what.partition("/")[0]]
        parts = {f"a local fault ({local})": f"floor/uffd_spin/{local}", f"taking the page ({take})": f"floor/take/{take}",
                 "a round trip of the port by itself": f"rtt/raw_{ours}/64"}  # fmt: skip
        if name not in self.p50 or any(n not in self.floors for n in parts.values()):
            return []
        whole = statistics.median(self.p50[name].values())
        words = [measured.shares(name, whole, {title: self.floors.median(n) for title, n in parts.items()})]
        if key == "p99":
            p99 = statistics.median(self.p99[name].values())
            words.append(f"its p99 of {p99:.0f} us is {p99 / whole:.1f} times that")
        return words

    def goals(self, samples):
        """samples: of a round."""
        out = []
        for what in FAULTS:
            for ours in OURS:
                for theirs, key, table, limit, sense in (
                    (PUBLISHED, "p50", self.p50, P50_GOAL, "<="),
                    (PUBLISHED, "p99", self.p99, P99_GOAL, "<="),
                    (SPINNING, "p50", self.p50, 1, "<"),
                    (SPINNING, "p99", self.p99, 1, "<"),
                ):
                    found = self.paired(table, what, ours, theirs)
                    if found and (key == "p50" or samples >= P99_SAMPLES):
                        title = f"giantvm/{what}/{ours} : giantvm/{what}/{theirs} ({key})"
                        why = self.stages(what, key, ours, theirs)
                        out.append(measured.judged(title, found[0], round(limit, 4), sense, found[1], why=why))
        return out

    def ratios(self):
        p50, p99, local = " (p50)", " (p99)", [("shm", s) for s in LOOPBACK if s != "shm"]
        whats = [("ipi", self.p50, p50, PAIRS), ("ipi", self.p99, p99, PAIRS), ("handover", self.p50, p50, PAIRS)]
        whats += [(f"{k}_{u}", self.each, "", PAIRS) for k in KERNELS for u in ("messages", "bytes")]
        whats += [(f"served_{k}_{p}", self.each, "", PAIRS) for k in SERVED.values() for p in ("p50", "p99")]
        whats += [(what, self.p50, p50, local) for _, _, what, everywhere in LATENCIES if everywhere]
        out = []
        for what, table, end, pairs in whats:
            for ours, theirs in pairs:
                found = self.paired(table, what, ours, theirs)
                if found:
                    title = f"giantvm/{what}/{ours} : giantvm/{what}/{theirs}{end}"
                    out.append(measured.compared(title, *found))
        return out


def steps_of(args):
    """(title, function of sides and turn) for each side and run."""

    def latency(side, nodes, words, what, _):
        def step(sides, turn):
            words_of = f"{words} n={args.samples} raw=1 gap_us={guests.GAP_US}"
            done = run(args.build, side, "pingpong", nodes, words_of)
            if what in SERVED:
                for p in ("p50", "p99"):
                    us = summary.get(done.summaries[0], "faults", what.partition("/")[0], f"{p}_us")
                    sides.add_value(f"served_{SERVED[what]}_{p}", side, turn, us)
            mode = what.partition("/")[0]
            sides.add_samples(what, side, turn, samples_of(done, mode, args.samples))

        return f"{side}: {words}, {nodes} nodes", step

    def kernel(side, guest):
        nodes, words, operations, _ = KERNELS[guest]

        def step(sides, turn):
            messages, size = sent(run(args.build, side, guest, nodes, words))
            sides.add_value(f"{guest}_messages", side, turn, messages / operations)
            sides.add_value(f"{guest}_bytes", side, turn, size / operations)

        return f"{side}: {guest}", step

    def floors(sides, _):
        lines = measured.run_tool(args.build, "uffd_floor", 1)
        lines += measured.run_tool(args.build, "pando-rtt", "--sizes", 64, "--rounds", 1, "--samples", RAW_SAMPLES)
        for line in lines:
            if line["name"].startswith("floor/") or line["name"] in RAW:
                sides.floors.add(line)

    runs = [[("the floors", floors)]]
    runs += [[latency(s, *run) for s in (SIDES | LOOPBACK if run[3] else SIDES)] for run in LATENCIES]
    return runs + [[kernel(s, k) for s in SIDES] for k in KERNELS]


def measure(args, sides, missing):
    """Runs of one kind are neighbours in time; who of the sides comes first takes turns."""
    broken, begun, longest = set(), time.monotonic(), 0
    for turn in range(args.rounds):
        round_begun = time.monotonic()
        if turn > 0 and args.limit and round_begun - begun + longest > args.limit:
            missing.append(f"{args.rounds - turn} of {args.rounds} rounds: they did not fit into --limit {args.limit}")
            return
        for steps in steps_of(args):
            first = turn % len(steps)
            for title, step in (s for s in steps[first:] + steps[:first] if s[0] not in broken):
                measured.say(f"giantvm: round {turn + 1} of {args.rounds}: {title}")
                try:
                    step(sides, turn)
                except measured.ToolError as e:
                    measured.say(f"giantvm: {e}")
                    broken.add(title)
                    missing.append(f"{title}, from round {turn + 1} on: {e}")
        longest = max(longest, time.monotonic() - round_begun)


def table(results):
    print(f"{'result':<40}{'n':>8}{'p50':>12}{'p99':>12}{'max':>12}")
    for r in results:
        if "buckets" in r:
            print(f"{r['name']:<40}{r['n']:>8}{r['p50']:>12.2f}{r['p99']:>12.2f}{r['max']:>12.2f} {r['unit']}")
        else:
            print(f"{r['name']:<40}{r['rounds']:>8}{r['median']:>12g}  {r['low']:g}..{r['high']:g} {r['unit']}")


def remarks():
    return [
        "giantvm and giantvm_spin are a re-implementation of what is published of GiantVM's memory, and are not GiantVM: "
        "perf/giantvm/README.md says what is copied, what cannot be, and what is in its favour",
        "shm against giantvm_loopback and giantvm_spin_loopback is not the same link: shared memory against TCP over the "
        "loopback interface",
        "bytes are those behind the Ethernet header for Pando, and TCP's payload for the baseline; a kernel's messages and "
        "bytes include the guest's start, on every side: per operation means one of "
        + "; ".join(f"{k}: {ops} {what}" for k, (_, _, ops, what) in KERNELS.items()),
    ]


def main():
    parser = argparse.ArgumentParser(prog="./dev bench giantvm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=measured.within(1, 100), default=5, metavar="N",
                        help="interleaved rounds, 1..100 (default %(default)s); p needs 4 or more")  # fmt: skip
    parser.add_argument("--samples", type=measured.within(4, 10000), default=P99_SAMPLES, metavar="N",
                        help="of each kind a round, 4..10000 (default %(default)s)")  # fmt: skip
    parser.add_argument("--limit", type=measured.within(0, 86400), default=0, metavar="S",
                        help="begin no round that would not be over after so many seconds; 0: none (default)")  # fmt: skip
    args = parser.parse_args()
    sides, missing, start = Sides(), [], time.monotonic()
    with measured.until_signal(missing):
        measure(args, sides, missing)
    if args.samples < P99_SAMPLES:
        missing.append(f"p99 against its goals: {args.samples} samples a round, {P99_SAMPLES} are needed")
    missing += [f"{n}: left out; standard error says why" for n in RAW if n not in sides.floors]
    short = max(nodes for nodes, *_ in LATENCIES)
    if (os.cpu_count() or 1) < 3 * short:
        missing.append(f"a core for each of a node's threads: {os.cpu_count()} CPUs for up to {short} nodes, on every side alike")
    config = Options(engine="giantvm", fabric="af_packet", nodes=2, vcpus=2, check=False, ram=64, pinned=True,
                     poll=poll_of(2, True)).config("RUN", "bench", "DEVICE")
    measured.report("giantvm", args, start, sides.rows(), sides.goals(args.samples), missing, table, remarks(), ratios=sides.ratios(),
                    config=config)  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
