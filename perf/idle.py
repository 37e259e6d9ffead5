#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the poll modes cost and give: CPU time of a dataplane at rest and under light load, and how long a page
takes that another node had, for each fabric and poll mode.

Two nodes on this machine, each with one vCPU that is a thread (tests/net): it increments a counter on a page that
both share, once a millisecond, then rests. A round runs every combination once, so that ratios compare neighbours in
time. With --against FILE every combination is run with that pando-dataplane too: before and after a change.

Results: idle/FABRIC/MODE/VALUE, of --against's idle/FABRIC/MODE/VALUE/against; VALUE is rest_cpu or light_cpu, the CPU
time of one dataplane in per cent of one CPU, all its threads, or page_p50 or page_p99, of the increments that had to
wait in a round: write faults that fetch the page from the other node; page is all of them, with every sample's bucket.
perf/schema.json says more.
"""
import argparse
import itertools
import os
import re
import sys
import time
import typing

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "net"), os.path.join(ROOT, "tests", "system"),
                os.path.join(ROOT, "perf", "common")]  # fmt: skip
import cluster as cl  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402
import run_net  # noqa: E402

FABRICS, MODES = ("shm", "memif", "af_packet", "af_xdp"), ("busy", "yield", "adaptive", "interrupt")
VALUES = {"rest_cpu": "%", "light_cpu": "%", "page_p50": "us", "page_p99": "us"}
IN_ALL = {"seconds": 60, "args": ["--rounds", "1", "--increments", "300", "--fabrics", "shm", "af_xdp"]}
LIGHT = re.compile(r"light n (\d+) p50 ([\d.]+) p90 [\d.]+ p99 ([\d.]+) us")
BUCKETS = re.compile(r"light max (\d+) buckets((?: \d+:\d+)+) ns")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Round(typing.NamedTuple):
    values: tuple  # as VALUES
    buckets: dict  # of page: {largest ns of the bucket: samples}
    top: int  # ns
    config: str


def config_of(c):
    """Without what is another in each run."""
    with open(c.config, encoding="ascii") as f:
        return re.sub(r"device: [\w-]+", "device: DEVICE", f.read().replace(c.dir, "DIR"))


def run_once(args, program, fabric, mode):
    """One cluster; what it found."""
    words = argparse.Namespace(dataplane=program, vm=args.vm, seed=1)
    poll = "sleep" if mode == "interrupt" else mode  # its older name, which an older program knows as well
    with run_net.Cluster(words, vcpus=2, fabric=fabric, poll=poll) as c:
        rest, light = run_net.light_then_rest(c, args.increments, args.rest)
        c.until(c.ended, 20, "the end")
        found, buckets, config = LIGHT.search(c.said("vm0")), BUCKETS.search(c.said("vm0")), config_of(c)
        if found is None or buckets is None or any(p.returncode != 0 for p in c.procs.values()):
            raise run_net.Failed(f"{fabric} {mode}: the VM failed: {c.said('vm0').strip()}")
    pairs = (pair.split(":") for pair in buckets[2].split())
    return Round((rest, light, float(found[2]), float(found[3])), {int(t): int(n) for t, n in pairs}, int(buckets[1]), config)


def measure(args, programs):
    """{(fabric, mode, program's name): [Round of each, or None]}, and what failed, in sentences"""
    rounds, failed = {}, []
    with measured.until_signal(failed):
        for r, fabric, mode, name in itertools.product(range(args.rounds), args.fabrics, args.modes, programs):
            say(f"round {r + 1} of {args.rounds}: {fabric}, {mode}, {name}")
            found = None
            try:
                found = run_once(args, programs[name], fabric, mode)
            except run_net.Failed as e:  # busy loops and vCPUs on too few CPUs: peers seem dead
                failed.append(f"round {r + 1}, {fabric} {mode} {name}: {e}")
                say(failed[-1])
            rounds.setdefault((fabric, mode, name), []).append(found)
    return rounds, failed


def name_of(fabric, mode, value, program):
    return f"idle/{fabric}/{mode}/{value}" + ("" if program == "this" else f"/{program}")


def results(rounds):
    out = []
    for (f, m, p), each in rounds.items():
        each = [r for r in each if r]
        if each:
            out += [output.value(name_of(f, m, v, p), unit, [r.values[i] for r in each])
                    for i, (v, unit) in enumerate(VALUES.items())]  # fmt: skip
            out.append(page_row(name_of(f, m, "page", p), each))
    return out


def page_row(name, each):
    sums = {}
    for r in each:
        for top, n in r.buckets.items():
            sums[top] = sums.get(top, 0) + n
    p50, p99 = ([r.values[i] for r in each] for i in (2, 3))
    return output.histogram(name, sums, p50, round(max(r.top for r in each) / 1e3, 3), round_p99=p99)


def ratios(rounds):
    """This program to the one it is held against, of the same round."""
    out = []
    for (fabric, mode, name), each in rounds.items():
        other = rounds.get((fabric, mode, "against"))
        if name != "this" or other is None:
            continue
        for i, value in enumerate(VALUES):
            pairs = [(a.values[i], b.values[i]) for a, b in zip(each, other) if a and b and b.values[i] > 0]
            if pairs:
                sides = [[p[0] for p in pairs], [p[1] for p in pairs]]
                names = (name_of(fabric, mode, value, p) for p in ("this", "against"))
                out.append(output.compared(" : ".join(names), [a / b for a, b in pairs], sides))
    return out


def table(rows):
    print(f"{'result':<44}{'median':>10}  spread over the rounds")
    for r in (r for r in rows if "buckets" not in r):
        print(f"{r['name']:<44}{r['median']:>10.2f}  {r['low']:g}..{r['high']:g} {r['unit']}")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench idle", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
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
    start = time.monotonic()
    rounds, failed = measure(args, programs)
    del args.vm
    config = next((r.config for each in rounds.values() for r in each if r), None)
    output.report("idle", args, start, results(rounds), [], failed, table, ratios=ratios(rounds), config=config)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
