#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the poll modes cost and give: CPU time of a dataplane at rest and under light load, and how long a page
takes that another node had, for each fabric and poll mode.

Two nodes on this machine, each with one vCPU that is a thread (tests/net): it increments a counter on a page that
both share, once a millisecond, then rests. A round runs every combination once, so that ratios compare neighbours in
time. With --against FILE every combination is run with that pando-dataplane too: before and after a change.

One object a result: {"fabric", "mode", "program", "rest_cpu_pct", "light_cpu_pct", "p50_us", "p99_us", each as
[median, lowest, highest] over the rounds}; cpu_pct is the CPU time of one dataplane, of one CPU, all its threads.
p50 and p99 are of the increments that had to wait: write faults that fetch the page from the other node.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "net"), os.path.join(ROOT, "tests", "system")]
import cluster as cl  # noqa: E402
import run_net  # noqa: E402

FABRICS, MODES = ("shm", "memif", "af_packet", "af_xdp"), ("busy", "yield", "sleep")
VALUES = ("rest_cpu_pct", "light_cpu_pct", "p50_us", "p99_us")
LIGHT = re.compile(r"light n (\d+) p50 ([\d.]+) p90 [\d.]+ p99 ([\d.]+) us")


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_once(args, program, fabric, mode):
    """One cluster; the four values."""
    words = argparse.Namespace(dataplane=program, vm=args.vm, seed=1)
    with run_net.Cluster(words, vcpus=2, fabric=fabric, poll=mode) as c:
        rest, light = run_net.light_then_rest(c, args.increments, args.rest)
        c.until(c.ended, 20, "the end")
        found = LIGHT.search(c.said("vm0"))
        if found is None or any(p.returncode != 0 for p in c.procs.values()):
            raise run_net.Failed(f"{fabric} {mode}: the VM failed: {c.said('vm0').strip()}")
    return rest, light, float(found[2]), float(found[3])


def spread(values):
    return [round(v, 2) for v in (statistics.median(values), min(values), max(values))]


def measure(args, programs):
    """{(fabric, mode, program's name): [the four values of each round, or None]}, and what failed in words"""
    rounds, failed = {}, []
    for r in range(args.rounds):
        for fabric in args.fabrics:
            for mode in args.modes:
                for name, program in programs.items():
                    say(f"round {r + 1} of {args.rounds}: {fabric}, {mode}, {name}")
                    values = None
                    try:
                        values = run_once(args, program, fabric, mode)
                    except run_net.Failed as e:  # busy loops and vCPUs on too few CPUs: peers seem dead
                        failed.append(f"round {r + 1}, {fabric} {mode} {name}: {e}")
                        say(failed[-1])
                    rounds.setdefault((fabric, mode, name), []).append(values)
    return rounds, failed


def results(rounds):
    return [{"fabric": f, "mode": m, "program": p, **{v: spread([r[i] for r in each if r]) for i, v in enumerate(VALUES)}}
            for (f, m, p), each in rounds.items() if any(each)]


def ratios(rounds):
    """This program to the one it is held against, of the same round."""
    out = []
    for (fabric, mode, name), each in rounds.items():
        other = rounds.get((fabric, mode, "against"))
        if name != "this" or other is None:
            continue
        for i, value in enumerate(VALUES):
            pairs = [a[i] / b[i] for a, b in zip(each, other) if a and b and b[i] > 0]
            if pairs:
                out.append({"name": f"{fabric} {mode} {value}", "value": spread(pairs)})
    return out


def show(out):
    cell = lambda v: f"{v[0]:g} ({v[1]:g}..{v[2]:g})"
    print(f"{'fabric, mode, program':<30}{'at rest, % CPU':>22}{'light load, % CPU':>24}{'p50 us':>24}{'p99 us':>28}")
    for r in out["results"]:
        print(f"{r['fabric'] + ' ' + r['mode'] + ' ' + r['program']:<30}" + "".join(f"{cell(r[v]):>{w}}" for v, w in zip(VALUES, (22, 24, 24, 28))))
    for r in out["ratios"]:
        print(f"ratio this : against, {r['name']}: {cell(r['value'])}")
    for words in out["failed"]:
        print("failed: " + words)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench idle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--increments", type=int, default=1000, help="a round and vCPU (default %(default)s)")
    parser.add_argument("--rest", type=int, default=1000, metavar="MS", help="time at rest (default %(default)s)")
    parser.add_argument("--fabrics", nargs="+", choices=FABRICS, default=FABRICS, metavar="F", help="default: all")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, metavar="M", help="default: all")
    parser.add_argument("--against", metavar="FILE", help="another pando-dataplane, in the same rounds")
    args = parser.parse_args()
    if args.rounds < 1 or args.increments < 10 or args.rest < 100:
        parser.error("--rounds at least 1, --increments at least 10, --rest at least 100")
    why = run_net.missing()
    if why:
        say(f"SKIP: {why}")
        return 77
    args.vm = cl.find_program(args.build, "net_vm")
    programs = {"this": cl.find_program(args.build, "pando-dataplane")}
    if args.against:
        programs["against"] = args.against
    rounds, failed = measure(args, programs)
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    out = {"schema": 1, "bench": "idle", "revision": revision, "cpus": os.cpu_count(), "rounds": args.rounds,
           "results": results(rounds), "ratios": ratios(rounds), "failed": failed}
    if args.json:
        print(json.dumps(out))
    else:
        show(out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
