#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pando offload: show against dataplanes that are played here, good and bad ones; plan for every family of NICs and
every example configuration.

    test_show.py PANDO-OFFLOAD SOURCE-ROOT
"""
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

GREETING = b'{"version":"DPDK 22.11","pid":1,"max_output_len":16384}'
INTENT = {"intent": "steer urgent to queue 1", "by": "hardware", "partly": False, "reason": "", "frames": 123}
PARTLY = {"intent": "fence node 2", "by": "software", "partly": True, "reason": "no \x1b[2J room", "frames": -1}
RULES = [{"text": "ingress one", "state": "installed", "error": "", "frames": 5, "bytes": 300},
         {"text": "ingress two", "state": "refused", "error": "Not supported action.", "frames": -1, "bytes": -1}]


def page(**more):
    return {"v": 1, "node": 0, "nic": "tap", "driver": "net_tap", "queues": 5, "link": "udp4", "intents": [], "rules": [],
            "next": 0, **more}


class Dataplane:
    """A telemetry socket. answer(from) gives the bytes behind a command, or None: none."""

    def __init__(self, run_dir, node, answer):
        folder = os.path.join(run_dir, "dpdk", f"node{node}")
        os.makedirs(folder)
        self.asked = []
        self.answer = answer
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(os.path.join(folder, "dpdk_telemetry.v2"))
        self.server.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.server.accept()[0]
            except OSError:
                return
            client.send(GREETING)
            while True:
                command = client.recv(1024).decode()
                if not command:
                    break
                self.asked.append(command)
                answer = self.answer(int(command.split(",")[1]))
                if answer is None:
                    break
                try:
                    client.send(answer)
                except BrokenPipeError:  # it asks no longer
                    break
            client.close()


def packed(value):
    return json.dumps({"/pando/offload": value if isinstance(value, str) else json.dumps(value)}).encode()


def show(program, *args):
    done = subprocess.run([program, "show", *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def case(answer, *args, nodes=1):
    """Runs show on dataplanes that answer so. Returns its status, what it printed, what they were asked."""
    with tempfile.TemporaryDirectory() as run_dir:
        planes = [Dataplane(run_dir, n, answer) for n in range(nodes)]
        result = show(sys.argv[1], "--run-dir", run_dir, *args)
        for p in planes:
            p.server.close()
        return result + (planes[0].asked,)


def check(what, good, *evidence):
    if not good:
        print(f"not ok: {what}")
        for e in evidence:
            print(e)
    return good


def pages():
    """Two pages become one answer, for people and as JSON."""
    def answer(start):
        return packed(page(intents=[INTENT], next=1) if start == 0 else page(intents=[PARTLY], rules=RULES))

    status, out, err, asked = case(answer)
    words = ["node 0: tap (net_tap), udp4, 5 receive queues", "hardware", "123 frames", "software, partly",
             "(no ?[2J room)", "1 installed, 0 pending, 1 refused", "Not supported action."]
    good = check("text", status == 0 and all(w in out for w in words) and "ingress one" not in out, status, out, err)
    good &= check("commands", asked == ["/pando/offload,0", "/pando/offload,1"], asked)
    good &= check("all rules", "ingress one" in case(answer, "--rules")[1])
    status, out, err, _ = case(answer, "--json", nodes=2)
    found = json.loads(out)
    good &= check("json", status == 0 and len(found) == 2 and found[0]["intents"] == [INTENT, PARTLY]
                  and found[1]["rules"] == RULES and "next" not in found[0], out, err)
    return good


def bad_answers():
    """What is no answer is said to be none, and another dataplane is shown all the same."""
    good = True
    for what, answer, word in [
        ("another program", lambda _: b"null", "no dataplane of this version"),
        ("not JSON", lambda _: b"\xff{", "no dataplane of this version"),
        ("no JSON inside", lambda _: packed("nonsense"), "no dataplane of this version"),
        ("a list inside", lambda _: packed("[1]"), "no dataplane of this version"),
        ("another format", lambda _: packed(page(v=2)), "another format"),
        ("no format", lambda _: packed("{}"), "another format"),
        ("hangs up", lambda _: None, "has ended"),
        ("fails on the second page", lambda start: packed(page(next=3)) if start == 0 else b"null", "no dataplane"),
    ]:
        status, out, err, _ = case(answer)
        good &= check(what, status == 1 and word in err and out == "", status, out, err)
    status, out, err, asked = case(lambda start: packed(page(next=7)))
    good &= check("the same page for ever", status == 0 and len(asked) == 2, status, out, err, asked)
    status, out, err, asked = case(lambda start: packed(page(next=start + 1)))
    good &= check("pages without end", status == 0 and len(asked) <= 300, status, err, len(asked))
    status, out, err, _ = case(lambda _: packed(page(intents=[7, {}, {"intent": 3}], rules="x", nic=None)))
    good &= check("members of other types", status == 0, status, out, err)
    return good


def nobody():
    """Sockets without a server, and no sockets."""
    with tempfile.TemporaryDirectory() as run_dir:
        status, out, err = show(sys.argv[1], "--run-dir", run_dir)
        good = check("none", status == 1 and "no dataplane runs here" in err and "--run-dir" in err, status, out, err)
        Dataplane(run_dir, 0, lambda _: packed(page()))
        os.makedirs(os.path.join(run_dir, "dpdk", "node1"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as killed:
            killed.bind(os.path.join(run_dir, "dpdk", "node1", "dpdk_telemetry.v2"))
        status, out, err = show(sys.argv[1], "--run-dir", run_dir)
        good &= check("killed", status == 1 and "was killed" in err and "node1" in err and "node 0" in out,
                      status, out, err)
        status, out, err = show(sys.argv[1], "--run-dir", run_dir, "--node", "0")
        good &= check("one node", status == 0 and err == "", status, out, err)
    status, out, err = show(sys.argv[1], "--run-dir", "/tmp", "--config", "x")
    return good & check("both", status == 2 and "not both" in err, status, out, err)


def printable(text):
    return all(c == "\n" or " " <= c <= "~" for c in text)


def terminals():
    """A terminal gets no orders: not by an answer, not by a path, not by an error that names one."""
    orders = "\x1b[2J \u009b31m \u202e \x7f \u00db"
    spoilt = {**PARTLY, "intent": orders, "by": orders, "reason": orders}
    answer = packed(page(nic=orders, driver=orders, link=orders, intents=[spoilt],
                         rules=[{"text": orders, "state": "refused", "error": orders, "frames": 1, "bytes": 1}]))
    good = True
    with tempfile.TemporaryDirectory() as base:
        for name, in_json in (("\x1b[31m\u009b\u202e", "\x1b[31m\u009b\u202e"), (os.fsdecode(b"\x9b31m"), "?31m")):
            run_dir = os.path.join(base, name)
            for node, said in ((0, answer), (1, b"null")):
                Dataplane(run_dir, node, lambda _, said=said: said)
            for more in ([], ["--rules"], ["--json"]):
                status, out, err = show(sys.argv[1], "--run-dir", run_dir, *more)
                good &= check(f"{name!r} {more}", status == 1 and printable(out) and printable(err) and "node1" in err,
                              status, repr(out), repr(err))
            found = json.loads(out)[0]
            good &= check("JSON keeps it", found["nic"] == orders and f"/{in_json}/" in found["socket"], found)
    return good


def full():
    """What could not be written is no success."""
    program, config = sys.argv[1], os.path.join(sys.argv[2], "configs", "two-nodes-udp.yaml")
    good = True
    with tempfile.TemporaryDirectory() as run_dir:
        Dataplane(run_dir, 0, lambda _: packed(page(intents=[INTENT])))
        lines = [["--help"]]
        for more in ([], ["--json"]):
            lines += [["plan", "--nic", "mlx5", "--config", config, *more], ["nics", *more],
                      ["show", "--run-dir", run_dir, *more]]
        for line in lines:
            done = subprocess.run([program, *line], capture_output=True, timeout=60)
            with open("/dev/full", "w") as out:
                lost = subprocess.run([program, *line], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
            good &= check(f"{line}", done.returncode == 0 and lost.returncode == 1 and "No space left" in lost.stderr,
                          done.returncode, lost.returncode, lost.stderr)
    return good


def names():
    """A node is a number, however it is written; a run_dir is a name, and no pattern; none is cut."""
    good = True
    with tempfile.TemporaryDirectory() as base:
        run_dir = os.path.join(base, "a[1]*?")
        other = os.path.join(base, "a1xy")
        asked = [Dataplane(d, n, lambda _, n=n: packed(page(node=n))).asked for d in (run_dir, other) for n in (1, 10)]
        for node, word in (("01", "node 1:"), ("0x1", "node 1:"), ("0xa", "node 10:"), ("10", "node 10:")):
            status, out, err = show(sys.argv[1], "--run-dir", run_dir, "--node", node)
            good &= check(f"--node {node}", status == 0 and out.startswith(word) and out.count("node ") == 1,
                          status, out, err)
        good &= check("another directory", len(asked[0]) == 2 and len(asked[1]) == 2 and asked[2:] == [[], []], asked)
        status, out, err = show(sys.argv[1], "--run-dir", os.path.join(base, "a*"))
        good &= check("a pattern", status == 1 and out == "" and "no dataplane runs here" in err, status, out, err)
        for bad in ("64", "-1", "1/../node2", ""):
            good &= check(f"--node {bad}", show(sys.argv[1], "--run-dir", run_dir, "--node", bad)[0] == 2)
        long = os.path.join(base, *["d" * 200] * 4)
        os.makedirs(os.path.join(long, "dpdk", "node0"))
        with open(os.path.join(long, "dpdk", "node0", "dpdk_telemetry.v2"), "w"):
            status, out, err = show(sys.argv[1], "--run-dir", long)
        good &= check("800 bytes", status == 1 and long in err and "longer than a socket's name" in err, status, err)
        status, out, err = show(sys.argv[1], "--run-dir", "/d" * 2500)
        good &= check("5000 bytes", status == 1 and "File name too long" in err, status, err)
    return good


def macs():
    """One station's address, written out, each once."""
    line = [sys.argv[1], "plan", "--nic", "mlx5", "--config", os.path.join(sys.argv[2], "configs", "three-nodes-af_packet.yaml")]
    a, b = "02:50:41:00:00:0a", "02:50:41:00:00:0B"
    good = True
    for status, word, given in [
        (0, "", [f"1={a}", f"2={b}"]), (0, "", [f"1={a}", f"1={a}"]),
        (2, "node 1 has this address already", [f"1={a}", f"2={a.upper()}"]),
        (2, "node 1 has another address already", [f"1={a}", f"1={b}"]),
        (2, "not 0", ["1=00:00:00:00:00:00"]), (2, "a group's", ["1=03:50:41:00:00:01"]),
        (2, "or all's", ["1=ff:ff:ff:ff:ff:ff"]), (2, "own peer", [f"0={a}"]), (2, "allowed: 0..2", [f"3={a}"]),
    ] + [(2, "is allowed, as", ["1=" + bad]) for bad in (
            "02:-1: 3:00:00:01", "02:50:41:00:00", a + ":00", a + " ", " " + a, "2:50:41:0:0:1", "0x:50:41:00:00:01", "",
            "02-50-41-00-00-0a", "02:50:41:00:00:0g")]:
        done = subprocess.run(line + [w for g in given for w in ("--mac", g)], capture_output=True, text=True, timeout=60)
        good &= check(given, done.returncode == status and word in done.stderr, done.returncode, done.stderr)
    return good


def slow():
    """A dataplane that says nothing, and one whose pages trickle in, have an end."""
    def trickle(start):
        time.sleep(0.3)
        return packed(page(next=start + 1))

    good = True
    for what, answer, word, most in (("silent", lambda _: time.sleep(4), "within 2 seconds", 3.5),
                                     ("trickle", trickle, "within 5 seconds", 7)):
        began = time.monotonic()
        status, out, err, _ = case(answer)
        took = time.monotonic() - began
        good &= check(what, status == 1 and word in err and out == "" and took < most + 3, status, out, err, took)
    return good


def owners():
    """Where anybody can create directories, only root's and this user's are asked. In a mount namespace of its own,
    since the places are fixed."""
    if os.geteuid() != 0 or shutil.which("unshare") is None \
            or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        print("owners: skipped: root with mount namespaces is needed")
        return True
    done = subprocess.run(["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv, "owners"], timeout=60)
    return done.returncode == 0


def owners_inside():
    stranger = 12345
    for place in ("/run", "/dev/shm"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", place], check=True)
    planes = {d: Dataplane(d, 0, lambda _: packed(page())) for d in (
        "/run/pando", "/run/pando-theirs", "/dev/shm/pando-test/mine/run", "/dev/shm/pando-test/theirs/run",
        "/run/elsewhere", "/run/pando-socket")}
    os.chown("/run/pando-theirs", stranger, stranger)
    os.chown("/dev/shm/pando-test/theirs", stranger, stranger)
    os.chown("/run/pando-socket/dpdk/node0/dpdk_telemetry.v2", stranger, stranger)
    os.symlink("/run/elsewhere", "/run/pando-link")
    os.chown("/run/pando-link", stranger, stranger, follow_symlinks=False)

    def asked():
        return sorted(d for d, p in planes.items() if p.asked)

    mine = ["/dev/shm/pando-test/mine/run", "/run/pando"]
    status, out, err = show(sys.argv[1])
    good = check("by default", status == 0 and out.count("node 0:") == 2 and asked() == mine and "left out: 4" in err,
                 status, out, err, asked())
    status, out, err = show(sys.argv[1], "--run-dir", "/run/pando-theirs")
    good &= check("named", status == 0 and asked() == sorted([*mine, "/run/pando-theirs"]), status, out, err, asked())
    for d in planes:
        planes[d].asked.clear()
    os.chown("/dev/shm/pando-test", stranger, stranger)
    status, out, err = show(sys.argv[1])
    return good & check("all of a place", status == 0 and asked() == ["/run/pando"] and "left out: 5" in err,
                        status, out, err, asked())


def plans():
    """Every family, every example: it says something of each class, and JSON and text have the same rules."""
    program, root = sys.argv[1:3]
    nics = [n["name"] for n in json.loads(subprocess.run([program, "nics", "--json"], check=True, capture_output=True,
                                                         timeout=60).stdout)]
    configs = sorted(glob.glob(os.path.join(root, "configs", "*.yaml")))
    good = check("families and examples", len(nics) > 10 and len(configs) > 5, nics, configs)
    for nic in nics:
        for config in configs:
            line = [program, "plan", "--nic", nic, "--config", config, "--fence", "1"]
            text, data = (subprocess.run(line + more, capture_output=True, text=True, timeout=60) for more in ([], ["--json"]))
            if not check(" ".join(line), text.returncode == 0 and data.returncode == 0, text.stderr, data.stderr):
                return False
            plan = json.loads(data.stdout)
            steer = [i for i in plan["intents"] if i["intent"].startswith("steer ")]
            flows = [t for t in text.stdout.splitlines() if t.startswith("flow create 0 ")]
            good &= check(" ".join(line), len(steer) == 4 and all(
                f == "flow create 0 " + r["text"] for f, r in zip(flows, plan["rules"], strict=True)), text.stdout)
    return good


def main():
    if sys.argv[3:] == ["owners"]:
        return 0 if owners_inside() else 1
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for test in (pages, bad_answers, nobody, terminals, full, names, macs, slow, owners, plans):
        good = test()
        print(f"{test.__name__}: {'ok' if good else 'FAILED'}")
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
