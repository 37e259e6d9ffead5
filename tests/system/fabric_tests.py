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
import workspace
from options import Options

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "linux"))
from traffic import ANSWER_MAX, ask  # noqa: E402

DEAD_MS = 800


def not_built(lines):
    if any("not in this build" in line for line in lines):
        raise outcome.Skipped("this build has no AF_XDP")


def groups(fabric, build):
    """Four nodes that write what the others read: their invalidations are group frames, all of which arrive."""
    lines = []
    o = Options(nodes=4, vcpus=4, fabric=fabric, ram=64, guest="counters")
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        result = c.run()
    not_built(lines)
    peers = [p for s in result.summaries for p in (s or {}).get("peers", {}).values()]
    sent, taken, again = (sum(p[k] for p in peers) for k in ("group_tx", "group_rx", "group_lost"))
    note = f"{sent} messages in group frames, {taken} arrived, {again} sent again"
    if not result.passed:
        wrong = f"the guest did not pass: status {result.status}, {result.died}"
    elif not sent or taken < sent * 0.9:
        wrong = note
    else:
        return None, note
    print("\n".join("       " + line for line in lines[-20:]))
    return wrong, note


def over_udp(fabric, build):
    """Frames inside UDP between the interfaces' addresses, some of which are lost."""
    lines = []
    o = Options(nodes=3, vcpus=3, fabric=fabric, encapsulation="udp", ram=64, guest="counters", loss=1)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        result = c.run()
    not_built(lines)
    if result.passed:
        return None, ""
    print("\n".join("       " + line for line in lines[-20:]))
    return f"the guest did not pass: status {result.status}, {result.died}", ""


def stands_still(build):
    """A dataplane is stopped, not killed: the others say that its host answers."""
    lines, result = [], cl.Result()
    o = Options(nodes=2, vcpus=2, fabric="af_xdp", ram=64, guest="counters", cmdline="iters=100000000", dead_ms=DEAD_MS, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            target = next(p for p in c.group.processes if p.name == "dataplane1")
            target.send(signal.SIGSTOP)
            c.group.wait_until(c.ended, time.monotonic() + 5)
            target.send(signal.SIGKILL)
            c.watch(result)
            c.finish(result)
            said = [line for line in lines if line.startswith("dataplane0") and "was lost" in line]
            if not said:
                wrong = "node 0 did not say that node 1 was lost"
            elif not re.search(rf"nothing was heard of it for {DEAD_MS} ms; its host answers", said[0]):
                wrong = said[0]
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, ""


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


def falls(encapsulation, build):
    """The XDP program is detached under a running guest: the dataplane goes on over the next rung, and nothing is
    lost."""
    lines, result = [], cl.Result()
    o = Options(nodes=2, vcpus=2, fabric="auto", encapsulation=encapsulation, ram=64, guest="counters",
                cmdline="iters=6000000", dead_ms=DEAD_MS, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            target = next(p for p in c.group.processes if p.name == "dataplane1")
            if not any(line.startswith("dataplane1") and "fabric: af_xdp" in line for line in lines):
                raise outcome.Skipped("this machine has no AF_XDP")
            c.group.wait_until(c.ended, time.monotonic() + 0.5)
            wrong = None if detach(target.pid) else "there was no XDP program"
        c.watch(result)
        c.finish(result)
        port = (c.read_json("summary1.json") or {}).get("port", {})
        said = rf"af_packet on {workspace.INTERFACE}; not af_xdp: its XDP program was detached"
        if not wrong and not result.passed:
            wrong = f"the guest did not pass: status {result.status}, {result.died}"
        if not wrong and (port.get("fabric_changes") != 1 or not re.match(said, port["fabric"])):
            wrong = f"port: {port}"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, ""


def path_shrinks(build):
    """A port of the switch between running nodes comes to carry 1500 bytes: pages go on in shorter frames. (Not on
    af_packet: a veth's far end is the switch here, and the kernel keeps a ring at the frame that it does not take.)"""
    lines, result = [], cl.Result()
    o = Options(nodes=3, vcpus=3, fabric="af_xdp", ram=64, guest="counters", cmdline="iters=3000000", dead_ms=2000, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            hub = c.space.netns[-1]
            workspace.ip("-n", hub, "link", "set", "port1", "mtu", "1500")
        c.watch(result)
        c.finish(result)
        falls = sum(p["mtu_falls"] for n in range(3) for p in (c.read_json(f"summary{n}.json") or {}).get("peers", {}).values())
        if not wrong and not result.passed:
            wrong = f"the guest did not pass: status {result.status}, {result.died}"
        if not wrong and not (falls and any("frames of 9000 bytes do not arrive at node 1" in line for line in lines)):
            wrong = f"nobody noticed: {falls} falls"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, f"{falls} falls"


def blinks(fabric, encapsulation, build):
    """An interface goes down under a running guest, and comes back before its node is given up."""
    lines, result = [], cl.Result()
    o = Options(nodes=2, vcpus=2, fabric=fabric, encapsulation=encapsulation, ram=64, guest="counters",
                cmdline="iters=6000000", dead_ms=4000, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            for state in ("down", "up"):
                workspace.ip("-n", c.space.netns[1], "link", "set", workspace.INTERFACE, state)
                c.group.wait_until(c.ended, time.monotonic() + 0.4)
            wrong = f"{c.ended()[0].name} ended meanwhile" if c.ended() else None
        c.watch(result)
        c.finish(result)
        if not wrong and not result.passed:
            wrong = f"the guest did not pass: status {result.status}, {result.died}"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, ""


def nothing_left(build):
    """... and where there is no next rung, both sides say what happened and end."""
    lines, result = [], cl.Result()
    o = Options(nodes=2, vcpus=2, fabric="af_xdp", ram=64, guest="counters", cmdline="iters=100000000", dead_ms=DEAD_MS, timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            target = next(p for p in c.group.processes if p.name == "dataplane1")
            wrong = None if detach(target.pid) else "there was no XDP program"
            c.watch(result)
            c.finish(result)
        for who, said in (("dataplane1", "no fabric any more: af_xdp: its XDP program was detached"),
                          ("dataplane0", f"node 1 (n1) was lost: nothing was heard of it for {DEAD_MS} ms")):
            if not wrong and not any(line.startswith(who) and said in line for line in lines):
                wrong = f"{who} did not say: {said}"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, ""


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


def asked_to_the_end(build):
    """A dataplane that is asked by telemetry all the time ends as every other: not by a signal."""
    lines, result, answers = [], cl.Result(), []
    o = Options(nodes=2, vcpus=2, fabric="shm", ram=64, guest="counters", cmdline="iters=100000000", timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        if not wrong:
            path = c.space.path("run", "dpdk", "node0", "dpdk_telemetry.v2")
            asking = [threading.Thread(target=ask_on, args=(path, answers)) for _ in range(3)]
            for t in asking:
                t.start()
            time.sleep(0.3)
            target = next(p for p in c.group.processes if p.name == "dataplane0")
            target.send(signal.SIGTERM)
            c.watch(result)
            c.finish(result)
            for t in asking:
                t.join()
            if target.status is None or target.status < 0:
                wrong = f"dataplane0 has status {target.status}"
            elif len(answers) < 10:
                wrong = f"only {len(answers)} answers came"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, f"{len(answers)} answers"


def counted(build):
    """Behind a fault filter, in telemetry and in the summary: what the XDP program did with whose frames."""
    lines, result = [], cl.Result()
    o = Options(nodes=2, vcpus=2, fabric="af_xdp", ram=64, guest="counters", cmdline="iters=100000000", loss=1,
                timeout=100)
    with cl.Cluster(o, build, on_line=lambda p, s, text: lines.append(f"{p.name}: {text}")) as c:
        wrong = kill_tests.run_until_started(c, result)
        not_built(lines)
        if not wrong:
            subprocess.run(["ip", "netns", "exec", c.space.netns[1], sys.executable, "-c", STRANGER], check=True)
            time.sleep(0.2)
            path = c.space.path("run", "dpdk", "node0", "dpdk_telemetry.v2")
            port, drops = ask(path, "/pando/port") or {}, ask(path, "/pando/drops") or {}
            next(p for p in c.group.processes if p.name == "dataplane0").send(signal.SIGTERM)
            c.watch(result)
            c.finish(result)
            at_end = c.read_json("summary0.json")
            steered = at_end.get("port", {}).get("xdp", {}).get("steered", {})
            note = f"telemetry {port} and {drops}, at the end {steered} and {at_end.get('drops')}"
            if not port.get("xdp/steered/cluster") or not drops.get("xdp_cluster"):
                wrong = f"telemetry does not have the stranger's frames: {note}"
            elif not port.get("xdp/steered/pages") or port.get("xdp/rx_pages", 0) > port["xdp/steered/pages"]:
                wrong = f"more pages came than there were: {note}"
            elif steered.get("pages", 0) < port["xdp/steered/pages"] or not at_end["drops"].get("xdp.cluster"):
                wrong = f"the summary does not have it: {note}"
    if wrong:
        print("\n".join("       " + line for line in lines[-20:]))
    return wrong, ""


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
