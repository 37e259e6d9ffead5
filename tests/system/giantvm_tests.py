# SPDX-License-Identifier: BSD-3-Clause
"""The GiantVM-style baseline (perf/giantvm) runs the guests that the product runs: the guests verify their work, and
the dataplanes' counters show that it was done by that protocol. What it cannot do it refuses by name; a peer that is
no peer changes nothing; the death of one node ends all.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import cluster as cl
import options
import outcome
import summary
from options import Options

FRAME = 4110  # bytes of a message of the protocol
HEADER = 26  # of others, without their payload
# Guest, nodes, engine, link. Each takes a few seconds.
GUESTS = (
    ("counters", "iters=500", 3, "giantvm", "udp"),
    ("locks", "iters=100", 2, "giantvm-spin", "udp"),
    ("litmus", "iters=500", 2, "giantvm", "af_packet"),
)
END_SECONDS = 2.0
PROTOCOL = ("gets", "getm", "data", "inv", "inv_ack")
FOREIGN = ("fwd_gets", "fwd_getm", "grant", "puts", "putm", "puto", "put_ack", "span")


def of(engine="giantvm", fabric="udp", nodes=2, **more):
    return Options(engine=engine, fabric=fabric, nodes=nodes, vcpus=nodes, ram=64, timeout=60, **more)


def counters_wrong(summaries, nodes):
    """What the counters of a run should not say, or None."""
    total = lambda *path: summary.total(summaries, *path)
    tx = {k: total("messages", k, "tx") for k in PROTOCOL}
    rx = {k: total("messages", k, "rx") for k in PROTOCOL}
    if total("coherence", "violations") or not all(summary.get(s, "coherence", "checks") for s in summaries):
        return "invariants were violated, or not checked"
    if summary.merged_counts(summaries, "drops"):
        return f"messages were refused: {summary.merged_counts(summaries, 'drops')}"
    if any(total("messages", k, "tx") for k in FOREIGN):
        return "messages of another protocol were sent"
    if not all(tx.values()):
        return f"kinds of messages that were never sent: {[k for k, v in tx.items() if not v]}"
    # What was on its way at the end of the VM may not have arrived.
    if tx["data"] > tx["gets"] + tx["getm"] or tx["inv_ack"] > tx["inv"] or any(rx[k] > tx[k] for k in PROTOCOL):
        return f"messages do not add up: sent {tx}, received {rx}"
    size = total("classes", "data", "tx_bytes")
    if size != tx["data"] * FRAME:
        return f"{tx['data']} pages took {size} bytes, not {FRAME} each"
    small = total("classes", "urgent", "tx_bytes") - (tx["inv"] + tx["inv_ack"]) * FRAME
    if small < (total("classes", "urgent", "tx_messages") - tx["inv"] - tx["inv_ack"]) * HEADER:
        return "interrupts or acknowledgements are shorter than they can be"
    started = sum(total("faults", k, "started") for k in ("read", "write", "upgrade"))
    if nodes == 2 and tx["gets"] + tx["getm"] > started:
        return f"{tx} for {started} faults: between two nodes nobody passes a request on"
    return None


def run_guest(build, guest, words, nodes, engine, fabric):
    o = of(engine, fabric, nodes, guest=guest, cmdline=words)
    with cl.Cluster(o, build) as c:
        result = c.run()
    if not result.passed:
        return f"status {result.status}, {result.died or 'nobody died'}"
    if result.left:
        return f"left behind: {result.left}"
    return counters_wrong(result.summaries, nodes)


def refused_by_program(build, change, said):
    """A configuration that means nothing to it ends it at once, with these words."""
    o = of(nodes=2)
    with tempfile.TemporaryDirectory(prefix="pando-giantvm-") as d:
        path = os.path.join(d, "c.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write(change(o.config(os.path.join(d, "run"), "refused", "pando0")))
        done = subprocess.run([cl.find_program(build, o.dataplane), "--config", path, "--node", "0"],
                              capture_output=True, text=True, timeout=20)  # fmt: skip
    if done.returncode == 0 or said not in done.stderr:
        return f"status {done.returncode}, and {done.stderr.strip()[-300:]!r} does not say {said!r}"
    return None


def refusals(build):
    cases = (
        (lambda t: t.replace("type: udp", "type: shm"), "fabric.type: shm; allowed: udp"),
        (lambda t: t.replace("resident_mib: 0", "resident_mib: 60"), "resident_mib: 60; allowed: 0"),
        (lambda t: t.replace("drop_ppm: 0", "drop_ppm: 5"), "fabric.faults; allowed: none"),
    )
    for change, said in cases:
        wrong = refused_by_program(build, change, said)
        if wrong:
            return wrong
    for o in (of(fabric="shm"), of(nodes=17), of(loss=1.0), of(resident_pct=50), of(encapsulation="udp")):
        if options.problem(o) is None:
            return f"{' '.join(o.words())} is not refused"
    return None if options.problem(of()) is None else f"{options.problem(of())}"


def two_configurations(build):
    """Both nodes say that they do not fit together, and end."""
    with tempfile.TemporaryDirectory(prefix="pando-giantvm-") as d:
        texts, nodes = [of(nodes=2).config(os.path.join(d, "run"), "two", "pando0")] * 2, []
        texts[1] = texts[1].replace("ram_mib: 64", "ram_mib: 65")
        for n, text in enumerate(texts):
            path = os.path.join(d, f"c{n}.yaml")
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
            nodes.append(subprocess.Popen([cl.find_program(build, of().dataplane), "--config", path, "--node", str(n)],
                                          stderr=subprocess.PIPE, text=True))  # fmt: skip
        ends = time.monotonic() + 20
        while any(p.poll() is None for p in nodes) and time.monotonic() < ends:
            time.sleep(0.02)
        for p in nodes:
            p.kill()  # no effect on one that has ended
        said = [p.communicate()[1] for p in nodes]
    if any(p.returncode == 0 for p in nodes) or not all("another configuration" in text for text in said):
        return f"status {[p.returncode for p in nodes]}, they said {said}"
    return None


def start(c):
    c.start(cl.find_guest(c.build, c.o.guest))
    talks = lambda: c.ended() or any(p is c.vmm and p.tail for p in c.group.processes)
    if not c.group.wait_until(talks, time.monotonic() + 30) or c.ended():
        return f"it did not start: {[p.tail[-2:] for p in c.group.processes]}"
    return None


def port_of(c):
    with open(c.space.path("cluster.yaml"), encoding="ascii") as f:
        return int(next(line.split(":")[1] for line in f if "udp_port" in line))


def strangers(build):
    """Who connects and talks nonsense, or nothing, or hangs up, is no node; the guest goes on."""
    o = of(guest="counters", cmdline="iters=20000")
    with cl.Cluster(o, build) as c:
        wrong = start(c)
        if wrong:
            return wrong
        held = []
        for n, data in enumerate((b"", b"GET / HTTP/1.0\r\n\r\n" * 3, b"\x70" + bytes(27), b"\x70\x01\x01\x02", bytes(5000))):
            s = socket.create_connection((f"127.0.0.{n % 2 + 1}", port_of(c)), timeout=5)
            s.sendall(data)
            held.append(s)
        for _ in range(60):  # more than there are places for: some are not taken, so nobody waits for that
            held.append(socket.socket())
            held[-1].setblocking(False)
            held[-1].connect_ex(("127.0.0.1", port_of(c)))
        result = cl.Result()
        c.watch(result)
        c.finish(result)
        for s in held:
            s.close()
        summaries = [c.read_json(f"summary{n}.json") for n in range(o.nodes)]
    if not result.passed:
        return f"status {result.status}, {result.died or 'nobody died'}"
    drops = summary.merged_counts(summaries, "drops")
    return None if drops.get("engine.message_kind", 0) >= 2 else f"strangers were not counted: {drops}"


def death(build):
    """A dataplane is killed: the other names it, and everybody ends."""
    o = of(guest="counters", cmdline="iters=100000000")
    with cl.Cluster(o, build) as c:
        wrong = start(c)
        if wrong:
            return wrong
        victim = next(p for p in c.group.processes if p.name == "dataplane1")
        other = next(p for p in c.group.processes if p.name == "dataplane0")
        os.kill(victim.pid, signal.SIGKILL)
        if not c.group.wait_until(lambda: not c.group.alive(), time.monotonic() + END_SECONDS):
            return f"alive after {END_SECONDS} s: {[p.name for p in c.group.alive()]}"
        if not any("node 1 (n1) was lost: its dataplane has ended" in line for line in other.tail):
            return f"node 0 did not say why: {other.tail[-3:]}"
    return None


def main():
    args = outcome.parser(__doc__).parse_args()
    tests = {"giantvm/refusals": lambda: refusals(args.build),
             "giantvm/two-configurations": lambda: two_configurations(args.build),
             "giantvm/strangers": lambda: strangers(args.build),
             "giantvm/death": lambda: death(args.build)}  # fmt: skip
    for guest, words, nodes, engine, fabric in GUESTS:
        tests[f"giantvm/{guest}-{nodes}-{engine}-{fabric}"] = (
            lambda g=guest, w=words, n=nodes, e=engine, f=fabric: run_guest(args.build, g, w, n, e, f)
        )
    return outcome.status([outcome.run(args.tally, *test) for test in tests.items()])


if __name__ == "__main__":
    sys.exit(main())
