#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Probes (dataplane/host/usdt.h): lists, ELF notes and scripts agree; what a probe costs that nobody attached to; what
the scripts of perf/bpftrace say of a running cluster is what its dataplanes counted themselves."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cluster as cl
import outcome
import summary
from options import Options

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(ROOT, "perf/bpftrace")
LISTS = {"dataplane/engine/probes.h": ("pando", ("pando-dataplane",)),
         "hypervisor-glue/vkvm/probes.h": ("pando_kvm", ("libpando-kvm.so", "pando-vcpud"))}
ARGUMENTS_MAX = 6  # bpftrace's, on x86-64
ATTACH_SECONDS = 60


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def probe_list(path):
    """{name: (number of arguments, cost)} of a header."""
    found = re.findall(r"^ +X\((\w+), (\d+), (AT_HAND|GUARDED)\)", read(path), re.M)
    return {name: (int(n), cost) for name, n, cost in found}


def notes(program):
    """[(provider, name, address, number of arguments)] of an ELF file."""
    pattern = r"Provider: (\S+)\s+Name: (\S+)\s+Location: (0x\w+),.*?\n\s+Arguments:(.*)"
    found = re.findall(pattern, run("readelf", "-n", program))
    return [(provider, name, int(at, 16), len(args.split())) for provider, name, at, args in found]


def programs(build):
    """(list of probes, provider, name, ELF notes) of each program; Skipped where probes were not built."""
    for path, (provider, names) in LISTS.items():
        for name in names:
            found = notes(cl.find_program(build, name))
            if not found:
                raise outcome.Skipped("probes were not built: <sys/sdt.h> is of systemtap-sdt-dev (./dev setup)")
            yield probe_list(path), provider, name, found


def listed(build):
    """Each probe of the list is in the programs, with as many arguments, and no other is."""
    for probes, provider, program, found in programs(build):
        if len(probes) < 3:
            return f"{program}: its list was not understood"
        for name, (n, _) in probes.items():
            sites = [f for f in found if f[:2] == (provider, name)]
            if not sites:
                return f"{program}: no probe {provider}:{name}, which its list has"
            if any(site[3] != n for site in sites) or n > ARGUMENTS_MAX:
                return f"{program}: {name} has {sites[0][3]} arguments, {n} in its list"
        strangers = {f[1] for f in found if f[0].startswith("pando")} - set(probes)
        if strangers:
            return f"{program}: probes that no list has: {strangers}"
    return None


def documented(_build):
    """The head of a list says what each argument is: as many words before the colon or full stop as there are."""
    for path in LISTS:
        text = re.sub(r"\([^)]*\)", "", re.sub(r"\n \*( {10,}|)", " ", read(path).split("*/")[1]))
        for name, (n, _) in probe_list(path).items():
            m = re.search(rf" {name} {{2,}}([^:.]*?)(:|  +\w|$)", text)
            if not m:
                return f"{path}: {name} is not in its head"
            words = [w for w in m.group(1).split(",") if w.strip()]
            own = n - 1 if "engine" in path else n
            if own > 0 and len(words) != own:
                return f"{path}: {name}: {own} arguments, and its head has {words}"
    return None


def instruction_at(program, address):
    text = run("objdump", "-d", "--no-show-raw-insn", f"--start-address={address}", f"--stop-address={address + 8}",
               program)
    return next(line.split("\t")[1].strip() for line in text.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line))


def nops(build):
    """At each probe there is a nop and nothing else."""
    for _, _, program, found in programs(build):
        for _, name, address, _ in found:
            said = instruction_at(cl.find_program(build, program), address)
            if said != "nop":
                return f"{program}: at {name} there is {said!r}"
    return None


COST = """
#include "dataplane/host/usdt.h"
struct s { unsigned char self; unsigned long page; };
USDT_DECLARE(t, at_hand, 2, AT_HAND)
USDT_DECLARE(t, guarded, 2, GUARDED)
void other(struct s *s);
void none(struct s *s);
void hand(struct s *s);
void guard(struct s *s);
void none(struct s *s) { s->page++; other(s); s->page++; }
void hand(struct s *s) { s->page++; other(s); USDT(t, at_hand, s->self, s->page); s->page++; }
void guard(struct s *s) { s->page++; other(s); USDT(t, guarded, s->self, s->page * 3 + 1); s->page++; }
"""


def cost(build):
    """Instructions on the way of who is not traced: one for a probe with arguments at hand, two for a guarded one."""
    list(programs(build))
    with tempfile.TemporaryDirectory() as space:
        source, made = os.path.join(space, "c.c"), os.path.join(space, "c.o")
        with open(source, "w", encoding="ascii") as f:
            f.write(COST)
        run("cc", "-O2", "-DPANDO_USDT", "-I", ROOT, "-c", source, "-o", made)
        listing = run("objdump", "-d", "--no-show-raw-insn", made)
    ways = {}
    for name, body in re.findall(r"<(\w+)>:\n(.*?)(?=\n\n|\Z)", listing, re.S):
        # As executed with nobody attached: up to the end of the function; the guarded part lies behind it.
        ways[name] = [line.split("\t")[1].split()[0] for line in body.splitlines() if "\t" in line]
        ways[name] = ways[name][:next(i for i, w in enumerate(ways[name]) if w.startswith("ret")) + 1]
    more = {name: len(ways[name]) - len(ways["none"]) for name in ("hand", "guard")}
    if more != {"hand": 1, "guard": 2}:
        return f"instructions more than without a probe: {more}; {ways}"
    return None, "1 and 2 instructions more than without"


def kinds():
    """{number: name} of messages."""
    return {int(n, 16): name for n, name in re.findall(r'X\((0x\w+), \w+, "(\w+)"', read("dataplane/wire/wire.h"))}


def scripts(_build):
    """Scripts use probes that there are, arguments that these have, and the numbers of our lists."""
    probes = probe_list("dataplane/engine/probes.h")
    files = sorted(f for f in os.listdir(SCRIPTS) if f.endswith(".bt"))
    if len(files) < 3:
        return f"only {files} in perf/bpftrace"
    for file in files:
        text = read(f"perf/bpftrace/{file}")
        for name, body in re.findall(r"^usdt:\$1:pando:(\w+)\n(.*?)^}", text, re.M | re.S):
            if name not in probes:
                return f"{file}: there is no probe {name}"
            most = max((int(n) for n in re.findall(r"\barg(\d)", body)), default=0)
            if most >= probes[name][0]:
                return f"{file}: {name} has {probes[name][0]} arguments, and arg{most} is used"
        for number, word in re.findall(r"^/arg2 == (\d+)/ // (\w+)", text, re.M):
            if kinds().get(int(number)) != word:
                return f"{file}: kind {number} is {kinds().get(int(number))}, not {word}"
        names = {int(n): word for n, word in re.findall(r'@name\[(\d+)\] = "(\w+)"', text)}
        if names and names != kinds():
            return f"{file}: kinds are not those of wire.h: {set(names.items()) ^ set(kinds().items())}"
    want = re.search(r"enum coh_fault_kind \{ (.*?), COH_FAULT_KINDS", read("dataplane/coherence/coherence.h")).group(1)
    said = re.findall(r'@kind\[(\d)\] = "(\w+)"', read("perf/bpftrace/faults.bt"))
    if [(str(n), w.lower().removeprefix("coh_fault_")) for n, w in enumerate(want.split(", "))] != said:
        return f"faults.bt: kinds of faults are {want}"
    return None


# ---- on a running cluster ------------------------------------------------------------------------


def unique(pairs):
    """A table; bpftrace has been seen to print one key several times."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise cl.SetupError(f"a key is there twice: {sorted(k for k, _ in pairs)[:8]}")
    return table


class Tracer:
    """A script under way; what it printed, as {map: {key: count}}."""

    def __init__(self, script, sites, *words):
        """sites: in how many places its probes are."""
        words = ["bpftrace", "-f", "json", *words]
        env = dict(os.environ, BPFTRACE_MAP_KEYS_MAX="65536")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.script, self.sites, self.lines, self.errors = script, sites, [], []
        self.threads = [threading.Thread(target=self.read_out), threading.Thread(target=self.read_errors)]
        for t in self.threads:
            t.start()

    def read_out(self):
        self.lines.extend(self.process.stdout)

    def read_errors(self):
        self.errors.extend(self.process.stderr)

    def attached(self):
        """How many descriptors it has of probes (and of its own buffers)."""
        count, folder = 0, f"/proc/{self.process.pid}/fd"
        for fd in os.listdir(folder):
            try:
                count += "perf_event" in os.readlink(os.path.join(folder, fd))
            except OSError:
                pass
        return count

    def wait_attached(self, sites):
        """It says that it attaches before it does: waits until it has, and no more come. False: it does not."""
        deadline, before = time.monotonic() + ATTACH_SECONDS, -1
        while time.monotonic() < deadline and self.process.poll() is None:
            now = self.attached()
            if now == before and now >= sites + os.cpu_count():
                return True
            before = now
            time.sleep(0.5)
        return False

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for t in self.threads:
            t.join()

    def counts(self):
        maps = {}
        for line in self.lines:
            if not line.startswith("{"):
                continue
            said = json.loads(line, object_pairs_hook=unique)
            if said["type"] not in ("map", "hist"):
                continue
            for name, table in said["data"].items():
                into = maps.setdefault(name, {})
                for key, value in table.items():
                    n = value if isinstance(value, int) else sum(bucket["count"] for bucket in value)
                    into[key] = into.get(key, 0) + n
        return maps


def why_not():
    """Why bpftrace cannot attach here; None: it can."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("bpftrace") is None:
        return "bpftrace is not installed: ./dev setup look"
    if not os.path.exists("/sys/bus/event_source/devices/uprobe"):
        return "this kernel has no uprobes (CONFIG_UPROBE_EVENTS)"
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    return None


def add(counts, wanted):
    """Sum by what wanted(key fields) answers; None: leave out."""
    sums = {}
    for key, n in counts.items():
        to = wanted(key.split(","))
        if to is not None:
            sums[to] = sums.get(to, 0) + n
    return {k: v for k, v in sums.items() if v}


def nearly(what, said, counted):
    """What a script prints and clears every few seconds: what comes in between is lost."""
    for key in set(said) | {k for k, v in counted.items() if v}:
        a, b = said.get(key, 0), counted.get(key, 0)
        if a > b or a < b - 5 - b // 20:
            return f"{what}: {key}: {a} by the script, {b} by the dataplane"
    return None if said else f"{what}: nothing happened"


def compare(what, said, counted):
    counted = {k: v for k, v in counted.items() if v}
    if said != counted:
        keys = {k for k in set(said) | set(counted) if said.get(k) != counted.get(k)}
        off = {k: (said.get(k, 0), counted.get(k, 0)) for k in keys}
        return f"{what}: (script, dataplane) {off}"
    return None if said else f"{what}: nothing happened"


def judge(faults, pages, messages, summaries):
    """What is wrong, or None."""
    own = {(str(s["node"]), k): s["faults"][k]["n"] for s in summaries for k in summary.KINDS}
    wrong = compare("faults", add(faults["@took_us"], lambda k: (k[0], k[1])), own)
    by_kind = lambda way: {(str(s["node"]), k): m[way] for s in summaries for k, m in s["messages"].items()}
    ours = set(summaries[0]["messages"])
    for name, way in ("@sent", "tx"), ("@received", "rx"):
        said = add(messages[name], lambda k: (k[0], k[2]) if k[2] in ours else None)
        wrong = wrong or nearly(name, said, by_kind(way))
    said = add(messages["@waited_us"], lambda k: (k[0], k[1]) if k[1] in ours else None)
    wrong = wrong or compare("@waited_us", said, by_kind("rx"))
    moved = add(pages["@moves"], lambda k: (k[1], "inv_ack" if k[3] == "dropped" else "data"))
    return wrong or nearly("pages", moved, {k: v for k, v in by_kind("tx").items() if k[1] in ("data", "inv_ack")})


def traced(build, o, start):
    """(what is wrong or None, the tracers, the run's result) of a cluster beside the tracers that start() gives."""
    list(programs(build))
    if (reason := why_not()) is not None:
        raise outcome.Skipped(reason)
    tracers = start()
    try:
        for t in tracers:
            if not t.wait_attached(t.sites):
                return f"{t.script} does not start: {' '.join(t.errors)[-300:].strip()}", tracers, None
        with cl.Cluster(o, build) as c:
            result = c.run()
    finally:
        for t in tracers:
            t.end()
    wrong = None if result.passed else f"{result.died or 'the guest failed'}; again: {o.command()}"
    return wrong, tracers, result


def live(build):
    """The three scripts at once beside one cluster."""
    o = Options(nodes=2, vcpus=2, ram=64, guest="churn", cmdline="wait_s=60 handoffs=300 fair_ms=0", timeout=60)
    program = cl.find_program(build, "pando-dataplane")
    places = [name for _, name, _, _ in notes(program)]
    sites = lambda script: sum(places.count(name) for name in re.findall(r"^usdt:\$1:pando:(\w+)",
                                                                          read(f"perf/bpftrace/{script}"), re.M))
    start = lambda: [Tracer(script, sites(script), os.path.join(SCRIPTS, script), program)
                     for script in ("faults.bt", "pages.bt", "messages.bt")]
    wrong, tracers, result = traced(build, o, start)
    if wrong:
        return wrong
    said = [t.counts() for t in tracers]
    for t, maps, names in zip(tracers, said, (("@took_us",), ("@moves",), ("@sent", "@received", "@waited_us"))):
        if not set(names) <= set(maps):
            return f"{t.script} printed {sorted(maps)}: {' '.join(t.errors)[-300:]}"
    faults = summary.total(result.summaries, "faults", "write", "n")
    return judge(*said, result.summaries), f"{faults} write faults"


def every(build):
    """Every probe, counted, beside a guest over two nodes."""
    o = Options(nodes=2, vcpus=2, ram=64, guest="pingpong", cmdline="n=50", timeout=60)
    text, sites = "", 0
    for probes, provider, program, found in programs(build):
        target, sites = cl.find_program(build, program), sites + len(found)
        for name in probes:
            key = f'"{program}"' if provider != "pando" else "arg0, arg2" if name.startswith("message_") else "arg0"
            text += f"usdt:{target}:{provider}:{name} {{ @{name}[{key}] = count(); }}\n"
    wrong, tracers, result = traced(build, o, lambda: [Tracer("every probe", sites, "-e", text)])
    return (wrong or judge_every(tracers[0].counts(), result.summaries)), f"{len(text.splitlines())} probes"


def judge_every(said, summaries):
    """What is wrong, or None."""
    got = lambda name: {k: n for k, n in said.get("@" + name, {}).items() if n}
    own = lambda *path: {str(s["node"]): n for s in summaries if (n := summary.get(s, *path))}
    for name, counted in (
        ("fault_read", own("loop", "uffd_messages")),
        ("frame_sent", own("port", "tx_frames")),
        ("zap_requested", own("loop", "unmap_pages")),
        ("zap_done", own("loop", "unmap_pages")),
        ("irq_posted", own("rings", "irqs")),
        ("sleep", own("loop", "sleeps")),
        ("wake", own("loop", "sleeps")),
        ("peer_up", {"0": 1, "1": 1}),
    ):
        if got(name) != counted:
            return f"{name}: {got(name)} by the probe, {counted} by the dataplane"
    for name, way in ("message_sent", "tx"), ("message_received", "rx"):
        ours = {f"{s['node']},{number}": s["messages"][kind][way] for s in summaries
                for number, kind in kinds().items() if kind in s["messages"]}
        seen = {key: n for key, n in got(name).items() if key in ours}
        if seen != {key: n for key, n in ours.items() if n}:
            return f"{name}: {seen} by the probe, {ours} by the dataplane"
    if set(got("frame_received")) != {"0", "1"}:
        return f"frames of a node were not seen: {got('frame_received')}"
    exits, answers = got("io_exit").get("1", 0), got("io_done").get("1", 0)
    if exits == 0 or not 0 <= answers - exits <= 1:  # a run is asked for before the first exit, and none after the last
        return f"io_exit {exits}, io_done {answers} of the vCPU on node 1"
    for program in LISTS["hypervisor-glue/vkvm/probes.h"][1]:
        enters, leaves, injected = (got(f"vcpu_{what}").get(program, 0) for what in ("enter", "exit", "inject"))
        if enters == 0 or not 0 <= enters - leaves <= 1 or injected == 0:
            return f"{program}: vcpu_enter {enters}, vcpu_exit {leaves}, vcpu_inject {injected}"
    return None


TESTS = [("listed", listed), ("documented", documented), ("scripts", scripts), ("nops", nops), ("cost", cost),
         ("live", live), ("every", every)]


def main():
    p = outcome.parser(__doc__)
    p.add_argument("--only", help="a test's name")
    args = p.parse_args()
    return outcome.status([outcome.run(args.tally, f"trace/probes/{name}", lambda test=test: test(args.build))
                           for name, test in TESTS if args.only in (None, name)])


if __name__ == "__main__":
    sys.exit(main())
