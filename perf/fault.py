#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench fault: what a remote page fault costs a guest, beside what it is made of.

In interleaved rounds: userfaultfd alone with no network (floor/uffd_spin: resolved by a thread that polls,
floor/uffd_yield: by one that yields; floor/take: what write-protecting a page, or taking it away, costs its owner),
the raw fabric and the transport on it, and what a guest sees: a page that the peer has just modified is read and
written, a page that both had read is written. Between two faults the vCPU rests for longer than pages are held
(coherence.hold_us), and the peer halts. Samples that are shorter than any local fault were none and do not count.

The floor of a fault is the polled local fault of its kind + what the owner's end needs + hops * raw round trip / 2;
two nodes are two hops from each other, whoever is the page's home.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 60, "args": ["--limit", "50"]}
NODES, GOAL, RTT_SAMPLES = 2, 1.25, 1000
# result: (mode of the guest pingpong, the local fault of its kind, what the other node's end does, hops)
FAULTS = {
    "fault/read": ("read", "minor_shared", "wp", 2),
    "fault/write_modified": ("write", "minor_modified", "zap", 2),
    "fault/upgrade": ("upgrade", "wp_upgrade", "zap", 2),
}
NOT_FAULTS = 0.02  # of the samples: more of them, and it was something else that was measured


def transport(fabric):
    """What is measured of the fabric: raw round trip, the same through RRDP, a page fetched raw and through RRDP."""
    return f"rtt/raw_{fabric}/64", f"rtt/{fabric}/64", f"fetch/raw_{fabric}/4096", f"fetch/{fabric}/4096"


def steps_of(args, rounds, configs):
    def tool(name, *words):
        for line in measured.run_tool(args.build, name, *words):
            if line["name"].startswith("floor/") or line["name"] in transport(args.fabric):
                rounds.add(line)

    def guest(result, mode, kind):
        words = f"mode={mode} n={args.samples} raw=1 gap_us={guests.GAP_US} halt=1"
        poll = guests.poll_mode(NODES, halting=True)
        run = guests.run(args.build, "pingpong", words, NODES, fabric=args.fabric, pinned=poll == "yield", poll=poll)
        rounds.add(faults_of(result, run.samples[mode], fastest(rounds, kind)))
        configs.append(run.config)

    steps = [("userfaultfd alone", lambda: tool("uffd_floor", 1)),
             ("the fabric", lambda: tool("pando-rtt", "--sizes", 64, "--rounds", 1, "--samples", RTT_SAMPLES))]
    return steps + [(name, lambda n=name, f=f: guest(n, f[0], f[1])) for name, f in FAULTS.items()]


def fastest(rounds, kind):
    """ns of the fastest local fault of this kind; 0: not measured."""
    name = f"floor/uffd_spin/{kind}"
    return min(rounds.get(name, "buckets")) if name in rounds else 0


def faults_of(name, samples, least):
    """A round of samples without those that were no faults."""
    faults = [ns for ns in samples if ns >= least]
    if len(samples) - len(faults) > NOT_FAULTS * len(samples):
        raise measured.ToolError(f"{len(samples) - len(faults)} of {len(samples)} samples took less than {least} ns, "
                                 "as no fault does: the pages were there already")  # fmt: skip
    return guests.line_of_samples(name, faults)


def floor_of(rounds, raw, kind, take, hops):
    """Round by round, or None where a part was not measured."""
    parts = [f"floor/uffd_spin/{kind}", f"floor/take/{take}", raw]
    if any(p not in rounds for p in parts):
        return None
    return [a + b + hops * rtt / 2 for a, b, rtt in zip(*(rounds.get(p, "round_p50") for p in parts))]


def judge(rounds, fabric, missing):
    """Goals where there are cores enough; elsewhere the same as ratios, and in missing why that is no answer."""
    goals, ratios, short = [], [], guests.cores_short(NODES)
    raw, own, _, page = transport(fabric)
    for name, (_, kind, take, hops) in FAULTS.items():
        floor = floor_of(rounds, raw, kind, take, hops)
        if floor is None or name not in rounds:
            continue
        sides = rounds.get(name, "round_p50"), floor
        each = [a / b for a, b in zip(*sides)]
        title = f"{name} : {kind} + {take} + {hops} hops"
        if short:
            ratios.append(measured.compared(title, each, sides))
            missing.append(f"whether {name} is at most {GOAL} of its floor: {short}; the ratio stands among the ratios")
        else:
            goals.append(measured.judged(title, each, GOAL, "<=", sides))
    pairs = [(own, raw), ("fault/read", page)]
    pairs += [(n, f"floor/uffd_yield/{f[1]}") for n, f in FAULTS.items()]
    return goals, ratios + [r for r in (rounds.ratio(a, b) for a, b in pairs) if r]


def table(results):
    print(f"{'result':<34}{'n':>8}{'p50':>10}{'spread of p50':>20}{'p90':>10}{'p99':>10}{'max':>12}  us")
    for r in results:
        spread = f"{r['p50_low']:.2f}..{r['p50_high']:.2f}"
        print(f"{r['name']:<34}{r['n']:>8}{r['p50']:>10.2f}{spread:>20}{r['p90']:>10.2f}{r['p99']:>10.2f}"
              f"{r['max']:>12.2f}")  # fmt: skip


def main():
    args = guests.arguments("fault", __doc__, 4, ("samples", 200, 10, 100000, "of each kind of fault a round"))
    rounds, missing, configs, start = measured.Rounds(), [], [""], time.monotonic()
    measured.run_steps("fault", args, steps_of(args, rounds, configs), missing)
    goals, ratios = judge(rounds, args.fabric, missing)
    rows = [rounds.time_row(n) for n in sorted(rounds.names(""))]
    measured.report("fault", args, start, rows, goals, missing, table, ratios=ratios, config=configs[-1] or None)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
