#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench span: what a remote fault, an interrupt and a remote exit are made of, stage by stage.

The bare-metal guest pingpong runs on nodes of this machine, and every transaction is sampled (telemetry.sample: 1).
A fault that is measured is one access of the guest's: its own time stamps before and after it are laid around the
nodes' stamps of the one fault between them (the guest's TSC is the cluster clock less a constant, which the VM's
process says). So the stages `read` (the vCPU has stopped -> its message is read) and `resumed` (mapped -> the vCPU
goes on) are there too, and the stages add up to what the guest has waited. dataplane/span/span.h says what each stage
is; interrupts and exits have no guest's stamp around them. An access in which the guest faulted more than once is left
out and counted. Beside that: what the stamps themselves cost, in cycles. Samples of all rounds are added up.
"""
import argparse
import bisect
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
sys.path.insert(0, os.path.join(ROOT, "perf", "common"))
import cluster as cl  # noqa: E402
import guests  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402
from options import Options  # noqa: E402

IN_ALL = {"seconds": 150, "args": ["--rounds", "2"]}

# name of the waterfall -> (guest's mode, nodes, words: whose page it is); kind of the spans, mode, where they are looked for
FAULTS = (("read", "read", 2, "nodes=2 home=1"), ("read_three_nodes", "read", 3, "peer=1 nodes=3 home=2"),
          ("write", "write", 2, "nodes=2 home=1"), ("upgrade", "upgrade", 2, ""),
          ("upgrade_two_sharers", "upgrade", 3, "sharers=2"))  # fmt: skip
OTHERS = (("ipi", "ipi", "ipi", 0), ("pio", "io", "pio", 1), ("mmio", "io", "mmio", 1))
FAULT_ORDER = ("read", "asked", "request_tx", "home_rx", "home_tx", "owner_rx", "owner_done", "owner_tx", "data_rx",
               "sharer_rx", "sharer_done", "sharer_tx", "acked", "mapped", "resumed")  # fmt: skip
GAP = "gap_us=300 halt=1"  # longer than a page set is held (coherence.hold_us): else the page comes along with another
RECORDS = 1024  # SPAN_RING
KINDS = ("read", "write", "upgrade", "local")


class Failed(measured.ToolError):
    """A guest did not pass, or what it and the nodes say does not fit together; the text says which and why."""


def run_guest(build, mode, nodes, words, samples):
    """(result, [(before, after)] in the guest's TSC, as the samples were taken)"""
    stamps, tail = [], collections.deque(maxlen=12)

    def line(process, stream, text):
        found = re.match(r"STAMPS \S+ (\d+) (\d+)$", text) if process.name == "vmm" and stream == "out" else None
        if found:
            stamps.append((int(found[1]) - int(found[2]), int(found[1])))
        else:
            tail.append(f"{process.name}: {text}")

    o = options(nodes, f"mode={mode} n={samples} raw=2 {words}".strip())
    try:
        with cl.Cluster(o, build, on_line=line) as c:
            result = c.run()
    except cl.SetupError as e:
        raise Failed(str(e)) from None
    if not result.passed:
        raise Failed(f"guest pingpong mode={mode} on {nodes} nodes: {result.died or f'status {result.status}'}: "
                     + " | ".join(tail))  # fmt: skip
    return result, stamps


def options(nodes, words):
    """Faults: the peers halt between orders."""
    poll = guests.poll_mode(nodes, halting="halt=1" in words)
    return Options(nodes=nodes, vcpus=nodes, guest="pingpong", ram=64, check=False, timeout=100, sample=1, spans=True,
                   cmdline=words, poll=poll, pinned=poll == "yield")  # fmt: skip


def settled(stamps, own):
    """The points in order, a peer's moved between its neighbours, as span.h says."""
    points, before, out = list(stamps.items()), None, []
    for i, (name, at) in enumerate(points):
        if name not in own:
            at = min(at, next((t for n, t in points[i + 1 :] if n in own), at))
        before = at if before is None else max(at, before)
        out.append((name, before))
    return out


OWN_POINTS = {"read", "asked", "request_tx", "data_rx", "acked", "mapped"}
OWN_OTHER = {"icr", "read", "tx", "exit", "exit_tx", "done_rx", "back", "entered"}


def stages_of(record, own):
    points = settled(record["stamps"], own)
    return {b[0]: b[1] - a[1] for a, b in zip(points, points[1:])}


def bases(summary, last):
    """How a guest's TSC becomes cluster clock, both ways that there are. As vkvm/guest_clock.h says; or, where KVM
    cannot offset it (PVM: the guest reads the host's), by the node's map as it was at the end of the run."""
    clock = summary["clock"]
    yield lambda t: t + summary["spans"]["epoch"]
    yield lambda t: t + clock["offset_ticks"] + int((t - last) * clock["rate_ppb"] / 1e9)


def inside(records, begins, before, after):
    first, end = bisect.bisect_left(begins, before), bisect.bisect_right(begins, after)
    return [r for r in records[first:end] if r["stamps"]["mapped"] <= after]


def join(result, stamps):
    """Each sample's one fault, as {stage: ticks, "total"}, its record, and how many samples had another number."""
    records = sorted((r for r in result.spans[0] if r["kind"] in KINDS), key=lambda r: r["stamps"]["read"])
    begins, best = [r["stamps"]["read"] for r in records], []
    for base in bases(result.summaries[0], begins[-1] if begins else 0):
        joined = []
        for before, after in ((base(b), base(a)) for b, a in stamps):
            found = inside(records, begins, before, after)
            if len(found) != 1:
                continue
            stages = {"read": found[0]["stamps"]["read"] - before, **stages_of(found[0], OWN_POINTS),
                      "resumed": after - found[0]["stamps"]["mapped"], "total": after - before}  # fmt: skip
            if sum(stages.values()) != 2 * stages["total"]:
                raise Failed(f"the stages of span {found[0]['serial']} do not add up: {stages}")
            joined.append((stages, found[0]))
        best = max(best, joined, key=len)
    return best, len(stamps) - len(best)


class Waterfall:
    """Samples of one kind over the rounds: in ns, by stage."""

    def __init__(self, name, order):
        self.name, self.order, self.samples, self.medians, self.others = name, order, {}, {}, 0

    def add(self, each, khz):
        if not each:
            raise Failed(f"{self.name}: no span of it")
        for stage in {s for stages in each for s in stages}:
            ns = [stages[stage] * 1e6 / khz for stages in each if stage in stages]
            self.samples.setdefault(stage, []).extend(ns)
            self.medians.setdefault(stage, []).append(round(statistics.median(ns) / 1e3, 3))

    def stages(self):
        return [s for s in self.order if s in self.samples]

    def rows(self):
        out = []
        for stage in [*self.stages(), "total"]:
            ns = self.samples[stage]
            top, low = round(max(ns) / 1e3, 3), {"of_all": len(self.samples["total"])}
            out.append(output.histogram(f"span/{self.name}/{stage}", output.of_samples(ns), self.medians[stage], top,
                                        counts={**low, "mean_us": round(statistics.fmean(ns) / 1e3, 3)}))  # fmt: skip
        return out

    def drawn(self):
        of = lambda s: f"span/{self.name}/{s}"
        return {"name": f"span/{self.name}", "total": of("total"), "stages": [of(s) for s in self.stages()]}


def whole(result, node, kind):
    """Spans without a guest's stamps around them."""
    out = []
    for r in result.spans[node]:
        if r["kind"] == kind:
            stages = stages_of(r, OWN_OTHER)
            out.append({**stages, "total": sum(stages.values())})
    return out


def measure_fault(args, w, mode, nodes, words):
    result, stamps = run_guest(args.build, mode, nodes, f"{words} {GAP}".strip(), args.samples)
    if len(stamps) != args.samples:
        raise Failed(f"{w.name}: {len(stamps)} stamps of the guest, not {args.samples}")
    newest = result.summaries[0]["spans"]["newest"]
    if newest > RECORDS:
        raise Failed(f"{w.name}: {newest} spans, of which a node keeps {RECORDS}: fewer --samples")
    joined, others = join(result, stamps)
    if len(joined) < len(stamps) / 2:
        raise Failed(f"{w.name}: of {len(stamps)} accesses {len(joined)} have one fault within the guest's stamps")
    hops = [(s, r) for s, r in joined if "peer=" not in words or len({0, r["home"], r["owner"]} - {None}) == 3]
    if len(hops) < len(joined) / 2:
        raise Failed(f"{w.name}: the page's home is no third node")
    w.others += others
    w.add([s for s, _ in hops], result.summaries[0]["spans"]["khz"])


def measure_other(args, w, mode, node, kind):
    result, _ = run_guest(args.build, mode, 2, "", args.samples)
    w.add(whole(result, node, kind), result.summaries[node]["spans"]["khz"])


def steps_of(args, falls):
    faults = [(name, lambda f=(falls[name], *how): measure_fault(args, *f)) for name, *how in FAULTS]
    others = [(name, lambda f=(falls[name], mode, node, kind): measure_other(args, *f)) for name, kind, mode, node in OTHERS]
    return faults + others


def costs(args, missing):
    program = os.path.join(args.build, "perf", "pando-span-cost")
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise OSError(done.stderr.strip() or f"ended with {done.returncode}")
        return [output.value(d["name"], d["unit"], d["each"], 1)
                for d in map(json.loads, done.stdout.splitlines())]  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        missing.append(f"what stamps cost: {e}")
        return []


def table(results):
    shown = None
    for r in results:
        if "buckets" not in r:
            print(f"{r['name']:<34}{r['median']:>10.1f} {r['unit']} ({r['low']}..{r['high']})")
            continue
        _, fall, stage = r["name"].split("/")
        if fall != shown:
            shown = fall
            print(f"\n{fall:<22}{'n':>6}{'p50':>11}{'p90':>11}{'p99':>11}{'max':>12}{'mean':>11} us   share of the mean")
        total = next(x for x in results if x["name"] == f"span/{fall}/total")["counts"]["mean_us"]
        share = r["counts"]["mean_us"] * r["n"] / r["counts"]["of_all"] / total if total else 0
        print(f"  {stage:<20}{r['n']:>6}{r['p50']:>11.2f}{r['p90']:>11.2f}{r['p99']:>11.2f}{r['max']:>12.2f}"
              f"{r['counts']['mean_us']:>11.2f}   {share:>6.1%} {'#' * round(40 * share)}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(prog="./dev bench span", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=measured.within(1, 100), default=3, metavar="N",
                        help="of all guests, 1..100 (default 3)")  # fmt: skip
    parser.add_argument("--samples", type=measured.within(4, 110), default=100, metavar="N",
                        help="accesses a round, 4..110: a node keeps its last 1024 spans (default %(default)s)")  # fmt: skip
    args = parser.parse_args()
    start, missing, args.limit = time.monotonic(), [], None
    io = ("read", "exit_tx", "rx", "given", "taken", "handled", "done_read", "done_tx", "done_rx", "back", "entered")
    orders = {"ipi": ("read", "tx", "rx", "posted", "taken"), "pio": io, "mmio": io}
    falls = {name: Waterfall(name, orders.get(name, FAULT_ORDER)) for name, *_ in FAULTS + OTHERS}
    whole_run = measured.run_steps("span", args, steps_of(args, falls), missing)
    done = [w for w in falls.values() if w.samples]
    results = [row for w in done for row in w.rows()] + (costs(args, missing) if whole_run else [])
    remarks = ["all nodes are processes of this machine: their vCPUs and poll loops take turns on its CPUs, and that is "
               "in the stages where a thread is woken"]  # fmt: skip
    remarks += [f"{w.name}: {w.others} accesses in which the guest faulted never or more than once are left out"
                for w in done if w.others]  # fmt: skip
    output.report("span", args, start, results, [], missing, table, remarks,
                  waterfalls=[w.drawn() for w in done], config=options(2, GAP).config("RUN_DIR", "bench", "DEVICE"))  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
