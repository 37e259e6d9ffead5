# SPDX-License-Identifier: BSD-3-Clause
"""pando status, top and metrics beside a cluster that runs, and the summaries that its dataplanes write at the end:
what was seen only grows, and never beyond what is written. The cluster ends while top looks at it."""
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cluster as cl
import outcome
import summary
from options import Options

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "watch"))
import exposition  # noqa: E402

NODES = 3
LOOK_SECONDS, START_SECONDS = 30, 30
PAGES = 6  # of top, at work
AT_WORK = 70  # messages that a poll loop may be handling while telemetry reads: a burst's, or a step's
RING = 128  # GLUE_RING_ENTRIES
# name of the counter, its label, where the summary has it (the label's value for "*"), member
TABLES = (
    ("pando_faults_total", "kind", ("faults", "*", "n")),
    ("pando_messages_sent_total", "kind", ("messages", "*", "tx")),
    ("pando_messages_received_total", "kind", ("messages", "*", "rx")),
    ("pando_class_frames_sent_total", "class", ("classes", "*", "tx_frames")),
    ("pando_class_bytes_received_total", "class", ("classes", "*", "rx_bytes")),
    ("pando_drops_total", "reason", ("drops", "*")),
    ("pando_loop_found_total", "step", ("loop", "found", "*")),
    ("pando_loop_rounds_total", None, ("loop", "rounds")),
    ("pando_interrupts_total", None, ("rings", "irqs")),
    ("pando_uffd_messages_total", None, ("loop", "uffd_messages")),
)


def cpu_times(c):
    """{(node, thread by its name): seconds of CPU time}, as the kernel has them, of the VM's processes."""
    times = {}
    for process in c.group.processes:
        node = 0 if process.name == "vmm" else int(process.name[5:]) if process.name.startswith("vcpud") else None
        if node is None:
            continue
        for tid in os.listdir(f"/proc/{process.pid}/task"):
            try:
                with open(f"/proc/{process.pid}/task/{tid}/stat", encoding="ascii", errors="replace") as f:
                    name, _, rest = f.read().partition("(")[2].rpartition(")")
            except OSError:
                continue  # it has ended
            known = re.fullmatch(r"pando-(agent|vcpu[0-9]+)", name)
            if known:
                times[node, known[1]] = sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return times


class Look:
    """One after the other: metrics, status; and at the end, top."""

    def __init__(self, build, run_dir):
        self.program, self.run_dir = cl.find_program(build, "pando"), run_dir
        self.metrics, self.status, self.wrong, self.page = [], [], [], ""
        self.top, self.top_file, self.last_pages = None, "", []
        self.kernel = []  # what it says of threads' CPU time, before each of metrics and after

    def command(self, *words):
        p = subprocess.run([self.program, *words, "--run-dir", self.run_dir], capture_output=True, text=True,
                           timeout=LOOK_SECONDS, check=False)
        if p.returncode != 0:
            self.wrong.append(f"{words}: status {p.returncode}: {p.stderr[-300:]}")
        return p.stdout

    def take_metrics(self, text):
        try:
            self.metrics.append(exposition.parse(text))
        except ValueError as e:
            self.wrong.append(f"metrics: {e}")
            return
        said = exposition.promtool(text)
        if said:
            self.wrong.append(f"promtool: {said}")

    def over_http(self):
        with subprocess.Popen([self.program, "metrics", "--listen", "0", "--run-dir", self.run_dir],
                              stderr=subprocess.PIPE, text=True) as p:
            try:
                where = p.stderr.readline().split()[-1]
                with urllib.request.urlopen(where, timeout=LOOK_SECONDS) as answer:
                    self.take_metrics(answer.read().decode())
            except (OSError, urllib.error.URLError, ValueError, IndexError) as e:
                self.wrong.append(f"--listen: {e}")
            finally:
                p.terminate()

    def round(self, c):
        before = cpu_times(c)
        self.take_metrics(self.command("metrics"))
        self.kernel.append((before, cpu_times(c)))
        text = self.command("status", "--json")
        if text:
            self.status.append(json.loads(text)["nodes"])

    def start_top(self, path):
        with open(path, "w", encoding="ascii") as out:
            self.top = subprocess.Popen([self.program, "top", "-b", "-d", "0.2", "--run-dir", self.run_dir], stdout=out)
        self.top_file = path

    def top_pages(self):
        """Those that are complete, as far as one can see."""
        with open(self.top_file, encoding="ascii") as f:
            return ["pando top" + part for part in f.read().split("pando top")[1:]]

    def end_top(self):
        if self.top:
            self.last_pages = self.top_pages()
            self.top.terminate()
            self.top.wait(timeout=LOOK_SECONDS)


def value_at(s, path, label):
    for name in path:
        s = s.get(label if name == "*" else name, {}) if isinstance(s, dict) else {}
    return s if isinstance(s, (int, float)) else 0


def labels_of(samples, name, label):
    return {dict(labels).get(label) for n, labels in samples if n == name}


def only_grows(looks, summaries):
    """Each counter, look after look, and at the end what is written. Yields what is wrong."""
    moved = 0
    for name, label, path in TABLES:
        for value in labels_of(looks[-1], name, label):
            for node, s in enumerate(summaries):
                where = {"node": str(node), **({label: value} if label else {})}
                seen = [exposition.get(m, name, **where) for m in looks] + [value_at(s, path, value)]
                if seen != sorted(seen):
                    yield f"{name} {where}: {seen}"
                moved += seen[0] < seen[-2]
    if moved < 20:
        yield f"only {moved} counters moved between the looks"


def histograms(looks, summaries):
    """As many samples as faults in each look; at the end, as many at each edge as the summary's buckets have."""
    for m in looks:
        for node in range(NODES):
            for kind in summary.KINDS:
                n = exposition.get(m, "pando_fault_seconds_count", node=str(node), kind=kind)
                faults = exposition.get(m, "pando_faults_total", node=str(node), kind=kind)
                if n != faults:
                    yield f"node {node}: {faults} {kind} faults, {n} in the histogram"
    for (name, labels), seen in looks[-1].items():
        at = dict(labels)
        if name == "pando_fault_seconds_bucket" and at["le"] != "+Inf":
            buckets = summaries[int(at["node"])]["faults"][at["kind"]]["buckets"]
            most = sum(n for upper, n in buckets if upper / 1e9 <= float(at["le"]) + 1e-12)
            if seen > most:
                yield f"{labels}: {seen}, {most} at the end"
    for s in summaries:
        for kind in summary.KINDS:
            f = s["faults"][kind]
            if sum(n for _, n in f["buckets"]) != f["n"]:
                yield f"summary: {kind}: {f}"


def where_time_went(summaries):
    """Each nanosecond of the loop is in one state; and it had a CPU for no longer than it was there."""
    for s in summaries:
        ns = sum(s["loop"][f"{state}_ns"] for state in ("useful", "empty", "yield", "sleep"))
        if abs(ns / 1e9 - s["seconds"]) > 0.3 or not 0 < s["loop"]["cpu_ns"] / 1e9 < s["seconds"] + 0.1:
            yield f"node {s['node']}: {ns} ns of {s['seconds']} s; {s['loop']}"
        if not 0 < s["loop"]["useful_ns"] < ns:
            yield f"node {s['node']}: {s['loop']}"


def messages(summaries):
    """Kinds of all families are counted, and nobody received more than was sent."""
    for kind in ("gets", "data", "inv_ack", "irq", "time_req", "time_rep"):
        sent, received = (sum(s["messages"][kind][way] for s in summaries) for way in ("tx", "rx"))
        if not 0 < received <= sent:
            yield f"{kind}: {sent} sent, {received} received"
    for s in summaries:
        steps = sum(s["transitions"].values())
        if steps < s["faults"]["write"]["n"]:
            yield f"node {s['node']}: {steps} transitions: {s['transitions']}"


def by_peer_at_work(looks, summaries):
    """While it runs, telemetry reads kinds first and peers then: what is counted by kind in a look is counted by peer
    in it, and what is counted by peer is by kind in the next one."""
    for node, s in enumerate(summaries):
        where = {"node": str(node)}
        kinds = {way: [exposition.get(m, f"pando_messages_{way}_total", **where) for m in looks]
                 for way in ("sent", "received")}
        kinds["sent"].append(summary.summed(s, "messages", "tx"))
        kinds["received"].append(summary.summed(s, "messages", "rx"))
        for i, m in enumerate(looks):
            waits = exposition.get(m, "pando_backlog_messages", **where)
            for way in ("sent", "received"):
                peers = exposition.get(m, f"pando_peer_messages_{way}_total", **where)
                if not kinds[way][i] - waits - AT_WORK <= peers <= kinds[way][i + 1] + AT_WORK or peers == 0:
                    yield f"node {node}: look {i}: {way}: {peers} by peer, {kinds[way]} by kind, {waits} wait"
            for counter, key in (("messages_sent", "tx_messages"), ("bytes_received", "rx_bytes"),
                                 ("retransmissions", "retransmit")):
                for name, peer in s["peers"].items():
                    seen = exposition.get(m, f"pando_peer_{counter}_total", peer=str(peer["node"]), **where)
                    if not (seen > 0 or key == "retransmit") or seen > peer[key]:
                        yield f"node {node} to {name}: {counter}: {seen}, {peer[key]} at the end"


def threads(looks, kernel, status):
    """CPU times are the kernel's, between what it says before and after; each node has its own threads' names."""
    for m, (before, after) in zip(looks, kernel):
        for (node, name), least in before.items():
            where = {"node": str(node), "thread": name}
            seen = exposition.get(m, "pando_thread_cpu_seconds_total", **where)
            told = {v for (n, labels), v in m.items() if n == "pando_thread_cpu_seconds_total"
                    and set(where.items()) <= set(labels)}
            if not told or not least - 0.001 <= seen <= after[node, name] + 0.001:
                yield f"{where}: {seen} s, the kernel says {least} before and {after[node, name]} after"
    if not all((n, name) in kernel[0][0] for n in range(NODES) for name in (["agent"] + [f"vcpu{n}"] * (n > 0))):
        yield f"the kernel knows no such threads: {kernel[0][0]}"
    for nodes in status:
        for n in nodes:
            want = {"agent", f"vcpu{n['node']}"} | {f"proxy{v}" for v in range(1, NODES) if n["vmm"]}
            if {t["name"] for t in n["threads"]} != want:
                yield f"status: {n['threads']}"
            for t in n["threads"]:
                if t["cpu_share"] is None or not 0 <= t["cpu_share"] <= 1 or not 0 <= t["core"] < os.cpu_count():
                    yield f"status: node {n['node']}: {t}"
        if not any(t["cpu_share"] > 0 for n in nodes for t in n["threads"] if t["name"].startswith("vcpu")):
            yield f"status: no vCPU has run: {[n['threads'] for n in nodes]}"


def rings(looks, status):
    """All of them are told, none is impossible, and none holds more than it can."""
    for m in looks:
        for node in range(NODES):
            for way in ("dataplane", "vm"):
                found = {dict(labels)["channel"]: v for (name, labels), v in m.items()
                         if name == f"pando_ring_to_{way}_entries" and ("node", str(node)) in labels}
                beyond = not all(0 <= v <= RING for v in found.values())
                if set(found) != {"vm"} | {str(v) for v in range(NODES)} or beyond:
                    yield f"node {node}: rings to the {way}: {found}"
        if exposition.get(m, "pando_rings_implausible") != 0:
            yield "a ring is implausible"
    for nodes in status:
        for n in nodes:
            if (n["rings"]["rings"], n["rings"]["capacity"], n["rings"]["implausible"]) != (2 * (NODES + 1), RING, 0):
                yield f"status: {n['rings']}"


def statuses(looks, summaries):
    for nodes in looks:
        if [n["node"] for n in nodes] != list(range(NODES)):
            yield f"status: {[n['node'] for n in nodes]}"
            return
        for n, s in zip(nodes, summaries):
            total = sum(f["n"] for f in s["faults"].values())
            if not 0 < n["faults"] <= total or n["seconds"] > s["seconds"]:
                yield f"status: {n['faults']} faults in {n['seconds']} s; {total} in {s['seconds']} at the end"
            if n["vcpus"] != s["vcpus"] or n["vmm"] != s["vmm"]:
                yield f"status: {n}"
            if not all(p["up"] for p in n["peers"]) or len(n["peers"]) != NODES - 1 or not 0 < n["busy_share"] < 1:
                yield f"status: {n}"
            sent = sum(p["messages_sent"] for p in n["peers"])
            if not 0 < n["messages_sent"] <= sent <= summary.summed(s, "peers", "tx_messages"):
                yield f"status: {n['messages_sent']} sent, {sent} by peer"
            if n["phase"] != "running" or n["clock"] != "locked" or not n["offload"]:
                yield f"status: {n}"


def tops(pages):
    """Rows of nodes that run, with rates; in the end, all have ended."""
    pages = pages[:-1]  # the last one may be half of a page
    rows = [[x.split() for x in p.splitlines() if x[:2] in ("0 ", "1 ", "2 ")] for p in pages]
    if len(pages) < PAGES or any(len(r) != NODES for r in rows):
        yield f"top: {pages[-1:]}"
        return
    if not any(all(r[2] == "running" and r[3] != "0.0" for r in page) for page in rows):
        yield f"top: no page has all nodes at work: {pages[1]}"
    if any(r[2] != "ended" for r in rows[-1]):
        yield f"top: not all have ended: {pages[-1]}"
    starts = ("write", "data ", "0x", "n0 > n")
    if not any(all(any(line.startswith(start) for line in p.splitlines()) for start in starts) for p in pages):
        yield f"top: {pages[1]}"  # of some: a machine that others share may stand still for one
    threads = [[x.split() for x in p.splitlines() if x.startswith(("vcpu", "agent", "loop"))] for p in pages]
    if not any({"loop", "agent"} <= {w[0] for w in t} and not any("-" in (w[3], w[4]) for w in t) for t in threads):
        yield f"top: threads: {pages[1]}"


def look_around(c, look):
    """While the guest runs: everything, then top until its pages are there. What is wrong, or None."""
    started = lambda: c.ended() or os.path.exists(c.space.path("said"))
    if not c.group.wait_until(started, time.monotonic() + START_SECONDS):
        return "the guest did not start"
    c.group.wait_until(c.ended, time.monotonic() + 0.3)
    for _ in range(2):
        look.round(c)
    look.over_http()
    look.page = look.command("status")
    look.start_top(c.space.path("top.txt"))
    pages = lambda: c.ended() or len(look.top_pages()) >= PAGES
    return None if c.group.wait_until(pages, time.monotonic() + LOOK_SECONDS) else "top does not get on"


def agree(fabric, build):
    """The guest counts for ever: dataplane 0 is told to end when all has been looked at."""
    o = Options(nodes=NODES, vcpus=NODES, fabric=fabric, ram=64, guest="counters", cmdline="iters=100000000",
                timeout=100)
    said = []

    def on_line(process, _stream, line):
        said.append(f"{process.name}: {line}")
        if process.name == "vmm":
            with open(c.space.path("said"), "w", encoding="ascii"):
                pass

    with cl.Cluster(o, build, on_line=on_line) as c:
        c.start(cl.find_guest(build, o.guest))
        look = Look(build, c.space.path("run"))
        try:
            wrong = look_around(c, look)
            if wrong or c.ended():
                return f"{wrong or 'it ended by itself'}: {said[-3:]}; again: {o.command()}"
            next(p for p in c.group.processes if p.name == "dataplane0").send(signal.SIGTERM)
            c.group.wait_until(lambda: not c.group.alive(), time.monotonic() + cl.FINISH_SECONDS)
            seen = len(look.top_pages())
            end = time.monotonic() + LOOK_SECONDS
            while len(look.top_pages()) < seen + 3 and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            look.end_top()
        s = [c.read_json(f"summary{n}.json") for n in range(NODES)]
    if not all(s) or len(look.metrics) < 3 or len(look.status) < 2 or look.wrong:
        return f"{look.wrong or said[-3:]}; again: {o.command()}"
    wrong = [*only_grows(look.metrics, s), *histograms(look.metrics, s), *where_time_went(s), *messages(s),
             *summary.by_peer(s), *by_peer_at_work(look.metrics, s), *threads(look.metrics, look.kernel, look.status),
             *rings(look.metrics, look.status), *statuses(look.status, s), *tops(look.last_pages)]
    if "runs the VMM of vm0" not in look.page or look.page.count("round trip") != NODES * (NODES - 1):
        wrong.append(f"status: {look.page}")
    return "\n".join(wrong[:5]) if wrong else None


def main():
    p = outcome.parser(__doc__)
    p.add_argument("--only", default="", help="a part of a case's name")
    args = p.parse_args()
    cases = {f"watch/agree {fabric}": functools.partial(agree, fabric, args.build) for fabric in ("shm", "af_packet")}
    return outcome.status(outcome.run(args.tally, n, t) for n, t in cases.items() if args.only in n)


if __name__ == "__main__":
    sys.exit(main())
