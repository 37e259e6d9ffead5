#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The dataplane end to end without KVM: real pando-dataplane processes, real userfaultfd, and
net_vm processes whose threads stand for vCPUs.

usage: run_net.py --dataplane FILE --vm FILE --glue FILE --clock FILE --copy-watch FILE [--seed N] [--only WORDS]
                  memory|glue|clock|kill|bad|copies|idle ...

Exit status 77: skipped, saying what is missing.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RUN_SECONDS = int(os.environ.get("PANDO_NET_SECONDS", "60"))
END_SECONDS = 1.0  # everybody is gone this long after anybody was killed ...
DEAD_MS = 800  # ... and after this long without a word from a killed dataplane

SLACK_PAGES = 800  # a resident limit is soft by what is in flight

LOSSY = {"drop_ppm": 10000, "duplicate_ppm": 10000, "reorder_ppm": 20000, "corrupt_ppm": 2000}
BAD = {"drop_ppm": 50000, "duplicate_ppm": 20000, "reorder_ppm": 50000, "delay_ppm": 20000, "delay_max_us": 3000}


class Failed(Exception):
    pass


class Cluster:
    """A directory, a configuration, and the processes of all nodes."""

    def __init__(self, args, nodes=2, vcpus=4, ram=16, mtu=9000, faults=None, limit=0, poll="sleep", fabric="shm", clock="", skew=()):
        self.args, self.nodes = args, nodes
        self.dir = tempfile.mkdtemp(prefix="pando-net-")
        self.run_dir = os.path.join(self.dir, "run")
        self.procs, self.logs, self.namespaces = {}, {}, []
        self.environment = {}  # more of it for the dataplanes
        resident = f", resident_mib: {limit}" if limit else ""
        lines = [
            "cluster: net-test",
            f"run_dir: {self.run_dir}",
            f"vm: {{ram_mib: {ram}, vcpus: {vcpus}}}",
            "nodes:",
        ]
        skew = [f", clock_offset_us: {us}, clock_drift_ppb: {ppb}" for us, ppb in skew] + [""] * nodes
        device = f", device: pnt{os.getpid() % 100000}" if fabric in ("af_packet", "af_xdp") else ""
        lines += [f"  - {{id: {n}, name: n{n}{resident}{skew[n]}{device + '-' + str(n) if device else ''}}}" for n in range(nodes)]
        lines += [f"fabric:\n  type: {fabric}\n  mtu: {mtu}"]
        if faults:
            words = ", ".join(f"{k}: {v}" for k, v in {"seed": args.seed, **faults}.items())
            lines += [f"  faults: {{{words}}}"]
        lines += [
            f"transport: {{heartbeat_ms: 50, dead_ms: {DEAD_MS}, join_timeout_ms: 5000}}",
            "coherence: {check: true}",
            f"poll: {{mode: {poll}}}",
            f"clock: {{{clock}}}",
        ]
        if device:
            self.make_link(device.split()[-1], mtu)
        self.config = self.write("cluster.yaml", "\n".join(lines) + "\n")

    def make_link(self, name, mtu):
        """Two network namespaces joined by a cable; DPDK's af_packet sockets of one namespace can collide."""
        ip = lambda *words: subprocess.run(["ip", *words], check=True)
        ends = [f"{name}-{n}" for n in range(2)]
        for end in ends:
            ip("netns", "add", end)
            self.namespaces.append(end)
        ip("-n", ends[0], "link", "add", ends[0], "mtu", str(mtu), "type", "veth", "peer", "name", ends[1], "mtu", str(mtu), "netns", ends[1])
        for end in ends:
            ip("-n", end, "link", "set", end, "up")

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        ended = {name: p.poll() for name, p in self.procs.items()}
        for p in self.procs.values():
            if p.poll() is None:
                p.kill()
                p.wait()
        for f in self.logs.values():
            f.close()
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        if exc[0] is not None:
            for name in self.logs:
                if ended[name] is not None:
                    print(f"       {name}: had ended with status {ended[name]}")
                for line in self.said(name).splitlines()[-8:]:
                    print(f"       {name}: {line}")
        shutil.rmtree(self.dir)

    def start(self, name, *argv):
        self.logs[name] = open(os.path.join(self.dir, name + ".log"), "w+", encoding="utf-8")
        more = self.environment if name.startswith("dataplane") else {}
        self.procs[name] = subprocess.Popen(argv, stdout=self.logs[name], stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **more})
        return self.procs[name]

    def said(self, name):
        with open(os.path.join(self.dir, name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def socket(self, node):
        return os.path.join(self.run_dir, f"node{node}.sock")

    def dataplane(self, node, config=None):
        summary = os.path.join(self.dir, f"summary{node}.json")
        name = f"dataplane{node}"
        while name in self.procs:
            name += "+"
        inside = ["ip", "netns", "exec", self.namespaces[node]] if self.namespaces else []
        return self.start(name, *inside, self.args.dataplane, "--config", config or self.config, "--node", str(node), "--summary", summary)

    def dataplanes(self):
        for n in range(self.nodes):
            self.dataplane(n)
        self.until(lambda: all(os.path.exists(self.socket(n)) for n in range(self.nodes)), 10, "the glue sockets")

    def vms(self, *words, program=None):
        for n in reversed(range(self.nodes)):
            self.start(f"vm{n}", program or self.args.vm, "--socket", self.socket(n), *words)

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {seconds} s")
            time.sleep(0.01)

    def ended(self):
        return all(p.poll() is not None for p in self.procs.values())

    def summaries(self):
        out = []
        for n in range(self.nodes):
            with open(os.path.join(self.dir, f"summary{n}.json"), encoding="utf-8") as f:
                out.append(json.load(f))
        return out

    def left(self):
        """What the processes left in the run directory."""
        return sorted(os.path.join(d, f) for d, _, files in os.walk(self.run_dir) for f in files)


def expect(condition, words):
    if not condition:
        raise Failed(words)


def total(summaries, *path):
    out = 0
    for s in summaries:
        for key in path:
            s = s.get(key, 0) if isinstance(s, dict) else 0
        out += s
    return out


# ---- memory: exact results ------------------------------------------------------------------


def good_end(c, counted=True):
    c.until(c.ended, RUN_SECONDS, "the end")
    for name, p in c.procs.items():
        expect(p.returncode == 0, f"{name} ended with status {p.returncode}")
    expect(not c.left(), f"left behind: {c.left()}")
    s = c.summaries()
    expect(total(s, "coherence", "violations") == 0, "invariant violations")
    expect(not counted or total(s, "coherence", "checks") > 0, "nothing was checked")
    return s


def latencies(s):
    words = []
    for kind in ("read", "write", "upgrade"):
        f = max((x["faults"][kind] for x in s), key=lambda f: f["n"])
        words.append(f"{kind} {f['n']} p50 {f['p50_us']:.0f} p99 {f['p99_us']:.0f} us")
    return ", ".join(words)


def memory(args, words, **options):
    faults = options.get("faults")
    with Cluster(args, **options) as c:
        c.dataplanes()
        c.vms(*words)
        s = good_end(c)
        expect(all(total([x], "faults", k, "n") for x in s for k in ("read", "write")), "a node without faults")
        if faults:
            expect(total(s, "fault_filter", "dropped") > 0, "no frame was lost")
            expect(sum(total(s, "classes", k, "retransmit") for k in ("urgent", "request", "data")) > 0, "nothing was sent again")
        if options.get("limit"):
            pages = options["limit"] * 256
            expect(sum(total(s, "coherence", "evict_" + p) for p in ("puts", "putm", "puto")) > 0, "nothing was evicted")
            for x in s:
                expect(x["coherence"]["resident_high"] <= pages + SLACK_PAGES, f"node {x['node']} held {x['coherence']['resident_high']} pages")
        return latencies(s)


def memory_cases(args):
    quick = ("--iters", "1000", "--sweep", "600")
    yield "memory/2-nodes", lambda: memory(args, ("--iters", "4000", "--sweep", "2000"))
    yield "memory/1-node", lambda: memory(args, quick, nodes=1)
    yield "memory/3-nodes", lambda: memory(args, quick, nodes=3, vcpus=6)
    yield "memory/2-nodes-mtu-1500", lambda: memory(args, quick, mtu=1500)
    yield "memory/2-nodes-yield", lambda: memory(args, quick, poll="yield")
    yield "memory/2-nodes-memif", lambda: memory(args, quick, fabric="memif")
    yield "memory/2-nodes-af_packet", lambda: memory(args, quick, fabric="af_packet")
    yield "memory/2-nodes-af_packet-mtu-1500-lossy", lambda: memory(args, quick, fabric="af_packet", mtu=1500, faults=LOSSY)
    yield "memory/2-nodes-lossy", lambda: memory(args, quick, faults=LOSSY)
    yield "memory/3-nodes-lossy-mtu-1500", lambda: memory(args, quick, nodes=3, vcpus=6, mtu=1500, faults=BAD)
    # 16 MiB of guest RAM, all of it swept, on nodes that may hold 40 % of it.
    yield "memory/3-nodes-limited", lambda: memory(args, ("--iters", "500", "--sweep", "3900"), nodes=3, vcpus=6, limit=7)
    yield "memory/2-nodes-limited-lossy", lambda: memory(args, ("--iters", "500", "--sweep", "3900"), limit=9, faults=LOSSY)
    yield "memory/planted-skip-zap-is-caught", lambda: planted(args)


def planted(args):
    """A VM whose agent does not unmap must give wrong results: else this test sees nothing."""
    with Cluster(args) as c:
        c.dataplanes()
        c.vms("--iters", "2000", "--sweep", "100", "--skip-zap")
        end = time.monotonic() + 10
        while time.monotonic() < end and not c.ended():
            time.sleep(0.05)
        wrong = not c.ended() or any(p.returncode != 0 for p in c.procs.values())
        expect(wrong, "pages that were never unmapped went unnoticed")
        return "hung in a barrier" if not c.ended() else "wrong results"


# ---- copies: how often the bytes of a page are copied ----------------------------------------

# Copies a page that are ours, out and in. shm: into the ring, which is the transfer; out of it; into the page.
# af_xdp: into the memory that the kernel takes frames from.
COPIES = {"shm": (1, 2), "memif": (0, 1), "af_packet": (0, 1), "af_xdp": (1, 1)}


def copies(args, fabric, mtu=9000, faults=None):
    with Cluster(args, fabric=fabric, mtu=mtu, faults=faults) as c:
        watch = os.path.join(c.dir, "watch")
        c.environment = {"LD_PRELOAD": args.copy_watch, "PANDO_COPY_WATCH": watch}
        c.dataplanes()
        c.vms("--iters", "1000", "--sweep", "1500")
        s = good_end(c)
        out, into = COPIES[fabric]
        sums = {k: total(s, "copies", k) for k, v in s[0]["copies"].items() if isinstance(v, int)}
        pages_in = 4096 * (total(s, "messages", "data", "rx") - sums["data_not_copied"])
        expect(sums["page_out_bytes"] > 1000 * 4096, f"only {sums['page_out_bytes']} bytes of pages left")
        expect(sums["page_out_copied"] == out * sums["page_out_bytes"], f"out: {sums['page_out_copied']} bytes copied of {sums['page_out_bytes']}")
        expect(sums["page_in_bytes"] == pages_in, f"in: {sums['page_in_bytes']} bytes of {pages_in} in the messages")
        expect(sums["page_in_copied"] == pages_in, f"in: {sums['page_in_copied']} bytes copied of {pages_in}")
        expect(out or sums["by_reference_bytes"] == sums["page_out_bytes"], "pages left otherwise than by reference")
        for x in s:
            each = x["copies"]
            expect(not faults or each["parked_bytes"] > 0, "frames overtook each other and none was parked")
            # af_xdp: few frames, those that go round the end of its memory, are copied into one piece.
            most = into + (0.01 if fabric == "af_xdp" else 1e-9)
            expect(into - 1e-9 < each["per_page_in"]["ours"] < most, f"in: {each['per_page_in']}")
            expect(out <= each["per_page_out"]["ours"] < out + 0.1, f"out: {each['per_page_out']}")
        if faults:
            return f"{sums['parked_bytes']} bytes parked, {sums['thawed_bytes']} thawed"
        # What memcpy saw: nothing but what was counted, and the start-up. (Copies of frozen pages are of constant
        # size: it does not see them.)
        ours, drivers = watched(c, watch)
        bytes_ = sums["page_in_bytes"]
        expect(out + into - 0.01 < ours / bytes_ < out + into + 0.1, f"memcpy copied {ours / bytes_:.3f} times {bytes_} bytes")
        return f"of {bytes_ // 4096} pages; out and in together, by memcpy: ours {ours / bytes_:.2f}, drivers' {drivers / bytes_:.2f}"


def watched(c, watch):
    """Bytes that all dataplanes' memcpy copied for the program and for drivers."""
    sums = [0, 0]
    for name, p in c.procs.items():
        if name.startswith("dataplane"):
            with open(f"{watch}.{p.pid}", encoding="ascii") as f:
                sums = [a + int(b) for a, b in zip(sums, f.read().split())]
    return sums


def fabrics(args):
    """Those of this build: af_xdp is an optional part, and a program without it says so."""
    with open(args.dataplane, "rb") as f:
        lacks = b"af_xdp fabric: not in this build" in f.read()
    return [f for f in COPIES if not (lacks and f == "af_xdp")]


def copies_cases(args):
    for fabric in fabrics(args):
        yield f"copies/{fabric}", lambda f=fabric: copies(args, f)
        yield f"copies/{fabric}-mtu-1500", lambda f=fabric: copies(args, f, mtu=1500)
    yield "copies/af_packet-lossy-mtu-1500", lambda: copies(args, "af_packet", mtu=1500, faults=LOSSY)


# ---- idle: who has nothing to do costs nothing ------------------------------------------------

AT_REST_PCT = 4  # of a CPU, a dataplane: heartbeats and the clock cost less than 1, polling every 50 us 7


def cpu_ns(pid):
    """CPU time of all threads of a process."""
    sum_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
            sum_ns += int(f.read().split()[0])
    return sum_ns


def light_then_rest(c, increments, rest_ms):
    """Runs the VM; CPU time of a dataplane in percent of a CPU: (at rest, under light load)."""
    c.dataplanes()
    c.vms("--work", "light", "--iters", str(increments), "--rest", str(rest_ms))
    planes = [p.pid for name, p in c.procs.items() if name.startswith("dataplane")]
    marks = []

    def phase(name):
        if f"phase {name}" not in c.said("vm0"):
            expect(not c.ended(), "the VM failed")
            return False
        marks.append((time.monotonic(), sum(cpu_ns(p) for p in planes)))
        return True

    for name in ("work", "rest", "end"):
        c.until(lambda n=name: phase(n), 30 + increments / 100, f"phase {name}")
    light, rest = ((c1 - c0) / 1e7 / (t1 - t0) / len(planes) for (t0, c0), (t1, c1) in zip(marks, marks[1:]))
    return rest, light


def idle(args, fabric, poll="sleep"):
    with Cluster(args, vcpus=2, fabric=fabric, poll=poll) as c:
        rest, light = light_then_rest(c, 300, 1000)
        good_end(c)
        expect(rest < AT_REST_PCT, f"a dataplane at rest takes {rest:.1f} % of a CPU")
        return f"CPU of a dataplane: at rest {rest:.2f} %, light load {light:.1f} %"


def idle_cases(args):
    for fabric in fabrics(args):
        yield f"idle/{fabric}", lambda f=fabric: idle(args, f)
    yield "idle/shm-adaptive", lambda: idle(args, "shm", poll="adaptive")


# ---- glue: rings, interrupts, payloads ------------------------------------------------------


def glue(args, faults):
    with Cluster(args, nodes=2, vcpus=4, faults=faults) as c:
        c.dataplanes()
        c.vms(program=args.glue)
        s = good_end(c, counted=False)
        expect(total(s, "rings", "irqs") > 0 and total(s, "rings", "from_glue") > 0, "nothing went through the rings")
        bad = sum(v for x in s for k, v in x["drops"].items() if k.startswith("engine.glue_"))
        expect(bad == 13, f"{bad} broken entries were counted, 13 were written")
        return f"{total(s, 'rings', 'from_glue')} messages, {total(s, 'rings', 'irqs')} interrupts, {bad} broken entries refused"


def glue_cases(args):
    yield "glue/clean", lambda: glue(args, None)
    yield "glue/lossy", lambda: glue(args, LOSSY)


# ---- clock: one time on all nodes -----------------------------------------------------------

# Of each node: offset in us, drift in ppb. Node 0 has the reference.
SKEW = ((3, 0), (10000000, 50000), (123456, -50000), (7777777, 20000))


def run_clock(c, seconds):
    c.dataplanes()
    p = c.start("clock", c.args.clock, str(seconds), *(c.socket(n) for n in range(c.nodes)))
    c.until(c.ended, seconds + 20, "the end")
    return p.returncode


def clock(args, nodes, seconds=4, **options):
    with Cluster(args, nodes=nodes, vcpus=nodes, skew=SKEW[:nodes], **options) as c:
        status = run_clock(c, seconds)
        expect(status == 0, f"net_clock: {c.said('clock').strip()}")
        good_end(c, counted=False)
        for s in c.summaries():
            expect(s["clock"]["state"] == "locked", f"node {s['node']}: {s['clock']['state']}")
            expect(s["clock"]["steps"] == 0, f"node {s['node']} stepped")
            expect(nodes == 1 or s["clock"]["generation"] > 0, "no generation")
        return c.said("clock").strip()


def clock_off(args):
    with Cluster(args, nodes=2, vcpus=2, skew=SKEW, clock="discipline: off") as c:
        expect(run_clock(c, 2) == 1 and "beyond their bounds" in c.said("clock"), "two clocks went unnoticed")
        return "undisciplined clocks are noticed"


def clock_cases(args):
    yield "clock/1-node", lambda: clock(args, 1, seconds=1)
    yield "clock/2-nodes", lambda: clock(args, 2)
    yield "clock/4-nodes", lambda: clock(args, 4)
    yield "clock/2-nodes-busy-20-ms", lambda: clock(args, 2, poll="yield", clock="interval_ms: 20")
    yield "clock/2-nodes-af_packet", lambda: clock(args, 2, fabric="af_packet")
    yield "clock/3-nodes-lossy", lambda: clock(args, 3, faults=BAD)
    yield "clock/off-is-noticed", lambda: clock_off(args)


# ---- kill: everybody ends, says why, leaves nothing -----------------------------------------


def kill(args, victim, number=signal.SIGKILL):
    with Cluster(args, nodes=3, vcpus=3) as c:
        c.dataplanes()
        c.vms("--work", "forever")
        c.until(lambda: c.ended() or all("runs" in c.said(f"vm{n}") for n in range(3)), 20, "start")
        time.sleep(0.3)
        expect(all(p.poll() is None for p in c.procs.values()), "somebody ended before")
        target, start = c.procs[victim], time.monotonic()
        target.send_signal(number)
        busy = max(1.0, os.getloadavg()[0] / os.cpu_count() / 2)  # others use this machine as well
        limit = END_SECONDS * busy + (DEAD_MS / 1000 if victim.startswith("dataplane") and number == signal.SIGKILL else 0)
        c.until(c.ended, limit + 1, "the end of all")
        took = time.monotonic() - start
        expect(took <= limit, f"the last one ended after {took:.2f} s")
        for name, p in c.procs.items():
            expect(p is target or p.returncode != 0, f"{name} ended as if all were well")
            expect(p is target or p.returncode > 0, f"{name} was killed by signal {-p.returncode}")
            expect(p is target or c.said(name).strip(), f"{name} did not say why it ended")
        # Only the killed process cannot remove its own socket and rings.
        own = [f for f in c.left() if victim.replace("dataplane", "node") + ".sock" not in f]
        if number != signal.SIGKILL or not victim.startswith("dataplane"):
            expect(not own, f"left behind: {own}")
        return f"all gone after {took:.2f} s"


def kill_cases(args):
    for victim in ("dataplane0", "dataplane1", "vm0", "vm2"):
        yield f"kill/{victim}", lambda v=victim: kill(args, v)
    yield "kill/dataplane1-sigterm", lambda: kill(args, "dataplane1", signal.SIGTERM)


# ---- bad: refused in words ------------------------------------------------------------------


def refused(c, seconds, **words):
    c.until(c.ended, seconds, "the refusal")
    for name, text in words.items():
        expect(c.procs[name].returncode > 0, f"{name} ended with status {c.procs[name].returncode}")
        expect(text in c.said(name), f"{name} did not say '{text}', but: {c.said(name)[-300:]}")
    expect(not c.left(), f"left behind: {c.left()}")
    return "; ".join(words.values())


def never_comes(args):
    with Cluster(args, nodes=3, vcpus=3) as c:
        c.config = c.write("short.yaml", open(c.config, encoding="ascii").read().replace("timeout_ms: 5000", "timeout_ms: 800"))
        c.dataplane(0)
        c.dataplane(1)
        return refused(c, 5, dataplane0="node 2 (n2)", dataplane1="node 2 (n2)")


def other_configuration(args):
    with Cluster(args) as c:
        text = open(c.config, encoding="ascii").read()
        c.dataplane(0)
        c.dataplane(1, c.write("other.yaml", text.replace("ram_mib: 16", "ram_mib: 17")))
        return refused(c, 5, dataplane0="configuration", dataplane1="configuration")


def twice(args):
    with Cluster(args, vcpus=2) as c:
        c.dataplanes()
        second = c.dataplane(1)
        second.wait(5)
        expect(second.returncode == 1 and "already running as node 1" in c.said("dataplane1+"), c.said("dataplane1+"))
        c.vms("--iters", "100", "--sweep", "10")  # the others are not disturbed
        c.until(c.ended, RUN_SECONDS, "the end")
        expect(c.procs["vm0"].returncode == 0, "the cluster was disturbed")
        return "refused, and the first one goes on"


def private_ram(args):
    with Cluster(args, nodes=1, vcpus=1) as c:
        c.dataplanes()
        c.vms("--private")
        return refused(c, 5, vm0="shared memory", dataplane0="shared memory")


def too_much_ram(args):
    with Cluster(args, nodes=1, vcpus=1) as c:
        c.dataplanes()
        c.vms("--pages", "5000")
        return refused(c, 5, vm0="vm.ram_mib")


def stale_socket(args):
    with Cluster(args, nodes=1, vcpus=2) as c:
        c.dataplanes()
        c.procs["dataplane0"].kill()
        c.procs["dataplane0"].wait()
        expect(os.path.exists(c.socket(0)), "the killed process removed its socket?")
        c.dataplane(0)
        time.sleep(0.3)
        c.vms("--iters", "10", "--sweep", "4")
        c.until(c.ended, 10, "the end")
        expect(c.procs["vm0"].returncode == 0, "a socket that a killed dataplane left is in the way")
        return "a killed dataplane's socket is taken over"


def bad_cases(args):
    for case in (never_comes, other_configuration, twice, private_ram, too_much_ram, stale_socket):
        yield "bad/" + case.__name__.replace("_", "-"), lambda c=case: c(args)


# ---------------------------------------------------------------------------------------------


def missing():
    if os.geteuid() != 0:
        return "not root: userfaultfd of kernel faults needs it"
    if not os.path.exists("/dev/userfaultfd"):
        return "there is no /dev/userfaultfd: the kernel is older than 6.1"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataplane", required=True)
    parser.add_argument("--vm", required=True)
    parser.add_argument("--glue")
    parser.add_argument("--clock")
    parser.add_argument("--copy-watch")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--only", default="")
    parser.add_argument("parts", nargs="+", choices=("memory", "glue", "clock", "kill", "bad", "copies", "idle"))
    args = parser.parse_args()
    why = missing()
    if why:
        print(f"SKIP: {why}")
        return 77
    print(f"seed {args.seed}")
    failed = 0
    for part in args.parts:
        for name, case in globals()[part + "_cases"](args):
            if args.only not in name:
                continue
            start = time.monotonic()
            try:
                word, words = "ok  ", case()
            except (Failed, OSError, ValueError, KeyError) as e:
                word, words = "FAIL", f"{type(e).__name__}: {e}"
                failed += 1
            print(f"{word} {name} ({time.monotonic() - start:.1f} s): {words}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
