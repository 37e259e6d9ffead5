#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The benches of guests and of streams, briefly: each result is there with all its samples; on a machine where guests
run nothing may be left out. Their times are nobody's here.
"""
import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from io import StringIO

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# perf/common's guests.py, not this file.
sys.path[:0] = [os.path.join(ROOT, "perf", "common"), os.path.join(ROOT, "perf"), os.path.join(ROOT, "tests", "system"), HERE]
import guests  # noqa: E402
import measured  # noqa: E402
import outcome  # noqa: E402
import scale as bench_scale  # noqa: E402
import schema  # noqa: E402
from tools import bench, possible  # noqa: E402

SAMPLES = 20
ROUND = ("--rounds", "1", "--samples", str(SAMPLES))
FAULTS = ("fault/read", "fault/write_modified", "fault/write_shared", "fault/first_touch", "fault/upgrade")
LOCAL = ("minor_modified", "minor_shared", "wp_upgrade")


def lacking(out, names, samples=None):
    """What of the names is not measured, or has not so many samples; or None."""
    have = {r["name"]: r for r in out["results"]}
    for name in names:
        if name not in have:
            return f"{name} is not measured: {out['not_measured']}"
        if samples and not samples[0] <= have[name]["n"] <= samples[1]:
            return f"{name} has {have[name]['n']} samples of {samples[1]}"
    return None


def of_a_cluster(out):
    """The hash is of the cluster's configuration, not of the bench's arguments."""
    settings = hashlib.sha256(json.dumps(out["settings"], sort_keys=True).encode()).hexdigest()
    return f"config_sha256 is of the settings: {out['settings']}" if out["config_sha256"] == settings else None


def fault(build):
    # So many that a kind is told by its messages from what the guest's start costs; a few may be no faults.
    n = 100
    out, _ = bench(build, "fault", "--rounds", "1", "--samples", str(n))
    names = {r["name"] for r in out["results"]}
    floors = {f"floor/uffd_{how}/{kind}" for how in ("spin", "yield") for kind in LOCAL}
    floors |= {"floor/take/wp", "floor/take/zap"}
    if floors - names:
        return f"no {sorted(floors - names)}"
    judged = [g["name"] for g in out["goals"]] + [r["name"] for r in out["ratios"]]
    wrong = lacking(out, FAULTS, (0.98 * n, n)) or of_a_cluster(out)
    if wrong:
        return wrong
    if sorted(n.split(" : ")[0] for n in judged if n.endswith(" hops")) != sorted(FAULTS):
        return f"a fault is not held against its floor: {judged}"
    return None


def warm(build):
    """Samples before those that are kept are made as well, and are not kept: of pages that are touched for the first
    time, each asks another node for it."""
    asked = {}
    for n in (0, 60):
        run = guests.run(build, "pingpong", f"mode=touch n={SAMPLES} raw=1 nodes=2 home=1 warm={n}", 2)
        if (run.warm, len(run.samples["touch"])) != ([n], SAMPLES):
            return f"warm={n}: {run.warm} before {len(run.samples['touch'])} samples"
        asked[n] = guests.summary.get(run.summaries[0], "messages", "getm", "tx")
    if not 50 <= asked[60] - asked[0] <= 70:
        return f"60 samples before the first: node 0 asked {asked[60]} times, without them {asked[0]} times"
    # By default, too; and all that is done while it warms up is verified, as the rest.
    done = guests.run(build, "pingpong", f"mode=read n={SAMPLES} raw=1", 2)
    if not done.warm or done.warm[0] < 1:
        return f"pingpong does not warm up by itself: {done.warm}"
    try:
        with contextlib.redirect_stderr(StringIO()):  # what the guest says of it is as it should be
            guests.run(build, "pingpong", f"mode=read n={SAMPLES} warm=8 break=1", 2)
        return "what is read wrong while the guest warms up is not noticed"
    except guests.GuestError:
        return None


def scale(build):
    """Two of its steps: the whole takes most of a minute."""
    args = argparse.Namespace(build=build, fabric="shm", ms=100)
    rates, rounds = bench_scale.Rates(), measured.Rounds()
    steps = dict(bench_scale.steps_of(args, rates, rounds))
    steps["steal, 4 vCPUs"]()
    steps["mixed, 200/s and vCPU"]()
    (row,) = rates.rows()
    if row["median"] <= 0 or not 0 < row["counts"]["faults"] <= 2 * row["counts"]["accesses"]:
        return f"faults of accesses while the guest worked: {row}"
    # 100 ms of 200 a second: 20 of each of 4 vCPUs, and none of those that warmed it up.
    n = rounds.get("open/mixed/rate=200", "n")
    return f"{n} samples of an open loop, not 80" if n != 80 else None


def span(build):
    """Every waterfall, over three nodes too."""
    out, _ = bench(build, "span", *ROUND)
    kinds = ("read", "read_three_nodes", "write", "upgrade", "ipi", "pio", "mmio")
    return lacking(out, [f"span/{k}/total" for k in kinds]) or of_a_cluster(out)


def idle(build):
    out, _ = bench(build, "idle", "--rounds", "1", "--increments", "100", "--rest", "100", "--fabrics", "shm", "--modes", "yield")
    names = [f"idle/shm/yield/{v}" for v in ("rest_cpu", "light_cpu", "page_p50", "page_p99")]
    return lacking(out, names) or lacking(out, ["idle/shm/yield/page"], (1, 100)) or of_a_cluster(out)


def io(build):
    out, _ = bench(build, "io", *ROUND)
    return lacking(out, [f"io/{place}/{way}" for place in ("local", "remote")
                          for way in ("pio_in", "pio_out", "mmio_read", "mmio_write")], (SAMPLES, SAMPLES))  # fmt: skip


def ipi(build):
    out, _ = bench(build, "ipi", *ROUND, "--blocks", "2")
    if out["goals"] or not any("of p99" in text for text in out["not_measured"]):
        return f"{len(out['goals'])} goals of {2 * SAMPLES} samples: {out['not_measured']}"
    return of_a_cluster(out) or lacking(out, [f"ipi/{kind}" for kind in ("alone", "spin", "page", "mmio")], (2 * SAMPLES, 2 * SAMPLES))


def stream(build):
    """Pages arrive on every fabric that can be, raw and through RRDP, in some round: a busy machine may leave one
    without."""
    out, _ = bench(build, "stream", "--quick", "--rounds", "2", "--ms", "60")
    most = {}
    for r in (r for r in out["results"] if r["unit"] == "pages/s"):
        variant = r["name"].split("/")[1]
        most[variant] = max(most.get(variant, 0), r["high"])
    want = [n for f in possible(build)[0] for n in (f, f"raw_{f}")] + ["tcp_spin", "tcp_block"]
    none = [n for n in want if most.get(n, 0) <= 0]
    return f"no page came: {none} ({out['not_measured']})" if none else None


def main():
    args = outcome.parser(__doc__).parse_args()

    def guarded(test):
        if os.geteuid() != 0:
            raise outcome.Skipped("not root")
        if test not in (stream, idle) and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise outcome.Skipped("there is no /dev/kvm")
        try:
            return test(args.build)
        except (measured.ToolError, schema.BadResult, OSError, subprocess.TimeoutExpired) as e:
            return str(e)

    tests = {"bench/warm": warm, "bench/fault": fault, "bench/scale": scale, "bench/io": io, "bench/ipi": ipi,
             "bench/span": span, "bench/stream": stream, "bench/idle": idle}  # fmt: skip
    return outcome.status([outcome.run(args.tally, name, lambda t=t: guarded(t)) for name, t in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
