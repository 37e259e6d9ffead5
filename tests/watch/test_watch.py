#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pando status, top and metrics against dataplanes that are played: what they say of good ones, and that bad ones -
which lie, trickle, are silent, never end, or give orders to a terminal - are said to be that and bounded.

    test_watch.py PANDO-WATCH [TEST]
"""
import fcntl
import json
import os
import pty
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import exposition
from played import Dataplane, OFFLOAD, faults, packed, summary

COMMANDS = (["status"], ["status", "--json"], ["top", "-b", "-n", "1"], ["metrics"])
ORDERS = "\x1b[2J \u009b31m \u202e \x7f \u00db \n x"


def watch(*args, timeout=60):
    p = subprocess.run([sys.argv[1], *args], capture_output=True, timeout=timeout, check=False)
    return p.returncode, p.stdout.decode("utf-8", "surrogateescape"), p.stderr.decode("utf-8", "surrogateescape")


def check(what, good, *evidence):
    if not good:
        print(f"not ok: {what}")
        for e in evidence:
            print(e)
    return bool(good)


def printable(text):
    return all(c == "\n" or " " <= c <= "~" for c in text)


def strict(text):
    """The samples, None if it is not the format."""
    try:
        samples = exposition.parse(text)
    except ValueError as e:
        print(f"exposition: {e}")
        return None
    said = exposition.promtool(text)
    if said:
        print(f"promtool: {said}")
        return None
    return samples


def said_well():
    """Two good dataplanes: each number is where it belongs, in all three programs."""
    good = True
    with tempfile.TemporaryDirectory() as run_dir:
        for n in (0, 1):
            Dataplane(run_dir, n, summary(n))
        where = ("--run-dir", run_dir)
        status, out, err = watch("status", *where)
        for words in ("node 0 (n0) of played, runs the VMM of vm0, vCPUs 0", "node 1 (n1) of played, VM vm0, vCPUs 1",
                      "faults 150 (15.0/s), read 100 (p50 1.0, p99 32.8 us), write 50", "round trip 23.4 us",
                      "messages 100 sent (10.0/s), 100 received (10.0/s)", "resident 512 (2.0 MiB)", "on core 5: 25.0 % busy",
                      "70.0 % given away; CPU 30.0 %", "locked, within 1.50 us", "refused: rrdp.duplicate 3\n",
                      "in software 1",
                      "peer 1 (n1): up, round trip 23.4 us; messages 100 sent, 90 received; MB 10.0 sent, 9.0 received; "
                      "7 frames sent again\n",
                      "rings of the VM's process: entries wait in 3 of 6; the fullest holds 128 of 128 (channel 1 to the VM)\n",
                      "CPU of threads since then: agent 1.0 % on core 2, vcpu0 90.0 % on core 3, proxy1 -\n"):
            good &= check(f"status: {words}", status == 0 and err == "" and words in out, status, out, err)
        status, out, err = watch("status", "--json", *where)
        nodes = json.loads(out)["nodes"]
        want = {"cluster": "played", "node": 1, "faults": 150, "faults_per_s": 15.0, "messages_sent": 100,
                "resident_pages": 512, "busy_share": 0.25, "cpu_share": 0.3, "clock_error_us": 1.5, "vcpus": [1],
                "vmm": False, "phase": "running", "drops": {"rrdp.duplicate": 3}, "seconds": 10.0,
                "peers": [{"node": 0, "name": "n0", "up": True, "rtt_ns": 23400, "messages_sent": 100,
                           "messages_received": 90, "bytes_sent": 10000000, "bytes_received": 9000000,
                           "retransmissions": 7}],
                "rings": {"rings": 6, "capacity": 128, "implausible": 0, "to_dataplane": {"0": 3},
                          "to_vm": {"1": 128, "vm": 1}},
                "threads": [{"name": "agent", "cpu_share": 0.01, "cpu_seconds": 0.1, "core": 2},
                            {"name": "vcpu1", "cpu_share": 0.9, "cpu_seconds": 9.0, "core": 3},
                            {"name": "proxy0", "cpu_share": None, "cpu_seconds": None, "core": None}],
                "offload": {"nic": "none", "hardware": 0, "xdp": 0, "software": 1}}
        good &= check("status --json", status == 0 and len(nodes) == 2 and want.items() <= nodes[1].items(), out, err)
        status, out, err = watch("metrics", *where)
        m = strict(out) or {}
        for value, name, labels in (
                (2, "pando_up", {}), (150, "pando_faults_total", {"node": "0"}), (2, "pando_peer_up", {}),
                (23.4e-6, "pando_peer_rtt_seconds", {"node": "0", "peer": "1"}), (3, "pando_drops_total", {"node": "1"}),
                (200, "pando_messages_sent_total", {"kind": "gets"}), (90, "pando_fault_seconds_bucket",
                {"kind": "read", "node": "0", "le": "0.000001023"}), (100, "pando_fault_seconds_bucket",
                {"kind": "read", "node": "0", "le": "0.000032767"}), (90, "pando_fault_seconds_bucket",
                {"kind": "read", "node": "0", "le": "0.000024575"}), (100, "pando_fault_seconds_count",
                {"kind": "read", "node": "0"}), (4e6, "pando_class_bytes_sent_total", {"node": "0", "class": "urgent"}),
                (10, "pando_transitions_total", {"node": "0", "from": "IS_D", "to": "IS_P"}),
                (2.5, "pando_loop_seconds_total", {"node": "0", "state": "useful"}),
                (5, "pando_loop_core", {"node": "0"}),
                (300, "pando_loop_found_total", {"node": "1", "step": "frames"}),
                (3, "pando_span_stage_seconds_count", {"node": "0", "kind": "read", "stage": "to_port"}),
                (3, "pando_spans_total", {"node": "0", "kind": "read"}),
                (2, "pando_spans_incomplete_total", {"node": "0", "kind": "read", "reason": "data"}),
                (100, "pando_peer_messages_sent_total", {"node": "0", "peer": "1"}),
                (90, "pando_peer_messages_received_total", {"node": "1", "peer": "0"}),
                (1e7, "pando_peer_bytes_sent_total", {"node": "0", "peer": "1"}),
                (9e6, "pando_peer_bytes_received_total", {"node": "0", "peer": "1"}),
                (7, "pando_peer_retransmissions_total", {"node": "0", "peer": "1"}),
                (3, "pando_ring_to_dataplane_entries", {"node": "0", "channel": "0"}),
                (128, "pando_ring_to_vm_entries", {"node": "0", "channel": "1"}),
                (1, "pando_ring_to_vm_entries", {"node": "1", "channel": "vm"}),
                (128, "pando_ring_capacity_entries", {"node": "0"}), (6, "pando_ring_unmap_entries", {"node": "0"}),
                (0, "pando_rings_implausible", {}),
                (0.1, "pando_thread_cpu_seconds_total", {"node": "1", "thread": "agent"}),
                (9, "pando_thread_cpu_seconds_total", {"node": "1", "thread": "vcpu1"}),
                (3, "pando_thread_core", {"node": "0", "thread": "vcpu0"}),
                (9.5, "pando_process_cpu_seconds_total", {"node": "0", "process": "vm"}),
                (1.5e-6, "pando_clock_error_seconds", {"node": "0"})):
            found = exposition.get(m, name, **labels)
            good &= check(f"{name} {labels}", abs(found - value) < 1e-12, found, value)
        threads = {dict(labels)["thread"] for name, labels in m if name == "pando_thread_cpu_seconds_total"}
        good &= check("not known", threads == {"agent", "vcpu0", "vcpu1"}, threads)
        took = exposition.get(m, "pando_fault_seconds_sum", node="0", kind="read")
        good &= check("sum", abs(took - (90 * 1023 + 10 * 32767) / 1e9) < 1e-9, took)
        good &= check("metrics", status == 0 and err == "", status, err)
    return good


def lines_of(page, head):
    """The lines of a list of top's page, in words."""
    lines = iter(page.splitlines())
    next((x for x in lines if x.startswith(head)), None)
    return [x.split() for x in iter(lambda: next(lines, ""), "")]


def ordered():
    """top's keys as options: the order of rows and lists, rates since the start."""
    good = True
    with tempfile.TemporaryDirectory() as run_dir:
        played = [Dataplane(run_dir, n, summary(n, seconds=10.0 + 30 * n, faults=faults(read={1023: 1000}, write={})))
                  for n in (0, 1)]
        pages = {}
        for key in "NFMPLT":
            status, out, err = watch("top", "-1", "-o", key, "--run-dir", run_dir)
            rows = [x[0] for x in lines_of(out, "cluster played")]
            good &= check(f"-o {key}", status == 0 and rows == (["1", "0"] if key == "T" else ["0", "1"]), status, out, err)
            pages[key] = out
        for key, words in zip("NFMPLT", ("", "faults", "messages", "busy share", "p99", "CPU time")):
            said = pages[key].splitlines()[0].partition(", by ")[2]
            good &= check(f"said {key}", said == words, pages[key])
        good &= check("TIME", row(pages["T"], "1 n1")[-1] == "0:02:12", pages["T"])
        good &= check("TIME", row(pages["T"], "0 n0")[-2:] == ["12", "s"], pages["T"])
        want = [["vcpu0", "0", "n0", "3", "90.0", "9", "s"], ["vcpu1", "1", "n1", "3", "22.5", "9", "s"],
                ["loop", "0", "n0", "5", "30.0", "3", "s"], ["loop", "1", "n1", "5", "7.5", "3", "s"],
                ["agent", "0", "n0", "2", "1.0", "0", "s"], ["agent", "1", "n1", "2", "0.2", "0", "s"],
                ["proxy1", "0", "n0", "-", "-", "-"], ["proxy0", "1", "n1", "-", "-", "-"]]
        good &= check("threads by time", lines_of(pages["T"], "THREADS") == want, pages["T"])
        want[1:3] = reversed(want[1:3])
        good &= check("threads by share", lines_of(pages["N"], "THREADS") == want, pages["N"])
        peers = lines_of(pages["N"], "NODE > PEER")
        good &= check("peers", peers == [["n0", ">", "n1", "23.4", "10.0", "9.0", "1.0", "0.9", "0.7"],
                                         ["n1", ">", "n0", "23.4", "2.5", "2.2", "0.2", "0.2", "0.2"]], peers)
        for since_start, rates in (((), ("50.0", "100.0")), (("-S",), ("91.7", "25.0"))):
            for n, plane in enumerate(played):
                plane.asked, plane.answer = 0, summary(n, faults=faults(read={1023: 1000}, write={}))
            with subprocess.Popen([sys.argv[1], "top", "-b", "-n", "2", "-d", "3", *since_start, "--run-dir", run_dir],
                                  stdout=subprocess.PIPE, text=True) as p:
                until(lambda: all(plane.asked for plane in played))  # what it is told then is of that moment
                for n, plane in enumerate(played):
                    vcpu = {f"vcpu{n}": {"cpu_ns": 3000000000 if since_start else 11000000000, "core": 3}}
                    plane.answer = summary(n, seconds=12.0, faults=faults(read={1023: 1100}, write={}), threads=vcpu)
                page = p.communicate(timeout=20)[0].split("pando top")[2]
            share = next((x[4] for x in lines_of(page, "THREADS") if x[0] == "vcpu0"), None)
            good &= check(f"rates {since_start}", (row(page, "0 n0")[1], share) == rates, page)
            good &= check("said", ("SINCE THE START" in page) == bool(since_start), page)
    for args in (["-o", ""], ["-o", "X"], ["-o", "NF"], ["--sort", "\x1b"]):
        status, out, err = watch("top", "-1", *args, timeout=10)
        good &= check(f"{args}", status == 2 and "--sort" in err and out == "", status, out, err)
    return good


def impossible():
    """Numbers that no ring and no thread can have: said to be that, or not shown; never taken for true."""
    good = True
    huge = 1 << 62
    cases = [  # a ring's table and capacity; rings that are believed, in each direction; those that are not
        ({"to_dp": {"0": 129, "1": 2}}, {"1": 2}, {}, 1), ({"to_dp": {"0": -1, "1": -huge}}, {}, {}, 2),
        ({"to_glue": {"0": huge, "vm": 128}}, {}, {"vm": 128}, 1),
        ({"to_dp": {"0": 0.5, "1": "7", "2": None, "3": [1]}}, {}, {}, 4),
        ({"to_dp": {"0": 1000000}, "capacity": huge}, {}, {}, 1),
        ({"to_dp": {"0": 1000000}, "capacity": 1000000}, {}, {}, 1),
        ({"to_dp": {"0": 1}, "capacity": -5}, {}, {}, 1), ({"to_dp": {"0": 1}, "capacity": "128"}, {}, {}, 1),
        ({"implausible": {"0": 2, "vm": 1, "agent": 1}}, {}, {}, 4),
        ({"to_dp": [1, 2], "to_glue": 7, "implausible": []}, {}, {}, 0),
    ]
    for table, to_dp, to_vm, implausible in cases:
        channels = {"capacity": 128, "unmap_capacity": 256, "unmap": 300, "to_dp": {}, "to_glue": {}, "implausible": {},
                    **table}
        with tempfile.TemporaryDirectory() as run_dir:
            plane = Dataplane(run_dir, 0, summary(0, channels=channels))
            m = strict(watch("metrics", "--run-dir", run_dir)[1]) or {}
            for name, want in (("pando_ring_to_dataplane_entries", to_dp), ("pando_ring_to_vm_entries", to_vm)):
                have = {dict(labels)["channel"]: v for (n, labels), v in m.items() if n == name}
                good &= check(f"{table}: {name}", have == want, have)
            good &= check(f"{table}: unmap", not any(n == "pando_ring_unmap_entries" for n, _ in m), m)
            good &= check(f"{table}: implausible", exposition.get(m, "pando_rings_implausible") == implausible, m)
            rings = json.loads(watch("status", "--json", "--run-dir", run_dir)[1])["nodes"][0]["rings"]
            good &= check(f"{table}: --json", (rings["to_dataplane"], rings["to_vm"], rings["implausible"]) ==
                          (to_dp, to_vm, implausible), rings)
            said = watch("status", "--run-dir", run_dir)[1]
            good &= check(f"{table}: status", (f"IMPLAUSIBLE: {implausible}\n" in said) == (implausible > 0), said)
            plane.end()
    for thread, share in (({"cpu_ns": 10000000000}, "100.0"), ({"cpu_ns": 10100000000}, "100.0"), ({"cpu_ns": 20000000000}, "-"),
                          ({"cpu_ns": huge, "core": huge}, "-"), ({"cpu_ns": -5, "core": -3}, "-"), ({"cpu_ns": "7"}, "-"),
                          ({"core": 7}, "-"), ({"cpu_ns": 1e300}, "-"), (7, "-"), ([], "-"), (None, "-")):
        with tempfile.TemporaryDirectory() as run_dir:
            plane = Dataplane(run_dir, 0, summary(0, threads={"vcpu0": thread}))
            threads = lines_of(watch("top", "-1", "--run-dir", run_dir)[1], "THREADS")
            mine = next((x for x in threads if x[0] == "vcpu0"), [])
            core = "7" if thread == {"core": 7} else "-"
            good &= check(f"thread {thread}", mine[3:5] == [core, share], threads)
            plane.end()
    many = {f"vcpu{i}": {"cpu_ns": i, "core": i} for i in range(700)}
    with tempfile.TemporaryDirectory() as run_dir:
        peers = {f"p{i}": {"node": i, "up": 1, "tx_bytes": huge, "tx_messages": -1} for i in range(500)}
        Dataplane(run_dir, 0, summary(0, threads=many, peers=peers), page=6000)
        out = watch("top", "-1", "--run-dir", run_dir)[1]
        good &= check("many", len(lines_of(out, "THREADS")) == 10 and len(lines_of(out, "NODE > PEER")) == 8, out)
        out = watch("status", "--run-dir", run_dir)[1]
        good &= check("many", "684 more (--json)" in out and out.count("  peer ") == 64, out)
    return good


def row(page, who):
    """The columns of a node's row on top's page."""
    line = next((x for x in page.splitlines() if x.startswith(who)), "")
    return line.split()[2:]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def merged():
    """top: rates are differences, percentiles come from added buckets and of the time between two looks; a dataplane
    that was started anew is said to be back, one that is gone has ended."""
    good = True
    with tempfile.TemporaryDirectory() as run_dir:
        a = Dataplane(run_dir, 0, summary(0, faults=faults(read={1023: 1000}, write={})))
        b = Dataplane(run_dir, 1, summary(1, faults=faults(read={1023: 1000}, write={})))
        with subprocess.Popen([sys.argv[1], "top", "-b", "-n", "4", "-d", "1", "--run-dir", run_dir],
                              stdout=subprocess.PIPE, text=True) as p:
            text = []
            reader = threading.Thread(target=lambda: text.append(p.stdout.read()))
            reader.start()
            until(lambda: a.asked >= 1 and b.asked >= 1)
            # In 2 s: node 0 100 fast reads, node 1 2 slow ones. Averages of percentiles would make p50 slow, too.
            a.answer = summary(0, seconds=12.0, faults=faults(read={1023: 1100}, write={1048575: 20}))
            b.answer = summary(1, seconds=12.0, faults=faults(read={1023: 1000, 1048575: 2}, write={}))
            until(lambda: a.asked >= 2 and b.asked >= 2)
            time.sleep(0.2)  # it has all pages
            a.answer = summary(0, seconds=1.0, loop={"rounds": 5}, faults=faults(read={2047: 4}, write={}))
            b.end()
            reader.join(timeout=10)
            p.wait(timeout=10)
        pages = ["pando top" + part for part in text[0].split("pando top")[1:]]
        good &= check("pages", len(pages) == 4 and p.returncode == 0, pages, p.returncode)
        if not good:
            return False
        first, second, third, fourth = pages
        good &= check("since the start", row(first, "0 n0")[:4] == ["running", "100", "1.0", "1.0"], first)
        good &= check("rate and p50", row(second, "0 n0")[1:4] == ["60.0", "1.0", "1048.6"], second)
        good &= check("slow ones", row(second, "1 n1")[1:4] == ["1.0", "1048.6", "1048.6"], second)
        total = next(x.split() for x in second.splitlines() if x.startswith("read "))
        good &= check("added buckets", total[:5] == ["read", "51.0", "1.0", "1.0", "1048.6"], second)
        total = next(x.split() for x in second.splitlines() if x.startswith("write "))
        good &= check("the other kind", total[:3] == ["write", "10.0", "1048.6"], second)
        good &= check("nothing new sent", "gets" not in second and "gets" in first, second)
        good &= check("back", row(third, "0 n0")[:3] == ["back", "4.0", "2.0"], third)
        good &= check("ended", row(third, "1 n1")[0] == "ended", third)
        good &= check("up again", row(fourth, "0 n0")[:2] == ["running", "0.0"], fourth)
        hot = [x.split() for x in first.splitlines() if x.startswith("0x")]
        good &= check("hot pages", hot[0] == ["0x12", "100", "0:50", "1:50"] and len(hot) == 3, first)
    return good


def liars():
    """What a bad dataplane says is refused in words, in a bounded time, and the good one beside it is shown."""
    good = True
    head = lambda text, number=1, size=None, start=0: packed("/pando/all", f"1 {number} {size or len(text)} {start} {text}")
    whole = json.dumps(summary(1))
    deep = "[" * 3000

    def page(size, part):
        """Pages of part(start) bytes of a text that is said to be so long."""
        def answer(_, params):
            start = int(params.split(",")[1]) if params else 0
            return head(part(start), size=size, start=start)
        return answer

    cases = [
        ("another program", lambda *_: b"null", "does not know /pando/all"),
        ("not JSON", lambda *_: b"\xff{", "does not know"),
        ("not UTF-8", lambda *_: b'{"/pando/all": "1 1 2 0 \xff\xfe"}', "does not know"),
        ("a number", lambda *_: b'{"/pando/all": 7}', "does not know"),
        ("no header", lambda *_: packed("/pando/all", whole), "another format"),
        ("no text behind it", lambda *_: packed("/pando/all", "1 1 10 0"), "another format"),
        ("another format", lambda *_: packed("/pando/all", f"2 1 {len(whole)} 0 {whole}"), "another format"),
        ("no text", lambda *_: head("", size=10), "not as long"),
        ("longer than it says", lambda *_: head(whole, size=10), "not as long"),
        ("a gigabyte", lambda *_: head(whole, size=1 << 30), "not as long"),
        ("beyond 64 bits", lambda *_: head(whole, size="99999999999999999999999"), "not as long"),
        ("negative", lambda *_: head(whole, size=-5), "not as long"),
        ("another place", lambda *_: head("x", size=10, start=3), "something else"),
        ("the same page for ever", lambda *_: head("x", size=10), "something else"),
        ("another snapshot", lambda _, params: head("x", number=9, size=4, start=int(params.split(",")[1]))
         if params else head("x", size=4), "something else"),
        ("no object", lambda *_: head("[1,2]"), "no JSON object"),
        ("nonsense", lambda *_: head("nonsense"), "no JSON object"),
        ("deep", page(len(deep), lambda start: deep[start:start + 7000]), "no JSON object"),
        ("twice", lambda *_: head('{"node": 1, "node": 2}'), "no JSON object"),
        ("ends", lambda *_: packed("/pando/all", "ended"), "has ended"),
        ("hangs up", lambda *_: None, "has ended"),
        ("a packet of 200 KB", lambda *_: head("x" * 200000), "does not know"),
        ("silent", lambda *_: time.sleep(20), "no answer within"),
        ("byte by byte", lambda c, p: (time.sleep(0.2), page(1000000, lambda start: "x")(c, p))[1], "not all of the answer"),
        ("for ever", page(4000000, lambda start: "x"), None),
    ]
    for what, answer, words in cases:
        with tempfile.TemporaryDirectory() as run_dir:
            Dataplane(run_dir, 0, summary(0))
            bad = Dataplane(run_dir, 1, answer)
            for command in COMMANDS if words and "answer" not in words else (["status"], ["top", "--once"]):
                began = time.monotonic()
                status, out, err = watch(*command, "--run-dir", run_dir)
                took = time.monotonic() - began
                place = out if command[0] == "top" else err
                fine = status == 1 and (words is None or words in place) and printable(out) and printable(err)
                fine &= took < 5 + 3 and "n0" in out
                if command[0] == "metrics":
                    m = strict(out) or {}
                    fine &= exposition.get(m, "pando_up", node="1") == 0 and exposition.get(m, "pando_up", node="0") == 1
                if command == ["status", "--json"]:
                    answered = json.loads(out)
                    fine &= [n["node"] for n in answered["nodes"]] == [0] and words in answered["unanswered"][0]["why"]
                good &= check(f"{what}: {command}", fine, status, out, err, took)
            bad.end()
    return good


def mangled(value, r):
    """The same with one thing in it changed: another type, another size, another name."""
    if isinstance(value, dict) and value and r.random() < 0.9:
        key = r.choice(list(value))
        if r.random() < 0.15:
            return {**value, r.choice((ORDERS, "", "x" * 5000, 'q"\\', "a/b", "{}")): value[key]}
        return {**value, key: mangled(value[key], r)}
    if isinstance(value, list) and value and r.random() < 0.8:
        i = r.randrange(len(value))
        return value[:i] + [mangled(value[i], r)] + value[i + 1:]
    return r.choice((None, True, -1, 1 << 62, -(1 << 63), 1e308, 0.5, ORDERS, "", "x" * 5000, [], {}, [[]], [[1, 2, 3]],
                     [[1023, 1 << 50]] * 3, {"n": {"n": "n"}}, {ORDERS: 1}, {str(i): i for i in range(2000)},
                     [[i, 1] for i in range(3000)]))


def mangled_answers():
    """Answers whose members are of other types, sizes and names: nobody dies, and the outputs stay what they are."""
    good = True
    seed = int(os.environ.get("PANDO_SEED") or int.from_bytes(os.urandom(3), "little"))
    print(f"seed {seed}; again: PANDO_SEED={seed}")
    for i in range(120):
        r = random.Random(seed + i)
        answer = summary(1)
        for _ in range(r.randrange(1, 6)):
            answer = mangled(answer, r)
        with tempfile.TemporaryDirectory() as run_dir:
            plane = Dataplane(run_dir, 1, answer if isinstance(answer, dict) else {"x": answer}, page=6000)
            for command in COMMANDS:
                status, out, err = watch(*command, "--run-dir", run_dir)
                fine = status in (0, 1) and printable(out) and printable(err)
                if command == ["status", "--json"]:
                    fine &= json.loads(out)["schema"] == 1
                if command == ["metrics"]:
                    fine &= strict(out) is not None
                good &= check(f"mangled, seed {seed + i}: {command}", fine, status, out, err, answer)
            plane.end()
    return good


def terminals():
    """A terminal gets no orders: by no word of an answer, by no path."""
    good = True
    alike = ("long" * 20 + "a", "long" * 20 + "b")  # as far as a name is looked at
    rings = {"capacity": 128, "to_dp": {ORDERS: 5, **dict.fromkeys(alike, 7)}, "to_glue": {ORDERS: 500},
             "implausible": {ORDERS: 1}}
    threads = dict.fromkeys((ORDERS, *alike), {"cpu_ns": 5, "core": 1})
    spoilt = summary(0, channels=rings, threads=threads, processes=threads, cluster=ORDERS, name=ORDERS, phase=ORDERS, vm=ORDERS, stop=ORDERS, drops={ORDERS: 5, ORDERS.replace("x", "\x01"): 6, "long" * 20 + "a": 1, "long" * 20 + "b": 2},
                     messages={ORDERS: {"tx": 5, "rx": 5}}, hot_pages={ORDERS: {"faults": 5}}, clock={"state": ORDERS},
                     peers={ORDERS: {"node": 1, "up": 1}, "a": {"node": 2, "up": 1}, "b": {"node": 2, "up": 0}}, port={"fabric": ORDERS, "name": ORDERS},
                     spans={"kinds": {ORDERS: {"total": {"buckets": [[5, 5]]}, "stages": {ORDERS: {"buckets": [[5, 5]]}}}}})
    with tempfile.TemporaryDirectory() as base:
        run_dir = os.path.join(base, "\x1b[31m\u009b\u202e")
        Dataplane(run_dir, 0, spoilt)
        Dataplane(run_dir, 1, lambda *_: b"null")
        for command in COMMANDS:
            status, out, err = watch(*command, "--run-dir", run_dir)
            good &= check(f"{command}", status == 1 and printable(out) and printable(err), status, repr(out), repr(err))
            if command == ["metrics"]:
                good &= check("strict", strict(out))
            if command == ["status", "--json"]:
                good &= check("JSON keeps it", json.loads(out)["nodes"][0]["cluster"] == ORDERS, out)
    return good


class Terminal:
    """pando top on a pseudo-terminal."""

    def __init__(self, run_dir, *args, term="xterm", lines=40, columns=120):
        self.got = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self.size(lines, columns, fd=0)  # before it looks: a SIGWINCH that comes earlier than its handler is lost
            os.environ["TERM"] = term
            os.execv(sys.argv[1], [sys.argv[1], "top", "--run-dir", run_dir, *args])

    def size(self, lines, columns, fd=None):
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds, until=None):
        """What comes within that time, or until it has the words."""
        self.got, end = b"", time.monotonic() + seconds
        while time.monotonic() < end and (until is None or until not in self.got):
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.got += os.read(self.fd, 65536)
                except OSError:  # it has ended
                    break
        return self.got

    def key(self, keys):
        os.write(self.fd, keys)

    def ended(self, seconds=5):
        """Its exit status; None: it goes on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def on_a_terminal():
    """Keys, another size, pause, and an end that leaves the terminal as it was."""
    good = True
    with tempfile.TemporaryDirectory() as run_dir:
        for n in (0, 1):
            Dataplane(run_dir, n, summary(n))
        if "no ncurses" in watch("top", "--run-dir", run_dir)[2]:
            print("on_a_terminal: skipped: this build has no ncurses")
            return True
        t = Terminal(run_dir, "-d", "0.2")
        good &= check("page", b"0 n0" in t.read(5, b"0x101"), t.got)
        t.key(b"h")
        good &= check("help", b"choose a node" in t.read(5, b"NODE > PEER: messages"), t.got)
        t.key(b"x")
        good &= check("page again", b"MESSAGES" in t.read(5, b"MESSAGES"), t.got)
        t.key(b"2")
        t.read(1)
        t.key(b"p")
        good &= check("paused", b"PAUSED" in t.read(5, b"PAUSED"), t.got)
        t.read(1)
        good &= check("still", t.read(1) == b"", t.got)
        t.key(b"p")
        t.read(1)
        t.key(b"d7x\n")
        good &= check("bad delay", b"are allowed" in t.read(5, b"are allowed"), t.got)
        t.read(2)
        t.key(b"s0.5\n")
        good &= check("delay", b"0.5" in t.read(3), t.got)
        t.key(b"T")
        good &= check("T", b"by CPU time" in t.read(5, b"by CPU time"), t.got)
        t.key(b"S")
        good &= check("S", b"SINCE THE START" in t.read(5, b"SINCE THE START"), t.got)
        t.key(b"S")
        t.key(b"n1\n")
        t.read(2)
        t.key(b"\x0c")  # the whole page again, with one line of each list
        again = t.read(2)
        good &= check("ctrl-L, n", b"NODE" in again and b"0x12" in again and b"0x101" not in again, again)
        t.key(b"n0x\n")
        good &= check("bad lines", b"are allowed" in t.read(5, b"are allowed"), t.got)
        t.read(2)
        t.key(b"#0\n")
        good &= check("#", b"0x101" in t.read(5, b"0x101"), t.got)
        for lines, columns in ((5, 20), (1, 1), (200, 400), (24, 80)):
            t.size(lines, columns)
            t.read(0.7)
            os.kill(t.pid, signal.SIGWINCH)
        t.key(b"FMPLTNRSS\x0c<>jk0123456789\x1b[A\x1b[B \n")
        t.read(1)
        t.key(b"q")
        good &= check("q", t.ended() == 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            t = Terminal(run_dir)
            t.read(5, b"0x101")
            os.kill(t.pid, number)
            left = t.read(3, b"\x1b[?1049l")
            good &= check(f"{number}", b"\x1b[?1049l" in left and t.ended() == 0, left)
        t = Terminal(run_dir, term="nonsense")
        good &= check("no terminal", b"ncurses knows" in t.read(5, b"ncurses knows") and t.ended() == 1, t.got)
        status, out, err = watch("top", "--run-dir", run_dir)
        good &= check("a pipe", status == 1 and "no terminal; -b" in err and out == "", status, out, err)
    return good


def request(port, data, seconds=10):
    """What the server answers, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        s.sendall(data)
        got = b""
        try:
            while part := s.recv(65536):
                got += part
        except ConnectionResetError:
            got += b"RESET"
    return got.decode()


class Server:
    def __init__(self, run_dir, where="0"):
        self.p = subprocess.Popen([sys.argv[1], "metrics", "--listen", where, "--run-dir", run_dir],
                                  stderr=subprocess.PIPE, text=True)
        self.said = self.p.stderr.readline()
        self.port = int(self.said.rsplit(":", 1)[1].split("/")[0])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()
        self.p.stderr.close()

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        return self.p.wait(timeout=10)


def over_http():
    """GET /metrics and nothing else; clients that are slow, rude or many keep nobody out."""
    good = True
    get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with tempfile.TemporaryDirectory() as run_dir, Server(run_dir) as s:
        plane = Dataplane(run_dir, 0, summary(0))
        good &= check("loopback", "http://127.0.0.1:" in s.said, s.said)
        cases = [
            (get, "200 OK"), (b"GET /metrics HTTP/1.0\n\n", "200 OK"), (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", "200 OK"),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK"), (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found"), (b"GET /../metrics HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b", "405 Method Not Allowed"),
            (b"GET /metrics HTTP/2.0\r\n\r\n", "505 HTTP Version"), (b"GET /metrics\r\n\r\n", "400 Bad Request"),
            (b"\r\n\r\n", "400 Bad Request"), (b"GET /metrics HTTP/1.1 x\r\n\r\n", "400 Bad Request"),
            (b"GET\0/metrics HTTP/1.1\r\n\r\n", "400 Bad Request"), (b"\xff" * 100 + b"\r\n\r\n", "400 Bad Request"),
            (b"GET /metrics HTTP/1.1\r\n" + b"x" * 8000, "431 Request Header"),
        ]
        for data, words in cases:
            answer = request(s.port, data)
            head, _, body = answer.partition("\r\n\r\n")
            length = next((int(x.split(":")[1]) for x in head.split("\r\n") if x.startswith("Content-Length")), -1)
            fine = answer.startswith("HTTP/1.1 " + words) and "RESET" not in answer
            fine &= length == len(body) or data.startswith(b"HEAD") and body == "" and length > 1000
            if words == "200 OK" and body:
                fine &= "version=0.0.4" in head and strict(body) is not None
            good &= check(data[:60], fine, answer[:2000])
        slow = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(10)]
        for c in slow:
            c.send(b"GET /metr")
        began = time.monotonic()
        good &= check("beside slow ones", request(s.port, get).startswith("HTTP/1.1 200") and time.monotonic() - began < 3)
        for c in slow:
            c.settimeout(10)
            good &= check("their end", c.recv(1000).startswith(b"HTTP/1.1 408"))
            c.close()
        rude = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(40)]  # never say a word
        good &= check("behind 40 silent ones", request(s.port, get, 20).startswith("HTTP/1.1 200"))
        for c in rude:
            c.close()
        plane.end()
        m = strict(request(s.port, get).partition("\r\n\r\n")[2]) or {}
        good &= check("ended", exposition.get(m, "pando_up", cluster="played", node="0") == 0 and len(m) > 0, m)
        good &= check("the end", s.end() == 0)
    for where in ("x", "", "70000", "1.2.3.4", "localhost:80", "1.2.3.4:", ":80", "[::1]", "::1:80", "[::1:80", "-1", "8.8.8.8:80",
                  "1.2.3.4:5\x1b"):
        status, out, err = watch("metrics", "--listen", where, timeout=10)
        good &= check(f"--listen {where!r}", status == 2 and "--listen" in err and printable(err), status, out, err)
    with tempfile.TemporaryDirectory() as run_dir:
        for where in ("[::1]:0", "127.0.0.2:0"):
            try:
                with socket.socket(socket.AF_INET6 if "::" in where else socket.AF_INET) as probe:
                    probe.bind((where.rpartition(":")[0].strip("[]"), 0))
            except OSError:
                continue  # this machine has no IPv6
            with Server(run_dir, where) as s:
                good &= check(where, where[:-1] in s.said and s.end() == 0, s.said)
    return good


def options():
    """Wrong ones are refused; nobody there is said with what to do; what is not written is no success."""
    good = True
    for args in (["top", "-d", "0"], ["top", "-d", "x"], ["top", "-d", "1e9"], ["top", "-n", "0"], ["status", "x", "--nonsense"],
                 ["status", "--config", "a", "--run-dir", "b"], ["top", "-b", "--config", "/nonexistent"], ["nonsense"], []):
        status, out, err = watch(*args, timeout=10)
        good &= check(f"{args}", status == 2 and err != "" and out == "", status, out, err)
    with tempfile.TemporaryDirectory() as run_dir:
        for command in (["status"], ["status", "--json"], ["metrics"]):
            status, out, err = watch(*command, "--run-dir", run_dir)
            good &= check("nobody", status == 1 and "no dataplane runs here" in err and "pando run" in err, status, out, err)
        status, out, err = watch("top", "--once", "--run-dir", run_dir)
        good &= check("nobody", status == 1 and "no dataplane runs here" in out, status, out, err)
        Dataplane(run_dir, 0, summary(0)).end(remove=False)
        status, out, err = watch("status", "--run-dir", run_dir)
        good &= check("killed", status == 1 and "was killed" in err, status, out, err)
    with tempfile.TemporaryDirectory() as run_dir:
        Dataplane(run_dir, 0, summary(0))
        for command in COMMANDS:
            with open("/dev/full", "w", encoding="ascii") as full:
                p = subprocess.run([sys.argv[1], *command, "--run-dir", run_dir], stdout=full, stderr=subprocess.PIPE,
                                   text=True, timeout=60, check=False)
            good &= check(f"{command}", p.returncode == 1 and "No space left" in p.stderr, p.returncode, p.stderr)
    return good


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    assert OFFLOAD["v"] == 1
    tests = (said_well, merged, ordered, impossible, liars, mangled_answers, terminals, on_a_terminal, over_http,
             options)
    if len(sys.argv) == 3:
        began = time.monotonic()
        good = next(t for t in tests if t.__name__ == sys.argv[2])()
        print(f"{sys.argv[2]}: {'ok' if good else 'FAILED'} ({time.monotonic() - began:.1f} s)", flush=True)
        return 0 if good else 1
    # They wait most of the time: side by side.
    running = [subprocess.Popen([sys.executable, __file__, sys.argv[1], t.__name__], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True) for t in tests]
    for p in running:
        print(p.communicate()[0], end="", flush=True)
    return max(p.returncode != 0 for p in running)


if __name__ == "__main__":
    sys.exit(main())
