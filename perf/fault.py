#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench fault: what a remote page fault costs a guest, beside what it is made of.

In interleaved rounds: userfaultfd alone with no network (floor/uffd_spin: resolved by a thread that polls,
floor/uffd_yield: by one that yields; floor/take: what write-protecting a page, or taking it away, costs its owner),
the raw fabric and the transport on it, and what a guest sees: a page that the peer has just modified is read and
written (write_modified), one that two other nodes have Shared is written by a third that has it not (write_shared), a
page that nobody has touched and whose home is the peer is written (first_touch: no page is moved), a page that both had
read is written (upgrade). Between two faults the vCPU rests for longer than pages are held (coherence.hold_us), and the
peers halt. Samples that are shorter than any local fault were none and do not count: of too many of them the guest is
run once more. Of the kinds that the page's home decides, the dataplanes' counters say whether they were reached.

The floor of a fault is the polled local fault of its kind + what the owner's end needs + hops * raw round trip / 2;
two nodes are two hops from each other, whoever is the page's home; write_shared asks a home that has to invalidate
the other sharer, who acknowledges it to the writer: three.
"""
import os
import sys
import time
import typing

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import guests  # noqa: E402
import measured  # noqa: E402

IN_ALL = {"seconds": 95, "args": ["--limit", "75"]}
GOAL, RTT_SAMPLES = 1.25, 1000


class Fault(typing.NamedTuple):
    mode: str  # of the guest pingpong
    words: str  # more for it
    nodes: int
    local: str  # the local fault of its kind
    take: str  # what the other node's end does; "": nothing, nobody had the page
    hops: int
    sent: tuple = ()  # (node, message): it sends at least one for each sample, or something else was measured


FAULTS = {
    "fault/read": Fault("read", "nodes=2 home=1", 2, "minor_shared", "wp", 2),
    "fault/write_modified": Fault("write", "nodes=2 home=1", 2, "minor_modified", "zap", 2),
    "fault/write_shared": Fault("write", "sharers=2 nodes=3 home=2", 3, "minor_modified", "zap", 3, (1, "gets")),
    "fault/first_touch": Fault("touch", "nodes=2 home=1", 2, "minor_modified", "", 2, (0, "getm")),
    "fault/upgrade": Fault("upgrade", "", 2, "wp_upgrade", "zap", 2),
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

    def guest(name, f):
        words = f"mode={f.mode} n={args.samples} raw=1 gap_us={guests.GAP_US} halt=1 {f.words}".strip()
        poll = guests.poll_mode(f.nodes, halting=True)
        run = guests.run(args.build, "pingpong", words, f.nodes, fabric=args.fabric, pinned=poll == "yield", poll=poll)
        look_at_messages(f, run, args.samples)
        rounds.add(faults_of(name, run.samples[f.mode], fastest(rounds, f.local)))
        configs.append(run.config)

    steps = [("userfaultfd alone", lambda: tool("uffd_floor", 1)),
             ("the fabric", lambda: tool("pando-rtt", "--sizes", 64, "--rounds", 1, "--samples", RTT_SAMPLES))]
    return steps + [(name, measured.second_try(lambda n=name, f=f: guest(n, f))) for name, f in FAULTS.items()]


def look_at_messages(f, run, samples):
    """Whether the guest brought this kind about."""
    if not f.sent:
        return
    node, kind = f.sent
    sent = guests.summary.get(run.summaries[node], "messages", kind, "tx")
    if sent < samples:
        raise measured.ToolError(f"node {node} sent {sent} {kind} for {samples} faults: they were of another kind")


def fastest(rounds, kind):
    """ns of the fastest local fault of this kind; 0: not measured."""
    name = f"floor/uffd_spin/{kind}"
    return min(rounds.get(name, "buckets")) if name in rounds else 0


def faults_of(name, samples, least):
    """A round of samples without those that were no faults."""
    faults = [ns for ns in samples if ns >= least]
    if len(samples) - len(faults) > NOT_FAULTS * len(samples):
        raise measured.Unlucky(f"{len(samples) - len(faults)} of {len(samples)} samples took less than {least} ns, "
                               "as no fault does: the pages were there already")  # fmt: skip
    return guests.line_of_samples(name, faults)


def floor_of(rounds, raw, kind, take, hops):
    """Round by round, or None where a part was not measured."""
    parts = [f"floor/uffd_spin/{kind}", raw] + ([f"floor/take/{take}"] if take else [])
    if any(p not in rounds for p in parts):
        return None
    return [local + hops * rtt / 2 + sum(taken)
            for local, rtt, *taken in zip(*(rounds.get(p, "round_p50") for p in parts))]  # fmt: skip


def judge(rounds, fabric, missing):
    """Goals where there are cores enough; elsewhere the same as ratios, and in missing why that is no answer."""
    goals, ratios = [], []
    raw, own, _, page = transport(fabric)
    for name, f in FAULTS.items():
        floor, short = floor_of(rounds, raw, f.local, f.take, f.hops), guests.cores_short(f.nodes)
        if floor is None or name not in rounds:
            continue
        sides = rounds.get(name, "round_p50"), floor
        each = [a / b for a, b in zip(*sides)]
        title = " + ".join([f"{name} : {f.local}", *([f.take] if f.take else []), f"{f.hops} hops"])
        if short:
            ratios.append(measured.compared(title, each, sides))
            missing.append(f"whether {name} is at most {GOAL} of its floor: {short}; the ratio stands among the ratios")
        else:
            goals.append(measured.judged(title, each, GOAL, "<=", sides, why=why_of(rounds, fabric, name)))
    pairs = [(own, raw), ("fault/read", page)]
    pairs += [(n, f"floor/uffd_yield/{f.local}") for n, f in FAULTS.items()]
    return goals, ratios + [r for r in (rounds.ratio(a, b) for a, b in pairs) if r]


def why_of(rounds, fabric, name):
    """Of the medians that were measured: what each part of the floor is of the fault, and what the parts leave."""
    f, whole = FAULTS[name], rounds.median(name)
    raw, own, *_ = transport(fabric)
    parts = {f"a local fault ({f.local})": rounds.median(f"floor/uffd_spin/{f.local}"),
             f"{f.hops} hops of the port": f.hops * rounds.median(raw) / 2}  # fmt: skip
    if f.take:
        parts[f"taking the page ({f.take})"] = rounds.median(f"floor/take/{f.take}")
    if own in rounds:
        parts["the transport around the hops"] = f.hops * (rounds.median(own) - rounds.median(raw)) / 2
    return measured.shares(name, whole, parts)


def table(results):
    print(f"{'result':<34}{'n':>8}{'p50':>10}{'spread of p50':>20}{'p90':>10}{'p99':>10}{'max':>12}  us")
    for r in results:
        spread = f"{r['p50_low']:.2f}..{r['p50_high']:.2f}"
        print(f"{r['name']:<34}{r['n']:>8}{r['p50']:>10.2f}{spread:>20}{r['p90']:>10.2f}{r['p99']:>10.2f}"
              f"{r['max']:>12.2f}")  # fmt: skip


def main():
    args = guests.arguments("fault", __doc__, 4, ("samples", 200, 100, 7000, "of each kind of fault a round"))
    rounds, missing, configs, start = measured.Rounds(), [], [""], time.monotonic()
    measured.run_steps("fault", args, steps_of(args, rounds, configs), missing)
    goals, ratios = judge(rounds, args.fabric, missing)
    missing += [f"{n}: no round of it" for n in FAULTS if n not in rounds and not any(n in t for t in missing)]
    rows = [rounds.time_row(n) for n in sorted(rounds.names(""))]
    measured.report("fault", args, start, rows, goals, missing, table, ratios=ratios, config=configs[-1] or None)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
