#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pando offload: show against dataplanes that are played here, good and bad ones; plan for every family of NICs and
every example configuration.

    test_show.py PANDO-OFFLOAD SOURCE-ROOT
"""
import glob
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

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
                client.send(answer)
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
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for test in (pages, bad_answers, nobody, plans):
        good = test()
        print(f"{test.__name__}: {'ok' if good else 'FAILED'}")
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
