#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench stream: pages of 4 KiB one after the other, through the transport on every fabric and through TCP.

Pages a second, and pages for a second of CPU time of both sides together, at MTU 9000 and 1500, in interleaved
rounds. A side that polls uses its core up even while it waits; tcp_block sleeps, so it is the harder peer for each
core-second. TCP hands the kernel what a veth passes on in pieces of 64 KiB, whatever the MTU; RRDP sends frames.
perf/common/measured.py states the schema; results have pages_s and pages_core_s, each {median, low, high}.
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import measured  # noqa: E402
from measured import say  # noqa: E402

MTUS = (9000, 1500)
FABRICS = ("shm", "memif", "af_packet", "af_xdp")
PEERS = ("tcp_spin", "tcp_block")
CORE = "round_pages_core_s"


def measure(args, rounds, missing):
    broken = set()
    for turn in range(args.passes):
        for mtu in MTUS:
            if mtu in broken:
                continue
            say(f"stream: {turn + 1} of {args.passes}: MTU {mtu}")
            try:
                words = ("--rounds", args.rounds, "--ms", args.ms, "--mtu", mtu)
                lines = measured.run_tool(args.build, "pando-stream", *words)
            except measured.ToolError as e:
                say(f"stream: {e}")
                broken.add(mtu)
                missing.append(f"MTU {mtu}: {e}")
                continue
            for line in lines:
                line["name"] += f"/{mtu}"
                rounds.add(line)


def goals_of(rounds):
    """Each fabric against the TCP that does more for its core-second."""
    out = []
    for mtu in MTUS:
        peers = [f"stream/{n}/{mtu}" for n in PEERS if f"stream/{n}/{mtu}" in rounds]
        peer = max(peers, key=lambda n: statistics.median(rounds.get(n, CORE)), default=None)
        out += [rounds.goal(f"stream/{n}/{mtu}", peer, 1, ">=", CORE) for n in FABRICS]
    return [g for g in out if g]


def spread(values):
    return {"median": round(statistics.median(values)), "low": round(min(values)), "high": round(max(values))}


def results_of(rounds):
    return [{"name": n, "unit": "pages", "rounds": len(rounds.get(n, CORE)),
             "pages_s": spread(rounds.get(n, "round_pages_s")), "pages_core_s": spread(rounds.get(n, CORE))}
            for n in rounds.names("stream/")]  # fmt: skip


def table(results):
    print(f"{'result':<30}{'rounds':>8}{'pages/s':>10}{'spread':>18}{'a core-second':>16}{'spread':>18}")
    for r in results:
        a, b = r["pages_s"], r["pages_core_s"]
        one, two = f"{a['low']}..{a['high']}", f"{b['low']}..{b['high']}"
        print(f"{r['name']:<30}{r['rounds']:>8}{a['median']:>10}{one:>18}{b['median']:>16}{two:>18}")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench stream", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="one pass, half a minute")
    parser.add_argument("--passes", type=int, default=5, help="starts of the tool at each MTU (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="interleaved rounds a pass (default %(default)s)")
    parser.add_argument("--ms", type=int, default=200, help="of streaming a variant and round (default %(default)s)")
    args = parser.parse_args()
    if not 1 <= args.passes <= 100 or not 1 <= args.rounds <= 64 or not 20 <= args.ms <= 10000:
        parser.error("--passes 1..100, --rounds 1..64, --ms 20..10000")
    args.passes = 1 if args.quick else args.passes
    rounds, missing, start = measured.Rounds(), [], time.monotonic()
    measure(args, rounds, missing)
    missing += [f"{n} at MTU {m}: left out; standard error says why" for m in MTUS for n in FABRICS
                if f"stream/{n}/{m}" not in rounds]  # fmt: skip
    missing += [f"{n}: a round without a page" for n in rounds.names("stream/") if min(rounds.get(n, CORE)) == 0]
    measured.report("stream", args, start, results_of(rounds), goals_of(rounds), missing, table)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
