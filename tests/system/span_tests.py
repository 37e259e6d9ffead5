# SPDX-License-Identifier: BSD-3-Clause
"""Spans against the engine's own counters, with every transaction sampled, on real KVM with real faults.

Every fault that a dataplane counts is one span, complete, or a named reason. A span's stages add up to its total; no
stamp contradicts another by more than the clocks' bounds; nothing that an honest node sends is refused. The same for
interrupts between nodes and exits to the VMM's node, between hosts whose TSCs differ, over a fabric that loses frames,
and with another rate, where the share of what is sampled is as configured.
"""
import json
import socket
import sys
import threading

import cluster as cl
import outcome
from fabric_tests import ANSWER_MAX, telemetry
from options import Options

# What each kind's records pass, whatever the path.
ALWAYS = {
    "read": {"read", "asked", "data_rx", "mapped"},
    "write": {"read", "asked", "mapped"},
    "upgrade": {"read", "asked", "mapped"},
    "local": {"read", "asked", "mapped"},
    "ipi": {"icr", "read", "tx", "rx", "posted", "taken"},
    "io": {"exit", "read", "exit_tx", "rx", "given", "taken", "handled", "done_read", "done_tx", "done_rx", "back",
           "entered"},
}  # fmt: skip
OWN = {"read", "asked", "request_tx", "data_rx", "acked", "mapped", "icr", "tx", "exit", "exit_tx", "done_rx", "back",
       "entered"}  # fmt: skip
OF_FAULTS = ("read", "write", "upgrade", "local")
NO_FAULT = ("prefetch",)


class Wrong(Exception):
    pass


def need(true, text):
    if not true:
        raise Wrong(text)


def run(build, sample=1, watch=None, **more):
    """watch(cluster) runs beside the guest, from its first line on."""
    o = Options(ram=64, sample=sample, spans=True, timeout=100, check=False, **more)
    said, watching = [], []

    def on_line(process, _stream, text):
        said.append(f"{process.name}: {text}")
        if watch and not watching and process.name == "vmm":
            watching.append(threading.Thread(target=watch, args=(c,)))
            watching[0].start()

    with cl.Cluster(o, build, on_line=on_line) as c:
        result = c.run()
        for t in watching:
            t.join()
    need(result.passed, f"{result.died or said[-1:]}; again: {o.command()}")
    need(len(result.summaries) == o.nodes and all(result.summaries), "a summary is missing")
    return result


def faults_of(summary):
    return sum(summary["faults"][k]["n"] for k in ("read", "write", "upgrade"))


def spans_of(spans, kinds):
    """(complete, lacking): of these kinds, what was no fault left out."""
    of = [spans["kinds"][k] for k in kinds]
    lacking = sum(n for k in of for why, n in k["incomplete"].items() if why not in NO_FAULT)
    return sum(k["n"] for k in of), lacking


def check_histograms(node, name, kind):
    """The stages of all spans of a kind: none has more than there are spans, and buckets are all there."""
    for stage, h in [("total", kind["total"]), *kind["stages"].items()]:
        where = f"node {node}: {name}/{stage}"
        need(sum(n for _, n in h["buckets"]) == h["n"], f"{where}: the buckets are not {h['n']} samples")
        need(h["n"] <= kind["n"], f"{where}: {h['n']} of {kind['n']} spans")
        need(h["p50_ns"] <= h["p90_ns"] <= h["p99_ns"] <= h["max_ns"], f"{where}: percentiles out of order")
    last = {"ipi": "taken", "io": "entered"}.get(name, "mapped")
    need(kind["stages"][last]["n"] == kind["n"], f"node {node}: {name} does not always end at {last}")


def stages_of(r):
    """The record's points in order, each moved as span.h says, and the most that one was moved."""
    stamps = list(r["stamps"].items())
    moved, before, out = 0, stamps[0][1], [stamps[0]]
    for i, (point, at) in enumerate(stamps[1:], 1):
        limit = next((t for p, t in stamps[i + 1:] if is_own(r, p)), at)
        to = max(at if is_own(r, point) else min(at, limit), before)
        moved = max(moved, abs(to - at))
        out.append((point, to))
        before = to
    return out, moved


def is_own(r, point):
    return point in OWN and not (r["kind"] == "ipi" and point in ("rx", "posted", "taken"))


def check_record(node, r, kind_max):
    where = f"node {node}: {r['kind']} {r['serial']}"
    lacks = ALWAYS[r["kind"]] - set(r["stamps"])
    if r["kind"] == "read" and r["home"] == node and r["owner"] is None:
        lacks -= {"data_rx"}
    need(not lacks, f"{where} has no {sorted(lacks)}")
    if r["kind"] in OF_FAULTS and r["home"] != node:
        need({"request_tx", "home_rx", "data_rx"} <= set(r["stamps"]), f"{where}: no way to the home: {r}")
    if r["owner"] is not None:
        need({"owner_done", "owner_tx"} <= set(r["stamps"]), f"{where}: nothing of its owner: {r}")
    if r["owner"] not in (None, r["home"]):
        need("owner_rx" in r["stamps"], f"{where}: its owner was not asked: {r}")
    # What lies before the data is left out, so it is the last of them that stay.
    way = [p in r["stamps"] for p in ("sharer_rx", "sharer_done", "sharer_tx", "acked")]
    need(way == sorted(way), f"{where}: a last sharer without its end: {r}")
    if way[3] and r["home"] == node:
        need("request_tx" in r["stamps"], f"{where}: acknowledged what was not sent: {r}")
    points, moved = stages_of(r)
    each = [b[1] - a[1] for a, b in zip(points, points[1:])]
    total = points[-1][1] - points[0][1]
    need(min(each) >= 0 and sum(each) == total, f"{where}: stages {each} are not {total}")
    need(total <= kind_max, f"{where}: {total} ticks, more than the histogram's largest")
    bound = r["error_ticks"] + r["peer_error_ticks"]
    need(moved <= bound, f"{where}: {moved} ticks off, clocks' bounds {bound}: {r}")
    need(r["negative"] == (moved > 0) and not r["beyond"], f"{where}: flags of {moved} ticks: {r}")


def check_node(node, summary, records):
    """What was seen: (complete spans, those with stamps of other nodes)."""
    s = summary["spans"]
    refused = {why: n for why, n in s["refused"].items() if why != "not_last"}
    need(not refused, f"node {node} refused spans: {refused}")
    need(s["messages_unsent"] == 0 and s["pieces_replaced"] == 0, f"node {node}: stamps were lost: {s}")
    need(0 < s["cost_ticks"] < 100000 and s["khz"] > 0 and s["epoch"] > 0, f"node {node}: {s}")
    for name, kind in s["kinds"].items():
        need(kind["beyond"] == 0, f"node {node}: {name}: beyond the clocks' bounds by {kind['excess_ns']} ns")
        if kind["n"]:
            check_histograms(node, name, kind)
    need(len(records) == min(s["newest"], 1024), f"node {node}: {len(records)} records of {s['newest']}")
    for r in records:
        check_record(node, r, (s["kinds"][r["kind"]]["total"]["max_ns"] + 1) * s["khz"] / 1e6 + 1)
    return spans_of(s, s["kinds"])[0], sum(len(r["stamps"]) > 3 for r in records)


def check_latency(node, summary):
    """A span's total is what the engine measures of the same fault by another clock."""
    longest = max(summary["faults"][k]["max_us"] for k in ("read", "write", "upgrade"))
    for name in OF_FAULTS:
        total = summary["spans"]["kinds"][name]["total"]["max_ns"] / 1e3
        need(total <= 1.02 * longest + 50, f"node {node}: {name} took {total} us, and no fault more than {longest}")


def check_all(result, want_kinds):
    seen = set()
    for node, summary in enumerate(result.summaries):
        complete, lacking = spans_of(summary["spans"], OF_FAULTS)
        faults, still = faults_of(summary), summary["spans"]["open"]["fault"]
        # At the end some may still be waiting for another node's stamps.
        need(complete + lacking <= faults <= complete + lacking + still,
             f"node {node}: {faults} faults, {complete} spans, {lacking} with a reason, {still} open")  # fmt: skip
        need(still <= 3, f"node {node}: {still} spans lack what other nodes stamp")
        need(complete >= 0.7 * faults, f"node {node}: {complete} complete spans of {faults} faults")
        check_node(node, summary, result.spans[node])
        check_latency(node, summary)
        seen |= {k for k, v in summary["spans"]["kinds"].items() if v["n"]}
    need(set(want_kinds) <= seen, f"no spans of {sorted(set(want_kinds) - seen)}")


def every_fault(build, **more):
    result = run(build, guest="pingpong", cmdline="mode=all n=24", **more)
    check_all(result, ("read", "write", "upgrade", "local", "ipi"))
    n = sum(s["spans"]["kinds"]["ipi"]["n"] for s in result.summaries)
    sharers = [s["spans"]["kinds"]["upgrade"]["stages"] for s in result.summaries]
    for point in ("sharer_rx", "sharer_done", "sharer_tx", "acked"):
        need(any(s.get(point, {}).get("n") for s in sharers), f"no upgrade waited for {point}: {sharers}")
    sent = 2 * 24  # pings and pongs, and a few that start and stop CPUs
    lacking = sum(spans_of(s["spans"], ["ipi"])[1] for s in result.summaries)
    need(sent <= n + lacking + 2, f"{n} interrupts and {lacking} with a reason, at least {sent} were sent")
    return result


def groups(build):
    """Three sharers: their INVs leave in one frame."""
    result = run(build, nodes=4, vcpus=4, guest="pingpong", cmdline="mode=upgrade sharers=3 pages=16 n=160 gap_us=300",
                 fabric="af_packet")
    check_all(result, ("upgrade",))
    sent = sum(p["group_tx"] for s in result.summaries for p in s["peers"].values())
    need(sent > 0, f"no group frames: {result.summaries[0]['peers']}")


def owners(build):
    """Owners that hand a page over that others read acknowledge as well, behind their data."""
    result = run(build, nodes=3, vcpus=3, guest="sort", cmdline="n=2000")
    check_all(result, ("read", "write", "upgrade"))
    both = sum(r["owner"] is not None and "sharer_tx" in r["stamps"] for records in result.spans for r in records)
    need(both > 0, "no fault waited for a sharer behind an owner's data")


def lossy_sharers(build):
    """An acknowledgement that is sent again comes behind its sender's stamps, and behind another sharer's."""
    result = run(build, nodes=3, vcpus=3, guest="pingpong", cmdline="mode=upgrade sharers=2 n=150 gap_us=300", loss=5.0)
    check_all(result, ("upgrade",))


def lossy(build):
    result = every_fault(build, nodes=2, vcpus=2, loss=2.0)
    again = sum(r["again"] for records in result.spans for r in records)
    need(again > 0, "frames were lost, and no span says that one was sent again")


def exits(build):
    result = run(build, nodes=2, vcpus=2, guest="mmio", clock_off_us=1500000)
    check_all(result, ("read", "upgrade", "io"))
    need(result.summaries[1]["spans"]["kinds"]["io"]["n"] >= 1000, "fewer exits than the guest made")
    need(result.summaries[0]["spans"]["kinds"]["io"]["n"] == 0, "the VMM's node sent itself exits")


def rate(build):
    """One in 8, and none."""
    result = run(build, sample=8, nodes=2, vcpus=2, guest="pingpong", cmdline="mode=read n=150")
    for node, summary in enumerate(result.summaries):
        n = sum(spans_of(summary["spans"], OF_FAULTS))
        want = faults_of(summary) / 8
        need(want / 2 <= n <= want * 2, f"node {node}: {n} spans of {faults_of(summary)} faults with sample 8")
        check_node(node, summary, result.spans[node])
    result = run(build, sample=0, nodes=2, vcpus=2, guest="pingpong", cmdline="mode=all n=8")
    for node, summary in enumerate(result.summaries):
        s = summary["spans"]
        need(s["newest"] == 0 and s["messages_sent"] == 0 and s["pieces"] == 0, f"node {node}: sample 0, and spans: {s}")
        need(spans_of(s, s["kinds"]) == (0, 0) and not result.spans[node], f"node {node}: sample 0, and spans")


class Watcher:
    """Asks node 0 by telemetry for all that there is of spans, while they are made."""

    def __init__(self):
        self.overviews, self.records, self.hists, self.wrong = [], {}, {}, []

    def ask(self, command):
        self.socket.send(command.encode())
        answer = self.socket.recv(ANSWER_MAX)
        if not answer:
            raise ConnectionError("the dataplane has ended")
        text = json.loads(answer)[command.split(",")[0]]
        return None if text is None else json.loads(text)

    def __call__(self, c):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as self.socket:
                self.socket.settimeout(5)
                self.socket.connect(telemetry(c, 0))
                self.socket.recv(ANSWER_MAX)  # who it is
                while self.round():
                    pass
        except OSError:
            pass  # the dataplane has ended
        except (ValueError, KeyError, TypeError) as e:  # also of an answer that is cut off
            self.wrong.append(f"an answer cannot be read: {e!r}")

    def round(self):
        overview = self.ask("/pando/spans")
        if overview is None:
            return False
        self.overviews.append(overview)
        at = max(1, overview["newest"] - 40)
        for _ in range(20):
            page = self.ask(f"/pando/span_raw,{at}")
            if not page or not page["records"]:
                break
            self.records.update({r["serial"]: r for r in page["records"]})
            if page["next"] <= at:
                self.wrong.append(f"the page after {at} begins at {page['next']}")
            at = page["next"]
        for kind, of in overview["kinds"].items():
            for stage in ["total", *of["stages"]] if of["n"] else []:
                buckets, at = [], 0
                while at is not None:
                    h = self.ask(f"/pando/spans,{kind},{stage},{at}")
                    if h is None:
                        return False
                    buckets, at = buckets + h["buckets"], h["next"]
                self.hists[kind, stage] = sum(n for _, n in buckets)
        for bad in ("/pando/spans,nokind,total", "/pando/spans,read,nostage", "/pando/spans,read,total,99999"):
            if self.ask(bad) is not None:
                self.wrong.append(f"{bad} has an answer")
        return True


def by_telemetry(build):
    seen = Watcher()
    result = run(build, nodes=2, vcpus=2, guest="pingpong", cmdline="mode=read n=400 gap_us=300", watch=seen)
    need(not seen.wrong, seen.wrong[:1])
    final = result.summaries[0]["spans"]
    need(seen.overviews and seen.records and seen.hists, f"no answers: {len(seen.overviews)} {len(seen.records)}")
    for a, b in zip(seen.overviews, seen.overviews[1:] + [final]):
        need(a["newest"] <= b["newest"] and a["sample"] == 1, "what is counted falls")
    at_end = {r["serial"]: r for r in result.spans[0]}
    both = set(at_end) & set(seen.records)
    need(both and all(at_end[n] == seen.records[n] for n in both), "a record is not what it is at the end")
    for (kind, stage), n in seen.hists.items():
        of = final["kinds"][kind]
        need(0 < n <= (of["total"] if stage == "total" else of["stages"][stage])["n"], f"{kind}/{stage}: {n} samples")


CASES = {
    "spans/two_nodes": lambda build: every_fault(build, nodes=2, vcpus=2),
    "spans/three_nodes": lambda build: every_fault(build, nodes=3, vcpus=3),
    "spans/clocks_apart": lambda build: every_fault(build, nodes=2, vcpus=2, clock_off_us=1500000),
    "spans/groups": groups,
    "spans/owners": owners,
    "spans/lossy": lossy,
    "spans/lossy_sharers": lossy_sharers,
    "spans/exits": exits,
    "spans/rate": rate,
    "spans/telemetry": by_telemetry,
}


def main():
    p = outcome.parser(__doc__)
    p.add_argument("--only", help="one case")
    args = p.parse_args()

    def case(test):
        def body():
            try:
                test(args.build)
            except (Wrong, cl.SetupError) as e:
                return str(e), ""
            return None, ""

        return body

    chosen = {n: t for n, t in CASES.items() if args.only in (None, n)}
    return outcome.status([outcome.run(args.tally, name, case(test)) for name, test in chosen.items()])


if __name__ == "__main__":
    sys.exit(main())
