# SPDX-License-Identifier: BSD-3-Clause
"""What network interfaces can do for the nodes: one frame for several of them; an answer of a host whose
dataplane stands still; what the XDP program in front of them counts, and who asks for it while they end; that it
can be taken away."""
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import cluster as cl
import kill_tests
import outcome
import summary
import workspace
from options import Options

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "linux"))
from traffic import ANSWER_MAX, ask  # noqa: E402

DEAD_MS = 800


def not_built(lines):
    if any("not in this build" in line for line in lines):
        raise outcome.Skipped("this build has no AF_XDP")


def guest_passed(c, result, lines):
    """What is wrong, and a note."""
    return (None if result.passed else f"the guest did not pass: status {result.status}, {result.died}"), ""


def disturbed(o, build, disturb, judge=guest_passed):
    """Runs a guest; disturb(c, lines) does something while it runs, judge(c, result, lines) looks at how it ended. What
    either says is wrong, or None; and a note."""
    lines, result, note = [], cl.Result(), ""
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        wrong = wrong or disturb(c, lines)
        if not wrong:
            c.watch(result)
            c.finish(result)
            wrong, note = judge(c, result, lines)
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, note


def whole_run(o, build, judge):
    """The same of a guest that is left alone."""
    lines = []
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        result = c.run()
        not_built(lines)
        wrong, note = guest_passed(c, result, lines)
        if not wrong:
            wrong, note = judge(result)
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, note


def dataplane(c, node):
    return next(p for p in c.group.processes if p.name == f"dataplane{node}")


def said(lines, who, pattern):
    """The first such line, or None."""
    return next((line for line in lines if line.startswith(who) and re.search(pattern, line)), None)


def counters(fabric, **more):
    """A guest that counts on pages that all write, for minutes unless `iters` says less."""
    iters = more.pop("iters", 100000000)
    return Options(**({"nodes": 2, "vcpus": 2, "fabric": fabric, "ram": 64, "guest": "counters", "dead_ms": DEAD_MS,
                       "cmdline": f"iters={iters}", "timeout": 100} | more))


def groups(fabric, build):
    """Four nodes that write what the others read: their invalidations are group frames, all of which arrive."""
    def judge(result):
        peers = [p for s in result.summaries for p in (s or {}).get("peers", {}).values()]
        sent, taken, again = (sum(p[k] for p in peers) for k in ("group_tx", "group_rx", "group_lost"))
        note = f"{sent} messages in group frames, {taken} arrived, {again} sent again"
        wrong = next(summary.by_peer(result.summaries), None)
        return wrong or (note if not sent or taken < sent * 0.9 else None), note
    return whole_run(Options(nodes=4, vcpus=4, fabric=fabric, ram=64, guest="counters"), build, judge)


def over_udp(fabric, build):
    """Frames inside UDP between the interfaces' addresses, some of which are lost."""
    o = Options(nodes=3, vcpus=3, fabric=fabric, encapsulation="udp", ram=64, guest="counters", loss=1)
    return whole_run(o, build, lambda result: (None, ""))


def stands_still(build):
    """A dataplane is stopped, not killed: the others say that its host answers."""
    def disturb(c, lines):
        dataplane(c, 1).send(signal.SIGSTOP)
        c.group.wait_until(c.ended, time.monotonic() + 5)
        dataplane(c, 1).send(signal.SIGKILL)

    def judge(c, result, lines):
        line = said(lines, "dataplane0", "was lost")
        good = line and re.search(rf"nothing was heard of it for {DEAD_MS} ms; its host answers", line)
        return (None if good else line or "node 0 did not say that node 1 was lost"), ""
    return disturbed(counters("af_xdp"), build, disturb, judge)


def detach(pid):
    """Takes a process's XDP program off its interface, as an administrator would; true if there was one."""
    mine = []
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as f:
            info = f.read()
        if re.search(r"link_type:\s+xdp", info):
            mine.append(re.search(r"link_id:\s+(\d+)", info).group(1))
    for number in mine:
        subprocess.run(["bpftool", "link", "detach", "id", number], check=True)
    return mine


def detach_node_1(c, lines):
    if not said(lines, "dataplane1", "fabric: af_xdp"):
        raise outcome.Skipped("this machine has no AF_XDP")
    return None if detach(dataplane(c, 1).pid) else "there was no XDP program"


def falls(encapsulation, build):
    """The XDP program is detached under a running guest: the dataplane goes on over the next rung, and nothing is
    lost."""
    def judge(c, result, lines):
        port = (c.read_json("summary1.json") or {}).get("port", {})
        words = rf"af_packet on {workspace.INTERFACE}; not af_xdp: its XDP program was detached"
        wrong, _ = guest_passed(c, result, lines)
        if not wrong and (port.get("fabric_changes") != 1 or not re.match(words, port["fabric"])):
            wrong = f"port: {port}"
        return wrong, ""
    return disturbed(counters("auto", encapsulation=encapsulation, iters=6000000), build, detach_node_1, judge)


def nothing_left(build):
    """... and where there is no next rung, both sides say what happened and end."""
    def judge(c, result, lines):
        for who, words in (("dataplane1", "no fabric any more: af_xdp: its XDP program was detached"),
                           ("dataplane0", rf"node 1 \(n1\) was lost: nothing was heard of it for {DEAD_MS} ms")):
            if not said(lines, who, words):
                return f"{who} did not say: {words}", ""
        return None, ""
    return disturbed(counters("af_xdp"), build, detach_node_1, judge)


def path_shrinks(build):
    """A port of the switch between running nodes comes to carry 1500 bytes: pages go on in shorter frames. (Not on
    af_packet: a veth's far end is the switch here, and the kernel keeps a ring at the frame that it does not take.)"""
    def disturb(c, lines):
        workspace.ip("-n", c.space.netns[-1], "link", "set", "port1", "mtu", "1500")

    def judge(c, result, lines):
        peers = [p for n in range(3) for p in (c.read_json(f"summary{n}.json") or {}).get("peers", {}).values()]
        fell = sum(p["mtu_falls"] for p in peers)
        wrong, _ = guest_passed(c, result, lines)
        if not wrong and not (fell and said(lines, "", "frames of 9000 bytes do not arrive at node 1")):
            wrong = "nobody noticed"
        return wrong, f"{fell} falls"
    return disturbed(counters("af_xdp", nodes=3, vcpus=3, iters=3000000, dead_ms=2000), build, disturb, judge)


def blinks(fabric, encapsulation, build):
    """An interface goes down under a running guest, and comes back before its node is given up."""
    def disturb(c, lines):
        for state in ("down", "up"):
            workspace.ip("-n", c.space.netns[1], "link", "set", workspace.INTERFACE, state)
            c.group.wait_until(c.ended, time.monotonic() + 0.4)
        return f"{c.ended()[0].name} ended meanwhile" if c.ended() else None
    return disturbed(counters(fabric, encapsulation=encapsulation, iters=6000000, dead_ms=4000), build, disturb)


# Two frames with our EtherType, of which one at least is of another cluster (its eighth byte).
STRANGER = f"""
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("{workspace.INTERFACE}", 0))
for cluster in 0, 1:
    s.send(b"\\xff" * 6 + b"\\x02" * 6 + b"\\x88\\xb5" + bytes([1, 6, 1, 0, 0, 0, 0, cluster]) + bytes(52))
"""


def ask_on(path, answers):
    """Asks for all that is counted until nobody answers any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        try:
            s.settimeout(5)
            s.connect(path)
            s.recv(ANSWER_MAX)
            while True:
                s.send(b"/pando/summary")
                answers.append(len(s.recv(ANSWER_MAX)))
                if not answers[-1]:
                    return
        except OSError:
            return


def telemetry(c, node):
    return c.space.path("run", "dpdk", f"node{node}", "dpdk_telemetry.v2")


def asked_to_the_end(build):
    """A dataplane that is asked by telemetry all the time ends as every other: not by a signal."""
    answers, asking = [], []

    def disturb(c, lines):
        asking.extend(threading.Thread(target=ask_on, args=(telemetry(c, 0), answers)) for _ in range(3))
        for t in asking:
            t.start()
        time.sleep(0.3)
        dataplane(c, 0).send(signal.SIGTERM)

    def judge(c, result, lines):
        for t in asking:
            t.join()
        status = dataplane(c, 0).status
        wrong = f"dataplane0 has status {status}" if status is None or status < 0 else None
        if not wrong and len(answers) < 10:
            wrong = f"only {len(answers)} answers came"
        return wrong, f"{len(answers)} answers"
    return disturbed(counters("shm"), build, disturb, judge)


def counted(build):
    """Behind a fault filter, in telemetry and in the summary: what the XDP program did with whose frames."""
    live = {}

    def disturb(c, lines):
        subprocess.run(["ip", "netns", "exec", c.space.netns[1], sys.executable, "-c", STRANGER], check=True)
        time.sleep(0.2)
        live.update(port=ask(telemetry(c, 0), "/pando/port") or {}, drops=ask(telemetry(c, 0), "/pando/drops") or {})
        dataplane(c, 0).send(signal.SIGTERM)

    def judge(c, result, lines):
        port, drops, at_end = live["port"], live["drops"], c.read_json("summary0.json")
        steered = at_end.get("port", {}).get("xdp", {}).get("steered", {})
        note = f"telemetry {port} and {drops}, at the end {steered} and {at_end.get('drops')}"
        if not port.get("xdp/steered/cluster") or not drops.get("xdp_cluster"):
            return f"telemetry does not have the stranger's frames: {note}", ""
        if not port.get("xdp/steered/pages") or port.get("xdp/rx_pages", 0) > port["xdp/steered/pages"]:
            return f"more pages came than there were: {note}", ""
        if steered.get("pages", 0) < port["xdp/steered/pages"] or not at_end["drops"].get("xdp.cluster"):
            return f"the summary does not have it: {note}", ""
        return None, ""
    return disturbed(counters("af_xdp", loss=1), build, disturb, judge)


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    args = parser.parse_args()
    tests = {f"fabric/groups/{f}": functools.partial(groups, f, args.build) for f in ("af_packet", "af_xdp")}
    tests |= {f"fabric/over_udp/{f}": functools.partial(over_udp, f, args.build) for f in ("af_packet", "af_xdp", "auto")}
    tests |= {f"fabric/falls/{e}": functools.partial(falls, e, args.build) for e in ("ethernet", "udp")}
    tests["fabric/counted"] = lambda: counted(args.build)
    tests |= {f"fabric/blinks/{f}/{e}": functools.partial(blinks, f, e, args.build)
              for f in ("af_packet", "af_xdp") for e in ("ethernet", "udp")}
    tests["fabric/path_shrinks"] = lambda: path_shrinks(args.build)
    tests["fabric/nothing_left"] = lambda: nothing_left(args.build)
    tests["fabric/asked_to_the_end"] = lambda: asked_to_the_end(args.build)
    tests["fabric/stands_still"] = lambda: stands_still(args.build)
    return outcome.status([outcome.run(args.tally, *test) for test in tests.items() if args.only in test[0]])


if __name__ == "__main__":
    sys.exit(main())
