#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a remote fault costs on the wire, by capture: bytes of each message's frame and of whole transactions.

Bare-metal guests over nodes that are joined by af_packet and veth; every frame is written down where it arrives. Bytes
are Ethernet's: from the destination address to the FCS, so at least 64; preamble and gap (20 more) are not in it. A
transaction's are those of all its messages' frames. Acknowledgements of the transport that found no frame to ride on
belong to no transaction, and are counted apart.
"""
import argparse
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "system"))
import cluster as cl  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402
import summary  # noqa: E402
from options import Options  # noqa: E402

IN_ALL = {"seconds": 60, "args": []}
FCS, SHORTEST = 4, 60  # shorter frames are filled up
PAGE = 4096
GOAL = 128
MTUS = (9000, 1500)
NODES = 3  # requester, home and owner or sharer can be three
LONE = ("gets", "getm", "inv_ack", "grant")  # a frame each, never for several nodes at once


def on_the_wire(captured):
    return max(captured, SHORTEST) + FCS


class Captured(cl.Cluster):
    """A cluster whose frames are written down, each once: where the bridge takes it from its sender."""

    capture = reader = None

    def start_dataplanes(self):
        started = super().start_dataplanes()
        hub = next(n for n in self.space.netns if n.endswith("-br"))
        program = cl.find_program(self.build, "pando-frames")
        ports = [f"port{n}" for n in range(self.o.nodes)]
        self.lines = []
        words = ["ip", "netns", "exec", hub, program, *ports]
        self.capture = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        if self.capture.stdout.readline() != "ready\n":
            raise cl.SetupError("pando-frames does not start: see above")
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.capture.stdout))
        self.reader.start()
        return started

    def __exit__(self, *exc):
        if self.capture is not None:
            self.capture.terminate()
            self.capture.wait()
        if self.reader is not None:
            self.reader.join()
        super().__exit__(*exc)


class Wire:
    """Frames of a run, sorted by what they are."""

    def __init__(self, lines):
        self.by_kind, self.transactions, self.again, self.refused, self.lost = {}, {}, 0, 0, 0
        for line in lines:
            words = line.split()
            if words[0] == "lost":
                self.lost = int(words[1])
            elif words[0] == "refused":
                self.refused += 1
            else:
                self.add(int(words[0]), words[4] == "1", words[5], (int(words[6]), int(words[7])), int(words[8]))

    def add(self, captured, is_new, kind, txn, data):
        if not is_new:
            self.again += 1
            return
        self.by_kind.setdefault(kind, []).append(on_the_wire(captured))
        if txn[1] != 0:
            self.transactions.setdefault(txn, []).append((kind, on_the_wire(captured), data))

    def shaped(self, wanted, refused=()):
        """Transactions that have all of these kinds and none of those: lists of (kind, bytes, payload)."""
        for frames in self.transactions.values():
            kinds = {f[0] for f in frames}
            if kinds >= set(wanted) and not kinds & set(refused):
                yield frames


def bytes_of(frames, kinds=None):
    return sum(f[1] for f in frames if kinds is None or f[0] in kinds)


def options(mode, mtu, count, words=""):
    return Options(nodes=NODES, vcpus=NODES, fabric="af_packet", mtu=mtu, guest="pingpong", ram=64, check=False,
                   timeout=90, cmdline=f"mode={mode} n={count} {words}".strip())  # fmt: skip


def captured(build, mode, mtu, count, words=""):
    """What was on the wire in one run of a guest: all of it, by what the dataplanes say that they sent."""
    tail, o = [], options(mode, mtu, count, words)
    c = Captured(o, build, on_line=lambda p, _stream, text: tail.append(f"{p.name}: {text}"))
    with c:
        result = c.run()
    if not result.passed:
        raise RuntimeError(f"guest pingpong mode={mode} failed ({result.died or result.status}): {tail[-3:]}")
    wire = Wire(c.lines)
    if wire.lost or wire.refused:
        raise RuntimeError(f"{wire.lost} frames were lost by the capture, {wire.refused} are not whole")
    seen = {kind: len(wire.by_kind.get(kind, ())) for kind in LONE}
    sent = {kind: summary.total(result.summaries, "messages", kind, "tx") for kind in LONE}
    if seen != sent:
        raise RuntimeError(f"captured {seen}, and the dataplanes say that they sent {sent}")
    return wire


def row(name, values, **counts):
    """All values of a kind, whole: bytes."""
    buckets = {}
    for v in values:
        buckets[v] = buckets.get(v, 0) + 1
    return output.histogram(name, buckets, [statistics.median_low(values)], unit="bytes", counts=counts)


def kinds_rows(wires):
    """Each kind of message, over all runs; a page's frames by MTU."""
    rows = []
    for kind in sorted({k for wire in wires.values() for k in wire.by_kind}):
        for mtu in MTUS if kind in ("data", "putm", "puto") else (None,):
            values = [v for (_, m), wire in wires.items() if mtu in (None, m) for v in wire.by_kind.get(kind, ())]
            if values:
                rows.append(row(f"capture/frame/{kind}" + (f"/{mtu}" if mtu else ""), values))
    return rows


def fault_rows(wires, missing):
    rows, pairs = [], []
    for (mode, mtu), wire in wires.items():
        if mode == "upgrade":
            # One sharer: what an upgrade of a page is that one other node has as well.
            some = [t for t in wire.shaped(("inv", "inv_ack"), ("data",)) if sum(f[0] == "inv" for f in t) == 1]
            pairs += [bytes_of(t, ("inv", "inv_ack")) for t in some if sum(f[0] == "inv_ack" for f in t) == 1]
            name, page = "upgrade/1_sharer", 0
        else:
            some = list(wire.shaped(("data",), ("getm", "inv", "fwd_getm")))
            name, page = "read", PAGE
        whole = [t for t in some if sum(f[2] for f in t) == page]
        if not whole:
            missing.append(f"{mode} at MTU {mtu}: no such transaction was captured")
            continue
        frames = statistics.mean(len(t) for t in whole)
        rows.append(row(f"capture/{name}/{mtu}", [bytes_of(t) for t in whole], frames=round(frames, 3)))
        if page:
            rows.append(row(f"capture/{name}_without_page/{mtu}", [bytes_of(t) - page for t in whole]))
        acks = wire.by_kind.get("ack", [])
        rows.append(output.value(f"capture/lone_acks/{mode}/{mtu}", "bytes/txn", [sum(acks) / len(wire.transactions)],
                                 counts={"acks": len(acks), "transactions": len(wire.transactions),
                                         "again": wire.again}))
    return rows, pairs


def table(results):
    print(f"{'bytes, with FCS':<44}{'n':>8}{'median':>10}{'p99':>10}{'max':>10}")
    for r in results:
        if "buckets" in r:
            print(f"{r['name']:<44}{r['n']:>8}{r['p50']:>10.0f}{r['p99']:>10.0f}{r['max']:>10.0f}")
        else:
            print(f"{r['name']:<44}{'':>8}{r['median']:>10.1f}  {r['counts']}")


def main():
    p = argparse.ArgumentParser(prog="./dev bench capture", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build", help=argparse.SUPPRESS)
    p.add_argument("--json", action="store_true", help="one JSON object as the last line")
    p.add_argument("--quick", action="store_true", help=f"at MTU {MTUS[0]} only")
    p.add_argument("--samples", type=int, default=200, metavar="N", help="faults a run, 10..10000 (default 200)")
    args = p.parse_args()
    if not 10 <= args.samples <= 10000:
        p.error(f"--samples {args.samples} is not in 10..10000")
    start, missing, wires = time.monotonic(), [], {}
    with measured.until_signal(missing):
        for mtu, mode in itertools.product(MTUS[:1] if args.quick else MTUS, ("read", "upgrade")):
            print(f"capture: {mode} at MTU {mtu}", file=sys.stderr, flush=True)
            try:
                wires[mode, mtu] = captured(args.build, mode, mtu, args.samples)
            except (cl.SetupError, RuntimeError) as e:
                missing.append(f"{mode} at MTU {mtu}: {e}")
    rows, pairs = fault_rows(wires, missing)
    goals = []
    if pairs:
        rows.append(row("capture/inv_and_inv_ack", pairs))
        goals = [output.judged("capture/inv + capture/inv_ack, with padding and FCS", pairs, GOAL, unit="bytes"),
                 output.judged("the same without FCS", [v - 2 * FCS for v in pairs], GOAL, unit="bytes")]
    else:
        missing.append("invalidation and its acknowledgement: none was captured")
    remarks = ["bytes are Ethernet's, with padding and FCS; preamble and gap, 20 bytes a frame, are not in them",
               "of the goal low and high are the smallest and the largest pair of all, value is their median",
               "the transport's own acknowledgements ride on other frames or are lone_acks, which no transaction has"]
    output.report("capture", args, start, rows + kinds_rows(wires), goals, missing, table, remarks,
                  config=options("read", MTUS[0], args.samples).config("RUN_DIR", "bench", "DEVICE"))  # fmt: skip
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
