#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The benches of guests and of streams, briefly: each result is there with all its samples, or not_measured says why.
Their times are nobody's here.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "system"), os.path.join(ROOT, "perf", "common")]
import outcome  # noqa: E402
import schema  # noqa: E402
from tools import bench  # noqa: E402

SAMPLES = 20
ROUND = ("--rounds", "1", "--samples", str(SAMPLES))
FAULTS = ("fault/read", "fault/write_modified", "fault/upgrade")
LOCAL = ("minor_modified", "minor_shared", "wp_upgrade")


def measured(out, names, samples=None):
    """What of the names is neither measured nor missing with a reason, or has not so many samples; or None."""
    have = {r["name"]: r for r in out["results"]}
    for name in names:
        if name not in have and not any(name in text for text in out["not_measured"]):
            return f"{name} is neither measured nor in not_measured: {out['not_measured']}"
        if samples and name in have and not samples[0] <= have[name]["n"] <= samples[1]:
            return f"{name} has {have[name]['n']} samples of {samples[1]}"
    return None


def fault(build):
    out, _ = bench(build, "fault", *ROUND)
    names = {r["name"] for r in out["results"]}
    floors = {f"floor/uffd_{how}/{kind}" for how in ("spin", "yield") for kind in LOCAL}
    floors |= {"floor/take/wp", "floor/take/zap"}
    if floors - names:
        return f"no {sorted(floors - names)}"
    judged = [g["name"] for g in out["goals"]] + [r["name"] for r in out["ratios"]]
    if len([n for n in judged if n.endswith("2 hops")]) + sum(n not in names for n in FAULTS) != len(FAULTS):
        return f"a fault is not held against its floor: {judged}"
    # A few samples may be no faults (perf/fault.py): of 20, none.
    return measured(out, FAULTS, (SAMPLES, SAMPLES))


def io(build):
    out, _ = bench(build, "io", *ROUND)
    return measured(out, [f"io/{place}/{way}" for place in ("local", "remote")
                          for way in ("pio_in", "pio_out", "mmio_read", "mmio_write")], (SAMPLES, SAMPLES))  # fmt: skip


def ipi(build):
    out, _ = bench(build, "ipi", *ROUND, "--blocks", "2")
    if len(out["goals"]) != 2:
        return f"{len(out['goals'])} goals, not 2: {out['not_measured']}"
    return measured(out, [f"ipi/{kind}" for kind in ("alone", "spin", "page", "mmio")], (2 * SAMPLES, 2 * SAMPLES))


def stream(build):
    """Pages arrive on every fabric, raw and through RRDP, in some round: a busy machine may leave one without."""
    out, _ = bench(build, "stream", "--quick", "--rounds", "2", "--ms", "60")
    most, missing = {}, " ".join(out["not_measured"])
    for r in (r for r in out["results"] if r["unit"] == "pages/s"):
        variant = r["name"].split("/")[1]
        most[variant] = max(most.get(variant, 0), r["high"])
    fabrics = [n for f in ("shm", "memif", "af_packet", "af_xdp") for n in (f, f"raw_{f}")]
    lacking = [f for f in fabrics if f not in most and f"{f.removeprefix('raw_')} at MTU" not in missing]
    none = [n for n, high in most.items() if high <= 0]
    return f"no page came: {none}" if none else f"neither measured nor missing: {lacking}" if lacking else None


def main():
    args = outcome.parser(__doc__).parse_args()

    def guarded(test):
        if os.geteuid() != 0:
            raise outcome.Skipped("not root")
        if test is not stream and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise outcome.Skipped("there is no /dev/kvm")
        try:
            return test(args.build)
        except (schema.BadResult, OSError, subprocess.TimeoutExpired) as e:
            return str(e)

    tests = {"bench/fault": fault, "bench/io": io, "bench/ipi": ipi, "bench/stream": stream}
    return outcome.status([outcome.run(args.tally, name, lambda t=t: guarded(t)) for name, t in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
