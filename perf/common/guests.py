# SPDX-License-Identifier: BSD-3-Clause
"""Runs a measuring guest (tests/kvm/guests) over nodes on this machine, and reads what it prints and what the
dataplanes counted. What a guest measures is in TSC cycles of the one guest clock; here it is nanoseconds.

    run = guests.run(build, "pingpong", "mode=read n=200 raw=1", nodes=2)
    run.samples["read"]      every sample, ns
    run.hists["alone/00"]    {largest value of the bucket, ns: samples}
    run.count(...)           what the dataplanes counted, all nodes together
"""
import argparse
import dataclasses
import glob
import json
import math
import os
import re
import socket
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import cluster as cl  # noqa: E402
import summary  # noqa: E402
import measured  # noqa: E402
import output  # noqa: E402
from options import Options  # noqa: E402

TAIL = 12  # lines of a failed run that are shown
FAULTS = ("read", "write", "upgrade")
PAGE = 4096
GAP_US = 300  # around a sample: beyond coherence.hold_us, or its page comes with the page before it, without a fault
FABRICS = ("shm", "memif", "af_packet", "af_xdp")
REST_MS = 400  # of a guest that says when its work begins and ends: for the dataplanes to tell what they counted
RESTING_FAULTS = 8  # between two looks: of its naps and the console
ANSWER_MAX = 1 << 20  # bytes of a dataplane's telemetry


class GuestError(measured.ToolError):
    """A guest's run that did not pass: nothing of it may be used. The text says which and why."""


@dataclasses.dataclass
class Run:
    samples: dict = dataclasses.field(default_factory=dict)  # name: [ns]
    hists: dict = dataclasses.field(default_factory=dict)  # name: {largest ns: n}
    top: dict = dataclasses.field(default_factory=dict)  # name of a hist: its largest sample, ns
    kernels: list = dataclasses.field(default_factory=list)  # (operations, ns) a repetition
    rates: list = dataclasses.field(default_factory=list)  # (accesses, writes, ns) a vCPU
    warm: list = dataclasses.field(default_factory=list)  # of each of these, or of each BENCH: what came before it
    storms: list = dataclasses.field(default_factory=list)  # {"page": n, "mmio": n} a vCPU
    summaries: list = dataclasses.field(default_factory=list)
    marks: dict = dataclasses.field(default_factory=dict)  # "begins", "ends" of the work: summaries of then
    late: str = ""  # why marks are worth nothing
    config: str = ""
    khz: int = 0  # of the guest clock

    def count(self, *path):
        """A counter of the summaries (tests/system/summary.py lists them), summed over the nodes."""
        return summary.total(self.summaries, *path)

    def messages(self, kind=None):
        """Messages that left a node for another: of a kind, or of all classes."""
        if kind:
            return self.count("messages", kind, "tx")
        return summary.total_classes(self.summaries, "tx_messages")

    def counted(self):
        """What a guest costs from its start to its end, in all."""
        return counted_in(self.summaries)

    def worked(self):
        """What its work costs: what was counted when it ended, less what was when it began."""
        if self.late or set(self.marks) != {"begins", "ends"}:
            raise measured.Unlucky(f"what the work costs is not known: {self.late or 'the guest did not say when it was'}")
        begins, ends = (counted_in(self.marks[m]) for m in ("begins", "ends"))
        return {key: ends[key] - begins[key] for key in ends}


def counted_in(summaries):
    return {"messages": summary.total_classes(summaries, "tx_messages"),
            "faults": sum(summary.total(summaries, "faults", kind, "n") for kind in FAULTS),
            "pages": summary.total(summaries, "copies", "page_out_bytes") // PAGE,
            "bytes": summary.total(summaries, "port", "tx_bytes")}  # fmt: skip


def summary_now(path):
    """What a running dataplane has counted so far, from its telemetry (dataplane/engine/telemetry.c): a text in pages."""
    text, more = "", ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(path)
        s.recv(ANSWER_MAX)  # who it is
        while True:
            s.send(f"/pando/all{more}".encode())
            _, ident, size, _, page = json.loads(s.recv(ANSWER_MAX))["/pando/all"].split(" ", 4)
            text += page
            if not page or len(text) >= int(size):
                return json.loads(text)
            more = f",{ident},{len(text)}"


class Reader:
    """Takes the guest's lines as they come."""

    def __init__(self):
        self.run, self.tail, self.khz, self.expected = Run(), [], 0, 0
        self.look = None  # the dataplanes' summaries of now

    def line(self, process, stream, text):
        self.tail.append(f"{process.name}: {text}")
        if process.name == "vmm" and stream == "out":
            self.take(text)

    def ns(self, cycles):
        return cycles * 1e6 / self.khz

    def take(self, text):
        found = re.search(r"\btsc_khz=(\d+)", text)
        if found:
            self.khz = int(found[1])
        word, _, rest = text.partition(" ")
        take = getattr(self, "take_" + word.lower(), None) if word.isupper() else None
        if take:
            take(rest.split(), dict(re.findall(r"(\w+)=(\d+)", rest)))

    def take_samples(self, words, _):
        # The last line is filled up with its last sample: BENCH's n says how many there are.
        have = self.run.samples.setdefault(words[0], [])
        have.extend(self.ns(int(v)) for v in words[1:][: max(self.expected - len(have), 0)])

    def take_bench(self, _, named):
        self.expected = int(named["n"])
        self.run.warm.append(int(named.get("warm", 0)))

    def take_work(self, words, _):
        """The guest rests behind this line, for REST_MS: what is counted later may be of what it does then."""
        start = time.monotonic()
        try:
            first, again = self.look(), self.look()
            # The line may have come late: then the guest does not rest any more, and two looks differ.
            moved = counted_in(again)["faults"] - counted_in(first)["faults"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            self.run.late = f"a dataplane's telemetry does not answer: {e!r}"
            return
        self.run.marks[words[0]] = first
        if moved > RESTING_FAULTS:
            self.run.late = f"{moved} faults between two looks at a guest that should rest: its line came late"
        ms = (time.monotonic() - start) * 1e3
        if ms > REST_MS * 0.8:
            self.run.late = f"the dataplanes' telemetry answered after {ms:.0f} ms, and the guest rests for {REST_MS}"

    def take_hist(self, words, named):
        self.run.hists[words[0]] = {}
        self.run.top[words[0]] = self.ns(int(named["max"]))

    def take_buckets(self, words, _):
        have = self.run.hists[words[0]]
        for pair in words[1:]:
            top, n = pair.split(":")
            (bucket,) = output.of_samples([self.ns(int(top))])  # a whole one of ns: runs can be added up
            have[bucket] = have.get(bucket, 0) + int(n)

    def take_kernel(self, _, named):
        self.run.kernels.append((int(named["ops"]), self.ns(int(named["cycles"]))))

    def take_rate(self, _, named):
        self.run.rates.append((int(named["accesses"]), int(named["writes"]), self.ns(int(named["cycles"]))))
        self.run.warm.append(int(named.get("warm", 0)))

    def take_storm(self, _, named):
        self.run.storms.append({k: int(v) for k, v in named.items() if k != "cpu"})


def line_of_hist(name, buckets, top):
    """One round of a result for measured.Rounds, as a tool's line would be; ns."""
    at = lambda p: min(output.quantile(buckets, p), top) / 1e3
    return {"name": name, "unit": "us", "n": sum(buckets.values()), "max": round(top / 1e3, 3),
            "buckets": sorted(buckets.items()), "round_p50": [round(at(0.5), 3)],
            "round_p99": [round(at(0.99), 3)]}  # fmt: skip


def line_of_samples(name, samples):
    """The same with the exact median and p99 of the round (nearest rank)."""
    values = sorted(samples)
    at = lambda p: round(values[max(math.ceil(len(values) * p), 1) - 1] / 1e3, 3)
    return line_of_hist(name, output.of_samples(values), values[-1]) | {"round_p50": [at(0.5)], "round_p99": [at(0.99)]}


def arguments(bench, about, rounds, *options):
    """The command line of a bench of guests. options: (name, default, lowest, highest, what it is)."""
    parser = argparse.ArgumentParser(prog=f"./dev bench {bench}", description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    for name, default, low, high, text in (("rounds", rounds, 1, 100, "interleaved rounds"), *options):
        parser.add_argument(f"--{name}", type=measured.within(low, high), default=default, metavar="N",
                            help=f"{text}, {low}..{high} (default {default})")  # fmt: skip
    parser.add_argument("--limit", type=measured.within(1, 86400), metavar="SECONDS",
                        help="begin nothing new after so long, and say what is missing")  # fmt: skip
    parser.add_argument("--fabric", choices=FABRICS, default=FABRICS[0],
                        help="what joins the nodes (default %(default)s)")  # fmt: skip
    return parser.parse_args()


def cores():
    return len(os.sched_getaffinity(0))


def cores_wanted(nodes, vcpus=None):
    """For each poll loop, each agent that takes pages away, and each vCPU one: with fewer, times are the host
    scheduler's as well."""
    return 2 * nodes + (vcpus or nodes)


def cores_short(nodes, vcpus=None):
    """Why a time on so many nodes is not Pando's alone, or None."""
    have, want = cores(), cores_wanted(nodes, vcpus)
    if have >= want:
        return None
    return f"{want} threads (a loop and an agent a node, {want - 2 * nodes} vCPUs) share {have} CPUs"


def poll_mode(nodes, vcpus=None, halting=False):
    """poll.mode of a bench whose largest guest that is timed has so many nodes: one for all its sides. halting: of the
    vCPUs the one that is measured runs alone, and waits while a fault of its is served: then a CPU for each poll loop
    is enough for loops that do not sleep."""
    if not cores_short(nodes, vcpus):
        return "busy"
    return "yield" if halting and cores() >= nodes else "sleep"


def options(guest, words, nodes, vcpus=None, **more):
    fields = {"ram": 64, "check": False, "timeout": 120, "poll": "sleep"} | more
    return Options(nodes=nodes, vcpus=vcpus or nodes, guest=guest, cmdline=words.strip(), **fields)


def run(build, guest, words, nodes, vcpus=None, **more):
    """more: fields of Options. GuestError if the guest's own verification did not pass."""
    o, reader = options(guest, words, nodes, vcpus, **more), Reader()
    try:
        with cl.Cluster(o, build, on_line=reader.line) as c:
            sockets = os.path.join(c.space.path("run"), "dpdk", "*", "dpdk_telemetry.v2")

            def look():
                found = glob.glob(sockets)
                if len(found) != nodes:
                    raise OSError(f"{len(found)} telemetry sockets of {nodes} nodes")
                return [summary_now(path) for path in found]

            reader.look = look
            result = c.run()
    except cl.SetupError as e:
        raise GuestError(f"guest {guest} ({words}) on {nodes} nodes: {e}") from None
    if not result.passed:
        print("\n".join(reader.tail[-TAIL:]), file=sys.stderr)
        raise GuestError(f"guest {guest} ({words}) on {nodes} nodes: status {result.status}, "
                         f"{result.died or 'its own verification failed'}")  # fmt: skip
    if any(not s for s in result.summaries):
        raise GuestError(f"guest {guest} ({words}): a dataplane wrote no summary")
    reader.run.summaries, reader.run.khz = result.summaries, reader.khz
    reader.run.config = o.config("RUN_DIR", "bench", "DEVICE")
    return reader.run
