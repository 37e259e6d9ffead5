# SPDX-License-Identifier: BSD-3-Clause
"""pando ping, echo and bench on every fabric; what they say of a far end that is stopped, missing, a dataplane or
somebody else; that nothing is left behind; and command lines that are refused."""
import fcntl
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import cluster as cl
import outcome
import workspace
from bad_tests import Lab
from fabric_tests import detach
from options import ON_THE_WIRE, Options

FABRICS = ("shm", "memif", "af_packet", "af_xdp", "udp")
START_SECONDS, COMMAND_SECONDS = 10, 40
PINGS = 4
RATE = 1000  # messages a second of an open loop
SIZES = (8, 20, 21, 62, 63, 1400, 16384)  # ends of a frame, of the urgent class, of a segment, of messages


class Nodes(Lab):
    """Two nodes of one configuration, each in a namespace if the fabric needs that, and `pando` on them."""

    def setup(self, fabric, **more):
        o = Options(fabric=fabric, **more)
        self.config_path = self.standard("c.yaml", o)
        self.netns = self.space.make_segment(2, o.mtu) if fabric in ON_THE_WIRE else [None, None]
        self.fabric = fabric
        self.pando = cl.find_program(self.build, "pando")

    def argv(self, command, node, *rest):
        return [self.pando, *command.split(), "--config", self.config_path, "--node", str(node), *map(str, rest)]

    def echo(self, node=1):
        p = self.start("echo", *self.argv("echo", node), netns=self.netns[node])
        there = lambda: any("answers over" in line for line in self.lines) or not self.group.alive()
        self.group.wait_until(there, time.monotonic() + START_SECONDS)
        if any("not in this build" in line for line in self.lines):
            raise outcome.Skipped("this build has no AF_XDP")
        return p

    def again(self):
        """A new far end, where the fabric connects only once (memif)."""
        if self.fabric == "memif":
            self.stop()
            self.echo()

    def stop(self):
        for p in self.group.alive():
            p.send(signal.SIGKILL)
        self.wait_all()
        self.lines.clear()
        self.group.processes.clear()

    def run(self, command, node, *rest):
        """(status, standard output, standard error). The others' output is taken in meanwhile."""
        prefix = ["ip", "netns", "exec", self.netns[node]] if self.netns[node] else []
        p = subprocess.run(prefix + self.argv(command, node, *rest), capture_output=True, text=True,
                           timeout=COMMAND_SECONDS, check=False)
        self.lines += [f"{command}: {line}" for line in (p.stdout + p.stderr).splitlines()]
        self.group.wait_until(lambda: True, time.monotonic())
        return p.returncode, p.stdout, p.stderr

    def json(self, command, node, *rest):
        status, out, err = self.run(command, node, *rest, "--json")
        return (json.loads(out) if out else {}) | {"status": status, "err": err}

    def ended(self):
        """All ended well when asked to, and nothing is left; or what is wrong."""
        for p in self.group.alive():
            p.send(signal.SIGTERM)
        if not self.wait_all():
            return "does not end"
        bad = [p.name for p in self.group.processes if p.status != 0]
        left = os.listdir(self.space.path("run"))
        return f"ended badly: {bad}" if bad else f"left: {left}" if left else None


def ping(lab):
    r = lab.json("ping", 0, "n1", "--count", PINGS, "--interval", 0.2)
    by = "by_kernel" if lab.fabric == "af_xdp" else "by_process"
    good = r["status"] == 0 and r["asked"] == r[by] == r["host"]["n"] == r["sent"] == r["message"]["n"] == PINGS
    return None if good else f"ping: {r}"


def whole(shape):
    """Whether its histogram has all samples, and the percentiles are of it."""
    tops = [top for top, _ in shape["buckets"]]
    return 0 < shape["n"] == sum(n for _, n in shape["buckets"]) and tops == sorted(set(tops)) and \
        tops[0] <= 1000 * shape["p50_us"] + 1 and shape["p50_us"] <= shape["p99_us"] <= shape["p999_us"] <= shape["max_us"]


def unsaid(lab, r):
    """Members of a bench's object that `pando bench --help` does not list."""
    said = subprocess.run([lab.pando, "bench", "--help"], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
    words = set(re.findall(r"\w+", said.stdout))
    have = {k for k in r if k not in ("status", "err")} | set(r["transport"]) | {k for s in r.get("sizes", []) for k in s}
    return sorted(have - words)


def works(fabric, lab):
    """Questions, messages of all sizes, pages; from either side; after kill -9 again."""
    lab.setup(fabric)
    lab.echo()
    wrong = ping(lab)
    if wrong:
        return wrong
    lab.again()
    r = lab.json("bench rtt", 0, 1, "--seconds", 0.05, "--sizes", ",".join(map(str, SIZES)))
    if r["status"] or [s["bytes"] for s in r["sizes"]] != [*SIZES, 64] or any(s["unanswered"] or not whole(s) for s in r["sizes"]):
        return f"bench rtt: {r}"
    lab.again()
    r = lab.json("bench rtt", 0, 1, "--seconds", 0.1, "--sizes", "8,62", "--classes", "3,0,2,1", "--rate", RATE)
    shapes = [(s["class"], s["bytes"]) for s in r.get("sizes", [])]
    want = [(c, n) for c in ("bulk", "urgent", "data", "request") for n in (8, 62)] + [("data", 64)]
    if r["status"] or shapes != want or any(s["unanswered"] or not whole(s) or s["n"] != RATE // 10 for s in r["sizes"]):
        return f"bench rtt --classes --rate: {r}"
    if unsaid(lab, r):
        return f"pando bench --help does not list {unsaid(lab, r)}"
    lab.again()
    r = lab.json("bench stream", 0, 1, "--seconds", 0.3)
    if r["status"] or r["pages"] < 100 or not r["far_cpu_seconds"] > 0:
        return f"bench stream: {r}"
    if unsaid(lab, r):
        return f"pando bench --help does not list {unsaid(lab, r)}"
    lab.stop()
    lab.echo()
    return ping(lab) or lab.ended()


def lossy(lab):
    """Nothing stays unanswered where frames are lost."""
    lab.setup("af_packet", loss=3)
    lab.echo()
    r = lab.json("bench rtt", 0, 1, "--seconds", 0.3, "--sizes", "20,9000")
    if r["status"] or r["transport"]["sent_again"] == 0 or any(s["unanswered"] or not s["n"] for s in r["sizes"]):
        return f"bench rtt: {r}"
    return lab.ended()


def late(lab):
    """At a rate, all that was due while the far end stood still is late, not one message."""
    lab.setup("shm")
    echo = lab.echo()
    p = subprocess.Popen(lab.argv("bench rtt", 0, 1, "--seconds", 2, "--sizes", "20", "--rate", RATE, "--json"),
                         stdout=subprocess.PIPE, text=True)
    lab.group.wait_until(lambda: any("node 0 (n0) is here" in line for line in lab.lines), time.monotonic() + START_SECONDS)
    lab.group.wait_until(lambda: False, time.monotonic() + 0.7)
    echo.send(signal.SIGSTOP)
    lab.group.wait_until(lambda: False, time.monotonic() + 0.4)
    echo.send(signal.SIGCONT)
    out, _ = p.communicate(timeout=COMMAND_SECONDS)
    shape = json.loads(out)["sizes"][0] if out else {"buckets": [], "unanswered": -1}
    behind = sum(n for top, n in shape["buckets"] if top > 50e6)
    if p.returncode or shape["unanswered"] or shape["n"] != 2 * RATE or behind < RATE // 10:
        return f"bench rtt --rate: {p.returncode}, {behind} late: {shape}"
    return lab.ended()


def stands_still(lab):
    """A stopped process: its host's kernel answers for it where it can, and no message does."""
    for fabric, kernel in (("af_xdp", 3), ("af_packet", 0)):
        lab.lines.clear()
        lab.setup(fabric)
        echo = lab.echo()
        echo.send(signal.SIGSTOP)
        r = lab.json("ping", 0, 1, "--count", 3, "--interval", 0.1)
        echo.send(signal.SIGCONT)
        if (r["status"], r["by_kernel"], r["by_process"], r["message"]["n"]) != (0 if kernel else 1, kernel, 0, 0):
            return f"{fabric}: {r}"
        wrong = lab.ended()
        if wrong:
            return wrong
        lab.group.processes.clear()
        for name in lab.netns:
            workspace.remove_namespace(name)
    return None


def nobody(lab):
    lab.setup("shm")
    status, out, _ = lab.run("ping", 0, 1, "--count", 2, "--interval", 0.1)
    if status != 1 or "2 asked, 0 answered" not in out or "2: host does not answer; not connected" not in out:
        return f"ping: {status}: {out}"
    status, _, err = lab.run("bench stream", 0, 1)
    if status != 1 or not re.search(r"node 1 \(n1\) did not come within 5 s; there, start: pando echo", err):
        return f"bench: {status}: {err}"
    return lab.ended()


def goes_away(lab):
    lab.setup("shm")
    echo = lab.echo()
    p = lab.start("bench", *lab.argv("bench stream", 0, 1, "--seconds", 20))
    lab.group.wait_until(lambda: any("node 0 (n0) is here" in line for line in lab.lines), time.monotonic() + START_SECONDS)
    lab.group.wait_until(lambda: False, time.monotonic() + 0.5)
    echo.send(signal.SIGTERM)
    if not lab.wait_all() or p.status != 1 or not any("node 1 (n1) went away: it has ended" in line for line in lab.lines):
        return f"bench: {p.status}"
    left = os.listdir(lab.space.path("run"))
    return f"left: {left}" if left else None


def dataplane_there(lab):
    """A dataplane that joins answers HOST-PING, takes nothing else, and goes on waiting for its peer."""
    lab.setup("shm")
    d = lab.start("d0", cl.find_program(lab.build, "pando-dataplane"), "-v", "--config", lab.config_path, "--node", "0")
    lab.group.wait_until(lambda: any("fabric: ready" in line for line in lab.lines), time.monotonic() + START_SECONDS)
    if any("userfaultfd: failed" in line for line in lab.lines):
        raise outcome.Skipped("this kernel's userfaultfd is too old for a dataplane")
    status, out, err = lab.run("ping", 1, 0, "--count", 2, "--interval", 0.05)
    if status != 0 or "2 asked, 2 answered (kernel 0, process 2)" not in out or "has a dataplane" not in err:
        return f"ping: {status}: {out}{err}"
    lab.start("d1", cl.find_program(lab.build, "pando-dataplane"), "-v", "--config", lab.config_path, "--node", "1")
    here = lambda: any(re.search("all 2 nodes are here", line) for line in lab.lines)
    lab.group.wait_until(lambda: here() or d.status is not None, time.monotonic() + START_SECONDS)
    if not here() or not any("there is pando ping, echo or bench; waiting for its dataplane" in line for line in lab.lines):
        return "the dataplanes did not join"
    return None


def beside_dataplanes(lab):
    """A run_dir of its own, so no claim stands in the way, on a host whose dataplane runs: the dataplanes do not
    listen to it."""
    lab.setup("af_packet")
    for n in range(2):
        lab.start(f"d{n}", cl.find_program(lab.build, "pando-dataplane"), "-v", "--config", lab.config_path,
                  "--node", str(n), netns=lab.netns[n])
    here = lambda: sum("nodes are here" in line for line in lab.lines) == 2
    lab.group.wait_until(lambda: here() or len(lab.group.alive()) < 2, time.monotonic() + START_SECONDS)
    if any("userfaultfd: failed" in line for line in lab.lines):
        raise outcome.Skipped("this kernel's userfaultfd is too old for a dataplane")
    if not here():
        return "the dataplanes did not join"
    with open(lab.config_path, encoding="utf-8") as f:
        text = f.read().replace(lab.space.path("run"), lab.space.path("run2"))
    lab.config_path = lab.config("e.yaml", text)
    status, out, err = lab.run("ping", 1, 0, "--count", 3, "--interval", 0.3)
    lab.group.wait_until(lambda: len(lab.group.alive()) < 2, time.monotonic() + 1)
    if len(lab.group.alive()) < 2:
        return "a dataplane ended"
    return None if status == 0 else f"ping: {status}: {out}{err}"


def claims(lab):
    """What lies in the claim's place is not written to, and whoever holds it without a word is not named."""
    lab.setup("shm")
    claim, victim = lab.space.path("run", "node0.claim"), lab.space.path("victim")
    with open(victim, "w", encoding="ascii") as f:
        f.write("precious")
    for put, said in ((os.link, "no ordinary file"), (os.symlink, "node0.claim: Too many levels"), (os.mkfifo, "no ordinary file")):
        put(*((victim, claim) if put is not os.mkfifo else (claim,)))
        status, _, err = lab.run("ping", 0, 1)
        with open(victim, encoding="ascii") as f:
            if status != 2 or said not in err or f.read() != "precious":
                return f"{put.__name__}: {status}: {err}"
        os.unlink(claim)
    with open(claim, "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        status, _, err = lab.run("ping", 0, 1)
        if status != 2 or "node0.claim is held by another process of this machine: one at a time" not in err:
            return f"held: {status}: {err}"
    os.chmod(lab.space.path("run"), 0o777)
    status, _, err = lab.run("ping", 0, 1)
    return None if status == 2 and "run_dir: others than its owner" in err else f"run_dir: {status}: {err}"


def nowhere_to_write(lab):
    lab.setup("shm")
    lab.echo()
    with open("/dev/full", "w", encoding="ascii") as full:
        p = subprocess.run(lab.argv("ping", 0, 1, "--count", 1, "--json"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode != 1 or "could not be written" not in p.stderr:
        return f"{p.returncode}: {p.stderr}"
    return lab.ended()


def ended_early(lab):
    """Ctrl-C: what was measured so far is the result."""
    lab.setup("shm")
    lab.echo()
    for bench, key in (("bench rtt", "sizes"), ("bench stream", "pages")):
        p = subprocess.Popen(lab.argv(bench, 0, 1, "--seconds", 100, "--json"), stdout=subprocess.PIPE, text=True)
        lab.group.wait_until(lambda: False, time.monotonic() + 1)
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=COMMAND_SECONDS)
        got = json.loads(out)[key] if out else None
        if not got or (key == "sizes" and not got[0]["n"]):
            return f"{bench}: {p.returncode}: {out}"
    return lab.ended()


def fabric_dies(lab):
    lab.setup("af_xdp")
    echo = lab.echo()
    if not detach(echo.pid):
        return "there was no XDP program"
    if not lab.wait_all() or echo.status != 1 or not any("no fabric any more: its XDP program" in line for line in lab.lines):
        return f"echo: {echo.status}"
    return None


def taken(lab):
    """One process a node: a second one is told who has it."""
    lab.setup("shm")
    lab.echo()
    status, _, err = lab.run("ping", 1, 0)
    if status != 2 or not re.search(r"node1\.claim is held by .*pando echo: node 1, process \d+", err):
        return f"ping: {status}: {err}"
    lab.start("d1", cl.find_program(lab.build, "pando-dataplane"), "--config", lab.config_path, "--node", "1")
    lab.group.wait_until(lambda: any("d1:" in line and "node1.claim is held by" in line for line in lab.lines),
                         time.monotonic() + START_SECONDS)
    if not any("d1:" in line and "node1.claim is held by" in line for line in lab.lines):
        return "the dataplane did not say so"
    lab.group.wait_until(lambda: len(lab.group.alive()) == 1, time.monotonic() + START_SECONDS)
    lab.group.processes = lab.group.alive()
    return lab.ended()


def other_configuration(lab):
    """Both sides say so, whatever their numbers."""
    for near, far in ((0, 1), (1, 0)):
        lab.lines.clear()
        lab.setup("shm")
        lab.echo(far)
        with open(lab.config_path, encoding="utf-8") as f:
            lab.config_path = lab.config("d.yaml", f.read().replace("ram_mib: ", "ram_mib: 1"))
        status, _, err = lab.run("bench rtt", near, far)
        if status != 1 or f"node {far} (n{far}) has another configuration file" not in err:
            return f"bench: {status}: {err}"
        said = lambda: any(f"echo: pando echo: node {near} (n{near}) has another configuration file" in line for line in lab.lines)
        lab.group.wait_until(said, time.monotonic() + 2)
        if not said():
            return "echo did not say so"
        wrong = lab.ended()
        if wrong:
            return wrong
        lab.group.processes.clear()
    return None


def usage(lab):
    lab.setup("shm")
    config = lab.config_path
    for argv, status, part in (
        (["ping", "--help"], 0, "Exit status: 0 if"),
        (["ping"], 2, "--config and --node are needed"),
        (["ping", "--config", config, "-n", "0"], 2, "which node"),
        (["ping", "--config", config, "-n", "0", "1", "2"], 2, "Too many arguments"),
        (["ping", "--config", config, "-n", "0", "0"], 2, "is this node"),
        (["ping", "--config", config, "-n", "0", "7"], 2, "node '7'"),
        (["ping", "--config", config, "-n", "x", "1"], 2, "node 'x'"),
        (["ping", "--config", "/nowhere.yaml", "-n", "0", "1"], 2, "/nowhere.yaml"),
        (["ping", "--config", config, "-n", "0", "1", "--count", "0"], 2, "--count: '0': a number of 1..1000000"),
        (["ping", "--config", config, "-n", "0", "1", "--count", "-1"], 2, "--count: '-1'"),
        (["ping", "--config", config, "-n", "0", "1", "--interval", "nan"], 2, "--interval: 'nan': seconds, 0.01..60,"),
        (["echo", "--config", config, "-n", "0", "1"], 2, "Too many arguments"),
        (["bench"], 2, "usage: pando bench BENCH"),
        (["bench", "--help"], 0, "stream"),
        (["bench", "--help"], 0, "whose form is perf/schema.json"),
        (["bench", "dance"], 2, "there is no bench 'dance'"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--sizes", "7"], 2, "--sizes: '7': a number of 8..16384"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--sizes", "8,,9"], 2, "--sizes: ''"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--sizes", ",".join(["8"] * 17)], 2, "at most 16"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--classes", "4"], 2, "--classes: '4': a number of 0..3"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--classes", "1,1"], 2, "--classes: 1 is there twice"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--classes", "0"], 2, "at most 62 bytes, and --sizes has 64"),
        (["bench", "rtt", "--config", config, "-n", "0", "1", "--rate", "0"], 2, "--rate: '0': a number of 1..1000000"),
        (["bench", "stream", "--config", config, "-n", "0", "1", "--seconds", "1e9"], 2, "--seconds: '1e9'"),
        (["bench", "stream", "--config", config, "-n", "0", "1", "--colour"], 2, "--colour"),
    ):
        p = subprocess.run([lab.pando] + argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if p.returncode != status or part not in p.stdout + p.stderr:
            return f"pando {' '.join(argv)}: {p.returncode}: {p.stdout + p.stderr}"
    return None


CASES = {f.__name__: f for f in (
    lossy, late, stands_still, nobody, goes_away, dataplane_there, beside_dataplanes, taken, claims, other_configuration,
    nowhere_to_write, ended_early, fabric_dies, usage)}
CASES |= {f"works/{f}": functools.partial(works, f) for f in FABRICS}


def run_case(case, build):
    with Nodes(build) as lab:
        wrong = case(lab)
        if wrong:
            print("\n".join("       " + line for line in lab.lines[-20:]))
        return wrong


def main():
    parser = outcome.parser(__doc__)
    parser.add_argument("--only", default="", help="a part of a case's name")
    args = parser.parse_args()
    tests = {f"ping/{name}": functools.partial(run_case, case, args.build) for name, case in CASES.items()}
    return outcome.status([outcome.run(args.tally, *test) for test in tests.items() if args.only in test[0]])


if __name__ == "__main__":
    sys.exit(main())
