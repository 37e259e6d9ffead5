#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""./dev bench stream: pages of 4 KiB one after the other, through the transport on every fabric, raw, and through TCP.

Pages a second, and pages for a second of CPU time of both sides together, at MTU 9000 and 1500, in interleaved
rounds. A side that polls uses its core up even while it waits; tcp_block sleeps, so it is the harder peer for each
core-second. TCP hands the kernel what a veth passes on in pieces of 64 KiB, whatever the MTU; RRDP sends frames.
raw_FABRIC is the port by itself: as many frames as it takes, counted where they arrive; nothing is acknowledged, and
what the fabric loses is lost. perf/schema.json says what comes out.
"""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
import measured  # noqa: E402

MTUS = (9000, 1500)
FABRICS = ("shm", "memif", "af_packet", "af_xdp")
PEERS = ("tcp_spin", "tcp_block")
RATE, CORE = "round_pages_s", "round_pages_core_s"
OF_RAW = 0.9
WHY_RAW = ("raw frames have no checksum over their bytes, which the transport computes at both ends, no order, nobody "
           "acknowledges them, and there is no window that waits for a side which does not run")  # fmt: skip
IN_ALL = {"seconds": 60, "args": ["--passes", "2"]}


def runs_of(args):
    return [(f"MTU {mtu}", "pando-stream", ("--ms", args.ms, "--mtu", mtu), "stream/", f"/{mtu}") for mtu in MTUS]


def goals_of(rounds):
    """Each fabric against its raw port, and against the TCP that does more for its core-second."""
    out = [rounds.goal(f"stream/{n}/{m}", f"stream/raw_{n}/{m}", OF_RAW, ">=", RATE) for m in MTUS for n in FABRICS]
    for goal in (g for g in out if g and not g["met"]):
        goal["why"] = WHY_RAW
    for mtu in MTUS:
        peers = [f"stream/{n}/{mtu}" for n in PEERS if f"stream/{n}/{mtu}" in rounds]
        peer = max(peers, key=lambda n: statistics.median(rounds.get(n, CORE)), default=None)
        out += [rounds.goal(f"stream/{n}/{mtu}", peer, 1, ">=", CORE) for n in FABRICS]
    return [g for g in out if g]


def results_of(rounds):
    """Pages a second, and .../core: for a second of CPU time of both sides together."""
    out = []
    for n in rounds.names("stream/"):
        out.append(measured.value(n, "pages/s", rounds.get(n, RATE), 0))
        out.append(measured.value(f"{n}/core", "pages/core_s", rounds.get(n, CORE), 0))
    return out


def table(results):
    print(f"{'result':<36}{'rounds':>8}{'pages':>10}  spread")
    for r in results:
        print(f"{r['name']:<36}{r['rounds']:>8}{r['median']:>10g}  {r['low']:g}..{r['high']:g} {r['unit']}")


def main():
    args = measured.arguments("stream", __doc__, "ms", 200, 20, 10000, "of streaming a variant and round")
    rounds, missing, start = measured.Rounds(), [], time.monotonic()
    measured.run_passes("stream", args, runs_of(args), rounds, missing)
    missing += [f"{n} at MTU {m}: left out; standard error says why" for m in MTUS for n in FABRICS
                if f"stream/{n}/{m}" not in rounds]  # fmt: skip
    missing += [f"{n}: a round without a page" for n in rounds.names("stream/") if min(rounds.get(n, CORE)) == 0]
    measured.report("stream", args, start, results_of(rounds), goals_of(rounds), missing, table)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
